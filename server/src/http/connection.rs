//! Accepting connections and serving one of them.

use super::cap::ConnectionSlot;
use super::exchange::exchange;
use super::io::{HyperIo, Socket};
use super::timer::CoreTimer;
use super::{Front, HEADERS_MAX, Handler, Limits, READ_BUFFER_BYTES_MAX, Stop};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;
/// Out of descriptors or memory: wait for others to give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nServer: Ringbolt\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Type: application/xml\r\nContent-Length: 109\r\n\r\n\
    <?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Too many connections; try again.</Message></Error>\n";

/// Accepts on this core until stop is said. Dropping the listener then refuses new connections.
pub async fn accept_until_stopped<H: Handler>(front: Rc<Front<H>>, listener: TcpListener) -> io::Result<()> {
    let waits = OwnedFd::from(listener.try_clone()?);
    accept_each(&front.stop, waits, || listener.accept().map(|(stream, _)| admit(&front, stream))).await
}

/// Calls `accept`, which takes one connection, whenever `listening` has one, until stop is said.
pub(crate) async fn accept_each(
    stop: &Stop,
    listening: OwnedFd,
    mut accept: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    // monoio's own accept gives a stream that can not be turned into one of std without `unsafe`.
    let readiness = monoio::net::TcpStream::from_std(TcpStream::from(listening))?;
    loop {
        let ready = pin!(readiness.readable(false));
        if let Either::Right(_) = select(ready, pin!(stop.heard())).await {
            return Ok(());
        }
        loop {
            match accept() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "can not accept connections for now");
                    monoio::time::sleep(ACCEPT_PAUSE).await;
                    break;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Counts a connection for as long as it lives.
struct Counted<H: Handler> {
    front: Rc<Front<H>>,
    _slot: ConnectionSlot,
}

impl<H: Handler> Counted<H> {
    fn new(front: &Rc<Front<H>>, slot: ConnectionSlot) -> Self {
        front.set_connections(front.open.get() + 1);
        Self { front: front.clone(), _slot: slot }
    }
}

impl<H: Handler> Drop for Counted<H> {
    fn drop(&mut self) {
        self.front.set_connections(self.front.open.get() - 1);
    }
}

fn admit<H: Handler>(front: &Rc<Front<H>>, stream: TcpStream) {
    let socket = match Socket::tcp(stream) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a connection was lost while it was accepted");
            return;
        }
    };
    let Some(slot) = front.limits.connections.take() else {
        tracing::warn!(connections = front.open.get(), "at the cap on connections; turning one away");
        front.traffic.turned_away();
        socket.send_now(TOO_MANY);
        return;
    };
    let counted = Counted::new(front, slot);
    monoio::spawn(async move {
        let front = &counted.front;
        let answer = |request| exchange(front, request);
        serve(socket, &front.limits, &front.stop, front.before_large_send.clone(), answer).await;
        drop(counted);
    });
}

/// Serves one connection to its end: `answer` gives the answer to each request.
pub(crate) async fn serve<B, A>(
    socket: Rc<Socket>,
    limits: &Limits,
    stop: &Stop,
    before_large_send: Rc<dyn Fn()>,
    answer: impl Fn(Request<Incoming>) -> A,
) where
    A: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error: Into<s3s::StdError>> + 'static,
{
    let io = HyperIo::new(socket.clone(), limits.send_stall, before_large_send);
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(CoreTimer)
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.header_bytes_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        // A client that has said all may close its side and still read the answer.
        .half_close(true)
        .writev(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let result = match select(connection.as_mut(), stop.heard()).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    if !stop.said() {
        socket.linger(LINGER_TIME, LINGER_BYTES_MAX).await;
    }
}

/// After stop: waits until all connections are done, at most for `time`. Returns how many were cut off.
pub async fn drain<H: Handler>(front: &Front<H>, time: Duration) -> usize {
    const STEP: Duration = Duration::from_millis(10);
    let end = monoio::time::Instant::now() + time;
    while front.connections() > 0 && monoio::time::Instant::now() < end {
        monoio::time::sleep(STEP).await;
    }
    front.connections()
}
