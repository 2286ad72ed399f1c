//! Finds what a step reads, once everything that the graph puts before it is in place.
//!
//! | the command | what it reads |
//! |---|---|
//! | a compile | what the compiler says ([`compile`]) |
//! | a link or archive | what the graph states, its words name, and those libraries and archives need ([`link`]) |
//! | a compile of Rust | what its words and its sources lead to ([`crates`]); it is traced, and what it asks for besides is added |
//! | one that reads what its words name | that, and what the graph states |
//! | any other | unknown: it is run in a wide view, and what it opened there is what it reads ([`wide`]) |

pub mod absent;
pub mod compile;
mod compilers;
pub mod crates;
pub mod headers;
mod led;
pub mod link;
mod modules;
pub(crate) mod ways;
pub mod wide;

use crate::graph::absolute;
use crate::presence::Presence;
use crate::recipe::{Kind, Recipe};
use crate::roots::Roots;
use absent::Absent;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use ways::Ways;

/// What a step reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Files of the project, absolute; links as they are spelt.
    pub files: BTreeSet<BString>,
    /// Of these, the ones for which the graph states another file, as Meson does a list of symbols for a shared library:
    /// the step is not done again where only they change.
    pub represented: BTreeSet<BString>,
    /// Files that have to be there, whatever they hold.
    pub names: BTreeSet<BString>,
    /// All files that are read are named by the depfile, if there is one: they were found by scanning includes.
    pub in_depfile: bool,
    /// Files of the host's tools: headers and libraries.
    pub system: BTreeSet<BString>,
    /// Of these only as many are named as ask for the same tools.
    pub essential: bool,
    /// Programs of the host that no text names.
    pub programs: BTreeSet<BString>,
    /// Directories that have to exist.
    pub directories: BTreeSet<BString>,
    /// Directories that were listed, and the names in them.
    pub listed: BTreeMap<BString, BTreeSet<BString>>,
    /// Names that were looked for and are absent: their appearance is a change.
    pub absent: Vec<Absent>,
    /// The preprocessed text names a root, so the outputs will: by `__FILE__`, as `assert` does.
    pub names_root: bool,
    /// Links to directories through which a name leads and out of where they lead: not where the text says.
    pub left: BTreeSet<BString>,
    /// What it reads that is no input of anything, such as git's state or another build: it has to run where it is.
    pub unknowable: Option<BString>,
}

/// A step, as far as discovery has to know it.
pub struct Question<'a> {
    /// What it does.
    pub recipe: &'a Recipe,
    /// Its explicit and implicit inputs, absolute, phony ones replaced by what stands behind them.
    pub stated: &'a [BString],
    /// The roots that the preprocessed text is searched for.
    pub roots: &'a Roots,
    /// The include scanner.
    pub headers: &'a headers::Headers,
}

/// Whether a path belongs to the host's tools rather than to a project.
pub fn is_system(path: &BStr) -> bool {
    [&b"/usr/"[..], b"/lib", b"/bin/", b"/sbin/", b"/etc/", b"/opt/"].iter().any(|top| path.starts_with(top))
}

/// Whether a program is the host's, and not a script of the project that starts one.
pub fn is_of_host(program: &BStr) -> bool {
    !program.contains(&b'/') || is_system(program)
}

/// What is known of a command.
#[derive(Debug)]
pub enum Answer {
    /// What it reads.
    Found(Box<Found>),
    /// Names lead out of these links, so it may be anything.
    Leaves(BTreeSet<BString>),
    /// It may read anything.
    Nothing,
}

impl Answer {
    fn of(found: Found) -> Self {
        if found.left.is_empty() { Self::Found(Box::new(found)) } else { Self::Leaves(found.left) }
    }

    /// What it reads, if that is known.
    pub fn found(self) -> Option<Found> {
        match self {
            Self::Found(found) => Some(*found),
            Self::Leaves(_) | Self::Nothing => None,
        }
    }
}

/// Answers for a command that is understood, which [`Kind::Other`] is not.
pub fn discover(question: &Question<'_>) -> Answer {
    discover_long(question, &|| {})
}

/// The same. `when_long` is done in the midst of it if there is much to be scanned.
pub fn discover_long(question: &Question<'_>, when_long: &dyn Fn()) -> Answer {
    discover_by(question, |question| Some(compile::discover(question, when_long)))
}

/// The same where that takes no other program: none also where the compiler would be asked what it reads.
pub fn discover_alone(question: &Question<'_>) -> Option<Found> {
    discover_by(question, |question| compile::discover_by_scan(question, &|| {})).found()
}

/// A guess at what a compile reads of the project, which takes far less time.
pub fn guess(question: &Question<'_>) -> Option<Found> {
    if question.recipe.kind != Kind::Compile {
        return None;
    }
    discover_by(question, compile::discover_in_project).found()
}

