//! Buckets as websites: their objects are pages for anybody who may read them.
//!
//! Invariants:
//! - Every visitor is anonymous: what a request brings to say who asks is not looked at. Each object is
//!   judged as any anonymous GetObject is, pages of directories and of errors too.
//! - Websites can be read, and nothing else: another method than GET, HEAD and OPTIONS is 405.
//! - A redirection within the website names its scheme and host, so that no key can lead a browser to
//!   another host.
//! - The query of a request means nothing.

mod document;
mod page;

pub use self::document::{ELEMENTS_MAX, Website};

use self::document::{Everywhere, Pages, RoutingRule, Scheme};
use self::page::error_page;
use super::Server;
use super::access::Caller;
use super::answer_xml::XmlAnswer;
use super::configuration::{WEBSITE, missing};
use super::headers::REDIRECT_LOCATION;
use super::judge::OnKey;
use super::lenient_headers::LenientHeaders;
use super::object::{Asked, ObjectAnswer, describe_object, read_object};
use super::operations::Operation;
use super::parsed::BucketForms;
use super::xml_reader::{XmlReader, malformed};
use crate::access::Action;
use crate::auth::RequestContext;
use crate::host;
use crate::xml::XmlWriter;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::{Bucket, ConfigKind};
use s3s::dto::{
    DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput, GetBucketWebsiteInput, GetBucketWebsiteOutput,
    PutBucketWebsiteInput, PutBucketWebsiteOutput,
};
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};
use std::rc::Rc;
use std::sync::Arc;

/// The methods of websites, for the header Allow.
const ALLOWED: &str = "GET, HEAD, OPTIONS";
/// The headers of an error's page that say what it is. What else is known of the object is of no use to
/// who asked for another.
const OF_ERROR_PAGES: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CACHE_CONTROL,
    header::EXPIRES,
];

impl Website {
    /// Returns how a bucket is served as a website, or None if it is not.
    pub fn of_bucket(bucket: &Bucket) -> Option<Self> {
        let value = bucket.value_of(ConfigKind::WEBSITE)?;
        match XmlReader::new(value, ELEMENTS_MAX).and_then(Self::read) {
            Ok(website) => Some(website),
            Err(error) => {
                tracing::error!(bucket = bucket.name, %error, "the website of a bucket can not be read");
                None
            }
        }
    }

    /// Returns the value of a bucket's configuration that holds it.
    fn encode(&self) -> Vec<u8> {
        XmlWriter::document("WebsiteConfiguration", None, |root| self.show(root)).into_bytes()
    }
}

/// Answers a request for the website of the bucket `name`, which its host names.
pub async fn answer(
    server: &Server,
    request: Request<Body>,
    lenient: LenientHeaders,
    name: &str,
) -> Response<Body> {
    let context = request.extensions().get::<RequestContext>().cloned().unwrap_or_default();
    let counted = if request.method() == Method::HEAD { Operation::HeadObject } else { Operation::GetObject };
    let response = match Visit::begin(server, request, lenient, name) {
        Ok(visit) => visit.answer(&context).await,
        Err(error) => Err(error),
    };
    server.requests.answered(counted);
    response.unwrap_or_else(|error| error_page(&error, ("BucketName", name), None, &context))
}

/// A request for a website.
struct Visit<'a> {
    server: &'a Server,
    bucket: Rc<Bucket>,
    caller: Caller,
    is_head: bool,
    /// The key that the path names, before the page of a directory is put in its place.
    key: String,
    /// The path and the query, as they came.
    asked: String,
    host: String,
}

