//! Giving a drive its share of old stripes while the node runs, by the operator's word.
//!
//! Invariants:
//! - The view says that the drive gets it, so that what was begun goes on after a restart, and behind a failure.
//! - Members are copied, made durable and only then named, as for a drive that is emptied ([`super::moves`]).

use std::fmt;
use std::rc::Rc;

use super::core::Core;
use super::moves::{AGAIN_MS, Moved, Stop};
use super::state::CoreState;
use super::views::Change;
use crate::format::superblock::ViewDriveOnDisk;
use crate::hook::{Rare, reached};

/// The reason why a drive does not get a share of old stripes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpreadError {
    /// The set has no drive of this number, or it is not here.
    Unknown,
    /// The set has no stripes.
    NotStriped,
    /// The drive is out of the view.
    IsOut,
    /// It is being emptied.
    IsLeaving,
    /// It gets no share of old stripes, so that there is nothing to stop.
    NotSpreading,
    /// The view can not be changed now.
    NotNow,
}

impl fmt::Display for SpreadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "the server has no drive of this number",
            Self::NotStriped => {
                "the set has no stripes: in a mirror an added drive gets its share of everything by itself"
            }
            Self::IsOut => "the drive is out of the view",
            Self::IsLeaving => "the drive is being emptied",
            Self::NotSpreading => "no old stripes are moved to the drive",
            Self::NotNow => "the view can not be changed now",
        })
    }
}

impl std::error::Error for SpreadError {}

impl Core {
    /// Begins to move stripes that are there to a drive, until it has its share of them by its size.
    /// [`Self::drives`] tells how far it is.
    ///
    /// # Errors
    /// Returns [`SpreadError`].
    pub async fn spread(&self, number: u16) -> Result<(), SpreadError> {
        let spread = move |core: Rc<CoreState>| async move { core.begin_spread(number).await };
        self.state().call_or(0, spread, |_, _| ()).await
    }

    /// Ends what [`Self::spread`] began. What was moved stays where it is.
    ///
    /// # Errors
    /// Returns [`SpreadError`].
    pub async fn stop_spread(&self, number: u16) -> Result<(), SpreadError> {
        let stop = move |core: Rc<CoreState>| async move {
            let place = core.place_of(number).ok_or(SpreadError::Unknown)?;
            match core.view_spreads(number) {
                true => core.set_spreading(place, false).await,
                false => Err(SpreadError::NotSpreading),
            }
        };
        self.state().call_or(0, stop, |_, _| ()).await
    }
}

impl CoreState {
    async fn begin_spread(self: Rc<Self>, number: u16) -> Result<(), SpreadError> {
        let place = self.place_of(number).ok_or(SpreadError::Unknown)?;
        if !self.is_striped() {
            return Err(SpreadError::NotStriped);
        }
        if self.has_left(place) {
            return Err(SpreadError::IsOut);
        }
        if self.view_leaves(number) {
            return Err(SpreadError::IsLeaving);
        }
        if !self.view_spreads(number) {
            self.set_spreading(place, true).await?;
            tracing::info!(drive = number, "a drive gets its share of old stripes");
        }
        self.spread_in_time(place);
        Ok(())
    }

    async fn set_spreading(self: &Rc<Self>, place: u16, spreads: bool) -> Result<(), SpreadError> {
        let change = Change { spreading: Some((place, spreads)), ..Change::default() };
        if self.change_view(change).await { Ok(()) } else { Err(SpreadError::NotNow) }
    }

    /// Returns whether a drive gets its share of old stripes, as core 0 knows.
    fn view_spreads(&self, number: u16) -> bool {
        self.view_says(number, ViewDriveOnDisk::spreads)
    }

    /// Starts the task that moves old stripes to a drive if the view says that it gets them, and there is none yet.
    /// One that is brought up to date gets its task behind that.
    pub(super) fn spread_in_time(self: &Rc<Self>, place: u16) {
        let is_wanted = self.is_whole(place) && self.view_spreads(self.number_of(place));
        if is_wanted {
            let core = self.clone();
            self.start_once(place, |views| &views.spreading, async move { core.spread_to(place).await });
        }
    }

    /// Moves old stripes to a drive, and gives up when the node closes, the drive leaves, or it is to get no more.
    async fn spread_to(self: &Rc<Self>, place: u16) {
        let number = self.number_of(place);
        while !self.closing.get() && self.is_whole(place) && self.view_spreads(number) {
            let reason = match self.spread_once(place).await {
                Ok(()) if self.set_spreading(place, false).await.is_ok() => {
                    reached(Rare::StripesSpread);
                    tracing::info!(drive = number, "a drive has its share of old stripes");
                    break;
                }
                Ok(()) => "the view could not be changed".to_owned(),
                Err(Stop::Over) if !self.view_spreads(number) => break,
                // A shard may write no more for the rest of this life.
                Err(Stop::Over) => "interrupted".to_owned(),
                Err(Stop::Later(reason)) => reason,
            };
            tracing::warn!(
                drive = number,
                reason,
                "a drive has not got its share of stripes yet; trying again"
            );
            let text = format!("has not got its share of stripes yet: {reason}");
            self.views.reasons.borrow_mut().insert(place, text);
            self.environment.sleep(AGAIN_MS).await;
        }
        self.layout.catch_up_of(place).end();
        self.views.reasons.borrow_mut().remove(&place);
    }

    async fn spread_once(self: &Rc<Self>, place: u16) -> Moved {
        let (sums, number) = (self.layout.catch_up_of(place), self.number_of(place));
        sums.begin(self.environment.monotonic_us());
        let extent_bytes = u64::from(self.layout.geometry_of(place).extent_bytes);
        for shard in 0..self.layout.shards {
            let sizes = self.sizes_of_whole().await;
            let count = move |there: Rc<Self>| async move {
                there.shard(shard).sets_to_spread(number, &sizes).len() as u64
            };
            sums.add(self.call(self.layout.core_of(shard), count).await * extent_bytes);
        }
        for shard in 0..self.layout.shards {
            loop {
                let _turn = self.turn_to_move().await;
                if self.closing.get() || !self.view_spreads(number) || !self.is_whole(place) {
                    return Err(Stop::Over);
                }
                let moved = self.spread_some(shard, place, self.sizes_of_whole().await).await?;
                sums.done(moved * extent_bytes);
                if moved == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns the extents of the drives that are whole and stay, with their numbers.
    async fn sizes_of_whole(self: &Rc<Self>) -> Vec<(u16, u64)> {
        let places: Vec<u16> = self.places_that_stay().collect();
        let mut sizes = Vec::new();
        for place in places {
            sizes.push((self.number_of(place), u64::from(self.room_of(place).await.extents)));
        }
        sizes
    }
}
