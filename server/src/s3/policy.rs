//! The policies of buckets: put, shown and removed.
//!
//! Invariants:
//! - A policy is compiled before it is stored, and what is not understood is refused.
//! - What is shown is what was put, byte by byte.

use super::Server;
use super::access::{Caller, access_denied};
use super::configuration::{POLICY, missing};
use super::parsed::BucketAccess;
use crate::access::policy::{Policy, PolicyKind};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use ringbolt_engine::types::ConfigKind;
use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput,
    PutBucketPolicyOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

/// The document of a PutBucketPolicy, as it came.
#[derive(Clone, Debug)]
pub struct PolicyDocument(pub Bytes);

/// Makes the error for a policy that is not valid: 400.
fn malformed_policy(why: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedPolicy, why.to_owned())
}

/// Answers PutBucketPolicy.
pub async fn put_bucket_policy(
    server: &Server,
    mut request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(PolicyDocument(text)) = request.extensions.remove::<PolicyDocument>() else {
        return Err(malformed_policy("The policy is missing"));
    };
    let policy = Policy::parse(&text, PolicyKind::Bucket { name: &bucket.name })
        .map_err(|error| malformed_policy(&error.to_string()))?;
    if BucketAccess::of(&bucket).block.block_policy && policy.is_public() {
        return Err(access_denied());
    }
    server.configure(&bucket, ConfigKind::POLICY, Some(text.to_vec())).await?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}

/// Answers GetBucketPolicy.
pub async fn get_bucket_policy(
    server: &Server,
    mut request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(value) = bucket.value_of(ConfigKind::POLICY) else { return missing(POLICY) };
    let policy = Some(String::from_utf8_lossy(value).into_owned());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(S3Response::with_headers(GetBucketPolicyOutput { policy }, headers))
}

/// Answers DeleteBucketPolicy.
pub async fn delete_bucket_policy(
    server: &Server,
    mut request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::POLICY, None).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}

/// Answers GetBucketPolicyStatus. A bucket is public by its policy or its list, unless what makes it
/// so does not count.
pub async fn get_bucket_policy_status(
    server: &Server,
    mut request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let access = BucketAccess::of(&bucket);
    let by_policy = access.policy.as_ref().is_some_and(Policy::is_public) && !access.block.restrict;
    let counts = access.ownership.has_lists() && !access.block.ignore_acls;
    let by_list = counts && access.acl.as_ref().is_some_and(|acl| acl.is_public());
    let policy_status = Some(PolicyStatus { is_public: Some(by_policy || by_list) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}
