//! Writes the first inputs of the engine's fuzz targets, taken from the drive of a simulated node.
//!
//! ```text
//! cargo run -p ringbolt-engine --example fuzz_seeds -- fuzz/corpus
//! ```

#![expect(clippy::disallowed_methods, reason = "writes files for a person, outside the engine")]

use std::path::Path;
use std::rc::Rc;

use ringbolt_engine::format::batch::{self, BatchHeaderOnDisk, HEADER_BYTES};
use ringbolt_engine::format::checkpoint::{
    self, CHUNK_BYTES_MAX, CheckpointChunkOnDisk, CheckpointRootV1, KIND_BUCKETS, KIND_CLOCK, KIND_LEAVES,
    KIND_NODE_RECORDS, KIND_UPLOADS, encode_sets,
};
use ringbolt_engine::format::record::{Mutation, RECORD_ALIGNMENT, RecordView};
use ringbolt_engine::format::slice;
use ringbolt_engine::format::superblock::{COPY_STRIDE, SUPERBLOCK_BYTES};
use ringbolt_engine::node::Core;
use ringbolt_engine::sim::device::SimDevice;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{
    BucketCreated, BucketId, ConfigKind, Etag, Lock, MetadataChange, ObjectMeta, Retention, RetentionMode,
    StorageClass, Version, Versioning, WriteCondition,
};

const DRIVE_BYTES: u64 = 64 << 20;

fn main() {
    let target = std::env::args().nth(1).expect("a directory for the corpus");
    let sim = Simulator::new(1);
    let drives = format_sim_drives(&sim, 1, (DRIVE_BYTES, 1), 1);
    let opened = sim.block_on(SimNode::open(sim.clone(), drives.clone(), SimOptions::default()));
    let node = Rc::new(opened.expect("the node opens"));
    let on = node.clone();
    sim.block_on(async move { work(&on.core(0)).await });
    let on = node.clone();
    sim.block_on(async move { on.checkpoint().await }).expect("a checkpoint");
    write(Path::new(&target), &drives[0]);
}

/// One of everything that a log and a checkpoint can hold.
async fn work(core: &Core) {
    let made = core.create_bucket("bucket", "owner", vec![("a".into(), "b".into())]).await.expect("made");
    let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = made;
    for (key, length) in [("empty", 0), ("small/one", 200), ("small/two", 3), ("large", 70_000)] {
        put(core, bucket.id, key, length).await;
    }
    put(core, bucket.id, "small/one", 100).await;
    core.delete(bucket.id, b"small/two", WriteCondition::default()).await.expect("deleted");
    for (key, complete) in [("parts", true), ("open", false), ("aborted", false)] {
        let attributes = vec![("content-type".into(), "text/plain".into())];
        let upload = core.create_upload(bucket.id, key.as_bytes(), attributes.clone()).await.expect("begun");
        let mut writer = core.put_part(bucket.id, key.as_bytes(), upload, 1, 5000).await.expect("a part");
        writer.write(&[7; 5000]).await.expect("written");
        let part = writer.commit_part(Etag::default(), vec![1; 33]).await.expect("committed");
        let (parts, meta) = (vec![(1, part.etag)], ObjectMeta { etag: Etag::default(), attributes });
        if complete {
            let condition = WriteCondition::default();
            core.complete_upload(bucket.id, key.as_bytes(), upload, parts, meta, condition)
                .await
                .expect("done");
        } else if key == "aborted" {
            core.abort_upload(bucket.id, key.as_bytes(), upload).await.expect("aborted");
        }
    }
    let made = core.create_bucket("gone", "owner", Vec::new()).await.expect("made");
    let (BucketCreated::New(gone) | BucketCreated::Exists(gone)) = made;
    core.delete_bucket(gone.id).await.expect("deleted");
    versions(core).await;
    locks(core).await;
    let records = [("key/1", Some(vec![7; 100])), ("key/2", Some(vec![8; 10])), ("user/gone", None)];
    let records = records.map(|(name, value)| (name.to_owned(), value));
    core.change_node_records(records.into(), None).await.expect("changed");
}

/// A bucket with object lock, and versions with a hold, retentions, a storage class and tags.
async fn locks(core: &Core) {
    let made = core.create_bucket_with("locks", "owner", Vec::new(), true, Vec::new()).await.expect("made");
    let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = made;
    for (mode, hold) in [(RetentionMode::Governance, false), (RetentionMode::Compliance, true)] {
        let generation = put(core, bucket.id, "locked", 100).await;
        let mut attributes = vec![(":tag:a".into(), "b".into())];
        Lock { retention: Some(Retention { mode, until_ms: 4_000_000_000_000 }), hold }
            .write(&mut attributes);
        StorageClass::GlacierIr.write(&mut attributes);
        let change = MetadataChange { generation, attributes, ..MetadataChange::default() };
        core.update_metadata(bucket.id, b"locked", change, WriteCondition::default()).await.expect("locked");
    }
}

