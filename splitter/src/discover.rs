//! Finds what a step reads: what the graph states, what the command names, and for compiles what the compiler says.

use crate::compiler::Compile;
use crate::graph::absolute;
use crate::shell::Simple;
use crate::{depfile, lower::Recipe};
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a step reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Files of the project, absolute; links as they are spelt.
    pub files: BTreeSet<BString>,
    /// Files of the host's tools: headers and libraries.
    pub system: BTreeSet<BString>,
    /// Directories that have to exist.
    pub directories: BTreeSet<BString>,
    /// Names that were looked for and are absent, by directory: their appearance is a change.
    pub absent: BTreeMap<BString, BTreeSet<BString>>,
}

/// Whether a path belongs to the host's tools rather than to a project.
pub fn is_system(path: &BStr) -> bool {
    [&b"/usr/"[..], b"/lib", b"/bin/", b"/sbin/", b"/etc/", b"/opt/"].iter().any(|top| path.starts_with(top))
}

/// Finds what a step reads, once everything that the graph puts before it is in place. `stated` are its explicit and
/// implicit inputs, absolute, phony ones replaced by what stands behind them.
pub fn discover(recipe: &Recipe, simples: &[Simple], text: &BStr, stated: &[BString]) -> Found {
    let mut found = Found::default();
    let build = recipe.build_directory.as_bstr();
    match simples {
        [only] if Compile::read(&only.argv).is_some() => {
            let compile = Compile::read(&only.argv).expect("just read");
            let cwd = absolute(only.directory.as_bstr(), build);
            match ask(&compile, recipe, cwd.as_bstr()) {
                Some(files) => found.read(&files, &compile, cwd.as_bstr()),
                None => stated.iter().for_each(|path| found.file(path.as_bstr())), // the compiler will say what is wrong
            }
            found.words(only.argv.iter().map(|word| word.as_bstr()), cwd.as_bstr(), Named::Directories);
        }
        [] => {
            stated.iter().for_each(|path| found.file(path.as_bstr()));
            let words = text.split(|b| b" \t\n'\"|&;<>()".contains(b)).map(|word| word.as_bstr());
            found.words(words, build, Named::Everything);
        }
        several => {
            stated.iter().for_each(|path| found.file(path.as_bstr()));
            for simple in several {
                let cwd = absolute(simple.directory.as_bstr(), build);
                found.directory(cwd.as_bstr());
                found.words(simple.argv.iter().map(|word| word.as_bstr()), cwd.as_bstr(), Named::Everything);
            }
        }
    }
    for path in &recipe.outputs {
        found.files.remove(path);
    }
    found
}

/// What words of a command stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Everything,
    Directories,
}

impl Found {
    /// Adds a file, and where it is a link, what it leads to.
    fn file(&mut self, path: &BStr) {
        if is_system(path) {
            self.system.insert(path.into());
            return;
        }
        if !self.files.insert(path.into()) {
            return;
        }
        if let Ok(target) = fs::read_link(to_path(path)) {
            let directory = path.rsplit_once_str("/").map_or(path, |(directory, _)| directory.as_bstr());
            self.file(absolute(target.as_os_str().as_bytes().as_bstr(), directory).as_bstr());
        }
    }

    fn directory(&mut self, path: &BStr) {
        if !is_system(path) {
            self.directories.insert(path.into());
        }
    }

    /// Adds what the words of a command name. A word with `..` needs the directories before it.
    fn words<'a>(&mut self, words: impl Iterator<Item = &'a BStr>, cwd: &BStr, named: Named) {
        for word in words {
            let value =
                word.strip_prefix(b"-I").or(word.strip_prefix(b"-L")).or(word.strip_prefix(b"@")).unwrap_or(word);
            if value.is_empty() || value.starts_with(b"-") {
                continue;
            }
            for (at, _) in value.find_iter("/..").map(|at| (at, ())) {
                self.existing(absolute(value[..at].as_bstr(), cwd).as_bstr(), Named::Directories);
            }
            self.existing(absolute(value.as_bstr(), cwd).as_bstr(), named);
        }
    }

    fn existing(&mut self, path: &BStr, named: Named) {
        match fs::metadata(to_path(path)) {
            Ok(metadata) if metadata.is_dir() => self.directory(path),
            Ok(metadata) if metadata.is_file() && named == Named::Everything => self.file(path),
            _ => {}
        }
    }

    /// Adds what a compiler read, and the places where it must have looked before.
    fn read(&mut self, files: &[BString], compile: &Compile, cwd: &BStr) {
        let places: Vec<BString> = compile.search.iter().map(|directory| absolute(directory.as_bstr(), cwd)).collect();
        let mut beside: BTreeSet<BString> = BTreeSet::new();
        for file in files {
            for (at, _) in file.find_iter("/..").map(|at| (at, ())) {
                self.directory(absolute(file[..at].as_bstr(), cwd).as_bstr());
            }
            let file = absolute(file.as_bstr(), cwd);
            self.file(file.as_bstr());
            if let Some((directory, _)) = file.rsplit_once_str("/").filter(|_| !is_system(file.as_bstr())) {
                beside.insert(directory.into());
            }
        }
        let project = places.iter().chain(&beside).filter(|place| !is_system(place.as_bstr())).collect::<BTreeSet<_>>();
        for file in files.iter().map(|file| absolute(file.as_bstr(), cwd)) {
            for name in names(file.as_bstr(), &places, &beside) {
                for place in &project {
                    self.looked(place, name.as_bstr());
                }
            }
        }
    }

    /// Notes that `name` is looked for in `place`, by its first component that is absent there.
    fn looked(&mut self, place: &BString, name: &BStr) {
        let mut directory = place.clone();
        for component in name.split_str("/") {
            let path = absolute(component.as_bstr(), directory.as_bstr());
            if fs::symlink_metadata(to_path(path.as_bstr())).is_err() {
                self.absent.entry(directory).or_default().insert(component.into());
                return;
            }
            directory = path;
        }
    }
}

/// How an `#include` may have spelt a file: relative to any directory that the compiler searches.
fn names(file: &BStr, places: &[BString], beside: &BTreeSet<BString>) -> BTreeSet<BString> {
    let system = ["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/include/c++/12"].map(BString::from);
    let below = |place: &BString| {
        file.strip_prefix(place.as_slice()).and_then(|rest| rest.strip_prefix(b"/")).map(BString::from)
    };
    places.iter().chain(beside).chain(&system).filter_map(below).collect()
}

/// Asks the compiler; none if it fails, as it does where a header is missing.
fn ask(compile: &Compile, recipe: &Recipe, cwd: &BStr) -> Option<Vec<BString>> {
    let word = |word: &BString| OsStr::from_bytes(word).to_owned();
    let mut command = Command::new(word(&compile.ask[0]));
    command.args(compile.ask[1..].iter().map(word)).current_dir(to_path(cwd));
    command.env_clear().envs(recipe.env.iter().map(|(name, value)| (word(name), word(value))));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let parsed = output.status.success().then(|| depfile::parse(&output.stdout).ok())??;
    Some(parsed.inputs)
}

/// Bytes as a path.
pub fn to_path(path: &BStr) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Whether everything that was absent still is.
pub fn still_absent(absent: &BTreeMap<BString, BTreeSet<BString>>) -> Result<(), BString> {
    for (directory, names) in absent {
        for name in names {
            let path = absolute(name.as_bstr(), directory.as_bstr());
            if fs::symlink_metadata(to_path(path.as_bstr())).is_ok() {
                return Err(path);
            }
        }
    }
    Ok(())
}
