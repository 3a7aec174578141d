//! These tests check a mirror of two drives: what a client sees when a drive is lost, when it comes back
//! with what it knew, and when one of the copies is damaged.

use crate::check::{find, flip};
use crate::metrics::{LOOK_AGAIN, LOOKS_MAX, metrics, scrubbed, sum};
use crate::support::{assert_holds, delete, flags, get, list_all, make_bucket, put};
use aws_sdk_s3::Client;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use ringbolt_tool_common::process::without_settings;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const OBJECTS: u64 = 40;
/// The server says so of each piece of a copy that it wrote anew.
const MENDED: &str = "a damaged copy was written anew from another one";
/// A check says so of each piece of a copy that is damaged.
const DAMAGED: &str = "another one is whole";

/// This is a directory with two drives that were formatted together.
struct Pair {
    directory: TempDir,
    uuids: Vec<String>,
}

fn ringbolt(arguments: &[&str], drives: &[&Path]) -> (Option<i32>, String) {
    let mut command = Command::new(binary::ringbolt());
    without_settings(&mut command).args(arguments);
    for drive in drives {
        command.arg("--drive").arg(drive);
    }
    let Output { status, stdout, stderr } = command.output().expect("ringbolt runs");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

impl Pair {
    /// Formats two drives, and says nothing of redundancy.
    fn new() -> Self {
        let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
        let mut pair = Self { directory, uuids: Vec::new() };
        let drives = [0, 1].map(|number| pair.path(number));
        let (status, said) = ringbolt(
            &["format", "--size", "256MiB", "--shards", "4"],
            &drives.each_ref().map(PathBuf::as_path),
        );
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("redundancy mirror: every byte is on 2 drives, 1 may be lost"), "{said}");
        let uuids = said.lines().filter_map(|line| Some(line.split_once(" shards, drive ")?.1.to_owned()));
        pair.uuids = uuids.collect();
        assert_eq!(pair.uuids.len(), 2, "{said}");
        pair
    }

    fn path(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("drive-{number}"))
    }

    /// Returns flags of a server with these drives.
    fn served(&self, numbers: &[usize], further: &[&str]) -> &'static [&'static str] {
        let paths = numbers.iter().map(|number| self.path(*number).display().to_string());
        let drives: Vec<String> = paths.flat_map(|path| ["--drive".to_owned(), path]).collect();
        let all: Vec<&str> = drives.iter().map(String::as_str).chain(further.iter().copied()).collect();
        flags(&all)
    }

    fn start(&self, further: &[&str]) -> Server {
        Server::start(ServerOptions { flags: self.served(&[0, 1], further), ..ServerOptions::default() })
    }

    /// Reads every byte of both drives, which must be sound, and returns how many pieces of copies are
    /// damaged.
    fn damaged_pieces(&self) -> usize {
        let (status, said) = ringbolt(&["check", "--deep"], &[&self.path(0), &self.path(1)]);
        assert!(status == Some(0) && said.contains("no damage; all data was read"), "{said}");
        said.matches(DAMAGED).count()
    }
}

fn key(number: u64) -> String {
    format!("key/{number}")
}

/// Some objects are in the log, some in one slice, some in several.
fn content(number: u64) -> Content {
    let sizes = [1000, 100 << 10, 1000, 100 << 10, 1000, 100 << 10, 1000, 5 << 20];
    Content::new(number, sizes[number as usize % sizes.len()])
}

async fn put_all(client: &Client) {
    make_bucket(client).await;
    for number in 0..OBJECTS {
        put(client, &key(number), content(number)).await.expect("put");
    }
}

async fn assert_holds_all(client: &Client, objects: &[(u64, Content)]) {
    for (number, content) in objects {
        assert_holds(client, &key(*number), *content).await;
    }
    assert_eq!(list_all(client, 1000).await.len(), objects.len());
}

fn all() -> Vec<(u64, Content)> {
    (0..OBJECTS).map(|number| (number, content(number))).collect()
}

