//! Drives a plan: one thread owns it; workers do the steps, and send back what came of them.

use crate::audit::Finding;
use crate::contents::Contents;
use crate::discover::headers::Headers;
use crate::discover::{Found, parent, to_path};
use crate::graph::{Deps, EdgeId, FileId, Graph, absolute};
use crate::history::History;
use crate::identity::Identity;
use crate::jobserver::Jobserver;
use crate::lower::Toolchain;
use crate::outside::{Asked, Outside};
use crate::plan::Plan;
use crate::presence::Presence;
use crate::queue::Queue;
use crate::roots::{Mode, Roots};
use crate::showincludes::without_includes;
use crate::state::{self, Records, State};
use crate::step::{Ahead, Failed, Outcome, Steps, Versions};
pub use crate::step::{NoProduct, NoStore, NoTools, One, Product};
use crate::toolchain::Probe;
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::store::Failure;
use nixstore::{Store, StorePath};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;
use std::{fs, io, thread};

/// How long it takes until somebody else is seen to leave a processor.
const HELD_BACK: Duration = Duration::from_millis(20);

/// Gives each command the host's tools that it needs.
pub trait Toolchains: Sync {
    /// The snapshot for a command that names the host's `programs` and reads the host's `files`. `own` are programs and
    /// libraries of the project that it runs, whose libraries it needs too.
    ///
    /// # Errors
    /// A phrase for the user: what could not be found or copied.
    fn snapshot(
        &self,
        programs: &BTreeSet<PathBuf>,
        own: &BTreeSet<PathBuf>,
        files: &BTreeSet<PathBuf>,
        shell: bool,
    ) -> Result<Arc<Toolchain>, Error>;

    /// Of `files` that a snapshot was made for, as few as give the same snapshot.
    fn essential(&self, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf>;

    /// What `-march=native` means to a compiler driver on this processor.
    fn native(&self, driver: &std::path::Path) -> Option<String>;

    /// Files that tell by their identity whether the tools are still the same.
    fn probes(&self) -> Vec<Probe>;
}

/// Another program that has built in the same directory.
pub trait Adopt: Sync {
    /// What an edge read besides what is `stated`, which is absolute, where the other has built it and takes it for up to
    /// date.
    fn read_by(&self, edge: EdgeId, stated: &[BString]) -> Option<Vec<BString>>;
}

/// Any error, with what caused it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a run works with.
pub struct Drive<'a> {
    /// The build.
    pub graph: &'a Graph,
    /// Where derivations are realised.
    pub store: &'a dyn Store,
    /// The host's tools.
    pub tools: &'a dyn Toolchains,
    /// The builder of every derivation, in the store.
    pub runner: StorePath,
    /// What was scanned before, by this run alone.
    pub headers: &'a Headers,
    /// What steps have read before, if that is kept.
    pub history: Option<&'a History>,
    /// Where the project's directories are.
    pub roots: Roots,
    /// Which edges are run at the canonical roots.
    pub mode: Mode,
    /// What commands see of the host.
    pub sandbox: Sandbox,
    /// Commands that the user does not want in the sandbox.
    pub outside: &'a Asked,
    /// Edges that were run before, since they make the build file: whoever needs them takes them for up to date.
    pub settled: &'a BTreeSet<EdgeId>,
    /// Who else has built here, if that is to be taken over.
    pub adopt: Option<&'a dyn Adopt>,
    /// Whether commands are given what they were seen to read, and no more, once that is known.
    pub exact: bool,
    /// Whether it is told and remembered of all files of the host that a command reads, and not only of as many as ask for
    /// the same tools.
    pub every_file: bool,
    /// Whether what commands do with files is compared with what is stated of them.
    pub audited: bool,
    /// Whether commands are run though the store knows what comes out.
    pub afresh: bool,
    /// How many steps at once; at least 1.
    pub jobs: usize,
    /// Who else's commands share the processors, if it is known.
    pub jobserver: Option<&'a Jobserver>,
    /// What commands that run where they are have in their environment besides that of this process.
    pub environment: BTreeMap<OsString, OsString>,
    /// No step is begun beside others while the load average of the machine is greater.
    pub load: Option<f64>,
    /// How many steps may fail before no more are started.
    pub failures: usize,
    /// Files for commands, or from them, that are left in the build directory though nobody needs them there.
    pub keep: Keep,
    /// Set from outside to stop.
    pub cancelled: &'a AtomicBool,
    /// How the store may begin a step of which it takes long to find out what it reads.
    pub likely: Option<Likely<'a>>,
    /// Told what a command reads, while it runs.
    pub meanwhile: Option<&'a (dyn Fn(&Found) + Sync)>,
}

