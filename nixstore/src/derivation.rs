//! Derivations: what a store is asked to run.
#![deny(clippy::disallowed_methods)]

use crate::content_address::{ContentAddress, Method};
use crate::path::{MAX_NAME, OutputName, StoreName, StorePath};
use crate::placeholder::Placeholder;
use crate::{Sha256, StoreDir};
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

impl Derivation {
    /// Of which kind all of its outputs are (Nix 2.34, `BasicDerivation::type`).
    ///
    /// # Errors
    /// [`InvalidOutputs`] where they do not go together: a store refuses such a derivation.
    pub fn kind(&self) -> Result<Kind, InvalidOutputs> {
        let mut outputs = self.outputs.iter();
        let (name, first) = outputs.next().ok_or(InvalidOutputs::None)?;
        let kind = first.kind();
        if kind == Kind::Fixed && (name.as_str() != "out" || self.outputs.len() > 1) {
            return Err(InvalidOutputs::FixedIsOut);
        }
        for (_, output) in outputs {
            if output.kind() != kind {
                return Err(InvalidOutputs::Mixed);
            }
            if kind == Kind::Floating && output.algorithm() != first.algorithm() {
                return Err(InvalidOutputs::Algorithms);
            }
        }
        let names = self.outputs.keys().map(|output| self.name.of_output(output)).chain([self.name.of_derivation()]);
        match names.into_iter().find(|name| name.as_str().len() > MAX_NAME) {
            Some(name) => Err(InvalidOutputs::LongName(name.to_string())),
            None => Ok(kind),
        }
    }

    /// Whether it needs outputs of derivations that are themselves outputs.
    pub fn has_dynamic_inputs(&self) -> bool {
        self.input_drvs.values().any(|needed| !needed.dynamic.is_empty())
    }

    /// What its file names: the sources, and the files of the derivations whose outputs it needs.
    pub fn references(&self) -> BTreeSet<StorePath> {
        self.input_srcs.iter().chain(self.input_drvs.keys()).cloned().collect()
    }

    /// The path of its file.
    pub fn path(&self, store_dir: &StoreDir) -> StorePath {
        let contents = Sha256::of(self.to_aterm(store_dir));
        store_dir.text_path(&self.name.of_derivation(), &contents, &self.references())
    }
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

impl DerivationOutput {
    /// Which of the variants it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::InputAddressed(_) => Kind::InputAddressed,
            Self::Deferred => Kind::Deferred,
            Self::Fixed(_) => Kind::Fixed,
            Self::Floating { .. } => Kind::Floating,
            Self::Impure { .. } => Kind::Impure,
        }
    }

    /// The path, where it is known before the derivation is run: that of output `name` of the derivation `drv_name`.
    pub fn path(&self, store_dir: &StoreDir, drv_name: &StoreName, name: &OutputName) -> Option<StorePath> {
        match self {
            Self::InputAddressed(path) => Some(path.clone()),
            Self::Fixed(ca) => Some(store_dir.fixed_path(&drv_name.of_output(name), ca)),
            Self::Deferred | Self::Floating { .. } | Self::Impure { .. } => None,
        }
    }

    fn algorithm(&self) -> Option<crate::hash::Algorithm> {
        match self {
            Self::InputAddressed(_) | Self::Deferred => None,
            Self::Fixed(ca) => Some(ca.hash.algorithm()),
            Self::Floating { algorithm, .. } | Self::Impure { algorithm, .. } => Some(*algorithm),
        }
    }
}

/// The kinds of outputs, of which a derivation has one: the variants of [`DerivationOutput`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "described there")]
pub enum Kind {
    InputAddressed,
    Deferred,
    Fixed,
    Floating,
    Impure,
}

/// A store path that exists, or an output of a derivation that may not have been built yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivedPath {
    /// A path as it is.
    Opaque(StorePath),
    /// An output of the derivation at a path.
    Built(StorePath, OutputName),
}

impl DerivedPath {
    /// What stands for it in a derivation: the whole path, or the placeholder that [`Derivation::resolve`] replaces.
    pub fn text(&self, store_dir: &StoreDir) -> String {
        match self {
            Self::Opaque(path) => store_dir.print(path),
            Self::Built(drv, output) => Placeholder::upstream(drv, output).to_string(),
        }
    }
}

/// A derivation without inputs that are still to be built: what a store can realise.
///
/// Invariant: `input_drvs` is empty, and no output is deferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDerivation(pub(crate) Derivation);

impl ResolvedDerivation {
    /// The derivation itself.
    pub fn get(&self) -> &Derivation {
        &self.0
    }

    /// The derivation itself.
    pub fn into_inner(self) -> Derivation {
        self.0
    }

    /// The path of its file.
    pub fn path(&self, store_dir: &StoreDir) -> StorePath {
        self.0.path(store_dir)
    }
}

/// The outputs of a derivation do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOutputs {
    /// There are none.
    #[error("a derivation has at least one output")]
    None,
    /// They are of different kinds.
    #[error("the outputs of a derivation get their paths in one way")]
    Mixed,
    /// A fixed one is not the only one, or has another name.
    #[error("a fixed output is the only one and named `out`")]
    FixedIsOut,
    /// Floating outputs are hashed by different algorithms.
    #[error("the outputs of a derivation are hashed by one algorithm")]
    Algorithms,
    /// The name of an output or of the derivation's file is too long.
    #[error("the name `{0}` is longer than the {MAX_NAME} characters that a store path may have")]
    LongName(String),
}
