//! These tests check servers of several drives: how the drives are found, known again whatever they are
//! called, and missed.

use crate::support::{flags, get, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use ringbolt_tool_common::process::without_settings;
use std::path::Path;
use std::process::Command;

fn format(drives: &[&Path]) {
    let mut command = Command::new(binary::ringbolt());
    without_settings(&mut command).args(["format", "--size", "256MiB", "--shards", "4"]);
    for drive in drives {
        command.arg("--drive").arg(drive);
    }
    command.args(["--redundancy", "none"]);
    let output = command.output().expect("ringbolt runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_drives_of_a_directory_are_found_whatever_they_are_called() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let rename = |from: &str, to: &str| std::fs::rename(at(from), at(to)).expect("rename");
    format(&[&at("one"), &at("two")]);
    format(&[&at("foreign")]);
    let elsewhere = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let away = |name: &str| elsewhere.path().join(name);
    std::fs::rename(at("foreign"), away("foreign")).expect("take it away");
    std::fs::write(at("notes.txt"), "which drive is in which slot").expect("write");
    let flags = flags(&["--drive-set", &directory.path().display().to_string()]);
    let mut server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = |number: u64| Content::new(number, 1000);
    for number in 0..16 {
        put(&client, &format!("key-{number}"), content(number)).await.expect("put");
    }
    server.kill();
    rename("one", "other");
    rename("two", "one");
    server.start_again();
    let client = server.client(&MAIN);
    for number in 0..16 {
        let read = get(&client, &format!("key-{number}")).await.expect("get");
        assert_eq!(content(number).difference(&read), None, "key-{number}");
    }
    assert!(server.stop().success());
    rename("other", "two.taken");
    std::fs::rename(at("two.taken"), away("two")).expect("take it away");
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("the set has 2 drives, 1 were given"), "{said}");
    std::fs::rename(away("foreign"), at("foreign")).expect("put it there");
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("belongs to another set"), "{said}");
    for name in ["one", "foreign"] {
        std::fs::remove_file(at(name)).expect("remove");
    }
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("no drive is at --drive-set"), "{said}");
}
