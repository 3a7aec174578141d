//! PUT, GET and HEAD of one object.
//!
//! Invariant: [`FastGet`], the fast path of most GETs, and [`get_object`], the way through s3s,
//! share all that decides the answer ([`read_object`]).

use super::Server;
use super::access::{Caller, refuse_unsupported};
use super::answer_xml::StoredBytes;
use super::body::{Announced, body_of, receive};
use super::conditional::{Verdict, if_range_holds};
use super::error::{EngineResult, coded, invalid_request, not_implemented, precondition_failed, slow_down};
use super::headers;
use super::judge::OnKey;
use super::lenient_headers::{LenientHeaders, to_header};
use super::lifecycle::add_expiration;
use super::range::{self, Span};
use super::receipt;
use crate::access::Action;
use crate::checksum::Kind;
use crate::memory::ResponseMemory;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::{Bucket, ObjectInfo, ObjectMeta};
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::borrow::Cow;
use std::rc::Rc;

const CHECKSUM_MODE: &str = "x-amz-checksum-mode";
/// The headers of S3 that change nothing about a plain GET, or are judged by [`FastGet`].
const KNOWN: [&str; 4] = ["x-amz-date", "x-amz-content-sha256", "x-amz-user-agent", CHECKSUM_MODE];
/// The query by which some SDKs name the operation. It changes nothing.
const OPERATION_NAME: &str = "x-id=GetObject";
const KEY_BYTES_MAX: usize = 1024;
/// How many bytes of an object's details are within what every request reserves.
const DETAILS_BYTES_FREE: u64 = 4 << 10;
const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");

/// Answers PutObject: receives the body into the engine, verifies it, and commits the object.
pub async fn put_object(
    server: &Server,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    let on = OnKey::new(&input.key, None);
    server.allow_condition(&caller, &bucket, on, caller.lenient.conditions.if_match.as_deref()).await?;
    let announced = Announced::new(&caller.headers, &caller, None)?;
    let mut attributes = headers::attributes_of_request(&caller.headers, &caller.lenient)?;
    server.give(&caller, &bucket, &input.key, &mut attributes)?;
    let mut writer = server.core.put(bucket.id, input.key.as_bytes(), announced.length).await.s3()?;
    let receipt = receipt::ask(&caller, &mut writer);
    let received = receive(input.body, &mut writer, &announced, caller.trailers()).await?;
    if let Some((algorithm, checksum)) = received.checksum {
        headers::add_checksum(&mut attributes, algorithm, checksum, Some(Kind::FullObject));
    }
    let meta = ObjectMeta { etag: received.etag, attributes };
    let info = writer.commit(meta, caller.lenient.conditions.for_write()).await.s3()?;
    let mut answer = HeaderMap::new();
    receipt::add(&mut answer, receipt.and_then(|receipt| receipt.get()));
    headers::add_checksums(&mut answer, &info.attributes, Some(Kind::FullObject));
    add_expiration(&mut answer, &bucket, &input.key, &info);
    let version_id = server.show_written(&bucket, &input.key, &info);
    let output = PutObjectOutput { e_tag: Some(etag_of(&info)), version_id, ..PutObjectOutput::default() };
    Ok(S3Response::with_headers(output, answer))
}

/// Returns an object's ETag as s3s has it.
pub fn etag_of(info: &ObjectInfo) -> ETag {
    ETag::Strong(info.etag.to_string())
}

/// Makes the error for a key that is not there: 404.
pub fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

/// The part of an object that an answer shows, and how it shows it.
struct View {
    span: Span,
    partial: bool,
    headers: HeaderMap,
}

/// Judges the conditions, the range and the part number of a GET or HEAD.
fn view(caller: &Caller, info: &ObjectInfo, part_number: Option<i32>, checksums: bool) -> S3Result<View> {
    match caller.lenient.conditions.judge(info) {
        Verdict::Proceed => {}
        Verdict::PreconditionFailed => return Err(precondition_failed()),
        Verdict::NotModified => return Err(not_modified(info)),
    }
    let whole = Span { offset: 0, length: info.size_bytes };
    let mut headers = headers::of_object(info);
    let kind = headers::stored_kind(&info.attributes);
    let if_range = caller.lenient.if_range.as_deref();
    let counts = if_range.is_none_or(|validator| if_range_holds(validator, info));
    let range = caller.lenient.range.as_deref().filter(|_| counts).and_then(range::parse);
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
            Some(part) => headers::add_part_checksum(&mut headers, part, kind),
            // The checksum of the whole says nothing about a range of it.
            None if span == whole => headers::add_checksums(&mut headers, &info.attributes, kind),
            None => {}
        }
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(span.length));
    Ok(View { span, partial, headers })
}

