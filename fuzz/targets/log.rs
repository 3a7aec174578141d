//! A log that a shard recovers from.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_engine::fuzz::log(input));
