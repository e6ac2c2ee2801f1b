//! The origin behind the edge: it remembers what it was sent.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn values<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }
}

#[derive(Default)]
pub(super) struct Origin {
    seen: Mutex<Vec<Seen>>,
}

impl Origin {
    /// Requests that came with this correlation id.
    pub(super) fn seen(&self, correlation_id: &str) -> Vec<Seen> {
        let of = |seen: &&Seen| seen.values("x-correlation-id") == [correlation_id];
        self.seen.lock().unwrap().iter().filter(of).cloned().collect()
    }

    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(remember).with_state(self)
    }

    pub(super) fn was_asked_for(&self, target: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|seen| seen.target == target)
    }
}

/// Answers 200 to everything, cacheable, and tries to set the header that is the edge's.
async fn remember(State(origin): State<Arc<Origin>>, request: Request) -> Response {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers =
        request.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v.as_bytes()))).collect();
    let seen = Seen { method: request.method().to_string(), target: request.uri().to_string(), headers };
    let user = seen.values("x-user").join(",");
    origin.seen.lock().unwrap().push(seen);
    ([("x-correlation-id", "of-the-origin")], format!("hello {user}")).into_response()
}
