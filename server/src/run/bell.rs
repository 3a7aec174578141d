//! Waking all cores for something that happened outside of them: a signal, or the end of the others.
//!
//! Invariant: each core is told through a socket of its own, so that it sleeps in the kernel until
//! then.

use monoio::io::AsyncReadRent;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Rings the bells of all cores. It may be used from any thread, any number of times.
#[derive(Clone)]
pub struct Bells(Arc<Vec<UnixStream>>);

/// The bell of one core.
pub struct Bell(UnixStream);

/// A bell that a core listens to.
pub struct Listening(monoio::net::UnixStream);

/// Makes a bell for each of `cores`. Fails if the system gives no sockets.
pub fn bells(cores: usize) -> io::Result<(Bells, Vec<Bell>)> {
    let (mut ropes, mut bells) = (Vec::new(), Vec::new());
    for _ in 0..cores {
        let (rope, bell) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        ropes.push(rope);
        bells.push(Bell(bell));
    }
    Ok((Bells(Arc::new(ropes)), bells))
}

impl Bells {
    /// Rings all. A core that is gone, or has not heard yet what rang before, changes nothing.
    pub fn ring(&self) {
        for mut rope in self.0.iter() {
            // It fails if the core is gone already, or has a message waiting: both are just as
            // well.
            let _ = rope.write(&[1]);
        }
    }
}

impl Bell {
    /// Begins to listen, on the thread of the core.
    ///
    /// # Errors
    /// Fails when the runtime of the core refuses the socket.
    pub fn listen(self) -> io::Result<Listening> {
        monoio::net::UnixStream::from_std(self.0).map(Listening)
    }

    /// Waits until the bell rings, or until nobody is left to ring it.
    ///
    /// # Errors
    /// Fails when the socket does.
    pub async fn rung(self) -> io::Result<()> {
        self.listen()?.rung().await.map(|_| ())
    }
}

impl Listening {
    /// Waits until the bell rings. What rang several times before counts once, or more often. Returns false
    /// when nobody is left to ring it.
    ///
    /// # Errors
    /// Fails when the socket does.
    pub async fn rung(&mut self) -> io::Result<bool> {
        let (result, _) = self.0.read(vec![0u8; 64]).await;
        result.map(|count| count > 0)
    }
}
