//! Moves, deletes and normalises trees of the store; knows nothing of what they mean.

use rustix::fs::{AtFlags, CWD, FlockOperation, RenameFlags, Timespec, Timestamps, flock};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// An operation on a path that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", .path.display())]
pub struct FileError {
    /// A verb.
    pub operation: &'static str,
    /// What it was to be done to.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// Turns the refusal of `operation` on `path` into an error that says so.
    pub fn of<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self { operation, path: path.into(), source: source.into() }
    }
}

/// A lock on a file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said in words: closing the file is not enough while a process that another thread is starting has it too. Where
        // it is refused, closing has to do.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Takes a lock on the file at `path`, which is made if missing; `None` where somebody else has it and `operation` does
/// not wait.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<Option<Lock>, FileError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o660); // whoever may read it may take it
    take(options.open(path).map_err(FileError::of("open", path))?, path, operation)
}

/// Takes a lock on an open file that is called `path`; `None` where somebody else has it and `operation` does not wait.
pub(crate) fn take(file: File, path: &Path, operation: FlockOperation) -> Result<Option<Lock>, FileError> {
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(FileError::of("lock", path)(errno)),
        }
    }
}

/// Deletes the tree at `path`, read-only directories too. That nothing is there is no error, nor that others delete the
/// same meanwhile.
///
/// # Errors
/// [`FileError`] for the first entry that cannot be deleted.
pub fn remove_tree(path: &Path) -> Result<(), FileError> {
    let Some(metadata) = unless_gone(fs::symlink_metadata(path)).map_err(FileError::of("look at", path))? else {
        return Ok(());
    };
    if !metadata.is_dir() {
        unless_gone(fs::remove_file(path)).map_err(FileError::of("delete", path))?;
        return Ok(());
    }
    if metadata.permissions().mode() & 0o700 != 0o700 {
        let mode = fs::Permissions::from_mode(0o700);
        unless_gone(fs::set_permissions(path, mode)).map_err(FileError::of("set the permissions of", path))?;
    }
    let entries = unless_gone(fs::read_dir(path)).map_err(FileError::of("read the directory", path))?;
    for entry in entries.into_iter().flatten() {
        // A directory that is deleted while it is read says so, too.
        let entry = unless_gone(entry).map_err(FileError::of("read the directory", path))?;
        entry.map_or(Ok(()), |entry| remove_tree(&entry.path()))?;
    }
    unless_gone(fs::remove_dir(path)).map_err(FileError::of("delete", path))?;
    Ok(())
}

/// What the tree at `path` takes on its disk, in bytes; files with several names count once. Entries that go away
/// meanwhile count for nothing.
///
/// # Errors
/// [`FileError`] for the first entry that cannot be looked at.
pub fn disk_size(path: &Path) -> Result<u64, FileError> {
    fn add(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64, FileError> {
        let Some(metadata) = unless_gone(fs::symlink_metadata(path)).map_err(FileError::of("look at", path))? else {
            return Ok(0);
        };
        if !metadata.is_dir() && metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(0);
        }
        let mut size = metadata.blocks() * 512;
        if metadata.is_dir() {
            let entries = unless_gone(fs::read_dir(path)).map_err(FileError::of("read the directory", path))?;
            for entry in entries.into_iter().flatten() {
                let entry = unless_gone(entry).map_err(FileError::of("read the directory", path))?;
                size += entry.map_or(Ok(0), |entry| add(&entry.path(), seen))?;
            }
        }
        Ok(size)
    }
    add(path, &mut HashSet::new())
}

/// What came of something, unless what it was done to is not there.
pub(crate) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(FileError::of("set the permissions of", path))
}

/// Gives every file of a tree the metadata that a store has: mode 0444 or 0555, modified one second after 1970 (Nix
/// 2.34, `canonicalisePathMetaData`). The top keeps its owner's right to write if it is a directory, so that it can be
/// moved; [`place`] takes it.
///
/// # Errors
/// [`Unstorable`] where an entry is neither file, directory nor symlink.
pub fn canonicalise(path: &Path) -> Result<(), CanonicaliseError> {
    let metadata = fs::symlink_metadata(path).map_err(FileError::of("look at", path))?;
    if metadata.is_dir() && metadata.permissions().mode() & 0o700 != 0o700 {
        set_mode(path, 0o755)?;
    }
    canonicalise_below(path, &metadata)?;
    set_time(path)?;
    Ok(())
}

