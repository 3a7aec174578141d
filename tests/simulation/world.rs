//! The drives, and the lives of the node on them.
//!
//! Invariants:
//! - A life begins with an open and a comparison of everything; it ends with a power cut, a kill or a clean stop.
//! - Faults that nothing survives on one drive (lost and misdirected writes, rot) come in a world's last life only.
//!   Before it ends, every shard writes one more record without faults: so every batch before it is known as durable,
//!   and the next open must either refuse or bring everything back but for objects that say they are damaged.

use std::cell::Cell;
use std::rc::Rc;

use ringbolt_engine::device::sim::{Fate, FaultKind, FaultPlan, SimDevice};
use ringbolt_engine::node::{Core, OpenError};
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{BucketCreated, ListQuery, WriteCondition};

use super::client::{Client, SHARED_BUCKET, Sizes};
use super::context::{Context, Shared};
use super::plan::{Faults, LifeFaults, Plan};

const MIB: u64 = 1 << 20;
/// Polls between two looks at the accounting.
const AUDIT_POLLS: u64 = 400;
/// Virtual time that background work gets to come to rest.
const REST_US_MAX: u64 = 60_000_000;

pub struct World {
    plan: Plan,
    faults: Faults,
    drives: Vec<SimDevice>,
    options: SimOptions,
    sizes: Sizes,
    pub shared: Rc<Shared>,
    pub round: Rc<Cell<u64>>,
    /// The last life ended with a power cut.
    crashed: bool,
    /// What the slices must take after the next open, if that is known.
    used_units: Option<u64>,
    /// Refused as damaged: no more lives.
    refused: bool,
}

impl World {
    pub fn new(plan: &Plan, with_trace: bool) -> Self {
        let sim = Simulator::new(plan.seed);
        let shared = Shared::new(sim.clone(), with_trace);
        let random = sim.random();
        let shards: u16 = [1, 1, 2, 2, 3, 4][random.below(6) as usize];
        let drives = if random.one_in(5) { 2 } else { 1 };
        let shards_of_drive = u64::from(shards.div_ceil(drives));
        // An extent for the log, and what a shard holds back; the rest is for data, and there may be hardly any.
        let extra = if random.one_in(4) { random.below(10) } else { 16 + random.below(90) };
        let size_bytes = (30 * shards_of_drive + 6 + extra) * MIB;
        let options = SimOptions {
            cores: 1,
            arena_bytes_per_core: 8 << 20,
            checkpoint_after_bytes: (1 << 16) << random.below(7),
            dead_log_bytes_max: (1 << 18) << random.below(6),
            bug: plan.bug,
            ..SimOptions::default()
        };
        let faults = match (plan.faults, random.below(4)) {
            (Faults::All, 0) => Faults::None,
            (Faults::All, 1) => Faults::Media,
            (Faults::All, _) => Faults::Errors,
            (given, _) => given,
        };
        let sizes =
            [Sizes::Small, Sizes::Small, Sizes::Inline, Sizes::Mixed, Sizes::Large][random.below(5) as usize];
        // As larger drives have them: then an extent may be full of gaps.
        let slots = [1, 1, 2, 3][random.below(4) as usize];
        let drives = format_sim_drives(&sim, drives, (size_bytes * slots, slots), shards);
        Self {
            plan: plan.clone(),
            faults,
            drives,
            options,
            sizes,
            shared,
            round: Rc::default(),
            crashed: false,
            used_units: None,
            refused: false,
        }
    }

    fn sim(&self) -> &Simulator {
        &self.shared.sim
    }

    /// # Panics
    /// When the node breaks a promise.
    pub fn run_rounds(&mut self) {
        // How many lives, of those that the plan allows, decides the seed: drives differ in age.
        let last = self.sim().random().below(1 << 32);
        for round in 0..self.plan.rounds {
            self.round.set(round);
            let ending = self.faults == Faults::Media && (round + 1 == self.plan.rounds || last % 4 == round);
            self.shared.note(|| format!("round {round}"));
            self.life(ending);
            if self.refused || ending {
                return;
            }
        }
    }

