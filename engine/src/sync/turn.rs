//! Letting the other tasks of a core go first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Resolves when every task that could run now has had its turn.
#[derive(Default)]
pub struct NextTurn {
    waited: bool,
}

impl Future for NextTurn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
