//! A step in the host's own file system, where its command sees everything. It is traced, and one that read more than its
//! inputs is run again with what it read among them: so the derivation names all that its result depends on.

use super::{Failed, Realised, Steps};
use crate::discover::{self, Found, Question, is_system, to_path, wide};
use crate::graph::EdgeId;
use crate::recipe::{Kind, Recipe};
use crate::roots::{Roots, View};
use bstr::{BString, ByteSlice as _};
use nixstore::store::Failure;
use nixstore::text;

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
        let mut found = known.unwrap_or_else(|| self.supposed(edge, recipe));
        for _ in 0..ROUNDS {
            let tools = self.tools(recipe, &found)?;
            let error = match self.realise(recipe, &found, View::Real, &tools, true) {
                Ok(realised) => {
                    if recipe.kind == Kind::Other {
                        self.looked_for_in_vain(&mut found, recipe, &realised)?;
                    }
                    return Ok((found, realised));
                }
                Err(failed) => failed,
            };
            let Some(Failure::Undeclared(paths)) = error.error.downcast_ref() else { return Err(error) };
            for path in paths.iter().map(|path| BString::from(text::to_bytes(path))) {
                if to_path(path.as_bstr()).is_dir() {
                    found.listed.insert(path.clone(), discover::list(path.as_bstr()));
                    found.directories.insert(path);
                } else {
                    found.file(path.as_bstr());
                }
            }
        }
        Err(format!("the command reads other files each time it is run; it was run {ROUNDS} times").into())
    }

    /// What discovery finds; of a command that may read anything, what is stated.
    fn supposed(&self, edge: EdgeId, recipe: &Recipe) -> Found {
        let stated = self.drive.stated(edge);
        let question = Question { recipe, stated: &stated, roots: &Roots::default(), headers: &self.headers };
        discover::discover(&question).unwrap_or_else(|| {
            let mut found = Found::default();
            stated.iter().for_each(|path| found.existing(path.as_bstr(), discover::Named::Everything));
            found.files.retain(|path| !recipe.outputs.contains(path));
            found
        })
    }

    fn looked_for_in_vain(&self, found: &mut Found, recipe: &Recipe, realised: &Realised) -> Result<(), Failed> {
        let reads = self.reads(realised)?;
        found.absent = wide::absent(&reads, recipe, self.drive.graph, self.project());
        found.absent.retain(|absent| !absent.directories.iter().all(|directory| is_system(directory.as_bstr())));
        Ok(())
    }
}
