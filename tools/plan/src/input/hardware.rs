//! This module reads the hardware and checks it.

use super::error::InputError;
use super::fields::Fields;
use super::kind::DEFAULT_REDUNDANCY;
use super::speed;
use crate::hardware::{Cost, Drives, Hardware, Limits, Node, Redundancy, SmallObjects};
use ringbolt_engine::node::sizing::VIEW_DRIVES;

/// Manufacturers count drive writes per day over the days of the warranty, with this many days per
/// year.
const WARRANTY_DAYS_PER_YEAR: f64 = 365.0;

/// Reads the hardware.
///
/// # Errors
/// Fails when a value is missing or beyond its limits, or when values contradict each other.
pub fn read(fields: &Fields, notes: &mut Vec<String>) -> Result<Hardware, InputError> {
    let node = node(fields)?;
    let drives = drives(fields, notes)?;
    let redundancy = redundancy(fields, &node, &drives)?;
    Ok(Hardware {
        name: fields.text("node.name")?,
        node,
        drives,
        redundancy,
        limits: Limits {
            capacity: fields.real("limits.capacity")?,
            drive_iops: fields.real("limits.drive_iops")?,
            drive_bandwidth: fields.real("limits.drive_bandwidth")?,
            ram: fields.real("limits.ram")?,
            cpu: fields.real("limits.cpu")?,
            nic: fields.real("limits.nic")?,
        },
        cost: cost(fields)?,
    })
}

fn node(fields: &Fields) -> Result<Node, InputError> {
    let count = if fields.has("node.count") { Some(fields.small("node.count")?) } else { None };
    Ok(Node {
        count,
        cores: fields.small("node.cores")?,
        ram_bytes: fields.whole("node.ram")?,
        nic_bytes_per_s: fields.real("node.nic")?,
        watts: fields.real("node.watts")?,
        price: fields.real("node.price")?,
    })
}

fn drives(fields: &Fields, notes: &mut Vec<String>) -> Result<Drives, InputError> {
    let size_bytes = fields.whole("drives.size")?;
    Ok(Drives {
        count: fields.small("drives.count")?,
        size_bytes,
        price: fields.real("drives.price")?,
        watts: fields.real("drives.watts")?,
        endurance_bytes: endurance_bytes(fields, size_bytes)?,
        endurance_used_share: fields.real("drives.endurance_used")?,
        wanted_life_years: fields.real("drives.wanted_life_years")?,
        internal_write_amplification: fields.real("drives.internal_write_amplification")?,
        annual_failure_rate: fields.real("drives.annual_failure_rate")?,
        replacement_hours: fields.real("drives.replacement_hours")?,
        rebuild_bytes_per_s: fields.real_if("drives.rebuild_rate")?,
        speed: speed::read(fields, size_bytes, notes)?,
    })
}

fn endurance_bytes(fields: &Fields, size_bytes: u64) -> Result<Option<f64>, InputError> {
    let (tbw, dwpd) = (fields.whole_if("drives.tbw")?, fields.real_if("drives.dwpd")?);
    let warranty_years = fields.real("drives.warranty_years")?;
    match (tbw, dwpd) {
        (Some(_), Some(_)) => {
            Err(fields
                .refuse("drives.dwpd", "drives.tbw says the endurance too: keep one of them".to_owned()))
        }
        (Some(tbw), None) => Ok(Some(tbw as f64)),
        (None, Some(dwpd)) => Ok(Some(dwpd * size_bytes as f64 * WARRANTY_DAYS_PER_YEAR * warranty_years)),
        (None, None) => Ok(None),
    }
}

fn redundancy(fields: &Fields, node: &Node, drives: &Drives) -> Result<Redundancy, InputError> {
    let (data, parity) = (fields.small("redundancy.data")?, fields.small("redundancy.parity")?);
    let small_objects = match fields.text("redundancy.small_objects")?.as_str() {
        "copies" => SmallObjects::Copies,
        _ => SmallObjects::Pieces,
    };
    let on_node = match fields.text("redundancy.format")?.as_str() {
        // Who asks for pieces asks for nothing beside them.
        DEFAULT_REDUNDANCY if data + parity > 1 => Redundancy::SINGLE,
        DEFAULT_REDUNDANCY => Redundancy::of_drives(drives.count),
        name => Redundancy::of_name(name).unwrap_or(Redundancy::SINGLE),
    };
    if on_node.is_on_node() {
        return match refused(data + parity, on_node, drives.count) {
            Some(reason) => Err(fields.refuse("redundancy.format", reason)),
            None => Ok(on_node),
        };
    }
    if data > 1 && parity == 0 {
        let reason = "pieces without parity: each lost drive would take a part of every object; give \
             redundancy.parity, or data = 1";
        return Err(fields.refuse("redundancy.data", reason.to_owned()));
    }
    let all_drives = node.count.map(|count| u64::from(count) * u64::from(drives.count));
    match all_drives {
        Some(all_drives) if all_drives < u64::from(data + parity) => Err(fields.refuse(
            "redundancy.data",
            format!(
                "{data} + {parity} pieces lie on as many drives, but node.count × drives.count are {all_drives}: give \
                 more drives, or fewer pieces"
            ),
        )),
        _ => Ok(Redundancy { small_objects, ..Redundancy::pieces(data, parity) }),
    }
}

/// Returns why a node of `drives` drives has no such `redundancy` of objects in `pieces` pieces, if there
/// is a reason.
fn refused(pieces: u32, redundancy: Redundancy, drives: u32) -> Option<String> {
    let (copies, members) = (redundancy.copies, redundancy.members());
    match () {
        () if pieces > 1 => Some(
            "there are copies and stripes on the drives of a node or pieces on the drives of several, not both: give \
             redundancy.format = \"none\", or redundancy.data = 1 and redundancy.parity = 0"
                .to_owned(),
        ),
        () if redundancy.is_striped() && drives < members => Some(format!(
            "a stripe lies on {members} drives of a node, but drives.count is {drives}: give more drives, or fewer \
             members"
        )),
        () if drives < copies => Some(format!(
            "{copies} copies lie on as many drives of a node, but drives.count is {drives}: give more drives, or \
             fewer copies"
        )),
        () if drives as usize > VIEW_DRIVES => Some(format!(
            "drives.count is {drives}, and a node with redundancy has at most {VIEW_DRIVES} drives: give fewer \
             drives to a node, and more nodes"
        )),
        () => None,
    }
}

fn cost(fields: &Fields) -> Result<Cost, InputError> {
    const CURRENCY: &str = "cost.currency";
    let mut priced = false;
    for key in ["node.price", "drives.price", "cost.price_per_kwh"] {
        priced |= fields.real(key)? > 0.0;
    }
    let currency = match fields.text_if(CURRENCY)? {
        Some(currency) => currency,
        None if priced => return Err(fields.missing(CURRENCY)),
        None => String::new(),
    };
    Ok(Cost {
        currency,
        years: fields.real("cost.years")?,
        price_per_kwh: fields.real("cost.price_per_kwh")?,
        power_usage_effectiveness: fields.real("cost.power_usage_effectiveness")?,
    })
}
