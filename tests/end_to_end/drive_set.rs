//! This module asks a server of several drives about them, and reads back what was stored under numbered keys.

use crate::metrics::{LOOK_AGAIN, LOOKS_MAX, metrics};
use crate::support::{assert_holds, list_all};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, binary};
use ringbolt_tool_common::process::without_settings;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs a command of ringbolt, and returns whether it succeeded and what it said.
pub fn ringbolt(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary::ringbolt());
    let output = without_settings(&mut command).args(arguments).output().expect("ringbolt runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Returns the flags that name drives.
pub fn drive_flags<'a>(drives: &[&'a Path]) -> Vec<&'a str> {
    drives.iter().flat_map(|path| ["--drive", path.to_str().expect("text")]).collect()
}

/// Returns what `ringbolt drive list` says.
pub fn list(server: &Server) -> Value {
    let data = server.data_dir().display().to_string();
    let (_, said) = ringbolt(&["drive", "list", "--json", "--data", &data]);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Waits until every drive of the set is whole.
pub async fn until_whole(server: &Server, count: u64) {
    for _ in 0..LOOKS_MAX {
        let numbers = metrics(server).await;
        if numbers["ringbolt_drives{state=\"in\"}"] == count && numbers["ringbolt_degraded_shards"] == 0 {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("not every drive is whole: {}", server.log());
}

/// Asserts that there are so many objects, and that each has its content.
pub async fn assert_all(server: &Server, count: u64, content: impl Fn(u64) -> Content) {
    let client = server.client(&MAIN);
    for number in 0..count {
        assert_holds(&client, &format!("key/{number}"), content(number)).await;
    }
    assert_eq!(list_all(&client, 1000).await.len() as u64, count);
}
