//! SIGTERM and SIGINT: the first stops gracefully, the second at once.
//!
//! Invariant: cores are told through a socket each, so they sleep in the kernel until then.

use monoio::io::AsyncReadRent;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells all cores to stop. May be used from any thread, any number of times.
#[derive(Clone)]
pub struct StopAll(Arc<Vec<UnixStream>>);

/// One core's end.
pub struct StopEar(UnixStream);

/// One ear for each of `cores`.
pub fn stop_channel(cores: usize) -> io::Result<(StopAll, Vec<StopEar>)> {
    let (mut mouths, mut ears) = (Vec::new(), Vec::new());
    for _ in 0..cores {
        let (mouth, ear) = UnixStream::pair()?;
        mouth.set_nonblocking(true)?;
        mouths.push(mouth);
        ears.push(StopEar(ear));
    }
    Ok((StopAll(Arc::new(mouths)), ears))
}

impl StopAll {
    pub fn say(&self) {
        for mut mouth in self.0.iter() {
            // Fails when the core is gone already, or has a message waiting: both are as good.
            let _ = mouth.write(&[1]);
        }
    }
}

/// Lets no core leave before all have closed: the others may still need its answers.
pub struct Farewell {
    left: AtomicUsize,
    all: StopAll,
}

impl Farewell {
    /// The ears are said "all have closed".
    pub fn new(cores: usize) -> io::Result<(Arc<Self>, Vec<StopEar>)> {
        let (all, ears) = stop_channel(cores)?;
        Ok((Arc::new(Self { left: AtomicUsize::new(cores), all }), ears))
    }

    /// This core has closed.
    pub fn closed(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.say();
        }
    }
}

impl StopEar {
    /// Resolves when stop was said, or when nobody is left to say it.
    pub async fn heard(self) -> io::Result<()> {
        let mut stream = monoio::net::UnixStream::from_std(self.0)?;
        let (result, _) = stream.read(vec![0u8; 1]).await;
        result.map(|_| ())
    }
}

/// Handles signals on a thread of their own, for the rest of the process's life.
pub fn stop_on_signals(stop: StopAll) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = true;
        for signal in signals.forever() {
            if !first {
                tracing::warn!(signal, "second signal: leaving at once; what was acknowledged is durable");
                std::process::exit(128 + signal);
            }
            tracing::info!(signal, "stopping: finishing what runs; a second signal leaves at once");
            first = false;
            stop.say();
        }
    })?;
    Ok(())
}
