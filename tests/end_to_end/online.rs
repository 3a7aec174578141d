//! Drives that come back to a server that runs, and new ones that take a place there, while clients write.

use crate::drive_set::{assert_all, drive_flags, list, ringbolt, until_whole};
use crate::support::{flags, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn content(number: u64) -> Content {
    let sizes = [1000, 70_000, 1 << 20, 300_000, 5_000_000];
    Content::new(number, sizes[number as usize % sizes.len()])
}

/// Puts object after object until it is told to stop, none of which may fail. Returns how many there are.
async fn put_until(server: &Server, first: u64, stop: Arc<AtomicBool>) -> u64 {
    let client = server.client(&MAIN);
    let mut number = first;
    // The drives are small.
    while !stop.load(Relaxed) && number < first + 60 {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
        number += 1;
    }
    number
}

/// Runs a command while clients write, which may not notice. Returns what it said, and how many objects there are.
async fn meanwhile(server: &Server, stored: u64, arguments: &[&str]) -> (bool, String, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let ended = stop.clone();
    let command = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = ringbolt(&arguments);
        ended.store(true, Relaxed);
        outcome
    });
    let (stored, outcome) = tokio::join!(put_until(server, stored, stop), command);
    let (done, said) = outcome.expect("it ran");
    (done, said, stored)
}

#[tokio::test]
async fn drives_come_and_go_under_a_server_that_runs() {
    for (redundancy, count) in [("mirror", 3), ("2+2", 5)] {
        let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let drives: Vec<PathBuf> = (0..count).map(|number| path(&format!("d{number}"))).collect();
        let all: Vec<&Path> = drives.iter().map(PathBuf::as_path).collect();
        let format = ["format", "--size", "512MiB", "--redundancy", redundancy];
        let (done, said) = ringbolt(&[&format, drive_flags(&all).as_slice()].concat());
        assert!(done, "{said}");
        let mut server =
            Server::start(ServerOptions { flags: flags(&drive_flags(&all)), ..ServerOptions::default() });
        make_bucket(&server.client(&MAIN)).await;
        let data = server.data_dir().display().to_string();
        let drive = |arguments: &[&str]| ringbolt(&[&["drive"], arguments, &["--data", &data]].concat());

        let (done, said, stored) = meanwhile(&server, 0, &["drive", "offline", "1", "--data", &data]).await;
        assert!(done, "{said}");
        // It is pulled, and put back elsewhere.
        let moved = path("moved");
        std::fs::rename(&drives[1], &moved).expect("renamed");
        let (done, said) = drive(&["online", drives[1].to_str().expect("text")]);
        assert!(!done && said.contains("no such file or device"), "{said}");
        let online = ["drive", "online", moved.to_str().expect("text"), "--data", &data];
        let (done, said, stored) = meanwhile(&server, stored, &online).await;
        assert!(done && said.contains("is in, and is brought up to date"), "{said}");
        until_whole(&server, count).await;
        assert_eq!(list(&server)["drives"][1]["path"], json!(moved.display().to_string()));
        let (done, said) = drive(&["online", moved.to_str().expect("text")]);
        assert!(!done && said.contains("in the view already"), "{said}");

        // Another one is lost for good.
        let new = path("new");
        let replace = ["drive", "replace", "0", "--new", new.to_str().expect("text"), "--data", &data];
        let (done, said) = ringbolt(&replace);
        assert!(!done && said.contains("drive 0 is not lost"), "{said}");
        let (done, said) = drive(&["offline", "0"]);
        assert!(done, "{said}");
        std::fs::remove_file(&drives[0]).expect("removed");
        let (done, said, stored) = meanwhile(&server, stored, &replace).await;
        let number = count.to_string();
        assert!(done && said.contains(&format!("is drive {number}, in place of drive 0")), "{said}");
        until_whole(&server, count).await;
        assert_all(&server, stored, content).await;
        let listed = list(&server);
        assert_eq!(listed["bytes_by_losses_survived"][0]["bytes"], json!(0), "{listed}");
        assert_eq!(listed["drives"][0]["state"], json!("gone"), "{listed}");

        // One more is added, and gets its share of what is there.
        let added = path("added");
        let number = (count + 1).to_string();
        let add = ["drive", "add", added.to_str().expect("text"), "--size", "512MiB", "--data", &data];
        let (done, said, stored) = meanwhile(&server, stored, &add).await;
        assert!(done && said.contains(&format!("is drive {number};")), "{said}");
        let (done, said, stored) =
            meanwhile(&server, stored, &["drive", "spread", &number, "--data", &data]).await;
        match redundancy {
            "mirror" => assert!(!done && said.contains("the set has no stripes"), "{said}"),
            _ => assert!(done && said.contains("has its share of stripes"), "{said}"),
        }
        let (done, said) = drive(&["spread", &number, "--stop"]);
        assert!(!done && said.contains("no old stripes are moved to the drive"), "{said}");
        until_whole(&server, count + 1).await;
        assert_all(&server, stored, content).await;
        server.kill();

        let given: Vec<&Path> =
            [&new, &moved, &added].into_iter().chain(&drives[2..]).map(PathBuf::as_path).collect();
        server.set_flags(flags(&drive_flags(&given)));
        server.start_again();
        until_whole(&server, count + 1).await;
        assert_all(&server, stored, content).await;
        assert!(server.stop().success());
        let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&given).as_slice()].concat());
        assert!(
            done && said.contains("no damage; all data was read") && !said.contains("another one"),
            "{said}"
        );
    }
}
