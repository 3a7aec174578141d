//! Requests to servers outside, over HTTPS alone.

use crate::tls::cryptography;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long one request may take, with its connection.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The reason why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error("can not read the authorities in {}: {problem}", path.display())]
    Authorities { path: PathBuf, problem: String },
    #[error(
        "this machine has no list of authorities to trust ({0}); install ca-certificates, or name a file of them"
    )]
    NoAuthorities(std::io::Error),
    #[error("the cryptography of TLS does not work: {0}")]
    Library(rustls::Error),
}

/// The reason why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no answer within {} seconds", REQUEST_TIME.as_secs())]
    TimedOut,
    #[error("{0}{reasons}", reasons = reasons(.0))]
    Client(#[from] hyper_util::client::legacy::Error),
    #[error("can not read the answer: {0}")]
    Answer(Box<dyn Error + Send + Sync>),
}

/// A client that keeps its connections for a while.
#[derive(Clone)]
pub struct Https(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Https {
    /// Makes a client that trusts the authorities in a file of PEM, or without one those of this machine.
    ///
    /// # Errors
    /// Fails when there are none.
    pub fn new(authorities: Option<&Path>) -> Result<Self, HttpsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(cryptography()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(HttpsError::Library)?;
        let config = match authorities {
            None => builder.with_native_roots().map_err(HttpsError::NoAuthorities)?,
            Some(path) => {
                let wrong = |problem| HttpsError::Authorities { path: path.to_owned(), problem };
                builder.with_root_certificates(ringbolt_tls::read_roots(path).map_err(wrong)?)
            }
        };
        let config = config.with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector.build())))
    }

    /// Sends a request, and returns the whole answer.
    ///
    /// # Errors
    /// Fails when there is none in time, or when it is too long.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, RequestError> {
        let exchange = async {
            let (head, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(RequestError::Answer)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(REQUEST_TIME, exchange).await.unwrap_or(Err(RequestError::TimedOut))
    }
}

/// Returns what is behind an error, which the library's own words leave out.
fn reasons(error: &dyn Error) -> String {
    let behind = std::iter::successors(error.source(), |&error| error.source());
    behind.map(|error| format!(": {error}")).collect()
}
