//! This module shows a plan as text for a terminal: answers first, tables below.

use super::table::WIDTH;
use super::{answers, sections, words};
use crate::month::Month;
use crate::result::Plan;
use ringbolt_tool_common::text::{plain, wrapped};

/// Returns the default report. The month `at` is shown in as much detail as the first and the last.
pub fn text(plan: &Plan, at: Option<Month>) -> String {
    let mut text = wrapped(&title(plan), WIDTH).join("\n") + "\n";
    text += &made(plan);
    text += "\n\n";
    text += &answers::table(plan, at).text();
    for table in sections::all(plan, at, sections::months_every(plan)) {
        text += &table.text();
    }
    // The text ends with one line break.
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Returns the title: "ringbolt plan: WORKLOAD on HARDWARE".
pub fn title(plan: &Plan) -> String {
    plain(&format!("ringbolt plan: {} on {}", plan.workload.name, plan.hardware.name))
}

/// Says when and by which version the plan was made.
pub fn made(plan: &Plan) -> String {
    let made = words::minute(plan.created_unix_ms);
    let horizon = words::counted(&plan.months.len().to_string(), "month");
    format!(
        "Made {made} by ringbolt {}; {horizon} from {}",
        env!("CARGO_PKG_VERSION"),
        plan.workload.horizon.start
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Redundancy;
    use crate::report::sample;
    use crate::result::WhenFull;

    fn assert_readable(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} characters: {line}", line.chars().count());
            assert_eq!(line.trim_end(), line, "blanks at the end");
        }
        for wrong in ["NaN", "inf ", "inf%", "infinity", "\n\n\n"] {
            assert!(!text.contains(wrong), "{wrong:?} in\n{text}");
        }
    }

    #[test]
    fn answers_come_first_and_in_order() {
        let plan = sample::plan();
        let text = text(&plan, None);
        assert_readable(&text);
        let wanted = [
            "ringbolt plan: photos <of> cats & dogs on example",
            "Made 2026-11-21 15:36 UTC",
            "Answers",
            "Needed in 2026-12",
            "Needed in 2028-11",
            "Limits in 2026-12",
            "80% full",
            "100% full",
            "Drive life",
            "9.6 years",
            "Losing any object",
            "Cost",
            "1,439 EUR a month",
            "Months",
            "Use of each limit with 4 nodes",
            "Time to full",
            "Layout by size",
            "One node",
            "Writes and drive life",
            "Durability",
            "Cost",
            "Made from",
            "Constants",
            "Notes",
        ];
        let mut rest = text.as_str();
        for part in wanted {
            let at =
                rest.find(part).unwrap_or_else(|| panic!("{part:?} is not (or not in order) in\n{text}"));
            rest = &rest[at + part.len()..];
        }
    }

    #[test]
    fn every_constant_has_its_source() {
        let text = text(&sample::plan(), None);
        let lines =
            |part: &str| text.lines().filter(|line| line.contains(part)).collect::<Vec<_>>().join("\n");
        assert!(
            lines("index_bytes_per_object")
                .contains("58.2  measured 2026-11-21 15:36 UTC on example: 2 cores")
        );
        assert!(lines("list_cpu_us_per_key").contains("assumption: as measured"));
        assert!(lines("checkpoint_share_of_index").contains("the format: "));
        assert!(lines("drive_read_iops").contains("datasheet: example drive"));
        assert!(text.contains("datasheet of an example drive"), "speed of the drives");
    }

    #[test]
    fn every_month_and_constraint_is_there() {
        let plan = sample::plan();
        let text = text(&plan, None);
        for month in &plan.months {
            let row = format!("\n  {}  ", month.month);
            assert!(text.contains(&row), "{row}");
        }
        for one in &plan.months[0].uses {
            assert!(text.contains(&format!("\n  {} ", one.constraint.title())), "{:?}", one.constraint);
        }
    }

    #[test]
    fn the_month_that_is_asked_for_is_looked_at() {
        let plan = sample::plan();
        let at = plan.months[7].month;
        assert!(!text(&plan, None).contains(&format!("Needed in {at}")));
        let text = text(&plan, Some(at));
        assert_readable(&text);
        assert!(text.contains(&format!("Needed in {at}")));
    }

    #[test]
    fn what_is_missing_is_said() {
        let text = text(&sample::idle(), None);
        assert_readable(&text);
        for part in [
            "not within the horizon of 1 month; 0% of the samples",
            "not known: the hardware file gives no endurance",
            "no requests",
            "With one node alone nothing is left when it is down",
            "none: without redundancy",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("Notes"), "no heading without notes");
    }

    #[test]
    fn mirrors_are_told() {
        let mut plan = sample::plan();
        plan.hardware.redundancy = Redundancy::mirror(3);
        (plan.durability.groups, plan.node.uneven_bytes) = (Some(32), 2e12);
        plan.node.usable_once_bytes = Some(plan.node.usable_bytes / 3.0);
        let text = text(&plan, None);
        assert_readable(&text);
        for part in [
            "in 3 copies",
            "One copy of it",
            "each byte is there 3 times",
            "Uneven",
            "Groups of drives",
            "32 of 3 drives each",
            "all 3 copies in it",
            "mirror-3: each byte on 3 drives of a node",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let without = super::text(&sample::plan(), None);
        for part in ["copies", "One copy", "Uneven", "Groups"] {
            assert!(!without.contains(part), "{part:?} is in\n{without}");
        }
    }

    #[test]
    fn stripes_are_told() {
        let mut plan = sample::plan();
        plan.hardware.redundancy = Redundancy::stripes(4, 2);
        plan.durability.groups = Some(224);
        plan.durability.rebuild_hours = Some(2.0);
        (plan.durability.rebuild_read_bytes, plan.durability.rebuild_written_bytes) =
            (Some(12e12), Some(4e12));
        plan.node.usable_once_bytes = Some(plan.node.usable_bytes / 1.6);
        plan.layout.redundant_bytes_per_logical_byte = Some(1.63);
        let text = text(&plan, None);
        assert_readable(&text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "on 4+2 drives",
            "1.63",
            "Without redundancy",
            "of small objects one copy of 3, of large ones 4 of 6 drives",
            "224 of 3 drives each",
            "12 TB of the other drives, 4 TB to the new one; each part of a stripe is made from 4",
            "all copies and parity in it",
            "4+2: large objects on 4 drives of a node with parity on 2 more, small ones on 3",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn long_horizons_and_many_classes_stay_readable() {
        let mut plan = sample::with_months(240);
        plan.layout = sample::layout(2000);
        let text = text(&plan, None);
        assert_readable(&text);
        assert!(text.lines().count() < 220, "{} lines", text.lines().count());
        assert!(text.contains("Of 240 months each 6th"), "{text}");
        assert!(text.contains(&format!("\n  {}  ", plan.months[239].month)), "the last month is there");
        assert!(text.contains("2000 classes put together"));
    }

    #[test]
    fn names_can_not_steer_a_terminal() {
        let mut plan = sample::plan();
        plan.workload.name = "a\u{1b}[2Jb\n".repeat(40);
        plan.notes = vec!["x\u{7}".repeat(300)];
        let text = text(&plan, None);
        assert_readable(&text);
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
    }

    #[test]
    fn the_interval_says_what_is_known_of_it() {
        let plan = sample::plan();
        let when = |days: [Option<f64>; 3], share_of_samples| {
            let [days_p5, days_p50, days_p95] = days;
            answers::full(&plan, &WhenFull { days_p5, days_p50, days_p95, share_of_samples })
        };
        assert_eq!(
            when([Some(31.0), Some(62.0), Some(90.0)], 1.0),
            "2027-02-01 (90% of the samples: 2027-01-01 to 2027-03-01)"
        );
        assert!(
            when([Some(31.0), Some(62.0), None], 0.8).contains("2027-01-01 to beyond the horizon; 80% of")
        );
        assert!(
            when([Some(31.0), None, None], 0.1).contains("in most samples, but 5% are there by 2027-01-01")
        );
        assert_eq!(when([Some(0.0), Some(0.0), Some(0.0)], 1.0), "from the first day on");
    }
}
