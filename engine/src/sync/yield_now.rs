//! Letting the other tasks of a core go first.

use std::future::poll_fn;
use std::task::Poll;

/// Resolves when every task that could run now has had its turn.
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
