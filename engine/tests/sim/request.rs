//! What the engine logs of a drive's error names the client's request that met it, on whatever core that was.

#![expect(clippy::disallowed_types, reason = "a subscriber of tracing must be `Sync`")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ringbolt_engine::sim::device::Faults;
use ringbolt_engine::types::{RequestId, WriteCondition};
use ringbolt_engine::{EngineError, types::ObjectMeta};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::world::{MIB, World, body, bucket, etag};

/// Keeps the current request of every error that is logged.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<BTreeSet<Option<u64>>>>);

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, _: &Event<'_>) {
        self.0.lock().expect("not poisoned").insert(RequestId::current().map(|request| request.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_failed_write_is_logged_in_the_name_of_the_requests_that_met_it() {
    const SHARDS: u16 = 2;
    const PUTS: u64 = 16;
    let world = World::new(23, 256 * MIB, SHARDS, 2);
    // In the second life the first record waits while the log begins elsewhere.
    world.close(world.open());
    let node = world.open();
    // Both shards live on cores of their own: one of them is asked by message.
    let core = node.core(0);
    let id = world.run({
        let core = core.clone();
        async move { bucket(&core, "bucket").await }
    });
    world.drives[0].set_faults(Faults { fail_writes: true, ..Faults::default() });
    let errors = Errors::default();
    let refused = tracing::subscriber::with_default(errors.clone(), || {
        world.run(async move {
            let puts = (1..=PUTS).map(|number| {
                let core = core.clone();
                let put = async move {
                    let key = format!("key {number}");
                    let mut writer = core.put(id, key.as_bytes(), 1000).await?;
                    writer.write(&body(number, 1000)).await?;
                    let meta = ObjectMeta { etag: etag(number), attributes: Vec::new() };
                    writer.commit(meta, WriteCondition::default()).await
                };
                RequestId(number).scope(put)
            });
            futures_util::future::join_all(puts).await
        })
    });
    for outcome in &refused {
        assert!(matches!(outcome, Err(EngineError::WritesStopped { .. })), "{outcome:?}");
    }
    let named: BTreeSet<u64> = errors.0.lock().expect("not poisoned").iter().copied().flatten().collect();
    assert_eq!(named, (1..=PUTS).collect(), "every put that the failure ended is named, and nobody else");
    drop(node);
}
