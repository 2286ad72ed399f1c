//! Runs one job in a sandbox: starts a keeper (see [`crate::runner`]), tells it what to do, waits, and ends it in time.
//! Needs no rights but those of an ordinary user.

use crate::obstacle::obstacle;
use crate::runner::{self, Edge, Report, Work};
use bstr::{BStr, BString};
use nixstore::text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One run of a builder.
pub struct Job<'a> {
    /// The program `splitter-runner`, by its physical path.
    pub runner: &'a Path,
    /// What to run.
    pub program: Program<'a>,
    /// An existing directory, empty or not: the root is mounted over it, where only the job sees it. Jobs may share it.
    pub root: &'a Path,
    /// The directory of this build, on the store's file system: `store/` (outputs appear there under the base name of
    /// their scratch path) and `build/` (a builder's `/build`) exist in it and are empty, but for the files that
    /// `build/` holds structured attributes and `passAsFile` in.
    pub scratch: &'a Path,
    /// Gets standard output and standard error; empty, and open for reading too.
    pub log: File,
    /// The longest it may run.
    pub timeout: Option<Duration>,
    /// Set by somebody else to stop it.
    pub cancelled: &'a AtomicBool,
}

/// What a job runs.
pub enum Program<'a> {
    /// Any builder, as Nix runs it.
    Builder {
        /// Its logical path.
        program: &'a BStr,
        /// Its arguments.
        args: &'a [BString],
        /// All of its environment.
        env: &'a BTreeMap<BString, BString>,
        /// All it can read: logical path, physical path.
        inputs: BTreeMap<PathBuf, PathBuf>,
        /// Whether it may use the network.
        network: bool,
        /// Whether it is made for 32 bits and the kernel for 64.
        narrow: bool,
    },
    /// An edge's manifest: its inputs are staged from the physical store.
    Edge {
        /// The structured attributes as JSON, `outputs` filled in.
        attributes: &'a [u8],
        /// The physical store directory.
        store: &'a Path,
    },
    /// Nothing: [`run`] says whether a sandbox can be made.
    Nothing,
}

