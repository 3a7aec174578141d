//! HTTP on one core: listening, connections, limits, request ids, and the log line of each request.
//!
//! Invariants:
//! - A connection lives and dies on the core that accepted it, and the number of connections is
//!   limited for the node.
//! - No peer holds a connection by being slow, neither with its head, nor its body, nor by not
//!   reading.
//!
//! What holds of RFC 9110 and RFC 9112 is in docs/s3-compatibility.md. Deliberately absent is any
//! knowledge of S3 operations, and of what operators ask, which has listeners of its own.

mod body;
mod connection;
mod exchange;
mod fair;
mod gathered;
mod head;
mod io;
mod listener;
mod minimum_rate;
mod proxy_protocol;
mod shutdown;
mod start;
mod timer;
mod traffic;
mod transport;

pub use self::connection::{ConnectionCap, accept_until_stopped, drain};
pub(crate) use self::connection::{accept_each, serve, transport_of};
pub use self::exchange::RequestIds;
#[cfg(feature = "internals")]
pub(crate) use self::exchange::refused;
pub(crate) use self::fair::{Fair, all_run};
pub(crate) use self::head::check as check_head;
pub(crate) use self::io::Socket;
pub use self::listener::{ListenError, bind};
pub(crate) use self::proxy_protocol::parse as parse_proxy_header;
pub use self::shutdown::Shutdown;
pub use self::start::{Start, StartProgress};
pub(crate) use self::timer::CoreSleep;
pub use self::traffic::{Traffic, TrafficSum};
pub use self::transport::TLS_BYTES_MAX;

use crate::access::Action;
use crate::auth::{Authenticator, WrongKeys};
use crate::client::TrustedProxies;
use crate::identity::{Identity, Signer};
use crate::memory::RequestMemory;
use crate::throttle::{Throttle, ThrottleLimits};
use crate::tls::CoreTls;
use http::{HeaderMap, Request, Response};
use ringbolt_engine::node::{Core, NodeMetrics};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Answers the requests that were authenticated.
pub trait Handler: 'static {
    fn call(&self, request: Request<s3s::Body>) -> impl Future<Output = Response<s3s::Body>>;

    /// Returns whether a request is answered to anybody, so that its signature, if it has one, does not
    /// matter. Such a request is handled without its body.
    fn is_for_anybody<B>(&self, request: &Request<B>) -> bool;

    /// Returns the headers that the answer to a request gets beside its own, whoever makes it. It is
    /// asked for before anything of the request is judged.
    fn headers_beside<B>(&self, request: &Request<B>) -> Option<HeaderMap>;

    /// Returns the bucket that a request is for, whether there is one of that name or not.
    fn bucket_of<B>(&self, _request: &Request<B>) -> Option<String> {
        None
    }

    /// Returns the metrics of the node, or None if it is closing.
    fn metrics(&self) -> impl Future<Output = Option<NodeMetrics>>;

    /// Returns the engine's core, on which operators' commands are carried out. None if there is none.
    fn core(&self) -> Option<&Core>;

    /// Returns who there is, as this core knows it. None if there is nobody.
    fn identity(&self) -> Option<&Rc<Identity>> {
        None
    }

    /// Says whether a signer may do this with a bucket or a key of it, and why. None if there is nothing
    /// to be judged.
    fn explain(
        &self,
        _signer: Arc<Signer>,
        _action: Action,
        _target: (&str, Option<&str>),
    ) -> impl Future<Output = Option<Result<(bool, String), String>>> {
        std::future::ready(None)
    }

    /// Returns how many requests all cores have answered, by operation.
    fn requests(&self) -> Vec<(&'static str, u64)>;
}

/// The limits that connections and requests are held to.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most open connections of all cores together.
    pub connections: ConnectionCap,
    /// The most open connections of one address, but for trusted proxies. None: as many as there may be.
    pub connections_per_address: Option<u32>,
    /// Handshakes of TLS a second by one address, but for trusted proxies; more wait. None: as many as it likes.
    pub handshakes_per_address: Option<u32>,
    /// What keys and buckets are held to.
    pub throttle: ThrottleLimits,
    /// The most memory that all requests of one core may hold at once, in bytes. [`RequestMemory`]
    /// keeps the account.
    pub request_bytes_max: u64,
    pub header_bytes_max: usize,
    /// How long a whole head may take to arrive, and how long an idle connection is kept.
    pub header_time: Duration,
    /// How long a body may bring nothing, or fewer bytes than [`minimum_rate::WINDOW_BYTES_MIN`].
    pub body_stall: Duration,
    /// How long a peer may take no byte of an answer, or fewer than that.
    pub send_stall: Duration,
    /// The duration from which on a request is logged as slow.
    pub slow_request: Duration,
    /// Wrong keys of an address within a minute that are answered at once; 0 for all.
    pub wrong_keys_free: u32,
}

