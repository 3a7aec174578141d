//! Unsigned LEB128 in its shortest form only: lengths in leaves, up to 32 bits, and numbers in
//! entries, up to 64 bits.

/// Bytes of the longest encoding of a `u32`.
const SHORT_BYTES_MAX: usize = 5;
/// Bytes of the longest encoding of a `u64`.
const BYTES_MAX: usize = 10;

/// Passes the bytes of the encoded `value` to `push`, one after the other.
pub fn encode(mut value: u64, mut push: impl FnMut(u8)) {
    while value >= 0x80 {
        push(value as u8 | 0x80);
        value >>= 7;
    }
    push(value as u8);
}

/// Up to two lengths, encoded on the stack.
#[derive(Default)]
pub struct Encoded {
    bytes: [u8; 2 * SHORT_BYTES_MAX],
    length: usize,
}

impl Encoded {
    /// Encodes one length.
    pub fn one(value: usize) -> Self {
        let mut encoded = Self::default();
        encoded.push(value);
        encoded
    }

    /// Encodes two lengths, one after the other.
    pub fn two(first: usize, second: usize) -> Self {
        let mut encoded = Self::one(first);
        encoded.push(second);
        encoded
    }

    fn push(&mut self, value: usize) {
        let value = u32::try_from(value).expect("lengths in a leaf are below 4 GiB");
        encode(u64::from(value), |byte| {
            self.bytes[self.length] = byte;
            self.length += 1;
        });
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Reads a length from bytes that were checked before, and moves `at` behind it.
#[inline]
pub fn read(bytes: &[u8], at: &mut usize) -> usize {
    let first = bytes[*at];
    *at += 1;
    if first < 0x80 {
        return usize::from(first);
    }
    let mut value = usize::from(first & 0x7f);
    let mut shift = 7;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

/// Reads a number from unchecked bytes and moves `at` behind it. Returns `None` if it is cut short,
/// longer than 64 bits, or not in the shortest form.
pub fn checked_read(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for position in 0..BYTES_MAX {
        let byte = *bytes.get(*at + position)?;
        let part = u64::from(byte & 0x7f);
        value |= part << (7 * position);
        if byte < 0x80 {
            let shortest = position == 0 || byte != 0;
            let fits = value >> (7 * position) == part;
            *at += position + 1;
            return (shortest && fits).then_some(value);
        }
    }
    None
}

/// Reads a length like [`checked_read`]. It also returns `None` if the length is longer than 32
/// bits.
pub fn checked_length(bytes: &[u8], at: &mut usize) -> Option<usize> {
    checked_read(bytes, at).and_then(|value| u32::try_from(value).ok()).map(|value| value as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_at_every_width() {
        for bits in 0..=32 {
            for value in [(1u64 << bits) - 1, (1 << bits) / 2, (1u64 << bits).min(u64::from(u32::MAX))] {
                let value = value as usize;
                let encoded = Encoded::two(value, 7);
                let (mut trusted, mut checked) = (0, 0);
                assert_eq!(read(encoded.as_slice(), &mut trusted), value);
                assert_eq!(checked_length(encoded.as_slice(), &mut checked), Some(value));
                assert_eq!(trusted, checked);
                assert_eq!(read(encoded.as_slice(), &mut trusted), 7);
                assert_eq!(trusted, encoded.as_slice().len());
            }
        }
    }

    #[test]
    fn long_numbers_survive_at_every_width() {
        for bits in 0..64 {
            for value in [(1u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let (mut bytes, mut at) = (Vec::new(), 0);
                encode(value, |byte| bytes.push(byte));
                assert_eq!((checked_read(&bytes, &mut at), at), (Some(value), bytes.len()));
            }
        }
    }

    #[test]
    fn odd_forms_are_refused() {
        let too_wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff; 9], &[0xff; 11], &too_wide] {
            assert_eq!(checked_read(bytes, &mut 0), None, "{bytes:?}");
        }
        assert_eq!(checked_length(&[0xff, 0xff, 0xff, 0xff, 0x1f], &mut 0), None);
    }
}
