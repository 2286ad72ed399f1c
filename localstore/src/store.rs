//! The embedded store: what [`nixstore::Store`] asks for, on files and a database of this process's own.
//!
//! While a store is open nobody deletes paths from it (`gc.lock`), so what it has once seen valid stays valid: that is
//! kept in memory. Running derivations is left to the builder.

use crate::builder;
use crate::database::{Database, DatabaseError, Entry, Journal, Placing, Totals};
use crate::files::{self, FileError, Lock, lock};
use crate::large_pages;
use crate::layout::{Layout, LayoutError, Place, Warning, network_file_system};
use crate::runner::{self, Network, Room};
use crate::sandbox::{self, Ended, Keeper, Leaving, SandboxError};
use crate::scratch::Scratch;
use crate::session::{self, Session, Temporary};
use crate::shell;
use crate::usage;
use nixstore::hash::Sha256Writer;
use nixstore::manifest::HeadStart;
use nixstore::path::StoreName;
use nixstore::store::{BuildOptions, Built, Outputs, RealiseError, StoreError};
use nixstore::{
    ContentAddress, DrvOutputId, PathInfo, Realisation, ResolvedDerivation, Sha256, Store, StoreDir, StorePath, nar,
};
use rustix::fs::FlockOperation;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A tree whose NAR is no larger is read once, into memory; a larger one twice, so that it is not written in vain.
const IN_MEMORY: usize = 64 << 20;

/// An open store.
pub struct LocalStore {
    layout: Layout,
    store_dir: StoreDir,
    warnings: Vec<Warning>,
    runner: OnceLock<Runner>,
    /// The program that makes sandboxes.
    keeper: OnceLock<PathBuf>,
    /// Edges may run in the host's own file system.
    in_place: AtomicBool,
    memory_of_jobs: OnceLock<u64>,
    /// What builders see of the host: places in the sandbox, with their files.
    sandbox_paths: OnceLock<BTreeMap<PathBuf, PathBuf>>,
    /// For the next edge.
    begun: Mutex<Option<Begun>>,
    /// Made when something is first written.
    session: Mutex<Option<Arc<Session>>>,
    known: RwLock<HashMap<StorePath, Arc<PathInfo>>>,
    used: Mutex<HashMap<StorePath, i64>>,
    database: Database,
    // Let go of last, in this order.
    leaving: Mutex<Vec<Leaving>>,
    _gc_lock: Lock,
    _big_lock: Lock,
}

/// A sandbox that waits for its edge.
pub(crate) struct Begun {
    pub keeper: Keeper,
    network: Network,
    pub scratch: Scratch,
    /// The program that has begun there.
    pub start: Option<HeadStart>,
    /// The derivation, where it is not only expected but runs already.
    pub runs: Option<StorePath>,
}

/// A sandbox that has begun before its store is open: the time until then is as long as it takes to make it.
pub struct Early {
    keeper: Keeper,
    network: Network,
}

impl Early {
    /// Begins it for an edge with such a network in a store that is there; none where that cannot be, such as in a process with
    /// threads. It is taken away when this is dropped.
    pub fn begin(layout: &Layout, network: Network) -> Option<Self> {
        let root = layout.root_of_jobs();
        let place = runner::Place::Sandbox { root: root.is_dir().then_some(root)?, network, room: Room::Memory(None) };
        Keeper::fork(&place).ok()?.map(|keeper| Self { keeper, network })
    }
}

/// The program that runs edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Where it is in the store.
    pub path: StorePath,
    /// Its file.
    pub program: PathBuf,
}

/// A store that is there and stays, and of which the database is still to be opened.
pub struct Opening {
    layout: Layout,
    warnings: Vec<Warning>,
    begun: Option<Begun>,
    session: Option<Arc<Session>>,
    gc_lock: Lock,
    big_lock: Lock,
}

