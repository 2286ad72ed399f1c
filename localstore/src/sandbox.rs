//! Runs one job in a sandbox: starts a keeper (see [`crate::runner`]), tells it what to do, waits, and ends it in time.
//! Needs no rights but those of an ordinary user.

use crate::obstacle::obstacle;
use crate::runner::{self, Edge, Place, Report, Work};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::HeadStart;
use nixstore::text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One run of a builder.
pub struct Job<'a> {
    /// What to run.
    pub program: Program<'a>,
    /// The directory of this build, on the store's file system: `store/` (outputs appear there under the base name of
    /// their scratch path) exists in it and is empty, and for a builder `build/` (its `/build`), which holds only the files of
    /// structured attributes and `passAsFile`.
    pub scratch: &'a Path,
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
        /// Whether it may use the network, which its place has to have.
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
    /// Nothing: how it ends says whether a sandbox can be made.
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
    /// It has not been run, as its head start was of no use: another keeper has to run it.
    NotAhead,
    /// It may need more than the memory that it had: it is to be run in a sandbox on the disk.
    NoRoom,
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

/// A keeper that has been started, and makes its sandbox while what is to be done there is being found out. It is ended when this
/// is dropped.
pub struct Keeper {
    runner: PathBuf,
    // Closed first: who is refused namespaces has nothing else to hear that it is to end by.
    socket: UnixStream,
    process: Process,
    log: File,
    /// The log is in no directory yet.
    is_log_in_memory: bool,
    /// It knows its job.
    is_told: bool,
}

/// A keeper that has reported: nothing is left to it but to end.
pub struct Leaving(Process);

/// A child of ours, which nobody else waits for.
struct Process {
    pid: Pid,
    /// Nothing is to be ended.
    is_over: bool,
    /// How it has ended, if it was waited for.
    status: Option<WaitStatus>,
}

impl Keeper {
    /// Starts `runner`, the program `splitter-runner`, by its physical path. Of a sandbox the root is mounted over a directory that
    /// is there, empty or not, where only the job sees it: jobs in memory may share it. `log` gets standard output and standard error; it is
    /// empty, and open for reading too.
    ///
    /// # Errors
    /// [`SandboxError::Start`].
    pub fn start(runner: &Path, place: &Place, log: File) -> Result<Self, SandboxError> {
        Self::start_by(&|orders, log| spawn(runner, orders, log), runner, place, log)
    }

