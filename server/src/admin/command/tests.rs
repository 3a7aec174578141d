//! Commands on a node whose drive is simulated.

use super::answer::Failure;
use super::{bucket, clock, empty};
use crate::memory::RequestMemory;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{
    Attributes, BucketCreated, BucketId, Lock, MetadataChange, ObjectMeta, Versioning, WriteCondition,
};
use serde_json::{Value, json};

const BUCKET: &str = "photos";

/// Runs `test` on a new node of two cores with a bucket.
fn with_bucket<T: Future<Output = ()> + 'static>(test: impl FnOnce(Core, BucketId, RequestMemory) -> T) {
    let sim = Simulator::new(1);
    let drives = format_sim_drives(&sim, 1, (128 << 20, 1), 3);
    let options = SimOptions { cores: 2, ..SimOptions::default() };
    let opened = sim.block_on(SimNode::open(sim.clone(), drives, options));
    let node = opened.unwrap_or_else(|error| panic!("{error}"));
    let core = node.core(1);
    let makes = core.clone();
    let id = sim.block_on(async move {
        match makes.create_bucket(BUCKET, "1", Vec::new()).await.unwrap() {
            BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => bucket.id,
        }
    });
    sim.block_on(test(core, id, RequestMemory::new(16 << 20)));
    sim.kill();
}

async fn put(
    core: &Core,
    id: BucketId,
    key: &str,
    length: usize,
    attributes: Attributes,
) -> Result<u64, EngineError> {
    let mut writer = core.put(id, key.as_bytes(), length as u64).await?;
    writer.write(&vec![7; length]).await?;
    let meta = ObjectMeta { attributes, ..ObjectMeta::default() };
    writer.commit(meta, WriteCondition::default()).await.map(|info| info.generation)
}

fn held() -> Attributes {
    let mut attributes = Vec::new();
    Lock { hold: true, retention: None }.write(&mut attributes);
    attributes
}

fn refusal(outcome: Result<Value, Failure>) -> u16 {
    outcome.expect_err("it is refused").status.as_u16()
}

#[test]
fn a_quota_is_set_shown_and_removed() {
    with_bucket(|core, id, memory| async move {
        put(&core, id, "k", 1000, Vec::new()).await.unwrap();
        let shown = bucket::set_quota(&core, BUCKET, br#"{"bytes": 1500}"#).await.unwrap();
        assert_eq!(shown["quota"], json!({ "bytes": 1500, "versions": null }));
        assert_eq!(
            shown["usage"],
            json!({ "objects": 1, "versions": 1, "delete_markers": 0, "bytes": 1000 })
        );
        let refused = put(&core, id, "l", 501, Vec::new()).await;
        assert!(matches!(refused, Err(EngineError::QuotaExceeded { .. })), "{refused:?}");
        let list = bucket::list(&memory, &core).await.unwrap();
        assert_eq!(list["buckets"], json!([shown]));
        for body in
            ["", "{}", "[1]", r#"{"bytes": -1}"#, r#"{"bytes": 1, "objects": 2}"#, r#"{"bytes": null}"#]
        {
            assert_eq!(refusal(bucket::set_quota(&core, BUCKET, body.as_bytes()).await), 400, "{body}");
        }
        assert_eq!(refusal(bucket::set_quota(&core, "videos", br#"{"bytes": 1}"#).await), 404);
        assert_eq!(bucket::remove_quota(&core, BUCKET).await.unwrap()["quota"], Value::Null);
        put(&core, id, "l", 501, Vec::new()).await.unwrap();
    });
}

#[test]
fn a_bucket_is_emptied_of_all_but_what_is_locked() {
    with_bucket(|core, id, memory| async move {
        core.set_versioning(id, Versioning::Enabled).await.unwrap();
        for key in ["a", "b", "c"] {
            put(&core, id, key, 10, Vec::new()).await.unwrap();
            core.delete(id, key.as_bytes(), WriteCondition::default()).await.unwrap();
        }
        let locked = put(&core, id, "b", 10, held()).await.unwrap();
        for key in ["u", "v"] {
            core.create_upload(id, key.as_bytes(), Vec::new()).await.unwrap();
        }
        let done = empty::step(&memory, &core, BUCKET, b"").await.unwrap();
        assert_eq!(done["removed"], json!({ "versions": 3, "delete_markers": 3, "uploads": 2 }));
        let version = core.id_of_version(id, b"b", locked).to_string();
        assert_eq!(done["locked_versions"], json!([{ "key": "b", "version_id": version }]));
        assert_eq!((&done["locked"], &done["more"]), (&json!(1), &json!(false)));
        assert_eq!(refusal(bucket::delete(&core, BUCKET).await), 409);
        let change = MetadataChange { generation: locked, ..MetadataChange::default() };
        core.update_metadata(id, b"b", change, WriteCondition::default()).await.unwrap();
        let done = empty::step(&memory, &core, BUCKET, b"{}").await.unwrap();
        assert_eq!((&done["locked"], &done["removed"]["versions"]), (&json!(0), &json!(1)));
        bucket::delete(&core, BUCKET).await.unwrap();
        assert_eq!(refusal(empty::step(&memory, &core, BUCKET, b"").await), 404);
        assert_eq!(refusal(bucket::show(&core, BUCKET).await), 404);
    });
}

/// Locked versions that stay do not keep the steps from coming to the end.
#[test]
fn steps_are_bounded_and_end() {
    with_bucket(|core, id, memory| async move {
        for number in 0..1203 {
            let attributes = if number % 400 == 0 { held() } else { Vec::new() };
            put(&core, id, &format!("k-{number:04}"), 1, attributes).await.unwrap();
        }
        for number in 0..1005 {
            core.create_upload(id, format!("u-{number}").as_bytes(), Vec::new()).await.unwrap();
        }
        let (mut sums, mut steps, mut after) = ([0, 0, 0], 0, Value::Null);
        loop {
            let body = json!({ "after": after }).to_string();
            let done = empty::step(&memory, &core, BUCKET, body.as_bytes()).await.unwrap();
            let numbers = [&done["removed"]["versions"], &done["removed"]["uploads"], &done["locked"]]
                .map(|number| number.as_u64().unwrap());
            assert!(numbers.iter().sum::<u64>() <= 1000, "{done}");
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
            steps += 1;
            if done["more"] == false {
                break;
            }
            after = done["next"].clone();
        }
        assert_eq!((sums, steps), ([1199, 1005, 4], 3));
        let bad = br#"{"after": "zz"}"#;
        assert_eq!(refusal(empty::step(&memory, &core, BUCKET, bad).await), 400);
    });
}

#[test]
fn the_clock_is_shown_and_confirmed() {
    with_bucket(|core, id, _| async move {
        let before = clock::show(&core).await.unwrap();
        assert_eq!((&before["anything_was_locked"], &before["is_believed"]), (&json!(false), &json!(true)));
        put(&core, id, "k", 1, held()).await.unwrap();
        let shown = clock::confirm(&core).await.unwrap();
        assert_eq!((&shown["anything_was_locked"], &shown["ahead_ms"]), (&json!(true), &json!(0)));
    });
}
