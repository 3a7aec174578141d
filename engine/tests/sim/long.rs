//! Objects of very many parts: their parts lie in a table of their own, which goes where the object
//! goes.

use ringbolt_engine::node::Core;
use ringbolt_engine::types::{BucketId, Etag, ObjectMeta, PartInfo, UploadId, WriteCondition};
use ringbolt_engine::{EngineError, Result};

use crate::check::{assert_clean, copied};
use crate::world::{MIB, World, body, bucket, delete, etag, get, put};

/// As many parts as S3 allows.
const PARTS: u16 = 10_000;
/// Most parts that a record holds by itself.
const PARTS_IN_RECORD: u16 = 1000;

fn length(number: u16) -> usize {
    1 + usize::from(number) % 40
}

fn checksum(number: u16, bytes: usize) -> Vec<u8> {
    body(u64::from(number) + 1_000_000, bytes)
}

async fn upload(core: &Core, id: BucketId, key: &[u8], parts: u16, checksum_bytes: usize) -> UploadId {
    let upload = core.create_upload(id, key, Vec::new()).await.expect("begun");
    for number in 1..=parts {
        put_part(core, (id, key, upload), number, checksum(number, checksum_bytes)).await;
    }
    upload
}

async fn put_part(core: &Core, at: (BucketId, &[u8], UploadId), number: u16, checksum: Vec<u8>) {
    let (id, key, upload) = at;
    let bytes = body(u64::from(number), length(number));
    let mut writer = core.put_part(id, key, upload, number, bytes.len() as u64).await.expect("room");
    writer.write(&bytes).await.expect("written");
    writer.commit_part(etag(u64::from(number)), checksum).await.expect("stored");
}

fn listed(parts: u16) -> Vec<(u16, Etag)> {
    (1..=parts).map(|number| (number, etag(u64::from(number)))).collect()
}

async fn complete(core: &Core, id: BucketId, key: &[u8], upload: UploadId, parts: u16) -> Result<()> {
    let meta = ObjectMeta { etag: Etag { parts, ..etag(7) }, attributes: Vec::new() };
    let done = core.complete_upload(id, key, upload, listed(parts), meta, WriteCondition::default()).await?;
    assert_eq!(done.parts.is_empty(), parts > PARTS_IN_RECORD);
    Ok(())
}

/// Reads the object and all its parts, and compares them with what was sent.
async fn verify(core: &Core, id: BucketId, key: &[u8], parts: u16, checksum_bytes: usize) {
    let (info, bytes) = get(core, id, key).await.expect("readable").expect("there");
    let whole: Vec<u8> = (1..=parts).flat_map(|number| body(u64::from(number), length(number))).collect();
    assert!(bytes == whole && info.size_bytes == whole.len() as u64, "{} bytes", bytes.len());
    let mut reader = core.get(id, key).await.expect("readable").expect("there");
    reader.load_parts().await.expect("the parts");
    let info = reader.info();
    assert_eq!((info.parts.len(), info.etag.parts), (usize::from(parts), parts));
    for (number, part) in (1..).zip(&info.parts) {
        let PartInfo { size_bytes, etag: found, checksum: sum, .. } = part;
        assert_eq!((part.number, *size_bytes, *found), (number, length(number) as u64, etag(number.into())));
        assert_eq!(*sum, checksum(number, checksum_bytes), "part {number}");
    }
}

/// The record of such an object was once longer than a record may be, and Complete was refused.
#[test]
fn ten_thousand_parts_survive_with_any_checksum() {
    // None, CRC32, SHA-256, and SHA-512, each with the number of the algorithm.
    for (seed, checksum_bytes) in [(70, 0), (71, 5), (72, 33), (73, 65)] {
        let world = World::new(seed, 448 * MIB, 1, 1);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let core = on.core(0);
            let id = bucket(&core, "b").await;
            let begun = upload(&core, id, b"long", PARTS, checksum_bytes).await;
            complete(&core, id, b"long", begun, PARTS).await.expect("completed");
            verify(&core, id, b"long", PARTS, checksum_bytes).await;
            id
        });
        // Replayed from the log, and from a checkpoint.
        world.crash(node);
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            verify(&on.core(0), id, b"long", PARTS, checksum_bytes).await;
            on.checkpoint().await.expect("a checkpoint");
        });
        world.crash(node);
        assert_clean(&copied(&world));
        let node = world.open();
        let on = node.clone();
        world.run(async move {
            let core = on.core(0);
            verify(&core, id, b"long", PARTS, checksum_bytes).await;
            // The table is freed with the object.
            delete(&core, id, b"long").await.expect("deleted");
            on.checkpoint().await.expect("a checkpoint");
            let space = on.space().await;
            assert!(space.live_bytes < 256 << 10, "{space:?}");
        });
    }
}

