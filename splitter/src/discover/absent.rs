//! What was looked for in vain: names that some directories do not hold.

use super::{Found, parent, to_path};
use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

/// Names that none of some directories holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Absent {
    /// Absolute.
    pub directories: Vec<BString>,
    /// One a line.
    pub names: BString,
}

/// Collects look-ups.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    /// Whether a path exists.
    known: BTreeMap<BString, bool>,
    absent: BTreeMap<BString, BTreeSet<BString>>,
    /// Links in the place of files that lead to nothing: they are as good as absent, and what they lead to is.
    dangling: BTreeSet<BString>,
}

impl Lookups {
    /// Notes that `name` is looked for in `place`, by its first component that is absent there.
    pub fn look(&mut self, place: &BString, name: &BStr) {
        let mut directory = place.clone();
        for component in name.split_str("/") {
            let path = absolute(component.as_bstr(), directory.as_bstr());
            if !self.exists(path.as_bstr()) && !component.contains(&b'\n') {
                self.absent.entry(directory).or_default().insert(component.into());
                return;
            }
            directory = path;
        }
        self.dangles(directory.as_bstr()); // else it is there
    }

    /// Notes that there is nothing at `path`, by its first component that is absent.
    pub fn missing(&mut self, path: &BStr) {
        if self.dangles(path) {
            return;
        }
        let (mut directory, mut name) = split(path);
        while !directory.is_empty() && !self.exists(directory) {
            (directory, name) = split(directory);
        }
        if !name.contains(&b'\n') {
            let directory = if directory.is_empty() { b"/".as_bstr() } else { directory };
            self.absent.entry(directory.into()).or_default().insert(name.into());
        }
    }

    /// Whether there is a link that leads to nothing; then that is noted.
    fn dangles(&mut self, path: &BStr) -> bool {
        if self.dangling.contains(path) {
            return true;
        }
        let Some(target) = self.exists(path).then(|| fs::read_link(to_path(path)).ok()).flatten() else { return false };
        if fs::metadata(to_path(path)).is_ok() {
            return false;
        }
        self.dangling.insert(path.into());
        self.missing(absolute(target.as_os_str().as_bytes().as_bstr(), parent(path)).as_bstr());
        true
    }

    fn exists(&mut self, path: &BStr) -> bool {
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let exists = fs::symlink_metadata(to_path(path)).is_ok();
        self.known.insert(path.into(), exists);
        exists
    }

    /// Adds to what a command depends on: what was absent, and the links that lead there.
    pub fn into_found(self, found: &mut Found) {
        self.dangling.iter().for_each(|link| found.file(link.as_bstr()));
        found.absent.extend(self.into_absent());
    }

    /// What was absent; directories without the same names together.
    fn into_absent(self) -> Vec<Absent> {
        let mut groups: BTreeMap<BString, Vec<BString>> = BTreeMap::new();
        for (directory, names) in self.absent {
            let names: Vec<BString> = names.into_iter().collect();
            groups.entry(bstr::join("\n", names).into()).or_default().push(directory);
        }
        groups.into_iter().map(|(names, directories)| Absent { directories, names }).collect()
    }
}

/// The directory of an absolute path, empty for the root, and the name in it.
fn split(path: &BStr) -> (&BStr, &BStr) {
    path.rsplit_once_str("/").map_or((b"".as_bstr(), path), |(directory, name)| (directory.as_bstr(), name.as_bstr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_component_that_is_not_there_stands_for_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sys")).unwrap();
        let place = BString::from(directory.path().as_os_str().as_bytes());
        let mut lookups = Lookups::default();
        for name in ["sys/types.h", "sys/stat.h", "bits/wchar.h", "bits/time.h"] {
            lookups.look(&place, name.into());
        }
        let below = BString::from([place.as_slice(), b"/sys"].concat());
        assert_eq!(
            lookups.into_absent(),
            [
                Absent { directories: vec![place], names: "bits".into() },
                Absent { directories: vec![below], names: "stat.h\ntypes.h".into() }
            ]
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_there_and_what_it_leads_to_is_not() {
        let directory = tempfile::tempdir().unwrap();
        for (target, link) in [("a.h", "b.h"), ("b.h", "c.h"), ("none", "sub"), ("c.h", "c.h.link")] {
            std::os::unix::fs::symlink(target, directory.path().join(link)).unwrap();
        }
        let place = BString::from(directory.path().as_os_str().as_bytes());
        let at = |name: &str| absolute(name.into(), place.as_bstr());
        let mut lookups = Lookups::default();
        lookups.look(&place, "c.h".into());
        lookups.look(&place, "sub/x.h".into());
        lookups.missing(at("c.h.link").as_bstr());
        let mut found = Found::default();
        lookups.into_found(&mut found);
        assert_eq!(found.files, ["b.h", "c.h", "c.h.link"].map(at).into());
        let absent = |directory: BString, names: &str| Absent { directories: vec![directory], names: names.into() };
        assert_eq!(found.absent, [absent(place.clone(), "a.h"), absent(at("sub"), "x.h")]);
    }

    #[test]
    fn what_is_missing_below_a_directory_that_is_missing_is_that_directory() {
        let directory = tempfile::tempdir().unwrap();
        let place = BString::from(directory.path().as_os_str().as_bytes());
        let mut lookups = Lookups::default();
        for name in ["a.h", "none/a.h", "none/b/c.h"] {
            lookups.missing(absolute(name.into(), place.as_bstr()).as_bstr());
        }
        assert_eq!(lookups.into_absent(), [Absent { directories: vec![place], names: "a.h\nnone".into() }]);
    }
}
