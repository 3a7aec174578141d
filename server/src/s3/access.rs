//! Access: only the owner of a bucket may touch it or anything in it.
//!
//! Invariants:
//! - Every operation on a bucket that exists goes through [`Server::check_owner`].
//! - A request that asks for an access that this rule does not grant (public ACLs, grants) is
//!   refused, and what it asks for is never silently dropped.

use super::Server;
use super::error::{invalid_argument, not_implemented};
use super::lenient_headers::LenientHeaders;
use crate::auth::{Account, RequestContext, Trailers};
use http::{Extensions, HeaderMap};
use ringbolt_engine::types::Bucket;
use s3s::dto::Owner;
use s3s::{S3Error, S3Result, s3_error};
use std::rc::Rc;
use std::sync::Arc;

/// Who asks, and what was taken out of the request's headers.
pub struct Caller {
    pub account: Option<Arc<Account>>,
    pub trailers: Trailers,
    pub lenient: LenientHeaders,
}

impl Caller {
    /// Takes the caller out of a request's extensions. A request that was not authenticated has no
    /// account.
    pub fn take(extensions: &mut Extensions) -> Self {
        let lenient = extensions.remove::<LenientHeaders>().unwrap_or_default();
        match extensions.remove::<RequestContext>() {
            Some(context) => Self { account: context.account, trailers: context.trailers, lenient },
            None => Self { account: None, trailers: Trailers::default(), lenient },
        }
    }

    /// Returns the account, for operations that no anonymous caller may do. Fails with AccessDenied
    /// if there is none.
    pub fn account(&self) -> S3Result<&Arc<Account>> {
        self.account.as_ref().ok_or_else(access_denied)
    }
}

/// Makes the error for a caller who may not do this: 403.
pub fn access_denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

impl Server {
    /// Finds a bucket. Fails if it does not exist, does not belong to the caller, or has another
    /// owner than the caller expects.
    pub fn bucket_of(
        &self,
        caller: &Caller,
        name: &str,
        expected_owner: Option<&str>,
    ) -> S3Result<Rc<Bucket>> {
        let Some(bucket) = self.core.bucket(name) else {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        };
        self.check_owner(caller, &bucket)?;
        if expected_owner.is_some_and(|expected| expected != bucket.owner) {
            return Err(access_denied());
        }
        Ok(bucket)
    }

    /// Fails with AccessDenied unless the caller owns the bucket.
    pub fn check_owner(&self, caller: &Caller, bucket: &Bucket) -> S3Result<()> {
        if caller.account()?.canonical_id == bucket.owner { Ok(()) } else { Err(access_denied()) }
    }

    /// Returns how the account with this canonical id appears in answers. An account that was
    /// removed from the configuration has no name any more.
    pub fn owner(&self, canonical_id: &str) -> Owner {
        let account = self.accounts.by_canonical_id(canonical_id);
        Owner {
            display_name: account.map(|known| known.display_name.clone()),
            id: Some(canonical_id.to_owned()),
        }
    }
}

/// Fails with NotImplemented if a request that writes asks for something that this server does not
/// have.
pub fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    const UNSUPPORTED: [(&str, &str); 4] = [
        ("x-amz-server-side-encryption", "Server-side encryption"),
        ("x-amz-copy-source-server-side-encryption", "Server-side encryption"),
        ("x-amz-website-redirect-location", "Website redirection"),
        ("x-amz-write-offset-bytes", "Appending to an object"),
    ];
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") || value.is_empty() {
            continue;
        }
        if let Some((_, what)) = UNSUPPORTED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            // An SDK may send "False" for the default.
            if value.as_bytes().eq_ignore_ascii_case(b"false") {
                continue;
            }
            return Err(not_implemented(what));
        }
        match name {
            "x-amz-bucket-namespace" if value != "global" => {
                return Err(not_implemented("A bucket namespace other than global"));
            }
            "x-amz-acl" => check_canned_acl(value.to_str().unwrap_or_default())?,
            _ if name.starts_with("x-amz-grant-") => return Err(not_implemented("Granting access")),
            _ => {}
        }
    }
    Ok(())
}

/// Accepts the canned ACLs that say what is the case anyway: the owner has full control, and nobody
/// else has any access. (The owner of a bucket owns all that is in it.)
pub fn check_canned_acl(acl: &str) -> S3Result<()> {
    match acl {
        "private" | "bucket-owner-full-control" => Ok(()),
        "public-read" | "public-read-write" | "authenticated-read" | "bucket-owner-read"
        | "aws-exec-read" | "log-delivery-write" => Err(not_implemented("An ACL other than private")),
        _ => Err(invalid_argument("x-amz-acl names no canned ACL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use s3s::S3ErrorCode;

    fn refused(name: &'static str, value: &'static str) -> Option<S3ErrorCode> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        refuse_unsupported(&headers).err().map(|error| error.code().clone())
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "k"),
            ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-bucket-namespace", "account-regional"),
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "id=1"),
        ] {
            assert_eq!(refused(name, value), Some(S3ErrorCode::NotImplemented), "{name}");
        }
        assert_eq!(refused("x-amz-acl", "publik"), Some(S3ErrorCode::InvalidArgument));
    }

    #[test]
    fn what_is_so_anyway_is_accepted() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-bucket-namespace", "global"),
            ("x-amz-date", "20260101T000000Z"),
        ] {
            assert_eq!(refused(name, value), None, "{name}");
        }
    }
}
