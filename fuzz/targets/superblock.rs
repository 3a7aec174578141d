//! The four copies of a superblock.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringbolt_engine::fuzz::superblock(input));
