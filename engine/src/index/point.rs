//! The point table: from the keyed hash of a key to the location of its newest record.
//!
//! Invariants:
//! - An entry is 16 bytes and holds the whole hash, so growing never needs the keys.
//! - Hashes are uniformly random already (a keyed SipHash), so they are not hashed again.
//! - Two keys may share a hash. Both entries are kept, and the caller asks the ordered index which
//!   one is meant.
//!
//! The entries are distributed over 256 sub-tables, so that growing moves one 256th at a time. The
//! shares of the sub-tables are not equal but grow geometrically from 1 to 2. With equal shares all
//! would double at the same moment, and the memory for each entry would vary between 19 and 39
//! bytes; with these it stays near 28.

use hashbrown::HashTable;

use super::allocated;

const SUB_TABLES: usize = 256;
/// A sub-table with room for more than this many times its entries releases memory.
const SHRINK_BELOW: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    location: u64,
}

/// The answer of [`PointTable::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    None,
    One(u64),
    /// Several keys have this hash. The ordered index knows which one is meant.
    Many,
}

/// The locations of a shard's records by the hash of their keys.
pub struct PointTable {
    sub_tables: Box<[HashTable<Entry>]>,
    len: usize,
    /// Bytes of all sub-tables. The sum is maintained as they grow, because every put reads it.
    table_bytes: usize,
}

impl Default for PointTable {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the sub-table of a hash: about 256 · log2(1 + x), where x from 0 to 1 is made of the top
/// 16 bits, as a polynomial in 16-bit fixed point.
fn sub_table_of(hash: u64) -> usize {
    const SLOPE_AT_START: u64 = 29_013; // 1/ln 2 - 1
    const CURVE: u64 = 10_748;
    let x = hash >> 48;
    let bend = SLOPE_AT_START - ((CURVE * x) >> 16);
    let logarithm = x + ((((x * (65_536 - x)) >> 16) * bend) >> 16);
    (logarithm >> 8).min(SUB_TABLES as u64 - 1) as usize
}

/// Brings lower bits of a hash up: hashbrown takes the bucket from the low bits and a tag from the
/// top seven, which hardly differ within a sub-table.
fn spread(hash: u64) -> u64 {
    hash ^ (hash << 16)
}

impl PointTable {
    pub fn new() -> Self {
        Self { sub_tables: (0..SUB_TABLES).map(|_| HashTable::new()).collect(), len: 0, table_bytes: 0 }
    }

    /// Returns the location for this hash, or that there is none or more than one.
    pub fn find(&self, hash: u64) -> Found {
        let mut found = Found::None;
        for entry in self.sub_tables[sub_table_of(hash)].iter_hash(spread(hash)) {
            if entry.hash == hash {
                if found != Found::None {
                    return Found::Many;
                }
                found = Found::One(entry.location);
            }
        }
        found
    }

    /// Adds an entry, even if the hash is there already (for another key).
    pub fn insert(&mut self, hash: u64, location: u64) {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let before = allocated(sub_table.allocation_size());
        sub_table.insert_unique(spread(hash), Entry { hash, location }, |entry| spread(entry.hash));
        self.table_bytes += allocated(sub_table.allocation_size()) - before;
        self.len += 1;
    }

    /// Changes the location of the entry (hash, old). Returns false when it is not there.
    pub fn replace(&mut self, hash: u64, old: u64, new: u64) -> bool {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let entry = sub_table.find_mut(spread(hash), |entry| entry.hash == hash && entry.location == old);
        entry.map(|entry| entry.location = new).is_some()
    }

    /// Removes the entry (hash, location). Returns false when it is not there.
    pub fn remove(&mut self, hash: u64, location: u64) -> bool {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let is_it = |entry: &Entry| entry.hash == hash && entry.location == location;
        let Ok(entry) = sub_table.find_entry(spread(hash), is_it) else { return false };
        entry.remove();
        self.len -= 1;
        if sub_table.len() * SHRINK_BELOW < sub_table.capacity() {
            let before = allocated(sub_table.allocation_size());
            // The room is for twice the entries, so that the next inserts do not make it grow at
            // once.
            sub_table.shrink_to(sub_table.len() * 2, |entry| spread(entry.hash));
            self.table_bytes -= before - allocated(sub_table.allocation_size());
        }
        true
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all that is allocated in bytes, whether it is in use or not.
    pub fn memory_bytes(&self) -> usize {
        self.table_bytes + allocated(SUB_TABLES * size_of::<HashTable<Entry>>())
    }

    /// Makes room for this many entries in all, so that filling the table at recovery does not make
    /// it grow.
    pub fn reserve(&mut self, expected_entries: usize) {
        for (number, sub_table) in self.sub_tables.iter_mut().enumerate() {
            let share = share_of(number) * expected_entries as f64;
            // Random shares vary by their square root, so with this margin most sub-tables never
            // grow.
            let wanted = (share + 2.0 * share.sqrt()) as usize;
            let before = allocated(sub_table.allocation_size());
            sub_table.reserve(wanted.saturating_sub(sub_table.len()), |entry| spread(entry.hash));
            self.table_bytes += allocated(sub_table.allocation_size()) - before;
        }
    }
}

/// Returns the part of all hashes that belongs to a sub-table.
fn share_of(sub_table: usize) -> f64 {
    let bound = |number: usize| (number as f64 / SUB_TABLES as f64).exp2();
    bound(sub_table + 1) - bound(sub_table)
}
