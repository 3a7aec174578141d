use super::*;
use crate::identity::key_file::NodeKey;
use crate::identity::record::encode;

const ROOT: &str = "1";

fn root() -> Account {
    Account {
        access_key: "ROOTKEY".to_owned(),
        secret_key: "the root's secret".to_owned().into(),
        canonical_id: ROOT.to_owned(),
        display_name: "main".to_owned(),
        email: String::new(),
    }
}

fn seal() -> Arc<Seal> {
    Arc::new(Seal::new(&NodeKey::new([3; 32])))
}

fn begun() -> Directory {
    Directory::of_root(&root()).with_seal(seal())
}

/// Puts and removes records.
fn after(directory: &Directory, changes: &[(String, Option<Vec<u8>>)]) -> Directory {
    let changes = changes.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    directory.after(directory.revision + 1, changes)
}

type Change = (String, Option<Vec<u8>>);

fn id() -> String {
    id_of(ROOT)
}

fn user(name: &str, edit: impl Fn(&mut UserRecord)) -> Change {
    let mut record = UserRecord {
        id: format!("ID-{name}"),
        made_ms: 1,
        on: 1,
        groups: Vec::new(),
        policies: Policies::default(),
        boundary: None,
    };
    edit(&mut record);
    (RecordName::User(&id(), name).text(), Some(encode(&record)))
}

fn key(access_key: &str, user: Option<&str>, on: u8) -> Change {
    let user = user.map(|name| format!("ID-{name}"));
    let holder = KeyRecord::holder(access_key, &id(), user.as_deref());
    let secret = hex::encode(seal().seal(format!("secret of {access_key}").as_bytes(), &holder).unwrap());
    let record = KeyRecord { account: id(), user, made_ms: 1, used_s: 0, on, secret };
    (RecordName::Key(access_key).text(), Some(encode(&record)))
}

fn policy(name: &str, document: &str) -> Change {
    let record = PolicyRecord { made_ms: 1, changed_ms: 1, document: document.to_owned() };
    (RecordName::Policy(&id(), name).text(), Some(encode(&record)))
}

fn group(name: &str, attached: &[&str]) -> Change {
    let attached = attached.iter().map(|name| (*name).to_owned()).collect();
    let record = GroupRecord { made_ms: 1, policies: Policies { attached, inline: BTreeMap::new() } };
    (RecordName::Group(&id(), name).text(), Some(encode(&record)))
}

fn removed(name: RecordName<'_>) -> Change {
    (name.text(), None)
}

fn policies_of(directory: &Directory, access_key: &str) -> Vec<String> {
    let found = directory.find(access_key).expect("the key is there");
    found.signer.policies.iter().map(|named| named.name.clone()).collect()
}

const GET: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;

#[test]
fn keys_lead_to_whom_they_are_for() {
    let directory = after(
        &begun(),
        &[
            key("AK", Some("alice"), 1),
            user("alice", |_| {}),
            key("RK", None, 1),
            key("OFF", Some("alice"), 0),
        ],
    );
    let found = directory.find("AK").unwrap();
    assert_eq!(found.secret.as_slice(), b"secret of AK");
    let Principal::User(names) = &found.signer.principal else { panic!("{:?}", found.signer) };
    assert_eq!(names.arn, format!("arn:aws:iam::{}:user/alice", id()));
    assert_eq!((names.id.as_str(), names.name.as_str()), ("ID-alice", "alice"));
    assert!(!found.signer.is_node_root);
    let root_key = directory.find("RK").unwrap().signer;
    assert!(matches!(root_key.principal, Principal::Root(_)) && !root_key.is_node_root);
    let node_root = directory.find("ROOTKEY").unwrap();
    assert!(node_root.signer.is_node_root && node_root.secret.as_slice() == b"the root's secret");
    assert!(directory.find("OFF").is_none() && directory.find("NONE").is_none());
    assert_eq!(directory.keys_of(&id(), Some("alice")).len(), 2);
    assert_eq!(directory.key_count_of(&id(), "alice"), 2);
    let fewer = after(&directory, &[removed(RecordName::Key("OFF")), key("AK", Some("alice"), 0)]);
    assert_eq!((fewer.key_count_of(&id(), "alice"), fewer.key_count_of(&id(), "nobody")), (1, 0));
    assert_eq!(directory.keys_of(&id(), None).len(), 2, "with the node's root");
}