impl<'a> Visit<'a> {
    /// Fails unless the request is one that a website takes, and the bucket is there.
    fn begin(
        server: &'a Server,
        mut request: Request<Body>,
        lenient: LenientHeaders,
        name: &str,
    ) -> S3Result<Self> {
        let method = request.method().clone();
        if method != Method::GET && method != Method::HEAD {
            return Err(not_allowed());
        }
        let bucket = server.core.bucket(name);
        let bucket = bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        let asked = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let path = request.uri().path();
        let key = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8();
        let key =
            key.map_err(|_| s3_error!(InvalidURI, "Couldn't parse the specified URI: it is not UTF-8"))?;
        let (key, plain) = (key.into_owned(), path.parse::<Uri>());
        // No policy may hear of the query, which means nothing here.
        *request.uri_mut() = plain.unwrap_or_else(|_| Uri::from_static("/"));
        let host = host::of_request(request.headers()).unwrap_or_default().to_owned();
        let caller = Caller::of_get(&mut request, lenient);
        Ok(Self { server, bucket, caller, is_head: method == Method::HEAD, key, asked, host })
    }

    async fn answer(&self, context: &RequestContext) -> S3Result<Response<Body>> {
        match &BucketForms::of(&self.bucket).website {
            None => missing(WEBSITE),
            Some(Website::Elsewhere(Everywhere { host, scheme })) => {
                let location = format!("{}://{host}{}", self.scheme(*scheme), self.asked);
                redirection(StatusCode::MOVED_PERMANENTLY, &location)
            }
            Some(Website::Pages(pages)) => self.show(pages, context).await,
        }
    }

    async fn show(&self, pages: &Pages, context: &RequestContext) -> S3Result<Response<Body>> {
        let rule = |error| pages.rules.iter().find(|rule| rule.counts(&self.key, error));
        if let Some(rule) = rule(None) {
            return self.follow(rule);
        }
        let is_directory = self.key.is_empty() || self.key.ends_with('/');
        let key = if is_directory { format!("{}{}", self.key, pages.index) } else { self.key.clone() };
        let error = match self.open(&self.caller, &key).await {
            Ok(object) => return shown(object),
            Err(error) => error,
        };
        let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status == StatusCode::NOT_MODIFIED {
            return Ok(not_modified(error));
        }
        if !is_directory && self.names_a_directory(pages).await {
            let path = host::url_encode(self.key.as_bytes());
            let location = format!("{}://{}/{path}/", self.scheme(None), self.host);
            return redirection(StatusCode::FOUND, &location);
        }
        if let Some(rule) = rule(Some(status)) {
            return self.follow(rule);
        }
        let mut failed = None;
        if let Some(page) = pages.error.as_ref().filter(|_| status.is_client_error()) {
            match self.open(&self.caller_without_conditions(), page).await {
                Ok(object) => return Ok(shown_as_error(object, status, &error)),
                Err(error) => failed = Some(error),
            }
        }
        Ok(error_page(&error, ("Key", &key), failed.as_ref(), context))
    }

    /// Opens an object, if anybody may read it.
    async fn open(&self, caller: &Caller, key: &str) -> S3Result<ObjectAnswer> {
        let on = OnKey::new(key, None);
        self.server.allow_on_key(caller, Action::GetObject, &self.bucket, on).await?;
        let asked = Asked::default();
        match self.is_head {
            true => describe_object(self.server, caller, &self.bucket, key, asked).await,
            false => read_object(self.server, caller, &self.bucket, key, asked).await,
        }
    }

    /// Returns whether there is no object of this key, and a page for the directory of this name that
    /// anybody may read.
    async fn names_a_directory(&self, pages: &Pages) -> bool {
        let found = self.server.look_at(&self.bucket, OnKey::new(&self.key, None)).await;
        if !found.is_ok_and(|found| found.is_none()) {
            return false;
        }
        let (server, caller) = (self.server, &self.caller);
        let key = format!("{}/{}", self.key, pages.index);
        let on = OnKey::new(&key, None);
        let is_allowed = server.allow_on_key(caller, on.reads(), &self.bucket, on).await.is_ok();
        is_allowed && server.find_object(caller, on.reads(), &self.bucket, on).await.is_ok()
    }

    /// Returns the caller for the page of an error: conditions and ranges are about another object.
    fn caller_without_conditions(&self) -> Caller {
        let mut caller = Caller::of(self.caller.context.clone());
        caller.headers = self.caller.headers.clone();
        caller.uri = self.caller.uri.clone();
        caller.operation = self.caller.operation;
        caller
    }

