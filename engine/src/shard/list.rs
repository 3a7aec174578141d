//! Listing the keys of one shard: a walk over its leaves that never reads object data.

use super::entry::Entry;
use super::instance::Shard;
use crate::index;
use crate::types::{BucketId, Etag, ListPage, ListQuery};

impl Shard {
    /// Returns at most `max` items of this shard.
    pub fn list(&self, bucket: BucketId, query: &ListQuery, max: usize) -> ListPage {
        let state = self.state.borrow();
        let decode = |value: &[u8]| {
            // Leaves are checked when they are loaded, and only this shard writes them.
            Entry::listed(value).unwrap_or((0, 0, Etag::default()))
        };
        index::list(&state.index, bucket.0, query, max, &decode)
    }

    /// Returns whether the bucket has no object in this shard.
    pub fn is_bucket_empty(&self, bucket: BucketId) -> bool {
        self.list(bucket, &ListQuery::default(), 1).items.is_empty()
    }
}
