//! The ring against the kernel: real rings, pipes that answer when the test wants, and calls that a
//! hook refuses.
//!
//! Invariant: no test waits for time. A pipe is read when it was written to, and a thread is known
//! to wait because the hook saw the wait begin.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use io_uring::IoUring;

use super::mailbox::Notifier;
use super::submission::Call;
use super::uring::{Operation, Target};
use super::{Pool, Ring};

const BLOCK: usize = 4096;

fn peers(cores: usize) -> Arc<Vec<AtomicI32>> {
    Arc::new((0..cores).map(|_| AtomicI32::new(-1)).collect())
}

fn ring(entries: (u32, u32), files: &[RawFd]) -> (Ring, Pool) {
    let pool = Pool::new(0).expect("memory");
    let ring = Ring::with_entries(entries, 0, peers(1), files, pool.clone(), false).expect("a ring");
    (ring, pool)
}

fn read(ring: &Ring, pool: &Pool, file: u32) -> Operation {
    let buffer = pool.try_take(BLOCK).expect("a buffer");
    ring.read(Target { file, offset: 0, skip: 0, length: BLOCK }, buffer)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns a file of one block of nines. The kernel keeps it in memory, so a read of it completes
/// when it is handed over.
fn nines() -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&[9; BLOCK]).expect("written");
    file
}

fn error(code: i32) -> Option<io::Result<usize>> {
    Some(Err(io::Error::from_raw_os_error(code)))
}

/// Lets the kernel accept only this many of the offered entries.
fn part(call: &Call<'_>, entries: u32) -> io::Result<usize> {
    // SAFETY: no argument points anywhere.
    unsafe { call.uring.submitter().enter::<libc::sigset_t>(entries, 0, 0, None) }
}

/// The buffer was once returned to the pool when its future was dropped, while the kernel still
/// wrote into it.
#[test]
fn the_buffer_of_an_abandoned_operation_is_the_kernels() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let (ring, pool) = ring((8, 8), &[reader.as_raw_fd()]);
    // The pipe is closed before the ring waits for the read, should the test fail.
    let mut writer = writer;
    let chunks = pool.chunks();
    let buffer = pool.try_take(BLOCK).expect("a buffer");
    let address = buffer.as_ptr();
    let operation = ring.read(Target { file: 0, offset: 0, skip: 0, length: BLOCK }, buffer);
    ring.submit();
    drop(operation);
    let mut other = pool.try_take(BLOCK).expect("a buffer");
    assert_ne!(other.as_ptr(), address, "the kernel has it");
    other.fill(7);
    writer.write_all(&[9; BLOCK]).expect("written");
    while ring.in_flight() > 0 {
        ring.submit_and_wait();
        ring.reap();
    }
    assert!(other.iter().all(|byte| *byte == 7));
    drop(other);
    assert_eq!(pool.chunks(), chunks, "given back when it was answered");
    let again = pool.try_take(BLOCK).expect("a buffer");
    assert_eq!(again.as_ptr(), address);
    assert!(again.iter().all(|byte| *byte == 9), "and not before");
}

#[test]
fn what_is_refused_is_kept_and_not_offered_on_the_side() {
    for code in [libc::EAGAIN, libc::EBUSY] {
        let file = nines();
        let (ring, pool) = ring((8, 8), &[file.as_raw_fd()]);
        let (calls, refusing) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(true)));
        let (counted, asked) = (calls.clone(), refusing.clone());
        ring.hook(Box::new(move |_| {
            counted.set(counted.get() + 1);
            asked.get().then(|| error(code)).flatten()
        }));
        let mut operations: Vec<_> = (0..4).map(|_| read(&ring, &pool, 0)).collect();
        assert_eq!((calls.get(), ring.is_refused()), (1, true), "handed over early, and refused");
        operations.extend((0..30).map(|_| read(&ring, &pool, 0)));
        assert_eq!(calls.get(), 1, "nothing on the side");
        ring.submit();
        assert_eq!((calls.get(), ring.reap(), ring.is_refused()), (2, 0, true), "once a turn");
        // Nothing is in flight: a thread that has no other work must not sleep for ever either.
        ring.submit_and_wait();
        assert_eq!(calls.get(), 3);
        refusing.set(false);
        while ring.in_flight() > 0 {
            ring.submit_and_wait();
            ring.reap();
        }
        assert!(!ring.is_refused());
        for operation in &mut operations {
            let Poll::Ready(done) = poll(Pin::new(operation)) else { panic!("lost") };
            assert_eq!((done.result, done.buffer.expect("a buffer")[BLOCK - 1]), (BLOCK as i32, 9));
        }
    }
}

