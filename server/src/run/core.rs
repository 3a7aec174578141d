//! The life of one core's thread: pin, make the rings, open, serve, stop, close.
//!
//! Invariant: the listeners accept before the node is open, so that health can say "not yet"; requests
//! are handled only once it is. After stop: no new connections, then the running requests, then the
//! engine's checkpoint, and no core leaves before all have closed: its ring and its tasks answer the
//! others until then.

use super::ServeError;
use super::environment::CoreEnvironment;
use super::ring::drive;
use super::signals::{Farewell, StopEar};
use crate::admin::{self, AdminListeners};
use crate::auth::{Account, Accounts, Gate};
use crate::http::{Front, Handler, Limits, RequestIds, Traffic, accept_until_stopped, drain};
use crate::s3::{Requests, S3Service, S3Settings};
use futures_util::future::{Either, select};
use monoio::{FusionDriver, RuntimeBuilder};
use ringbolt_engine::node::{Core, CoreSeed, NodeMetrics, ScrubOptions};
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

const DRAIN_TIME: Duration = Duration::from_secs(30);
/// For the checkpoints of all cores. After it, the next start replays the logs instead.
const CLOSE_TIME: Duration = Duration::from_secs(60);
/// For benchmarks of the server without signatures.
#[cfg(feature = "bench-anonymous")]
const BENCH_ANONYMOUS: &str = "RINGBOLT_BENCH_ANONYMOUS";
const RING_ENTRIES: u32 = 1024;

/// What a core's thread starts with.
pub struct CoreStart {
    pub cpu: usize,
    pub seed: CoreSeed,
    pub listener: TcpListener,
    /// On one core only.
    pub admin: Option<AdminListeners>,
    pub ear: StopEar,
    pub farewell: Arc<Farewell>,
    /// Hears that all cores have closed.
    pub farewell_ear: StopEar,
    pub accounts: Arc<Accounts>,
    pub region: String,
    pub domains: Vec<String>,
    pub signature_v2: bool,
    pub limits: Limits,
    pub scrub: ScrubOptions,
    pub traffic: Traffic,
    pub requests: Requests,
    pub abort_uploads_after_ms: Option<u64>,
    /// Told once this core's shards are open.
    pub opened: Sender<()>,
}

impl Handler for S3Service {
    async fn call(&self, request: http::Request<s3s::Body>) -> http::Response<s3s::Body> {
        S3Service::call(self, request).await
    }

    async fn metrics(&self) -> Option<NodeMetrics> {
        S3Service::metrics(self).await
    }

    fn requests(&self) -> Vec<(&'static str, u64)> {
        S3Service::requests(self)
    }
}

/// Runs until stopped; the thread's whole work.
pub fn run_core(start: CoreStart) -> Result<(), ServeError> {
    pin_to(start.cpu)?;
    // One ring, one thread: completions are delivered when the loop asks, not by interrupting it.
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
    let gate = Gate::new(start.accounts.clone(), start.region.clone())
        .with(start.signature_v2, &start.domains)
        .standing_in(stand_in(&start.accounts));
    let base = getrandom::u64().map_err(|error| ServeError::Random(error.to_string()))?;
    let before_large_send = Rc::new(move || driver.submit());
    let front =
        Rc::new(Front::new(start.limits, gate, RequestIds::new(base), before_large_send, start.traffic));
    let accepting = monoio::spawn(accept_until_stopped(front.clone(), start.listener));
    listen_for_stop(front.clone(), start.ear);
    if let Some(listeners) = start.admin {
        serve_admin(front.clone(), listeners);
    }

    match select(pin!(core.open()), front.stop.heard()).await {
        Either::Left((opened, _)) => opened?,
        // Stopped, or another core failed, while drives were recovered: there is nothing to close.
        Either::Right(_) => return Ok(()),
    }
    if let Some(age) = start.abort_uploads_after_ms {
        let core = core.clone();
        monoio::spawn(async move { core.limit_upload_age(age).await });
    }
    let settings = S3Settings {
        region: start.region,
        virtual_host_domains: start.domains,
        signature_v2: start.signature_v2,
        memory: front.memory.clone(),
        requests: start.requests,
    };
    let service = crate::s3::service(core.clone(), start.accounts, settings);
    let first = front.handler.set(service).is_ok();
    debug_assert!(first, "the handler is set once");
    core.start_scrub(start.scrub);
    // Only counted by who prints the banner; it may have given up already.
    let _ = start.opened.send(());

    let accepted = accepting.await;
    finish_requests(&front).await;
    close(&core, &start.farewell, start.farewell_ear).await?;
    accepted.map_err(|source| ServeError::Runtime { source })
}

/// The first account, if RINGBOLT_BENCH_ANONYMOUS=1: then whoever reaches the port is that account.
#[cfg(feature = "bench-anonymous")]
fn stand_in(accounts: &Accounts) -> Option<Arc<Account>> {
    if std::env::var_os(BENCH_ANONYMOUS).is_none_or(|value| value != "1") {
        return None;
    }
    tracing::warn!("{BENCH_ANONYMOUS}=1: UNSIGNED REQUESTS ACT AS THE FIRST ACCOUNT; for measurements only");
    accounts.all().first().cloned()
}

#[cfg(not(feature = "bench-anonymous"))]
fn stand_in(_: &Accounts) -> Option<Arc<Account>> {
    None
}

fn listen_for_stop(front: Rc<Front<S3Service>>, ear: StopEar) {
    monoio::spawn(async move {
        if let Err(error) = ear.heard().await {
            tracing::error!(%error, "can not hear stop signals any more; stopping now");
        }
        front.stop.say();
    });
}

fn serve_admin(front: Rc<Front<S3Service>>, listeners: AdminListeners) {
    monoio::spawn(async move {
        if let Err(error) = admin::serve(front, listeners).await {
            tracing::error!(%error, "health and metrics are not told any more");
        }
    });
}

async fn finish_requests(front: &Front<S3Service>) {
    front.stop.say();
    let cut_off = drain(front, DRAIN_TIME).await;
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "cutting off connections that did not finish in time");
    }
}

async fn close(core: &Core, farewell: &Farewell, all_closed: StopEar) -> Result<(), ServeError> {
    let close = async {
        let result = core.close().await;
        farewell.closed();
        // An error means that nobody is left to say it.
        let _ = all_closed.heard().await;
        result.map_err(ServeError::Close)
    };
    monoio::time::timeout(CLOSE_TIME, close).await.unwrap_or(Err(ServeError::CloseTimeout(CLOSE_TIME)))
}
