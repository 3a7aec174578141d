//! The session itself.
//!
//! Invariants:
//! - Records are sent in the order in which they were made. What rustls wants to send by itself, such as
//!   its part of a handshake, an alert, or a new key, waits in [`Session::outgoing`] and goes before
//!   anything that is sealed later.
//! - What the peer sent and was not used up is kept, and stands in front of what follows. rustls knows
//!   places in it, so it is shown these bytes whenever it is asked for anything: shown others, it panics.
//! - After an error the session gives and takes no plain bytes any more. The alert that tells the peer
//!   the reason is outgoing.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};
use std::io::IoSlice;
use std::ops::DerefMut;

/// The longest record on the wire, in bytes: header, the largest piece of plain bytes, and what
/// encryption may add (RFC 8446, 5.2; RFC 5246, 6.2.3).
pub const RECORD_BYTES_MAX: usize = 5 + PIECE_BYTES + 2048;
/// The plain bytes of a full record.
const PIECE_BYTES: usize = 16 << 10;
/// The most that our records add to their piece, in bytes: a header, the kind or a nonce, and the tag.
const OVERHEAD_BYTES: usize = 5 + 8 + 1 + 16;

/// The reason why a session ended.
#[derive(Debug)]
pub enum TlsError {
    /// The peer did something that TLS or its settings forbid.
    Protocol(rustls::Error),
    /// The keys have encrypted as much as they may.
    Exhausted,
    /// Plain bytes were to be sent before the handshake was done, or after the end.
    NotOpen,
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(formatter),
            Self::Exhausted => formatter.write_str("the keys of this connection are used up"),
            Self::NotOpen => formatter.write_str("the TLS session is not open for sending"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Exhausted | Self::NotOpen => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Protocol(error)
    }
}

/// The side of a connection: rustls has a type for each, without a trait over them.
pub trait Side: Sized {
    /// What holds the side's state.
    type Connection: DerefMut<Target = UnbufferedConnectionCommon<Self>>;

    /// Goes on to the next state. See [`UnbufferedConnectionCommon`].
    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self>;
}

impl Side for ServerConnectionData {
    type Connection = UnbufferedServerConnection;

    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self> {
        connection.process_tls_records(incoming)
    }
}

impl Side for ClientConnectionData {
    type Connection = UnbufferedClientConnection;

    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self> {
        connection.process_tls_records(incoming)
    }
}

/// Buffers for making records. One serves all sessions of a thread.
pub struct Sealer {
    piece: Vec<u8>,
    /// The records of the last [`Session::seal`].
    sealed: Vec<u8>,
    used: usize,
}

impl Default for Sealer {
    fn default() -> Self {
        Self { piece: Vec::with_capacity(PIECE_BYTES), sealed: Vec::new(), used: 0 }
    }
}

impl Sealer {
    /// Returns the records of the last [`Session::seal`].
    pub fn records(&self) -> &[u8] {
        &self.sealed[..self.used]
    }

    fn make_room(&mut self, bytes: usize) {
        if self.sealed.len() < self.used + bytes {
            self.sealed.resize(self.used + bytes, 0);
        }
    }

    fn add(&mut self, records: &[u8]) {
        self.make_room(records.len());
        self.sealed[self.used..self.used + records.len()].copy_from_slice(records);
        self.used += records.len();
    }
}

/// One end of a connection.
pub struct Session<S: Side> {
    connection: S::Connection,
    /// The beginning of a record or a message whose rest is missing, as rustls has left it.
    kept: Vec<u8>,
    outgoing: Vec<u8>,
    has_failed: bool,
    has_closed: bool,
    is_open: bool,
    peer_closed: bool,
}

impl<S: Side> Session<S> {
    /// Begins a session.
    pub fn new(connection: S::Connection) -> Self {
        Self {
            connection,
            kept: Vec::new(),
            outgoing: Vec::new(),
            has_failed: false,
            has_closed: false,
            is_open: false,
            peer_closed: false,
        }
    }

