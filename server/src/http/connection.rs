//! Accepts the connections of one core and serves them.
//!
//! Invariant: a place under the limit on connections is taken before a connection is served, and
//! given back when it ends, however it ends. The count is the one thing that cores share here: it
//! is touched twice in the life of a connection.

use super::exchange::exchange;
use super::fair::Fair;
use super::io::Socket;
use super::proxy_protocol;
use super::timer::CoreTimer;
use super::transport::{HandshakeError, Transport};
use super::{HEADERS_MAX, Handler, HttpServer, Limits, READ_BUFFER_BYTES_MAX, Shutdown};
use crate::client::Client;
use crate::throttle;
use crate::tls::CoreTls;
use bytes::Buf;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;
/// How long to wait for others to give something back when descriptors or memory are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nServer: Ringbolt\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Type: application/xml\r\nContent-Length: 109\r\n\r\n\
    <?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Too many connections; try again.</Message></Error>\n";

/// The limit on open connections. Clones share their count.
#[derive(Clone, Debug)]
pub struct ConnectionCap {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one connection. It is given back when it is dropped.
#[derive(Debug)]
pub struct ConnectionSlot(Arc<AtomicUsize>);

impl ConnectionCap {
    /// Makes a limit of `max` connections.
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// Returns the same count with another limit.
    pub fn with_max(&self, max: usize) -> Self {
        Self { open: self.open.clone(), max }
    }

