//! The checksum that a client declares for a body, by header or by trailer.
//!
//! Invariants:
//! - A body has at most one. What looks like a checksum and is none that this server can compute is
//!   refused, and never passed over.
//! - The trailers are those that were announced, each once.
//! - [`DeclaredChecksum::expected`] says what to compare with, and no body counts as received
//!   before it was compared.

use super::error::{coded, invalid_request};
use super::headers::{CHECKSUM_ALGORITHM, CHECKSUM_TYPE};
use crate::auth::Trailers;
use crate::checksum::{Algorithm, HEADER_PREFIX};
use http::HeaderMap;
use s3s::{S3Error, S3Result, s3_error};

const CHECKSUM_MODE: &str = "x-amz-checksum-mode";
const ANNOUNCED_TRAILERS: &str = "x-amz-trailer";
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

/// The checksum that a client declared for a body, or where it will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredChecksum {
    Nothing,
    Header(Algorithm, String),
    Trailer(Algorithm),
}

impl DeclaredChecksum {
    /// Reads what the headers of a request with a body declare. Fails if they declare several
    /// checksums, a malformed one, or one that this server can not compute.
    pub fn of(headers: &HeaderMap) -> S3Result<Self> {
        let header = header_of(headers, Algorithm::is_value)?;
        let trailer = announced_trailer(headers)?;
        let declared = match (header, trailer) {
            (Some(_), Some(_)) => return Err(more_than_one()),
            (Some((algorithm, value)), None) => Self::Header(algorithm, value),
            (None, Some(algorithm)) => Self::Trailer(algorithm),
            (None, None) => Self::Nothing,
        };
        declared.check_asked(headers)?;
        Ok(declared)
    }

    /// Returns the algorithm of the declared checksum.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Nothing => None,
            Self::Header(algorithm, _) | Self::Trailer(algorithm) => Some(*algorithm),
        }
    }

    /// Fails if an SDK names another algorithm than that of the checksum it sent.
    fn check_asked(&self, headers: &HeaderMap) -> S3Result<()> {
        let Some(name) = headers.get(SDK_ALGORITHM).filter(|name| !name.is_empty()) else { return Ok(()) };
        let name = String::from_utf8_lossy(name.as_bytes());
        let Some(asked) = Algorithm::from_name(&name) else {
            return Err(invalid_request(format!("Checksum algorithm provided is unsupported: {name}")));
        };
        match self.algorithm() {
            Some(found) if found == asked => Ok(()),
            Some(found) => Err(invalid_request(format!(
                "Value for {SDK_ALGORITHM} header is {}, but the checksum sent is {}",
                asked.name(),
                found.name()
            ))),
            None => Err(invalid_request(format!(
                "{SDK_ALGORITHM} specified, but no corresponding x-amz-checksum-* or {ANNOUNCED_TRAILERS} headers \
                 were found."
            ))),
        }
    }

    /// Returns what the checksum of the body must be, now that it has ended with these trailers.
    /// Fails if the trailers are not those that were announced.
    pub fn expected(&self, trailers: &Trailers) -> S3Result<Option<String>> {
        let announced = match self {
            Self::Trailer(algorithm) => Some(*algorithm),
            Self::Nothing | Self::Header(..) => None,
        };
        let mut found = None;
        for (name, value) in trailers.all() {
            if announced.is_none_or(|algorithm| algorithm.header() != name) {
                return Err(malformed_trailer(format!(
                    "The trailer {name} was not announced in {ANNOUNCED_TRAILERS}"
                )));
            }
            if found.replace(value).is_some() {
                return Err(malformed_trailer(format!("The body ended with more than one trailer {name}")));
            }
        }
        match (self, found) {
            (Self::Nothing, _) => Ok(None),
            (Self::Header(_, value), _) => Ok(Some(value.clone())),
            (Self::Trailer(algorithm), None) => {
                Err(malformed_trailer(format!("The body ended without the trailer {}", algorithm.header())))
            }
            (Self::Trailer(algorithm), Some(value)) if algorithm.is_value(value) => {
                Ok(Some(value.to_owned()))
            }
            (Self::Trailer(algorithm), Some(_)) => {
                Err(invalid_request(format!("Value for {} trailing header is invalid.", algorithm.header())))
            }
        }
    }

    /// Compares the computed checksum, in base64, with the declared one. Fails with BadDigest if
    /// they differ.
    pub fn verify(&self, computed: Option<&str>, trailers: &Trailers) -> S3Result<()> {
        match (self.expected(trailers)?, self.algorithm()) {
            (Some(expected), Some(algorithm)) if computed != Some(&expected) => Err(bad_digest(algorithm)),
            _ => Ok(()),
        }
    }
}

/// Returns the one checksum among the headers. `is_value` says whether a value is well formed.
/// Fails if there are several, or an unknown or malformed one.
pub fn header_of(
    headers: &HeaderMap,
    is_value: impl Fn(Algorithm, &str) -> bool,
) -> S3Result<Option<(Algorithm, String)>> {
    let mut found = None;
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with(HEADER_PREFIX)
            || [CHECKSUM_ALGORITHM, CHECKSUM_TYPE, CHECKSUM_MODE].contains(&name)
        {
            continue;
        }
        let Some(algorithm) = Algorithm::from_header(name) else {
            return Err(invalid_request(
                "The algorithm type you specified in x-amz-checksum- header is invalid.",
            ));
        };
        let value = value.to_str().map(str::trim).unwrap_or_default();
        if !is_value(algorithm, value) {
            return Err(invalid_request(format!("Value for {name} header is invalid.")));
        }
        if found.replace((algorithm, value.to_owned())).is_some() {
            return Err(more_than_one());
        }
    }
    Ok(found)
}

