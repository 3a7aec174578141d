//! The engine's data path on the simulator, for an instruction counter: one seed, no clock, the same run every time.
//!
//! `simulated_path PHASE COUNT [COPIES]` prepares a node of two cores and four shards, runs PHASE COUNT times, and
//! ends. With COPIES, it has so many drives, and each byte is on all of them.
//! PHASE is one of put-small, put-large, get-small, get-large, get-cached, list, delete. The script
//! `benches/instructions` runs it under callgrind with two counts and prints the difference for one operation.

use ringbolt_engine::node::Core;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_set};
use ringbolt_engine::types::{BucketCreated, BucketId, Etag, ListQuery, ObjectMeta, WriteCondition};

const SEED: u64 = 17;
const DRIVE_BYTES: u64 = 1 << 30;
const SHARDS: u16 = 4;
const CORES: usize = 2;
/// Objects that reads and listings find.
const PREPARED: u64 = 2_000;
const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 1 << 20;
const LARGE_PREPARED: u64 = 16;
const PAGE: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    // `cargo test` runs it without a phase.
    let (Some(phase), Some(count)) = (arguments.first(), arguments.get(1)) else { return };
    let copies: u8 = arguments.get(2).map_or(1, |copies| copies.parse().expect("COPIES is a number"));
    let count: u64 = count.parse().expect("COUNT is a number");
    let phase = phase.clone();
    let sim = Simulator::new(SEED);
    let drives = format_sim_set(&sim, copies.into(), (DRIVE_BYTES, 4), SHARDS, copies - 1);
    // A cache that keeps nothing is asked for by the phases that read from the drive.
    let read_cache_bytes_per_core = if phase == "get-cached" { 64 << 20 } else { 0 };
    let options = SimOptions {
        cores: CORES,
        checkpoint_after_bytes: u64::MAX,
        dead_log_bytes_max: u64::MAX,
        read_cache_bytes_per_core,
        ..SimOptions::default()
    };
    let opened = SimNode::open(sim.clone(), drives, options);
    let Ok(node) = sim.block_on(opened) else { panic!("the simulated node opens") };
    let core = node.core(0);
    sim.block_on(async move {
        let bucket = prepare(&core).await;
        run(&core, bucket, &phase, count).await;
    });
}

async fn prepare(core: &Core) -> BucketId {
    let created = core.create_bucket("bucket", "owner", Vec::new()).await.expect("a bucket");
    let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = created;
    for at in 0..PREPARED {
        put(core, bucket.id, &format!("small/{at:08}"), &[1; SMALL_BYTES]).await;
    }
    for at in 0..LARGE_PREPARED {
        put(core, bucket.id, &format!("large/{at:08}"), &vec![1; LARGE_BYTES]).await;
    }
    bucket.id
}

async fn run(core: &Core, bucket: BucketId, phase: &str, count: u64) {
    let large = vec![2; LARGE_BYTES];
    for at in 0..count {
        match phase {
            "put-small" => put(core, bucket, &format!("new/{at:08}"), &[2; SMALL_BYTES]).await,
            "put-large" => put(core, bucket, &format!("new/{:08}", at % 64), &large).await,
            "get-small" => get(core, bucket, &format!("small/{:08}", at % PREPARED), SMALL_BYTES).await,
            "get-cached" => get(core, bucket, &format!("small/{:08}", at % 16), SMALL_BYTES).await,
            "get-large" => get(core, bucket, &format!("large/{:08}", at % LARGE_PREPARED), LARGE_BYTES).await,
            "list" => list(core, bucket).await,
            "delete" => {
                let key = format!("small/{:08}", at % PREPARED);
                let deleted = core.delete(bucket, key.as_bytes(), WriteCondition::default()).await;
                deleted.expect("deleted");
            }
            other => panic!("there is no phase {other}"),
        }
    }
}

async fn put(core: &Core, bucket: BucketId, key: &str, body: &[u8]) {
    let mut writer = core.put(bucket, key.as_bytes(), body.len() as u64).await.expect("a writer");
    for piece in body.chunks(64 << 10) {
        writer.write(piece).await.expect("written");
    }
    let meta = ObjectMeta { etag: Etag::default(), attributes: Vec::new() };
    writer.commit(meta, WriteCondition::default()).await.expect("committed");
}

async fn get(core: &Core, bucket: BucketId, key: &str, length: usize) {
    let reader = core.get(bucket, key.as_bytes()).await.expect("no error");
    let mut reader = reader.expect("the object is there");
    let mut got = 0;
    while let Some(chunk) = reader.next().await.expect("sound") {
        got += chunk.as_ref().len();
    }
    assert_eq!(got, length);
}

async fn list(core: &Core, bucket: BucketId) {
    let query = ListQuery { max_items: PAGE, ..ListQuery::default() };
    let page = core.list(bucket, &query).await.expect("a page");
    assert_eq!(page.items.len(), PAGE);
}
