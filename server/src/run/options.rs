//! The options of `serve`, and how they share out memory.

use crate::auth::RootCredentials;
use crate::http::{CONNECTION_BYTES_MAX, ConnectionCap, Limits, TLS_BYTES_MAX};
use crate::network::Network;
use crate::office::AcmeOptions;
use crate::s3::{Ownership, StorageClasses};
use crate::throttle::ThrottleLimits;
use crate::tls::{CertificateFiles, ClientCertificates};
use ringbolt_engine::node::memory::{self, MemoryShares};
use ringbolt_engine::node::{LifecycleOptions, Redundancy, ScrubOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The options of `ringbolt serve`, parsed.
#[derive(Clone)]
pub struct ServeOptions {
    pub data_dir: PathBuf,
    /// The drives to open. If it is empty, one drive file in the data directory, which is made on
    /// the first start.
    pub drives: Vec<PathBuf>,
    /// A directory, or a pattern of paths: all drives in it are opened, whatever else is there.
    pub drive_set: Option<PathBuf>,
    /// The UUIDs of drives that are gone for good by the operator's word.
    pub without_drives: Vec<[u8; 16]>,
    pub listen: SocketAddr,
    /// The address of health and metrics. None if they are in the socket of the data directory
    /// only.
    pub admin_listen: Option<SocketAddr>,
    /// The numbers of the CPUs to use. If it is empty, all that this process may use.
    pub cores: Vec<usize>,
    /// All of the server's memory, in bytes.
    pub memory_bytes: u64,
    /// The memory for small objects that are kept after a read, in bytes. 0 keeps none; None lets
    /// [`MemoryPlan`] choose.
    pub read_cache_bytes: Option<u64>,
    /// The size in bytes of the drive file that the first start makes.
    pub drive_bytes: u64,
    /// The number of shards of a new drive file. 0 makes two per core.
    pub shards: u16,
    /// How much may be lost of what the first start makes. None lets the number of drives say.
    pub redundancy: Option<Redundancy>,
    pub region: String,
    /// The domains whose subdomains are buckets.
    pub domains: Vec<String>,
    /// The domains whose subdomains are the websites of buckets.
    pub website_domains: Vec<String>,
    /// The hosts, or `*.` and a domain, that are websites of buckets of the same name.
    pub website_hosts: Vec<String>,
    /// The addresses of proxies that are trusted to say who their clients are.
    pub trusted_proxies: Vec<Network>,
    /// Tells whether these proxies begin their connections with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// What clients speak below HTTP. None: plain TCP.
    pub tls: Option<TlsSource>,
    /// Tells whether the admin address speaks TLS too, where clients do.
    pub admin_tls: bool,
    /// Tells whether signature version 2 is accepted, in requests and in forms.
    pub signature_v2: bool,
    /// The storage classes that objects may be given.
    pub storage_classes: StorageClasses,
    /// The ownership controls of new buckets that ask for none.
    pub object_ownership: Ownership,
    /// How far the wall clock may step ahead and still end retentions, in milliseconds.
    pub clock_step_max_ms: u64,
    pub register_buffers: bool,
    /// What can change while the server runs.
    pub live: LiveOptions,
    /// The age in milliseconds at which an upload that nobody completes is aborted. None keeps
    /// them.
    pub abort_uploads_after_ms: Option<u64>,
    pub root: Option<RootCredentials>,
    /// Removes the access keys whose secrets the node's key file does not open, and goes on.
    pub new_node_key: bool,
    /// Lets a crash leave a core dump, which holds what the memory holds: keys and data of clients.
    pub core_dumps: bool,
}

/// The options that can change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    pub slow_request: Duration,
    /// Wrong keys of an address within a minute that are answered at once; 0 for all.
    pub wrong_keys_free: u32,
    /// How long the head of a request may take to arrive, and how long an idle connection is kept.
    pub head_time: Duration,
    /// How long a client may send nothing of a body, or take nothing of an answer.
    pub body_time: Duration,
    /// The most open connections. None: as many as memory and descriptors allow.
    pub connections: Option<usize>,
    /// The most open connections of one address. None: three quarters of all.
    pub connections_per_address: Option<u32>,
    /// Handshakes of TLS a second by one address; more wait. None: as many as it likes.
    pub handshakes_per_address: Option<u32>,
    pub throttle: ThrottleLimits,
    pub scrub: ScrubOptions,
    /// Time in which a drive is to be brought up to date, milliseconds; 0: as fast as clients leave room.
    pub heal_within_ms: u64,
    pub lifecycle: LifecycleOptions,
}

/// What was read again while the server runs.
pub struct ReadAgain {
    pub live: LiveOptions,
    /// The names of settings that are others than before and count at once.
    pub changed: Vec<String>,
    /// The names of those that are others than the server started with, and count only when it starts again.
    pub need_restart: Vec<String>,
}

/// Reads the configuration again. It fails with what is wrong.
pub type Reader = Box<dyn FnMut() -> Result<ReadAgain, String> + Send>;