#[tokio::test]
async fn the_second_drive_is_lost_and_comes_back() {
    lose(1).await;
}

#[tokio::test]
async fn the_first_drive_is_lost_and_comes_back() {
    lose(0).await;
}

/// Loses a drive while the server is killed, goes on without it by the operator's word, and gives it back.
async fn lose(lost: usize) {
    let (pair, kept) = (Pair::new(), 1 - lost);
    let mut server = pair.start(&[]);
    put_all(&server.client(&MAIN)).await;
    server.kill();
    let away = pair.directory.path().join("away");
    std::fs::rename(pair.path(lost), &away).expect("take it away");

    server.set_flags(pair.served(&[kept], &[]));
    let (status, said) = server.start_second();
    let word = format!("--without-drive {}", pair.uuids[lost]);
    assert!(!status.success() && said.contains(&word), "{said}");
    assert!(
        said.contains(&format!("the set has 2 drives, 1 of them were given; missing: number [{lost}]")),
        "{said}"
    );
    let wrong = ["--without-drive", &pair.uuids[kept]];
    server.set_flags(pair.served(&[kept], &wrong));
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("is given, and said to be gone"), "{said}");

    server.set_flags(pair.served(&[kept], &["--without-drive", &pair.uuids[lost]]));
    server.start_again();
    let client = server.client(&MAIN);
    let mut objects = all();
    assert_holds_all(&client, &objects).await;
    for number in OBJECTS..OBJECTS + 8 {
        put(&client, &key(number), content(number)).await.expect("a new object");
        objects.push((number, content(number)));
    }
    // The lost drive has other contents of these, and objects that are gone.
    for (at, number) in [3, 6, 7].into_iter().enumerate() {
        let replaced = Content::new(1000 + number, content(number).size_bytes + at);
        put(&client, &key(number), replaced).await.expect("replace");
        objects[number as usize].1 = replaced;
    }
    for number in [1, 4, 15] {
        delete(&client, &key(number)).await.expect("delete");
    }
    objects.retain(|(number, _)| ![1, 4, 15].contains(number));
    assert!(server.stop().success());

    // The word was written down.
    server.set_flags(pair.served(&[kept], &[]));
    server.start_again();
    assert_holds_all(&server.client(&MAIN), &objects).await;
    server.kill();

    std::fs::rename(&away, pair.path(lost)).expect("give it back");
    server.set_flags(pair.served(&[lost], &[]));
    let (status, said) = server.start_second();
    let word = format!("--without-drive {}", pair.uuids[kept]);
    assert!(!status.success() && said.contains(&word), "it is old and does not know that: {said}");
    let set_aside = "this drive is out of the view of its set";
    assert!(!server.log().contains(set_aside));
    server.set_flags(pair.served(&[0, 1], &[]));
    server.start_again();
    let names_it =
        |line: &str| line.contains(set_aside) && line.contains(&pair.path(lost).display().to_string());
    assert!(server.log().lines().any(names_it));
    let client = server.client(&MAIN);
    assert_holds_all(&client, &objects).await;
    assert_eq!(get(&client, &key(4)).await.expect_err("it was deleted").status, 404);
    put(&client, &key(1), content(1)).await.expect("put");
    assert_holds(&client, &key(1), content(1)).await;
    assert!(server.stop().success());
}

