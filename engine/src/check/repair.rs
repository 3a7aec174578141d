//! The repair of what a check found.
//!
//! Invariants:
//! - Without `accept_loss`, only superblock copies are written, and only with what two copies agree
//!   on.
//! - With `accept_loss`, the set is opened by the server's own code, which leaves out what is
//!   damaged, and is closed again. Each shard then has a new checkpoint of what is left. Until that
//!   checkpoint is in force, the drive is exactly as damaged as before.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::{ARENA_BYTES, CheckError, Medium, Outcome, superblock};
use crate::device::DeviceError;
use crate::executor::Simulator;
use crate::extent::allocator::CopyWriter;
use crate::format::superblock::SuperblockOnDisk;
use crate::node::cache::ReadCache;
use crate::node::layout::Layout;
use crate::node::new_drive::NoSeats;
use crate::node::open::{CoreParts, choose_drives, next_epoch, only};
use crate::node::{Core, OpenError};
use crate::ring::Pool;
use crate::ring::mailbox::{Mailbox, Notifier};

/// The reason why a repair ended early.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("the drives do not open without what is damaged: {0}")]
    Open(#[from] OpenError),
    #[error("what is left could not be written as a new checkpoint: {0}")]
    Close(#[from] crate::EngineError),
    #[error("{0}")]
    Device(#[from] DeviceError),
    #[error("{count} findings can not be repaired, and the set opens only whole: restore it from a copy")]
    Beyond { count: u64 },
}

/// The result of a repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Number of drives whose superblock copies were written anew.
    pub superblocks: u64,
    /// Set when the set was opened without what is damaged.
    pub went_on: bool,
}

/// Repairs what `outcome`, from a check of `media` just before, found.
///
/// # Errors
/// Returns an error when a drive fails, when damage is beyond repair and `accept_loss` is set, or
/// when the rest does not open.
pub(super) async fn repair(
    media: &[Medium],
    outcome: Outcome,
    accept_loss: bool,
) -> Result<Repaired, RepairError> {
    let mut done = Repaired::default();
    let lossy = accept_loss && outcome.losses > 0;
    if accept_loss && outcome.beyond_repair > 0 {
        return Err(RepairError::Beyond { count: outcome.beyond_repair });
    }
    let pool = Pool::new(ARENA_BYTES).map_err(CheckError::Memory)?;
    let mut blocks = Vec::new();
    for medium in media {
        let wanted = superblock::wanted(medium, &pool).await?;
        if wanted.differs && (wanted.agreed || lossy) {
            // The copies that were read may be in the device's cache alone.
            medium.device.flush().await?;
            let (device, written_bytes, kept) = (&*medium.device, &Cell::new(0), &Cell::new(None));
            CopyWriter { device, pool: &pool, written_bytes, kept }.write_all(&wanted.block).await?;
            done.superblocks += 1;
        }
        blocks.push((medium, wanted.block));
    }
    if lossy {
        let members: Vec<_> = blocks.iter().map(|(medium, block)| (medium.path.as_path(), block)).collect();
        // A drive that is out of the view takes no part.
        let kept = choose_drives(&members, &[]).map_err(CheckError::Open)?.kept;
        let mut blocks = only(blocks, &kept);
        blocks.sort_by_key(|(_, block)| block.drive_number.get());
        open_and_close(blocks, outcome)?;
        done.went_on = true;
    }
    Ok(done)
}

/// A notifier that does nothing, because a single core has no others to notify.
struct Alone;

impl Notifier for Alone {
    fn notify(&self, _: usize) {}
}

/// Opens and closes the node without what is damaged. The node needs tasks and a clock but must not
/// wait for anything real, so the simulator's executor runs it.
fn open_and_close(blocks: Vec<(&Medium, SuperblockOnDisk)>, outcome: Outcome) -> Result<(), RepairError> {
    let (media, blocks): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    let epoch = next_epoch(blocks.iter());
    let sim = Simulator::new(u64::from(epoch));
    let mut layout = Layout::new(1, blocks, epoch, usize::MAX);
    // The clock here is none by which a retention may end, so no shard may note its time.
    layout.limit_clock_step(0);
    let layout = Arc::new(layout);
    let parts = CoreParts {
        environment: Rc::new(sim.clone()),
        pool: Pool::new(ARENA_BYTES).map_err(CheckError::Memory)?,
        cache: ReadCache::new(0),
        devices: media.iter().map(|medium| medium.device.clone()).collect(),
        seats: Rc::new(NoSeats),
        notifier: Rc::new(Alone),
    };
    let mailbox = Mailbox::mesh(1, 1).pop().unwrap_or_else(|| panic!("a mesh of one has one mailbox"));
    let state = parts.assemble(0, layout, mailbox);
    let salvage = outcome.salvage.into_iter().map(|(shard, salvage)| (shard, Rc::new(salvage)));
    *state.salvage.borrow_mut() = salvage.collect();
    let core = Core::simulated(state);
    let ended = sim.block_on(async move {
        core.open().await?;
        core.close().await?;
        Ok(())
    });
    sim.kill();
    ended
}
