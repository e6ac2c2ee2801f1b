//! Everything around and in front of the mesh, on loopback and for real: keys, an OpenID Connect provider, the edge service
//! in Viceroy with its stores, Envoys and workloads.
//!
//! `make demo` shows it to people; the integration tests hold every request through it to what must be stored. Parts are
//! started in the order in which they need each other and ended when dropped, also when this process dies. Nothing here
//! is of the product: the product is what runs inside.

mod check;
mod child;
mod declared;
mod drive;
mod edge;
mod envoy;
mod gate;
mod http;
mod keys;
mod logs;
mod mesh;
pub mod parts;
mod pki;
mod provider;
mod service;
mod viceroy;
mod whole;
mod workload;

pub use check::Traced;
pub use declared::{Credential, Declared, Hop, LOGIN, REQUESTS, Verdict};
pub use drive::{CLAIMED_ID, Driven};
pub use envoy::Proxy;
pub use http::{Answer, get};
pub use keys::{Key, base64url, now_s};
pub use mesh::{Place, SHOP_HOST};
pub use pki::{Authority, Certificate, identity};
pub use provider::{Granted, Provider};
pub use service::Service;
pub use viceroy::{Stores, Viceroy, given};
pub use whole::{Chain, Programs, service_configuration};
