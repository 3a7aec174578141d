//! Small objects written over and over fit on a drive many times smaller than all that was written.

use crate::world::{MIB, World, body, bucket, delete, get, put};

/// Overwrites `keys` objects of `length` bytes until `times` the drive's size was written.
fn churn(seed: u64, size_bytes: u64, shards: u16, keys: u64, length: usize, times: u64) {
    let mut world = World::new(seed, size_bytes, shards, 2);
    world.options.checkpoint_after_bytes = 16 << 20;
    let node = world.open();
    let on = node.clone();
    let sim = world.sim.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        let total = size_bytes * times / length as u64;
        let mut newest = std::collections::BTreeMap::new();
        for tag in 0..total {
            // Some keys are hot, most are not: live and dead mix in every extent.
            let key = if tag % 4 == 0 { tag / 4 % keys } else { sim.random().below(keys / 8 + 1) };
            let name = format!("key-{key:05}");
            let stored = put(&on.any_core(), id, name.as_bytes(), tag, length).await;
            stored.unwrap_or_else(|error| panic!("seed {seed}, put {tag} of {total}: {error}"));
            newest.insert(name, tag);
            if tag % 64 == 0 {
                let (name, tag) =
                    newest.iter().nth(sim.random().below(newest.len() as u64) as usize).expect("some");
                let found = get(&on.any_core(), id, name.as_bytes()).await.expect("read").expect("there").1;
                assert!(found == body(*tag, length), "seed {seed}: {name}");
            }
        }
        for (name, tag) in &newest {
            let found = get(&on.any_core(), id, name.as_bytes()).await.expect("read").expect("there").1;
            assert!(found == body(*tag, length), "seed {seed}: {name}");
        }
        id
    });
    world.sim.run_until_idle();
    let node = world.reopen_on(node, 1);
    let on = node.clone();
    world.run(async move {
        on.space().await;
        let page = crate::world::list_all(&on.core(0), id).await;
        assert_eq!(page.len() as u64, keys);
        for (name, _) in page {
            get(&on.core(0), id, &name).await.expect("read").expect("there");
            delete(&on.core(0), id, &name).await.expect("deleted");
        }
    });
}

/// Several clients overwrite small objects of their own while checkpoints and the cleaner run, and others read.
fn crowded(seed: u64) {
    let mut world = World::new(seed, 96 * MIB, 2, 2);
    world.options.dead_log_bytes_max = 2 << 20;
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move { bucket(&on.core(0), "b").await });
    for client in 0..8u64 {
        let (node, sim) = (node.clone(), world.sim.clone());
        world.sim.spawn(async move {
            let mut newest = [0u64; 40];
            for tag in 1..120u64 {
                let key = if tag <= 40 { tag - 1 } else { sim.random().below(40) };
                let name = format!("{client}/{key:02}");
                put(&node.any_core(), id, name.as_bytes(), client * 1000 + tag, 45_000)
                    .await
                    .expect("stored");
                newest[key as usize] = client * 1000 + tag;
                let key = sim.random().below(40);
                let name = format!("{client}/{key:02}");
                let found = get(&node.any_core(), id, name.as_bytes()).await.expect("readable");
                let tag = newest[key as usize];
                assert_eq!(found.is_some(), tag > 0, "seed {seed}: {name}");
                assert!(found.is_none_or(|(_, bytes)| bytes == body(tag, 45_000)), "seed {seed}: {name}");
            }
        });
    }
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move {
        on.space().await;
        assert_eq!(crate::world::list_all(&on.core(0), id).await.len(), 8 * 40);
    });
}

#[test]
fn clients_the_cleaner_and_checkpoints_go_on_side_by_side() {
    crate::persistence::seeds(4).into_iter().for_each(crowded);
}

#[test]
fn a_small_set_is_overwritten_for_ever() {
    churn(1, 64 * MIB, 1, 60, 40_000, 5);
    churn(2, 96 * MIB, 2, 300, 9_000, 2);
}

#[test]
fn a_set_of_a_third_of_the_drive_is_overwritten_for_ever() {
    churn(3, 96 * MIB, 1, 600, 50_000, 4);
}
