//! Puts outputs into the build directory, as new files with the content and the execute bit of the store's.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::OnceLock;
use tempfile::NamedTempFile;

/// How the name of a file begins that is being written beside the one whose place it will take.
pub const IN_THE_MAKING: &str = ".splitter-";

/// The file mode creation mask of those who get outputs, where that of this process is another.
static MASK: OnceLock<u32> = OnceLock::new();

/// Puts files from now on as for somebody with this file mode creation mask, whatever that of this process is. The first one
/// counts.
pub fn mask(mask: u32) {
    MASK.set(mask).ok(); // it is set already
}

/// Puts the file, link or tree at `from` to `to`, in the place of whatever is there. A file is replaced whole.
///
/// # Errors
/// Those of the file system.
pub fn materialise(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent)?;
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            materialise(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if fs::symlink_metadata(to).is_ok_and(|old| old.is_dir()) {
        fs::remove_dir_all(to)?;
    }
    if metadata.is_symlink() {
        fs::remove_file(to).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    copy(&mut File::open(from)?, to)
}

/// Puts a copy of an open file to `to`, in the place of whatever file is there, whole or not at all. The blocks are shared
/// where the file system can do that.
///
/// # Errors
/// Those of the file system.
pub fn copy(from: &mut File, to: &Path) -> io::Result<()> {
    let executable = from.metadata()?.permissions().mode() & 0o100 != 0;
    replace(to, executable, &mut |new| io::copy(from, new).map(drop))
}

/// Puts a file with this text to `to`, in the place of whatever is there, whole or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write(text: &[u8], to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    replace(to, false, &mut |new| new.write_all(text))
}

/// Gives a file the time of change of another; nothing where that is gone.
///
/// # Errors
/// Those of the file system.
pub fn date(file: &Path, like: &Path) -> io::Result<()> {
    match fs::metadata(like).and_then(|metadata| metadata.modified()) {
        Ok(time) if file.is_file() => File::options().write(true).open(file)?.set_modified(time),
        _ => Ok(()),
    }
}

fn replace(to: &Path, executable: bool, fill: &mut dyn FnMut(&mut File) -> io::Result<()>) -> io::Result<()> {
    // What is no file, such as /dev/null, is written to: in its place a file would stand for everybody.
    let kind = fs::metadata(to).map(|metadata| metadata.file_type()).ok();
    if kind.is_some_and(|kind| kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()) {
        return fill(&mut File::options().write(true).open(to)?);
    }
    let mut new = tempfile::Builder::new()
        .prefix(IN_THE_MAKING)
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(to.parent().unwrap_or(to))?;
    fill(new.as_file_mut())?;
    let mode = match MASK.get() {
        Some(mask) => Some(0o666 & !mask),
        None if executable => Some(new.as_file().metadata()?.permissions().mode()),
        None => None,
    };
    if let Some(mode) = mode {
        let execute = if executable { (mode & 0o444) >> 2 } else { 0 };
        new.as_file().set_permissions(fs::Permissions::from_mode(mode | execute))?;
    }
    put_in_place(new, to)
}

/// Gives a new file the name `to`, and whatever file was called so none. Where one was, the two swap their names first: ext4 has a
/// file that is renamed over another written to the disk, for the sake of those who rely on that (its option `auto_da_alloc`). That
/// takes up to milliseconds, and no compiler asks for it.
///
/// # Errors
/// Those of the file system.
pub fn put_in_place(new: NamedTempFile, to: &Path) -> io::Result<()> {
    let is_in_place_of_file = fs::symlink_metadata(to).is_ok_and(|old| old.is_file())
        && renameat_with(CWD, new.path(), CWD, to, RenameFlags::EXCHANGE).is_ok();
    if is_in_place_of_file { new.close() } else { new.persist(to).map(drop).map_err(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        let null = Path::new("/dev/null");
        write(b"text", null).unwrap();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
    }

    #[test]
    fn what_was_there_is_replaced_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("a.o");
        for text in [&b"longer text"[..], b"text"] {
            write(text, &at).unwrap();
            assert_eq!(fs::read(&at).unwrap(), text);
        }
        let (other, link) = (directory.path().join("other"), directory.path().join("link"));
        write(b"other", &other).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        write(b"text", &link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_directory_is_not_taken_for_a_file_that_may_go() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("a");
        fs::create_dir(&at).unwrap();
        fs::write(at.join("b"), "text").unwrap();
        assert!(write(b"text", &at).is_err());
        assert!(at.join("b").is_file());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