    /// The sums, after a last look at everything.
    pub fn finish(&mut self) {
        if !self.refused {
            let node = self.open(&LifeFaults::default());
            if self.sim().random().one_in(3) {
                self.empty(&node);
            }
            self.kill(node);
        }
        let mut report = self.shared.report.borrow_mut();
        report.seeds = 1;
        report.polls = self.sim().digest().0;
        for drive in &self.drives {
            report.faults.iter_mut().zip(drive.fault_counts()).for_each(|(sum, count)| *sum += count);
        }
    }

    fn life(&mut self, with_media_faults: bool) {
        self.options.cores = 1 + self.sim().random().below(3) as usize;
        let random = self.sim().random();
        let faults = match self.faults {
            _ if with_media_faults => LifeFaults::media(random),
            Faults::Errors if random.below(3) > 0 => LifeFaults::errors(random),
            _ => LifeFaults::unnoticed(random),
        };
        if random.one_in(8) {
            self.crash_in_recovery();
        }
        let node = self.open(&faults);
        let before = self.faults_so_far();
        self.work(&node, &faults);
        if with_media_faults {
            return self.end_with_damage(node, &faults, before);
        }
        let flush_failed =
            self.faults_so_far()[FaultKind::FlushError as usize] > before[FaultKind::FlushError as usize];
        self.end(node, &faults, flush_failed);
    }

    fn faults_so_far(&self) -> [u64; FaultKind::COUNT] {
        let mut sum = [0; FaultKind::COUNT];
        for drive in &self.drives {
            sum.iter_mut().zip(drive.fault_counts()).for_each(|(sum, count)| *sum += count);
        }
        sum
    }

    fn follow(&self, plan: FaultPlan) {
        self.drives.iter().for_each(|drive| drive.follow(plan));
    }

    fn heal(&self) {
        self.follow(FaultPlan::default());
        self.drives.iter().for_each(SimDevice::heal);
    }

    fn try_open(&self) -> Result<Rc<SimNode>, OpenError> {
        let opening = SimNode::open(self.sim().clone(), self.drives.clone(), self.options);
        self.sim().block_on(opening).map(Rc::new)
    }

    /// The power goes while the shards recover.
    fn crash_in_recovery(&mut self) {
        let opening = SimNode::open(self.sim().clone(), self.drives.clone(), self.options);
        self.sim().spawn(async move { drop(opening.await) });
        self.sim().run_steps(self.sim().random().below(300));
        self.shared.report.borrow_mut().crashes_in_recovery += 1;
        self.cut_power();
    }

    /// Opens and compares everything. The faults of the life may hit the open; then it is done again without them.
    fn open(&mut self, faults: &LifeFaults) -> Rc<SimNode> {
        let may_fail = faults.reads_fail || faults.writes_stop || faults.damage;
        let media = may_fail && self.faults == Faults::Media;
        if may_fail && !media && self.sim().random().one_in(3) {
            self.follow(faults.plan);
        }
        let mut opened = self.try_open();
        self.heal();
        if let Err(error) = &opened
            && may_fail
        {
            self.shared.note(|| format!("the open failed: {error}"));
            self.shared.report.borrow_mut().opens_failed += 1;
            // A flush may have failed: then only a drive without power is sure to show what it kept.
            self.cut_power();
            opened = self.try_open();
        }
        let node = opened.unwrap_or_else(|error| panic!("the node does not open: {error}"));
        self.verify(&node, &LifeFaults { writes_stop: faults.writes_stop, ..LifeFaults::default() });
        node
    }

    fn verify(&mut self, node: &Rc<SimNode>, faults: &LifeFaults) {
        node.audit();
        if let Some(expected) = self.used_units.take() {
            let used = node.leftovers().used_units;
            assert_eq!(used, expected, "units of slices in use after the restart, and before it");
        }
        let context = self.context(node, *faults);
        self.sim().block_on(async move { context.verify().await });
        if std::mem::take(&mut self.crashed) {
            self.shared.report.borrow_mut().crash_recoveries += 1;
        }
    }

