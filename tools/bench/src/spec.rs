//! This module defines a job as it will be run: every key of a job file, typed, with its default
//! set.
//!
//! Invariant: sizes are in bytes, and times in nanoseconds unless the name says otherwise. A value
//! here was checked, so the code that runs it asserts rather than reports errors.

use ringbolt_engine::ring::blocks::BlockMemory;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// This is the direction under which the results of an operation are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Read,
    Write,
    Trim,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Trim];

    /// Returns the name that fio's output uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Trim => "trim",
        }
    }
}

/// Holds a value for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByDirection<T> {
    pub read: T,
    pub write: T,
    pub trim: T,
}

impl<T> ByDirection<T> {
    pub fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
            Direction::Trim => &self.trim,
        }
    }

    pub fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
            Direction::Trim => &mut self.trim,
        }
    }
}

impl<T: Clone> ByDirection<T> {
    /// Returns the same value for each direction.
    pub fn same(value: T) -> Self {
        Self { read: value.clone(), write: value.clone(), trim: value }
    }
}

/// This is the value of `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub reads: bool,
    pub writes: bool,
    pub trims: bool,
    pub random: bool,
}

/// This is the value of `bs`, `bsrange` or `bssplit` for one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockSize {
    Fixed(u64),
    /// Draws multiples of the smallest size evenly.
    Range {
        least: u64,
        most: u64,
    },
    /// Holds sizes in bytes and their shares in per cent, which add up to 100.
    Split(Vec<(u64, u32)>),
}

/// This is the value of `random_distribution`, or of `keydist` for objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    Even,
    /// Holds the exponent.
    Zipf(f64),
    /// Holds the power: fio's h.
    Pareto(f64),
    /// Holds the deviation in per cent of the range.
    Normal(f64),
    /// Holds zones as per cent of the accesses and per cent of the range; each adds up to 100.
    Zoned(Vec<(u32, u32)>),
}

/// This is the value of `ioengine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Runs on a raw file or block device by io_uring.
    IoUring,
    /// Runs on the storage engine in this process, without HTTP. `filename` is a drive, which is
    /// created if it does not exist.
    Ringbolt,
    S3,
}

/// Says how operations on files and devices are carried out (`ioengine` with the meaning of
/// [`Engine::IoUring`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Queues operations in a ring: io_uring, and engines that keep operations in flight by other
    /// means (libaio, posixaio).
    Queued,
    /// Makes one pread or pwrite after the other: psync and similar engines.
    Plain,
    /// Copies from and to the mapped file, one operation after the other: mmap.
    Mapped,
}

/// Says what is durable when a write completes (`sync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    No,
    /// The data are durable (O_DSYNC).
    Data,
    /// The file's times are durable too (O_SYNC).
    All,
}

/// This is an operation of an object engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectOp {
    Put,
    Get,
    Head,
    List,
    Delete,
    Copy,
    Multipart,
}

impl ObjectOp {
    /// Lists the operations that store an object under the key that a delete would remove.
    pub const PUTS: [Self; 2] = [Self::Put, Self::Multipart];
}

/// This is the value of `rate_process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateProcess {
    Linear,
    Poisson,
}

/// Holds `latency_target` and its related keys: the depth is adjusted to meet the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyTarget {
    pub target_ns: u64,
    pub window_ns: u64,
    /// This is the percentage of a window's operations that must be faster.
    pub percentile: f64,
}

/// Says how many operations are submitted and taken back at a time (`iodepth_batch` and related
/// keys, `iodepth_low`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// This is the largest number of operations submitted together; `None` leaves it to the engine.
    pub most: Option<u32>,
    /// This is the number of completions that end a wait; with 0, it does not wait.
    pub complete_min: u32,
    /// This is the largest number of completions taken before new operations begin; `None` means
    /// all.
    pub complete_max: Option<u32>,
    /// This is the number of operations in flight at which new ones begin, once the depth was
    /// reached; `None` means after each completion.
    pub depth_low: Option<u32>,
}

impl Default for Batches {
    fn default() -> Self {
        Self { most: None, complete_min: 1, complete_max: None, depth_low: None }
    }
}

/// Says how files that are only written are prepared before the job begins (`fallocate`,
/// `overwrite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenFiles {
    /// The files get their length.
    Sparse,
    /// The files get their space too, if the file system can reserve it.
    Reserved,
    /// The files are written in full.
    Written,
}

