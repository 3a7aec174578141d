//! What operators ask of identities, and how it is answered.
//!
//! Invariants:
//! - A change is computed from one directory and takes effect on that one alone; if another came first, it
//!   is computed anew.
//! - A policy is compiled before it is stored, and refused with the reason if it is not understood.
//! - Secrets are told once, by the answer that makes them.

use super::canned;
use super::directory::{AccessKey, Directory, Group, KnownAccount, User};
use super::record::{
    AccountRecord, GroupRecord, KeyRecord, Policies, PolicyRecord, RecordName, UserRecord, encode, id_of,
};
use super::store::{Changes, Identity};
use crate::access::policy::{Policy, PolicyKind};
use crate::auth::{random_access_key, random_canonical_id, random_secret_key, random_user_id};
use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The longest name of a user, group or policy, in characters, as in AWS.
const NAME_MAX: usize = 64;
/// The most access keys of one user or root.
const KEYS_MAX: usize = 100;

/// What an operator asks for. `account` is the canonical id, the 12 digits or the display name of the
/// account; without it, it is the account of the node's root.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    AccountAdd {
        name: String,
        email: Option<String>,
    },
    AccountList {},
    AccountRemove {
        account: String,
    },
    UserAdd {
        name: String,
        account: Option<String>,
    },
    UserList {
        account: Option<String>,
    },
    UserShow {
        name: String,
        account: Option<String>,
    },
    UserRemove {
        name: String,
        account: Option<String>,
    },
    UserEnable {
        name: String,
        account: Option<String>,
        enabled: bool,
    },
    GroupAdd {
        name: String,
        account: Option<String>,
    },
    GroupList {
        account: Option<String>,
    },
    GroupShow {
        name: String,
        account: Option<String>,
    },
    GroupRemove {
        name: String,
        account: Option<String>,
    },
    /// Puts a user into a group, or takes it out.
    GroupMember {
        name: String,
        user: String,
        account: Option<String>,
        joins: bool,
    },
    /// Makes a key of a user or, without one, of the account's root.
    KeyCreate {
        user: Option<String>,
        account: Option<String>,
    },
    KeyList {
        user: Option<String>,
        account: Option<String>,
    },
    KeyEnable {
        access_key: String,
        enabled: bool,
    },
    KeyRemove {
        access_key: String,
    },
    /// Puts a managed policy or, with a user or group, one that is part of it.
    PolicyPut {
        name: String,
        document: String,
        user: Option<String>,
        group: Option<String>,
        account: Option<String>,
    },
    PolicyList {
        account: Option<String>,
    },
    PolicyShow {
        name: String,
        user: Option<String>,
        group: Option<String>,
        account: Option<String>,
    },
    PolicyRemove {
        name: String,
        user: Option<String>,
        group: Option<String>,
        account: Option<String>,
    },
    /// Gives a managed policy to a user or group, or takes it away.
    PolicyAttach {
        name: String,
        user: Option<String>,
        group: Option<String>,
        account: Option<String>,
        /// As the user's boundary, and not beside its other policies.
        boundary: bool,
        attached: bool,
    },
}

/// The kind of the reason why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    NotFound,
    Conflict,
    Invalid,
}

