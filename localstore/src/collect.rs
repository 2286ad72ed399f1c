//! Keeps a store within a size, and deletes it. Safe beside builds: whoever has a store open holds its `gc.lock`
//! shared, and nothing is deleted without holding it alone.

use crate::database::{Database, DatabaseError, Journal};
use crate::files::{FileError, lock, remove_tree};
use crate::layout::{Layout, LayoutError, network_file_system};
use crate::usage;
use nixstore::{Sha256, StoreDir, StorePath, base32};
use rustix::fs::FlockOperation;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The size that a store is kept within if nobody says otherwise, in bytes.
pub const DEFAULT_LIMIT: u64 = 20 << 30;

/// A store smaller than this (bytes) would lose its toolchain snapshots after each run.
const USEFUL: u64 = 2 << 30;

/// [`DEFAULT_LIMIT`], or a tenth of the disk that `root` is on if that is less; but where a tenth is less than 2 GiB, that
/// much or half of the disk.
///
/// # Errors
/// [`FileError`] where the disk cannot be asked.
pub fn default_limit(root: &Path) -> Result<u64, FileError> {
    let disk = rustix::fs::statvfs(root).map_err(FileError::of("ask for the size of the disk of", root))?;
    let disk = disk.f_blocks * disk.f_frsize;
    Ok(DEFAULT_LIMIT.min((disk / 10).max(USEFUL.min(disk / 2))))
}

/// What came of an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// Somebody has the store open, or deletes from it: nothing was done.
    InUse,
    /// Nothing had to go.
    WithinLimit,
    /// Paths went.
    Deleted {
        /// How many.
        paths: usize,
        /// Their size as NARs.
        bytes: u64,
        /// What is left, as NARs. More than the limit if the rest is protected by roots.
        left: u64,
    },
}

/// Deletes the paths that were used longest ago until the store takes at most `limit` bytes (counted as NARs). A path
/// goes only after all that refer to it, and never if a root of Nix protects it: a link in `gcroots` or `profiles`, a
/// link that a link there names, or a path that a running process of Nix needs. Realisations go with their paths.
///
/// # Errors
/// [`CollectError`]; what is deleted by then is no longer valid.
pub fn evict(root: &Path, limit: u64) -> Result<Evicted, CollectError> {
    evict_until(root, Until::Size(limit))
}

/// As [`evict`], of the paths that were last used before `time`, in microseconds of the Unix epoch.
///
/// # Errors
/// As there.
pub fn evict_unused_since(root: &Path, time: i64) -> Result<Evicted, CollectError> {
    evict_until(root, Until::Used(time))
}

/// As [`evict`], of these paths, and of nothing else.
///
/// # Errors
/// As there.
pub fn evict_paths(root: &Path, paths: &BTreeSet<StorePath>) -> Result<Evicted, CollectError> {
    evict_until(root, Until::Without(paths))
}

/// How much is deleted.
#[derive(Clone, Copy)]
enum Until<'a> {
    /// Until what is left takes no more bytes.
    Size(u64),
    /// Until what is left was used then or later.
    Used(i64),
    /// Until none of these is left that nobody needs.
    Without(&'a BTreeSet<StorePath>),
}

fn evict_until(root: &Path, until: Until<'_>) -> Result<Evicted, CollectError> {
    let layout = Layout::new(root);
    layout.check()?;
    let layout = layout.create()?;
    let Some(_alone) = lock(&layout.gc_lock(), FlockOperation::NonBlockingLockExclusive)? else {
        return Ok(Evicted::InUse);
    };
    let store_dir = StoreDir::default();
    let journal = match network_file_system(layout.root())? {
        Some(_) => Journal::Truncate,
        None => Journal::WriteAhead,
    };
    let database = Database::open(&layout, &store_dir, journal)?;
    let total = database.totals()?.nar_size;
    // Somebody thinks that it is too large, and it is going to be smaller.
    remove_tree(&layout.size())?;
    if matches!(until, Until::Size(limit) if total <= limit) {
        return Ok(Evicted::WithinLimit);
    }
    let temporary = temporary_roots(&layout, &store_dir)?;
    let mut roots = permanent_roots(&layout, &store_dir)?;
    roots.extend(temporary.iter().flatten().cloned());
    let (doomed, freed) = choose(&layout, &database, &roots, total, until)?;
    database.invalidate(&doomed)?;
    for path in &doomed {
        remove_tree(&layout.store().join(path.to_string()))?;
    }
    let names: Vec<String> = doomed.iter().map(StorePath::to_string).collect();
    // Only times of use are lost.
    let _ = usage::forget(&layout, names.iter().map(String::as_str));
    if temporary.is_none() {
        remove_unregistered(&layout, &database)?;
    }
    Ok(Evicted::Deleted { paths: doomed.len(), bytes: freed, left: total - freed })
}

