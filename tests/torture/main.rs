//! These tests run `ringbolt torture` as users do: it succeeds on reliable drives, and detects a
//! planted loss.

use ringbolt_tests::binary;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("torture-").tempdir_in(binary::scratch_dir()).expect("a directory")
}

fn torture(directory: &Path, more: &[&str]) -> Output {
    torture_set(directory, &["drive"], more)
}

fn torture_set(directory: &Path, drives: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(binary::ringbolt());
    command.arg("torture").arg("--work").arg(directory);
    for drive in drives {
        command.arg("--drive").arg(directory.join(drive));
    }
    command.args(["--size", "256MiB", "--memory", "256MiB", "--writers", "4", "--keys", "20"]);
    command.args(["--kill-after-ms", "500", "--seed", "7"]).args(more);
    command.output().expect("run ringbolt torture")
}

fn text(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Writes a replacement of `ringbolt` that runs `plant` before its `n`th serve, with $drive and
/// $directory set.
fn planted(directory: &Path, plant: &str) -> PathBuf {
    let program = directory.join("planted");
    let (real, directory) = (binary::ringbolt().display(), directory.display());
    let script = format!(
        "#!/bin/sh\ndirectory='{directory}' drive='{directory}/drive'\nif [ \"$1\" = serve ]; then\n\
         n=$(($(cat \"$directory/starts\" 2>/dev/null || echo 0) + 1))\necho $n > \"$directory/starts\"\n\
         {plant}\nfi\nexec '{real}' \"$@\"\n"
    );
    fs::write(&program, script).expect("write the stand-in");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("make it a program");
    program
}

fn torture_planted(plant: &str) -> Output {
    torture_set_planted(&["drive"], "12", plant)
}

fn torture_set_planted(drives: &[&str], cycles: &str, plant: &str) -> Output {
    let directory = scratch();
    let program = planted(directory.path(), plant);
    let program = program.to_str().expect("a plain path");
    torture_set(directory.path(), drives, &["--cycles", cycles, "--program", program])
}

/// Returns the counts at the end of a run that loses nothing.
fn counts(output: &Output) -> Value {
    let said = text(output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(summary.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn a_bounded_run_loses_nothing() {
    let directory = scratch();
    let output = torture(directory.path(), &["--cycles", "4", "--json"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = String::from_utf8_lossy(&output.stdout);
    let summary = summary.lines().last().unwrap_or_default();
    assert!(summary.contains("\"cycles\":4"), "{said}");
    assert!(!summary.contains("\"puts\":0,") && !summary.contains("\"read_back\":0,"), "{said}");
    // How much is written depends on the machine; something is there to be listed.
    assert!(summary.contains("\"versions_listed\":"), "{said}");
    assert!(!summary.contains("\"versions_listed\":0,"), "{said}");
    let left: Vec<_> =
        fs::read_dir(directory.path()).expect("look").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["drive"], "the work directory is gone");
}

#[test]
fn a_drive_that_holds_something_is_refused() {
    let directory = scratch();
    let drive = directory.path().join("drive");
    fs::write(&drive, vec![7; 1 << 20]).expect("write a file");
    let output = torture(directory.path(), &["--cycles", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("--force"), "{}", text(&output));
    assert_eq!(fs::read(&drive).expect("read it"), vec![7; 1 << 20], "it is as it was");
}

/// The drive loses a second of writes, including its flushes.
#[test]
fn a_drive_that_goes_back_in_time_is_found_out() {
    let output = torture_planted(
        "copy() { dd if=\"$1\" of=\"$2\" bs=1M conv=notrunc status=none; }\n\
         if [ $n = 2 ]; then copy \"$drive\" \"$directory/old\"; fi\n\
         if [ $n = 6 ]; then copy \"$directory/old\" \"$drive\"; fi",
    );
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("LOST OR WRONG: ") && said.contains("expected"), "{said}");
}

#[test]
fn a_drive_that_does_not_open_any_more_is_a_loss() {
    let output = torture_planted(
        "if [ $n = 3 ]; then dd if=/dev/zero of=\"$drive\" bs=4096 count=256 conv=notrunc status=none; fi",
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("does not open the drive"), "{}", text(&output));
}

/// Each drive is away at least once, at the end. Whether it comes back in time to be killed meanwhile depends on
/// the machine.
#[test]
fn drives_of_three_are_taken_away_and_nothing_is_lost() {
    let directory = scratch();
    let output = torture_set(directory.path(), &["one", "two", "three"], &["--cycles", "4", "--json"]);
    let counts = counts(&output);
    assert_eq!((&counts["cycles"], &counts["drives_lost_max"]), (&4.into(), &1.into()), "{counts}");
    assert_eq!(counts["read_back_without"], 3, "{counts}");
    assert!(counts["drives_taken_away"].as_u64() >= Some(3), "{counts}");
    assert!(counts["drives_given_back"].as_u64() >= Some(3), "{counts}");
    assert!(counts["puts"].as_u64() > Some(0) && counts["read_back"].as_u64() > Some(0), "{counts}");
    let said = text(&output);
    assert!(said.contains("Seed 7"), "{said}");
}

#[test]
fn either_of_two_drives_has_everything_at_the_end() {
    let directory = scratch();
    let output = torture_set(directory.path(), &["one", "two"], &["--cycles", "4", "--json"]);
    let counts = counts(&output);
    assert_eq!((&counts["cycles"], &counts["read_back_without"]), (&4.into(), &2.into()), "{counts}");
    // None is absent from a start before the end, unless the server went on without it.
    let said = text(&output);
    assert!(
        counts["drives_failed"].as_u64() > Some(0) || said.contains("does not fail under the server"),
        "{said}"
    );
}

#[test]
fn a_set_without_redundancy_is_whole_always() {
    let directory = scratch();
    let more = ["--cycles", "2", "--redundancy", "none", "--json"];
    let counts = counts(&torture_set(directory.path(), &["one", "two"], &more));
    assert_eq!((&counts["cycles"], &counts["drives_lost_max"]), (&2.into(), &0.into()), "{counts}");
    assert_eq!(
        (&counts["drives_taken_away"], &counts["read_back_without"]),
        (&0.into(), &0.into()),
        "{counts}"
    );
}

/// The first drive loses what it holds just before it is to be enough alone.
#[test]
fn a_copy_that_is_not_there_is_found_out() {
    let output = torture_set_planted(
        &["one", "two"],
        "2",
        "case \"$*\" in *--without-drive*)\n\
         dd if=/dev/zero of=\"$directory/one\" bs=1M seek=1 count=254 conv=notrunc status=none;;\nesac",
    );
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("LOST"), "{said}");
}

#[test]
fn damage_of_one_copy_is_found_at_the_end() {
    let directory = scratch();
    let program = directory.path().join("damaging");
    let (real, place) = (binary::ringbolt().display(), directory.path().display());
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = check ]; then\ndd if=/dev/zero of='{place}/two' bs=1M seek=1 count=254 \
         conv=notrunc status=none\nfi\nexec '{real}' \"$@\"\n"
    );
    fs::write(&program, script).expect("write the stand-in");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("make it a program");
    let program = program.to_str().expect("a plain path");
    let output = torture_set(directory.path(), &["one", "two"], &["--cycles", "1", "--program", program]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DAMAGED: `ringbolt check --deep` finds"), "{said}");
}
