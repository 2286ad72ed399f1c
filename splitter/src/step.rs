//! One edge's way: whether it is up to date, else discovered, lowered, realised and put in place.

mod adopted;
mod ahead;
mod audited;
mod crates;
mod dry;
mod first;
mod in_place;
mod one;
mod outside;
mod times;
mod tools;
mod versions;

pub(crate) use ahead::Ahead;
pub use dry::{NoStore, NoTools};
pub use one::{NoProduct, One, Product};
pub(crate) use versions::Versions;

use crate::audit::Finding;
use crate::contents::Contents;
use crate::depfile;
use crate::discover::headers::Headers;
use crate::discover::{self, Found, to_path, ways, wide};
use crate::drive::{Done, Drive, Error, Reason, Sandbox};
use crate::graph::{Command, Deps, EdgeId, absolute};
use crate::history::Lesson;
use crate::lower::{Inputs, Toolchain, lower, output, output_names};
use crate::materialise;
use crate::outside::Outside;
use crate::plan::Plan;
use crate::presence::Presence;
use crate::recipe::{Kind, Recipe};
use crate::roots::{Mode, View};
use crate::state::{Made, Record, Records};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::UNWRITTEN;
use nixstore::store::{BuildOptions, Failure, RealiseError, StoreError};
use nixstore::{OutputName, ResolvedDerivation, StorePath};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// What the steps of a run share.
pub(crate) struct Steps<'a> {
    pub drive: &'a Drive<'a>,
    pub plan: &'a Plan,
    pub old: &'a Records,
    pub contents: Contents<'a>,
    /// The host's tools are what they were when the records were made.
    pub same_tools: bool,
    /// Edges that are out of date whatever they read.
    pub always: BTreeSet<EdgeId>,
    /// Some edge else was run outside.
    pub outside_too: AtomicBool,
    /// Files that edges wrote without declaring them, by the edge's name.
    pub left: Mutex<BTreeMap<BString, Vec<BString>>>,
    pub project: OnceLock<wide::Project>,
    /// The links through which edges write.
    pub written_through: OnceLock<Arc<BTreeSet<BString>>>,
    pub headers: &'a Headers,
    pub presence: Presence,
    pub versions: Versions,
    pub ahead: Ahead,
    /// What edges made that are bound to their path, and by what.
    pub bound: Mutex<BTreeMap<BString, BString>>,
}

/// What came of a step.
pub(crate) struct Outcome {
    pub done: Done,
    pub log: Vec<u8>,
    pub record: Option<Record>,
    /// Why it ran where it is, if it did.
    pub outside: Option<Outside>,
    /// What binds it to its path, if anything does and that was asked for.
    pub bound: Option<BString>,
    /// What the user should know of it.
    pub warning: Option<String>,
    /// As in [`Record`], of one that was made now.
    pub findings: Vec<Finding>,
    /// Where the files are that it wrote undeclared, of one that was made now.
    pub rest: Option<StorePath>,
    /// The tools that it ran with, of one that was made now.
    pub tools: Option<Arc<Toolchain>>,
}

impl Outcome {
    /// One of which nothing is remembered.
    fn plain(done: Done, log: Vec<u8>) -> Self {
        Self {
            done,
            log,
            record: None,
            outside: None,
            bound: None,
            warning: None,
            findings: Vec::new(),
            rest: None,
            tools: None,
        }
    }
}

pub(crate) struct Failed {
    pub error: Error,
    pub log: Vec<u8>,
}

impl Failed {
    /// Whether a command ended by itself and complained of a file that is not there.
    fn misses_a_file(&self) -> bool {
        const WORDS: [&str; 14] = [
            "no such file",
            "not found",
            "cannot find",
            "can't find",
            "could not find",
            "unable to find",
            "cannot open",
            "can't open",
            "could not open",
            "couldn't open",
            "unable to open",
            "failed to open",
            "not exist",
            "doesn't exist",
        ];
        let log = self.log.to_ascii_lowercase();
        matches!(self.error.downcast_ref(), Some(Failure::Exit(_))) && WORDS.iter().any(|words| log.contains_str(words))
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), log: Vec::new() }
    }
}

/// What lies at each declared output; none where the command did not write it.
type Outputs = BTreeMap<BString, Option<String>>;

/// The outputs of a derivation, and how they came to be.
struct Realised {
    ran: bool,
    outputs: BTreeMap<OutputName, StorePath>,
    view: View,
    tools: Arc<Toolchain>,
    bound: Option<BString>,
    /// As [`Lesson::holds_root`].
    holds_root: Option<bool>,
}

