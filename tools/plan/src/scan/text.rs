//! This module reads the output of `aws s3 ls --recursive`: date, time, size, key.
//!
//! Invariant: a line that is not valid is an error with its number; none is skipped. With
//! `--summarize`, the number of objects at the end must be the number of lines.

use super::collector::{Collector, Listed};
use super::error::ScanError;
use super::progress::Progress;
use std::io::{BufRead, Read};
use std::path::Path;

/// A key has at most 1024 bytes.
const LINE_BYTES_MAX: u64 = 16 << 10;
const SHOWN_CHARACTERS: usize = 120;
/// Progress is reported after this many lines.
const LINES_A_STEP: u64 = 4096;
/// This is the form of `2026-11-21 18:44:02`.
const DATE: &[u8] = b"0000-00-00 00:00:00";
const FORM: &str = "a date, a time, a size in bytes and a key, as `aws s3 ls --recursive` prints them";
const ROUNDED: &str = "a size in whole bytes, but --human-readable rounds sizes: list again without it";
const FOLDER: &str = "objects, but this is a folder: list again with --recursive";
const SUMMARY: &str = "as many objects as lines: the listing is not whole";

/// This is a valid line.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Object {
        size_bytes: u64,
        key: &'a [u8],
    },
    /// This is the number of objects that `--summarize` prints.
    Objects(u64),
    Nothing,
}

/// Adds every object in `reader` to `collector`; `path` is for messages.
///
/// # Errors
/// Fails when it cannot be read, or when a line is not valid.
pub fn scan(
    mut reader: impl BufRead,
    path: &Path,
    collector: &mut Collector,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let (mut bytes, mut number, mut since_summary) = (Vec::new(), 0, 0);
    loop {
        bytes.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        let length = read.map_err(|source| ScanError::Read { path: path.to_owned(), source })?;
        if length == 0 {
            return Ok(());
        }
        number += 1;
        let wrong = |expected| {
            let found = String::from_utf8_lossy(&bytes).trim_end().chars().take(SHOWN_CHARACTERS).collect();
            ScanError::Line { path: path.to_owned(), line: number, found, expected }
        };
        if length as u64 == LINE_BYTES_MAX {
            return Err(wrong("a line of at most 16 KiB"));
        }
        match parse(&bytes).map_err(wrong)? {
            Line::Object { size_bytes, key } => {
                collector.add(&Listed { key, size_bytes, ..Listed::default() })?;
                since_summary += 1;
            }
            Line::Objects(count) if count != since_summary => return Err(wrong(SUMMARY)),
            Line::Objects(_) => since_summary = 0,
            Line::Nothing => {}
        }
        if number % LINES_A_STEP == 0 {
            progress(Progress { objects: collector.objects(), total_bytes: collector.total_bytes() });
        }
    }
}

/// Parses a line. The error says what was expected.
fn parse(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() || trimmed.starts_with(b"Total Size:") {
        return Ok(Line::Nothing);
    }
    if let Some(count) = trimmed.strip_prefix(b"Total Objects:") {
        return number(count.trim_ascii()).map(Line::Objects).ok_or(FORM);
    }
    if trimmed.starts_with(b"PRE ") {
        return Err(FOLDER);
    }
    let (date, rest) = line.split_at_checked(DATE.len()).ok_or(FORM)?;
    let is_date = date.iter().zip(DATE).all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        form => found == form,
    });
    if !is_date || !rest.starts_with(b" ") {
        return Err(FORM);
    }
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(|&byte| byte == b' ').ok_or(FORM)?;
    // A key may begin with blanks: only one blank is the separator.
    let (size, key) = (&rest[..end], &rest[end + 1..]);
    let is_rounded = size.contains(&b'.') || key.starts_with(b"Bytes ") || key.starts_with(b"Byte ");
    let size_bytes = number(size).filter(|_| !is_rounded).ok_or(if is_rounded { ROUNDED } else { FORM })?;
    if key.is_empty() { Err(FORM) } else { Ok(Line::Object { size_bytes, key }) }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Result<Collector, String> {
        let mut collector = Collector::default();
        let outcome = scan(text.as_bytes(), Path::new("ls.txt"), &mut collector, &mut |_| {});
        outcome.map(|()| collector).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_every_kind_are_understood() {
        let text = "2026-11-21 18:44:02          0 folder/\n2026-11-21 18:44:02       1234 a key  with blanks \r\n\
            2026-11-21 18:44:02 123456789012 large\n2026-11-21 18:44:02          7  blank first\n\
            \nTotal Objects: 4\n   Total Size: 123456790253\n";
        let collector = scanned(text).unwrap();
        assert_eq!((collector.objects(), collector.total_bytes()), (4, 123_456_789_012 + 1241));
        let key = parse(b"2026-11-21 18:44:02          7  blank first\n").unwrap();
        assert_eq!(key, Line::Object { size_bytes: 7, key: b" blank first" });
    }

    #[test]
    fn a_line_that_is_none_is_named_with_its_number() {
        let good = "2026-11-21 18:44:02       1234 key\n";
        for (line, expected) in [
            ("2026-11-21 18:44:02    1.2 KiB key", "--human-readable"),
            ("2026-11-21 18:44:02  100 Bytes key", "--human-readable"),
            ("2026-11-21 18:44:02    1 Byte key", "--human-readable"),
            ("                           PRE photos/", "--recursive"),
            ("hello", "a date, a time"),
            ("2026-11-21 18:44:02", "a date, a time"),
            ("2026-11-21 18:44:02 12", "a date, a time"),
            ("2026-11-21 18:44:02 12 ", "a date, a time"),
            ("2026-11-21 18:44:02 -12 key", "a date, a time"),
            ("2026-11-21T18:44:02 12 key", "a date, a time"),
            ("2026-11-21 18:44:02 99999999999999999999 key", "a date, a time"),
            ("Total Objects: 2", "not whole"),
        ] {
            let error = scanned(&format!("{good}{line}\n")).unwrap_err();
            assert!(error.starts_with("ls.txt, line 2: ") && error.contains(expected), "{line}: {error}");
        }
        let long = scanned(&"x".repeat(1 << 20)).unwrap_err();
        assert!(long.contains("line 1") && long.contains("16 KiB") && long.len() < 400, "{long}");
    }
}
