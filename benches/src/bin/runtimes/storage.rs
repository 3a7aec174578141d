//! Random 4 KiB reads with O_DIRECT from one file: the engine's ring, monoio, glommio and fio.
//!
//! Invariants:
//! - Each contender keeps `depth` reads in flight on one pinned core, as its own users would: the ring and glommio
//!   with their registered buffers, monoio and fio with buffers that the kernel pins for each read.
//! - Every read must bring the whole block, or the turn fails.
//! - The ring, monoio and glommio are measured by the same [`Meter`]; fio measures itself.

use crate::tasks::{self, Task};
use crate::{AnyError, Contender, Turn};
use glommio::io::DmaFile;
use glommio::{LocalExecutorBuilder, Placement};
use monoio::buf::{IoBufMut, SliceMut};
use ringbolt_benches::fio::FioJob;
use ringbolt_benches::usage::{on_core, own_cpu_us};
use ringbolt_engine::ring::uring::Target;
use ringbolt_engine::ring::{Pool, Ring};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
/// `O_DIRECT` of the platform.
const DIRECT: i32 = nix::fcntl::OFlag::O_DIRECT.bits();

/// The contenders of this comparison, in the order of the table.
pub const CONTENDERS: [Contender; 4] =
    [Contender::Ring, Contender::Monoio, Contender::Glommio, Contender::Fio];

/// One case: what every contender does.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub file: &'a Path,
    pub size_bytes: u64,
    /// Reads in flight.
    pub depth: usize,
    pub core: usize,
    pub seconds: u32,
}

/// Runs one turn of one contender.
pub fn turn(case: Case<'_>, contender: Contender) -> Result<Turn, AnyError> {
    if contender == Contender::Fio {
        return fio(case);
    }
    let outcome = on_core(case.core, || match contender {
        Contender::Ring => ring(case).map_err(|error| error.to_string()),
        Contender::Monoio => monoio(case).map_err(|error| error.to_string()),
        Contender::Glommio => glommio(case).map_err(|error| error.to_string()),
        Contender::Fio => unreachable!("fio measures itself"),
    })?;
    Ok(outcome?)
}

/// Counts operations between the end of the ramp and the end of the turn, with the CPU time of the process.
struct Meter {
    started: Instant,
    ramp: Duration,
    runtime: Duration,
    begin: Cell<Option<Mark>>,
    end: Cell<Option<Mark>>,
    operations: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu_us: u64,
}

impl Meter {
    fn new(seconds: u32) -> Rc<Self> {
        Rc::new(Self {
            started: Instant::now(),
            ramp: Duration::from_secs(1),
            runtime: Duration::from_secs(u64::from(seconds)),
            begin: Cell::new(None),
            end: Cell::new(None),
            operations: Cell::new(0),
        })
    }

    /// Accounts one operation of `result` bytes; false when the turn is over.
    fn count(&self, result: usize) -> io::Result<bool> {
        if result != BLOCK {
            return Err(io::Error::other(format!("a read brought {result} bytes instead of {BLOCK}")));
        }
        if self.end.get().is_some() {
            return Ok(false);
        }
        let now = Instant::now();
        let elapsed = now - self.started;
        let mark = || Ok::<_, io::Error>(Some(Mark { at: now, cpu_us: own_cpu_us()? }));
        if elapsed < self.ramp {
            return Ok(true);
        }
        if self.begin.get().is_none() {
            self.begin.set(mark()?);
            return Ok(true);
        }
        if elapsed >= self.ramp + self.runtime {
            self.end.set(mark()?);
            return Ok(false);
        }
        self.operations.set(self.operations.get() + 1);
        Ok(true)
    }

    fn turn(&self) -> Result<Turn, AnyError> {
        let operations = self.operations.get() as f64;
        let (Some(begin), Some(end), true) = (self.begin.get(), self.end.get(), operations > 0.0) else {
            return Err("no read ended within the measured time; run longer".into());
        };
        Ok(Turn {
            operations_per_s: operations / (end.at - begin.at).as_secs_f64(),
            cpu_us_per_operation: (end.cpu_us - begin.cpu_us) as f64 / operations,
        })
    }
}

