//! Multipart uploads as the clients know them.
//!
//! Invariant: an upload belongs to one client, who changes it one call after the other; so at most one change of it is
//! under way when the power goes.

use std::collections::BTreeMap;

use ringbolt_engine::types::{UploadId, UploadInfo};

use super::model::Stored;

/// A part: what was acknowledged, and what may be there instead.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub certain: Option<Stored>,
    pub in_flight: Vec<Stored>,
}

/// A call that ends the upload was begun and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Abort,
    Complete { object: Stored },
}

#[derive(Clone, Debug)]
pub struct Upload {
    pub client: u64,
    pub bucket: String,
    pub key: Vec<u8>,
    pub parts: BTreeMap<u16, Part>,
    pub ending: Option<Ending>,
}

/// Every upload that is, or may be, in progress.
#[derive(Clone, Debug, Default)]
pub struct Uploads {
    pub known: BTreeMap<UploadId, Upload>,
    /// Creates that were not answered: bucket and key.
    pub creating: Vec<(String, Vec<u8>)>,
}

impl Upload {
    /// Compares with what the node says after a restart, and takes that as certain.
    ///
    /// # Errors
    /// What can not be.
    pub fn settle(&mut self, info: &UploadInfo) -> Result<(), String> {
        let mut found: BTreeMap<u16, Stored> = BTreeMap::new();
        for part in &info.parts {
            let tag = super::tag_of(&part.etag);
            found.insert(part.number, Stored { tag, size: part.size_bytes });
        }
        for (number, part) in &mut self.parts {
            let there = found.remove(number);
            let allowed = there == part.certain || there.is_some_and(|there| part.in_flight.contains(&there));
            if !allowed {
                return Err(format!("part {number} is {there:?}, not {part:?}"));
            }
            *part = Part { certain: there, in_flight: Vec::new() };
        }
        self.parts.retain(|_, part| part.certain.is_some());
        match found.is_empty() {
            true => Ok(()),
            false => Err(format!("parts that were never put: {found:?}")),
        }
    }
}
