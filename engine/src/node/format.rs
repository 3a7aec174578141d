//! SKELETON: making and looking at a drive.
use std::path::Path;

#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// Size of a file to make; ignored for a block device (its own size counts). None: keep an existing file's size.
    pub size_bytes: Option<u64>,
    /// 0: two per core of this machine.
    pub shards: u16,
    /// Overwrite what is there.
    pub force: bool,
    /// Random; identities come from it.
    pub seed: [u64; 4],
}

#[derive(Clone, Debug)]
pub struct FormatReport {
    pub size_bytes: u64,
    pub extent_bytes: u64,
    pub extents: u32,
    pub shards: u16,
    pub drive_uuid: String,
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("{0}")]
    Placeholder(String),
}

/// Superblock, shards, extents and space of one drive, read only; for `ringbolt inspect`.
#[derive(Clone, Debug)]
pub struct InspectReport {
    /// Serialisable by the caller: sections of (name, value) lines.
    pub sections: Vec<(String, Vec<(String, String)>)>,
}

/// Makes a drive. For several drives of one node call with the whole list: they form a set.
pub fn format_drive(
    _paths: &[&Path],
    _options: &FormatOptions,
    _progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<FormatReport>, FormatError> {
    todo!()
}

pub fn inspect_drive(_path: &Path) -> Result<InspectReport, FormatError> {
    todo!()
}
