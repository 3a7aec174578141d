//! The lifecycle rules of a bucket, as a value of its configuration.
//!
//! ```text
//! version, u8 = 1 | number of rules | rule ... | document, to the end
//! rule:  enabled, u8 | id | prefix | number of tags, key and value of each
//!        | larger than? | smaller than? | expiration | noncurrent expiration? | abort uploads?
//!        | number of transitions, class and moment of each
//!        | number of noncurrent transitions, class, days and kept? of each
//! text:  length | UTF-8                   x?: u8, 0 or 1, then x if it is 1
//! expiration: u8 | nothing (0), days (1), date (2), nothing (3, an expired delete marker)
//! moment: u8 | days (1), date (2)         noncurrent expiration: days | kept?
//! ```
//!
//! Invariants:
//! - The document is the caller's, who shows it. The engine reads no meaning into it.
//! - All numbers without another form are varints. A class is its number in
//!   [`StorageClass::ALL`].
//! - The checksum of the record covers the value. One that this program does not understand is no
//!   rules at all, so that nothing is removed by mistake.

use super::parts::{Reader, put_varint};
use crate::lifecycle::{
    Expiration, Filter, LifecycleRules, NoncurrentExpiration, NoncurrentTransition, Rule, Transition, When,
};
use crate::types::StorageClass;

const VERSION: u8 = 1;
const DAYS: u8 = 1;
const DATE: u8 = 2;
const MARKER: u8 = 3;

impl LifecycleRules {
    /// Returns the value of the bucket's configuration, with the document that says the same to the
    /// caller.
    pub fn encode(&self, document: &[u8]) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(&mut out, self.rules.len() as u64);
        self.rules.iter().for_each(|rule| put_rule(&mut out, rule));
        out.extend_from_slice(document);
        out
    }

    /// Reads a value of the bucket's configuration. Returns `None` for one that is not understood.
    pub fn decode(value: &[u8]) -> Option<Self> {
        Self::read(value).map(|(rules, _)| rules)
    }

    /// Returns the document in a value of the bucket's configuration. Returns `None` for a value that
    /// is not understood.
    pub fn document(value: &[u8]) -> Option<&[u8]> {
        Self::read(value).map(|(_, document)| document)
    }

    fn read(value: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(value);
        let [VERSION] = reader.array()? else { return None };
        let rules = many(&mut reader, read_rule)?;
        Some((Self { rules }, reader.rest()))
    }
}

fn put_rule(out: &mut Vec<u8>, rule: &Rule) {
    let Filter { prefix, tags, larger_than, smaller_than } = &rule.filter;
    out.push(u8::from(rule.enabled));
    put_text(out, &rule.id);
    put_text(out, prefix);
    put_varint(out, tags.len() as u64);
    for (key, value) in tags {
        put_text(out, key);
        put_text(out, value);
    }
    put_option(out, *larger_than);
    put_option(out, *smaller_than);
    match rule.expiration {
        None => out.push(0),
        Some(Expiration::Days(days)) => put_moment(out, When::Days(days)),
        Some(Expiration::Date(at_ms)) => put_moment(out, When::Date(at_ms)),
        Some(Expiration::ExpiredDeleteMarker) => out.push(MARKER),
    }
    match rule.noncurrent_expiration {
        None => out.push(0),
        Some(NoncurrentExpiration { days, newer_kept }) => {
            put_option(out, Some(u64::from(days)));
            put_option(out, newer_kept.map(u64::from));
        }
    }
    put_option(out, rule.abort_uploads_days.map(u64::from));
    put_varint(out, rule.transitions.len() as u64);
    for Transition { when, class } in &rule.transitions {
        out.push(*class as u8);
        put_moment(out, *when);
    }
    put_varint(out, rule.noncurrent_transitions.len() as u64);
    for NoncurrentTransition { days, newer_kept, class } in &rule.noncurrent_transitions {
        out.push(*class as u8);
        put_varint(out, u64::from(*days));
        put_option(out, newer_kept.map(u64::from));
    }
}

fn read_rule(reader: &mut Reader<'_>) -> Option<Rule> {
    let enabled = read_flag(reader)?;
    let id = read_text(reader)?;
    let filter = Filter {
        prefix: read_text(reader)?,
        tags: many(reader, |reader| Some((read_text(reader)?, read_text(reader)?)))?,
        larger_than: read_option(reader, Reader::varint)?,
        smaller_than: read_option(reader, Reader::varint)?,
    };
    let expiration = match reader.array()? {
        [0] => None,
        [MARKER] => Some(Expiration::ExpiredDeleteMarker),
        [kind] => Some(match read_moment(reader, kind)? {
            When::Days(days) => Expiration::Days(days),
            When::Date(at_ms) => Expiration::Date(at_ms),
        }),
    };
    let noncurrent_expiration = read_option(reader, |reader| {
        let (days, newer_kept) = (reader.number()?, read_option(reader, Reader::number)?);
        Some(NoncurrentExpiration { days, newer_kept })
    })?;
    let abort_uploads_days = read_option(reader, Reader::number)?;
    let transitions = many(reader, |reader| {
        let (class, [kind]) = (read_class(reader)?, reader.array()?);
        Some(Transition { when: read_moment(reader, kind)?, class })
    })?;
    let noncurrent_transitions = many(reader, |reader| {
        let (class, days) = (read_class(reader)?, reader.number()?);
        Some(NoncurrentTransition { days, newer_kept: read_option(reader, Reader::number)?, class })
    })?;
    Some(Rule {
        id,
        enabled,
        filter,
        expiration,
        noncurrent_expiration,
        abort_uploads_days,
        transitions,
        noncurrent_transitions,
    })
}

