//! Inspection of a drive: what it says of itself, without opening the node.

use std::path::Path;

use super::format::{FormatError, read_superblock, uuid_text};
use crate::device::file::OpenDrive;
use crate::extent::RunCount;
use crate::format::checkpoint::{
    CheckpointChunkOnDisk, CheckpointRootV1, ChunkListV1, ChunkPlaceV1, KIND_LEAVES, KIND_SETS, decode_sets,
};
use crate::format::superblock::{
    DRIVE_EMPTIED, DRIVE_GONE, DRIVE_IN, DRIVE_OUT, ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk,
    SuperblockOnDisk,
};
use crate::format::{BLOCK_BYTES, FormatDamage};
use crate::index::OrderedIndex;
use crate::shard::{for_each_entry, load_leaves};

/// A report as sections of (name, value) lines.
#[derive(Clone, Debug)]
pub struct InspectReport {
    pub sections: Vec<(String, Vec<(String, String)>)>,
}

/// Describes the superblock, shards and extents of one drive, as of the last checkpoints. It only
/// reads, and only while no server holds the drive.
///
/// # Errors
/// Returns an error when the drive is not Ringbolt's, has another format version, is damaged, or is
/// in use.
pub fn inspect_drive(path: &Path) -> Result<InspectReport, FormatError> {
    let drive = OpenDrive::open(path)?;
    let block = read_superblock(&drive)?;
    let mut sections = vec![("superblock".to_owned(), superblock_lines(&block))];
    let mut used = 0;
    for root in block.roots.iter().filter(|root| root.kind.get() != 0) {
        let (lines, extents) = root_lines(&drive, &block, root)?;
        used += extents;
        sections.push((format!("shard {}", root.shard), lines));
    }
    let extents = block.extents.get();
    let line = |name: &str, value: String| (name.to_owned(), value);
    sections.push((
        "extents".to_owned(),
        vec![
            line("extents", extents.to_string()),
            line("extent_bytes", block.extent_bytes.to_string()),
            line("log_and_checkpoint_extents", used.to_string()),
            line("capacity_bytes", (u64::from(extents) * block.extent_bytes.get()).to_string()),
        ],
    ));
    Ok(InspectReport { sections })
}

