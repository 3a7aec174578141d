//! This module records what one thread measures while it runs.
//!
//! Invariants:
//! - Nothing is counted before the ramp is over.
//! - Memory is bounded: there are at most [`INTERVALS_MAX`] intervals, and neighbours are joined
//!   when there would be more; logs have at most [`LOG_ENTRIES_MAX`] entries.

use crate::engine::{Operation, Verb};
use crate::result::{Interval, JobResult, LogEntry};
use crate::spec::{ByDirection, Direction, Job};

/// Bandwidth and IOPS are sampled at this interval.
const SAMPLE_NS: u64 = 500_000_000;
/// Intervals of a run are this long until there are too many of them.
pub const INTERVAL_NS: u64 = 1_000_000_000;
pub const INTERVALS_MAX: usize = 600;
/// One log of one thread has at most this many entries of 40 bytes each.
pub const LOG_ENTRIES_MAX: usize = 1_000_000;

/// Describes an operation in flight.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    pub operation: Operation,
    /// This is the time when the operation was taken from the source; `issue_ns` is when it was
    /// submitted.
    pub start_ns: u64,
    pub issue_ns: u64,
    /// This is the time when the operation was meant to start; `None` without a rate.
    pub intended_ns: Option<u64>,
}

/// Says that a log is full.
#[derive(Debug, thiserror::Error)]
#[error(
    "a log of single operations has {LOG_ENTRIES_MAX} entries, the most there may be; give log_avg_msec=, or a \
     shorter runtime"
)]
pub struct LogFull;

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    ios: u64,
    bytes: u64,
}

/// Holds the sums of one direction over the span of a log entry.
#[derive(Clone, Copy, Debug, Default)]
struct LogSpan {
    ios: u64,
    bytes: u64,
    /// Holds the sums of submission, completion and total latency.
    times_ns: [u64; 3],
}

/// Records the operations of one thread.
pub struct Recorder {
    pub result: JobResult,
    /// This is the time when counting begins.
    from_ns: u64,
    /// This is the time when the current phase began: writing, or reading back what was written.
    phase_ns: u64,
    /// This is the time counted in earlier phases, for each direction.
    before_ns: ByDirection<u64>,
    /// This is the time when the last counted operation ended.
    counted_until_ns: u64,
    sample_end_ns: u64,
    sampled: ByDirection<Counted>,
    interval: Interval,
    interval_ns: u64,
    /// This is the time when counting ended.
    ended_ns: Option<u64>,
    has_logs: bool,
    log_end_ns: u64,
    log_span: ByDirection<LogSpan>,
    log_full: bool,
}

impl Recorder {
    /// Creates the recorder of a job whose ramp ends at `from_ns`.
    pub fn new(job: &Job, from_ns: u64) -> Self {
        let logs = &job.logs;
        Self {
            result: JobResult::empty(job),
            from_ns,
            phase_ns: from_ns,
            before_ns: ByDirection::default(),
            counted_until_ns: from_ns,
            sample_end_ns: from_ns + SAMPLE_NS,
            sampled: ByDirection::default(),
            interval: Interval::default(),
            interval_ns: INTERVAL_NS,
            ended_ns: None,
            has_logs: logs.bandwidth.is_some() || logs.latency.is_some() || logs.iops.is_some(),
            log_end_ns: from_ns + logs.average_ms * 1_000_000,
            log_span: ByDirection::default(),
            log_full: false,
        }
    }

    /// Counts operations submitted in one call; `in_flight` includes them.
    #[inline]
    pub fn submitted(&mut self, count: usize, in_flight: usize, now_ns: u64) {
        if now_ns < self.from_ns {
            return;
        }
        self.result.submitted.0[batch_bucket(count)] += 1;
        for depth in in_flight + 1 - count..=in_flight {
            self.result.depth.0[depth_bucket(depth)] += 1;
        }
    }

    /// Counts operations that completed in one call.
    #[inline]
    pub fn reaped(&mut self, count: usize, now_ns: u64) {
        if now_ns < self.from_ns {
            return;
        }
        self.result.completed.0[batch_bucket(count)] += 1;
    }

    /// Ends counting, and with it the last interval.
    pub fn end(&mut self, now_ns: u64) {
        self.ended_ns = Some(now_ns);
    }

