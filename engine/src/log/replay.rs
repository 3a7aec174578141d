//! The replay of a log from a known position.
//!
//! The log ends, or is found to be damaged, by these cases. At the expected place there is:
//! - a valid batch with the expected sequence and predecessor: it is applied, and the replay
//!   continues;
//! - anything else, but the extent's last block holds a copy of the batch that is expected here:
//!   the first batch of a life, which names the extent where the log continues. The copy is
//!   applied;
//! - anything else, and no batch later in the log's sets, of this life or an earlier one, says
//!   that the expected sequence was durable: a torn or never written tail. The next life's first
//!   batch is written here;
//! - anything else, and the superblock says that a later life has begun the log: the batch that
//!   began that life is lost together with its copy. The shard refuses to open;
//! - anything else, but a later valid batch has a `durable_sequence` that covers the expected one:
//!   acknowledged data was damaged. The shard refuses to open;
//! - a read error: the shard refuses to open too, because nothing may be assumed.

use std::cell::RefCell;

use super::{LogPosition, epoch_of};
use crate::device::DeviceError;
use crate::extent::sets::KIND_LOG;
use crate::extent::{Drives, Geometry, SetCopy, SetPlace};
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES};
use crate::format::record::{Mutation, RECORD_ALIGNMENT, RecordView};
use crate::format::{BLOCK_BYTES, FormatDamage};
use crate::hook::{Bug, Rare, reached};
use crate::log::RecordPlace;
use crate::ring::{Buffer, Pool};

/// The number of extents whose first block is read at the same time.
pub(super) const HEADS_AT_ONCE: usize = 16;

/// The reason why a log can not be replayed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(
        "batch {sequence} in extent {extent} at {offset} is damaged ({damage}) but was durable; \
         run `ringbolt check` on the drive: it says what is lost and what can be saved"
    )]
    Damaged { sequence: u64, extent: u32, offset: u32, damage: FormatDamage },
    #[error(
        "a record of batch {sequence} in extent {extent} is unreadable ({damage}); was it written by a newer version?"
    )]
    Record { sequence: u64, extent: u32, damage: FormatDamage },
    #[error("batches {from} up to {to} of the log in extent {extent} are lost", to = to - 1)]
    LostBatches { from: u64, to: u64, extent: u32 },
    /// `object` is the bucket and key that the damaged record seems to be about.
    #[error("a record of the log in extent {extent} at {offset} is lost")]
    LostRecord { extent: u32, offset: u32, object: Option<(u32, Vec<u8>)> },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Batches in which the copies of the homes may differ, no longer than a read, and the home whose copy is
/// right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uneven {
    pub set: SetPlace,
    pub offset: u32,
    pub length: u32,
    pub home: usize,
    /// The sequence of the first of them.
    pub sequence: u64,
    /// They lie where their headers say. The copy of a life's first batch lies elsewhere.
    pub in_place: bool,
}

impl Uneven {
    /// Returns whether these bytes are those batches.
    pub fn are_whole(&self, (format, shard): (u64, u16), bytes: &[u8]) -> bool {
        let (mut at, mut sequence) = (0, self.sequence);
        while at < bytes.len() {
            let Ok(header) = BatchHeaderOnDisk::parse(&bytes[at..]) else { return false };
            let offset = if self.in_place { self.offset + at as u32 } else { header.offset.get() };
            let own = header.is_of(format, shard) && header.is_at(self.set.identity(), offset);
            if !own || header.sequence.get() != sequence {
                return false;
            }
            at += header.padded_bytes();
            sequence += 1;
        }
        at == bytes.len()
    }
}

/// Reads the batches of one shard in order.
pub struct Replay<'a> {
    pub drives: &'a Drives,
    pub pool: &'a Pool,
    pub geometry: &'a Geometry,
    pub shard: u16,
    /// The position at which the next batch is expected.
    pub position: LogPosition,
    /// The home whose copy is read, by its place among the drives.
    pub home: usize,
    /// What one home's copy had and another's had not, or may not have.
    pub uneven: Vec<Uneven>,
    /// If it is set, the replay continues behind damage and lists the damage here. If not, damage
    /// ends the replay.
    pub salvage: Option<&'a RefCell<Vec<ReplayError>>>,
    /// The position of the last batch.
    pub last: LogPosition,
    /// Bytes of the last batch, or 0 when none was replayed where it belongs.
    pub last_bytes: u32,
    /// The home that it was read from.
    pub last_home: usize,
    /// The replay continued from the copy of a batch that is itself damaged or torn.
    pub by_copy: bool,
    /// The superblock says that the log reaches at least to the life of this epoch.
    pub log_epoch: u32,
    /// The set that the last record of a set of the log said. The record that continues the log
    /// there follows it in the same batch.
    pub said: Option<SetPlace>,
}

