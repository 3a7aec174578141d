//! This module models what the node must contain: every version of every object over time, as the
//! clients know it.
//!
//! Invariants:
//! - Time is a count of events: each begin and each end of an operation has a tick of its own.
//! - A version that was begun and not acknowledged may take effect at any later time, completely,
//!   or never. One that was acknowledged, or seen by any client, took effect before that tick and
//!   is durable.
//! - A version is invisible to operations that begin after another one was acknowledged that was
//!   begun after this one took effect.
//! - A part of an upload has such a history too, in [`uploads`](super::uploads), and so has the
//!   existence of a bucket, in [`buckets`](super::buckets).

use std::collections::{BTreeMap, BTreeSet};

use ringbolt_engine::sim::Random;
use ringbolt_engine::types::{BucketId, UploadId};

use super::buckets::{BucketModel, Creating};
use super::node_records::NodeModel;
use super::uploads::Uploads;
use super::versions::VersionedBucket;

/// This is one body, identified by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// This is never used twice.
    pub tag: u64,
    pub size: u64,
}

/// This is `None` if there is no object.
pub type Value = Option<Stored>;

#[derive(Clone, Copy, Debug)]
struct Version {
    value: Value,
    begun: u64,
    /// This is the tick by which it had taken effect.
    happened: Option<u64>,
}

/// Holds the history of one key, or of one part, as far back as any operation may still see it.
#[derive(Clone, Debug)]
pub struct Key {
    versions: Vec<Version>,
}

impl Default for Key {
    fn default() -> Self {
        Self { versions: vec![Version { value: None, begun: 0, happened: Some(0) }] }
    }
}

impl Key {
    /// Returns the tick from which on versions are visible to an operation that begins at `from`;
    /// versions that took effect before it are not.
    fn border(&self, from: u64) -> u64 {
        let over = |version: &&Version| version.happened.is_some_and(|tick| tick < from);
        self.versions.iter().filter(over).map(|version| version.begun).max().unwrap_or(0)
    }

    /// Returns what an operation may see at some moment between the ticks `from` and `to`.
    pub fn possible(&self, from: u64, to: u64) -> impl Iterator<Item = Value> + '_ {
        let border = self.border(from);
        let seen = move |version: &&Version| {
            version.begun < to && version.happened.is_none_or(|tick| tick >= border)
        };
        self.versions.iter().filter(seen).map(|version| version.value)
    }

    /// Returns whether an object is present at every moment between the ticks.
    pub fn is_certain(&self, from: u64, to: u64) -> bool {
        self.possible(from, to).all(|value| value.is_some())
    }

    /// Returns whether the version begun at `begun`, which is acknowledged, may have been removed
    /// since.
    pub fn may_have_gone_since(&self, begun: u64) -> bool {
        let removes = |version: &Version| {
            version.value.is_none() && version.begun > 0 && version.happened.is_none_or(|tick| tick > begun)
        };
        self.versions.iter().any(removes)
    }

    /// Begins a change at `now`; versions that no operation begun at `oldest` or later can see are
    /// forgotten.
    pub fn begin(&mut self, value: Value, now: u64, oldest: u64) {
        let border = self.border(oldest);
        self.versions.retain(|version| version.happened.is_none_or(|tick| tick >= border));
        self.versions.push(Version { value, begun: now, happened: None });
    }

    /// Records that the change begun at `begun` was acknowledged.
    pub fn acknowledge(&mut self, begun: u64, now: u64) {
        // If an operation saw it before the acknowledgement, it may already be forgotten.
        if let Some(version) = self.versions.iter_mut().find(|version| version.begun == begun) {
            version.happened.get_or_insert(now);
        }
    }

    /// Records that the change begun at `begun` was refused without effect.
    pub fn refuse(&mut self, begun: u64) {
        if let Some(at) = self.versions.iter().position(|version| version.begun == begun) {
            assert!(
                self.versions[at].happened.is_none(),
                "a refused version was seen: {:?}",
                self.versions[at]
            );
            self.versions.remove(at);
        }
    }

    /// Records that an operation begun at `from` saw `value` by `now`. Returns `None` if that is
    /// possible, otherwise what was possible.
    pub fn see(&mut self, from: u64, now: u64, value: Value) -> Option<String> {
        let possible: Vec<Value> = self.possible(from, now).collect();
        if !possible.contains(&value) {
            return Some(format!("{possible:?}"));
        }
        // What is seen is durable, whether or not its writer has got the response. Tags are never
        // used twice.
        if value.is_some() {
            for version in self.versions.iter_mut().filter(|version| version.value == value) {
                version.happened.get_or_insert(now);
            }
        }
        None
    }

    /// Returns whether `value` had taken effect before tick `before`.
    pub fn had(&self, value: Value, before: u64) -> bool {
        let same = |version: &Version| {
            version.value == value && version.happened.is_some_and(|happened| happened < before)
        };
        self.versions.iter().any(same)
    }

    pub fn settle(&mut self, value: Value, now: u64) {
        self.versions = vec![Version { value, begun: now, happened: Some(now) }];
    }
}

