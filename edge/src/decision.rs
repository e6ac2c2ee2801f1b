//! What is to be done with a request.

use crate::log::LogRecord;

/// The decision on one request and the record of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// What to do.
    pub decision: Decision,
    /// The one log line, to be completed by the host with what became of the request.
    pub log: LogRecord,
}

/// Sent on, or answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send the request to a backend.
    Forward(Forward),
    /// Answer at the edge.
    Respond(Respond),
}

/// A request to send on. The host sends exactly these headers (beside framing, which is the platform's) and the
/// client's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Name of a static backend.
    pub backend: String,
    /// Code of the shield to send it to instead; from there it goes to the backend.
    pub shield: Option<String>,
    /// The client's method.
    pub method: String,
    /// Normalised path and the client's query, rewritten if the route says so.
    pub target: String,
    /// Host header for the origin: the route's, else the one that was judged. A backend's own override comes after it.
    pub host: String,
    /// All headers, names in lower case, trusted ones set exactly once.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Neither read from nor written to any cache: true for every request that carried an identity.
    pub pass: bool,
    /// Headers to set on the answer, replacing the origin's.
    pub response_headers: Vec<(String, String)>,
    /// The request carried an identity: no shared cache below may keep the answer. The host replaces the origin's
    /// `Cache-Control` by [`Forward::cache_control`] and takes the headers of [`SHARED_CACHE_HEADERS`] off.
    pub private: bool,
}

/// An answer made at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// Status code.
    pub status: u16,
    /// All headers, names in lower case; the correlation id is among them.
    pub headers: Vec<(String, String)>,
    /// Small; empty for redirects and for `HEAD`.
    pub body: Vec<u8>,
}

/// Headers by which an origin speaks to shared caches alone.
pub const SHARED_CACHE_HEADERS: [&str; 3] =
    ["surrogate-control", "cdn-cache-control", "cloudflare-cdn-cache-control"];

impl Forward {
    /// The answer's `Cache-Control`, from what the origin said (its values joined by commas); `None` leaves it as it is.
    pub fn cache_control(&self, origins: &str) -> Option<String> {
        if !self.private {
            return None;
        }
        // In quotes a comma ends no directive; such lists are rare enough to be replaced.
        if origins.trim().is_empty() || origins.contains('"') {
            return Some("private, no-store".into());
        }
        let name = |directive: &str| {
            let name = directive.split_once('=').map_or(directive, |(name, _)| name);
            name.trim().to_ascii_lowercase()
        };
        let shared = ["public", "s-maxage", "private", "proxy-revalidate"];
        let kept = origins
            .split(',')
            .map(str::trim)
            .filter(|directive| !directive.is_empty() && !shared.contains(&name(directive).as_str()));
        let all: Vec<&str> = std::iter::once("private").chain(kept).collect();
        Some(all.join(", "))
    }

    /// The answer when the backend gave none: 502 or 504, with the correlation id as on every answer.
    pub fn failure(&self, status: u16, title: &str) -> Respond {
        Respond::problem(status, title, &self.response_headers)
    }
}

impl Respond {
    /// A problem document (RFC 9457) that says no more than the client may know. The first of `headers` is the
    /// correlation id's; the document names it as `correlation_id`, so that a person can quote it.
    pub fn problem(status: u16, title: &str, headers: &[(String, String)]) -> Self {
        let id = headers.first().map(|(_, id)| id.as_str());
        let body = serde_json::json!({
            "type": "about:blank", "title": title, "status": status, "correlation_id": id,
        });
        let mut all = headers.to_vec();
        all.push(("content-type".into(), "application/problem+json".into()));
        all.push(("cache-control".into(), "no-store".into()));
        Self { status, headers: all, body: body.to_string().into_bytes() }
    }
}
