//! This module is the command `ringbolt check`: it parses flags, prints findings, and returns the
//! exit status.
//!
//! Invariants:
//! - Status 0 means that nothing is damaged (any more); 1 that damage was found and is still there;
//!   2 that the drives could not be checked.
//! - Progress goes to stderr, and only to a terminal; findings and sums go to stdout.

mod output;
mod progress;

use std::path::PathBuf;

use clap::Args;
use ringbolt_engine::check::{Finding, Outcome, Progress, RepairError, Watcher, check, open_media, repair};

use self::output::{as_json, as_text, summary};
use self::progress::Bar;

/// At most this many findings are kept for the JSON output; further ones are counted.
const FINDINGS_MAX: usize = 10_000;

/// Check drives for damage while no server runs on them
///
/// Reads every shard as a server does when it starts, and the records of all objects; with --deep also all their data.
/// Writes nothing without --repair. Exit status: 0 nothing is damaged, 1 damage was found, 2 it could not be checked.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt check --drive ringbolt-data/drive0          structures, accounting, records
  ringbolt check --drive /dev/nvme1n1 --drive /dev/nvme2n1 --deep
                                                       a whole set, every byte
  ringbolt check --drive ringbolt-data/drive0 --repair
                                                       mend what can be mended without loss
  ringbolt check --drive ringbolt-data/drive0 --deep --repair --accept-loss
                                                       go on without what is damaged

Without --accept-loss, --repair writes superblock copies anew from those that agree, and nothing else.
With it, each shard is opened without its damaged parts and gets a new checkpoint of what is left; unreadable objects
are gone then. They are named first: run it without --accept-loss before, and keep what it says.")]
pub struct CheckArgs {
    /// Block device or file; give every drive of the set
    #[arg(long, env = "RINGBOLT_DRIVE", required = true, value_name = "PATH", value_delimiter = ',')]
    drive: Vec<PathBuf>,
    /// Also read all data of large objects, and verify every checksum
    #[arg(long, env = "RINGBOLT_DEEP")]
    deep: bool,
    /// Mend what can be mended without losing anything
    #[arg(long, env = "RINGBOLT_REPAIR")]
    repair: bool,
    /// With --repair: go on without what is damaged
    #[arg(long, env = "RINGBOLT_ACCEPT_LOSS", requires = "repair")]
    accept_loss: bool,
    /// JSON instead of text
    #[arg(long, env = "RINGBOLT_JSON")]
    json: bool,
}

/// Holds the result of the command.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    /// Counts all findings.
    count: u64,
    outcome: Outcome,
    /// This is the number of drives whose superblock was written, and whether shards were opened
    /// without their damaged parts.
    repaired: Option<(u64, bool)>,
    error: Option<String>,
}

/// Keeps findings, and shows them and the progress as they arrive.
struct Show {
    report: Report,
    bar: Bar,
    json: bool,
}

impl Watcher for Show {
    fn finding(&mut self, finding: &Finding) {
        self.report.count += 1;
        if !self.json {
            self.bar.clear();
            print!("{}", as_text(finding));
        } else if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding.clone());
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.bar.show(progress);
    }
}

/// Runs the command and returns the exit status.
pub fn run(args: &CheckArgs) -> u8 {
    let (report, status) = match look(args) {
        Ok(report) => {
            let status = u8::from(report.outcome.damage() > 0);
            (report, status)
        }
        Err(error) => {
            eprintln!("ringbolt: {error}");
            (Report { error: Some(error.to_string()), ..Report::default() }, 2)
        }
    };
    if args.json {
        println!("{}", as_json(&report, status));
    } else if status < 2 {
        print!("{}", summary(&report, args.deep));
    }
    status
}

fn look(args: &CheckArgs) -> Result<Report, RepairError> {
    let media = open_media(&args.drive)?;
    let read = media.iter().filter_map(|medium| medium.blocking.clone()).collect();
    let mut show = Show { report: Report::default(), bar: Bar::new(!args.json, read), json: args.json };
    let outcome = check(&media, args.deep, &mut show);
    show.bar.clear();
    let outcome = outcome?;
    if !args.repair || outcome.damage() == 0 {
        return Ok(Report { outcome, ..show.report });
    }
    let done = repair(&media, outcome, args.accept_loss)?;
    // A second check shows what the repair achieved.
    if !args.json {
        println!("\nAfter the repair:");
    }
    let mut again = Show { report: Report::default(), bar: show.bar, json: args.json };
    let outcome = check(&media, args.deep, &mut again)?;
    again.bar.clear();
    show.report.repaired = Some((done.superblocks, done.went_on));
    Ok(Report { outcome, findings: show.report.findings, ..show.report })
}
