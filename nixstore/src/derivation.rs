//! Derivations: what a store is asked to run.

use crate::content_address::{ContentAddress, Method};
use crate::path::{OutputName, StoreName, StorePath};
use bstr::BString;
use std::collections::{BTreeMap, BTreeSet};

/// A command with its inputs, its environment and its outputs, as a `.drv` file states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Not in the `.drv` text: it comes from the file's name.
    pub name: StoreName,
    /// The outputs by name.
    pub outputs: BTreeMap<OutputName, DerivationOutput>,
    /// Outputs of other derivations that it needs.
    pub input_drvs: BTreeMap<StorePath, InputOutputs>,
    /// Store paths that it needs as they are.
    pub input_srcs: BTreeSet<StorePath>,
    /// For instance `x86_64-linux`.
    pub system: String,
    /// The program to run.
    pub builder: BString,
    /// Its arguments, without its own name.
    pub args: Vec<BString>,
    /// Its environment. Structured attributes are the JSON text under `__json`.
    pub env: BTreeMap<BString, BString>,
}

/// Which outputs of a derivation are needed; with dynamic derivations, which outputs of the derivations that those are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputOutputs {
    /// Outputs needed as they are.
    pub outputs: BTreeSet<OutputName>,
    /// Outputs that are themselves derivations, and what is needed of them.
    pub dynamic: BTreeMap<OutputName, InputOutputs>,
}

/// How one output gets its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivationOutput {
    /// By what goes into the derivation.
    InputAddressed(StorePath),
    /// By what goes in, once its content-addressed inputs are known.
    Deferred,
    /// By a content that is stated beforehand.
    Fixed(ContentAddress),
    /// By the content that comes out.
    Floating {
        /// How it is hashed.
        method: Method,
        /// With what: `sha256` but for old derivations.
        algorithm: crate::hash::Algorithm,
    },
    /// By the content, and never reused.
    Impure {
        /// How it is hashed.
        method: Method,
        /// With what.
        algorithm: crate::hash::Algorithm,
    },
}

/// A store path that exists, or an output of a derivation that may not have been built yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivedPath {
    /// A path as it is.
    Opaque(StorePath),
    /// An output of the derivation at a path.
    Built(StorePath, OutputName),
}

/// A derivation without inputs that are still to be built: what a store can realise.
///
/// Invariant: `input_drvs` is empty, and no output is deferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDerivation(Derivation);

impl ResolvedDerivation {
    /// The derivation itself.
    pub fn get(&self) -> &Derivation {
        &self.0
    }
}
