//! Commands about buckets: showing them, their quotas, deleting them.

use super::answer::{Failure, fields};
use crate::memory::RequestMemory;
use ringbolt_engine::node::Core;
use ringbolt_engine::types::{Bucket, BucketUsage, Quota, Versioning};
use serde::Deserialize;
use serde_json::{Value, json};
use std::rc::Rc;

/// Memory that a bucket takes in an answer, beside its texts, in bytes.
const SHOWN_BYTES: u64 = 2 << 10;

/// A quota as a command sets it. What is left out has no limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaBody {
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    versions: Option<u64>,
}

/// Returns the bucket of this name.
///
/// # Errors
/// Returns a failure with status 404.
pub fn find(core: &Core, name: &str) -> Result<Rc<Bucket>, Failure> {
    core.bucket(name).ok_or_else(|| Failure::no_such_bucket(name))
}

/// Shows all buckets, by name.
///
/// # Errors
/// Returns a failure when there is no memory for the answer.
pub async fn list(memory: &RequestMemory, core: &Core) -> Result<Value, Failure> {
    let buckets = core.buckets();
    let _memory = memory.reserve(buckets.len() as u64 * SHOWN_BYTES)?;
    let usage = core.usage_of_buckets(buckets.iter().map(|bucket| bucket.id).collect()).await?;
    let shown: Vec<Value> = buckets.iter().zip(usage).map(|(bucket, usage)| shown(bucket, usage)).collect();
    Ok(json!({ "buckets": shown }))
}

/// Shows one bucket.
///
/// # Errors
/// Returns a failure with status 404.
pub async fn show(core: &Core, name: &str) -> Result<Value, Failure> {
    let bucket = find(core, name)?;
    let usage = core.bucket_usage(bucket.id).await?;
    Ok(shown(&bucket, usage))
}

/// Sets what a bucket may hold at most.
///
/// # Errors
/// Returns a failure when there is no such bucket, the body is not understood, or the drive fails.
pub async fn set_quota(core: &Core, name: &str, body: &[u8]) -> Result<Value, Failure> {
    let expected = r#"{"bytes": 10737418240, "versions": 1000000}, with one of them at least"#;
    let quota: QuotaBody = fields(body, expected)?;
    let quota = Quota { bytes: quota.bytes, versions: quota.versions };
    if quota == Quota::default() {
        let error = "the quota limits neither bytes nor versions";
        return Err(Failure::new(http::StatusCode::BAD_REQUEST, error, format!("send {expected}")));
    }
    let bucket = find(core, name)?;
    core.set_quota(bucket.id, Some(quota)).await?;
    tracing::info!(bucket = name, bytes = quota.bytes, versions = quota.versions, "an operator set a quota");
    show(core, name).await
}

/// Removes the limit of what a bucket may hold.
///
/// # Errors
/// Returns a failure when there is no such bucket, or the drive fails.
pub async fn remove_quota(core: &Core, name: &str) -> Result<Value, Failure> {
    let bucket = find(core, name)?;
    core.set_quota(bucket.id, None).await?;
    tracing::info!(bucket = name, "an operator removed a quota");
    show(core, name).await
}

/// Deletes a bucket that holds nothing.
///
/// # Errors
/// Returns a failure with status 409 when it holds something.
pub async fn delete(core: &Core, name: &str) -> Result<Value, Failure> {
    let bucket = find(core, name)?;
    core.delete_bucket(bucket.id).await?;
    tracing::info!(bucket = name, "an operator deleted a bucket");
    Ok(json!({ "deleted": name }))
}

fn shown(bucket: &Bucket, usage: BucketUsage) -> Value {
    let versioning = match bucket.versioning {
        Versioning::Off => "off",
        Versioning::Enabled => "enabled",
        Versioning::Suspended => "suspended",
    };
    let quota = bucket.quota.map(|quota| json!({ "bytes": quota.bytes, "versions": quota.versions }));
    json!({
        "name": bucket.name,
        "owner": bucket.owner,
        "created_ms": bucket.created_ms,
        "versioning": versioning,
        "object_lock": bucket.lock.is_some(),
        "quota": quota,
        "usage": {
            "objects": usage.keys,
            "versions": usage.versions,
            "delete_markers": usage.markers,
            "bytes": usage.bytes,
        },
    })
}
