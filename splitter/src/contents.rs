//! The content of files as store paths: what is read is added to the store, and remembered while the file's identity
//! stands for it.

use crate::discover::to_path;
use crate::identity::{Identity, TICK};
use crate::roots::Roots;
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::path::StoreName;
use nixstore::store::StoreError;
use nixstore::{Store, StorePath, nar};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use std::{fs, io, thread};

/// What was remembered of a file: its identity, and the store path of its content.
pub type Remembered = BTreeMap<BString, (Identity, String)>;

/// The contents that a run has looked at. All threads share one.
pub struct Contents<'a> {
    store: &'a dyn Store,
    remembered: &'a Remembered,
    /// With the identity that stands for the content; none while it is too young to.
    known: Mutex<HashMap<BString, (Option<Identity>, StorePath)>>,
    /// Outputs that stand as they are remembered; the store was not asked for them, and may have lost them.
    standing: Mutex<HashMap<BString, (Identity, StorePath)>>,
    naming: Mutex<HashMap<StorePath, bool>>,
}

impl<'a> Contents<'a> {
    /// Nothing is read yet.
    pub fn new(store: &'a dyn Store, remembered: &'a Remembered) -> Self {
        Self { store, remembered, known: Mutex::default(), standing: Mutex::default(), naming: Mutex::default() }
    }

    /// The store path of a file's content; that of a link is the link itself.
    ///
    /// # Errors
    /// Those of reading the file and of the store.
    pub fn of(&self, path: &BStr) -> Result<StorePath, StoreError> {
        loop {
            if let Some((_, known)) = lock(&self.known).get(path) {
                return Ok(known.clone());
            }
            // Another thread may forget it at once.
            self.look_at([&BString::from(path)])?;
        }
    }

    /// The same, without adding it to the store: for what nobody reads in this run. [`Contents::of`] adds it then. What the
    /// file is called in the store is up to the caller, so that it is as if it came from there.
    ///
    /// # Errors
    /// [`StoreError`] where the file cannot be read.
    pub fn unadded(&self, path: &BStr, name: &StoreName) -> Result<StorePath, StoreError> {
        if let Some((_, known)) = lock(&self.known).get(path) {
            return Ok(known.clone());
        }
        if let Some((_, content)) = lock(&self.standing).get(path) {
            return Ok(content.clone());
        }
        let before = self.remembered.get(path).and_then(|(_, content)| content.parse::<StorePath>().ok());
        if let Some(content) = before.filter(|content| self.is_untouched(path, content)) {
            return Ok(content);
        }
        let file = to_path(path);
        let what = || format!("read `{path}`");
        let gone = || StoreError::new(what(), io::Error::from(io::ErrorKind::NotFound));
        let identity = Identity::of(file).ok_or_else(gone)?;
        let (hash, _) = nar::nar_hash(file).map_err(|error| StoreError::new(what(), error))?;
        let content = self.store.store_dir().source_path(name, &hash, &BTreeSet::new(), false);
        lock(&self.standing).insert(path.into(), (identity, content.clone()));
        Ok(content)
    }

