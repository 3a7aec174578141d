//! Signals: the first SIGTERM or SIGINT stops gracefully, and the second at once. SIGHUP reads again what
//! can change while the server runs.

use super::bell::Bells;
use super::live::Live;
use super::options::{ReadAgain, Reader};
use crate::office::{Errand, Office};
use crate::tls::Tls;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What SIGHUP reads again.
pub struct Reloads {
    pub tls: Vec<Arc<Tls>>,
    pub office: Option<Office>,
    /// Reads the configuration. None: there is none that could be read again.
    pub reader: Option<Reader>,
    pub live: Arc<Live>,
}

/// Tells whether SIGHUP came before anything could be read again.
pub struct Held(Arc<AtomicBool>);

/// Keeps SIGHUP from ending the process from now on: while drives are made and opened, which may take
/// long, it is only noted. Other signals end the process until [`handle_signals`].
pub fn hold_hangups() -> io::Result<Held> {
    let came = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, came.clone())?;
    Ok(Held(came))
}

/// Handles signals on a thread of their own, for the rest of the process's life.
pub fn handle_signals(stop: Bells, mut reloads: Reloads, held: &Held) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let came_before = held.0.load(Ordering::Relaxed);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = true;
        if came_before {
            reloads.reload();
        }
        for signal in signals.forever() {
            if signal == SIGHUP {
                reloads.reload();
                continue;
            }
            if !first {
                tracing::warn!(signal, "second signal: leaving at once; what was acknowledged is durable");
                std::process::exit(128 + signal);
            }
            tracing::info!(signal, "stopping: finishing what runs; a second signal leaves at once");
            first = false;
            stop.ring();
        }
    })?;
    Ok(())
}

impl Reloads {
    /// Reads again what can change.
    fn reload(&mut self) {
        match self.tls.iter().try_for_each(|tls| tls.reload()) {
            Ok(()) => {
                if let Some(first) = self.tls.first() {
                    tracing::info!("SIGHUP: certificates were read again");
                    super::tls::tell_of_certificates(first);
                }
            }
            Err(error) => {
                tracing::error!(%error, "SIGHUP: certificates can not be read; the server goes on with those it has");
            }
        }
        if let Some(office) = &self.office {
            office.ask(Errand::LookAtCertificates);
        }
        let Some(reader) = &mut self.reader else { return };
        match reader() {
            Ok(ReadAgain { live, changed, need_restart }) => {
                if !changed.is_empty() {
                    self.live.set(live);
                    tracing::info!(?changed, "SIGHUP: the configuration was read again");
                } else if need_restart.is_empty() {
                    tracing::info!("SIGHUP: the configuration is as it was");
                }
                if !need_restart.is_empty() {
                    tracing::warn!(changed = ?need_restart, "SIGHUP: these settings need a restart to count");
                }
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "SIGHUP: the configuration can not be used, so the server goes on as it is"
                );
            }
        }
    }
}
