//! The parts of an upload: taking one, and listing them.

use super::Server;
use super::access::{Caller, refuse_unbuilt};
use super::checksum::{Algorithm, Kind};
use super::error::{EngineResult, invalid_argument, invalid_request, slow_down};
use super::headers;
use super::list::page_size;
use super::receive::{Announced, Received, receive};
use super::uploads::{UploadName, checksum_of};
use super::xml_writer::XmlWriter;
use crate::memory::Held;
use http::HeaderMap;
use ringbolt_engine::types::{Attributes, PartInfo};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

pub const PART_NUMBER_MAX: u16 = 10_000;
/// What listing takes: all parts of an upload as the engine gives them, and a page of them as text.
const LIST_BYTES_MAX: u64 = 3 << 20;

pub fn part_number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number) if (1..=PART_NUMBER_MAX).contains(&number) => Ok(number),
        _ => Err(invalid_argument(format!(
            "Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive; it is {number}"
        ))),
    }
}

/// The attributes of a received part.
pub fn part_attributes(checksum: Option<(Algorithm, String)>) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some((algorithm, checksum)) = checksum {
        headers::add_checksum(&mut attributes, algorithm, checksum, None);
    }
    attributes
}

pub async fn upload_part(
    server: &Server,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    refuse_unbuilt(&request.headers)?;
    let number = part_number(input.part_number)?;
    let upload = UploadName::parse(&input.upload_id)?;
    let wanted = upload.checksum.map(|(algorithm, _)| algorithm);
    let announced = Announced::new(&request.headers, &caller, wanted)?;
    if let (Some(wanted), Some(sent)) = (wanted, announced.algorithm())
        && wanted != sent
    {
        return Err(invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name(),
            sent.name()
        )));
    }
    let key = input.key.as_bytes();
    let mut writer = server.core.put_part(bucket.id, key, upload.id, number, announced.length).await.s3()?;
    let Received { etag, checksum } = receive(input.body, &mut writer, &announced, &caller.trailers).await?;
    let part = writer.commit_part(etag, part_attributes(checksum)).await.s3()?;
    let mut answer = HeaderMap::new();
    headers::add_checksums(&mut answer, &part.attributes, None);
    let output =
        UploadPartOutput { e_tag: Some(ETag::Strong(part.etag.to_string())), ..UploadPartOutput::default() };
    Ok(S3Response::with_headers(output, answer))
}

pub async fn list_parts(
    server: &Server,
    mut request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let name = UploadName::parse(&input.upload_id)?;
    let max = page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let share = server.settings.memory.take(LIST_BYTES_MAX).map_err(slow_down)?;
    let upload = server.core.upload(bucket.id, input.key.as_bytes(), name.id).await.s3()?;
    let mut rest = upload.parts.iter().filter(|part| i32::from(part.number) > marker);
    let shown: Vec<&PartInfo> = rest.by_ref().take(usize::try_from(max).unwrap_or(0)).collect();
    let truncated = max > 0 && rest.next().is_some();
    let owner = server.owner(&bucket.owner);
    let checksum = checksum_of(&upload.attributes);
    let written = XmlWriter::document("ListPartsResult", |result| {
        result.text("Bucket", &input.bucket);
        result.text("Key", &input.key);
        result.text("UploadId", &input.upload_id);
        result.text("PartNumberMarker", marker);
        result.text("NextPartNumberMarker", shown.last().map_or(0, |last| last.number));
        result.text("MaxParts", max);
        result.text("IsTruncated", truncated);
        for name in ["Initiator", "Owner"] {
            result.element(name, |who| {
                who.optional("ID", owner.id.as_ref());
                who.optional("DisplayName", owner.display_name.as_ref());
            });
        }
        result.text("StorageClass", StorageClass::STANDARD);
        result.optional("ChecksumAlgorithm", checksum.map(|(algorithm, _)| algorithm.name()));
        result.optional("ChecksumType", checksum.map(|(_, kind)| Kind::name(kind)));
        for part in shown {
            show(part, result);
        }
    });
    let mut response = S3Response::new(ListPartsOutput::default());
    response.extensions.insert(written);
    response.extensions.insert(Held::new(share));
    Ok(response)
}

fn show(part: &PartInfo, result: &mut XmlWriter) {
    result.element("Part", |shown| {
        shown.text("PartNumber", part.number);
        shown.time("LastModified", part.modified_ms);
        shown.etag(part.etag);
        shown.text("Size", part.size_bytes);
        shown.checksum(&part.attributes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers() {
        assert_eq!(part_number(1).ok(), Some(1));
        assert_eq!(part_number(10_000).ok(), Some(10_000));
        for bad in [0, -1, 10_001, 65_537] {
            assert!(part_number(bad).is_err(), "{bad}");
        }
    }
}
