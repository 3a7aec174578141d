//! ListObjects, version 1 and 2.
//!
//! Invariants: order and grouping are the engine's; a page never has more than 1,000 items, and says so
//! when there are more. Continuation tokens are opaque to clients.

use super::Server;
use super::access::Caller;
use super::bucket::timestamp;
use super::error::{EngineResult, invalid_argument, slow_down};
use super::naming::{token, token_name, url_encode};
use crate::memory::Held;
use ringbolt_engine::types::{BucketId, ListItem, ListPage, ListQuery};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

pub const KEYS_MAX: i32 = 1000;
/// An entry of a page as the engine gives it, with the longest key.
const ENTRY_BYTES_MAX: u64 = 1152;
/// An entry in a page and in the text of the answer, without its name; and how often the name is there: as the engine
/// gave it, as it is shown (percent signs may make it three times as long), in the text, and in its copy.
const ENTRY_BYTES: u64 = 1024;
const ENTRY_TIMES: u64 = 10;

/// How names appear in an answer.
#[derive(Clone, Copy)]
pub struct Encoding {
    url: bool,
}

impl Encoding {
    pub fn of(encoding_type: Option<&EncodingType>) -> S3Result<Self> {
        match encoding_type.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some("url") => Ok(Self { url: true }),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    pub fn show(self, name: &[u8]) -> String {
        if self.url { url_encode(name) } else { String::from_utf8_lossy(name).into_owned() }
    }

    pub fn show_text(self, name: String) -> String {
        if self.url { url_encode(name.as_bytes()) } else { name }
    }
}

/// The number of items to show, and the number to say that were asked for.
pub fn page_size(max: Option<i32>, name: &str) -> S3Result<i32> {
    match max {
        None => Ok(KEYS_MAX),
        Some(max) if max < 0 => {
            Err(invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647")))
        }
        Some(max) => Ok(max.min(KEYS_MAX)),
    }
}

/// Empty parameters are as good as absent ones.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

pub async fn page(
    server: &Server,
    bucket: BucketId,
    prefix: Option<&str>,
    delimiter: Option<&str>,
    after: Vec<u8>,
    max: i32,
) -> S3Result<(ListPage, Held)> {
    let max_items = usize::try_from(max).unwrap_or(0);
    let share = server.settings.memory.take(max_items as u64 * ENTRY_BYTES_MAX).map_err(slow_down)?;
    if max_items == 0 {
        return Ok((ListPage::default(), Held::new(share)));
    }
    let query = ListQuery {
        prefix: prefix.unwrap_or_default().into(),
        delimiter: delimiter.unwrap_or_default().into(),
        after,
        max_items,
    };
    let page = server.core.list(bucket, &query).await.s3()?;
    let needed = page.items.iter().map(|item| ENTRY_BYTES + ENTRY_TIMES * item.name().len() as u64).sum();
    share.set(needed).map_err(slow_down)?;
    Ok((page, Held::new(share)))
}

/// Objects and common prefixes apart, as answers show them.
fn split(items: &[ListItem], encoding: Encoding, owner: Option<&Owner>) -> (ObjectList, CommonPrefixList) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            ListItem::Object { key, size_bytes, modified_ms, etag } => objects.push(Object {
                key: Some(encoding.show(key)),
                size: i64::try_from(*size_bytes).ok(),
                last_modified: Some(timestamp(*modified_ms)),
                e_tag: Some(ETag::Strong(etag.to_string())),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                owner: owner.cloned(),
                ..Object::default()
            }),
            ListItem::CommonPrefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(encoding.show(prefix)) });
            }
        }
    }
    (objects, prefixes)
}

pub async fn list_objects(
    server: &Server,
    mut request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let delimiter = given(input.delimiter);
    let marker = input.marker.unwrap_or_default();
    let after = marker.clone().into_bytes();
    let (page, held) =
        page(server, bucket.id, input.prefix.as_deref(), delimiter.as_deref(), after, max).await?;
    let owner = server.owner(&bucket.owner);
    let (contents, common_prefixes) = split(&page.items, encoding, Some(&owner));
    // Without a delimiter the last key is the marker, and S3 says none.
    let next_marker = match page.items.last() {
        Some(last) if page.truncated && delimiter.is_some() => Some(encoding.show(last.name())),
        _ => None,
    };
    let mut response = S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.show_text(input.prefix.unwrap_or_default())),
        marker: Some(encoding.show_text(marker)),
        max_keys: Some(max),
        is_truncated: Some(page.truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.show_text(delimiter)),
        next_marker,
        encoding_type: input.encoding_type,
        request_charged: None,
    });
    response.extensions.insert(held);
    Ok(response)
}

pub async fn list_objects_v2(
    server: &Server,
    mut request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys, "maxKeys")?;
    let delimiter = given(input.delimiter);
    // A token says more than start-after, which it went past already.
    let after = match input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => token_name(token)?,
        None => input.start_after.clone().unwrap_or_default().into_bytes(),
    };
    let (page, held) =
        page(server, bucket.id, input.prefix.as_deref(), delimiter.as_deref(), after, max).await?;
    let owner = server.owner(&bucket.owner);
    let owner = input.fetch_owner.unwrap_or(false).then_some(&owner);
    let (contents, common_prefixes) = split(&page.items, encoding, owner);
    let next_continuation_token = match page.items.last() {
        Some(last) if page.truncated => Some(token(last.name())),
        _ => None,
    };
    let mut response = S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.show_text(input.prefix.unwrap_or_default())),
        max_keys: Some(max),
        key_count: i32::try_from(page.items.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.truncated),
        next_continuation_token,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.show_text(delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|name| encoding.show_text(name)),
        request_charged: None,
    });
    response.extensions.insert(held);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_engine::types::Etag;

    #[test]
    fn page_sizes() {
        assert_eq!(page_size(None, "maxKeys").ok(), Some(1000));
        assert_eq!(page_size(Some(0), "maxKeys").ok(), Some(0));
        assert_eq!(page_size(Some(5000), "maxKeys").ok(), Some(1000));
        assert!(page_size(Some(-1), "maxKeys").is_err());
    }

    #[test]
    fn items_are_split_and_encoded() {
        let items = [
            ListItem::Object { key: b"a+b".to_vec(), size_bytes: 3, modified_ms: 0, etag: Etag::default() },
            ListItem::CommonPrefix(b"c d/".to_vec()),
        ];
        let encoding = Encoding::of(Some(&EncodingType::from_static("url"))).unwrap();
        let (objects, prefixes) = split(&items, encoding, None);
        assert_eq!(objects[0].key.as_deref(), Some("a%2Bb"));
        assert_eq!(objects[0].owner, None);
        assert_eq!(prefixes[0].prefix.as_deref(), Some("c%20d/"));
        assert!(Encoding::of(Some(&EncodingType::from_static("rot13"))).is_err());
    }
}
