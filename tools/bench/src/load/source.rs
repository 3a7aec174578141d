//! This module generates the operations of one thread, one pass after the other.
//!
//! Invariants:
//! - A pass moves `io_size` bytes, or the size of the target, and at most `number_ios` operations;
//!   never more.
//! - Without rates, shares of a mix are exact over every hundred operations. A direction with a
//!   rate comes when it is due, so that the mix follows from the rates, as in fio.

use super::choice::Deck;
use super::own::OwnObjects;
use super::pace::Pace;
use super::sequence::{Extent, MAP_UNITS_MAX, Region, Sequence};
use super::sizes::{Sizes, greatest_common_divisor};
use super::tiling::Class;
use crate::engine::objects;
use crate::engine::{Operation, Verb};
use crate::spec::{BlockSize, ByDirection, Direction, Distribution, Job, ObjectOp};
use ringbolt_tool_common::random::Random;

/// Says why a job has nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(
        "{job}: {length} bytes of file {file} are less than a block of {block}; give a larger size or a smaller bs"
    )]
    TooSmall { job: String, file: usize, length: u64, block: u64 },
    #[error(
        "{job}: a random map of {units} blocks is too large; give a larger bs, a smaller size, or norandommap"
    )]
    MapTooLarge { job: String, units: u64 },
    #[error("{job}: there are no objects; give objects=, or a size of at least one block")]
    NoObjects { job: String },
}

/// Says what a job works on.
#[derive(Clone, Debug)]
pub enum Target {
    Files(Vec<Region>),
    /// Holds the number of objects.
    Objects(u64),
}

/// Holds an operation and, with a rate, when it is meant to start, in nanoseconds from the job's
/// beginning.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub operation: Operation,
    pub intended_ns: Option<u64>,
}

/// Says what the caller has to do next.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    Work(Work),
    /// No operation is due before this time.
    WaitUntil(u64),
    /// The pass is over.
    Exhausted,
}

/// Generates the operations of one thread.
#[derive(Debug)]
pub struct Source {
    random: Random,
    files: Vec<Sequence>,
    /// This is the next file; files are taken in turn.
    file: usize,
    objects: bool,
    object_blocks: ByDirection<BlockSize>,
    range_bytes: Option<u64>,
    own: Option<OwnObjects>,
    sizes: ByDirection<Sizes>,
    unit: u64,
    verbs: Deck<Verb>,
    directions: Vec<Direction>,
    /// Holds the pace of each direction; with a mix of object operations, that of reads is for all.
    paces: ByDirection<Option<Pace>>,
    common_pace: bool,
    /// This is a trimmed extent that is to be written next (`trimwrite`).
    trimmed: Option<(u32, Extent)>,
    trim_then_write: bool,
    pass: Budget,
    left: Budget,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    bytes: u64,
    ios: u64,
}

