//! This module defines the errors of reading a running node.

use super::metrics::MetricsError;
use crate::http::HttpError;
use std::io;
use std::path::PathBuf;

/// Says why the figures of a node could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("{0:?} is no URL of a node: write for example http://127.0.0.1:9001, its --admin-listen")]
    Url(String),
    #[error("{0} seconds between the readings: give 1 to 86400")]
    Seconds(f64),
    #[error("{0}; check the address and that the node runs")]
    Http(#[from] HttpError),
    #[error("{url} answered {status}: is it the address that a Ringbolt node has as --admin-listen?")]
    Status { url: String, status: u16 },
    #[error("{url}: {source}: these are no metrics in the text format of Prometheus")]
    Metrics { url: String, source: MetricsError },
    #[error("{0} is not ready: it starts or stops; try again when /ringbolt/health says ok")]
    NotReady(String),
    #[error("{url} does not say {series}: it is no Ringbolt node of this version")]
    Missing { url: String, series: String },
    #[error(
        "{url} says {series} {value}: that is none of its figures, which are numbers of 0 and above; what stands between?"
    )]
    Senseless { url: String, series: String, value: f64 },
    #[error("{series} went from {before} to {after}: the node restarted between the readings; read again")]
    Restarted { series: String, before: f64, after: f64 },
    #[error("device {}: {source}; name a drive of this machine, as /dev/nvme0", path.display())]
    Device { path: PathBuf, source: io::Error },
}
