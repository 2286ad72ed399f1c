//! Paths as the kernel goes them: a link to a directory on the way is a file of its own, and what lies behind it is where it is. A sandbox
//! that has both leads where the host does, also out of a link by `..`.

use super::{Found, is_system, led, parent, to_path};
use crate::graph::{Graph, absolute};
use crate::recipe::{Links, Recipe};
use bstr::{BStr, BString, ByteSlice as _};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// More links than these on one way are a circle, as the kernel counts.
const LINKS: usize = 40;

/// What was found out of directories.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Links are not looked for: every path is where its text says.
    by_text: bool,
    /// These are no links, but directories.
    kept: Arc<BTreeSet<BString>>,
    /// Where they are, by the path that leads there.
    directories: HashMap<BString, BString>,
    /// The links outside of the system that lead there, each where it is.
    pub links: BTreeSet<BString>,
}

impl Ways {
    /// For the files of a command. One that reads what others make knows it by the paths that they know it by.
    pub fn of(recipe: &Recipe) -> Self {
        match &recipe.links {
            Links::ByText => Self { by_text: true, ..Self::default() },
            Links::FollowedBut(kept) => Self { kept: kept.clone(), ..Self::default() },
        }
    }

    /// Where a file is, or would be: the last part of its path is not followed.
    pub fn file(&mut self, path: &BStr) -> BString {
        match path.rsplit_once_str("/") {
            Some((directory, name)) if !is_system(path) && !directory.is_empty() => {
                beside(&self.directory(directory.as_bstr()), name)
            }
            _ => path.into(),
        }
    }

    /// The same of an absolute path that may have `..` in it, which after a link is not where the text says.
    pub fn unread(&mut self, path: &BStr) -> BString {
        let (directory, name) = path.rsplit_once_str("/").unwrap_or((b"", path));
        let directory = self.along(BString::default(), directory.split_str("/"), LINKS);
        beside(&directory, name)
    }

    /// What is missing where nothing is at a path: that, or a directory that it leads through and out of again.
    pub fn missed(&mut self, path: &BStr) -> BString {
        self.unread(led::missing(path).unwrap_or(path))
    }

    /// Where parts of a path lead, one after the other.
    fn along<'a>(&mut self, start: BString, parts: impl Iterator<Item = &'a [u8]>, links: usize) -> BString {
        parts.filter(|part| !part.is_empty() && *part != b".").fold(start, |at, part| match part {
            b".." => parent(at.as_bstr()).into(),
            part => self.directory_by(beside(&at, part).as_bstr(), links),
        })
    }

    /// Where a directory is, or would be. The path is absolute and normal.
    pub fn directory(&mut self, path: &BStr) -> BString {
        self.directory_by(path, LINKS)
    }

    fn directory_by(&mut self, path: &BStr, links: usize) -> BString {
        if path.len() < 2 || self.by_text || is_system(path) {
            return path.into();
        }
        if let Some(known) = self.directories.get(path) {
            return known.clone();
        }
        let (above, name) = path.rsplit_once_str("/").unwrap_or((b"", path));
        let above = self.directory_by(above.as_bstr(), links);
        let here = beside(&above, name);
        let is_link = links > 0 && !is_system(here.as_bstr()) && !self.kept.contains(&here);
        let target = fs::read_link(to_path(here.as_bstr())).ok().filter(|_| is_link);
        let real = match target {
            Some(target) => {
                self.links.insert(here);
                let target = target.as_os_str().as_bytes();
                let start = if target.starts_with(b"/") { BString::default() } else { above };
                self.along(start, target.split_str("/"), links - 1)
            }
            None => here,
        };
        self.directories.insert(path.into(), real.clone());
        real
    }
}

fn beside(directory: &BString, name: &[u8]) -> BString {
    absolute(name.as_bstr(), directory.as_bstr())
}

/// The links among the directories by whose paths edges write files.
pub(crate) fn written_through(graph: &Graph) -> BTreeSet<BString> {
    let made = graph.edges().filter(|(_, edge)| !edge.phony).flat_map(|(_, edge)| edge.outputs);
    let paths = made.map(|file| absolute(graph.file(*file).path, graph.working_directory()));
    let directories: HashSet<BString> = paths.map(|path| parent(path.as_bstr()).into()).collect();
    links_on(&directories.into_iter().collect())
}

