//! A head start: the program of an edge is begun before its inputs are known, and waits for them at the gate.

use super::gate::Gate;
use super::room::Memory;
use super::root::{self, Root, Staged, behind, to_path};
use super::run;
use super::{Edge, Error, Manifest};
use nixstore::manifest::{HeadStart, Step};
use serde::{Deserialize, Serialize};
use std::fs::File;
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

/// A root in which a program waits for its inputs.
pub struct Begun {
    waiting: Waiting,
    source: PathBuf,
    memory: Memory,
    store: File,
    builds: (File, PathBuf),
}

/// A program, and the gate that it waits at. It is ended when this is dropped: before the gate goes, which would let it in.
pub struct Waiting {
    /// None once it has been let in.
    pid: Option<libc::pid_t>,
    gate: Gate,
}

/// An edge whose inputs are in place.
pub struct Followed {
    pub staged: Staged,
    pub outputs: File,
    pub memory: Memory,
    pub waiting: Waiting,
}

impl Begun {
    /// Starts the program in its own root.
    pub fn start(root: Root, order: &Order) -> Result<Self, Error> {
        let open = |path: &PathBuf| File::open(path).map_err(Error::io(format!("open `{}`", path.display())));
        let (store, builds) = (open(&order.store)?, open(&order.builds)?);
        let manifest = &order.start.manifest;
        let [Step::Run(program)] = manifest.commands.as_slice() else { return Err(Error::NotAhead) };
        let memory = root.memory().ok_or(Error::NotAhead)?;
        let gate = root::enter_ahead(root, &order.start, &order.store)?;
        let waiting = Waiting { pid: Some(run::begin(manifest, program)?), gate };
        let builds = (builds, order.builds.clone());
        Ok(Self { waiting, source: to_path(&order.start.gate), memory, store, builds })
    }

    /// Puts the inputs in their places.
    pub fn follow(self, edge: &Edge<Manifest>) -> Result<Followed, Error> {
        let (builds, path) = &self.builds;
        let outputs = behind(builds).join(edge.outputs.strip_prefix(path).map_err(|_| Error::NotAhead)?);
        let outputs = File::open(&outputs).map_err(Error::io(format!("open `{}`", edge.outputs.display())))?;
        let store = behind(&self.store);
        let staged = root::follow(&edge.manifest, &store, &self.source, &self.waiting.gate, self.memory)?;
        Ok(Followed { staged, outputs, memory: self.memory, waiting: self.waiting })
    }
}

impl Waiting {
    /// Lets the program in, and gives its process.
    pub fn let_in(mut self) -> Result<Option<libc::pid_t>, Error> {
        self.gate.open()?;
        Ok(self.pid.take())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.pid.is_some() {
            run::Children::OfNamespace.end_all();
        }
    }
}
