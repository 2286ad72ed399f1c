//! What a store holds and takes, in numbers.

use crate::files::disk_size;
use crate::store::LocalStore;
use crate::usage;
use nixstore::store::StoreError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A store in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// How many valid paths there are.
    pub paths: u64,
    /// What they take as NARs: what a limit is about.
    pub nar_size: u64,
    /// What everything takes on the disk, with the database, logs and what is being made.
    pub disk_size: u64,
    /// When a path was last used or registered. What a build uses is known when it ends.
    pub last_use: Option<SystemTime>,
}

impl LocalStore {
    /// What all valid paths take together, as NARs. From the database alone: 0.2 ms for each thousand paths.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn nar_size(&self) -> Result<u64, StoreError> {
        Ok(self.totals().map_err(|error| self.unknown(error))?.nar_size)
    }

    /// The store in numbers. Looks at every file for [`Info::disk_size`].
    ///
    /// # Errors
    /// [`StoreError`] where the database or a file cannot be looked at.
    pub fn info(&self) -> Result<Info, StoreError> {
        let totals = self.totals().map_err(|error| self.unknown(error))?;
        let registered = totals.last_registration.map(Duration::from_secs);
        // Lost times of use leave those of registration.
        let used = usage::latest(self.layout()).ok().flatten().map(|time| Duration::from_micros(time as u64));
        Ok(Info {
            paths: totals.paths,
            nar_size: totals.nar_size,
            disk_size: disk_size(&self.layout().root().join("nix")).map_err(|error| self.unknown(error))?,
            last_use: registered.max(used).map(|time| UNIX_EPOCH + time),
        })
    }

    fn unknown(&self, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError::new(format!("look at the store `{}`", self.layout().root().display()), error)
    }
}
