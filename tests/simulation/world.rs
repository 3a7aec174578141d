//! This module holds the drives, and the lives of the node on them.
//!
//! Invariants:
//! - A life begins with an open and a comparison of everything; it ends with a power cut, a kill or
//!   a clean stop.
//! - A life with faults that a drive does not report ends as [`damage`](super::damage) says.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{Core, OpenError, ScrubOptions};
use ringbolt_engine::shard::CheckpointCut;
use ringbolt_engine::sim::device::{Fate, FaultKind, FaultPlan, SimDevice};
use ringbolt_engine::sim::{Odds, Random, SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{
    Bucket, BucketCreated, BucketId, BucketLock, ConfigKind, Deletion, MetadataChange, UploadItem,
    UploadQuery, Version, VersionItem, Versioning, VersionsQuery, WriteCondition,
};

use super::buckets::{BucketModel, SHARED_BUCKET};
use super::client::{Client, Sizes};
use super::context::{Context, Life, Shared};
use super::faults::LifeFaults;
use super::locks::{BucketDefault, DAY_MS, DefaultKeep};
use super::mirrors::Mirrors;
use super::plan::{Aim, Faults, LockPlan, Plan};
use super::version_verify::VERSIONED;
use super::versions::{BucketLocked, VersionedBucket};

const MIB: u64 = 1 << 20;
/// The accounting is checked after this many polls.
const AUDIT_POLLS: u64 = 400;
/// Background work gets this much virtual time to become idle.
const REST_US_MAX: u64 = 60_000_000;
/// When power cuts closely follow moves, moves are checked after this many polls.
const AIMED_POLLS: u64 = 5;
/// The rate is high enough for a pass while a life is at rest.
const SCRUB: ScrubOptions = ScrubOptions { bytes_per_second: 64 << 20, every_ms: 24 * 60 * 60 * 1000 };
/// A scrub releases what it reads within this many polls.
const SCRUB_POLLS: u64 = 20_000;
/// Others hold all buffers for at most this long; bodies wait ten seconds for one.
const BUFFERS_HELD_US_MAX: u64 = 12_000_000;
/// They are held for at most this long once clients are told to stop.
pub(super) const BUFFERS_LOOK_US_MAX: u64 = 200_000;

pub struct World {
    pub(super) plan: Plan,
    pub(super) faults: Faults,
    pub(super) drives: Vec<SimDevice>,
    pub(super) mirrors: Mirrors,
    pub(super) options: SimOptions,
    sizes: Sizes,
    /// Says that the cap on the index is so small that clients reach it.
    index_is_tight: bool,
    /// Says that others sometimes hold most buffers.
    buffers_are_scarce: bool,
    pub shared: Rc<Shared>,
    /// Says that the last life ended with a power cut.
    crashed: bool,
    /// This is the age that uploads could have in the last life.
    upload_age_ms: Option<u64>,
    /// This is what the slices must take after the next open, if that is known.
    pub(super) used_units: Option<u64>,
    /// Says that objects may be damaged, since an earlier life.
    pub(super) damaged: bool,
    /// Says that there are no more lives: what is on the drives cannot be repaired, or the model
    /// cannot describe it.
    pub(super) over: bool,
}

impl World {
    pub fn new(plan: &Plan, with_trace: bool) -> Self {
        let sim = Simulator::new(plan.seed);
        let shared = Shared::new(sim.clone(), plan, with_trace);
        let random = sim.random();
        let aimed = plan.aim == Aim::Compaction;
        let shards: u16 = if aimed { 1 } else { [1, 1, 2, 2, 3, 4][random.below(6) as usize] };
        // Each drive of striped sets is the home of a shard.
        let shards = if plan.aim == Aim::Stripes { Mirrors::striped_drives(plan) } else { shards };
        let drives = if random.one_in(5) { 2 } else { 1 };
        let shards_of_drive = u64::from(shards.div_ceil(drives));
        // A shard needs an extent for the log, and what it holds back; the rest is for data, and
        // there may be hardly any.
        let extra = if random.one_in(4) { random.below(10) } else { 16 + random.below(90) };
        let size_bytes = (30 * shards_of_drive + 6 + extra) * MIB;
        let index_is_tight = random.one_in(6);
        let options = SimOptions {
            cores: 1,
            arena_bytes_per_core: 8 << 20,
            checkpoint_after_bytes: (1 << 16) << random.below(7),
            dead_log_bytes_max: (1 << 18) << random.below(6),
            checkpoint_cut: match random.below(3) {
                0 => CheckpointCut::default(),
                _ => CheckpointCut {
                    payload_bytes: 1 << 10 << random.below(6),
                    names: 1 + random.below(5) as usize,
                },
            },
            bug: plan.bug,
            ..SimOptions::default()
        };
        let options = if index_is_tight { with_tight_index(options, shards, random) } else { options };
        let faults = match (plan.faults, random.below(4)) {
            (Faults::All, 0) => Faults::None,
            (Faults::All, 1) => Faults::Media,
            (Faults::All, _) => Faults::Errors,
            (given, _) => given,
        };
        let sizes =
            [Sizes::Small, Sizes::Small, Sizes::Inline, Sizes::Mixed, Sizes::Large][random.below(5) as usize];
        // As on larger drives, an extent has several slots and may then be full of gaps.
        let slots = if aimed { 2 + random.below(2) } else { [1, 1, 2, 3][random.below(4) as usize] };
        let (mirrors, drives) = match plan.aim {
            Aim::Mirrors => Mirrors::format(&sim, plan, shards, (extra, slots)),
            Aim::Stripes => Mirrors::format_striped(&sim, plan, shards, (extra, slots)),
            _ => {
                let sizes = (size_bytes * slots, slots);
                (Mirrors::default(), format_sim_drives(&sim, drives, sizes, shards))
            }
        };
        Self {
            plan: plan.clone(),
            faults,
            drives,
            mirrors,
            options,
            sizes: if aimed { Sizes::Large } else { sizes },
            index_is_tight,
            buffers_are_scarce: sim.random().one_in(6),
            shared,
            crashed: false,
            upload_age_ms: None,
            used_units: None,
            damaged: false,
            over: false,
        }
    }

    pub(super) fn sim(&self) -> &Simulator {
        &self.shared.sim
    }

    /// Runs all lives of the plan.
    ///
    /// # Panics
    /// Panics when the node violates a promise.
    pub fn run_rounds(&mut self) {
        for round in 0..self.plan.rounds {
            self.shared.round.set(round);
            self.shared.note(|| format!("round {round}"));
            self.life();
            if self.over {
                return;
            }
        }
    }

    /// Checks everything a last time, and returns the sums.
    pub fn finish(&mut self) {
        if !self.over {
            let node = self.open(&Life::default());
            let emptied = !self.damaged && self.sim().random().one_in(3);
            if emptied {
                self.empty(&node);
            }
            match self.plan.aim {
                aim if aim.is_redundant() && !emptied => self.judge_copies(node),
                _ => self.kill(node),
            }
        }
        let mut report = self.shared.report.borrow_mut();
        report.seeds = 1;
        report.polls = self.sim().digest().0;
        for drive in &self.drives {
            report.faults.iter_mut().zip(drive.fault_counts()).for_each(|(sum, count)| *sum += count);
        }
    }

    fn life(&mut self) {
        self.draw_cores();
        let life = self.draw_life();
        self.take_drives_away();
        let random = self.sim().random();
        if random.one_in(8) {
            self.crash_in_recovery();
            self.give_drives_back();
        } else if random.one_in(12) {
            self.check_drives();
        }
        self.step_clock_while_off();
        let node = self.open(&life);
        self.upload_age_ms = life.upload_age_ms;
        let before = self.faults_so_far();
        self.work(&node, &life);
        if self.faults == Faults::Media && life.faults.damage && !self.plan_is_empty(&life) {
            return self.end_with_damage(node, &life, before);
        }
        self.end(node, &life, before[FaultKind::FlushError as usize]);
    }

    /// Sometimes steps the wall clock while no node is open, in worlds with locks.
    fn step_clock_while_off(&self) {
        let random = self.sim().random();
        if self.plan.bucket_lock().is_some() && random.one_in(4) {
            let far = if random.one_in(2) { DAY_MS } else { 100 * DAY_MS };
            let by_ms = random.below(far) as i64;
            self.shared.step_clock(if random.one_in(4) { -by_ms } else { by_ms });
        }
    }

    /// Draws how many cores there are, how fast they are, and how their messages are delayed.
    fn draw_cores(&mut self) {
        let random = self.shared.sim.random();
        self.options.cores = 1 + random.below(3) as usize;
        if random.one_in(2) {
            self.options.mailbox_capacity = 1 + random.below(8) as usize;
        }
        let odds =
            |happens, one_in, most_us| if happens { Odds { one_in, most_us } } else { Odds::default() };
        self.options.late_messages = odds(random.one_in(4), 20, 50_000);
        self.options.core_stalls = odds(random.one_in(6), 1500, 5_000_000);
    }

    fn draw_life(&self) -> Life {
        let random = self.sim().random();
        let mut faults = match self.faults {
            Faults::Media if random.one_in(4) => LifeFaults::mixed_media(random),
            Faults::Media if random.one_in(2) => LifeFaults::media(random),
            Faults::Errors if random.below(3) > 0 => LifeFaults::errors(random),
            _ => LifeFaults::unnoticed(random),
        };
        faults.damage |= self.damaged;
        if self.plan.aim.is_redundant() {
            // Another copy takes the place of what a drive has not any more, and the node goes on without
            // a drive that fails.
            let opens_fail = faults.reads_fail || faults.writes_stop;
            let (reads_fail, writes_stop, damage) = (false, false, false);
            faults = LifeFaults { opens_fail, reads_fail, writes_stop, damage, ..faults };
        }
        let upload_age_ms = random.one_in(4).then(|| 20 << random.below(8));
        Life { faults, index_is_tight: self.index_is_tight, upload_age_ms }
    }

    pub(super) fn faults_so_far(&self) -> [u64; FaultKind::COUNT] {
        let mut sum = [0; FaultKind::COUNT];
        for drive in &self.drives {
            sum.iter_mut().zip(drive.fault_counts()).for_each(|(sum, count)| *sum += count);
        }
        sum
    }

    fn follow(&self, plan: FaultPlan) {
        let may_fail = self.drives.iter().enumerate().filter(|(at, _)| self.mirrors.may_fail(*at));
        may_fail.for_each(|(_, drive)| drive.follow(plan));
    }

    pub(super) fn heal(&self) {
        self.drives.iter().for_each(|drive| drive.follow(FaultPlan::default()));
        self.drives.iter().for_each(SimDevice::heal);
        self.sim().set_core_stalls(Odds::default());
    }

    pub(super) fn try_open(&mut self) -> Result<Rc<SimNode>, OpenError> {
        if self.plan.aim.is_redundant() {
            return self.open_given();
        }
        self.shared.locks.restart();
        let opening = SimNode::open(self.sim().clone(), self.drives.clone(), self.options);
        self.sim().block_on(opening).map(Rc::new)
    }

    /// Cuts the power while the shards recover.
    fn crash_in_recovery(&mut self) {
        self.rest_those_away();
        let drives = self.given_drives().into_iter().map(|(_, drive)| drive).collect();
        let opening = SimNode::open(self.sim().clone(), drives, self.options);
        self.sim().spawn(async move { drop(opening.await) });
        self.sim().run_steps(self.sim().random().below(300));
        self.shared.report.borrow_mut().crashes_in_recovery += 1;
        self.cut_power();
    }

    /// Opens the node and compares everything. The faults of the life may affect the open, if the
    /// drive reports them; then it is repeated without them.
    pub(super) fn open(&mut self, life: &Life) -> Rc<SimNode> {
        let may_fail = self.faults == Faults::Errors
            && (life.faults.reads_fail
                || life.faults.opens_fail
                || life.faults.writes_stop
                || life.faults.damage);
        if may_fail && self.sim().random().one_in(3) {
            self.follow(life.faults.plan);
        }
        let mut opened = self.try_open();
        self.heal();
        if let Err(error) = &opened
            && may_fail
        {
            self.shared.note(|| format!("the open failed: {error}"));
            self.shared.report.borrow_mut().opens_failed += 1;
            // A flush may have failed: then only a drive without power is sure to show what it
            // kept.
            self.cut_power();
            opened = self.try_open();
        }
        if self.plan.aim.is_redundant() && matches!(opened, Err(OpenError::Format(_))) {
            self.leave_out_victims();
            opened = self.try_open();
        }
        let node = opened.unwrap_or_else(|error| panic!("the node does not open: {error}"));
        let faults = LifeFaults {
            writes_stop: life.faults.writes_stop,
            damage: self.damaged,
            ..LifeFaults::default()
        };
        let upload_age_ms = self.upload_age_ms;
        self.verify(&node, &Life { faults, upload_age_ms, ..*life });
        node
    }

    pub(super) fn verify(&mut self, node: &Rc<SimNode>, life: &Life) {
        node.audit();
        if let Some(expected) = self.used_units.take() {
            let used = node.leftovers().used_units;
            assert_eq!(used, expected, "units of slices in use after the restart, and before it");
        }
        let context = self.context(node, life);
        self.sim().block_on(async move { context.verify().await });
        self.count_recovery();
    }

    pub(super) fn count_recovery(&mut self) {
        if std::mem::take(&mut self.crashed) {
            self.shared.report.borrow_mut().crash_recoveries += 1;
        }
    }

    pub(super) fn context(&self, node: &Rc<SimNode>, life: &Life) -> Context {
        Context { shared: self.shared.clone(), node: node.clone(), life: *life }
    }

    /// Runs the clients, for as long as the seed says.
    fn work(&mut self, node: &Rc<SimNode>, life: &Life) {
        self.make_shared_bucket(node);
        self.make_versioned_buckets(node, life);
        self.lock_bucket(node, life);
        self.follow(life.faults.plan);
        self.stop_a_victim();
        self.slow_a_victim();
        self.shared.stopping.set(false);
        self.start_background(node, life);
        self.shared.clients_left.set(self.plan.clients);
        for number in 0..self.plan.clients {
            let random = Random::new(number);
            let client = Client { context: self.context(node, life), number, sizes: self.sizes, random };
            self.sim().spawn(client.run());
        }
        let polls = 1 + self.sim().random().below(self.plan.steps);
        if self.plan.aim == Aim::Compaction {
            self.work_until_moved(node, polls);
        } else {
            for _ in 0..polls.div_ceil(AUDIT_POLLS) {
                self.polls(node, AUDIT_POLLS.min(polls));
                self.give_a_drive_online(node);
            }
        }
        self.shared.report.borrow_mut().relocated_bytes += node.relocated_bytes();
    }

    /// Runs until soon after some slice was moved.
    fn work_until_moved(&mut self, node: &Rc<SimNode>, polls: u64) {
        let most = polls + self.plan.steps;
        for _ in 0..most / AIMED_POLLS {
            let moved = node.relocated_bytes();
            self.polls(node, AIMED_POLLS);
            if node.relocated_bytes() > moved && self.sim().random().one_in(8) {
                break;
            }
        }
        self.polls(node, 1 + self.sim().random().below(60));
    }

    /// Starts the scrub, the end of old uploads, a wall clock that jumps, and tasks that hold
    /// buffers.
    fn start_background(&self, node: &Rc<SimNode>, life: &Life) {
        let random = self.sim().random();
        let scrubs = random.one_in(3);
        if random.one_in(4) {
            self.sim().spawn(jump_clock(self.shared.clone()));
        } else if self.plan.bucket_lock().is_some() && random.one_in(2) {
            self.sim().spawn(step_clock(self.context(node, life)));
        }
        for index in 0..self.options.cores {
            let core = node.core(index);
            if scrubs {
                core.start_scrub(SCRUB);
            }
            if let Some(age_ms) = life.upload_age_ms {
                self.sim().spawn(async move { core.limit_upload_age(age_ms).await });
            }
            if self.buffers_are_scarce {
                self.sim().spawn(hold_buffers(self.shared.clone(), node.clone(), index));
            }
        }
    }

    pub(super) fn polls(&self, node: &Rc<SimNode>, polls: u64) {
        if !self.sim().run_steps(polls) {
            self.shared.check_for_deadlock();
        }
        self.shared.check_for_hangs();
        node.audit();
    }

    fn make_shared_bucket(&self, node: &Rc<SimNode>) {
        let mut model = self.shared.model.borrow_mut();
        if model.shared_bucket().is_some() {
            return;
        }
        let core = node.core(0);
        let create = async move { core.create_bucket(SHARED_BUCKET, "owner", Vec::new()).await };
        match self.sim().block_on(create) {
            Ok(BucketCreated::New(made)) => {
                model.buckets.insert(made.id, BucketModel::new(SHARED_BUCKET));
            }
            other => panic!("the first bucket is not made: {other:?}"),
        }
    }

    /// Makes the buckets that keep versions, sooner or later.
    fn make_versioned_buckets(&self, node: &Rc<SimNode>, life: &Life) {
        for number in 0..self.plan.versioned_buckets() {
            let name = format!("{VERSIONED}{number}");
            let is_there = |known: &VersionedBucket| known.name == name;
            if self.shared.model.borrow().versioned.values().any(is_there) {
                continue;
            }
            let (core, wanted) = (node.core(0), name.clone());
            let lock = self.lock_of(number).filter(|lock| lock.from_start);
            let create = async move {
                match lock {
                    Some(_) => core.create_bucket_with(&wanted, "owner", Vec::new(), true, Vec::new()).await,
                    None => core.create_bucket(&wanted, "owner", Vec::new()).await,
                }
            };
            self.shared.locks.believe_first();
            match self.sim().block_on(create) {
                Ok(BucketCreated::New(made)) => {
                    let versioning = if lock.is_some() { Versioning::Enabled } else { Versioning::Off };
                    let mut made_now = VersionedBucket::new(&name, versioning, self.shared.locks.clone());
                    if lock.is_some() {
                        made_now.lock = BucketLocked::Yes;
                        self.shared.locks.begun();
                    }
                    self.shared.model.borrow_mut().versioned.insert(made.id, made_now);
                }
                Ok(made) => panic!("{name} is not new: {made:?}"),
                Err(error) => {
                    self.context(node, life).judge("create versioned bucket", None, &error);
                }
            }
        }
    }

    /// Returns how a bucket that keeps versions gets object lock.
    fn lock_of(&self, number: u64) -> Option<LockPlan> {
        self.plan.bucket_lock().filter(|_| number == 0)
    }

    /// Gives a bucket its lock and its default retention, if it is to have them and has them not.
    fn lock_bucket(&self, node: &Rc<SimNode>, life: &Life) {
        let Some(plan) = self.lock_of(0) else { return };
        let name = format!("{VERSIONED}0");
        let found = {
            let model = self.shared.model.borrow();
            let named = model.versioned.iter().find(|(_, known)| known.name == name);
            named.map(|(id, known)| (*id, known.lock, known.default.keep))
        };
        let Some((id, lock, default)) = found else { return };
        let wanted = plan.default.map_or(BucketLock::default(), DefaultKeep::bucket_lock);
        // A bucket that gets its lock later has versions from before, and some of them are null.
        let later = plan.from_start || self.shared.round.get() > 0;
        if !later || lock == BucketLocked::Yes && default == plan.default {
            return;
        }
        let context = self.context(node, life);
        let shared = self.shared.clone();
        self.sim().block_on(async move {
            context.set_versioning(id, Versioning::Enabled).await;
            {
                let mut model = shared.model.borrow_mut();
                let known = model.versioned(id);
                known.default = BucketDefault { keep: plan.default, is_certain: false };
                if lock == BucketLocked::No {
                    known.lock = BucketLocked::Maybe;
                }
            }
            shared.locks.believe_first();
            let core = context.core();
            let set = core.set_bucket_config(id, ConfigKind::LOCK, Some(wanted.encode()));
            let (_, result) = context.watched("lock bucket", || format!("b{}", id.0), set).await;
            match result {
                Ok(()) => {
                    let mut model = shared.model.borrow_mut();
                    let known = model.versioned(id);
                    known.lock = BucketLocked::Yes;
                    known.default.is_certain = true;
                    shared.locks.begun();
                }
                // Enabling the versioning was refused before.
                Err(EngineError::LockNeedsVersions) => {}
                Err(error) => {
                    context.judge("lock bucket", None, &error);
                }
            }
        });
    }

    /// Sometimes empties a bucket that keeps versions and deletes it; the next life has a new one.
    fn retire_bucket(&mut self, node: &Rc<SimNode>, life: &Life) {
        let Some(id) = self.shared.model.borrow().versioned.keys().next().copied() else { return };
        if self.damaged || life.faults.writes_stop || !self.sim().random().one_in(4) {
            return;
        }
        let context = self.context(node, life);
        self.sim().block_on(async move { context.retire(id).await });
        self.used_units = None;
    }

    /// Waits until every client has ended its current operation.
    pub(super) fn stop_clients(&self, node: &Rc<SimNode>) {
        self.shared.stopping.set(true);
        for polls in 1.. {
            if self.shared.clients_left.get() == 0 {
                break;
            }
            // Background work may continue for ever, but not longer than the last client.
            if !self.sim().step() {
                self.shared.check_for_deadlock();
            }
            if polls % AUDIT_POLLS == 0 {
                self.polls(node, 1);
            }
        }
    }

    /// Waits until every client has ended its current operation, and until background work is idle.
    pub(super) fn come_to_rest(&mut self, node: &Rc<SimNode>, life: &Life) {
        self.stop_clients(node);
        self.heal();
        let until = self.sim().now_us() + REST_US_MAX;
        while self.sim().now_us() < until && self.sim().step() {}
        // The hour in which the scrub checks the clock may just have begun: it reads, and ends with
        // a checkpoint, whose extents belong to nobody until it is current.
        let mut left = node.leftovers();
        let mut adds_up = false;
        for _ in 0..SCRUB_POLLS {
            adds_up = life.faults.writes_stop || self.space_adds_up(node);
            left = node.leftovers();
            // The same is true for the moment in which an old upload is ended, with its key's lock
            // held.
            let busy = left.pinned_objects + left.held_locks + left.writers;
            if busy == 0 && adds_up || !self.sim().step() {
                break;
            }
        }
        self.shared.check_for_deadlock();
        node.audit();
        if life.faults.writes_stop {
            return;
        }
        assert!(adds_up, "space is missing or counted twice: {left:?}");
        let busy = (left.reserved_units, left.pinned_objects, left.held_locks, left.writers);
        assert_eq!(busy, (0, 0, 0, 0), "reserved units, pins, locks and writers when nothing is under way");
        self.used_units = Some(left.used_units - left.freed_units);
        self.check_scrub(node);
        self.check_usage(node, life);
    }

    /// Compares what buckets hold with what the model is certain of.
    fn check_usage(&self, node: &Rc<SimNode>, life: &Life) {
        let buckets: Vec<BucketId> = self.shared.model.borrow().versioned.keys().copied().collect();
        for id in buckets {
            let context = self.context(node, life);
            self.sim().block_on(async move { context.verify_usage(id).await });
        }
    }

    fn space_adds_up(&self, node: &Rc<SimNode>) -> bool {
        let core = node.core(0);
        let space = self.sim().block_on(async move { core.space().await });
        let space = space.unwrap_or_else(|error| panic!("space is always known: {error}"));
        let used = space.live_bytes + space.dead_bytes + space.reserved_bytes + space.copies_bytes;
        used + space.free_bytes == space.physical_bytes
    }

    /// Checks that the scrub found nothing if the drive had no faults.
    fn check_scrub(&self, node: &Rc<SimNode>) {
        if self.faults != Faults::None {
            return;
        }
        let core = node.core(0);
        let metrics = self.sim().block_on(async move { core.metrics().await });
        let shards = metrics.unwrap_or_else(|error| panic!("metrics are always known: {error}")).shards;
        let found = shards.iter().find(|shard| shard.scrub.findings > 0);
        assert!(found.is_none(), "the scrub found damage that is not there: {found:?}");
    }

    /// Ends the life by a power cut, a kill or a clean stop, in the middle of work or at rest.
    /// `flushes_failed` is the count before this life.
    fn end(&mut self, node: Rc<SimNode>, life: &Life, flushes_failed: u64) {
        let at_rest = self.plan.is_mixed() && self.sim().random().one_in(4);
        if at_rest {
            self.come_to_rest(&node, life);
            self.retire_bucket(&node, life);
        } else if self.plan.is_mixed() && self.sim().random().one_in(8) {
            self.demand_progress(&node, life);
        }
        self.heal();
        // A flush may fail until here.
        let flush_failed = self.faults_so_far()[FaultKind::FlushError as usize] > flushes_failed;
        match self.sim().random().below(10) {
            // Only a power cut discards what a failed flush has lost.
            _ if flush_failed => self.crash(node),
            0 => self.kill(node),
            1..=4 if at_rest => self.close(node, life),
            _ => self.crash(node),
        }
    }

    pub(super) fn kill(&mut self, node: Rc<SimNode>) {
        self.shared.note(|| "kill".to_owned());
        self.shared.report.borrow_mut().kills += 1;
        drop(node);
        self.sim().kill();
    }

    pub(super) fn crash(&mut self, node: Rc<SimNode>) {
        self.cut_power();
        drop(node);
    }

    fn cut_power(&mut self) {
        self.shared.note(|| "power cut".to_owned());
        let random = self.sim().random();
        let mode = if self.plan.aim == Aim::Compaction { random.below(3) } else { random.below(8) };
        // The drives come first, because a task that is dropped completes its writes.
        for drive in &self.drives {
            drive.crash(|_| match (mode, random.below(4)) {
                (0, _) | (2.., 0) => Fate::Kept,
                (1, _) | (2.., 1) => Fate::Lost,
                (_, 2) => Fate::Torn { sectors: random.below(64) as usize },
                _ => Fate::Scattered { mask: random.next_u64() },
            });
        }
        self.sim().kill();
        self.crashed = true;
        self.shared.report.borrow_mut().crashes += 1;
    }

    /// Stops the node. With shards that have stopped writing it reports an error, and nothing is
    /// lost nevertheless.
    pub(super) fn close(&mut self, node: Rc<SimNode>, life: &Life) {
        self.shared.note(|| "stop".to_owned());
        let closing: Vec<Core> = (0..self.options.cores).map(|index| node.core(index)).collect();
        let closed = self.sim().block_on(async move {
            let all = closing.iter().map(Core::close);
            futures_util::future::join_all(all).await
        });
        let failed = closed.into_iter().find_map(Result::err);
        assert!(
            failed.is_none() || life.faults.writes_stop || self.is_tight(),
            "a clean stop fails: {failed:?}"
        );
        self.shared.report.borrow_mut().clean_stops += 1;
        drop(node);
        self.sim().kill();
    }

    /// Returns whether the last checkpoint may have found no space.
    pub(super) fn is_tight(&self) -> bool {
        self.shared.report.borrow().refused_full > 0
    }

    /// Deletes everything: nothing may stay allocated.
    fn empty(&mut self, node: &Rc<SimNode>) {
        let emptied = self.sim().block_on(delete_everything(node.clone(), self.shared.clone()));
        if !emptied {
            self.shared.note(|| "held versions leave no space to end their holds".to_owned());
            return;
        }
        while self.sim().step() {}
        let on = node.clone();
        self.sim().block_on(async move {
            // The second checkpoint releases the log that the first one still needed.
            for _ in 0..2 {
                on.checkpoint()
                    .await
                    .unwrap_or_else(|error| panic!("no checkpoint of an empty node: {error}"));
            }
        });
        while self.sim().step() {}
        let on = node.clone();
        let space = self.sim().block_on(async move { on.space().await });
        assert_eq!((space.live_bytes, space.objects), (0, 0), "an empty node: {space:?}");
        let left = node.leftovers();
        let slices = (left.used_units, left.reserved_units, left.freed_units, left.data_extents);
        assert_eq!(slices, (0, 0, 0, 0), "an empty node: {left:?}");
    }
}

/// Deletes everything. Returns false if versions are left that are held, and that leave no space for
/// the records that end holds.
async fn delete_everything(node: Rc<SimNode>, shared: Rc<Shared>) -> bool {
    if shared.plan.bucket_lock().is_some() {
        shared.step_clock(shared.locks.rest_ms() as i64 + 1000);
        let confirmed = node.any_core().confirm_clock().await;
        confirmed.unwrap_or_else(|error| panic!("the clock is not confirmed: {error}"));
    }
    let uploads = shared.model.borrow().uploads.known.clone();
    for (id, upload) in uploads {
        let aborted = node.any_core().abort_upload(upload.bucket, &upload.key, id).await;
        aborted.unwrap_or_else(|error| panic!("{upload:?} is not aborted: {error}"));
    }
    for bucket in node.core(0).buckets() {
        let query = UploadQuery { max_items: 1000, ..UploadQuery::default() };
        let page = node.any_core().list_uploads(bucket.id, &query).await;
        let page = page.unwrap_or_else(|error| panic!("uploads of {}: {error}", bucket.name));
        for item in page.items {
            let UploadItem::Upload(upload) = item else { continue };
            let aborted = node.any_core().abort_upload(bucket.id, &upload.key, upload.id).await;
            aborted.unwrap_or_else(|error| panic!("{upload:?} is not aborted: {error}"));
        }
    }
    // What is held keeps its place until there is space for the record that ends the hold.
    for releases in [false, true] {
        for bucket in node.core(0).buckets() {
            if !delete_versions(&node, &bucket, releases).await {
                return false;
            }
        }
        let done = node.checkpoint().await;
        done.unwrap_or_else(|error| panic!("no checkpoint of an empty node: {error}"));
    }
    for bucket in node.core(0).buckets() {
        let deleted = node.any_core().delete_bucket(bucket.id).await;
        deleted.unwrap_or_else(|error| panic!("{} is not deleted: {error}", bucket.name));
    }
    true
}

/// Deletes all versions of a bucket, or those that nothing holds. Returns false if there is no space
/// to end a hold.
async fn delete_versions(node: &SimNode, bucket: &Bucket, releases: bool) -> bool {
    let query = VersionsQuery { max_items: 1000, ..VersionsQuery::default() };
    let page = node.any_core().list_versions(bucket.id, &query).await;
    let page = page.unwrap_or_else(|error| panic!("{} is not listed: {error}", bucket.name));
    for item in page.items {
        let VersionItem::Version { key, generation, .. } = &item else { continue };
        let (core, version) = (node.any_core(), Version::Generation(*generation));
        let deletion = Deletion { version, bypass_governance: true, ..Deletion::default() };
        let mut deleted = core.remove(bucket.id, key, deletion.clone()).await;
        if deleted == Err(EngineError::Locked) {
            if !releases {
                continue;
            }
            let change = MetadataChange { generation: *generation, ..MetadataChange::default() };
            match core.update_metadata(bucket.id, key, change, WriteCondition::default()).await {
                Ok(_) => {}
                Err(EngineError::NoSpace { .. } | EngineError::IndexFull { .. }) => return false,
                Err(error) => panic!("the hold of {item:?} does not end: {error}"),
            }
            deleted = core.remove(bucket.id, key, deletion).await;
        }
        deleted.unwrap_or_else(|error| panic!("{item:?} is not deleted: {error}"));
    }
    true
}

/// Sets a cap that a few keys and uploads reach.
fn with_tight_index(options: SimOptions, shards: u16, random: &Random) -> SimOptions {
    let of_shard = (34 << 10) + random.below(24 << 10) as usize;
    SimOptions { index_bytes_max: of_shard * usize::from(shards), ..options }
}

/// Sets the wall clock forward and back by up to a day.
async fn jump_clock(shared: Rc<Shared>) {
    while !shared.stopping.get() {
        shared.sim.pause_us(100_000).await;
        let by_ms = 1 + shared.sim.random().below(DAY_MS) as i64;
        let back = shared.sim.random().one_in(2);
        shared.step_clock(if back { -by_ms } else { by_ms });
    }
}

/// Steps the wall clock by a little or by much more than is believed, and sets it right again or
/// confirms it.
async fn step_clock(context: Context) {
    let shared = context.shared.clone();
    let random = shared.sim.random();
    while !shared.stopping.get() {
        shared.sim.pause_us(60_000).await;
        let by_ms = match random.below(6) {
            0 | 1 => random.below(2000),
            2 => random.below(DAY_MS),
            _ => DAY_MS + random.below(60 * DAY_MS),
        } as i64;
        shared.step_clock(by_ms);
        shared.sim.pause_us(60_000).await;
        match random.below(8) {
            0 => {
                context.confirm_clock().await;
            }
            1 => {}
            _ => shared.step_clock(-by_ms),
        }
    }
}

/// Holds all of a core's buffers except a few, or even those, for a while, as slow clients do.
async fn hold_buffers(shared: Rc<Shared>, node: Rc<SimNode>, core: usize) {
    while !shared.stopping.get() {
        let left = shared.sim.random().below(3) as usize;
        let held = node.hold_buffers(core, left);
        let until_us = shared.sim.now_us() + if left > 0 { 400_000 } else { BUFFERS_HELD_US_MAX };
        while shared.sim.now_us() < until_us && !shared.stopping.get() {
            shared.sim.pause_us(BUFFERS_LOOK_US_MAX).await;
        }
        drop(held);
        shared.sim.pause_us(100_000).await;
    }
}