impl Opening {
    /// As [`LocalStore::open`].
    ///
    /// # Errors
    /// As there.
    pub fn begin(root: &Path) -> Result<Self, OpenError> {
        let (layout, gc_lock, big_lock) = loop {
            let layout = create(root)?;
            let gc_lock = lock(&layout.gc_lock(), FlockOperation::LockShared)?.expect("a lock that waits is got");
            let big_lock = lock(&layout.big_lock(), FlockOperation::LockShared)?.expect("a lock that waits is got");
            // Whoever held the lock may have deleted the store.
            let same = |lock: &Lock, path: &Path| match (lock.file().metadata(), fs::metadata(path)) {
                (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
                _ => false,
            };
            match layout.check() {
                Ok(()) if same(&gc_lock, &layout.gc_lock()) && same(&big_lock, &layout.big_lock()) => {
                    break (layout, gc_lock, big_lock);
                }
                Ok(()) | Err(LayoutError::NotAStore { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let warnings = Warning::about(Place::Store, layout.root())?.into_iter().collect();
        Ok(Self { layout, warnings, begun: None, session: None, gc_lock, big_lock })
    }

    /// Where the parts of the store are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts to make a sandbox for the first edge, with such a network, while that is still being found out; by `runner`, the
    /// program that will be installed. It is taken away when the store is closed, if no such edge has come; where it cannot be
    /// made, the edge will say so. The program of the edge may begin too: if another edge comes, that has been for nothing.
    pub fn expect_edge(&mut self, runner: &Path, network: Network, start: Option<HeadStart>) {
        self.session = Session::create(&self.layout).map(Arc::new).ok();
        let begin = |scratch: Scratch| -> Option<Begun> {
            let log = scratch.open_log().ok()?;
            let place = scratch.sandbox(network, Room::Memory(None)).ok()?;
            let mut keeper = Keeper::start(runner, &place, log).ok()?;
            let start = start.filter(|start| self.begins(&mut keeper, start));
            Some(Begun { keeper, network, scratch, start, runs: None })
        };
        self.begun = self.session.clone().and_then(|session| Scratch::new(session).ok()).and_then(begin);
    }

    /// The same in a sandbox that has begun already.
    pub fn expect_edge_in(&mut self, early: Early, start: Option<HeadStart>) {
        let Early { mut keeper, network } = early;
        let start = start.filter(|start| self.begins(&mut keeper, start));
        self.session = Session::create(&self.layout).map(Arc::new).ok();
        let scratch = self.session.clone().and_then(|session| Scratch::new(session).ok());
        self.begun = scratch.map(|scratch| Begun { keeper, network, scratch, start, runs: None });
    }

    fn begins(&self, keeper: &mut Keeper, start: &HeadStart) -> bool {
        keeper.begin(start, &self.layout.builds(), &self.layout.store()).is_ok()
    }

    /// Opens the database.
    ///
    /// # Errors
    /// As [`LocalStore::open`].
    pub fn finish(self) -> Result<LocalStore, OpenError> {
        let Self { layout, warnings, begun, session, gc_lock, big_lock } = self;
        let journal = if warnings.is_empty() { Journal::WriteAhead } else { Journal::Truncate };
        let store_dir = StoreDir::default();
        let database = Database::open(&layout, &store_dir, journal)?;
        let begun = begun.filter(|begun| begun.start.as_ref().is_none_or(|start| has_tools(&database, start)));
        if begun.is_some() {
            database.leave_log(); // the next process of its kind comes soon
        }
        session::clear_stale(&layout)?;
        Ok(LocalStore {
            layout,
            store_dir,
            warnings,
            runner: OnceLock::new(),
            keeper: OnceLock::new(),
            sandbox_paths: OnceLock::new(),
            in_place: AtomicBool::new(false),
            memory_of_jobs: OnceLock::new(),
            begun: Mutex::new(begun),
            leaving: Mutex::default(),
            session: Mutex::new(session),
            known: RwLock::default(),
            used: Mutex::default(),
            database,
            _gc_lock: gc_lock,
            _big_lock: big_lock,
        })
    }
}

/// Whether a program was begun with tools that the store has: what else lies at their paths is left of a deletion or of a store whose
/// database was lost, and goes when the tools come again.
fn has_tools(database: &Database, start: &HeadStart) -> bool {
    let path = |text: &String| text.strip_prefix("/nix/store/")?.split('/').next()?.parse().ok();
    let paths: Option<BTreeSet<StorePath>> = start.manifest.tools.values().map(path).collect();
    let infos = paths.map(|paths| database.path_infos(&Vec::from_iter(paths)));
    infos.is_some_and(|infos| infos.is_ok_and(|infos| !infos.contains(&None)))
}

impl LocalStore {
    /// Opens the store below `root`, and makes it if there is none. Waits for an eviction that is going on. Clears what
    /// a crash has left.
    ///
    /// # Errors
    /// [`OpenError`] where a newer program made it, or the file system or the database refuses.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Opening::begin(root)?.finish()
    }

    /// As [`LocalStore::open`], but makes none.
    ///
    /// # Errors
    /// As there; [`LayoutError::NotAStore`] where there is none.
    pub fn open_existing(root: &Path) -> Result<Self, OpenError> {
        Layout::new(root).check()?;
        Self::open(root)
    }

    /// What the user should know about the place of the store.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Where the parts of the store are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Adds the executable file `program` as the runner: a derivation with it as builder is run by
    /// [`crate::sandbox::Program::Edge`]. It makes the
    /// sandboxes of other builders, too. The first call counts.
    ///
    /// # Errors
    /// As [`Store::add_path`].
    pub fn install_runner(&self, program: &Path) -> Result<StorePath, StoreError> {
        let path = self.runner_path(program)?;
        let runner = Runner { program: self.physical_path(&path), path };
        self.isolate_with(&runner.program);
        Ok(self.runner.get_or_init(|| runner).path.clone())
    }

    /// The store path of the runner, which is read once: while the file is the same, so is what it holds.
    fn runner_path(&self, program: &Path) -> Result<StorePath, StoreError> {
        let known = self.layout.own().join("runner");
        let identity = fs::metadata(program).map(|file| {
            let times = (file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec());
            format!("{} {} {} {times:?}", file.dev(), file.ino(), file.size())
        });
        let identity = identity.unwrap_or_default();
        let text = fs::read_to_string(&known).unwrap_or_default();
        let before = text.split_once('\n').filter(|(of, _)| *of == identity).and_then(|(_, path)| path.parse().ok());
        if let Some(path) = before
            && !self.valid_paths(std::slice::from_ref(&path))?.is_empty()
        {
            return Ok(path);
        }
        let path = self.add_path(&runner::NAME.parse().expect("a valid name"), program)?.path;
        let is_old = fs::metadata(program)
            .and_then(|file| file.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > Duration::from_secs(1)));
        if is_old {
            fs::write(known, format!("{identity}\n{path}")).ok(); // then it is read again
        }
        Ok(path)
    }

    /// Has sandboxes made by `program`, a `splitter-runner` that need not be in the store. The first call counts.
    pub fn isolate_with(&self, program: &Path) {
        self.keeper.get_or_init(|| program.into());
    }

    /// Lets edges run in the host's own file system where their manifest says so: for those who trust what they build, on a
    /// host that refuses sandboxes.
    pub fn run_in_place(&self) {
        self.in_place.store(true, Ordering::Relaxed);
    }

    /// Has the files of a job in memory take `bytes` at most, in place of a quarter of what there is; a job that needs more has them
    /// on the disk. The first call counts.
    pub fn limit_memory_of_jobs(&self, bytes: u64) {
        self.memory_of_jobs.get_or_init(|| bytes);
    }

    pub(crate) fn memory_of_jobs(&self) -> u64 {
        *self.memory_of_jobs.get_or_init(runner::limit_of_jobs)
    }

    pub(crate) fn runs_in_place(&self) -> bool {
        self.in_place.load(Ordering::Relaxed)
    }

    /// A directory on the store's file system for what is to be added to it. Nobody else deletes it, and it is gone when
    /// the store is closed.
    ///
    /// # Errors
    /// Those of making it.
    pub fn scratch(&self) -> Result<PathBuf, FileError> {
        Ok(self.session()?.directory().to_owned())
    }

    /// What builders see of the host, as Nix's `sandbox-paths`: places in the sandbox, with their files. Edges see
    /// nothing of it. Without this call it is a `/bin/sh` with its libraries; the first call counts.
    pub fn show_builders(&self, paths: BTreeMap<PathBuf, PathBuf>) {
        self.sandbox_paths.get_or_init(|| paths);
    }

    /// Whether builders can be run here: makes an empty sandbox, in all its steps, since some hosts grant the namespaces
    /// and then refuse the mounts.
    ///
    /// # Errors
    /// [`SandboxError`], which names the setting that is in the way.
    pub fn probe(&self) -> Result<(), SandboxError> {
        let failed =
            |error: io::Error| SandboxError::Start { runner: self.keeper.get().cloned().unwrap_or_default(), error };
        let session = self.session().map_err(|error| failed(io::Error::other(error)))?;
        let job = sandbox::Job {
            program: sandbox::Program::Nothing,
            scratch: &session.root(),
            timeout: None,
            cancelled: &AtomicBool::new(false),
        };
        let place = runner::Place::Sandbox { root: session.root(), network: Network::Own, room: Room::Memory(None) };
        let log = File::options().write(true).open("/dev/null").map_err(failed)?;
        match Keeper::start(self.keeper()?, &place, log)?.run(&job)? {
            (Ended::Exit(0), _) => Ok(()),
            (ended, _) => Err(failed(io::Error::other(format!("it has ended early: {ended:?}")))),
        }
    }

    /// Makes ready to register paths, which may be done while a job runs.
    pub fn get_ready(&self) {
        self.database.prepare().ok(); // registering says what is wrong
    }

    /// The sandbox that was begun for an edge with such a network, if one was.
    pub(crate) fn take_begun(&self, network: Network) -> Option<Begun> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        begun.filter(|begun| begun.network == network)
    }

    /// Keeps one for the edge that will be realised.
    pub(crate) fn put_begun(&self, begun: Begun) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    /// Leaves a keeper that has reported to itself; it is waited for when the store is closed.
    pub(crate) fn leave(&self, keeper: Leaving) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain_mut(|keeper| !keeper.has_ended());
        leaving.push(keeper);
    }

    pub(crate) fn keeper(&self) -> Result<&Path, SandboxError> {
        self.keeper.get().map(PathBuf::as_path).ok_or(SandboxError::NoRunner)
    }

    pub(crate) fn sandbox_paths(&self) -> Result<&BTreeMap<PathBuf, PathBuf>, SandboxError> {
        if let Some(paths) = self.sandbox_paths.get() {
            return Ok(paths);
        }
        let paths = shell::host_shell().map_err(SandboxError::NoShell)?;
        Ok(self.sandbox_paths.get_or_init(|| paths))
    }

    /// The runner, if one is installed.
    pub fn runner(&self) -> Option<&Runner> {
        self.runner.get()
    }

    /// What the derivation at `drv` wrote when it last ran; `None` where that is not kept.
    ///
    /// # Errors
    /// [`StoreError`] where the log cannot be read.
    pub fn log(&self, drv: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        let file = self.layout.log(&drv.to_string());
        match fs::read(&file) {
            Ok(log) => Ok(Some(log)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::new(format!("read `{}`", file.display()), error)),
        }
    }

    /// What each output has come out as before, if the path is still valid; by the ids of Nix 2.4 to 2.34. Such paths are
    /// protected from collection while this store is open.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn realisations(&self, outputs: &[DrvOutputId]) -> Result<Vec<Option<Realisation>>, StoreError> {
        let realisations =
            self.database.realisations(outputs).map_err(|error| StoreError::new("look up realisations", error))?;
        self.use_paths(realisations.iter().flatten().map(|realisation| &realisation.path));
        Ok(realisations)
    }

