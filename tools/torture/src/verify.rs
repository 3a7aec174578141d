//! This module reads back what was acknowledged.
//!
//! Invariant: what is found settles a change in doubt, and what was found once must stay.

use super::BUCKET;
use super::error::TortureError;
use super::journal::{Entry, Journal, KeyState, Version};
use super::report::Totals;
use super::writer::path_of;
use ringbolt_tool_common::content::Dice;
use ringbolt_tool_common::s3::answer::{Answer, elements};
use ringbolt_tool_common::s3::client::Client;
use std::collections::BTreeMap;
use std::io;

/// Says which keys are read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Reads those changed since they were last read, and this many of the others.
    Touched {
        others: usize,
    },
    All,
}

/// Reads back the keys of one writer, and the parts of its upload.
///
/// # Errors
/// Returns [`TortureError::Loss`] at the first key with another content.
pub fn verify(
    client: &mut Client,
    journal: &mut Journal,
    scope: Scope,
    dice: &mut Dice,
) -> Result<Totals, TortureError> {
    let mut totals = Totals::default();
    for (key, state) in chosen(&journal.model.keys, scope, dice) {
        let found = read(client, &key, &state)?;
        totals.read_back += 1;
        totals.read_back_bytes += found.map_or(0, |version| version.size_bytes as u64);
        if let Some(doubted) = state.doubt {
            let happened = found == doubted;
            totals.in_doubt_happened += u64::from(happened);
            totals.in_doubt_not += u64::from(!happened);
            journal.append(Entry::Found { key, version: found })?;
        }
    }
    totals.parts_found = verify_parts(client, journal)?;
    journal.append(Entry::Checked)?;
    Ok(totals)
}

fn chosen(keys: &BTreeMap<String, KeyState>, scope: Scope, dice: &mut Dice) -> Vec<(String, KeyState)> {
    let mut chosen: BTreeMap<&String, &KeyState> =
        keys.iter().filter(|(_, state)| state.touched || scope == Scope::All).collect();
    if let Scope::Touched { others } = scope
        && !keys.is_empty()
    {
        chosen.extend((0..others).filter_map(|_| keys.iter().nth(dice.below(keys.len()))));
    }
    chosen.into_iter().map(|(key, state)| (key.clone(), state.clone())).collect()
}

/// Returns the content of the key, which must be one of those it may have.
fn read(client: &mut Client, key: &str, state: &KeyState) -> Result<Option<Version>, TortureError> {
    let allowed = std::iter::once(state.certain).chain(state.doubt);
    let loss = |found: String| {
        let allowed: Vec<String> = allowed.clone().map(describe).collect();
        TortureError::Loss { key: key.to_owned(), expected: allowed.join(", or "), found }
    };
    // A response ends early when the server cannot verify the rest.
    let answer =
        client.ask("GET", &path_of(key)).map_err(|error| loss(format!("no whole answer: {error}")))?;
    match answer.status {
        404 if allowed.clone().any(|version| version.is_none()) => Ok(None),
        200 => {
            let versions = || allowed.clone().flatten();
            let found = versions().find(|version| version.difference(&answer.body).is_none());
            let crc32c = crc32c::crc32c(&answer.body);
            let first = || versions().find_map(|version| version.difference(&answer.body));
            let why = || first().unwrap_or_default();
            found.map(Some).ok_or_else(|| {
                loss(format!("{} bytes with crc32c {crc32c:08x}: {}", answer.body.len(), why()))
            })
        }
        status => Err(loss(format!("status {status}: {}", answer.text()))),
    }
}

fn describe(version: Option<Version>) -> String {
    version.map_or("no object".to_owned(), |Version { tag, size_bytes, crc32c }| {
        format!("version {tag:016x} of {size_bytes} bytes with crc32c {crc32c:08x}")
    })
}