impl Source {
    /// Creates the source of thread `thread` of `job`.
    ///
    /// # Errors
    /// Fails when the target is too small for the job's blocks, or too large for a random map.
    pub fn new(job: &Job, thread: u32, target: &Target) -> Result<Self, LoadError> {
        let mut random = Random::stream(job.seed, u64::from(thread));
        let verbs = verbs(job);
        let directions: Vec<Direction> = Direction::ALL
            .into_iter()
            .filter(|direction| verbs.iter().any(|(verb, _)| verb.direction() == Some(*direction)))
            .collect();
        let sizes = ByDirection {
            read: Sizes::new(&job.block.read),
            write: Sizes::new(&job.block.write),
            trim: Sizes::new(&job.block.trim),
        };
        let unit = directions.iter().fold(0, |unit, of| greatest_common_divisor(unit, sizes.get(*of).unit()));
        let fixed = directions.iter().all(|of| sizes.get(*of).fixed() == Some(unit));
        let files = match target {
            Target::Files(regions) => {
                let classes = (!fixed).then(|| classes_of(job, &verbs));
                file_sequences(job, regions, unit, classes.as_ref(), &mut random)?
            }
            Target::Objects(0) => return Err(LoadError::NoObjects { job: job.name.clone() }),
            Target::Objects(count) => vec![object_sequence(job, *count, &mut random)],
        };
        let pass = budget(job, target, unit);
        let paces = ByDirection {
            read: Pace::new(job, Direction::Read),
            write: Pace::new(job, Direction::Write),
            trim: Pace::new(job, Direction::Trim),
        };
        Ok(Self {
            random,
            files,
            file: 0,
            objects: matches!(target, Target::Objects(_)),
            object_blocks: objects::blocks_of(job),
            range_bytes: job.objects.range_bytes,
            own: match target {
                Target::Objects(count) => OwnObjects::of(job, thread, *count),
                Target::Files(_) => None,
            },
            sizes,
            unit,
            trim_then_write: job.pattern.trims && job.pattern.writes && job.objects.ops.is_none(),
            verbs: Deck::new(&verbs),
            common_pace: job.objects.ops.as_ref().is_some_and(|ops| ops.len() > 1),
            directions,
            paces,
            trimmed: None,
            pass,
            left: pass,
        })
    }

    /// Begins another pass over the target.
    pub fn restart(&mut self) {
        self.left = self.pass;
        self.files.iter_mut().for_each(Sequence::restart);
    }

    /// Records that an operation from [`Self::next`] has ended.
    #[inline]
    pub fn ended(&mut self, operation: &Operation, succeeded: bool) {
        if let Some(own) = &mut self.own {
            own.ended(operation, succeeded);
        }
    }

    /// Returns the share of the pass that was given out, from 0 to 1.
    pub fn done_fraction(&self) -> f64 {
        let share =
            |left: u64, of: u64| if of == u64::MAX { 0.0 } else { 1.0 - left as f64 / of.max(1) as f64 };
        share(self.left.bytes, self.pass.bytes).max(share(self.left.ios, self.pass.ios))
    }

    /// Returns whether any rate makes the load open-loop.
    pub fn has_rate(&self) -> bool {
        Direction::ALL.into_iter().any(|direction| self.paces.get(direction).is_some())
    }

    /// Returns the next operation at `now_ns` of the job.
    #[inline]
    pub fn next(&mut self, now_ns: u64) -> Next {
        if self.left.ios == 0 || (!self.objects && self.left.bytes < self.unit) {
            return Next::Exhausted;
        }
        let (verb, intended_ns) = match self.choose(now_ns) {
            Ok(chosen) => chosen,
            Err(until) => return Next::WaitUntil(until),
        };
        let direction = verb.direction().unwrap_or(Direction::Write);
        let operation = match self.objects {
            true => self.object_operation(verb, direction),
            false => {
                let length = self.sizes.get(direction).next(&mut self.random);
                self.file_operation(verb, direction, length)
            }
        };
        let pace = if self.common_pace { Direction::Read } else { direction };
        if let Some(pace) = self.paces.get_mut(pace) {
            pace.take(operation.length, &mut self.random);
        }
        self.left.ios -= 1;
        if !self.objects {
            self.left.bytes -= operation.length;
        }
        Next::Work(Work { operation, intended_ns })
    }

    /// Returns an operation on an object. The object's number determines its size, whatever the
    /// operation.
    fn object_operation(&mut self, verb: Verb, direction: Direction) -> Operation {
        let own = self.own.as_mut().and_then(|own| own.take(verb));
        let number = own.unwrap_or_else(|| self.files[0].next(direction, 1, 1, &mut self.random).offset);
        // A copy copies an object that reads use.
        let of = if verb == Verb::Copy { Direction::Read } else { direction };
        let length = objects::size_bytes(self.object_blocks.get(of), number);
        match self.range_bytes {
            Some(range) if verb == Verb::Read && range < length => {
                let offset = self.random.below(length.div_ceil(range)) * range;
                Operation { verb, file: 0, offset, length: range.min(length - offset), number }
            }
            _ => Operation { verb, file: 0, offset: 0, length, number },
        }
    }

