//! One io_uring of one core.
//!
//! Invariants:
//! - `table` holds, for each operation the kernel knows, its buffer and where its answer goes; an entry leaves
//!   the table only after its completion was reaped. Dropping the future marks the entry abandoned, nothing more.
//! - Entries are queued in order and handed over by `submit`; none is lost when the submission queue is full.
//! - Dropping the ring waits for every operation in flight, so that no buffer is freed under the kernel.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
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

const ENTRIES: u32 = 1024;
/// So many operations are handed over at once, without waiting for the end of the turn.
const SUBMIT_AT: usize = 4;
/// Registered buffers may be at most 1 GiB each.
const REGISTERED_PIECE: usize = 1 << 30;
const TAG_MESSAGE: u64 = u64::MAX;
const TAG_IGNORED: u64 = u64::MAX - 1;

/// Why a ring could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    #[error(
        "the kernel has no io_uring (ENOSYS): Ringbolt needs Linux 5.19 or newer, and a container whose seccomp \
         profile allows io_uring_setup"
    )]
    Missing,
    #[error(
        "io_uring is forbidden here (EPERM): set `sysctl kernel.io_uring_disabled=0`, and in a container allow \
         io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile"
    )]
    Forbidden,
    #[error(
        "the kernel's io_uring lacks a feature that Ringbolt needs ({0}): Linux 5.19 or newer is required"
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

/// What a completion brought: the kernel's result (bytes or -errno) and the buffer, if one was given.
pub struct Completion {
    pub result: i32,
    pub buffer: Option<Buffer>,
}

enum Slot {
    Free,
    Waiting { buffer: Option<Buffer>, waker: Option<Waker> },
    Abandoned { _buffer: Option<Buffer> },
    Done(Completion),
}

/// A core's ring. Clones are handles to the same one.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    uring: RefCell<IoUring>,
    pool: Pool,
    registered_buffers: bool,
    table: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    in_flight: Cell<usize>,
    queued: RefCell<VecDeque<squeue::Entry>>,
    pending_waker: RefCell<Option<Waker>>,
    messages: RefCell<Option<Rc<dyn Fn()>>>,
    peers: Arc<Vec<AtomicI32>>,
}

/// Where an operation reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Index in the table of registered files.
    pub file: u32,
    pub offset: u64,
    /// First byte of the buffer to use, for the continuation of a short transfer.
    pub skip: usize,
    pub length: usize,
}

