//! See `testkit::drive::envoy_format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::envoy_format(bytes));
