use super::*;
use crate::types::rules::DAY_MS;
use crate::types::{Attributes, ObjectInfo, StorageClass, Versioning, traits};

const KEY: &[u8] = b"logs/a";
/// 2026-01-15T10:30:00Z.
const WRITTEN_MS: u64 = 1_768_473_000_000;
/// 2026-01-15T00:00:00Z.
const MIDNIGHT_MS: u64 = 1_768_435_200_000;

fn rule(id: &str) -> Rule {
    Rule { id: id.to_owned(), enabled: true, ..Rule::default() }
}

fn expiring(id: &str, expiration: Expiration) -> Rule {
    Rule { expiration: Some(expiration), ..rule(id) }
}

fn removing(id: &str, days: u32, newer_kept: Option<u32>) -> Rule {
    Rule { noncurrent_expiration: Some(NoncurrentExpiration { days, newer_kept }), ..rule(id) }
}

fn filtered(filter: Filter, of: Rule) -> Rule {
    Rule { filter, ..of }
}

fn moving(id: &str, days: u32, class: StorageClass) -> Rule {
    Rule { transitions: vec![Transition { when: When::Days(days), class }], ..rule(id) }
}

fn tagged(tags: &[(&str, &str)]) -> Filter {
    let owned = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Filter { tags: owned.collect(), ..Filter::default() }
}

fn object() -> VersionFacts<'static> {
    VersionFacts {
        key: KEY,
        size_bytes: 1000,
        modified_ms: WRITTEN_MS,
        class: StorageClass::Standard,
        is_marker: false,
        place: Place::Newest { is_sole: true },
        tags: Tags::None,
    }
}

fn marker(is_sole: bool) -> VersionFacts<'static> {
    VersionFacts { size_bytes: 0, is_marker: true, place: Place::Newest { is_sole }, ..object() }
}

fn noncurrent(since_ms: u64, newer: u64) -> VersionFacts<'static> {
    VersionFacts { modified_ms: 0, place: Place::Noncurrent { since_ms, newer }, ..object() }
}

/// Returns what is due at a time, as the action and the id of the rule.
fn due(
    rules: &[Rule],
    version: &VersionFacts<'_>,
    versioning: Versioning,
    now_ms: u64,
) -> Option<(Action, String)> {
    let rules = LifecycleRules { rules: rules.to_vec() };
    match judge(&rules, version, versioning, Clock { now_ms, day_ms: DAY_MS }) {
        Judgement::Keep => None,
        Judgement::Due(judged) => Some((judged.action, judged.rule.id.clone())),
        Judgement::NeedsTags => panic!("the tags are known"),
    }
}

fn is_due(rules: &[Rule], version: &VersionFacts<'_>, now_ms: u64) -> bool {
    due(rules, version, Versioning::Enabled, now_ms).is_some()
}

#[test]
fn days_end_at_the_midnight_behind_the_last_of_them() {
    let rules = [expiring("r", Expiration::Days(3))];
    let at_ms = MIDNIGHT_MS + 4 * DAY_MS;
    assert!(!is_due(&rules, &object(), at_ms - 1) && is_due(&rules, &object(), at_ms));
    // What is written at midnight has its full days, and the rest of the last one.
    let early = VersionFacts { modified_ms: MIDNIGHT_MS, ..object() };
    assert!(!is_due(&rules, &early, at_ms - 1) && is_due(&rules, &early, at_ms));
    let late = VersionFacts { modified_ms: MIDNIGHT_MS + DAY_MS - 1, ..object() };
    assert!(!is_due(&rules, &late, at_ms - 1) && is_due(&rules, &late, at_ms));
    // A short day is rounded to its own multiples.
    let (rules, day_ms) = (LifecycleRules { rules: rules.to_vec() }, 10_000);
    for (modified_ms, at_ms) in [(20_001, 60_000), (29_999, 60_000), (30_000, 70_000)] {
        let version = VersionFacts { modified_ms, ..object() };
        let at = |now_ms| judge(&rules, &version, Versioning::Off, Clock { now_ms, day_ms });
        assert_eq!(at(at_ms - 1), Judgement::Keep);
        assert_ne!(at(at_ms), Judgement::Keep);
    }
}

#[test]
fn no_number_of_days_or_length_of_a_day_overflows() {
    for (day_ms, modified_ms, days) in [(0, 0, 1), (u64::MAX, 5, u32::MAX), (DAY_MS, u64::MAX, u32::MAX)] {
        let rules = LifecycleRules { rules: vec![expiring("r", Expiration::Days(days))] };
        let version = VersionFacts { modified_ms, ..object() };
        let _ = judge(&rules, &version, Versioning::Off, Clock { now_ms: u64::MAX, day_ms });
    }
}

