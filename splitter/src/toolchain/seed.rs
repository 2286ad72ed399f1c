//! What a program or a file draws into a snapshot, before dependencies are looked at.

use super::dpkg::PackageId;
use crate::identity::{self, Identity};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One thing that a command needs of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Seed {
    /// A package, with what it depends on.
    Package(String),
    /// A file that no package owns.
    File(PathBuf, Identity),
    /// A link that no package owns, and its text.
    Link(PathBuf, PathBuf),
    /// A directory that no package owns, with all below it but [`PASSED_OVER`] and the names given; and the hash of
    /// the identities ([`identity::of_tree`]).
    Tree(PathBuf, Vec<String>, String),
    /// A directory that has to be there, whatever is in it.
    Directory(PathBuf),
    /// A file of a package whose change has to be noticed though the package manager did not make it.
    Probe(PathBuf, Identity),
}

/// What is in no snapshot, wherever it is in a tree: made by whoever runs a program first.
pub const PASSED_OVER: &[&str] = &["__pycache__", ".git"];

impl Seed {
    /// The seed of a package.
    pub fn package(id: &PackageId) -> Self {
        Self::Package(id.to_string())
    }

    /// True while the disk is as it was when the seed was found. Packages are not looked at: dpkg's database is watched
    /// as a whole.
    pub fn holds(&self) -> bool {
        match self {
            Self::Package(_) => true,
            Self::File(path, identity) | Self::Probe(path, identity) => Identity::of(path) == Some(*identity),
            Self::Link(path, text) => std::fs::read_link(path).is_ok_and(|now| now == *text),
            Self::Tree(path, _, hash) => identity::of_tree(path).is_ok_and(|now| now.to_hex().as_str() == hash),
            Self::Directory(path) => path.is_dir(),
        }
    }

    /// True if it was found so shortly after a change that its identity does not stand for its content.
    pub fn is_fresh(&self, reading: SystemTime) -> bool {
        matches!(self, Self::File(_, identity) | Self::Probe(_, identity) if !identity.settled(reading))
    }

    /// True if it can be written as JSON.
    pub fn is_text(&self) -> bool {
        let text = |path: &Path| path.to_str().is_some();
        match self {
            Self::Package(_) => true,
            Self::File(path, _) | Self::Probe(path, _) | Self::Tree(path, ..) | Self::Directory(path) => text(path),
            Self::Link(path, to) => text(path) && text(to),
        }
    }

    /// The path to watch, if there is one.
    pub fn probe(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) | Self::Probe(path, _) | Self::Link(path, _) | Self::Tree(path, ..) => Some(path),
            Self::Package(_) | Self::Directory(_) => None,
        }
    }
}