    fn context(&self, node: &Rc<SimNode>, faults: LifeFaults) -> Context {
        Context { shared: self.shared.clone(), node: node.clone(), faults }
    }

    /// Clients at work, for as long as the seed says.
    fn work(&mut self, node: &Rc<SimNode>, faults: &LifeFaults) {
        self.make_shared_bucket(node);
        self.follow(faults.plan);
        self.shared.stopping.set(false);
        self.shared.clients_left.set(self.plan.clients);
        for number in 0..self.plan.clients {
            let client = Client { context: self.context(node, *faults), number, sizes: self.sizes };
            self.sim().spawn(client.run());
        }
        let polls = 1 + self.sim().random().below(self.plan.steps);
        for _ in 0..polls.div_ceil(AUDIT_POLLS) {
            self.polls(node, AUDIT_POLLS.min(polls));
        }
        self.shared.report.borrow_mut().relocated_bytes += node.relocated_bytes();
    }

    fn polls(&self, node: &Rc<SimNode>, polls: u64) {
        if !self.sim().run_steps(polls) {
            self.shared.check_for_deadlock();
        }
        self.shared.check_for_hangs();
        node.audit();
    }

    fn make_shared_bucket(&self, node: &Rc<SimNode>) {
        let mut model = self.shared.model.borrow_mut();
        let bucket = model.buckets.entry(SHARED_BUCKET.to_owned()).or_default();
        if bucket.id.is_some() {
            return;
        }
        let core = node.core(0);
        let create = async move { core.create_bucket(SHARED_BUCKET, "owner", Vec::new()).await };
        match self.sim().block_on(create) {
            Ok(BucketCreated::New(made)) => bucket.id = Some(made.id),
            other => panic!("the first bucket is not made: {other:?}"),
        }
    }

    /// Every client ends what it is at, and background work comes to rest.
    fn come_to_rest(&mut self, node: &Rc<SimNode>, faults: &LifeFaults) {
        self.shared.stopping.set(true);
        while self.shared.clients_left.get() > 0 {
            self.polls(node, AUDIT_POLLS);
        }
        self.heal();
        let until = self.sim().now_us() + REST_US_MAX;
        while self.sim().now_us() < until && self.sim().step() {}
        self.shared.check_for_deadlock();
        node.audit();
        if faults.writes_stop {
            return;
        }
        let on = node.clone();
        self.sim().block_on(async move { on.space().await });
        let left = node.leftovers();
        let busy = (left.reserved_units, left.pinned_objects, left.held_locks, left.writers);
        assert_eq!(busy, (0, 0, 0, 0), "reserved units, pins, locks and writers when nothing is under way");
        self.used_units = Some(left.used_units - left.freed_units);
    }

    /// A power cut, a kill or a clean stop, in the middle of work or at rest.
    fn end(&mut self, node: Rc<SimNode>, faults: &LifeFaults, flush_failed: bool) {
        let at_rest = self.sim().random().one_in(4);
        if at_rest {
            self.come_to_rest(&node, faults);
        }
        self.heal();
        match self.sim().random().below(10) {
            // What a failed flush has lost, only a power cut takes out of sight.
            _ if flush_failed => self.crash(node),
            0 => self.kill(node),
            1..=4 if at_rest => self.close(node, faults),
            _ => self.crash(node),
        }
    }

    fn kill(&mut self, node: Rc<SimNode>) {
        self.shared.note(|| "kill".to_owned());
        self.shared.report.borrow_mut().kills += 1;
        drop(node);
        self.sim().kill();
    }

    fn crash(&mut self, node: Rc<SimNode>) {
        self.cut_power();
        drop(node);
    }

