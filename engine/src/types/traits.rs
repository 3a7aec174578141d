//! What the engine itself reads in the attributes of an object: how a version is locked, its storage
//! class, and its tags. Everything else in them is the caller's.
//!
//! Invariants:
//! - The names of these attributes begin with a colon, so no name of a header is one of them.
//! - They are written here only. What can not be read protects most: a retention that this program
//!   does not understand never ends.

/// Named values kept with an object, an upload, a part or a bucket, in the order they were given.
pub type Attributes = Vec<(String, String)>;

/// The attribute of a legal hold, which stays when the hold ends.
const HOLD: &str = ":hold";
/// The value of a legal hold that has ended.
const ENDED: &str = "OFF";
/// The attribute of a retention: a letter for the mode, and a Unix time in milliseconds.
const RETENTION: &str = ":retention";
/// The attribute of a storage class that is not [`StorageClass::Standard`].
const CLASS: &str = ":class";
/// What the names of the attributes of tags begin with. The rest is the tag's key, and the value is
/// the tag's.
const TAG: &str = ":tag:";

/// Returns whether an attribute is one of the engine's.
pub fn is_own(name: &str) -> bool {
    name.starts_with(':')
}

/// How a retention can end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// Whoever may bypass it can remove the version, or shorten its retention.
    Governance,
    /// Nobody can.
    Compliance,
}

/// Until when a version can not be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// Unix time in milliseconds.
    pub until_ms: u64,
}

/// What keeps a version from being removed or replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub retention: Option<Retention>,
    /// The legal hold, which has no end of its own.
    pub hold: bool,
}

impl Lock {
    /// Reads the lock among the attributes of a version.
    pub fn of(attributes: &Attributes) -> Self {
        let mut lock = Self::default();
        for (name, value) in attributes {
            match name.as_str() {
                HOLD => lock.hold = value != ENDED,
                RETENTION => lock.retention = Some(Retention::parse(value)),
                _ => {}
            }
        }
        lock
    }

    /// Writes the lock among the attributes of a version, in place of the one that is there.
    pub fn write(self, attributes: &mut Attributes) {
        let was_set = Self::hold_was_set(attributes);
        attributes.retain(|(name, _)| name != HOLD && name != RETENTION);
        if let Some(retention) = self.retention {
            attributes.push((RETENTION.to_owned(), retention.show()));
        }
        if self.hold || was_set {
            let value = if self.hold { "ON" } else { ENDED };
            attributes.push((HOLD.to_owned(), value.to_owned()));
        }
    }

    /// Returns whether a legal hold was ever set, or was said to be off.
    pub fn hold_was_set(attributes: &Attributes) -> bool {
        attributes.iter().any(|(name, _)| name == HOLD)
    }

    /// Sets or ends a legal hold among the attributes of a version, beside its retention. That it is
    /// off is noted too.
    pub fn write_hold(on: bool, attributes: &mut Attributes) {
        let lock = Self { hold: true, ..Self::of(attributes) };
        lock.write(attributes);
        Self { hold: on, ..lock }.write(attributes);
    }

    /// Returns whether nothing is locked, now or later.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Returns whether the version can not be removed at a time, in Unix milliseconds.
    pub fn protects(self, now_ms: u64, bypass_governance: bool) -> bool {
        self.hold || self.retention.is_some_and(|retention| retention.protects(now_ms, bypass_governance))
    }

    /// Returns whether the version may be locked as `next` says instead. A retention in force may
    /// only become longer, unless it is one of governance and is bypassed.
    pub fn may_become(self, next: Self, now_ms: u64, bypass_governance: bool) -> bool {
        let Some(old) = self.retention.filter(|old| old.protects(now_ms, bypass_governance)) else {
            return true;
        };
        next.retention.is_some_and(|next| next.mode == old.mode && next.until_ms >= old.until_ms)
    }
}

impl Retention {
    fn protects(self, now_ms: u64, bypass_governance: bool) -> bool {
        let bypassed = bypass_governance && self.mode == RetentionMode::Governance;
        !bypassed && now_ms < self.until_ms
    }

    fn show(self) -> String {
        let mode = match self.mode {
            RetentionMode::Governance => 'G',
            RetentionMode::Compliance => 'C',
        };
        format!("{mode}{}", self.until_ms)
    }

    fn parse(text: &str) -> Self {
        let mode = match text.as_bytes().first() {
            Some(b'G') => Some(RetentionMode::Governance),
            Some(b'C') => Some(RetentionMode::Compliance),
            _ => None,
        };
        let parsed = mode.zip(text.get(1..).and_then(|until| until.parse().ok()));
        let forever = (RetentionMode::Compliance, u64::MAX);
        let (mode, until_ms) = parsed.unwrap_or(forever);
        Self { mode, until_ms }
    }
}

/// The storage class that an object was given. All of them are stored alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    OneZoneIa,
    IntelligentTiering,
    GlacierIr,
}

impl StorageClass {
    /// All classes, in the order of the numbers that entries of the index have for them.
    pub const ALL: [Self; 6] = [
        Self::Standard,
        Self::ReducedRedundancy,
        Self::StandardIa,
        Self::OneZoneIa,
        Self::IntelligentTiering,
        Self::GlacierIr,
    ];

