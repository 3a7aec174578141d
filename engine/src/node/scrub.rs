//! The scrub reads everything that a shard holds, slowly and again and again, so that damage is
//! found before somebody needs the data: objects, parts of uploads, and the checkpoint.
//!
//! Invariants:
//! - It reads by the same code as a GET: what the scrub accepts, a GET may serve. What it finds
//!   damaged stays where it is, and a GET answers 500 as before. Only a damaged checkpoint is
//!   replaced, since all of it is in memory.
//! - It gives way to others: it reads one piece of 256 KiB at a time, at a limited rate, and waits
//!   while others work.
//! - Between steps and passes it sleeps. Its position survives a restart
//!   ([`crate::format::scrub`]).

use std::ops::Bound;
use std::rc::{Rc, Weak};

use zerocopy::IntoBytes;

use super::read::{ObjectReader, Opened, PartReader};
use super::state::CoreState;
use crate::device::Durability;
use crate::error::{EngineError, Result};
use crate::format::BLOCK_BYTES;
use crate::format::scrub::{SCRUB_START, ScrubState};
use crate::hook::{Rare, reached};
use crate::index::{Step, keys};
use crate::shard::recover::RecoverError;
use crate::shard::{Shard, UploadKey};
use crate::types::{BucketId, Version};

/// Objects that are read between two looks at the clock.
const OBJECTS_AT_ONCE: usize = 32;
/// Bytes that are read between two sleeps. Shorter sleeps would cost more than they hold back.
const BYTES_AT_ONCE: u64 = 256 << 10;
/// Time between two saves of the position, milliseconds.
const SAVE_MS: u64 = 60_000;
/// Longest sleep, milliseconds. It keeps a clock that is set back from ending the scrub.
const SLEEP_MS_MAX: u64 = 60 * 60 * 1000;
/// Number of times, and length in milliseconds, of the waits that let others go first.
const YIELDS_MAX: u32 = 10;
const YIELD_MS: u64 = 20;

/// The options of a node's scrub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Read rate for each drive. With 0, there is no scrub.
    pub bytes_per_second: u64,
    /// Time from the end of a pass to the start of the next, milliseconds.
    pub every_ms: u64,
}

/// Starts the scrub of this core's shards. One that runs already ends at its next step, and the new
/// one goes on where it was.
pub(super) fn start(core: &Rc<CoreState>, options: ScrubOptions) {
    let run = core.scrub_run.get() + 1;
    core.scrub_run.set(run);
    if options.bytes_per_second == 0 {
        return;
    }
    for shard in core.own_shards() {
        let sharing = core.layout.shards_of_drive(core.layout.first_home_of(shard.id)).count().max(1) as u64;
        let scrub = Scrub {
            core: Rc::downgrade(core),
            shard: shard.id,
            run,
            bytes_per_second: (options.bytes_per_second / sharing).max(1),
            every_ms: options.every_ms,
            saved_us: core.environment.monotonic_us(),
            debt_bytes: 0,
        };
        core.environment.spawn(Box::pin(scrub.run()));
    }
}

struct Scrub {
    core: Weak<CoreState>,
    shard: u16,
    /// Number of this scrub among those of the core; it ends when there is a later one.
    run: u64,
    bytes_per_second: u64,
    every_ms: u64,
    saved_us: u64,
    /// Bytes that were read and not yet slept for.
    debt_bytes: u64,
}

/// The next things to read in a pass.
enum Next {
    Objects(Vec<(u32, Vec<u8>, u64)>),
    Uploads,
}

impl Scrub {
    async fn run(mut self) {
        // No reference to the core is held over a sleep, so the scrub does not keep a closed node
        // alive.
        while let Some(core) = self.core.upgrade().filter(|core| !self.is_over(core)) {
            let wait_ms = self.step(&core).await;
            let sleep = core.environment.sleep(wait_ms.min(SLEEP_MS_MAX));
            drop(core);
            sleep.await;
        }
    }

    /// Returns whether the node closes, or another scrub has begun.
    fn is_over(&self, core: &CoreState) -> bool {
        core.closing.get() || core.scrub_run.get() != self.run
    }

