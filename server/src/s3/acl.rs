//! Access control lists of buckets and objects: put, shown, and given by the headers of writes.
//!
//! Invariants:
//! - Where the owner of the bucket owns all that is in it, lists do not count: those that say nothing
//!   else are taken and not stored, and all others are refused with 400.
//! - A list with grants to everybody is refused where the bucket blocks them: 403.
//! - Whoever gives a list with a write needs the permission to put lists, unless the account will own
//!   what it writes.

use super::Server;
use super::access::{Caller, access_denied, refuse_unsupported};
use super::change::change_attributes;
use super::error::{coded, invalid_argument, invalid_request};
use super::judge::{acl_of, owner_in, owner_of};
use super::parsed::BucketAccess;
use crate::access::Action;
use crate::access::acl::{
    ATTRIBUTE as ACL, Acl, GRANTS_MAX, Grant as Granted, Grantee as GrantedTo, OWNER_ATTRIBUTE as OWNER,
    Permission as Permitted, grantees_of_header,
};
use crate::access::ownership::Ownership;
use crate::identity::Directory;
use http::{HeaderMap, StatusCode};
use ringbolt_engine::types::{Attributes, Bucket, ConfigKind};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

const CANNED_HEADER: &str = "x-amz-acl";
const GRANT_PREFIX: &str = "x-amz-grant-";
/// The canonical id of objects that nobody signed for, as S3 has it.
pub const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// A list as a request gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenAcl {
    Canned(String),
    Grants(Acl),
}

