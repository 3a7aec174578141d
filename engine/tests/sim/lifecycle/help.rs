//! A world in which a day is a minute long, and the rules that the tests make.

use std::rc::Rc;

use ringbolt_engine::lifecycle::{
    Expiration, Filter, LifecycleCounters, LifecycleRules, NoncurrentExpiration, Rule,
};
use ringbolt_engine::node::{Core, LifecycleOptions};
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::{
    Attributes, BucketId, ConfigKind, ObjectInfo, ObjectMeta, VersionItem, Versioning, VersionsQuery,
    WriteCondition, traits,
};

use crate::world::{MIB, World, body, bucket, etag};

pub const DAY_MS: u64 = 60_000;

pub fn options() -> LifecycleOptions {
    LifecycleOptions { day_ms: DAY_MS, every_ms: 5_000, ..LifecycleOptions::default() }
}

/// A node with a bucket, and the lifecycle of the node.
pub struct Aging {
    pub world: World,
    pub node: Rc<SimNode>,
    pub id: BucketId,
}

impl Aging {
    /// Makes a bucket in this state. The lifecycle is running.
    pub fn new(seed: u64, versioning: Versioning) -> Self {
        Self::with_shards(seed, 2, versioning)
    }

    pub fn with_shards(seed: u64, shards: u16, versioning: Versioning) -> Self {
        let world = World::new(seed, 96 * MIB, shards, usize::from(shards));
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            if versioning != Versioning::Off {
                on.core(0).set_versioning(id, Versioning::Enabled).await.expect("enabled");
            }
            if versioning == Versioning::Suspended {
                on.core(0).set_versioning(id, Versioning::Suspended).await.expect("suspended");
            }
            id
        });
        let aging = Self { world, node, id };
        aging.start(options());
        aging
    }

    /// Starts the lifecycle on every core.
    pub fn start(&self, options: LifecycleOptions) {
        (0..self.world.options.cores).for_each(|index| self.node.core(index).run_lifecycle(options));
    }

    /// Runs what needs a core.
    pub fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        work: impl FnOnce(Core, BucketId) -> F,
    ) -> T {
        self.world.run(work(self.node.core(0), self.id))
    }

    pub fn rules(&self, rules: Vec<Rule>) {
        self.run(|core, id| async move { set_rules(&core, id, rules).await });
    }

    /// Waits until the middle of a day, counted from the world's beginning.
    pub fn wait_for_noon(&self, day: u64) {
        let noon_us = (day * DAY_MS + DAY_MS / 2) * 1000;
        let now_us = self.world.sim.now_us();
        assert!(now_us <= noon_us, "day {day} is over");
        let slept = self.world.sim.sleep_us(noon_us - now_us);
        self.world.run(slept);
    }

    /// Returns the stack of a key, newest first: the tag of each body, or `None` for a marker.
    pub fn stack(&self, key: &'static [u8]) -> Vec<Option<u64>> {
        self.run(
            |core, id| async move { stack(&core, id, key).await.into_iter().map(|(tag, _)| tag).collect() },
        )
    }

    pub fn counters(&self) -> LifecycleCounters {
        let shards = self.run(|core, _| async move { core.metrics().await.expect("metrics").shards });
        let mut sum = LifecycleCounters::default();
        for shard in shards {
            let of = shard.lifecycle;
            sum.examined += of.examined;
            sum.markers_added += of.markers_added;
            sum.versions_removed += of.versions_removed;
            sum.markers_removed += of.markers_removed;
            sum.uploads_aborted += of.uploads_aborted;
            sum.transitions += of.transitions;
            sum.locked += of.locked;
            sum.overtaken += of.overtaken;
            sum.errors += of.errors;
            sum.passes += of.passes;
        }
        sum
    }

    /// Ends the process and opens the node again, without its lifecycle.
    pub fn kill(self) -> Self {
        let Self { world, node, id } = self;
        world.kill(node);
        let node = world.open();
        Self { world, node, id }
    }
}

pub async fn set_rules(core: &Core, id: BucketId, rules: Vec<Rule>) {
    let value = LifecycleRules { rules }.encode(b"");
    core.set_bucket_config(id, ConfigKind::LIFECYCLE, Some(value)).await.expect("set");
}

/// Returns the versions of a key, newest first: the tag of the body or `None` for a marker, and
/// whether it is the null version.
pub async fn stack(core: &Core, id: BucketId, key: &[u8]) -> Vec<(Option<u64>, bool)> {
    let query = VersionsQuery { prefix: key.to_vec(), max_items: 1000, ..VersionsQuery::default() };
    let page = core.list_versions(id, &query).await.expect("listed");
    assert!(!page.truncated);
    let own = page.items.iter().filter(|item| item.name() == key);
    let shown = |item: &VersionItem| {
        let VersionItem::Version { is_null, is_marker, etag, .. } = item else {
            panic!("no delimiter was asked for")
        };
        let tag = u64::from_le_bytes(*etag.md5.first_chunk().expect("eight bytes"));
        ((!is_marker).then_some(tag), *is_null)
    };
    own.map(shown).collect()
}

/// Puts an object with tags and other attributes.
pub async fn put_with(
    core: &Core,
    id: BucketId,
    key: &[u8],
    tag: u64,
    mut attributes: Attributes,
    tags: &[(&str, &str)],
) -> ObjectInfo {
    traits::write_tags(&mut attributes, tags.iter().copied());
    let bytes = body(tag, 100);
    let mut writer = core.put(id, key, bytes.len() as u64).await.expect("begun");
    writer.write(&bytes).await.expect("written");
    let meta = ObjectMeta { etag: etag(tag), attributes };
    writer.commit(meta, WriteCondition::default()).await.expect("stored")
}

pub fn rule(id: &str) -> Rule {
    Rule { id: id.to_owned(), enabled: true, ..Rule::default() }
}

pub fn expiring(days: u32) -> Rule {
    Rule { expiration: Some(Expiration::Days(days)), ..rule("expiring") }
}

pub fn removing(days: u32, newer_kept: Option<u32>) -> Rule {
    Rule { noncurrent_expiration: Some(NoncurrentExpiration { days, newer_kept }), ..rule("removing") }
}

pub fn under(prefix: &str, of: Rule) -> Rule {
    Rule { filter: Filter { prefix: prefix.to_owned(), ..of.filter }, ..of }
}

pub fn tagged(key: &str, value: &str, of: Rule) -> Rule {
    Rule { filter: Filter { tags: vec![(key.to_owned(), value.to_owned())], ..of.filter }, ..of }
}
