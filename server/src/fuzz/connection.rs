//! Fuzzes a whole connection: hyper, signatures, S3, and a node on a simulated drive behind them.
//!
//! The first byte says how the rest comes in from the wire, and whether hosts may name buckets.
//! Accounts and clock are those of the examples in the Amazon S3 API reference, so that their
//! signatures are valid; a request without a signature acts as the same account. A node that an
//! input has changed is thrown away, so that each input meets the same one.

use crate::auth::{Account, Authenticator, anonymous};
use crate::host::Websites;
use crate::http::READ_BUFFER_BYTES_MAX;
use crate::identity::{Directory, Identity};
use crate::memory::RequestMemory;
use crate::s3::{PART_BYTES_MIN, Requests, S3Service, S3Settings, service};
use bytes::Bytes;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use ringbolt_engine::node::{Core, SpaceReport};
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, RequestId, Versioning, WriteCondition};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The time of the examples: 24 May 2013.
const NOW_S: i64 = 1_369_353_600;
const DRIVE_BYTES: u64 = 64 << 20;
const REQUEST: RequestId = RequestId(0xF);
const BUCKET: &str = "examplebucket";
/// A bucket that keeps versions.
const VERSIONS: &str = "versions";
const REQUEST_BYTES_MAX: u64 = 32 << 20;
const HEADER_BYTES_MAX: usize = 16 << 10;

thread_local! {
    static NODE: RefCell<Option<FuzzNode>> = const { RefCell::new(None) };
}

/// Serves one connection that sends `input`, from its first byte to its end.
pub fn http(input: &[u8]) {
    let Some((&pace, bytes)) = input.split_first() else { return };
    NODE.with_borrow_mut(|slot| {
        let node = slot.get_or_insert_with(FuzzNode::new);
        let piece = [usize::MAX, 1, 7, 100][usize::from(pace % 4)];
        node.feed(bytes, piece, usize::from(pace >> 2 & 1));
        if node.has_changed() {
            *slot = None;
        }
    });
}

struct FuzzNode {
    sim: Simulator,
    core: Core,
    /// The service with virtual hosts, and the one without.
    services: [S3Service; 2],
    authenticator: Rc<Authenticator>,
    before: Measure,
}

/// What an input may change: the space that is used, and what is set of the buckets.
type Measure = (SpaceReport, Vec<(String, Versioning)>);

impl Drop for FuzzNode {
    fn drop(&mut self) {
        self.sim.kill();
    }
}

impl FuzzNode {
    fn new() -> Self {
        let account = Account {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned().into(),
            canonical_id: "1".to_owned(),
            display_name: String::new(),
            email: String::new(),
        };
        let identity = Identity::fixed(Directory::of_root(&account));
        let sim = Simulator::new(1);
        let drives = format_sim_drives(&sim, 1, (DRIVE_BYTES, 1), 1);
        let opened = sim.block_on(SimNode::open(sim.clone(), drives, SimOptions::default()));
        let core = opened.unwrap_or_else(|error| panic!("a new drive does not open: {error}")).core(0);
        let filled = core.clone();
        sim.block_on(async move { fill(&filled).await });
        let services = [vec!["s3.amazonaws.com".to_owned()], Vec::new()].map(|virtual_host_domains| {
            let memory = RequestMemory::new(REQUEST_BYTES_MAX);
            let (region, requests) = ("us-east-1".to_owned(), Requests::of_cores(1).remove(0));
            let settings = S3Settings {
                region,
                websites: Websites::new(&["s3-website.amazonaws.com".to_owned()], &[]),
                virtual_host_domains,
                signature_v2: true,
                storage_classes: Default::default(),
                object_ownership: Default::default(),
                part_bytes_min: PART_BYTES_MIN,
                memory,
                requests,
            };
            service(core.clone(), identity.clone(), settings)
        });
        let authenticator = Authenticator::new(identity.clone(), "us-east-1".to_owned());
        let authenticator = Rc::new(authenticator.with_anonymous_signer(
            identity.find("AKIAIOSFODNN7EXAMPLE").map(|found| Arc::new(found.signer)),
        ));
        let mut node = Self { sim, core, services, authenticator, before: Measure::default() };
        node.before = node.measure();
        node
    }

    fn measure(&self) -> Measure {
        let core = self.core.clone();
        let space = self.sim.block_on(async move { core.space().await });
        let buckets = self.core.buckets();
        let set = buckets.iter().map(|bucket| (bucket.name.clone(), bucket.versioning));
        (space.unwrap_or_default(), set.collect())
    }

    fn has_changed(&self) -> bool {
        self.measure() != self.before
    }

    fn feed(&self, bytes: &[u8], piece: usize, service: usize) {
        let wire = Wire { left: Bytes::copy_from_slice(bytes), piece };
        let (authenticator, service) = (self.authenticator.clone(), self.services[service].clone());
        let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (authenticator, service) = (authenticator.clone(), service.clone());
            async move {
                // What it returns is for the connection; here it matters that it does.
                let _ = service.headers_beside(&request);
                if service.is_for_anybody(&request) {
                    return Ok::<_, Infallible>(service.call(anonymous(request, REQUEST)).await);
                }
                let answer = match authenticator.authenticate(request, REQUEST, NOW_S) {
                    Ok(admitted) => service.call(admitted.request).await,
                    Err(error) => crate::http::refused(&error, "/", REQUEST),
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .max_header_size(HEADER_BYTES_MAX)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .half_close(false)
            .writev(true)
            .serve_connection(wire, answer);
        // An error of the connection is no finding.
        drop(self.sim.block_on(connection));
    }
}

/// Stores something to read, to list and to delete: objects, and a bucket with versions of a key.
async fn fill(core: &Core) {
    let bucket = bucket_named(core, BUCKET).await;
    for (key, length) in [("test.txt", 200), ("photos/2006/large", 70_000), ("empty", 0)] {
        store(core, bucket, key, length).await;
    }
    let versions = bucket_named(core, VERSIONS).await;
    store(core, versions, "stack", 1).await;
    let set = core.set_versioning(versions, Versioning::Enabled).await;
    store(core, versions, "stack", 70_000).await;
    let marked = core.delete(versions, b"stack", WriteCondition::default()).await;
    store(core, versions, "stack", 2).await;
    if set.is_err() || marked.is_err() {
        panic!("the versions are not made: {set:?}, {marked:?}");
    }
}

async fn bucket_named(core: &Core, name: &str) -> BucketId {
    match core.create_bucket(name, "1", Vec::new()).await {
        Ok(BucketCreated::New(bucket)) => bucket.id,
        other => panic!("the bucket is not made: {other:?}"),
    }
}

async fn store(core: &Core, bucket: BucketId, key: &str, length: u64) {
    let stored = async {
        let mut writer = core.put(bucket, key.as_bytes(), length).await?;
        writer.write(&vec![7; length as usize]).await?;
        let attributes = vec![("content-type".to_owned(), "text/plain".to_owned())];
        writer.commit(ObjectMeta { etag: Default::default(), attributes }, WriteCondition::default()).await
    };
    if let Err(error) = stored.await {
        panic!("{key} is not stored: {error}");
    }
}

/// A connection that gives the bytes that it was made of, in pieces, and takes whatever is written.
struct Wire {
    left: Bytes,
    piece: usize,
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = cursor.remaining().min(self.piece).min(self.left.len());
        cursor.put_slice(&self.left.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
