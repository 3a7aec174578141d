//! All that is known of accounts, users, groups, policies and access keys at one revision: what requests
//! are authenticated and judged by.
//!
//! Invariants:
//! - A directory never changes. A change makes the next one, which shares all that stays as it is.
//! - Policies are compiled when they come in, and what a user may is put together then. No request parses
//!   or searches anything but its access key.
//! - What is missing or can not be read denies: a policy or group that a user has and that is not there
//!   stands for one that denies everything, and a key whose user is not there is no key.
//! - Secrets stay sealed. They are opened for the moment in which a signing key is derived.

use super::canned;
use super::record::{
    AccountRecord, GroupRecord, KeyRecord, Policies, PolicyRecord, RecordName, UserRecord, decode, id_of,
};
use super::seal::Seal;
use super::table::Table;
use crate::access::policy::{Policy, PolicyKind};
use crate::access::{AccountNames, NamedPolicy, Principal, UserNames};
use crate::auth::Account;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// How much later a use of a key must be than the last that is known to be noted, in seconds.
const USED_STEP_S: u64 = 60;

/// Who signed a request, and what binds it.
#[derive(Debug)]
pub struct Signer {
    pub principal: Principal,
    /// The policies of the user, attached and inline, and those of its groups. The root has none.
    pub policies: Box<[Arc<NamedPolicy>]>,
    pub boundary: Option<Arc<NamedPolicy>>,
    pub access_key: Box<str>,
    /// The key is the node's root key, which may give commands.
    pub is_node_root: bool,
}

impl Signer {
    /// Returns the account that signed, itself or by a user of it.
    pub fn account(&self) -> &AccountNames {
        match &self.principal {
            Principal::Root(account) => account,
            Principal::User(user) => &user.account,
            Principal::Anonymous => unreachable!("who signs is not anonymous"),
        }
    }
}

/// An account.
#[derive(Debug)]
pub struct KnownAccount {
    pub names: Arc<AccountNames>,
    pub email: String,
    pub made_ms: u64,
    /// The node's root belongs to it, so it is no record.
    pub is_first: bool,
}

/// A user as it is in its record, and as requests see it.
#[derive(Debug)]
pub struct User {
    pub names: Arc<UserNames>,
    pub record: UserRecord,
    inline: Vec<Arc<NamedPolicy>>,
    /// All policies that bind the user.
    pub policies: Box<[Arc<NamedPolicy>]>,
    pub boundary: Option<Arc<NamedPolicy>>,
}

/// A group.
#[derive(Debug)]
pub struct Group {
    pub record: GroupRecord,
    inline: Vec<Arc<NamedPolicy>>,
}

/// A managed policy.
#[derive(Debug)]
pub struct Managed {
    pub record: PolicyRecord,
    named: Arc<NamedPolicy>,
}

enum Secret {
    /// It is of the node's root, which is kept outside.
    Plain(Zeroizing<String>),
    Sealed(Box<[u8]>),
}

/// An access key.
pub struct AccessKey {
    pub access_key: Box<str>,
    pub account: Arc<AccountNames>,
    /// The place of its user. None: it is the account's root key.
    user: Option<u32>,
    secret: Secret,
    pub is_enabled: bool,
    pub is_node_root: bool,
    pub made_ms: u64,
    /// When it was used last, Unix seconds.
    used_s: AtomicU64,
    /// What of that is durable.
    noted_s: u64,
}

impl fmt::Debug for AccessKey {
    /// Leaves the secret out, sealed or not.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AccessKey")
            .field("access_key", &self.access_key)
            .field("account", &self.account.account_id)
            .field("is_enabled", &self.is_enabled)
            .finish_non_exhaustive()
    }
}

impl AccessKey {
    /// Notes that the key was used. It costs a read, and a write about once a minute.
    pub fn use_at(&self, now_s: u64) {
        if now_s >= self.used_s.load(Ordering::Relaxed) + USED_STEP_S {
            self.used_s.store(now_s, Ordering::Relaxed);
        }
    }

