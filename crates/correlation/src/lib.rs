//! Ids of a request: reading them out of text, comparing them, minting them.
//!
//! An id is not a request: trace ids and caller-set ids span many requests, and hostile clients reuse the ids of
//! others. This crate only says what an id *is*; which records belong together is decided in `trace`.
//!
//! No IO, no clock, no randomness: time and random bytes come in as arguments, so the crate also builds for wasm.

mod id;
mod mint;
mod traceparent;

pub use id::{Id, IdForm, IdKind, MAX_ID_BYTES, is_absent};
pub use mint::{parse_uuid_or_hex, uuid_text, uuid_v7};
pub use traceparent::{Traceparent, TraceparentError};
