//! Why a call was not answered by its entry: written down at each miss, for whoever asks afterwards. One small file for each
//! output, and the name of the last.

use crate::cache::{Cache, replace};
use crate::hit::Miss;
use crate::raw;
use bstr::{BStr, BString, ByteSlice as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

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
    let bytes = fs::read(file(cache, output)).ok()?;
    postcard::from_bytes(&bytes).ok()
}

/// The last miss of all.
pub fn newest(cache: &Cache) -> Option<Explained> {
    of(cache, fs::read(last(cache)).ok()?.as_bstr())
}

fn file(cache: &Cache, output: &BStr) -> PathBuf {
    cache.directory().join("explained").join(raw::name(output))
}

fn last(cache: &Cache) -> PathBuf {
    cache.directory().join("explained/last")
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
}
