//! What a build directory remembers between runs: one small file. It may be lost at any time at no cost but time.
//!
//! The file is a BLAKE3 checksum of the rest (32 bytes), then [`State`] in the `postcard` encoding. Anything that is not
//! that, such as a truncated file or one of another version, is as good as no file.

use crate::discover::Found;
use crate::identity::Identity;
use bstr::BString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

/// The version of [`State`].
const VERSION: u32 = 1;

/// What a build directory remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) version: u32,
    /// What was asked for when everything was last up to date; none if that run failed.
    pub complete: Option<Vec<BString>>,
    /// Everything that a run with nothing to do looks at: path, and identity or absence.
    pub watched: Vec<(BString, Option<Identity>)>,
    /// What is known of each edge, by its first output.
    pub records: BTreeMap<BString, Record>,
    /// The store path of files whose content was read, while their identity stands.
    pub contents: BTreeMap<BString, (Identity, String)>,
}

/// One edge as it was last up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the recipe: what the edge does, whatever its inputs hold.
    pub recipe: [u8; 32],
    /// What it read.
    pub found: Found,
    /// The store path of each of [`Found::files`].
    pub inputs: BTreeMap<BString, String>,
    /// The store path of each declared output; none for one that was not written.
    pub outputs: BTreeMap<BString, Option<String>>,
}

impl State {
    /// Reads the file; what was wrong with it is for the user.
    ///
    /// # Errors
    /// What is wrong, as a phrase; the state is then empty.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(e.to_string()),
        };
        let (checksum, body) = bytes.split_at_checked(32).ok_or("it is too short")?;
        if blake3::hash(body).as_bytes() != checksum {
            return Err("its checksum is wrong".into());
        }
        let state: Self = postcard::from_bytes(body).map_err(|e| e.to_string())?;
        if state.version == VERSION {
            Ok(state)
        } else {
            Err(format!("its version is {}, not {VERSION}", state.version))
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, path: &Path) -> io::Result<()> {
        self.version = VERSION;
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let directory = path.parent().expect("a file in a directory");
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(blake3::hash(&body).as_bytes())?;
        file.write_all(&body)?;
        file.persist(path)?;
        Ok(())
    }

    /// Whether all that was watched is as it was, for the same targets.
    pub fn is_up_to_date(&self, targets: &[BString]) -> bool {
        let same = |(path, identity): &(BString, Option<Identity>)| {
            Identity::of(crate::discover::to_path(path.as_ref())) == *identity
        };
        self.complete.as_deref() == Some(targets) && self.watched.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_file_is_named_and_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut state = State { complete: Some(vec!["all".into()]), ..State::default() };
        state.write(&path).unwrap();
        assert!(State::read(&path).unwrap().is_up_to_date(&["all".into()]));

        let good = fs::read(&path).unwrap();
        for spoilt in [&good[..good.len() - 1], &good[..10], b"", &[7; 100][..]] {
            fs::write(&path, spoilt).unwrap();
            State::read(&path).unwrap_err();
        }
    }
}
