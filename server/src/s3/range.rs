//! The Range header of GET and HEAD, and the range of a copied part.
//!
//! Invariants:
//! - A resolved range lies within the object, and is empty only for the last bytes of an empty
//!   object, which are the whole of it (RFC 9110, 14.1.2).
//! - A header that asks for several ranges, or that does not parse, is ignored as RFC 9110, 14.2
//!   allows and S3 does: the whole object is the answer.

/// A range of a `bytes=` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// The range `first-` or `first-last`, both inclusive.
    From { first: u64, last: Option<u64> },
    /// The range `-length`: the last `length` bytes.
    Suffix(u64),
}

/// A range that was resolved against an object's size, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub length: u64,
}

impl Span {
    /// Returns the value of Content-Range for this span of `size_bytes`. The span must not be
    /// empty.
    pub fn content_range(self, size_bytes: u64) -> String {
        format!("bytes {}-{}/{}", self.offset, self.offset + self.length - 1, size_bytes)
    }
}

/// No byte of the object lies in the range, which is answered with 416.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsatisfiable;

/// Returns the one range of a header, or None if it has several or none that parses.
pub fn parse(header: &str) -> Option<ByteRange> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return digits(last).map(ByteRange::Suffix);
    }
    let first = digits(first)?;
    if last.is_empty() {
        return Some(ByteRange::From { first, last: None });
    }
    let last = digits(last)?;
    (first <= last).then_some(ByteRange::From { first, last: Some(last) })
}

/// Parses digits alone: `u64::from_str` would take a plus sign as well.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit mean "beyond any object", not "not a number".
    Some(text.parse().unwrap_or(u64::MAX))
}

impl ByteRange {
    /// Returns the bytes of an object of `size_bytes` that the range covers. Fails if there are
    /// none.
    pub fn resolve(self, size_bytes: u64) -> Result<Span, Unsatisfiable> {
        match self {
            Self::From { first, .. } if first >= size_bytes => Err(Unsatisfiable),
            Self::From { first, last } => {
                let last = last.map_or(size_bytes - 1, |last| last.min(size_bytes - 1));
                Ok(Span { offset: first, length: last - first + 1 })
            }
            Self::Suffix(0) => Err(Unsatisfiable),
            Self::Suffix(length) => {
                let length = length.min(size_bytes);
                Ok(Span { offset: size_bytes - length, length })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(header: &str, size: u64) -> Option<Result<(u64, u64), Unsatisfiable>> {
        parse(header).map(|range| range.resolve(size).map(|span| (span.offset, span.length)))
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(resolve("bytes=0-0", 10), Some(Ok((0, 1))));
        assert_eq!(resolve("bytes=4-7", 10), Some(Ok((4, 4))));
        assert_eq!(resolve("bytes=4-", 10), Some(Ok((4, 6))));
        assert_eq!(resolve("bytes=4-99", 10), Some(Ok((4, 6))));
        assert_eq!(resolve("bytes=-3", 10), Some(Ok((7, 3))));
        assert_eq!(resolve("bytes=-30", 10), Some(Ok((0, 10))));
        assert_eq!(resolve("bytes=9-18446744073709551616", 10), Some(Ok((9, 1))));
    }

    #[test]
    fn ranges_beyond_the_object_are_unsatisfiable() {
        for header in ["bytes=10-", "bytes=40-50", "bytes=-0"] {
            assert_eq!(resolve(header, 10), Some(Err(Unsatisfiable)), "{header}");
        }
        assert_eq!(resolve("bytes=0-", 0), Some(Err(Unsatisfiable)));
        assert_eq!(resolve("bytes=-0", 0), Some(Err(Unsatisfiable)));
    }

    #[test]
    fn the_last_bytes_of_an_empty_object_are_all_of_it() {
        assert_eq!(resolve("bytes=-5", 0), Some(Ok((0, 0))));
    }

    #[test]
    fn several_ranges_and_nonsense_are_ignored() {
        for header in
            ["bytes=0-1,3-4", "bytes=7-4", "bytes=+1-4", "bytes=", "bytes=-", "items=0-1", "0-1", "bytes=a-b"]
        {
            assert_eq!(parse(header), None, "{header}");
        }
    }

    #[test]
    fn content_range_is_inclusive() {
        assert_eq!(Span { offset: 4, length: 4 }.content_range(11), "bytes 4-7/11");
    }
}
