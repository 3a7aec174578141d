//! Signals: the first SIGTERM or SIGINT stops gracefully, and the second at once. SIGHUP reads again what
//! can change while the server runs.

use super::shutdown::ShutdownSender;
use crate::tls::Tls;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;

/// Handles signals on a thread of their own, for the rest of the process's life.
pub fn handle_signals(shutdown: ShutdownSender, tls: Vec<Arc<Tls>>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = true;
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload(&tls);
                continue;
            }
            if !first {
                tracing::warn!(signal, "second signal: leaving at once; what was acknowledged is durable");
                std::process::exit(128 + signal);
            }
            tracing::info!(signal, "stopping: finishing what runs; a second signal leaves at once");
            first = false;
            shutdown.send();
        }
    })?;
    Ok(())
}

/// Reads again what can change.
fn reload(all: &[Arc<Tls>]) {
    let Some(first) = all.first() else {
        tracing::info!("SIGHUP: there are no certificates to be read again; everything else needs a restart");
        return;
    };
    match all.iter().try_for_each(|tls| tls.reload()) {
        Ok(()) => {
            tracing::info!("SIGHUP: certificates were read again; everything else needs a restart");
            super::tls::tell_of_certificates(first);
        }
        Err(error) => {
            tracing::error!(%error, "SIGHUP: certificates can not be read, so the server goes on with those it has");
        }
    }
}
