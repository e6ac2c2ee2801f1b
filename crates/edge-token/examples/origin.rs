//! An origin that serves only what came through the edge.
//!
//! cargo run -p throughline-edge-token --features tower --example origin -- https://edge.example.com orders jwks.json
//!
//! `jwks.json` is what the edge serves at `/.well-known/edge-jwks.json`. It is read again every five minutes and when a
//! token names a key that it did not have, so that replacing the file is a key rotation.
#![allow(clippy::print_stderr, reason = "an example talks to whoever started it")]

use std::error::Error;

use axum::routing::get;
use axum::{Extension, Router};
use edge_token::Verifier;
use edge_token::tower::{EdgeIdentity, EdgeTokenLayer, Keys, SourceError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, audience, jwks] =
        <[String; 3]>::try_from(arguments).map_err(|_| "usage: origin ISSUER AUDIENCE JWKS-FILE")?;
    // A real origin fetches the edge's address with its HTTP client here.
    let source = move || {
        let jwks = jwks.clone();
        async move { std::fs::read(jwks).map_err(SourceError::from) }
    };
    let layer = EdgeTokenLayer::new(Verifier::new(issuer, audience), Keys::fetched(source));
    let app = Router::new()
        .fallback(|Extension(EdgeIdentity(claims)): Extension<EdgeIdentity>| async move {
            format!("{} of {} asked for {}\n", claims.sub, claims.cid.unwrap_or_default(), claims.htu)
        })
        .layer(layer)
        // Outside the layer: the platform's health checks do not come through the edge.
        .route("/healthz", get(|| async { "ok\n" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    eprintln!("origin: listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
