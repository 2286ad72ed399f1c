//! Answers requests with snapshots, from memory, from what is remembered on disk, or by making them.
//!
//! A request costs a hash look-up for each of its programs and files once they are known. The host's databases are read
//! only for a program or a file that nobody has asked for since they changed last.

use super::follow::{FollowError, Follower};
use super::host::{HOST_PROBES, Host, HostError};
use super::listing::Listing;
use super::remembered::{Made, OfFile, Remembered};
use super::seed::Seed;
use super::selection::{Request, Selection, of_seeds};
use super::snapshot::{AssembleError, Places, assemble, places};
use super::walk::Walker;
use crate::identity::Identity;
use nixstore::store::StoreError;
use nixstore::{PathInfo, Store, StorePath};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// The file in which snapshots are remembered, in a directory of the user's.
pub const MEMORY: &str = "toolchains";

/// The toolchain snapshots of one host and one store. All threads of a build share one.
///
/// What is remembered is believed while the identities of the host's databases, of every loose file and of every probe stay.
/// These are looked at once in the life of a `Toolchains`, when a program or file is first asked for: it is to live as
/// long as a build.
pub struct Toolchains {
    store: Arc<dyn Store>,
    file: PathBuf,
    scratch: PathBuf,
    known: RwLock<Known>,
    slow: Mutex<Slow>,
}

/// A snapshot in the store.
#[derive(Debug)]
pub struct Snapshot {
    /// What the store knows of it.
    pub info: PathInfo,
    /// What it was made of.
    pub selection: Selection,
    /// Where it is to be seen.
    pub places: Places,
    /// How many files are in it.
    pub files: usize,
    /// The bytes in them.
    pub bytes: u64,
    /// What was left out or could not be followed, and why.
    pub notes: Vec<String>,
    /// How long it took to make; none if it was there.
    pub made_in: Option<Duration>,
    /// While these stay, an equal request gives this snapshot.
    pub probes: Vec<Probe>,
}

/// A file to watch, and what it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which; not to be followed if it is a link.
    pub path: PathBuf,
    /// `None` if it was not there.
    pub identity: Option<Identity>,
}

impl Probe {
    /// True while the file is as it was.
    pub fn holds(&self) -> bool {
        Identity::of(&self.path) == self.identity
    }
}

/// What has been found in this run, by number of seed.
#[derive(Default)]
struct Known {
    seeds: Vec<Seed>,
    numbers: HashMap<Seed, u32>,
    programs: HashMap<OsString, HashMap<PathBuf, Box<[u32]>>>,
    files: HashMap<PathBuf, Box<[u32]>>,
    /// Notes of programs.
    notes: HashMap<PathBuf, Vec<String>>,
    snapshots: HashMap<Vec<u32>, Slot>,
}

/// Locked while its snapshot is made, so that it is made once.
type Slot = Arc<Mutex<Option<Arc<Snapshot>>>>;

/// What only one thread at a time does.
#[derive(Default)]
struct Slow {
    remembered: Option<Remembered>,
    host: Option<Arc<Host>>,
    walker: Walker,
    changed: bool,
}

impl Toolchains {
    /// Snapshots in `store`, remembered in `cache`, a directory of the user's. They are assembled in `scratch`: best on
    /// the store's file system if that has reflinks, else in memory (a tmpfs with some hundred megabytes), since the
    /// store makes a copy of its own. Nothing is read or made yet.
    pub fn new(store: Arc<dyn Store>, cache: &Path, scratch: &Path) -> Self {
        let file = cache.join(MEMORY);
        Self { store, file, scratch: scratch.to_owned(), known: RwLock::default(), slow: Mutex::default() }
    }

