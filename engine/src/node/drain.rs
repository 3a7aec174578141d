//! The operator's word that a drive is to be emptied, or is to stay.

use std::rc::Rc;

use super::core::Core;
use super::empty::DrainError;
use super::state::CoreState;
use super::views::Change;

impl Core {
    /// Begins to move all that a drive holds to others. When that has ended, the drive leaves the view for good.
    /// [`Self::drives`] tells how far it is.
    ///
    /// # Errors
    /// Returns [`DrainError`]. The drive stays then.
    pub async fn drain(&self, number: u16) -> Result<(), DrainError> {
        let drain = move |core: Rc<CoreState>| async move { core.begin_drain(number).await };
        self.state().call_or(0, drain, |_, _| ()).await
    }

    /// Has a drive stay that was being emptied. What was moved stays where it is.
    ///
    /// # Errors
    /// Returns [`DrainError`].
    pub async fn stop_drain(&self, number: u16) -> Result<(), DrainError> {
        let stop = move |core: Rc<CoreState>| async move {
            let place = core.place_of(number).ok_or(DrainError::Unknown)?;
            if !core.view_leaves(number) {
                return Err(DrainError::NotLeaving);
            }
            let change = Change { leaving: Some((place, false)), ..Change::default() };
            if core.change_view(change).await { Ok(()) } else { Err(DrainError::NotNow) }
        };
        self.state().call_or(0, stop, |_, _| ()).await
    }
}
