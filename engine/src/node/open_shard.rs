//! The opening of a shard on its core.

use std::rc::Rc;

use super::error::OpenError;
use super::scrub;
use super::state::CoreState;
use super::surroundings::DriveOfCore;
use crate::log::writer;
use crate::shard::{RecoverError, Recovered, Shard, ShardParts, Source};

/// Recovers shard `id`, claims its extents, and starts its log. Returns when the drive's other
/// shards have claimed theirs.
///
/// # Errors
/// Returns an error when the shard can not be recovered, or when its extents also belong to another
/// shard.
pub(super) async fn open_shard(core: &Rc<CoreState>, id: u16) -> Result<(), OpenError> {
    let drive = core.layout.drive_of(id);
    let started = core.environment.monotonic_us();
    let recovered = match recover(core, id, drive).await {
        Ok(recovered) => recovered,
        Err(error) => {
            core.send(
                core.layout.allocator_core(drive),
                Box::new(move |core| core.allocator(drive).give_up()),
            );
            return Err(OpenError::Recover { shard: id, error });
        }
    };
    let (objects, replayed) = (recovered.state.objects(), recovered.replayed);
    let elapsed_ms = (core.environment.monotonic_us() - started) / 1000;
    tracing::info!(shard = id, objects, replayed, elapsed_ms, "shard recovered");
    let places = recovered.state.space.places();
    let extents = places.into_iter().map(|place| place.extent).collect();
    let from = &core.drives[usize::from(drive)];
    let shard = Shard::new(ShardParts {
        id,
        drive,
        geometry: *core.layout.geometry_of(drive),
        settings: *core.layout.settings_of(drive),
        surroundings: Rc::new(DriveOfCore::new(core, drive)),
        device: from.device.clone(),
        flush: from.flush.clone(),
        pool: core.pool.clone(),
        environment: core.environment.clone(),
        root: core.layout.superblocks[usize::from(drive)].root_of(id),
        recovered,
    });
    let scrub = scrub::load(core, &shard).await;
    shard.scrub.replace(scrub);
    core.shards.borrow_mut().insert(id, shard.clone());
    let claim = move |core: Rc<CoreState>| async move { core.allocator(drive).claim(extents).await };
    let claimed = core.call(core.layout.allocator_core(drive), claim).await;
    claimed.map_err(|conflict| match conflict.extent {
        u32::MAX => OpenError::Elsewhere,
        extent => OpenError::Conflict { drive, extent },
    })?;
    core.environment.spawn(Box::pin(writer::run(shard.clone())));
    shard.after_batch();
    Ok(())
}

async fn recover(core: &Rc<CoreState>, id: u16, drive: u16) -> Result<Recovered, RecoverError> {
    let root = core.layout.superblocks[usize::from(drive)].root_of(id).ok_or(RecoverError::NoRoot(id))?;
    let salvage = core.salvage.borrow().get(&id).cloned();
    let geometry = core.layout.geometry_of(drive);
    // Settings may let a log grow without an end, but no log is longer than its drive.
    let log_bytes = core.layout.settings_of(drive).checkpoint_after_bytes.min(geometry.size_bytes());
    let opening = core.layout.opening.shard(log_bytes);
    let told = |step| opening.note(step);
    let source = Source {
        shard: id,
        geometry,
        settings: core.layout.settings_of(drive),
        device: &core.drives[usize::from(drive)].device,
        pool: &core.pool,
        salvage: salvage.as_deref(),
        told: Some(&told),
    };
    let recovered = source.recover(root).await?;
    opening.finish();
    Ok(recovered)
}