/// Returns where part `number` lies. An object that is stored in one piece has part 1 only.
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

/// Makes the error for a part that an object in one piece does not have: 416.
fn invalid_part_number() -> S3Error {
    let message = "The requested partnumber is not satisfiable";
    coded("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, message)
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

/// Fails if a reader brings a key for decryption: nothing is encrypted.
fn refuse_keys(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption-customer-algorithm") {
        return Err(not_implemented("Server-side encryption"));
    }
    Ok(())
}

/// Returns whether an answer shows checksums. `mode` is the value of `x-amz-checksum-mode`.
pub fn wants_checksums(mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"))
}

/// What the answer to a GET is made of.
pub struct ObjectAnswer {
    pub headers: HeaderMap,
    /// The value of Content-Range, if the answer is not the whole object.
    pub content_range: Option<String>,
    pub body: Body,
    /// The memory of an object that takes more of it while it is sent than every request reserves.
    pub held: Option<ResponseMemory>,
}

/// What a GET asks for beside its headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    pub version: Option<&'a str>,
    pub part_number: Option<i32>,
    pub checksums: bool,
}

/// Opens the object `key` for a GET, judges what `caller` set as conditions and range, and reads
/// its first bytes.
pub async fn read_object(
    server: &Server,
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    asked: Asked<'_>,
) -> S3Result<ObjectAnswer> {
    let on = OnKey::new(key, asked.version);
    let mut reader = server.open_object(caller, on.reads(), bucket, on).await?;
    if asked.part_number.is_some() {
        reader.load_parts().await.s3()?;
    }
    let View { span, partial, mut headers } =
        view(caller, reader.info(), asked.part_number, asked.checksums)?;
    server.add_version(&mut headers, bucket, key, (reader.info().generation, reader.info().is_null));
    if asked.version.is_none() {
        add_expiration(&mut headers, bucket, key, reader.info());
    }
    let content_range = partial.then(|| span.content_range(reader.info().size_bytes));
    if partial {
        reader.set_range(span.offset, span.length);
    }
    let bytes = reader.forget_details();
    let reservation = (bytes > DETAILS_BYTES_FREE).then(|| server.settings.memory.reserve(bytes)).transpose();
    let held = reservation.map_err(slow_down)?.map(ResponseMemory::new);
    Ok(ObjectAnswer { headers, content_range, body: body_of(reader, span.length).await?, held })
}

/// Answers GetObject, as s3s calls it. [`FastGet`] answers most requests before they get there.
pub async fn get_object(
    server: &Server,
    mut request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    refuse_keys(&caller.headers)?;
    let overrides = headers::overrides(request.uri.query(), caller.context.signer.is_some())?;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let asked = Asked {
        version: input.version_id.as_deref(),
        part_number: input.part_number,
        checksums: wants_checksums(input.checksum_mode.as_ref().map(ChecksumMode::as_str)),
    };
    let mut answer = read_object(server, &caller, &bucket, &input.key, asked).await?;
    answer.headers.extend(overrides);
    let output = GetObjectOutput {
        content_range: answer.content_range,
        body: Some(answer.body.into()),
        ..GetObjectOutput::default()
    };
    let mut response = S3Response::with_headers(output, answer.headers);
    response.extensions.insert(StoredBytes);
    if let Some(held) = answer.held {
        response.extensions.insert(held);
    }
    Ok(response)
}

