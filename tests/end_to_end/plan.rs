//! These tests check what the planner learns from a real server: sizes by listing a bucket, and the
//! metrics of a running node.

use crate::support::{BUCKET, get, make_bucket, put};
use ringbolt_plan::live;
use ringbolt_plan::result::Plan;
use ringbolt_plan::scan::endpoint::{S3Source, ScanCredentials};
use ringbolt_plan::scan::file::ScannedSizes;
use ringbolt_plan::scan::progress::Progress;
use ringbolt_plan::scan::{Source, scan};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const OBJECTS: u64 = 2345;

fn source(server: &Server, bucket: &str, secret_key: &str) -> S3Source {
    let credentials = ScanCredentials {
        access_key: MAIN.access_key.into(),
        secret_key: secret_key.into(),
        session_token: None,
    };
    S3Source::new(server.endpoint(), bucket, Some(credentials)).expect("a source")
}

/// Returns sizes, and the reports of progress. The client blocks, so it has a thread of its own.
async fn scanned(source: S3Source) -> (Result<ScannedSizes, String>, Vec<Progress>) {
    let scanning = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        let sizes = scan(&Source::S3(source), &mut |progress| told.push(progress));
        (sizes.map_err(|error| error.to_string()), told)
    });
    scanning.await.expect("the scan does not panic")
}

/// Returns small and large sizes, some of them equal; every small size occurs.
fn size(number: u64) -> usize {
    (if number.is_multiple_of(3) { number % 80 } else { number * number % 9973 }) as usize
}

#[tokio::test]
async fn a_scan_finds_every_object_with_its_size_and_key() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let mut model = BTreeMap::new();
    for number in 0..OBJECTS {
        let key = match number % 5 {
            0 => format!("odd &<>\"'+% \u{fc}/{number}"),
            _ => format!("photos/2026/{number:x}"),
        };
        put(&client, &key, Content::new(number, size(number))).await.expect("put");
        model.insert(key.into_bytes(), size(number) as u64);
    }
    let (sizes, told) = scanned(source(&server, BUCKET, MAIN.secret_key)).await;
    let sizes = sizes.expect("a scan");
    let total: u64 = model.values().sum();
    assert_eq!((sizes.objects, sizes.total_bytes), (OBJECTS, total));
    assert_eq!(Some(&sizes.largest_bytes), model.values().max());
    assert_eq!(told.len(), 3, "pages of a thousand: {told:?}");
    assert_eq!(told.last(), Some(&Progress { objects: OBJECTS, total_bytes: total }));
    for class in &sizes.classes {
        let inside: Vec<u64> = model
            .values()
            .copied()
            .filter(|size| (class.lower_bytes..=class.upper_bytes).contains(size))
            .collect();
        assert_eq!(
            (class.objects, class.total_bytes),
            (inside.len() as u64, inside.iter().sum()),
            "{class:?}"
        );
        assert!(inside.contains(&class.lower_bytes) && inside.contains(&class.upper_bytes), "{class:?}");
        assert!(class.upper_bytes < 64 && class.lower_bytes == class.upper_bytes || class.lower_bytes >= 64);
    }
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    let common =
        |left: &[u8], right: &[u8]| left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let shared: usize = keys.windows(2).map(|pair| common(pair[0], pair[1])).sum();
    let lengths: usize = keys.iter().map(|key| key.len()).sum();
    assert_eq!(sizes.key_bytes_mean, lengths as f64 / OBJECTS as f64);
    assert_eq!(sizes.key_shared_bytes_mean, shared as f64 / OBJECTS as f64);
    assert_eq!((sizes.keys_out_of_order, sizes.multipart), (0, None));
    let mean = total as f64 / OBJECTS as f64;
    let histogram = sizes.histogram().expect("a histogram");
    assert!((histogram.mean_bytes() - mean).abs() < 0.5, "{} for {mean}", histogram.mean_bytes());
    assert_eq!(ScannedSizes::from_json(&sizes.to_json()).expect("the same again"), sizes);

    let mut under = source(&server, BUCKET, MAIN.secret_key);
    under.prefix = "odd &".into();
    let (sizes, _) = scanned(under).await;
    assert_eq!(sizes.expect("a scan under a prefix").objects, OBJECTS / 5);
}

