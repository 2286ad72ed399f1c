//! Asking a store that is another process for many things at once, before the steps ask for one after the other; and not at
//! all for what derivations have come out as, where the history knows it.

use super::{Failed, Realised, Steps, Watch};
use crate::discover::{self, Found, Question, is_system, to_path};
use crate::graph::{EdgeId, FileId};
use crate::history::{Lesson, Realisation};
use crate::queue::Queue;
use crate::recipe::{Kind, Recipe};
use crate::roots::Roots;
use crate::state::Record;
use bstr::{BString, ByteSlice as _};
use nixstore::store::Outputs;
use nixstore::{ResolvedDerivation, StorePath};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many realisations of a command are asked for before it is known which of them is wanted.
const LIKELY: usize = 2;

/// Of how many edges the derivations are held at once: each may name all files of a project.
const AT_ONCE: usize = 64;

/// How many steps that are ready are looked through for those that may be asked for together: it is done each time that one
/// such is due.
const MOST_READY: usize = 1024;

/// What was found out before the steps that it is for.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Edges that read what others make, and of which it is not known what they come out as.
    waiting: Mutex<BTreeSet<EdgeId>>,
    /// What edges read of which nothing was known.
    found: Mutex<BTreeMap<EdgeId, Found>>,
    /// What derivations have come out as, by their paths; none where the store knows of nothing.
    realised: Mutex<HashMap<StorePath, Option<Outputs>>>,
}

/// What a step is given to read, and how it is run.
struct Shown {
    found: Found,
    watch: Watch,
}

