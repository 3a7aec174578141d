//! Cores that send to each other through queues of every small size, and sleep in their rings in
//! between.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use ringbolt_engine::ring::mailbox::Mailbox;
use ringbolt_engine::ring::{Pool, Ring};

/// A message: the number of the sending core, and the number of the message among those of that
/// core.
type Message = (usize, u64);

/// The state that all cores share.
struct Node {
    peers: Arc<Vec<AtomicI32>>,
    /// The number of cores that have received everything.
    done: AtomicUsize,
}

/// Sends `count` messages to each other core, a few at a time, and receives as many from each.
fn core(own: usize, mailbox: Mailbox<Message>, node: &Node, count: u64) {
    let cores = node.peers.len();
    let pool = Pool::new(0).expect("memory");
    let (drive, _) = std::io::pipe().expect("a pipe");
    let ring = Ring::new(own, node.peers.clone(), &[drive.as_raw_fd()], pool, false).expect("a ring");
    let mailbox = Rc::new(mailbox);
    let received: Rc<RefCell<Vec<u64>>> = Rc::new(RefCell::new(vec![0; cores]));
    let left = Rc::new(Cell::new((cores as u64 - 1) * count));
    let handler: Rc<dyn Fn()> = {
        let (mailbox, received, left) = (mailbox.clone(), received.clone(), left.clone());
        Rc::new(move || {
            mailbox.drain(|(from, number)| {
                let mut received = received.borrow_mut();
                assert_eq!(received[from], number, "core {own}: messages of core {from} are in order, once");
                received[from] += 1;
                left.set(left.get() - 1);
            });
        })
    };
    ring.on_message(handler.clone());
    // This receives what was sent before this ring could be notified.
    handler();
    let mut sent = 0;
    let mut is_done = false;
    loop {
        for number in sent..count.min(sent + 3) {
            (0..cores).filter(|to| *to != own).for_each(|to| _ = mailbox.send(to, (own, number), &ring));
        }
        sent = count.min(sent + 3);
        let overflowed = mailbox.retry(&ring);
        if left.get() == 0 && sent == count && !overflowed && !is_done {
            is_done = true;
            node.done.fetch_add(1, Ordering::SeqCst);
        }
        if left.get() > 0 && sent == count && !overflowed {
            // The core has nothing to do until it is woken.
            ring.submit_and_wait();
        } else {
            ring.submit();
        }
        ring.reap();
        if is_done && node.done.load(Ordering::SeqCst) == cores {
            return;
        }
        if is_done || overflowed {
            std::thread::yield_now();
        }
    }
}

fn run(cores: usize, capacity: usize, count: u64) {
    let peers = Arc::new((0..cores).map(|_| AtomicI32::new(-1)).collect());
    let node = Node { peers, done: AtomicUsize::new(0) };
    std::thread::scope(|threads| {
        let node = &node;
        let mesh = Mailbox::mesh(cores, capacity).into_iter().enumerate();
        let cores: Vec<_> =
            mesh.map(|(own, mailbox)| threads.spawn(move || core(own, mailbox, node, count))).collect();
        cores.into_iter().for_each(|core| core.join().expect("a core ends well"));
    });
}

#[test]
fn every_message_arrives_and_wakes() {
    for capacity in [1, 2, 3, 8] {
        run(2, capacity, crate::rounds());
    }
    run(3, 1, crate::rounds());
}
