//! What a step did with files, against what is stated of it.

use super::{Failed, Realised, Steps, files_below};
use crate::audit::{Stated, There, audit};
use crate::depfile;
use crate::discover::{Found, to_path};
use crate::graph::{EdgeId, absolute};
use crate::lower::output;
use crate::recipe::Recipe;
use crate::roots::View;
use crate::state::Audited;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::fs;

impl Steps<'_> {
    /// Of all that is stated of the edge, but for what its command does.
    pub(super) fn stated_print(&self, edge: EdgeId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for path in self.drive.stated(edge).iter().chain(&self.outputs(edge)) {
            hasher.update(path).update(b"\0");
        }
        for edge in self.before(edge) {
            hasher.update(&self.drive.name(edge)).update(b"\0");
        }
        *hasher.finalize().as_bytes()
    }

    fn outputs(&self, edge: EdgeId) -> Vec<BString> {
        self.drive.graph.edge(edge).outputs.iter().map(|file| self.drive.path(*file)).collect()
    }

    pub(super) fn audited(
        &self,
        edge: EdgeId,
        recipe: &Recipe,
        found: &Found,
        realised: &Realised,
    ) -> Result<Audited, Failed> {
        let graph = self.drive.graph;
        let mut stated = Stated {
            inputs: self.drive.stated(edge).into_iter().collect(),
            depfile: self.in_depfile(recipe, realised)?,
            outputs: recipe.outputs.iter().chain(&recipe.depfile).cloned().collect(),
            left: Vec::new(),
        };
        // The build file states another file for it.
        stated.inputs.extend(found.represented.iter().cloned());
        stated.outputs.extend(recipe.response.iter().map(|(path, _)| path.clone()));
        let rest = self.drive.store.files(realised.path(&output("rest"))?)?;
        files_below(&rest, &recipe.build_directory, &mut stated.left)?;
        let before = self.before(edge);
        let there = |path: &BStr| {
            let Ok(metadata) = fs::metadata(to_path(path)) else { return There::Nothing };
            match graph.find(path).and_then(|file| graph.file(file).maker) {
                _ if metadata.is_dir() => There::Directory,
                // Where nothing is behind it, it only says that the file is there.
                Some(maker) if graph.edge(maker).phony => There::Source,
                Some(maker) if before.contains(&maker) => There::MadeBefore,
                Some(maker) => There::MadeAnytime(self.drive.name(maker)),
                None => There::Source,
            }
        };
        let reads = self.reads(realised)?;
        let findings = audit(&stated, &reads, recipe.build_directory.as_bstr(), &there);
        Ok(Audited { stated: self.stated_print(edge), findings })
    }

    /// What the depfile of a step names, at real paths.
    pub(super) fn in_depfile(&self, recipe: &Recipe, realised: &Realised) -> Result<BTreeSet<BString>, Failed> {
        if recipe.depfile.is_none() {
            return Ok(BTreeSet::new());
        }
        let text = fs::read(self.drive.store.files(realised.path(&output("dep"))?)?).unwrap_or_default();
        // One that cannot be read tells nothing; whoever uses it says so.
        let depfile = depfile::parse(&text).unwrap_or_default();
        let real = |path: &BString| match realised.view {
            View::Canonical => self.drive.roots.real_text(path).into(),
            View::Real => path.clone(),
        };
        let build = recipe.build_directory.as_bstr();
        Ok(depfile.inputs.iter().map(|path| absolute(real(path).as_bstr(), build)).collect())
    }

    /// The edges that come before one.
    fn before(&self, edge: EdgeId) -> BTreeSet<EdgeId> {
        let graph = self.drive.graph;
        let mut before = BTreeSet::new();
        let mut waiting = vec![edge];
        while let Some(edge) = waiting.pop() {
            let makers = graph.edge(edge).inputs.iter().filter_map(|file| graph.file(*file).maker);
            waiting.extend(makers.filter(|maker| before.insert(*maker)));
        }
        before
    }
}
