//! The engine as a process, with the real library and the official client. One binary; every test uses its own table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what failed by panicking"
)]

mod inserts;
mod life;
mod public;
mod reads;
mod support;
