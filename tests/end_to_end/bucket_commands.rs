//! These tests run `ringbolt bucket` and `ringbolt clock` against a real server, through its socket and
//! over TCP.

use crate::support::refusal;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use ringbolt_tests::client::{Account, MAIN, OTHER};
use ringbolt_tests::{Server, ServerOptions, binary, raw_http};
use ringbolt_tool_common::process::without_settings;
use ringbolt_tool_common::s3::sign::{Canonical, Credentials, authorization, sha256_hex, timestamp_now};
use std::path::Path;
use std::process::{Command, Stdio};

const BUCKET: &str = "photos";

/// Holds what a command said, and whether its status was 0.
#[derive(Debug)]
struct Said {
    good: bool,
    out: String,
    error: String,
}

/// Runs `ringbolt` with words, and the keys of an account if there is one.
fn ringbolt(line: &str, data: &Path, account: Option<&Account>) -> Said {
    let mut command = Command::new(binary::ringbolt());
    without_settings(&mut command).args(line.split_whitespace()).stdin(Stdio::null());
    command.env("RINGBOLT_DATA", data);
    if let Some(account) = account {
        command.env("RINGBOLT_ACCESS_KEY", account.access_key).env("RINGBOLT_SECRET_KEY", account.secret_key);
    }
    let output = command.output().expect("run ringbolt");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { good: output.status.success(), out: text(output.stdout), error: text(output.stderr) }
}

fn by_socket(server: &Server, line: &str) -> Said {
    ringbolt(line, server.data_dir(), None)
}

/// Runs a command that must do well, and returns what it prints.
fn done(server: &Server, line: &str) -> String {
    let said = by_socket(server, line);
    assert!(said.good && said.error.is_empty(), "{line}: {said:?}");
    said.out
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn put(client: &Client, key: &str, length: usize) -> Result<(), crate::support::Refusal> {
    let body = ByteStream::from(vec![7; length]);
    client.put_object().bucket(BUCKET).key(key).body(body).send().await.map(|_| ()).map_err(refusal)
}

async fn start() -> (Server, Client) {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    client.create_bucket().bucket(BUCKET).send().await.expect("create a bucket");
    (server, client)
}

async fn keep_versions(client: &Client) {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled);
    request.send().await.expect("keep versions");
}

#[tokio::test]
async fn a_quota_refuses_puts_over_s3_and_lets_a_bucket_shrink() {
    let (mut server, client) = start().await;
    put(&client, "first", 600_000).await.expect("put");
    assert!(done(&server, "bucket quota photos").contains("quota none"));
    let said = done(&server, "bucket quota photos --bytes 1MiB --versions 3");
    assert_eq!(said, "photos: quota 1.0 MiB, 3 versions; it holds 585.9 KiB in 1 versions\n");
    let refused = put(&client, "second", 600_000).await.expect_err("more than the quota");
    assert!(refused.is(403, "QuotaExceeded"), "{refused:?}");
    put(&client, "first", 400_000).await.expect("it shrinks");
    put(&client, "second", 600_000).await.expect("it fits now");
    put(&client, "third", 1).await.expect("the third");
    let refused = put(&client, "fourth", 1).await.expect_err("more versions than the quota");
    assert!(refused.is(403, "QuotaExceeded"), "{refused:?}");
    // It holds after a kill, and is exact.
    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    let refused = put(&client, "fourth", 1).await.expect_err("still more than the quota");
    assert!(refused.is(403, "QuotaExceeded"), "{refused:?}");
    client.delete_object().bucket(BUCKET).key("third").send().await.expect("deletes work");
    put(&client, "fourth", 1).await.expect("in the place of the third");
    assert!(done(&server, "bucket quota photos --none").contains("quota none"));
    put(&client, "fifth", 900_000).await.expect("no limit");
    let conflict = by_socket(&server, "bucket quota photos --none --bytes 1");
    assert!(!conflict.good && conflict.error.contains("cannot be used with"), "{conflict:?}");
}

#[tokio::test]
async fn lists_are_for_people_and_programs() {
    let (server, client) = start().await;
    server.client(&OTHER).create_bucket().bucket("videos").send().await.expect("create a bucket");
    keep_versions(&client).await;
    for _ in 0..2 {
        put(&client, "k", 2048).await.expect("put");
    }
    client.delete_object().bucket(BUCKET).key("k").send().await.expect("delete");
    let list = done(&server, "bucket list");
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert_eq!(lines[1][..8], ["photos", "0", "2", "1", "4.0", "KiB", "none", "enabled"], "{list}");
    assert_eq!(lines[2][0], "videos");
    let value = json(&done(&server, "bucket list --json"));
    assert_eq!(value["buckets"][0]["usage"]["bytes"], 4096);
    assert_eq!(value["buckets"][1]["owner"], OTHER.canonical_id);
    let value = json(&done(&server, "bucket show photos --json"));
    assert_eq!((&value["name"], &value["quota"]), (&"photos".into(), &serde_json::Value::Null));
    assert!(done(&server, "bucket show photos").contains("delete markers        1\n"));
    let unknown = by_socket(&server, "bucket show nobody");
    assert!(!unknown.good && unknown.error.contains("ringbolt bucket list"), "{unknown:?}");
    let clock = json(&done(&server, "clock show --json"));
    assert_eq!((&clock["is_believed"], &clock["anything_was_locked"]), (&true.into(), &false.into()));
    assert!(done(&server, "clock confirm").contains("it is believed"));
}

