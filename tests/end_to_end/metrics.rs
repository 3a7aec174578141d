//! These tests check `/ringbolt/metrics`, and that the scrub finds damage by itself.

use crate::support::{BUCKET, delete, get, list_all, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, raw_http};
use std::collections::BTreeMap;
use std::time::Duration;

/// The test polls a server that works by itself at this interval.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);
pub const LOOKS_MAX: usize = 600;

/// Returns every series with its value; seconds are truncated to whole ones.
pub async fn metrics(server: &Server) -> BTreeMap<String, u64> {
    let url = format!("{}/ringbolt/metrics", server.admin_endpoint());
    let answer = raw_http::request("GET", &url, b"").await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let text = String::from_utf8(answer.body).expect("text");
    assert!(
        !text.contains("bucket\"") && !text.contains("secret-key"),
        "names are nobody's business: {text}"
    );
    let values = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
        (series.to_owned(), value as u64)
    });
    values.collect()
}

pub fn sum(metrics: &BTreeMap<String, u64>, family: &str) -> u64 {
    let own = |series: &str| series.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'));
    metrics.iter().filter(|(series, _)| own(series)).map(|(_, value)| value).sum()
}

/// Polls until every shard has ended a pass of the scrub.
pub async fn scrubbed(server: &Server, shards: u64) -> BTreeMap<String, u64> {
    for _ in 0..LOOKS_MAX {
        let found = metrics(server).await;
        if sum(&found, "ringbolt_scrub_passes_total") >= shards {
            return found;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("the scrub does not end: {:?}", metrics(server).await);
}

#[tokio::test]
async fn the_numbers_follow_what_happens() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    let before = metrics(&server).await;
    assert_eq!((before["ringbolt_objects"], before["ringbolt_ready"]), (0, 1));
    make_bucket(&client).await;
    for number in 0..12 {
        put(&client, &format!("secret-key/{number}"), Content::new(number, 50_000)).await.expect("put");
    }
    get(&client, "secret-key/0").await.expect("get");
    assert_eq!(get(&client, "none").await.expect_err("it is not there").status, 404);
    let after = metrics(&server).await;
    assert_eq!((after["ringbolt_objects"], after["ringbolt_buckets"]), (12, 1));
    assert_eq!(sum(&after, "ringbolt_shard_objects"), 12);
    assert_eq!(after["ringbolt_http_responses_total{status=\"404\"}"], 1);
    assert!(after["ringbolt_http_responses_total{status=\"200\"}"] >= 14);
    assert!(after["ringbolt_log_written_bytes_total"] > 12 * 50_000);
    assert_eq!(after["ringbolt_stored_bytes_total"], 12 * 50_000);
    let written = |kind: &str| after[&format!("ringbolt_drive_written_bytes_total{{kind=\"{kind}\"}}")];
    assert_eq!(written("log"), after["ringbolt_log_written_bytes_total"]);
    assert_eq!(
        (written("slices"), after["ringbolt_cleaner_moved_bytes_total"]),
        (0, 0),
        "all small, all new"
    );
    assert!(after["ringbolt_http_connections"] >= 1 && after["process_resident_memory_bytes"] > 1 << 20);
    assert_eq!(sum(&after, "ringbolt_space_bytes"), after["ringbolt_capacity_bytes"]);
    assert!(after["ringbolt_space_bytes{state=\"live\"}"] > before["ringbolt_space_bytes{state=\"live\"}"]);
    let post = raw_http::request("POST", &format!("{}/ringbolt/metrics", server.admin_endpoint()), b"").await;
    assert_eq!(post.expect("an answer").status, 405);
}

#[tokio::test]
async fn requests_are_counted_by_operation_on_every_way() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..3 {
        put(&client, &format!("key/{number}"), Content::new(number, 1000)).await.expect("put");
    }
    // There are two plain GETs, one that bypasses the cache, one on the general path, and one of a
    // missing key.
    get(&client, "key/0").await.expect("get");
    get(&client, "key/0").await.expect("get");
    let long_way = client.get_object().bucket(BUCKET).key("key/0").response_cache_control("no-store");
    long_way.send().await.expect("get the long way");
    assert_eq!(get(&client, "none").await.expect_err("it is not there").status, 404);
    client.head_object().bucket(BUCKET).key("key/1").send().await.expect("head");
    assert_eq!(list_all(&client, 2).await.len(), 3, "two pages");
    delete(&client, "key/2").await.expect("delete");
    let unsigned = format!("{}/{BUCKET}/key/0", server.endpoint());
    // Anyone may send a request; the operation finds that the bucket is not public.
    assert_eq!(raw_http::request("GET", &unsigned, b"").await.expect("an answer").status, 403);
    let forged = "Authorization: AWS4-HMAC-SHA256 Credential=MAINMAINMAINMAIN/20260101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=00\r\n";
    let refused = raw_http::request_with("GET", &unsigned, forged, b"").await.expect("an answer");
    assert!((400..500).contains(&refused.status), "refused before it is an operation: {}", refused.head);
    let found = metrics(&server).await;
    let asked = |operation: &str| found[&format!("ringbolt_s3_requests_total{{operation=\"{operation}\"}}")];
    let counts =
        ["CreateBucket", "PutObject", "GetObject", "HeadObject", "ListObjectsV2", "DeleteObject"].map(asked);
    assert_eq!(counts, [1, 3, 5, 1, 2, 1]);
    assert_eq!(sum(&found, "ringbolt_s3_requests_total"), counts.iter().sum::<u64>(), "{found:?}");
    assert!(found.contains_key("process_cpu_seconds_total"));
    assert!(found["process_start_time_seconds"] > 1_700_000_000);
}

#[tokio::test]
async fn the_scrub_finds_what_rots() {
    let flags = &["--scrub-rate", "off"];
    let mut server = Server::start(ServerOptions { shards: "2", flags, ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..8 {
        put(&client, &format!("key/{number}"), Content::new(number, 200_000)).await.expect("put");
    }
    let unscrubbed = metrics(&server).await;
    assert!(server.stop().success());
    let drive = server.data_dir().join("drive0");
    crate::check::flip(
        &drive,
        crate::check::find(&drive, &Content::new(5, 200_000).bytes()[100_000..100_040]),
    );
    assert_eq!(sum(&unscrubbed, "ringbolt_scrub_passes_total"), 0, "off is never");
    server.set_flags(&[]);
    server.start_again();
    let found = scrubbed(&server, 2).await;
    assert_eq!(sum(&found, "ringbolt_scrub_findings"), 1, "{found:?}");
    assert_eq!(sum(&found, "ringbolt_scrub_objects"), 8, "{found:?}");
    let log = server.log();
    assert!(log.contains("scrub: an object is damaged") && log.contains("key/5"), "{log}");
    let client = server.client(&MAIN);
    assert!(get(&client, "key/5").await.is_err());
    assert_eq!(metrics(&server).await["ringbolt_damaged_reads_total"], 1);
}
