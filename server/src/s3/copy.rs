//! CopyObject and UploadPartCopy: the bytes of a stored object become another object or a part.
//!
//! Invariant: the source is read through the engine's verification like any GET. Its MD5 is taken
//! over where the whole of a single-piece object is copied, and computed anew otherwise.

use super::Server;
use super::access::{Caller, refuse_unsupported};
use super::answer_xml::XmlAnswer;
use super::body::{self, BODY_BYTES_MAX, Digests};
use super::conditional::Verdict;
use super::declared::header_of;
use super::error::{EngineResult, invalid_argument, invalid_request, not_implemented, precondition_failed};
use super::given::{class_by_headers, tags_by_headers};
use super::headers::{self, CHECKSUM_ALGORITHM, REDIRECT_LOCATION, stored_checksum, stored_kind};
use super::judge::OnKey;
use super::lifecycle::shown_expiration;
use super::multipart::{UploadName, part_checksum, part_number};
use super::object_lock::lock_by_headers;
use super::range::{self, ByteRange, Span};
use super::receipt;
use crate::access::Action;
use crate::checksum::{Algorithm, HEADER_PREFIX as CHECKSUM_PREFIX, Kind};
use http::HeaderMap;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::ObjectReader;
use ringbolt_engine::types::traits::{tags, write_tags};
use ringbolt_engine::types::{
    Attributes, Bucket, Etag, MetadataChange, ObjectInfo, ObjectMeta, Versioning, WriteCondition,
};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::rc::Rc;

/// The source of a copy, opened and found to meet its conditions.
struct Source {
    bucket: Rc<Bucket>,
    key: String,
    /// The version that the request names.
    of_version: Option<String>,
    /// The id of the version, where the source's bucket keeps versions.
    version_id: Option<String>,
    reader: ObjectReader,
}

impl Source {
    /// Fails unless the caller may read the tags of the source.
    fn allow_tags(&self, server: &Server, caller: &Caller) -> S3Result<()> {
        let on = OnKey::new(&self.key, self.of_version.as_deref());
        let action = on.action(Action::GetObjectTagging, Action::GetObjectVersionTagging);
        server.allow_with(caller, action, &self.bucket, (on, self.reader.info()))
    }
}

/// Returns a source as policies name it.
fn shown_source(source: &CopySource) -> Option<String> {
    let CopySource::Bucket { bucket, key, version_id } = source else { return None };
    let OnKey { key, version } = OnKey::new(key, version_id.as_deref());
    Some(match version {
        None => format!("{bucket}/{key}"),
        Some(version) => format!("{bucket}/{key}?versionId={version}"),
    })
}

async fn open_source(
    server: &Server,
    caller: &Caller,
    source: &CopySource,
    expected_owner: Option<&str>,
) -> S3Result<Source> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("A copy source other than bucket and key"));
    };
    let on = OnKey::new(key, version_id.as_deref());
    let bucket = server.source_bucket(caller, (bucket, on), expected_owner).await?;
    let reader = server.open_object(caller, on.reads(), &bucket, on).await.map_err(of_source)?;
    // For a copy, "not modified" is a failed condition like any other.
    if caller.lenient.source_conditions.judge(reader.info()) != Verdict::Proceed {
        return Err(precondition_failed());
    }
    let (generation, is_null) = (reader.info().generation, reader.info().is_null);
    let version_id_shown = (bucket.versioning != Versioning::Off)
        .then(|| server.show_version(&bucket, key.as_bytes(), generation, is_null));
    let of_version = on.version.map(str::to_owned);
    Ok(Source { bucket, key: key.to_string(), of_version, version_id: version_id_shown, reader })
}

/// Makes the error for a source that can not be read. A delete marker that the request names is a
/// wrong request here, while to a read it is a method that is not allowed.
fn of_source(error: S3Error) -> S3Error {
    match error.code() {
        S3ErrorCode::MethodNotAllowed => invalid_request("The version of the copy source is a delete marker"),
        _ => error,
    }
}

