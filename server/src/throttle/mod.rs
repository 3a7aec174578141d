//! Rates and counts that clients are held to: by access key, by bucket, and by address.
//!
//! Invariants:
//! - Nothing here costs a request anything where no limit is set.
//! - Whoever is held back gets 503 SlowDown with the time after which to come again, before anything of
//!   the request was done. A body that was begun is never refused: it is slowed down.
//! - A bucket is charged only for those who may do something with it: others can not use it up.

mod sketch;

pub use sketch::{Counted, Counts};

use crate::auth::network_of;
use crate::http::CoreSleep;
use sketch::{Places, Placing, Rates};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// What a key or a bucket may do in a second. None: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerSecond {
    pub requests: Option<u64>,
    /// Bytes of bodies, those of requests and of answers together.
    pub bytes: Option<u64>,
}

/// The limits of what clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleLimits {
    pub key: PerSecond,
    pub bucket: PerSecond,
    /// The most requests of a key that are answered at the same time. None: [`IN_FLIGHT_WITH_BYTES`] where
    /// bytes are limited, and else as many as it likes.
    pub key_in_flight: Option<u32>,
}

impl ThrottleLimits {
    /// Returns whether there is any limit.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    fn in_flight(&self) -> Option<u32> {
        let has_bytes = self.key.bytes.is_some() || self.bucket.bytes.is_some();
        self.key_in_flight.or_else(|| has_bytes.then_some(IN_FLIGHT_WITH_BYTES))
    }
}

/// The most requests of a key at the same time where bytes are limited: bodies that are slowed down hold
/// memory and connections for as long as that takes.
pub const IN_FLIGHT_WITH_BYTES: u32 = 64;
/// What is done at once above a rate, as time at that rate.
const BURST_NS: u64 = 1_000_000_000;
/// How far the bytes of bodies may be ahead, as time at their rate, until new requests are refused.
const BYTES_AHEAD_NS_MAX: u64 = 2 * BURST_NS;
/// The longest piece of a body, in bytes. One of these is always allowed to be ahead.
const PIECE_BYTES_MAX: u64 = 1 << 20;
const SECOND_NS: u64 = 1_000_000_000;
/// The longest delay of an answer that holds a client back.
const DELAY_MAX: Duration = Duration::from_millis(250);
/// The longest time that a handshake waits for those before it.
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(2);

/// What clients did lately, for all cores.
#[derive(Debug)]
pub struct Throttle {
    placing: Placing,
    began: Instant,
    /// Grows whenever what was done is forgotten.
    epoch: AtomicU64,
    /// Rates of each kind have a table of their own, so that names that anybody may think of push out nobody.
    keys: Table,
    addresses: Table,
    buckets: Table,
    handshakes: Rates,
    in_flight: Counts,
    connections: Counts,
}

#[derive(Debug, Default)]
struct Table {
    requests: Rates,
    bytes: Rates,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            placing: Placing::default(),
            began: Instant::now(),
            epoch: AtomicU64::new(0),
            keys: Table::default(),
            addresses: Table::default(),
            buckets: Table::default(),
            handshakes: Rates::default(),
            in_flight: Counts::default(),
            connections: Counts::default(),
        }
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    Access(&'a str),
    /// An anonymous client has the limits of a key by its address.
    Anonymous(IpAddr),
}

/// The reason why a request has to wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    #[error("This key sends more requests a second than it may; try again later.")]
    KeyRequests(Duration),
    #[error("This key moves more bytes a second than it may; try again later.")]
    KeyBytes(Duration),
    #[error("This key has more requests at the same time than it may; try again later.")]
    KeyInFlight,
    #[error("This bucket gets more requests a second than it may; try again later.")]
    BucketRequests(Duration),
    #[error("More bytes a second are moved to and from this bucket than may be; try again later.")]
    BucketBytes(Duration),
}

impl Held {
    fn wait(&self) -> Duration {
        match self {
            Self::KeyRequests(wait)
            | Self::KeyBytes(wait)
            | Self::BucketRequests(wait)
            | Self::BucketBytes(wait) => *wait,
            Self::KeyInFlight => DELAY_MAX,
        }
    }

    /// Returns how long the answer that says so is delayed: a client that does not wait by itself does then,
    /// and takes no more than its connection.
    pub fn delay(&self) -> Duration {
        self.wait().min(DELAY_MAX)
    }

    /// Returns after how many seconds the client may come again.
    pub fn retry_after_s(&self) -> u64 {
        let wait = self.wait();
        (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
    }
}

impl Throttle {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Takes a place for a connection of an address. Returns None if it has `most` already.
    pub fn connection(&self, address: IpAddr, most: u32) -> Option<Counted> {
        self.connections.take(self.placing.of(network_of(address)), most)
    }