impl Ring {
    /// Makes the calling thread's ring, with the drives' files and the arena registered. `peers[i]` is where core
    /// `i` publishes its ring for messages.
    ///
    /// # Errors
    /// A [`RingError`] that says what to change on the machine.
    pub fn new(
        core: usize,
        peers: Arc<Vec<AtomicI32>>,
        files: &[RawFd],
        pool: Pool,
        register_buffers: bool,
    ) -> Result<Self, RingError> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_cqsize(ENTRIES * 8)
            .build(ENTRIES)
            .map_err(setup_error)?;
        let other = |step| move |error| RingError::Other { step, error };
        uring.submitter().register_files(files).map_err(other("register the drives"))?;
        if register_buffers {
            register(&uring, &pool)?;
        }
        peers[core].store(uring.as_raw_fd(), Ordering::SeqCst);
        Ok(Self(Rc::new(Inner {
            uring: RefCell::new(uring),
            pool,
            registered_buffers: register_buffers,
            table: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            in_flight: Cell::new(0),
            queued: RefCell::new(VecDeque::new()),
            pending_waker: RefCell::new(None),
            messages: RefCell::new(None),
            peers,
        })))
    }

    /// The ring's descriptor: readable while completions wait.
    pub fn raw_fd(&self) -> RawFd {
        self.0.uring.borrow().as_raw_fd()
    }

    /// A descriptor of the ring for a poller that closes what it polls.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate_fd(&self) -> std::io::Result<OwnedFd> {
        // SAFETY: the descriptor is the ring's own and open for the whole call.
        unsafe { BorrowedFd::borrow_raw(self.raw_fd()) }.try_clone_to_owned()
    }

    /// Calls `handler` when another core has sent something.
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
        self.start(entry, Some(buffer))
    }

    /// Starts a write of `buffer[skip..skip + length]`; `durable` asks for RWF_DSYNC.
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
        self.start(entry, Some(buffer))
    }

    /// Starts a flush of the device's cache (fdatasync).
    pub fn flush(&self, file: u32) -> Operation {
        let entry = opcode::Fsync::new(types::Fixed(file)).flags(types::FsyncFlags::DATASYNC).build();
        self.start(entry, None)
    }

    /// Resolves when something waits to be submitted.
    pub async fn pending(&self) {
        poll_fn(|context| {
            if !self.0.queued.borrow().is_empty() || !self.0.uring.borrow_mut().submission().is_empty() {
                return Poll::Ready(());
            }
            *self.0.pending_waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Hands what is queued to the kernel.
    pub fn submit(&self) {
        self.enter(0);
    }

    /// Hands what is queued to the kernel and blocks until a completion is there.
    pub fn submit_and_wait(&self) {
        self.enter(1);
    }

    fn enter(&self, want: usize) {
        let mut uring = self.0.uring.borrow_mut();
        loop {
            let mut queued = self.0.queued.borrow_mut();
            let mut submission = uring.submission();
            while let Some(entry) = queued.pop_front() {
                // SAFETY: the entry's buffer is in `table` until its completion is reaped, and the registered
                // files live as long as the ring.
                if unsafe { submission.push(&entry) }.is_err() {
                    queued.push_front(entry);
                    break;
                }
            }
            let more = !queued.is_empty();
            drop(submission);
            drop(queued);
            let result = if want == 0 || more { uring.submit() } else { uring.submit_and_wait(want) };
            match result {
                // The kernel may take fewer than were offered: the others must not wait for the next operation.
                Ok(_) if !more && uring.submission().is_empty() => return,
                Ok(_) => {}
                // A signal came, the kernel is short of memory, or the completion queue is full: what was not taken
                // stays queued, and the next turn tries again after reaping.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) =>
                {
                    return;
                }
                Err(error) => panic!("io_uring_enter failed, the ring is unusable: {error}"),
            }
        }
    }

    /// Takes completions, wakes whoever waits for them; returns how many.
    pub fn reap(&self) -> usize {
        let mut wakers = Vec::new();
        let mut count = 0;
        let mut has_message = false;
        {
            let mut uring = self.0.uring.borrow_mut();
            let mut table = self.0.table.borrow_mut();
            for entry in uring.completion() {
                count += 1;
                match entry.user_data() {
                    TAG_MESSAGE => has_message = true,
                    TAG_IGNORED => {}
                    key => wakers.extend(self.complete(&mut table, key as usize, entry.result())),
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        if has_message && let Some(handler) = self.0.messages.borrow().clone() {
            handler();
        }
        count
    }

    /// Operations the kernel has not answered yet.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.get()
    }

    fn complete(&self, table: &mut [Slot], key: usize, result: i32) -> Option<Waker> {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
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

    fn start(&self, entry: squeue::Entry, buffer: Option<Buffer>) -> Operation {
        let key = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut table = self.0.table.borrow_mut();
            table.push(Slot::Free);
            table.len() - 1
        });
        self.0.table.borrow_mut()[key] = Slot::Waiting { buffer, waker: None };
        self.0.in_flight.set(self.0.in_flight.get() + 1);
        self.queue(entry.user_data(key as u64));
        if self.0.queued.borrow().len() >= SUBMIT_AT {
            // A turn that serves many connections is long: the device must not wait for its end.
            self.submit();
        }
        Operation { ring: self.clone(), key, taken: false }
    }

    fn queue(&self, entry: squeue::Entry) {
        self.0.queued.borrow_mut().push_back(entry);
        if let Some(waker) = self.0.pending_waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Notifier for Ring {
    fn notify(&self, target: usize) {
        let peer = self.0.peers[target].load(Ordering::SeqCst);
        // A core that has not published its ring yet drains its mailbox when it does.
        if peer >= 0 {
            let entry = opcode::MsgRingData::new(types::Fd(peer), 0, TAG_MESSAGE, None).build();
            self.queue(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(TAG_IGNORED));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let uring = self.uring.get_mut();
        while self.in_flight.get() > self.queued.borrow().len() && uring.submit_and_wait(1).is_ok() {
            let done = uring.completion().filter(|entry| entry.user_data() < TAG_IGNORED).count();
            self.in_flight.set(self.in_flight.get() - done);
        }
    }
}

/// An operation in flight. Dropping it leaves its buffer with the ring until the kernel is done.
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
    // SAFETY: the pieces lie in the pool's mapping, and the ring keeps a handle to the pool as long as it lives.
    unsafe { uring.submitter().register_buffers(&pieces) }.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => RingError::Memlock { needed_bytes: length },
        _ => RingError::Other { step: "register the I/O buffers", error },
    })
}