impl GivenAcl {
    /// Reads the list that headers give. Fails if it is malformed, or grants something to somebody
    /// who is not known.
    pub fn of_headers(server: &Server, headers: &HeaderMap) -> S3Result<Option<Self>> {
        let text = |name: &str| {
            let value = headers.get(name).filter(|value| !value.is_empty());
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let canned = text(CANNED_HEADER);
        if let Some(name) = &canned {
            check_canned(name)?;
        }
        if !headers.keys().any(|name| name.as_str().starts_with(GRANT_PREFIX)) {
            return Ok(canned.map(Self::Canned));
        }
        if canned.is_some() {
            return Err(invalid_request("Specifying both Canned ACLs and Header Grants is not allowed"));
        }
        let mut acl = Acl::default();
        for permission in Permitted::ALL {
            let Some(text) = text(permission.header()) else { continue };
            let grantees = grantees_of_header(&text).ok_or_else(|| {
                invalid_argument(format!("{} must name grantees as id=… or uri=…", permission.header()))
            })?;
            for (kind, value) in grantees {
                acl.grants.push(Granted {
                    grantee: grantee(&server.identity.directory(), kind, value)?,
                    permission,
                });
            }
        }
        check_count(&acl)?;
        Ok(Some(Self::Grants(acl)))
    }

    /// Returns the list, for what is owned by `owner`.
    pub fn list(&self, owner: &str, bucket_owner: &str) -> S3Result<Acl> {
        match self {
            Self::Grants(acl) => Ok(acl.clone()),
            Self::Canned(name) => Acl::canned(name, owner, bucket_owner)
                .ok_or_else(|| invalid_argument("x-amz-acl names no canned ACL")),
        }
    }

    /// Fails unless the list changes nothing in a bucket in which none counts.
    fn check_says_nothing(&self, caller: &Caller, bucket: &Bucket) -> S3Result<()> {
        let by_owner = caller.canonical_id() == Some(&bucket.owner);
        match self.says_nothing(&bucket.owner, by_owner) {
            true => Ok(()),
            false => Err(lists_not_supported()),
        }
    }

    /// Returns whether the list says no more than that the owner of the bucket may do everything.
    /// `by_owner` says that this owner gives it.
    fn says_nothing(&self, bucket_owner: &str, by_owner: bool) -> bool {
        match self {
            Self::Canned(name) => name == "bucket-owner-full-control" || by_owner && name == "private",
            Self::Grants(acl) => *acl == Acl::private(bucket_owner),
        }
    }
}

/// Fails unless this is the name of a canned list.
pub fn check_canned(name: &str) -> S3Result<()> {
    match Acl::canned(name, "", "") {
        Some(_) => Ok(()),
        None => Err(invalid_argument("x-amz-acl names no canned ACL")),
    }
}

fn check_count(acl: &Acl) -> S3Result<()> {
    match acl.grants.len() <= GRANTS_MAX {
        true => Ok(()),
        false => Err(malformed_acl(format!("it has more than {GRANTS_MAX} grants"))),
    }
}

fn malformed_acl(why: impl std::fmt::Display) -> S3Error {
    let message = format!("The XML you provided was not well-formed or did not validate: {why}");
    coded("MalformedACLError", StatusCode::BAD_REQUEST, message)
}

fn lists_not_supported() -> S3Error {
    coded(
        "AccessControlListNotSupported",
        StatusCode::BAD_REQUEST,
        "The bucket does not allow ACLs; put ownership controls of ObjectWriter or BucketOwnerPreferred first",
    )
}

/// Makes the error for lists and ownership controls that exclude each other: 400.
pub fn acl_with_ownership() -> S3Error {
    let message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    coded("InvalidBucketAclWithObjectOwnership", StatusCode::BAD_REQUEST, message)
}

fn grantee(directory: &Directory, kind: &str, value: &str) -> S3Result<GrantedTo> {
    match kind.to_ascii_lowercase().as_str() {
        "id" if directory.account(value).is_some() => Ok(GrantedTo::Account(value.to_owned())),
        "id" => Err(invalid_argument("Invalid id: there is no account with this canonical id")),
        "uri" => GrantedTo::group(value).ok_or_else(|| invalid_argument("Invalid group uri")),
        "emailaddress" => Err(by_email()),
        _ => Err(invalid_argument("Argument format not recognized: a grantee is named by id or uri")),
    }
}

/// Reads the list of what `owner` owns from a document.
fn list_of(directory: &Directory, policy: &AccessControlPolicy, owner: &str) -> S3Result<Acl> {
    let Some(given) = policy.owner.as_ref().and_then(|owner| owner.id.as_deref()) else {
        return Err(malformed_acl("it has no Owner with an ID"));
    };
    if given != owner {
        return Err(access_denied());
    }
    let mut acl = Acl::default();
    for grant in policy.grants.iter().flatten() {
        let name = grant.permission.as_ref().map_or("", Permission::as_str);
        let permission = Permitted::from_name(name)
            .ok_or_else(|| malformed_acl(format_args!("the permission {name:?} is unknown")))?;
        let Some(to) = &grant.grantee else { return Err(malformed_acl("a grant has no Grantee")) };
        let named = [
            ("id", to.id.as_deref()),
            ("uri", to.uri.as_deref()),
            ("emailaddress", to.email_address.as_deref()),
        ];
        let mut given = named.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
        let (Some((kind, value)), None) = (given.next(), given.next()) else {
            return Err(malformed_acl("a Grantee has not exactly one of ID, URI and EmailAddress"));
        };
        acl.grants.push(Granted { grantee: grantee(directory, kind, value)?, permission });
    }
    check_count(&acl)?;
    Ok(acl)
}

/// Reads a list of the account with the canonical id `owner` from a document; this is for fuzzing. What
/// is read comes back from the form in which it is stored.
pub(crate) fn judge_acl(bytes: &[u8], directory: &Directory, owner: &str) {
    let Ok(plain) = super::xml_reader::to_plain(bytes, super::document::OTHER_ELEMENTS_MAX) else { return };
    let policy = s3s::xml::Deserialize::deserialize(&mut s3s::xml::Deserializer::new(&plain));
    let Ok(policy) = policy else { return };
    if let Ok(acl) = list_of(directory, &policy, owner) {
        assert_eq!(Acl::decode(&acl.to_string()), acl);
    }
}

impl Server {
    /// Returns the owner of what the caller writes into a bucket, and the list that the headers give
    /// it, as attributes. Fails if the list is refused.
    pub fn own_and_share(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        key: &str,
        attributes: &mut Attributes,
    ) -> S3Result<()> {
        let access = BucketAccess::of(bucket);
        let given = GivenAcl::of_headers(self, &caller.headers)?;
        if !access.ownership.has_lists() {
            return given.map_or(Ok(()), |given| given.check_says_nothing(caller, bucket));
        }
        let writer = caller.canonical_id().unwrap_or(ANONYMOUS);
        let gives_all = given == Some(GivenAcl::Canned("bucket-owner-full-control".to_owned()));
        let owner = match access.ownership {
            Ownership::BucketOwnerPreferred if gives_all => &bucket.owner,
            _ => writer,
        };
        if owner != bucket.owner {
            attributes.push((OWNER.to_owned(), owner.to_owned()));
        }
        let Some(given) = given else { return Ok(()) };
        let acl = given.list(owner, &bucket.owner)?;
        check_block(access, &acl)?;
        if acl != Acl::private(owner) {
            attributes.push((ACL.to_owned(), acl.to_string()));
        }
        // What nobody signed for is nobody's, and comes with the list that it brings. To leave all to the
        // bucket's owner shares nothing.
        if caller.context.signer.is_none() || gives_all && owner == bucket.owner {
            return self.refuse_denied(caller, Action::PutObjectAcl, bucket, key);
        }
        // What an account will own, it may share. Its users need to be allowed to.
        self.allow_on_written(caller, Action::PutObjectAcl, bucket, key, attributes)
    }