/// The most headers of a request: 2 KiB of metadata are 200 headers and more, if each is short.
const HEADERS_MAX: usize = 256;
/// The most memory that an open connection takes, in bytes, whether it waits, sends its head or has
/// sent a body: hyper's read buffer, which it keeps, and the tasks.
pub const CONNECTION_BYTES_MAX: usize = READ_BUFFER_BYTES_MAX + 24 * 1024;
/// The size in bytes that hyper's read buffer grows to while a body streams. The connection keeps
/// it.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// What a request takes of its core's memory for requests, in bytes: its head as s3s has it, the
/// handlers, and the head of the answer.
const REQUEST_BYTES: u64 = 32 << 10;
/// The most that a request takes on top of that for its body, in bytes: two pieces of it, or the
/// whole of a small object.
const BODY_BYTES_MAX: u64 = 128 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: ConnectionCap::new(1000),
            connections_per_address: None,
            handshakes_per_address: None,
            throttle: ThrottleLimits::default(),
            request_bytes_max: 64 << 20,
            header_bytes_max: 16 * 1024,
            header_time: Duration::from_secs(60),
            body_stall: Duration::from_secs(60),
            send_stall: Duration::from_secs(60),
            slow_request: Duration::from_secs(1),
            wrong_keys_free: 0,
        }
    }
}

/// The HTTP server of one core: what its connections share.
pub struct HttpServer<H> {
    limits: RefCell<Rc<Limits>>,
    /// What clients did lately, of which all cores have the same.
    pub throttle: Arc<Throttle>,
    pub authenticator: Authenticator,
    /// The proxies that say who their clients are.
    pub proxies: TrustedProxies,
    /// What connections speak below HTTP. None: plain TCP.
    pub tls: Option<CoreTls>,
    pub ids: RequestIds,
    /// The handler of authenticated requests. It is empty until the node is open; requests are
    /// answered 503 until then.
    pub handler: OnceCell<H>,
    pub shutdown: Shutdown,
    /// How far the start of the node is. None: nobody knows.
    pub start: Option<Start>,
    /// Called before a long send, so that the storage ring works meanwhile.
    pub before_large_send: Rc<dyn Fn()>,
    pub traffic: Traffic,
    pub memory: RequestMemory,
    pub wrong_keys: WrongKeys,
    open: Cell<usize>,
}

impl<H: Handler> HttpServer<H> {
    /// Makes the server of one core, without connections and without a handler.
    pub fn new(
        limits: Limits,
        authenticator: Authenticator,
        ids: RequestIds,
        before_large_send: Rc<dyn Fn()>,
        traffic: Traffic,
    ) -> Self {
        let (handler, shutdown, open) = (OnceCell::new(), Shutdown::default(), Cell::new(0));
        let memory = RequestMemory::new(limits.request_bytes_max);
        let wrong_keys = WrongKeys::new(limits.wrong_keys_free);
        let (proxies, tls) = (TrustedProxies::default(), None);
        Self {
            limits: RefCell::new(Rc::new(limits)),
            throttle: Arc::default(),
            authenticator,
            proxies,
            tls,
            ids,
            handler,
            shutdown,
            start: None,
            before_large_send,
            traffic,
            memory,
            wrong_keys,
            open,
        }
    }

    /// Sets the proxies that are trusted to say who their clients are.
    pub fn with_proxies(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Sets what connections speak below HTTP.
    pub fn with_tls(self, tls: Option<CoreTls>) -> Self {
        Self { tls, ..self }
    }

    /// Sets where all cores note what clients do.
    pub fn with_throttle(self, throttle: Arc<Throttle>) -> Self {
        Self { throttle, ..self }
    }

    /// Sets what tells how far the start of the node is.
    pub fn with_start(self, start: Start) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Returns the limits as they are now.
    pub fn limits(&self) -> Rc<Limits> {
        self.limits.borrow().clone()
    }

    /// Sets other limits. Connections that are open keep the times that they began with.
    pub fn set_limits(&self, limits: Limits) {
        self.wrong_keys.set_free(limits.wrong_keys_free);
        *self.limits.borrow_mut() = Rc::new(limits);
    }

    /// Returns how many connections are open now.
    pub fn connections(&self) -> usize {
        self.open.get()
    }

    fn set_connections(&self, open: usize) {
        self.open.set(open);
        self.traffic.set_connections(open);
    }
}

#[cfg(test)]
mod protocol_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throttle_tests;
#[cfg(test)]
mod tls_tests;
