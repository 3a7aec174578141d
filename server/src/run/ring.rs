//! Drives the engine's ring from monoio's loop, without a tick: an idle core sleeps in the kernel.
//!
//! Invariant: after readiness, completions are reaped first and the poll is armed after that. The
//! other way round, completions that came in between would be seen only with the next one.

use ringbolt_engine::node::Driver;
use std::io;
use std::net::TcpStream;

/// Spawns the two tasks that drive the storage ring. They end with the runtime.
pub fn drive(driver: Driver) -> io::Result<()> {
    // monoio closes what it polls, and polls only what looks like a stream: it gets a descriptor of
    // its own.
    let readiness = monoio::net::TcpStream::from_std(TcpStream::from(driver.duplicate_fd()?))?;
    let submitter = driver.clone();
    monoio::spawn(async move {
        loop {
            submitter.pending().await;
            submitter.submit();
            submitter.reap();
        }
    });
    monoio::spawn(async move {
        let ready = async || {
            if let Err(error) = readiness.readable(false).await {
                tracing::error!(%error, "polling the storage ring failed; trying again");
                monoio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            true
        };
        driver.attend(ready).await;
    });
    Ok(())
}
