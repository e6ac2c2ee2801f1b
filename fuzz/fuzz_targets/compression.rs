//! See `testkit::drive::compression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::compression(bytes));
