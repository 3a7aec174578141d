//! This module reads the input of a plan from two TOML files and the overrides of the command line.
//!
//! - `keys`: the table of all keys with their kinds and defaults;
//! - `kind`: the kinds of values and their limits;
//! - `tree`: TOML with its lines; `overrides`: `--set` and `--sweep`; `fields`: all values by key;
//! - `sizes`, `workload`, `hardware`, `speed`: the typed input and its checks;
//! - `notes`: what is odd but possible.
//!
//! Invariants: the result depends only on the texts, the files they name, the overrides and the
//! time. Each error names file and line, key, value, limit, and what to do. Every default is in the
//! templates.

mod error;
mod fields;
mod hardware;
mod keys;
mod kind;
mod notes;
mod overrides;
mod sizes;
mod speed;
mod tree;
mod workload;

pub use error::{InputError, Place};
pub use overrides::{COMBINATIONS_MAX, Override, Sweep};

use super::hardware::Hardware;
use super::workload::Workload;
use fields::Fields;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Holds a text and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// This is used in messages; paths in the text are relative to its directory.
    pub name: PathBuf,
    pub text: String,
}

/// Holds the input of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub workload: Workload,
    pub hardware: Hardware,
    /// Lists what is odd but possible, and what was assumed.
    pub notes: Vec<String>,
}

/// Holds both files of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    pub workload: &'static str,
    pub hardware: &'static str,
}

/// Returns what `ringbolt plan init` writes: every key with its unit, its default and its meaning.
pub const fn template() -> Template {
    Template {
        workload: include_str!("../template/workload.toml"),
        hardware: include_str!("../template/hardware.toml"),
    }
}

/// A named file may be this large; profiles and scans have some thousand lines.
const NAMED_FILE_BYTES_MAX: u64 = 64 << 20;

impl Document {
    /// Reads a document from a file.
    ///
    /// # Errors
    /// Fails when the file cannot be read, is not UTF-8 or is too long.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        Ok(Self { name: path.to_owned(), text: read_text(path, tree::TEXT_BYTES_MAX as u64)? })
    }
}

/// Reads the input of a plan. Paths in overrides are relative to `base`; `now_unix_s` is the start
/// of plans that begin now.
///
/// # Errors
/// Fails when a value is not valid, or when values contradict each other.
pub fn parse(
    workload: &Document,
    hardware: &Document,
    overrides: &[Override],
    base: &Path,
    now_unix_s: u64,
) -> Result<Input, InputError> {
    let fields = Fields::of(workload, hardware, overrides, base)?;
    let mut notes = Vec::new();
    let workload = workload::read(&fields, now_unix_s, &mut notes)?;
    let hardware = hardware::read(&fields, &mut notes)?;
    notes::workload(&fields, &workload, &mut notes);
    notes::hardware(&fields, &hardware, &mut notes);
    Ok(Input { workload, hardware, notes })
}

/// Checks that a figure from another source is within the limits of `key`, in the unit of the typed
/// input.
///
/// # Errors
/// Returns the limits.
pub fn check(key: &str, value: f64) -> Result<(), String> {
    match keys::find(key) {
        Some(key) => key.kind.check(value),
        None => unreachable!("{key} is in the table of keys"),
    }
}

/// Reads a file that a value names.
fn named_file(path: &Path) -> Result<String, InputError> {
    read_text(path, NAMED_FILE_BYTES_MAX)
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, InputError> {
    let wrong = |reason: String| InputError::File { path: path.to_owned(), reason };
    let mut text = String::new();
    // One byte more is read, to detect a file beyond the limit.
    let read = std::fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("can not be read: {error}")))?;
    if text.len() as u64 > bytes_max {
        return Err(wrong(format!("longer than {bytes_max} bytes: it is no such file")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