/// The reason why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{error}; {what_to_do}")]
    Refused { kind: RefusedKind, error: String, what_to_do: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

type Answer = Result<Value, ChangeError>;
type Made<R> = Result<(Changes, R), ChangeError>;

fn refused<T>(kind: RefusedKind, error: String, what_to_do: &str) -> Result<T, ChangeError> {
    Err(ChangeError::Refused { kind, error, what_to_do: what_to_do.to_owned() })
}

fn not_found<T>(what: &str, name: &str, what_to_do: &str) -> Result<T, ChangeError> {
    refused(RefusedKind::NotFound, format!("there is no {what} {name:?}"), what_to_do)
}

fn random(error: &str) -> ChangeError {
    let (kind, what_to_do) = (RefusedKind::Conflict, "try again".to_owned());
    ChangeError::Refused { kind, error: error.to_owned(), what_to_do }
}

/// Carries out what an operator asks for, and answers it.
///
/// # Errors
/// Fails with what is wrong and what to do, or with the engine's error.
pub async fn carry_out(identity: &Identity, core: &Core, request: Request, now_ms: u64) -> Answer {
    let place = Asked { identity, core, now_ms };
    match request {
        Request::AccountAdd { name, email } => place.add_account(&name, email.as_deref()).await,
        Request::AccountList {} => Ok(place.list_accounts()),
        Request::AccountRemove { account } => place.remove_account(&account).await,
        Request::UserAdd { name, account } => place.add_user(account.as_deref(), &name).await,
        Request::UserList { account } => place.list_users(account.as_deref()),
        Request::UserShow { name, account } => place.show_user(account.as_deref(), &name),
        Request::UserRemove { name, account } => place.remove_user(account.as_deref(), &name).await,
        Request::UserEnable { name, account, enabled } => {
            let edit = |record: &mut UserRecord, _: &Directory, _: &str| {
                record.on = u8::from(enabled);
                Ok(())
            };
            place.edit_user(account.as_deref(), &name, edit).await
        }
        Request::GroupAdd { name, account } => place.add_group(account.as_deref(), &name).await,
        Request::GroupList { account } => place.list_groups(account.as_deref()),
        Request::GroupShow { name, account } => place.show_group(account.as_deref(), &name),
        Request::GroupRemove { name, account } => place.remove_group(account.as_deref(), &name).await,
        Request::GroupMember { name, user, account, joins } => {
            let edit = |record: &mut UserRecord, directory: &Directory, account: &str| {
                // A group that is lost can be left.
                if joins {
                    find_group(directory, account, &name)?;
                }
                record.groups.retain(|group| *group != name);
                record.groups.extend(joins.then(|| name.clone()));
                Ok(())
            };
            place.edit_user(account.as_deref(), &user, edit).await
        }
        Request::KeyCreate { user, account } => place.create_key(account.as_deref(), user.as_deref()).await,
        Request::KeyList { user, account } => place.list_keys(account.as_deref(), user.as_deref()),
        Request::KeyEnable { access_key, enabled } => place.enable_key(&access_key, enabled).await,
        Request::KeyRemove { access_key } => place.remove_key(&access_key).await,
        Request::PolicyPut { name, document, user, group, account } => {
            place.put_policy(&Holder { account, user, group }, &name, &document).await
        }
        Request::PolicyList { account } => place.list_policies(account.as_deref()),
        Request::PolicyShow { name, user, group, account } => {
            place.show_policy(&Holder { account, user, group }, &name)
        }
        Request::PolicyRemove { name, user, group, account } => {
            place.remove_policy(&Holder { account, user, group }, &name).await
        }
        Request::PolicyAttach { name, user, group, account, boundary, attached } => {
            place.attach(&Holder { account, user, group }, &name, boundary, attached).await
        }
    }
}

/// A user, a group, or the account itself.
struct Holder {
    account: Option<String>,
    user: Option<String>,
    group: Option<String>,
}

struct Asked<'a> {
    identity: &'a Identity,
    core: &'a Core,
    now_ms: u64,
}

/// Returns the account that a text names.
///
/// # Errors
/// Fails if there is none.
pub fn account<'a>(
    directory: &'a Directory,
    text: Option<&str>,
) -> Result<&'a Arc<KnownAccount>, ChangeError> {
    match directory.account_named(text) {
        Some(account) => Ok(account),
        None => not_found("account", text.unwrap_or_default(), "see them with `ringbolt account list`"),
    }
}

fn account_id(directory: &Directory, text: Option<&str>) -> Result<String, ChangeError> {
    Ok(account(directory, text)?.names.account_id.clone())
}

