//! Virtual-host addressing: the bucket that a host names.
//!
//! Invariants:
//! - Names are compared without case and without port, so that a domain is given as it is in DNS.
//! - Of several domains that fit, the longest counts.
//! - A host under none of them is addressed by path, as addresses and `localhost` are. (A bucket is
//!   never a whole host name: S3's CNAME style is absent.)
//!
//! [`absolute_uri`] goes the other way: it makes the address by which a client knows an object.

use http::HeaderMap;
use http::header::HOST;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};
use std::sync::Arc;

/// The characters that `encoding-type=url` leaves as they are.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// Encodes a key or prefix as `encoding-type=url` shows it.
pub fn url_encode(name: &[u8]) -> String {
    url_pieces(name).to_string()
}

/// Returns the pieces of what [`url_encode`] returns.
pub fn url_pieces(name: &[u8]) -> PercentEncode<'_> {
    percent_encode(name, KEPT)
}

/// The domains under which hosts name buckets. They are shared by s3s and the upload forms that s3s
/// never sees.
#[derive(Clone, Debug)]
pub(crate) struct Domains(Arc<Vec<String>>);

impl Domains {
    /// Makes the set of domains, or None if there are none, which leaves path style only. Domains
    /// that no host can have are logged and left out.
    pub fn new(domains: &[String]) -> Option<Self> {
        let (mut good, bad): (Vec<String>, Vec<String>) = domains
            .iter()
            .map(|domain| without_port(domain).trim_matches('.').to_ascii_lowercase())
            .partition(|domain| is_domain(domain));
        if !bad.is_empty() {
            tracing::error!(domains = ?bad, "no host can have these names: they are not used as domains");
        }
        good.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        (!good.is_empty()).then(|| Self(Arc::new(good)))
    }

    /// Returns the bucket that this host names.
    pub fn bucket_of(&self, host: &str) -> Option<String> {
        let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let domain = self.0.iter().find(|domain| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })?;
        let bucket = host.strip_suffix(domain.as_str())?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket_of(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

/// Returns the host of a request, as its client wrote it.
pub(crate) fn of_request(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST).and_then(|value| value.to_str().ok())
}

/// Returns the absolute URI of an object, with the scheme, the host and the style (path or virtual
/// host) by which the client of this request reached the server. Without a Host it is the path
/// alone.
pub(crate) fn absolute_uri(
    domains: Option<&Domains>,
    (scheme, headers): (&str, &HeaderMap),
    bucket: &str,
    key: &str,
) -> String {
    let key = url_encode(key.as_bytes());
    let Some(host) = of_request(headers).filter(|host| !host.is_empty()) else {
        return format!("/{bucket}/{key}");
    };
    let named = domains.and_then(|domains| domains.bucket_of(host));
    if named.as_deref() == Some(bucket) {
        return format!("{scheme}://{host}/{key}");
    }
    format!("{scheme}://{host}/{bucket}/{key}")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(host: &str) -> Option<String> {
        let domains = ["s3.example.com", "Example.com:9000", "s3.localhost", "a b"].map(str::to_owned);
        Domains::new(&domains).unwrap().bucket_of(host)
    }

    #[test]
    fn a_host_under_a_domain_names_a_bucket() {
        for host in ["b.s3.example.com", "B.S3.Example.COM", "b.s3.example.com:9000", "b.s3.example.com."] {
            assert_eq!(bucket(host).as_deref(), Some("b"), "{host}");
        }
        assert_eq!(bucket("a.b.s3.localhost:1").as_deref(), Some("a.b"));
        assert_eq!(bucket("b.example.com").as_deref(), Some("b"));
    }

    #[test]
    fn other_hosts_name_none() {
        let hosts = [
            "s3.example.com",
            "s3.example.com:9000",
            "localhost",
            "xs3.localhost",
            "127.0.0.1:9000",
            "[::1]:1",
            "",
        ];
        for host in hosts {
            assert_eq!(bucket(host), None, "{host}");
        }
    }

    fn uri_of(scheme: &str, headers: &[(&'static str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        let domains = Domains::new(&["s3.localhost".to_owned()]);
        absolute_uri(domains.as_ref(), (scheme, &headers.collect()), "b", "a b/\u{e9}")
    }

    #[test]
    fn an_absolute_uri_has_the_scheme_and_the_host_that_the_client_used() {
        let http = |headers| uri_of("http", headers);
        assert_eq!(http(&[("host", "127.0.0.1:9000")]), "http://127.0.0.1:9000/b/a%20b/%C3%A9");
        assert_eq!(http(&[("host", "b.s3.localhost:9000")]), "http://b.s3.localhost:9000/a%20b/%C3%A9");
        assert_eq!(http(&[("host", "c.s3.localhost")]), "http://c.s3.localhost/b/a%20b/%C3%A9");
        assert_eq!(http(&[]), "/b/a%20b/%C3%A9");
        let proxied = uri_of("https", &[("host", "s3.example.com")]);
        assert_eq!(proxied, "https://s3.example.com/b/a%20b/%C3%A9");
        // What a client writes itself is none of a proxy's.
        let forged = [("host", "s3.example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(http(&forged), "http://s3.example.com/b/a%20b/%C3%A9");
    }

    #[test]
    fn without_domains_there_is_path_style_only() {
        assert!(Domains::new(&[]).is_none());
        assert!(Domains::new(&["a/b".to_owned()]).is_none());
    }
}
