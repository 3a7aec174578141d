//! Every structure of the index, compared with a plain model of it.

mod chunk;
mod leaf;
mod list;
mod ordered;
mod point;
mod walk;

use proptest::prelude::*;

/// Keys that often share prefixes and sometimes collide.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![4 => Just(b'a'), 4 => Just(b'b'), 1 => Just(0u8), 1 => Just(0xff)];
    prop_oneof![
        4 => proptest::collection::vec(letter, 0..6),
        4 => (0u32..400).prop_map(|number| format!("photos/2026/{number:05}").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 100..400),
    ]
}

/// Values from empty ones to ones longer than a leaf.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![10 => 0usize..60, 4 => 100usize..400, 1 => 3_000usize..9_000];
    (length, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
}
