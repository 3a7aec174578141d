//! The arena: one region of huge-page memory per core, divided into aligned I/O buffers.
//!
//! Invariants:
//! - The region is mapped once, zeroed, and outlives every buffer in it (each holds the pool).
//! - It is divided into chunks of 1 MiB. A chunk is whole, or divided into equal buffers of one
//!   size class; it becomes whole again when its last buffer returns. So no buffer crosses a chunk,
//!   and memory never grows.
//! - Some chunks are for the log alone, so that commits continue when bodies hold the rest. Some
//!   are for operations that hold a buffer for one read or write only, so that a body that holds
//!   its data can write the block it still lacks. Both use the chunks that are for all first.
//! - A buffer that returns is given at once to the task that has waited longest among those that
//!   it, or the chunk it completes, can serve. No other task is woken, and nothing that a waiting
//!   task could use stays free.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes of the largest buffer, and the unit into which the arena is divided.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Alignment of every buffer in bytes. O_DIRECT on every known device accepts it.
pub const ALIGNMENT: usize = 4096;
const CLASSES: [usize; 8] = [4096, 8192, 16384, 32768, 65536, 131_072, 262_144, CHUNK_BYTES];
/// The class of a buffer of no bytes, which belongs to no chunk.
const NO_CLASS: u8 = CLASSES.len() as u8;
const HUGE_PAGE: usize = 2 << 20;
/// Number of the chunks that are for the log alone. They come first.
const LOG_CHUNKS: usize = 2;
/// Number of the chunks, after those of the log, that are for operations of one step.
const STEP_CHUNKS: usize = 1;

/// The chunks that a buffer may come from. A part of the arena belongs to each share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    All,
    Steps,
    Log,
}

const SHARES: [Share; 3] = [Share::All, Share::Steps, Share::Log];

/// A core's pool of buffers. Clones share the arena.
#[derive(Clone)]
pub struct Pool(Rc<Inner>);

struct Inner {
    base: NonNull<u8>,
    mapped_bytes: usize,
    chunks: usize,
    free: RefCell<Free>,
    waiting: RefCell<Waiting>,
    free_chunks: Cell<usize>,
}

struct Free {
    /// The free chunks of each [`Share`].
    parts: [Part; SHARES.len()],
    /// The free buffers of each chunk.
    slots: Vec<ChunkSlots>,
}

#[derive(Default)]
struct Part {
    whole: Vec<u32>,
    /// For each class, the chunks that have at least one free buffer of it.
    partial: [Vec<u32>; CLASSES.len()],
}

impl Part {
    fn has(&self, class: usize) -> bool {
        !self.partial[class].is_empty() || !self.whole.is_empty()
    }
}

/// The waiting tasks, by share and class.
#[derive(Default)]
struct Waiting {
    queues: [[Queue; CLASSES.len()]; SHARES.len()],
    turns: u64,
    count: usize,
}

/// Waiting tasks, each with its turn.
type Queue = VecDeque<(u64, Rc<Waiter>)>;

#[derive(Default)]
struct Waiter {
    given: RefCell<Option<Buffer>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Default, Clone)]
struct ChunkSlots {
    free: Vec<u16>,
    used: u16,
}

/// Maps zeroed memory, in huge pages where possible. `bytes` must be a multiple of 2 MiB. The
/// caller unmaps it.
pub(super) fn map_huge(bytes: usize) -> std::io::Result<NonNull<u8>> {
    let base = map(bytes)?;
    // SAFETY: the range is the mapping made above, and the advice does not change its contents.
    unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    Ok(base)
}

/// Maps zeroed memory. The caller unmaps it.
pub(super) fn map(bytes: usize) -> std::io::Result<NonNull<u8>> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no other
    // memory.
    let raw = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if raw == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    NonNull::new(raw.cast::<u8>()).ok_or_else(std::io::Error::last_os_error)
}

impl Pool {
    /// Creates a pool of `bytes` (rounded up to 2 MiB, at least 8 MiB).
    ///
    /// # Errors
    /// Returns an error when the kernel refuses the mapping.
    pub fn new(bytes: usize) -> std::io::Result<Self> {
        let mapped_bytes = bytes.max(4 * HUGE_PAGE).next_multiple_of(HUGE_PAGE) + HUGE_PAGE;
        let base = map_huge(mapped_bytes)?;
        let chunks = (mapped_bytes - HUGE_PAGE) / CHUNK_BYTES;
        let mut free = Free { parts: Default::default(), slots: vec![ChunkSlots::default(); chunks] };
        (0..chunks as u32).rev().for_each(|chunk| free.parts[share_of(chunk) as usize].whole.push(chunk));
        Ok(Self(Rc::new(Inner {
            base,
            mapped_bytes,
            chunks,
            free: RefCell::new(free),
            waiting: RefCell::default(),
            free_chunks: Cell::new(chunks),
        })))
    }

