//! ClickHouse's HTTP interface on top of the engine, as far as ClickHouse clients need it.
//!
//! Not here: sessions and temporary tables, roles, external tables, progress headers, `wait_end_of_query`, compressed
//! answers other than LZ4 frames. An answer in a format that is not made row by row (`JSON`, `Pretty`, `Parquet`, …) is
//! held in memory whole and bounded by [`WHOLE_ANSWER_MAX_BYTES`]; every other answer is streamed.

mod answer;
mod formats;
mod frames;
mod gate;
mod hello;
mod request;
mod run;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use crate::connection::EngineError;
use crate::limits::Limits;
use crate::pool::{Engine, Key};
use crate::statement::{InsertParts, Shape, shape};
use request::{Request, bad};
use run::{Job, Part};

/// The longest statement, and the largest form. Data of an insert does not count.
const STATEMENT_MAX_BYTES: usize = 16 << 20;
/// How much of a body is read before an insert's statement in it must have ended.
const INSERT_HEAD_BYTES: usize = 64 << 10;
/// Rows of an answer that cannot be streamed, in the engine's own form: a constant column counts once, however often
/// it is written, so the engine's memory bound stands behind this one.
pub(crate) const WHOLE_ANSWER_MAX_BYTES: u64 = 256 << 20;
/// What one statement of the public port may lay aside on the disk, where its sort or its groups outgrow its memory.
const PUBLIC_SPILL_MAX_BYTES: u64 = 1 << 30;
/// How long a statement waits for one of the places before 503.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);
/// A body that brings nothing for so long is given up.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// After an insert failed, its remaining body is read up to here so that the client gets to read why.
const DRAIN_MAX_BYTES: usize = 64 << 20;

/// Who may use a port and how.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) engine: Arc<Engine>,
    /// The one user and its secret.
    pub(crate) user: String,
    pub(crate) secret: String,
    /// Reads only, within bounds.
    pub(crate) public: bool,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) limits: Limits,
}

pub(crate) fn router(port: Arc<Port>) -> Router {
    Router::new()
        .route("/", any(statement))
        .route("/ping", get(|| async { answer::plain(StatusCode::OK, "Ok.\n") }))
        .route("/replicas_status", get(|| async { answer::plain(StatusCode::OK, "Ok.\n") }))
        .fallback(|| async {
            answer::plain(StatusCode::NOT_FOUND, "There is nothing here; statements go to /\n")
        })
        .with_state(port)
}

async fn statement(
    State(port): State<Arc<Port>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = match Request::new(&method, uri.query().unwrap_or_default(), &headers) {
        Ok(request) => request,
        Err(error) => return answer::failure(&error, ""),
    };
    let query_id = request.query_id.clone();
    let outcome = async {
        port.admit(&request)?;
        if request.get && request.query.is_none() {
            return Ok(answer::plain(StatusCode::OK, "Ok.\n"));
        }
        port.run(request, body.into_data_stream()).await
    };
    outcome.await.unwrap_or_else(|error| answer::failure(&error, &query_id))
}

impl Port {
    fn admit(&self, request: &Request) -> Result<(), EngineError> {
        let Some((user, password)) = &request.credentials else {
            return Err(EngineError::new(
                194,
                "REQUIRED_PASSWORD",
                "give the user and password of this port",
            ));
        };
        // Both are compared whole, so that the time taken does not tell how much was right.
        if same(user, &self.user) & same(password, &self.secret) {
            return Ok(());
        }
        Err(EngineError::new(516, "AUTHENTICATION_FAILED", "user or password is wrong for this port"))
    }

