//! What a span says that no single field says: kind, name, status, and attributes made out of fields.
//!
//! Each has its SQL form under the same name in `crates/store/src/query/tempo/derived.rs`, for searching and for the
//! view `otel_traces`; so each is a plain function of one event, and none is cleverer than SQL can be.

use event::{Direction, Hop, HopEvent};

use super::tags::{Reading, int, text};

type Derived<'e> = Option<Reading<'e>>;

/// Methods that the conventions know; any other is `_OTHER`, as a hostile client may send anything.
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// gRPC codes that are the server's fault: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`,
/// `DATA_LOSS`. Any other is an error only to the client.
const GRPC_SERVER_ERRORS: &[u32] = &[2, 4, 12, 13, 14, 15];

/// gRPC's `UNIMPLEMENTED`: the path need not be a method that exists, so it is no name.
const GRPC_UNIMPLEMENTED: u32 = 12;

/// Envoy's flag for "the client went away", which is nobody's error here.
const CLIENT_LEFT: &str = "DC";

/// Whether the hop speaks as a client: a workload's call to another. Everything else received a request; a gateway's
/// traffic is `outbound` in Istio's words and still received.
pub fn is_client(event: &HopEvent<'_>) -> bool {
    event.direction == Direction::Outbound && matches!(event.hop, Hop::Sidecar | Hop::Service)
}

/// Whether the span failed, by the HTTP and RPC conventions: a 4xx is the client's error, not the server's.
pub fn is_error(event: &HopEvent<'_>) -> bool {
    http_error(event) || grpc_error(event) || no_answer(event)
}

fn http_error(event: &HopEvent<'_>) -> bool {
    event.status >= 500 || (event.status >= 400 && is_client(event))
}

fn grpc_error(event: &HopEvent<'_>) -> bool {
    event
        .grpc_status
        .is_some_and(|code| if is_client(event) { code != 0 } else { GRPC_SERVER_ERRORS.contains(&code) })
}

/// Nothing was sent, and Envoy says why.
fn no_answer(event: &HopEvent<'_>) -> bool {
    event.status == 0 && !event.response_flags.is_empty() && event.response_flags != CLIENT_LEFT
}

/// A sentence fragment on a failed span: Envoy's details, else its flags.
pub fn status_message<'e>(event: &'e HopEvent<'_>) -> &'e str {
    match (is_error(event), event.details.is_empty()) {
        (false, _) => "",
        (true, false) => &event.details,
        (true, true) => &event.response_flags,
    }
}

/// The span's name: of few different values, so never a path (a gRPC path is a method's name).
pub fn span_name(event: &HopEvent<'_>) -> String {
    if let Some((service, method)) = rpc_names(event)
        && event.grpc_status != Some(GRPC_UNIMPLEMENTED)
    {
        return format!("{service}/{method}");
    }
    match (method(event), route(event)) {
        ("", _) if event.protocol.is_empty() => event.hop.name().to_owned(),
        ("", _) => event.protocol.to_string(),
        ("_OTHER", "") => "HTTP".to_owned(),
        ("_OTHER", route) => format!("HTTP {route}"),
        (method, "") => method.to_owned(),
        (method, route) => format!("{method} {route}"),
    }
}

fn method<'e>(event: &'e HopEvent<'_>) -> &'e str {
    match event.method.as_ref() {
        "" => "",
        method if METHODS.contains(&method) => method,
        _ => "_OTHER",
    }
}

/// Envoy's route names are free text; one that begins with a slash is a template.
fn route<'e>(event: &'e HopEvent<'_>) -> &'e str {
    if event.route.starts_with('/') { &event.route } else { "" }
}

/// The service's own name, else the workload's, else Fastly's service id, else the hop.
pub(super) fn service_name<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    [&event.service, &event.workload, &event.service_id]
        .into_iter()
        .find_map(|name| text(name))
        .or_else(|| text(event.hop.name()))
}

pub(super) fn http_method<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    text(method(event))
}

pub(super) fn http_method_original<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    if method(event) == "_OTHER" { text(&event.method) } else { None }
}

pub(super) fn http_route<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    text(route(event))
}

pub(super) fn error_type<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    if http_error(event) {
        Some(Reading::Text(event.status.to_string().into()))
    } else if grpc_error(event) {
        event.grpc_status.map(|code| Reading::Text(code.to_string().into()))
    } else if no_answer(event) {
        text(&event.response_flags)
    } else {
        None
    }
}

/// `address:port`, `[v6]:port`, either without a port, as address and port (0: none). Text that is neither, such as a
/// bare v6 address, is all address.
fn split_port(whole: &str) -> (&str, u16) {
    let bracketed = whole.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (address, port) = match bracketed {
        Some((address, "")) => return (address, 0),
        Some((address, rest)) if rest.starts_with(':') => (address, &rest[1..]),
        _ => match whole.split_once(':') {
            Some(pair) => pair,
            None => return (whole, 0),
        },
    };
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => (address, number),
        _ => (whole, 0),
    }
}

