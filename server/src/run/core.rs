//! The life of one core's thread: it is pinned, makes the rings, opens its shards, serves, stops,
//! and closes.
//!
//! Invariants:
//! - The listeners accept before the node is open, so that health can say "not yet". Requests are
//!   handled only once it is.
//! - On shutdown, first no new connections are taken, then the running requests end, then the
//!   engine makes its checkpoint.
//! - No core leaves before all have closed: until then its ring and its tasks answer the others.

use super::ServeError;
use super::bell::Bell;
use super::environment::CoreEnvironment;
use super::keeper::Keeper;
use super::live::Live;
use super::options::{LiveOptions, MemoryPlan};
use super::ring::drive;
use super::shutdown::ShutdownBarrier;
use crate::access::Action;
use crate::admin::{self, AdminListeners};
use crate::auth::Authenticator;
use crate::client::TrustedProxies;
use crate::host::Websites;
use crate::http::{
    ConnectionCap, Handler, HttpServer, RequestIds, Start, Traffic, accept_until_stopped, drain,
};
use crate::identity::{Identity, Shared, Signer};
use crate::s3::{Ownership, PART_BYTES_MIN, Requests, S3Service, S3Settings, StorageClasses};
use crate::throttle::Throttle;
use crate::tls::{CoreTls, Tls};
use futures_util::future::{Either, select};
use monoio::{FusionDriver, RuntimeBuilder};
use ringbolt_engine::node::{Core, CoreSeed, NodeMetrics};
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

const DRAIN_TIME: Duration = Duration::from_secs(30);
/// How long the checkpoints of all cores may take. After that, the next start replays the logs
/// instead.
const CLOSE_TIME: Duration = Duration::from_secs(60);
/// The environment variable that lets unsigned requests act as the first account, for benchmarks.
#[cfg(feature = "small-parts")]
const TEST_PART_BYTES_MIN: &str = "RINGBOLT_TEST_PART_BYTES_MIN";
#[cfg(feature = "bench-anonymous")]
const BENCH_ANONYMOUS: &str = "RINGBOLT_BENCH_ANONYMOUS";
const RING_ENTRIES: u32 = 1024;

/// What the thread of a core starts with.
pub struct CoreStart {
    pub cpu: usize,
    pub seed: CoreSeed,
    pub listener: TcpListener,
    /// The admin listeners, on one core only.
    pub admin: Option<AdminListeners>,
    pub bells: CoreBells,
    pub barrier: Arc<ShutdownBarrier>,
    /// Who there is, of which all cores have the same.
    pub shared: Arc<Shared>,
    /// Loads and keeps them, on one core only.
    pub keeper: Option<Keeper>,
    pub region: String,
    pub domains: Vec<String>,
    pub websites: Option<Websites>,
    pub proxies: TrustedProxies,
    /// What connections of clients speak below HTTP. None: plain TCP.
    pub tls: Option<Arc<Tls>>,
    pub signature_v2: bool,
    pub storage_classes: StorageClasses,
    pub object_ownership: Ownership,
    pub live: Arc<Live>,
    pub plan: MemoryPlan,
    /// Counts the connections of all cores.
    pub connections: ConnectionCap,
    pub throttle: Arc<Throttle>,
    /// How far the start of the node is.
    pub start: Start,
    pub traffic: Traffic,
    pub requests: Requests,
    pub abort_uploads_after_ms: Option<u64>,
    /// Gets a message once this core's shards are open.
    pub opened: Sender<()>,
}

/// What a core is told from outside.
pub struct CoreBells {
    /// It has to stop.
    pub stop: Bell,
    /// All cores have closed.
    pub all_closed: Bell,
    /// Options have changed.
    pub live: Bell,
}

impl Handler for S3Service {
    async fn call(&self, request: http::Request<s3s::Body>) -> http::Response<s3s::Body> {
        S3Service::call(self, request).await
    }

    fn is_for_anybody<B>(&self, request: &http::Request<B>) -> bool {
        S3Service::is_for_anybody(self, request)
    }

    fn headers_beside<B>(&self, request: &http::Request<B>) -> Option<http::HeaderMap> {
        S3Service::headers_beside(self, request)
    }

    fn bucket_of<B>(&self, request: &http::Request<B>) -> Option<String> {
        S3Service::bucket_of(self, request)
    }

    async fn metrics(&self) -> Option<NodeMetrics> {
        S3Service::metrics(self).await
    }

    fn core(&self) -> Option<&Core> {
        Some(S3Service::core(self))
    }

    fn identity(&self) -> Option<&Rc<Identity>> {
        Some(S3Service::identity(self))
    }