    /// Returns what rustls knows of the connection.
    pub fn connection(&self) -> &S::Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(crate) fn connection_mut(&mut self) -> &mut S::Connection {
        &mut self.connection
    }

    /// Returns the records that rustls made by itself. They are to be sent before anything that is
    /// sealed later.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Takes these records, which the caller is to send.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Returns the bytes that have to stand in front of what the peer sends next, when that is
    /// [taken](Self::take).
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Returns whether plain bytes may be sent: the handshake is done.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns whether the peer has said that it sends nothing more.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Takes bytes of the peer behind those that were [kept](Self::kept), and gives the plain bytes in them
    /// to `plain`, a record at a time. A client begins its handshake by passing none. `incoming` is
    /// decrypted where it lies.
    ///
    /// # Errors
    /// Fails when the peer breaks a rule. The alert for it is outgoing then.
    pub fn take(&mut self, incoming: &mut [u8], plain: impl FnMut(&[u8])) -> Result<(), TlsError> {
        debug_assert!(incoming.len() >= self.kept.len(), "what was kept stands in front");
        let used = self.process(incoming, plain)?;
        self.kept.clear();
        self.kept.extend_from_slice(&incoming[used..]);
        if self.kept.is_empty() {
            // A connection that waits holds no buffer.
            self.kept = Vec::new();
        }
        Ok(())
    }

