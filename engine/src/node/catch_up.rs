//! Bringing a drive up to date that was out of the view and is there again, or that is new and takes the place of
//! one that is gone.
//!
//! The steps, in order (decision 0017):
//!
//! 1. A view has the drive again, and it is written to from then on. Nobody believes what it holds: readers
//!    take it last, and a start takes nothing from it. It is home of no shard.
//! 2. Each shard that it was a home of, or that the drive was whose place it takes, gives it a member of every
//!    set, and rolls its log to a set that has it.
//! 3. Each copy on the drive is read, and written anew from another one if it is not what it should be. What
//!    has not changed while the drive was away is not written again. If other drives lack something too, what would
//!    be lost with the fewest more comes first.
//! 4. When all bodies have ended that may not know every member, and a pass found nothing to mend, a
//!    checkpoint is written on all homes.
//! 5. A view makes it a home again. Nothing is written to the logs of its shards meanwhile.
//!
//! A start between the steps begins again with step 2.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use futures_util::future::join_all;
use futures_util::stream::{self, TryStreamExt};

use super::read::{ObjectReader, Opened};
use super::scrub::{is_idle, objects_behind, part_behind, yield_to_others};
use super::state::CoreState;
use super::surroundings::{give, take};
use super::views::Change;
use crate::device::DeviceError;
use crate::error::EngineError;
use crate::extent::allocator::Class;
use crate::extent::{Member, SetPlace};
use crate::format::superblock::ViewDriveOnDisk;
use crate::hook::{Bug, Rare, reached};
use crate::index::keys;
use crate::shard::Shard;
use crate::types::{BucketId, Version};

/// Time between two tries, milliseconds.
const AGAIN_MS: u64 = 10_000;
/// Passes that a drive takes at least: one that copies, and one that finds nothing to copy.
const PASSES: u64 = 2;
/// Passes beyond these after which a copy that could not be judged is left to the scrub.
const PASSES_MORE_MAX: u64 = 8;
/// Time between two looks at what is waited for, milliseconds.
const LOOK_MS: u64 = 20;
/// Objects of a shard that are gone through at a time while nobody else works, or it is late.
const LANES: usize = 4;

/// The reason why a drive is not up to date yet.
enum Halt {
    /// The node closes, or the drive has left again.
    Over,
    /// It is worth another try.
    Later(String),
    /// The drive can not hold what it has to.
    Never(String),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ShuttingDown | EngineError::WritesStopped { .. } => Self::Over,
            error => Self::Later(error.to_string()),
        }
    }
}

type Done = Result<(), Halt>;

/// Starts to bring drives back that are out of the view or may be homes again, from core 0.
pub(super) fn start(core: &Rc<CoreState>) {
    let layout = &core.layout;
    let lacks = |drive: u16| core.view_says(core.number_of(drive), ViewDriveOnDisk::lacks);
    let is_wanted = |drive: &u16| layout.was_out(*drive) || lacks(*drive);
    let drives: Vec<u16> = (0..layout.drives()).filter(is_wanted).collect();
    let core = core.clone();
    if !drives.is_empty() {
        core.environment.clone().spawn(Box::pin(async move {
            for drive in drives {
                bring_back(&core, drive).await;
            }
        }));
    }
}

/// Brings one drive up to date, and gives up when the node closes or the drive fails.
pub(super) async fn bring_back(core: &Rc<CoreState>, drive: u16) {
    let number = core.number_of(drive);
    let conflict = move |there: Rc<CoreState>| async move { there.allocator(drive).has_conflict() };
    if core.call(core.layout.allocator_core(drive), conflict).await {
        give_up(core, drive, "two shards have the same extent on it".to_owned()).await;
        return;
    }
    if core.has_left(drive) && !core.change_view(Change::back(drive)).await {
        tracing::error!(drive = number, "a drive could not come back");
        return;
    }
    tracing::info!(drive = number, "a drive is back, and is brought up to date");
    let mut is_skipped = core.layout.geometry_of(0).planted.is(Bug::BelieveReturned);
    loop {
        let ended = match std::mem::take(&mut is_skipped) {
            true => Ok(()),
            false => shards_catch_up(core, drive).await,
        };
        match ended {
            Ok(()) => break,
            Err(Halt::Later(reason)) => {
                tracing::warn!(drive = number, reason, "a drive is not up to date yet; trying again");
                core.views.reasons.borrow_mut().insert(drive, format!("not up to date yet: {reason}"));
                core.environment.sleep(AGAIN_MS).await;
                if core.closing.get() || core.has_left(drive) {
                    return;
                }
            }
            Err(Halt::Never(reason)) => return give_up(core, drive, reason).await,
            Err(Halt::Over) => return,
        }
    }
    if become_home(core, drive).await {
        reached(Rare::DriveBack);
        core.views.reasons.borrow_mut().remove(&drive);
        tracing::info!(drive = number, "a drive is up to date, and a home again");
        core.share_in_time(drive);
        core.spread_in_time(drive);
        if core.view_leaves(number) {
            core.empty_in_time(drive);
        }
    }
}

