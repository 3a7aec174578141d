//! Whether the next piece of a body is there already, said by the body to whoever polls it, on the same thread.
//!
//! Who gathers the pieces of an answer asks only for those that are. A body that was asked for more, and is not asked
//! again before its client has taken what there is, would not notice that its drive has answered, and hold the drive to
//! be slow.

use std::cell::Cell;

thread_local! {
    static IS_READY: Cell<bool> = const { Cell::new(false) };
}

/// Says, with a piece that a body gives, whether the next one will be there without waiting.
pub fn say_is_ready(is_ready: bool) {
    IS_READY.set(is_ready);
}

/// Returns what the body said that gave a piece just now. One that says nothing has nothing ready.
pub fn is_ready() -> bool {
    IS_READY.take()
}
