//! Point table: from the keyed hash of a key to the location of its newest record.
//!
//! Invariants:
//! - an entry is 16 bytes and holds the whole hash, so growing never needs the keys;
//! - hashes are uniformly random already (a keyed SipHash), so no second hashing takes place;
//! - two keys may share a hash: both entries are kept, and the caller asks the ordered index which is which.
//!
//! The entries are spread over 256 sub-tables, so that growing moves a 256th at a time. The sub-tables do not get
//! equal shares but shares that grow from 1 to 2 geometrically: with equal ones all would double at the
//! same moment, and the memory per entry would swing between 19 and 39 bytes; so it stays near 28.

use hashbrown::HashTable;

use super::allocated;

const SUB_TABLES: usize = 256;
/// A sub-table with room for more than so many times its entries gives memory back.
const SHRINK_BELOW: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    location: u64,
}

/// Answer of [`PointTable::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    None,
    One(u64),
    /// Several keys have this hash: the ordered index knows which is meant.
    Many,
}

/// See the module.
pub struct PointTable {
    sub_tables: Box<[HashTable<Entry>]>,
    len: usize,
    /// Of all sub-tables; kept as they grow, since it is asked for at every put.
    table_bytes: usize,
}

impl Default for PointTable {
    fn default() -> Self {
        Self::new()
    }
}

/// Sub-table of a hash: near 256 · log2(1 + x) for x in 0..1 made of the top 16 bits, as a polynomial in
/// 16-bit fixed point.
fn sub_table_of(hash: u64) -> usize {
    const SLOPE_AT_START: u64 = 29_013; // 1/ln 2 - 1
    const CURVE: u64 = 10_748;
    let x = hash >> 48;
    let bend = SLOPE_AT_START - ((CURVE * x) >> 16);
    let logarithm = x + ((((x * (65_536 - x)) >> 16) * bend) >> 16);
    (logarithm >> 8).min(SUB_TABLES as u64 - 1) as usize
}

/// hashbrown takes the bucket from the low bits and a tag from the top seven, which hardly differ within
/// a sub-table: bring lower bits up.
fn spread(hash: u64) -> u64 {
    hash ^ (hash << 16)
}

impl PointTable {
    pub fn new() -> Self {
        Self { sub_tables: (0..SUB_TABLES).map(|_| HashTable::new()).collect(), len: 0, table_bytes: 0 }
    }

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

    /// Adds an entry, also when the hash is there already (for another key).
    pub fn insert(&mut self, hash: u64, location: u64) {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let before = allocated(sub_table.allocation_size());
        sub_table.insert_unique(spread(hash), Entry { hash, location }, |entry| spread(entry.hash));
        self.table_bytes += allocated(sub_table.allocation_size()) - before;
        self.len += 1;
    }

    /// Moves the entry (hash, old) to another location. False when it is not there.
    pub fn replace(&mut self, hash: u64, old: u64, new: u64) -> bool {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let entry = sub_table.find_mut(spread(hash), |entry| entry.hash == hash && entry.location == old);
        entry.map(|entry| entry.location = new).is_some()
    }

    /// Removes the entry (hash, location). False when it is not there.
    pub fn remove(&mut self, hash: u64, location: u64) -> bool {
        let sub_table = &mut self.sub_tables[sub_table_of(hash)];
        let is_it = |entry: &Entry| entry.hash == hash && entry.location == location;
        let Ok(entry) = sub_table.find_entry(spread(hash), is_it) else { return false };
        entry.remove();
        self.len -= 1;
        if sub_table.len() * SHRINK_BELOW < sub_table.capacity() {
            let before = allocated(sub_table.allocation_size());
            // Room for as many again, so that the next inserts do not grow it at once.
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

    /// All that is allocated, full or not.
    pub fn memory_bytes(&self) -> usize {
        self.table_bytes + allocated(SUB_TABLES * size_of::<HashTable<Entry>>())
    }

    /// Makes room for this many entries in all, so that filling the table (at recovery) does not grow it.
    pub fn reserve(&mut self, expected_entries: usize) {
        for (number, sub_table) in self.sub_tables.iter_mut().enumerate() {
            let share = share_of(number) * expected_entries as f64;
            // Random shares scatter by their square root: most sub-tables then never grow.
            let wanted = (share + 2.0 * share.sqrt()) as usize;
            let before = allocated(sub_table.allocation_size());
            sub_table.reserve(wanted.saturating_sub(sub_table.len()), |entry| spread(entry.hash));
            self.table_bytes += allocated(sub_table.allocation_size()) - before;
        }
    }
}

/// Part of all hashes that belongs to a sub-table.
fn share_of(sub_table: usize) -> f64 {
    let bound = |number: usize| (number as f64 / SUB_TABLES as f64).exp2();
    bound(sub_table + 1) - bound(sub_table)
}
