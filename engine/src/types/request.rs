//! The request on whose behalf a thread works, so that an error can name the request that met it.
//!
//! Invariants: the current request is set only while a future of that request is polled, or while a
//! core serves one at once, and what was current before is restored after that. So no other task of
//! the same core ever sees it, and it costs two writes to a thread's own memory for each poll. Work
//! that crosses to another core, or is spawned, takes the [`RequestId`] along. Upkeep that a request
//! waits for is nobody's: it works on the objects of others.

use crate::env::LocalTask;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;

thread_local! {
    static CURRENT: Cell<Option<RequestId>> = const { Cell::new(None) };
}

/// Identifies a request in answers and in the log. It is shown as 16 upper-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016X}", self.0)
    }
}

impl RequestId {
    /// Returns the request that this thread works for, if it works for one.
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Makes this the current request of the thread until the guard is dropped.
    pub fn enter(self) -> EnteredRequest {
        EnteredRequest { before: CURRENT.replace(Some(self)), _of_this_thread: PhantomData }
    }

    /// Polls `future` with this as the current request, to its end.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _entered = self.enter();
            future.as_mut().poll(context)
        })
        .await
    }

    /// Makes a task that works for `client`, the request for which something is asked, if there is
    /// one.
    pub fn carried(client: Option<Self>, work: impl Future<Output = ()> + 'static) -> LocalTask {
        match client {
            Some(client) => Box::pin(client.scope(work)),
            None => Box::pin(work),
        }
    }
}

/// Restores, when it is dropped, the request that was current before [`RequestId::enter`].
#[must_use]
#[derive(Debug)]
pub struct EnteredRequest {
    before: Option<RequestId>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for EnteredRequest {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_request_is_current_while_it_is_polled_and_no_longer() {
        assert_eq!(RequestId::current(), None);
        let mut polls = 0;
        let mut future = pin!(RequestId(1).scope(poll_fn(|_| {
            assert_eq!(RequestId::current(), Some(RequestId(1)));
            {
                let _inner = RequestId(2).enter();
                assert_eq!(RequestId::current(), Some(RequestId(2)));
            }
            assert_eq!(RequestId::current(), Some(RequestId(1)));
            polls += 1;
            if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
        })));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(RequestId::current(), None);
        assert!(future.as_mut().poll(&mut context).is_ready());
        assert_eq!(RequestId::current(), None);
    }

    #[test]
    fn an_id_is_shown_as_sixteen_digits() {
        assert_eq!(RequestId(0xab).to_string(), "00000000000000AB");
    }
}