    /// Does a little work, and returns how long to sleep, milliseconds.
    async fn step(&mut self, core: &Rc<CoreState>) -> u64 {
        let shard = core.shard(self.shard);
        let now_ms = core.environment.wall_clock_ms();
        {
            let mut state = shard.scrub.borrow_mut();
            if state.started_ms == 0 {
                let due_ms = state.finished_ms + self.every_ms;
                if state.finished_ms > 0 && now_ms < due_ms {
                    return due_ms - now_ms;
                }
                let (passes, finished_ms) = (state.passes, state.finished_ms);
                *state =
                    ScrubState { passes, started_ms: now_ms.max(1), finished_ms, ..ScrubState::default() };
                tracing::debug!(shard = shard.id, pass = passes + 1, "scrub: a pass begins");
            }
        }
        yield_to_others(core, &shard).await;
        match next_of(&shard) {
            Next::Objects(objects) => self.objects(core, &shard, objects).await,
            Next::Uploads => {
                for home in shard.writer.drives.places_to_read() {
                    let mut last = None;
                    while let Some((part, mut reader)) = part_behind(core, &shard, last.as_ref(), home)
                        && !self.is_over(core)
                    {
                        let read = self.part(core, &mut reader).await;
                        self.note(core, &shard, part.0.0, &part.0.1, read);
                        last = Some(part);
                    }
                }
                self.checkpoint(core, &shard).await;
                if !self.is_over(core) {
                    self.finish(core, &shard).await;
                }
                return 0;
            }
        }
        if core.environment.monotonic_us() - self.saved_us > SAVE_MS * 1000 {
            self.saved_us = core.environment.monotonic_us();
            save(core, &shard).await;
        }
        std::mem::take(&mut self.debt_bytes) * 1000 / self.bytes_per_second
    }

    async fn objects(&mut self, core: &Rc<CoreState>, shard: &Rc<Shard>, objects: Vec<(u32, Vec<u8>, u64)>) {
        for (bucket, key, generation) in objects {
            let read = loop {
                let homes = shard.writer.drives.places_to_read();
                match self.object(core, homes, (BucketId(bucket), &key, generation)).await {
                    Err(EngineError::Busy { .. }) if !self.is_over(core) => {
                        core.environment.sleep(YIELD_MS).await;
                    }
                    read => break read,
                }
            };
            if self.is_over(core) {
                return;
            }
            self.note(core, shard, bucket, &key, read);
            let mut state = shard.scrub.borrow_mut();
            state.objects += 1;
            state.key = keys::encode(bucket, &key, generation);
            drop(state);
        }
    }

    /// Reads each copy of a version, and returns the bytes that were read, or 0 when it is a delete
    /// marker or was removed meanwhile. A copy that is damaged is written anew from another one.
    async fn object(
        &mut self,
        core: &Rc<CoreState>,
        homes: Vec<usize>,
        (bucket, key, generation): (BucketId, &[u8], u64),
    ) -> Result<u64> {
        let mut read = 0;
        for home in homes {
            let version = Version::Generation(generation);
            let opened = ObjectReader::open_on_drive(core, bucket, key, version, home).await?;
            let mut reader = match opened {
                Opened::Object(reader) => reader,
                // All of it is its record, which was verified.
                Opened::Marker(_) => continue,
                Opened::Absent => break,
            };
            reader.read_gently();
            while let Some(chunk) = reader.verified().await? {
                let bytes = chunk.verified_bytes();
                drop(chunk);
                if !self.pace(core, bytes).await {
                    return Ok(0);
                }
            }
            read += reader.info().size_bytes;
        }
        Ok(read)
    }

    async fn part(&mut self, core: &Rc<CoreState>, reader: &mut PartReader) -> Result<u64> {
        let mut read = 0;
        while let Some(bytes) = reader.verified().await? {
            read += bytes;
            if !self.pace(core, bytes).await {
                break;
            }
        }
        Ok(read)
    }

