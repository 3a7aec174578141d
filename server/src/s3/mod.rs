//! The S3 operations over the engine's door.
//!
//! Invariants: a request arrives with its signature verified and stripped and its body plain; nothing in
//! here looks at signatures but [`post`], whose signature is in the form. Only the owner of a bucket may
//! touch it or what is in it. What is not built answers 501 NotImplemented, never a made-up success.

mod access;
mod acl;
mod attributes;
mod bucket;
mod checksum;
mod conditional;
mod configuration;
mod copy;
mod declared;
mod delete;
mod document;
mod error;
mod headers;
mod host;
mod list;
mod multipart;
mod naming;
mod object;
mod operations;
mod parts;
mod plain;
mod post;
mod preamble;
mod range;
mod receive;
mod requests;
mod send;
mod subresource;
mod target;
mod uploads;
mod versions;
mod xml;
mod xml_reader;
mod xml_writer;

use crate::auth::{Accounts, RequestContext};
use crate::memory::RequestMemory;
pub(crate) use checksum::declares_empty;
pub(crate) use document::judge_document;
pub(crate) use host::Domains;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{Method, StatusCode};
use operations::Operation;
use plain::PlainGet;
pub(crate) use post::judge_form;
use preamble::Preamble;
pub use requests::Requests;
use ringbolt_engine::node::{Core, NodeMetrics};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3Error, S3Result};
use send_wrapper::SendWrapper;
use std::sync::Arc;
use target::Target;
use xml::{rewrite, write_references};
use xml_writer::{Written, escaped};

/// What the operations need to know of the configuration.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The region this node answers for; a bucket's LocationConstraint must name it.
    pub region: String,
    /// Domains whose subdomains are bucket names (virtual-host style). Empty: path style only.
    pub virtual_host_domains: Vec<String>,
    /// Whether a form may be signed with version 2.
    pub signature_v2: bool,
    /// What this core's requests may hold: forms, documents, pages of listings.
    pub memory: RequestMemory,
    /// Where this core counts its requests.
    pub requests: Requests,
}

/// What every operation works with. Lives on one core's thread.
pub(crate) struct Server {
    pub core: SendWrapper<Core>,
    pub accounts: Arc<Accounts>,
    pub settings: S3Settings,
    pub requests: Requests,
    /// None: path style only.
    pub domains: Option<Domains>,
}

/// The S3 service of one core.
#[derive(Clone)]
pub struct S3Service {
    inner: s3s::service::S3Service,
    server: Arc<Server>,
}

/// Makes the service of the core that `core` lives on; it must be called on that core's thread.
pub fn service(core: Core, accounts: Arc<Accounts>, settings: S3Settings) -> S3Service {
    let domains = Domains::new(&settings.virtual_host_domains);
    let requests = settings.requests.clone();
    let server = Arc::new(Server { core: SendWrapper::new(core), accounts, settings, requests, domains });
    let mut builder = S3ServiceBuilder::new(operations::Operations(server.clone()));
    builder.set_config(document::limits());
    builder.set_validation(naming::BucketNames);
    if let Some(domains) = server.domains.clone() {
        builder.set_host(domains);
    }
    S3Service { inner: builder.build(), server }
}

impl S3Service {
    /// Answers one request. Never fails: what goes wrong is the answer.
    pub async fn call(&self, mut request: http::Request<Body>) -> http::Response<Body> {
        let preamble = Preamble::take(request.headers_mut());
        let context = request.extensions().get::<RequestContext>();
        let uri = request.uri().clone();
        if let Some(get) = PlainGet::of(&self.server, &request) {
            let answer = get.answer(&self.server, context, preamble).await;
            self.server.requests.answered(Operation::GetObject);
            return match answer {
                Ok(response) => response,
                Err(error) => finished(error_response(error), &uri, context),
            };
        }
        let context = context.cloned();
        // Apart, so that what a plain GET moves around with its future stays small.
        let response = Box::pin(self.answer(request, preamble)).await.unwrap_or_else(error_response);
        finished(response, &uri, context.as_ref())
    }

    /// The numbers of the node; none when it is going down.
    pub async fn metrics(&self) -> Option<NodeMetrics> {
        self.server.core.metrics().await.ok()
    }

    /// Requests by operation, over all cores.
    pub fn requests(&self) -> Vec<(&'static str, u64)> {
        self.server.requests.sum()
    }

    async fn answer(
        &self,
        mut request: http::Request<Body>,
        mut preamble: Preamble,
    ) -> S3Result<http::Response<Body>> {
        let domains = self.server.domains.as_ref();
        let mut target = Target::parse(request.uri(), request.headers(), domains)?;
        if let Some(boundary) = post::boundary_of(&request).filter(|_| target.is_plain()) {
            let answer = post::post_object(&self.server, request, preamble, &target, &boundary?).await;
            self.server.requests.answered(Operation::PostObject);
            return answer;
        }
        target.judge(request.method())?;
        target.apply(&mut request)?;
        let has_key = target.key.is_some();
        if request.method() == Method::POST {
            // Of what is uploaded, and not of this request's body: s3s takes some types for a form.
            preamble.content_type = request.headers_mut().remove(CONTENT_TYPE);
        }
        let (mut request, _memory) =
            document::take_in(request, &preamble, has_key, &self.server.settings.memory).await?;
        request.extensions_mut().insert(preamble);
        self.inner.call(request).await.map_err(|error| {
            let error: s3s::StdError = error.into();
            tracing::error!(%error, "an answer could not be written");
            s3s::s3_error!(InternalError)
        })
    }
}

/// The answer as S3 would write it, after s3s has.
fn finished(
    mut response: http::Response<Body>,
    uri: &http::Uri,
    context: Option<&RequestContext>,
) -> http::Response<Body> {
    if let Some(written) = response.extensions_mut().remove::<Written>() {
        written.replace(&mut response);
    }
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
    } else if status.is_client_error() || status.is_server_error() {
        let id = context.map_or("", |context| context.request_id.as_str());
        rewrite(&mut response, |xml| Some(error::complete(xml, &escaped(uri.path()), id)));
    } else if status == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
        // s3s knows 206 for GET only.
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    rewrite(&mut response, write_references);
    document::shrink(&response);
    response
}

fn error_response(error: S3Error) -> http::Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error.to_http_response().unwrap_or_else(|error| {
        tracing::error!(%error, "an error could not be written as XML");
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = status;
        response
    })
}
