//! Everything that knows SQL: the schema and its migrations, inserts, queries.
//!
//! - [`Store`] is ClickHouse behind its HTTP interface, embedded or remote; nothing here can tell them apart.
//! - [`Batch`] holds one segment's rows column by column; [`Store::insert`] makes them durable exactly once.
//! - [`Term`] is the lease by which one instance at a time correlates; [`Decided`] is what it decided about a request.
//! - [`query`] holds every question that is asked; values are parameters, never text in a statement.
//!
//! Knows nothing of sockets, spools or traces. SQL stands here and in `schemas/clickhouse`, nowhere else.

mod batch;
mod client;
pub mod erase;
mod error;
mod exports;
mod insert;
mod lease;
mod locator;
pub mod migrate;
mod native;
pub mod query;
mod room;

pub use batch::ledger::ERASED;
pub use batch::{Batch, MAX_RECORDS};
pub use client::{Endpoint, INSERT_TIMEOUT, QUERY_MEMORY_BYTES, QUERY_TIME_S, Store};
pub use error::{Fault, InsertError, StoreError};
pub use exports::{Decided, Decision};
pub use insert::Inserted;
pub use lease::{ACT_FOR, DEAD_AFTER, RENEW_EVERY, Term};
pub use locator::{BUCKET_S, Locator};
pub use migrate::{Report, Retention};
pub use room::{Partition, Room};
