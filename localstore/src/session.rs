//! Places for what a store is still making: below `nix/var/splitter/builds`, on the store's file system, one directory
//! for each open store, cleared when it is closed or, after a crash, when a store is opened the next time. What stays of one that
//! was closed is the directory of a build, empty, for the next: making and deleting both is a good part of what a short command
//! costs.

use crate::files::{FileError, Lock, lock, remove_tree, take, unless_gone};
use crate::layout::Layout;
use crate::sandbox::{LOG, OUTPUTS};
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The directory of one open store. All that was in it is deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    directory: PathBuf,
    root: PathBuf,
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
        let root = layout.root_of_jobs();
        if !root.exists() {
            fs::create_dir(&root).map_err(FileError::of("make the directory", &root))?; // of a store by an older program
        }
        if let Some(session) = Self::left(layout, &root) {
            return Ok(session);
        }
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let directory = layout.builds().join(format!("{}-{count}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => {}
                // Left by an old process of the same number, or in use by one in another PID namespace.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(FileError::of("make the directory", &directory)(error)),
            }
            let held = lock(&directory.join(LOCK), FlockOperation::LockExclusive)?;
            let _lock = held.expect("a lock that waits is got");
            return Ok(Self { directory, root, count: AtomicU64::new(0), idle: Mutex::default(), _lock });
        }
    }

    /// One that somebody has left, if there is one among the first that are looked at. Nobody else looks meanwhile.
    fn left(layout: &Layout, root: &Path) -> Option<Self> {
        let mine = rustix::process::geteuid().as_raw();
        let take = |directory: PathBuf| -> Option<Self> {
            let path = directory.join(LOCK);
            let _lock = take(File::open(&path).ok()?, &path, FlockOperation::NonBlockingLockExclusive).ok()??;
            let build = idle_build(&directory)?;
            let is_mine = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.uid() == mine);
            if !is_mine(&directory) || !is_mine(&build) {
                return None;
            }
            let number: u64 = build.file_name()?.to_str()?.parse().ok()?;
            let idle = Mutex::new(vec![Temporary { path: build }]);
            Some(Self { directory, root: root.into(), count: AtomicU64::new(number + 1), idle, _lock })
        };
        fs::read_dir(layout.builds()).ok()?.flatten().take(LOOKED_AT).find_map(|entry| take(entry.path()))
    }

    /// Directories of builds that the next ones may use.
    pub(crate) fn idle(&self) -> MutexGuard<'_, Vec<Temporary>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Layout::root_of_jobs`].
    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
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
        let kept = self.idle().pop();
        self.idle().clear();
        let is_kept = |path: &Path| kept.as_ref().is_some_and(|kept| kept.path == path) || path.ends_with(LOCK);
        // What cannot be deleted now is tried again when a store is opened the next time.
        if kept.is_some() {
            let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
            let others = entries.map(|entry| entry.path()).filter(|path| !is_kept(path));
            others.for_each(|path| remove_tree(&path).unwrap_or_default());
        } else {
            let _ = remove_tree(&self.directory);
        }
        std::mem::forget(kept); // it is left to the next
    }
}

/// How many directories are looked at by who wants one that was left: more are in use at the same time.
const LOOKED_AT: usize = 8;

/// The directory of a build in that of a session, where there is nothing else: as [`crate::scratch`] makes it, and empty.
fn idle_build(session: &Path) -> Option<PathBuf> {
    let names = |directory: &Path| -> Option<Vec<PathBuf>> {
        fs::read_dir(directory).ok()?.map(|entry| Some(entry.ok()?.path())).collect()
    };
    let mut of_session = names(session)?;
    of_session.retain(|path| !path.ends_with(LOCK));
    let [build] = <[PathBuf; 1]>::try_from(of_session).ok()?;
    let outputs = build.join(OUTPUTS);
    let is_plain = |path: &PathBuf| *path == outputs || path.ends_with(LOG) && is_empty_file(path);
    (names(&build)?.iter().all(is_plain) && names(&outputs)?.is_empty()).then_some(build)
}

fn is_empty_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
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
    let mut idle = 0;
    for entry in entries {
        let directory = entry.path();
        // Those of others may be such that nobody else can tell.
        if directory.is_dir() && in_use(&directory).is_ok_and(|used| !used) {
            let is_idle = idle_build(&directory).is_some();
            idle += usize::from(is_idle);
            if !is_idle || idle > LOOKED_AT {
                let _ = remove_tree(&directory); // it may be somebody else's, and is in nobody's way
            }
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
        fs::write(stale.join("0/store/output"), "").unwrap();
        fs::set_permissions(stale.join("0/store"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();

        clear_stale(&layout).unwrap();
        assert!(used.path().exists());
        assert!(!stale.exists());
        drop(used);
        drop(open);
        assert_eq!(fs::read_dir(layout.builds()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_which_nobody_can_tell_whether_it_is_in_use_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let strange = layout.builds().join("1-0");
        fs::create_dir(&strange).unwrap();
        std::os::unix::fs::symlink(LOCK, strange.join(LOCK)).unwrap(); // a loop, which cannot be opened
        clear_stale(&layout).unwrap();
        assert!(strange.exists());
    }

    /// A session that has had a build, which has left something else too.
    fn used(layout: &Layout) -> PathBuf {
        let session = Session::create(layout).unwrap();
        let build = session.temporary();
        fs::create_dir_all(build.path().join(OUTPUTS)).unwrap();
        fs::write(session.directory().join("other"), "").unwrap();
        session.idle().push(build);
        session.directory().to_owned()
    }

    #[test]
    fn the_directory_of_a_build_is_left_to_the_next_session_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let left = used(&layout);
        clear_stale(&layout).unwrap();
        assert_eq!(fs::read_dir(&left).unwrap().count(), 2);
        let (next, other) = (Session::create(&layout).unwrap(), Session::create(&layout).unwrap());
        assert_eq!((next.directory(), next.idle().len()), (left.as_path(), 1));
        assert_eq!((other.directory() == left, other.idle().len()), (false, 0));
        let build = next.idle()[0].path().to_owned();
        assert_ne!(next.temporary().path(), build);
    }

    #[test]
    fn a_directory_that_a_crash_has_left_is_nobodys() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let left = used(&layout);
        fs::write(left.join("0/store/output"), "half").unwrap();
        let next = Session::create(&layout).unwrap();
        assert_ne!(next.directory(), left);
        clear_stale(&layout).unwrap();
        assert!(!left.exists() && next.directory().exists());
    }

    #[test]
    fn only_so_many_directories_are_left_as_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let open: Vec<Session> = (0..2 * LOOKED_AT).map(|_| Session::create(&layout).unwrap()).collect();
        for session in &open {
            let build = session.temporary();
            fs::create_dir_all(build.path().join(OUTPUTS)).unwrap();
            session.idle().push(build);
        }
        drop(open);
        clear_stale(&layout).unwrap();
        assert_eq!(fs::read_dir(layout.builds()).unwrap().count(), LOOKED_AT);
    }
}