    /// Counts the time of a flush behind the last operation as time of the job.
    pub fn flushed(&mut self, now_ns: u64) {
        for direction in Direction::ALL {
            let before_ns = *self.before_ns.get(direction);
            let into = self.result.by_direction.get_mut(direction);
            if into.ios > 0 {
                into.runtime_ns = before_ns + now_ns.saturating_sub(self.phase_ns);
            }
        }
    }

    /// Counts an operation that succeeded with this many bytes.
    #[inline]
    pub fn done(&mut self, flight: &Flight, bytes: u64, now_ns: u64) {
        if now_ns < self.from_ns {
            return;
        }
        let clat = now_ns.saturating_sub(flight.issue_ns);
        let Some(direction) = flight.operation.verb.direction() else {
            self.result.sync.record(clat);
            return;
        };
        let slat = flight.issue_ns.saturating_sub(flight.start_ns);
        let response = flight.intended_ns.map(|intended| now_ns.saturating_sub(intended));
        let into = self.result.by_direction.get_mut(direction);
        into.bytes += bytes;
        into.ios += 1;
        into.slat.record(slat);
        into.clat.record(clat);
        into.lat.record(slat + clat);
        if let Some(response) = response {
            into.response.record(response);
        }
        if bytes < flight.operation.length && matches!(flight.operation.verb, Verb::Read | Verb::Write) {
            into.short_ios += 1;
        }
        into.runtime_ns = *self.before_ns.get(direction) + (now_ns - self.phase_ns);
        self.counted_until_ns = now_ns;
        self.count_in_interval(direction, bytes, response.unwrap_or(clat), now_ns);
        if self.has_logs {
            self.log(direction, &flight.operation, bytes, [slat, clat, slat + clat], now_ns);
        }
    }

    /// Begins another phase. As in fio, reading back has a run time of its own.
    pub fn begin_phase(&mut self, now_ns: u64) {
        self.phase_ns = now_ns.max(self.from_ns);
        for direction in Direction::ALL {
            *self.before_ns.get_mut(direction) = self.result.by_direction.get(direction).runtime_ns;
        }
    }

    /// Counts an operation that failed without ending the job.
    pub fn failed(&mut self, verb: Verb) {
        if let Some(direction) = verb.direction() {
            self.result.by_direction.get_mut(direction).failed_ios += 1;
        }
    }

    /// Counts an operation that was aborted at the end of the job.
    pub fn cut(&mut self, verb: Verb) {
        if let Some(direction) = verb.direction() {
            self.result.by_direction.get_mut(direction).cut_ios += 1;
        }
    }

