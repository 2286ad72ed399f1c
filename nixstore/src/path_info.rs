//! What a store knows of a valid path.

use crate::{ContentAddress, Sha256, StorePath};
use std::collections::BTreeSet;

/// The registered facts of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// Which path.
    pub path: StorePath,
    /// Hash of its NAR.
    pub nar_hash: Sha256,
    /// Size of its NAR in bytes.
    pub nar_size: u64,
    /// The paths that are named in it; itself too, if so.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, which need not exist.
    pub deriver: Option<StorePath>,
    /// Set if the path is named after its content.
    pub ca: Option<ContentAddress>,
    /// Made by this store's own builder.
    pub ultimate: bool,
    /// `key:base64` each.
    pub signatures: BTreeSet<String>,
    /// Seconds since 1970.
    pub registration_time: u64,
}
