//! Where the parts of a store lie below its root, and whether a root may be used.
//!
//! The root may be any directory. What stands under `nix/` is laid out as Nix 2.34 lays it out, so that
//! `nix --store 'local?root=…'` opens it; what Nix does not know is under `nix/var/splitter/`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of what is under `nix/var/splitter/`, written to the file `format` there.
pub const FORMAT: u32 = 1;

/// Nix's version of its database, in `nix/var/nix/db/schema`.
pub const SCHEMA: u32 = 10;

/// Nix's version of the tables for content-addressed derivations (up to Nix 2.31), in `nix/var/nix/db/ca-schema`.
pub const CA_SCHEMA: u32 = 4;

/// The root of the store of a user who chose none: `$XDG_DATA_HOME/splitter`, else `$HOME/.local/share/splitter`, else
/// nothing. As the base directory specification says, a value that is no absolute path counts as unset.
pub fn default_root(xdg_data_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute(xdg_data_home).or_else(|| Some(absolute(home)?.join(".local/share")))?;
    Some(data.join("splitter"))
}

/// The places of a store. Only paths: nothing need exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The places below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself: what follows `root=` in a store URL of Nix.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of store paths.
    pub fn store(&self) -> PathBuf {
        self.root.join("nix/store")
    }

    /// Nix's state: database, roots, profiles.
    pub fn state(&self) -> PathBuf {
        self.root.join("nix/var/nix")
    }

    /// The directory of the database.
    pub fn database_directory(&self) -> PathBuf {
        self.state().join("db")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.database_directory().join("db.sqlite")
    }

    /// Held shared by whoever needs paths to stay, exclusively by whoever deletes paths.
    pub fn gc_lock(&self) -> PathBuf {
        self.state().join("gc.lock")
    }

    /// Held shared by every process that uses the database (Nix's guard of schema changes).
    pub fn big_lock(&self) -> PathBuf {
        self.database_directory().join("big-lock")
    }

    /// Links to paths that are to be kept.
    pub fn gc_roots(&self) -> PathBuf {
        self.state().join("gcroots")
    }

    /// Links to paths that are to be kept, by user and generation.
    pub fn profiles(&self) -> PathBuf {
        self.state().join("profiles")
    }

    /// One file for each running process of Nix: the paths that it needs for now.
    pub fn temp_roots(&self) -> PathBuf {
        self.state().join("temproots")
    }

    /// Where the log of the derivation with this base name is (Nix's `drvs/ab/cdef…`, not compressed).
    pub fn log(&self, drv: &str) -> PathBuf {
        let (first, rest) = drv.split_at(2);
        self.root.join("nix/var/log/nix/drvs").join(first).join(rest)
    }

    /// What Nix does not know.
    pub fn own(&self) -> PathBuf {
        self.root.join("nix/var/splitter")
    }

    /// One directory for each open store that builds.
    pub fn builds(&self) -> PathBuf {
        self.own().join("builds")
    }

    /// An empty directory: where jobs mount their roots, each seen by itself alone.
    pub fn root_of_jobs(&self) -> PathBuf {
        self.own().join("root")
    }

    /// When paths were last used.
    pub fn usage(&self) -> PathBuf {
        self.own().join("usage.sqlite")
    }

    /// What paths take together, up to the one of a number: saves adding them up. Of no use once paths are deleted.
    pub fn size(&self) -> PathBuf {
        self.own().join("size")
    }

    /// The file that says that this is a store of ours, and of which version.
    pub fn format(&self) -> PathBuf {
        self.own().join("format")
    }

    /// Makes what is missing and gives the layout with the root's real path (Nix refuses a store behind a symlink). A
    /// store that stock Nix made is taken over as it is.
    ///
    /// # Errors
    /// [`LayoutError`] where a version is newer than this program knows, or a directory cannot be made.
    pub fn create(self) -> Result<Self, LayoutError> {
        make_directory(&self.root)?;
        let root = fs::canonicalize(&self.root).map_err(|source| LayoutError::Io {
            operation: "resolve",
            path: self.root.clone(),
            source,
        })?;
        let layout = Self { root };
        match layout.check() {
            Ok(()) => return Ok(layout),
            Err(LayoutError::NotAStore { .. }) => layout.check_schemas()?,
            Err(error) => return Err(error),
        }
        let state = layout.state();
        for directory in [
            layout.store().join(".links"),
            state.join("gcroots/auto"),
            state.join("gcroots/per-user"),
            state.join("profiles/per-user"),
            layout.temp_roots(),
            layout.database_directory(),
            layout.builds(),
            layout.root_of_jobs(),
        ] {
            make_directory(&directory)?;
        }
        let link = layout.gc_roots().join("profiles");
        match std::os::unix::fs::symlink(layout.profiles(), &link) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LayoutError::Io { operation: "make the link", path: link, source });
            }
            _ => {}
        }
        // Last, for it says that the rest is there.
        write_atomically(&layout.format(), format!("{FORMAT}\n").as_bytes())?;
        Ok(layout)
    }

    /// Whether the root holds a store of ours that this program understands.
    ///
    /// # Errors
    /// [`LayoutError::NotAStore`] where it is none, [`LayoutError::TooNew`] where a newer program wrote it.
    pub fn check(&self) -> Result<(), LayoutError> {
        let not_ours = || LayoutError::NotAStore { root: self.root.clone() };
        let format = read_version(&self.format())?.ok_or_else(not_ours)?;
        self.refuse_newer("store format", format, FORMAT)?;
        self.check_schemas()
    }

    fn check_schemas(&self) -> Result<(), LayoutError> {
        for (what, file, known) in
            [("database schema", "schema", SCHEMA), ("database CA schema", "ca-schema", CA_SCHEMA)]
        {
            if let Some(found) = read_version(&self.database_directory().join(file))? {
                self.refuse_newer(what, found, known)?;
            }
        }
        Ok(())
    }

    fn refuse_newer(&self, what: &'static str, found: u32, known: u32) -> Result<(), LayoutError> {
        if found > known { Err(LayoutError::TooNew { root: self.root.clone(), what, found, known }) } else { Ok(()) }
    }
}

