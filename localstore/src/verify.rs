//! Checks that the files of valid paths are as they were registered, and forgets those that are not.

use crate::files::remove_tree;
use crate::store::LocalStore;
use nixstore::nar::{self, NarError};
use nixstore::store::StoreError;
use nixstore::{PathInfo, Sha256, Store as _, StorePath};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many paths were checked.
    pub checked: usize,
    /// Valid paths whose files do not exist.
    pub missing: Vec<StorePath>,
    /// Valid paths whose files are not what was registered.
    pub changed: Vec<Change>,
    /// Valid paths whose files cannot be read.
    pub unreadable: Vec<(StorePath, NarError)>,
    /// Files in the store that belong to no valid path: left over by a crash, or being made. They do no harm.
    pub unregistered: Vec<String>,
}

/// A path whose files have changed.
#[derive(Debug)]
pub struct Change {
    /// Which.
    pub path: StorePath,
    /// The hash of its NAR as registered.
    pub registered: Sha256,
    /// The hash of its NAR now.
    pub found: Sha256,
}

impl Report {
    /// Whether every valid path is as it was registered.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.changed.is_empty() && self.unreadable.is_empty()
    }
}

impl LocalStore {
    /// Reads and hashes all files of the store, on all processors.
    ///
    /// # Errors
    /// [`StoreError`] where the database or the directory of the store cannot be read.
    pub fn verify(&self) -> Result<Report, StoreError> {
        let failed = |error| StoreError::new(format!("verify `{}`", self.layout().root().display()), error);
        let infos =
            self.registered().map_err(|error| failed(Box::<dyn std::error::Error + Send + Sync>::from(error)))?;
        let valid: HashSet<String> = infos.iter().map(|info| info.path.to_string()).collect();
        let report = Mutex::new(Report { checked: infos.len(), ..Report::default() });
        let next = AtomicUsize::new(0);
        let check = || {
            while let Some(info) = infos.get(next.fetch_add(1, Ordering::Relaxed)) {
                let file = self.physical_path(&info.path);
                let found = fs::symlink_metadata(&file).ok().map(|_| nar::nar_hash(&file));
                let mut report = report.lock().expect("nobody panics with the report");
                match found {
                    None => report.missing.push(info.path.clone()),
                    Some(Err(error)) => report.unreadable.push((info.path.clone(), error)),
                    Some(Ok((found, size))) if (found, size) != (info.nar_hash, info.nar_size) => {
                        report.changed.push(Change { path: info.path.clone(), registered: info.nar_hash, found });
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(check);
            }
        });
        let mut report = report.into_inner().expect("nobody panics with the report");
        report.missing.sort();
        report.changed.sort_by(|a, b| a.path.cmp(&b.path));
        report.unreadable.sort_by(|a, b| a.0.cmp(&b.0));
        let files = fs::read_dir(self.layout().store()).map_err(|error| failed(error.into()))?;
        let names = files.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        report.unregistered = names.filter(|name| name.parse::<StorePath>().is_ok() && !valid.contains(name)).collect();
        report.unregistered.sort();
        Ok(report)
    }

    /// Forgets those of some paths whose files are gone or are not what was registered, with all that refer to them, and
    /// deletes what is left of their files: then whoever wants them makes them again. Answers what was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] where the database or the files cannot be read or deleted.
    pub fn forget_spoilt(&self, suspects: &[StorePath]) -> Result<Vec<StorePath>, StoreError> {
        let infos = self.path_infos(suspects)?;
        let is_spoilt = |info: &&PathInfo| {
            let found = nar::nar_hash(&self.physical_path(&info.path));
            !matches!(found, Ok(found) if found == (info.nar_hash, info.nar_size))
        };
        self.forget(infos.iter().flatten().filter(is_spoilt).map(|info| info.path.clone()).collect())
    }

    /// The same of all paths whose files are gone.
    ///
    /// # Errors
    /// See there.
    pub fn forget_missing(&self) -> Result<Vec<StorePath>, StoreError> {
        let infos = self.registered().map_err(|error| self.not_forgotten(error))?;
        let is_missing = |info: &PathInfo| fs::symlink_metadata(self.physical_path(&info.path)).is_err();
        self.forget(infos.into_iter().filter(is_missing).map(|info| info.path).collect())
    }

    fn not_forgotten(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::new(format!("forget paths of `{}`", self.layout().root().display()), error)
    }

    fn forget(&self, spoilt: BTreeSet<StorePath>) -> Result<Vec<StorePath>, StoreError> {
        if spoilt.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.entries().map_err(|error| self.not_forgotten(error))?;
        let mut doomed: HashSet<usize> =
            (0..entries.len()).filter(|index| spoilt.contains(&entries[*index].path)).collect();
        loop {
            let refers = |index: &usize| entries[*index].references.iter().any(|reference| doomed.contains(reference));
            let more: Vec<usize> = (0..entries.len()).filter(|index| !doomed.contains(index)).filter(refers).collect();
            if more.is_empty() {
                break;
            }
            doomed.extend(more);
        }
        // Referrers first.
        let mut paths = Vec::with_capacity(doomed.len());
        while !doomed.is_empty() {
            let referred: HashSet<usize> =
                doomed.iter().flat_map(|index| &entries[*index].references).copied().collect();
            let before = doomed.len();
            doomed.retain(|index| {
                let stays = referred.contains(index);
                if !stays {
                    paths.push(entries[*index].path.clone());
                }
                stays
            });
            assert!(doomed.len() < before, "no path refers to itself by way of another");
        }
        // Before they are forgotten: what somebody registers afterwards is not to be deleted.
        for path in &paths {
            remove_tree(&self.physical_path(path)).map_err(|error| self.not_forgotten(error))?;
        }
        self.invalidate(&paths).map_err(|error| self.not_forgotten(error))?;
        Ok(paths)
    }
}
