//! Drives a plan: each step is discovered, lowered and realised once all before it is in place. One thread owns the
//! plan; workers do the steps and send back what came of them.

use crate::discover::{Found, discover, is_system, still_absent, to_path};
use crate::graph::{Command, Deps, EdgeId, FileId, Graph, Pool, absolute};
use crate::identity::{Identity, TICK};
use crate::lower::{Inputs, Recipe, Toolchain, lower, output, output_names, steps};
use crate::materialise::materialise;
use crate::plan::Plan;
use crate::shell::{Script, Simple, parse};
use crate::state::{Record, State};
use crate::toolchain::Probe;
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::Step;
use nixstore::path::StoreName;
use nixstore::store::{BuildOptions, RealiseError, StoreError};
use nixstore::{OutputName, ResolvedDerivation, Store, StorePath, nar, text};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::SystemTime;
use std::{fs, io, thread};

/// Gives each command the host's tools that it needs.
pub trait Toolchains: Sync {
    /// The snapshot for a command that names the host's `programs` and reads the host's `files`. `own` are programs and
    /// libraries of the project that it runs, whose interpreters and libraries it needs too.
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

    /// Files that tell by their identity whether the tools are still the same.
    fn probes(&self) -> Vec<Probe>;
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
    /// How many steps at once; at least 1.
    pub jobs: usize,
    /// How many steps may fail before no more are started.
    pub failures: usize,
    /// Set from outside to stop.
    pub cancelled: &'a AtomicBool,
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
    /// An input has other content.
    Input(BString),
    /// A file appeared where one had been looked for.
    Appeared(BString),
    /// An output is gone or was changed by somebody else.
    Output(BString),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => write!(f, "not built here before"),
            Self::Command => write!(f, "command changed"),
            Self::Input(path) => write!(f, "`{path}` changed"),
            Self::Appeared(path) => write!(f, "`{path}` appeared"),
            Self::Output(path) => write!(f, "`{path}` is missing or was changed"),
        }
    }
}

/// A source that is not there.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`, needed by `{user}`, missing and no known rule to make it")]
pub struct MissingSource {
    /// The file.
    pub path: BString,
    /// The first output of an edge that reads it.
    pub user: BString,
}

impl Drive<'_> {
    /// Runs a plan and tells of each edge as it is done. Answers whether all succeeded, and the new state.
    ///
    /// # Errors
    /// [`MissingSource`], before anything runs.
    pub fn run(&self, plan: &Plan, old: &State, tell: &mut dyn FnMut(Event)) -> Result<(bool, State), MissingSource> {
        self.check_sources(plan)?;
        let work = Work { drive: self, old, made: Mutex::default(), read: Mutex::default() };
        let mut queue = Queue::new(self.graph, plan);
        let mut state = State { records: old.records.clone(), ..State::default() };
        let mut failed = 0;
        let (jobs_in, jobs_out) = mpsc::channel::<EdgeId>();
        let jobs_out = Mutex::new(jobs_out);
        let (results_in, results_out) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                let (jobs_out, results_in, work) = (&jobs_out, results_in.clone(), &work);
                scope.spawn(move || {
                    loop {
                        let job = jobs_out.lock().expect("no worker panics while it waits").recv();
                        let Ok(edge) = job else { break };
                        let result = work.step(edge);
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
                while !stop && running < self.jobs {
                    let Some(edge) = queue.next() else { break };
                    if self.graph.edge(edge).phony {
                        queue.done(edge);
                        continue;
                    }
                    jobs_in.send(edge).expect("workers live as long as the channel");
                    running += 1;
                }
                if running == 0 {
                    break;
                }
                let (edge, result) = results_out.recv().expect("a running worker answers");
                running -= 1;
                let (done, log) = match result {
                    Ok(outcome) => {
                        queue.done(edge);
                        state.records.extend(outcome.record.map(|record| (self.name(edge), record)));
                        (outcome.done, outcome.log)
                    }
                    Err(Failed { error, log }) => {
                        failed += 1;
                        (Done::Failed(error), log)
                    }
                };
                tell(Event { edge, done, log });
            }
        });
        let success = failed == 0 && queue.is_empty();
        work.remember(plan, &mut state);
        Ok((success, state))
    }

    fn check_sources(&self, plan: &Plan) -> Result<(), MissingSource> {
        let missing = |file: &&FileId| fs::metadata(to_path(self.path(**file).as_bstr())).is_err();
        let Some(file) = plan.sources.iter().find(missing) else { return Ok(()) };
        let user = plan.order.iter().find(|edge| self.graph.edge(**edge).inputs.contains(file));
        let path = self.graph.file(*file).path.clone();
        Err(MissingSource { user: user.map_or_else(|| path.clone(), |edge| self.name(*edge)), path })
    }

    fn path(&self, file: FileId) -> BString {
        absolute(self.graph.file(file).path.as_bstr(), self.graph.working_directory())
    }

    /// The first output, by which an edge is known from run to run.
    fn name(&self, edge: EdgeId) -> BString {
        self.graph.edge(edge).outputs.first().map(|file| self.graph.file(*file).path.clone()).unwrap_or_default()
    }

    /// Explicit and implicit inputs, phony ones replaced by what stands behind them.
    fn stated(&self, edge: EdgeId) -> Vec<BString> {
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

/// Steps that wait, and for how many others.
struct Queue<'a> {
    graph: &'a Graph,
    waits: HashMap<EdgeId, usize>,
    users: HashMap<EdgeId, Vec<EdgeId>>,
    ready: std::collections::BinaryHeap<std::cmp::Reverse<(usize, EdgeId)>>,
    rank: HashMap<EdgeId, usize>,
}

