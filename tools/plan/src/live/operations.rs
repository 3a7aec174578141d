//! S3 operations by what a plan calls them.

use super::node::LiveNode;

/// An object that comes in parts counts once, when it is completed.
const PUT: &[&str] = &["PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload"];
const GET: &[&str] = &["GetObject"];
const HEAD: &[&str] = &["HeadObject", "GetObjectAttributes"];
const LIST: &[&str] = &["ListObjects", "ListObjectsV2", "ListObjectVersions"];
const DELETE: &[&str] = &["DeleteObject", "DeleteObjects"];

/// Requests a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub put: f64,
    pub get: f64,
    pub head: f64,
    pub list: f64,
    pub delete: f64,
    /// Of the deletes: those of many keys at once.
    pub delete_many: f64,
}

/// None: the node does not count its requests.
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