    /// Returns when the key was used last, Unix seconds, to the minute; 0 for never.
    pub fn used_s(&self) -> u64 {
        self.used_s.load(Ordering::Relaxed)
    }

    /// Returns what of that is durable.
    pub fn noted_s(&self) -> u64 {
        self.noted_s
    }

    /// Returns whether a use is not durable yet.
    pub fn has_unnoted_use(&self) -> bool {
        self.used_s() > self.noted_s && !self.is_node_root
    }

    /// Returns whether it is the root key of its account.
    pub fn is_root(&self) -> bool {
        self.user.is_none()
    }
}

/// A place for a user, which keys name. It belongs to one id for ever.
#[derive(Clone)]
struct Place {
    id: Arc<str>,
    user: Option<Arc<User>>,
    /// The number of access keys that name it.
    keys: u32,
}

/// What an access key was found to be.
pub struct Found {
    pub key: Arc<AccessKey>,
    pub signer: Signer,
    pub secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Found {
    /// Leaves the secret out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Found").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All identities at one revision.
#[derive(Clone)]
pub struct Directory {
    pub revision: u64,
    seal: Option<Arc<Seal>>,
    /// By canonical id.
    accounts: Arc<BTreeMap<String, Arc<KnownAccount>>>,
    /// The same by the id that ARNs have.
    by_id: Arc<HashMap<String, Arc<KnownAccount>>>,
    /// By the id of the account, `/`, and the name; as users and groups.
    policies: Table<Arc<Managed>>,
    groups: Table<Arc<Group>>,
    users: Table<u32>,
    places: Arc<Vec<Place>>,
    place_of_id: Table<u32>,
    keys: Table<Arc<AccessKey>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Directory").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// Returns the key of a thing of an account in a table.
fn within(account: &str, name: &str) -> String {
    format!("{account}/{name}")
}

fn names_of(canonical_id: &str, display_name: &str) -> Arc<AccountNames> {
    Arc::new(AccountNames {
        account_id: id_of(canonical_id),
        canonical_id: canonical_id.to_owned(),
        display_name: display_name.to_owned(),
    })
}

fn compile(name: &str, document: &str) -> Arc<NamedPolicy> {
    match Policy::parse(document.as_bytes(), PolicyKind::Identity) {
        Ok(policy) => Arc::new(NamedPolicy { name: name.to_owned(), policy }),
        Err(error) => {
            tracing::error!(policy = name, %error, "a policy can not be loaded; who has it is denied everything");
            canned::deny_all(name)
        }
    }
}

fn compile_all(policies: &Policies) -> Vec<Arc<NamedPolicy>> {
    policies.inline.iter().map(|(name, document)| compile(name, document)).collect()
}

impl Directory {
    /// Makes the directory that knows the node's root alone.
    pub fn of_root(root: &Account) -> Self {
        let names = names_of(&root.canonical_id, &root.display_name);
        let account = Arc::new(KnownAccount {
            names: names.clone(),
            email: root.email.clone(),
            made_ms: 0,
            is_first: true,
        });
        let mut directory = Self {
            revision: 0,
            seal: None,
            accounts: Arc::default(),
            by_id: Arc::default(),
            policies: Table::default(),
            groups: Table::default(),
            users: Table::default(),
            places: Arc::default(),
            place_of_id: Table::default(),
            keys: Table::default(),
        };
        directory.add_account(account);
        directory.add_plain_key(&root.access_key, &root.secret_key, names, true);
        directory
    }

    /// Makes a directory of accounts alone, whose secrets are not sealed. The first one is the node's
    /// root. It is for tests, fuzzing and measurements.
    pub fn of_accounts(accounts: &[Account]) -> Self {
        let mut accounts = accounts.iter();
        let first = accounts.next();
        let mut directory = Self::of_root(first.unwrap_or_else(|| panic!("a node has an account")));
        for account in accounts {
            let names = names_of(&account.canonical_id, &account.display_name);
            let (email, made_ms) = (account.email.clone(), 0);
            directory.add_account(Arc::new(KnownAccount {
                names: names.clone(),
                email,
                made_ms,
                is_first: false,
            }));
            directory.add_plain_key(&account.access_key, &account.secret_key, names, false);
        }
        directory
    }

    /// Sets the key under which secrets are sealed.
    pub fn with_seal(self, seal: Arc<Seal>) -> Self {
        Self { seal: Some(seal), ..self }
    }

    fn add_account(&mut self, account: Arc<KnownAccount>) {
        let names = account.names.clone();
        Arc::make_mut(&mut self.by_id).insert(names.account_id.clone(), account.clone());
        Arc::make_mut(&mut self.accounts).insert(names.canonical_id.clone(), account);
    }

    fn add_plain_key(
        &mut self,
        access_key: &str,
        secret: &str,
        account: Arc<AccountNames>,
        is_node_root: bool,
    ) {
        let key = AccessKey {
            access_key: access_key.into(),
            account,
            user: None,
            secret: Secret::Plain(Zeroizing::new(secret.to_owned())),
            is_enabled: true,
            is_node_root,
            made_ms: 0,
            used_s: AtomicU64::new(0),
            noted_s: 0,
        };
        self.keys.set(access_key, Some(Arc::new(key)));
    }

    /// Returns an access key for a signature: whom it is for, with its secret. Returns None if there is
    /// none, or if it or its user is disabled or can not be loaded.
    pub fn find(&self, access_key: &str) -> Option<Found> {
        let key = self.keys.get(access_key).filter(|key| key.is_enabled)?;
        let signer = self.signer_of(key)?;
        let secret = match &key.secret {
            Secret::Plain(secret) => Zeroizing::new(secret.as_bytes().to_vec()),
            Secret::Sealed(sealed) => {
                let opened = self.seal.as_ref()?.open(sealed, &self.holder_of(key));
                if opened.is_none() {
                    tracing::error!(access_key, "the secret of an access key does not open; it is no key");
                }
                opened?
            }
        };
        Some(Found { key: key.clone(), signer, secret })
    }

    fn holder_of(&self, key: &AccessKey) -> String {
        let user = key.user.and_then(|place| self.places.get(place as usize)).map(|place| &*place.id);
        KeyRecord::holder(&key.access_key, &key.account.account_id, user)
    }

    fn signer_of(&self, key: &AccessKey) -> Option<Signer> {
        let (access_key, is_node_root) = (key.access_key.clone(), key.is_node_root);
        let Some(place) = key.user else {
            let principal = Principal::Root(key.account.clone());
            return Some(Signer {
                principal,
                policies: Box::default(),
                boundary: None,
                access_key,
                is_node_root,
            });
        };
        let user = self.places.get(place as usize)?.user.as_ref().filter(|user| user.record.on == 1)?;
        Some(Signer { access_key, ..Self::signer_for(user) })
    }

    fn signer_for(user: &User) -> Signer {
        Signer {
            principal: Principal::User(user.names.clone()),
            policies: user.policies.clone(),
            boundary: user.boundary.clone(),
            access_key: Box::default(),
            is_node_root: false,
        }
    }

    /// Returns what a user is as a signer, or the root of an account without a name.
    pub fn signer_named(&self, account: &str, name: Option<&str>) -> Option<Signer> {
        match name {
            Some(name) => self.user(account, name).map(|user| Self::signer_for(user)),
            None => {
                let names = self.by_id.get(account)?.names.clone();
                Some(Signer {
                    principal: Principal::Root(names),
                    policies: Box::default(),
                    boundary: None,
                    access_key: Box::default(),
                    is_node_root: false,
                })
            }
        }
    }

    /// Returns the account with this canonical id.
    pub fn account(&self, canonical_id: &str) -> Option<&Arc<KnownAccount>> {
        self.accounts.get(canonical_id)
    }

    /// Returns the account that a text names: by canonical id, by the id of ARNs, or by its display name
    /// if that is of one alone. Without a text it is the one of the node's root.
    pub fn account_named(&self, text: Option<&str>) -> Option<&Arc<KnownAccount>> {
        let Some(text) = text else { return self.accounts.values().find(|account| account.is_first) };
        let by_name = || {
            let mut named = self.accounts.values().filter(|account| account.names.display_name == text);
            named.next().filter(|_| named.next().is_none())
        };
        self.accounts.get(text).or_else(|| self.by_id.get(text)).or_else(by_name)
    }

    /// Returns all accounts, by canonical id.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<KnownAccount>> {
        self.accounts.values()
    }

    /// Returns a user of an account.
    pub fn user(&self, account: &str, name: &str) -> Option<&Arc<User>> {
        let place = *self.users.get(&within(account, name))?;
        self.places.get(place as usize)?.user.as_ref()
    }

    /// Returns the users of an account, by name.
    pub fn users(&self, account: &str) -> Vec<&Arc<User>> {
        let of = |user: &&Arc<User>| user.names.account.account_id == account;
        let mut users: Vec<_> =
            self.places.iter().filter_map(|place| place.user.as_ref()).filter(of).collect();
        users.sort_by(|left, right| left.names.name.cmp(&right.names.name));
        users
    }

    /// Returns a group of an account.
    pub fn group(&self, account: &str, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(&within(account, name))
    }

    /// Returns the groups of an account, by name.
    pub fn groups(&self, account: &str) -> Vec<(&str, &Arc<Group>)> {
        of_account(&self.groups, account)
    }

    /// Returns a managed policy of an account, which is none that every account has.
    pub fn policy(&self, account: &str, name: &str) -> Option<&Arc<Managed>> {
        self.policies.get(&within(account, name))
    }

    /// Returns the managed policies of an account, by name, without those that every account has.
    pub fn policies(&self, account: &str) -> Vec<(&str, &Arc<Managed>)> {
        of_account(&self.policies, account)
    }

    /// Returns an access key.
    pub fn key(&self, access_key: &str) -> Option<&Arc<AccessKey>> {
        self.keys.get(access_key)
    }

    /// Returns all access keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<AccessKey>> {
        self.keys.iter().map(|(_, key)| key)
    }

    /// Returns the number of access keys.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Returns the user of a key. None: it is a root key, or the user can not be loaded.
    pub fn user_of(&self, key: &AccessKey) -> Option<&Arc<User>> {
        self.places.get(key.user? as usize)?.user.as_ref()
    }

    /// Returns the access keys of a user or, without a name, the root keys of an account; by access key.
    pub fn keys_of(&self, account: &str, user: Option<&str>) -> Vec<&Arc<AccessKey>> {
        let place = user.map(|name| self.users.get(&within(account, name)).copied());
        let is_of = |key: &&Arc<AccessKey>| {
            key.account.account_id == account
                && place.map_or(key.user.is_none(), |place| place == key.user && place.is_some())
        };
        let mut keys: Vec<_> = self.keys().filter(is_of).collect();
        keys.sort_by(|left, right| left.access_key.cmp(&right.access_key));
        keys
    }

    /// Returns how many access keys a user has.
    pub fn key_count_of(&self, account: &str, name: &str) -> usize {
        let place = self.users.get(&within(account, name));
        place.and_then(|place| self.places.get(*place as usize)).map_or(0, |place| place.keys as usize)
    }

    /// Returns the record of a key as it is now, with its last use.
    pub fn record_of(&self, key: &AccessKey) -> Option<KeyRecord> {
        let Secret::Sealed(sealed) = &key.secret else { return None };
        let user = match key.user {
            Some(place) => Some(self.places.get(place as usize)?.id.to_string()),
            None => None,
        };
        Some(KeyRecord {
            account: key.account.account_id.clone(),
            user,
            made_ms: key.made_ms,
            used_s: key.used_s(),
            on: u8::from(key.is_enabled),
            secret: hex::encode(sealed),
        })
    }

    /// Returns what seals secrets. There is none before the records are loaded.
    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_deref()
    }

