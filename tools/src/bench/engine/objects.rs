//! The objects that a job works with, the same for every engine that stores objects.
//!
//! Invariants: an object is its number and a label, the block size of the direction that made it, so that jobs with the
//! same block size share objects and others do not overwrite them. Its size and its content follow from its number.

use super::EngineError;
use crate::bench::spec::{BlockSize, Direction, Job, ObjectOp};
use crate::content::Dice;

/// Length of every key.
pub const KEY_BYTES: usize = 40;
/// Numbers under one prefix, for listings: a page of S3.
pub const KEYS_OF_A_PAGE: u64 = 1000;
const PAGE_DIGITS: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct ObjectSet {
    pub count: u64,
    read: BlockSize,
    labels: [Label; 3],
    /// Whether the job works with objects that must be there before.
    pub needs_objects: bool,
    pub largest_bytes: u64,
}

/// `4096/`: the largest block of a direction.
#[derive(Clone, Debug)]
struct Label(String);

impl Label {
    fn of(block: &BlockSize) -> Self {
        Self(format!("{}/", largest(block)))
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
    /// # Errors
    /// When the job does not say how many objects there are.
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
        let mut labels = directions.map(Label::of);
        if job.objects.deletes_its_own() {
            labels[label_index(Direction::Trim)] = labels[label_index(Direction::Write)].clone();
        }
        Ok(Self {
            count,
            read: job.block.read.clone(),
            labels,
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

    /// What all keys of a direction begin with.
    pub fn label(&self, direction: Direction) -> &str {
        &self.labels[label_index(direction)].0
    }

    /// Appends the prefix of the page of [`KEYS_OF_A_PAGE`] keys that `number` is in.
    pub fn push_page_prefix(&self, number: u64, prefix: &mut Vec<u8>) {
        self.push_key(Direction::Read, number, prefix);
        prefix.truncate(prefix.len() - PAGE_DIGITS);
    }

    /// The number in a key of this set's reads.
    pub fn number_of(&self, key: &str) -> Option<u64> {
        key.strip_prefix(self.label(Direction::Read))?.parse().ok()
    }

    /// Of an object that reads need.
    pub fn size_bytes(&self, number: u64) -> u64 {
        let dice = Dice::new(number ^ 0x5a17).next();
        match &self.read {
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
                largest(&self.read)
            }
        }
    }

    /// Writes the content of an object that reads need.
    pub fn fill(number: u64, body: &mut [u8]) {
        let mut dice = Dice::new(number);
        for word in body.chunks_mut(8) {
            word.copy_from_slice(&dice.next().to_le_bytes()[..word.len()]);
        }
    }
}

/// Decimal digits, zeros in front.
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
        let labels =
            [Label::of(&read), Label::of(&BlockSize::Fixed(65_536)), Label::of(&BlockSize::Fixed(1))];
        ObjectSet { count: 10, largest_bytes: largest(&read), read, labels, needs_objects: true }
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
        let mut job = Job::plain("mix", crate::bench::spec::Engine::S3);
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
            (0..1000).map(|number| set.size_bytes(number)).collect()
        };
        let ranged = sizes(BlockSize::Range { least: 4096, most: 16_384 });
        assert!(ranged.iter().all(|size| (4096..=16_384).contains(size) && size % 4096 == 0));
        assert!(ranged.contains(&4096) && ranged.contains(&16_384));
        let split = sizes(BlockSize::Split(vec![(512, 90), (8192, 10)]));
        let small = split.iter().filter(|size| **size == 512).count();
        assert!((850..950).contains(&small), "{small} of 1000 are small");
    }
}
