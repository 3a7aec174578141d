//! A connection as hyper sees it: bytes move by direct non-blocking system calls, and waiting is
//! done by polls on monoio's ring.
//!
//! monoio's own reads and writes own their buffers, so an idle connection would hold one, and
//! hyper's borrowed slices could not leave without a copy. That is why they are not used.
//!
//! Invariants:
//! - A connection holds no buffer of this file while it waits; what hyper keeps is bounded.
//! - Head and body leave in one vectored send.
//! - A peer that takes nothing for `send_stall`, or trickles ([`MinimumRate`]), ends the
//!   connection.

use super::minimum_rate::MinimumRate;
use monoio::time::{Sleep, sleep};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

const SCRATCH_BYTES: usize = 256 * 1024;
/// The size in bytes from which on a send is worth telling the storage ring first: it runs for tens
/// of microseconds.
pub const LARGE_SEND_BYTES: usize = 64 * 1024;
/// The size in bytes of the pieces in which what comes before HTTP is received.
const PIECE_BYTES: usize = 16 * 1024;

thread_local! {
    /// Bytes pass through here on their way into hyper's buffers: copying what came is cheaper than
    /// zeroing what might come.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

type Wait = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A connection's socket, under two handles.
pub struct Socket {
    /// The handle that waits for readiness on monoio's ring.
    poll: monoio::net::TcpStream,
    /// The handle that sends, receives and shuts down.
    direct: std::net::TcpStream,
    saw_end: Cell<bool>,
}

impl Socket {
    /// Takes over a connection over TCP.
    pub fn tcp(direct: std::net::TcpStream) -> io::Result<Rc<Self>> {
        direct.set_nodelay(true)?;
        Self::new(direct)
    }

    /// Takes over a connection over a socket of the file system.
    pub fn unix(direct: std::os::unix::net::UnixStream) -> io::Result<Rc<Self>> {
        // The calls made here are those of any stream socket; only the kernel needs to know which
        // kind it is.
        Self::new(std::net::TcpStream::from(std::os::fd::OwnedFd::from(direct)))
    }

    fn new(direct: std::net::TcpStream) -> io::Result<Rc<Self>> {
        // The socket blocks, or monoio's ring would answer EAGAIN instead of waiting. The calls
        // made here say DONTWAIT.
        direct.set_nonblocking(false)?;
        let poll = monoio::net::TcpStream::from_std(direct.try_clone()?)?;
        Ok(Rc::new(Self { poll, direct, saw_end: Cell::new(false) }))
    }

    fn receive<T>(&self, limit: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T, Errno> {
        self.receive_behind(&[], limit, |bytes, _| take(bytes))
    }

    /// Receives up to `limit` bytes behind `kept`, which came before. `take` gets both together, to change
    /// them as it likes, and how many are new.
    fn receive_behind<T>(
        &self,
        kept: &[u8],
        limit: usize,
        take: impl FnOnce(&mut [u8], usize) -> T,
    ) -> Result<T, Errno> {
        SCRATCH.with_borrow_mut(|scratch| {
            let (before, space) = scratch.split_at_mut(kept.len());
            let room = limit.min(space.len());
            if room == 0 && limit > 0 {
                // Nothing received would be the peer's end.
                return Err(Errno::NOBUFS);
            }
            let (count, _) = rustix::net::recv(&self.direct, &mut space[..room], RecvFlags::DONTWAIT)?;
            if count == 0 && limit > 0 {
                self.saw_end.set(true);
            }
            before.copy_from_slice(kept);
            Ok(take(&mut scratch[..kept.len() + count], count))
        })
    }

    /// Waits for bytes and receives them behind `kept`. They are a few at least, or the peer has ended
    /// its side.
    pub async fn receive_more<T>(
        &self,
        kept: &[u8],
        mut take: impl FnMut(&mut [u8], usize) -> T,
    ) -> io::Result<T> {
        loop {
            match self.receive_behind(kept, PIECE_BYTES, &mut take) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.poll.readable(false).await?,
                result => return result.map_err(io::Error::from),
            }
        }
    }

    /// Sends all of `bytes`.
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.direct, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.poll.writable(false).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives exactly `length` bytes, and none of what follows. It is for what comes before HTTP.
    pub async fn receive_exact(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            match self.receive(length - bytes.len(), |piece| bytes.extend_from_slice(piece)) {
                Ok(()) if self.saw_end.get() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.poll.readable(false).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    /// Sends as much as fits at once. It is for answers given without hyper.
    pub fn send_now(&self, bytes: &[u8]) {
        // The peer is being turned away: whether it hears why is up to its buffer.
        let _ = rustix::net::send(&self.direct, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Ends the connection without losing the last answer. A socket that is closed with unread
    /// bytes resets the connection, and the peer may then never read what was sent before; so at
    /// most `bytes_max` bytes are read for at most `time`.
    pub async fn linger(&self, time: Duration, bytes_max: usize) {
        if self.saw_end.get() {
            return;
        }
        self.shutdown(std::net::Shutdown::Write);
        let drain = async {
            let mut left = bytes_max;
            while left > 0 {
                match self.receive(left, <[u8]>::len) {
                    Ok(0) => return,
                    Ok(count) => left = left.saturating_sub(count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) if self.poll.readable(false).await.is_ok() => {}
                    Err(_) => return,
                }
            }
        };
        // Either way the connection is over.
        let _ = monoio::time::timeout(time, drain).await;
    }

    fn shutdown(&self, how: std::net::Shutdown) {
        // It fails only if the peer is gone, which is just as well.
        let _ = self.direct.shutdown(how);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A poll still in flight holds the descriptor until it fires: this makes it fire.
        self.shutdown(std::net::Shutdown::Both);
    }
}

/// The I/O of hyper on a [`Socket`].
pub struct HyperIo {
    socket: Rc<Socket>,
    reading: Option<Wait>,
    writing: Option<(Wait, Pin<Box<Sleep>>)>,
    /// Tells whether the last receive left the socket's buffer empty, as far as can be known.
    drained: bool,
    send_stall: Duration,
    rate: MinimumRate,
    before_large_send: Rc<dyn Fn()>,
}

impl HyperIo {
    /// Makes hyper's I/O. A peer that takes nothing for `send_stall` fails it, and
    /// `before_large_send` is called before each long send.
    pub fn new(socket: Rc<Socket>, send_stall: Duration, before_large_send: Rc<dyn Fn()>) -> Self {
        let rate = MinimumRate::new(send_stall);
        Self { socket, reading: None, writing: None, drained: true, send_stall, rate, before_large_send }
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stall = self.send_stall;
        self.rate.waits();
        let socket = &self.socket;
        let (wait, deadline) = self.writing.get_or_insert_with(|| {
            let socket = socket.clone();
            (Box::pin(async move { socket.poll.writable(false).await }), Box::pin(sleep(stall)))
        });
        if let Poll::Ready(result) = wait.as_mut().poll(context) {
            self.writing = None;
            return Poll::Ready(result);
        }
        ready!(deadline.as_mut().poll(context));
        self.writing = None;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no data")))
    }

    /// Ends the side of the connection that sends.
    pub fn end_sending(&self) {
        self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Lets the storage ring work before something that takes as long as a large send.
    pub fn before_large(&self) {
        (self.before_large_send)();
    }

    /// Receives bytes behind `kept`, up to `limit`, and gives both together to `take`, with how many are
    /// new: none at the end.
    pub fn poll_receive<T>(
        &mut self,
        context: &mut Context<'_>,
        kept: &[u8],
        limit: usize,
        mut take: impl FnMut(&mut [u8], usize) -> T,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(wait) = &mut self.reading {
                let result = ready!(wait.as_mut().poll(context));
                self.reading = None;
                result?;
                self.drained = false;
            }
            if !self.drained {
                let received = self.socket.receive_behind(kept, limit, |bytes, count| {
                    (count < limit.min(SCRATCH_BYTES - kept.len()), take(bytes, count))
                });
                match received {
                    Ok((drained, taken)) => {
                        self.drained = drained;
                        return Poll::Ready(Ok(taken));
                    }
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            let socket = self.socket.clone();
            self.reading = Some(Box::pin(async move { socket.poll.readable(false).await }));
        }
    }

    pub fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.writing.is_some() {
                ready!(self.poll_writable(context))?;
            } else if slices.iter().map(|slice| slice.len()).sum::<usize>() >= LARGE_SEND_BYTES {
                self.before_large();
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(&self.socket.direct, slices, &mut control, flags) {
                Ok(count) => {
                    let moved = self.rate.moved(count as u64);
                    let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes data too slowly");
                    return Poll::Ready(moved.map(|()| count).map_err(slow));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready!(self.poll_writable(context))?,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
