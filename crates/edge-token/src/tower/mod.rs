//! A tower layer for origins (axum, hyper, tonic): a request without a valid edge token does not reach the service.
//!
//! ```
//! # use edge_token::{Jwks, Verifier, tower::{EdgeTokenLayer, Keys}};
//! # fn layer(jwks: &[u8]) -> Result<EdgeTokenLayer, edge_token::JwksError> {
//! let verifier = Verifier::new("https://edge.example.com", "orders");
//! let layer = EdgeTokenLayer::new(verifier, Keys::fixed(Jwks::parse(jwks)?));
//! # Ok(layer) }
//! ```
//!
//! Put it outermost: a router that strips a prefix first changes the path that the token is bound to, and every request is
//! then refused. Health checks come from inside and have no token: mount their route outside the layer. What passes
//! finds an [`EdgeIdentity`] in the request's extensions; a refusal is `application/problem+json` and carries its
//! [`VerifyError`] in the response's extensions, for whoever counts.

mod keys;
mod refusal;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use keys::{JwksSource, Keys, SourceError};

use crate::{Bound, Claims, HEADER, ReplayCache, Verifier, VerifyError};

/// Who was let in, as the edge says: in the extensions of every request that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeIdentity(pub Claims);

type PathOf = dyn Fn(&Parts) -> Option<String> + Send + Sync;
type Clock = dyn Fn() -> u64 + Send + Sync;

/// Lets requests in by their edge token.
#[derive(Clone)]
pub struct EdgeTokenLayer {
    gate: Arc<Gate>,
}

impl fmt::Debug for EdgeTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeTokenLayer").field("verifier", &self.gate.verifier).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Gate {
    verifier: Verifier,
    keys: Keys,
    replays: Option<Arc<dyn ReplayCache>>,
    path_of: Arc<PathOf>,
    clock: Arc<Clock>,
}

impl EdgeTokenLayer {
    /// A layer that checks with these keys.
    pub fn new(verifier: Verifier, keys: Keys) -> Self {
        let gate = Gate {
            verifier,
            keys,
            replays: None,
            path_of: Arc::new(path_as_received),
            clock: Arc::new(unix_now_s),
        };
        Self { gate: Arc::new(gate) }
    }

    /// Refuses the second use of a token. Only behind proxies that do not retry: see [`ReplayCache`].
    #[must_use]
    pub fn with_replay_cache(self, replays: impl ReplayCache + 'static) -> Self {
        self.with(|gate| gate.replays = Some(Arc::new(replays)))
    }

    /// Where a proxy between edge and origin rewrites paths: how to tell the path that the edge forwarded. It must
    /// come from something the proxy sets and clients cannot; `None` refuses the request.
    #[must_use]
    pub fn with_path(self, path_of: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|gate| gate.path_of = Arc::new(path_of))
    }

    /// Another clock than the system's, in seconds since 1970.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.with(|gate| gate.clock = Arc::new(clock))
    }

    fn with(self, change: impl FnOnce(&mut Gate)) -> Self {
        let mut gate = Arc::unwrap_or_clone(self.gate);
        change(&mut gate);
        Self { gate: Arc::new(gate) }
    }
}

impl<S> Layer<S> for EdgeTokenLayer {
    type Service = EdgeTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EdgeTokenService { gate: Arc::clone(&self.gate), inner }
    }
}

/// A service behind an [`EdgeTokenLayer`].
#[derive(Clone)]
pub struct EdgeTokenService<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for EdgeTokenService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeTokenService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for EdgeTokenService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String> + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone is not ready; the one that was polled is, so that one takes the request.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let presented = gate.presented(&parts);
            let admitted = match presented {
                Ok(presented) => gate.admit(presented).await,
                Err(error) => Err(error),
            };
            match admitted {
                Ok(claims) => {
                    parts.extensions.insert(EdgeIdentity(claims));
                    ready.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(refusal::response(error)),
            }
        })
    }
}

/// What of a request the check needs.
struct Presented {
    token: String,
    method: String,
    path_and_query: String,
}

impl Gate {
    fn presented(&self, parts: &Parts) -> Result<Presented, VerifyError> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let token = values.next().ok_or(VerifyError::Missing)?;
        if values.next().is_some() {
            return Err(VerifyError::Several);
        }
        Ok(Presented {
            token: token.to_str().map_err(|_| VerifyError::Form)?.to_owned(),
            method: parts.method.as_str().to_owned(),
            path_and_query: (self.path_of)(parts).ok_or(VerifyError::Path)?,
        })
    }

    async fn admit(&self, presented: Presented) -> Result<Claims, VerifyError> {
        let now_s = (self.clock)();
        let keys = self.keys.at(now_s).await.ok_or(VerifyError::NoKeys)?;
        match self.verify(&keys, &presented, now_s) {
            // The edge may have begun to sign with a key that was published after the last look.
            Err(VerifyError::UnknownKey) => {
                let keys = self.keys.looked_up_again(now_s).await.ok_or(VerifyError::UnknownKey)?;
                self.verify(&keys, &presented, now_s)
            }
            checked => checked,
        }
    }

    fn verify(&self, keys: &crate::Jwks, presented: &Presented, now_s: u64) -> Result<Claims, VerifyError> {
        let bound = Bound { method: &presented.method, path_and_query: &presented.path_and_query };
        match &self.replays {
            Some(replays) => {
                self.verifier.verify_once(keys, &presented.token, bound, now_s, replays.as_ref())
            }
            None => self.verifier.verify(keys, &presented.token, bound, now_s),
        }
    }
}

fn path_as_received(parts: &Parts) -> Option<String> {
    Some(parts.uri.path_and_query()?.as_str().to_owned())
}

/// A clock before 1970 reads 0, and every token is then from the future.
fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
