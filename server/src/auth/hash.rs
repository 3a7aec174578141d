//! The hashes of S3: SHA-256 and HMAC for signatures and signed payloads, MD5 for ETags.
//!
//! Invariant: the rest of the server names no library for these, so that a faster one, or one that
//! hashes several uploads of a core side by side in SIMD lanes, is a change of this file alone.

pub use super::md5::Md5;
use aws_lc_rs::{constant_time, digest, hmac};

/// SHA-256 of bytes that come in pieces, by AWS-LC: its assembler uses AVX2 or SHA instructions,
/// chosen at run time.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Begins a hash.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(self) -> [u8; 32] {
        to_array(self.0.finish().as_ref())
    }

    /// Returns the digest of `bytes`.
    pub fn digest(bytes: &[u8]) -> [u8; 32] {
        to_array(digest::digest(&digest::SHA256, bytes).as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// A key of HMAC-SHA-256. Its inner and outer states are computed once.
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// Prepares a key.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Returns the code of `bytes` under this key.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        to_array(hmac::sign(&self.0, bytes).as_ref())
    }
}

/// Computes HMAC-SHA-1, for signature version 2, which knows nothing better.
pub fn hmac_sha1(key: &[u8], bytes: &[u8]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    to_array(hmac::sign(&key, bytes).as_ref())
}

/// Compares two texts in a time that does not depend on where they differ.
pub fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn to_array<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    assert_eq!(bytes.len(), LENGTH, "the library's digest has the length of its algorithm");
    let mut array = [0; LENGTH];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        assert_eq!(
            hex::encode(Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // RFC 4231, test case 2.
        assert_eq!(
            hex::encode(HmacKey::new(b"Jefe").sign(b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // RFC 2202, test case 2.
        assert_eq!(
            hex::encode(hmac_sha1(b"Jefe", b"what do ya want for nothing?")),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        for cut in [0, 1, 63, 64, 65, 999, 1000] {
            let (mut sha, mut md5) = (Sha256::new(), Md5::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                sha.update(piece);
                md5.update(piece);
            }
            assert_eq!(sha.finish(), Sha256::digest(&bytes));
            assert_eq!(md5.finish(), Md5::digest(&bytes));
        }
    }
}
