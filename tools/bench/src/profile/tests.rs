use super::*;
use ringbolt_tool_common::json_file::JsonFileError;
use schema::SustainedWrite;

/// Creates a directory on a disk: temporary directories are often in memory, which does not support
/// O_DIRECT.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../../target").unwrap()
}

fn arguments(directory: &Path) -> ProfileArgs {
    ProfileArgs {
        drive: directory.join("drive"),
        minutes: 1.0,
        output: directory.join("profile.json"),
        size: Some(128 << 20),
        allow_overwrite: false,
    }
}

#[test]
fn what_exists_is_not_written_without_leave() {
    let directory = directory();
    let arguments = arguments(directory.path());
    let precious = vec![7; 1 << 20];
    std::fs::write(&arguments.drive, &precious).unwrap();
    std::fs::File::options().write(true).open(&arguments.drive).unwrap().set_len(100 << 20).unwrap();
    let refused = profile(&arguments, &mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("--allow-overwrite"), "{refused}");
    assert!(std::fs::read(&arguments.drive).unwrap().starts_with(&precious));
    assert!(!arguments.output.exists());
}

#[test]
fn what_says_nothing_is_refused() {
    let directory = directory();
    let refused = |change: &dyn Fn(&mut ProfileArgs)| {
        let mut arguments = arguments(directory.path());
        change(&mut arguments);
        profile(&arguments, &mut |_| ()).unwrap_err().to_string()
    };
    assert!(refused(&|arguments| arguments.minutes = 0.1).contains("--minutes"));
    assert!(refused(&|arguments| arguments.minutes = f64::NAN).contains("--minutes"));
    assert!(refused(&|arguments| arguments.size = Some(1 << 20)).contains("--size"));
    assert!(refused(&|arguments| arguments.drive = "/dev/null".into()).contains("neither"));
    assert!(refused(&|arguments| arguments.output = "/no/such/place".into()).contains("/no/such/place"));
}

/// Every kind of measurement is made once, shortly, on a small file.
#[test]
fn a_profile_is_measured_and_read_back() {
    let directory = directory();
    let arguments = arguments(directory.path());
    let target = Target {
        path: arguments.drive.clone(),
        tested_bytes: 128 << 20,
        allow_overwrite: true,
        stop: Default::default(),
    };
    let mut schedule = Schedule::of(1.0);
    schedule
        .points
        .retain(|point| point.block_bytes == 4096 && point.depth == 32 && point.read_percent != 70);
    (schedule.point_s, schedule.load_s, schedule.flush_s, schedule.sustained_s) = (0.3, 0.3, 0.3, 7.0);
    let mut profile = empty(&arguments);
    let mut lines = Vec::new();
    let mut tell = |line: &str| lines.push(line.to_owned());
    let mut progress =
        Progress { tell: &mut tell, began: Instant::now(), seconds: schedule.seconds(), spent: 0.0 };
    fill(&mut profile, &target, &schedule, &mut progress).unwrap();
    assert_eq!((profile.rates.len(), profile.latency_at_load.len()), (2, 4));
    assert!(profile.rates.iter().all(|rate| rate.iops > 10.0 && rate.bytes_per_s > rate.iops));
    assert!(profile.rates[0].read_latency.is_some() && profile.rates[0].write_latency.is_none());
    assert!(profile.latency_at_load.iter().all(|load| load.response.p99_us >= load.response.p50_us));
    assert!(profile.flush.as_ref().unwrap().fdatasync.p50_us > 0.0);
    assert!(profile.sustained_write.as_ref().unwrap().windows_bytes_per_s.len() >= 2);
    assert!(lines.len() >= 8 && lines[0].contains("left]"), "{lines:?}");
    assert_eq!(DriveProfile::from_json(&profile.to_json()).unwrap(), profile);
    let text = summary::text(&profile);
    assert!(text.contains("fdatasync p50") && text.contains("sustained write"), "{text}");
}

fn empty(arguments: &ProfileArgs) -> DriveProfile {
    DriveProfile {
        schema: SCHEMA.into(),
        version: VERSION,
        created_unix_ms: 1,
        drive: look_at(arguments).unwrap(),
        fingerprint: Default::default(),
        rates: Vec::new(),
        latency_at_load: Vec::new(),
        flush: None,
        sustained_write: None,
        left_out: Vec::new(),
    }
}

#[test]
fn another_version_is_told_from_nonsense() {
    let directory = directory();
    let mut profile = empty(&arguments(directory.path()));
    profile.version = VERSION + 1;
    assert!(matches!(DriveProfile::from_json(&profile.to_json()), Err(JsonFileError::Version { .. })));
    assert!(matches!(DriveProfile::from_json("{}"), Err(JsonFileError::Json { .. })));
}

#[test]
fn a_sustained_rate_is_that_of_the_last_window() {
    let SustainedWrite { first_bytes_per_s, settled_bytes_per_s, .. } =
        measure::sustained(vec![3.0, 2.0, 1.0], 2.0, 6, false).unwrap();
    assert_eq!((first_bytes_per_s, settled_bytes_per_s), (3.0, 1.0));
    assert_eq!(measure::sustained(Vec::new(), 2.0, 0, false), None);
}

#[test]
fn sizes_are_read_as_in_job_files_too() {
    for (text, bytes) in [("512m", 512 << 20), ("4G", 4 << 30), ("4GiB", 4 << 30), ("4GB", 4_000_000_000)] {
        assert_eq!(tested_bytes(text), Ok(bytes), "{text}");
    }
    assert!(tested_bytes("4q").is_err() && tested_bytes("m").is_err());
}
