//! Virtual-host addressing: the bucket that a host names.
//!
//! Invariants:
//! - Names are compared without case and without port, so that a domain is given as it is in DNS.
//! - Of several domains that fit, the longest counts.
//! - A host under none of them is addressed by path, as addresses and `localhost` are. A whole host
//!   name is a bucket's for websites alone, and only where the operator says so: otherwise whoever may
//!   make buckets could take any host of this server.
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
        let (mut good, bad): (Vec<String>, Vec<String>) =
            domains.iter().map(|domain| plain(domain)).partition(|domain| is_domain(domain));
        if !bad.is_empty() {
            tracing::error!(domains = ?bad, "no host can have these names: they are not used as domains");
        }
        good.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        (!good.is_empty()).then(|| Self(Arc::new(good)))
    }

    /// Returns the bucket that this host names.
    pub fn bucket_of(&self, host: &str) -> Option<String> {
        let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let bucket = host.strip_suffix(self.domain_of(&host)?)?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }

    /// Returns the domain that a host is, or is under.
    fn domain_of(&self, host: &str) -> Option<&str> {
        let fits = |domain: &&String| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.0.iter().find(fits).map(String::as_str)
    }
}

/// The hosts that are websites of buckets.
#[derive(Clone, Debug)]
pub struct Websites(Arc<Vec<SiteName>>);

/// A name that the operator gave to websites.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SiteName {
    name: String,
    kind: SiteKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SiteKind {
    /// What stands before the name is the bucket.
    Domain,
    /// The name is the bucket's.
    Host,
    /// Each host below the name is the bucket's name.
    Hosts,
}

impl Websites {
    /// Makes the set of websites: of `domains`, the subdomains are names of buckets; of `hosts`, a
    /// bucket has the whole host as its name. `*.example.com` are all hosts below example.com. Returns
    /// None if there are none. What no host can have is logged and left out.
    pub fn new(domains: &[String], hosts: &[String]) -> Option<Self> {
        let domains = domains.iter().map(|name| (name.as_str(), SiteKind::Domain));
        let hosts = hosts.iter().map(|name| match name.strip_prefix("*.") {
            Some(name) => (name, SiteKind::Hosts),
            None => (name.as_str(), SiteKind::Host),
        });
        let (mut good, bad): (Vec<SiteName>, Vec<SiteName>) = domains
            .chain(hosts)
            .map(|(name, kind)| SiteName { name: plain(name), kind })
            .partition(|site| is_domain(&site.name));
        if !bad.is_empty() {
            tracing::error!(websites = ?bad, "no host can have these names: they are not used for websites");
        }
        // Of several that fit, the longest counts, and of two of one length the whole host.
        good.sort_by_key(|site| (std::cmp::Reverse(site.name.len()), site.kind != SiteKind::Host));
        (!good.is_empty()).then(|| Self(Arc::new(good)))
    }

    /// Returns the bucket whose website this host is, or None if the host is none, or is better known as
    /// one of `s3`. The host of a domain itself is the website of no bucket, whose name is empty.
    pub(crate) fn bucket_of(&self, host: &str, s3: Option<&Domains>) -> Option<String> {
        let host = plain(host);
        let (site, bucket) = self.0.iter().find_map(|site| Some((site, site.bucket_of(&host)?)))?;
        let by_s3 = s3.and_then(|domains| domains.domain_of(&host)).map_or(0, str::len);
        (site.name.len() >= by_s3).then(|| bucket.to_owned())
    }
}

impl SiteName {
    fn bucket_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let before = host.strip_suffix(self.name.as_str())?;
        let below = before.strip_suffix('.').filter(|below| !below.is_empty());
        match self.kind {
            SiteKind::Host => before.is_empty().then_some(host),
            SiteKind::Hosts => below.map(|_| host),
            SiteKind::Domain if before.is_empty() => Some(""),
            SiteKind::Domain => below,
        }
    }
}

/// Returns a host as it is compared: without case, without port, without a dot at its end.
fn plain(host: &str) -> String {
    without_port(host).trim_matches('.').to_ascii_lowercase()
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
    fn a_host_is_a_website_where_the_operator_says_so() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let domains = names(&["s3-website.localhost", "Sites.example.com:80"]);
        let hosts = names(&["www.example.org", "*.example.net", "shop.sites.example.com"]);
        let websites = Websites::new(&domains, &hosts).unwrap();
        let s3 = Domains::new(&names(&["s3.example.net", "example.com"])).unwrap();
        let site = |host: &str| websites.bucket_of(host, Some(&s3));
        for (host, bucket) in [
            ("b.s3-website.localhost", Some("b")),
            ("B.S3-Website.localhost:9000", Some("b")),
            ("a.b.s3-website.localhost.", Some("a.b")),
            ("s3-website.localhost", Some("")),
            ("b.sites.example.com", Some("b")),
            ("shop.sites.example.com", Some("shop.sites.example.com")),
            ("www.example.org", Some("www.example.org")),
            ("a.www.example.org", None),
            ("example.org", None),
            ("a.b.example.net:80", Some("a.b.example.net")),
            ("example.net", None),
            ("s3.example.net", None),
            ("b.s3.example.net", None),
            ("b.example.com", None),
            ("localhost", None),
            ("127.0.0.1:9000", None),
            ("xs3-website.localhost", None),
        ] {
            assert_eq!(site(host).as_deref(), bucket, "{host}");
        }
        assert!(Websites::new(&[], &[]).is_none() && Websites::new(&names(&["a b"]), &[]).is_none());
    }

    #[test]
    fn without_domains_there_is_path_style_only() {
        assert!(Domains::new(&[]).is_none());
        assert!(Domains::new(&["a/b".to_owned()]).is_none());
    }
}
