//! The store against the real engine, never skipped: one engine for all tests, a database for each.
//!
//! To add a test: put it beside those of its subject, and start with `support::store().await`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod correlate;
mod erase;
mod exactly_once;
mod ledger;
mod lookup;
mod otel;
mod schema;
mod support;
mod wire;
