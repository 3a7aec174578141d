//! Put, get and head of one object.

use super::Server;
use super::access::{Caller, check_version, refuse_unbuilt};
use super::checksum::Kind;
use super::conditional::{Verdict, if_range_holds};
use super::error::{EngineResult, invalid_request, not_implemented, precondition_failed, slow_down};
use super::headers;
use super::preamble::to_header;
use super::range::{self, Span};
use super::receive::{Announced, receive};
use super::send::body_of;
use super::xml::StoredBytes;
use crate::memory::Held;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ringbolt_engine::types::{Bucket, ObjectInfo, ObjectMeta};
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

/// Within what every request takes.
const DETAILS_BYTES_FREE: u64 = 4 << 10;
const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");

pub async fn put_object(
    server: &Server,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    refuse_unbuilt(&request.headers)?;
    let announced = Announced::new(&request.headers, &caller, None)?;
    let mut attributes = headers::attributes_of_request(&request.headers, &caller.preamble)?;
    let mut writer = server.core.put(bucket.id, input.key.as_bytes(), announced.length).await.s3()?;
    let received = receive(input.body, &mut writer, &announced, &caller.trailers).await?;
    if let Some((algorithm, checksum)) = received.checksum {
        headers::add_checksum(&mut attributes, algorithm, checksum, Some(Kind::FullObject));
    }
    let meta = ObjectMeta { etag: received.etag, attributes };
    let info = writer.commit(meta, caller.preamble.conditions.for_write()).await.s3()?;
    let mut answer = HeaderMap::new();
    headers::add_checksums(&mut answer, &info.attributes, Some(Kind::FullObject));
    let output = PutObjectOutput { e_tag: Some(etag_of(&info)), ..PutObjectOutput::default() };
    Ok(S3Response::with_headers(output, answer))
}

pub fn etag_of(info: &ObjectInfo) -> ETag {
    ETag::Strong(info.etag.to_string())
}

pub fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

/// What part of an object an answer shows.
struct View {
    span: Span,
    partial: bool,
    headers: HeaderMap,
}

/// Judges conditions, range and part number of a GET or HEAD.
fn view(caller: &Caller, info: &ObjectInfo, part_number: Option<i32>, checksums: bool) -> S3Result<View> {
    match caller.preamble.conditions.judge(info) {
        Verdict::Proceed => {}
        Verdict::PreconditionFailed => return Err(precondition_failed()),
        Verdict::NotModified => return Err(not_modified(info)),
    }
    let whole = Span { offset: 0, length: info.size_bytes };
    let mut headers = headers::of_object(info);
    let kind = headers::stored_kind(&info.attributes);
    let if_range = caller.preamble.if_range.as_deref();
    let counts = if_range.is_none_or(|validator| if_range_holds(validator, info));
    let range = caller.preamble.range.as_deref().filter(|_| counts).and_then(range::parse);
    let (span, partial) = match (part_number, range) {
        (Some(_), Some(_)) => {
            return Err(invalid_request("Cannot specify both Range header and partNumber query parameter"));
        }
        (Some(number), None) => {
            let span = part_span(info, number)?;
            if !info.parts.is_empty() {
                headers.insert(PARTS_COUNT, HeaderValue::from(info.parts.len()));
            }
            (span, span.length > 0)
        }
        (None, Some(range)) => {
            let span = range.resolve(info.size_bytes).map_err(|_| invalid_range(info.size_bytes))?;
            (span, span.length > 0)
        }
        (None, None) => (whole, false),
    };
    if checksums {
        match part_number.and_then(|number| info.parts.iter().find(|part| i32::from(part.number) == number)) {
            Some(part) => headers::add_checksums(&mut headers, &part.attributes, kind),
            // The checksum of the whole says nothing about a range of it.
            None if span == whole => headers::add_checksums(&mut headers, &info.attributes, kind),
            None => {}
        }
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(span.length));
    Ok(View { span, partial, headers })
}

/// Where part `number` lies. An object stored in one piece has part 1 only.
fn part_span(info: &ObjectInfo, number: i32) -> S3Result<Span> {
    if !(1..=10_000).contains(&number) {
        return Err(super::error::invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
        ));
    }
    if info.parts.is_empty() {
        return match number {
            1 => Ok(Span { offset: 0, length: info.size_bytes }),
            _ => Err(invalid_part_number()),
        };
    }
    let mut offset = 0;
    for part in &info.parts {
        if i32::from(part.number) == number {
            return Ok(Span { offset, length: part.size_bytes });
        }
        offset += part.size_bytes;
    }
    Err(s3_error!(InvalidPart, "The requested partnumber is not satisfiable"))
}

