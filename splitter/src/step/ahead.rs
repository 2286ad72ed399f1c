//! Asking a store that is another process for many things at once, before the steps ask for one after the other; and not at
//! all for what derivations have come out as, where the history knows it.

use super::{Failed, Steps};
use crate::discover::{is_system, to_path};
use crate::graph::EdgeId;
use crate::history::{Lesson, Realisation};
use crate::recipe::Recipe;
use bstr::{BString, ByteSlice as _};
use nixstore::store::Outputs;
use nixstore::{ResolvedDerivation, StorePath};
use std::collections::BTreeSet;
use std::fs;

/// How many realisations of a command are asked for before it is known which of them is wanted.
const LIKELY: usize = 2;

impl Steps<'_> {
    /// Looks at all that the steps are likely to read and no edge makes, and at what they are likely to come out as, so
    /// that the store need not be asked for each.
    pub fn look_ahead(&self) {
        let (mut files, mut outputs) = (BTreeSet::new(), BTreeSet::new());
        files.extend(self.plan.sources.iter().map(|file| self.drive.path(*file)));
        for &edge in &self.plan.order {
            match self.old.by_name.get(&self.drive.name(edge)) {
                Some(record) => files.extend(record.inputs.keys().cloned()),
                None => self.expect(edge, &mut files, &mut outputs),
            }
        }
        let is_file =
            |path: &BString| fs::symlink_metadata(to_path(path.as_bstr())).is_ok_and(|metadata| metadata.is_file());
        files.retain(|path| !is_system(path.as_bstr()) && self.maker(path).is_none() && is_file(path));
        // What goes wrong here goes wrong again where it is needed, and is told there.
        self.drive.store.valid_paths(&Vec::from_iter(outputs)).ok();
        self.contents.look_at(&files).ok();
    }

    /// What an edge has read and come out as elsewhere.
    fn expect(&self, edge: EdgeId, files: &mut BTreeSet<BString>, outputs: &mut BTreeSet<StorePath>) {
        let Some(history) = self.drive.history else { return };
        if self.drive.graph.edge(edge).phony {
            return;
        }
        let key = self.lesson_key(&self.recipe(edge, &self.drive.graph.command(edge)));
        if let Some(lesson) = history.known::<Lesson>(&key).first() {
            files.extend(lesson.found.files.iter().map(|path| self.drive.roots.real(path.as_bstr())));
        }
        let realisations = history.known::<Realisation>(&key);
        let likely = realisations.iter().take(LIKELY).flat_map(|known| known.outputs.values());
        outputs.extend(likely.filter_map(|path| path.parse().ok()));
    }

    /// What a derivation has come out as, if the store has it. A store that is another process is only asked where the
    /// history does not know.
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
        let outputs = store.realised(derivation)?;
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