/// Leaves a drive out of the view again.
async fn give_up(core: &Rc<CoreState>, drive: u16, reason: String) {
    let error = DeviceError { operation: "fill", offset: 0, length: 0, reason };
    // What is to be said of it is said by whoever drops the drive.
    let _ = core.lose(drive, error).await;
}

/// Makes the drive a home of its shards, whose logs stand still meanwhile.
async fn become_home(core: &Rc<CoreState>, drive: u16) -> bool {
    let shards = core.shards_to_return_to(drive);
    for shard in shards.iter().copied() {
        let pause = move |there: Rc<CoreState>| async move { there.shard(shard).log.pause().await };
        core.call_or(core.layout.core_of(shard), pause, |_, ()| ()).await;
    }
    let changed = core.change_view(Change::home(drive)).await;
    for shard in shards {
        core.send(core.layout.core_of(shard), Box::new(move |there| there.shard(shard).log.go_on()));
    }
    changed
}

/// Brings all shards up to date on a drive, on all cores at a time.
async fn shards_catch_up(core: &Rc<CoreState>, drive: u16) -> Done {
    let sums = core.layout.catch_up_of(drive);
    sums.begin(core.environment.monotonic_us());
    // The drive has to know what all of them need before any takes an extent of it.
    let homes = core.shards_to_return_to(drive);
    let shards: Vec<u16> = match core.is_striped() {
        // Each of them may have slices there.
        true => (0..core.layout.shards).collect(),
        false => homes.clone(),
    };
    let filled =
        |shard: u16| Filled { shard, drive, is_home: homes.contains(&shard), gone: core.gives_way_to(drive) };
    for shard in shards.iter().copied() {
        let tell = move |there: Rc<CoreState>| async move {
            let shard = there.shard(shard);
            shard.hold_back_again();
            shard.space().live_bytes
        };
        sums.add(PASSES * core.call_or(core.layout.core_of(shard), tell, |_, _| ()).await);
    }
    // And each gets what it needs there before a new set of another one may.
    for shard in shards.iter().copied() {
        let filled = filled(shard);
        let work = move |there: Rc<CoreState>| async move { CatchUp::of(&there, filled).add_members().await };
        core.call_or(core.layout.core_of(shard), work, |_, _| ()).await?;
    }
    let spares = core.spares_of_some();
    let on_core = |owner: usize| {
        let own = shards.iter().filter(|shard| core.layout.core_of(**shard) == owner);
        let (filled, spares): (Vec<Filled>, _) = (own.map(|shard| filled(*shard)).collect(), spares.clone());
        let work =
            move |there: Rc<CoreState>| async move { own_shards_catch_up(&there, filled, spares).await };
        core.call_or(owner, work, |_, _| ())
    };
    // All are waited for: what is left of one try would disturb the next.
    let ended = join_all((0..core.layout.cores).map(on_core)).await;
    ended.into_iter().collect::<Done>()?;
    sums.end();
    Ok(())
}

/// Brings shards of this core up to date, and before all else what `spares` says, one after the other.
async fn own_shards_catch_up(core: &Rc<CoreState>, filled: Vec<Filled>, spares: Range<usize>) -> Done {
    let shards: Vec<CatchUp> = filled.into_iter().map(|filled| CatchUp::of(core, filled)).collect();
    let whole: Vec<u16> = core.numbers_of_whole();
    for spare in spares {
        for shard in &shards {
            shard.copies_with(spare, &whole).await?;
        }
    }
    reached(Rare::UrgentHealed);
    for shard in shards {
        shard.run().await?;
    }
    Ok(())
}

impl CoreState {
    /// Returns how many more drives those objects may lose that lose the fewest, and come before others when a drive is
    /// brought up to date. It is empty when that drive is the only one that lacks something: all are alike then.
    fn spares_of_some(&self) -> Range<usize> {
        let lacking = self.views.latest.borrow().lacking(|number| self.place_of(number).is_some());
        let copies = usize::from(self.layout.geometry_of(0).copies);
        let is_skipped = lacking < 2 || self.layout.geometry_of(0).planted.is(Bug::HealInAnyOrder);
        0..if is_skipped { 0 } else { copies.saturating_sub(2) }
    }
}

