//! These tests check the server as a process: graceful stop, one server per drive, buckets across
//! restarts.

use crate::support::{BUCKET, assert_holds, make_bucket, put};
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, raw_http};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_request_that_runs_at_sigterm_is_finished() {
    let mut server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "before", Content::new(1, 100_000)).await.expect("put");
    let content = Content::new(2, 8 << 20);
    let bytes = content.bytes();
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let url = client.put_object().bucket(BUCKET).key("during").presigned(valid).await.expect("sign");
    let half = bytes.len() / 2;
    let mut upload =
        raw_http::half_request("PUT", url.uri(), bytes.len(), &bytes[..half]).await.expect("half a put");

    server.terminate();
    upload.write_all(&bytes[half..]).await.expect("the other half");
    let mut answer = Vec::new();
    upload.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(server.wait_for_exit().success());

    server.start_again();
    let client = server.client(&MAIN);
    assert_holds(&client, "before", Content::new(1, 100_000)).await;
    assert_holds(&client, "during", content).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_drive_is_refused() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "key", Content::new(1, 100_000)).await.expect("put");
    let (status, said) = server.start_second();
    assert!(!status.success(), "a second server ran on the same drive");
    assert!(said.to_lowercase().contains("lock") || said.contains("in use"), "unclear: {said}");
    assert_holds(&client, "key", Content::new(1, 100_000)).await;
    put(&client, "key", Content::new(2, 100_000)).await.expect("the first server still writes");
}

#[tokio::test]
async fn shards_move_when_the_number_of_cores_changes() {
    let options = ServerOptions { shards: "8", cores: Some("0"), ..ServerOptions::default() };
    let mut server = Server::start(options);
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..40 {
        put(&client, &format!("key/{number}"), Content::new(number, 3000 * number as usize))
            .await
            .expect("put");
    }
    assert!(server.stop().success());
    // The server uses all cores of this machine; on a machine with one core this is a plain
    // restart.
    server.set_cores(None);
    server.start_again();
    let client = server.client(&MAIN);
    for number in 0..40 {
        assert_holds(&client, &format!("key/{number}"), Content::new(number, 3000 * number as usize)).await;
    }
    assert_eq!(crate::support::list_all(&client, 1000).await.len(), 40);
}
