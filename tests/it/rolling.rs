//! Streams that the service ends while a real Envoy sends: at a drain, at a rolling restart, at their age. Nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chain::{Proxy, get};
use serde_json::{Value, json};

use crate::app::{Options, Service, eventually};
use crate::envoy::envoy_binary;

const HTTP2: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const ALS: &str = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig";

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

/// An Envoy that answers every request itself and logs it over ALS to whichever sink is healthy. It flushes every
/// millisecond: there is always a message on its way.
fn bootstrap(sinks: &[&Service]) -> Value {
    let endpoint = |sink: &&Service| {
        let health = json!({"port_value": sink.http.port()});
        json!({"endpoint": {"address": address(sink.grpc), "health_check_config": health}})
    };
    let endpoints: Vec<Value> = sinks.iter().map(endpoint).collect();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let log = json!({
        "name": "als",
        "typed_config": {
            "@type": ALS,
            "common_config": {
                "log_name": "rolling",
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "sink"}},
                "buffer_flush_interval": "0.001s",
                "buffer_size_bytes": 500,
            },
        },
    });
    let routes = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
    ]}]});
    let manager = json!({
        "@type": MANAGER,
        "stat_prefix": "gateway",
        // A local reply otherwise keeps a closing connection for a second.
        "delayed_close_timeout": "0s",
        "access_log": [log],
        "route_config": routes,
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    });
    json!({
        "node": {"id": "router~10.244.0.10~gw.istio-system~istio-system.svc.cluster.local", "cluster": "gw"},
        "admin": {"address": address(anywhere)},
        "static_resources": {
            "listeners": [{
                "name": "gateway",
                "address": address(anywhere),
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
            }],
            "clusters": [{
                "name": "sink",
                "type": "STATIC",
                "connect_timeout": "1s",
                "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
                "health_checks": [{
                    "timeout": "2s", "interval": "0.1s", "no_traffic_interval": "0.1s",
                    "unhealthy_threshold": 1, "healthy_threshold": 1,
                    "http_health_check": {"path": "/readyz"},
                }],
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                        {"@type": HTTP2, "explicit_http_config": {"http2_protocol_options": {}}},
                },
                "load_assignment": {"cluster_name": "sink", "endpoints": [{"lb_endpoints": endpoints}]},
            }],
        },
    })
}

/// Requests through an Envoy, one after the other on each of a few threads, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(listener: SocketAddr) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = |_| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let n = sent.fetch_add(1, Ordering::AcqRel);
                    let answer = get(listener, &format!("/r/{n}"), &[("host", "shop")]).unwrap();
                    assert_eq!(answer.status, 200);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let threads = (0..3).map(thread).collect();
        Self { stop, sent, threads }
    }

    /// How many requests were sent, all of them answered.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.sent.load(Ordering::Acquire)
    }
}

/// How many streams ended so, as the service counts.
fn ended(service: &Service, end: &str) -> u64 {
    let (_, text) = service.get("/metrics");
    let line = format!("throughline_als_streams_ended_total{{end=\"{end}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)?.trim().parse().ok()).unwrap_or(0)
}

fn start(service_of: &[&Service]) -> (tempfile::TempDir, Proxy, SocketAddr) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("envoy.json");
    let mut proxy = Proxy::start_with(&envoy_binary(), &bootstrap(service_of), &file).unwrap();
    let listener = proxy.listener("gateway").unwrap();
    (directory, proxy, listener)
}

fn wait_for_all(services: &[&Service], sent: u64) {
    let mut stored = 0;
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && stored != sent {
        std::thread::sleep(Duration::from_millis(100));
        stored = services.iter().map(|service| service.stored_events()).sum();
    }
    assert_eq!(stored, sent, "stored and sent");
}

#[test]
fn a_rolling_restart_behind_one_envoy_loses_nothing() {
    let start_one = || {
        let mut service =
            Service::with(Options { config: "[drain]\ndelay = '1s'\n".to_owned(), ..Options::default() });
        service.pin_ports();
        service
    };
    let (mut first, mut second) = (start_one(), start_one());
    let (_directory, _proxy, listener) = start(&[&first, &second]);
    let load = Load::on(listener);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(700));
        assert!(first.terminate().success());
        first.restart();
        // Until Envoy's health check has seen it.
        std::thread::sleep(Duration::from_millis(700));
        assert!(second.terminate().success());
        second.restart();
    }
    let sent = load.stop();
    eprintln!("{sent} sent over four restarts");
    wait_for_all(&[&first, &second], sent);
    assert!(sent > 1000, "{sent}");
}

#[test]
fn streams_that_reach_their_age_lose_nothing() {
    let config = "[limits]\nstream_age = '400ms'\nconnection_age = '900ms'\n".to_owned();
    let service = Service::with(Options { config, ..Options::default() });
    let (_directory, _proxy, listener) = start(&[&service]);
    let load = Load::on(listener);
    eventually("five streams have reached their age", || (ended(&service, "aged") >= 5).then_some(()));
    let sent = load.stop();
    wait_for_all(&[&service], sent);
    assert_eq!(ended(&service, "cut"), 0);
}
