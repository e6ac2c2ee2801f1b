//! The child process: opens the engine, listens, and ends when its standard input does.

use std::convert::Infallible;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::credentials::{Credentials, CredentialsError};
use crate::http::{Port, router};
use crate::limits::Limits;
use crate::pool::{Engine, OpenError};

/// The environment variable by which a parent hands over the service port's secret.
pub const SECRET_VARIABLE: &str = "THROUGHLINE_ENGINE_SECRET";
/// The user of the service port.
pub const SERVICE_USER: &str = "throughline";
/// How long the data directory's lock is waited for. A killed predecessor lets go within milliseconds, unless the kernel
/// is still writing its memory out.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the engine may go on opening after its input has ended: long enough to say what is wrong at once.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);
/// How long running statements may take to end when the engine is asked to.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// How to run the engine in this process.
#[derive(Debug, Clone)]
pub struct Options {
    /// `libchdb.so`; `scripts/engine-lib` prints where it put it.
    pub library: PathBuf,
    /// The data directory; made if missing. One process at a time.
    pub data: PathBuf,
    /// Where the service port listens; port 0 picks a free one. Full rights.
    pub http: SocketAddr,
    /// Where the read-only port for people and dashboards listens; none without.
    pub public_http: Option<SocketAddr>,
    /// File with the read-only port's `user:secret`; written with a new secret if missing. Default: `credentials` beside
    /// the data directory's contents.
    pub public_credentials: Option<PathBuf>,
    /// The service port's secret. Without one, a random secret is made and told in the ready line.
    pub secret: Option<String>,
    /// Keep running when standard input ends; for an engine started by hand.
    pub stay: bool,
    /// Listen on an address other than loopback although neither port speaks TLS.
    pub insecure: bool,
    /// Bounds on memory, threads and statements.
    pub limits: Limits,
}

impl Options {
    /// Options for a data directory, with a service port on a free loopback port and no public port.
    #[must_use]
    pub fn new(library: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self {
            library: library.into(),
            data: data.into(),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_http: None,
            public_credentials: None,
            secret: None,
            stay: false,
            insecure: false,
            limits: Limits::default(),
        }
    }
}