/// Each line is a trap: rules, a version, the state of versioning, a time, and what is due.
#[test]
fn each_case_is_judged_as_s3_has_it() {
    use Action::{AddMarker, RemoveMarker, RemoveVersion};
    use Versioning::{Enabled, Off, Suspended};
    let (late, date) = (MIDNIGHT_MS + 100 * DAY_MS, MIDNIGHT_MS + 5 * DAY_MS);
    let days = || expiring("days", Expiration::Days(1));
    let dated = || expiring("date", Expiration::Date(date));
    let sole = || expiring("sole", Expiration::ExpiredDeleteMarker);
    let disabled = Rule { enabled: false, ..days() };
    let prefix = |prefix: &str| Filter { prefix: prefix.to_owned(), ..Filter::default() };
    let larger = |bytes| Filter { larger_than: Some(bytes), ..Filter::default() };
    let smaller = |bytes| Filter { smaller_than: Some(bytes), ..Filter::default() };
    let cases = [
        ("enabled", vec![days()], object(), Enabled, late, Some((AddMarker, "days"))),
        ("suspended", vec![days()], object(), Suspended, late, Some((AddMarker, "days"))),
        ("unversioned", vec![days()], object(), Off, late, Some((RemoveVersion, "days"))),
        ("disabled", vec![disabled], object(), Enabled, late, None),
        ("days of 0", vec![expiring("r", Expiration::Days(0))], object(), Enabled, late, None),
        ("a date to come", vec![dated()], object(), Enabled, date - 1, None),
        ("a date", vec![dated()], object(), Enabled, date, Some((AddMarker, "date"))),
        ("no marker upon a marker", vec![days(), dated()], marker(false), Enabled, late, None),
        ("a marker of another version", vec![sole()], marker(false), Enabled, late, None),
        ("a sole marker", vec![sole()], marker(true), Enabled, WRITTEN_MS, Some((RemoveMarker, "sole"))),
        ("a sole marker, too young", vec![days()], marker(true), Enabled, WRITTEN_MS, None),
        (
            "a sole marker of some days",
            vec![days()],
            marker(true),
            Enabled,
            late,
            Some((RemoveMarker, "days")),
        ),
        ("a sole marker by date", vec![dated()], marker(true), Enabled, date, Some((RemoveMarker, "date"))),
        ("a sole object", vec![sole()], object(), Enabled, late, None),
        ("another prefix", vec![filtered(prefix("log/"), days())], object(), Off, late, None),
        (
            "the prefix",
            vec![filtered(prefix("logs/"), days())],
            object(),
            Off,
            late,
            Some((RemoveVersion, "days")),
        ),
        ("as large", vec![filtered(larger(1000), days())], object(), Off, late, None),
        ("larger", vec![filtered(larger(999), days())], object(), Off, late, Some((RemoveVersion, "days"))),
        ("as small", vec![filtered(smaller(1000), days())], object(), Off, late, None),
        (
            "smaller",
            vec![filtered(smaller(1001), days())],
            object(),
            Off,
            late,
            Some((RemoveVersion, "days")),
        ),
        ("a marker has no size", vec![filtered(smaller(9), sole())], marker(true), Enabled, late, None),
        (
            "a marker has no tags",
            vec![filtered(tagged(&[("k", "v")]), sole())],
            marker(true),
            Enabled,
            late,
            None,
        ),
        ("a noncurrent version by days", vec![days(), dated()], noncurrent(0, 9), Enabled, late, None),
        ("the newest by noncurrent days", vec![removing("r", 1, None)], object(), Enabled, late, None),
        ("noncurrent days of 0", vec![removing("r", 0, None)], noncurrent(0, 9), Enabled, late, None),
    ];
    for (name, rules, version, versioning, now_ms, expected) in cases {
        let expected = expected.map(|(action, rule): (Action, &str)| (action, rule.to_owned()));
        assert_eq!(due(&rules, &version, versioning, now_ms), expected, "{name}");
    }
}

#[test]
fn a_noncurrent_version_is_as_old_as_its_successor() {
    let rules = [removing("r", 1, None)];
    // It was written in 1970.
    let version = noncurrent(WRITTEN_MS, 0);
    let at_ms = MIDNIGHT_MS + 2 * DAY_MS;
    assert!(!is_due(&rules, &version, at_ms - 1));
    let removed = due(&rules, &version, Versioning::Suspended, at_ms);
    assert_eq!(removed, Some((Action::RemoveVersion, "r".to_owned())));
    let marker = VersionFacts { is_marker: true, ..version };
    let removed = due(&rules, &marker, Versioning::Enabled, at_ms);
    assert_eq!(removed, Some((Action::RemoveMarker, "r".to_owned())));
}

