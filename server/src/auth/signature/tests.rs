//! The published examples of the Amazon S3 API reference, and what must be refused.

use super::*;
use crate::auth::Account;
use crate::identity::Directory;
use http::Request;

const NOW: i64 = 1_369_353_600;
const SCOPE: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub fn example_identity() -> Rc<Identity> {
    Identity::fixed(Directory::of_root(&Account {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned().into(),
        canonical_id: "1".into(),
        display_name: "example".into(),
        email: String::new(),
    }))
}

fn verify_at(request: http::request::Builder, now_s: i64) -> Result<Option<Verified>, AuthError> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Verifier::new(example_identity(), "us-east-1".into()).verify(&parts, now_s)
}

fn authorization(signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}")
}

fn get(uri: &str, signature: &str) -> http::request::Builder {
    Request::get(uri)
        .header("host", "examplebucket.s3.amazonaws.com")
        .header("x-amz-content-sha256", EMPTY)
        .header("x-amz-date", "20130524T000000Z")
        .header("authorization", authorization("host;x-amz-content-sha256;x-amz-date", signature))
}

const LIFECYCLE: &str = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
const LIST: &str = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";

#[test]
fn get_object_example() {
    let request = Request::get("/test.txt")
        .header("host", "examplebucket.s3.amazonaws.com")
        .header("range", "bytes=0-9")
        .header("x-amz-content-sha256", EMPTY)
        .header("x-amz-date", "20130524T000000Z")
        .header(
            "authorization",
            authorization(
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        );
    assert_eq!(verify_at(request, NOW).unwrap().unwrap().signer.account().canonical_id, "1");
}

/// The dollar sign of the path goes over the wire as it is, and is signed encoded.
#[test]
fn put_object_example() {
    for path in ["/test$file.text", "/test%24file.text"] {
        let request = Request::put(path)
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("date", "Fri, 24 May 2013 00:00:00 GMT")
            .header("x-amz-date", "20130524T000000Z")
            .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
            .header(
                "x-amz-content-sha256",
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            )
            .header(
                "authorization",
                authorization(
                    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
                ),
            );
        assert!(verify_at(request, NOW).unwrap().is_some(), "{path}");
    }
}

#[test]
fn lifecycle_and_list_examples_also_from_the_key_cache() {
    let verifier = Verifier::new(example_identity(), "us-east-1".into());
    for (uri, signature) in
        [("/?lifecycle", LIFECYCLE), ("/?max-keys=2&prefix=J", LIST), ("/?lifecycle", LIFECYCLE)]
    {
        let (parts, ()) = get(uri, signature).body(()).unwrap().into_parts();
        assert!(verifier.verify(&parts, NOW).unwrap().is_some(), "{uri}");
    }
    assert_eq!(verifier.state.borrow().keys.len(), 1);
    let (parts, ()) = get("/?lifecycle", LIST).body(()).unwrap().into_parts();
    assert_eq!(verifier.verify(&parts, NOW).err(), Some(AuthError::SignatureDoesNotMatch));
}

fn presigned(expires: &str) -> http::request::Builder {
    let uri = format!(
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date=20130524T000000Z\
         &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        SCOPE.replace('/', "%2F")
    );
    Request::get(uri).header("host", "examplebucket.s3.amazonaws.com")
}

#[test]
fn presigned_example_within_its_time_only() {
    assert!(verify_at(presigned("86400"), NOW + 86_400).unwrap().is_some());
    assert!(matches!(verify_at(presigned("86400"), NOW + 86_401), Err(AuthError::Expired(_))));
    assert!(matches!(verify_at(presigned("86400"), NOW - 901), Err(AuthError::NotYetValid(_))));
    for expires in ["0", "604801", "-1", "x", ""] {
        let error = verify_at(presigned(expires), NOW).err().unwrap();
        assert_eq!(error.code(), "AuthorizationQueryParametersError", "{expires}");
    }
    assert_eq!(verify_at(presigned("86399"), NOW).err(), Some(AuthError::SignatureDoesNotMatch));
}

#[test]
fn clocks_may_differ_by_fifteen_minutes() {
    for skew in [-900, 900] {
        assert!(verify_at(get("/?lifecycle", LIFECYCLE), NOW + skew).is_ok());
    }
    for skew in [-901, 901] {
        let error = verify_at(get("/?lifecycle", LIFECYCLE), NOW + skew).err().unwrap();
        assert_eq!((error.code(), error.status().as_u16()), ("RequestTimeTooSkewed", 403));
    }
}

fn with_authorization(value: &str) -> http::request::Builder {
    Request::get("/")
        .header("host", "h")
        .header("x-amz-date", "20130524T000000Z")
        .header("x-amz-content-sha256", EMPTY)
        .header("authorization", value)
}

#[test]
fn each_bad_header_has_its_own_error() {
    let all = "host;x-amz-content-sha256;x-amz-date";
    let zeros = "0".repeat(64);
    let cases = [
        (authorization(all, &zeros), "SignatureDoesNotMatch", 403),
        (authorization(all, &zeros).replace("AKIA", "AKIB"), "InvalidAccessKeyId", 403),
        (authorization(all, &zeros).replace("us-east-1", "moon"), "AuthorizationHeaderMalformed", 400),
        (authorization(all, &zeros).replace("/s3/", "/ec2/"), "AuthorizationHeaderMalformed", 400),
        (authorization(all, &zeros).replace("20130524/", "20130523/"), "AuthorizationHeaderMalformed", 400),
        (authorization(all, &zeros).replace("/aws4_request", ""), "AuthorizationHeaderMalformed", 400),
        (authorization("host;x-amz-date", &zeros), "AccessDenied", 403),
        (authorization("x-amz-content-sha256;x-amz-date", &zeros), "AccessDenied", 403),
        ("AWS4-HMAC-SHA256 Credential=x".into(), "AuthorizationHeaderMalformed", 400),
        (format!("{},Signature={zeros}", authorization(all, &zeros)), "AuthorizationHeaderMalformed", 400),
        ("AWS AKIA:c2lnbmF0dXJl".into(), "InvalidAccessKeyId", 403),
        ("AWS AKIAIOSFODNN7EXAMPLE:c2lnbmF0dXJl".into(), "SignatureDoesNotMatch", 403),
        ("AWS AKIA".into(), "AuthorizationHeaderMalformed", 400),
        ("Bearer token".into(), "InvalidArgument", 400),
    ];
    for (value, code, status) in cases {
        let error = verify_at(with_authorization(&value), NOW).err().unwrap();
        assert_eq!((error.code(), error.status().as_u16()), (code, status), "{value}: {error}");
    }
    let error = verify_at(with_authorization(&authorization(all, &zeros).replace("us-east-1", "moon")), NOW);
    assert_eq!(error.err().unwrap().region(), Some("us-east-1"));
}

#[test]
fn missing_dates_and_hashes_are_named() {
    let value = authorization("host", &"0".repeat(64));
    let undated = Request::get("/").header("host", "h").header("authorization", &value);
    assert_eq!(verify_at(undated, NOW).err().unwrap().code(), "AccessDenied");
    let dated = Request::get("/").header("host", "h").header("authorization", &value);
    let dated = dated.header("date", "Fri, 24 May 2013 00:00:00 GMT");
    assert_eq!(verify_at(dated, NOW).err(), Some(AuthError::MissingHeader(CONTENT_SHA256)));
}

#[test]
fn requests_without_a_signature_are_anonymous() {
    assert!(verify_at(Request::get("/bucket/key?list-type=2"), NOW).unwrap().is_none());
    assert!(verify_at(Request::get("/").header("authorization", ""), NOW).unwrap().is_none());
}

#[test]
fn a_request_has_one_signature_and_each_of_its_fields_once() {
    let twice = [
        get("/?lifecycle&X-Amz-Signature=0", LIFECYCLE),
        get("/?lifecycle&AWSAccessKeyId=a", LIFECYCLE),
        get("/?lifecycle", LIFECYCLE).header("authorization", "AWS a:b"),
        Request::get("/?X-Amz-Signature=0&Signature=1"),
    ];
    for request in twice {
        assert_eq!(verify_at(request, NOW).err(), Some(AuthError::SeveralMechanisms));
    }
    for name in ["X-Amz-Signature", "X-Amz-Credential", "X%2DAmz-Date"] {
        let (parts, ()) = presigned("86400").body(()).unwrap().into_parts();
        let uri = format!("{}&{name}=x", parts.uri);
        let error = verify_at(Request::get(uri).header("host", "examplebucket.s3.amazonaws.com"), NOW);
        assert_eq!(error.err().unwrap().code(), "AuthorizationQueryParametersError", "{name}");
    }
}

/// Signed by Python's hmac for the host `127.0.0.1`.
#[test]
fn a_host_signed_without_its_port_is_the_same_host() {
    let signature = "85086923d583d1da0285b77564f5113608b4719525c93e87e204246c0ef93a57";
    let to = |host: &str| {
        Request::get("/bucket/key")
            .header("host", host)
            .header("x-amz-content-sha256", EMPTY)
            .header("x-amz-date", "20130524T000000Z")
            .header("authorization", authorization("host;x-amz-content-sha256;x-amz-date", signature))
    };
    assert!(verify_at(to("127.0.0.1"), NOW).unwrap().is_some());
    assert!(verify_at(to("127.0.0.1:9000"), NOW).unwrap().is_some());
    for other in ["127.0.0.2:9000", "127.0.0.1:", "127.0.0.1:x", "x127.0.0.1:9000"] {
        assert_eq!(verify_at(to(other), NOW).err(), Some(AuthError::SignatureDoesNotMatch), "{other}");
    }
}

/// Signed by Python's hmac; the hash of the body is in the query only.
#[test]
fn a_hash_in_the_query_is_what_was_signed() {
    let to = |hash: &str| {
        Request::put(format!(
            "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256={hash}&X-Amz-Credential={}\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=a2cc3b78aea75400fb82ed04e9b695ca5a19495a1116b1d61129fcb2af2f19f8",
            SCOPE.replace('/', "%2F")
        ))
        .header("host", "127.0.0.1")
    };
    assert!(verify_at(to(EMPTY), NOW).unwrap().is_some());
    assert_eq!(verify_at(to("UNSIGNED-PAYLOAD"), NOW).err(), Some(AuthError::SignatureDoesNotMatch));
}