/// Something about a directory of ours that its user should know. It works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Files there may be changed by other machines, whose locks need not be seen here.
    NetworkFileSystem {
        /// What is there.
        place: Place,
        /// The directory.
        path: PathBuf,
        /// Such as `NFS`.
        kind: &'static str,
    },
}

/// What a directory of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A store, by its root.
    Store,
    /// What is remembered of a build directory.
    BuildState,
}

impl Warning {
    /// What the user should know of the existing directory `path`.
    ///
    /// # Errors
    /// [`LayoutError`] where the file system cannot be asked.
    pub fn about(place: Place, path: &Path) -> Result<Option<Self>, LayoutError> {
        let kind = network_file_system(path)?;
        Ok(kind.map(|kind| Self::NetworkFileSystem { place, path: path.into(), kind }))
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::NetworkFileSystem { place, path, kind } = self;
        let (path, shared) = (path.display(), format!("is on a file system that may be shared by machines ({kind})"));
        match place {
            Place::Store => {
                write!(f, "the store `{path}` {shared}: use it from one machine at a time, or put it on a local disk")
            }
            Place::BuildState => write!(
                f,
                "the state of this build directory, `{path}`, {shared}: build here from one machine at a time, or in a directory on a local disk"
            ),
        }
    }
}

/// The kind of file system at `path`, if machines may share it (or it cannot be told, as with FUSE).
///
/// # Errors
/// [`LayoutError`] where the file system cannot be asked.
pub fn network_file_system(path: &Path) -> Result<Option<&'static str>, LayoutError> {
    let magic = rustix::fs::statfs(path).map_err(|errno| LayoutError::Io {
        operation: "ask for the file system of",
        path: path.into(),
        source: errno.into(),
    })?;
    Ok(network_kind(magic.f_type as u64 & 0xffff_ffff))
}

/// The numbers are those of statfs(2) and of `linux/magic.h`.
fn network_kind(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "CIFS",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x786f_4256 => "VirtualBox",
        _ => return None,
    })
}

fn make_directory(path: &Path) -> Result<(), LayoutError> {
    fs::create_dir_all(path).map_err(|source| LayoutError::Io {
        operation: "make the directory",
        path: path.into(),
        source,
    })
}

fn read_version(path: &Path) -> Result<Option<u32>, LayoutError> {
    match fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(LayoutError::Corrupt { path: path.into(), text: text.trim().into() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LayoutError::Io { operation: "read", path: path.into(), source }),
    }
}

/// Another process never sees a part of the file.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), LayoutError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("new-{}-{count}", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(contents))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| LayoutError::Io { operation: "write", path: path.into(), source })
}

/// Why a root cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A newer program made it.
    #[error(
        "the {what} of `{root}` is version {found}, but this program knows up to version {known}: use a newer version of this program, or another store (delete this one, or choose another root)"
    )]
    TooNew {
        /// The root of the store.
        root: PathBuf,
        /// What has a version.
        what: &'static str,
        /// The version there.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// No program of ours made it.
    #[error("`{root}` is not a store of this program: it has no `nix/var/splitter/format`")]
    NotAStore {
        /// The directory.
        root: PathBuf,
    },
    /// A version is no number.
    #[error("`{path}` should hold a version, not `{text}`")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// The system refused.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_root_follows_the_base_directory_specification() {
        let os = |text: &str| Some(OsString::from(text));
        assert_eq!(default_root(os("/data"), os("/home/ada")), Some("/data/splitter".into()));
        assert_eq!(default_root(None, os("/home/ada")), Some("/home/ada/.local/share/splitter".into()));
        assert_eq!(default_root(os("relative"), os("/home/ada")), Some("/home/ada/.local/share/splitter".into()));
        assert_eq!(default_root(None, None), None);
    }

    #[test]
    fn a_store_of_a_newer_program_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(directory.path()).create().expect("a new store");
        fs::write(layout.format(), "7\n").expect("the file can be written");

        let error = layout.clone().create().expect_err("version 7 is unknown").to_string();
        assert!(
            error.contains("version 7") && error.contains("version 1") && error.contains("newer version"),
            "{error}"
        );

        fs::write(layout.format(), "1\n").expect("the file can be written");
        fs::write(layout.database_directory().join("schema"), "11").expect("the file can be written");
        let error = layout.create().expect_err("schema 11 is unknown").to_string();
        assert!(error.contains("version 11") && error.contains("version 10"), "{error}");
    }

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_kind(0xef53), None, "ext4");
    }

    #[test]
    fn a_warning_names_the_directory_and_the_file_system() {
        let text = |place| Warning::NetworkFileSystem { place, path: "/net/x".into(), kind: "NFS" }.to_string();
        assert!(
            text(Place::Store)
                .starts_with("the store `/net/x` is on a file system that may be shared by machines (NFS)")
        );
        assert!(text(Place::BuildState).contains("the state of this build directory, `/net/x`, is on"));
    }
}
