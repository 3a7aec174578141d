//! Cores that stand still, receive messages late or have hardly room for them, and clocks that
//! jump.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::sim::Odds;

use crate::world::{MIB, World, body, bucket, delete, get, list_all, put};

/// A mailbox that did not notify again after it was full left its sender waiting for ever.
#[test]
fn nothing_is_lost_in_the_smallest_mailboxes_whatever_comes_late() {
    for capacity in 1..=8 {
        let mut world = World::new(capacity as u64, 96 * MIB, 3, 3);
        world.options.mailbox_capacity = capacity;
        world.options.late_messages = Odds { one_in: 4, most_us: 200_000 };
        world.options.core_stalls = Odds { one_in: 100, most_us: 3_000_000 };
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move { bucket(&on.core(0), "b").await });
        let ended = Rc::new(Cell::new(0));
        for client in 0..12u64 {
            let (core, ended) = (node.core(client as usize), ended.clone());
            node.spawn(&node.core(client as usize), async move {
                for round in 0..6u64 {
                    let (key, length) = (format!("{client}/{round}"), [100, 70_000][round as usize % 2]);
                    put(&core, id, key.as_bytes(), client, length).await.expect("stored");
                    let found = get(&core, id, key.as_bytes()).await.expect("read").expect("there").1;
                    assert!(found == body(client, length), "{key}");
                }
                delete(&core, id, format!("{client}/0").as_bytes()).await.expect("deleted");
                ended.set(ended.get() + 1);
            });
        }
        world.sim.run_until_idle();
        assert_eq!(ended.get(), 12, "clients that came to their end with mailboxes of {capacity}");
        let on = node.clone();
        assert_eq!(world.run(async move { list_all(&on.core(1), id).await.len() }), 60);
        assert!(world.sim.now_us() > 3_000_000, "cores did stand still");
    }
}

#[test]
fn a_core_that_stands_still_keeps_what_waits_for_it_and_nothing_else() {
    let world = World::new(1, 96 * MIB, 2, 2);
    let node = world.open();
    let (on, sim) = (node.clone(), world.sim.clone());
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    let start = sim.now_us();
    world.sim.pause_core(1, 5_000_000);
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    for number in 0..16u64 {
        let (core, sim, times) = (node.core(0), sim.clone(), times.clone());
        world.sim.spawn(async move {
            put(&core, id, &[number as u8], number, 100).await.expect("stored");
            times.borrow_mut().push(sim.now_us() - start);
        });
    }
    world.sim.run_until_idle();
    let times = times.borrow();
    let at_once = times.iter().filter(|time| **time < 100_000).count();
    let late = times.iter().filter(|time| **time >= 5_000_000).count();
    assert!(at_once > 0 && late > 0 && at_once + late == 16, "{times:?}");
}

#[test]
fn the_wall_clock_jumps_and_the_other_one_goes_on() {
    let world = World::new(2, 64 * MIB, 1, 1);
    let (node, sim) = (world.open(), world.sim.clone());
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        let mut times = Vec::new();
        for by_ms in [0, -3_600_000, 7_200_000] {
            let before = sim.now_us();
            sim.jump_wall_clock(by_ms);
            assert_eq!(sim.now_us(), before);
            times.push(put(&core, id, b"k", 1, 10).await.expect("stored").modified_ms);
            let known = core.head(id, b"k").await.expect("read").expect("there").modified_ms;
            assert_eq!(Some(&known), times.last(), "the last one counts, whatever its time is");
        }
        assert!(times[1] < times[0] && times[0] < times[2], "{times:?}");
    });
}
