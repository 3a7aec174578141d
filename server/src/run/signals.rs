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

/// What SIGHUP reads again.
pub struct Reloads {
    pub tls: Vec<Arc<Tls>>,
    pub office: Option<Office>,
    /// Reads the configuration. None: there is none that could be read again.
    pub reader: Option<Reader>,
    pub live: Arc<Live>,
}

/// Keeps SIGHUP from ending the process from now on: while drives are made and opened, which may take
/// long, it waits for [`handle_signals`]. Until then other signals end the process.
pub fn hold_hangups() -> io::Result<Signals> {
    Signals::new([SIGHUP])
}

/// Handles signals on a thread of their own, for the rest of the process's life.
pub fn handle_signals(mut signals: Signals, stop: Bells, mut reloads: Reloads) -> io::Result<()> {
    signals.add_signal(SIGTERM)?;
    signals.add_signal(SIGINT)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = true;
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
