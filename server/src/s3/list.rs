//! The listings of a bucket: its objects (versions 1 and 2), their versions, and its uploads.
//!
//! Invariants:
//! - Order and grouping are the engine's. A page has at most 1,000 items, and says so when there
//!   are more.
//! - Continuation tokens are opaque to clients.
//! - A page is asked of the engine only when its memory is reserved.
//! - Buckets keep no versions: every object is the version `null`, and the latest.

use super::Server;
use super::access::Caller;
use super::attributes::{checksum_algorithm, checksum_type};
use super::error::{EngineResult, invalid_argument, slow_down};
use super::multipart::UploadName;
use super::naming::{token, token_name};
use super::page::page_size;
use super::timestamp::timestamp;
use crate::host::url_encode;
use crate::memory::ResponseMemory;
use ringbolt_engine::types::{
    Bucket as StoredBucket, Etag, ListItem, ListPage, ListQuery, UploadInfo, UploadItem, UploadPage,
    UploadQuery,
};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use std::rc::Rc;

/// What an entry of a page takes as the engine gives it, with the longest key.
const ENTRY_BYTES_MAX: u64 = 1152;
/// What an entry takes in a page and in the text of the answer, without its name.
const ENTRY_BYTES: u64 = 1024;
/// How often the name of an entry is there: as the engine gave it, as it is shown (percent signs
/// may make it three times as long), in the text, and in its copy.
const ENTRY_TIMES: u64 = 10;
/// What an upload takes in a page and in the text of the answer.
const UPLOAD_BYTES_MAX: u64 = 4 << 10;
/// The version of every object in a bucket that keeps no versions.
const NULL_VERSION: &str = "null";

/// How names appear in an answer.
#[derive(Clone, Copy)]
struct Encoding {
    url: bool,
}

impl Encoding {
    fn of(encoding_type: Option<&EncodingType>) -> S3Result<Self> {
        match encoding_type.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    fn show(self, name: &[u8]) -> String {
        if self.url { url_encode(name) } else { String::from_utf8_lossy(name).into_owned() }
    }

    fn show_text(self, name: String) -> String {
        if self.url { url_encode(name.as_bytes()) } else { name }
    }
}

/// Takes an empty parameter for an absent one.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// What requests for listings have in common, as they were sent.
struct ListingRequest<'a> {
    bucket: &'a str,
    expected_owner: Option<&'a str>,
    encoding_type: Option<&'a EncodingType>,
    /// The largest page that was asked for, and the name of that parameter.
    max: (Option<i32>, &'static str),
    prefix: Option<String>,
    delimiter: Option<String>,
}

/// Makes the [`Listing`] of an input of s3s. What all inputs have in common has the same names in
/// them, but for the largest page.
macro_rules! listing {
    ($server:expr, $caller:expr, $input:ident.$max:ident, $name:literal) => {
        Listing::of(
            $server,
            $caller,
            ListingRequest {
                bucket: &$input.bucket,
                expected_owner: $input.expected_bucket_owner.as_deref(),
                encoding_type: $input.encoding_type.as_ref(),
                max: ($input.$max, $name),
                prefix: $input.prefix,
                delimiter: $input.delimiter,
            },
        )?
    };
}

/// A listing whose request was found to be sound: what all of them share.
struct Listing {
    bucket: Rc<StoredBucket>,
    owner: Owner,
    encoding: Encoding,
    max: i32,
    prefix: Option<String>,
    delimiter: Option<String>,
}

impl Listing {
    /// Fails if the caller may not see the bucket, or if a parameter is invalid.
    fn of(server: &Server, caller: &Caller, request: ListingRequest<'_>) -> S3Result<Self> {
        let bucket = server.bucket_of(caller, request.bucket, request.expected_owner)?;
        let encoding = Encoding::of(request.encoding_type)?;
        let max = page_size(request.max.0, request.max.1)?;
        let owner = server.owner(&bucket.owner);
        let delimiter = given(request.delimiter);
        Ok(Self { bucket, owner, encoding, max, prefix: request.prefix, delimiter })
    }

    fn items_max(&self) -> usize {
        usize::try_from(self.max).unwrap_or(0)
    }

    /// Asks the engine for the objects after `after`. The memory that the page holds is to be kept
    /// until the answer was sent.
    async fn objects(&self, server: &Server, after: Vec<u8>) -> S3Result<(ListPage, ResponseMemory)> {
        let max_items = self.items_max();
        let bytes = max_items as u64 * ENTRY_BYTES_MAX;
        let reservation = server.settings.memory.reserve(bytes).map_err(slow_down)?;
        if max_items == 0 {
            return Ok((ListPage::default(), ResponseMemory::new(reservation)));
        }
        let query = ListQuery {
            prefix: self.prefix.as_deref().unwrap_or_default().into(),
            delimiter: self.delimiter.as_deref().unwrap_or_default().into(),
            after,
            max_items,
        };
        let page = server.core.list(self.bucket.id, &query).await.s3()?;
        let entry = |item: &ListItem| ENTRY_BYTES + ENTRY_TIMES * item.name().len() as u64;
        reservation.resize(page.items.iter().map(entry).sum()).map_err(slow_down)?;
        Ok((page, ResponseMemory::new(reservation)))
    }

