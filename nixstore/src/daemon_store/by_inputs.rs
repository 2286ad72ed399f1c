//! Floating derivations by a daemon without `ca-derivations`: built under paths that follow from their inputs, and added again
//! under those that a daemon with the feature would have given them.

use super::place::receive;
use super::{DaemonStore, Place, told};
use crate::content_address::ContentAddress;
use crate::daemon::DaemonError;
use crate::daemon::framed::{Contents, Stream};
use crate::daemon::operation::{AddToStoreNar, Import};
use crate::derivation::DerivationOutput;
use crate::hash::Sha256Writer;
use crate::rewrite::{HashModulo, Rewriter};
use crate::store::{Failure, Outputs, RealiseError, StoreError};
use crate::{OutputName, PathInfo, ResolvedDerivation, Sha256, StorePath, nar};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};

impl DaemonStore {
    /// What derivations have come out as: their outputs by inputs are valid, and so are those by content, whose paths
    /// follow from what the daemon says of the first.
    pub(super) fn by_inputs(&self, derivations: &[ResolvedDerivation]) -> Result<Vec<Option<Outputs>>, DaemonError> {
        let paths = derivations.iter().map(|one| one.addressed_by_inputs(&self.store_dir).input_addressed_outputs());
        let paths: Vec<Outputs> = paths.collect();
        let wanted: Vec<StorePath> = paths.iter().flat_map(Outputs::values).cloned().collect();
        let mut infos = self.infos(&wanted)?.into_iter();
        let outputs = paths.into_iter().map(|paths| {
            // Each takes as many answers as it has outputs, whether or not there is one to each.
            let infos: Vec<_> = infos.by_ref().take(paths.len()).collect();
            let infos = infos.into_iter().collect::<Option<Vec<_>>>()?;
            let own: BTreeSet<&StorePath> = paths.values().collect();
            let names_none = |info: &PathInfo| info.references.iter().all(|path| !own.contains(path));
            // Of another the paths by content follow from its bytes alone.
            infos.iter().all(names_none).then(|| {
                let outputs = paths.keys().cloned().zip(&infos);
                outputs.map(|(name, info)| (name, self.by_content(info).path)).collect()
            })
        });
        let outputs = outputs.collect();
        self.if_valid(outputs)
    }

    /// A path by inputs, which names none of its siblings, as one by content.
    fn by_content(&self, info: &PathInfo) -> PathInfo {
        let path = self.store_dir.source_path(info.path.name(), &info.nar_hash, &info.references, false);
        PathInfo { path, ca: Some(ContentAddress::nar(info.nar_hash)), ..facts(info) }
    }

    /// Adds the outputs of a derivation that was built by inputs once more, by content.
    pub(super) fn add_again(
        &self,
        derivation: &ResolvedDerivation,
        by_inputs: &ResolvedDerivation,
    ) -> Result<Outputs, RealiseError> {
        let what = || format!("add the outputs of `{}` by their content", derivation.get().name);
        let paths = by_inputs.input_addressed_outputs();
        let wanted: Vec<StorePath> = paths.values().cloned().collect();
        let infos = self.infos(&wanted).map_err(told(what()))?;
        let gone = || StoreError::new(what(), "the daemon made them and does not have them any more");
        let infos = infos.into_iter().collect::<Option<Vec<_>>>().ok_or_else(gone)?;
        let mut waiting: BTreeMap<OutputName, PathInfo> = paths.into_keys().zip(infos).collect();
        let mut done: BTreeMap<StorePath, StorePath> = BTreeMap::new();
        let mut outputs = Outputs::new();
        while !waiting.is_empty() {
            let siblings: BTreeSet<&StorePath> = waiting.values().map(|info| &info.path).collect();
            let is_ready =
                |info: &PathInfo| info.references.iter().all(|path| *path == info.path || !siblings.contains(path));
            let Some(name) = waiting.iter().find(|(_, info)| is_ready(info)).map(|(name, _)| name.clone()) else {
                let output = waiting.into_keys().next().expect("some are waiting");
                let problem = "names another output that names it".into();
                return Err(RealiseError::Failed { reason: Failure::BadOutput { output, problem }, log: Vec::new() });
            };
            let info = waiting.remove(&name).expect("it was found there");
            let path = self.add_one(&info, &done).map_err(|error| match error {
                Problem::Daemon(error) => told(what())(error),
                Problem::Io(error) => StoreError::new(what(), error),
            })?;
            done.insert(info.path, path.clone());
            outputs.insert(name, path);
        }
        Ok(outputs)
    }

