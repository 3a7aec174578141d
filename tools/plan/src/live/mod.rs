//! This module reads a running node: its metrics twice, to compute rates, and SMART of its drives.
//!
//! Invariant: a figure is what the node reports, or absent; nothing is invented. A node that
//! restarts between the readings is an error, because its counters start again.

mod apply;
mod difference;
mod error;
pub(super) mod metrics;
pub mod node;
mod operations;
mod program;
mod reading;
mod wear;

pub use self::apply::{apply, apply_wear};
pub use self::difference::difference;
pub use self::error::LiveError;

use self::node::LiveNode;
use self::reading::Reading;
use self::wear::Programs;
use super::http::Http;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// This is the path of a node's metrics.
pub const METRICS_PATH: &str = "/ringbolt/metrics";
/// A page has some hundred lines, and ten for each shard.
pub const METRICS_BYTES_MAX: u64 = 16 << 20;
/// This is the allowed time between the readings.
pub const SECONDS: std::ops::RangeInclusive<f64> = 1.0..=86_400.0;

/// Reads the metrics of the node at `url` twice, `seconds` apart, and SMART of `devices`. The notes
/// say what SMART did not report.
///
/// # Errors
/// Fails when the node cannot be reached, is not ready, is not a Ringbolt node, or restarts
/// meanwhile, or when a device does not exist.
pub fn read(url: &str, seconds: f64, devices: &[PathBuf]) -> Result<LiveNode, LiveError> {
    if !SECONDS.contains(&seconds) {
        return Err(LiveError::Seconds(seconds));
    }
    let url = metrics_url(url)?;
    let devices = devices.iter().map(|path| wear::device(path)).collect::<Result<Vec<_>, _>>()?;
    let (first, first_at) = (ask(&url)?, Instant::now());
    // This is not a sleep that hides a race: it is the time over which the rates are measured.
    let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_secs_f64(seconds));
    let second = ask(&url)?;
    let elapsed = first_at.elapsed();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut node = second.since(&first, elapsed, now, url)?;
    let programs = Programs::default();
    for device in devices {
        match wear::read(&programs, &device) {
            Ok(wear) => node.wear.push(wear),
            Err(note) => node.notes.push(note),
        }
    }
    Ok(node)
}

/// Adds the path of the metrics, unless `url` has a path of its own: a proxy may serve them
/// elsewhere.
fn metrics_url(url: &str) -> Result<String, LiveError> {
    let uri: ureq::http::Uri = url.parse().map_err(|_| LiveError::Url(url.to_owned()))?;
    let usable = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    if !usable || uri.query().is_some() {
        return Err(LiveError::Url(url.to_owned()));
    }
    let base = url.trim_end_matches('/');
    Ok(if uri.path() == "/" { format!("{base}{METRICS_PATH}") } else { base.to_owned() })
}

/// Reads the metrics on a connection of its own, because the node may close one that is idle
/// between the readings.
fn ask(url: &str) -> Result<Reading, LiveError> {
    let answer = Http::default().get(url, &[], METRICS_BYTES_MAX)?;
    if answer.status != 200 {
        return Err(LiveError::Status { url: url.to_owned(), status: answer.status });
    }
    Reading::parse(&answer.body, url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{answer, serve};

    #[test]
    fn the_path_of_the_metrics_is_added_where_there_is_none() {
        for (url, expected) in [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001/ringbolt/metrics"),
            ("https://node/", "https://node/ringbolt/metrics"),
            ("http://node/ringbolt/metrics", "http://node/ringbolt/metrics"),
            ("http://proxy/node7/metrics/", "http://proxy/node7/metrics"),
        ] {
            assert_eq!(metrics_url(url).unwrap(), expected);
        }
        for url in ["", "node:9000", "ftp://node", "http://", "http://node/?x=1"] {
            assert!(metrics_url(url).unwrap_err().to_string().contains(&format!("{url:?}")), "{url}");
        }
    }

    #[test]
    fn two_readings_make_rates() {
        let before = reading::testing::text(0);
        let after = reading::testing::text(500);
        let (url, serving) = serve(vec![answer("200 OK", &before), answer("200 OK", &after)]);
        let node = read(&url, 1.0, &[]).unwrap();
        let heads = serving.join().unwrap();
        assert!(heads.iter().all(|head| head.starts_with("GET /ringbolt/metrics HTTP/1.1")), "{heads:?}");
        assert!((1.0..5.0).contains(&node.seconds), "{}", node.seconds);
        assert!((node.requests_per_s["GetObject"] - 500.0 / node.seconds).abs() < 1e-9);
    }

    #[test]
    fn who_is_no_node_is_told_so() {
        assert!(read("http://127.0.0.1:1", 0.5, &[]).unwrap_err().to_string().contains("0.5 seconds"));
        assert!(read("http://127.0.0.1:1", f64::NAN, &[]).is_err());
        let (url, serving) = serve(vec![answer("404 Not Found", "")]);
        let error = read(&url, 1.0, &[]).unwrap_err().to_string();
        assert!(error.contains("answered 404"), "{error}");
        serving.join().unwrap();
        let missing = [PathBuf::from("/dev/no-such-drive")];
        let error = read("http://127.0.0.1:1", 1.0, &missing).unwrap_err().to_string();
        assert!(error.contains("/dev/no-such-drive"), "{error}");
    }
}
