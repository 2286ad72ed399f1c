//! The directories of builds. That of an edge is used for one edge after another: making and deleting directories is a
//! good part of what a short command costs.

use crate::files::{FileError, remove_tree};
use crate::runner::{Network, Place, Room};
use crate::sandbox::{LOG, OUTPUTS};
use crate::session::{Session, Temporary};
use rustix::process::getegid;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of one build, for as long as it runs. Its parts are empty at the start.
pub(crate) struct Scratch {
    session: Arc<Session>,
    /// Taken when it is let go.
    directory: Option<Temporary>,
    reusable: bool,
}

impl Scratch {
    /// One that was used before, or a new one.
    pub(crate) fn new(session: Arc<Session>) -> Result<Self, FileError> {
        let idle = session.idle().pop();
        if let Some(directory) = idle {
            return Ok(Self { session, directory: Some(directory), reusable: false });
        }
        let scratch = Self { directory: Some(session.temporary()), session, reusable: false };
        for directory in [scratch.path(), &scratch.store()] {
            make(directory, 0o777)?; // as far as the file mode creation mask lets others: they may share the store
        }
        Ok(scratch)
    }

    /// Makes what a builder sees as `/build`, which edges have no use for.
    pub(crate) fn make_build(&self) -> Result<PathBuf, FileError> {
        let build = self.path().join("build");
        make(&build, 0o700)?;
        Ok(build)
    }

    /// Says that nobody but the runner has written here, and has ended: what it leaves is known, down to the modes of directories.
    pub(crate) fn reuse(&mut self) {
        self.reusable = true;
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().expect("it is let go at the end").path()
    }

    /// Where outputs are written.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join(OUTPUTS)
    }

    /// What it writes to standard output and standard error.
    pub(crate) fn log(&self) -> PathBuf {
        self.path().join(LOG)
    }

    /// The same, open for it.
    pub(crate) fn open_log(&self) -> Result<File, FileError> {
        let file = self.log();
        File::options().read(true).append(true).create(true).open(&file).map_err(FileError::of("make", &file))
    }

    /// The sandbox that it is for.
    pub(crate) fn sandbox(&self, network: Network, room: Room) -> Result<Place, FileError> {
        let root = match room {
            Room::Memory(_) => self.session.root(),
            Room::Disk => {
                // Others have no way to it: there are directories in it that are open to all.
                let private = self.path().join("private");
                make(&private, 0o700)?;
                let root = private.join("root");
                make(&root, 0o755)?;
                own_group(&root)?;
                root
            }
        };
        Ok(Place::Sandbox { root, network, room })
    }

    /// Makes all parts empty.
    fn clear(&self) -> Result<(), FileError> {
        let store = self.store();
        for entry in fs::read_dir(&store).map_err(FileError::of("read the directory", &store))? {
            remove_tree(&entry.map_err(FileError::of("read the directory", &store))?.path())?;
        }
        match fs::metadata(self.log()) {
            Ok(log) if log.len() > 0 => File::create(self.log()).map(drop).map_err(FileError::of("empty", &self.log())),
            _ => Ok(()), // it is empty, or was moved away
        }
    }
}

fn make(directory: &Path, mode: u32) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(mode);
    builder.create(directory).map_err(FileError::of("make the directory", directory))
}

/// Gives a directory our own group, where that of a shared store has given it another: a sandbox knows no other.
fn own_group(directory: &Path) -> Result<(), FileError> {
    let metadata = fs::metadata(directory).map_err(FileError::of("look at", directory))?;
    let group = getegid().as_raw();
    if metadata.gid() != group {
        chown(directory, None, Some(group)).map_err(FileError::of("set the group of", directory))?;
    }
    // New directories are not to have that of this one.
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(directory, mode).map_err(FileError::of("set the permissions of", directory))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let reused = self.reusable && self.clear().is_ok();
        let directory = self.directory.take();
        if reused {
            self.session.idle().extend(directory);
        } // else it is deleted here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn others_have_no_way_to_a_root_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let scratch = Scratch::new(Arc::new(Session::create(&layout).unwrap())).unwrap();
        let Place::Sandbox { root, .. } = scratch.sandbox(Network::Own, Room::Disk).unwrap() else {
            panic!("a sandbox")
        };
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&root), mode(root.parent().unwrap())), (0o755, 0o700));
        assert_eq!(fs::metadata(&root).unwrap().gid(), getegid().as_raw());
    }
}
