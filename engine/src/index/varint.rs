//! Unsigned LEB128, at most 32 bits wide, only in its shortest form.

/// Bytes of the longest encoding of a `u32`.
pub const MAX_BYTES: usize = 5;

/// Up to two numbers, encoded on the stack.
#[derive(Default)]
pub struct Encoded {
    bytes: [u8; 2 * MAX_BYTES],
    length: usize,
}

impl Encoded {
    pub fn one(value: usize) -> Self {
        let mut encoded = Self::default();
        encoded.push(value);
        encoded
    }

    pub fn two(first: usize, second: usize) -> Self {
        let mut encoded = Self::one(first);
        encoded.push(second);
        encoded
    }

    fn push(&mut self, value: usize) {
        let mut rest = u32::try_from(value).expect("lengths in a leaf are below 4 GiB");
        while rest >= 0x80 {
            self.bytes[self.length] = rest as u8 | 0x80;
            self.length += 1;
            rest >>= 7;
        }
        self.bytes[self.length] = rest as u8;
        self.length += 1;
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Reads from bytes that were checked before; moves `at` behind the number.
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

/// Reads from bytes that may be anything. `None`: cut short, over 32 bits, or not in the shortest form.
pub fn checked_read(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0u64;
    for position in 0..MAX_BYTES {
        let byte = *bytes.get(*at + position)?;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            let shortest = position == 0 || byte != 0;
            *at += position + 1;
            return if shortest { u32::try_from(value).ok().map(|value| value as usize) } else { None };
        }
    }
    None
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
                assert_eq!(checked_read(encoded.as_slice(), &mut checked), Some(value));
                assert_eq!(trusted, checked);
                assert_eq!(read(encoded.as_slice(), &mut trusted), 7);
                assert_eq!(trusted, encoded.as_slice().len());
            }
        }
    }

    #[test]
    fn odd_forms_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0xff; 6]] {
            assert_eq!(checked_read(bytes, &mut 0), None, "{bytes:?}");
        }
    }
}
