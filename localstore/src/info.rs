//! What a store holds and takes, in numbers.

use crate::files::disk_size;
use crate::layout::write_atomically;
use crate::store::LocalStore;
use crate::usage;
use nixstore::store::StoreError;
use std::fs;
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

/// So many paths are added up again each time rather than remembered.
const MANY: u64 = 100;

/// The size of the paths up to a number, and that number.
fn remembered(text: &str) -> Option<(u64, i64)> {
    let (size, last) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((size.parse().ok()?, last.parse().ok()?))
}

impl LocalStore {
    /// A size that all valid paths together do not exceed, as NARs. It is what they take unless Nix has deleted some.
    /// Does not read the whole database: a sum is remembered, and only what came later is added.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn size_at_most(&self) -> Result<u64, StoreError> {
        let file = self.layout().size();
        let (size, last) = fs::read_to_string(&file).ok().and_then(|text| remembered(&text)).unwrap_or_default();
        let (new, last, count) = self.size_after(last).map_err(|error| self.unknown(error))?;
        let size = size.saturating_add(new);
        if count >= MANY {
            // It saves time, no more.
            let _ = write_atomically(&file, format!("{size} {last}\n").as_bytes());
        }
        Ok(size)
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
