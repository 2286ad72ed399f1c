//! A compile of Rust: it runs traced, with what its words and sources lead to. What it looked for in vain though it is there is
//! added, and it runs again. So nothing that a macro asks for is hidden from it, and what it did read is known exactly.

use super::{Failed, Realised, Steps, Watch};
use crate::discover::absent::Lookups;
use crate::discover::ways::{self, Ways};
use crate::discover::{self, Found, Question, crates, is_system, parent, to_path, wide};
use crate::graph::{EdgeId, absolute};
use crate::lower::Toolchain;
use crate::recipe::Recipe;
use crate::roots::{Mode, Roots};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::Reads;
use nixstore::store::Failure;
use nixstore::text;
use std::collections::BTreeSet;
use std::fs;

/// How often it is run: a macro may ask for one file after the other.
const ROUNDS: usize = 8;

/// What a sandbox has of its own.
const UNSEEN: [&str; 7] = ["/dev/", "/etc/", "/homeless-shelter/", "/nix/", "/proc/", "/sys/", "/tmp/"];

impl Steps<'_> {
    /// Runs it with what was `known` of it, else with what discovery finds. Answers what it was given, and what it did read.
    pub(super) fn of_crate(
        &self,
        edge: EdgeId,
        recipe: &Recipe,
        known: Option<(Found, Option<bool>)>,
    ) -> Result<(Found, Found, Realised), Failed> {
        let (mut found, holds_root) = match known {
            Some(known) => known,
            None => (self.supposed_of_crate(edge, recipe), None),
        };
        let recipe = &*ways::written_where_it_is(recipe);
        let mut has_all = false;
        for _ in 0..ROUNDS {
            let realised = self.attempt(recipe, &found, holds_root, Watch::Trial(1))?;
            let mut reads = self.reads(&realised)?;
            // The compiler removes what an earlier run has left.
            let is_own = |path: &String| recipe.depfile.as_ref().is_some_and(|own| *own == bytes(path));
            reads.absent.retain(|path| !is_own(path));
            let is_more = self.add_missed(&mut found, &reads, recipe, &realised.tools);
            if is_more {
                continue;
            }
            let is_over = reads.exit == 0 || found.unknowable.is_some();
            if is_over {
                let read = self.read_of_crate(&found, &reads, recipe);
                return Ok((found, read, realised));
            }
            let log = self.log(&realised)?;
            // Which crate is missed is not seen: directories are listed for them.
            if has_all || !log.contains_str("E0463") {
                return Err(Failed { error: Failure::Exit(reads.exit).into(), log });
            }
            has_all = true;
            if let (Some(call), Some((_, cwd))) = (recipe.rustc(), recipe.runs().next()) {
                crates::all(&call, cwd.as_bstr()).iter().for_each(|path| found.file(path.as_bstr()));
                found.files.retain(|path| !recipe.outputs.contains(path));
            }
        }
        Err(format!("the compiler looks for more files each time it is run; it was run {ROUNDS} times").into())
    }

    fn supposed_of_crate(&self, edge: EdgeId, recipe: &Recipe) -> Found {
        let stated = self.drive.stated(edge);
        let question = Question { recipe, stated: &stated, roots: &Roots::default(), headers: self.headers };
        discover::discover(&question).found().unwrap_or_default()
    }

    /// Adds what was looked for in vain though it is there, and what else lies in directories that were listed. Answers whether
    /// there was any.
    fn add_missed(&self, found: &mut Found, reads: &Reads, recipe: &Recipe, tools: &Toolchain) -> bool {
        let mut is_more = wide::add_missed(found, reads, recipe, self.drive.graph);
        if found.unknowable.is_some() {
            return false;
        }
        let searched = searched(recipe);
        let is_unseen = |path: &BString| self.is_unseen(path, found, recipe);
        let listed: Vec<BString> = reads.directories.iter().map(bytes).filter(|path| !is_unseen(path)).collect();
        for directory in listed {
            let is_of_tools = tools.holds(absolute("x".into(), directory.as_bstr()).as_bstr());
            if is_of_tools || searched.contains(&directory) || found.listed.contains_key(&directory) {
                continue;
            }
            found.directories.insert(directory.clone());
            found.listed.insert(directory.clone(), discover::list(directory.as_bstr()));
            is_more = true;
        }
        is_more
    }

    /// Of what it was given, what it did read, and what it looked for in vain.
    pub(super) fn read_of_crate(&self, found: &Found, reads: &Reads, recipe: &Recipe) -> Found {
        let read: BTreeSet<BString> =
            reads.files.iter().chain(&reads.looked).chain(&reads.overwritten).map(bytes).collect();
        let mut narrowed = found.clone();
        narrowed.files.retain(|path| read.contains(path) || is_read_by_link(path.as_bstr(), &read));
        let is_made = |path: &BString| recipe.outputs.iter().chain(&recipe.depfile).any(|made| made == path);
        let mut lookups = Lookups::default();
        for path in reads.absent.iter().map(bytes) {
            if !self.is_unseen(&path, found, recipe) && !is_made(&path) && !is_there(&path) {
                lookups.missing(path.as_bstr());
            }
        }
        // A crate is found by listing.
        for path in narrowed.files.iter().filter(|path| crates::is_crate(path.as_bstr())) {
            let links = recipe.rustc().is_some_and(|call| call.links());
            for other in crates::other_kinds(path.as_bstr()).filter(|other| !found.files.contains(other)) {
                // Where it does not link, it needs no other kind than the one that it has read.
                if links && !is_there(&other) {
                    lookups.missing(other.as_bstr());
                }
            }
        }
        narrowed.absent.clear();
        lookups.into_found(&mut narrowed);
        narrowed
    }

    /// Whether a path belongs to the host, or to the sandbox itself, and not to what is compiled, which may lie anywhere.
    fn is_unseen(&self, path: &BString, found: &Found, recipe: &Recipe) -> bool {
        let is_of_sandbox =
            UNSEEN.iter().any(|top| path.starts_with(top.as_bytes()) || *path == top.trim_end_matches('/'));
        let sources = found.files.iter().map(|file| BString::from(parent(file.as_bstr())));
        let is_of_crate = || {
            self.drive.roots.contain(path.as_bstr())
                || wide::is_below(path, &recipe.build_directory)
                || sources.into_iter().any(|directory| wide::is_below(path, &directory))
        };
        is_system(path.as_bstr()) || is_of_sandbox && !is_of_crate()
    }

    /// What binds it to its path: the metadata of a crate have the absolute paths of its sources.
    pub(super) fn binding_of_crate(&self, recipe: &Recipe, found: &Found) -> Option<BString> {
        let roots = &self.drive.roots;
        if let Some(word) = recipe.bound_by(roots) {
            return Some(word);
        }
        if self.drive.mode != Mode::Auto {
            return None;
        }
        let (call, (_, cwd)) = (recipe.rustc()?, recipe.runs().next()?);
        let remapped: Vec<BString> = call.remapped.iter().map(|path| absolute(path.as_bstr(), cwd.as_bstr())).collect();
        let is_bound = |path: &&BString| {
            roots.contain(path.as_bstr())
                && !crates::is_crate(path.as_bstr())
                && !remapped.iter().any(|directory| wide::is_below(path, directory))
        };
        let is_text = |path: &&BString| path.ends_with(b".rs");
        let source = found.files.iter().filter(is_text).find(is_bound)?;
        Some(format!("`{source}`, whose place is told to other crates").into())
    }
}

/// Directories in which crates and libraries are looked for by name.
fn searched(recipe: &Recipe) -> BTreeSet<BString> {
    let (Some(call), Some((_, cwd))) = (recipe.rustc(), recipe.runs().next()) else { return BTreeSet::new() };
    let searched = call.searched.iter().map(|(_, path)| absolute(path.as_bstr(), cwd.as_bstr()));
    let mut ways = Ways::of(recipe);
    let searched = searched.map(|path| ways.directory(path.as_bstr()));
    searched.chain(recipe.outputs.iter().map(|path| parent(path.as_bstr()).into())).collect()
}

fn is_there(path: &BString) -> bool {
    fs::symlink_metadata(to_path(path.as_bstr())).is_ok()
}

fn is_read_by_link(path: &BStr, read: &BTreeSet<BString>) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    fs::canonicalize(to_path(path)).is_ok_and(|real| read.contains(real.as_os_str().as_bytes().as_bstr()))
}

fn bytes(text: impl AsRef<str>) -> BString {
    text::to_bytes(text.as_ref()).into()
}