    /// Shows a list and its owner.
    fn show_acl(&self, acl: &Acl) -> Grants {
        let (accounts, groups): (Vec<_>, Vec<_>) =
            acl.grants.iter().partition(|grant| matches!(grant.grantee, GrantedTo::Account(_)));
        groups.into_iter().chain(accounts).map(|grant| self.show_grant(grant)).collect()
    }

    fn show_grant(&self, grant: &Granted) -> Grant {
        let by_id = |id: &str| {
            let owner = self.owner(id);
            (owner.display_name, owner.id)
        };
        let (type_, (display_name, id), uri) = match &grant.grantee {
            GrantedTo::Account(id) => (Type::CANONICAL_USER, by_id(id), None),
            group => (Type::GROUP, (None, None), group.uri().map(str::to_owned)),
        };
        let grantee = Grantee { display_name, email_address: None, id, type_: Type::from_static(type_), uri };
        Grant { grantee: Some(grantee), permission: Some(Permission::from_static(grant.permission.name())) }
    }
}

/// Makes the error for a grantee who is named by an address: 405, as S3 answers since 2025.
fn by_email() -> S3Error {
    s3_error!(MethodNotAllowed, "Grantees can not be named by e-mail address; name the canonical id")
}

fn check_block(access: &BucketAccess, acl: &Acl) -> S3Result<()> {
    match access.block.block_acls && acl.is_public() {
        true => Err(s3_error!(
            AccessDenied,
            "The public access block of the bucket refuses ACLs with grants to everybody"
        )),
        false => Ok(()),
    }
}

/// Answers GetBucketAcl.
pub async fn get_bucket_acl(
    server: &Server,
    mut request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let access = BucketAccess::of(&bucket);
    let acl = match access.ownership.has_lists() {
        true => access.list(&bucket.owner),
        false => Acl::private(&bucket.owner),
    };
    let (grants, owner) = (Some(server.show_acl(&acl)), Some(server.owner(&bucket.owner)));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
}

/// Answers GetObjectAcl.
pub async fn get_object_acl(
    server: &Server,
    mut request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let (info, _) = server.find_version(&caller, &bucket, (&input.key, input.version_id.as_deref())).await?;
    let owner = owner_in(&bucket, &info.attributes);
    let has_lists = BucketAccess::of(&bucket).ownership.has_lists();
    let acl = if has_lists { acl_of(&info.attributes, owner) } else { Acl::private(owner) };
    let (grants, owner) = (Some(server.show_acl(&acl)), Some(server.owner(owner)));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner, ..GetObjectAclOutput::default() }))
}

