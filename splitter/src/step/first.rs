//! The first run of a step of which nothing is known: with what discovery finds, and where that was too little, once more
//! with everything that the graph allows.

use super::{Failed, Realised, Steps, Watch};
use crate::discover::absent::Lookups;
use crate::discover::{self, Answer, Found, Question, ways, wide};
use crate::drive::Likely;
use crate::graph::EdgeId;
use crate::host_tools::SEARCH_PATH;
use crate::recipe::{Links, Recipe};
use crate::roots::{Mode, Roots, View};
use bstr::{BString, ByteSlice as _};
use nixstore::manifest::Reads;
use nixstore::store::Failure;
use nixstore::text;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, PoisonError};

/// What came of it.
pub(super) struct First {
    pub found: Found,
    pub realised: Realised,
    /// A file that discovery had not found.
    pub missed: Option<BString>,
    /// It saw more than it reads.
    pub traced: bool,
}

impl Steps<'_> {
    /// None where no sandbox shows what the kernel shows.
    pub(super) fn first(&self, edge: EdgeId, recipe: &Recipe) -> Result<Option<First>, Failed> {
        // What a command did not write that nobody reads directly is stated and not there: a stamp behind a phony name.
        let is_there = |path: &BString| fs::symlink_metadata(discover::to_path(path.as_bstr())).is_ok();
        let (stated, unwritten): (Vec<_>, Vec<_>) = self.drive.stated(edge).into_iter().partition(is_there);
        let none = Roots::default();
        let roots = if self.is_bound_by_text(recipe) { &self.drive.roots } else { &none };
        let question = Question { recipe, stated: &stated, roots, headers: self.headers };
        let answer = self.found_ahead(edge).map_or_else(
            || discover::discover_long(&question, &|| self.begin(&question)),
            |found| Answer::Found(found.into()),
        );
        let mut found = match answer {
            Answer::Found(found) => *found,
            Answer::Leaves(links) if recipe.links == Links::ByText && !links.is_disjoint(self.written_through()) => {
                return Ok(None);
            }
            Answer::Leaves(_) | Answer::Nothing => {
                let (found, realised) = self.traced(edge, recipe, &Found::default(), None)?;
                return Ok(Some(First { found, realised, missed: None, traced: true }));
            }
        };
        let mut lookups = Lookups::default();
        unwritten.iter().for_each(|path| lookups.missing(path.as_bstr()));
        lookups.into_found(&mut found);
        match self.attempt(recipe, &found, None, Watch::No) {
            Ok(realised) => Ok(Some(First { found, realised, missed: None, traced: false })),
            // What it printed the first time is what the user is told, if this does not help either.
            Err(failed) if failed.misses_a_file() => self.with_more(edge, &question, &found).ok_or(failed).map(Some),
            Err(failed) => Err(failed),
        }
    }

    /// Has the store begin what this step probably is, before all that it reads is known.
    fn begin(&self, question: &Question<'_>) {
        let Some(Likely { tools, begins }) = &self.drive.likely else { return };
        let Some(found) = discover::guess(question) else { return };
        let Ok((view, _)) = self.view(question.recipe, &found) else { return };
        let Ok(derivation) = self.derivation(question.recipe, &found, view, tools, Watch::No) else { return };
        if self.drive.afresh || self.drive.store.realised(&derivation).is_ok_and(|known| known.is_none()) {
            begins();
            self.drive.store.begin(&derivation);
        }
    }

    /// A recipe as the kernel goes its paths, but for links through which edges write, and by which they know each other's files.
    pub(super) fn following(&self, recipe: &Recipe) -> Recipe {
        let links = match &recipe.links {
            Links::ByText => Links::FollowedBut(self.written_through().clone()),
            followed @ Links::FollowedBut(_) => followed.clone(),
        };
        Recipe { links, ..recipe.clone() }
    }

    fn written_through(&self) -> &Arc<BTreeSet<BString>> {
        self.written_through.get_or_init(|| Arc::new(ways::written_through(self.drive.graph)))
    }

    /// Whether it depends on the preprocessed text alone where a step can run, so that it is worth to be looked at.
    pub(super) fn is_bound_by_text(&self, recipe: &Recipe) -> bool {
        self.drive.mode == Mode::Auto
            && recipe.names(&self.drive.roots)
            && recipe.bound_by(&self.drive.roots).is_none()
            && recipe.word_for_counts().is_none()
            && recipe.word_for_paths().is_none()
    }

    /// Once more, with more than was `found`; none if that does not help.
    fn with_more(&self, edge: EdgeId, question: &Question<'_>, found: &Found) -> Option<First> {
        let recipe = question.recipe;
        let unknown = |path: &&BString| !found.files.contains(*path) && !found.system.contains(*path);
        if let Some(more) = discover::discover_again(question) {
            let missed = more.files.iter().chain(&more.system).find(unknown).cloned();
            if let (Some(missed), Ok(realised)) = (missed, self.attempt(recipe, &more, None, Watch::No)) {
                return Some(First { found: more, realised, missed: Some(missed), traced: false });
            }
        }
        let (more, realised) = self.traced(edge, recipe, found, Some(View::Real)).ok()?;
        let missed = more.files.iter().find(unknown).cloned();
        Some(First { found: more, realised, missed, traced: true })
    }

    /// Runs it where it sees the whole project, and traced: what it opened, listed and looked at is what it reads, besides
    /// what was `found` of the host's tools and looked for in vain. By default it is run where nothing binds it. What it
    /// looked for in vain though it is there is added, and it runs again.
    fn traced(
        &self,
        edge: EdgeId,
        recipe: &Recipe,
        found: &Found,
        view: Option<View>,
    ) -> Result<(Found, Realised), Failed> {
        let project = self.project();
        let recipe = self.following(recipe);
        let recipe = &*ways::written_where_it_is(&recipe);
        let mut all = self.wide_view(edge, recipe);
        all.system.extend(found.system.iter().cloned());
        all.directories.extend(found.directories.iter().cloned());
        for _ in 0..ROUNDS {
            let realised = match view {
                None => self.attempt(recipe, &all, None, Watch::Trial(1)),
                Some(view) => self.realise(recipe, &all, view, &self.tools(recipe, &all)?, Watch::Trial(1)),
            };
            let realised = match realised {
                // Such as the response file of another command, which was there when the project was listed.
                Err(_) if forget_gone(&mut all.files) => continue,
                realised => realised?,
            };
            let reads = self.reads(&realised)?;
            if !wide::add_missed(&mut all, &reads, recipe, self.drive.graph) {
                // Where it has to run elsewhere, how it ended here says nothing.
                if reads.exit != 0 && all.unknowable.is_none() {
                    return Err(Failed { error: Failure::Exit(reads.exit).into(), log: self.log(&realised)? });
                }
                let mut narrowed = wide::narrowed(&all, &reads, recipe, self.drive.graph, project);
                narrowed.absent.extend(found.absent.iter().cloned());
                return Ok((narrowed, realised));
            }
        }
        Err(format!("the command looks for more files each time it is run; it was run {ROUNDS} times").into())
    }

    /// All that the graph lets a step read.
    pub(super) fn wide_view(&self, edge: EdgeId, recipe: &Recipe) -> Found {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = wide::view(self.project(), self.drive.graph, edge, &left);
        if let Links::FollowedBut(kept) = &recipe.links {
            all.files.retain(|path| !kept.contains(path)); // which are directories there
        }
        // Wherever they lie.
        for path in wide::programs(recipe, SEARCH_PATH).own {
            let path = path.as_os_str().as_bytes().as_bstr();
            if !self.is_of_host(path) {
                all.file(path);
                all.modules(path);
            }
        }
        // What an earlier run of it has left is not what it reads.
        let recipe = ways::written_where_it_is(recipe);
        for path in recipe.outputs.iter().chain(&recipe.depfile).chain(recipe.response.iter().map(|(path, _)| path)) {
            all.files.remove(path);
            if discover::to_path(path.as_bstr()).is_dir() {
                all.files.retain(|file| !wide::is_below(file, path)); // what an earlier run of it made
            }
        }
        recipe.runs().for_each(|(_, cwd)| all.directory(cwd.as_bstr())); // it may lie outside of the project
        all.follow_links(&recipe);
        all
    }

    pub(super) fn project(&self) -> &wide::Project {
        self.project.get_or_init(|| {
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            wide::Project::list(self.drive.graph, self.plan, &left.values().flatten().cloned().collect())
        })
    }

    /// What a traced run did with files, at their real paths.
    pub(super) fn reads(&self, realised: &Realised) -> Result<Reads, Failed> {
        let reads = fs::read(self.drive.store.files(realised.path(&crate::lower::output("reads"))?)?)?;
        let mut reads: Reads = serde_json::from_slice(&reads)?;
        if realised.view == View::Canonical {
            let roots = &self.drive.roots;
            for list in reads.lists() {
                for path in list {
                    *path = text::from_bytes(&roots.real_text(&text::to_bytes(path)));
                }
            }
        }
        Ok(reads)
    }
}

/// Takes out of a set what is not there any more; tells whether that was anything.
fn forget_gone(files: &mut BTreeSet<BString>) -> bool {
    let before = files.len();
    files.retain(|path| fs::symlink_metadata(discover::to_path(path.as_bstr())).is_ok());
    files.len() < before
}

/// How often a command is run that each time looks for something else: a program of the host starts another.
const ROUNDS: usize = 8;
