//! A miss: the call becomes the derivation that every front end makes of it, is realised in the store, and what came of it is
//! put in place and remembered.

use crate::arguments::Compile;
use crate::cache::{Alone, Cache};
use crate::call::{Call, Manner};
use crate::clean;
use crate::entry::{Directory, File, Gave, Guards, Known, Output, Place, Refusal};
use crate::guard;
use crate::helper::Helper;
use crate::hit;
use crate::settings::{self, Settings};
use crate::times;
use bstr::{BStr, BString, ByteSlice as _};
use ccwrap_format::call::{Family, matters};
use frontend::{Expected, Isolation, Opened, Tell, Want, places};
use localstore::runner::Network;
use localstore::{Choice, Early, LocalStore};
use nixstore::manifest::HeadStart;
use nixstore::store::{Failure, StoreError};
use nixstore::{StoreDir, StorePath};
use splitter::compiler;
use splitter::discover::Found;
use splitter::discover::headers::Headers;
use splitter::discover::{parent, to_path};
use splitter::drive::{Drive, Error, Keep, Likely, One, Product, Sandbox};
use splitter::graph::{Command, absolute};
use splitter::head_start;
use splitter::host_tools::{HostTools, SEARCH_PATH};
use splitter::identity::Identity;
use splitter::lower::Toolchain;
use splitter::outside::Asked;
use splitter::roots::{Mode, Roots};
use splitter::rustc;
use splitter::shell;
use splitter::toolchain::{self, Toolchains, resolve_program};
use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::SystemTime;
use std::{env, fs, thread};

/// What is to be made.
pub struct Job<'a> {
    /// The call.
    pub call: &'a Call,
    /// What it makes.
    pub compile: &'a Compile,
    /// The settings.
    pub settings: &'a Settings,
    /// Where its store may be, and its entry.
    pub cache: Option<&'a Cache>,
    /// Whether it is to be compiled though the store has it.
    pub afresh: bool,
    /// Whether it is to have an entry.
    pub remembers: bool,
    /// Files that decided how the call was understood: settings and programs. Some are to be absent.
    pub decided: &'a [PathBuf],
    /// By which text and name.
    pub text: &'a BStr,
    /// See there.
    pub name: &'a str,
    /// Set by somebody else to stop it.
    pub cancelled: &'a AtomicBool,
    /// A sandbox that waits for it, if there is one.
    pub early: &'a Mutex<Option<Early>>,
    /// Done before the compiler begins, if it does.
    pub begins: &'a (dyn Fn() + Sync),
    /// Done while it runs.
    pub meanwhile: &'a (dyn Fn() + Sync),
}

/// What came of it.
#[derive(Debug)]
pub struct Made {
    /// It was compiled, and not found in the store.
    pub ran: bool,
    /// What the compiler printed.
    pub log: Vec<u8>,
}

/// What has been done in the store.
struct Done {
    product: Arc<Product>,
    refusal: Option<Refusal>,
    /// The store has been made smaller.
    is_too_large: bool,
}

/// Why the compiler is to do it.
#[derive(Debug)]
pub enum NotMade {
    /// It has failed, and is to say why; or it was killed.
    Failed(Failure),
    /// Nothing is to be remembered of what was made.
    Refused(Refusal),
    /// Something of ours did not work.
    Trouble(Error),
    /// The store has given files that are not what was made: these paths.
    Spoilt(Vec<StorePath>),
}

impl<E: Into<Error>> From<E> for NotMade {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

impl Job<'_> {
    /// Makes it; what the store has lost, or what is not as it was made, is made again. `tell` is told what the user should know.
    ///
    /// # Errors
    /// [`NotMade`], but [`NotMade::Spoilt`] only where the store cannot be put right.
    pub fn make(&self, tell: Tell<'_>) -> Result<Made, NotMade> {
        match self.try_make(tell) {
            Err(NotMade::Spoilt(paths)) => {
                tell("the store has files that are not what was made; they are made again");
                if self.forget(&|store| store.forget_spoilt(&paths))? {
                    self.try_make(tell)
                } else {
                    Err(NotMade::Spoilt(paths))
                }
            }
            Err(NotMade::Trouble(error)) if self.forget(&LocalStore::forget_missing).unwrap_or(false) => {
                tell(&format!("the store has lost files, which are made again: {error}"));
                self.try_make(tell)
            }
            made => made,
        }
    }