/// Asks for percentiles besides those of completion latencies (`lat_percentiles`,
/// `slat_percentiles`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MorePercentiles {
    /// Asks for those of the total latency.
    pub total: bool,
    /// Asks for those of the submission latency.
    pub submission: bool,
}

/// This is the rate that must be steady before a job ends (`steadystate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadyMetric {
    Iops,
    Bandwidth,
}

/// Holds `steadystate` and its related keys: the job ends once its rate, over a window, is steady.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    pub metric: SteadyMetric,
    /// Judges the slope of a line through the window instead of the largest deviation from its
    /// mean.
    pub slope: bool,
    /// This is the upper limit of the judged figure.
    pub limit: f64,
    /// Says that `limit` is in per cent of the window's mean.
    pub percent: bool,
    pub window_ns: u64,
    /// This is the time between the start of the job and the first sample.
    pub ramp_ns: u64,
    /// This is the length of a sample.
    pub interval_ns: u64,
}

/// Holds `verify` and its related keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Reads back what was written after a write job is done (`do_verify`).
    pub read_back: bool,
    /// Stops at the first wrong block (`verify_fatal`).
    pub fatal: bool,
    /// Fills blocks with the repeated pattern of the job, without a checksum (`verify=pattern`).
    pub by_pattern: bool,
}

/// This is the checksum that `verify` writes into objects and checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    #[default]
    Crc32c,
    Sha256,
}

impl Checksum {
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32c => "crc32c",
            Self::Sha256 => "sha256",
        }
    }

    /// Returns the length of a checksum.
    pub fn bytes(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Sha256 => 32,
        }
    }
}

/// Holds the file name prefixes of `write_bw_log`, `write_lat_log` and `write_iops_log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    pub bandwidth: Option<String>,
    pub latency: Option<String>,
    pub iops: Option<String>,
    /// This is the time over which an entry is a mean (`log_avg_msec`); with 0, each operation has
    /// an entry.
    pub average_ms: u64,
    /// Writes one file for all threads (`per_job_logs=0`).
    pub in_one_file: bool,
    /// Adds the offset of its operation to each entry (`log_offset`).
    pub with_offset: bool,
}

/// This is the value of `http_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMode {
    S3,
}

/// This is the value of `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Https {
    Off,
    On,
    /// Does not verify the certificate.
    Insecure,
}

/// Says what the S3 client's thread does while no response is there (`client_wait`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientWait {
    /// Polls if nobody else is likely to need the core.
    #[default]
    Auto,
    /// Polls all the time: the server does not pay for waking the client, which uses a whole core.
    Poll,
    /// Sleeps in the kernel until a response arrives.
    Sleep,
}

impl ClientWait {
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Poll => "poll",
            Self::Sleep => "sleep",
        }
    }
}

/// Holds the keys of the object engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// This is the value of `http_host`, with an optional port.
    pub host: String,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub https: Https,
    pub mode: HttpMode,
    pub bucket: String,
    /// Holds a weighted mix of operations; with `None`, the direction decides (a read gets, a write
    /// puts, a trim deletes).
    pub ops: Option<Vec<(ObjectOp, u32)>>,
    /// This is the number of objects; with 0, it is `size` over the block size.
    pub objects: u64,
    pub key_distribution: Distribution,
    pub part_bytes: u64,
    /// This is the number of bytes that a get asks for (`range_size`); `None` means the whole
    /// object.
    pub range_bytes: Option<u64>,
    /// This says over how many drives large objects are striped, and how many may be lost, of those that
    /// `ioengine=ringbolt` makes (`redundancy`); `None` leaves it to their number.
    pub redundancy: Option<(u8, u8)>,
    /// This is the time after which an operation without a complete response has failed
    /// (`request_timeout`).
    pub timeout_ns: u64,
    pub client_wait: ClientWait,
}

