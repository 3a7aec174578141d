//! The checksum algorithms of S3: checksums of whole objects, of parts, and of objects made of
//! parts.
//!
//! Invariants:
//! - All that is known of an algorithm is its row of [`TABLE`]; nothing else lists them.
//! - A checksum travels, and is stored with an object, as base64 of its big-endian bytes. A
//!   composite one has `-N` after it, N being the number of parts. That of a part is stored as
//!   [`PartChecksum`].
//! - What a client announced is compared before a commit, so a wrong checksum leaves nothing
//!   behind.

use crate::auth::hash::{Md5, Sha256};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest, checksum_combine};
use std::hash::Hasher as _;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

/// The checksum algorithms of S3. What lies on drives names them by this order, so a new one goes to
/// the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

/// How the checksum of an object that is made of parts is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The checksum is that of all bytes, as if they were stored in one piece.
    FullObject,
    /// The checksum is that of the parts' checksums.
    Composite,
}

impl Kind {
    /// Returns the name that S3 has for this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// Returns the one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// What the names of the headers, trailers and stored attributes of checksums begin with.
pub const HEADER_PREFIX: &str = "x-amz-checksum-";

/// What is known of an algorithm.
struct Row {
    algorithm: Algorithm,
    /// The name, as in `x-amz-checksum-algorithm`.
    name: &'static str,
    /// The name of the header, of the trailer and of the stored attribute.
    header: &'static str,
    /// The name of the element in XML.
    element: &'static str,
    /// The length of the checksum in bytes, before base64.
    length_bytes: usize,
    /// The kinds that an object made of parts may have, the default first. Only CRCs of parts can
    /// be combined to that of the whole, and CRC64NVME has no composite form.
    kinds: &'static [Kind],
    function: Function,
}

/// What computes a checksum.
#[derive(Clone, Copy)]
enum Function {
    Crc(CrcAlgorithm),
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

const COMPOSITE: &[Kind] = &[Kind::Composite];
const BOTH: &[Kind] = &[Kind::Composite, Kind::FullObject];
const FULL_OBJECT: &[Kind] = &[Kind::FullObject];

/// A row but for its algorithm: name, header, element, length, kinds, function.
type Cells = (&'static str, &'static str, &'static str, usize, &'static [Kind], Function);

/// All algorithms, in the order of [`Algorithm`].
#[rustfmt::skip]
static TABLE: [Row; 10] = [
    row(Algorithm::Crc32, ("CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4, BOTH,
        Function::Crc(CrcAlgorithm::Crc32IsoHdlc))),
    row(Algorithm::Crc32c, ("CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4, BOTH,
        Function::Crc(CrcAlgorithm::Crc32Iscsi))),
    row(Algorithm::Crc64Nvme, ("CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8, FULL_OBJECT,
        Function::Crc(CrcAlgorithm::Crc64Nvme))),
    row(Algorithm::Sha1, ("SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20, COMPOSITE,
        Function::Sha1)),
    row(Algorithm::Sha256, ("SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32, COMPOSITE,
        Function::Sha256)),
    row(Algorithm::Sha512, ("SHA512", "x-amz-checksum-sha512", "ChecksumSHA512", 64, COMPOSITE,
        Function::Sha512)),
    row(Algorithm::Md5, ("MD5", "x-amz-checksum-md5", "ChecksumMD5", 16, COMPOSITE,
        Function::Md5)),
    row(Algorithm::XxHash64, ("XXHASH64", "x-amz-checksum-xxhash64", "ChecksumXXHASH64", 8, COMPOSITE,
        Function::XxHash64)),
    row(Algorithm::XxHash3, ("XXHASH3", "x-amz-checksum-xxhash3", "ChecksumXXHASH3", 8, COMPOSITE,
        Function::XxHash3)),
    row(Algorithm::XxHash128, ("XXHASH128", "x-amz-checksum-xxhash128", "ChecksumXXHASH128", 16, COMPOSITE,
        Function::XxHash128)),
];

const fn row(algorithm: Algorithm, cells: Cells) -> Row {
    let (name, header, element, length_bytes, kinds, function) = cells;
    Row { algorithm, name, header, element, length_bytes, kinds, function }
}

impl Algorithm {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Returns all algorithms.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().map(|row| row.algorithm)
    }

    /// The name, as in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the name of the header, trailer and stored attribute of this algorithm's checksum.
    pub fn header(self) -> &'static str {
        self.row().header
    }