    fn managed(&self, account: &str, name: &str) -> Arc<NamedPolicy> {
        match (canned::find(name), self.policy(account, name)) {
            (Some(canned), _) => canned.clone(),
            (None, Some(managed)) => managed.named.clone(),
            (None, None) => canned::deny_all(name),
        }
    }

    fn bound(
        &self,
        account: &str,
        policies: &Policies,
        inline: &[Arc<NamedPolicy>],
        all: &mut Vec<Arc<NamedPolicy>>,
    ) {
        all.extend(policies.attached.iter().map(|name| self.managed(account, name)));
        all.extend(inline.iter().cloned());
    }

    /// Puts together what binds a user.
    fn resolved(&self, user: &User) -> User {
        let account = &user.names.account.account_id;
        let mut all = Vec::new();
        self.bound(account, &user.record.policies, &user.inline, &mut all);
        for name in &user.record.groups {
            match self.group(account, name) {
                Some(group) => self.bound(account, &group.record.policies, &group.inline, &mut all),
                None => all.push(canned::deny_all(&format!("of the group {name}"))),
            }
        }
        User {
            names: user.names.clone(),
            record: user.record.clone(),
            inline: user.inline.clone(),
            policies: all.into(),
            boundary: user.record.boundary.as_ref().map(|name| self.managed(account, name)),
        }
    }
}

