//! Asking a store that is another process for many things at once, before the steps ask for one after the other; and not at
//! all for what derivations have come out as, where the history knows it.

use super::{Failed, Steps, Watch};
use crate::discover::{self, Found, Question, is_system, to_path};
use crate::graph::{EdgeId, FileId};
use crate::history::{Lesson, Realisation};
use crate::recipe::Recipe;
use crate::roots::Roots;
use bstr::{BString, ByteSlice as _};
use nixstore::store::{Outputs, StoreError};
use nixstore::{ResolvedDerivation, StorePath};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many realisations of a command are asked for before it is known which of them is wanted.
const LIKELY: usize = 2;

/// What was found out before the first step.
#[derive(Default)]
pub(crate) struct Ahead {
    /// What edges read of which nothing was known, and which read nothing that others make.
    found: Mutex<BTreeMap<EdgeId, Found>>,
    /// What derivations have come out as, by their paths; none where the store knows of nothing.
    realised: Mutex<HashMap<StorePath, Option<Outputs>>>,
}

impl Steps<'_> {
    /// Looks at all that the steps are likely to read and no edge makes, and at what they are likely to come out as, so
    /// that the store need not be asked for each.
    pub fn look_ahead(&self) {
        let (mut files, mut outputs, mut unknown) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        files.extend(self.plan.sources.iter().map(|file| self.drive.path(*file)));
        for &edge in &self.plan.order {
            match self.old.by_name.get(&self.drive.name(edge)) {
                Some(record) => files.extend(record.inputs.keys().cloned()),
                None => unknown.extend((!self.expect(edge, &mut files, &mut outputs)).then_some(edge)),
            }
        }
        let found = self.discover_ahead(&unknown);
        files.extend(found.values().flat_map(|found| found.files.iter().cloned()));
        let is_file =
            |path: &BString| fs::symlink_metadata(to_path(path.as_bstr())).is_ok_and(|metadata| metadata.is_file());
        files.retain(|path| !is_system(path.as_bstr()) && self.maker(path).is_none() && is_file(path));
        // What goes wrong here goes wrong again where it is needed, and is told there.
        self.drive.store.valid_paths(&Vec::from_iter(outputs)).ok();
        self.contents.look_at(&files).ok();
        self.ask_ahead(&found).ok();
        *locked(&self.ahead.found) = found;
    }

    /// What an edge has read and come out as elsewhere. Answers whether anything is known.
    fn expect(&self, edge: EdgeId, files: &mut BTreeSet<BString>, outputs: &mut BTreeSet<StorePath>) -> bool {
        if self.drive.graph.edge(edge).phony {
            return true;
        }
        let Some(history) = self.drive.history else { return false };
        let key = self.lesson_key(&self.recipe(edge, &self.drive.graph.command(edge)));
        let lessons = history.known::<Lesson>(&key);
        if let Some(lesson) = lessons.first() {
            files.extend(lesson.found.files.iter().map(|path| self.drive.roots.real(path.as_bstr())));
        }
        let realisations = history.known::<Realisation>(&key);
        let likely = realisations.iter().take(LIKELY).flat_map(|known| known.outputs.values());
        outputs.extend(likely.filter_map(|path| path.parse().ok()));
        !lessons.is_empty()
    }

    /// What edges read of which nothing is known, where that can be said before another has run, and without a command.
    fn discover_ahead(&self, unknown: &[EdgeId]) -> BTreeMap<EdgeId, Found> {
        self.each(unknown, |&edge| Some((edge, self.discover_alone(edge)?))).into_iter().collect()
    }

    fn discover_alone(&self, edge: EdgeId) -> Option<Found> {
        let command = self.drive.graph.command(edge);
        if command.generator || self.waits(edge) {
            return None;
        }
        let recipe = self.recipe(edge, &command);
        if self.outside_by_rule(edge, &command, &recipe).is_some() {
            return None;
        }
        let none = Roots::default();
        let roots = if self.is_bound_by_text(&recipe) { &self.drive.roots } else { &none };
        let stated = self.drive.stated(edge);
        let question = Question { recipe: &recipe, stated: &stated, roots, headers: &self.headers };
        let found = discover::discover_alone(&question)?;
        // What others make may be another by then, though nobody said that it is waited for.
        found.files.iter().all(|path| self.maker(path).is_none()).then_some(found)
    }

    /// Whether a command has to end before this one begins.
    fn waits(&self, edge: EdgeId) -> bool {
        let graph = self.drive.graph;
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<FileId> = graph.edge(edge).inputs.to_vec();
        while let Some(file) = waiting.pop() {
            match graph.file(file).maker.map(|maker| graph.edge(maker)) {
                Some(maker) if !maker.phony => return true,
                Some(maker) if seen.insert(file) => waiting.extend(maker.inputs),
                _ => {}
            }
        }
        false
    }

    /// Asks for all at once what edges have come out as of which it is known what they read.
    fn ask_ahead(&self, found: &BTreeMap<EdgeId, Found>) -> Result<(), StoreError> {
        let edges: Vec<_> = found.iter().collect();
        let derivations = self.each(&edges, |(edge, found)| self.likely_derivation(**edge, found).ok());
        let realised = self.drive.store.all_realised(&derivations)?;
        let paths = derivations.iter().map(|derivation| derivation.path(self.drive.store.store_dir()));
        locked(&self.ahead.realised).extend(paths.zip(realised));
        Ok(())
    }

    fn likely_derivation(&self, edge: EdgeId, found: &Found) -> Result<ResolvedDerivation, Failed> {
        let recipe = self.recipe(edge, &self.drive.graph.command(edge));
        let (view, _) = self.view(&recipe, found)?;
        let tools = self.tools(&recipe, found)?;
        self.derivation(&recipe, found, view, &tools, Watch::No)
    }

    /// What comes of many things, by as many threads as there are jobs, until somebody stops the run.
    fn each<T: Sync, R: Send>(&self, things: &[T], work: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work_off = || {
            while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.drive.cancelled.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(result) = work(thing) {
                    locked(&done).push(result);
                }
            }
        };
        thread::scope(|scope| (0..self.drive.jobs.min(things.len())).for_each(|_| drop(scope.spawn(work_off))));
        done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an edge reads, if that was found ahead and still is so.
    pub(super) fn found_ahead(&self, edge: EdgeId) -> Option<Found> {
        let found = locked(&self.ahead.found).remove(&edge)?;
        found.appeared(&self.presence).is_none().then_some(found)
    }

    /// What a derivation has come out as, if the store has it. A store that is another process is only asked where neither
    /// the history knows it nor all were asked for at once.
    pub(super) fn came_out_as(
        &self,
        recipe: &Recipe,
        derivation: &ResolvedDerivation,
    ) -> Result<Option<Outputs>, Failed> {
        let store = self.drive.store;
        if let Some(outputs) = self.remembered(recipe, derivation) {
            let paths: Vec<StorePath> = outputs.values().cloned().collect();
            if store.valid_paths(&paths)?.len() == BTreeSet::from_iter(&paths).len() {
                return Ok(Some(outputs));
            }
        }
        // Once: when it is asked for again it may have been realised.
        let ahead = locked(&self.ahead.realised).remove(&derivation.path(store.store_dir()));
        let outputs = match ahead {
            Some(outputs) => outputs,
            None => store.realised(derivation)?,
        };
        outputs.iter().for_each(|outputs| self.learn_realised(recipe, derivation, outputs));
        Ok(outputs)
    }

    fn remembered(&self, recipe: &Recipe, derivation: &ResolvedDerivation) -> Option<Outputs> {
        let history = self.drive.history.filter(|_| self.drive.store.is_remote())?;
        let path = derivation.path(self.drive.store.store_dir()).to_string();
        let mut known = history.known::<Realisation>(&self.lesson_key(recipe)).into_iter();
        let known = known.find(|known| known.derivation == path)?;
        known.outputs.iter().map(|(name, path)| Some((name.parse().ok()?, path.parse().ok()?))).collect()
    }

    /// Remembers what a derivation has come out as.
    pub(super) fn learn_realised(&self, recipe: &Recipe, derivation: &ResolvedDerivation, outputs: &Outputs) {
        let Some(history) = self.drive.history.filter(|_| self.drive.store.is_remote()) else { return };
        let derivation = derivation.path(self.drive.store.store_dir()).to_string();
        let outputs = outputs.iter().map(|(name, path)| (name.to_string(), path.to_string())).collect();
        history.learn(self.lesson_key(recipe), &Realisation { derivation, outputs });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
