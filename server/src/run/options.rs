//! What `serve` can be told, and how memory is shared out.

use crate::auth::RootCredentials;
use crate::http::{CONNECTION_BYTES_MAX, Limits};
use ringbolt_engine::node::ScrubOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `ringbolt serve` takes, parsed.
#[derive(Clone)]
pub struct ServeOptions {
    pub data_dir: PathBuf,
    /// Empty: one drive file in the data directory, made on the first start.
    pub drives: Vec<PathBuf>,
    pub listen: SocketAddr,
    /// CPU numbers; empty: all this process may use.
    pub cores: Vec<usize>,
    /// All of the server's memory, bytes.
    pub memory_bytes: u64,
    /// Small objects kept in memory after a read, bytes; 0: none; None: an eighth of `memory_bytes`.
    pub read_cache_bytes: Option<u64>,
    /// Size of the drive file that the first start makes.
    pub drive_bytes: u64,
    /// 0: two per core.
    pub shards: u16,
    pub region: String,
    /// Domains whose subdomains are buckets.
    pub domains: Vec<String>,
    pub register_buffers: bool,
    pub slow_request: Duration,
    pub scrub: ScrubOptions,
    /// None: uploads that nobody completes stay.
    pub abort_uploads_after_ms: Option<u64>,
    pub root: Option<RootCredentials>,
}

/// Least memory a core works with.
pub const MEMORY_PER_CORE_MIN: u64 = 64 << 20;
/// Descriptors that are not connections: drives, rings, listeners, logs.
const DESCRIPTORS_RESERVED: u64 = 64;
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// The shares of `--memory`: a quarter for I/O buffers, half for the index and the read cache (a quarter of the half
/// unless told otherwise), the rest for connections, of which a quarter may go to upload forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    pub arena_bytes_per_core: usize,
    pub index_bytes_max: usize,
    pub read_cache_bytes_per_core: usize,
    pub connections_per_core: usize,
    /// Upload forms are held in memory while they are judged.
    pub form_bytes_per_core: u64,
}

impl MemoryPlan {
    /// `read_cache_bytes` as in [`ServeOptions`]; `descriptors`: how many files this process may have open.
    pub fn new(memory_bytes: u64, read_cache_bytes: Option<u64>, cores: usize, descriptors: u64) -> Self {
        let count = cores.max(1) as u64;
        let form_bytes = memory_bytes / 16;
        let by_memory = (memory_bytes / 4 - form_bytes) / CONNECTION_BYTES_MAX as u64;
        let by_descriptors = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CONNECTION;
        let read_cache_bytes = read_cache_bytes.unwrap_or(memory_bytes / 8).min(memory_bytes / 4);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            arena_bytes_per_core: size(memory_bytes / 4 / count),
            index_bytes_max: size(memory_bytes / 2 - read_cache_bytes),
            read_cache_bytes_per_core: size(read_cache_bytes / count),
            connections_per_core: size(by_memory.min(by_descriptors) / count).max(1),
            form_bytes_per_core: form_bytes / count,
        }
    }

    pub fn limits(&self, slow_request: Duration) -> Limits {
        Limits { connections_max: self.connections_per_core, slow_request, ..Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_and_descriptors_cap_connections() {
        let plan = MemoryPlan::new(1 << 30, None, 2, 1 << 20);
        assert_eq!(plan.arena_bytes_per_core, 128 << 20);
        assert_eq!((plan.index_bytes_max, plan.read_cache_bytes_per_core), (384 << 20, 64 << 20));
        assert_eq!(plan.form_bytes_per_core, 32 << 20);
        assert_eq!(plan.connections_per_core, 614);
        assert_eq!(MemoryPlan::new(1 << 30, None, 2, 1024).connections_per_core, 240);
        assert_eq!(MemoryPlan::new(0, None, 2, 0).connections_per_core, 1);
        let without = MemoryPlan::new(1 << 30, Some(0), 2, 1024);
        assert_eq!((without.index_bytes_max, without.read_cache_bytes_per_core), (512 << 20, 0));
        assert_eq!(MemoryPlan::new(1 << 30, Some(1 << 40), 2, 1024).index_bytes_max, 256 << 20);
    }
}
