//! The office: one thread for all that the server has to say to the outside, beside its cores. Now that is
//! the ordering of certificates.
//!
//! Invariants:
//! - The thread is pinned nowhere, and has a runtime of its own. Whoever wants something of it leaves an
//!   errand in a queue of fixed length, and waits for nothing: a request that needs nothing from outside is
//!   never held up here.
//! - What the outside sends is bounded in length and in time.
//! - It opens when the node is open, and ends with the process: what it was about is done again.

mod acme;
mod https;

pub use self::acme::{AcmeOptions, Directory};

use self::acme::Orders;
use self::https::{Https, HttpsError};
use crate::tls::Tls;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The most errands that wait. All of them say the same by now, so one that finds no place is there already.
const ERRANDS_MAX: usize = 8;

/// What the office is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Look now whether a certificate is to be ordered, whatever failed before.
    LookAtCertificates,
}

/// A way to the office, from any thread.
pub struct Office(Sender<Errand>);

/// An office before it opens.
pub struct Closed {
    orders: Orders,
    asked: Receiver<Errand>,
}

/// Makes an office, where certificates are ordered for `tls`, and kept in `data_dir`. What is asked before it
/// opens waits.
pub fn office(options: AcmeOptions, data_dir: PathBuf, tls: Vec<Arc<Tls>>) -> (Office, Closed) {
    let (errands, asked) = channel(ERRANDS_MAX);
    (Office(errands), Closed { orders: Orders::new(options, data_dir, tls), asked })
}

/// Looks at what can be known to be wrong before anything is ordered.
///
/// # Errors
/// Fails with what is wrong.
pub fn check(options: &AcmeOptions) -> Result<(), OfficeError> {
    let Directory { url, authorities } = &options.directory;
    if !url.starts_with("https://") {
        return Err(OfficeError::Directory { url: url.clone() });
    }
    Ok(Https::new(authorities.as_deref()).map(|_| ())?)
}

/// The reason why nothing can be ordered.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    #[error(
        "--acme-directory {url} is no URL of HTTPS; write it as the authority says it, with https:// before it"
    )]
    Directory { url: String },
    #[error(transparent)]
    Https(#[from] HttpsError),
}

impl Closed {
    /// Opens the office.
    ///
    /// # Errors
    /// Fails when the system gives no thread.
    pub fn open(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(self.orders.run(self.asked));
        std::thread::Builder::new().name("office".to_owned()).spawn(work).map(|_| ())
    }
}

impl Office {
    /// Leaves an errand. One that finds no place is dropped.
    pub fn ask(&self, errand: Errand) {
        match self.0.try_send(errand) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => tracing::debug!(?errand, "the office has enough to do"),
            Err(TrySendError::Closed(_)) => {
                tracing::error!(?errand, "the office is closed by a bug; restart the server to open it");
            }
        }
    }
}
