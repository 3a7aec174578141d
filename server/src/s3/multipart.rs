//! The life of a multipart upload: create, upload parts, list them, complete, abort.
//!
//! Invariants:
//! - Complete copies no data: it names the parts, and the engine makes them the object in one
//!   record.
//! - A repeated Complete of the upload that made the current object answers as the first one did.

use super::Server;
use super::access::{Caller, refuse_unsupported};
use super::answer_xml::XmlAnswer;
use super::attributes::{checksum_algorithm, checksum_type};
use super::body::{Announced, Received, receive};
use super::conditional::bare_etag;
use super::declared::{bad_digest, header_of};
use super::error::{EngineResult, invalid_argument, invalid_request, no_such_upload, slow_down};
use super::headers::{self, CHECKSUM_ALGORITHM, CHECKSUM_TYPE, find, stored_kind};
use super::judge::{OnKey, owner_of};
use super::lifecycle::shown_expiration;
use super::page::page_size;
use super::receipt;
use super::xml_reader::{XmlReader, malformed};
use crate::auth::hash::Md5;
use crate::checksum::{Algorithm, Kind, PartChecksum, of_parts};
use crate::host::absolute_uri;
use crate::memory::ResponseMemory;
use crate::xml::XmlWriter;
use http::HeaderMap;
use ringbolt_engine::EngineError;
use ringbolt_engine::types::{Attributes, Etag, ObjectInfo, ObjectMeta, PartInfo, UploadId, UploadInfo};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;

/// The least size in bytes of every part but the last.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// The highest number of a part, and so the most parts of an object.
pub const PART_NUMBER_MAX: u16 = 10_000;
/// What listing the parts of an upload takes, in bytes: all parts as the engine gives them, and a
/// page of them as text.
const LIST_BYTES_MAX: u64 = 3 << 20;

/// What a part takes in bytes, about, while its upload is completed: as the engine lists it to the
/// server, and as it holds it itself.
const PART_BYTES_HELD: u64 = 768;

/// The id of an upload as clients know it: the engine's id, and the checksum of its parts, so that
/// taking a part needs no look at the upload first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadName {
    pub id: UploadId,
    pub checksum: Option<(Algorithm, Kind)>,
}

impl UploadName {
    /// Makes the id from the attributes that an upload was made with.
    pub fn new(id: UploadId, attributes: &Attributes) -> Self {
        Self { id, checksum: checksum_of(attributes) }
    }

    /// Returns the id as text.
    pub fn show(self) -> String {
        match self.checksum {
            None => format!("{:032x}", self.id.0),
            Some((algorithm, kind)) => format!("{:032x}-{}-{}", self.id.0, algorithm.name(), kind.name()),
        }
    }

    /// Parses an id. Fails with NoSuchUpload if this server did not make it.
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

/// Returns the checksum that the parts of an upload have, as its attributes say.
pub fn checksum_of(attributes: &Attributes) -> Option<(Algorithm, Kind)> {
    let algorithm = Algorithm::from_name(find(attributes, CHECKSUM_ALGORITHM)?)?;
    let kind = find(attributes, CHECKSUM_TYPE).and_then(Kind::from_name);
    Some((algorithm, kind.unwrap_or(algorithm.default_kind())))
}

/// Checks the number of a part. Fails if it is not from 1 to [`PART_NUMBER_MAX`].
pub fn part_number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number) if (1..=PART_NUMBER_MAX).contains(&number) => Ok(number),
        _ => Err(invalid_argument(format!(
            "Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive; it is {number}"
        ))),
    }
}

/// Returns what is stored of the checksum of a part.
pub fn part_checksum(checksum: Option<(Algorithm, String)>) -> Vec<u8> {
    checksum.map_or_else(Vec::new, |(algorithm, text)| PartChecksum::to_store(algorithm, &text))
}

