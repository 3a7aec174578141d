//! Small objects that were read lately, kept in memory by the core that read them.
//!
//! Invariants:
//! - An entry is what was read and verified at one place of one log. A log never writes the same place of the same
//!   log extent number twice, so an entry is never stale: what an overwrite or delete leaves behind is only not asked
//!   for any more.
//! - Each core has its own; entries are counted with all they hold, and never exceed the bytes given.

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::types::{BucketId, ObjectInfo};

/// Where the record lies, for ever: log extent numbers are counted up by each shard and never come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    pub shard: u16,
    pub log_number: u64,
    pub offset: u32,
}

/// An object with its data.
pub struct CachedObject {
    pub bucket: BucketId,
    pub key: Box<[u8]>,
    pub info: Rc<ObjectInfo>,
    pub data: Box<[u8]>,
}

impl CachedObject {
    /// Bytes of memory, what the cache itself needs for it included.
    fn weight(&self) -> u64 {
        const FIXED: usize = size_of::<CachedObject>() + size_of::<ObjectInfo>() + size_of::<CacheKey>() + 96;
        let attributes: usize = self
            .info
            .attributes
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>())
            .sum();
        (FIXED + self.key.len() + self.data.len() + attributes) as u64
    }
}

/// See the module.
pub struct ReadCache {
    entries: Option<RefCell<Entries>>,
}

type Fixed = BuildHasherDefault<DefaultHasher>;
type Entries = Cache<CacheKey, Rc<CachedObject>, ByBytes, Fixed>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<CacheKey, Rc<CachedObject>> for ByBytes {
    fn weight(&self, _: &CacheKey, object: &Rc<CachedObject>) -> u64 {
        object.weight()
    }
}

/// What an entry is expected to weigh: sizes the cache's own tables, nothing else.
const TYPICAL_BYTES: usize = 4096;

impl ReadCache {
    /// Holds `bytes` at most; 0: nothing is ever kept.
    pub fn new(bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(bytes / TYPICAL_BYTES)
            .weight_capacity(bytes as u64)
            .build();
        // Not seeded at random: a simulated run must be the same each time. Places are not chosen by clients.
        let cache = || {
            Cache::with_options(
                options.unwrap_or_else(|error| panic!("both capacities are given: {error}")),
                ByBytes,
                Fixed::default(),
                DefaultLifecycle::default(),
            )
        };
        Self { entries: (bytes > 0).then(|| RefCell::new(cache())) }
    }

    /// What was read there, if it is still here.
    pub fn get(&self, place: CacheKey) -> Option<Rc<CachedObject>> {
        self.entries.as_ref()?.borrow_mut().get(&place).cloned()
    }

    /// Whether there is any use in making an entry.
    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// Keeps what was read; others go if they must.
    pub fn keep(&self, place: CacheKey, object: Rc<CachedObject>) {
        if let Some(entries) = &self.entries {
            entries.borrow_mut().insert(place, object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(length: usize) -> Rc<CachedObject> {
        let info = ObjectInfo { size_bytes: length as u64, ..ObjectInfo::default() };
        let key = Box::from(b"key".as_slice());
        Rc::new(CachedObject { bucket: BucketId(1), key, info: Rc::new(info), data: vec![7; length].into() })
    }

    #[test]
    fn it_keeps_what_fits_and_no_more() {
        let cache = ReadCache::new(64 << 10);
        let place = |log_number| CacheKey { shard: 1, log_number, offset: 8 };
        (0..1000).for_each(|log_number| cache.keep(place(log_number), object(4000)));
        let kept: Vec<_> = (0..1000).filter_map(|log_number| cache.get(place(log_number))).collect();
        let bytes: u64 = kept.iter().map(|object| object.weight()).sum();
        assert!((8..=16).contains(&kept.len()) && bytes <= 64 << 10, "{} entries, {bytes} bytes", kept.len());
        // Larger than all of it.
        cache.keep(place(2000), object(1 << 20));
        assert!(cache.get(place(2000)).is_none());
    }

    #[test]
    fn what_is_asked_again_stays() {
        let cache = ReadCache::new(64 << 10);
        let place = |log_number| CacheKey { shard: 1, log_number, offset: 8 };
        cache.keep(place(0), object(4000));
        for log_number in 1..200 {
            assert!(cache.get(place(0)).is_some(), "gone after {log_number}");
            cache.keep(place(log_number), object(4000));
        }
    }

    #[test]
    fn nothing_is_kept_without_memory() {
        let cache = ReadCache::new(0);
        let place = CacheKey { shard: 0, log_number: 1, offset: 8 };
        cache.keep(place, object(1));
        assert!(!cache.is_on() && cache.get(place).is_none());
    }
}
