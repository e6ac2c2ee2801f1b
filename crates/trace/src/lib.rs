//! Hop events put together to requests: which ids to look up, which events are one request, what each hangs under and
//! why, and what is missing. Pure: no IO, no clock.
//!
//! An id is not a request. The closure over ids ([`Closure`]) gathers *candidates*; [`requests`] decides which of them
//! are one request, links them by evidence, and names what it cannot know. Requests that share a trace id, or an id
//! that somebody reuses or forges, are separate answers that name each other.
//!
//! | step | room | |
//! |---|---|---|
//! | candidates | [`closure`], [`ids`] | which ids to look up next |
//! | fold | [`fold`] | redeliveries, two transports, periodic records: one event |
//! | form | [`forming`] | which events are one request |
//! | link | [`links`], [`fit`], [`place`] | what hangs under what, with the evidence |
//! | name gaps | [`gaps`] | what was expected and not seen |
//! | compare clocks | [`skew`] | how far two servers' clocks are apart |
//! | answer | [`tree`], [`request`], [`model`] | requests as trees, and how they are related |
//! | tell | [`sentence`], [`mod@split`] | what became of it in a sentence, and where its time went |
//!
//! Any order of events in, duplicates or not, gives the same answer.

mod closure;
mod fit;
mod fold;
mod forming;
mod gaps;
mod ids;
mod links;
mod model;
mod order;
pub mod otlp;
mod place;
mod request;
mod sentence;
pub mod skew;
mod span;
mod split;
mod tree;
mod why;

pub use closure::{Bounds, Closure, Truncation};
pub use forming::EVENTS_PER_REQUEST;
pub use ids::EventIds;
pub use model::{
    Confidence, Evidence, Gap, GapReason, Link, Moment, Related, RelatedBy, Request, RequestId, Span,
};
pub use request::{MOST_RELATED, requests};
pub use sentence::{Failed, failed_at, grpc_name, summary};
pub use span::{span_id, trace_id};
pub use split::{Part, Places, split};
pub use why::{Why, why};
