//! What a build directory remembers between runs, in two small files: what a run with nothing to do looks at ([`State`]),
//! and what is known of each edge ([`Records`]). Both may be lost at any time at no cost but time.
//!
//! A file is a BLAKE3 checksum of the rest (32 bytes), then a version and the value in the `postcard` encoding. Anything
//! that is not that, such as a truncated file or one of another version, is as good as no file.

use crate::audit::Finding;
use crate::contents::Remembered;
use crate::discover::{Found, parent, to_path};
use crate::drive::Sandbox;
use crate::identity::Identity;
use bstr::{BStr, BString, ByteSlice as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;
use std::{fs, io, thread};

/// The version of both files, and of the rules by which it was found what edges read.
const VERSION: u32 = 13;

/// Everything that a run with nothing to do looks at; where it only looks, its texts are those of the file that it read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State<Text = BString> {
    /// What was asked for when everything was last up to date; none if that run failed.
    pub complete: Option<Vec<Text>>,
    /// The build file of that run, as it was named: a directory may have several.
    pub file: Text,
    /// What the user wished to be in a sandbox in that run.
    pub isolation: Text,
    /// Paths, each with its identity or absence.
    pub watched: Vec<(Text, Option<Identity>)>,
}

/// What is known of the edges.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Records {
    /// By the first output.
    pub by_name: BTreeMap<BString, Record>,
    /// Files whose content was read.
    pub contents: Remembered,
    /// Files that tell whether the host's tools are the same.
    pub probes: Vec<(BString, Option<Identity>)>,
    /// Files that edges wrote without declaring them, by the edge's name.
    pub left: BTreeMap<BString, Vec<BString>>,
}

/// One edge as it was last up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the recipe: what the edge does, whatever its inputs hold.
    pub recipe: [u8; 32],
    /// What it read.
    pub found: Found,
    /// The store path of each file whose change is a change for this edge.
    pub inputs: BTreeMap<BString, String>,
    /// The store path of each declared output; none for one that was not written.
    pub outputs: BTreeMap<BString, Option<String>>,
    /// The store path of its depfile, if it writes one.
    pub depfile: Option<String>,
    /// The store path of its toolchain snapshot.
    pub tools: String,
    /// It was made in mode `canonical`, in which outputs may hold the canonical root.
    pub canonical: bool,
    /// In what world it was made.
    pub made: Made,
    /// Where it differs from what is stated of it; none where nobody has looked.
    pub audited: Option<Audited>,
}

/// In what world an edge was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    /// In a sandbox.
    Isolated,
    /// Where it is and traced, as there was no sandbox.
    Traced,
    /// Where it is and by nobody watched: it was not for a sandbox.
    Outside {
        /// When it was begun, by the clock of the file system.
        begun: SystemTime,
    },
    /// By another program, which is believed in what it says of it.
    Adopted,
}

impl Made {
    /// How a store makes an edge in such a sandbox.
    pub fn by(sandbox: Sandbox) -> Self {
        match sandbox {
            Sandbox::Root => Self::Isolated,
            Sandbox::None => Self::Traced,
        }
    }

    /// Whether it is as good as what a store would make now.
    pub fn stands_in(self, sandbox: Sandbox) -> bool {
        match self {
            Self::Isolated | Self::Adopted => true,
            Self::Traced => sandbox == Sandbox::None,
            Self::Outside { .. } => false,
        }
    }
}

/// What an edge did with files, against what was stated of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Of all that was stated.
    pub stated: [u8; 32],
    /// Where they differ.
    pub findings: Vec<Finding>,
}

/// Reads a file; what was wrong with it is for the user.
///
/// # Errors
/// What is wrong, as a phrase; a file that is not there is an empty value.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, String> {
    bytes_of(path)?.map_or_else(|| Ok(T::default()), |bytes| decode(&bytes))
}

/// Whether the [`State`] in a file says that there is nothing to do for `targets`: of the same build file, with the same
/// wish, and all that was watched is as it was. This process is in `directory`, which is absolute and without links.
///
/// # Errors
/// As [`read`].
pub fn is_up_to_date(
    path: &Path,
    targets: &[BString],
    file: &BStr,
    isolation: &BStr,
    directory: &BStr,
) -> Result<bool, String> {
    let Some(bytes) = bytes_of(path)? else { return Ok(false) };
    let state: State<&BStr> = decode(&bytes)?;
    Ok(state.complete.is_some_and(|complete| complete == targets)
        && state.file == file
        && state.isolation == isolation
        && stand(&state.watched, directory))
}

