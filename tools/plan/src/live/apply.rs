//! This module replaces figures of a workload by those of a running node.

use super::node::LiveNode;
use super::operations::{Rates, rates};
use crate::hardware::{ENDURANCE_USED_MAX, Hardware};
use crate::workload::Workload;

/// Rates over a shorter time say little about a day.
const SHORT_S: f64 = 3600.0;

/// Sets the number of objects, the live bytes of each, and the request rates of `workload`, as if
/// each of `nodes` nodes were like `live`. Sizes, keys and everything else stay. Returns notes
/// about what was replaced.
pub fn apply(live: &LiveNode, workload: &mut Workload, nodes: u32) -> Vec<String> {
    let of_all = f64::from(nodes.max(1));
    let mut notes = Vec::new();
    workload.objects.count = (live.objects * of_all).round() as u64;
    let times = if nodes > 1 { format!(", times {nodes} nodes alike") } else { String::new() };
    notes.push(format!(
        "objects.count is what {} stores: {}{times}; sizes and keys stay those of the workload",
        live.url, live.objects
    ));
    if live.objects > 0.0 && live.live_bytes > 0.0 {
        let each = live.live_bytes / live.objects;
        workload.objects.live_bytes_per_object = Some(each);
        notes.push(format!(
            "an object takes what {} has live for each: {each:.0} bytes, in place of what the sizes come to",
            live.url
        ));
    }
    let Some(Rates { put, get, head, list, delete, delete_many }) = rates(live) else {
        notes.push(format!("{} does not count its requests: the rates stay those of the workload", live.url));
        return notes;
    };
    let requests = &mut workload.requests;
    requests.put_per_s = put * of_all;
    requests.get_per_s = get * of_all;
    requests.head_per_s = head * of_all;
    requests.list_per_s = list * of_all;
    requests.delete_per_s = delete * of_all;
    notes.push(format!(
        "the request rates are those of {:.0} s on {}{times}; overwrites, ranges and the shape of the day stay those of the \
         workload",
        live.seconds, live.url
    ));
    if put + get + head + list + delete == 0.0 {
        notes.push("the node was idle meanwhile: the plan has no requests".to_owned());
    }
    if live.seconds < SHORT_S {
        notes.push(format!(
            "{:.0} s say little of a day: a plan wants the mean of a day, so measure for longer",
            live.seconds
        ));
    }
    if delete_many > 0.0 {
        notes.push(format!(
            "{delete_many:.1} DeleteObjects a second count as one delete each, though each may name 1000 keys"
        ));
    }
    notes
}