#[test]
fn the_table_begins_where_a_record_ends() {
    let world = World::new(74, 192 * MIB, 1, 1);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        for parts in [PARTS_IN_RECORD, PARTS_IN_RECORD + 1] {
            let key = parts.to_string();
            let begun = upload(&core, id, key.as_bytes(), parts, 33).await;
            complete(&core, id, key.as_bytes(), begun, parts).await.expect("completed");
        }
        id
    });
    world.crash(node);
    let node = world.open();
    world.run(async move {
        for parts in [PARTS_IN_RECORD, PARTS_IN_RECORD + 1] {
            verify(&node.core(0), id, parts.to_string().as_bytes(), parts, 33).await;
        }
    });
}

/// Completes an upload while a part is replaced by one with the same ETag. Returns whether the part
/// came between the table and the record.
fn replaced_between(seed: u64) -> bool {
    let world = World::new(seed, 192 * MIB, 1, 1);
    let node = world.open();
    world.run(async move {
        let core = node.core(0);
        let id = bucket(&core, "b").await;
        let parts = PARTS_IN_RECORD + 1;
        let begun = upload(&core, id, b"k", parts, 5).await;
        let bytes = body(9, length(9));
        let mut writer = core.put_part(id, b"k", begun, 9, bytes.len() as u64).await.expect("room");
        writer.write(&bytes).await.expect("written");
        let again = writer.commit_part(etag(9), checksum(9, 5));
        let done = complete(&core, id, b"k", begun, parts);
        let refused = match futures_util::future::join(again, done).await {
            (Ok(_), Err(EngineError::InvalidPart { number: 9 })) => true,
            (Ok(_) | Err(EngineError::NoSuchUpload), Ok(())) => false,
            other => panic!("{other:?}"),
        };
        if refused {
            complete(&core, id, b"k", begun, parts).await.expect("nothing changes any more");
        }
        verify(&core, id, b"k", parts, 5).await;
        refused
    })
}

/// A table that tells of a part that was replaced since it was written would be wrong.
#[test]
fn a_part_that_is_replaced_while_its_upload_completes_is_told() {
    assert!((75..95).any(replaced_between), "the part never came between");
}

/// The cleaner moves the record, and readers find the table as before.
#[test]
fn the_record_of_a_long_object_is_moved() {
    const PARTS: u16 = 1100;
    const KEYS: u64 = 400;
    let mut world = World::new(76, 96 * MIB, 1, 1);
    world.options.checkpoint_after_bytes = 8 << 20;
    let node = world.open();
    let (on, sim) = (node.clone(), world.sim.clone());
    let id = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "b").await;
        let begun = upload(&core, id, b"long", PARTS, 33).await;
        complete(&core, id, b"long", begun, PARTS).await.expect("completed");
        // Some keys are hot and most are not, so that every extent of the log keeps live records.
        // The log is written several times as long as the drive is.
        for tag in 0..6_000u64 {
            let key = if tag % 4 == 0 { tag / 4 % KEYS } else { sim.random().below(KEYS / 8) };
            put(&core, id, format!("k{key}").as_bytes(), tag, 60_000).await.expect("stored");
        }
        verify(&core, id, b"long", PARTS, 33).await;
        assert!(core.counters().moved_bytes > 0, "{:?}", core.counters());
        id
    });
    world.crash(node);
    assert_clean(&copied(&world));
    let node = world.open();
    world.run(async move { verify(&node.core(0), id, b"long", PARTS, 33).await });
}
