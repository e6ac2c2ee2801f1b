//! See `testkit::drive::ids`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::drive::ids(bytes));
