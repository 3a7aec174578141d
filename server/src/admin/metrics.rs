//! The node's numbers at `/ringbolt/metrics`, in the text format of Prometheus, version 0.0.4.
//!
//! Invariants:
//! - The page has sums and numbers of shards only, and no name of a bucket, key or account, since
//!   no credentials are asked for.
//! - Names and units follow the conventions of Prometheus and do not change their meaning.

use crate::http::TrafficSum;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use ringbolt_engine::lifecycle::LifecycleCounters;
use ringbolt_engine::node::{CatchUpProgress, NodeMetrics, ShardMetrics};
use std::fmt::{Display, Write};
use std::time::Duration;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const BUFFER_CHUNK_BYTES: u64 = 1 << 20;

/// The number of requests by the name of their operation.
type Requests = [(&'static str, u64)];

/// Makes the answer. `node` is None and `requests` is empty while the node starts.
pub fn answer(node: Option<&NodeMetrics>, traffic: &TrafficSum, requests: &Requests) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(render(node, traffic, requests, &Process::now())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the system tells about the process. A field is None if the system does not tell it.
#[derive(Debug, Default)]
struct Process {
    /// The memory of the process that is in RAM, in bytes.
    resident_bytes: Option<u64>,
    /// The user and system time of all threads.
    cpu: Option<Duration>,
    /// The start of the process, since 1970.
    started: Option<Duration>,
}

impl Process {
    fn now() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self { resident_bytes: resident_bytes(), cpu: Duration::try_from(cpu).ok(), started: started() }
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Computes when the process began, since 1970: the start of the system, and the time from there.
fn started() -> Option<Duration> {
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let booted_s: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let process = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything; the start is the twentieth word
    // behind it.
    let (_, behind) = process.rsplit_once(')')?;
    let ticks: u64 = behind.split_whitespace().nth(19)?.parse().ok()?;
    let ms = ticks.checked_mul(1000)?.checked_div(rustix::param::clock_ticks_per_second())?;
    Some(Duration::from_secs(booted_s) + Duration::from_millis(ms))
}

fn render(
    node: Option<&NodeMetrics>,
    traffic: &TrafficSum,
    requests: &Requests,
    process: &Process,
) -> String {
    let mut page = Page::default();
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.one("ringbolt_build_info", "gauge", "The program that runs", &version, 1);
    page.plain("ringbolt_ready", "gauge", "1 when the node takes requests", u64::from(node.is_some()));
    page.process(process);
    page.traffic(traffic);
    if !requests.is_empty() {
        let (name, help) = ("ringbolt_s3_requests_total", "Requests answered, by S3 operation");
        page.family(name, "counter", help, "operation", requests.iter().copied());
    }
    if let Some(node) = node {
        page.node(node);
        page.shards(&node.shards);
        page.lifecycle(&node.shards);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

type Labels<'a> = &'a [(&'a str, String)];

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let braced = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{braced} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: Labels<'_>, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, labels, value);
    }

    fn plain(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.one(name, kind, help, &[], value);
    }

    /// Writes a time in seconds, with its milliseconds.
    fn seconds(&mut self, name: &str, kind: &str, help: &str, time: Duration) {
        let value = format_args!("{}.{:03}", time.as_secs(), time.subsec_millis());
        self.one(name, kind, help, &[], value);
    }

    /// Writes one value for each of `values`, told apart by `label`.
    fn family<L: ToString>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) {
        self.head(name, kind, help);
        for (which, value) in values {
            self.value(name, &[(label, which.to_string())], value);
        }
    }

    fn process(&mut self, process: &Process) {
        if let Some(bytes) = process.resident_bytes {
            self.plain("process_resident_memory_bytes", "gauge", "Memory of the process in RAM", bytes);
        }
        if let Some(cpu) = process.cpu {
            let help = "CPU time of the process, user and system";
            self.seconds("process_cpu_seconds_total", "counter", help, cpu);
        }
        if let Some(started) = process.started {
            let help = "When the process began, since 1970";
            self.seconds("process_start_time_seconds", "gauge", help, started);
        }
    }

    fn traffic(&mut self, traffic: &TrafficSum) {
        self.plain("ringbolt_http_connections", "gauge", "Open connections", traffic.connections);
        let help = "Connections turned away at the cap";
        self.plain("ringbolt_http_connections_refused_total", "counter", help, traffic.turned_away);
        let help = "Connections that ended within their handshake of TLS";
        let failed = traffic.handshakes_failed;
        self.plain("ringbolt_tls_handshakes_failed_total", "counter", help, failed);
        let help = "Requests that were refused because their key or their bucket is ahead of its limits";
        self.plain("ringbolt_requests_held_back_total", "counter", help, traffic.held_back);
        let (name, help) = ("ringbolt_http_responses_total", "Answers by HTTP status");
        self.family(name, "counter", help, "status", traffic.answers.iter().copied());
    }

    fn node(&mut self, node: &NodeMetrics) {
        let (space, counters) = (&node.space, &node.counters);
        self.plain("ringbolt_buckets", "gauge", "Buckets", node.buckets);
        self.plain("ringbolt_objects", "gauge", "Objects", space.objects);
        self.plain("ringbolt_capacity_bytes", "gauge", "Bytes in the drives' extents", space.physical_bytes);
        let states = [
            ("live", space.live_bytes),
            ("dead", space.dead_bytes),
            ("reserved", space.reserved_bytes),
            ("copies", space.copies_bytes),
            ("free", space.free_bytes),
        ];
        let help = "Bytes of the capacity by what they are used for";
        self.family("ringbolt_space_bytes", "gauge", help, "state", states);
        self.drives(node);
        self.plain("ringbolt_index_bytes", "gauge", "Memory of the index", space.index_bytes);
        let free = node.buffer_chunks_free * BUFFER_CHUNK_BYTES;
        let buffers = [("free", free), ("used", node.buffer_chunks * BUFFER_CHUNK_BYTES - free)];
        self.family("ringbolt_buffer_bytes", "gauge", "Memory for I/O", "state", buffers);
        let refused = "Reads answered with an error because the drive did not give what was stored";
        let counts = [
            ("ringbolt_log_batches_total", "Group commits", counters.batches),
            ("ringbolt_log_records_total", "Changes made durable", counters.records),
            ("ringbolt_log_written_bytes_total", "Bytes written to the logs", counters.log_bytes),
            (
                "ringbolt_log_synchronous_writes_total",
                "Group commits made durable by their own write",
                counters.synchronous_writes,
            ),
            ("ringbolt_flushes_total", "Flushes of drives", counters.flushes),
            ("ringbolt_stored_bytes_total", "Bodies that became objects or parts", counters.user_bytes),
            ("ringbolt_cleaner_moved_bytes_total", "Log written to move live records", counters.moved_bytes),
            (
                "ringbolt_cleaner_read_bytes_total",
                "Log read to move live records",
                counters.cleaner_read_bytes,
            ),
            (
                "ringbolt_moved_slice_bytes_total",
                "Slices written to empty extents that held little",
                counters.relocated_bytes,
            ),
            ("ringbolt_checkpoints_total", "Checkpoints that came into force", counters.checkpoints),
            ("ringbolt_damaged_reads_total", refused, node.refused_reads),
            (
                "ringbolt_copies_mended_total",
                "Damaged copies written anew from another one",
                node.mended_copies,
            ),
            (
                "ringbolt_reads_decoded_total",
                "Reads of stripes for which data was made from parity",
                node.decoded_reads,
            ),
            (
                "ringbolt_reads_hedged_total",
                "Reads that another drive was asked for too, because the first one was late",
                node.hedged_reads,
            ),
        ];
        for (name, help, value) in counts {
            self.plain(name, "counter", help, value);
        }
        // The sum of these over the stored bytes is the write amplification.
        let written = [
            ("log", counters.log_bytes),
            ("slices", counters.slice_bytes + counters.relocated_bytes),
            ("checkpoints", counters.checkpoint_bytes),
            ("superblocks", counters.superblock_bytes),
        ];
        let (name, help) = ("ringbolt_drive_written_bytes_total", "Bytes written to drives by what they are");
        self.family(name, "counter", help, "kind", written);
    }

    /// The drives of the set, and how many more of them may be lost.
    fn drives(&mut self, node: &NodeMetrics) {
        let help = "Copies written to drives that are brought up to date";
        self.plain("ringbolt_copies_caught_up_total", "counter", help, node.caught_up_copies);
        let drives =
            [("in", node.drives_in), ("catching-up", node.drives_catching_up), ("out", node.drives_out)];
        let help = "Drives of the set that are in use, and those that were dropped";
        self.family("ringbolt_drives", "gauge", help, "state", drives);
        let (help, patience) = ("How long a read waits before it is late", node.read_patience_us);
        self.seconds("ringbolt_read_patience_seconds", "gauge", help, Duration::from_micros(patience));
        let help = "Shards whose new data have fewer copies than the set was formatted for";
        self.plain("ringbolt_degraded_shards", "gauge", help, node.degraded_shards);
        let (name, help) =
            ("ringbolt_live_bytes_by_losses", "Live bytes by how many drives more may be lost first");
        self.family(
            name,
            "gauge",
            help,
            "losses",
            (0..).zip(node.space.bytes_by_losses).take(usize::from(node.copies)),
        );
        let caught_up = |of: fn(&CatchUpProgress) -> u64| {
            node.catch_ups.iter().map(move |(drive, sums)| (drive, of(sums)))
        };
        let help = "Bytes to go through until a drive that was away is up to date";
        self.family("ringbolt_catch_up_bytes", "gauge", help, "drive", caught_up(|sums| sums.bytes));
        let help = "Bytes of these that were gone through";
        self.family(
            "ringbolt_catch_up_done_bytes",
            "gauge",
            help,
            "drive",
            caught_up(|sums| sums.done_bytes),
        );
        let help = "Bytes that a drive that was away did not have";
        self.family(
            "ringbolt_catch_up_copied_bytes",
            "gauge",
            help,
            "drive",
            caught_up(|sums| sums.copied_bytes),
        );
    }

    fn shards(&mut self, shards: &[ShardMetrics]) {
        type Of = fn(&ShardMetrics) -> u64;
        let families: [(&str, &str, &str, Of); 11] = [
            ("ringbolt_shard_objects", "gauge", "Objects of a shard", |shard| shard.objects),
            ("ringbolt_shard_writes_stopped", "gauge", "1 after a failed write, until restart", |shard| {
                u64::from(shard.writes_stopped)
            }),
            ("ringbolt_shard_replay_bytes", "gauge", "Log that a restart reads", |shard| shard.replay_bytes),
            (
                "ringbolt_checkpoint_memory_bytes_max",
                "gauge",
                "Most memory that a checkpoint held since the start, beside the index",
                |shard| shard.checkpoint_memory_bytes_max,
            ),
            (
                "ringbolt_checkpoint_step_bytes_max",
                "gauge",
                "Most bytes that a checkpoint copied since the start without giving way to requests",
                |shard| shard.checkpoint_step_bytes_max,
            ),
            ("ringbolt_scrub_running", "gauge", "1 while a pass of the scrub runs", |shard| {
                u64::from(shard.scrub.running)
            }),
            ("ringbolt_scrub_passes_total", "counter", "Passes of the scrub that ended", |shard| {
                shard.scrub.passes
            }),
            ("ringbolt_scrub_objects", "gauge", "Objects read in this pass, or in the last", |shard| {
                shard.scrub.objects
            }),
            ("ringbolt_scrub_bytes", "gauge", "Bytes read in this pass, or in the last", |shard| {
                shard.scrub.bytes
            }),
            ("ringbolt_scrub_findings", "gauge", "Damage found in this pass, or in the last", |shard| {
                shard.scrub.findings
            }),
            (
                "ringbolt_scrub_last_finished_timestamp_seconds",
                "gauge",
                "When the last pass ended; 0 before the first",
                |shard| shard.scrub.finished_ms / 1000,
            ),
        ];
        for (name, kind, help, of) in families {
            self.family(name, kind, help, "shard", shards.iter().map(|shard| (shard.shard, of(shard))));
        }
    }

    fn lifecycle(&mut self, shards: &[ShardMetrics]) {
        type Of = fn(&LifecycleCounters) -> u64;
        let families: [(&str, &str, Of); 10] = [
            (
                "ringbolt_lifecycle_examined_total",
                "Versions and uploads judged by lifecycle rules",
                |counts| counts.examined,
            ),
            (
                "ringbolt_lifecycle_markers_added_total",
                "Objects that expired into a delete marker",
                |counts| counts.markers_added,
            ),
            ("ringbolt_lifecycle_versions_removed_total", "Objects removed by lifecycle rules", |counts| {
                counts.versions_removed
            }),
            (
                "ringbolt_lifecycle_markers_removed_total",
                "Delete markers removed by lifecycle rules",
                |counts| counts.markers_removed,
            ),
            ("ringbolt_lifecycle_uploads_aborted_total", "Uploads aborted by lifecycle rules", |counts| {
                counts.uploads_aborted
            }),
            ("ringbolt_lifecycle_transitions_total", "Changes of class by lifecycle rules", |counts| {
                counts.transitions
            }),
            (
                "ringbolt_lifecycle_locked_total",
                "Times that a version stayed because it is locked",
                |counts| counts.locked,
            ),
            ("ringbolt_lifecycle_overtaken_total", "Times that a client was there before", |counts| {
                counts.overtaken
            }),
            ("ringbolt_lifecycle_errors_total", "Times that what was due could not be done", |counts| {
                counts.errors
            }),
            ("ringbolt_lifecycle_passes_total", "Passes of lifecycle rules that ended", |counts| {
                counts.passes
            }),
        ];
        for (name, help, of) in families {
            let counts = shards.iter().map(|shard| (shard.shard, of(&shard.lifecycle)));
            self.family(name, "counter", help, "shard", counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the format: a comment, or a name, labels, a number.
    fn is_sound(line: &str) -> bool {
        if line.starts_with('#') {
            return line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        }
        let Some((series, value)) = line.rsplit_once(' ') else { return false };
        let name = series.split('{').next().unwrap_or_default();
        let named = !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        named && (series == name || series.ends_with("\"}")) && is_number(value)
    }

    /// Digits, and a fraction where the family has one.
    fn is_number(value: &str) -> bool {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        value.split_once('.').map_or(digits(value), |(whole, fraction)| digits(whole) && digits(fraction))
    }

    #[test]
    fn every_line_is_of_the_format() {
        let node = NodeMetrics {
            shards: vec![ShardMetrics {
                shard: 3,
                objects: 7,
                lifecycle: LifecycleCounters { markers_added: 11, ..LifecycleCounters::default() },
                ..ShardMetrics::default()
            }],
            buffer_chunks: 4,
            buffer_chunks_free: 1,
            ..NodeMetrics::default()
        };
        let answers = vec![(200, 5), (404, 1)];
        let traffic =
            TrafficSum { connections: 2, turned_away: 0, handshakes_failed: 6, held_back: 8, answers };
        let process = Process {
            resident_bytes: Some(4096),
            cpu: Some(Duration::from_millis(61_007)),
            started: Some(Duration::from_secs(1_800_000_000)),
        };
        let requests = [("GetObject", 9), ("PutObject", 0)];
        let text = render(Some(&node), &traffic, &requests, &process);
        assert!(text.lines().all(is_sound), "{text}");
        for line in [
            "ringbolt_http_responses_total{status=\"404\"} 1",
            "ringbolt_shard_objects{shard=\"3\"} 7",
            "ringbolt_tls_handshakes_failed_total 6",
            "ringbolt_requests_held_back_total 8",
            "ringbolt_lifecycle_markers_added_total{shard=\"3\"} 11",
            "ringbolt_buffer_bytes{state=\"used\"} 3145728",
            "process_resident_memory_bytes 4096",
            "process_cpu_seconds_total 61.007",
            "process_start_time_seconds 1800000000.000",
            "ringbolt_s3_requests_total{operation=\"GetObject\"} 9",
            "ringbolt_s3_requests_total{operation=\"PutObject\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), types, "a family is announced once");
        let starting = render(None, &traffic, &[], &Process::default());
        assert!(starting.contains("ringbolt_ready 0") && !starting.contains("requests_total"), "{starting}");
    }

    #[test]
    fn the_process_is_known_to_the_system() {
        let now = Process::now();
        let (cpu, started) = (now.cpu.unwrap(), now.started.unwrap());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        // This test is no older than an hour, and has no more CPU than many cores have in so long.
        assert!(started < since + Duration::from_secs(2) && since - Duration::from_secs(3600) < started);
        assert!(!cpu.is_zero() && cpu < Duration::from_secs(3600 * 1000));
        assert!(now.resident_bytes.unwrap() > 1 << 20);
    }
}