/// Answers HeadObject.
pub async fn head_object(
    server: &Server,
    mut request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    refuse_keys(&caller.headers)?;
    let overrides = headers::overrides(request.uri.query(), caller.context.signer.is_some())?;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let asked = Asked {
        version: input.version_id.as_deref(),
        part_number: input.part_number,
        checksums: wants_checksums(input.checksum_mode.as_ref().map(ChecksumMode::as_str)),
    };
    let ObjectAnswer { mut headers, content_range, .. } =
        describe_object(server, &caller, &bucket, &input.key, asked).await?;
    headers.extend(overrides);
    Ok(S3Response::with_headers(HeadObjectOutput { content_range, ..HeadObjectOutput::default() }, headers))
}

/// Finds the object `key` for a HEAD, and judges what `caller` set as conditions and range. The answer
/// has no body.
pub async fn describe_object(
    server: &Server,
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    asked: Asked<'_>,
) -> S3Result<ObjectAnswer> {
    let on = OnKey::new(key, asked.version);
    let info = match asked.part_number {
        None => server.find_object(caller, on.reads(), bucket, on).await?,
        Some(_) => server.find_object_and_parts(caller, on.reads(), bucket, on).await?,
    };
    let View { span, partial, mut headers } = view(caller, &info, asked.part_number, asked.checksums)?;
    server.add_version(&mut headers, bucket, key, (info.generation, info.is_null));
    if asked.version.is_none() {
        add_expiration(&mut headers, bucket, key, &info);
    }
    let content_range = partial.then(|| span.content_range(info.size_bytes));
    Ok(ObjectAnswer { headers, content_range, body: Body::empty(), held: None })
}

/// The fast path of the most frequent request: GET of an object by path, with nothing in the query
/// that means anything.
///
/// Only what s3s would hand to [`get_object`] with the same meaning is answered here, by the same
/// code behind it; whatever needs judging (virtual hosts, names that are not valid, versions, keys
/// for encryption, odd headers) is left to s3s. What it saves was measured:
/// docs/decisions/0003-plain-get.md.
pub struct FastGet<'a> {
    bucket: Rc<Bucket>,
    key: Cow<'a, str>,
    checksums: bool,
}

impl<'a> FastGet<'a> {
    /// Returns the GET that the request is, or None if it is another request or must be looked at
    /// closely.
    ///
    /// `uri` is that of the request.
    pub fn of(server: &Server, request: &Request<Body>, uri: &'a Uri) -> Option<Self> {
        let plain = request.method() == Method::GET
            && uri.query().is_none_or(|query| query == OPERATION_NAME)
            && server.domains.is_none()
            && request.body().is_end_stream()
            && request.headers().keys().all(is_harmless);
        let (bucket, key) = uri.path().strip_prefix('/').filter(|_| plain)?.split_once('/')?;
        let key = percent_decode_str(key).decode_utf8().ok()?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return None;
        }
        // No bucket has a name that needs decoding.
        let bucket = server.core.bucket(bucket)?;
        let mode = request.headers().get(CHECKSUM_MODE).and_then(|value| value.to_str().ok());
        Some(Self { bucket, key, checksums: wants_checksums(mode) })
    }

    /// Answers the request as [`get_object`] does through s3s.
    pub async fn answer(
        self,
        server: &Server,
        request: &mut Request<Body>,
        lenient: LenientHeaders,
    ) -> S3Result<Response<Body>> {
        let caller = Caller::of_get(request, lenient);
        let on = OnKey::new(&self.key, None);
        server.allow_on_key(&caller, Action::GetObject, &self.bucket, on).await?;
        let asked = Asked { checksums: self.checksums, ..Asked::default() };
        let answer = read_object(server, &caller, &self.bucket, &self.key, asked).await?;
        let ObjectAnswer { headers, content_range, body, held } = answer;
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        if let Some(held) = held {
            response.extensions_mut().insert(held);
        }
        if let Some(range) = content_range.and_then(|range| to_header(&range)) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        Ok(response)
    }
}

fn is_harmless(name: &HeaderName) -> bool {
    let text = name.as_str();
    if text.starts_with("x-amz-") {
        return KNOWN.contains(&text);
    }
    // These headers describe a body, which a GET has not, and s3s reads them all the same. (A
    // length can only be 0 here.)
    *name != header::CONTENT_TYPE && *name != header::TRANSFER_ENCODING
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