    async fn run(&self, mut request: Request, mut body: BodyDataStream) -> Result<Response, EngineError> {
        if let Some(boundary) = request.boundary.take() {
            read_form(&mut request, boundary, std::mem::replace(&mut body, Body::empty().into_data_stream()))
                .await?;
        }
        let mut text = BytesMut::new();
        match &request.query {
            Some(query) => text.extend_from_slice(query.as_bytes()),
            None => read_up_to(&mut body, &mut text, INSERT_HEAD_BYTES).await?,
        }
        if let Shape::Insert(parts) = shape(&text) {
            if request.query.is_none() && parts.format.is_none() && text.len() >= INSERT_HEAD_BYTES {
                return Err(bad("the INSERT has no FORMAT or VALUES within the first 64 KiB of the body"));
            }
            let head = text.split_off(parts.data_at).freeze();
            return self.insert(request, &parts, head, body).await;
        }
        if request.decompress {
            return Err(bad("decompress=1 is only taken for the data of an INSERT"));
        }
        if request.query.is_some() {
            // A statement may be continued in the body.
            text.extend_from_slice(b"\n");
        }
        read_up_to(&mut body, &mut text, STATEMENT_MAX_BYTES).await?;
        if text.len() >= STATEMENT_MAX_BYTES {
            return Err(bad("the statement is longer than 16 MiB"));
        }
        if let Some(bytes) = hello::answer(&text, request.protocol_version, self.engine.version()) {
            return Ok(answer::whole(bytes, "Native", &request.query_id));
        }
        self.read(request, text.freeze()).await
    }

