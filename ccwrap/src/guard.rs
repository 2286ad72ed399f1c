//! Whether what a result depends on is as it was. First by looks alone (stat); where these differ, the content is the judge,
//! or the names that a directory holds.

use crate::entry::{Directory, File, Guards, Place};
use bstr::{BStr, BString, ByteSlice as _};
use ccwrap_format::entry::place;
use nixstore::{Sha256, StoreDir, StorePath, nar};
use splitter::discover::to_path;
use splitter::identity::Identity;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::SystemTime;

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// All is as it was, by looks.
    Same,
    /// All is as it was; what stands for that now has been put into the guards.
    Refreshed,
    /// Something is not.
    Changed(Change),
}

/// What is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file holds something else, or is gone.
    File(BString),
    /// A file is there that had been looked for in vain.
    Appeared(BString),
    /// A path that has to be there is not.
    Gone(BString),
    /// A directory is another one.
    Moved(BString),
    /// A program, header or database of the host.
    Host(BString),
    /// A variable of the environment.
    Variable(BString),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{path}` changed"),
            Self::Appeared(path) => write!(f, "`{path}` appeared"),
            Self::Gone(path) => write!(f, "`{path}` is gone"),
            Self::Moved(path) => write!(f, "`{path}` is another directory"),
            Self::Host(path) => write!(f, "`{path}` of the host changed"),
            Self::Variable(name) => write!(f, "the variable `{name}` changed"),
        }
    }
}

/// The contents of files that do not look as they did, each read once: one call may have had many results.
#[derive(Debug, Default)]
pub struct Contents {
    /// By path: the hash of the file as a NAR, if it can be read, and its identity before it was read.
    read: HashMap<BString, (Option<Sha256>, Identity)>,
}

impl Contents {
    /// Whether a file that has an identity now holds what a store path is named by.
    fn holds(&mut self, path: &BStr, identity: Identity, content: &StorePath) -> bool {
        let known = self.read.get(path).filter(|(_, of)| *of == identity).map(|(hash, _)| *hash);
        let hash = known.unwrap_or_else(|| {
            let hash = nar::nar_hash(to_path(path)).ok().map(|(hash, _)| hash);
            self.read.insert(path.into(), (hash, identity));
            hash
        });
        hash.is_some_and(|hash| names(&hash, content))
    }
}

/// Checks all guards. What is found to be the same by its content gets the identity that it has now. `variable` tells the value
/// of a variable of the environment.
pub fn check(guards: &mut Guards<'_>, variable: Variable<'_>, contents: &mut Contents) -> Check {
    let mut refreshed = false;
    let is_other = |(name, value): &&(&[u8], Option<&[u8]>)| variable(name).as_deref() != *value;
    if let Some((name, _)) = guards.variables.iter().find(is_other) {
        return Check::Changed(Change::Variable((*name).into()));
    }
    for file in &mut guards.files {
        match check_file(file, contents) {
            Some(Fresh(fresh)) => refreshed |= fresh,
            None => return Check::Changed(Change::File(file.path.into())),
        }
    }
    for place in &mut guards.places {
        match check_place(place) {
            Ok(Fresh(fresh)) => refreshed |= fresh,
            Err(path) => return Check::Changed(Change::Appeared(path)),
        }
    }
    for directory in &mut guards.directories {
        match check_directory(directory) {
            Ok(Fresh(fresh)) => refreshed |= fresh,
            Err(change) => return Check::Changed(change),
        }
    }
    if let Some(path) = guards.there.iter().find(|path| fs::symlink_metadata(to_path(path.as_bstr())).is_err()) {
        return Check::Changed(Change::Gone((*path).into()));
    }
    let is_other = |(path, identity): &&(&[u8], Option<Identity>)| Identity::of(to_path(path.as_bstr())) != *identity;
    if let Some((path, _)) = guards.host.iter().find(is_other) {
        return Check::Changed(Change::Host((*path).into()));
    }
    if refreshed { Check::Refreshed } else { Check::Same }
}

/// Tells the value of a variable of the environment.
pub type Variable<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// Whether a guard was given another identity.
struct Fresh(bool);

/// None for a file that is not as it was.
fn check_file(file: &mut File<'_>, contents: &mut Contents) -> Option<Fresh> {
    let path = to_path(file.path.as_bstr());
    let (identity, now) = (Identity::of(path)?, SystemTime::now());
    if file.identity == Some(identity) {
        return Some(Fresh(false));
    }
    let known: StorePath = file.content.parse().ok()?;
    if !contents.holds(file.path.as_bstr(), identity, &known) {
        return None;
    }
    let standing = Some(identity).filter(|identity| identity.settled(now));
    let fresh = standing != file.identity;
    file.identity = standing;
    Some(Fresh(fresh))
}

/// Whether the file, link or tree at a path has the content that a store path is named by.
pub fn holds(path: &std::path::Path, content: &StorePath) -> bool {
    nar::nar_hash(path).is_ok_and(|(hash, _)| names(&hash, content))
}

fn names(hash: &Sha256, content: &StorePath) -> bool {
    StoreDir::default().source_path(content.name(), hash, &BTreeSet::new(), false) == *content
}

/// The path that has appeared, if one has.
fn check_place(place: &mut Place<'_>) -> Result<Fresh, BString> {
    let (identity, now) = (of_directory(place.directory.as_bstr()), SystemTime::now());
    if place.identity.is_some() && identity == place.identity {
        return Ok(Fresh(false));
    }
    if identity.is_some() {
        let appeared = appeared(place.directory.as_bstr(), place.names);
        if let Some(name) = appeared {
            return Err(bstr::join("/", [place.directory, &name]).into());
        }
    }
    let standing = identity.filter(|identity| identity.settled(now));
    let fresh = standing != place.identity;
    place.identity = standing;
    Ok(Fresh(fresh))
}

fn check_directory(directory: &mut Directory<'_>) -> Result<Fresh, Change> {
    let path = BString::from(directory.path);
    match (directory.identity, of_place(path.as_bstr())) {
        (None, None) => Ok(Fresh(false)),
        (None, Some(_)) => Err(Change::Appeared(path)),
        (Some(_), None) => Err(Change::Gone(path)),
        (Some(then), Some(now)) if now == then => Ok(Fresh(false)),
        (Some(_), Some(now)) => match real_directory(path.as_bstr()) {
            Some(real) if real == directory.real => {
                directory.identity = Some(now);
                Ok(Fresh(true))
            }
            Some(_) => Err(Change::Moved(path)),
            None => Err(Change::Gone(path)),
        },
    }
}

/// The identity of a directory, whatever it holds, or of the link to one; none if there is nothing.
pub fn of_place(path: &BStr) -> Option<Identity> {
    let metadata = fs::symlink_metadata(to_path(path)).ok()?;
    let numbers = Identity::from_metadata(&metadata).numbers();
    Some(Identity::from_numbers(if metadata.is_dir() { place(numbers) } else { numbers }))
}

/// The path of a directory without links on the way; none where there is none.
pub fn real_directory(path: &BStr) -> Option<BString> {
    let real = fs::canonicalize(to_path(path)).ok().filter(|real| real.is_dir())?;
    Some(real.as_os_str().as_bytes().into())
}

/// The identity of a directory, also of one that a link leads to.
pub fn of_directory(path: &BStr) -> Option<Identity> {
    fs::metadata(to_path(path)).ok().map(|metadata| Identity::from_metadata(&metadata))
}

/// A name of the list that a directory holds.
pub fn appeared(directory: &BStr, names: &[u8]) -> Option<BString> {
    /// Fewer are looked at one by one.
    const FEW: usize = 48;
    if names.lines().nth(FEW).is_none() {
        let mut path = BString::from(directory);
        path.push(b'/');
        let start = path.len();
        return names.lines().find_map(|name| {
            path.truncate(start);
            path.extend_from_slice(name);
            fs::symlink_metadata(to_path(path.as_bstr())).ok().map(|_| BString::from(name))
        });
    }
    let entries = fs::read_dir(to_path(directory)).into_iter().flatten().flatten();
    let held: HashSet<_> = entries.map(|entry| entry.file_name()).collect();
    names.lines().find(|name| held.contains(OsStr::from_bytes(name))).map(BString::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check_all(guards: &mut Guards<'_>) -> Check {
        check(guards, &|name| (name == b"SET").then(|| b"value".into()), &mut Contents::default())
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> BString {
            self.0.path().join(name).as_os_str().as_bytes().into()
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn content(&self, name: &str) -> String {
            let (hash, _) = nar::nar_hash(&self.0.path().join(name)).unwrap();
            StoreDir::default().source_path(&name.parse().unwrap(), &hash, &BTreeSet::new(), false).to_string()
        }
    }

    /// Until what was written stands for itself.
    fn settle() {
        std::thread::sleep(Duration::from_millis(60));
    }

    #[test]
    fn a_file_is_known_by_its_looks_and_then_by_its_content() {
        let tree = Tree::new();
        tree.write("a.c", "int a;");
        let (path, content) = (tree.path("a.c"), tree.content("a.c"));
        let file = File { path: &path, identity: None, content: &content };
        let mut guards = Guards { files: vec![file], ..Guards::default() };
        settle();
        assert_eq!(check_all(&mut guards), Check::Refreshed);
        assert_eq!(check_all(&mut guards), Check::Same);
        tree.write("a.c", "int a;");
        settle();
        assert_eq!(check_all(&mut guards), Check::Refreshed);
        tree.write("a.c", "int b;");
        assert_eq!(check_all(&mut guards), Check::Changed(Change::File(path.clone())));
        fs::remove_file(to_path(path.as_bstr())).unwrap();
        assert_eq!(check_all(&mut guards), Check::Changed(Change::File(path.clone())));
    }

    #[test]
    fn a_file_that_is_too_young_is_read_each_time() {
        let tree = Tree::new();
        tree.write("a.c", "int a;");
        let (path, content) = (tree.path("a.c"), tree.content("a.c"));
        let file = File { path: &path, identity: None, content: &content };
        let mut guards = Guards { files: vec![file], ..Guards::default() };
        assert_eq!(check_all(&mut guards), Check::Same);
        assert_eq!(guards.files[0].identity, None);
    }

    #[test]
    fn a_name_that_appears_is_a_change_and_another_is_none() {
        let tree = Tree::new();
        let directory = tree.path("");
        let directory = directory.trim_end_with(|c| c == '/');
        let many = (0..100).map(|i| format!("h{i}.h\n")).collect::<String>();
        for names in ["a.h\nb.h", &format!("{many}a.h")] {
            let place = Place { directory, identity: None, names: names.as_bytes() };
            let mut guards = Guards { places: vec![place], ..Guards::default() };
            settle();
            assert_eq!(check_all(&mut guards), Check::Refreshed);
            assert_eq!(check_all(&mut guards), Check::Same);
            tree.write("c.h", "");
            settle();
            assert_eq!(check_all(&mut guards), Check::Refreshed);
            tree.write("a.h", "");
            assert_eq!(check_all(&mut guards), Check::Changed(Change::Appeared(tree.path("a.h"))));
            fs::remove_file(to_path(tree.path("a.h").as_bstr())).unwrap();
            fs::remove_file(to_path(tree.path("c.h").as_bstr())).unwrap();
        }
    }

    #[test]
    fn a_directory_that_appears_with_a_name_is_a_change() {
        let tree = Tree::new();
        let directory = tree.path("i");
        let place = Place { directory: &directory, identity: None, names: b"a.h" };
        let mut guards = Guards { places: vec![place], ..Guards::default() };
        assert_eq!(check_all(&mut guards), Check::Same);
        fs::create_dir(to_path(directory.as_bstr())).unwrap();
        tree.write("i/a.h", "");
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Appeared(tree.path("i/a.h"))));
    }

    #[test]
    fn a_directory_is_the_same_where_it_lies_whatever_it_holds() {
        let tree = Tree::new();
        let in_tree = |name: &str| tree.0.path().join(name);
        let all = ["d", "link", "none"].map(|name| tree.path(name));
        fs::create_dir(in_tree("d")).unwrap();
        fs::create_dir(in_tree("other")).unwrap();
        std::os::unix::fs::symlink("d", in_tree("link")).unwrap();
        let real: Vec<_> = all.iter().map(|path| real_directory(path.as_bstr()).unwrap_or_default()).collect();
        assert_eq!(real[0], real[1]);
        let directories =
            all.iter().zip(&real).map(|(path, real)| Directory { path, identity: of_place(path.as_bstr()), real });
        let mut guards = Guards { directories: directories.collect(), ..Guards::default() };
        assert_eq!(check_all(&mut guards), Check::Same);
        tree.write("d/a.h", "");
        assert_eq!(check_all(&mut guards), Check::Same);
        fs::rename(in_tree("d"), in_tree("old")).unwrap();
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Gone(all[0].clone())));
        fs::create_dir(in_tree("d")).unwrap();
        assert_eq!(check_all(&mut guards), Check::Refreshed);
        assert_eq!(check_all(&mut guards), Check::Same);
        fs::remove_dir(in_tree("d")).unwrap();
        std::os::unix::fs::symlink("old", in_tree("d")).unwrap();
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Moved(all[0].clone())));
        fs::remove_file(in_tree("d")).unwrap();
        tree.write("d", "");
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Gone(all[0].clone())));
        fs::remove_file(in_tree("d")).unwrap();
        fs::rename(in_tree("old"), in_tree("d")).unwrap();
        fs::create_dir(in_tree("none")).unwrap();
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Appeared(all[2].clone())));
        fs::remove_dir(in_tree("none")).unwrap();
        fs::remove_file(in_tree("link")).unwrap();
        std::os::unix::fs::symlink("other", in_tree("link")).unwrap();
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Moved(all[1].clone())));
    }

    #[test]
    fn a_file_of_the_host_has_to_be_just_the_same() {
        let tree = Tree::new();
        tree.write("cc", "1");
        let (path, none) = (tree.path("cc"), tree.path("none"));
        let host = vec![(path.as_slice(), Identity::of(to_path(path.as_bstr()))), (none.as_slice(), None)];
        let mut guards = Guards { host, ..Guards::default() };
        assert_eq!(check_all(&mut guards), Check::Same);
        settle();
        tree.write("cc", "1");
        assert_eq!(check_all(&mut guards), Check::Changed(Change::Host(path.clone())));
    }

    #[test]
    fn a_variable_has_to_have_its_value() {
        for (variables, check) in [
            (vec![(&b"SET"[..], Some(&b"value"[..])), (b"UNSET", None)], Check::Same),
            (vec![(b"SET", Some(b"other"))], Check::Changed(Change::Variable("SET".into()))),
            (vec![(b"SET", None)], Check::Changed(Change::Variable("SET".into()))),
            (vec![(b"UNSET", Some(b""))], Check::Changed(Change::Variable("UNSET".into()))),
        ] {
            assert_eq!(check_all(&mut Guards { variables, ..Guards::default() }), check);
        }
    }
}
