//! This module prints the table of keys for `--cmdhelp` and `--enghelp`.

use super::error::JobError;
use super::keys::{self, Found, Key, Kind};

const WIDTH: usize = 100;

/// Lists all keys, one per line.
pub fn keys() -> String {
    let built = keys::all().filter(|key| !key.is_without_effect());
    let mut text = "Keys of a job. `--cmdhelp=KEY` tells all about one.\n\n".to_owned();
    for key in built {
        text.push_str(&format!("{:<28}{}\n", names(key), key.summary));
    }
    text.push_str(
        "\nfio's keys without effect here: what is always so, and what tunes fio itself; values that ask for something \
         else are refused:\n\n",
    );
    for key in keys::all() {
        if let Kind::Inert(values) | Kind::Tuning(values) = key.kind {
            let shown = if values.is_empty() {
                key.name.to_owned()
            } else {
                format!("{}={}", key.name, values.join("|"))
            };
            text.push_str(&format!("{shown:<44}{}\n", key.summary));
        }
    }
    text
}

/// Returns the names of a key, separated by commas; the canonical name is first.
fn names(key: &Key) -> String {
    std::iter::once(key.name).chain(key.aliases.iter().copied()).collect::<Vec<_>>().join(", ")
}

/// Describes one key in full.
///
/// # Errors
/// Fails when there is no key of this name.
pub fn key(name: &str) -> Result<String, JobError> {
    let place = super::Place::CommandLine;
    match keys::find(name) {
        Found::Built(key) => Ok(describe(key)),
        Found::NotBuilt(hint) => {
            Err(JobError::NotBuilt { place, key: name.to_owned(), hint: hint.to_owned() })
        }
        Found::Unknown(nearest) => {
            Err(JobError::UnknownKey { place, key: name.to_owned(), nearest: nearest.map(str::to_owned) })
        }
    }
}

fn describe(key: &Key) -> String {
    let mut text = format!("{}: {}\n\n", names(key), key.summary);
    let mut line = |title: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {title:<9}{value}\n"));
        }
    };
    line("type", &key.kind.to_string());
    if let Kind::Inert(values) | Kind::Tuning(values) = key.kind {
        line("values", &if values.is_empty() { "any".to_owned() } else { values.join(", ") });
    }
    line("values", key.range);
    line("default", key.default);
    line("engines", key.engines.names());
    line("example", key.example);
    if !key.text.is_empty() {
        text.push('\n');
        text.push_str(&wrapped(key.text, WIDTH));
    }
    text
}

/// Wraps words into lines of at most `width` characters, indented by two.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > width {
            lines.push('\n');
            length = 0;
        }
        lines.push_str(if length == 0 { "  " } else { " " });
        lines.push_str(word);
        length += 1 + word_length;
    }
    lines.push('\n');
    lines
}

const ENGINES: [(&str, &str); 3] = [
    (
        "io_uring",
        "Files and block devices through io_uring. filename names them, or directory says where to make them. \
         direct=1 goes past the page cache. Depth, rates, patterns, verification and flushes as in fio. fio's libaio \
         and posixaio are done so too; psync, sync, pvsync, pvsync2 and vsync by one pread or pwrite after the other, \
         mmap by copies from and to the mapped file. What differs from fio's engine of that name is said before \
         the run.",
    ),
    (
        "ringbolt",
        "The storage engine in this process, without HTTP: what an object costs before anybody asks for it \
         over a network. filename is its drive: one that exists is opened and objects are stored in its bucket \
         `bench`; a file that is missing is made, of filesize bytes. A read gets, a write puts, a trim deletes; op and \
         opmix are more exact. bs is the size of an object, objects their number.",
    ),
    (
        "s3",
        "An S3 endpoint, ours or anyone's; http is the same, as fio's engine is called. http_host is the \
         endpoint, bucket the bucket. Requests are signed. A read gets, a write puts, a trim deletes; op and opmix \
         are more exact. bs is the size of an object, objects their number, numjobs the client threads, iodepth \
         the requests each has in flight.",
    ),
];

/// Describes all engines, or one engine with its keys.
///
/// # Errors
/// Fails when there is no engine of this name.
pub fn engines(name: Option<&str>) -> Result<String, JobError> {
    let Some(name) = name else {
        let all = ENGINES.iter().map(|(name, text)| format!("{name}\n{}", wrapped(text, WIDTH)));
        return Ok(all.collect::<Vec<_>>().join("\n"));
    };
    let engine = super::values::engine(name).map_err(|reason| JobError::Option {
        option: "enghelp".to_owned(),
        reason: format!("{name}: {reason}"),
    })?;
    let (title, text) = ENGINES[engine as usize];
    let mut lines =
        format!("{title}\n{}\nKeys that only some engines look at, this one too:\n\n", wrapped(text, WIDTH));
    let own = keys::all().filter(|key| key.engines != keys::Engines::All && key.engines.include(engine));
    for key in own {
        lines.push_str(&format!("  {:<28}{}\n", names(key), key.summary));
    }
    Ok(lines)
}
