//! This module reads the workload and checks it.

use super::error::InputError;
use super::fields::Fields;
use super::fields::wrong;
use super::kind::{Kind, Quantity};
use super::sizes::{self, Sizes};
use super::tree::{Node, Value};
use crate::month::Month;
use crate::scan::file::ScannedSizes;
use crate::workload::{Day, Growth, Horizon, HotSet, Objects, Requests, Workload};
use ringbolt_tool_common::s3::limits::{BODY_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX};
use ringbolt_tool_common::units::{MONTH_S, exact_bytes, human_bytes, human_count};

/// Keys have this length if nothing else is known, and share nothing with each other: the index is
/// then planned at its largest.
const KEY_BYTES: f64 = 48.0;
const KEY_SHARED_BYTES: f64 = 0.0;
const HOURS: usize = 24;

/// Reads the workload.
///
/// # Errors
/// Fails when a value is missing or beyond its limits, or when values contradict each other.
pub fn read(fields: &Fields, now_unix_s: u64, notes: &mut Vec<String>) -> Result<Workload, InputError> {
    let mut sizes = sizes::read(fields, notes)?;
    let by_size = |key| sizes::requested(fields, key, &sizes.histogram);
    let (gets, heads) = (by_size("requests.gets_by_size")?, by_size("requests.heads_by_size")?);
    // Classes are cut at these sizes, so that all objects of a class are requested alike.
    let ends =
        gets.iter().chain(&heads).flatten().flat_map(|entry| [entry.lower_bytes, entry.upper_bytes + 1]);
    sizes.histogram = sizes.histogram.cut_at(&ends.collect());
    let objects = objects(fields, &sizes, notes)?;
    let requests = Requests { gets_by_size: gets, heads_by_size: heads, ..requests(fields, &sizes)? };
    let growth = growth(fields)?;
    let workload = Workload {
        name: fields.text("plan.name")?,
        objects,
        requests,
        day: Day { shape: day_shape(fields)?, peak_factor: fields.real("day.peak_factor")? },
        hot_set: hot_set(fields)?,
        growth,
        retention_days: fields.real_if("retention.delete_after")?,
        horizon: Horizon {
            start: fields.month_if("plan.start")?.unwrap_or_else(|| Month::of_unix_s(now_unix_s)),
            months: fields.small("plan.months")?,
            seed: fields.whole("plan.seed")?,
            samples: fields.small("plan.samples")?,
        },
    };
    check_horizon(fields, &workload.horizon)?;
    check_nothing_from_nothing(fields, &workload)?;
    check_growth(fields, &workload)?;
    Ok(workload)
}

fn objects(fields: &Fields, sizes: &Sizes, notes: &mut Vec<String>) -> Result<Objects, InputError> {
    let scan = sizes.scan.as_ref();
    if let Some(scan) = scan {
        notes.extend(in_place_of(scan, fields));
    }
    let count = match (fields.whole_if("objects.count")?, scan) {
        (Some(count), _) => count,
        (None, Some(scan)) => scan.objects,
        (None, None) => return Err(fields.missing("objects.count")),
    };
    let key_bytes = fields.real_if("objects.key_length")?;
    let key_bytes = key_bytes.or_else(|| scan.map(|scan| scan.key_bytes_mean)).unwrap_or(KEY_BYTES);
    const SHARED: &str = "objects.shared_key_length";
    let shared = fields.real_if(SHARED)?;
    let key_shared_bytes = match (shared, scan) {
        (Some(shared), _) if shared > key_bytes => {
            return Err(fields.refuse(SHARED, format!("more than all of a key, which has {key_bytes} bytes")));
        }
        (Some(shared), _) => shared,
        (None, Some(scan)) => scan.key_shared_bytes_mean.min(key_bytes),
        (None, None) => KEY_SHARED_BYTES,
    };
    Ok(Objects {
        count,
        key_bytes,
        key_shared_bytes,
        metadata_bytes: fields.real("objects.metadata_size")?,
        sizes: sizes.histogram.clone(),
        sizes_source: sizes.source.clone(),
        live_bytes_per_object: None,
        part_bytes: part_bytes(fields, sizes, notes)?,
    })
}

/// Lists the values of the file that override those of the scan.
fn in_place_of(scan: &ScannedSizes, fields: &Fields) -> Vec<String> {
    let parts = scan.multipart.map(|multipart| format!("parts of {:.0} bytes", multipart.part_bytes_mean));
    let found = [
        ("objects.count", Some(format!("{} objects", scan.objects))),
        ("objects.key_length", Some(format!("{:.0} bytes", scan.key_bytes_mean))),
        ("objects.shared_key_length", Some(format!("{:.0} bytes", scan.key_shared_bytes_mean))),
        ("objects.part_size", parts),
    ];
    let said = |(key, found): (&str, Option<String>)| {
        // A value that is set on the command line is intended.
        let node = fields.node(key).filter(|_| !fields.is_set(key))?;
        Some(format!(
            "{key}: {} of the file counts, in place of {} that the scan found; take the line away for these",
            node.shown(),
            found?
        ))
    };
    found.into_iter().filter_map(said).collect()
}

