//! The medium of a simulated drive: what reads see, what of it a power cut would take away, and the
//! operations in flight.
//!
//! Invariants:
//! - `cached` lists, in the order in which the drive took them, the sectors that are not durable,
//!   each with what was there before. Undone from the newest to the oldest, they leave what is
//!   durable.
//! - An operation stays in `running` with its buffer until it ends, whether anybody waits for it or
//!   not.
//! - A write becomes visible sector by sector from its start to its end, in an order of its own.
//!   That is computed only when somebody looks at the place: until then nobody can tell what the
//!   drive has done there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::fate::{Fate, Faults, SECTOR};
use super::faults::{FaultKind, Injector};
use crate::device::Durability;
use crate::executor::{Random, Simulator};
use crate::ring::Buffer;
use crate::ring::uring::Completion;

/// Longest time of an operation, and of one that is delayed, microseconds.
const OPERATION_US_MAX: u64 = 200;
const DELAYED_US_MAX: u64 = 200_000;
/// Time for which a stalled drive answers nothing, microseconds.
const STALL_US: Range<u64> = 1_000_000..8_000_000;
/// A prime that is larger than the number of sectors of any write, so that steps of it through a
/// write's sectors meet each once.
const STRIDE: usize = 1_000_003;

/// The bytes of a drive, its cache and its operations.
pub(super) struct Medium {
    /// The bytes that reads see.
    pub visible: Vec<u8>,
    cached: Vec<Cached>,
    running: BTreeMap<u64, Operation>,
    next_operation: u64,
    pub faults: Faults,
    pub injector: Injector,
    /// The source of the orders of sectors and of where reads are cut. It is separate from all
    /// other choices.
    orders: Random,
    /// The simulator whose virtual time operations take; `None` for a drive without a clock.
    pub world: Option<Simulator>,
    stalled_until_us: u64,
    /// What every operation takes, microseconds, or `None` when chance decides.
    takes_us: Option<u64>,
    /// How many times as long as that it takes.
    slowness: u64,
    /// The operations of a process that is dead run until their time is over.
    pub dead_go_on: bool,
    pub writes: u64,
    pub flushes: u64,
    pub reads: u64,
}

/// Sectors of one write that the drive took together.
struct Cached {
    write: u64,
    /// Offset of the write, bytes.
    offset: usize,
    sectors: Sectors,
    bytes: Vec<u8>,
    /// The bytes that were there before.
    before: Vec<u8>,
    completed: bool,
    /// Set after a flush of it failed: it never becomes durable.
    doomed: bool,
}

/// The numbers of sectors within a write.
enum Sectors {
    First(usize),
    These(Vec<u32>),
}

/// The work of an operation.
pub(super) enum Work {
    Read {
        from: usize,
        bytes: usize,
        /// Bytes that are read when the operation starts; the others are read when it ends.
        early: usize,
    },
    Write {
        to: usize,
        bytes: usize,
        durability: Durability,
        /// Number of sectors that are done in all, in the write's order. The others never are.
        limit: usize,
        /// Places on the drive that take no writes.
        refused: Vec<Range<usize>>,
    },
    Flush {
        covered: BTreeSet<u64>,
        fails: bool,
    },
}

/// The time in which an operation runs, microseconds.
#[derive(Clone, Copy)]
pub(super) struct Span {
    from_us: u64,
    end_us: u64,
}

struct Operation {
    work: Work,
    /// The operation's buffer; `None` for a flush. The transferred bytes start at `skip` in it.
    buffer: Option<Buffer>,
    skip: usize,
    result: i32,
    order: Order,
    /// Number of sectors of a write that are done, and the number when `span` began.
    done: usize,
    done_before: usize,
    /// The time in which the operation runs. With `None` the drive has no clock, and an operation
    /// ends when it is polled a second time.
    span: Option<Span>,
    /// The world's life in which the operation was started. If it is another one now, the process
    /// that asked is dead.
    life: u64,
    abandoned: bool,
}

/// The time that somebody has to wait for an operation.
pub(super) enum Wait {
    Over,
    Us(u64),
    Turn,
    /// The operation never ends, because the power was cut.
    ForEver,
}

