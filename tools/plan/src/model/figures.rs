//! This module lists the figures of the model that no file contains, each with its source.
//!
//! Invariant: a figure that the model uses is here, or in
//! [`Constants`](crate::constants::Constants), or in an input file.

use super::{cleaner, durability, layout, node};
use crate::constants::{Constant, Source};
use ringbolt_engine::node::memory;
use ringbolt_engine::node::sizing;
use ringbolt_engine::node::sizing::{BLOCK_BYTES, CRC_BLOCK_BYTES, SLICE_BYTES, Shape, UNIT_BYTES};

/// Iterates over the figures by name; names include the units.
pub fn figures() -> impl Iterator<Item = (String, Constant)> {
    let all = of_engine().into_iter().chain(of_server()).chain(of_requests()).chain(of_model());
    all.map(|(name, value, source)| (name.to_owned(), Constant { value, source }))
}

type Figure = (&'static str, f64, Source);

fn format(what: &str) -> Source {
    Source::Format { what: what.to_owned() }
}

fn assumption(why: &str) -> Source {
    Source::Assumption { why: why.to_owned() }
}

fn of_engine() -> Vec<Figure> {
    vec![
        ("block_bytes", BLOCK_BYTES as f64, format("unit of reads and writes; a header of a slice is one")),
        ("inline_bytes_max", sizing::INLINE_BYTES_MAX as f64, format("longest body in a record of the log")),
        ("batch_bytes_max", sizing::BATCH_BYTES_MAX as f64, format("engine: the longest group commit")),
        (
            "reclaimed_share_of_index",
            1.0 / sizing::RECLAIMED_PART as f64,
            format("engine: freed bytes that are worth a checkpoint while puts wait for space"),
        ),
        ("batch_header_bytes", sizing::BATCH_HEADER_BYTES as f64, format("head of a group commit")),
        ("slice_bytes_max", SLICE_BYTES as f64, format("payload of a full slice")),
        ("slice_unit_bytes", UNIT_BYTES as f64, format("slices that are no full ones take whole units")),
        ("checksum_block_bytes", CRC_BLOCK_BYTES as f64, format("what a read of a slice verifies at least")),
        (
            "read_piece_bytes",
            sizing::PIECE_BYTES as f64,
            format("engine: one read of a large object, at most"),
        ),
        (
            "write_piece_bytes",
            sizing::PIECE_BYTES as f64,
            format("engine: one write of a large object, at most"),
        ),
        (
            "striped_piece_bytes",
            sizing::piece_bytes(Shape::new(2, 1)) as f64,
            format("engine: one read or write of a member of a striped set, at most"),
        ),
        ("cleaner_copy_bytes", node::COPIES_BYTES, format("engine: what the cleaner writes at a time")),
        (
            "log_copies_overhead_share",
            sizing::COPIES_OVERHEAD_SHARE,
            format("engine: what is live counts so much more, for headers and padding"),
        ),
        (
            "cache_entry_bytes",
            layout::CACHE_ENTRY_BYTES,
            format("engine: an entry of the read cache without key and data"),
        ),
        (
            "extents_by_checkpoint",
            cleaner::EMPTIED_BY_CHECKPOINT,
            format("engine: emptied extents that a checkpoint gives back while puts wait for space"),
        ),
    ]
}

/// Lists how the server splits `--memory`.
fn of_server() -> Vec<Figure> {
    let split = || format("the server's split of --memory");
    vec![
        ("memory_base_bytes", memory::BASE_BYTES as f64, split()),
        ("memory_base_bytes_per_core", memory::BASE_BYTES_PER_CORE as f64, split()),
        ("memory_rest_share", memory::REST_SHARE, split()),
        ("memory_cache_share_of_rest", memory::READ_CACHE_SHARE_OF_REST, split()),
        ("memory_index_share_of_rest", memory::INDEX_SHARE_OF_REST, split()),
    ]
}

fn of_requests() -> Vec<Figure> {
    let seen = || assumption("as requests of awscli and the answers to them were seen; clients differ");
    vec![
        ("request_head_bytes", node::REQUEST_HEAD_BYTES, seen()),
        ("answer_head_bytes", node::ANSWER_HEAD_BYTES, seen()),
        ("listed_entry_bytes", node::LISTED_BYTES, seen()),
    ]
}

fn of_model() -> Vec<Figure> {
    vec![
        (
            "extents_by_checkpoint_beside_slices",
            cleaner::EMPTIED_BESIDE_SLICES,
            assumption("seen with one mix: a drive of 4 GiB, half of its bytes in slices, overwritten twice"),
        ),
        (
            "index_leaf_slack",
            layout::LEAF_SLACK,
            assumption("leaves are filled to some three quarters, as those of B-trees are"),
        ),
        (
            "rebuild_bandwidth_share",
            durability::REBUILD_SHARE,
            assumption("the other half is left to those who work with the drives"),
        ),
    ]
}
