//! This module is the bare stack: hyper on monoio, which answers every request with the same bytes
//! from memory. It is the upper bound for a server on this stack. The ring's flags and hyper's
//! options are those of the server.

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use monoio::io::IntoPollIo;
use monoio::net::{TcpListener, TcpStream};
use monoio_compat::hyper::{MonoioIo, MonoioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const HEADER_TIME: Duration = Duration::from_secs(60);

/// Serves until the process is ended. Passes its address to `ready` when it listens.
pub fn serve(body_bytes: usize, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut rings = io_uring_06::IoUring::builder();
    rings.setup_single_issuer().setup_defer_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(1024)
        .uring_builder(rings)
        .enable_timer()
        .build()?;
    let body = Bytes::from(vec![0x5a; body_bytes]);
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        ready(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(connection(stream, body.clone()));
        }
    })
}

async fn connection(stream: TcpStream, body: Bytes) {
    if let Err(error) = stream.set_nodelay(true) {
        eprintln!("TCP_NODELAY: {error}");
        return;
    }
    let io = match stream.into_poll_io() {
        Ok(io) => MonoioIo::new(io),
        Err(error) => return eprintln!("connection: {error}"),
    };
    let service = service_fn(move |_: Request<Incoming>| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
    });
    // This ends with an error when a client leaves in the middle of a request, as load generators
    // do.
    let _ = http1::Builder::new()
        .timer(MonoioTimer)
        .header_read_timeout(HEADER_TIME)
        .max_header_size(64 << 10)
        .max_buf_size(128 << 10)
        .half_close(false)
        .writev(true)
        .serve_connection(io, service)
        .await;
}
