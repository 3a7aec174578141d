use super::*;
use crate::spec::{BlockSize, Job};
use std::fs;
use std::path::Path;

pub const MACHINE: Machine = Machine { page_bytes: 4096, cpus: 2, memory_mib: 1000 };

pub fn around(environment: &dyn Fn(&str) -> Option<String>) -> Surroundings<'_> {
    Surroundings { environment, machine: MACHINE }
}

/// Parses the jobs of a text with an empty environment.
pub fn jobs(text: &str) -> Result<Vec<Job>, Refusals> {
    jobs_in(text, &|_| None)
}

fn jobs_in(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Job>, Refusals> {
    of_text(text, Path::new("test.fio"), &around(environment)).map(|resolved| resolved.plan.jobs)
}

pub fn refusal(text: &str) -> String {
    match jobs(text) {
        Ok(jobs) => panic!("{text:?} is taken: {jobs:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn sections_inherit_the_global_ones_above_them() {
    let jobs = jobs(
        "[global]\nbs=8k\nsize=1g\n[a]\n[b]\nbs=16k\n[global]\niodepth=4\nbs=32k\n[c]\n; a comment\n# another\n",
    )
    .unwrap();
    let shape: Vec<_> =
        jobs.iter().map(|job| (job.name.as_str(), job.block.read.clone(), job.depth)).collect();
    assert_eq!(
        shape,
        [
            ("a", BlockSize::Fixed(8192), 1),
            ("b", BlockSize::Fixed(16384), 1),
            ("c", BlockSize::Fixed(32768), 4)
        ]
    );
    assert!(jobs.iter().all(|job| job.size == Some(1 << 30)));
}

#[test]
fn a_comment_ends_a_value_and_blanks_do_not_count() {
    let jobs = jobs("  [ one job ]  \n  bs = 8k   # eight\n\tsize=1g;one\n\n").unwrap();
    assert_eq!(jobs[0].name, "one job");
    assert_eq!(jobs[0].block.write, BlockSize::Fixed(8192));
    assert_eq!(jobs[0].size, Some(1 << 30));
}

#[test]
fn text_that_is_no_job_file_says_where() {
    for (text, part) in [
        ("bs=4k\n", "test.fio:1: \"bs=4k\": stands before the first section"),
        ("[a\n", "test.fio:1: \"[a\": a section is [name]"),
        ("[]\n", "a section needs a name"),
        ("[a]\n\nsize=1g\niodeph=4\n", "test.fio:4: iodeph: no such key; did you mean iodepth?"),
        ("[a]\nsize=1g\nzonesize=1m\n", "test.fio:3: zonesize: fio has it, not built here: use fio"),
        ("[a]\nsize=1g\nzonemode=zbd\n", "test.fio:3: zonemode=zbd: fio has it, not built here"),
        ("[a]\nsize=1g\nbs\n", "test.fio:3: bs: a value is needed, as in bs=4k,8k"),
        ("[a]\nsize=1g\nbs=\n", "test.fio:3: bs: a value is needed"),
        ("[a]\nsize=1g\nbs=4q\n", "test.fio:3: bs=4q: \"q\" is no unit of size"),
    ] {
        let error = refusal(text);
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn variables_come_from_the_environment() {
    let environment = |name: &str| (name == "BLOCK").then(|| "8".to_owned());
    let jobs = jobs_in("[a]\nbs=${BLOCK}k\ndescription=${NONE}left\nsize=1g\n", &environment).unwrap();
    assert_eq!(jobs[0].block.read, BlockSize::Fixed(8192));
    assert_eq!(jobs[0].description.as_deref(), Some("left"));
    let error = jobs_in("[a]\nsize=${NONE}\n", &environment).unwrap_err().to_string();
    assert!(
        error.contains("test.fio:2") && error.contains("environment variable NONE is not set"),
        "{error}"
    );
}

#[test]
fn included_files_stand_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("main.fio"), "[global]\nsize=1g\ninclude more.fio\n[a]\niodepth=2\ninclude sub.fio\n")
        .unwrap();
    fs::write(path("more.fio"), "bs=16k\n").unwrap();
    fs::write(path("sub.fio"), "iodepth=8 ; more\n").unwrap();
    fs::write(path("circle.fio"), "[a]\ninclude circle2.fio\n").unwrap();
    fs::write(path("circle2.fio"), "include circle2.fio\n").unwrap();
    fs::write(path("sections.fio"), "[a]\ninclude main.fio\n").unwrap();
    fs::write(path("missing.fio"), "[a]\ninclude nowhere.fio\n").unwrap();
    let around = around(&|_| None);
    let read = |name: &str| of_file(&path(name), &around);
    let jobs = read("main.fio").unwrap().plan.jobs;
    assert_eq!((jobs[0].block.read.clone(), jobs[0].depth), (BlockSize::Fixed(16384), 8));
    for (name, part) in [
        ("circle.fio", "include each other"),
        ("sections.fio", "has no sections of its own"),
        ("missing.fio", "missing.fio:2"),
        ("nothing.fio", "can not be read"),
    ] {
        let error = read(name).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn memory_is_read_from_the_system() {
    assert_eq!(memory_mib("MemTotal:       16311452 kB\nMemFree: 1 kB\n"), Some(15929));
    assert_eq!(memory_mib("nothing"), None);
    let machine = machine();
    assert!(machine.memory_mib > 0 && machine.cpus > 0 && machine.page_bytes >= 4096);
}

/// Every key of the table is used: it changes the job.
#[test]
fn every_key_has_an_effect() {
    const BASE: &str = "[fill]\nsize=1g\n[a]\nsize=1g\nrw=randrw\nverify=crc32c\nruntime=3\nbs=8k\n\
                        latency_target=3ms\nlatency_window=3s\n";
    // These examples are the default, or are not valid together with the base.
    const OTHERS: [(&str, &str); 18] = [
        ("verify", "verify=none"),
        ("ioengine", "ioengine=s3\nverify=none"),
        ("https", "https=on"),
        ("http_host", "http_host=h:1"),
        ("http_s3_region", "http_s3_region=x"),
        ("bucket", "bucket=x"),
        ("rate", "rate=1m\nlatency_target=0\nlatency_window=0"),
        ("rate_iops", "rate_iops=9\nlatency_target=0\nlatency_window=0"),
        ("bs", "bs=16k"),
        ("zero_buffers", "zero_buffers\nverify=none"),
        ("rw", "rw=randread"),
        ("verify_pattern", "verify_pattern=0xff\nverify=none"),
        ("iodepth_low", "iodepth_low=8\niodepth=32"),
        ("thinktime_spin", "thinktime_spin=100us\nthinktime=500us"),
        ("steadystate_duration", "steadystate_duration=20s\nsteadystate=iops:2%"),
        ("steadystate_ramp_time", "steadystate_ramp_time=10s\nsteadystate=iops:2%"),
        ("steadystate_check_interval", "steadystate_check_interval=2s\nsteadystate=iops:2%"),
        ("latency_target", "latency_target=9ms"),
    ];
    let plain = |text: &str| {
        let mut jobs = jobs(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        jobs.iter_mut().for_each(|job| job.given.clear());
        format!("{jobs:?}")
    };
    // `http_mode` has only one value.
    let built = keys::all().filter(|key| !key.is_without_effect() && key.name != "http_mode");
    for key in built {
        let other = OTHERS.iter().find(|(name, _)| *name == key.name);
        let example = other.map_or(key.example, |(_, example)| example);
        let with = plain(&format!("{BASE}{example}\n"));
        assert_ne!(plain(BASE), with, "{} has no effect", key.name);
        // The other keys of an example must not cause the difference.
        if let Some((_, company)) = example.split_once('\n') {
            assert_ne!(plain(&format!("{BASE}{company}\n")), with, "{} has no effect", key.name);
        }
    }
}

#[test]
fn credentials_are_missed_before_a_run() {
    let plan = |text: &str, environment: &dyn Fn(&str) -> Option<String>| {
        of_text(text, Path::new("a"), &around(environment)).unwrap().plan
    };
    let text = "[a]\nioengine=s3\nobjects=10\n";
    let error = check_credentials(&plan(text, &|_| None)).unwrap_err().to_string();
    assert!(error.contains("job a: 127.0.0.1:9000 needs credentials"), "{error}");
    let given = format!("{text}http_s3_keyid=id\nhttp_s3_key=key\n");
    assert!(check_credentials(&plan(&given, &|_| None)).is_ok());
    let set = plan(text, &|name| name.starts_with("AWS_").then(|| name.to_lowercase()));
    assert_eq!(set.jobs[0].objects.secret_key, "aws_secret_access_key");
    assert!(check_credentials(&set).is_ok());
    assert!(check_credentials(&plan("[a]\nsize=1g\n", &|_| None)).is_ok());
}
