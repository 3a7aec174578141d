//! The extents of a shard's log, and how much of each is still needed.
//!
//! Invariant: `live` of an extent is the sum of the record lengths that the index points at in it. It never
//! grows again once the log has moved on, so an extent without live bytes stays without. `live` and `written` of the
//! whole are the sums over the extents, kept as they change: they are asked for after every batch.

use std::collections::{HashMap, HashSet, VecDeque};

use super::LogPosition;
use crate::format::checkpoint::LogPlaceV1;

/// An extent with so little live, in bytes, is nearly empty: one batch surely takes the copies of all of it.
pub const CRUMBS_BYTES: u64 = 128 << 10;

struct LogExtent {
    log_number: u64,
    live: u64,
    written: u32,
    readers: u32,
    /// Left out of the current checkpoint: goes back to the drive when its last reader is gone.
    retired: bool,
}

/// See the module.
#[derive(Default)]
pub struct LogSpace {
    /// Oldest first; the last one is written to.
    order: VecDeque<u32>,
    extents: HashMap<u32, LogExtent>,
    live: u64,
    written: u64,
    /// Extents that the index does not point at and no checkpoint has let go of yet, the current one included.
    empty: usize,
    /// Extents with little live, but something, the current one included.
    crumbs: usize,
}

/// An extent before the current one, as the cleaner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedExtent {
    pub extent: u32,
    pub log_number: u64,
    pub live: u64,
    pub written: u32,
    /// How many extents that the log still has were begun since.
    pub age: u64,
}

impl LogSpace {
    pub fn add(&mut self, extent: u32, log_number: u64, written: u32) {
        let fresh = LogExtent { log_number, live: 0, written, readers: 0, retired: false };
        assert!(self.extents.insert(extent, fresh).is_none(), "extent {extent} is in the log already");
        self.written += u64::from(written);
        self.empty += 1;
        self.order.push_back(extent);
    }

    /// Whether the log owns this extent.
    pub fn contains(&self, extent: u32) -> bool {
        self.extents.contains_key(&extent)
    }

    /// The number of this extent, if the log owns it.
    pub fn number_of(&self, extent: u32) -> Option<u64> {
        self.extents.get(&extent).map(|entry| entry.log_number)
    }

