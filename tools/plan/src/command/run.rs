//! This module is the command `ringbolt plan run`: it makes a plan from files and writes a report.

use super::output::Output;
use super::{CommandError, init, now_unix_ms};
use crate::cli::RunArgs;
use crate::constants::Constants;
use crate::input::{self, Document, Override, Sweep};
use crate::live::{self, node::LiveNode};
use crate::model;
use crate::month::Month;
use crate::report::{self, sweep};
use crate::result::Plan;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// This file is used if it is in the directory of the hardware file.
const CONSTANTS: &str = "constants.json";

/// Holds the input of a plan except for the overrides.
struct Maker {
    workload: Document,
    hardware: Document,
    constants: Constants,
    /// Says where the constants come from.
    note: String,
    /// Replaces the objects and rates of the workload.
    live: Option<LiveNode>,
    now_unix_ms: u64,
}

/// Makes a plan, or one for each combination of the sweeps, and writes it.
pub fn run(args: &RunArgs) -> Result<(), CommandError> {
    let overrides = overrides(args)?;
    let sweeps = args.sweeps.iter().map(|text| Sweep::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let combinations = Sweep::combinations(&sweeps)?;
    let all = overrides.iter().map(|one| &one.path).chain(sweeps.iter().map(|sweep| &sweep.path));
    check_live(args, all)?;
    let mut maker = Maker::of(args)?;
    let output = Output::to(args.output.as_deref())?;
    let page = args.html.as_deref().map(|path| Output::to(Some(path))).transpose()?;
    if let Some(url) = &args.live {
        eprintln!("Watching {url} for {} s.", args.seconds);
        maker.live = Some(live::read(url, f64::from(args.seconds), &args.devices)?);
    }
    if !sweeps.is_empty() {
        let rows = sweep_rows(&maker, &overrides, combinations)?;
        let text = match (args.json, args.csv) {
            (true, _) => sweep::json(&rows),
            (_, true) => sweep::csv(&rows),
            _ => sweep::text(&rows),
        };
        return Ok(output.write(&text)?);
    }
    let plan = maker.plan(&overrides)?;
    check_month(&plan, args.at)?;
    let text = match (args.json, args.csv) {
        (true, _) => plan.to_json(),
        (_, true) => report::csv(&plan),
        _ => report::text(&plan, args.at),
    };
    output.write(&text)?;
    if let (Some(page), Some(path)) = (page, &args.html) {
        page.write(&report::html(&plan, args.at))?;
        eprintln!("The page is in {}.", path.display());
    }
    Ok(())
}

/// Returns what the command line says in place of the files; of two that say the same, the last counts.
fn overrides(args: &RunArgs) -> Result<Vec<Override>, CommandError> {
    let named = [("drives.count", &args.drives), ("redundancy.format", &args.redundancy)];
    let of_flag = |(path, value): (&str, &Option<String>)| {
        let value = value.clone()?;
        Some(Override { path: path.to_owned(), value })
    };
    let mut overrides: Vec<Override> = named.into_iter().filter_map(of_flag).collect();
    for text in &args.overrides {
        overrides.push(text.parse()?);
    }
    Ok(overrides)
}

impl Maker {
    fn of(args: &RunArgs) -> Result<Self, CommandError> {
        let workload = document(args.workload.as_deref(), init::WORKLOAD)?;
        let hardware = document(args.hardware.as_deref(), init::HARDWARE)?;
        let (constants, note) = constants(args.constants.as_deref(), &hardware.name)?;
        Ok(Self { workload, hardware, constants, note, live: None, now_unix_ms: now_unix_ms() })
    }

    fn plan(&self, overrides: &[Override]) -> Result<Plan, CommandError> {
        let now_unix_s = self.now_unix_ms / 1000;
        let here = Path::new(".");
        let mut input = input::parse(&self.workload, &self.hardware, overrides, here, now_unix_s)?;
        if let Some(node) = &self.live {
            let nodes = input.hardware.node.count.unwrap_or(1);
            input.notes.extend(live::apply(node, &mut input.workload, nodes));
            input.notes.extend(live::apply_wear(node, &mut input.hardware));
            input.notes.extend(node.notes.iter().cloned());
        }
        let mut plan = model::plan(&input.workload, &input.hardware, &self.constants, self.now_unix_ms)?;
        let by_model = std::mem::take(&mut plan.notes);
        plan.notes = input.notes.into_iter().chain(by_model).chain([self.note.clone()]).collect();
        Ok(plan)
    }
}

/// Reads the file that was named, or the one that `ringbolt plan init` creates.
fn document(named: Option<&Path>, usual: &str) -> Result<Document, CommandError> {
    match named {
        Some(path) => Ok(Document::read(path)?),
        None if !Path::new(usual).exists() => Err(CommandError::NoFile(PathBuf::from(usual))),
        None => Ok(Document::read(Path::new(usual))?),
    }
}

/// Returns the constants, and a sentence that says which ones they are.
fn constants(named: Option<&Path>, hardware: &Path) -> Result<(Constants, String), CommandError> {
    let beside = hardware.with_file_name(CONSTANTS);
    let path = match named {
        Some(path) => path,
        None if beside.exists() => &beside,
        None => {
            let note = "Constants: those that come with the program, measured on another machine; `ringbolt plan \
                        calibrate` measures them on this one.";
            return Ok((Constants::shipped(), note.to_owned()));
        }
    };
    let read = Constants::from_json(&Document::read(path)?.text);
    let constants = read.map_err(|error| CommandError::Constants { path: path.to_owned(), error })?;
    Ok((constants, format!("Constants: those of {}.", path.display())))
}

/// Lists the keys whose figures `--live` takes from the node.
const LIVE_KEYS: [&str; 6] = [
    "objects.count",
    "requests.put_per_s",
    "requests.get_per_s",
    "requests.head_per_s",
    "requests.list_per_s",
    "requests.delete_per_s",
];

/// Lists the keys whose figures `--device` takes from the drive.
const DEVICE_KEYS: [&str; 1] = ["drives.endurance_used"];

fn check_live<'a>(args: &RunArgs, mut paths: impl Iterator<Item = &'a String>) -> Result<(), CommandError> {
    let of_node: &[&str] = if args.live.is_some() { &LIVE_KEYS } else { &[] };
    let of_devices: &[&str] = if args.devices.is_empty() { &[] } else { &DEVICE_KEYS };
    match paths.find(|path| of_node.contains(&path.as_str()) || of_devices.contains(&path.as_str())) {
        Some(path) => Err(CommandError::SetAndLive(path.clone())),
        None => Ok(()),
    }
}

