//! The node's records: what was acknowledged is there after every crash, whole, and every core was told.

use std::cell::RefCell;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use ringbolt_engine::types::NodeRecords;

use crate::world::{MIB, World, bucket, put};

fn puts(names: &[&str], value: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    names.iter().map(|name| ((*name).to_owned(), Some(value.to_vec()))).collect()
}

fn removes(names: &[&str]) -> Vec<(String, Option<Vec<u8>>)> {
    names.iter().map(|name| ((*name).to_owned(), None)).collect()
}

fn names(found: &NodeRecords) -> Vec<&str> {
    found.records.iter().map(|record| &*record.name).collect()
}

async fn all(core: &Core) -> NodeRecords {
    core.node_records("").await
}

#[test]
fn a_change_is_told_to_every_core_before_it_is_acknowledged() {
    let world = World::new(2101, 96 * MIB, 2, 3);
    let node = world.open();
    let told: Rc<RefCell<Vec<(usize, u64, usize)>>> = Rc::default();
    for index in 0..3 {
        let told = told.clone();
        node.core(index).watch_node_records(Rc::new(move |change| {
            told.borrow_mut().push((index, change.revision, change.changes.len()));
        }));
    }
    world.run(async move {
        for revision in 1..=5 {
            let change = puts(&["one", "two"], &[revision as u8; 10]);
            assert_eq!(node.core(revision as usize).change_node_records(change, None).await, Ok(revision));
            let mut heard = told.borrow().clone();
            heard.retain(|(_, at, _)| *at == revision);
            heard.sort_unstable();
            assert_eq!(heard, [(0, revision, 2), (1, revision, 2), (2, revision, 2)]);
        }
        let record = node.core(2).node_record("two").await.expect("it is there");
        assert_eq!(*record.value, [5; 10]);
        assert_eq!(node.core(1).node_record("tw").await, None, "the beginning of a name is no name");
    });
}

#[test]
fn a_change_for_another_revision_changes_nothing() {
    let world = World::new(2102, 96 * MIB, 1, 2);
    let node = world.open();
    world.run(async move {
        let (one, two) = (node.core(0), node.core(1));
        one.change_node_records(puts(&["a"], b"1"), Some(0)).await.expect("nothing was changed before");
        let refused = two.change_node_records(removes(&["a"]), Some(0)).await;
        assert_eq!(refused, Err(EngineError::NodeRecordsChanged { revision: 1 }));
        assert_eq!(names(&all(&two).await), ["a"]);
        two.change_node_records(removes(&["a"]), Some(1)).await.expect("it is the revision");
        assert_eq!(all(&one).await, NodeRecords { revision: 2, records: Vec::new() });
        let long = "n".repeat(257);
        let refused = one.change_node_records(puts(&[&long], b"1"), None).await;
        assert_eq!(refused, Err(EngineError::NodeNameLength { length: 257, limit: 256 }));
        let most = [&"n".repeat(256)[..], &"m".repeat(256)];
        one.change_node_records(puts(&most, &vec![7; 64 << 10]), None).await.expect("it fits");
    });
}

/// What was removed does not come back, and no revision is given twice, whether the log or a checkpoint
/// has them.
#[test]
fn records_and_their_revision_are_there_after_every_end() {
    for seed in 2110..2130 {
        let world = World::new(seed, 96 * MIB, 2, 2);
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            let core = on.core(1);
            core.change_node_records(puts(&["kept", "gone", "changed"], b"old"), None).await.expect("1");
            if seed % 2 == 0 {
                on.checkpoint().await.expect("written");
            }
            core.change_node_records(removes(&["gone"]), None).await.expect("2");
            core.change_node_records(puts(&["changed"], b"new"), None).await.expect("3");
            if seed % 3 == 0 {
                on.checkpoint().await.expect("written");
            }
        });
        match seed % 4 {
            0 => world.close(node),
            1 => world.kill(node),
            _ => world.crash(node),
        }
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            let found = all(&on.core(0)).await;
            assert_eq!((names(&found), found.revision), (vec!["changed", "kept"], 3), "seed {seed}");
            assert_eq!(*found.records[0].value, *b"new", "seed {seed}");
            let all_of_it = removes(&["changed", "kept"]);
            assert_eq!(on.core(1).change_node_records(all_of_it, Some(3)).await, Ok(4), "seed {seed}");
            on.checkpoint().await.expect("written");
        });
        world.crash(node);
        let node = world.open();
        world.run(async move {
            let expected = NodeRecords { revision: 4, records: Vec::new() };
            assert_eq!(all(&node.core(0)).await, expected, "seed {seed}");
        });
    }
}

