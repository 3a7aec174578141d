//! What a shard does to bring a drive up to date that came back.
//!
//! Invariants:
//! - A set that was made while the drive was away gets a member on it, first in memory, so that what is
//!   written from then on is written there too, and then by a record. What the member lacks is written by
//!   whoever reads the drive's copy and finds it bad.
//! - The drive can read the whole log alone once the log has rolled to a set that has it, and a checkpoint
//!   behind that is on it.

use std::rc::Rc;

use super::checkpoint::CheckpointError;
use super::instance::Shard;
use super::maintenance::Task;
use crate::error::{EngineError, Result};
use crate::extent::sets::KIND_CHECKPOINT;
use crate::extent::{Member, SetPlace};

impl Shard {
    /// Tells the homes again what the shard needs, since one of them has not heard it.
    pub(crate) fn hold_back_again(self: &Rc<Self>) {
        self.upkeep.forget_held_back();
        self.hold_back();
    }

    /// Waits until the cleaner and the compaction have ended that run now.
    pub(crate) async fn moves_ended(&self) {
        drop(self.upkeep.turn(Task::Compaction).await);
        drop(self.upkeep.turn(Task::Cleaning).await);
    }

    /// Returns the sets that have no member on a drive, beside those of checkpoints, which the next one
    /// replaces.
    pub(crate) fn sets_without(&self, drive: u16) -> Vec<SetPlace> {
        let state = self.state.borrow();
        let lacking =
            |(place, kind): &(SetPlace, u8)| *kind != KIND_CHECKPOINT && place.members.on(drive).is_none();
        state.space.sets.all().filter(lacking).map(|(place, _)| place).collect()
    }

    /// Adds a member to a set, in place of those on drives that `give_way`, and queues the record of it. Returns
    /// false when the set is not there any more.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub(crate) fn add_member(
        &self,
        old: SetPlace,
        member: Member,
        give_way: impl Fn(u16) -> bool,
    ) -> Result<bool> {
        let added = self.state.borrow_mut().space.sets.add_member(old, member, give_way);
        let Some((place, kind, is_named)) = added else { return Ok(false) };
        if is_named {
            self.say_set(place, kind)?;
        }
        Ok(true)
    }

    /// Makes the log continue in a new set.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more, or there is no space.
    pub(crate) async fn roll(self: &Rc<Self>) -> Result<()> {
        self.log.roll_next();
        self.fence().await
    }

    /// Makes everything that was written durable, and writes a checkpoint on all homes.
    ///
    /// # Errors
    /// Returns an error when there is no space or the device fails.
    pub(crate) async fn seal(self: &Rc<Self>) -> std::result::Result<(), CheckpointError> {
        self.writer.flush().await?;
        if self.log.has_failed() {
            return Err(EngineError::WritesStopped { shard: self.id }.into());
        }
        self.checkpoint().await
    }
}