    /// Counts a handshake of TLS by an address that may have `rate` of them a second. Returns how long it
    /// waits, or None if too many wait already, and this one is to be turned away.
    pub fn handshake(&self, address: IpAddr, rate: u32) -> Option<Duration> {
        self.handshake_at(address, rate, self.now_ns())
    }

    fn handshake_at(&self, address: IpAddr, rate: u32, now_ns: u64) -> Option<Duration> {
        let places = self.placing.of(network_of(address));
        let wait = wait_of(&self.handshakes, places, u64::from(rate), now_ns);
        if wait > HANDSHAKE_WAIT_MAX {
            return None;
        }
        self.handshakes.charge(places, cost_ns(1, u64::from(rate)), now_ns);
        Some(wait)
    }

    /// Forgets what was done so far, because other limits hold from now on. Bodies that were begun under the
    /// earlier ones go on as fast as they can.
    pub fn forget(&self) {
        self.epoch.fetch_add(1, Relaxed);
        let tables = [&self.keys, &self.addresses, &self.buckets];
        tables.into_iter().flat_map(|table| [&table.requests, &table.bytes]).for_each(Rates::forget);
        self.handshakes.forget();
    }

    /// Lets a request in, or says why it has to wait.
    ///
    /// # Errors
    /// Fails if the key or the bucket is ahead of its limits.
    pub fn admit(
        self: &Arc<Self>,
        limits: ThrottleLimits,
        key: Key<'_>,
        bucket: Option<&str>,
    ) -> Result<Admitted, Held> {
        self.admit_at(limits, key, bucket, self.now_ns())
    }

    fn admit_at(
        self: &Arc<Self>,
        limits: ThrottleLimits,
        key: Key<'_>,
        bucket: Option<&str>,
        now_ns: u64,
    ) -> Result<Admitted, Held> {
        let (table, key, is_address) = match key {
            Key::Access(key) => (&self.keys, self.placing.of(("key", key)), false),
            Key::Anonymous(address) => {
                (&self.addresses, self.placing.of(("address", network_of(address))), true)
            }
        };
        let bucket = bucket.map(|bucket| self.place_of_bucket(bucket));
        table.judge(limits.key, key, now_ns, [Held::KeyRequests, Held::KeyBytes])?;
        if let Some(bucket) = bucket {
            let held = [Held::BucketRequests, Held::BucketBytes];
            self.buckets.judge(limits.bucket, bucket, now_ns, held)?;
        }
        let in_flight =
            limits.in_flight().map(|most| self.in_flight.take(key, most).ok_or(Held::KeyInFlight));
        let in_flight = in_flight.transpose()?;
        if let Some(rate) = limits.key.requests {
            table.requests.charge(key, cost_ns(1, rate), now_ns);
        }
        Ok(Admitted {
            key,
            is_address,
            bucket,
            limits,
            is_allowed: AtomicBool::new(false),
            epoch: self.epoch.load(Relaxed),
            throttle: self.clone(),
            _in_flight: in_flight,
        })
    }

    fn place_of_bucket(&self, name: &str) -> Places {
        self.placing.of(("bucket", name))
    }
}

impl Table {
    fn judge(
        &self,
        limit: PerSecond,
        places: Places,
        now_ns: u64,
        [requests, bytes]: [fn(Duration) -> Held; 2],
    ) -> Result<(), Held> {
        if let Some(rate) = limit.requests {
            let wait = wait_of(&self.requests, places, rate, now_ns);
            if !wait.is_zero() {
                return Err(requests(wait));
            }
        }
        if let Some(rate) = limit.bytes {
            let most = BYTES_AHEAD_NS_MAX.max(BURST_NS.saturating_add(cost_ns(PIECE_BYTES_MAX, rate)));
            let wait = self.bytes.ahead_ns(places, now_ns).saturating_sub(most);
            if wait > 0 {
                return Err(bytes(Duration::from_nanos(wait)));
            }
        }
        Ok(())
    }
}

/// Returns how long one more has to wait at `rate` a second.
fn wait_of(rates: &Rates, places: Places, rate: u64, now_ns: u64) -> Duration {
    let cost = cost_ns(1, rate);
    let ahead = rates.ahead_ns(places, now_ns).saturating_add(cost);
    Duration::from_nanos(ahead.saturating_sub(BURST_NS.max(cost)))
}

/// Returns how long `count` take at `rate` a second, in nanoseconds.
fn cost_ns(count: u64, rate: u64) -> u64 {
    let cost = u128::from(count) * u128::from(SECOND_NS) / u128::from(rate.max(1));
    u64::try_from(cost).unwrap_or(u64::MAX)
}

/// A request that was let in, until its answer was sent.
#[derive(Debug)]
pub struct Admitted {
    key: Places,
    /// The key is an address.
    is_address: bool,
    bucket: Option<Places>,
    limits: ThrottleLimits,
    /// The caller may do something with the bucket, so that it is charged for the request.
    is_allowed: AtomicBool,
    /// What was done since then counts.
    epoch: u64,
    throttle: Arc<Throttle>,
    _in_flight: Option<Counted>,
}

impl Admitted {
    /// Notes that the caller may do something with a bucket. That of the request is charged for it once.
    fn allow(&self, bucket: &str, now_ns: u64) {
        let place = self.throttle.place_of_bucket(bucket);
        if self.bucket == Some(place)
            && !self.is_allowed.swap(true, Relaxed)
            && let Some(rate) = self.limits.bucket.requests
        {
            self.throttle.buckets.requests.charge(place, cost_ns(1, rate), now_ns);
        }
    }

