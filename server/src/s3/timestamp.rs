//! Times of the engine as s3s writes them.

use s3s::dto::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// Returns a time of the engine, in Unix milliseconds, as s3s has it.
pub fn timestamp(unix_ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(unix_ms))
}
