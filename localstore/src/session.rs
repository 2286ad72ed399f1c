//! Places for what a store is still making: below `nix/var/splitter/builds`, on the store's file system, one directory
//! for each open store, cleared when it is closed or, after a crash, when a store is opened the next time.

use crate::files::{FileError, Lock, lock, remove_tree, take, unless_gone};
use crate::layout::Layout;
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The directory of one open store. Deleted with all in it when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    directory: PathBuf,
    count: AtomicU64,
    /// Directories of builds that are over. Deleted with all else.
    idle: Mutex<Vec<Temporary>>,
    /// Tells others that the directory is in use.
    _lock: Lock,
}

impl Session {
    /// Makes a directory that nobody else uses.
    pub(crate) fn create(layout: &Layout) -> Result<Self, FileError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let _alone = lock(&gate(layout), FlockOperation::LockExclusive)?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let directory = layout.builds().join(format!("{}-{count}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => {}
                // Left by an old process of the same number, or in use by one in another PID namespace.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(FileError::of("make the directory", &directory)(error)),
            }
            let root = directory.join(ROOT);
            fs::create_dir(&root).map_err(FileError::of("make the directory", &root))?;
            let held = lock(&directory.join(LOCK), FlockOperation::LockExclusive)?;
            let _lock = held.expect("a lock that waits is got");
            return Ok(Self { directory, count: AtomicU64::new(0), idle: Mutex::default(), _lock });
        }
    }

    /// Directories of builds that the next ones may use.
    pub(crate) fn idle(&self) -> MutexGuard<'_, Vec<Temporary>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty directory: where jobs mount their roots, each seen by itself alone.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join(ROOT)
    }

    /// Where others may make things of their own, by names that are no numbers.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A name in the session's directory that nothing has.
    pub(crate) fn temporary(&self) -> Temporary {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Temporary { path: self.directory.join(count.to_string()) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be deleted now is tried again when a store is opened the next time.
        let _ = remove_tree(&self.directory);
    }
}

/// A name for something that is to be deleted in every case, unless it is moved away.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be deleted now is tried again with the whole session.
        let _ = remove_tree(&self.path);
    }
}

/// Deletes the directories of stores whose processes have ended without closing them.
pub(crate) fn clear_stale(layout: &Layout) -> Result<(), FileError> {
    let builds = layout.builds();
    let mut entries = fs::read_dir(&builds).map_err(FileError::of("read the directory", &builds))?.flatten().peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    let _alone = lock(&gate(layout), FlockOperation::LockExclusive)?;
    for entry in entries {
        let directory = entry.path();
        if directory.is_dir() && !in_use(&directory)? {
            remove_tree(&directory)?;
        }
    }
    Ok(())
}

/// Whether a process has the session in `directory` open. One without a lock file is just being deleted by the process
/// that closes it, or that process died before it could make one: nobody makes sessions while the gate is held.
fn in_use(directory: &Path) -> Result<bool, FileError> {
    let path = directory.join(LOCK);
    match unless_gone(File::open(&path)).map_err(FileError::of("open", &path))? {
        Some(file) => Ok(take(file, &path, FlockOperation::NonBlockingLockExclusive)?.is_none()),
        None => Ok(false),
    }
}

const LOCK: &str = "lock";
const ROOT: &str = "root";

/// Held while sessions are made or looked for.
fn gate(layout: &Layout) -> PathBuf {
    layout.own().join("builds.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_closed_stores_are_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let open = Session::create(&layout).unwrap();
        let used = open.temporary();
        fs::create_dir(used.path()).unwrap();
        let stale = layout.builds().join("1-0");
        fs::create_dir_all(stale.join("0/store")).unwrap();
        fs::write(stale.join(LOCK), "").unwrap();
        fs::set_permissions(stale.join("0/store"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();

        clear_stale(&layout).unwrap();
        assert!(used.path().exists());
        assert!(!stale.exists());
        drop(used);
        drop(open);
        assert_eq!(fs::read_dir(layout.builds()).unwrap().count(), 0);
    }
}
