//! What is in use, and what is not any more: entries are kept as long as what they lead to is in the store, and the store is
//! kept within its limit by when its paths were used last.

use crate::cache::Cache;
use crate::entry::{self, Entry, Gave};
use crate::explain;
use crate::hit::store_path_of;
use bstr::ByteSlice as _;
use localstore::{Evicted, LocalStore};
use nixstore::StorePath;
use splitter::discover::to_path;
use splitter::drive::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What entries lead to, and when each was used last. The store does not know of hits.
pub fn uses(cache: &Cache) -> BTreeMap<StorePath, SystemTime> {
    let mut uses = BTreeMap::new();
    cache.each(&mut |_, used, bytes| {
        let Ok(entry) = entry::decode(&bytes) else { return };
        for path in outputs(&entry) {
            let latest = uses.entry(path).or_insert(used);
            *latest = used.max(*latest);
        }
    });
    uses
}

fn outputs(entry: &Entry<'_>) -> Vec<StorePath> {
    let made = entry.results.iter().filter_map(|known| match &known.gave {
        Gave::Made { outputs, .. } => Some(outputs),
        Gave::Refused(_) => None,
    });
    made.flatten().filter_map(|output| Some(store_path_of(to_path(output.from.as_bstr()))?.1)).collect()
}

/// How much is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until what is left takes no more bytes.
    Size(u64),
    /// What was not used for so long.
    Age(Duration),
}

/// The time so long ago.
pub fn before(age: Duration) -> SystemTime {
    SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH)
}

/// Deletes from the embedded store at `root` what was used longest ago, and entries that lead to nothing any more.
///
/// # Errors
/// Those of the store.
pub fn clean(cache: &Cache, root: &Path, until: Until) -> Result<Evicted, Error> {
    if !root.join("nix").is_dir() {
        return Ok(Evicted::WithinLimit);
    }
    LocalStore::open(root)?.used_at(uses(cache));
    let evicted = match until {
        Until::Size(limit) => localstore::evict(root, limit)?,
        Until::Age(age) => {
            let micros = before(age).duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            localstore::evict_unused_since(root, i64::try_from(micros).unwrap_or(i64::MAX))?
        }
    };
    remove_dead(cache);
    Ok(evicted)
}

/// Deletes the entries of a namespace that were not used since `cut`, and from the embedded store at `root` what they alone lead to
/// and nothing else needs.
///
/// # Errors
/// Those of the store.
pub fn evict_namespace(
    cache: &Cache,
    root: Option<&Path>,
    namespace: &[u8],
    cut: SystemTime,
) -> Result<Evicted, Error> {
    let (mut theirs, mut others) = (BTreeSet::new(), BTreeSet::new());
    cache.each(&mut |file, used, bytes| {
        let Ok(entry) = entry::decode(&bytes) else { return };
        let is_doomed = entry.namespace == namespace && used <= cut;
        if is_doomed {
            fs::remove_file(file).ok(); // another may have done it
        }
        (if is_doomed { &mut theirs } else { &mut others }).extend(outputs(&entry));
    });
    let doomed = theirs.difference(&others).cloned().collect();
    match root.filter(|root| root.join("nix").is_dir()) {
        Some(root) => Ok(localstore::evict_paths(root, &doomed)?),
        None => Ok(Evicted::WithinLimit),
    }
}

/// Removes entries that lead to nothing, and what was told of misses long ago.
pub fn remove_dead(cache: &Cache) {
    explain::forget_old(cache);
    cache.each(&mut |file, _, bytes| {
        let is_there = |output: &entry::Output<'_>| fs::symlink_metadata(to_path(output.from.as_bstr())).is_ok();
        let lives = entry::decode(&bytes).is_ok_and(|entry| {
            entry.results.iter().any(|known| match &known.gave {
                Gave::Made { outputs, .. } => outputs.iter().all(is_there),
                Gave::Refused(_) => true,
            })
        });
        if !lives {
            fs::remove_file(file).ok(); // another may have done it
        }
    });
}

/// Removes all entries, and what was told of misses.
///
/// # Errors
/// Those of the file system.
pub fn forget_all(cache: &Cache) -> std::io::Result<()> {
    explain::forget_all(cache)?;
    // Others may write more of them meanwhile.
    let gone = cache.directory().join(format!(".gone-{}", std::process::id()));
    match fs::rename(cache.entries(), &gone).and_then(|()| fs::remove_dir_all(&gone)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How many entries there are, and the bytes in them.
pub fn size(cache: &Cache) -> (usize, u64) {
    let mut size = (0, 0);
    cache.each(&mut |_, _, bytes| size = (size.0 + 1, size.1 + bytes.len() as u64));
    size
}
