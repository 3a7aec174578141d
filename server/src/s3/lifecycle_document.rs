//! The document of a bucket's lifecycle: read, judged, and written again as it was understood.
//!
//! Invariants:
//! - A document is taken whole or refused: a rule that says what can not be, or what this server does
//!   not do, is never left out in silence.
//! - What is written again says the same, in the same form, and every rule has an id.

use super::error::{invalid_argument, invalid_request};
use super::given::StorageClasses;
use super::tagging::{OBJECT_TAGS_MAX, check_tags, read_tag};
use super::xml_reader::{XmlReader, malformed, set, unknown};
use crate::host::url_encode;
use crate::xml::XmlWriter;
use ringbolt_engine::lifecycle::{
    Expiration, Filter, LifecycleRules, NoncurrentExpiration, NoncurrentTransition, Rule, Transition, When,
};
use ringbolt_engine::types::StorageClass;
use ringbolt_engine::types::rules::DAY_MS;
use s3s::{S3Result, s3_error};
use std::collections::HashSet;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

/// The most elements of a document: 1000 rules with a dozen each.
pub const ELEMENTS_MAX: usize = 16 << 10;
/// The most rules of a bucket, as S3 limits them.
const RULES_MAX: usize = 1000;
const ID_CHARS_MAX: usize = 255;
const PREFIX_BYTES_MAX: usize = 1024;
/// The most newer versions that a rule may keep.
const NEWER_MAX: u32 = 100;

/// How a rule says of which objects it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The rule itself has a prefix, as in the first version of the document.
    Outside,
    /// It has a filter whose conditions are its own, if it has any.
    Filter,
    /// It has a filter with And, and the conditions in that.
    And,
}

/// A rule, and in which form it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReadRule {
    rule: Rule,
    shape: Shape,
    /// The filter has a prefix, which may be empty.
    has_prefix: bool,
}

/// The document of a PutBucketLifecycleConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleDocument {
    rules: Vec<ReadRule>,
}

/// Returns the id of a rule as a header shows it.
pub fn shown_id(id: &str) -> String {
    url_encode(id.as_bytes())
}

/// Reads the rules of a document. Fails if it is malformed, or says what can not be.
pub fn lifecycle_rules(document: &[u8]) -> S3Result<LifecycleRules> {
    Ok(LifecycleDocument::read(XmlReader::new(document, ELEMENTS_MAX)?)?.rules())
}

impl LifecycleDocument {
    /// Reads the document. Fails if it is malformed, or says what can not be.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("LifecycleConfiguration")?;
        let (mut rules, mut ids) = (Vec::new(), HashSet::new());
        while let Some(name) = reader.child()? {
            if name != "Rule" {
                return Err(unknown(&name));
            }
            if rules.len() == RULES_MAX {
                return Err(invalid_request(format!("A lifecycle has {RULES_MAX} rules at most")));
            }
            let read = read_rule(&mut reader, rules.len())?;
            if !ids.insert(read.rule.id.clone()) {
                return Err(invalid_argument("Rule ID must be unique. Found same ID for more than one rule"));
            }
            rules.push(read);
        }
        reader.end()?;
        if rules.is_empty() {
            return Err(malformed("there is no Rule"));
        }
        Ok(Self { rules })
    }

    /// Returns the rules that the engine keeps to.
    pub fn rules(&self) -> LifecycleRules {
        LifecycleRules { rules: self.rules.iter().map(|read| read.rule.clone()).collect() }
    }

    /// Fails if a rule gives objects a class that this server does not take.
    pub fn check_classes(&self, classes: StorageClasses) -> S3Result<()> {
        for read in &self.rules {
            let moves = read.rule.transitions.iter().map(|transition| transition.class);
            for class in moves.chain(read.rule.noncurrent_transitions.iter().map(|one| one.class)) {
                classes.class_of(class.name())?;
            }
        }
        Ok(())
    }

    /// Writes the rules as the content of the document.
    pub fn show(&self) -> String {
        XmlWriter::fragment(|fragment| self.rules.iter().for_each(|read| read.show(fragment)))
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> S3Result<T> {
    text.trim().parse().map_err(|_| malformed(format_args!("{name} is no number")))
}

/// Parses days of which there must be at least `least`.
fn days(text: &str, name: &str, least: u32) -> S3Result<u32> {
    let days: i64 = number(text, name)?;
    u32::try_from(days).ok().filter(|days| *days >= least && *days <= i32::MAX as u32).ok_or_else(|| {
        invalid_argument(format!("'{name}' for a lifecycle action must be an integer of at least {least}"))
    })
}

/// Parses a day of the calendar, as Unix milliseconds.
fn date(text: &str) -> S3Result<u64> {
    let text = text.trim();
    let parsed = OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok();
    let parsed = parsed.or_else(|| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).ok());
    let time = parsed.ok_or_else(|| malformed("a Date is no time of ISO 8601"))?;
    let unix_ms = u64::try_from(time.unix_timestamp_nanos() / 1_000_000);
    let unix_ms = unix_ms.map_err(|_| invalid_argument("'Date' must not be before 1970"))?;
    if unix_ms % DAY_MS != 0 {
        return Err(invalid_argument("'Date' must be at midnight GMT"));
    }
    Ok(unix_ms)
}