/// The paths to delete, referrers first, and the sum of their sizes.
fn choose(
    layout: &Layout,
    database: &Database,
    roots: &BTreeSet<StorePath>,
    total: u64,
    until: Until<'_>,
) -> Result<(Vec<StorePath>, u64), CollectError> {
    let entries = database.all()?;
    // Lost times are no reason to delete nothing.
    let times = usage::load(layout).unwrap_or_default();
    let last_use = |index: usize| {
        if let Until::Without(paths) = until {
            return if paths.contains(&entries[index].path) { 0 } else { i64::MAX };
        }
        let registered = (entries[index].registration_time as i64).saturating_mul(1_000_000);
        times.get(&entries[index].path.to_string()).copied().unwrap_or(registered)
    };
    let mut referrers = vec![0usize; entries.len()];
    for entry in &entries {
        for &reference in &entry.references {
            referrers[reference] += 1;
        }
    }
    // All that a root needs has a referrer that stays, so only the roots themselves need be looked at.
    let free = |index: usize| !roots.contains(&entries[index].path);
    let mut leaves: BinaryHeap<_> = (0..entries.len())
        .filter(|&index| referrers[index] == 0 && free(index))
        .map(|index| Reverse((last_use(index), index)))
        .collect();
    let (mut doomed, mut freed) = (Vec::new(), 0);
    while let Some(Reverse((used, index))) = leaves.pop() {
        let is_enough = match until {
            Until::Size(limit) => total - freed <= limit,
            Until::Used(time) => used >= time,
            Until::Without(_) => used > 0,
        };
        if is_enough {
            break;
        }
        if !is_ours_to_delete(&layout.store().join(entries[index].path.to_string())) {
            continue;
        }
        doomed.push(entries[index].path.clone());
        freed += entries[index].nar_size;
        for &reference in &entries[index].references {
            referrers[reference] -= 1;
            if referrers[reference] == 0 && free(reference) {
                leaves.push(Reverse((last_use(reference), reference)));
            }
        }
    }
    Ok((doomed, freed))
}

/// Whether a path can be deleted by whoever may write to the store: in a directory of another user nothing can.
fn is_ours_to_delete(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).map_or(true, |metadata| !metadata.is_dir() || user == 0 || metadata.uid() == user)
}

/// Deletes files in the store that a crash has left there before they were registered.
fn remove_unregistered(layout: &Layout, database: &Database) -> Result<(), CollectError> {
    let valid: HashSet<String> = database.all()?.into_iter().map(|entry| entry.path.to_string()).collect();
    let store = layout.store();
    for entry in fs::read_dir(&store).map_err(FileError::of("read the directory", &store))?.flatten() {
        let name = entry.file_name();
        let stray = name.to_str().is_some_and(|name| name.parse::<StorePath>().is_ok() && !valid.contains(name));
        if stray && is_ours_to_delete(&entry.path()) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Protects `path` from eviction, here and by Nix's collector, for as long as the symlink `link` exists and points to
/// it. `link` may be anywhere; it is made, or replaced if it is a symlink.
///
/// # Errors
/// [`FileError`] where a link cannot be made.
pub fn add_root(layout: &Layout, store_dir: &StoreDir, link: &Path, path: &StorePath) -> Result<(), FileError> {
    let link = std::path::absolute(link).map_err(FileError::of("resolve", link))?;
    replace_symlink(Path::new(&store_dir.print(path)), &link)?;
    let hash: [u8; 20] = Sha256::of(link.as_os_str().as_encoded_bytes()).compress();
    replace_symlink(&link, &layout.gc_roots().join("auto").join(base32::encode(&hash)))
}

fn replace_symlink(target: &Path, link: &Path) -> Result<(), FileError> {
    if link.is_symlink() {
        fs::remove_file(link).map_err(FileError::of("replace the link", link))?;
    }
    std::os::unix::fs::symlink(target, link).map_err(FileError::of("make the link", link))
}

/// Whether there are paths that an eviction leaves.
///
/// # Errors
/// [`CollectError`] where that cannot be found out.
pub fn has_roots(root: &Path) -> Result<bool, CollectError> {
    Ok(!permanent_roots(&Layout::new(root), &StoreDir::default())?.is_empty())
}

/// The paths that links in `gcroots` and `profiles` name (Nix 2.34, `LocalStore::findRoots`).
fn permanent_roots(layout: &Layout, store_dir: &StoreDir) -> Result<BTreeSet<StorePath>, CollectError> {
    let mut finder = RootFinder { layout, store_dir, found: BTreeSet::new() };
    finder.search(&layout.gc_roots())?;
    finder.search(&layout.profiles())?;
    Ok(finder.found)
}

struct RootFinder<'a> {
    layout: &'a Layout,
    store_dir: &'a StoreDir,
    found: BTreeSet<StorePath>,
}

impl RootFinder<'_> {
    fn search(&mut self, path: &Path) -> Result<(), FileError> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if metadata.is_dir() {
            for entry in fs::read_dir(path).map_err(FileError::of("read the directory", path))?.flatten() {
                self.search(&entry.path())?;
            }
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(FileError::of("read the link", path))?;
            if self.note(&target) {
                return Ok(());
            }
            // A link to a link into the store, such as `result` in a directory of the user.
            let link = path.parent().unwrap_or(path).join(target);
            if let Ok(target) = fs::read_link(&link) {
                self.note(&target);
            }
        } else if let Some(Ok(path)) = path.file_name().and_then(|name| name.to_str()).map(str::parse) {
            self.found.insert(path);
        }
        Ok(())
    }

    /// Whether `target` is a path of the store or below one, by its logical or its physical name; it is kept then.
    fn note(&mut self, target: &Path) -> bool {
        let below = target.strip_prefix(self.store_dir.as_str()).or_else(|_| target.strip_prefix(self.layout.store()));
        let Some(first) = below.ok().and_then(|below| below.components().next()) else { return false };
        match first.as_os_str().to_str().map(str::parse) {
            Some(Ok(path)) => self.found.insert(path),
            _ => return false,
        };
        true
    }
}

