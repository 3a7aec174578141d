//! These tests run `ringbolt torture` as users do: it succeeds on a reliable drive, and detects a
//! planted loss.

use ringbolt_tests::binary;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("torture-").tempdir_in(binary::scratch_dir()).expect("a directory")
}

fn torture(directory: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary::ringbolt());
    command.arg("torture").arg("--drive").arg(directory.join("drive")).arg("--work").arg(directory);
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
    let directory = scratch();
    let program = planted(directory.path(), plant);
    torture(directory.path(), &["--cycles", "12", "--program", program.to_str().expect("a plain path")])
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