/// Holds everything that the node must contain.
#[derive(Default)]
pub struct Model {
    now: u64,
    pub buckets: BTreeMap<BucketId, BucketModel>,
    /// Holds the buckets that keep versions; they are not among the others.
    pub versioned: BTreeMap<BucketId, VersionedBucket>,
    pub creating: Creating,
    pub uploads: Uploads,
    /// Holds bodies that were composed of parts: tag and size of each part.
    composed: BTreeMap<u64, Vec<Stored>>,
    /// Holds where each body was put: one that is found elsewhere is wrong, whatever else may be
    /// lost.
    origins: BTreeMap<u64, Origin>,
    /// Holds versions that a conditional put has replaced: a second one that does is a lost update.
    replaced: BTreeSet<u64>,
    pub node: NodeModel,
    /// Holds the operations in progress by the tick of their begin.
    pub running: BTreeMap<u64, Running>,
}

/// Says as what a body was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Object(BucketId, Vec<u8>, u64),
    Part(UploadId, u16, u64),
    /// This is a change of the metadata of a version.
    Metadata(BucketId, Vec<u8>),
}

/// This is an operation in progress.
#[derive(Clone, Debug)]
pub struct Running {
    pub since_us: u64,
    pub what: String,
}

impl Model {
    /// Returns the next tick.
    pub fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Returns the begin of the oldest operation in progress.
    fn oldest(&self, now: u64) -> u64 {
        self.running.keys().next().copied().unwrap_or(now).min(now)
    }

    pub fn bucket(&mut self, bucket: BucketId) -> &mut BucketModel {
        let known = self.buckets.get_mut(&bucket);
        known.unwrap_or_else(|| panic!("bucket {} is not in the model", bucket.0))
    }

    pub fn key(&mut self, bucket: BucketId, key: &[u8]) -> &mut Key {
        self.bucket(bucket).keys.entry(key.to_vec()).or_default()
    }

    /// Begins a change; the returned tick identifies it.
    pub fn begin(&mut self, bucket: BucketId, key: &[u8], value: Value) -> u64 {
        let begun = self.tick();
        let oldest = self.oldest(begun);
        if let Some(stored) = value {
            self.note_object(bucket, key, stored);
        }
        self.key(bucket, key).begin(value, begun, oldest);
        begun
    }

    /// Records that a change was acknowledged.
    ///
    /// # Panics
    /// Panics when its bucket was deleted, and nothing removed the object before.
    pub fn acknowledge(&mut self, bucket: BucketId, key: &[u8], begun: u64) {
        let now = self.tick();
        let gone = self.bucket(bucket).gone;
        let known = self.key(bucket, key);
        known.acknowledge(begun, now);
        let lost = gone.is_some() && !known.may_have_gone_since(begun);
        let what = known.versions.iter().find(|version| version.begun == begun && version.value.is_some());
        assert!(!lost || what.is_none(), "{what:?} was acknowledged in a bucket that was deleted as empty");
    }

    /// Records that a change was refused without effect.
    pub fn refuse(&mut self, bucket: BucketId, key: &[u8], begun: u64) {
        self.key(bucket, key).refuse(begun);
    }

    /// Records that an operation begun at `from` saw `value`. Returns `None` if that is possible,
    /// otherwise what was possible.
    pub fn see(&mut self, bucket: BucketId, key: &[u8], from: u64, value: Value) -> Option<String> {
        let now = self.tick();
        let wrong = self.key(bucket, key).see(from, now, value);
        if let Some(stored) = value {
            self.uploads.saw_object(stored.tag, now);
        }
        wrong
    }

    /// Records after a restart that `value` is there, and that nothing is in progress any more.
    pub fn settle(&mut self, bucket: BucketId, key: &[u8], value: Value) {
        let now = self.tick();
        self.key(bucket, key).settle(value, now);
    }

    /// Records that a body is put as this object.
    pub fn note_object(&mut self, bucket: BucketId, key: &[u8], stored: Stored) {
        self.origins.insert(stored.tag, Origin::Object(bucket, key.to_vec(), stored.size));
    }

    /// Records that the metadata of a version of this key are changed.
    pub fn note_metadata(&mut self, bucket: BucketId, key: &[u8], tag: u64) {
        self.origins.insert(tag, Origin::Metadata(bucket, key.to_vec()));
    }

    /// Records that a part is put of which nothing else is known: it may be there after damage.
    pub fn note_part(&mut self, id: UploadId, number: u16, stored: Stored) {
        self.origins.insert(stored.tag, Origin::Part(id, number, stored.size));
    }

