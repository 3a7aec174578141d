//! The target of a request: bucket, key and parameters, parsed once.
//!
//! Invariant: routing, checks and handlers all see what was parsed here. A request's URI is written
//! anew from it, so that nobody later can read it in another way: bucket and key with only what has
//! to be encoded, and of the query what [`subresource`] says that the operation takes.

use super::error::invalid_argument;
use super::subresource::{self, Level};
use crate::host::{self, Domains};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::{S3Error, S3Result, s3_error};

/// The characters that a path and a query keep as they are. RFC 3986 calls them unreserved.
const QUERY_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH_KEEPS: &AsciiSet = &QUERY_KEEPS.remove(b'/');

/// The most parameters of a query. No operation takes so many, and each is compared with all before
/// it.
const PARAMETERS_MAX: usize = 64;

/// The bucket, the key and the parameters that a request is aimed at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The bucket. None if the request is aimed at the service itself.
    pub bucket: Option<String>,
    pub key: Option<String>,
    /// Tells whether the host names the bucket, and not the path.
    by_host: bool,
    /// The decoded name and value of each parameter, in the order of the query. A name without `=`
    /// has no value.
    parameters: Vec<(String, Option<String>)>,
}

fn invalid_uri(what: &str) -> S3Error {
    s3_error!(InvalidURI, "Couldn't parse the specified URI: {what}")
}

impl Target {
    /// Reads the target of a request. Fails if its URI is not UTF-8, names an empty bucket, or has
    /// too many parameters.
    pub fn parse(uri: &Uri, headers: &HeaderMap, domains: Option<&Domains>) -> S3Result<Self> {
        let path = percent_decode_str(uri.path()).decode_utf8();
        let path = path.map_err(|_| invalid_uri("its path is not UTF-8"))?;
        let path =
            path.strip_prefix('/').ok_or_else(|| invalid_uri("its path does not begin with a slash"))?;
        let named =
            domains.zip(host::of_request(headers)).and_then(|(domains, host)| domains.bucket_of(host));
        let by_host = named.is_some();
        let (bucket, key) = match named {
            Some(bucket) => (Some(bucket), path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                if bucket.is_empty() && !path.is_empty() {
                    return Err(s3_error!(InvalidBucketName, "The specified bucket is not valid."));
                }
                (Some(bucket.to_owned()).filter(|_| !path.is_empty()), key)
            }
        };
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        Ok(Self { bucket, key, by_host, parameters: parameters(uri.query().unwrap_or_default())? })
    }

    /// Returns whether the target is the service, a bucket or an object.
    pub fn level(&self) -> Level {
        match (&self.bucket, &self.key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }

    /// Returns whether nothing in the query says or chooses anything. A form is posted to such a
    /// target.
    pub fn is_plain(&self) -> bool {
        self.parameters.iter().all(|(name, _)| subresource::means_nothing(name))
    }

    /// Removes the parameters that the operation does not take. Fails if there is no such
    /// operation.
    pub fn judge(&mut self, method: &Method) -> S3Result<()> {
        let level = self.level();
        self.parameters.retain(|(name, _)| !subresource::means_nothing(name));
        for (at, (name, _)) in self.parameters.iter().enumerate() {
            if self.parameters[..at].iter().any(|(before, _)| before == name) {
                let shown = subresource::shown(name);
                return Err(invalid_argument(format!("The query parameter {shown:?} is given twice")));
            }
        }
        subresource::check(method, level, &mut self.parameters)
    }

    /// Writes the request's URI anew from this target. Fails if it gets too long.
    pub fn apply<B>(&self, request: &mut Request<B>) -> S3Result<()> {
        let mut text = String::from("/");
        let bucket = self.bucket.iter().filter(|_| !self.by_host);
        for (at, piece) in bucket.chain(self.key.iter()).enumerate() {
            if at > 0 {
                text.push('/');
            }
            text.extend(utf8_percent_encode(piece, PATH_KEEPS));
        }
        for (at, (name, value)) in self.parameters.iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.extend(utf8_percent_encode(name, QUERY_KEEPS));
            if let Some(value) = value {
                text.push('=');
                text.extend(utf8_percent_encode(value, QUERY_KEEPS));
            }
        }
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| invalid_uri("it is too long"))?);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| invalid_uri("its parts do not fit"))?;
        Ok(())
    }
}

