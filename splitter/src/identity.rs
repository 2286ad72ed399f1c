//! Stat identities: when a look at the inode stands for a look at the content.

use serde::{Deserialize, Serialize};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// More than one tick of any kernel's clock.
pub const TICK: Duration = Duration::from_millis(12);

/// What stat says of a file that has not been replaced or written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        fs::symlink_metadata(path).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    /// From an answer that is at hand.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            // The size of a directory says nothing that its times do not.
            size: if metadata.is_dir() { 0 } else { metadata.size() },
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// As numbers: device, inode, size in bytes, seconds and nanoseconds of the last change of the content, and of anything.
    pub fn numbers(&self) -> [u64; 7] {
        let Self { device, inode, size, modified, changed } = *self;
        [device, inode, size, modified.0 as u64, modified.1 as u64, changed.0 as u64, changed.1 as u64]
    }

    /// Of [`Identity::numbers`].
    pub fn from_numbers(numbers: [u64; 7]) -> Self {
        let [device, inode, size, modified, modified_ns, changed, changed_ns] = numbers;
        Self {
            device,
            inode,
            size,
            modified: (modified as i64, modified_ns as i64),
            changed: (changed as i64, changed_ns as i64),
        }
    }

    /// In bytes; 0 for a directory.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a content read at `reading` may stand for this identity: a later write would show in it.
    pub fn settled(&self, reading: SystemTime) -> bool {
        let since = reading.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(self.changed.0.max(0) as u64, self.changed.1 as u32);
        since.checked_sub(changed).is_some_and(|age| age > TICK)
    }

    /// Feeds the identity to a hash.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let numbers = [self.device, self.inode, self.size].map(u64::to_le_bytes);
        let times = [self.modified.0, self.modified.1, self.changed.0, self.changed.1].map(i64::to_le_bytes);
        for bytes in numbers.iter().chain(&times) {
            hasher.update(bytes);
        }
    }
}

/// One hash for the identities of all files, links and directories under `root`, with their paths.
///
/// # Errors
/// Those of listing the directories.
pub fn of_tree(root: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries = fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let metadata = entry.metadata()?;
            hasher.update(path.as_os_str().as_bytes());
            hasher.update(b"\0");
            if metadata.is_dir() {
                // The times of a directory change with files that a snapshot does not take, such as `__pycache__`.
                if path.file_name().is_none_or(|name| name != "__pycache__") {
                    directories.push(path);
                }
            } else {
                Identity::from_metadata(&metadata).hash_into(&mut hasher);
            }
        }
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_of_the_same_size_has_another_identity() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tool");
        assert_eq!(Identity::of(&path), None);
        fs::write(&path, "one").expect("write");
        let first = Identity::of(&path).expect("it is there");
        assert_eq!(Identity::of(&path), Some(first));
        fs::write(directory.path().join("new"), "two").expect("write");
        fs::rename(directory.path().join("new"), &path).expect("rename");
        assert_ne!(Identity::of(&path), Some(first));
    }

    #[test]
    fn a_file_just_written_is_not_settled_and_an_old_one_is() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let identity = Identity::of(directory.path()).expect("it is there");
        assert!(!identity.settled(SystemTime::now()));
        assert!(identity.settled(SystemTime::now() + Duration::from_secs(5)));
    }
}
