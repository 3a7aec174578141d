//! The lifecycle of buckets: its configuration, and what answers say of an object that will expire.
//!
//! Invariant: what is stored is the document as it was understood, beside the rules that the engine
//! keeps to, in one value. So what is shown is what is in force.

use super::Server;
use super::access::Caller;
use super::answer_xml::XmlAnswer;
use super::configuration::{LIFECYCLE, missing};
use super::error::EngineResult;
use super::headers::http_date;
use super::lifecycle_document::LifecycleDocument;
use super::xml_reader::malformed;
use http::{HeaderMap, HeaderName, HeaderValue};
use ringbolt_engine::lifecycle::{LifecycleRules, expiration_of};
use ringbolt_engine::types::rules::DAY_MS;
use ringbolt_engine::types::{Bucket, ConfigKind, ObjectInfo};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use std::sync::Arc;

const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");

/// Answers PutBucketLifecycleConfiguration.
pub async fn put_bucket_lifecycle_configuration(
    server: &Server,
    mut request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(document) = request.extensions.remove::<Arc<LifecycleDocument>>() else {
        return Err(malformed("the document is missing"));
    };
    document.check_classes(server.settings.storage_classes)?;
    let value = Some(document.rules().encode(document.show().as_bytes()));
    server.core.set_bucket_config(bucket.id, ConfigKind::LIFECYCLE, value).await.s3()?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

/// Answers GetBucketLifecycleConfiguration.
pub async fn get_bucket_lifecycle_configuration(
    server: &Server,
    mut request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let document = bucket.value_of(ConfigKind::LIFECYCLE).and_then(LifecycleRules::document);
    let Some(document) = document.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return missing(LIFECYCLE);
    };
    let mut response = S3Response::new(GetBucketLifecycleConfigurationOutput::default());
    let written = XmlAnswer::document("LifecycleConfiguration", |configuration| configuration.raw(document));
    response.extensions.insert(written);
    Ok(response)
}

/// Answers DeleteBucketLifecycle.
pub async fn delete_bucket_lifecycle(
    server: &Server,
    mut request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::LIFECYCLE, None).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

/// Returns what the answer about the newest version of a key says of its end, if a rule gives it one.
/// It is told in days of the calendar, whatever a test calls a day.
pub fn shown_expiration(bucket: &Bucket, key: &str, info: &ObjectInfo) -> Option<String> {
    let rules = bucket.lifecycle.as_ref()?;
    let expiry = expiration_of(rules, key.as_bytes(), info, DAY_MS)?;
    let date = http_date(expiry.at_ms)?;
    let date = date.to_str().ok()?;
    Some(format!("expiry-date=\"{date}\", rule-id=\"{}\"", super::lifecycle_document::shown_id(&expiry.rule)))
}

/// Adds what [`shown_expiration`] returns.
pub fn add_expiration(headers: &mut HeaderMap, bucket: &Bucket, key: &str, info: &ObjectInfo) {
    if bucket.lifecycle.is_none() {
        return;
    }
    let shown = shown_expiration(bucket, key, info);
    if let Some(value) = shown.and_then(|shown| HeaderValue::try_from(shown).ok()) {
        headers.insert(EXPIRATION, value);
    }
}
