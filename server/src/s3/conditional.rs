//! Conditional requests: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range.
//!
//! Invariants:
//! - Conditions of reads are judged here, on one `ObjectInfo`. Conditions of writes are only
//!   translated here, and judged by the engine, atomically with the write.
//! - Precedence is that of RFC 9110, 13.2.2: an entity tag condition silences the date condition
//!   beside it. A date that does not parse counts as absent (13.1.3).

use ringbolt_engine::types::{EtagMatch, ObjectInfo, WriteCondition};
use s3s::dto::Timestamp;
use std::time::UNIX_EPOCH;

/// The four condition headers of a request, or of its copy source, as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// What the conditions say of an object that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified,
    PreconditionFailed,
}

impl Conditions {
    /// Returns what the conditions of a read say of an object.
    pub fn judge(&self, info: &ObjectInfo) -> Verdict {
        let etag = info.etag.to_string();
        let modified_s = info.modified_ms / 1000;
        if let Some(wanted) = &self.if_match {
            if !matches(&parse_etags(wanted), &etag) {
                return Verdict::PreconditionFailed;
            }
        } else if let Some(limit_s) = self.if_unmodified_since.as_deref().and_then(http_date_s)
            && modified_s > limit_s
        {
            return Verdict::PreconditionFailed;
        }
        if let Some(unwanted) = &self.if_none_match {
            if matches(&parse_etags(unwanted), &etag) {
                return Verdict::NotModified;
            }
        } else if let Some(limit_s) = self.if_modified_since.as_deref().and_then(http_date_s)
            && modified_s <= limit_s
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Returns the conditions that a write obeys.
    pub fn for_write(&self) -> WriteCondition {
        WriteCondition {
            if_match: self.if_match.as_deref().map(parse_etags),
            if_none_match: self.if_none_match.as_deref().map(parse_etags),
            ..WriteCondition::default()
        }
    }
}

/// Returns whether the range of a request counts: whether the validator of its If-Range is that of
/// the object (RFC 9110, 13.1.5). An entity tag must be a strong one, and a date exactly that of
/// the object; nothing else is a validator.
pub fn if_range_holds(validator: &str, info: &ObjectInfo) -> bool {
    let validator = validator.trim();
    if validator.contains('"') {
        return validator == format!("\"{}\"", info.etag);
    }
    match http_date_s(validator) {
        Some(date_s) => date_s == info.modified_ms / 1000,
        // Some clients send an entity tag without quotes, as old listings showed it.
        None => validator == info.etag.to_string(),
    }
}

/// Returns the Unix seconds of an HTTP date in any form of RFC 9110, 5.6.7: IMF-fixdate, the form
/// of RFC 850, or that of asctime. Returns None for anything else.
pub fn http_date_s(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Returns the Unix seconds of a timestamp, or None before 1970.
pub fn timestamp_s(timestamp: &Timestamp) -> Option<u64> {
    let time: time::OffsetDateTime = timestamp.clone().into();
    u64::try_from(time.unix_timestamp()).ok()
}

/// Parses `*` or a list of entity tags. Weak marks and quotes are dropped: S3 clients send both
/// forms.
pub fn parse_etags(header: &str) -> EtagMatch {
    if header.trim() == "*" {
        return EtagMatch::Any;
    }
    EtagMatch::OneOf(header.split(',').map(bare_etag).filter(|etag| !etag.is_empty()).collect())
}

/// Returns an entity tag without its weak mark and quotes.
pub fn bare_etag(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let text = text.strip_prefix('"').unwrap_or(text);
    text.strip_suffix('"').unwrap_or(text).to_owned()
}

fn matches(wanted: &EtagMatch, etag: &str) -> bool {
    match wanted {
        EtagMatch::Any => true,
        EtagMatch::OneOf(list) => list.iter().any(|one| one == etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "00000000000000000000000000000000";
    // 1994-10-29T19:43:31Z
    const MODIFIED_S: u64 = 783_459_811;

    fn object() -> ObjectInfo {
        ObjectInfo { size_bytes: 3, modified_ms: MODIFIED_S * 1000 + 999, ..ObjectInfo::default() }
    }

    fn judge(if_match: &str, if_none_match: &str, modified: &str, unmodified: &str) -> Verdict {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Conditions {
            if_match: given(if_match),
            if_none_match: given(if_none_match),
            if_modified_since: given(modified),
            if_unmodified_since: given(unmodified),
        }
        .judge(&object())
    }

    #[test]
    fn entity_tags() {
        assert_eq!(judge(ETAG, "", "", ""), Verdict::Proceed);
        assert_eq!(judge(&format!("\"x\", \"{ETAG}\""), "", "", ""), Verdict::Proceed);
        assert_eq!(judge("*", "", "", ""), Verdict::Proceed);
        assert_eq!(judge("\"x\"", "", "", ""), Verdict::PreconditionFailed);
        assert_eq!(judge("", &format!("W/\"{ETAG}\""), "", ""), Verdict::NotModified);
        assert_eq!(judge("", "*", "", ""), Verdict::NotModified);
        assert_eq!(judge("", "\"x\"", "", ""), Verdict::Proceed);
    }

    #[test]
    fn dates_compare_whole_seconds() {
        let same = "Sat, 29 Oct 1994 19:43:31 GMT";
        let before = "Sat, 29 Oct 1994 19:43:30 GMT";
        assert_eq!(judge("", "", same, ""), Verdict::NotModified);
        assert_eq!(judge("", "", before, ""), Verdict::Proceed);
        assert_eq!(judge("", "", "", same), Verdict::Proceed);
        assert_eq!(judge("", "", "", before), Verdict::PreconditionFailed);
        assert_eq!(judge("", "", "yesterday", "tomorrow"), Verdict::Proceed);
    }

    #[test]
    fn dates_of_every_form_are_read() {
        for date in
            ["Sat, 29 Oct 1994 19:43:31 GMT", "Saturday, 29-Oct-94 19:43:31 GMT", "Sat Oct 29 19:43:31 1994"]
        {
            assert_eq!(http_date_s(date), Some(MODIFIED_S), "{date}");
            assert_eq!(judge("", "", date, ""), Verdict::NotModified, "{date}");
        }
        for other in
            ["", "1994-10-29T19:43:31Z", "Sat, 29 Oct 1994 19:43:31 CET", "Sat, 32 Oct 1994 19:43:31 GMT"]
        {
            assert_eq!(http_date_s(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_validator_of_the_object_lets_a_range_count() {
        let quoted = format!("\"{ETAG}\"");
        for holds in [quoted.as_str(), ETAG, "Sat, 29 Oct 1994 19:43:31 GMT", "Sat Oct 29 19:43:31 1994"] {
            assert!(if_range_holds(holds, &object()), "{holds}");
        }
        let (weak, list) = (format!("W/{quoted}"), format!("{quoted}, \"x\""));
        for not in [
            weak.as_str(),
            list.as_str(),
            "\"x\"",
            "*",
            "",
            "Sat, 29 Oct 1994 19:43:30 GMT",
            "Sat, 29 Oct 1994 19:43:32 GMT",
        ] {
            assert!(!if_range_holds(not, &object()), "{not}");
        }
    }

    #[test]
    fn an_entity_tag_silences_the_date_beside_it() {
        let before = "Sat, 29 Oct 1994 19:43:30 GMT";
        let after = "Sat, 29 Oct 2094 19:43:30 GMT";
        assert_eq!(judge(ETAG, "", "", before), Verdict::Proceed);
        assert_eq!(judge("", "\"x\"", after, ""), Verdict::Proceed);
    }

    #[test]
    fn writes_get_bare_entity_tags() {
        let conditions = Conditions { if_none_match: Some("*".into()), ..Conditions::default() };
        assert_eq!(conditions.for_write().if_none_match, Some(EtagMatch::Any));
        let conditions = Conditions { if_match: Some("\"a\"".into()), ..Conditions::default() };
        assert_eq!(conditions.for_write().if_match, Some(EtagMatch::OneOf(vec!["a".into()])));
    }
}
