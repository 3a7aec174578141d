//! Submission to the kernel: the entries that wait to be handed over, and the handling of those
//! that the kernel refuses.
//!
//! Invariants:
//! - Entries are handed over in the order in which they were pushed. None is lost: an entry that
//!   the kernel does not accept is offered again.
//! - A refusal (EAGAIN: no memory, EBUSY: the completion queue is full) is remembered until a
//!   completion was reaped. Until then entries are not offered early; only the turn of the loop
//!   offers them, after it has reaped or waited.
//! - `in_kernel` counts the operations that the kernel has accepted and not answered. Messages and
//!   timers have no buffer and do not count.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, squeue};

/// The flag of io_uring_enter that waits for completions.
const GETEVENTS: u32 = 1;
/// Milliseconds that a thread waits when it has nothing but refused entries.
const REFUSED_PAUSE_MS: i32 = 1;

/// The kind of an entry, which decides how it is counted once the kernel has accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry has a slot in the ring's table.
    Operation,
    /// The entry is a message to another core, or a timer.
    Message,
}

/// The entries of one ring on their way to the kernel.
pub(super) struct Submission {
    uring: IoUring,
    /// Entries that are not yet in the queue that the kernel sees.
    waiting: VecDeque<(squeue::Entry, Kind)>,
    /// The kinds of the entries in that queue that the kernel has not accepted, oldest first.
    offered: VecDeque<Kind>,
    in_kernel: usize,
    refused: bool,
    #[cfg(test)]
    pub hook: Option<Hook>,
}

/// A call of io_uring_enter, as a test sees it before it is made.
#[cfg(test)]
pub(crate) struct Call<'a> {
    pub uring: &'a IoUring,
    /// Number of entries offered.
    pub offered: usize,
    /// Number of completions waited for.
    pub want: usize,
    /// Number of operations that the kernel has.
    pub in_kernel: usize,
}

/// Answers a call instead of the kernel, or returns `None` to let it pass.
#[cfg(test)]
pub(crate) type Hook = Box<dyn FnMut(Call<'_>) -> Option<io::Result<usize>>>;

impl Submission {
    pub fn new(uring: IoUring) -> Self {
        Self {
            uring,
            waiting: VecDeque::new(),
            offered: VecDeque::new(),
            in_kernel: 0,
            refused: false,
            #[cfg(test)]
            hook: None,
        }
    }

    pub fn push(&mut self, entry: squeue::Entry, kind: Kind) {
        self.waiting.push_back((entry, kind));
    }

    /// Returns whether the kernel has accepted everything.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.offered.is_empty()
    }

    /// Returns the number of entries that were not offered yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of operations that the kernel has accepted and not answered.
    pub fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// Returns whether the kernel has refused entries and nothing was reaped since.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Registers a file in place of the one with this index, or none with -1.
    pub fn register_file(&self, file: u32, descriptor: i32) -> io::Result<()> {
        self.uring.submitter().register_files_update(file, &[descriptor]).map(|_| ())
    }

    pub fn as_raw_fd(&self) -> i32 {
        self.uring.as_raw_fd()
    }

    /// Hands everything over, and waits for `want` completions if the kernel accepts it.
    ///
    /// # Panics
    /// Panics when the kernel reports that the ring is unusable.
    pub fn hand_over(&mut self, want: usize) {
        if let Err(error) = self.try_hand_over(want) {
            panic!("io_uring_enter failed, the ring is unusable: {error}");
        }
    }

    fn try_hand_over(&mut self, want: usize) -> io::Result<()> {
        loop {
            self.offer();
            let more = !self.waiting.is_empty();
            let result = self.enter(if more { 0 } else { want });
            self.count_taken();
            match result {
                Ok(_) if self.is_empty() => {
                    self.refused = false;
                    return Ok(());
                }
                // The kernel may accept fewer entries than were offered. The others must not wait
                // for the next operation.
                Ok(taken) if taken > 0 => {}
                // A signal ends a wait. If nothing is waited for, there is no reason to stop.
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
                    if want > 0 {
                        return Ok(());
                    }
                }
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    return Err(error);
                }
                _ => {
                    self.refuse(want);
                    return Ok(());
                }
            }
        }
    }

    /// Keeps what was not accepted. A caller that wants to wait waits for what makes room: a
    /// completion or, if none can come, a pause.
    fn refuse(&mut self, want: usize) {
        self.refused = true;
        if want == 0 {
            return;
        }
        if self.in_kernel > 0 {
            // The result does not matter, because the caller reaps and tries again.
            let _ = self.wait();
            return;
        }
        let mut poll = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, REFUSED_PAUSE_MS) };
    }

    /// Waits for a completion without handing anything over.
    pub fn wait(&mut self) -> io::Result<usize> {
        self.enter_with(0, 1)
    }

    /// Takes completions and passes tag and result of each to `reaped`. Returns their number.
    pub fn reap(&mut self, mut reaped: impl FnMut(u64, i32) -> Kind) -> usize {
        let mut count = 0;
        loop {
            for entry in self.uring.completion() {
                count += 1;
                if reaped(entry.user_data(), entry.result()) == Kind::Operation {
                    self.in_kernel -= 1;
                }
            }
            // Completions that found the queue full stay in the kernel until they are asked for.
            if !self.uring.submission().cq_overflow() || self.enter_with(0, 0).is_err() {
                break;
            }
        }
        if count > 0 {
            self.refused = false;
        }
        count
    }

    /// Drops the operations that the kernel has not seen, and hands the messages over, if the
    /// kernel accepts them.
    pub fn hand_over_messages(&mut self) {
        self.waiting.retain(|(_, kind)| *kind == Kind::Message);
        let _ = self.try_hand_over(0);
    }

    fn offer(&mut self) {
        let mut submission = self.uring.submission();
        while let Some((entry, kind)) = self.waiting.pop_front() {
            // SAFETY: the entry's buffer is in the ring's table until its completion is reaped, the
            // registered files live as long as the ring, and a timer's time is a static.
            if unsafe { submission.push(&entry) }.is_err() {
                self.waiting.push_front((entry, kind));
                break;
            }
            self.offered.push_back(kind);
        }
    }

    fn count_taken(&mut self) {
        let left = self.uring.submission().len();
        while self.offered.len() > left {
            self.in_kernel += usize::from(self.offered.pop_front() == Some(Kind::Operation));
        }
    }

    fn enter(&mut self, want: usize) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(answer) = self.ask_hook(self.offered.len(), want) {
            return answer;
        }
        self.uring.submit_and_wait(want)
    }

    fn enter_with(&mut self, offered: u32, want: u32) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(answer) = self.ask_hook(offered as usize, want as usize) {
            return answer;
        }
        // SAFETY: no argument points anywhere.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(offered, want, GETEVENTS, None) }
    }

    #[cfg(test)]
    fn ask_hook(&mut self, offered: usize, want: usize) -> Option<io::Result<usize>> {
        let call = Call { uring: &self.uring, offered, want, in_kernel: self.in_kernel };
        self.hook.as_mut().and_then(|hook| hook(call))
    }
}
