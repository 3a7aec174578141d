//! Telling all cores to shut down.
//!
//! Invariant: each core is told through a socket of its own, so that it sleeps in the kernel until
//! then.

use monoio::io::AsyncReadRent;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells all cores to shut down. It may be used from any thread, any number of times.
#[derive(Clone)]
pub struct ShutdownSender(Arc<Vec<UnixStream>>);

/// The end of a core, which receives the message.
pub struct ShutdownReceiver(UnixStream);

/// Makes a sender and a receiver for each of `cores`. Fails if the system gives no sockets.
pub fn shutdown_channel(cores: usize) -> io::Result<(ShutdownSender, Vec<ShutdownReceiver>)> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..cores {
        let (sender, shutdown) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        senders.push(sender);
        receivers.push(ShutdownReceiver(shutdown));
    }
    Ok((ShutdownSender(Arc::new(senders)), receivers))
}

impl ShutdownSender {
    /// Tells all cores. A core that is gone, or was told already, changes nothing.
    pub fn send(&self) {
        for mut sender in self.0.iter() {
            // It fails if the core is gone already, or has a message waiting: both are just as
            // well.
            let _ = sender.write(&[1]);
        }
    }
}

/// A barrier that no core leaves before all have closed: the others may still need its answers.
pub struct ShutdownBarrier {
    left: AtomicUsize,
    all: ShutdownSender,
}

impl ShutdownBarrier {
    /// Makes a barrier for `cores`, and the receivers of the message that all have arrived.
    pub fn new(cores: usize) -> io::Result<(Arc<Self>, Vec<ShutdownReceiver>)> {
        let (all, receivers) = shutdown_channel(cores)?;
        Ok((Arc::new(Self { left: AtomicUsize::new(cores), all }), receivers))
    }

    /// Notes that this core has closed. The last one lets all go on.
    pub fn arrive(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.send();
        }
    }
}

impl ShutdownReceiver {
    /// Waits until the message comes, or until nobody is left to send it.
    pub async fn received(self) -> io::Result<()> {
        let mut stream = monoio::net::UnixStream::from_std(self.0)?;
        let (result, _) = stream.read(vec![0u8; 1]).await;
        result.map(|_| ())
    }
}
