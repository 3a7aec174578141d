//! XML documents of access control lists.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::acl(input));
