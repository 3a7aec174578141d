//! The language of policies, compiled.
//!
//! [`Policy::parse`] reads a document and refuses what it does not understand; nothing is ever ignored.
//! What it gives is cheap to judge: actions are bits, texts are patterns, values have their types.
//!
//! Invariants:
//! - Of one policy a Deny that applies is always found, whatever else applies.
//! - A policy of another version than 2012-10-17 has no variables; without a version it is 2008-10-17.

mod condition;
mod date;
mod json;
mod key;
mod pattern;
mod principals;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::key::{ConditionKey, Kind};
pub use self::principals::Named;

use self::json::Json;
use self::statement::{Statement, Wrong};
use super::action::{Action, ActionSet};
use super::principal::{AccountNames, Principal};
use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The longest bucket policy, in bytes, as in AWS.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;
/// The longest policy of an identity, in characters without white space: AWS's limit for a managed
/// policy. It holds for policies within a user or a group, for boundaries and for sessions too.
pub const IDENTITY_POLICY_CHARACTERS_MAX: usize = 6_144;
/// The longest policy of an identity with its white space, in bytes.
pub const IDENTITY_POLICY_BYTES_MAX: usize = 4 * IDENTITY_POLICY_CHARACTERS_MAX;

/// What a request has for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values<'a> {
    Absent,
    One(Cow<'a, str>),
    /// The values of a key that has several. An empty list is the same as no value.
    Many(Vec<Cow<'a, str>>),
}

/// Says what a request has for the keys of conditions. Keys about the principal are never asked, nor
/// those that only AWS has.
pub trait Context {
    /// Returns the values of a key.
    fn values(&self, key: &ConditionKey) -> Values<'_>;

    /// Returns the value of a key as milliseconds since 1970, where that is at hand: a text would have to
    /// be written and read again. None: [`Self::values`] is asked.
    fn moment(&self, _key: &ConditionKey) -> Option<i64> {
        None
    }

    /// Returns the value of a key as an address, likewise.
    fn address(&self, _key: &ConditionKey) -> Option<IpAddr> {
        None
    }
}

/// Where a policy is put, which says what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind<'a> {
    /// On a bucket: it names principals, and its resources are the bucket's own.
    Bucket { name: &'a str },
    /// On a user or a group, or as a boundary or a session policy: it names no principals.
    Identity,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// The reason why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy has {found} {unit}; the limit is {most}: shorten it")]
    TooLong { found: usize, most: usize, unit: &'static str },
    #[error("the policy is no JSON: {0}")]
    Json(String),
    #[error("{element}: {problem}")]
    Document { element: Cow<'static, str>, problem: String },
    /// The number counts from 1.
    #[error("statement {number}, {element}: {problem}")]
    Statement { number: usize, element: Cow<'static, str>, problem: String },
}

/// What is asked of one policy.
pub(super) struct Question<'a> {
    pub principal: &'a Principal,
    pub action: Action,
    /// What stands behind `arn:aws:s3:::`.
    pub resource: &'a str,
    pub context: &'a dyn Context,
}

/// The statement of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementName<'a> {
    /// Counts from 1.
    pub number: usize,
    pub sid: Option<&'a str>,
}

/// What one policy says of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Denies(StatementName<'a>),
    /// Never with [`Named::No`].
    Allows(StatementName<'a>, Named),
    Nothing,
}

/// A compiled policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Box<[Statement]>,
    /// All actions of all statements: most policies are done with after a look at these.
    actions: ActionSet,
    is_public: bool,
    asks_existing_tags: bool,
}

impl Policy {
    /// Compiles a policy. Fails if it is too long, or if any of it is not understood.
    pub fn parse(text: &[u8], kind: PolicyKind<'_>) -> Result<Self, PolicyError> {
        check_length(text, kind)?;
        let document = Json::parse(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        let (statements, variables) = read_document(&document)?;
        let mut compiled = Vec::with_capacity(statements.len());
        let mut sids = HashSet::new();
        for (index, statement) in statements.iter().enumerate() {
            let number = index + 1;
            let named = |Wrong { element, problem }| PolicyError::Statement { number, element, problem };
            let statement = Statement::parse(statement, kind, variables).map_err(named)?;
            if let Some(sid) = &statement.sid
                && !sids.insert(sid.clone())
            {
                let problem = format!("{sid:?} is the name of an earlier statement too: give it another");
                return Err(PolicyError::Statement { number, element: "Sid".into(), problem });
            }
            compiled.push(statement);
        }
        let mut actions = ActionSet::default();
        compiled.iter().for_each(|statement| actions.extend(&statement.actions));
        Ok(Self {
            actions,
            is_public: compiled.iter().any(Statement::is_public),
            asks_existing_tags: compiled.iter().any(Statement::asks_existing_tags),
            statements: compiled.into(),
        })
    }

    /// Returns whether the policy gives access to everybody, as AWS's page on blocking public access
    /// defines it: a statement allows something to `*`, and no condition of it holds only for fixed
    /// accounts, principals, networks that are not too broad, or the like.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// Returns whether a condition or a variable asks for the tags that the object has, so that the
    /// context has to know them.
    pub fn asks_existing_tags(&self) -> bool {
        self.asks_existing_tags
    }

    /// Adds the statements of another policy; this is for fuzzing.
    fn with(self, other: Self) -> Self {
        let mut actions = self.actions;
        actions.extend(&other.actions);
        Self {
            actions,
            is_public: self.is_public || other.is_public,
            asks_existing_tags: self.asks_existing_tags || other.asks_existing_tags,
            statements: self.statements.into_iter().chain(other.statements).collect(),
        }
    }

    /// Says what the policy makes of a question. An Allow that names the principal itself goes before
    /// one that names its account, and an earlier statement before a later one.
    pub(super) fn judge(&self, asked: &Question<'_>) -> Verdict<'_> {
        let mut verdict = Verdict::Nothing;
        if !self.actions.contains(asked.action) {
            return verdict;
        }
        for (index, statement) in self.statements.iter().enumerate() {
            // An Allow beside one that was found already changes nothing.
            let is_settled =
                statement.effect == Effect::Allow && matches!(verdict, Verdict::Allows(_, Named::Itself));
            if is_settled || !statement.actions.contains(asked.action) {
                continue;
            }
            let name = || StatementName { number: index + 1, sid: statement.sid.as_deref() };
            match (statement.applies(asked), statement.effect) {
                (Named::No, _) => {}
                (_, Effect::Deny) => return Verdict::Denies(name()),
                (Named::ByAccount, Effect::Allow) if verdict != Verdict::Nothing => {}
                (named, Effect::Allow) => verdict = Verdict::Allows(name(), named),
            }
        }
        verdict
    }
}

/// A request that has one value for every key; this is for fuzzing.
struct Everything<'a>(&'a str);

impl Context for Everything<'_> {
    fn values(&self, key: &ConditionKey) -> Values<'_> {
        match key.kind() {
            Kind::Texts => Values::Many(vec![self.0.into(), "b".into()]),
            _ => Values::One(self.0.into()),
        }
    }
}

