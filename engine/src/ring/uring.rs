//! The io_uring of one core.
//!
//! Invariants:
//! - `table` holds, for each operation that was started, its buffer and the task that waits for it.
//!   An entry leaves the table only after its completion was reaped. Dropping the future only marks
//!   the entry as abandoned.
//! - A message to another core that fails is sent again, after a pause, as long as that core has a
//!   ring.
//! - Dropping the ring waits for every operation that the kernel has, so that no buffer is freed
//!   while the kernel uses it.
//! - [`Submission`] decides what is handed over, and when.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, opcode, squeue, types};

use super::arena::{Buffer, Pool};
use super::mailbox::Notifier;
use super::submission::{Kind, Submission};

const ENTRIES: u32 = 1024;
/// When this many operations wait, they are handed over at once and not at the end of the turn.
const SUBMIT_AT: usize = 4;
/// Bytes of the largest registered buffer, a limit of the kernel.
const REGISTERED_PIECE: usize = 1 << 30;
/// At the receiver: the mailbox has messages.
const TAG_MESSAGE: u64 = u64::MAX;
/// The pause is over, and failed messages are sent again.
const TAG_RETRY: u64 = u64::MAX - 1;
/// At the sender, with the target's number added: the message failed. All lower tags are numbers of
/// slots.
const TAG_UNHEARD: u64 = 1 << 63;
static RETRY_PAUSE: types::Timespec = types::Timespec::new().nsec(1_000_000);

/// The reason why a ring could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(
        "the kernel has no io_uring (ENOSYS): Ringbolt needs Linux 6.1 or newer, and a container whose seccomp \
         profile allows io_uring_setup"
    )]
    Missing,
    #[error(
        "io_uring is forbidden here (EPERM): set `sysctl kernel.io_uring_disabled=0`, and in a container allow \
         io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile"
    )]
    Forbidden,
    #[error(
        "the kernel's io_uring lacks a feature that Ringbolt needs ({0}): Linux 6.1 or newer is required"
    )]
    TooOld(std::io::Error),
    #[error(
        "not enough locked memory to register {needed_bytes} bytes of I/O buffers: raise the limit (`ulimit -l`, \
         LimitMEMLOCK= in systemd) to at least {needed_bytes} bytes per core, or start with --no-registered-buffers"
    )]
    Memlock { needed_bytes: usize },
    #[error("the I/O buffers can not be mapped: {0}; lower --memory")]
    Arena(std::io::Error),
    #[error("io_uring failed to {step}: {error}")]
    Other { step: &'static str, error: std::io::Error },
}

/// The result of an operation.
pub struct Completion {
    /// Bytes transferred, or -errno.
    pub result: i32,
    /// The buffer, if the operation had one.
    pub buffer: Option<Buffer>,
}

enum Slot {
    Free,
    Waiting { buffer: Option<Buffer>, waker: Option<Waker> },
    Abandoned { _buffer: Option<Buffer> },
    Done(Completion),
}

/// A core's ring. Clones are handles to the same ring.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    core: usize,
    submission: RefCell<Submission>,
    pool: Pool,
    registered_buffers: bool,
    table: RefCell<Vec<Slot>>,
    /// The file of each operation in the table, by its index among the registered ones.
    file_of: RefCell<Vec<u32>>,
    /// How many operations the kernel has of each registered file.
    busy: RefCell<Vec<usize>>,
    free: RefCell<Vec<usize>>,
    in_flight: Cell<usize>,
    /// The waker of the one task that submits.
    submitter: RefCell<Option<Waker>>,
    messages: RefCell<Option<Rc<dyn Fn()>>>,
    peers: Arc<Vec<AtomicI32>>,
    /// Cores that a message did not reach.
    unheard: RefCell<Vec<usize>>,
    retry_is_set: Cell<bool>,
}

/// The file and range that an operation reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Index of the file among the registered files.
    pub file: u32,
    /// Byte offset in the file.
    pub offset: u64,
    /// The first byte of the buffer to use, which is not 0 when a short transfer is continued.
    pub skip: usize,
    /// Length in bytes.
    pub length: usize,
}

impl Ring {
    /// Creates the calling thread's ring, with the drives' files and the arena registered. Core `i`
    /// publishes its ring's descriptor for messages in `peers[i]`.
    ///
    /// # Errors
    /// Returns a [`RingError`] that says what to change on the machine.
    pub fn new(
        core: usize,
        peers: Arc<Vec<AtomicI32>>,
        files: &[RawFd],
        pool: Pool,
        register_buffers: bool,
    ) -> Result<Self, RingError> {
        Self::with_entries((ENTRIES, ENTRIES * 8), core, peers, files, pool, register_buffers)
    }

