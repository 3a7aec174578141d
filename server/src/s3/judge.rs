//! Who may do what: the one place where requests are judged.
//!
//! Invariants:
//! - Every operation on a bucket that exists goes through [`Server::bucket_of`] or
//!   [`Server::bucket_of_key`], and what it needs beside its own action through
//!   [`Server::allow_on_key`].
//! - What an object's list or tags say is asked only where it can matter: most requests are of the
//!   account that owns the bucket, and are judged without. Where it matters, what reads an object is
//!   judged when that is opened ([`Server::open_object`]), by what was opened and not by what was there
//!   before.
//! - A caller who may not list a bucket does not learn which keys are in it: 403, not 404.

use super::Server;
use super::access::{Caller, access_denied};
use super::error::EngineResult;
use super::facts::{Entry, Facts};
use super::object::no_such_key;
use super::object_lock::{HOLD, MODE, UNTIL, bypasses};
use super::parsed::BucketAccess;
use super::tagging::TAGGING;
use super::version::{Named, no_such_version};
use crate::access::Action;
use crate::access::acl::{ATTRIBUTE as ACL, Acl, OWNER_ATTRIBUTE as OWNER, Permission};
use crate::access::evaluator::{AclGrant, Asked, Decision, Layers, Reason, authorize};
use crate::auth::{RequestContext, account_id};
use crate::identity::Signer;
use ringbolt_engine::node::Opened;
use ringbolt_engine::types::{Attributes, Bucket, ObjectInfo};
use s3s::{S3Error, S3Result, s3_error};
use std::rc::Rc;
use std::sync::Arc;

/// The bucket, the key and the version that a request names.
pub type Target<'a> = (&'a str, &'a str, Option<&'a str>);

/// A key, and the version of it that is named.
#[derive(Clone, Copy)]
pub struct OnKey<'a> {
    pub key: &'a str,
    /// Never empty.
    pub version: Option<&'a str>,
}

impl<'a> OnKey<'a> {
    /// Makes it of what a request says. An empty version is none.
    pub fn new(key: &'a str, version: Option<&'a str>) -> Self {
        Self { key, version: version.filter(|version| !version.is_empty()) }
    }

    /// Returns the action on the newest version, or that on one that is named.
    pub fn action(self, of_newest: Action, of_version: Action) -> Action {
        if self.version.is_some() { of_version } else { of_newest }
    }

    /// Returns the action that reading needs.
    pub fn reads(self) -> Action {
        self.action(Action::GetObject, Action::GetObjectVersion)
    }

    fn entry(self) -> Option<Entry<'a>> {
        Some(Entry { version: self.version, if_match: None })
    }

    fn missing(self) -> S3Error {
        if self.version.is_some() { no_such_version() } else { no_such_key() }
    }
}

/// What a judgement is about, beside the bucket.
#[derive(Clone, Copy)]
struct About<'a> {
    key: Option<&'a str>,
    /// The attributes of the object, where it was looked at.
    object: Option<&'a Attributes>,
    entry: Option<Entry<'a>>,
}

impl<'a> About<'a> {
    /// Makes that of the bucket alone.
    const BUCKET: About<'static> = About { key: None, object: None, entry: None };

    fn key(key: &'a str) -> Self {
        About { key: Some(key), ..About::BUCKET }
    }
}

impl Server {
    /// Finds a bucket for the operation of the request. Fails if it does not exist, if the caller may
    /// not do this, or if it has another owner than the caller expects.
    pub fn bucket_of(
        &self,
        caller: &Caller,
        name: &str,
        expected_owner: Option<&str>,
    ) -> S3Result<Rc<Bucket>> {
        let bucket = self.existing_bucket(name)?;
        self.allow_on_bucket(caller, caller.action(false), &bucket)?;
        self.check_expected(&bucket, expected_owner)?;
        Ok(bucket)
    }

