//! See `testkit::drive::spool`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::spool(bytes));
