//! Who is at the other end of a connection: its address, and the names in its client certificate.
//!
//! Put into every request of the connection as an extension, because routes are made once and connections come and go.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, Request};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// As the socket says it.
    pub(crate) address: SocketAddr,
    /// Names of its client certificate, which the port's CA vouches for; `None` where none was asked for.
    pub(crate) names: Option<Arc<[String]>>,
}

impl Peer {
    /// Whether its certificate carries the name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.names.iter().flat_map(|names| names.iter()).any(|own| own == name)
    }
}

impl Peer {
    /// The peer of a request. Every connection of a port says its peer; what says none (a test of routes without a port)
    /// is from nowhere: the unspecified address, which no list of addresses holds.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let known = extensions.get().cloned();
        known.unwrap_or_else(|| Self { address: SocketAddr::from(([0, 0, 0, 0], 0)), names: None })
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// A service whose requests say their peer.
#[derive(Debug, Clone)]
pub(crate) struct Introduced<S> {
    service: S,
    peer: Peer,
}

impl<S> Introduced<S> {
    pub(crate) fn new(service: S, peer: Peer) -> Self {
        Self { service, peer }
    }
}

impl<S: tower::Service<Request<B>>, B> tower::Service<Request<B>> for Introduced<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.service.call(request)
    }
}