    /// Returns start and length of the usable region, for registration with a ring.
    pub fn region(&self) -> (*mut u8, usize) {
        (self.0.start(), self.0.chunks * CHUNK_BYTES)
    }

    /// Returns the byte offset of `buffer` within the region.
    pub fn offset_of(&self, buffer: &Buffer) -> usize {
        buffer.chunk as usize * CHUNK_BYTES + buffer.slot as usize * buffer.capacity()
    }

    /// Returns the number of chunks, and how many of them are completely free.
    pub fn chunks(&self) -> (usize, usize) {
        (self.0.chunks, self.0.free_chunks.get())
    }

    /// Returns the capacity of a buffer that is asked to have at least `length` bytes.
    pub fn capacity_for(length: usize) -> usize {
        CLASSES[class_of(length)]
    }

    /// Returns a buffer of at least `length` bytes if one is free now among those for all.
    pub fn try_take(&self, length: usize) -> Option<Buffer> {
        self.take_from(class_of(length), Share::All)
    }

    /// Waits for a buffer of at least `length` bytes among those for all.
    pub fn take(&self, length: usize) -> Take {
        self.take_for(length, Share::All)
    }

    /// Waits for a buffer for one read or write. Its holder must return it without waiting for
    /// another buffer.
    pub fn take_for_step(&self, length: usize) -> Take {
        self.take_for(length, Share::Steps)
    }

    /// Waits for a buffer for batches, checkpoints or superblocks, which commits depend on.
    pub fn take_for_log(&self, length: usize) -> Take {
        self.take_for(length, Share::Log)
    }

    fn take_for(&self, length: usize, share: Share) -> Take {
        Take { pool: self.clone(), class: class_of(length), share, waiter: None }
    }

    fn take_from(&self, class: usize, share: Share) -> Option<Buffer> {
        let mut free = self.0.free.borrow_mut();
        let free = &mut *free;
        let part = [Share::All, share].into_iter().find(|part| free.parts[*part as usize].has(class))?;
        let part = &mut free.parts[part as usize];
        if let Some(&chunk) = part.partial[class].last() {
            let slots = &mut free.slots[chunk as usize];
            let slot = slots.free.pop()?;
            slots.used += 1;
            if slots.free.is_empty() {
                part.partial[class].pop();
            }
            return Some(self.buffer(chunk, slot, class));
        }
        let chunk = part.whole.pop()?;
        self.0.free_chunks.set(self.0.free_chunks.get() - 1);
        let count = (CHUNK_BYTES / CLASSES[class]) as u16;
        free.slots[chunk as usize] = ChunkSlots { free: (1..count).rev().collect(), used: 1 };
        if count > 1 {
            part.partial[class].push(chunk);
        }
        Some(self.buffer(chunk, 0, class))
    }

    fn buffer(&self, chunk: u32, slot: u16, class: usize) -> Buffer {
        Buffer { pool: self.clone(), chunk, slot, class: class as u8, keeps: None, is_part: false }
    }

    fn give_back(&self, chunk: u32, slot: u16, class: usize) {
        let mut guard = self.0.free.borrow_mut();
        let free = &mut *guard;
        let part = &mut free.parts[share_of(chunk) as usize];
        let slots = &mut free.slots[chunk as usize];
        slots.used -= 1;
        if slots.used == 0 {
            let had_free = !slots.free.is_empty();
            slots.free = Vec::new();
            if had_free {
                part.partial[class].retain(|&other| other != chunk);
            }
            part.whole.push(chunk);
            self.0.free_chunks.set(self.0.free_chunks.get() + 1);
        } else {
            slots.free.push(slot);
            if slots.free.len() == 1 {
                part.partial[class].push(chunk);
            }
        }
        drop(guard);
        if self.0.waiting.borrow().count > 0 {
            self.hand_out();
        }
    }

