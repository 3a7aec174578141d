//! The one place that judges whether a request may be carried out.
//!
//! The order is AWS's ("Policy evaluation logic"):
//!
//! 1. A Deny of an identity policy, of the boundary, of the session policy or of the bucket policy
//!    denies; so does a bucket policy that can not be loaded.
//! 2. The caller may *by itself* if it is a root, or if one of its identity policies allows it; and if
//!    the boundary and the session policy allow it too, where there are any.
//! 3. What is asked of no bucket is allowed to whom may by itself.
//! 4. In the account of the owner it is allowed to whom may by itself. It is also allowed if the bucket
//!    policy allows it to this caller or to everybody, or an ACL to everybody, within the session policy.
//! 5. In another account it is allowed to whom may by itself, if the bucket policy or an ACL allows it
//!    too: both accounts have to agree.
//! 6. To the anonymous it is allowed if the bucket policy or an ACL allows it to everybody.
//! 7. Anything else is denied, and so is the policy of a bucket to other accounts, whatever allows it.
//!
//! Invariants:
//! - A Deny that is added to any layer never allows more.
//! - What can not be loaded denies. One thing is left: the root of the bucket's owner may read, replace
//!   and remove the bucket policy whatever it says, so that no policy locks everybody out.
//! - The owner above is the bucket's. Where an object has another one, that is the owner for what
//!   [`Action::is_for_object_owner`] names, and the bucket policy allows nothing of it.
//! - The common path allocates nothing; a key of more than 192 bytes takes one allocation.

use super::action::Action;
use super::policy::{Context, Named, Policy, Question, StatementName, Verdict};
use super::principal::{AccountNames, Principal};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A policy with the name that reasons have for it.
#[derive(Debug)]
pub struct NamedPolicy {
    pub name: String,
    pub policy: Policy,
}

/// What is asked for.
pub struct Asked<'a> {
    pub principal: &'a Principal,
    pub action: Action,
    /// Empty for what is asked of no bucket.
    pub bucket: &'a str,
    pub key: Option<&'a str>,
    /// The canonical id of the bucket's owner. None: no bucket is involved, or it does not exist.
    pub bucket_owner: Option<&'a str>,
    /// The canonical id of the object's owner, where that is another account than the bucket's.
    pub object_owner: Option<&'a str>,
    pub context: &'a dyn Context,
}

/// Whom an ACL grants what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclGrant {
    /// Nobody who is the caller.
    Nobody,
    /// The caller's account, by its id. Its users may as far as their own policies allow it.
    Account,
    /// A group that the caller is of: everybody, or all who sign.
    Group,
}

/// All that may allow or deny.
pub struct Layers<'a> {
    /// The policies of the user, attached and inline, and those of its groups. The root has none.
    pub identity: &'a [Arc<NamedPolicy>],
    pub boundary: Option<&'a NamedPolicy>,
    pub session: Option<&'a NamedPolicy>,
    pub bucket: Option<&'a Policy>,
    /// The bucket has a policy that can not be loaded.
    pub bucket_policy_failed: bool,
    /// RestrictPublicBuckets of the public access block.
    pub restrict_public: bool,
    /// Says what the ACL grants. It is asked once, and only where nothing else decides.
    pub acl: &'a dyn Fn() -> AclGrant,
}

/// The kind of policy that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer<'a> {
    Identity(&'a str),
    Boundary(&'a str),
    Session(&'a str),
    Bucket,
}

impl fmt::Display for Layer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(name) => write!(formatter, "the policy {name:?}"),
            Self::Boundary(name) => write!(formatter, "the permissions boundary {name:?}"),
            Self::Session(name) => write!(formatter, "the session policy {name:?}"),
            Self::Bucket => formatter.write_str("the bucket policy"),
        }
    }
}

