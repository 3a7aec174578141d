//! The life of a multipart upload: create, complete, abort.
//!
//! Invariants: Complete copies no data; it names the parts and the engine makes them the object in one
//! record. A repeated Complete of the upload that made the current object answers as the first one did.

use super::Server;
use super::access::{Caller, refuse_unbuilt};
use super::attributes::{checksum_algorithm, checksum_type};
use super::checksum::{Algorithm, Kind, of_parts};
use super::conditional::bare_etag;
use super::declared::{bad_digest, header_of};
use super::document::Document;
use super::error::{EngineResult, invalid_request, no_such_upload};
use super::headers::{self, CHECKSUM_ALGORITHM, CHECKSUM_TYPE, stored_checksum, stored_kind};
use super::host::absolute_uri;
use super::parts::part_number;
use super::uploads::{UploadName, checksum_of};
use super::xml_reader::{XmlReader, malformed};
use super::xml_writer::{Written, XmlWriter};
use crate::auth::hash::Md5;
use ringbolt_engine::EngineError;
use ringbolt_engine::types::{Attributes, Etag, ObjectInfo, ObjectMeta, PartInfo, UploadInfo};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// Of every part but the last.
const PART_BYTES_MIN: u64 = 5 << 20;

pub async fn create_multipart_upload(
    server: &Server,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    refuse_unbuilt(&request.headers)?;
    let mut attributes = headers::attributes_of_request(&request.headers, &caller.preamble)?;
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

pub async fn abort_multipart_upload(
    server: &Server,
    mut request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let upload = UploadName::parse(&input.upload_id)?;
    server.core.abort_upload(bucket.id, input.key.as_bytes(), upload.id).await.s3()?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub async fn complete_multipart_upload(
    server: &Server,
    mut request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let name = UploadName::parse(&input.upload_id)?;
    let Some(Document::Complete(list)) = Document::take(&mut request.extensions) else {
        return Err(malformed("the list of parts is missing"));
    };
    let listed = list.parts.as_slice();
    let expected = header_of(&request.headers, Algorithm::is_value_of_parts)?;
    check_kind(name, input.checksum_type.as_ref().map(ChecksumType::as_str))?;
    let location = absolute_uri(server.domains.as_ref(), &request.headers, &input.bucket, &input.key);
    let key = input.key.as_bytes();
    let upload = match server.core.upload(bucket.id, key, name.id).await {
        Ok(upload) => upload,
        Err(EngineError::NoSuchUpload) => {
            let current = server.core.head(bucket.id, key).await.s3()?;
            let info = current.filter(|info| completed_by(info, name, listed)).ok_or_else(no_such_upload)?;
            return Ok(answered(answer(&info, &location, &input.bucket, &input.key)));
        }
        Err(error) => return Err(error).s3(),
    };
    let parts = choose_parts(&upload, listed)?;
    check_size(&parts, input.mpu_object_size)?;
    let attributes = object_attributes(&upload, &parts, expected)?;
    let meta = ObjectMeta { etag: etag_of_parts(&parts), attributes };
    let chosen = parts.iter().map(|part| (part.number, part.etag)).collect();
    let condition = caller.preamble.conditions.for_write();
    let info = server.core.complete_upload(bucket.id, key, name.id, chosen, meta, condition).await.s3()?;
    Ok(answered(answer(&info, &location, &input.bucket, &input.key)))
}

fn answered(written: Written) -> S3Response<CompleteMultipartUploadOutput> {
    let mut response = S3Response::new(CompleteMultipartUploadOutput::default());
    response.extensions.insert(written);
    response
}

/// A Complete that names a type names that of its upload.
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

/// The document of a CompleteMultipartUpload: at least one part, and their numbers ascend, so that there are at most as
/// many as there are numbers.
#[derive(Debug)]
pub struct PartList {
    pub parts: Vec<Listed>,
}

impl PartList {
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

/// A part as the client lists it in Complete.
#[derive(Debug)]
pub struct Listed {
    number: u16,
    etag: String,
    checksum: Option<(Algorithm, String)>,
}

impl Listed {
    /// Clients give more of a part than is asked for; what is no checksum does not matter.
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

/// The stored parts that the list names.
fn choose_parts<'a>(upload: &'a UploadInfo, listed: &[Listed]) -> S3Result<Vec<&'a PartInfo>> {
    let mut parts = Vec::with_capacity(listed.len());
    for wanted in listed {
        let found = upload.parts.binary_search_by_key(&wanted.number, |part| part.number);
        let part = found.map(|index| &upload.parts[index]).map_err(|_| invalid_part(wanted.number))?;
        if part.etag.to_string() != wanted.etag {
            return Err(invalid_part(wanted.number));
        }
        if let (Some((algorithm, given)), Some((stored_algorithm, stored))) =
            (&wanted.checksum, stored_checksum(&part.attributes))
            && (*algorithm != stored_algorithm || given != stored)
        {
            return Err(invalid_part(wanted.number));
        }
        parts.push(part);
    }
    let all_but_last = &parts[..parts.len() - 1];
    if let Some(small) = all_but_last.iter().find(|part| part.size_bytes < PART_BYTES_MIN) {
        return Err(s3_error!(
            EntityTooSmall,
            "Part {} has {} bytes; every part but the last must have at least {PART_BYTES_MIN}",
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

/// The attributes of the finished object, with its checksum compared to what the client expects.
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
        match stored_checksum(&part.attributes) {
            Some((stored, sum)) if stored == algorithm => sums.push((sum, part.size_bytes)),
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

/// Whether `info` is what completing this upload with these parts made.
fn completed_by(info: &ObjectInfo, name: UploadName, listed: &[Listed]) -> bool {
    let same = |(part, listed): (&PartInfo, &Listed)| {
        part.number == listed.number && part.etag.to_string() == listed.etag
    };
    info.upload == Some(name.id)
        && info.parts.len() == listed.len()
        && info.parts.iter().zip(listed).all(same)
}

fn answer(info: &ObjectInfo, location: &str, bucket: &str, key: &str) -> Written {
    XmlWriter::document("CompleteMultipartUploadResult", |result| {
        result.text("Location", location);
        result.text("Bucket", bucket);
        result.text("Key", key);
        result.etag(info.etag);
        result.checksum(&info.attributes);
        result.optional("ChecksumType", stored_kind(&info.attributes).map(Kind::name));
    })
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
