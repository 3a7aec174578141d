//! The check of the four copies of a superblock, each alone and all together.
//!
//! Beside four equal copies, one state is normal: an interrupted update leaves the first half newer
//! by one (both copies of the half, or one of them, or one torn). Everything else is damage.

use zerocopy::IntoBytes;

use super::{CheckError, Finding, Kind, Medium, Remedy};
use crate::device::DeviceError;
use crate::format::FormatDamage;
use crate::format::superblock::{COPIES, COPY_STRIDE, SUPERBLOCK_BYTES, SuperblockOnDisk};
use crate::node::format::choose_superblock;
use crate::node::{FormatError, OpenError};
use crate::ring::Pool;

/// Reads the bytes of all copies.
///
/// # Errors
/// Returns an error when the device fails or is too small for a Ringbolt drive.
pub(super) async fn read(medium: &Medium, pool: &Pool) -> Result<Vec<Vec<u8>>, CheckError> {
    let size = medium.device.size_bytes();
    if size < COPIES as u64 * COPY_STRIDE {
        return Err(FormatError::NotRingbolt { path: medium.path.clone() }.into());
    }
    let mut copies = Vec::new();
    for copy in 0..COPIES as u64 {
        copies.push(read_copy(medium, pool, copy * COPY_STRIDE).await?);
    }
    Ok(copies)
}

async fn read_copy(medium: &Medium, pool: &Pool, offset: u64) -> Result<Vec<u8>, DeviceError> {
    let buffer = pool.take_for_step(SUPERBLOCK_BYTES).await;
    let (result, buffer) = medium.device.read(offset, SUPERBLOCK_BYTES, buffer).await;
    result.map(|()| buffer[..SUPERBLOCK_BYTES].to_vec())
}

/// Returns the superblock that is in force, and what is wrong with the copies.
///
/// # Errors
/// Returns an error when no copy is whole, or when the drive is not Ringbolt's or has another
/// format version.
pub(super) fn judge(
    medium: &Medium,
    copies: &[Vec<u8>],
) -> Result<(SuperblockOnDisk, Vec<Finding>), CheckError> {
    let slices: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    let parsed: Vec<_> = slices.iter().map(|bytes| SuperblockOnDisk::parse(bytes)).collect();
    let chosen = match choose_superblock(&slices, medium.path.clone(), medium.device.size_bytes()) {
        Ok(chosen) => chosen,
        Err(FormatError::Damaged { .. }) => return without_agreement(medium, &parsed),
        Err(error) => return Err(CheckError::Open(OpenError::Format(error))),
    };
    let mut findings = Vec::new();
    let mut cut_off = 0;
    for (number, copy) in parsed.iter().enumerate() {
        match copy {
            Ok(copy) if copy == &chosen => {}
            Ok(copy) if follows(copy, &chosen) || follows(&chosen, copy) => cut_off += 1,
            Ok(copy) => {
                let text = format!(
                    "copy {number} has sequence {}, the copies that agree have {}, and neither names the other as \
                     its parent",
                    copy.sequence, chosen.sequence
                );
                findings.push(Finding::new(medium, Kind::SuperblockParent, Remedy::Lossless, text));
            }
            Err(damage) => {
                let text = format!("copy {number} of the superblock is damaged: {damage}");
                findings.push(Finding::new(medium, Kind::SuperblockCopy, Remedy::Lossless, text));
            }
        }
    }
    if cut_off > 0 {
        let text = format!("{cut_off} copies of the superblock are of the update before or after");
        findings.push(Finding::new(medium, Kind::InterruptedUpdate, Remedy::None, text));
    }
    Ok((chosen, findings))
}

fn follows(later: &SuperblockOnDisk, earlier: &SuperblockOnDisk) -> bool {
    later.sequence.get() == earlier.sequence.get() + 1 && later.parent_crc == earlier.crc
}

/// Returns the newest whole copy, although no other copy confirms it.
fn without_agreement(
    medium: &Medium,
    parsed: &[Result<SuperblockOnDisk, FormatDamage>],
) -> Result<(SuperblockOnDisk, Vec<Finding>), CheckError> {
    let newest = parsed.iter().filter_map(|copy| copy.ok()).max_by_key(|copy| copy.sequence.get());
    let newest = newest.filter(|copy| copy.size_bytes.get() <= medium.device.size_bytes());
    let Some(block) = newest else { return Err(CheckError::NoSuperblock { path: medium.path.clone() }) };
    let text = format!(
        "no two copies of the superblock agree; the newest whole one has sequence {}",
        block.sequence
    );
    Ok((block, vec![Finding::new(medium, Kind::Superblock, Remedy::Loss, text)]))
}

/// The superblock that all four copies should hold.
pub(super) struct Wanted {
    pub block: SuperblockOnDisk,
    /// Set when two copies agree on it.
    pub agreed: bool,
    /// Set when a copy holds something else.
    pub differs: bool,
}

/// Returns the superblock that all copies of a drive should hold.
///
/// # Errors
/// Returns an error when the device fails, or when no superblock can be chosen.
pub(super) async fn wanted(medium: &Medium, pool: &Pool) -> Result<Wanted, CheckError> {
    let copies = read(medium, pool).await?;
    let (block, findings) = judge(medium, &copies)?;
    let differs = copies.iter().any(|copy| copy.as_slice() != block.as_bytes());
    Ok(Wanted { block, agreed: findings.iter().all(|finding| finding.kind != Kind::Superblock), differs })
}
