//! This module shows the results of a run: for people, for programs that read fio's output, over
//! time, and compared with another run.
//!
//! Invariants: a report is made of [`Run`] alone, so that the same run can be shown in every form.
//! No report contains a secret of a job.

pub mod compare;
pub mod fingerprint;
pub mod html;
pub mod json;
pub mod live;
pub mod logs;
pub mod normal;
#[cfg(test)]
pub mod sample;
pub mod summary;
pub mod terse;

use super::cli::OutputFormat;
use super::result::Run;
use super::spec::Engine;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes the run in each of the formats, in fio's order: terse, JSON, normal. If both kinds of
/// JSON are asked for, only the fuller one is written.
///
/// # Errors
/// Fails when `out` cannot be written.
pub fn write(run: &Run, formats: &[OutputFormat], out: &mut dyn Write) -> io::Result<()> {
    if formats.contains(&OutputFormat::Terse) {
        out.write_all(terse::text(run).as_bytes())?;
    }
    let with_bins = formats.contains(&OutputFormat::JsonPlus);
    if with_bins || formats.contains(&OutputFormat::Json) {
        out.write_all(json::text(run, with_bins).as_bytes())?;
    }
    if formats.contains(&OutputFormat::Normal) {
        out.write_all(normal::text(run).as_bytes())?;
    }
    out.flush()
}

/// Returns the text of the field "fio version": the version whose fields these are, and the program
/// that wrote them, in the form of fio's own builds between versions.
pub fn version_text() -> String {
    format!("fio-3.33-ringbolt-{}", env!("CARGO_PKG_VERSION"))
}

/// Returns the value of `ioengine`.
pub fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::IoUring => "io_uring",
        Engine::Ringbolt => "ringbolt",
        Engine::S3 => "s3",
    }
}

/// Lists the keys whose values are secret.
const SECRET_KEYS: [&str; 4] =
    ["http_s3_key", "http_pass", "http_s3_security_token", "http_swift_auth_token"];

/// Returns the options as they were written, with secrets hidden.
pub fn shown_options(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |(key, value): (&String, &String)| {
        let value = if SECRET_KEYS.contains(&key.as_str()) { "(hidden)".to_owned() } else { value.clone() };
        (key.clone(), value)
    };
    given.iter().map(shown).collect()
}

/// Returns a command line with the values of secret keys hidden, for `--key=value` and `--key
/// value`.
pub fn shown_command(arguments: &[String]) -> String {
    let mut shown = Vec::new();
    let mut hide_next = false;
    for argument in arguments {
        let name = argument.trim_start_matches('-').split('=').next().unwrap_or_default();
        let is_secret = SECRET_KEYS.contains(&name);
        if hide_next {
            shown.push("(hidden)".to_owned());
        } else if is_secret && argument.contains('=') {
            shown.push(format!("--{name}=(hidden)"));
        } else {
            shown.push(argument.clone());
        }
        hide_next = !hide_next && is_secret && !argument.contains('=');
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_report_shows_a_secret() {
        let mut run = sample::run();
        for given in [&mut run.plan.global, &mut run.jobs[0].job.given] {
            given.insert("http_s3_key".to_owned(), "verysecret".to_owned());
            given.insert("http_s3_keyid".to_owned(), "AKID".to_owned());
        }
        let mut out = Vec::new();
        write(&run, &[OutputFormat::Normal, OutputFormat::JsonPlus, OutputFormat::Terse], &mut out)
            .expect("write to memory");
        let text = String::from_utf8(out).expect("reports are text");
        assert!(!text.contains("verysecret"));
        assert!(text.contains("AKID"));
    }

    #[test]
    fn no_command_line_shows_a_secret() {
        let arguments = ["x", "--http_s3_key=abc", "--http_s3_key", "abc", "--bs=4k"].map(str::to_owned);
        assert_eq!(shown_command(&arguments), "x --http_s3_key=(hidden) --http_s3_key (hidden) --bs=4k");
    }
}
