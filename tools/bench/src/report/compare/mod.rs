//! This module compares two runs: what changed, and whether it can be chance.
//!
//! Invariants: a change counts as a regression only when its whole interval is beyond the
//! threshold; a figure without an interval never does. The same files give the same answer.
//!
//! With several files per side, an interval follows from the differences between the runs of a
//! side. With one file per side, it follows from the differences between the intervals of each run,
//! which say nothing about the variation from run to run, nor about tails.

mod read;
mod show;
mod statistics;

use read::{Figure, File};
use serde::Serialize;
use statistics::Difference;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare two runs of the same jobs: which figures changed, by how much, and how sure that is
///
/// From JSON of `ringbolt bench` or fio. One run a side tells large changes of rates, means and medians; tails, CPU
/// time and fio's files take at least 3 runs a side, made in turns: before, after, before, after. The noisier the
/// machine, the more: an interval that is wider than the change looked for needs more runs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  ringbolt bench compare before.json after.json
  ringbolt bench compare b1.json,b2.json,b3.json a1.json,a2.json,a3.json --threshold 2
                                              three runs on each side; changes for the worse up to 2% pass

Exit status: 0 nothing became worse; 3 something did; 2 the input can not be used.")]
pub struct Arguments {
    /// JSON of the run before; several runs of the same jobs separated by commas
    #[arg(value_name = "A.json[,A2.json]")]
    pub before: String,
    /// JSON of the run after, likewise
    #[arg(value_name = "B.json[,B2.json]")]
    pub after: String,
    /// Changes for the worse up to so many per cent are let pass
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub threshold: f64,
    /// Print the comparison as JSON
    #[arg(long)]
    pub json: bool,
}

/// Says why two runs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is larger than {limit} bytes, which no result of a run is", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} is not JSON of ringbolt bench or fio: {reason}; write it with --output-format=json+", path.display())]
    NotAResult { path: PathBuf, reason: String },
    #[error(
        "the two sides have no job in common that did anything: before {before}, after {after}; give runs of the same jobs"
    )]
    NothingInCommon { before: String, after: String },
    #[error("a threshold of {0} per cent cannot be meant; give a number from 0 to 1000")]
    Threshold(f64),
}

/// Judges a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The figure is worse beyond the threshold, even at the better end of the interval.
    Regression,
    /// The interval does not contain zero; this also applies to the next one.
    Worse,
    Better,
    /// The interval contains zero.
    Same,
    /// There is no interval, because the files do not say how the figure varies.
    Unknown,
}

/// Describes the change of one figure of one job in one direction.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub job: String,
    pub direction: String,
    pub figure: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
    /// This is the geometric mean of several files.
    pub before: f64,
    pub after: f64,
    pub change_percent: f64,
    /// This is the interval of the change. Between equal runs, no figure of the comparison leaves
    /// its interval in 95 of 100 comparisons.
    pub interval_percent: Option<(f64, f64)>,
    pub verdict: Verdict,
}

/// Says what intervals follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgedBy {
    /// Intervals follow from the differences between the runs of each side.
    Runs,
    /// Intervals follow from the differences between the intervals of each run.
    Intervals,
}

/// Holds the whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub threshold_percent: f64,
    /// Counts the files of each side.
    pub runs: (usize, usize),
    pub judged_by: JudgedBy,
    pub regressions: usize,
    /// Lists the jobs and directions that only this side has, and likewise `only_after`.
    pub only_before: Vec<String>,
    pub only_after: Vec<String>,
    pub changes: Vec<Change>,
}

