//! What was looked for in vain: names that some directories do not hold.

use super::to_path;
use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

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
}

impl Lookups {
    /// Notes that `name` is looked for in `place`, by its first component that is absent there.
    pub fn look(&mut self, place: &BString, name: &BStr) {
        let mut directory = place.clone();
        for component in name.split_str("/") {
            let path = absolute(component.as_bstr(), directory.as_bstr());
            let exists = self.known.entry(path.clone());
            let exists = *exists.or_insert_with_key(|path| fs::symlink_metadata(to_path(path.as_bstr())).is_ok());
            if !exists && !component.contains(&b'\n') {
                self.absent.entry(directory).or_default().insert(component.into());
                return;
            }
            directory = path;
        }
    }

    /// What was absent; directories without the same names together.
    pub fn into_absent(self) -> Vec<Absent> {
        let mut groups: BTreeMap<BString, Vec<BString>> = BTreeMap::new();
        for (directory, names) in self.absent {
            let names: Vec<BString> = names.into_iter().collect();
            groups.entry(bstr::join("\n", names).into()).or_default().push(directory);
        }
        groups.into_iter().map(|(names, directories)| Absent { directories, names }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

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
}