    /// Reads the checkpoint in force, and writes a new one when it is damaged, since all that it
    /// holds is in memory.
    ///
    /// A new checkpoint is also written when the log has grown behind the old one. If a part of
    /// that log was lost, the next start would miss it; with the new checkpoint that part is not
    /// needed any more.
    async fn checkpoint(&mut self, core: &Rc<CoreState>, shard: &Rc<Shard>) {
        let damage = self.damage_of_checkpoint(core, shard).await;
        if self.is_over(core) || shard.log.has_failed() {
            return;
        }
        if let Some(error) = &damage {
            shard.scrub.borrow_mut().findings += 1;
            reached(Rare::ScrubFinding);
            tracing::error!(shard = shard.id, %error, "scrub: the checkpoint is damaged; a new one is written");
        }
        if damage.is_none() && shard.log.since_checkpoint() == 0 {
            return;
        }
        match shard.checkpoint().await {
            Ok(()) if damage.is_some() => {
                tracing::info!(shard = shard.id, "scrub: a new checkpoint took the place of the damaged one");
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(shard = shard.id, %error, "scrub: no new checkpoint; the old one stays")
            }
        }
    }

    async fn damage_of_checkpoint(
        &mut self,
        core: &Rc<CoreState>,
        shard: &Rc<Shard>,
    ) -> Option<RecoverError> {
        let (place, chunks) = match shard.checkpoint_in_force().await {
            Ok(checkpoint) => checkpoint?,
            Err(error) => return Some(error),
        };
        for (number, named) in &chunks {
            match shard.verify_chunk(place, named, *number).await {
                Ok(true) => {
                    shard.scrub.borrow_mut().bytes += u64::from(named.length);
                    if !self.pace(core, u64::from(named.length)).await {
                        return None;
                    }
                }
                Ok(false) => return None,
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Counts what was read and sleeps for it once it is enough. Returns false when the node closes
    /// and the scrub must end.
    async fn pace(&mut self, core: &Rc<CoreState>, bytes: u64) -> bool {
        self.debt_bytes += bytes;
        if self.debt_bytes >= BYTES_AT_ONCE && !self.is_over(core) {
            let wait_ms = std::mem::take(&mut self.debt_bytes) * 1000 / self.bytes_per_second;
            core.environment.sleep(wait_ms).await;
        }
        !self.is_over(core)
    }

    /// Counts what was read, and logs what is damaged.
    fn note(&mut self, core: &Rc<CoreState>, shard: &Rc<Shard>, bucket: u32, key: &[u8], read: Result<u64>) {
        let bytes = read.as_ref().copied().unwrap_or(0);
        // Reading the record costs at least one block.
        self.debt_bytes += (BLOCK_BYTES as u64).saturating_sub(bytes);
        shard.scrub.borrow_mut().bytes += bytes;
        if let Err(error @ (EngineError::Damaged { .. } | EngineError::ReadFailed { .. })) = read {
            shard.scrub.borrow_mut().findings += 1;
            reached(Rare::ScrubFinding);
            let bucket = core.buckets.borrow().name_of(bucket).unwrap_or_else(|| bucket.to_string());
            let key = String::from_utf8_lossy(key).into_owned();
            tracing::error!(shard = shard.id, bucket, key, %error, "scrub: an object is damaged; restore it");
        }
    }

    async fn finish(&mut self, core: &Rc<CoreState>, shard: &Rc<Shard>) {
        while core.mending.get() > 0 && !self.is_over(core) {
            core.environment.sleep(1).await;
        }
        {
            let mut state = shard.scrub.borrow_mut();
            state.passes += 1;
            reached(Rare::ScrubPass);
            state.finished_ms = core.environment.wall_clock_ms();
            let elapsed_s = state.finished_ms.saturating_sub(state.started_ms) / 1000;
            state.started_ms = 0;
            state.key = Vec::new();
            let ScrubState { passes, objects, bytes, findings, .. } = *state;
            let (shard, pass) = (shard.id, passes);
            // A shard without objects reports nothing.
            if objects == 0 && findings == 0 {
                tracing::debug!(shard, pass, bytes, "scrub: a pass ended");
            } else {
                tracing::info!(shard, pass, objects, bytes, findings, elapsed_s, "scrub: a pass ended");
            }
        }
        save(core, shard).await;
    }
}

/// Returns the next objects or, when there are none, the parts of uploads.
fn next_of(shard: &Shard) -> Next {
    let objects = objects_behind(shard, &shard.scrub.borrow().key);
    if objects.is_empty() { Next::Uploads } else { Next::Objects(objects) }
}

/// Returns the next versions behind a place in the index, each by bucket, key and generation.
pub(super) fn objects_behind(shard: &Shard, place: &[u8]) -> Vec<(u32, Vec<u8>, u64)> {
    let mut objects = Vec::new();
    shard.state.borrow().visit(place, &mut |composite| {
        if composite > place {
            objects.extend(keys::decode(composite));
        }
        if objects.len() < OBJECTS_AT_ONCE { Step::Continue } else { Step::Stop }
    });
    objects
}

/// Returns the next part of an upload behind `last`. It is found and pinned in one step, because
/// the space of a part that is not pinned may be reused before it is read.
pub(super) fn part_behind(
    core: &Rc<CoreState>,
    shard: &Rc<Shard>,
    last: Option<&(UploadKey, u16)>,
    home: usize,
) -> Option<((UploadKey, u16), PartReader)> {
    let state = shard.state.borrow();
    let from = last.map_or(Bound::Unbounded, |(upload, _)| Bound::Included(upload));
    let found = state.uploads.range::<UploadKey, _>((from, Bound::Unbounded)).find_map(|(id, upload)| {
        let behind = match last {
            Some((last, number)) if last == id => Bound::Excluded(*number),
            _ => Bound::Unbounded,
        };
        let (number, part) = upload.parts.range((behind, Bound::Unbounded)).next()?;
        Some(((id.clone(), *number), part.segment.clone()))
    });
    drop(state);
    found.map(|(part, segment)| (part, PartReader::new(core, shard, segment, home)))
}

/// Waits, but not for ever, while there is work that somebody waits for.
pub(super) async fn yield_to_others(core: &Rc<CoreState>, shard: &Shard) {
    for _ in 0..YIELDS_MAX {
        if is_idle(core, shard) {
            return;
        }
        core.environment.sleep(YIELD_MS).await;
    }
}

/// Returns whether nobody waits for work of this core, as far as its log and its buffers show.
pub(super) fn is_idle(core: &CoreState, shard: &Shard) -> bool {
    let (chunks, free) = core.pool.chunks();
    shard.log.queued_bytes() == 0 && free * 2 >= chunks
}

/// Returns where a shard's position lies on the home at a place, a byte offset, if the drive was there at the start.
fn place_of(core: &CoreState, shard: &Shard, home: usize) -> Option<u64> {
    let drive = *core.layout.drives_of(shard.id).get(home)?;
    let roots = &core.layout.superblocks.get(usize::from(drive))?.roots;
    let slot = roots.iter().position(|root| root.kind.get() != 0 && root.shard.get() == shard.id)?;
    Some(SCRUB_START + (slot * BLOCK_BYTES) as u64)
}

/// Saves the position of a shard's scrub.
pub(super) async fn save(core: &Rc<CoreState>, shard: &Shard) {
    let homes = shard.writer.drives.places().into_iter();
    let place = homes.filter_map(|home| Some((home, place_of(core, shard, home)?))).next();
    let Some((home, offset)) = place.filter(|_| !shard.log.has_failed()) else { return };
    let mut buffer = core.pool.take_for_step(BLOCK_BYTES).await;
    let drive = shard.writer.drives.get(home);
    let block = shard.scrub.borrow().to_block(shard.id, drive.geometry.drive_id);
    buffer[..BLOCK_BYTES].copy_from_slice(block.as_bytes());
    let written = drive.device.write(offset, BLOCK_BYTES, buffer, Durability::Deferred).await.0;
    if let Err(error) = written
        && let Err(error) = shard.writer.lose(home, error).await
    {
        tracing::error!(shard = shard.id, %error, "noting the scrub's place failed; no more writes until restart");
        shard.stop_writing(&error);
    }
}

/// Loads the position of a shard's scrub, or returns the start when that is not known.
pub(crate) async fn load(core: &CoreState, shard: &Shard) -> ScrubState {
    let Some(offset) = place_of(core, shard, 0) else { return ScrubState::default() };
    let buffer = core.pool.take_for_step(BLOCK_BYTES).await;
    match shard.writer.drives.get(0).device.read(offset, BLOCK_BYTES, buffer).await {
        (Ok(()), buffer) => ScrubState::parse(&buffer, shard.id, shard.geometry.drive_id).unwrap_or_default(),
        (Err(_), _) => ScrubState::default(),
    }
}
