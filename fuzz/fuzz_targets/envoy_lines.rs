//! See `testkit::drive::envoy_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::envoy_lines(bytes));
