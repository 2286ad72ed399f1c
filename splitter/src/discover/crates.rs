//! What a compile of Rust is likely to read: the sources that [`mentions`] leads to, the crates that are named and those that
//! these name, and the files of its words. Whether that is all is seen when it runs (`step::crates`).

use super::{Found, Named, Question, parent, to_path};
use crate::graph::absolute;
use crate::rustc::Call;
use crate::rustc::mentions::{Mention, Piece, mentions};
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

/// What the sources of a crate mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files that are there, absolute.
    pub files: BTreeSet<BString>,
    /// Variables of the environment.
    pub variables: BTreeSet<BString>,
}

/// More files are not looked for.
const MOST: usize = 20_000;

/// What the source at `root`, absolute, leads to. `variable` tells the value of a variable.
pub fn sources(root: &BStr, variable: &dyn Fn(&BStr) -> Option<BString>) -> Sources {
    let mut sources = Sources::default();
    // Each with the directory in which its modules have their files.
    let mut waiting = vec![(BString::from(root), BString::from(parent(root)))];
    while let Some((file, directory)) = waiting.pop() {
        if sources.files.len() > MOST || !to_path(file.as_bstr()).is_file() || !sources.files.insert(file.clone()) {
            continue;
        }
        let Ok(text) = fs::read(to_path(file.as_bstr())) else { continue };
        for mention in mentions(text.as_bstr()) {
            match mention {
                Mention::Module { within, name, paths } => {
                    let inner =
                        within.iter().fold(directory.clone(), |at, name| absolute(name.as_bstr(), at.as_bstr()));
                    let beside = if within.is_empty() { parent(file.as_bstr()) } else { inner.as_bstr() };
                    for path in paths.iter().map(|path| absolute(path.as_bstr(), beside)) {
                        let directory = parent(path.as_bstr()).into();
                        waiting.push((path, directory));
                    }
                    let own = absolute(name.as_bstr(), inner.as_bstr());
                    waiting.push(([own.as_slice(), b".rs"].concat().into(), own.clone()));
                    waiting.push(([own.as_slice(), b"/mod.rs"].concat().into(), own));
                }
                Mention::File(pieces) => {
                    let piece = |piece: Piece| match piece {
                        Piece::Text(text) => Some(text),
                        Piece::Variable(name) => variable(name.as_bstr()),
                    };
                    let path: Option<Vec<BString>> = pieces.into_iter().map(piece).collect();
                    if let Some(path) = path {
                        let path = absolute(BString::from(path.concat()).as_bstr(), parent(file.as_bstr()));
                        if path.ends_with(b".rs") {
                            let directory = parent(path.as_bstr()).into();
                            waiting.push((path, directory));
                        } else if to_path(path.as_bstr()).is_file() {
                            sources.files.insert(path);
                        }
                    }
                }
                Mention::Variable(name) => drop(sources.variables.insert(name)),
            }
        }
    }
    sources
}

pub(super) fn discover(question: &Question<'_>) -> Option<Found> {
    let recipe = question.recipe;
    let (call, (_, cwd)) = (recipe.rustc()?, recipe.runs().next()?);
    let at = |path: &BString| absolute(path.as_bstr(), cwd.as_bstr());
    let mut found = Found::default();
    question.stated.iter().for_each(|path| found.file(path.as_bstr()));
    for source in &call.sources {
        let sources = sources(at(source).as_bstr(), &|name| recipe.env.get(name).cloned());
        sources.files.iter().for_each(|path| found.file(path.as_bstr()));
    }
    call.target.iter().for_each(|path| found.existing(at(path).as_bstr(), Named::Everything));
    for (_, directory) in &call.searched {
        found.existing(at(directory).as_bstr(), Named::Directories);
        for library in &call.libraries {
            for name in [[b"lib", library.as_slice(), b".a"].concat(), [b"lib", library.as_slice(), b".so"].concat()] {
                let path = absolute(name.as_bstr(), at(directory).as_bstr());
                found.existing(path.as_bstr(), Named::Everything);
            }
        }
    }
    recipe.outputs.iter().chain(&recipe.depfile).for_each(|path| found.directory(parent(path.as_bstr())));
    let externs: Vec<BString> = call.externs.iter().map(at).collect();
    crates(&call, &externs, cwd.as_bstr()).iter().for_each(|path| found.existing(path.as_bstr(), Named::Everything));
    for directory in call.listed().map(at).filter(|path| !super::is_system(path.as_bstr())) {
        let names = super::list(directory.as_bstr());
        names.iter().map(|name| absolute(name.as_bstr(), directory.as_bstr())).for_each(|path| {
            if is_crate(path.as_bstr()) {
                found.existing(path.as_bstr(), Named::Everything);
            }
        });
        found.listed.insert(directory, names);
    }
    Some(found)
}

