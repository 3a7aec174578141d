//! A model of what the node must hold: acknowledged changes, and changes that may or may not have
//! happened.

use std::collections::BTreeMap;

use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::BucketId;

use crate::world::{body, etag, get, list_all};

/// The possible states of one key, any of which a crash may have left. `None` means that the object
/// is absent. A body is named by its tag and length. While nothing is in flight there is exactly
/// one state.
#[derive(Clone, Debug, Default)]
pub struct Possible {
    pub certain: Option<(u64, usize)>,
    pub in_flight: Vec<Option<(u64, usize)>>,
}

/// The possible states of all keys.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub keys: BTreeMap<Vec<u8>, Possible>,
}

impl Model {
    pub fn begin(&mut self, key: &[u8], change: Option<(u64, usize)>) {
        self.keys.entry(key.to_vec()).or_default().in_flight.push(change);
    }

    /// Records that the change was acknowledged.
    pub fn acknowledge(&mut self, key: &[u8], change: Option<(u64, usize)>) {
        let possible = self.keys.entry(key.to_vec()).or_default();
        possible.certain = change;
        possible.in_flight.clear();
    }

    /// Records that the change was refused and nothing was stored.
    pub fn refuse(&mut self, key: &[u8]) {
        self.keys.entry(key.to_vec()).or_default().in_flight.pop();
    }

    /// Reads everything back, compares it with the model, and takes what is stored as certain from
    /// now on. Returns the number of objects.
    pub async fn verify(&mut self, node: &SimNode, bucket: BucketId, story: &str) -> usize {
        let mut listed = list_all(&node.any_core(), bucket).await.into_iter();
        let mut objects = 0;
        for (key, possible) in &mut self.keys {
            let name = String::from_utf8_lossy(key);
            let read = get(&node.any_core(), bucket, key).await;
            let read = read.unwrap_or_else(|error| panic!("{story}: {name} is unreadable: {error}"));
            let found = read.as_ref().map(|(info, bytes)| {
                let tag = u64::from_le_bytes(*info.etag.md5.first_chunk().expect("16 bytes"));
                assert!(*bytes == body(tag, bytes.len()), "{story}: {name} has wrong bytes");
                assert_eq!(info.etag, etag(tag), "{story}: {name}");
                assert_eq!(info.attributes, [("tag".to_owned(), tag.to_string())], "{story}: {name}");
                (tag, bytes.len())
            });
            let allowed = found == possible.certain || possible.in_flight.contains(&found);
            assert!(allowed, "{story}: {name} holds {found:?}, not {possible:?}");
            *possible = Possible { certain: found, in_flight: Vec::new() };
            if let Some((_, length)) = found {
                objects += 1;
                assert_eq!(listed.next(), Some((key.clone(), length as u64)), "{story}: the listing");
            }
        }
        assert_eq!(listed.next(), None, "{story}: the listing has more");
        self.keys.retain(|_, possible| possible.certain.is_some());
        objects
    }
}
