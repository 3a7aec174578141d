//! A drive that was opened while the node runs, and how cores reach it.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::error::OpenError;
use super::format::read_superblock;
use crate::device::Device;
use crate::device::file::OpenDrive;
use crate::device::uring::UringDevice;
use crate::format::superblock::SuperblockOnDisk;
use crate::ring::Ring;

/// A drive that was opened to take a seat.
pub struct NewDrive {
    pub(super) open: Option<Arc<OpenDrive>>,
    pub(super) superblock: Box<SuperblockOnDisk>,
}

impl NewDrive {
    /// Opens and locks a drive of a set, and reads what it says of itself. It blocks.
    ///
    /// # Errors
    /// Returns an [`OpenError`] that says what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let open = OpenDrive::open(path)?;
        let superblock = Box::new(read_superblock(&open)?);
        Ok(Self { open: Some(Arc::new(open)), superblock })
    }

    /// Makes it of a simulated drive.
    pub(crate) fn simulated(superblock: SuperblockOnDisk) -> Self {
        Self { open: None, superblock: Box::new(superblock) }
    }

    /// Returns the UUID of the drive.
    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.drive_uuid
    }
}

/// How a core reaches a drive that comes, real or simulated.
pub trait Seats {
    /// Makes the device of a drive that takes a seat.
    ///
    /// # Errors
    /// Returns the reason why it can not be reached.
    fn attach(&self, place: u16, drive: &NewDrive) -> Result<Rc<dyn Device>, String>;

    /// Lets a drive go that has left and answered everything.
    fn detach(&self, place: u16);
}

/// Drives that are reached through a core's ring.
pub(super) struct RingSeats(pub Ring);

impl Seats for RingSeats {
    fn attach(&self, place: u16, drive: &NewDrive) -> Result<Rc<dyn Device>, String> {
        let Some(open) = &drive.open else { return Err("the drive is not open".to_owned()) };
        let registered = self.0.register_file(u32::from(place), Some(open.file.as_raw_fd()));
        registered.map_err(|error| format!("the ring does not take it: {error}"))?;
        Ok(Rc::new(UringDevice::new(self.0.clone(), u32::from(place), open)))
    }

    fn detach(&self, place: u16) {
        if let Err(error) = self.0.register_file(u32::from(place), None) {
            tracing::warn!(place, %error, "the ring keeps a drive open that has left");
        }
    }
}

/// The seats of a node that gets no drives while it runs.
pub(crate) struct NoSeats;

impl Seats for NoSeats {
    fn attach(&self, _: u16, _: &NewDrive) -> Result<Rc<dyn Device>, String> {
        Err("the node takes no drives".to_owned())
    }

    fn detach(&self, _: u16) {}
}
