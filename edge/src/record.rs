//! What the log says of a request from its first moment on, whatever becomes of it.

use crate::config::Config;
use crate::host::Host;
use crate::log::{LogRecord, Timings, Tls, Verdict};
use crate::request::IncomingRequest;
use crate::stamp::Ids;

/// What is known of a request before anything is decided.
pub(crate) fn first_entries(
    config: &Config,
    host: &impl Host,
    request: &IncomingRequest,
    ids: &Ids,
    start_us: u64,
) -> LogRecord {
    LogRecord {
        v: 1,
        src: "throughline-edge",
        ts_us: start_us,
        correlation_id: ids.correlation_id.clone(),
        traceparent: ids.traceparent.clone(),
        parent_span_id: ids.parent_span_id.clone(),
        links: ids.link.iter().cloned().collect(),
        edge_request_id: host.client_request_id(),
        service_id: host.service_id(),
        service_version: host.service_version(),
        pop: host.pop(),
        method: cut(&request.method, 32),
        scheme: cut(&request.scheme, 16),
        host: cut(&request.authority, 255),
        path: cut(without_secrets(request.raw_path()), 2000),
        protocol: cut(&request.protocol, 32),
        client_ip: host.client_ip().map(|ip| ip.to_string()).unwrap_or_default(),
        user_agent: request.only_value("user-agent").map(|text| cut(text, 1000)).unwrap_or_default(),
        verdict: Verdict { policy_version: config.policy_version.clone(), ..Verdict::default() },
        tls: Tls {
            version: request.tls.version.clone(),
            cipher: request.tls.cipher.clone(),
            ja4: request.tls.ja4.clone(),
        },
        timings: Timings::default(),
        ..LogRecord::default()
    }
}

/// A path that may yet be refused, up to where parameters begin: session ids and tokens stand in those.
fn without_secrets(path: &str) -> &str {
    let begins = |rest: &[u8]| match rest {
        [b';' | b'?' | b'#', ..] => true,
        [b'%', high, low, ..] => {
            let escape = [*high, low.to_ascii_lowercase()];
            [*b"3b", *b"3f", *b"23", *b"25"].contains(&escape)
        }
        _ => false,
    };
    let end = (0..path.len()).find(|at| path.as_bytes().get(*at..).is_some_and(begins));
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// At most so many bytes, cut at a character.
fn cut(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
