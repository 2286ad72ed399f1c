//! A toolchain snapshot: writes a listing as a tree, gives it to a store, and says where it is to be seen.

use super::listing::{Entry, Listing};
use nixstore::path::StoreName;
use nixstore::store::StoreError;
use nixstore::{PathInfo, Store};
use rustix::fs::ioctl_ficlone;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One place where a part of a snapshot is to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The part, relative to the snapshot: a directory or a file.
    pub source_sub: PathBuf,
    /// Where, as an absolute path; it never lies in another mount of the same snapshot.
    pub at: PathBuf,
}

/// What a sandbox does with a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// To be bound, read-only.
    pub mounts: Vec<Mount>,
    /// Links to be made, by absolute path: `/bin` to `usr/bin`.
    pub links: BTreeMap<PathBuf, PathBuf>,
}

/// Writes `listing` below `scratch` and adds the tree to `store` as `toolchain`. Gives the path and what could not be
/// read.
///
/// Files are copied, by reflink where the file system can. They are never hard links to the host's: an ordinary user
/// may not make those (`fs.protected_hardlinks`), and the store would change the modes of the host's files.
///
/// # Errors
/// [`AssembleError`] where the tree cannot be written or the store does not take it.
pub fn assemble(
    listing: &Listing,
    scratch: &Path,
    store: &dyn Store,
) -> Result<(PathInfo, Vec<String>), AssembleError> {
    let write = |source| AssembleError::Write { path: scratch.to_owned(), source };
    std::fs::create_dir_all(scratch).map_err(write)?;
    let directory = tempfile::Builder::new().prefix("toolchain-").tempdir_in(scratch).map_err(write)?;
    let tree = directory.path().join("tree");
    let notes = write_tree(listing, &tree)?;
    let name: StoreName = "toolchain".parse().expect("a valid name");
    let info = store.take_path(&name, &tree).map_err(AssembleError::Store)?;
    Ok((info, notes))
}

