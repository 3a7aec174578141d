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

#[test]
fn a_small_set_is_overwritten_for_ever() {
    churn(1, 64 * MIB, 1, 60, 40_000, 5);
    churn(2, 96 * MIB, 2, 300, 9_000, 2);
}

#[test]
fn a_set_of_a_third_of_the_drive_is_overwritten_for_ever() {
    churn(3, 96 * MIB, 1, 600, 50_000, 4);
}