fn part_bytes(fields: &Fields, sizes: &Sizes, notes: &mut Vec<String>) -> Result<Option<u64>, InputError> {
    const KEY: &str = "objects.part_size";
    let largest = sizes.largest_bytes();
    let given = fields.whole_if(KEY)?;
    let scanned = sizes.scan.as_ref().and_then(|scan| scan.multipart).map(|multipart| {
        let whole_mib = ((multipart.part_bytes_mean / 1_048_576.0).ceil() as u64) << 20;
        whole_mib.clamp(PART_BYTES_MIN.max(largest.div_ceil(PARTS_MAX)), BODY_BYTES_MAX)
    });
    if let (None, Some(part)) = (given, scanned) {
        notes.push(format!("{KEY}: {} taken from the parts that the scan found", exact_bytes(part)));
    }
    match given.or(scanned) {
        None if largest > BODY_BYTES_MAX => Err(fields.refuse(
            KEY,
            format!(
                "the largest object has {}, one request brings at most {}: give the size of the parts that clients \
                 upload",
                human_bytes(largest as f64),
                exact_bytes(BODY_BYTES_MAX)
            ),
        )),
        Some(part) if largest.div_ceil(part) > PARTS_MAX => Err(fields.refuse(
            KEY,
            format!(
                "the largest object, {}, would have {} parts, and an upload has at most {PARTS_MAX}: take at least {}",
                human_bytes(largest as f64),
                largest.div_ceil(part),
                exact_bytes(largest.div_ceil(PARTS_MAX))
            ),
        )),
        part => Ok(part),
    }
}

fn requests(fields: &Fields, sizes: &Sizes) -> Result<Requests, InputError> {
    const RANGE: &str = "requests.range_size";
    let range_share = fields.real("requests.range_share")?;
    let largest = sizes.largest_bytes();
    let range_bytes = match fields.whole_if(RANGE)? {
        None if range_share > 0.0 => return Err(fields.missing(RANGE)),
        Some(range) if range_share > 0.0 && range > largest => {
            let reason =
                format!("larger than the largest object, {}: no get can ask for it", exact_bytes(largest));
            return Err(fields.refuse(RANGE, reason));
        }
        range => range.unwrap_or(0),
    };
    Ok(Requests {
        put_per_s: fields.real("requests.put_per_s")?,
        get_per_s: fields.real("requests.get_per_s")?,
        head_per_s: fields.real("requests.head_per_s")?,
        list_per_s: fields.real("requests.list_per_s")?,
        delete_per_s: fields.real("requests.delete_per_s")?,
        overwrite_share: fields.real("requests.overwrite_share")?,
        list_keys: fields.real("requests.list_keys")?,
        range_share,
        range_bytes,
        puts_in_flight: fields.real("requests.puts_in_flight")?,
        gets_by_size: None,
        heads_by_size: None,
        uncertainty: fields.real("requests.uncertainty")?,
    })
}

/// Returns weights with mean 1.
fn day_shape(fields: &Fields) -> Result<Vec<f64>, InputError> {
    const KEY: &str = "day.shape";
    const WEIGHT_MAX: f64 = 1e9;
    let Some(node) = fields.node(KEY) else { return Ok(vec![1.0; HOURS]) };
    let Value::List(items) = &node.value else {
        return Err(wrong(KEY, node, format!("write {}", Kind::Hours.wanted())));
    };
    if items.len() != HOURS {
        let reason = format!("{} weights: write {HOURS}, one for each hour of the day", items.len());
        return Err(wrong(KEY, node, reason));
    }
    let weight = |(hour, item): (usize, &Node)| {
        let kind = Kind::Number { least: 0.0, most: WEIGHT_MAX };
        match super::fields::read(&format!("{KEY}.{hour}"), kind, item)? {
            Quantity::Real(weight) => Ok(weight),
            other => unreachable!("a weight is a real number, not {other:?}"),
        }
    };
    let weights = items.iter().enumerate().map(weight).collect::<Result<Vec<f64>, InputError>>()?;
    let mean = weights.iter().sum::<f64>() / HOURS as f64;
    if mean <= 0.0 {
        return Err(wrong(KEY, node, "no hour has a weight above 0: then there is no load".to_owned()));
    }
    let shape: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    if shape.iter().all(|weight| weight.is_finite()) {
        return Ok(shape);
    }
    Err(wrong(KEY, node, "the weights are too small to be told apart: write them around 1".to_owned()))
}

