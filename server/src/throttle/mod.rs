//! Rates and counts that clients are held to: by access key, by bucket, and by address.
//!
//! Invariants:
//! - Nothing here costs a request anything where no limit is set.
//! - Whoever is held back gets 503 SlowDown with the time after which to come again, before anything of
//!   the request was done. A body that was begun is never refused: it is slowed down.
//! - A bucket is charged only for what it answered: whoever may not use it can not use it up.

mod sketch;

pub use sketch::{Counted, Counts};

use crate::auth::network_of;
use crate::http::CoreSleep;
use sketch::{Places, Placing, Rates};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
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
    /// The most requests of a key that are answered at the same time.
    pub key_in_flight: Option<u32>,
}

impl ThrottleLimits {
    /// Returns whether there is any limit.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// What is done at once above a rate, as time at that rate.
const BURST_NS: u64 = 1_000_000_000;
/// How far the bytes of bodies may be ahead, as time at their rate, until new requests are refused. Bodies
/// that are slowed down stay below.
const BYTES_AHEAD_NS_MAX: u64 = 2 * BURST_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// The longest delay of an answer that holds a client back.
const DELAY_MAX: Duration = Duration::from_millis(250);

/// What clients did lately, for all cores.
#[derive(Debug)]
pub struct Throttle {
    placing: Placing,
    began: Instant,
    requests: Rates,
    bytes: Rates,
    in_flight: Counts,
    addresses: Counts,
}

impl Default for Throttle {
    fn default() -> Self {
        let (requests, bytes) = (Rates::default(), Rates::default());
        let (in_flight, addresses) = (Counts::default(), Counts::default());
        Self { placing: Placing::default(), began: Instant::now(), requests, bytes, in_flight, addresses }
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

/// A request that was let in, until its answer was sent.
#[derive(Debug)]
pub struct Admitted {
    key: Places,
    bucket: Option<Places>,
    limits: ThrottleLimits,
    throttle: Arc<Throttle>,
    _in_flight: Option<Counted>,
}

impl Throttle {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Takes a place for a connection of an address. Returns None if it has `most` already.
    pub fn connection(&self, address: IpAddr, most: u32) -> Option<Counted> {
        self.addresses.take(self.placing.of(network_of(address)), most)
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
        let now_ns = self.now_ns();
        let key = match key {
            Key::Access(key) => self.placing.of(("key", key)),
            Key::Anonymous(address) => self.placing.of(("address", network_of(address))),
        };
        let bucket = bucket.map(|bucket| self.placing.of(("bucket", bucket)));
        self.judge(limits.key, key, now_ns, Held::KeyRequests, Held::KeyBytes)?;
        if let Some(bucket) = bucket {
            self.judge(limits.bucket, bucket, now_ns, Held::BucketRequests, Held::BucketBytes)?;
        }
        let in_flight =
            limits.key_in_flight.map(|most| self.in_flight.take(key, most).ok_or(Held::KeyInFlight));
        let in_flight = in_flight.transpose()?;
        if let Some(rate) = limits.key.requests {
            self.requests.charge(key, cost_ns(1, rate), now_ns);
        }
        Ok(Admitted { key, bucket, limits, throttle: self.clone(), _in_flight: in_flight })
    }

    fn judge(
        &self,
        limit: PerSecond,
        places: Places,
        now_ns: u64,
        requests: impl Fn(Duration) -> Held,
        bytes: impl Fn(Duration) -> Held,
    ) -> Result<(), Held> {
        if let Some(rate) = limit.requests {
            let then_ns = self.requests.ahead_ns(places, now_ns).saturating_add(cost_ns(1, rate));
            let wait = then_ns.saturating_sub(BURST_NS.max(cost_ns(1, rate)));
            if wait > 0 {
                return Err(requests(Duration::from_nanos(wait)));
            }
        }
        if limit.bytes.is_some() {
            let wait = self.bytes.ahead_ns(places, now_ns).saturating_sub(BYTES_AHEAD_NS_MAX);
            if wait > 0 {
                return Err(bytes(Duration::from_nanos(wait)));
            }
        }
        Ok(())
    }
}

/// Returns how long `count` take at `rate` a second, in nanoseconds.
fn cost_ns(count: u64, rate: u64) -> u64 {
    let cost = u128::from(count) * u128::from(SECOND_NS) / u128::from(rate.max(1));
    u64::try_from(cost).unwrap_or(u64::MAX)
}

impl Admitted {
    /// Notes that the request was answered, and not refused.
    pub fn answered(&self) {
        if let (Some(bucket), Some(rate)) = (self.bucket, self.limits.bucket.requests) {
            self.throttle.requests.charge(bucket, cost_ns(1, rate), self.throttle.now_ns());
        }
    }

    fn charge(&self, bytes: u64) {
        let limits = [(Some(self.key), self.limits.key.bytes), (self.bucket, self.limits.bucket.bytes)];
        for (places, rate) in limits {
            if let (Some(places), Some(rate)) = (places, rate) {
                self.throttle.bytes.charge(places, cost_ns(bytes, rate), self.throttle.now_ns());
            }
        }
    }

    /// Returns how long the next bytes have to wait.
    fn wait(&self) -> Option<Duration> {
        let limits = [(Some(self.key), self.limits.key.bytes), (self.bucket, self.limits.bucket.bytes)];
        let now_ns = self.throttle.now_ns();
        let limited = limits.into_iter().filter(|(_, rate)| rate.is_some()).filter_map(|(places, _)| places);
        let ahead = limited.map(|places| self.throttle.bytes.ahead_ns(places, now_ns)).max().unwrap_or(0);
        let wait = ahead.saturating_sub(BURST_NS);
        (wait > 0).then(|| Duration::from_nanos(wait))
    }
}

/// Holds a body to the rates of its request. It is known only once the request was let in whether there
/// are any.
#[derive(Clone, Default)]
pub struct Pace(Option<Arc<OnceLock<Arc<Admitted>>>>);

impl Pace {
    /// Makes the pace of a request that is still to be judged by these limits.
    pub fn of(limits: &ThrottleLimits) -> Self {
        Self(limits.is_any().then(Arc::default))
    }

    /// Notes that the request was let in.
    pub fn set(&self, admitted: Admitted) {
        if let Some(place) = &self.0 {
            // A request is let in once.
            let _ = place.set(Arc::new(admitted));
        }
    }

    /// Returns the request, if it was let in under limits.
    pub fn admitted(&self) -> Option<&Arc<Admitted>> {
        self.0.as_ref()?.get()
    }

    /// Notes that a part of the body was moved.
    pub fn moved(&self, bytes: u64) {
        if let Some(admitted) = self.admitted() {
            admitted.charge(bytes);
        }
    }

    /// Waits until more may be moved. `sleep` is kept by the body.
    pub fn poll_ready(&self, sleep: &mut Option<CoreSleep>, context: &mut Context<'_>) -> Poll<()> {
        let Some(admitted) = self.admitted() else { return Poll::Ready(()) };
        loop {
            if let Some(slept) = sleep {
                ready!(Pin::new(slept).poll(context));
                *sleep = None;
            }
            match admitted.wait() {
                None => return Poll::Ready(()),
                Some(wait) => *sleep = Some(CoreSleep::new(wait)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: u64) -> ThrottleLimits {
        let key = PerSecond { requests: Some(requests), bytes: None };
        ThrottleLimits { key, ..ThrottleLimits::default() }
    }

    #[test]
    fn a_key_has_a_second_of_requests_at_once_and_others_are_not_held() {
        let throttle = Arc::new(Throttle::default());
        // One in a thousand seconds comes back, so that no clock matters.
        let slow = ThrottleLimits { key_in_flight: None, ..limits(1) };
        let admit = |key| throttle.admit(slow, Key::Access(key), None).map(|_| ());
        assert_eq!(admit("a"), Ok(()));
        let held = admit("a").unwrap_err();
        assert!(matches!(held, Held::KeyRequests(wait) if wait <= Duration::from_secs(1)), "{held:?}");
        assert_eq!((held.retry_after_s(), Held::KeyInFlight.retry_after_s()), (1, 1));
        assert!(held.delay() <= DELAY_MAX && Held::KeyInFlight.delay() == DELAY_MAX);
        assert_eq!(admit("b"), Ok(()));
        let many = (0..50).filter(|_| throttle.admit(limits(20), Key::Access("c"), None).is_ok()).count();
        assert!((20..=40).contains(&many), "{many} of 50 at 20 a second");
        let address = "192.0.2.1".parse().unwrap();
        assert!(throttle.admit(slow, Key::Anonymous(address), None).is_ok());
        assert!(throttle.admit(slow, Key::Anonymous(address), None).is_err());
    }

    #[test]
    fn a_bucket_is_charged_for_what_it_answers() {
        let throttle = Arc::new(Throttle::default());
        let bucket = PerSecond { requests: Some(1), bytes: None };
        let limits = ThrottleLimits { bucket, ..ThrottleLimits::default() };
        let admit = |key, bucket| throttle.admit(limits, Key::Access(key), Some(bucket));
        for _ in 0..10 {
            drop(admit("stranger", "mine").expect("what is refused costs nothing"));
        }
        admit("owner", "mine").unwrap().answered();
        assert!(matches!(admit("other", "mine"), Err(Held::BucketRequests(_))));
        assert!(admit("other", "another").is_ok());
    }

    #[test]
    fn bytes_are_waited_for_and_then_refused() {
        let throttle = Arc::new(Throttle::default());
        let key = PerSecond { requests: None, bytes: Some(1000) };
        let limits = ThrottleLimits { key, ..ThrottleLimits::default() };
        let admit = || throttle.admit(limits, Key::Access("a"), None);
        let first = admit().unwrap();
        first.charge(900);
        assert_eq!(first.wait(), None, "a second is ahead at most");
        first.charge(900);
        assert!(first.wait().is_some_and(|wait| wait <= Duration::from_millis(800)));
        assert!(admit().is_ok(), "a body that is slowed down keeps nobody out");
        first.charge(10_000);
        let held = admit().unwrap_err();
        assert!(matches!(held, Held::KeyBytes(_)) && (9..=10).contains(&held.retry_after_s()), "{held:?}");
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
        let address = "2001:db8::1".parse().unwrap();
        let other = "2001:db8:0:1::1".parse().unwrap();
        let one = throttle.connection(address, 1).unwrap();
        assert!(throttle.connection("2001:db8::2".parse().unwrap(), 1).is_none(), "a network of one client");
        assert!(throttle.connection(other, 1).is_some());
        drop(one);
        assert!(throttle.connection(address, 1).is_some());
    }
}