    /// Returns the name of the XML element that holds this algorithm's checksum.
    pub fn element(self) -> &'static str {
        self.row().element
    }

    /// Returns the one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Returns the algorithm whose header has this name, in lower case.
    pub fn from_header(header: &str) -> Option<Self> {
        // Most names that are asked for are not those of checksums.
        if !header.starts_with(HEADER_PREFIX) {
            return None;
        }
        Self::all().find(|algorithm| algorithm.header() == header)
    }

    /// Returns the algorithm whose XML element has this name.
    pub fn from_element(element: &str) -> Option<Self> {
        Self::all().find(|algorithm| algorithm.element() == element)
    }

    /// Returns the kind that S3 takes when an upload names none.
    pub fn default_kind(self) -> Kind {
        self.row().kinds[0]
    }

    /// Returns whether an object made of parts may have a checksum of this kind.
    pub fn allows(self, kind: Kind) -> bool {
        self.row().kinds.contains(&kind)
    }

    /// Returns whether `text` is base64 of as many bytes as this algorithm's checksums have.
    pub fn is_value(self, text: &str) -> bool {
        BASE64.decode(text).is_ok_and(|bytes| bytes.len() == self.row().length_bytes)
    }

    /// Returns whether `text` is a value, or one with the number of parts after it.
    pub fn is_value_of_parts(self, text: &str) -> bool {
        let (value, parts) = text.split_once('-').unwrap_or((text, "1"));
        self.is_value(value) && parts.parse::<u16>().is_ok()
    }
}

/// The checksum of a part, as it is stored: the number of its algorithm, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartChecksum<'a> {
    pub algorithm: Algorithm,
    pub digest: &'a [u8],
}

impl<'a> PartChecksum<'a> {
    /// Reads the checksum that is stored with a part. Returns None if there is none.
    pub fn stored(bytes: &'a [u8]) -> Option<Self> {
        let (code, digest) = bytes.split_first()?;
        let row = TABLE.get(usize::from(code.checked_sub(1)?))?;
        let algorithm = row.algorithm;
        (digest.len() == row.length_bytes).then_some(Self { algorithm, digest })
    }

    /// Returns the bytes to store for a computed checksum in base64.
    pub fn to_store(algorithm: Algorithm, checksum: &str) -> Vec<u8> {
        let mut bytes = vec![algorithm as u8 + 1];
        let decoded = BASE64.decode_vec(checksum, &mut bytes);
        debug_assert!(
            decoded.is_ok() && PartChecksum::stored(&bytes).is_some(),
            "{checksum:?} is no checksum"
        );
        bytes
    }

    /// Returns the checksum in base64.
    pub fn text(self) -> String {
        BASE64.encode(self.digest)
    }
}

/// Computes a checksum of bytes that come in pieces.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc(Box<CrcDigest>),
    /// The state of SHA-1 or SHA-512.
    Sha(digest::Context),
    Sha256(Sha256),
    Md5(Md5),
    XxHash64(XxHash64),
    XxHash3(Box<XxHash3_64>),
    XxHash128(Box<XxHash3_128>),
}

impl Hasher {
    /// Begins a checksum.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm.row().function {
            Function::Crc(crc) => State::Crc(Box::new(CrcDigest::new(crc))),
            Function::Sha1 => State::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
            Function::Sha512 => State::Sha(digest::Context::new(&digest::SHA512)),
            Function::Sha256 => State::Sha256(Sha256::new()),
            Function::Md5 => State::Md5(Md5::new()),
            Function::XxHash64 => State::XxHash64(XxHash64::with_seed(0)),
            Function::XxHash3 => State::XxHash3(Box::new(XxHash3_64::new())),
            Function::XxHash128 => State::XxHash128(Box::new(XxHash3_128::new())),
        };
        Self { algorithm, state }
    }

    /// Returns the algorithm of this checksum.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Adds bytes to the checksum.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(crc) => crc.update(bytes),
            State::Sha(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
            State::Md5(md5) => md5.update(bytes),
            State::XxHash64(xxhash) => xxhash.write(bytes),
            State::XxHash3(xxhash) => xxhash.write(bytes),
            State::XxHash128(xxhash) => xxhash.write(bytes),
        }
    }

    /// Returns the checksum of all bytes that were added, in base64.
    pub fn finish(self) -> String {
        match self.state {
            State::Crc(crc) => encode_crc(crc.finalize(), self.algorithm.row().length_bytes),
            State::Sha(sha) => BASE64.encode(sha.finish().as_ref()),
            State::Sha256(sha) => BASE64.encode(sha.finish()),
            State::Md5(md5) => encode_md5(&md5.finish()),
            State::XxHash64(xxhash) => BASE64.encode(xxhash.finish().to_be_bytes()),
            State::XxHash3(xxhash) => BASE64.encode(xxhash.finish().to_be_bytes()),
            State::XxHash128(xxhash) => BASE64.encode(xxhash.finish_128().to_be_bytes()),
        }
    }
}

