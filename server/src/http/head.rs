//! The rules of RFC 9112 for a request's head that hyper leaves to the server.
//!
//! Invariants, for every request that passes:
//! - A request of HTTP/1.1 has exactly one Host, which is a host that a URI can have.
//! - Its target is a path with a query (or `*`).
//! - Its body is framed by a length or by chunks, and by nothing else.

use http::header::{HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Uri, Version};

/// The methods that some operation has, for the header Allow.
pub const ALLOWED: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/// The reason why the head of a request is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the request has no Host header, or more than one (RFC 9112, 3.2)")]
    HostCount,
    #[error("the Host header is no host with an optional port (RFC 9112, 3.2)")]
    HostValue,
    #[error("the request target is neither a path nor an http or https URI (RFC 9112, 3.2)")]
    Target,
    #[error("the only transfer coding of this server is chunked (RFC 9112, 6.1)")]
    TransferCoding,
    #[error("the trusted proxy in front of this server names no address of its client in X-Forwarded-For")]
    ForwardedFor,
    #[error("the method {0} is not allowed against this resource")]
    Method(&'static str),
}

impl HeadError {
    /// Returns the HTTP status that the error is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::HostCount | Self::HostValue | Self::Target | Self::ForwardedFor => StatusCode::BAD_REQUEST,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the code that S3 has for this error.
    pub fn code(self) -> &'static str {
        match self {
            Self::HostCount | Self::HostValue | Self::Target | Self::ForwardedFor => "InvalidRequest",
            Self::TransferCoding => "NotImplemented",
            Self::Method(_) => "MethodNotAllowed",
        }
    }
}

/// Checks the head of a request. A target in absolute form, as proxies send it, is changed into the
/// form of all others; its host replaces that of the header Host.
pub fn check<B>(request: &mut Request<B>) -> Result<(), HeadError> {
    check_method(request.method())?;
    check_host(request.headers(), request.version())?;
    check_transfer_coding(request.headers())?;
    if let Some((host, uri)) = origin_form(request.uri())? {
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = uri;
    }
    Ok(())
}

/// Refuses the methods that HTTP defines and no resource of S3 has. Methods that nobody knows are
/// refused later, by the S3 operations.
fn check_method(method: &Method) -> Result<(), HeadError> {
    match *method {
        Method::CONNECT => Err(HeadError::Method("CONNECT")),
        Method::TRACE => Err(HeadError::Method("TRACE")),
        Method::PATCH => Err(HeadError::Method("PATCH")),
        _ => Ok(()),
    }
}

fn check_host(headers: &HeaderMap, version: Version) -> Result<(), HeadError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(HeadError::HostValue),
        // HTTP/1.0 has no Host.
        (None, _) if version < Version::HTTP_11 => Ok(()),
        _ => Err(HeadError::HostCount),
    }
}

/// Returns whether a value is an authority without user information. An http URI has no empty host
/// (RFC 9110, 4.2.1).
fn is_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    match Authority::try_from(bytes) {
        Ok(authority) => !bytes.contains(&b'@') && !authority.host().is_empty() && is_port(&authority),
        Err(_) => false,
    }
}

/// Returns whether the port, if there is one, can be one. An empty port is the default.
fn is_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(_) => authority.port_u16().is_some(),
        None => false,
    }
}

fn check_transfer_coding(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(HeadError::TransferCoding),
    }
}

/// Returns the host and the path of a target in absolute form, or None if it is a path already.
fn origin_form(uri: &Uri) -> Result<Option<(HeaderValue, Uri)>, HeadError> {
    let Some(authority) = uri.authority() else {
        let path = uri.path();
        return if path.starts_with('/') || path == "*" { Ok(None) } else { Err(HeadError::Target) };
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(HeadError::Target);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HeadError::Target)?;
    if !is_host(&host) {
        return Err(HeadError::Target);
    }
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Ok(Some((host, Uri::from(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        method: &str,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(String, String), HeadError> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        check(&mut request)?;
        let host = request.headers()[HOST].to_str().unwrap().to_owned();
        Ok((request.uri().to_string(), host))
    }

    #[test]
    fn there_is_one_host_and_it_can_be_one() {
        let good = ["h", "h:", "h:80", "a.b-c.d:9000", "127.0.0.1:1", "[::1]", "[::1]:9000", "h_h"];
        for host in good {
            assert_eq!(judge("GET", "/p?q", &[("host", host)]), Ok(("/p?q".into(), host.into())), "{host}");
        }
        for host in ["", ":80", "u@h", "h:x", "h:99999", "a b", "h/p", "http://h", "[::1"] {
            assert_eq!(judge("GET", "/", &[("host", host)]), Err(HeadError::HostValue), "{host}");
        }
        assert_eq!(judge("GET", "/", &[]), Err(HeadError::HostCount));
        for second in ["h", "g"] {
            assert_eq!(judge("GET", "/", &[("host", "h"), ("host", second)]), Err(HeadError::HostCount));
        }
        let old = |hosts: &[&str]| {
            let mut request = Request::builder().version(Version::HTTP_10).uri("/");
            for host in hosts {
                request = request.header(HOST, *host);
            }
            check(&mut request.body(()).unwrap())
        };
        assert_eq!((old(&[]), old(&["h"])), (Ok(()), Ok(())));
        assert_eq!(old(&["h", "h"]), Err(HeadError::HostCount));
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let found = judge("GET", "http://b.s3.example.com:80/k?x=1", &[("host", "other")]);
        assert_eq!(found, Ok(("/k?x=1".into(), "b.s3.example.com:80".into())));
        assert_eq!(judge("GET", "https://h", &[("host", "h")]), Ok(("/".into(), "h".into())));
        assert_eq!(judge("GET", "http://h/k", &[]), Err(HeadError::HostCount), "Host is sent all the same");
        assert_eq!(judge("GET", "ftp://h/k", &[("host", "h")]), Err(HeadError::Target));
        assert_eq!(judge("GET", "http://u@h/k", &[("host", "h")]), Err(HeadError::Target));
        assert_eq!(judge("OPTIONS", "*", &[("host", "h")]), Ok(("*".into(), "h".into())));
    }

    #[test]
    fn methods_that_nothing_has_are_not_allowed() {
        for (method, uri) in [("PATCH", "/b"), ("TRACE", "/b"), ("CONNECT", "h:80")] {
            assert_eq!(judge(method, uri, &[("host", "h")]), Err(HeadError::Method(method)));
        }
        assert!(judge("PROPFIND", "/b", &[("host", "h")]).is_ok(), "unknown, and not said here");
    }

    #[test]
    fn only_chunks_are_a_transfer_coding() {
        let with = |codings: &[&str]| {
            let mut headers = vec![("host", "h")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            judge("PUT", "/b/k", &headers)
        };
        assert!(with(&[]).is_ok() && with(&["chunked"]).is_ok() && with(&["Chunked"]).is_ok());
        for other in [&["gzip, chunked"][..], &["gzip"], &["chunked", "chunked"], &["identity"]] {
            assert_eq!(with(other), Err(HeadError::TransferCoding), "{other:?}");
        }
    }
}