/// The order in which the sectors of a write are done.
#[derive(Clone, Copy)]
struct Order {
    sectors: usize,
    first: usize,
    step: usize,
}

impl Order {
    fn drawn(random: &Random, sectors: usize) -> Self {
        match random.below(4) {
            _ if sectors < 2 => Self { sectors, first: 0, step: 0 },
            0 => Self { sectors, first: 0, step: 1 },
            1 => Self { sectors, first: sectors - 1, step: sectors - 1 },
            _ => Self { sectors, first: random.below(sectors as u64) as usize, step: STRIDE % sectors },
        }
    }

    fn at(self, index: usize) -> usize {
        (self.first + index * self.step) % self.sectors
    }
}

impl Sectors {
    fn numbers(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::First(count) => Box::new(0..*count),
            Self::These(numbers) => Box::new(numbers.iter().map(|number| *number as usize)),
        }
    }
}

impl Cached {
    /// Returns each sector's place on the drive, with its place in `bytes` and `before`.
    fn places(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let within = |at: usize| at * SECTOR..(at + 1) * SECTOR;
        let offset = self.offset;
        self.sectors.numbers().enumerate().map(move |(at, number)| (offset + number * SECTOR, within(at)))
    }

    fn end(&self) -> usize {
        let last = match &self.sectors {
            Sectors::First(count) => *count,
            Sectors::These(numbers) => numbers.iter().max().map_or(0, |number| *number as usize + 1),
        };
        self.offset + last * SECTOR
    }

    /// Takes over the bytes of `durable`, a later write, in the sectors that both have.
    fn give_way(&mut self, durable: &Self) {
        if durable.end() <= self.offset || self.end() <= durable.offset {
            return;
        }
        let theirs: HashMap<usize, Range<usize>> = durable.places().collect();
        let both: Vec<_> = self
            .places()
            .filter_map(|(place, own)| theirs.get(&place).map(|their| (own, their.clone())))
            .collect();
        for (own, their) in both {
            self.before[own.clone()].copy_from_slice(&durable.bytes[their.clone()]);
            self.bytes[own].copy_from_slice(&durable.bytes[their]);
        }
    }
}

impl Fate {
    fn keeps(self, sector: usize) -> bool {
        match self {
            Self::Kept => true,
            Self::Lost => false,
            Self::Torn { sectors } => sector < sectors,
            Self::Scattered { mask } => mask >> (sector % 64) & 1 == 1,
        }
    }
}

impl Medium {
    pub fn new(size_bytes: u64) -> Self {
        Self {
            visible: vec![0; size_bytes as usize],
            cached: Vec::new(),
            running: BTreeMap::new(),
            next_operation: 0,
            faults: Faults::default(),
            injector: Injector::new(size_bytes),
            orders: Random::new(!size_bytes),
            world: None,
            stalled_until_us: 0,
            takes_us: None,
            slowness: 1,
            dead_go_on: false,
            writes: 0,
            flushes: 0,
            reads: 0,
        }
    }

    /// Sets the seed of faults and of orders.
    pub fn seed(&mut self, seed: u64) {
        self.injector = Injector::new(seed);
        self.orders = Random::new(!seed);
    }

    fn now_us(&self) -> u64 {
        self.world.as_ref().map_or(0, Simulator::now_us)
    }

    fn life(&self) -> u64 {
        self.world.as_ref().map_or(0, Simulator::life)
    }

    /// Returns the time in which an operation that starts now runs. Applies faults of time, and
    /// rot, that happen now.
    pub fn span(&mut self) -> Option<Span> {
        self.rot();
        let slow = self.injector.strikes(FaultKind::Delay);
        let world = self.world.clone()?;
        let now_us = world.now_us();
        let most = if slow { DELAYED_US_MAX } else { OPERATION_US_MAX };
        let takes_us = self.takes_us.unwrap_or_else(|| 1 + world.random().below(most)) * self.slowness;
        if self.injector.strikes(FaultKind::Stall) {
            let long = STALL_US.start + self.injector.random.below(STALL_US.end - STALL_US.start);
            self.stall(now_us, long);
        }
        let from_us = now_us.max(self.stalled_until_us);
        Some(Span { from_us, end_us: from_us + takes_us })
    }