    /// Whether the embedded store has forgotten something; a daemon puts its store right itself.
    fn forget(&self, forget: &dyn Fn(&LocalStore) -> Result<Vec<StorePath>, StoreError>) -> Result<bool, Error> {
        match self.choice()? {
            Choice::Embedded(root) if root.join("nix").is_dir() => Ok(!forget(&LocalStore::open(&root)?)?.is_empty()),
            Choice::Embedded(_) | Choice::Daemon { .. } => Ok(false),
        }
    }

    fn choice(&self) -> Result<Choice, Error> {
        choice(self.settings, self.cache, to_path(self.call.directory.as_bstr()))
    }

    fn try_make(&self, tell: Tell<'_>) -> Result<Made, NotMade> {
        let Done { product, refusal, is_too_large } = thread::scope(|scope| self.make_beside(scope, tell))?;
        self.cache.filter(|_| is_too_large).iter().for_each(|cache| clean::remove_dead(cache));
        match refusal {
            // It ran where it is: all is in place.
            Some(Refusal::Unknowable) | None => Ok(Made { ran: product.ran, log: product.log.clone() }),
            Some(refusal) => Err(NotMade::Refused(refusal)),
        }
    }

    /// Makes it, with a thread beside that is woken in the end: it writes the entry while the store is closed.
    fn make_beside<'scope, 'a: 'scope>(
        &'a self,
        scope: &'scope Scope<'scope, 'a>,
        tell: Tell<'_>,
    ) -> Result<Done, NotMade> {
        let begun = SystemTime::now();
        let helper = Helper::default();
        let network = Network::of_edge(self.compile.rust.is_none());
        let likely_tools = OnceCell::new();
        let recalled = |own: &Path| head_start::recall(own, &self.call.compiler).map(Arc::new);
        let start = |own: &Path| self.head_start(likely_tools.get_or_init(|| recalled(own)).as_ref()?);
        let expected = Expected { network, early: self.early, start: &start };
        let want = Want { isolation: self.settings.isolation()?, way: None, jobs: 1, expected: Some(expected) };
        let opened = Opened::open(&self.choice()?, &want, tell)?;
        if opened.sandbox == Sandbox::None && want.isolation == Isolation::Auto {
            self.warn_of_refusal();
        }
        let first = self.first(&opened);
        let toolchains = Toolchains::new(opened.store.clone(), &opened.own, &opened.scratch);
        let tools = HostTools::new(toolchains, Box::new(|_| {}));
        // A compile is scanned faster than a history is opened; what it reads is known by that.
        let is_scanned = compiler::Compile::read(&self.call.words).is_some();
        let history = match self.settings.get("cache_dir").and(self.cache) {
            _ if is_scanned => None,
            Some(cache) => Some(cache.directory().join("history.sqlite")),
            None => places::history_file(),
        };
        let history = history.and_then(|file| places::open_history(&file, tell));
        let roots = self.roots()?;
        // It is let go with the process, which ends soon: it has thousands of parts.
        let headers = Box::leak(Box::new(Headers::new(Some(&opened.own.join("compilers")))));
        let looks = Arc::new(Looks::default());
        let make = |one: &One| -> Result<Product, NotMade> {
            let graph = one.graph(self.call.directory.clone())?;
            let drive = Drive {
                graph: &graph,
                store: &*opened.store,
                tools: &tools,
                runner: opened.runner.clone(),
                headers,
                history: history.as_ref(),
                roots: roots.clone(),
                mode: if opened.sandbox == Sandbox::None { Mode::Same } else { self.settings.root_mode()? },
                sandbox: opened.sandbox,
                outside: &Asked::new(&[])?,
                settled: &BTreeSet::new(),
                adopt: None,
                exact: false,
                every_file: true,
                audited: false,
                afresh: self.afresh,
                jobs: 1,
                jobserver: None,
                environment: BTreeMap::new(),
                load: None,
                failures: 1,
                keep: Keep::default(),
                cancelled: self.cancelled,
                likely: likely_tools.get().cloned().flatten().map(|tools| Likely { tools, begins: self.begins }),
                meanwhile: Some(&|found| {
                    (self.begins)();
                    helper.get_ready(scope);
                    looks.take(found);
                    opened.get_ready();
                    (self.meanwhile)();
                }),
            };
            drive.make_one().map_err(|not| match not.error.downcast::<Failure>() {
                Ok(failure) => NotMade::Failed(*failure),
                Err(error) => NotMade::Trouble(error),
            })
        };
        let mut env = self.call.env.clone();
        let mut product = make(&self.one(None, &env))?;
        while let Some(more) = self.read_unseen(&product, &env) {
            env.extend(more);
            product = make(&self.one(None, &env))?;
        }
        let manner = &self.call.manner;
        if !product.log.is_empty() && *manner != Manner::default() && !product.outside {
            let without_links = Manner { links: false, ..manner.clone() };
            let mannered = match make(&self.one(Some(manner), &env)) {
                // An old one does not know the option.
                Err(NotMade::Failed(_)) if manner.links => make(&self.one(Some(&without_links), &env))?,
                made => made?,
            };
            product = match manner.links {
                // The option may be in debug information: what is put in place is what was made without.
                true => Product { log: mannered.log, ran: product.ran, ..make(&self.one(None, &env))? },
                false => mannered,
            };
        }
        let spoilt = spoilt(&product);
        if !spoilt.is_empty() {
            return Err(NotMade::Spoilt(spoilt));
        }
        let refusal = self.refusal(&product);
        let limit = self.settings.max_size()?;
        let product = Arc::new(product);
        let made = product.clone();
        let handed = helper.hand(move || {
            let kept = self
                .cache
                .filter(|_| self.remembers)
                .and_then(|cache| Some((cache, Kept::of(&made, self.decided, &self.searched(), &looks, begun)?)));
            kept.iter().for_each(|(cache, kept)| self.remember(cache, &made, kept, refusal));
        });
        if let Some(tools) = &product.tools {
            head_start::remember(&opened.own, &self.call.compiler, tools, product.ran);
        }
        tools.save()?;
        drop(tools); // it has the store open, from which nothing is deleted then
        drop(first);
        history.iter().for_each(|history| places::save(history, tell));
        if let Some(warning) = &product.warning {
            tell(&format!("warning: {warning}"));
        }
        let is_too_large = Cell::new(false);
        let outputs = || {
            is_too_large.set(true);
            self.cache.map(clean::uses).unwrap_or_default()
        };
        opened.end(&frontend::End { limit, keep: None, outputs: &outputs, verbose: false }, tell);
        handed.end();
        Ok(Done { product, refusal, is_too_large: is_too_large.get() })
    }

    /// The directories that the words name for headers, there or not.
    fn searched(&self) -> Vec<BString> {
        let directory = self.call.directory.as_bstr();
        let searched = compiler::Compile::read(&self.call.words).map(|compile| compile.search).unwrap_or_default();
        searched.iter().map(|path| absolute(path.as_bstr(), directory)).collect()
    }

    fn roots(&self) -> Result<Roots, Error> {
        // Cargo compiles a crate of somebody else where that lies; the checkout is where it goes to.
        let checkout_of = self.compile.rust.as_ref().map_or(".".into(), |rust| rust.directory.clone());
        let target = absolute(checkout_of.as_bstr(), self.call.directory.as_bstr());
        let directory = to_path(self.call.directory.as_bstr());
        let checkout = self.settings.base_dir(directory);
        let maps: Vec<String> = self
            .settings
            .get("map")
            .map(|maps| maps.to_string_lossy().split(' ').map(str::to_owned).collect())
            .unwrap_or_default();
        let is_in_checkout = splitter::checkout::top(to_path(target.as_bstr())).is_some();
        let within = if is_in_checkout { to_path(target.as_bstr()) } else { directory };
        places::roots(checkout, &maps, within)
    }

    /// How the compiler is begun before it is known what it reads, with the tools that it probably needs.
    fn head_start(&self, tools: &Toolchain) -> Option<HeadStart> {
        let recipe = self.one(None, &self.call.env).recipe(self.call.directory.as_bstr());
        head_start::of(&StoreDir::default(), &recipe, &self.roots().ok()?, self.settings.root_mode().ok()?, tools)
    }

    /// Held by the one that makes the first snapshot of the host's tools; who else wants it waits, and need not make it too.
    fn first(&self, opened: &Opened) -> Option<Alone> {
        let is_known = || opened.own.join(toolchain::MEMORY).exists();
        let (alone, _) = self.cache.filter(|_| !is_known())?.lock("first").ok()?;
        Some(alone).filter(|_| !is_known())
    }

    /// Warns that there are no namespaces, once for a build.
    fn warn_of_refusal(&self) {
        if self.cache.is_some_and(|cache| !cache.was_told("told-of-namespaces")) {
            eprintln!(
                "ccwrap: warning: this host refuses namespaces: compilers run where they are, traced, and what they make is \
                 not for other hosts"
            );
        }
    }

    /// The command, which prints in the manner that is asked for, or in that of every command.
    fn one(&self, manner: Option<&Manner>, env: &BTreeMap<BString, BString>) -> One {
        let call = self.call;
        let mut words = call.words.clone();
        words[0] = self.program();
        if self.compile.rust.is_some() {
            // What comes out does not depend on what an earlier compile has left, and nobody can share that.
            words = rustc::without_incremental(&words);
        }
        let mut env = env.clone();
        if let Some(manner) = manner {
            if manner.coloured {
                let always = BString::from("-fdiagnostics-color=always");
                words
                    .iter_mut()
                    .filter(|word| *word == "-fdiagnostics-color=auto")
                    .for_each(|word| *word = always.clone());
                words.insert(1, always);
            }
            if manner.links {
                words.insert(1, "-fdiagnostics-urls=always".into());
                let named = call.read.get(b"TERM_URLS".as_bstr()).cloned().flatten();
                env.extend(named.map(|value| ("TERM_URLS".into(), value)));
            }
            env.extend(manner.locale.iter().map(|locale| ("LC_ALL".into(), locale.clone())));
        }
        let extra = self.settings.extra_files().into_iter().map(|path| path.into_os_string().into_vec().into());
        // By which name a compiler knows its directory.
        let also = extra.chain(env.get(b"PWD".as_bstr()).cloned()).collect();
        let depfile = self.compile.depfile.clone();
        let command = Command { text: shell::quoted(&words), env, also, alone: true, depfile, ..Command::default() };
        let outputs = self.compile.outputs.iter().chain(&self.compile.others).cloned().collect();
        One { command, outputs, inputs: self.compile.sources.clone() }
    }

    /// The compiler as the call names it, if it is found by that name in a sandbox too.
    fn program(&self) -> BString {
        let named = &self.call.words[0];
        let file = || BString::from(self.call.compiler.as_os_str().as_bytes());
        if self.compile.rust.is_some() {
            return file(); // which a proxy has chosen
        }
        if named.contains(&b'/') {
            return named.clone();
        }
        let found = resolve_program(to_path(named.as_bstr()).as_os_str(), SEARCH_PATH.as_ref());
        if found.is_some_and(|found| found == self.call.compiler) { named.clone() } else { file() }
    }

    /// The variables that a crate has read and was not shown, though they are set; none if there are none.
    fn read_unseen(&self, product: &Product, env: &BTreeMap<BString, BString>) -> Option<BTreeMap<BString, BString>> {
        let names = read_by_crate(product).into_keys().filter(|name| !env.contains_key(name));
        let more: BTreeMap<_, _> = names.filter_map(|name| variable(&name).map(|value| (name, value))).collect();
        (self.compile.rust.is_some() && !product.outside && !more.is_empty()).then_some(more)
    }

    /// Why nothing is to be remembered of what was made.
    fn refusal(&self, product: &Product) -> Option<Refusal> {
        if product.outside {
            return Some(Refusal::Unknowable);
        }
        if self.compile.rust.is_some() {
            // Such as `HOME`, which every command in a sandbox has.
            let is_other = read_by_crate(product).into_iter().any(|(name, value)| variable(&name) != value);
            return is_other.then_some(Refusal::Variable);
        }
        let is_foreign = self.call.manner.locale.as_ref().is_some_and(|locale| locale != "C" && locale != "POSIX");
        if is_foreign && !product.log.is_empty() {
            return Some(Refusal::Language);
        }
        if has_equals_to_be_read_once(product) {
            return Some(Refusal::Time);
        }
        times::matter(product, self.call).then_some(Refusal::Time)
    }

    /// Writes the entry of what was made; without one, the next call asks the store.
    fn remember(&self, cache: &Cache, product: &Product, kept: &Kept, refusal: Option<Refusal>) {
        let depfile = self.compile.depfile.as_ref().and_then(|path| {
            // Clang writes none with `-Wp,-MD,FILE,-MT,TARGET`.
            Some((absolute(path.as_bstr(), self.call.directory.as_bstr()), product.depfile.as_deref()?))
        });
        let compiler = self.call.compiler.file_name().unwrap_or_default().to_string_lossy();
        let gave = match refusal {
            Some(refusal) => Gave::Refused(refusal),
            None if !product.unwritten.is_empty() && !self.compile.checks_only => return,
            None => Gave::Made {
                compiler: &compiler,
                outputs: product
                    .outputs
                    .iter()
                    .map(|(at, from)| Output { at, from: from.as_os_str().as_bytes(), identity: Identity::of(from) })
                    .collect(),
                depfile: depfile.as_ref().map(|(path, text)| (path.as_slice(), *text)),
                log: &product.log,
            },
        };
        let mut read = self.call.read.clone();
        if self.compile.rust.is_some() {
            read.extend(read_by_crate(product).into_keys().map(|name| (name.clone(), variable(&name))));
            read.retain(|name, _| !matters(name, Family::Rust, false));
        }
        let mut guards = kept.guards(product);
        guards.variables =
            read.iter().map(|(name, value)| (name.as_slice(), value.as_ref().map(|value| value.as_slice()))).collect();
        let known = Known { guards, gave };
        let namespace = self.settings.get("namespace").unwrap_or_default().as_bytes();
        hit::remember(cache, self.name, self.text, namespace, known).ok(); // then it is found in the store
    }
}