    /// The snapshot for `request`; made if it is not there. A request that is being answered in another thread is
    /// waited for.
    ///
    /// # Errors
    /// [`ToolchainError`] where a program is not there, or the snapshot cannot be made. A file that is not there is left
    /// out, and so it is in the sandbox.
    pub fn snapshot(&self, request: &Request) -> Result<Arc<Snapshot>, ToolchainError> {
        let numbers = match self.numbers(request) {
            Some(numbers) => numbers,
            None => self.find(request)?,
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let slot = known.snapshots.get(&numbers).cloned();
        drop(known);
        let slot = slot.unwrap_or_else(|| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.snapshots.entry(numbers.clone()).or_default().clone()
        });
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = &*slot {
            return Ok(snapshot.clone());
        }
        let snapshot = Arc::new(self.make(request, &numbers)?);
        *slot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Of files that have been asked for, as few as give the same snapshot: one of each package, and each that no package
    /// owns.
    pub fn essential(&self, files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut seen = BTreeSet::new();
        let brings_more = |file: &&PathBuf| match known.files.get(*file) {
            Some(numbers) => numbers.iter().filter(|number| seen.insert(**number)).count() > 0,
            None => true,
        };
        files.iter().filter(brings_more).cloned().collect()
    }

    /// What a check that nothing has changed has to watch: the host's databases and the probes of every snapshot asked
    /// for so far, each once.
    pub fn probes(&self) -> Vec<Probe> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let slots: Vec<_> = known.snapshots.values().cloned().collect();
        drop(known);
        let mut probes = BTreeMap::new();
        for slot in slots {
            for probe in
                slot.lock().unwrap_or_else(PoisonError::into_inner).iter().flat_map(|snapshot| &snapshot.probes)
            {
                probes.entry(probe.path.clone()).or_insert(probe.identity);
            }
        }
        probes.into_iter().map(|(path, identity)| Probe { path, identity }).collect()
    }

    /// Writes what was found to the cache, if there is something new. To be called once, at the end.
    ///
    /// # Errors
    /// [`ToolchainError::Cache`].
    pub fn save(&self) -> Result<(), ToolchainError> {
        let mut slow = self.slow();
        if !std::mem::take(&mut slow.changed) {
            return Ok(());
        }
        let Some(remembered) = &slow.remembered else { return Ok(()) };
        remembered.save(&self.file).map_err(|source| ToolchainError::Cache { path: self.file.clone(), source })
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seeds of `request`, sorted; `None` if one of its programs or files is not known.
    fn numbers(&self, request: &Request) -> Option<Vec<u32>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.numbers(request)
    }

    /// As [`Toolchains::numbers`] after finding out what is not known.
    fn find(&self, request: &Request) -> Result<Vec<u32>, ToolchainError> {
        let mut slow = self.slow();
        let slow = &mut *slow;
        loop {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let mut missing = known.missing(request);
            let remembered = slow.remembered.get_or_insert_with(|| Remembered::load(&self.file, Host::identities()));
            missing.retain(|question| !known.recall(question, remembered));
            if missing.is_empty() {
                return Ok(known.numbers(request).expect("all of it is known now"));
            }
            drop(known);
            if slow.host.is_none() {
                self.load_host(slow)?;
                // What was known may be of the time before a change.
                continue;
            }
            let host = slow.host.clone().expect("it was just loaded");
            for question in missing {
                let at = SystemTime::now();
                let mut follower = Follower::new(&host, &mut slow.walker, &request.search_path);
                let answered = match &question {
                    Question::Program(_, path) if path == Path::new(SHELL) => follower.shell_and_tools().map(|()| true),
                    Question::Program(_, path) => follower.program(path).map(|()| true),
                    // Not there: nothing to be taken, and nothing to be remembered.
                    Question::File(path) => Ok(follower.file(path).is_ok()),
                };
                let keep = answered.map_err(ToolchainError::Follow)?;
                let (seeds, notes) = follower.into_seeds();
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if keep && !seeds.iter().any(|seed| seed.is_fresh(at)) {
                    let remembered = slow.remembered.as_mut().expect("it was loaded above");
                    slow.changed |= question.remember(&seeds, at, remembered);
                }
                known.learn(question, seeds, notes);
            }
        }
    }

    fn load_host(&self, slow: &mut Slow) -> Result<(), ToolchainError> {
        let identities = Host::identities();
        slow.host = Some(Arc::new(Host::load()?));
        if slow.remembered.as_ref().is_none_or(|remembered| remembered.host != identities) {
            let made = slow.remembered.take().map(|remembered| remembered.made).unwrap_or_default();
            let mut remembered = Remembered::nothing(identities);
            remembered.made = made;
            slow.remembered = Some(remembered);
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.programs.clear();
            known.files.clear();
        }
        Ok(())
    }