/// Sets the used endurance of the drives of `hardware` to that of the most worn drive of `live`.
/// Returns notes about what was replaced.
pub fn apply_wear(live: &LiveNode, hardware: &mut Hardware) -> Vec<String> {
    let drives = &mut hardware.drives;
    let mut notes = Vec::new();
    if !live.wear.is_empty() && drives.endurance_bytes.is_none() {
        notes.push(
            "the hardware says no endurance of its drives: give drives.dwpd or drives.tbw, or their wear has no effect"
                .to_owned(),
        );
        return notes;
    }
    let used = live.wear.iter().filter_map(|wear| Some((wear, wear.endurance_used(drives)?)));
    let Some((wear, (used, how))) = used.max_by(|(_, one), (_, other)| one.0.total_cmp(&other.0)) else {
        let silent = live.wear.iter();
        notes.extend(silent.map(|wear| format!("{} does not say how worn it is", wear.device)));
        return notes;
    };
    drives.endurance_used_share = used.min(ENDURANCE_USED_MAX);
    let percent = used * 100.0;
    notes.push(format!(
        "{percent:.1}% of the endurance are taken to be behind every drive, as of {}, the most worn that was named: by {how} \
         ({})",
        wear.device, wear.program
    ));
    if used > ENDURANCE_USED_MAX {
        notes.push(format!("the endurance of {} is used up: replace it", wear.device));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::node::DriveWear;
    use crate::model::testing::{hardware, workload};

    fn worn(device: &str, percentage_used: Option<f64>, host_written_bytes: Option<f64>) -> DriveWear {
        let program = "smartctl".to_owned();
        DriveWear {
            device: device.into(),
            program,
            percentage_used,
            host_written_bytes,
            power_on_hours: None,
        }
    }

    #[test]
    fn the_most_worn_drive_counts_for_all() {
        let used = |wear: Vec<DriveWear>| {
            let mut taken = hardware();
            // The endurance is 14 PB, with an amplification of 1.2 within the drive.
            let notes = apply_wear(&LiveNode { wear, ..live() }, &mut taken);
            (taken.drives.endurance_used_share, notes)
        };
        let (share, notes) = used(vec![
            worn("/dev/nvme0", Some(12.0), None),
            worn("/dev/nvme1", Some(30.0), Some(1e12)),
            worn("/dev/nvme2", None, None),
        ]);
        assert!((share - 0.3).abs() < 1e-9 && notes.len() == 1, "{share} {notes:?}");
        assert!(notes[0].contains("30.0% of the endurance") && notes[0].contains("/dev/nvme1"), "{notes:?}");
        // A whole percentage says little about a young drive.
        let (share, _) = used(vec![worn("/dev/sda", Some(1.0), Some(0.02 * 14e15))]);
        assert!((share - 0.024).abs() < 1e-9, "{share}");
        let (share, notes) = used(vec![worn("/dev/nvme0", Some(120.0), None)]);
        assert!(share == ENDURANCE_USED_MAX && notes[1].contains("used up"), "{share} {notes:?}");
        assert_eq!(used(Vec::new()), (0.0, Vec::new()));
        let (share, notes) = used(vec![worn("/dev/nvme2", None, None)]);
        assert!(share == 0.0 && notes == ["/dev/nvme2 does not say how worn it is"], "{share} {notes:?}");
        let mut unknown = hardware();
        unknown.drives.endurance_bytes = None;
        let node = LiveNode { wear: vec![worn("/dev/nvme0", Some(12.0), None)], ..live() };
        assert!(apply_wear(&node, &mut unknown)[0].contains("give drives.dwpd"));
    }

    fn live() -> LiveNode {
        let operations = [
            ("PutObject", 10.0),
            ("UploadPart", 100.0),
            ("CompleteMultipartUpload", 2.0),
            ("GetObject", 50.0),
            ("HeadObject", 5.0),
            ("ListObjectsV2", 1.0),
            ("ListBuckets", 9.0),
            ("DeleteObject", 3.0),
            ("DeleteObjects", 0.5),
        ];
        LiveNode {
            url: "http://node".into(),
            objects: 1e6,
            live_bytes: 5e9,
            seconds: 7200.0,
            requests_per_s: operations.map(|(name, rate)| (name.to_owned(), rate)).into(),
            ..LiveNode::default()
        }
    }

    #[test]
    fn objects_and_rates_are_taken_for_all_nodes() {
        let (mut taken, before) = (workload(), workload());
        let notes = apply(&live(), &mut taken, 3);
        assert_eq!(taken.objects.count, 3_000_000);
        assert_eq!(taken.objects.live_bytes_per_object, Some(5_000.0));
        let requests = &taken.requests;
        let rates = [
            requests.put_per_s,
            requests.get_per_s,
            requests.head_per_s,
            requests.list_per_s,
            requests.delete_per_s,
        ];
        assert_eq!(rates, [36.0, 150.0, 15.0, 3.0, 10.5]);
        assert_eq!((&taken.objects.sizes, taken.day.clone()), (&before.objects.sizes, before.day));
        assert_eq!(requests.overwrite_share, before.requests.overwrite_share);
        assert!(notes[0].contains("1000000, times 3 nodes alike"), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("DeleteObjects")), "{notes:?}");
        assert!(!notes.iter().any(|note| note.contains("say little")), "{notes:?}");
    }

    #[test]
    fn what_is_not_known_stays_and_is_said() {
        let mut taken = workload();
        let silent = LiveNode { requests_per_s: Default::default(), ..live() };
        let notes = apply(&silent, &mut taken, 1);
        assert_eq!(taken.requests, workload().requests);
        assert!(notes[2].contains("does not count"), "{notes:?}");
        let mut idle = LiveNode { seconds: 5.0, ..live() };
        idle.requests_per_s.values_mut().for_each(|rate| *rate = 0.0);
        let notes = apply(&idle, &mut taken, 1);
        assert_eq!(taken.requests.put_per_s, 0.0);
        assert!(notes.iter().any(|note| note.contains("idle")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("5 s say little")), "{notes:?}");
    }
}
