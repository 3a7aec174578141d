//! Redundancy as people write it, and drives that are gone for good.

use ringbolt_engine::node::parse_uuid;
use ringbolt_tool_common::redundancy::NAMES;

const CHOICES: &str = "write none, mirror (two copies of everything), mirror-3 or mirror-4";

/// How many drives of a set may be lost: `none`, `mirror`, `mirror-3` or `mirror-4`.
pub fn parse_redundancy(text: &str) -> Result<u8, String> {
    let text = text.trim();
    if let Some(failures_max) = NAMES.iter().position(|name| *name == text) {
        return Ok(failures_max as u8);
    }
    match text.split_once('+') {
        Some((data, parity)) if [data, parity].iter().all(|count| count.parse::<u8>().is_ok()) => {
            Err(format!("stripes of {data} data and {parity} parity drives are not built yet; {CHOICES}"))
        }
        _ => Err(format!("{text:?} is no redundancy; {CHOICES}")),
    }
}

/// Returns what it means for a set that so many of its drives may be lost.
pub fn redundancy_text(failures_max: u8) -> String {
    let copies = u32::from(failures_max) + 1;
    match NAMES.get(usize::from(failures_max)) {
        Some(name) if failures_max == 0 => format!("{name}: every byte is on one drive, none may be lost"),
        Some(name) => format!("{name}: every byte is on {copies} drives, {failures_max} may be lost"),
        None => format!("{copies} copies of every byte"),
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
    fn redundancy_has_names() {
        let good = [("none", 0), ("mirror", 1), (" mirror-3 ", 2), ("mirror-4", 3)];
        for (text, failures_max) in good {
            assert_eq!(parse_redundancy(text), Ok(failures_max), "{text}");
        }
        for text in ["", "Mirror", "mirror-2", "mirror-5", "2", "raid5", "4+", "+2", "4+x", "4+2+1"] {
            let told = parse_redundancy(text).unwrap_err();
            assert!(told.contains("is no redundancy; write none, mirror (two copies"), "{text}: {told}");
        }
    }

    #[test]
    fn stripes_are_refused_with_what_can_be_had() {
        for text in ["4+2", "8+3"] {
            let told = parse_redundancy(text).unwrap_err();
            assert!(told.contains("not built yet") && told.contains("mirror-3 or mirror-4"), "{told}");
        }
    }

    #[test]
    fn a_report_says_what_may_be_lost() {
        assert_eq!(redundancy_text(0), "none: every byte is on one drive, none may be lost");
        assert_eq!(redundancy_text(2), "mirror-3: every byte is on 3 drives, 2 may be lost");
        assert_eq!(redundancy_text(255), "256 copies of every byte");
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
