//! One region of huge-page memory per core, cut into aligned I/O buffers.
//!
//! Invariants:
//! - The region is mapped once, zeroed, and outlives every buffer cut from it (each holds the pool).
//! - It is cut into 1 MiB chunks. A chunk is whole, or divided into equal buffers of one size class; it
//!   becomes whole again when its last buffer returns. So no buffer crosses a chunk, and memory never grows.
//! - The last `RESERVED_CHUNKS` whole chunks are kept for the log, so that commits go on when bodies hold the rest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Largest buffer, and the unit in which the arena is cut.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Alignment of every buffer: that of O_DIRECT on every device we know.
pub const ALIGNMENT: usize = 4096;
const CLASSES: [usize; 8] = [4096, 8192, 16384, 32768, 65536, 131_072, 262_144, CHUNK_BYTES];
const HUGE_PAGE: usize = 2 << 20;
const RESERVED_CHUNKS: usize = 2;

/// A core's pool of buffers. Clones share the arena.
#[derive(Clone)]
pub struct Pool(Rc<Inner>);

struct Inner {
    base: NonNull<u8>,
    mapped_bytes: usize,
    chunks: usize,
    free: RefCell<Free>,
    waiters: RefCell<VecDeque<Waker>>,
    free_chunks: Cell<usize>,
}

struct Free {
    whole: Vec<u32>,
    /// For each class, chunks that have at least one free buffer of it.
    partial: Vec<Vec<u32>>,
    /// For each chunk, its class (usize::MAX: whole) and its free buffers.
    slots: Vec<ChunkSlots>,
}

#[derive(Default, Clone)]
struct ChunkSlots {
    free: Vec<u16>,
    used: u16,
}

/// Maps zeroed memory, in huge pages where there are some. `bytes` is a multiple of 2 MiB; whoever asks unmaps it.
pub(super) fn map_huge(bytes: usize) -> std::io::Result<NonNull<u8>> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no other memory.
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
    // SAFETY: the range lies within the mapping made above; the advice does not change its contents.
    unsafe { libc::madvise(raw, bytes, libc::MADV_HUGEPAGE) };
    NonNull::new(raw.cast::<u8>()).ok_or_else(std::io::Error::last_os_error)
}

impl Pool {
    /// Maps `bytes` (rounded up to 2 MiB, at least 8 MiB).
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn new(bytes: usize) -> std::io::Result<Self> {
        let mapped_bytes = bytes.max(4 * HUGE_PAGE).next_multiple_of(HUGE_PAGE) + HUGE_PAGE;
        let base = map_huge(mapped_bytes)?;
        let chunks = (mapped_bytes - HUGE_PAGE) / CHUNK_BYTES;
        let free = Free {
            whole: (0..chunks as u32).rev().collect(),
            partial: vec![Vec::new(); CLASSES.len()],
            slots: vec![ChunkSlots::default(); chunks],
        };
        Ok(Self(Rc::new(Inner {
            base,
            mapped_bytes,
            chunks,
            free: RefCell::new(free),
            waiters: RefCell::new(VecDeque::new()),
            free_chunks: Cell::new(chunks),
        })))
    }

    /// Start and length of the usable region, for registration with a ring.
    pub fn region(&self) -> (*mut u8, usize) {
        (self.0.start(), self.0.chunks * CHUNK_BYTES)
    }

    /// Byte offset of `buffer` within the region.
    pub fn offset_of(&self, buffer: &Buffer) -> usize {
        buffer.chunk as usize * CHUNK_BYTES + buffer.slot as usize * CLASSES[buffer.class as usize]
    }

    /// Chunks in all, and those that are wholly free.
    pub fn chunks(&self) -> (usize, usize) {
        (self.0.chunks, self.0.free_chunks.get())
    }

    /// A buffer of at least `length` bytes if one is free now outside the log's reserve.
    pub fn try_take(&self, length: usize) -> Option<Buffer> {
        self.take_from(length, RESERVED_CHUNKS)
    }

    /// As [`Pool::try_take`], also from the reserve. For the log and for recovery.
    pub fn try_take_reserved(&self, length: usize) -> Option<Buffer> {
        self.take_from(length, 0)
    }

