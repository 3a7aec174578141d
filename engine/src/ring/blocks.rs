//! A queue of block I/O for one thread: slots with a buffer each, and no allocation for an
//! operation.
//!
//! The load generator of the benchmark uses it. The engine's own [`Ring`](super::Ring) hands
//! futures to tasks instead.
//!
//! Invariants:
//! - Slot `i` owns the bytes `i * stride..` of one mapping. While its operation is in flight they
//!   belong to the kernel: [`Blocks::buffer`] refuses them, so nothing in this process reads or
//!   writes them then.
//! - The mapping and the files live until the kernel has finished every operation. If this can not
//!   be established when the queue is dropped, the mapping stays.
//! - Each slot has at most one operation, so neither queue of the ring can overflow.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};

use super::arena::{map, map_huge};
use super::uring::{RingError, setup_error};

/// The kernel's limit for the entries of a ring.
pub const DEPTH_MAX: u32 = 32_768;
/// Bytes of the largest buffer of a slot: a registered buffer may be at most 1 GiB.
pub const BUFFER_BYTES_MAX: usize = 1 << 30;
const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;
/// The command `BLOCK_URING_CMD_DISCARD` of Linux 6.12: `_IO(0x12, 0)`.
const DISCARD_COMMAND: u32 = 0x1200;

/// What the buffers of a queue are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMemory {
    /// They are in huge pages, where the system has some: a large buffer is then one piece of
    /// memory for the drive.
    pub huge_pages: bool,
    /// They stay pinned between operations, where the system lets this process lock so much.
    pub registered: bool,
}

impl BlockMemory {
    /// The memory that costs an operation least.
    pub const BEST: Self = Self { huge_pages: true, registered: true };
    /// Memory as any program has it.
    pub const ORDINARY: Self = Self { huge_pages: false, registered: false };
}

/// The kind of an operation on a slot's buffer and a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockVerb {
    Read,
    Write,
    /// A write with RWF_DSYNC.
    WriteDurable,
    /// A write with RWF_SYNC, which makes the file's times durable too.
    WriteSynced,
    /// An fsync.
    Flush,
    /// An fdatasync.
    FlushData,
    /// A discard on a block device. The buffer is not used.
    Discard,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct BlockOperation {
    pub verb: BlockVerb,
    /// Index of the file, as given to [`Blocks::new`].
    pub file: u32,
    /// Byte offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// A completed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDone {
    pub slot: u32,
    /// Bytes transferred, or -errno.
    pub result: i32,
}

/// The operation of a slot that the kernel has.
#[derive(Clone, Copy)]
struct Flight {
    operation: BlockOperation,
    /// The operation is a discard and was requested as a hole in a file.
    by_hole: bool,
}

/// A queue of block I/O.
pub struct Blocks {
    uring: IoUring,
    memory: Memory,
    slots: Vec<Option<Flight>>,
    in_flight: usize,
    registered: bool,
    /// The kernel has no command for discards, so they are requested as holes.
    discard_by_hole: bool,
    files: Vec<File>,
}

impl Blocks {
    /// Creates a queue of `depth` slots with `buffer_bytes` each, over `files`.
    ///
    /// # Errors
    /// Returns a [`RingError`] that says what to change when the ring or the memory is not
    /// available.
    pub fn new(
        depth: u32,
        buffer_bytes: usize,
        files: Vec<File>,
        kind: BlockMemory,
    ) -> Result<Self, RingError> {
        assert!((1..=DEPTH_MAX).contains(&depth), "a depth of {depth}, allowed are 1 to {DEPTH_MAX}");
        assert!(buffer_bytes <= BUFFER_BYTES_MAX, "{buffer_bytes} bytes, at most {BUFFER_BYTES_MAX}");
        let uring = build_ring(depth)?;
        let descriptors: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        uring
            .submitter()
            .register_files(&descriptors)
            .map_err(|error| RingError::Other { step: "register the files", error })?;
        let memory = Memory::new(depth as usize, buffer_bytes, kind).map_err(RingError::Arena)?;
        // If too little memory may be locked, or there are more buffers than the kernel accepts,
        // the pages are pinned for each operation.
        let registered = kind.registered && memory.register(&uring).is_ok();
        let slots = vec![None; depth as usize];
        Ok(Self { uring, memory, slots, in_flight: 0, registered, discard_by_hole: false, files })
    }

    /// Returns whether the buffers stay pinned in the kernel between operations.
    pub fn has_registered_buffers(&self) -> bool {
        self.registered
    }