    fn file_operation(&mut self, verb: Verb, direction: Direction, length: u64) -> Operation {
        let (file, extent) = match (verb, self.trimmed.take()) {
            (Verb::Write, Some(trimmed)) => trimmed,
            _ => {
                let file = self.file;
                self.file = if file + 1 == self.files.len() { 0 } else { file + 1 };
                let most = self.left.bytes / self.unit * self.unit;
                (file as u32, self.files[file].next(direction, length, most, &mut self.random))
            }
        };
        if self.trim_then_write && verb == Verb::Trim {
            self.trimmed = Some((file, extent));
        }
        Operation { verb, file, offset: extent.offset, length: extent.length, number: 0 }
    }

    /// Chooses the next operation and its intended start, or returns the time when one is due.
    #[inline]
    fn choose(&mut self, now_ns: u64) -> Result<(Verb, Option<u64>), u64> {
        if self.trim_then_write {
            let verb = if self.trimmed.is_some() { Verb::Write } else { Verb::Trim };
            return self.due(verb.direction().unwrap_or(Direction::Trim), now_ns).map(|at| (verb, at));
        }
        if self.common_pace || self.directions.len() == 1 {
            let pace = if self.common_pace { Direction::Read } else { self.directions[0] };
            let at = self.due(pace, now_ns)?;
            return Ok((self.draw(), at));
        }
        if !self.has_rate() {
            return Ok((self.draw(), None));
        }
        self.choose_by_rate(now_ns)
    }

    #[inline]
    fn draw(&mut self) -> Verb {
        let Some(own) = &mut self.own else { return self.verbs.draw(&mut self.random) };
        if let Some(owed) = own.owed() {
            return owed;
        }
        // The loop ends, because there are puts among the cards.
        loop {
            if let Some(verb) = own.instead_of(self.verbs.draw(&mut self.random)) {
                return verb;
            }
        }
    }

    fn choose_by_rate(&self, now_ns: u64) -> Result<(Verb, Option<u64>), u64> {
        let rated = self.directions.iter().filter_map(|direction| {
            self.paces.get(*direction).as_ref().map(|pace| (pace.next_start_ns(), *direction))
        });
        let (start, direction) = rated.min().unwrap_or((u64::MAX, Direction::Read));
        if start <= now_ns {
            return Ok((verb_of(direction), Some(start)));
        }
        let free = self.directions.iter().find(|direction| self.paces.get(**direction).is_none());
        free.map(|direction| (verb_of(*direction), None)).ok_or(start)
    }

    #[inline]
    fn due(&self, direction: Direction, now_ns: u64) -> Result<Option<u64>, u64> {
        match self.paces.get(direction) {
            None => Ok(None),
            Some(pace) => {
                let start = pace.next_start_ns();
                if start <= now_ns { Ok(Some(start)) } else { Err(start) }
            }
        }
    }
}

fn verb_of(direction: Direction) -> Verb {
    match direction {
        Direction::Read => Verb::Read,
        Direction::Write => Verb::Write,
        Direction::Trim => Verb::Trim,
    }
}

fn verbs(job: &Job) -> Vec<(Verb, u32)> {
    if let Some(ops) = &job.objects.ops {
        return ops.iter().map(|(op, weight)| (verb_of_object(*op), *weight)).collect();
    }
    let pattern = job.pattern;
    let mut verbs = Vec::new();
    if pattern.reads && pattern.writes {
        verbs.push((Verb::Read, job.read_percent));
        verbs.push((Verb::Write, 100u32.saturating_sub(job.read_percent)));
        verbs.retain(|(_, weight)| *weight > 0);
    } else {
        verbs.extend(pattern.reads.then_some((Verb::Read, 1)));
        verbs.extend(pattern.writes.then_some((Verb::Write, 1)));
    }
    verbs.extend(pattern.trims.then_some((Verb::Trim, 1)));
    verbs
}