/// Returns how many bytes are further copies, once the sums of all cores are of the same moment.
async fn copies_bytes(server: &Server) -> u64 {
    for _ in 0..LOOKS_MAX {
        let numbers = metrics(server).await;
        if sum(&numbers, "ringbolt_space_bytes") == numbers["ringbolt_capacity_bytes"] {
            return numbers["ringbolt_space_bytes{state=\"copies\"}"];
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the space never adds up: {:?}", metrics(server).await);
}

/// Overwrites what a drive has from `at` of an object's bytes on, and returns where that is.
fn overwrite(drive: &Path, content: Content, at: usize, length: usize) -> u64 {
    let place = find(drive, &content.bytes()[at..at + 40]);
    let file = OpenOptions::new().write(true).open(drive).expect("open the drive file");
    file.write_all_at(&vec![0xaa; length], place).expect("overwrite");
    file.sync_all().expect("flush");
    place
}

/// Returns whether a drive has these bytes of an object at a place.
fn has(drive: &Path, place: u64, content: Content, at: usize, length: usize) -> bool {
    let mut bytes = vec![0; length];
    let file = OpenOptions::new().read(true).open(drive).expect("open the drive file");
    file.read_exact_at(&mut bytes, place).expect("read");
    bytes == content.bytes()[at..at + length]
}

#[tokio::test]
async fn what_is_damaged_on_one_drive_is_read_from_the_other_and_mended() {
    let pair = Pair::new();
    let mut server = pair.start(&["--scrub-rate", "off"]);
    put_all(&server.client(&MAIN)).await;
    assert!(copies_bytes(&server).await > 30 << 20);
    assert!(server.stop().success());
    assert_eq!(pair.damaged_pieces(), 0);

    // An inline object, one in a slice, and one in two slices, on each of the drives.
    let places = [(0, 0, 500, 100), (1, 0, 70_000, 8), (7, 0, 1_000_000, 64 << 10)];
    let others = [(8, 1, 500, 100), (9, 1, 70_000, 8), (15, 1, 4_500_000, 64 << 10)];
    let damaged: Vec<_> = places.into_iter().chain(others).collect();
    let found = damaged
        .iter()
        .map(|(number, drive, at, length)| overwrite(&pair.path(*drive), content(*number), *at, *length));
    let found: Vec<u64> = found.collect();
    let before = pair.damaged_pieces();
    assert!(before >= damaged.len(), "{before}");

    server.start_again();
    let client = server.client(&MAIN);
    for _ in 0..2 {
        assert_holds_all(&client, &all()).await;
    }
    assert_eq!(metrics(&server).await["ringbolt_damaged_reads_total"], 0);
    assert!(server.stop().success());
    // Which copy of an object is read is the server's choice.
    let left = pair.damaged_pieces();
    assert_eq!(left < before, server.log().contains(MENDED), "{left} of {before}");

    server.set_flags(pair.served(&[0, 1], &["--scrub-rate", "1GiB"]));
    server.start_again();
    let numbers = scrubbed(&server, 4).await;
    assert_eq!(sum(&numbers, "ringbolt_scrub_findings"), 0, "{numbers:?}");
    assert_holds_all(&server.client(&MAIN), &all()).await;
    assert!(server.stop().success());
    assert!(server.log().contains(MENDED));
    assert_eq!(pair.damaged_pieces(), 0);
    for ((number, drive, at, length), place) in damaged.into_iter().zip(found) {
        assert!(has(&pair.path(drive), place, content(number), at, length), "{number} on drive {drive}");
    }
}

#[tokio::test]
async fn what_is_damaged_in_one_copy_of_the_log_that_a_start_reads_is_no_loss() {
    let pair = Pair::new();
    let mut server = pair.start(&["--scrub-rate", "off"]);
    put_all(&server.client(&MAIN)).await;
    // A killed server leaves its log to be read.
    server.kill();
    for (number, drive) in [(0, 0), (2, 1), (4, 0), (6, 1), (36, 0), (38, 1)] {
        let drive = pair.path(drive);
        flip(&drive, find(&drive, &content(number).bytes()[500..540]));
    }
    server.start_again();
    assert_holds_all(&server.client(&MAIN), &all()).await;
    server.kill();
    server.set_flags(pair.served(&[0, 1], &["--scrub-rate", "1GiB"]));
    server.start_again();
    assert_eq!(sum(&scrubbed(&server, 4).await, "ringbolt_scrub_findings"), 0);
    assert_holds_all(&server.client(&MAIN), &all()).await;
    assert!(server.stop().success());
    assert_eq!(pair.damaged_pieces(), 0);
}