/// What is probably right of a step, and who wants to know that it has begun.
#[derive(Clone)]
pub struct Likely<'a> {
    /// The host's tools that it needs.
    pub tools: Arc<Toolchain>,
    /// Told before the store begins it.
    pub begins: &'a (dyn Fn() + Sync),
}

/// Files that a build removes, or does not write, unless it is asked to keep them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Those in which a command says what it has read.
    pub depfiles: bool,
    /// Those in which it gets its arguments.
    pub response_files: bool,
}

/// What commands see of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Nothing: they run in a root of their own that holds their inputs.
    Root,
    /// Everything: they run where they are. They are traced, and what they read is compared with their inputs.
    None,
}

/// What is told of a run while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// A step begins.
    Begun {
        /// Which.
        edge: EdgeId,
        /// Why its command runs now and has the terminal, if it does.
        terminal: Option<Reason>,
    },
    /// It is over.
    Ended(Event),
    /// All are over, and this is known of them. Who writes into the build directory does it now: then it is looked at, so
    /// that later changes are seen.
    Over(&'a Records),
}

/// What came of one edge, as it is told to the user.
#[derive(Debug)]
pub struct Event {
    /// Which.
    pub edge: EdgeId,
    /// What was done.
    pub done: Done,
    /// What the command printed.
    pub log: Vec<u8>,
    /// Why the command ran where it is, if it did.
    pub outside: Option<Outside>,
    /// What binds the edge to its path, so that another checkout cannot share it.
    pub bound: Option<BString>,
    /// What the user should know of it.
    pub warning: Option<String>,
    /// Where it differs from what is stated of it, if that was asked for and it was made now.
    pub findings: Vec<Finding>,
}

/// What was done for an edge.
#[derive(Debug)]
pub enum Done {
    /// Nothing: inputs and outputs are as they were.
    UpToDate,
    /// The outputs came from the store.
    Reused(Reason),
    /// The command ran.
    Ran(Reason),
    /// The command ran, or could not; the edges that need it are not tried.
    Failed(Error),
}

/// Why an edge was not up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known of it here.
    New,
    /// The command is another.
    Command,
    /// It was built with `--root=canonical` and now is not, or the other way about.
    Mode,
    /// An input has other content.
    Input(BString),
    /// A file appeared where one had been looked for.
    Appeared(BString),
    /// A directory that it listed holds other names.
    Listed(BString),
    /// It was made outside of a sandbox.
    Unisolated,
    /// Nobody has looked yet at what it does with files.
    Untraced,
    /// The host's tools are others.
    Tools,
    /// It needs a file that is never there, which is how a build file asks to run it each time.
    Always,
    /// Nobody can know whether it is.
    EachTime,
    /// An output is gone or was changed by somebody else.
    Output(BString),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => write!(f, "not built here before"),
            Self::Command => write!(f, "command changed"),
            Self::Mode => write!(f, "another root mode"),
            Self::Input(path) => write!(f, "`{path}` changed"),
            Self::Appeared(path) => write!(f, "`{path}` appeared"),
            Self::Listed(path) => write!(f, "`{path}` holds other files"),
            Self::Unisolated => write!(f, "made outside of a sandbox"),
            Self::Untraced => write!(f, "not traced before"),
            Self::Tools => write!(f, "tools of the host changed"),
            Self::Always => write!(f, "always out of date"),
            Self::EachTime => write!(f, "run each time"),
            Self::Output(path) => write!(f, "`{path}` is missing or was changed"),
        }
    }
}

