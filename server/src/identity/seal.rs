//! Sealing of secrets: AES-256-GCM under a key that follows from the node's master key.
//!
//! Invariants:
//! - A sealed secret opens only under the key that sealed it and for the holder that it was sealed for: who
//!   moves it to another access key or user has bytes that do not open.
//! - Each seal has a random nonce of its own. One key seals far fewer than 2^32 secrets.

use super::key_file::NodeKey;
use crate::auth::hash::HmacKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// What the key of secrets is derived by; whatever else follows from the master key has another text.
const PURPOSE: &[u8] = b"ringbolt secrets of access keys, 1";
/// What is sealed so that a key file is known for the right one.
const PROOF: &[u8] = b"ringbolt node key";
const PROOF_HOLDER: &str = "proof";

/// Seals and opens secrets.
pub struct Seal(LessSafeKey);

impl fmt::Debug for Seal {
    /// Leaves the key out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal")
    }
}

/// The system gives no random numbers, or the library refuses.
#[derive(Debug, thiserror::Error)]
#[error("a secret can not be sealed: the system gives no random numbers")]
pub struct SealError;

impl Seal {
    /// Derives the key of secrets from the node's key.
    pub fn new(key: &NodeKey) -> Self {
        let mut derived = HmacKey::new(key.bytes()).sign(PURPOSE);
        let unbound = UnboundKey::new(&AES_256_GCM, &derived);
        derived.zeroize();
        match unbound {
            Ok(unbound) => Self(LessSafeKey::new(unbound)),
            Err(_) => panic!("a key of 32 bytes is one of AES-256"),
        }
    }

    /// Seals `secret` for `holder`: a random nonce, what was encrypted, and its tag.
    ///
    /// # Errors
    /// Fails if there are no random numbers.
    pub fn seal(&self, secret: &[u8], holder: &str) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError)?;
        // There is room for the tag, so that no copy of the secret is left behind.
        let mut bytes = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        bytes.extend_from_slice(secret);
        let aad = Aad::from(holder.as_bytes());
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes);
        sealed.map_err(|_| SealError)?;
        Ok([&nonce[..], &bytes].concat())
    }

    /// Opens what was sealed for `holder`. Returns None if it was sealed under another key, for another
    /// holder, or was changed.
    pub fn open(&self, sealed: &[u8], holder: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(holder.as_bytes());
        let length = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// Makes the proof by which this key is known again.
    ///
    /// # Errors
    /// Fails if there are no random numbers.
    pub fn proof(&self) -> Result<Vec<u8>, SealError> {
        self.seal(PROOF, PROOF_HOLDER)
    }

    /// Returns whether this key made a proof.
    pub fn made(&self, proof: &[u8]) -> bool {
        self.open(proof, PROOF_HOLDER).is_some_and(|opened| *opened == PROOF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_holder_alone() {
        let seal = Seal::new(&NodeKey::new([7; 32]));
        let sealed = seal.seal(b"secret", "holder").unwrap();
        assert_eq!(seal.open(&sealed, "holder").unwrap().as_slice(), b"secret");
        assert!(seal.open(&sealed, "another").is_none());
        assert!(Seal::new(&NodeKey::new([8; 32])).open(&sealed, "holder").is_none());
        assert_ne!(seal.seal(b"secret", "holder").unwrap(), sealed, "each seal has its own nonce");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed, "holder").is_none(), "byte {at}");
            assert!(seal.open(&sealed[..at], "holder").is_none(), "{at} bytes");
        }
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(format!("{seal:?}"), "Seal");
    }

    #[test]
    fn a_key_knows_its_proof() {
        let (one, other) = (Seal::new(&NodeKey::new([1; 32])), Seal::new(&NodeKey::new([2; 32])));
        let proof = one.proof().unwrap();
        assert!(one.made(&proof) && !other.made(&proof) && !one.made(b""));
    }
}
