//! GetObjectAttributes: what is known of an object, without its data.

use super::Server;
use super::access::{Caller, check_version};
use super::bucket::timestamp;
use super::checksum::{Algorithm, Kind};
use super::error::{EngineResult, invalid_argument};
use super::headers::{stored_checksum, stored_kind};
use super::object::{etag_of, no_such_key};
use ringbolt_engine::types::{Attributes, ObjectInfo};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

const PARTS_MAX: i32 = 1000;
const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// A checksum put into the field of its algorithm; for the many answers that have one field for each.
macro_rules! set_checksum {
    ($target:expr, $attributes:expr) => {{
        if let Some((algorithm, checksum)) = $crate::s3::headers::stored_checksum($attributes) {
            let checksum = Some(checksum.to_owned());
            match algorithm {
                $crate::s3::checksum::Algorithm::Crc32 => $target.checksum_crc32 = checksum,
                $crate::s3::checksum::Algorithm::Crc32c => $target.checksum_crc32c = checksum,
                $crate::s3::checksum::Algorithm::Crc64Nvme => $target.checksum_crc64nvme = checksum,
                $crate::s3::checksum::Algorithm::Sha1 => $target.checksum_sha1 = checksum,
                $crate::s3::checksum::Algorithm::Sha256 => $target.checksum_sha256 = checksum,
            }
        }
    }};
}
pub(super) use set_checksum;

/// The checksum that a client named in one of the fields for them.
macro_rules! given_checksum {
    ($source:expr) => {{
        use $crate::s3::checksum::Algorithm;
        [
            (Algorithm::Crc32, &$source.checksum_crc32),
            (Algorithm::Crc32c, &$source.checksum_crc32c),
            (Algorithm::Crc64Nvme, &$source.checksum_crc64nvme),
            (Algorithm::Sha1, &$source.checksum_sha1),
            (Algorithm::Sha256, &$source.checksum_sha256),
        ]
        .into_iter()
        .find_map(|(algorithm, value)| Some((algorithm, value.clone()?)))
    }};
}
pub(super) use given_checksum;

pub fn checksum_type(kind: Kind) -> ChecksumType {
    ChecksumType::from_static(kind.name())
}

pub fn checksum_algorithm(algorithm: Algorithm) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from_static(algorithm.name())
}

pub async fn get_object_attributes(
    server: &Server,
    mut request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    check_version(input.version_id.as_deref())?;
    let wanted = wanted(&input.object_attributes)?;
    let wants = |name: &str| wanted.iter().any(|one| one == name);
    let info = server.core.head(bucket.id, input.key.as_bytes()).await.s3()?.ok_or_else(no_such_key)?;
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(info.modified_ms)),
        ..GetObjectAttributesOutput::default()
    };
    if wants("ETag") {
        output.e_tag = Some(etag_of(&info));
    }
    if wants("Checksum") && stored_checksum(&info.attributes).is_some() {
        output.checksum = Some(checksum_of(&info.attributes));
    }
    if wants("ObjectSize") {
        output.object_size = i64::try_from(info.size_bytes).ok();
    }
    if wants("StorageClass") {
        output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
    }
    if wants("ObjectParts") && !info.parts.is_empty() {
        output.object_parts = Some(parts_page(&info, input.max_parts, input.part_number_marker)?);
    }
    Ok(S3Response::new(output))
}

/// Takes the quotes from the ETag in the XML of an answer. S3 has none in this one operation, and s3s writes
/// them in every one.
pub fn unquote_etag(xml: &str) -> String {
    xml.replace("<ETag>&quot;", "<ETag>")
        .replace("&quot;</ETag>", "</ETag>")
        .replace("<ETag>\"", "<ETag>")
        .replace("\"</ETag>", "</ETag>")
}

/// Whether a query asks for this operation.
pub fn is_asked(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "attributes" || pair == "attributes="))
}

/// The header may be sent several times, or once as a list.
fn wanted(list: &ObjectAttributesList) -> S3Result<Vec<String>> {
    let names: Vec<String> =
        list.iter().flat_map(|one| one.as_str().split(',')).map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(_) => Err(invalid_argument("Invalid attribute name specified.")),
        None => Ok(names),
    }
}

fn checksum_of(attributes: &Attributes) -> Checksum {
    let mut checksum = Checksum::default();
    set_checksum!(checksum, attributes);
    checksum.checksum_type = Some(checksum_type(stored_kind(attributes).unwrap_or(Kind::FullObject)));
    checksum
}

fn parts_page(
    info: &ObjectInfo,
    max_parts: Option<i32>,
    marker: Option<i32>,
) -> S3Result<GetObjectAttributesParts> {
    let limit = max_parts.unwrap_or(PARTS_MAX).min(PARTS_MAX);
    let length = usize::try_from(limit).map_err(|_| invalid_argument("max-parts must not be negative"))?;
    let marker = marker.unwrap_or(0);
    let mut rest = info.parts.iter().filter(|part| i32::from(part.number) > marker);
    let mut shown = Vec::new();
    for part in rest.by_ref().take(length) {
        let mut entry = ObjectPart {
            part_number: Some(i32::from(part.number)),
            size: i64::try_from(part.size_bytes).ok(),
            ..ObjectPart::default()
        };
        set_checksum!(entry, &part.attributes);
        shown.push(entry);
    }
    Ok(GetObjectAttributesParts {
        is_truncated: Some(rest.next().is_some()),
        max_parts: Some(limit),
        next_part_number_marker: Some(shown.last().and_then(|last| last.part_number).unwrap_or(marker)),
        part_number_marker: Some(marker),
        parts: Some(shown),
        total_parts_count: i32::try_from(info.parts.len()).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_lose_their_quotes_here_only() {
        assert_eq!(
            unquote_etag("<a><ETag>&quot;0f-2&quot;</ETag>&quot;</a>"),
            "<a><ETag>0f-2</ETag>&quot;</a>"
        );
        assert_eq!(unquote_etag("<ETag>\"0f\"</ETag>"), "<ETag>0f</ETag>");
        assert!(is_asked(Some("versionId=null&attributes")) && is_asked(Some("attributes=")));
        assert!(!is_asked(Some("prefix=attributes")) && !is_asked(None));
    }
}