/// Why a plan is not begun.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A source that is not there, in Ninja's words.
    #[error("'{path}', needed by '{user}', missing and no known rule to make it")]
    MissingSource {
        /// The file.
        path: BString,
        /// The first output of an edge that reads it.
        user: BString,
    },
}

impl Drive<'_> {
    /// Runs a plan and tells of each edge as it is done. Answers whether all succeeded, and what is to be remembered.
    ///
    /// # Errors
    /// [`Refused`], before anything runs.
    pub fn run(
        &self,
        plan: &Plan,
        old: &Records,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<(bool, State, Records), Refused> {
        let steps = self.steps(plan, old)?;
        // What this run does not look at, as it has another target or is stopped, is kept for the next.
        let (by_name, contents) = (old.by_name.clone(), old.contents.clone());
        let mut records = Records { by_name, contents, ..Records::default() };
        let mut done = BTreeSet::new();
        let mut note = |news: News<'_>| {
            if let News::Ended(Event { edge, done: Done::UpToDate | Done::Reused(_) | Done::Ran(_), .. }) = &news {
                done.insert(*edge);
            }
            tell(news);
        };
        let success = self.work(plan, &steps, &mut records, &mut note);
        steps.order_times(&done, &records);
        tell(News::Over(&records));
        let state = self.remember(plan, steps, &mut records);
        Ok((success, state, records))
    }

    /// The edges that a run would not find up to date, each with the reason, as far as can be said without running any:
    /// the users of what would be made anew are among them, though they may turn out to be up to date.
    ///
    /// # Errors
    /// As [`Drive::run`], and where a file cannot be read.
    pub fn would_run(&self, plan: &Plan, old: &Records) -> Result<Vec<(EdgeId, Reason)>, Error> {
        self.steps(plan, old)?.would_run()
    }

    /// What all steps share, where they can be begun.
    pub(crate) fn steps<'a>(&'a self, plan: &'a Plan, old: &'a Records) -> Result<Steps<'a>, Refused> {
        self.check_sources(plan)?;
        let always = plan.always(self.graph, &|file| fs::symlink_metadata(to_path(self.path(file).as_bstr())).is_ok());
        Ok(Steps {
            drive: self,
            plan,
            old,
            contents: Contents::new(self.store, &old.contents),
            same_tools: !old.probes.is_empty() && old.probes.iter().all(state::is_same),
            always,
            outside_too: AtomicBool::new(false),
            left: Mutex::new(old.left.clone()),
            project: OnceLock::new(),
            written_through: OnceLock::new(),
            headers: self.headers,
            presence: Presence::default(),
            versions: Versions::new(self.graph, plan, old),
            ahead: Ahead::default(),
            bound: Mutex::default(),
        })
    }

    /// Does the steps; answers whether all succeeded.
    fn work(&self, plan: &Plan, steps: &Steps<'_>, records: &mut Records, tell: &mut dyn FnMut(News<'_>)) -> bool {
        let mut queue = Queue::new(self.graph, plan);
        if self.store.is_remote() {
            queue.hurry(&steps.look_ahead());
        }
        let mut failed = 0;
        let (jobs_in, jobs_out) = mpsc::channel::<EdgeId>();
        let jobs_out = Mutex::new(jobs_out);
        let (results_in, results_out) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                let (jobs_out, results_in) = (&jobs_out, results_in.clone());
                scope.spawn(move || {
                    loop {
                        let job = jobs_out.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(edge) = job else { break };
                        // A step that nobody answered for would be waited for without end.
                        let step = panic::catch_unwind(AssertUnwindSafe(|| steps.step(edge)));
                        let result =
                            step.unwrap_or_else(|_| Err(Error::from("an error of our own, told above").into()));
                        if results_in.send((edge, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            let jobs_in = jobs_in; // dropped at the end, which ends the workers
            let mut running = 0;
            loop {
                let stop = failed >= self.failures || self.cancelled.load(Ordering::Relaxed);
                let mut is_held_back = false;
                while !stop && running < self.jobs {
                    let Some(edge) = queue.first() else { break };
                    if self.graph.edge(edge).phony {
                        queue.take();
                        queue.done(edge);
                        continue;
                    }
                    if steps.is_to_be_looked_at(edge) {
                        queue.hurry(&steps.look_further(edge, &queue));
                        continue;
                    }
                    is_held_back = running > 0 && !self.may_begin_another();
                    if is_held_back {
                        break;
                    }
                    queue.take();
                    tell(News::Begun { edge, terminal: steps.due_on_terminal(edge) });
                    jobs_in.send(edge).expect("workers live as long as the channel");
                    running += 1;
                }
                if running == 0 {
                    break;
                }
                let answer = match is_held_back {
                    true => results_out.recv_timeout(HELD_BACK).ok(),
                    false => Some(results_out.recv().expect("a running worker answers")),
                };
                let Some((edge, result)) = answer else { continue };
                running -= 1;
                if let Some(jobserver) = self.jobserver.filter(|_| running > 0) {
                    jobserver.give_back();
                }
                let shown = |log: Vec<u8>| self.shown(edge, log);
                let event = match result {
                    Ok(Outcome { done, log, record, outside, bound, warning, findings, .. }) => {
                        queue.done(edge);
                        records.by_name.extend(record.map(|record| (self.name(edge), record)));
                        Event { edge, done, log: shown(log), outside, bound, warning, findings }
                    }
                    // It did not fail, but was not let end.
                    Err(failed) if matches!(failed.error.downcast_ref(), Some(Failure::Cancelled)) => continue,
                    Err(Failed { error, log }) => {
                        queue.ended(edge);
                        failed += 1;
                        let (done, log) = (Done::Failed(error), shown(log));
                        Event { edge, done, log, outside: None, bound: None, warning: None, findings: Vec::new() }
                    }
                };
                tell(News::Ended(event));
            }
        });
        failed == 0 && queue.is_empty()
    }

    /// What a user is shown of a command's output.
    fn shown(&self, edge: EdgeId, log: Vec<u8>) -> Vec<u8> {
        let command = self.graph.command(edge);
        if command.deps == Deps::Msvc { without_includes(&log, &command.msvc_deps_prefix) } else { log }
    }

    /// Whether a step may be begun besides those that run.
    fn may_begin_another(&self) -> bool {
        !self.is_overloaded() && self.jobserver.is_none_or(Jobserver::take)
    }

    /// Whether the machine has more to do than it may have. Source: proc_loadavg(5).
    fn is_overloaded(&self) -> bool {
        let Some(most) = self.load.filter(|most| *most > 0.0) else { return false };
        let average = fs::read_to_string("/proc/loadavg").ok();
        let average = average.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        average.is_some_and(|average| average > most)
    }

    /// What the next run looks at.
    fn remember(&self, plan: &Plan, steps: Steps<'_>, records: &mut Records) -> State {
        let mut state = State::default();
        records.left = steps.left.into_inner().unwrap_or_else(PoisonError::into_inner);
        // What a command looked for before another wrote it undeclared is not a change.
        let left: BTreeSet<BString> = records.left.values().flatten().cloned().collect();
        if !left.is_empty() {
            records.by_name.values_mut().for_each(|record| record.found.forget_absent(&left));
        }
        if !steps.always.is_empty() || steps.outside_too.load(Ordering::Relaxed) {
            // Whatever else is as it was, there is something to do.
            state.watched.push(("/".into(), None));
        }
        let of_plan: Vec<_> = plan.order.iter().filter_map(|edge| records.by_name.get(&self.name(*edge))).collect();
        let files: BTreeSet<&BString> =
            of_plan.iter().flat_map(|record| record.inputs.keys().chain(record.outputs.keys())).collect();
        for (path, standing, content) in steps.contents.into_identities() {
            match standing {
                Some(identity) => drop(records.contents.insert(path.clone(), (identity, content.to_string()))),
                None => drop(records.contents.remove(&path)),
            }
            // Not what was only shown to a command, which did not read it.
            if files.contains(&path) {
                state.watched.push((path, standing));
            }
        }
        let directories: BTreeSet<&BString> = of_plan.iter().flat_map(|record| record.found.watched()).collect();
        state.watched.extend(directories.into_iter().flat_map(|path| with_links(path.as_bstr())));
        // One that has changed since it was looked at is a change for the next run.
        let probes = self.tools.probes().into_iter();
        records.probes = probes.map(|probe| (probe.path.as_os_str().as_bytes().into(), probe.identity)).collect();
        state.watched.extend(records.probes.iter().cloned());
        state
    }

    fn check_sources(&self, plan: &Plan) -> Result<(), Refused> {
        let missing = |file: &&FileId| fs::metadata(to_path(self.path(**file).as_bstr())).is_err();
        let Some(file) = plan.sources.iter().find(missing) else { return Ok(()) };
        let user = plan.order.iter().find(|edge| self.graph.edge(**edge).inputs.contains(file));
        let path = self.graph.file(*file).path.to_owned();
        Err(Refused::MissingSource { user: user.map_or_else(|| path.clone(), |edge| self.name(*edge)), path })
    }

    /// The absolute path of a file.
    pub(crate) fn path(&self, file: FileId) -> BString {
        absolute(self.graph.file(file).path.as_bstr(), self.graph.working_directory())
    }

    /// The first output, by which an edge is known from run to run.
    pub(crate) fn name(&self, edge: EdgeId) -> BString {
        self.graph.edge(edge).outputs.first().map(|file| self.graph.file(*file).path.to_owned()).unwrap_or_default()
    }

    /// Explicit and implicit inputs, phony ones replaced by what stands behind them.
    pub(crate) fn stated(&self, edge: EdgeId) -> Vec<BString> {
        let mut stated = Vec::new();
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<FileId> = self.graph.edge(edge).dirtying().iter().rev().copied().collect();
        while let Some(file) = waiting.pop() {
            if !seen.insert(file) {
                continue;
            }
            match self.graph.file(file).maker.map(|maker| self.graph.edge(maker)) {
                Some(maker) if maker.phony => waiting.extend(maker.inputs.iter().rev()),
                _ => stated.push(self.path(file)),
            }
        }
        stated
    }
}

/// A path with its identity, and where it is a link, what that leads to step by step: in a directory behind a link files
/// appear without a change of the link.
fn with_links(path: &BStr) -> Vec<(BString, Option<Identity>)> {
    const MOST: usize = 40; // as the system follows
    let mut steps: Vec<(BString, Option<Identity>)> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take().filter(|_| steps.len() < MOST) {
        let target = fs::read_link(to_path(path.as_bstr())).ok();
        next = target.map(|target| absolute(target.as_os_str().as_bytes().as_bstr(), parent(path.as_bstr())));
        let identity = Identity::of(to_path(path.as_bstr()));
        steps.push((path, identity));
    }
    steps
}

/// Takes the lock of a build directory, which its holder keeps until the file is closed.
///
/// # Errors
/// [`LockError`].
pub fn lock(directory: &std::path::Path, busy: &mut dyn FnMut()) -> Result<fs::File, LockError> {
    let mut take = || {
        fs::create_dir_all(directory)?;
        let file = fs::File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
            busy();
        }
        file.lock()?;
        Ok(file)
    };
    take().map_err(|error| LockError { directory: directory.into(), error })
}

/// A build directory in which nothing can be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the state of this build in `{}`", .directory.display())]
pub struct LockError {
    directory: PathBuf,
    #[source]
    error: io::Error,
}