/// This is one section after inheritance; `numjobs` threads run it.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    /// Holds the keys as they were written, global ones first: fio's "job options".
    pub given: BTreeMap<String, String>,
    /// This is the stage of the job. Jobs of a stage run together; a stage begins when the one
    /// before has ended (`stonewall`).
    pub stage: usize,
    /// This is the group whose results are summed; without `group_reporting`, each job has its own.
    pub group: usize,
    pub group_reporting: bool,
    pub description: Option<String>,
    pub wait_for: Option<String>,

    pub engine: Engine,
    pub calls: Calls,
    pub pattern: Pattern,
    pub block: ByDirection<BlockSize>,
    /// This is the total size of a thread's files in bytes.
    pub size: Option<u64>,
    /// This is the number of bytes to transfer; `None` means `size`.
    pub io_size: Option<u64>,
    /// This is the size of each file; `None` means `size` over the number of files.
    pub file_size: Option<u64>,
    /// This is the upper end of a range that begins with `file_size`, from which each file's size
    /// is drawn.
    pub file_size_most: Option<u64>,
    /// Holds the paths of `filename`, split at colons; if it is empty, names are made of the job's
    /// name and numbers in `directory`.
    pub files: Vec<PathBuf>,
    pub directory: Option<PathBuf>,
    pub offset: u64,
    /// This is added to `offset` once for each earlier thread of the job.
    pub offset_increment: u64,
    pub nrfiles: u32,
    pub written_files: WrittenFiles,

    pub depth: u32,
    pub batches: Batches,
    /// Says what the buffers of operations are made of (`iomem`, `fixedbufs`).
    pub memory: BlockMemory,
    pub threads: u32,
    pub direct: bool,
    /// Drops the files from the page cache when the job begins, and before each further pass.
    pub invalidate: bool,
    /// Tells the kernel whether access is random, which determines how far it reads ahead into the
    /// page cache.
    pub fadvise_hint: bool,
    pub runtime_ns: Option<u64>,
    pub time_based: bool,
    pub ramp_ns: u64,
    pub start_delay_ns: u64,
    pub loops: u64,
    pub number_ios: Option<u64>,
    pub read_percent: u32,
    pub distribution: ByDirection<Distribution>,
    pub norandommap: bool,
    /// This is the percentage of a random load's operations at a random place; the others follow
    /// the one before.
    pub random_percent: ByDirection<u32>,
    pub seed: u64,

    /// This is in bytes per second.
    pub rate: ByDirection<Option<u64>>,
    pub rate_iops: ByDirection<Option<u64>>,
    pub rate_process: RateProcess,
    pub think_ns: u64,
    /// This is the part of a pause that is spent busy.
    pub think_spin_ns: u64,
    pub think_blocks: u64,
    pub latency_target: Option<LatencyTarget>,
    pub steady: Option<Steady>,
    pub more_percentiles: MorePercentiles,
    /// Lists at most 20 percentiles, in per cent.
    pub percentiles: Vec<f64>,

    /// This is the number of writes after which a flush follows; with 0, none does.
    pub fsync: u64,
    pub fdatasync: u64,
    pub durable: Durable,
    pub end_fsync: bool,
    /// Flushes each file at the end of the job (`fsync_on_close`).
    pub close_fsync: bool,
    /// Lists the cores to run on; if it is empty, any will do.
    pub cpus: Vec<usize>,
    /// Gives each thread one of the cores (`cpus_allowed_policy=split`).
    pub split_cpus: bool,
    pub numa_nodes: Vec<usize>,
    pub verify: Option<Verify>,
    /// This is the checksum of `verify`.
    pub checksum: Checksum,
    pub refill_buffers: bool,
    pub zero_buffers: bool,
    /// This is the repeated content of writes (`buffer_pattern`, `verify_pattern`); if it is empty,
    /// writes are random.
    pub byte_pattern: Vec<u8>,
    /// This is the percentage of a buffer that can be compressed away.
    pub compress_percent: u32,
    pub logs: Logs,
    /// Says which errors of reads, writes and verification do not end the job
    /// (`continue_on_error`).
    pub continue_on_error: ErrorKinds,
    pub unlink: bool,
    pub objects: Objects,
}