/// The store that is meant.
fn choice(settings: &Settings, cache: Option<&Cache>, directory: &Path) -> Result<Choice, Error> {
    let store = settings::store(settings, cache.map(Cache::directory));
    Ok(localstore::store_of(&store, |name| env::var_os(name), directory)?)
}

/// Begins the sandbox of a compile of C or C++ in `directory`.
pub fn early(settings: &Settings, cache: &Cache, directory: &Path) -> Option<Early> {
    frontend::early(&choice(settings, Some(cache), directory).ok()?, settings.isolation().ok()?, Network::of_edge(true))
}

/// Whether two files with the same content are to be read once: a compiler takes them for one only if they were changed at the same
/// time (GCC 12, `check_file_against_entries`), which a sandbox does not show.
fn has_equals_to_be_read_once(product: &Product) -> bool {
    let mut by_size: HashMap<u64, Vec<&BString>> = HashMap::new();
    for (path, identity, _) in &product.inputs {
        let size = identity.or_else(|| Identity::of(to_path(path.as_bstr()))).map_or(0, |identity| identity.size());
        by_size.entry(size).or_default().push(path);
    }
    let same_size = by_size.into_values().filter(|paths| paths.len() > 1).flatten();
    let texts = same_size.map(|path| fs::read(to_path(path.as_bstr())).unwrap_or_default());
    let mut seen = BTreeSet::new();
    texts.filter(|text| text.contains_str("once") || text.contains_str("import")).any(|text| !seen.insert(text))
}

