//! What every store can do.
//!
//! [`Store`] is the border between the splitter and whatever runs derivations: the embedded store, a Nix daemon, or
//! [`MemoryStore`](crate::MemoryStore). One test suite runs against each.

use crate::{OutputName, PathInfo, ResolvedDerivation, StoreDir, StorePath, path::StoreName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A place that keeps store paths and realises derivations. Every method may be called from many threads.
pub trait Store: Send + Sync {
    /// The logical store directory, `/nix/store`.
    fn store_dir(&self) -> &StoreDir;

    /// Whether each call is an exchange with another process, so that one for many paths is worth much more than many.
    fn is_remote(&self) -> bool {
        false
    }

    /// Adds the file, symlink or directory at `source` as a content-addressed path (NAR, SHA-256, no references) and
    /// protects it from collection while this store is open. A path that is already valid is not written again.
    ///
    /// # Errors
    /// [`StoreError`] where `source` cannot be read or the store cannot be written.
    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError>;

    /// As [`Store::add_path`] for many, in as few exchanges as the store can.
    ///
    /// # Errors
    /// As [`Store::add_path`].
    fn add_paths(&self, sources: &[(StoreName, &Path)]) -> Result<Vec<PathInfo>, StoreError> {
        sources.iter().map(|(name, source)| self.add_path(name, source)).collect()
    }

    /// As [`Store::add_path`] for a tree that nobody else uses: it may be moved instead of copied, and is not there
    /// afterwards, or left as it was.
    ///
    /// # Errors
    /// As [`Store::add_path`].
    fn take_path(&self, name: &StoreName, tree: &Path) -> Result<PathInfo, StoreError> {
        self.add_path(name, tree)
    }

    /// As [`Store::add_path`] for one file whose bytes are at hand.
    ///
    /// # Errors
    /// As [`Store::add_path`].
    fn add_file(&self, name: &StoreName, contents: &[u8], executable: bool) -> Result<PathInfo, StoreError>;

    /// What is known of each path; `None` where it is not valid. Valid paths are protected from collection while this
    /// store is open.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError>;

    /// Which of these paths are valid. They are protected from collection while this store is open.
    ///
    /// # Errors
    /// As [`Store::path_infos`].
    fn valid_paths(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>, StoreError> {
        Ok(self.path_infos(paths)?.into_iter().flatten().map(|info| info.path).collect())
    }

    /// What the outputs of a derivation have come out as before, if all are known and still valid. Such paths are protected
    /// from collection while this store is open.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be asked.
    fn realised(&self, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError>;

    /// As [`Store::realised`] for many, in as few exchanges as the store can.
    ///
    /// # Errors
    /// As [`Store::realised`].
    fn all_realised(&self, derivations: &[ResolvedDerivation]) -> Result<Vec<Option<Outputs>>, StoreError> {
        derivations.iter().map(|derivation| self.realised(derivation)).collect()
    }

    /// Begins what is probably realised next, where that can go on beside: [`Store::realise`] waits for it then. If another
    /// derivation is realised, it is ended, and nothing is left of it.
    fn begin(&self, _: &ResolvedDerivation) {}

    /// Runs a derivation, registers its outputs and records what they have come out as. One that has run before runs again,
    /// unless it is a daemon that knows better: [`Built::ran`] tells.
    ///
    /// # Errors
    /// [`RealiseError::Failed`] where the builder ran and did not succeed; the store is as it was before.
    fn realise(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<Built, RealiseError>;

    /// Where the files of a valid path can be read in the file system; they may have to be brought there first.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be brought.
    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError>;
}

/// The paths of a derivation's outputs.
pub type Outputs = BTreeMap<OutputName, StorePath>;

/// How one derivation is to be run.
#[derive(Debug, Clone, Copy)]
pub struct BuildOptions<'a> {
    /// The longest the builder may run.
    pub timeout: Option<Duration>,
    /// Set by somebody else to stop the builder and everything it started.
    pub cancelled: &'a AtomicBool,
}

/// What came out of running a derivation.
#[derive(Debug, Clone)]
pub struct Built {
    /// Every output.
    pub outputs: BTreeMap<OutputName, PathInfo>,
    /// From the start of the builder to its end; of one that was begun before, from when it was waited for.
    pub duration: Duration,
    /// Whether the builder ran; else the outputs were there.
    pub ran: bool,
}

/// Why a derivation could not be realised.
#[derive(Debug, thiserror::Error)]
pub enum RealiseError {
    /// The builder ran and did not succeed.
    #[error("{reason}")]
    Failed {
        /// How it ended.
        reason: Failure,
        /// What it wrote to its standard output and standard error.
        log: Vec<u8>,
    },
    /// The store could not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a builder ended that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// With an exit code other than 0.
    #[error("exit code {0}")]
    Exit(i32),
    /// By a signal.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// It took longer than allowed.
    #[error("stopped after {} s, the time allowed", .0.as_secs_f32())]
    TimedOut(Duration),
    /// Somebody stopped it.
    #[error("cancelled")]
    Cancelled,
    /// An edge that runs where it is read these files, or listed these directories, which are not among its inputs; texts
    /// as in its manifest.
    #[error("read what is not among its inputs: {}", .0.join(", "))]
    Undeclared(Vec<String>),
    /// It succeeded and left an output unwritten, or wrote one that a store cannot hold.
    #[error("output `{output}`: {problem}")]
    BadOutput {
        /// Which.
        output: OutputName,
        /// What is wrong with it.
        problem: String,
    },
}

/// What a store could not do: which operation, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct StoreError {
    /// Such as "write `/…/db.sqlite`".
    pub operation: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// An error of doing `operation`, a phrase that follows "cannot".
    pub fn new(operation: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { operation: operation.into(), source: source.into() }
    }
}