/// Checks that every acknowledged part is still there, and returns their number.
fn verify_parts(client: &mut Client, journal: &Journal) -> Result<u64, TortureError> {
    let Some(upload) = journal.model.upload.as_ref().filter(|upload| !upload.ending) else { return Ok(0) };
    let path = format!("{}?uploadId={}", path_of(&upload.key), upload.id);
    let answer = answered("ListParts", &upload.key, client.ask("GET", &path))?;
    let text = answer.text();
    let listed: Vec<&str> = elements(&text, "ETag").map(bare).collect();
    // One more part may exist: the one in doubt.
    let there = listed.len() >= upload.parts.len() && upload.parts.iter().zip(&listed).all(|(a, b)| a == b);
    if answer.is_success() && there {
        return Ok(upload.parts.len() as u64);
    }
    Err(TortureError::Loss {
        key: upload.key.clone(),
        expected: format!("upload {} with the parts {:?}", upload.id, upload.parts),
        found: format!("status {}: {text}", answer.status),
    })
}

/// Removes quotes, escaped or not.
fn bare(etag: &str) -> &str {
    let etag = etag.strip_prefix("&quot;").unwrap_or(etag);
    etag.strip_suffix("&quot;").unwrap_or(etag).trim_matches('"')
}

/// Compares the listing of the bucket with what is certain, and returns the number of listed keys.
///
/// # Errors
/// Returns [`TortureError::Loss`] at the first key where they differ.
pub fn verify_listing(client: &mut Client, journals: &[Journal]) -> Result<u64, TortureError> {
    let certain = journals.iter().flat_map(|journal| &journal.model.keys);
    let expected: BTreeMap<String, usize> = certain
        .filter_map(|(key, state)| state.certain.map(|version| (key.clone(), version.size_bytes)))
        .collect();
    let listed = list(client, BUCKET, "")?;
    let named = |entry: Option<(&String, &usize)>| {
        entry.map_or("nothing more".to_owned(), |(key, size)| format!("{key} with {size} bytes"))
    };
    let (mut wanted, mut found) = (expected.iter(), listed.iter());
    loop {
        match (wanted.next(), found.next().map(|(key, size)| (key, size))) {
            (None, None) => return Ok(listed.len() as u64),
            (want, have) if want == have => {}
            (want, have) => {
                let key = want.or(have).map_or(String::new(), |(key, _)| key.clone());
                let (expected, found) = (format!("listed: {}", named(want)), named(have));
                return Err(TortureError::Loss { key, expected, found });
            }
        }
    }
}

/// Lists the keys under `prefix` with their sizes, in the order of the responses.
pub fn list(client: &mut Client, bucket: &str, prefix: &str) -> Result<Vec<(String, usize)>, TortureError> {
    let mut all = Vec::new();
    let mut from = String::new();
    loop {
        let prefix = prefix.replace('/', "%2F");
        let path = format!("/{bucket}?list-type=2&max-keys=1000&prefix={prefix}{from}");
        let answer = answered("LIST", bucket, client.ask("GET", &path))?;
        let text = answer.text();
        if !answer.is_success() {
            let operation = format!("LIST of {bucket}");
            return Err(TortureError::Answer { operation, status: answer.status, body: text });
        }
        for entry in elements(&text, "Contents") {
            let key = elements(entry, "Key").next().unwrap_or_default().to_owned();
            let size = elements(entry, "Size").next().and_then(|size| size.parse().ok());
            all.push((key, size.unwrap_or(usize::MAX)));
        }
        match all.last() {
            Some((last, _)) if elements(&text, "IsTruncated").next() == Some("true") => {
                from = format!("&start-after={}", last.replace('/', "%2F"));
            }
            _ => return Ok(all),
        }
    }
}

pub fn answered(what: &str, key: &str, answer: io::Result<Answer>) -> Result<Answer, TortureError> {
    answer.map_err(|error| TortureError::NoAnswer { operation: format!("{what} {key}"), error })
}