/// The variables that a crate has read, by what its depfile says.
fn read_by_crate(product: &Product) -> BTreeMap<BString, Option<BString>> {
    product.depfile.as_deref().map(rustc::variables_in).unwrap_or_default()
}

/// The value of a variable of this process.
fn variable(name: &BString) -> Option<BString> {
    env::var_os(to_path(name.as_bstr())).map(|value| BString::from(value.as_bytes()))
}

/// Store paths of outputs that are not what was made. What was made just now is.
fn spoilt(product: &Product) -> Vec<StorePath> {
    let outputs = product.outputs.iter().filter(|_| !product.ran && !product.outside);
    let tops: BTreeSet<(&Path, StorePath)> = outputs.filter_map(|(_, from)| hit::store_path_of(from)).collect();
    tops.into_iter().filter(|(top, _)| !hit::is_as_named(top)).map(|(_, path)| path).collect()
}

/// How files of the host look, which are looked at once: while the compiler runs, so that nobody waits for it.
#[derive(Default)]
struct Looks {
    files: Mutex<HashMap<BString, Option<Look>>>,
    directories: Mutex<HashMap<BString, Option<Identity>>>,
}

#[derive(Clone)]
struct Look {
    identity: Identity,
    /// Where it leads, if it is a link.
    target: Option<BString>,
}