/// Versions, delete markers and null versions of keys, and changes of their metadata.
async fn versions(core: &Core) {
    let made = core.create_bucket("versions", "owner", Vec::new()).await.expect("made");
    let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = made;
    let (id, any) = (bucket.id, WriteCondition::default());
    put(core, id, "stack", 100).await;
    core.set_versioning(id, Versioning::Enabled).await.expect("set");
    let old = put(core, id, "stack", 70_000).await;
    core.delete(id, b"stack", any.clone()).await.expect("marked");
    for tag in ["1", "2"] {
        let attributes = vec![("tag".into(), tag.into())];
        let change = MetadataChange {
            generation: old,
            if_changed: None,
            attributes,
            touches: true,
            ..MetadataChange::default()
        };
        core.update_metadata(id, b"stack", change, any.clone()).await.expect("changed");
    }
    let removed = put(core, id, "stack", 10).await;
    core.delete_version(id, b"stack", Version::Generation(removed), any.clone()).await.expect("removed");
    core.delete(id, b"never", any.clone()).await.expect("marked");
    core.set_versioning(id, Versioning::Suspended).await.expect("set");
    core.delete(id, b"stack", any).await.expect("marked");
    put(core, id, "stack", 20).await;
    for value in [Some(vec![7; 100]), None] {
        core.set_bucket_config(id, ConfigKind(900), value).await.expect("set");
    }
}

async fn put(core: &Core, bucket: BucketId, key: &str, length: usize) -> u64 {
    let mut writer = core.put(bucket, key.as_bytes(), length as u64).await.expect("room");
    writer.write(&vec![7; length]).await.expect("written");
    let meta = ObjectMeta { etag: Etag::default(), attributes: vec![("tag".into(), "1".into())] };
    writer.commit(meta, WriteCondition::default()).await.expect("stored").generation
}

/// Returns the name of the seed that a record becomes. The last record of its name is kept.
fn name_of(view: &RecordView<'_>) -> String {
    let kind = view.envelope.kind;
    match view.mutation() {
        Ok(Mutation::Put(put)) if put.is_marker() && put.is_null() => format!("record-{kind}-null-marker"),
        Ok(Mutation::Put(put)) if put.is_marker() => format!("record-{kind}-marker"),
        Ok(Mutation::Put(put)) if put.removes != 0 => format!("record-{kind}-replaces"),
        Ok(Mutation::Put(put)) if put.upload.is_some() => format!("record-{kind}-parts"),
        Ok(Mutation::Put(put)) if !put.is_null() => format!("record-{kind}-version"),
        Ok(Mutation::Meta(meta)) if !Lock::of(&meta.attributes).is_none() => format!("record-{kind}-locks"),
        Ok(Mutation::BucketConfig(config)) if config.value.is_none() => format!("record-{kind}-removes"),
        _ => format!("record-{kind}"),
    }
}

fn write(target: &Path, drive: &SimDevice) {
    let save = |fuzz_target: &str, name: &str, kind: u8, bytes: &[u8]| {
        let directory = target.join(fuzz_target);
        std::fs::create_dir_all(&directory).expect("make a directory");
        std::fs::write(directory.join(name), [&[kind], bytes].concat()).expect("write a seed");
    };
    let copies: Vec<u8> = (0..4).flat_map(|copy| drive.peek(copy * COPY_STRIDE, SUPERBLOCK_BYTES)).collect();
    save("superblock", "four-copies", 0, &copies);
    save("superblock", "one-copy", 15, &copies[..1200]);
    let mut log = Vec::new();
    for at in drive.blocks_starting_with(&batch::MAGIC) {
        let bytes = drive.peek(at, batch::BATCH_BYTES_MAX);
        let Ok(header) = BatchHeaderOnDisk::parse(&bytes) else { continue };
        let batch = &bytes[..header.length.get() as usize];
        log.extend_from_slice(batch);
        let mut place = HEADER_BYTES;
        while let Ok(view) = RecordView::parse(&batch[place..], header.record_mark(place)) {
            let (name, end) = (name_of(&view), place + view.length());
            save("record", &name, 0, &batch[place..end]);
            save("record", &format!("{name}-sealed"), 1, &batch[place..end]);
            place = end.next_multiple_of(RECORD_ALIGNMENT).min(batch.len());
        }
    }
    save("log", "one-extent", 3, &log);
    save("log", "two-extents", 7, &log);
    for at in drive.blocks_starting_with(&checkpoint::MAGIC) {
        let bytes = drive.peek(at, CHUNK_BYTES_MAX);
        let Ok((header, payload)) = CheckpointChunkOnDisk::parse(&bytes) else { continue };
        if header.kind.get() == KIND_CLOCK {
            save("checkpoint", "time", 7, payload);
            continue;
        }
        if header.kind.get() == KIND_NODE_RECORDS {
            save("checkpoint", "node-records", 8, payload);
            save("record", "payload-8", 8, payload);
            continue;
        }
        let (kind, record_kind) = match header.kind.get() {
            KIND_LEAVES => (0, 6),
            KIND_UPLOADS => (1, 3),
            KIND_BUCKETS => (2, 4),
            _ => (3, 5),
        };
        save("checkpoint", &format!("payload-{kind}"), kind, payload);
        save("checkpoint", &format!("chunk-{kind}"), 4, &bytes[..checkpoint::HEADER_BYTES + payload.len()]);
        if let Ok(root) = CheckpointRootV1::decode(payload) {
            save("checkpoint", "sets", 6, &encode_sets(&root.sets));
        }
        if kind == 0 {
            save("checkpoint", "leaf", 5, &payload[4..]);
        } else {
            save("record", &format!("payload-{record_kind}"), record_kind, payload);
        }
    }
    if let Some(at) = drive.find(&slice::MAGIC) {
        save("record", "slice-header", 7, &drive.peek(at, 128));
    }
}
