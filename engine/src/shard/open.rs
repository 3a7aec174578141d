//! A shard comes to life on its core.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Shard;
use super::recover::{RecoverError, Recovered, Source};
use crate::format::superblock::ROOT_CHECKPOINT;
use crate::hook::Bug;
use crate::log::queue::LogQueue;
use crate::log::writer;
use crate::node::OpenError;
use crate::node::scrub;
use crate::node::state::CoreState;
use crate::sync::locks::KeyLocks;

impl Shard {
    /// Recovers shard `id`, claims its extents, and starts its log; resolves when the drive's other shards have
    /// claimed theirs.
    ///
    /// # Errors
    /// When it can not be recovered, or its extents are another shard's too.
    pub async fn open(core: &Rc<CoreState>, id: u16) -> Result<(), OpenError> {
        let drive = core.layout.drive_of(id);
        let started = core.environment.monotonic_us();
        let recovered = match recover(core, id, drive).await {
            Ok(recovered) => recovered,
            Err(error) => {
                core.send(core.layout.keeper_core(drive), Box::new(move |core| core.keeper(drive).give_up()));
                return Err(OpenError::Recover { shard: id, error });
            }
        };
        let (objects, replayed) = (recovered.state.objects(), recovered.replayed);
        let elapsed_ms = (core.environment.monotonic_us() - started) / 1000;
        tracing::info!(shard = id, objects, replayed, elapsed_ms, "shard recovered");
        let extents = owned(&recovered);
        let shard = Rc::new(build(core, id, drive, recovered));
        let scrub = scrub::load(core, &shard).await;
        shard.scrub.replace(scrub);
        core.shards.borrow_mut().insert(id, shard.clone());
        let claim = move |core: Rc<CoreState>| async move { core.keeper(drive).claim(extents).await };
        let claimed = core.call(core.layout.keeper_core(drive), claim).await;
        claimed.map_err(|conflict| match conflict.extent {
            u32::MAX => OpenError::Elsewhere,
            extent => OpenError::Conflict { drive, extent },
        })?;
        core.environment.spawn(Box::pin(writer::run(shard.clone())));
        shard.after_batch();
        Ok(())
    }
}

async fn recover(core: &Rc<CoreState>, id: u16, drive: u16) -> Result<Recovered, RecoverError> {
    let root = core.layout.superblocks[usize::from(drive)].root_of(id).ok_or(RecoverError::NoRoot(id))?;
    let device = &core.drives[usize::from(drive)].device;
    let geometry = core.layout.geometry_of(drive);
    let salvage = core.salvage.borrow().get(&id).cloned();
    let source = Source { shard: id, geometry, device, pool: &core.pool, salvage: salvage.as_deref() };
    source.recover(root).await
}

fn owned(recovered: &Recovered) -> Vec<u32> {
    let state = &recovered.state;
    state.logs.all().chain(state.slices.extents()).chain(state.checkpoint_extents.iter().copied()).collect()
}

fn build(core: &Rc<CoreState>, id: u16, drive: u16, recovered: Recovered) -> Shard {
    let from = &core.drives[usize::from(drive)];
    let root = core.layout.superblocks[usize::from(drive)].root_of(id);
    // Nobody wrote before the first life.
    let begun = core.layout.epoch == 1 || core.layout.geometry_of(drive).planted.is(Bug::ContinueTornLog);
    Shard {
        id,
        drive,
        geometry: *core.layout.geometry_of(drive),
        core: Rc::downgrade(core),
        device: from.device.clone(),
        flush: from.flush.clone(),
        pool: core.pool.clone(),
        environment: core.environment.clone(),
        state: RefCell::new(recovered.state),
        log: LogQueue::new(recovered.position, begun, recovered.by_copy),
        locks: KeyLocks::default(),
        maintaining: KeyLocks::default(),
        growing: KeyLocks::default(),
        checkpoint_root: Cell::new(root.filter(|root| root.kind.get() == ROOT_CHECKPOINT)),
        checkpoint_wanted: Cell::new(false),
        checkpoint_peak: Cell::default(),
        clean_wanted: Cell::new(false),
        held_back: Cell::default(),
        reclaiming: KeyLocks::default(),
        hurried: Cell::new(0),
        dead_in_vain: Cell::new(0),
        unreadable: RefCell::default(),
        immovable: RefCell::default(),
        given_back: Cell::new(0),
        scrub: RefCell::default(),
    }
}