    /// Takes the samples that are due.
    ///
    /// # Errors
    /// Fails when a log is full.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) -> Result<(), LogFull> {
        while now_ns >= self.sample_end_ns {
            self.sample();
        }
        if self.has_logs && self.result.job.logs.average_ms > 0 {
            while now_ns >= self.log_end_ns {
                self.close_log_span();
            }
        }
        if self.log_full { Err(LogFull) } else { Ok(()) }
    }

    /// Returns the results so far. The caller adds the thread's CPU usage.
    pub fn snapshot(&self, now_ns: u64) -> JobResult {
        let mut result = self.result.clone();
        let mut interval = self.interval.clone();
        if interval.length_ns > 0 {
            let until_ns = self.ended_ns.unwrap_or(now_ns);
            interval.length_ns = until_ns.saturating_sub(interval.start_ns).clamp(1, interval.length_ns);
            compact(&mut interval);
            result.intervals.push(interval);
        }
        result.runtime_ns = self.counted_until_ns - self.from_ns;
        result
    }

    fn sample(&mut self) {
        for direction in Direction::ALL {
            let result = self.result.by_direction.get_mut(direction);
            let before = self.sampled.get_mut(direction);
            let seconds = SAMPLE_NS as f64 / 1e9;
            if result.ios > 0 {
                result.bandwidth.0.push((result.bytes - before.bytes) as f64 / 1024.0 / seconds);
                result.iops.0.push((result.ios - before.ios) as f64 / seconds);
            }
            *before = Counted { ios: result.ios, bytes: result.bytes };
        }
        self.sample_end_ns += SAMPLE_NS;
    }

    #[inline]
    fn count_in_interval(&mut self, direction: Direction, bytes: u64, latency_ns: u64, now_ns: u64) {
        if now_ns >= self.interval.start_ns + self.interval.length_ns || self.interval.length_ns == 0 {
            self.begin_interval(now_ns);
        }
        let counts = self.interval.by_direction.get_mut(direction);
        counts.ios += 1;
        counts.bytes += bytes;
        counts.latencies.record(latency_ns);
    }

    fn begin_interval(&mut self, now_ns: u64) {
        let mut closed = std::mem::take(&mut self.interval);
        if closed.length_ns > 0 {
            compact(&mut closed);
            self.result.intervals.push(closed);
        }
        if self.result.intervals.len() >= INTERVALS_MAX {
            self.interval_ns *= 2;
            super::merge::coarsen(&mut self.result.intervals, self.interval_ns);
        }
        let slot_ns = now_ns / self.interval_ns * self.interval_ns;
        let before_ns = self.result.intervals.last().map_or(0, |last| last.start_ns + last.length_ns);
        // The first interval begins when counting does, and one that has become wider begins at the
        // end of the one before.
        self.interval.start_ns = slot_ns.max(self.from_ns).max(before_ns);
        self.interval.length_ns = slot_ns + self.interval_ns - self.interval.start_ns;
    }

    fn log(&mut self, direction: Direction, operation: &Operation, bytes: u64, times: [u64; 3], now_ns: u64) {
        if self.result.job.logs.average_ms > 0 {
            let span = self.log_span.get_mut(direction);
            span.ios += 1;
            span.bytes += bytes;
            span.times_ns.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
            return;
        }
        let values = [rate(bytes, times[2]) / 1024, rate(1, times[2]), times[0], times[1], times[2]];
        self.push_logs(direction, operation.length, operation.offset, values, now_ns);
    }

    fn close_log_span(&mut self) {
        let span_ns = self.result.job.logs.average_ms * 1_000_000;
        for direction in Direction::ALL {
            let span = std::mem::take(self.log_span.get_mut(direction));
            if span.ios == 0 {
                continue;
            }
            let [slat, clat, lat] = span.times_ns.map(|sum| sum / span.ios);
            let values = [rate(span.bytes, span_ns) / 1024, rate(span.ios, span_ns), slat, clat, lat];
            self.push_logs(direction, 0, 0, values, self.log_end_ns);
        }
        self.log_end_ns += span_ns;
    }

    fn push_logs(
        &mut self,
        direction: Direction,
        block_bytes: u64,
        offset: u64,
        values: [u64; 5],
        now_ns: u64,
    ) {
        let at_ms = (now_ns - self.from_ns) / 1_000_000;
        let entry = |value| LogEntry { at_ms, value, direction, block_bytes, offset, thread: 0 };
        let result = &mut self.result;
        let logs = &result.job.logs;
        let mut full = false;
        let mut push = |wanted: bool, log: &mut Vec<LogEntry>, value: u64| {
            if wanted && log.len() < LOG_ENTRIES_MAX {
                log.push(entry(value));
                full |= log.len() == LOG_ENTRIES_MAX;
            }
        };
        push(logs.bandwidth.is_some(), &mut result.bandwidth_log, values[0]);
        push(logs.iops.is_some(), &mut result.iops_log, values[1]);
        push(logs.latency.is_some(), &mut result.slat_log, values[2]);
        push(logs.latency.is_some(), &mut result.clat_log, values[3]);
        push(logs.latency.is_some(), &mut result.lat_log, values[4]);
        self.log_full |= full;
    }
}

/// Returns an amount per second.
fn rate(amount: u64, time_ns: u64) -> u64 {
    (u128::from(amount) * 1_000_000_000 / u128::from(time_ns.max(1))) as u64
}

fn compact(interval: &mut Interval) {
    for direction in Direction::ALL {
        interval.by_direction.get_mut(direction).latencies.compact();
    }
}

/// Returns the bucket of a depth; the buckets begin at 1, 2, 4, … 64.
fn depth_bucket(depth: usize) -> usize {
    (depth.max(1).ilog2() as usize).min(6)
}

/// Returns the bucket of a batch; the buckets are 0, up to 4, 8, … 64, and more.
fn batch_bucket(count: usize) -> usize {
    match count {
        0 => 0,
        1..=4 => 1,
        _ => ((count - 1).ilog2() as usize).min(6),
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
