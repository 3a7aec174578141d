//! Drives that leave the view by an operator's word, while the node runs.

use std::fmt;
use std::rc::Rc;

use super::core::Core;
use super::state::CoreState;
use super::views::Change;

/// The reason that is shown of a drive that left by an operator's word.
const REASON: &str = "taken offline by the operator";

/// The reason why a drive can not be taken offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineError {
    /// The set has no drive of this number, or it was not given to this start.
    Unknown,
    /// The view is without it already.
    IsOut,
    /// The node can not go on without it: the set has no redundancy, or too many others are out or not up to date.
    IsNeeded,
    /// Without it no large object can be stored, since one more loss would lose it.
    StopsLarge,
    /// It is out of the view, and about to come back.
    IsReturning,
    /// Another drive failed meanwhile, and no view can follow the one that was begun.
    Failed,
}

impl fmt::Display for OfflineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "the server has no drive of this number",
            Self::IsOut => "the drive is out of the view already",
            Self::IsNeeded => {
                "the node can not go on without the drive: nothing is kept elsewhere, or other drives are out or not up \
                 to date yet"
            }
            Self::StopsLarge => {
                "without the drive large objects could not be stored, since one more loss would lose them: puts of more \
                 than 64 KiB would be answered with 503"
            }
            Self::IsReturning => "the drive is about to come back into the view",
            Self::Failed => "another drive failed meanwhile, and shards may have stopped writing",
        })
    }
}

impl std::error::Error for OfflineError {}

impl Core {
    /// Takes a drive out of the view. When this returns, the view without it is in use on every drive that stays,
    /// nothing is sent to the drive any more, and it may be pulled. Returns the number of that view. The drive comes
    /// back as one that failed does. With `force` it leaves also where no large objects can be stored behind that.
    ///
    /// # Errors
    /// Returns [`OfflineError`]. The drive stays, unless a change that was begun could not be ended.
    pub async fn take_offline(&self, number: u16, force: bool) -> Result<(u32, u32), OfflineError> {
        let state = self.state();
        let drive = state.place_of(number).ok_or(OfflineError::Unknown)?;
        let change = move |core: Rc<CoreState>| async move { core.leave_by_word(drive, force).await };
        // A change that has begun goes on, even if nobody waits for it any more.
        state.call_or(0, change, |_, _| ()).await
    }
}

impl CoreState {
    /// Changes the view on core 0.
    async fn leave_by_word(self: Rc<Self>, drive: u16, force: bool) -> Result<(u32, u32), OfflineError> {
        let _turn = self.turn_to_change().await;
        if self.has_left(drive) {
            return Err(if self.is_out(drive) { OfflineError::IsOut } else { OfflineError::IsReturning });
        }
        if !self.layout.is_redundant() || !self.views.may_change.get() {
            return Err(OfflineError::IsNeeded);
        }
        let change = Change::default().without(drive);
        if self.next_view(&change).is_none() {
            return Err(OfflineError::IsNeeded);
        }
        let shape = self.layout.geometry_of(0).shape;
        let left = self.places_in_view().filter(|other| *other != drive).count();
        if shape.is_striped() && left <= shape.data() && !force {
            return Err(OfflineError::StopsLarge);
        }
        let Some((epoch, counter)) = self.carry_out(change).await else {
            let may_go_on = self.views.may_change.get();
            return Err(if may_go_on { OfflineError::IsNeeded } else { OfflineError::Failed });
        };
        self.views.reasons.borrow_mut().insert(drive, REASON.to_owned());
        let number = self.number_of(drive);
        tracing::warn!(drive = number, epoch, counter, "a drive left the view, as the operator asked");
        Ok((epoch, counter))
    }
}
