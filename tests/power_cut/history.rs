//! This module records the requests and responses of the workload in the recording's order, and
//! computes what must be there after a cut.

use crate::versions::{VersionChange, Versions};
use ringbolt_engine::device::record::{Event, Recorder};
use ringbolt_engine::node::Core;
use ringbolt_engine::types::{Etag, UploadId, Versioning};
use ringbolt_tests::Content;
use ringbolt_tests::node::{get, list_all};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

pub const BUCKET: &str = "cut";

/// This is a request that changes something durable. Each key has one worker, which waits for its
/// responses.
#[derive(Clone, Debug)]
pub enum Change {
    Bucket,
    Put(Content),
    Delete,
    Create(UploadId),
    Part(UploadId, u16, Etag),
    /// Holds the parts' bodies.
    Complete(UploadId, Vec<Content>),
    /// Sets the versioning of the bucket that keeps versions.
    Versioning(Versioning),
    /// Changes the versions of a key in that bucket.
    Version(VersionChange),
}

/// Holds all requests; request `n` has the mark 2n when it was sent and 2n + 1 when it was
/// acknowledged.
#[derive(Default)]
pub struct History(Mutex<Vec<Entry>>);

struct Entry {
    key: String,
    change: Change,
    /// This is the generation of the version that the acknowledged request has added.
    generation: u64,
    refused: bool,
}

impl History {
    /// Records that `change` is requested, and returns the mark of its acknowledgement.
    pub fn begin(&self, recorder: &Recorder, key: &str, change: Change) -> u64 {
        let mut all = self.0.lock().expect("no worker panics");
        all.push(Entry { key: key.to_owned(), change, generation: 0, refused: false });
        let mark = 2 * (all.len() as u64 - 1);
        recorder.mark(mark);
        mark + 1
    }

    /// Says which version the request has added whose acknowledgement has the mark `done`.
    pub fn added(&self, done: u64, generation: u64) {
        self.0.lock().expect("no worker panics")[done as usize / 2].generation = generation;
    }

    /// Says that the request was refused, so that it has changed nothing at any time.
    pub fn refused(&self, done: u64) {
        self.0.lock().expect("no worker panics")[done as usize / 2].refused = true;
    }

    /// Returns the timeline, which knows the position in `events` of each mark.
    pub fn finish(self, events: &[Event]) -> Timeline {
        let all = self.0.into_inner().expect("no worker panics");
        let mut times = vec![None; 2 * all.len()];
        for (at, event) in events.iter().enumerate() {
            if let Event::Mark(number) = event {
                times[*number as usize] = Some(at);
            }
        }
        let entries = all.into_iter().enumerate().filter(|(_, entry)| !entry.refused);
        let requests = entries.map(|(number, Entry { key, change, generation, .. })| Request {
            key,
            body: change.contents().iter().map(Piece::new).collect(),
            change,
            generation,
            sent: times[2 * number].expect("every request is marked"),
            acknowledged: times[2 * number + 1],
        });
        Timeline { requests: requests.collect() }
    }
}

impl Change {
    /// Returns what becomes the object's body, one piece after the other.
    fn contents(&self) -> &[Content] {
        match self {
            Self::Put(content) => std::slice::from_ref(content),
            Self::Complete(_, contents) => contents,
            Self::Version(VersionChange::Add { content, .. }) => content.as_slice(),
            Self::Bucket | Self::Delete | Self::Create(_) | Self::Part(..) => &[],
            Self::Versioning(_) | Self::Version(_) => &[],
        }
    }
}

struct Request {
    key: String,
    change: Change,
    body: Body,
    generation: u64,
    sent: usize,
    acknowledged: Option<usize>,
}

pub struct Timeline {
    requests: Vec<Request>,
}

/// Holds a content with its bytes: generating them for each comparison, of which there is one per
/// cut, took much of the time.
#[derive(Clone)]
pub struct Piece {
    content: Content,
    bytes: Arc<[u8]>,
}

impl Piece {
    fn new(content: &Content) -> Self {
        Self { content: *content, bytes: content.bytes().into() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content.fmt(formatter)
    }
}

/// This is a sequence of pieces.
type Body = Vec<Piece>;

/// Holds what one key may contain: the last acknowledged body, or one that was in progress.
#[derive(Clone, Debug, Default)]
struct Possible {
    certain: Option<Body>,
    in_doubt: Vec<Option<Body>>,
}

/// Holds what a node must contain after a cut.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    bucket: bool,
    keys: BTreeMap<String, Possible>,
    /// Holds uploads in progress, with their key and acknowledged parts.
    uploads: BTreeMap<u128, (String, Vec<(u16, Etag)>)>,
    versions: Versions,
}

