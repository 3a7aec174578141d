//! This module sends GET requests by http or https: listings of S3 servers, metrics of a node.
//!
//! Invariants: no request is repeated without the caller's knowledge, and no redirect is followed,
//! because a signature is for one host. A response is limited in size and time. Certificates are
//! verified against those that the system trusts.

use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Error};

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// A response must begin within this time, and its body must arrive within the same time again.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Sends GET requests.
pub struct Http {
    agent: Agent,
}

/// This is a complete response.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Says why there is no response.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {url}: {source}")]
pub struct HttpError {
    /// This is the URL without its query.
    pub url: String,
    pub source: Box<Error>,
}

impl HttpError {
    /// Returns whether the same request may succeed in a moment: the connection was refused, lost,
    /// or too slow.
    pub fn is_transient(&self) -> bool {
        match &*self.source {
            // Errors of TLS are reported as invalid data; they will not go away.
            Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
            Error::Timeout(_) | Error::ConnectionFailed | Error::BodyStalled => true,
            _ => false,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("ringbolt-plan")
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .timeout_recv_body(Some(ANSWER_TIME))
            .build();
        Self { agent: config.new_agent() }
    }
}

impl Http {
    /// Returns a response with any status and a body of at most `body_bytes_max`.
    ///
    /// # Errors
    /// Fails when there is no complete response within the time limits, or when it is too long.
    pub fn get(
        &self,
        url: &str,
        headers: &[(String, String)],
        body_bytes_max: u64,
    ) -> Result<HttpAnswer, HttpError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let failed = |source| {
            let url = url.split('?').next().unwrap_or_default().to_owned();
            HttpError { url, source: Box::new(source) }
        };
        let answer = request.call().map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().into_with_config().limit(body_bytes_max).read_to_vec();
        Ok(HttpAnswer { status, body: body.map_err(failed)? })
    }
}

#[cfg(test)]
pub mod testing {
    //! This module is a server on loopback that sends what a test tells it to.

    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// Starts a server that sends one of `answers` on each connection, in order, and closes it. The
    /// thread returns the heads of the requests.
    pub fn serve(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let give = |answer: Vec<u8>| {
                let (stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                // The client may have closed the connection.
                let _ = (&stream).write_all(&answer);
                head.join("\n")
            };
            answers.into_iter().map(give).collect()
        });
        (url, serving)
    }

    /// Returns a response with its length.
    pub fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{answer, serve};
    use super::*;

    #[test]
    fn answers_of_every_status_are_given_and_redirects_are_not_followed() {
        let moved = "301 Moved Permanently\r\nLocation: http://127.0.0.1:1/elsewhere";
        let (url, serving) =
            serve(vec![answer("200 OK", "yes"), answer("503 Slow", "no"), answer(moved, "there")]);
        let http = Http::default();
        let headers = [("x-amz-date".to_owned(), "now".to_owned())];
        for (status, body) in [(200, "yes"), (503, "no"), (301, "there")] {
            let got = http.get(&format!("{url}/path?a=b%2Fc"), &headers, 100).unwrap();
            assert_eq!((got.status, got.body.as_slice()), (status, body.as_bytes()));
        }
        let heads = serving.join().unwrap();
        assert!(heads[0].starts_with("GET /path?a=b%2Fc HTTP/1.1\n"), "{}", heads[0]);
        assert!(heads[0].to_lowercase().contains("x-amz-date: now"), "{}", heads[0]);
    }

    #[test]
    fn what_speaks_no_tls_is_refused_for_good() {
        let (url, serving) = serve(vec![answer("200 OK", "plain")]);
        let error = Http::default().get(&url.replace("http://", "https://"), &[], 100).unwrap_err();
        assert!(!error.is_transient(), "{error}");
        drop(serving);
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this".to_vec();
        let (url, serving) = serve(vec![cut, answer("200 OK", "longer than ten bytes")]);
        let http = Http::default();
        let lost = http.get(&format!("{url}/?secret=1"), &[], 100).unwrap_err();
        assert!(lost.is_transient() && !lost.to_string().contains("secret"), "{lost}");
        let long = http.get(&url, &[], 10).unwrap_err();
        assert!(!long.is_transient(), "{long}");
        serving.join().unwrap();
        let refused = http.get(&url, &[], 10).unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        assert!(!http.get("ftp://127.0.0.1/", &[], 10).unwrap_err().is_transient());
    }
}
