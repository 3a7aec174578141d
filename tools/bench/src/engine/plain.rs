//! This module runs operations on a raw file or block device one after the other: by a system call
//! each (`ioengine=psync` and similar engines), or by copies from and to the mapped file
//! (`ioengine=mmap`).
//!
//! Invariant: at most one operation is queued, and the call that submits it or waits for it carries
//! it out.

use super::drive::buffer_bytes;
use super::layout::{self, LayoutLock, Upkeep};
use super::{Clock, Completion, EngineError, IoEngine, Operation, Verb};
use crate::load::Region;
use crate::spec::{Calls, Durable, Job};
use ringbolt_engine::ring::mapped::{MappedFile, Visits};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{ReadWriteFlags, pwritev2};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Direct I/O needs buffers with this alignment; every device accepts it.
const ALIGNMENT: usize = 4096;

/// Holds the files of one thread, and the buffer of its one slot.
pub struct Plain {
    files: Vec<File>,
    /// Holds the part of each file that the job works on, if it works on mapped files.
    maps: Vec<MappedFile>,
    is_direct: bool,
    memory: Vec<u8>,
    /// This is the offset of the aligned buffer in `memory`, and its length.
    buffer: (usize, usize),
    durable: Durable,
    upkeep: Upkeep,
    clock: Clock,
    queued: Option<(u32, Operation)>,
}

impl Plain {
    /// Opens the files of one thread of `job`, lays them out if necessary, and returns the parts of
    /// them that the job works on. `progress` receives values from 0 to 1.
    ///
    /// # Errors
    /// Fails when a file is missing or does not support what the job asks of it.
    pub fn open(
        job: &Job,
        thread: u32,
        clock: Clock,
        lock: &LayoutLock,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(Self, Vec<Region>), EngineError> {
        assert_eq!(job.depth, 1, "one call after the other has a depth of 1");
        let (files, regions) = layout::open(job, thread, lock, progress)?;
        let length = buffer_bytes(job) as usize;
        let memory = vec![0; length + ALIGNMENT];
        let buffer = (memory.as_ptr().align_offset(ALIGNMENT), length);
        let maps = match job.calls {
            Calls::Mapped => map(job, &files, &regions)?,
            Calls::Plain | Calls::Queued => Vec::new(),
        };
        let plain = Self {
            files,
            maps,
            is_direct: job.direct,
            memory,
            buffer,
            durable: job.durable,
            upkeep: Upkeep::of(job),
            clock,
            queued: None,
        };
        Ok((plain, regions))
    }

    fn carry_out(&mut self, operation: &Operation) -> io::Result<usize> {
        let file = &self.files[operation.file as usize];
        let Operation { offset, length, .. } = *operation;
        let buffer = &mut self.memory[self.buffer.0..][..self.buffer.1];
        let mut map = self.maps.get_mut(operation.file as usize);
        match (operation.verb, &mut map) {
            (Verb::Read, Some(map)) => map.read(offset, &mut buffer[..length as usize]),
            (Verb::Write, Some(map)) => map.write(offset, &buffer[..length as usize]),
            (Verb::Sync | Verb::DataSync, Some(map)) => return map.flush_all().map(|()| 0),
            _ => return Self::call(file, self.durable, operation, buffer),
        }
        if let Some(map) = map {
            if self.durable != Durable::No && operation.verb == Verb::Write || self.is_direct {
                map.flush(offset..offset + length)?;
            }
            if self.is_direct {
                map.let_go()?;
            }
        }
        Ok(length as usize)
    }

    fn call(file: &File, durable: Durable, operation: &Operation, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = operation.offset;
        match operation.verb {
            Verb::Read => file.read_at(&mut buffer[..operation.length as usize], offset),
            Verb::Write => {
                let flags = match durable {
                    Durable::No => return file.write_at(&buffer[..operation.length as usize], offset),
                    Durable::Data => ReadWriteFlags::DSYNC,
                    Durable::All => ReadWriteFlags::SYNC,
                };
                let pieces = [IoSlice::new(&buffer[..operation.length as usize])];
                Ok(pwritev2(file, &pieces, offset, flags)?)
            }
            Verb::Trim => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(file, flags, offset, operation.length)?;
                Ok(0)
            }
            Verb::Sync => file.sync_all().map(|()| 0),
            Verb::DataSync => file.sync_data().map(|()| 0),
            verb @ (Verb::ReadBack | Verb::Head | Verb::List | Verb::Copy | Verb::Multipart) => {
                unreachable!("{verb:?} is of objects; jobs are checked before they run")
            }
        }
    }
}

/// Maps the part of each file that the job works on.
fn map(job: &Job, files: &[File], regions: &[Region]) -> Result<Vec<MappedFile>, EngineError> {
    let visits = match (job.fadvise_hint, job.pattern.random) {
        (false, _) => Visits::Unknown,
        (true, true) => Visits::Random,
        (true, false) => Visits::Sequential,
    };
    let one = |(file, region): (&File, &Region)| {
        let part = region.start..region.start + region.length;
        MappedFile::new(file, part, job.pattern.writes, visits)
    };
    files.iter().zip(regions).map(one).collect::<io::Result<_>>().map_err(|error| {
        EngineError(format!("job {}: can not map its files: {error}; ioengine=psync reads them", job.name))
    })
}

impl IoEngine for Plain {
    fn prepare(&mut self, _progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        Ok(())
    }

    fn restart(&mut self) {
        // The cache keeps pages that are mapped: such a file warms up once, as with fio.
        if self.maps.is_empty() {
            self.upkeep.restart(&self.files);
        }
    }

    fn buffer(&mut self, slot: u32) -> &mut [u8] {
        assert_eq!(slot, 0, "there is one slot");
        &mut self.memory[self.buffer.0..][..self.buffer.1]
    }

    fn submit(&mut self, slot: u32, operation: &Operation) {
        assert!(self.queued.is_none(), "the one slot is in use");
        self.queued = Some((slot, *operation));
    }

    fn reap(
        &mut self,
        _at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError> {
        if let Some((slot, operation)) = self.queued.take() {
            let result = match self.carry_out(&operation) {
                Ok(bytes) => bytes as i64,
                Err(error) => -i64::from(error.raw_os_error().unwrap_or(nix::errno::Errno::EIO as i32)),
            };
            done.push(Completion { slot, result });
        } else if let Some(until) = deadline_ns {
            #[expect(
                clippy::disallowed_methods,
                reason = "the job's thread waits for its time, and has no core to share"
            )]
            std::thread::sleep(Duration::from_nanos(until.saturating_sub(self.clock.now_ns())));
        }
        Ok(())
    }

    fn flush_to_close(&mut self) -> Result<(), EngineError> {
        self.upkeep.close(&self.files)
    }
}
