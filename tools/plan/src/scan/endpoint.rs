//! This module signs requests for pages of a listing.

use super::error::ScanError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ringbolt_tool_common::s3::sign::{self, Canonical};
use ureq::http::Uri;

pub const REGION_DEFAULT: &str = "us-east-1";
/// S3 returns at most this many keys.
const PAGE_KEYS: &str = "1000";
/// S3 encodes all other characters in a canonical request.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const BUCKET_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=63;

/// Holds the credentials of a scan.
#[derive(Clone, PartialEq, Eq)]
pub struct ScanCredentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
}

impl ScanCredentials {
    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or
    /// `RINGBOLT_ACCESS_KEY` and `RINGBOLT_SECRET_KEY`, which take precedence, because they were
    /// set for this program alone. Returns `None` if neither is set.
    ///
    /// # Errors
    /// Fails when only one of a pair is set.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ScanError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let pairs = [
            ("RINGBOLT_ACCESS_KEY", "RINGBOLT_SECRET_KEY", None),
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", Some("AWS_SESSION_TOKEN")),
        ];
        for (access, secret, token) in pairs {
            match (set(access), set(secret)) {
                (Some(access_key), Some(secret_key)) => {
                    return Ok(Some(Self { access_key, secret_key, session_token: token.and_then(set) }));
                }
                (Some(_), None) => return Err(ScanError::HalfCredentials(access, secret)),
                (None, Some(_)) => return Err(ScanError::HalfCredentials(secret, access)),
                (None, None) => {}
            }
        }
        Ok(None)
    }
}

/// Describes a bucket of an S3 server, with path-style addresses.
#[derive(Clone)]
pub struct S3Source {
    /// Has no slash at the end.
    endpoint: String,
    /// This is the value of the `Host` header.
    host: String,
    /// This is the path of the endpoint and the bucket, percent-encoded.
    path: String,
    bucket: String,
    pub prefix: String,
    pub region: String,
    /// This is `None` for unsigned requests to public buckets.
    pub credentials: Option<ScanCredentials>,
}

