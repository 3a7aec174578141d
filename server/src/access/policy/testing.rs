//! Principals, requests and policies of the tests.

use super::{ConditionKey, Context, Policy, PolicyKind, Values};
use crate::access::principal::{AccountNames, UserNames};
use std::borrow::Cow;
use std::sync::Arc;

pub fn account(id: &str) -> Arc<AccountNames> {
    Arc::new(AccountNames {
        account_id: id.to_owned(),
        canonical_id: format!("canonical{id}"),
        display_name: format!("account {id}"),
    })
}

pub fn user(account_id: &str, path: &str, name: &str) -> UserNames {
    UserNames {
        account: account(account_id),
        name: name.to_owned(),
        path: path.to_owned(),
        id: format!("AIDA{name}"),
        arn: format!("arn:aws:iam::{account_id}:user{path}{name}"),
    }
}

/// A request with these keys and values; a key may stand several times.
#[derive(Clone, Debug, Default)]
pub struct Said(pub Vec<(ConditionKey, String)>);

impl Said {
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| {
            let key = ConditionKey::parse(name).unwrap_or_else(|| panic!("{name} is no key"));
            (key, (*value).to_owned())
        };
        Self(pairs.iter().map(pair).collect())
    }
}

impl Context for Said {
    fn values(&self, key: &ConditionKey) -> Values<'_> {
        let found = self.0.iter().filter(|(own, _)| own == key);
        let found: Vec<Cow<'_, str>> = found.map(|(_, value)| value.as_str().into()).collect();
        match found.len() {
            0 => Values::Absent,
            1 => Values::One(found.into_iter().next().expect("one value")),
            _ => Values::Many(found),
        }
    }
}

/// The bucket of the tests' bucket policies.
pub const BUCKET: &str = "bucket";

pub fn bucket_policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes(), PolicyKind::Bucket { name: BUCKET })
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn identity_policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes(), PolicyKind::Identity).unwrap_or_else(|error| panic!("{error}: {text}"))
}
