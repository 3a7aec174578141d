//! This module defines the objects of a job, which are the same for every engine that stores
//! objects.
//!
//! Invariants: an object is identified by its number and a label, which is the block size of the
//! direction that created it. Jobs with the same block size thus share objects, and others do not
//! overwrite them; objects that can be verified have labels of their own. The size of an object
//! follows from its number and the block sizes of its label, so a read knows what to expect. The
//! content of an object that was stored before the clock started follows from its number.

use super::EngineError;
use super::stamp::{self, Found, Identity};
use crate::spec::{BlockSize, ByDirection, Checksum, Direction, Job, ObjectOp};
use ringbolt_tool_common::content::Dice;

/// Every key has this length.
pub const KEY_BYTES: usize = 40;
/// This many objects share a prefix for listings: one page of S3.
pub const KEYS_OF_A_PAGE: u64 = 1000;
const PAGE_DIGITS: usize = 3;

/// Describes the objects of a job.
#[derive(Clone, Debug)]
pub struct ObjectSet {
    pub count: u64,
    blocks: ByDirection<BlockSize>,
    labels: [Label; 3],
    /// Holds a checksum of the bucket and each label.
    places: [u32; 3],
    checksum: Option<Checksum>,
    /// This is the length of range reads; `None` if the job reads whole objects.
    pub range_bytes: Option<u64>,
    /// Says that the job works with objects that must exist before it begins.
    pub needs_objects: bool,
    pub largest_bytes: u64,
}

/// This is the block sizes of a direction, such as `4096/`, after the checksum if there is one.
#[derive(Clone, Debug)]
struct Label(String);

impl Label {
    fn of(block: &BlockSize, checksum: Option<Checksum>) -> Self {
        let checked = checksum.map_or(String::new(), |checksum| format!("{}-", checksum.name()));
        let sizes = match block {
            BlockSize::Fixed(bytes) => bytes.to_string(),
            BlockSize::Range { least, most } => format!("{least}-{most}"),
            BlockSize::Split(_) => {
                let crc = crc32c::crc32c(format!("{block:?}").as_bytes());
                format!("{}-{crc:08x}", largest(block))
            }
        };
        Self(format!("{checked}{sizes}/"))
    }
}

fn largest(block: &BlockSize) -> u64 {
    match block {
        BlockSize::Fixed(bytes) => *bytes,
        BlockSize::Range { most, .. } => *most,
        BlockSize::Split(parts) => parts.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
    }
}

fn label_index(direction: Direction) -> usize {
    match direction {
        Direction::Read => 0,
        Direction::Write => 1,
        Direction::Trim => 2,
    }
}

impl ObjectSet {
    /// Returns the objects of a job.
    ///
    /// # Errors
    /// Fails when the job does not say how many objects there are.
    pub fn of(job: &Job) -> Result<Self, EngineError> {
        let directions = Direction::ALL.map(|direction| job.block.get(direction));
        let largest_bytes = directions.iter().map(|block| largest(block)).max().unwrap_or(0);
        let from_size = |size: u64| size / largest_bytes.max(1);
        let count = match job.objects.objects {
            0 => job.size.map_or(0, from_size),
            count => count,
        };
        if count == 0 {
            return Err(EngineError(format!(
                "job {}: how many objects? give objects=, or a size= of at least one block ({largest_bytes} bytes)",
                job.name
            )));
        }
        let blocks = blocks_of(job);
        let checksum = job.verify.is_some().then_some(job.checksum);
        let labels = Direction::ALL.map(|direction| Label::of(blocks.get(direction), checksum));
        let bucket = &job.objects.bucket;
        let place = |label: &Label| crc32c::crc32c(format!("{bucket}/{}", label.0).as_bytes());
        Ok(Self {
            count,
            blocks,
            places: [place(&labels[0]), place(&labels[1]), place(&labels[2])],
            labels,
            checksum,
            range_bytes: job.objects.range_bytes,
            needs_objects: needs_objects(job),
            largest_bytes,
        })
    }

