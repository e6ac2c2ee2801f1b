//! The two workloads of the chain, as small as they can be and still call each other.
//!
//! App a copies `x-request-id`, `traceparent` and `x-correlation-id` to its own calls, as every workload in a mesh must;
//! paths under `/shop/drops` and `/shop/keeps-trace` do not. The first part of the path after the route's says what it does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::mesh::{A, CALL_HEADER};

/// Far longer than the gateway waits. Nobody waits for it: the call is cancelled from hop to hop.
const LATE: Duration = Duration::from_secs(60);
/// Long enough for calls side by side to overlap, however slow the machine.
const OVERLAP: Duration = Duration::from_millis(20);

/// Both apps, until dropped.
pub(crate) struct Apps {
    pub(crate) a: SocketAddr,
    pub(crate) b: SocketAddr,
    outbound: Arc<OnceLock<SocketAddr>>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// What app b was told.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) call: String,
    pub(crate) request_id: String,
}

#[derive(Clone)]
struct AppA {
    outbound: Arc<OnceLock<SocketAddr>>,
    client: reqwest::Client,
}

impl Apps {
    /// Both listen when this returns.
    pub(crate) fn start(runtime: &Runtime) -> Self {
        let outbound = Arc::new(OnceLock::new());
        let received = Arc::new(Mutex::new(Vec::new()));
        let client = reqwest::Client::builder().local_address(IpAddr::from(A.address)).build();
        let client = client.expect("a client with the pod's address");
        let app_a = AppA { outbound: Arc::clone(&outbound), client };
        Self {
            a: serve(runtime, Router::new().fallback(a).with_state(app_a)),
            b: serve(runtime, Router::new().fallback(b).with_state(Arc::clone(&received))),
            outbound,
            received,
        }
    }

    /// Tells app a where its sidecar takes its calls: in a mesh iptables does.
    pub(crate) fn know_outbound(&self, address: SocketAddr) {
        self.outbound.set(address).expect("one mesh for one pair of apps");
    }

    /// The request id that came with a call to app b.
    pub(crate) fn request_id_of(&self, call: &str) -> String {
        let received = self.received.lock().unwrap();
        let found = received.iter().find(|one| one.call == call);
        found.unwrap_or_else(|| panic!("app b was not called by {call}")).request_id.clone()
    }
}

/// Serves on a free port of loopback, in HTTP/1 and HTTP/2.
pub(crate) fn serve(runtime: &Runtime, router: Router) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("bind an app");
    let address = listener.local_addr().expect("the app's address");
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn a(State(app): State<AppA>, uri: Uri, headers: HeaderMap) -> (StatusCode, String) {
    // The gateway's try: the calls of two tries are different calls.
    let attempt = text(&headers, "x-envoy-attempt-count");
    let call = |number: u32, host: &'static str, path: &'static str| {
        let app = app.clone();
        let call = format!("{}.{attempt}.{number}", text(&headers, CALL_HEADER));
        let copied = copied(uri.path(), &headers);
        async move {
            let address = app.outbound.get().expect("the sidecar is up before the gateway");
            let request = app.client.get(format!("http://{address}{path}")).headers(copied);
            let request = request.header("host", format!("{host}.default.svc.cluster.local:8080"));
            let answer = request.header(CALL_HEADER, call).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        }
    };
    let task = uri.path().rsplit('/').next().unwrap_or_default();
    let well = match task {
        "sequential" => call(1, "app-b", "/stock").await & call(2, "app-b", "/stock").await,
        "parallel" => {
            let (one, two) = tokio::join!(call(1, "app-b", "/overlap"), call(2, "app-b", "/overlap"));
            one & two
        }
        "mixed" => {
            let first = call(1, "app-b", "/price").await;
            let (one, two) = tokio::join!(call(2, "app-b", "/overlap"), call(3, "app-b", "/stock"));
            first & one & two
        }
        "contested" => {
            let (one, two) = tokio::join!(call(1, "app-b", "/contested"), call(2, "app-b", "/contested"));
            one & two
        }
        "flaky" => call(1, "app-b", "/flaky").await,
        "refused" => call(1, "down", "/stock").await,
        "late" => call(1, "app-b", "/late").await,
        "impatient" => call(1, "app-b", if attempt == "1" { "/late" } else { "/stock" }).await,
        "retry" => call(1, "app-b", "/stock").await & (attempt != "1"),
        _ => call(1, "app-b", "/stock").await,
    };
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "done".to_owned())
}

/// The headers of the request that go on with a call.
fn copied(path: &str, headers: &HeaderMap) -> HeaderMap {
    let names: &[&str] = match path {
        "/shop/drops" => &[],
        "/shop/keeps-trace" => &["traceparent"],
        _ => &["x-request-id", "traceparent", "x-correlation-id"],
    };
    let one = |name: &&str| Some((name.parse::<HeaderName>().ok()?, headers.get(*name)?.clone()));
    names.iter().filter_map(one).collect()
}

/// Answers of one path have one size, so that sizes tell no call from another.
async fn b(
    State(received): State<Arc<Mutex<Vec<Received>>>>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, &'static str) {
    let call = text(&headers, CALL_HEADER);
    let is_first = text(&headers, "x-envoy-attempt-count") == "1";
    let fails = is_first && (uri.path() == "/flaky" || uri.path() == "/contested" && call.ends_with(".1"));
    received.lock().unwrap().push(Received { call, request_id: text(&headers, "x-request-id") });
    match uri.path() {
        "/late" => tokio::time::sleep(LATE).await,
        "/overlap" | "/contested" => tokio::time::sleep(OVERLAP).await,
        _ => {}
    }
    (if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, "12 left")
}
