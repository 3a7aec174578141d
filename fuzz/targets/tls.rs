//! What a client sends below HTTP, before and behind the handshake of TLS.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::tls(input));
