//! This module defines the errors of a scan.

use super::collector::CollectError;
use super::page::PageError;
use crate::http::HttpError;
use std::io;
use std::path::PathBuf;

/// Says why a scan ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error(
        "endpoint {endpoint:?}: {why}; write for example http://127.0.0.1:9000 or https://s3.example.com"
    )]
    Endpoint { endpoint: String, why: &'static str },
    #[error(
        "bucket {0:?}: name a bucket, 3 to 63 characters without a slash; a part of it is chosen by the prefix"
    )]
    Bucket(String),
    #[error("{0} is set, but {1} is not: set both, or neither to ask without credentials")]
    HalfCredentials(&'static str, &'static str),
    #[error("{0}; check the address and that the server runs")]
    Http(#[from] HttpError),
    #[error("{url} answered {status} {code}: {message}{advice}")]
    Server { url: String, status: u16, code: String, message: String, advice: &'static str },
    #[error("page {page} of the listing of {url}: {source}")]
    Page { url: String, page: u64, source: PageError },
    #[error("page {page} begins with {key:?}, as page {earlier} did: the server lists in circles")]
    Circle { page: u64, earlier: u64, key: String },
    #[error("the server gave {0:?} twice in a row as the place to go on: the listing would never end")]
    SameToken(String),
    #[error("{0} pages in a row without an object, and the server has more: the listing would never end")]
    EmptyPages(u64),
    #[error("can not read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {found:?}: expected {expected}", path.display())]
    Line { path: PathBuf, line: u64, found: String, expected: &'static str },
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("no files given: name the files of an inventory, its manifest.json, or both")]
    NoFiles,
    #[error(
        "columns {columns:?}: {what}; give them in order, as \"Bucket, Key, Size\", or the manifest.json of the inventory"
    )]
    Columns { columns: String, what: &'static str },
    #[error(transparent)]
    Collect(#[from] CollectError),
}