fn announced_trailer(headers: &HeaderMap) -> S3Result<Option<Algorithm>> {
    let mut found = None;
    for list in headers.get_all(ANNOUNCED_TRAILERS) {
        let list = String::from_utf8_lossy(list.as_bytes()).to_ascii_lowercase();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(algorithm) = Algorithm::from_header(name) else {
                return Err(invalid_request(format!(
                    "The value specified in the {ANNOUNCED_TRAILERS} header is not supported: {name}"
                )));
            };
            if found.replace(algorithm).is_some() {
                return Err(more_than_one());
            }
        }
    }
    Ok(found)
}

fn more_than_one() -> S3Error {
    invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

fn malformed_trailer(message: String) -> S3Error {
    coded("MalformedTrailerError", http::StatusCode::BAD_REQUEST, message)
}

/// Makes the error for a checksum that is not that of the body: 400.
pub fn bad_digest(algorithm: Algorithm) -> S3Error {
    s3_error!(BadDigest, "The {} you specified did not match the calculated checksum.", algorithm.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::of_bytes;
    use http::HeaderValue;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers
                .append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    /// The code for a body "abc" with these headers and trailers; empty: it is taken.
    fn judged(list: &[(&str, &str)], sent: &[(&str, &str)]) -> String {
        let declared = match DeclaredChecksum::of(&headers(list)) {
            Ok(declared) => declared,
            Err(error) => return error.code().as_str().to_owned(),
        };
        let trailers = Trailers::default();
        trailers.fill(sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        let computed = declared.algorithm().map(|algorithm| of_bytes(algorithm, b"abc"));
        code(declared.verify(computed.as_deref(), &trailers))
    }

    #[test]
    fn every_algorithm_is_compared_by_header_and_by_trailer() {
        for algorithm in Algorithm::all() {
            let (name, right, wrong) =
                (algorithm.header(), of_bytes(algorithm, b"abc"), of_bytes(algorithm, b"abd"));
            assert_eq!(judged(&[(name, &right)], &[]), "", "{name}");
            assert_eq!(judged(&[(name, &wrong)], &[]), "BadDigest", "{name}");
            assert_eq!(judged(&[(name, "wrong")], &[]), "InvalidRequest", "{name}");
            assert_eq!(judged(&[(name, "")], &[]), "InvalidRequest", "{name}");
            let announced = [(ANNOUNCED_TRAILERS, name), (SDK_ALGORITHM, algorithm.name())];
            assert_eq!(judged(&announced, &[(name, &right)]), "", "{name}");
            assert_eq!(judged(&announced, &[(name, &wrong)]), "BadDigest", "{name}");
            assert_eq!(judged(&announced, &[(name, "AA==")]), "InvalidRequest", "{name}");
            assert_eq!(judged(&announced, &[]), "MalformedTrailerError", "{name}");
        }
    }

    #[test]
    fn there_is_one_checksum_and_every_one_is_known() {
        let (crc, sha) = ("x-amz-checksum-crc32", "x-amz-checksum-sha1");
        let (right, other) = (of_bytes(Algorithm::Crc32, b"abc"), of_bytes(Algorithm::Sha1, b"abc"));
        let (right, other) = (right.as_str(), other.as_str());
        for (list, sent, expected) in [
            (vec![(crc, right), (sha, other)], vec![], "InvalidRequest"),
            (vec![(crc, right), (crc, right)], vec![], "InvalidRequest"),
            (vec![("x-amz-checksum-crc23", right)], vec![], "InvalidRequest"),
            (vec![(ANNOUNCED_TRAILERS, "x-amz-checksum-crc23")], vec![], "InvalidRequest"),
            (vec![(ANNOUNCED_TRAILERS, "x-amz-meta-a")], vec![("x-amz-meta-a", "b")], "InvalidRequest"),
            (
                vec![(ANNOUNCED_TRAILERS, "x-amz-checksum-crc32, x-amz-checksum-sha1")],
                vec![],
                "InvalidRequest",
            ),
            (vec![(ANNOUNCED_TRAILERS, crc), (ANNOUNCED_TRAILERS, sha)], vec![], "InvalidRequest"),
            (vec![(crc, right), (ANNOUNCED_TRAILERS, sha)], vec![(sha, other)], "InvalidRequest"),
            (vec![(ANNOUNCED_TRAILERS, crc)], vec![(crc, right), (crc, right)], "MalformedTrailerError"),
            (vec![(ANNOUNCED_TRAILERS, crc)], vec![(crc, right), (sha, other)], "MalformedTrailerError"),
            (vec![(crc, right)], vec![(crc, right)], "MalformedTrailerError"),
            (vec![], vec![(crc, right)], "MalformedTrailerError"),
            (vec![], vec![("x-amz-meta-a", "b")], "MalformedTrailerError"),
            (vec![(SDK_ALGORITHM, "CRC32")], vec![], "InvalidRequest"),
            (vec![(SDK_ALGORITHM, "MD4"), (crc, right)], vec![], "InvalidRequest"),
            (vec![(SDK_ALGORITHM, "SHA1"), (crc, right)], vec![], "InvalidRequest"),
            (vec![(SDK_ALGORITHM, "crc32"), (crc, right), (CHECKSUM_MODE, "ENABLED")], vec![], ""),
            (vec![], vec![], ""),
        ] {
            assert_eq!(judged(&list, &sent), expected, "{list:?} {sent:?}");
        }
    }
}
