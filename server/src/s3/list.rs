//! The listings of a bucket: its objects (versions 1 and 2), their versions, and its uploads.
//!
//! Invariants:
//! - Order and grouping are the engine's. A page has at most 1,000 items, and says so when there
//!   are more.
//! - Continuation tokens are opaque to clients.
//! - A page is asked of the engine only when its memory is reserved.
//! - The marker of a version names the place behind it, whether or not the version is still there.

use super::Server;
use super::access::Caller;
use super::answer_xml::XmlAnswer;
use super::error::{EngineResult, invalid_argument, slow_down};
use super::listing_xml::{Continuation, Encoding, Listing, Marker, VersionEntry};
use super::multipart::UploadName;
use super::naming::{token, token_name};
use super::page::page_size;
use super::version::Named;
use crate::memory::ResponseMemory;
use ringbolt_engine::types::{
    ListItem, ListPage, ListQuery, Page, UploadItem, UploadPage, UploadQuery, Version, VersionItem,
    VersionsPage, VersionsQuery,
};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

/// What an entry of a page takes as the engine gives it, with the longest key.
const ENTRY_BYTES_MAX: u64 = 1152;
/// What an entry takes in a page and in the text of the answer, without its name.
const ENTRY_BYTES: u64 = 1024;
/// How often the name of an entry is there: as the engine gave it, and in the text. There a quote
/// takes six bytes, and a text that outgrows its room is copied into one twice as large: 4 and 8
/// times what was expected are there at once.
const ENTRY_TIMES: u64 = 13;
/// What an upload takes in a page and in the text of the answer.
const UPLOAD_BYTES_MAX: u64 = 4 << 10;

/// Returns how names shall appear. Fails if this server does not know the encoding.
fn encoding_of(encoding_type: Option<&EncodingType>) -> S3Result<Encoding> {
    match encoding_type.map(EncodingType::as_str) {
        None => Ok(Encoding::Plain),
        Some("url") => Ok(Encoding::Url),
        Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
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

impl Listing {
    /// Fails if the caller may not see the bucket, or if a parameter is invalid.
    fn of(server: &Server, caller: &Caller, request: ListingRequest<'_>) -> S3Result<Self> {
        let bucket = server.bucket_of(caller, request.bucket, request.expected_owner)?;
        let encoding = encoding_of(request.encoding_type)?;
        let max = page_size(request.max.0, request.max.1)?;
        let owner = server.owner(&bucket.owner);
        let (prefix, delimiter) = (request.prefix.unwrap_or_default(), given(request.delimiter));
        Ok(Self { bucket, owner, encoding, max, prefix, delimiter })
    }

    fn items_max(&self) -> usize {
        usize::try_from(self.max).unwrap_or(0)
    }

    /// Asks the engine for the objects after `after`.
    async fn page(&self, server: &Server, after: Vec<u8>) -> S3Result<(ListPage, ResponseMemory)> {
        let query = ListQuery {
            prefix: self.prefix.as_bytes().to_vec(),
            delimiter: self.delimiter.as_deref().unwrap_or_default().into(),
            after,
            max_items: self.items_max(),
        };
        self.within_memory(server, server.core.list(self.bucket.id, &query), ListItem::name).await
    }

    /// Asks the engine for the versions after this one of `after_key`, or after all of that key.
    async fn versions_page(
        &self,
        server: &Server,
        after_key: Vec<u8>,
        after_version: Option<Version>,
    ) -> S3Result<(VersionsPage, ResponseMemory)> {
        let query = VersionsQuery {
            prefix: self.prefix.as_bytes().to_vec(),
            delimiter: self.delimiter.as_deref().unwrap_or_default().into(),
            after_key,
            after_version,
            max_items: self.items_max(),
        };
        self.within_memory(server, server.core.list_versions(self.bucket.id, &query), VersionItem::name).await
    }

    /// Waits for the page that was asked of the engine, unless it is to be empty. The memory that the
    /// page holds is to be kept until the answer was sent. `asked` does nothing before there is memory
    /// for the largest page.
    async fn within_memory<I, P: Default>(
        &self,
        server: &Server,
        asked: impl Future<Output = ringbolt_engine::Result<Page<I, P>>>,
        name: impl Fn(&I) -> &[u8],
    ) -> S3Result<(Page<I, P>, ResponseMemory)> {
        let max_items = self.items_max();
        let reservation =
            server.settings.memory.reserve(max_items as u64 * ENTRY_BYTES_MAX).map_err(slow_down)?;
        let page = if max_items == 0 { Page::default() } else { asked.await.s3()? };
        let entry = |item| ENTRY_BYTES + ENTRY_TIMES * name(item).len() as u64;
        reservation.resize(page.items.iter().map(entry).sum()).map_err(slow_down)?;
        Ok((page, ResponseMemory::new(reservation)))
    }
}

/// Returns the name after which the next page begins, if there is one.
fn next_after(page: &ListPage) -> Option<&[u8]> {
    page.truncated.then_some(page.next.as_slice())
}

/// Returns the marker that version 1 names, where the next page begins after `next`. Clients of a
/// listing without a delimiter go on after the last key that they were given, and S3 names no
/// marker for them; but a page may end before the next one begins.
fn next_marker<'a>(listing: &Listing, last: Option<&[u8]>, next: Option<&'a [u8]>) -> Option<&'a [u8]> {
    next.filter(|next| listing.delimiter.is_some() || last != Some(next))
}

