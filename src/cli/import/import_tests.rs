//! Tests of [`super`]: files go out whole, over real sockets, and the exit code says what became of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clap::Parser;
use tonic::Request;

use super::*;
use crate::cli::codec::BytesCodec;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(words: &[&str]) -> Arguments {
    Line::try_parse_from(["import"].iter().chain(words)).unwrap().arguments
}

/// What a service was sent.
#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<Vec<(String, Vec<u8>)>>,
    otlp: Mutex<Vec<Vec<u8>>>,
    als: Mutex<Vec<Vec<Bytes>>>,
    turns: AtomicU64,
}

async fn lines(
    State(heard): State<Arc<Heard>>,
    UrlPath(source): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    // Every other request is turned away first: nothing may get lost or out of order by that.
    if heard.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    }
    assert_eq!(headers["content-encoding"], "zstd");
    let unpacked = zstd::decode_all(body.as_ref()).unwrap();
    let count = unpacked.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    let rejected = unpacked.windows(3).filter(|three| three == b"BAD").count() as u64;
    heard.lines.lock().unwrap().push((source, unpacked));
    let answer = serde_json::json!({
        "accepted": count - rejected, "rejected": rejected, "by_reason": {"bad_json": rejected}, "rejects": [],
    });
    axum::Json(answer).into_response()
}

async fn logs(State(heard): State<Arc<Heard>>, body: Bytes) -> &'static str {
    heard.otlp.lock().unwrap().push(body.to_vec());
    ""
}

async fn als(State(heard): State<Arc<Heard>>, request: axum::extract::Request) -> axum::response::Response {
    let service = tower::service_fn(move |request: Request<tonic::Streaming<Bytes>>| {
        let heard = Arc::clone(&heard);
        async move {
            let (metadata, _, mut stream) = request.into_parts();
            assert_eq!(metadata.get("authorization").unwrap(), "Bearer secret");
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            heard.als.lock().unwrap().push(messages);
            Ok(tonic::Response::new(Bytes::new()))
        }
    });
    let mut server = tonic::server::Grpc::new(BytesCodec);
    server.client_streaming(service, request).await.map(axum::body::Body::new)
}

async fn service() -> (String, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let router = axum::Router::new()
        .route("/v1/envoy/{source}", post(lines))
        .route("/v1/logs", post(logs))
        .route("/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs", post(als))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(&heard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

fn file(content: &[u8]) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file.into_temp_path()
}

async fn imported(url: &str, words: &[&str], path: &Path) -> anyhow::Result<Tally> {
    let path = path.to_str().unwrap();
    let common = ["--url", url, "--grpc", url, "--token", "secret", path];
    let words: Vec<&str> = words.iter().copied().chain(common).collect();
    let mut tally = Tally::default();
    import(&parse(&words), &mut tally).await.map(|()| tally)
}

#[tokio::test]
async fn a_large_file_goes_out_whole_in_pieces_in_spite_of_a_busy_service() {
    let (url, heard) = service().await;
    let content: String = (0..60_000).map(|n| format!("line {n} {}\n", "x".repeat(60))).collect();
    let packed = zstd::encode_all(content.as_bytes(), 1).unwrap();
    let tally = imported(&url, &["--format", "envoy", "--source", "mesh"], &file(&packed)).await.unwrap();
    assert_eq!((tally.files, tally.records, tally.rejected), (1, 60_000, 0));
    let mut pieces = heard.lines.lock().unwrap().clone();
    assert!(pieces.len() > 1);
    assert!(pieces.iter().all(|(source, body)| source == "mesh" && body.len() <= 4 << 20));
    // Several are in flight: they may land in another order.
    let first_line =
        |body: &[u8]| String::from_utf8_lossy(body)[5..].split(' ').next().unwrap().parse::<u32>().unwrap();
    pieces.sort_by_key(|(_, body)| first_line(body));
    assert_eq!(pieces.into_iter().flat_map(|(_, body)| body).collect::<Vec<_>>(), content.as_bytes());
}

#[tokio::test]
async fn rejects_are_exit_code_1_unless_they_are_allowed() {
    let (url, _) = service().await;
    let words = ["--format", "envoy", "--source", "mesh"];
    let tally = imported(&url, &words, &file(b"good\nBAD\n")).await.unwrap();
    assert_eq!((tally.events, tally.rejected), (1, 1));
    assert_eq!(exit_code(&tally, false), ExitCode::from(1));
    assert_eq!(exit_code(&tally, true), ExitCode::SUCCESS);
    assert_eq!(exit_code(&Tally::default(), false), ExitCode::SUCCESS);
}

#[tokio::test]
async fn captured_streams_go_through_grpc_with_their_identifier() {
    let (url, heard) = service().await;
    // Field 1 is the identifier, field 2 holds one HTTP entry.
    let (named, entry) = (b"\x0a\x03abc\x12\x02\x0a\x00".as_slice(), b"\x12\x02\x0a\x00".as_slice());
    let frames = [named, entry, named].map(|frame| [&[frame.len() as u8], frame].concat()).concat();
    let tally = imported(&url, &["--format", "als"], &file(&frames)).await.unwrap();
    assert_eq!((tally.records, tally.events), (3, 0));
    assert_eq!(*heard.als.lock().unwrap(), [vec![named, entry], vec![named]]);
}

#[tokio::test]
async fn otlp_frames_go_one_by_one() {
    let (url, heard) = service().await;
    // One resource with one scope with one record.
    let message = b"\x0a\x06\x12\x04\x12\x02\x08\x01".as_slice();
    let frames = [&[message.len() as u8], message].concat().repeat(2);
    let tally = imported(&url, &["--format", "otlp"], &file(&frames)).await.unwrap();
    assert_eq!((tally.records, tally.events), (2, 2));
    assert_eq!(*heard.otlp.lock().unwrap(), [message, message]);
}

#[tokio::test]
async fn a_file_that_is_not_there_and_a_service_that_is_not_there_are_errors() {
    let (url, _) = service().await;
    let error = imported(&url, &[], Path::new("/nowhere/x")).await.unwrap_err();
    assert!(format!("{error:#}").starts_with("import /nowhere/x: read /nowhere/x"), "{error:#}");
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = imported(&url, &["--format", "envoy"], &file(b"line\n")).await.unwrap_err();
    assert!(format!("{error:#}").contains("nothing listens at"), "{error:#}");
}
