//! Merging the listings of all shards into one page.
//!
//! Invariants:
//! - Nothing is emitted while a shard that has more is without items, because its next item may
//!   sort first.
//! - A shard is asked again only when its items have run out, with `after` set to its own last
//!   name.
//! - A common prefix that several shards have is emitted once.
//! - `truncated` is exact without a further request: pages say exactly whether more follows, and
//!   what follows in a shard sorts behind everything emitted.

use std::collections::VecDeque;

use crate::types::{ListItem, ListPage};

/// Items that every shard is asked for beyond its even share, so that an uneven distribution seldom
/// needs a second request.
const SPARE_ITEMS: usize = 16;

/// A request for one shard's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    pub shard: usize,
    /// The `after` of the shard's query. The rest of the query stays the same.
    pub after: Vec<u8>,
    /// The most items that the shard's page may hold.
    pub max: usize,
}

/// What a shard can still deliver.
enum Supply {
    /// The shard must be asked for what follows this name.
    Wanted(Vec<u8>),
    /// The shard was asked, and its page has not been offered yet.
    Pending,
    /// The items are here, and the shard has more behind the last of them.
    More { last: Vec<u8> },
    /// The items are all that is left in the shard.
    Complete,
}

struct Shard {
    items: VecDeque<ListItem>,
    /// Items of this shard that have gone into the page so far, including repeated common prefixes.
    used: usize,
    supply: Supply,
}

/// Merges the shards' pages of one query. The caller sends what [`Self::next_request`] returns (all
/// at once, or one by one) and passes the answers to [`Self::offer`] in any order, until there is
/// no request and no answer is outstanding. Then it calls [`Self::finish`].
pub struct ListMerge {
    shards: Vec<Shard>,
    max_items: usize,
    page: ListPage,
}

impl ListMerge {
    /// Creates the merge of a query with this `after`. If `max_items` is 0, no shard is asked, and
    /// the page is empty and not truncated.
    pub fn new(shards: usize, after: &[u8], max_items: usize) -> Self {
        let fresh = || Shard { items: VecDeque::new(), used: 0, supply: Supply::Wanted(after.to_vec()) };
        let shards = if max_items == 0 { Vec::new() } else { (0..shards).map(|_| fresh()).collect() };
        Self { shards, max_items, page: ListPage::default() }
    }

    /// Returns the next request to send, if one is needed now. More may be needed after an offer.
    pub fn next_request(&mut self) -> Option<ListRequest> {
        let emitted = self.page.items.len();
        let left = self.max_items - emitted;
        if left == 0 {
            return None;
        }
        let even = left.div_ceil(self.shards.len().max(1));
        self.shards.iter_mut().enumerate().find_map(|(number, shard)| {
            let Supply::Wanted(after) = &mut shard.supply else { return None };
            let after = std::mem::take(after);
            shard.supply = Supply::Pending;
            // A shard that delivered most of the page so far, or has the same common prefixes as
            // all others, is asked for the same part of what is left.
            let share = if emitted == 0 { even } else { (left * shard.used).div_ceil(emitted) };
            Some(ListRequest { shard: number, after, max: (share + SPARE_ITEMS).min(left) })
        })
    }

    /// Accepts a shard's answer to a request.
    pub fn offer(&mut self, shard: usize, page: ListPage) {
        let shard = &mut self.shards[shard];
        assert!(matches!(shard.supply, Supply::Pending), "a page was offered that was not asked for");
        shard.supply = match page.items.last() {
            Some(last) if page.truncated => Supply::More { last: last.name().to_vec() },
            _ => {
                assert!(!page.truncated, "a shard's page says that there is more, but has nothing");
                Supply::Complete
            }
        };
        shard.items = page.items.into();
        self.emit();
    }

    /// Returns the page. It is complete once no request is needed or outstanding.
    pub fn finish(self) -> ListPage {
        let full = self.page.items.len() == self.max_items;
        assert!(full || !self.starved(), "a listing was finished before every shard had answered");
        self.page
    }

    /// Returns whether a shard must answer before the next item is known.
    fn starved(&self) -> bool {
        self.shards.iter().any(|shard| shard.items.is_empty() && !matches!(shard.supply, Supply::Complete))
    }

    /// Moves items to the page as far as they are known.
    fn emit(&mut self) {
        while self.page.items.len() < self.max_items && !self.starved() {
            let heads = self.shards.iter().enumerate();
            let heads = heads.filter_map(|(number, shard)| Some((shard.items.front()?.name(), number)));
            let Some((_, smallest)) = heads.min() else { return };
            let Some(item) = self.shards[smallest].take() else { return };
            self.drop_repeats(&item);
            self.page.items.push(item);
        }
        if self.page.items.len() == self.max_items {
            self.page.truncated = self.shards.iter().any(Shard::has_more);
        }
    }

    /// Removes the same common prefix from the other shards, and marks the shards that have run out
    /// of items to be asked again.
    fn drop_repeats(&mut self, item: &ListItem) {
        for shard in &mut self.shards {
            if matches!(item, ListItem::CommonPrefix(_)) && shard.items.front() == Some(item) {
                shard.take();
            }
            if let (true, Supply::More { last }) = (shard.items.is_empty(), &mut shard.supply) {
                shard.supply = Supply::Wanted(std::mem::take(last));
            }
        }
    }
}

impl Shard {
    fn take(&mut self) -> Option<ListItem> {
        let item = self.items.pop_front();
        self.used += usize::from(item.is_some());
        item
    }

    fn has_more(&self) -> bool {
        !self.items.is_empty() || !matches!(self.supply, Supply::Complete)
    }
}
