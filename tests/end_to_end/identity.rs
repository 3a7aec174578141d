//! These tests check users, groups, access keys and policies of a real server: operators' commands make
//! them, and requests that are really signed meet them.

use crate::forms::PLAIN;
use crate::support::{BUCKET, assert_holds, get, make_bucket, put, refusal};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::{Account, MAIN, OTHER, client};
use ringbolt_tests::{Content, Server, ServerOptions, binary, raw_http};
use ringbolt_tool_common::process::without_settings;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

fn small() -> Content {
    Content::new(1, 1000)
}

/// Runs `ringbolt` with words and `--json`. Returns what it prints, or the error that it ends with.
fn ringbolt(server: &Server, line: &str, input: &str) -> Result<Value, String> {
    let mut command = Command::new(binary::ringbolt());
    without_settings(&mut command).args(line.split_whitespace()).arg("--json");
    command.env("RINGBOLT_DATA", server.data_dir()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run ringbolt");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("send the policy");
    let output = child.wait_with_output().expect("its end");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8(output.stderr).expect("text")),
    }
}

/// Runs a command that must do well.
fn done(server: &Server, line: &str) -> Value {
    ringbolt(server, line, "").unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn leaked(value: &Value) -> &'static str {
    value.as_str().expect("a text").to_owned().leak()
}

/// Makes a key. The account has its names and nothing else.
fn key_of(server: &Server, whose: &str) -> Account {
    let made = done(server, &format!("key create {whose}"));
    let (access_key, secret_key) = (leaked(&made["access_key"]), leaked(&made["secret_key"]));
    Account { access_key, secret_key, canonical_id: "", display_name: "", email: "" }
}

fn user(server: &Server, name: &str, policy: &str) -> Account {
    done(server, &format!("user add {name}"));
    let put = ringbolt(server, &format!("policy put own - --user {name}"), policy);
    put.unwrap_or_else(|error| panic!("{policy}: {error}"));
    key_of(server, &format!("--user {name}"))
}

fn allows(actions: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":
            {{"Sid":"Own","Effect":"Allow","Action":{actions},"Resource":"arn:aws:s3:::{resource}"}}}}"#
    )
}

async fn started() -> (Server, Client) {
    let server = Server::start(ServerOptions::default());
    let owner = server.client(&MAIN);
    make_bucket(&owner).await;
    put(&owner, "public/a", small()).await.expect("put");
    put(&owner, "private/a", small()).await.expect("put");
    (server, owner)
}