/// Returns an answer whose document is written. s3s makes the headers from an output that is empty.
fn answered<T: Default>(written: XmlAnswer, memory: ResponseMemory) -> S3Response<T> {
    let mut response = S3Response::new(T::default());
    response.extensions.insert(written);
    response.extensions.insert(memory);
    response
}

/// Answers ListObjects, version 1.
pub async fn list_objects(
    server: &Server,
    mut request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let listing = listing!(server, &caller, input.max_keys, "maxKeys");
    let marker = input.marker.unwrap_or_default();
    let (page, memory) = listing.page(server, marker.as_bytes().to_vec()).await?;
    let last = page.items.last().map(ListItem::name);
    let next_marker = next_marker(&listing, last, next_after(&page));
    let written = listing.objects(&marker, next_marker, &page);
    Ok(answered(written, memory))
}

/// Answers ListObjectsV2.
pub async fn list_objects_v2(
    server: &Server,
    mut request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let listing = listing!(server, &caller, input.max_keys, "maxKeys");
    // A token counts more than start-after, because the listing is past that already.
    let after = match input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => token_name(token)?,
        None => input.start_after.clone().unwrap_or_default().into_bytes(),
    };
    let (page, memory) = listing.page(server, after).await?;
    let place = Continuation {
        token: input.continuation_token.as_deref(),
        start_after: input.start_after.as_deref(),
        next_token: next_after(&page).map(token),
    };
    let written = listing.objects_v2(&place, input.fetch_owner.unwrap_or(false), &page);
    Ok(answered(written, memory))
}

/// Answers ListObjectVersions.
pub async fn list_object_versions(
    server: &Server,
    mut request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let listing = listing!(server, &caller, input.max_keys, "maxKeys");
    let key_marker = input.key_marker.unwrap_or_default();
    let from = Marker { key: key_marker.as_bytes(), id: given(input.version_id_marker) };
    if from.id.is_some() && from.key.is_empty() {
        return Err(invalid_argument("A version-id marker cannot be specified without a key marker."));
    }
    let named = server.named_version(&listing.bucket, &key_marker, from.id.as_deref())?;
    let after_version = match named {
        Named::Version(version) => Some(version).filter(|version| *version != Version::Newest),
        Named::Foreign => {
            return Err(invalid_argument("Invalid version id specified: it is none of the key marker's"));
        }
    };
    let (page, memory) = listing.versions_page(server, from.key.to_vec(), after_version).await?;
    let id = |key: &[u8], generation, is_null| server.show_version(&listing.bucket, key, generation, is_null);
    // The place behind a null version is named by its generation, since another version may have
    // become the null version before the next page is asked for.
    let next = page.truncated.then(|| Marker {
        key: &page.next.key,
        id: (page.next.generation != 0).then(|| id(&page.next.key, page.next.generation, false)),
    });
    let entries = page.items.iter().map(|item| match item {
        VersionItem::Version {
            key,
            generation,
            is_null,
            is_latest,
            is_marker,
            size_bytes,
            modified_ms,
            etag,
            class,
        } => VersionEntry::Version {
            key,
            version_id: id(key, *generation, *is_null),
            is_latest: *is_latest,
            is_marker: *is_marker,
            size_bytes: *size_bytes,
            modified_ms: *modified_ms,
            etag: *etag,
            class: *class,
        },
        VersionItem::CommonPrefix(prefix) => VersionEntry::CommonPrefix(prefix),
    });
    Ok(answered(listing.versions(&from, next.as_ref(), entries), memory))
}

