//! This module decides whether the client's thread polls or sleeps while it waits for a response.
//!
//! It polls where it can, because waking a core that sleeps costs the waker microseconds in a
//! virtual machine, and over loopback the waker is the server (docs/decisions/0003-plain-get.md).
//! It sleeps where the server needs the same core, because a polling client would take half of the
//! server's time (docs/bench.md has the figures).

use crate::spec::ClientWait;
use std::net::{SocketAddr, UdpSocket};

/// Returns how the client waits; [`ClientWait::Auto`] is replaced by one of the others.
pub fn choose(wanted: ClientWait, server: &SocketAddr, threads: u32) -> ClientWait {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match wanted {
        ClientWait::Auto if is_here(server) || threads as usize > cores => ClientWait::Sleep,
        ClientWait::Auto => ClientWait::Poll,
        wanted => wanted,
    }
}

/// Returns whether an address belongs to this machine: packets to it then come from the same
/// address.
fn is_here(server: &SocketAddr) -> bool {
    let any: SocketAddr = if server.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    // Connecting a UDP socket sends nothing.
    let from = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    server.ip().is_loopback() || from.is_ok_and(|from| from.ip() == server.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_beside_its_server_sleeps() {
        let (here, elsewhere) = (([127, 0, 0, 1], 9000).into(), ([192, 0, 2, 1], 9000).into());
        assert_eq!(choose(ClientWait::Auto, &here, 1), ClientWait::Sleep);
        assert_eq!(choose(ClientWait::Auto, &([127, 3, 0, 1], 9000).into(), 1), ClientWait::Sleep);
        assert_eq!(choose(ClientWait::Poll, &here, 1), ClientWait::Poll);
        assert_eq!(choose(ClientWait::Auto, &elsewhere, 1), ClientWait::Poll);
        assert_eq!(choose(ClientWait::Auto, &elsewhere, 100_000), ClientWait::Sleep);
        assert_eq!(choose(ClientWait::Sleep, &elsewhere, 1), ClientWait::Sleep);
    }
}
