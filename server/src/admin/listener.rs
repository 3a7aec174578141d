//! The admin listeners: the address, if there is one, and the socket in the data directory.
//!
//! Invariants:
//! - Both live on one core, and each has a limit on connections of its own, so that nobody who
//!   reaches the address alone keeps operators from the socket.
//! - Only a command's body is read; the connection of any other request that has a body ends with
//!   the answer.

use super::{Peer, answer, command};
use crate::client::Client;
use crate::http::{
    ConnectionCap, Fair, Handler, HttpServer, Limits, Socket, accept_each, check_head, serve as serve_http,
    transport_of,
};
use crate::tls::{CoreTls, Tls};
use http::header::{CONNECTION, HeaderValue, SERVER};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The most connections of one listener: a few programs look now and then.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIME: Duration = Duration::from_secs(60);
const SEND_STALL: Duration = Duration::from_secs(10);

/// The listeners for operators, both served by one core.
pub struct AdminListeners {
    /// The listener of the address. None if there is only the socket.
    pub address: Option<TcpListener>,
    /// What connections to the address speak below HTTP. None: plain TCP.
    pub tls: Option<Arc<Tls>>,
    pub socket: UnixListener,
}

/// Serves both listeners until a shutdown is requested.
pub async fn serve<H: Handler>(server: Rc<HttpServer<H>>, listeners: AdminListeners) -> io::Result<()> {
    let AdminListeners { address, tls, socket } = listeners;
    let tls = Rc::new(tls.map(CoreTls::new));
    let without = Rc::new(None);
    let limits = || {
        Rc::new(Limits {
            connections: ConnectionCap::new(CONNECTIONS_MAX),
            header_time: HEADER_TIME,
            send_stall: SEND_STALL,
            ..(*server.limits()).clone()
        })
    };
    let (socket_limits, address_limits) = (limits(), limits());
    let by_socket = accept_each(&server.shutdown, OwnedFd::from(socket.try_clone()?), || {
        let (stream, _) = socket.accept()?;
        admit(&server, &socket_limits, &without, Peer::Socket, Socket::unix(stream)?);
        Ok(())
    });
    let by_address = async {
        let Some(address) = &address else { return Ok(()) };
        accept_each(&server.shutdown, OwnedFd::from(address.try_clone()?), || {
            let (stream, _) = address.accept()?;
            admit(&server, &address_limits, &tls, Peer::Address, Socket::tcp(stream)?);
            Ok(())
        })
        .await
    };
    let (by_socket, by_address) = futures_util::future::join(by_socket, by_address).await;
    by_socket.and(by_address)
}

/// Serves a connection in a task of its own, or closes it at once if there are too many.
fn admit<H: Handler>(
    server: &Rc<HttpServer<H>>,
    limits: &Rc<Limits>,
    tls: &Rc<Option<CoreTls>>,
    peer: Peer,
    socket: Rc<Socket>,
) {
    let Some(slot) = limits.connections.take() else {
        tracing::warn!(?peer, "at the cap on admin connections; closing one");
        return;
    };
    let (server, limits, tls) = (server.clone(), limits.clone(), tls.clone());
    monoio::spawn(Fair::new(async move {
        // Who asks here is known by a signature or by the socket, and its address counts for nothing.
        let mut client = Client::default();
        let Some(transport) = transport_of(&server, (*tls).as_ref(), socket, &mut client).await else {
            return;
        };
        let exchange = |request| exchange(&server, peer, request);
        serve_http(transport, &limits, &server.shutdown, Rc::new(|| {}), exchange).await;
        drop(slot);
    }));
}

async fn exchange<H: Handler>(
    server: &HttpServer<H>,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Response<s3s::Body> {
    let (mut response, closes) = match check_head(&mut request) {
        // This future is boxed, so that the futures of the others stay small.
        Ok(()) if command::is_command(request.uri().path()) => {
            Box::pin(command::exchange(server, peer, request)).await
        }
        Ok(()) => {
            let response = answer(server, peer, request.method(), request.uri().path()).await;
            (response, !request.body().is_end_stream())
        }
        Err(error) => {
            let mut response = Response::new(s3s::Body::from(format!("{error}\n")));
            *response.status_mut() = error.status();
            (response, true)
        }
    };
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("Ringbolt"));
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
