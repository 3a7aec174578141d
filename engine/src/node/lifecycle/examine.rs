//! The judgement of a version that a walk has found. Its tags are read only where they decide.

use std::rc::Rc;

use crate::error::{EngineError, Result};
use crate::lifecycle::{Clock, Judged, Judgement, LifecycleRules, Tags, judge};
use crate::node::read::{ObjectReader, Opened};
use crate::node::state::CoreState;
use crate::shard::Seen;
use crate::types::{Attributes, Bucket, BucketId, Version};

/// Wait for a buffer before the next try, milliseconds.
const BUSY_MS: u64 = 20;

/// What is due for a version.
pub(super) struct Found<'a> {
    pub judged: Judged<'a>,
    /// Number of changes of the metadata that were judged.
    pub metadata_change: u32,
    /// The attributes, if they were read.
    pub attributes: Option<Attributes>,
}

/// The outcome of looking at a version.
pub(super) enum Examined<'a> {
    /// Nothing is due, and nothing was read to tell.
    Kept,
    /// Nothing is due by the tags, which were read.
    KeptByTags,
    Due(Found<'a>),
}

/// Judges a version of a bucket by rules.
///
/// # Errors
/// Returns an error when its record is damaged or can not be read.
pub(super) async fn examine<'a>(
    core: &Rc<CoreState>,
    bucket: &Bucket,
    rules: &'a LifecycleRules,
    seen: &Seen,
    clock: Clock,
) -> Result<Examined<'a>> {
    let tags = if seen.outline.has_tags { Tags::Unread } else { Tags::None };
    match judge(rules, &seen.facts(tags), bucket.versioning, clock) {
        Judgement::Keep => Ok(Examined::Kept),
        Judgement::Due(judged) => {
            let metadata_change = seen.outline.metadata_change;
            Ok(Examined::Due(Found { judged, metadata_change, attributes: None }))
        }
        Judgement::NeedsTags => {
            let Some((attributes, metadata_change)) = read(core, bucket.id, seen).await? else {
                return Ok(Examined::KeptByTags);
            };
            match judge(rules, &seen.facts(Tags::Among(&attributes)), bucket.versioning, clock) {
                Judgement::Due(judged) => {
                    let attributes = Some(attributes);
                    Ok(Examined::Due(Found { judged, metadata_change, attributes }))
                }
                Judgement::Keep | Judgement::NeedsTags => Ok(Examined::KeptByTags),
            }
        }
    }
}

/// Reads the attributes of a version, and how often they were changed. Returns `None` when it is
/// gone.
///
/// # Errors
/// Returns an error when a record is damaged or can not be read.
pub(super) async fn read(
    core: &Rc<CoreState>,
    bucket: BucketId,
    seen: &Seen,
) -> Result<Option<(Attributes, u32)>> {
    let version = Version::Generation(seen.generation);
    loop {
        match ObjectReader::open_on_drive(core, bucket, &seen.key, version, 0).await {
            Ok(Opened::Object(reader)) => {
                return Ok(Some((reader.info().attributes.clone(), reader.info().metadata_change)));
            }
            Ok(Opened::Marker(_) | Opened::Absent) => return Ok(None),
            Err(EngineError::Busy { .. }) if !core.closing.get() => core.environment.sleep(BUSY_MS).await,
            Err(error) => return Err(error),
        }
    }
}