fn read_rule(reader: &mut XmlReader<'_>, at: usize) -> S3Result<ReadRule> {
    let (mut id, mut status, mut prefix, mut filter) = (None, None, None, None);
    let (mut expiration, mut noncurrent, mut abort) = (None, None, None);
    let mut rule = Rule::default();
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "ID" => set(&mut id, &name, reader.text()?)?,
            "Status" => {
                let enabled = match reader.text()?.trim() {
                    "Enabled" => true,
                    "Disabled" => false,
                    _ => return Err(malformed("Status is neither Enabled nor Disabled")),
                };
                set(&mut status, &name, enabled)?;
            }
            "Prefix" => set(&mut prefix, &name, reader.text()?)?,
            "Filter" => set(&mut filter, &name, read_filter(reader)?)?,
            "Expiration" => set(&mut expiration, &name, read_expiration(reader)?)?,
            "NoncurrentVersionExpiration" => set(&mut noncurrent, &name, read_noncurrent(reader)?)?,
            "AbortIncompleteMultipartUpload" => set(&mut abort, &name, read_abort(reader)?)?,
            "Transition" => rule.transitions.push(read_transition(reader)?),
            "NoncurrentVersionTransition" => {
                rule.noncurrent_transitions.push(read_noncurrent_transition(reader)?);
            }
            _ => return Err(unknown(&name)),
        }
    }
    let (shape, has_prefix) = match (prefix, filter) {
        (Some(prefix), None) => {
            rule.filter.prefix = prefix;
            (Shape::Outside, true)
        }
        (None, Some((filter, shape, has_prefix))) => {
            rule.filter = filter;
            (shape, has_prefix)
        }
        (Some(_), Some(_)) => return Err(malformed("a Rule has a Filter or a Prefix, not both")),
        (None, None) => return Err(malformed("a Rule has no Filter")),
    };
    rule.id = match id.filter(|id| !id.is_empty()) {
        Some(id) if id.chars().count() > ID_CHARS_MAX => {
            return Err(invalid_argument(format!(
                "ID length should not exceed allowed limit of {ID_CHARS_MAX}"
            )));
        }
        Some(id) => id,
        None => new_id(at),
    };
    rule.enabled = status.ok_or_else(|| malformed("a Rule has no Status"))?;
    rule.expiration = expiration.flatten();
    rule.noncurrent_expiration = noncurrent;
    rule.abort_uploads_days = abort;
    check_rule(&rule, expiration.is_some())?;
    Ok(ReadRule { rule, shape, has_prefix })
}

/// Makes the id of a rule that brings none.
fn new_id(at: usize) -> String {
    let random = getrandom::u64().unwrap_or_default();
    format!("rule-{at}-{random:016x}")
}

