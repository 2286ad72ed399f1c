//! Which paths exist, for those who ask for thousands that mostly do not: a directory is listed once, and what the build
//! makes in it is added.

use crate::discover::{parent, to_path};
use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The names in directories that were asked for. All threads share one.
#[derive(Debug, Default)]
pub struct Presence {
    directories: Mutex<HashMap<BString, HashSet<BString>>>,
}

impl Presence {
    /// Whether there is something at an absolute path, be it a link that leads nowhere.
    pub fn holds(&self, path: &BStr) -> bool {
        let directory = parent(path);
        let mut directories = self.lock();
        if !directories.contains_key(directory) {
            let entries = fs::read_dir(to_path(directory)).into_iter().flatten().flatten();
            let names = entries.map(|entry| BString::from(entry.file_name().as_bytes())).collect();
            directories.insert(directory.into(), names);
        }
        directories.get(directory).is_some_and(|names| names.contains(name(path)))
    }

    /// Notes that something was made at a path, and perhaps directories on the way.
    pub fn add(&self, path: &BStr) {
        let mut directories = self.lock();
        let mut path = path;
        while path.len() > 1 {
            if let Some(names) = directories.get_mut(parent(path)) {
                names.insert(name(path).into());
            }
            path = parent(path);
        }
    }

    /// Forgets everything: somebody else has been at work.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BString, HashSet<BString>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(path: &BStr) -> &BStr {
    path.rsplit_once_str("/").map_or(path, |(_, name)| name.as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_there_though_its_directory_was_listed_before() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| BString::from(directory.path().join(name).as_os_str().as_bytes());
        fs::write(directory.path().join("a"), "").unwrap();
        let presence = Presence::default();
        let holds = |name: &str| presence.holds(at(name).as_bstr());
        assert_eq!([holds("a"), holds("b"), holds("d"), holds("d/e")], [true, false, false, false]);
        presence.add(at("d/e").as_bstr());
        assert_eq!([holds("a"), holds("b"), holds("d"), holds("d/e")], [true, false, true, true]);
        presence.forget_all();
        assert_eq!([holds("a"), holds("d"), holds("d/e")], [true, false, false]);
    }
}