fn superblock_lines(block: &SuperblockOnDisk) -> Vec<(String, String)> {
    let view = &block.view;
    let numbers = |state: u16| {
        let drives = view.drives.iter().filter(|drive| drive.state.get() == state);
        drives.map(|drive| drive.number.to_string()).collect::<Vec<_>>().join(" ")
    };
    let lines: [(&str, String); 20] = [
        ("format_version", block.format_version.to_string()),
        ("sequence", block.sequence.to_string()),
        ("promised_epoch", block.promised_epoch.to_string()),
        ("view", format!("{}.{}", view.epoch, view.counter)),
        ("drives_in", numbers(DRIVE_IN)),
        ("drives_out", numbers(DRIVE_OUT)),
        ("drives_gone", numbers(DRIVE_GONE)),
        ("drives_emptied", numbers(DRIVE_EMPTIED)),
        ("node_uuid", uuid_text(&block.node_uuid)),
        ("set_uuid", uuid_text(&block.set_uuid)),
        ("drive_uuid", uuid_text(&block.drive_uuid)),
        ("drive_number", block.drive_number.to_string()),
        ("data_members", block.data_members.to_string()),
        ("parity_members", block.parity_members.to_string()),
        ("shards", block.shards.to_string()),
        ("created_ms", block.created_ms.to_string()),
        ("size_bytes", block.size_bytes.to_string()),
        ("inline_bytes_max", block.inline_bytes_max.to_string()),
        ("slice_bytes", block.slice_bytes.to_string()),
        ("unit_bytes", block.unit_bytes.to_string()),
    ];
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn root_lines(
    drive: &OpenDrive,
    block: &SuperblockOnDisk,
    root: &ShardRootOnDisk,
) -> Result<(Vec<(String, String)>, usize), FormatError> {
    let mut lines = vec![
        ("root_extent".to_owned(), root.extent.to_string()),
        ("root_offset".to_owned(), root.offset.to_string()),
        ("root_sequence".to_owned(), root.sequence.to_string()),
        ("log_begun_in_epoch".to_owned(), root.log_epoch.to_string()),
    ];
    let kind = match root.kind.get() {
        ROOT_LOG => "log from its first batch",
        ROOT_CHECKPOINT => "checkpoint",
        _ => "unknown",
    };
    lines.insert(0, ("root".to_owned(), kind.to_owned()));
    if root.kind.get() != ROOT_CHECKPOINT {
        return Ok((lines, 1));
    }
    let at = place_in(block, root.extent.get(), root.offset.get());
    let payload = read_chunk(drive, at, root.length.get())?;
    let checkpoint = CheckpointRootV1::decode(&payload).map_err(|damage| damaged(drive, damage))?;
    let held = held_by(drive, block, &checkpoint)?;
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    line("versions_at_checkpoint", held.versions.to_string());
    line("delete_markers_at_checkpoint", held.markers.to_string());
    line("checkpoint_extents", checkpoint.own.len().to_string());
    line("log_extents", checkpoint.logs.len().to_string());
    line("sets_at_checkpoint", (checkpoint.own.len() + held.sets + checkpoint.sets.len()).to_string());
    line("replay_sequence", checkpoint.replay_sequence.to_string());
    line("object_bytes_at_checkpoint", held.bytes.to_string());
    line("full_slices_at_checkpoint", held.runs.slices.to_string());
    line("runs_at_checkpoint", held.runs.runs.to_string());
    line("mean_run_slices_at_checkpoint", format!("{:.3}", held.runs.mean_slices()));
    Ok((lines, checkpoint.own.len() + checkpoint.logs.len()))
}

/// The sums over the versions of a checkpoint.
#[derive(Default)]
struct Held {
    /// Versions that are objects, of all keys.
    versions: u64,
    markers: u64,
    bytes: u64,
    runs: RunCount,
    /// Number of sets in chunks of their own.
    sets: usize,
}

fn held_by(
    drive: &OpenDrive,
    block: &SuperblockOnDisk,
    checkpoint: &CheckpointRootV1,
) -> Result<Held, FormatError> {
    let mut held = Held::default();
    let mut chunks = Vec::new();
    for list in &checkpoint.lists {
        let payload = read_chunk(drive, place_of(drive, block, checkpoint, list)?, list.length)?;
        chunks.extend(ChunkListV1::decode(&payload).map_err(|damage| damaged(drive, damage))?.chunks);
    }
    chunks.extend(&checkpoint.rest.chunks);
    for chunk in chunks.iter().filter(|chunk| chunk.kind == KIND_SETS) {
        let payload = read_chunk(drive, place_of(drive, block, checkpoint, chunk)?, chunk.length)?;
        held.sets += decode_sets(&payload).map_err(|damage| damaged(drive, damage))?.len();
    }
    for chunk in chunks.iter().filter(|chunk| chunk.kind == KIND_LEAVES) {
        let payload = read_chunk(drive, place_of(drive, block, checkpoint, chunk)?, chunk.length)?;
        let mut index = OrderedIndex::new();
        let loaded = load_leaves(&mut index, &payload).and_then(|()| {
            for_each_entry(&index, &mut |_, _, entry| {
                *(if entry.is_marker { &mut held.markers } else { &mut held.versions }) += 1;
                held.bytes += entry.size;
                entry.segments.iter().for_each(|segment| held.runs.add(segment));
                Ok(())
            })
        });
        loaded.map_err(|_| damaged(drive, FormatDamage::Field("leaf")))?;
    }
    Ok(held)
}

fn place_in(block: &SuperblockOnDisk, extent: u32, offset: u32) -> u64 {
    block.extents_start.get() + u64::from(extent) * block.extent_bytes.get() + u64::from(offset)
}

/// Returns the byte on the drive at which a chunk of the checkpoint begins.
fn place_of(
    drive: &OpenDrive,
    block: &SuperblockOnDisk,
    checkpoint: &CheckpointRootV1,
    named: &ChunkPlaceV1,
) -> Result<u64, FormatError> {
    let set = checkpoint.own.iter().find(|own| own.set == named.set);
    let number = block.drive_number.get();
    let member = set.and_then(|set| set.members.iter().find(|member| member.drive == number));
    let member = member.ok_or_else(|| damaged(drive, FormatDamage::Field("set of a chunk")))?;
    Ok(place_in(block, member.extent, named.offset))
}

fn read_chunk(drive: &OpenDrive, at: u64, length: u32) -> Result<Vec<u8>, FormatError> {
    let bytes = drive.read(at, (length as usize).next_multiple_of(BLOCK_BYTES))?;
    let (_, payload) = CheckpointChunkOnDisk::parse(&bytes).map_err(|damage| damaged(drive, damage))?;
    Ok(payload.to_vec())
}

fn damaged(drive: &OpenDrive, damage: FormatDamage) -> FormatError {
    FormatError::Damaged { path: drive.path.clone(), damage }
}
