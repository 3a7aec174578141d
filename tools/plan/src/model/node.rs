//! This module computes the load of one of `n` nodes, and its capacity: the use of each of its
//! resources.
//!
//! Invariant: every use is 1 when everything is used that the limits of the plan allow, and never
//! rises with the number of nodes.

use super::cleaner::{LogState, LogWrites, ShardExtents, log_writes, shard_extents};
use super::demand::MonthDemand;
use super::layout::{ObjectCost, alone_bytes, commit_bytes, layout};
use super::stripes::{Homes, StripedRoom};
use crate::constants::Constants;
use crate::hardware::Hardware;
use crate::result::{Constraint, Layout, NodeCapacity};
use crate::workload::Workload;
use ringbolt_engine::node::memory::{self, MemoryShares};
use ringbolt_engine::node::sizing::{self, DriveSizing, RingSizing};
use ringbolt_tool_common::units::{DAY_S, DAYS_PER_YEAR, MIB};

/// The heads of a request and of its response on the wire have these sizes, including the
/// signature. Source: requests of awscli and the responses to them.
pub const REQUEST_HEAD_BYTES: f64 = 800.0;
pub const ANSWER_HEAD_BYTES: f64 = 400.0;
/// An entry of a listing's XML takes this much besides its key.
pub const LISTED_BYTES: f64 = 250.0;
/// The cleaner writes its copies in units of this size.
pub const COPIES_BYTES: f64 = 256.0 * 1024.0;

/// Holds everything that does not change from month to month.
pub struct Fleet<'a> {
    pub workload: &'a Workload,
    pub hardware: &'a Hardware,
    pub constants: &'a Constants,
    pub object: ObjectCost,
    /// Describes the shards of one node on its drives.
    pub ring: RingSizing,
    /// Counts the drives of a node by their homes.
    pub homes: Vec<Homes>,
    /// Describes the drive with the most shards.
    pub drive: DriveSizing,
}

/// Holds one node's share of a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeLoad {
    pub uses: [f64; Constraint::ALL.len()],
    pub capacity: NodeCapacity,
    /// This is the live size on all drives of the node, all copies and parity together.
    pub live_bytes: f64,
    /// This is the part of it in slices.
    pub slice_bytes: f64,
    pub writes: Writes,
}

/// Holds the writes to one drive in bytes per second, as the mean of the day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Writes {
    /// This is the size of users' data, with all pieces, but one copy of each.
    pub user: f64,
    pub objects: f64,
    pub deletes: f64,
    pub cleaner: f64,
    pub checkpoints: f64,
    pub log_live_share: f64,
}

impl Writes {
    /// Returns everything that is written to the drive.
    pub fn host(&self) -> f64 {
        self.objects + self.deletes + self.cleaner + self.checkpoints
    }

    /// Returns `written` for each byte that users store; 0 when their objects have no bytes.
    pub fn amplification(&self, written: f64) -> f64 {
        if self.user > 0.0 { written / self.user } else { 0.0 }
    }
}

/// Describes the group commits of one node.
struct Commits {
    per_s: f64,
    records: f64,
}

/// Holds what all shards write to the log of a drive, in bytes per second.
struct LogBytes {
    puts: f64,
    deletes: f64,
}

impl<'a> Fleet<'a> {
    /// Returns the fleet whose nodes have `shards` shards each, and the layout of its objects.
    pub fn of(
        workload: &'a Workload,
        hardware: &'a Hardware,
        constants: &'a Constants,
        shards: u64,
    ) -> (Self, Layout) {
        let (object, layout) = layout(workload, hardware.redundancy, constants);
        let copies = u64::from(hardware.redundancy.copies);
        let ring = sizing::ring(shards, u64::from(hardware.drives.count), copies);
        let drive = sizing::drive(hardware.drives.size_bytes, ring.homes_max);
        let homes = Homes::of(&ring);
        (Self { workload, hardware, constants, object, ring, homes, drive }, layout)
    }
}