#[tokio::test]
async fn what_the_server_refuses_is_shown_in_its_words() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let refused = async |bucket: &str, secret_key: &str| {
        scanned(source(&server, bucket, secret_key)).await.0.expect_err("refused")
    };
    let error = refused("elsewhere", MAIN.secret_key).await;
    assert!(error.contains("404 NoSuchBucket") && error.contains("elsewhere"), "{error}");
    let error = refused(BUCKET, "wrong-secret").await;
    assert!(error.contains("403 SignatureDoesNotMatch") && !error.contains("wrong-secret"), "{error}");
    let error = refused(BUCKET, MAIN.secret_key).await;
    assert!(error.starts_with("no objects in bucket bucket at http://127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_running_node_says_what_it_stores_and_does() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..40 {
        put(&client, &format!("key/{number}"), Content::new(number, 20_000)).await.expect("put");
    }
    let url = server.admin_endpoint();
    let mut reading = tokio::task::spawn_blocking(move || live::read(&url, 2.0, &[]));
    let mut gets = 0_u64;
    let node = loop {
        tokio::select! {
            node = &mut reading => break node.expect("no panic").expect("a node"),
            _ = get(&client, "key/7") => gets += 1,
        }
    };
    assert_eq!((node.objects, node.user_bytes), (40.0, 800_000.0));
    let space = node.live_bytes + node.dead_bytes + node.reserved_bytes + node.free_bytes;
    assert_eq!(space, node.capacity_bytes);
    assert!(node.live_bytes > 800_000.0 && node.index_bytes > 0.0, "{node:?}");
    assert!((1.0..3.0).contains(&node.write_amplification().expect("writes")), "{node:?}");
    let counted = node.requests_per_s["GetObject"] * node.seconds;
    assert!(counted > 1.0 && counted <= gets as f64 + 1.0, "{counted} of {gets}");
    assert_eq!(node.requests_per_s["PutObject"], 0.0);
    let cores = node.cpu_cores.expect("CPU time");
    assert!(cores > 0.0 && cores < 64.0, "{cores}");
    assert!(node.process_age_s.expect("a start") < 3600.0);
    assert!(node.wear.is_empty() && node.notes.is_empty());
}

/// The test has a smartctl of its own, because a virtual drive has no wear. The tests of the tools
/// contain the output of the real one.
#[tokio::test]
async fn a_plan_takes_objects_and_wear_from_a_running_node() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..7 {
        put(&client, &format!("key/{number}"), Content::new(number, 20_000)).await.expect("put");
    }
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let smartctl = directory.path().join("smartctl");
    let said = r#"{"nvme_smart_health_information_log": {"percentage_used": 40, "power_on_hours": 9000}}"#;
    std::fs::write(&smartctl, format!("#!/bin/sh\necho '{said}'\n")).expect("a program");
    std::fs::set_permissions(&smartctl, Permissions::from_mode(0o755)).expect("to be run");
    let url = server.admin_endpoint();
    let planned = tokio::task::spawn_blocking(move || {
        let run = |arguments: &[&str]| {
            let path = format!("{}:/usr/bin:/bin", directory.path().display());
            let mut command = Command::new(binary::ringbolt());
            command.arg("plan").args(arguments).current_dir(directory.path()).env("PATH", path);
            command.output().expect("run ringbolt")
        };
        assert!(run(&["init"]).status.success());
        let live = ["run", "--live", &url, "--seconds", "1", "--device", "/dev/null", "--json"];
        let set = ["--set", "drives.endurance_used=10%"];
        (run(&live), run(&[&live[..], &set[..]].concat()))
    });
    let (planned, refused) = planned.await.expect("no panic");
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    let plan = Plan::from_json(&String::from_utf8_lossy(&planned.stdout)).expect("a plan");
    assert_eq!((plan.workload.objects.count, plan.hardware.drives.endurance_used_share), (7, 0.4));
    assert!(plan.notes.iter().any(|note| note.contains("40.0% of the endurance")), "{:?}", plan.notes);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && error.contains("--set drives.endurance_used"), "{error}");
}