/// Returns the checksum of [`Algorithm::Md5`], from the MD5 that a body's ETag is made of anyway.
pub fn encode_md5(md5: &[u8; 16]) -> String {
    BASE64.encode(md5)
}

fn encode_crc(value: u64, length: usize) -> String {
    BASE64.encode(&value.to_be_bytes()[8 - length..])
}

fn decode_crc(bytes: &[u8], length: usize) -> Option<u64> {
    let whole = bytes.len() == length;
    whole.then(|| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Returns whether the checksum that a header of this name and value declares is that of an empty
/// body, or None if it declares none.
pub fn declares_empty(header: &str, value: &[u8]) -> Option<bool> {
    Algorithm::from_header(header).map(|algorithm| of_bytes(algorithm, b"").as_bytes() == value)
}

/// Returns the checksum of `bytes`, in base64.
pub fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Computes the checksum of an object from those of its parts: checksum and size in bytes of each,
/// in order. Returns None if a part's checksum is not of the algorithm, or if the algorithm does
/// not allow the kind.
pub fn of_parts(algorithm: Algorithm, kind: Kind, parts: &[(&[u8], u64)]) -> Option<String> {
    if !algorithm.allows(kind) || parts.is_empty() {
        return None;
    }
    match kind {
        Kind::Composite => {
            let mut hasher = Hasher::new(algorithm);
            for (checksum, _) in parts {
                hasher.update(checksum);
            }
            Some(format!("{}-{}", hasher.finish(), parts.len()))
        }
        Kind::FullObject => {
            let Row { function: Function::Crc(crc), length_bytes: length, .. } = *algorithm.row() else {
                return None;
            };
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
    fn the_table_is_in_the_order_of_the_algorithms_and_its_names_are_of_one_kind() {
        for (number, row) in TABLE.iter().enumerate() {
            assert_eq!(row.algorithm as usize, number, "{}", row.name);
            assert_eq!(row.header, format!("{HEADER_PREFIX}{}", row.name.to_ascii_lowercase()));
            assert_eq!(row.element, format!("Checksum{}", row.name));
            let computed = of_bytes(row.algorithm, b"abc");
            assert!(row.algorithm.is_value(&computed), "{}: {computed}", row.name);
            assert_eq!(
                matches!(row.function, Function::Crc(_)),
                row.kinds.contains(&Kind::FullObject),
                "{}",
                row.name
            );
            assert_eq!(Algorithm::from_header(row.header), Some(row.algorithm));
            assert_eq!(Algorithm::from_element(row.element), Some(row.algorithm));
            assert_eq!(Algorithm::from_name(&row.name.to_ascii_lowercase()), Some(row.algorithm));
        }
        assert_eq!(Algorithm::from_header("x-amz-checksum-type"), None);
    }

    fn raw(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
        BASE64.decode(of_bytes(algorithm, bytes)).unwrap()
    }

    #[test]
    fn checksums_of_parts_are_stored_and_come_back() {
        for (number, algorithm) in (1..).zip(Algorithm::all()) {
            let text = of_bytes(algorithm, b"part");
            let stored = PartChecksum::to_store(algorithm, &text);
            assert_eq!(stored, [&[number][..], &raw(algorithm, b"part")].concat());
            let read = PartChecksum::stored(&stored).unwrap();
            assert_eq!((read.algorithm, read.text()), (algorithm, text));
            assert_eq!(PartChecksum::stored(&stored[..stored.len() - 1]), None);
        }
        assert_eq!(PartChecksum::to_store(Algorithm::Sha256, &of_bytes(Algorithm::Sha256, b""))[0], 5);
        for none in [&[][..], &[0], &[0, 1, 2, 3, 4], &[11; 9]] {
            assert_eq!(PartChecksum::stored(none), None, "{none:?}");
        }
    }

    #[test]
    fn published_check_values() {
        // The catalogue's check string; SHA values from FIPS 180, MD5 from RFC 1321; XXH64 and XXH3
        // of xxHash 0.8.
        let check = b"123456789";
        let hex = |algorithm| BASE64.decode(of_bytes(algorithm, check)).map(hex::encode).unwrap();
        assert_eq!(hex(Algorithm::Crc32), "cbf43926");
        assert_eq!(hex(Algorithm::Crc32c), "e3069283");
        assert_eq!(hex(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(Algorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(hex(Algorithm::XxHash64), "8cb841db40e6ae83");
        assert_eq!(hex(Algorithm::XxHash3), "72dcb18b67a17dff");
        assert_eq!(hex(Algorithm::XxHash128), "33119477ede5dcd5e9716427681d5860");
        assert_eq!(of_bytes(Algorithm::Sha1, b"abc"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
        assert_eq!(of_bytes(Algorithm::Sha256, b"abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(
            of_bytes(Algorithm::Sha512, b"abc"),
            "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
        );
    }

    #[test]
    fn pieces_sum_like_the_whole() {
        let bytes: Vec<u8> = (0..3000u32).map(|n| (n * 13) as u8).collect();
        for algorithm in Algorithm::all() {
            for cut in [0, 1, 31, 240, 255, 1024, 3000] {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes[..cut]);
                hasher.update(&bytes[cut..]);
                assert_eq!(hasher.finish(), of_bytes(algorithm, &bytes), "{algorithm:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn values_of_another_length_or_alphabet_are_none() {
        assert!(Algorithm::Crc32.is_value("y/Q5Jg=="));
        for bad in
            ["", "y/Q5Jg", "y_Q5Jg==", "y/Q5Jh==", "AAAA", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "y/Q5Jg==-1"]
        {
            assert!(!Algorithm::Crc32.is_value(bad), "{bad:?}");
        }
        assert!(Algorithm::Crc32.is_value_of_parts("y/Q5Jg==-10000"));
        assert!(
            !Algorithm::Crc32.is_value_of_parts("y/Q5Jg==-") && !Algorithm::Crc32.is_value_of_parts("-1")
        );
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let combining = Algorithm::all().filter(|algorithm| algorithm.allows(Kind::FullObject));
        assert_eq!(combining.clone().count(), 3);
        for algorithm in combining {
            let pieces = [&bytes[..40_000], &bytes[40_000..40_001], &bytes[40_001..]];
            let sums: Vec<Vec<u8>> = pieces.iter().map(|piece| raw(algorithm, piece)).collect();
            let parts: Vec<(&[u8], u64)> =
                sums.iter().zip(pieces).map(|(sum, piece)| (sum.as_slice(), piece.len() as u64)).collect();
            assert_eq!(of_parts(algorithm, Kind::FullObject, &parts), Some(of_bytes(algorithm, &bytes)));
        }
    }

    #[test]
    fn composite_is_the_checksum_of_checksums() {
        let part = "arcu6553sHVAiX4MjW0j7I7vD4w6R+Gz9Ok0Q9lTa+0=";
        let whole = of_parts(Algorithm::Sha256, Kind::Composite, &[(&BASE64.decode(part).unwrap(), 1024)]);
        assert_eq!(whole.as_deref(), Some("Ok6Cs5b96ux6+MWQkJO7UBT5sKPBeXBLwvj/hK89smg=-1"));
        for algorithm in Algorithm::all().filter(|algorithm| algorithm.allows(Kind::Composite)) {
            let part = raw(algorithm, b"part");
            let both = of_bytes(algorithm, &[part.as_slice(), part.as_slice()].concat());
            let parts = [(part.as_slice(), 4), (part.as_slice(), 4)];
            assert_eq!(
                of_parts(algorithm, Kind::Composite, &parts),
                Some(format!("{both}-2")),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn forbidden_and_damaged_combinations_give_nothing() {
        for algorithm in [Algorithm::Sha1, Algorithm::Sha512, Algorithm::Md5, Algorithm::XxHash3] {
            assert_eq!(of_parts(algorithm, Kind::FullObject, &[(&raw(algorithm, b"a"), 1)]), None);
        }
        assert_eq!(of_parts(Algorithm::Crc64Nvme, Kind::Composite, &[(&[0; 3], 1)]), None);
        assert_eq!(of_parts(Algorithm::Crc32, Kind::FullObject, &[(&[0; 4], 1), (&[0; 3], 1)]), None);
    }
}
