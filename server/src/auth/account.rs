//! The accounts of `users.toml` in the data directory. The first one is that of the node's root, whose
//! key stays there, or in the environment; others are taken over into the node's records once
//! ([`crate::identity`]).
//!
//! Invariants:
//! - There is at least one account, and access keys and canonical ids are unique.
//! - The file that holds secrets is readable by its owner only (mode 0600), or it is refused.

use super::hash::Sha256;
use crate::whole_file::{self, FileError};
use serde::Deserialize;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const FILE_NAME: &str = "users.toml";
/// The name of the file as it was before its accounts were taken over.
const TAKEN_OVER: &str = "users.toml.taken-over";

/// An account as S3 knows it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
    pub canonical_id: String,
    pub display_name: String,
    pub email: String,
}

impl fmt::Debug for Account {
    /// Leaves the secret out: an account may end up in a log line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Account")
            .field("access_key", &self.access_key)
            .field("canonical_id", &self.canonical_id)
            .field("display_name", &self.display_name)
            .finish_non_exhaustive()
    }
}

/// Returns the 12 digits by which ARNs name the account with this canonical id. They follow from it.
pub fn account_id(canonical_id: &str) -> String {
    let hash = Sha256::digest(canonical_id.as_bytes());
    let number = hash[..8].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{:012}", number % 1_000_000_000_000)
}

/// The reason why the accounts of a data directory can not be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("can not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{} can be read by others (mode {mode:04o}) and holds secret keys; run: chmod 600 {}",
        path.display(),
        path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is not valid:\n{reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("{}: account {number}, field {field}: {reason}", path.display())]
    Field { path: PathBuf, number: usize, field: &'static str, reason: String },
    #[error("{} has no account; add an [[account]] section, or remove the file to get a new one", path.display())]
    Empty { path: PathBuf },
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    #[error(
        "{name} is set to an unusable value: {reason}; \
         set both RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY, or neither"
    )]
    Environment { name: &'static str, reason: String },
    #[error("can not take the root's keys from {}: {reason}", path.display())]
    SecretFile { path: PathBuf, reason: String },
    #[error(
        "{} and the environment both give the root's keys; unset RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY, or leave \
         the file out",
        path.display()
    )]
    TwoSources { path: PathBuf },
}

/// The keys that a file or the environment gives. They replace those of the first account and are
/// written nowhere.
#[derive(Clone)]
pub struct RootCredentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
}

const ACCESS_KEY: &str = "RINGBOLT_ACCESS_KEY";
const SECRET_KEY: &str = "RINGBOLT_SECRET_KEY";
/// The name of the credential that systemd may pass to the server.
const SYSTEMD_CREDENTIAL: &str = "ringbolt-secrets";

impl RootCredentials {
    /// Reads the keys from `file`, or else from the credential that systemd passes, or else from the
    /// environment. Returns None if there are none; fails if there is only one of two, if they can not
    /// be used, or if both a file and the environment give them.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, AccountError> {
        Self::find_in(file, &|name| std::env::var_os(name))
    }

    fn find_in(
        file: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, AccountError> {
        let of_systemd = || {
            let path = Path::new(&environment("CREDENTIALS_DIRECTORY")?).join(SYSTEMD_CREDENTIAL);
            path.exists().then_some(path)
        };
        let read = |name| {
            let value = environment(name).and_then(|value| value.into_string().ok());
            value.filter(|value| !value.is_empty()).map(Zeroizing::new)
        };
        let (access_key, secret_key) = (read(ACCESS_KEY), read(SECRET_KEY));
        let Some(path) = file.map(Path::to_owned).or_else(of_systemd) else {
            return Self::of_two(access_key, secret_key);
        };
        if secret_key.is_some() || access_key.is_some() {
            return Err(AccountError::TwoSources { path });
        }
        let wrong = |reason: &str| AccountError::SecretFile { path: path.clone(), reason: reason.to_owned() };
        let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(|error| wrong(&error.to_string()))?);
        if path.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "the file of the root's keys can be read by others");
        }
        let pair = secrets_of(&text).map_err(wrong)?;
        let found = Self::of_two(pair.0, pair.1).map_err(|error| wrong(&error.to_string()))?;
        found.map(Some).ok_or_else(|| wrong("it has no keys"))
    }

    fn of_two(
        access_key: Option<Zeroizing<String>>,
        secret_key: Option<Zeroizing<String>>,
    ) -> Result<Option<Self>, AccountError> {
        match (access_key, secret_key) {
            (None, None) => Ok(None),
            (Some(access_key), Some(secret_key)) => {
                Self::checked(access_key.to_string(), secret_key).map(Some)
            }
            (None, Some(_)) => Err(unset(ACCESS_KEY)),
            (Some(_), None) => Err(unset(SECRET_KEY)),
        }
    }

    fn checked(access_key: String, secret_key: Zeroizing<String>) -> Result<Self, AccountError> {
        let fields = [(ACCESS_KEY, &access_key), (SECRET_KEY, &*secret_key)];
        for (name, value) in fields {
            check_key(value).map_err(|reason| AccountError::Environment { name, reason })?;
        }
        if access_key.contains('/') {
            let reason = "an access key can not contain '/'".to_owned();
            return Err(AccountError::Environment { name: ACCESS_KEY, reason });
        }
        Ok(Self { access_key, secret_key })
    }
}