/// The files of crates that are `named`, and of those that these name in turn. A crate names another with the end of its file's
/// name, which Cargo makes of sixteen digits; a file without such an end may belong to anybody.
fn crates(call: &Call, named: &[BString], cwd: &BStr) -> BTreeSet<BString> {
    let mut by_end: BTreeMap<BString, Vec<BString>> = BTreeMap::new();
    let mut others = Vec::new();
    for directory in call.searched_for_crates().map(|path| absolute(path.as_bstr(), cwd)) {
        for name in super::list(directory.as_bstr()) {
            let path = absolute(name.as_bstr(), directory.as_bstr());
            match end_of(name.as_bstr()) {
                _ if !is_crate(name.as_bstr()) => {}
                Some(end) => by_end.entry(end.into()).or_default().push(path),
                None => others.push(path),
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut waiting: Vec<BString> = named.iter().cloned().chain(others).collect();
    while let Some(path) = waiting.pop() {
        if !found.insert(path.clone()) || path.ends_with(b".so") {
            continue; // a macro's own crates are in it
        }
        // The library holds the same, behind much that is of no interest.
        let stem = path.strip_suffix(b".rlib").map(|stem| BString::from([stem, b".rmeta"].concat()));
        let read = |path: &BString| fs::read(to_path(path.as_bstr())).ok();
        let Some(bytes) = stem.as_ref().and_then(read).or_else(|| read(&path)) else { continue };
        for end in ends(&bytes) {
            waiting.extend(by_end.remove(end).into_iter().flatten());
        }
    }
    if !call.links() {
        // Where both are there only the one is read that is written first.
        let has_rmeta = |path: &BString| {
            let stem = path.strip_suffix(b".rlib");
            stem.is_some_and(|stem| found.contains([stem, b".rmeta"].concat().as_bstr()))
        };
        let unread: Vec<BString> =
            found.iter().filter(|path| !named.contains(path) && has_rmeta(path)).cloned().collect();
        for path in unread {
            found.remove(&path);
        }
    }
    found
}

/// Whether a file is that of a crate, by its name.
pub(crate) fn is_crate(path: &BStr) -> bool {
    [".rlib", ".rmeta", ".so"].iter().any(|end| path.ends_with(end.as_bytes()))
}

/// How many digits Cargo ends a name with.
const DIGITS: usize = 16;

/// What a name ends with behind its last `-`, if that is made by Cargo.
fn end_of(name: &BStr) -> Option<&BStr> {
    let stem = name.rsplit_once_str(".")?.0;
    let (_, end) = stem.rsplit_once_str("-")?;
    (end.len() == DIGITS && end.iter().all(is_digit)).then_some(end.as_bstr())
}

fn is_digit(byte: &u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)
}

/// Whatever in a text looks like such an end.
fn ends(bytes: &[u8]) -> impl Iterator<Item = &BStr> {
    bytes.find_iter("-").filter_map(|at| {
        let end = bytes.get(at + 1..at + 1 + DIGITS)?;
        end.iter().all(is_digit).then_some(end.as_bstr())
    })
}

/// The files beside those of crates that were read, by which the same crate could be found: other kinds of file with its name.
pub(crate) fn other_kinds(path: &BStr) -> impl Iterator<Item = BString> + '_ {
    let stem = path.rsplit_once_str(".").map_or(path.as_bytes(), |(stem, _)| stem);
    [".rlib", ".rmeta", ".so"].iter().map(move |end| BString::from([stem, end.as_bytes()].concat()))
}

/// All crates that lie in the directories that are searched.
pub(crate) fn all(call: &Call, cwd: &BStr) -> Vec<BString> {
    let directories = call.searched_for_crates().map(|path| absolute(path.as_bstr(), cwd));
    let below = |directory: BString| {
        let entries = fs::read_dir(to_path(directory.as_bstr())).into_iter().flatten().flatten();
        entries.map(|entry| BString::from(entry.path().as_os_str().as_bytes())).collect::<Vec<_>>()
    };
    directories.flat_map(below).filter(|path| is_crate(path.as_bstr())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_leads_to_modules_and_files() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "lib.rs",
                "mod a; mod b { mod c; #[path = \"p.rs\"] mod d; } include!(concat!(env!(\"OUT_DIR\"), \"/g.rs\"));",
            ),
            ("a.rs", "mod x; const T: &str = include_str!(\"t.txt\"); mod none;"),
            ("a/x/mod.rs", "mod y;"),
            ("a/x/y.rs", "option_env!(\"V\");"),
            ("b/c.rs", ""),
            ("b/p.rs", ""),
            ("t.txt", "mod z;"),
            ("z.rs", ""),
            ("out/g.rs", ""),
        ] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let at = |name: &str| BString::from(directory.path().join(name).as_os_str().as_bytes());
        let sources = sources(at("lib.rs").as_bstr(), &|name| (name == "OUT_DIR").then(|| at("out")));
        let expected = ["lib.rs", "a.rs", "a/x/mod.rs", "a/x/y.rs", "b/c.rs", "b/p.rs", "t.txt", "out/g.rs"].map(at);
        assert_eq!(sources.files, expected.into());
        assert_eq!(sources.variables, ["OUT_DIR", "V"].map(BString::from).into());
    }

    #[test]
    fn a_crate_is_known_by_the_end_of_its_name() {
        assert_eq!(end_of("liba-463227f62ae4fc08.rmeta".into()), Some("463227f62ae4fc08".into()));
        assert_eq!(end_of("liba-463227.rmeta".into()), None);
        let found: Vec<&BStr> = ends(b"x-463227f62ae4fc08y--0123456789abcdef-0123").collect();
        assert_eq!(found, ["463227f62ae4fc08", "0123456789abcdef"]);
    }
}