impl Steps<'_> {
    /// Looks at all that the steps are likely to read and no edge makes, and at what they are likely to come out as, so
    /// that the store need not be asked for each. Answers the edges that are likely not to run.
    pub fn look_ahead(&self) -> BTreeSet<EdgeId> {
        let records = self.plan.order.iter().filter_map(|edge| self.old.by_name.get(&self.drive.name(*edge)));
        let sources = self.plan.sources.iter().map(|file| self.drive.path(*file));
        self.look_at_sources(records.flat_map(|record| record.inputs.keys().cloned()).chain(sources));
        let (mut files, mut outputs) = (BTreeSet::new(), BTreeSet::new());
        let out_of_date = self.out_of_date();
        let expected = |edge: &EdgeId| out_of_date.contains(edge) && !self.expect(*edge, &mut files, &mut outputs);
        let (unknown, quick): (Vec<_>, Vec<_>) = self.plan.order.iter().copied().partition(expected);
        let mut quick = BTreeSet::from_iter(quick);
        // What goes wrong here goes wrong again where it is needed, and is told there.
        self.drive.store.valid_paths(&Vec::from_iter(outputs)).ok();
        self.look_at_sources(files);
        let (waiting, first): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|edge| self.waits(*edge));
        locked(&self.ahead.waiting).extend(waiting);
        quick.extend(self.ask_ahead(&first, &|path| self.maker(path).is_some()));
        quick
    }

    /// The same for an edge whose makers are done, and others of which that is true.
    pub fn look_further(&self, due: EdgeId, queue: &Queue) -> BTreeSet<EdgeId> {
        let ready: Vec<EdgeId> = {
            let mut waiting = locked(&self.ahead.waiting);
            let ready = std::iter::once(due).chain(queue.ready().take(MOST_READY));
            ready.filter(|edge| waiting.remove(edge)).collect()
        };
        self.ask_ahead(&ready, &|path| self.maker(path).is_some_and(|maker| !queue.is_done(maker)))
    }

    /// Whether an edge may be asked for with others, once its makers are done.
    pub fn is_to_be_looked_at(&self, edge: EdgeId) -> bool {
        locked(&self.ahead.waiting).contains(&edge)
    }

    /// Looks at those of some files that are there and no edge makes.
    fn look_at_sources(&self, files: impl IntoIterator<Item = BString>) {
        let is_file =
            |path: &BString| fs::symlink_metadata(to_path(path.as_bstr())).is_ok_and(|metadata| metadata.is_file());
        let is_source = |path: &BString| !is_system(path.as_bstr()) && self.maker(path).is_none() && is_file(path);
        let files: BTreeSet<BString> = files.into_iter().collect();
        self.contents.look_at(files.iter().filter(|path| is_source(path))).ok();
    }

    /// The edges whose records no longer stand, and those that read what these make.
    fn out_of_date(&self) -> BTreeSet<EdgeId> {
        let graph = self.drive.graph;
        let mut touched = BTreeSet::new();
        for &edge in &self.plan.order {
            let makers = graph.edge(edge).inputs.iter().filter_map(|file| graph.file(*file).maker);
            let stands = |record: &Record| self.same_tools && !self.has_other_sources(edge, record);
            let is_phony = graph.edge(edge).phony;
            if makers.into_iter().any(|maker| touched.contains(&maker))
                || !is_phony && !self.old.by_name.get(&self.drive.name(edge)).is_some_and(stands)
            {
                touched.insert(edge);
            }
        }
        touched.retain(|edge| !graph.edge(*edge).phony);
        touched
    }

    /// Whether a record was made by another command, or from files of which one that no edge makes has changed.
    fn has_other_sources(&self, edge: EdgeId, record: &Record) -> bool {
        let is_same = |(path, content): (&BString, &String)| {
            self.maker(path).is_some() || self.contents.is(path.as_bstr(), content).is_ok_and(|same| same)
        };
        record.recipe != self.recipe(edge, &self.drive.graph.command(edge)).fingerprint()
            || !record.inputs.iter().all(is_same)
            || record.found.appeared(&self.presence).is_some()
    }

    /// What an edge has read and come out as elsewhere. Answers whether the second is known.
    fn expect(&self, edge: EdgeId, files: &mut BTreeSet<BString>, outputs: &mut BTreeSet<StorePath>) -> bool {
        let Some(history) = self.drive.history else { return false };
        let key = self.lesson_key(&self.recipe(edge, &self.drive.graph.command(edge)));
        if let Some(lesson) = history.known::<Lesson>(&key).first() {
            files.extend(lesson.found.files.iter().map(|path| self.drive.roots.real(path.as_bstr())));
        }
        let realisations = history.known::<Realisation>(&key);
        let likely = realisations.iter().take(LIKELY).flat_map(|known| known.outputs.values());
        outputs.extend(likely.filter_map(|path| path.parse().ok()));
        !realisations.is_empty()
    }

    /// Asks for all at once what edges come out as, where it can be said without a command what they are shown. What others
    /// `will_make` may be another by then, though nobody said that it is waited for.
    fn ask_ahead(&self, edges: &[EdgeId], will_make: &(dyn Fn(&BString) -> bool + Sync)) -> BTreeSet<EdgeId> {
        edges.chunks(AT_ONCE).flat_map(|edges| self.ask_at_once(edges, will_make)).collect()
    }

    fn ask_at_once(&self, edges: &[EdgeId], will_make: &(dyn Fn(&BString) -> bool + Sync)) -> Vec<EdgeId> {
        let shown = self.each(edges, |&edge| {
            let shown = self.shown_alone(edge)?;
            (!shown.found.files.iter().any(will_make)).then_some((edge, shown))
        });
        self.look_at_sources(shown.iter().flat_map(|(_, shown)| shown.found.files.iter().cloned()));
        let derivations = self.each(&shown, |(edge, shown)| Some((*edge, self.likely_derivation(*edge, shown).ok()?)));
        let found = shown.into_iter().filter(|(_, shown)| shown.watch == Watch::No);
        locked(&self.ahead.found).extend(found.map(|(edge, shown)| (edge, shown.found)));
        let (edges, derivations): (Vec<EdgeId>, Vec<ResolvedDerivation>) = derivations.into_iter().unzip();
        let Ok(realised) = self.drive.store.all_realised(&derivations) else { return Vec::new() };
        let in_store = edges.into_iter().zip(&realised).filter_map(|(edge, outputs)| outputs.as_ref().map(|_| edge));
        let in_store = in_store.collect();
        let paths = derivations.iter().map(|derivation| derivation.path(self.drive.store.store_dir()));
        locked(&self.ahead.realised).extend(paths.zip(realised));
        in_store
    }

    fn shown_alone(&self, edge: EdgeId) -> Option<Shown> {
        let command = self.drive.graph.command(edge);
        let recipe = self.recipe(edge, &command);
        if command.generator || self.outside_by_rule(edge, &command, &recipe).is_some() {
            return None;
        }
        let watch = if recipe.kind == Kind::Crate { Watch::Trial(1) } else { Watch::No };
        if let Some((found, _)) = self.lesson(&self.lesson_key(&recipe)).ok()? {
            return found.unknowable.is_none().then_some(Shown { found, watch });
        }
        if let Kind::Build | Kind::Other = recipe.kind {
            return Some(Shown { found: self.wide_view(edge, &self.following(&recipe)), watch: Watch::Trial(1) });
        }
        let none = Roots::default();
        let roots = if self.is_bound_by_text(&recipe) { &self.drive.roots } else { &none };
        let stated = self.drive.stated(edge);
        let question = Question { recipe: &recipe, stated: &stated, roots, headers: self.headers };
        Some(Shown { found: discover::discover_alone(&question)?, watch })
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

    fn likely_derivation(&self, edge: EdgeId, shown: &Shown) -> Result<ResolvedDerivation, Failed> {
        let recipe = self.recipe(edge, &self.drive.graph.command(edge));
        let (view, _) = self.view(&recipe, &shown.found)?;
        let tools = self.tools(&recipe, &shown.found)?;
        self.derivation(&recipe, &shown.found, view, &tools, shown.watch)
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
        let remembered = || self.remembered(recipe, derivation);
        if store.is_remote()
            && let Some(outputs) = remembered()?
        {
            return Ok(Some(outputs));
        }
        // Once: when it is asked for again it may have been realised.
        let ahead = locked(&self.ahead.realised).remove(&derivation.path(store.store_dir()));
        let outputs = match ahead {
            Some(outputs) => outputs,
            None => store.realised(derivation)?,
        };
        match outputs {
            None if !store.is_remote() => remembered(),
            None => Ok(None),
            Some(outputs) => {
                self.learn_realised(recipe, derivation, &outputs);
                Ok(Some(outputs))
            }
        }
    }

    /// What the history knows that a derivation has come out as, if the store still has it.
    fn remembered(&self, recipe: &Recipe, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, Failed> {
        let Some(history) = self.drive.history else { return Ok(None) };
        let path = derivation.path(self.drive.store.store_dir()).to_string();
        let mut known = history.known::<Realisation>(&self.lesson_key(recipe)).into_iter();
        let Some(known) = known.find(|known| known.derivation == path) else { return Ok(None) };
        let outputs = known.outputs.iter().map(|(name, path)| Some((name.parse().ok()?, path.parse().ok()?)));
        let Some(outputs) = outputs.collect::<Option<Outputs>>() else { return Ok(None) };
        let paths: Vec<StorePath> = outputs.values().cloned().collect();
        let valid = self.drive.store.valid_paths(&paths)?;
        Ok(paths.iter().all(|path| valid.contains(path)).then_some(outputs))
    }

    /// Remembers what a derivation has come out as, where only another process knows it.
    pub(super) fn learn_realised(&self, recipe: &Recipe, derivation: &ResolvedDerivation, outputs: &Outputs) {
        if self.drive.store.is_remote() {
            self.learn_outputs(recipe, derivation, outputs);
        }
    }

    /// Remembers that a step which saw more than it reads would have come out the same without: no store knows it, as the
    /// derivation with `found` alone was never run.
    pub(super) fn learn_narrowed(&self, recipe: &Recipe, found: &Found, realised: &Realised) -> Result<(), Failed> {
        let tools = self.tools(recipe, found)?;
        let narrowed = self.derivation(recipe, found, realised.view, &tools, Watch::No)?;
        let names = &narrowed.get().outputs;
        let outputs = realised.outputs.iter().filter(|(name, _)| names.contains_key(*name));
        let outputs = outputs.map(|(name, path)| (name.clone(), path.clone())).collect();
        self.learn_outputs(recipe, &narrowed, &outputs);
        Ok(())
    }

    fn learn_outputs(&self, recipe: &Recipe, derivation: &ResolvedDerivation, outputs: &Outputs) {
        let Some(history) = self.drive.history else { return };
        let derivation = derivation.path(self.drive.store.store_dir()).to_string();
        let outputs = outputs.iter().map(|(name, path)| (name.to_string(), path.to_string())).collect();
        history.learn(self.lesson_key(recipe), &Realisation { derivation, outputs });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