/// Answers CopyObject.
pub async fn copy_object(
    server: &Server,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let mut caller = Caller::take(&mut request);
    let input = request.input;
    let replace = is_replace(input.metadata_directive.as_ref().map(MetadataDirective::as_str))?;
    let replace_tags = is_replace(input.tagging_directive.as_ref().map(TaggingDirective::as_str))?;
    caller.said.copy_source = shown_source(&input.copy_source);
    let source_owner = input.expected_source_bucket_owner.as_deref();
    let mut source = open_source(server, &caller, &input.copy_source, source_owner).await?;
    if !replace_tags {
        // The tags that the copy will have, whatever the headers say.
        let pairs = tags(&source.reader.info().attributes);
        caller.said.tags = Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    }
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    refuse_checksum(&caller.headers)?;
    server.allow_given(&caller, &bucket, &input.key)?;
    let on = OnKey::new(&input.key, None);
    server.allow_condition(&caller, &bucket, on, caller.lenient.conditions.if_match.as_deref()).await?;
    let itself = source.bucket.id == bucket.id && source.key == input.key;
    // Where the bucket keeps versions, such a copy brings an old version back.
    if itself && bucket.versioning == Versioning::Off && !replace && !changes(&caller.headers) {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let info = source.reader.info().clone();
    if info.size_bytes > BODY_BYTES_MAX {
        return Err(invalid_request(format!(
            "The specified copy source has {} bytes; the most allowed is {BODY_BYTES_MAX}",
            info.size_bytes
        )));
    }
    let mut attributes = if replace {
        headers::attributes_of_request(&caller.headers, &caller.lenient)?
    } else {
        let mut described = headers::described(&info.attributes);
        headers::add_redirection(&caller.headers, &mut described)?;
        described
    };
    if replace_tags {
        tags_by_headers(&caller.headers, &mut attributes)?;
    } else if tags(&info.attributes).next().is_some() {
        source.allow_tags(server, &caller)?;
        write_tags(&mut attributes, tags(&info.attributes));
    }
    class_by_headers(&caller.headers, server.settings.storage_classes, &mut attributes)?;
    lock_by_headers(&caller.headers, &bucket, &mut attributes)?;
    server.own_and_share(&caller, &bucket, &input.key, &mut attributes)?;
    let asked = asked_algorithm(input.checksum_algorithm.as_ref())?;
    let (wanted, known) = plan(&info, asked);
    let condition = caller.lenient.conditions.for_write();
    if itself && replace && bucket.versioning == Versioning::Off && wanted == Wanted::default() {
        let with_checksums = attributes.iter().cloned().chain(checksums_of(&info)).collect();
        // If the object was changed meanwhile, or its bucket keeps versions now, it is copied.
        if let Some(updated) = update(server, &bucket, &source, (with_checksums, condition.clone())).await? {
            let expiration = shown_expiration(&bucket, &input.key, &updated);
            let mut response = copied(&updated, (None, None), expiration);
            let key = input.key.as_bytes();
            let durability = receipt::of_version(server, &caller, (bucket.id, key), &updated).await;
            receipt::add(&mut response.headers, durability);
            return Ok(response);
        }
    }
    let mut writer = server.core.put(bucket.id, input.key.as_bytes(), info.size_bytes).await.s3()?;
    let receipt = receipt::ask(&caller, &mut writer);
    let digested = body::copy(&mut source.reader, &mut writer, wanted.digests()).await?;
    let etag = digested.md5.map_or(info.etag, |md5| Etag { md5, parts: 0 });
    if let Some((algorithm, checksum)) = known.or(digested.checksum) {
        headers::add_checksum(&mut attributes, algorithm, checksum, Some(Kind::FullObject));
    }
    let info = writer.commit(ObjectMeta { etag, attributes }, condition).await.s3()?;
    let version_id = server.show_written(&bucket, &input.key, &info);
    let expiration = shown_expiration(&bucket, &input.key, &info);
    let mut response = copied(&info, (version_id, source.version_id), expiration);
    receipt::add(&mut response.headers, receipt.and_then(|receipt| receipt.get()));
    Ok(response)
}

fn copied(
    info: &ObjectInfo,
    (version_id, copy_source_version_id): (Option<String>, Option<String>),
    expiration: Option<String>,
) -> S3Response<CopyObjectOutput> {
    let output =
        CopyObjectOutput { version_id, copy_source_version_id, expiration, ..CopyObjectOutput::default() };
    let mut response = S3Response::new(output);
    response.extensions.insert(result(info));
    response
}

/// Gives an object other metadata, where nothing has to be computed of its bytes and no version of it
/// is kept: they stay where they are. Returns None if that is not so any more.
async fn update(
    server: &Server,
    bucket: &Bucket,
    source: &Source,
    (attributes, condition): (Attributes, WriteCondition),
) -> S3Result<Option<ObjectInfo>> {
    let info = source.reader.info();
    let change = MetadataChange {
        generation: info.generation,
        if_changed: Some(info.metadata_change),
        attributes: attributes.clone(),
        touches: true,
        bypass_governance: false,
        unless_versioned: true,
    };
    let key = source.key.as_bytes();
    match server.core.update_metadata(bucket.id, key, change, condition).await {
        Ok(modified_ms) => Ok(Some(ObjectInfo { attributes, modified_ms, ..info.clone() })),
        Err(EngineError::Superseded) => Ok(None),
        Err(error) => Err(error).s3(),
    }
}

/// Returns the checksum that is kept with an object, as attributes.
fn checksums_of(info: &ObjectInfo) -> Attributes {
    let is_checksum = |name: &str| name.starts_with(CHECKSUM_PREFIX);
    info.attributes.iter().filter(|(name, _)| is_checksum(name)).cloned().collect()
}

/// Fails if a copy comes with a checksum. It has no body that the checksum could be compared with.
fn refuse_checksum(headers: &HeaderMap) -> S3Result<()> {
    match header_of(headers, |_, _| true)? {
        None => Ok(()),
        Some((algorithm, _)) => Err(invalid_request(format!(
            "The {} header can not be used with a copy; name an algorithm to have the checksum computed",
            algorithm.header()
        ))),
    }
}

/// Returns whether a copy of an object onto itself changes more than its time. The storage class
/// counts even if it is the same: that is how clients ask S3 to write an object anew. Other headers
/// that would count are refused as not built.
fn changes(headers: &HeaderMap) -> bool {
    ["x-amz-storage-class", CHECKSUM_ALGORITHM, REDIRECT_LOCATION]
        .iter()
        .any(|name| headers.contains_key(*name))
}

fn result(info: &ObjectInfo) -> XmlAnswer {
    XmlAnswer::document("CopyObjectResult", |result| {
        result.time("LastModified", info.modified_ms);
        result.etag(info.etag);
        result.checksum(&info.attributes);
        result.optional("ChecksumType", stored_kind(&info.attributes).map(Kind::name));
    })
}

/// What has to be computed of an object while it is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    md5: bool,
    checksum: Option<Algorithm>,
}

