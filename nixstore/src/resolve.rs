//! Puts store paths in the place of derived paths, so that a derivation can be run.
#![deny(clippy::disallowed_methods)]

use crate::aterm::Mask;
use crate::derivation::{DerivationOutput, InputOutputs, InvalidOutputs, Kind};
use crate::placeholder::Placeholder;
use crate::{Derivation, OutputName, ResolvedDerivation, StoreDir, StorePath, base32};
use bstr::{BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Derivation {
    /// This derivation with the outputs that it needs as sources, and their paths in the place of placeholders in
    /// builder, arguments and environment. Deferred outputs become input-addressed (Nix 2.34,
    /// `Derivation::tryResolve`).
    ///
    /// `find` tells which path an output of a derivation has become. For an output of an output it is asked twice: for
    /// the derivation first, then for the output of what came out.
    ///
    /// # Errors
    /// [`ResolveError`] where `find` does not know an output, or the outputs do not go together.
    pub fn resolve(
        &self,
        store_dir: &StoreDir,
        mut find: impl FnMut(&StorePath, &OutputName) -> Option<StorePath>,
    ) -> Result<ResolvedDerivation, ResolveError> {
        let mut inputs =
            Inputs { store_dir, find: &mut find, paths: self.input_srcs.clone(), by_placeholder: HashMap::new() };
        for (drv, needed) in &self.input_drvs {
            inputs.add(drv, &|output| Placeholder::upstream(drv, output), needed)?;
        }
        let Inputs { paths, by_placeholder, .. } = inputs;
        let replaced = |text: &BString| replace(&by_placeholder, text);
        let mut env = BTreeMap::new();
        for (key, value) in &self.env {
            // As in Nix, the first of two keys that become equal wins.
            env.entry(replaced(key)).or_insert_with(|| replaced(value));
        }
        let mut drv = Self {
            name: self.name.clone(),
            outputs: self.outputs.clone(),
            input_drvs: BTreeMap::new(),
            input_srcs: paths,
            system: self.system.clone(),
            builder: replaced(&self.builder),
            args: self.args.iter().map(replaced).collect(),
            env,
        };
        if drv.kind()? == Kind::Deferred {
            drv.address_by_inputs(store_dir);
        }
        Ok(ResolvedDerivation(drv))
    }

    /// Gives deferred outputs their paths, now that nothing is unknown.
    fn address_by_inputs(&mut self, store_dir: &StoreDir) {
        let modulo = self.modulo(store_dir, Mask::Outputs, |_, _| None);
        let modulo = modulo.expect("there are no inputs to miss, and the outputs were checked");
        for (name, output) in &mut self.outputs {
            let path = store_dir.output_path(&self.name, name, &modulo.hash);
            self.env.insert(name.as_str().into(), store_dir.print(&path).into());
            *output = DerivationOutput::InputAddressed(path);
        }
    }
}

impl ResolvedDerivation {
    /// The same with outputs that are named by what goes in, for a daemon that knows no floating ones. Derivations of other
    /// kinds are as they were.
    pub fn addressed_by_inputs(&self, store_dir: &StoreDir) -> Self {
        let mut drv = self.0.clone();
        if drv.outputs.values().all(|output| output.kind() == Kind::Floating) {
            for (name, output) in &mut drv.outputs {
                *output = DerivationOutput::Deferred;
                drv.env.insert(name.as_str().into(), "".into());
            }
            drv.address_by_inputs(store_dir);
        }
        Self(drv)
    }
}

/// Takes a derivation that needs no outputs of others as it is.
impl TryFrom<Derivation> for ResolvedDerivation {
    type Error = ResolveError;

    fn try_from(drv: Derivation) -> Result<Self, ResolveError> {
        if let Some(path) = drv.input_drvs.keys().next() {
            return Err(ResolveError::Unresolved(path.clone()));
        }
        match drv.kind()? {
            Kind::Deferred => Err(ResolveError::Deferred),
            _ => Ok(Self(drv)),
        }
    }
}

/// Why a derivation cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It needs an output whose path nobody knows.
    #[error("the path of output `{output}` of `{drv}` is not known")]
    NotBuilt {
        /// The derivation of the output.
        drv: StorePath,
        /// The output.
        output: OutputName,
    },
    /// An output that is to be a derivation is none.
    #[error("`{0}` is not a derivation, and an output of it is needed")]
    NotADerivation(StorePath),
    /// It needs outputs and was not resolved.
    #[error("it needs outputs of `{0}` and is not resolved")]
    Unresolved(StorePath),
    /// Its outputs have no paths yet.
    #[error("its outputs get their paths when it is resolved")]
    Deferred,
    /// No store would take it.
    #[error(transparent)]
    Outputs(#[from] InvalidOutputs),
}

/// What is found of the inputs of one derivation.
struct Inputs<'a, F> {
    store_dir: &'a StoreDir,
    find: &'a mut F,
    paths: BTreeSet<StorePath>,
    by_placeholder: HashMap<Vec<u8>, String>,
}

impl<F: FnMut(&StorePath, &OutputName) -> Option<StorePath>> Inputs<'_, F> {
    /// Finds what is needed of the derivation at `drv`, for whose outputs `placeholder` stands.
    fn add(
        &mut self,
        drv: &StorePath,
        placeholder: &dyn Fn(&OutputName) -> Placeholder,
        needed: &InputOutputs,
    ) -> Result<(), ResolveError> {
        for output in &needed.outputs {
            let path = self.find(drv, output)?;
            self.by_placeholder.insert(placeholder(output).to_string().into(), self.store_dir.print(&path));
            self.paths.insert(path);
        }
        for (output, needed) in &needed.dynamic {
            let produced = self.find(drv, output)?;
            if !produced.is_derivation() {
                return Err(ResolveError::NotADerivation(produced));
            }
            let producer = placeholder(output);
            self.add(&produced, &|output| producer.dynamic(output), needed)?;
        }
        Ok(())
    }

    fn find(&mut self, drv: &StorePath, output: &OutputName) -> Result<StorePath, ResolveError> {
        (self.find)(drv, output).ok_or_else(|| ResolveError::NotBuilt { drv: drv.clone(), output: output.clone() })
    }
}

/// `text` with paths in the place of placeholders, in one pass however many there are.
fn replace(by_placeholder: &HashMap<Vec<u8>, String>, text: &BString) -> BString {
    let mut replaced = BString::default();
    let mut rest = text.as_slice();
    let mut from = 0;
    while let Some(slash) = rest[from..].find_byte(b'/') {
        let at = from + slash;
        let Some(candidate) = rest.get(at..at + Placeholder::LEN) else { break };
        let looks_like_one = base32::ALPHABET.contains(&candidate[Placeholder::LEN - 1]);
        match looks_like_one.then(|| by_placeholder.get(candidate)).flatten() {
            None => from = at + 1,
            Some(path) => {
                replaced.extend_from_slice(&rest[..at]);
                replaced.extend_from_slice(path.as_bytes());
                rest = &rest[at + Placeholder::LEN..];
                from = 0;
            }
        }
    }
    replaced.extend_from_slice(rest);
    replaced
}
