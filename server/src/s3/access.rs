//! Who asks, and what of a request is refused because this server does not have it.

use super::Server;
use super::error::not_implemented;
use super::facts::Said;
use super::judge::OnKey;
use super::lenient_headers::LenientHeaders;
use super::operations::Operation;
use crate::access::evaluator::NamedPolicy;
use crate::access::{AccountNames, Action, Principal};
use crate::auth::{RequestContext, Trailers};
use http::{HeaderMap, Uri};
use s3s::dto::Owner;
use s3s::{S3Error, S3Request, S3Result, s3_error};
use std::cell::Cell;
use std::sync::Arc;

/// What was gathered of a request before s3s read it, and which operation it turned out to be.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    pub lenient: LenientHeaders,
    pub operation: Option<Operation>,
}

/// Who asks, and what was taken out of the request's headers.
pub struct Caller {
    pub context: RequestContext,
    pub lenient: LenientHeaders,
    /// The headers of the request, but for those that were taken out.
    pub headers: HeaderMap,
    pub uri: Uri,
    pub operation: Operation,
    /// What the document of the request says that policies may ask for.
    pub said: Said,
    /// A denial of the request was logged. A list of deletes may have a thousand.
    pub was_denied: Cell<bool>,
}

impl Caller {
    /// Takes the caller out of a request that s3s read. A request that was not authenticated has no
    /// account.
    pub fn take<T>(request: &mut S3Request<T>) -> Self {
        let gathered = request.extensions.remove::<Gathered>().unwrap_or_default();
        Self {
            context: request.extensions.remove::<RequestContext>().unwrap_or_default(),
            lenient: gathered.lenient,
            headers: std::mem::take(&mut request.headers),
            uri: request.uri.clone(),
            // Every operation of the table notes itself.
            operation: gathered.operation.unwrap_or(Operation::PostObject),
            ..Self::of(RequestContext::default())
        }
    }

    /// Takes the caller out of a GET that goes the short way. What belongs to the answer stays.
    pub fn of_get(request: &mut http::Request<s3s::Body>, lenient: LenientHeaders) -> Self {
        Self {
            lenient,
            headers: std::mem::take(request.headers_mut()),
            uri: request.uri().clone(),
            operation: Operation::GetObject,
            ..Self::of(request.extensions().get::<RequestContext>().cloned().unwrap_or_default())
        }
    }

    /// Makes a caller of whom no more is known than who it is.
    pub fn of(context: RequestContext) -> Self {
        Self {
            context,
            lenient: LenientHeaders::default(),
            headers: HeaderMap::new(),
            uri: Uri::default(),
            operation: Operation::PostObject,
            said: Said::default(),
            was_denied: Cell::new(false),
        }
    }

    /// Returns who asks, as policies name them.
    pub fn principal(&self) -> &Principal {
        match &self.context.signer {
            None => &Principal::Anonymous,
            Some(signer) => &signer.principal,
        }
    }

    /// Returns the policies of the user that asks, with those of its groups.
    pub fn policies(&self) -> &[Arc<NamedPolicy>] {
        self.context.signer.as_ref().map_or(&[], |signer| &signer.policies)
    }

    /// Returns the boundary of the user that asks.
    pub fn boundary(&self) -> Option<&NamedPolicy> {
        self.context.signer.as_ref().and_then(|signer| signer.boundary.as_deref())
    }

    /// Returns whether a policy of the user, or its boundary, asks for the tags of objects.
    pub fn asks_existing_tags(&self) -> bool {
        let mut all = self.policies().iter().map(AsRef::as_ref).chain(self.boundary());
        all.any(|named| named.policy.asks_existing_tags())
    }

    /// Returns whether the caller is the account with this canonical id, and none of its users.
    pub fn is_root_of(&self, canonical_id: &str) -> bool {
        matches!(self.principal(), Principal::Root(account) if account.canonical_id == canonical_id)
    }

    /// Returns the account, for operations that no anonymous caller may do. Fails with AccessDenied
    /// if there is none.
    pub fn account(&self) -> S3Result<&AccountNames> {
        self.principal().account().ok_or_else(access_denied)
    }

    /// Returns the canonical id of the account that asks, or None without a signature.
    pub fn canonical_id(&self) -> Option<&str> {
        self.principal().account().map(|account| account.canonical_id.as_str())
    }

    /// Returns the trailers of the body.
    pub fn trailers(&self) -> &Trailers {
        &self.context.trailers
    }

    /// Returns the action that the operation of the request needs on a key.
    pub fn action_on(&self, on: OnKey<'_>) -> Action {
        self.action(on.version.is_some())
    }

    /// Returns the action that the operation of the request needs.
    pub fn action(&self, of_version: bool) -> Action {
        self.operation.action(of_version)
    }
}

/// Makes the error for a caller who may not do this: 403.
pub fn access_denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

impl Server {
    /// Returns how the account with this canonical id appears in answers. An account that was
    /// removed from the configuration has no name any more.
    pub fn owner(&self, canonical_id: &str) -> Owner {
        let directory = self.identity.directory();
        Owner {
            display_name: directory.account(canonical_id).map(|known| known.names.display_name.clone()),
            id: Some(canonical_id.to_owned()),
        }
    }
}

/// Fails with NotImplemented if a request that writes asks for something that this server does not
/// have.
pub fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    const UNSUPPORTED: [(&str, &str); 3] = [
        ("x-amz-server-side-encryption", "Server-side encryption"),
        ("x-amz-copy-source-server-side-encryption", "Server-side encryption"),
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
            _ => {}
        }
    }
    Ok(())
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
        ] {
            assert_eq!(refused(name, value), Some(S3ErrorCode::NotImplemented), "{name}");
        }
    }

    #[test]
    fn what_is_so_anyway_is_accepted() {
        for (name, value) in [("x-amz-bucket-namespace", "global"), ("x-amz-date", "20260101T000000Z")] {
            assert_eq!(refused(name, value), None, "{name}");
        }
    }
}
