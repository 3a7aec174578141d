//! This module is one reading of a node's metrics, and computes the difference of two.

use super::error::LiveError;
use super::metrics::Metrics;
use super::node::LiveNode;
use std::collections::BTreeMap;
use std::time::Duration;

/// This is larger than any count of a node: in bytes, a thousand million drives of a terabyte.
const FIGURE_MAX: f64 = 1e21;

/// Holds one reading of a node's metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    objects: f64,
    capacity_bytes: f64,
    space_bytes: BTreeMap<String, f64>,
    index_bytes: f64,
    resident_bytes: Option<f64>,
    started_unix_s: Option<f64>,
    /// This is empty if the node does not count them.
    requests: BTreeMap<String, f64>,
    written_bytes: BTreeMap<String, f64>,
    user_bytes: f64,
    moved_bytes: f64,
    cpu_s: Option<f64>,
}

impl Reading {
    /// Parses a reading.
    ///
    /// # Errors
    /// Fails when `body` is not that of a Ringbolt node that is ready.
    pub fn parse(body: &[u8], url: &str) -> Result<Self, LiveError> {
        let text = String::from_utf8_lossy(body);
        let failed = |source| LiveError::Metrics { url: url.to_owned(), source };
        let metrics = Metrics::parse(&text).map_err(failed)?;
        if metrics.value("ringbolt_ready") == Some(0.0) {
            return Err(LiveError::NotReady(url.to_owned()));
        }
        let missing = |series: &str| LiveError::Missing { url: url.to_owned(), series: series.to_owned() };
        let sensible = |series: String, value: f64| match value {
            _ if (0.0..=FIGURE_MAX).contains(&value) => Ok(value),
            _ => Err(LiveError::Senseless { url: url.to_owned(), series, value }),
        };
        let optional =
            |series: &str| metrics.value(series).map(|value| sensible(series.to_owned(), value)).transpose();
        let value = |series: &str| optional(series)?.ok_or_else(|| missing(series));
        let labelled = |series: &str, label: &str| {
            let values = metrics.by_label(series, label);
            for (text, value) in &values {
                sensible(format!("{series}{{{label}=\"{text}\"}}"), *value)?;
            }
            Ok::<_, LiveError>(values)
        };
        let all = |series: &str, label: &str, texts: &[&str]| {
            let values = labelled(series, label)?;
            match texts.iter().find(|text| !values.contains_key(**text)) {
                Some(text) => Err(missing(&format!("{series}{{{label}=\"{text}\"}}"))),
                None => Ok(values),
            }
        };
        let states = ["live", "dead", "reserved", "free"];
        let kinds = ["log", "slices", "checkpoints", "superblocks"];
        Ok(Self {
            objects: value("ringbolt_objects")?,
            capacity_bytes: value("ringbolt_capacity_bytes")?,
            space_bytes: all("ringbolt_space_bytes", "state", &states)?,
            index_bytes: value("ringbolt_index_bytes")?,
            resident_bytes: optional("process_resident_memory_bytes")?,
            started_unix_s: optional("process_start_time_seconds")?,
            requests: labelled("ringbolt_s3_requests_total", "operation")?,
            written_bytes: all("ringbolt_drive_written_bytes_total", "kind", &kinds)?,
            user_bytes: value("ringbolt_stored_bytes_total")?,
            moved_bytes: value("ringbolt_cleaner_moved_bytes_total")?,
            cpu_s: optional("process_cpu_seconds_total")?,
        })
    }

    /// Returns what the node did since `before`, which is `elapsed` ago.
    ///
    /// # Errors
    /// Fails when a counter went down, or when the process is another one.
    pub fn since(
        self,
        before: &Self,
        elapsed: Duration,
        now: Duration,
        url: String,
    ) -> Result<LiveNode, LiveError> {
        if let (Some(first), Some(second)) = (before.started_unix_s, self.started_unix_s)
            && first != second
        {
            let series = "process_start_time_seconds".to_owned();
            return Err(LiveError::Restarted { series, before: first, after: second });
        }
        let seconds = elapsed.as_secs_f64();
        let rate = |series: &str, before: f64, after: f64| {
            if after >= before {
                return Ok((after - before) / seconds);
            }
            Err(LiveError::Restarted { series: series.to_owned(), before, after })
        };
        let mut requests_per_s = BTreeMap::new();
        for (operation, &after) in &self.requests {
            let first = before.requests.get(operation).copied().unwrap_or_default();
            requests_per_s.insert(operation.clone(), rate(operation, first, after)?);
        }
        let written = |reading: &Self| reading.written_bytes.values().sum::<f64>();
        let (user, cpu) = ("ringbolt_stored_bytes_total", "process_cpu_seconds_total");
        let space = |state: &str| self.space_bytes.get(state).copied().unwrap_or_default();
        Ok(LiveNode {
            read_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            seconds,
            objects: self.objects,
            capacity_bytes: self.capacity_bytes,
            live_bytes: space("live"),
            dead_bytes: space("dead"),
            reserved_bytes: space("reserved"),
            free_bytes: space("free"),
            index_bytes: self.index_bytes,
            resident_bytes: self.resident_bytes,
            process_age_s: self.started_unix_s.map(|started| (now.as_secs_f64() - started).max(0.0)),
            requests_per_s,
            user_bytes: self.user_bytes,
            moved_bytes: self.moved_bytes,
            written_bytes_per_s: rate("ringbolt_drive_written_bytes_total", written(before), written(&self))?,
            user_bytes_per_s: rate(user, before.user_bytes, self.user_bytes)?,
            cpu_cores: match (before.cpu_s, self.cpu_s) {
                (Some(first), Some(second)) => Some(rate(cpu, first, second)?),
                _ => None,
            },
            written_bytes: self.written_bytes,
            wear: Vec::new(),
            notes: Vec::new(),
            url,
        })
    }
}

