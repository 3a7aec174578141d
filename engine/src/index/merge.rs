//! Merging the listings of all shards into one page.
//!
//! Invariants:
//! - Nothing is emitted while a shard that has more is without items, because its next item may
//!   sort first.
//! - A shard is asked again only when its items have run out, from where its own page ended.
//! - A common prefix that several shards have is emitted once.
//! - `truncated` is exact without a further request: pages say exactly whether more follows, and
//!   what follows in a shard sorts behind everything emitted. Only shards that pass over very many
//!   keys end a page early.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::types::{ListItem, Page, VersionItem, VersionPlace};

/// Items that every shard is asked for beyond its even share, so that an uneven distribution seldom
/// needs a second request.
const SPARE_ITEMS: usize = 16;
/// The page ends early after each shard has given this many pages that it cut short, on average.
const SHORT_PAGES: usize = 2;

/// An item of a listing, with its order.
pub trait Listable: PartialEq + Sized {
    /// A place between two items, from which a page begins.
    type Place: Ord + Clone + Default;

    /// Compares two items as the listing orders them.
    fn order(&self, other: &Self) -> Ordering;

    /// Returns the place right behind the item.
    fn place(&self) -> Self::Place;

    /// Returns whether the item is a common prefix.
    fn is_common_prefix(&self) -> bool;

    /// Returns whether the item is a common prefix and the place lies among the keys under it.
    fn covers(&self, place: &Self::Place) -> bool;
}

impl Listable for ListItem {
    type Place = Vec<u8>;

    fn order(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }

    fn place(&self) -> Vec<u8> {
        self.name().to_vec()
    }

    fn is_common_prefix(&self) -> bool {
        matches!(self, Self::CommonPrefix(_))
    }

    fn covers(&self, place: &Vec<u8>) -> bool {
        self.is_common_prefix() && place.starts_with(self.name())
    }
}

impl Listable for VersionItem {
    type Place = VersionPlace;

    fn order(&self, other: &Self) -> Ordering {
        let parts = |item: &Self| match item {
            Self::Version { generation, .. } => *generation,
            Self::CommonPrefix(_) => 0,
        };
        self.name().cmp(other.name()).then(parts(other).cmp(&parts(self)))
    }

    fn place(&self) -> VersionPlace {
        VersionItem::place(self)
    }

    fn is_common_prefix(&self) -> bool {
        matches!(self, Self::CommonPrefix(_))
    }

    fn covers(&self, place: &VersionPlace) -> bool {
        self.is_common_prefix() && place.key.starts_with(self.name())
    }
}

/// A request for one shard's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest<P> {
    pub shard: usize,
    /// The place from which the shard's page begins. The rest of the query stays the same.
    pub after: P,
    /// The most items that the shard's page may hold.
    pub max: usize,
}

/// What a shard can still deliver.
enum Supply<P> {
    /// The shard must be asked for what follows this place.
    Wanted(P),
    /// The shard was asked for at most this many items, and its page has not been offered yet.
    Pending { max: usize },
    /// The items are here, and the shard has more behind this place.
    More { next: P },
    /// The items are all that is left in the shard.
    Complete,
}

struct Shard<I: Listable> {
    items: VecDeque<I>,
    /// Items of this shard that have gone into the page so far, including repeated common prefixes.
    used: usize,
    supply: Supply<I::Place>,
}

/// Merges the shards' pages of one query. The caller sends what [`Self::next_request`] returns (all
/// at once, or one by one) and passes the answers to [`Self::offer`] in any order, until there is
/// no request and no answer is outstanding. Then it calls [`Self::finish`].
pub struct ListMerge<I: Listable> {
    shards: Vec<Shard<I>>,
    max_items: usize,
    page: Page<I, I::Place>,
    /// Pages that shards may still cut short before this page ends.
    short_pages_left: usize,
}

impl<I: Listable> ListMerge<I> {
    /// Creates the merge of a query that begins from this place. If `max_items` is 0, no shard is
    /// asked, and the page is empty and not truncated.
    pub fn new(shards: usize, after: &I::Place, max_items: usize) -> Self {
        let fresh = || Shard { items: VecDeque::new(), used: 0, supply: Supply::Wanted(after.clone()) };
        let short_pages_left = shards * SHORT_PAGES;
        let shards = if max_items == 0 { Vec::new() } else { (0..shards).map(|_| fresh()).collect() };
        Self { shards, max_items, page: Page::default(), short_pages_left }
    }

