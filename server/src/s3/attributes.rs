//! GetObjectAttributes: what is known of an object, without its data.

use super::Server;
use super::access::Caller;
use super::answer_xml::XmlAnswer;
use super::error::invalid_argument;
use super::headers::{stored_checksum, stored_kind};
use super::judge::OnKey;
use super::timestamp::timestamp;
use crate::checksum::{Algorithm, Kind};
use crate::xml::XmlWriter;
use http::HeaderMap;
use ringbolt_engine::types::{ObjectInfo, PartInfo};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

const PARTS_MAX: i32 = 1000;
const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// Returns the type of a checksum as s3s has it.
pub fn checksum_type(kind: Kind) -> ChecksumType {
    ChecksumType::from_static(kind.name())
}

/// Returns an algorithm as s3s has it.
pub fn checksum_algorithm(algorithm: Algorithm) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from_static(algorithm.name())
}

/// Answers GetObjectAttributes.
pub async fn get_object_attributes(
    server: &Server,
    mut request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    // It shows what reading would: both actions are needed.
    let on = OnKey::new(&input.key, input.version_id.as_deref());
    server.allow_on_key(&caller, on.reads(), &bucket, on).await?;
    let wanted = wanted(&input.object_attributes)?;
    let wants = |name: &str| wanted.iter().any(|one| one == name);
    let info = match wants("ObjectParts") {
        true => server.find_object_and_parts(&caller, on.reads(), &bucket, on).await?,
        false => server.find_object(&caller, on.reads(), &bucket, on).await?,
    };
    server.allow_opened(&caller, caller.action_on(on), &bucket, (on, &info))?;
    let parts = match wants("ObjectParts") && !info.parts.is_empty() {
        true => Some(parts_page(&info, input.max_parts, input.part_number_marker)?),
        false => None,
    };
    let class = ringbolt_engine::types::StorageClass::of(&info.attributes);
    let written = XmlAnswer::document("GetObjectAttributesResponse", |result| {
        // S3 writes no quotes around the ETag in this one operation.
        result.optional("ETag", wants("ETag").then_some(info.etag));
        if wants("Checksum") && stored_checksum(&info.attributes).is_some() {
            result.element("Checksum", |checksum| {
                checksum.checksum(&info.attributes);
                checksum
                    .text("ChecksumType", stored_kind(&info.attributes).unwrap_or(Kind::FullObject).name());
            });
        }
        if let Some(parts) = &parts {
            result.element("ObjectParts", |result| parts.show(result));
        }
        result.optional("StorageClass", wants("StorageClass").then_some(class.name()));
        result.optional("ObjectSize", wants("ObjectSize").then_some(info.size_bytes));
    });
    let mut headers = HeaderMap::new();
    server.add_version(&mut headers, &bucket, &input.key, (info.generation, info.is_null));
    let last_modified = Some(timestamp(info.modified_ms));
    let output = GetObjectAttributesOutput { last_modified, ..GetObjectAttributesOutput::default() };
    let mut response = S3Response::with_headers(output, headers);
    response.extensions.insert(written);
    Ok(response)
}

fn wanted(list: &ObjectAttributesList) -> S3Result<Vec<String>> {
    let names: Vec<String> =
        list.iter().flat_map(|one| one.as_str().split(',')).map(|name| name.trim().to_owned()).collect();
    match names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(_) => Err(invalid_argument("Invalid attribute name specified.")),
        None => Ok(names),
    }
}

/// A page of an object's parts.
struct PartsPage<'a> {
    shown: Vec<&'a PartInfo>,
    total: usize,
    truncated: bool,
    limit: i32,
    marker: i32,
}

fn parts_page(info: &ObjectInfo, max_parts: Option<i32>, marker: Option<i32>) -> S3Result<PartsPage<'_>> {
    let limit = max_parts.unwrap_or(PARTS_MAX).min(PARTS_MAX);
    let length = usize::try_from(limit).map_err(|_| invalid_argument("max-parts must not be negative"))?;
    let marker = marker.unwrap_or(0);
    let mut rest = info.parts.iter().filter(|part| i32::from(part.number) > marker);
    let shown: Vec<_> = rest.by_ref().take(length).collect();
    Ok(PartsPage { shown, total: info.parts.len(), truncated: rest.next().is_some(), limit, marker })
}

impl PartsPage<'_> {
    fn show(&self, result: &mut XmlWriter) {
        result.text("PartsCount", self.total);
        result.text("PartNumberMarker", self.marker);
        result.text(
            "NextPartNumberMarker",
            self.shown.last().map_or(self.marker, |last| i32::from(last.number)),
        );
        result.text("MaxParts", self.limit);
        result.text("IsTruncated", self.truncated);
        for part in &self.shown {
            result.element("Part", |shown| {
                shown.text("PartNumber", part.number);
                shown.text("Size", part.size_bytes);
                shown.part_checksum(part);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::PartChecksum;
    use ringbolt_engine::types::Etag;

    #[test]
    fn parts_are_shown_a_page_at_a_time() {
        let part = |number| PartInfo {
            number,
            size_bytes: 5,
            modified_ms: 0,
            etag: Etag::default(),
            checksum: PartChecksum::to_store(Algorithm::XxHash3, "ctyxi2eheH8="),
        };
        let info = ObjectInfo { parts: vec![part(1), part(4), part(9)], ..ObjectInfo::default() };
        let page = |max, marker| {
            let page = parts_page(&info, max, marker).unwrap();
            XmlAnswer::document("P", |result| page.show(result)).text().to_owned()
        };
        let second = page(Some(1), Some(1));
        for expected in [
            "<PartsCount>3</PartsCount><PartNumberMarker>1</PartNumberMarker>",
            "<NextPartNumberMarker>4</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>",
            "<Part><PartNumber>4</PartNumber><Size>5</Size><ChecksumXXHASH3>ctyxi2eheH8=</ChecksumXXHASH3></Part></P>",
        ] {
            assert!(second.contains(expected), "{second}");
        }
        assert!(page(None, Some(4)).contains("<IsTruncated>false</IsTruncated>"));
        assert!(parts_page(&info, Some(-1), None).is_err());
    }
}