type Pair = (Option<Zeroizing<String>>, Option<Zeroizing<String>>);

/// Returns the access key and the secret of a file with a line `NAME=value` for each.
fn secrets_of(text: &str) -> Result<Pair, &'static str> {
    let mut pair: Pair = (None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let shape = "write a line RINGBOLT_ACCESS_KEY=… and one RINGBOLT_SECRET_KEY=…, and nothing else";
        let (name, value) = line.split_once('=').ok_or(shape)?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let place = match name.trim() {
            ACCESS_KEY => &mut pair.0,
            SECRET_KEY => &mut pair.1,
            _ => return Err(shape),
        };
        if place.replace(Zeroizing::new(bare.to_owned())).is_some() {
            return Err("a key is given twice");
        }
    }
    Ok(pair)
}

fn unset(name: &'static str) -> AccountError {
    AccountError::Environment { name, reason: "it is not set, but its counterpart is".to_owned() }
}

/// Tells whether this start made the accounts, which are shown once then.
#[derive(Debug)]
pub enum FirstStart {
    /// The accounts existed already, or come from the environment.
    No,
    /// This start made the file `path`, which holds `account`.
    Created { path: PathBuf, account: Arc<Account> },
}

/// The accounts of the file.
#[derive(Debug)]
pub struct Accounts {
    /// The account of the node's root, with its key.
    pub root: Arc<Account>,
    /// The accounts behind it, which are to be taken over.
    pub others: Arc<[Account]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    account: Vec<Account>,
}

impl Accounts {
    /// Reads `users.toml`, or makes it with one account of random keys. `root` replaces the keys of
    /// the first account; if it is given and there is no file, no file is made. Fails if the file
    /// can be read by others, is not valid, or can not be made.
    pub fn load_or_create(
        data_dir: &Path,
        root: Option<RootCredentials>,
    ) -> Result<(Self, FirstStart), AccountError> {
        let path = data_dir.join(FILE_NAME);
        let mut first_start = FirstStart::No;
        let mut list = match read_file(&path)? {
            Some(text) => parse(&path, &text)?,
            None if root.is_some() => Vec::new(),
            None => {
                let account = random_account()?;
                write_file(&path, &account)?;
                first_start = FirstStart::Created { path: path.clone(), account: Arc::new(account.clone()) };
                vec![account]
            }
        };
        if let Some(root) = root {
            apply_root(&mut list, root);
        }
        check_list(&path, &list)?;
        let root = Arc::new(list.remove(0));
        Ok((Self { root, others: list.into() }, first_start))
    }
}

/// Replaces the keys of the first account. If there is no account, the canonical id is derived from
/// the access key, so that buckets keep their owner from one start to the next.
fn apply_root(list: &mut Vec<Account>, root: RootCredentials) {
    match list.first_mut() {
        Some(first) => {
            first.access_key = root.access_key;
            first.secret_key = root.secret_key;
        }
        None => {
            let mut hash = Sha256::new();
            hash.update(b"ringbolt canonical id ");
            hash.update(root.access_key.as_bytes());
            list.push(Account {
                canonical_id: hex::encode(hash.finish()),
                display_name: "ringbolt".to_owned(),
                email: String::new(),
                access_key: root.access_key,
                secret_key: root.secret_key,
            });
        }
    }
}

