//! What a connection speaks below HTTP: plain TCP, or TLS over it.
//!
//! Invariants:
//! - A connection with TLS that waits for a request holds the session, and no buffer: of what was
//!   received it keeps at most [`KEPT_BYTES_MAX`], and of what is to be sent at most [`SEAL_BYTES_MAX`] and
//!   what encryption adds.
//! - A handshake takes its own time alone: it is a task as any other, ends with the time for a head, and
//!   keeps at most [`HANDSHAKE_BYTES_MAX`].
//! - Whoever speaks HTTP where TLS is spoken is told so, in HTTP.
//! - Whoever asks for the proof of a name gets no connection that HTTP could be spoken on.

use super::io::{HyperIo, LARGE_SEND_BYTES, Socket};
use crate::client::Client;
use crate::tls::PROOF_PROTOCOL;
use hyper::rt::ReadBufCursor;
use ringbolt_tls::{RECORD_BYTES_MAX, Sealer, Session, TlsError};
use rustls::ProtocolVersion;
use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The most plain bytes that are made into records at once: they are in the cache still when the kernel
/// copies them.
const SEAL_BYTES_MAX: usize = 64 << 10;
/// The most that a peer may send before its part of the handshake is understood, in bytes: the largest
/// message that rustls takes, in records.
const HANDSHAKE_BYTES_MAX: usize = 72 << 10;
/// The most that is kept of what a peer sent behind its handshake, in bytes. Nothing that makes sense there
/// is longer than a record, but a peer could send the pieces of a message for ever.
const KEPT_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// The most memory that an open connection with TLS takes beside that of any connection, in bytes, while
/// its peer takes nothing: records, the beginning of one, and the session.
pub const TLS_BYTES_MAX: usize = SEAL_BYTES_MAX + (4 << 10) + KEPT_BYTES_MAX + (24 << 10);
const NO_TLS: &str = "This server speaks HTTPS here: write https:// instead of http://.\n";

thread_local! {
    static SEALER: RefCell<Sealer> = RefCell::default();
}

/// The reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the connection ended within the handshake")]
    Ended,
    #[error("the client did not end the handshake in time")]
    TimedOut,
    #[error("the client speaks plain HTTP where TLS is spoken")]
    PlainHttp,
    #[error("the client is an authority, and saw what it asked for")]
    Proof,
    #[error("the client sent more than {HANDSHAKE_BYTES_MAX} bytes and no whole message of a handshake")]
    TooLong,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A connection that is ready for HTTP.
pub struct Transport {
    socket: Rc<Socket>,
    tls: Option<Established>,
}

struct Established {
    session: Session<ServerConnectionData>,
    /// What the client sent behind its handshake, decrypted.
    plain: Vec<u8>,
}

impl Transport {
    /// Makes a connection without TLS.
    pub fn plain(socket: Rc<Socket>) -> Self {
        Self { socket, tls: None }
    }

    /// Performs the handshake of TLS, and notes in `client` that it speaks that.
    pub async fn accept(
        socket: Rc<Socket>,
        config: Arc<ServerConfig>,
        client: &mut Client,
    ) -> Result<Self, HandshakeError> {
        let connection = UnbufferedServerConnection::new(config).map_err(TlsError::from)?;
        let mut session: Session<ServerConnectionData> = Session::new(connection);
        let (mut plain, mut is_first) = (Vec::new(), true);
        loop {
            let mut spoke_http = false;
            let kept = session.kept().to_vec();
            let step = |bytes: &mut [u8], count: usize| {
                if count == 0 {
                    return Err(HandshakeError::Ended);
                }
                if std::mem::take(&mut is_first) && bytes.first().is_some_and(u8::is_ascii_uppercase) {
                    spoke_http = true;
                    return Err(HandshakeError::PlainHttp);
                }
                // A client may send its request at once.
                session.take(bytes, |piece| plain.extend_from_slice(piece))?;
                Ok(())
            };
            let stepped = socket.receive_more(&kept, step).await?;
            if spoke_http {
                socket.send_now(no_tls().as_bytes());
            }
            // An alert tells the client why it fails.
            if stepped.is_err() {
                socket.send_now(session.outgoing());
            }
            stepped?;
            // The last message of a handshake is the server's in TLS 1.2, and a ticket in TLS 1.3.
            let records = session.take_outgoing();
            socket.send_all(&records).await?;
            if session.is_open() {
                break;
            }
            if session.kept().len() > HANDSHAKE_BYTES_MAX {
                return Err(HandshakeError::TooLong);
            }
        }
        if session.connection().alpn_protocol() == Some(PROOF_PROTOCOL) {
            return Err(HandshakeError::Proof);
        }
        // A proxy that has said how its client speaks TLS speaks it here for itself.
        if !client.is_secure {
            client.is_secure = true;
            client.tls_version = match session.connection().protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
                Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
                _ => None,
            };
        }
        Ok(Self { socket, tls: Some(Established { session, plain }) })
    }

    /// Returns the socket.
    pub fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    /// Makes what hyper reads from and writes to, as [`HyperIo::new`] does.
    pub fn into_io(self, send_stall: Duration, before_large_send: Rc<dyn Fn()>) -> Io {
        let io = HyperIo::new(self.socket, send_stall, before_large_send);
        match self.tls {
            None => Io::Plain(io),
            Some(Established { session, plain }) => {
                let (plain, unsent) = (Kept { bytes: plain, gone: 0 }, Kept::default());
                Io::Tls(Box::new(TlsIo { io, session, plain, unsent, failed: None }))
            }
        }
    }
}

