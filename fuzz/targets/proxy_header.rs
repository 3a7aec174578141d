//! Headers of the PROXY protocol, which trusted proxies send.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::proxy_header(input));
