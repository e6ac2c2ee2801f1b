//! How many questions are answered at once. Each may hold ten thousand rows in memory, and the engine has cores of its
//! own to lose to it; what is received does not wait for what is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Problem;

/// Answers that are made or sent at once, for each core: at some 30 MB for the largest, four cores hold a quarter of a
/// gigabyte. More at once would not be sooner.
const AT_ONCE_PER_CORE: usize = 2;
/// How long a question waits for its turn; most are answered in a tenth of that.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// Who has not read an answer by then gives its turn to others. The connection is ended soon after.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The turns; clones share them.
#[derive(Clone)]
pub(crate) struct Crowd(Arc<Semaphore>);

impl Default for Crowd {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self(Arc::new(Semaphore::new(AT_ONCE_PER_CORE * cores)))
    }
}

/// Only what reads the store waits for a turn: probes and metrics are asked for when it is crowded.
pub(crate) async fn take_turns(State(crowd): State<Crowd>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path != "/" && !["/api/", "/tempo/", "/r/"].iter().any(|room| path.starts_with(room)) {
        return next.run(request).await;
    }
    let turn = tokio::time::timeout(TURN_WITHIN, Arc::clone(&crowd.0).acquire_owned());
    let Ok(Ok(turn)) = turn.await else {
        return Problem::unavailable("too many questions at once; try again").into_response();
    };
    // Ten thousand rows are tenths of a second of work in one go. On the threads that serve everyone, two questions
    // would hold up all senders; on a thread of its own a question waits for a core like anybody else.
    let runtime = Handle::current();
    let answering = tokio::task::spawn_blocking(move || runtime.block_on(next.run(request)));
    match answering.await {
        Ok(answer) => answer.map(|body| until_read(body, turn)),
        Err(_) => {
            Problem::unavailable("the question was given up; the service's log says why").into_response()
        }
    }
}

/// The turn ends with the body: read, dropped, or given up on.
fn until_read(body: Body, turn: OwnedSemaphorePermit) -> Body {
    let (reading, mut read) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        // Closed is what is waited for: nothing is ever sent.
        let _ = tokio::time::timeout(READ_WITHIN, &mut read).await;
        drop(turn);
    });
    Body::new(body.map_frame(move |frame| {
        let _held = &reading;
        frame
    }))
}

/// A browser takes no answer for anything but what it is called: a log line may hold a page.
pub(crate) async fn as_called(mut answer: Response) -> Response {
    let (name, value) = ("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert(HeaderName::from_static(name), value);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_ends_when_its_answer_is_read_or_dropped() {
        let crowd = Crowd::default();
        let all = crowd.0.available_permits();
        let answer = || async {
            let turn = Arc::clone(&crowd.0).acquire_owned().await.unwrap();
            until_read(Body::from("rows"), turn)
        };
        let kept = answer().await;
        assert_eq!(crowd.0.available_permits(), all - 1);
        assert_eq!(kept.collect().await.unwrap().to_bytes(), "rows");
        drop(answer().await);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(crowd.0.available_permits(), all);
    }
}