    /// Finds the bucket of a key for the operation of the request, as [`Self::bucket_of`] does.
    pub async fn bucket_of_key(
        &self,
        caller: &Caller,
        (name, key, version): Target<'_>,
        expected_owner: Option<&str>,
    ) -> S3Result<Rc<Bucket>> {
        let bucket = self.existing_bucket(name)?;
        let on = OnKey::new(key, version);
        self.allow_on_key(caller, caller.action_on(on), &bucket, on).await?;
        self.check_expected(&bucket, expected_owner)?;
        Ok(bucket)
    }

    /// Finds the bucket of a list of deletes, each of which is judged with [`Self::allow_delete`].
    pub fn bucket_of_list(&self, name: &str, expected_owner: Option<&str>) -> S3Result<Rc<Bucket>> {
        let bucket = self.existing_bucket(name)?;
        self.check_expected(&bucket, expected_owner)?;
        Ok(bucket)
    }

    /// Fails with AccessDenied unless the caller may delete this entry of a list: a key, or a version of
    /// it. Returns whether it asks to bypass governance, and may.
    pub async fn allow_delete(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        (on, if_match): (OnKey<'_>, Option<&str>),
    ) -> S3Result<bool> {
        let about = About { entry: Some(Entry { version: on.version, if_match }), ..About::key(on.key) };
        if !self.is_plain(caller, bucket) {
            let action = on.action(Action::DeleteObject, Action::DeleteObjectVersion);
            self.demand(caller, action, bucket, about)?;
            self.allow_condition(caller, bucket, on, if_match).await?;
        }
        Ok(self.bypasses_and_may(caller, bucket, about))
    }

    /// Fails unless the caller may read what a write is bound to: the answer tells whether an object has
    /// this ETag.
    pub async fn allow_condition(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        on: OnKey<'_>,
        if_match: Option<&str>,
    ) -> S3Result<()> {
        if if_match.is_none_or(|value| value.trim() == "*") || self.is_plain(caller, bucket) {
            return Ok(());
        }
        self.allow_on_key(caller, on.reads(), bucket, on).await?;
        // Who may list it too may know all that the answer tells.
        if !self.depends_on_object(caller, bucket) && self.may_list(caller, bucket, on.key) {
            return Ok(());
        }
        Box::pin(self.judge_looked_at(caller, on.reads(), bucket, on)).await
    }

    /// Finds the bucket of the source of a copy, which the caller must be allowed to read.
    pub async fn source_bucket(
        &self,
        caller: &Caller,
        (name, on): (&str, OnKey<'_>),
        expected_owner: Option<&str>,
    ) -> S3Result<Rc<Bucket>> {
        let bucket = self.existing_bucket(name)?;
        self.allow_on_key(caller, on.reads(), &bucket, on).await?;
        self.check_expected(&bucket, expected_owner)?;
        Ok(bucket)
    }

    fn existing_bucket(&self, name: &str) -> S3Result<Rc<Bucket>> {
        self.core.bucket(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    /// Fails with AccessDenied unless the caller may do this with the bucket.
    pub fn allow_on_bucket(&self, caller: &Caller, action: Action, bucket: &Bucket) -> S3Result<()> {
        match self.is_plain(caller, bucket) {
            true => Ok(()),
            false => self.demand(caller, action, bucket, About::BUCKET),
        }
    }

    /// Fails with AccessDenied unless the caller may do this with a key of the bucket. Reading an object may
    /// have to be judged again when that is opened.
    pub async fn allow_on_key(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<()> {
        match self.is_plain(caller, bucket) {
            true => Ok(()),
            // It is boxed, so that the future of a plain request stays small.
            false => Box::pin(self.judge_key(caller, action, bucket, on)).await,
        }
    }

    /// Fails with AccessDenied unless the caller may do this with the object as it was opened.
    pub fn allow_opened(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        (on, info): (OnKey<'_>, &ObjectInfo),
    ) -> S3Result<()> {
        match self.is_plain(caller, bucket) || !self.depends_on_object(caller, bucket) {
            true => Ok(()),
            false => self.allow_with(caller, action, bucket, (on, info)),
        }
    }

    /// Fails with AccessDenied unless the caller may do something with an object that was opened for
    /// something else.
    pub fn allow_with(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        (on, info): (OnKey<'_>, &ObjectInfo),
    ) -> S3Result<()> {
        if self.is_plain(caller, bucket) {
            return Ok(());
        }
        let about = About { key: Some(on.key), object: Some(&info.attributes), entry: on.entry() };
        self.demand(caller, action, bucket, about)
    }

    /// Returns the error for a caller who is not told that this is not there. None: it may be told.
    pub fn refused_absent(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> Option<S3Error> {
        if self.is_plain(caller, bucket) {
            return None;
        }
        let about = About { entry: on.entry(), ..About::key(on.key) };
        let judged = self.judge(caller, action, bucket, about, |decision| match is_explicit(&decision) {
            true => told(&decision, caller, action).map(|()| false),
            false => Ok(decision.is_allowed()),
        });
        match judged {
            Err(error) => Some(error),
            Ok(_) if !self.may_list(caller, bucket, on.key) => Some(access_denied()),
            Ok(is_allowed) => (!is_allowed).then(|| on.missing()),
        }
    }

    /// Returns whether a judgement depends on what is stored with an object: its list, its tags.
    fn depends_on_object(&self, caller: &Caller, bucket: &Bucket) -> bool {
        let access = BucketAccess::of(bucket);
        access.ownership.has_lists()
            || caller.asks_existing_tags()
            || access.policy.as_ref().is_some_and(|policy| policy.asks_existing_tags())
    }

    /// Returns whether the request asks to bypass governance, and may.
    pub fn may_bypass(&self, caller: &Caller, bucket: &Bucket, key: &str) -> bool {
        self.bypasses_and_may(caller, bucket, About::key(key))
    }

    fn bypasses_and_may(&self, caller: &Caller, bucket: &Bucket, about: About<'_>) -> bool {
        let may = || self.may(caller, Action::BypassGovernanceRetention, bucket, about);
        bypasses(&caller.headers) && (self.is_plain(caller, bucket) || may())
    }

    fn may(&self, caller: &Caller, action: Action, bucket: &Bucket, about: About<'_>) -> bool {
        self.judge(caller, action, bucket, about, |decision| decision.is_allowed())
    }

    /// Returns whether the caller may list a key, and learns by that whether it is there.
    fn may_list(&self, caller: &Caller, bucket: &Bucket, key: &str) -> bool {
        self.may(caller, Action::ListBucket, bucket, About::key(key))
    }

    /// Fails with AccessDenied if something denies what nothing needs to allow: to give a list with an
    /// object that is nobody's.
    pub fn refuse_denied(&self, caller: &Caller, action: Action, bucket: &Bucket, key: &str) -> S3Result<()> {
        self.judge(caller, action, bucket, About::key(key), |decision| match is_explicit(&decision) {
            true => told(&decision, caller, action),
            false => Ok(()),
        })
    }

    /// Fails with AccessDenied unless the caller may do this with what it is about to write, whatever
    /// is there.
    pub fn allow_on_new(&self, caller: &Caller, action: Action, bucket: &Bucket, key: &str) -> S3Result<()> {
        if self.is_plain(caller, bucket) {
            return Ok(());
        }
        self.demand(caller, action, bucket, About::key(key))
    }

    /// Fails with AccessDenied unless the caller may give what the request gives beside the object:
    /// tags, a retention, a legal hold.
    pub fn allow_given(&self, caller: &Caller, bucket: &Bucket, key: &str) -> S3Result<()> {
        if self.is_plain(caller, bucket) {
            return Ok(());
        }
        let has = |name: &str| caller.headers.get(name).is_some_and(|value| !value.is_empty());
        let brings_tags = match &caller.said.tags {
            Some(tags) => !tags.is_empty(),
            None => has(TAGGING),
        };
        let given = [
            (brings_tags, Action::PutObjectTagging),
            (has(MODE) || has(UNTIL), Action::PutObjectRetention),
            (has(HOLD), Action::PutObjectLegalHold),
        ];
        given
            .into_iter()
            .filter(|(given, _)| *given)
            .try_for_each(|(_, action)| self.allow_on_new(caller, action, bucket, key))
    }

    /// Fails with AccessDenied unless the caller may do this with an object that it is about to write.
    pub fn allow_on_written(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        key: &str,
        written: &Attributes,
    ) -> S3Result<()> {
        if self.is_plain(caller, bucket) {
            return Ok(());
        }
        self.demand(caller, action, bucket, About { object: Some(written), ..About::key(key) })
    }

    /// Returns whether the caller is the account that owns the bucket, and nothing but that counts.
    pub fn is_plain(&self, caller: &Caller, bucket: &Bucket) -> bool {
        let is_plain = caller.is_root_of(&bucket.owner) && BucketAccess::of(bucket).is_closed();
        if is_plain {
            caller.context.pace.allowed(&bucket.name);
        }
        is_plain
    }

    /// Fails if the caller expects another owner. An owner is named by the 12 digits of the account, or
    /// by its canonical id.
    fn check_expected(&self, bucket: &Bucket, expected: Option<&str>) -> S3Result<()> {
        match expected {
            Some(expected) if expected != bucket.owner && expected != account_id(&bucket.owner) => {
                Err(access_denied())
            }
            _ => Ok(()),
        }
    }

    async fn judge_key(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<()> {
        if !reads_object(action) {
            return self.demand(caller, action, bucket, About::key(on.key));
        }
        if self.depends_on_object(caller, bucket) {
            // Who reads opens the object at once, and it is judged then.
            return match action == on.reads() {
                true => Ok(()),
                false => self.judge_looked_at(caller, action, bucket, on).await,
            };
        }
        let about = About { entry: on.entry(), ..About::key(on.key) };
        let (is_allowed, is_final) = self
            .judge(caller, action, bucket, about, |decision| (decision.is_allowed(), is_explicit(&decision)));
        if is_allowed {
            return Ok(());
        }
        // Who may list is told what is missing, and not that it may not be read.
        if !is_final && self.may_list(caller, bucket, on.key) && self.look_at(bucket, on).await?.is_none() {
            return Err(on.missing());
        }
        self.demand(caller, action, bucket, about)
    }

    /// Judges an action on an object by what is there now.
    async fn judge_looked_at(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<()> {
        match self.look_at(bucket, on).await? {
            Some(info) => self.allow_with(caller, action, bucket, (on, &info)),
            None => self.refused_absent(caller, action, bucket, on).map_or(Ok(()), Err),
        }
    }

    /// Returns what is known of an object, whoever asks. None: there is none, or it is a delete marker.
    pub async fn look_at(&self, bucket: &Bucket, on: OnKey<'_>) -> S3Result<Option<ObjectInfo>> {
        let Named::Version(version) = self.named_version(bucket, on.key, on.version)? else {
            return Ok(None);
        };
        Ok(match self.core.open_version(bucket.id, on.key.as_bytes(), version).await.s3()? {
            Opened::Object(reader) => Some(reader.info().clone()),
            Opened::Marker(_) | Opened::Absent => None,
        })
    }

    /// Judges one action, and gives the decision to `then`. The key of an action on the bucket is that
    /// of which a listing would tell.
    fn judge<R>(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        about: About<'_>,
        then: impl FnOnce(Decision<'_>) -> R,
    ) -> R {
        let access = BucketAccess::of(bucket);
        let About { key, object, entry } = about;
        let object_owner = object.filter(|_| access.ownership.has_lists()).and_then(owner_of);
        // Who may list a key alone learns by that whether it is there.
        let prefix = key.filter(|_| !action.is_on_object());
        let key = key.filter(|_| action.is_on_object());
        let facts = Facts { server: self, caller, bucket: Some(bucket), object, prefix, entry };
        let asked = Asked {
            principal: caller.principal(),
            action,
            bucket: &bucket.name,
            key,
            bucket_owner: Some(&bucket.owner),
            object_owner,
            context: &facts,
        };
        let acl = || granted_by_list(caller, action, bucket, object);
        let layers = Layers {
            identity: caller.policies(),
            boundary: caller.boundary(),
            session: None,
            bucket: access.policy.as_ref(),
            bucket_policy_failed: access.policy_failed,
            restrict_public: access.block.restrict,
            acl: &acl,
        };
        let decision = authorize(&asked, &layers);
        if decision.is_allowed() {
            caller.context.pace.allowed(&bucket.name);
        }
        then(decision)
    }

    /// Fails with AccessDenied unless the caller may do this, which is about no bucket that exists:
    /// make one of this name, or see which there are.
    pub fn allow_on_service(&self, caller: &Caller, action: Action, name: &str) -> S3Result<()> {
        self.judge_service(caller, action, name, None, |decision| told(&decision, caller, action))
    }

    /// Judges one action that is about no bucket that exists, and gives the decision to `then`.
    fn judge_service<R>(
        &self,
        caller: &Caller,
        action: Action,
        name: &str,
        key: Option<&str>,
        then: impl FnOnce(Decision<'_>) -> R,
    ) -> R {
        let facts = Facts { server: self, caller, bucket: None, object: None, prefix: None, entry: None };
        let asked = Asked {
            principal: caller.principal(),
            action,
            bucket: name,
            key,
            bucket_owner: None,
            object_owner: None,
            context: &facts,
        };
        let layers = Layers {
            identity: caller.policies(),
            boundary: caller.boundary(),
            session: None,
            bucket: None,
            bucket_policy_failed: false,
            restrict_public: false,
            acl: &|| AclGrant::Nobody,
        };
        then(authorize(&asked, &layers))
    }

    /// Returns whether the caller may list what is in a bucket, or see where it is.
    pub fn may_see(&self, caller: &Caller, bucket: &Bucket) -> bool {
        [Action::ListBucket, Action::GetBucketLocation]
            .into_iter()
            .any(|action| self.may(caller, action, bucket, About::BUCKET))
    }

    /// Says whether a signer may do this with a bucket or a key of it, and why. Conditions see a request
    /// that says nothing more than that.
    pub async fn explain(
        &self,
        signer: Arc<Signer>,
        action: Action,
        (name, key): (&str, Option<&str>),
    ) -> S3Result<(bool, String)> {
        let caller = Caller::of(RequestContext { signer: Some(signer), ..RequestContext::default() });
        let answer = |decision: Decision<'_>| (decision.is_allowed(), decision.reason().to_string());
        let Some(bucket) = self.core.bucket(name) else {
            return Ok(self.judge_service(&caller, action, name, key, answer));
        };
        let object = match key.filter(|_| reads_object(action)) {
            Some(key) => self.look_at(&bucket, OnKey::new(key, None)).await?,
            None => None,
        };
        let object = object.as_ref().map(|info| &info.attributes);
        let about = About { key, object, ..About::BUCKET };
        Ok(self.judge(&caller, action, &bucket, about, answer))
    }

    /// Fails with AccessDenied, and notes why in the log, unless one action is allowed.
    fn demand(&self, caller: &Caller, action: Action, bucket: &Bucket, about: About<'_>) -> S3Result<()> {
        self.judge(caller, action, bucket, about, |decision| told(&decision, caller, action))
    }
}

/// Returns whether something denies it, rather than that nothing allows it.
fn is_explicit(decision: &Decision<'_>) -> bool {
    matches!(decision, Decision::Deny(Reason::Statement(..) | Reason::BucketPolicyNotLoaded))
}

/// Fails with AccessDenied, and notes why in the log, if this is the decision.
fn told(decision: &Decision<'_>, caller: &Caller, action: Action) -> S3Result<()> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => {
            let error = match reason {
                Reason::PolicyOfOwner => policy_of_owner(),
                _ => access_denied(),
            };
            // One line for a request, whatever number of things it asks.
            if caller.was_denied.replace(true) {
                return Err(error);
            }
            let principal = caller.principal();
            let client = caller.context.client.address;
            tracing::info!(%client, action = action.name(), %principal, %reason, "a request was denied");
            Err(error)
        }
    }
}

/// Makes the error for the policy of another account's bucket: 405.
fn policy_of_owner() -> S3Error {
    s3_error!(MethodNotAllowed, "The policy of a bucket is for the account alone that owns the bucket.")
}

/// Returns the owner of an object, where it is not the bucket's.
pub fn owner_of(attributes: &Attributes) -> Option<&str> {
    super::headers::find(attributes, OWNER)
}

/// Returns the owner of an object of a bucket.
pub fn owner_in<'a>(bucket: &'a Bucket, attributes: &'a Attributes) -> &'a str {
    let has_lists = BucketAccess::of(bucket).ownership.has_lists();
    owner_of(attributes).filter(|_| has_lists).unwrap_or(&bucket.owner)
}

/// Returns the list of an object.
pub fn acl_of(attributes: &Attributes, owner: &str) -> Acl {
    super::headers::find(attributes, ACL).map_or_else(|| Acl::private(owner), Acl::decode)
}

/// Returns whether an action is on an object that is there, so that its list and its tags count.
fn reads_object(action: Action) -> bool {
    action.is_on_object()
        && !matches!(
            action,
            Action::PutObject
                | Action::DeleteObject
                | Action::DeleteObjectVersion
                | Action::AbortMultipartUpload
                | Action::ListMultipartUploadParts
                | Action::BypassGovernanceRetention
        )
}

/// Returns what a list grants of an action: that of the bucket, or that of the object for what is done
/// with an object that is there.
fn granted_by_list(
    caller: &Caller,
    action: Action,
    bucket: &Bucket,
    object: Option<&Attributes>,
) -> AclGrant {
    let access = BucketAccess::of(bucket);
    if !access.ownership.has_lists() {
        return AclGrant::Nobody;
    }
    let ignores_public = access.block.ignore_acls;
    let id = caller.canonical_id();
    let of_bucket = |permission| match &access.acl {
        Some(acl) => acl.grant_of(id, permission, ignores_public),
        None => Acl::private(&bucket.owner).grant_of(id, permission, ignores_public),
    };
    let of_object = |permission| {
        let Some(attributes) = object else { return AclGrant::Nobody };
        let owner = owner_of(attributes).unwrap_or(&bucket.owner);
        // The owner may always look at the list, and change it.
        if id == Some(owner) && permission != Permission::Read {
            return AclGrant::Account;
        }
        acl_of(attributes, owner).grant_of(id, permission, ignores_public)
    };
    match action {
        Action::ListBucket | Action::ListBucketVersions | Action::ListBucketMultipartUploads => {
            of_bucket(Permission::Read)
        }
        Action::PutObject
        | Action::DeleteObject
        | Action::AbortMultipartUpload
        | Action::ListMultipartUploadParts => of_bucket(Permission::Write),
        Action::GetBucketAcl => of_bucket(Permission::ReadAcp),
        Action::PutBucketAcl => of_bucket(Permission::WriteAcp),
        Action::GetObject
        | Action::GetObjectVersion
        | Action::GetObjectAttributes
        | Action::GetObjectVersionAttributes => of_object(Permission::Read),
        Action::GetObjectAcl | Action::GetObjectVersionAcl => of_object(Permission::ReadAcp),
        Action::PutObjectAcl | Action::PutObjectVersionAcl => of_object(Permission::WriteAcp),
        _ => AclGrant::Nobody,
    }
}
