//! Where the cache keeps what: one file for each call, by the call's name. Files are replaced whole; whoever loses a race loses
//! time.

use ccwrap_format::cache::{BETWEEN_TOUCHES, ENTRIES};
use splitter::materialise;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The directory of the cache. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Something else is there.
    #[error("the cache `{}` is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// It is not for this user.
    #[error("the cache `{}` may not be read by this user", .0.display())]
    Refused(PathBuf),
}

impl Cache {
    /// In a directory.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether we may write there, as far as it is there.
    pub fn is_ours(&self) -> bool {
        let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
        !matches!(may_write(&self.directory), Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS))
    }

    /// Whether it can be used, as far as it is there.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn check(&self) -> Result<(), Unusable> {
        let directory = || self.directory.clone();
        if fs::metadata(&self.directory).is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(Unusable::NoDirectory(directory()));
        }
        // What is found by its name needs no list.
        match rustix::fs::access(&self.directory, rustix::fs::Access::EXEC_OK) {
            Err(rustix::io::Errno::ACCESS) => Err(Unusable::Refused(directory())),
            _ => Ok(()), // what is not there is made
        }
    }

    /// Where the entries are.
    pub fn entries(&self) -> PathBuf {
        self.directory.join(ENTRIES)
    }

    /// The file of the entry of a name.
    pub fn entry(&self, name: &str) -> PathBuf {
        self.entries().join(&name[..2]).join(&name[2..])
    }

    /// Reads the entry of a name; none if there is none, or it cannot be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        read(&self.entry(name))
    }

    /// Notes that the entry of a name is in use, for those who look for what is not.
    pub fn touch(&self, name: &str) {
        let now = SystemTime::now();
        let is_old =
            |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > Duration::from_secs(BETWEEN_TOUCHES));
        let file = self.entry(name);
        if fs::metadata(&file).and_then(|metadata| metadata.modified()).is_ok_and(is_old) {
            File::options().write(true).open(file).and_then(|file| file.set_modified(now)).ok(); // it is only a note
        }
    }

    /// Does something with each entry: its file, when it was used last, and what it holds.
    pub fn each(&self, entry: &mut dyn FnMut(&Path, SystemTime, Vec<u8>)) {
        let directories = fs::read_dir(self.entries()).into_iter().flatten().flatten();
        for file in directories.flat_map(|directory| fs::read_dir(directory.path()).into_iter().flatten().flatten()) {
            let used = file.metadata().and_then(|metadata| metadata.modified());
            if let (Ok(used), Some(bytes)) = (used, read(&file.path())) {
                entry(&file.path(), used, bytes);
            }
        }
    }

    /// Writes the entry of a name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.entry(name), bytes)
    }

    /// Removes the entry of a name, if there is one.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.entry(name)).ok(); // another may have done it
    }

    /// Whether something was told in the last while, which is noted in a file of this name. Where nobody knows it was: it would be
    /// told at every call.
    pub fn was_told(&self, name: &str) -> bool {
        const SILENCE: Duration = Duration::from_secs(600);
        let told = || -> io::Result<bool> {
            let path = self.directory.join(name);
            let open = || File::options().create(true).truncate(false).write(true).open(&path);
            let file = open().or_else(|_| fs::create_dir_all(&self.directory).and_then(|()| open()))?;
            file.lock()?;
            let (metadata, now) = (file.metadata()?, SystemTime::now());
            let is_recent =
                metadata.len() > 0 && now.duration_since(metadata.modified()?).is_ok_and(|age| age < SILENCE);
            (&file).write_all(b"1")?;
            Ok(is_recent)
        };
        told().unwrap_or(true)
    }

    /// Waits until nobody else makes what has this name. Tells whether somebody did.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lock(&self, name: &str) -> io::Result<(Alone, bool)> {
        let directory = self.directory.join("locks");
        let path = directory.join(name);
        let mut waited = false;
        loop {
            let open = || File::options().create(true).truncate(false).write(true).open(&path);
            let file = open().or_else(|_| fs::create_dir_all(&directory).and_then(|()| open()))?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                waited = true;
                file.lock()?;
            }
            // Whoever held it has removed it.
            if same(&file, &path) {
                return Ok((Alone { path, _file: file }, waited));
            }
        }
    }
}

/// Held by the one who makes something.
#[derive(Debug)]
pub struct Alone {
    path: PathBuf,
    _file: File,
}

impl Drop for Alone {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok(); // while it is held, so that nobody else's is removed
    }
}

fn same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(a), Ok(b)) if inode(a.clone()) == inode(b.clone()))
}

/// What a file of a cache holds; none if there is no such file, also where something else has its name, such as a pipe.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    fs::read(path).ok()
}

/// Replaces a file by one with these bytes, which is for those for whom the old one was; else for all whom the file mode creation
/// mask allows.
///
/// # Errors
/// Those of the file system.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().expect("a file in a directory");
    let all = Permissions::from_mode(0o666);
    let make = || tempfile::Builder::new().prefix(".new-").permissions(all.clone()).tempfile_in(directory);
    let mut file = make().or_else(|_| fs::create_dir_all(directory).and_then(|()| make()))?;
    file.write_all(bytes)?;
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    materialise::put_in_place(file, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn of_many_who_want_a_name_one_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"));
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _alone = cache.lock("name").unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert_eq!(fs::read_dir(cache.directory().join("locks")).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_is_there_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"));
        let name = crate::raw::name(b"call");
        assert_eq!(cache.read(&name), None);
        cache.write(&name, b"1").unwrap();
        cache.write(&name, b"2").unwrap();
        assert_eq!(cache.read(&name).as_deref(), Some(&b"2"[..]));
        cache.remove(&name);
        assert_eq!(cache.read(&name), None);
    }
}
