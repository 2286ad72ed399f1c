//! A store for tests, whose builder is a function.

use crate::derivation::DerivationOutput;
use crate::path::StoreName;
use crate::scan::ReferenceScanner;
use crate::store::{BuildOptions, Built, Failure, Outputs, RealiseError, StoreError};
use crate::tree::Tree;
use crate::{
    ContentAddress, DrvOutputId, Hash, Method, OutputName, PathInfo, Realisation, ResolvedDerivation, Sha256, Store,
    StoreDir, StorePath, nar,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a derivation's outputs come out as, or how it fails.
pub type Builder = dyn Fn(&ResolvedDerivation) -> Result<BTreeMap<OutputName, Tree>, Failure> + Send + Sync;

/// A store that forgets everything when it is dropped. Its files lie in a temporary directory, its builder is a
/// function, and it counts what it runs. Outputs may name inputs and what those name, but not themselves or each other.
pub struct MemoryStore {
    store_dir: StoreDir,
    files: tempfile::TempDir,
    builder: Box<Builder>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    infos: BTreeMap<StorePath, PathInfo>,
    realisations: BTreeMap<DrvOutputId, Realisation>,
    runs: BTreeMap<String, usize>,
}

impl MemoryStore {
    /// An empty store that runs derivations by calling `builder`.
    ///
    /// # Errors
    /// [`StoreError`] where no temporary directory can be made.
    pub fn new(
        builder: impl Fn(&ResolvedDerivation) -> Result<BTreeMap<OutputName, Tree>, Failure> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let files = tempfile::tempdir().map_err(|e| StoreError::new("make a temporary directory", e))?;
        let store_dir = StoreDir::default();
        Ok(Self { store_dir, files, builder: Box::new(builder), state: Mutex::default() })
    }

    /// How often derivations of this name have been run.
    pub fn runs(&self, name: &str) -> usize {
        self.state().runs.get(name).copied().unwrap_or(0)
    }

    /// How often derivations have been run since this was asked last, by name.
    pub fn take_runs(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.state().runs)
    }

    /// Every valid path.
    pub fn paths(&self) -> BTreeSet<StorePath> {
        self.state().infos.keys().cloned().collect()
    }

    /// Makes a path and the realisations of it be forgotten, as garbage collection does.
    ///
    /// # Errors
    /// [`StoreError`] where its files cannot be removed.
    pub fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        let mut state = self.state();
        state.infos.remove(path);
        state.realisations.retain(|_, realisation| realisation.path != *path);
        let physical = self.physical_path(path);
        let removed = if physical.is_dir() && !physical.is_symlink() {
            std::fs::remove_dir_all(&physical)
        } else {
            std::fs::remove_file(&physical)
        };
        removed.map_err(|e| StoreError::new(format!("remove `{}`", physical.display()), e))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }

    /// Registers `tree` as a path whose references are among `possible`.
    fn add(&self, object: &Object<'_>, possible: &BTreeSet<StorePath>) -> Result<PathInfo, StoreError> {
        let nar = object.tree.to_nar();
        let mut scanner = ReferenceScanner::new(possible.iter().cloned());
        scanner.write_all(&nar).expect("a scanner takes all bytes");
        let references = scanner.found();
        let path = match &object.path {
            Some(path) => path.clone(),
            None => {
                let ca = object.ca.as_ref().expect("what has no path is named by its content");
                let path = self.store_dir.path_of(&object.name, ca, &references, false);
                path.map_err(|e| StoreError::new(format!("name `{}`", object.name), e))?
            }
        };
        let mut state = self.state();
        if let Some(known) = state.infos.get(&path) {
            return Ok(known.clone());
        }
        let physical = self.physical_path(&path);
        nar::restore(nar.as_slice(), &physical)
            .map_err(|e| StoreError::new(format!("write `{}`", physical.display()), e))?;
        let info = PathInfo {
            path: path.clone(),
            nar_hash: Sha256::of(&nar),
            nar_size: nar.len() as u64,
            references,
            deriver: object.deriver.clone(),
            ca: object.ca.clone(),
            ultimate: object.deriver.is_some(),
            signatures: BTreeSet::new(),
            registration_time: 1,
        };
        state.infos.insert(path, info.clone());
        Ok(info)
    }

    fn add_source(&self, name: &StoreName, tree: &Tree) -> Result<PathInfo, StoreError> {
        let ca = Some(ContentAddress::nar(Sha256::of(tree.to_nar())));
        self.add(&Object { name: name.clone(), tree, path: None, ca, deriver: None }, &BTreeSet::new())
    }

    /// The sources of a derivation and everything that they name.
    fn closure(&self, drv: &ResolvedDerivation) -> Result<BTreeSet<StorePath>, StoreError> {
        let state = self.state();
        let mut closure = BTreeSet::new();
        let mut waiting: Vec<_> = drv.get().input_srcs.iter().cloned().collect();
        while let Some(path) = waiting.pop() {
            let info = state.infos.get(&path).ok_or_else(|| {
                StoreError::new(format!("run `{}`", drv.get().name), format!("its input `{path}` is not valid"))
            })?;
            if closure.insert(path) {
                waiting.extend(info.references.iter().cloned());
            }
        }
        Ok(closure)
    }

    /// What one output is to be registered as.
    fn output<'a>(
        &self,
        drv: &ResolvedDerivation,
        output: &OutputName,
        tree: &'a Tree,
    ) -> Result<Object<'a>, RealiseError> {
        let bad = |problem: String| RealiseError::Failed {
            reason: Failure::BadOutput { output: output.clone(), problem },
            log: Vec::new(),
        };
        let name = drv.get().name.of_output(output);
        let hashed = |method| {
            content_address(method, tree).ok_or_else(|| bad(format!("cannot be hashed by the method `{method}`")))
        };
        let (path, ca) = match &drv.get().outputs[output] {
            DerivationOutput::InputAddressed(path) => (Some(path.clone()), None),
            DerivationOutput::Fixed(stated) => {
                let found = hashed(stated.method)?;
                if found != *stated {
                    return Err(bad(format!("is `{found}` and was to be `{stated}`")));
                }
                (Some(self.store_dir.fixed_path(&name, stated)), Some(found))
            }
            DerivationOutput::Floating { method, .. } | DerivationOutput::Impure { method, .. } => {
                (None, Some(hashed(*method)?))
            }
            DerivationOutput::Deferred => unreachable!("a resolved derivation has no deferred output"),
        };
        Ok(Object { name, tree, path, ca, deriver: Some(drv.path(&self.store_dir)) })
    }

    fn physical_path(&self, path: &StorePath) -> PathBuf {
        self.files.path().join(path.to_string())
    }
}

