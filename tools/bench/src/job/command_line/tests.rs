use super::*;
use crate::job::show;
use crate::job::tests::around;
use std::fs;

fn line(words: &[&str]) -> Result<CommandLine, Refusals> {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    parse(&arguments, &around(&|_| None))
}

fn refusal(words: &[&str]) -> String {
    match line(words) {
        Ok(line) => panic!("{words:?} is taken: {line:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn name_begins_a_job() {
    let line = line(&[
        "--bs=8k",
        "--name=a",
        "--size",
        "1g",
        "--name",
        "b",
        "--size=2g",
        "--time_based",
        "--runtime=3",
    ])
    .unwrap();
    let jobs = &line.plan.jobs;
    let shape: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.size, job.time_based)).collect();
    assert_eq!(shape, [("a", Some(1 << 30), false), ("b", Some(2 << 30), true)]);
    assert!(jobs.iter().all(|job| job.given["bs"] == "8k"));
    assert_eq!(line.plan.global["bs"], "8k");
}

#[test]
fn global_may_come_again() {
    let line =
        line(&["--name=a", "--size=1g", "--name=global", "--iodepth=8", "--name=b", "--size=1g"]).unwrap();
    let depths: Vec<_> = line.plan.jobs.iter().map(|job| job.depth).collect();
    assert_eq!(depths, [1, 8]);
}

#[test]
fn options_and_files_mix() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("one.fio"), "[global]\nbs=16k\n[x]\nsize=1g\n[y]\nsize=1g\n").unwrap();
    fs::write(path("two.fio"), "[z]\nsize=1g\n").unwrap();
    let (one, two) = (path("one.fio"), path("two.fio"));
    let line =
        line(&[&one, "--iodepth=4", "--output-format=json,terse", &two, "--name=a", "--size=1g"]).unwrap();
    let shape: Vec<_> = line
        .plan
        .jobs
        .iter()
        .map(|job| (job.name.as_str(), job.depth, job.given.get("bs").map(String::as_str), job.stage))
        .collect();
    assert_eq!(
        shape,
        [("a", 4, None, 0), ("x", 4, Some("16k"), 0), ("y", 4, Some("16k"), 0), ("z", 4, None, 1)]
    );
    assert_eq!(line.options.output_formats, [OutputFormat::Json, OutputFormat::Terse]);
}

#[test]
fn sections_are_chosen() {
    let words = ["--name=a", "--size=1g", "--name=b", "--size=1g", "--name=c", "--size=1g"];
    let chosen = line(&[&words[..], &["--section=c", "--section", "a"]].concat()).unwrap();
    let names: Vec<_> = chosen.plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    let error = refusal(&[&words[..], &["--section=d"]].concat());
    assert!(error.contains("no section is called d; there are: a, b, c"), "{error}");
}

#[test]
fn options_of_the_run_are_taken() {
    let line = line(&[
        "--name=a",
        "--size=1g",
        "--status-interval=500ms",
        "--eta",
        "never",
        "--html=page.html",
        "--output",
        "out",
        "--allow-overwrite",
        "--parse-only",
        "--showcmd",
    ])
    .unwrap();
    let wanted = RunOptions {
        output_formats: vec![OutputFormat::Normal],
        output: Some("out".into()),
        status_interval_ns: Some(500_000_000),
        eta: Eta::Never,
        html: Some("page.html".into()),
        allow_overwrite: true,
        sections: vec![],
        parse_only: true,
        show_command: true,
        read_only: false,
    };
    assert_eq!(line.options, wanted);
}

#[test]
fn questions_need_no_job() {
    let action = |words: &[&str]| line(words).unwrap().action;
    assert_eq!(action(&["--help"]), Action::Help);
    assert_eq!(action(&["-h"]), Action::Help);
    assert_eq!(action(&["--version"]), Action::Version);
    assert_eq!(action(&["--cmdhelp"]), Action::KeyHelp(None));
    assert_eq!(action(&["--cmdhelp=all"]), Action::KeyHelp(None));
    assert_eq!(action(&["--cmdhelp=bs"]), Action::KeyHelp(Some("bs".to_owned())));
    assert_eq!(action(&["--enghelp=s3"]), Action::EngineHelp(Some("s3".to_owned())));
}

#[test]
fn what_is_not_understood_says_so() {
    for (words, part) in [
        (&[][..], "no job was given"),
        (&["--name=a", "--siz=1g"], "command line: siz: no such key; did you mean size?"),
        (&["--name=a", "--outputformat=json"], "did you mean output-format?"),
        (&["--name=a", "--size=1g", "--zonesize=1m"], "zonesize: fio has it"),
        (&["--name"], "name: a value is needed"),
        (&["--name=a", "--size", "--bs=4k"], "size: a value is needed"),
        (&["--output-format=xml"], "--output-format: \"xml\" is not"),
        (&["--output"], "--output: needs a value"),
        (&["--eta=soon"], "--eta: "),
        (&["--status-interval=0"], "more than 0"),
        (&["--allow-overwrite=1"], "takes no value"),
        (&["-x"], "x: no such key"),
        (&["/nowhere/job.fio"], "/nowhere/job.fio: this job file can not be read"),
        (&["--bs=4k"], "no job was given"),
    ] {
        let error = refusal(words);
        assert!(error.contains(part), "{words:?}: {error}");
    }
}

#[test]
fn keys_of_other_engines_are_warned_of() {
    let warnings =
        line(&["--direct=1", "--name=a", "--ioengine=s3", "--objects=3", "--offset=1g"]).unwrap().warnings;
    assert_eq!(warnings, ["command line: offset says nothing to this job's engine; it is for io_uring"]);
}

