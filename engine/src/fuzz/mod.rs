//! The functions that the fuzz targets of `fuzz/` and the test that replays their corpus call. They
//! get bytes and must neither panic nor take memory without bound. Nothing else may use them.
//!
//! A checksum keeps a fuzzer out of everything behind it. So most inputs tell by their first byte
//! whether the structures in them are sealed anew before they are read. What then gets through
//! could be on a drive only by a bug of ours or by malice. It must be refused all the same.

mod drive;
mod log;
mod tables;

pub use self::log::log;
pub use self::tables::checkpoint;

use std::path::{Path, PathBuf};

use zerocopy::FromBytes;

use crate::format::checkpoint::CheckpointRootV1;
use crate::format::record::{
    ENVELOPE_BYTES, EncodedRecord, RecordView, decode_buckets, decode_node_records, decode_uploads,
};
use crate::format::slice::{SLICE_BYTES, SliceHeaderOnDisk};
use crate::format::superblock::{COPIES, MAGIC, SUPERBLOCK_BYTES, SuperblockOnDisk};
use crate::format::{BLOCK_BYTES, FORMAT_VERSION, Le32};
use crate::index::Listed;
use crate::node::format::choose_superblock;
use crate::node::layout::Layout;
use crate::node::open::choose_drives;
use crate::shard::State;
use crate::shard::entry::Entry;

/// Size of the fuzzed drive, bytes. No test machine has such a drive: only its superblock exists.
const DRIVE_BYTES: u64 = 1 << 50;

/// Chooses a superblock from copies in `input`. Bit n of the first byte seals copy n. The copies
/// follow, and the last one also stands for those that are missing.
pub fn superblock(input: &[u8]) {
    let Some((seals, rest)) = input.split_first() else { return };
    let mut copies: Vec<Vec<u8>> = rest.chunks(SUPERBLOCK_BYTES).take(COPIES).map(<[u8]>::to_vec).collect();
    while copies.len() < COPIES {
        copies.push(copies.last().cloned().unwrap_or_default());
    }
    for (number, copy) in copies.iter_mut().enumerate() {
        if seals & 1 << number != 0 {
            copy.resize(SUPERBLOCK_BYTES, 0);
            seal_superblock(copy);
        }
    }
    let copies: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let Ok(block) = choose_superblock(&copies, PathBuf::from("fuzzed drive"), DRIVE_BYTES) else { return };
    assert!(
        copies.iter().filter(|copy| SuperblockOnDisk::parse(copy) == Ok(block)).count() >= 2,
        "a superblock was chosen that no two copies agree on"
    );
    // The server asks for the drives that are missing before it makes a layout.
    let alone = [(Path::new("fuzzed drive"), &block)];
    if choose_drives(&alone, &[]).is_err() {
        return;
    }
    let layout = Layout::new(1, vec![block], 1, 64 << 20);
    let geometry = layout.geometry_of(0);
    drop(State::new(*geometry, *layout.settings_of(0)));
    assert!(geometry.byte(geometry.extents - 1, geometry.extent_bytes) <= block.size_bytes.get());
    for shard in 0..block.shards.get() {
        block.root_of(shard);
    }
}

fn seal_superblock(copy: &mut [u8]) {
    let Ok(block) = SuperblockOnDisk::mut_from_bytes(copy) else { return };
    block.magic = MAGIC;
    block.format_version = Le32::new(block.format_version.get().min(FORMAT_VERSION + 1));
    block.seal();
}

/// The mark of the place where the fuzzed records lie.
const MARK: u32 = 0;

/// Decodes `input`. The first byte tells what the rest is: a record with or without its own
/// checksum, or one of the other encodings.
pub fn record(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 9 {
        0 => check_record(rest),
        1 | 2 => {
            let mut bytes = rest.to_vec();
            seal_record(&mut bytes, MARK);
            check_record(&bytes);
        }
        3 => drop(decode_uploads(rest)),
        4 => drop(decode_buckets(rest)),
        5 => drop(CheckpointRootV1::decode(rest)),
        6 => check_entry(rest),
        8 => drop(decode_node_records(rest)),
        _ => check_slice_header(rest),
    }
}

