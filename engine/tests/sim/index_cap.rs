//! The memory limit of the index: what is stored still works, nothing new is accepted, and the node
//! opens again under the same limit.

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{Core, OpenError};
use ringbolt_engine::types::{BucketId, Etag, UploadId};

use crate::world::{MIB, World, body, bucket, delete, get, list_all, put};

const CAP_BYTES: usize = 1 << 20;
const KEYS_MAX: u64 = 20_000;

fn world() -> World {
    let mut world = World::new(1, 256 * MIB, 2, 1);
    world.options.index_bytes_max = CAP_BYTES;
    world
}

fn key(number: u64) -> Vec<u8> {
    format!("objects/{:032x}", u128::from(number) << 64 | u128::from(!number)).into_bytes()
}

fn is_full<T: std::fmt::Debug>(result: Result<T, EngineError>) -> bool {
    match result {
        Ok(_) => false,
        Err(EngineError::IndexFull { .. }) => true,
        Err(other) => panic!("not refused for the index: {other}"),
    }
}

/// Puts new keys until each shard has refused some. Returns those that were stored.
async fn fill(core: &Core, id: BucketId) -> Vec<u64> {
    let (mut stored, mut refused) = (Vec::new(), 0);
    for number in 0..KEYS_MAX {
        match put(core, id, &key(number), number, 10).await {
            Ok(_) => stored.push(number),
            Err(EngineError::IndexFull { index_bytes, limit_bytes }) => {
                assert!(index_bytes >= limit_bytes && limit_bytes == CAP_BYTES as u64 / 2);
                refused += 1;
            }
            Err(other) => panic!("not refused for the index: {other}"),
        }
        // By then the other shard, which gets a random half of the keys, is full too.
        if refused == 200 {
            return stored;
        }
    }
    panic!("{KEYS_MAX} keys fit under the cap");
}

#[test]
fn at_the_cap_only_what_is_new_is_refused() {
    let world = world();
    let node = world.open();
    let on = node.clone();
    let (id, stored) = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let open = core.create_upload(id, b"before", Vec::new()).await.expect("room for an upload");
        let mut writer = core.put_part(id, b"before", open, 1, 5).await.expect("room for a part");
        writer.write(b"hello").await.expect("written");
        writer.commit_part(Etag::default(), Vec::new()).await.expect("a part");
        let stored = fill(&core, id).await;
        assert!(core.space().await.expect("known").index_bytes < CAP_BYTES as u64 * 9 / 8);
        let last = stored[stored.len() - 1];
        assert!(put(&core, id, &key(last), 7, 100).await.is_ok(), "an overwrite is not new");
        assert_eq!(get(&core, id, &key(last)).await.expect("read").expect("there").1, body(7, 100));
        assert_eq!(list_all(&core, id).await.len(), stored.len());
        assert!(is_full(core.create_bucket("another", "owner", Vec::new()).await.map(|_| ())));
        assert!(is_full(core.create_upload(id, b"new", Vec::new()).await));
        complete(&core, id, open).await;
        for number in &stored[..stored.len() / 2] {
            delete(&core, id, &key(*number)).await.expect("a delete is never refused");
        }
        for number in 0..20 {
            put(&core, id, &key(KEYS_MAX + number), 1, 10).await.expect("room again");
        }
        (id, stored)
    });
    world.close(node);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let number = stored[stored.len() - 2];
        assert_eq!(
            get(&on.core(0), id, &key(number)).await.expect("read").expect("there").1,
            body(number, 10)
        );
    });
}

/// Completes an upload, which the limit must not make impossible once the upload was created.
async fn complete(core: &Core, id: BucketId, upload: UploadId) {
    let meta = Default::default();
    let parts = vec![(1, Etag::default())];
    core.complete_upload(id, b"before", upload, parts, meta, Default::default()).await.expect("completed");
    assert_eq!(get(core, id, b"before").await.expect("read").expect("there").1, b"hello");
    delete(core, id, b"before").await.expect("deleted");
}

#[test]
fn a_full_index_opens_under_its_cap_and_not_under_a_smaller_one() {
    let mut world = world();
    let node = world.open();
    let on = node.clone();
    let stored = world.run(async move {
        let id = bucket(&on.core(0), "b").await;
        fill(&on.core(0), id).await.len()
    });
    drop(node);
    // The node opens once from the log and once from a checkpoint.
    for clean in [false, true] {
        match clean {
            true => world.close(world.open()),
            false => world.sim.kill(),
        }
        world.options.index_bytes_max = CAP_BYTES / 4;
        let Err(OpenError::Recover { error, .. }) = world.try_open() else {
            panic!("an index of four times the cap was opened");
        };
        assert!(error.to_string().contains("raise --memory"), "{error}");
        world.sim.kill();
        world.options.index_bytes_max = CAP_BYTES;
        let node = world.open();
        let on = node.clone();
        let objects = world.run(async move { on.space().await.objects });
        assert_eq!(objects, stored as u64);
        world.kill(node);
    }
}

#[test]
fn uploads_that_never_end_count_for_the_index() {
    let world = world();
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let attributes = vec![("x-amz-meta-a".to_owned(), "v".repeat(1000))];
        let mut open = Vec::new();
        let refused = loop {
            match core.create_upload(id, &key(open.len() as u64), attributes.clone()).await {
                Ok(upload) => open.push(upload),
                refused => break refused,
            }
        };
        assert!(is_full(refused) && open.len() > 200, "{} uploads", open.len());
        let empty = on.space().await.index_bytes;
        for (number, upload) in open.iter().enumerate() {
            core.abort_upload(id, &key(number as u64), *upload).await.expect("aborted");
        }
        let freed = empty - on.space().await.index_bytes;
        assert!(freed > open.len() as u64 * 1000, "{freed} bytes freed by {} uploads", open.len());
    });
}