/// What `format` was told is what the plan is told, and each copy more makes a loss less probable.
#[test]
fn redundancy_is_planned_by_the_names_that_format_takes() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary::ringbolt());
        let output = command.args(arguments).current_dir(directory.path()).output().expect("run ringbolt");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["plan", "init"]);
    let mut losses = Vec::new();
    for (name, copies) in [("none", 1), ("mirror", 2), ("mirror-3", 3), ("mirror-4", 4)] {
        let drives = [0, 1, 2, 3].map(|number| format!("{name}-{number}"));
        let mut format = vec!["format", "--size", "64MiB", "--redundancy", name];
        format.extend(drives.iter().flat_map(|drive| ["--drive", drive]));
        run(&format);
        let set = format!("redundancy.format={name}");
        let few = ["--set", "plan.samples=100", "--set", "drives.count=4", "--set", &set];
        let json = run(&[&["plan", "run", "--json"][..], &few].concat());
        let plan = Plan::from_json(&json).expect("a plan");
        let redundancy = plan.hardware.redundancy;
        assert_eq!((redundancy.copies, redundancy.name().as_str()), (copies, name));
        losses.push(plan.durability.data_loss_probability_per_year);
    }
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0] / 100.0), "{losses:?}");
    let drives = ["--drive", "a", "--drive", "b", "--drive", "c", "--drive", "d"];
    let said = run(&[&["format", "--size", "160MiB"][..], &drives].concat());
    let plan_of = |more: &[&str]| {
        let json = run(&[&["plan", "run", "--json", "--set", "plan.samples=100"][..], more].concat());
        Plan::from_json(&json).expect("a plan")
    };
    let by_default = plan_of(&["--drives", "4"]).hardware.redundancy.name();
    assert!(by_default == "2+2" && said.contains("2+2: "), "{by_default}: {said}");
    let striped = plan_of(&["--drives", "6", "--redundancy", "4+2"]);
    let overhead = striped.layout.redundant_bytes_per_logical_byte.expect("bytes");
    assert_eq!((striped.hardware.drives.count, striped.hardware.redundancy.name().as_str()), (6, "4+2"));
    assert!((1.5..2.0).contains(&overhead), "{overhead}");
    let set = plan_of(&["--redundancy", "mirror", "--set", "redundancy.format=none"]);
    assert_eq!(set.hardware.redundancy.name(), "none");
}

/// Regression: it left drives of gigabytes and half a result behind, and a server if there was one.
#[test]
fn a_calibration_that_is_ended_leaves_nothing_behind() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    for (phase, signal, status) in
        [("calibrate: index", Signal::TERM, 143), ("calibrate: large objects", Signal::INT, 130)]
    {
        let mut command = Command::new(binary::ringbolt());
        command.args(["plan", "calibrate"]).current_dir(directory.path()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run ringbolt");
        let mut lines = BufReader::new(child.stderr.take().expect("what it says")).lines();
        let mut said = Vec::new();
        while said.last().is_none_or(|line: &String| !line.starts_with(phase)) {
            match lines.next() {
                Some(line) => said.push(line.expect("a line")),
                // If the disk has less space than needed, that is a problem of the machine.
                None if said.iter().any(|line| line.contains(" are free, and the drive files take ")) => {
                    child.wait().expect("its end");
                    return;
                }
                None => panic!("it ended: {said:?}"),
            }
        }
        let pid = Pid::from_raw(child.id().try_into().expect("a process id")).expect("not 0");
        kill_process(pid, signal).expect("send a signal");
        said.extend(lines.map(|line| line.expect("a line")));
        assert_eq!(child.wait().expect("its end").code(), Some(status), "{said:?}");
        assert!(said.last().is_some_and(|line| line.contains("interrupted")), "{said:?}");
        let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The refusal comes before anything is measured, with the status of invalid arguments.
#[test]
fn a_calibration_that_can_not_be_is_refused_at_once() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    for (arguments, part) in [
        (["--directory", "/nowhere"], "--directory /nowhere: "),
        (["--server", "/bin/true"], "--server /bin/true: "),
        (["--client-core", "0"], "are both 0"),
        (["--server-core", "1023"], "--server-core 1023: "),
    ] {
        let mut command = Command::new(binary::ringbolt());
        command.args(["plan", "calibrate"]).args(arguments).current_dir(directory.path());
        let output = command.output().expect("run ringbolt");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part) && !said.contains("calibrate: index"), "{said}");
    }
}
