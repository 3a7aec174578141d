//! A job as it will be run: every key of a job file, typed, with its default in place.
//!
//! Invariant: sizes are bytes, times nanoseconds unless the name says otherwise; a value here was checked, so whoever
//! runs it asserts rather than complains.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Of an operation, as results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Read,
    Write,
    Trim,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Trim];

    /// As fio's output names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Trim => "trim",
        }
    }
}

/// A value for each direction.
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
    pub fn same(value: T) -> Self {
        Self { read: value.clone(), write: value.clone(), trim: value }
    }
}

/// `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub reads: bool,
    pub writes: bool,
    pub trims: bool,
    pub random: bool,
}

/// `bs`, `bsrange`, `bssplit` of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockSize {
    Fixed(u64),
    /// Multiples of the smallest, evenly.
    Range {
        least: u64,
        most: u64,
    },
    /// Bytes and per cent; the parts add up to 100.
    Split(Vec<(u64, u32)>),
}

/// `random_distribution`, and `keydist` for objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    Even,
    /// Exponent.
    Zipf(f64),
    /// Power: fio's h.
    Pareto(f64),
    /// Deviation, per cent of the range.
    Normal(f64),
    /// Per cent of the accesses, per cent of the range; each adds up to 100.
    Zoned(Vec<(u32, u32)>),
}

/// `ioengine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A raw file or block device by io_uring.
    IoUring,
    /// The storage engine in this process, without HTTP: `filename` is a drive, made when it is not there.
    Ringbolt,
    /// An S3 endpoint.
    S3,
}

/// How the operations on files and devices are carried out (`ioengine` where [`Engine::IoUring`] is meant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Queued in a ring: io_uring, and what keeps operations in flight by other means (libaio, posixaio).
    Queued,
    /// One pread or pwrite after the other: psync and its kind.
    Plain,
}

/// `sync`: what is durable once a write has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    No,
    /// What was written (O_DSYNC).
    Data,
    /// The times of the file too (O_SYNC).
    All,
}

/// What an object engine does, and how often against the others.
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
    /// What stores an object under the key that a delete would remove.
    pub const PUTS: [Self; 2] = [Self::Put, Self::Multipart];
}

/// `rate_process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateProcess {
    Linear,
    Poisson,
}

/// `latency_target` and what belongs to it: the depth is lowered and raised to hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyTarget {
    pub target_ns: u64,
    pub window_ns: u64,
    /// Per cent of the operations of a window that must be faster.
    pub percentile: f64,
}

/// How operations are handed over and taken back (`iodepth_batch` and its kind, `iodepth_low`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// So many operations are handed over together at most; None: as many as serve the engine best.
    pub most: Option<u32>,
    /// A wait ends when so many operations have completed; 0: it does not wait.
    pub complete_min: u32,
    /// At most so many completed operations are taken before others are begun; None: all.
    pub complete_max: Option<u32>,
    /// Once the depth was reached, others are begun when only so many are left; None: as soon as one has completed.
    pub depth_low: Option<u32>,
}

impl Default for Batches {
    fn default() -> Self {
        Self { most: None, complete_min: 1, complete_max: None, depth_low: None }
    }
}

/// What becomes of files that are only written, before the job begins (`fallocate`, `overwrite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenFiles {
    /// They get their length.
    Sparse,
    /// They get their space too, where the file system can reserve it.
    Reserved,
    /// They are written in full.
    Written,
}

/// Percentiles beside those of completion latencies (`lat_percentiles`, `slat_percentiles`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MorePercentiles {
    /// Of latencies from the taking up of an operation.
    pub total: bool,
    /// Of those until it is handed over.
    pub submission: bool,
}

/// What is to be steady before a job ends (`steadystate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadyMetric {
    Iops,
    Bandwidth,
}

/// `steadystate` and what belongs to it: the job ends once its rate, over a window, is steady.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steady {
    pub metric: SteadyMetric,
    /// The slope of a line through the window is judged, in place of the largest deviation from its mean.
    pub slope: bool,
    /// What is judged has to be below this.
    pub limit: f64,
    /// `limit` is in per cent of the window's mean.
    pub percent: bool,
    pub window_ns: u64,
    /// Samples begin so long after the job.
    pub ramp_ns: u64,
    /// How long a sample is.
    pub interval_ns: u64,
}

/// `verify` and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Read back what was written once a write job is done (`do_verify`).
    pub read_back: bool,
    /// Stop at the first block that is wrong (`verify_fatal`).
    pub fatal: bool,
    /// Blocks are the job's pattern over and over, and carry no checksum (`verify=pattern`).
    pub by_pattern: bool,
}

/// What `verify` writes into objects, and looks at.
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

    /// Length of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Sha256 => 32,
        }
    }
}

/// `write_bw_log`, `write_lat_log`, `write_iops_log`: file name prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    pub bandwidth: Option<String>,
    pub latency: Option<String>,
    pub iops: Option<String>,
    /// `log_avg_msec`: entries are means over so long; 0: one for each operation.
    pub average_ms: u64,
    /// `per_job_logs=0`: one file for all threads.
    pub in_one_file: bool,
    /// `log_offset`: entries have the offset of their operation.
    pub with_offset: bool,
}

/// `http_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMode {
    S3,
}

/// `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Https {
    Off,
    On,
    /// Without looking at the certificate.
    Insecure,
}

/// `client_wait`: what the S3 client's thread does while no answer is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientWait {
    /// Polls when nobody is likely to need its core.
    #[default]
    Auto,
    /// Looks again and again: the server does not pay for waking it, and it takes a whole core.
    Poll,
    /// Sleeps in the kernel until an answer comes.
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

