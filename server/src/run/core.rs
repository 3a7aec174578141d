//! The life of one core's thread: pin, make the rings, open, serve, stop, close.
//!
//! Invariant: the listener accepts before the node is open, so that health can say "not yet"; requests
//! are handled only once it is. After stop: no new connections, then the running requests, then the
//! engine's checkpoint.

use super::ServeError;
use super::environment::CoreEnvironment;
use super::ring::drive;
use super::signals::StopEar;
use crate::auth::{Accounts, Gate};
use crate::http::{Front, Handler, Limits, RequestIds, accept_until_stopped, drain};
use crate::s3::{S3Service, S3Settings};
use monoio::{FusionDriver, RuntimeBuilder};
use ringbolt_engine::node::{Core, CoreSeed};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

const DRAIN_TIME: Duration = Duration::from_secs(30);
const RING_ENTRIES: u32 = 1024;

/// What a core's thread starts with.
pub struct CoreStart {
    pub cpu: usize,
    pub seed: CoreSeed,
    pub listener: TcpListener,
    pub ear: StopEar,
    pub accounts: Arc<Accounts>,
    pub region: String,
    pub domains: Vec<String>,
    pub limits: Limits,
    /// Memory for upload forms.
    pub form_bytes_max: u64,
    /// Told once this core's shards are open.
    pub opened: Sender<()>,
}

impl Handler for S3Service {
    async fn call(&self, request: http::Request<s3s::Body>) -> http::Response<s3s::Body> {
        S3Service::call(self, request).await
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
    let gate = Gate::new(start.accounts.clone(), start.region.clone());
    let base = getrandom::u64().map_err(|error| ServeError::Random(error.to_string()))?;
    let before_large_send = Rc::new(move || driver.submit());
    let front = Rc::new(Front::new(start.limits, gate, RequestIds::new(base), before_large_send));
    let accepting = monoio::spawn(accept_until_stopped(front.clone(), start.listener));
    listen_for_stop(front.clone(), start.ear);

    core.open().await?;
    let settings = S3Settings {
        region: start.region,
        virtual_host_domains: start.domains,
        form_bytes_max: start.form_bytes_max,
    };
    let service = crate::s3::service(core.clone(), start.accounts, settings);
    let first = front.handler.set(service).is_ok();
    debug_assert!(first, "the handler is set once");
    // Only counted by who prints the banner; it may have given up already.
    let _ = start.opened.send(());

    let accepted = accepting.await;
    stop(&front, core).await?;
    accepted.map_err(|source| ServeError::Runtime { source })
}

fn listen_for_stop(front: Rc<Front<S3Service>>, ear: StopEar) {
    monoio::spawn(async move {
        if let Err(error) = ear.heard().await {
            tracing::error!(%error, "can not hear stop signals any more; stopping now");
        }
        front.stop.say();
    });
}

async fn stop(front: &Front<S3Service>, core: Core) -> Result<(), ServeError> {
    front.stop.say();
    let cut_off = drain(front, DRAIN_TIME).await;
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "cutting off connections that did not finish in time");
    }
    core.close().await.map_err(ServeError::Close)
}
