//! Stat identities: when a look at the inode stands for a look at the content.

use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// More than one tick of any kernel's clock.
pub const TICK: Duration = Duration::from_millis(12);

/// What stat says of a file that has not been replaced or written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Of the file itself, also if it is a link; none if there is nothing.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            // The size of a directory says nothing that its times do not.
            size: if metadata.is_dir() { 0 } else { metadata.size() },
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether a content read at `reading` may stand for this identity: a later write would show in it.
    pub fn settled(&self, reading: SystemTime) -> bool {
        let since = reading.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(self.changed.0.max(0) as u64, self.changed.1 as u32);
        since.checked_sub(changed).is_some_and(|age| age > TICK)
    }
}
