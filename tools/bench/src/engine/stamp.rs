//! This module writes and checks the headers that `verify` adds to the content of objects.
//!
//! Invariants:
//! - An object consists of pieces of [`PIECE_BYTES`], of which the last may be shorter. A piece
//!   that is long enough begins with a header: the object's number, the piece's offset, the
//!   object's length, the version, which is the same for all pieces of one write, the place where
//!   the object is stored, and a checksum over the piece without the checksum itself. The content
//!   of a shorter piece follows from number, offset and length alone.
//! - Every range that begins at a piece and ends at a piece or at the end of its object can
//!   therefore be checked by itself. Another object, another part of the same object and a mixture
//!   of two versions are detected just like a flipped bit.

use crate::spec::Checksum;
use aws_lc_rs::digest;
use ringbolt_tool_common::content::Dice;

/// A piece has this many bytes.
pub const PIECE_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"RBobject";
const SUM_AT: usize = 44;

/// Says what is wrong with a piece.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("no content of a verify job is there")]
    NoHeader,
    #[error("bytes of object {found} of this bucket are there, not of object {expected}")]
    OtherObject { found: u64, expected: u64 },
    #[error("bytes of another bucket or of other block sizes are there")]
    OtherPlace,
    #[error("the bytes of offset {found} are there")]
    OtherOffset { found: u64 },
    #[error("bytes of an object of {found} bytes are there, this one has {expected}")]
    OtherLength { found: u64, expected: u64 },
    #[error("its checksum is {found}, the content's {computed}")]
    Checksum { found: String, computed: String },
    #[error("it is of another write of this object than the pieces before it")]
    OtherVersion,
    #[error("byte {at} is {found:#04x}, {expected:#04x} was put")]
    Byte { at: u64, found: u8, expected: u8 },
}

/// Identifies an object of a job.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub number: u64,
    pub length: u64,
    /// This is a checksum of bucket and label.
    pub place: u32,
}

/// Describes a wrong piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// This is the offset of the piece in its object.
    pub offset: u64,
    pub wrong: Wrong,
}

/// Adds headers to the content of an object. `version` must differ between writes.
pub fn write(checksum: Checksum, object: &Identity, version: u64, content: &mut [u8]) {
    for (at, piece) in content.chunks_mut(PIECE_BYTES).enumerate() {
        let offset = (at * PIECE_BYTES) as u64;
        let sum_end = SUM_AT + checksum.bytes();
        if piece.len() < sum_end {
            fill_short(object, offset, piece);
            continue;
        }
        piece[..8].copy_from_slice(&MAGIC);
        for (at, word) in [(8, object.number), (16, offset), (24, object.length), (32, version)] {
            piece[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        piece[40..SUM_AT].copy_from_slice(&object.place.to_le_bytes());
        let mut sum = [0; SUM_BYTES_MAX];
        let sum = compute(checksum, piece, &mut sum);
        piece[SUM_AT..sum_end].copy_from_slice(sum);
    }
}

/// Returns the wrong pieces of `content`, which was read from `offset` of `object`.
pub fn check(checksum: Checksum, object: &Identity, offset: u64, content: &[u8]) -> Vec<Found> {
    assert!(offset.is_multiple_of(PIECE_BYTES as u64), "a range begins between pieces");
    let (mut found, mut version) = (Vec::new(), None);
    for (at, piece) in content.chunks(PIECE_BYTES).enumerate() {
        let offset = offset + (at * PIECE_BYTES) as u64;
        if let Err(wrong) = check_piece(checksum, object, offset, piece, &mut version) {
            found.push(Found { offset, wrong });
        }
    }
    found
}

fn check_piece(
    checksum: Checksum,
    object: &Identity,
    offset: u64,
    piece: &[u8],
    version: &mut Option<u64>,
) -> Result<(), Wrong> {
    let sum_end = SUM_AT + checksum.bytes();
    if piece.len() < sum_end {
        let mut expected = [0; SUM_AT + SUM_BYTES_MAX];
        let expected = &mut expected[..piece.len()];
        fill_short(object, offset, expected);
        let mut pairs = (offset..).zip(piece.iter().zip(&*expected));
        return match pairs.find(|(_, (found, expected))| found != expected) {
            Some((at, (found, expected))) => Err(Wrong::Byte { at, found: *found, expected: *expected }),
            None => Ok(()),
        };
    }
    if piece[..8] != MAGIC {
        return Err(Wrong::NoHeader);
    }
    let mut sum = [0; SUM_BYTES_MAX];
    let (found, computed) = (&piece[SUM_AT..sum_end], compute(checksum, piece, &mut sum));
    if found != computed {
        return Err(Wrong::Checksum { found: hex(found), computed: hex(computed) });
    }
    let word = |at: usize| u64::from_le_bytes(piece[at..at + 8].try_into().unwrap_or_default());
    if piece[40..SUM_AT] != object.place.to_le_bytes() {
        return Err(Wrong::OtherPlace);
    }
    if word(8) != object.number {
        return Err(Wrong::OtherObject { found: word(8), expected: object.number });
    }
    if word(24) != object.length {
        return Err(Wrong::OtherLength { found: word(24), expected: object.length });
    }
    if word(16) != offset {
        return Err(Wrong::OtherOffset { found: word(16) });
    }
    match version {
        Some(version) if *version != word(32) => Err(Wrong::OtherVersion),
        _ => {
            *version = Some(word(32));
            Ok(())
        }
    }
}

const SUM_BYTES_MAX: usize = 32;

/// Computes the checksum over a piece, without the place of the checksum.
fn compute<'a>(checksum: Checksum, piece: &[u8], into: &'a mut [u8; SUM_BYTES_MAX]) -> &'a [u8] {
    let (head, rest) = (&piece[..SUM_AT], &piece[SUM_AT + checksum.bytes()..]);
    match checksum {
        Checksum::Crc32c => {
            let crc = crc32c::crc32c_append(crc32c::crc32c(head), rest);
            into[..4].copy_from_slice(&crc.to_be_bytes());
        }
        Checksum::Sha256 => {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(head);
            context.update(rest);
            into.copy_from_slice(context.finish().as_ref());
        }
    }
    &into[..checksum.bytes()]
}

