//! What is read of a host once, before any command is looked at: its packages, its alternatives, its library path.

use super::alternatives::{self, Alternative};
use super::dpkg::{Dpkg, DpkgError, Merged};
use crate::identity::Identity;
use std::io;
use std::path::{Path, PathBuf};

/// The facts of the host that all selections share.
#[derive(Debug, Default)]
pub struct Host {
    /// The installed packages; none where there is no dpkg.
    pub dpkg: Dpkg,
    /// The choices of update-alternatives.
    pub alternatives: Vec<Alternative>,
    /// Which names in `/` lead into `/usr`.
    pub merged: Merged,
    /// The directories that ldconfig(8) is told of, in order.
    pub library_directories: Vec<PathBuf>,
}

/// The files whose change makes [`Host::load`] give another answer.
pub const HOST_PROBES: &[&str] = &[
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/diversions",
    "/var/lib/dpkg/alternatives",
    "/etc/alternatives",
    "/etc/ld.so.cache",
];

impl Host {
    /// Reads all of it: some hundred files on a dpkg system.
    ///
    /// # Errors
    /// [`HostError`] where a database that exists cannot be read.
    pub fn load() -> Result<Self, HostError> {
        let merged = Merged::of_host(Path::new("/"));
        let admin = Path::new("/var/lib/dpkg/alternatives");
        let alternatives = alternatives::load(admin, Path::new("/etc/alternatives"))
            .map_err(|source| HostError::Alternatives { path: admin.into(), source })?;
        Ok(Self {
            dpkg: Dpkg::load(Path::new("/var/lib/dpkg"), &merged)?,
            alternatives,
            library_directories: library_directories(Path::new("/etc/ld.so.conf"), 0),
            merged,
        })
    }

    /// As [`Host::load`] without packages and alternatives: what is known where there is no dpkg.
    pub fn without_packages() -> Self {
        Self {
            merged: Merged::of_host(Path::new("/")),
            library_directories: library_directories(Path::new("/etc/ld.so.conf"), 0),
            ..Self::default()
        }
    }

    /// The identities of [`HOST_PROBES`]: while they stay, so does what [`Host::load`] gives.
    pub fn identities() -> Vec<Option<Identity>> {
        HOST_PROBES.iter().map(|path| Identity::of(Path::new(path))).collect()
    }
}

/// Reads `/etc/ld.so.conf` (ldconfig(8)): a directory a line, and `include PATTERN` with `*` in the last component.
/// What cannot be read gives nothing: then no library is found through it, as for the loader.
fn library_directories(path: &Path, depth: usize) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let Ok(text) = std::fs::read_to_string(path) else { return directories };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern.trim());
            if depth < 4 {
                directories.extend(matching(&pattern).iter().flat_map(|path| library_directories(path, depth + 1)));
            }
        } else if line.starts_with('/') {
            directories.push(line.into());
        }
    }
    directories
}

fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((before, after)) = name.split_once('*') else { return vec![pattern.into()] };
    let Some(Ok(entries)) = pattern.parent().map(std::fs::read_dir) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    });
    let mut paths: Vec<_> = names.collect();
    paths.sort();
    paths
}

/// What is installed could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The database of packages.
    #[error("cannot read the installed packages")]
    Dpkg(#[from] DpkgError),
    /// The choices of update-alternatives.
    #[error("cannot read `{}`", .path.display())]
    Alternatives {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_read_in_order() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path();
        std::fs::create_dir(root.join("conf.d")).expect("make");
        std::fs::write(root.join("ld.so.conf"), "include conf.d/*.conf\n/last # comment\n").expect("write");
        std::fs::write(root.join("conf.d/b.conf"), "/b\n").expect("write");
        std::fs::write(root.join("conf.d/a.conf"), "# none\n/a\n").expect("write");
        std::fs::write(root.join("conf.d/a.txt"), "/no\n").expect("write");
        let expected: Vec<PathBuf> = ["/a", "/b", "/last"].map(Into::into).into();
        assert_eq!(library_directories(&root.join("ld.so.conf"), 0), expected);
    }
}
