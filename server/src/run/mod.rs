//! Starting and stopping a server. [`run`] is `ringbolt serve`.

mod admin;
mod banner;
pub(crate) mod bell;
mod core;
mod drives;
mod environment;
mod keeper;
mod live;
mod options;
mod ring;
mod shutdown;
mod signals;
mod tls;

pub use self::drives::{format_with_progress, human_size, replace_with_progress};
pub use self::options::{
    LiveOptions, MemoryPlan, ReadAgain, Reader, ServeOptions, TlsCertificates, TlsSource,
};
pub use crate::network::Network;
pub use crate::office::{AcmeOptions, Directory as AcmeDirectory};
pub use crate::s3::{Ownership, StorageClasses};
pub use crate::throttle::{PerSecond, ThrottleLimits};
pub use crate::tls::{CertificateFiles, ClientCertificates};

use self::admin::Admin;
use self::banner::{credentials, ready};
use self::bell::{Bells, bells};
use self::core::{CoreBells, CoreStart, run_core};
use self::drives::{DriveSetError, prepare_drives};
use self::keeper::Keeper;
use self::live::Live;
use self::shutdown::ShutdownBarrier;
use self::signals::{Reloads, handle_signals, hold_hangups};
use self::tls::{check_tls, load_tls, ordered};
use crate::admin::{AdminSocket, AdminSocketError};
use crate::auth::{AccountError, Accounts};
use crate::client::TrustedProxies;
use crate::host::Websites;
use crate::http::{ConnectionCap, ListenError, Start, Traffic, bind};
use crate::identity::{Directory, Shared, TakeOverError};
use crate::office::{Closed, OfficeError, office};
use crate::s3::Requests;
use crate::throttle::Throttle;
use crate::tls::TlsSetupError;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::{CoreSeed, FormatError, NodeOptions, NodePlan, OpenError, ReplaceError};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

/// The reason why a server did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("can not use {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Accounts(#[from] AccountError),
    #[error(transparent)]
    Identity(#[from] TakeOverError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),
    #[error(
        "--proxy-protocol is on, and nobody is trusted to speak it; name the proxies with --trusted-proxy"
    )]
    NoTrustedProxy,
    #[error(transparent)]
    DriveSet(#[from] DriveSetError),
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    #[error(transparent)]
    Office(#[from] OfficeError),
    #[error("can not find out which CPUs this process may use: {0}")]
    Cpus(io::Error),
    #[error("CPU {cpu} is not one this process may use (it may use {allowed:?}); choose others with --cores")]
    NoSuchCpu { cpu: usize, allowed: Vec<usize> },
    #[error("can not run on CPU {cpu}: {source}; choose others with --cores")]
    Pin { cpu: usize, source: io::Error },
    #[error(
        "{given} of memory are too little for {cores} cores; give --memory {needed} or more, or fewer --cores",
        given = human_size(*given_bytes),
        needed = human_size(*needed_bytes)
    )]
    Memory { given_bytes: u64, needed_bytes: u64, cores: usize },
    #[error(
        "can not set up io_uring for connections: {source}; it needs Linux 6.1 or newer, \
         /proc/sys/kernel/io_uring_disabled at 0, and a container profile that allows io_uring_setup"
    )]
    Runtime { source: io::Error },
    #[error("can not start a thread or its signal socket: {0}")]
    Thread(io::Error),
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    #[error(
        "the drives could not be closed cleanly ({0}); what was acknowledged is durable, the next start recovers"
    )]
    Close(EngineError),
    #[error(
        "the drives did not close within {0:?}; what was acknowledged is durable, the next start recovers"
    )]
    CloseTimeout(std::time::Duration),
    #[error("a core stopped by a bug (see the message above); what was acknowledged is durable")]
    Panicked,
}

/// Looks at what can be known to be wrong before a server starts. Nothing is made or changed.
///
/// # Errors
/// Fails as [`run`] would.
pub fn check(options: &ServeOptions) -> Result<(), ServeError> {
    check_options(options)?;
    check_tls(options)
}