    /// Returns the number of operations that were submitted and not reaped.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the files, in the order given to [`Self::new`].
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns the buffer of a free slot.
    ///
    /// # Panics
    /// Panics when an operation of the slot is in flight.
    pub fn buffer(&mut self, slot: u32) -> &mut [u8] {
        assert!(self.slots[slot as usize].is_none(), "slot {slot} is in flight: its buffer is the kernel's");
        self.memory.slot(slot as usize)
    }

    /// Queues an operation. The kernel sees it at the next [`Blocks::hand_over`] or
    /// [`Blocks::reap`].
    ///
    /// # Panics
    /// Panics when the slot is in flight, the file is unknown, or the length exceeds the buffer.
    pub fn submit(&mut self, slot: u32, operation: BlockOperation) {
        assert!(self.slots[slot as usize].is_none(), "slot {slot} is in flight already");
        assert!((operation.file as usize) < self.files.len(), "there is no file {}", operation.file);
        self.push(slot, &operation);
        self.slots[slot as usize] = Some(Flight { operation, by_hole: self.discard_by_hole });
        self.in_flight += 1;
    }

    /// Hands what is queued to the kernel, without waiting. What the kernel does not accept now is
    /// handed over by the next call.
    ///
    /// # Errors
    /// Returns an error when the ring itself is broken.
    pub fn hand_over(&mut self) -> io::Result<()> {
        self.uring.submit().map(|_| ()).or_else(go_on)
    }

    /// Hands what is queued to the kernel and waits until `at_least` operations are complete, or
    /// for `timeout`. Completed operations are added to `done`. They are fewer when the timeout has
    /// passed or a signal arrived.
    ///
    /// # Errors
    /// Returns an error when the ring itself is broken.
    pub fn reap(
        &mut self,
        at_least: usize,
        timeout: Option<Duration>,
        done: &mut Vec<BlockDone>,
    ) -> io::Result<()> {
        let result = match timeout {
            None => self.uring.submit_and_wait(at_least),
            Some(timeout) => {
                let time = types::Timespec::from(timeout);
                let arguments = types::SubmitArgs::new().timespec(&time);
                self.uring.submitter().submit_with_args(at_least, &arguments)
            }
        };
        result.map(|_| ()).or_else(go_on)?;
        self.collect(done);
        Ok(())
    }

    fn collect(&mut self, done: &mut Vec<BlockDone>) {
        // Nothing is allocated unless the kernel does not know the command for discards.
        let mut again = Vec::new();
        for entry in self.uring.completion() {
            let (slot, result) = (entry.user_data() as u32, entry.result());
            let flight = self.slots[slot as usize].take();
            let Flight { operation, by_hole } =
                flight.unwrap_or_else(|| panic!("slot {slot} is done and was not in flight"));
            self.in_flight -= 1;
            if operation.verb == BlockVerb::Discard && !by_hole && is_unknown_command(result) {
                again.push((slot, operation));
            } else {
                done.push(BlockDone { slot, result });
            }
        }
        self.discard_by_hole |= !again.is_empty();
        for (slot, operation) in again {
            self.submit(slot, operation);
        }
    }

    fn push(&mut self, slot: u32, operation: &BlockOperation) {
        let entry = self.entry(slot, operation).user_data(u64::from(slot));
        // SAFETY: buffer, files and ring live until the operation was reaped (the second invariant
        // above), and the length was checked against the buffer.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.unwrap_or_else(|_| panic!("the ring has fewer entries than the queue has slots"));
    }

    fn entry(&mut self, slot: u32, operation: &BlockOperation) -> squeue::Entry {
        let file = types::Fixed(operation.file);
        match operation.verb {
            BlockVerb::Read => self.read(slot, operation),
            BlockVerb::Write => self.write(slot, operation, 0),
            BlockVerb::WriteDurable => self.write(slot, operation, libc::RWF_DSYNC),
            BlockVerb::WriteSynced => self.write(slot, operation, libc::RWF_SYNC),
            BlockVerb::Flush => opcode::Fsync::new(file).build(),
            BlockVerb::FlushData => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            BlockVerb::Discard if self.discard_by_hole => opcode::Fallocate::new(file, operation.length)
                .offset(operation.offset)
                .mode(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE)
                .build(),
            BlockVerb::Discard => {
                let mut command = [0; 16];
                command[..8].copy_from_slice(&operation.length.to_ne_bytes());
                opcode::UringCmd16::new(file, DISCARD_COMMAND)
                    .cmd(command)
                    .addr(Some(operation.offset))
                    .build()
            }
        }
    }

    fn read(&mut self, slot: u32, operation: &BlockOperation) -> squeue::Entry {
        let (file, length) = (types::Fixed(operation.file), operation.length as usize);
        let address = self.memory.slot(slot as usize)[..length].as_mut_ptr();
        match self.registered {
            true => opcode::ReadFixed::new(file, address, length as u32, self.memory.piece_of(slot as usize))
                .offset(operation.offset)
                .build(),
            false => opcode::Read::new(file, address, length as u32).offset(operation.offset).build(),
        }
    }