fn port<'e>(whole: &str) -> Derived<'e> {
    match split_port(whole).1 {
        0 => None,
        port => int(port),
    }
}

pub(super) fn server_address<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    text(split_port(&event.host).0)
}

pub(super) fn server_port<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    port(&event.host)
}

/// The other end of the connection that the span is about.
fn peer<'e>(event: &'e HopEvent<'_>) -> &'e str {
    if is_client(event) { &event.upstream_remote } else { &event.downstream_remote }
}

pub(super) fn peer_address<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    text(split_port(peer(event)).0)
}

pub(super) fn peer_port<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    port(peer(event))
}

pub(super) fn protocol_name<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    if event.protocol.starts_with("HTTP/") { text("http") } else { None }
}

pub(super) fn protocol_version<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    let version = event.protocol.strip_prefix("HTTP/")?;
    text(match version {
        "2.0" => "2",
        "3.0" => "3",
        other => other,
    })
}

pub(super) fn peer_service<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    if is_client(event) { text(&event.peer_workload) } else { None }
}

pub(super) fn rpc_system<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    event.grpc_status.and_then(|_| text("grpc"))
}

/// `/package.Service/Method` of a gRPC call.
fn rpc_names<'e>(event: &'e HopEvent<'_>) -> Option<(&'e str, &'e str)> {
    event.grpc_status?;
    let (service, method) = event.path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

pub(super) fn rpc_service<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    rpc_names(event).and_then(|(service, _)| text(service))
}

pub(super) fn rpc_method<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    rpc_names(event).and_then(|(_, method)| text(method))
}

/// `TLSv1.3` as `1.3`.
pub(super) fn tls_protocol_version<'e>(event: &'e HopEvent<'_>) -> Derived<'e> {
    let version = &event.tls_version;
    text(version.strip_prefix("TLSv").or_else(|| version.strip_prefix("TLS")).unwrap_or(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_split_off_an_address_of_any_form() {
        assert_eq!(split_port("shop.example:8443"), ("shop.example", 8443));
        assert_eq!(split_port("shop.example"), ("shop.example", 0));
        assert_eq!(split_port("[2001:db8::1]:443"), ("2001:db8::1", 443));
        assert_eq!(split_port("[2001:db8::1]"), ("2001:db8::1", 0));
        for whole in ["2001:db8::1", "a:99999", "a:+1", "a:", "a:000080", "[::1", "[::1]x", ":"] {
            assert_eq!(split_port(whole), (whole, 0));
        }
    }

    #[test]
    fn a_4xx_is_the_clients_error_and_a_5xx_everybodys() {
        let server = HopEvent { hop: Hop::Gateway, direction: Direction::Outbound, ..HopEvent::default() };
        let client = HopEvent { hop: Hop::Sidecar, direction: Direction::Outbound, ..HopEvent::default() };
        for (status, at_server, at_client) in [(200, false, false), (403, false, true), (503, true, true)] {
            assert_eq!(is_error(&HopEvent { status, ..server.clone() }), at_server, "{status}");
            assert_eq!(is_error(&HopEvent { status, ..client.clone() }), at_client, "{status}");
        }
        let grpc = |code, event: &HopEvent<'static>| {
            is_error(&HopEvent { status: 200, grpc_status: Some(code), ..event.clone() })
        };
        assert!(!grpc(5, &server) && grpc(5, &client) && grpc(14, &server) && !grpc(0, &client));
    }

    #[test]
    fn no_answer_is_an_error_unless_the_client_left() {
        let silent = |flags: &'static str| HopEvent { response_flags: flags.into(), ..HopEvent::default() };
        assert!(is_error(&silent("UF")) && !is_error(&silent("DC")) && !is_error(&silent("")));
        assert_eq!(error_type(&silent("UF")), text("UF"));
        assert_eq!(status_message(&silent("UF")), "UF");
    }

    #[test]
    fn names_are_of_few_values() {
        let name = |method: &'static str, route: &'static str, path: &'static str, grpc_status| {
            let event = HopEvent {
                method: method.into(),
                route: route.into(),
                path: path.into(),
                grpc_status,
                ..HopEvent::default()
            };
            span_name(&event)
        };
        assert_eq!(name("GET", "default", "/users/7", None), "GET");
        assert_eq!(name("GET", "/users/{id}", "/users/7", None), "GET /users/{id}");
        assert_eq!(name("XYZZY", "", "/", None), "HTTP");
        assert_eq!(name("POST", "", "/shop.Cart/Add", Some(0)), "shop.Cart/Add");
        assert_eq!(name("POST", "", "/shop.Cart/Random83", Some(12)), "POST");
        assert_eq!(name("", "", "", None), "unknown");
    }
}