impl<'a> Queue<'a> {
    fn new(graph: &'a Graph, plan: &Plan) -> Self {
        let rank: HashMap<EdgeId, usize> = plan.order.iter().enumerate().map(|(i, edge)| (*edge, i)).collect();
        let mut queue = Self { graph, waits: HashMap::new(), users: HashMap::new(), ready: Default::default(), rank };
        for &edge in &plan.order {
            let makers = queue.graph.edge(edge).inputs.iter().filter_map(|file| queue.graph.file(*file).maker);
            let makers: BTreeSet<EdgeId> = makers.collect();
            for maker in &makers {
                queue.users.entry(*maker).or_default().push(edge);
            }
            queue.waits.insert(edge, makers.len());
            if makers.is_empty() {
                queue.ready.push(std::cmp::Reverse((queue.rank[&edge], edge)));
            }
        }
        queue
    }

    fn next(&mut self) -> Option<EdgeId> {
        self.ready.pop().map(|std::cmp::Reverse((_, edge))| edge)
    }

    fn done(&mut self, edge: EdgeId) {
        self.waits.remove(&edge);
        for user in self.users.remove(&edge).unwrap_or_default() {
            let waits = self.waits.get_mut(&user).expect("a user is done after its makers");
            *waits -= 1;
            if *waits == 0 {
                self.ready.push(std::cmp::Reverse((self.rank[&user], user)));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }
}

/// What came of a step.
struct Outcome {
    done: Done,
    log: Vec<u8>,
    record: Option<Record>,
}

struct Failed {
    error: Error,
    log: Vec<u8>,
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), log: Vec::new() }
    }
}

/// What the workers share.
struct Work<'a> {
    drive: &'a Drive<'a>,
    old: &'a State,
    /// Outputs of this run.
    made: Mutex<HashMap<BString, StorePath>>,
    /// Files whose content is known, with the identity that stands for it.
    read: Mutex<BTreeMap<BString, (Option<Identity>, StorePath)>>,
}

