//! The opening of a shard on its core.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::join_all;

use super::error::OpenError;
use super::scrub;
use super::state::CoreState;
use super::surroundings::HomesOfCore;
use crate::extent::SetPlace;
use crate::format::Le32;
use crate::format::superblock::{ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::hook::Bug;
use crate::log::writer;
use crate::shard::{ChunkCopies, HomeRoot, RecoverError, Recovered, Shard, ShardParts, Source, age_of};

/// Recovers shard `id` and claims its extents. Returns when the homes' other shards have claimed theirs.
/// The shard writes nothing before [`begin_writing`].
///
/// # Errors
/// Returns an error when the shard can not be recovered, or when its extents also belong to another
/// shard.
pub(super) async fn open_shard(core: &Rc<CoreState>, id: u16) -> Result<(), OpenError> {
    let homes = core.layout.homes_of(id);
    // Nothing is in a seat yet.
    let drives: Vec<u16> =
        core.layout.drives_of(id).into_iter().filter(|place| !core.layout.seats().contains(place)).collect();
    let started = core.environment.monotonic_us();
    let recovered = match recover(core, id).await {
        Ok(recovered) => recovered,
        Err(error) => {
            give_up(core, &drives);
            return Err(OpenError::Recover { shard: id, error });
        }
    };
    let (objects, replayed) = (recovered.state.objects(), recovered.replayed);
    let elapsed_ms = (core.environment.monotonic_us() - started) / 1000;
    tracing::info!(shard = id, objects, replayed, elapsed_ms, "shard recovered");
    if let Err(error) = restore_roots(core, id, &recovered).await {
        give_up(core, &drives);
        return Err(error);
    }
    let places = recovered.state.space.places();
    let (geometry, settings) = core.layout.of_shard(id);
    let shard = Shard::new(ShardParts {
        id,
        geometry,
        settings,
        surroundings: Rc::new(HomesOfCore::new(core, id)),
        writer: core.writer_of(id).clone(),
        pool: core.pool.clone(),
        codec: core.codec.clone(),
        environment: core.environment.clone(),
        root: Some(recovered.root),
        recovered,
    });
    let scrub = scrub::load(core, &shard).await;
    shard.scrub.replace(scrub);
    core.shards.borrow_mut().insert(id, shard);
    let is_source = |drive: &u16| match homes.contains(drive) {
        true => core.layout.homes_in_view(id).contains(drive),
        false => !core.layout.was_out(*drive),
    };
    let (sources, others): (Vec<u16>, Vec<u16>) = drives.into_iter().partition(is_source);
    for drive in others {
        claim_later(core, drive, &places).await;
    }
    let claims = sources.into_iter().map(|drive| claim(core, drive, &places));
    join_all(claims).await.into_iter().collect()
}

/// Makes all claims on these drives fail, because a shard did not open.
fn give_up(core: &Rc<CoreState>, drives: &[u16]) {
    for drive in drives.iter().copied() {
        let give_up = move |core: &Rc<CoreState>| core.allocator(drive).give_up();
        core.send(core.layout.allocator_core(drive), Box::new(give_up));
    }
}

/// Gives each home the root that the shard was recovered from. A life that was cut off within an update
/// leaves some homes with the one before, and the space that this one names would be used again.
async fn restore_roots(core: &Rc<CoreState>, id: u16, recovered: &Recovered) -> Result<(), OpenError> {
    let root = recovered.root;
    let planted = core.layout.geometry_of(0).planted;
    if root.kind.get() != ROOT_CHECKPOINT || planted.is(Bug::LeaveRootsUneven) {
        return Ok(());
    }
    let place = recovered.state.space.sets.place(root.set.get());
    for HomeRoot { home, root: has } in core.layout.roots_of(id) {
        let drive = core.layout.homes_of(id)[home];
        let number = core.layout.geometry_of(drive).drive;
        let Some(extent) = place.members.on(number).filter(|_| age_of(&has) != age_of(&root)) else {
            continue;
        };
        let root = ShardRootOnDisk { extent: Le32::new(extent), ..root };
        let restore =
            move |core: Rc<CoreState>| async move { core.allocator(drive).restore_root(root).await };
        let restored = core.call(core.layout.allocator_core(drive), restore).await;
        restored.map_err(|error| OpenError::Device { drive: number, error })?;
    }
    Ok(())
}

/// Claims the extents that these sets have on a drive.
async fn claim(core: &Rc<CoreState>, drive: u16, places: &[SetPlace]) -> Result<(), OpenError> {
    let number = core.layout.geometry_of(drive).drive;
    let extents = places.iter().filter_map(|place| place.members.on(number)).collect();
    let claim = move |core: Rc<CoreState>| async move { core.allocator(drive).claim(extents).await };
    let claimed = core.call(core.layout.allocator_core(drive), claim).await;
    claimed.map_err(|conflict| match conflict.extent {
        u32::MAX => OpenError::Elsewhere,
        extent => OpenError::Conflict { drive: number, extent },
    })
}

/// Claims the extents that these sets have on a drive that is brought up to date: nobody takes an extent of it
/// before it is back.
async fn claim_later(core: &Rc<CoreState>, drive: u16, places: &[SetPlace]) {
    let number = core.layout.geometry_of(drive).drive;
    let extents = places.iter().filter_map(|place| place.members.on(number)).collect();
    let claim = move |core: Rc<CoreState>| async move { core.allocator(drive).note_claim(extents) };
    core.call(core.layout.allocator_core(drive), claim).await;
}

/// Starts the logs of this core's shards.
pub(super) fn begin_writing(core: &Rc<CoreState>) {
    for shard in core.own_shards() {
        shard.rest_sets();
        core.environment.spawn(Box::pin(writer::run(shard.clone())));
        shard.after_batch();
        // All that a checkpoint holds is in memory: a new one has every copy again.
        if core.wants_checkpoint.borrow_mut().remove(&shard.id) {
            shard.start_checkpoint();
        }
    }
}

async fn recover(core: &Rc<CoreState>, id: u16) -> Result<Recovered, RecoverError> {
    let salvage = core.salvage.borrow().get(&id).cloned();
    let (geometry, settings) = core.layout.of_shard(id);
    // Settings may let a log grow without an end, but no log is longer than its drive.
    let log_bytes = settings.checkpoint_after_bytes.min(geometry.size_bytes());
    let opening = core.layout.opening.shard(log_bytes);
    let told = |step| opening.note(step);
    // A drive that is brought up to date is never a source.
    let drives = core.writer_of(id).drives.first(core.layout.homes_in_view(id).len());
    let source = Source {
        shard: id,
        geometry: &geometry,
        settings: &settings,
        drives: &drives,
        pool: &core.pool,
        salvage: salvage.as_deref(),
        told: Some(&told),
        makes_alike: true,
        copies: ChunkCopies::UntilWhole,
        noticed: RefCell::default(),
    };
    let recovered = source.recover(&core.layout.roots_of(id)).await?;
    let noticed = source.noticed.take();
    opening.finish();
    for error in &noticed {
        tracing::warn!(shard = id, %error, "a copy of the checkpoint is damaged; another one is whole");
    }
    if !noticed.is_empty() {
        core.wants_checkpoint.borrow_mut().insert(id);
    }
    Ok(recovered)
}
