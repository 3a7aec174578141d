//! This module says which versions the keys of the bucket that keeps versions must have after a cut,
//! and compares them.

use crate::history::Piece;
use futures_util::future::join_all;
use ringbolt_engine::node::{Core, ObjectReader, Opened};
use ringbolt_engine::types::{Attributes, BucketId, Version, VersionItem, Versioning, VersionsQuery};
use ringbolt_tests::Content;
use std::collections::BTreeMap;

pub const VERSIONS: &str = "cut-versions";

/// This is a request that changes the versions of a key. Each key has one worker, which waits for its
/// responses.
#[derive(Clone, Debug)]
pub enum VersionChange {
    /// Adds a version, or a delete marker if there is no content.
    Add {
        content: Option<Content>,
        suspended: bool,
    },
    Remove {
        generation: u64,
    },
    /// Gives a version other metadata.
    Meta {
        generation: u64,
        tag: u64,
    },
}

/// This is one version of a key. It has no body if it is a delete marker.
#[derive(Clone, Debug)]
struct Kept {
    generation: u64,
    is_null: bool,
    body: Option<Piece>,
    /// This is the tag in the newest metadata; 0 if they were never changed.
    tag: u64,
}

/// Has the newest version first.
type Stack = Vec<Kept>;

/// Holds which versions one key has, and which it may have instead.
#[derive(Clone, Debug, Default)]
pub struct Possible {
    certain: Stack,
    /// The change that was in progress has happened.
    in_doubt: Option<Stack>,
}

impl Possible {
    /// Adds a change, after which the key has a version of this `generation`.
    pub fn add(&mut self, change: &VersionChange, body: Option<&Piece>, generation: u64, acknowledged: bool) {
        let mut stack = self.certain.clone();
        match change {
            VersionChange::Add { suspended, .. } => {
                stack.retain(|kept| !(*suspended && kept.is_null));
                let (is_null, body) = (*suspended, body.cloned());
                stack.insert(0, Kept { generation, is_null, body, tag: 0 });
            }
            VersionChange::Remove { generation } => stack.retain(|kept| kept.generation != *generation),
            VersionChange::Meta { generation, tag } => {
                stack
                    .iter_mut()
                    .filter(|kept| kept.generation == *generation)
                    .for_each(|kept| kept.tag = *tag);
            }
        }
        if acknowledged {
            *self = Self { certain: stack, in_doubt: None };
        } else {
            self.in_doubt = Some(stack);
        }
    }
}

/// Says what a bucket's versioning may be.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub certain: Option<Versioning>,
    pub in_doubt: Vec<Versioning>,
}

/// Holds what the bucket must contain.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    pub state: State,
    pub keys: BTreeMap<String, Possible>,
}

type Listed = BTreeMap<String, Vec<(u64, bool, Option<u64>)>>;

impl Versions {
    /// Reads every version. Returns the number of versions and delete markers, or what is wrong.
    pub async fn check(&self, core: &Core) -> Result<usize, String> {
        let Some(bucket) = core.bucket(VERSIONS) else {
            return match self.state.certain {
                Some(_) => Err("the bucket with versions is gone".to_owned()),
                None => Ok(0),
            };
        };
        let is_allowed = |versioning| {
            self.state.certain.unwrap_or_default() == versioning || self.state.in_doubt.contains(&versioning)
        };
        if !is_allowed(bucket.versioning) {
            return Err(format!("the versioning is {:?} and not {:?}", bucket.versioning, self.state));
        }
        let mut listed = list(core, bucket.id).await?;
        let mut count = 0;
        for (key, possible) in &self.keys {
            let shown = listed.remove(key).unwrap_or_default();
            let mut found = Err(format!("listed are {shown:?}"));
            for stack in std::iter::once(&possible.certain).chain(&possible.in_doubt) {
                if found.is_err() && is_shown(stack, &shown) {
                    found = check_stack(core, bucket.id, key, stack).await;
                }
            }
            found.map_err(|wrong| format!("the versions of {key}: {wrong}, must be {possible:?}"))?;
            count += shown.len();
        }
        match listed.first_key_value() {
            Some(more) => Err(format!("there are versions that nobody wrote: {more:?}")),
            None => Ok(count),
        }
    }
}

fn is_shown(stack: &Stack, shown: &[(u64, bool, Option<u64>)]) -> bool {
    let of_stack = stack.iter().map(|kept| {
        let size = kept.body.as_ref().map(|body| body.bytes().len() as u64);
        (kept.generation, kept.is_null, size)
    });
    of_stack.eq(shown.iter().copied())
}

/// Lists all versions by key, page by page.
async fn list(core: &Core, bucket: BucketId) -> Result<Listed, String> {
    let mut all = Listed::new();
    let mut query = VersionsQuery { max_items: 50, ..VersionsQuery::default() };
    loop {
        let page = core.list_versions(bucket, &query).await;
        let page = page.map_err(|error| format!("the listing of versions: {error}"))?;
        for item in page.items {
            let VersionItem::Version { key, generation, is_null, is_marker, size_bytes, .. } = item else {
                continue;
            };
            let key = String::from_utf8_lossy(&key).into_owned();
            all.entry(key).or_default().push((generation, is_null, (!is_marker).then_some(size_bytes)));
        }
        if !page.truncated {
            return Ok(all);
        }
        query.after_key = page.next.key;
        query.after_version = Some(page.next.generation).filter(|at| *at != 0).map(Version::Generation);
    }
}

/// Reads each version of a key, the newest one, and the null one.
async fn check_stack(core: &Core, bucket: BucketId, key: &str, stack: &Stack) -> Result<(), String> {
    let each = stack.iter().map(|kept| (Version::Generation(kept.generation), Some(kept)));
    let null = (Version::Null, stack.iter().find(|kept| kept.is_null));
    let others = [(Version::Newest, stack.first()), null];
    let reads = each.chain(others).map(async |(version, kept)| {
        let opened = core.open_version(bucket, key.as_bytes(), version).await;
        let opened = opened.map_err(|error| format!("{version:?}: {error}"))?;
        let is_right = match (opened, kept) {
            (Opened::Object(reader), Some(kept)) => is_kept(reader, kept).await?,
            (Opened::Marker(marker), Some(kept)) => {
                kept.body.is_none() && (marker.generation, marker.is_null) == (kept.generation, kept.is_null)
            }
            (Opened::Absent, None) => true,
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("{version:?} is not {kept:?}")) }
    });
    join_all(reads).await.into_iter().collect()
}

async fn is_kept(mut reader: ObjectReader, kept: &Kept) -> Result<bool, String> {
    let info = reader.info().clone();
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await.map_err(|error| error.to_string())? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    let same_body = kept.body.as_ref().is_some_and(|body| *body.bytes() == bytes[..]);
    let same = (info.generation, info.is_null) == (kept.generation, kept.is_null);
    Ok(same && same_body && info.attributes == attributes(kept.tag))
}

/// Returns the metadata with this tag.
pub fn attributes(tag: u64) -> Attributes {
    if tag == 0 { Vec::new() } else { vec![("tag".to_owned(), tag.to_string())] }
}
