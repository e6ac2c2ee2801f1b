//! See `testkit::drive::redactor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::redactor(bytes));