/// Compiles a policy as each kind, and judges what some may do by it; this is for fuzzing. A statement
/// that denies everything, at the end, must leave nothing that is allowed.
pub(crate) fn judge_policy(text: &[u8]) {
    let user = super::principal::UserNames {
        account: Arc::new(AccountNames {
            account_id: "111122223333".to_owned(),
            canonical_id: "1".to_owned(),
            display_name: String::new(),
        }),
        name: "bob".to_owned(),
        path: "/".to_owned(),
        id: "AIDA".to_owned(),
        arn: "arn:aws:iam::111122223333:user/bob".to_owned(),
    };
    let principals =
        [Principal::Anonymous, Principal::Root(user.account.clone()), Principal::User(Arc::new(user))];
    let named = r#""Principal":"*","#;
    for (kind, principal) in [(PolicyKind::Bucket { name: "b" }, named), (PolicyKind::Identity, "")] {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        let denies = format!(
            r#"{{"Statement":{{"Effect":"Deny",{principal}"Action":"*",
                "Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}}}}"#
        );
        let Ok(denies) = Policy::parse(denies.as_bytes(), kind) else { panic!("{denies} is refused") };
        let closed = policy.clone().with(denies);
        for principal in &principals {
            for (action, resource) in
                [(Action::GetObject, "b/a"), (Action::PutObject, "b/a*b?"), (Action::ListBucket, "b")]
            {
                for said in ["a", "10", "true", "192.0.2.1", "2026-01-01T00:00:00Z", ""] {
                    let context = Everything(said);
                    let question = Question { principal, action, resource, context: &context };
                    // It may be anything: all that matters is that it ends.
                    let _ = policy.judge(&question);
                    assert!(matches!(closed.judge(&question), Verdict::Denies(_)));
                }
            }
        }
    }
}

fn check_length(text: &[u8], kind: PolicyKind<'_>) -> Result<(), PolicyError> {
    let most = match kind {
        PolicyKind::Bucket { .. } => BUCKET_POLICY_BYTES_MAX,
        PolicyKind::Identity => IDENTITY_POLICY_BYTES_MAX,
    };
    if text.len() > most {
        return Err(PolicyError::TooLong { found: text.len(), most, unit: "bytes" });
    }
    if kind == PolicyKind::Identity {
        let found =
            String::from_utf8_lossy(text).chars().filter(|character| !character.is_whitespace()).count();
        let most = IDENTITY_POLICY_CHARACTERS_MAX;
        if found > most {
            return Err(PolicyError::TooLong { found, most, unit: "characters without white space" });
        }
    }
    Ok(())
}

/// Returns the statements of a document, and whether its version has variables.
fn read_document(document: &Json) -> Result<(&[Json], bool), PolicyError> {
    let refused = |element: &str, problem: String| {
        Err(PolicyError::Document { element: element.to_owned().into(), problem })
    };
    let Json::Object(elements) = document else {
        return refused("Policy", format!("it is {}; a policy is an object", document.kind()));
    };
    let (mut variables, mut statements) = (false, None);
    for (name, value) in elements {
        match (name.as_str(), value) {
            ("Version", Json::Text(version)) if version == "2012-10-17" => variables = true,
            ("Version", Json::Text(version)) if version == "2008-10-17" => {}
            ("Version", _) => return refused(name, "it is not \"2012-10-17\"".to_owned()),
            ("Id", Json::Text(_)) => {}
            ("Id", other) => return refused(name, format!("it is {}, not a string", other.kind())),
            ("Statement", Json::List(list)) => statements = Some(list.as_slice()),
            ("Statement", one) => statements = Some(std::slice::from_ref(one)),
            _ => {
                return refused(
                    name,
                    "no policy has this element: remove it, or correct its spelling".to_owned(),
                );
            }
        }
    }
    match statements {
        None => refused("Statement", "it is missing".to_owned()),
        Some([]) => refused("Statement", "it has no statement".to_owned()),
        Some(statements) => Ok((statements, variables)),
    }
}
