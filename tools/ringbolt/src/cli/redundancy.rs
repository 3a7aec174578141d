//! Redundancy as people write it, and drives that are gone for good.

use ringbolt_engine::node::{Redundancy, parse_uuid};
use ringbolt_tool_common::redundancy::{CHOICES, name, parse};

/// How much of a set may be lost: `none`, `mirror`, `mirror-3`, `mirror-4`, or stripes as `4+2`.
pub fn parse_redundancy(text: &str) -> Result<Redundancy, String> {
    match parse(text) {
        Some((data_members, failures_max)) => Ok(Redundancy { failures_max, data_members }),
        None => Err(format!("{text:?} is no redundancy; {CHOICES}")),
    }
}

/// Returns what a redundancy means.
pub fn redundancy_text(Redundancy { failures_max, data_members }: Redundancy) -> String {
    let (name, copies) = (name(data_members, failures_max), u32::from(failures_max) + 1);
    match (data_members, failures_max) {
        (1, 0) => format!("{name}: every byte is on one drive, none may be lost"),
        (1, _) => format!("{name}: every byte is on {copies} drives, {failures_max} may be lost"),
        _ => format!(
            "{name}: large objects are striped over {data_members} drives with parity on {failures_max} more, small \
             ones are on {copies} drives; {failures_max} may be lost"
        ),
    }
}

/// The UUID of a drive.
pub fn parse_drive_uuid(text: &str) -> Result<[u8; 16], String> {
    parse_uuid(text.trim()).ok_or_else(|| {
        format!(
            "{text:?} is no UUID of a drive; the server that misses one names it, as in \
             7d444840-9dc0-41d1-b245-5ffdce74fad2"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_redundancy_is_refused_with_what_is_one() {
        assert_eq!(parse_redundancy("mirror"), Ok(Redundancy::copies(1)));
        assert_eq!(parse_redundancy("4+2"), Ok(Redundancy::striped(4, 2)));
        for text in ["", "Mirror", "mirror-5", "raid5", "4+x", "1+1"] {
            let told = parse_redundancy(text).unwrap_err();
            assert!(told.contains("is no redundancy; write none, mirror (two copies"), "{text}: {told}");
        }
    }

    #[test]
    fn a_report_says_what_may_be_lost() {
        assert_eq!(redundancy_text(Redundancy::NONE), "none: every byte is on one drive, none may be lost");
        let mirror = redundancy_text(Redundancy::copies(2));
        assert_eq!(mirror, "mirror-3: every byte is on 3 drives, 2 may be lost");
        let stripes = redundancy_text(Redundancy::striped(4, 2));
        assert!(stripes.starts_with("4+2: large objects are striped over 4 drives"), "{stripes}");
    }

    #[test]
    fn drives_have_uuids() {
        let text = "7d444840-9dc0-41d1-b245-5ffdce74fad2";
        let uuid = parse_drive_uuid(text).unwrap();
        assert_eq!((uuid[0], uuid[15]), (0x7d, 0xd2));
        assert_eq!(parse_drive_uuid(&text.to_uppercase()), Ok(uuid));
        for wrong in ["", "1", "/dev/nvme1n1", &text.replace('-', ""), &text[1..]] {
            assert!(parse_drive_uuid(wrong).unwrap_err().contains("is no UUID of a drive"), "{wrong}");
        }
    }
}