    /// Begins to put a part again; the returned tick identifies the change.
    pub fn begin_part(&mut self, id: UploadId, number: u16, stored: Stored) -> u64 {
        let begun = self.tick();
        let oldest = self.oldest(begun);
        self.note_part(id, number, stored);
        self.uploads.get(id).parts.entry(number).or_default().begin(Some(stored), begun, oldest);
        begun
    }

    /// Records that a put replaced the version `tag` under a condition that named it. Returns false
    /// if another one had done so.
    pub fn replaces(&mut self, tag: u64) -> bool {
        self.replaced.insert(tag)
    }

    /// Forgets what was replaced, because it may be there again after a repair with loss.
    pub fn forget_replaced(&mut self) {
        self.replaced.clear();
    }

    /// Records that the body `tag` is composed of `parts`.
    pub fn compose(&mut self, tag: u64, parts: Vec<Stored>) {
        self.composed.insert(tag, parts);
    }

    /// Returns whether `tag` was ever put as this.
    pub fn came_from(&self, tag: u64, origin: &Origin) -> bool {
        self.origins.get(&tag) == Some(origin)
    }

    /// Returns whether `bytes` are those at `from` of a body.
    pub fn is_content(&self, stored: Stored, from: u64, bytes: &[u8]) -> bool {
        let Some(parts) = self.composed.get(&stored.tag) else {
            return from + bytes.len() as u64 <= stored.size && content_is(stored.tag, from, bytes);
        };
        let (mut start, mut left) = (0, bytes);
        for part in parts {
            let end = start + part.size;
            let at = from + (bytes.len() - left.len()) as u64;
            if at < end && !left.is_empty() {
                let here = left.len().min((end - at) as usize);
                if !content_is(part.tag, at - start, &left[..here]) {
                    return false;
                }
                left = &left[here..];
            }
            start = end;
        }
        left.is_empty()
    }

    /// Checks a page of a listing against what may be there.
    pub fn check_page(&mut self, bucket: BucketId, page: &PageSeen<'_>) -> Result<(), String> {
        let now = self.tick();
        let keys = &self.bucket(bucket).keys;
        let mut expected: BTreeMap<Vec<u8>, Vec<(&Vec<u8>, &Key)>> = BTreeMap::new();
        for (key, known) in keys.iter().filter(|(key, _)| key.starts_with(page.prefix)) {
            expected.entry(page.name_of(key)).or_default().push((key, known));
        }
        if page.items.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err("names do not ascend".to_owned());
        }
        for (name, value) in page.items {
            let group = expected.get(name).ok_or_else(|| format!("{name:?} was never put"))?;
            let fits = group.iter().any(|(_, known)| {
                known.possible(page.from, now).any(|possible| match value {
                    Some(stored) => possible == Some(*stored),
                    None => possible.is_some(),
                })
            });
            if !fits || name.as_slice() <= page.after {
                return Err(format!("{name:?} with {value:?} can not be there: {group:?}"));
            }
        }
        let last = page.items.last().map(|(name, _)| name.clone());
        let covered = |name: &Vec<u8>| !page.truncated || last.as_ref().is_some_and(|last| name <= last);
        let listed: BTreeSet<&Vec<u8>> = page.items.iter().map(|(name, _)| name).collect();
        for (name, group) in &expected {
            let certain = group.iter().any(|(_, known)| known.is_certain(page.from, now));
            if certain && name.as_slice() > page.after && covered(name) && !listed.contains(name) {
                return Err(format!("{name:?} is missing: {group:?}"));
            }
        }
        Ok(())
    }
}

/// Returns a word of a body. Words follow from the tag and their position, so that a block in the
/// wrong place differs.
fn word(tag: u64, number: u64) -> u64 {
    Random::new(tag ^ number << 32).next_u64()
}

/// Returns the first `length` bytes of the body `tag`.
pub fn content(tag: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::with_capacity(length.next_multiple_of(8));
    bytes.extend((0..length.div_ceil(8) as u64).flat_map(|number| word(tag, number).to_le_bytes()));
    bytes.truncate(length);
    bytes
}

fn content_is(tag: u64, from: u64, bytes: &[u8]) -> bool {
    // This part goes up to the first whole word.
    let skip = ((8 - from % 8) % 8).min(bytes.len() as u64) as usize;
    let (head, rest) = bytes.split_at(skip);
    let part_is = |number, start: usize, part: &[u8]| {
        word(tag, number).to_le_bytes()[start..start + part.len()] == *part
    };
    let first = (from + skip as u64) / 8;
    let (words, tail) = rest.as_chunks::<8>();
    let same =
        words.iter().zip(first..).all(|(bytes, number)| u64::from_le_bytes(*bytes) == word(tag, number));
    same && part_is(from / 8, (from % 8) as usize, head) && part_is(first + words.len() as u64, 0, tail)
}