/// Checks what the parts of a rule mean together.
fn check_rule(rule: &Rule, has_expiration: bool) -> S3Result<()> {
    if rule.filter.prefix.len() > PREFIX_BYTES_MAX {
        return Err(invalid_argument(format!("A prefix has {PREFIX_BYTES_MAX} bytes at most")));
    }
    let moves = !rule.transitions.is_empty() || !rule.noncurrent_transitions.is_empty();
    let ends = has_expiration || rule.noncurrent_expiration.is_some() || rule.abort_uploads_days.is_some();
    if !moves && !ends {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    if rule.filter.is_of_objects() {
        if rule.abort_uploads_days.is_some() {
            return Err(invalid_request(
                "AbortIncompleteMultipartUpload cannot be specified with tags or sizes: uploads have neither",
            ));
        }
        if rule.expiration == Some(Expiration::ExpiredDeleteMarker) {
            return Err(invalid_request(
                "ExpiredObjectDeleteMarker cannot be specified with tags or sizes: delete markers have neither",
            ));
        }
    }
    for transition in &rule.transitions {
        let too_late = match (transition.when, rule.expiration) {
            (When::Days(moved), Some(Expiration::Days(ended))) => ended <= moved,
            (When::Date(moved), Some(Expiration::Date(ended))) => ended <= moved,
            _ => false,
        };
        if too_late {
            return Err(invalid_argument(
                "The Expiration action must be later than the Transition action of the same rule",
            ));
        }
    }
    for transition in &rule.noncurrent_transitions {
        if rule.noncurrent_expiration.is_some_and(|ends| ends.days <= transition.days) {
            return Err(invalid_argument(
                "'NoncurrentDays' of the NoncurrentVersionExpiration action must be greater than those of the \
                 NoncurrentVersionTransition action",
            ));
        }
    }
    Ok(())
}

/// Reads a filter. Returns how it was written, and whether it has a prefix.
fn read_filter(reader: &mut XmlReader<'_>) -> S3Result<(Filter, Shape, bool)> {
    let (mut filter, mut shape, mut has_prefix, mut conditions) =
        (Filter::default(), Shape::Filter, false, 0);
    while let Some(name) = reader.child()? {
        conditions += 1;
        if name == "And" {
            shape = Shape::And;
            while let Some(name) = reader.child()? {
                read_condition(reader, &name, (&mut filter, &mut has_prefix))?;
            }
        } else {
            read_condition(reader, &name, (&mut filter, &mut has_prefix))?;
        }
    }
    // Several conditions without And can mean only one thing, so they are taken.
    if conditions > 1 && shape == Shape::And {
        return Err(malformed("a Filter has conditions of its own, or And"));
    }
    if let (Some(larger), Some(smaller)) = (filter.larger_than, filter.smaller_than)
        && larger.saturating_add(1) >= smaller
    {
        return Err(invalid_request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'",
        ));
    }
    // An object has no more.
    check_tags(&filter.tags, OBJECT_TAGS_MAX)?;
    let mut keys = HashSet::new();
    if !filter.tags.iter().all(|(key, _)| keys.insert(key)) {
        return Err(invalid_request("Duplicate Tag Keys are not allowed."));
    }
    Ok((filter, shape, has_prefix))
}

fn read_condition(
    reader: &mut XmlReader<'_>,
    name: &str,
    (filter, has_prefix): (&mut Filter, &mut bool),
) -> S3Result<()> {
    match name {
        "Prefix" if !*has_prefix => {
            filter.prefix = reader.text()?;
            *has_prefix = true;
            Ok(())
        }
        "Tag" => {
            filter.tags.push(read_tag(reader)?);
            Ok(())
        }
        "ObjectSizeGreaterThan" => set(&mut filter.larger_than, name, number(&reader.text()?, name)?),
        "ObjectSizeLessThan" => set(&mut filter.smaller_than, name, number(&reader.text()?, name)?),
        "Prefix" => Err(malformed("\"Prefix\" stands more than once")),
        _ => Err(unknown(name)),
    }
}

