//! Who sends wrong keys, by address, so that guessing is slow.
//!
//! Invariants:
//! - The table has a fixed size and belongs to one core. Whoever has many addresses drives others out of
//!   it, and gains no more than that.
//! - A right key is never slowed, whatever came from its address before.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

/// Addresses whose wrong keys a core remembers.
const ADDRESSES: usize = 4096;
/// Addresses that share a place of the table.
const WAYS: usize = 4;
/// How long a wrong key is remembered, in seconds.
const WINDOW_S: u32 = 60;
/// The shortest and the longest wait.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Marks the answer to a request whose key or signature is wrong, where the handler found that.
#[derive(Clone, Copy, Debug)]
pub struct WrongKey;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// A keyed hash of the address; 0 for none.
    address: u64,
    /// When the count began, in seconds.
    since_s: u32,
    count: u32,
}

/// The wrong keys that one core saw lately.
#[derive(Debug)]
pub struct WrongKeys {
    /// Wrong keys of an address within a minute that are answered at once. 0: all are.
    free: Cell<u32>,
    hasher: RandomState,
    slots: RefCell<Vec<Slot>>,
}

impl WrongKeys {
    /// Makes an empty table. From one address, `free` wrong keys a minute are answered at once, and all if
    /// it is 0.
    pub fn new(free: u32) -> Self {
        Self {
            free: Cell::new(free),
            hasher: RandomState::new(),
            slots: RefCell::new(vec![Slot::default(); ADDRESSES]),
        }
    }

    /// Sets how many wrong keys a minute from one address are answered at once.
    pub fn set_free(&self, free: u32) {
        self.free.set(free);
    }

    /// Notes a wrong key from an address, at a time in seconds, and returns how long its answer waits: the
    /// longer, the more there were.
    pub fn note(&self, address: IpAddr, now_s: i64) -> Option<Duration> {
        if self.free.get() == 0 {
            return None;
        }
        let now_s = now_s as u32;
        let known = self.hasher.hash_one(network_of(address)).max(1);
        let mut slots = self.slots.borrow_mut();
        let at = known as usize % (ADDRESSES / WAYS) * WAYS;
        let ways = &mut slots[at..at + WAYS];
        let oldest = |ways: &[Slot]| (0..WAYS).min_by_key(|way| ways[*way].since_s).unwrap_or(0);
        let way = ways.iter().position(|slot| slot.address == known).unwrap_or_else(|| oldest(ways));
        let slot = &mut ways[way];
        if slot.address != known || now_s.wrapping_sub(slot.since_s) >= WINDOW_S {
            *slot = Slot { address: known, since_s: now_s, count: 0 };
        }
        slot.count = slot.count.saturating_add(1);
        let beyond = slot.count.checked_sub(self.free.get() + 1)?;
        // It doubles each time that as many again were wrong.
        Some(WAIT_MIN.saturating_mul(1 << (beyond / self.free.get()).min(4)).min(WAIT_MAX))
    }
}

/// Returns what one client has: its address or, of version 6, its network of 64 bits.
pub(crate) fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_waits_longer_the_more_is_wrong_until_a_minute_is_over() {
        let table = WrongKeys::new(10);
        let one = address("192.0.2.1");
        let waits: Vec<Option<Duration>> = (0..70).map(|_| table.note(one, 1000)).collect();
        assert!(waits[..10].iter().all(Option::is_none));
        let after = |count: usize| waits[count].unwrap();
        assert_eq!((after(10), after(19), after(20)), (WAIT_MIN, WAIT_MIN, 2 * WAIT_MIN));
        assert_eq!(after(69), WAIT_MAX);
        assert_eq!(table.note(address("192.0.2.2"), 1000), None, "another address is another");
        assert!(table.note(one, 1059).is_some());
        assert_eq!(table.note(one, 1060), None, "a minute is over");
    }

    #[test]
    fn a_network_of_version_6_counts_as_one() {
        let table = WrongKeys::new(2);
        for host in 0..2 {
            assert_eq!(table.note(address(&format!("2001:db8::{host}")), 5), None);
        }
        assert!(table.note(address("2001:db8::ffff"), 5).is_some());
        assert_eq!(table.note(address("2001:db8:0:1::1"), 5), None);
        assert_eq!(network_of(address("::ffff:192.0.2.1")), network_of(address("192.0.2.1")));
    }

    #[test]
    fn the_table_keeps_its_size_and_can_be_off() {
        let table = WrongKeys::new(1);
        for number in 0..100_000_u32 {
            table.note(IpAddr::from(number.to_be_bytes()), 7);
        }
        assert_eq!(table.slots.borrow().len(), ADDRESSES);
        let off = WrongKeys::new(0);
        assert!((0..100).all(|_| off.note(address("192.0.2.1"), 7).is_none()));
    }
}