/// The reason why a request is allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// A statement allows or denies it.
    Statement(Layer<'a>, StatementName<'a>),
    /// The root of an account may do all that is not denied.
    Root,
    /// The root of the owner may always repair the bucket policy.
    Repair,
    Acl(AclGrant),
    BucketPolicyNotLoaded,
    /// No policy of the user allows it, nor anything else.
    NothingAllows,
    /// A policy of the user allows it, but its boundary or its session policy does not.
    NotWithin(Layer<'a>),
    /// The owner is another account, and neither the bucket policy nor the ACL allows it.
    OwnerDoesNotAllow,
    /// It is about the policy of a bucket, which is for the account of the owner alone, whatever it says.
    PolicyOfOwner,
    /// The bucket policy is public, and the public access block restricts it to the owner's account.
    PublicRestricted,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statement(layer, StatementName { number, sid: None }) => {
                write!(formatter, "statement {number} of {layer}")
            }
            Self::Statement(layer, StatementName { number, sid: Some(sid) }) => {
                write!(formatter, "statement {number} ({sid:?}) of {layer}")
            }
            Self::Root => formatter.write_str("the account's root may do what is not denied"),
            Self::Repair => {
                formatter.write_str("the root of the bucket's owner may always repair its policy")
            }
            Self::Acl(AclGrant::Group) => formatter.write_str("the ACL grants it to a group"),
            Self::Acl(AclGrant::Account) => formatter.write_str("the ACL grants it to the account"),
            Self::Acl(AclGrant::Nobody) => formatter.write_str("the ACL does not grant it"),
            Self::BucketPolicyNotLoaded => formatter.write_str("the bucket policy can not be loaded"),
            Self::NothingAllows => formatter.write_str("nothing allows it"),
            Self::NotWithin(layer) => write!(formatter, "{layer} does not allow it"),
            Self::OwnerDoesNotAllow => formatter
                .write_str("it belongs to another account, whose bucket policy and ACL do not allow it"),
            Self::PolicyOfOwner => {
                formatter.write_str("the policy of a bucket is for its owner's account alone")
            }
            Self::PublicRestricted => {
                formatter.write_str("the bucket policy is public, which the public access block restricts")
            }
        }
    }
}

/// What was decided, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Allow(Reason<'a>),
    Deny(Reason<'a>),
}

impl<'a> Decision<'a> {
    /// Returns whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Returns why.
    pub fn reason(&self) -> Reason<'a> {
        match *self {
            Self::Allow(reason) | Self::Deny(reason) => reason,
        }
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(reason) => write!(formatter, "allowed: {reason}"),
            Self::Deny(reason) => write!(formatter, "denied: {reason}"),
        }
    }
}

/// A layer that was judged and denies nothing: why it allows, if it does.
type Allowed<'a> = Option<Reason<'a>>;

/// Judges one policy. The error is the reason why it denies.
fn judge<'a>(policy: &'a Policy, layer: Layer<'a>, asked: &Question<'_>) -> Result<Allowed<'a>, Reason<'a>> {
    match policy.judge(asked) {
        Verdict::Denies(name) => Err(Reason::Statement(layer, name)),
        Verdict::Allows(name, _) => Ok(Some(Reason::Statement(layer, name))),
        Verdict::Nothing => Ok(None),
    }
}

/// What the policies of the caller and of the bucket say, where none denies.
struct Said<'a> {
    /// By the root's right or by an identity policy, without its bounds.
    identity: Allowed<'a>,
    /// The first bound that does not allow it: boundary, then session.
    beyond: Option<Layer<'a>>,
    /// Whether the session policy allows it, or there is none.
    within_session: bool,
    /// By the bucket policy, which names the caller, or its account alone.
    bucket: Option<(Reason<'a>, Named)>,
    /// The bucket policy would have allowed it, were it not public.
    restricted: bool,
}

impl<'a> Said<'a> {
    /// Returns why the caller may by itself.
    fn by_itself(&self) -> Allowed<'a> {
        self.identity.filter(|_| self.beyond.is_none())
    }

    /// Returns the reason for a denial that no statement asks for.
    fn lacking(&self, owner_differs: bool) -> Reason<'a> {
        match (self.identity, self.beyond) {
            _ if self.restricted => Reason::PublicRestricted,
            (Some(_), Some(layer)) => Reason::NotWithin(layer),
            (Some(_), None) if owner_differs => Reason::OwnerDoesNotAllow,
            _ => Reason::NothingAllows,
        }
    }
}

