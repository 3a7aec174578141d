//! This module reads what one drive can do: measured by `ringbolt bench profile`, or given by hand.
//!
//! A profile overrides figures in the file, which are used only for what it did not measure. A
//! figure of the command line overrides the measured one, so that a what-if can change one of them.

use super::error::InputError;
use super::fields::Fields;
use super::keys::SPEEDS;
use super::named_file;
use crate::hardware::DriveSpeed;
use ringbolt_bench::profile::schema::{DriveProfile, Rate};
use ringbolt_tool_common::units::human_bytes;
use std::path::Path;

const PROFILE: &str = "drives.profile";
const SOURCE: &str = "drives.speed_source";
const SMALL_BYTES: u64 = 4096;
/// If a durable write takes this many times as long as a plain one, it waits for the flash: the
/// cache is not protected against power loss.
const FLUSH_RATIO_NOTED: f64 = 5.0;
/// With a larger difference, the profile is of another drive.
const SIZE_TOLERANCE: f64 = 0.02;

/// Holds figures in the order of [`SPEEDS`].
type Figures = [Option<f64>; 4];

/// Reads the speed of a drive.
///
/// # Errors
/// Fails when a figure is neither measured nor given, or when the profile is not valid.
pub fn read(fields: &Fields, size_bytes: u64, notes: &mut Vec<String>) -> Result<DriveSpeed, InputError> {
    let path = fields.file_if(PROFILE)?;
    let profile = path.as_deref().map(read_profile).transpose()?;
    let measured = profile.as_ref().map_or([None; 4], measured);
    let by_hand = by_hand(fields, measured, notes)?;
    if let (Some(profile), Some(path)) = (&profile, &path) {
        let mut told = remarks(profile, size_bytes);
        told.iter_mut().for_each(|told| *told = format!("{}: {told}", path.display()));
        notes.append(&mut told);
    }
    let mut figures = [0.0; 4];
    for (at, figure) in figures.iter_mut().enumerate() {
        let not_measured = || match &path {
            Some(path) => InputError::File {
                path: path.clone(),
                reason: format!(
                    "has no measurement for {}: profile again for longer, or give it by hand",
                    SPEEDS[at]
                ),
            },
            None => fields.missing(SPEEDS[at]),
        };
        *figure = by_hand[at].or(measured[at]).filter(|value| *value > 0.0).ok_or_else(not_measured)?;
    }
    let source = source(fields, profile.as_ref(), path.as_deref(), by_hand)?;
    let [read_iops, write_iops, read_bytes_per_s, write_bytes_per_s] = figures;
    let profile = profile.map(Box::new);
    Ok(DriveSpeed { read_iops, write_iops, read_bytes_per_s, write_bytes_per_s, source, profile })
}

/// Returns the figures that override measured ones, or are used without them.
fn by_hand(fields: &Fields, measured: Figures, notes: &mut Vec<String>) -> Result<Figures, InputError> {
    let mut by_hand: Figures = [None; 4];
    let mut passed_over = Vec::new();
    for ((figure, key), measured) in by_hand.iter_mut().zip(SPEEDS).zip(measured) {
        let given = fields.real_if(key)?;
        if given.is_some() && measured.is_some() && !fields.is_set(key) {
            passed_over.push(key);
        } else {
            *figure = given;
        }
    }
    if !passed_over.is_empty() {
        notes.push(format!(
            "{}: what drives.profile measured counts in their place; --set counts in place of that",
            passed_over.join(", ")
        ));
    }
    Ok(by_hand)
}

fn source(
    fields: &Fields,
    profile: Option<&DriveProfile>,
    path: Option<&Path>,
    by_hand: Figures,
) -> Result<String, InputError> {
    let given: Vec<&str> =
        SPEEDS.iter().zip(by_hand).filter(|(_, figure)| figure.is_some()).map(|(key, _)| *key).collect();
    let said = fields.text_if(SOURCE)?;
    let (Some(profile), Some(path)) = (profile, path) else {
        return said.ok_or_else(|| fields.missing(SOURCE));
    };
    let measured = format!("profile {} of {}", path.display(), profile.drive.path);
    if given.is_empty() {
        return Ok(measured);
    }
    let said = said.unwrap_or_else(|| "no source given".to_owned());
    Ok(format!("{measured}; {} given by hand ({said})", given.join(", ")))
}

fn read_profile(path: &Path) -> Result<DriveProfile, InputError> {
    let text = named_file(path)?;
    DriveProfile::from_json(&text)
        .map_err(|error| InputError::File { path: path.to_owned(), reason: error.to_string() })
}

/// Returns the highest of the points of each kind.
fn measured(profile: &DriveProfile) -> Figures {
    let highest = |is_one: &dyn Fn(&Rate) -> bool, of: fn(&Rate) -> f64| {
        let rates = profile.rates.iter().filter(|rate| is_one(rate)).map(of);
        rates.filter(|value| value.is_finite()).reduce(f64::max)
    };
    let small = |percent: u32| {
        let is_one =
            move |rate: &Rate| rate.random && rate.block_bytes == SMALL_BYTES && rate.read_percent == percent;
        highest(&is_one, |rate| rate.iops)
    };
    let sequential = |percent: u32| {
        highest(&move |rate: &Rate| !rate.random && rate.read_percent == percent, |rate| rate.bytes_per_s)
    };
    let durable = small(0).map(|iops| iops * durable_share(profile));
    let settled = profile.sustained_write.as_ref().map(|sustained| sustained.settled_bytes_per_s);
    [small(100), durable, sequential(100), settled.or_else(|| sequential(0))]
}

/// Returns the rate of durable writes relative to plain ones. It compares the latency of each
/// alone, because durable ones are measured one after the other.
fn durable_share(profile: &DriveProfile) -> f64 {
    let Some(flush) = &profile.flush else { return 1.0 };
    let (plain, durable) = (flush.write.p50_us, flush.dsync_write.p50_us);
    if plain > 0.0 && durable > plain { plain / durable } else { 1.0 }
}

/// Lists what a reader of a plan made from this profile should know.
fn remarks(profile: &DriveProfile, size_bytes: u64) -> Vec<String> {
    let mut remarks = Vec::new();
    let drive = &profile.drive;
    if drive.kind != "block_device" {
        remarks.push(format!("measured on a {}: its file system and cache bear on the figures", drive.kind));
    } else if (drive.size_bytes as f64 / size_bytes as f64 - 1.0).abs() > SIZE_TOLERANCE {
        remarks.push(format!(
            "measured on a drive of {}, planned with drives of {}: speeds differ between sizes",
            human_bytes(drive.size_bytes as f64),
            human_bytes(size_bytes as f64)
        ));
    }
    match &profile.sustained_write {
        None => {
            remarks.push("no sustained write was measured: write_bandwidth may be that of a cache".to_owned())
        }
        Some(sustained) if !sustained.settled => {
            remarks.push("the sustained write did not settle: write_bandwidth may fall further".to_owned());
        }
        Some(_) => {}
    }
    if let Some(flush) = &profile.flush
        && flush.dsync_write.p50_us > FLUSH_RATIO_NOTED * flush.write.p50_us
    {
        remarks.push(format!(
            "a durable write takes {:.0} µs, a plain one {:.0} µs: write_iops is that of plain writes less this ratio; \
             with many at a time it may be higher",
            flush.dsync_write.p50_us, flush.write.p50_us
        ));
    }
    remarks
}
