//! This module decodes chunked bodies (RFC 9112, 7.1), which servers use for content that they
//! generate while sending it.

use super::head::Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The decoder is within the digits of a chunk's length.
    Length {
        digits: u8,
    },
    /// The decoder is after the digits, before the end of the line.
    Extension,
    Data,
    /// The decoder is in the line end after the data.
    DataEnd,
    /// The decoder is in the lines after the last chunk; `length` counts the bytes of the current
    /// line.
    Trailer {
        length: u32,
    },
    Done,
}

/// Decodes a chunked body that arrives in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    state: State,
    left: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Length { digits: 0 }, left: 0 }
    }
}

impl Decoder {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `bytes`, passes the data in them to `sink`, and returns how many bytes belong to
    /// this body.
    ///
    /// # Errors
    /// Fails when the bytes are no valid chunks.
    pub fn take(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let count = self.left.min((bytes.len() - at) as u64) as usize;
                sink(&bytes[at..at + count]);
                at += count;
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Length { digits: 0 }, b'\n') => return Err(Malformed("a chunk has no length")),
            (State::Length { .. } | State::Extension, b'\n') if self.left == 0 => {
                State::Trailer { length: 0 }
            }
            (State::Length { .. } | State::Extension, b'\n') => State::Data,
            (State::Length { digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err(Malformed("a chunk's length is too long"));
                }
                self.left = self.left << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or(0));
                State::Length { digits: digits + 1 }
            }
            (State::Length { digits: 1.. }, b';' | b' ' | b'\r') | (State::Extension, _) => State::Extension,
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Length { digits: 0 },
            (State::Trailer { length: 0 }, b'\n') => State::Done,
            (State::Trailer { .. }, b'\n') => State::Trailer { length: 0 },
            (State::Trailer { length }, b'\r') => State::Trailer { length },
            (State::Trailer { length }, _) => State::Trailer { length: length.saturating_add(1) },
            _ => return Err(Malformed("a body in chunks breaks their rules")),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut decoder, mut body, mut used) = (Decoder::default(), Vec::new(), 0);
        for piece in pieces {
            used += decoder.take(piece, &mut |data| body.extend_from_slice(data))?;
        }
        Ok((body, used, decoder.is_done()))
    }

    #[test]
    fn a_body_comes_out_however_it_was_cut() {
        let text = b"4\r\nWiki\r\n6;name=value\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\n\r\n";
        for cut in 0..text.len() {
            let whole = decode(&[&text[..cut], &text[cut..]]).unwrap();
            assert_eq!(whole, (b"Wikipedia in \r\n\r\nchunks.".to_vec(), text.len(), true), "{cut}");
            assert!(!decode(&[&text[..cut]]).unwrap().2, "{cut}");
        }
    }

    #[test]
    fn what_follows_a_body_is_left() {
        let (body, used, done) = decode(&[b"1\r\nx\r\n0\r\n\r\nHTTP/1.1"]).unwrap();
        assert_eq!((&body[..], used, done), (&b"x"[..], 11, true));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in ["\r\n", "g\r\n", "1\r\nxy\r\n", "fffffffffffffffff\r\n"] {
            assert!(decode(&[text.as_bytes()]).is_err(), "{text}");
        }
    }
}
