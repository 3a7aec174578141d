//! Versions of buckets that keep none: every object is the version `null`, and the latest.

use super::Server;
use super::access::Caller;
use super::bucket::timestamp;
use super::error::invalid_argument;
use super::list::{Encoding, given, page, page_size};
use ringbolt_engine::types::ListItem;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

const NULL: &str = "null";

pub async fn get_bucket_versioning(
    server: &Server,
    mut request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    // Versioning was never enabled: S3 says so by no status at all.
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

pub async fn list_object_versions(
    server: &Server,
    mut request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let delimiter = given(input.delimiter);
    let key_marker = input.key_marker.unwrap_or_default();
    let version_marker = given(input.version_id_marker);
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    // The marked key has one version, so what comes after that version is what comes after the key.
    let after = key_marker.clone().into_bytes();
    let (page, held) =
        page(server, bucket.id, input.prefix.as_deref(), delimiter.as_deref(), after, max).await?;
    let owner = server.owner(&bucket.owner);
    let (mut versions, mut common_prefixes) = (Vec::new(), Vec::new());
    for item in &page.items {
        match item {
            ListItem::Object { key, size_bytes, modified_ms, etag } => versions.push(ObjectVersion {
                key: Some(encoding.show(key)),
                version_id: Some(NULL.to_owned()),
                is_latest: Some(true),
                size: i64::try_from(*size_bytes).ok(),
                last_modified: Some(timestamp(*modified_ms)),
                e_tag: Some(ETag::Strong(etag.to_string())),
                storage_class: Some(ObjectVersionStorageClass::from_static(
                    ObjectVersionStorageClass::STANDARD,
                )),
                owner: Some(owner.clone()),
                ..ObjectVersion::default()
            }),
            ListItem::CommonPrefix(prefix) => {
                common_prefixes.push(CommonPrefix { prefix: Some(encoding.show(prefix)) });
            }
        }
    }
    let last = page.items.last().filter(|_| page.truncated);
    let next_version_id_marker =
        last.filter(|item| matches!(item, ListItem::Object { .. })).map(|_| NULL.to_owned());
    let mut response = S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.show_text(input.prefix.unwrap_or_default())),
        key_marker: Some(encoding.show_text(key_marker)),
        version_id_marker: version_marker,
        max_keys: Some(max),
        is_truncated: Some(page.truncated),
        versions: Some(versions),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.show_text(delimiter)),
        encoding_type: input.encoding_type,
        next_key_marker: last.map(|item| encoding.show(item.name())),
        next_version_id_marker,
        delete_markers: None,
        request_charged: None,
    });
    response.extensions.insert(held);
    Ok(response)
}
