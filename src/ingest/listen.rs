//! A port: bound early so that a taken one is said at once, TLS with files read again when they change, connections
//! capped, slow headers cut off.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Listen, Tls};

/// A client that has not sent its headers by then is slow on purpose; a sender on the worst link needs one second.
const HEADERS_WITHIN: Duration = Duration::from_secs(15);
/// HTTP/2 streams of one connection; Envoy needs one per worker and logger, Fastly a few.
const STREAMS: u32 = 256;
/// How often certificate files are looked at; a rotation is days ahead of its deadline.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);

/// A bound port that does not serve yet.
pub(crate) struct Port {
    listener: TcpListener,
    tls: Option<(RustlsConfig, Tls)>,
    connections: Arc<Semaphore>,
}

impl Port {
    /// Binds the address and reads the certificate. `key` is the configuration key, for the error.
    pub(crate) async fn bind(listen: &Listen, connections: usize, key: &str) -> anyhow::Result<Self> {
        let address = listen.address;
        let listener = TcpListener::bind(address).with_context(|| {
            format!("cannot listen on {address} (`{key}`): is another service there? choose another port")
        })?;
        listener.set_nonblocking(true).context("prepare the port")?;
        let tls = match &listen.tls {
            None => None,
            Some(files) => {
                let config =
                    RustlsConfig::from_pem_file(&files.cert, &files.key).await.with_context(|| {
                        format!(
                            "cannot use certificate {} with key {}",
                            files.cert.display(),
                            files.key.display()
                        )
                    })?;
                Some((config, files.clone()))
            }
        };
        Ok(Self { listener, tls, connections: Arc::new(Semaphore::new(connections)) })
    }

    /// Where it really listens (the port may have been 0).
    pub(crate) fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the handle is told to stop.
    pub(crate) async fn serve(self, app: Router, handle: Handle<std::net::SocketAddr>) -> io::Result<()> {
        let capped = Capped { connections: self.connections };
        match self.tls {
            None => {
                let mut server = axum_server::from_tcp(self.listener)?.acceptor(capped).handle(handle);
                bound_patience(server.http_builder());
                server.serve(app.into_make_service()).await
            }
            Some((config, files)) => {
                let reload = tokio::spawn(reload_certificates(config.clone(), files));
                let acceptor = RustlsAcceptor::new(config).acceptor(capped);
                let mut server = axum_server::from_tcp(self.listener)?.acceptor(acceptor).handle(handle);
                bound_patience(server.http_builder());
                let served = server.serve(app.into_make_service()).await;
                reload.abort();
                served
            }
        }
    }
}

fn bound_patience(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(HEADERS_WITHIN));
}

/// Polls rather than watches: secrets mounted by Kubernetes change by symlink, which watchers miss.
async fn reload_certificates(config: RustlsConfig, files: Tls) {
    let mut seen = (modified(&files.cert), modified(&files.key));
    let mut tick = tokio::time::interval(CERTIFICATES_EVERY);
    loop {
        tick.tick().await;
        let now = (modified(&files.cert), modified(&files.key));
        if now == seen {
            continue;
        }
        match config.reload_from_pem_file(&files.cert, &files.key).await {
            Ok(()) => {
                seen = now;
                tracing::info!(cert = %files.cert.display(), "certificate read again");
            }
            // Half a rotation, most likely; the old certificate goes on serving and the next tick tries again.
            Err(error) => {
                tracing::warn!(cert = %files.cert.display(), %error, "cannot read the changed certificate");
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Lets in so many connections at once; further ones are closed at once, which is cheaper than a hang.
#[derive(Clone)]
struct Capped {
    connections: Arc<Semaphore>,
}

impl<I, S> Accept<I, S> for Capped {
    type Stream = I;
    type Service = Held<S>;
    type Future = std::future::Ready<io::Result<(I, Held<S>)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        std::future::ready(
            permit
                .map(|permit| (stream, Held { service, _permit: Arc::new(permit) }))
                .map_err(|_| io::Error::other("too many connections")),
        )
    }
}

/// A connection's service; holds its place until the connection ends.
#[derive(Clone)]
struct Held<S> {
    service: S,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl<S: tower::Service<R>, R> tower::Service<R> for Held<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}