/// Returns the CPUs to run on, if the options agree with each other and with the machine.
fn check_options(options: &ServeOptions) -> Result<Vec<usize>, ServeError> {
    let cpus = choose_cpus(&options.cores)?;
    if options.proxy_protocol && options.trusted_proxies.is_empty() {
        return Err(ServeError::NoTrustedProxy);
    }
    check_memory(options.memory_bytes, cpus.len())?;
    Ok(cpus)
}

/// Runs a server until SIGTERM or SIGINT. SIGHUP has it read its certificates again, and by `reader` its
/// configuration. Fails if it can not start, or can not close its drives cleanly.
pub fn run(options: ServeOptions, reader: Option<Reader>) -> Result<(), ServeError> {
    let cpus = check_options(&options)?;
    check_tls(&options)?;
    let signals = hold_hangups().map_err(ServeError::Thread)?;
    let websites = Websites::new(&options.website_domains, &options.website_hosts);
    let proxies = TrustedProxies::new(options.trusted_proxies.clone(), options.proxy_protocol);
    make_data_dir(&options.data_dir)?;
    let (accounts, first_start) = Accounts::load_or_create(&options.data_dir, options.root.clone())?;
    let shared = Shared::new(Directory::of_root(&accounts.root));
    let mut keeper = Some(Keeper {
        data_dir: options.data_dir.clone(),
        accounts: accounts.others.clone(),
        new_node_key: options.new_node_key,
    });
    if let Some(text) = credentials(&first_start) {
        println!("{text}");
    }
    let listeners = bind(options.listen, cpus.len(), "--listen")?;
    let address = listeners.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(options.listen);
    let mut admin = Admin::bind(&options)?;

    let plan = MemoryPlan::new(
        options.memory_bytes,
        options.read_cache_bytes,
        cpus.len(),
        raise_descriptor_limit(),
        options.tls.is_some(),
    );
    let seeds = open_node(&options, cpus.len(), plan)?;

    // The socket and a certificate that the server makes come after the drives: whoever holds them is the one
    // server of this directory.
    let admin_socket = AdminSocket::bind(&options.data_dir)?;
    let offered = load_tls(&options)?;
    let mut admin_listeners = Some(admin.listeners(&admin_socket, offered.admin_tls.clone())?);

    if !options.core_dumps {
        forbid_core_dumps();
    }
    let (stop, stop_bells) = bells(cpus.len()).map_err(ServeError::Thread)?;
    let (barrier, all_closed_bells) = ShutdownBarrier::new(cpus.len()).map_err(ServeError::Thread)?;
    let (change, live_bells) = bells(cpus.len()).map_err(ServeError::Thread)?;
    let throttle = Arc::new(Throttle::default());
    let live = Arc::new(Live::new(options.live.clone(), change));
    let office = |acme: &AcmeOptions| office(acme.clone(), options.data_dir.clone(), offered.each());
    let (office, closed_office) = ordered(&options).map(office).unzip();
    let reloads = Reloads { tls: offered.each(), office, reader, live: live.clone() };
    handle_signals(signals, stop.clone(), reloads).map_err(ServeError::Thread)?;
    let (opened, opened_count) = channel();
    let connections = ConnectionCap::new(plan.connections);
    let start = seeds.first().map(|seed| Start::new(seed.opening())).ok_or(OpenError::NoDrives)?;
    let mut threads = Vec::new();
    let all_bells = stop_bells.into_iter().zip(all_closed_bells).zip(live_bells);
    let all_bells = all_bells.map(|((stop, all_closed), live)| CoreBells { stop, all_closed, live });
    let counts = Traffic::of_cores(cpus.len()).into_iter().zip(Requests::of_cores(cpus.len()));
    for (((seed, listener), (bells, (traffic, requests))), &cpu) in
        seeds.into_iter().zip(listeners).zip(all_bells.zip(counts)).zip(&cpus)
    {
        let core_start = CoreStart {
            cpu,
            seed,
            listener,
            admin: admin_listeners.take(),
            bells,
            barrier: barrier.clone(),
            shared: shared.clone(),
            keeper: keeper.take(),
            region: options.region.clone(),
            domains: options.domains.clone(),
            websites: websites.clone(),
            proxies: proxies.clone(),
            tls: offered.tls.clone(),
            signature_v2: options.signature_v2,
            storage_classes: options.storage_classes,
            object_ownership: options.object_ownership,
            live: live.clone(),
            plan,
            connections: connections.clone(),
            throttle: throttle.clone(),
            start: start.clone(),
            traffic,
            requests,
            abort_uploads_after_ms: options.abort_uploads_after_ms,
            opened: opened.clone(),
        };
        threads.push(spawn_core(core_start, stop.clone())?);
    }
    drop(opened);
    // Fewer messages than cores: one of them failed, and `join_all` says why.
    if opened_count.iter().take(cpus.len()).count() == cpus.len() {
        tracing::info!(%address, cores = cpus.len(), "ready");
        closed_office.map_or(Ok(()), Closed::open).map_err(ServeError::Thread)?;
        print!("{}", ready(&options, address, &admin.line(&admin_socket), &accounts.root, &first_start));
    }
    join_all(threads)
}

