//! The S3 operations, over the door of the engine.
//!
//! Invariants:
//! - A request arrives with its signature verified and removed, and its body plain. Nothing in here
//!   looks at signatures but [`post`], whose signature is in the form.
//! - Every operation is judged in one place, by its action: see `judge.rs`.
//! - What is not built answers 501 NotImplemented, and never a made-up success.

mod access;
mod acl;
mod answer_xml;
mod attributes;
mod body;
mod bucket;
mod change;
mod conditional;
mod configuration;
mod copy;
mod cors;
mod declared;
mod delete;
mod document;
mod error;
mod facts;
mod given;
mod headers;
mod judge;
mod lenient_headers;
mod lifecycle;
mod lifecycle_document;
mod list;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod listing_by_s3s;
mod listing_xml;
mod multipart;
mod naming;
mod object;
mod object_lock;
mod operations;
mod ownership;
mod page;
mod parsed;
mod policy;
mod post;
mod range;
mod receipt;
mod subresource;
mod tagging;
mod target;
mod timestamp;
mod version;
mod versioning;
mod website;
mod xml_reader;

use crate::access::Action;
pub use crate::access::ownership::Ownership;
use crate::auth::{RequestContext, WrongKey};
use crate::host::{self, Domains, Websites};
use crate::identity::{Identity, Signer};
use crate::memory::RequestMemory;
use crate::xml::write_references;
use access::Gathered;
pub(crate) use acl::judge_acl;
use answer_xml::{XmlAnswer, rewrite};
pub(crate) use document::judge_document;
pub use given::StorageClasses;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ORIGIN};
use http::{Method, StatusCode};
use lenient_headers::LenientHeaders;
pub(crate) use lifecycle_document::lifecycle_rules;
pub use multipart::PART_BYTES_MIN;
use object::FastGet;
use operations::Operation;
pub use operations::Requests;
use parsed::BucketAccess;
pub(crate) use post::judge_form;
use ringbolt_engine::node::{Core, NodeMetrics};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3Error, S3ErrorCode, S3Result};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use std::sync::Arc;
use target::Target;

/// The part of the configuration that the operations need.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The region that this node answers for. The LocationConstraint of a bucket must name it.
    pub region: String,
    /// The domains whose subdomains are bucket names (virtual-host style). If there are none, there
    /// is path style only.
    pub virtual_host_domains: Vec<String>,
    /// The hosts that are websites.
    pub websites: Option<Websites>,
    /// Tells whether a form may be signed with version 2.
    pub signature_v2: bool,
    /// The least size in bytes of every part of an upload but the last.
    pub part_bytes_min: u64,
    pub storage_classes: StorageClasses,
    /// The ownership controls of new buckets that ask for none.
    pub object_ownership: Ownership,
    /// The memory that this core's requests share: forms, documents, pages of listings.
    pub memory: RequestMemory,
    /// The counts of this core's requests.
    pub requests: Requests,
}

/// What every operation works with. It lives on one core's thread.
pub(crate) struct Server {
    pub core: SendWrapper<Core>,
    pub identity: SendWrapper<Rc<Identity>>,
    pub settings: S3Settings,
    pub requests: Requests,
    /// The domains under which hosts name buckets. None leaves path style only.
    pub domains: Option<Domains>,
}

impl Server {
    /// Returns the bucket whose website a request is for, by its host.
    fn site_of(&self, headers: &http::HeaderMap) -> Option<String> {
        let websites = self.settings.websites.as_ref()?;
        websites.bucket_of(host::of_request(headers)?, self.domains.as_ref())
    }
}

/// The S3 service of one core.
#[derive(Clone)]
pub struct S3Service {
    inner: s3s::service::S3Service,
    server: Arc<Server>,
}

/// Makes the service of the core that `core` lives on. It must be called on that core's thread.
pub fn service(core: Core, identity: Rc<Identity>, settings: S3Settings) -> S3Service {
    let domains = Domains::new(&settings.virtual_host_domains);
    let requests = settings.requests.clone();
    let (core, identity) = (SendWrapper::new(core), SendWrapper::new(identity));
    let server = Arc::new(Server { core, identity, settings, requests, domains });
    let mut builder = S3ServiceBuilder::new(operations::Operations(server.clone()));
    builder.set_config(document::limits());
    builder.set_validation(naming::BucketNames);
    if let Some(domains) = server.domains.clone() {
        builder.set_host(domains);
    }
    S3Service { inner: builder.build(), server }
}

impl S3Service {
    /// Answers one request. It never fails: what goes wrong is the answer.
    pub async fn call(&self, mut request: http::Request<Body>) -> http::Response<Body> {
        let site = self.server.site_of(request.headers());
        if request.method() == Method::OPTIONS {
            let response = cors::preflight(&self.server, &request, site).unwrap_or_else(error_response);
            return finished(response, request.uri(), request.extensions().get::<RequestContext>());
        }
        let lenient = LenientHeaders::take(request.headers_mut());
        if let Some(site) = site {
            return Box::pin(website::answer(&self.server, request, lenient, &site)).await;
        }
        let uri = request.uri().clone();
        if let Some(get) = FastGet::of(&self.server, &request, &uri) {
            let answer = get.answer(&self.server, &mut request, lenient).await;
            self.server.requests.answered(Operation::GetObject);
            return match answer {
                Ok(response) => response,
                Err(error) => {
                    finished(error_response(error), &uri, request.extensions().get::<RequestContext>())
                }
            };
        }
        let context = request.extensions().get::<RequestContext>().cloned();
        // This future is boxed, so that the future of a plain GET stays small.
        let response = Box::pin(self.answer(request, lenient)).await.unwrap_or_else(error_response);
        finished(response, &uri, context.as_ref())
    }