impl Store for MemoryStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError> {
        let tree = Tree::read(source).map_err(|e| StoreError::new(format!("add `{}`", source.display()), e))?;
        self.add_source(name, &tree)
    }

    fn add_file(&self, name: &StoreName, contents: &[u8], executable: bool) -> Result<PathInfo, StoreError> {
        self.add_source(name, &Tree::File { contents: contents.into(), executable })
    }

    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError> {
        let state = self.state();
        Ok(paths.iter().map(|path| state.infos.get(path).cloned()).collect())
    }

    fn realised(&self, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError> {
        let state = self.state();
        let valid = |realisation: &&Realisation| state.infos.contains_key(&realisation.path);
        let path = |id: &DrvOutputId| Some(state.realisations.get(id).filter(valid)?.path.clone());
        Ok(derivation.output_ids(&self.store_dir).into_iter().map(|(name, id)| Some((name, path(&id)?))).collect())
    }

    fn realise(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<Built, RealiseError> {
        let failed = |reason| RealiseError::Failed { reason, log: Vec::new() };
        let possible = self.closure(derivation)?;
        if options.cancelled.load(Ordering::Relaxed) {
            return Err(failed(Failure::Cancelled));
        }
        *self.state().runs.entry(derivation.get().name.to_string()).or_default() += 1;
        let start = Instant::now();
        let trees = (self.builder)(derivation).map_err(failed)?;
        let duration = start.elapsed();
        let late = |limit: &Duration| duration > *limit;
        if let Some(limit) = options.timeout.filter(late) {
            return Err(failed(Failure::TimedOut(limit)));
        }
        let stated = &derivation.get().outputs;
        if let Some(output) = stated.keys().find(|output| !trees.contains_key(*output)) {
            return Err(failed(Failure::BadOutput { output: output.clone(), problem: "was not written".into() }));
        }
        // All are looked at before the first is registered: a failure leaves the store as it was.
        let objects: Vec<_> =
            stated.keys().map(|name| self.output(derivation, name, &trees[name])).collect::<Result<_, _>>()?;
        let mut outputs = BTreeMap::new();
        for (name, object) in stated.keys().zip(&objects) {
            outputs.insert(name.clone(), self.add(object, &possible)?);
        }
        let mut state = self.state();
        for (output, id) in derivation.output_ids(&self.store_dir) {
            let realisation = Realisation::new(id.clone(), outputs[&output].path.clone());
            state.realisations.insert(id, realisation);
        }
        Ok(Built { outputs, duration, ran: true })
    }

    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        Ok(self.physical_path(path))
    }
}

/// What is to be registered.
struct Object<'a> {
    name: StoreName,
    tree: &'a Tree,
    /// Where, unless its content tells.
    path: Option<StorePath>,
    ca: Option<ContentAddress>,
    deriver: Option<StorePath>,
}

/// The content address of a tree by SHA-256; `None` where it is not a file and would have to be, and for Git.
fn content_address(method: Method, tree: &Tree) -> Option<ContentAddress> {
    let hash = match (method, tree) {
        (Method::Nar, tree) => Sha256::of(tree.to_nar()),
        (Method::Flat | Method::Text, Tree::File { contents, executable: false }) => Sha256::of(contents),
        _ => return None,
    };
    Some(ContentAddress { method, hash: Hash::Sha256(hash) })
}