/// Answers ListMultipartUploads.
pub async fn list_multipart_uploads(
    server: &Server,
    mut request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let listing = listing!(server, &caller, input.max_uploads, "max-uploads");
    let key_marker = input.key_marker.unwrap_or_default();
    // Without a key the upload marker means nothing, and S3 ignores it.
    let id_marker = given(input.upload_id_marker).filter(|_| !key_marker.is_empty());
    let from = Marker { key: key_marker.as_bytes(), id: id_marker };
    let query = UploadQuery {
        prefix: listing.prefix.as_bytes().to_vec(),
        delimiter: listing.delimiter.as_deref().unwrap_or_default().into(),
        after_key: from.key.to_vec(),
        after_id: from.id.as_deref().map(UploadName::parse).transpose()?.map(|name| name.id),
        max_items: listing.items_max(),
    };
    let bytes = query.max_items as u64 * UPLOAD_BYTES_MAX;
    let reservation = server.settings.memory.reserve(bytes).map_err(slow_down)?;
    let page = match query.max_items {
        0 => UploadPage::default(),
        _ => server.core.list_uploads(listing.bucket.id, &query).await.s3()?,
    };
    let written = listing.uploads(&from, next_upload(&page).as_ref(), &page, &|id| server.owner(id));
    Ok(answered(written, ResponseMemory::new(reservation)))
}

/// Returns the upload after which the next page begins, if there is one.
fn next_upload(page: &UploadPage) -> Option<Marker<'_>> {
    match page.items.last().filter(|_| page.truncated)? {
        UploadItem::Upload(last) => {
            Some(Marker { key: &last.key, id: Some(UploadName::new(last.id, &last.attributes).show()) })
        }
        UploadItem::CommonPrefix(prefix) => Some(Marker { key: prefix, id: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_engine::types::Etag;
    use std::rc::Rc;

    fn listing(delimiter: Option<&str>) -> Listing {
        let bucket = crate::s3::testing_bucket();
        Listing {
            bucket: Rc::new(bucket),
            owner: Owner::default(),
            encoding: Encoding::Plain,
            max: 1000,
            prefix: String::new(),
            delimiter: delimiter.map(str::to_owned),
        }
    }

    fn page(truncated: bool) -> ListPage {
        let object = ListItem::Object {
            key: b"k".to_vec(),
            size_bytes: 3,
            modified_ms: 0,
            etag: Etag::default(),
            class: Default::default(),
        };
        ListPage { items: vec![object], truncated, next: b"k".to_vec() }
    }

    #[test]
    fn version_1_names_a_marker_where_clients_would_not_know_it() {
        let last = Some(b"k".as_slice());
        assert_eq!(next_marker(&listing(None), last, next_after(&page(true))), None);
        assert_eq!(next_marker(&listing(Some("/")), last, next_after(&page(true))), last);
        assert_eq!(next_marker(&listing(Some("/")), last, next_after(&page(false))), None);
        // The page is short: what follows its last key is known to be no object.
        let behind = Some(b"l".as_slice());
        assert_eq!(next_marker(&listing(None), last, behind), behind);
        assert_eq!(next_marker(&listing(None), None, behind), behind);
    }

    #[test]
    fn encodings_that_are_not_known_are_refused() {
        let of = |name: &'static str| encoding_of(Some(&EncodingType::from_static(name)));
        assert!(matches!(of("url"), Ok(Encoding::Url)) && matches!(encoding_of(None), Ok(Encoding::Plain)));
        assert!(of("rot13").is_err());
    }
}
