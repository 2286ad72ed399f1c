//! The stat identity of a file: what stands for its content as long as nobody touched it.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Device, inode, size, mtime and ctime; of a symlink those of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    /// Of what `path` names now, without following a link; `None` where there is nothing or it cannot be asked.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::symlink_metadata(path).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    /// From an answer that is at hand.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True if the file was changed so shortly before `reading` that a later change could leave the same stamp: within
    /// two ticks of the clock that file systems use (10 ms at 100 Hz).
    pub fn is_fresh(&self, reading: SystemTime) -> bool {
        let now = reading.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::new(self.ctime.0.try_into().unwrap_or(0), self.ctime.1.try_into().unwrap_or(0));
        changed + Duration::from_millis(20) > now
    }

    /// Feeds the stamp to a hash.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let numbers = [self.device, self.inode, self.size].map(u64::to_le_bytes);
        let times = [self.mtime.0, self.mtime.1, self.ctime.0, self.ctime.1].map(i64::to_le_bytes);
        for bytes in numbers.iter().chain(&times) {
            hasher.update(bytes);
        }
    }
}

/// One hash for the stamps of all files, links and directories under `root`, with their paths.
///
/// # Errors
/// Those of listing the directories.
pub fn of_tree(root: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries = std::fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
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
                Stamp::from_metadata(&metadata).hash_into(&mut hasher);
            }
        }
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_of_the_same_size_has_another_stamp() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tool");
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "one").expect("write");
        let first = Stamp::of(&path).expect("it is there");
        assert_eq!(Stamp::of(&path), Some(first));
        std::fs::write(directory.path().join("new"), "two").expect("write");
        std::fs::rename(directory.path().join("new"), &path).expect("rename");
        assert_ne!(Stamp::of(&path), Some(first));
    }

    #[test]
    fn a_file_just_written_is_fresh_and_an_old_one_is_not() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let stamp = Stamp::of(directory.path()).expect("it is there");
        assert!(stamp.is_fresh(SystemTime::now()));
        assert!(!stamp.is_fresh(SystemTime::now() + Duration::from_secs(5)));
    }
}