/// Returns a user of an account.
///
/// # Errors
/// Fails if there is none.
pub fn find_user<'a>(
    directory: &'a Directory,
    account: &str,
    name: &str,
) -> Result<&'a Arc<User>, ChangeError> {
    match directory.user(account, name) {
        Some(user) => Ok(user),
        None => not_found("user", name, "see them with `ringbolt user list`"),
    }
}

fn find_group<'a>(
    directory: &'a Directory,
    account: &str,
    name: &str,
) -> Result<&'a Arc<Group>, ChangeError> {
    match directory.group(account, name) {
        Some(group) => Ok(group),
        None => not_found("group", name, "see them with `ringbolt group list`"),
    }
}

fn find_key<'a>(directory: &'a Directory, access_key: &str) -> Result<&'a Arc<AccessKey>, ChangeError> {
    match directory.key(access_key) {
        Some(key) if key.is_node_root => refused(
            RefusedKind::Conflict,
            "this is the node's root key".to_owned(),
            "it is in the environment (RINGBOLT_ACCESS_KEY) or in users.toml: change it there, and restart",
        ),
        Some(key) => Ok(key),
        None => not_found("access key", access_key, "see them with `ringbolt key list`"),
    }
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "+=,.@_-".contains(character);
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(is_plain) {
        return Ok(());
    }
    let what_to_do = "use 1 to 64 letters, digits and characters of +=,.@_-";
    refused(RefusedKind::Invalid, format!("{name:?} is no name"), what_to_do)
}

fn check_document(document: &str) -> Result<(), ChangeError> {
    match Policy::parse(document.as_bytes(), PolicyKind::Identity) {
        Ok(_) => Ok(()),
        Err(error) => {
            refused(RefusedKind::Invalid, error.to_string(), "correct the policy, and put it again")
        }
    }
}

/// Returns the name by which a managed policy is attached.
fn managed_name<'a>(directory: &Directory, account: &str, name: &'a str) -> Result<&'a str, ChangeError> {
    let name = canned::plain_name(name);
    match canned::find(name).is_some() || directory.policy(account, name).is_some() {
        true => Ok(name),
        false => not_found("managed policy", name, "see them with `ringbolt policy list`"),
    }
}

fn put<T: serde::Serialize>(name: RecordName<'_>, record: &T) -> Changes {
    vec![(name.text(), Some(encode(record)))]
}