    fn follow(&self, rule: &RoutingRule) -> S3Result<Response<Body>> {
        let redirect = &rule.redirect;
        let host = redirect.host.as_deref().unwrap_or(&self.host);
        let scheme = self.scheme(redirect.scheme);
        let status = redirect.status.unwrap_or(StatusCode::MOVED_PERMANENTLY);
        redirection(status, &format!("{scheme}://{host}/{}", rule.new_path(&self.key)))
    }

    /// Returns the scheme that a redirection names: that of the request, if it is told none.
    fn scheme(&self, wanted: Option<Scheme>) -> &'static str {
        wanted.map_or_else(|| self.caller.context.client.scheme(), Scheme::name)
    }
}

fn redirection(status: StatusCode, location: &str) -> S3Result<Response<Body>> {
    let location = HeaderValue::try_from(location)
        .map_err(|_| s3_error!(InvalidURI, "The address of the redirection can not be written"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Returns an object as the answer, or the redirection that its metadata say.
fn shown(object: ObjectAnswer) -> S3Result<Response<Body>> {
    let ObjectAnswer { headers, content_range, body, held } = object;
    let mut response = Response::new(body);
    if let Some(location) = headers.get(REDIRECT_LOCATION) {
        *response.body_mut() = Body::empty();
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(header::LOCATION, location.clone());
        return Ok(response);
    }
    *response.headers_mut() = headers;
    if let Some(held) = held {
        response.extensions_mut().insert(held);
    }
    if let Some(range) = content_range.and_then(|range| HeaderValue::try_from(range).ok()) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// Returns an object as the page of an error.
fn shown_as_error(object: ObjectAnswer, status: StatusCode, error: &S3Error) -> Response<Body> {
    let ObjectAnswer { headers, body, held, .. } = object;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kept = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
    response.headers_mut().extend(kept.filter(|(name, _)| OF_ERROR_PAGES.contains(name)));
    page::tell(response.headers_mut(), error);
    if let Some(held) = held {
        response.extensions_mut().insert(held);
    }
    response
}

fn not_modified(error: S3Error) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    if let Some(headers) = error.headers() {
        *response.headers_mut() = headers.clone();
    }
    response
}

fn not_allowed() -> S3Error {
    let mut error = s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.");
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    error.set_headers(headers);
    error
}

/// Reads the document, if it is one. What is taken must come back from the form in which it is stored,
/// and each redirection must have an address that can be written. It is for fuzzing.
pub(crate) fn judge_website(document: &[u8]) {
    let read = |document: &[u8]| XmlReader::new(document, ELEMENTS_MAX).and_then(Website::read);
    let Ok(website) = read(document) else { return };
    assert_eq!(read(&website.encode()).ok().as_ref(), Some(&website), "what is stored is another document");
    if let Website::Pages(pages) = website {
        for path in pages.rules.iter().map(|rule| rule.new_path("docs/a?b#c\u{e9}\r")) {
            assert!(HeaderValue::try_from(path).is_ok(), "an address can not be written");
        }
    }
}

/// Answers PutBucketWebsite.
pub async fn put_bucket_website(
    server: &Server,
    mut request: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(website) = request.extensions.remove::<Arc<Website>>() else {
        return Err(malformed("the document is missing"));
    };
    server.configure(&bucket, ConfigKind::WEBSITE, Some(website.encode())).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

/// Answers GetBucketWebsite.
pub async fn get_bucket_website(
    server: &Server,
    mut request: S3Request<GetBucketWebsiteInput>,
) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(website) = &BucketForms::of(&bucket).website else { return missing(WEBSITE) };
    let mut response = S3Response::new(GetBucketWebsiteOutput::default());
    response.extensions.insert(XmlAnswer::document("WebsiteConfiguration", |root| website.show(root)));
    Ok(response)
}

/// Answers DeleteBucketWebsite.
pub async fn delete_bucket_website(
    server: &Server,
    mut request: S3Request<DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::WEBSITE, None).await?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput::default()))
}
