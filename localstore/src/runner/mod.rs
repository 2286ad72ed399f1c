//! The runner: makes a sandbox and runs one job in it, an edge by its manifest or any builder as Nix does. It works alone
//! in a process of its own, knows nothing of graphs or databases, and is the same program inside Nix's sandbox and the
//! embedded store's.
//!
//! The processes: the *keeper* (started by the store) waits; its child, the *first process* of a new PID namespace,
//! builds the root, runs the commands and collects. When the keeper is told to stop or dies, the kernel ends the
//! namespace and everything in it.

mod ahead;
mod beside;
mod bpf;
mod builder;
mod collect;
mod forked;
mod gate;
mod in_place;
mod namespaces;
mod room;
mod root;
mod run;
mod sockets;
mod trace;

pub(crate) use ahead::Order as HeadStartOrder;
pub use beside::Processors;
pub(crate) use forked::{can_fork, fork};
pub use in_place::put_back;
pub use namespaces::Network;
pub use room::{Room, limit_of_jobs};

use ahead::{Begun, Followed};
use nixstore::manifest::{ABI, Manifest, Reads, Step};
use room::Memory;
use root::{Outside, Root, Staged};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

/// Its name, as a program beside the commands and in a store.
pub const NAME: &str = "splitter-runner";

/// Where a job works. The keeper reads it as the first order, of JSON, from the socket that is its standard input, and makes a
/// sandbox there before it is told what is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a sandbox.
    Sandbox {
        /// An existing directory over which its root is mounted, seen by this process alone.
        root: PathBuf,
        /// What it has of a network.
        network: Network,
        /// Where the files lie.
        room: Room,
    },
    /// In the host's own file system.
    Here,
}

/// What is done there: the order after that, as JSON, but for a head start. With the end of orders it is waited for; where it is only
/// likely, that end comes later. The keeper answers on the socket with a [`Report`] as a line of JSON; with nothing where there is no
/// such order. The store passes the manifest `M` on as the text that it has.
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

/// The order that may come between: the program of an edge whose inputs are still being found out. What follows is that edge.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ahead {
    pub head_start: ahead::Order,
}

/// Ends each order but the one that all orders end with. No JSON has it, whoever has written that.
pub(crate) const END: u8 = 0;

/// How an [`Ahead`] begins.
const HEAD_START: &[u8] = b"{\"head_start\":";

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
    /// The head start was of no use, for a reason that does not concern the edge: it has to be run in another place.
    NotAhead,
    /// Of an edge in memory: it takes more than it may, or probably would, and has to be run on the disk.
    NoRoom,
    /// The runner itself could not go on.
    Error(String),
}

/// The program: its standard input is the socket of a [`Place`] and a [`Work`]. Answers 0 if it could begin.
pub fn main() -> i32 {
    keep(&Processors::untouched())
}

/// The same, for a process that was kept off some processor.
fn keep(processors: &Processors) -> i32 {
    match begin(processors) {
        Ok(Ok(())) => 0,
        Ok(Err(e)) => {
            eprintln!("splitter-runner: cannot report: {e}");
            2
        }
        Err(e) => {
            eprintln!("splitter-runner: is started by the store, with a job on its standard input: {e}");
            2
        }
    }
}

/// Reads where the job works, and goes there. The answer within is whether the report could be sent.
fn begin(processors: &Processors) -> io::Result<io::Result<()>> {
    // A copy that programs do not inherit.
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut orders = BufReader::new(&socket);
    let mut text = Vec::new();
    orders.read_until(END, &mut text)?;
    let place: Place = serde_json::from_slice(text.strip_suffix(&[END]).unwrap_or(&text))?;
    Ok(match &place {
        Place::Sandbox { root, network, room } => {
            let memory = room.memory();
            namespaces::in_first_process(*network, memory, &socket, |isolated| {
                work(isolated, || Root::make(root, memory).map(Scene::Root), processors, orders)
            })
        }
        Place::Here => namespaces::in_own_process(&socket, || work(Ok(()), || Ok(Scene::Here), processors, orders)),
    })
}

/// The first process: makes the root, waits to be told what is to be done, and does it. Nothing, if that is never told.
fn work(
    isolated: Result<(), Error>,
    make: impl FnOnce() -> Result<Scene, Error>,
    processors: &Processors,
    mut orders: impl BufRead + Send,
) -> Option<Report> {
    hear_and_do(isolated.and_then(|()| make()), processors, &mut orders).unwrap_or_else(|error| Some(error.into()))
}

fn hear_and_do(
    scene: Result<Scene, Error>,
    processors: &Processors,
    orders: &mut (impl BufRead + Send),
) -> Result<Option<Report>, Error> {
    match Told::hear(orders).map_err(Error::io("understand what is to be done"))? {
        Told::Nothing => Ok(None),
        Told::Ahead(order) => hear_and_do(scene.and_then(|scene| scene.begin(&order)), processors, orders),
        Told::Work(work) => {
            // Who has told it waits now.
            match scene {
                Ok(Scene::Begun(_)) => processors.give_back(),
                _ => processors.take_back(),
            }
            do_there(*work, scene?).map(Some)
        }
        Told::LikelyWork(work) => thread::scope(|scope| {
            let give_back_when_waited_for = || {
                io::copy(orders, &mut io::sink()).ok();
                processors.give_back();
            };
            if thread::Builder::new().spawn_scoped(scope, give_back_when_waited_for).is_err() {
                processors.give_back();
            }
            do_there(*work, scene?).map(Some)
        }),
    }
}