    /// Returns the tables of bytes that this request counts in, with places and rates.
    fn rates(&self) -> impl Iterator<Item = (&Rates, Places, u64)> {
        let is_current = self.throttle.epoch.load(Relaxed) == self.epoch;
        let table = if self.is_address { &self.throttle.addresses } else { &self.throttle.keys };
        let key = self.limits.key.bytes.map(|rate| (&table.bytes, self.key, rate));
        let bucket = self.bucket.filter(|_| self.is_allowed.load(Relaxed)).zip(self.limits.bucket.bytes);
        let bucket = bucket.map(|(places, rate)| (&self.throttle.buckets.bytes, places, rate));
        key.into_iter().chain(bucket).filter(move |_| is_current)
    }

    fn charge(&self, bytes: u64, now_ns: u64) {
        self.rates().for_each(|(rates, places, rate)| rates.charge(places, cost_ns(bytes, rate), now_ns));
    }

    /// Returns how long the next bytes have to wait.
    fn wait(&self, now_ns: u64) -> Option<Duration> {
        let ahead = self.rates().map(|(rates, places, _)| rates.ahead_ns(places, now_ns)).max().unwrap_or(0);
        let wait = ahead.saturating_sub(BURST_NS);
        (wait > 0).then(|| Duration::from_nanos(wait))
    }
}

/// Holds a body to the rates of its request. It is known only once the request was let in whether there
/// are any.
#[derive(Clone, Debug, Default)]
pub struct Pace(Option<Arc<OnceLock<Admitted>>>);

impl Pace {
    /// Makes the pace of a request that is still to be judged by these limits.
    pub fn of(limits: &ThrottleLimits) -> Self {
        Self(limits.is_any().then(Arc::default))
    }

    /// Notes that the request was let in.
    pub fn set(&self, admitted: Admitted) {
        if let Some(place) = &self.0 {
            // A request is let in once.
            let _ = place.set(admitted);
        }
    }

    fn admitted(&self) -> Option<&Admitted> {
        self.0.as_ref()?.get()
    }

    /// Notes that the caller may do something with a bucket.
    pub fn allowed(&self, bucket: &str) {
        if let Some(admitted) = self.admitted() {
            admitted.allow(bucket, admitted.throttle.now_ns());
        }
    }

    /// Notes that a part of the body was moved.
    pub fn moved(&self, bytes: u64) {
        if let Some(admitted) = self.admitted() {
            admitted.charge(bytes, admitted.throttle.now_ns());
        }
    }

    /// Waits until more may be moved. `pause` is kept by the body; there is one while it waits.
    pub fn poll_ready(&self, pause: &mut Option<CoreSleep>, context: &mut Context<'_>) -> Poll<()> {
        let Some(admitted) = self.admitted() else { return Poll::Ready(()) };
        loop {
            if let Some(slept) = pause {
                ready!(Pin::new(slept).poll(context));
                *pause = None;
            }
            match admitted.wait(admitted.throttle.now_ns()) {
                None => return Poll::Ready(()),
                Some(wait) => *pause = Some(CoreSleep::new(wait.min(PAUSE_MAX))),
            }
        }
    }
}

/// The longest pause until a body looks again, so that other limits are heard of.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = SECOND_NS;

    fn key(requests: Option<u64>, bytes: Option<u64>) -> ThrottleLimits {
        ThrottleLimits { key: PerSecond { requests, bytes }, ..ThrottleLimits::default() }
    }

    fn bucket(requests: Option<u64>, bytes: Option<u64>) -> ThrottleLimits {
        ThrottleLimits { bucket: PerSecond { requests, bytes }, ..ThrottleLimits::default() }
    }

