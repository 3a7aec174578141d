//! These tests check that `--memory` is a cap: two thousand slow connections of every kind stay
//! under it, and a full index refuses only new keys.

use crate::support::{BUCKET, assert_holds, delete, get, list_all, make_bucket, put};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 2000;
const LARGE_BYTES: usize = 8 << 20;
const SMALL_BYTES: usize = 60_000;
/// An upload stops after this many bytes.
const SENT_BYTES: usize = 300_000;
/// A slow client must get a response, and the server must recover, within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says what a connection does before it stops.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// Sends one request, and keeps the connection.
    Idle,
    /// Sends half a head.
    Head,
    /// Sends the head of an upload and a part of its body.
    LargeUpload,
    SmallUpload,
    /// Requests a large object and reads nothing.
    Reader,
}

const KINDS: [Slow; 5] = [Slow::Idle, Slow::Head, Slow::LargeUpload, Slow::SmallUpload, Slow::Reader];

/// Holds requests that are already signed.
struct Signed {
    address: SocketAddr,
    large: PresignedRequest,
    small: PresignedRequest,
    get: PresignedRequest,
    head: PresignedRequest,
}

impl Signed {
    async fn new(server: &Server, client: &Client) -> Self {
        let valid = || PresigningConfig::expires_in(Duration::from_secs(600)).expect("an expiry");
        let put = |key: &str| client.put_object().bucket(BUCKET).key(key);
        let get = client.get_object().bucket(BUCKET).key("large");
        let head = client.head_object().bucket(BUCKET).key("large");
        Self {
            address: server.endpoint().trim_start_matches("http://").parse().expect("an address"),
            large: put("slow/large").presigned(valid()).await.expect("sign"),
            small: put("slow/small").presigned(valid()).await.expect("sign"),
            get: get.presigned(valid()).await.expect("sign"),
            head: head.presigned(valid()).await.expect("sign"),
        }
    }

    fn bytes(&self, kind: Slow) -> Vec<u8> {
        let head = |method: &str, request: &PresignedRequest, length: usize| {
            let path = request.uri().trim_start_matches("http://").split_once('/').expect("a path").1;
            let head = format!("{method} /{path} HTTP/1.1\r\nHost: {}\r\n", self.address);
            match length {
                0 => format!("{head}\r\n"),
                length => format!("{head}Content-Length: {length}\r\n\r\n"),
            }
        };
        let mut bytes = match kind {
            Slow::Idle => head("HEAD", &self.head, 0),
            Slow::Head => format!("GET /bucket HTTP/1.1\r\nHost: h\r\nx-amz-meta-a: {}", "a".repeat(12_000)),
            Slow::LargeUpload => head("PUT", &self.large, LARGE_BYTES),
            Slow::SmallUpload => head("PUT", &self.small, SMALL_BYTES),
            Slow::Reader => head("GET", &self.get, 0),
        }
        .into_bytes();
        match kind {
            Slow::LargeUpload => bytes.resize(bytes.len() + SENT_BYTES, b'x'),
            Slow::SmallUpload => bytes.resize(bytes.len() + SMALL_BYTES - 1, b'x'),
            _ => {}
        }
        bytes
    }
}

/// Sends, and returns the immediate response: a connection that is refused gets it now.
async fn open(address: SocketAddr, bytes: Vec<u8>) -> std::io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await?;
    // A server at its cap may close before everything is sent, and one without a buffer stops
    // reading.
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
    let mut heard = vec![0; 512];
    let read = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut heard)).await;
    let count = read.map_or(0, |count| count.unwrap_or(0));
    Ok((stream, String::from_utf8_lossy(&heard[..count]).into_owned()))
}

fn raise_descriptor_limit() {
    let most = getrlimit(Resource::Nofile).maximum;
    assert!(most.is_none_or(|most| most > 3 * CONNECTIONS as u64), "the machine allows {most:?} open files");
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("raise the limit on files");
}

/// Most connections are refused: there is memory for 585.
#[tokio::test]
async fn two_thousand_slow_connections_stay_under_a_small_cap() {
    let slowed = two_thousand("256MiB", 256 << 20).await;
    assert!(slowed > CONNECTIONS / 2, "only {slowed} of {CONNECTIONS} were told to slow down");
}

/// Nearly all connections are accepted: their planned memory must be right.
#[tokio::test]
async fn two_thousand_slow_connections_take_what_was_planned() {
    two_thousand("1GiB", 1 << 30).await;
}