/// None if there is no such file.
fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let (checksum, body) = bytes.split_at_checked(32).ok_or("it is too short")?;
    if blake3::hash(body).as_bytes() != checksum {
        return Err("its checksum is wrong".into());
    }
    let (version, value) = postcard::take_from_bytes::<u32>(body).map_err(|e| e.to_string())?;
    if version != VERSION {
        return Err(format!("its version is {version}, not {VERSION}"));
    }
    postcard::from_bytes(value).map_err(|e| e.to_string())
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write<T: Serialize>(value: &T, path: &Path) -> io::Result<()> {
    let body = postcard::to_stdvec(&(VERSION, value)).map_err(io::Error::other)?;
    let directory = path.parent().expect("a file in a directory");
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(blake3::hash(&body).as_bytes())?;
    file.write_all(&body)?;
    file.persist(path)?;
    Ok(())
}

/// Whether a path still has its identity, or is still absent.
pub fn is_same((path, identity): &(BString, Option<Identity>)) -> bool {
    Identity::of(to_path(path.as_bstr())) == *identity
}

/// Whether all that was watched is as it was.
fn stand(watched: &[(&BStr, Option<Identity>)], directory: &BStr) -> bool {
    // Fewer are looked at in less time than it takes to begin a thread for them, and for fewer than many it takes longer
    // to learn how many threads can run than a second one costs in vain.
    const AT_LEAST: usize = 512;
    const MANY: usize = 8192;
    let threads = match watched.len() {
        ..MANY => 2,
        _ => thread::available_parallelism().map_or(1, usize::from).min(4),
    };
    let mut parts = watched.chunks(watched.len().div_ceil(threads).max(AT_LEAST));
    let is_same = |part: &[(&BStr, Option<Identity>)]| {
        part.iter().all(|(path, known)| Identity::of(to_path(seen_from(directory, path).as_ref())) == *known)
    };
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || is_same(part))).collect();
        is_same(own) && others.into_iter().all(|other| other.join().is_ok_and(|same| same))
    })
}

/// A path as it is seen from a directory near to it: the system takes time for each part of a path.
fn seen_from<'a>(directory: &BStr, path: &'a BStr) -> Cow<'a, BStr> {
    const NEAR: usize = 3;
    let mut above = directory;
    for up in 0..=NEAR {
        if let Some(below) = path.strip_prefix(above.as_bytes()).and_then(|below| below.strip_prefix(b"/")) {
            return match up {
                0 => Cow::Borrowed(below.as_bstr()),
                _ => Cow::Owned([b"../".repeat(up).as_slice(), below].concat().into()),
            };
        }
        above = parent(above);
    }
    Cow::Borrowed(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_file_is_named_and_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let state: State = State { complete: Some(vec!["all".into()]), ..State::default() };
        write(&state, &path).unwrap();
        let is_up_to_date = |target: &str| is_up_to_date(&path, &[target.into()], b"".into(), b"".into(), b"/".into());
        assert_eq!([is_up_to_date("all"), is_up_to_date("some")], [Ok(true), Ok(false)]);

        let good = fs::read(&path).unwrap();
        for spoilt in [&good[..good.len() - 1], &good[..10], b"", &[7; 100][..]] {
            fs::write(&path, spoilt).unwrap();
            read::<State>(&path).unwrap_err();
            is_up_to_date("all").unwrap_err();
        }
    }

    #[test]
    fn a_path_is_short_from_a_directory_near_to_it() {
        let seen = |path: &str| seen_from(b"/r/a/b/build".into(), path.into()).to_string();
        assert_eq!(seen("/r/a/b/build/out/x.o"), "out/x.o");
        assert_eq!(seen("/r/a/b/src/x.c"), "../src/x.c");
        assert_eq!(seen("/r/other/x.c"), "../../../other/x.c");
        for far in ["/usr/bin/cc", "/r/a/b/build", "/r/a/b/builder/x"] {
            assert_eq!(absolute_from("/r/a/b/build", &seen(far)), far);
        }
    }

    fn absolute_from(directory: &str, path: &str) -> String {
        crate::graph::absolute(path.into(), directory.into()).to_string()
    }
}
