//! These tests take a drive away under a running server, as a block device whose end is suddenly before all
//! that lies on it, and give it back. They need loop devices; where a test may make none, it says so and ends.

use crate::drive_set::{assert_all, list, until_whole};
use crate::metrics::{metrics, sum};
use crate::support::{flags, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use ringbolt_tool_common::process::without_settings;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// The server says so when a drive is lost.
const LEFT: &str = "a drive failed and left the view";

/// This is a block device on a file.
struct LoopDevice {
    device: String,
    file: PathBuf,
}

fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    if status.success() { Ok(said) } else { Err(said) }
}

impl LoopDevice {
    fn new(file: PathBuf, size_bytes: u64) -> Result<Self, String> {
        let made = std::fs::File::create(&file).and_then(|made| made.set_len(size_bytes));
        made.map_err(|error| error.to_string())?;
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&file))?;
        Ok(Self { device: device.trim().to_owned(), file })
    }

    /// Makes the device as long as its file is now.
    fn resize(&self) {
        run(Command::new("losetup").args(["--set-capacity", &self.device])).expect("another size");
    }

    /// Ends the device behind its first MiB: every other access fails from now on.
    fn vanish(&self) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.file).expect("the file");
        file.set_len(MIB).expect("a shorter file");
        self.resize();
    }

    /// Puts back what the device once held.
    fn come_back_as(&self, old: &Path) {
        std::fs::copy(old, &self.file).expect("copy");
        self.resize();
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").args(["--detach", &self.device]));
    }
}

fn loop_devices(directory: &TempDir, count: usize) -> Option<Vec<LoopDevice>> {
    let make = |number| LoopDevice::new(directory.path().join(format!("file-{number}")), 256 * MIB);
    match (0..count).map(make).collect::<Result<Vec<_>, _>>() {
        Ok(devices) => Some(devices),
        Err(error) => {
            eprintln!("not tested, since there are no loop devices: {error}");
            None
        }
    }
}

fn content(number: u64) -> Content {
    let sizes = [1000, 100 << 10, 1000, 5 << 20];
    Content::new(number, sizes[number as usize % sizes.len()])
}

/// A drive of two or three is lost under the server while clients write. No request fails, and nothing that
/// was acknowledged is lost at any later start, also when the drive is back as it once was.
async fn lose(count: usize, lost: usize) {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let Some(devices) = loop_devices(&directory, count) else { return };
    let drives: Vec<&str> = devices.iter().flat_map(|device| ["--drive", device.device.as_str()]).collect();
    let mut format = Command::new(binary::ringbolt());
    without_settings(&mut format).args(["format", "--shards", "4"]).args(&drives);
    let said = run(&mut format).unwrap_or_else(|said| panic!("{said}"));
    let uuids: Vec<&str> =
        said.lines().filter_map(|line| Some(line.split_once(" shards, drive ")?.1)).collect();
    let mut server = Server::start(ServerOptions { flags: flags(&drives), ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..20 {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
    let old = directory.path().join("old");
    std::fs::copy(&devices[lost].file, &old).expect("copy");
    let writing = (20..60).map(|number| {
        let client = client.clone();
        async move { put(&client, &format!("key/{number}"), content(number)).await }
    });
    let (written, ()) = tokio::join!(futures_util::future::join_all(writing), async {
        tokio::task::yield_now().await;
        devices[lost].vanish();
    });
    written.into_iter().for_each(|put| drop(put.expect("a put while the drive is lost")));
    for number in 60..70 {
        put(&client, &format!("key/{number}"), content(number)).await.expect("a put without the drive");
    }
    assert_all(&server, 70, content).await;
    assert!(server.log().contains(LEFT), "{}", server.log());
    let numbers = metrics(&server).await;
    assert_eq!(numbers["ringbolt_drives{state=\"out\"}"], 1, "{numbers:?}");
    assert!(numbers["ringbolt_degraded_shards"] > 0);
    assert_eq!(sum(&numbers, "ringbolt_shard_writes_stopped"), 0);
    let listed = list(&server);
    let drive = &listed["drives"][lost];
    assert_eq!((&drive["state"], &drive["shards"]), (&json!("left"), &json!(0)), "{listed}");
    assert!(drive["reason"].as_str().is_some_and(|reason| reason.contains("failed")), "{listed}");
    assert_eq!(states(&listed).iter().filter(|state| *state == "in").count(), count - 1);
    // With two drives, all that there is has one copy. With three, some shards have two.
    assert!(bytes(&listed, 0) > 0 && (bytes(&listed, 1) > 0) == (count == 3), "{listed}");
    server.kill();

    // What has no superblock any more is no drive of the set.
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains(&devices[lost].device), "{said}");
    let left = devices.iter().enumerate().filter(|(number, _)| *number != lost);
    let left: Vec<&str> = left.flat_map(|(_, device)| ["--drive", device.device.as_str()]).collect();
    server.set_flags(flags(&left));
    server.start_again();
    assert_all(&server, 70, content).await;
    let listed = list(&server);
    assert_eq!(
        (&listed["drives"][lost]["state"], &listed["drives"][lost]["path"]),
        (&json!("absent"), &json!(null))
    );
    assert_eq!(listed["drives"][lost]["uuid"], json!(uuids[lost]));
    server.kill();
    devices[lost].come_back_as(&old);
    server.set_flags(flags(&drives));
    server.start_again();
    assert!(server.log().contains("it is brought up to date and comes back"), "{}", server.log());
    put(&server.client(&MAIN), "key/70", content(70)).await.expect("put");
    until_whole(&server, count as u64).await;
    let listed = list(&server);
    assert_eq!((states(&listed), bytes(&listed, 0)), (vec!["in".to_owned(); count], 0), "{listed}");
    assert!(bytes(&listed, 1) > 0 && listed["drives"][lost]["reason"].is_null(), "{listed}");
    assert_all(&server, 71, content).await;
    assert!(server.stop().success());

    // Both copies of everything are whole, and the drive has everything alone.
    let mut check = Command::new(binary::ringbolt());
    without_settings(&mut check).args(["check", "--deep"]).args(&drives);
    let said = run(&mut check).unwrap_or_else(|said| panic!("{said}"));
    assert!(
        said.contains("no damage; all data was read") && !said.contains("another one is whole"),
        "{said}"
    );
    let next = (lost + 1) % count;
    devices[next].vanish();
    let left = devices.iter().enumerate().filter(|(number, _)| *number != next);
    let mut left: Vec<&str> = left.flat_map(|(_, device)| ["--drive", device.device.as_str()]).collect();
    left.extend((count == 2).then_some(["--without-drive", uuids[next]]).into_iter().flatten());
    server.set_flags(flags(&left));
    server.start_again();
    assert_all(&server, 71, content).await;
    assert!(server.stop().success());
}

fn states(listed: &Value) -> Vec<String> {
    let drives = listed["drives"].as_array().expect("drives").iter();
    drives.map(|drive| drive["state"].as_str().expect("a state").to_owned()).collect()
}

/// Returns the bytes that survive the loss of so many drives and no more.
fn bytes(listed: &Value, losses: usize) -> u64 {
    listed["bytes_by_losses_survived"][losses]["bytes"].as_u64().expect("bytes")
}

#[tokio::test]
async fn the_first_of_two_drives_is_lost_under_the_server() {
    lose(2, 0).await;
}

#[tokio::test]
async fn the_last_of_three_drives_is_lost_under_the_server() {
    lose(3, 2).await;
}
