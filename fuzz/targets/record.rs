//! Records, and the other encodings of a drive.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_engine::fuzz::record(input));