fn fill_short(object: &Identity, offset: u64, piece: &mut [u8]) {
    let seed = [object.number, object.length, offset, u64::from(object.place)];
    let seed = seed.into_iter().fold(0, |seed, word| Dice::new(seed ^ word).next());
    let mut dice = Dice::new(seed);
    for word in piece.chunks_mut(8) {
        word.copy_from_slice(&dice.next().to_le_bytes()[..word.len()]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 3 * PIECE_BYTES + 10;

    fn object(number: u64) -> Identity {
        Identity { number, length: LENGTH as u64, place: 7 }
    }

    fn content(checksum: Checksum, number: u64, version: u64) -> Vec<u8> {
        let mut content = vec![version as u8; LENGTH];
        write(checksum, &object(number), version, &mut content);
        content
    }

    #[test]
    fn every_byte_counts_in_ranges_too() {
        for checksum in [Checksum::Crc32c, Checksum::Sha256] {
            let whole = content(checksum, 5, 9);
            for (start, end) in [(0, LENGTH), (PIECE_BYTES, 2 * PIECE_BYTES), (2 * PIECE_BYTES, LENGTH)] {
                let check = |bytes: &[u8]| check(checksum, &object(5), start as u64, &bytes[start..end]);
                assert_eq!(check(&whole), []);
                for at in (start..end).step_by(61).chain([start, start + 43, start + 45, end - 1]) {
                    let mut damaged = whole.clone();
                    damaged[at] ^= 0x10;
                    let found = check(&damaged);
                    assert_eq!(found.len(), 1, "{checksum:?}: byte {at} of {start}..{end}");
                    assert_eq!(found[0].offset as usize, at / PIECE_BYTES * PIECE_BYTES);
                }
            }
        }
    }

    #[test]
    fn right_bytes_of_something_else_are_wrong() {
        let checksum = Checksum::Crc32c;
        let whole = content(checksum, 5, 9);
        let first = |object: Identity, offset: usize, bytes: &[u8]| {
            check(checksum, &object, offset as u64, bytes).first().map(|found| found.wrong.clone())
        };
        let other = content(checksum, 6, 9);
        assert_eq!(first(object(5), 0, &other), Some(Wrong::OtherObject { found: 6, expected: 5 }));
        let shifted = &whole[PIECE_BYTES..2 * PIECE_BYTES];
        assert_eq!(first(object(5), 0, shifted), Some(Wrong::OtherOffset { found: PIECE_BYTES as u64 }));
        let longer = Identity { length: 1 << 20, ..object(5) };
        assert!(matches!(first(longer, 0, &whole), Some(Wrong::OtherLength { .. })));
        assert_eq!(first(Identity { place: 8, ..object(5) }, 0, &whole), Some(Wrong::OtherPlace));
        assert_eq!(first(object(5), 0, &[0; PIECE_BYTES]), Some(Wrong::NoHeader));
        let mixed = [&whole[..PIECE_BYTES], &content(checksum, 5, 10)[PIECE_BYTES..]].concat();
        assert_eq!(first(object(5), 0, &mixed), Some(Wrong::OtherVersion));
    }

    #[test]
    fn an_object_without_room_for_a_header_is_checked_all_the_same() {
        for length in 1..100 {
            let object = Identity { number: 1, length, place: 7 };
            let mut small = vec![0; length as usize];
            write(Checksum::Sha256, &object, 3, &mut small);
            assert_eq!(check(Checksum::Sha256, &object, 0, &small), []);
            small[length as usize - 1] ^= 1;
            assert_eq!(check(Checksum::Sha256, &object, 0, &small).len(), 1, "{length}");
        }
    }
}
