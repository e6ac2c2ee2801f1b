//! Receivers of traces: a collector that somebody else wrote, and one of our own that misbehaves as told.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot start its peers has failed")]

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::app::pinned_tool;

/// A span as far as these tests look: trace id, its own id, its parent's (empty for a root), in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpanIds {
    pub(crate) trace: String,
    pub(crate) span: String,
    pub(crate) parent: String,
}

/// Rotel, an OpenTelemetry collector, printing what it receives. Ended when dropped.
pub(crate) struct Rotel {
    child: Child,
    log: PathBuf,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Rotel {
    /// Starts it on free loopback ports, with its log in `directory`.
    pub(crate) fn start(directory: &std::path::Path) -> Self {
        let log = directory.join("rotel.log");
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let (grpc, http) = (free(), free());
        let out = std::fs::File::create(&log).expect("rotel's log");
        let child = Command::new(rotel_binary())
            .args(["start", "--exporter", "blackhole", "--disable-batching"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a handle"))
            .stderr(out)
            .spawn()
            .expect("start rotel");
        let rotel = Self { child, log, grpc, http };
        crate::app::eventually("rotel listens", || {
            let answers =
                |address| std::net::TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
            (answers(&rotel.grpc) && answers(&rotel.http)).then_some(())
        });
        rotel
    }

    /// Every span that it has printed, sorted; duplicates stay.
    pub(crate) fn spans(&self) -> Vec<SpanIds> {
        let text = std::fs::read_to_string(&self.log).expect("rotel's log");
        let mut spans = Vec::new();
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if !line.starts_with("Span #") {
                continue;
            }
            let mut value = |name: &str| {
                let line = lines.next().unwrap_or_default();
                let rest = line.strip_prefix(name).unwrap_or_else(|| panic!("{name} expected: {line}"));
                rest.trim_start_matches([' ', ':']).to_owned()
            };
            let (trace, parent) = (value("Trace ID"), value("Parent ID"));
            spans.push(SpanIds { trace, parent, span: value("ID") });
        }
        spans.sort();
        spans
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rotel_binary() -> PathBuf {
    pinned_tool("THROUGHLINE_ROTEL", "rotel-0.0.1a15/rotel-agent")
}

/// What our receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Takes it.
    Take,
    /// Takes it, and answers only after a while.
    TakeSlowly(Duration),
    /// Refuses so many of its spans.
    Partly(i64),
    /// Answers with a status.
    Refuse(Status),
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    /// The header `x-scope`.
    pub(crate) scope: String,
}

/// A receiver that misbehaves as told, over gRPC; calls without an instruction are taken.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    plan: Arc<Mutex<VecDeque<Behaviour>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    taken: Arc<Mutex<Vec<SpanIds>>>,
}

impl Receiver {
    /// Serves at `address`, over TLS with a PEM certificate and key. Lives as long as the test's process.
    pub(crate) fn serve(&self, address: SocketAddr, tls: Option<(PathBuf, PathBuf)>) -> SocketAddr {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(address).expect("bind the receiver");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("its address");
        let service = TraceServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip);
        let app = axum::Router::new()
            .route_service("/opentelemetry.proto.collector.trace.v1.TraceService/{method}", service)
            .into_make_service();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build();
            runtime.expect("a runtime").block_on(async move {
                match tls {
                    None => axum_server::from_tcp(listener).expect("a server").serve(app).await,
                    Some((cert, key)) => {
                        let config = axum_server::tls_rustls::RustlsConfig::from_pem_file(cert, key).await;
                        let config = config.expect("a certificate");
                        axum_server::from_tcp_rustls(listener, config).expect("a server").serve(app).await
                    }
                }
                .expect("serve");
            });
        });
        address
    }

    /// Serves on a free port.
    pub(crate) fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let address = receiver.serve("127.0.0.1:0".parse().expect("an address"), None);
        (receiver, address)
    }

    /// What to do with the next calls.
    pub(crate) fn plan(&self, plan: impl IntoIterator<Item = Behaviour>) {
        self.plan.lock().unwrap().extend(plan);
    }

    /// Instructions that are left.
    pub(crate) fn planned(&self) -> usize {
        self.plan.lock().unwrap().len()
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Every span that was taken, sorted; duplicates stay.
    pub(crate) fn spans(&self) -> Vec<SpanIds> {
        let mut spans = self.taken.lock().unwrap().clone();
        spans.sort();
        spans
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let scope =
            request.metadata().get("x-scope").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let message = request.into_inner();
        let groups = message.resource_spans.iter().flat_map(|group| &group.scope_spans);
        let spans: Vec<SpanIds> = groups
            .flat_map(|group| &group.spans)
            .map(|span| SpanIds {
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
            })
            .collect();
        self.calls.lock().unwrap().push(Call { at: Instant::now(), scope });
        let behaviour = self.plan.lock().unwrap().pop_front().unwrap_or(Behaviour::Take);
        let take = || self.taken.lock().unwrap().extend(spans);
        let mut answer = ExportTraceServiceResponse::default();
        match behaviour {
            Behaviour::Refuse(status) => return Err(status),
            Behaviour::Take => take(),
            Behaviour::TakeSlowly(pause) => {
                take();
                tokio::time::sleep(pause).await;
            }
            Behaviour::Partly(rejected_spans) => {
                take();
                let error_message = "too old".to_owned();
                answer.partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            }
        }
        Ok(Response::new(answer))
    }
}