    /// Where the files of a path are, valid or not.
    pub fn physical_path(&self, path: &StorePath) -> PathBuf {
        self.layout.store().join(path.to_string())
    }

    /// Writes down which paths were used, for the collector. Done when the store is closed, too.
    ///
    /// # Errors
    /// [`StoreError`] where the file cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let names: Vec<(String, i64)> = used.into_iter().map(|(path, time)| (path.to_string(), time)).collect();
        usage::record(&self.layout, names.iter().map(|(name, time)| (name.as_str(), *time)))
            .map_err(|error| StoreError::new(format!("write `{}`", self.layout.usage().display()), error))
    }

    /// The infos of all valid paths, from the database and not from memory.
    pub(crate) fn registered(&self) -> Result<Vec<PathInfo>, DatabaseError> {
        let paths: Vec<StorePath> = self.database.all()?.into_iter().map(|entry| entry.path).collect();
        Ok(self.database.path_infos(&paths)?.into_iter().flatten().collect())
    }

    /// All valid paths, with what they refer to.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, DatabaseError> {
        self.database.all()
    }

    /// Makes paths invalid; none may have referrers left.
    pub(crate) fn invalidate(&self, paths: &[StorePath]) -> Result<(), DatabaseError> {
        self.database.invalidate(paths)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        paths.iter().for_each(|path| drop(known.remove(path)));
        Ok(())
    }

    pub(crate) fn totals(&self) -> Result<Totals, DatabaseError> {
        self.database.totals()
    }

    pub(crate) fn size_after(&self, after: i64) -> Result<(u64, i64, u64), DatabaseError> {
        self.database.size_after(after)
    }

    pub(crate) fn session(&self) -> Result<Arc<Session>, FileError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let new = Arc::new(Session::create(&self.layout)?);
        *session = Some(new.clone());
        Ok(new)
    }

    /// As [`Store::path_infos`], shared with the store's own memory.
    pub(crate) fn infos(&self, paths: &[StorePath]) -> Result<Vec<Option<Arc<PathInfo>>>, DatabaseError> {
        let mut infos: Vec<Option<Arc<PathInfo>>> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            paths.iter().map(|path| known.get(path).cloned()).collect()
        };
        let missing: Vec<usize> = (0..paths.len()).filter(|&index| infos[index].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<StorePath> = missing.iter().map(|&index| paths[index].clone()).collect();
            let found = self.database.path_infos(&wanted)?;
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for (index, info) in missing.into_iter().zip(found) {
                infos[index] = info.map(Arc::new);
                if let Some(info) = &infos[index] {
                    known.insert(info.path.clone(), info.clone());
                }
            }
        }
        self.use_paths(infos.iter().flatten().map(|info| &info.path));
        Ok(infos)
    }

    pub(crate) fn use_paths<'a>(&self, paths: impl Iterator<Item = &'a StorePath>) {
        let now = now().as_micros() as i64;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            match used.get_mut(path) {
                Some(time) => *time = now,
                None => {
                    used.insert(path.clone(), now);
                }
            }
        }
    }

    /// Notes when paths were used of which the store was not asked, for the collector.
    pub fn used_at(&self, uses: impl IntoIterator<Item = (StorePath, SystemTime)>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, time) in uses {
            let time = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
            let latest = used.entry(path).or_insert(time);
            *latest = time.max(*latest);
        }
    }

    /// All that `paths` need, themselves too.
    pub(crate) fn closure<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let mut closure: BTreeSet<StorePath> = paths.into_iter().cloned().collect();
        let mut frontier: Vec<StorePath> = closure.iter().cloned().collect();
        while !frontier.is_empty() {
            let infos = self.infos(&frontier).map_err(|error| StoreError::new("find the inputs", error))?;
            let mut next = Vec::new();
            for (path, info) in frontier.iter().zip(infos) {
                let Some(info) = info else {
                    return Err(StoreError::new(format!("use `{}`", self.store_dir.print(path)), NotValid));
                };
                for reference in &info.references {
                    if closure.insert(reference.clone()) {
                        next.push(reference.clone());
                    }
                }
            }
            frontier = next;
        }
        Ok(closure)
    }

    /// Registers paths whose canonical files are at the given places, and realisations, all or nothing. Gives what is
    /// registered then: of a path that was valid already, what was known before.
    pub(crate) fn register(
        &self,
        new: Vec<(PathInfo, &Path)>,
        realisations: &[Realisation],
    ) -> Result<Vec<PathInfo>, StoreError> {
        let infos: Vec<&PathInfo> = new.iter().map(|(info, _)| info).collect();
        let mut mover = Mover {
            store: self.layout.store(),
            from: new.iter().map(|(info, from)| (&info.path, *from)).collect(),
            moved: Vec::new(),
        };
        let names = || infos.iter().map(|info| format!("`{}`", info.path)).collect::<Vec<_>>().join(", ");
        self.database
            .register(&infos, realisations, &mut mover)
            .map_err(|error| StoreError::new(format!("register {}", names()), error))?;
        let paths: Vec<StorePath> = infos.iter().map(|info| info.path.clone()).collect();
        let placed: BTreeSet<&StorePath> = mover.moved.iter().map(|(path, _)| *path).collect();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for info in infos.iter().filter(|info| placed.contains(&info.path)) {
                known.insert(info.path.clone(), Arc::new((*info).clone()));
            }
        }
        let registered = self.infos(&paths).map_err(|error| StoreError::new(format!("register {}", names()), error))?;
        for ((info, from), registered) in new.iter().zip(&registered) {
            let was_there =
                !placed.contains(&info.path) && registered.as_ref().is_some_and(|it| it.nar_hash == info.nar_hash);
            let to = self.layout.store().join(info.path.to_string());
            if was_there && from.exists() && !files::are_same(from, &to).unwrap_or(false) {
                // It was damaged; what was made now is as it was.
                files::place(from, &to).map_err(|error| StoreError::new(format!("mend {}", names()), error))?;
            }
        }
        Ok(registered
            .into_iter()
            .zip(infos)
            .map(|(registered, info)| registered.map_or_else(|| info.clone(), |registered| (*registered).clone()))
            .collect())
    }

    /// Adds a tree of which the NAR's hash and size are known, unless it is valid; `restore` writes it.
    fn add_hashed(
        &self,
        name: &StoreName,
        nar_hash: Sha256,
        nar_size: u64,
        restore: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<PathInfo, StoreError> {
        let ca = ContentAddress::nar(nar_hash);
        let path = self.store_dir.fixed_path(name, &ca);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::new(format!("add `{}` to the store", self.store_dir.print(&path)), error)
        };
        if let Some(info) = &self.infos(std::slice::from_ref(&path)).map_err(|error| failed(error.into()))?[0] {
            return Ok((**info).clone());
        }
        let session = self.session().map_err(|error| failed(error.into()))?;
        let temporary: Temporary = session.temporary();
        restore(temporary.path()).map_err(|error| failed(error.into()))?;
        files::canonicalise(temporary.path()).map_err(|error| failed(error.into()))?;
        let info = PathInfo {
            path: path.clone(),
            nar_hash,
            nar_size,
            references: BTreeSet::new(),
            deriver: None,
            ca: Some(ca),
            ultimate: false,
            signatures: BTreeSet::new(),
            registration_time: now().as_secs(),
        };
        let mut registered = self.register(vec![(info, temporary.path())], &[])?;
        Ok(registered.pop().expect("as many as were given"))
    }
}