/// Why the engine could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address that others can reach, and no TLS.
    #[error(
        "{address} can be reached from elsewhere and the engine's ports speak no TLS; use a loopback address, or say --insecure"
    )]
    Exposed {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The engine did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The credentials file cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A port cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Threads, signals or standard output failed.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One line of JSON on standard output once every port listens.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ready {
    /// Service port, `address:port`.
    pub listening: String,
    /// Read-only port, `address:port`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub public: Option<String>,
    /// The service port's user.
    pub user: String,
    /// The service port's secret, where this process made it up itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<String>,
    /// The file with the read-only port's `user:secret`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credentials: Option<PathBuf>,
    /// ClickHouse's version inside.
    pub version: String,
    /// The library's version.
    pub library: String,
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |source| RunError::System { what, source }
}

/// Runs the engine until standard input ends or a signal asks it to stop; then ends the process itself, with status 0.
///
/// It must be the process's only business: the library cannot be unloaded, a process holds one data directory at a
/// time, and the ordinary way out of `main` crashes with the library loaded.
///
/// # Errors
/// When the engine does not come up. It is then safe to return from `main`.
pub fn run(mut options: Options) -> Result<Infallible, RunError> {
    for address in [Some(options.http), options.public_http].into_iter().flatten() {
        if !address.ip().is_loopback() && !options.insecure {
            return Err(RunError::Exposed { address });
        }
    }
    enter(&mut options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(options.limits.service_statements + options.limits.public_statements + 16)
        .enable_all()
        .build()
        .map_err(system("start threads"))?;
    let ended = runtime.block_on(serve(options));
    match ended {
        Ok(engine) => {
            engine.close();
            crate::ffi::exit_now(0)
        }
        Err(error) => Err(error),
    }
}

/// Makes the paths absolute and moves into an empty directory of the data directory: the engine reads a `config.xml` it
/// finds in the working directory, and takes relative file names from there.
fn enter(options: &mut Options) -> Result<(), RunError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(system("tell the working directory"));
    options.library = absolute(&options.library)?;
    options.data = absolute(&options.data)?;
    if let Some(path) = &options.public_credentials {
        options.public_credentials = Some(absolute(path)?);
    }
    let directory = |source| OpenError::Directory { path: options.data.clone(), source };
    let nowhere = options.data.join("nowhere");
    std::fs::create_dir_all(&nowhere).map_err(directory)?;
    std::env::set_current_dir(&nowhere).map_err(directory)?;
    Ok(())
}

async fn serve(options: Options) -> Result<Arc<Engine>, RunError> {
    let ended = (!options.stay).then(watch_input).transpose()?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("watch for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("watch for signals"))?;
    let credentials = match (options.public_http, &options.public_credentials) {
        (None, _) => None,
        (Some(_), Some(path)) => Some((Credentials::read_or_create(path)?, path.clone())),
        (Some(_), None) => {
            let path = options.data.join("credentials");
            Some((Credentials::read_or_create(&path)?, path))
        }
    };
    let (listener, listening) = listen(options.http).await?;
    let public = match options.public_http {
        Some(address) => Some(listen(address).await?),
        None => None,
    };

    let limits = options.limits.clone();
    let opening = tokio::task::spawn_blocking(move || {
        Engine::open(&options.library, &options.data, &options.limits, LOCK_PATIENCE)
    });
    let input = async {
        match ended {
            Some(ended) => drop(ended.await),
            None => std::future::pending().await,
        }
    };
    tokio::pin!(input);
    let engine = tokio::select! {
        opened = opening => {
            opened.map_err(|error| system("open the engine")(std::io::Error::other(error)))??
        }
        // The parent is gone. Its next engine may wait for the directory: each orphan that opened it first, only to
        // close it, would cost that one its patience. Nothing is under way that kill -9 would hurt.
        () = async { (&mut input).await; sleep(ORPHAN_GRACE).await } => crate::ffi::exit_now(0),
    };
    let engine = Arc::new(engine);

    let made_up = options.secret.is_none();
    let secret = options.secret.unwrap_or_else(crate::credentials::random_secret);
    let ready = Ready {
        listening: listening.to_string(),
        public: public.as_ref().map(|(_, address)| address.to_string()),
        user: SERVICE_USER.to_owned(),
        secret: made_up.then(|| secret.clone()),
        credentials: credentials.as_ref().map(|(_, path)| path.clone()),
        version: engine.version().to_owned(),
        library: engine.library_version(),
    };
    let service_places = Arc::new(Semaphore::new(limits.service_statements));
    let public_places = Arc::new(Semaphore::new(limits.public_statements));
    let service = Port {
        engine: Arc::clone(&engine),
        user: SERVICE_USER.to_owned(),
        secret,
        public: false,
        places: Arc::clone(&service_places),
        limits: limits.clone(),
    };
    serve_port(listener, service);
    if let (Some((listener, _)), Some((credentials, _))) = (public, credentials) {
        let port = Port {
            engine: Arc::clone(&engine),
            user: credentials.user,
            secret: credentials.secret,
            public: true,
            places: Arc::clone(&public_places),
            limits: limits.clone(),
        };
        serve_port(listener, port);
    }
    announce(&ready)?;

    tokio::select! {
        () = &mut input => tracing::info!("standard input ended; closing the engine"),
        _ = terminate.recv() => tracing::info!("told to terminate; closing the engine"),
        _ = interrupt.recv() => tracing::info!("interrupted; closing the engine"),
    }
    // Taking every place waits for running statements and keeps new ones from starting.
    let drained = async {
        let service = service_places.acquire_many_owned(limits.service_statements as u32).await;
        let public = public_places.acquire_many_owned(limits.public_statements as u32).await;
        (service.map(std::mem::forget), public.map(std::mem::forget))
    };
    if timeout(DRAIN_PATIENCE, drained).await.is_err() {
        tracing::warn!("statements still run after {DRAIN_PATIENCE:?}; the engine ends without them");
        crate::ffi::exit_now(0);
    }
    Ok(engine)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn serve_port(listener: TcpListener, port: Port) {
    let router = router(Arc::new(port));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a port stopped listening");
        }
    });
}

fn announce(ready: &Ready) -> Result<(), RunError> {
    let line = serde_json::to_string(ready).map_err(|error| system("write the ready line")(error.into()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(system("write the ready line"))
}

/// Tells when standard input ends. A parent that dies in whatever way closes it; a parent's death signal would not do,
/// because it follows the thread that started the child.
fn watch_input() -> Result<oneshot::Receiver<()>, RunError> {
    let (ended, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut input = std::io::stdin().lock();
            while let Ok(bytes) = input.fill_buf().map(<[u8]>::len) {
                if bytes == 0 {
                    break;
                }
                input.consume(bytes);
            }
            let _ = ended.send(());
        })
        .map_err(system("start a thread"))?;
    Ok(told)
}
