//! Store paths and the names of outputs.
#![deny(clippy::disallowed_methods)]

use crate::{base32, hash::Sha256};
use std::{fmt, str::FromStr};

/// The directory that store paths are under as programs see it: `/nix/store`, wherever the files really lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDir(String);

impl Default for StoreDir {
    fn default() -> Self {
        Self("/nix/store".into())
    }
}

impl StoreDir {
    /// A store at `directory`, an absolute path without a slash at its end.
    ///
    /// # Errors
    /// [`InvalidPath`] for any other text.
    pub fn new(directory: impl Into<String>) -> Result<Self, InvalidPath> {
        let directory = directory.into();
        let names = directory.strip_prefix('/').map(|rest| rest.split('/'));
        let good = names.is_some_and(|mut names| names.all(|name| !matches!(name, "" | "." | "..")));
        if good { Ok(Self(directory)) } else { Err(InvalidPath(directory)) }
    }

    /// The directory as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole path of `path` in this store: `/nix/store/<hash>-<name>`.
    pub fn print(&self, path: &StorePath) -> String {
        format!("{}/{path}", self.0)
    }

    /// Reads a whole path that names a store path and nothing below it.
    ///
    /// # Errors
    /// [`InvalidPath`] where the text is outside the store directory or is no store path.
    pub fn parse(&self, text: &str) -> Result<StorePath, InvalidPath> {
        text.strip_prefix(&self.0)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| InvalidPath(text.into()))?
            .parse()
    }

    /// The path of an object: what kind of object it is and the hash of what it is, folded into a name
    /// (Nix 2.34, `StoreDirConfig::makeStorePath`).
    pub fn make_path(&self, kind: &str, inner: &Sha256, name: &StoreName) -> StorePath {
        let fingerprint = format!("{kind}:sha256:{}:{}:{name}", inner.hex(), self.0);
        StorePath { hash: Sha256::of(fingerprint).compress(), name: name.clone() }
    }
}

/// A store path, without the store directory: 20 bytes of hash and a name. Ordered as its text is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StorePath {
    hash: [u8; 20],
    name: StoreName,
}

impl StorePath {
    /// A path with a given hash part.
    pub fn new(hash: [u8; 20], name: StoreName) -> Self {
        Self { hash, name }
    }

    /// The 32 characters that tell this path from all others.
    pub fn hash_part(&self) -> String {
        base32::encode(&self.hash)
    }

    /// What follows the hash.
    pub fn name(&self) -> &StoreName {
        &self.name
    }

    /// The 20 bytes that the hash part stands for.
    pub fn hash_bytes(&self) -> &[u8; 20] {
        &self.hash
    }

    /// The name of the derivation whose file this is: the name without `.drv`; `None` for any other path.
    pub fn derivation_name(&self) -> Option<StoreName> {
        self.name.as_str().strip_suffix(".drv")?.parse().ok()
    }

    /// Whether this is the path of a derivation file.
    pub fn is_derivation(&self) -> bool {
        self.name.as_str().ends_with(".drv")
    }
}

impl Ord for StorePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The text is a little-endian number with its last digit first: compare from the last byte on.
        self.hash.iter().rev().cmp(other.hash.iter().rev()).then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for StorePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.hash_part(), self.name)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StorePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(text.into());
        let (hash, name) = text.split_at_checked(32).ok_or_else(invalid)?;
        let name = name.strip_prefix('-').ok_or_else(invalid)?.parse().map_err(|_| invalid())?;
        let hash = base32::decode(hash.as_bytes(), 20).map_err(|_| invalid())?;
        Ok(Self { hash: hash.try_into().expect("decode gives the length asked for"), name })
    }
}

/// The text is no store path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a store path")]
pub struct InvalidPath(pub String);

/// The name part of a store path: 1 to 211 characters of `[A-Za-z0-9+._?=-]`, and not `.`, `..`, `.-…` or `..-…`
/// (Nix 2.34, `checkName`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName(String);

impl StoreName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest valid name to any file name: other characters become `-`, a leading dot gets a `_` before it, and
    /// what is too long is cut, so that a derivation and its outputs may be named by it.
    pub fn sanitised(name: &[u8]) -> Self {
        let mut text: String =
            name.iter().map(|&b| if is_name_byte(b) { char::from(b) } else { '-' }).take(MAX_NAME - 16).collect();
        if text.is_empty() || text.starts_with('.') {
            text.insert(0, '_');
        }
        Self(text)
    }

    /// The name of the file of a derivation with this name: `<name>.drv`. Where that is too long for a store,
    /// [`Derivation::kind`](crate::Derivation::kind) says so.
    pub fn of_derivation(&self) -> Self {
        Self(format!("{self}.drv"))
    }

    /// The name of output `output` of a derivation with this name: its own for `out`, else `<name>-<output>`. Where
    /// that is too long for a store, [`Derivation::kind`](crate::Derivation::kind) says so.
    pub fn of_output(&self, output: &OutputName) -> Self {
        if output.as_str() == "out" { self.clone() } else { Self(format!("{self}-{output}")) }
    }
}

/// How many bytes the name part of a path may have.
pub(crate) const MAX_NAME: usize = 211;

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+._?=-".contains(&b)
}

impl FromStr for StoreName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let dots = text.strip_prefix("..").or_else(|| text.strip_prefix('.'));
        let dotted = dots.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        let good = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_name_byte) && !dotted;
        if good { Ok(Self(text.into())) } else { Err(InvalidName(text.into())) }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be the name of a store path or of an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid name in a store: 1 to 211 of the characters A-Z a-z 0-9 + . _ ? = - and no leading dot before `-` or the end"
)]
pub struct InvalidName(pub String);

/// The name of one output of a derivation, such as `out` or `o0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputName(String);

impl OutputName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OutputName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.parse::<StoreName>().map(|name| Self(name.0))
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