/// Answers CreateMultipartUpload.
pub async fn create_multipart_upload(
    server: &Server,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    let mut attributes = headers::attributes_of_request(&caller.headers, &caller.lenient)?;
    server.give(&caller, &bucket, &input.key, &mut attributes)?;
    let checksum = asked_checksum(
        input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str),
        input.checksum_type.as_ref().map(ChecksumType::as_str),
    )?;
    if let Some((algorithm, kind)) = checksum {
        attributes.push((CHECKSUM_ALGORITHM.to_owned(), algorithm.name().to_owned()));
        attributes.push((CHECKSUM_TYPE.to_owned(), kind.name().to_owned()));
    }
    let id = server.core.create_upload(bucket.id, input.key.as_bytes(), attributes).await.s3()?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(UploadName { id, checksum }.show()),
        checksum_algorithm: checksum.map(|(algorithm, _)| checksum_algorithm(algorithm)),
        checksum_type: checksum.map(|(_, kind)| checksum_type(kind)),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn asked_checksum(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Option<(Algorithm, Kind)>> {
    let Some(name) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let Some(algorithm) = Algorithm::from_name(name) else {
        return Err(invalid_request(format!("Checksum algorithm provided is unsupported: {name}")));
    };
    let kind = match kind {
        None => algorithm.default_kind(),
        Some(kind) => Kind::from_name(kind).ok_or_else(|| {
            invalid_request(format!("Value for x-amz-checksum-type header is invalid: {kind}"))
        })?,
    };
    if !algorithm.allows(kind) {
        return Err(invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name()
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// Answers UploadPart.
pub async fn upload_part(
    server: &Server,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    let number = part_number(input.part_number)?;
    let upload = UploadName::parse(&input.upload_id)?;
    let wanted = upload.checksum.map(|(algorithm, _)| algorithm);
    let announced = Announced::new(&caller.headers, &caller, wanted)?;
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
    let receipt = receipt::ask(&caller, &mut writer);
    let Received { etag, checksum } = receive(input.body, &mut writer, &announced, caller.trailers()).await?;
    let part = writer.commit_part(etag, part_checksum(checksum)).await.s3()?;
    let mut answer = HeaderMap::new();
    receipt::add(&mut answer, receipt.and_then(|receipt| receipt.get()));
    headers::add_part_checksum(&mut answer, &part, None);
    let output =
        UploadPartOutput { e_tag: Some(ETag::Strong(part.etag.to_string())), ..UploadPartOutput::default() };
    Ok(S3Response::with_headers(output, answer))
}

/// Answers ListParts.
pub async fn list_parts(
    server: &Server,
    mut request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let name = UploadName::parse(&input.upload_id)?;
    let max = page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let reservation = server.settings.memory.reserve(LIST_BYTES_MAX).map_err(slow_down)?;
    let upload = server.core.upload(bucket.id, input.key.as_bytes(), name.id).await.s3()?;
    let mut rest = upload.parts.iter().filter(|part| i32::from(part.number) > marker);
    let shown: Vec<&PartInfo> = rest.by_ref().take(usize::try_from(max).unwrap_or(0)).collect();
    let truncated = max > 0 && rest.next().is_some();
    let owner = server.owner(owner_of(&upload.attributes).unwrap_or(&bucket.owner));
    let checksum = checksum_of(&upload.attributes);
    let written = XmlAnswer::document("ListPartsResult", |result| {
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
        result.text("StorageClass", ringbolt_engine::types::StorageClass::of(&upload.attributes).name());
        result.optional("ChecksumAlgorithm", checksum.map(|(algorithm, _)| algorithm.name()));
        result.optional("ChecksumType", checksum.map(|(_, kind)| Kind::name(kind)));
        for part in shown {
            show(part, result);
        }
    });
    let mut response = S3Response::new(ListPartsOutput::default());
    response.extensions.insert(written);
    response.extensions.insert(ResponseMemory::new(reservation));
    Ok(response)
}

fn show(part: &PartInfo, result: &mut XmlWriter) {
    result.element("Part", |shown| {
        shown.text("PartNumber", part.number);
        shown.time("LastModified", part.modified_ms);
        shown.etag(part.etag);
        shown.text("Size", part.size_bytes);
        shown.part_checksum(part);
    });
}

/// Answers AbortMultipartUpload.
pub async fn abort_multipart_upload(
    server: &Server,
    mut request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let upload = UploadName::parse(&input.upload_id)?;
    server.core.abort_upload(bucket.id, input.key.as_bytes(), upload.id).await.s3()?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// Answers CompleteMultipartUpload.
pub async fn complete_multipart_upload(
    server: &Server,
    mut request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let on = OnKey::new(&input.key, None);
    server.allow_condition(&caller, &bucket, on, caller.lenient.conditions.if_match.as_deref()).await?;
    let name = UploadName::parse(&input.upload_id)?;
    let Some(list) = request.extensions.remove::<Arc<PartList>>() else {
        return Err(malformed("the list of parts is missing"));
    };
    let listed = list.parts.as_slice();
    let expected = header_of(&caller.headers, Algorithm::is_value_of_parts)?;
    check_kind(name, input.checksum_type.as_ref().map(ChecksumType::as_str))?;
    let reached = (caller.context.client.scheme(), &caller.headers);
    let location = absolute_uri(server.domains.as_ref(), reached, &input.bucket, &input.key);
    let key = input.key.as_bytes();
    // Two lists of the parts are held at once: that of the upload, and those that were chosen.
    let bytes = listed.len() as u64 * PART_BYTES_HELD;
    let _reservation = server.settings.memory.reserve(bytes).map_err(slow_down)?;
    let upload = match server.core.upload(bucket.id, key, name.id).await {
        Ok(upload) => upload,
        Err(EngineError::NoSuchUpload) => {
            let mut reader = server.core.get(bucket.id, key).await.s3()?.ok_or_else(no_such_upload)?;
            reader.load_parts().await.s3()?;
            let info = reader.info().clone();
            if !completed_by(&info, name, listed) {
                return Err(no_such_upload());
            }
            let version_id = server.show_written(&bucket, &input.key, &info);
            let expiration = shown_expiration(&bucket, &input.key, &info);
            let written = answer(&info, &location, &input.bucket, &input.key);
            let mut response = answered(written, version_id, expiration);
            let durability = receipt::of_version(server, &caller, (bucket.id, key), &info).await;
            receipt::add(&mut response.headers, durability);
            return Ok(response);
        }
        Err(error) => return Err(error).s3(),
    };
    let parts = choose_parts(&upload, listed, server.settings.part_bytes_min)?;
    check_size(&parts, input.mpu_object_size)?;
    let attributes = object_attributes(&upload, &parts, expected)?;
    let meta = ObjectMeta { etag: etag_of_parts(&parts), attributes };
    let chosen = parts.iter().map(|part| (part.number, part.etag)).collect();
    let condition = caller.lenient.conditions.for_write();
    let info = server.core.complete_upload(bucket.id, key, name.id, chosen, meta, condition).await.s3()?;
    let version_id = server.show_written(&bucket, &input.key, &info);
    let expiration = shown_expiration(&bucket, &input.key, &info);
    let written = answer(&info, &location, &input.bucket, &input.key);
    let mut response = answered(written, version_id, expiration);
    receipt::add(&mut response.headers, receipt::of_version(server, &caller, (bucket.id, key), &info).await);
    Ok(response)
}

fn answered(
    written: XmlAnswer,
    version_id: Option<String>,
    expiration: Option<String>,
) -> S3Response<CompleteMultipartUploadOutput> {
    let output =
        CompleteMultipartUploadOutput { version_id, expiration, ..CompleteMultipartUploadOutput::default() };
    let mut response = S3Response::new(output);
    response.extensions.insert(written);
    response
}

/// Fails if a Complete names another kind of checksum than its upload has.
fn check_kind(name: UploadName, asked: Option<&str>) -> S3Result<()> {
    let (Some(asked), Some((_, kind))) = (asked, name.checksum) else { return Ok(()) };
    if asked == kind.name() {
        return Ok(());
    }
    Err(invalid_request(format!(
        "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
        kind.name()
    )))
}

/// The document of a CompleteMultipartUpload. It has at least one part, and the numbers ascend, so
/// that there are at most as many parts as there are numbers.
#[derive(Debug)]
pub struct PartList {
    pub parts: Vec<Listed>,
}

impl PartList {
    /// Reads the document. Fails if it is malformed or if the numbers do not ascend.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("CompleteMultipartUpload")?;
        let mut parts: Vec<Listed> = Vec::new();
        while let Some(name) = reader.child()? {
            if name != "Part" {
                return Err(malformed(format_args!("the element {name:?} is unknown")));
            }
            let part = Listed::read(&mut reader)?;
            if parts.last().is_some_and(|last| last.number >= part.number) {
                return Err(s3_error!(
                    InvalidPartOrder,
                    "The list of parts was not in ascending order. Parts must be ordered by part number."
                ));
            }
            parts.push(part);
        }
        reader.end()?;
        if parts.is_empty() {
            return Err(malformed("the list has no parts; an upload has at least one"));
        }
        Ok(Self { parts })
    }
}

/// A part as the client lists it in a Complete.
#[derive(Debug)]
pub struct Listed {
    number: u16,
    etag: String,
    checksum: Option<(Algorithm, String)>,
}

impl Listed {
    /// Reads a part. Clients may say more of it than is asked for, which does not matter unless it
    /// is a checksum.
    fn read(reader: &mut XmlReader<'_>) -> S3Result<Self> {
        let (mut number, mut etag, mut checksum) = (None, None, None);
        while let Some(name) = reader.child()? {
            let repeated = match (name.as_str(), Algorithm::from_element(&name)) {
                (_, Some(algorithm)) => {
                    let value = reader.text()?.trim().to_owned();
                    if !algorithm.is_value(&value) {
                        return Err(invalid_request(format!("Value for {name} of a part is invalid.")));
                    }
                    checksum.replace((algorithm, value)).is_some()
                }
                ("PartNumber", None) => {
                    let text = reader.text()?;
                    let value: i32 =
                        text.trim().parse().map_err(|_| malformed("a PartNumber is no number"))?;
                    number.replace(part_number(value)?).is_some()
                }
                ("ETag", None) => etag.replace(bare_etag(&reader.text()?)).is_some(),
                (name, None) if name.starts_with("Checksum") => {
                    return Err(malformed(format_args!("the checksum {name:?} is unknown")));
                }
                (_, None) => {
                    reader.skip()?;
                    false
                }
            };
            if repeated {
                return Err(malformed(format_args!("a part has more than one {name:?}")));
            }
        }
        match (number, etag) {
            (Some(number), Some(etag)) => Ok(Self { number, etag, checksum }),
            _ => Err(malformed("a part in the list lacks its PartNumber or ETag")),
        }
    }
}

fn invalid_part(number: u16) -> S3Error {
    s3_error!(
        InvalidPart,
        "Part {number} could not be found. It may not have been uploaded, or its ETag or checksum did not match."
    )
}

/// Returns the stored parts that the list names. Fails if one does not exist, is not the same, or
/// is too small.
fn choose_parts<'a>(
    upload: &'a UploadInfo,
    listed: &[Listed],
    part_bytes_min: u64,
) -> S3Result<Vec<&'a PartInfo>> {
    let mut parts = Vec::with_capacity(listed.len());
    for wanted in listed {
        let found = upload.parts.binary_search_by_key(&wanted.number, |part| part.number);
        let part = found.map(|index| &upload.parts[index]).map_err(|_| invalid_part(wanted.number))?;
        if part.etag.to_string() != wanted.etag {
            return Err(invalid_part(wanted.number));
        }
        if let (Some((algorithm, given)), Some(stored)) =
            (&wanted.checksum, PartChecksum::stored(&part.checksum))
            && (*algorithm != stored.algorithm || *given != stored.text())
        {
            return Err(invalid_part(wanted.number));
        }
        parts.push(part);
    }
    let all_but_last = &parts[..parts.len() - 1];
    if let Some(small) = all_but_last.iter().find(|part| part.size_bytes < part_bytes_min) {
        return Err(s3_error!(
            EntityTooSmall,
            "Part {} has {} bytes; every part but the last must have at least {part_bytes_min}",
            small.number,
            small.size_bytes
        ));
    }
    Ok(parts)
}

fn check_size(parts: &[&PartInfo], announced: Option<i64>) -> S3Result<()> {
    let Some(announced) = announced else { return Ok(()) };
    let size: u64 = parts.iter().map(|part| part.size_bytes).sum();
    if u64::try_from(announced) == Ok(size) {
        return Ok(());
    }
    Err(invalid_request(format!(
        "The provided 'x-amz-mp-object-size' header value {announced} does not match what was computed: {size}"
    )))
}

fn etag_of_parts(parts: &[&PartInfo]) -> Etag {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(&part.etag.md5);
    }
    let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    Etag { md5: md5.finish(), parts: count }
}

/// Returns the attributes of the finished object. Fails if its checksum is not the one that the
/// client expects.
fn object_attributes(
    upload: &UploadInfo,
    parts: &[&PartInfo],
    expected: Option<(Algorithm, String)>,
) -> S3Result<Attributes> {
    let mut attributes = headers::without_checksums(&upload.attributes);
    let Some((algorithm, kind)) = checksum_of(&upload.attributes) else {
        return match expected {
            None => Ok(attributes),
            Some(_) => Err(invalid_request(
                "The upload was created without a checksum algorithm, so the object has no checksum to compare",
            )),
        };
    };
    let mut sums = Vec::with_capacity(parts.len());
    for part in parts {
        match PartChecksum::stored(&part.checksum) {
            Some(stored) if stored.algorithm == algorithm => sums.push((stored.digest, part.size_bytes)),
            _ => return Err(invalid_part(part.number)),
        }
    }
    let Some(checksum) = of_parts(algorithm, kind, &sums) else {
        tracing::error!(
            ?algorithm,
            ?kind,
            parts = parts.len(),
            "stored checksums of parts can not be combined"
        );
        return Err(s3_error!(InternalError, "The checksums of the parts can not be combined"));
    };
    if let Some((given_algorithm, given)) = expected {
        let bare = checksum.split('-').next().unwrap_or_default();
        if given_algorithm != algorithm || (given != checksum && given != bare) {
            return Err(bad_digest(given_algorithm));
        }
    }
    headers::add_checksum(&mut attributes, algorithm, checksum, Some(kind));
    Ok(attributes)
}

/// Returns whether completing this upload with these parts made `info`.
fn completed_by(info: &ObjectInfo, name: UploadName, listed: &[Listed]) -> bool {
    let same = |(part, listed): (&PartInfo, &Listed)| {
        part.number == listed.number && part.etag.to_string() == listed.etag
    };
    info.upload == Some(name.id)
        && info.parts.len() == listed.len()
        && info.parts.iter().zip(listed).all(same)
}

fn answer(info: &ObjectInfo, location: &str, bucket: &str, key: &str) -> XmlAnswer {
    XmlAnswer::document("CompleteMultipartUploadResult", |result| {
        result.text("Location", location);
        result.text("Bucket", bucket);
        result.text("Key", key);
        result.etag(info.etag);
        result.checksum(&info.attributes);
        result.optional("ChecksumType", stored_kind(&info.attributes).map(Kind::name));
    })
}

#[cfg(test)]
mod tests {
    //! What Complete demands of the list of parts, on uploads made up in memory.

    use super::super::headers::stored_checksum;
    use super::*;
    use crate::checksum::of_bytes;
    use ringbolt_engine::types::UploadId;
    use s3s::S3ErrorCode;

    fn part(number: u16, size_bytes: u64) -> PartInfo {
        let etag = Etag { md5: [number as u8; 16], parts: 0 };
        PartInfo { number, size_bytes, modified_ms: 0, etag, checksum: Vec::new() }
    }

    fn upload(parts: Vec<PartInfo>, attributes: Attributes) -> UploadInfo {
        UploadInfo { id: UploadId(7), key: b"key".to_vec(), initiated_ms: 0, attributes, parts }
    }

    fn completed(number: i32) -> String {
        let etag = Etag { md5: [number as u8; 16], parts: 0 };
        format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
    }

    fn read(parts: &str) -> S3Result<Vec<Listed>> {
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        Ok(PartList::read(XmlReader::new(document.as_bytes(), 100_000)?)?.parts)
    }

    fn code<T>(result: S3Result<T>) -> Option<S3ErrorCode> {
        result.err().map(|error| error.code().clone())
    }

    #[test]
    fn the_list_is_complete_and_ascending() {
        assert_eq!(code(read("")), Some(S3ErrorCode::MalformedXML));
        assert_eq!(code(read("<Part/>")), Some(S3ErrorCode::MalformedXML));
        assert_eq!(code(read(&(completed(2) + &completed(1)))), Some(S3ErrorCode::InvalidPartOrder));
        assert_eq!(code(read(&(completed(1) + &completed(1)))), Some(S3ErrorCode::InvalidPartOrder));
        assert_eq!(code(read(&completed(0))), Some(S3ErrorCode::InvalidArgument));
        assert_eq!(read(&(completed(1) + &completed(5))).unwrap().len(), 2);
    }

    #[test]
    fn a_part_says_everything_once_and_its_checksum_is_known() {
        let part = |more: &str| read(&format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{more}</Part>"));
        for algorithm in [Algorithm::Crc32, Algorithm::XxHash128, Algorithm::Sha512] {
            let (element, value) = (algorithm.element(), of_bytes(algorithm, b"abc"));
            let given = format!("<{element}>{value}</{element}>");
            assert_eq!(part(&given).unwrap()[0].checksum, Some((algorithm, value)));
            assert_eq!(code(part(&format!("{given}{given}"))), Some(S3ErrorCode::MalformedXML));
            let bad = format!("<{element}>wrong</{element}>");
            assert_eq!(code(part(&bad)), Some(S3ErrorCode::InvalidRequest));
        }
        let two = "<ChecksumCRC32>NSRBwg==</ChecksumCRC32><ChecksumSHA1>qZk+NkcGgWq6PiVxeFDCbJzQ2J0=</ChecksumSHA1>";
        for bad in
            [two, "<ChecksumCRC23>AAAA</ChecksumCRC23>", "<ETag>f</ETag>", "<PartNumber>1</PartNumber>"]
        {
            assert_eq!(code(part(bad)), Some(S3ErrorCode::MalformedXML), "{bad}");
        }
        assert_eq!(part("<Size>5</Size><LastModified>now</LastModified>").unwrap().len(), 1);
    }

    #[test]
    fn parts_must_be_there_match_and_be_large_enough() {
        let listed =
            |numbers: &[i32]| read(&numbers.iter().copied().map(completed).collect::<String>()).unwrap();
        let stored = upload(vec![part(1, PART_BYTES_MIN), part(2, 9), part(3, 1)], Attributes::new());
        let choose = |listed: &[Listed]| choose_parts(&stored, listed, PART_BYTES_MIN);
        assert_eq!(choose(&listed(&[1, 2])).unwrap().len(), 2);
        assert_eq!(code(choose(&listed(&[1, 4]))), Some(S3ErrorCode::InvalidPart));
        assert_eq!(code(choose(&listed(&[1, 2, 3]))), Some(S3ErrorCode::EntityTooSmall));
        let other = read("<Part><PartNumber>1</PartNumber><ETag>ffff</ETag></Part>").unwrap();
        assert_eq!(code(choose(&other)), Some(S3ErrorCode::InvalidPart));
    }

    #[test]
    fn the_etag_is_the_md5_of_md5s() {
        let (one, two) = (part(1, 1), part(2, 1));
        let etag = etag_of_parts(&[&one, &two]);
        let mut bytes = one.etag.md5.to_vec();
        bytes.extend(two.etag.md5);
        assert_eq!(etag, Etag { md5: Md5::digest(&bytes), parts: 2 });
    }

    #[test]
    fn the_announced_checksum_must_be_that_of_the_parts() {
        let attributes = vec![
            (CHECKSUM_ALGORITHM.to_owned(), "CRC32".to_owned()),
            (CHECKSUM_TYPE.to_owned(), "FULL_OBJECT".to_owned()),
            ("content-type".to_owned(), "a/b".to_owned()),
        ];
        let mut parts = vec![part(1, 3), part(2, 3)];
        for (part, bytes) in parts.iter_mut().zip([b"abc", b"def"]) {
            part.checksum = PartChecksum::to_store(Algorithm::Crc32, &of_bytes(Algorithm::Crc32, bytes));
        }
        let stored = upload(parts, attributes);
        let chosen: Vec<&PartInfo> = stored.parts.iter().collect();
        let whole = of_bytes(Algorithm::Crc32, b"abcdef");
        let made = object_attributes(&stored, &chosen, Some((Algorithm::Crc32, whole.clone()))).unwrap();
        assert_eq!(stored_checksum(&made), Some((Algorithm::Crc32, whole.as_str())));
        assert_eq!(stored_kind(&made), Some(Kind::FullObject));
        assert_eq!(headers::find(&made, CHECKSUM_ALGORITHM), None);
        let wrong = Some((Algorithm::Crc32, "bad".to_owned()));
        assert_eq!(code(object_attributes(&stored, &chosen, wrong)), Some(S3ErrorCode::BadDigest));
    }

    #[test]
    fn checksum_types_that_can_not_be() {
        assert_eq!(asked_checksum(None, None).unwrap(), None);
        assert_eq!(
            asked_checksum(Some("CRC64NVME"), None).unwrap(),
            Some((Algorithm::Crc64Nvme, Kind::FullObject))
        );
        for (name, algorithm) in
            [("SHA256", Algorithm::Sha256), ("MD5", Algorithm::Md5), ("XXHASH64", Algorithm::XxHash64)]
        {
            assert_eq!(asked_checksum(Some(name), None).unwrap(), Some((algorithm, Kind::Composite)));
        }
        let name = UploadName { id: UploadId(1), checksum: Some((Algorithm::Crc32, Kind::FullObject)) };
        assert!(check_kind(name, None).is_ok() && check_kind(name, Some("FULL_OBJECT")).is_ok());
        assert_eq!(code(check_kind(name, Some("COMPOSITE"))), Some(S3ErrorCode::InvalidRequest));
        for (algorithm, kind) in [
            (None, Some("COMPOSITE")),
            (Some("MD4"), None),
            (Some("CRC32"), Some("HALF")),
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("XXHASH3"), Some("FULL_OBJECT")),
            (Some("CRC64NVME"), Some("COMPOSITE")),
        ] {
            assert_eq!(code(asked_checksum(algorithm, kind)), Some(S3ErrorCode::InvalidRequest));
        }
    }

    #[test]
    fn a_repeated_complete_is_known_by_upload_and_parts() {
        let info = ObjectInfo {
            size_bytes: 1,
            modified_ms: 0,
            etag: Etag::default(),
            attributes: Attributes::new(),
            parts: vec![part(1, 1)],
            upload: Some(UploadId(7)),
            generation: 1,
            ..ObjectInfo::default()
        };
        let name = |id| UploadName { id: UploadId(id), checksum: None };
        let listed = |number| read(&completed(number)).unwrap();
        assert!(completed_by(&info, name(7), &listed(1)));
        assert!(!completed_by(&info, name(8), &listed(1)));
        assert!(!completed_by(&info, name(7), &listed(2)));
    }

    #[test]
    fn part_numbers() {
        assert_eq!(part_number(1).ok(), Some(1));
        assert_eq!(part_number(10_000).ok(), Some(10_000));
        for bad in [0, -1, 10_001, 65_537] {
            assert!(part_number(bad).is_err(), "{bad}");
        }
    }

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