impl Asked<'_> {
    async fn change<R>(&self, make: impl Fn(&Directory) -> Made<R>) -> Result<R, ChangeError> {
        self.identity.change(self.core, make).await
    }

    async fn add_account(&self, name: &str, email: Option<&str>) -> Answer {
        let canonical_id = random_canonical_id().map_err(|error| random(&error.to_string()))?;
        let make = |directory: &Directory| -> Made<()> {
            if directory.accounts().any(|account| account.names.display_name == name) {
                let error = format!("there is an account {name:?} already");
                return refused(RefusedKind::Conflict, error, "choose another name");
            }
            if directory.account_named(Some(&id_of(&canonical_id))).is_some() {
                return Err(random("the 12 digits of the new account are another's"));
            }
            let record = AccountRecord {
                display_name: name.to_owned(),
                email: email.unwrap_or_default().to_owned(),
                made_ms: self.now_ms,
            };
            Ok((put(RecordName::Account(&canonical_id), &record), ()))
        };
        check_name(name)?;
        self.change(make).await?;
        tracing::info!(canonical_id, name, "an operator added an account");
        let directory = self.identity.directory();
        Ok(shown_account(account(&directory, Some(&canonical_id))?))
    }

    fn list_accounts(&self) -> Value {
        let directory = self.identity.directory();
        json!({ "accounts": directory.accounts().map(shown_account).collect::<Vec<_>>() })
    }

    async fn remove_account(&self, text: &str) -> Answer {
        let make = |directory: &Directory| -> Made<String> {
            let known = account(directory, Some(text))?;
            let names = &known.names;
            if known.is_first {
                let error = "the node's root belongs to this account".to_owned();
                return refused(RefusedKind::Conflict, error, "it stays for as long as the node does");
            }
            let id = &names.account_id;
            let holds = [
                (directory.users(id).len(), "users"),
                (directory.groups(id).len(), "groups"),
                (directory.policies(id).len(), "managed policies"),
                (
                    self.core.buckets().iter().filter(|bucket| bucket.owner == names.canonical_id).count(),
                    "buckets",
                ),
            ];
            if let Some((count, what)) = holds.into_iter().find(|(count, _)| *count > 0) {
                let error = format!("the account has {count} {what}");
                return refused(RefusedKind::Conflict, error, "remove them first");
            }
            let mut changes: Changes = directory
                .keys_of(id, None)
                .into_iter()
                .map(|key| (RecordName::Key(&key.access_key).text(), None))
                .collect();
            changes.push((RecordName::Account(&names.canonical_id).text(), None));
            Ok((changes, names.canonical_id.clone()))
        };
        let removed = self.change(make).await?;
        tracing::info!(canonical_id = removed, "an operator removed an account");
        Ok(json!({ "removed": removed }))
    }

    async fn add_user(&self, of: Option<&str>, name: &str) -> Answer {
        check_name(name)?;
        let id = random_user_id().map_err(|error| random(&error.to_string()))?;
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            if directory.user(&account, name).is_some() {
                let error = format!("there is a user {name:?} already");
                return refused(RefusedKind::Conflict, error, "see it with `ringbolt user show`");
            }
            let record = UserRecord {
                id: id.clone(),
                made_ms: self.now_ms,
                on: 1,
                groups: Vec::new(),
                policies: Policies::default(),
                boundary: None,
            };
            Ok((put(RecordName::User(&account, name), &record), ()))
        };
        self.change(make).await?;
        tracing::info!(user = name, "an operator added a user");
        self.show_user(of, name)
    }

    fn list_users(&self, of: Option<&str>) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let shown = directory.users(&account).into_iter().map(|user| {
            let mut shown = shown_user(user);
            shown["keys"] = json!(directory.key_count_of(&account, &user.names.name));
            shown
        });
        Ok(json!({ "users": shown.collect::<Vec<_>>() }))
    }

    fn show_user(&self, of: Option<&str>, name: &str) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let mut shown = shown_user(find_user(&directory, &account, name)?);
        let keys = directory.keys_of(&account, Some(name));
        shown["keys"] = keys.into_iter().map(|key| shown_key(&directory, key)).collect();
        Ok(shown)
    }

    async fn remove_user(&self, of: Option<&str>, name: &str) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            find_user(directory, &account, name)?;
            let keys = directory.keys_of(&account, Some(name)).into_iter();
            let mut changes: Changes =
                keys.map(|key| (RecordName::Key(&key.access_key).text(), None)).collect();
            changes.push((RecordName::User(&account, name).text(), None));
            Ok((changes, ()))
        };
        self.change(make).await?;
        tracing::info!(user = name, "an operator removed a user, with its keys");
        Ok(json!({ "removed": name }))
    }

    async fn edit_user(
        &self,
        of: Option<&str>,
        name: &str,
        edit: impl Fn(&mut UserRecord, &Directory, &str) -> Result<(), ChangeError>,
    ) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            let user = find_user(directory, &account, name)?;
            let mut record = user.record.clone();
            edit(&mut record, directory, &account)?;
            let same = record == user.record;
            let changes = if same { Vec::new() } else { put(RecordName::User(&account, name), &record) };
            Ok((changes, ()))
        };
        self.change(make).await?;
        tracing::info!(user = name, "an operator changed a user");
        self.show_user(of, name)
    }

    async fn edit_group(
        &self,
        of: Option<&str>,
        name: &str,
        edit: impl Fn(&mut GroupRecord, &Directory, &str) -> Result<(), ChangeError>,
    ) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            let group = find_group(directory, &account, name)?;
            let mut record = group.record.clone();
            edit(&mut record, directory, &account)?;
            let same = record == group.record;
            let changes = if same { Vec::new() } else { put(RecordName::Group(&account, name), &record) };
            Ok((changes, ()))
        };
        self.change(make).await?;
        tracing::info!(group = name, "an operator changed a group");
        self.show_group(of, name)
    }

    async fn add_group(&self, of: Option<&str>, name: &str) -> Answer {
        check_name(name)?;
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            if directory.group(&account, name).is_some() {
                let error = format!("there is a group {name:?} already");
                return refused(RefusedKind::Conflict, error, "see it with `ringbolt group show`");
            }
            let record = GroupRecord { made_ms: self.now_ms, policies: Policies::default() };
            Ok((put(RecordName::Group(&account, name), &record), ()))
        };
        self.change(make).await?;
        tracing::info!(group = name, "an operator added a group");
        self.show_group(of, name)
    }

    fn list_groups(&self, of: Option<&str>) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let shown = directory.groups(&account).into_iter();
        let shown = shown.map(|(name, group)| shown_group(&directory, &account, name, group));
        Ok(json!({ "groups": shown.collect::<Vec<_>>() }))
    }

    fn show_group(&self, of: Option<&str>, name: &str) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let group = find_group(&directory, &account, name)?;
        Ok(shown_group(&directory, &account, name, group))
    }

    async fn remove_group(&self, of: Option<&str>, name: &str) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            find_group(directory, &account, name)?;
            let members = members(directory, &account, name);
            if !members.is_empty() {
                let error = format!("the group has {} users, as {:?}", members.len(), members[0]);
                return refused(RefusedKind::Conflict, error, "let them leave with `ringbolt group leave`");
            }
            Ok((vec![(RecordName::Group(&account, name).text(), None)], ()))
        };
        self.change(make).await?;
        tracing::info!(group = name, "an operator removed a group");
        Ok(json!({ "removed": name }))
    }

    async fn create_key(&self, of: Option<&str>, user: Option<&str>) -> Answer {
        let failed = |error: crate::auth::AccountError| random(&error.to_string());
        let access_key = random_access_key().map_err(failed)?;
        let secret = Zeroizing::new(random_secret_key().map_err(failed)?);
        let make = |directory: &Directory| -> Made<()> {
            let account = account_id(directory, of)?;
            let id = match user {
                Some(name) => Some(find_user(directory, &account, name)?.record.id.clone()),
                None => None,
            };
            let count = match user {
                Some(name) => directory.key_count_of(&account, name),
                None => directory.keys_of(&account, None).len(),
            };
            if count >= KEYS_MAX {
                let error = format!("there are {KEYS_MAX} keys already");
                return refused(RefusedKind::Conflict, error, "remove one first, with `ringbolt key remove`");
            }
            if directory.key(&access_key).is_some() {
                return Err(random("the new access key is another's"));
            }
            let Some(seal) = directory.seal() else { return Err(EngineError::ShuttingDown.into()) };
            let holder = KeyRecord::holder(&access_key, &account, id.as_deref());
            let sealed = seal.seal(secret.as_bytes(), &holder).map_err(|error| random(&error.to_string()))?;
            let record = KeyRecord {
                account,
                user: id,
                made_ms: self.now_ms,
                used_s: 0,
                on: 1,
                secret: hex::encode(sealed),
            };
            Ok((put(RecordName::Key(&access_key), &record), ()))
        };
        self.change(make).await?;
        tracing::info!(access_key, user, "an operator made an access key");
        let directory = self.identity.directory();
        let mut shown = shown_key(&directory, find_key(&directory, &access_key)?);
        shown["secret_key"] = json!(*secret);
        Ok(shown)
    }

    fn list_keys(&self, of: Option<&str>, user: Option<&str>) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let keys = match user {
            Some(name) => {
                find_user(&directory, &account, name)?;
                directory.keys_of(&account, user)
            }
            None => {
                let of_account = directory.keys().filter(|key| key.account.account_id == account);
                let mut keys: Vec<_> = of_account.collect();
                keys.sort_by(|left, right| left.access_key.cmp(&right.access_key));
                keys
            }
        };
        Ok(json!({ "keys": keys.into_iter().map(|key| shown_key(&directory, key)).collect::<Vec<_>>() }))
    }

    async fn enable_key(&self, access_key: &str, enabled: bool) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            let key = find_key(directory, access_key)?;
            let Some(record) = directory.record_of(key).filter(|_| key.is_enabled != enabled) else {
                return Ok((Vec::new(), ()));
            };
            // The last use stays as it is noted: so the record keeps its size, on a full drive too.
            let record = KeyRecord { on: u8::from(enabled), used_s: key.noted_s(), ..record };
            Ok((put(RecordName::Key(access_key), &record), ()))
        };
        self.change(make).await?;
        tracing::info!(access_key, enabled, "an operator enabled or disabled an access key");
        let directory = self.identity.directory();
        Ok(shown_key(&directory, find_key(&directory, access_key)?))
    }

    async fn remove_key(&self, access_key: &str) -> Answer {
        let make = |directory: &Directory| -> Made<()> {
            find_key(directory, access_key)?;
            Ok((vec![(RecordName::Key(access_key).text(), None)], ()))
        };
        self.change(make).await?;
        tracing::info!(access_key, "an operator removed an access key");
        Ok(json!({ "removed": access_key }))
    }

    async fn put_policy(&self, holder: &Holder, name: &str, document: &str) -> Answer {
        check_name(name)?;
        check_document(document)?;
        let of = holder.account.as_deref();
        match (&holder.user, &holder.group) {
            (Some(user), _) => {
                let edit = |record: &mut UserRecord, _: &Directory, _: &str| {
                    record.policies.inline.insert(name.to_owned(), document.to_owned());
                    Ok(())
                };
                self.edit_user(of, user, edit).await
            }
            (None, Some(group)) => {
                let edit = |record: &mut GroupRecord, _: &Directory, _: &str| {
                    record.policies.inline.insert(name.to_owned(), document.to_owned());
                    Ok(())
                };
                self.edit_group(of, group, edit).await
            }
            (None, None) => {
                let make = |directory: &Directory| -> Made<()> {
                    let account = account_id(directory, of)?;
                    if canned::find(name).is_some() {
                        let error = format!("{name:?} is a policy that every account has");
                        return refused(RefusedKind::Conflict, error, "choose another name");
                    }
                    let before = directory.policy(&account, name).map(|known| known.record.made_ms);
                    let (made_ms, changed_ms) = (before.unwrap_or(self.now_ms), self.now_ms);
                    let record = PolicyRecord { made_ms, changed_ms, document: document.to_owned() };
                    Ok((put(RecordName::Policy(&account, name), &record), ()))
                };
                self.change(make).await?;
                tracing::info!(policy = name, "an operator put a policy");
                self.show_policy(holder, name)
            }
        }
    }

    fn list_policies(&self, of: Option<&str>) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, of)?;
        let own = directory.policies(&account);
        let mut names: Vec<&str> = canned::names().collect();
        names.extend(own.iter().map(|(name, _)| *name));
        let shown: Vec<Value> = names
            .into_iter()
            .map(|name| {
                let mut shown = json!({ "name": name, "built_in": canned::find(name).is_some() });
                shown["attached_to"] = who_has(&directory, &account, name);
                shown
            })
            .collect();
        Ok(json!({ "policies": shown }))
    }

    fn show_policy(&self, holder: &Holder, name: &str) -> Answer {
        let directory = self.identity.directory();
        let account = account_id(&directory, holder.account.as_deref())?;
        let inline = match (&holder.user, &holder.group) {
            (Some(user), _) => Some(&find_user(&directory, &account, user)?.record.policies.inline),
            (None, Some(group)) => Some(&find_group(&directory, &account, group)?.record.policies.inline),
            (None, None) => None,
        };
        if let Some(inline) = inline {
            let Some(document) = inline.get(name) else {
                return not_found("inline policy", name, "see those of a user with `ringbolt user show`");
            };
            return Ok(json!({ "name": name, "inline": true, "document": parsed(document) }));
        }
        let name = managed_name(&directory, &account, name)?;
        let managed = directory.policy(&account, name);
        let document = match (canned::document(name), managed) {
            (Some(document), _) => document,
            (None, Some(managed)) => &managed.record.document,
            (None, None) => "null",
        };
        let made = managed.map(|managed| (managed.record.made_ms, managed.record.changed_ms));
        Ok(json!({
            "name": name,
            "built_in": canned::find(name).is_some(),
            "made_ms": made.map(|(made_ms, _)| made_ms),
            "changed_ms": made.map(|(_, changed_ms)| changed_ms),
            "attached_to": who_has(&directory, &account, name),
            "document": parsed(document),
        }))
    }

    async fn remove_policy(&self, holder: &Holder, name: &str) -> Answer {
        let of = holder.account.as_deref();
        let missing = || not_found("inline policy", name, "see those of a user with `ringbolt user show`");
        match (&holder.user, &holder.group) {
            (Some(user), _) => {
                let edit = |record: &mut UserRecord, _: &Directory, _: &str| {
                    record.policies.inline.remove(name).map_or_else(missing, |_| Ok(()))
                };
                self.edit_user(of, user, edit).await
            }
            (None, Some(group)) => {
                let edit = |record: &mut GroupRecord, _: &Directory, _: &str| {
                    record.policies.inline.remove(name).map_or_else(missing, |_| Ok(()))
                };
                self.edit_group(of, group, edit).await
            }
            (None, None) => {
                let make = |directory: &Directory| -> Made<()> {
                    let account = account_id(directory, of)?;
                    let name = managed_name(directory, &account, name)?;
                    if canned::find(name).is_some() {
                        let error = format!("{name:?} is a policy that every account has");
                        return refused(
                            RefusedKind::Conflict,
                            error,
                            "detach it from those who shall not have it",
                        );
                    }
                    let holders = who_has(directory, &account, name);
                    if holders.as_array().is_some_and(|holders| !holders.is_empty()) {
                        let error = format!("the policy is attached: {holders}");
                        return refused(
                            RefusedKind::Conflict,
                            error,
                            "detach it first, with `ringbolt policy detach`",
                        );
                    }
                    Ok((vec![(RecordName::Policy(&account, name).text(), None)], ()))
                };
                self.change(make).await?;
                tracing::info!(policy = name, "an operator removed a policy");
                Ok(json!({ "removed": name }))
            }
        }
    }

    async fn attach(&self, holder: &Holder, name: &str, boundary: bool, attached: bool) -> Answer {
        let of = holder.account.as_deref();
        // What is gone can be detached.
        let known = |directory: &Directory, account: &str| match attached {
            true => managed_name(directory, account, name).map(str::to_owned),
            false => Ok(canned::plain_name(name).to_owned()),
        };
        let set = |policies: &mut Policies, name: String| {
            policies.attached.retain(|other| *other != name);
            policies.attached.extend(attached.then_some(name));
        };
        match (&holder.user, &holder.group) {
            (Some(user), _) => {
                let edit = |record: &mut UserRecord, directory: &Directory, account: &str| {
                    let name = known(directory, account)?;
                    let has = match boundary {
                        true => record.boundary.as_ref() == Some(&name),
                        false => record.policies.attached.contains(&name),
                    };
                    if !attached && !has {
                        let what = if boundary { "boundary" } else { "attached policy" };
                        return not_found(what, &name, "see `ringbolt user show` for what the user has");
                    }
                    match boundary {
                        true => record.boundary = attached.then_some(name),
                        false => set(&mut record.policies, name),
                    }
                    Ok(())
                };
                self.edit_user(of, user, edit).await
            }
            (None, Some(group)) if !boundary => {
                let edit = |record: &mut GroupRecord, directory: &Directory, account: &str| {
                    let name = known(directory, account)?;
                    if !attached && !record.policies.attached.contains(&name) {
                        let what_to_do = "see `ringbolt group show` for what the group has";
                        return not_found("attached policy", &name, what_to_do);
                    }
                    set(&mut record.policies, name);
                    Ok(())
                };
                self.edit_group(of, group, edit).await
            }
            _ => {
                let error = "a policy is attached to a user or a group; a boundary to a user".to_owned();
                refused(RefusedKind::Invalid, error, "name one of them")
            }
        }
    }
}