/// Reads when objects expire. An ExpiredObjectDeleteMarker that is false says nothing.
fn read_expiration(reader: &mut XmlReader<'_>) -> S3Result<Option<Expiration>> {
    let (mut expiration, mut parts) = (None, 0);
    while let Some(name) = reader.child()? {
        parts += 1;
        let text = reader.text()?;
        expiration = match name.as_str() {
            "Days" => Some(Expiration::Days(days(&text, "Days", 1)?)),
            "Date" => Some(Expiration::Date(date(&text)?)),
            "ExpiredObjectDeleteMarker" => match text.trim() {
                "true" => Some(Expiration::ExpiredDeleteMarker),
                "false" => None,
                _ => return Err(malformed("ExpiredObjectDeleteMarker is neither true nor false")),
            },
            _ => return Err(unknown(&name)),
        };
    }
    match parts {
        1 => Ok(expiration),
        _ => {
            Err(malformed("an Expiration has Days, a Date or an ExpiredObjectDeleteMarker, and one of them"))
        }
    }
}

/// Parses how many newer versions a rule keeps.
fn newer(text: &str) -> S3Result<u32> {
    let number: i64 = number(text, "NewerNoncurrentVersions")?;
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=NEWER_MAX).contains(number))
        .ok_or_else(|| invalid_argument(format!("'NewerNoncurrentVersions' must be from 1 to {NEWER_MAX}")))
}

