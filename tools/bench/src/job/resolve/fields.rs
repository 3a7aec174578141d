//! This module reads the entries of one job by key.
//!
//! Invariant: an error names the key as the table does, and the place of the entry in question.

use crate::job::error::{JobError, Place};
use crate::job::keys::{self, Found, Kind};
use crate::job::parser::{Entry, Section, Surroundings};
use crate::job::units::{MICROSECOND, MILLISECOND, SECOND, Units};
use std::cell::RefCell;
use std::ops::RangeInclusive;

/// Holds the entries of one job. A value that is not valid is recorded and treated as absent, so
/// that all errors of a job are found.
pub struct Fields<'a> {
    section: &'a Section,
    /// Holds the inherited entries first.
    entries: Vec<&'a Entry>,
    pub units: Units,
    refused: RefCell<Vec<JobError>>,
    /// Lists the keys whose values are not valid; checks that depend on them are skipped.
    wrong: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// Creates the fields of a job from its entries. A later entry overrides an earlier one.
    pub fn new(section: &'a Section, entries: Vec<&'a Entry>, around: &Surroundings<'_>) -> Self {
        let units = Units { kb_base: 1024, machine: around.machine };
        let (refused, wrong) = (RefCell::default(), RefCell::default());
        let mut fields = Self { section, entries, units, refused, wrong };
        let kb_base = fields.special("kb_base", |text| match text {
            "1024" => Ok(1024),
            "1000" => Ok(1000),
            _ => Err("write 1024 or 1000".to_owned()),
        });
        fields.units.kb_base = kb_base.unwrap_or(1024);
        for entry in &fields.entries {
            if let Kind::Inert(values) | Kind::Tuning(values) = entry.key.kind {
                let given = entry.value.as_deref().unwrap_or("1");
                if !values.is_empty() && !values.contains(&given) {
                    fields.note(entry, &format!("fio has it, not built here: {}", entry.key.summary));
                }
            }
        }
        fields
    }

    /// Returns all errors.
    pub fn into_refused(self) -> Vec<JobError> {
        self.refused.into_inner()
    }

    /// Iterates over all entries, with the inherited ones first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().copied()
    }

    /// Returns the entry that takes effect for a key.
    pub fn find(&self, key: &str) -> Option<&'a Entry> {
        assert!(
            matches!(keys::find(key), Found::Built(found) if found.name == key),
            "{key} is not in the table"
        );
        self.entries.iter().rev().find(|entry| entry.key.name == key).copied()
    }

    /// Returns whether the key is given.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Returns whether `key` is given after `than`, for two keys that exclude each other.
    pub fn is_later(&self, key: &str, than: &str) -> bool {
        let at = |name: &str| self.entries.iter().rposition(|entry| entry.key.name == name);
        at(key) > at(than)
    }

    pub fn name(&self) -> &str {
        self.text("name").unwrap_or(&self.section.name)
    }

    /// Returns the value of a key as text, if it has one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.find(key).and_then(|entry| entry.value.as_deref())
    }

    /// Returns a text, or the job's name when the key is given without a value.
    pub fn text_or_name(&self, key: &str) -> Option<String> {
        let entry = self.find(key)?;
        Some(entry.value.as_deref().filter(|text| !text.is_empty()).unwrap_or(self.name()).to_owned())
    }

    /// Returns whether a flag is set; it is not by default.
    pub fn flag(&self, key: &str) -> bool {
        self.bool(key).unwrap_or(false)
    }

    /// Returns a value of 0 or 1, if the key is given.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.entry(key, |entry| match entry.value.as_deref() {
            None | Some("1" | "") => Ok(true),
            Some("0") => Ok(false),
            Some(_) => Err("write 0 or 1".to_owned()),
        })
    }

    /// Returns a number in `range`, if the key is given.
    pub fn number(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.special(key, |text| within(self.units.number(text)?, &range))
    }

    /// Returns a number as [`Self::number`] does, in 32 bits.
    pub fn small(&self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.number(key, u64::from(*range.start())..=u64::from(*range.end()));
        number.map(|number| u32::try_from(number).expect("the range ends below"))
    }

    /// Returns a size in bytes, if the key is given.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.special(key, |text| self.units.size(text))
    }

    /// Returns a time in nanoseconds; the table says the unit of a number without one.
    pub fn time(&self, key: &str) -> Option<u64> {
        self.entry(key, |entry| {
            let bare_ns = match entry.key.kind {
                Kind::Seconds => SECOND,
                Kind::Milliseconds => MILLISECOND,
                _ => MICROSECOND,
            };
            self.units.time(value(entry), bare_ns)
        })
    }

    /// Returns a value with a grammar of its own.
    pub fn special<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.entry(key, |entry| parse(value(entry)))
    }

    /// Returns whether the value of a key is not valid.
    pub fn is_wrong(&self, key: &str) -> bool {
        self.wrong.borrow().contains(&key)
    }

    /// Refuses the job as a whole, at the place of the last of `keys` that is given. If the value
    /// of one of them was already refused, this error may only be a consequence of it and is not
    /// reported.
    pub fn refuse(&self, keys: &[&str], reason: impl Into<String>) {
        if keys.iter().any(|key| self.is_wrong(key)) {
            return;
        }
        let place = keys.iter().filter_map(|key| self.find(key)).next_back();
        self.refused.borrow_mut().push(JobError::Impossible {
            place: place.map_or_else(|| self.section.place.clone(), |entry| entry.place.clone()),
            job: self.name().to_owned(),
            reason: reason.into(),
        });
    }

    fn entry<T>(&self, key: &str, parse: impl FnOnce(&Entry) -> Result<T, String>) -> Option<T> {
        let entry = self.find(key)?;
        parse(entry).map_err(|reason| self.note(entry, &reason)).ok()
    }

    fn note(&self, entry: &Entry, reason: &str) {
        self.wrong.borrow_mut().push(entry.key.name);
        self.refused.borrow_mut().push(wrong(entry, reason));
    }
}

fn value(entry: &Entry) -> &str {
    entry.value.as_deref().unwrap_or_default()
}

fn within(number: u64, range: &RangeInclusive<u64>) -> Result<u64, String> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(match *range.end() {
        u64::MAX => format!("has to be at least {}", range.start()),
        end => format!("has to be from {} to {end}", range.start()),
    })
}

fn wrong(entry: &Entry, reason: &str) -> JobError {
    let place: Place = entry.place.clone();
    let shown = if entry.key.secret { super::MASK } else { value(entry) };
    JobError::Value {
        place,
        key: entry.key.name.to_owned(),
        value: shown.to_owned(),
        reason: reason.to_owned(),
    }
}