/// The links outside of the system among directories and those that they are in, by their text.
pub(crate) fn links_on(directories: &BTreeSet<BString>) -> BTreeSet<BString> {
    let all = directories.iter().flat_map(|path| to_path(path.as_bstr()).ancestors()).collect::<BTreeSet<_>>();
    let links = all.into_iter().filter(|path| path.is_symlink()).map(|path| BString::from(path.as_os_str().as_bytes()));
    links.filter(|path| !is_system(path.as_bstr())).collect()
}

/// A recipe with outputs where they are, without links on the way.
pub(crate) fn written_where_it_is(recipe: &Recipe) -> Cow<'_, Recipe> {
    let mut ways = Ways::of(recipe);
    let outputs = recipe.outputs.iter().map(|path| ways.file(path.as_bstr())).collect();
    let depfile = recipe.depfile.as_ref().map(|path| ways.file(path.as_bstr()));
    match ways.links.is_empty() {
        true => Cow::Borrowed(recipe),
        false => Cow::Owned(Recipe { outputs, depfile, ..recipe.clone() }),
    }
}

impl Found {
    /// Puts every path where it is, and the links that lead there among the files.
    pub(crate) fn follow_links(&mut self, recipe: &Recipe) {
        let mut ways = Ways::of(recipe);
        for path in self.files.iter().chain(&self.names) {
            ways.file(path.as_bstr());
        }
        for path in self.directories.iter().chain(self.listed.keys()) {
            ways.directory(path.as_bstr());
        }
        if ways.links.is_empty() {
            return;
        }
        let mut files = |paths: &BTreeSet<BString>| paths.iter().map(|path| ways.file(path.as_bstr())).collect();
        let (all, names, represented): (BTreeSet<_>, _, _) =
            (files(&self.files), files(&self.names), files(&self.represented));
        let (system, own) = all.into_iter().partition(|path: &BString| is_system(path.as_bstr()));
        (self.files, self.names, self.represented) = (own, names, represented);
        self.system.extend::<BTreeSet<BString>>(system);
        let directories = self.directories.iter().map(|path| ways.directory(path.as_bstr()));
        self.directories = directories.filter(|path| !is_system(path.as_bstr())).collect();
        let listed = self.listed.iter().map(|(path, names)| (ways.directory(path.as_bstr()), names.clone()));
        self.listed = listed.collect::<BTreeMap<_, _>>();
        self.files.extend(ways.links);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Command;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn what_lies_behind_links_is_where_it_is_and_they_are_files() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        let at = |name: &str| BString::from(top.join(name).as_os_str().as_bytes());
        fs::create_dir_all(top.join("real/d1/d2")).unwrap();
        fs::write(top.join("real/d1/d2/a.c"), "").unwrap();
        for (target, link) in [("real", "link"), ("../d1/d2", "real/d3/in"), ("/usr/include", "of-host")] {
            fs::create_dir_all(top.join(link).parent().unwrap()).unwrap();
            symlink(target, top.join(link)).unwrap();
        }
        let set = |names: &[&str]| names.iter().map(|name| at(name)).collect::<BTreeSet<_>>();
        let mut found = Found {
            files: set(&["link/d3/in/a.c", "of-host/stdio.h"]),
            directories: set(&["link/d3/in", "link/none"]),
            names: set(&["link/x"]),
            ..Found::default()
        };
        found.follow_links(&alone());
        let expected = Found {
            files: set(&["real/d1/d2/a.c", "link", "real/d3/in", "of-host"]),
            directories: set(&["real/d1/d2", "real/none"]),
            names: set(&["real/x"]),
            system: ["/usr/include/stdio.h".into()].into(),
            ..Found::default()
        };
        assert_eq!(found, expected);
        let again = found.clone();
        found.follow_links(&alone());
        assert_eq!(found, again);
    }

    fn alone() -> Recipe {
        let command = Command { alone: true, ..Command::default() };
        Recipe::new(&command, Vec::new(), "/".into(), &|_| None)
    }

    #[test]
    fn a_circle_of_links_leads_nowhere() {
        let top = tempfile::tempdir().unwrap();
        for (target, link) in [("b", "a"), ("a", "b")] {
            symlink(Path::new(target), top.path().join(link)).unwrap();
        }
        let path = BString::from(top.path().join("a/x").as_os_str().as_bytes());
        Ways::default().file(path.as_bstr());
    }
}