impl Job {
    /// Returns the first key by which the job asks for flushes, which only files and block devices have.
    pub fn flush_key(&self) -> Option<&'static str> {
        let keys =
            [("fsync", self.fsync > 0), ("fdatasync", self.fdatasync > 0), ("end_fsync", self.end_fsync)];
        keys.into_iter().find(|(_, is_set)| *is_set).map(|(key, _)| key)
    }

    /// Returns where one of the job's threads begins in each file.
    pub fn offset_of(&self, thread: u32) -> u64 {
        self.offset.saturating_add(self.offset_increment.saturating_mul(u64::from(thread)))
    }

    /// Returns the files of one of the job's threads. All threads share the files that were named;
    /// others are called `name.thread.file` as in fio, with both numbers from 0.
    pub fn paths(&self, thread: u32) -> Vec<PathBuf> {
        let count = if self.files.is_empty() { self.nrfiles } else { self.files.len() as u32 };
        (0..count).map(|file| self.path(thread, file)).collect()
    }

    /// Returns one of these files.
    pub fn path(&self, thread: u32, file: u32) -> PathBuf {
        let directory = self.directory.clone().unwrap_or_default();
        if !self.files.is_empty() {
            return directory.join(&self.files[file as usize]);
        }
        let name = self.name.replace('/', "_");
        directory.join(format!("{name}.{thread}.{file}"))
    }
}

impl Job {
    /// Returns a job for the program's own use: reads of 4 KiB, one after the other, direct, one
    /// thread.
    pub fn plain(name: &str, engine: Engine) -> Self {
        Self {
            name: name.into(),
            given: BTreeMap::new(),
            stage: 0,
            group: 0,
            group_reporting: false,
            description: None,
            wait_for: None,
            engine,
            calls: Calls::Queued,
            pattern: Pattern { reads: true, writes: false, trims: false, random: false },
            block: ByDirection::same(BlockSize::Fixed(4096)),
            size: None,
            io_size: None,
            file_size: None,
            file_size_most: None,
            files: Vec::new(),
            directory: None,
            offset: 0,
            offset_increment: 0,
            nrfiles: 1,
            written_files: WrittenFiles::Reserved,
            depth: 1,
            batches: Batches::default(),
            memory: BlockMemory::BEST,
            threads: 1,
            direct: true,
            invalidate: true,
            fadvise_hint: true,
            runtime_ns: None,
            time_based: false,
            ramp_ns: 0,
            start_delay_ns: 0,
            loops: 1,
            number_ios: None,
            read_percent: 50,
            distribution: ByDirection::same(Distribution::Even),
            norandommap: false,
            random_percent: ByDirection::same(100),
            seed: 1,
            rate: ByDirection::same(None),
            rate_iops: ByDirection::same(None),
            rate_process: RateProcess::Linear,
            think_ns: 0,
            think_spin_ns: 0,
            think_blocks: 1,
            latency_target: None,
            steady: None,
            more_percentiles: MorePercentiles::default(),
            percentiles: vec![50.0, 90.0, 99.0, 99.9, 99.99],
            fsync: 0,
            fdatasync: 0,
            durable: Durable::No,
            end_fsync: false,
            close_fsync: false,
            cpus: Vec::new(),
            split_cpus: false,
            numa_nodes: Vec::new(),
            verify: None,
            checksum: Checksum::default(),
            refill_buffers: false,
            zero_buffers: false,
            byte_pattern: Vec::new(),
            compress_percent: 0,
            logs: Logs::default(),
            continue_on_error: ErrorKinds::default(),
            unlink: false,
            objects: Objects::default(),
        }
    }
}

impl Objects {
    /// Returns whether the job is a mix with deletes, which deletes only objects that it has put
    /// itself.
    pub fn deletes_its_own(&self) -> bool {
        self.weight_of(&[ObjectOp::Delete]) > 0 && self.weight_of(&ObjectOp::PUTS) > 0
    }

    /// Returns the sum of the weights of some operations in the mix.
    pub fn weight_of(&self, some: &[ObjectOp]) -> u64 {
        let mix = self.ops.iter().flatten();
        mix.filter(|(op, _)| some.contains(op)).map(|(_, weight)| u64::from(*weight)).sum()
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            host: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
            region: "us-east-1".into(),
            https: Https::Off,
            mode: HttpMode::S3,
            bucket: "bench".into(),
            ops: None,
            objects: 0,
            key_distribution: Distribution::Even,
            part_bytes: 5 << 20,
            range_bytes: None,
            redundancy: None,
            timeout_ns: 30_000_000_000,
            client_wait: ClientWait::default(),
        }
    }
}

/// Holds the kinds of errors of `continue_on_error`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorKinds {
    pub read: bool,
    pub write: bool,
    pub verify: bool,
}

/// Holds everything that a job file or a command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Holds the keys of `[global]` as they were written.
    pub global: BTreeMap<String, String>,
    pub jobs: Vec<Job>,
}