/// How a job ended. All its processes have ended, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
    /// As [`Failure::Undeclared`](nixstore::store::Failure::Undeclared).
    Undeclared(Vec<String>),
}

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The store was not told of the program that makes sandboxes.
    #[error("no program that makes sandboxes is known; `splitter-runner` is to be installed")]
    NoRunner,
    /// The host has no shell for builders.
    #[error("cannot find out what `/bin/sh` needs")]
    NoShell(#[source] io::Error),
    /// A process could not be started or waited for.
    #[error("cannot run `{}`", .runner.display())]
    Start {
        /// The program.
        runner: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The kernel refused a part of the sandbox.
    #[error("cannot {step}; {obstacle}")]
    Refused {
        /// Which step of setting it up.
        step: String,
        /// The setting that is in the way, as far as it can be told.
        obstacle: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// Runs a job to its end.
///
/// # Errors
/// [`SandboxError`] where it cannot be started.
pub fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    let failed = |error| SandboxError::Start { runner: job.runner.into(), error };
    let order = order(job).map_err(failed)?;
    let (answer, status) = match converse(job, &order).map_err(failed)? {
        Conversation::Stopped(ended) => return Ok(ended),
        Conversation::Over { answer, status } => (answer, status),
    };
    if answer.is_empty() {
        // It was ended from outside, or could not begin: its log says why.
        return Ok(status.signal().map_or(Ended::Exit(status.code().unwrap_or(MISBEHAVED)), Ended::Signal));
    }
    let report: Report = serde_json::from_slice(&answer).map_err(|error| failed(error.into()))?;
    let mut log = &job.log;
    match report {
        Report::Done { .. } => Ok(Ended::Exit(0)),
        Report::Exit(code) => Ok(Ended::Exit(code)),
        Report::Signal(signal) => Ok(Ended::Signal(signal)),
        Report::Undeclared(paths) => Ok(Ended::Undeclared(paths)),
        Report::Misbehaved(what) | Report::Error(what) => {
            writeln!(log, "splitter: {what}").map_err(failed)?;
            Ok(Ended::Exit(MISBEHAVED))
        }
        Report::Refused { step, errno } => {
            let obstacle = obstacle(&step);
            Err(SandboxError::Refused { step, obstacle, error: io::Error::from_raw_os_error(errno) })
        }
    }
}

/// The exit code of what succeeded but did what it must not do, or could not be run; the log says what.
const MISBEHAVED: i32 = 125;

/// What the keeper is told.
fn order(job: &Job<'_>) -> io::Result<Vec<u8>> {
    let place = |name: &str| job.scratch.join(name);
    let text = |bytes: &BString| text::from_bytes(bytes);
    let work = match &job.program {
        Program::Edge { attributes, store } => {
            let manifest: &RawValue = serde_json::from_slice(attributes)?;
            Work::Edge(Edge { manifest, store: store.to_path_buf(), outputs: place("store") })
        }
        Program::Builder { program, args, env, inputs, network, narrow } => Work::Builder(runner::Builder {
            program: text::from_bytes(program),
            args: args.iter().map(text).collect(),
            env: env.iter().map(|(key, value)| (text(key), text(value))).collect(),
            inputs: inputs.clone(),
            store: place("store"),
            build: place("build"),
            network: *network,
            narrow: *narrow,
        }),
        Program::Nothing => Work::Nothing,
    };
    Ok(serde_json::to_vec(&runner::Job { root: job.root.into(), work })?)
}

/// What came of a keeper.
enum Conversation {
    /// It has ended by itself.
    Over {
        /// A [`Report`], or nothing.
        answer: Vec<u8>,
        status: ExitStatus,
    },
    /// It was stopped.
    Stopped(Ended),
}

/// Starts a keeper, tells it `order` and waits for its answer, or ends it.
fn converse(job: &Job<'_>, order: &[u8]) -> io::Result<Conversation> {
    let start = Instant::now();
    let (mut socket, theirs) = UnixStream::pair()?;
    // Without the environment of whoever started us: one of Nix's variables makes the runner a builder of Nix.
    let mut command = Command::new(job.runner);
    command.env_clear();
    command.stdin(OwnedFd::from(theirs)).stdout(job.log.try_clone()?).stderr(job.log.try_clone()?);
    let mut child = command.spawn()?;
    drop(command); // and with it our copy of the other end
    match socket.write_all(order).and_then(|()| socket.shutdown(Shutdown::Write)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {} // it has ended already
        result => result?,
    }
    let mut answer = Vec::new();
    let ended = loop {
        // Where it is over only when the keeper and the first process have closed their ends.
        match readable(&socket, job.timeout.map(|timeout| timeout.saturating_sub(start.elapsed())))? {
            true => {
                let mut part = [0; 4096];
                match socket.read(&mut part)? {
                    0 => break None,
                    size => answer.extend_from_slice(&part[..size]),
                }
            }
            false if job.timeout.is_some_and(|timeout| start.elapsed() >= timeout) => break Some(Ended::TimedOut),
            false if job.cancelled.load(Ordering::Relaxed) => break Some(Ended::Cancelled),
            false => {}
        }
    };
    if ended.is_some() {
        stop(&child);
    }
    let status = child.wait()?;
    Ok(match ended {
        Some(ended) => Conversation::Stopped(ended),
        None => Conversation::Over { answer, status },
    })
}

/// How often the user's wish to stop is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until there is something to read, or for a moment.
fn readable(socket: &UnixStream, left: Option<Duration>) -> io::Result<bool> {
    let wait = left.map_or(LOOK, |left| left.min(LOOK));
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Asks the keeper to end; it ends all else first.
fn stop(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok(); // it may have just ended
}
