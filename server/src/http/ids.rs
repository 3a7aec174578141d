//! Request ids: unique over cores and restarts, cheap to make.

use http::HeaderValue;
use std::cell::Cell;

/// The ids of one core.
pub struct RequestIds {
    /// Random at start; spreads the counters of cores and runs over all 64 bits.
    base: u64,
    count: Cell<u64>,
    /// Sent as `x-amz-id-2`.
    pub host_id: HeaderValue,
}

impl RequestIds {
    /// `base` must be random.
    pub fn new(base: u64) -> Self {
        let host_id = HeaderValue::from_str(&format!("ringbolt-{base:016x}"));
        Self { base, count: Cell::new(0), host_id: host_id.unwrap_or(HeaderValue::from_static("ringbolt")) }
    }

    /// 16 upper-case hexadecimal digits, as S3's own.
    pub fn next(&self) -> String {
        let count = self.count.get();
        self.count.set(count + 1);
        // An odd multiplier permutes the 64-bit numbers: no id repeats before the counter does.
        format!("{:016X}", self.base.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

#[cfg(test)]
mod tests {
    use super::RequestIds;

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::new(u64::MAX - 5);
        let made: std::collections::HashSet<String> = (0..1000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.len() == 16));
    }
}