#[test]
fn what_is_disabled_or_gone_is_no_key() {
    let directory = after(&begun(), &[key("AK", Some("alice"), 1), user("alice", |_| {})]);
    let disabled = after(&directory, &[user("alice", |record| record.on = 0)]);
    assert!(disabled.find("AK").is_none());
    assert!(after(&disabled, &[user("alice", |_| {})]).find("AK").is_some());
    assert!(after(&directory, &[key("AK", Some("alice"), 0)]).find("AK").is_none());
    assert!(after(&directory, &[removed(RecordName::Key("AK"))]).find("AK").is_none());
    let gone = after(&directory, &[removed(RecordName::User(&id(), "alice"))]);
    assert!(gone.find("AK").is_none() && gone.user(&id(), "alice").is_none());
    // Another user of the same name has another id, so an old key is none of hers.
    let again = after(&gone, &[user("alice", |record| record.id = "ID-other".to_owned())]);
    assert!(again.find("AK").is_none() && again.user(&id(), "alice").is_some());
    assert!(directory.find("AK").is_some(), "a directory does not change");
    let unreadable = (RecordName::Key("AK").text(), Some(b"{\"secret\":1}".to_vec()));
    assert!(after(&directory, &[unreadable]).find("AK").is_none());
}

#[test]
fn a_secret_of_another_key_or_user_does_not_open() {
    let (_, value) = key("AK", Some("alice"), 1);
    let moved = (RecordName::Key("OTHER").text(), value.clone());
    let mut record: KeyRecord = decode(&value.unwrap()).unwrap();
    record.user = Some("ID-bob".to_owned());
    let given = (RecordName::Key("AK").text(), Some(encode(&record)));
    let directory = after(&begun(), &[moved, given, user("alice", |_| {}), user("bob", |_| {})]);
    assert!(directory.find("OTHER").is_none() && directory.find("AK").is_none());
}

#[test]
fn users_have_their_own_policies_and_those_of_their_groups() {
    let of_alice = |record: &mut UserRecord| {
        record.policies.attached = vec!["readonly".to_owned(), "mine".to_owned()];
        record.policies.inline = [("own".to_owned(), GET.to_owned())].into();
        record.groups = vec!["readers".to_owned()];
        record.boundary = Some("mine".to_owned());
    };
    let changes = [
        policy("mine", GET),
        group("readers", &["readwrite"]),
        user("alice", of_alice),
        key("AK", Some("alice"), 1),
    ];
    let directory = after(&begun(), &changes);
    assert_eq!(policies_of(&directory, "AK"), ["readonly", "mine", "own", "readwrite"]);
    assert_eq!(directory.find("AK").unwrap().signer.boundary.unwrap().name, "mine");
    let later = after(&directory, &[group("readers", &["writeonly"])]);
    assert_eq!(policies_of(&later, "AK"), ["readonly", "mine", "own", "writeonly"]);
}

/// Returns whether a key may get an object of its own account, by its policies alone.
fn may_get(directory: &Directory, access_key: &str) -> bool {
    use crate::access::policy::testing::Said;
    use crate::access::{AclGrant, Action, Asked, Layers, authorize};
    let signer = directory.find(access_key).expect("the key is there").signer;
    let (context, acl) = (Said::default(), || AclGrant::Nobody);
    let asked = Asked {
        principal: &signer.principal,
        action: Action::GetObject,
        bucket: "b",
        key: Some("k"),
        bucket_owner: Some(ROOT),
        object_owner: None,
        context: &context,
    };
    let layers = Layers {
        identity: &signer.policies,
        boundary: signer.boundary.as_deref(),
        session: None,
        bucket: None,
        bucket_policy_failed: false,
        restrict_public: false,
        acl: &acl,
    };
    authorize(&asked, &layers).is_allowed()
}

