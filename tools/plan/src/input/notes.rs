//! This module notes values that are odd but possible; they are not refused.

use super::fields::Fields;
use super::workload::new_per_s;
use crate::hardware::Hardware;
use crate::workload::Workload;
use ringbolt_tool_common::units::{DAY_S, MONTH_S, human_count, human_days, human_share};

/// With a larger ratio, two figures do not belong to the same workload.
const RATIO_NOTED: f64 = 1.5;
const CHANGE_SHARE_NOTED: f64 = 0.5;
const GROWTH_NOTED: f64 = 100.0;
const UNCERTAINTY_NOTED: f64 = 0.5;
const LIMIT_NOTED: f64 = 0.95;

/// Adds notes about the workload.
pub fn workload(fields: &Fields, workload: &Workload, notes: &mut Vec<String>) {
    let requests = &workload.requests;
    let rates = [
        requests.put_per_s,
        requests.get_per_s,
        requests.head_per_s,
        requests.list_per_s,
        requests.delete_per_s,
    ];
    if rates.iter().all(|per_s| *per_s == 0.0) {
        notes.push("no requests at all: capacity and the index alone decide".to_owned());
    }
    if workload.objects.count == 0 {
        notes.push("objects.count is 0: the first month begins empty".to_owned());
    }
    if requests.uncertainty > UNCERTAINTY_NOTED {
        notes.push(format!(
            "requests.uncertainty {}: the percentiles will be far apart",
            human_share(requests.uncertainty)
        ));
    }
    let keys = ["objects.key_length", "objects.shared_key_length"];
    if !fields.has("objects.scan") && keys.iter().any(|key| !fields.has(key)) {
        notes.push(format!(
            "keys of {} bytes, {} of them shared with the key before: one of these is a default; a scan measures both",
            workload.objects.key_bytes, workload.objects.key_shared_bytes
        ));
    }
    if let Some(part) = workload.objects.part_bytes
        && workload.objects.sizes.classes().last().is_some_and(|class| class.upper_bytes <= part)
    {
        notes.push("objects.part_size: no object is larger than a part, so none comes in parts".to_owned());
    }
    stored(workload, notes);
    horizon(workload, notes);
}

/// Compares what is stored with what arrives and leaves.
fn stored(workload: &Workload, notes: &mut Vec<String>) {
    let (count, new) = (workload.objects.count as f64, new_per_s(workload));
    let delete_per_s = workload.requests.delete_per_s;
    if let Some(days) = workload.retention_days {
        let kept = kept(new, delete_per_s) * DAY_S * days;
        if count > kept * RATIO_NOTED || kept > count * RATIO_NOTED {
            notes.push(format!(
                "retention: {} new objects a second, {} of them deleted before, kept for {}, come to {} objects, but \
                 objects.count says {}",
                human_count(new),
                human_count(delete_per_s),
                human_days(days),
                human_count(kept),
                human_count(count)
            ));
        }
        return;
    }
    let net = (new - delete_per_s) * MONTH_S;
    match workload.growth.stored_share_per_month {
        Some(share) => {
            let change = count * share;
            if (net - change).abs() > CHANGE_SHARE_NOTED * change.abs() {
                notes.push(format!(
                    "growth.stored_per_month says {} objects more in the first month, puts less deletes come to {}: \
                     the growth counts",
                    human_count(change),
                    human_count(net)
                ));
            }
        }
        None if net < 0.0 && count > 0.0 && count / -net < f64::from(workload.horizon.months) => {
            notes.push(format!(
                "more is deleted than put: at the rates of the first month all objects are gone after {:.1} months",
                count / -net
            ));
        }
        None => {}
    }
}

/// Returns the objects per second of a retention, once as many leave as arrive, if DELETEs hit all
/// objects alike.
fn kept(new_per_s: f64, delete_per_s: f64) -> f64 {
    match () {
        () if delete_per_s <= 0.0 => new_per_s,
        () if delete_per_s >= new_per_s => 0.0,
        () => delete_per_s / -(-delete_per_s / new_per_s).ln_1p(),
    }
}

fn horizon(workload: &Workload, notes: &mut Vec<String>) {
    let growth = &workload.growth;
    let months = workload.horizon.months as i32 - 1;
    let factors = [
        ("growth.requests_per_month", Some(growth.requests_share_per_month)),
        ("growth.stored_per_month", growth.stored_share_per_month),
    ];
    for (key, share) in factors {
        let factor = (1.0 + share.unwrap_or(0.0)).powi(months);
        if factor > GROWTH_NOTED {
            notes.push(format!("{key}: compounds to {} times the first month", human_count(factor)));
        }
    }
    let Some(stored) = growth.stored_share_per_month.filter(|share| *share > growth.requests_share_per_month)
    else {
        return;
    };
    let change = workload.objects.count as f64 * stored * (1.0 + stored).powi(months);
    let new = new_per_s(workload) * MONTH_S * (1.0 + growth.requests_share_per_month).powi(months);
    if change > new {
        notes.push(format!(
            "growth: in the last month {} objects more are stored than the month before, but puts bring {}: raise \
             growth.requests_per_month to {}",
            human_count(change),
            human_count(new),
            human_share(stored)
        ));
    }
}

/// Adds notes about the hardware.
pub fn hardware(fields: &Fields, hardware: &Hardware, notes: &mut Vec<String>) {
    let drives = &hardware.drives;
    if drives.endurance_bytes.is_none() {
        notes.push("neither drives.tbw nor drives.dwpd: endurance limits nothing".to_owned());
    }
    if hardware.node.price == 0.0 && drives.price == 0.0 {
        notes.push("no prices of nodes and drives: cost is that of power alone".to_owned());
    }
    if hardware.node.watts == 0.0 && drives.watts == 0.0 {
        notes.push("no watts of nodes and drives: power and its cost are 0".to_owned());
    } else if hardware.cost.price_per_kwh == 0.0 {
        notes.push("cost.price_per_kwh is 0: power costs nothing".to_owned());
    }
    if fields.is_set("drives.size") {
        for key in ["drives.tbw", "drives.price"].iter().filter(|key| fields.has(key) && !fields.is_set(key))
        {
            notes.push(format!("drives.size was set on the command line, {key} is still that of the file"));
        }
    }
    redundancy(hardware, notes);
    for (key, limit) in hardware.limits.by_key() {
        if limit > LIMIT_NOTED {
            notes.push(format!(
                "{key} {}: leaves next to nothing for what a plan does not know",
                human_share(limit)
            ));
        }
    }
}

fn redundancy(hardware: &Hardware, notes: &mut Vec<String>) {
    let pieces = hardware.redundancy.data + hardware.redundancy.parity;
    if hardware.node.count.is_some_and(|count| count < pieces) {
        notes.push(format!(
            "fewer nodes than the {pieces} pieces of an object: several lie on one node, and go down with it"
        ));
    }
}
