//! The extents of a shard's log, and how much of each is still needed.
//!
//! Invariant: `live` of an extent is the sum of the record lengths that the index points at in it. It never
//! grows again once the log has moved on, so an extent without live bytes stays without.

use std::collections::{HashMap, VecDeque};

use super::LogPosition;
use crate::format::checkpoint::LogPlaceV1;

struct LogExtent {
    lap: u64,
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
}

impl LogSpace {
    pub fn add(&mut self, extent: u32, lap: u64, written: u32) {
        let fresh = LogExtent { lap, live: 0, written, readers: 0, retired: false };
        assert!(self.extents.insert(extent, fresh).is_none(), "extent {extent} is in the log already");
        self.order.push_back(extent);
    }

    /// Recovery: whether the log owns this extent.
    pub fn contains(&self, extent: u32) -> bool {
        self.extents.contains_key(&extent)
    }

    /// Whether the log owns this extent and the index points into it.
    pub fn has_live(&self, extent: u32) -> bool {
        self.extents.get(&extent).is_some_and(|extent| extent.live > 0)
    }

    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.extents.keys().copied()
    }

    pub fn last_lap(&self) -> u64 {
        self.extents.values().map(|extent| extent.lap).max().unwrap_or(0)
    }

    pub fn gain(&mut self, extent: u32, bytes: u32) {
        self.get(extent).live += u64::from(bytes);
    }

    pub fn lose(&mut self, extent: u32, bytes: u32) {
        let live = &mut self.get(extent).live;
        *live = live
            .checked_sub(u64::from(bytes))
            .unwrap_or_else(|| panic!("extent {extent} lost more than it had"));
    }

    pub fn wrote(&mut self, extent: u32, end: u32) {
        self.get(extent).written = end;
    }

    pub fn pin(&mut self, extent: u32) {
        self.get(extent).readers += 1;
    }

    /// Returns the extent when it was the last reader of a retired one.
    pub fn unpin(&mut self, extent: u32) -> Option<u32> {
        let entry = self.get(extent);
        entry.readers -= 1;
        (entry.retired && entry.readers == 0).then(|| self.extents.remove(&extent)).flatten().map(|_| extent)
    }

    /// What a checkpoint taken at `position` must name: extents with live records, and where the replay starts.
    pub fn needed(&self, position: &LogPosition) -> Vec<LogPlaceV1> {
        let place = |&extent: &u32| {
            let entry = &self.extents[&extent];
            LogPlaceV1 { extent, lap: entry.lap, written: entry.written }
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
        let border = self.order.iter().position(|extent| Some(*extent) == start).unwrap_or(0);
        let (mut gone, mut order) = (Vec::new(), VecDeque::new());
        for (at, extent) in std::mem::take(&mut self.order).into_iter().enumerate() {
            if at >= border || kept.iter().any(|place| place.extent == extent) {
                order.push_back(extent);
                continue;
            }
            let entry = self.get(extent);
            assert_eq!(entry.live, 0, "extent {extent} has live records that the checkpoint does not name");
            entry.retired = true;
            if entry.readers == 0 {
                self.extents.remove(&extent);
                gone.push(extent);
            }
        }
        self.order = order;
        gone
    }

    /// Extents before the current one with their live and written bytes, oldest first.
    pub fn closed(&self) -> impl Iterator<Item = (u32, u64, u32)> + '_ {
        let current = self.order.back().copied();
        self.order.iter().filter(move |extent| Some(**extent) != current).map(|extent| {
            let entry = &self.extents[extent];
            (*extent, entry.live, entry.written)
        })
    }

    /// Live bytes of the whole log, and bytes written to it that are not live.
    pub fn live_and_dead(&self) -> (u64, u64) {
        let live: u64 = self.extents.values().map(|extent| extent.live).sum();
        let written: u64 = self.extents.values().map(|extent| u64::from(extent.written)).sum();
        (live, written.saturating_sub(live))
    }

    pub fn count(&self) -> usize {
        self.extents.len()
    }

    fn get(&mut self, extent: u32) -> &mut LogExtent {
        self.extents.get_mut(&extent).unwrap_or_else(|| panic!("extent {extent} is not in the log"))
    }
}