/// Writes `listing` as the new directory `tree`, in several threads. Gives what could not be read and so was left out.
///
/// # Errors
/// [`AssembleError::Write`].
pub fn write_tree(listing: &Listing, tree: &Path) -> Result<Vec<String>, AssembleError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| AssembleError::Write { path, source }
    };
    let inside = |path: &Path| tree.join(path.strip_prefix("/").expect("paths of a listing are absolute"));
    let directory = |path: &Path| DirBuilder::new().mode(0o755).create(path).map_err(fail(path));
    directory(tree)?;
    let mut files = Vec::new();
    // Parents come before what is in them: the map is sorted.
    for (path, entry) in &listing.entries {
        let to = inside(path);
        match entry {
            Entry::Directory => directory(&to)?,
            Entry::Link(text) => symlink(text, &to).map_err(fail(&to))?,
            Entry::Made(bytes) => std::fs::write(&to, bytes).map_err(fail(&to))?,
            Entry::File { executable, .. } => files.push((path, to, if *executable { 0o755 } else { 0o644 })),
        }
    }
    let (next, outcome) = (AtomicUsize::new(0), Mutex::new((Vec::new(), None)));
    let work = || {
        while let Some((from, to, mode)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let problem = match copy(from, to, *mode) {
                Ok(()) => continue,
                Err(Copy::Read(error)) => Ok(format!("`{}` cannot be read: {error}", from.display())),
                Err(Copy::Write(error)) => Err(fail(to)(error)),
            };
            let mut outcome = outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match problem {
                Ok(note) => outcome.0.push(note),
                Err(error) => outcome.1 = Some(error),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    match outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        (_, Some(error)) => Err(error),
        (mut notes, None) => {
            notes.sort();
            Ok(notes)
        }
    }
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), Copy> {
    let mut source = File::open(from).map_err(Copy::Read)?;
    let mut target = File::create_new(to).map_err(Copy::Write)?;
    if ioctl_ficlone(&target, &source).is_err() {
        copy_in_large_pieces(&mut source, &mut target)?;
    }
    target.set_permissions(Permissions::from_mode(mode)).map_err(Copy::Write)
}

/// What is written at once Linux keeps in memory in one piece (a large folio; ext4 since 6.16, XFS since 5.18), and a compiler that
/// lies there in large pieces starts and runs faster: less is to be mapped. copy_file_range(2) and sendfile(2) write 64 KiB at once.
fn copy_in_large_pieces(source: &mut File, target: &mut File) -> Result<(), Copy> {
    const PIECE: u64 = 4 << 20;
    let size = source.metadata().map_err(Copy::Read)?.len();
    let mut piece = vec![0; size.clamp(1, PIECE) as usize];
    loop {
        match read_whole(source, &mut piece).map_err(Copy::Read)? {
            0 => return Ok(()),
            read => target.write_all(&piece[..read]).map_err(Copy::Write)?,
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_whole(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where the parts of the snapshot at `tree` are to be seen.
///
/// `/usr` is bound whole, and so are the children of `/etc`, one by one: the rest of `/etc` is the sandbox's. Elsewhere
/// the directories are bound that are the first to hold a file, so that a snapshot with `/root/.pyenv/versions/3/bin`
/// leaves room for a checkout in `/root`.
///
/// # Errors
/// Those of listing `tree`.
pub fn places(tree: &Path) -> io::Result<Places> {
    let mut places = Places::default();
    for (name, kind) in children(tree)? {
        let (inside, at) = (PathBuf::from(&name), Path::new("/").join(&name));
        if kind.is_symlink() {
            places.links.insert(at, std::fs::read_link(tree.join(&inside))?);
        } else if name == "usr" || kind.is_file() {
            places.mounts.push(Mount { source_sub: inside, at });
        } else {
            descend(tree, &inside, name == "etc", &mut places)?;
        }
    }
    Ok(places)
}

/// Binds what is in `inside`, or `inside` as a whole.
fn descend(tree: &Path, inside: &Path, always: bool, places: &mut Places) -> io::Result<()> {
    let at = Path::new("/").join(inside);
    let children = children(&tree.join(inside))?;
    if !always && (children.is_empty() || children.iter().any(|(_, kind)| kind.is_file())) {
        places.mounts.push(Mount { source_sub: inside.to_owned(), at });
        return Ok(());
    }
    for (name, kind) in children {
        let child = inside.join(name);
        if kind.is_symlink() {
            places.links.insert(at.join(child.file_name().unwrap_or_default()), std::fs::read_link(tree.join(&child))?);
        } else if always {
            places.mounts.push(Mount { at: Path::new("/").join(&child), source_sub: child });
        } else {
            descend(tree, &child, false, places)?;
        }
    }
    Ok(())
}

fn children(directory: &Path) -> io::Result<Vec<(std::ffi::OsString, std::fs::FileType)>> {
    let entries =
        std::fs::read_dir(directory)?.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// A snapshot could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A file of the tree could not be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store did not take the tree.
    #[error("cannot add the toolchain snapshot to the store")]
    Store(#[source] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use std::fs::{create_dir_all, read, write};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_tree_holds_what_is_listed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("it exists");
        write(root.join("tool"), "contents").expect("write");
        let identity = Identity::of(&root.join("tool")).expect("it is there");
        let mut listing = Listing::default();
        for parent in root.ancestors().filter(|parent| parent.parent().is_some()) {
            listing.entries.insert(parent.to_owned(), Entry::Directory);
        }
        listing.entries.insert(root.join("tool"), Entry::File { identity, executable: true });
        listing.entries.insert(root.join("gone"), Entry::File { identity, executable: true });
        listing.entries.insert("/bin".into(), Entry::Link("usr/bin".into()));

        let tree = root.join("tree");
        let notes = write_tree(&listing, &tree).expect("it can be written");
        assert_eq!(notes.len(), 1, "{notes:?}");
        let copy = tree.join(root.strip_prefix("/").expect("absolute")).join("tool");
        assert_eq!(read(&copy).expect("read"), b"contents");
        assert_eq!(copy.metadata().expect("stat").mode() & 0o777, 0o755);
        assert_eq!(std::fs::read_link(tree.join("bin")).expect("a link"), Path::new("usr/bin"));
    }

    #[test]
    fn mounts_are_as_deep_as_they_can_be_but_for_usr() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let tree = directory.path();
        for path in ["usr/bin/cc", "etc/alternatives/cc", "etc/ld.so.cache", "root/py/bin/python", "root/py/lib/a/x"] {
            create_dir_all(tree.join(path).parent().expect("it has one")).expect("make");
            write(tree.join(path), "").expect("write");
        }
        symlink("usr/bin", tree.join("bin")).expect("link");
        symlink("py/bin", tree.join("root/link")).expect("link");
        let places = places(tree).expect("it can be listed");
        let at: Vec<_> = places.mounts.iter().map(|mount| mount.at.to_str().expect("text")).collect();
        assert_eq!(at, ["/etc/alternatives", "/etc/ld.so.cache", "/root/py/bin", "/root/py/lib/a", "/usr"]);
        let links: Vec<_> = places.links.keys().map(|path| path.to_str().expect("text")).collect();
        assert_eq!(links, ["/bin", "/root/link"]);
    }
}