impl Store for LocalStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError> {
        let failed = |error| StoreError::new(format!("read `{}`", source.display()), error);
        let mut capture = Capture { hash: Sha256Writer::new(), bytes: Some(Vec::new()) };
        nar::dump(source, &mut capture).map_err(failed)?;
        let (nar_hash, nar_size) = capture.hash.finish();
        match capture.bytes {
            Some(nar) => self.add_hashed(name, nar_hash, nar_size, |to| restore(&nar, to)),
            None => self.add_hashed(name, nar_hash, nar_size, |to| copy(source, to, nar_hash)),
        }
    }

    fn take_path(&self, name: &StoreName, tree: &Path) -> Result<PathInfo, StoreError> {
        let mut hash = Sha256Writer::new();
        nar::dump(tree, &mut hash).map_err(|error| StoreError::new(format!("read `{}`", tree.display()), error))?;
        let (nar_hash, nar_size) = hash.finish();
        self.add_hashed(name, nar_hash, nar_size, |to| match fs::rename(tree, to) {
            Ok(()) => {
                large_pages::take_together(to);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(tree, to, nar_hash),
            Err(error) => Err(StoreError::new(format!("move `{}` to `{}`", tree.display(), to.display()), error)),
        })
    }

    fn add_file(&self, name: &StoreName, contents: &[u8], executable: bool) -> Result<PathInfo, StoreError> {
        let mut nar = Vec::with_capacity(contents.len() + 256);
        nar::dump_file(contents, executable, &mut nar).expect("memory takes all bytes");
        self.add_hashed(name, Sha256::of(&nar), nar.len() as u64, |to| restore(&nar, to))
    }

    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError> {
        let infos = self.infos(paths).map_err(|error| StoreError::new("look up paths", error))?;
        Ok(infos.into_iter().map(|info| info.map(|info| (*info).clone())).collect())
    }

    fn realised(&self, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError> {
        let (names, ids): (Vec<_>, Vec<_>) = derivation.output_ids(&self.store_dir).into_iter().unzip();
        let found = self.realisations(&ids)?.into_iter();
        Ok(names.into_iter().zip(found).map(|(name, found)| Some((name, found?.path))).collect())
    }

    fn begin(&self, derivation: &ResolvedDerivation) {
        builder::begin(self, derivation);
    }

    fn realise(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<Built, RealiseError> {
        builder::realise(self, derivation, options)
    }

    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        Ok(self.physical_path(path))
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        // Only times of use are lost.
        let _ = self.flush();
    }
}

/// Makes the directories of a store. One process at a time, for a database must not be made twice.
fn create(root: &Path) -> Result<Layout, OpenError> {
    if let Ok(real) = fs::canonicalize(root) {
        let layout = Layout::new(&real);
        if layout.format().exists() && layout.database_directory().join("schema").exists() {
            return Ok(layout);
        }
    }
    let layout = Layout::new(root);
    let own = layout.own();
    fs::create_dir_all(&own).map_err(FileError::of("make the directory", &own))?;
    let _alone = lock(&own.join("create.lock"), FlockOperation::LockExclusive)?;
    let layout = layout.create()?;
    let journal = if network_file_system(layout.root())?.is_some() { Journal::Truncate } else { Journal::WriteAhead };
    Database::open(&layout, &StoreDir::default(), journal)?;
    Ok(layout)
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn restore(nar: &[u8], to: &Path) -> Result<(), StoreError> {
    nar::restore(nar, to).map_err(|error| StoreError::new(format!("write `{}`", to.display()), error))
}

/// Copies a tree whose NAR must have a known hash.
fn copy(from: &Path, to: &Path, expected: Sha256) -> Result<(), StoreError> {
    let failed = |error: BoxError| StoreError::new(format!("copy `{}` to `{}`", from.display(), to.display()), error);
    let (hash, _) = copy_through(to, |pipe| Ok(nar::dump(from, pipe)?)).map_err(failed)?;
    if hash == expected { Ok(()) } else { Err(failed("it was changed meanwhile".into())) }
}

/// Makes the tree at `to` whose NAR `dump` writes. Gives the NAR's hash and size.
pub(crate) fn copy_through(
    to: &Path,
    dump: impl FnOnce(&mut dyn Write) -> Result<(), BoxError> + Send,
) -> Result<(Sha256, u64), BoxError> {
    let (mut reader, writer) = io::pipe()?;
    let (dumped, restored) = std::thread::scope(|scope| {
        let dump = scope.spawn(move || {
            let mut tee = Tee { hash: Sha256Writer::new(), to: io::BufWriter::with_capacity(1 << 16, writer) };
            dump(&mut tee)?;
            tee.to.flush()?;
            Ok(tee.hash.finish())
        });
        let restored = nar::restore(io::BufReader::with_capacity(1 << 16, &mut reader), to);
        drop(reader);
        (dump.join().expect("dumping does not panic"), restored)
    });
    match (dumped, restored) {
        (Ok(hashed), Ok(())) => Ok(hashed),
        // If writing files fails, dumping fails too, into a pipe that nobody reads; and the other way round the NAR
        // ends too early. The cause is what is not about the NAR.
        (Err(error), Err(nar::NarError::Malformed { .. } | nar::NarError::Read(_)) | Ok(())) => Err(error),
        (_, Err(error)) => Err(error.into()),
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Hashes all that is written and keeps it while it is small.
struct Capture {
    hash: Sha256Writer,
    bytes: Option<Vec<u8>>,
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.write_all(bytes)?;
        if let Some(kept) = &mut self.bytes {
            if kept.len() + bytes.len() > IN_MEMORY {
                self.bytes = None;
            } else {
                kept.extend_from_slice(bytes);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes all that is written and passes it on.
struct Tee<W> {
    hash: Sha256Writer,
    to: W,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Moves files to their place in the store while they are registered.
struct Mover<'a> {
    store: PathBuf,
    from: HashMap<&'a StorePath, &'a Path>,
    moved: Vec<(&'a StorePath, &'a Path)>,
}

impl Placing for Mover<'_> {
    type Error = FileError;

    fn place(&mut self, info: &PathInfo) -> Result<(), FileError> {
        let (&path, &from) = self.from.get_key_value(&info.path).expect("every new path has files");
        files::place(from, &self.store.join(path.to_string()))?;
        self.moved.push((path, from));
        Ok(())
    }

    fn undo(&mut self) {
        for (path, from) in self.moved.drain(..) {
            // What stays is in nobody's way: it is not valid.
            let _ = files::place(&self.store.join(path.to_string()), from);
        }
    }
}

/// A path that should be in the store is not.
#[derive(Debug, thiserror::Error)]
#[error("it is not in the store")]
struct NotValid;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its version is unknown, or its directories cannot be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}
