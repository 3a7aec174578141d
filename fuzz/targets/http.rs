//! A connection, from its first byte to the stored object.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::http(input));
