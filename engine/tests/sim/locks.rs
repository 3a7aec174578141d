//! Changes of one key follow each other, whoever makes them.

use std::cell::RefCell;
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{EtagMatch, WriteCondition};

use crate::world::{MIB, World, body, bucket, get, put, put_if};

#[test]
fn of_many_puts_that_want_a_new_key_exactly_one_wins() {
    for seed in 1..=10 {
        let world = World::new(seed, 64 * MIB, 2, 3);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        for tag in 0..20u64 {
            let (core, outcomes) = (node.any_core(), outcomes.clone());
            world.sim.spawn(async move {
                let none =
                    WriteCondition { if_none_match: Some(EtagMatch::Any), ..WriteCondition::default() };
                // Inline objects and objects with slices compete.
                let length = if tag % 2 == 0 { 100 } else { 100_000 };
                let outcome = put_if(&core, id, b"k", tag, length, none).await;
                outcomes.borrow_mut().push((tag, length, outcome.err()));
            });
        }
        world.sim.run_until_idle();
        let outcomes = outcomes.borrow().clone();
        let won: Vec<_> = outcomes.iter().filter(|(_, _, error)| error.is_none()).collect();
        assert_eq!((outcomes.len(), won.len()), (20, 1), "seed {seed}: {outcomes:?}");
        let expected =
            |error: &Option<EngineError>| matches!(error, None | Some(EngineError::PreconditionFailed));
        assert!(outcomes.iter().all(|(_, _, error)| expected(error)), "seed {seed}: {outcomes:?}");
        let (tag, length) = (won[0].0, won[0].1);
        let on = node.clone();
        world.run(async move {
            assert_eq!(get(&on.core(0), id, b"k").await.expect("read").expect("there").1, body(tag, length));
            on.checkpoint().await.expect("a checkpoint");
        });
        world.sim.run_until_idle();
        let left = node.leftovers();
        let units = if length > 65_536 { 7 } else { 0 };
        assert_eq!((left.used_units, left.reserved_units, left.held_locks), (units, 0, 0), "seed {seed}");
    }
}

#[test]
fn overwrites_and_moves_of_the_cleaner_do_not_undo_each_other() {
    for seed in 1..=6 {
        let world = World::new(seed, 96 * MIB, 1, 1);
        let node = world.open();
        let on = node.clone();
        let sim = world.sim.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            // Each extent gets objects that stay beside objects that are overwritten.
            for tag in 0..600u64 {
                let key = if tag % 3 == 0 { format!("stays-{tag}") } else { format!("changes-{}", tag % 40) };
                put(&on.core(0), id, key.as_bytes(), tag, 30_000).await.expect("stored");
            }
            id
        });
        let newest = Rc::new(RefCell::new(std::collections::BTreeMap::new()));
        for client in 0..4u64 {
            let (node, newest, sim) = (node.clone(), newest.clone(), sim.clone());
            sim.clone().spawn(async move {
                for step in 0..60 {
                    let tag = 10_000 + client * 1000 + step;
                    let key = format!("stays-{}", 3 * (client * 50 + sim.random().below(50)));
                    put(&node.core(0), id, key.as_bytes(), tag, 2000).await.expect("stored");
                    newest.borrow_mut().insert(key, tag);
                }
            });
        }
        let cleaner = node.clone();
        world.sim.spawn(async move {
            for _ in 0..5 {
                cleaner.clean().await.expect("cleaned");
            }
        });
        world.sim.run_until_idle();
        let check = |node: Rc<ringbolt_engine::sim::SimNode>| {
            let newest = newest.borrow().clone();
            world.run(async move {
                for tag in (0..600u64).step_by(3) {
                    let key = format!("stays-{tag}");
                    let (tag, length) = newest.get(&key).map_or((tag, 30_000), |tag| (*tag, 2000));
                    let found = get(&node.core(0), id, key.as_bytes()).await.expect("read").expect("there").1;
                    assert!(found == body(tag, length), "seed {seed}: {key}");
                }
            });
        };
        check(node.clone());
        world.kill(node);
        check(world.open());
    }
}
