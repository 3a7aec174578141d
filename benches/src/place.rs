//! Where a measurement takes place that loads a server: which server, its data, and who has which core.

use crate::http::process::{ProcessError, ServeOptions, Server};
use clap::Args;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A server has to be ready after this time.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// Holds the options that say where.
#[derive(Args, Debug)]
pub struct Place {
    /// The server; by default the one built beside this program.
    #[arg(long)]
    pub ringbolt: Option<PathBuf>,
    /// Where data directories are made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    pub dir: PathBuf,
    /// Core of the servers.
    #[arg(long, default_value_t = 0)]
    pub core: usize,
    /// Core of the clients.
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
}

impl Place {
    /// Returns options of a server on fresh data in `name`, on the core of the servers.
    pub fn fresh(&self, name: &str) -> io::Result<ServeOptions> {
        let options = ServeOptions::fresh(&self.dir, name, self.ringbolt.as_deref())?;
        Ok(ServeOptions { core: self.core, ..options })
    }
}

/// Starts a server and waits until it is ready.
pub fn start(options: &ServeOptions) -> Result<Server, ProcessError> {
    let mut server = Server::start_ringbolt(options)?;
    server.ready(Instant::now(), READY_LIMIT)?;
    Ok(server)
}
