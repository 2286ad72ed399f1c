//! The hash of a derivation modulo the way its inputs are named.
//!
//! Fixed outputs count by their content, so that two ways to fetch the same file are one. Every other input counts by
//! its own such hash (Nix 2.34, `hashDerivationModulo`). The hash names input-addressed outputs and, in Nix 2.4 to
//! 2.34, the realisations of all outputs. Outputs of outputs do not count.
#![deny(clippy::disallowed_methods)]

use crate::aterm::{HashedInputs, Mask, Writer};
use crate::derivation::{DerivationOutput, InvalidOutputs, Kind};
use crate::{Derivation, DrvOutputId, OutputName, ResolvedDerivation, Sha256, StoreDir, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// The hash of a derivation, the same for all of its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modulo {
    /// The hash.
    pub hash: Sha256,
    /// Whether the paths of its outputs depend on what contents come out, so that a derivation which needs them has no
    /// path before it is resolved.
    pub deferred: bool,
}

impl Derivation {
    /// Its hash modulo. `input` gives the hash of an input derivation, with nothing masked, or nothing where that
    /// derivation is unknown or lacks the output; [`Modulos`] is one that remembers.
    ///
    /// # Errors
    /// [`ModuloError`] where an input is missing or the outputs do not go together.
    pub fn modulo(
        &self,
        store_dir: &StoreDir,
        mask: Mask,
        mut input: impl FnMut(&StorePath, &OutputName) -> Option<Modulo>,
    ) -> Result<Modulo, ModuloError> {
        let kind = self.kind()?;
        if let Some(hash) = self.fixed_modulo(store_dir) {
            return Ok(Modulo { hash, deferred: false });
        }
        let mut deferred = matches!(kind, Kind::Floating | Kind::Impure);
        let mut inputs = HashedInputs::new();
        for (drv, needed) in &self.input_drvs {
            for output in &needed.outputs {
                let missing = || ModuloError::MissingInput { drv: drv.clone(), output: output.clone() };
                let modulo = input(drv, output).ok_or_else(missing)?;
                deferred |= modulo.deferred;
                inputs.entry(modulo.hash).or_default().insert(output);
            }
        }
        Ok(Modulo { hash: self.hash_with(store_dir, mask, &inputs), deferred })
    }

    /// What its outputs are called in realisations; `input` as for [`Derivation::modulo`].
    ///
    /// # Errors
    /// As [`Derivation::modulo`].
    pub fn output_ids(
        &self,
        store_dir: &StoreDir,
        input: impl FnMut(&StorePath, &OutputName) -> Option<Modulo>,
    ) -> Result<BTreeMap<OutputName, DrvOutputId>, ModuloError> {
        Ok(self.ids(self.modulo(store_dir, Mask::Outputs, input)?.hash))
    }

    fn ids(&self, drv_hash: Sha256) -> BTreeMap<OutputName, DrvOutputId> {
        self.outputs.keys().map(|output| (output.clone(), DrvOutputId { drv_hash, output: output.clone() })).collect()
    }

    fn fixed_modulo(&self, store_dir: &StoreDir) -> Option<Sha256> {
        let (name, output) = self.outputs.first_key_value()?;
        let DerivationOutput::Fixed(ca) = output else { return None };
        let path = store_dir.print(&store_dir.fixed_path(&self.name.of_output(name), ca));
        let how = ca.method.in_derivation(ca.hash.algorithm());
        Some(Sha256::of(format!("fixed:out:{how}:{}:{path}", ca.hash.hex())))
    }

    fn hash_with(&self, store_dir: &StoreDir, mask: Mask, inputs: &HashedInputs<'_>) -> Sha256 {
        Sha256::of(Writer::new(store_dir).derivation(self, mask, Some(inputs)))
    }
}

impl ResolvedDerivation {
    /// What its outputs are called in realisations. Writes the derivation once and looks nothing up.
    pub fn output_ids(&self, store_dir: &StoreDir) -> BTreeMap<OutputName, DrvOutputId> {
        let drv = self.get();
        let hash = drv
            .fixed_modulo(store_dir)
            .unwrap_or_else(|| drv.hash_with(store_dir, Mask::Outputs, &HashedInputs::new()));
        drv.ids(hash)
    }
}

/// The hashes of input derivations, each computed once. Depth of the graph costs memory, not stack.
#[derive(Debug)]
pub struct Modulos<'a, L> {
    store_dir: &'a StoreDir,
    load: L,
    known: BTreeMap<StorePath, Option<Known>>,
}

#[derive(Debug)]
struct Known {
    modulo: Modulo,
    outputs: BTreeSet<OutputName>,
}

impl<'a, L: FnMut(&StorePath) -> Option<Derivation>> Modulos<'a, L> {
    /// Hashes of the derivations that `load` reads, `None` where there is none.
    pub fn new(store_dir: &'a StoreDir, load: L) -> Self {
        Self { store_dir, load, known: BTreeMap::new() }
    }

    /// The hash of the derivation at `drv` as one that needs `output` counts it: nothing masked. `None` where it, or
    /// anything it needs, cannot be read, lacks an output that is needed, or needs itself.
    pub fn get(&mut self, drv: &StorePath, output: &OutputName) -> Option<Modulo> {
        let mut waiting: Vec<(StorePath, Option<Derivation>)> = vec![(drv.clone(), None)];
        while let Some((path, loaded)) = waiting.pop() {
            match loaded {
                None if self.known.contains_key(&path) => {}
                None => {
                    // Until its inputs are known it counts as missing, which ends a cycle.
                    self.known.insert(path.clone(), None);
                    if let Some(drv) = (self.load)(&path) {
                        let inputs: Vec<_> = drv.input_drvs.keys().map(|input| (input.clone(), None)).collect();
                        waiting.push((path, Some(drv)));
                        waiting.extend(inputs);
                    }
                }
                Some(drv) => {
                    let modulo = drv.modulo(self.store_dir, Mask::Nothing, |path, output| self.look_up(path, output));
                    let known = modulo.ok().map(|modulo| Known { modulo, outputs: drv.outputs.into_keys().collect() });
                    self.known.insert(path, known);
                }
            }
        }
        self.look_up(drv, output)
    }

    fn look_up(&self, drv: &StorePath, output: &OutputName) -> Option<Modulo> {
        let known = self.known.get(drv)?.as_ref()?;
        known.outputs.contains(output).then_some(known.modulo)
    }
}

/// A derivation has no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuloError {
    /// A derivation whose output it needs is not known, or does not have it.
    #[error("the output `{output}` of `{drv}` is not known")]
    MissingInput {
        /// The derivation.
        drv: StorePath,
        /// The output.
        output: OutputName,
    },
    /// No store would take it.
    #[error(transparent)]
    Outputs(#[from] InvalidOutputs),
}
