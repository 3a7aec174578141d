//! The published examples of the Amazon S3 API reference, what else clients sign, and what must be
//! refused.

use crate::auth::AuthError;
use crate::auth::signature::Verifier;
use crate::auth::signature::tests::example_identity;
use crate::host::Domains;
use http::Request;
use http::request::Builder;

/// 27 March 2007, 21:30 UTC.
const NOW: i64 = 1_175_031_000;
const EXPIRES: i64 = 1_175_139_620;

fn verifier(version_2: bool) -> Verifier {
    let domains = Domains::new(&["s3.amazonaws.com".to_owned()]);
    Verifier::new(example_identity(), "us-east-1".into()).with_version_2(version_2, domains)
}

fn verify_at(request: Builder, now_s: i64) -> Result<(), AuthError> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    verifier(true).verify(&parts, now_s).map(|verified| {
        let verified = verified.expect("a signature is found");
        assert!(verified.chain.is_none() && verified.signer.account().canonical_id == "1");
    })
}

fn signed(method: &str, uri: &str, host: &str, date: &str, signature: &str) -> Builder {
    let builder = Request::builder().method(method).uri(uri).header("host", host);
    let builder = if date.is_empty() { builder } else { builder.header("date", date) };
    builder.header("authorization", format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}"))
}

