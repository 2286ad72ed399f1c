//! The runner: makes a sandbox and runs one job in it, an edge by its manifest or any builder as Nix does. It works alone
//! in a process of its own, knows nothing of graphs or databases, and is the same program inside Nix's sandbox and the
//! embedded store's.
//!
//! The processes: the *keeper* (started by the store) waits; its child, the *first process* of a new PID namespace,
//! builds the root, runs the commands and collects. When the keeper is told to stop or dies, the kernel ends the
//! namespace and everything in it.

mod builder;
mod collect;
mod in_place;
mod namespaces;
mod root;
mod run;
mod trace;

pub use in_place::put_back;

use namespaces::Network;
use nixstore::manifest::{ABI, Manifest, Reads, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Its name, as a program beside the commands and in a store.
pub const NAME: &str = "splitter-runner";

/// What the keeper reads, as JSON, from the socket that is its standard input; it answers there with a [`Report`]. The
/// store passes the manifest `M` on as the text that it has.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job<M> {
    /// An existing directory over which the root is mounted, seen by this process alone.
    pub root: PathBuf,
    /// What is done there.
    pub work: Work<M>,
}

/// What is done in the root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work<M> {
    /// An edge.
    Edge(Edge<M>),
    /// Any builder.
    Builder(Builder),
    /// Nothing: the answer says whether a root can be made.
    Nothing,
}

/// An edge in the embedded store.
#[derive(Debug, Serialize, Deserialize)]
pub struct Edge<M> {
    /// What it runs, needs and gives.
    pub manifest: M,
    /// Where the store's files are.
    pub store: PathBuf,
    /// Where outputs are put, under the base name of their store path.
    pub outputs: PathBuf,
}

/// A builder as Nix runs it. Texts are bytes as [`nixstore::text`] writes them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Builder {
    /// Its path as it sees it.
    pub program: String,
    /// What follows its name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// What it may read: places as it sees them, with their files.
    pub inputs: BTreeMap<PathBuf, PathBuf>,
    /// What it sees as `/nix/store`: it writes its outputs there, beside the inputs.
    pub store: PathBuf,
    /// What it sees as `/build`.
    pub build: PathBuf,
    /// Whether it has the host's network.
    pub network: bool,
    /// Whether the kernel is to look like one of 32 bits.
    pub narrow: bool,
}

/// How a runner ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// All succeeded. Of an edge the outputs are in place, but an empty file `log` and an empty directory `rest` are left
    /// out: nearly every edge has these.
    Done {
        /// Declared outputs of an edge that the commands left unwritten.
        missing: Vec<String>,
    },
    /// A command ended with this code.
    Exit(i32),
    /// A command was ended by this signal.
    Signal(i32),
    /// Of an edge where it is: the commands read these, which are not among its inputs.
    Undeclared(Vec<String>),
    /// The commands did what they must not do, or cannot be run.
    Misbehaved(String),
    /// The kernel refused a part of the sandbox.
    Refused {
        /// Which step of setting it up.
        step: String,
        /// The error number.
        errno: i32,
    },
    /// The runner itself could not go on.
    Error(String),
}

/// The program: its standard input is the socket of a [`Job`]. Answers 0 if it could begin.
pub fn main() -> i32 {
    let (job, socket) = match read() {
        Ok(read) => read,
        Err(e) => {
            eprintln!("splitter-runner: is started by the store, with a job on its standard input: {e}");
            return 2;
        }
    };
    let network = match &job.work {
        Work::Builder(builder) if builder.network => Network::Host,
        _ => Network::Own,
    };
    let result = match &job.work {
        Work::Edge(edge) if edge.manifest.in_place => namespaces::in_own_process(&socket, || work(&job)),
        _ => namespaces::in_first_process(network, &socket, || work(&job)),
    };
    match result {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("splitter-runner: cannot report: {e}");
            2
        }
    }
}

fn read() -> io::Result<(Job<Manifest>, UnixStream)> {
    // A copy that programs do not inherit.
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    Ok((serde_json::from_slice(&text)?, socket))
}

/// The first process: root, commands, outputs.
fn work(job: &Job<Manifest>) -> Report {
    let result = match &job.work {
        Work::Edge(edge) => self::edge(job, edge),
        Work::Builder(builder) => builder::run(job, builder),
        Work::Nothing => root::Root::make(&job.root).and_then(root::Root::enter).map(|()| Report::done()),
    };
    result.unwrap_or_else(Report::from)
}

fn edge(job: &Job<Manifest>, edge: &Edge<Manifest>) -> Result<Report, Error> {
    let manifest = &edge.manifest;
    if manifest.abi != ABI {
        return Ok(Report::Error(format!("this runner reads manifests of version {ABI}, not {}", manifest.abi)));
    }
    if manifest.in_place {
        return in_place::run(edge);
    }
    let outside = root::Outside::open(edge)?;
    let staged = root::enter(&job.root, edge)?;
    let before = collect::Before::the_commands(manifest, &staged);
    let mut children = match manifest.traced {
        true => run::Children::Traced(Box::default()),
        false => run::Children::OfNamespace,
    };
    let ended = run::commands(manifest, &mut children)?;
    let reads = match children {
        run::Children::Traced(tracer) => Some(tracer.into_reads()),
        run::Children::OfNamespace => None,
    };
    let (ended, reads) = match (ended, reads) {
        (run::Ended::Exit(exit), Some(reads)) if manifest.trial > 0 => {
            (run::Ended::Exit(0), Some(Reads { exit, ..reads }))
        }
        as_is => as_is,
    };
    Ok(match ended {
        run::Ended::Exit(0) => {
            collect::log(&outside)?;
            Report::Done { missing: collect::outputs(manifest, &staged, &before, reads.as_ref(), &outside)? }
        }
        ended => ended.into(),
    })
}

impl Report {
    fn done() -> Self {
        Self::Done { missing: Vec::new() }
    }
}

/// What stops a runner.
#[derive(Debug)]
pub(crate) enum Error {
    Refused { step: String, errno: i32 },
    Io { what: String, error: io::Error },
    Misbehaved(String),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { step, errno } => Self::Refused { step, errno },
            Error::Io { what, error } => Self::Error(format!("cannot {what}: {error}")),
            Error::Misbehaved(what) => Self::Misbehaved(what),
        }
    }
}