    /// Returns the next request to send, if one is needed now. More may be needed after an offer.
    pub fn next_request(&mut self) -> Option<ListRequest<I::Place>> {
        let emitted = self.page.items.len();
        let left = self.max_items - emitted;
        if left == 0 || self.short_pages_left == 0 {
            return None;
        }
        let even = left.div_ceil(self.shards.len().max(1));
        self.shards.iter_mut().enumerate().find_map(|(number, shard)| {
            let Supply::Wanted(after) = &mut shard.supply else { return None };
            let after = std::mem::take(after);
            // A shard that delivered most of the page so far, or has the same common prefixes as
            // all others, is asked for the same part of what is left.
            let share = if emitted == 0 { even } else { (left * shard.used).div_ceil(emitted) };
            let max = (share + SPARE_ITEMS).min(left);
            shard.supply = Supply::Pending { max };
            Some(ListRequest { shard: number, after, max })
        })
    }

    /// Accepts a shard's answer to a request.
    pub fn offer(&mut self, shard: usize, page: Page<I, I::Place>) {
        let Page { items, truncated, next } = page;
        let shard = &mut self.shards[shard];
        let Supply::Pending { max } = shard.supply else {
            panic!("a page was offered that was not asked for")
        };
        if truncated && items.len() < max {
            self.short_pages_left = self.short_pages_left.saturating_sub(1);
        }
        shard.supply = match truncated {
            true if items.is_empty() => Supply::Wanted(next),
            true => Supply::More { next },
            false => Supply::Complete,
        };
        shard.items = items.into();
        self.emit();
    }

    /// Returns the page. It is complete once no request is needed or outstanding.
    pub fn finish(mut self) -> Page<I, I::Place> {
        let full = self.page.items.len() == self.max_items;
        if !full && self.starved() {
            assert!(self.short_pages_left == 0, "a listing was finished before every shard had answered");
            self.end_early();
        }
        self.page
    }

    /// Ends the page at the first place behind which some shard has not looked yet.
    fn end_early(&mut self) {
        let next = loop {
            let Some(next) = self.unseen() else { panic!("a shard without items wants to be asked") };
            match self.smallest(Some(&next)) {
                Some(smallest) if self.page.items.len() < self.max_items => self.take_from(smallest),
                _ => break next,
            }
        };
        self.page.truncated = true;
        self.page.next = match self.page.items.last() {
            Some(last) if self.page.items.len() == self.max_items => last.place(),
            // Nothing under a common prefix that was given is looked at again.
            Some(last) if last.covers(&next) => last.place(),
            _ => next,
        };
    }

    /// Returns the first place behind which some shard without items has not looked yet.
    fn unseen(&self) -> Option<I::Place> {
        let wanted = self.shards.iter().filter_map(|shard| match &shard.supply {
            Supply::Wanted(place) => Some(place),
            _ => None,
        });
        wanted.min().cloned()
    }

    /// Returns whether a shard must answer before the next item is known.
    fn starved(&self) -> bool {
        self.shards.iter().any(|shard| shard.items.is_empty() && !matches!(shard.supply, Supply::Complete))
    }

    /// Returns the shard whose first item sorts first, if that lies before `end`.
    fn smallest(&self, end: Option<&I::Place>) -> Option<usize> {
        let heads = self.shards.iter().enumerate();
        let heads = heads.filter_map(|(number, shard)| Some((shard.items.front()?, number)));
        let (head, smallest) = heads.min_by(|left, right| left.0.order(right.0))?;
        end.is_none_or(|end| head.place() <= *end).then_some(smallest)
    }

    /// Moves items to the page as far as they are known.
    fn emit(&mut self) {
        while self.page.items.len() < self.max_items && !self.starved() {
            let Some(smallest) = self.smallest(None) else { return };
            self.take_from(smallest);
        }
        if self.page.items.len() == self.max_items {
            self.page.truncated = self.shards.iter().any(Shard::has_more);
            self.page.next = self.page.items.last().map(Listable::place).unwrap_or_default();
        }
    }

    fn take_from(&mut self, shard: usize) {
        let Some(item) = self.shards[shard].take() else { return };
        self.drop_repeats(&item);
        self.page.items.push(item);
    }

    /// Removes the same common prefix from the other shards, and marks the shards that have run out
    /// of items to be asked again.
    fn drop_repeats(&mut self, item: &I) {
        for shard in &mut self.shards {
            if item.is_common_prefix() && shard.items.front() == Some(item) {
                shard.take();
            }
            if let (true, Supply::More { next }) = (shard.items.is_empty(), &mut shard.supply) {
                shard.supply = Supply::Wanted(std::mem::take(next));
            }
        }
    }
}

impl<I: Listable> Shard<I> {
    fn take(&mut self) -> Option<I> {
        let item = self.items.pop_front();
        self.used += usize::from(item.is_some());
        item
    }

    fn has_more(&self) -> bool {
        !self.items.is_empty() || !matches!(self.supply, Supply::Complete)
    }
}