fn read_noncurrent(reader: &mut XmlReader<'_>) -> S3Result<NoncurrentExpiration> {
    let (mut after, mut newer_kept) = (None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "NoncurrentDays" => set(&mut after, &name, days(&text, "NoncurrentDays", 1)?)?,
            "NewerNoncurrentVersions" => set(&mut newer_kept, &name, newer(&text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    let days = after.ok_or_else(|| malformed("a NoncurrentVersionExpiration has no NoncurrentDays"))?;
    Ok(NoncurrentExpiration { days, newer_kept })
}

fn read_abort(reader: &mut XmlReader<'_>) -> S3Result<u32> {
    let mut after = None;
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "DaysAfterInitiation" => {
                set(&mut after, &name, days(&reader.text()?, "DaysAfterInitiation", 1)?)?;
            }
            _ => return Err(unknown(&name)),
        }
    }
    after.ok_or_else(|| malformed("an AbortIncompleteMultipartUpload has no DaysAfterInitiation"))
}

/// Returns the class that objects get. Those that are not stored here are refused by name.
fn class_of(text: &str) -> S3Result<StorageClass> {
    let class = StorageClass::from_name(text.trim()).filter(|class| *class != StorageClass::Standard);
    class.ok_or_else(|| {
        let names: Vec<&str> = StorageClass::ALL.iter().skip(1).map(|class| class.name()).collect();
        s3_error!(
            InvalidStorageClass,
            "Objects can be moved to the storage classes {}, and to no others",
            names.join(", ")
        )
    })
}

fn read_transition(reader: &mut XmlReader<'_>) -> S3Result<Transition> {
    let (mut when, mut class) = (None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "Days" => set(&mut when, "Days or Date", When::Days(days(&text, "Days", 0)?))?,
            "Date" => set(&mut when, "Days or Date", When::Date(date(&text)?))?,
            "StorageClass" => set(&mut class, &name, class_of(&text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    match (when, class) {
        (Some(when), Some(class)) => Ok(Transition { when, class }),
        _ => Err(malformed("a Transition has no StorageClass, or neither Days nor Date")),
    }
}

fn read_noncurrent_transition(reader: &mut XmlReader<'_>) -> S3Result<NoncurrentTransition> {
    let (mut after, mut newer_kept, mut class) = (None, None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "NoncurrentDays" => set(&mut after, &name, days(&text, "NoncurrentDays", 0)?)?,
            "NewerNoncurrentVersions" => set(&mut newer_kept, &name, newer(&text)?)?,
            "StorageClass" => set(&mut class, &name, class_of(&text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    match (after, class) {
        (Some(days), Some(class)) => Ok(NoncurrentTransition { days, newer_kept, class }),
        _ => Err(malformed("a NoncurrentVersionTransition has no NoncurrentDays or no StorageClass")),
    }
}

impl ReadRule {
    fn show(&self, fragment: &mut XmlWriter) {
        let Self { rule, shape, .. } = self;
        fragment.element("Rule", |shown| {
            shown.text("ID", &rule.id);
            match shape {
                Shape::Outside => shown.text("Prefix", &rule.filter.prefix),
                Shape::Filter => shown.element("Filter", |filter| self.show_conditions(filter)),
                Shape::And => shown.element("Filter", |filter| {
                    filter.element("And", |and| self.show_conditions(and));
                }),
            }
            shown.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
            for transition in &rule.transitions {
                shown.element("Transition", |one| {
                    match transition.when {
                        When::Days(days) => one.text("Days", days),
                        When::Date(unix_ms) => one.time("Date", unix_ms),
                    }
                    one.text("StorageClass", transition.class.name());
                });
            }
            match rule.expiration {
                None => {}
                Some(Expiration::Days(days)) => shown.element("Expiration", |one| one.text("Days", days)),
                Some(Expiration::Date(unix_ms)) => {
                    shown.element("Expiration", |one| one.time("Date", unix_ms));
                }
                Some(Expiration::ExpiredDeleteMarker) => {
                    shown.element("Expiration", |one| one.text("ExpiredObjectDeleteMarker", true));
                }
            }
            for transition in &rule.noncurrent_transitions {
                shown.element("NoncurrentVersionTransition", |one| {
                    one.text("NoncurrentDays", transition.days);
                    one.optional("NewerNoncurrentVersions", transition.newer_kept);
                    one.text("StorageClass", transition.class.name());
                });
            }
            if let Some(NoncurrentExpiration { days, newer_kept }) = rule.noncurrent_expiration {
                shown.element("NoncurrentVersionExpiration", |one| {
                    one.text("NoncurrentDays", days);
                    one.optional("NewerNoncurrentVersions", newer_kept);
                });
            }
            if let Some(days) = rule.abort_uploads_days {
                shown.element("AbortIncompleteMultipartUpload", |one| one.text("DaysAfterInitiation", days));
            }
        });
    }

    fn show_conditions(&self, filter: &mut XmlWriter) {
        let Filter { prefix, tags, larger_than, smaller_than } = &self.rule.filter;
        filter.optional("Prefix", self.has_prefix.then_some(prefix));
        for (key, value) in tags {
            filter.element("Tag", |tag| {
                tag.text("Key", key);
                tag.text("Value", value);
            });
        }
        filter.optional("ObjectSizeGreaterThan", *larger_than);
        filter.optional("ObjectSizeLessThan", *smaller_than);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rules: &str) -> Result<LifecycleDocument, String> {
        let text = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        let reader =
            XmlReader::new(text.as_bytes(), 10_000).map_err(|error| error.code().as_str().to_owned())?;
        LifecycleDocument::read(reader).map_err(|error| error.code().as_str().to_owned())
    }

    fn rule(inner: &str) -> String {
        format!("<Rule><ID>r</ID><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status>{inner}</Rule>")
    }

    const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";

    #[test]
    fn what_is_understood_is_written_as_it_came() {
        for text in [
            format!("<Rule><ID>r</ID><Prefix>a/</Prefix><Status>Disabled</Status>{DAYS}</Rule>"),
            format!("<Rule><ID>r</ID><Filter></Filter><Status>Enabled</Status>{DAYS}</Rule>"),
            format!("<Rule><ID>r</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>{DAYS}</Rule>"),
            format!(
                "<Rule><ID>r</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status>\
                 {DAYS}</Rule>"
            ),
            rule(DAYS).replace(
                "<Prefix>a</Prefix>",
                "<Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>",
            ),
            "<Rule><ID>&lt;r&gt;</ID><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>\
             l</Key><Value></Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>50\
             </ObjectSizeLessThan></And></Filter><Status>Enabled</Status><Transition><Days>0</Days><StorageClass>\
             STANDARD_IA</StorageClass></Transition><Expiration><Days>9</Days></Expiration>\
             <NoncurrentVersionTransition><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>3\
             </NewerNoncurrentVersions><StorageClass>GLACIER_IR</StorageClass></NoncurrentVersionTransition>\
             <NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays><NewerNoncurrentVersions>1\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>"
                .to_owned(),
            rule("<Expiration><Date>2030-01-02T00:00:00.000Z</Date></Expiration>"),
            rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
            rule(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>",
            ),
        ] {
            let document = read(&text).unwrap_or_else(|code| panic!("{code}: {text}"));
            let written = document.show();
            assert_eq!(written.replace('\n', ""), text.replace('\n', ""), "{text}");
            assert_eq!(read(&written).as_ref(), Ok(&document), "it reads as another");
        }
        let two = format!(
            "<Rule><Prefix/><Status>Enabled</Status>{DAYS}</Rule><Rule><Prefix/><Status>Enabled</Status>{DAYS}</Rule>"
        );
        let ids: HashSet<String> = read(&two).unwrap().rules.into_iter().map(|read| read.rule.id).collect();
        assert_eq!(ids.len(), 2, "a rule without an id gets one");
        let short = read(&rule("<Expiration><Date>2030-01-02</Date></Expiration>")).unwrap();
        assert!(short.show().contains("2030-01-02T00:00:00.000Z"));
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        let noncurrent = |inner: &str| {
            rule(&format!("<NoncurrentVersionExpiration>{inner}</NoncurrentVersionExpiration>"))
        };
        let moved = |class: &str| {
            rule(&format!("<Transition><Days>1</Days><StorageClass>{class}</StorageClass></Transition>"))
        };
        for (text, code) in [
            (String::new(), "MalformedXML"),
            (rule(""), "InvalidRequest"),
            (rule(DAYS).replace("Enabled", "enabled"), "MalformedXML"),
            (rule(DAYS).replace("<Filter><Prefix>a</Prefix></Filter>", ""), "MalformedXML"),
            (rule(&format!("<Prefix>b</Prefix>{DAYS}")), "MalformedXML"),
            (rule(&format!("{DAYS}{DAYS}")), "MalformedXML"),
            (format!("{}{}", rule(DAYS), rule(DAYS)), "InvalidArgument"),
            (rule(DAYS).replace("<ID>r", &format!("<ID>{}", "r".repeat(256))), "InvalidArgument"),
            (rule("<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
            (rule("<Expiration><Days>-1</Days></Expiration>"), "InvalidArgument"),
            (rule("<Expiration><Days>x</Days></Expiration>"), "MalformedXML"),
            (rule("<Expiration/>"), "MalformedXML"),
            (
                rule(
                    "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>\
                     </Expiration>",
                ),
                "MalformedXML",
            ),
            (rule("<Expiration><Date>2030-01-02T00:00:01Z</Date></Expiration>"), "InvalidArgument"),
            (
                rule("<Expiration><Date>20200101</Date></Expiration>").replace("20200101", "soon"),
                "MalformedXML",
            ),
            (noncurrent(""), "MalformedXML"),
            (noncurrent("<NoncurrentDays>0</NoncurrentDays>"), "InvalidArgument"),
            (
                noncurrent(
                    "<NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions>",
                ),
                "InvalidArgument",
            ),
            (moved("GLACIER"), "InvalidStorageClass"),
            (moved("STANDARD"), "InvalidStorageClass"),
            (
                rule(&format!(
                    "<Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition>{DAYS}"
                )),
                "InvalidArgument",
            ),
            (
                rule(
                    "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                     </AbortIncompleteMultipartUpload>",
                )
                .replace("<Prefix>a</Prefix>", "<Tag><Key>k</Key><Value/></Tag>"),
                "InvalidRequest",
            ),
            (
                rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")
                    .replace("<Prefix>a</Prefix>", "<ObjectSizeLessThan>9</ObjectSizeLessThan>"),
                "InvalidRequest",
            ),
            (
                rule(DAYS).replace("<Prefix>a</Prefix>", "<Prefix>a</Prefix><And><Prefix>b</Prefix></And>"),
                "MalformedXML",
            ),
            (rule("<Other/>"), "MalformedXML"),
        ] {
            assert_eq!(read(&text).err().as_deref(), Some(code), "{text}");
        }
        let many: String =
            (0..=RULES_MAX).map(|at| rule(DAYS).replace("<ID>r", &format!("<ID>{at}"))).collect();
        let text = format!("<LifecycleConfiguration>{many}</LifecycleConfiguration>");
        let reader = XmlReader::new(text.as_bytes(), 100_000).unwrap();
        assert_eq!(
            LifecycleDocument::read(reader).err().map(|error| error.code().as_str().to_owned()).as_deref(),
            Some("InvalidRequest")
        );
    }
}