fn check_month(plan: &Plan, at: Option<Month>) -> Result<(), CommandError> {
    let (Some(month), Some(first), Some(last)) = (at, plan.months.first(), plan.months.last()) else {
        return Ok(());
    };
    let (first, last) = (first.month, last.month);
    if (first..=last).contains(&month) { Ok(()) } else { Err(CommandError::Month { month, first, last }) }
}

fn sweep_rows(
    maker: &Maker,
    overrides: &[Override],
    combinations: Vec<Vec<Override>>,
) -> Result<Vec<sweep::SweepRow>, CommandError> {
    let mut progress = Progress::new(combinations.len());
    let mut rows = Vec::new();
    for combination in combinations {
        progress.step();
        // The combination comes last, so that a sweep overrides what is set.
        let all: Vec<Override> = overrides.iter().chain(&combination).cloned().collect();
        let words = combination.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let plan = maker
            .plan(&all)
            .map_err(|error| CommandError::Combination { combination: words, error: Box::new(error) })?;
        let value = |one: Override| sweep::SweepValue { path: one.path, value: one.value };
        rows.extend(sweep::SweepRow::of(combination.into_iter().map(value).collect(), &plan));
    }
    Ok(rows)
}

/// Shows a counter on stderr, if it is a terminal.
struct Progress {
    done: usize,
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        Self { done: 0, all, shown: std::io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.shown {
            eprint!("\r{} of {} combinations", self.done, self.all);
            // If the line cannot be shown, nobody can be told.
            _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && self.done > 0 {
            eprintln!();
        }
    }
}
