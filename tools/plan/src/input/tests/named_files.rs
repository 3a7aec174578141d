use super::*;
use crate::scan::collector::{Collector, Listed};
use ringbolt_bench::profile::schema;
use ringbolt_bench::profile::schema::{Drive, DriveProfile, Flush, Latency, Rate, SustainedWrite};
use tempfile::TempDir;

fn rate(random: bool, block_bytes: u64, read_percent: u32, iops: f64) -> Rate {
    Rate {
        random,
        block_bytes,
        depth: 8,
        read_percent,
        iops,
        bytes_per_s: iops * block_bytes as f64,
        read_latency: None,
        write_latency: None,
        cpu_us_per_operation: 1.0,
        seconds: 1.0,
    }
}

fn profile() -> DriveProfile {
    let latency = |p50_us| Latency { p50_us, p99_us: 2.0 * p50_us };
    DriveProfile {
        schema: schema::SCHEMA.into(),
        version: schema::VERSION,
        created_unix_ms: 1,
        drive: Drive {
            path: "/dev/drive".into(),
            kind: "block_device".into(),
            size_bytes: 7_680_000_000_000,
            tested_bytes: 1 << 40,
        },
        fingerprint: Default::default(),
        rates: vec![
            rate(true, 4096, 100, 100_000.0),
            rate(true, 4096, 100, 300_000.0),
            rate(true, 16_384, 100, 900_000.0),
            rate(true, 4096, 70, 700_000.0),
            rate(true, 4096, 0, 50_000.0),
            rate(true, 4096, 0, 40_000.0),
            rate(false, 1 << 20, 100, 3_000.0),
            rate(false, 1 << 20, 0, 2_000.0),
        ],
        latency_at_load: Vec::new(),
        flush: Some(Flush {
            block_bytes: 4096,
            write: latency(10.0),
            fdatasync: latency(20.0),
            write_fdatasync_iops: 1.0,
            dsync_write: latency(20.0),
            dsync_write_iops: 1.0,
        }),
        sustained_write: Some(SustainedWrite {
            block_bytes: 1 << 20,
            depth: 8,
            first_bytes_per_s: 2e9,
            settled_bytes_per_s: 1e9,
            settled: true,
            written_bytes: 1,
            window_s: 1.0,
            windows_bytes_per_s: vec![1e9],
        }),
        left_out: Vec::new(),
    }
}

/// Writes the template to a directory of its own, without the four figures by hand.
fn in_folder(profile: &DriveProfile) -> (TempDir, Document, Document) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("drive.json"), profile.to_json()).unwrap();
    let (mut workload, mut hardware) = documents();
    workload.name = folder.path().join(&workload.name);
    hardware.name = folder.path().join(&hardware.name);
    let by_hand = ["read_iops", "write_iops", "read_bandwidth", "write_bandwidth", "speed_source"];
    for name in by_hand {
        hardware.text = hardware.text.replace(&format!("\n{name} = "), &format!("\n# {name} = "));
    }
    hardware.text = hardware.text.replace("# profile = ", "profile = ");
    (folder, workload, hardware)
}

#[test]
fn speed_is_that_of_the_profile() {
    let (_folder, workload, hardware) = in_folder(&profile());
    let input = parse(&workload, &hardware, &[], Path::new("/nowhere"), NOW).unwrap();
    let speed = &input.hardware.drives.speed;
    // Durable writes take twice as long as plain ones.
    assert_eq!((speed.read_iops, speed.write_iops), (300_000.0, 25_000.0));
    assert_eq!((speed.read_bytes_per_s, speed.write_bytes_per_s), (3_000.0 * 1_048_576.0, 1e9));
    assert!(speed.source.contains("drive.json of /dev/drive"), "{}", speed.source);
    assert_eq!(speed.profile.as_deref(), Some(&profile()));
    assert_eq!(input.notes, [] as [String; 0]);
}

#[test]
fn a_figure_by_hand_stands_in_place_of_the_measured_one() {
    let (_folder, workload, hardware) = in_folder(&profile());
    let set = overrides(&["drives.write_iops=7000"]);
    let speed = parse(&workload, &hardware, &set, Path::new(""), NOW).unwrap().hardware.drives.speed;
    assert_eq!((speed.read_iops, speed.write_iops), (300_000.0, 7_000.0));
    assert!(speed.source.contains("drives.write_iops given by hand"), "{}", speed.source);
}

/// The example has all four figures: a profile that is added overrides them.
#[test]
fn a_profile_wins_over_figures_of_the_file() {
    let (folder, workload, _) = in_folder(&profile());
    let (_, mut hardware) = documents();
    hardware.name = folder.path().join(&hardware.name);
    hardware.text = hardware.text.replace("# profile = ", "profile = ");
    let input = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap();
    let speed = &input.hardware.drives.speed;
    assert_eq!((speed.read_iops, speed.write_bytes_per_s), (300_000.0, 1e9));
    assert!(!speed.source.contains("by hand"), "{}", speed.source);
    assert!(input.notes[0].contains("drives.read_iops, drives.write_iops, "), "{:?}", input.notes);
    // The file's figure is used for what the profile did not measure.
    let mut short = profile();
    short.rates.retain(|rate| rate.random);
    std::fs::write(folder.path().join("drive.json"), short.to_json()).unwrap();
    let speed = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap().hardware.drives.speed;
    assert_eq!((speed.read_iops, speed.read_bytes_per_s), (300_000.0, 5e9));
    assert!(speed.source.contains("drives.read_bandwidth given by hand"), "{}", speed.source);
}