impl Fleet<'_> {
    fn drives(&self) -> f64 {
        f64::from(self.hardware.drives.count)
    }

    pub fn copies(&self) -> f64 {
        f64::from(self.hardware.redundancy.copies)
    }

    /// Returns the number of drives to which each copy of a node's data goes, on average. What is
    /// written once for each copy comes to a drive at the rate of the node over this number.
    fn drives_by_copy(&self) -> f64 {
        self.drives() / self.copies()
    }

    /// Returns the share of a node's shards that the drive with the most of them has.
    fn shards_share_max(&self) -> f64 {
        self.ring.homes_max as f64 / self.ring.shards as f64
    }

    /// Returns the number of drives to which each slice goes, a part of it or all, as a share of a node's
    /// drives.
    fn members_share(&self) -> f64 {
        f64::from(self.hardware.redundancy.members()) / self.drives()
    }

    /// Returns the live bytes of an object on drives, with all pieces, copies and parity.
    pub fn stored_bytes(&self) -> f64 {
        self.object.stored_bytes(self.hardware.redundancy)
    }

    /// Returns the part of them in slices.
    pub fn sliced_bytes(&self) -> f64 {
        self.object.slice_bytes * f64::from(self.hardware.redundancy.members())
    }

    /// Returns the capacity of each of `nodes` nodes that share `objects`. Objects are spread evenly
    /// over the shards, and a shard takes an extent from all of its homes or from none, so the drive
    /// with the most shards decides what the others can hold. The members of striped sets lie on the
    /// drives with the most room.
    pub fn capacity(&self, objects: f64, nodes: f64) -> NodeCapacity {
        let drives = self.drives();
        let index_bytes = objects / nodes * self.object.index_bytes;
        let (drive, extent) = (&self.drive, self.drive.extent_bytes as f64);
        let shards = drive.shards as f64;
        let index_of_shard = index_bytes / self.ring.shards as f64;
        let checkpoint_bytes = index_of_shard * self.constants.checkpoint_share_of_index.value;
        let ShardExtents { checkpoint, kept } = shard_extents(drive, index_of_shard, checkpoint_bytes);
        let held_back = (kept + drive.cleaner_extents as f64) * extent;
        let raw = self.hardware.drives.size_bytes as f64;
        let extents = drive.extents as f64 * extent;
        let checkpoint_bytes = checkpoint * extent;
        let room_of = |homes: f64| (extents - homes * (checkpoint_bytes + held_back)).max(0.0);
        let redundancy = self.hardware.redundancy;
        let all_homes = (self.ring.shards * self.ring.copies) as f64;
        // Each drive with its own shards, or as if all had as many as the one with the most.
        let (homes, room, usable_bytes) = if redundancy.is_striped() {
            let rooms = self.homes.iter().map(|of| (*of, room_of(of.homes))).collect();
            let room = StripedRoom { rooms, shards: self.ring.shards as f64, members: redundancy.members() };
            let objects = room.objects(self.object.logged_bytes(), self.object.slice_bytes);
            (all_homes, room.sum(), objects * self.stored_bytes())
        } else {
            let room = room_of(shards);
            (drives * shards, drives * room, room * (all_homes / self.ring.homes_max as f64))
        };
        NodeCapacity {
            raw_bytes: drives * raw,
            format_bytes: drives * (raw - extents),
            checkpoint_bytes: homes * checkpoint_bytes,
            held_back_bytes: homes * held_back,
            uneven_bytes: (room - usable_bytes).max(0.0),
            usable_bytes,
            usable_once_bytes: Some(usable_bytes * self.object.live_bytes(redundancy) / self.stored_bytes()),
            index_bytes,
            ram_bytes: self.hardware.node.ram_bytes as f64,
        }
    }

    /// Returns the load of each of `nodes` nodes in a month, at its end and in its busiest seconds.
    pub fn load(&self, month: &MonthDemand, nodes: f64) -> NodeLoad {
        let objects = month.objects_at_end.max(month.objects_at_start);
        let capacity = self.capacity(objects, nodes);
        let live_bytes = self.live_bytes(objects, nodes);
        let writes = self.writes(month, nodes, self.held(objects, nodes));
        let peak = self.workload.day.peak();
        let limits = &self.hardware.limits;
        let uses = Constraint::ALL.map(|constraint| match constraint {
            Constraint::Capacity => ratio(live_bytes, capacity.usable_bytes * limits.capacity),
            Constraint::DriveIops => self.iops(month, nodes, &writes, peak) / limits.drive_iops,
            Constraint::DriveBandwidth => {
                self.bandwidth(month, nodes, &writes) * peak / limits.drive_bandwidth
            }
            Constraint::Endurance => self.endurance(&writes),
            Constraint::Ram => {
                let cores = u64::from(self.hardware.node.cores);
                ratio(memory::memory_for_index(capacity.index_bytes, cores), capacity.ram_bytes * limits.ram)
            }
            Constraint::Cpu => self.cpu(month, nodes, &writes, peak) / limits.cpu,
            Constraint::Nic => self.nic(month, nodes) * peak / limits.nic,
        });
        NodeLoad { uses, capacity, live_bytes, slice_bytes: objects / nodes * self.sliced_bytes(), writes }
    }

    /// Returns the live bytes on one of `nodes` nodes that share `objects`.
    pub fn live_bytes(&self, objects: f64, nodes: f64) -> f64 {
        objects / nodes * self.stored_bytes()
    }

    /// Returns how many of `objects` fit on `nodes` nodes, which refuse the rest.
    fn held(&self, objects: f64, nodes: f64) -> f64 {
        let fits =
            |objects: f64| self.live_bytes(objects, nodes) <= self.capacity(objects, nodes).usable_bytes;
        if fits(objects) {
            return objects;
        }
        let (mut low, mut high) = (0.0, objects);
        while high - low > high * 1e-9 && high > 1.0 {
            let middle = (low + high) / 2.0;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }

    /// Returns the writes to each drive; all nodes together hold `objects`.
    fn writes(&self, month: &MonthDemand, nodes: f64, objects: f64) -> Writes {
        let (object, drives) = (&self.object, self.drives_by_copy() * nodes);
        if month.put_per_s + month.delete_per_s <= 0.0 {
            return Writes::default();
        }
        let puts = month.put_per_s / drives;
        let chunks = month.put_per_s / nodes * self.members_share();
        let written = self.log_bytes(month, nodes);
        let log = written.puts + written.deletes;
        let extent = self.drive.extent_bytes as f64;
        // The drive with the most shards stands for all in what the cleaner moves.
        let stored = objects / nodes * self.shards_share_max();
        let is_striped = self.hardware.redundancy.is_striped();
        let sliced = if is_striped { objects / nodes * self.members_share() } else { stored };
        let index_bytes = stored * object.index_bytes;
        let tail_gaps = self.constants.slice_tail_gaps_share.value * object.tail_bytes;
        let state = LogState {
            live_bytes: stored * object.record_bytes,
            slice_extents: sliced * (object.slice_bytes + tail_gaps) / extent,
            slice_bytes_by_log_byte: chunks * object.slice_bytes / log,
            index_bytes,
            checkpoint_bytes: index_bytes * self.constants.checkpoint_share_of_index.value,
            moved_bytes_factor: self.constants.moved_bytes_factor.value,
        };
        let LogWrites { live_share, moved_bytes, checkpoint_bytes } =
            log_writes(&self.drive, &state, month.dying_share);
        Writes {
            user: puts * object.piece_bytes / self.copies(),
            objects: written.puts + chunks * object.slice_written_bytes,
            deletes: written.deletes,
            cleaner: log * moved_bytes,
            checkpoints: log * checkpoint_bytes,
            log_live_share: live_share,
        }
    }

    /// Returns the bytes written to the log, with headers and padding of the group commits at the
    /// mean rates of the day.
    fn log_bytes(&self, month: &MonthDemand, nodes: f64) -> LogBytes {
        let object = &self.object;
        let key_bytes = self.workload.objects.key_bytes.round() as usize;
        let delete_bytes = sizing::delete_record_bytes(key_bytes) as f64;
        let [puts, deletes] = self.records(month);
        let put_bytes = object.log_bytes / object.log_records;
        let put_alone_bytes = object.log_alone_bytes / object.log_records;
        let all = puts + deletes;
        let record_bytes = (puts * put_bytes + deletes * delete_bytes) / all;
        let alone = (puts * put_alone_bytes + deletes * alone_bytes(delete_bytes)) / all;
        let commits = self.commits(month, nodes, 1.0, 0.0);
        let shared_bytes =
            commit_bytes(record_bytes, alone, commits.records) / commits.records - record_bytes;
        let by_drive = self.constants.log_bytes_factor.value / nodes / self.drives_by_copy();
        LogBytes {
            puts: puts * (put_bytes + shared_bytes) * by_drive,
            deletes: deletes * (delete_bytes + shared_bytes) * by_drive,
        }
    }

    /// Returns the records of puts and of deletes that all nodes write per second.
    fn records(&self, month: &MonthDemand) -> [f64; 2] {
        [month.put_per_s * self.object.log_records, month.delete_per_s * self.object.pieces]
    }

    /// Returns the share of the GETs of small objects that the read cache answers, if it holds the
    /// most requested objects.
    pub fn cache_hit_share(&self, month: &MonthDemand, nodes: f64) -> f64 {
        let cores = u64::from(self.hardware.node.cores);
        let memory_bytes = self.hardware.node.ram_bytes as f64 * self.hardware.limits.ram;
        let cache = MemoryShares::new(memory_bytes as u64, None, cores).read_cache_bytes as f64;
        let wanted = month.objects_at_end / nodes * self.object.cached_bytes;
        let held = if wanted > 0.0 { (cache / wanted).min(1.0) } else { 1.0 };
        let hot = self.workload.hot_set;
        if held <= hot.object_share {
            return hot.request_share * held / hot.object_share;
        }
        let rest = 1.0 - hot.object_share;
        let of_rest = if rest > 0.0 { (held - hot.object_share) / rest } else { 1.0 };
        hot.request_share + (1.0 - hot.request_share) * of_rest
    }

    /// Returns the used share of a drive's IOPS, with `times` the mean rates. Reads and writes take
    /// turns: each takes the time that it takes alone. One copy is read, and all are written.
    fn iops(&self, month: &MonthDemand, nodes: f64, writes: &Writes, times: f64) -> f64 {
        let speed = &self.hardware.drives.speed;
        let reads = self.drive_reads(month, nodes).reads / (self.drives() * nodes);
        let slices = month.put_per_s * self.object.slice_writes * self.members_share() / nodes;
        let moves = writes.cleaner / COPIES_BYTES;
        let commits = self.commits(month, nodes, times, 0.0).per_s / self.drives_by_copy();
        (reads * times) / speed.read_iops + ((slices + moves) * times + commits) / speed.write_iops
    }

    fn bandwidth(&self, month: &MonthDemand, nodes: f64, writes: &Writes) -> f64 {
        let drives = self.drives() * nodes;
        let speed = &self.hardware.drives.speed;
        // The cleaner reads one copy of what it moves.
        let read = self.drive_reads(month, nodes).bytes / drives + writes.cleaner / self.copies();
        read / speed.read_bytes_per_s + writes.host() / speed.write_bytes_per_s
    }

    /// Returns the share of the wanted life that the writes use up.
    fn endurance(&self, writes: &Writes) -> f64 {
        let drives = &self.hardware.drives;
        let Some(endurance_bytes) = drives.endurance_left_bytes() else { return 0.0 };
        let flash = writes.host() * drives.internal_write_amplification;
        flash * DAY_S * DAYS_PER_YEAR * drives.wanted_life_years / endurance_bytes
    }

    /// Returns the life of one drive in years, from the start of the plan; `None` if it is not
    /// known, or if nothing is written.
    pub fn life_years(&self, writes: &Writes) -> Option<f64> {
        let used = self.endurance(writes);
        (used > 0.0).then(|| self.hardware.drives.wanted_life_years / used)
    }

    /// Returns the CPU time of `times` the mean request mix, in microseconds per second on one
    /// node, without its group commits.
    fn request_cpu_us_per_s(&self, month: &MonthDemand, nodes: f64, writes: &Writes, times: f64) -> f64 {
        let (constants, object) = (self.constants, &self.object);
        let opened = object.get.opened(self.workload.requests.range_share);
        let hit = self.cache_hit_share(month, nodes) * opened.small;
        let (got, got_inline) = self.got_bytes();
        let get = constants.get_cached_cpu_us.value * hit
            + constants.get_cpu_us.value * (opened.small - hit)
            + constants.get_large_cpu_us.value * opened.large
            + constants.get_cpu_us_per_mib.value * got_inline / MIB
            + constants.get_large_cpu_us_per_mib.value * (got - got_inline) / MIB;
        let large_records = (object.log_records - object.inline_pieces).max(0.0);
        let put = constants.put_cpu_us.value * object.inline_pieces
            + constants.put_large_cpu_us.value * large_records
            + constants.put_cpu_us_per_mib.value * object.inline_bytes / MIB
            + constants.put_large_cpu_us_per_mib.value * (object.piece_bytes - object.inline_bytes) / MIB;
        let list = constants.list_cpu_us.value
            + constants.list_cpu_us_per_key.value * self.workload.requests.list_keys;
        let moved = writes.cleaner * self.drives_by_copy();
        let requests = month.put_per_s * put
            + month.get_per_s * get
            + month.head_per_s * constants.head_cpu_us.value
            + month.list_per_s * list
            + month.delete_per_s * constants.delete_cpu_us.value * object.pieces;
        (requests / nodes + moved / MIB * constants.clean_cpu_us_per_mib.value) * times
    }

    /// Returns the group commits with `times` the mean rates, if the cores are busy for the share
    /// `busy` of the time. Records that arrive during a commit go together into the next one, as
    /// far as that many puts are ever in flight and fit into one. A shard therefore makes at most
    /// as many commits as fit into the time; they take longer on a busy core.
    fn commits(&self, month: &MonthDemand, nodes: f64, times: f64, busy: f64) -> Commits {
        let shards = self.ring.shards as f64;
        let records_per_s = self.records(month).iter().sum::<f64>() * times / nodes;
        let [idle_us, busy_us] =
            [&self.constants.commit_us, &self.constants.commit_busy_us].map(|us| us.value);
        let interval_us = idle_us + (busy_us - idle_us).max(0.0) * busy;
        let gathered = records_per_s / shards * interval_us / 1e6;
        let fitting = sizing::BATCH_BYTES_MAX as f64 * self.object.log_records / self.object.log_bytes;
        let most = (self.workload.requests.puts_in_flight / shards).min(fitting).max(1.0);
        let records = gathered.clamp(1.0, most);
        Commits { per_s: records_per_s / records, records }
    }

    /// Returns the share of one node's cores that `times` the mean request mix uses; it is above 1
    /// if the cores do not suffice.
    pub fn cpu(&self, month: &MonthDemand, nodes: f64, writes: &Writes, times: f64) -> f64 {
        let by_requests = self.request_cpu_us_per_s(month, nodes, writes, times);
        let at = |busy: f64| {
            let commits = self.commits(month, nodes, times, busy).per_s;
            (by_requests + commits * self.constants.commit_cpu_us.value)
                / 1e6
                / f64::from(self.hardware.node.cores)
        };
        // The busier the cores, the fewer commits: one share between idle and busy solves the
        // equation.
        let (mut low, mut high) = (0.0, 1.0);
        if at(high) >= high {
            return at(high);
        }
        while high - low > 1e-12 {
            let middle = (low + high) / 2.0;
            if at(middle) > middle { low = middle } else { high = middle }
        }
        at(high)
    }

    /// Returns the use of the busier of the NIC's two directions.
    fn nic(&self, month: &MonthDemand, nodes: f64) -> f64 {
        let requests = &self.workload.requests;
        let all =
            month.put_per_s + month.get_per_s + month.head_per_s + month.list_per_s + month.delete_per_s;
        let bodies = month.put_per_s * self.object.logical_bytes;
        // All pieces except the node's own go to other nodes and come from them.
        let stored = month.put_per_s * self.object.piece_bytes - bodies;
        // The pieces of an object that is requested come from them too.
        let got = self.got_bytes().0;
        let data = f64::from(self.hardware.redundancy.data);
        let pieces = stored + month.get_per_s * got * (1.0 - 1.0 / data);
        let listed = requests.list_keys * (self.workload.objects.key_bytes + LISTED_BYTES);
        let inward = all * REQUEST_HEAD_BYTES + bodies + pieces;
        let outward = all * ANSWER_HEAD_BYTES + month.get_per_s * got + month.list_per_s * listed + pieces;
        inward.max(outward) / nodes / self.hardware.node.nic_bytes_per_s
    }
}

fn ratio(used: f64, of: f64) -> f64 {
    match () {
        () if used <= 0.0 => 0.0,
        () if of <= 0.0 => f64::INFINITY,
        () => used / of,
    }
}
