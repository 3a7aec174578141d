//! These tests check what clients see of a drive that does not return what was stored: an error or
//! a body that breaks off, only for damaged objects, and never wrong bytes.

use crate::check::{find, flip};
use crate::support::{BUCKET, Refusal, assert_holds, get, get_range, list_all, make_bucket, put};
use aws_sdk_s3::operation::RequestId;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The objects are in the log, in one slice, and in three.
const SIZES: [usize; 3] = [3_000, 300_000, 9_000_000];
const PIECE: usize = 64 << 10;
const BLOCK: usize = 4096;

fn key(number: usize) -> String {
    format!("key/{number}")
}

fn content(number: usize) -> Content {
    Content::new(number as u64, SIZES[number % SIZES.len()])
}

/// Returns a server with nine objects that was stopped, so that a checkpoint contains all of them,
/// and its drive.
async fn stopped() -> (Server, PathBuf) {
    stopped_with(&["--scrub-rate", "off"]).await
}

async fn stopped_with(flags: &'static [&'static str]) -> (Server, PathBuf) {
    let options = ServerOptions { size: "256MiB", shards: "2", flags, ..Default::default() };
    let mut server = Server::start(options);
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..9 {
        put(&client, &key(number), content(number)).await.expect("put");
    }
    assert!(server.stop().success());
    let drive = server.data_dir().join("drive0");
    (server, drive)
}

fn is_error(refusal: &Refusal) -> bool {
    refusal.is(500, "InternalError") || refusal.code == "BodyBrokeOff"
}

#[tokio::test]
async fn damaged_objects_are_errors_and_all_others_are_served() {
    let (mut server, drive) = stopped().await;
    // The places are an inline object, the fourth piece of a slice, and the second slice of three.
    let places = [(0, 1_000), (1, 3 * PIECE + 500), (2, 5_000_000)];
    for (number, at) in places {
        flip(&drive, find(&drive, &content(number).bytes()[at..at + 40]));
    }
    server.start_again();
    let client = server.client(&MAIN);
    for (number, _) in places {
        let refused = get(&client, &key(number)).await.expect_err("damaged bytes are not served");
        assert!(is_error(&refused), "{number}: {refused:?}");
    }
    assert!(
        get(&client, &key(0)).await.expect_err("damaged").is(500, "InternalError"),
        "nothing was sent yet"
    );
    for number in 3..9 {
        assert_holds(&client, &key(number), content(number)).await;
    }
    // The part of an object that is not damaged can be read.
    let whole = content(1).bytes();
    let before =
        get_range(&client, &key(1), &format!("bytes=0-{}", 3 * PIECE - 1)).await.expect("the pieces before");
    assert!(before == whole[..3 * PIECE]);
    let behind =
        get_range(&client, &key(1), &format!("bytes={}-", 4 * PIECE)).await.expect("the pieces behind");
    assert!(behind == whole[4 * PIECE..]);
    let within = get_range(&client, &key(1), &format!("bytes={}-{}", 3 * PIECE, 3 * PIECE + 9)).await;
    assert!(is_error(&within.expect_err("ten bytes of the damaged piece")));
    // The index is not damaged: all objects are listed, and can be replaced and deleted.
    assert_eq!(list_all(&client, 1000).await.len(), 9);
    for (number, _) in places {
        put(&client, &key(number), content(number)).await.expect("replaced");
        assert_holds(&client, &key(number), content(number)).await;
    }
    client.delete_object().bucket(BUCKET).key(key(3)).send().await.expect("deleted");
    assert!(server.stop().success());
}

/// The errors that were logged inside the span of this request, a line of JSON each.
fn errors_of_request(server: &Server, id: &str) -> Vec<String> {
    let span = format!("\"span\":{{\"request_id\":\"{id}\",\"name\":\"request\"}}");
    let of_request = |line: &&str| line.contains(&span) && line.contains("\"level\":\"ERROR\"");
    server.log().lines().filter(of_request).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_logged_of_a_damaged_object_names_the_request_that_met_it() {
    let (mut server, drive) = stopped_with(&["--scrub-rate", "off", "--log-format", "json"]).await;
    for (number, at) in [(0, 1_000), (2, 5_000_000)] {
        flip(&drive, find(&drive, &content(number).bytes()[at..at + 40]));
    }
    server.start_again();
    let client = server.client(&MAIN);
    let refused = client.get_object().bucket(BUCKET).key(key(0)).send().await.expect_err("it is damaged");
    let id = refused.request_id().expect("an answer with an id");
    let errors = errors_of_request(&server, id);
    let one = errors.len() == 1 && errors[0].contains("stored data could not be read");
    assert!(one, "{errors:?} in {}", server.log());
    // The same of a body that breaks off, long after the head of the answer was sent.
    let answer = client.get_object().bucket(BUCKET).key(key(2)).send().await.expect("its beginning is whole");
    let id = answer.request_id().expect("an answer with an id").to_owned();
    answer.body.collect().await.expect_err("its second slice is damaged");
    let errors = errors_of_request(&server, &id);
    let told = errors.iter().any(|line| line.contains("reading an object failed in the middle of its body"));
    assert!(told, "{errors:?} in {}", server.log());
    // Other requests have spans of their own, or none.
    let whole = client.get_object().bucket(BUCKET).key(key(3)).send().await.expect("it is not damaged");
    assert_eq!(errors_of_request(&server, whole.request_id().expect("an id")), [""; 0]);
}

#[tokio::test]
async fn an_older_state_of_a_block_is_not_taken_for_the_newer() {
    let (mut server, drive) = stopped().await;
    let file = OpenOptions::new().read(true).write(true).open(&drive).expect("open the drive");
    let block_at = |offset| {
        let mut block = vec![0; BLOCK];
        file.read_exact_at(&mut block, offset).expect("read a block");
        block
    };
    let at = find(&drive, &content(1).bytes()[100..140]) / BLOCK as u64 * BLOCK as u64;
    let old = block_at(at);
    server.start_again();
    let client = server.client(&MAIN);
    // Another object uses the same slices again once nothing needs them.
    client.delete_object().bucket(BUCKET).key(key(1)).send().await.expect("deleted");
    assert!(server.stop().success());
    server.start_again();
    let client = server.client(&MAIN);
    let mut number = 100;
    let again = loop {
        let content = Content::new(number, SIZES[1]);
        put(&client, &key(number as usize), content).await.expect("put");
        if block_at(at) != old {
            break (key(number as usize), content);
        }
        number += 1;
        assert!(number < 140, "the freed slices are never used again");
    };
    assert!(server.stop().success());
    // The block of the piece gets an earlier content: it is intact, but of another object.
    file.write_all_at(&old, at).expect("write a block");
    file.sync_all().expect("flush");
    server.start_again();
    let client = server.client(&MAIN);
    let refused = get(&client, &again.0).await.expect_err("an old block is damage");
    assert!(is_error(&refused), "{refused:?}");
    assert_holds(&client, &key(4), content(4)).await;
}

#[tokio::test]
async fn a_drive_without_two_superblocks_that_agree_is_refused_by_name() {
    let (mut server, drive) = stopped().await;
    for copy in 0..3 {
        flip(&drive, copy * (64 << 10) + 100 + copy);
    }
    let (status, said) = server.start_second();
    assert!(!status.success(), "{said}");
    assert!(said.contains("superblock") && said.contains("drive0"), "{said}");
    for copy in 0..3 {
        flip(&drive, copy * (64 << 10) + 100 + copy);
    }
    server.start_again();
    assert_holds(&server.client(&MAIN), &key(4), content(4)).await;
}