#[test]
fn what_can_not_be_loaded_denies() {
    let allowed = |record: &mut UserRecord| record.policies.attached = vec!["readwrite".to_owned()];
    let directory = after(&begun(), &[user("alice", allowed), key("AK", Some("alice"), 1)]);
    assert!(may_get(&directory, "AK"));
    type Edit = fn(&mut UserRecord);
    let broken: [(&str, Edit); 4] = [
        ("a policy that is gone", |record| record.policies.attached.push("gone".to_owned())),
        ("a group that is gone", |record| record.groups.push("gone".to_owned())),
        ("a boundary that is gone", |record| record.boundary = Some("gone".to_owned())),
        ("a policy that is none", |record| {
            record.policies.inline.insert("bad".to_owned(), "{\"Statement\": 7}".to_owned());
        }),
    ];
    for (what, edit) in broken {
        let change = user("alice", |record| {
            allowed(record);
            edit(record);
        });
        assert!(!may_get(&after(&directory, &[change]), "AK"), "{what}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let directory = after(&begun(), &[user("alice", |_| {}), key("AK", Some("alice"), 1)]);
    let found = directory.find("AK").unwrap();
    let sealed = directory.record_of(&found.key).unwrap().secret;
    let root = directory.find("ROOTKEY").unwrap();
    for text in [
        format!("{directory:?}"),
        format!("{:?} {:?}", found.key, found.signer),
        format!("{:?} {:?}", root.key, root.signer),
        format!("{:?}", root),
    ] {
        assert!(!text.contains("secret of AK") && !text.contains("the root's secret"), "{text}");
        assert!(!text.contains(&sealed), "{text}");
    }
}

#[test]
fn uses_are_kept_over_changes_and_noted_once() {
    let directory = after(&begun(), &[user("alice", |_| {}), key("AK", Some("alice"), 1)]);
    let found = directory.find("AK").unwrap().key;
    assert!(!found.has_unnoted_use());
    found.use_at(1_700_000_000);
    found.use_at(1_700_000_030);
    assert_eq!((found.used_s(), found.has_unnoted_use()), (1_700_000_000, true), "it is to the minute");
    let record = directory.record_of(&found).unwrap();
    let noted = after(&directory, &[(RecordName::Key("AK").text(), Some(encode(&record)))]);
    let key_now = noted.key("AK").unwrap();
    assert_eq!((key_now.used_s(), key_now.has_unnoted_use()), (1_700_000_000, false));
    let disabled = after(&directory, &[key("AK", Some("alice"), 0)]);
    assert_eq!(disabled.key("AK").unwrap().used_s(), 1_700_000_000, "a change forgets no use");
}

#[test]
fn accounts_are_found_by_every_name() {
    let record = AccountRecord { display_name: "tenant".to_owned(), email: String::new(), made_ms: 1 };
    let directory = after(&begun(), &[(RecordName::Account("abc").text(), Some(encode(&record)))]);
    for text in ["abc", "tenant", &id_of("abc")] {
        assert_eq!(directory.account_named(Some(text)).unwrap().names.canonical_id, "abc", "{text}");
    }
    assert_eq!(directory.account_named(None).unwrap().names.canonical_id, ROOT);
    assert!(directory.account_named(Some("nobody")).is_none());
    let gone = after(&directory, &[removed(RecordName::Account("abc"))]);
    assert!(gone.account("abc").is_none() && gone.account_named(Some(&id_of("abc"))).is_none());
    let root_stays = after(&directory, &[removed(RecordName::Account(ROOT))]);
    assert!(root_stays.account(ROOT).is_some());
}

/// Returns the memory that this process has now, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Prints what many users and keys cost: with `--release --nocapture`, and RINGBOLT_TEST_KEYS=100000 for
/// more than a test needs.
#[test]
fn many_users_and_keys_are_loaded_found_and_changed() {
    const FEW: usize = 2000;
    let keys = std::env::var("RINGBOLT_TEST_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(FEW);
    let users = keys / 10;
    let sealed = seal();
    let mut records: Vec<Change> = (0..users)
        .map(|number| {
            user(&format!("user-{number:05}"), |record| {
                record.policies.attached = vec!["readonly".to_owned()];
                record.groups = vec!["all".to_owned()];
            })
        })
        .collect();
    records.push(group("all", &["writeonly"]));
    for number in 0..keys {
        let (access_key, of) = (format!("RB{number:018}"), format!("ID-user-{:05}", number % users));
        let holder = KeyRecord::holder(&access_key, &id(), Some(&of));
        let secret = hex::encode(sealed.seal(&[b's'; 40], &holder).unwrap());
        let record = KeyRecord { account: id(), user: Some(of), made_ms: 1, used_s: 0, on: 1, secret };
        records.push((RecordName::Key(&access_key).text(), Some(encode(&record))));
    }
    let record_bytes: usize =
        records.iter().map(|(name, value)| name.len() + value.as_ref().unwrap().len()).sum();
    let before = resident_bytes();
    let start = std::time::Instant::now();
    let directory = after(&begun(), &records);
    let loaded = start.elapsed();
    let memory = resident_bytes().saturating_sub(before);
    let start = std::time::Instant::now();
    let changed = after(&directory, &[user("user-00007", |record| record.on = 0)]);
    let one_user = start.elapsed();
    let start = std::time::Instant::now();
    let regrouped = after(&changed, &[group("all", &["readwrite"])]);
    let one_group = start.elapsed();
    let start = std::time::Instant::now();
    let found = (0..users).filter(|number| regrouped.find(&format!("RB{number:018}")).is_some()).count();
    let look_ups = start.elapsed();
    println!("records: {record_bytes} bytes of names and values");
    println!("directory: {loaded:?}, {memory} bytes");
    println!("a change of one user: {one_user:?}; of a group of all: {one_group:?}");
    println!("{users} keys found and opened: {look_ups:?}");
    assert_eq!(
        (directory.key_count(), found),
        (keys + 1, users - 1),
        "one key in ten is of the disabled user"
    );
}