#[tokio::test]
async fn empty_takes_versions_markers_and_uploads() {
    let (server, client) = start().await;
    keep_versions(&client).await;
    for key in ["a", "b"] {
        put(&client, key, 10).await.expect("put");
        put(&client, key, 100_000).await.expect("put");
    }
    client.delete_object().bucket(BUCKET).key("a").send().await.expect("delete");
    client.create_multipart_upload().bucket(BUCKET).key("c").send().await.expect("begin an upload");
    let asked = by_socket(&server, "bucket empty photos");
    assert!(!asked.good && asked.error.contains("--yes"), "{asked:?}");
    let refused = by_socket(&server, "bucket delete photos");
    assert!(!refused.good && refused.error.contains("bucket delete --force"), "{refused:?}");
    let said = done(&server, "bucket empty photos --yes");
    assert_eq!(said, "photos: removed 4 versions, 1 delete markers and 1 uploads\n");
    let left = client.list_object_versions().bucket(BUCKET).send().await.expect("listed");
    assert!(left.versions().is_empty() && left.delete_markers().is_empty());
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.expect("listed");
    assert!(uploads.uploads().is_empty());
    put(&client, "again", 10).await.expect("the bucket is there");
    assert_eq!(done(&server, "bucket delete photos --force --yes"), "photos: deleted\n");
    let gone = put(&client, "again", 10).await.expect_err("the bucket is gone");
    assert!(gone.is(404, "NoSuchBucket"), "{gone:?}");
    let unknown = by_socket(&server, "bucket delete photos --force --yes");
    assert!(!unknown.good && unknown.error.contains("no bucket"), "{unknown:?}");
}

#[tokio::test]
async fn commands_over_tcp_need_the_root_key() {
    let (server, _) = start().await;
    let nowhere = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let line = format!("bucket list --admin {}", server.admin_endpoint());
    let listed = ringbolt(&line, nowhere.path(), Some(&MAIN));
    assert!(listed.good && listed.out.contains("photos"), "{listed:?}");
    let set = format!("bucket quota photos --bytes 1GiB --admin {}", server.admin_endpoint());
    let set = ringbolt(&set, nowhere.path(), Some(&MAIN));
    assert!(set.good && set.out.contains("quota 1.0 GiB"), "{set:?}");
    let none = ringbolt(&line, nowhere.path(), None);
    assert!(!none.good && none.error.contains("RINGBOLT_ACCESS_KEY"), "{none:?}");
    let other = ringbolt(&line, nowhere.path(), Some(&OTHER));
    assert!(!other.good && other.error.contains("not the root key"), "{other:?}");
    let wrong = ringbolt(&line, nowhere.path(), Some(&Account { secret_key: "wrong", ..MAIN }));
    assert!(!wrong.good && wrong.error.contains("signature"), "{wrong:?}");
    let region = ringbolt(&format!("{line} --region eu-1"), nowhere.path(), Some(&MAIN));
    assert!(!region.good && region.error.contains("us-east-1"), "{region:?}");
}

/// A signed request for an object whose name is that of a command was copied to the admin address.
#[tokio::test]
async fn a_signature_of_s3_is_none_of_a_command() {
    let (server, _) = start().await;
    let endpoint = server.admin_endpoint();
    let host = endpoint.trim_start_matches("http://");
    for mark in ["", "x-amz-ringbolt-command: 1\r\n"] {
        let path = "/ringbolt/v1/buckets/photos";
        let (payload, timestamp) = (sha256_hex(b""), timestamp_now());
        let signed = [("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &timestamp)];
        let headers = signed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let canonical =
            Canonical { method: "DELETE", path, headers, payload: &payload, timestamp: &timestamp };
        let (access_key, secret_key) = (MAIN.access_key.to_owned(), MAIN.secret_key.to_owned());
        let credentials = Credentials { access_key, secret_key, region: "us-east-1".to_owned() };
        let head = format!(
            "x-amz-content-sha256: {payload}\r\nx-amz-date: {timestamp}\r\n{mark}Authorization: {}\r\n",
            authorization(&credentials, &canonical)
        );
        let url = format!("{endpoint}{path}");
        let answer = raw_http::request_with("DELETE", &url, &head, b"").await.expect("an answer");
        assert_eq!(answer.status, 403, "{}", String::from_utf8_lossy(&answer.body));
        assert!(json(&String::from_utf8_lossy(&answer.body))["what_to_do"].is_string());
    }
    assert!(done(&server, "bucket list").contains("photos"));
}

#[tokio::test]
async fn without_a_server_they_say_what_to_do() {
    let (mut server, _) = start().await;
    let admin = server.admin_endpoint();
    assert!(server.stop().success());
    let said = by_socket(&server, "bucket list");
    assert!(!said.good && said.error.contains("ringbolt serve --data"), "{said:?}");
    let said = ringbolt(&format!("clock show --admin {admin}"), server.data_dir(), Some(&MAIN));
    assert!(!said.good && said.error.contains("--admin has the address"), "{said:?}");
    let said = ringbolt("clock show --admin https://example.org", server.data_dir(), Some(&MAIN));
    assert!(!said.good && said.error.contains("http://127.0.0.1:9001"), "{said:?}");
}