#[test]
fn the_published_examples() {
    let (john, all) = ("johnsmith.s3.amazonaws.com", "s3.amazonaws.com");
    let cases = [
        ("GET", "/photos/puppy.jpg", john, "19:36:42", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        ("GET", "/?prefix=photos&max-keys=50&marker=puppy", john, "19:42:41", "htDYFYduRNen8P9ZfE/s9SuKy0U="),
        ("GET", "/johnsmith?prefix=photos", all, "19:42:41", "htDYFYduRNen8P9ZfE/s9SuKy0U="),
        ("GET", "/johnsmith?acl=", all, "19:44:46", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
        ("GET", "/?acl", john, "19:44:46", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
        ("DELETE", "/johnsmith/photos/puppy.jpg", all, "21:20:26", "lx3byBScXR6KzyMaifNkardMwNk="),
    ];
    for (method, uri, host, time, signature) in cases {
        let date = format!("Tue, 27 Mar 2007 {time} +0000");
        let minutes = |digits: &str| digits.parse::<i64>().unwrap();
        let signed_at = 1_174_953_600 + 3600 * minutes(&time[..2]) + 60 * minutes(&time[3..5]);
        assert_eq!(
            verify_at(signed(method, uri, host, &date, signature), signed_at),
            Ok(()),
            "{method} {uri}"
        );
    }
    let date = "Tue, 27 Mar 2007 21:15:45 +0000";
    let put = |content_type: &str| {
        signed("PUT", "/photos/puppy.jpg", john, date, "MyyxeRY7whkBe+bq8fHCL/2kKUg=")
            .header("content-type", content_type)
    };
    assert_eq!(verify_at(put("image/jpeg"), NOW), Ok(()));
    assert_eq!(verify_at(put("image/png"), NOW), Err(AuthError::SignatureDoesNotMatch));
    let date = "Wed, 28 Mar 2007 01:29:59 +0000";
    let list = signed("GET", "/", all, date, "qGdzdERIC03wnaRNKh6OqZehG9s=");
    assert_eq!(verify_at(list, 1_175_045_399), Ok(()));
    let date = "Wed, 28 Mar 2007 01:49:49 +0000";
    let path = "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re";
    let unicode = signed("GET", path, all, date, "DNEZGsoieTZ92F3bUfSPQcbGmlM=");
    assert_eq!(verify_at(unicode, 1_175_046_589), Ok(()));
}

fn upload(acl: &str, reviewer: &str) -> Builder {
    let (host, date) = ("static.johnsmith.net.s3.amazonaws.com:8080", "Tue, 27 Mar 2007 21:06:08 +0000");
    signed("PUT", "/db-backup.dat.gz", host, date, "ilyl83RwaSoYIEdixDQcA4OnAnc=")
        .header("x-amz-acl", acl)
        .header("content-type", "application/x-download")
        .header("content-md5", "4gJE4saaMU4BqNR0kLY+lw==")
        .header("X-Amz-Meta-ReviewedBy", " joe@johnsmith.net")
        .header("X-Amz-Meta-ReviewedBy", reviewer)
        .header("X-Amz-Meta-FileChecksum", "0x02661779")
        .header("X-Amz-Meta-ChecksumAlgorithm", "crc32")
}

#[test]
fn all_headers_of_amazon_s_are_signed_wherever_they_stand() {
    let now = 1_175_029_568;
    assert_eq!(verify_at(upload("public-read", "jane@johnsmith.net"), now), Ok(()));
    let mismatch = Err(AuthError::SignatureDoesNotMatch);
    assert_eq!(verify_at(upload("private", "jane@johnsmith.net"), now), mismatch);
    assert_eq!(verify_at(upload("public-read", "eve@johnsmith.net"), now), mismatch);
    let more = upload("public-read", "jane@johnsmith.net").header("x-amz-tagging", "a=b");
    assert_eq!(verify_at(more, now), mismatch);
    let hoisted = upload("public-read", "jane@johnsmith.net").uri("/db-backup.dat.gz?X-Amz-Tagging=a%3Db");
    assert_eq!(verify_at(hoisted, now), mismatch);
}

fn presigned(method: &str, path_and_query: &str, signature: &str) -> Builder {
    let sign = if path_and_query.contains('?') { '&' } else { '?' };
    let uri = format!(
        "{path_and_query}{sign}AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature={}&Expires={EXPIRES}",
        signature.replace('+', "%2B").replace('/', "%2F")
    );
    Request::builder().method(method).uri(uri).header("host", "johnsmith.s3.amazonaws.com")
}

/// The first is published; the others were signed by Python's hmac.
#[test]
fn presigned_addresses() {
    let published = "NpgCjnDzrM+WFzoENXmpNDUsSn8=";
    let get = || presigned("GET", "/photos/puppy.jpg", published);
    assert_eq!(verify_at(get(), EXPIRES), Ok(()));
    assert!(matches!(verify_at(get(), EXPIRES + 1), Err(AuthError::Expired(_))));
    // Ranges, conditions and pages are the caller's choice.
    assert_eq!(verify_at(presigned("GET", "/photos/puppy.jpg?x-id=GetObject", published), NOW), Ok(()));
    let part = "/k?x-amz-meta-color=red&uploadId=a%20b&partNumber=1";
    assert_eq!(verify_at(presigned("PUT", part, "o7p88nd/h2Fs0QqGAMJ9VThQTEk="), NOW), Ok(()));
    let typed = "ZVTZ5Xszf0iaIxCXQqV3DL94DmI=";
    assert_eq!(verify_at(presigned("PUT", "/k?content-type=text%2Fplain", typed), NOW), Ok(()));
    assert_eq!(verify_at(presigned("PUT", "/k", typed).header("content-type", "text/plain"), NOW), Ok(()));
    let named = "/k?versionId=null&response-content-disposition=a%3B%20b%3D%22c%2Bd%22";
    assert_eq!(verify_at(presigned("GET", named, "BTxT3xodV1lbyjwGQYGwVOrgXJA="), NOW), Ok(()));
}

/// The handlers read a space there, so a signature over a plus sign is over something else. Signed
/// by Python's hmac.
#[test]
fn a_plus_sign_of_the_query_is_signed_as_the_space_that_it_is() {
    let path = "/k?uploadId=a+b&content-type=text/a+b&x-amz-meta-color=dark+red";
    assert_eq!(verify_at(presigned("PUT", path, "pcvhUlNNLcoRU00r7WtcVQ6MBqY="), NOW), Ok(()));
    for over_a_plus in [
        "Pupt4nviwMbzlqXiXJMmYS0PrJA=",
        "JnlUWJR6CLbWxgzHOrJJWEuMDl8=",
        "6aJpG1aZvYDY064jZXxAdxiViJQ=",
        "a/+9wHkmEAH1kt3Qq3nhXGIjZXw=",
    ] {
        let judged = verify_at(presigned("PUT", path, over_a_plus), NOW);
        assert_eq!(judged, Err(AuthError::SignatureDoesNotMatch), "{over_a_plus}");
    }
}

#[test]
fn what_was_not_signed_is_refused() {
    let published = "NpgCjnDzrM+WFzoENXmpNDUsSn8=";
    let mismatch = Err(AuthError::SignatureDoesNotMatch);
    for path in [
        "/photos/kitten.jpg",
        "/photos/puppy.jpg?acl",
        "/photos/puppy.jpg?attributes",
        "/photos/puppy.jpg?%61cl",
        "/photos/puppy.jpg?uploadId=x",
        "/photos/puppy.jpg?response-content-type=text%2Fhtml",
        "/photos/puppy.jpg?x-amz-checksum-mode=ENABLED",
        "/photos/puppy.jpg?content-type=text%2Fhtml",
    ] {
        assert_eq!(verify_at(presigned("GET", path, published), NOW), mismatch, "{path}");
    }
    assert_eq!(verify_at(presigned("PUT", "/photos/puppy.jpg", published), NOW), mismatch);
    let other = presigned("GET", "/photos/puppy.jpg", published);
    let (mut parts, ()) = other.body(()).unwrap().into_parts();
    parts.headers.insert("host", "other.s3.amazonaws.com".parse().unwrap());
    assert!(verifier(true).verify(&parts, NOW).is_err(), "the bucket that the host names is signed");
}

#[test]
fn each_bad_signature_has_its_own_error() {
    let date = "Tue, 27 Mar 2007 19:36:42 +0000";
    let get = |date: &str, signature: &str| {
        signed("GET", "/photos/puppy.jpg", "johnsmith.s3.amazonaws.com", date, signature)
    };
    let right = "bWq2s1WEIj+Ydj0vQ697zp+IXMU=";
    for skew in [-901, 901] {
        let error = verify_at(get(date, right), 1_175_024_202 + skew).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("RequestTimeTooSkewed", 403));
    }
    assert_eq!(verify_at(get("", right), NOW).unwrap_err().code(), "AccessDenied");
    for wrong in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let error = verify_at(get(date, wrong), 1_175_024_202).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("SignatureDoesNotMatch", 403), "{wrong}");
    }
    for (query, code) in [
        ("AWSAccessKeyId=a&Signature=b", "AccessDenied"),
        ("AWSAccessKeyId=a&Expires=1", "AccessDenied"),
        ("Signature=b&Expires=1", "AccessDenied"),
        ("AWSAccessKeyId=a&Signature=b&Expires=soon", "AccessDenied"),
        ("AWSAccessKeyId=a&Signature=b&Expires=-1", "AccessDenied"),
        ("AWSAccessKeyId=a&Signature=b&Expires=9999999999", "InvalidAccessKeyId"),
        ("AWSAccessKeyId=a&Signature=b&Expires=1&Expires=9999999999", "AuthorizationQueryParametersError"),
    ] {
        let error = verify_at(Request::get(format!("/b/k?{query}")), NOW).unwrap_err();
        assert_eq!(error.code(), code, "{query}: {error}");
    }
}

#[test]
fn it_can_be_switched_off() {
    for request in [
        presigned("GET", "/photos/puppy.jpg", "NpgCjnDzrM+WFzoENXmpNDUsSn8="),
        signed(
            "GET",
            "/",
            "s3.amazonaws.com",
            "Wed, 28 Mar 2007 01:29:59 +0000",
            "qGdzdERIC03wnaRNKh6OqZehG9s=",
        ),
    ] {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let refused = verifier(false).verify(&parts, NOW).err();
        assert_eq!(refused, Some(AuthError::Version2Off));
    }
}