/// Which certificates the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsCertificates {
    /// Files, of which the first is for clients that name no host.
    Files(Vec<CertificateFiles>),
    /// One that the server makes, and that signs itself.
    SelfSigned,
    /// One that an authority signs.
    Ordered(AcmeOptions),
}

/// What TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSource {
    pub certificates: TlsCertificates,
    pub clients: Option<ClientCertificates>,
}

/// The most connections that are worth having for each core.
const CONNECTIONS_PER_CORE_MAX: u64 = 16_384;
/// The size in bytes that the engine rounds its region up to, and aligns it to.
const HUGE_PAGE: u64 = 2 << 20;
/// The descriptors that are not clients' connections: drives, rings, listeners, logs, and those of
/// operators.
const DESCRIPTORS_RESERVED: u64 = 192;
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// The shares of `--memory`, as [`MemoryShares`] divides it, for the cores of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    pub arena_bytes_per_core: usize,
    pub index_bytes_max: usize,
    pub read_cache_bytes_per_core: usize,
    /// The most connections of the whole node.
    pub connections: usize,
    /// The memory that the requests of one core share, in bytes
    /// ([`RequestMemory`](crate::memory::RequestMemory)).
    pub request_bytes_per_core: u64,
}

impl MemoryPlan {
    /// Returns the smallest `--memory`, in bytes, that a node of `cores` works with.
    pub fn least_bytes(cores: usize) -> u64 {
        memory::least_bytes(cores.max(1) as u64)
    }

    /// Shares out `memory_bytes`. `read_cache_bytes` is as in [`ServeOptions`], and `descriptors`
    /// is how many files this process may have open. `tls` says that connections speak TLS, which takes
    /// more memory.
    pub fn new(
        memory_bytes: u64,
        read_cache_bytes: Option<u64>,
        cores: usize,
        descriptors: u64,
        tls: bool,
    ) -> Self {
        let count = cores.max(1) as u64;
        let shares = MemoryShares::new(memory_bytes, read_cache_bytes, count);
        let by_memory = shares.connection_bytes / connection_bytes_max(tls);
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

    /// Returns the limits of one core. Its connections count in `connections`, with those of the
    /// others.
    pub fn limits(&self, live: &LiveOptions, connections: &ConnectionCap) -> Limits {
        let most = live.connections.map_or(self.connections, |most| most.min(self.connections));
        Limits {
            connections: connections.with_max(most),
            connections_per_address: Some(live.connections_per_address.unwrap_or(share_of_one(most))),
            handshakes_per_address: live.handshakes_per_address,
            throttle: live.throttle,
            request_bytes_max: self.request_bytes_per_core,
            header_time: live.head_time,
            body_stall: live.body_time,
            send_stall: live.body_time,
            slow_request: live.slow_request,
            wrong_keys_free: live.wrong_keys_free,
            ..Limits::default()
        }
    }
}

/// Returns how many of `most` connections one address may have, so that others have some too.
fn share_of_one(most: usize) -> u32 {
    u32::try_from(most - most / 4).unwrap_or(u32::MAX)
}

/// Returns the most memory that an open connection takes, in bytes.
fn connection_bytes_max(tls: bool) -> u64 {
    (CONNECTION_BYTES_MAX + if tls { TLS_BYTES_MAX } else { 0 }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_engine::node::memory::{BASE_BYTES, BASE_BYTES_PER_CORE, INDEX_BYTES_MIN};

    #[test]
    fn memory_is_shared_out_and_descriptors_cap_connections() {
        let plan = MemoryPlan::new(1 << 30, None, 2, 1 << 20, false);
        assert_eq!(plan.arena_bytes_per_core, 126 << 20);
        assert_eq!((plan.index_bytes_max, plan.read_cache_bytes_per_core), ((336 << 20) / 5 * 4, 56 << 20));
        assert_eq!(plan.request_bytes_per_core, 64 << 20);
        assert_eq!(plan.connections, 2340);
        assert_eq!(MemoryPlan::new(1 << 30, None, 2, 1024, false).connections, 416);
        assert_eq!(MemoryPlan::new(0, None, 2, 0, false).connections, 1);
        assert_eq!(MemoryPlan::new(1 << 40, None, 2, u64::MAX, false).connections, 2 * 16_384);
        let without = MemoryPlan::new(1 << 30, Some(0), 2, 1024, false);
        assert_eq!((without.index_bytes_max, without.read_cache_bytes_per_core), ((448 << 20) / 5 * 4, 0));
        let most = MemoryPlan::new(1 << 30, Some(1 << 40), 2, 1024, false);
        assert_eq!(most.index_bytes_max, (224 << 20) / 5 * 4);
    }

    #[test]
    fn the_shares_are_never_more_than_the_whole() {
        for cores in [1, 2, 4, 16, 96] {
            let least = MemoryPlan::least_bytes(cores);
            for (memory, tls) in [(least, false), (3 * least, true), (3 * least, false), (100 << 30, true)] {
                let (plan, count) = (MemoryPlan::new(memory, None, cores, u64::MAX, tls), cores as u64);
                let connections = plan.connections as u64 * connection_bytes_max(tls);
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