fn check_record(bytes: &[u8]) {
    let Ok(view) = RecordView::parse(bytes, MARK) else { return };
    assert!(view.length() <= bytes.len(), "a record is longer than its bytes");
    let copy = view.moved_copy();
    assert_eq!(copy.length(), view.length(), "the cleaner's copy has another length");
    let Ok(mutation) = view.mutation() else { return };
    let again = EncodedRecord::new(&mutation, view.envelope.generation.get(), 0, view.data.to_vec());
    let mut bytes = vec![0; again.length()];
    again.place(&mut bytes, MARK);
    let read = RecordView::parse(&bytes, MARK).map(|view| view.mutation());
    assert_eq!(read, Ok(Ok(mutation)), "a record does not survive being written again");
}

/// Gives the record at the start of `bytes` lengths that fit and a checksum with the mark of its
/// place. Returns the record's length with padding.
fn seal_record(bytes: &mut [u8], mark: u32) -> usize {
    use crate::format::record::{RECORD_ALIGNMENT, RecordEnvelopeOnDisk};
    let room = bytes.len().saturating_sub(ENVELOPE_BYTES);
    let Ok((envelope, _)) = RecordEnvelopeOnDisk::mut_from_prefix(bytes) else { return bytes.len() };
    let meta = (envelope.meta_length.get() as usize).min(room);
    let data = (envelope.data_length.get() as usize).min(room - meta);
    // A flag that no program writes hides the rest.
    envelope.flags = (envelope.flags.get() & 7).into();
    envelope.meta_length = Le32::new(meta as u32);
    envelope.data_length = Le32::new(data as u32);
    let length = ENVELOPE_BYTES + meta + data;
    let crc = crc32c::crc32c(&bytes[4..length]) ^ mark;
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    length.next_multiple_of(RECORD_ALIGNMENT).min(bytes.len())
}

fn check_entry(bytes: &[u8]) {
    const GENERATION: u64 = 1 << 41;
    let listed = Entry::listed(bytes);
    let Some(entry) = Entry::decode(GENERATION, bytes) else { return };
    let Entry { size, modified_ms, etag, is_null, is_marker, .. } = entry;
    let expected = Listed { size, modified_ms, etag, is_null, is_marker, class: entry.traits.class };
    assert_eq!(listed, Some(expected), "a listing shows something else");
    assert_eq!(Entry::is_encoded_marker(bytes), is_marker);
    let mut again = Vec::new();
    entry.encode(&mut again);
    let read = Entry::decode(GENERATION, &again);
    assert_eq!(read.as_ref(), Some(&entry), "an entry does not survive being written again");
}

fn check_slice_header(bytes: &[u8]) {
    let mut block = bytes.to_vec();
    block.resize(BLOCK_BYTES, 0);
    if let Ok(header) = SliceHeaderOnDisk::mut_from_bytes(&mut block) {
        header.magic = crate::format::slice::MAGIC;
        (header.version, header.row_bytes) = (3.into(), crate::format::slice::ROW_BYTES.into());
        let is_striped = bytes.first().is_some_and(|byte| byte % 2 == 1);
        let of = if is_striped { (header.member % 6, 4, 2) } else { (0, 1, 0) };
        (header.member, header.data_members, header.parity_members) = of;
        (header.key_id, header.tag) = (0.into(), [0; 16]);
        header.seal();
    }
    for block in [bytes, &block] {
        let Ok(header) = SliceHeaderOnDisk::parse(block) else { continue };
        let chunk = (header.length.get() as usize).min(SLICE_BYTES);
        header.verifies(0, &bytes[..bytes.len().min(chunk)]);
    }
}
