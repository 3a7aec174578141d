//! Policies of buckets and identities.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_server::fuzz::policy(input));
