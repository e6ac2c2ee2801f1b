//! The two workloads: `orders`, which the gateway calls, and `stock`, which orders calls through its own sidecar.
//!
//! Orders copies `x-request-id`, `traceparent` and `x-correlation-id` to its call, as every workload in a mesh must. The last
//! part of the path says what happens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::mesh::{ORDERS, STOCK};

/// Far longer than the gateway waits. Nobody waits for it: the call is cancelled from hop to hop.
const LATE: Duration = Duration::from_secs(60);
/// What a look into the stock takes; some milliseconds, so that a trace shows them.
const LOOK: Duration = Duration::from_millis(8);
/// What a workload hands on.
const COPIED: [&str; 3] = ["x-request-id", "traceparent", "x-correlation-id"];

/// Both workloads, until the runtime ends.
#[derive(Debug)]
pub(crate) struct Workloads {
    pub(crate) orders: SocketAddr,
    pub(crate) stock: SocketAddr,
    outbound: Arc<OnceLock<SocketAddr>>,
}

#[derive(Clone)]
struct Orders {
    outbound: Arc<OnceLock<SocketAddr>>,
    client: reqwest::Client,
}

impl Workloads {
    /// Both listen when this returns.
    pub(crate) fn start(runtime: &Runtime) -> anyhow::Result<Self> {
        let outbound = Arc::new(OnceLock::new());
        let client = reqwest::Client::builder().no_proxy().local_address(IpAddr::from(ORDERS.address));
        let client = client.build().context("make the client of orders")?;
        let of_orders = Orders { outbound: Arc::clone(&outbound), client };
        Ok(Self {
            orders: serve(runtime, Router::new().fallback(orders).with_state(of_orders))?,
            stock: serve(runtime, Router::new().fallback(stock))?,
            outbound,
        })
    }

    /// Tells orders where its sidecar takes its calls: in a mesh iptables does.
    pub(crate) fn know_outbound(&self, address: SocketAddr) {
        // Set once: one mesh for one pair of workloads.
        let _ = self.outbound.set(address);
    }
}

/// Serves on a free port of loopback.
pub(crate) fn serve(runtime: &Runtime, router: Router) -> anyhow::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).context("bind a peer")?;
    let address = listener.local_addr().context("a peer's address")?;
    runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// Whether it is the caller's first try.
fn is_first(headers: &HeaderMap) -> bool {
    headers.get("x-envoy-attempt-count").is_some_and(|count| count == "1")
}

async fn orders(State(orders): State<Orders>, uri: Uri, headers: HeaderMap) -> (StatusCode, String) {
    let task = uri.path().rsplit('/').next().unwrap_or_default();
    if uri.path().starts_with("/public") {
        return (StatusCode::OK, "open to everyone\n".to_owned());
    }
    if task == "restarting" && is_first(&headers) {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned());
    }
    let Some(address) = orders.outbound.get() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "orders has no sidecar\n".to_owned());
    };
    let mut call = orders.client.get(format!("http://{address}/stock/{task}"));
    call = call.header("host", format!("{}:8080", STOCK.host()));
    for name in COPIED {
        if let Some(value) = headers.get(name) {
            call = call.header(name, value);
        }
    }
    match call.send().await {
        Ok(answer) => (answer.status(), format!("stock says {}\n", answer.status())),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("stock cannot be asked: {error}\n")),
    }
}

async fn stock(uri: Uri, headers: HeaderMap) -> (StatusCode, &'static str) {
    match uri.path().rsplit('/').next().unwrap_or_default() {
        "slow" => tokio::time::sleep(LATE).await,
        _ => tokio::time::sleep(LOOK).await,
    }
    match uri.path().rsplit('/').next().unwrap_or_default() {
        "failing" => (StatusCode::INTERNAL_SERVER_ERROR, "the shelves are on fire\n"),
        "flaky" if is_first(&headers) => (StatusCode::SERVICE_UNAVAILABLE, "just a moment\n"),
        _ => (StatusCode::OK, "12 left\n"),
    }
}