    /// Sets what operations take from now on, microseconds; `None` leaves it to chance.
    pub fn take_us(&mut self, takes_us: Option<u64>) {
        self.takes_us = takes_us;
    }

    /// Makes operations take so many times as long from now on.
    pub fn slow_down(&mut self, times: u64) {
        self.slowness = times;
    }

    /// Stops all progress for this many microseconds.
    pub fn stall(&mut self, now_us: u64, microseconds: u64) {
        self.settle_time(0..usize::MAX);
        self.stalled_until_us = now_us.max(self.stalled_until_us) + microseconds;
        for operation in self.running.values_mut() {
            if let Some(span) = operation.span.as_mut().filter(|span| span.end_us > now_us) {
                let began_us = span.from_us.max(now_us);
                operation.done_before = operation.done;
                *span = Span { from_us: began_us + microseconds, end_us: span.end_us + microseconds };
            }
        }
    }

    /// Ends a stall for what starts from now on.
    pub fn go_on(&mut self) {
        self.stalled_until_us = 0;
    }

    /// Starts an operation, after all abandoned operations that are over have ended.
    pub fn start(
        &mut self,
        work: Work,
        buffer: Option<Buffer>,
        skip: usize,
        result: i32,
        span: Option<Span>,
    ) -> u64 {
        self.end_abandoned();
        let sectors = match work {
            Work::Write { bytes, .. } => bytes / SECTOR,
            _ => 0,
        };
        let mut operation = Operation {
            order: Order::drawn(&self.orders, sectors),
            work,
            buffer,
            skip,
            result,
            done: 0,
            done_before: 0,
            span,
            life: self.life(),
            abandoned: false,
        };
        match &mut operation.work {
            Work::Read { from, bytes, early } => {
                self.reads += 1;
                *early = self.orders.below(*bytes as u64 + 1) as usize;
                let (from, until) = (*from, *early);
                self.settle_time(from..from + until);
                copy(&self.visible, from, &mut operation, 0..until);
            }
            Work::Write { limit, .. } => {
                self.writes += 1;
                // Without a clock, some sectors are done at once and the rest at the end.
                operation.done_before = self.orders.below(*limit as u64 + 1) as usize;
                if operation.span.is_some() {
                    operation.done_before = 0;
                }
            }
            Work::Flush { .. } => {}
        }
        self.next_operation += 1;
        self.running.insert(self.next_operation, operation);
        self.next_operation
    }

    /// Returns how long to wait for an operation.
    pub fn wait(&self, id: u64) -> Wait {
        let Some(operation) = self.running.get(&id) else { return Wait::ForEver };
        match operation.span {
            None => Wait::Turn,
            Some(span) if span.end_us <= self.now_us() => Wait::Over,
            Some(span) => Wait::Us(span.end_us - self.now_us()),
        }
    }

    /// Marks an operation as one that nobody waits for. Returns whether it goes on, which it does
    /// not without a clock or in a process that is dead.
    pub fn abandon(&mut self, id: u64) -> bool {
        let life = self.life();
        let Some(operation) = self.running.get_mut(&id) else { return false };
        operation.abandoned = true;
        if operation.span.is_none() {
            self.end(id);
            return false;
        }
        operation.life == life
    }

    /// Ends abandoned operations whose time is over, and all operations of a process that is dead.
    /// The kernel closes a drive only after these have ended.
    pub fn end_abandoned(&mut self) {
        let (now_us, life) = (self.now_us(), self.life());
        let is_over = |operation: &Operation| {
            let over = operation.span.is_none_or(|span| span.end_us <= now_us);
            let is_dead = operation.life != life;
            is_dead && !self.dead_go_on || (is_dead || operation.abandoned) && over
        };
        if !self.running.values().any(is_over) {
            return;
        }
        let over: Vec<u64> = self.running.iter().filter(|(_, it)| is_over(it)).map(|(id, _)| *id).collect();
        for id in over {
            if self
                .running
                .get(&id)
                .is_some_and(|it| it.life != life && matches!(it.work, Work::Flush { .. }))
            {
                self.running.remove(&id);
                continue;
            }
            self.end(id);
        }
    }

