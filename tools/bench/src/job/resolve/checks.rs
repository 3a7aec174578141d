//! This module refuses combinations of keys that are not valid, each with the reason.

use super::fields::Fields;
use crate::engine::stamp::PIECE_BYTES;
use crate::spec::{BlockSize, Checksum, Direction, Engine, Job, ObjectOp, Pattern};
use ringbolt_tool_common::s3::limits::PARTS_MAX;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Checks a job whose fields are all set.
pub fn check(job: &Job, fields: &Fields<'_>, before: &[Job]) {
    company(job, fields, before);
    time(job, fields);
    rates(job, fields);
    contents(job, fields);
    match job.engine {
        _ if fields.is_wrong("ioengine") => {}
        Engine::IoUring => drive(job, fields),
        Engine::Ringbolt => {
            engine_drive(job, fields);
            objects(job, fields);
        }
        Engine::S3 => objects(job, fields),
    }
}

fn company(job: &Job, fields: &Fields<'_>, before: &[Job]) {
    if let Some(wanted) = &job.wait_for
        && !before.iter().any(|above| above.name == *wanted)
    {
        fields.refuse(&["wait_for"], format!("wait_for={wanted}: no job above has this name"));
    }
}

fn time(job: &Job, fields: &Fields<'_>) {
    if job.time_based && job.runtime_ns.is_none() {
        let reason = "time_based needs runtime: say how long, as in runtime=30s";
        fields.refuse(&["runtime", "time_based"], reason);
    }
}

fn rates(job: &Job, fields: &Fields<'_>) {
    let both = |direction| job.rate.get(direction).is_some() && job.rate_iops.get(direction).is_some();
    if let Some(direction) = Direction::ALL.into_iter().find(|direction| both(*direction)) {
        let reason = format!("rate and rate_iops are both given for {}s: leave one out", direction.name());
        fields.refuse(&["rate", "rate_iops"], reason);
    }
    let any = Direction::ALL
        .iter()
        .any(|direction| job.rate.get(*direction).is_some() || job.rate_iops.get(*direction).is_some());
    if any && job.latency_target.is_some() {
        let reason = "latency_target changes the depth, a rate says when operations start: leave one out";
        fields.refuse(&["rate", "rate_iops", "latency_target"], reason);
    }
}

fn contents(job: &Job, fields: &Fields<'_>) {
    if !job.byte_pattern.is_empty() && (job.zero_buffers || job.refill_buffers || job.compress_percent > 0) {
        let keys = [
            "verify_pattern",
            "buffer_pattern",
            "zero_buffers",
            "refill_buffers",
            "buffer_compress_percentage",
        ];
        let reason = "a pattern is all that is written: leave zero_buffers, refill_buffers and \
                      buffer_compress_percentage out";
        fields.refuse(&keys, reason);
    }
    if job.zero_buffers && (job.refill_buffers || job.compress_percent > 0) {
        let keys = ["zero_buffers", "refill_buffers", "buffer_compress_percentage"];
        let reason = "zero_buffers writes zeroes: leave refill_buffers and buffer_compress_percentage out";
        fields.refuse(&keys, reason);
    }
    if job.zero_buffers && job.verify.is_some() {
        let reason = "zero_buffers leaves no room for the checksum of verify: leave one out";
        fields.refuse(&["zero_buffers", "verify"], reason);
    }
}

fn drive(job: &Job, fields: &Fields<'_>) {
    if job.verify.is_some() && job.checksum != Checksum::Crc32c {
        let reason = format!("verify={} is for objects: use verify=crc32c", job.checksum.name());
        fields.refuse(&["verify"], reason);
    }
    let paths = job.paths(0);
    let kind = |path: &Path| std::fs::metadata(path).ok().map(|data| data.file_type());
    let is_file = |path: &Path| match kind(path) {
        Some(kind) => !kind.is_block_device(),
        None => !path.starts_with("/dev"),
    };
    if job.pattern.trims
        && let Some(file) = paths.iter().find(|path| is_file(path))
    {
        let reason = format!("trim needs a block device, and {} is none", file.display());
        fields.refuse(&["rw"], reason);
    }
    let to_make = paths.iter().find(|path| kind(path).is_none() && is_file(path));
    if let Some(file) = to_make
        && job.size.is_none()
        && job.file_size.is_none()
    {
        let reason = format!("size is needed to make {}: give size or filesize", file.display());
        fields.refuse(&["size", "filesize", "filename"], reason);
    }
    fits(job, fields);
}

