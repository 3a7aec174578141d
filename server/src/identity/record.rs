//! The records of the node in which identities are kept: a name for each thing, and JSON under it.
//!
//! Invariants:
//! - Whatever a record has that this program does not know makes it unreadable, and what is unreadable
//!   denies. Nothing is ignored.
//! - Whether a user or key is enabled is one digit. So disabling it changes its record in its size, which
//!   is possible on a full drive.

use crate::auth::account_id;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the names of all records of this room begin with.
pub const ROOM: &str = "identity/";
/// The name of the proof by which the node's key is known.
pub const PROOF: &str = "identity/seal";

/// What the name of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordName<'a> {
    /// An account, by its canonical id.
    Account(&'a str),
    /// A user, by the id of its account and its name, as those that follow.
    User(&'a str, &'a str),
    Group(&'a str, &'a str),
    Policy(&'a str, &'a str),
    /// An access key.
    Key(&'a str),
    Proof,
}

impl<'a> RecordName<'a> {
    /// Reads the name of a record. Returns None if it is none of this room.
    pub fn parse(name: &'a str) -> Option<Self> {
        if name == PROOF {
            return Some(Self::Proof);
        }
        let (kind, rest) = name.strip_prefix(ROOM)?.split_once('/')?;
        let within = || rest.split_once('/');
        match kind {
            "account" => Some(Self::Account(rest)),
            "key" => Some(Self::Key(rest)),
            "user" => within().map(|(account, name)| Self::User(account, name)),
            "group" => within().map(|(account, name)| Self::Group(account, name)),
            "policy" => within().map(|(account, name)| Self::Policy(account, name)),
            _ => None,
        }
    }

    /// Writes the name.
    pub fn text(self) -> String {
        match self {
            Self::Account(canonical_id) => format!("{ROOM}account/{canonical_id}"),
            Self::User(account, name) => format!("{ROOM}user/{account}/{name}"),
            Self::Group(account, name) => format!("{ROOM}group/{account}/{name}"),
            Self::Policy(account, name) => format!("{ROOM}policy/{account}/{name}"),
            Self::Key(access_key) => format!("{ROOM}key/{access_key}"),
            Self::Proof => PROOF.to_owned(),
        }
    }
}

/// An account beside the one that the node's root belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    pub display_name: String,
    pub email: String,
    pub made_ms: u64,
}

/// Policies that are attached by name, and such that are part of a user or group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inline: BTreeMap<String, String>,
}

/// A user of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// What `aws:userid` is; never used again for another user.
    pub id: String,
    pub made_ms: u64,
    /// 1 if the user is enabled, else 0.
    pub on: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default)]
    pub policies: Policies,
    /// The managed policy that bounds what the others allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
}

/// A group of users, who have its policies beside their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    pub made_ms: u64,
    #[serde(default)]
    pub policies: Policies,
}

/// A managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    pub made_ms: u64,
    pub changed_ms: u64,
    pub document: String,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The id of the account.
    pub account: String,
    /// The id of the user that it is for. None: it is the account's root key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub made_ms: u64,
    /// When it was used last, Unix seconds; 0 for never.
    pub used_s: u64,
    /// 1 if the key is enabled, else 0.
    pub on: u8,
    /// The secret, sealed for the [`holder`](Self::holder), in hexadecimal digits.
    pub secret: String,
}

impl KeyRecord {
    /// Returns whom the secret of a key is sealed for.
    pub fn holder(access_key: &str, account: &str, user: Option<&str>) -> String {
        format!("key\n{access_key}\n{account}\n{}", user.unwrap_or("root"))
    }
}

/// Writes a record.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    match serde_json::to_vec(record) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a record of texts and numbers is always JSON: {error}"),
    }
}

/// Reads a record.
///
/// # Errors
/// Fails if it has a form that this program does not know.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// Returns the id of the account with this canonical id.
pub fn id_of(canonical_id: &str) -> String {
    account_id(canonical_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            RecordName::Account("79a5"),
            RecordName::User("123456789012", "alice@example.com"),
            RecordName::Group("123456789012", "readers"),
            RecordName::Policy("123456789012", "only-photos"),
            RecordName::Key("RBKEY"),
            RecordName::Proof,
        ] {
            assert_eq!(RecordName::parse(&name.text()), Some(name));
        }
        for other in ["", "identity/", "identity/user/1", "identity/role/1/a", "settings/a"] {
            assert_eq!(RecordName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn golden_records() {
        let user = UserRecord {
            id: "RBU1".to_owned(),
            made_ms: 5,
            on: 1,
            groups: vec!["g".to_owned()],
            policies: Policies { attached: vec!["readonly".to_owned()], inline: BTreeMap::new() },
            boundary: None,
        };
        let text = r#"{"id":"RBU1","made_ms":5,"on":1,"groups":["g"],"policies":{"attached":["readonly"]}}"#;
        assert_eq!(encode(&user), text.as_bytes());
        assert_eq!(decode::<UserRecord>(text.as_bytes()).unwrap(), user);
        let off = encode(&UserRecord { on: 0, ..user });
        assert_eq!(off.len(), text.len(), "disabling changes no size");
        let key = r#"{"account":"1","user":"RBU1","made_ms":5,"used_s":0,"on":1,"secret":"00"}"#;
        let read: KeyRecord = decode(key.as_bytes()).unwrap();
        assert_eq!(encode(&read), key.as_bytes());
        let newer = key.replace("\"on\":1", "\"on\":1,\"until_ms\":7");
        assert!(decode::<KeyRecord>(newer.as_bytes()).is_err(), "what is not known is not ignored");
    }
}
