//! This module reads back the versions that were acknowledged.
//!
//! Invariant: the listing of every key is compared in every cycle, and the versions that were touched
//! are read by their ids.

use super::VERSIONS;
use super::error::TortureError;
use super::journal::{Entry, Journal};
use super::report::Totals;
use super::stack::{Kept, Listed, Stack, StackState};
use super::verify::{Scope, answered, list};
use super::writer::versions_path;
use ringbolt_tool_common::content::Dice;
use ringbolt_tool_common::s3::answer::elements;
use ringbolt_tool_common::s3::client::Client;
use std::collections::{BTreeMap, BTreeSet};

/// Reads back the versions of the keys of writer `number`.
///
/// # Errors
/// Returns [`TortureError::Loss`] at the first key with other versions.
pub fn verify_versions(
    client: &mut Client,
    journal: &mut Journal,
    number: usize,
    scope: Scope,
    dice: &mut Dice,
) -> Result<Totals, TortureError> {
    let mut totals = Totals::default();
    let prefix = format!("writer-{number}/");
    let listed = list_versions(client, &prefix)?;
    let keys: BTreeSet<String> = journal.model.stacks.keys().chain(listed.keys()).cloned().collect();
    for key in &keys {
        let state = journal.model.stacks.get(key).cloned().unwrap_or_default();
        let shown = listed.get(key).map(Vec::as_slice).unwrap_or_default();
        totals.versions_listed += shown.len() as u64;
        let possible = state.possible(shown);
        if possible.is_empty() {
            return Err(loss(key, &state, format!("{shown:?}")));
        }
        let others = if let Scope::Touched { others } = scope { others } else { keys.len() };
        if state.doubt.is_none() && !state.touched && dice.below(keys.len()) >= others {
            continue;
        }
        let mut found = Err(String::new());
        for stack in &possible {
            found = read_stack(client, key, stack).map(|()| stack);
            if found.is_ok() {
                break;
            }
        }
        let stack = found.map_err(|found| loss(key, &state, found))?;
        totals.versions_read_back += stack.len() as u64;
        if state.doubt.is_some() {
            let happened = *stack != state.certain;
            totals.in_doubt_happened += u64::from(happened);
            totals.in_doubt_not += u64::from(!happened);
            journal.append(Entry::FoundStack { key: key.clone(), stack: stack.clone() })?;
        }
    }
    verify_newest(client, journal, &prefix)?;
    Ok(totals)
}

fn loss(key: &str, state: &StackState, found: String) -> TortureError {
    let doubt = state.doubt.as_ref().map_or(String::new(), |change| format!(", perhaps after {change:?}"));
    TortureError::Loss {
        key: key.to_owned(),
        expected: format!("the versions {:?}{doubt}", state.certain),
        found,
    }
}

/// Reads each version of a key by its id, and its newest one without. Returns what is wrong.
fn read_stack(client: &mut Client, key: &str, stack: &Stack) -> Result<(), String> {
    let path = versions_path(key);
    let by_id = stack.iter().map(|kept| (format!("{path}?versionId={}", kept.id), Some(kept), 405));
    let newest = std::iter::once((path.clone(), stack.first(), 404));
    for (path, kept, without) in by_id.chain(newest) {
        let answer = client.ask("GET", &path).map_err(|error| format!("{path}: no whole answer: {error}"))?;
        let wanted = kept.and_then(|kept: &Kept| kept.version);
        let difference = match wanted {
            Some(version) if answer.status == 200 => version.difference(&answer.body),
            None if answer.status == without => None,
            _ => Some(format!("status {}: {}", answer.status, answer.text())),
        };
        if let Some(difference) = difference {
            return Err(format!("{path}, which should be {wanted:?}: {difference}"));
        }
    }
    Ok(())
}

/// Compares the listing of objects with the keys whose newest version is one.
fn verify_newest(client: &mut Client, journal: &Journal, prefix: &str) -> Result<(), TortureError> {
    let newest = |(key, state): (&String, &StackState)| {
        let version = state.certain.first().and_then(|kept| kept.version)?;
        Some((key.clone(), version.size_bytes))
    };
    let expected: Vec<_> = journal.model.stacks.iter().filter_map(newest).collect();
    let found = list(client, VERSIONS, prefix)?;
    if expected == found {
        return Ok(());
    }
    let differs = expected.iter().find(|wanted| !found.contains(wanted));
    let differs = differs.or_else(|| found.iter().find(|listed| !expected.contains(listed)));
    let (key, size) = differs.cloned().unwrap_or_default();
    Err(TortureError::Loss {
        key: key.clone(),
        expected: format!("in the listing, or not: {key} with {size} bytes"),
        found: format!("{:?}", found.iter().find(|(listed, _)| *listed == key)),
    })
}

/// Lists the versions under `prefix` by key.
fn list_versions(client: &mut Client, prefix: &str) -> Result<BTreeMap<String, Vec<Listed>>, TortureError> {
    let mut all: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    let mut from = String::new();
    let encoded = |text: &str| text.replace('/', "%2F");
    loop {
        let path = format!("/{VERSIONS}?versions&max-keys=1000&prefix={}{from}", encoded(prefix));
        let answer = answered("LIST", VERSIONS, client.ask("GET", &path))?;
        let text = answer.text();
        if !answer.is_success() {
            let operation = format!("LIST of the versions of {VERSIONS}");
            return Err(TortureError::Answer { operation, status: answer.status, body: text });
        }
        for (key, listed) in page_of(&text) {
            all.entry(key).or_default().push(listed);
        }
        let next = |name| elements(&text, name).next().map(encoded);
        let Some(key) = next("NextKeyMarker") else { return Ok(all) };
        let id = next("NextVersionIdMarker").map_or(String::new(), |id| format!("&version-id-marker={id}"));
        from = format!("&key-marker={key}{id}");
    }
}

/// Returns the versions and delete markers of a page, in its order.
fn page_of(page: &str) -> Vec<(String, Listed)> {
    let mut found = Vec::new();
    for name in ["Version", "DeleteMarker"] {
        let open = format!("<{name}>");
        let places = page.match_indices(&open).map(|(at, _)| at);
        found.extend(places.zip(elements(page, name)));
    }
    found.sort_unstable();
    let version = |(_, inner)| {
        let one = |name| elements(inner, name).next().unwrap_or_default().to_owned();
        let size_bytes = elements(inner, "Size").next().map(|size| size.parse().unwrap_or(usize::MAX));
        (one("Key"), Listed { id: one("VersionId"), size_bytes })
    };
    found.into_iter().map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_markers_come_in_the_order_of_the_page() {
        let version = |id, size| {
            format!(
                "<Version><ETag>e</ETag><Key>k</Key><Size>{size}</Size><VersionId>{id}</VersionId></Version>"
            )
        };
        let marker = "<DeleteMarker><Key>k</Key><VersionId>m</VersionId></DeleteMarker>";
        let page = format!("<IsTruncated>false</IsTruncated>{}{marker}{}", version("a", 1), version("b", 2));
        let found: Vec<_> = page_of(&page).into_iter().map(|(_, one)| (one.id, one.size_bytes)).collect();
        let id = |id: &str, size| (id.to_owned(), size);
        assert_eq!(found, [id("a", Some(1)), id("m", None), id("b", Some(2))]);
    }
}