#[test]
fn a_rule_keeps_the_newest_noncurrent_versions_from_itself_only() {
    let (keeping, other) = (removing("keeping", 1, Some(2)), removing("other", 30, None));
    let (soon, late) = (MIDNIGHT_MS + 2 * DAY_MS, MIDNIGHT_MS + 31 * DAY_MS);
    for (newer, expected) in [(0, false), (1, false), (2, true), (3, true)] {
        assert_eq!(is_due(std::slice::from_ref(&keeping), &noncurrent(WRITTEN_MS, newer), late), expected);
    }
    let both = [keeping, other];
    assert!(!is_due(&both, &noncurrent(WRITTEN_MS, 1), soon));
    let name = |newer, now_ms| due(&both, &noncurrent(WRITTEN_MS, newer), Versioning::Enabled, now_ms);
    assert_eq!(name(1, late), Some((Action::RemoveVersion, "other".to_owned())));
    assert_eq!(name(2, late), Some((Action::RemoveVersion, "keeping".to_owned())));
    assert_eq!(LifecycleRules { rules: both.to_vec() }.newer_kept_max(), 2);
}

#[test]
fn the_earliest_expiration_wins_and_any_wins_over_a_transition() {
    let late = MIDNIGHT_MS + 100 * DAY_MS;
    let rules = [
        moving("move", 1, StorageClass::GlacierIr),
        expiring("later", Expiration::Days(9)),
        expiring("first", Expiration::Days(5)),
        expiring("equal", Expiration::Days(5)),
    ];
    let at = |days| due(&rules, &object(), Versioning::Enabled, MIDNIGHT_MS + days * DAY_MS);
    assert_eq!(at(5), Some((Action::Transition(StorageClass::GlacierIr), "move".to_owned())));
    assert_eq!(at(6), Some((Action::AddMarker, "first".to_owned())));
    assert_eq!(
        due(&rules, &object(), Versioning::Off, late),
        Some((Action::RemoveVersion, "first".to_owned()))
    );
}

#[test]
fn transitions_go_to_colder_classes_only() {
    use StorageClass::{GlacierIr, OneZoneIa, ReducedRedundancy, Standard, StandardIa};
    let late = MIDNIGHT_MS + 100 * DAY_MS;
    let class = |rules: &[Rule], class| {
        let version = VersionFacts { class, ..object() };
        due(rules, &version, Versioning::Enabled, late).map(|(action, _)| action)
    };
    let rules = [moving("ia", 1, StandardIa), moving("zone", 30, OneZoneIa), moving("far", 200, GlacierIr)];
    assert_eq!(class(&rules, Standard), Some(Action::Transition(OneZoneIa)));
    assert_eq!(class(&rules, StandardIa), Some(Action::Transition(OneZoneIa)));
    assert_eq!(class(&rules, OneZoneIa), None);
    assert_eq!(class(&rules, GlacierIr), None);
    for warm in [Standard, ReducedRedundancy] {
        assert_eq!(class(&[moving("back", 1, warm)], GlacierIr), None);
        assert_eq!(class(&[moving("aside", 1, warm)], Standard), None);
    }
    assert!(!is_due(&rules, &marker(true), late));
    // Days of 0 end at the next midnight.
    let at_once = [moving("now", 0, StandardIa)];
    assert!(!is_due(&at_once, &object(), MIDNIGHT_MS + DAY_MS - 1));
    assert!(is_due(&at_once, &object(), MIDNIGHT_MS + DAY_MS));
    // Those of noncurrent versions have rules of their own.
    let older = NoncurrentTransition { days: 1, newer_kept: Some(1), class: GlacierIr };
    let older = [Rule { noncurrent_transitions: vec![older], ..rule("older") }];
    assert!(!is_due(&older, &object(), late) && !is_due(&rules, &noncurrent(WRITTEN_MS, 5), late));
    assert!(!is_due(&older, &noncurrent(WRITTEN_MS, 0), late));
    assert!(is_due(&older, &noncurrent(WRITTEN_MS, 1), late));
}