/// Locks the drives, which are made first if there are none.
fn open_node(options: &ServeOptions, cores: usize, plan: MemoryPlan) -> Result<Vec<CoreSeed>, ServeError> {
    Ok(NodePlan::open(NodeOptions {
        drives: prepare_drives(options)?,
        without_drives: options.without_drives.clone(),
        cores,
        arena_bytes_per_core: plan.arena_bytes_per_core,
        read_cache_bytes_per_core: plan.read_cache_bytes_per_core,
        index_bytes_max: plan.index_bytes_max,
        register_buffers: options.register_buffers,
        clock_step_max_ms: options.clock_step_max_ms,
    })?)
}

fn check_memory(given_bytes: u64, cores: usize) -> Result<(), ServeError> {
    let needed_bytes = MemoryPlan::least_bytes(cores);
    if given_bytes < needed_bytes {
        return Err(ServeError::Memory { given_bytes, needed_bytes, cores });
    }
    Ok(())
}

/// Keeps what the memory holds, as keys, out of core dumps.
fn forbid_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps can not be switched off; one would hold keys and data of clients");
    }
}

/// Starts the thread of a core. A core that ends, for whatever reason, takes the others with it:
/// together they are one node.
fn spawn_core(start: CoreStart, stop: Bells) -> Result<JoinHandle<Result<(), ServeError>>, ServeError> {
    struct StopWhenDropped(Bells);
    impl Drop for StopWhenDropped {
        fn drop(&mut self) {
            self.0.ring();
        }
    }
    let name = format!("core-{}", start.cpu);
    let work = move || {
        let _stop = StopWhenDropped(stop);
        run_core(start)
    };
    std::thread::Builder::new().name(name).spawn(work).map_err(ServeError::Thread)
}

fn join_all(threads: Vec<JoinHandle<Result<(), ServeError>>>) -> Result<(), ServeError> {
    let results: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    results.into_iter().try_for_each(|result| result.unwrap_or(Err(ServeError::Panicked)))
}

fn make_data_dir(path: &Path) -> Result<(), ServeError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|source| ServeError::Directory { path: path.to_owned(), source })
}

fn choose_cpus(wanted: &[usize]) -> Result<Vec<usize>, ServeError> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|error| ServeError::Cpus(error.into()))?;
    let allowed: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
    if wanted.is_empty() {
        return Ok(allowed);
    }
    match wanted.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(&cpu) => Err(ServeError::NoSuchCpu { cpu, allowed }),
        None => Ok(wanted.to_vec()),
    }
}

/// Raises the limit on open files to what the system allows this process, and returns it.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}