impl Wanted {
    fn digests(self) -> Digests {
        Digests::new(self.md5, self.checksum)
    }
}

/// Returns what to compute while a whole object is copied, and the checksum that is known already.
fn plan(info: &ObjectInfo, asked: Option<Algorithm>) -> (Wanted, Option<(Algorithm, String)>) {
    let md5 = info.etag.parts > 0;
    let full = stored_kind(&info.attributes) == Some(Kind::FullObject);
    match (stored_checksum(&info.attributes), asked) {
        (Some((stored, checksum)), asked) if full && asked.is_none_or(|asked| asked == stored) => {
            (Wanted { md5, checksum: None }, Some((stored, checksum.to_owned())))
        }
        (stored, asked) => {
            let checksum = asked.or(stored.map(|(algorithm, _)| algorithm));
            (Wanted { md5, checksum }, None)
        }
    }
}

fn asked_algorithm(asked: Option<&ChecksumAlgorithm>) -> S3Result<Option<Algorithm>> {
    let Some(name) = asked.map(ChecksumAlgorithm::as_str) else { return Ok(None) };
    match Algorithm::from_name(name) {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(invalid_request(format!("Checksum algorithm provided is unsupported: {name}"))),
    }
}

fn is_replace(directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => {
            Err(invalid_argument(format!("Unknown directive {other}; it must be COPY or REPLACE")))
        }
    }
}

