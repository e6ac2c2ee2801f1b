//! See `testkit::drive::otlp_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::otlp_json(bytes));
