//! This module parses the command line: options of the run, keys of jobs and job files, in any
//! order.
//!
//! The grammar is fio's: `--name` begins a job, and keys before the first job or after
//! `--name=global` are inherited, also by the job files. Jobs of the command line come before those
//! of the files. `--key value` and `--key=value` mean the same, except that a flag takes its value
//! with `=` only. One dash means the same as two.
//!
//! Invariant: all arguments that cannot be understood are reported at once.

use super::error::{JobError, Place, Refusals};
use super::keys::{self, Found};
use super::parser::{GLOBAL, Section, Surroundings, entry, parse_file};
use super::resolve::{Resolved, resolve};
use crate::cli::{Eta, OutputFormat, RunOptions};
use crate::spec::{Job, ObjectOp, Plan};
use ringbolt_tool_common::nearest;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Says what the command is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Run,
    Help,
    Version,
    /// Prints the help of one key, or of all keys when it is `None`.
    KeyHelp(Option<String>),
    EngineHelp(Option<String>),
}

/// Holds a parsed command line.
#[derive(Debug)]
pub struct CommandLine {
    pub action: Action,
    pub options: RunOptions,
    pub sections: Vec<Section>,
    pub plan: Plan,
    /// Holds the warnings to print before the run, one per line.
    pub warnings: Vec<String>,
}

/// Parses a command line, and the job files that it names.
///
/// # Errors
/// Returns everything that could not be understood.
pub fn parse(arguments: &[OsString], around: &Surroundings<'_>) -> Result<CommandLine, Refusals> {
    let mut line = Line::default();
    let mut words = Words { words: texts(arguments)?, next: 0 };
    while let Some(word) = words.take() {
        match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            Some("") if word == "--" => {
                while let Some(file) = words.take() {
                    line.files.push(PathBuf::from(file));
                }
            }
            None | Some("") => line.files.push(PathBuf::from(word)),
            Some("h") => line.action = Some(Action::Help),
            Some("v") => line.action = Some(Action::Version),
            Some(option) => {
                let outcome = line.option(option, &mut words);
                line.refusals.take(outcome);
            }
        }
    }
    line.finish(around)
}

fn texts(arguments: &[OsString]) -> Result<Vec<&str>, JobError> {
    let text = |argument: &'_ OsString| {
        JobError::Nothing(format!("{argument:?} is not UTF-8: rename the file, or use a link to it"))
    };
    arguments.iter().map(|argument| argument.to_str().ok_or_else(|| text(argument))).collect()
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next).copied();
        self.next += usize::from(word.is_some());
        word
    }

    /// Takes the next word, unless it is another option.
    fn take_value(&mut self) -> Option<&'a str> {
        let is_value = self.words.get(self.next).is_some_and(|word| !word.starts_with('-') || *word == "-");
        if is_value { self.take() } else { None }
    }
}

#[derive(Default)]
struct Line {
    action: Option<Action>,
    options: RunOptions,
    formats: Vec<OutputFormat>,
    sections: Vec<Section>,
    files: Vec<PathBuf>,
    refusals: Refusals,
}