#[test]
fn tags_are_asked_for_only_where_they_decide() {
    let late = MIDNIGHT_MS + 100 * DAY_MS;
    let filter = tagged(&[("k", "v"), ("x", "")]);
    let rules = LifecycleRules { rules: vec![filtered(filter, expiring("r", Expiration::Days(1)))] };
    // Whether something is due, or `None` when the tags decide.
    let judged = |now_ms, tags: Tags<'_>| {
        let version = VersionFacts { tags, ..object() };
        match judge(&rules, &version, Versioning::Off, Clock { now_ms, day_ms: DAY_MS }) {
            Judgement::NeedsTags => None,
            judgement => Some(judgement != Judgement::Keep),
        }
    };
    assert_eq!(judged(late, Tags::Unread), None);
    assert_eq!(judged(WRITTEN_MS, Tags::Unread), Some(false), "nothing is due yet");
    assert_eq!(judged(late, Tags::None), Some(false));
    for (tags, matches) in [
        (&[("k", "v")][..], false),
        (&[("k", "v"), ("x", "y")], false),
        (&[("x", ""), ("other", "z"), ("k", "v")], true),
    ] {
        let mut attributes = vec![("content-type".to_owned(), "k".to_owned())];
        traits::write_tags(&mut attributes, tags.iter().copied());
        assert_eq!(judged(late, Tags::Among(&attributes)), Some(matches), "{tags:?}");
    }
}

#[test]
fn uploads_are_aborted_by_rules_without_tags_and_sizes() {
    let clock = |now_ms| Clock { now_ms, day_ms: DAY_MS };
    let at_ms = MIDNIGHT_MS + 8 * DAY_MS;
    let aborting = |id: &str, days| Rule { abort_uploads_days: Some(days), ..rule(id) };
    let rules =
        LifecycleRules { rules: vec![aborting("week", 7), aborting("never", 0), aborting("later", 9)] };
    let name = |now_ms| upload_due(&rules, KEY, WRITTEN_MS, clock(now_ms)).map(|due| due.rule.id.as_str());
    assert_eq!((name(at_ms - 1), name(at_ms)), (None, Some("week")));
    assert_eq!(name(u64::MAX), Some("week"));
    for filter in [
        tagged(&[("k", "v")]),
        Filter { larger_than: Some(0), ..Filter::default() },
        Filter { smaller_than: Some(9), ..Filter::default() },
        Filter { prefix: "x".to_owned(), ..Filter::default() },
    ] {
        let rules = LifecycleRules { rules: vec![filtered(filter, aborting("r", 1))] };
        assert_eq!(upload_due(&rules, KEY, WRITTEN_MS, clock(u64::MAX)), None, "{rules:?}");
    }
    let disabled = LifecycleRules { rules: vec![Rule { enabled: false, ..aborting("r", 1) }] };
    assert_eq!(upload_due(&disabled, KEY, WRITTEN_MS, clock(u64::MAX)), None);
    assert!(disabled.upload_prefixes().is_empty());
}

#[test]
fn a_header_names_the_earliest_expiration() {
    let (a, b) = (expiring("a", Expiration::Days(9)), expiring("b", Expiration::Days(3)));
    let date = expiring("past", Expiration::Date(MIDNIGHT_MS));
    let of = |rules: &[Rule], attributes: Attributes| {
        let object =
            ObjectInfo { size_bytes: 5, modified_ms: WRITTEN_MS, attributes, ..ObjectInfo::default() };
        let expiry = expiration_of(&LifecycleRules { rules: rules.to_vec() }, KEY, &object, DAY_MS);
        expiry.map(|expiry| (expiry.at_ms, expiry.rule))
    };
    let day = |days: u64| MIDNIGHT_MS + days * DAY_MS;
    assert_eq!(of(&[a.clone(), b.clone()], Vec::new()), Some((day(4), "b".to_owned())));
    assert_eq!(of(&[a.clone(), date], Vec::new()), Some((MIDNIGHT_MS, "past".to_owned())));
    assert_eq!(
        of(&[expiring("m", Expiration::ExpiredDeleteMarker), removing("n", 1, None)], Vec::new()),
        None
    );
    let tagged = [a, filtered(tagged(&[("k", "v")]), b)];
    assert_eq!(of(&tagged, Vec::new()), Some((day(10), "a".to_owned())));
    let mut attributes = Attributes::new();
    traits::write_tags(&mut attributes, [("k", "v")].into_iter());
    assert_eq!(of(&tagged, attributes), Some((day(4), "b".to_owned())));
}

#[test]
fn prefixes_are_named_once() {
    let with =
        |prefix: &str, of: Rule| filtered(Filter { prefix: prefix.to_owned(), ..Filter::default() }, of);
    let days = |prefix: &str| with(prefix, expiring("r", Expiration::Days(1)));
    let rules = |rules: Vec<Rule>| LifecycleRules { rules };
    let some =
        rules(vec![days("b/c"), days("a"), days("b/"), days("b0"), days("a"), with("z", rule("nothing"))]);
    assert_eq!(some.version_prefixes(), [&b"a"[..], b"b/", b"b0"]);
    assert!(some.upload_prefixes().is_empty());
    assert_eq!(rules(vec![days("x"), days("")]).version_prefixes(), [b""]);
    assert!(rules(vec![Rule { enabled: false, ..days("") }]).version_prefixes().is_empty());
}
