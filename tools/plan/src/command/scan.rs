//! This module is the command `ringbolt plan scan`: it reads a listing and writes sizes.

use super::CommandError;
use super::output::Output;
use crate::cli::ScanArgs;
use crate::report::scanned;
use crate::scan::endpoint::{S3Source, ScanCredentials};
use crate::scan::error::ScanError;
use crate::scan::progress::ProgressLine;
use crate::scan::{Source, scan as read};
use std::path::Path;

/// Reads the source, writes the sizes, and prints a summary of them.
pub fn scan(args: &ScanArgs) -> Result<(), CommandError> {
    let source = source(args)?;
    let output = Output::to(Some(&args.output))?;
    let mut line = ProgressLine::default();
    let sizes = read(&source, &mut |progress| line.show(progress));
    line.clear();
    let sizes = sizes?;
    output.write(&sizes.to_json())?;
    if args.output == Path::new("-") {
        eprint!("{}", scanned::text(&sizes));
        return Ok(());
    }
    let file = args.output.display();
    let text = scanned::text(&sizes);
    let next = format!("\nThe sizes are in {file}. In the workload, below [objects], in place of sizes:\n  ");
    let name = toml::Value::from(file.to_string());
    Ok(Output::to(None)?.write(&format!("{text}{next}scan = {name}\n"))?)
}

fn source(args: &ScanArgs) -> Result<Source, ScanError> {
    if let (Some(endpoint), Some(bucket)) = (&args.endpoint, &args.bucket) {
        let credentials = ScanCredentials::from_environment(|name| std::env::var(name).ok())?;
        let mut source = S3Source::new(endpoint, bucket, credentials)?;
        source.prefix.clone_from(&args.prefix);
        source.region.clone_from(&args.region);
        return Ok(Source::S3(source));
    }
    Ok(match &args.listing {
        Some(path) => Source::Text(path.clone()),
        // The arguments contain exactly one of the three.
        None => Source::Inventory { files: args.inventory.clone(), columns: args.columns.clone() },
    })
}
