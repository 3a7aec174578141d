//! Listening: each core has a socket of its own on the same address, and the kernel spreads
//! connections over them.
//!
//! Invariant: an address that another server listens on is refused, although SO_REUSEPORT would let
//! two servers of one user share it silently.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

const BACKLOG: i32 = 1024;
/// How long to wait for an address: after a kill, the kernel may need a moment to take the old
/// listeners down.
const BUSY_RETRY: Duration = Duration::from_secs(3);

/// The reason why an address can not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("can not listen on {address}: another program does; stop it, or choose another with {flag}")]
    InUse { address: SocketAddr, flag: &'static str },
    #[error("can not listen on {address}: {source}; choose another address with {flag}")]
    Bind { address: SocketAddr, source: io::Error, flag: &'static str },
}

/// Makes `count` listeners on `address`. Port 0 takes a free port, the same one for all. `flag` is
/// the option that chooses another address, for the error that says so.
pub fn bind(address: SocketAddr, count: usize, flag: &'static str) -> Result<Vec<TcpListener>, ListenError> {
    let probe = probe(address, flag)?;
    let bound = probe.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(address);
    drop(probe);
    let error = |source| ListenError::Bind { address: bound, source, flag };
    (0..count).map(|_| listen(bound, true).map(TcpListener::from).map_err(error)).collect()
}

/// Binds alone, which fails if anyone listens, with SO_REUSEPORT or without.
#[expect(
    clippy::disallowed_methods,
    reason = "before any core runs; the kernel has no event for a freed address"
)]
fn probe(address: SocketAddr, flag: &'static str) -> Result<Socket, ListenError> {
    let begin = Instant::now();
    loop {
        match listen(address, false) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if begin.elapsed() > BUSY_RETRY {
                    return Err(ListenError::InUse { address, flag });
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(source) => return Err(ListenError::Bind { address, source, flag }),
        }
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
