//! See `testkit::drive::als`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::als(bytes));
