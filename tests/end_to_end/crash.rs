//! These tests kill the server (`kill -9`) between acknowledged writes and reads: what was
//! acknowledged is there and intact, in every cycle.
//!
//! The test keeps the log of acknowledgements. Each key has one writer, so that the order of its
//! writes is known. At a kill, a key's state is the last acknowledged one or the one in flight, and
//! nothing else; the state after recovery must then stay.
//! must then stay.

use crate::multipart::{PART_BYTES, complete, create, upload_part};
use crate::support::{BUCKET, Refusal, delete, get, list_all, make_bucket, put};
use aws_sdk_s3::Client;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Dice, Server, ServerOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const WRITERS: usize = 8;
const KEYS_PER_WRITER: usize = 12;

/// Holds what a key may contain; an inner `None` means "no object".
#[derive(Clone, Debug, Default)]
struct KeyState {
    acknowledged: Option<Content>,
    in_flight: Option<Option<Content>>,
}

type Log = BTreeMap<String, KeyState>;

/// Counts acknowledgements over all writers and signals when there are enough.
struct Progress {
    acknowledged: AtomicUsize,
    kill_at: usize,
    reached: Notify,
}

impl Progress {
    fn acknowledge(&self) {
        if self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == self.kill_at {
            self.reached.notify_one();
        }
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_after_kill() {
    let cycles = std::env::var("KILL_CYCLES").ok().and_then(|value| value.parse().ok()).unwrap_or(6);
    let seed = std::env::var("KILL_SEED").ok().and_then(|value| value.parse().ok()).unwrap_or(20_260_101);
    println!("KILL_SEED={seed} KILL_CYCLES={cycles}");
    let mut dice = Dice::new(seed);
    let mut server = Server::start(ServerOptions { size: "1GiB", ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    let mut logs: Vec<Log> = vec![Log::new(); WRITERS];
    for cycle in 0..cycles {
        logs = write_until_killed(&mut server, logs, &mut dice).await;
        server.start_again();
        let client = server.client(&MAIN);
        for log in &mut logs {
            settle(&client, log, cycle).await;
        }
        assert_listing(&client, &logs, cycle).await;
    }
}

/// Runs all writers at once, and kills the server after a random number of acknowledgements.
async fn write_until_killed(server: &mut Server, logs: Vec<Log>, dice: &mut Dice) -> Vec<Log> {
    let kill_at = 20 + dice.below(150);
    let progress = Arc::new(Progress { acknowledged: AtomicUsize::new(0), kill_at, reached: Notify::new() });
    let mut writers = JoinSet::new();
    for (number, log) in logs.into_iter().enumerate() {
        let client = server.client(&MAIN);
        let (dice, progress) = (Dice::new(dice.next()), progress.clone());
        writers.spawn(async move { (number, write(client, number, log, dice, &progress).await) });
    }
    progress.reached.notified().await;
    server.kill();
    let mut logs = vec![Log::new(); WRITERS];
    while let Some(done) = writers.join_next().await {
        let (number, log) = done.expect("a writer");
        logs[number] = log;
    }
    logs
}

/// Writes one object after another until the server is gone.
async fn write(client: Client, writer: usize, mut log: Log, mut dice: Dice, progress: &Progress) -> Log {
    loop {
        let key = format!("writer-{writer}/{}", dice.below(KEYS_PER_WRITER));
        let content = Content::new(dice.next(), dice.size_bytes());
        let action = dice.below(10);
        let wanted = if action == 0 { None } else { Some(content) };
        let state = log.entry(key.clone()).or_default();
        state.in_flight = Some(wanted);
        let outcome = match wanted {
            None => delete(&client, &key).await,
            Some(content) if action == 1 => put_in_parts(&client, &key, content).await,
            Some(content) => put(&client, &key, content).await.map(|_| ()),
        };
        match outcome {
            Ok(()) => {
                *state = KeyState { acknowledged: wanted, in_flight: None };
                progress.acknowledge();
            }
            Err(refusal) => {
                // A 200 with an error is a response that broke off.
                assert!(matches!(refusal.status, 0 | 200), "only the kill may end a write: {refusal:?}");
                return log;
            }
        }
    }
}

/// Uploads two parts if the content is large enough.
async fn put_in_parts(client: &Client, key: &str, content: Content) -> Result<(), Refusal> {
    if content.size_bytes <= PART_BYTES {
        return put(client, key, content).await.map(|_| ());
    }
    let bytes = content.bytes();
    let upload = create(client, key).await?;
    let first = upload_part(client, key, &upload, 1, bytes[..PART_BYTES].to_vec()).await?;
    let second = upload_part(client, key, &upload, 2, bytes[PART_BYTES..].to_vec()).await?;
    complete(client, key, &upload, vec![first, second]).await.map(|_| ())
}

/// Reads every key of `log`, fails on anything but the allowed states, and records what was found.
async fn settle(client: &Client, log: &mut Log, cycle: usize) {
    for (key, state) in log.iter_mut() {
        let found = match get(client, key).await {
            Ok(bytes) => Some(bytes),
            Err(refusal) if refusal.is(404, "NoSuchKey") => None,
            Err(refusal) => panic!("cycle {cycle}: {key} ({state:?}) can not be read: {refusal:?}"),
        };
        let is_found = |allowed: &Option<Content>| match (allowed, &found) {
            (None, None) => true,
            (Some(content), Some(bytes)) => content.difference(bytes).is_none(),
            _ => false,
        };
        let settled = [Some(state.acknowledged), state.in_flight].into_iter().flatten().find(is_found);
        let Some(settled) = settled else {
            let length = found.map(|bytes| bytes.len());
            panic!("cycle {cycle}: {key} holds {length:?} bytes that are neither of {state:?}");
        };
        *state = KeyState { acknowledged: settled, in_flight: None };
    }
}

/// Checks that the listing agrees with the objects.
async fn assert_listing(client: &Client, logs: &[Log], cycle: usize) {
    let mut expected: Vec<(String, usize)> = logs
        .iter()
        .flatten()
        .filter_map(|(key, state)| state.acknowledged.map(|content| (key.clone(), content.size_bytes)))
        .collect();
    expected.sort_unstable();
    assert_eq!(list_all(client, 17).await, expected, "cycle {cycle}: LIST of {BUCKET} and GET disagree");
}
