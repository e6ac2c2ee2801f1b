//! Whether the ports that senders and people use can be reached from here.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use reqwest::Url;

use super::finding::Finding;
use super::given::{Given, is_loopback};
use crate::api::answer::ServiceAnswer;

/// How long a connection may take to be made: a firewall that drops packets says nothing at all.
const WITHIN: Duration = Duration::from_secs(3);

/// One port, and what came of asking it.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// What it is for.
    pub(super) what: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// Why nobody was reached.
    pub(super) error: Option<String>,
}

/// The ports to ask beside the one that answers anyway: gRPC, and the engine's on this machine.
pub(super) fn to_ask(given: &Given, service: &ServiceAnswer) -> Vec<(&'static str, String, u16)> {
    let mut ports = Vec::new();
    if let Some((host, port)) = grpc(given, service) {
        ports.push(("gRPC (Envoy's access log service, OTLP)", host, port));
    }
    let engine = service.engine_port.as_deref().and_then(|address| address.parse::<SocketAddr>().ok());
    if let Some(engine) = engine.filter(|_| given.is_local()) {
        ports.push(("the engine's read-only port (Grafana, SQL)", engine.ip().to_string(), engine.port()));
    }
    ports
}

/// Where gRPC is: as given, else on the host of the URL with the port that the service names.
pub(super) fn grpc(given: &Given, service: &ServiceAnswer) -> Option<(String, u16)> {
    match &given.grpc {
        Some(url) => host_and_port(url),
        None => {
            let listen: SocketAddr = service.grpc.listen.parse().ok()?;
            Some((given.url.host_str()?.to_owned(), listen.port()))
        }
    }
}

/// Host and port of a URL.
pub(super) fn host_and_port(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// Blocks for up to [`WITHIN`].
pub(super) fn reach((what, host, port): (&'static str, String, u16)) -> Reached {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let error = match (bare, port).to_socket_addrs().map(|mut found| found.next()) {
        Err(error) => Some(error.to_string()),
        Ok(None) => Some("the name has no address".to_owned()),
        Ok(Some(address)) => {
            TcpStream::connect_timeout(&address, WITHIN).err().map(|error| error.to_string())
        }
    };
    Reached { what, host, port, error }
}

pub(super) fn check(given: &Given, service: &ServiceAnswer, reached: &[Reached]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open = vec![format!("HTTP at {}", given.url.as_str().trim_end_matches('/'))];
    for port in reached {
        match &port.error {
            None => open.push(format!("{} at {}:{}", port.what, port.host, port.port)),
            Some(error) => findings.push(Finding::problem(
                "ports",
                format!("{} cannot be reached at {}:{}: {error}", port.what, port.host, port.port),
                "look at firewalls, the balancer or Service before it, and the address that it listens on; --grpc says \
                 where gRPC is, if it is elsewhere",
            )),
        }
    }
    findings.insert(0, Finding::ok("ports", format!("open: {}", open.join("; "))));
    let is_inside = |listen: &str| listen.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
    for (key, port) in [("http.listen", &service.http), ("grpc.listen", &service.grpc)] {
        if is_inside(&port.listen) && !given.is_local() {
            findings.push(Finding::note(
                "ports",
                format!("`{key}` is {}, which only the service's own machine reaches", port.listen),
                "well where a proxy on that machine hands deliveries on; if not, listen on an outer address, with TLS and tokens",
            ));
        }
    }
    let takes_fastly = service.sources.iter().any(|source| source.kind == "fastly");
    if takes_fastly && given.public_url.scheme() != "https" && !is_loopback(&given.public_url) {
        findings.push(Finding::problem(
            "ports",
            format!("{} is not https, and Fastly delivers to nothing else", given.public_url),
            "set `http.tls_cert` and `http.tls_key`, or put a proxy with a certificate before the service",
        ));
    }
    findings
}
