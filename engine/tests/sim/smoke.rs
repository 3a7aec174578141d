//! Every operation once, and again after a restart.

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::{
    BucketId, Deleted, EtagMatch, ListItem, ListQuery, ObjectMeta, UploadItem, UploadQuery, WriteCondition,
};

use crate::world::{MIB, World, body, bucket, delete, etag, get, get_range, list_all, put, put_if};

const SIZES: [usize; 9] = [0, 1, 4096, 65_536, 65_537, 1 << 20, 4 << 20, (4 << 20) + 1, 9 << 20];

async fn check_sizes(node: &SimNode, id: BucketId) {
    for (tag, size) in SIZES.into_iter().enumerate() {
        let key = format!("size/{size:09}");
        let (info, bytes) = get(&node.any_core(), id, key.as_bytes()).await.expect("read").expect("there");
        assert!(bytes == body(tag as u64, size), "{key} is another");
        assert_eq!((info.size_bytes, info.etag), (size as u64, etag(tag as u64)));
        assert_eq!(info.attributes, [("tag".to_owned(), tag.to_string())]);
        let head = node.any_core().head(id, key.as_bytes()).await.expect("read").expect("there");
        assert_eq!(head, info);
    }
}

async fn check_ranges(node: &SimNode, id: BucketId) {
    for (tag, size) in SIZES.into_iter().enumerate().filter(|(_, size)| *size > 0) {
        let (key, whole) = (format!("size/{size:09}"), body(tag as u64, size));
        let edges =
            [0, 1, size / 2, size.saturating_sub(1), size.min(65_535), size.min(65_536), size.min(4 << 20)];
        for from in edges {
            for length in [1, 100, 65_536, 70_000, size] {
                let length = length.min(size - from);
                let part = get_range(&node.any_core(), id, key.as_bytes(), from as u64, length as u64).await;
                assert!(
                    part.expect("read") == whole[from..from + length],
                    "{key} from {from}, {length} bytes"
                );
            }
        }
    }
}

#[test]
fn objects_of_all_sizes_survive_a_restart() {
    let mut world = World::new(1, 256 * MIB, 4, 2);
    let mut node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let id = bucket(&on.core(0), "first").await;
        for (tag, size) in SIZES.into_iter().enumerate() {
            let key = format!("size/{size:09}");
            let info = put(&on.any_core(), id, key.as_bytes(), tag as u64, size).await.expect("stored");
            assert_eq!(info.size_bytes, size as u64);
        }
        check_sizes(&on, id).await;
        check_ranges(&on, id).await;
        let listed = list_all(&on.core(1), id).await;
        let expected: Vec<_> =
            SIZES.iter().map(|size| (format!("size/{size:09}").into_bytes(), *size as u64)).collect();
        assert_eq!(listed, expected);
        id
    });
    world.sim.run_until_idle();
    let on = node.clone();
    world.run(async move { on.space().await });
    for cores in [1, 3, 2] {
        node = world.reopen_on(node, cores);
        let on = node.clone();
        world.run(async move {
            assert_eq!(on.core(0).bucket("first").map(|bucket| bucket.id), Some(id));
            check_sizes(&on, id).await;
            on.checkpoint().await.expect("a checkpoint");
        });
    }
    let on = node.clone();
    world.run(async move {
        for size in SIZES {
            let key = format!("size/{size:09}");
            assert!(matches!(delete(&on.any_core(), id, key.as_bytes()).await, Ok(Deleted::Removed { .. })));
            assert_eq!(delete(&on.any_core(), id, key.as_bytes()).await, Ok(Deleted::Absent));
            assert!(get(&on.any_core(), id, key.as_bytes()).await.expect("read").is_none());
        }
        assert_eq!(on.core(0).delete_bucket(id).await, Ok(()));
        assert_eq!(on.core(1).head(id, b"x").await.err(), Some(EngineError::NoSuchBucket));
    });
    world.close(node);
    let node = world.open();
    assert!(node.core(0).buckets().is_empty());
}