fn hot_set(fields: &Fields) -> Result<HotSet, InputError> {
    const OBJECTS: &str = "hot_set.object_share";
    const REQUESTS: &str = "hot_set.request_share";
    match (fields.real_if(OBJECTS)?, fields.real_if(REQUESTS)?) {
        // All objects are requested alike.
        (None, None) => Ok(HotSet { object_share: 1.0, request_share: 1.0 }),
        (Some(_), None) => Err(fields.missing(REQUESTS)),
        (None, Some(_)) => Err(fields.missing(OBJECTS)),
        (Some(object_share), Some(_)) if object_share <= 0.0 => Err(fields
            .refuse(OBJECTS, "a hot set has objects: write a share above 0, or leave [hot_set] out".into())),
        (Some(object_share), Some(request_share)) if request_share < object_share => Err(fields.refuse(
            REQUESTS,
            format!("below object_share, {object_share}: these objects would be colder than the rest"),
        )),
        (Some(object_share), Some(request_share)) => Ok(HotSet { object_share, request_share }),
    }
}

fn growth(fields: &Fields) -> Result<Growth, InputError> {
    Ok(Growth {
        requests_share_per_month: fields.real("growth.requests_per_month")?,
        stored_share_per_month: fields.real_if("growth.stored_per_month")?,
        uncertainty: fields.real("growth.uncertainty")?,
    })
}

/// Checks that the month after the last one exists too.
fn check_horizon(fields: &Fields, horizon: &Horizon) -> Result<(), InputError> {
    let most = horizon.start.months_until(Month::LAST) - 1;
    if horizon.months <= most {
        return Ok(());
    }
    let reason = format!(
        "{} months from {} on go beyond {}: begin earlier, or look ahead {most} months at most",
        horizon.months,
        horizon.start,
        Month::LAST
    );
    Err(fields.refuse(if fields.has("plan.start") { "plan.start" } else { "plan.months" }, reason))
}

/// Checks that there are objects if they are requested.
fn check_nothing_from_nothing(fields: &Fields, workload: &Workload) -> Result<(), InputError> {
    let requests = &workload.requests;
    if workload.objects.count > 0 || requests.put_per_s > 0.0 {
        return Ok(());
    }
    let asked = [
        ("requests.get_per_s", requests.get_per_s),
        ("requests.delete_per_s", requests.delete_per_s),
        ("requests.head_per_s", requests.head_per_s),
    ];
    match asked.iter().find(|(_, per_s)| *per_s > 0.0) {
        Some((key, _)) => Err(fields.refuse(
            key,
            "there are no objects and no puts: give objects.count, or requests.put_per_s".to_owned(),
        )),
        None => Err(fields.refuse(
            "objects.count",
            "no objects and no puts leave nothing to plan: give either of them".to_owned(),
        )),
    }
}

/// Checks that what is stored does not grow faster than puts add it, nor shrink faster than deletes
/// remove it.
fn check_growth(fields: &Fields, workload: &Workload) -> Result<(), InputError> {
    const KEY: &str = "growth.stored_per_month";
    let Some(stored_per_month) = workload.growth.stored_share_per_month else { return Ok(()) };
    let change = workload.objects.count as f64 * stored_per_month;
    let (new, deleted) = (new_per_s(workload) * MONTH_S, workload.requests.delete_per_s * MONTH_S);
    if change > new * (1.0 + 1e-9) {
        let overwrite_share = workload.requests.overwrite_share;
        let advice = if overwrite_share < 1.0 {
            format!("raise requests.put_per_s to {}", rounded_up(change / MONTH_S / (1.0 - overwrite_share)))
        } else {
            "lower requests.overwrite_share".to_owned()
        };
        return Err(fields.refuse(
            KEY,
            format!(
                "asks for {} new objects in the first month, but put_per_s × (1 − overwrite_share) brings {}: \
                 {advice}, or lower the growth",
                human_count(change),
                human_count(new)
            ),
        ));
    }
    if -change > deleted * (1.0 + 1e-9) && workload.retention_days.is_none() {
        return Err(fields.refuse(
            KEY,
            format!(
                "asks for {} objects less in the first month, but delete_per_s takes {} and nothing ages: raise \
                 requests.delete_per_s to {}, or give retention.delete_after",
                human_count(-change),
                human_count(deleted),
                rounded_up(-change / MONTH_S)
            ),
        ));
    }
    Ok(())
}

/// Rounds up to a thousandth, so that the advice is sufficient.
fn rounded_up(per_s: f64) -> f64 {
    (per_s * 1000.0).ceil() / 1000.0
}

/// Returns the rate of puts that add an object.
pub fn new_per_s(workload: &Workload) -> f64 {
    workload.requests.put_per_s * (1.0 - workload.requests.overwrite_share)
}