/// Paths on the command line are relative to the current directory, not to the file.
#[test]
fn a_profile_of_the_command_line_takes_the_place_of_figures() {
    let (folder, ..) = in_folder(&profile());
    let (workload, hardware) = documents();
    let set = overrides(&["drives.profile=drive.json"]);
    let speed = parse(&workload, &hardware, &set, folder.path(), NOW).unwrap().hardware.drives.speed;
    assert_eq!(speed.read_iops, 300_000.0);
    let missing = message(parse(&workload, &hardware, &set, Path::new("/nowhere"), NOW));
    assert!(missing.starts_with("/nowhere/drive.json: can not be read"), "{missing}");
}

#[test]
fn what_is_doubtful_in_a_profile_is_noted() {
    type Change = fn(&mut DriveProfile);
    let changes: [(Change, &str); 5] = [
        (|profile| profile.drive.kind = "file".into(), "measured on a file"),
        (|profile| profile.drive.size_bytes = 1 << 40, "planned with drives of 7.68 TB"),
        (|profile| profile.sustained_write = None, "no sustained write"),
        (|profile| profile.sustained_write.iter_mut().for_each(|of| of.settled = false), "did not settle"),
        (
            |profile| profile.flush.iter_mut().for_each(|of| of.dsync_write.p50_us = 2000.0),
            "plain writes less this ratio",
        ),
    ];
    for (change, part) in changes {
        let mut changed = profile();
        change(&mut changed);
        let (_folder, workload, hardware) = in_folder(&changed);
        let notes = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains(part), "{part}: {notes:?}");
    }
}

#[test]
fn a_profile_without_a_figure_says_which() {
    let mut short = profile();
    short.rates.retain(|rate| rate.random);
    let (_folder, workload, hardware) = in_folder(&short);
    let refused = message(parse(&workload, &hardware, &[], Path::new(""), NOW));
    assert!(refused.contains("drive.json: has no measurement for drives.read_bandwidth"), "{refused}");
    let (folder, workload, hardware) = in_folder(&profile());
    std::fs::write(folder.path().join("drive.json"), "{}").unwrap();
    let refused = message(parse(&workload, &hardware, &[], Path::new(""), NOW));
    assert!(refused.contains("drive.json: no drive profile"), "{refused}");
}

/// The example has figures of its own: a note says that they override the scan.
#[test]
fn what_the_file_says_in_place_of_a_scan_is_noted() {
    let (folder, mut workload, hardware) = scanned_bucket();
    workload.text = workload.text.replace("# scan = ", "scan = ");
    let Input { workload, notes, .. } = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap();
    assert_eq!((workload.objects.count, workload.objects.key_bytes), (100_000_000, 48.0));
    for part in
        ["objects.count: 100000000 of the file", "key_length: 48", "shared_key_length: 24", "part_size"]
    {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
    drop(folder);
}

/// Writes hardware with a profile, the workload of the example without its sizes, and the sizes of
/// a bucket.
fn scanned_bucket() -> (TempDir, Document, Document) {
    let mut collector = Collector::default();
    for number in 0..1000_u64 {
        let key = format!("photos/{number:06}");
        let (size_bytes, etag) = if number < 900 { (4096, "\"abc\"") } else { (40 << 20, "\"abc-4\"") };
        collector
            .add(&Listed { key: key.as_bytes(), size_bytes, etag: Some(etag), storage_class: None })
            .unwrap();
    }
    let scan = collector.finish("bucket photos".into()).unwrap();
    let (folder, mut workload, hardware) = in_folder(&profile());
    std::fs::write(folder.path().join("sizes.json"), scan.to_json()).unwrap();
    let list_end = workload.text.find("# scan: what").unwrap();
    let list_start = workload.text.find("\nsizes = [").unwrap();
    workload.text.replace_range(list_start..list_end, "\n");
    (folder, workload, hardware)
}

#[test]
fn a_scan_brings_sizes_keys_and_parts() {
    let (_folder, mut workload, hardware) = scanned_bucket();
    for name in ["count", "key_length", "shared_key_length", "part_size"] {
        workload.text = workload.text.replace(&format!("\n{name} = "), &format!("\n# {name} = "));
    }
    workload.text = workload.text.replace("# scan = ", "scan = ");
    let Input { workload, notes, .. } = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap();
    let objects = &workload.objects;
    assert_eq!((objects.count, objects.key_bytes), (1000, 13.0));
    assert!(
        objects.key_shared_bytes > 10.0 && objects.key_shared_bytes < 13.0,
        "{}",
        objects.key_shared_bytes
    );
    assert_eq!(objects.part_bytes, Some(10 << 20));
    assert_eq!(objects.sizes.mean_bytes(), 0.9 * 4096.0 + 0.1 * f64::from(40 << 20));
    assert!(objects.sizes_source.contains("bucket photos"));
    assert!(notes.iter().any(|note| note.contains("10MiB taken from the parts")), "{notes:?}");
}