/// Where something is done.
enum Scene {
    Root(Root),
    /// In a root that was entered, where a program waits for its inputs.
    Begun(Begun),
    Here,
}

/// What is heard.
enum Told {
    Nothing,
    Ahead(Box<ahead::Order>),
    Work(Box<Work<Manifest>>),
    /// The same from somebody who is at work still, and waits if that comes to it.
    LikelyWork(Box<Work<Manifest>>),
}

impl Scene {
    fn begin(self, order: &ahead::Order) -> Result<Self, Error> {
        match self {
            // Whatever is in the way, the edge may do without.
            Self::Root(root) => Begun::start(root, order).map(Self::Begun).map_err(|_| Error::NotAhead),
            Self::Begun(_) | Self::Here => Err(Error::NotAhead),
        }
    }
}

impl Told {
    fn hear(orders: &mut impl BufRead) -> io::Result<Self> {
        let mut text = Vec::new();
        orders.read_until(END, &mut text)?;
        Ok(match text.as_slice() {
            [] => Self::Nothing,
            [ahead @ .., END] if ahead.starts_with(HEAD_START) => {
                let Ahead { head_start } = serde_json::from_slice(ahead)?;
                Self::Ahead(Box::new(head_start))
            }
            [work @ .., END] => Self::LikelyWork(serde_json::from_slice(work)?),
            work => Self::Work(serde_json::from_slice(work)?),
        })
    }
}

fn do_there(work: Work<Manifest>, scene: Scene) -> Result<Report, Error> {
    match (work, scene) {
        (Work::Edge(edge), _) if edge.manifest.abi != ABI => {
            Ok(Report::Error(format!("this runner reads manifests of version {ABI}, not {}", edge.manifest.abi)))
        }
        (Work::Edge(edge), Scene::Root(root)) if !edge.manifest.in_place => self::edge(root, &edge),
        (Work::Edge(edge), Scene::Begun(begun)) if !edge.manifest.in_place => {
            // Whatever else is in the way, such as a link in the place of a directory, the edge may do without.
            let followed = begun.follow(&edge).map_err(|error| match error {
                Error::NoRoom => Error::NoRoom,
                _ => Error::NotAhead,
            });
            let Followed { staged, outputs, memory, waiting } = followed?;
            let outside = Outside::new(outputs, &edge);
            edge_in(&edge.manifest, &staged, &outside, Some(memory), || waiting.let_in())
        }
        (Work::Edge(edge), Scene::Here) if edge.manifest.in_place => in_place::run(&edge),
        (Work::Builder(builder), Scene::Root(root)) => builder::run(root, &builder),
        (Work::Nothing, Scene::Root(root)) => root.enter().map(|()| Report::done()),
        _ => Ok(Report::Error("the store has sent this to the wrong place".into())),
    }
}

fn edge(root: Root, edge: &Edge<Manifest>) -> Result<Report, Error> {
    let outside = Outside::open(edge)?.and_root(&root)?;
    let memory = root.memory();
    let staged = root::enter(root, edge).map_err(|error| match memory {
        Some(_) => room::of_inputs(error),
        None => error,
    })?;
    edge_in(&edge.manifest, &staged, &outside, memory, || Ok(None))
}

/// Runs an edge where all is in place; `release` gives the process of its program, if that was only kept waiting.
fn edge_in(
    manifest: &Manifest,
    staged: &Staged,
    outside: &Outside,
    memory: Option<Memory>,
    release: impl FnOnce() -> Result<Option<libc::pid_t>, Error>,
) -> Result<Report, Error> {
    let before = collect::Before::the_commands(manifest, staged);
    let mut children = match manifest.traced {
        true => run::Children::Traced(Box::default()),
        false => run::Children::OfNamespace,
    };
    let ended = run::commands(manifest, &mut children, release()?)?;
    let reads = match children {
        run::Children::Traced(tracer) => Some(tracer.into_reads()),
        run::Children::OfNamespace => None,
    };
    if memory.is_some_and(Memory::is_exceeded) {
        return Ok(Report::NoRoom);
    }
    let (ended, reads) = match (ended, reads) {
        (run::Ended::Exit(exit), Some(reads)) if manifest.trial > 0 => {
            (run::Ended::Exit(0), Some(Reads { exit, ..reads }))
        }
        as_is => as_is,
    };
    Ok(match ended {
        run::Ended::Exit(0) => {
            collect::log(outside)?;
            Report::Done { missing: collect::outputs(manifest, staged, &before, reads.as_ref(), outside)? }
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
    Refused {
        step: String,
        errno: i32,
    },
    Io {
        what: String,
        error: io::Error,
    },
    Misbehaved(String),
    /// As [`Report::NotAhead`].
    NotAhead,
    /// As [`Report::NoRoom`].
    NoRoom,
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
            Error::NotAhead => Self::NotAhead,
            Error::NoRoom => Self::NoRoom,
        }
    }
}
