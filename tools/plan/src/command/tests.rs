use super::*;
use crate::model::testing;
use clap::{Args, FromArgMatches};
use std::path::Path;

/// Executes a command and returns its exit status.
fn status(words: &[&str]) -> ExitCode {
    let command = PlanArgs::augment_args(clap::Command::new("plan"));
    let words = std::iter::once("plan").chain(words.iter().copied());
    match command.try_get_matches_from(words).and_then(|matches| PlanArgs::from_arg_matches(&matches)) {
        Ok(args) => execute(&args),
        Err(error) => ExitCode::from(u8::try_from(error.exit_code()).unwrap()),
    }
}

/// Holds a directory with the examples and constants.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        assert_eq!(status(&["init", "--directory", &place.path("")]), ExitCode::SUCCESS);
        let constants = serde_json::to_string(&testing::constants()).unwrap();
        std::fs::write(place.path("constants.json"), constants).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs the examples with few samples.
    fn run(&self, more: &[&str]) -> ExitCode {
        let (workload, hardware) = (self.path("workload.toml"), self.path("hardware.toml"));
        status(&[&["run", &workload, &hardware, "--set", "plan.samples=100"], more].concat())
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

#[test]
fn the_examples_become_a_plan_in_every_form() {
    let place = Place::new();
    let (text, json, csv, html) =
        (place.path("plan.txt"), place.path("plan.json"), place.path("plan.csv"), place.path("plan.html"));
    assert_eq!(place.run(&["--output", &text, "--html", &html]), ExitCode::SUCCESS);
    assert_eq!(place.run(&["--json", "--output", &json]), ExitCode::SUCCESS);
    assert_eq!(place.run(&["--csv", "--output", &csv]), ExitCode::SUCCESS);
    let plan = crate::result::Plan::from_json(&place.text("plan.json")).unwrap();
    assert_eq!(plan.workload.horizon.samples, 100);
    assert_eq!(place.text("plan.csv").lines().count(), plan.months.len() + 1);
    assert!(place.text("plan.txt").contains("\nAnswers\n  Needed in "));
    assert!(place.text("plan.html").ends_with("</html>\n"));
    let beside = format!("Constants: those of {}.", place.path("constants.json"));
    assert!(plan.notes.contains(&beside), "{:?}", plan.notes);
}

#[test]
fn a_sweep_has_a_row_for_each_combination() {
    let place = Place::new();
    let csv = place.path("sweep.csv");
    let sweeps = ["--sweep", "drives.size=7.68TB,15.36TB", "--sweep", "drives.count=8,12,24"];
    assert_eq!(place.run(&[&sweeps[..], &["--csv", "--output", &csv]].concat()), ExitCode::SUCCESS);
    let text = place.text("sweep.csv");
    assert!(text.starts_with("drives.size,drives.count,first_month,"), "{text}");
    assert_eq!(text.lines().count(), 7);
    // What is set holds for all combinations, but a sweep overrides it.
    let all = [&sweeps[..], &["--set", "drives.count=1", "--json", "--output", &csv]].concat();
    assert_eq!(place.run(&all), ExitCode::SUCCESS);
    let json: serde_json::Value = serde_json::from_str(&place.text("sweep.csv")).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 6);
    let drives = |row: usize| json["rows"][row]["first"]["drives"].as_u64().unwrap();
    assert_eq!((drives(0) % 8, drives(2) % 24), (0, 0));
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let place = Place::new();
    let (one, two) = (place.path("1.csv"), place.path("2.csv"));
    assert_eq!(place.run(&["--csv", "--output", &one]), ExitCode::SUCCESS);
    assert_eq!(place.run(&["--csv", "--output", &two]), ExitCode::SUCCESS);
    assert_eq!(place.text("1.csv"), place.text("2.csv"));
}

#[test]
fn what_makes_no_sense_has_a_status_of_its_own() {
    let place = Place::new();
    let wrong = ExitCode::from(NOT_UNDERSTOOD);
    for words in [
        &["--set", "drives.cont=12"][..],
        &["--set", "drives.count"],
        &["--set", "drives.count=0"],
        &["--sweep", "drives.count=8,-1"],
        &["--sweep", "drives.count=8,12", "--html", "x.html"],
        &["--at", "1999-01"],
        &["--at", "soon"],
        &["--json", "--csv"],
        &["--constants", "nowhere.json"],
        &["--live", "not a url"],
        &["--live", "http://127.0.0.1:1", "--set", "requests.get_per_s=1"],
        &["--live", "http://127.0.0.1:1", "--seconds", "0"],
    ] {
        assert_eq!(place.run(words), wrong, "{words:?}");
    }
    for words in [
        &["run", "only-one.toml"][..],
        &["run", "nowhere.toml", "nowhere.toml"],
        &["plant"],
        &[],
        &["scan"],
        &["scan", "--endpoint", "http://127.0.0.1:1"],
        &["scan", "--endpoint", "ftp://127.0.0.1", "--bucket", "photos"],
        &["scan", "--listing", "a", "--inventory", "b"],
        &["scan", "--listing", &place.path("nowhere")],
        &["diff", "--live", "http://127.0.0.1:1"],
        &["diff", &place.path("nowhere"), "--live", "http://127.0.0.1:1"],
        &["diff", &place.path("workload.toml"), "--live", "http://127.0.0.1:1"],
    ] {
        assert_eq!(status(words), wrong, "{words:?}");
    }
    assert_eq!(status(&["init", "--directory", &place.path("")]), wrong, "the files are there");
    let nowhere = place.path("nowhere/plan.txt");
    assert_eq!(place.run(&["--output", &nowhere]), ExitCode::FAILURE);
}

