//! See `testkit::drive::wire_read`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::wire_read(bytes));
