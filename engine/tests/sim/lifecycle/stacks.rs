//! What becomes of a stack of versions by rules, day by day.

use ringbolt_engine::lifecycle::{Expiration, Rule, Transition, When};
use ringbolt_engine::types::{
    ConfigKind, Lock, MetadataChange, Retention, RetentionMode, StorageClass, Version, Versioning,
    WriteCondition, traits,
};

use super::help::{Aging, DAY_MS, expiring, put_with, removing, rule, stack, tagged, under};
use crate::world::{bucket, delete, get, put};

#[test]
fn an_object_expires_into_one_marker_and_all_of_it_goes_in_the_end() {
    let aging = Aging::new(1901, Versioning::Enabled);
    aging.rules(vec![expiring(1)]);
    aging.run(|core, id| async move { put(&core, id, b"k", 1, 100).await.expect("stored") });
    aging.wait_for_noon(1);
    assert_eq!(aging.stack(b"k"), [Some(1)], "its day has not ended");
    for day in 2..8 {
        aging.wait_for_noon(day);
        assert_eq!(aging.stack(b"k"), [None, Some(1)], "one marker, and not one a pass");
    }
    assert_eq!(aging.counters().markers_added, 1);
    // The version is noncurrent since day 2, and the marker is as old. It goes once it is alone.
    aging.rules(vec![expiring(1), removing(8, None)]);
    aging.wait_for_noon(10);
    assert_eq!(aging.stack(b"k"), [None, Some(1)]);
    aging.wait_for_noon(11);
    assert!(aging.stack(b"k").is_empty(), "{:?}", aging.stack(b"k"));
    let counters = aging.counters();
    assert_eq!(
        (counters.versions_removed, counters.markers_removed, counters.errors),
        (1, 1, 0),
        "{counters:?}"
    );
}

#[test]
fn suspended_versioning_gets_a_null_marker_for_the_null_version() {
    let aging = Aging::new(1902, Versioning::Suspended);
    aging.run(|core, id| async move {
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        put(&core, id, b"k", 1, 100).await.expect("stored");
        core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
        put(&core, id, b"k", 2, 100).await.expect("stored");
        // The newest version of this key is not null, and its null version is older.
        put(&core, id, b"other", 3, 100).await.expect("stored");
        core.set_versioning(id, Versioning::Enabled).await.expect("enabled");
        put(&core, id, b"other", 4, 100).await.expect("stored");
        core.set_versioning(id, Versioning::Suspended).await.expect("suspended");
    });
    aging.rules(vec![expiring(1)]);
    for day in 2..5 {
        aging.wait_for_noon(day);
        let stacks = aging
            .run(|core, id| async move { (stack(&core, id, b"k").await, stack(&core, id, b"other").await) });
        assert_eq!(stacks.0, [(None, true), (Some(1), false)]);
        assert_eq!(stacks.1, [(None, true), (Some(4), false)]);
    }
    assert_eq!(aging.counters().markers_added, 2);
}

