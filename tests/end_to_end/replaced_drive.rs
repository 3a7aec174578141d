//! This test replaces the drives of a mirror of two, one after the other: each is lost for good, and a new one, made
//! beside the running server, takes its place.

use crate::drive_set::{assert_all, drive_flags, list, ringbolt, until_whole};
use crate::metrics::metrics;
use crate::support::{flags, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const OBJECTS: u64 = 32;

fn content(number: u64) -> Content {
    let sizes = [1000, 100 << 10, 1000, 3 << 20];
    Content::new(number, sizes[number as usize % sizes.len()])
}

fn replace(left: &[&Path], new: &Path, further: &[&str]) -> (bool, String) {
    let new = ["--new", new.to_str().expect("text")];
    ringbolt(&[&["drive", "replace"], drive_flags(left).as_slice(), &new, further].concat())
}

fn of_each<'a>(listed: &'a Value, field: &str) -> Vec<&'a Value> {
    listed["drives"].as_array().expect("drives").iter().map(|drive| &drive[field]).collect()
}

async fn put_more(server: &Server, numbers: std::ops::Range<u64>) {
    let client = server.client(&MAIN);
    for number in numbers {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
}

/// Formats two drives and serves them with some objects.
async fn served(directory: &TempDir) -> (Server, [PathBuf; 2]) {
    let drives = ["a", "b"].map(|name| directory.path().join(name));
    let paths = drives.each_ref().map(PathBuf::as_path);
    let (done, said) = ringbolt(
        &[&["format", "--size", "256MiB", "--shards", "4"], drive_flags(&paths).as_slice()].concat(),
    );
    assert!(done, "{said}");
    let options = ServerOptions { flags: flags(&drive_flags(&paths)), ..ServerOptions::default() };
    let server = Server::start(options);
    make_bucket(&server.client(&MAIN)).await;
    put_more(&server, 0..OBJECTS).await;
    (server, drives)
}

#[tokio::test]
async fn both_drives_of_a_mirror_are_replaced_one_after_the_other() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let (mut server, [first, second]) = served(&directory).await;
    let new = directory.path().join("c");

    // It is made while the server has the others open, and a client writes.
    let client = server.client(&MAIN);
    let made = tokio::task::spawn_blocking({
        let (first, new) = (first.clone(), new.clone());
        move || replace(&[&first], &new, &[])
    });
    for number in OBJECTS..OBJECTS + 8 {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
    let (done, said) = made.await.expect("it ends");
    assert!(
        done && said.contains("drive 2 of the set") && said.contains("takes the place of drive 1"),
        "{said}"
    );
    server.kill();
    std::fs::rename(&second, directory.path().join("away")).expect("take it away");

    // That it was made is no word: the other one may have gone on alone.
    server.set_flags(flags(&drive_flags(&[&first, &new])));
    let (status, refused) = server.start_second();
    let (_, word) = refused.split_once("--without-drive ").unwrap_or_else(|| panic!("{refused}"));
    assert!(!status.success() && said.contains(&format!("--without-drive {}", &word[..36])), "{said}");
    let word = ["--without-drive".to_owned(), word[..36].to_owned()];
    let word = word.each_ref().map(String::as_str);
    server.set_flags(flags(&[drive_flags(&[&first, &new]), word.to_vec()].concat()));
    server.start_again();
    assert!(server.log().contains("this drive is new to its set"), "{}", server.log());
    assert_all(&server, OBJECTS + 8, content).await;
    put_more(&server, OBJECTS + 8..OBJECTS + 12).await;
    until_whole(&server, 2).await;
    let listed = list(&server);
    assert_eq!(of_each(&listed, "state"), [&json!("in"), &json!("gone"), &json!("in")], "{listed}");
    assert_eq!(of_each(&listed, "replaces"), [&Value::Null, &Value::Null, &json!(1)], "{listed}");
    assert_eq!(listed["bytes_by_losses_survived"][0]["bytes"], 0, "{listed}");
    let numbers = metrics(&server).await;
    assert_eq!(numbers["ringbolt_drives{state=\"out\"}"], 0, "what was replaced is not missed");
    let copies = [numbers["ringbolt_copies_mended_total"], numbers["ringbolt_copies_caught_up_total"]];
    assert!(copies[0] == 0 && copies[1] > 0, "{copies:?}");
    server.kill();

    // What was replaced is no part of the set any more.
    std::fs::rename(directory.path().join("away"), &second).expect("give it back");
    server.set_flags(flags(&drive_flags(&[&first, &new, &second])));
    server.start_again();
    assert_eq!(of_each(&list(&server), "state"), [&json!("in"), &json!("gone"), &json!("in")]);
    assert_all(&server, OBJECTS + 12, content).await;
    server.kill();

    // The other old drive is replaced, from what the new one knows, by what was replaced before.
    let newer = second;
    let (done, said) = replace(&[&new], &newer, &[]);
    assert!(!done && said.contains("already holds a Ringbolt drive"), "{said}");
    let (done, said) = replace(&[&new], &newer, &["--force"]);
    assert!(
        done && said.contains("drive 3 of the set") && said.contains("takes the place of drive 0"),
        "{said}"
    );
    std::fs::remove_file(&first).expect("lose it");
    let uuids: Vec<String> =
        of_each(&listed, "uuid").iter().map(|uuid| uuid.as_str().expect("a UUID").to_owned()).collect();
    let without = |drives: &[&Path], gone: usize| {
        let word = ["--without-drive", uuids[gone].as_str()];
        flags(&[drive_flags(drives), word.to_vec()].concat())
    };
    server.set_flags(without(&[&newer, &new], 0));
    server.start_again();
    until_whole(&server, 2).await;
    assert_all(&server, OBJECTS + 12, content).await;
    assert!(server.stop().success());

    let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&[&new, &newer]).as_slice()].concat());
    assert!(done && said.contains("no damage; all data was read") && !said.contains("another one"), "{said}");
    server.set_flags(without(&[&newer], 2));
    server.start_again();
    assert_all(&server, OBJECTS + 12, content).await;
    assert!(server.stop().success());
}