/// The thread waits for what is in flight, since that makes room, and offers nothing meanwhile.
#[test]
fn a_refused_thread_waits_for_what_is_under_way() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let file = nines();
    let (ring, pool) = ring((8, 8), &[reader.as_raw_fd(), file.as_raw_fd()]);
    // The pipe is closed before the ring waits for the read, should the test fail.
    let writer = Rc::new(RefCell::new(writer));
    let slow = read(&ring, &pool, 0);
    ring.submit();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (calls, to) = (seen.clone(), Rc::downgrade(&writer));
    ring.hook(Box::new(move |call| {
        calls.borrow_mut().push((call.offered, call.want));
        if call.offered > 0 {
            return error(libc::EAGAIN);
        }
        // The thread is about to sleep.
        if let Some(writer) = to.upgrade() {
            writer.borrow_mut().write_all(&[9; BLOCK]).expect("written");
        }
        None
    }));
    let refused = read(&ring, &pool, 1);
    ring.submit_and_wait();
    assert_eq!(*seen.borrow(), [(1, 1), (0, 1)]);
    assert_eq!((ring.reap(), ring.is_refused(), ring.in_flight()), (1, false, 1));
    assert!(poll(pin!(slow)).is_ready());
    ring.hook(Box::new(|_| None));
    ring.submit_and_wait();
    ring.reap();
    assert!(poll(pin!(refused)).is_ready());
}

#[test]
fn what_the_kernel_takes_in_parts_is_handed_over_whole() {
    let file = nines();
    let (ring, pool) = ring((8, 64), &[file.as_raw_fd()]);
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    ring.hook(Box::new(move |call| {
        counted.set(counted.get() + 1);
        match counted.get() {
            // A signal in between changes nothing.
            3 => error(libc::EINTR),
            _ => (call.offered > 0).then(|| part(&call, 1)),
        }
    }));
    let mut operations: Vec<_> = (0..3).map(|_| read(&ring, &pool, 0)).collect();
    ring.submit();
    assert_eq!((calls.get(), ring.reap()), (4, 3), "each by itself");
    operations.extend((0..3).map(|_| read(&ring, &pool, 0)));
    ring.submit_and_wait();
    assert_eq!(ring.reap(), 3);
    assert!(operations.iter_mut().all(|operation| poll(Pin::new(operation)).is_ready()));
    // A kernel that accepts nothing and reports success is not asked in a loop.
    ring.hook(Box::new(|_| Some(Ok(0))));
    let last = read(&ring, &pool, 0);
    ring.submit();
    assert!(ring.is_refused());
    ring.hook(Box::new(|_| None));
    ring.submit_and_wait();
    ring.reap();
    assert!(poll(pin!(last)).is_ready());
}

/// Sixty completions waited in the kernel, the descriptor was readable, and nobody asked for them.
#[test]
fn completions_that_found_the_queue_full_are_asked_for() {
    let file = nines();
    let (ring, pool) = ring((4, 4), &[file.as_raw_fd()]);
    let mut operations: Vec<_> = (0..64).map(|_| read(&ring, &pool, 0)).collect();
    ring.submit();
    while ring.in_flight() > 0 {
        let mut poll = libc::pollfd { fd: ring.raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which outlives the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, -1) }, 1);
        assert!(ring.reap() > 0, "readable, and nothing comes");
    }
    assert!(operations.iter_mut().all(|operation| poll_result(operation) == BLOCK as i32));
}

fn poll_result(operation: &mut Operation) -> i32 {
    match poll(Pin::new(operation)) {
        Poll::Ready(done) => done.result,
        Poll::Pending => panic!("lost"),
    }
}

/// A message that could not be posted was forgotten, and the other core stayed asleep.
#[test]
fn a_message_that_fails_is_sent_again() {
    let (file, peers, pool) = (nines(), peers(2), Pool::new(0).expect("memory"));
    let files = [file.as_raw_fd()];
    let ring = Ring::with_entries((8, 8), 0, peers.clone(), &files, pool, false).expect("a ring");
    // This ring refuses messages with EBADFD until it is enabled.
    let mut target: IoUring = IoUring::builder().setup_r_disabled().build(8).expect("a ring");
    peers[1].store(target.as_raw_fd(), Ordering::SeqCst);
    ring.notify(1);
    let has_work = || poll(pin!(ring.pending())).is_ready();
    for _ in 0..3 {
        ring.submit();
        assert_eq!(ring.reap(), 1, "it fails at once");
        assert!(has_work() && ring.is_pausing(), "a pause is begun");
        ring.submit();
        assert!(!has_work(), "nothing before its end");
        ring.submit_and_wait();
        assert_eq!(ring.reap(), 1, "the pause ends");
        assert!(has_work() && !ring.is_pausing(), "it is sent again");
    }
    target.submitter().register_enable_rings().expect("enabled");
    ring.submit();
    let arrived: Vec<u64> = target.completion().map(|entry| entry.user_data()).collect();
    assert_eq!(arrived, [u64::MAX]);
    assert!(ring.reap() == 0 && !has_work(), "that was all");
    // No more messages are sent to a core that has ended.
    let gone: IoUring = IoUring::builder().setup_r_disabled().build(8).expect("a ring");
    peers[1].store(gone.as_raw_fd(), Ordering::SeqCst);
    ring.notify(1);
    ring.submit();
    assert_eq!(ring.reap(), 1);
    ring.submit();
    peers[1].store(-1, Ordering::SeqCst);
    ring.submit_and_wait();
    assert_eq!(ring.reap(), 1);
    assert!(!has_work());
}