    /// Creates a ring whose submission and completion queues have these numbers of entries.
    pub(super) fn with_entries(
        entries: (u32, u32),
        core: usize,
        peers: Arc<Vec<AtomicI32>>,
        files: &[RawFd],
        pool: Pool,
        register_buffers: bool,
    ) -> Result<Self, RingError> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_cqsize(entries.1)
            .build(entries.0)
            .map_err(setup_error)?;
        let other = |step| move |error| RingError::Other { step, error };
        uring.submitter().register_files(files).map_err(other("register the drives"))?;
        if register_buffers {
            register(&uring, &pool)?;
        }
        peers[core].store(uring.as_raw_fd(), Ordering::SeqCst);
        Ok(Self(Rc::new(Inner {
            core,
            submission: RefCell::new(Submission::new(uring)),
            pool,
            registered_buffers: register_buffers,
            table: RefCell::new(Vec::new()),
            file_of: RefCell::default(),
            busy: RefCell::new(vec![0; files.len()]),
            free: RefCell::new(Vec::new()),
            in_flight: Cell::new(0),
            submitter: RefCell::new(None),
            messages: RefCell::new(None),
            peers,
            unheard: RefCell::default(),
            retry_is_set: Cell::new(false),
        })))
    }

    /// Lets a test answer for the kernel.
    #[cfg(test)]
    pub(crate) fn hook(&self, hook: super::submission::Hook) {
        self.0.submission.borrow_mut().hook = Some(hook);
    }

    /// Returns whether a failed message waits for the end of the pause.
    #[cfg(test)]
    pub(super) fn is_pausing(&self) -> bool {
        self.0.retry_is_set.get()
    }

    /// Returns the ring's descriptor, which is readable while completions wait.
    pub fn raw_fd(&self) -> RawFd {
        self.0.submission.borrow().as_raw_fd()
    }

    /// Returns a duplicate of the ring's descriptor, for a poller that closes what it polls.
    ///
    /// # Errors
    /// Returns an error when the process has no descriptor left.
    pub fn duplicate_fd(&self) -> std::io::Result<OwnedFd> {
        // SAFETY: the descriptor is the ring's own and open for the whole call.
        unsafe { BorrowedFd::borrow_raw(self.raw_fd()) }.try_clone_to_owned()
    }

    /// Sets the function that is called when another core has sent something.
    pub fn on_message(&self, handler: Rc<dyn Fn()>) {
        *self.0.messages.borrow_mut() = Some(handler);
    }

    /// Starts a read into `buffer[skip..skip + length]`.
    pub fn read(&self, target: Target, mut buffer: Buffer) -> Operation {
        let address = buffer[target.skip..target.skip + target.length].as_mut_ptr();
        let file = types::Fixed(target.file);
        let length = target.length as u32;
        let entry = match self.registered(&buffer) {
            Some(index) => opcode::ReadFixed::new(file, address, length, index).offset(target.offset).build(),
            None => opcode::Read::new(file, address, length).offset(target.offset).build(),
        };
        self.start(target.file, entry, Some(buffer))
    }

    /// Starts a write of `buffer[skip..skip + length]`. If `durable` is set, it is made with
    /// RWF_DSYNC.
    pub fn write(&self, target: Target, buffer: Buffer, durable: bool) -> Operation {
        let address = buffer[target.skip..target.skip + target.length].as_ptr();
        let file = types::Fixed(target.file);
        let length = target.length as u32;
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        let entry = match self.registered(&buffer) {
            Some(index) => opcode::WriteFixed::new(file, address, length, index)
                .offset(target.offset)
                .rw_flags(flags)
                .build(),
            None => opcode::Write::new(file, address, length).offset(target.offset).rw_flags(flags).build(),
        };
        self.start(target.file, entry, Some(buffer))
    }

    /// Starts a flush of the device's cache (fdatasync).
    pub fn flush(&self, file: u32) -> Operation {
        let entry = opcode::Fsync::new(types::Fixed(file)).flags(types::FsyncFlags::DATASYNC).build();
        self.start(file, entry, None)
    }

    /// Registers a file in place of the one with this index, or none.
    ///
    /// # Errors
    /// Returns the kernel's error. The old file may be registered still.
    pub fn register_file(&self, file: u32, descriptor: Option<RawFd>) -> std::io::Result<()> {
        self.0.submission.borrow().register_file(file, descriptor.unwrap_or(-1))
    }

    /// Returns whether the kernel has answered all operations of a registered file.
    pub fn is_idle(&self, file: u32) -> bool {
        self.0.busy.borrow()[file as usize] == 0
    }

    /// Resolves when entries wait to be submitted. Only one task may wait.
    pub async fn pending(&self) {
        self.until(|submission| !submission.is_empty()).await;
    }

    /// Resolves when refused entries can be offered again because an operation has completed. Only
    /// the task that waits for [`Self::pending`] may wait.
    pub async fn relieved(&self) {
        self.until(|submission| !submission.is_refused()).await;
    }

    async fn until(&self, holds: impl Fn(&Submission) -> bool) {
        poll_fn(|context| {
            if holds(&self.0.submission.borrow()) {
                return Poll::Ready(());
            }
            *self.0.submitter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Hands what is queued to the kernel.
    pub fn submit(&self) {
        self.0.submission.borrow_mut().hand_over(0);
    }

    /// Hands what is queued to the kernel before the end of the turn, unless the kernel has refused
    /// something. After a refusal only reaping or waiting helps.
    pub fn submit_early(&self) {
        let mut submission = self.0.submission.borrow_mut();
        if !submission.is_refused() {
            submission.hand_over(0);
        }
    }

    /// Hands what is queued to the kernel and blocks until there is a completion, a signal has
    /// come, or refused entries are worth another try.
    pub fn submit_and_wait(&self) {
        self.0.submission.borrow_mut().hand_over(1);
    }

    /// Returns whether the kernel has refused what it was offered last, and nothing has completed
    /// since.
    pub fn is_refused(&self) -> bool {
        self.0.submission.borrow().is_refused()
    }

    /// Takes completions and wakes the tasks that wait for them. Returns their number. It makes no
    /// system call unless the completion queue was too small.
    pub fn reap(&self) -> usize {
        let mut wakers = Vec::new();
        let (mut has_message, mut is_time) = (false, false);
        let was_refused = self.is_refused();
        let count = {
            let mut table = self.0.table.borrow_mut();
            let mut unheard = self.0.unheard.borrow_mut();
            self.0.submission.borrow_mut().reap(|tag, result| {
                match tag {
                    TAG_MESSAGE => has_message = true,
                    TAG_RETRY => is_time = true,
                    // A message that arrives has no completion here.
                    TAG_UNHEARD.. => unheard.push((tag - TAG_UNHEARD) as usize),
                    key => {
                        wakers.extend(self.complete(&mut table, key as usize, result));
                        return Kind::Operation;
                    }
                }
                Kind::Message
            })
        };
        wakers.into_iter().for_each(Waker::wake);
        if count > 0 {
            self.notify_again(is_time);
            if was_refused {
                self.wake_submitter();
            }
        }
        if has_message && let Some(handler) = self.0.messages.borrow().clone() {
            handler();
        }
        count
    }

    /// Sends failed messages again when the pause is over, and starts a pause when a message has
    /// failed.
    fn notify_again(&self, is_time: bool) {
        if is_time {
            self.0.retry_is_set.set(false);
            let targets = std::mem::take(&mut *self.0.unheard.borrow_mut());
            targets.into_iter().for_each(|target| self.notify(target));
        } else if !self.0.unheard.borrow().is_empty() && !self.0.retry_is_set.replace(true) {
            let pause = opcode::Timeout::new(&RETRY_PAUSE).build();
            self.queue(pause.user_data(TAG_RETRY), Kind::Message);
        }
    }

    /// Returns the number of operations that the kernel has not answered yet.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.get()
    }

    fn complete(&self, table: &mut [Slot], key: usize, result: i32) -> Option<Waker> {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.busy.borrow_mut()[self.0.file_of.borrow()[key] as usize] -= 1;
        match std::mem::replace(&mut table[key], Slot::Free) {
            Slot::Waiting { buffer, waker } => {
                table[key] = Slot::Done(Completion { result, buffer });
                waker
            }
            Slot::Abandoned { .. } => {
                self.0.free.borrow_mut().push(key);
                None
            }
            Slot::Free | Slot::Done(_) => panic!("completion for operation {key}, which is not in flight"),
        }
    }

    fn registered(&self, buffer: &Buffer) -> Option<u16> {
        self.0.registered_buffers.then(|| (self.0.pool.offset_of(buffer) / REGISTERED_PIECE) as u16)
    }

    fn start(&self, file: u32, entry: squeue::Entry, buffer: Option<Buffer>) -> Operation {
        let key = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut table = self.0.table.borrow_mut();
            table.push(Slot::Free);
            self.0.file_of.borrow_mut().push(file);
            table.len() - 1
        });
        self.0.file_of.borrow_mut()[key] = file;
        self.0.busy.borrow_mut()[file as usize] += 1;
        self.0.table.borrow_mut()[key] = Slot::Waiting { buffer, waker: None };
        self.0.in_flight.set(self.0.in_flight.get() + 1);
        self.queue(entry.user_data(key as u64), Kind::Operation);
        if self.0.submission.borrow().waiting() >= SUBMIT_AT {
            // A turn that serves many connections is long, and the device must not wait for its
            // end.
            self.submit_early();
        }
        Operation { ring: self.clone(), key, taken: false }
    }

    fn queue(&self, entry: squeue::Entry, kind: Kind) {
        self.0.submission.borrow_mut().push(entry, kind);
        self.wake_submitter();
    }

    fn wake_submitter(&self) {
        if let Some(waker) = self.0.submitter.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Notifier for Ring {
    fn notify(&self, target: usize) {
        let peer = self.0.peers[target].load(Ordering::SeqCst);
        // A core that has not published its ring yet drains its mailbox when it does; a core that
        // has ended never will.
        if peer >= 0 {
            let entry = opcode::MsgRingData::new(types::Fd(peer), 0, TAG_MESSAGE, None).build();
            let tag = TAG_UNHEARD + target as u64;
            self.queue(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag), Kind::Message);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The number of the descriptor may soon belong to another file.
        self.peers[self.core].store(-1, Ordering::SeqCst);
        let submission = self.submission.get_mut();
        submission.hand_over_messages();
        while submission.in_kernel() > 0 {
            // Nobody waits for results any more: no operation outlives its handle to the ring.
            submission.reap(|tag, _| if tag < TAG_UNHEARD { Kind::Operation } else { Kind::Message });
            if submission.in_kernel() == 0 {
                return;
            }
            match submission.wait() {
                Ok(_) => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
                Err(error) => {
                    tracing::error!(%error, "a ring can not be waited for; its buffers are never used again");
                    Box::leak(Box::new(std::mem::take(&mut *self.table.borrow_mut())));
                    return;
                }
            }
        }
    }
}

/// An operation in flight. If it is dropped, its buffer stays with the ring until the kernel has
/// finished.
pub struct Operation {
    ring: Ring,
    key: usize,
    taken: bool,
}

impl Future for Operation {
    type Output = Completion;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let key = self.key;
        let completion = {
            let mut table = self.ring.0.table.borrow_mut();
            match std::mem::replace(&mut table[key], Slot::Free) {
                Slot::Done(completion) => completion,
                Slot::Waiting { buffer, .. } => {
                    table[key] = Slot::Waiting { buffer, waker: Some(context.waker().clone()) };
                    return Poll::Pending;
                }
                Slot::Free | Slot::Abandoned { .. } => panic!("operation {key} was polled after its end"),
            }
        };
        self.taken = true;
        self.ring.0.free.borrow_mut().push(key);
        Poll::Ready(completion)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut table = self.ring.0.table.borrow_mut();
        match std::mem::replace(&mut table[self.key], Slot::Free) {
            Slot::Waiting { buffer, .. } => table[self.key] = Slot::Abandoned { _buffer: buffer },
            Slot::Done(completion) => {
                self.ring.0.free.borrow_mut().push(self.key);
                drop(table);
                drop(completion);
            }
            Slot::Free | Slot::Abandoned { .. } => {}
        }
    }
}

pub(super) fn setup_error(error: std::io::Error) -> RingError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => RingError::Missing,
        Some(libc::EPERM | libc::EACCES) => RingError::Forbidden,
        Some(libc::EINVAL) => RingError::TooOld(error),
        _ => RingError::Other { step: "set up a ring", error },
    }
}

fn register(uring: &IoUring, pool: &Pool) -> Result<(), RingError> {
    let (start, length) = pool.region();
    let pieces: Vec<libc::iovec> = (0..length)
        .step_by(REGISTERED_PIECE)
        .map(|at| libc::iovec {
            iov_base: start.wrapping_add(at).cast(),
            iov_len: REGISTERED_PIECE.min(length - at),
        })
        .collect();
    // SAFETY: the pieces are in the pool's mapping, and the ring keeps a handle to the pool as long
    // as it lives.
    unsafe { uring.submitter().register_buffers(&pieces) }.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => RingError::Memlock { needed_bytes: length },
        _ => RingError::Other { step: "register the I/O buffers", error },
    })
}
