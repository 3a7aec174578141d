//! The report of a node's drives: what part each has in the view, and how far those are that are brought up
//! to date.

use std::path::PathBuf;

use super::core::Core;
use super::progress::CatchUpProgress;
use super::state::CoreState;
use crate::device::watch::Part;
use crate::error::Result;
use crate::format::superblock::{DRIVE_EMPTIED, DRIVE_GONE, ViewDriveOnDisk, ViewOnDisk};

/// The part that a drive has in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveState {
    /// It is in the view, and holds what it was given.
    In,
    /// It was away or is new, gets all that is written, and is brought up to date.
    CatchingUp,
    /// It is in the view, and what it holds is moved to others.
    Leaving,
    /// It was given to this start, and is out of the view: it failed since, or could not come back.
    Left,
    /// It is out of the view, and was not there when the node started.
    Absent,
    /// It is out of the view for good, by the operator's word, or since another one has taken its place.
    Gone,
    /// All that it held was moved to other drives, and it never comes back.
    Emptied,
}

/// One drive of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveReport {
    /// Its number in the view, which no other drive ever gets.
    pub number: u16,
    pub uuid: [u8; 16],
    pub state: DriveState,
    /// The number of the drive whose place it has taken.
    pub replaces: Option<u16>,
    /// The reason why it left, or is not up to date yet, if that is known.
    pub reason: Option<String>,
    /// Where it is, if it was given to this start.
    pub path: Option<PathBuf>,
    /// Bytes in its extents, and how many of these are in extents that nobody has. Both are 0 for a drive
    /// that is not there.
    pub size_bytes: u64,
    pub free_bytes: u64,
    /// Number of shards that it is a home of.
    pub shards: u16,
    /// It gets its share of stripes that were there before it.
    pub spreads: bool,
    /// Set while it is brought up to date, is emptied, or gets its share of old stripes.
    pub catch_up: Option<CatchUpProgress>,
}

/// All drives of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrivesReport {
    /// Epoch and counter of the newest view.
    pub view: (u32, u32),
    /// Number of copies that the set was formatted for.
    pub copies: u8,
    /// Over how many drives large objects are striped, or 1 where they are copied too.
    pub data_members: u8,
    /// The drives that were ever in the set, ascending by number.
    pub drives: Vec<DriveReport>,
    /// Live bytes by how many more drives may be lost before they are: the first are lost with the next one.
    pub bytes_by_losses: Vec<u64>,
}

/// What core 0 knows of the views.
struct Known {
    view: Box<ViewOnDisk>,
    reasons: Vec<(u16, String)>,
}

impl Core {
    /// Returns the drives of the node's set, those that are not there too.
    ///
    /// # Errors
    /// Returns the same errors as [`Core::space`].
    pub async fn drives(&self) -> Result<DrivesReport> {
        let state = self.state();
        let known = state.call(0, |core| async move { core.known() }).await;
        let mut drives = Vec::new();
        for slot in known.view.known().iter() {
            drives.push(self.drive(&known.view.drives[usize::from(slot)], &known).await);
        }
        drives.sort_by_key(|drive| drive.number);
        let bytes_by_losses = self.space().await?.bytes_by_losses;
        let copies = state.layout.superblocks[0].parity_members + 1;
        Ok(DrivesReport {
            view: known.view.number(),
            copies,
            data_members: state.layout.superblocks[0].data_members,
            drives,
            bytes_by_losses: bytes_by_losses[..usize::from(copies)].to_vec(),
        })
    }

    async fn drive(&self, drive: &ViewDriveOnDisk, known: &Known) -> DriveReport {
        let (state, number) = (self.state(), drive.number.get());
        let out_state = match drive.state.get() {
            DRIVE_GONE => DriveState::Gone,
            DRIVE_EMPTIED => DriveState::Emptied,
            _ => DriveState::Absent,
        };
        let mut report = DriveReport {
            number,
            uuid: drive.uuid,
            state: out_state,
            replaces: drive.replaced(),
            reason: None,
            path: None,
            size_bytes: 0,
            free_bytes: 0,
            shards: 0,
            spreads: drive.spreads(),
            catch_up: None,
        };
        let Some(place) = state.place_of(number) else { return report };
        report.state = match state.drives[usize::from(place)].part() {
            Part::Whole if drive.leaves() => DriveState::Leaving,
            Part::Whole => DriveState::In,
            Part::CatchingUp | Part::Returning => DriveState::CatchingUp,
            Part::Out if out_state == DriveState::Absent => DriveState::Left,
            Part::Out => out_state,
        };
        let reason = known.reasons.iter().find(|(of, _)| *of == place);
        report.reason = reason.map(|(_, reason)| reason.clone());
        report.path = state.drive_path(place);
        let geometry = state.layout.geometry_of(place);
        if !state.has_left(place) {
            let room = state.room_of(place).await;
            report.free_bytes = u64::from(room.free) * u64::from(geometry.extent_bytes);
            report.size_bytes = u64::from(room.extents) * u64::from(geometry.extent_bytes);
        }
        report.shards = (0..state.layout.shards)
            .filter(|shard| known.view.home_numbers(*shard).any(|home| home == number))
            .count() as u16;
        if report.spreads || matches!(report.state, DriveState::CatchingUp | DriveState::Leaving) {
            report.catch_up = Some(state.catch_up_of(place));
        }
        report
    }
}

impl CoreState {
    /// Returns what core 0 knows of the views.
    fn known(&self) -> Known {
        Known {
            view: self.views.latest.borrow().clone(),
            reasons: self.views.reasons.borrow().clone().into_iter().collect(),
        }
    }

    /// Returns how far a drive is brought up to date.
    pub(super) fn catch_up_of(&self, drive: u16) -> CatchUpProgress {
        self.layout.catch_up_of(drive).progress(self.environment.monotonic_us())
    }

    /// Returns how many drives hold what a shard holds, and may be believed. While a home moves there is one more
    /// than copies are promised, which does not count.
    pub(super) fn whole_homes_of(&self, shard: u16) -> usize {
        let homes = self.homes.borrow();
        let whole = homes[usize::from(shard)].iter().filter(|home| self.is_whole(**home));
        whole.count().min(usize::from(self.layout.geometry_of(0).copies))
    }
}
