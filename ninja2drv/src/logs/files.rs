//! The logs as files.

use bstr::{BStr, BString, ByteSlice as _};
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What the build log is called.
pub const BUILD_LOG: &str = ".ninja_log";
/// What the deps log is called.
pub const DEPS_LOG: &str = ".ninja_deps";

/// Where the manifest wants a log to be; starts at the directory of the build.
pub fn path(builddir: Option<&BStr>, name: &str) -> BString {
    match builddir {
        Some(builddir) if !builddir.is_empty() => [builddir.as_bytes(), b"/", name.as_bytes()].concat().into(),
        _ => name.into(),
    }
}

/// Puts a file in the place of another, whole or not at all.
///
/// # Errors
/// Those of writing and renaming; what was there before is then there still.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
    // As for any file that a program writes, the umask says who may read it.
    let mut builder = tempfile::Builder::new();
    let mut file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
