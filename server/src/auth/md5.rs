//! MD5 by the assembler of AWS-LC, which the binary already holds for SHA-256; its safe crate does
//! not offer MD5.
//!
//! MD5 is most of what a PUT costs, and the safe libraries need a quarter more time for it
//! (docs/bench.md). That is why this file may hold `unsafe`.
//!
//! Invariant: nothing but this file calls AWS-LC's C interface.

use aws_lc_sys::{MD5_CTX, MD5_Final, MD5_Init, MD5_Update};

/// The length of a digest, in bytes.
const DIGEST_BYTES: usize = 16;

/// MD5 of bytes that come in pieces.
#[derive(Clone)]
pub struct Md5(MD5_CTX);

impl Md5 {
    /// Begins a hash.
    pub fn new() -> Self {
        let mut state = MD5_CTX { h: [0; 4], Nl: 0, Nh: 0, data: [0; 64], num: 0 };
        // SAFETY: the pointer is to a whole state of ours, which the call fills and does not keep.
        let done = unsafe { MD5_Init(&raw mut state) };
        assert_eq!(done, 1, "MD5_Init has no way to fail");
        Self(state)
    }

    /// Adds bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        // SAFETY: the state was made by `MD5_Init` and is borrowed alone; the bytes are readable
        // for their length, and an empty slice's pointer is not read. Neither pointer is kept.
        let done = unsafe { MD5_Update(&raw mut self.0, bytes.as_ptr().cast(), bytes.len()) };
        assert_eq!(done, 1, "MD5_Update has no way to fail");
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(mut self) -> [u8; DIGEST_BYTES] {
        let mut digest = [0; DIGEST_BYTES];
        // SAFETY: the digest has the 16 bytes that are written; the state was made by `MD5_Init`
        // and is not used again.
        let done = unsafe { MD5_Final(digest.as_mut_ptr(), &raw mut self.0) };
        assert_eq!(done, 1, "MD5_Final has no way to fail");
        digest
    }

    /// Returns the digest of `bytes`.
    pub fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        let mut md5 = Self::new();
        md5.update(bytes);
        md5.finish()
    }
}

impl Default for Md5 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, appendix A.5.
    #[test]
    fn published_vectors() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ] {
            assert_eq!(hex::encode(Md5::digest(text.as_bytes())), digest);
        }
    }

    #[test]
    fn a_copied_state_goes_its_own_way() {
        let mut one = Md5::new();
        one.update(&[1; 100]);
        let mut other = one.clone();
        one.update(&[2; 100]);
        other.update(&[3; 100]);
        assert_eq!(one.finish(), Md5::digest(&[[1; 100], [2; 100]].concat()));
        assert_eq!(other.finish(), Md5::digest(&[[1; 100], [3; 100]].concat()));
    }
}
