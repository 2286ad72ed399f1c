//! A head start: the program of an edge is begun before its inputs are known, and waits for them at the gate.

use super::gate::Gate;
use super::root::{self, Root, Staged, to_path};
use super::run;
use super::{Edge, Error, Manifest};
use nixstore::manifest::{HeadStart, Step};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// What is told first of an edge.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub start: HeadStart,
    /// As in [`Edge`].
    pub store: PathBuf,
    /// The directory in which the one of [`Edge::outputs`] will be.
    pub builds: PathBuf,
}

/// A program that waits for its inputs.
pub struct Begun {
    pid: libc::pid_t,
    gate: Gate,
    source: PathBuf,
    store: File,
    builds: (File, PathBuf),
}

/// An edge whose program goes on.
pub struct Followed {
    pub staged: Staged,
    pub outputs: File,
    pub gate: Gate,
    pub pid: libc::pid_t,
}

impl Begun {
    /// Starts the program in its own root.
    pub fn start(root: Root, order: &Order) -> Result<Self, Error> {
        let open = |path: &PathBuf| File::open(path).map_err(Error::io(format!("open `{}`", path.display())));
        let (store, builds) = (open(&order.store)?, open(&order.builds)?);
        let manifest = &order.start.manifest;
        let [Step::Run(program)] = manifest.commands.as_slice() else { return Err(Error::NotAhead) };
        let gate = root::enter_ahead(root, &order.start, &order.store)?;
        let pid = run::begin(manifest, program)?;
        let builds = (builds, order.builds.clone());
        Ok(Self { pid, gate, source: to_path(&order.start.gate), store, builds })
    }

    /// Puts the inputs in their places.
    pub fn follow(self, edge: &Edge<Manifest>) -> Result<Followed, Error> {
        let behind = |directory: &File| PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let (builds, path) = &self.builds;
        let outputs = behind(builds).join(edge.outputs.strip_prefix(path).map_err(|_| Error::NotAhead)?);
        let outputs = File::open(&outputs).map_err(Error::io(format!("open `{}`", edge.outputs.display())))?;
        let store = behind(&self.store);
        let staged = root::follow(&edge.manifest, &store, &self.source, &self.gate)?;
        Ok(Followed { staged, outputs, gate: self.gate, pid: self.pid })
    }
}
