//! The office: one thread for all that the server has to say to the outside, beside its cores. Now that is
//! the ordering of certificates.
//!
//! Invariants:
//! - The thread is pinned nowhere, and has a runtime of its own. Whoever wants something of it leaves an
//!   errand in a queue of fixed length, and waits for nothing: a request that needs nothing from outside is
//!   never held up here.
//! - What the outside sends is bounded in length and in time.

mod acme;
mod https;

pub use self::acme::{AcmeOptions, Directory};

use self::acme::Orders;
use crate::tls::Tls;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::{Sender, channel};

/// The most errands that wait. All of them say the same by now, so one that finds no place is there already.
const ERRANDS_MAX: usize = 8;

/// What the office is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Look now whether a certificate is to be ordered, whatever failed before.
    LookAtCertificates,
}

/// A way to the office, from any thread.
#[derive(Clone)]
pub struct Office(Sender<Errand>);

impl Office {
    /// Opens the office. It closes when the last way to it is gone.
    ///
    /// # Errors
    /// Fails when the system gives no thread.
    pub fn open(options: AcmeOptions, data_dir: PathBuf, tls: Vec<Arc<Tls>>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (errands, asked) = channel(ERRANDS_MAX);
        let orders = Orders::new(options, data_dir, tls);
        let work = move || runtime.block_on(orders.run(asked));
        std::thread::Builder::new().name("office".to_owned()).spawn(work)?;
        Ok(Self(errands))
    }

    /// Leaves an errand. One that finds no place is dropped.
    pub fn ask(&self, errand: Errand) {
        if self.0.try_send(errand).is_err() {
            tracing::debug!(?errand, "the office has enough to do");
        }
    }
}