/// Reads a count, and so many items.
fn many<T>(reader: &mut Reader<'_>, mut read: impl FnMut(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.varint()?;
    // Nothing is allocated for a count that the bytes can not hold: each item takes a byte or ends it.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read(reader)?);
    }
    Some(items)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn read_text(reader: &mut Reader<'_>) -> Option<String> {
    let length = reader.varint()?;
    String::from_utf8(reader.bytes(length)?.to_vec()).ok()
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_varint(out, value);
    }
}

/// Reads a value that may be absent. Returns `None` for damaged bytes.
fn read_option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if read_flag(reader)? { read(reader).map(Some) } else { Some(None) }
}

fn read_flag(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.array()? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

fn put_moment(out: &mut Vec<u8>, when: When) {
    let (kind, number) = match when {
        When::Days(days) => (DAYS, u64::from(days)),
        When::Date(at_ms) => (DATE, at_ms),
    };
    out.push(kind);
    put_varint(out, number);
}

fn read_moment(reader: &mut Reader<'_>, kind: u8) -> Option<When> {
    match kind {
        DAYS => reader.number().map(When::Days),
        DATE => reader.varint().map(When::Date),
        _ => None,
    }
}

fn read_class(reader: &mut Reader<'_>) -> Option<StorageClass> {
    let [number] = reader.array()?;
    StorageClass::ALL.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class() -> impl Strategy<Value = StorageClass> {
        (0..StorageClass::ALL.len()).prop_map(|number| StorageClass::ALL[number])
    }

    fn when() -> impl Strategy<Value = When> {
        prop_oneof![any::<u32>().prop_map(When::Days), any::<u64>().prop_map(When::Date)]
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let option_u64 = proptest::option::of(any::<u64>());
        let kept = proptest::option::of(any::<u32>());
        let tags = proptest::collection::vec((".{0,4}", ".{0,4}"), 0..3);
        let filter = (".{0,8}", tags, option_u64.clone(), option_u64).prop_map(
            |(prefix, tags, larger_than, smaller_than)| Filter { prefix, tags, larger_than, smaller_than },
        );
        let expiration = proptest::option::of(prop_oneof![
            any::<u32>().prop_map(Expiration::Days),
            any::<u64>().prop_map(Expiration::Date),
            Just(Expiration::ExpiredDeleteMarker),
        ]);
        let noncurrent = proptest::option::of((any::<u32>(), kept.clone()))
            .prop_map(|found| found.map(|(days, newer_kept)| NoncurrentExpiration { days, newer_kept }));
        let transitions = proptest::collection::vec(
            (when(), class()).prop_map(|(when, class)| Transition { when, class }),
            0..3,
        );
        let older = (any::<u32>(), kept.clone(), class());
        let older =
            older.prop_map(|(days, newer_kept, class)| NoncurrentTransition { days, newer_kept, class });
        let older = proptest::collection::vec(older, 0..3);
        (".{0,8}", any::<bool>(), filter, expiration, noncurrent, kept, transitions, older).prop_map(
            |(
                id,
                enabled,
                filter,
                expiration,
                noncurrent_expiration,
                abort_uploads_days,
                transitions,
                older,
            )| {
                Rule {
                    id,
                    enabled,
                    filter,
                    expiration,
                    noncurrent_expiration,
                    abort_uploads_days,
                    transitions,
                    noncurrent_transitions: older,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn rules_come_back(rules in proptest::collection::vec(rule(), 0..4)) {
            let rules = LifecycleRules { rules };
            let encoded = rules.encode(b"");
            // Of a value that is cut short nothing is understood.
            for length in 0..encoded.len() {
                prop_assert_eq!(LifecycleRules::decode(&encoded[..length]), None);
            }
            let with_document = rules.encode(b"document");
            prop_assert_eq!(LifecycleRules::document(&with_document), Some(b"document".as_slice()));
            for value in [encoded, with_document] {
                prop_assert_eq!(LifecycleRules::decode(&value), Some(rules.clone()));
            }
        }

        #[test]
        fn garbage_is_refused_or_has_one_form(
            head in prop_oneof![Just(VERSION), any::<u8>()],
            bytes in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..64),
        ) {
            let value = [&[head], bytes.as_slice()].concat();
            if let Some(rules) = LifecycleRules::decode(&value) {
                let document = LifecycleRules::document(&value).unwrap_or_default();
                prop_assert_eq!(rules.encode(document), value);
            }
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let rule = Rule {
            id: "a".to_owned(),
            enabled: true,
            filter: Filter {
                prefix: "p/".to_owned(),
                tags: vec![("k".to_owned(), "v".to_owned())],
                larger_than: Some(300),
                smaller_than: None,
            },
            expiration: Some(Expiration::Days(7)),
            noncurrent_expiration: Some(NoncurrentExpiration { days: 3, newer_kept: Some(2) }),
            abort_uploads_days: Some(1),
            transitions: vec![Transition { when: When::Date(128), class: StorageClass::StandardIa }],
            noncurrent_transitions: vec![NoncurrentTransition {
                days: 9,
                newer_kept: None,
                class: StorageClass::GlacierIr,
            }],
        };
        let bytes = [
            &[1, 1, 1, 1, b'a', 2, b'p', b'/', 1, 1, b'k', 1, b'v', 1, 0xac, 2, 0][..],
            &[1, 7, 1, 3, 1, 2, 1, 1, 1, 2, 2, 0x80, 1, 1, 5, 9, 0],
        ]
        .concat();
        assert_eq!(LifecycleRules { rules: vec![rule] }.encode(b""), bytes);
        assert_eq!(LifecycleRules::decode(&[VERSION + 1, 0]), None, "a later version");
    }
}
