//! This module reads lists: `sizes = [{ size = "4KiB", share = 0.5 }, { from = "64KiB", to =
//! "1MiB", share = 0.5 }]`, and those of requests by size.

use super::{Sizes, grid, histogram};
use crate::input::error::InputError;
use crate::input::fields::{Fields, read as read_value, wrong};
use crate::input::kind::{Kind, Quantity};
use crate::input::tree::{Node, Value};
use crate::sizes::{SizeClass, SizeHistogram};
use ringbolt_tool_common::nearest::nearest;
use ringbolt_tool_common::s3::limits::OBJECT_BYTES_MAX;

const KEY: &str = "objects.sizes";
pub const NAMES: [&str; 4] = ["size", "from", "to", "share"];
/// A list has at most this many entries; larger ones come from scans.
const ENTRIES_MAX: usize = 1000;
/// Shares that people rounded are accepted within this tolerance.
const SUM_TOLERANCE: f64 = 0.005;

/// Reads the list of sizes.
///
/// # Errors
/// Fails when the value is not a list of sizes, or when the shares do not add up to 1.
pub fn read(fields: &Fields) -> Result<Sizes, InputError> {
    let Some(node) = fields.node(KEY) else { return Err(fields.missing(KEY)) };
    let entries = entries(KEY, node)?;
    let classes =
        entries.iter().flat_map(|entry| grid::even(entry.lower_bytes, entry.upper_bytes, entry.share));
    let histogram = histogram(fields, KEY, classes.collect())?;
    Ok(Sizes { histogram, source: "the list in the workload".to_owned(), scan: None })
}

/// Reads the list of `key`: requests by the size of the object that they ask for; `None` if there
/// is no list.
///
/// # Errors
/// Fails when the value is not a list of sizes, when the shares do not add up to 1, or when
/// `histogram` has no object of an entry's sizes.
pub fn requested(
    fields: &Fields,
    key: &str,
    histogram: &SizeHistogram,
) -> Result<Option<Vec<SizeClass>>, InputError> {
    let Some(node) = fields.node(key) else { return Ok(None) };
    let entries = entries(key, node)?;
    let is_in = |entry: &SizeClass, class: &SizeClass| {
        entry.lower_bytes <= class.upper_bytes && class.lower_bytes <= entry.upper_bytes
    };
    let classes = histogram.classes();
    match entries.iter().find(|entry| !classes.iter().any(|class| is_in(entry, class))) {
        Some(SizeClass { lower_bytes, upper_bytes, .. }) => {
            let reason = format!(
                "no object has from {lower_bytes} to {upper_bytes} bytes: give sizes that objects have, or leave the \
                 entry out"
            );
            Err(wrong(key, node, reason))
        }
        None => Ok(Some(entries)),
    }
}

/// Returns the entries in ascending order, without those of share 0; both ends are inclusive.
fn entries(key: &str, node: &Node) -> Result<Vec<SizeClass>, InputError> {
    let Value::List(items) = &node.value else {
        return Err(wrong(key, node, format!("write {}", Kind::Sizes.wanted())));
    };
    if items.len() > ENTRIES_MAX {
        return Err(wrong(key, node, format!("at most {ENTRIES_MAX}: take ranges, or a scan")));
    }
    if items.is_empty() {
        return Err(wrong(key, node, "no sizes: write at least one".to_owned()));
    }
    let entries = items.iter().enumerate().map(|(at, item)| entry(&format!("{key}.{at}"), item));
    let mut entries = entries.collect::<Result<Vec<SizeClass>, _>>()?;
    let sum: f64 = entries.iter().map(|entry| entry.share).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(wrong(key, node, format!("the shares add up to {sum:.4}: they must add up to 1")));
    }
    entries.retain(|entry| entry.share > 0.0);
    // The end of one range may be the beginning of the next: that size belongs to the next one.
    let starts: Vec<u64> = entries.iter().map(|entry| entry.lower_bytes).collect();
    for entry in &mut entries {
        if entry.upper_bytes > entry.lower_bytes && starts.contains(&entry.upper_bytes) {
            entry.upper_bytes -= 1;
        }
    }
    // This comes before ranges are cut, so that there are no more classes than the grid has.
    entries.sort_by_key(|entry| entry.lower_bytes);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].upper_bytes >= pair[1].lower_bytes) {
        let (first, second) = (pair[0].lower_bytes, pair[1].lower_bytes);
        let reason =
            format!("the entries from {first} and from {second} bytes overlap: cut one of them in two");
        return Err(wrong(key, node, reason));
    }
    entries.iter_mut().for_each(|entry| entry.share /= sum);
    Ok(entries)
}

fn entry(path: &str, node: &Node) -> Result<SizeClass, InputError> {
    let Value::Table(names) = &node.value else {
        return Err(wrong(path, node, "write { size = \"4KiB\", share = 0.5 }".to_owned()));
    };
    if let Some((name, value)) = names.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
        let near = nearest(name, NAMES.into_iter());
        let hint = near.map_or_else(
            || format!("; there are {}", NAMES.join(", ")),
            |name| format!("; did you mean {name}?"),
        );
        return Err(InputError::UnknownKey {
            place: value.place.clone(),
            key: format!("{path}.{name}"),
            hint,
        });
    }
    let find = |name: &str| names.iter().find(|(of, _)| of == name).map(|(_, node)| node);
    let size = |name: &str| {
        let kind = Kind::Bytes { least: 0, most: OBJECT_BYTES_MAX };
        let value = find(name).map(|node| read_value(&format!("{path}.{name}"), kind, node)).transpose()?;
        Ok(value.and_then(|value| if let Quantity::Whole(bytes) = value { Some(bytes) } else { None }))
    };
    let Some(share) = find("share") else {
        return Err(wrong(
            path,
            node,
            "share is missing: the part that has this size, as in share = 0.5".to_owned(),
        ));
    };
    let Quantity::Real(share) =
        read_value(&format!("{path}.share"), Kind::Share { least: 0.0, most: 1.0 }, share)?
    else {
        unreachable!("a share is a real number")
    };
    match (size("size")?, size("from")?, size("to")?) {
        (Some(size), None, None) => Ok(SizeClass { lower_bytes: size, upper_bytes: size, share }),
        (None, Some(from), Some(to)) if from <= to => {
            Ok(SizeClass { lower_bytes: from, upper_bytes: to, share })
        }
        (None, Some(from), Some(to)) => {
            Err(wrong(path, node, format!("from {from} to {to} bytes: the first is the smaller one")))
        }
        _ => Err(wrong(path, node, "give either size, or from and to".to_owned())),
    }
}
