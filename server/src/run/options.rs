//! What `serve` can be told, and how memory is shared out.

use crate::auth::RootCredentials;
use crate::http::{CONNECTION_BYTES_MAX, ConnectionCap, Limits};
use ringbolt_engine::node::ScrubOptions;
use ringbolt_engine::node::memory::{self, MemoryShares};
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
    /// Where health and metrics are; None: in the socket of the data directory only.
    pub admin_listen: Option<SocketAddr>,
    /// CPU numbers; empty: all this process may use.
    pub cores: Vec<usize>,
    /// All of the server's memory, bytes.
    pub memory_bytes: u64,
    /// Small objects kept in memory after a read, bytes; 0: none; None: as [`MemoryPlan`] has it.
    pub read_cache_bytes: Option<u64>,
    /// Size of the drive file that the first start makes.
    pub drive_bytes: u64,
    /// 0: two per core.
    pub shards: u16,
    pub region: String,
    /// Domains whose subdomains are buckets.
    pub domains: Vec<String>,
    /// Whether signature version 2 is believed, in requests and in forms.
    pub signature_v2: bool,
    pub register_buffers: bool,
    pub slow_request: Duration,
    pub scrub: ScrubOptions,
    /// None: uploads that nobody completes stay.
    pub abort_uploads_after_ms: Option<u64>,
    pub root: Option<RootCredentials>,
}

/// So many connections of a core find work for it.
const CONNECTIONS_PER_CORE_MAX: u64 = 16_384;
/// The engine rounds a region up to this, and aligns it.
const HUGE_PAGE: u64 = 2 << 20;
/// Descriptors that are not clients' connections: drives, rings, listeners, logs, and those of operators.
const DESCRIPTORS_RESERVED: u64 = 192;
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// The shares of `--memory`, as [`MemoryShares`] has them, for the cores of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    pub arena_bytes_per_core: usize,
    pub index_bytes_max: usize,
    pub read_cache_bytes_per_core: usize,
    /// Of the whole node.
    pub connections: usize,
    /// See [`RequestMemory`](crate::memory::RequestMemory).
    pub request_bytes_per_core: u64,
}

impl MemoryPlan {
    /// The smallest `--memory` that a node of `cores` works with.
    pub fn least_bytes(cores: usize) -> u64 {
        memory::least_bytes(cores.max(1) as u64)
    }

    /// `read_cache_bytes` as in [`ServeOptions`]; `descriptors`: how many files this process may have open.
    pub fn new(memory_bytes: u64, read_cache_bytes: Option<u64>, cores: usize, descriptors: u64) -> Self {
        let count = cores.max(1) as u64;
        let shares = MemoryShares::new(memory_bytes, read_cache_bytes, count);
        let by_memory = shares.connection_bytes / CONNECTION_BYTES_MAX as u64;
        let by_descriptors = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CONNECTION;
        let connections = by_memory.min(by_descriptors).clamp(1, CONNECTIONS_PER_CORE_MAX * count);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let arena = (shares.buffer_bytes / count).saturating_sub(HUGE_PAGE) / HUGE_PAGE * HUGE_PAGE;
        Self {
            arena_bytes_per_core: size(arena),
            index_bytes_max: size(shares.index_bytes_max),
            read_cache_bytes_per_core: size(shares.read_cache_bytes / count),
            connections: size(connections),
            request_bytes_per_core: shares.request_bytes / count,
        }
    }

    /// Of one core; its connections count in `connections`, with those of the others.
    pub fn limits(&self, slow_request: Duration, connections: ConnectionCap) -> Limits {
        Limits {
            connections,
            request_bytes_max: self.request_bytes_per_core,
            slow_request,
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_engine::node::memory::{BASE_BYTES, BASE_BYTES_PER_CORE, INDEX_BYTES_MIN};

    #[test]
    fn memory_is_shared_out_and_descriptors_cap_connections() {
        let plan = MemoryPlan::new(1 << 30, None, 2, 1 << 20);
        assert_eq!(plan.arena_bytes_per_core, 126 << 20);
        assert_eq!((plan.index_bytes_max, plan.read_cache_bytes_per_core), ((336 << 20) / 5 * 4, 56 << 20));
        assert_eq!(plan.request_bytes_per_core, 64 << 20);
        assert_eq!(plan.connections, 2340);
        assert_eq!(MemoryPlan::new(1 << 30, None, 2, 1024).connections, 416);
        assert_eq!(MemoryPlan::new(0, None, 2, 0).connections, 1);
        assert_eq!(MemoryPlan::new(1 << 40, None, 2, u64::MAX).connections, 2 * 16_384);
        let without = MemoryPlan::new(1 << 30, Some(0), 2, 1024);
        assert_eq!((without.index_bytes_max, without.read_cache_bytes_per_core), ((448 << 20) / 5 * 4, 0));
        let most = MemoryPlan::new(1 << 30, Some(1 << 40), 2, 1024);
        assert_eq!(most.index_bytes_max, (224 << 20) / 5 * 4);
    }

    #[test]
    fn the_shares_are_never_more_than_the_whole() {
        for cores in [1, 2, 4, 16, 96] {
            let least = MemoryPlan::least_bytes(cores);
            for memory in [least, 3 * least, 100 << 30] {
                let (plan, count) = (MemoryPlan::new(memory, None, cores, u64::MAX), cores as u64);
                let connections = (plan.connections * CONNECTION_BYTES_MAX) as u64;
                let per_core = plan.arena_bytes_per_core as u64
                    + HUGE_PAGE
                    + plan.read_cache_bytes_per_core as u64
                    + plan.request_bytes_per_core
                    + BASE_BYTES_PER_CORE;
                let index = plan.index_bytes_max as u64 / 4 * 5;
                let all = per_core * count + connections + index + BASE_BYTES;
                assert!(all <= memory, "{cores} cores, {memory} bytes");
                assert!(plan.index_bytes_max as u64 >= INDEX_BYTES_MIN / 2);
                assert!(plan.arena_bytes_per_core as u64 >= 8 << 20, "the engine takes no less");
            }
        }
    }
}
