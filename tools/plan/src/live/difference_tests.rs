use super::*;
use crate::hardware::Redundancy;
use crate::model;
use crate::model::testing::{constants, hardware, workload};
use std::collections::BTreeMap;

/// The day is 15 January 2027.
const IN_FIRST_MONTH: u64 = 1_799_971_200;

fn plan() -> Plan {
    let mut hardware = hardware();
    hardware.node.count = Some(4);
    model::plan(&workload(), &hardware, &constants(), 0).unwrap()
}

/// Returns a node that does exactly what `plan` says for its first month.
fn obedient(plan: &Plan) -> LiveNode {
    let expected = difference(plan, &LiveNode::default(), IN_FIRST_MONTH);
    let planned = |name: &str| expected.lines.iter().find(|line| line.name == name).unwrap().planned;
    let (objects, user_bytes) = (planned("objects"), 1e12);
    let rates = [
        ("PutObject", planned("put_per_s")),
        ("GetObject", planned("get_per_s")),
        ("HeadObject", planned("head_per_s")),
        ("ListObjectsV2", planned("list_per_s")),
        ("DeleteObject", planned("delete_per_s")),
    ];
    LiveNode {
        url: "http://node".into(),
        seconds: 7200.0,
        process_age_s: Some(1e6),
        objects,
        capacity_bytes: plan.node.raw_bytes - plan.node.format_bytes,
        live_bytes: planned("stored_bytes"),
        index_bytes: objects * plan.layout.index_bytes_per_object,
        requests_per_s: rates.map(|(name, rate)| (name.to_owned(), rate)).into(),
        written_bytes: BTreeMap::from([("log".to_owned(), user_bytes * plan.endurance.write_amplification)]),
        user_bytes,
        written_bytes_per_s: planned("host_bytes_per_day_per_drive") * 8.0 / DAY_S,
        cpu_cores: Some(planned("cpu_cores")),
        wear: vec![DriveWear {
            device: "/dev/nvme0".into(),
            program: "nvme".into(),
            percentage_used: Some(50.0),
            host_written_bytes: None,
            power_on_hours: Some(plan.endurance.life_years.unwrap() / 2.0 * HOURS_PER_YEAR),
        }],
        ..LiveNode::default()
    }
}

fn relative(difference: &Difference, name: &str) -> f64 {
    let line = difference.lines.iter().find(|line| line.name == name);
    line.and_then(DifferenceLine::relative).unwrap_or_else(|| panic!("no {name} in {:?}", difference.lines))
}

#[test]
fn a_node_that_does_as_planned_does_not_differ() {
    let plan = plan();
    let difference = difference(&plan, &obedient(&plan), IN_FIRST_MONTH);
    assert_eq!(difference.month.to_string(), "2027-01");
    let names: Vec<&str> = difference.lines.iter().map(|line| line.name.as_str()).collect();
    let expected = [
        "objects",
        "stored_bytes",
        "stored_bytes_per_object",
        "index_bytes_per_object",
        "put_per_s",
        "get_per_s",
        "head_per_s",
        "list_per_s",
        "delete_per_s",
        "write_amplification",
        "host_bytes_per_day_per_drive",
        "fill_share",
        "cpu_cores",
        "endurance_share_per_year of /dev/nvme0",
    ];
    assert_eq!(names, expected);
    for line in &difference.lines {
        // The fill of the plan is the median of samples.
        let tolerance = if line.name == "fill_share" { 0.05 } else { 1e-9 };
        assert!(line.relative().unwrap().abs() < tolerance, "{line:?}");
    }
    let wear_only = difference.notes.iter().all(|note| note.contains("the wear of /dev/nvme0"));
    assert!(wear_only, "nothing else to remark: {:?}", difference.notes);
}

/// A node counts what is live once, and what its drives have room for with all copies.
#[test]
fn a_node_with_mirrors_that_does_as_planned_does_not_differ() {
    let mut hardware = hardware();
    (hardware.node.count, hardware.redundancy) = (Some(8), Redundancy::mirror(2));
    let plan = model::plan(&workload(), &hardware, &constants(), 0).unwrap();
    let live = obedient(&plan);
    let once = plan.layout.stored_bytes_per_object * live.objects;
    assert!((live.live_bytes / once - 1.0).abs() < 1e-9, "{live:?}");
    for line in &difference(&plan, &live, IN_FIRST_MONTH).lines {
        let tolerance = if line.name == "fill_share" { 0.05 } else { 1e-9 };
        assert!(line.relative().unwrap().abs() < tolerance, "{line:?}");
    }
}

/// A node counts of a stripe what its data members have.
#[test]
fn a_node_with_stripes_that_does_as_planned_does_not_differ() {
    let mut hardware = hardware();
    (hardware.node.count, hardware.redundancy) = (Some(8), Redundancy::stripes(4, 2));
    let plan = model::plan(&workload(), &hardware, &constants(), 0).unwrap();
    let mut live = obedient(&plan);
    live.live_bytes = plan.layout.counted_bytes_per_object.unwrap() * live.objects;
    for line in &difference(&plan, &live, IN_FIRST_MONTH).lines {
        let tolerance = if line.name == "fill_share" { 0.05 } else { 1e-9 };
        assert!(line.relative().unwrap().abs() < tolerance, "{line:?}");
    }
}