#[tokio::test]
async fn a_user_may_do_what_its_policies_say_and_nothing_else() {
    let (server, owner) = started().await;
    let reads = allows(r#"["s3:GetObject","s3:PutObject"]"#, "bucket/public/*");
    let account = user(&server, "alice", &reads);
    let alice = server.client(&account);
    assert_holds(&alice, "public/a", small()).await;
    put(&alice, "public/b", small()).await.expect("she may put there");
    let denied = |outcome: Result<String, crate::support::Refusal>| {
        let refusal = outcome.expect_err("she may not");
        assert!(refusal.is(403, "AccessDenied"), "{refusal:?}");
    };
    denied(get(&alice, "private/a").await.map(|_| String::new()));
    denied(put(&alice, "private/b", small()).await);
    denied(alice.list_objects_v2().bucket(BUCKET).send().await.map(|_| String::new()).map_err(refusal));
    denied(alice.create_bucket().bucket("other").send().await.map(|_| String::new()).map_err(refusal));
    denied(alice.list_buckets().send().await.map(|_| String::new()).map_err(refusal));
    // What she wrote belongs to the account.
    assert_holds(&owner, "public/b", small()).await;

    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    for (key, status) in [("public/a", 200), ("private/a", 403)] {
        let url = alice.get_object().bucket(BUCKET).key(key).presigned(valid.clone()).await.expect("sign");
        assert_eq!(raw_http::request("GET", url.uri(), b"").await.expect("get").status, status, "{key}");
    }
    for (key, status) in [("public/form", 204), ("private/form", 403)] {
        let form = crate::forms::Form { fields: &[("key", key)], ..PLAIN };
        assert_eq!(form.post_as(&server, &account, b"by form").await.status, status, "{key}");
    }
    let log = server.log();
    assert!(log.contains("a request was denied") && log.contains("nothing allows it"), "{log}");
}

#[tokio::test]
async fn groups_boundaries_and_managed_policies_count_from_the_next_request_on() {
    let (server, owner) = started().await;
    done(&server, "user add alice");
    let alice = server.client(&key_of(&server, "--user alice"));
    let may_get = async || get(&alice, "public/a").await.is_ok();
    let may_list = async || alice.list_objects_v2().bucket(BUCKET).send().await.is_ok();
    assert!(!may_get().await, "she has no policy");
    done(&server, "group add readers");
    done(&server, "policy attach readonly --group readers");
    let shown = done(&server, "group join readers alice");
    assert_eq!(shown["groups"], serde_json::json!(["readers"]));
    assert!(may_get().await && !may_list().await);
    done(&server, "policy attach arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess --user alice");
    assert!(may_get().await && may_list().await);
    ringbolt(&server, "policy put lists -", &allows(r#""s3:ListBucket""#, "*")).expect("put");
    done(&server, "policy attach lists --user alice --boundary");
    assert!(!may_get().await && may_list().await, "the boundary bounds");
    ringbolt(&server, "policy put lists -", &allows(r#""s3:*""#, "*")).expect("put");
    assert!(may_get().await && may_list().await, "the policy of the same name counts at once");
    let refused = ringbolt(&server, "policy remove lists", "").expect_err("it is attached");
    assert!(refused.contains("policy detach"), "{refused}");
    done(&server, "policy detach lists --user alice --boundary");
    done(&server, "policy detach AmazonS3ReadOnlyAccess --user alice");
    done(&server, "group leave readers alice");
    assert!(!may_get().await);
    // Buckets are seen by those who may list them.
    for name in ["seen", "hidden"] {
        owner.create_bucket().bucket(name).send().await.expect("a bucket");
    }
    ringbolt(&server, "policy put own - --user alice", &allows(r#""s3:ListBucket""#, "seen")).expect("put");
    let seen = alice.list_buckets().send().await.expect("she sees one");
    let names: Vec<_> = seen.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["seen"]);
}

#[tokio::test]
async fn a_key_that_is_disabled_or_removed_fails_with_the_next_request_of_an_open_connection() {
    let (server, _) = started().await;
    let account = user(&server, "alice", &allows(r#""s3:*""#, "*"));
    let alice = server.client(&account);
    let works = async || match get(&alice, "public/a").await {
        Ok(_) => true,
        Err(refusal) => {
            assert!(refusal.is(403, "InvalidAccessKeyId"), "{refusal:?}");
            false
        }
    };
    // The client keeps its connection from one request to the next.
    assert!(works().await);
    let key = account.access_key;
    for (change, expected) in [
        (format!("key disable {key}"), false),
        (format!("key enable {key}"), true),
        ("user disable alice".to_owned(), false),
        ("user enable alice".to_owned(), true),
        (format!("key remove {key}"), false),
    ] {
        done(&server, &change);
        for _ in 0..4 {
            assert_eq!(works().await, expected, "{change}");
        }
    }
    let another = key_of(&server, "--user alice");
    assert!(get(&server.client(&another), "public/a").await.is_ok());
    done(&server, "user remove alice");
    assert!(get(&server.client(&another), "public/a").await.expect_err("gone").is(403, "InvalidAccessKeyId"));
    let unknown = ringbolt(&server, &format!("key enable {key}"), "").expect_err("it is gone");
    assert!(unknown.contains("no access key") && unknown.contains("ringbolt key list"), "{unknown}");
}

#[tokio::test]
async fn everything_is_there_after_a_crash() {
    let (mut server, _) = started().await;
    let account = user(&server, "alice", &allows(r#""s3:GetObject""#, "bucket/public/*"));
    done(&server, "group add readers");
    done(&server, "group join readers alice");
    let off = key_of(&server, "--user alice");
    done(&server, &format!("key disable {}", off.access_key));
    let before = done(&server, "user show alice");
    server.kill();
    server.start_again();
    assert_eq!(done(&server, "user show alice"), before);
    let alice = server.client(&account);
    assert_holds(&alice, "public/a", small()).await;
    assert!(get(&alice, "private/a").await.is_err());
    assert!(get(&server.client(&off), "public/a").await.expect_err("off").is(403, "InvalidAccessKeyId"));
    // The last use is noted when the server stops.
    assert!(server.stop().success());
    server.start_again();
    let keys = done(&server, "key list --user alice");
    let used = |key: &Account| {
        let keys = keys["keys"].as_array().expect("keys");
        keys.iter().find(|shown| shown["access_key"] == key.access_key).expect("shown")["last_used_s"].clone()
    };
    assert!(used(&account).as_u64().is_some_and(|used_s| used_s > 1_700_000_000), "{keys}");
    assert_eq!(used(&off), Value::Null);
    for (text, is_there) in [
        (account.access_key, true),
        (account.secret_key, false),
        (off.secret_key, false),
        (OTHER.secret_key, false),
    ] {
        let found = Command::new("grep").args(["-qaF", text]).arg(server.data_dir().join("drive0")).status();
        assert_eq!(found.expect("run grep").success(), is_there, "{text} on the drive");
        assert!(is_there || !server.log().contains(text), "a secret is in the log");
    }
}

#[tokio::test]
async fn the_accounts_of_users_toml_are_taken_over_once() {
    let (mut server, _) = started().await;
    let path = server.data_dir().join("users.toml");
    let kept = fs::read_to_string(server.data_dir().join("users.toml.taken-over")).expect("kept");
    let now = fs::read_to_string(&path).expect("read");
    assert!(
        kept.contains(OTHER.secret_key) && now.contains(MAIN.secret_key) && !now.contains(OTHER.access_key)
    );
    assert!(server.log().contains("took the accounts of users.toml behind the first one over"));
    assert!(server.client(&OTHER).list_buckets().send().await.is_ok());
    let accounts = done(&server, "account list");
    assert_eq!(accounts["accounts"].as_array().map(Vec::len), Some(2), "{accounts}");
    // A file that comes back brings no key back that was removed.
    done(&server, &format!("key remove {}", OTHER.access_key));
    assert!(server.stop().success());
    fs::write(&path, &kept).expect("put it back");
    server.start_again();
    let refused = server.client(&OTHER).list_buckets().send().await.map_err(refusal).expect_err("removed");
    assert!(refused.is(403, "InvalidAccessKeyId"), "{refused:?}");
    let again = key_of(&server, "--account other000000000000000000000000000");
    assert!(server.client(&again).list_buckets().send().await.is_ok());
    done(&server, "account add tenant");
    let refused = ringbolt(&server, "account add tenant", "").expect_err("the name is taken");
    assert!(refused.contains("already"), "{refused}");
    let tenant = server.client(&key_of(&server, "--account tenant"));
    assert!(tenant.create_bucket().bucket("of-tenant").send().await.is_ok());
    let refused = ringbolt(&server, "account remove tenant", "").expect_err("it has a bucket");
    assert!(refused.contains("1 buckets"), "{refused}");
    tenant.delete_bucket().bucket("of-tenant").send().await.expect("deleted");
    done(&server, "account remove tenant");
    assert!(tenant.list_buckets().send().await.is_err());
}

#[tokio::test]
async fn a_decision_is_explained_by_the_statement_that_made_it() {
    let (server, _) = started().await;
    user(&server, "alice", &allows(r#""s3:GetObject""#, "bucket/public/*"));
    let explain = |words: &str| done(&server, &format!("policy explain {words}"));
    let allowed = explain("--as alice s3:GetObject arn:aws:s3:::bucket/public/a");
    assert_eq!(allowed["allowed"], true);
    assert_eq!(allowed["reason"], "statement 1 (\"Own\") of the policy \"own\"");
    let denied = explain("--as alice s3:GetObject arn:aws:s3:::bucket/private/a");
    assert_eq!((&denied["allowed"], &denied["reason"]), (&Value::Bool(false), &"nothing allows it".into()));
    let deny = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
    ringbolt(&server, "policy put no -", deny).expect("put");
    done(&server, "policy attach no --user alice");
    let denied = explain("--as alice s3:GetObject arn:aws:s3:::bucket/public/a");
    assert_eq!(denied["reason"], "statement 1 of the policy \"no\"");
    let root = explain("s3:DeleteBucket arn:aws:s3:::bucket");
    assert_eq!((&root["allowed"], &root["bucket_exists"]), (&Value::Bool(true), &Value::Bool(true)));
    for (words, says) in [
        ("--as alice s3:Fly arn:aws:s3:::bucket", "no action of S3"),
        ("--as nobody s3:GetObject arn:aws:s3:::bucket/k", "no user"),
        ("--as alice s3:GetObject arn:aws:s3:::bucket", "is on an object"),
    ] {
        let refused = ringbolt(&server, &format!("policy explain {words}"), "").expect_err(words);
        assert!(refused.contains(says), "{refused}");
    }
    let refused =
        ringbolt(&server, "policy put bad - --user alice", r#"{"Statement": {"Effect": "Perhaps"}}"#);
    assert!(refused.expect_err("it is no policy").contains("Effect"));
}

/// Without the key file no secret opens. The server says so, and changes nothing.
#[tokio::test]
async fn a_key_file_that_is_missing_or_another_is_refused_with_the_remedy() {
    let (mut server, _) = started().await;
    let account = user(&server, "alice", &allows(r#""s3:*""#, "*"));
    let path = server.data_dir().join("node.key");
    assert_eq!(fs::metadata(&path).expect("it was made").permissions().mode() & 0o7777, 0o600);
    assert!(server.log().contains("made the node's key file"));
    assert!(server.stop().success());
    let key = fs::read_to_string(&path).expect("read");
    fs::remove_file(&path).expect("lost");
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("is missing") && said.contains("backup"), "{said}");
    assert!(said.contains("--new-node-key") && !path.exists(), "{said}");
    let other = key.replace("key-1:", "key-1:00").chars().collect::<String>();
    let digits = other.find("key-1:00").expect("digits") + "key-1:".len();
    let other = format!("{}{}\n", &other[..digits], &other[digits..digits + 64]);
    fs::write(&path, other).expect("another key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("is not the key"), "{said}");
    fs::write(&path, &key).expect("restored");
    server.start_again();
    assert_holds(&server.client(&account), "public/a", small()).await;
    assert!(server.stop().success());
    fs::remove_file(&path).expect("lost for ever");
    server.set_flags(&["--new-node-key"]);
    server.start_again();
    assert!(get(&server.client(&account), "public/a").await.is_err());
    assert_eq!(done(&server, "key list --user alice")["keys"], serde_json::json!([]));
    let again = key_of(&server, "--user alice");
    assert_holds(&client(server.endpoint(), &again), "public/a", small()).await;
    server.set_flags(&[]);
    assert!(server.stop().success());
    server.start_again();
    assert_holds(&client(server.endpoint(), &again), "public/a", small()).await;
}
