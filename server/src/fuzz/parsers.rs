//! Fuzzes the parsers that a request reaches late: bodies in chunks, XML documents, and upload
//! forms with their policies.

use crate::access::policy::judge_policy;
use crate::auth::Account;
use crate::auth::hash::HmacKey;
use crate::auth::payload::decode_in_pieces;
use crate::auth::signature::ChunkChain;
use crate::client::Client;
use crate::http::parse_proxy_header;
use crate::identity::Directory;
use crate::s3::{judge_acl, judge_document, judge_form};
use bytes::Bytes;

/// Decodes an aws-chunked body whole and in pieces, which must give the same. The bits of the first
/// byte say whether chunks are signed and whether trailers may follow; the second byte is the size
/// of the pieces.
pub fn chunked(input: &[u8]) {
    let [flags, size, body @ ..] = input else { return };
    let (signed, with_trailers) = (flags & 1 != 0, flags & 2 != 0);
    let read = |size: usize| {
        let chain = signed.then(|| ChunkChain::new(HmacKey::new(b"key"), "date\nscope\n", [b'0'; 64]));
        decode_in_pieces(body, size.max(1), chain, with_trailers)
    };
    let (whole, cut) = (read(body.len()), read(usize::from(*size)));
    assert_eq!(whole, cut, "the same body in pieces of {size} bytes gives something else");
}

/// Reads an upload form. The input is the body of the form, and its boundary is `b`.
pub fn form(input: &[u8]) {
    // It may be refused or taken: all that matters here is that it ends.
    let _ = judge_form(&Bytes::copy_from_slice(input), "b", &directory());
}

/// One account, with the canonical id 1.
fn directory() -> Directory {
    let account = Account {
        access_key: "AK".to_owned(),
        secret_key: "secret".to_owned().into(),
        canonical_id: "1".to_owned(),
        display_name: String::new(),
        email: String::new(),
    };
    Directory::of_root(&account)
}

/// Reads the input as the XML document of each operation that takes one.
pub fn document(input: &[u8]) {
    judge_document(input);
}

/// Compiles the input as a policy of a bucket and of an identity, and asks it what some may do.
pub fn policy(input: &[u8]) {
    judge_policy(input);
}

/// Reads the input as the XML document of an access control list. A list that is taken must come back
/// from the form in which it is stored.
pub fn acl(input: &[u8]) {
    judge_acl(input, &directory(), "1");
}

/// Reads the input as a header of the PROXY protocol. No part of one that is taken may be taken itself.
pub fn proxy_header(input: &[u8]) {
    let proxy = Client::at([10, 0, 0, 1].into());
    if parse_proxy_header(input, proxy).is_ok() {
        for length in 0..input.len() {
            assert!(
                parse_proxy_header(&input[..length], proxy).is_err(),
                "{length} bytes of a header are one"
            );
        }
    }
}
