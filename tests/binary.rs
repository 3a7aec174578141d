//! Finding and building the `ringbolt` binary.
//!
//! Invariant: the binary tested is built from the tree the tests are built from, with the same profile. A test of
//! another package gets no path to it from cargo, hence the build here; it does nothing when all is fresh.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of the server's binary, built on the first call of this process.
pub fn ringbolt() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

/// `target/tmp` of this build: on a disk, and cleaned by `cargo clean`.
pub fn scratch_dir() -> PathBuf {
    let directory = profile_dir().with_file_name("tmp");
    std::fs::create_dir_all(&directory).expect("make target/tmp");
    directory
}

/// `target/debug` or `target/release`: test programs run from its `deps`.
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
    // The features of shared dependencies are then those of `cargo test --workspace`, so that they are not built a
    // second time: of the whole workspace, and, since an example is among it, with what its tests depend on.
    command.args(["build", "--quiet", "--workspace", "--bin", "ringbolt", "--example", "report_samples"]);
    command.arg("--target-dir").arg(target_dir);
    command.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().expect("run cargo to build the server");
    assert!(status.success(), "building the server failed: {status}");
    profile_dir.join("ringbolt")
}