fn members<'a>(directory: &'a Directory, account: &str, group: &str) -> Vec<&'a str> {
    let users = directory.users(account).into_iter();
    users
        .filter(|user| user.record.groups.iter().any(|of| of == group))
        .map(|user| user.names.name.as_str())
        .collect()
}

/// Returns who a managed policy is attached to.
fn who_has(directory: &Directory, account: &str, policy: &str) -> Value {
    let has = |policies: &Policies| policies.attached.iter().any(|name| name == policy);
    let users = directory.users(account).into_iter().filter_map(|user| {
        let bounds = user.record.boundary.as_deref() == Some(policy);
        let shown = json!({ "user": user.names.name, "as_boundary": bounds });
        (bounds || has(&user.record.policies)).then_some(shown)
    });
    let groups = directory.groups(account).into_iter();
    let groups =
        groups.filter(|(_, group)| has(&group.record.policies)).map(|(name, _)| json!({ "group": name }));
    Value::Array(users.chain(groups).collect())
}

/// Returns a document as JSON, and one that is none as the text that it is.
fn parsed(document: &str) -> Value {
    serde_json::from_str(document).unwrap_or_else(|_| json!(document))
}

fn shown_policies(policies: &Policies) -> Value {
    json!({ "attached": policies.attached, "inline": policies.inline.keys().collect::<Vec<_>>() })
}