    /// Adds one output; `done` are its siblings that were added before.
    fn add_one(&self, info: &PathInfo, done: &BTreeMap<StorePath, StorePath>) -> Result<StorePath, Problem> {
        let names_itself = info.references.contains(&info.path);
        let names_siblings = info.references.iter().any(|path| done.contains_key(path));
        if names_itself || names_siblings {
            return self.add_rewritten(info, done);
        }
        let new = self.by_content(info);
        if !self.invalid(std::iter::once(new.path.clone()))?.is_empty() {
            self.import(&new, &mut |out| self.dump(&info.path, out))?;
        }
        Ok(new.path)
    }

    /// The same for one whose bytes hold paths that become others.
    fn add_rewritten(&self, info: &PathInfo, done: &BTreeMap<StorePath, StorePath>) -> Result<StorePath, Problem> {
        let mut rewriter = Rewriter::of_paths(Vec::new(), done);
        self.dump(&info.path, &mut rewriter).map_err(io::Error::other)?;
        let (bytes, _) = rewriter.finish()?;
        let mut hash = HashModulo::new(&info.path);
        hash.write_all(&bytes)?;
        // Before, what names itself was hashed with the offsets where it does.
        let (hash, times) = if self.is_before(2, 17) { hash.finish_as_before_2_17() } else { hash.finish() };
        let others = info.references.iter().filter(|path| **path != info.path);
        let mut references: BTreeSet<StorePath> = others.map(|path| done.get(path).unwrap_or(path).clone()).collect();
        let path = self.store_dir.source_path(info.path.name(), &hash, &references, times > 0);
        if times > 0 {
            references.insert(path.clone());
        }
        let mut rewriter = Rewriter::of_paths(Vec::new(), [(&info.path, &path)]);
        rewriter.write_all(&bytes)?;
        let (bytes, _) = rewriter.finish()?;
        let mut whole = Sha256Writer::new();
        whole.write_all(&bytes)?;
        let (nar_hash, nar_size): (Sha256, u64) = whole.finish();
        let ca = Some(ContentAddress::nar(hash));
        let new = PathInfo { path, references, nar_hash, nar_size, ca, ..facts(info) };
        if !self.invalid(std::iter::once(new.path.clone()))?.is_empty() {
            self.import(&new, &mut |out| Ok(out.write_all(&bytes)?))?;
        }
        Ok(new.path)
    }

    fn import(&self, info: &PathInfo, stream: &mut Stream<'_>) -> Result<(), DaemonError> {
        let path = Import { info, nar: Contents::Stream(stream) };
        let add = AddToStoreNar { path, repair: false, without_signatures: false };
        self.pool.get()?.call(add, &mut |_| {})?;
        self.remember(std::iter::once(info));
        Ok(())
    }

    /// Writes the NAR of a valid path.
    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Place::Here(_) = self.place {
            return Ok(nar::dump(&self.place.files(&self.pool, &self.store_dir, path)?, out)?);
        }
        let mut archive: File = tempfile::tempfile()?;
        receive(&self.pool, path, &mut archive)?;
        archive.rewind()?;
        io::copy(&mut archive, out)?;
        Ok(())
    }
}

/// What remains of a path's facts under another name.
fn facts(info: &PathInfo) -> PathInfo {
    PathInfo { deriver: None, ultimate: false, signatures: BTreeSet::new(), registration_time: 0, ..info.clone() }
}

impl ResolvedDerivation {
    /// The paths of its outputs by inputs.
    fn input_addressed_outputs(&self) -> Outputs {
        let path = |output: &DerivationOutput| match output {
            DerivationOutput::InputAddressed(path) => Some(path.clone()),
            _ => None,
        };
        self.get().outputs.iter().filter_map(|(name, output)| Some((name.clone(), path(output)?))).collect()
    }
}

/// Why an output could not be added.
enum Problem {
    Daemon(DaemonError),
    Io(io::Error),
}

impl From<DaemonError> for Problem {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