/// Compares and prints. The exit status is 0 without a regression, 3 with at least one, and 2 when
/// the input cannot be used.
pub fn execute(arguments: &Arguments) -> ExitCode {
    match compare(arguments) {
        Ok(comparison) => {
            print!("{}", if arguments.json { show::json(&comparison) } else { show::table(&comparison) });
            if comparison.regressions > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("ringbolt bench compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns the comparison without printing it.
///
/// # Errors
/// Fails when a file cannot be read or is no result, when the sides have nothing in common, or when
/// the threshold is out of range.
pub fn compare(arguments: &Arguments) -> Result<Comparison, CompareError> {
    let threshold = arguments.threshold;
    if !(0.0..=1000.0).contains(&threshold) {
        return Err(CompareError::Threshold(threshold));
    }
    let before = read::side(&arguments.before)?;
    let after = read::side(&arguments.after)?;
    let (before_keys, after_keys) = (keys(&before), keys(&after));
    let both: Vec<&(String, String)> = before_keys.intersection(&after_keys).collect();
    if both.is_empty() {
        let names = |keys: &BTreeSet<(String, String)>| format!("{:?}", named(keys.iter()));
        return Err(CompareError::NothingInCommon { before: names(&before_keys), after: names(&after_keys) });
    }
    let judged_by =
        if statistics::are_enough(before.len(), after.len()) { JudgedBy::Runs } else { JudgedBy::Intervals };
    let runs = (before.len(), after.len());
    let mut found = Vec::new();
    for (job, direction) in both {
        let (before, after) = (figures(&before, job, direction), figures(&after, job, direction));
        for kind in read::KINDS {
            let of = |side: &[Vec<Figure>]| -> Vec<Figure> {
                side.iter().flat_map(|file| file.iter().find(|figure| figure.kind == kind).cloned()).collect()
            };
            let change = change(&of(&before), &of(&after), judged_by);
            found.extend(change.map(|(change, difference)| {
                (Change { job: job.clone(), direction: direction.clone(), ..change }, difference)
            }));
        }
    }
    let changes = judge(found, threshold);
    Ok(Comparison {
        threshold_percent: threshold,
        runs,
        judged_by,
        regressions: changes.iter().filter(|change| change.verdict == Verdict::Regression).count(),
        only_before: named(before_keys.difference(&after_keys)),
        only_after: named(after_keys.difference(&before_keys)),
        changes,
    })
}

/// Returns each job and direction that all files of a side have.
fn keys(side: &[File]) -> BTreeSet<(String, String)> {
    let of = |file: &File| -> BTreeSet<(String, String)> { file.figures.keys().cloned().collect() };
    let mut files = side.iter().map(of);
    let first = files.next().unwrap_or_default();
    files.fold(first, |all, one| all.intersection(&one).cloned().collect())
}

fn named<'a>(keys: impl Iterator<Item = &'a (String, String)>) -> Vec<String> {
    keys.map(|(job, direction)| format!("{job} {direction}")).collect()
}

/// Returns the figures of a job and direction, by file.
fn figures(side: &[File], job: &str, direction: &str) -> Vec<Vec<Figure>> {
    let key = (job.to_owned(), direction.to_owned());
    side.iter().filter_map(|file| file.figures.get(&key).cloned()).collect()
}

/// Returns a change that is not judged yet; `None` if one side does not have the figure.
fn change(before: &[Figure], after: &[Figure], judged_by: JudgedBy) -> Option<(Change, Option<Difference>)> {
    let mean = |side: &[Figure]| {
        let logs: f64 = side.iter().map(|figure| figure.value.ln()).sum();
        (logs / side.len() as f64).exp()
    };
    let kind = before.first()?.kind;
    after.first()?;
    let (value_before, value_after) = (mean(before), mean(after));
    let difference = match judged_by {
        JudgedBy::Runs => statistics::between_runs(before, after),
        JudgedBy::Intervals => statistics::within_runs(before, after),
    };
    let change = Change {
        job: String::new(),
        direction: String::new(),
        figure: kind.name,
        unit: kind.unit,
        more_is_better: kind.more_is_better,
        before: value_before,
        after: value_after,
        change_percent: (value_after / value_before - 1.0) * 100.0,
        interval_percent: None,
        verdict: Verdict::Unknown,
    };
    Some((change, difference))
}

/// Judges all changes together: the more figures there are, the more one of them differs by chance.
fn judge(found: Vec<(Change, Option<Difference>)>, threshold: f64) -> Vec<Change> {
    let differences: Vec<Difference> = found.iter().filter_map(|(_, difference)| *difference).collect();
    let level = statistics::level(&differences);
    let judged = |(change, difference): (Change, Option<Difference>)| {
        let interval_percent = difference.map(|difference| statistics::interval(&difference, level));
        let verdict = verdict(interval_percent, change.more_is_better, threshold);
        Change { interval_percent, verdict, ..change }
    };
    found.into_iter().map(judged).collect()
}

fn verdict(interval: Option<(f64, f64)>, more_is_better: bool, threshold: f64) -> Verdict {
    let Some((low, high)) = interval else { return Verdict::Unknown };
    // The signs are turned so that more is worse.
    let (least, most) = if more_is_better { (-high, -low) } else { (low, high) };
    match (least, most) {
        (least, _) if least > threshold => Verdict::Regression,
        (least, _) if least > 0.0 => Verdict::Worse,
        (_, most) if most < 0.0 => Verdict::Better,
        _ => Verdict::Same,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