/// Keys of the object engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// `http_host`, with an optional port.
    pub host: String,
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub https: Https,
    pub mode: HttpMode,
    pub bucket: String,
    /// None: from the direction (a read gets, a write puts, a trim deletes). More than one: a weighted mix.
    pub ops: Option<Vec<(ObjectOp, u32)>>,
    /// How many objects; 0: `size` over the block size.
    pub objects: u64,
    pub key_distribution: Distribution,
    pub part_bytes: u64,
    /// `range_size`: a get asks for so many bytes of its object; None: for all of it.
    pub range_bytes: Option<u64>,
    /// `request_timeout`: an operation without a whole answer by then has failed.
    pub timeout_ns: u64,
    pub client_wait: ClientWait,
}

/// One section after inheritance; `numjobs` threads run it.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    /// Keys as they were written, global ones first: fio's "job options".
    pub given: BTreeMap<String, String>,
    /// Jobs of a stage run together; a stage begins when the one before has ended (`stonewall`).
    pub stage: usize,
    /// Jobs whose results are summed; each its own without `group_reporting`.
    pub group: usize,
    pub group_reporting: bool,
    pub description: Option<String>,
    pub wait_for: Option<String>,

    pub engine: Engine,
    pub calls: Calls,
    pub pattern: Pattern,
    pub block: ByDirection<BlockSize>,
    /// Bytes that a thread's files have in all, before `numjobs`.
    pub size: Option<u64>,
    /// Bytes to transfer; None: `size`.
    pub io_size: Option<u64>,
    /// Per file; None: `size` over the number of files.
    pub file_size: Option<u64>,
    /// The largest of a range that begins with `file_size`: each file's size is drawn from it.
    pub file_size_most: Option<u64>,
    /// `filename`, split at colons; empty: made from the job's name and number in `directory`.
    pub files: Vec<PathBuf>,
    pub directory: Option<PathBuf>,
    pub offset: u64,
    /// Added to `offset` once for each thread of the job before this one.
    pub offset_increment: u64,
    pub nrfiles: u32,
    pub written_files: WrittenFiles,

    pub depth: u32,
    pub batches: Batches,
    pub threads: u32,
    pub direct: bool,
    /// The page cache drops the files when the job begins, and before each further pass.
    pub invalidate: bool,
    /// The kernel is told whether access is random, which decides how far it reads ahead into the page cache.
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
    /// Of a random load's operations, in per cent, those at a random place; the others follow the one before.
    pub random_percent: ByDirection<u32>,
    pub seed: u64,

    /// Bytes a second.
    pub rate: ByDirection<Option<u64>>,
    pub rate_iops: ByDirection<Option<u64>>,
    pub rate_process: RateProcess,
    pub think_ns: u64,
    /// So much of a pause is spent busy.
    pub think_spin_ns: u64,
    pub think_blocks: u64,
    pub latency_target: Option<LatencyTarget>,
    pub steady: Option<Steady>,
    pub more_percentiles: MorePercentiles,
    /// Per cent, at most 20.
    pub percentiles: Vec<f64>,

    /// A flush after so many writes; 0: never.
    pub fsync: u64,
    pub fdatasync: u64,
    pub durable: Durable,
    pub end_fsync: bool,
    /// `fsync_on_close`: each file is flushed when the job closes it, after its figures are taken.
    pub close_fsync: bool,
    /// Cores to run on; empty: any.
    pub cpus: Vec<usize>,
    /// Each thread has one of the cores (`cpus_allowed_policy=split`).
    pub split_cpus: bool,
    pub numa_nodes: Vec<usize>,
    pub verify: Option<Verify>,
    /// Of `verify`.
    pub checksum: Checksum,
    pub refill_buffers: bool,
    pub zero_buffers: bool,
    /// What is written, over and over (`buffer_pattern`, `verify_pattern`); empty: something random.
    pub byte_pattern: Vec<u8>,
    /// Per cent of a buffer that compresses away.
    pub compress_percent: u32,
    pub logs: Logs,
    /// Errors of reads, writes and verification that do not end the job (`continue_on_error`).
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

    /// Where in each file one of the job's threads begins.
    pub fn offset_of(&self, thread: u32) -> u64 {
        self.offset.saturating_add(self.offset_increment.saturating_mul(u64::from(thread)))
    }

    /// The files of one of the job's threads: all threads share those that were named; others are called
    /// `name.thread.file` as by fio, both from 0.
    pub fn paths(&self, thread: u32) -> Vec<PathBuf> {
        let count = if self.files.is_empty() { self.nrfiles } else { self.files.len() as u32 };
        (0..count).map(|file| self.path(thread, file)).collect()
    }

    /// One of these files.
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
    /// A job that the program makes for itself: reads of 4 KiB, one after the other, direct, one thread.
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
    /// Whether it is a mix that deletes, and so only what it has put itself.
    pub fn deletes_its_own(&self) -> bool {
        self.weight_of(&[ObjectOp::Delete]) > 0 && self.weight_of(&ObjectOp::PUTS) > 0
    }

    /// Sum of the weights of some operations in the mix.
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
            timeout_ns: 30_000_000_000,
            client_wait: ClientWait::default(),
        }
    }
}

/// `continue_on_error`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorKinds {
    pub read: bool,
    pub write: bool,
    pub verify: bool,
}

/// All that a job file or a command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Keys of `[global]` as they were written.
    pub global: BTreeMap<String, String>,
    pub jobs: Vec<Job>,
}
