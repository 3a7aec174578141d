//! This module parses `bs`, `bsrange` and `bssplit`.

use super::{by_direction, complete_shares, share};
use crate::job::units::Units;
use crate::spec::{BlockSize, ByDirection};

/// Larger operations are refused, because the kernel takes at most this many bytes at once.
const BLOCK_BYTES_MAX: u64 = 2 << 30;
const SPLITS_MAX: usize = 64;

/// Parses one size.
///
/// # Errors
/// Returns the reason when the size is not valid.
pub fn block_size(text: &str, units: &Units) -> Result<u64, String> {
    match units.size(text)? {
        0 => Err("a block has at least 1 byte".to_owned()),
        bytes if bytes > BLOCK_BYTES_MAX => Err(format!("{text} is more than the largest block, 2g")),
        bytes => Ok(bytes),
    }
}

/// Parses a range of sizes; a range of a single size becomes that size.
///
/// # Errors
/// Returns the reason when the range is not valid.
pub fn block_range(text: &str, units: &Units) -> Result<BlockSize, String> {
    let (least, most) = units.size_range(text)?;
    for bytes in [least, most] {
        block_size(&bytes.to_string(), units)?;
    }
    Ok(if least == most { BlockSize::Fixed(least) } else { BlockSize::Range { least, most } })
}

/// Parses `4k/50:64k/50,…`.
///
/// # Errors
/// Returns the reason when the splits are not valid.
pub fn block_splits(
    text: &str,
    default: &ByDirection<BlockSize>,
    units: &Units,
) -> Result<ByDirection<BlockSize>, String> {
    by_direction(text, default, |text| block_split(text, units))
}

fn block_split(text: &str, units: &Units) -> Result<BlockSize, String> {
    let mut sizes = Vec::new();
    let mut shares = Vec::new();
    for part in text.split(':') {
        let (size, part_share) = part.split_once('/').unwrap_or((part, ""));
        sizes.push(block_size(size, units)?);
        shares.push(share(part_share)?);
    }
    if sizes.len() > SPLITS_MAX {
        return Err(format!("{} sizes are more than {SPLITS_MAX}", sizes.len()));
    }
    Ok(BlockSize::Split(sizes.into_iter().zip(complete_shares(&shares)?).collect()))
}
