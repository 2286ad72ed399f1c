//! Ninja's logs, by which it knows what is up to date: `.ninja_log` says with which command outputs were made, and
//! `.ninja_deps` what their depfiles said. The formats are those of Ninja 1.13.2.
//!
//! By them it runs an edge again unless
//! - each output is there, and has an entry with the hash of the command, which a generator's need not have;
//! - no explicit, implicit or logged input is newer than an entry or, without `restat`, than an output;
//! - with `deps`, the first output has deps, if of nothing, and is not newer than they say;
//! - with a depfile and without `deps`, the depfile is there, and the first that it names is the first output.
//!
//! A path that the manifest spells in two ways, one of them absolute, is two outputs to Ninja; see [`crate::tools::read`].
#![deny(clippy::disallowed_methods)]

mod build_log;
mod deps_log;
mod paths;

pub use build_log::{BuildLog, Entry, command_hash};
pub use deps_log::{Deps, DepsLog};

use bstr::{BStr, BString, ByteSlice as _};

/// What the build log is called.
pub const BUILD_LOG: &str = ".ninja_log";
/// What the deps log is called.
pub const DEPS_LOG: &str = ".ninja_deps";

/// Where the manifest wants a log to be; starts at the directory of the build. [`splitter::materialise::write`] replaces
/// such a file whole or not at all.
pub fn path(builddir: Option<&BStr>, name: &str) -> BString {
    match builddir {
        Some(builddir) if !builddir.is_empty() => [builddir.as_bytes(), b"/", name.as_bytes()].concat().into(),
        _ => name.into(),
    }
}

/// A log as it was read. Any bytes give one, if an empty one.
#[derive(Debug, Default)]
pub struct Read<T> {
    /// What is good in it.
    pub log: T,
    /// What is not.
    pub problem: Option<Problem>,
    /// Most of the file are entries that later ones replace: Ninja would write it anew before it adds to it.
    pub wasteful: bool,
}

/// What is wrong with a log, and what becomes of it, in Ninja's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Ninja removes the file.
    #[error("build log version is too old; starting over")]
    BuildLogTooOld,
    /// Ninja removes the file.
    #[error("build log version is too new; starting over")]
    BuildLogTooNew,
    /// Ninja removes the file.
    #[error("deps log version change; rebuilding")]
    DepsLogOfVersion1,
    /// Ninja removes the file.
    #[error("bad deps log signature or version; starting over")]
    NoDepsLog,
    /// Ninja cuts the file off.
    #[error("premature end of file; recovering")]
    DepsLogSpoilt {
        /// How many bytes are good.
        good: usize,
    },
}
