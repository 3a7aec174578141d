//! The names of buckets, and the encodings in which names travel.

use super::error::invalid_argument;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::S3Result;
use s3s::validation::NameValidation;
use std::net::Ipv4Addr;

/// The rules for the names of general purpose buckets, as S3 states them today.
pub struct BucketNames;

impl NameValidation for BucketNames {
    fn validate_bucket_name(&self, name: &str) -> bool {
        is_bucket_name(name)
    }
}

/// Returns whether a name can be that of a bucket: 3 to 63 of a-z, 0-9, `-` and `.`; labels between
/// dots neither empty nor with a dash at an end; not an IPv4 address; none of the reserved prefixes
/// and suffixes.
pub fn is_bucket_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && name.split('.').all(label)
        && name.parse::<Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|reserved| name.starts_with(reserved))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3"].iter().any(|reserved| name.ends_with(reserved))
}

/// Makes a continuation token from the name after which the next page begins. It is opaque to
/// clients.
pub fn token(name: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// Returns the name in a token that this server made. Fails if it did not make it.
pub fn token_name(token: &str) -> S3Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| invalid_argument("The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::url_encode;

    #[test]
    fn bucket_names() {
        for good in ["abc", "a-b", "1.2.3", "foo.bar-baz", &"a".repeat(63), "192.168.5", "my-s3-bucket"] {
            assert!(is_bucket_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "xn--a",
            "a-s3alias",
            "über",
        ] {
            assert!(!is_bucket_name(bad), "{bad}");
        }
    }

    #[test]
    fn url_encoding_keeps_slashes() {
        assert_eq!(url_encode(b"foo+1/bar"), "foo%2B1/bar");
        assert_eq!(url_encode("a b\u{e9}\n".as_bytes()), "a%20b%C3%A9%0A");
    }

    #[test]
    fn tokens_come_back_and_made_up_ones_do_not() {
        let name = "a/\u{e9}\u{0}".as_bytes();
        assert_eq!(token_name(&token(name)).ok().as_deref(), Some(name));
        assert!(token_name("not a token!").is_err());
    }
}
