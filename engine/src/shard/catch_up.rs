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
use crate::extent::sets::{KIND_CHECKPOINT, KIND_SLICES};
use crate::extent::{Member, SetPlace};
use crate::hook::Bug;
use crate::types::BucketId;

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

    /// Returns the sets that need a member on a drive, which is to be a `home` of the shard or is for striped slices
    /// alone, beside those of checkpoints, which the next one replaces. A striped set needs one if a member of it is to
    /// `give_way`, or if it was made when too few drives were there.
    pub(crate) fn sets_without(
        &self,
        (drive, home): (u16, bool),
        give_way: impl Fn(u16) -> bool,
    ) -> Vec<SetPlace> {
        let (state, shape) = (self.state.borrow(), self.geometry.shape);
        let is_meant = |place: &SetPlace, kind: u8| match kind {
            KIND_CHECKPOINT => false,
            KIND_SLICES if shape.is_striped() => {
                place.members.count() < shape.members()
                    || place.members.iter().any(|other| give_way(other.drive))
            }
            _ => home,
        };
        let lacking =
            |(place, kind): &(SetPlace, u8)| place.members.on(drive).is_none() && is_meant(place, *kind);
        state.space.sets.all().filter(lacking).map(|(place, _)| place).collect()
    }

    /// Returns how many more drives a version survives the loss of, while only these are whole, by their numbers in the
    /// view. It is `None` when there is no such version.
    pub(crate) fn spare_drives(
        &self,
        bucket: BucketId,
        key: &[u8],
        generation: u64,
        whole: &[u16],
    ) -> Option<usize> {
        let state = self.state.borrow();
        let entry = state.version(bucket, key, generation)?;
        let sets = &state.space.sets;
        let spare = |place: &SetPlace, needed: usize| {
            let members = place.members.iter().filter(|member| whole.contains(&member.drive));
            members.count().saturating_sub(needed)
        };
        let of_records = spare(&sets.place(entry.location.extent), 1);
        let slices = sets.places_of(&entry.segments);
        let of_slices = slices.all().iter().map(|place| spare(place, self.geometry.shape.data()));
        of_slices.chain([of_records]).min()
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
        if is_named && !self.geometry.planted.is(Bug::FreeMemberEarly) {
            self.say_set(place, kind)?;
        }
        Ok(true)
    }

    /// Lets sets rest whose members are moved, and striped sets that lack a drive, while a set that is made now would
    /// lack none: what is stored from now on goes where it has all its parity.
    pub(crate) fn rest_sets(&self) {
        let (shape, drives) = (self.geometry.shape, &self.writer.drives);
        let needed = shape.members().min(drives.all_places().len());
        let moving = self.moving.borrow();
        let mut state = self.state.borrow_mut();
        let super::accounts::Accounts { sets, slices, .. } = &mut state.space;
        slices.rest(|set| {
            let place = sets.place(set);
            let here =
                || (0..shape.members()).filter(|member| drives.member(place, *member).is_some()).count();
            moving.contains(&set) || shape.is_striped() && here() < needed
        });
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
        self.writer.flush_slices(&self.places()).await?;
        if self.log.has_failed() {
            return Err(EngineError::WritesStopped { shard: self.id }.into());
        }
        self.checkpoint().await
    }
}