    /// Starts one as a copy of this process, for a job whose directory is not known yet. None where there are threads.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn fork(place: &Place) -> Result<Option<Self>, SandboxError> {
        let program = Path::new("/proc/self/exe");
        let failed = |error| SandboxError::Start { runner: program.into(), error };
        if !runner::can_fork() {
            return Ok(None);
        }
        let log =
            memfd_create("log", MemfdFlags::CLOEXEC).and_then(|log| fcntl_setfl(&log, OFlags::APPEND).map(|()| log));
        let log = File::from(log.map_err(|errno| failed(errno.into()))?);
        let keeper = Self::start_by(&|orders, log| runner::fork(&orders, log), program, place, log)?;
        Ok(Some(Self { is_log_in_memory: true, ..keeper }))
    }

    fn start_by(
        start: &dyn Fn(OwnedFd, &File) -> io::Result<Pid>,
        runner: &Path,
        place: &Place,
        log: File,
    ) -> Result<Self, SandboxError> {
        let begin = || -> io::Result<(Process, UnixStream)> {
            let (mut socket, theirs) = UnixStream::pair()?;
            let process = Process { pid: start(theirs.into(), &log)?, is_over: false, status: None };
            tell_whole(&mut socket, place)?;
            Ok((process, socket))
        };
        let (process, socket) = begin().map_err(|error| SandboxError::Start { runner: runner.into(), error })?;
        Ok(Self { runner: runner.into(), process, socket, log, is_log_in_memory: false, is_told: false })
    }

    /// Has the program of an edge begun whose inputs are still being found out: what it then runs is that edge, in a directory
    /// below `builds`.
    ///
    /// # Errors
    /// [`SandboxError::Start`].
    pub(crate) fn begin(&mut self, start: &HeadStart, builds: &Path, store: &Path) -> Result<(), SandboxError> {
        let (store, builds) = (store.into(), builds.into());
        let order = runner::Ahead { head_start: runner::HeadStartOrder { start: start.clone(), store, builds } };
        tell_whole(&mut self.socket, &order).map_err(|error| SandboxError::Start { runner: self.runner.clone(), error })
    }

    /// Has it begin a job that [`Keeper::run`] will probably be called with; whoever calls is at work meanwhile.
    ///
    /// # Errors
    /// [`SandboxError::Start`].
    pub fn begin_job(&mut self, program: &Program<'_>, scratch: &Path) -> Result<(), SandboxError> {
        self.tell(program, scratch)?;
        tell(&mut self.socket, &[runner::END])
            .map_err(|error| SandboxError::Start { runner: self.runner.clone(), error })
    }

    fn tell(&mut self, program: &Program<'_>, scratch: &Path) -> Result<(), SandboxError> {
        let failed = |error| SandboxError::Start { runner: self.runner.clone(), error };
        let order = order(program, scratch).map_err(failed)?;
        self.is_told = true;
        tell(&mut self.socket, &order).map_err(failed)
    }

    /// Has it run a job to its end. All that the job did is in place then.
    ///
    /// # Errors
    /// [`SandboxError`] where it cannot be run.
    pub fn run(mut self, job: &Job<'_>) -> Result<(Ended, Leaving), SandboxError> {
        if !self.is_told {
            self.tell(&job.program, job.scratch)?;
        }
        let failed = |error| SandboxError::Start { runner: self.runner.clone(), error };
        self.socket.shutdown(Shutdown::Write).or_else(unless_ended).map_err(failed)?;
        if !self.is_log_in_memory {
            return self.run_to_its_end(job);
        }
        let failed = |error| SandboxError::Start { runner: "/proc/self/exe".into(), error };
        let log = self.log.try_clone().map_err(failed)?;
        let result = self.run_to_its_end(job);
        write_log(&log, &job.scratch.join(LOG)).map_err(failed)?;
        result
    }

    fn run_to_its_end(self, job: &Job<'_>) -> Result<(Ended, Leaving), SandboxError> {
        let Self { runner, mut process, mut socket, mut log, .. } = self;
        let failed = |error| SandboxError::Start { runner: runner.clone(), error };
        let answer = match hear(&mut socket, job, &mut process).map_err(failed)? {
            Answer::Line(answer) => answer,
            Answer::Stopped(ended) => return Ok((ended, Leaving(process))),
            Answer::Nothing => {
                // It could not begin, and its log says why; or somebody has ended it, or what does the job.
                let status = process.end().map_err(failed)?;
                let killed = Ended::Signal(Signal::KILL.as_raw());
                let ended = match (status.terminating_signal(), status.exit_status()) {
                    _ if job.cancelled.load(Ordering::Relaxed) => Ended::Cancelled,
                    (Some(signal), _) => Ended::Signal(signal),
                    (None, None | Some(0)) => killed,
                    (None, Some(code)) => Ended::Exit(code),
                };
                return Ok((ended, Leaving(process)));
            }
        };
        process.is_over = true;
        let ended = match serde_json::from_slice(&answer).map_err(|error| failed(error.into()))? {
            Report::Done { .. } => Ended::Exit(0),
            Report::Exit(code) => Ended::Exit(code),
            Report::Signal(signal) => Ended::Signal(signal),
            Report::Undeclared(paths) => Ended::Undeclared(paths),
            Report::NotAhead => Ended::NotAhead,
            Report::NoRoom => Ended::NoRoom,
            Report::Misbehaved(what) | Report::Error(what) => {
                writeln!(log, "splitter: {what}").map_err(failed)?;
                Ended::Exit(MISBEHAVED)
            }
            Report::Refused { step, errno } => {
                let obstacle = obstacle(&step);
                return Err(SandboxError::Refused { step, obstacle, error: io::Error::from_raw_os_error(errno) });
            }
        };
        Ok((ended, Leaving(process)))
    }
}

impl Leaving {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.wait(WaitOptions::NOHANG), Ok(None))
    }
}

impl Process {
    /// Asks the keeper to end; it ends all else first.
    fn stop(&mut self) -> io::Result<()> {
        kill_process(self.pid, Signal::TERM).ok(); // it may have just ended
        self.end().map(drop)
    }

