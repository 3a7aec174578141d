//! Emptying a bucket, one bounded step for each request.
//!
//! Invariants:
//! - A step looks at no more than [`STEP_ITEMS_MAX`] versions and uploads. The answer says where the next
//!   one begins, so that steps end although locked versions stay.
//! - A lock is never bypassed, not even one of governance.

use super::answer::{Failure, fields};
use super::bucket::find;
use crate::memory::RequestMemory;
use futures_util::StreamExt;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use ringbolt_engine::types::{
    BucketId, Deletion, UploadItem, UploadQuery, Version, VersionItem, VersionPlace, VersionsQuery,
    WriteCondition,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most versions and uploads that one request removes.
const STEP_ITEMS_MAX: usize = 1000;
/// The most removals that wait for the drive at the same time.
const AT_ONCE: usize = 64;
/// The most locked versions that an answer names.
const LOCKED_NAMED_MAX: usize = 100;
/// Memory that a step takes, in bytes: keys of up to 1 KiB in the page and in the answer.
const STEP_BYTES: u64 = 3 << 20;

/// Where a step begins: at the beginning, or where the step before says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBody {
    #[serde(default)]
    after: Option<String>,
}

/// What a step has done.
#[derive(Debug, Default)]
struct Done {
    versions: u64,
    markers: u64,
    uploads: u64,
    locked: u64,
    locked_named: Vec<Value>,
}

/// Removes the next versions, delete markers and uploads of a bucket.
///
/// # Errors
/// Returns a failure when there is no such bucket, the body is not understood, there is no memory, or
/// the drive fails. What was removed before stays removed.
pub async fn step(memory: &RequestMemory, core: &Core, name: &str, body: &[u8]) -> Result<Value, Failure> {
    let wanted = match body {
        [] => StepBody::default(),
        body => {
            let expected = r#"{}, or {"after": …} with what "next" of the step before says"#;
            fields(body, expected)?
        }
    };
    let after = match &wanted.after {
        Some(text) => parse_place(text).ok_or_else(|| {
            let what_to_do = "take the value of \"next\" as it is, or leave it out";
            Failure::new(http::StatusCode::BAD_REQUEST, "\"after\" is not understood", what_to_do)
        })?,
        None => VersionPlace::default(),
    };
    let _memory = memory.reserve(STEP_BYTES)?;
    let bucket = find(core, name)?.id;
    let mut done = Done::default();
    let query = VersionsQuery {
        after_version: (after.generation > 0).then_some(Version::Generation(after.generation)),
        after_key: after.key,
        max_items: STEP_ITEMS_MAX,
        ..VersionsQuery::default()
    };
    let page = core.list_versions(bucket, &query).await?;
    let next = page.truncated.then(|| place_text(&page.next));
    let left = STEP_ITEMS_MAX - page.items.len().min(STEP_ITEMS_MAX);
    remove_versions(core, bucket, page.items, &mut done).await?;
    let mut more = next.is_some();
    if !more {
        let end = VersionPlace { key: vec![0xff; 4], generation: 0 };
        let uploads_left = abort_uploads(core, bucket, left, &mut done).await?;
        more = uploads_left;
        if more {
            return Ok(shown(done, true, Some(place_text(&end))));
        }
    }
    Ok(shown(done, more, next))
}

fn shown(done: Done, more: bool, next: Option<String>) -> Value {
    json!({
        "removed": {
            "versions": done.versions,
            "delete_markers": done.markers,
            "uploads": done.uploads,
        },
        "locked": done.locked,
        "locked_versions": done.locked_named,
        "more": more,
        "next": next,
    })
}

async fn remove_versions(
    core: &Core,
    bucket: BucketId,
    items: Vec<VersionItem>,
    done: &mut Done,
) -> Result<(), EngineError> {
    let removals = items.into_iter().filter_map(|item| {
        let VersionItem::Version { key, generation, is_marker, is_null, .. } = item else { return None };
        Some(async move {
            let version = Version::Generation(generation);
            let condition = WriteCondition::default();
            let deletion = Deletion { version, condition, bypass_governance: false };
            let outcome = core.remove(bucket, &key, deletion).await;
            (key, generation, is_marker, is_null, outcome)
        })
    });
    let mut removals = futures_util::stream::iter(removals).buffered(AT_ONCE);
    let mut first_error = None;
    while let Some((key, generation, is_marker, is_null, outcome)) = removals.next().await {
        match outcome {
            Ok(_) if is_marker => done.markers += 1,
            Ok(_) => done.versions += 1,
            Err(EngineError::Locked) => {
                done.locked += 1;
                if done.locked_named.len() < LOCKED_NAMED_MAX {
                    let version = match is_null {
                        true => "null".to_owned(),
                        false => core.id_of_version(bucket, &key, generation).to_string(),
                    };
                    let key = String::from_utf8_lossy(&key);
                    done.locked_named.push(json!({ "key": key, "version_id": version }));
                }
            }
            // The others are on their way, and end.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Aborts at most `most` uploads. Returns whether there are more.
async fn abort_uploads(
    core: &Core,
    bucket: BucketId,
    most: usize,
    done: &mut Done,
) -> Result<bool, EngineError> {
    // One more is asked for, so that a step that is used up knows of it.
    let query = UploadQuery { max_items: most.max(1), ..UploadQuery::default() };
    let page = core.list_uploads(bucket, &query).await?;
    if most == 0 {
        return Ok(!page.items.is_empty());
    }
    let aborts = page.items.into_iter().filter_map(|item| {
        let UploadItem::Upload(upload) = item else { return None };
        Some(async move { core.abort_upload(bucket, &upload.key, upload.id).await })
    });
    let mut aborts = futures_util::stream::iter(aborts).buffered(AT_ONCE);
    let mut first_error = None;
    while let Some(outcome) = aborts.next().await {
        match outcome {
            Ok(()) => done.uploads += 1,
            // Somebody completed or aborted it.
            Err(EngineError::NoSuchUpload) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(page.truncated), Err)
}

/// Returns a place in a bucket as a text: the key in hexadecimal digits, and the generation.
fn place_text(place: &VersionPlace) -> String {
    format!("{}.{}", hex::encode(&place.key), place.generation)
}

fn parse_place(text: &str) -> Option<VersionPlace> {
    let (key, generation) = text.split_once('.')?;
    Some(VersionPlace { key: hex::decode(key).ok()?, generation: generation.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for place in [
            VersionPlace::default(),
            VersionPlace { key: b"a/\xff.b".to_vec(), generation: 0 },
            VersionPlace { key: b"k".to_vec(), generation: u64::MAX },
        ] {
            assert_eq!(parse_place(&place_text(&place)), Some(place));
        }
        for text in ["", "61", "6.1", "61.", "61.-1", "zz.1"] {
            assert_eq!(parse_place(text), None, "{text}");
        }
    }
}
