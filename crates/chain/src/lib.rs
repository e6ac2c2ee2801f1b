//! Everything around and in front of the mesh, on loopback and for real: keys, an OpenID Connect provider, the edge service
//! in Viceroy with its stores, Envoys and workloads.
//!
//! `make demo` shows it to people; the integration tests hold every request through it to what must be stored. Parts are
//! started in the order in which they need each other and ended when dropped, also when this process dies. Nothing here
//! is of the product: the product is what runs inside.

mod keys;
mod provider;
mod viceroy;

pub use keys::{Key, base64url, now_s};
pub use provider::{Granted, Provider};
pub use viceroy::{Stores, Viceroy, given};
