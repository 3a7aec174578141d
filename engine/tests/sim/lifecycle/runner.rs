//! How the runner goes about it: step by step, again after a kill, beside clients, and not at all
//! where nothing is due.

use std::cell::Cell;
use std::rc::Rc;

use ringbolt_engine::lifecycle::{Action, DueCount, Expiration, LifecycleRules, Rule};
use ringbolt_engine::node::LifecycleOptions;
use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::types::{ConfigKind, UploadQuery, Versioning};

use super::help::{Aging, DAY_MS, expiring, options, put_with, removing, rule, stack, tagged, under};
use crate::world::{body, bucket, delete, get, put};

/// Versions that one step of the walk looks at.
const STEP: usize = 256;

#[test]
fn what_is_known_of_a_stack_goes_over_the_border_of_a_step() {
    // The marker is the last version of a step, the first of the next, and in between.
    for before in [STEP - 2, STEP - 1, STEP] {
        let aging = Aging::with_shards(1930, 1, Versioning::Enabled);
        aging.run(|core, id| async move {
            for number in 0..before {
                put(&core, id, format!("a{number:04}").as_bytes(), 1, 10).await.expect("stored");
            }
            put(&core, id, b"b", 1, 10).await.expect("stored");
            delete(&core, id, b"b").await.expect("marked");
            delete(&core, id, b"c").await.expect("marked");
        });
        aging.rules(vec![Rule { expiration: Some(Expiration::ExpiredDeleteMarker), ..rule("markers") }]);
        aging.wait_for_noon(1);
        assert_eq!(aging.stack(b"b"), [None, Some(1)], "{before} before it");
        assert!(aging.stack(b"c").is_empty(), "{before} before it");
    }
}

#[test]
fn versions_are_counted_over_the_border_of_a_step() {
    const KEPT: usize = 300;
    let aging = Aging::with_shards(1931, 1, Versioning::Enabled);
    aging.run(|core, id| async move {
        for number in 0..100 {
            put(&core, id, format!("a{number:04}").as_bytes(), 1, 10).await.expect("stored");
        }
        for tag in 0..400 {
            put(&core, id, b"k", tag, 10).await.expect("stored");
        }
    });
    aging.rules(vec![removing(1, Some(KEPT as u32))]);
    aging.wait_for_noon(3);
    let left = aging.stack(b"k");
    let expected: Vec<Option<u64>> = (0..400).rev().take(1 + KEPT).map(Some).collect();
    assert_eq!(left, expected);
    let counters = aging.counters();
    assert_eq!((counters.versions_removed, counters.overtaken), (400 - 1 - KEPT as u64, 0), "in one pass");
}

#[test]
fn a_pass_that_a_kill_ends_is_finished_after_the_restart() {
    const COUNT: u64 = 300;
    for seed in 1940..1944 {
        let aging = Aging::new(seed, Versioning::Enabled);
        aging.run(|core, id| async move {
            for tag in 0..COUNT {
                put(&core, id, format!("k{tag:03}").as_bytes(), tag, 10).await.expect("stored");
            }
        });
        aging.wait_for_noon(2);
        let aging = aging.kill();
        aging.rules(vec![expiring(1)]);
        aging.start(LifecycleOptions { operations_per_second: 20, ..options() });
        let slept = aging.world.sim.sleep_us(2_000_000 + seed * 1_000);
        aging.world.run(slept);
        let done = aging.counters().markers_added;
        assert!(0 < done && done < COUNT, "{done} of {COUNT} before the kill");
        let aging = aging.kill();
        aging.start(options());
        aging.wait_for_noon(4);
        aging.run(|core, id| async move {
            for tag in 0..COUNT {
                let found = stack(&core, id, format!("k{tag:03}").as_bytes()).await;
                assert_eq!(found, [(None, false), (Some(tag), false)], "seed {seed}");
            }
        });
        // What the last commit before the kill had queued may have been durable and not counted.
        assert!(aging.counters().markers_added <= COUNT - done, "seed {seed}");
    }
}