    /// Returns whether a request is answered to anybody, whatever signature it brings:
    /// preflights and websites are.
    pub fn is_for_anybody<B>(&self, request: &http::Request<B>) -> bool {
        request.method() == Method::OPTIONS || self.server.site_of(request.headers()).is_some()
    }

    /// Returns the headers that the answer to a request needs, whatever it is, for a page of another
    /// origin. A preflight has its own.
    pub fn headers_beside<B>(&self, request: &http::Request<B>) -> Option<http::HeaderMap> {
        let headers = request.headers();
        if !headers.contains_key(ORIGIN) || request.method() == Method::OPTIONS {
            return None;
        }
        let bucket = self.server.core.bucket(&self.bucket_of(request)?)?;
        cors::headers_for(&bucket, request.method(), headers)
    }

    /// Returns the bucket that a request is for, by its host or its path.
    pub fn bucket_of<B>(&self, request: &http::Request<B>) -> Option<String> {
        let headers = request.headers();
        let by_target = || Target::parse(request.uri(), headers, self.server.domains.as_ref()).ok()?.bucket;
        self.server.site_of(headers).or_else(by_target)
    }

    /// Returns the engine's core that the service works with.
    pub fn core(&self) -> &Core {
        &self.server.core
    }

    /// Returns who there is, as this core knows it.
    pub fn identity(&self) -> &Rc<Identity> {
        &self.server.identity
    }

    /// Says whether a signer may do this with a bucket or a key of it, and why.
    ///
    /// # Errors
    /// Fails if the object can not be looked at.
    pub async fn explain(
        &self,
        signer: Arc<Signer>,
        action: Action,
        target: (&str, Option<&str>),
    ) -> Result<(bool, String), String> {
        let explained = self.server.explain(signer, action, target).await;
        explained.map_err(|error| error.message().unwrap_or("the object can not be looked at").to_owned())
    }

    /// Returns the metrics of the node, or None if it is closing.
    pub async fn metrics(&self) -> Option<NodeMetrics> {
        self.server.core.metrics().await.ok()
    }

    /// Returns the number of requests by operation, over all cores.
    pub fn requests(&self) -> Vec<(&'static str, u64)> {
        self.server.requests.sum()
    }

    async fn answer(
        &self,
        mut request: http::Request<Body>,
        mut lenient: LenientHeaders,
    ) -> S3Result<http::Response<Body>> {
        let domains = self.server.domains.as_ref();
        let mut target = Target::parse(request.uri(), request.headers(), domains)?;
        if let Some(boundary) = post::boundary_of(&request).filter(|_| target.is_plain()) {
            let answer = post::post_object(&self.server, request, lenient, &target, &boundary?).await;
            self.server.requests.answered(Operation::PostObject);
            return answer;
        }
        target.judge(request.method())?;
        target.apply(&mut request)?;
        let has_key = target.key.is_some();
        let bucket = target.bucket.as_deref().and_then(|name| self.server.core.bucket(name));
        let shared = bucket.is_some_and(|bucket| BucketAccess::of(&bucket).is_shared(&bucket.owner));
        if request.method() == Method::POST {
            // This is the type of what is uploaded, and not of this request's body: s3s takes some
            // types for a form.
            lenient.content_type = request.headers_mut().remove(CONTENT_TYPE);
        }
        let (mut request, _memory) =
            document::read_document(request, &lenient, (has_key, shared), &self.server.settings.memory)
                .await?;
        request.extensions_mut().insert(Gathered { lenient, operation: None });
        self.inner.call(request).await.map_err(|error| {
            let error: s3s::StdError = error.into();
            tracing::error!(%error, "an answer could not be written");
            s3s::s3_error!(InternalError)
        })
    }
}

/// Changes an answer of s3s into what S3 would write.
fn finished(
    mut response: http::Response<Body>,
    uri: &http::Uri,
    context: Option<&RequestContext>,
) -> http::Response<Body> {
    let written = response.extensions_mut().remove::<XmlAnswer>();
    let is_complete = written.is_some();
    if let Some(written) = written {
        written.replace(&mut response);
    }
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
    } else if status.is_client_error() || status.is_server_error() {
        let id = context.map_or_else(String::new, |context| context.request_id.to_string());
        rewrite(&mut response, |xml| error::complete(xml, uri.path(), &id));
    } else if status == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
        // s3s knows 206 for GET only.
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if !is_complete {
        rewrite(&mut response, write_references);
    }
    document::shrink(&response);
    response
}

fn error_response(error: S3Error) -> http::Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // That of a form: others never get this far.
    let is_wrong_key =
        matches!(error.code(), S3ErrorCode::InvalidAccessKeyId | S3ErrorCode::SignatureDoesNotMatch);
    let mut response = answer_of(error, status);
    if is_wrong_key {
        response.extensions_mut().insert(WrongKey);
    }
    response
}

fn answer_of(error: S3Error, status: StatusCode) -> http::Response<Body> {
    error.to_http_response().unwrap_or_else(|error| {
        tracing::error!(%error, "an error could not be written as XML");
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = status;
        response
    })
}

#[cfg(test)]
fn testing_bucket() -> ringbolt_engine::types::Bucket {
    ringbolt_engine::types::Bucket {
        id: ringbolt_engine::types::BucketId(1),
        name: "bucket".to_owned(),
        owner: "owner".to_owned(),
        created_ms: 0,
        attributes: Vec::new(),
        versioning: Default::default(),
        lock: None,
        quota: None,
        lifecycle: None,
        config: Vec::new(),
        parsed: Default::default(),
    }
}
