//! Hashes and their text forms.
//!
//! Nix writes a digest in base 16, nixbase32 or base64, and says which algorithm it is in front of it (`sha256:…`), by
//! SRI (`sha256-…`, always base64) or not at all. The length of the text tells the base.
#![deny(clippy::disallowed_methods)]

use crate::{base32, base64};
use sha2::Digest as _;
use std::{fmt, io, str::FromStr};

/// A SHA-256 digest, the hash that names nearly everything in a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Hashes `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes.as_ref()).into())
    }

    /// Reads 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`InvalidHash`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, InvalidHash> {
        from_hex(text.as_bytes())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| InvalidHash(text.into()))
    }

    /// Reads 52 digits of nixbase32.
    ///
    /// # Errors
    /// [`InvalidHash`] for any other text.
    pub fn from_nix32(text: &str) -> Result<Self, InvalidHash> {
        let bytes = base32::decode(text.as_bytes(), 32).map_err(|_| InvalidHash(text.into()))?;
        Ok(Self(bytes.try_into().expect("decode gives the length asked for")))
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn hex(&self) -> String {
        to_hex(&self.0)
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

/// A digest of any of the algorithms that Nix knows. [`Display`](fmt::Display) writes the prefixed nixbase32 form of
/// `ca` strings and narinfo files; [`FromStr`] reads every prefixed form.
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

impl Hash {
    /// The digest `bytes` of an algorithm; `None` where their number does not fit.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Md5 => Self::Md5(bytes.try_into().ok()?),
            Algorithm::Sha1 => Self::Sha1(bytes.try_into().ok()?),
            Algorithm::Sha256 => Self::Sha256(Sha256(bytes.try_into().ok()?)),
            Algorithm::Sha512 => Self::Sha512(Box::new(bytes.try_into().ok()?)),
        })
    }

    /// Reads a digest that stands alone, in whichever base its length tells.
    ///
    /// # Errors
    /// [`InvalidHash`] for any other text.
    pub fn parse_bare(algorithm: Algorithm, text: &str) -> Result<Self, InvalidHash> {
        let size = algorithm.size();
        let digits = text.as_bytes();
        let bytes = if digits.len() == 2 * size {
            from_hex(digits)
        } else if digits.len() == base32::encoded_len(size) {
            base32::decode(digits, size).ok()
        } else if digits.len() == size.div_ceil(3) * 4 {
            base64::decode(digits).ok()
        } else {
            None
        };
        bytes.and_then(|bytes| Self::new(algorithm, &bytes)).ok_or_else(|| InvalidHash(text.into()))
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digest.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Md5(bytes) => bytes,
            Self::Sha1(bytes) => bytes,
            Self::Sha256(hash) => &hash.0,
            Self::Sha512(bytes) => bytes.as_slice(),
        }
    }

    /// Lower-case hexadecimal, without the algorithm: the form in `.drv` files and on the wire.
    pub fn hex(&self) -> String {
        to_hex(self.bytes())
    }

    /// nixbase32, without the algorithm.
    pub fn nix32(&self) -> String {
        base32::encode(self.bytes())
    }

    /// `sha256:` and hexadecimal, the form in Nix's database and in the ids of realisations.
    pub fn prefixed_hex(&self) -> String {
        format!("{}:{}", self.algorithm(), self.hex())
    }

    /// `sha256-` and base64, the form in JSON.
    pub fn sri(&self) -> String {
        format!("{}-{}", self.algorithm(), base64::encode(self.bytes()))
    }
}

impl From<Sha256> for Hash {
    fn from(hash: Sha256) -> Self {
        Self::Sha256(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.nix32())
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let invalid = || InvalidHash(text.into());
        if let Some((algorithm, digits)) = text.split_once(':') {
            let algorithm = algorithm.parse().map_err(|_| invalid())?;
            Self::parse_bare(algorithm, digits).map_err(|_| invalid())
        } else {
            let (algorithm, digits) = text.split_once('-').ok_or_else(invalid)?;
            let algorithm = algorithm.parse().map_err(|_| invalid())?;
            let bytes = base64::decode(digits.as_bytes()).map_err(|_| invalid())?;
            Self::new(algorithm, &bytes).ok_or_else(invalid)
        }
    }
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

impl Algorithm {
    /// How many bytes its digests have.
    pub const fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.into()))
    }
}

/// Hashes and counts what is written to it.
#[derive(Debug, Clone, Default)]
pub struct Sha256Writer {
    hasher: sha2::Sha256,
    written: u64,
}

impl Sha256Writer {
    /// A writer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The hash and the number of the bytes written.
    pub fn finish(self) -> (Sha256, u64) {
        (Sha256(self.hasher.finalize().into()), self.written)
    }
}

impl io::Write for Sha256Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash")]
pub struct InvalidHash(pub String);

/// The text names no hash algorithm that Nix knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of the hash algorithms md5, sha1, sha256, sha512")]
pub struct UnknownAlgorithm(pub String);

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}
