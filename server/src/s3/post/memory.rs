//! The memory that the upload forms of one core may hold.
//!
//! Invariant: what is taken is given back when its [`Share`] is dropped, however the request ends.

use s3s::{S3Result, s3_error};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that are free for forms. Only one core's thread uses it; it is atomic because what holds it
/// must be `Sync`.
pub struct FormMemory {
    free_bytes: AtomicU64,
}

/// The memory of one form.
#[derive(Debug)]
pub struct Share<'a> {
    free_bytes: &'a AtomicU64,
    bytes: u64,
}

impl FormMemory {
    pub fn new(bytes_max: u64) -> Self {
        Self { free_bytes: AtomicU64::new(bytes_max) }
    }

    /// 503 SlowDown while other forms hold too much.
    pub fn take(&self, bytes: u64) -> S3Result<Share<'_>> {
        match self.free_bytes.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes)) {
            Ok(_) => Ok(Share { free_bytes: &self.free_bytes, bytes }),
            Err(free) => Err(s3_error!(
                SlowDown,
                "Please reduce your request rate: other forms hold the memory for forms; \
                 {free} bytes are free, and yours has {bytes}"
            )),
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.free_bytes.fetch_add(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    #[test]
    fn what_one_form_holds_another_waits_for() {
        let memory = FormMemory::new(100);
        let first = memory.take(60).unwrap();
        let refused = memory.take(41).unwrap_err();
        assert_eq!(refused.code(), &S3ErrorCode::SlowDown);
        assert_eq!(refused.status_code(), Some(http::StatusCode::SERVICE_UNAVAILABLE));
        let second = memory.take(40).unwrap();
        drop(first);
        assert!(memory.take(61).is_err());
        drop(second);
        assert!(memory.take(100).is_ok());
    }
}
