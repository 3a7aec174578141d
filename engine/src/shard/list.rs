//! Listing the keys and versions of one shard: a walk over its leaves that never reads object data.

use super::entry::Entry;
use super::instance::Shard;
use crate::index::{self, Listed};
use crate::types::{BucketId, BucketUsage, ListPage, ListQuery, Version, VersionsPage, VersionsQuery};

impl Shard {
    /// Returns at most `max` objects and common prefixes of this shard.
    pub fn list(&self, bucket: BucketId, query: &ListQuery, max: usize) -> ListPage {
        index::list(&self.state.borrow().index, bucket.0, query, max, &decode)
    }

    /// Returns at most `max` versions and common prefixes of this shard.
    pub fn list_versions(&self, bucket: BucketId, mut query: VersionsQuery, max: usize) -> VersionsPage {
        let state = self.state.borrow();
        if query.after_version == Some(Version::Null) {
            let null = state.newest(bucket, &query.after_key).and_then(|newest| newest.null_version());
            query.after_version = null.map(Version::Generation);
        }
        index::list_versions(&state.index, bucket.0, &query, max, &decode)
    }

    /// Returns whether the bucket has no version of any key in this shard.
    pub fn is_bucket_empty(&self, bucket: BucketId) -> bool {
        self.state.borrow().index.first_with(&bucket.0.to_be_bytes()).is_none()
    }

    /// Returns what the bucket holds in this shard.
    pub fn usage(&self, bucket: BucketId) -> BucketUsage {
        self.state.borrow().usage(bucket)
    }
}

/// Decodes what a listing shows of an entry. Leaves are checked when they are loaded, and only this
/// shard writes them.
fn decode(value: &[u8]) -> Listed {
    Entry::listed(value).unwrap_or_default()
}
