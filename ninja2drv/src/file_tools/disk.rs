//! Files as ninja sees them, with its words for what goes wrong.

use bstr::BStr;
use splitter::discover::to_path;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files of a build.
#[derive(Clone, Copy)]
pub struct Disk<'a> {
    directory: &'a Path,
}

impl<'a> Disk<'a> {
    /// Paths start at `directory`, which is absolute.
    pub fn new(directory: &'a BStr) -> Self {
        Self { directory: to_path(directory) }
    }

    /// Where a path of the manifest or a log leads.
    pub fn place(self, path: &BStr) -> PathBuf {
        self.directory.join(to_path(path))
    }

    /// The mtime of a file in nanoseconds since 1970; 1 for the whole first second, 0 if there is no file.
    pub fn mtime_ns(self, path: &BStr) -> Result<i64, String> {
        match fs::metadata(self.place(path)) {
            Ok(metadata) if metadata.mtime() == 0 => Ok(1),
            Ok(metadata) => Ok(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(0),
            Err(error) => Err(format!("stat({path}): {}", reason(&error))),
        }
    }

    /// Removes a file or an empty directory. False if there is none.
    pub fn remove(self, path: &BStr) -> Result<bool, String> {
        let place = self.place(path);
        let removed = fs::remove_file(&place).or_else(|error| match error.kind() {
            ErrorKind::IsADirectory => fs::remove_dir(&place),
            _ => Err(error),
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(format!("remove({path}): {}", reason(&error))),
        }
    }
}

/// What the system says, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// Prints an error after which the tool goes on.
pub fn complain(error: &str) {
    eprintln!("ninja: error: {error}");
}