/// Clients put objects while older ones of the same keys are due. What was acknowledged is there.
#[test]
fn a_put_beside_an_expiry_is_never_lost() {
    const KEYS: u64 = 12;
    let mut overtaken = 0;
    for (seed, versioning) in
        (1950..1956).zip([Versioning::Enabled, Versioning::Off, Versioning::Suspended].into_iter().cycle())
    {
        let aging = Aging::new(seed, versioning);
        aging.run(|core, id| async move {
            for key in 0..KEYS {
                put(&core, id, &[b'k', key as u8], key, 10).await.expect("stored");
            }
        });
        aging.rules(vec![expiring(1)]);
        // The objects are due at the beginning of day 2, and clients work around it.
        let begin_us = 2 * DAY_MS * 1000 - 20_000;
        let ended = Rc::new(Cell::new(0));
        for key in 0..KEYS {
            let (node, id, sim, ended) =
                (aging.node.clone(), aging.id, aging.world.sim.clone(), ended.clone());
            aging.world.sim.spawn(async move {
                let wait_us = begin_us + sim.random().below(40_000);
                sim.sleep_us(wait_us - sim.now_us()).await;
                let (core, name) = (node.any_core(), [b'k', key as u8]);
                for round in 1..4 {
                    let tag = 100 * round + key;
                    put(&core, id, &name, tag, 10).await.expect("stored");
                    sim.sleep_us(sim.random().below(8_000)).await;
                    let found = get(&core, id, &name).await.expect("read");
                    let found = found.unwrap_or_else(|| panic!("seed {seed}: an acknowledged put is gone"));
                    assert!(found.1 == body(tag, 10), "seed {seed}");
                }
                ended.set(ended.get() + 1);
            });
        }
        aging.wait_for_noon(2);
        assert_eq!(ended.get(), KEYS, "seed {seed}");
        aging.run(|core, id| async move {
            for key in 0..KEYS {
                let found = get(&core, id, &[b'k', key as u8]).await.expect("read").expect("there");
                assert!(found.1 == body(300 + key, 10), "seed {seed}");
            }
        });
        overtaken += aging.counters().overtaken;
        aging.wait_for_noon(4);
        aging.run(|core, id| async move {
            for key in 0..KEYS {
                assert!(get(&core, id, &[b'k', key as u8]).await.expect("read").is_none(), "seed {seed}");
            }
        });
    }
    assert!(overtaken > 0, "no client was ever there first");
}

#[test]
fn uploads_are_aborted_by_their_age() {
    let aging = Aging::new(1960, Versioning::Off);
    let aborting = Rule { abort_uploads_days: Some(1), ..rule("abort") };
    aging.rules(vec![under("a/", aborting.clone()), tagged("k", "v", aborting)]);
    aging.run(|core, id| async move {
        for key in [&b"a/1"[..], b"a/2", b"b/1"] {
            core.create_upload(id, key, Vec::new()).await.expect("begun");
        }
    });
    let uploads = |aging: &Aging| {
        aging.run(|core, id| async move {
            let query = UploadQuery { max_items: 100, ..UploadQuery::default() };
            core.list_uploads(id, &query).await.expect("listed").items.len()
        })
    };
    aging.wait_for_noon(1);
    aging.run(|core, id| async move { core.create_upload(id, b"a/young", Vec::new()).await.expect("begun") });
    assert_eq!(uploads(&aging), 4);
    aging.wait_for_noon(2);
    assert_eq!(uploads(&aging), 2, "the one of another prefix, and the young one");
    assert_eq!(aging.counters().uploads_aborted, 2);
    aging.wait_for_noon(3);
    assert_eq!(uploads(&aging), 1);
}

#[test]
fn nothing_is_looked_at_until_something_may_be_due() {
    let aging = Aging::new(1961, Versioning::Enabled);
    let other = aging.run(|core, id| async move {
        let other = bucket(&core, "other").await;
        for tag in 0..50 {
            put(&core, id, format!("a/{tag}").as_bytes(), tag, 10).await.expect("stored");
            put(&core, id, format!("b/{tag}").as_bytes(), tag, 10).await.expect("stored");
            put(&core, other, format!("a/{tag}").as_bytes(), tag, 10).await.expect("stored");
        }
        other
    });
    aging.wait_for_noon(1);
    assert_eq!(aging.counters().examined, 0, "no bucket has rules");
    aging.rules(vec![under("a/", expiring(10))]);
    aging.wait_for_noon(2);
    let looked = aging.counters();
    // Once after the rules were set, and once after the day.
    assert_eq!((looked.examined, looked.passes), (2 * 50, 2 * 2), "only what is under the prefix");
    let slept = aging.world.sim.sleep_us((DAY_MS / 2 - 1000) * 1000);
    aging.world.run(slept);
    assert_eq!(aging.counters(), looked, "the day goes on");
    aging.wait_for_noon(3);
    assert_eq!(aging.counters().examined, 3 * 50);
    // Without rules nothing happens any more, and a bucket that goes does not matter.
    aging.run(|core, id| async move {
        core.set_bucket_config(id, ConfigKind::LIFECYCLE, None).await.expect("removed");
        assert_eq!(core.bucket("b").expect("there").lifecycle, None);
        assert_eq!(core.bucket_usage(other).await.expect("usage").keys, 50);
    });
    aging.wait_for_noon(20);
    assert_eq!(aging.counters().examined, 3 * 50);
}