/// 416 for a part that an object stored in one piece has not.
fn invalid_part_number() -> S3Error {
    let code = S3ErrorCode::Custom("InvalidPartNumber".into());
    let mut error = S3Error::with_message(code, "The requested partnumber is not satisfiable");
    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
    error
}

fn not_modified(info: &ObjectInfo) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    headers::add_validators(&mut headers, info);
    error.set_headers(headers);
    error
}

fn invalid_range(size_bytes: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Some(value) = to_header(&format!("bytes */{size_bytes}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// A reader can not decrypt what was never encrypted.
fn refuse_keys(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption-customer-algorithm") {
        return Err(not_implemented("Server-side encryption"));
    }
    Ok(())
}

/// `mode` is the value of `x-amz-checksum-mode`.
pub fn wants_checksums(mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"))
}

/// What a GET shows of its object.
pub struct Shown {
    pub headers: HeaderMap,
    /// The value of Content-Range when it is not the whole object.
    pub content_range: Option<String>,
    pub body: Body,
    /// Of an object that takes more memory while it is sent than every request has.
    pub held: Option<Held>,
}

/// Opens the object `key` for a GET, and judges what `caller` set as conditions and range.
pub async fn show(
    server: &Server,
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    part_number: Option<i32>,
    checksums: bool,
) -> S3Result<Shown> {
    let reader = server.core.get(bucket.id, key.as_bytes()).await.s3()?;
    let mut reader = reader.ok_or_else(no_such_key)?;
    let View { span, partial, headers } = view(caller, reader.info(), part_number, checksums)?;
    let content_range = partial.then(|| span.content_range(reader.info().size_bytes));
    if partial {
        reader.set_range(span.offset, span.length);
    }
    let bytes = reader.forget_details();
    let share = (bytes > DETAILS_BYTES_FREE).then(|| server.settings.memory.take(bytes)).transpose();
    let held = share.map_err(slow_down)?.map(Held::new);
    Ok(Shown { headers, content_range, body: body_of(reader, span.length).await?, held })
}

pub async fn get_object(
    server: &Server,
    mut request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    refuse_keys(&request.headers)?;
    let overrides = headers::overrides(request.uri.query(), caller.account.is_some())?;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    check_version(input.version_id.as_deref())?;
    let checksums = wants_checksums(input.checksum_mode.as_ref().map(ChecksumMode::as_str));
    let mut shown = show(server, &caller, &bucket, &input.key, input.part_number, checksums).await?;
    shown.headers.extend(overrides);
    let output = GetObjectOutput {
        content_range: shown.content_range,
        body: Some(shown.body.into()),
        ..GetObjectOutput::default()
    };
    let mut response = S3Response::with_headers(output, shown.headers);
    response.extensions.insert(StoredBytes);
    if let Some(held) = shown.held {
        response.extensions.insert(held);
    }
    Ok(response)
}

pub async fn head_object(
    server: &Server,
    mut request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    refuse_keys(&request.headers)?;
    let overrides = headers::overrides(request.uri.query(), caller.account.is_some())?;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    check_version(input.version_id.as_deref())?;
    let info = server.core.head(bucket.id, input.key.as_bytes()).await.s3()?.ok_or_else(no_such_key)?;
    let checksums = wants_checksums(input.checksum_mode.as_ref().map(ChecksumMode::as_str));
    let View { span, partial, mut headers } = view(&caller, &info, input.part_number, checksums)?;
    headers.extend(overrides);
    let content_range = partial.then(|| span.content_range(info.size_bytes));
    Ok(S3Response::with_headers(HeadObjectOutput { content_range, ..HeadObjectOutput::default() }, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_in_one_piece_has_part_one_alone() {
        let info = ObjectInfo { size_bytes: 9, ..ObjectInfo::default() };
        assert_eq!(part_span(&info, 1).ok(), Some(Span { offset: 0, length: 9 }));
        for number in [2, 10_000] {
            let error = part_span(&info, number).expect_err("there is no such part");
            assert_eq!(error.code().as_str(), "InvalidPartNumber");
            assert_eq!(error.status_code(), Some(StatusCode::RANGE_NOT_SATISFIABLE));
        }
        for number in [0, -1, 10_001] {
            assert_eq!(
                part_span(&info, number).map_err(|error| error.code().clone()),
                Err(S3ErrorCode::InvalidArgument)
            );
        }
    }
}
