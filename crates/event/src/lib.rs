//! The hop event: one request as one hop saw it, normalized. THE schema of the product.
//!
//! - [`HopEvent`] is the domain type. It borrows from the payload it was decoded from, and carries no serde: wire
//!   types (Fastly JSON, Envoy protobuf, ClickHouse columns, API answers) live where they are spoken.
//! - [`Record`] is what the spool carries: an event, a [`Reject`] or a [`Tally`] of the ledger, in the versioned byte form
//!   of [`wire`].
//! - [`key`] makes the event key: what makes a hop event itself, so a redelivery is known as one.
//!
//! No IO, no clock.

mod fields;
pub mod key;
mod kinds;
mod notes;
mod owned;
mod personal;
mod reject;
mod tally;
pub mod wire;

pub use fields::{Attributes, Field, HopEvent, Text};
pub use kinds::{Direction, Hop, Precision};
pub use notes::Notes;
pub use personal::{MASK, PERSONAL, is_personal};
pub use reject::{Record, Reject, RejectReason};
pub use tally::{Counter, Counts, Tally};