/// What a drive is to hold of a shard.
struct Filled {
    shard: u16,
    /// The place of the drive.
    drive: u16,
    /// The drive is to be a home of the shard, and not only to hold striped slices of it.
    is_home: bool,
    /// The numbers of the drives whose place it takes.
    gone: Vec<u16>,
}

/// A shard on its core, and a drive that is to be its home again.
struct CatchUp {
    core: Rc<CoreState>,
    shard: Rc<Shard>,
    drive: u16,
    is_home: bool,
    gone: Vec<u16>,
    /// Copies that could not be judged in a pass, since no other one could be read.
    unjudged: Cell<u64>,
    /// Bytes of this pass that are to be gone through yet, as far as was known.
    left: Cell<u64>,
}

impl CatchUp {
    fn of(core: &Rc<CoreState>, Filled { shard, drive, is_home, gone }: Filled) -> Self {
        let (core, shard) = (core.clone(), core.shard(shard));
        Self { core, shard, drive, is_home, gone, unjudged: Cell::new(0), left: Cell::new(0) }
    }

    async fn run(self) -> Done {
        let number = self.core.number_of(self.drive);
        self.add_members().await?;
        if self.is_home {
            self.shard.roll().await?;
        }
        self.pass(1).await?;
        for number_of_pass in PASSES.. {
            // Whoever writes to a set from now on knows all of its members.
            self.add_members().await?;
            while self.is_home && self.shard.log.position().set.members.on(number).is_none() {
                self.go_on()?;
                self.shard.roll().await?;
            }
            self.shard.moves_ended().await;
            self.old_bodies_ended().await;
            let mended = self.core.repairs.get();
            self.pass(number_of_pass).await?;
            let is_last = number_of_pass >= PASSES + PASSES_MORE_MAX;
            let is_settled = self.unjudged.get() == 0 || is_last;
            if is_settled && self.core.repairs.get() == mended && self.lacking().is_empty() {
                break;
            }
            self.core.environment.sleep(LOOK_MS).await;
        }
        if !self.core.layout.geometry_of(0).planted.is(Bug::HomeWithoutRoot) {
            self.shard.seal().await.map_err(|error| Halt::Later(error.to_string()))?;
        }
        self.go_on()
    }

    /// Waits until all bodies have ended that have begun until now.
    async fn old_bodies_ended(&self) {
        if self.core.layout.geometry_of(0).planted.is(Bug::ForgetOldBodies) {
            return;
        }
        self.core.old_ones_ended(|core| &core.bodies).await;
    }

    /// Returns an error when the work has no end any more.
    fn go_on(&self) -> Done {
        let is_over = self.core.closing.get() || self.core.has_left(self.drive);
        if is_over { Err(Halt::Over) } else { Ok(()) }
    }

    /// Returns whether a drive never comes back, because this one has taken its place.
    fn gives_way(&self, earlier: u16) -> bool {
        self.gone.contains(&earlier)
    }

    /// Returns the sets that need a member on the drive.
    fn lacking(&self) -> Vec<SetPlace> {
        let number = self.core.number_of(self.drive);
        self.shard.sets_without((number, self.is_home), |earlier| self.gives_way(earlier))
    }

    /// Gives every set that needs one a member on the drive.
    async fn add_members(&self) -> Done {
        let number = self.core.number_of(self.drive);
        loop {
            let lacking = self.lacking();
            if lacking.is_empty() {
                self.shard.rest_sets();
                return Ok(self.shard.barrier().await?);
            }
            for place in lacking {
                self.go_on()?;
                let Ok(taken) = take(&self.core, self.drive, Class::Shrinking).await else {
                    return Err(Halt::Never("it has no room for what the others hold".to_owned()));
                };
                // It may have left meanwhile, and come back to another place: nothing is taken there.
                if let Err(halt) = self.go_on() {
                    give(&self.core, self.drive, taken.extent);
                    return Err(halt);
                }
                let member = Member { drive: number, extent: taken.extent };
                if !self.shard.add_member(place, member, |earlier| self.gives_way(earlier))? {
                    give(&self.core, self.drive, taken.extent);
                }
            }
        }
    }

    /// Reads every copy on the drive, and waits until those that are bad are written anew.
    async fn pass(&self, number: u64) -> Done {
        let sums = self.core.layout.catch_up_of(self.drive);
        self.left.set(self.shard.space().live_bytes);
        if number > PASSES {
            sums.add(self.left.get());
        }
        self.copies().await?;
        sums.done(self.left.take());
        Ok(())
    }

