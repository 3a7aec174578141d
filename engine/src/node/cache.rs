//! The read cache of a core: small objects that the core read lately.
//!
//! Invariants:
//! - An entry is what was read and verified at one place of one log. A log never writes the same
//!   place of the same log extent number twice, so an entry is never stale. After an overwrite or
//!   delete, the old entry is only not asked for any more.
//! - Each core has its own cache. Entries are counted with all the memory that they hold, and never
//!   exceed the cache's size.

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::types::{BucketId, ObjectInfo};

/// The place of a record. It is unique for ever, because each shard counts its log extent numbers
/// up and never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    pub shard: u16,
    pub log_number: u64,
    pub offset: u32,
}

/// A small object with its data.
pub struct CachedObject {
    pub bucket: BucketId,
    pub key: Box<[u8]>,
    pub info: Rc<ObjectInfo>,
    pub data: Box<[u8]>,
}

impl CachedObject {
    /// Returns the memory that the entry takes, including the cache's own, bytes.
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

/// A cache of small objects, bounded by bytes.
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

/// Expected weight of an entry, bytes. It only sizes the cache's own tables.
const TYPICAL_BYTES: usize = 4096;

impl ReadCache {
    /// Makes a cache of at most `bytes` bytes. With 0, nothing is ever kept.
    pub fn new(bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(bytes / TYPICAL_BYTES)
            .weight_capacity(bytes as u64)
            .build();
        // The hash is not seeded at random, because a simulated run must be the same each time.
        // Clients do not choose the places that are hashed.
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

    /// Returns the object that was read at this place, if it is in the cache.
    pub fn get(&self, place: CacheKey) -> Option<Rc<CachedObject>> {
        self.entries.as_ref()?.borrow_mut().get(&place).cloned()
    }

    /// Returns whether the cache keeps anything at all.
    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// Adds an object that was read, and evicts others if the cache is full.
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
        // This object is larger than the whole cache.
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
