//! These tests check conditions on reads and writes.

use crate::support::{BUCKET, Refusal, assert_holds, make_bucket, put, refusal};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};

#[tokio::test]
async fn reads_follow_their_conditions() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let etag = put(&client, "key", Content::new(1, 100)).await.expect("put");
    let get = || client.get_object().bucket(BUCKET).key("key");
    get().if_match(&etag).send().await.expect("the ETag matches");
    let changed = refusal(get().if_match("\"other\"").send().await.expect_err("another ETag"));
    assert!(changed.is(412, "PreconditionFailed"), "{changed:?}");
    let same = refusal(get().if_none_match(&etag).send().await.expect_err("not modified"));
    assert_eq!(same.status, 304, "{same:?}");
    get().if_none_match("\"other\"").send().await.expect("modified");
}

#[tokio::test]
async fn if_none_match_star_lets_exactly_one_of_many_writers_win() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for round in 0..5 {
        let key = format!("race/{round}");
        let mut writers = tokio::task::JoinSet::new();
        for seed in 0..8_u64 {
            let (client, key) = (client.clone(), key.clone());
            writers.spawn(async move { (seed, create(&client, &key, Content::new(seed, 70_000)).await) });
        }
        let mut winner = None;
        while let Some(done) = writers.join_next().await {
            match done.expect("a writer") {
                (seed, Ok(())) => assert_eq!(winner.replace(seed), None, "two writers created {key}"),
                // S3 answers 409 to a writer that lost while the winner was still writing.
                (_, Err(lost)) => assert!(lost.status == 412 || lost.status == 409, "{lost:?}"),
            }
        }
        assert_holds(&client, &key, Content::new(winner.expect("one wins"), 70_000)).await;
    }
}

async fn create(client: &Client, key: &str, content: Content) -> Result<(), Refusal> {
    let body = ByteStream::from(content.bytes());
    let request = client.put_object().bucket(BUCKET).key(key).if_none_match("*").body(body);
    request.send().await.map_err(refusal)?;
    Ok(())
}

#[tokio::test]
async fn if_match_guards_an_overwrite() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let first = put(&client, "key", Content::new(1, 100)).await.expect("put");
    let overwrite = |etag: &str, content: Content| {
        let request = client.put_object().bucket(BUCKET).key("key").if_match(etag);
        request.body(ByteStream::from(content.bytes())).send()
    };
    overwrite(&first, Content::new(2, 200)).await.expect("the ETag still matches");
    let late = refusal(overwrite(&first, Content::new(3, 300)).await.expect_err("the ETag has changed"));
    assert!(late.is(412, "PreconditionFailed"), "{late:?}");
    assert_holds(&client, "key", Content::new(2, 200)).await;
    let missing = client.put_object().bucket(BUCKET).key("absent").if_match(&first).send().await;
    let missing = refusal(missing.expect_err("nothing to match"));
    assert_eq!(missing.status, 404, "{missing:?}");
}
