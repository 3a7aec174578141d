//! Reads that another copy is asked for too, because the drive of the first one is late.
//!
//! Invariant: a copy that is late is not held to be bad. What it answers in the end is dropped, once it has told how
//! fast its drive is.

use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::{Either, select};

use super::state::CoreState;
use crate::device::pace::{LATE_MAX, Patience};
use crate::device::{DeviceError, IoFuture};
use crate::extent::{Drives, SetPlace};
use crate::hook::{Rare, reached};
use crate::ring::Buffer;

/// What a drive answers to a read.
type Answer = (Result<(), DeviceError>, Buffer);

/// Waits for a read of bytes of a set, of the copy on a home, and reads another copy too when that is late, but none
/// that is `bad`. The patience was begun with the read. Returns what came first without an error, and from which home
/// it is. A caller that gives up may call again.
pub(super) async fn answer_of(
    (core, drives): (&Rc<CoreState>, &Drives),
    (at, offset, length): (SetPlace, u32, usize),
    (home, bad): (usize, &[usize]),
    read: &mut IoFuture,
    patience: &mut Option<Patience>,
) -> (Answer, usize) {
    let Some(paces) = drives.paces() else { return (read.await, home) };
    let mut other = None;
    for _ in 0..LATE_MAX {
        let has_patience = patience.get_or_insert_with(|| paces.patience_again());
        let answered = poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if has_patience.is_over(context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(answer) = answered.await {
            return (answer, home);
        }
        *patience = None;
        other = core.pool.try_take(length).zip(drives.hedge(at, home, bad));
        if other.is_some() {
            break;
        }
    }
    let Some((buffer, copy)) = other else { return (read.await, home) };
    reached(Rare::ReadHedged);
    let mut hedge = copy.read(offset, length, buffer);
    match select(&mut *read, &mut hedge).await {
        Either::Left((answer, _)) if answer.0.is_ok() => {
            let_end(core, hedge);
            (answer, home)
        }
        Either::Right((answer, _)) if answer.0.is_ok() => {
            let_end(core, std::mem::replace(read, Box::pin(pending())));
            (answer, copy.at)
        }
        Either::Left((failed, _)) => {
            // A caller that gives up here and calls again gets it once more.
            *read = Box::pin(ready(failed));
            let answer = hedge.await;
            if answer.0.is_ok() { (answer, copy.at) } else { (read.await, home) }
        }
        Either::Right(_) => (read.await, home),
    }
}

/// Waits for a read that nobody wants any more.
pub(super) fn let_end(core: &CoreState, read: IoFuture) {
    core.environment.spawn(Box::pin(async move { drop(read.await) }));
}