    /// Appends the key of an object.
    pub fn push_key(&self, direction: Direction, number: u64, key: &mut Vec<u8>) {
        let label = self.labels[label_index(direction)].0.as_bytes();
        key.extend_from_slice(label);
        push_padded(number, KEY_BYTES - label.len(), key);
    }

    pub fn key(&self, direction: Direction, number: u64) -> Vec<u8> {
        let mut key = Vec::with_capacity(KEY_BYTES);
        self.push_key(direction, number, &mut key);
        key
    }

    /// Returns the prefix of all keys of a direction.
    pub fn label(&self, direction: Direction) -> &str {
        &self.labels[label_index(direction)].0
    }

    /// Appends the prefix of the page of [`KEYS_OF_A_PAGE`] keys that contains `number`.
    pub fn push_page_prefix(&self, number: u64, prefix: &mut Vec<u8>) {
        self.push_key(Direction::Read, number, prefix);
        prefix.truncate(prefix.len() - PAGE_DIGITS);
    }

    /// Returns the number in a key of this set's reads.
    pub fn number_of(&self, key: &str) -> Option<u64> {
        key.strip_prefix(self.label(Direction::Read))?.parse().ok()
    }

    /// Returns the size in bytes of an object of a direction.
    pub fn size_bytes(&self, direction: Direction, number: u64) -> u64 {
        size_bytes(self.blocks.get(direction), number)
    }

    /// Fills a buffer with the content of an object that reads need.
    pub fn fill(number: u64, body: &mut [u8]) {
        let mut dice = Dice::new(number);
        for word in body.chunks_mut(8) {
            word.copy_from_slice(&dice.next().to_le_bytes()[..word.len()]);
        }
    }

    /// Adds headers to the content of an object, if the job verifies. `version` must differ between
    /// writes.
    pub fn stamp(&self, direction: Direction, number: u64, version: u64, content: &mut [u8]) {
        if let Some(checksum) = self.checksum {
            stamp::write(checksum, &self.identity(direction, number), version, content);
        }
    }

    /// Returns the wrong pieces of content that was read from `offset` of an object.
    pub fn check(&self, direction: Direction, number: u64, offset: u64, content: &[u8]) -> Vec<Found> {
        let Some(checksum) = self.checksum else { return Vec::new() };
        stamp::check(checksum, &self.identity(direction, number), offset, content)
    }

    fn identity(&self, direction: Direction, number: u64) -> Identity {
        let place = self.places[label_index(direction)];
        Identity { number, length: self.size_bytes(direction, number), place }
    }

    /// Returns whether two directions work on the same objects.
    pub fn are_shared(&self, one: Direction, other: Direction) -> bool {
        self.label(one) == self.label(other)
    }
}

/// Returns the block sizes of a job's objects. A mix that deletes removes the objects that it has
/// put, so its deletes use the block sizes of its writes.
pub fn blocks_of(job: &Job) -> ByDirection<BlockSize> {
    let mut blocks = job.block.clone();
    if job.objects.deletes_its_own() {
        blocks.trim = blocks.write.clone();
    }
    blocks
}

/// Returns the size in bytes of the object with this number.
pub fn size_bytes(block: &BlockSize, number: u64) -> u64 {
    if let BlockSize::Fixed(bytes) = block {
        return *bytes;
    }
    let dice = Dice::new(number ^ 0x5a17).next();
    match block {
        BlockSize::Fixed(bytes) => *bytes,
        BlockSize::Range { least, most } => {
            let steps = (most - least) / (*least).max(1) + 1;
            least + dice % steps * least
        }
        BlockSize::Split(parts) => {
            let mut left = (dice % 100) as u32;
            for (bytes, percent) in parts {
                if left < *percent {
                    return *bytes;
                }
                left -= percent;
            }
            largest(block)
        }
    }
}