/// The offset of a random block of a file.
fn random_offset(size_bytes: u64) -> u64 {
    fastrand::u64(..size_bytes / BLOCK as u64) * BLOCK as u64
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(DIRECT).open(file)
}

/// The engine's own ring: registered file, registered buffers where the limit on locked memory allows them.
fn ring(case: Case<'_>) -> Result<Turn, AnyError> {
    let file = open(case.file)?;
    let pool = Pool::new(0)?;
    let make = |register| {
        let peers = Arc::new(vec![AtomicI32::new(-1)]);
        Ring::new(0, peers, &[file.as_raw_fd()], pool.clone(), register)
    };
    let ring = make(true).or_else(|_| make(false))?;
    let meter = Meter::new(case.seconds);
    let (size_bytes, depth) = (case.size_bytes, case.depth);
    let task = || -> Task {
        let (ring, pool, meter) = (ring.clone(), pool.clone(), meter.clone());
        Box::pin(async move {
            let mut buffer = pool.take(BLOCK).await;
            loop {
                let offset = random_offset(size_bytes);
                let done = ring.read(Target { file: 0, offset, skip: 0, length: BLOCK }, buffer).await;
                let Ok(length) = usize::try_from(done.result) else {
                    return Err(io::Error::from_raw_os_error(-done.result));
                };
                buffer = done.buffer.ok_or_else(|| io::Error::other("a read without its buffer"))?;
                if !meter.count(length)? {
                    return Ok(());
                }
            }
        })
    };
    tasks::run(&ring, (0..depth).map(|_| task()).collect())?;
    meter.turn()
}

/// A block that O_DIRECT takes, within a vector of its own: monoio has no aligned buffers.
fn aligned_block() -> SliceMut<Vec<u8>> {
    let bytes = vec![0; 2 * BLOCK];
    let start = bytes.as_ptr().align_offset(BLOCK);
    bytes.slice_mut(start..start + BLOCK)
}

/// monoio with the flags that the server gives its ring.
fn monoio(case: Case<'_>) -> Result<Turn, AnyError> {
    let mut runtime = crate::monoio_runtime()?;
    runtime.block_on(async {
        let file = Rc::new(monoio::fs::File::from_std(open(case.file)?)?);
        let meter = Meter::new(case.seconds);
        let size_bytes = case.size_bytes;
        let readers: Vec<_> = (0..case.depth)
            .map(|_| {
                let (file, meter) = (file.clone(), meter.clone());
                monoio::spawn(async move {
                    let mut buffer = aligned_block();
                    loop {
                        let offset = random_offset(size_bytes);
                        let (outcome, block) = file.read_at(buffer, offset).await;
                        buffer = block;
                        if !meter.count(outcome?)? {
                            return Ok::<(), io::Error>(());
                        }
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await?;
        }
        meter.turn()
    })
}

/// glommio with its defaults: its three rings, its registered memory of 10 MiB.
fn glommio(case: Case<'_>) -> Result<Turn, AnyError> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(case.core));
    let executor = builder.ring_depth(case.depth.max(128)).make()?;
    executor.run(async {
        let file = Rc::new(DmaFile::open(case.file).await?);
        let meter = Meter::new(case.seconds);
        let size_bytes = case.size_bytes;
        let readers: Vec<_> = (0..case.depth)
            .map(|_| {
                let (file, meter) = (file.clone(), meter.clone());
                glommio::spawn_local(async move {
                    loop {
                        let offset = random_offset(size_bytes);
                        let block = file.read_at_aligned(offset, BLOCK).await?;
                        if !meter.count(block.len())? {
                            return Ok::<(), io::Error>(());
                        }
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await?;
        }
        meter.turn()
    })
}

fn fio(case: Case<'_>) -> Result<Turn, AnyError> {
    let job = FioJob {
        file: case.file,
        pattern: "randread",
        block_bytes: BLOCK as u64,
        align_bytes: 0,
        depth: case.depth as u32,
        size_bytes: case.size_bytes,
        dsync: false,
        ramp_s: 1,
        runtime_s: case.seconds,
        core: case.core,
    };
    let result = job.run()?;
    Ok(Turn { operations_per_s: result.iops, cpu_us_per_operation: result.cpu_us_per_io })
}