    /// The snapshot of some seeds: remembered, or made.
    fn make(&self, request: &Request, numbers: &[u32]) -> Result<Snapshot, ToolchainError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let seeds: Vec<Seed> = numbers.iter().map(|&number| known.seeds[number as usize].clone()).collect();
        let mut notes: Vec<String> =
            request.programs.iter().filter_map(|path| known.notes.get(path)).flatten().cloned().collect();
        drop(known);
        let key = key_of(&seeds);
        let mut slow = self.slow();
        let remembered = slow.remembered.get_or_insert_with(|| Remembered::load(&self.file, Host::identities()));
        let mut probes = probes_of(&seeds, remembered);
        if let Some(made) = remembered.snapshots.get(&key).cloned()
            && made.outside.iter().all(|(path, identity)| Identity::of(path) == Some(*identity))
            && let Some(info) = self.valid(&made.path)?
        {
            let places = self.places(&info.path)?;
            let Made { selection, files, bytes, notes, outside, .. } = made;
            probes.extend(outside.into_iter().map(|(path, identity)| Probe { path, identity: Some(identity) }));
            return Ok(Snapshot { info, selection, places, files, bytes, notes, made_in: None, probes });
        }
        if slow.host.is_none() {
            self.load_host(&mut slow)?;
        }
        let host = slow.host.clone().expect("it was just loaded");
        drop(slow);

        let at = SystemTime::now();
        let start = Instant::now();
        let selection = of_seeds(&seeds, &host);
        let listing = Listing::new(&selection, &host);
        let digest = listing.digest().to_hex().to_string();
        let (files, bytes) = listing.size();
        let outside: Vec<(PathBuf, Identity)> = listing.outside().collect();
        notes.extend(listing.notes.iter().cloned());
        let before = self.slow().remembered.as_ref().and_then(|remembered| remembered.made.get(&digest).cloned());
        let there = before.map(|path| self.valid(&path)).transpose()?.flatten();
        let made_in = there.is_none().then_some(start);
        let info = match there {
            Some(info) => info,
            None => {
                let (info, unread) = assemble(&listing, &self.scratch, &*self.store)?;
                notes.extend(unread);
                info
            }
        };
        let made_in = made_in.map(|start| start.elapsed());
        if !listing.is_fresh(at) {
            let mut slow = self.slow();
            let (path, outside) = (info.path.to_string(), outside.clone());
            let made = Made { path, selection: selection.clone(), files, bytes, notes: notes.clone(), outside };
            if let Some(remembered) = &mut slow.remembered {
                remembered.made.insert(digest, made.path.clone());
                remembered.snapshots.insert(key, made);
            }
            slow.changed = true;
        }
        let places = self.places(&info.path)?;
        probes.extend(outside.into_iter().map(|(path, identity)| Probe { path, identity: Some(identity) }));
        Ok(Snapshot { info, selection, places, files, bytes, notes, made_in, probes })
    }

    /// What the store knows of a path that was valid once.
    fn valid(&self, path: &str) -> Result<Option<PathInfo>, ToolchainError> {
        let Ok(path) = path.parse::<StorePath>() else { return Ok(None) };
        let infos = self.store.path_infos(&[path]).map_err(ToolchainError::Store)?;
        Ok(infos.into_iter().next().flatten())
    }

    fn places(&self, path: &StorePath) -> Result<Places, ToolchainError> {
        let tree = self.store.files(path).map_err(ToolchainError::Store)?;
        places(&tree).map_err(|source| ToolchainError::Read { path: tree, source })
    }
}

/// The program that stands for `shell` in a request: `/bin/sh`, and what a script takes for granted beside it.
const SHELL: &str = "/bin/sh";

/// A part of a request.
enum Question {
    Program(OsString, PathBuf),
    File(PathBuf),
}

impl Question {
    /// Writes the answer down; false if it is no text.
    fn remember(&self, seeds: &[Seed], at: SystemTime, remembered: &mut Remembered) -> bool {
        if !seeds.iter().all(Seed::is_text) {
            return false;
        }
        let numbers = seeds.iter().map(|seed| {
            let number = remembered.seeds.iter().position(|other| other == seed).unwrap_or_else(|| {
                remembered.seeds.push(seed.clone());
                remembered.seeds.len() - 1
            });
            u32::try_from(number).expect("fewer than 2^32 seeds")
        });
        let numbers: Vec<u32> = numbers.collect();
        match self {
            Self::Program(search_path, path) => {
                let (Some(search_path), Some(path)) = (search_path.to_str(), path.to_str()) else { return false };
                remembered.programs.entry(search_path.into()).or_default().insert(path.into(), numbers);
            }
            Self::File(path) => {
                let (Some(text), Some(identity)) = (path.to_str(), identity_behind(path)) else { return false };
                if !identity.settled(at) {
                    return false;
                }
                remembered.files.insert(text.into(), OfFile { identity, seeds: numbers });
            }
        }
        true
    }
}

