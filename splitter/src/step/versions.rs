//! Files that one edge makes and others change in place. Each change is a new version of the file: the last lies in the
//! build directory, and an edge that changes the file reads the one before its own.

use crate::graph::{EdgeId, Graph, absolute};
use crate::plan::Plan;
use crate::state::{Record, Records};
use bstr::{BString, ByteSlice as _};
use nixstore::StorePath;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The versions of all such files. All threads share one.
pub(crate) struct Versions {
    /// Where edges stand in the plan.
    places: HashMap<EdgeId, usize>,
    by_path: Mutex<BTreeMap<BString, BTreeMap<usize, StorePath>>>,
}

impl Versions {
    /// Those that the records tell of.
    pub fn new(graph: &Graph, plan: &Plan, records: &Records) -> Self {
        let places = plan.order.iter().enumerate().map(|(place, edge)| (*edge, place)).collect();
        let versions = Self { places, by_path: Mutex::default() };
        let edge_of = |name: &BString| graph.find(name.as_bstr()).and_then(|file| graph.file(file).maker);
        let edges = || records.by_name.iter().filter_map(|(name, record)| Some((edge_of(name)?, record)));
        for (edge, record) in edges() {
            for path in changed(graph, edge, record) {
                versions.add(edge, path, &record.outputs);
            }
        }
        for (edge, record) in edges() {
            let known: Vec<&BString> = {
                let by_path = versions.lock();
                record.outputs.keys().filter(|path| by_path.contains_key(*path)).collect()
            };
            known.into_iter().for_each(|path| versions.add(edge, path, &record.outputs));
        }
        versions
    }

    fn add(&self, edge: EdgeId, path: &BString, outputs: &BTreeMap<BString, Option<String>>) {
        let content = outputs.get(path).cloned().flatten().and_then(|content| content.parse().ok());
        content.into_iter().for_each(|content| self.note(edge, path, content));
    }

    /// What an edge has made of a file.
    pub fn note(&self, edge: EdgeId, path: &BString, content: StorePath) {
        self.lock().entry(path.clone()).or_default().insert(self.place(edge), content);
    }

    /// As [`Versions::note`] where others are known to change the file after it.
    pub fn note_if_changed_later(&self, edge: EdgeId, path: &BString, content: &StorePath) {
        if let Some(versions) = self.lock().get_mut(path) {
            versions.insert(self.place(edge), content.clone());
        }
    }

    /// Forgets what an edge has made of a file: it is made anew, and may leave the file alone.
    pub fn forget(&self, edge: EdgeId, path: &BString) {
        if let Some(versions) = self.lock().get_mut(path) {
            versions.remove(&self.place(edge));
        }
    }

    /// The version of a file that an edge sees which changes it.
    pub fn before(&self, edge: EdgeId, path: &BString) -> Option<StorePath> {
        self.lock().get(path)?.range(..self.place(edge)).next_back().map(|(_, content)| content.clone())
    }

    /// What other edges have made of a file since it was made by this one.
    pub fn later(&self, edge: EdgeId, path: &BString) -> Vec<StorePath> {
        let after = (Bound::Excluded(self.place(edge)), Bound::Unbounded);
        self.lock().get(path).map_or(Vec::new(), |versions| versions.range(after).map(|(_, v)| v.clone()).collect())
    }

    /// What is not asked for now comes after all that is.
    fn place(&self, edge: EdgeId) -> usize {
        self.places.get(&edge).copied().unwrap_or(usize::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BString, BTreeMap<usize, StorePath>>> {
        self.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outputs of a record that its edge does not declare: files of other edges that it changes.
pub(crate) fn changed<'r>(graph: &Graph, edge: EdgeId, record: &'r Record) -> Vec<&'r BString> {
    let paths = graph.edge(edge).outputs.iter();
    let declared: BTreeSet<BString> =
        paths.map(|file| absolute(graph.file(*file).path.as_bstr(), graph.working_directory())).collect();
    record.outputs.keys().filter(|path| !declared.contains(*path)).collect()
}
