//! The token by which the edge vouches for one request: who was let in, for which method and path, for at most a minute.
//!
//! It is a JWT of type `edge+jwt` in the header `x-edge-token`, signed with ES256 or EdDSA, so that Envoy and Istio can
//! check signature, issuer, audience and lifetime too. What they cannot check is the binding to method and path; that is
//! what [`Verifier`] (and, with the feature `tower`, the layer) does at the origin.
//!
//! | step | type |
//! |---|---|
//! | read the private key, name it | [`SigningKey`] |
//! | sign | [`Minter`], [`Claims`] |
//! | publish one key, two while rotating | [`Jwks`] |
//! | check | [`Verifier`], [`Bound`], [`VerifyError`] |
//! | refuse a second use | [`ReplayCache`] |
//!
//! No IO, no clock, no randomness: times come in as arguments and signatures are deterministic, so the crate builds for
//! wasm as it is. The features that need more are off by default.

mod claims;
mod encoding;
mod jwks;
mod key;
mod mint;
mod replay;
#[cfg(feature = "tower")]
pub mod tower;
mod verify;

pub use claims::{ANONYMOUS, Claims, ClaimsError, Scalar, htu};
pub use jwks::{Jwks, JwksError};
pub use key::{Alg, KeyError, SigningKey, is_kid};
pub use mint::Minter;
pub use replay::{MemoryReplayCache, ReplayCache, Sighting};
pub use verify::{Bound, Fault, Verifier, VerifyError};

/// The header that carries the token, in lower case.
pub const HEADER: &str = "x-edge-token";
/// The `typ` of the token's header: no other JWT may be taken for an edge token, nor an edge token for another JWT.
pub const TYP: &str = "edge+jwt";
/// Longest lifetime, `exp` less `iat`, in seconds: what a stolen token is good for.
pub const MAX_LIFETIME_S: u64 = 60;
/// Largest clock difference that may be forgiven, in seconds.
pub const MAX_SKEW_S: u64 = 60;
/// Longest token, in bytes: well under what proxies allow for all headers together (Envoy 60 KiB, many servers 8 KiB).
pub const MAX_TOKEN_BYTES: usize = 6 * 1024;
