//! What names a content-addressed path: how its content is hashed, and the hash.

use crate::{Hash, Sha256};

/// How the files of a path are turned into the bytes that are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The bytes of a single, non-executable file.
    Flat,
    /// The NAR of any tree.
    Nar,
    /// The bytes of a single file that may name other paths: derivation files and `builtins.toFile`.
    Text,
    /// Git's own tree hash.
    Git,
}

/// The `ca` of a path info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentAddress {
    /// How the content was hashed.
    pub method: Method,
    /// The hash.
    pub hash: Hash,
}

impl ContentAddress {
    /// The content address of every output that this project makes and of every source that it adds.
    pub fn nar(hash: Sha256) -> Self {
        Self { method: Method::Nar, hash: Hash::Sha256(hash) }
    }
}
