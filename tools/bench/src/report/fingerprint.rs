//! This module describes the machine and its software, as far as they affect the figures.
//!
//! Invariants: it only reads, and at most a bounded part of any file. What is missing or cannot be
//! read is left out rather than guessed. Nothing that names a person, a host or a serial number is
//! included.

use super::shown_command;
use crate::result::Fingerprint;
use crate::spec::{Engine, Job, Plan};
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// At most this much is read of a file of /proc or /sys; everything of interest is near the
/// beginning.
const READ_BYTES_MAX: u64 = 1 << 20;

/// At most this many CPUs, and files of one job, are examined.
const LOOKED_AT_MAX: u32 = 1024;

/// Describes the machine as it is now. `arguments` is the command line, whose secrets are hidden.
pub fn gather(plan: &Plan, arguments: &[String]) -> Fingerprint {
    gather_under(Path::new("/"), plan, arguments)
}

/// Describes the machine with /proc and /sys under `root`.
fn gather_under(root: &Path, plan: &Plan, arguments: &[String]) -> Fingerprint {
    let mut found = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.push((name.to_owned(), value));
        }
    };
    add("ringbolt", Some(env!("CARGO_PKG_VERSION").to_owned()));
    add("command", Some(shown_command(arguments)));
    add("kernel", text(&root.join("proc/sys/kernel/osrelease")));
    add("architecture", Some(std::env::consts::ARCH.to_owned()));
    let cpu = text(&root.join("proc/cpuinfo")).unwrap_or_default();
    add("cpu", after(&cpu, "model name"));
    add("cpus", Some(cpu.lines().filter(|line| line.starts_with("processor")).count().to_string()));
    let flags = after(&cpu, "flags").unwrap_or_default();
    let is_guest = flags.split_whitespace().any(|flag| flag == "hypervisor");
    add("virtual machine", is_guest.then(|| "yes".to_owned()));
    add("governor", governors(root));
    add("turbo", turbo(root));
    let memory = text(&root.join("proc/meminfo")).unwrap_or_default();
    add("memory", after(&memory, "MemTotal"));
    for (name, value) in storage(root, plan) {
        add(&name, Some(value));
    }
    Fingerprint(found)
}

/// Reads the beginning of a file and trims it.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(READ_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Returns the value of the first line `name : value`.
fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// Lists the frequency governors of all CPUs, each kind once.
fn governors(root: &Path) -> Option<String> {
    let cpus = root.join("sys/devices/system/cpu");
    let governor = |cpu: u32| text(&cpus.join(format!("cpu{cpu}/cpufreq/scaling_governor")));
    let kinds: BTreeSet<String> = (0..LOOKED_AT_MAX)
        .take_while(|cpu| cpus.join(format!("cpu{cpu}")).exists())
        .filter_map(governor)
        .collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

fn turbo(root: &Path) -> Option<String> {
    let cpus = root.join("sys/devices/system/cpu");
    let state = |file: &str, on: &str| {
        text(&cpus.join(file)).map(|value| if value == on { "on".to_owned() } else { "off".to_owned() })
    };
    state("intel_pstate/no_turbo", "0").or_else(|| state("cpufreq/boost", "1"))
}

/// Lists the device and file system of each file of the plan, each once, and the endpoints.
fn storage(root: &Path, plan: &Plan) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mounts = text(&root.join("proc/self/mountinfo")).unwrap_or_default();
    for job in &plan.jobs {
        let entries = match job.engine {
            Engine::S3 => vec![("endpoint".to_owned(), job.objects.host.clone())],
            Engine::IoUring | Engine::Ringbolt => files_of(root, &mounts, job),
        };
        for entry in entries {
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

fn files_of(root: &Path, mounts: &str, job: &Job) -> Vec<(String, String)> {
    let paths = (0..job.threads.min(LOOKED_AT_MAX)).flat_map(|thread| job.paths(thread));
    paths.take(LOOKED_AT_MAX as usize).flat_map(|path| file(root, mounts, &path)).collect()
}

fn file(root: &Path, mounts: &str, path: &Path) -> Vec<(String, String)> {
    let Some(metadata) = nearest(path) else { return Vec::new() };
    let is_device = metadata.file_type().is_block_device();
    let number = device_number(if is_device { metadata.rdev() } else { metadata.dev() });
    let mut found = Vec::new();
    if !is_device && let Some(mount) = mount_of(mounts, &number) {
        found.push(("file system".to_owned(), mount));
    }
    found.extend(device(root, &number));
    found
}

/// Returns the metadata of the file, or of the nearest existing directory above it.
fn nearest(path: &Path) -> Option<Metadata> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|above| fs::metadata(above).ok())
}

/// Formats a device number as "major:minor", as /sys and mountinfo do.
fn device_number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// Describes the mount with this device, such as "ext4 (rw,relatime)".
fn mount_of(mounts: &str, number: &str) -> Option<String> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(number))?;
    let (before, after) = line.split_once(" - ")?;
    let options = before.split(' ').nth(5)?;
    Some(format!("{} ({options})", after.split(' ').next()?))
}

