//! The wrapper's two files with `unsafe` in them, as they are, driven against `stub.c` with a sanitizer built in: every
//! order in which handles can be made, used up, abandoned and dropped.
//!
//! The sanitizer finds memory that is read or freed after its end, wrong lengths, and (when the process ends) memory that
//! was never given back; the stub ends the process on a call with a handle that does not live. That both do is shown by
//! [`tests::the_sanitizer_sees`].
#![cfg(test)]
#![allow(dead_code, reason = "not all of the wrapper is driven from here: `exit_now` would end the test")]

#[path = "../../src/connection.rs"]
mod connection;
#[path = "../../src/ffi.rs"]
mod ffi;
mod tests;