/// This is one GET request.
pub struct ListRequest {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

impl S3Source {
    /// Creates the source of a bucket.
    ///
    /// # Errors
    /// Fails when `endpoint` is not an http or https URL, or when `bucket` is not a valid name.
    pub fn new(
        endpoint: &str,
        bucket: &str,
        credentials: Option<ScanCredentials>,
    ) -> Result<Self, ScanError> {
        let refuse = |why| ScanError::Endpoint { endpoint: endpoint.to_owned(), why };
        let uri: Uri = endpoint.parse().map_err(|_| refuse("it is no URL"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(refuse("it begins with neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse(
                "credentials do not belong there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        }
        if uri.query().is_some() {
            return Err(refuse("it must not have a query"));
        }
        let usable = BUCKET_CHARACTERS.contains(&bucket.chars().count()) && !bucket.contains('/');
        if !usable || bucket.contains("..") {
            return Err(ScanError::Bucket(bucket.to_owned()));
        }
        let host = match uri.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            endpoint: format!("{scheme}://{host}"),
            path: format!("{base}/{}", utf8_percent_encode(bucket, ENCODED)),
            host,
            bucket: bucket.to_owned(),
            prefix: String::new(),
            region: REGION_DEFAULT.into(),
            credentials,
        })
    }

    /// Returns the URL for messages.
    pub fn url(&self) -> String {
        format!("{}{}", self.endpoint, self.path)
    }

    /// Describes the source for the file of sizes.
    pub fn in_words(&self) -> String {
        let under = if self.prefix.is_empty() { String::new() } else { format!(" under {:?}", self.prefix) };
        let base = self.path.rsplit_once('/').map_or("", |(base, _)| base);
        format!("bucket {}{under} at {}{base}", self.bucket, self.endpoint)
    }

    /// Returns the request for the page that begins at `token`, or for the first. `timestamp` has
    /// the form of `x-amz-date`.
    pub fn request(&self, token: Option<&str>, timestamp: &str) -> ListRequest {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut query = format!("encoding-type=url&list-type=2&max-keys={PAGE_KEYS}");
        if !self.prefix.is_empty() {
            query += &format!("&prefix={}", encode(&self.prefix));
        }
        if let Some(token) = token {
            query = format!("continuation-token={}&{query}", encode(token));
        }
        let path = format!("{}?{query}", self.path);
        let url = format!("{}{path}", self.endpoint);
        let Some(credentials) = &self.credentials else {
            return ListRequest { url, headers: Vec::new() };
        };
        let payload = sign::sha256_hex(b"");
        let mut headers = vec![
            ("host".to_owned(), self.host.clone()),
            ("x-amz-content-sha256".to_owned(), payload.clone()),
            ("x-amz-date".to_owned(), timestamp.to_owned()),
        ];
        if let Some(token) = &credentials.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.clone()));
        }
        let signer = sign::Credentials {
            access_key: credentials.access_key.clone(),
            secret_key: credentials.secret_key.clone(),
            region: self.region.clone(),
        };
        let canonical = Canonical { method: "GET", path: &path, headers, payload: &payload, timestamp };
        let authorization = sign::authorization(&signer, &canonical);
        let mut headers = canonical.headers;
        headers.push(("authorization".to_owned(), authorization));
        ListRequest { url, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_endpoint_or_bucket_is_refused_with_the_reason() {
        let refused = |endpoint: &str, bucket: &str| match S3Source::new(endpoint, bucket, None) {
            Ok(source) => panic!("{endpoint} was taken as {}", source.url()),
            Err(error) => error.to_string(),
        };
        for (endpoint, why) in [
            ("", "no URL"),
            ("127.0.0.1:9000", "neither"),
            ("ftp://host", "neither"),
            ("http://key:secret@host", "AWS_ACCESS_KEY_ID"),
            ("http://host/?x=1", "query"),
            ("/only/a/path", "neither"),
        ] {
            assert!(refused(endpoint, "bucket").contains(why), "{endpoint}: {}", refused(endpoint, "bucket"));
        }
        for bucket in ["", "ab", "a/b", "a..b"] {
            assert!(refused("http://host", bucket).contains(&format!("bucket {bucket:?}")));
        }
    }

    #[test]
    fn urls_are_encoded_as_they_are_signed() {
        let mut source = S3Source::new("https://s3.example.com:443/base/", "photos", None).unwrap();
        source.prefix = "a b/ü+".into();
        let request = source.request(Some("x/y=="), "20260101T000000Z");
        let query = "continuation-token=x%2Fy%3D%3D&encoding-type=url&list-type=2&max-keys=1000\
            &prefix=a%20b%2F%C3%BC%2B";
        assert_eq!(request.url, format!("https://s3.example.com/base/photos?{query}"));
        assert!(request.headers.is_empty(), "nobody signs");
        assert_eq!(source.in_words(), "bucket photos under \"a b/ü+\" at https://s3.example.com/base");
    }

    #[test]
    fn the_signature_covers_host_and_session() {
        let credentials = ScanCredentials {
            access_key: "AKIA".into(),
            secret_key: "secret".into(),
            session_token: Some("session".into()),
        };
        let source = S3Source::new("http://127.0.0.1:9000", "photos", Some(credentials)).unwrap();
        let headers = source.request(None, "20260101T000000Z").headers;
        let of = |name: &str| headers.iter().find(|(found, _)| found == name).unwrap().1.clone();
        assert_eq!((of("host"), of("x-amz-security-token")), ("127.0.0.1:9000".into(), "session".into()));
        let signed = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,";
        assert!(of("authorization").contains(signed), "{}", of("authorization"));
        assert!(of("authorization").contains("/20260101/us-east-1/s3/"));
        assert!(headers.iter().all(|(_, value)| value != "secret"));
    }

    #[test]
    fn credentials_come_in_pairs() {
        let from = |set: &'static [(&'static str, &'static str)]| {
            let value =
                |name: &str| set.iter().find(|(found, _)| *found == name).map(|(_, to)| (*to).to_owned());
            ScanCredentials::from_environment(value)
        };
        assert!(from(&[]).unwrap().is_none());
        assert!(from(&[("AWS_ACCESS_KEY_ID", "")]).unwrap().is_none());
        let aws = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        let found = from(Box::leak(Box::new(aws))).unwrap().unwrap();
        assert_eq!((found.access_key.as_str(), found.session_token.as_deref()), ("a", Some("t")));
        let own = [aws[0], aws[1], ("RINGBOLT_ACCESS_KEY", "r"), ("RINGBOLT_SECRET_KEY", "q")];
        assert_eq!(from(Box::leak(Box::new(own))).unwrap().unwrap().access_key, "r");
        let half = from(&[("AWS_ACCESS_KEY_ID", "a")]).err().unwrap().to_string();
        assert!(half.starts_with("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"), "{half}");
        assert!(from(&[("RINGBOLT_SECRET_KEY", "q")]).is_err());
    }
}
