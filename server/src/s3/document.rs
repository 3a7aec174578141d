//! The XML documents of requests. They are read here, and not by s3s, so that their memory is
//! reserved before they are, and so that all of them mean what XML says.
//!
//! Invariants:
//! - A document is read only as far as it was announced, and parsed only when enough of the core's
//!   memory for requests is reserved for what becomes of it.
//! - Its Content-MD5 and checksum are compared before it is parsed.
//! - What a handler works with is the list or configuration in the request's extensions, which only
//!   [`read_document`] leaves there. Without it no key is deleted and no upload completed.
//! - Bodies of objects and parts pass untouched.

use super::access::access_denied;
use super::body::parse_md5;
use super::bucket::BucketConfiguration;
use super::cors::{self, CorsRules};
use super::declared::DeclaredChecksum;
use super::delete::DeleteList;
use super::error::{from_body, invalid_request, slow_down};
use super::lenient_headers::LenientHeaders;
use super::lifecycle_document::{self, LifecycleDocument};
use super::multipart::PartList;
use super::object_lock::{HoldDocument, LockDocument, RetentionDocument};
use super::ownership::{AccessBlockDocument, OwnershipDocument};
use super::policy::PolicyDocument;
use super::tagging::TagDocument;
use super::versioning::VersioningDocument;
use super::website::{self, Website};
use super::xml_reader::{XmlReader, to_plain};
use crate::auth::RequestContext;
use crate::auth::hash::Md5;
use crate::checksum::of_bytes;
use crate::memory::{RequestMemory, Reservation, ResponseMemory};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Extensions, Method, Request, Response};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use s3s::config::{S3Config, S3ConfigProvider, StaticConfigProvider};
use s3s::{Body, S3Result, s3_error};
use std::sync::Arc;

/// The longest list of keys, in bytes: ample for 1000 keys of 1024 bytes, each byte written as an
/// XML character reference.
const DELETE_BYTES_MAX: u64 = 8 << 20;
/// The longest list of parts, in bytes: ample for 10,000 parts with ETag and checksum.
const COMPLETE_BYTES_MAX: u64 = 4 << 20;
/// The longest lifecycle, in bytes: ample for 1000 rules with short filters. It is kept on every core.
const LIFECYCLE_BYTES_MAX: u64 = 256 << 10;
/// The longest website, in bytes, as S3 limits it.
const WEBSITE_BYTES_MAX: u64 = 128 << 10;
const OTHER_BYTES_MAX: u64 = 64 << 10;
/// The most elements of a list of keys: 1000 keys with all that may be said of each.
const DELETE_ELEMENTS_MAX: usize = 8 << 10;
/// The most elements of a list of parts: 10,000 parts with ETag, one checksum, Size and
/// LastModified, as listings of parts give them.
const COMPLETE_ELEMENTS_MAX: usize = 80 << 10;
pub(super) const OTHER_ELEMENTS_MAX: usize = 1 << 10;
/// How often the text of a list is held, beside its entries: as it came, as it was parsed, and in
/// the answer.
const LIST_TIMES: u64 = 3;
/// What an entry of a list takes while it is worked off and in the answer, in bytes.
const ITEM_BYTES: u64 = 1024;
/// How much more memory than its text a parsed document takes: a small one may be nothing but tags.
const PARSED_TIMES: u64 = 32;
/// What an answer takes beside its text, in bytes.
const ANSWER_BYTES: u64 = 4 << 10;

/// The document that s3s gets in the place of one that was read here: the least that it demands.
const DELETE_PLACEHOLDER: &str = "<Delete><Object><Key>-</Key></Object></Delete>";
const COMPLETE_PLACEHOLDER: &str = "<CompleteMultipartUpload/>";
const VERSIONING_PLACEHOLDER: &str = "<VersioningConfiguration/>";
const TAGGING_PLACEHOLDER: &str = "<Tagging><TagSet/></Tagging>";
const OBJECT_LOCK_PLACEHOLDER: &str = "<ObjectLockConfiguration/>";
const RETENTION_PLACEHOLDER: &str = "<Retention/>";
const LIFECYCLE_PLACEHOLDER: &str =
    "<LifecycleConfiguration><Rule><Status>Disabled</Status></Rule></LifecycleConfiguration>";