fn read_file(path: &Path) -> Result<Option<Zeroizing<String>>, AccountError> {
    let io = |action, source| AccountError::Io { action, path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", error)),
    };
    let mode = file.metadata().map_err(|error| io("look at", error))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(AccountError::Mode { path: path.to_owned(), mode });
    }
    std::io::read_to_string(file).map(|text| Some(text.into())).map_err(|error| io("read", error))
}

fn parse(path: &Path, text: &str) -> Result<Vec<Account>, AccountError> {
    let file: UsersFile = toml::from_str(text)
        .map_err(|error| AccountError::Syntax { path: path.to_owned(), reason: describe(text, &error) })?;
    Ok(file.account)
}

/// Describes an error by its line and message alone: the library's own text quotes the line, which
/// may hold a secret.
fn describe(text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => {
            let line = text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1);
            format!("line {line}: {}", error.message())
        }
        None => error.message().to_owned(),
    }
}

fn check_key(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it may only have printable ASCII characters without spaces".to_owned());
    }
    Ok(())
}

fn check_list(path: &Path, list: &[Account]) -> Result<(), AccountError> {
    if list.is_empty() {
        return Err(AccountError::Empty { path: path.to_owned() });
    }
    for (index, account) in list.iter().enumerate() {
        let error =
            |field, reason| AccountError::Field { path: path.to_owned(), number: index + 1, field, reason };
        check_key(&account.access_key).map_err(|reason| error("access_key", reason))?;
        check_key(&account.secret_key).map_err(|reason| error("secret_key", reason))?;
        check_key(&account.canonical_id).map_err(|reason| error("canonical_id", reason))?;
        // Policies name an account by 12 digits.
        let id = &account.canonical_id;
        if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error(
                "canonical_id",
                "12 digits are the number of an account: choose another".to_owned(),
            ));
        }
        if account.access_key.contains('/') {
            return Err(error("access_key", "it may not contain '/'".to_owned()));
        }
        for (earlier_index, earlier) in list[..index].iter().enumerate() {
            let reason = format!("account {} has the same", earlier_index + 1);
            if earlier.access_key == account.access_key {
                return Err(error("access_key", reason));
            }
            if earlier.canonical_id == account.canonical_id {
                return Err(error("canonical_id", reason));
            }
        }
    }
    Ok(())
}

/// Makes an access key.
///
/// # Errors
/// Fails if the system gives no random numbers.
pub fn random_access_key() -> Result<String, AccountError> {
    Ok(format!("RB{}", random_text(18, BASE_32)?))
}

/// Makes the id of a user.
///
/// # Errors
/// Fails if the system gives no random numbers.
pub fn random_user_id() -> Result<String, AccountError> {
    Ok(format!("RBU{}", random_text(18, BASE_32)?))
}

/// Makes a secret key.
///
/// # Errors
/// Fails if the system gives no random numbers.
pub fn random_secret_key() -> Result<String, AccountError> {
    random_text(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
}

/// Makes the canonical id of an account.
///
/// # Errors
/// Fails if the system gives no random numbers.
pub fn random_canonical_id() -> Result<String, AccountError> {
    random_text(64, b"0123456789abcdef")
}

const BASE_32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn random_account() -> Result<Account, AccountError> {
    Ok(Account {
        access_key: random_access_key()?,
        secret_key: random_secret_key()?.into(),
        canonical_id: random_canonical_id()?,
        display_name: "ringbolt".to_owned(),
        email: String::new(),
    })
}

/// Makes a random text. The alphabet's size must divide 256, so that every character is equally
/// likely.
fn random_text(length: usize, alphabet: &[u8]) -> Result<String, AccountError> {
    assert_eq!(256 % alphabet.len(), 0);
    let mut bytes = vec![0u8; length];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Random(error.to_string()))?;
    Ok(bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect())
}