#[test]
fn figures_of_the_plan_are_those_of_one_node_and_of_the_mean_of_a_day() {
    let plan = plan();
    let difference = difference(&plan, &obedient(&plan), IN_FIRST_MONTH);
    let planned = |name: &str| difference.lines.iter().find(|line| line.name == name).unwrap().planned;
    assert_eq!((planned("put_per_s"), planned("get_per_s")), (50.0, 500.0));
    // Fourteen days of the month have passed.
    let start = plan.workload.objects.count as f64;
    let expected = start + (plan.months[0].objects - start) * 14.0 * DAY_S / MONTH_S;
    assert!((planned("objects") * 4.0 / expected - 1.0).abs() < 1e-12);
    let stored_bytes = expected * plan.layout.stored_bytes_per_object;
    assert!((planned("stored_bytes") * 4.0 / stored_bytes - 1.0).abs() < 1e-12);
    let used = plan.months[0].uses.iter().find(|used| used.constraint == Constraint::Cpu).unwrap();
    assert!((planned("cpu_cores") * 2.0 - used.use_of_limit * 0.7 * 16.0).abs() < 1e-9);
}

#[test]
fn twice_as_much_is_told_as_such() {
    let plan = plan();
    let mut live = obedient(&plan);
    live.objects *= 2.0;
    live.requests_per_s.values_mut().for_each(|rate| *rate *= 2.0);
    live.written_bytes.values_mut().for_each(|bytes| *bytes *= 1.5);
    let difference = difference(&plan, &live, IN_FIRST_MONTH);
    for (name, expected) in [
        ("objects", 1.0),
        ("stored_bytes_per_object", -0.5),
        ("delete_per_s", 1.0),
        ("write_amplification", 0.5),
    ] {
        assert!((relative(&difference, name) - expected).abs() < 1e-9, "{name}");
    }
}

#[test]
fn the_month_is_that_of_now_or_the_nearest() {
    let plan = plan();
    let live = obedient(&plan);
    let month_s = 31 * 86_400;
    let at = |now: u64| {
        let found = difference(&plan, &live, now);
        (found.month.to_string(), found.notes.iter().any(|note| note.contains("is compared with")))
    };
    assert_eq!(at(IN_FIRST_MONTH + month_s), ("2027-02".to_owned(), false));
    assert_eq!(at(0), ("2027-01".to_owned(), true));
    assert_eq!(at(IN_FIRST_MONTH + 20 * month_s), ("2027-12".to_owned(), true));
    let later = difference(&plan, &live, IN_FIRST_MONTH + month_s);
    assert!((relative(&later, "put_per_s") - (1.0 / 1.02 - 1.0)).abs() < 1e-9, "rates grow");
    let end = difference(&plan, &live, IN_FIRST_MONTH + 20 * month_s);
    let planned = |name: &str| end.lines.iter().find(|line| line.name == name).unwrap().planned;
    assert!((planned("objects") * 4.0 / plan.months[11].objects - 1.0).abs() < 1e-12);
    assert!((planned("fill_share") / plan.fill.months[12].fill_p50 - 1.0).abs() < 1e-12);
    assert!((relative(&later, "host_bytes_per_day_per_drive") - (1.0 / 1.02 - 1.0)).abs() < 1e-9);
}

#[test]
fn what_can_not_be_compared_is_noted() {
    let plan = plan();
    let young = LiveNode {
        seconds: 10.0,
        process_age_s: Some(7200.0),
        capacity_bytes: 1e9,
        notes: vec!["the wear of /dev/sda is not known".into()],
        ..LiveNode::default()
    };
    let found = difference(&plan, &young, IN_FIRST_MONTH);
    for note in
        ["of 10 s", "2.0 h old", "no write amplification", "does not count", "1000000000 bytes", "/dev/sda"]
    {
        assert!(found.notes.iter().any(|found| found.contains(note)), "{note}: {:?}", found.notes);
    }
    let live = |name: &str| found.lines.iter().find(|line| line.name == name).unwrap().live;
    assert_eq!((live("stored_bytes_per_object"), live("put_per_s"), live("cpu_cores")), (None, None, None));
    assert_eq!(live("objects"), Some(0.0));
}

#[test]
fn little_wear_is_told_by_bytes() {
    let plan = plan();
    let mut live = obedient(&plan);
    let drives = &plan.hardware.drives;
    let bytes = drives.endurance_bytes.unwrap() / drives.internal_write_amplification / 100.0;
    live.wear[0] = DriveWear {
        percentage_used: Some(1.0),
        host_written_bytes: Some(bytes * 1.7),
        power_on_hours: Some(HOURS_PER_YEAR),
        ..live.wear[0].clone()
    };
    let found = difference(&plan, &live, IN_FIRST_MONTH);
    let line = found.lines.last().unwrap();
    assert!((line.live.unwrap() - 0.017).abs() < 1e-9, "{line:?}");
    live.wear[0].host_written_bytes = None;
    let line = difference(&plan, &live, IN_FIRST_MONTH).lines.pop().unwrap();
    assert!((line.live.unwrap() - 0.01).abs() < 1e-9, "{line:?}");
}

/// A year uses the same share of the whole endurance, whatever the drive has used before.
#[test]
fn a_worn_drive_is_compared_by_the_whole_of_its_endurance() {
    let planned = |used: f64| {
        let mut hardware = hardware();
        (hardware.node.count, hardware.drives.endurance_used_share) = (Some(4), used);
        let plan = model::plan(&workload(), &hardware, &constants(), 0).unwrap();
        let live = difference(&plan, &obedient(&plan), IN_FIRST_MONTH);
        let name = "endurance_share_per_year of /dev/nvme0";
        live.lines.into_iter().find(|line| line.name == name).unwrap().planned
    };
    let (new, worn) = (planned(0.0), planned(0.4));
    assert!((worn / new - 1.0).abs() < 1e-9, "{worn} for {new}");
}