    fn write(&mut self, slot: u32, operation: &BlockOperation, flags: i32) -> squeue::Entry {
        let (file, length) = (types::Fixed(operation.file), operation.length as usize);
        let address = self.memory.slot(slot as usize)[..length].as_ptr();
        match self.registered {
            true => {
                opcode::WriteFixed::new(file, address, length as u32, self.memory.piece_of(slot as usize))
                    .offset(operation.offset)
                    .rw_flags(flags)
                    .build()
            }
            false => opcode::Write::new(file, address, length as u32)
                .offset(operation.offset)
                .rw_flags(flags)
                .build(),
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut done = Vec::new();
        while self.in_flight > 0 {
            if self.reap(1, None, &mut done).is_err() {
                // The kernel may still write into the buffers.
                self.memory.abandoned = true;
                return;
            }
        }
    }
}

/// Ignores errors that leave the ring intact, after which the next call tries again: a signal, a
/// temporary shortage, and the end of a wait.
fn go_on(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME) => Ok(()),
        _ => Err(error),
    }
}

fn is_unknown_command(result: i32) -> bool {
    matches!(-result, libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY)
}

/// Creates a ring with the cheapest way of completion that the kernel has. The cheapest one is that
/// this thread processes completions when it waits, without being interrupted.
fn build_ring(depth: u32) -> Result<IoUring, RingError> {
    let deferred = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(depth);
    let cooperative = |_| IoUring::builder().setup_coop_taskrun().build(depth);
    deferred.or_else(cooperative).or_else(|_| IoUring::new(depth)).map_err(setup_error)
}

/// The mapping that holds the buffers of the slots.
struct Memory {
    base: NonNull<u8>,
    mapped_bytes: usize,
    buffer_bytes: usize,
    stride: usize,
    slots: usize,
    abandoned: bool,
}

impl Memory {
    fn new(slots: usize, buffer_bytes: usize, kind: BlockMemory) -> io::Result<Self> {
        let stride = buffer_bytes.next_multiple_of(PAGE).max(PAGE);
        let mapped_bytes = slots
            .checked_mul(stride)
            .filter(|bytes| *bytes < isize::MAX as usize / 2)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?
            .next_multiple_of(HUGE_PAGE);
        let base = if kind.huge_pages { map_huge(mapped_bytes) } else { map(mapped_bytes) }?;
        Ok(Self { base, mapped_bytes, buffer_bytes, stride, slots, abandoned: false })
    }