    /// Waits until it has ended.
    fn end(&mut self) -> io::Result<WaitStatus> {
        self.is_over = true;
        loop {
            if let Some(status) = self.wait(WaitOptions::empty())? {
                return Ok(status);
            }
        }
    }

    fn wait(&mut self, options: WaitOptions) -> io::Result<Option<WaitStatus>> {
        if self.status.is_none() {
            self.status = match waitpid(Some(self.pid), options) {
                Ok(ended) => ended.map(|(_, status)| status),
                Err(rustix::io::Errno::INTR) => None,
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(self.status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_over || self.status.is_some() {
            self.end().ok(); // it is nobody else's child
        } else {
            // Killed, it would leave the first process to whoever reaps orphans, and some containers have nobody who does.
            self.stop().ok();
        }
    }
}

fn spawn(runner: &Path, orders: OwnedFd, log: &File) -> io::Result<Pid> {
    // Without the environment of whoever started us: one of Nix's variables makes the runner a builder of Nix.
    let mut command = Command::new(runner);
    command.env_clear().stdin(orders).stdout(log.try_clone()?).stderr(log.try_clone()?);
    Ok(Pid::from_child(&command.spawn()?))
}

/// The exit code of what succeeded but did what it must not do, or could not be run; the log says what.
const MISBEHAVED: i32 = 125;

/// Where outputs are put, below the directory of a build.
pub(crate) const OUTPUTS: &str = "store";

/// What is printed, there.
pub(crate) const LOG: &str = "log";

/// Writes what was printed, if it is anything.
fn write_log(log: &File, to: &Path) -> io::Result<()> {
    let mut text = vec![0; log.metadata()?.len() as usize];
    log.read_exact_at(&mut text, 0)?;
    if text.is_empty() { Ok(()) } else { fs::write(to, text) }
}

/// What the keeper is told.
fn order(program: &Program<'_>, scratch: &Path) -> io::Result<Vec<u8>> {
    let place = |name: &str| scratch.join(name);
    let text = |bytes: &BString| text::from_bytes(bytes);
    let work = match program {
        Program::Edge { attributes, store } => {
            let manifest: &RawValue = serde_json::from_slice(attributes)?;
            Work::Edge(Edge { manifest, store: store.to_path_buf(), outputs: place(OUTPUTS) })
        }
        Program::Builder { program, args, env, inputs, network, narrow } => Work::Builder(runner::Builder {
            program: text::from_bytes(program),
            args: args.iter().map(text).collect(),
            env: env.iter().map(|(key, value)| (text(key), text(value))).collect(),
            inputs: inputs.clone(),
            store: place(OUTPUTS),
            build: place("build"),
            network: *network,
            narrow: *narrow,
        }),
        Program::Nothing => Work::Nothing,
    };
    Ok(serde_json::to_vec(&work)?)
}

fn tell_whole(socket: &mut UnixStream, order: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(order)?;
    text.push(runner::END);
    tell(socket, &text)
}

fn tell(socket: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    socket.write_all(text).or_else(unless_ended)
}

/// No error where the one that would be told has ended already.
fn unless_ended(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}

/// What is heard of a keeper.
enum Answer {
    /// A [`Report`].
    Line(Vec<u8>),
    /// It ends without one.
    Nothing,
    /// It was stopped, and has ended.
    Stopped(Ended),
}

/// Waits for the answer of a keeper, or ends it.
fn hear(socket: &mut UnixStream, job: &Job<'_>, process: &mut Process) -> io::Result<Answer> {
    let start = Instant::now();
    let mut answer = Vec::new();
    loop {
        match readable(socket, job.timeout.map(|timeout| timeout.saturating_sub(start.elapsed())))? {
            true => {
                let mut part = [0; 4096];
                let size = socket.read(&mut part)?;
                answer.extend_from_slice(&part[..size]);
                if let Some(end) = answer.find_byte(b'\n') {
                    answer.truncate(end); // the first report is the one that counts
                    return Ok(Answer::Line(answer));
                }
                if size == 0 {
                    return Ok(Answer::Nothing);
                }
            }
            false if job.timeout.is_some_and(|timeout| start.elapsed() >= timeout) => {
                return process.stop().map(|()| Answer::Stopped(Ended::TimedOut));
            }
            false if job.cancelled.load(Ordering::Relaxed) => {
                return process.stop().map(|()| Answer::Stopped(Ended::Cancelled));
            }
            false => {}
        }
    }
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
