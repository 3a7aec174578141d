//! The sets of a shard's log, here called extents, and how much of each is still needed.
//!
//! Invariant: `live` of an extent is the sum of the lengths of its records that the index points
//! at. It never grows again once the log has moved on, so an extent without live bytes stays
//! without. `live` and `written` of the whole log are the sums over the extents. They are
//! maintained with every change, because they are read after every batch.

use std::collections::{HashMap, HashSet, VecDeque};

use super::LogPosition;
use crate::format::checkpoint::LogPlaceV1;

/// An extent with at most this many live bytes is nearly empty: one batch can hold the copies of
/// all of them.
pub const CRUMBS_BYTES: u64 = 128 << 10;

struct LogExtent {
    log_number: u64,
    live: u64,
    written: u32,
    readers: u32,
    /// The current checkpoint does not name the extent. It is returned to the drive when its last
    /// reader is gone.
    retired: bool,
}

/// The accounts of a log's extents.
#[derive(Default)]
pub struct LogSpace {
    /// The extents, oldest first. The log is written to the last one.
    order: VecDeque<u32>,
    extents: HashMap<u32, LogExtent>,
    live: u64,
    written: u64,
    /// Number of extents that the index does not point at and that no checkpoint has released yet.
    /// It includes the current extent.
    empty: usize,
    /// Number of extents that are nearly empty, but not empty. It includes the current extent.
    crumbs: usize,
}

/// An extent before the current one, as the cleaner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedExtent {
    pub extent: u32,
    pub log_number: u64,
    /// Bytes of records that the index points at.
    pub live: u64,
    /// Bytes that hold batches.
    pub written: u32,
    /// Number of extents still in the log that were begun after this one.
    pub age: u64,
}

impl LogSpace {
    /// Appends an extent to the log. Its batches end at byte `written`.
    pub fn add(&mut self, extent: u32, log_number: u64, written: u32) {
        let fresh = LogExtent { log_number, live: 0, written, readers: 0, retired: false };
        assert!(self.extents.insert(extent, fresh).is_none(), "extent {extent} is in the log already");
        self.written += u64::from(written);
        self.empty += 1;
        self.order.push_back(extent);
    }

    /// Returns whether the log owns this extent.
    pub fn contains(&self, extent: u32) -> bool {
        self.extents.contains_key(&extent)
    }

    /// Returns the log extent number of this extent, if the log owns it.
    pub fn number_of(&self, extent: u32) -> Option<u64> {
        self.extents.get(&extent).map(|entry| entry.log_number)
    }

    /// Returns whether the log owns this extent and the index points into it.
    pub fn has_live(&self, extent: u32) -> bool {
        self.extents.get(&extent).is_some_and(|extent| extent.live > 0)
    }

    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.extents.keys().copied()
    }

    /// Returns every extent with its live and its written bytes, in no order.
    pub fn each(&self) -> impl Iterator<Item = (u32, u64, u32)> + '_ {
        self.extents.iter().map(|(extent, entry)| (*extent, entry.live, entry.written))
    }

    /// Adds live bytes to an extent.
    pub fn gain(&mut self, extent: u32, bytes: u32) {
        let before = self.get(extent).live;
        self.get(extent).live = before + u64::from(bytes);
        self.count_crumbs(before, before + u64::from(bytes));
        self.live += u64::from(bytes);
        self.empty -= usize::from(before == 0 && bytes > 0);
    }

    /// Takes live bytes away from an extent.
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

    /// Sets the end of the batches in an extent.
    pub fn wrote(&mut self, extent: u32, end: u32) {
        let before = std::mem::replace(&mut self.get(extent).written, end);
        self.written = self.written - u64::from(before) + u64::from(end);
    }

    /// Keeps the extent for a reader. Returns its log extent number, which tells this use of the
    /// extent from a later one.
    pub fn pin(&mut self, extent: u32) -> u64 {
        let entry = self.get(extent);
        entry.readers += 1;
        entry.log_number
    }

    /// Releases a pin. Returns the extent when this was the last reader of a retired one.
    pub fn unpin(&mut self, extent: u32) -> Option<u32> {
        let entry = self.get(extent);
        entry.readers -= 1;
        let last = entry.retired && entry.readers == 0;
        last.then(|| self.remove(extent))
    }

    /// Returns what a checkpoint taken at `position` must name: the extents with live records and,
    /// as the last one, the extent where the replay starts.
    pub fn needed(&self, position: &LogPosition) -> Vec<LogPlaceV1> {
        let place = |&extent: &u32| {
            let entry = &self.extents[&extent];
            LogPlaceV1 { set: extent, log_number: entry.log_number, written: entry.written }
        };
        let needed =
            self.order.iter().filter(|extent| self.extents[extent].live > 0 && **extent != position.set.set);
        let mut places: Vec<_> = needed.map(place).collect();
        places.push(place(&position.set.set));
        places
    }

    /// Retires the extents that are older than the start of the replay and that the checkpoint now
    /// in force does not name. Returns those without readers.
    pub fn retire(&mut self, kept: &[LogPlaceV1]) -> Vec<u32> {
        let start = kept.last().map(|place| place.set);
        let kept: HashSet<u32> = kept.iter().map(|place| place.set).collect();
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

    /// Returns the extents before the current one, oldest first.
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

    /// Returns how many extents the next checkpoint releases, unless they have readers at that
    /// time.
    pub fn empty(&self) -> usize {
        let current = self.order.back().is_some_and(|extent| self.extents[extent].live == 0);
        self.empty - usize::from(current)
    }

    /// Returns the live bytes of the whole log, and the written bytes that are not live.
    pub fn live_and_dead(&self) -> (u64, u64) {
        (self.live, self.written.saturating_sub(self.live))
    }

    /// Returns how many extents before the current one are nearly empty.
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
