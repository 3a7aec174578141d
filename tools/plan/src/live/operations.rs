//! This module maps S3 operations to those of a plan.

use super::node::LiveNode;

/// An object that is uploaded in parts counts once, when it is completed.
const PUT: &[&str] = &["PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload"];
const GET: &[&str] = &["GetObject"];
const HEAD: &[&str] = &["HeadObject", "GetObjectAttributes"];
const LIST: &[&str] = &["ListObjects", "ListObjectsV2", "ListObjectVersions"];
const DELETE: &[&str] = &["DeleteObject", "DeleteObjects"];

/// Holds requests per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub put: f64,
    pub get: f64,
    pub head: f64,
    pub list: f64,
    pub delete: f64,
    /// Counts the deletes of many keys at once, which are part of the deletes.
    pub delete_many: f64,
}

/// Returns the rates; `None` if the node does not count its requests.
pub fn rates(node: &LiveNode) -> Option<Rates> {
    if node.requests_per_s.is_empty() {
        return None;
    }
    let of = |operations: &[&str]| {
        operations.iter().filter_map(|operation| node.requests_per_s.get(*operation)).sum::<f64>()
    };
    Some(Rates {
        put: of(PUT),
        get: of(GET),
        head: of(HEAD),
        list: of(LIST),
        delete: of(DELETE),
        delete_many: of(&["DeleteObjects"]),
    })
}