fn shown_account(account: &Arc<KnownAccount>) -> Value {
    json!({
        "name": account.names.display_name,
        "id": account.names.account_id,
        "canonical_id": account.names.canonical_id,
        "email": account.email,
        "made_ms": account.made_ms,
        "has_node_root": account.is_first,
    })
}

fn shown_user(user: &User) -> Value {
    json!({
        "name": user.names.name,
        "account": user.names.account.account_id,
        "id": user.names.id,
        "arn": user.names.arn,
        "enabled": user.record.on == 1,
        "made_ms": user.record.made_ms,
        "groups": user.record.groups,
        "policies": shown_policies(&user.record.policies),
        "boundary": user.record.boundary,
    })
}

fn shown_group(directory: &Directory, account: &str, name: &str, group: &Group) -> Value {
    json!({
        "name": name,
        "account": account,
        "arn": format!("arn:aws:iam::{account}:group/{name}"),
        "made_ms": group.record.made_ms,
        "members": members(directory, account, name),
        "policies": shown_policies(&group.record.policies),
    })
}

fn shown_key(directory: &Directory, key: &AccessKey) -> Value {
    let user = directory.user_of(key).map(|user| user.names.name.clone());
    let used_s = Some(key.used_s()).filter(|used_s| *used_s > 0);
    json!({
        "access_key": key.access_key,
        "account": key.account.account_id,
        "user": user,
        "is_root": key.is_root(),
        "is_node_root": key.is_node_root,
        "enabled": key.is_enabled,
        "made_ms": key.made_ms,
        "last_used_s": used_s,
    })
}