    /// Notes that bytes of objects were gone through.
    fn note(&self, bytes: u64) {
        let bytes = bytes.min(self.left.get());
        self.left.set(self.left.get() - bytes);
        self.core.layout.catch_up_of(self.drive).done(bytes);
    }

    /// Returns the place among the shard's drives.
    fn home(&self) -> usize {
        let number = self.core.number_of(self.drive);
        let place = self.shard.writer.drives.all().iter().position(|drive| drive.number.is(number));
        place.unwrap_or_else(|| panic!("drive {number} is to hold something of shard {}", self.shard.id))
    }

    async fn copies(&self) -> Done {
        self.unjudged.set(0);
        self.objects(&|_, _, _| true).await?;
        let (mut last, home) = (None, self.home());
        while let Some((part, mut reader)) = part_behind(&self.core, &self.shard, last.as_ref(), home) {
            self.go_on()?;
            self.read(async || reader.verified().await).await?;
            last = Some(part);
        }
        self.mends_ended().await
    }

    /// Does the same for the objects that are lost with the next drive but `spare`, while only these drives are whole.
    async fn copies_with(&self, spare: usize, whole: &[u16]) -> Done {
        self.objects(&|bucket, key, generation| {
            self.shard.spare_drives(BucketId(bucket), key, generation, whole) == Some(spare)
        })
        .await?;
        self.mends_ended().await
    }

    async fn mends_ended(&self) -> Done {
        while self.core.mending.get() > 0 {
            self.go_on()?;
            self.core.environment.sleep(LOOK_MS).await;
        }
        Ok(())
    }

    /// Goes through the objects that are meant, by bucket, key and generation.
    async fn objects(&self, is_meant: &dyn Fn(u32, &[u8], u64) -> bool) -> Done {
        let (mut place, home) = (Vec::new(), self.home());
        loop {
            let mut objects = objects_behind(&self.shard, &place);
            let Some((bucket, key, generation)) = objects.last() else { return Ok(()) };
            place = keys::encode(*bucket, key, *generation);
            objects.retain(|(bucket, key, generation)| is_meant(*bucket, key, *generation));
            let read = stream::iter(objects.into_iter().map(Ok)).try_for_each_concurrent(
                self.lanes(),
                async |(bucket, key, generation)| {
                    self.go_on()?;
                    self.object(BucketId(bucket), &key, generation, home).await
                },
            );
            read.await?;
            self.give_way().await;
        }
    }

    /// Returns whether less is done than has to be by now.
    fn is_late(&self) -> bool {
        let (sums, within_ms) = (self.core.layout.catch_up_of(self.drive), self.core.heal_within_ms.get());
        within_ms > 0 && sums.is_late(self.core.environment.monotonic_us(), within_ms)
    }

    /// Returns how many objects are gone through at a time.
    fn lanes(&self) -> usize {
        if self.is_late() || is_idle(&self.core, &self.shard) { LANES } else { 1 }
    }

    /// Lets others go first, if there is time.
    async fn give_way(&self) {
        self.core.environment.yield_now().await;
        if !self.is_late() {
            yield_to_others(&self.core, &self.shard).await;
        }
    }

    /// Reads piece after piece until there is none, each again while there is no buffer for it. What no copy
    /// seems to have is read in further passes, and is the scrub's to report.
    async fn read(&self, mut next: impl AsyncFnMut() -> crate::error::Result<Option<u64>>) -> Done {
        loop {
            match next().await {
                Ok(Some(bytes)) => self.note(bytes),
                Ok(None) => return Ok(()),
                Err(EngineError::Busy { .. }) => self.core.environment.sleep(LOOK_MS).await,
                Err(error) if error.is_of_copy() => {
                    self.unjudged.set(self.unjudged.get() + 1);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            self.go_on()?;
        }
    }

    /// Reads the copy of a version on a home.
    async fn object(&self, bucket: BucketId, key: &[u8], generation: u64, home: usize) -> Done {
        let (version, mut opened) = (Version::Generation(generation), None);
        self.read(async || match &mut opened {
            Some(Opened::Object(reader)) => Ok(reader.verified().await?.map(|piece| piece.verified_bytes())),
            Some(Opened::Marker(_) | Opened::Absent) => Ok(None),
            None => {
                let mut found = ObjectReader::open_on_drive(&self.core, bucket, key, version, home).await?;
                if let Opened::Object(reader) = &mut found {
                    reader.read_gently();
                }
                opened = Some(found);
                Ok(Some(0))
            }
        })
        .await
    }
}
