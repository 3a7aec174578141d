//! These tests check that nobody notices a deletion of a bucket that is refused.

use crate::support::{BUCKET, get, make_bucket, put, refusal};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Regression: while a deletion examined the bucket, up to half of all other requests were told
/// that there is none.
#[tokio::test]
async fn a_refused_deletion_hides_the_bucket_from_nobody() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "kept", Content::new(1, 1000)).await.expect("put");
    let working = Arc::new(AtomicUsize::new(3));
    let mut tasks = tokio::task::JoinSet::new();
    for kind in 0..3_u64 {
        let (client, working) = (client.clone(), working.clone());
        tasks.spawn(async move {
            for step in 0..60 {
                match kind {
                    0 => drop(get(&client, "kept").await.expect("get")),
                    1 => drop(
                        put(&client, &format!("new/{step}"), Content::new(step, 500)).await.expect("put"),
                    ),
                    _ => {
                        let listing = client.list_objects_v2().bucket(BUCKET).send().await;
                        assert!(
                            listing.expect("list").contents().iter().any(|one| one.key() == Some("kept"))
                        );
                    }
                }
            }
            working.fetch_sub(1, Ordering::Relaxed);
        });
    }
    let mut refused = 0;
    while working.load(Ordering::Relaxed) > 0 && !tasks.is_empty() {
        let error = client.delete_bucket().bucket(BUCKET).send().await.expect_err("it is not empty");
        let error = refusal(error);
        assert!(error.is(409, "BucketNotEmpty"), "{error:?}");
        refused += 1;
        // A task that failed does not count itself out.
        while let Some(ended) = tasks.try_join_next() {
            ended.expect("no request was refused");
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no request was refused");
    }
    assert!(refused > 0);
}