/// Many records lie in several chunks of a checkpoint.
#[test]
fn many_records_go_through_a_checkpoint() {
    let mut world = World::new(2140, 96 * MIB, 1, 2);
    world.options.checkpoint_cut.payload_bytes = 2000;
    world.options.checkpoint_cut.names = 7;
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        for group in 0..40 {
            let change = (0..50).map(|number| (format!("n/{group:02}/{number:02}"), Some(vec![group; 30])));
            on.core(0).change_node_records(change.collect(), None).await.expect("changed");
        }
        on.checkpoint().await.expect("written");
    });
    world.kill(node);
    let node = world.open();
    world.run(async move {
        let found = node.core(1).node_records("n/17/").await;
        assert_eq!((found.records.len(), found.revision), (50, 40));
        assert!(found.records.iter().all(|record| *record.value == [17; 30]));
        assert_eq!(all(&node.core(1)).await.records.len(), 2000);
    });
}

/// A key must be revoked whatever else there is no room for.
#[test]
fn a_full_drive_still_removes_records_and_changes_them_in_their_size() {
    let world = World::new(2150, 48 * MIB, 1, 1);
    let node = world.open();
    world.run(async move {
        let core = node.core(0);
        core.change_node_records(puts(&["a", "b"], b"on"), None).await.expect("there is room");
        let id = bucket(&core, "b").await;
        let mut tag = 0;
        loop {
            tag += 1;
            match put(&core, id, format!("k-{tag}").as_bytes(), tag, 60_000).await {
                Ok(_) => {}
                Err(EngineError::NoSpace { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let refused = core.change_node_records(puts(&["c"], &[7; 60_000]), None).await;
        assert!(matches!(refused, Err(EngineError::NoSpace { .. })), "{refused:?}");
        core.change_node_records(puts(&["a"], b"no"), None).await.expect("it is as long as before");
        core.change_node_records(removes(&["b"]), None).await.expect("it only removes");
        assert_eq!(names(&all(&core).await), ["a"]);
    });
}

/// The outcome of a change under which the drive failed is known at the next start, and is all or
/// nothing.
#[test]
fn a_change_that_a_crash_interrupts_is_there_whole_or_not_at_all() {
    let mut seen = [0, 0];
    for seed in 1..=60 {
        let world = World::new(seed, 96 * MIB, 1, 2);
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            on.core(0).change_node_records(puts(&["a", "b", "c"], b"old"), None).await.expect("changed");
        });
        let (on, sim) = (node.clone(), world.sim.clone());
        world.sim.spawn(async move {
            sim.pause_us(50).await;
            let mut change = puts(&["a", "b"], b"new");
            change.extend(removes(&["c"]));
            // Nobody hears of the outcome.
            let _ = on.core(1).change_node_records(change, None).await;
        });
        world.sim.run_steps(world.sim.random().below(40));
        world.crash(node);
        let node = world.open();
        let found = world.run(async move { all(&node.core(0)).await });
        let values: Vec<&[u8]> = found.records.iter().map(|record| &*record.value).collect();
        let is_new = found.revision == 2;
        let expected: &[&[u8]] = if is_new { &[b"new", b"new"] } else { &[b"old", b"old", b"old"] };
        assert_eq!(values, expected, "seed {seed}: {found:?}");
        seen[usize::from(is_new)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "both outcomes are in it: {seen:?}");
}