impl Looks {
    fn take(&self, found: &Found) {
        found.system.iter().for_each(|path| drop(self.at(path)));
        for path in found.absent.iter().flat_map(|absent| &absent.directories) {
            self.directory(path);
        }
    }

    fn directory(&self, path: &BString) -> Option<Identity> {
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(path.clone()).or_insert_with(|| guard::of_directory(path.as_bstr()))
    }

    /// None if there is nothing.
    fn at(&self, path: &BString) -> Option<Look> {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let look = || {
            let file = to_path(path.as_bstr());
            let metadata = fs::symlink_metadata(file).ok()?;
            let target = if metadata.is_symlink() { Some(fs::read_link(file).ok()?) } else { None };
            let target = target.map(|target| target.as_os_str().as_bytes().into());
            Some(Look { identity: Identity::from_metadata(&metadata), target })
        };
        known.entry(path.clone()).or_insert_with(look).clone()
    }
}

/// What the guards of a result borrow.
struct Kept {
    contents: Vec<String>,
    places: Vec<(BString, Option<Identity>, BString)>,
    host: Vec<(BString, Option<Identity>)>,
    /// With their real paths.
    directories: Vec<(BString, Option<Identity>, BString)>,
}

impl Kept {
    /// None where something has changed since the call began, so that nobody knows what it was when it was read.
    fn of(
        product: &Product,
        decided: &[PathBuf],
        searched: &[BString],
        looks: &Looks,
        begun: SystemTime,
    ) -> Option<Self> {
        let settled = |identity: &Identity| identity.settled(begun);
        let mut host: Vec<(BString, Option<Identity>)> = product
            .probes
            .iter()
            .map(|probe| (BString::from(probe.path.as_os_str().as_bytes()), probe.identity))
            .collect();
        let decided = decided.iter().map(|path| BString::from(path.as_os_str().as_bytes()));
        let mut waiting: Vec<BString> = product.found.system.iter().cloned().chain(decided).collect();
        let mut seen = BTreeSet::new();
        while let Some(path) = waiting.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            let Some(Look { identity, target }) = looks.at(&path) else {
                host.push((path, None));
                continue;
            };
            if let Some(target) = target {
                waiting.push(absolute(target.as_bstr(), parent(path.as_bstr())));
            }
            host.push((path, Some(Some(identity).filter(settled)?)));
        }
        for directory in product.found.listed.keys() {
            // By its look alone: what it holds is another matter, for the store.
            let identity = guard::of_directory(directory.as_bstr()).filter(settled)?;
            host.push((directory.clone(), Some(identity)));
        }
        host.sort_by(|(a, _), (b, _)| a.cmp(b));
        host.dedup_by(|(a, _), (b, _)| a == b);
        let mut places = Vec::new();
        for absent in &product.found.absent {
            for directory in &absent.directories {
                let identity = looks.directory(directory).filter(settled);
                if identity.is_none() && guard::appeared(directory.as_bstr(), &absent.names).is_some() {
                    return None;
                }
                places.push((directory.clone(), identity, absent.names.clone()));
            }
        }
        let contents = product.inputs.iter().map(|(.., content)| content.to_string()).collect();
        let directories = product.found.directories.iter().chain(searched).collect::<BTreeSet<_>>().into_iter();
        let directories = directories.map(|path| {
            let real = guard::real_directory(path.as_bstr()).unwrap_or_default();
            (path.clone(), guard::of_place(path.as_bstr()), real)
        });
        let directories = directories.collect();
        Some(Self { contents, places, host, directories })
    }

    fn guards<'a>(&'a self, product: &'a Product) -> Guards<'a> {
        let files = product.inputs.iter().zip(&self.contents);
        Guards {
            files: files.map(|((path, identity, _), content)| File { path, identity: *identity, content }).collect(),
            places: self
                .places
                .iter()
                .map(|(directory, identity, names)| Place { directory, identity: *identity, names })
                .collect(),
            directories: self
                .directories
                .iter()
                .map(|(path, identity, real)| Directory { path, identity: *identity, real })
                .collect(),
            there: product.found.names.iter().map(|path| path.as_slice()).collect(),
            host: self.host.iter().map(|(path, identity)| (path.as_slice(), *identity)).collect(),
            variables: Vec::new(),
        }
    }
}
