//! What is remembered of a host between runs: one file in the user's cache, in the form of postcard. It may be deleted at any time.

use super::seed::Seed;
use super::selection::Selection;
use crate::identity::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Changes whenever an older file would be misunderstood, or the rules of selecting change.
const VERSION: u32 = 6;

/// The most snapshots that are remembered by what they hold.
const MOST_MADE: usize = 1000;

/// The content of the file. Numbers are indices of `seeds`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    version: u32,
    /// The identities of the host's databases; all but `made` is true only while they stay.
    pub host: Vec<Option<Identity>>,
    /// Every seed that is named below.
    pub seeds: Vec<Seed>,
    /// By `PATH` and program.
    pub programs: BTreeMap<String, BTreeMap<String, Vec<u32>>>,
    /// By file.
    pub files: BTreeMap<String, OfFile>,
    /// By the key of a set of seeds.
    pub snapshots: BTreeMap<String, Made>,
    /// The store path of each listing, by its digest. True whatever happens to the host.
    pub made: BTreeMap<String, String>,
}

/// What a file draws in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfFile {
    /// Of what it is, or leads to: it may be changed without its package.
    pub identity: Identity,
    /// The seeds.
    pub seeds: Vec<u32>,
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its store path.
    pub path: String,
    /// What it was made of.
    pub selection: Selection,
    /// How many files are in it.
    pub files: usize,
    /// The bytes in them.
    pub bytes: u64,
    /// What was left out and why.
    pub notes: Vec<String>,
    /// Configuration of packages that is in it, which anybody may have edited since.
    pub outside: Vec<(PathBuf, Identity)>,
}

impl Remembered {
    /// Nothing, of a host with these identities.
    pub fn nothing(host: Vec<Option<Identity>>) -> Self {
        Self { version: VERSION, host, ..Self::default() }
    }

    /// Reads the file at `path`. A file that is missing, broken or of another version has nothing to say; one of a host
    /// that has changed since has only its snapshots by content.
    pub fn load(path: &Path, host: Vec<Option<Identity>>) -> Self {
        let read = fs::read(path).ok().and_then(|bytes| postcard::from_bytes::<Self>(&bytes).ok());
        match read.filter(|read| read.version == VERSION && read.is_sound()) {
            Some(read) if read.host == host => read,
            Some(read) => Self { made: read.made, ..Self::nothing(host) },
            None => Self::nothing(host),
        }
    }

    /// Replaces the file at `path`. Of two writers the last one wins, and the other's facts are found again.
    ///
    /// # Errors
    /// Those of writing a file beside it and renaming that.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(directory)?;
        let mut kept = self.clone();
        while kept.made.len() > MOST_MADE {
            kept.made.pop_first();
        }
        file.write_all(&postcard::to_stdvec(&kept).map_err(io::Error::other)?)?;
        file.persist(path)?;
        Ok(())
    }

    /// The seeds that the numbers mean.
    pub fn seeds<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = &'a Seed> {
        numbers.iter().map(|&number| &self.seeds[number as usize])
    }

    /// No number is too large.
    fn is_sound(&self) -> bool {
        let numbers = self.programs.values().flat_map(BTreeMap::values).flatten();
        numbers
            .chain(self.files.values().flat_map(|file| &file.seeds))
            .max()
            .is_none_or(|&number| (number as usize) < self.seeds.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        Remembered {
            seeds: vec![Seed::Package("libc6:amd64".into())],
            files: [("/usr/include/stdio.h".to_owned(), of_file(0))].into(),
            made: [("digest".to_owned(), "path".to_owned())].into(),
            ..Remembered::nothing(vec![None])
        }
    }

    fn of_file(seed: u32) -> OfFile {
        OfFile { identity: Identity::of(Path::new("/")).expect("it is there"), seeds: vec![seed] }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("cache/toolchains");
        assert_eq!(Remembered::load(&path, vec![None]), Remembered::nothing(vec![None]));
        remembered().save(&path).expect("it can be written");
        assert_eq!(Remembered::load(&path, vec![None]), remembered());
    }

    #[test]
    fn of_another_host_only_contents_are_believed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("toolchains");
        remembered().save(&path).expect("it can be written");
        let other = Remembered::load(&path, vec![Identity::of(directory.path())]);
        assert!(other.files.is_empty() && other.seeds.is_empty());
        assert_eq!(other.made, remembered().made);
    }

    #[test]
    fn a_broken_file_says_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("toolchains");
        let mut broken = remembered();
        broken.files.insert("/x".into(), of_file(7));
        broken.save(&path).expect("it can be written");
        assert_eq!(Remembered::load(&path, vec![None]), Remembered::nothing(vec![None]));
        fs::write(&path, "{").expect("write");
        assert_eq!(Remembered::load(&path, vec![None]), Remembered::nothing(vec![None]));
    }
}
