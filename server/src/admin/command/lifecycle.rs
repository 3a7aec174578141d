//! What the lifecycle of a bucket would do now, by its own rules or by others that are tried.

use super::answer::{Failure, fields};
use super::bucket::find;
use crate::memory::RequestMemory;
use crate::s3::lifecycle_rules;
use http::StatusCode;
use ringbolt_engine::lifecycle::{Action, DueCount, DueExample};
use ringbolt_engine::node::Core;
use ringbolt_engine::types::Bucket;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most examples of an answer.
const EXAMPLES_MAX: usize = 1000;
const EXAMPLES_DEFAULT: usize = 10;
/// Memory that an example takes in the pages of the shards and in the answer, with the longest key, in
/// bytes.
const EXAMPLE_BYTES: u64 = 6 << 10;
const EXPECTED: &str =
    r#"{"examples": 10, "rules": "<LifecycleConfiguration>…"}, each of which may be left out"#;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    /// The document of rules to try, in place of those that the bucket has.
    #[serde(default)]
    rules: Option<String>,
    #[serde(default)]
    examples: Option<usize>,
}

/// Shows what rules would do with a bucket now. Nothing is changed.
///
/// # Errors
/// Returns a failure when there is no such bucket, it has no rules and none are given, the rules or the
/// body are not understood, there is no memory, or the drive fails.
pub async fn preview(memory: &RequestMemory, core: &Core, name: &str, body: &[u8]) -> Result<Value, Failure> {
    let wanted: PreviewBody = match body {
        [] => PreviewBody::default(),
        body => fields(body, EXPECTED)?,
    };
    let bucket = find(core, name)?;
    let given = wanted.rules.as_deref().map(|document| lifecycle_rules(document.as_bytes())).transpose();
    let given = given.map_err(|error| {
        let what_to_do = "write them as PutBucketLifecycleConfiguration takes them";
        Failure::new(StatusCode::BAD_REQUEST, format!("the rules are refused: {error}"), what_to_do)
    })?;
    let own = || bucket.lifecycle.as_ref().map(|rules| (**rules).clone());
    let Some(rules) = given.or_else(own) else {
        let error = format!("the bucket {name:?} has no lifecycle rules");
        let what_to_do = "set them with PutBucketLifecycleConfiguration, or try some with --rules FILE";
        return Err(Failure::new(StatusCode::CONFLICT, error, what_to_do));
    };
    let examples = wanted.examples.unwrap_or(EXAMPLES_DEFAULT).min(EXAMPLES_MAX);
    let _memory = memory.reserve(examples as u64 * EXAMPLE_BYTES)?;
    let found = core.preview_lifecycle(bucket.id, &rules, examples).await?;
    Ok(json!({
        "bucket": name,
        "examined": found.examined,
        "locked": found.locked,
        "due": found.due.iter().map(counted).collect::<Vec<_>>(),
        "examples": found.examples.iter().map(|one| example(core, &bucket, one)).collect::<Vec<_>>(),
    }))
}

fn counted(due: &DueCount) -> Value {
    json!({
        "rule": due.rule,
        "action": action_name(due.action),
        "versions": due.versions,
        "bytes": due.bytes,
    })
}

fn example(core: &Core, bucket: &Bucket, due: &DueExample) -> Value {
    let version =
        due.upload.is_none().then(|| core.id_of_version(bucket.id, &due.key, due.generation).to_string());
    json!({
        "key": String::from_utf8_lossy(&due.key),
        "version_id": version,
        "upload_id": due.upload.map(|upload| format!("{:032x}", upload.0)),
        "bytes": due.size_bytes,
        "rule": due.rule,
        "action": action_name(due.action),
    })
}

fn action_name(action: Action) -> String {
    match action {
        Action::AddMarker => "add a delete marker".to_owned(),
        Action::RemoveVersion => "remove the object".to_owned(),
        Action::RemoveMarker => "remove the delete marker".to_owned(),
        Action::Transition(class) => format!("move to {}", class.name()),
        Action::AbortUpload => "abort the upload".to_owned(),
    }
}
