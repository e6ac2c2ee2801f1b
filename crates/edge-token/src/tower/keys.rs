//! The keys an origin checks with: given once, or fetched from the edge and kept fresh.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Jwks;

/// Keys older than this are fetched again, beside the requests. The edge publishes a new key before it signs with it, so
/// this is how long "before" must be.
const REFRESH_AFTER_S: u64 = 300;
/// Between two fetches: tokens with made-up key ids must not become a stream of requests to the edge.
const FETCH_EVERY_S: u64 = 10;
/// How long a fetch may take. Requests with an unknown key, and the first requests of all, wait for it.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// Keys that could not be refreshed for so long are not used any more: one of them may have been withdrawn meanwhile.
const USABLE_FOR_S: u64 = 24 * 3600;

/// Why a fetch failed, in the fetcher's own words.
pub type SourceError = Box<dyn Error + Send + Sync>;
type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + Send + 'a>>;

/// Fetches the edge's JWK set, usually `https://EDGE/.well-known/edge-jwks.json`. Closures that return such a future are
/// sources too. What it returns is checked; how it gets there (TLS, size limit, redirects) is the source's own care.
pub trait JwksSource: Send + Sync + 'static {
    /// The document as it is served now.
    fn fetch(&self) -> Fetched<'_>;
}

impl<F, T> JwksSource for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static,
{
    fn fetch(&self) -> Fetched<'_> {
        Box::pin(self())
    }
}

/// The keys of the edge.
#[derive(Clone)]
pub struct Keys(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(Arc<Jwks>),
    Fetched(Arc<FetchedKeys>),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(keys) => f.debug_tuple("Keys").field(keys).finish(),
            Kind::Fetched(fetched) => f.debug_tuple("Keys").field(&fetched.known()).finish(),
        }
    }
}

impl Keys {
    /// These and no others; a rotation is a deployment.
    pub fn fixed(keys: Jwks) -> Self {
        Self(Kind::Fixed(Arc::new(keys)))
    }

    /// Fetched at the first request, every five minutes, and when a token names an unknown key (at most every ten
    /// seconds). If the source fails, the last keys hold for a day. Needs a tokio runtime with time.
    pub fn fetched(source: impl JwksSource) -> Self {
        Self(Kind::Fetched(Arc::new(FetchedKeys {
            source: Box::new(source),
            known: RwLock::new(None),
            last_attempt_s: Mutex::new(None),
        })))
    }

    /// The keys to check with at a time; `None` if there are none that may still be used.
    pub(super) async fn at(&self, now_s: u64) -> Option<Arc<Jwks>> {
        let fetched = match &self.0 {
            Kind::Fixed(keys) => return Some(Arc::clone(keys)),
            Kind::Fetched(fetched) => fetched,
        };
        match fetched.usable(now_s) {
            Some(known) => {
                if is_over(known.since_s, REFRESH_AFTER_S, now_s) {
                    let fetched = Arc::clone(fetched);
                    tokio::spawn(async move { fetched.refresh(now_s, Some(known.since_s)).await });
                }
                Some(known.keys)
            }
            None => {
                fetched.refresh(now_s, None).await;
                Some(fetched.usable(now_s)?.keys)
            }
        }
    }

    /// The keys after another look at the source, if one was due; `None` if there is no source or no usable set.
    pub(super) async fn looked_up_again(&self, now_s: u64) -> Option<Arc<Jwks>> {
        let Kind::Fetched(fetched) = &self.0 else {
            return None;
        };
        fetched.refresh(now_s, fetched.known().map(|known| known.since_s)).await;
        Some(fetched.usable(now_s)?.keys)
    }
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<Jwks>,
    since_s: u64,
}

struct FetchedKeys {
    source: Box<dyn JwksSource>,
    known: RwLock<Option<Known>>,
    /// Held during a fetch, so there is one at a time and the others wait for its outcome.
    last_attempt_s: Mutex<Option<u64>>,
}

/// Whether `for_s` seconds have gone by since. A time that lies further ahead than requests that wait for each other differ is
/// of a clock that was set back since, and is over: else nothing would be fetched until the clock has caught up.
fn is_over(since_s: u64, for_s: u64, now_s: u64) -> bool {
    now_s.saturating_sub(since_s) >= for_s || since_s.saturating_sub(now_s) > FETCH_LIMIT.as_secs()
}

impl FetchedKeys {
    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usable(&self, now_s: u64) -> Option<Known> {
        self.known().filter(|known| now_s.saturating_sub(known.since_s) < USABLE_FOR_S)
    }

    /// Fetches, unless that was done while waiting for one's turn, or a moment ago. A failure keeps what is known.
    async fn refresh(&self, now_s: u64, seen_since_s: Option<u64>) {
        let mut last_attempt_s = self.last_attempt_s.lock().await;
        // Of an attempt later than this request's time, too: it was waited for.
        let newer = self.known().is_some_and(|known| Some(known.since_s) != seen_since_s);
        let recent = last_attempt_s.is_some_and(|last| !is_over(last, FETCH_EVERY_S, now_s));
        if newer && self.usable(now_s).is_some() || recent {
            return;
        }
        *last_attempt_s = Some(now_s);
        if let Ok(Ok(document)) = timeout(FETCH_LIMIT, self.source.fetch()).await
            && let Ok(keys) = Jwks::parse(&document)
        {
            let known = Known { keys: Arc::new(keys), since_s: now_s };
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        }
    }
}