impl Line {
    fn option(&mut self, option: &str, words: &mut Words<'_>) -> Result<(), JobError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if self.run_option(name, value, words)? {
            return Ok(());
        }
        let separate = matches!(keys::find(name), Found::Built(key) if !key.is_flag());
        let value = if value.is_none() && separate { words.take_value() } else { value };
        self.key(name, value)
    }

    fn key(&mut self, name: &str, value: Option<&str>) -> Result<(), JobError> {
        let found =
            entry(name, value.map(str::to_owned), Place::CommandLine).map_err(|error| match error {
                // The user may have meant an option of the run.
                JobError::UnknownKey { place, key, nearest } => {
                    let near = nearest
                        .or_else(|| nearest::nearest(&key, RUN_OPTIONS.into_iter()).map(str::to_owned));
                    JobError::UnknownKey { place, key, nearest: near }
                }
                other => other,
            })?;
        let section = |name: &str| Section {
            name: name.to_owned(),
            entries: Vec::new(),
            place: Place::CommandLine,
            source: 0,
        };
        if found.key.name == "name" {
            self.sections.push(section(value.unwrap_or_default()));
            return Ok(());
        }
        if self.sections.is_empty() {
            self.sections.push(section(GLOBAL));
        }
        self.sections.last_mut().expect("one was just pushed").entries.push(found);
        Ok(())
    }

    /// Applies an option of the run. Returns false if `name` is not one.
    fn run_option(
        &mut self,
        name: &str,
        value: Option<&str>,
        words: &mut Words<'_>,
    ) -> Result<bool, JobError> {
        let options = &mut self.options;
        let mut needed = || {
            let value = value.or_else(|| words.take_value()).filter(|value| !value.is_empty());
            value.ok_or_else(|| option_error(name, "needs a value"))
        };
        match name {
            "allow-overwrite" | "parse-only" | "showcmd" | "help" | "version" | "minimal" | "readonly"
            | "append-terse"
                if value.is_some() =>
            {
                return Err(option_error(name, "takes no value"));
            }
            "minimal" => self.formats.push(OutputFormat::Terse),
            "append-terse" => self.formats.extend([OutputFormat::Normal, OutputFormat::Terse]),
            "readonly" => options.read_only = true,
            // fio uses these for its output and its memory; here they change nothing.
            "eta-newline" | "eta-interval" | "alloc-size" | "max-jobs" => _ = needed()?,
            "output" => options.output = Some(PathBuf::from(needed()?)),
            "html" => options.html = Some(PathBuf::from(needed()?)),
            "section" => options.sections.push(needed()?.to_owned()),
            "output-format" => self.formats.extend(formats(needed()?)?),
            "status-interval" => options.status_interval_ns = Some(interval(needed()?)?),
            "eta" => options.eta = eta(needed()?)?,
            "cmdhelp" | "enghelp" => {
                let of = value.filter(|of| !of.is_empty() && *of != "all").map(str::to_owned);
                let action = if name == "cmdhelp" { Action::KeyHelp(of) } else { Action::EngineHelp(of) };
                self.action.get_or_insert(action);
            }
            "allow-overwrite" => options.allow_overwrite = true,
            "parse-only" => options.parse_only = true,
            "showcmd" => options.show_command = true,
            "help" => _ = self.action.get_or_insert(Action::Help),
            "version" => _ = self.action.get_or_insert(Action::Version),
            _ => match FIO_OPTIONS.iter().find(|(names, _)| names.contains(&name)) {
                Some((_, instead)) => {
                    return Err(option_error(name, &format!("fio has it, not built here: {instead}")));
                }
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    fn finish(mut self, around: &Surroundings<'_>) -> Result<CommandLine, Refusals> {
        let action = self.action.unwrap_or(Action::Run);
        if !self.formats.is_empty() {
            self.formats.dedup();
            self.options.output_formats = self.formats;
        }
        let mut refusals = self.refusals;
        let mut resolved = Resolved::default();
        if action == Action::Run {
            for (index, file) in self.files.iter().enumerate() {
                self.sections.extend(parse_file(file, index + 1, around, &mut refusals));
            }
            refusals.take(select(&mut self.sections, &self.options.sections));
            if refusals.is_empty() && !self.sections.iter().any(|section| !section.is_global()) {
                refusals.add(JobError::Nothing(no_jobs(&self.files)));
            }
            resolved = resolve(&self.sections, around, &mut refusals);
            if self.options.read_only {
                resolved.plan.jobs.iter().filter_map(writes).for_each(|error| refusals.add(error));
            }
        }
        refusals.or_else(CommandLine {
            action,
            options: self.options,
            sections: self.sections,
            plan: resolved.plan,
            warnings: resolved.warnings,
        })
    }
}

/// Returns the reason why a job does more than read, or `None` if it only reads.
fn writes(job: &Job) -> Option<JobError> {
    let changes = match &job.objects.ops {
        Some(ops) => ops.iter().any(|(op, _)| !matches!(op, ObjectOp::Get | ObjectOp::Head | ObjectOp::List)),
        None => job.pattern.writes || job.pattern.trims,
    };
    changes.then(|| {
        option_error("readonly", &format!("job {} writes: give it rw=read or rw=randread", job.name))
    })
}

/// Keeps only the jobs whose names are in `wanted`; an empty list keeps all.
fn select(sections: &mut Vec<Section>, wanted: &[String]) -> Result<(), JobError> {
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(name) = wanted.iter().find(|name| !sections.iter().any(|section| section.name == **name)) {
        let names =
            sections.iter().filter(|section| !section.is_global()).map(|section| section.name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        return Err(option_error("section", &format!("no section is called {name}; there are: {names}")));
    }
    sections.retain(|section| section.is_global() || wanted.contains(&section.name));
    Ok(())
}

fn no_jobs(files: &[PathBuf]) -> String {
    match files {
        [] => "no job was given: name a job file, or write --name=NAME with the job's keys behind; \
               `ringbolt bench --help` has examples"
            .to_owned(),
        [file, ..] => format!("{}: has no jobs: a job begins with [its name]", Path::new(file).display()),
    }
}

/// Lists the options of a run that suggestions are taken from.
pub const RUN_OPTIONS: [&str; 16] = [
    "output",
    "html",
    "section",
    "output-format",
    "status-interval",
    "eta",
    "cmdhelp",
    "enghelp",
    "allow-overwrite",
    "parse-only",
    "showcmd",
    "help",
    "version",
    "minimal",
    "append-terse",
    "readonly",
];

/// Lists options of fio that are not supported, each with what to use instead.
const FIO_OPTIONS: &[(&[&str], &str)] = &[
    (&["bandwidth-log", "latency-log"], "use the keys write_bw_log, write_lat_log, write_iops_log"),
    (&["client", "server", "daemonize", "remote-config"], "start the run on each machine by itself"),
    (
        &["debug", "idle-prof", "warnings-fatal"],
        "leave it out; the report has the CPU time of the job's threads",
    ),
    (&["cpuclock-test", "crctest", "memcpytest"], "use fio for it"),
    (&["inflate-log", "merge-blktrace-only"], "use fio for it"),
    (&["trigger", "trigger-file", "trigger-timeout", "trigger-remote", "aux-path"], "leave it out"),
    (&["terse-version"], "leave it out; terse lines are of version 3"),
    (&["profile"], "use `ringbolt bench profile`, or write the job's keys"),
];

fn option_error(option: &str, reason: &str) -> JobError {
    JobError::Option { option: option.to_owned(), reason: reason.to_owned() }
}

fn formats(text: &str) -> Result<Vec<OutputFormat>, JobError> {
    text.split(',')
        .map(|name| match name {
            "normal" => Ok(OutputFormat::Normal),
            "json" => Ok(OutputFormat::Json),
            "json+" => Ok(OutputFormat::JsonPlus),
            "terse" | "minimal" => Ok(OutputFormat::Terse),
            _ => Err(option_error("output-format", &format!("{name:?} is not normal, json, json+ or terse"))),
        })
        .collect()
}

fn eta(text: &str) -> Result<Eta, JobError> {
    match text {
        "auto" => Ok(Eta::Auto),
        "always" => Ok(Eta::Always),
        "never" => Ok(Eta::Never),
        _ => Err(option_error("eta", &format!("{text:?} is not auto, always or never"))),
    }
}

fn interval(text: &str) -> Result<u64, JobError> {
    let units = super::units::Units { kb_base: 1024, machine: super::machine() };
    let nanoseconds = units.time(text, super::units::SECOND);
    match nanoseconds.map_err(|reason| option_error("status-interval", &reason))? {
        0 => Err(option_error("status-interval", "has to be more than 0")),
        nanoseconds => Ok(nanoseconds),
    }
}

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod tests;