const LEGAL_HOLD_PLACEHOLDER: &str = "<LegalHold/>";
const POLICY_PLACEHOLDER: &str = "{}";
const OWNERSHIP_PLACEHOLDER: &str =
    "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
const CORS_PLACEHOLDER: &str = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>\
     <AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";
const ACCESS_BLOCK_PLACEHOLDER: &str = "<PublicAccessBlockConfiguration/>";

const WEBSITE_PLACEHOLDER: &str = "<WebsiteConfiguration/>";

/// The kinds of documents that are told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Delete,
    Complete,
    CreateBucket,
    /// The document is an ACL, which s3s parses.
    Acl,
    Versioning,
    Tagging,
    /// The document is the configuration of a bucket's object lock.
    ObjectLock,
    Retention,
    LegalHold,
    Lifecycle,
    /// The document is the policy of a bucket, in JSON.
    Policy,
    Ownership,
    AccessBlock,
    Cors,
    Website,
    /// The document is that of an operation that is not built: whatever it says, the answer is 501.
    Unsupported,
}

impl Kind {
    /// Returns the kind of a request's document, or None if it has none. Objects and parts are PUT
    /// with nothing in the query, or nothing but the part.
    fn of(method: &Method, query: Option<&str>, has_key: bool) -> Option<Self> {
        let names: Vec<_> = query
            .unwrap_or_default()
            .split('&')
            .map(|pair| percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy())
            .collect();
        let has = |name: &str| names.iter().any(|found| found == name);
        match (method, has_key) {
            (&Method::POST, false) if has("delete") => Some(Self::Delete),
            (&Method::POST, true) if has("select") || has("restore") => Some(Self::Unsupported),
            (&Method::POST, true) if has("uploads") => None,
            (&Method::POST, true) if has("uploadId") => Some(Self::Complete),
            (&Method::PUT, _) if has("acl") => Some(Self::Acl),
            (&Method::PUT, _) if has("tagging") => Some(Self::Tagging),
            (&Method::PUT, false) if has("versioning") => Some(Self::Versioning),
            (&Method::PUT, false) if has("object-lock") => Some(Self::ObjectLock),
            (&Method::PUT, false) if has("lifecycle") => Some(Self::Lifecycle),
            (&Method::PUT, false) if has("policy") => Some(Self::Policy),
            (&Method::PUT, false) if has("ownershipControls") => Some(Self::Ownership),
            (&Method::PUT, false) if has("publicAccessBlock") => Some(Self::AccessBlock),
            (&Method::PUT, false) if has("cors") => Some(Self::Cors),
            (&Method::PUT, false) if has("website") => Some(Self::Website),
            (&Method::PUT, true) if has("retention") => Some(Self::Retention),
            (&Method::PUT, true) if has("legal-hold") => Some(Self::LegalHold),
            (&Method::PUT, true) => None,
            (&Method::PUT, false) if names.iter().all(|name| name.is_empty() || is_no_subresource(name)) => {
                Some(Self::CreateBucket)
            }
            _ => Some(Self::Unsupported),
        }
    }

    fn bytes_max(self) -> u64 {
        match self {
            Self::Delete => DELETE_BYTES_MAX,
            Self::Complete => COMPLETE_BYTES_MAX,
            Self::Lifecycle => LIFECYCLE_BYTES_MAX,
            Self::Website => WEBSITE_BYTES_MAX,
            _ => OTHER_BYTES_MAX,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Delete | Self::Complete | Self::Lifecycle)
    }
}