impl Work<'_> {
    fn step(&self, edge: EdgeId) -> Result<Outcome, Failed> {
        let command = self.drive.graph.command(edge);
        if command.generator {
            return Ok(Outcome { done: Done::UpToDate, log: Vec::new(), record: None });
        }
        if command.pool == Pool::Console {
            return self.outside(&command);
        }
        supported(&command)?;
        let (recipe, simples) = self.recipe(edge, &command);
        let fingerprint = fingerprint(&recipe);
        let name = self.drive.name(edge);
        let reason = match self.old.records.get(&name) {
            None => Reason::New,
            Some(record) => match self.changed(record, &fingerprint)? {
                Some(reason) => reason,
                None => match self.restore(record)? {
                    None => return Ok(Outcome { done: Done::UpToDate, log: Vec::new(), record: Some(record.clone()) }),
                    Some((reason, true)) => {
                        return Ok(Outcome {
                            done: Done::Reused(reason),
                            log: Vec::new(),
                            record: Some(record.clone()),
                        });
                    }
                    Some((reason, false)) => reason,
                },
            },
        };
        let found = discover(&recipe, &simples, command.text.as_bstr(), &self.drive.stated(edge));
        let derivation = self.derivation(&recipe, &found, &simples)?;
        let (ran, outputs) = self.realise(&derivation)?;
        let path = |name: &OutputName| {
            outputs.get(name).ok_or_else(|| Error::from(format!("the store gave no output `{name}`")))
        };
        let mut record = Record { recipe: fingerprint, found, inputs: BTreeMap::new(), outputs: BTreeMap::new() };
        for (name, at) in output_names(recipe.outputs.len()).zip(&recipe.outputs) {
            self.put(path(&name)?, at)?;
            record.outputs.insert(at.clone(), Some(path(&name)?.to_string()));
        }
        if let (Some(at), Deps::Keep) = (&recipe.depfile, command.deps) {
            materialise(&self.drive.store.physical_path(path(&output("dep"))?), to_path(at.as_bstr()))?;
        }
        let rest = self.drive.store.physical_path(path(&output("rest"))?);
        materialise(&rest, to_path(recipe.build_directory.as_bstr()))?;
        for file in &record.found.files {
            record.inputs.insert(file.clone(), self.content(file)?.to_string());
        }
        let log = fs::read(self.drive.store.physical_path(path(&output("log"))?))?;
        Ok(Outcome { done: if ran { Done::Ran(reason) } else { Done::Reused(reason) }, log, record: Some(record) })
    }

    /// A command for people runs where it is, with the terminal.
    fn outside(&self, command: &Command) -> Result<Outcome, Failed> {
        use std::os::unix::ffi::OsStrExt as _;
        let text = std::ffi::OsStr::from_bytes(&command.text);
        let status = std::process::Command::new("/bin/sh").arg("-c").arg(text).status()?;
        match status.success() {
            true => Ok(Outcome { done: Done::Ran(Reason::New), log: Vec::new(), record: None }),
            false => Err(Error::from(status.to_string()).into()),
        }
    }

    fn recipe(&self, edge: EdgeId, command: &Command) -> (Recipe, Vec<Simple>) {
        let build = self.drive.graph.working_directory();
        let simples = match parse(command.text.as_bstr()) {
            Script::Plain(simples) => simples,
            Script::Shell => Vec::new(),
        };
        let shell = || Step::Run {
            argv: vec!["/bin/sh".into(), "-c".into(), text::from_bytes(&command.text)],
            cwd: text::from_bytes(build),
        };
        let commands = if simples.is_empty() { vec![shell()] } else { steps(&simples, build) };
        let at = |path: &BString| absolute(path.as_bstr(), build);
        let recipe = Recipe {
            commands,
            outputs: self.drive.graph.edge(edge).outputs.iter().map(|file| self.drive.path(*file)).collect(),
            depfile: command.depfile.as_ref().filter(|path| !path.is_empty()).map(at),
            response: command.rspfile.as_ref().map(|file| (at(&file.path), file.content.clone())),
            build_directory: build.into(),
            env: environment(),
        };
        (recipe, simples)
    }

    /// Why the result of a record no longer stands.
    fn changed(&self, record: &Record, fingerprint: &[u8; 32]) -> Result<Option<Reason>, Failed> {
        if record.recipe != *fingerprint {
            return Ok(Some(Reason::Command));
        }
        for (path, content) in &record.inputs {
            if fs::symlink_metadata(to_path(path.as_bstr())).is_err() || self.content(path)?.to_string() != *content {
                return Ok(Some(Reason::Input(path.clone())));
            }
        }
        Ok(still_absent(&record.found.absent).err().map(Reason::Appeared))
    }

    /// Puts right the outputs of a record whose inputs are as they were. Answers what was wrong, and whether it is right
    /// now; it is not where the store has lost an output.
    fn restore(&self, record: &Record) -> Result<Option<(Reason, bool)>, Failed> {
        let mut wrong = None;
        for (at, path) in &record.outputs {
            let Some(path) = path.as_ref().and_then(|path| path.parse::<StorePath>().ok()) else { continue };
            let known = self.old.contents.get(at).filter(|(_, content)| *content == path.to_string());
            if known.is_some_and(|(identity, _)| Identity::of(to_path(at.as_bstr())) == Some(*identity)) {
                self.note(at, known.map(|(identity, _)| *identity), &path);
                continue;
            }
            let reason = Reason::Output(at.clone());
            if self.drive.store.path_infos(std::slice::from_ref(&path))?[0].is_none() {
                return Ok(Some((reason, false)));
            }
            self.put(&path, at)?;
            wrong = Some((reason, true));
        }
        Ok(wrong)
    }

    fn put(&self, path: &StorePath, at: &BString) -> Result<(), Failed> {
        let to = to_path(at.as_bstr());
        materialise(&self.drive.store.physical_path(path), to)
            .map_err(|e| StoreError::new(format!("write `{at}`"), e))?;
        self.note(at, Identity::of(to), path);
        Ok(())
    }

    fn note(&self, at: &BString, identity: Option<Identity>, path: &StorePath) {
        self.made.lock().expect("no panic under the lock").insert(at.clone(), path.clone());
        self.read.lock().expect("no panic under the lock").insert(at.clone(), (identity, path.clone()));
    }

    /// The store path of a file's content: an output of this run, or a source that is added.
    fn content(&self, path: &BString) -> Result<StorePath, Error> {
        if let Some(made) = self.made.lock().expect("no panic under the lock").get(path) {
            return Ok(made.clone());
        }
        if let Some((_, known)) = self.read.lock().expect("no panic under the lock").get(path) {
            return Ok(known.clone());
        }
        let file = to_path(path.as_bstr());
        let (identity, now) = (Identity::of(file), SystemTime::now());
        let remembered = self.old.contents.get(path).filter(|(old, _)| Some(*old) == identity);
        let remembered = remembered.and_then(|(_, content)| content.parse::<StorePath>().ok());
        let valid = |path: &StorePath| {
            self.drive.store.path_infos(std::slice::from_ref(path)).is_ok_and(|infos| infos[0].is_some())
        };
        let content = match remembered.filter(valid) {
            Some(content) => content,
            None => self.drive.store.add_path(&store_name(path.as_bstr()), file)?.path,
        };
        let standing = identity.filter(|identity| identity.settled(now));
        self.read.lock().expect("no panic under the lock").insert(path.clone(), (standing, content.clone()));
        Ok(content)
    }

    fn derivation(&self, recipe: &Recipe, found: &Found, simples: &[Simple]) -> Result<ResolvedDerivation, Failed> {
        let mut inputs = Inputs { directories: found.directories.clone(), ..Inputs::default() };
        for file in &found.files {
            inputs.files.insert(file.clone(), self.content(file)?);
        }
        let mut programs = BTreeSet::new();
        let mut own = BTreeSet::new();
        let files: BTreeSet<PathBuf> = found.system.iter().map(|path| to_path(path.as_bstr()).to_owned()).collect();
        for step in &recipe.commands {
            if let Step::Run { argv, cwd } = step {
                let word = BString::from(text::to_bytes(&argv[0]));
                if argv.iter().any(|word| word == "symbolextractor") {
                    programs.extend(["nm", "readelf"].map(PathBuf::from)); // Meson's script looks for them itself
                }
                let program =
                    if word.contains(&b'/') { absolute(word.as_bstr(), cwd.as_bytes().as_bstr()) } else { word };
                match program.contains(&b'/') && !is_system(program.as_bstr()) && found.files.contains(&program) {
                    true => drop(own.insert(to_path(program.as_bstr()).to_owned())),
                    false => drop(programs.insert(to_path(program.as_bstr()).to_owned())),
                }
            }
        }
        if !own.is_empty() {
            let library = |path: &&BString| path.rsplit_str("/").next().is_some_and(|name| name.contains_str(".so"));
            own.extend(found.files.iter().filter(library).map(|path| to_path(path.as_bstr()).to_owned()));
        }
        let tools = self.drive.tools.snapshot(&programs, &own, &files, simples.is_empty())?;
        let derivation = lower(self.drive.store.store_dir(), recipe, &inputs, &tools, &self.drive.runner);
        Ok(ResolvedDerivation::try_from(derivation)?)
    }

    /// The outputs of a derivation: those of an earlier run if the store has them all, else those of a run now.
    fn realise(&self, derivation: &ResolvedDerivation) -> Result<(bool, BTreeMap<OutputName, StorePath>), Failed> {
        let store = self.drive.store;
        let ids: Vec<_> = derivation.output_ids(store.store_dir()).into_iter().collect();
        let keys: Vec<_> = ids.iter().map(|(_, id)| id.clone()).collect();
        let known: Option<BTreeMap<_, _>> = store
            .realisations(&keys)?
            .into_iter()
            .zip(&ids)
            .map(|(realisation, (name, _))| realisation.map(|realisation| (name.clone(), realisation.path)))
            .collect();
        if let Some(outputs) = known {
            return Ok((false, outputs));
        }
        match store.realise(derivation, &BuildOptions { timeout: None, cancelled: self.drive.cancelled }) {
            Ok(built) => Ok((true, built.outputs.into_iter().map(|(name, info)| (name, info.path)).collect())),
            Err(RealiseError::Failed { reason, log }) => Err(Failed { error: reason.into(), log }),
            Err(error) => Err(error.into()),
        }
    }

    /// Fills in what the next run looks at. Identities that are too young to stand for a content are taken again a tick
    /// later, after another look at the content.
    fn remember(&self, plan: &Plan, state: &mut State) {
        let read = std::mem::take(&mut *self.read.lock().expect("no panic under the lock"));
        let now = SystemTime::now();
        let young = |identity: &Option<Identity>| identity.is_none_or(|identity| !identity.settled(now));
        if read.values().any(|(identity, _)| young(identity)) {
            thread::sleep(TICK + TICK / 2);
        }
        for (path, (identity, content)) in read {
            let standing = if young(&identity) { self.look_again(path.as_bstr(), &content) } else { identity };
            if let Some(identity) = standing {
                state.contents.insert(path.clone(), (identity, content.to_string()));
            }
            state.watched.push((path, standing));
        }
        let records = plan.order.iter().filter_map(|edge| state.records.get(&self.drive.name(*edge)));
        let directories: BTreeSet<BString> = records.flat_map(|record| record.found.absent.keys().cloned()).collect();
        let mut watch = |path: BString| {
            let identity = Identity::of(to_path(path.as_bstr()));
            state.watched.push((path, identity));
        };
        directories.into_iter().for_each(&mut watch);
        for probe in self.drive.tools.probes() {
            use std::os::unix::ffi::OsStrExt as _;
            if probe.holds() {
                watch(probe.path.as_os_str().as_bytes().into());
            }
        }
    }

    fn look_again(&self, path: &BStr, content: &StorePath) -> Option<Identity> {
        let identity = Identity::of(to_path(path))?;
        let (hash, _) = nar::nar_hash(to_path(path)).ok()?;
        let again = self.drive.store.store_dir().source_path(content.name(), &hash, &BTreeSet::new(), false);
        (again == *content).then_some(identity)
    }
}

fn supported(command: &Command) -> Result<(), Error> {
    match command {
        Command { dyndep: Some(_), .. } => Err("dyndep is not supported yet".into()),
        Command { deps: Deps::Msvc, .. } => Err("`deps = msvc` is not supported yet".into()),
        _ => Ok(()),
    }
}

/// The environment of every command: the same on every machine.
fn environment() -> BTreeMap<BString, BString> {
    let pairs = [
        ("HOME", "/homeless-shelter"),
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("TMPDIR", "/tmp"),
    ];
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn fingerprint(recipe: &Recipe) -> [u8; 32] {
    *blake3::hash(format!("{recipe:?}").as_bytes()).as_bytes()
}

fn store_name(path: &BStr) -> StoreName {
    StoreName::sanitised(path.rsplit_str("/").next().unwrap_or(path))
}

/// Takes the lock of a build directory, which its holder keeps until the file is closed.
///
/// # Errors
/// Those of the file system.
pub fn lock(directory: &std::path::Path, busy: &mut dyn FnMut()) -> io::Result<fs::File> {
    fs::create_dir_all(directory)?;
    let file = fs::File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
    if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
        busy();
    }
    file.lock()?;
    Ok(file)
}