    /// Goes on until rustls waits for the peer. Returns how many bytes, from the first on, are used up.
    fn process(&mut self, incoming: &mut [u8], mut plain: impl FnMut(&[u8])) -> Result<usize, TlsError> {
        let mut used = 0;
        if self.has_failed {
            return Err(TlsError::NotOpen);
        }
        loop {
            let UnbufferedStatus { mut discard, state } =
                S::process(&mut self.connection, &mut incoming[used..]);
            let mut is_waiting = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain(record.payload);
                    }
                }
                // Early data are switched off, so a client that sends them fails its handshake.
                Ok(ConnectionState::ReadEarlyData(_)) => {}
                Ok(ConnectionState::EncodeTlsData(record)) => encode_own(&mut self.outgoing, record),
                // It is sent soon, and before anything else.
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    (self.is_open, is_waiting) = (!self.has_closed, true);
                }
                Ok(ConnectionState::Closed) => (self.is_open, is_waiting) = (false, true),
                // States that rustls may get: they can do nothing here but wait for the peer.
                Ok(_) => is_waiting = true,
                Err(error) => {
                    self.fail(&mut incoming[used + discard..]);
                    return Err(TlsError::Protocol(error));
                }
            }
            used += discard;
            if is_waiting {
                return Ok(used);
            }
        }
    }

    /// Makes records of the first `limit` bytes of `slices`, which are left in `sealer`, behind what was
    /// outgoing. Returns how many bytes they hold. Short slices share a record.
    ///
    /// # Errors
    /// Fails before the handshake is done, after the end, and when the keys are used up.
    pub fn seal(
        &mut self,
        slices: &[IoSlice<'_>],
        limit: usize,
        sealer: &mut Sealer,
    ) -> Result<usize, TlsError> {
        sealer.used = 0;
        sealer.piece.clear();
        let mut left = limit;
        for slice in slices {
            let mut slice = &slice[..slice.len().min(left)];
            left -= slice.len();
            if !sealer.piece.is_empty() || slice.len() < PIECE_BYTES {
                let (joined, rest) = slice.split_at(slice.len().min(PIECE_BYTES - sealer.piece.len()));
                sealer.piece.extend_from_slice(joined);
                slice = rest;
                if sealer.piece.len() == PIECE_BYTES {
                    self.seal_piece(sealer)?;
                }
            }
            let (whole, rest) = slice.split_at(slice.len() / PIECE_BYTES * PIECE_BYTES);
            if !whole.is_empty() {
                self.seal_slice(whole, sealer)?;
            }
            sealer.piece.extend_from_slice(rest);
        }
        if !sealer.piece.is_empty() {
            self.seal_piece(sealer)?;
        }
        Ok(limit - left)
    }

    fn seal_piece(&mut self, sealer: &mut Sealer) -> Result<(), TlsError> {
        let piece = std::mem::take(&mut sealer.piece);
        let sealed = self.seal_slice(&piece, sealer);
        sealer.piece = piece;
        sealer.piece.clear();
        sealed
    }

    fn seal_slice(&mut self, plain: &[u8], sealer: &mut Sealer) -> Result<(), TlsError> {
        self.write(|traffic, outgoing| {
            sealer.add(outgoing);
            outgoing.clear();
            sealer.make_room(plain.len() + plain.len().div_ceil(PIECE_BYTES) * OVERHEAD_BYTES);
            loop {
                match traffic.encrypt(plain, &mut sealer.sealed[sealer.used..]) {
                    Ok(count) => {
                        sealer.used += count;
                        return Ok(());
                    }
                    // A message of rustls's own goes along.
                    Err(EncryptError::InsufficientSize(error)) => sealer.make_room(error.required_size),
                    Err(EncryptError::EncryptExhausted) => return Err(TlsError::Exhausted),
                }
            }
        })?
    }

    /// Lets `write` make records of its own. What rustls has to send itself is outgoing before them.
    fn write<R>(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_, S>, &mut Vec<u8>) -> R,
    ) -> Result<R, TlsError> {
        if self.has_failed || self.has_closed {
            return Err(TlsError::NotOpen);
        }
        loop {
            // Nothing of the peer's is new, so nothing of these bytes is used up.
            let UnbufferedStatus { state, .. } = S::process(&mut self.connection, &mut self.kept);
            match state {
                Ok(ConnectionState::EncodeTlsData(record)) => encode_own(&mut self.outgoing, record),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return Ok(write(&mut traffic, &mut self.outgoing));
                }
                _ => return Err(TlsError::NotOpen),
            }
        }
    }

    /// Says to the peer that nothing more is sent. The alert for it is outgoing then.
    pub fn close(&mut self) {
        if !self.is_open {
            return;
        }
        // Where nothing can be sent any more, nothing need be said.
        let _ = self.write(|traffic, outgoing| {
            encode(outgoing, |room| match traffic.queue_close_notify(room) {
                Err(EncryptError::InsufficientSize(error)) => Err(Some(error)),
                Err(EncryptError::EncryptExhausted) => Err(None),
                Ok(count) => Ok(count),
            });
        });
        (self.has_closed, self.is_open) = (true, false);
    }

    /// Ends the session, with the alert that says why. `incoming` is what rustls has left of the peer's
    /// bytes.
    fn fail(&mut self, incoming: &mut [u8]) {
        (self.has_failed, self.is_open) = (true, false);
        let mut used = 0;
        // Asked when it has nothing to send, rustls would find the same error again.
        while self.connection.wants_write() {
            let UnbufferedStatus { discard, state } = S::process(&mut self.connection, &mut incoming[used..]);
            let Ok(ConnectionState::EncodeTlsData(record)) = state else { return };
            encode_own(&mut self.outgoing, record);
            used += discard;
        }
    }
}

/// Appends what rustls sends by itself.
fn encode_own<Data>(outgoing: &mut Vec<u8>, mut record: EncodeTlsData<'_, Data>) {
    encode(outgoing, |room| match record.encode(room) {
        Err(EncodeError::InsufficientSize(error)) => Err(Some(error)),
        Err(EncodeError::AlreadyEncoded) => Err(None),
        Ok(count) => Ok(count),
    });
}

/// Appends a record to `outgoing`, which grows to the room that it needs.
fn encode(
    outgoing: &mut Vec<u8>,
    mut record: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) {
    let used = outgoing.len();
    let mut room = 0;
    loop {
        outgoing.resize(used + room, 0);
        match record(&mut outgoing[used..]) {
            Ok(count) => {
                outgoing.truncate(used + count);
                return;
            }
            Err(Some(error)) if error.required_size > room => room = error.required_size,
            Err(_) => {
                outgoing.truncate(used);
                return;
            }
        }
    }
}
