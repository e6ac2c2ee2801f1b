//! All of it, started in the order in which the parts need each other.
//!
//! ```text
//! client -> edge in Viceroy --TLS--> gateway --mTLS--> orders' sidecar -> orders
//!             |   |                    |                 |  ^                |
//!             |   +-- OpenID provider  +- edge's keys    |  +----------------+
//!             |                                          +--mTLS--> stock's sidecar -> stock
//!             +- HTTPS log streaming     ALS    OTLP    file that is followed
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::edge::{API, CLIENT, IDENTITY, LOGIN_ISSUER, stores};
use crate::keys::Key;
use crate::logs::{LogEndpoint, SOURCE, VICEROY_SERVICE};
use crate::mesh::{Mesh, Place, STOCK, Setting, Sidecars, choose_gateway_address, stock_log};
use crate::pki::Authority;
use crate::provider::Provider;
use crate::viceroy::Viceroy;
use crate::workload::{Workloads, serve};

/// The person who logs in.
const PERSON: &str = "ada";

/// The programs that the chain is made of.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Envoy.
    pub envoy: PathBuf,
    /// Viceroy.
    pub viceroy: PathBuf,
    /// The edge service.
    pub wasm: PathBuf,
}

/// A running chain; ended when dropped. [`Chain::end`] ends it without losing logs.
#[derive(Debug)]
pub struct Chain {
    /// Where the edge takes clients.
    pub edge: SocketAddr,
    /// Where the gateway listens, for whoever goes around the edge.
    pub gateway: SocketAddr,
    /// Where the provider is.
    pub provider_address: SocketAddr,
    /// The provider itself, to rotate its keys and to put it out of service.
    pub provider: Arc<Provider>,
    pub(crate) authority: Authority,
    mesh: Mesh,
    logs: Option<LogEndpoint>,
    viceroy: Arc<Viceroy>,
    _runtime: Runtime,
}

/// What the service that takes the logs must have configured: the edge's source and service, the followed file, and how long a request
/// may still grow. `directory` is the chain's own.
pub fn service_configuration(directory: &Path) -> String {
    let log = stock_log(directory);
    let source = |name: &str, kind: &str, more: &str| {
        format!("[[source]]\nname = {}\nkind = {}\n{more}", json!(name), json!(kind))
    };
    let of_file = format!(
        "paths = [{}]\nhop = \"sidecar\"\nnode = {}\npod = {}\n",
        json!(log),
        json!(STOCK.node()),
        json!(STOCK.name)
    );
    format!(
        "{}{}{}{}[fastly]\nservices = \"{VICEROY_SERVICE}\"\n[correlate]\nsettle = \"2s\"\n",
        source(SOURCE, "fastly", ""),
        source("als", "als", ""),
        source("otlp", "otlp", ""),
        source("stock", "file", &of_file)
    )
}

impl Chain {
    /// Starts all of it in `directory`, which exists, with the logs going to the service at `http` and `grpc`. Both are
    /// loopback addresses of a service that is configured as [`service_configuration`] says.
    ///
    /// # Errors
    ///
    /// A program is missing, or a part does not start; the message says which, with what it printed.
    pub fn start(
        programs: &Programs,
        directory: &Path,
        http: SocketAddr,
        grpc: SocketAddr,
    ) -> anyhow::Result<Self> {
        // The second of two installations of the same provider says only that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = &directory.canonicalize().context("the chain's directory")?;
        let runtime = Runtime::new().context("start threads")?;
        let authority = Authority::new(directory)?;
        let signer = Arc::new(Key::es256("login-1"));
        let provider = Arc::new(Provider::new(LOGIN_ISSUER, CLIENT, PERSON, signer, &[]));
        let provider_address = serve(&runtime, Arc::clone(&provider).router())?;

        let workloads = Workloads::start(&runtime)?;
        let setting = Setting { envoy: &programs.envoy, directory, sink: grpc, authority: &authority };
        let sidecars = Sidecars::start(&setting, &workloads)?;

        let gateway = choose_gateway_address()?;
        let own = authority.certificate("edge", &[IDENTITY.to_owned()])?;
        let stores = stores(provider_address, gateway, &own).context("the edge's keys")?;
        let viceroy = Arc::new(Viceroy::start(&programs.viceroy, &programs.wasm, &stores, directory)?);
        let edge = viceroy.address;
        let mesh = Mesh::start(&setting, sidecars, gateway, edge)?;
        let logs = Some(LogEndpoint::start(runtime.handle(), Arc::clone(&viceroy), http));
        Ok(Self {
            edge,
            gateway,
            provider_address,
            provider,
            authority,
            mesh,
            logs,
            viceroy,
            _runtime: runtime,
        })
    }

    /// The place whose listener has this address.
    pub fn place(&self, local: &str) -> Option<Place> {
        let local: SocketAddr = local.parse().ok()?;
        self.mesh.places.iter().find(|(address, _)| *address == local).map(|&(_, place)| place)
    }

    /// An access token for the shop, with members of its claims replaced.
    pub fn token(&self, changes: &serde_json::Value) -> String {
        self.provider.token(API, changes)
    }

    /// Delivers the edge's last lines; how many there were in all. What the proxies logged in their last second is lost with
    /// them unless it was waited for.
    ///
    /// # Errors
    ///
    /// The service did not take the edge's logs.
    pub fn end(mut self) -> anyhow::Result<usize> {
        self.logs.take().map_or(Ok(0), LogEndpoint::stop)
    }

    /// The lines that the edge has logged so far.
    pub fn edge_lines(&self) -> Vec<serde_json::Value> {
        self.viceroy.lines_from(0).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What the edge has printed, for whoever looks for a fault.
    pub fn edge_output(&self) -> String {
        self.viceroy.printed()
    }
}
