//! The parts of an upload: taking one, and listing them.

use super::Server;
use super::access::{Caller, refuse_unbuilt};
use super::attributes::{checksum_algorithm, checksum_type, set_checksum};
use super::bucket::timestamp;
use super::checksum::Algorithm;
use super::error::{EngineResult, invalid_argument, invalid_request, slow_down};
use super::headers;
use super::list::page_size;
use super::receive::{Announced, Received, receive};
use super::uploads::{UploadName, checksum_of};
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
    let shown: Parts = rest.by_ref().take(usize::try_from(max).unwrap_or(0)).map(show).collect();
    let truncated = max > 0 && rest.next().is_some();
    let owner = server.owner(&bucket.owner);
    let checksum = checksum_of(&upload.attributes);
    let mut response = S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(shown.last().and_then(|last| last.part_number).unwrap_or(0)),
        max_parts: Some(max),
        is_truncated: Some(truncated),
        parts: Some(shown),
        initiator: Some(Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: checksum.map(|(algorithm, _)| checksum_algorithm(algorithm)),
        checksum_type: checksum.map(|(_, kind)| checksum_type(kind)),
        ..ListPartsOutput::default()
    });
    response.extensions.insert(Held::new(share));
    Ok(response)
}

fn show(part: &PartInfo) -> Part {
    let mut shown = Part {
        part_number: Some(i32::from(part.number)),
        size: i64::try_from(part.size_bytes).ok(),
        e_tag: Some(ETag::Strong(part.etag.to_string())),
        last_modified: Some(timestamp(part.modified_ms)),
        ..Part::default()
    };
    set_checksum!(shown, &part.attributes);
    shown
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
