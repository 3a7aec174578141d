//! This module parses the head of a response: as much of HTTP/1.1 (RFC 9112) as a client of S3
//! needs, without allocating.
//!
//! Invariant: a response whose length is not certain is refused, never guessed.

use std::ops::Range;

/// Longer heads are refused.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// Says how the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// The body ends when the connection does.
    ToEnd,
}

/// Describes a response before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub framing: Framing,
    /// Says that the server closes the connection after this response.
    pub closes: bool,
    /// This is the position of the ETag, including the quotes.
    pub etag: Range<usize>,
    /// This is the position of the value of Content-Range.
    pub content_range: Range<usize>,
    /// This is the position of the body's first byte.
    pub end: usize,
}

/// Says why a response is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of HTTP/1.1: {0}")]
pub struct Malformed(pub &'static str);

/// Parses the head at the start of `bytes`; returns `None` until it is complete.
///
/// # Errors
/// Fails when the response is not HTTP/1.x, or when its length is not certain.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some((line, mut at)) = next_line(bytes, 0) else { return too_long(bytes) };
    let mut head = status_line(&bytes[line])?;
    let mut length = None;
    loop {
        let Some((line, next)) = next_line(bytes, at) else { return too_long(bytes) };
        if line.is_empty() {
            head.end = next;
            break;
        }
        field(&mut head, &mut length, bytes, line)?;
        at = next;
    }
    // A transfer coding overrides a length (RFC 9112, 6.3).
    if head.framing != Framing::Chunked
        && let Some(length) = length
    {
        head.framing = Framing::Length(length);
    }
    if matches!(head.status, 100..=199 | 204 | 304) {
        head.framing = Framing::Length(0);
    }
    Ok(Some(head))
}

fn too_long(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    if bytes.len() >= HEAD_BYTES_MAX { Err(Malformed("its head is longer than 32 KiB")) } else { Ok(None) }
}

/// Returns the line from `at` without its end, and the position of the next line.
fn next_line(bytes: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let length = bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
    let end = at + length;
    let without_return = if length > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
    Some((at..without_return, end + 1))
}

fn status_line(line: &[u8]) -> Result<Head, Malformed> {
    let version = line.get(..8).ok_or(Malformed("its first line is short"))?;
    if !version.starts_with(b"HTTP/1.") || line.get(8) != Some(&b' ') {
        return Err(Malformed("its first line does not begin with HTTP/1."));
    }
    let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let digits = digits.ok_or(Malformed("its status is not three digits"))?;
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok(Head {
        status,
        framing: Framing::ToEnd,
        closes: version[7] == b'0',
        etag: 0..0,
        content_range: 0..0,
        end: 0,
    })
}

fn field(
    head: &mut Head,
    length: &mut Option<u64>,
    bytes: &[u8],
    line: Range<usize>,
) -> Result<(), Malformed> {
    let text = &bytes[line.clone()];
    // Only five headers matter; their first letters exclude most others before anything is
    // compared.
    if !matches!(text[0] | 0x20, b'c' | b't' | b'e') {
        return Ok(());
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return Err(Malformed("a header has no colon"));
    };
    let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
    let place = || {
        let start = line.end - text[colon + 1..].trim_ascii_start().len();
        start..start + value.len()
    };
    if name.eq_ignore_ascii_case(b"content-length") {
        let parsed = decimal(value).ok_or(Malformed("Content-Length is not a number"))?;
        if length.is_some_and(|earlier| earlier != parsed) {
            return Err(Malformed("it has two lengths"));
        }
        *length = Some(parsed);
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed("its transfer coding is not chunked"));
        }
        head.framing = Framing::Chunked;
    } else if name.eq_ignore_ascii_case(b"connection") {
        if value.eq_ignore_ascii_case(b"close") {
            head.closes = true;
        } else if value.eq_ignore_ascii_case(b"keep-alive") {
            head.closes = false;
        }
    } else if name.eq_ignore_ascii_case(b"etag") {
        head.etag = place();
    } else if name.eq_ignore_ascii_case(b"content-range") {
        head.content_range = place();
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_only_at_its_empty_line() {
        let text = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-LENGTH: 5\r\nETag:  \"abc\" \r\n\
            content-range: bytes 0-4/9\r\n\r\nhello";
        for cut in 0..text.len() - 5 {
            assert_eq!(parse(&text[..cut]), Ok(None), "{cut}");
        }
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.status, head.framing, head.closes), (200, Framing::Length(5), false));
        assert_eq!(&text[head.etag], b"\"abc\"");
        assert_eq!(&text[head.content_range], b"bytes 0-4/9");
        assert_eq!(&text[head.end..], b"hello");
    }

    #[test]
    fn the_length_of_a_body_is_certain_or_refused() {
        let framing = |rest: &str| {
            parse(format!("HTTP/1.1 {rest}\r\n\r\n").as_bytes()).map(|head| head.unwrap().framing)
        };
        assert_eq!(framing("204 No Content"), Ok(Framing::Length(0)));
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: chunked"), Ok(Framing::Chunked));
        assert_eq!(
            framing("200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"),
            Ok(Framing::Chunked)
        );
        assert_eq!(framing("200 OK"), Ok(Framing::ToEnd));
        assert!(framing("200 OK\r\nContent-Length: 3\r\nContent-Length: 4").is_err());
        assert!(framing("200 OK\r\nContent-Length: -3").is_err());
        assert!(framing("200 OK\r\nTransfer-Encoding: gzip").is_err());
    }

    #[test]
    fn the_end_of_a_connection_is_noticed() {
        let closes = |text: &str| parse(text.as_bytes()).unwrap().unwrap().closes;
        assert!(closes("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n"));
        assert!(closes("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(!closes("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconn\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(&vec![b'a'; HEAD_BYTES_MAX]).is_err());
    }
}
