//! Where a daemon is, and where the files of its store can be read.

use crate::daemon::operation::NarFromPath;
use crate::daemon::transport::{Ssh, SshCommand, connect};
use crate::daemon::{Connection, ConnectionOptions, DaemonError, Pool};
use crate::store::StoreError;
use crate::{StoreDir, StorePath, nar};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// On this machine.
    Socket {
        /// Its socket.
        socket: PathBuf,
        /// The directory below which the store's files are seen: `/`, unless the daemon has another root (`root` in Nix's
        /// store URLs).
        root: PathBuf,
    },
    /// On another machine.
    Ssh {
        /// How to get there.
        command: SshCommand,
        /// A directory for files that are brought from there; it may be emptied when no store is open.
        files: PathBuf,
    },
}

impl Address {
    /// Connects. One that this machine's daemon sends away before the greeting tries again: two clients that are the first of
    /// a new store make its database at once, and Nix then gives up one of them.
    pub(super) fn connect(&self, options: &ConnectionOptions) -> Result<Connection, DaemonError> {
        const TRIES: u32 = 3;
        const PAUSE: Duration = Duration::from_millis(200);

        for _ in 1..TRIES {
            match self.try_to_connect(options) {
                Err(DaemonError::CutOff { .. }) => thread::sleep(PAUSE),
                end => return end,
            }
        }
        self.try_to_connect(options)
    }

    fn try_to_connect(&self, options: &ConnectionOptions) -> Result<Connection, DaemonError> {
        match self {
            Self::Socket { socket, .. } => Connection::open(connect(socket, options.handshake)?, options),
            Self::Ssh { command, .. } => {
                let options = ConnectionOptions { handshake: options.handshake.max(SSH_HANDSHAKE), ..options.clone() };
                Connection::open(Ssh::start(command)?, &options)
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Socket { root, .. } => Place::Here(root.clone()),
            Self::Ssh { files, .. } => Place::Elsewhere(files.clone()),
        }
    }
}

/// How long the first words may take by ssh: it may have to ask its user for a passphrase first, and knows itself when a
/// machine cannot be reached.
const SSH_HANDSHAKE: Duration = Duration::from_secs(120);

/// Where the files of a store can be read.
#[derive(Debug, Clone)]
pub enum Place {
    /// Below this directory, which stands for `/`.
    Here(PathBuf),
    /// Not in this file system; those that are needed are brought to this directory.
    Elsewhere(PathBuf),
}

impl Place {
    pub(super) fn files(&self, pool: &Pool, store_dir: &StoreDir, path: &StorePath) -> Result<PathBuf, StoreError> {
        match self {
            Self::Here(root) => Ok(root.join(&store_dir.print(path)[1..])),
            Self::Elsewhere(directory) => {
                let file = directory.join(path.to_string());
                if fs::symlink_metadata(&file).is_err() {
                    bring(pool, path, directory, &file)?;
                }
                Ok(file)
            }
        }
    }
}

/// Gets the files of a path, whole or not at all.
fn bring(pool: &Pool, path: &StorePath, directory: &Path, to: &Path) -> Result<(), StoreError> {
    let what = || format!("bring `{path}` to `{}`", directory.display());
    let failed = |error: io::Error| StoreError::new(what(), error);
    fs::create_dir_all(directory).map_err(failed)?;
    let place = tempfile::tempdir_in(directory).map_err(failed)?;
    let mut archive = tempfile::tempfile_in(directory).map_err(failed)?;
    receive(pool, path, &mut archive).map_err(super::told(what()))?;
    archive.rewind().map_err(failed)?;
    let restored = place.path().join("files");
    nar::restore(BufReader::new(archive), &restored).map_err(|error| StoreError::new(what(), error))?;
    match fs::rename(&restored, to) {
        Err(_) if fs::symlink_metadata(to).is_ok() => Ok(()), // another thread was faster
        renamed => renamed.map_err(failed),
    }
}

/// Writes the NAR of a path to a file.
pub(super) fn receive(pool: &Pool, path: &StorePath, to: &mut File) -> Result<(), DaemonError> {
    let mut out = BufWriter::new(to);
    pool.get()?.call(NarFromPath { path, out: &mut out }, &mut |_| {})?;
    out.flush().map_err(|source| DaemonError::Contents { operation: "NarFromPath", source: source.into() })
}
