//! See `edge::testing::drive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::testing::drive(bytes));