#[test]
fn errors_name_what_is_wrong() {
    let place = Place::new();
    std::fs::write(place.path("constants.json"), "{}").unwrap();
    let args = |words: &[&str]| {
        let (workload, hardware) = (place.path("workload.toml"), place.path("hardware.toml"));
        let words = [&["plan", "run", &workload, &hardware], words].concat();
        let matches = PlanArgs::augment_args(clap::Command::new("plan")).try_get_matches_from(words).unwrap();
        PlanArgs::from_arg_matches(&matches).unwrap()
    };
    let error = |words: &[&str]| match args(words).action {
        Action::Run(args) => run::run(&args).unwrap_err().to_string(),
        _ => panic!("not run"),
    };
    assert!(error(&[]).contains("constants.json: no constants"), "{}", error(&[]));
    std::fs::remove_file(place.path("constants.json")).unwrap();
    std::fs::write(place.path("constants.json"), serde_json::to_string(&testing::constants()).unwrap())
        .unwrap();
    let at = error(&["--at", "1999-01", "--set", "plan.start=\"2027-01\""]);
    assert!(at.contains("--at 1999-01: the plan goes from 2027-01 to "), "{at}");
    let sweep = error(&["--sweep", "drives.count=8,0"]);
    assert!(sweep.starts_with("with drives.count=0: "), "{sweep}");
    assert!(!Path::new("x.html").exists());
}

#[test]
fn a_listing_becomes_sizes_that_a_plan_takes() {
    let place = Place::new();
    let (listing, sizes, plan) =
        (place.path("listing.txt"), place.path("sizes.json"), place.path("plan.json"));
    let line =
        |number: u64| format!("2026-11-21 10:00:00 {:>10} photos/{number:04}.jpg\n", 1000 + number % 7);
    std::fs::write(&listing, (0..500).map(line).collect::<String>()).unwrap();
    assert_eq!(status(&["scan", "--listing", &listing, "--output", &sizes]), ExitCode::SUCCESS);
    let workload = place.text("workload.toml");
    let (before, rest) = workload.split_once("\nsizes = [").unwrap();
    let (_, after) = rest.split_once("\n]\n").unwrap();
    std::fs::write(place.path("workload.toml"), format!("{before}\nscan = \"sizes.json\"\n{after}")).unwrap();
    assert_eq!(place.run(&["--json", "--output", &plan]), ExitCode::SUCCESS);
    let plan = crate::result::Plan::from_json(&place.text("plan.json")).unwrap();
    let sizes = plan.workload.objects.sizes.classes();
    assert_eq!((sizes[0].lower_bytes, sizes.last().unwrap().upper_bytes), (1000, 1006));
}

/// No server listens at this address.
#[test]
fn a_node_that_does_not_answer_is_no_fault_of_the_arguments() {
    let place = Place::new();
    let plan = place.path("plan.json");
    assert_eq!(place.run(&["--json", "--output", &plan]), ExitCode::SUCCESS);
    let before = place.text("plan.json");
    let nobody = ["--live", "http://127.0.0.1:1", "--seconds", "1"];
    assert_eq!(status(&[&["diff", &plan], &nobody[..]].concat()), ExitCode::FAILURE);
    assert_eq!(place.run(&[&["--json", "--output", &plan], &nobody[..]].concat()), ExitCode::FAILURE);
    assert_eq!(place.text("plan.json"), before, "an earlier plan stays");
}

/// Every option of an example exists, and every example is valid.
#[test]
fn the_examples_of_the_help_are_understood() {
    let mut command = PlanArgs::augment_args(clap::Command::new("ringbolt plan")).bin_name("ringbolt plan");
    command.build();
    command.clone().debug_assert();
    let mut understood = 0;
    let all: Vec<clap::Command> =
        std::iter::once(command.clone()).chain(command.get_subcommands().cloned()).collect();
    for one in &all {
        let help = one.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter_map(|line| line.split_once("ringbolt plan ").map(|(_, rest)| rest)) {
            // Explanations on the same line follow two blanks.
            let line = line.split("  ").next().unwrap().replace('\'', "");
            let words = std::iter::once("plan").chain(line.split_whitespace());
            let is_example = help.contains(&format!("  ringbolt plan {line}"));
            if is_example {
                let parsed = command.clone().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                understood += 1;
            }
        }
    }
    assert!(understood >= 12, "{understood} examples");
}
