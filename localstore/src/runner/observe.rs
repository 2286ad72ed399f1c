//! Which inputs the commands of an edge read, by the access times of a root that nothing else looks at.
//!
//! Every staged file is a copy in a tmpfs whose access time is set to the epoch; the kernel moves it when the file is
//! read, mapped or executed, the link followed, or the directory listed (with `relatime` too, since that compares with
//! the time of modification). A file that is only looked at by stat(2) does not count.

use super::Error;
use super::root::Staged;
use nixstore::manifest::Reads;
use nixstore::text;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

/// Sets every access time to the epoch.
pub fn begin(staged: &Staged) -> Result<(), Error> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    for path in &staged.paths {
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Error::io(format!("set the times of `{}`", path.display()))(e.into()))?;
    }
    Ok(())
}

/// What has been read since.
pub fn end(staged: &Staged) -> Reads {
    let mut reads = Reads::default();
    for path in &staged.paths {
        // What the commands removed was not worth much to them.
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        if (metadata.atime(), metadata.atime_nsec()) != (0, 0) {
            let list = if metadata.is_dir() { &mut reads.directories } else { &mut reads.files };
            list.push(text::from_bytes(path.as_os_str().as_bytes()));
        }
    }
    reads
}