    fn common_prefix(&self, prefix: &[u8]) -> CommonPrefix {
        CommonPrefix { prefix: Some(self.encoding.show(prefix)) }
    }

    /// Splits a page into objects, as `show` makes them of what is said of each, and prefixes.
    fn split<T>(&self, items: &[ListItem], show: impl Fn(Entry) -> T) -> (Vec<T>, CommonPrefixList) {
        let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                ListItem::Object { key, size_bytes, modified_ms, etag } => {
                    objects.push(show(Entry::new(self.encoding.show(key), *size_bytes, *modified_ms, *etag)));
                }
                ListItem::CommonPrefix(prefix) => prefixes.push(self.common_prefix(prefix)),
            }
        }
        (objects, prefixes)
    }

    fn shown_prefix(&mut self) -> Option<String> {
        Some(self.encoding.show_text(self.prefix.take().unwrap_or_default()))
    }

    fn shown_delimiter(&mut self) -> Option<String> {
        self.delimiter.take().map(|delimiter| self.encoding.show_text(delimiter))
    }
}

/// What a listing says of an object.
struct Entry {
    key: String,
    size: Option<i64>,
    last_modified: Timestamp,
    e_tag: ETag,
}

impl Entry {
    fn new(key: String, size_bytes: u64, modified_ms: u64, etag: Etag) -> Self {
        Self {
            key,
            size: i64::try_from(size_bytes).ok(),
            last_modified: timestamp(modified_ms),
            e_tag: ETag::Strong(etag.to_string()),
        }
    }

    fn object(self, owner: Option<&Owner>) -> Object {
        Object {
            key: Some(self.key),
            size: self.size,
            last_modified: Some(self.last_modified),
            e_tag: Some(self.e_tag),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: owner.cloned(),
            ..Object::default()
        }
    }

    fn version(self, owner: &Owner) -> ObjectVersion {
        ObjectVersion {
            key: Some(self.key),
            version_id: Some(NULL_VERSION.to_owned()),
            is_latest: Some(true),
            size: self.size,
            last_modified: Some(self.last_modified),
            e_tag: Some(self.e_tag),
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            owner: Some(owner.clone()),
            ..ObjectVersion::default()
        }
    }
}

/// Answers ListObjects, version 1.
pub async fn list_objects(
    server: &Server,
    mut request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let mut listing = listing!(server, &caller, input.max_keys, "maxKeys");
    let marker = input.marker.unwrap_or_default();
    let (page, memory) = listing.objects(server, marker.clone().into_bytes()).await?;
    let (contents, common_prefixes) = listing.split(&page.items, |entry| entry.object(Some(&listing.owner)));
    // Without a delimiter the last key is the marker, and S3 names none.
    let next_marker = match page.items.last() {
        Some(last) if page.truncated && listing.delimiter.is_some() => {
            Some(listing.encoding.show(last.name()))
        }
        _ => None,
    };
    let mut response = S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: listing.shown_prefix(),
        marker: Some(listing.encoding.show_text(marker)),
        max_keys: Some(listing.max),
        is_truncated: Some(page.truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: listing.shown_delimiter(),
        next_marker,
        encoding_type: input.encoding_type,
        request_charged: None,
    });
    response.extensions.insert(memory);
    Ok(response)
}

/// Answers ListObjectsV2.
pub async fn list_objects_v2(
    server: &Server,
    mut request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let mut listing = listing!(server, &caller, input.max_keys, "maxKeys");
    // A token counts more than start-after, because the listing is past that already.
    let after = match input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => token_name(token)?,
        None => input.start_after.clone().unwrap_or_default().into_bytes(),
    };
    let (page, memory) = listing.objects(server, after).await?;
    let owner = input.fetch_owner.unwrap_or(false).then_some(&listing.owner);
    let (contents, common_prefixes) = listing.split(&page.items, |entry| entry.object(owner));
    let next_continuation_token = match page.items.last() {
        Some(last) if page.truncated => Some(token(last.name())),
        _ => None,
    };
    let mut response = S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: listing.shown_prefix(),
        max_keys: Some(listing.max),
        key_count: i32::try_from(page.items.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.truncated),
        next_continuation_token,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: listing.shown_delimiter(),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|name| listing.encoding.show_text(name)),
        request_charged: None,
    });
    response.extensions.insert(memory);
    Ok(response)
}