fn write_file(path: &Path, account: &Account) -> Result<(), AccountError> {
    let io = |action| move |source| AccountError::Io { action, path: path.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(io("create"))?;
    file.write_all(text_of(account).as_bytes()).map_err(io("write"))?;
    file.sync_all().map_err(io("flush"))
}

/// Returns the file of one account.
fn text_of(account: &Account) -> Zeroizing<String> {
    let quoted = |text: &str| toml::Value::String(text.to_owned());
    let Account { access_key, secret_key, canonical_id, display_name, email } = account;
    format!(
        "# The root account of this Ringbolt node. Keep the mode at 0600. Read at start; restart after a change.\n\
         # More accounts: `ringbolt account add`. Users with keys and policies: `ringbolt user --help`.\n\n\
         [[account]]\naccess_key = {}\nsecret_key = {}\ncanonical_id = {}\ndisplay_name = {}\nemail = {}\n",
        quoted(access_key),
        quoted(secret_key),
        quoted(canonical_id),
        quoted(display_name),
        quoted(email)
    )
    .into()
}

/// Leaves the first account of the file alone in it, and keeps the file as it was beside it. Returns
/// where, or None if the accounts behind the first one are not `taken` any more: then the file stays. At
/// every moment `users.toml` is whole: as it was, or as it will be.
///
/// # Errors
/// Fails if a file can not be read or written.
pub fn keep_first(data_dir: &Path, taken: &[Account]) -> Result<Option<PathBuf>, AccountError> {
    let path = data_dir.join(FILE_NAME);
    let text = read_file(&path)?.unwrap_or_default();
    let list = parse(&path, &text)?;
    let Some((first, others)) = list.split_first() else { return Err(AccountError::Empty { path }) };
    if others != taken {
        tracing::warn!("users.toml was changed while it was taken over: restart to take over what is new");
        return Ok(None);
    }
    // What was kept before stays.
    let names =
        std::iter::once(TAKEN_OVER.to_owned()).chain((2..).map(|number| format!("{TAKEN_OVER}.{number}")));
    let Some(kept) = names.map(|name| data_dir.join(name)).find(|kept| !kept.exists()) else {
        return Ok(None);
    };
    for (target, text) in [(&kept, &text), (&path, &text_of(first))] {
        let replaced = whole_file::replace(target, text.as_bytes(), 0o600);
        replaced.map_err(|FileError { action, source }| {
            let path = target.clone();
            AccountError::Io { action, path, source }
        })?;
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written(text: &str, mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    fn section(access_key: &str, canonical_id: &str) -> String {
        format!(
            "[[account]]\naccess_key = \"{access_key}\"\nsecret_key = \"s\"\ncanonical_id = \"{canonical_id}\"\n\
             display_name = \"n\"\nemail = \"e\"\n"
        )
    }

    #[test]
    fn the_first_start_makes_a_private_file_that_the_second_start_reads() {
        let dir = tempfile::tempdir().unwrap();
        let (accounts, first) = Accounts::load_or_create(dir.path(), None).unwrap();
        let FirstStart::Created { path, account } = first else { panic!("not the first start") };
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!((account.access_key.len(), account.secret_key.len()), (20, 40));
        assert_eq!(accounts.root, account);
        let (again, second) = Accounts::load_or_create(dir.path(), None).unwrap();
        assert!(matches!(second, FirstStart::No));
        assert_eq!(again.root, account);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let dir = written(&section("a", "1"), 0o640);
        let error = Accounts::load_or_create(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("0640"), "{error}");
    }

    #[test]
    fn errors_name_line_and_field_but_no_secret() {
        let text = "[[account]]\naccess_key = \"a\"\nsecret_key = hidden\n";
        let error = Accounts::load_or_create(written(text, 0o600).path(), None).unwrap_err().to_string();
        assert!(error.contains("line 3") && !error.contains("hidden"), "{error}");
        let text = "[[account]]\naccess_key = \"a\"\n";
        let error = Accounts::load_or_create(written(text, 0o600).path(), None).unwrap_err().to_string();
        assert!(error.contains("secret_key"), "{error}");
        let text = section("a", "1") + &section("a", "2");
        let error = Accounts::load_or_create(written(&text, 0o600).path(), None).unwrap_err().to_string();
        assert!(error.contains("account 2, field access_key"), "{error}");
        let error = Accounts::load_or_create(written("", 0o600).path(), None).unwrap_err().to_string();
        assert!(error.contains("no account"), "{error}");
    }

    #[test]
    fn the_root_s_keys_come_from_a_file_or_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SYSTEMD_CREDENTIAL);
        let found = |text: &str, file: bool, environment: &[(&str, &str)]| {
            std::fs::write(&path, text).unwrap();
            let environment = |name: &str| {
                let found = environment.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let found = RootCredentials::find_in(Some(path.as_path()).filter(|_| file), &environment);
            found.map(|found| found.map(|root| (root.access_key, root.secret_key.to_string())))
        };
        let keys = |access: &str, secret: &str| Some((access.to_owned(), secret.to_owned()));
        let text = "# root\n\nRINGBOLT_ACCESS_KEY=admin\n RINGBOLT_SECRET_KEY = \"a=b:c\"\n";
        assert_eq!(found(text, true, &[]).unwrap(), keys("admin", "a=b:c"));
        let dir = directory.path().to_str().unwrap();
        assert_eq!(found(text, false, &[("CREDENTIALS_DIRECTORY", dir)]).unwrap(), keys("admin", "a=b:c"));
        assert_eq!(found(text, false, &[("CREDENTIALS_DIRECTORY", "/nowhere")]).unwrap(), None);
        let environment = [(ACCESS_KEY, "env"), (SECRET_KEY, "of-env")];
        assert_eq!(found(text, false, &environment).unwrap(), keys("env", "of-env"));
        let error = found(text, true, &environment).unwrap_err().to_string();
        assert!(error.contains("both give") && !error.contains("of-env"), "{error}");
        for (text, part) in [
            ("", "it has no keys"),
            ("RINGBOLT_ACCESS_KEY=a\n", "RINGBOLT_SECRET_KEY"),
            ("RINGBOLT_SECRET_KEY=hidden\n", "RINGBOLT_ACCESS_KEY"),
            ("hidden\n", "write a line"),
            ("OTHER=hidden\n", "write a line"),
            ("RINGBOLT_ACCESS_KEY=a\nRINGBOLT_ACCESS_KEY=b\n", "twice"),
            ("RINGBOLT_ACCESS_KEY=a/b\nRINGBOLT_SECRET_KEY=hidden\n", "can not contain"),
        ] {
            let error = found(text, true, &[]).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(dir) && !error.contains("hidden"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let missing = RootCredentials::find_in(Some(&path), &|_| None).map(|_| ());
        assert!(missing.unwrap_err().to_string().contains(dir));
    }

    #[test]
    fn keys_of_the_environment_stand_in_for_the_first_account() {
        let root = RootCredentials { access_key: "root".into(), secret_key: "very".to_owned().into() };
        let dir = written(&(section("a", "1") + &section("b", "2")), 0o600);
        let (accounts, _) = Accounts::load_or_create(dir.path(), Some(root.clone())).unwrap();
        assert_eq!((accounts.root.access_key.as_str(), accounts.root.canonical_id.as_str()), ("root", "1"));
        assert_eq!((accounts.others.len(), accounts.others[0].canonical_id.as_str()), (1, "2"));

        let empty = tempfile::tempdir().unwrap();
        let (one, _) = Accounts::load_or_create(empty.path(), Some(root.clone())).unwrap();
        let (two, _) = Accounts::load_or_create(empty.path(), Some(root)).unwrap();
        assert_eq!(one.root.canonical_id, two.root.canonical_id);
        assert!(!empty.path().join(FILE_NAME).exists());
    }

    #[test]
    fn the_first_account_stays_in_the_file_alone() {
        let text = section("a\\\"b", "1") + &section("c", "2");
        let dir = written(&text, 0o600);
        let (loaded, _) = Accounts::load_or_create(dir.path(), None).unwrap();
        assert_eq!(keep_first(dir.path(), &loaded.others[..0]).unwrap(), None, "somebody added an account");
        let kept = keep_first(dir.path(), &loaded.others).unwrap().expect("the file is as it was read");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), text);
        for path in [&kept, &dir.path().join(FILE_NAME)] {
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        }
        let (accounts, _) = Accounts::load_or_create(dir.path(), None).unwrap();
        assert_eq!((accounts.root.access_key.as_str(), accounts.others.len()), ("a\"b", 0));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }
}