/// Appends a decimal number with leading zeros.
fn push_padded(mut number: u64, digits: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn needs_objects(job: &Job) -> bool {
    match &job.objects.ops {
        None => job.pattern.reads,
        Some(ops) => ops.iter().any(|(op, weight)| {
            *weight > 0 && matches!(op, ObjectOp::Get | ObjectOp::Head | ObjectOp::List | ObjectOp::Copy)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(read: BlockSize) -> ObjectSet {
        let mut job = Job::plain("set", crate::spec::Engine::S3);
        job.objects.objects = 10;
        job.block = ByDirection { read, write: BlockSize::Fixed(65_536), trim: BlockSize::Fixed(1) };
        ObjectSet::of(&job).unwrap()
    }

    #[test]
    fn keys_have_one_length_and_give_their_number_back() {
        let set = set(BlockSize::Fixed(4096));
        for number in [0, 7, 999, 1_000_000, u64::from(u32::MAX)] {
            let key = set.key(Direction::Read, number);
            assert_eq!(key.len(), KEY_BYTES);
            assert_eq!(set.number_of(std::str::from_utf8(&key).unwrap()), Some(number));
        }
        assert_ne!(set.key(Direction::Read, 1), set.key(Direction::Write, 1));
        assert_eq!(set.number_of("65536/00000000000000000000000000000000001"), None);
    }

    #[test]
    fn a_mix_deletes_under_the_keys_that_it_puts() {
        let mut job = Job::plain("mix", crate::spec::Engine::S3);
        job.objects.objects = 1;
        (job.block.write, job.block.trim) = (BlockSize::Fixed(8192), BlockSize::Fixed(512));
        job.objects.ops = Some(vec![(ObjectOp::Put, 1), (ObjectOp::Delete, 1)]);
        let labels = |job: &Job| {
            let set = ObjectSet::of(job).unwrap();
            [Direction::Write, Direction::Trim].map(|direction| set.label(direction).to_owned())
        };
        assert_eq!(labels(&job), ["8192/", "8192/"]);
        job.objects.ops = Some(vec![(ObjectOp::Delete, 1)]);
        assert_eq!(labels(&job), ["8192/", "512/"]);
    }

    #[test]
    fn objects_of_other_sizes_or_checksums_are_others() {
        let labels = |checksum| {
            [
                BlockSize::Fixed(16_384),
                BlockSize::Range { least: 4096, most: 16_384 },
                BlockSize::Range { least: 8192, most: 16_384 },
                BlockSize::Split(vec![(4096, 50), (16_384, 50)]),
                BlockSize::Split(vec![(4096, 40), (16_384, 60)]),
            ]
            .map(|block| Label::of(&block, checksum).0)
        };
        let all: std::collections::BTreeSet<String> =
            [None, Some(Checksum::Crc32c), Some(Checksum::Sha256)].into_iter().flat_map(labels).collect();
        assert_eq!(all.len(), 15, "{all:?}");
        let block = BlockSize::Range { least: 1 << 31, most: 1 << 32 };
        let longest = Label::of(&block, Some(Checksum::Crc32c)).0.len();
        assert!(longest + 10 <= KEY_BYTES, "{longest} bytes leave no room for numbers");
    }

    #[test]
    fn a_page_holds_a_thousand_numbers() {
        let set = set(BlockSize::Fixed(4096));
        let prefix = |number| {
            let mut prefix = Vec::new();
            set.push_page_prefix(number, &mut prefix);
            prefix
        };
        assert_eq!(prefix(KEYS_OF_A_PAGE), prefix(2 * KEYS_OF_A_PAGE - 1));
        assert_ne!(prefix(KEYS_OF_A_PAGE), prefix(KEYS_OF_A_PAGE - 1));
        assert!(set.key(Direction::Read, 1234).starts_with(&prefix(1234)));
    }

    #[test]
    fn sizes_follow_the_blocks_of_reads() {
        let sizes = |read: BlockSize| -> Vec<u64> {
            let set = set(read);
            (0..1000).map(|number| set.size_bytes(Direction::Read, number)).collect()
        };
        let ranged = sizes(BlockSize::Range { least: 4096, most: 16_384 });
        assert!(ranged.iter().all(|size| (4096..=16_384).contains(size) && size % 4096 == 0));
        assert!(ranged.contains(&4096) && ranged.contains(&16_384));
        let split = sizes(BlockSize::Split(vec![(512, 90), (8192, 10)]));
        let small = split.iter().filter(|size| **size == 512).count();
        assert!((850..950).contains(&small), "{small} of 1000 are small");
    }
}
