//! This module computes the figures that are compared: those of each layer, and the loss of each
//! against the one below.

use crate::result::{DirectionResult, JobResult};
use crate::spec::{BlockSize, Direction, Job};
use serde::Serialize;

/// Names the layers, from the drive up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Drive,
    Engine,
    S3,
}

impl Layer {
    pub fn title(self) -> &'static str {
        match self {
            Self::Drive => "raw drive",
            Self::Engine => "engine",
            Self::S3 => "S3",
        }
    }

    /// Says what the layer does in addition to the one below.
    pub fn adds(self) -> &'static str {
        match self {
            Self::Drive => "direct I/O on a file by io_uring; each write durable by itself (RWF_DSYNC)",
            Self::Engine => {
                "keys and an index in place of offsets, checksums written and verified on every read, log and cleaner; \
                 writes in flight share their flushes"
            }
            Self::S3 => {
                "HTTP/1.1 over TCP, a signature made and checked for every request, MD5 for ETags of writes, headers \
                 and XML; a process of its own"
            }
        }
    }
}

/// Holds the figures of one direction.
#[derive(Clone, Debug, Serialize)]
pub struct DirectionFigures {
    pub operations: u64,
    pub iops: f64,
    pub bytes_per_s: f64,
    pub latency_p50_ns: u64,
    pub latency_p99_ns: u64,
    pub latency_p99_9_ns: u64,
    /// This is measured from the intended start; `None` without a rate.
    pub response_p99_9_ns: Option<u64>,
}

impl DirectionFigures {
    fn of(result: &DirectionResult) -> Option<Self> {
        if result.ios == 0 || result.runtime_ns == 0 {
            return None;
        }
        let seconds = result.runtime_ns as f64 / 1e9;
        let response = (result.response.count() > 0).then(|| result.response.percentile_ns(99.9));
        Some(Self {
            operations: result.ios,
            iops: result.ios as f64 / seconds,
            bytes_per_s: result.bytes as f64 / seconds,
            latency_p50_ns: result.clat.percentile_ns(50.0),
            latency_p99_ns: result.clat.percentile_ns(99.0),
            latency_p99_9_ns: result.clat.percentile_ns(99.9),
            response_p99_9_ns: response,
        })
    }
}

/// Holds the figures of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerFigures {
    pub layer: Layer,
    pub adds: &'static str,
    pub read: Option<DirectionFigures>,
    pub write: Option<DirectionFigures>,
    pub failed_operations: u64,
    /// This is the CPU time of the thread that ran the job. On the S3 layer the thread polls while
    /// it waits, so this is an upper bound.
    pub client_cpu_us_per_operation: f64,
    /// This is the CPU time of the server process; `None` without a server of ours, or when the run
    /// is too short for two samples.
    pub server_cpu_us_per_operation: Option<f64>,
    /// This is the mean number of cores that the server used.
    pub server_busy_cores: Option<f64>,
}

impl LayerFigures {
    /// Computes the figures of a layer; returns `None` when nothing was counted.
    pub fn of(layer: Layer, result: &JobResult, server_busy_cores: Option<f64>) -> Option<Self> {
        let direction = |direction| DirectionFigures::of(result.by_direction.get(direction));
        let (read, write) = (direction(Direction::Read), direction(Direction::Write));
        let both = || read.iter().chain(&write);
        let operations: u64 = both().map(|figures| figures.operations).sum();
        let iops: f64 = both().map(|figures| figures.iops).sum();
        if operations == 0 {
            return None;
        }
        let failed = |direction: &Direction| result.by_direction.get(*direction).failed_ios;
        let cpu_ns = result.usage.user_ns + result.usage.system_ns;
        // The CPU time includes the ramp, so the share is computed by time, not by operations.
        let client_share = cpu_ns as f64 / result.usage.wall_ns.max(1) as f64;
        Some(Self {
            layer,
            adds: layer.adds(),
            failed_operations: Direction::ALL.iter().map(failed).sum(),
            client_cpu_us_per_operation: client_share * 1e6 / iops,
            server_cpu_us_per_operation: server_busy_cores.map(|cores| cores * 1e6 / iops),
            server_busy_cores,
            read,
            write,
        })
    }

    pub fn direction(&self, direction: Direction) -> Option<&DirectionFigures> {
        match direction {
            Direction::Read => self.read.as_ref(),
            Direction::Write => self.write.as_ref(),
            Direction::Trim => None,
        }
    }

    /// Returns the CPU time of client and server per operation.
    pub fn cpu_us_per_operation(&self) -> f64 {
        self.client_cpu_us_per_operation + self.server_cpu_us_per_operation.unwrap_or(0.0)
    }
}

/// Holds the loss from one layer to the next above it, in per cent of the lower one's figure. A
/// negative value is a gain.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    pub from: Layer,
    pub to: Layer,
    pub direction: &'static str,
    /// This is the loss of throughput.
    pub iops_percent: f64,
    /// This is the increase of latency.
    pub latency_p50_percent: f64,
    pub latency_p99_percent: f64,
    /// This is the increase of CPU time, of client and server together and over both directions.
    pub cpu_percent: f64,
}

/// Holds the whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub version: u32,
    pub job: String,
    pub object_bytes: u64,
    pub objects: u64,
    pub depth: u32,
    pub layers: Vec<LayerFigures>,
    pub losses: Vec<Loss>,
}

impl Report {
    pub fn new(job: &Job, layers: Vec<LayerFigures>) -> Self {
        let direction = if job.pattern.reads { Direction::Read } else { Direction::Write };
        let object_bytes = match job.block.get(direction) {
            BlockSize::Fixed(bytes) => *bytes,
            BlockSize::Range { most, .. } => *most,
            BlockSize::Split(_) => 0,
        };
        let losses = layers.windows(2).flat_map(|pair| losses(&pair[0], &pair[1])).collect();
        Self {
            schema: "ringbolt-bench-layers",
            version: 1,
            job: job.name.clone(),
            object_bytes,
            objects: job.size.unwrap_or(0) / object_bytes.max(1),
            depth: job.depth,
            layers,
            losses,
        }
    }

    pub fn json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => unreachable!("a report of plain fields is written: {error}"),
        }
    }
}

fn losses(lower: &LayerFigures, upper: &LayerFigures) -> Vec<Loss> {
    let more = |from: f64, to: f64| (to / from - 1.0) * 100.0;
    let of = |direction: Direction| {
        let (from, to) = (lower.direction(direction)?, upper.direction(direction)?);
        Some(Loss {
            from: lower.layer,
            to: upper.layer,
            direction: direction.name(),
            iops_percent: -more(from.iops, to.iops),
            latency_p50_percent: more(from.latency_p50_ns as f64, to.latency_p50_ns as f64),
            latency_p99_percent: more(from.latency_p99_ns as f64, to.latency_p99_ns as f64),
            cpu_percent: more(lower.cpu_us_per_operation(), upper.cpu_us_per_operation()),
        })
    };
    [Direction::Read, Direction::Write].into_iter().filter_map(of).collect()
}