/// Checks that the largest block fits into a file.
fn fits(job: &Job, fields: &Fields<'_>) {
    let file_bytes = job.file_size.or_else(|| job.size.map(|bytes| bytes / u64::from(job.nrfiles)));
    let Some(file_bytes) = file_bytes else { return };
    let uses = |pattern: &Pattern, direction| match direction {
        Direction::Read => pattern.reads,
        Direction::Write => pattern.writes,
        Direction::Trim => pattern.trims,
    };
    let directions = Direction::ALL.into_iter().filter(|direction| uses(&job.pattern, *direction));
    let largest = directions.map(|direction| largest(job.block.get(direction))).max().unwrap_or(0);
    if largest > file_bytes {
        let reason = format!("a block of {largest} bytes does not fit into a file of {file_bytes}");
        fields.refuse(&["bs", "bsrange", "bssplit", "size", "filesize"], reason);
    }
}

fn largest(block: &BlockSize) -> u64 {
    match block {
        BlockSize::Fixed(bytes) | BlockSize::Range { most: bytes, .. } => *bytes,
        BlockSize::Split(parts) => parts.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
    }
}

fn engine_drive(job: &Job, fields: &Fields<'_>) {
    if job.files.len() != 1 {
        let reason = "ioengine=ringbolt needs one filename: its drive, a file or a block device";
        fields.refuse(&["ioengine", "filename"], reason);
    }
}

fn objects(job: &Job, fields: &Fields<'_>) {
    if job.objects.objects == 0 && job.size.is_none() {
        let reason = "say how many objects there are: objects=10000, or size, which is divided by bs";
        fields.refuse(&["objects", "size", "ioengine"], reason);
    }
    if job.verify.is_some_and(|verify| verify.by_pattern) {
        let reason = "verify=pattern is for files and devices: use verify=crc32c or sha256";
        fields.refuse(&["verify_pattern", "verify"], reason);
    }
    if let Some(key) = job.flush_key() {
        let reason =
            format!("{key} needs ioengine=io_uring: an object is whole and durable once it is stored");
        fields.refuse(&[key], reason);
    }
    let piece = PIECE_BYTES as u64;
    if let Some(range) = job.objects.range_bytes.filter(|range| !range.is_multiple_of(piece))
        && job.verify.is_some()
    {
        let reason =
            format!("range_size={range} with verify: give a multiple of {piece}, which can be checked");
        fields.refuse(&["range_size", "verify"], reason);
    }
    let (puts, deletes) =
        (job.objects.weight_of(&ObjectOp::PUTS), job.objects.weight_of(&[ObjectOp::Delete]));
    if job.objects.ops.as_ref().is_some_and(|ops| ops.len() > 1) && deletes > puts {
        let reason = format!(
            "delete/{deletes} is more than is put ({puts}): a mix deletes only what it has put itself, so that \
             its reads find their objects; give put or multipart as much weight, or use op=delete alone"
        );
        fields.refuse(&["opmix"], reason);
    }
    let multipart = job.objects.ops.iter().flatten().any(|(op, _)| *op == ObjectOp::Multipart);
    let parts = largest(&job.block.write).div_ceil(job.objects.part_bytes);
    if multipart && parts > PARTS_MAX {
        let reason = format!("objects of {parts} parts: S3 has at most 10000; give a larger part_size");
        fields.refuse(&["part_size", "bs"], reason);
    }
}
