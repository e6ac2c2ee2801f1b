//! Hop events put together to requests: which ids to look up, which events are one request, in which order they
//! happened. Pure: no IO, no clock.
//!
//! An id is not a request. The closure over ids ([`Closure`]) gathers *candidates*; [`requests`] decides which of
//! them are one request. Requests that share a trace id, or an id that a caller may set, are separate answers.
//!
//! Any order of events in, duplicates or not, gives the same answer.
//!
//! This version joins by per-request ids and orders by hop and time. Parent links by span ids and destinations, clock
//! skew and gaps are not here yet; they refine [`Request`] without changing what is merged.

mod closure;
mod ids;
mod model;
mod order;
pub mod otlp;
mod request;
mod span;

pub use closure::{Bounds, Closure, Truncation};
pub use ids::EventIds;
pub use model::{
    Confidence, Evidence, Gap, GapReason, Link, Moment, Related, RelatedBy, Request, RequestId, Span,
};
pub use request::{EVENTS_PER_REQUEST, requests};
pub use span::{span_id, trace_id};