fn verb_of_object(op: ObjectOp) -> Verb {
    match op {
        ObjectOp::Put => Verb::Write,
        ObjectOp::Get => Verb::Read,
        ObjectOp::Head => Verb::Head,
        ObjectOp::List => Verb::List,
        ObjectOp::Delete => Verb::Trim,
        ObjectOp::Copy => Verb::Copy,
        ObjectOp::Multipart => Verb::Multipart,
    }
}

/// Groups the directions by block size: returns the class of each block size, and the class of each
/// direction.
fn classes_of(job: &Job, verbs: &[(Verb, u32)]) -> (Vec<Class>, ByDirection<usize>) {
    let mut blocks: Vec<(&BlockSize, u32)> = Vec::new();
    let mut of = ByDirection::default();
    for (verb, weight) in verbs {
        let Some(direction) = verb.direction() else { continue };
        let block = job.block.get(direction);
        let known = blocks.iter().position(|(known, _)| *known == block);
        let class = known.unwrap_or_else(|| {
            blocks.push((block, 0));
            blocks.len() - 1
        });
        blocks[class].1 += weight;
        *of.get_mut(direction) = class;
    }
    (blocks.into_iter().map(|(block, weight)| Class { sizes: Sizes::new(block), weight }).collect(), of)
}

fn file_sequences(
    job: &Job,
    regions: &[Region],
    unit: u64,
    classes: Option<&(Vec<Class>, ByDirection<usize>)>,
    random: &mut Random,
) -> Result<Vec<Sequence>, LoadError> {
    let mut sequences = Vec::with_capacity(regions.len());
    for (file, region) in regions.iter().enumerate() {
        if region.length < unit {
            let (job, length) = (job.name.clone(), region.length);
            return Err(LoadError::TooSmall { job, file, length, block: unit });
        }
        let units = region.length / unit;
        let even = Direction::ALL.into_iter().all(|of| *job.distribution.get(of) == Distribution::Even);
        sequences.push(if !job.pattern.random {
            Sequence::sequential(*region, unit)
        } else if job.norandommap || !even {
            Sequence::random(*region, unit, &job.distribution, job.random_percent, random)
        } else {
            match classes {
                None => Sequence::covering(*region, unit, random),
                Some(_) if units > MAP_UNITS_MAX => {
                    return Err(LoadError::MapTooLarge { job: job.name.clone(), units });
                }
                Some((classes, of)) => Sequence::tiled(*region, unit, (classes, *of), random),
            }
        });
    }
    Ok(sequences)
}

/// Creates the sequence of object numbers, which are offsets of units of one.
fn object_sequence(job: &Job, count: u64, random: &mut Random) -> Sequence {
    let region = Region { start: 0, length: count };
    let distribution = &job.objects.key_distribution;
    if *distribution != Distribution::Even || (job.pattern.random && job.norandommap) {
        Sequence::random(region, 1, &ByDirection::same(distribution.clone()), job.random_percent, random)
    } else if job.pattern.random {
        Sequence::covering(region, 1, random)
    } else {
        Sequence::sequential(region, 1)
    }
}

fn budget(job: &Job, target: &Target, unit: u64) -> Budget {
    let ios = job.number_ios.unwrap_or(u64::MAX);
    match target {
        Target::Files(regions) => {
            let whole = regions.iter().map(|region| region.length / unit * unit).sum();
            Budget { bytes: job.io_size.unwrap_or(whole), ios }
        }
        Target::Objects(count) => {
            let wanted = job.io_size.map_or(*count, |bytes| bytes / unit);
            Budget { bytes: u64::MAX, ios: ios.min(wanted) }
        }
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