/// Judges a request.
pub fn authorize<'a>(asked: &Asked<'_>, layers: &Layers<'a>) -> Decision<'a> {
    let mut buffer = [0; RESOURCE_BYTES];
    let resource = resource_of(asked, &mut buffer);
    let Asked { principal, action, context, .. } = *asked;
    let question = Question { principal, action, resource: &resource, context };
    let said = match hear(asked, &question, layers) {
        Ok(said) => said,
        Err(reason) => return Decision::Deny(reason),
    };
    let account = principal.account();
    if is_repair(asked) && said.within_session {
        return Decision::Allow(Reason::Repair);
    }
    let owner = other_owner(asked).or(asked.bucket_owner);
    let by_itself = said.by_itself();
    let is_owner = |account: &AccountNames| owner.is_some_and(|owner| owner == account.canonical_id);
    let decided = match account {
        _ if owner.is_none() => by_itself,
        None => by_everybody(&said, layers),
        Some(account) if is_owner(account) => by_itself.or_else(|| by_everybody(&said, layers)),
        Some(_) => by_itself.and_then(|_| {
            let of_bucket = said.bucket.map(|(reason, _)| reason);
            of_bucket.or_else(|| match (layers.acl)() {
                AclGrant::Nobody => None,
                grant => Some(Reason::Acl(grant)),
            })
        }),
    };
    if decided.is_some()
        && is_of_policy(action)
        && !account.is_some_and(|account| owns_bucket(asked, account))
    {
        return Decision::Deny(Reason::PolicyOfOwner);
    }
    let differs = owner.is_some() && !account.is_some_and(is_owner);
    decided.map_or_else(|| Decision::Deny(said.lacking(differs)), Decision::Allow)
}

/// Returns why a caller may without a policy of its own: the bucket policy names it, or it or the ACL
/// names everybody. The session policy bounds this too.
fn by_everybody<'a>(said: &Said<'a>, layers: &Layers<'a>) -> Allowed<'a> {
    if !said.within_session {
        return None;
    }
    match said.bucket {
        Some((reason, Named::Itself)) => Some(reason),
        _ => ((layers.acl)() == AclGrant::Group).then_some(Reason::Acl(AclGrant::Group)),
    }
}

/// Asks all policies. The error is the reason of the first that denies.
fn hear<'a>(asked: &Asked<'_>, question: &Question<'_>, layers: &Layers<'a>) -> Result<Said<'a>, Reason<'a>> {
    let mut identity = None;
    let mut beyond = None;
    match asked.principal {
        Principal::Anonymous => {}
        Principal::Root(_) => identity = Some(Reason::Root),
        Principal::User(_) => {
            for named in layers.identity {
                let allowed = judge(&named.policy, Layer::Identity(&named.name), question)?;
                identity = identity.or(allowed);
            }
            if let Some(NamedPolicy { name, policy }) = layers.boundary {
                let layer = Layer::Boundary(name);
                if judge(policy, layer, question)?.is_none() {
                    beyond = Some(layer);
                }
            }
        }
    }
    let mut within_session = true;
    if let Some(NamedPolicy { name, policy }) = layers.session {
        let layer = Layer::Session(name);
        within_session = judge(policy, layer, question)?.is_some();
        if !within_session {
            beyond = beyond.or(Some(layer));
        }
    }
    let mut said = Said { identity, beyond, within_session, bucket: None, restricted: false };
    if is_repair(asked) {
        return Ok(said);
    }
    if layers.bucket_policy_failed {
        return Err(Reason::BucketPolicyNotLoaded);
    }
    if let Some(policy) = layers.bucket {
        match policy.judge(question) {
            Verdict::Denies(name) => return Err(Reason::Statement(Layer::Bucket, name)),
            Verdict::Allows(name, named) if other_owner(asked).is_none() => {
                let is_own = asked.principal.account().is_some_and(|account| owns_bucket(asked, account));
                said.restricted = layers.restrict_public && policy.is_public() && !is_own;
                if !said.restricted {
                    said.bucket = Some((Reason::Statement(Layer::Bucket, name), named));
                }
            }
            Verdict::Allows(..) | Verdict::Nothing => {}
        }
    }
    Ok(said)
}

/// Returns the owner of the object, where it is another than the bucket's, and the action is for the
/// object's owner to allow.
fn other_owner<'a>(asked: &Asked<'a>) -> Option<&'a str> {
    let other = asked.object_owner.filter(|owner| Some(*owner) != asked.bucket_owner);
    other.filter(|_| asked.action.is_for_object_owner())
}

fn owns_bucket(asked: &Asked<'_>, account: &AccountNames) -> bool {
    asked.bucket_owner.is_some_and(|owner| owner == account.canonical_id)
}

fn is_of_policy(action: Action) -> bool {
    matches!(action, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy)
}

/// Returns whether the root of the bucket's owner asks for its policy.
fn is_repair(asked: &Asked<'_>) -> bool {
    is_of_policy(asked.action)
        && matches!(asked.principal, Principal::Root(account) if owns_bucket(asked, account))
}

