//! Checks that the files of every valid path are as they were registered.

use crate::store::LocalStore;
use nixstore::nar::{self, NarError};
use nixstore::store::StoreError;
use nixstore::{Sha256, StorePath};
use std::collections::HashSet;
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
}
