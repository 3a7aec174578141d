//! This module parses values with a grammar of their own: each function takes the text and returns
//! the value, or the reason why it is not valid.
//!
//! Invariant: the values returned are within their limits, so that a run does not check them again.

mod blocks;
mod bytes;
mod distribution;
mod lists;
mod operations;
mod pattern;

pub use self::blocks::{block_range, block_size, block_splits};
pub use self::bytes::byte_pattern;
pub use self::distribution::{distribution, distributions};
pub use self::lists::{cores, error_kinds, nodes, paths, percent, percentiles, steady};
pub use self::operations::{endpoint, mix, object_op};
pub use self::pattern::{calls, difference, engine, huge_pages, pattern};

use crate::spec::ByDirection;

/// Parses `read,write,trim` and fills it as fio does: one value is for all; of two, the second is
/// for writes and trims; an empty place keeps the value in `default`.
///
/// # Errors
/// Returns the reason when a part is not valid.
pub fn by_direction<T: Clone>(
    text: &str,
    default: &ByDirection<T>,
    mut parse: impl FnMut(&str) -> Result<T, String>,
) -> Result<ByDirection<T>, String> {
    let mut part = |text: &str, default: &T| {
        let text = text.trim();
        if text.is_empty() { Ok(default.clone()) } else { parse(text) }
    };
    let parts: Vec<&str> = text.split(',').collect();
    match parts[..] {
        [one] if one.trim().is_empty() => Err("a value is needed".to_owned()),
        [one] => Ok(ByDirection::same(part(one, &default.read)?)),
        [read, write] => Ok(ByDirection {
            read: part(read, &default.read)?,
            write: part(write, &default.write)?,
            trim: part(write, &default.trim)?,
        }),
        [read, write, trim] => Ok(ByDirection {
            read: part(read, &default.read)?,
            write: part(write, &default.write)?,
            trim: part(trim, &default.trim)?,
        }),
        _ => Err("at most three values: for reads, writes and trims".to_owned()),
    }
}

/// Fills empty shares with what is left of 100, and checks that all add up to it.
///
/// # Errors
/// Names the sum when it is not 100.
fn complete_shares(shares: &[Option<u32>]) -> Result<Vec<u32>, String> {
    let given: u32 = shares.iter().flatten().sum();
    let empty = shares.iter().filter(|share| share.is_none()).count() as u32;
    if given > 100 || (empty == 0 && given != 100) {
        return Err(format!("the shares add up to {given} per cent, not 100"));
    }
    if empty == 0 {
        return Ok(shares.iter().flatten().copied().collect());
    }
    let left = 100 - given;
    if left < empty {
        return Err(format!(
            "the shares given add up to {given} per cent: too little is left for the others"
        ));
    }
    // The last empty share takes the remainder of the division, so that the sum is 100.
    let mut to_fill = empty;
    let filled = shares.iter().map(|share| {
        share.unwrap_or_else(|| {
            to_fill -= 1;
            left / empty + if to_fill == 0 { left % empty } else { 0 }
        })
    });
    Ok(filled.collect())
}

/// Parses a share in per cent; an empty text is `None`.
///
/// # Errors
/// Fails when the text is not a whole number up to 100.
fn share(text: &str) -> Result<Option<u32>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let share: u32 =
        text.parse().map_err(|_| format!("{text:?} is no share: write a whole number of per cent"))?;
    if share > 100 {
        return Err(format!("a share of {share} per cent is more than all"));
    }
    Ok(Some(share))
}

#[cfg(test)]
mod tests;
