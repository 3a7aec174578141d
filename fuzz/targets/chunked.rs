//! Bodies in chunks: whole and in pieces they are the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::chunked(input));