    fn slot(&mut self, slot: usize) -> &mut [u8] {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        // SAFETY: the range is within the mapping, which is zeroed and lives as long as `self`.
        // Slots do not overlap, and the caller has made sure that the kernel does not use this one.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().add(slot * self.stride), self.buffer_bytes)
        }
    }

    /// Returns the number of whole slots in one registered buffer.
    fn slots_per_piece(&self) -> usize {
        BUFFER_BYTES_MAX / self.stride
    }

    fn piece_of(&self, slot: usize) -> u16 {
        (slot / self.slots_per_piece()) as u16
    }

    fn register(&self, uring: &IoUring) -> io::Result<()> {
        let piece_bytes = self.slots_per_piece() * self.stride;
        let length = self.slots * self.stride;
        let pieces: Vec<libc::iovec> = (0..length)
            .step_by(piece_bytes)
            .map(|at| libc::iovec {
                iov_base: self.base.as_ptr().wrapping_add(at).cast(),
                iov_len: piece_bytes.min(length - at),
            })
            .collect();
        // SAFETY: the pieces are in the mapping, which outlives the ring's use of it (the second
        // invariant above).
        unsafe { uring.submitter().register_buffers(&pieces) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.abandoned {
            // SAFETY: the mapping was made by `new` with this length, and no operation uses it any
            // more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file_with(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn operation(verb: BlockVerb, offset: u64, length: u64) -> BlockOperation {
        BlockOperation { verb, file: 0, offset, length }
    }

    fn reap_one(blocks: &mut Blocks) -> BlockDone {
        let mut done = Vec::new();
        while done.is_empty() {
            blocks.reap(1, None, &mut done).unwrap();
        }
        assert_eq!(done.len(), 1);
        done[0]
    }

    #[test]
    fn what_was_written_is_read_back_into_another_slot() {
        let mut blocks = Blocks::new(3, 8192, vec![file_with(&[0; 16384])], BlockMemory::BEST).unwrap();
        blocks.buffer(1).fill(0x5a);
        blocks.submit(1, operation(BlockVerb::WriteDurable, 4096, 8192));
        assert_eq!(reap_one(&mut blocks), BlockDone { slot: 1, result: 8192 });
        blocks.submit(2, operation(BlockVerb::FlushData, 0, 0));
        assert_eq!(reap_one(&mut blocks), BlockDone { slot: 2, result: 0 });
        blocks.submit(0, operation(BlockVerb::Read, 0, 8192));
        assert_eq!(reap_one(&mut blocks), BlockDone { slot: 0, result: 8192 });
        assert!(blocks.buffer(0)[..4096].iter().all(|byte| *byte == 0));
        assert!(blocks.buffer(0)[4096..].iter().all(|byte| *byte == 0x5a));
        assert_eq!(blocks.in_flight(), 0);
    }

    #[test]
    fn ordinary_buffers_do_the_same() {
        let files = vec![file_with(&[7; 4096])];
        let mut blocks = Blocks::new(1, 4096, files, BlockMemory::ORDINARY).unwrap();
        assert!(!blocks.has_registered_buffers());
        blocks.submit(0, operation(BlockVerb::Read, 0, 4096));
        assert_eq!(reap_one(&mut blocks).result, 4096);
        assert!(blocks.buffer(0).iter().all(|byte| *byte == 7));
    }

    #[test]
    fn discards_fall_back_to_holes_where_there_is_no_command() {
        // A plain file does not know this command, like a block device of an older kernel.
        let mut blocks = Blocks::new(4, 4096, vec![file_with(&[7; 32_768])], BlockMemory::BEST).unwrap();
        (0..3).for_each(|slot| {
            blocks.submit(slot, operation(BlockVerb::Discard, 4096 * u64::from(slot), 4096));
        });
        let mut done = Vec::new();
        while done.len() < 3 {
            blocks.reap(1, None, &mut done).unwrap();
        }
        assert!(done.iter().all(|end| end.result == 0), "{done:?}");
        for (slot, expected) in [(2, 0), (3, 7)] {
            blocks.submit(slot, operation(BlockVerb::Read, 4096 * u64::from(slot), 4096));
            assert_eq!(reap_one(&mut blocks).result, 4096);
            assert!(blocks.buffer(slot).iter().all(|byte| *byte == expected), "block {slot}");
        }
    }

    #[test]
    #[should_panic(expected = "its buffer is the kernel's")]
    fn the_buffer_of_an_operation_in_flight_is_out_of_reach() {
        let mut blocks = Blocks::new(1, 4096, vec![file_with(&[7; 4096])], BlockMemory::BEST).unwrap();
        blocks.submit(0, operation(BlockVerb::Read, 0, 4096));
        blocks.buffer(0);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_length_beyond_the_buffer_is_a_bug() {
        let mut blocks = Blocks::new(1, 4096, vec![file_with(&[7; 4096])], BlockMemory::BEST).unwrap();
        blocks.submit(0, operation(BlockVerb::Read, 0, 8192));
    }

    #[test]
    fn a_wait_ends_in_time_with_nothing_in_flight() {
        let mut blocks = Blocks::new(1, 4096, vec![file_with(&[7; 4096])], BlockMemory::BEST).unwrap();
        let mut done = Vec::new();
        blocks.reap(1, Some(Duration::from_millis(5)), &mut done).unwrap();
        assert!(done.is_empty());
    }

    #[test]
    fn what_is_handed_over_reaches_the_kernel_before_anyone_waits() {
        let mut blocks = Blocks::new(2, 4096, vec![file_with(&[7; 8192])], BlockMemory::BEST).unwrap();
        blocks.submit(0, operation(BlockVerb::Read, 0, 4096));
        assert_eq!(blocks.uring.submission().len(), 1);
        blocks.hand_over().unwrap();
        assert!(blocks.uring.submission().is_empty());
        assert_eq!(blocks.in_flight(), 1);
        blocks.submit(1, operation(BlockVerb::Read, 4096, 4096));
        let mut done = Vec::new();
        while done.len() < 2 {
            blocks.reap(1, None, &mut done).unwrap();
        }
        assert!(done.iter().all(|end| end.result == 4096), "{done:?}");
    }

    #[test]
    fn dropping_the_queue_waits_for_what_is_in_flight() {
        let file = file_with(&[0; 4096]);
        let reader = file.try_clone().unwrap();
        let mut blocks = Blocks::new(1, 4096, vec![file], BlockMemory::BEST).unwrap();
        blocks.buffer(0).fill(9);
        blocks.submit(0, operation(BlockVerb::Write, 0, 4096));
        drop(blocks);
        let mut bytes = [0; 4096];
        reader.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 9));
    }
}