    /// Returns the name that S3 has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::ReducedRedundancy => "REDUCED_REDUNDANCY",
            Self::StandardIa => "STANDARD_IA",
            Self::OneZoneIa => "ONEZONE_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::GlacierIr => "GLACIER_IR",
        }
    }

    /// Returns the class of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Reads the class among the attributes of a version or upload.
    pub fn of(attributes: &Attributes) -> Self {
        let found = attributes.iter().find(|(name, _)| name == CLASS);
        found.and_then(|(_, name)| Self::from_name(name)).unwrap_or_default()
    }

    /// Writes the class among the attributes, in place of the one that is there.
    pub fn write(self, attributes: &mut Attributes) {
        attributes.retain(|(name, _)| name != CLASS);
        if self != Self::Standard {
            attributes.push((CLASS.to_owned(), self.name().to_owned()));
        }
    }
}

/// Returns the tags among the attributes of a version or upload: key and value, in the order in which
/// they were given.
pub fn tags(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().filter_map(|(name, value)| Some((name.strip_prefix(TAG)?, value.as_str())))
}

/// Writes tags among the attributes, in place of those that are there.
pub fn write_tags<'a>(attributes: &mut Attributes, tags: impl Iterator<Item = (&'a str, &'a str)>) {
    attributes.retain(|(name, _)| !name.starts_with(TAG));
    attributes.extend(tags.map(|(key, value)| (format!("{TAG}{key}"), value.to_owned())));
}

/// What an entry of the index says of a version beside where it is: what is judged or listed without
/// a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    pub lock: Lock,
    pub class: StorageClass,
    pub has_tags: bool,
}

impl Traits {
    /// Reads the traits in the attributes of a version.
    pub fn of(attributes: &Attributes) -> Self {
        if !attributes.iter().any(|(name, _)| is_own(name)) {
            return Self::default();
        }
        Self {
            lock: Lock::of(attributes),
            class: StorageClass::of(attributes),
            has_tags: tags(attributes).next().is_some(),
        }
    }

    /// Returns the attributes that say the same, without tags.
    pub fn attributes(self) -> Attributes {
        let mut attributes = Attributes::new();
        self.lock.write(&mut attributes);
        self.class.write(&mut attributes);
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(mode: RetentionMode, until_ms: u64) -> Lock {
        Lock { retention: Some(Retention { mode, until_ms }), hold: false }
    }

    #[test]
    fn attributes_say_what_was_written() {
        let mut attributes = vec![("content-type".to_owned(), "a/b".to_owned())];
        assert_eq!(Traits::of(&attributes), Traits::default());
        let lock = Lock { hold: true, ..retained(RetentionMode::Governance, 1_800_000_000_123) };
        lock.write(&mut attributes);
        StorageClass::GlacierIr.write(&mut attributes);
        write_tags(&mut attributes, [("k", "v"), ("", "x")].into_iter());
        let traits = Traits { lock, class: StorageClass::GlacierIr, has_tags: true };
        assert_eq!(Traits::of(&attributes), traits);
        assert_eq!(tags(&attributes).collect::<Vec<_>>(), [("k", "v"), ("", "x")]);
        assert_eq!(Traits::of(&traits.attributes()), Traits { has_tags: false, ..traits });
        Lock::write_hold(false, &mut attributes);
        assert_eq!(Lock::of(&attributes), Lock { hold: false, ..lock });
        assert!(Lock::hold_was_set(&attributes));
        Lock::default().write(&mut attributes);
        attributes.retain(|(name, _)| name != HOLD);
        StorageClass::Standard.write(&mut attributes);
        write_tags(&mut attributes, std::iter::empty());
        assert_eq!(attributes, [("content-type".to_owned(), "a/b".to_owned())]);
    }

    #[test]
    fn a_retention_that_is_not_understood_never_ends() {
        for text in ["", "X1", "C", "C1x", "G-1"] {
            let lock = Lock::of(&vec![(RETENTION.to_owned(), text.to_owned())]);
            assert!(lock.protects(u64::MAX - 1, true), "{text:?}");
        }
    }

    #[test]
    fn a_lock_ends_by_time_or_by_bypass() {
        let (governance, compliance) =
            (retained(RetentionMode::Governance, 10), retained(RetentionMode::Compliance, 10));
        assert!(governance.protects(9, false) && !governance.protects(9, true));
        assert!(compliance.protects(9, false) && compliance.protects(9, true));
        assert!(!governance.protects(10, false) && !compliance.protects(10, false));
        let held = Lock { hold: true, ..Lock::default() };
        assert!(held.protects(u64::MAX, true));
    }

    #[test]
    fn a_retention_in_force_only_becomes_longer() {
        use RetentionMode::{Compliance, Governance};
        for (old, new, bypass, allowed) in [
            (retained(Compliance, 10), retained(Compliance, 11), false, true),
            (retained(Compliance, 10), retained(Compliance, 9), true, false),
            (retained(Compliance, 10), retained(Governance, 11), true, false),
            (retained(Compliance, 10), Lock::default(), true, false),
            (retained(Governance, 10), retained(Governance, 10), false, true),
            (retained(Governance, 10), retained(Governance, 9), false, false),
            (retained(Governance, 10), retained(Governance, 9), true, true),
            (retained(Governance, 10), retained(Compliance, 11), false, false),
            (retained(Governance, 10), retained(Compliance, 11), true, true),
            (retained(Governance, 10), Lock::default(), false, false),
            (Lock { hold: true, ..Lock::default() }, Lock::default(), false, true),
        ] {
            assert_eq!(old.may_become(new, 5, bypass), allowed, "{old:?} {new:?} {bypass}");
            assert!(old.may_become(new, 10, false), "it has ended: {old:?} {new:?}");
        }
    }
}