/// Returns whether a parameter is one that signatures, headers and SDKs put into the query of any
/// operation.
fn is_no_subresource(name: &str) -> bool {
    name == "x-id" || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// Returns the limits of s3s: it reads only what this module let pass, and no more than this of it.
pub fn limits() -> Arc<dyn S3ConfigProvider> {
    let mut config = S3Config::default();
    config.xml_max_body_size = OTHER_BYTES_MAX as usize;
    Arc::new(StaticConfigProvider::new(Arc::new(config)))
}

/// Reads the document of a request that has one. The reservation is to be kept until the answer is
/// made. Fails if the document is too long, finds no memory, or is malformed. Nothing is read for an
/// anonymous caller unless the bucket is shared with others, as `shared` says.
pub async fn read_document(
    mut request: Request<Body>,
    lenient: &LenientHeaders,
    (has_key, shared): (bool, bool),
    memory: &RequestMemory,
) -> S3Result<(Request<Body>, Option<Reservation>)> {
    let kind = Kind::of(request.method(), request.uri().query(), has_key);
    // A list that is missing is refused like an empty one.
    let Some(kind) = kind.filter(|kind| kind.is_list() || !request.body().is_end_stream()) else {
        return Ok((request, None));
    };
    let context = request.extensions().get::<RequestContext>();
    if !shared && context.is_none_or(|context| context.signer.is_none()) {
        return Err(access_denied());
    }
    let length = lenient.body_length.unwrap_or(0);
    if length > kind.bytes_max() {
        return Err(s3_error!(
            MaxMessageLengthExceeded,
            "Your request was too big: its document has {length} bytes, the most is {}",
            kind.bytes_max()
        ));
    }
    let reservation = memory.reserve(length).map_err(slow_down)?;
    let bytes = read(request.body_mut(), length).await?;
    verify(&request, lenient, &bytes, kind)?;
    let needed = if kind.is_list() { LIST_TIMES } else { PARSED_TIMES } * length;
    reservation.resize(needed).map_err(slow_down)?;
    let (items, body) = parse(kind, bytes, request.extensions_mut())?;
    reservation.resize(needed + items * ITEM_BYTES).map_err(slow_down)?;
    *request.body_mut() = body;
    Ok((request, Some(reservation)))
}

async fn read(body: &mut Body, length: u64) -> S3Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(from_body)?;
        if (bytes.len() + piece.len()) as u64 > length {
            return Err(s3_error!(IncompleteBody, "You announced {length} bytes and sent more"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// Compares the document with its Content-MD5 and checksum. A list of deletes must have one of
/// them.
fn verify(request: &Request<Body>, lenient: &LenientHeaders, bytes: &[u8], kind: Kind) -> S3Result<()> {
    let trailers = request.extensions().get::<RequestContext>().map(|context| context.trailers.clone());
    if let Some(md5) = &lenient.content_md5
        && parse_md5(md5)? != Md5::digest(bytes)
    {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
    }
    // The checksum in the headers of a Complete is the object's.
    let declared = if kind == Kind::Complete {
        DeclaredChecksum::Nothing
    } else {
        DeclaredChecksum::of(request.headers())?
    };
    let computed = declared.algorithm().map(|algorithm| of_bytes(algorithm, bytes));
    declared.verify(computed.as_deref(), &trailers.unwrap_or_default())?;
    if kind == Kind::Delete && lenient.content_md5.is_none() && computed.is_none() {
        return Err(invalid_request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    Ok(())
}

/// Parses a document and leaves it among the extensions, for the handler to take. Returns the
/// number of entries of a list, and the body that s3s gets instead.
fn parse(kind: Kind, bytes: Bytes, extensions: &mut Extensions) -> S3Result<(u64, Body)> {
    let placeholder = |text: &'static str| Body::from(Bytes::from_static(text.as_bytes()));
    let other = || XmlReader::new(&bytes, OTHER_ELEMENTS_MAX);
    Ok(match kind {
        Kind::Delete => {
            let list = DeleteList::read(XmlReader::new(&bytes, DELETE_ELEMENTS_MAX)?)?;
            let items = list.objects.len() as u64;
            extensions.insert(Arc::new(list));
            (items, placeholder(DELETE_PLACEHOLDER))
        }
        Kind::Complete => {
            let list = PartList::read(XmlReader::new(&bytes, COMPLETE_ELEMENTS_MAX)?)?;
            let items = list.parts.len() as u64;
            extensions.insert(Arc::new(list));
            (items, placeholder(COMPLETE_PLACEHOLDER))
        }
        Kind::Lifecycle => {
            let document =
                LifecycleDocument::read(XmlReader::new(&bytes, lifecycle_document::ELEMENTS_MAX)?)?;
            let items = document.rules().rules.len() as u64;
            extensions.insert(Arc::new(document));
            (items, placeholder(LIFECYCLE_PLACEHOLDER))
        }
        Kind::CreateBucket if bytes.is_empty() => (0, Body::empty()),
        Kind::CreateBucket => {
            extensions.insert(BucketConfiguration::read(other()?)?);
            (0, Body::empty())
        }
        Kind::Acl if bytes.is_empty() => (0, Body::empty()),
        Kind::Acl => (0, Body::from(to_plain(&bytes, OTHER_ELEMENTS_MAX)?)),
        Kind::Versioning => {
            extensions.insert(VersioningDocument::read(other()?)?);
            (0, placeholder(VERSIONING_PLACEHOLDER))
        }
        Kind::Tagging => {
            extensions.insert(TagDocument::read(other()?)?);
            (0, placeholder(TAGGING_PLACEHOLDER))
        }
        Kind::ObjectLock => {
            extensions.insert(LockDocument::read(other()?)?);
            (0, placeholder(OBJECT_LOCK_PLACEHOLDER))
        }
        Kind::Retention => {
            extensions.insert(RetentionDocument::read(other()?)?);
            (0, placeholder(RETENTION_PLACEHOLDER))
        }
        Kind::LegalHold => {
            extensions.insert(HoldDocument::read(other()?)?);
            (0, placeholder(LEGAL_HOLD_PLACEHOLDER))
        }
        Kind::Policy => {
            extensions.insert(PolicyDocument(bytes));
            (0, placeholder(POLICY_PLACEHOLDER))
        }
        Kind::Ownership => {
            extensions.insert(OwnershipDocument::read(other()?)?);
            (0, placeholder(OWNERSHIP_PLACEHOLDER))
        }
        Kind::AccessBlock => {
            extensions.insert(AccessBlockDocument::read(other()?)?);
            (0, placeholder(ACCESS_BLOCK_PLACEHOLDER))
        }
        Kind::Cors => {
            extensions.insert(Arc::new(CorsRules::read(XmlReader::new(&bytes, cors::ELEMENTS_MAX)?)?));
            (0, placeholder(CORS_PLACEHOLDER))
        }
        Kind::Website => {
            extensions.insert(Arc::new(Website::read(XmlReader::new(&bytes, website::ELEMENTS_MAX)?)?));
            (0, placeholder(WEBSITE_PLACEHOLDER))
        }
        Kind::Unsupported => (0, Body::from(bytes)),
    })
}

/// Reads a document of each kind; this is for fuzzing. What was made plain stays as it is when it
/// is made plain again.
pub(crate) fn judge_document(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for kind in [
        Kind::Delete,
        Kind::Complete,
        Kind::CreateBucket,
        Kind::Versioning,
        Kind::Tagging,
        Kind::ObjectLock,
        Kind::Retention,
        Kind::LegalHold,
        Kind::Lifecycle,
        Kind::Ownership,
        Kind::AccessBlock,
        Kind::Cors,
        Kind::Website,
    ] {
        // It may be refused or taken: all that matters here is that it ends.
        let _ = parse(kind, bytes.clone(), &mut Extensions::new());
    }
    cors::judge_rules(&bytes);
    website::judge_website(&bytes);
    if let Ok(plain) = to_plain(&bytes, OTHER_ELEMENTS_MAX) {
        let again = to_plain(&plain, OTHER_ELEMENTS_MAX);
        assert_eq!(again.ok().as_ref(), Some(&plain), "a plain document is read as it is");
    }
}

/// Gives back the memory that was needed to make an answer, but for the answer itself.
pub fn shrink(response: &Response<Body>) {
    // This server holds no text of a stream.
    let text = response.body().bytes().is_some();
    if let Some(held) = response.extensions().get::<ResponseMemory>().filter(|_| text) {
        held.shrink(response.body().size_hint().lower() + ANSWER_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use s3s::S3ErrorCode;

    fn context(known: bool) -> RequestContext {
        let account = crate::auth::Account {
            access_key: "a".to_owned(),
            secret_key: "s".to_owned().into(),
            canonical_id: "1".to_owned(),
            display_name: String::new(),
            email: String::new(),
        };
        let found = crate::identity::Directory::of_root(&account).find("a");
        let signer = found.filter(|_| known).map(|found| Arc::new(found.signer));
        RequestContext { signer, ..RequestContext::default() }
    }

    fn request(method: &str, uri: &str, body: &str) -> (Request<Body>, LenientHeaders) {
        let mut request =
            Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(context(true));
        (request, LenientHeaders { body_length: Some(body.len() as u64), ..LenientHeaders::default() })
    }

    /// What is free of 100,000 bytes once the document is in.
    fn take(method: &str, uri: &str, has_key: bool, body: &str) -> Result<Option<u64>, S3ErrorCode> {
        let memory = RequestMemory::new(100_000);
        let (request, lenient) = request(method, uri, body);
        let taken = read_document(request, &lenient, (has_key, false), &memory)
            .now_or_never()
            .expect("it is all there");
        let (_, reservation) = taken.map_err(|error| error.code().clone())?;
        Ok(reservation.map(|_share| memory.reserve(200_000).unwrap_err().free_bytes))
    }

    #[test]
    fn objects_and_parts_pass_and_documents_are_counted() {
        assert_eq!(take("PUT", "/b/k", true, "an object"), Ok(None));
        assert_eq!(take("PUT", "/b/k?x-id=PutObject", true, "an object"), Ok(None));
        assert_eq!(take("PUT", "/b/k?partNumber=1&uploadId=x", true, "a part"), Ok(None));
        assert_eq!(take("POST", "/b/k?uploads", true, ""), Ok(None));
        assert_eq!(take("PUT", "/b?acl", false, "<a/>"), Ok(Some(100_000 - 4 * 32)));
        assert_eq!(take("PUT", "/b/k?acl", true, "<a/>"), Ok(Some(100_000 - 4 * 32)));
        let parts = parts(2);
        let taken = LIST_TIMES * parts.len() as u64 + 2 * ITEM_BYTES;
        assert_eq!(take("POST", "/b/k?uploadId=x", true, &parts), Ok(Some(100_000 - taken)));
    }

    fn parts(count: usize) -> String {
        let part = |number: usize| format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
        let parts: String = (1..=count).map(part).collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    }

    #[test]
    fn what_is_too_long_or_finds_no_memory_is_refused() {
        let long = "x".repeat(OTHER_BYTES_MAX as usize + 1);
        assert_eq!(take("PUT", "/b?acl", false, &long), Err(S3ErrorCode::MaxMessageLengthExceeded));
        assert_eq!(take("POST", "/b/k?uploadId=x", true, &parts(200)), Err(S3ErrorCode::SlowDown));
        let memory = RequestMemory::new(1 << 30);
        let refused = |count: usize| {
            let (request, lenient) = request("POST", "/b/k?uploadId=x", &parts(count));
            let taken = read_document(request, &lenient, (true, false), &memory)
                .now_or_never()
                .expect("it is all there");
            taken.err().map(|error| error.code().clone())
        };
        assert_eq!(refused(10_000), None);
        assert_eq!(refused(10_001), Some(S3ErrorCode::InvalidArgument), "there is no part of that number");
        assert!(memory.reserve(1 << 30).is_ok(), "what was refused holds nothing");
    }

    #[test]
    fn the_longest_list_of_parts_may_say_all_of_each() {
        let part = |number: usize| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{}&quot;</ETag><ChecksumSHA512>{}</ChecksumSHA512>\
                 <Size>5368709120</Size><LastModified>2025-01-01T00:00:00.000Z</LastModified></Part>",
                "e".repeat(32),
                of_bytes(crate::checksum::Algorithm::Sha512, b"")
            )
        };
        let parts: String = (1..=10_000).map(part).collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        assert!(list.len() as u64 <= COMPLETE_BYTES_MAX, "{} bytes", list.len());
        assert!(parse(Kind::Complete, list.into(), &mut Extensions::new()).is_ok());
    }

    #[test]
    fn nothing_is_read_for_callers_without_an_account() {
        for (method, uri, has_key, body) in [
            ("POST", "/b?delete", false, ""),
            ("POST", "/b?delete", false, "<Delete/>"),
            ("POST", "/b/k?uploadId=x", true, "<CompleteMultipartUpload/>"),
            ("PUT", "/b", false, "<a/>"),
            ("PUT", "/b/k?acl", true, "<a/>"),
            ("PUT", "/b/k?tagging", true, "<a/>"),
        ] {
            // There is no memory: what would be read is SlowDown.
            let memory = RequestMemory::new(0);
            let refused = |known: bool| {
                let (mut request, mut lenient) = request(method, uri, body);
                request.extensions_mut().insert(context(known));
                lenient.body_length = Some(100);
                let taken = read_document(request, &lenient, (has_key, false), &memory).now_or_never();
                taken.expect("it is all there").err().map(|error| error.code().clone())
            };
            assert_eq!(refused(false), Some(S3ErrorCode::AccessDenied), "{method} {uri}");
            assert_eq!(refused(true), Some(S3ErrorCode::SlowDown), "{method} {uri}");
        }
        let (mut request, lenient) = request("PUT", "/b/k", "an object");
        request.extensions_mut().insert(context(false));
        let passed = read_document(request, &lenient, (true, false), &RequestMemory::new(0)).now_or_never();
        assert!(matches!(passed, Some(Ok((_, None)))), "objects are for the handler to refuse");
    }

    #[test]
    fn documents_are_known_by_their_names_however_they_are_written() {
        let kind = |method: &str, query, has_key| Kind::of(&method.parse().unwrap(), Some(query), has_key);
        for query in ["delete", "delete=", "delete=1", "%64elete", "x-id=DeleteObjects&delete"] {
            assert_eq!(kind("POST", query, false), Some(Kind::Delete), "{query}");
        }
        assert_eq!(kind("POST", "uploadId=x&x-id=CompleteMultipartUpload", true), Some(Kind::Complete));
        assert_eq!(kind("PUT", "", false), Some(Kind::CreateBucket));
        assert_eq!(kind("PUT", "x-id=CreateBucket&X-Amz-Date=d", false), Some(Kind::CreateBucket));
        assert_eq!(kind("PUT", "versioning", false), Some(Kind::Versioning));
        assert_eq!(kind("PUT", "cors", false), Some(Kind::Cors));
        assert_eq!(kind("PUT", "logging", false), Some(Kind::Unsupported));
        assert_eq!(kind("PUT", "tagging", true), Some(Kind::Tagging));
        assert_eq!(kind("PUT", "object-lock", false), Some(Kind::ObjectLock));
        assert_eq!(kind("PUT", "retention&versionId=1", true), Some(Kind::Retention));
        assert_eq!(kind("PUT", "legal-hold", true), Some(Kind::LegalHold));
    }

    /// The code for a DeleteObjects of this document with these headers; None: it is taken.
    fn delete(query: &str, headers: &[(&str, &str)], md5: Option<&str>, body: &str) -> Option<S3ErrorCode> {
        let (mut request, mut lenient) = request("POST", &format!("/bucket?{query}"), body);
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        lenient.content_md5 = md5.map(str::to_owned);
        let memory = RequestMemory::new(1 << 20);
        let taken = read_document(request, &lenient, (false, false), &memory)
            .now_or_never()
            .expect("it is all there");
        match taken {
            Err(error) => Some(error.code().clone()),
            Ok((mut request, _)) => {
                let list = request.extensions_mut().remove::<Arc<DeleteList>>();
                assert!(list.is_some_and(|list| list.objects[0].key == "k"));
                None
            }
        }
    }

    #[test]
    fn a_list_of_deletes_needs_a_digest_and_the_right_one() {
        let body = "<Delete><Object><Key>k</Key></Object></Delete>";
        let md5 = crate::checksum::encode_md5(&Md5::digest(body.as_bytes()));
        let (md5, other) = (md5.as_str(), "rL0Y20zC+Fzt72VPzMSk2A==");
        for query in ["delete", "delete=", "delete=1", "%64elete", "delete&x-id=DeleteObjects"] {
            assert_eq!(delete(query, &[], Some(md5), body), None, "{query}");
            assert_eq!(delete(query, &[], None, body), Some(S3ErrorCode::InvalidRequest), "{query}");
            assert_eq!(delete(query, &[], Some(other), body), Some(S3ErrorCode::BadDigest), "{query}");
        }
        assert_eq!(delete("delete", &[], Some("AAAA"), body), Some(S3ErrorCode::InvalidDigest));
        for algorithm in crate::checksum::Algorithm::all() {
            let (name, right) = (algorithm.header(), of_bytes(algorithm, body.as_bytes()));
            let wrong = of_bytes(algorithm, b"");
            assert_eq!(delete("delete", &[(name, &right)], None, body), None, "{name}");
            assert_eq!(
                delete("delete", &[(name, &wrong)], None, body),
                Some(S3ErrorCode::BadDigest),
                "{name}"
            );
            assert_eq!(
                delete("delete", &[(name, &wrong)], Some(md5), body),
                Some(S3ErrorCode::BadDigest),
                "{name}"
            );
            assert_eq!(
                delete("delete", &[(name, "AA==")], Some(md5), body),
                Some(S3ErrorCode::InvalidRequest)
            );
        }
    }
}