    async fn job(&self, request: &mut Request) -> Result<Job, EngineError> {
        if self.public {
            gate::check_request(request)?;
            request.cap_setting("max_temporary_data_on_disk_size_for_query", PUBLIC_SPILL_MAX_BYTES);
            request.cap_setting("max_execution_time", self.limits.public_query_seconds);
            request.cap_setting("max_memory_usage", self.limits.public_query_memory_bytes);
            request.settings.retain(|(name, _)| name != "readonly" && name != "allow_ddl");
        }
        let place = timeout(PLACE_PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let permit = place.ok().and_then(Result::ok).ok_or_else(|| {
            EngineError::new(
                202,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                "every place for a running statement is taken; try again in a moment",
            )
        })?;
        Ok(Job {
            engine: Arc::clone(&self.engine),
            key: Key {
                database: std::mem::take(&mut request.database),
                settings: std::mem::take(&mut request.settings),
                read_only: self.public,
            },
            parameters: std::mem::take(&mut request.parameters),
            permit,
            must_read: request.get,
            public: self.public,
        })
    }

    async fn read(&self, mut request: Request, text: Bytes) -> Result<Response, EngineError> {
        let default = || request.default_format.clone().unwrap_or_else(|| "TabSeparated".to_owned());
        let (format, streamed) = match shape(&text) {
            Shape::Rows { format, whole } => {
                let format = format.unwrap_or_else(default);
                let whole = whole
                    || request
                        .settings
                        .iter()
                        .any(|(name, _)| name == "extremes" || name == "output_format_json_array_of_rows");
                let way = run::way(&format, whole);
                (format, way)
            }
            Shape::Other { format } => (format.unwrap_or_else(default), None),
            Shape::Insert(_) => return Err(bad("the INSERT's data must follow its statement")),
        };
        if streamed.is_none() {
            if self.public {
                request.cap_setting("max_result_bytes", WHOLE_ANSWER_MAX_BYTES);
            } else {
                request.default_setting("max_result_bytes", &WHOLE_ANSWER_MAX_BYTES.to_string());
            }
            request.default_setting("result_overflow_mode", "throw");
        }
        let compress = request.compress;
        let job = self.job(&mut request).await?;
        let (started, stopper) = oneshot::channel();
        let (sender, mut pieces) = mpsc::channel(run::PIECES_WAITING);
        let name = format.clone();
        tokio::task::spawn_blocking(move || job.read(&text, &name, streamed, compress, started, &sender));
        let stopper = stopper.await.ok();
        let first = match pieces.recv().await {
            Some(answer::Piece::Chunk(chunk)) => Some(chunk),
            Some(answer::Piece::End) => {
                pieces.close();
                return Ok(answer::whole(Bytes::new(), &format, &request.query_id));
            }
            Some(answer::Piece::Failed(error)) => return Err(error),
            None => return Err(answer::cut_short()),
        };
        let stopper = stopper.ok_or_else(answer::cut_short)?;
        Ok(answer::rows(first, pieces, stopper, &format, &request.query_id))
    }

    async fn insert(
        &self,
        mut request: Request,
        insert: &InsertParts,
        head: Bytes,
        mut body: BodyDataStream,
    ) -> Result<Response, EngineError> {
        if self.public || request.get {
            return Err(gate::refused(
                "this request may only read; an INSERT goes to the service port by POST",
            ));
        }
        let sql = insert.with_settings(&std::mem::take(&mut request.insert_settings));
        let format = insert.format.clone().unwrap_or_else(|| "Values".to_owned());
        let decompress = request.decompress;
        if decompress && request.query.is_none() {
            return Err(bad(
                "with decompress=1 the INSERT statement goes in the query parameter and the body holds frames only",
            ));
        }
        let job = self.job(&mut request).await?;
        let (sender, mut parts) = mpsc::channel(run::PIECES_WAITING);
        let work = tokio::task::spawn_blocking(move || job.insert(&sql, &format, decompress, &mut parts));
        let mut whole = feed(&sender, head, &mut body).await;
        if whole.is_ok() {
            whole = sender.send(Part::End).await.map_err(|_| answer::cut_short());
        }
        drop(sender);
        let written = work.await.map_err(|_| answer::cut_short())?;
        match (written, whole) {
            (Ok(written), Ok(())) => Ok(answer::inserted(written, &request.query_id)),
            (Ok(_), Err(error)) => Err(error),
            (Err(error), _) => {
                drain(&mut body).await;
                Err(error)
            }
        }
    }
}

/// Passes a body on to an insert's thread. Ends early, without an error, when the thread has given up: it says why.
async fn feed(parts: &mpsc::Sender<Part>, head: Bytes, body: &mut BodyDataStream) -> Result<(), EngineError> {
    if !head.is_empty() && parts.send(Part::Data(head)).await.is_err() {
        return Ok(());
    }
    while let Some(bytes) = next(body).await? {
        if parts.send(Part::Data(bytes)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn next(body: &mut BodyDataStream) -> Result<Option<Bytes>, EngineError> {
    let broken = |what: &str| EngineError::new(210, "NETWORK_ERROR", what);
    match timeout(BODY_PATIENCE, body.next()).await {
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(broken("the request's body broke off")),
        Err(_) => Err(broken("the request's body brought nothing for 60 seconds")),
    }
}

/// Reads until `into` holds at least `most` bytes or the body ends.
async fn read_up_to(body: &mut BodyDataStream, into: &mut BytesMut, most: usize) -> Result<(), EngineError> {
    while into.len() < most {
        let Some(bytes) = next(body).await? else { return Ok(()) };
        into.extend_from_slice(&bytes);
    }
    Ok(())
}

async fn drain(body: &mut BodyDataStream) {
    let mut drained = 0;
    while drained < DRAIN_MAX_BYTES {
        match timeout(Duration::from_secs(5), body.next()).await {
            Ok(Some(Ok(bytes))) => drained += bytes.len(),
            _ => return,
        }
    }
}

/// Takes a form's fields as if they stood in the query string.
async fn read_form(request: &mut Request, boundary: String, body: BodyDataStream) -> Result<(), EngineError> {
    let limits = multer::SizeLimit::new().whole_stream(STATEMENT_MAX_BYTES as u64);
    let mut form =
        multer::Multipart::with_constraints(body, boundary, multer::Constraints::new().size_limit(limits));
    let broken = |error: multer::Error| bad(&format!("the multipart body cannot be read: {error}"));
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let value = field.text().await.map_err(broken)?;
        request.word(&name, &value)?;
    }
    Ok(())
}

/// Compares in a time that depends on the lengths only.
fn same(given: &str, expected: &str) -> bool {
    let difference = given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == expected.len() && std::hint::black_box(difference) == 0
}
