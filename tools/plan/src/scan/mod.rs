//! The sizes of what is stored somewhere: a bucket of any S3 server, an S3 Inventory, text of `aws s3 ls`.
//!
//! Invariant: objects are counted as they come; memory does not grow with their number.

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

/// What is read.
pub enum Source {
    S3(S3Source),
    /// Files in CSV, plain or by gzip, or in Parquet, and their manifest.json, if it is there; `columns` of CSV, as its
    /// `fileSchema` names them.
    Inventory {
        files: Vec<PathBuf>,
        columns: Option<String>,
    },
    /// Text of `aws s3 ls --recursive`; `-` is standard input.
    Text(PathBuf),
}

/// Reads all of `source`, and tells `progress` from time to time.
///
/// # Errors
/// When it can not be read, is not what it should be, or has no object.
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