#[test]
fn unversioned_objects_are_removed_and_others_stay() {
    let aging = Aging::new(1903, Versioning::Off);
    aging.rules(vec![
        under("old/", expiring(1)),
        under(
            "date/",
            Rule { expiration: Some(Expiration::Date(1_767_225_600_000 + 3 * DAY_MS)), ..rule("date") },
        ),
        under("off/", Rule { enabled: false, ..expiring(1) }),
    ]);
    let keys: [&'static [u8]; 5] = [b"old/a", b"date/a", b"off/a", b"young", b"old"];
    let other = aging.run(|core, id| async move {
        let other = bucket(&core, "other").await;
        for key in keys {
            put(&core, id, key, 1, 100).await.expect("stored");
        }
        put(&core, other, b"old/a", 1, 100).await.expect("stored");
        // What this program does not understand does nothing.
        let unknown = core.set_bucket_config(other, ConfigKind::LIFECYCLE, Some(vec![2, 0])).await;
        unknown.expect("set");
        assert_eq!(core.bucket("other").expect("there").lifecycle, None);
        other
    });
    let left =
        |aging: &Aging| keys.into_iter().filter(|key| !aging.stack(key).is_empty()).collect::<Vec<_>>();
    aging.wait_for_noon(2);
    assert_eq!(left(&aging), [&b"date/a"[..], b"off/a", b"young", b"old"]);
    aging.wait_for_noon(3);
    assert_eq!(left(&aging), [&b"off/a"[..], b"young", b"old"]);
    // A date that is over counts for what comes later too.
    aging.run(|core, id| async move { put(&core, id, b"date/b", 1, 100).await.expect("stored") });
    aging.wait_for_noon(4);
    assert!(aging.stack(b"date/b").is_empty());
    assert_eq!(aging.counters().versions_removed, 3);
    aging.run(|core, _| async move { assert!(get(&core, other, b"old/a").await.expect("read").is_some()) });
}

#[test]
fn a_sole_marker_goes_and_one_above_a_version_stays() {
    let aging = Aging::new(1904, Versioning::Enabled);
    aging.rules(vec![Rule { expiration: Some(Expiration::ExpiredDeleteMarker), ..rule("markers") }]);
    aging.run(|core, id| async move {
        delete(&core, id, b"sole").await.expect("marked");
        put(&core, id, b"kept", 1, 100).await.expect("stored");
        delete(&core, id, b"kept").await.expect("marked");
        delete(&core, id, b"two").await.expect("marked");
        delete(&core, id, b"two").await.expect("marked");
    });
    aging.wait_for_noon(1);
    assert!(aging.stack(b"sole").is_empty());
    assert_eq!((aging.stack(b"kept"), aging.stack(b"two")), (vec![None, Some(1)], vec![None, None]));
}

#[test]
fn a_version_is_noncurrent_since_its_successor_was_written() {
    let aging = Aging::new(1905, Versioning::Enabled);
    aging.rules(vec![removing(1, None)]);
    aging.run(|core, id| async move { put(&core, id, b"k", 1, 100).await.expect("stored") });
    aging.wait_for_noon(4);
    aging.run(|core, id| async move { put(&core, id, b"k", 2, 100).await.expect("stored") });
    aging.wait_for_noon(5);
    assert_eq!(aging.stack(b"k"), [Some(2), Some(1)], "it was written long ago, but replaced just now");
    aging.wait_for_noon(6);
    assert_eq!(aging.stack(b"k"), [Some(2)]);
    // A marker is a successor too, and goes as a noncurrent version.
    aging.run(|core, id| async move {
        delete(&core, id, b"k").await.expect("marked");
        put(&core, id, b"k", 3, 100).await.expect("stored");
    });
    aging.wait_for_noon(7);
    assert_eq!(aging.stack(b"k"), [Some(3), None, Some(2)]);
    aging.wait_for_noon(8);
    assert_eq!(aging.stack(b"k"), [Some(3)]);
}

#[test]
fn the_newest_noncurrent_versions_are_kept_from_that_rule_only() {
    let aging = Aging::new(1906, Versioning::Enabled);
    aging.rules(vec![removing(1, Some(2)), under("both/", removing(4, None))]);
    aging.run(|core, id| async move {
        for tag in 1..=6 {
            put(&core, id, b"both/k", tag, 100).await.expect("stored");
            put(&core, id, b"one/k", tag, 100).await.expect("stored");
        }
    });
    aging.wait_for_noon(1);
    assert_eq!(aging.stack(b"one/k").len(), 6);
    for day in 2..5 {
        aging.wait_for_noon(day);
        assert_eq!(aging.stack(b"one/k"), [Some(6), Some(5), Some(4)], "day {day}");
        assert_eq!(aging.stack(b"both/k"), [Some(6), Some(5), Some(4)], "day {day}");
    }
    aging.wait_for_noon(5);
    assert_eq!(aging.stack(b"one/k"), [Some(6), Some(5), Some(4)]);
    assert_eq!(aging.stack(b"both/k"), [Some(6)]);
}

#[test]
fn the_tags_of_now_decide() {
    let aging = Aging::new(1907, Versioning::Enabled);
    aging.rules(vec![tagged("keep", "no", expiring(1))]);
    let retag = |aging: &Aging, key: &'static [u8], value: &'static str| {
        aging.run(|core, id| async move {
            let info = core.head(id, key).await.expect("read").expect("there");
            let mut attributes = info.attributes;
            traits::write_tags(&mut attributes, [("keep", value)].into_iter());
            let change =
                MetadataChange { generation: info.generation, attributes, ..MetadataChange::default() };
            core.update_metadata(id, key, change, WriteCondition::default()).await.expect("tagged");
        });
    };
    aging.run(|core, id| async move {
        put_with(&core, id, b"no", 1, Vec::new(), &[("keep", "no")]).await;
        put_with(&core, id, b"changed", 2, Vec::new(), &[("keep", "no")]).await;
        put_with(&core, id, b"yes", 3, Vec::new(), &[("keep", "yes")]).await;
        put_with(&core, id, b"none", 4, Vec::new(), &[]).await;
        put_with(&core, id, b"later", 5, Vec::new(), &[]).await;
    });
    retag(&aging, b"changed", "yes");
    retag(&aging, b"later", "no");
    aging.wait_for_noon(2);
    assert_eq!(aging.stack(b"no"), [None, Some(1)]);
    assert_eq!(aging.stack(b"later"), [None, Some(5)]);
    for (key, tag) in [(&b"changed"[..], 2), (b"yes", 3), (b"none", 4)] {
        assert_eq!(aging.stack(key), [Some(tag)], "{}", String::from_utf8_lossy(key));
    }
    retag(&aging, b"changed", "no");
    aging.wait_for_noon(3);
    assert_eq!(aging.stack(b"changed"), [None, Some(2)]);
}

#[test]
fn a_locked_version_stays_until_its_retention_ends() {
    let aging = Aging::with_shards(1908, 1, Versioning::Off);
    let id = aging.run(|core, _| async move {
        core.create_bucket_with("locked", "owner", Vec::new(), true, Vec::new()).await.expect("made");
        core.bucket("locked").expect("there").id
    });
    let aging = Aging { id, ..aging };
    aging.rules(vec![expiring(1), removing(1, None)]);
    let until_ms = 1_767_225_600_000 + 6 * DAY_MS;
    aging.run(|core, id| async move {
        let mut attributes = Vec::new();
        let retention = Some(Retention { mode: RetentionMode::Compliance, until_ms });
        Lock { retention, hold: false }.write(&mut attributes);
        put_with(&core, id, b"k", 1, attributes, &[]).await;
        let mut attributes = Vec::new();
        Lock { retention: None, hold: true }.write(&mut attributes);
        put_with(&core, id, b"held", 2, attributes, &[]).await;
    });
    for day in 2..=5 {
        aging.wait_for_noon(day);
        // A marker removes nothing, so a lock does not keep it away.
        assert_eq!(aging.stack(b"k"), [None, Some(1)], "day {day}");
    }
    let before = aging.counters();
    assert!(before.locked >= 2 && before.errors == 0, "{before:?}");
    aging.wait_for_noon(6);
    assert!(aging.stack(b"k").is_empty(), "the version went, and then its marker");
    assert_eq!(aging.stack(b"held"), [None, Some(2)]);
}

/// Time that did not pass ends nothing where something is locked.
#[test]
fn a_step_of_the_clock_that_is_not_believed_expires_nothing() {
    let aging = Aging::with_shards(1909, 1, Versioning::Enabled);
    aging.rules(vec![expiring(300)]);
    aging.run(|core, id| async move {
        let mut attributes = Vec::new();
        Lock { retention: None, hold: true }.write(&mut attributes);
        put_with(&core, id, b"held", 1, attributes, &[]).await;
        put(&core, id, b"k", 2, 100).await.expect("stored");
    });
    aging.world.sim.jump_wall_clock(400 * 24 * 3_600_000);
    aging.wait_for_noon(3);
    assert_eq!(aging.stack(b"k"), [Some(2)]);
    aging.run(|core, _| async move { core.confirm_clock().await.expect("confirmed") });
    aging.wait_for_noon(5);
    assert_eq!(aging.stack(b"k"), [None, Some(2)], "an operator says that it is right");
}

#[test]
fn transitions_change_the_class_and_nothing_else() {
    let aging = Aging::new(1910, Versioning::Enabled);
    let to = |days, class| Transition { when: When::Days(days), class };
    aging.rules(vec![Rule {
        transitions: vec![to(1, StorageClass::StandardIa), to(3, StorageClass::GlacierIr)],
        ..rule("colder")
    }]);
    let before = aging.run(|core, id| async move {
        let attributes = vec![("content-type".to_owned(), "a/b".to_owned())];
        let info = put_with(&core, id, b"k", 1, attributes.clone(), &[("a", "b")]).await;
        delete(&core, id, b"marker").await.expect("marked");
        let mut cold = attributes;
        StorageClass::GlacierIr.write(&mut cold);
        put_with(&core, id, b"cold", 2, cold, &[]).await;
        info
    });
    let now = |aging: &Aging, key: &'static [u8]| {
        aging.run(|core, id| async move { get(&core, id, key).await.expect("read").expect("there") })
    };
    for (day, class, changes) in [
        (1, StorageClass::Standard, 0),
        (2, StorageClass::StandardIa, 1),
        (3, StorageClass::StandardIa, 1),
        (4, StorageClass::GlacierIr, 2),
        (9, StorageClass::GlacierIr, 2),
    ] {
        aging.wait_for_noon(day);
        let (mut info, bytes) = now(&aging, b"k");
        assert_eq!((StorageClass::of(&info.attributes), info.metadata_change), (class, changes), "day {day}");
        StorageClass::Standard.write(&mut info.attributes);
        info.metadata_change = 0;
        assert_eq!((&info, bytes), (&before, crate::world::body(1, 100)), "day {day}");
    }
    assert_eq!(now(&aging, b"cold").0.metadata_change, 0);
    assert_eq!(aging.counters().transitions, 2);
    let aging = aging.kill();
    assert_eq!(StorageClass::of(&now(&aging, b"k").0.attributes), StorageClass::GlacierIr);
}

/// A version that is removed by its id brings back the one before it, whose age is its own.
#[test]
fn a_version_that_becomes_the_newest_again_is_judged_as_such() {
    let aging = Aging::new(1911, Versioning::Enabled);
    aging.rules(vec![removing(1, None)]);
    let second = aging.run(|core, id| async move {
        put(&core, id, b"k", 1, 100).await.expect("stored");
        put(&core, id, b"k", 2, 100).await.expect("stored").generation
    });
    aging.run(|core, id| async move {
        let version = Version::Generation(second);
        core.delete_version(id, b"k", version, WriteCondition::default()).await.expect("removed");
    });
    aging.wait_for_noon(4);
    assert_eq!(aging.stack(b"k"), [Some(1)]);
}