fn canonicalise_below(path: &Path, metadata: &Metadata) -> Result<(), CanonicaliseError> {
    let kind = metadata.file_type();
    let was_opened = remove_attributes(path, metadata)?;
    if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(FileError::of("read the directory", path))? {
            let below = entry.map_err(FileError::of("read the directory", path))?.path();
            let metadata = fs::symlink_metadata(&below).map_err(FileError::of("look at", &below))?;
            if metadata.is_dir() && metadata.permissions().mode() & 0o700 != 0o700 {
                set_mode(&below, 0o755)?;
            }
            canonicalise_below(&below, &metadata)?;
            if metadata.is_dir() {
                set_mode(&below, 0o555)?;
            }
            set_time(&below)?;
        }
    } else if kind.is_file() {
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o444 } else { 0o555 };
        if was_opened || metadata.permissions().mode() & 0o7777 != mode {
            set_mode(path, mode)?;
        }
    } else if !kind.is_symlink() {
        return Err(Unstorable { path: path.into() }.into());
    }
    Ok(())
}

/// Takes off what a NAR does not tell of: extended attributes, as Nix 2.34 does (`canonicalisePathMetaData`). Those of the system stay,
/// which not everybody may take off. Answers whether the file had to be made writable for that.
fn remove_attributes(path: &Path, metadata: &Metadata) -> Result<bool, FileError> {
    // Names, each with a NUL behind it (listxattr(2)); on most systems none.
    let mut names = [0; 4096];
    let size = match rustix::fs::llistxattr(path, &mut names) {
        Ok(size) => size,
        Err(_) => return Ok(false), // the file system has none, or more than one would think
    };
    let names = names[..size].split(|byte| *byte == 0);
    let of_users = |name: &&[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
    let mut names = names.filter(of_users).peekable();
    let mode = metadata.permissions().mode();
    let is_opened = names.peek().is_some() && !metadata.is_symlink() && mode & 0o200 == 0;
    if is_opened {
        set_mode(path, mode & 0o7777 | 0o200)?;
    }
    for name in names {
        rustix::fs::lremovexattr(path, name).map_err(FileError::of("take an extended attribute off", path))?;
    }
    Ok(is_opened)
}

fn set_time(path: &Path) -> Result<(), FileError> {
    let one = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: one, last_modification: one };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(FileError::of("set the times of", path))
}

/// A file that a store cannot hold: a socket, pipe or device.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is neither a file nor a directory nor a symlink", .path.display())]
pub struct Unstorable {
    /// Where it is.
    pub path: PathBuf,
}