    /// Looks at many files, so that the store is asked for few things at once; [`Contents::of`] knows them then.
    ///
    /// # Errors
    /// As [`Contents::of`].
    pub fn look_at<'p>(&self, paths: impl IntoIterator<Item = &'p BString>) -> Result<(), StoreError> {
        let unknown: Vec<&BString> = {
            let known = lock(&self.known);
            paths.into_iter().filter(|path| !known.contains_key(*path)).collect()
        };
        let before = |path: &&BString| {
            if let Some(standing) = lock(&self.standing).get(*path) {
                return Some(standing.clone());
            }
            let (identity, content) = self.remembered.get(*path)?;
            Some((*identity, content.parse::<StorePath>().ok()?))
        };
        let remembered: Vec<_> = unknown.iter().map(before).collect();
        let candidates: Vec<StorePath> = remembered.iter().flatten().map(|(_, content)| content.clone()).collect();
        let valid = self.store.valid_paths(&candidates)?;
        let (mut wanted, mut looks) = (Vec::new(), Vec::new());
        for (path, before) in unknown.into_iter().zip(remembered) {
            let file = to_path(path.as_bstr());
            let (identity, now) = (Identity::of(file), SystemTime::now());
            let standing = identity.filter(|identity| identity.settled(now));
            match before {
                Some((old, content)) if Some(old) == identity && valid.contains(&content) => {
                    lock(&self.known).insert(path.clone(), (standing, content));
                }
                // By the name that it had, the same content has the same path.
                Some((_, content)) => {
                    wanted.push((content.name().clone(), file));
                    looks.push((path, standing));
                }
                None => {
                    wanted.push((StoreName::sanitised(path.rsplit_str("/").next().unwrap_or(path)), file));
                    looks.push((path, standing));
                }
            }
        }
        let added = self.store.add_paths(&wanted)?;
        let mut known = lock(&self.known);
        known
            .extend(looks.into_iter().zip(added).map(|((path, standing), info)| (path.clone(), (standing, info.path))));
        Ok(())
    }

    /// Whether a file is there, and has this content. The store is only asked where the file's identity does not tell.
    ///
    /// # Errors
    /// As [`Contents::of`].
    pub fn is(&self, path: &BStr, content: &str) -> Result<bool, StoreError> {
        if let Some((_, known)) = lock(&self.known).get(path) {
            return Ok(known.to_string() == content);
        }
        let is_remembered = self.remembered.get(path).is_some_and(|(_, known)| known == content);
        if is_remembered && lock(&self.standing).contains_key(path) {
            return Ok(true);
        }
        if is_remembered && content.parse().is_ok_and(|content| self.is_untouched(path, &content)) {
            return Ok(true);
        }
        match fs::symlink_metadata(to_path(path)) {
            Ok(_) => Ok(self.of(path)?.to_string() == content),
            Err(_) => Ok(false),
        }
    }

    /// Whether a file still has a content, as far as its identity tells; never reads it.
    pub fn is_untouched(&self, path: &BStr, content: &StorePath) -> bool {
        let remembered = self.remembered.get(path).filter(|(_, known)| *known == content.to_string());
        let same = remembered.filter(|(identity, _)| Identity::of(to_path(path)) == Some(*identity));
        if let Some((identity, _)) = same {
            lock(&self.standing).insert(path.into(), (*identity, content.clone()));
        }
        same.is_some()
    }

    /// Whether a file was looked at or written in this run, had this content, and was not touched since.
    pub fn is_noted(&self, path: &BStr, content: &StorePath) -> bool {
        let noted = lock(&self.known).get(path).filter(|(_, known)| known == content).map(|(identity, _)| *identity);
        noted.is_some_and(|identity| identity.is_some() && identity == Identity::of(to_path(path)))
    }

    /// Notes that a file was just written with a content.
    pub fn note(&self, path: &BStr, content: &StorePath) {
        lock(&self.known).insert(path.into(), (Identity::of(to_path(path)), content.clone()));
    }

    /// Changes what the system knows of a file besides its content. Answers what `change` does.
    pub fn touch(&self, path: &BStr, change: &dyn Fn() -> bool) -> bool {
        let before = Identity::of(to_path(path));
        let done = change();
        let after = Identity::of(to_path(path));
        if let Some((identity, _)) = lock(&self.known).get_mut(path) {
            *identity = after.filter(|_| *identity == before);
        }
        if let (Some(after), Some((identity, _))) = (after, lock(&self.standing).get_mut(path)) {
            // One that was changed by somebody else keeps the old one, and is seen to be changed.
            *identity = if Some(*identity) == before { after } else { *identity };
        }
        done
    }

    /// Forgets all files that have changed since they were looked at: somebody has written, nobody knows what.
    pub fn look_again(&self) {
        lock(&self.standing).retain(|path, (identity, _)| Identity::of(to_path(path.as_bstr())) == Some(*identity));
        lock(&self.known).retain(|path, (identity, content)| match identity {
            Some(identity) => Identity::of(to_path(path.as_bstr())) == Some(*identity),
            None => holds(self.store, path.as_bstr(), content),
        });
    }

    /// Forgets a file that somebody else has written.
    pub fn forget(&self, path: &BStr) {
        lock(&self.known).remove(path);
        lock(&self.standing).remove(path);
    }

    /// Whether the store has a path.
    pub fn is_valid(&self, path: &StorePath) -> bool {
        self.store.valid_paths(std::slice::from_ref(path)).is_ok_and(|valid| !valid.is_empty())
    }

    /// Whether the bytes of a file in the store name a root.
    pub fn name_a_root(&self, content: &StorePath, roots: &Roots) -> bool {
        if let Some(known) = lock(&self.naming).get(content) {
            return *known;
        }
        // What is no file, such as a link, is staged as it is.
        let bytes = self.store.files(content).ok().and_then(|file| fs::read(file).ok());
        let names = bytes.is_some_and(|bytes| roots.in_text(&bytes));
        lock(&self.naming).insert(content.clone(), names);
        names
    }

    /// Every file that was looked at, with its content and the identity that stands for it already, if one does.
    pub fn known(&self) -> Vec<(BString, Option<Identity>, StorePath)> {
        let known = lock(&self.known);
        known.iter().map(|(path, (identity, content))| (path.clone(), *identity, content.clone())).collect()
    }

    /// Every file that was looked at, with its content and the identity that stands for it. Those too young to are looked
    /// at again a tick later; none for one that has changed since.
    pub fn into_identities(self) -> Vec<(BString, Option<Identity>, StorePath)> {
        let mut known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (path, (identity, content)) in self.standing.into_inner().unwrap_or_else(PoisonError::into_inner) {
            known.entry(path).or_insert((Some(identity), content));
        }
        let now = SystemTime::now();
        let young = |identity: &Option<Identity>| identity.is_none_or(|identity| !identity.settled(now));
        if known.values().any(|(identity, _)| young(identity)) {
            thread::sleep(TICK + TICK / 2);
        }
        let look_again = |path: &BStr, content: &StorePath| {
            let identity = Identity::of(to_path(path))?;
            holds(self.store, path, content).then_some(identity)
        };
        let settle = |(path, (identity, content)): (BString, (Option<Identity>, StorePath))| {
            let standing = if young(&identity) { look_again(path.as_bstr(), &content) } else { identity };
            (path, standing, content)
        };
        known.into_iter().map(settle).collect()
    }
}

/// Reads a file and says whether it has a content.
fn holds(store: &dyn Store, path: &BStr, content: &StorePath) -> bool {
    nar::nar_hash(to_path(path)).is_ok_and(|(hash, _)| {
        store.store_dir().source_path(content.name(), &hash, &BTreeSet::new(), false) == *content
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
