//! These tests run `ringbolt check` on a real drive file: its exit statuses, its repair, and the
//! server's output before and after.

use crate::support::{assert_holds, get, list_all, make_bucket, put};
use ringbolt_tests::binary::ringbolt;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DRIVE: &str = "drive0";

fn options() -> ServerOptions {
    ServerOptions { size: "256MiB", shards: "1", cores: Some("0"), ..ServerOptions::default() }
}

fn check(drive: &Path, flags: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } =
        Command::new(ringbolt()).arg("check").arg("--drive").arg(drive).args(flags).output().expect("check");
    let said = [stdout, stderr].concat();
    (status.code().expect("a status"), String::from_utf8_lossy(&said).into_owned())
}

/// Returns the position of `pattern` in the file.
pub fn find(drive: &Path, pattern: &[u8]) -> u64 {
    let bytes = std::fs::read(drive).expect("read the drive file");
    bytes.windows(pattern.len()).position(|window| window == pattern).expect("it is on the drive") as u64
}

pub fn flip(drive: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(drive).expect("open the drive file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read a byte");
    file.write_all_at(&[byte[0] ^ 0x10], offset).expect("write a byte");
    file.sync_all().expect("flush");
}

fn content(number: u64) -> Content {
    // Some objects are inline, others in slices.
    Content::new(number, if number.is_multiple_of(3) { 300_000 } else { 3000 })
}

/// Returns a server with ten objects, killed so that its log has a tail, and its drive.
async fn prepared() -> (Server, PathBuf) {
    let mut server = Server::start(options());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..10 {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
    server.kill();
    let drive = server.data_dir().join(DRIVE);
    (server, drive)
}

#[tokio::test]
async fn a_sound_drive_is_clean_and_one_in_use_can_not_be_checked() {
    let (mut server, drive) = prepared().await;
    let (status, said) = check(&drive, &["--deep"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("10 objects") && said.contains("no damage"), "{said}");
    server.start_again();
    let (status, said) = check(&drive, &[]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("in use by another Ringbolt process"), "{said}");
    let (status, said) = check(&drive, &["--json"]);
    assert!(status == 2 && said.contains("\"status\": 2"), "{said}");
    let (status, _) = check(Path::new("no-such-drive"), &[]);
    assert_eq!(status, 2);
}

#[tokio::test]
async fn damaged_objects_are_found_named_and_left_out_when_loss_is_accepted() {
    let (mut server, drive) = prepared().await;
    flip(&drive, find(&drive, &content(3).bytes()[200_000..200_040]));
    let (status, said) = check(&drive, &[]);
    assert_eq!(status, 0, "only a deep check reads large objects: {said}");
    let (status, said) = check(&drive, &["--deep"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("bucket/key/3") && said.contains("slice data"), "{said}");
    let (status, said) = check(&drive, &["--deep", "--repair", "--json"]);
    assert!(status == 1 && said.contains("\"repair_with_loss\": 1"), "{said}");

    server.start_again();
    let client = server.client(&MAIN);
    // The head of the response is sent before the damage is detected.
    let refused = get(&client, "key/3").await.expect_err("damaged bytes are not served");
    assert!(refused.status == 500 || refused.code == "BodyBrokeOff", "{refused:?}");
    assert!(server.stop().success());

    let (status, said) = check(&drive, &["--deep", "--repair", "--accept-loss"]);
    assert_eq!(status, 0, "{said}");
    let (status, said) = check(&drive, &["--deep"]);
    assert_eq!(status, 0, "{said}");
    server.start_again();
    let client = server.client(&MAIN);
    assert_eq!(get(&client, "key/3").await.expect_err("it is gone").status, 404);
    for number in (0..10).filter(|number| *number != 3) {
        assert_holds(&client, &format!("key/{number}"), content(number)).await;
    }
    put(&client, "key/3", content(3)).await.expect("it can be stored again");
    assert_eq!(list_all(&client, 1000).await.len(), 10);
}

#[tokio::test]
async fn a_drive_that_a_server_refuses_opens_after_a_repair() {
    let (mut server, drive) = prepared().await;
    // The damage is in the batch of one of the first objects: later batches show that it was
    // durable.
    flip(&drive, find(&drive, &content(1).bytes()[1000..1040]));
    let (status, said) = server.start_second();
    assert!(!status.success(), "{said}");
    assert!(said.contains("but was durable") && said.contains("ringbolt check"), "{said}");
    // A superblock copy is damaged too: the repair without loss does not mend everything.
    flip(&drive, 64 << 10 | 700);
    let (status, said) = check(&drive, &["--repair"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("superblocks of 1 drives written anew") && said.contains("key/1"), "{said}");
    let (status, said) = check(&drive, &["--repair", "--accept-loss"]);
    assert_eq!(status, 0, "{said}");
    server.start_again();
    let client = server.client(&MAIN);
    for number in (0..10).filter(|number| *number != 1) {
        assert_holds(&client, &format!("key/{number}"), content(number)).await;
    }
    assert_eq!(get(&client, "key/1").await.expect_err("it is lost").status, 404);
}
