//! Why a call was not answered by its entry: written down at each miss, for whoever asks afterwards. One small file for each
//! output, and the name of the last.

use crate::cache::{Cache, read, replace};
use crate::hit::Miss;
use crate::raw;
use bstr::{BStr, BString, ByteSlice as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// What is known of the last miss of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Absolute.
    pub output: BString,
    /// A phrase.
    pub reason: String,
    /// As [`raw::Raw::text`].
    call: BString,
}

/// Writes down that the call of this text, which makes `output`, was a miss. What is not written is not told.
pub fn note(cache: &Cache, output: &BStr, call: &BStr, miss: &Miss) {
    let reason = match (miss, of(cache, output)) {
        (Miss::New, Some(before)) => difference(before.call.as_bstr(), call).unwrap_or_else(|| miss.to_string()),
        _ => miss.to_string(),
    };
    let explained = Explained { output: output.into(), reason, call: call.into() };
    let bytes = postcard::to_stdvec(&explained).expect("plain data");
    replace(&file(cache, output), &bytes).and_then(|()| replace(&last(cache), output)).ok(); // it is only for whoever asks
}

/// The last miss of an output.
pub fn of(cache: &Cache, output: &BStr) -> Option<Explained> {
    let bytes = read(&file(cache, output))?;
    postcard::from_bytes(&bytes).ok()
}

/// The last miss of all.
pub fn newest(cache: &Cache) -> Option<Explained> {
    of(cache, read(&last(cache))?.as_bstr())
}

fn file(cache: &Cache, output: &BStr) -> PathBuf {
    directory(cache).join(raw::name(output))
}

fn last(cache: &Cache) -> PathBuf {
    directory(cache).join("last")
}

fn directory(cache: &Cache) -> PathBuf {
    cache.directory().join("explained")
}

/// Forgets what was a miss so long ago that nobody asks for it any more.
pub fn forget_old(cache: &Cache) {
    const OLD: Duration = Duration::from_secs(30 * 24 * 3600);
    let now = SystemTime::now();
    let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > OLD);
    for file in fs::read_dir(directory(cache)).into_iter().flatten().flatten() {
        if file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(is_old) {
            fs::remove_file(file.path()).ok(); // another may have done it
        }
    }
}

/// Forgets everything.
///
/// # Errors
/// Those of the file system.
pub fn forget_all(cache: &Cache) -> io::Result<()> {
    match fs::remove_dir_all(directory(cache)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What two calls differ in, as a phrase; none where they do not.
fn difference(before: &BStr, now: &BStr) -> Option<String> {
    let count = |text: &BStr| {
        let mut parts: BTreeMap<BString, i64> = BTreeMap::new();
        for part in text.split_str("\0").filter(|part| !part.is_empty()) {
            *parts.entry(part.into()).or_default() += 1;
        }
        parts
    };
    let (before, now) = (count(before), count(now));
    let only = |a: &BTreeMap<BString, i64>, b: &BTreeMap<BString, i64>| -> Vec<String> {
        let more = |(part, times): &(&BString, &i64)| **times > b.get(*part).copied().unwrap_or_default();
        a.iter().filter(more).map(|(part, _)| format!("`{part}`")).collect()
    };
    let (gone, new) = (only(&before, &now), only(&now, &before));
    match (gone.is_empty(), new.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("called with {} besides", new.join(", "))),
        (false, true) => Some(format!("called without {}", gone.join(", "))),
        (false, false) => Some(format!("called with {} in the place of {}", new.join(", "), gone.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_command_for_the_same_output_is_told_by_its_words() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"));
        let miss = |call: &str, miss: Miss| {
            note(&cache, b"/a.o".into(), call.into(), &miss);
            newest(&cache).unwrap().reason
        };
        assert_eq!(newest(&cache), None);
        assert_eq!(miss("cc\0-O2\0a.c", Miss::New), "not compiled here before");
        assert_eq!(miss("cc\0-O3\0a.c", Miss::New), "called with `-O3` in the place of `-O2`");
        assert_eq!(miss("cc\0-O3\0-g\0a.c", Miss::New), "called with `-g` besides");
        assert_eq!(miss("cc\0-g\0a.c", Miss::New), "called without `-O3`");
        note(&cache, b"/b.o".into(), b"cc\0b.c".into(), &Miss::New);
        assert_eq!(newest(&cache).unwrap().output, "/b.o");
        assert_eq!(of(&cache, b"/a.o".into()).unwrap().reason, "called without `-O3`");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"));
        forget_old(&cache);
        forget_all(&cache).unwrap();
        for output in ["/a.o", "/b.o"] {
            note(&cache, output.into(), b"cc".into(), &Miss::New);
        }
        let old = fs::File::options().write(true).open(file(&cache, b"/a.o".into())).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(31 * 24 * 3600)).unwrap();
        forget_old(&cache);
        let is_known = |output: &str| of(&cache, output.into()).is_some();
        assert_eq!((is_known("/a.o"), is_known("/b.o")), (false, true));
        forget_all(&cache).unwrap();
        assert_eq!((is_known("/b.o"), newest(&cache)), (false, None));
    }
}