impl Timeline {
    /// Returns the number of acknowledged requests.
    pub fn acknowledged(&self) -> usize {
        self.requests.iter().filter(|request| request.acknowledged.is_some()).count()
    }

    /// Returns what must be there if the power fails before event `cut`.
    pub fn expected(&self, cut: usize) -> Expected {
        let mut expected = Expected::default();
        for request in self.requests.iter().filter(|request| request.sent < cut) {
            let acknowledged = request.acknowledged.is_some_and(|at| at < cut);
            expected.add(request, acknowledged);
        }
        expected
    }
}

impl Expected {
    fn add(&mut self, request: &Request, acknowledged: bool) {
        let key = &request.key;
        let body = match &request.change {
            Change::Bucket => {
                self.bucket |= acknowledged;
                return;
            }
            Change::Create(upload) => {
                if acknowledged {
                    self.uploads.insert(upload.0, (key.clone(), Vec::new()));
                }
                return;
            }
            Change::Part(upload, number, etag) => {
                if let (true, Some((_, parts))) = (acknowledged, self.uploads.get_mut(&upload.0)) {
                    parts.push((*number, *etag));
                }
                return;
            }
            Change::Complete(upload, _) => {
                // If it happened, the upload's parts belong to the object; otherwise still to the
                // upload.
                self.uploads.remove(&upload.0);
                Some(request.body.clone())
            }
            Change::Versioning(versioning) => {
                let state = &mut self.versions.state;
                if acknowledged {
                    state.certain = Some(*versioning);
                } else {
                    state.in_doubt.push(*versioning);
                }
                return;
            }
            Change::Version(change) => {
                let possible = self.versions.keys.entry(key.clone()).or_default();
                possible.add(change, request.body.first(), request.generation, acknowledged);
                return;
            }
            Change::Put(_) => Some(request.body.clone()),
            Change::Delete => None,
        };
        let possible = self.keys.entry(key.clone()).or_default();
        if acknowledged {
            *possible = Possible { certain: body, in_doubt: Vec::new() };
        } else {
            possible.in_doubt.push(body);
        }
    }

    /// Reads everything back. Returns the number of objects and versions, or what is wrong.
    pub async fn check(&self, core: &Core) -> Result<usize, String> {
        let versions = self.versions.check(core).await?;
        let Some(bucket) = core.bucket(BUCKET) else {
            return if self.bucket { Err("the bucket is gone".to_owned()) } else { Ok(0) };
        };
        let bucket = bucket.id;
        let mut there = Vec::new();
        for (key, possible) in &self.keys {
            let found = get(core, bucket, key).await.map_err(|error| format!("{key}: {error}"))?;
            let is_found = |allowed: &Option<Body>| match (allowed, &found) {
                (None, None) => true,
                (Some(body), Some(bytes)) => is_body(body, bytes),
                _ => false,
            };
            let mut allowed = std::iter::once(&possible.certain).chain(&possible.in_doubt);
            if !allowed.any(is_found) {
                let length = found.map(|bytes| bytes.len());
                return Err(format!("{key} holds {length:?} bytes that are none of {possible:?}"));
            }
            there.extend(found.map(|bytes| (key.clone(), bytes.len())));
        }
        let listed = list_all(core, bucket).await.map_err(|error| format!("the listing: {error}"))?;
        if listed != there {
            return Err(format!("the listing says {listed:?}, the keys {there:?}"));
        }
        for (upload, (key, parts)) in &self.uploads {
            let found = core.upload(bucket, key.as_bytes(), UploadId(*upload)).await;
            let found = found.map_err(|error| format!("the upload of {key}: {error}"))?;
            let has = |(number, etag): &(u16, Etag)| {
                found.parts.iter().any(|part| part.number == *number && part.etag == *etag)
            };
            if !parts.iter().all(has) {
                return Err(format!("the upload of {key} has {:?}, not all of {parts:?}", found.parts));
            }
        }
        Ok(there.len() + versions)
    }
}

fn is_body(body: &[Piece], bytes: &[u8]) -> bool {
    let rest = body.iter().try_fold(bytes, |bytes, piece| bytes.strip_prefix(&*piece.bytes));
    rest.is_some_and(<[u8]>::is_empty)
}
