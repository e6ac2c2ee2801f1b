//! The one integration binary: the real service with the real engine, driven from outside.
//!
//! Adding a test: pick the module of its subject. Start a [`app::Service`] of your own (each has its directory and
//! ports), wait on conditions with [`app::eventually`], never on time. What a machine lacks makes a test fail with the
//! sentence that says how to get it; nothing is skipped. Do not add here what a unit test beside the code can show:
//! each service costs a second.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test says that something is wrong by panicking, and shows the service's log when it does"
)]

mod accept;
mod access;
mod app;
mod backup;
mod boards;
mod chain;
mod cli;
mod deploy;
mod doctor;
mod durability;
mod edge;
mod edge_chain;
mod envoy;
mod erase;
mod exactly_once;
mod explain;
mod export;
mod exposure;
mod hostile;
mod ledger;
mod live;
mod outage;
mod page;
mod query;
mod receiver;
mod release;
mod rolling;
mod room;
mod secrets;
mod senders;
mod setup;
mod store;
mod streams;
mod tempo;
mod tidy;
mod upgrade;
mod verify;
