//! This test serves stripes over six drives: two are lost, come back, one is lost for good and replaced, and whatever
//! is stored is read all the while.

use crate::drive_set::{assert_all, drive_flags, list, ringbolt, until_whole};
use crate::metrics::metrics;
use crate::support::{flags, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use serde_json::json;
use std::path::{Path, PathBuf};

const OBJECTS: u64 = 24;

fn content(number: u64) -> Content {
    let sizes = [1000, 70_000, 1 << 20, 300_000, 5_000_000, 20 << 20];
    Content::new(number, sizes[number as usize % sizes.len()])
}

async fn put_more(server: &Server, numbers: std::ops::Range<u64>) {
    let client = server.client(&MAIN);
    for number in numbers {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
}

fn serve_with(server: &mut Server, drives: &[&Path]) {
    server.set_flags(flags(&drive_flags(drives)));
    server.start_again();
}

#[tokio::test]
async fn stripes_over_six_drives_survive_any_two() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let drives: Vec<PathBuf> = (0..6).map(|number| directory.path().join(format!("d{number}"))).collect();
    let all: Vec<&Path> = drives.iter().map(PathBuf::as_path).collect();
    let without = |lost: &[usize]| -> Vec<&Path> {
        all.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, path)| *path).collect()
    };
    let format = ["format", "--size", "256MiB", "--redundancy", "4+2"];
    let (done, said) = ringbolt(&[&format, drive_flags(&all[..5]).as_slice()].concat());
    assert!(!done && said.contains("4+2 needs a drive for each member, 5 were given"), "{said}");
    let (done, said) = ringbolt(&[&format, drive_flags(&all).as_slice()].concat());
    assert!(done && said.contains("striped over 4 drives with parity on 2 more"), "{said}");
    let options = ServerOptions { flags: flags(&drive_flags(&all)), ..ServerOptions::default() };
    let mut server = Server::start(options);
    make_bucket(&server.client(&MAIN)).await;
    put_more(&server, 0..OBJECTS).await;
    assert_all(&server, OBJECTS, content).await;
    assert_eq!(metrics(&server).await["ringbolt_reads_decoded_total"], 0);
    server.kill();

    // Two are gone: everything is read, and with one of them more is stored.
    serve_with(&mut server, &without(&[1, 4]));
    assert_all(&server, OBJECTS, content).await;
    assert!(metrics(&server).await["ringbolt_reads_decoded_total"] > 0, "parity stands in");
    server.kill();
    serve_with(&mut server, &without(&[4]));
    put_more(&server, OBJECTS..OBJECTS + 12).await;
    assert_all(&server, OBJECTS + 12, content).await;
    server.kill();

    // Both are back, and have everything when they are whole.
    serve_with(&mut server, &all);
    until_whole(&server, 6).await;
    assert!(server.stop().success());
    let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&all).as_slice()].concat());
    assert!(done && said.contains("no damage; all data was read") && !said.contains("another one"), "{said}");
    serve_with(&mut server, &without(&[0, 5]));
    assert_all(&server, OBJECTS + 12, content).await;
    server.kill();

    // One is lost for good, and another one takes its place.
    let new = directory.path().join("new");
    let left = drive_flags(&all[1..]);
    let to = ["drive", "replace", "--new", new.to_str().expect("text")];
    let (done, said) = ringbolt(&[&to, left.as_slice()].concat());
    assert!(done && said.contains("takes the place of drive 0"), "{said}");
    let given = [&all[1..], &[new.as_path()]].concat();
    serve_with(&mut server, &given);
    put_more(&server, OBJECTS + 12..OBJECTS + 18).await;
    until_whole(&server, 6).await;
    assert_eq!(list(&server)["bytes_by_losses_survived"][0]["bytes"], json!(0));
    assert!(server.stop().success());
    let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&given).as_slice()].concat());
    assert!(done && said.contains("no damage; all data was read") && !said.contains("another one"), "{said}");
    serve_with(&mut server, &given[2..]);
    assert_all(&server, OBJECTS + 18, content).await;
    assert!(server.stop().success());
}