#[tokio::test]
async fn what_can_not_be_replaced_is_refused_and_nothing_has_changed() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let (mut server, [first, second]) = served(&directory).await;
    let new = directory.path().join("c");
    let both = [first.as_path(), second.as_path()];
    let refused = |left: &[&Path], new: &Path, further: &[&str], why: &str| {
        let (done, said) = replace(left, new, further);
        assert!(!done && said.contains(why), "{why}: {said}");
    };
    refused(&both, &new, &[], "every drive of the set is given");
    refused(&[&first, &first], &new, &[], "is given twice");
    refused(&[&first], &second, &["--force"], "in use by another Ringbolt process");
    refused(&[&first], &first, &["--force"], "is a drive of the set that is not lost");
    refused(&[&first], &new, &["--size", "16MiB"], "give a larger --size or drive");
    refused(
        &[&first],
        &new,
        &["--lost", "7d444840-9dc0-41d1-b245-5ffdce74fad2"],
        "no drive of the set has the UUID",
    );
    refused(&[&directory.path().join("none")], &new, &[], "there is no such file or device");
    assert!(!new.exists());
    // Two are made for one place: the second one that is used is refused.
    let other = directory.path().join("d");
    for made in [&new, &other] {
        let (done, said) = replace(&[&first], made, &[]);
        assert!(done, "{said}");
    }
    refused(&[&first], &new, &[], "already holds a Ringbolt drive");
    server.kill();
    server.set_flags(flags(&drive_flags(&[&first, &second, &new])));
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("take one of both out of the list"), "{said}");
    let (_, said) = replace(&[&first], &directory.path().join("e"), &[]);
    let (_, word) = said.split_once("--without-drive ").unwrap_or_else(|| panic!("{said}"));
    let word = ["--without-drive", &word[..36]];
    server.set_flags(flags(&[drive_flags(&[&first, &other]), word.to_vec()].concat()));
    server.start_again();
    until_whole(&server, 2).await;
    server.kill();
    server.set_flags(flags(&drive_flags(&[&first, &other, &new])));
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("a place in its set that it can not have"), "{said}");
}