    /// Takes a place for a connection. Returns None if all are taken.
    pub fn take(&self) -> Option<ConnectionSlot> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).ok().map(|_| ConnectionSlot(self.open.clone()))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Accepts connections on this core until a shutdown is requested. Dropping the listener then
/// refuses new ones.
pub async fn accept_until_stopped<H: Handler>(
    server: Rc<HttpServer<H>>,
    listener: TcpListener,
) -> io::Result<()> {
    let waits = OwnedFd::from(listener.try_clone()?);
    accept_each(&server.shutdown, waits, || {
        listener.accept().map(|(stream, peer)| admit(&server, stream, peer.ip()))
    })
    .await
}

/// Calls `accept`, which takes one connection, whenever `listening` has one, until a shutdown is
/// requested.
pub(crate) async fn accept_each(
    shutdown: &Shutdown,
    listening: OwnedFd,
    mut accept: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    // monoio's own accept gives a stream that can not be turned into one of std without `unsafe`.
    let readiness = monoio::net::TcpStream::from_std(TcpStream::from(listening))?;
    loop {
        let ready = pin!(readiness.readable(false));
        if let Either::Right(_) = select(ready, pin!(shutdown.requested())).await {
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
    server: Rc<HttpServer<H>>,
    _slot: ConnectionSlot,
    _of_address: Option<throttle::Counted>,
}

impl<H: Handler> Counted<H> {
    fn new(server: &Rc<HttpServer<H>>, slot: ConnectionSlot, of_address: Option<throttle::Counted>) -> Self {
        server.set_connections(server.open.get() + 1);
        Self { server: server.clone(), _slot: slot, _of_address: of_address }
    }
}

impl<H: Handler> Drop for Counted<H> {
    fn drop(&mut self) {
        self.server.set_connections(self.server.open.get() - 1);
    }
}

fn admit<H: Handler>(server: &Rc<HttpServer<H>>, stream: TcpStream, peer: IpAddr) {
    let socket = match Socket::tcp(stream) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a connection was lost while it was accepted");
            return;
        }
    };
    let limits = server.limits();
    let turn_away = || {
        server.traffic.turned_away();
        if server.tls.is_none() {
            socket.send_now(TOO_MANY);
        }
    };
    let Some(slot) = limits.connections.take() else {
        tracing::warn!(connections = server.open.get(), "at the cap on connections; turning one away");
        return turn_away();
    };
    let of_address = match limits.connections_per_address.filter(|_| !server.proxies.contains(peer)) {
        Some(most) => match server.throttle.connection(peer, most) {
            Some(counted) => Some(counted),
            None => {
                tracing::debug!(%peer, most, "an address has as many connections as it may; turning one away");
                return turn_away();
            }
        },
        None => None,
    };
    let counted = Counted::new(server, slot, of_address);
    monoio::spawn(Fair::new(async move {
        let server = &counted.server;
        if server.tls.is_some() && !wait_for_handshake(server, peer).await {
            return;
        }
        let Some(mut client) = client_of(server, &socket, Client::at(peer)).await else { return };
        let Some(transport) = transport_of(server, server.tls.as_ref(), socket, &mut client).await else {
            return;
        };
        let answer = |request| exchange(server, client, request);
        serve(transport, &limits, &server.shutdown, server.before_large_send.clone(), answer).await;
        drop(counted);
    }));
}

/// Waits until an address may begin another handshake of TLS, which costs more than most requests. Returns
/// false if too many of its wait already, so that the connection ends.
async fn wait_for_handshake<H: Handler>(server: &HttpServer<H>, peer: IpAddr) -> bool {
    let limit = server.limits().handshakes_per_address.filter(|_| !server.proxies.contains(peer));
    let Some(rate) = limit else { return true };
    match server.throttle.handshake(peer, rate) {
        Some(wait) if wait.is_zero() => true,
        Some(wait) => {
            let sleep = pin!(monoio::time::sleep(wait));
            matches!(select(sleep, server.shutdown.requested()).await, Either::Left(_))
        }
        None => {
            server.traffic.turned_away();
            tracing::debug!(%peer, rate, "an address begins more handshakes than it may; turning one away");
            false
        }
    }
}

/// Returns the client of a connection: its peer, or whom that names by the PROXY protocol. Returns None
/// if the peer should name one and does not, so that the connection ends.
async fn client_of<H: Handler>(server: &HttpServer<H>, socket: &Socket, peer: Client) -> Option<Client> {
    if !server.proxies.speak_proxy_protocol || !server.proxies.contains(peer.address) {
        return Some(peer);
    }
    let read = monoio::time::timeout(server.limits().header_time, proxy_protocol::read(socket, peer));
    match select(pin!(read), server.shutdown.requested()).await {
        Either::Left((Ok(Ok(client)), _)) => Some(client),
        Either::Left((Ok(Err(error)), _)) => {
            tracing::warn!(peer = %peer.address, %error, "a trusted proxy did not say who its client is");
            None
        }
        Either::Left((Err(_), _)) => {
            tracing::warn!(peer = %peer.address, "a trusted proxy did not say in time who its client is");
            None
        }
        Either::Right(_) => None,
    }
}

/// Makes the connection ready for HTTP: with `tls`, by its handshake, which ends with the time for a head.
/// Returns None if it fails, so that the connection ends.
pub(crate) async fn transport_of<H: Handler>(
    server: &HttpServer<H>,
    tls: Option<&CoreTls>,
    socket: Rc<Socket>,
    client: &mut Client,
) -> Option<Transport> {
    let Some(tls) = tls else { return Some(Transport::plain(socket)) };
    let address = client.address;
    let handshake = Transport::accept(socket.clone(), tls.config(), client);
    let handshake = monoio::time::timeout(server.limits().header_time, handshake);
    let failed: HandshakeError = match select(pin!(handshake), server.shutdown.requested()).await {
        Either::Left((Ok(Ok(transport)), _)) => return Some(transport),
        Either::Left((Ok(Err(HandshakeError::Proof)), _)) => {
            tracing::debug!(%address, "a client looked at the proof of a name");
            return None;
        }
        Either::Left((Ok(Err(error)), _)) => error,
        Either::Left((Err(_), _)) => HandshakeError::TimedOut,
        Either::Right(_) => return None,
    };
    server.traffic.handshake_failed();
    tracing::debug!(%address, error = %failed, "a handshake failed");
    // An alert on its way is not lost.
    socket.linger(LINGER_TIME, LINGER_BYTES_MAX).await;
    None
}

/// Serves one connection to its end. `answer` gives the answer to each request.
pub(crate) async fn serve<B, A>(
    transport: Transport,
    limits: &Limits,
    shutdown: &Shutdown,
    before_large_send: Rc<dyn Fn()>,
    answer: impl Fn(Request<Incoming>) -> A,
) where
    A: Future<Output = Response<B>>,
    B: Body<Data: Buf, Error: Into<s3s::StdError>> + 'static,
{
    let socket = transport.socket().clone();
    let io = transport.into_io(limits.send_stall, before_large_send);
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
        // A client that has sent everything may close its side and still read the answer.
        .half_close(true)
        .writev(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let result = match select(connection.as_mut(), shutdown.requested()).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    if !shutdown.is_requested() {
        socket.linger(LINGER_TIME, LINGER_BYTES_MAX).await;
    }
}

/// Waits until all connections are done, but no longer than `time`. Returns how many are still open
/// then.
pub async fn drain<H: Handler>(server: &HttpServer<H>, time: Duration) -> usize {
    const STEP: Duration = Duration::from_millis(10);
    let end = monoio::time::Instant::now() + time;
    while server.connections() > 0 && monoio::time::Instant::now() < end {
        monoio::time::sleep(STEP).await;
    }
    server.connections()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_may_have_what_another_does_not_use() {
        let node = ConnectionCap::new(3);
        let (first, second) = (node.clone(), node);
        let held: Vec<_> = (0..3).map(|_| first.take().unwrap()).collect();
        assert!(first.take().is_none() && second.take().is_none());
        drop(held);
        assert!((0..3).map(|_| second.take()).all(|slot| slot.is_some()), "all were given back");
    }
}
