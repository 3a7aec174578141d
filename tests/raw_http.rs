//! This module sends HTTP/1.1 requests that an SDK hides: presigned URLs used by others, and bodies
//! that end half-way.
//!
//! Invariant: each connection carries one request and is closed at the end, so that the response is
//! all that the server sends.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Holds the status, the head as it was received, and the body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends one complete request and reads the complete response.
pub async fn request(method: &str, url: &str, body: &[u8]) -> io::Result<Answer> {
    request_with(method, url, "", body).await
}

/// Sends a request as [`request`] does, with additional header lines, each ended by `\r\n`.
pub async fn request_with(method: &str, url: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
    request_to_host(method, url, address_of(url)?.0, headers, body).await
}

/// Sends a request as [`request_with`] does, for the host `host` at the address of `url`.
pub async fn request_to_host(
    method: &str,
    url: &str,
    host: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = send(method, url, host, headers, body.len(), body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    parse(&answer)
}

/// Announces `announced` bytes, sends `sent` and leaves the connection open; dropping the stream
/// breaks it off.
pub async fn half_request(method: &str, url: &str, announced: usize, sent: &[u8]) -> io::Result<TcpStream> {
    half_request_with(method, url, "", announced, sent).await
}

/// Sends half a request as [`half_request`] does, with additional header lines, each ended by
/// `\r\n`.
pub async fn half_request_with(
    method: &str,
    url: &str,
    headers: &str,
    announced: usize,
    sent: &[u8],
) -> io::Result<TcpStream> {
    let mut stream = send(method, url, address_of(url)?.0, headers, announced, sent).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Returns the address with port, and the target without its first slash.
fn address_of(url: &str) -> io::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("only plain HTTP"))?;
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

async fn send(
    method: &str,
    url: &str,
    host: &str,
    headers: &str,
    length: usize,
    body: &[u8],
) -> io::Result<TcpStream> {
    let (address, path) = address_of(url)?;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    Ok(stream)
}

fn parse(answer: &[u8]) -> io::Result<Answer> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| io::Error::other("the answer has no end of headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
}
