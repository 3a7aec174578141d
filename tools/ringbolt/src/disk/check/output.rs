//! This module formats findings and sums, for people and for programs.

use std::fmt::Write;

use ringbolt_engine::check::{Finding, ObjectName, Remedy};
use serde_json::{Value, json};

use super::Report;

/// Formats a finding: what, where, what it means, what to do.
pub fn as_text(finding: &Finding) -> String {
    let severity = if finding.remedy == Remedy::None { "note" } else { "DAMAGE" };
    let mut text = format!("{severity}  {}  {}", finding.kind.name(), finding.drive.display());
    if let Some(shard) = finding.shard {
        let _ = write!(text, ", shard {shard}");
    }
    if let Some(place) = finding.place {
        let _ = write!(text, ", extent {}, offset {}", place.extent, place.offset);
    }
    let _ = writeln!(text, "\n  found   {}", finding.text);
    if let Some(object) = &finding.object {
        let _ = writeln!(text, "  object  {}", path_of(object));
        if let Some(version) = &object.version_id {
            let _ = writeln!(text, "  version {version}");
        }
    }
    let _ = writeln!(text, "  means   {}", finding.kind.meaning());
    let _ = writeln!(text, "  do      {}", finding.remedy.advice());
    text
}

/// Formats `bucket/key`; bytes that are not text are escaped.
fn path_of(object: &ObjectName) -> String {
    let bucket = object.bucket_name.clone().unwrap_or_else(|| format!("(bucket number {})", object.bucket));
    match std::str::from_utf8(&object.key) {
        Ok(key) if !key.chars().any(char::is_control) => format!("{bucket}/{key}"),
        _ => format!("{bucket}/{}", object.key.escape_ascii()),
    }
}

/// Returns the end of the output.
pub fn summary(report: &Report, deep: bool) -> String {
    let (outcome, totals) = (&report.outcome, &report.outcome.totals);
    let mut text = String::new();
    if let Some((superblocks, went_on)) = report.repaired {
        let _ = writeln!(text, "repaired: superblocks of {superblocks} drives written anew");
        if went_on {
            text.push_str("repaired: every shard has a new checkpoint, without what was damaged\n");
        }
    }
    let _ = writeln!(
        text,
        "{} objects, {} versions of objects, {} delete markers, {} unfinished uploads; bytes: {} live, {} dead, {} reserved, {} copies, {} free of {}",
        totals.objects,
        totals.versions,
        totals.delete_markers,
        totals.uploads,
        totals.live_bytes,
        totals.dead_bytes,
        totals.reserved_bytes,
        totals.copies_bytes,
        totals.free_bytes,
        totals.physical_bytes
    );
    let read = if deep { "all data was read" } else { "data of large objects was not read (--deep does)" };
    match outcome.damage() {
        0 => _ = writeln!(text, "no damage; {read}"),
        damage => {
            let _ = writeln!(text, "{damage} findings of damage; {read}");
            let parts = [
                (outcome.lossless, "can be mended without loss: --repair"),
                (outcome.losses, "are losses: restore from a copy, or --repair --accept-loss"),
                (outcome.beyond_repair, "can not be repaired"),
            ];
            for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
                let _ = writeln!(text, "  {count} {what}");
            }
        }
    }
    text
}

/// Returns everything as one JSON object.
pub fn as_json(report: &Report, status: u8) -> String {
    let (outcome, totals) = (&report.outcome, &report.outcome.totals);
    let repaired = report.repaired.map(
        |(superblocks, went_on)| json!({ "superblocks": superblocks, "checkpoints_without_damage": went_on }),
    );
    let all = json!({
        "status": status,
        "error": report.error,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "findings_in_all": report.count,
        "repaired": repaired,
        "damage": {
            "repair": outcome.lossless,
            "repair_with_loss": outcome.losses,
            "beyond_repair": outcome.beyond_repair,
        },
        "notes": outcome.harmless,
        "totals": {
            "objects": totals.objects,
            "versions": totals.versions,
            "delete_markers": totals.delete_markers,
            "uploads": totals.uploads,
            "live_bytes": totals.live_bytes,
            "dead_bytes": totals.dead_bytes,
            "reserved_bytes": totals.reserved_bytes,
            "copies_bytes": totals.copies_bytes,
            "free_bytes": totals.free_bytes,
            "physical_bytes": totals.physical_bytes,
        },
    });
    format!("{all:#}")
}

fn finding_json(finding: &Finding) -> Value {
    let object = finding.object.as_ref().map(|object| {
        json!({
            "bucket": object.bucket_name,
            "bucket_number": object.bucket,
            "key": String::from_utf8_lossy(&object.key),
            "version_id": object.version_id,
        })
    });
    json!({
        "drive": finding.drive.display().to_string(),
        "kind": finding.kind.name(),
        "remedy": finding.remedy.name(),
        "shard": finding.shard,
        "extent": finding.place.map(|place| place.extent),
        "offset": finding.place.map(|place| place.offset),
        "object": object,
        "found": finding.text,
        "means": finding.kind.meaning(),
        "do": finding.remedy.advice(),
    })
}

#[cfg(test)]
mod tests {
    use ringbolt_engine::check::{Kind, Place};

    use super::*;

    fn example() -> Finding {
        Finding {
            drive: "d0".into(),
            kind: Kind::Slice,
            remedy: Remedy::Loss,
            shard: Some(2),
            place: Some(Place { extent: 5, offset: 16384 }),
            object: Some(ObjectName {
                bucket: 1,
                bucket_name: Some("b".to_owned()),
                key: b"a\n/c".to_vec(),
                version_id: Some("null".to_owned()),
            }),
            text: "slice data of an object is damaged".to_owned(),
        }
    }

    #[test]
    fn a_finding_says_where_whose_and_what_to_do() {
        let text = as_text(&example());
        assert!(text.starts_with("DAMAGE  slice  d0, shard 2, extent 5, offset 16384\n"), "{text}");
        assert!(text.contains("b/a\\n/c\n  version null\n") && text.contains("--accept-loss"), "{text}");
        let lost = Finding {
            object: Some(ObjectName { bucket: 7, bucket_name: None, key: vec![0xff], version_id: None }),
            ..example()
        };
        let text = as_text(&lost);
        assert!(text.contains("(bucket number 7)/\\xff") && !text.contains("version"), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let report = Report { findings: vec![example()], count: 1, ..Report::default() };
        let parsed: Value = serde_json::from_str(&as_json(&report, 1)).expect("JSON");
        assert_eq!((&parsed["status"], &parsed["findings"][0]["extent"]), (&json!(1), &json!(5)));
        assert_eq!(parsed["findings"][0]["object"]["bucket"], "b");
        assert_eq!(parsed["findings"][0]["object"]["version_id"], "null");
        assert!(parsed["error"].is_null() && parsed["repaired"].is_null());
    }
}