    #[test]
    fn a_key_has_a_second_of_requests_at_once_and_others_are_not_held() {
        let throttle = Arc::new(Throttle::default());
        let admit = |limit, key, now| throttle.admit_at(limit, key, None, now).map(|_| ());
        let one = key(Some(1), None);
        assert_eq!(admit(one, Key::Access("a"), 0), Ok(()));
        let held = Held::KeyRequests(Duration::from_millis(600));
        assert_eq!(admit(one, Key::Access("a"), SECOND * 4 / 10), Err(held));
        assert_eq!(
            (held.retry_after_s(), held.delay(), Held::KeyInFlight.retry_after_s()),
            (1, DELAY_MAX, 1)
        );
        assert_eq!(Held::KeyRequests(Duration::from_millis(3200)).retry_after_s(), 4);
        assert_eq!(admit(one, Key::Access("b"), 0), Ok(()));
        assert_eq!(admit(one, Key::Access("a"), SECOND), Ok(()));
        let many =
            |now| (0..50).filter(|_| admit(key(Some(20), None), Key::Access("c"), now).is_ok()).count();
        assert_eq!((many(0), many(SECOND / 2), many(SECOND)), (20, 10, 10));
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(admit(one, Key::Anonymous(address), 0), Ok(()));
        assert!(admit(one, Key::Anonymous(address), 0).is_err());
    }

    #[test]
    fn a_bucket_is_charged_for_those_who_may_use_it() {
        let throttle = Arc::new(Throttle::default());
        let admit =
            |key, name| throttle.admit_at(bucket(Some(1), Some(1000)), Key::Access(key), Some(name), 0);
        for _ in 0..10 {
            let stranger = admit("stranger", "mine").expect("what is refused costs nothing");
            stranger.charge(1 << 30, 0);
            stranger.allow("his own", 0);
        }
        let owner = admit("owner", "mine").unwrap();
        owner.allow("mine", 0);
        owner.allow("mine", 0);
        let held = Held::BucketRequests(Duration::from_secs(1));
        assert_eq!(admit("other", "mine").map(|_| ()), Err(held), "it was charged once");
        assert!(admit("other", "another").is_ok());
    }

    #[test]
    fn bytes_are_waited_for_and_then_refused() {
        let throttle = Arc::new(Throttle::default());
        let rate = PIECE_BYTES_MAX * 2;
        let admit = |now| throttle.admit_at(key(None, Some(rate)), Key::Access("a"), None, now);
        let first = admit(0).unwrap();
        first.charge(rate, 0);
        assert_eq!(first.wait(0), None, "a second is ahead at most");
        first.charge(rate, 0);
        assert_eq!(first.wait(SECOND / 4), Some(Duration::from_millis(750)));
        assert!(admit(0).is_ok(), "a body that is slowed down keeps nobody out");
        first.charge(10 * rate, 0);
        assert_eq!(admit(0).map(|_| ()), Err(Held::KeyBytes(Duration::from_secs(10))));
        throttle.forget();
        assert!(admit(0).is_ok() && first.wait(0).is_none(), "other limits hold now");
        first.charge(100 * rate, 0);
        assert!(admit(0).is_ok(), "it counts under those that it began with");
        // One piece may take longer than all that is ahead otherwise, and does not lock anybody out.
        let slow = |now| throttle.admit_at(key(None, Some(1000)), Key::Access("slow"), None, now);
        slow(0).unwrap().charge(PIECE_BYTES_MAX, 0);
        assert!(slow(0).is_ok());
    }

    #[test]
    fn a_key_has_so_many_requests_at_once() {
        let throttle = Arc::new(Throttle::default());
        let limits = ThrottleLimits { key_in_flight: Some(2), ..ThrottleLimits::default() };
        let admit = |key| throttle.admit(limits, Key::Access(key), None);
        let held = [admit("a").unwrap(), admit("a").unwrap()];
        assert_eq!(admit("a").map(|_| ()), Err(Held::KeyInFlight));
        assert!(admit("b").is_ok());
        drop(held);
        assert!(admit("a").is_ok());
        assert_eq!(key(Some(1), None).in_flight(), None);
        let both = [key(None, Some(1)), bucket(None, Some(1))];
        assert_eq!(both.map(|limits| limits.in_flight()), [Some(IN_FLIGHT_WITH_BYTES); 2]);
    }

    #[test]
    fn a_network_has_so_many_connections_and_handshakes() {
        let throttle = Throttle::default();
        let (address, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        let one = throttle.connection(address, 1).unwrap();
        assert!(throttle.connection("2001:db8::2".parse().unwrap(), 1).is_none(), "a network of one client");
        assert!(throttle.connection(other, 1).is_some());
        drop(one);
        assert!(throttle.connection(address, 1).is_some());
        let waits = [0; 4].map(|now| throttle.handshake_at(address, 1, now).map(|wait| wait.as_secs()));
        assert_eq!(waits, [Some(0), Some(1), Some(2), None]);
        assert_eq!(throttle.handshake_at(address, 1, SECOND), Some(Duration::from_secs(2)));
        assert_eq!(throttle.handshake_at(other, 1, 0), Some(Duration::ZERO));
    }
}
