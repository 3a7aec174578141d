//! What a drive says of itself, without opening the node.

use std::path::Path;

use super::format::{FormatError, read_superblock, uuid_text};
use crate::device::file::OpenDrive;
use crate::format::BLOCK_BYTES;
use crate::format::checkpoint::{CheckpointChunkOnDisk, CheckpointRootV1};
use crate::format::superblock::{ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk, SuperblockOnDisk};

/// Sections of (name, value) lines.
#[derive(Clone, Debug)]
pub struct InspectReport {
    pub sections: Vec<(String, Vec<(String, String)>)>,
}

/// Superblock, shards and extents of one drive, as of the last checkpoints; reads only, and only while no server
/// holds the drive.
///
/// # Errors
/// When this is no drive of ours, a newer one, a damaged one, or one in use.
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
    let lines: [(&str, String); 14] = [
        ("format_version", block.format_version.to_string()),
        ("sequence", block.sequence.to_string()),
        ("epoch", block.epoch.to_string()),
        ("node_uuid", uuid_text(&block.node_uuid)),
        ("set_uuid", uuid_text(&block.set_uuid)),
        ("drive_uuid", uuid_text(&block.drive_uuid)),
        ("drive_index", block.drive_index.to_string()),
        ("drives", block.drives.to_string()),
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
    let at = block.extents_start.get()
        + u64::from(root.extent.get()) * block.extent_bytes.get()
        + u64::from(root.offset.get());
    let bytes = drive.read(at, (root.length.get() as usize).next_multiple_of(BLOCK_BYTES))?;
    let damaged = |damage| FormatError::Damaged { path: drive.path.clone(), damage };
    let (_, payload) = CheckpointChunkOnDisk::parse(&bytes).map_err(damaged)?;
    let checkpoint = CheckpointRootV1::decode(payload).map_err(damaged)?;
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    line("objects_at_checkpoint", checkpoint.objects.to_string());
    line("checkpoint_extents", checkpoint.extents.len().to_string());
    line("log_extents", checkpoint.logs.len().to_string());
    line("replay_sequence", checkpoint.replay_sequence.to_string());
    Ok((lines, checkpoint.extents.len() + checkpoint.logs.len()))
}