/// Why a tree could not get a store's metadata.
#[derive(Debug, thiserror::Error)]
pub enum CanonicaliseError {
    /// Something in it cannot be in a store.
    #[error(transparent)]
    Unstorable(#[from] Unstorable),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whether two trees are the same to a NAR: not by their times, nor by who may read them.
///
/// # Errors
/// Those of reading; what is not there is not the same as anything.
pub(crate) fn are_same(one: &Path, other: &Path) -> io::Result<bool> {
    let look = |path| unless_gone(fs::symlink_metadata(path));
    let (Some(first), Some(second)) = (look(one)?, look(other)?) else { return Ok(false) };
    if first.file_type() != second.file_type() {
        return Ok(false);
    }
    if first.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    if first.is_dir() {
        let names = |path| fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<BTreeSet<_>>>();
        let all = names(one)?;
        if all != names(other)? {
            return Ok(false);
        }
        let mut below = all.iter().map(|name| are_same(&one.join(name), &other.join(name)));
        return below.find(|same| !matches!(same, Ok(true))).unwrap_or(Ok(true));
    }
    let is_program = |metadata: &Metadata| metadata.permissions().mode() & 0o100 != 0;
    let looks_same = first.len() == second.len() && is_program(&first) == is_program(&second);
    Ok(looks_same && hold_the_same(File::open(one)?, File::open(other)?)?)
}

fn hold_the_same(one: File, other: File) -> io::Result<bool> {
    let [mut one, mut other] = [one, other].map(|file| BufReader::with_capacity(1 << 16, file));
    loop {
        let (first, second) = (one.fill_buf()?, other.fill_buf()?);
        let common = first.len().min(second.len());
        if first[..common] != second[..common] || (common == 0 && first.len() != second.len()) {
            return Ok(false);
        }
        if common == 0 {
            return Ok(true);
        }
        one.consume(common);
        other.consume(common);
    }
}

/// Moves the canonical tree `from` to `to`. What is in the way there is given the name `from` instead; readers of `to`
/// never see it missing where the file system can swap names.
///
/// # Errors
/// [`FileError`] where the system refuses; then nothing has moved.
pub fn place(from: &Path, to: &Path) -> Result<(), FileError> {
    let directory = fs::symlink_metadata(from).map_err(FileError::of("look at", from))?.is_dir();
    move_aside(from, to)?;
    if directory {
        set_mode(to, 0o555)?;
        set_time(to)?;
    }
    Ok(())
}

fn move_aside(from: &Path, to: &Path) -> Result<(), FileError> {
    let failed = FileError::of::<io::Error>("move a new path to", to);
    let rename = |flags| rustix::fs::renameat_with(CWD, from, CWD, to, flags);
    let occupied = match rename(RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => true,
        // Network file systems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => fs::symlink_metadata(to).is_ok(),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !occupied {
        return fs::rename(from, to).map_err(failed);
    }
    // A directory can be moved to another only by who may write it.
    if fs::symlink_metadata(to).is_ok_and(|metadata| metadata.is_dir()) {
        set_mode(to, 0o755)?;
    }
    match rename(RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = from.with_extension("aside");
            fs::rename(to, &aside)
                .and_then(|()| fs::rename(from, to))
                .and_then(|()| fs::rename(&aside, from))
                .map_err(failed)
        }
        Err(errno) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn trees_are_the_same_if_their_files_are() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        let make = |tree: &str, text: &[u8], mode: u32, link: &str, names: &[&str]| {
            for name in names {
                fs::create_dir_all(at(tree).join(name)).unwrap();
            }
            fs::write(at(tree).join("file"), text).unwrap();
            set_mode(&at(tree).join("file"), mode).unwrap();
            std::os::unix::fs::symlink(link, at(tree).join("link")).unwrap();
        };
        let long = [7; 200_000];
        let mut other = long;
        other[199_999] = 8;
        make("tree", &long, 0o644, "x", &["sub"]);
        make("same", &long, 0o444, "x", &["sub"]);
        make("text", &other, 0o644, "x", &["sub"]);
        make("short", b"short", 0o644, "x", &["sub"]);
        make("program", &long, 0o755, "x", &["sub"]);
        make("link", &long, 0o644, "y", &["sub"]);
        make("names", &long, 0o644, "x", &["sub", "sub/more"]);
        for (tree, is_same) in
            [("same", true), ("text", false), ("short", false), ("program", false), ("link", false), ("names", false)]
        {
            assert_eq!(are_same(&at("tree"), &at(tree)).unwrap(), is_same, "{tree}");
        }
        assert!(!are_same(&at("tree"), &at("none")).unwrap() && !are_same(&at("tree/sub"), &at("tree/file")).unwrap());
    }

    #[test]
    fn a_tree_gets_the_metadata_of_a_store() {
        let directory = directory();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/plain"), "x").unwrap();
        fs::write(tree.join("sub/program"), "x").unwrap();
        set_mode(&tree.join("sub/plain"), 0o4666).unwrap();
        set_mode(&tree.join("sub/program"), 0o700).unwrap();
        std::os::unix::fs::symlink("nowhere", tree.join("link")).unwrap();
        canonicalise(&tree).unwrap();
        let to = directory.path().join("placed");
        place(&tree, &to).unwrap();

        for (name, mode) in [("", 0o555), ("sub", 0o555), ("sub/plain", 0o444), ("sub/program", 0o555)] {
            let metadata = fs::metadata(to.join(name)).unwrap();
            assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, 1), "{name}");
        }
        assert_eq!(fs::symlink_metadata(to.join("link")).unwrap().mtime(), 1);
        remove_tree(&to).unwrap();
        assert!(!to.exists());
    }

    #[test]
    fn a_tree_that_several_delete_at_once_is_gone() {
        let directory = directory();
        for turn in 0..50 {
            let tree = directory.path().join(turn.to_string());
            for sub in 0..8 {
                fs::create_dir_all(tree.join(format!("{sub}/a/b"))).unwrap();
                fs::write(tree.join(format!("{sub}/a/file")), "").unwrap();
            }
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let delete = || {
                    start.wait();
                    remove_tree(&tree)
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(delete)).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert!(!tree.exists());
        }
    }

    #[test]
    fn what_is_in_the_way_of_a_path_changes_places_with_it() {
        let directory = directory();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("new"), "").unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(to.join("old"), "").unwrap();
        set_mode(&to, 0o555).unwrap();
        place(&from, &to).unwrap();
        assert!(to.join("new").exists() && from.join("old").exists());
    }

    #[test]
    fn a_pipe_cannot_be_stored() {
        let directory = directory();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        rustix::fs::mkfifoat(CWD, tree.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert!(
            matches!(canonicalise(&tree), Err(CanonicaliseError::Unstorable(found)) if found.path.ends_with("pipe"))
        );
    }
}
