//! A table whose copies share what did not change: the copy that a change makes of 100,000 access keys
//! costs a few hundred of them.
//!
//! Invariant: a copy never changes. A change makes a new one, which shares all parts but one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// The number of parts.
const PARTS: usize = 256;

type Part<V> = HashMap<Box<str>, V, RandomState>;

/// A table from names to values.
#[derive(Clone)]
pub struct Table<V> {
    hasher: RandomState,
    parts: Arc<Vec<Arc<Part<V>>>>,
}

impl<V: Clone> Default for Table<V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = || Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { parts: Arc::new((0..PARTS).map(|_| empty()).collect()), hasher }
    }
}

impl<V: Clone> Table<V> {
    fn part_of(&self, name: &str) -> usize {
        // The maps use the other bits.
        (self.hasher.hash_one(name) >> 20) as usize % PARTS
    }

    /// Returns the value of a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.parts[self.part_of(name)].get(name)
    }

    /// Sets or removes the value of a name. What another copy holds of it stays there.
    pub fn set(&mut self, name: &str, value: Option<V>) {
        let at = self.part_of(name);
        let part = Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[at]);
        match value {
            Some(value) => drop(part.insert(name.into(), value)),
            None => drop(part.remove(name)),
        }
    }

    /// Returns all names with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(name, value)| (&**name, value))
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had() {
        let mut table = Table::default();
        for number in 0..1000 {
            table.set(&format!("name-{number}"), Some(number));
        }
        let before = table.clone();
        table.set("name-7", None);
        table.set("name-8", Some(-8));
        table.set("new", Some(1));
        assert_eq!((before.get("name-7"), table.get("name-7")), (Some(&7), None));
        assert_eq!((before.get("name-8"), table.get("name-8")), (Some(&8), Some(&-8)));
        assert_eq!((before.len(), table.len(), table.iter().count()), (1000, 1000, 1000));
        let shared = before.parts.iter().zip(table.parts.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= PARTS - 3, "{shared} parts are shared");
    }
}