    /// Whether the log owns this extent and the index points into it.
    pub fn has_live(&self, extent: u32) -> bool {
        self.extents.get(&extent).is_some_and(|extent| extent.live > 0)
    }

    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.extents.keys().copied()
    }

    /// Every extent with its live and written bytes, in no order.
    pub fn each(&self) -> impl Iterator<Item = (u32, u64, u32)> + '_ {
        self.extents.iter().map(|(extent, entry)| (*extent, entry.live, entry.written))
    }

    pub fn gain(&mut self, extent: u32, bytes: u32) {
        let before = self.get(extent).live;
        self.get(extent).live = before + u64::from(bytes);
        self.count_crumbs(before, before + u64::from(bytes));
        self.live += u64::from(bytes);
        self.empty -= usize::from(before == 0 && bytes > 0);
    }

    pub fn lose(&mut self, extent: u32, bytes: u32) {
        let before = self.get(extent).live;
        let live = before
            .checked_sub(u64::from(bytes))
            .unwrap_or_else(|| panic!("extent {extent} lost more than it had"));
        self.get(extent).live = live;
        self.count_crumbs(before, live);
        let emptied = live == 0 && bytes > 0;
        self.empty += usize::from(emptied);
        self.live -= u64::from(bytes);
    }

    pub fn wrote(&mut self, extent: u32, end: u32) {
        let before = std::mem::replace(&mut self.get(extent).written, end);
        self.written = self.written - u64::from(before) + u64::from(end);
    }

    /// Keeps the extent; its log extent number says which of its lives this is.
    pub fn pin(&mut self, extent: u32) -> u64 {
        let entry = self.get(extent);
        entry.readers += 1;
        entry.log_number
    }

    /// Returns the extent when it was the last reader of a retired one.
    pub fn unpin(&mut self, extent: u32) -> Option<u32> {
        let entry = self.get(extent);
        entry.readers -= 1;
        let last = entry.retired && entry.readers == 0;
        last.then(|| self.remove(extent))
    }

    /// What a checkpoint taken at `position` must name: extents with live records, and where the replay starts.
    pub fn needed(&self, position: &LogPosition) -> Vec<LogPlaceV1> {
        let place = |&extent: &u32| {
            let entry = &self.extents[&extent];
            LogPlaceV1 { extent, log_number: entry.log_number, written: entry.written }
        };
        let needed =
            self.order.iter().filter(|extent| self.extents[extent].live > 0 && **extent != position.extent);
        let mut places: Vec<_> = needed.map(place).collect();
        places.push(place(&position.extent));
        places
    }

    /// A checkpoint that names only `kept` is in force. Extents older than that and not named leave; returns
    /// those without readers.
    pub fn retire(&mut self, kept: &[LogPlaceV1]) -> Vec<u32> {
        let start = kept.last().map(|place| place.extent);
        let kept: HashSet<u32> = kept.iter().map(|place| place.extent).collect();
        let border = self.order.iter().position(|extent| Some(*extent) == start).unwrap_or(0);
        let (mut gone, mut order) = (Vec::new(), VecDeque::new());
        for (at, extent) in std::mem::take(&mut self.order).into_iter().enumerate() {
            if at >= border || kept.contains(&extent) {
                order.push_back(extent);
                continue;
            }
            let entry = self.get(extent);
            assert_eq!(entry.live, 0, "extent {extent} has live records that the checkpoint does not name");
            entry.retired = true;
            let unread = entry.readers == 0;
            self.empty -= 1;
            if unread {
                gone.push(self.remove(extent));
            }
        }
        self.order = order;
        gone
    }

    /// Extents before the current one, oldest first.
    pub fn closed(&self) -> impl Iterator<Item = ClosedExtent> + '_ {
        let current = self.order.back().copied();
        let ages = (0..self.order.len() as u64).rev();
        self.order.iter().zip(ages).filter(move |(extent, _)| Some(**extent) != current).map(
            move |(&extent, age)| {
                let entry = &self.extents[&extent];
                ClosedExtent {
                    extent,
                    log_number: entry.log_number,
                    live: entry.live,
                    written: entry.written,
                    age,
                }
            },
        )
    }

    /// Extents that the next checkpoint lets go of, unless they are read just then.
    pub fn empty(&self) -> usize {
        let current = self.order.back().is_some_and(|extent| self.extents[extent].live == 0);
        self.empty - usize::from(current)
    }

    /// Live bytes of the whole log, and bytes written to it that are not live.
    pub fn live_and_dead(&self) -> (u64, u64) {
        (self.live, self.written.saturating_sub(self.live))
    }

    /// Extents before the current one that are nearly empty.
    pub fn nearly_empty(&self) -> usize {
        let current = self.order.back().is_some_and(|extent| is_crumbs(self.extents[extent].live));
        self.crumbs - usize::from(current)
    }

    fn count_crumbs(&mut self, before: u64, after: u64) {
        self.crumbs = self.crumbs + usize::from(is_crumbs(after)) - usize::from(is_crumbs(before));
    }

    pub fn count(&self) -> usize {
        self.extents.len()
    }

    fn remove(&mut self, extent: u32) -> u32 {
        if let Some(entry) = self.extents.remove(&extent) {
            self.count_crumbs(entry.live, 0);
            self.live -= entry.live;
            self.written -= u64::from(entry.written);
        }
        extent
    }

    fn get(&mut self, extent: u32) -> &mut LogExtent {
        self.extents.get_mut(&extent).unwrap_or_else(|| panic!("extent {extent} is not in the log"))
    }
}

fn is_crumbs(live: u64) -> bool {
    (1..=CRUMBS_BYTES).contains(&live)
}