/// Answers UploadPartCopy.
pub async fn upload_part_copy(
    server: &Server,
    mut request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let mut caller = Caller::take(&mut request);
    let input = request.input;
    caller.said.copy_source = shown_source(&input.copy_source);
    let target = (input.bucket.as_str(), input.key.as_str(), None);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    refuse_checksum(&caller.headers)?;
    let number = part_number(input.part_number)?;
    let upload = UploadName::parse(&input.upload_id)?;
    let source_owner = input.expected_source_bucket_owner.as_deref();
    let mut source = open_source(server, &caller, &input.copy_source, source_owner).await?;
    let span = source_span(caller.lenient.copy_source_range.as_deref(), source.reader.info().size_bytes)?;
    if span.length > BODY_BYTES_MAX {
        return Err(s3_error!(
            EntityTooLarge,
            "The part would have {} bytes; the most is {BODY_BYTES_MAX}",
            span.length
        ));
    }
    let whole = span.length == source.reader.info().size_bytes;
    let known = Some(source.reader.info().etag).filter(|etag| whole && etag.parts == 0);
    if !whole {
        source.reader.set_range(span.offset, span.length);
    }
    let key = input.key.as_bytes();
    let mut writer = server.core.put_part(bucket.id, key, upload.id, number, span.length).await.s3()?;
    let algorithm = upload.checksum.map(|(algorithm, _)| algorithm);
    let digests = Digests::new(known.is_none(), algorithm);
    let receipt = receipt::ask(&caller, &mut writer);
    let digested = body::copy(&mut source.reader, &mut writer, digests).await?;
    let etag = digested.md5.map_or(known.unwrap_or_default(), |md5| Etag { md5, parts: 0 });
    let part = writer.commit_part(etag, part_checksum(digested.checksum)).await.s3()?;
    let output =
        UploadPartCopyOutput { copy_source_version_id: source.version_id, ..UploadPartCopyOutput::default() };
    let mut response = S3Response::new(output);
    receipt::add(&mut response.headers, receipt.and_then(|receipt| receipt.get()));
    response.extensions.insert(XmlAnswer::document("CopyPartResult", |result| {
        result.time("LastModified", part.modified_ms);
        result.etag(part.etag);
        result.part_checksum(&part);
    }));
    Ok(response)
}

/// Parses the range of a copied part, which must be `bytes=first-last` within the source, unlike
/// that of a GET.
fn source_span(header: Option<&str>, size_bytes: u64) -> S3Result<Span> {
    let Some(header) = header else { return Ok(Span { offset: 0, length: size_bytes }) };
    match range::parse(header) {
        Some(ByteRange::From { first, last: Some(last) }) if last < size_bytes => {
            Ok(Span { offset: first, length: last - first + 1 })
        }
        Some(ByteRange::From { last: Some(_), .. }) => {
            Err(s3_error!(InvalidRange, "The range {header} lies beyond the source's {size_bytes} bytes"))
        }
        _ => Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are \
             the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn span(header: &str) -> Result<(u64, u64), S3ErrorCode> {
        source_span(Some(header), 5)
            .map(|span| (span.offset, span.length))
            .map_err(|error| error.code().clone())
    }

    #[test]
    fn a_checksum_that_can_not_be_compared_is_refused() {
        let judged = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static("AAAAAA=="));
            refuse_checksum(&headers).map_err(|error| error.code().clone())
        };
        for name in ["x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-rot13"] {
            assert_eq!(judged(name), Err(S3ErrorCode::InvalidRequest), "{name}");
        }
        for name in [CHECKSUM_ALGORITHM, "x-amz-checksum-type", "x-amz-meta-x"] {
            assert_eq!(judged(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn source_ranges_are_strict() {
        assert_eq!(span("bytes=0-4"), Ok((0, 5)));
        assert_eq!(span("bytes=2-2"), Ok((2, 1)));
        assert_eq!(span("bytes=0-21"), Err(S3ErrorCode::InvalidRange));
        for bad in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-2",
        ] {
            assert_eq!(span(bad), Err(S3ErrorCode::InvalidArgument), "{bad}");
        }
    }

    fn object(parts: u16, attributes: Attributes) -> ObjectInfo {
        ObjectInfo { size_bytes: 1, etag: Etag { md5: [1; 16], parts }, attributes, ..ObjectInfo::default() }
    }

    #[test]
    fn a_copy_hashes_only_what_the_source_does_not_tell() {
        let mut attributes = Attributes::new();
        headers::add_checksum(&mut attributes, Algorithm::Crc32, "sum".to_owned(), Some(Kind::FullObject));
        let (wanted, known) = plan(&object(0, attributes.clone()), None);
        assert_eq!(wanted, Wanted { md5: false, checksum: None });
        assert_eq!(known, Some((Algorithm::Crc32, "sum".to_owned())));
        let (wanted, known) = plan(&object(3, attributes), Some(Algorithm::Sha1));
        assert_eq!((wanted, known), (Wanted { md5: true, checksum: Some(Algorithm::Sha1) }, None));
        let mut composite = Attributes::new();
        headers::add_checksum(&mut composite, Algorithm::Sha256, "sum-2".to_owned(), Some(Kind::Composite));
        let (wanted, known) = plan(&object(2, composite), None);
        assert_eq!((wanted, known), (Wanted { md5: true, checksum: Some(Algorithm::Sha256) }, None));
    }
}