    async fn explain(
        &self,
        signer: Arc<Signer>,
        action: Action,
        target: (&str, Option<&str>),
    ) -> Option<Result<(bool, String), String>> {
        Some(S3Service::explain(self, signer, action, target).await)
    }

    fn requests(&self) -> Vec<(&'static str, u64)> {
        S3Service::requests(self)
    }
}

/// Runs a core until it is shut down. This is the whole work of its thread.
pub fn run_core(start: CoreStart) -> Result<(), ServeError> {
    pin_to(start.cpu)?;
    // The ring has one thread: completions are delivered when its loop asks, not by interrupting
    // it.
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let refused = |source| ServeError::Runtime { source };
    let builder = || RuntimeBuilder::<FusionDriver>::new().with_entries(RING_ENTRIES);
    let built = builder().uring_builder(ring).enable_timer().build();
    match built.or_else(|_| builder().enable_timer().build()) {
        Ok(mut runtime) => runtime.block_on(live(start)),
        Err(source) => Err(refused(source)),
    }
}

fn pin_to(cpu: usize) -> Result<(), ServeError> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| ServeError::Pin { cpu, source: error.into() })
}

async fn live(start: CoreStart) -> Result<(), ServeError> {
    let environment = CoreEnvironment::new().map_err(|error| ServeError::Random(error.to_string()))?;
    let core = start.seed.start(Rc::new(environment))?;
    let driver = core.driver();
    drive(driver.clone()).map_err(|source| ServeError::Runtime { source })?;
    let identity = Identity::new(start.shared);
    identity.watch(&core);
    let authenticator = Authenticator::new(identity.clone(), start.region.clone())
        .with_version_2(start.signature_v2, &start.domains)
        .with_anonymous_signer(anonymous_signer(&identity));
    let base = getrandom::u64().map_err(|error| ServeError::Random(error.to_string()))?;
    let before_large_send = Rc::new(move || driver.submit());
    let ids = RequestIds::new(base);
    let live = start.live.get();
    let limits = start.plan.limits(&live, &start.connections);
    let server = HttpServer::new(limits, authenticator, ids, before_large_send, start.traffic);
    let server = server.with_proxies(start.proxies).with_tls(start.tls.map(CoreTls::new));
    let server = Rc::new(server.with_throttle(start.throttle).with_start(start.start));
    let accepting = monoio::spawn(accept_until_stopped(server.clone(), start.listener));
    listen_for_stop(server.clone(), start.bells.stop);
    if let Some(listeners) = start.admin {
        serve_admin(server.clone(), listeners);
    }

    match select(pin!(core.open()), server.shutdown.requested()).await {
        Either::Left((opened, _)) => opened?,
        // The server was stopped, or another core failed, while drives were recovered: there is
        // nothing to close.
        Either::Right(_) => return Ok(()),
    }
    let loaded = async {
        match &start.keeper {
            Some(keeper) => keeper.load(&identity, &core).await.map_err(ServeError::from),
            None => {
                identity.loaded().await;
                Ok(())
            }
        }
    };
    match select(pin!(loaded), server.shutdown.requested()).await {
        Either::Left((loaded, _)) => loaded?,
        // Another core failed, or the server was stopped, before there was anything to serve.
        Either::Right(_) => return Ok(()),
    }
    if start.keeper.is_some() {
        monoio::spawn(super::keeper::note_now_and_then(identity.clone(), core.clone()));
    }
    if let Some(age) = start.abort_uploads_after_ms {
        let core = core.clone();
        monoio::spawn(async move { core.limit_upload_age(age).await });
    }
    let timed = core.clone();
    monoio::spawn(async move { timed.keep_time().await });
    let settings = S3Settings {
        region: start.region,
        virtual_host_domains: start.domains,
        websites: start.websites,
        signature_v2: start.signature_v2,
        storage_classes: start.storage_classes,
        object_ownership: start.object_ownership,
        part_bytes_min: part_bytes_min(),
        memory: server.memory.clone(),
        requests: start.requests,
    };
    let service = crate::s3::service(core.clone(), identity.clone(), settings);
    let first = server.handler.set(service).is_ok();
    debug_assert!(first, "the handler is set once");
    core.start_scrub(live.scrub);
    core.heal_within(live.heal_within_ms);
    core.run_lifecycle(live.lifecycle);
    let changes = Changes {
        server: server.clone(),
        core: core.clone(),
        plan: start.plan,
        connections: start.connections,
    };
    monoio::spawn(changes.follow(start.live, live, start.bells.live));
    // The receiver, which counts these messages and prints the banner, may have given up already.
    let _ = start.opened.send(());

    let accepted = accepting.await;
    finish_requests(&server).await;
    if start.keeper.is_some() {
        super::keeper::note_at_the_end(&identity, &core).await;
    }
    close(&core, &start.barrier, start.bells.all_closed).await?;
    accepted.map_err(|source| ServeError::Runtime { source })
}