/// The paths that running processes of Nix have asked for (Nix 2.34, `LocalStore::findTempRoots`); `None` where no such
/// process runs.
fn temporary_roots(layout: &Layout, store_dir: &StoreDir) -> Result<Option<BTreeSet<StorePath>>, CollectError> {
    let directory = layout.temp_roots();
    let mut found = None;
    for entry in fs::read_dir(&directory).map_err(FileError::of("read the directory", &directory))?.flatten() {
        let path = entry.path();
        // Whoever made the file holds it locked.
        if !path.is_file() || lock(&path, FlockOperation::NonBlockingLockExclusive)?.is_some() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        let paths = text.split('\0').filter_map(|path| store_dir.parse(path).ok());
        found.get_or_insert_with(BTreeSet::new).extend(paths);
    }
    Ok(found)
}

/// Deletes the whole store below `root`, and `root` itself if nothing else is in it.
///
/// # Errors
/// [`CollectError::Layout`] where `root` is no store of ours, [`CollectError::InUse`] where somebody has it open.
pub fn delete(root: &Path) -> Result<(), CollectError> {
    let layout = Layout::new(root);
    layout.check()?;
    let mut held = Vec::new();
    for file in [layout.gc_lock(), layout.big_lock()] {
        match lock(&file, FlockOperation::NonBlockingLockExclusive)? {
            Some(lock) => held.push(lock),
            None => return Err(CollectError::InUse { root: root.into() }),
        }
    }
    let nix = layout.root().join("nix");
    remove_all_but(&nix, &["var"])?;
    remove_all_but(&nix.join("var"), &["nix", "splitter"])?;
    remove_all_but(&layout.database_directory(), &["big-lock"])?;
    remove_all_but(&layout.state(), &["db", "gc.lock"])?;
    // The file that says that this is a store goes last, so that a deletion that was interrupted can be repeated.
    remove_all_but(&layout.own(), &["format"])?;
    // NFS and FUSE keep a file that is deleted while it is open under another name in its directory, so the locks must
    // be let go of before; by then nobody finds them any more.
    let rest = root.join("nix.deleted");
    remove_tree(&rest)?;
    fs::rename(&nix, &rest).map_err(FileError::of("move away", &nix))?;
    drop(held);
    remove_tree(&rest)?;
    // It stays where it has other things in it.
    let _ = fs::remove_dir(root);
    Ok(())
}

fn remove_all_but(directory: &Path, names: &[&str]) -> Result<(), FileError> {
    for entry in fs::read_dir(directory).map_err(FileError::of("read the directory", directory))?.flatten() {
        if !names.iter().any(|name| entry.file_name() == *name) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Why a store could not be made smaller or deleted.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It is no store of ours, or a newer one.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Somebody has it open.
    #[error("the store `{root}` is in use: end the builds that use it first")]
    InUse {
        /// The root of the store.
        root: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}
