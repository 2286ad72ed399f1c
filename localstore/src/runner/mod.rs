//! The runner: one edge, from its manifest to its outputs. It works alone in a process of its own, knows nothing of
//! graphs or databases, and is the same program inside Nix's sandbox and the embedded store's.
//!
//! The processes: the *keeper* (started by the builder) waits; its child, the *first process* of a new PID namespace,
//! builds the root, runs the commands and collects. When the keeper is told to stop or dies, the kernel ends the
//! namespace and everything in it.

mod collect;
mod namespaces;
mod observe;
mod root;
mod run;

use nixstore::manifest::{ABI, Manifest, Step};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Its name, as a program beside the commands and in a store.
pub const NAME: &str = "splitter-runner";

/// What the keeper is told besides the manifest, in the embedded store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The edge.
    pub manifest: Manifest,
    /// Where the store's files are.
    pub store: PathBuf,
    /// An existing directory over which the root is mounted, seen by this process alone.
    pub root: PathBuf,
    /// Where outputs are put, under the base name of their store path.
    pub outputs: PathBuf,
    /// Where the runner says how it ended, as a [`Report`].
    pub report: PathBuf,
}

/// How a runner ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The commands succeeded and the outputs are in place; names those that were not written.
    Done {
        /// Declared outputs that the commands left unwritten.
        missing: Vec<String>,
    },
    /// A command ended with this code.
    Exit(i32),
    /// A command was ended by this signal.
    Signal(i32),
    /// The commands succeeded, but did what an edge must not do.
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

/// The program: the job's file is its only argument. Answers 0 if the outputs are in place.
pub fn main() -> i32 {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("splitter-runner: is started by the store, with the file of a job");
        return 2;
    };
    let job = std::fs::read(&path).map_err(|e| e.to_string());
    let job = match job.and_then(|bytes| serde_json::from_slice::<Job>(&bytes).map_err(|e| e.to_string())) {
        Ok(job) => job,
        Err(e) => {
            eprintln!("splitter-runner: cannot read the job `{}`: {e}", Path::new(&path).display());
            return 2;
        }
    };
    // Opened now: when the first process changes its root, the keeper's changes too.
    let mut file = match std::fs::File::create(&job.report) {
        Ok(file) => file,
        Err(e) => {
            eprintln!("splitter-runner: cannot create `{}`: {e}", job.report.display());
            return 2;
        }
    };
    let report = namespaces::in_first_process(|| work(&job));
    let done = matches!(report, Some(Report::Done { .. }));
    let text = report.map(|report| serde_json::to_vec(&report).expect("a report is plain data")).unwrap_or_default();
    if let Err(e) = file.write_all(&text) {
        eprintln!("splitter-runner: cannot write `{}`: {e}", job.report.display());
        return 2;
    }
    i32::from(!done)
}

/// The first process: root, commands, outputs.
fn work(job: &Job) -> Report {
    let manifest = &job.manifest;
    if manifest.abi != ABI {
        return Report::Error(format!("this runner reads manifests of version {ABI}, not {}", manifest.abi));
    }
    let outside = match root::Outside::open(job) {
        Ok(outside) => outside,
        Err(e) => return e.into(),
    };
    let staged = match root::enter(job) {
        Ok(staged) => staged,
        Err(e) => return e.into(),
    };
    let begun = if manifest.observed { observe::begin(&staged) } else { Ok(()) };
    let before = collect::Before::the_commands(manifest, &staged);
    let ended = begun.and_then(|()| outside.create("log")).and_then(|log| run::commands(manifest, &log));
    let reads = manifest.observed.then(|| observe::end(&staged));
    match ended {
        Err(e) => e.into(),
        Ok(run::Ended::Exit(0)) => match collect::outputs(manifest, &staged, &before, reads.as_ref(), &outside) {
            Ok(missing) => Report::Done { missing },
            Err(e) => e.into(),
        },
        Ok(run::Ended::Exit(code)) => Report::Exit(code),
        Ok(run::Ended::Signal(signal)) => Report::Signal(signal),
        Ok(run::Ended::LeftRunning(names)) => {
            Report::Misbehaved(format!("left running in the background: {}", names.join(", ")))
        }
    }
}

/// What stops a runner.
#[derive(Debug)]
pub(crate) enum Error {
    Refused { step: String, errno: i32 },
    Io { what: String, error: std::io::Error },
    Misbehaved(String),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
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
