//! The cleaner: moves what is live out of log extents that are mostly dead, so that they can be used again.
//!
//! Invariants:
//! - A move is a copy of the record at the log's head, marked as moved, that counts only if the index still has
//!   the same generation when it is applied: an overwrite or delete that came first wins.
//! - The old extent stays until a checkpoint that does not name it is in force.

use std::rc::Rc;

use super::Shard;
use super::entry::Entry;
use crate::error::{EngineError, Result};
use crate::extent::keeper::Class;
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES};
use crate::format::record::{EncodedRecord, Mutation, RECORD_ALIGNMENT, RecordView};
use crate::index::keys;
use crate::log::queue::Pending;
use crate::sync::oneshot;

/// Extents moved in one go, at most.
const EXTENTS_AT_ONCE: usize = 8;
/// More live than this, per cent of what was written, is not worth moving.
const LIVE_PERCENT_MAX: u64 = 80;

impl Shard {
    /// Cleans soon, if it is not being done.
    pub(super) fn start_cleaning(self: &Rc<Self>) {
        if self.clean_wanted.replace(true) {
            return;
        }
        let shard = self.clone();
        self.environment.spawn(Box::pin(async move {
            match shard.clean().await {
                Ok(true) => shard.start_checkpoint(),
                Ok(false) => {}
                Err(error) => tracing::warn!(shard = shard.id, %error, "the log cleaner stopped early"),
            }
            shard.clean_wanted.set(false);
        }));
    }

    /// Moves the live records of the extents with the least of them. False when no extent is worth it.
    ///
    /// # Errors
    /// When the device fails or a live record is damaged (it stays where it is).
    pub async fn clean(self: &Rc<Self>) -> Result<bool> {
        let _one = self.maintaining.lock(1).await;
        let victims = self.victims();
        for &(extent, written) in &victims {
            // While others were moved, its last records may have died, and a checkpoint may have let go of it.
            if !self.state.borrow().logs.has_live(extent) {
                continue;
            }
            // Pinned like by a reader: a checkpoint may let go of it as soon as its last live record has moved.
            self.state.borrow_mut().logs.pin(extent);
            let moved = self.move_out(extent, written).await;
            self.unpin(super::Pins { extent, object: None });
            moved?;
        }
        Ok(!victims.is_empty())
    }

    /// Extents with the best ratio of space gained to bytes moved.
    fn victims(&self) -> Vec<(u32, u32)> {
        let state = self.state.borrow();
        let worth =
            |(_, live, written): &(u32, u64, u32)| live * 100 <= u64::from(*written) * LIVE_PERCENT_MAX;
        let mut candidates: Vec<_> =
            state.logs.closed().filter(|(_, live, _)| *live > 0).filter(worth).collect();
        candidates.sort_by_key(|(_, live, _)| *live);
        // Stop where moving costs more than an extent that is then not gained.
        let mut moved = 0;
        let fits = |(_, live, _): &(u32, u64, u32)| {
            moved += live;
            moved <= u64::from(self.geometry.extent_bytes) * EXTENTS_AT_ONCE as u64 / 2
        };
        candidates
            .into_iter()
            .take(EXTENTS_AT_ONCE)
            .take_while(fits)
            .map(|(extent, _, written)| (extent, written))
            .collect()
    }

    async fn move_out(self: &Rc<Self>, extent: u32, written: u32) -> Result<()> {
        let mut offset = 0;
        while offset < written {
            let window = (self.geometry.extent_bytes - offset).min(BATCH_BYTES_MAX as u32) as usize;
            let buffer = self.pool.take_reserved(window).await;
            let at = self.geometry.byte(extent, offset);
            let (result, buffer) = self.device.read(at, window, buffer).await;
            result.map_err(EngineError::read_failed)?;
            let damaged = EngineError::Damaged { what: "log batch", extent, offset };
            let header = BatchHeaderOnDisk::parse(&buffer[..window]).map_err(|_| damaged)?;
            let copies = self.live_records(
                extent,
                offset,
                &buffer[..header.length.get() as usize],
                header.records.get(),
            );
            drop(buffer);
            self.append_copies(copies).await?;
            offset += header.padded_bytes() as u32;
        }
        Ok(())
    }

    /// Copies of the records of a batch that the index still points at.
    fn live_records(
        &self,
        extent: u32,
        start: u32,
        batch: &[u8],
        count: u32,
    ) -> Vec<(Mutation, EncodedRecord)> {
        let state = self.state.borrow();
        let (mut at, mut copies) = (HEADER_BYTES, Vec::new());
        for _ in 0..count {
            let Ok(view) = RecordView::parse(batch.get(at..).unwrap_or_default()) else { break };
            let offset = start + at as u32;
            at += view.length().next_multiple_of(RECORD_ALIGNMENT);
            let Ok(Mutation::Put(put)) = view.mutation() else { continue };
            let current = state.index.get(&keys::encode(put.bucket, &put.key)).and_then(Entry::decode);
            let is_live = |entry: Entry| entry.location.extent == extent && entry.location.offset == offset;
            if current.is_some_and(is_live) {
                copies.push((Mutation::Put(put), view.moved_copy()));
            }
        }
        copies
    }

    async fn append_copies(self: &Rc<Self>, copies: Vec<(Mutation, EncodedRecord)>) -> Result<()> {
        let mut answers = Vec::with_capacity(copies.len());
        for (mutation, record) in copies {
            let (reply, answer) = oneshot::channel();
            let pending = Pending {
                mutation: Some(mutation),
                record,
                moved: true,
                class: Class::System,
                guard: None,
                reply,
            };
            self.log.push(self.id, pending)?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.unwrap_or(Err(EngineError::WritesStopped { shard: self.id }))?;
        }
        Ok(())
    }
}