    /// Returns whether no operation runs, not even one that nobody waits for.
    pub fn is_idle(&mut self) -> bool {
        self.end_abandoned();
        self.running.is_empty()
    }

    /// Ends an operation and returns its result and buffer. Returns `None` when the power was cut
    /// before.
    pub fn end(&mut self, id: u64) -> Option<Completion> {
        if let Work::Write { limit, .. } = self.running.get(&id)?.work {
            self.take_sectors(id, limit);
        }
        let mut operation = self.running.remove(&id)?;
        match std::mem::replace(&mut operation.work, Work::Flush { covered: BTreeSet::new(), fails: false }) {
            Work::Read { from, bytes, early } if !self.faults.fail_reads => {
                self.settle_time(from + early..from + bytes);
                copy(&self.visible, from, &mut operation, early..bytes);
            }
            Work::Read { .. } => operation.result = -libc::EIO,
            Work::Write { durability, .. } => {
                self.cached.iter_mut().filter(|cached| cached.write == id).for_each(|it| it.completed = true);
                if durability == Durability::Immediate {
                    self.make_durable(&BTreeSet::from([id]));
                }
            }
            Work::Flush { covered, fails } => operation.result = self.end_flush(&covered, fails),
        }
        Some(Completion { result: operation.result, buffer: operation.buffer })
    }

    /// Returns the writes that a flush that starts now makes durable.
    pub fn completed(&mut self) -> BTreeSet<u64> {
        self.end_abandoned();
        let completed = self.cached.iter().filter(|cached| cached.completed && !cached.doomed);
        completed.map(|cached| cached.write).collect()
    }

    fn end_flush(&mut self, covered: &BTreeSet<u64>, fails: bool) -> i32 {
        self.flushes += 1;
        if fails || self.faults.fail_flushes {
            let lost = self.cached.iter_mut().filter(|cached| covered.contains(&cached.write));
            lost.for_each(|cached| cached.doomed = true);
            return -libc::EIO;
        }
        if !self.faults.lie_about_flushes {
            self.make_durable(covered);
        }
        0
    }

    /// Makes these writes durable. Older writes that are not durable no longer show where they
    /// overlap.
    fn make_durable(&mut self, writes: &BTreeSet<u64>) {
        let mut left: Vec<Cached> = Vec::new();
        for cached in std::mem::take(&mut self.cached) {
            if writes.contains(&cached.write) {
                left.iter_mut().for_each(|older| older.give_way(&cached));
            } else {
                left.push(cached);
            }
        }
        self.cached = left;
    }

    /// Makes visible, in `places`, what the writes in flight have done there by now.
    pub fn settle_time(&mut self, places: Range<usize>) {
        self.end_abandoned();
        let now_us = self.now_us();
        let there = |operation: &Operation| match operation.work {
            Work::Write { to, bytes, limit, .. } if to < places.end && places.start < to + bytes => {
                Some(operation.sectors_by(now_us, limit))
            }
            _ => None,
        };
        let due: Vec<(u64, usize)> =
            self.running.iter().filter_map(|(id, operation)| Some((*id, there(operation)?))).collect();
        due.into_iter().for_each(|(id, sectors)| self.take_sectors(id, sectors));
    }

