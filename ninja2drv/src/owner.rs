//! Root in somebody else's build directory, as by `sudo ninja2drv install`: what it writes there is the owner's.

use rustix::process::geteuid;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

/// Gives what is written from now on to the owner of a directory, when the run is over.
pub struct Owner {
    directory: PathBuf,
    user: u32,
    group: u32,
    /// The device of the directory.
    device: u64,
    /// In seconds since 1970.
    since: i64,
}

impl Owner {
    /// Of a directory; none where we are not root, or it is ours.
    pub fn of(directory: &Path) -> Option<Self> {
        let metadata = fs::metadata(directory).ok().filter(|metadata| geteuid().is_root() && metadata.uid() != 0)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(Self {
            directory: directory.into(),
            user: metadata.uid(),
            group: metadata.gid(),
            device: metadata.dev(),
            since: i64::try_from(now.as_secs()).ok()?,
        })
    }

    /// Not what root had there before; nor a file with another name, which may be anything and anywhere.
    fn give(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory)?.flatten() {
            let (path, metadata) = (entry.path(), entry.metadata()?);
            let is_new = metadata.uid() == 0 && metadata.ctime() >= self.since;
            if is_new && (metadata.is_dir() || metadata.nlink() == 1) {
                lchown(&path, Some(self.user), Some(self.group))?;
            }
            if metadata.is_dir() && metadata.dev() == self.device {
                self.give(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Err(error) = self.give(&self.directory) {
            eprintln!("ninja2drv: warning: `{}` holds files of root now: {error}", self.directory.display());
        }
    }
}
