//! Hashes and their text forms.

use crate::base32;
use sha2::Digest as _;
use std::fmt;

/// A SHA-256 digest, the hash that names nearly everything in a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Hashes `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes.as_ref()).into())
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// nixbase32, 52 characters.
    pub fn nix32(&self) -> String {
        base32::encode(&self.0)
    }

    /// Folds the digest to `N` bytes by exclusive or (Nix 2.34, `compressHash`).
    pub fn compress<const N: usize>(&self) -> [u8; N] {
        let mut folded = [0; N];
        for (i, byte) in self.0.iter().enumerate() {
            folded[i % N] ^= byte;
        }
        folded
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.nix32())
    }
}

/// A digest of any of the algorithms that Nix knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hash {
    /// 16 bytes, only in old fixed outputs.
    Md5([u8; 16]),
    /// 20 bytes, in old fixed outputs and Git trees.
    Sha1([u8; 20]),
    /// 32 bytes.
    Sha256(Sha256),
    /// 64 bytes.
    Sha512(Box<[u8; 64]>),
}

/// A hash algorithm by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}
