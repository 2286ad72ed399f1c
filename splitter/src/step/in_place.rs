//! A step in the host's own file system, where its command sees everything. It is traced, and one that read more than its
//! inputs is run again with what it read among them: so the derivation names all that its result depends on.

use super::{Failed, Realised, Steps, Watch};
use crate::discover::{self, Answer, Found, Question, is_system, to_path, ways, wide};
use crate::graph::EdgeId;
use crate::recipe::{Kind, Recipe};
use crate::roots::{Roots, View};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::Reads;
use nixstore::store::Failure;
use nixstore::text;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

/// How often a command is run that reads other files each time.
const ROUNDS: usize = 4;

impl Steps<'_> {
    /// Runs it with what was `known` of it, else with what discovery finds.
    pub(super) fn in_place(
        &self,
        edge: EdgeId,
        recipe: &Recipe,
        known: Option<Found>,
    ) -> Result<(Found, Realised), Failed> {
        let recipe = &*ways::written_where_it_is(recipe);
        let mut found = known.unwrap_or_else(|| self.supposed(edge, recipe));
        for _ in 0..ROUNDS {
            let tools = self.tools(recipe, &found)?;
            match self.realise(recipe, &found, View::Real, &tools, Watch::Success) {
                Ok(realised) => {
                    let reads = self.reads(&realised)?;
                    let appeared = if realised.ran { Vec::new() } else { appeared(&reads, recipe) };
                    if appeared.is_empty() {
                        self.narrow(&mut found, recipe, &reads);
                        return Ok((found, realised));
                    }
                    appeared.iter().for_each(|path| found.seen_there(path.as_bstr()));
                }
                Err(failed) => match failed.error.downcast_ref() {
                    Some(Failure::Undeclared(paths)) => {
                        self.undo(&found)?;
                        paths.iter().for_each(|path| found.seen_there(text::to_bytes(path).as_bstr()));
                    }
                    _ => {
                        self.undo(&found)?;
                        return Err(failed);
                    }
                },
            }
        }
        Err(format!("the command reads other files each time it is run; it was run {ROUNDS} times").into())
    }

    /// Puts inputs that other edges make back to what they were, where a command has changed them that failed or is run
    /// again.
    fn undo(&self, found: &Found) -> Result<(), Failed> {
        for path in found.files.iter().filter(|path| self.maker(path).is_some()) {
            let before = self.contents.of(path.as_bstr())?;
            if !self.contents.is_noted(path.as_bstr(), &before) {
                self.put(&before, path)?;
            }
        }
        Ok(())
    }

    /// What discovery finds; of a command that may read anything, what is stated.
    fn supposed(&self, edge: EdgeId, recipe: &Recipe) -> Found {
        let stated = self.drive.stated(edge);
        let question = Question { recipe, stated: &stated, roots: &Roots::default(), headers: self.headers };
        let left = match discover::discover(&question) {
            Answer::Found(found) => return *found,
            Answer::Leaves(left) => left,
            Answer::Nothing => BTreeSet::new(),
        };
        let mut found = Found { left, ..Found::default() };
        stated.iter().for_each(|path| found.existing(path.as_bstr(), discover::Named::Everything));
        found.files.retain(|path| !recipe.outputs.contains(path));
        found
    }

    /// Of a command that may read anything, takes what it did read.
    fn narrow(&self, found: &mut Found, recipe: &Recipe, reads: &Reads) {
        if recipe.kind == Kind::Crate {
            *found = self.read_of_crate(found, reads, recipe);
            return;
        }
        if recipe.kind != Kind::Other && found.left.is_empty() {
            return;
        }
        let read: BTreeSet<BString> =
            reads.files.iter().chain(&reads.looked).chain(&reads.overwritten).map(bytes).collect();
        found.files.retain(|path| {
            read.contains(path)
                || fs::canonicalize(to_path(path.as_bstr()))
                    .is_ok_and(|real| read.contains(real.as_os_str().as_bytes().as_bstr()))
        });
        wide::note_absent(found, reads, recipe, self.drive.graph, self.project());
    }
}

/// What an earlier run of the same derivation looked for in vain, and would find now: it names only what was there.
fn appeared(reads: &Reads, recipe: &Recipe) -> Vec<BString> {
    let absent = reads.absent.iter().map(bytes);
    let absent = absent.filter(|path| !is_system(path.as_bstr()) && !recipe.outputs.contains(path));
    absent.filter(|path| fs::symlink_metadata(to_path(path.as_bstr())).is_ok()).collect()
}

fn bytes(text: impl AsRef<str>) -> BString {
    text::to_bytes(text.as_ref()).into()
}

impl Found {
    /// Adds what a command was seen to read or list. Of a link it was its text that was read, wherever it leads.
    fn seen_there(&mut self, path: &BStr) {
        if to_path(path).is_dir() && !to_path(path).is_symlink() {
            self.listed.insert(path.into(), discover::list(path));
            self.directories.insert(path.into());
        } else {
            self.file(path);
        }
    }
}