/// Returns the least size of a part in bytes, which tests may lower with RINGBOLT_TEST_PART_BYTES_MIN.
#[cfg(feature = "small-parts")]
fn part_bytes_min() -> u64 {
    let Some(value) = std::env::var_os(TEST_PART_BYTES_MIN) else { return PART_BYTES_MIN };
    let bytes = value.to_str().and_then(|value| value.parse().ok()).unwrap_or(PART_BYTES_MIN);
    tracing::warn!(
        bytes,
        "{TEST_PART_BYTES_MIN} IS SET: PARTS MAY BE SMALLER THAN S3 ALLOWS; for tests only"
    );
    bytes
}

#[cfg(not(feature = "small-parts"))]
fn part_bytes_min() -> u64 {
    PART_BYTES_MIN
}

/// Returns the node's root if RINGBOLT_BENCH_ANONYMOUS=1: whoever reaches the port acts as that then.
#[cfg(feature = "bench-anonymous")]
fn anonymous_signer(identity: &Identity) -> Option<Arc<Signer>> {
    if std::env::var_os(BENCH_ANONYMOUS).is_none_or(|value| value != "1") {
        return None;
    }
    tracing::warn!("{BENCH_ANONYMOUS}=1: UNSIGNED REQUESTS ACT AS THE ROOT; for measurements only");
    let directory = identity.directory();
    let account = directory.account_named(None)?.names.account_id.clone();
    directory.signer_named(&account, None).map(Arc::new)
}

#[cfg(not(feature = "bench-anonymous"))]
fn anonymous_signer(_: &Identity) -> Option<Arc<Signer>> {
    None
}

/// What a core changes when options have changed.
struct Changes {
    server: Rc<HttpServer<S3Service>>,
    core: Core,
    plan: MemoryPlan,
    connections: ConnectionCap,
}

impl Changes {
    /// Takes over what changes, for the rest of the core's life.
    async fn follow(self, live: Arc<Live>, mut now: LiveOptions, bell: Bell) {
        let mut bell = match bell.listen() {
            Ok(bell) => bell,
            Err(error) => return tracing::error!(%error, "this core does not hear of other settings"),
        };
        while let Ok(true) = bell.rung().await {
            if self.server.shutdown.is_requested() {
                return;
            }
            let next = live.get();
            self.server.set_limits(self.plan.limits(&next, &self.connections));
            // What was done under other limits would count as if these had held. The last core that takes them over
            // forgets what others did until then.
            if next.throttle != now.throttle || next.handshakes_per_address != now.handshakes_per_address {
                self.server.throttle.forget();
            }
            if next.scrub != now.scrub {
                self.core.start_scrub(next.scrub);
            }
            self.core.heal_within(next.heal_within_ms);
            if next.lifecycle != now.lifecycle {
                self.core.run_lifecycle(next.lifecycle);
            }
            now = next;
        }
    }
}

fn listen_for_stop(server: Rc<HttpServer<S3Service>>, stop: Bell) {
    monoio::spawn(async move {
        if let Err(error) = stop.rung().await {
            tracing::error!(%error, "can not hear stop signals any more; stopping now");
        }
        server.shutdown.request();
    });
}

fn serve_admin(server: Rc<HttpServer<S3Service>>, listeners: AdminListeners) {
    monoio::spawn(async move {
        if let Err(error) = admin::serve(server, listeners).await {
            tracing::error!(%error, "health, metrics and commands are not answered any more");
        }
    });
}

async fn finish_requests(server: &HttpServer<S3Service>) {
    server.shutdown.request();
    let cut_off = drain(server, DRAIN_TIME).await;
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "cutting off connections that did not finish in time");
    }
}

async fn close(core: &Core, barrier: &ShutdownBarrier, all_closed: Bell) -> Result<(), ServeError> {
    let close = async {
        let result = core.close().await;
        barrier.arrive();
        // An error means that nobody is left to send the message.
        let _ = all_closed.rung().await;
        result.map_err(ServeError::Close)
    };
    monoio::time::timeout(CLOSE_TIME, close).await.unwrap_or(Err(ServeError::CloseTimeout(CLOSE_TIME)))
}
