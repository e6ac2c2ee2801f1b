//! See `testkit::drive::otlp_protobuf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::otlp_protobuf(bytes));
