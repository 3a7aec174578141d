//! DeleteObject and DeleteObjects.
//!
//! Invariants: deleting what is not there succeeds, with or without conditions. The list of a
//! DeleteObjects is verified against its Content-MD5 or checksum before anything is deleted.

use super::Server;
use super::access::{Caller, check_version};
use super::checksum::{Algorithm, of_bytes};
use super::conditional::{bare_etag, parse_etags, timestamp_s};
use super::error::{EngineResult, invalid_request};
use super::preamble::Preamble;
use super::receive::parse_md5;
use crate::auth::RequestContext;
use crate::auth::hash::Md5;
use futures_util::StreamExt;
use ringbolt_engine::EngineError;
use ringbolt_engine::types::{BucketId, WriteCondition};
use s3s::dto::*;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

/// S3's limit on the keys of one request.
const KEYS_MAX: usize = 1000;
/// Deletes of one request in flight at once, so that they share group commits.
const CONCURRENT_MAX: usize = 64;

pub async fn delete_object(
    server: &Server,
    mut request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    check_version(input.version_id.as_deref())?;
    let condition = WriteCondition {
        if_match: caller.preamble.conditions.if_match.as_deref().map(parse_etags),
        if_none_match: None,
        if_modified_time_s: input.if_match_last_modified_time.as_ref().map(condition_time).transpose()?,
        if_size_bytes: input.if_match_size.map(condition_size).transpose()?,
    };
    delete(server, bucket.id, &input.key, condition).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

fn condition_time(time: &Timestamp) -> S3Result<u64> {
    timestamp_s(time).ok_or_else(|| invalid_request("The time of a condition lies before 1970"))
}

fn condition_size(size: i64) -> S3Result<u64> {
    u64::try_from(size).map_err(|_| invalid_request("The size of a condition is negative"))
}

async fn delete(server: &Server, bucket: BucketId, key: &str, condition: WriteCondition) -> S3Result<()> {
    match server.core.delete(bucket, key.as_bytes(), condition).await {
        Ok(_) | Err(EngineError::NoSuchKey) => Ok(()),
        Err(error) => Err(error).s3(),
    }
}

pub async fn delete_objects(
    server: &Server,
    mut request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(s3_error!(
            MalformedXML,
            "The list has {} keys; it must have from 1 to {KEYS_MAX}",
            objects.len()
        ));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let mut outcomes = futures_util::stream::iter(objects)
        .map(|object| async {
            let outcome = delete_listed(server, bucket.id, &object).await;
            (object, outcome)
        })
        .buffered(CONCURRENT_MAX);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    while let Some((object, outcome)) = outcomes.next().await {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                ..DeletedObject::default()
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    let output = DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None };
    Ok(S3Response::new(output))
}

async fn delete_listed(server: &Server, bucket: BucketId, object: &ObjectIdentifier) -> S3Result<()> {
    check_version(object.version_id.as_deref())?;
    let condition = WriteCondition {
        if_match: object.e_tag.as_ref().map(|etag| parse_etags(&bare_etag(etag.value()))),
        if_none_match: None,
        if_modified_time_s: object.last_modified_time.as_ref().map(condition_time).transpose()?,
        if_size_bytes: object.size.map(condition_size).transpose()?,
    };
    delete(server, bucket, &object.key, condition).await
}

/// Whether a request is a DeleteObjects.
pub fn is_asked(request: &http::Request<Body>) -> bool {
    let asks = |query: &str| query.split('&').any(|pair| pair == "delete" || pair == "delete=");
    request.method() == http::Method::POST && request.uri().query().is_some_and(asks)
}

/// Verifies the list of a DeleteObjects, before s3s parses it and its bytes are gone.
pub fn verify_list(request: &http::Request<Body>, preamble: &Preamble, bytes: &[u8]) -> S3Result<()> {
    let context = request.extensions().get::<RequestContext>();
    let mut verified = false;
    if let Some(md5) = &preamble.content_md5 {
        if parse_md5(md5)? != Md5::digest(bytes) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        verified = true;
    }
    for algorithm in Algorithm::ALL {
        let name = algorithm.header();
        let header = request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let trailer = || context.and_then(|context| context.trailers.get(name));
        let Some(announced) = header.or_else(trailer) else { continue };
        if announced.trim() != of_bytes(algorithm, bytes) {
            return Err(s3_error!(BadDigest, "The {} you specified did not match.", algorithm.name()));
        }
        verified = true;
    }
    if verified {
        return Ok(());
    }
    Err(invalid_request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn verify(query: &str, md5: Option<&str>, checksum: Option<&str>) -> Result<(), S3ErrorCode> {
        let mut request = http::Request::post(format!("/bucket?{query}")).body(Body::empty()).unwrap();
        assert!(is_asked(&request));
        if let Some(checksum) = checksum {
            request.headers_mut().insert("x-amz-checksum-sha1", checksum.parse().unwrap());
        }
        let preamble = Preamble { content_md5: md5.map(str::to_owned), ..Preamble::default() };
        verify_list(&request, &preamble, b"abc").map_err(|error| error.code().clone())
    }

    #[test]
    fn a_list_needs_a_digest_and_the_right_one() {
        let md5 = Some("kAFQmDzST7DWlj99KOF/cg==");
        let sha1 = Some("qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
        assert_eq!(verify("delete", md5, None), Ok(()));
        assert_eq!(verify("delete=", None, sha1), Ok(()));
        assert_eq!(verify("delete", None, None), Err(S3ErrorCode::InvalidRequest));
        assert_eq!(verify("delete", Some("rL0Y20zC+Fzt72VPzMSk2A=="), sha1), Err(S3ErrorCode::BadDigest));
        assert_eq!(verify("delete", md5, Some("AAAA")), Err(S3ErrorCode::BadDigest));
        assert!(!is_asked(&http::Request::post("/bucket?uploads").body(Body::empty()).unwrap()));
    }
}
