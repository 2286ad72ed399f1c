//! A hit: what a call gave before is given again, if all that it depends on is as it was.

use crate::cache::Cache;
use crate::entry::{self, Entry, Gave, Known, Output, Refusal, Spoilt};
use crate::guard::{self, Change, Check, Contents};
use bstr::{BString, ByteSlice as _};
use nixstore::StorePath;
use splitter::discover::to_path;
use splitter::identity::Identity;
use splitter::materialise;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt};
use std::path::Path;
use std::time::SystemTime;
use std::{env, io};

/// What the cache says of a call.
#[derive(Debug)]
pub enum Answer {
    /// It is answered: by what this compiler gave, which is a name for people.
    Hit(String),
    /// Nothing is to be remembered of it.
    Refused(Refusal),
    /// Nothing that still holds is known of it.
    Miss(Miss),
}

/// Why nothing is known of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// It was never made.
    New,
    /// It was made, with something else before it.
    Changed(Change),
    /// What it made is gone from the store, or is not what it was.
    Lost(BString),
    /// The entry is none.
    Spoilt(Spoilt),
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => write!(f, "not compiled here before"),
            Self::Changed(change) => write!(f, "{change}"),
            Self::Lost(path) => write!(f, "`{path}` is not in the store any more as it was made"),
            Self::Spoilt(Spoilt::Damaged) => write!(f, "its entry in the cache was damaged"),
            Self::Spoilt(Spoilt::OtherVersion) => write!(f, "its entry in the cache is of another version"),
        }
    }
}

/// Answers the call whose text and name these are. Writes what it printed to `errors`.
///
/// # Errors
/// Those of writing what was made; nothing of it may be there.
pub fn answer(cache: &Cache, name: &str, text: &[u8], errors: &mut dyn io::Write) -> io::Result<Answer> {
    let Some(bytes) = cache.read(name) else { return Ok(Answer::Miss(Miss::New)) };
    let mut entry = match entry::decode(&bytes) {
        Ok(entry) if entry.call == text => entry,
        Ok(_) => return Ok(Answer::Miss(Miss::New)), // of another call with the same name
        Err(spoilt) => {
            cache.remove(name);
            return Ok(Answer::Miss(Miss::Spoilt(spoilt)));
        }
    };
    let mut miss = Miss::New;
    let mut contents = Contents::default();
    let variable = |name: &[u8]| env::var_os(OsStr::from_bytes(name)).map(OsStringExt::into_vec);
    for i in 0..entry.results.len() {
        let known = &mut entry.results[i];
        let mut fresh = match guard::check(&mut known.guards, &variable, &mut contents) {
            Check::Same => i > 0,
            Check::Refreshed => true,
            Check::Changed(change) => {
                // Of the newest, which is what people mean.
                miss = if i == 0 { Miss::Changed(change) } else { miss };
                continue;
            }
        };
        let answer = match &mut known.gave {
            Gave::Refused(refusal) => Answer::Refused(*refusal),
            // The compiler writes through it.
            Gave::Made { outputs, depfile, .. }
                if places(outputs, depfile).any(|at| to_path(at.as_bstr()).is_symlink()) =>
            {
                return Ok(Answer::Miss(miss));
            }
            Gave::Made { compiler, outputs, depfile, log } => match open(outputs, &mut fresh) {
                Ok(files) => {
                    for (output, mut file) in outputs.iter().zip(files) {
                        materialise::copy(&mut file, to_path(output.at.as_bstr()))?;
                    }
                    if let Some((at, text)) = depfile {
                        materialise::write(text, to_path(at.as_bstr()))?;
                    }
                    errors.write_all(log)?;
                    Answer::Hit(compiler.to_string())
                }
                Err(lost) => {
                    miss = Miss::Lost(lost);
                    entry.results.remove(i);
                    cache.write(name, &entry::encode(&entry)).ok(); // else it is found again
                    break;
                }
            },
        };
        match fresh {
            false => cache.touch(name),
            true => {
                entry.results[..=i].rotate_right(1);
                cache.write(name, &entry::encode(&entry)).ok(); // else the next one does it
            }
        }
        return Ok(answer);
    }
    Ok(Answer::Miss(miss))
}

/// Where files are put.
fn places<'a>(outputs: &'a [Output<'_>], depfile: &'a Option<(&[u8], &[u8])>) -> impl Iterator<Item = &'a [u8]> {
    outputs.iter().map(|output| output.at).chain(depfile.iter().map(|(at, _)| *at))
}

/// Opens all outputs in the store; else names one that is not what was made. `fresh` is set where another identity stands for
/// one now.
fn open(outputs: &mut [Output<'_>], fresh: &mut bool) -> Result<Vec<File>, BString> {
    let mut files = Vec::with_capacity(outputs.len());
    for output in outputs {
        let path = to_path(output.from.as_bstr());
        let lost = || BString::from(output.at);
        let file = File::open(path).map_err(|_| lost())?;
        let (identity, now) = (Identity::from_metadata(&file.metadata().map_err(|_| lost())?), SystemTime::now());
        if output.identity != Some(identity) {
            if !is_as_named(path) {
                return Err(lost());
            }
            let standing = Some(identity).filter(|identity| identity.settled(now));
            *fresh |= standing != output.identity;
            output.identity = standing;
        }
        files.push(file);
    }
    Ok(files)
}

/// Whether the store path of a file in a store has the content that it is named by.
pub fn is_as_named(file: &Path) -> bool {
    store_path_of(file).is_some_and(|(top, name)| guard::holds(top, &name))
}

/// The store path that a file in a store is, or lies below, and where that is: the nearest part that is named as one.
pub fn store_path_of(file: &Path) -> Option<(&Path, StorePath)> {
    file.ancestors().find_map(|top| Some((top, top.file_name()?.to_str()?.parse().ok()?)))
}

/// Puts a result in front of what is known of a call in a namespace, in the place of an equal one.
///
/// # Errors
/// Those of the file system.
pub fn remember(cache: &Cache, name: &str, text: &[u8], namespace: &[u8], known: Known<'_>) -> io::Result<()> {
    let bytes = cache.read(name).unwrap_or_default();
    let old = entry::decode(&bytes).ok().filter(|entry| (entry.call, entry.namespace) == (text, namespace));
    let same = |a: &Known<'_>, b: &Known<'_>| {
        let files = |known: &Known<'_>| -> Vec<_> {
            known.guards.files.iter().map(|file| (file.path.to_vec(), file.content.to_owned())).collect()
        };
        files(a) == files(b) && a.guards.variables == b.guards.variables
    };
    let others = old.map(|entry| entry.results).unwrap_or_default().into_iter().filter(|other| !same(other, &known));
    let others: Vec<Known<'_>> = others.take(entry::MOST_RESULTS - 1).collect();
    let results = std::iter::once(known).chain(others).collect();
    cache.write(name, &entry::encode(&Entry { call: text, namespace, results }))
}