    /// Takes sectors of a write into the cache until `until` of them are done.
    fn take_sectors(&mut self, id: u64, until: usize) {
        let Some(operation) = self.running.get_mut(&id) else { return };
        let Work::Write { to, bytes, refused, .. } = &operation.work else { return };
        let (to, total) = (*to, bytes / SECTOR);
        let from = operation.done;
        if from >= until {
            return;
        }
        operation.done = until;
        let sectors = if (from, until) == (0, total) && refused.is_empty() {
            Sectors::First(total)
        } else {
            let order = operation.order;
            let is_refused = |sector: &u32| {
                let place = to + *sector as usize * SECTOR;
                refused.iter().any(|range| range.contains(&place))
            };
            let numbers = (from..until).map(|index| order.at(index) as u32);
            Sectors::These(numbers.filter(|sector| !is_refused(sector)).collect())
        };
        let Some(buffer) = &operation.buffer else { return };
        let source = &buffer[operation.skip..operation.skip + total * SECTOR];
        let mut taken = Cached {
            write: id,
            offset: to,
            sectors,
            bytes: Vec::new(),
            before: Vec::new(),
            completed: false,
            doomed: false,
        };
        if let Sectors::First(_) = taken.sectors {
            let place = &mut self.visible[to..to + source.len()];
            (taken.bytes, taken.before) = (source.to_vec(), place.to_vec());
            place.copy_from_slice(source);
        } else {
            let numbers: Vec<usize> = taken.sectors.numbers().collect();
            for number in numbers {
                let within = number * SECTOR..(number + 1) * SECTOR;
                let place = &mut self.visible[to + within.start..to + within.end];
                taken.bytes.extend_from_slice(&source[within.clone()]);
                taken.before.extend_from_slice(place);
                place.copy_from_slice(&source[within]);
            }
        }
        self.cached.push(taken);
    }

    /// Cuts the power. Operations in flight stop where they are, and `fate` is asked for each write
    /// that was not durable.
    pub fn lose_power(&mut self, fate: &mut dyn FnMut(usize) -> Fate) {
        self.settle_time(0..usize::MAX);
        self.running.clear();
        self.stalled_until_us = 0;
        self.faults = Faults::default();
        let cached = std::mem::take(&mut self.cached);
        for taken in cached.iter().rev() {
            for (place, within) in taken.places() {
                self.visible[place..place + SECTOR].copy_from_slice(&taken.before[within]);
            }
        }
        let writes: BTreeSet<u64> = cached.iter().map(|taken| taken.write).collect();
        let fates: BTreeMap<u64, Fate> =
            writes.into_iter().enumerate().map(|(at, id)| (id, fate(at))).collect();
        for taken in &cached {
            let fate = fates[&taken.write];
            for (place, within) in
                taken.places().filter(|(place, _)| fate.keeps((place - taken.offset) / SECTOR))
            {
                self.visible[place..place + SECTOR].copy_from_slice(&taken.bytes[within]);
            }
        }
    }

    /// Returns the number of writes that are not durable.
    pub fn cached_writes(&self) -> usize {
        self.cached.iter().map(|cached| cached.write).collect::<BTreeSet<u64>>().len()
    }

    /// Lets durable data rot, but not data that is still in flight.
    fn rot(&mut self) {
        let Some((at, bit)) = self.injector.place_to_rot() else { return };
        let cached = self.cached.iter().any(|cached| cached.offset <= at && at < cached.end());
        let running = self.running.values().any(|operation| match operation.work {
            Work::Write { to, bytes, .. } => to <= at && at < to + bytes,
            _ => false,
        });
        if !cached && !running && self.injector.strikes(FaultKind::Rot) {
            self.visible[at] ^= bit;
        }
    }
}

impl Operation {
    /// Returns the number of sectors of a write that are done by `now_us`.
    fn sectors_by(&self, now_us: u64, limit: usize) -> usize {
        let Some(span) = self.span else { return self.done_before };
        match () {
            () if now_us >= span.end_us => limit,
            () if now_us <= span.from_us => self.done_before,
            () => {
                let part = (limit - self.done_before) as u64 * (now_us - span.from_us);
                self.done_before + (part / (span.end_us - span.from_us)) as usize
            }
        }
    }
}

/// Copies the bytes `part` of a read that starts at `from` into its buffer.
fn copy(visible: &[u8], from: usize, operation: &mut Operation, part: Range<usize>) {
    let skip = operation.skip;
    if let Some(buffer) = &mut operation.buffer {
        buffer[skip + part.start..skip + part.end]
            .copy_from_slice(&visible[from + part.start..from + part.end]);
    }
}