extern "C" fn nothing(_: libc::c_int) {}

/// Installs a handler so that a signal interrupts system calls that wait, and does nothing else.
fn let_signals_interrupt() {
    // SAFETY: an all-zero action is a valid one, and the handler touches nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// Runs the thread of [`a_ring_that_is_dropped_waits_for_the_kernel`]. Returns what the buffers of
/// the two reads hold when the ring has been dropped.
fn drop_a_busy_ring(
    readers: [PipeReader; 2],
    waits: Arc<[AtomicUsize; 3]>,
    thread: &mpsc::Sender<u64>,
) -> [u8; 2] {
    let (peers, pool) = (peers(2), Pool::new(0).expect("memory"));
    let files = [readers[0].as_raw_fd(), readers[1].as_raw_fd()];
    let ring = Ring::with_entries((8, 8), 0, peers.clone(), &files, pool.clone(), false).expect("a ring");
    let mut peer: IoUring = IoUring::new(8).expect("a ring");
    peers[1].store(peer.as_raw_fd(), Ordering::SeqCst);
    let chunks = pool.chunks();
    let abandoned: Vec<_> = (0..2).map(|file| read(&ring, &pool, file)).collect();
    ring.submit();
    drop(abandoned);
    // Not handed over are two operations that the kernel never sees, and a message that must not be
    // lost.
    drop((read(&ring, &pool, 0), read(&ring, &pool, 1)));
    ring.notify(1);
    // SAFETY: asks who the thread is.
    thread.send(unsafe { libc::pthread_self() }).expect("somebody listens");
    ring.hook(Box::new(move |call| {
        waits[call.in_kernel].fetch_add(call.want, Ordering::SeqCst);
        None
    }));
    drop(ring);
    assert_eq!(pool.chunks(), chunks, "every buffer came back");
    assert_eq!(peers[0].load(Ordering::SeqCst), -1, "nobody calls the ring any more");
    assert_eq!(peer.completion().map(|entry| entry.user_data()).collect::<Vec<_>>(), [u64::MAX]);
    [(); 2].map(|()| pool.try_take(BLOCK).expect("a buffer")).map(|buffer| buffer[BLOCK - 1])
}

/// A signal once ended the wait, and so did a message in the queue: the buffers were free, and the
/// kernel wrote into them.
#[test]
fn a_ring_that_is_dropped_waits_for_the_kernel() {
    let_signals_interrupt();
    let pipes = [(); 2].map(|()| io::pipe().expect("a pipe"));
    let [(reader, mut writer), (other_reader, mut other_writer)]: [(PipeReader, PipeWriter); 2] = pipes;
    let (waits, (told, hears)) = (Arc::new([const { AtomicUsize::new(0) }; 3]), mpsc::channel());
    let bytes = std::thread::scope(|threads| {
        let counted = waits.clone();
        let dropping = threads.spawn(move || drop_a_busy_ring([reader, other_reader], counted, &told));
        let thread = hears.recv().expect("it says who it is");
        let begun = |operations: usize| waits[operations].load(Ordering::SeqCst);
        // It waits a second time only because a signal has ended the first wait: neither pipe has
        // any data.
        while begun(2) < 2 && !dropping.is_finished() {
            // SAFETY: the thread is not joined yet, and the signal has a handler.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
            std::thread::yield_now();
        }
        assert!(!dropping.is_finished(), "it did not wait for the kernel");
        writer.write_all(&[5; BLOCK]).expect("written");
        while begun(1) == 0 && !dropping.is_finished() {
            std::thread::yield_now();
        }
        assert!(!dropping.is_finished(), "it waited for one of two");
        other_writer.write_all(&[6; BLOCK]).expect("written");
        dropping.join().expect("the ring is dropped")
    });
    assert_eq!(bytes, [5, 6]);
}
