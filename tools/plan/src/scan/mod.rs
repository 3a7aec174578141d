//! This module finds the sizes of objects that are stored somewhere: in a bucket of any S3 server,
//! in an S3 Inventory, or in the output of `aws s3 ls`.
//!
//! Invariant: objects are counted as they arrive; memory does not grow with their number.

pub mod collector;
pub mod endpoint;
pub mod error;
pub mod file;
mod input;
mod inventory;
mod listing;
mod page;
mod parquet;
pub mod progress;
mod text;

use self::collector::Collector;
use self::endpoint::S3Source;
use self::error::ScanError;
use self::file::ScannedSizes;
use self::progress::Progress;
use std::path::{Path, PathBuf};

/// Names the source of a scan.
pub enum Source {
    S3(S3Source),
    /// Names files in CSV, plain or compressed by gzip, or in Parquet, and their manifest.json if
    /// there is one. `columns` are those of CSV, with the names of its `fileSchema`.
    Inventory {
        files: Vec<PathBuf>,
        columns: Option<String>,
    },
    /// Names the output of `aws s3 ls --recursive`; `-` is standard input.
    Text(PathBuf),
}

/// Reads all of `source`, and reports to `progress` from time to time.
///
/// # Errors
/// Fails when the source cannot be read, is not valid, or has no object.
pub fn scan(source: &Source, progress: &mut dyn FnMut(Progress)) -> Result<ScannedSizes, ScanError> {
    let mut collector = Collector::default();
    let in_words = match source {
        Source::S3(bucket) => {
            listing::scan(bucket, &mut collector, progress)?;
            bucket.in_words()
        }
        Source::Inventory { files, columns } => {
            inventory::scan(files, columns.as_deref(), &mut collector, progress)?;
            let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
            format!("inventory {}", names.join(", "))
        }
        Source::Text(path) => {
            text::scan(input::open(path)?, path, &mut collector, progress)?;
            if path == Path::new(input::STDIN) {
                "listing from standard input".to_owned()
            } else {
                format!("listing {}", path.display())
            }
        }
    };
    Ok(collector.finish(in_words)?)
}