#[test]
fn a_preview_counts_what_is_due_and_changes_nothing() {
    let aging = Aging::new(1962, Versioning::Enabled);
    aging.run(|core, id| async move {
        for tag in 0..300u64 {
            put(&core, id, format!("a/{tag:03}").as_bytes(), tag, 10).await.expect("stored");
        }
        put_with(&core, id, b"t/yes", 1, Vec::new(), &[("k", "v")]).await;
        put_with(&core, id, b"t/no", 1, Vec::new(), &[("k", "w")]).await;
        for tag in 0..3 {
            put(&core, id, b"z", tag, 10).await.expect("stored");
        }
        core.create_upload(id, b"u", Vec::new()).await.expect("begun");
    });
    aging.wait_for_noon(2);
    let rules = LifecycleRules {
        rules: vec![
            under("a/", expiring(1)),
            Rule { id: "tagged".to_owned(), ..tagged("k", "v", expiring(1)) },
            removing(1, Some(1)),
            Rule { abort_uploads_days: Some(1), ..rule("abort") },
        ],
    };
    let preview = aging.run(|core, id| async move {
        let before = core.bucket_usage(id).await.expect("usage");
        let preview = core.preview_lifecycle(id, &rules, 4).await.expect("counted");
        assert_eq!(core.bucket_usage(id).await.expect("usage"), before);
        assert_eq!(core.bucket("b").expect("there").lifecycle, None);
        preview
    });
    let count =
        |rule: &str, action, versions, bytes| DueCount { rule: rule.to_owned(), action, versions, bytes };
    let mut due = preview.due.clone();
    due.sort_by(|left, right| left.rule.cmp(&right.rule));
    let expected = [
        count("abort", Action::AbortUpload, 1, 0),
        count("expiring", Action::AddMarker, 300, 3000),
        count("removing", Action::RemoveVersion, 1, 10),
        count("tagged", Action::AddMarker, 1, 100),
    ];
    assert_eq!(due, expected);
    assert_eq!(preview.examined, 306);
    let examples: Vec<&[u8]> = preview.examples.iter().map(|example| example.key.as_slice()).collect();
    assert_eq!(examples, [&b"a/000"[..], b"a/001", b"a/002", b"a/003"]);
    assert_eq!(aging.counters().examined, 0);
}

/// Versions whose tags can not be read are tried again at the next look, and not at once.
#[test]
fn what_can_not_be_done_waits_for_the_next_look() {
    let aging = Aging::with_shards(1941, 1, Versioning::Off);
    aging.rules(vec![tagged("a", "b", expiring(1))]);
    aging.run(|core, id| async move {
        put_with(&core, id, b"k", 1, Vec::new(), &[("a", "b")]).await;
    });
    let device = aging.world.drives[0].clone();
    device.set_faults(Faults { fail_reads: true, ..Faults::default() });
    aging.wait_for_noon(3);
    device.set_faults(Faults::default());
    let counters = aging.counters();
    // A look every five seconds over two days of a minute, and some at their beginnings.
    assert!(counters.errors > 0 && counters.passes < 60, "{counters:?}");
    aging.wait_for_noon(4);
    assert!(aging.stack(b"k").is_empty(), "it is done when it can be");
}

/// A clock that was ahead for a while, by less than is believed, removes nothing once it is right.
#[test]
fn what_is_not_due_by_the_wall_clock_stays() {
    let aging = Aging::with_shards(1942, 1, Versioning::Off);
    aging.run(|core, _| async move {
        core.create_bucket_with("locked", "owner", Vec::new(), true, Vec::new()).await.expect("made");
    });
    aging.world.sim.jump_wall_clock(20 * 60 * 60 * 1000);
    aging.run(|core, _| async move { core.lock_time().await.expect("answered").expect("time is kept") });
    aging.world.sim.jump_wall_clock(-20 * 60 * 60 * 1000);
    aging.run(|core, id| async move { drop(put(&core, id, b"k", 7, 10).await.expect("stored")) });
    aging.rules(vec![expiring(30)]);
    aging.wait_for_noon(2);
    assert_eq!(aging.stack(b"k"), [Some(7)]);
}
