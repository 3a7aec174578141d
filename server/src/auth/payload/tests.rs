//! The streaming examples of the Amazon S3 API reference, cut into pieces in every way, and
//! damaged.

use super::*;
use crate::auth::signature::{Credential, CredentialSource};
use crate::auth::{Account, Authenticator, RequestContext};
use crate::identity::{Directory, Identity};
use http::Request;
use http_body_util::BodyExt;
use std::collections::VecDeque;

const NOW: i64 = 1_369_353_600;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SIGNED: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

/// A body that arrives in the pieces given.
struct Pieces(VecDeque<Bytes>);

impl Pieces {
    fn cut(bytes: &[u8], size: usize) -> Self {
        Self(bytes.chunks(size).map(Bytes::copy_from_slice).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = AuthError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AuthError>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn authenticator() -> Authenticator {
    let account = Account {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: SECRET.to_owned().into(),
        canonical_id: "1".into(),
        display_name: String::new(),
        email: String::new(),
    };
    Authenticator::new(Identity::fixed(Directory::of_root(&account)), "us-east-1".into())
}

/// Everything the handlers would see: the bytes before an error, the error, and the trailer of that
/// name.
struct Seen {
    bytes: Vec<u8>,
    error: Option<AuthError>,
    trailer: Option<String>,
}

fn read(request: Request<Pieces>, trailer: &str) -> Result<Seen, AuthError> {
    let admitted = authenticator().authenticate(request, ringbolt_engine::types::RequestId(1), NOW)?;
    let context = admitted.request.extensions().get::<RequestContext>().unwrap().clone();
    let announced =
        admitted.request.headers().get("content-length").map(|v| v.to_str().unwrap().parse::<u64>());
    let mut body = admitted.request.into_body();
    assert_eq!(body.size_hint().exact(), announced.map(Result::unwrap));
    let mut seen = Seen { bytes: Vec::new(), error: None, trailer: None };
    let collect = async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => seen.bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(error) => seen.error = Some(error.downcast_ref::<AuthError>().unwrap().clone()),
            }
        }
    };
    futures_util::FutureExt::now_or_never(collect).expect("the pieces are all there");
    assert_eq!(admitted.failure.get(), seen.error.as_ref());
    seen.trailer =
        context.trailers.all().find(|(name, _)| *name == trailer).map(|(_, value)| value.to_owned());
    Ok(seen)
}

fn signed_example(body: &[u8], size: usize) -> Request<Pieces> {
    Request::put("/examplebucket/chunkObject.txt")
        .header("host", "s3.amazonaws.com")
        .header("x-amz-date", "20130524T000000Z")
        .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", "66560")
        .header("content-length", "66824")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
             x-amz-decoded-content-length;x-amz-storage-class,\
             Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        )
        .body(Pieces::cut(body, size))
        .unwrap()
}

fn signed_body() -> Vec<u8> {
    let mut body = format!("10000;chunk-signature={}\r\n", SIGNED[0]).into_bytes();
    body.extend(vec![b'a'; 65_536]);
    body.extend(format!("\r\n400;chunk-signature={}\r\n", SIGNED[1]).bytes());
    body.extend(vec![b'a'; 1024]);
    body.extend(format!("\r\n0;chunk-signature={}\r\n\r\n", SIGNED[2]).bytes());
    body
}

#[test]
fn signed_chunks_example_in_pieces_of_any_size() {
    let body = signed_body();
    assert_eq!(body.len(), 66_824);
    for size in [1, 7, 85, 86, 1000, 65_536, 66_824] {
        let seen = read(signed_example(&body, size), "").unwrap();
        assert_eq!((seen.error, seen.bytes.len()), (None, 66_560), "pieces of {size}");
        assert!(seen.bytes.iter().all(|&byte| byte == b'a'));
    }
}

#[test]
fn a_damaged_signed_body_never_hands_on_its_last_bytes() {
    let good = signed_body();
    for at in [100, 65_700, good.len() - 10] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        for size in [1, 4096, bad.len()] {
            let seen = read(signed_example(&bad, size), "").unwrap();
            assert!(seen.error.is_some(), "damage at {at}, pieces of {size}");
            assert!(seen.bytes.len() < 66_560);
        }
    }
    for cut in [50, 65_000, good.len() - 150, good.len() - 2, good.len() - 1] {
        let seen = read(signed_example(&good[..cut], 4096), "").unwrap();
        assert!(seen.error.is_some() && seen.bytes.len() < 66_560, "cut at {cut}");
    }
    let mut longer = good;
    longer.extend_from_slice(b"more");
    assert!(read(signed_example(&longer, 4096), "").unwrap().error.is_some());
}

fn chain(seed: &str) -> ChunkChain {
    let text = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let key = Credential::parse(text, "us-east-1", CredentialSource::Header)
        .unwrap()
        .signing_key(SECRET.as_bytes());
    let previous = seed.as_bytes().try_into().unwrap();
    ChunkChain::new(key, "20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n", previous)
}