    fn cut_power(&mut self) {
        self.shared.note(|| "power cut".to_owned());
        let random = self.sim().random();
        let mode = random.below(8);
        // First the drives: a task that is dropped completes its writes.
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

    /// A clean stop. With shards that have stopped writing it says so, and nothing is lost all the same.
    fn close(&mut self, node: Rc<SimNode>, faults: &LifeFaults) {
        self.shared.note(|| "stop".to_owned());
        let closing: Vec<Core> = (0..self.options.cores).map(|index| node.core(index)).collect();
        let closed = self.sim().block_on(async move {
            let all = closing.iter().map(Core::close);
            futures_util::future::join_all(all).await
        });
        let failed = closed.into_iter().find_map(Result::err);
        assert!(failed.is_none() || faults.writes_stop || self.is_tight(), "a clean stop fails: {failed:?}");
        self.shared.report.borrow_mut().clean_stops += 1;
        drop(node);
        self.sim().kill();
    }

    /// Whether the last checkpoint may have found no room.
    fn is_tight(&self) -> bool {
        self.shared.report.borrow().refused_full > 0
    }

    /// See the module's second invariant.
    fn end_with_damage(&mut self, node: Rc<SimNode>, faults: &LifeFaults, before: [u64; FaultKind::COUNT]) {
        self.come_to_rest(&node, faults);
        self.used_units = None;
        let on = node.clone();
        let fenced = self.sim().block_on(async move { on.fence().await });
        fenced.unwrap_or_else(|error| panic!("a shard without a failed write does not write: {error}"));
        let damaging = [FaultKind::MisdirectedWrite, FaultKind::LostWrite, FaultKind::Rot];
        let now = self.faults_so_far();
        let struck = damaging.iter().any(|kind| now[*kind as usize] > before[*kind as usize]);
        match self.sim().random().below(3) {
            0 => self.kill(node),
            _ => self.crash(node),
        }
        let opened = self.try_open();
        self.shared.report.borrow_mut().media_lives += u64::from(struck);
        match opened {
            Ok(node) => {
                self.verify(&node, &LifeFaults { damage: struck, ..LifeFaults::default() });
                self.kill(node);
                self.refused = struck;
            }
            Err(error) => {
                assert!(struck, "the node does not open: {error}");
                self.shared.note(|| format!("refused: {error}"));
                self.shared.report.borrow_mut().drives_refused += 1;
                self.refused = true;
                self.sim().kill();
            }
        }
    }

    /// Everything is deleted: nothing may stay allocated.
    fn empty(&mut self, node: &Rc<SimNode>) {
        self.sim().block_on(delete_everything(node.clone(), self.shared.clone()));
        while self.sim().step() {}
        let on = node.clone();
        self.sim().block_on(async move {
            // The second one lets go of the log that the first one still needed.
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

async fn delete_everything(node: Rc<SimNode>, shared: Rc<Shared>) {
    let uploads = shared.model.borrow().uploads.known.clone();
    for (id, upload) in uploads {
        let bucket = shared.model.borrow().buckets[&upload.bucket].id;
        let bucket = bucket.unwrap_or_else(|| panic!("{upload:?} has no bucket"));
        let aborted = node.any_core().abort_upload(bucket, &upload.key, id).await;
        aborted.unwrap_or_else(|error| panic!("{upload:?} is not aborted: {error}"));
    }
    for bucket in node.core(0).buckets() {
        let query = ListQuery { max_items: 1000, ..ListQuery::default() };
        let page = node.any_core().list(bucket.id, &query).await;
        let page = page.unwrap_or_else(|error| panic!("{} is not listed: {error}", bucket.name));
        for item in page.items {
            let deleted = node.any_core().delete(bucket.id, item.name(), WriteCondition::default()).await;
            deleted.unwrap_or_else(|error| panic!("{item:?} is not deleted: {error}"));
        }
        let deleted = node.any_core().delete_bucket(bucket.id).await;
        deleted.unwrap_or_else(|error| panic!("{} is not deleted: {error}", bucket.name));
    }
}