fn of_account<'a, V: Clone>(table: &'a Table<V>, account: &str) -> Vec<(&'a str, &'a V)> {
    let split =
        |(name, value): (&'a str, &'a V)| name.split_once('/').map(|(account, name)| (account, name, value));
    let all = table.iter().filter_map(split).filter(|(of, ..)| *of == account);
    let mut all: Vec<_> = all.map(|(_, name, value)| (name, value)).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

/// A record that was put or removed: its name, and its value if it was put.
pub type Changed<'a> = (&'a str, Option<&'a [u8]>);

impl Directory {
    /// Returns the next directory: this one after records were put and removed.
    pub fn after<'a>(&self, revision: u64, changes: impl Iterator<Item = Changed<'a>>) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        let mut named: Vec<(RecordName<'_>, Option<&[u8]>)> =
            changes.filter_map(|(name, value)| Some((RecordName::parse(name)?, value))).collect();
        // What others name comes before them.
        named.sort_by_key(|(name, _)| match name {
            RecordName::Proof => 0,
            RecordName::Account(_) => 1,
            RecordName::Policy(..) => 2,
            RecordName::Group(..) => 3,
            RecordName::User(..) => 4,
            RecordName::Key(_) => 5,
        });
        let (mut all, mut users) = (false, Vec::new());
        for (name, value) in named {
            match name {
                RecordName::Proof => {}
                RecordName::Account(canonical_id) => next.put_account(canonical_id, read(name, value)),
                RecordName::Policy(account, of) => {
                    next.put_policy(account, of, read(name, value));
                    all = true;
                }
                RecordName::Group(account, of) => {
                    next.put_group(account, of, read(name, value));
                    all = true;
                }
                RecordName::User(account, of) => users.extend(next.put_user(account, of, read(name, value))),
                RecordName::Key(access_key) => next.put_key(access_key, read(name, value)),
            }
        }
        if all {
            users = (0..next.places.len() as u32).collect();
        }
        next.resolve(&users);
        next
    }

    fn resolve(&mut self, users: &[u32]) {
        for place in users {
            let user = self.places[*place as usize].user.clone();
            let resolved = user.map(|user| Arc::new(self.resolved(&user)));
            Arc::make_mut(&mut self.places)[*place as usize].user = resolved;
        }
    }

    fn put_account(&mut self, canonical_id: &str, record: Option<AccountRecord>) {
        let known = self.accounts.get(canonical_id).cloned();
        if known.as_ref().is_some_and(|known| known.is_first) {
            return;
        }
        match record {
            Some(AccountRecord { display_name, email, made_ms }) => {
                let names = names_of(canonical_id, &display_name);
                self.add_account(Arc::new(KnownAccount { names, email, made_ms, is_first: false }));
            }
            None => {
                Arc::make_mut(&mut self.accounts).remove(canonical_id);
                let id = id_of(canonical_id);
                if self.by_id.get(&id).is_some_and(|known| known.names.canonical_id == canonical_id) {
                    Arc::make_mut(&mut self.by_id).remove(&id);
                }
            }
        }
    }

    fn put_policy(&mut self, account: &str, name: &str, record: Option<PolicyRecord>) {
        let managed =
            record.map(|record| Arc::new(Managed { named: compile(name, &record.document), record }));
        self.policies.set(&within(account, name), managed);
    }

    fn put_group(&mut self, account: &str, name: &str, record: Option<GroupRecord>) {
        let group = record.map(|record| Arc::new(Group { inline: compile_all(&record.policies), record }));
        self.groups.set(&within(account, name), group);
    }

    /// Returns the place of an id, which is made if there is none.
    fn place(&mut self, id: &str) -> u32 {
        if let Some(place) = self.place_of_id.get(id) {
            return *place;
        }
        let place = self.places.len() as u32;
        Arc::make_mut(&mut self.places).push(Place { id: id.into(), user: None, keys: 0 });
        self.place_of_id.set(id, Some(place));
        place
    }

    /// Returns the place of the user, if it is to be put together.
    fn put_user(&mut self, account: &str, name: &str, record: Option<UserRecord>) -> Option<u32> {
        let key = within(account, name);
        if let Some(old) = self.users.get(&key).copied() {
            Arc::make_mut(&mut self.places)[old as usize].user = None;
        }
        let (Some(record), Some(known)) = (record, self.by_id.get(account).cloned()) else {
            self.users.set(&key, None);
            return None;
        };
        let names = UserNames {
            account: known.names.clone(),
            name: name.to_owned(),
            path: "/".to_owned(),
            id: record.id.clone(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
        };
        let inline = compile_all(&record.policies);
        let place = self.place(&record.id);
        let (names, policies) = (Arc::new(names), Box::default());
        let user = User { names, record, inline, policies, boundary: None };
        Arc::make_mut(&mut self.places)[place as usize].user = Some(Arc::new(user));
        self.users.set(&key, Some(place));
        Some(place)
    }

    fn put_key(&mut self, access_key: &str, record: Option<KeyRecord>) {
        let before = self.keys.get(access_key).cloned();
        if before.as_ref().is_some_and(|before| before.is_node_root) {
            return;
        }
        let left = before.as_ref().and_then(|before| before.user);
        let key = record.and_then(|record| {
            let account = self.by_id.get(&record.account)?.names.clone();
            let sealed = hex::decode(&record.secret).ok()?;
            // A use that another core noted meanwhile is not forgotten.
            let used_s = before.map_or(0, |before| before.used_s()).max(record.used_s);
            Some(Arc::new(AccessKey {
                access_key: access_key.into(),
                account,
                user: record.user.map(|id| self.place(&id)),
                secret: Secret::Sealed(sealed.into()),
                is_enabled: record.on == 1,
                is_node_root: false,
                made_ms: record.made_ms,
                used_s: AtomicU64::new(used_s),
                noted_s: record.used_s,
            }))
        });
        let joined = key.as_ref().and_then(|key| key.user);
        if left != joined {
            let places = Arc::make_mut(&mut self.places);
            left.into_iter().for_each(|place| places[place as usize].keys -= 1);
            joined.into_iter().for_each(|place| places[place as usize].keys += 1);
        }
        self.keys.set(access_key, key);
    }
}

/// Reads a record that was put. One that can not be read is as one that is not there, which denies.
fn read<T: serde::de::DeserializeOwned>(name: RecordName<'_>, value: Option<&[u8]>) -> Option<T> {
    match decode(value?) {
        Ok(record) => Some(record),
        Err(error) => {
            // Its text might hold some of the record.
            let (line, column) = (error.line(), error.column());
            tracing::error!(
                ?name,
                line,
                column,
                "a record of an identity can not be read; it counts as none"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