fn no_tls() -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\nServer: Ringbolt\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{NO_TLS}",
        NO_TLS.len()
    )
}

/// Bytes that wait, the first of which may be gone already.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    gone: usize,
}

impl Kept {
    fn left(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    /// Gives up the first `count` bytes, and the memory with the last.
    fn gone(&mut self, count: usize) {
        self.gone += count;
        if self.gone == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

/// What hyper reads from and writes to.
pub enum Io {
    Plain(HyperIo),
    Tls(Box<TlsIo>),
}

/// The side of a session that hyper has.
pub struct TlsIo {
    io: HyperIo,
    session: Session<ServerConnectionData>,
    /// Decrypted bytes that hyper has no room for.
    plain: Kept,
    /// Records that the socket did not take yet.
    unsent: Kept,
    /// The error behind bytes that were fine, which hyper gets first.
    failed: Option<io::Error>,
}

impl TlsIo {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut received = 0;
        loop {
            let Self { io, session, plain, unsent, failed } = &mut *self;
            if !plain.left().is_empty() {
                let count = plain.left().len().min(cursor.remaining());
                cursor.put_slice(&plain.left()[..count]);
                plain.gone(count);
                return Poll::Ready(Ok(()));
            }
            if received > 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = failed.take() {
                return Poll::Ready(Err(error));
            }
            if session.peer_closed() {
                return Poll::Ready(Ok(()));
            }
            let kept = session.kept().to_vec();
            // A whole record fits, or a long one would never be complete.
            let limit = cursor.remaining().max(RECORD_BYTES_MAX);
            let taken = io.poll_receive(context, &kept, limit, |bytes, count| {
                session.take(bytes, |piece| {
                    let fits = if plain.left().is_empty() { piece.len().min(cursor.remaining()) } else { 0 };
                    cursor.put_slice(&piece[..fits]);
                    plain.add(&piece[fits..]);
                    received += piece.len();
                })?;
                Ok(count == 0)
            });
            match taken {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(taken)) => {
                    unsent.add(&session.take_outgoing());
                    *failed = match taken {
                        Err(error) => Some(of_tls(error)),
                        Ok(_) if session.kept().len() > KEPT_BYTES_MAX => {
                            Some(io::Error::new(io::ErrorKind::InvalidData, "a message of TLS without end"))
                        }
                        Ok(true) => return Poll::Ready(Ok(())),
                        Ok(false) => None,
                    };
                    // An answer of TLS itself, or an alert, goes out now if it can, else with what is sent
                    // next, which finds the same error if there is one.
                    let _ = poll_unsent(io, unsent, context);
                }
            }
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(poll_unsent(&mut self.io, &mut self.unsent, context))?;
        if slices.iter().map(|slice| slice.len()).sum::<usize>() >= LARGE_SEND_BYTES {
            self.io.before_large();
        }
        SEALER.with_borrow_mut(|sealer| {
            let count = self.session.seal(slices, SEAL_BYTES_MAX, sealer).map_err(of_tls)?;
            let records = sealer.records();
            let sent = match self.io.poll_send(context, &[IoSlice::new(records)]) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            self.unsent.add(&records[sent..]);
            // hyper may forget these bytes: its next call sends the records that are left first.
            Poll::Ready(Ok(count))
        })
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.close();
        self.unsent.add(&self.session.take_outgoing());
        ready!(poll_unsent(&mut self.io, &mut self.unsent, context))?;
        self.io.end_sending();
        Poll::Ready(Ok(()))
    }
}

fn poll_unsent(io: &mut HyperIo, unsent: &mut Kept, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !unsent.left().is_empty() {
        let count = ready!(io.poll_send(context, &[IoSlice::new(unsent.left())]))?;
        unsent.gone(count);
    }
    Poll::Ready(Ok(()))
}

fn of_tls(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => {
                let space = cursor.remaining();
                io.poll_receive(context, &[], space, |bytes, _| cursor.put_slice(bytes))
            }
            Self::Tls(io) => io.poll_read(context, cursor),
        }
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => io.poll_send(context, slices),
            Self::Tls(io) => io.poll_send(context, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => poll_unsent(&mut tls.io, &mut tls.unsent, context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => {
                io.end_sending();
                Poll::Ready(Ok(()))
            }
            Self::Tls(io) => io.poll_shutdown(context),
        }
    }
}