/// The same, where what the scanner found was too little: the compiler itself is asked.
pub fn discover_again(question: &Question<'_>) -> Option<Found> {
    let by_compiler = |question: &Question<'_>| Some(compile::discover_by_compiler(question));
    if question.recipe.kind == Kind::Compile { discover_by(question, by_compiler).found() } else { None }
}

fn discover_by(question: &Question<'_>, compile: impl Fn(&Question<'_>) -> Option<Found>) -> Answer {
    if question.recipe.runs().next().is_none() {
        return Answer::of(Found::default()); // links are made and files removed, whatever they hold
    }
    let found = match question.recipe.kind {
        Kind::Compile => compile(question),
        Kind::Link => Some(link::discover(question)),
        Kind::Crate => crates::discover(question),
        Kind::Words => {
            let mut found = Found::default();
            question.stated.iter().for_each(|path| found.file(path.as_bstr()));
            for (argv, cwd) in question.recipe.runs() {
                let words = question.recipe.expanded(&argv, cwd.as_bstr());
                found.words(words.iter().map(|word| word.as_bstr()), cwd.as_bstr(), Named::Everything);
                words.iter().for_each(|word| found.modules(absolute(word.as_bstr(), cwd.as_bstr()).as_bstr()));
            }
            Some(found)
        }
        Kind::Build | Kind::Other => None,
    };
    let Some(mut found) = found else { return Answer::Nothing };
    for (_, cwd) in question.recipe.runs() {
        found.directory(cwd.as_bstr());
    }
    question.recipe.lists.keys().for_each(|path| found.file(path.as_bstr()));
    for path in &question.recipe.outputs {
        found.files.remove(path);
    }
    found.follow_links(question.recipe);
    // A precompiled header is looked for by who makes it: its own output is no news.
    found.forget_absent(&question.recipe.outputs.iter().cloned().collect());
    Answer::of(found)
}

/// What words of a command stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Everything,
    Directories,
}

impl Found {
    /// Adds a file, and where it is a link, what it leads to.
    pub(crate) fn file(&mut self, path: &BStr) {
        if is_system(path) {
            self.system.insert(path.into());
            return;
        }
        // Of one that is known, it may not be known that it is a link.
        self.files.insert(path.into());
        if let Ok(target) = fs::read_link(to_path(path)) {
            let target = absolute(target.as_os_str().as_bytes().as_bstr(), parent(path));
            let is_new = !self.files.contains(&target);
            if is_new && fs::metadata(to_path(target.as_bstr())).is_ok_and(|metadata| metadata.is_file()) {
                self.file(target.as_bstr());
            }
        }
    }

    pub(crate) fn directory(&mut self, path: &BStr) {
        if !is_system(path) {
            self.directories.insert(path.into());
        }
    }

    /// What a command reads whatever else is known of it: what is said so of it, and the links that lead to where it writes.
    pub fn also(recipe: &Recipe) -> Self {
        let mut found = Self::default();
        recipe.also.iter().for_each(|path| found.existing(path.as_bstr(), Named::Everything));
        found.follow_links(recipe);
        let mut ways = Ways::of(recipe);
        recipe.outputs.iter().chain(&recipe.depfile).for_each(|path| drop(ways.file(path.as_bstr())));
        found.files.extend(ways.links);
        found
    }

