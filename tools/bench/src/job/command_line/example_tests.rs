use super::tests::{shape, shell_words};
use super::{CommandLine, parse};
use crate::job::tests::around;
use crate::job::{JobError, MASK, Refusals, Surroundings, parser, resolve, show};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the environment variables that the examples use.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "DRIVE" => "/dev/no-such-drive",
        "RATE" => "5000",
        "ENDPOINT" => "127.0.0.1:9000",
        "FIO_RW" => "randread",
        "FIO_BS" => "4k",
        "DIR" | "FIO_DIR" => "/tmp",
        _ => return None,
    };
    Some(value.to_owned())
}

fn job_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "fio"));
    files.sort();
    files
}

fn examples() -> Vec<PathBuf> {
    let files = job_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs"));
    assert!(files.len() >= 13, "only {files:?} are found");
    files
}

fn parsed(words: &[&str]) -> Result<CommandLine, Refusals> {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    parse(&arguments, &around(&environment))
}

#[test]
fn every_example_is_understood_and_says_what_it_answers() {
    for file in examples() {
        let line = parsed(&[file.to_str().unwrap()]).unwrap_or_else(|error| panic!("{error}"));
        assert!(line.warnings.is_empty(), "{}: {:?}", file.display(), line.warnings);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("; ") && text.lines().next().unwrap().ends_with(['?', '.']),
            "{}",
            file.display()
        );
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(&format!(" {name}\n")), "{name} does not show how it is run");
    }
}

#[test]
fn every_example_shown_as_a_command_gives_the_same_plan() {
    for file in examples() {
        let first = parsed(&[file.to_str().unwrap()]).unwrap();
        let (text, left_out) = show::command_line(&first.sections);
        assert!(left_out.is_empty() && !text.contains(MASK), "{text}");
        let words = shell_words(&text);
        let words: Vec<&str> = words[2..].iter().map(String::as_str).collect();
        let again = parsed(&words).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shape(&again), shape(&first), "{text}");
    }
}

/// Each example of fio's package is accepted, or refused for a key or value that the message names.
#[test]
fn examples_of_fio_are_taken_or_refused_by_name() {
    let directory =
        std::env::var("FIO_EXAMPLES").unwrap_or_else(|_| "/usr/share/doc/fio/examples".to_owned());
    let files = job_files(Path::new(&directory));
    if files.is_empty() {
        println!("no examples of fio in {directory}: set FIO_EXAMPLES to a folder that has them");
        return;
    }
    let mut taken = 0;
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        match parsed(&[file.to_str().unwrap()]) {
            Ok(_) => taken += 1,
            Err(refusals) => refusals.iter().for_each(|error| {
                let key = match error {
                    JobError::NotBuilt { key, .. } => key.clone(),
                    JobError::Value { key, value, .. } => format!("{key}={value}"),
                    JobError::Impossible { reason, .. } => reason.clone(),
                    other => panic!("{}: no key is named: {other}", file.display()),
                };
                *refused.entry(key).or_default() += 1;
            }),
        }
    }
    println!("{} of {} taken; refused:", taken, files.len());
    for (key, count) in refused {
        println!("{count:4} {key}");
    }
    assert!(taken > 0, "not one of {} is taken", files.len());
}

/// Generates a repeatable sequence of numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Changes a text at one place: a character is lost, doubled or replaced, lines are swapped, or
/// another key's value is inserted.
fn mutate(text: &mut Vec<char>, numbers: &mut Numbers) {
    const PIECES: [&str; 24] = [
        "=",
        "\n",
        "[",
        "]",
        "${",
        "}",
        "$ncpus",
        "(",
        ")^",
        "99999999999999999999",
        "0x",
        "-",
        "/",
        ":",
        ",",
        "%",
        "k",
        "zipf:",
        "zoned:1/",
        "get/1",
        "include ",
        "é",
        "\0",
        ";",
    ];
    let at = numbers.below(text.len() + 1);
    let end = (at + numbers.below(6)).min(text.len());
    match numbers.below(4) {
        0 => _ = text.drain(at..end),
        1 => {
            let copy: Vec<char> = text[at..end].to_vec();
            text.splice(at..at, copy);
        }
        2 => _ = text.splice(at..end, PIECES[numbers.below(PIECES.len())].chars()).count(),
        _ => {
            let other = numbers.below(text.len().max(1));
            if at < text.len() {
                text.swap(at, other);
            }
        }
    }
}

#[test]
fn no_text_makes_it_panic() {
    let mut numbers = Numbers(0x5eed);
    let surroundings: Surroundings<'_> = around(&environment);
    let originals: Vec<Vec<char>> =
        examples().iter().map(|file| std::fs::read_to_string(file).unwrap().chars().collect()).collect();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..4000 {
        let mut text = originals[round % originals.len()].clone();
        for _ in 0..=numbers.below(12) {
            mutate(&mut text, &mut numbers);
        }
        let text: String = text.into_iter().collect();
        let mut refusals = Refusals::default();
        let sections = parser::parse_text(&text, Path::new("mutant.fio"), 1, &surroundings, &mut refusals);
        resolve(&sections, &surroundings, &mut refusals);
        show::command_line(&sections);
        match refusals.or_else(()) {
            Ok(()) => taken += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(
        taken > 100 && refused > 100,
        "{taken} taken and {refused} refused: the changes are too small or too large"
    );
}

#[test]
fn no_command_line_makes_it_panic() {
    const WORDS: [&str; 19] = [
        "--name=a",
        "--name",
        "--size",
        "1g",
        "--bs=,",
        "--rate=,,",
        "--cmdhelp",
        "--section=a",
        "--",
        "--=",
        "--x",
        "--runtime=1h",
        "--time_based",
        "--op=mixed",
        "--opmix=get/1",
        "--ioengine=s3",
        "--eta",
        "--output-format=,",
        "",
    ];
    let mut numbers = Numbers(0xc0de);
    for _ in 0..4000 {
        let count = numbers.below(8);
        let words: Vec<&str> = (0..count).map(|_| WORDS[numbers.below(WORDS.len())]).collect();
        if let Err(error) = parsed(&words) {
            assert!(!error.to_string().is_empty(), "{words:?}");
        }
    }
}
