use super::*;
use crate::job::keys;

/// Executes a command and returns its exit status.
fn status(words: &[&str]) -> ExitCode {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    execute(&arguments)
}

#[test]
fn a_job_runs_from_arguments_to_json() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, json) = (path("data"), path("out.json"));
    let words = [
        "--name=first",
        &format!("--filename={data}"),
        "--rw=write",
        "--bs=64k",
        "--size=1m",
        "--output-format=json",
        &format!("--output={json}"),
        "--eta=never",
    ];
    assert_eq!(status(&words), ExitCode::SUCCESS);
    assert_eq!(std::fs::metadata(&data).unwrap().len(), 1 << 20);
    let result: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let job = &result["jobs"][0];
    assert_eq!((&job["jobname"], &job["error"]), (&"first".into(), &0.into()));
    assert_eq!((&job["write"]["total_ios"], &job["write"]["io_bytes"]), (&16.into(), &(1 << 20).into()));
    // The file exists now: another run would overwrite it.
    assert_eq!(status(&words), ExitCode::from(NOT_RUN));
    assert_eq!(status(&[&words[..], &["--allow-overwrite"]].concat()), ExitCode::SUCCESS);
}

#[test]
fn what_can_not_be_run_has_a_status_of_its_own() {
    for words in [
        &["--name=a", "--siz=1m"][..],
        &["--cmdhelp=nothing"],
        &[],
        &["compare"],
        &["compare", "a", "b"],
        &["layers"],
        &["profile"],
    ] {
        assert_eq!(status(words), ExitCode::from(NOT_RUN), "{words:?}");
    }
    let nowhere = ["--name=a", "--size=1m", "--rw=write", "--output=/nowhere/out"];
    assert_eq!(status(&nowhere), ExitCode::from(NOT_RUN));
}

#[test]
fn questions_are_answered() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["--cmdhelp"],
        &["--cmdhelp=bs"],
        &["--enghelp"],
        &["--enghelp=s3"],
    ] {
        assert_eq!(status(words), ExitCode::SUCCESS, "{words:?}");
    }
    let text = help::key("blocksize").unwrap();
    for part in ["bs, blocksize", "default  4k", "example  bs=4k,8k", "io_uring, ringbolt, s3"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let listed = help::keys();
    assert!(keys::all().all(|key| listed.contains(key.name)));
    assert!(help::engines(Some("ringbolt")).unwrap().contains("opmix"));
    assert!(help::engines(Some("sg")).unwrap_err().to_string().contains("use io_uring"));
}

/// The manual mentions only keys and options that exist.
#[test]
fn the_manual_names_what_there_is() {
    let words =
        MANUAL.split(|character: char| !(character.is_ascii_alphanumeric() || "_-=".contains(character)));
    for word in words.filter_map(|word| word.split_once('=').map(|(name, _)| name)) {
        let name = word.trim_start_matches('-');
        let option = crate::job::command_line::RUN_OPTIONS.contains(&name);
        let shell = name.chars().all(|character| character.is_ascii_uppercase());
        assert!(option || shell || matches!(keys::find(name), keys::Found::Built(_)), "{word} is not there");
    }
}

/// Each help says what the command is for, not how it works.
#[test]
fn the_help_of_a_subcommand_begins_with_what_it_does() {
    fn help<T: Args>() -> String {
        subcommand::<T>("ringbolt bench x").render_long_help().to_string()
    }
    let helps =
        [help::<report::compare::Arguments>(), help::<layers::LayersArgs>(), help::<profile::ProfileArgs>()];
    for (help, begin) in helps.iter().zip(["Compare", "Run one job on the raw drive", "Measure a drive"]) {
        assert!(help.starts_with(begin), "{help}");
        assert!(help.contains("Usage: ringbolt bench x"), "{help}");
    }
}