/// Room for the longest bucket's name, a `/` and all but very long keys: a longer room would have to be
/// cleared for each request.
const RESOURCE_BYTES: usize = 63 + 1 + 192;

/// Returns what stands behind `arn:aws:s3:::` for what is asked.
fn resource_of<'a>(asked: &Asked<'a>, buffer: &'a mut [u8; RESOURCE_BYTES]) -> Cow<'a, str> {
    if !asked.action.is_on_object() {
        return if asked.action.is_on_bucket() { asked.bucket.into() } else { "".into() };
    }
    let key = asked.key.unwrap_or_default();
    let at = asked.bucket.len();
    let end = at + 1 + key.len();
    if let Some(room) = buffer.get_mut(..end) {
        room[..at].copy_from_slice(asked.bucket.as_bytes());
        room[at] = b'/';
        room[at + 1..].copy_from_slice(key.as_bytes());
        if let Ok(resource) = std::str::from_utf8(room) {
            return resource.into();
        }
    }
    format!("{}/{key}", asked.bucket).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::policy::testing::{
        BUCKET, Said as Request, account, bucket_policy, identity_policy, user,
    };

    const OWNER: &str = "111122223333";
    const OTHER: &str = "444455556666";

    fn root(id: &str) -> Principal {
        Principal::Root(account(id))
    }

    fn bob(id: &str) -> Principal {
        Principal::User(Arc::new(user(id, "/", "bob")))
    }

    /// A request and its layers, of which each test changes some.
    struct Case {
        principal: Principal,
        action: Action,
        key: Option<&'static str>,
        bucket_owner: Option<String>,
        object_owner: Option<String>,
        request: Request,
        identity: Vec<Arc<NamedPolicy>>,
        boundary: Option<NamedPolicy>,
        session: Option<NamedPolicy>,
        bucket: Option<Policy>,
        failed: bool,
        restrict_public: bool,
        acl: AclGrant,
    }

    fn named(name: &str, text: &str) -> NamedPolicy {
        NamedPolicy { name: name.to_owned(), policy: identity_policy(text) }
    }

    /// Statements of policies of identities and of the bucket.
    const GET: &str =
        r#"{"Statement": {"Sid": "Get", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}"#;
    const ALL: &str = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
    const LIST: &str = r#"{"Statement": {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}}"#;
    const DENY: &str = r#"{"Statement": {"Sid": "No", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}}"#;

    fn of_bucket(effect: &str, principal: &str) -> Policy {
        bucket_policy(&format!(
            r#"{{"Statement": {{"Effect": "{effect}", "Principal": {principal}, "Action": "s3:*", "Resource": "*"}}}}"#
        ))
    }

    const EVERYBODY: &str = r#""*""#;
    const ITS_USER: &str = r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}"#;
    const ITS_ACCOUNT: &str = r#"{"AWS": "111122223333"}"#;
    const OTHER_ACCOUNT: &str = r#"{"AWS": "444455556666"}"#;
    const OTHER_USER: &str = r#"{"AWS": "arn:aws:iam::444455556666:user/bob"}"#;

    impl Case {
        /// `principal` gets an object of a bucket of the account OWNER; no layer says anything.
        fn get(principal: Principal) -> Self {
            Self {
                principal,
                action: Action::GetObject,
                key: Some("key"),
                bucket_owner: Some(account(OWNER).canonical_id.clone()),
                object_owner: None,
                request: Request::default(),
                identity: Vec::new(),
                boundary: None,
                session: None,
                bucket: None,
                failed: false,
                restrict_public: false,
                acl: AclGrant::Nobody,
            }
        }

        fn action(mut self, action: Action) -> Self {
            self.action = action;
            self
        }

        fn identity(mut self, text: &str) -> Self {
            self.identity.push(Arc::new(named("own", text)));
            self
        }

        fn boundary(mut self, text: &str) -> Self {
            self.boundary = Some(named("bound", text));
            self
        }

        fn session(mut self, text: &str) -> Self {
            self.session = Some(named("session", text));
            self
        }

        fn bucket(mut self, policy: Policy) -> Self {
            self.bucket = Some(policy);
            self
        }

        fn acl(mut self, grant: AclGrant) -> Self {
            self.acl = grant;
            self
        }

        fn object_of(mut self, owner: &str) -> Self {
            self.object_owner = Some(account(owner).canonical_id.clone());
            self
        }

        fn why(&self) -> String {
            let asked = Asked {
                principal: &self.principal,
                action: self.action,
                bucket: BUCKET,
                key: self.key,
                bucket_owner: self.bucket_owner.as_deref(),
                object_owner: self.object_owner.as_deref(),
                context: &self.request,
            };
            let layers = Layers {
                identity: &self.identity,
                boundary: self.boundary.as_ref(),
                session: self.session.as_ref(),
                bucket: self.bucket.as_ref(),
                bucket_policy_failed: self.failed,
                restrict_public: self.restrict_public,
                acl: &|| self.acl,
            };
            authorize(&asked, &layers).to_string()
        }

        fn allowed(&self) -> bool {
            self.why().starts_with("allowed")
        }
    }

    #[test]
    fn in_its_own_account_the_root_may_what_is_not_denied() {
        assert!(Case::get(root(OWNER)).allowed());
        assert!(!Case::get(root(OWNER)).bucket(of_bucket("Deny", EVERYBODY)).allowed());
        assert!(!Case::get(root(OWNER)).session(LIST).allowed());
        assert!(!Case::get(root(OTHER)).allowed(), "another account's bucket");
    }

    #[test]
    fn in_its_own_account_a_user_needs_its_policies_or_the_buckets() {
        let user = || Case::get(bob(OWNER));
        assert!(!user().allowed());
        assert!(user().identity(LIST).identity(GET).allowed());
        assert!(user().bucket(of_bucket("Allow", EVERYBODY)).allowed());
        assert!(user().bucket(of_bucket("Allow", ITS_USER)).allowed());
        assert!(user().acl(AclGrant::Group).allowed());
        assert!(!user().bucket(of_bucket("Allow", ITS_ACCOUNT)).allowed(), "the account has to hand it on");
        assert!(!user().acl(AclGrant::Account).allowed(), "every ACL grants all to its owner's account");
        assert!(user().identity(GET).bucket(of_bucket("Allow", ITS_ACCOUNT)).allowed());
    }

    #[test]
    fn boundary_and_session_policy_allow_nothing_and_bound_what_policies_allow() {
        let user = || Case::get(bob(OWNER));
        assert!(!user().boundary(ALL).session(ALL).allowed());
        assert!(user().identity(GET).boundary(ALL).session(ALL).allowed());
        assert!(!user().identity(GET).boundary(LIST).allowed());
        assert!(!user().identity(GET).session(LIST).allowed());
        let named = || user().bucket(of_bucket("Allow", ITS_USER));
        assert!(
            named().boundary(LIST).allowed(),
            "a bucket policy that names the user goes beyond its boundary"
        );
        assert!(!named().session(LIST).allowed(), "but never beyond its session");
        assert!(!user().acl(AclGrant::Group).session(LIST).allowed());
    }

    #[test]
    fn another_account_needs_both_sides() {
        for (grant, principal) in [
            (OTHER_ACCOUNT, root(OTHER)),
            (EVERYBODY, root(OTHER)),
            (OTHER_ACCOUNT, bob(OTHER)),
            (OTHER_USER, bob(OTHER)),
            (EVERYBODY, bob(OTHER)),
        ] {
            let case = || Case::get(principal.clone());
            let is_root = matches!(principal, Principal::Root(_));
            assert!(!case().identity(GET).allowed(), "{grant}: its own side alone");
            assert_eq!(
                case().bucket(of_bucket("Allow", grant)).allowed(),
                is_root,
                "{grant}: the bucket's side alone"
            );
            assert!(case().identity(GET).bucket(of_bucket("Allow", grant)).allowed(), "{grant}");
        }
        assert!(!Case::get(root(OTHER)).bucket(of_bucket("Allow", OTHER_USER)).allowed());
        assert!(Case::get(root(OTHER)).acl(AclGrant::Account).allowed());
        assert!(!Case::get(bob(OTHER)).acl(AclGrant::Group).allowed());
        assert!(Case::get(bob(OTHER)).identity(GET).acl(AclGrant::Account).allowed());
        assert!(!Case::get(bob(OTHER)).identity(GET).boundary(LIST).acl(AclGrant::Account).allowed());
    }

    #[test]
    fn anonymous_needs_what_is_for_everybody() {
        let case = || Case::get(Principal::Anonymous);
        assert!(!case().allowed() && !case().identity(ALL).allowed());
        assert!(case().bucket(of_bucket("Allow", EVERYBODY)).allowed());
        assert!(!case().bucket(of_bucket("Allow", OTHER_ACCOUNT)).allowed());
        assert!(case().acl(AclGrant::Group).allowed() && !case().acl(AclGrant::Account).allowed());
    }

    #[test]
    fn a_deny_of_any_layer_wins() {
        let allowed =
            || Case::get(bob(OWNER)).identity(ALL).bucket(of_bucket("Allow", EVERYBODY)).acl(AclGrant::Group);
        assert!(allowed().allowed());
        assert!(!allowed().identity(DENY).allowed());
        assert!(!allowed().boundary(DENY).allowed());
        assert!(!allowed().session(DENY).allowed());
        for principal in [EVERYBODY, ITS_USER, ITS_ACCOUNT] {
            let denied =
                Case::get(bob(OWNER)).identity(ALL).acl(AclGrant::Group).bucket(of_bucket("Deny", principal));
            assert!(!denied.allowed(), "{principal}");
        }
    }

    /// Trap: a policy's Deny beats a public ACL.
    #[test]
    fn a_public_acl_does_not_pass_over_a_deny() {
        for principal in [Principal::Anonymous, root(OWNER), root(OTHER)] {
            let case = Case::get(principal).acl(AclGrant::Group).bucket(of_bucket("Deny", EVERYBODY));
            assert_eq!(case.why(), "denied: statement 1 of the bucket policy");
        }
    }

    /// Trap: a policy that locks everybody out can be repaired by the owner's root, and by nobody else.
    #[test]
    fn the_root_of_the_owner_repairs_a_policy_that_locks_all_out() {
        let locked = |principal: Principal, action| {
            Case::get(principal).action(action).identity(ALL).bucket(of_bucket("Deny", EVERYBODY))
        };
        for action in [Action::GetBucketPolicy, Action::PutBucketPolicy, Action::DeleteBucketPolicy] {
            assert!(locked(root(OWNER), action).allowed(), "{action:?}");
            assert!(
                !locked(root(OWNER), action).session(LIST).allowed(),
                "{action:?}: not beyond the session"
            );
            assert!(!locked(root(OWNER), action).session(DENY).allowed(), "{action:?}");
            assert!(!locked(bob(OWNER), action).allowed(), "{action:?}");
            assert!(!locked(root(OTHER), action).allowed(), "{action:?}");
        }
        for action in [Action::GetObject, Action::GetBucketPolicyStatus, Action::PutBucketAcl] {
            assert!(!locked(root(OWNER), action).allowed(), "{action:?}");
        }
    }

    /// Trap: a policy that can not be loaded denies.
    #[test]
    fn a_policy_that_can_not_be_loaded_denies() {
        for principal in [root(OWNER), bob(OWNER), root(OTHER), Principal::Anonymous] {
            let mut case = Case::get(principal).identity(ALL).acl(AclGrant::Group);
            case.failed = true;
            assert_eq!(case.why(), "denied: the bucket policy can not be loaded");
        }
        let mut repair = Case::get(root(OWNER)).action(Action::PutBucketPolicy);
        repair.failed = true;
        assert!(repair.allowed());
    }

    #[test]
    fn without_a_bucket_the_callers_side_decides() {
        for action in [Action::ListAllMyBuckets, Action::CreateBucket] {
            let case = |principal| {
                let mut case = Case::get(principal).action(action).acl(AclGrant::Group);
                (case.bucket_owner, case.key) = (None, None);
                case
            };
            assert!(case(root(OTHER)).allowed());
            assert!(!case(bob(OTHER)).allowed() && case(bob(OTHER)).identity(ALL).allowed());
            assert!(!case(Principal::Anonymous).allowed());
        }
    }

    #[test]
    fn a_public_policy_that_is_restricted_is_for_the_owners_account() {
        let restricted = |principal, policy: &Policy| {
            let mut case = Case::get(principal).identity(ALL).bucket(policy.clone());
            case.restrict_public = true;
            case.why()
        };
        let public = bucket_policy(
            r#"{"Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"},
                {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:*", "Resource": "*"}
            ]}"#,
        );
        let why = "denied: the bucket policy is public, which the public access block restricts";
        assert_eq!(restricted(Principal::Anonymous, &public), why);
        assert_eq!(restricted(root(OTHER), &public), why, "although a statement names the account");
        let mut user = Case::get(bob(OWNER)).bucket(public);
        user.restrict_public = true;
        assert!(user.allowed());
        assert!(restricted(root(OTHER), &of_bucket("Allow", OTHER_ACCOUNT)).starts_with("allowed"));
    }

    #[test]
    fn an_object_of_another_account_is_that_accounts_to_allow() {
        let case = |principal| Case::get(principal).identity(ALL).object_of(OTHER);
        let everybody = || of_bucket("Allow", EVERYBODY);
        assert!(
            !case(root(OWNER)).bucket(everybody()).allowed(),
            "the bucket's owner does not own the object"
        );
        assert!(!case(Principal::Anonymous).bucket(everybody()).allowed());
        assert!(case(root(OTHER)).allowed() && case(bob(OTHER)).allowed());
        assert!(!Case::get(bob(OTHER)).object_of(OTHER).allowed());
        assert!(case(root(OWNER)).acl(AclGrant::Account).allowed());
        assert!(case(Principal::Anonymous).acl(AclGrant::Group).allowed());
        let denied = case(root(OTHER)).bucket(of_bucket("Deny", EVERYBODY));
        assert!(!denied.allowed(), "the bucket policy's Deny covers it");
        assert!(case(root(OWNER)).action(Action::DeleteObject).allowed(), "the bucket's owner may remove it");
        assert!(!case(root(OTHER)).action(Action::DeleteObject).allowed());
        assert!(Case::get(root(OWNER)).object_of(OWNER).allowed());
    }

    #[test]
    fn resources_are_of_what_the_action_is_done_to() {
        let on = |resource: &str, action| {
            let text =
                format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "*", "Resource": "{resource}"}}}}"#);
            Case::get(bob(OWNER)).action(action).identity(&text).allowed()
        };
        assert!(
            on("arn:aws:s3:::bucket/*", Action::GetObject) && !on("arn:aws:s3:::bucket", Action::GetObject)
        );
        assert!(
            on("arn:aws:s3:::bucket", Action::ListBucket) && !on("arn:aws:s3:::bucket/*", Action::ListBucket)
        );
        assert!(
            on("arn:aws:s3:::*", Action::ListAllMyBuckets)
                && !on("arn:aws:s3:::b*", Action::ListAllMyBuckets)
        );
        let mut long = Case::get(bob(OWNER)).identity(
            r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::bucket/k*k"}}"#,
        );
        long.key = Some(Box::leak("k".repeat(RESOURCE_BYTES).into_boxed_str()));
        assert!(long.allowed(), "a key that is longer than the room for it");
    }

    #[test]
    fn reasons_name_layer_policy_and_statement() {
        let user = || Case::get(bob(OWNER));
        for (case, expected) in [
            (user().identity(GET), "allowed: statement 1 (\"Get\") of the policy \"own\""),
            (user().identity(ALL).identity(DENY), "denied: statement 1 (\"No\") of the policy \"own\""),
            (
                user().identity(GET).boundary(LIST),
                "denied: the permissions boundary \"bound\" does not allow it",
            ),
            (user().identity(GET).session(LIST), "denied: the session policy \"session\" does not allow it"),
            (user().boundary(DENY), "denied: statement 1 (\"No\") of the permissions boundary \"bound\""),
            (user(), "denied: nothing allows it"),
            (user().acl(AclGrant::Group), "allowed: the ACL grants it to a group"),
            (Case::get(root(OWNER)), "allowed: the account's root may do what is not denied"),
            (
                Case::get(root(OTHER)),
                "denied: it belongs to another account, whose bucket policy and ACL do not allow it",
            ),
        ] {
            assert_eq!(case.why(), expected);
        }
    }

    #[test]
    fn the_acl_is_asked_only_where_nothing_else_decides() {
        let principal = bob(OWNER);
        let own = [Arc::new(named("own", GET))];
        let request = Request::default();
        let owner = account(OWNER).canonical_id.clone();
        let asked = Asked {
            principal: &principal,
            action: Action::GetObject,
            bucket: BUCKET,
            key: Some("key"),
            bucket_owner: Some(&owner),
            object_owner: None,
            context: &request,
        };
        let layers = Layers {
            identity: &own,
            boundary: None,
            session: None,
            bucket: None,
            bucket_policy_failed: false,
            restrict_public: false,
            acl: &|| panic!("the ACL is asked"),
        };
        assert!(authorize(&asked, &layers).is_allowed());
    }
}
