//! `scripts/fuzz` runs it.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| starling_fuzz::frames(input));
