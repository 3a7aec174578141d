//! This module finds and builds the `ringbolt` binary.
//!
//! Invariant: the tested binary is built from the same tree and with the same profile as the tests.
//! cargo gives a test of another package no path to it, hence the build here, which does nothing
//! when everything is fresh.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the path of the server's binary, which is built on the first call of this process.
pub fn ringbolt() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

/// Returns `target/tmp` of this build, which is on a disk and removed by `cargo clean`.
pub fn scratch_dir() -> PathBuf {
    let directory = profile_dir().with_file_name("tmp");
    std::fs::create_dir_all(&directory).expect("make target/tmp");
    directory
}

/// Returns `target/debug` or `target/release`: test programs run from its `deps`.
fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("path of the running test");
    let deps = program.parent().expect("a test program lies in a directory");
    deps.parent().expect("target/<profile>/deps has a parent").to_path_buf()
}

fn build() -> PathBuf {
    let profile_dir = profile_dir();
    let profile =
        profile_dir.file_name().and_then(|name| name.to_str()).expect("the profile's directory has a name");
    let target_dir = profile_dir.parent().expect("target/<profile> has a parent");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With these arguments, the features of shared dependencies are those of `cargo test
    // --workspace`, so that they are not built a second time: those of the whole workspace,
    // including what its tests depend on, because an example is among the targets.
    command.args(["build", "--quiet", "--workspace", "--bin", "ringbolt", "--example", "report_samples"]);
    command.arg("--target-dir").arg(target_dir);
    command.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().expect("run cargo to build the server");
    assert!(status.success(), "building the server failed: {status}");
    profile_dir.join("ringbolt")
}