/// Lists what /sys says about a block device, or about the whole device of a partition.
fn device(root: &Path, number: &str) -> Vec<(String, String)> {
    let link = root.join("sys/dev/block").join(number);
    let Ok(place) = fs::canonicalize(&link) else { return Vec::new() };
    let whole: PathBuf = match place.join("partition").exists() {
        true => place.parent().map_or(place.clone(), Path::to_path_buf),
        false => place.clone(),
    };
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut found = vec![("device".to_owned(), name.clone())];
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.push((format!("{name} {what}"), value));
        }
    };
    add("model", text(&whole.join("device/model")));
    let sectors = text(&whole.join("size")).and_then(|sectors| sectors.parse::<u64>().ok());
    add(
        "size",
        sectors.map(|sectors| ringbolt_tool_common::number::size_both(sectors.saturating_mul(512)).0),
    );
    let queue = |file: &str| text(&whole.join("queue").join(file));
    add("scheduler", queue("scheduler").map(|all| chosen(&all)));
    let rotates = queue("rotational").map(|value| if value == "0" { "no" } else { "yes" }.to_owned());
    add("rotational", rotates);
    for (what, file) in QUEUE_SETTINGS {
        add(what, queue(file));
    }
    found
}

const QUEUE_SETTINGS: [(&str, &str); 6] = [
    ("queue depth", "nr_requests"),
    ("write cache", "write_cache"),
    ("logical block", "logical_block_size"),
    ("physical block", "physical_block_size"),
    ("read ahead KiB", "read_ahead_kb"),
    ("polling", "io_poll"),
];

/// Returns the chosen alternative: "none" of "[none] mq-deadline".
fn chosen(all: &str) -> String {
    let inside = all.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(inside, _)| inside);
    inside.unwrap_or(all).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        fs::write(path, content).expect("write it");
    }

    fn value<'a>(fingerprint: &'a Fingerprint, name: &str) -> Option<&'a str> {
        fingerprint.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The test builds a /proc and /sys around the device of its own directory.
    #[test]
    fn a_machine_is_described() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let number = device_number(fs::metadata(root).expect("it is there").dev());
        put(root, "proc/sys/kernel/osrelease", "6.9.1-test\n");
        put(
            root,
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Made Up 9000\nflags\t\t: fpu\nprocessor\t: 1\n",
        );
        put(root, "proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");
        put(root, "proc/self/mountinfo", &format!("1 2 {number} / / rw,relatime shared:1 - xfs /dev/z rw\n"));
        for cpu in 0..2 {
            put(root, &format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), "performance\n");
        }
        put(root, "sys/devices/pci/nvme9n1/queue/scheduler", "mq-deadline [none] bfq\n");
        put(root, "sys/devices/pci/nvme9n1/queue/nr_requests", "1023\n");
        put(root, "sys/devices/pci/nvme9n1/device/model", "Fast Drive \n");
        put(root, "sys/devices/pci/nvme9n1/size", "2097152\n");
        put(root, "sys/devices/pci/nvme9n1/nvme9n1p1/partition", "1\n");
        fs::create_dir_all(root.join("sys/dev/block")).expect("make it");
        let link = root.join("sys/dev/block").join(number);
        std::os::unix::fs::symlink("../../devices/pci/nvme9n1/nvme9n1p1", link).expect("link it");
        let mut plan = sample::run().plan;
        plan.jobs[0].files = vec![root.join("not/yet/made")];
        plan.jobs.truncate(1);
        let found = gather_under(root, &plan, &["bench".to_owned(), "--http_s3_key=secret".to_owned()]);
        let expected = [
            ("kernel", "6.9.1-test"),
            ("cpu", "Made Up 9000"),
            ("cpus", "2"),
            ("governor", "performance"),
            ("memory", "16384 kB"),
            ("file system", "xfs (rw,relatime)"),
            ("device", "nvme9n1"),
            ("nvme9n1 model", "Fast Drive"),
            ("nvme9n1 size", "1024MiB"),
            ("nvme9n1 scheduler", "none"),
            ("nvme9n1 queue depth", "1023"),
            ("command", "bench --http_s3_key=(hidden)"),
        ];
        for (name, wanted) in expected {
            assert_eq!(value(&found, name), Some(wanted), "{name} of {found:?}");
        }
        assert_eq!(value(&found, "virtual machine"), None);
    }

    #[test]
    fn a_machine_without_any_of_it_is_described_by_what_is_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let found = gather_under(directory.path(), &sample::run().plan, &[]);
        assert!(value(&found, "ringbolt").is_some());
        assert_eq!(value(&found, "kernel"), None);
        assert_eq!(value(&found, "governor"), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_memory() {
        let found = gather(&sample::run().plan, &[]);
        assert!(value(&found, "kernel").is_some(), "{found:?}");
        assert!(value(&found, "memory").is_some_and(|memory| memory.ends_with("kB")), "{found:?}");
    }
}