/// Answers ListObjectVersions: each object is the one version of its key.
pub async fn list_object_versions(
    server: &Server,
    mut request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let mut listing = listing!(server, &caller, input.max_keys, "maxKeys");
    let key_marker = input.key_marker.unwrap_or_default();
    let version_marker = given(input.version_id_marker);
    if version_marker.is_some() && key_marker.is_empty() {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    // The marked key has one version, so what comes after that version is what comes after the key.
    let (page, memory) = listing.objects(server, key_marker.clone().into_bytes()).await?;
    let (versions, common_prefixes) = listing.split(&page.items, |entry| entry.version(&listing.owner));
    let last = page.items.last().filter(|_| page.truncated);
    let last_object = last.filter(|item| matches!(item, ListItem::Object { .. }));
    let mut response = S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: listing.shown_prefix(),
        key_marker: Some(listing.encoding.show_text(key_marker)),
        version_id_marker: version_marker,
        max_keys: Some(listing.max),
        is_truncated: Some(page.truncated),
        versions: Some(versions),
        common_prefixes: Some(common_prefixes),
        delimiter: listing.shown_delimiter(),
        encoding_type: input.encoding_type,
        next_key_marker: last.map(|item| listing.encoding.show(item.name())),
        next_version_id_marker: last_object.map(|_| NULL_VERSION.to_owned()),
        delete_markers: None,
        request_charged: None,
    });
    response.extensions.insert(memory);
    Ok(response)
}

/// Answers ListMultipartUploads.
pub async fn list_multipart_uploads(
    server: &Server,
    mut request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let mut listing = listing!(server, &caller, input.max_uploads, "max-uploads");
    let key_marker = input.key_marker.unwrap_or_default();
    // Without a key the upload marker means nothing, and S3 ignores it.
    let id_marker = given(input.upload_id_marker).filter(|_| !key_marker.is_empty());
    let query = UploadQuery {
        prefix: listing.prefix.as_deref().unwrap_or_default().into(),
        delimiter: listing.delimiter.as_deref().unwrap_or_default().into(),
        after_key: key_marker.clone().into_bytes(),
        after_id: id_marker.as_deref().map(UploadName::parse).transpose()?.map(|name| name.id),
        max_items: listing.items_max(),
    };
    let bytes = query.max_items as u64 * UPLOAD_BYTES_MAX;
    let reservation = server.settings.memory.reserve(bytes).map_err(slow_down)?;
    let page = match query.max_items {
        0 => UploadPage::default(),
        _ => server.core.list_uploads(listing.bucket.id, &query).await.s3()?,
    };
    let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
    for item in &page.items {
        match item {
            UploadItem::Upload(upload) => uploads.push(show_upload(upload, listing.encoding, &listing.owner)),
            UploadItem::CommonPrefix(prefix) => common_prefixes.push(listing.common_prefix(prefix)),
        }
    }
    let shown = |name: &[u8]| Some(listing.encoding.show(name));
    let (next_key_marker, next_upload_id_marker) = match page.items.last().filter(|_| page.truncated) {
        Some(UploadItem::Upload(last)) => {
            (shown(&last.key), Some(UploadName::new(last.id, &last.attributes).show()))
        }
        Some(UploadItem::CommonPrefix(prefix)) => (shown(prefix), None),
        None => (None, None),
    };
    let mut response = S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: listing.shown_prefix(),
        key_marker: Some(listing.encoding.show_text(key_marker)),
        upload_id_marker: Some(id_marker.unwrap_or_default()),
        max_uploads: Some(listing.max),
        is_truncated: Some(page.truncated),
        uploads: Some(uploads),
        common_prefixes: Some(common_prefixes),
        delimiter: listing.shown_delimiter(),
        encoding_type: input.encoding_type,
        next_key_marker,
        next_upload_id_marker,
        request_charged: None,
    });
    response.extensions.insert(ResponseMemory::new(reservation));
    Ok(response)
}

fn show_upload(upload: &UploadInfo, encoding: Encoding, owner: &Owner) -> MultipartUpload {
    let name = UploadName::new(upload.id, &upload.attributes);
    MultipartUpload {
        key: Some(encoding.show(&upload.key)),
        upload_id: Some(name.show()),
        initiated: Some(timestamp(upload.initiated_ms)),
        // Only the bucket's owner can begin an upload.
        initiator: Some(Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }),
        owner: Some(owner.clone()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: name.checksum.map(|(algorithm, _)| checksum_algorithm(algorithm)),
        checksum_type: name.checksum.map(|(_, kind)| checksum_type(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_engine::types::BucketId;

    #[test]
    fn items_are_split_and_encoded() {
        let items = [
            ListItem::Object { key: b"a+b".to_vec(), size_bytes: 3, modified_ms: 0, etag: Etag::default() },
            ListItem::CommonPrefix(b"c d/".to_vec()),
        ];
        let bucket = StoredBucket {
            id: BucketId(1),
            name: "b".to_owned(),
            owner: "o".to_owned(),
            created_ms: 0,
            attributes: Vec::new(),
        };
        let listing = Listing {
            bucket: Rc::new(bucket),
            owner: Owner::default(),
            encoding: Encoding::of(Some(&EncodingType::from_static("url"))).unwrap(),
            max: 1000,
            prefix: None,
            delimiter: None,
        };
        let (objects, prefixes) = listing.split(&items, |entry| entry.object(None));
        assert_eq!(objects[0].key.as_deref(), Some("a%2Bb"));
        assert_eq!(objects[0].owner, None);
        assert_eq!(prefixes[0].prefix.as_deref(), Some("c%20d/"));
        assert!(Encoding::of(Some(&EncodingType::from_static("rot13"))).is_err());
    }
}
