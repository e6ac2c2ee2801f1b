//! See `testkit::drive::framing_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::framing_lines(bytes));