#[test]
fn one_dash_and_what_else_fio_takes() {
    let line =
        line(&["-name", "a", "-rw=randread", "-size", "1g", "--minimal", "--eta-newline=1", "-readonly"])
            .unwrap();
    assert_eq!((line.plan.jobs[0].name.as_str(), line.plan.jobs[0].size), ("a", Some(1 << 30)));
    assert!(line.plan.jobs[0].pattern.random && line.options.read_only);
    assert_eq!(line.options.output_formats, [OutputFormat::Terse]);
}

#[test]
fn readonly_refuses_what_writes() {
    for job in ["--rw=write", "--rw=randrw", "--rw=randtrim", "--ioengine=s3 --objects=3 --op=copy"] {
        let words: Vec<&str> =
            ["--readonly", "--name=a", "--size=1g"].into_iter().chain(job.split(' ')).collect();
        assert!(refusal(&words).contains("--readonly: job a writes"), "{job}");
    }
    assert!(
        line(&["--readonly", "--name=a", "--ioengine=s3", "--objects=3", "--opmix=get/1:list/1"]).is_ok()
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.fio");
    fs::write(
        &file,
        "lost=1\n[global]\nbs=4q\nrate_process=wild\n[a]\nsize=1g\niodepth=0\nverify_async=2\ntime_based\n[b]\nsiz=1g\n[c\nrw=no\n",
    )
    .unwrap();
    let error = refusal(&["--debug=all", "--zonesize=1m", file.to_str().unwrap()]);
    let wanted = [
        "10 things stand in the way of this run:",
        "--debug: fio has it",
        "command line: zonesize: fio has it",
        "many.fio:1: \"lost=1\": stands before the first section",
        "many.fio:3: bs=4q: \"q\" is no unit of size",
        "many.fio:4: rate_process=wild: write linear or poisson",
        "many.fio:7: iodepth=0: has to be from 1 to 32768",
        "many.fio:8: verify_async: fio has it",
        "many.fio:9: job a: time_based needs runtime",
        "many.fio:11: siz: no such key; did you mean size?",
        "many.fio:12: \"[c\": a section is [name]",
        "many.fio:13: rw=no: write read",
    ];
    for part in wanted.iter().skip(1) {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    // The error is reported once, though two jobs inherit the key.
    assert_eq!(error.matches("bs=4q").count(), 1, "{error}");
}

#[test]
fn what_follows_from_a_wrong_value_is_not_told() {
    let error = refusal(&["--name=a", "--size=1q", "--time_based", "--runtime=soon"]);
    assert!(
        error.starts_with("2 things") && !error.contains("needs runtime") && !error.contains("is needed"),
        "{error}"
    );
}

#[test]
fn what_tunes_fio_itself_is_taken_with_one_line() {
    let line = line(&[
        "--gtod_reduce=1",
        "--scramble_buffers=0",
        "--zonemode=none",
        "--hipri=0",
        "--name=a",
        "--size=1g",
        "--registerfiles",
        "--fixedbufs",
        "--ioengine=libaio",
        "--name=b",
        "--size=1g",
        "--ioengine=sync",
        "--iodepth=8",
    ])
    .unwrap();
    let [depth, libaio, sync, tuning] = &line.warnings[..] else { panic!("{:?}", line.warnings) };
    assert!(depth.starts_with("iodepth=8: ioengine=sync has one operation in flight"), "{depth}");
    assert!(
        libaio.starts_with("ioengine=libaio: ") && sync.starts_with("ioengine=sync: "),
        "{libaio} {sync}"
    );
    assert_eq!(tuning.split(": ").next().unwrap(), "gtod_reduce=1, registerfiles=1, scramble_buffers=0");
    assert_eq!(line.plan.jobs[1].depth, 1);
}

/// Splits a line into words as a shell does, as far as `--showcmd` quotes.
pub fn shell_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' if !quoted => words.last_mut().unwrap().extend(characters.next()),
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

/// Returns the jobs of a plan as text, without the places they come from.
pub fn shape(line: &CommandLine) -> String {
    let mut jobs = line.plan.jobs.clone();
    // A stonewall between two files is written out.
    jobs.iter_mut().for_each(|job| _ = job.given.remove("stonewall"));
    format!("{jobs:?}")
}

fn shown_again(line: &CommandLine) -> CommandLine {
    let (text, _) = show::command_line(&line.sections);
    let words = shell_words(&text);
    let arguments: Vec<OsString> = words[2..].iter().map(OsString::from).collect();
    parse(&arguments, &around(&|_| None)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_is_shown_gives_the_same_plan() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(
        path("one.fio"),
        "[global]\nbs=16k\n[it's x]\nsize=(1m*3)\nwrite_bw_log\n[global]\nbs=8k\n[y]\nsize=1g\n",
    )
    .unwrap();
    fs::write(path("two.fio"), "[global]\nsize=1g\ntime_based\nruntime=9\n[z]\n[w]\nname=renamed\n").unwrap();
    let (one, two) = (path("one.fio"), path("two.fio"));
    for words in
        [&[one.as_str()][..], &[one.as_str(), two.as_str()], &["--iodepth=4", "--name=a", "--size=1g", &two]]
    {
        let first = line(words).unwrap();
        assert_eq!(shape(&shown_again(&first)), shape(&first), "{words:?}");
    }
}

#[test]
fn secrets_are_left_out_of_what_is_shown() {
    let line =
        line(&["--name=a", "--ioengine=s3", "--objects=1", "--http_s3_key=hidden", "--http_s3_keyid=id"])
            .unwrap();
    let (text, left_out) = show::command_line(&line.sections);
    assert_eq!(text, "ringbolt bench --name=a --ioengine=s3 --objects=1");
    assert_eq!(left_out, ["http_s3_key", "http_s3_keyid"]);
}
