//! This module is the command `ringbolt plan diff`: it compares a plan with a running node.

use super::output::Output;
use super::{CommandError, now_unix_ms};
use crate::cli::DiffArgs;
use crate::live;
use crate::report::difference;
use crate::result::Plan;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A plan of 240 months and thousands of classes has some megabytes.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Watches the node for a while, and shows plan and node.
pub fn diff(args: &DiffArgs) -> Result<(), CommandError> {
    let plan = read(&args.plan)?;
    let output = Output::to(args.output.as_deref())?;
    eprintln!("Watching {} for {} s.", args.live, args.seconds);
    let node = live::read(&args.live, f64::from(args.seconds), &args.devices)?;
    let compared = live::difference(&plan, &node, now_unix_ms() / 1000);
    let text = if args.json { difference::json(&compared) } else { difference::text(&compared) };
    Ok(output.write(&text)?)
}

fn read(path: &Path) -> Result<Plan, CommandError> {
    let mut text = String::new();
    let wrong = |error: io::Error| CommandError::Unreadable { path: path.to_owned(), error };
    // One byte more is read, to detect a file beyond the limit.
    let file = File::open(path).map_err(wrong)?;
    file.take(PLAN_BYTES_MAX + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(wrong(io::Error::other(format!("longer than {PLAN_BYTES_MAX} bytes: it is no plan"))));
    }
    Plan::from_json(&text).map_err(|error| CommandError::Plan { path: path.to_owned(), error })
}