/// This is a page as it was received.
pub struct PageSeen<'a> {
    pub prefix: &'a [u8],
    pub delimiter: &'a [u8],
    pub after: &'a [u8],
    pub from: u64,
    /// This is `None` for a common prefix.
    pub items: &'a [(Vec<u8>, Value)],
    pub truncated: bool,
}

impl PageSeen<'_> {
    /// Returns the name under which a key is listed.
    fn name_of(&self, key: &[u8]) -> Vec<u8> {
        listed_name(self.prefix, self.delimiter, key)
    }
}

/// Returns the name under which a key that has the prefix is listed.
pub fn listed_name(prefix: &[u8], delimiter: &[u8], key: &[u8]) -> Vec<u8> {
    let rest = &key[prefix.len()..];
    let cut = match delimiter {
        [] => None,
        delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
    };
    match cut {
        Some(at) => key[..prefix.len() + at + delimiter.len()].to_vec(),
        None => key.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: BucketId = BucketId(1);

    fn stored(tag: u64) -> Value {
        Some(Stored { tag, size: 1 })
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.buckets.insert(B, BucketModel::new("b"));
        model
    }

    #[test]
    fn what_was_overwritten_for_certain_is_out_of_sight() {
        let mut model = model();
        let first = model.begin(B, b"k", stored(1));
        let reader = model.tick();
        model.running.insert(reader, Running { since_us: 0, what: String::new() });
        model.acknowledge(B, b"k", first);
        let second = model.begin(B, b"k", stored(2));
        let third = model.begin(B, b"k", stored(3));
        model.acknowledge(B, b"k", second);
        let late = model.tick();
        assert!(model.see(B, b"k", late, stored(1)).is_some(), "overwritten before anybody looked");
        assert!(model.see(B, b"k", late, None).is_some());
        assert!(model.see(B, b"k", reader, None).is_none(), "who began earlier may see it");
        assert!(model.see(B, b"k", late, stored(2)).is_none(), "the third may not have happened yet");
        assert!(model.see(B, b"k", late, stored(3)).is_none());
        let _ = third;
        let later = model.tick();
        assert!(model.key(B, b"k").is_certain(later, later + 1));
        assert!(model.see(B, b"k", later, stored(4)).is_some(), "never put");
    }

    #[test]
    fn a_page_that_leaves_out_what_is_there_is_noticed() {
        let mut model = model();
        for (key, tag) in [(b"a/1", 1), (b"a/2", 2), (b"b/1", 3)] {
            let begun = model.begin(B, key, stored(tag));
            model.acknowledge(B, key, begun);
        }
        let from = model.tick();
        let (none, slash): (&[u8], &[u8]) = (b"", b"/");
        let mut check = |items: &[(Vec<u8>, Value)], delimiter, truncated| {
            model
                .check_page(B, &PageSeen { prefix: none, delimiter, after: none, from, items, truncated })
                .is_ok()
        };
        let all: Vec<_> =
            [(b"a/1", 1), (b"a/2", 2), (b"b/1", 3)].map(|(key, tag)| (key.to_vec(), stored(tag))).into();
        assert!(check(&all, none, false));
        assert!(check(&all[..2], none, true));
        assert!(!check(&all[..2], none, false));
        assert!(!check(&all[1..], none, false));
        let prefixes = [(b"a/".to_vec(), None), (b"b/".to_vec(), None)];
        assert!(check(&prefixes, slash, false));
        assert!(!check(&prefixes[..1], slash, false));
    }

    #[test]
    #[should_panic(expected = "deleted as empty")]
    fn a_put_that_lands_in_a_deleted_bucket_is_noticed() {
        let mut model = model();
        let begun = model.begin(B, b"k", stored(1));
        model.bucket(B).gone = Some(begun + 1);
        model.acknowledge(B, b"k", begun);
    }

    #[test]
    fn every_byte_of_a_body_counts() {
        let mut model = model();
        let parts = [Stored { tag: 3, size: 13 }, Stored { tag: 4, size: 0 }, Stored { tag: 5, size: 9 }];
        model.compose(9, parts.to_vec());
        let whole = Stored { tag: 9, size: 22 };
        let bytes = [content(3, 13), content(5, 9)].concat();
        for from in 0..22 {
            for to in from..=22 {
                assert!(model.is_content(whole, from as u64, &bytes[from..to]), "{from} to {to}");
            }
        }
        for at in 0..22 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(!model.is_content(whole, 0, &wrong), "byte {at}");
        }
        assert!(!model.is_content(whole, 1, &bytes), "longer than it is");
        assert!(!model.is_content(Stored { tag: 3, size: 12 }, 0, &content(3, 13)));
    }
}
