//! The record that an output of a derivation has become a certain path (Nix 2.4 to 2.34).

use crate::{OutputName, Sha256, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// Which output: the derivation's hash modulo, and the output's name. As text `sha256:<hex>!<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrvOutputId {
    /// `hash modulo` of the derivation, its own outputs masked.
    pub drv_hash: Sha256,
    /// The output.
    pub output: OutputName,
}

/// What an output came out as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    /// Which output.
    pub id: DrvOutputId,
    /// Where it is.
    pub path: StorePath,
    /// `key:base64` each.
    pub signatures: BTreeSet<String>,
    /// Realisations of the inputs; written by Nix before 2.32 or so, empty after.
    pub dependent: BTreeMap<DrvOutputId, StorePath>,
}
