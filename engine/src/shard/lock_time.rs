//! The time of a shard: judging retentions by its clock, noting it in the log, and confirming it. The
//! rules and invariants of the clock are in [`lock_clock`](super::lock_clock).

use std::rc::Rc;

use super::instance::{Commit, Shard};
use super::lock_clock::{ClockReading, NOTED_EVERY_MS, TIME_LOST_MS};
use crate::error::Result;
use crate::extent::allocator::Class;
use crate::format::record::{ClockV1, ENVELOPE_BYTES, EncodedRecord, Mutation};
use crate::hook::{Bug, Rare, reached};
use crate::log::RecordPlace;
use crate::sync::oneshot;

/// What a record of the time takes in the log at most, bytes.
pub(super) const CLOCK_RECORD_BYTES: usize = ENVELOPE_BYTES + 16;

impl Shard {
    /// Returns the time by which retentions are judged.
    pub fn lock_time(&self) -> ClockReading {
        let (wall_ms, monotonic_us) = (self.environment.wall_clock_ms(), self.environment.monotonic_us());
        if self.geometry.planted.is(Bug::BelieveClock) {
            return ClockReading { now_ms: wall_ms, ahead_ms: 0 };
        }
        let reading = self.lock_clock.read(wall_ms, monotonic_us, self.settings.clock_step_max_ms);
        if reading.ahead_ms > 0 {
            reached(Rare::ClockAhead);
        }
        reading
    }

    /// Returns the time by which lifecycle rules are judged, a Unix time in milliseconds: the earlier
    /// one of the wall clock and the time of retentions, since what is removed does not come back.
    pub fn lifecycle_time(&self) -> u64 {
        self.lock_time().now_ms.min(self.environment.wall_clock_ms())
    }

    /// Returns whether time is kept here, because something is or was locked.
    pub fn keeps_time(&self) -> bool {
        self.state.borrow().clock_ms.is_some()
    }

    /// Keeps time from now on. It is durable before the answer.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more, or there is no space.
    pub async fn begin_time(self: &Rc<Self>) -> Result<()> {
        if self.keeps_time() {
            return Ok(());
        }
        self.admit(CLOCK_RECORD_BYTES, Class::User).await?;
        self.write_time(self.lock_time().now_ms).await
    }

    /// Takes the time for lost if the shard keeps none. It is called where there is a bucket with
    /// object lock: every shard kept time before that was made, so the record of it was lost with
    /// other damage. Otherwise the first lock here would take the wall clock, however far it has
    /// stepped, for the time.
    pub fn miss_time(&self) {
        if !self.keeps_time() {
            self.state.borrow_mut().clock_ms = Some(TIME_LOST_MS);
            self.lock_clock.set(TIME_LOST_MS, self.environment.monotonic_us());
        }
    }

    /// Queues a record of the time, if none was written for a while. It is called before the record
    /// of something that is locked.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`](crate::EngineError::WritesStopped) or
    /// [`EngineError::ShuttingDown`](crate::EngineError::ShuttingDown) when the shard writes no
    /// more.
    pub(super) fn name_time(&self) -> Result<()> {
        let Some(now_ms) = self.time_to_note() else { return Ok(()) };
        // Nobody waits for it, because the record of what is locked comes behind it.
        self.push_time(now_ms, oneshot::channel().0)
    }

    /// Notes the time, if it is kept here and was not noted for a while.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn note_time(&self) -> Result<()> {
        if !self.keeps_time() {
            return Ok(());
        }
        match self.time_to_note() {
            Some(now_ms) => self.write_time(now_ms).await,
            None => Ok(()),
        }
    }

    /// Notes the time at the end of a life, if it is kept here and the wall clock is believed.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn note_last_time(&self) -> Result<()> {
        let reading = self.lock_time();
        if !self.keeps_time() || reading.ahead_ms > 0 {
            return Ok(());
        }
        self.write_time(reading.now_ms).await
    }

    /// Believes the wall clock as it is, on the word of an operator. It is durable before the
    /// answer.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn confirm_time(&self) -> Result<()> {
        if !self.keeps_time() {
            return Ok(());
        }
        let (now_ms, monotonic_us) = (self.environment.wall_clock_ms(), self.environment.monotonic_us());
        // An earlier time protects more, so it counts at once, and no record with the time before
        // follows that of the earlier one.
        if now_ms < self.lock_time().now_ms {
            self.lock_clock.set(now_ms, monotonic_us);
        }
        self.write_time(now_ms).await?;
        self.lock_clock.set(now_ms, monotonic_us);
        Ok(())
    }

    /// Returns the time if it is to be noted.
    fn time_to_note(&self) -> Option<u64> {
        let reading = self.lock_time();
        let noted_ms = self.time_queued.get().or(self.state.borrow().clock_ms);
        let due = noted_ms.is_none_or(|noted| reading.now_ms >= noted.saturating_add(NOTED_EVERY_MS));
        (due && reading.ahead_ms == 0).then_some(reading.now_ms)
    }

    async fn write_time(&self, now_ms: u64) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.push_time(now_ms, reply)?;
        self.outcome(answer).await.map(|_| ())
    }

    fn push_time(&self, now_ms: u64, reply: oneshot::Sender<Result<RecordPlace>>) -> Result<()> {
        let mutation = Mutation::Clock(ClockV1 { now_ms });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        let commit =
            Commit { mutation: Some(mutation), guard: None, reserved: Vec::new(), quota: None, reply };
        self.log.push(Some(record), commit)?;
        self.time_queued.set(Some(now_ms));
        if !self.lock_clock.is_kept() {
            self.lock_clock.set(now_ms, self.environment.monotonic_us());
        }
        Ok(())
    }
}
