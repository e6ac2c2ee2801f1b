//! The decision on the machine that builds it, against a host in memory: no wasm, no network, a clock that tests set.
//! `../tests/it/edge` puts the same attacks to the wasm over HTTP.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod answers;
mod attacks;
mod common;
mod headers;
mod keys;
mod login;
mod paths;
mod properties;
mod schema;
mod sessions;
mod shield;
mod signatures;
mod storms;
mod vectors;
