//! The pure core of the edge verification service: one decision per request, no platform, no clock of its own.
//!
//! [`decide`] takes the configuration, the machine ([`Host`]) and the request as it came, and says what to send on
//! or what to answer, with the one log record of it. Whatever goes wrong inside ends in a refusal.

pub mod config;
mod credential;
mod decide;
mod decision;
mod encoding;
mod hop;
mod host;
mod log;
mod login;
mod path;
mod record;
mod request;
mod route;
mod session;
mod stamp;
pub mod verify;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use config::{Config, ConfigError};
pub use decide::{EDGE_KEYS_PATH, decide};
pub use decision::{Decided, Decision, Forward, Respond, SHARED_CACHE_HEADERS};
pub use host::{FetchError, FetchRequest, FetchResponse, Host, MAX_FETCH_BYTES, Make};
pub use log::{LogRecord, Timings, Tls, Verdict};
pub use request::{ClientTls, IncomingRequest};
