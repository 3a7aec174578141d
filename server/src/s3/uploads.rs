//! Multipart uploads by name: their ids, and the listing of those in progress.

use super::Server;
use super::access::Caller;
use super::attributes::{checksum_algorithm, checksum_type};
use super::bucket::timestamp;
use super::checksum::{Algorithm, Kind};
use super::error::{EngineResult, no_such_upload, slow_down};
use super::headers::{CHECKSUM_ALGORITHM, CHECKSUM_TYPE, find};
use super::list::{Encoding, given, page_size};
use crate::memory::Held;
use ringbolt_engine::types::{Attributes, UploadId, UploadInfo, UploadItem, UploadPage, UploadQuery};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

/// An upload in a page and in the text of the answer.
const UPLOAD_BYTES_MAX: u64 = 4 << 10;

/// An upload as clients name it: the engine's id, and what its parts are summed with, so that taking
/// a part needs no look at the upload first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadName {
    pub id: UploadId,
    pub checksum: Option<(Algorithm, Kind)>,
}

impl UploadName {
    /// From the attributes that an upload was made with.
    pub fn new(id: UploadId, attributes: &Attributes) -> Self {
        Self { id, checksum: checksum_of(attributes) }
    }

    pub fn show(self) -> String {
        match self.checksum {
            None => format!("{:032x}", self.id.0),
            Some((algorithm, kind)) => format!("{:032x}-{}-{}", self.id.0, algorithm.name(), kind.name()),
        }
    }

    /// A name that we did not make is that of no upload.
    pub fn parse(text: &str) -> S3Result<Self> {
        Self::parsed(text).ok_or_else(no_such_upload)
    }

    fn parsed(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let id =
            fields.next().filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let id = UploadId(u128::from_str_radix(id, 16).ok()?);
        let checksum = match (fields.next(), fields.next()) {
            (None, _) => None,
            (Some(algorithm), Some(kind)) => Some((Algorithm::from_name(algorithm)?, Kind::from_name(kind)?)),
            (Some(_), None) => return None,
        };
        fields.next().is_none().then_some(Self { id, checksum })
    }
}

/// What an upload was told to sum its parts with.
pub fn checksum_of(attributes: &Attributes) -> Option<(Algorithm, Kind)> {
    let algorithm = Algorithm::from_name(find(attributes, CHECKSUM_ALGORITHM)?)?;
    let kind = find(attributes, CHECKSUM_TYPE).and_then(Kind::from_name);
    Some((algorithm, kind.unwrap_or(algorithm.default_kind())))
}

pub async fn list_multipart_uploads(
    server: &Server,
    mut request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max = page_size(input.max_uploads, "max-uploads")?;
    let delimiter = given(input.delimiter);
    let key_marker = input.key_marker.unwrap_or_default();
    // Without a key the upload marker means nothing, and S3 ignores it.
    let id_marker = given(input.upload_id_marker).filter(|_| !key_marker.is_empty());
    let query = UploadQuery {
        prefix: input.prefix.as_deref().unwrap_or_default().into(),
        delimiter: delimiter.as_deref().unwrap_or_default().into(),
        after_key: key_marker.clone().into_bytes(),
        after_id: id_marker.as_deref().map(UploadName::parse).transpose()?.map(|name| name.id),
        max_items: usize::try_from(max).unwrap_or(0),
    };
    let share = server.settings.memory.take(query.max_items as u64 * UPLOAD_BYTES_MAX).map_err(slow_down)?;
    let page = match query.max_items {
        0 => UploadPage::default(),
        _ => server.core.list_uploads(bucket.id, &query).await.s3()?,
    };
    let owner = server.owner(&bucket.owner);
    let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
    for item in &page.items {
        match item {
            UploadItem::Upload(upload) => uploads.push(show(upload, encoding, &owner)),
            UploadItem::CommonPrefix(prefix) => {
                common_prefixes.push(CommonPrefix { prefix: Some(encoding.show(prefix)) });
            }
        }
    }
    let (next_key_marker, next_upload_id_marker) = match page.items.last().filter(|_| page.truncated) {
        Some(UploadItem::Upload(last)) => {
            (Some(encoding.show(&last.key)), Some(UploadName::new(last.id, &last.attributes).show()))
        }
        Some(UploadItem::CommonPrefix(prefix)) => (Some(encoding.show(prefix)), None),
        None => (None, None),
    };
    let mut response = S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(encoding.show_text(input.prefix.unwrap_or_default())),
        key_marker: Some(encoding.show_text(key_marker)),
        upload_id_marker: Some(id_marker.unwrap_or_default()),
        max_uploads: Some(max),
        is_truncated: Some(page.truncated),
        uploads: Some(uploads),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| encoding.show_text(delimiter)),
        encoding_type: input.encoding_type,
        next_key_marker,
        next_upload_id_marker,
        request_charged: None,
    });
    response.extensions.insert(Held::new(share));
    Ok(response)
}

fn show(upload: &UploadInfo, encoding: Encoding, owner: &Owner) -> MultipartUpload {
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

    #[test]
    fn names_come_back() {
        for checksum in
            [None, Some((Algorithm::Crc32c, Kind::Composite)), Some((Algorithm::Crc64Nvme, Kind::FullObject))]
        {
            let name = UploadName { id: UploadId(0xabc), checksum };
            assert_eq!(UploadName::parse(&name.show()).ok(), Some(name));
        }
    }

    #[test]
    fn made_up_names_are_no_upload() {
        let id = "0".repeat(32);
        for bad in [
            "",
            "1",
            "nope",
            &format!("{id}-CRC32"),
            &format!("{id}-CRC32-X"),
            &format!("{id}-CRC32-COMPOSITE-1"),
        ] {
            assert!(UploadName::parse(bad).is_err(), "{bad}");
        }
        assert!(UploadName::parse(&id).is_ok());
    }
}
