//! Accepting connections and serving one of them.

use super::exchange::exchange;
use super::io::{HyperIo, Socket};
use super::timer::CoreTimer;
use super::{Front, Handler, READ_BUFFER_BYTES_MAX};
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
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
    // monoio's own accept gives a stream that can not be turned into one of std without `unsafe`.
    let readiness =
        monoio::net::TcpStream::from_std(TcpStream::from(std::os::fd::OwnedFd::from(listener.try_clone()?)))?;
    loop {
        let ready = pin!(readiness.readable(false));
        if let Either::Right(_) = select(ready, pin!(front.stop.heard())).await {
            return Ok(());
        }
        loop {
            match listener.accept() {
                Ok((stream, _)) => admit(&front, stream),
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
struct Counted<H: Handler>(Rc<Front<H>>);

impl<H: Handler> Counted<H> {
    fn new(front: &Rc<Front<H>>) -> Self {
        front.set_connections(front.open.get() + 1);
        Self(front.clone())
    }
}

impl<H: Handler> Drop for Counted<H> {
    fn drop(&mut self) {
        self.0.set_connections(self.0.open.get() - 1);
    }
}

fn admit<H: Handler>(front: &Rc<Front<H>>, stream: TcpStream) {
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a connection was lost while it was accepted");
            return;
        }
    };
    if front.open.get() >= front.limits.connections_max {
        tracing::warn!(connections = front.open.get(), "at the cap on connections; turning one away");
        front.traffic.turned_away();
        socket.send_now(TOO_MANY);
        return;
    }
    let counted = Counted::new(front);
    monoio::spawn(async move {
        serve(&counted.0, socket).await;
        drop(counted);
    });
}

async fn serve<H: Handler>(front: &Rc<Front<H>>, socket: Rc<Socket>) {
    let io = HyperIo::new(socket.clone(), front.limits.send_stall, front.before_large_send.clone());
    let service = service_fn(|request| async move { Ok::<_, Infallible>(exchange(front, request).await) });
    let connection = http1::Builder::new()
        .timer(CoreTimer)
        .header_read_timeout(front.limits.header_time)
        .max_header_size(front.limits.header_bytes_max)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .half_close(false)
        .writev(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let result = match select(connection.as_mut(), front.stop.heard()).await {
        Either::Left((result, _)) => result,
        Either::Right(((), _)) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    if !front.stop.said() {
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