impl Known {
    fn numbers(&self, request: &Request) -> Option<Vec<u32>> {
        let mut numbers = Vec::with_capacity(64);
        if request.shell || !request.programs.is_empty() {
            let programs = self.programs.get(&request.search_path)?;
            let shell = request.shell.then(|| Path::new(SHELL));
            for program in request.programs.iter().map(PathBuf::as_path).chain(shell) {
                numbers.extend_from_slice(programs.get(program)?);
            }
        }
        // Neighbours are mostly of one package.
        let mut last: &[u32] = &[];
        for file in &request.files {
            let found = self.files.get(file)?;
            if **found != *last {
                numbers.extend_from_slice(found);
                last = found;
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Some(numbers)
    }

    fn missing(&self, request: &Request) -> Vec<Question> {
        let shell = request.shell.then(|| PathBuf::from(SHELL));
        let programs: BTreeSet<PathBuf> = request.programs.iter().cloned().chain(shell).collect();
        let of_path = self.programs.get(&request.search_path);
        let programs = programs.into_iter().filter(|path| of_path.is_none_or(|known| !known.contains_key(path)));
        let files = request.files.iter().filter(|path| !self.files.contains_key(*path));
        let programs = programs.map(|path| Question::Program(request.search_path.clone(), path));
        programs.chain(files.map(|path| Question::File(path.clone()))).collect()
    }

    /// Takes the answer from what is remembered, if it is still true. Where a file is not what it was, all snapshots are
    /// looked at again: it may be in each.
    fn recall(&mut self, question: &Question, remembered: &mut Remembered) -> bool {
        if let Question::File(path) = question
            && let Some(known) = path.to_str().and_then(|path| remembered.files.get(path))
            && identity_behind(path) != Some(known.identity)
        {
            remembered.snapshots.clear();
            self.snapshots.clear();
            return false;
        }
        let text = |path: &OsStr| path.to_str().map(str::to_owned);
        let numbers = match question {
            Question::Program(search_path, path) => text(search_path)
                .and_then(|search_path| remembered.programs.get(&search_path)?.get(&text(path.as_os_str())?)),
            Question::File(path) => {
                text(path.as_os_str()).and_then(|path| remembered.files.get(&path)).map(|file| &file.seeds)
            }
        };
        let Some(numbers) = numbers else { return false };
        let seeds: Vec<Seed> = remembered.seeds(numbers).cloned().collect();
        if !seeds.iter().all(Seed::holds) {
            return false;
        }
        let question = match question {
            Question::Program(search_path, path) => Question::Program(search_path.clone(), path.clone()),
            Question::File(path) => Question::File(path.clone()),
        };
        self.learn(question, seeds, Vec::new());
        true
    }

    fn learn(&mut self, question: Question, seeds: Vec<Seed>, notes: Vec<String>) {
        let numbers: Box<[u32]> = seeds.into_iter().map(|seed| self.number(seed)).collect();
        match question {
            Question::Program(search_path, path) => {
                self.notes.insert(path.clone(), notes);
                self.programs.entry(search_path).or_default().insert(path, numbers);
            }
            Question::File(path) => {
                self.files.insert(path, numbers);
            }
        }
    }

    fn number(&mut self, seed: Seed) -> u32 {
        if let Some(&number) = self.numbers.get(&seed) {
            return number;
        }
        let number = u32::try_from(self.seeds.len()).expect("fewer than 2^32 seeds");
        self.seeds.push(seed.clone());
        self.numbers.insert(seed, number);
        number
    }
}

/// The identity of a file, or of what a link leads to.
fn identity_behind(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|metadata| Identity::from_metadata(&metadata))
}

/// A name for a set of seeds with their identities.
fn key_of(seeds: &[Seed]) -> String {
    let mut texts: Vec<String> = seeds.iter().map(|seed| format!("{seed:?}")).collect();
    texts.sort();
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex().to_string()
}

fn probes_of(seeds: &[Seed], remembered: &Remembered) -> Vec<Probe> {
    let host = HOST_PROBES.iter().zip(&remembered.host);
    let mut probes: Vec<Probe> = host.map(|(path, &identity)| Probe { path: path.into(), identity }).collect();
    probes.extend(seeds.iter().filter_map(|seed| {
        let path = seed.probe()?.to_owned();
        let identity = match seed {
            Seed::File(_, identity) | Seed::Probe(_, identity) => Some(*identity),
            _ => Identity::of(&path),
        };
        Some(Probe { path, identity })
    }));
    probes
}

/// No snapshot for a request.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// What is installed could not be found out.
    #[error("cannot find out what is installed")]
    Host(#[from] HostError),
    /// A program is not there.
    #[error("cannot find what a command needs")]
    Follow(#[source] FollowError),
    /// The snapshot could not be made.
    #[error("cannot make a toolchain snapshot")]
    Assemble(#[from] AssembleError),
    /// The store could not say what it has.
    #[error("cannot ask the store for a toolchain snapshot")]
    Store(#[source] StoreError),
    /// A snapshot in the store could not be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// Its place.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache could not be written.
    #[error("cannot write `{}`", .path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Question {
        Question::File(path.into())
    }

    #[test]
    fn a_request_is_known_when_all_its_parts_are() {
        let mut known = Known::default();
        let request = Request {
            programs: ["/usr/bin/cc".into()].into(),
            files: ["/usr/include/a.h".into(), "/usr/include/b.h".into()].into(),
            shell: true,
            search_path: "/usr/bin".into(),
        };
        assert_eq!(known.missing(&request).len(), 4);
        let package = |name: &str| vec![Seed::Package(name.into())];
        known.learn(file("/usr/include/a.h"), package("libc6-dev:amd64"), vec![]);
        known.learn(file("/usr/include/b.h"), package("libc6-dev:amd64"), vec![]);
        known.learn(Question::Program("/usr/bin".into(), "/usr/bin/cc".into()), package("gcc:amd64"), vec![]);
        assert_eq!(known.numbers(&request), None);
        known.learn(Question::Program("/usr/bin".into(), SHELL.into()), package("dash:amd64"), vec![]);
        assert_eq!(known.numbers(&request).map(|numbers| numbers.len()), Some(3));
        assert!(known.missing(&request).is_empty());
        let elsewhere = Request { search_path: "/opt/bin".into(), ..request };
        assert_eq!(known.numbers(&elsewhere), None);
    }

    #[test]
    fn what_is_remembered_is_asked_for_again_when_the_file_has_changed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tool.h");
        std::fs::write(&path, "1").expect("write");
        let question = Question::File(path.clone());
        let seed = Seed::File(path.clone(), Identity::of(&path).expect("it is there"));
        let mut remembered = Remembered::nothing(Vec::new());
        assert!(question.remember(&[seed], later(), &mut remembered));
        assert!(Known::default().recall(&question, &mut remembered));
        std::fs::write(&path, "22").expect("write");
        assert!(!Known::default().recall(&question, &mut remembered));
    }

    #[test]
    fn a_file_of_a_package_that_somebody_has_changed_makes_every_snapshot_doubtful() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("a.h");
        std::fs::write(&path, "1").expect("write");
        let mut remembered = Remembered::nothing(Vec::new());
        assert!(file_at(&path).remember(&[Seed::Package("a:amd64".into())], later(), &mut remembered));
        let made = Made {
            path: "path".into(),
            selection: Selection::default(),
            files: 1,
            bytes: 1,
            notes: Vec::new(),
            outside: Vec::new(),
        };
        remembered.snapshots.insert("key".into(), made);
        assert!(Known::default().recall(&file_at(&path), &mut remembered));
        assert_eq!(remembered.snapshots.len(), 1);
        std::fs::write(&path, "2").expect("write");
        assert!(!Known::default().recall(&file_at(&path), &mut remembered));
        assert!(remembered.snapshots.is_empty());
    }

    /// When what was just written is old.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(5)
    }

    fn file_at(path: &Path) -> Question {
        Question::File(path.into())
    }

    #[test]
    fn the_name_of_seeds_does_not_depend_on_their_order() {
        let [a, b] = ["a", "b"].map(|name| Seed::Package(name.into()));
        assert_eq!(key_of(&[a.clone(), b.clone()]), key_of(&[b.clone(), a.clone()]));
        assert_ne!(key_of(&[a]), key_of(&[b]));
    }
}