impl Replay<'_> {
    /// Applies every record from the position on with `apply`, in order, and leaves the position at
    /// the end of the log.
    ///
    /// # Errors
    /// Returns [`ReplayError`] when acknowledged data is damaged or unreadable, unless it is
    /// salvaged.
    pub async fn run(
        &mut self,
        mut apply: impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<(), ReplayError> {
        let (mut ended_at, mut trial) = (None, Trial::default());
        loop {
            let room = self.geometry.extent_bytes - self.position.offset;
            if room < BLOCK_BYTES as u32 {
                // This happens only behind a batch whose record of the next extent was unreadable
                // or missing.
                if self.salvage.is_none() {
                    return Err(self.damaged(FormatDamage::Short));
                }
                match self.pass_damage(&mut apply).await? {
                    true => continue,
                    false => return Ok(()),
                }
            }
            let (window, before) = ((room as usize).min(BATCH_BYTES_MAX), self.position);
            let outcome = match self.read_at(before.set, before.offset, window).await {
                Ok(buffer) => self.window(&buffer[..window], &mut apply)?,
                Err(error) => Outcome::Unread(error),
            };
            if self.position != before {
                self.note_progress(before, &std::mem::take(&mut trial));
            }
            match outcome {
                Outcome::More => {}
                // A drive that returned another block once would make acknowledged batches look
                // like the end, so the end is read twice.
                Outcome::End(_)
                    if ended_at.replace((self.home, self.position)) != Some((self.home, self.position)) => {}
                Outcome::End(_) if self.geometry.planted.is(Bug::LoseTail) => {
                    self.position = self.last;
                    return Ok(());
                }
                ended => {
                    trial.add(self.home, ended);
                    self.home = (self.home + 1) % self.drives.count();
                    if self.home != 0 {
                        // Another home may have what this one has not.
                        continue;
                    }
                    let tried = std::mem::take(&mut trial);
                    if !self.go_on_behind(tried, &mut apply).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Notes that batches were applied from `before` on. What other homes have not is to be made alike, and
    /// the first home is asked again for what follows.
    fn note_progress(&mut self, before: LogPosition, tried: &Trial) {
        if tried.is_empty() {
            return;
        }
        reached(Rare::LogOfAnotherHome);
        let length = self.last.offset + self.last_bytes - before.offset;
        let LogPosition { set, offset, sequence, .. } = before;
        self.uneven.push(Uneven { set, offset, length, home: self.home, sequence, in_place: true });
        self.home = 0;
    }

    /// Decides what it means that no home has a batch at the position. Returns false at the log's end.
    async fn go_on_behind(
        &mut self,
        tried: Trial,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let Some(damage) = tried.damage else {
            return Err(tried.unread.unwrap_or_else(|| self.damaged(FormatDamage::Short)));
        };
        let (mut readable, mut unread) = (Vec::new(), None);
        for home in tried.read.iter().copied() {
            self.home = home;
            let followed = self.follow_copy(apply).await;
            self.home = 0;
            match followed {
                Ok(true) => {
                    reached(Rare::BeginningCopied);
                    return Ok(true);
                }
                Ok(false) => readable.push(home),
                // What can not be read there is whole on another home, or nowhere.
                Err(error @ ReplayError::Device(_)) => drop(unread.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(error)) = (readable.is_empty(), unread) {
            return Err(error);
        }
        let torn = damage == FormatDamage::Checksum;
        let Err(error) = self.judge_end(damage, &readable).await else {
            if torn {
                reached(Rare::TornTail);
            }
            if self.last_bytes > 0 {
                // It may have been on its way to some of the homes.
                let LogPosition { set, offset, sequence, .. } = self.last;
                let (length, home) = (self.last_bytes, self.last_home);
                self.uneven.push(Uneven { set, offset, length, home, sequence, in_place: true });
            }
            return Ok(false);
        };
        reached(Rare::DamageRefused);
        self.tolerate(error)?;
        self.pass_damage(apply).await
    }

    /// Applies the complete batches of a window that starts at the position.
    fn window(
        &mut self,
        bytes: &[u8],
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<Outcome, ReplayError> {
        let mut at = 0;
        loop {
            if at >= bytes.len() {
                return Ok(Outcome::More);
            }
            let header = match BatchHeaderOnDisk::parse(&bytes[at..]) {
                Ok(header) if self.expects(&header) => header,
                Ok(_) => return Ok(Outcome::End(FormatDamage::Elsewhere)),
                // The batch may continue behind this window, so it is read again from its start.
                Err(FormatDamage::Short) if at > 0 => return Ok(Outcome::More),
                Err(damage) => return Ok(Outcome::End(damage)),
            };
            let before = self.pass(&header);
            let batch = &bytes[at..at + header.length.get() as usize];
            match self.records(&header, batch, before, apply) {
                Ok(true) => {
                    reached(Rare::ReplayRolled);
                    return Ok(Outcome::More);
                }
                Ok(false) => {}
                Err(error) => self.tolerate(error)?,
            }
            at += header.padded_bytes();
        }
    }

    /// Moves the position behind a batch and returns the previous position.
    fn pass(&mut self, header: &BatchHeaderOnDisk) -> LogPosition {
        let before = self.position;
        (self.last, self.last_bytes, self.last_home) = (before, header.padded_bytes() as u32, self.home);
        self.position.offset += header.padded_bytes() as u32;
        self.position.sequence += 1;
        self.position.previous_crc = header.crc.get();
        before
    }

    /// Continues from the copy of a life's first batch when the batch itself is torn or damaged.
    /// That batch names another extent and has a copy in the extent's last block. Returns false
    /// when there is no such copy.
    async fn follow_copy(
        &mut self,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let Some((block, header)) = self.copy_in_extent().await? else { return Ok(false) };
        if !self.expects(&header) {
            return Ok(false);
        }
        self.take_copy(&block, header, apply)
    }

    /// Returns the valid batch in the extent's last block, if that block is behind the position.
    pub(super) async fn copy_in_extent(&self) -> Result<Option<(Buffer, BatchHeaderOnDisk)>, ReplayError> {
        let last_block = self.geometry.last_block();
        if self.position.offset >= last_block {
            return Ok(None);
        }
        let block = self.read_at(self.position.set, last_block, BLOCK_BYTES).await?;
        let header = BatchHeaderOnDisk::parse(&block[..BLOCK_BYTES]).ok();
        Ok(header.map(|header| (block, header)))
    }

    /// Continues from the copy of the batch that belongs at the position. Returns false, with
    /// nothing changed, when the copy names no other extent.
    pub(super) fn take_copy(
        &mut self,
        block: &[u8],
        header: BatchHeaderOnDisk,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let before = self.pass(&header);
        // What lies at the position itself is not the batch, so no bytes count as written there.
        let mut apply =
            |mutation, place| apply(mutation, RecordPlace { offset: before.offset, length: 0, ..place });
        let moved_on = self.records(&header, &block[..header.length.get() as usize], before, &mut apply)?;
        match moved_on {
            true => {
                self.by_copy = true;
                self.last_bytes = 0;
                let (offset, length) = (self.geometry.last_block(), BLOCK_BYTES as u32);
                let (set, sequence, home) = (before.set, before.sequence, self.home);
                self.uneven.push(Uneven { set, offset, length, home, sequence, in_place: false });
            }
            false => self.position = before,
        }
        Ok(moved_on)
    }

    /// Returns whether this is the header of the batch that is expected at the position.
    pub(super) fn expects(&self, header: &BatchHeaderOnDisk) -> bool {
        header.sequence.get() == self.position.sequence
            && header.previous_crc.get() == self.position.previous_crc
            && header.log_number.get() == self.position.log_number
            && header.is_at(self.position.set.identity(), self.position.offset)
            && self.is_ours(header)
    }

    /// Returns the error, unless the replay salvages; then the error is only listed.
    pub(super) fn tolerate(&self, error: ReplayError) -> Result<(), ReplayError> {
        let Some(found) = self.salvage else { return Err(error) };
        found.borrow_mut().push(error);
        Ok(())
    }

    /// Returns whether the header is of this shard in this format.
    pub(super) fn is_ours(&self, header: &BatchHeaderOnDisk) -> bool {
        header.is_of(self.geometry.format_id, self.shard)
    }

    /// Applies a batch's records. Returns true when the log continues in another extent.
    pub(super) fn records(
        &mut self,
        header: &BatchHeaderOnDisk,
        batch: &[u8],
        before: LogPosition,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let mut at = HEADER_BYTES;
        for _ in 0..header.records.get() {
            let extent = before.set.extent();
            let refused = |damage| ReplayError::Record { sequence: before.sequence, extent, damage };
            let record = batch.get(at..).unwrap_or_default();
            let view = RecordView::parse(record, header.record_mark(at)).map_err(refused)?;
            let mutation = view.mutation().map_err(refused)?;
            let place = RecordPlace {
                extent: before.set.set,
                offset: before.offset + at as u32,
                length: view.length() as u32,
                sequence: before.sequence,
                moved: view.is_moved(),
            };
            at += view.length().next_multiple_of(RECORD_ALIGNMENT);
            self.note_set(&mutation).map_err(refused)?;
            if let Mutation::LogExtent(next) = &mutation {
                let (set, log_number) = (next.extent, next.log_number);
                let said = self.said.take().filter(|said| said.set == set);
                let set = said.ok_or(FormatDamage::Field("set of the log")).map_err(refused)?;
                apply(mutation, place).map_err(refused)?;
                self.position = LogPosition { set, log_number, offset: 0, ..self.position };
                return Ok(true);
            }
            apply(mutation, place).map_err(refused)?;
        }
        Ok(false)
    }

    /// Keeps in mind where a set of the log is, if the record says that.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when there can be no such set.
    pub(super) fn note_set(&mut self, mutation: &Mutation) -> Result<(), FormatDamage> {
        if let Mutation::SetPut(set) = mutation {
            let (place, kind) = self.drives.set_of(set)?;
            self.said = (kind == KIND_LOG).then_some(place).or(self.said);
        }
        Ok(())
    }

    /// Decides whether the log ends with a torn tail or with damage, by the copies of the homes that could
    /// be read.
    async fn judge_end(&mut self, damage: FormatDamage, homes: &[usize]) -> Result<(), ReplayError> {
        let (mut judged, mut unread) = (0, None);
        for home in homes.iter().copied() {
            self.home = home;
            let rest = self.judge_rest(damage).await;
            self.home = 0;
            let outcome = match rest {
                Ok(()) => self.judge_other_extents(damage, home).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => judged += 1,
                Err(error @ ReplayError::Device(_)) => drop(unread.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        if epoch_of(self.position.log_number) < self.log_epoch {
            return Err(self.damaged(damage));
        }
        // A home that can not be read wherever a later batch could be does not testify. One is enough.
        match unread {
            Some(error) if judged == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// Searches the rest of the extent for a batch that knew the missing one as durable.
    async fn judge_rest(&mut self, damage: FormatDamage) -> Result<(), ReplayError> {
        let (mut offset, set) = (self.position.offset, self.position.set);
        let end = self.geometry.extent_bytes - self.geometry.extent_bytes % BLOCK_BYTES as u32;
        while offset < end {
            let window = ((end - offset) as usize).min(BATCH_BYTES_MAX);
            let buffer = self.read_at(set, offset, window).await?;
            let mut crossing = Vec::new();
            for at in (0..window).step_by(BLOCK_BYTES) {
                let place = offset + at as u32;
                match BatchHeaderOnDisk::parse(&buffer[at..window]) {
                    Ok(header) if self.convicts(&header, place) => return Err(self.damaged(damage)),
                    // The batch continues behind the window, so its checksum must still be
                    // verified.
                    Err(FormatDamage::Short) => crossing.push(place),
                    _ => {}
                }
            }
            drop(buffer);
            for start in crossing {
                let length = window.min((end - start) as usize);
                let batch = self.read_at(set, start, length).await?;
                if BatchHeaderOnDisk::parse(&batch).is_ok_and(|header| self.convicts(&header, start)) {
                    return Err(self.damaged(damage));
                }
            }
            offset += window as u32;
        }
        Ok(())
    }

    /// Decides the same when the missing batch may be the one that named the next set. The log may
    /// then continue in any extent, so all of them are searched. (Whether another life began the log
    /// is known from the superblock.) Nobody knows to which set such an extent belongs. But log
    /// extent numbers only grow, so a batch of this shard with a greater one came later, wherever it
    /// is found: its mark proves the set, birth and offset that it names.
    async fn judge_other_extents(&mut self, damage: FormatDamage, home: usize) -> Result<(), ReplayError> {
        let room = self.geometry.extent_bytes as usize - BLOCK_BYTES - self.position.offset as usize;
        if room >= BATCH_BYTES_MAX {
            // Every batch would still have fitted into this extent.
            return Ok(());
        }
        let geometry = &self.drives.get(home).geometry;
        let own = self.position.set.members.on(geometry.drive);
        let others: Vec<u32> = (0..geometry.extents).filter(|extent| Some(*extent) != own).collect();
        for group in others.chunks(HEADS_AT_ONCE) {
            let reads = group.iter().map(|&extent| self.head_convicts(home, extent));
            for convicts in futures_util::future::join_all(reads).await {
                if convicts? {
                    return Err(self.damaged(damage));
                }
            }
        }
        Ok(())
    }

    async fn head_convicts(&self, home: usize, extent: u32) -> Result<bool, ReplayError> {
        let later = |header: &BatchHeaderOnDisk| {
            self.is_ours(header)
                && header.log_number.get() > self.position.log_number
                && header.sequence.get() > self.position.sequence
                && header.durable_sequence.get() >= self.position.sequence
        };
        let head = self.read_extent(home, extent, 0, BLOCK_BYTES).await?;
        let Some(header) = BatchHeaderOnDisk::peek(&head).filter(later) else { return Ok(false) };
        drop(head);
        let batch = self.read_extent(home, extent, 0, header.padded_bytes()).await?;
        Ok(BatchHeaderOnDisk::parse(&batch).is_ok_and(|header| later(&header)))
    }

    /// Reads bytes of the copy of a set on the home that is read.
    pub(super) async fn read_at(
        &self,
        set: SetPlace,
        offset: u32,
        length: usize,
    ) -> Result<Buffer, ReplayError> {
        let copy = self.drives.copy(set, self.home);
        Ok(copy.read_step(self.pool, offset, length).await?)
    }

    /// Reads bytes of an extent of a home, whatever set it belongs to.
    pub(super) async fn read_extent(
        &self,
        home: usize,
        extent: u32,
        offset: u32,
        length: usize,
    ) -> Result<Buffer, ReplayError> {
        let copy = SetCopy { at: home, drive: self.drives.get(home), extent };
        Ok(copy.read_step(self.pool, offset, length).await?)
    }

    /// Returns whether the batch that was found at `offset` of the extent knew the missing one as
    /// durable. In the last block it may be the copy of a life's first batch: a single large
    /// misdirected write can destroy all batches from the missing one to the original of the copy.
    fn convicts(&self, header: &BatchHeaderOnDisk, offset: u32) -> bool {
        let is_copy = offset == self.geometry.last_block() && header.offset.get() < offset;
        if is_copy && self.expects(header) {
            // The drive returned other bytes for this copy a moment ago.
            return true;
        }
        let written_at = if is_copy { header.offset.get() } else { offset };
        self.is_ours(header)
            && header.log_number.get() == self.position.log_number
            && header.is_at(self.position.set.identity(), written_at)
            && header.sequence.get() > self.position.sequence
            && header.durable_sequence.get() >= self.position.sequence
    }

    fn damaged(&self, damage: FormatDamage) -> ReplayError {
        let LogPosition { sequence, set, offset, .. } = self.position;
        ReplayError::Damaged { sequence, extent: set.extent(), offset, damage }
    }
}

enum Outcome {
    /// The replay continues at the position.
    More,
    /// No batch continues the log.
    End(FormatDamage),
    /// The copy can not be read.
    Unread(ReplayError),
}

/// The homes that were asked for the batch at the position, and have none.
#[derive(Default)]
struct Trial {
    /// Those that could be read.
    read: Vec<usize>,
    /// What the first of them has in its place.
    damage: Option<FormatDamage>,
    /// Why one could not be read.
    unread: Option<ReplayError>,
}

impl Trial {
    fn is_empty(&self) -> bool {
        self.read.is_empty() && self.unread.is_none()
    }

    fn add(&mut self, home: usize, outcome: Outcome) {
        match outcome {
            Outcome::More => {}
            Outcome::End(damage) => {
                self.read.push(home);
                self.damage.get_or_insert(damage);
            }
            Outcome::Unread(error) => drop(self.unread.get_or_insert(error)),
        }
    }
}
