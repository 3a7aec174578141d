//! The receipt of a write: on how many drives it is, and in which view it was made durable.
//!
//! Invariant: it says no more than what holds when it is made. A commit is answered when every home in the view has it
//! durably, and drives that are brought up to date do not count. Cores learn of a view one after the other: the shard's
//! owner writes its record, and whoever was asked the body, so a drive counts if it is in the view of both.

use std::cell::Cell;
use std::rc::Rc;

use super::state::CoreState;
use crate::extent::SetPlace;

/// How durable a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// On how many drives its record is, and its body where that is not striped.
    pub copies: u8,
    /// Over how many drives its body is striped, and how many of these may be lost, if it is.
    pub stripe: Option<(u8, u8)>,
    /// Epoch and counter of the view.
    pub view: (u32, u32),
    /// It is on fewer drives than the set was formatted for.
    pub is_degraded: bool,
}

/// The receipt of a body, which is made with its commit.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Rc<Cell<Option<Durability>>>);

impl Receipt {
    pub(super) fn fill(&self, durability: Durability) {
        self.0.set(Some(durability));
    }

    /// Returns what was committed, if it was.
    pub fn get(&self) -> Option<Durability> {
        self.0.get()
    }
}

impl Durability {
    /// Returns what both say.
    fn and(self, other: Self) -> Self {
        let stripe = self.stripe.zip(other.stripe);
        Self {
            copies: self.copies.min(other.copies),
            stripe: stripe.map(|((data, one), (_, another))| (data, one.min(another))),
            view: self.view.max(other.view),
            is_degraded: self.is_degraded || other.is_degraded,
        }
    }
}

impl CoreState {
    /// Returns how durable something is that was committed to a shard, with a body on these sets that this core wrote.
    pub(super) async fn durability_of(self: &Rc<Self>, shard: u16, sets: &[SetPlace]) -> Durability {
        let (here, sets) = (self.durability_on(shard, sets), sets.to_vec());
        let ask = move |owner: Rc<CoreState>| async move { owner.durability_on(shard, &sets) };
        here.and(self.call(self.layout.core_of(shard), ask).await)
    }

    /// Returns how durable it is as far as this core knows.
    fn durability_on(&self, shard: u16, sets: &[SetPlace]) -> Durability {
        let (shape, drives) = (self.layout.geometry_of(0).shape, &self.writer_of(shard).drives);
        let whole = |set: &SetPlace| drives.copies(*set).filter(|copy| copy.drive.is_whole()).count();
        let least = sets.iter().map(whole).min();
        let homes = self.whole_homes_of(shard);
        let stripe = least.filter(|_| shape.is_striped()).map(|count| count.saturating_sub(shape.data()));
        let copies = least.filter(|_| !shape.is_striped()).map_or(homes, |least| least.min(homes));
        let wanted = usize::from(self.layout.superblocks[0].parity_members) + 1;
        Durability {
            copies: copies as u8,
            stripe: stripe.map(|parity| (shape.data() as u8, parity as u8)),
            view: self.view.get(),
            is_degraded: copies < wanted || stripe.is_some_and(|parity| parity < shape.parity()),
        }
    }
}