    /// Adds what the words of a command name, also behind an option: `-I…`, `@…`, `-Wl,--version-script=…`. A path with
    /// `..` needs the directories before it.
    pub(crate) fn words<'a>(&mut self, words: impl Iterator<Item = &'a BStr>, cwd: &BStr, named: Named) {
        let mut is_name = false; // what follows `-soname` is a name, though there may be such a file
        for word in words {
            if std::mem::take(&mut is_name) {
                continue;
            }
            let value = [&b"-I"[..], b"-L", b"@"].iter().find_map(|option| word.strip_prefix(*option)).unwrap_or(word);
            self.named(value.as_bstr(), cwd, named);
            if word.starts_with(b"-") {
                let mut skip = false;
                for part in word.split(|b| b",=".contains(b)).skip(1) {
                    if !std::mem::take(&mut skip) {
                        self.named(part.trim_with(|c| c == '\'' || c == '"').as_bstr(), cwd, named);
                    }
                    skip = [&b"-soname"[..], b"--soname", b"-h", b"-rpath", b"--rpath"].contains(&part);
                }
                is_name = skip && !word.contains(&b'=');
            }
        }
    }

    fn named(&mut self, value: &BStr, cwd: &BStr, named: Named) {
        if value.is_empty() || value.starts_with(b"-") {
            return;
        }
        // A `cd` may have led into a link.
        let whole = if value.starts_with(b"../") { [cwd.as_bytes(), b"/", value].concat() } else { value.to_vec() };
        for at in whole.find_iter("/..") {
            self.through(absolute(whole[..at].as_bstr(), cwd).as_bstr());
        }
        self.existing(absolute(value, cwd).as_bstr(), named);
    }

    /// Adds a directory that a name leads through, and out of again.
    pub(crate) fn through(&mut self, path: &BStr) {
        if to_path(path).is_symlink() && !is_system(path) {
            self.left.insert(path.into());
        }
        self.existing(path, Named::Directories);
    }

    pub(crate) fn existing(&mut self, path: &BStr, named: Named) {
        match fs::metadata(to_path(path)) {
            Ok(metadata) if metadata.is_dir() => self.directory(path),
            Ok(metadata) if metadata.is_file() && named == Named::Everything => self.file(path),
            _ => {}
        }
    }

    /// The same with every path changed by `map`.
    pub fn map(&self, map: &dyn Fn(&BStr) -> BString) -> Self {
        let set = |paths: &BTreeSet<BString>| paths.iter().map(|path| map(path.as_bstr())).collect();
        let absent = |absent: &Absent| Absent {
            directories: absent.directories.iter().map(|path| map(path.as_bstr())).collect(),
            names: absent.names.clone(),
        };
        Self {
            files: set(&self.files),
            represented: set(&self.represented),
            names: set(&self.names),
            in_depfile: self.in_depfile,
            system: self.system.clone(),
            essential: self.essential,
            programs: self.programs.clone(),
            directories: set(&self.directories),
            listed: self.listed.iter().map(|(path, names)| (map(path.as_bstr()), names.clone())).collect(),
            absent: self.absent.iter().map(absent).collect(),
            names_root: self.names_root,
            left: set(&self.left),
            unknowable: self.unknowable.as_ref().map(|path| map(path.as_bstr())),
        }
    }

    /// The same, after a depfile has told what was read of what was supposed to be: the rest only has to be there. None where
    /// it tells nothing new.
    pub fn read_back(&self, depfile: &BTreeSet<BString>, recipe: &Recipe) -> Option<Self> {
        if !self.in_depfile || depfile.is_empty() {
            return None;
        }
        let mut told = Self::default(); // and what its links lead to
        depfile.iter().for_each(|path| told.file(path.as_bstr()));
        told.follow_links(recipe);
        let (read, only_there): (BTreeSet<BString>, _) =
            self.files.iter().cloned().partition(|path| told.files.contains(path) || !is_told_of(path.as_bstr()));
        if only_there.is_empty() {
            return None;
        }
        let names = self.names.union(&only_there).cloned().collect();
        Some(Self { files: read, names, ..self.clone() })
    }

    /// Directories whose change may be a change of what was looked for in vain, or listed; and files that have to be there.
    pub fn watched(&self) -> impl Iterator<Item = &BString> {
        self.absent.iter().flat_map(|absent| &absent.directories).chain(self.listed.keys()).chain(&self.names)
    }

    /// The first path that is there now and was absent.
    pub fn appeared(&self, presence: &Presence) -> Option<BString> {
        for Absent { directories, names } in &self.absent {
            for directory in directories {
                for name in names.lines() {
                    let path = absolute(name.as_bstr(), directory.as_bstr());
                    if presence.holds(path.as_bstr()) {
                        return Some(path);
                    }
                }
            }
        }
        None
    }

    /// The first directory that lists otherwise.
    pub fn relisted(&self) -> Option<BString> {
        let other = |(directory, names): &(&BString, &BTreeSet<BString>)| list(directory.as_bstr()) != **names;
        self.listed.iter().find(other).map(|(directory, _)| directory.clone())
    }

    /// Takes out of what is absent the paths of a set.
    pub fn forget_absent(&mut self, paths: &BTreeSet<BString>) {
        for absent in &mut self.absent {
            let is_one = |name: &[u8]| {
                absent
                    .directories
                    .iter()
                    .any(|directory| paths.contains(&absolute(name.as_bstr(), directory.as_bstr())))
            };
            if absent.names.lines().any(is_one) {
                absent.names = bstr::join("\n", absent.names.lines().filter(|name| !is_one(name))).into();
            }
        }
        self.absent.retain(|absent| !absent.names.is_empty());
    }
}

/// Whether a depfile would tell of a file that was read: of a link that leads nowhere it does not, and compilers differ in how they
/// write characters that mean something to make or to a shell.
fn is_told_of(path: &BStr) -> bool {
    path.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+=@,~ ".contains(byte)) && !to_path(path).is_symlink()
}

/// The names in a directory, but for what is ours and ninja's own.
pub(crate) fn list(directory: &BStr) -> BTreeSet<BString> {
    let entries = fs::read_dir(to_path(directory)).into_iter().flatten().flatten();
    let names = entries.map(|entry| BString::from(entry.file_name().as_bytes()));
    names.filter(|name| !wide::is_ignored(name.as_bstr())).collect()
}

/// The directory of a path.
pub fn parent(path: &BStr) -> &BStr {
    path.rsplit_once_str("/")
        .map_or(path, |(directory, _)| if directory.is_empty() { b"/" } else { directory }.as_bstr())
}

/// Bytes as a path.
pub fn to_path(path: &BStr) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
