//! Yields the core to its other tasks.

use std::future::poll_fn;
use std::task::Poll;

/// Resolves after every task that is ready now has run, on an executor that puts a task that wakes itself
/// behind all others. Tasks of a core use [`Environment::yield_now`](crate::env::Environment::yield_now).
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
