//! This module says which versions the keys of the second bucket have, which keeps versions.
//!
//! Invariants:
//! - A stack has the newest version first, and at most one null version.
//! - The id of a version is known from the acknowledgement of its request. The id of a version whose
//!   request was in doubt is known only once it is found.

use super::journal::{Operation, Version};
use serde::{Deserialize, Serialize};

/// This is how requests and answers name the null version.
pub const NULL: &str = "null";

/// This is one version of a key; a delete marker has no content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub id: String,
    pub version: Option<Version>,
}

pub type Stack = Vec<Kept>;

/// This is one version as a listing shows it; a delete marker has no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub size_bytes: Option<usize>,
}

/// This is what a request does with the stack of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a version or a delete marker; with `suspended`, it replaces the null version.
    Add {
        version: Option<Version>,
        suspended: bool,
    },
    Remove {
        id: String,
    },
}

impl Change {
    /// Returns what `operation` does with the stack of which key.
    pub fn of(operation: &Operation) -> Option<(String, Self)> {
        match operation {
            Operation::PutVersion { key, version, suspended } => {
                Some((key.clone(), Self::Add { version: Some(*version), suspended: *suspended }))
            }
            Operation::Mark { key, suspended } => {
                Some((key.clone(), Self::Add { version: None, suspended: *suspended }))
            }
            Operation::Remove { key, id } => Some((key.clone(), Self::Remove { id: id.clone() })),
            _ => None,
        }
    }

    /// Returns whether the version that this change adds can have this id.
    pub fn can_have(&self, id: &str) -> bool {
        let is_new = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match self {
            Self::Add { suspended: true, .. } => id == NULL,
            Self::Add { suspended: false, .. } => is_new,
            Self::Remove { .. } => false,
        }
    }

    /// Returns the stack after the change; `id` is the id of the version that it adds.
    pub fn apply(&self, stack: &Stack, id: &str) -> Stack {
        let gone = match self {
            Self::Add { suspended: true, .. } => NULL,
            Self::Add { suspended: false, .. } => "",
            Self::Remove { id } => id,
        };
        let added = match self {
            Self::Add { version, .. } => Some(Kept { id: id.to_owned(), version: *version }),
            Self::Remove { .. } => None,
        };
        added.into_iter().chain(stack.iter().filter(|kept| kept.id != gone).cloned()).collect()
    }
}

/// Holds which versions one key has.
#[derive(Clone, Debug, Default)]
pub struct StackState {
    pub certain: Stack,
    pub doubt: Option<Change>,
    /// Says that the key was changed since it was last read back.
    pub touched: bool,
}

impl StackState {
    /// Returns the stacks that the key may have and that look as `listed`; the certain one is first.
    /// Two can look alike: the one of which a change in doubt replaced the null version, and the one
    /// of which it did not.
    pub fn possible(&self, listed: &[Listed]) -> Vec<Stack> {
        let top = listed.first().map_or("", |listed| &listed.id);
        let is_known = self.certain.iter().any(|kept| kept.id == top && top != NULL);
        let happened = self.doubt.as_ref().and_then(|change| match change {
            Change::Add { .. } if is_known || !change.can_have(top) => None,
            change => Some(change.apply(&self.certain, top)),
        });
        let looks_so = |stack: &Stack| {
            let shown = stack.iter().map(|kept| (kept.id.as_str(), kept.version.map(|v| v.size_bytes)));
            shown.eq(listed.iter().map(|one| (one.id.as_str(), one.size_bytes)))
        };
        std::iter::once(self.certain.clone()).chain(happened).filter(looks_so).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(tag: u64) -> Option<Version> {
        Some(Version::new(tag, 100).0)
    }

    fn kept(id: &str, version: Option<Version>) -> Kept {
        Kept { id: id.to_owned(), version }
    }

    fn listed(stack: &Stack) -> Vec<Listed> {
        let shown =
            |kept: &Kept| Listed { id: kept.id.clone(), size_bytes: kept.version.map(|v| v.size_bytes) };
        stack.iter().map(shown).collect()
    }

    #[test]
    fn a_null_version_is_replaced_wherever_it_stands() {
        let old = "0".repeat(32);
        let stack = vec![kept(&old, version(1)), kept(NULL, version(2))];
        let put = Change::Add { version: version(3), suspended: true };
        let after = put.apply(&stack, NULL);
        assert_eq!(after, [kept(NULL, version(3)), kept(&old, version(1))]);
        let marker = Change::Add { version: None, suspended: false };
        let new = "1".repeat(32);
        assert_eq!(marker.apply(&after, &new)[0], kept(&new, None));
        assert_eq!(Change::Remove { id: old }.apply(&after, ""), [kept(NULL, version(3))]);
    }

    #[test]
    fn a_change_in_doubt_has_happened_or_not_and_nothing_else() {
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        let certain = vec![kept(&one, version(1))];
        let put = Change::Add { version: version(2), suspended: false };
        let state = StackState { certain: certain.clone(), doubt: Some(put.clone()), touched: true };
        let happened = put.apply(&certain, &two);
        assert_eq!(state.possible(&listed(&certain)), std::slice::from_ref(&certain));
        assert_eq!(state.possible(&listed(&happened)), std::slice::from_ref(&happened));
        // It is there twice, without an id of its own, as a null version, or instead of the other.
        let twice = put.apply(&happened, &"3".repeat(32));
        for wrong in [twice, put.apply(&certain, &one), put.apply(&certain, NULL), happened[..1].to_vec()] {
            assert_eq!(state.possible(&listed(&wrong)), Vec::<Stack>::new(), "{wrong:?}");
        }
        let settled = StackState { doubt: None, ..state };
        assert_eq!(settled.possible(&listed(&happened)), Vec::<Stack>::new());
        assert_eq!(settled.possible(&[]), Vec::<Stack>::new());
    }

    #[test]
    fn only_the_content_tells_whether_a_null_version_was_replaced_by_one_of_its_size() {
        let certain = vec![kept(NULL, version(1))];
        let put = Change::Add { version: version(2), suspended: true };
        let state = StackState { certain: certain.clone(), doubt: Some(put), touched: true };
        assert_eq!(state.possible(&listed(&certain)), [certain, vec![kept(NULL, version(2))]]);
    }
}
