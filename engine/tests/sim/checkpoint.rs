//! Checkpoints of any size: everything is restored, and little memory is held while they are
//! written.

use ringbolt_engine::node::Core;
use ringbolt_engine::shard::CheckpointCut;
use ringbolt_engine::types::{BucketId, UploadId};

use crate::check::{assert_clean, copied};
use crate::world::{MIB, World, body, bucket, etag, list_all, put};

/// Length of the longest checksum of a part in bytes.
const CHECKSUM_BYTES: usize = 128;

async fn upload(core: &Core, id: BucketId, key: &[u8], parts: u16) -> UploadId {
    let upload = core.create_upload(id, key, vec![("of".to_owned(), "an upload".to_owned())]).await;
    let upload = upload.expect("begun");
    for number in 1..=parts {
        let bytes = body(u64::from(number), 100);
        let mut writer = core.put_part(id, key, upload, number, 100).await.expect("room");
        writer.write(&bytes).await.expect("written");
        let checksum = format!("{number:0>CHECKSUM_BYTES$}").into_bytes();
        writer.commit_part(etag(u64::from(number)), checksum).await.expect("stored");
    }
    upload
}

#[test]
fn a_checkpoint_of_many_chunks_is_named_by_lists() {
    const PARTS: u16 = 60;
    let mut world = World::new(31, 96 * MIB, 1, 1);
    // The chunks are so small, and a list names so few, that there are many lists, log extents have
    // chunks of their own, and an upload has many chunks.
    world.options.checkpoint_cut = CheckpointCut { payload_bytes: 4032, names: 2 };
    let node = world.open();
    let on = node.clone();
    let (id, uploads) = world.run(async move {
        let core = on.core(0);
        let id = bucket(&core, "photos").await;
        for tag in 0..50 {
            bucket(&core, &format!("bucket-{tag}")).await;
        }
        for tag in 0..900 {
            put(&core, id, format!("k{tag:04}").as_bytes(), tag, 20_000).await.expect("stored");
        }
        let mut uploads = Vec::new();
        for at in 0..3 {
            uploads.push(upload(&core, id, format!("up{at}").as_bytes(), PARTS).await);
        }
        on.checkpoint().await.expect("a checkpoint");
        (id, uploads)
    });
    world.kill(node);
    assert_clean(&copied(&world));
    // This is done twice, because the next checkpoint must write what was read.
    for _ in 0..2 {
        let node = world.open();
        let (on, uploads) = (node.clone(), uploads.clone());
        world.run(async move {
            let core = on.core(0);
            assert_eq!(core.buckets().len(), 51);
            assert_eq!(list_all(&core, id).await.len(), 900);
            for (at, upload) in uploads.iter().enumerate() {
                let info = core.upload(id, format!("up{at}").as_bytes(), *upload).await.expect("there");
                assert_eq!(info.attributes, [("of".to_owned(), "an upload".to_owned())]);
                assert_eq!(info.parts.len(), usize::from(PARTS));
                for (number, part) in (1..).zip(&info.parts) {
                    let text = str::from_utf8(&part.checksum).expect("digits");
                    assert_eq!((part.number, text.parse(), text.len()), (number, Ok(number), CHECKSUM_BYTES));
                }
            }
            on.checkpoint().await.expect("a checkpoint");
        });
        world.kill(node);
        assert_clean(&copied(&world));
    }
}

/// All uploads with all their parts were once copied in one step, and encoded in another.
#[test]
fn what_a_checkpoint_holds_and_does_in_one_step_is_bounded() {
    let peaks = [40, 1700].map(|parts| {
        let world = World::new(32, 192 * MIB, 1, 1);
        let node = world.open();
        world.run(async move {
            let core = node.core(0);
            let id = bucket(&core, "photos").await;
            for tag in 0..u64::from(parts) * 10 {
                put(&core, id, format!("k{tag:06}").as_bytes(), tag, 10).await.expect("stored");
            }
            for at in 0..4 {
                upload(&core, id, format!("up{at}").as_bytes(), parts).await;
            }
            node.checkpoint().await.expect("a checkpoint");
            let metrics = core.metrics().await.expect("metrics");
            let shard = metrics.shards[0];
            (metrics.space.index_bytes, shard.checkpoint_memory_bytes_max, shard.checkpoint_step_bytes_max)
        })
    });
    let [_, (index, memory, step)] = peaks;
    assert!(index > 4 << 20, "{peaks:?}");
    // The memory is a chunk's payload and its buffer; what names the chunks is small.
    assert!(memory < 600 << 10 && step <= 256 << 10 && step > 32 << 10, "{peaks:?}");
}