impl Realised {
    fn path(&self, name: &OutputName) -> Result<&StorePath, Error> {
        self.outputs.get(name).ok_or_else(|| format!("the store gave no output `{name}`").into())
    }
}

impl Steps<'_> {
    pub fn step(&self, edge: EdgeId) -> Result<Outcome, Failed> {
        let command = self.drive.graph.command(edge);
        if self.drive.settled.contains(&edge) {
            return Ok(Outcome::plain(Done::UpToDate, Vec::new()));
        }
        let recipe = self.recipe(edge, &command);
        if let Some(why) = self.outside_by_rule(edge, &command, &recipe) {
            return self.outside(edge, &command, &recipe, why);
        }
        if let Some(adopted) = self.adopted(edge, &recipe)? {
            return Ok(kept(Done::UpToDate, &adopted));
        }
        let record = self.old.by_name.get(&self.drive.name(edge));
        let reason = match record {
            None => Reason::New,
            Some(record) => match self.changed(edge, record, &recipe)? {
                Some(reason) => reason,
                None => match self.restore(edge, record, &recipe)? {
                    Restored::Untouched => return Ok(kept(Done::UpToDate, record)),
                    Restored::Put(reason) => return Ok(kept(Done::Reused(reason), record)),
                    Restored::Lost(reason) => reason,
                },
            },
        };
        if let Some(record) = record {
            self.take_back(edge, record)?;
        }
        self.make(edge, &command, &recipe, reason)
    }

    fn recipe(&self, edge: EdgeId, command: &Command) -> Recipe {
        let outputs = self.drive.graph.edge(edge).outputs.iter().map(|file| self.drive.path(*file)).collect();
        let read = |path: &BStr| fs::read(to_path(path)).ok().map(BString::from);
        Recipe::new(command, outputs, self.drive.graph.working_directory(), &read)
    }

    /// Whether an edge is one that does not run again for another command: Ninja manual, "generator".
    fn is_generator(&self, edge: EdgeId) -> bool {
        self.drive.graph.command(edge).generator
    }

    /// Why the result of a record no longer stands.
    fn changed(&self, edge: EdgeId, record: &Record, recipe: &Recipe) -> Result<Option<Reason>, Failed> {
        if record.recipe != recipe.fingerprint() && !self.is_generator(edge) {
            return Ok(Some(Reason::Command));
        }
        if record.canonical != (self.drive.mode == Mode::Canonical) {
            return Ok(Some(Reason::Mode));
        }
        if !record.made.stands_in(self.drive.sandbox) {
            return Ok(Some(Reason::Unisolated));
        }
        if self.drive.audited && record.audited.as_ref().is_none_or(|known| known.stated != self.stated_print(edge)) {
            return Ok(Some(Reason::Untraced));
        }
        if let changed @ Some(_) = self.input_changed(edge, record)? {
            return Ok(changed);
        }
        if !self.same_tools && self.tools(recipe, &record.found)?.path.to_string() != record.tools {
            return Ok(Some(Reason::Tools));
        }
        Ok(None)
    }

    /// What that a record's edge reads or looks for is not as it was.
    fn input_changed(&self, edge: EdgeId, record: &Record) -> Result<Option<Reason>, Failed> {
        for (path, content) in &record.inputs {
            let same = match record.outputs.contains_key(path) {
                true => self.versions.before(edge, path).is_some_and(|before| before.to_string() == *content),
                false => self.contents.is(path.as_bstr(), content)?,
            };
            if !same {
                return Ok(Some(Reason::Input(path.clone())));
            }
        }
        if let Some(path) = record.found.names.iter().find(|path| !self.presence.holds(path.as_bstr())) {
            return Ok(Some(Reason::Input(path.clone())));
        }
        if let Some(path) = record.found.appeared(&self.presence) {
            return Ok(Some(Reason::Appeared(path)));
        }
        if let Some(path) = record.found.relisted() {
            return Ok(Some(Reason::Listed(path)));
        }
        Ok(None)
    }

    /// Puts right the outputs of a record whose inputs are as they were.
    fn restore(&self, edge: EdgeId, record: &Record, recipe: &Recipe) -> Result<Restored, Failed> {
        let mut restored = Restored::Untouched;
        for (at, path) in &record.outputs {
            let Some(path) = path.as_ref().and_then(|path| path.parse::<StorePath>().ok()) else {
                // Nobody had asked for it then.
                if self.is_needed(at.as_bstr()) {
                    return Ok(Restored::Lost(Reason::Output(at.clone())));
                }
                continue;
            };
            let later = self.versions.later(edge, at);
            if std::iter::once(&path).chain(&later).any(|path| self.contents.is_untouched(at.as_bstr(), path)) {
                continue;
            }
            if !self.contents.is_valid(&path) {
                return Ok(Restored::Lost(Reason::Output(at.clone())));
            }
            self.put_dated(&path, at, recipe.copied())?;
            restored = Restored::Put(Reason::Output(at.clone()));
        }
        Ok(restored)
    }

    /// Puts the files of others that a record's edge has changed back to what they were before, so that it finds them so
    /// when it is made again.
    fn take_back(&self, edge: EdgeId, record: &Record) -> Result<(), Failed> {
        for path in versions::changed(self.drive.graph, edge, record) {
            self.versions.forget(edge, path);
            let Some(before) = self.versions.before(edge, path) else { continue };
            if self.contents.is_untouched(path.as_bstr(), &before) || self.contents.is_noted(path.as_bstr(), &before) {
                continue;
            }
            if !self.contents.is_valid(&before) {
                fs::remove_file(to_path(path.as_bstr())).ok(); // so that the next run makes it
                return Err(format!("the store has lost `{path}` as it was before this command; build again").into());
            }
            self.put(&before, path)?;
        }
        Ok(())
    }

    fn make(&self, edge: EdgeId, command: &Command, recipe: &Recipe, reason: Reason) -> Result<Outcome, Failed> {
        // As ninja does: a path of the command may lead through one, and out of it again.
        for path in &recipe.outputs {
            fs::create_dir_all(to_path(discover::parent(path.as_bstr()))).ok(); // the command says what is wrong
        }
        let key = self.lesson_key(recipe);
        let known = match self.lesson(&key)? {
            known if self.drive.sandbox == Sandbox::Root && recipe.kind == Kind::Crate => {
                let (mut given, mut read, realised) = self.of_crate(edge, recipe, known)?;
                if let Some(path) = given.unknowable {
                    return self.outside(edge, command, recipe, Outside::by(path));
                }
                self.keep_essential(&mut given);
                self.keep_essential(&mut read);
                self.learn(key, &given, &realised)?;
                Known::Read(read, realised)
            }
            known if self.drive.sandbox == Sandbox::None => {
                let known = known.map(|(found, _)| found).filter(|found| found.unknowable.is_none());
                let (found, realised) = self.in_place(edge, recipe, known)?;
                Known::Supposed(found, realised)
            }
            Some((Found { unknowable: Some(path), .. }, _)) => {
                return self.outside(edge, command, recipe, Outside::by(path));
            }
            Some((found, holds_root)) => match self.attempt(recipe, &found, holds_root, Watch::No) {
                Err(failed) if failed.misses_a_file() => Known::Nothing,
                result => Known::Supposed(found, result?),
            },
            None => Known::Nothing,
        };
        let (mut found, realised, warning) = match known {
            Known::Read(found, realised) => (found, realised, None),
            Known::Supposed(mut found, realised) => {
                let in_place = self.drive.sandbox == Sandbox::None;
                self.keep_essential(&mut found);
                let read = self.read_back(recipe, found.clone(), &realised)?;
                if in_place {
                    self.learn(key, if self.drive.exact { &read } else { &found }, &realised)?;
                }
                (read, realised, None)
            }
            Known::Nothing => {
                let Some(first) = self.first(edge, recipe)? else {
                    return self.outside(edge, command, recipe, Outside::Links);
                };
                let first::First { mut found, realised, missed, traced } = first;
                self.keep_essential(&mut found);
                let read = self.read_back(recipe, found.clone(), &realised)?;
                let taught = if self.drive.exact { &read } else { &found };
                self.learn(key, taught, &realised)?;
                if traced && found.unknowable.is_none() {
                    self.learn_narrowed(recipe, taught, &realised)?;
                }
                if let Some(path) = found.unknowable {
                    return self.outside(edge, command, recipe, Outside::by(path));
                }
                (read, realised, missed.map(|path| self.warning(edge, &path)))
            }
        };
        let also = Found::also(recipe);
        found.files.extend(also.files);
        found.system.extend(also.system);
        if let Some(path) = self.overwritten(recipe, &found, &realised)? {
            let log = self.log(&realised)?;
            return Err(Failed { error: format!("the command wrote `{path}`, which is an input").into(), log });
        }
        // Before an input is put in place as it is after the command.
        let mut inputs = BTreeMap::new();
        for file in found.files.difference(&found.represented) {
            inputs.insert(file.clone(), self.contents.of(file.as_bstr())?.to_string());
        }
        let (outputs, unwritten) = self.put_all(edge, command, recipe, &realised)?;
        if let Some(path) = unwritten.iter().find(|path| self.is_needed(path.as_bstr())) {
            let log = self.log(&realised)?;
            return Err(Failed { error: format!("the command succeeded but did not write `{path}`").into(), log });
        }
        let depfile =
            recipe.depfile.as_ref().map(|_| realised.path(&output("dep"))).transpose()?.map(ToString::to_string);
        let tools = realised.tools.path.to_string();
        let canonical = self.drive.mode == Mode::Canonical;
        let audited = match self.drive.audited {
            true => Some(self.audited(edge, recipe, &found, &realised)?),
            false => None,
        };
        let record = Record {
            recipe: recipe.fingerprint(),
            found,
            inputs,
            outputs,
            depfile,
            tools,
            canonical,
            made: Made::by(self.drive.sandbox),
            audited: audited.clone(),
        };
        let done = if realised.ran { Done::Ran(reason) } else { Done::Reused(reason) };
        let bound = match &realised.bound {
            None => self.bound_by_input(&record.found)?,
            bound => bound.clone(),
        };
        if let Some(word) = &realised.bound {
            let made = recipe.outputs.iter().map(|path| (path.clone(), word.clone()));
            self.bound.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
        }
        let findings = audited.map(|audited| audited.findings).unwrap_or_default();
        let log = self.log(&realised)?;
        let rest = Some(realised.path(&output("rest"))?.clone());
        let tools = Some(realised.tools.clone());
        Ok(Outcome { record: Some(record), bound, warning, findings, rest, tools, ..Outcome::plain(done, log) })
    }

    /// What a step reads, as its depfile has it.
    fn read_back(&self, recipe: &Recipe, found: Found, realised: &Realised) -> Result<Found, Failed> {
        Ok(found.read_back(&self.in_depfile(recipe, realised)?, recipe).unwrap_or(found))
    }

    /// Of the host's files, as few as ask for the same tools.
    fn keep_essential(&self, found: &mut Found) {
        if self.drive.every_file {
            return;
        }
        found.essential = true;
        let system = found.system.iter().map(|path| to_path(path.as_bstr()).to_owned()).collect();
        let essential = self.drive.tools.essential(&system);
        found.system = essential.iter().map(|path| path.as_os_str().as_bytes().into()).collect();
    }

    fn warning(&self, edge: EdgeId, missed: &BString) -> String {
        format!(
            "`{}` reads `{missed}`, which its command and its inputs do not tell: it failed, and ran again with all that \
             the build has made for it; from now on that is known",
            self.drive.name(edge)
        )
    }

    /// An input that is bound to its path and holds it: what is made of it cannot be shared either.
    fn bound_by_input(&self, found: &Found) -> Result<Option<BString>, Failed> {
        let bound = {
            let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
            found.files.iter().filter_map(|path| Some((path, bound.get(path)?.clone()))).collect::<Vec<_>>()
        };
        for (path, word) in bound {
            if self.contents.name_a_root(&self.contents.of(path.as_bstr())?, &self.drive.roots) {
                return Ok(Some(format!("its input `{path}`, which is bound by {word}").into()));
            }
        }
        Ok(None)
    }

    /// What a lesson is known by. Only in the mode `auto` was it asked whether the text names a root.
    fn lesson_key(&self, recipe: &Recipe) -> [u8; 32] {
        let recipe = recipe.fingerprint_anywhere(&self.drive.roots);
        let asked = [u8::from(self.drive.mode == Mode::Auto)];
        *blake3::Hasher::new().update(&recipe).update(&asked).finalize().as_bytes()
    }

    /// What is known to be read, where every file still has the content that it had.
    fn lesson(&self, key: &[u8; 32]) -> Result<Option<(Found, Option<bool>)>, Failed> {
        let Some(history) = self.drive.history else { return Ok(None) };
        for lesson in history.known::<Lesson>(key) {
            let real = |path: &BStr| self.drive.roots.real(path);
            let same = |(path, content): (&BString, &String)| {
                let path = real(path.as_bstr());
                self.contents.is(path.as_bstr(), content).is_ok_and(|same| same)
            };
            let tells_all = !lesson.found.essential || !self.drive.every_file;
            if tells_all && lesson.contents.iter().all(same) {
                let found = lesson.found.map(&real);
                let is_gone = |path: &BString| !self.presence.holds(path.as_bstr());
                if found.names.iter().any(is_gone) {
                    continue;
                }
                if found.appeared(&self.presence).is_none() && found.relisted().is_none() {
                    return Ok(Some((found, lesson.holds_root)));
                }
            }
        }
        Ok(None)
    }

    fn learn(&self, key: [u8; 32], found: &Found, realised: &Realised) -> Result<(), Failed> {
        let Some(history) = self.drive.history else { return Ok(()) };
        let mut contents = BTreeMap::new();
        for file in &found.files {
            let seen = self.drive.roots.seen(file.as_bstr(), View::Canonical);
            contents.insert(seen, self.contents.of(file.as_bstr())?.to_string());
        }
        let found = found.map(&|path| self.drive.roots.seen(path, View::Canonical));
        history.learn(key, &Lesson { found, contents, holds_root: realised.holds_root });
        Ok(())
    }

    /// Realises a step in the canonical view if nothing binds it to its path, else at its path. `holds_root` is what an
    /// earlier run of it taught.
    fn attempt(
        &self,
        recipe: &Recipe,
        found: &Found,
        holds_root: Option<bool>,
        watch: Watch,
    ) -> Result<Realised, Failed> {
        let tools = self.tools(recipe, found)?;
        if let (View::Real, bound) = self.view(recipe, found)? {
            return Ok(Realised { bound, ..self.realise(recipe, found, View::Real, &tools, watch)? });
        }
        let guarded = self.drive.mode == Mode::Auto;
        if !guarded || holds_root != Some(true) {
            let realised = self.realise(recipe, found, View::Canonical, &tools, watch)?;
            if !guarded || holds_root == Some(false) {
                return Ok(Realised { holds_root, ..realised });
            }
            if !self.holds_canonical_root(&realised, recipe)? {
                return Ok(Realised { holds_root: Some(false), ..realised });
            }
        }
        let bound = Some("its output, which holds the path".into());
        let realised = self.realise(recipe, found, View::Real, &tools, watch)?;
        Ok(Realised { bound, holds_root: Some(true), ..realised })
    }

    /// Where a step runs first, and what binds it to its path, if anything does.
    fn view(&self, recipe: &Recipe, found: &Found) -> Result<(View, Option<BString>), Failed> {
        if self.drive.mode == Mode::Same {
            return Ok((View::Real, None));
        }
        let bound = self.binding(recipe, found)?;
        Ok((if bound.is_some() { View::Real } else { View::Canonical }, bound))
    }

    /// What binds a step to its path.
    fn binding(&self, recipe: &Recipe, found: &Found) -> Result<Option<BString>, Failed> {
        if recipe.kind == Kind::Crate {
            return Ok(self.binding_of_crate(recipe, found));
        }
        let roots = &self.drive.roots;
        if let Some(word) = recipe.bound_in_mode(roots, self.drive.mode) {
            return Ok(Some(word));
        }
        // A file outside of all roots is seen at its real path, to which only an absolute path leads from a canonical root.
        if let Some(path) =
            found.files.iter().find(|path| !roots.contain(path.as_bstr()) && !recipe.names_above(path.as_bstr()))
        {
            return Ok(Some(format!("`{path}`, outside of all roots").into()));
        }
        if recipe.kind == Kind::Compile {
            for path in &found.files {
                if self.contents.name_a_root(&self.contents.of(path.as_bstr())?, roots) {
                    return Ok(Some(format!("the content of `{path}`").into()));
                }
            }
        }
        let is_named = self.drive.mode == Mode::Auto && found.names_root;
        Ok(is_named.then(|| "`__FILE__` in its text".into()))
    }

    fn holds_canonical_root(&self, realised: &Realised, recipe: &Recipe) -> Result<bool, Failed> {
        for name in output_names(recipe.outputs.len()) {
            let file = self.drive.store.files(realised.path(&name)?)?;
            let is_file = fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file());
            if is_file && self.drive.roots.canonical_in_text(&fs::read(&file)?) {
                return Ok(true);
            }
        }
        if recipe.kind == Kind::Crate && recipe.depfile.is_some() {
            // Of the variables that it names by their value.
            let file = self.drive.store.files(realised.path(&output("dep"))?)?;
            let text = fs::read(file).unwrap_or_default(); // one that was not written is a link to nothing
            let mut notes = text.lines().filter(|line| line.starts_with(b"# "));
            return Ok(notes.any(|line| self.drive.roots.canonical_in_text(line)));
        }
        Ok(false)
    }

    /// The outputs of a step: those of an earlier run if the store has them all, else those of a run now.
    fn realise(
        &self,
        recipe: &Recipe,
        found: &Found,
        view: View,
        tools: &Arc<Toolchain>,
        watch: Watch,
    ) -> Result<Realised, Failed> {
        let derivation = self.derivation(recipe, found, view, tools, watch)?;
        let known = if self.drive.afresh { None } else { self.came_out_as(recipe, &derivation)? };
        if let Some(outputs) = known {
            let known = Realised { ran: false, outputs, view, tools: tools.clone(), bound: None, holds_root: None };
            return match watch {
                // A failure is not taken from the store: nobody knows whether it would come again.
                Watch::Trial(attempt) if self.reads(&known)?.exit != 0 => {
                    self.realise(recipe, found, view, tools, Watch::Trial(attempt + 1))
                }
                _ => Ok(known),
            };
        }
        let built = thread::scope(|scope| {
            if let Some(meanwhile) = self.drive.meanwhile {
                scope.spawn(|| meanwhile(found));
            }
            self.drive.store.realise(&derivation, &BuildOptions { timeout: None, cancelled: self.drive.cancelled })
        });
        match built {
            Ok(built) => {
                let outputs = built.outputs.into_iter().map(|(name, info)| (name, info.path)).collect();
                self.learn_realised(recipe, &derivation, &outputs);
                Ok(Realised { ran: built.ran, outputs, view, tools: tools.clone(), bound: None, holds_root: None })
            }
            Err(RealiseError::Failed { reason, log }) => {
                Err(Failed { error: reason.into(), log: self.as_real(&log, view) })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn derivation(
        &self,
        recipe: &Recipe,
        found: &Found,
        view: View,
        tools: &Toolchain,
        watch: Watch,
    ) -> Result<ResolvedDerivation, Failed> {
        let seen = |path: &BString| self.drive.roots.seen_throughout(path.as_bstr(), view);
        let native = recipe.native_driver().and_then(|driver| self.drive.tools.native(to_path(driver.as_bstr())));
        let in_place = self.drive.sandbox == Sandbox::None;
        let traced = watch != Watch::No || in_place || self.drive.audited;
        let trial = if let Watch::Trial(attempt) = watch { attempt } else { 0 };
        let mut inputs = Inputs { native, traced, trial, in_place, ..Inputs::default() };
        // What lies among the host's tools is in their snapshot.
        let is_input = |path: &&BString| in_place || !tools.holds(path.as_bstr());
        // A link to a directory is one.
        let directories = found.directories.iter().filter(|path| !found.files.contains(*path));
        inputs.directories = directories.filter(is_input).map(seen).collect();
        self.contents.look_at(&found.files)?;
        let also = Found::also(recipe);
        for file in found.files.iter().chain(&also.files).chain(&also.system).filter(is_input) {
            inputs.files.insert(seen(file), self.contents.of(file.as_bstr())?);
        }
        inputs.names.extend(found.names.iter().filter(is_input).map(seen));
        if in_place {
            // What is read of them is in the key by their snapshot.
            for (at, below) in tools.mounts.iter().filter(|(at, _)| !discover::is_system(at.as_bstr())) {
                let part = self.drive.store.files(&tools.path)?.join(to_path(below.as_bstr()));
                let mut files = Vec::new();
                match part.is_dir() {
                    true => files_below(&part, at, &mut files)?,
                    false => files.push(at.clone()),
                }
                let directories = files.iter().flat_map(|path| to_path(path.as_bstr()).ancestors().skip(1));
                let directories = directories.map(|path| BString::from(path.as_os_str().as_bytes()));
                inputs.directories.extend(directories.filter(|path| wide::is_below(path, at)));
                inputs.names.extend(files);
            }
        }
        for (directory, names) in &found.listed {
            for path in names.iter().map(|name| absolute(name.as_bstr(), directory.as_bstr())) {
                if found.files.contains(&path) {
                    continue;
                }
                if to_path(path.as_bstr()).is_dir() {
                    inputs.directories.insert(seen(&path));
                } else if !recipe.outputs.contains(&path) {
                    inputs.names.insert(seen(&path));
                }
            }
        }
        let recipe = ways::written_where_it_is(recipe).seen(&self.drive.roots, view);
        let derivation = lower(self.drive.store.store_dir(), &recipe, &inputs, tools, &self.drive.runner);
        Ok(ResolvedDerivation::try_from(derivation)?)
    }

    /// Puts the outputs in place. Answers what is where, and what the command did not write.
    fn put_all(
        &self,
        edge: EdgeId,
        command: &Command,
        recipe: &Recipe,
        realised: &Realised,
    ) -> Result<(Outputs, Vec<BString>), Failed> {
        let mut outputs = BTreeMap::new();
        let mut unwritten = Vec::new();
        for (name, at) in output_names(recipe.outputs.len()).zip(&recipe.outputs) {
            let path = realised.path(&name)?;
            let target = fs::read_link(self.drive.store.files(path)?).unwrap_or_default();
            if target.as_os_str() == UNWRITTEN {
                unwritten.push(at.clone());
                outputs.insert(at.clone(), None);
                continue;
            }
            self.put_dated(path, at, recipe.copied())?;
            self.versions.note_if_changed_later(edge, at, path);
            outputs.insert(at.clone(), Some(path.to_string()));
        }
        if let Some(at) = &recipe.depfile {
            fs::create_dir_all(to_path(discover::parent(at.as_bstr())))?; // as ninja does, before the command
        }
        if let Some(at) = recipe.depfile.as_ref().filter(|_| command.deps == Deps::Keep || self.drive.keep.depfiles) {
            let file = self.drive.store.files(realised.path(&output("dep"))?)?;
            if let Ok(mut text) = fs::read(file) {
                if realised.view == View::Canonical {
                    for (canonical, real) in self.drive.roots.back() {
                        text = depfile::map_paths(&text, canonical, real);
                    }
                }
                materialise::write(&text, to_path(at.as_bstr()))?;
            }
        }
        if let Some(file) = command.rspfile.as_ref().filter(|_| self.drive.keep.response_files) {
            let at = absolute(file.path.as_bstr(), self.drive.graph.working_directory());
            materialise::write(&file.content, to_path(at.as_bstr()))?;
        }
        let rest = self.drive.store.files(realised.path(&output("rest"))?)?;
        let mut left = Vec::new();
        files_below(&rest, &recipe.build_directory, &mut left)?;
        for path in left.iter().filter(|path| self.is_of_another(edge, path)) {
            let before = self.contents.of(path.as_bstr())?;
            let maker = self.maker(path).expect("another edge makes it");
            self.versions.note(maker, path, before);
        }
        materialise::materialise(&rest, to_path(recipe.build_directory.as_bstr()))?;
        for path in &left {
            self.contents.forget(path.as_bstr());
            self.headers.forget(path.as_bstr());
            self.presence.add(path.as_bstr());
        }
        let (changed, left): (Vec<BString>, _) = left.into_iter().partition(|path| self.is_of_another(edge, path));
        for path in changed {
            let content = self.contents.of(path.as_bstr())?;
            outputs.insert(path.clone(), Some(content.to_string()));
            self.versions.note(edge, &path, content);
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(self.drive.name(edge), left);
        Ok((outputs, unwritten))
    }

    /// A source, or something that the step reads and no edge makes, among what it wrote undeclared.
    fn overwritten(&self, recipe: &Recipe, found: &Found, realised: &Realised) -> Result<Option<BString>, Failed> {
        let mut wrote = Vec::new();
        let rest = self.drive.store.files(realised.path(&output("rest"))?)?;
        files_below(&rest, &recipe.build_directory, &mut wrote)?;
        let graph = self.drive.graph;
        let is_source =
            |path: &BString| graph.find(path.as_bstr()).is_some_and(|file| graph.file(file).maker.is_none());
        let is_made = |path: &BString| self.maker(path).is_some();
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left = |path: &BString| left.values().flatten().any(|left| left == path);
        let is_input = |path: &BString| found.files.contains(path) && !is_left(path) && !is_made(path);
        Ok(wrote.into_iter().find(|path| is_source(path) || is_input(path)))
    }

    /// The edge whose command makes a file. What is phony makes none, though a file may have its name.
    fn maker(&self, path: &BString) -> Option<EdgeId> {
        let graph = self.drive.graph;
        let maker = graph.find(path.as_bstr()).and_then(|file| graph.file(file).maker);
        maker.filter(|maker| !graph.edge(*maker).phony)
    }

    fn is_of_another(&self, edge: EdgeId, path: &BString) -> bool {
        self.maker(path).is_some_and(|maker| maker != edge)
    }

    fn put(&self, path: &StorePath, at: &BString) -> Result<(), Failed> {
        self.put_dated(path, at, None)
    }

    /// Puts what a store path holds to `at`, with the time of change of the file that it is `copied` from.
    fn put_dated(&self, path: &StorePath, at: &BString, copied: Option<BString>) -> Result<(), Failed> {
        let file = self.drive.store.files(path)?;
        let failed = |e| StoreError::new(format!("write `{at}`"), e);
        materialise::materialise(&file, to_path(at.as_bstr())).map_err(failed)?;
        if let Some(original) = copied {
            materialise::date(to_path(at.as_bstr()), to_path(original.as_bstr())).map_err(failed)?;
        }
        self.contents.note(at.as_bstr(), path);
        self.presence.add(at.as_bstr());
        if file.is_dir() {
            self.headers.forget_all();
            self.presence.forget_all();
        } else {
            self.headers.forget(at.as_bstr());
        }
        Ok(())
    }

    /// Whether a command of the plan needs a file that should have been made.
    fn is_needed(&self, path: &BStr) -> bool {
        let graph = self.drive.graph;
        let Some(file) = graph.find(path) else { return false };
        let reads = |edge: &&EdgeId| !graph.edge(**edge).phony && graph.edge(**edge).dirtying().contains(&file);
        self.plan.order.iter().any(|edge| reads(&edge))
    }

    fn log(&self, realised: &Realised) -> Result<Vec<u8>, Error> {
        let log = fs::read(self.drive.store.files(realised.path(&output("log"))?)?)?;
        Ok(self.as_real(&log, realised.view))
    }

    fn as_real(&self, log: &[u8], view: View) -> Vec<u8> {
        if view == View::Canonical { self.drive.roots.real_text(log) } else { log.to_vec() }
    }
}

/// Whether it is told what a command does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// Not for the sake of this run.
    No,
    /// Where it succeeds.
    Success,
    /// Also where it fails: [`nixstore::manifest::Manifest::trial`], with the number of the attempt.
    Trial(u32),
}

/// What came of a step of which something was known.
enum Known {
    /// What it reads is supposed.
    Supposed(Found, Realised),
    /// It was seen what it read.
    Read(Found, Realised),
    /// Nothing.
    Nothing,
}

/// What became of the outputs of a record.
enum Restored {
    Untouched,
    Put(Reason),
    Lost(Reason),
}

fn kept(done: Done, record: &Record) -> Outcome {
    Outcome { record: Some(record.clone()), ..Outcome::plain(done, Vec::new()) }
}

fn files_below(directory: &std::path::Path, at: &BString, files: &mut Vec<BString>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = absolute(entry.file_name().as_bytes().as_bstr(), at.as_bstr());
        if entry.file_type()?.is_dir() { files_below(&entry.path(), &path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missed_is_told_in_many_words() {
        let misses = |reason: Failure, log: &str| Failed { error: reason.into(), log: log.into() }.misses_a_file();
        for log in [
            // GCC 12, GNU as 2.40 and ld, Clang 16, NASM 2.16, bison 3.8, dash, Python 3.11.
            "a.c:1:10: fatal error: a.h: No such file or directory",
            "a.S:2: Error: file not found: a.bin",
            "/usr/bin/ld: cannot find -la: No such file or directory",
            "<inline asm>:1:10: error: Could not find incbin file 'a.bin'",
            "a.asm:1: error: unable to open include file `a.inc': No such file or directory",
            "bison: error: a.y: cannot open: No such file or directory",
            "sh: 1: a: not found",
            "ModuleNotFoundError: No module named 'a'\nFileNotFoundError: [Errno 2] No such file or directory: 'a'",
        ] {
            assert!(misses(Failure::Exit(1), log), "{log}");
        }
        assert!(!misses(Failure::Exit(1), "a.c:1: error: unknown type name `a`"));
        assert!(!misses(Failure::Signal(9), "No such file or directory"));
    }
}
