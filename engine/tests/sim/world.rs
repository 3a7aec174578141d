//! A simulated node with its drives, and the calls that every test makes.

use std::future::Future;
use std::rc::Rc;

use ringbolt_engine::node::{Core, OpenError};
use ringbolt_engine::sim::device::{Fate, SimDevice};
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};
use ringbolt_engine::types::{
    BucketCreated, BucketId, Etag, ListItem, ListQuery, ObjectInfo, ObjectMeta, WriteCondition,
};
use ringbolt_engine::{EngineError, Result};

pub const MIB: u64 = 1 << 20;

/// The drives, which outlive the node.
pub struct World {
    pub sim: Simulator,
    pub drives: Vec<SimDevice>,
    pub options: SimOptions,
}

impl Drop for World {
    /// Ends the tasks of nodes that were not ended, which keep themselves and the drives.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sim.kill();
        }
    }
}

impl World {
    pub fn new(seed: u64, size_bytes: u64, shards: u16, cores: usize) -> Self {
        Self::with_extents_of(1, seed, size_bytes, shards, cores)
    }

    /// Creates a world whose extents have `slots` slots, as larger drives have them.
    pub fn with_extents_of(slots: u64, seed: u64, size_bytes: u64, shards: u16, cores: usize) -> Self {
        let sim = Simulator::new(seed);
        let drives = format_sim_drives(&sim, 1, (size_bytes, slots), shards);
        Self { sim, drives, options: SimOptions { cores, ..SimOptions::default() } }
    }

    pub fn try_open(&self) -> std::result::Result<Rc<SimNode>, OpenError> {
        self.sim.block_on(SimNode::open(self.sim.clone(), self.drives.clone(), self.options)).map(Rc::new)
    }

    pub fn open(&self) -> Rc<SimNode> {
        self.try_open().expect("the node opens")
    }

    pub fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        self.sim.block_on(future)
    }

    /// Ends the process. What the drives were told still reaches them.
    pub fn kill(&self, node: Rc<SimNode>) {
        drop(node);
        self.sim.kill();
    }

    /// Cuts the power in the middle of whatever runs.
    pub fn crash(&self, node: Rc<SimNode>) {
        // The power of the drives is cut first, because a task that is dropped completes its
        // writes.
        self.cut_power();
        self.kill(node);
    }

    /// Cuts the power of the drives: what they had not made durable is kept, lost or torn.
    pub fn cut_power(&self) {
        for drive in &self.drives {
            let random = self.sim.random();
            drive.crash(|_| match random.below(4) {
                0 => Fate::Kept,
                1 => Fate::Lost,
                2 => Fate::Torn { sectors: random.below(64) as usize },
                _ => Fate::Scattered { mask: random.next_u64() },
            });
        }
    }

    /// Closes the node gracefully.
    pub fn close(&self, node: Rc<SimNode>) {
        let cores = self.options.cores;
        let closing: Vec<_> = (0..cores).map(|index| node.core(index)).collect();
        let closed =
            self.run(async move { futures_util::future::join_all(closing.iter().map(Core::close)).await });
        assert!(closed.into_iter().all(|outcome| outcome.is_ok()), "a clean stop takes its checkpoints");
        self.kill(node);
    }

    /// Opens the node as after a process that ended, with another number of cores.
    pub fn reopen_on(&mut self, node: Rc<SimNode>, cores: usize) -> Rc<SimNode> {
        self.kill(node);
        self.options.cores = cores;
        self.open()
    }
}

/// Returns bytes that identify the body and the place in it.
pub fn body(tag: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut at = 0u64;
    while bytes.len() < length {
        let word = (tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at.wrapping_mul(0xd6e8_feb8_6659_fd93))
            .rotate_left(29);
        bytes.extend_from_slice(&word.to_le_bytes());
        at += 1;
    }
    bytes.truncate(length);
    bytes
}

/// Returns a stand-in for the MD5, which the engine does not compute.
pub fn etag(tag: u64) -> Etag {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&tag.to_le_bytes());
    Etag { md5, parts: 0 }
}

pub async fn bucket(core: &Core, name: &str) -> BucketId {
    match core.create_bucket(name, "owner", Vec::new()).await.expect("a bucket is made") {
        BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => bucket.id,
    }
}

pub async fn put_if(
    core: &Core,
    bucket: BucketId,
    key: &[u8],
    tag: u64,
    length: usize,
    condition: WriteCondition,
) -> Result<ObjectInfo> {
    let bytes = body(tag, length);
    let mut writer = core.put(bucket, key, length as u64).await?;
    // The body comes in pieces of odd sizes, as from a socket.
    for piece in bytes.chunks(40_961) {
        writer.write(piece).await?;
    }
    let attributes = vec![("tag".to_owned(), tag.to_string())];
    writer.commit(ObjectMeta { etag: etag(tag), attributes }, condition).await
}

pub async fn put(core: &Core, bucket: BucketId, key: &[u8], tag: u64, length: usize) -> Result<ObjectInfo> {
    put_if(core, bucket, key, tag, length, WriteCondition::default()).await
}

/// Returns the whole body, and what is known of the object.
pub async fn get(core: &Core, bucket: BucketId, key: &[u8]) -> Result<Option<(ObjectInfo, Vec<u8>)>> {
    let Some(mut reader) = core.get(bucket, key).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    Ok(Some((reader.info().clone(), bytes)))
}

pub async fn get_range(core: &Core, bucket: BucketId, key: &[u8], from: u64, length: u64) -> Result<Vec<u8>> {
    let mut reader = core.get(bucket, key).await?.ok_or(EngineError::NoSuchKey)?;
    reader.set_range(from, length);
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    Ok(bytes)
}

pub async fn delete(core: &Core, bucket: BucketId, key: &[u8]) -> Result<ringbolt_engine::types::Deleted> {
    core.delete(bucket, key, WriteCondition::default()).await
}

/// Returns every key of a bucket with its size, read page by page.
pub async fn list_all(core: &Core, bucket: BucketId) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let mut query = ListQuery { max_items: 7, ..ListQuery::default() };
    loop {
        let page = core.list(bucket, &query).await.expect("a listing");
        for item in &page.items {
            match item {
                ListItem::Object { key, size_bytes, .. } => found.push((key.clone(), *size_bytes)),
                ListItem::CommonPrefix(prefix) => panic!("no delimiter was asked, {prefix:?} came"),
            }
        }
        match page.items.last() {
            Some(last) if page.truncated => query.after = last.name().to_vec(),
            _ => return found,
        }
    }
}