fn parameters(query: &str) -> S3Result<Vec<(String, Option<String>)>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_decode_str(&text).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|_| invalid_uri("its query is not UTF-8"))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    if pairs.clone().nth(PARAMETERS_MAX).is_some() {
        return Err(invalid_argument(format!("The query has more than {PARAMETERS_MAX} parameters")));
    }
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((decode(name)?, Some(decode(value)?))),
            None => Ok((decode(pair)?, None)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn take(method: &str, uri: &str, host: &str) -> Result<(Target, String), S3ErrorCode> {
        let mut request = Request::builder().method(method).uri(uri).header("host", host).body(()).unwrap();
        let domains = Domains::new(&["s3.localhost".to_owned()]);
        let take = |request: &mut Request<()>| {
            let mut target = Target::parse(request.uri(), request.headers(), domains.as_ref())?;
            target.judge(request.method())?;
            target.apply(request)?;
            Ok(target)
        };
        let target = take(&mut request).map_err(|error: S3Error| error.code().clone())?;
        Ok((target, request.uri().to_string()))
    }

    fn names(method: &str, uri: &str, host: &str) -> (Option<String>, Option<String>, String) {
        let (target, uri) = take(method, uri, host).unwrap();
        (target.bucket, target.key, uri)
    }

    #[test]
    fn every_spelling_of_a_name_is_one_target() {
        let named = |bucket: &str, key: &str, uri: &str| {
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            (given(bucket), given(key), uri.to_owned())
        };
        assert_eq!(names("GET", "/", "h"), named("", "", "/"));
        for spelling in ["/b1", "/b1/", "/%62%31", "/b1%2F"] {
            assert_eq!(names("GET", spelling, "h"), named("b1", "", "/b1"), "{spelling}");
        }
        for spelling in ["/b1/a/k", "/b1%2Fa%2fk", "/b1/a%2Fk", "/%621/%61/%6b"] {
            assert_eq!(names("GET", spelling, "h"), named("b1", "a/k", "/b1/a/k"), "{spelling}");
        }
        assert_eq!(
            names("GET", "/b1//k+ %c3%a9".replace(' ', "%20").as_str(), "h"),
            named("b1", "/k+ \u{e9}", "/b1//k%2B%20%C3%A9")
        );
        for spelling in ["/a/k", "/a%2Fk"] {
            let there = names("GET", spelling, "b1.s3.localhost:1");
            assert_eq!(there, named("b1", "a/k", "/a/k"), "{spelling}");
        }
        assert_eq!(names("GET", "/", "b1.s3.localhost"), named("b1", "", "/"));
        assert_eq!(take("GET", "/b1/%ff", "h"), Err(S3ErrorCode::InvalidURI));
        for empty in ["//", "/%2F", "//?list-type=2", "//k", "/%2fk"] {
            assert_eq!(take("GET", empty, "h"), Err(S3ErrorCode::InvalidBucketName), "{empty}");
        }
    }

    #[test]
    fn of_the_query_only_what_the_operation_takes_is_left() {
        let left = |method, uri| take(method, uri, "h").map(|(_, uri)| uri);
        assert_eq!(
            left("GET", "/b1/k?x-id=GetObject&x-trace=7&versionId=null").as_deref(),
            Ok("/b1/k?versionId=null")
        );
        assert_eq!(
            left("GET", "/b1?prefix=a+b%2B&%6cist-type=2&&").as_deref(),
            Ok("/b1?prefix=a%20b%2B&list-type=2")
        );
        assert_eq!(left("PUT", "/b1/k?x-id=PutObject").as_deref(), Ok("/b1/k"));
        // An argument without a value is not there for whoever comes next.
        assert_eq!(
            left("GET", "/b1?list-type=2&marker=&prefix=&id=").as_deref(),
            Ok("/b1?list-type=2&prefix=")
        );
        assert_eq!(left("PUT", "/b1/k?versionId=&select-type=").as_deref(), Ok("/b1/k"));
        let many = |count: usize| {
            let names: String = (0..count).map(|number| format!("x-{number}&")).collect();
            take("GET", &format!("/b1?{names}"), "h").map(|(_, uri)| uri)
        };
        assert_eq!(many(PARAMETERS_MAX).as_deref(), Ok("/b1"));
        assert_eq!(many(PARAMETERS_MAX + 1), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(left("POST", "/b1/k?uploads").as_deref(), Ok("/b1/k?uploads"));
        for twice in ["/b1/k?versionId=1&versionId=2", "/b1/k?versionId=1&%76ersionId=1"] {
            assert_eq!(left("GET", twice), Err(S3ErrorCode::InvalidArgument), "{twice}");
        }
        assert_eq!(left("GET", "/b1?prefix=%ff"), Err(S3ErrorCode::InvalidURI));
        // The slash in the bucket's place is judged like any other.
        assert_eq!(left("DELETE", "/b1%2Fk?policy="), Err(S3ErrorCode::NotImplemented));
    }
}
