//! See `testkit::drive::fastly`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::fastly(bytes));