#[test]
fn conditions_are_judged_by_the_owner() {
    let world = World::new(2, 64 * MIB, 2, 2);
    let node = world.open();
    world.run(async move {
        let (core, id) = (node.core(1), bucket(&node.core(0), "b").await);
        let none = || WriteCondition { if_none_match: Some(EtagMatch::Any), ..WriteCondition::default() };
        let only = |tag| {
            let tags = EtagMatch::OneOf(vec![etag(tag).to_string()]);
            WriteCondition { if_match: Some(tags), ..WriteCondition::default() }
        };
        assert_eq!(put_if(&core, id, b"k", 1, 10, only(1)).await.err(), Some(EngineError::NoSuchKey));
        put_if(&core, id, b"k", 1, 10, none()).await.expect("new");
        for length in [10, 100_000] {
            let again = put_if(&core, id, b"k", 2, length, none()).await.err();
            assert_eq!(again, Some(EngineError::PreconditionFailed));
        }
        assert_eq!(
            put_if(&core, id, b"k", 3, 10, only(2)).await.err(),
            Some(EngineError::PreconditionFailed)
        );
        put_if(&core, id, b"k", 3, 200_000, only(1)).await.expect("matches");
        assert_eq!(get(&core, id, b"k").await.expect("read").expect("there").1, body(3, 200_000));
        assert_eq!(core.delete(id, b"k", only(1)).await, Err(EngineError::PreconditionFailed));
        assert!(matches!(core.delete(id, b"k", only(3)).await, Ok(Deleted::Removed { .. })));
    });
}

#[test]
fn a_body_of_another_length_is_refused() {
    let world = World::new(3, 64 * MIB, 2, 1);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let (core, id) = (on.core(0), bucket(&on.core(0), "b").await);
        for length in [10usize, 5 << 20] {
            let mut writer = core.put(id, b"k", length as u64).await.expect("begun");
            writer.write(&body(1, length - 1)).await.expect("written");
            let short = writer.commit(ObjectMeta::default(), WriteCondition::default()).await.err();
            assert!(matches!(short, Some(EngineError::LengthMismatch { .. })), "{short:?}");
            let mut writer = core.put(id, b"k", length as u64).await.expect("begun");
            let long = writer.write(&body(1, length + 1)).await.err();
            assert!(matches!(long, Some(EngineError::LengthMismatch { .. })), "{long:?}");
        }
        assert!(core.head(id, b"k").await.expect("read").is_none());
    });
    world.sim.run_until_idle();
    assert_eq!((node.leftovers().used_units, node.leftovers().reserved_units), (0, 0));
}

#[test]
fn parts_become_an_object_and_nothing_else_stays() {
    let mut world = World::new(4, 128 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    let (id, upload) = world.run(async move {
        let (core, id) = (on.core(0), bucket(&on.core(0), "b").await);
        let upload = core.create_upload(id, b"big", vec![("type".into(), "x".into())]).await.expect("begun");
        for (number, tag, length) in [
            (1, 11, 5 << 20),
            (2, 12, 333_333),
            (3, 13, 77),
            (2, 22, 4_444_444),
            (9, 19, 0),
            (5, 15, 100_000),
        ] {
            let mut writer =
                on.any_core().put_part(id, b"big", upload, number, length as u64).await.expect("begun");
            writer.write(&body(tag, length)).await.expect("written");
            let part = writer.commit_part(etag(tag), Vec::new()).await.expect("stored");
            assert_eq!((part.number, part.size_bytes), (number, length as u64));
        }
        let other = core.create_upload(id, b"other", Vec::new()).await.expect("begun");
        let mut writer = core.put_part(id, b"other", other, 1, 300_000).await.expect("begun");
        writer.write(&body(1, 300_000)).await.expect("written");
        writer.commit_part(etag(1), Vec::new()).await.expect("stored");
        core.abort_upload(id, b"other", other).await.expect("aborted");
        assert_eq!(core.abort_upload(id, b"other", other).await, Err(EngineError::NoSuchUpload));
        (id, upload)
    });
    world.sim.run_until_idle();
    let node = world.reopen_on(node, 1);
    let on = node.clone();
    world.run(async move {
        let core = on.core(0);
        let info = core.upload(id, b"big", upload).await.expect("there");
        assert_eq!(info.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3, 5, 9]);
        let query = UploadQuery { max_items: 10, ..UploadQuery::default() };
        let page = core.list_uploads(id, &query).await.expect("a page");
        assert!(matches!(page.items.as_slice(), [UploadItem::Upload(only)] if only.id == upload), "{page:?}");
        let complete = |parts: Vec<_>| {
            core.complete_upload(id, b"big", upload, parts, ObjectMeta::default(), WriteCondition::default())
        };
        let stale = complete(vec![(1, etag(11)), (2, etag(12))]).await.err();
        assert_eq!(stale, Some(EngineError::InvalidPart { number: 2 }));
        let twice = complete(vec![(1, etag(11)), (1, etag(11))]).await.err();
        assert_eq!(twice, Some(EngineError::InvalidPart { number: 1 }));
        let info =
            complete(vec![(1, etag(11)), (2, etag(22)), (3, etag(13)), (9, etag(19))]).await.expect("done");
        assert_eq!((info.upload, info.parts.len()), (Some(upload), 4));
        assert_eq!(complete(vec![(1, etag(11))]).await.err(), Some(EngineError::NoSuchUpload));
    });
    world.sim.run_until_idle();
    let node = world.reopen_on(node, 2);
    let on = node.clone();
    world.run(async move {
        let expected = [body(11, 5 << 20), body(22, 4_444_444), body(13, 77)].concat();
        let (_, bytes) = get(&on.core(1), id, b"big").await.expect("read").expect("there");
        assert!(bytes == expected, "the parts in order");
        let around = (5 << 20) - 1000;
        let part = get_range(&on.core(0), id, b"big", around, 5000).await.expect("read");
        assert!(part == expected[around as usize..around as usize + 5000], "over the border of two parts");
        delete(&on.core(0), id, b"big").await.expect("deleted");
        on.checkpoint().await.expect("a checkpoint");
        assert_eq!(on.leftovers().used_units, 0, "parts that the object did not take are gone too");
    });
}

