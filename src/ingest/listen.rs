//! A port: bound early so that a taken one is said at once, TLS with files read again when they change, connections
//! capped and of bounded age, slow headers cut off, floods of frames ended.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum_server::accept::Accept as _;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Counted, Watched};
use super::peer::{Introduced, Peer};
use super::tls;
use crate::config::{Limits, Listen, Tls};
use crate::metrics::Metrics;

/// How often an HTTP/2 peer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(15);
/// HTTP/1 headers together, and what is read of a connection at once. Hyper's own bound is 400 KiB for each
/// connection; an id that is asked for, a token and a traceparent are a few hundred bytes.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2 headers of one request, uncompressed, CONTINUATION frames included: hyper's own bound.
const HTTP2_HEADER_BYTES: u32 = 16 << 10;
/// Streams that a peer opened and reset before we looked at them (rapid reset, CVE-2023-44487). Over it the connection
/// ends. A sender that gives up resets a few.
const RESETS_WAITING: usize = 20;
/// Streams that we had to reset for what the peer did wrong on them, over a connection's life.
const RESETS_FOR_ERRORS: usize = 256;
/// What of one stream's answer may wait for the peer to read it. Ours are a few bytes, but for the query API.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// What a peer may send before it is read: memory of each connection that is pushed back. A megabyte keeps a POP at
/// 100 ms of round trip at 10 MB a second.
const WIDE_WINDOW_BYTES: u32 = 1 << 20;
/// The same on the gRPC port, where thousands of proxies of a mesh are pushed back at once, a millisecond away.
const NARROW_WINDOW_BYTES: u32 = 256 << 10;
/// HTTP/2 streams of one connection; Envoy needs one per worker and logger, Fastly a few.
const STREAMS: u32 = 256;
/// After an accept that failed: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound port that does not serve yet.
pub(crate) struct Port {
    listener: TcpListener,
    tls: Option<(RustlsConfig, Tls)>,
    connections: Arc<Connections>,
    patience: Duration,
    window_bytes: u32,
}

impl Port {
    /// Binds the address and reads the certificate. `key` is the configuration key, for the error.
    pub(crate) async fn bind(
        listen: &Listen,
        limits: &Limits,
        metrics: Arc<Metrics>,
        key: &str,
    ) -> anyhow::Result<Self> {
        let address = listen.address;
        let listener = TcpListener::bind(address).with_context(|| {
            format!("cannot listen on {address} (`{key}`): is another service there? choose another port")
        })?;
        listener.set_nonblocking(true).context("prepare the port")?;
        let tls = match &listen.tls {
            None => None,
            Some(files) => {
                let config = tls::open(files).with_context(|| format!("`{key}`"))?;
                Some((config, files.clone()))
            }
        };
        let connections = Connections::new(limits.connections, metrics);
        Ok(Self { listener, tls, connections, patience: limits.patience, window_bytes: WIDE_WINDOW_BYTES })
    }

    /// The same port for peers that are near and many.
    pub(crate) fn for_a_mesh(self) -> Self {
        Self { window_bytes: NARROW_WINDOW_BYTES, ..self }
    }

    /// Where it really listens (the port may have been 0).
    pub(crate) fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to end. A connection older than `age` (none where zero) is asked to go: an HTTP/2 client gets a
    /// GOAWAY, finishes what it has under way and connects anew, perhaps to an instance that is younger.
    pub(crate) async fn serve(self, app: Router, age: Duration, ending: Ending) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (handshake, reload) = match self.tls {
            None => (None, None),
            Some((config, files)) => {
                let reload = tokio::spawn(tls::reload(config.clone(), files));
                (Some(RustlsAcceptor::new(config).handshake_timeout(self.patience)), Some(reload))
            }
        };
        let mut builder = Builder::new(TokioExecutor::new());
        bound(&mut builder, self.patience, self.window_bytes);
        let builder = Arc::new(builder);
        let watch = tokio::spawn(Arc::clone(&self.connections).watch());
        let open = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = ending.in_order.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection, or for want of descriptors; either way the next may fare better.
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Further connections are closed at once, which is cheaper than a hang.
            let Some(place) = self.connections.admit() else { continue };
            let stream = Watched::new(stream, &place);
            let (app, builder, ending, handshake) =
                (app.clone(), Arc::clone(&builder), ending.clone(), handshake.clone());
            open.spawn(async move {
                match handshake {
                    None => {
                        let app = Introduced::new(app, Peer { address, names: None });
                        converse(stream, Counted::new(app, &place), &builder, age, &ending).await;
                    }
                    Some(handshake) => {
                        if let Ok((stream, ())) = handshake.accept(stream, ()).await {
                            let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                            let app =
                                Introduced::new(app, Peer { address, names: presented.map(tls::names) });
                            converse(stream, Counted::new(app, &place), &builder, age, &ending).await;
                        }
                    }
                }
            });
        }
        drop(listener);
        open.close();
        open.wait().await;
        watch.abort();
        if let Some(reload) = reload {
            reload.abort();
        }
        Ok(())
    }
}

/// How ports are told to end; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// No new connections, no new requests on old ones; what is under way ends by itself.
    pub(crate) in_order: CancellationToken,
    /// Connections are closed as they are.
    pub(crate) at_once: CancellationToken,
}

/// One connection, to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Counted<Introduced<Router>>,
    builder: &Builder<TokioExecutor>,
    age: Duration,
    ending: &Ending,
) {
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(served);
    let too_old = async {
        if age.is_zero() { std::future::pending().await } else { tokio::time::sleep(jittered(age)).await }
    };
    // How a connection ends is its peer's affair; what was acknowledged on it is durable.
    tokio::select! {
        _ = &mut served => return,
        () = ending.in_order.cancelled() => {}
        () = too_old => {}
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        _ = &mut served => {}
        () = ending.at_once.cancelled() => {}
    }
}

/// A duration with a fifth taken off or added: what began together should not end together.
pub(super) fn jittered(age: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() as u16;
    age.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u16::MAX))
}

/// Every bound of both protocols, also where a library's own would do today.
fn bound(builder: &mut Builder<TokioExecutor>, patience: Duration, window_bytes: u32) {
    // Of HTTP/1 headers 100 at most, hyper's own bound, which costs no allocation.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS_WAITING)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS)
        .max_header_list_size(HTTP2_HEADER_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(window_bytes)
        .initial_connection_window_size(window_bytes)
        .keep_alive_interval(Some(PING_EVERY));
}