/// Returns the list of a request that puts one, which gives it once: by headers or as a document.
fn given_once(headers: Option<GivenAcl>, document: Option<Acl>) -> S3Result<GivenAcl> {
    match (headers, document) {
        (Some(given), None) => Ok(given),
        (None, Some(acl)) => Ok(GivenAcl::Grants(acl)),
        (Some(_), Some(_)) => Err(s3_error!(
            UnexpectedContent,
            "This request does not support content: give the ACL by headers or as a document, not both"
        )),
        (None, None) => Err(s3_error!(
            MissingSecurityHeader,
            "Your request was missing a required header or body: the ACL"
        )),
    }
}

/// Answers PutBucketAcl.
pub async fn put_bucket_acl(
    server: &Server,
    mut request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    refuse_unsupported(&caller.headers)?;
    let document = input.access_control_policy.as_ref();
    let document =
        document.map(|policy| list_of(&server.identity.directory(), policy, &bucket.owner)).transpose()?;
    let given = given_once(GivenAcl::of_headers(server, &caller.headers)?, document)?;
    let access = BucketAccess::of(&bucket);
    if !access.ownership.has_lists() {
        given.check_says_nothing(&caller, &bucket)?;
        return Ok(S3Response::new(PutBucketAclOutput::default()));
    }
    let acl = given.list(&bucket.owner, &bucket.owner)?;
    check_block(access, &acl)?;
    let value = (acl != Acl::private(&bucket.owner)).then(|| acl.to_string().into_bytes());
    server.configure(&bucket, ConfigKind::ACL, value).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// Answers PutObjectAcl.
pub async fn put_object_acl(
    server: &Server,
    mut request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let version = input.version_id.as_deref();
    let target = (input.bucket.as_str(), input.key.as_str(), version);
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    refuse_unsupported(&caller.headers)?;
    let (info, _) = server.find_version(&caller, &bucket, (&input.key, version)).await?;
    let access = BucketAccess::of(&bucket);
    let owner = owner_in(&bucket, &info.attributes).to_owned();
    let document = input.access_control_policy.as_ref();
    let document =
        document.map(|policy| list_of(&server.identity.directory(), policy, &owner)).transpose()?;
    let given = given_once(GivenAcl::of_headers(server, &caller.headers)?, document)?;
    if !access.ownership.has_lists() {
        given.check_says_nothing(&caller, &bucket)?;
        return Ok(S3Response::new(PutObjectAclOutput::default()));
    }
    let acl = given.list(&owner, &bucket.owner)?;
    check_block(access, &acl)?;
    let changed = change_attributes((server, &caller), &bucket, (&input.key, version), false, |attributes| {
        // Between the look and the change somebody else may have written the key.
        if owner_of(attributes).unwrap_or(&bucket.owner) != owner {
            return Err(access_denied());
        }
        attributes.retain(|(name, _)| name != ACL);
        if acl != Acl::private(&owner) {
            attributes.push((ACL.to_owned(), acl.to_string()));
        }
        Ok(())
    });
    changed.await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_say_nothing_are_taken_where_none_count() {
        let canned = |name: &str| GivenAcl::Canned(name.to_owned());
        assert!(canned("bucket-owner-full-control").says_nothing("o", false));
        assert!(canned("private").says_nothing("o", true) && !canned("private").says_nothing("o", false));
        assert!(!canned("public-read").says_nothing("o", true));
        assert!(GivenAcl::Grants(Acl::private("o")).says_nothing("o", false));
        assert!(!GivenAcl::Grants(Acl::private("p")).says_nothing("o", true));
        assert!(!GivenAcl::Grants(Acl::default()).says_nothing("o", true));
    }

    #[test]
    fn a_list_is_given_once() {
        let code = |result: S3Result<GivenAcl>| result.err().map(|error| error.code().as_str().to_owned());
        let canned = || Some(GivenAcl::Canned("private".to_owned()));
        assert_eq!(code(given_once(canned(), None)), None);
        assert_eq!(code(given_once(None, Some(Acl::default()))), None);
        assert_eq!(code(given_once(canned(), Some(Acl::default()))).as_deref(), Some("UnexpectedContent"));
        assert_eq!(code(given_once(None, None)).as_deref(), Some("MissingSecurityHeader"));
        assert!(check_canned("publik").is_err() && check_canned("public-read").is_ok());
    }
}