#[cfg(test)]
pub mod testing {
    /// Returns the metrics of a node that has answered this many requests of each kind.
    pub fn text(requests: u64) -> String {
        let cpu = requests as f64 / 1000.0;
        format!(
            "ringbolt_ready 1\nringbolt_objects 1000\nringbolt_capacity_bytes 5000000\n\
             ringbolt_space_bytes{{state=\"live\"}} 4000000\nringbolt_space_bytes{{state=\"dead\"}} 100\n\
             ringbolt_space_bytes{{state=\"reserved\"}} 200\nringbolt_space_bytes{{state=\"free\"}} 300\n\
             ringbolt_index_bytes 90000\nprocess_resident_memory_bytes 1000000\n\
             process_start_time_seconds 1790000000.500\nprocess_cpu_seconds_total {cpu}\n\
             ringbolt_s3_requests_total{{operation=\"GetObject\"}} {requests}\n\
             ringbolt_s3_requests_total{{operation=\"PutObject\"}} 7\n\
             ringbolt_drive_written_bytes_total{{kind=\"log\"}} {log}\n\
             ringbolt_drive_written_bytes_total{{kind=\"slices\"}} 500000\n\
             ringbolt_drive_written_bytes_total{{kind=\"checkpoints\"}} 100\n\
             ringbolt_drive_written_bytes_total{{kind=\"superblocks\"}} 0\n\
             ringbolt_stored_bytes_total {stored}\nringbolt_cleaner_moved_bytes_total 11\nunknown_family 1\n",
            log = 1000 + requests * 8192,
            stored = 500_000 + requests * 4096,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::testing::text;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_100);

    fn between(before: &str, after: &str) -> Result<LiveNode, String> {
        let read = |text: &str| Reading::parse(text.as_bytes(), "url");
        let outcome = read(before)
            .and_then(|before| read(after)?.since(&before, Duration::from_secs(10), NOW, "url".into()));
        outcome.map_err(|error| error.to_string())
    }

    #[test]
    fn rates_come_from_counters_and_levels_from_the_second_reading() {
        let node = between(&text(100), &text(600)).unwrap();
        assert_eq!((node.objects, node.live_bytes, node.dead_bytes), (1000.0, 4e6, 100.0));
        assert_eq!((node.reserved_bytes, node.free_bytes, node.capacity_bytes), (200.0, 300.0, 5e6));
        assert_eq!((node.requests_per_s["GetObject"], node.requests_per_s["PutObject"]), (50.0, 0.0));
        assert_eq!((node.written_bytes_per_s, node.user_bytes_per_s), (50.0 * 8192.0, 50.0 * 4096.0));
        assert!((node.cpu_cores.unwrap() - 0.05).abs() < 1e-12);
        assert_eq!((node.process_age_s, node.seconds), (Some(99.5), 10.0));
        let written = 1000.0 + 600.0 * 8192.0 + 500_100.0;
        assert!((node.write_amplification().unwrap() - written / (500_000.0 + 600.0 * 4096.0)).abs() < 1e-12);
    }

    #[test]
    fn an_older_node_says_less() {
        let drop = |text: String| -> String {
            let kept = text.lines().filter(|line| !line.contains("requests") && !line.starts_with("process"));
            kept.collect::<Vec<_>>().join("\n")
        };
        let node = between(&drop(text(1)), &drop(text(2))).unwrap();
        assert!(node.requests_per_s.is_empty() && node.cpu_cores.is_none() && node.process_age_s.is_none());
        // The operation was first requested between the readings.
        let before =
            text(5).lines().filter(|line| !line.contains("GetObject")).collect::<Vec<_>>().join("\n");
        assert_eq!(between(&before, &text(5)).unwrap().requests_per_s["GetObject"], 0.5);
    }

    #[test]
    fn a_restart_is_told() {
        let down = between(&text(600), &text(100)).unwrap_err();
        assert!(down.starts_with("GetObject went from 600 to 100: the node restarted"), "{down}");
        let other = text(700).replace("1790000000.500", "1790000050.000");
        let error = between(&text(600), &other).unwrap_err();
        assert!(error.starts_with("process_start_time_seconds went from"), "{error}");
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        for value in ["NaN", "-5", "+Inf", "1e300"] {
            for line in [
                "ringbolt_objects 1000",
                "ringbolt_space_bytes{state=\"live\"} 4000000",
                "ringbolt_s3_requests_total{operation=\"PutObject\"} 7",
                "process_resident_memory_bytes 1000000",
            ] {
                let series = line.split(' ').next().unwrap();
                let error = between(&text(1).replace(line, &format!("{series} {value}")), "").unwrap_err();
                let shown = value.parse::<f64>().unwrap().to_string();
                assert!(error.contains(&format!("url says {series} {shown}: ")), "{error}");
            }
        }
    }

    #[test]
    fn what_is_no_node_is_told() {
        let starting = between("ringbolt_ready 0\n", "").unwrap_err();
        assert!(starting.contains("not ready"), "{starting}");
        let other = between("go_goroutines 7\n", "").unwrap_err();
        assert!(other.contains("does not say ringbolt_objects"), "{other}");
        let html = between("<html></html>", "").unwrap_err();
        assert!(html.contains("line 1: \"<html></html>\""), "{html}");
        let without = text(1).lines().filter(|line| !line.contains("slices")).collect::<Vec<_>>().join("\n");
        let error = between(&without, "").unwrap_err();
        assert!(error.contains("ringbolt_drive_written_bytes_total{kind=\"slices\"}"), "{error}");
    }
}
