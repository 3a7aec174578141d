//! The five checksum algorithms of S3, of whole objects, of parts, and of objects made of parts.
//!
//! Invariants: a checksum travels and is stored as base64 of its big-endian bytes; a composite one has
//! `-N` after it, N being the number of parts. What a client announced is compared before a commit, so
//! a wrong one leaves nothing behind.

use crate::auth::hash::Sha256;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest, checksum_combine};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// How the checksum of an object made of parts comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of all bytes, as if stored in one piece.
    FullObject,
    /// Of the parts' checksums.
    Composite,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// As in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Header, trailer and stored attribute of this algorithm's checksum.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn from_header(header: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// What S3 takes when an upload names no type.
    pub fn default_kind(self) -> Kind {
        if self == Self::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }

    /// CRC64NVME has no composite form, SHA checksums of parts can not be combined.
    pub fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::FullObject => !matches!(self, Self::Sha1 | Self::Sha256),
            Kind::Composite => self != Self::Crc64Nvme,
        }
    }

    /// The CRC, and the length of its checksum in bytes.
    fn crc(self) -> Option<(CrcAlgorithm, usize)> {
        match self {
            Self::Crc32 => Some((CrcAlgorithm::Crc32IsoHdlc, 4)),
            Self::Crc32c => Some((CrcAlgorithm::Crc32Iscsi, 4)),
            Self::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// A checksum in the making.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(Box<CrcDigest>, usize),
    Sha1(digest::Context),
    Sha256(Sha256),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm.crc() {
            Some((crc, length)) => State::Crc(Box::new(CrcDigest::new(crc)), length),
            None if algorithm == Algorithm::Sha1 => {
                State::Sha1(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))
            }
            None => State::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(crc, _) => crc.update(bytes),
            State::Sha1(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
        }
    }

    /// Base64 of the checksum.
    pub fn finish(self) -> String {
        match self.state {
            State::Crc(crc, length) => encode_crc(crc.finalize(), length),
            State::Sha1(sha) => BASE64.encode(sha.finish().as_ref()),
            State::Sha256(sha) => BASE64.encode(sha.finish()),
        }
    }
}

fn encode_crc(value: u64, length: usize) -> String {
    BASE64.encode(&value.to_be_bytes()[8 - length..])
}

fn decode_crc(text: &str, length: usize) -> Option<u64> {
    let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() == length)?;
    Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Base64 of the checksum of `bytes`.
pub fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The checksum of an object from those of its parts (checksum and size of each, in order). None when
/// a part's checksum is not of the algorithm, or the algorithm does not allow the kind.
pub fn of_parts(algorithm: Algorithm, kind: Kind, parts: &[(&str, u64)]) -> Option<String> {
    if !algorithm.allows(kind) || parts.is_empty() {
        return None;
    }
    match kind {
        Kind::Composite => {
            let mut hasher = Hasher::new(algorithm);
            for (checksum, _) in parts {
                hasher.update(&BASE64.decode(checksum).ok()?);
            }
            Some(format!("{}-{}", hasher.finish(), parts.len()))
        }
        Kind::FullObject => {
            let (crc, length) = algorithm.crc()?;
            let mut combined = decode_crc(parts[0].0, length)?;
            for (checksum, size) in &parts[1..] {
                combined = checksum_combine(crc, combined, decode_crc(checksum, length)?, *size);
            }
            Some(encode_crc(combined, length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        // The catalogue's check string; SHA values from FIPS 180 tools.
        let check = b"123456789";
        assert_eq!(of_bytes(Algorithm::Crc32, check), BASE64.encode(0xcbf4_3926u32.to_be_bytes()));
        assert_eq!(of_bytes(Algorithm::Crc32c, check), BASE64.encode(0xe306_9283u32.to_be_bytes()));
        assert_eq!(
            of_bytes(Algorithm::Crc64Nvme, check),
            BASE64.encode(0xae8b_1486_0a79_9888u64.to_be_bytes())
        );
        assert_eq!(of_bytes(Algorithm::Sha1, b"abc"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
        assert_eq!(of_bytes(Algorithm::Sha256, b"abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let pieces = [&bytes[..40_000], &bytes[40_000..40_001], &bytes[40_001..]];
            let sums: Vec<String> = pieces.iter().map(|piece| of_bytes(algorithm, piece)).collect();
            let parts: Vec<(&str, u64)> =
                sums.iter().zip(pieces).map(|(sum, piece)| (sum.as_str(), piece.len() as u64)).collect();
            assert_eq!(of_parts(algorithm, Kind::FullObject, &parts), Some(of_bytes(algorithm, &bytes)));
        }
    }

    #[test]
    fn composite_is_the_checksum_of_checksums() {
        let part = "arcu6553sHVAiX4MjW0j7I7vD4w6R+Gz9Ok0Q9lTa+0=";
        let whole = of_parts(Algorithm::Sha256, Kind::Composite, &[(part, 1024)]);
        assert_eq!(whole.as_deref(), Some("Ok6Cs5b96ux6+MWQkJO7UBT5sKPBeXBLwvj/hK89smg=-1"));
    }

    #[test]
    fn forbidden_and_damaged_combinations_give_nothing() {
        assert_eq!(of_parts(Algorithm::Sha1, Kind::FullObject, &[("AAAA", 1)]), None);
        assert_eq!(of_parts(Algorithm::Crc64Nvme, Kind::Composite, &[("AAAA", 1)]), None);
        assert_eq!(of_parts(Algorithm::Crc32, Kind::FullObject, &[("AAAA", 1), ("bad", 1)]), None);
    }
}