    /// Gives free buffers to the tasks that wait for them, in the order in which they came.
    fn hand_out(&self) {
        while let Some((class, share)) = self.next_to_serve() {
            let Some(buffer) = self.take_from(class, share) else { return };
            let next = {
                let mut waiting = self.0.waiting.borrow_mut();
                waiting.count -= 1;
                waiting.queues[share as usize][class].pop_front()
            };
            let Some((_, waiter)) = next else { return };
            *waiter.given.borrow_mut() = Some(buffer);
            let waker = waiter.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Returns class and share of the task that has waited longest among those for whom a buffer is
    /// free.
    fn next_to_serve(&self) -> Option<(usize, Share)> {
        let (free, waiting) = (self.0.free.borrow(), self.0.waiting.borrow());
        let has = |share: Share, class| free.parts[share as usize].has(class);
        let queues = SHARES.iter().flat_map(|share| (0..CLASSES.len()).map(move |class| (class, *share)));
        let first = |(class, share): (usize, Share)| {
            let (turn, _) = waiting.queues[share as usize][class].front()?;
            (has(Share::All, class) || has(share, class)).then_some((*turn, class, share))
        };
        let next = queues.filter_map(first).min_by_key(|(turn, ..)| *turn);
        next.map(|(_, class, share)| (class, share))
    }
}

fn class_of(length: usize) -> usize {
    let class = CLASSES.iter().position(|&size| size >= length);
    class.unwrap_or_else(|| panic!("a buffer of {length} bytes was asked; the most is {CHUNK_BYTES}"))
}

fn share_of(chunk: u32) -> Share {
    match chunk as usize {
        0..LOG_CHUNKS => Share::Log,
        LOG_CHUNKS..FOR_ALL => Share::Steps,
        FOR_ALL.. => Share::All,
    }
}

/// The number of the first chunk that is for all.
const FOR_ALL: usize = LOG_CHUNKS + STEP_CHUNKS;

/// A future that resolves to a buffer. If it is dropped, its turn is lost.
pub struct Take {
    pool: Pool,
    class: usize,
    share: Share,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Take {
    type Output = Buffer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Buffer> {
        let this = &mut *self;
        if let Some(waiter) = &this.waiter {
            let given = waiter.given.borrow_mut().take();
            if let Some(buffer) = given {
                this.waiter = None;
                return Poll::Ready(buffer);
            }
            *waiter.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        if let Some(buffer) = this.pool.take_from(this.class, this.share) {
            return Poll::Ready(buffer);
        }
        let waiter =
            Rc::new(Waiter { waker: RefCell::new(Some(context.waker().clone())), ..Waiter::default() });
        let mut waiting = this.pool.0.waiting.borrow_mut();
        waiting.turns += 1;
        waiting.count += 1;
        let turn = waiting.turns;
        waiting.queues[this.share as usize][this.class].push_back((turn, waiter.clone()));
        this.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        // A buffer that was already given is dropped with the waiter and so passed to the next
        // task.
        let Some(waiter) = self.waiter.take() else { return };
        let mut waiting = self.pool.0.waiting.borrow_mut();
        let queue = &mut waiting.queues[self.share as usize][self.class];
        if let Some(at) = queue.iter().position(|(_, other)| Rc::ptr_eq(other, &waiter)) {
            queue.remove(at);
            waiting.count -= 1;
        }
    }
}

impl Inner {
    fn start(&self) -> *mut u8 {
        let address = self.base.as_ptr();
        address.wrapping_add(address.align_offset(HUGE_PAGE))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping made in `new`. No buffer is left,
        // because each one holds an `Rc` to this.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// An aligned piece of the arena. It returns to its pool when it is dropped.
pub struct Buffer {
    pool: Pool,
    chunk: u32,
    slot: u16,
    class: u8,
    /// Set in a handle of a shared buffer, and in a part of a divided one, which keeps it from the pool.
    keeps: Option<Rc<Buffer>>,
    /// It is a part of a divided buffer, whose bytes no other part has.
    is_part: bool,
}

/// A buffer that several operations read, and nobody writes any more.
pub struct SharedBuffer(Rc<Buffer>);

impl SharedBuffer {
    /// Returns a handle for one more operation. The buffer returns to its pool when the last handle and
    /// this are dropped.
    pub fn another(&self) -> Buffer {
        let Buffer { pool, chunk, slot, class, .. } = &*self.0;
        let (chunk, slot, class) = (*chunk, *slot, *class);
        Buffer { pool: pool.clone(), chunk, slot, class, keeps: Some(self.0.clone()), is_part: false }
    }
}

impl Buffer {
    /// Returns a buffer of no bytes, in place of one that a drive keeps for ever.
    pub fn none(pool: &Pool) -> Self {
        Self { pool: pool.clone(), chunk: 0, slot: 0, class: NO_CLASS, keeps: None, is_part: false }
    }

    /// Returns the usable bytes, which are those of its size class.
    pub fn capacity(&self) -> usize {
        CLASSES.get(self.class as usize).copied().unwrap_or(0)
    }

    /// Makes the buffer one that several operations can read.
    pub fn share(self) -> SharedBuffer {
        SharedBuffer(Rc::new(self))
    }

    /// Divides the buffer into parts of the smallest size class that holds `length` bytes. It returns to its pool
    /// when the last part is dropped.
    ///
    /// # Panics
    /// Panics when the buffer is smaller than that, or a handle of a shared one.
    pub fn divide(self, length: usize) -> Vec<Buffer> {
        let class = class_of(length);
        let count = self.capacity() / CLASSES[class];
        assert!(
            count > 0 && (self.keeps.is_none() || self.is_part),
            "{self:?} is divided into parts of {length} bytes"
        );
        let (pool, chunk, first) = (self.pool.clone(), self.chunk, self.slot * count as u16);
        let whole = Rc::new(self);
        let part = |at: usize| Buffer {
            pool: pool.clone(),
            chunk,
            slot: first + at as u16,
            class: class as u8,
            keeps: Some(whole.clone()),
            is_part: true,
        };
        (0..count).map(part).collect()
    }

    /// Returns the pool that the buffer returns to.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn address(&self) -> *mut u8 {
        self.pool.0.start().wrapping_add(self.pool.offset_of(self))
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range is in the mapping (chunk and slot are in bounds by construction), was
        // zeroed by the kernel, and belongs to this buffer alone until it is dropped. Handles of a shared
        // buffer only read it. Each part of a divided buffer has bytes of its own, and nobody has the whole.
        unsafe { std::slice::from_raw_parts(self.address(), self.capacity()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        assert!(self.keeps.is_none() || self.is_part, "a shared buffer is not written to");
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive, since this is no handle of a
        // shared buffer.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.capacity()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // What a handle keeps returns by itself.
        if self.keeps.is_none() && self.class != NO_CLASS {
            self.pool.give_back(self.chunk, self.slot, self.class as usize);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} bytes, chunk {}, slot {})", self.capacity(), self.chunk, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn buffers_are_aligned_disjoint_and_come_back() {
        let pool = Pool::new(8 << 20).expect("map");
        let (chunks, free_at_start) = pool.chunks();
        assert_eq!(chunks, free_at_start);
        let mut buffers = Vec::new();
        for length in [1, 4096, 5000, 70_000, CHUNK_BYTES, 4096, 8192] {
            let mut buffer = pool.try_take(length).expect("room");
            assert!(buffer.capacity() >= length);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            let mark = buffers.len() as u8 + 1;
            buffer.fill(mark);
            buffers.push(buffer);
        }
        for (at, buffer) in buffers.iter().enumerate() {
            assert!(buffer.iter().all(|&byte| byte == at as u8 + 1), "buffer {at} was overwritten");
        }
        drop(buffers);
        assert_eq!(pool.chunks(), (chunks, chunks));
    }

    #[test]
    fn parts_of_a_buffer_are_disjoint_and_return_it_together() {
        let pool = Pool::new(8 << 20).expect("map");
        let before = pool.chunks();
        let other = pool.try_take(CLASSES[6]).expect("room");
        let whole = pool.try_take(CLASSES[6]).expect("room");
        let (start, length) = (whole.as_ptr() as usize, whole.capacity());
        let blocks = whole.divide(CLASSES[5]).remove(1).divide(4096);
        assert_eq!((blocks.len(), blocks[3].as_ptr() as usize), (32, start + CLASSES[5] + 3 * 4096));
        drop(blocks);
        let whole = pool.try_take(CLASSES[6]).expect("it is free again");
        assert_eq!(whole.as_ptr() as usize, start);
        let mut parts = whole.divide(60_000);
        assert_eq!(parts.iter().map(Buffer::capacity).collect::<Vec<_>>(), [65536; 4]);
        for (at, part) in parts.iter_mut().enumerate() {
            assert_eq!(part.as_ptr() as usize, start + at * 65536);
            part.fill(at as u8 + 1);
        }
        assert!(other.iter().all(|byte| *byte == 0) && length == 4 * 65536);
        let last = parts.pop().expect("four").share();
        let handle = last.another();
        drop((last, parts));
        assert!(handle.iter().all(|byte| *byte == 4));
        drop(other);
        assert_ne!(pool.chunks(), before, "a part is still there");
        drop(handle);
        assert_eq!(pool.chunks(), before);
    }

    /// Takes everything that is for all, in whole chunks.
    fn hold_all(pool: &Pool) -> Vec<Buffer> {
        let held: Vec<Buffer> = std::iter::from_fn(|| pool.try_take(CHUNK_BYTES)).collect();
        assert_eq!(pool.chunks().1, LOG_CHUNKS + STEP_CHUNKS);
        held
    }

    /// A waker that counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waiting task, and how often it was woken.
    struct Waits(Pin<Box<Take>>, Arc<Woken>);

    impl Waits {
        fn on(take: Take) -> Self {
            let mut waits = Self(Box::pin(take), Arc::default());
            assert!(waits.poll().is_none(), "nothing is free");
            waits
        }

        fn poll(&mut self) -> Option<Buffer> {
            match self.0.as_mut().poll(&mut Context::from_waker(&Waker::from(self.1.clone()))) {
                Poll::Ready(buffer) => Some(buffer),
                Poll::Pending => None,
            }
        }

        fn woken(&self) -> usize {
            self.1.0.load(Ordering::Relaxed)
        }
    }

    fn at_once(take: Take) -> Option<Buffer> {
        Waits(Box::pin(take), Arc::default()).poll()
    }

    #[test]
    fn what_is_held_back_is_used_by_those_it_is_held_back_for() {
        let pool = Pool::new(8 << 20).expect("map");
        let _held = hold_all(&pool);
        assert!(pool.try_take(4096).is_none());
        // A chunk that the log has divided is still the log's, and likewise one of the steps.
        let logs = at_once(pool.take_for_log(4096)).expect("the log's");
        assert!(pool.try_take(4096).is_none(), "a piece of the log's chunk goes to a body");
        let steps = at_once(pool.take_for_step(4096)).expect("a step's");
        assert!(steps.chunk != logs.chunk && pool.try_take(4096).is_none());
        assert!(at_once(pool.take_for_step(CHUNK_BYTES)).is_none(), "a step takes a chunk of the log");
        let whole = at_once(pool.take_for_log(CHUNK_BYTES)).expect("the log's other chunk");
        assert!(at_once(pool.take_for_log(CHUNK_BYTES)).is_none());
        drop((logs, steps, whole));
        assert_eq!(pool.chunks().1, LOG_CHUNKS + STEP_CHUNKS);
    }

    #[test]
    fn a_returned_buffer_wakes_the_one_who_can_use_it() {
        let pool = Pool::new(8 << 20).expect("map");
        let mut held = hold_all(&pool);
        drop(held.pop());
        let mut small: Vec<Buffer> =
            std::iter::from_fn(|| pool.try_take(CLASSES[6])).take(CHUNK_BYTES / CLASSES[6]).collect();
        let mut large = Waits::on(pool.take(CHUNK_BYTES));
        let mut first = Waits::on(pool.take(CLASSES[6]));
        let mut second = Waits::on(pool.take(CLASSES[6]));
        let mut tiny = Waits::on(pool.take(4096));
        let woken = |all: [&Waits; 4]| all.map(Waits::woken);
        // A quarter of a chunk returns: the first task in line and the last one can not use it.
        small.pop();
        assert_eq!(woken([&large, &first, &second, &tiny]), [0, 1, 0, 0]);
        // A task that came later does not get it first.
        assert!(pool.try_take(CLASSES[6]).is_none());
        let taken = first.poll().expect("given");
        // A whole chunk goes to the task that has waited longest.
        held.pop();
        assert_eq!(woken([&large, &first, &second, &tiny]), [1, 1, 0, 0]);
        assert!(large.poll().is_some_and(|buffer| buffer.capacity() == CHUNK_BYTES));
        // The chunk returns at once and serves the second task with a piece. The next chunk serves
        // the last task.
        assert_eq!(woken([&large, &first, &second, &tiny]), [1, 1, 1, 0]);
        held.pop();
        assert_eq!(woken([&large, &first, &second, &tiny]), [1, 1, 1, 1]);
        assert!(second.poll().is_some() && tiny.poll().is_some());
        drop((taken, small, held));
        let (all, free) = pool.chunks();
        assert_eq!(all, free);
    }

    #[test]
    fn who_gives_up_leaves_its_turn_and_what_it_was_given_to_the_next() {
        let pool = Pool::new(8 << 20).expect("map");
        let mut held = hold_all(&pool);
        let waits = [(); 3].map(|()| Waits::on(pool.take(CHUNK_BYTES)));
        let [gone, given, mut last] = waits;
        drop(gone);
        held.pop();
        assert_eq!((given.woken(), last.woken()), (1, 0));
        drop(given);
        assert_eq!(last.woken(), 1);
        assert!(last.poll().is_some());
        drop(held);
        assert_eq!(pool.0.waiting.borrow().count, 0);
        assert_eq!(pool.chunks().0, pool.chunks().1);
    }
}