/// Returns how many connections were told to slow down at once.
async fn two_thousand(memory: &'static str, memory_bytes: u64) -> usize {
    raise_descriptor_limit();
    let server = Server::start(ServerOptions { memory, cores: Some("0-1"), ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "large", Content::new(1, LARGE_BYTES)).await.expect("stored");
    let before = server.resident_bytes_max();
    let signed = Signed::new(&server, &client).await;
    let mut opening = JoinSet::new();
    for number in 0..CONNECTIONS {
        opening.spawn(open(signed.address, signed.bytes(KINDS[number % KINDS.len()])));
    }
    let (mut held, mut slowed) = (Vec::new(), 0);
    while let Some(opened) = opening.join_next().await {
        // The connection was reset: the server had refused and closed it.
        let Ok((stream, heard)) = opened.expect("no panic") else { continue };
        slowed += usize::from(heard.starts_with("HTTP/1.1 503"));
        held.push(stream);
    }
    let under_load = server.resident_bytes_max();
    println!("{} held, {slowed} slowed down; {before} bytes before, {under_load} under load", held.len());
    assert!(held.len() > CONNECTIONS / 2, "only {} connections", held.len());
    assert!(under_load < memory_bytes, "{under_load} bytes of {memory_bytes}");
    // Connections and requests have an eighth each; the I/O buffers were allocated before.
    assert!(
        under_load - before < memory_bytes / 4,
        "{before} bytes before, {under_load} with the connections"
    );
    drop(held);

    // The server works normally again as soon as it has noticed that the connections are gone.
    let client = server.client(&MAIN);
    let started = Instant::now();
    while put(&client, "after", Content::new(2, LARGE_BYTES)).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "no PUT works {PATIENCE:?} after the load went away");
    }
    assert_holds(&client, "after", Content::new(2, LARGE_BYTES)).await;
    assert_holds(&client, "large", Content::new(1, LARGE_BYTES)).await;
    assert_eq!(list_all(&client, 1000).await.len(), 2, "no upload that was broken off is there");
    let at_the_end = server.resident_bytes_max();
    assert!(at_the_end < memory_bytes, "{at_the_end} bytes of {memory_bytes} at the end");
    slowed
}

#[tokio::test]
async fn too_little_memory_is_refused_with_the_least_that_works() {
    let mut server = Server::start(ServerOptions { cores: Some("0-1"), ..ServerOptions::default() });
    server.stop();
    server.set_memory("100MiB");
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("give --memory 160.0 MiB or more"), "{said}");
}

/// Objects with keys of the maximum length fill the index of a small node.
#[tokio::test]
async fn a_full_index_refuses_new_keys_and_serves_the_others() {
    let options =
        ServerOptions { memory: "160MiB", cores: Some("0-1"), shards: "2", ..ServerOptions::default() };
    let mut server = Server::start(options);
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let key = |number: usize| format!("{:08}{}", number * 7919 % 100_000_000, "k".repeat(1000));
    let (stored, refusal) = fill(&client, key).await;
    assert!(refusal.is(507, "InsufficientStorage") && refusal.details.contains("--memory"), "{refusal:?}");
    let content = Content::new(7, 5000);
    put(&client, &key(0), content).await.expect("an overwrite is not new");
    assert_holds(&client, &key(0), content).await;
    assert!(put(&client, "upload", Content::new(1, 10)).await.is_err());
    server.stop();
    server.start_again();
    let client = server.client(&MAIN);
    assert_holds(&client, &key(0), content).await;
    for number in 0..stored / 4 {
        delete(&client, &key(number)).await.expect("a delete is never refused");
    }
    put(&client, "again", content).await.expect("room again");
    assert_eq!(get(&client, "again").await.expect("there"), content.bytes());
    let resident = server.resident_bytes_max();
    assert!(resident < 160 << 20, "{resident} bytes resident of 160 MiB");
}

/// Puts small objects, many at once, until all of a round are refused: then every shard is full,
/// not only the one that got the most keys.
async fn fill(client: &Client, key: impl Fn(usize) -> String) -> (usize, crate::support::Refusal) {
    const AT_ONCE: usize = 64;
    for first in (0..).step_by(AT_ONCE) {
        assert!(first < 100_000, "100,000 keys of 1 KiB are in an index of 13 MiB");
        let (mut puts, mut refusals) = (JoinSet::new(), Vec::new());
        for number in first..first + AT_ONCE {
            let (client, key) = (client.clone(), key(number));
            puts.spawn(async move { put(&client, &key, Content::new(number as u64, 10)).await });
        }
        while let Some(outcome) = puts.join_next().await {
            refusals.extend(outcome.expect("no panic").err());
        }
        if refusals.len() == AT_ONCE {
            return (first, refusals.remove(0));
        }
    }
    unreachable!("the index is never full")
}
