//! What a run would do, told without doing it: nothing is written, and no store is opened.

use super::{Failed, Steps};
use crate::drive::{Error, Reason, Toolchains};
use crate::graph::EdgeId;
use crate::lower::Toolchain;
use crate::state::Record;
use crate::toolchain::Probe;
use nixstore::path::StoreName;
use nixstore::store::{BuildOptions, Built, Outputs, RealiseError, StoreError};
use nixstore::{PathInfo, ResolvedDerivation, Store, StoreDir, StorePath, nar};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Steps<'_> {
    /// As [`crate::drive::Drive::would_run`].
    pub fn would_run(&self) -> Result<Vec<(EdgeId, Reason)>, Error> {
        let graph = self.drive.graph;
        let mut would_run = Vec::new();
        let mut anew = BTreeSet::new();
        for &edge in &self.plan.order {
            let inputs = graph.edge(edge).dirtying();
            let user_of = inputs.iter().find(|file| anew.contains(*file)).map(|file| self.drive.path(*file));
            let reason = match (graph.edge(edge).phony, user_of) {
                (true, None) => continue,
                (false, None) => self.reason(edge).map_err(|failed| failed.error)?,
                (_, Some(path)) => Some(Reason::Input(path)),
            };
            if let Some(reason) = reason {
                anew.extend(graph.edge(edge).outputs.iter().copied());
                would_run.extend((!graph.edge(edge).phony).then_some((edge, reason)));
            }
        }
        Ok(would_run)
    }

    /// Why an edge is not up to date, whose stated inputs are.
    fn reason(&self, edge: EdgeId) -> Result<Option<Reason>, Failed> {
        if self.drive.settled.contains(&edge) {
            return Ok(None);
        }
        let command = self.drive.graph.command(edge);
        let recipe = self.recipe(edge, &command);
        if let Some(why) = self.outside_by_rule(edge, &command, &recipe) {
            return self.due(edge, &recipe, &why);
        }
        let Some(record) = self.old.by_name.get(&self.drive.name(edge)) else { return Ok(Some(Reason::New)) };
        if !self.same_tools {
            return Ok(Some(Reason::Tools));
        }
        let changed = self.changed(edge, record, &recipe)?;
        Ok(changed.or_else(|| self.output_changed(edge, record)))
    }

    pub(super) fn output_changed(&self, edge: EdgeId, record: &Record) -> Option<Reason> {
        let stands = |path: &_, content: &StorePath| {
            let later = self.versions.later(edge, path);
            std::iter::once(content).chain(&later).any(|content| self.contents.is_untouched(path.as_ref(), content))
        };
        let written = record.outputs.iter().filter_map(|(path, content)| Some((path, content.as_ref()?.parse().ok()?)));
        let changed = written.into_iter().find(|(path, content)| !stands(*path, content));
        changed.map(|(path, _)| Reason::Output(path.clone()))
    }
}

/// A store that holds nothing and takes nothing, and says which path a file would have.
#[derive(Debug, Default)]
pub struct NoStore(StoreDir);

impl Store for NoStore {
    fn store_dir(&self) -> &StoreDir {
        &self.0
    }

    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError> {
        let read = nar::nar_hash(source);
        let (hash, size) = read.map_err(|error| StoreError::new(format!("read `{}`", source.display()), error))?;
        Ok(PathInfo::source(&self.0, name, hash, size))
    }

    fn add_file(&self, name: &StoreName, _: &[u8], _: bool) -> Result<PathInfo, StoreError> {
        Err(nothing(format!("add `{name}`")))
    }

    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError> {
        Ok(vec![None; paths.len()])
    }

    fn realised(&self, _: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError> {
        Ok(None)
    }

    fn realise(&self, derivation: &ResolvedDerivation, _: &BuildOptions<'_>) -> Result<Built, RealiseError> {
        Err(nothing(format!("realise `{}`", derivation.get().name)).into())
    }

    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        Err(nothing(format!("read `{path}`")))
    }
}

fn nothing(operation: String) -> StoreError {
    StoreError::new(operation, "nothing is to be written")
}

/// A host without tools.
#[derive(Debug)]
pub struct NoTools;

impl Toolchains for NoTools {
    fn snapshot(
        &self,
        _: &BTreeSet<PathBuf>,
        _: &BTreeSet<PathBuf>,
        _: &BTreeSet<PathBuf>,
        _: bool,
    ) -> Result<Arc<Toolchain>, Error> {
        Err("nothing is to be written".into())
    }

    fn essential(&self, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        files.clone()
    }

    fn native(&self, _: &Path) -> Option<String> {
        None
    }

    fn probes(&self) -> Vec<Probe> {
        Vec::new()
    }
}