#[test]
fn uploads_of_a_key_are_listed_in_the_order_they_began() {
    let world = World::new(6, 64 * MIB, 2, 2);
    let node = world.open();
    world.run(async move {
        let (core, id) = (node.core(0), bucket(&node.core(0), "b").await);
        for _ in 0..20 {
            core.create_upload(id, b"k", Vec::new()).await.expect("begun");
        }
        let query = UploadQuery { max_items: 100, ..UploadQuery::default() };
        let page = core.list_uploads(id, &query).await.expect("a page");
        let times: Vec<_> = page
            .items
            .iter()
            .map(|item| match item {
                UploadItem::Upload(upload) => upload.initiated_ms,
                UploadItem::CommonPrefix(_) => unreachable!("no delimiter was given"),
            })
            .collect();
        assert_eq!(times.len(), 20);
        assert!(times.first() < times.last() && times.is_sorted(), "{times:?}");
    });
}

#[test]
fn a_bucket_goes_when_it_is_empty() {
    let world = World::new(5, 64 * MIB, 2, 2);
    let node = world.open();
    let on = node.clone();
    world.run(async move {
        let (core, id) = (on.core(0), bucket(&on.core(1), "b").await);
        put(&core, id, b"k", 1, 10).await.expect("stored");
        assert_eq!(core.delete_bucket(id).await, Err(EngineError::BucketNotEmpty));
        put(&core, id, b"k2", 1, 10).await.expect("it takes objects again");
        delete(&core, id, b"k").await.expect("deleted");
        delete(&core, id, b"k2").await.expect("deleted");
        let upload = core.create_upload(id, b"u", Vec::new()).await.expect("begun");
        let mut writer = core.put_part(id, b"u", upload, 1, 100_000).await.expect("begun");
        writer.write(&body(1, 100_000)).await.expect("written");
        writer.commit_part(etag(1), Vec::new()).await.expect("stored");
        assert_eq!(on.core(1).delete_bucket(id).await, Ok(()));
        assert_eq!(on.core(1).delete_bucket(id).await, Err(EngineError::NoSuchBucket));
        assert_ne!(bucket(&core, "b").await, id, "ids are not used again");
        on.checkpoint().await.expect("a checkpoint");
        assert_eq!(on.leftovers().used_units, 0, "its uploads went with it");
    });
}

#[test]
fn listings_group_by_delimiter() {
    let world = World::new(6, 64 * MIB, 4, 3);
    let node = world.open();
    world.run(async move {
        let (core, id) = (node.core(2), bucket(&node.core(0), "b").await);
        for key in ["a", "b/1", "b/2", "b/3/x", "c", "d/1", "é"] {
            put(&node.any_core(), id, key.as_bytes(), 1, 3).await.expect("stored");
        }
        let names = async |prefix: &str, after: &str, max_items| {
            let query =
                ListQuery { prefix: prefix.into(), delimiter: b"/".to_vec(), after: after.into(), max_items };
            let page = core.list(id, &query).await.expect("a page");
            let names: Vec<_> = page
                .items
                .iter()
                .map(|item| match item {
                    ListItem::Object { key, .. } => String::from_utf8_lossy(key).into_owned(),
                    ListItem::CommonPrefix(prefix) => format!("{}…", String::from_utf8_lossy(prefix)),
                })
                .collect();
            (names.join(" "), page.truncated)
        };
        assert_eq!(names("", "", 100).await, ("a b/… c d/… é".to_owned(), false));
        assert_eq!(names("", "", 2).await, ("a b/…".to_owned(), true));
        assert_eq!(names("", "b/", 100).await, ("c d/… é".to_owned(), false));
        assert_eq!(names("b/", "", 100).await, ("b/1 b/2 b/3/…".to_owned(), false));
    });
}
