//! HTTP on one core: listening, connections, limits, request ids, the log line of each request.
//!
//! Invariants: a connection lives and dies on the core that accepted it; their number is capped for the node; no
//! peer holds one by being slow, neither with its head, nor its body, nor by not reading. What holds of RFC 9110 and
//! RFC 9112 is in docs/s3-compatibility.md.
//! Deliberately absent: any knowledge of S3 operations, and of health and metrics, which have listeners of their own.

mod body;
mod cap;
mod connection;
mod error_response;
mod exchange;
mod head;
mod ids;
mod io;
mod listener;
mod pace;
mod stop;
mod timer;
mod traffic;

pub use self::cap::ConnectionCap;
pub(crate) use self::connection::{accept_each, serve};
pub use self::connection::{accept_until_stopped, drain};
pub(crate) use self::error_response::refused;
pub(crate) use self::head::check as check_head;
pub use self::ids::RequestIds;
pub(crate) use self::io::Socket;
pub use self::listener::{ListenError, bind};
pub use self::stop::Stop;
pub use self::traffic::{Traffic, TrafficSum};

use crate::auth::Gate;
use crate::memory::RequestMemory;
use http::{Request, Response};
use ringbolt_engine::node::NodeMetrics;
use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// What answers requests once they were admitted.
pub trait Handler: 'static {
    fn call(&self, request: Request<s3s::Body>) -> impl Future<Output = Response<s3s::Body>>;

    /// The numbers of the node behind it.
    fn metrics(&self) -> impl Future<Output = Option<NodeMetrics>>;

    /// Requests answered by all cores, by the name of what was asked for.
    fn requests(&self) -> Vec<(&'static str, u64)>;
}

/// Caps and times of connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of all cores together.
    pub connections: ConnectionCap,
    /// For all requests of one core at once; see [`RequestMemory`].
    pub request_bytes_max: u64,
    pub header_bytes_max: usize,
    /// For a whole head to arrive; also how long an idle connection is kept.
    pub header_time: Duration,
    /// Without a byte of a request's body, or with fewer than [`pace::WINDOW_BYTES_MIN`].
    pub body_stall: Duration,
    /// Without the peer taking a byte of an answer, or as many.
    pub send_stall: Duration,
    /// From this duration on a request is logged as slow.
    pub slow_request: Duration,
}

/// Headers of a request: 2 KiB of metadata are 200 headers and more, if each is short.
const HEADERS_MAX: usize = 256;
/// Memory an open connection may take at most, whether it waits, sends its head or has sent a body: hyper's read
/// buffer, which it keeps, and the tasks.
pub const CONNECTION_BYTES_MAX: usize = READ_BUFFER_BYTES_MAX + 24 * 1024;
/// hyper's read buffer grows to this while a body streams, and the connection keeps it.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// What a request takes of its core's memory for requests: its head as s3s has it, handlers, the head of the answer.
const REQUEST_BYTES: u64 = 32 << 10;
/// On top, for as much as the body is long: two pieces of it, or the whole of a small object.
const BODY_BYTES_MAX: u64 = 128 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: ConnectionCap::new(1000),
            request_bytes_max: 64 << 20,
            header_bytes_max: 16 * 1024,
            header_time: Duration::from_secs(60),
            body_stall: Duration::from_secs(60),
            send_stall: Duration::from_secs(60),
            slow_request: Duration::from_secs(1),
        }
    }
}

/// Everything the connections of one core share.
pub struct Front<H> {
    pub limits: Limits,
    pub gate: Gate,
    pub ids: RequestIds,
    /// Empty until the node is open: requests are answered 503 until then.
    pub handler: OnceCell<H>,
    pub stop: Stop,
    /// Called before a long send, so that the storage ring works meanwhile.
    pub before_large_send: Rc<dyn Fn()>,
    pub traffic: Traffic,
    pub memory: RequestMemory,
    open: Cell<usize>,
}

impl<H: Handler> Front<H> {
    pub fn new(
        limits: Limits,
        gate: Gate,
        ids: RequestIds,
        before_large_send: Rc<dyn Fn()>,
        traffic: Traffic,
    ) -> Self {
        let (handler, stop, open) = (OnceCell::new(), Stop::default(), Cell::new(0));
        let memory = RequestMemory::new(limits.request_bytes_max);
        Self { limits, gate, ids, handler, stop, before_large_send, traffic, memory, open }
    }

    /// Connections that are open now.
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