#[test]
fn signed_trailers_example() {
    let chunks = [
        (65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
        (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
    ];
    let mut body = Vec::new();
    for (size, signature) in chunks {
        body.extend(format!("{size:x};chunk-signature={signature}\r\n").bytes());
        body.extend(vec![b'a'; size]);
        if size > 0 {
            body.extend(b"\r\n");
        }
    }
    body.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:");
    body.extend(b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    for size in [1, 100, body.len()] {
        let (bytes, trailers, finished) = decode_in_pieces(&body, size, Some(chain(seed)), true).unwrap();
        assert_eq!((bytes.len(), finished), (66_560, true));
        assert_eq!(trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
    }
    let damaged = String::from_utf8(body).unwrap().replace("sOO8", "sOO9");
    let error = decode_in_pieces(damaged.as_bytes(), 4096, Some(chain(seed)), true);
    assert_eq!(error.err(), Some(AuthError::SignatureDoesNotMatch));
}

fn unsigned_trailer_request(body: &[u8], length: u64) -> Request<Pieces> {
    Request::put("/b/k")
        .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", length)
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("content-encoding", "aws-chunked")
        .body(Pieces::cut(body, 5))
        .unwrap()
}

#[test]
fn unsigned_chunks_deliver_their_trailer() {
    let body = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Amz-Checksum-Crc32: DUoRhQ==\r\n\r\n";
    let seen = read(unsigned_trailer_request(body, 11), "x-amz-checksum-crc32").unwrap();
    assert_eq!((seen.bytes.as_slice(), seen.error), (b"hello world".as_slice(), None));
    assert_eq!(seen.trailer.as_deref(), Some("DUoRhQ=="));
    let empty = read(unsigned_trailer_request(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 0), "").unwrap();
    assert_eq!((empty.bytes.len(), empty.error), (0, None));
}

#[test]
fn bad_framing_is_an_error_of_its_own() {
    let long_line = vec![b'1'; 2000];
    let cases: [(&[u8], u64); 8] = [
        (b"5\r\nhello\r\n0\r\n\r\n", 6),
        (b"5\r\nhello\r\n0\r\n\r\n", 4),
        (b"5\r\nhello\r\n0\r\n", 5),
        (b"xyz\r\nhello\r\n0\r\n\r\n", 5),
        (b"-5\r\nhello\r\n0\r\n\r\n", 5),
        (b"4\r\nhello\r\n0\r\n\r\n", 5),
        (b"ffffffffffffffffff\r\n", 5),
        (&long_line, 5),
    ];
    for (body, length) in cases {
        let seen = read(unsigned_trailer_request(body, length), "").unwrap();
        let error = seen.error.unwrap_or_else(|| panic!("{:?} passes", String::from_utf8_lossy(body)));
        assert_eq!((error.code(), error.status().as_u16()), ("IncompleteBody", 400), "{error}");
        assert!((seen.bytes.len() as u64) < length);
    }
}

#[test]
fn a_hashed_body_is_handed_on_whole_or_not_to_its_end() {
    let put = |hash: [u8; 32], body: &[u8], size| {
        Request::put("/b/k")
            .header("x-amz-content-sha256", hex::encode(hash))
            .header("content-length", 11)
            .body(Pieces::cut(body, size))
            .unwrap()
    };
    let right = Sha256::digest(b"hello world");
    for size in [1, 3, 11] {
        let seen = read(put(right, b"hello world", size), "").unwrap();
        assert_eq!((seen.bytes.as_slice(), seen.error), (b"hello world".as_slice(), None));
        let seen = read(put(right, b"hello worle", size), "").unwrap();
        assert_eq!(seen.error, Some(AuthError::ContentSha256Mismatch));
        assert!(seen.bytes.len() < 11);
        let seen = read(put(Sha256::digest(b"hello"), b"hello", size), "").unwrap();
        assert_eq!(seen.error, Some(AuthError::IncompleteBody { announced: 11, got: 5 }));
    }
}

#[test]
fn signed_chunks_without_a_signed_request_are_refused() {
    let request = Request::put("/b/k")
        .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("x-amz-decoded-content-length", 5)
        .body(Pieces::cut(b"5\r\nhello\r\n0\r\n\r\n", 5))
        .unwrap();
    assert_eq!(read(request, "").err(), Some(AuthError::AccessDenied));
}

#[test]
fn chunks_need_no_content_length_beside_their_decoded_one() {
    let body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let request = Request::put("/bucket/key")
        .header("host", "s3.amazonaws.com")
        .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("content-encoding", "aws-chunked")
        .header("transfer-encoding", "chunked")
        .header("x-amz-decoded-content-length", "5")
        .body(Pieces::cut(body, 7))
        .unwrap();
    let seen = read(request, "x-amz-checksum-crc32").unwrap();
    assert_eq!((seen.bytes.as_slice(), seen.error), (b"hello".as_slice(), None));
    assert_eq!(seen.trailer.as_deref(), Some("NhCmhg=="));
}