    /// Waits for a buffer of at least `length` bytes.
    pub async fn take(&self, length: usize) -> Buffer {
        poll_fn(|context| match self.try_take(length) {
            Some(buffer) => Poll::Ready(buffer),
            None => self.wait(context.waker()),
        })
        .await
    }

    /// Waits for a buffer, drawing on the log's reserve.
    pub async fn take_reserved(&self, length: usize) -> Buffer {
        poll_fn(|context| match self.try_take_reserved(length) {
            Some(buffer) => Poll::Ready(buffer),
            None => self.wait(context.waker()),
        })
        .await
    }

    fn wait<T>(&self, waker: &Waker) -> Poll<T> {
        self.0.waiters.borrow_mut().push_back(waker.clone());
        Poll::Pending
    }

    fn take_from(&self, length: usize, keep_chunks: usize) -> Option<Buffer> {
        let class = CLASSES.iter().position(|&size| size >= length);
        let class = class
            .unwrap_or_else(|| panic!("a buffer of {length} bytes was asked; the most is {CHUNK_BYTES}"));
        let mut free = self.0.free.borrow_mut();
        if let Some(&chunk) = free.partial[class].last() {
            let slots = &mut free.slots[chunk as usize];
            let slot = slots.free.pop()?;
            slots.used += 1;
            if slots.free.is_empty() {
                free.partial[class].pop();
            }
            return Some(self.buffer(chunk, slot, class));
        }
        if free.whole.len() <= keep_chunks {
            return None;
        }
        let chunk = free.whole.pop()?;
        self.0.free_chunks.set(free.whole.len());
        let count = (CHUNK_BYTES / CLASSES[class]) as u16;
        free.slots[chunk as usize] = ChunkSlots { free: (1..count).rev().collect(), used: 1 };
        if count > 1 {
            free.partial[class].push(chunk);
        }
        Some(self.buffer(chunk, 0, class))
    }

    fn buffer(&self, chunk: u32, slot: u16, class: usize) -> Buffer {
        Buffer { pool: self.clone(), chunk, slot, class: class as u8 }
    }

    fn give_back(&self, chunk: u32, slot: u16, class: usize) {
        let mut guard = self.0.free.borrow_mut();
        let free = &mut *guard;
        let slots = &mut free.slots[chunk as usize];
        slots.used -= 1;
        if slots.used == 0 {
            let had_free = !slots.free.is_empty();
            slots.free = Vec::new();
            if had_free {
                free.partial[class].retain(|&other| other != chunk);
            }
            free.whole.push(chunk);
            self.0.free_chunks.set(free.whole.len());
        } else {
            slots.free.push(slot);
            if slots.free.len() == 1 {
                free.partial[class].push(chunk);
            }
        }
        drop(guard);
        // Every waiter tries again: they wait for different sizes, and there are few of them.
        let waiters = std::mem::take(&mut *self.0.waiters.borrow_mut());
        waiters.into_iter().for_each(Waker::wake);
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
        // SAFETY: base and length are those of the mapping made in `new`; no buffer is left, each holds an Rc to us.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// An aligned piece of the arena, owned; it returns to its pool when dropped.
pub struct Buffer {
    pool: Pool,
    chunk: u32,
    slot: u16,
    class: u8,
}

impl Buffer {
    /// Usable bytes: its size class.
    pub fn capacity(&self) -> usize {
        CLASSES[self.class as usize]
    }

    /// The pool it returns to.
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
        // SAFETY: the range lies in the mapping (chunk and slot are in bounds by construction), was zeroed by
        // the kernel, and belongs to this buffer alone until it is dropped.
        unsafe { std::slice::from_raw_parts(self.address(), self.capacity()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.capacity()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(self.chunk, self.slot, self.class as usize);
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
    fn the_reserve_is_for_the_log() {
        let pool = Pool::new(8 << 20).expect("map");
        let mut taken = Vec::new();
        while let Some(buffer) = pool.try_take(CHUNK_BYTES) {
            taken.push(buffer);
        }
        assert_eq!(pool.chunks().1, RESERVED_CHUNKS);
        assert!(pool.try_take(4096).is_none());
        assert!(pool.try_take_reserved(CHUNK_BYTES).is_some());
    }
}
