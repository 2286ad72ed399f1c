//! What an edge does, read from its command: the programs it starts one after the other, and what kind of work that is.
//! Pure.
#![deny(clippy::disallowed_methods)]

use crate::compiler::{self, Compile};
use crate::graph::{Command, absolute};
use crate::linker;
use crate::response;
use crate::roots::{Mode, Roots, View};
use crate::rustc;
use crate::shell::{self, Script, Simple, parse};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::{Run, Step};
use nixstore::text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an edge does, whatever its inputs hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Run one after the other.
    pub commands: Vec<Step>,
    /// What is known of them.
    pub kind: Kind,
    /// The declared outputs, absolute, in their order.
    pub outputs: Vec<BString>,
    /// The depfile, absolute.
    pub depfile: Option<BString>,
    /// Response file and its content.
    pub response: Option<(BString, BString)>,
    /// The response files that the words name besides, such as a list of modules that another edge makes, and what they
    /// hold.
    pub lists: BTreeMap<BString, BString>,
    /// Files that it counts as reading whatever else is known of it, absolute.
    pub also: Vec<BString>,
    /// Where its paths lead.
    pub links: Links,
    /// The build directory, absolute.
    pub build_directory: BString,
    /// The whole environment.
    pub env: BTreeMap<BString, BString>,
}

/// Where the paths of a command lead that go through links to directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Links {
    /// Where their text says: other commands know its files by these paths.
    #[default]
    ByText,
    /// Where the kernel goes, but through these, which count as directories.
    FollowedBut(Arc<BTreeSet<BString>>),
}

/// What is known of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One source becomes one object.
    Compile,
    /// Objects and libraries become an archive, a library or a program.
    Link,
    /// Rust becomes a crate.
    Crate,
    /// It reads the files that its words name, and no others.
    Words,
    /// It configures, builds or installs, with state of its own beside that of this build.
    Build,
    /// Nothing: it may read anything.
    Other,
}

impl Recipe {
    /// Reads a command, whose paths start at `build_directory`. What a file holds is told by `read`; none for one that is
    /// not there.
    pub fn new(
        command: &Command,
        outputs: Vec<BString>,
        build_directory: &BStr,
        read: &dyn Fn(&BStr) -> Option<BString>,
    ) -> Self {
        let at = |path: &BString| absolute(path.as_bstr(), build_directory);
        let response = command.rspfile.as_ref().map(|file| (at(&file.path), file.content.clone()));
        let mut recipe = Self {
            commands: Vec::new(),
            kind: Kind::Other,
            outputs,
            depfile: command.depfile.as_ref().filter(|path| !path.is_empty()).map(at),
            response,
            lists: BTreeMap::new(),
            also: command.also.iter().map(at).collect(),
            links: if command.alone { Links::FollowedBut(Arc::default()) } else { Links::ByText },
            build_directory: build_directory.into(),
            env: environment().into_iter().chain(command.env.clone()).collect(),
        };
        match parse(command.text.as_bstr()) {
            Script::Plain(simples) if !simples.is_empty() => {
                recipe.commands = simples.iter().map(|simple| step(simple, build_directory)).collect();
                recipe.lists = recipe.named_lists(read);
                recipe.kind = recipe.read_kind(read);
            }
            _ => {
                let argv = vec!["/bin/sh".into(), "-c".into(), text::from_bytes(&command.text)];
                recipe.commands =
                    vec![Step::Run(Run { argv, cwd: text::from_bytes(build_directory), ..Run::default() })];
            }
        }
        if recipe.kind == Kind::Other {
            // It may start a compiler by ccache, which has no place of its own in a sandbox; the store is the cache.
            recipe.env.insert("CCACHE_DISABLE".into(), "1".into());
        }
        recipe
    }

    /// The programs that are started: the words as bytes, response files as they are named, and where.
    pub fn runs(&self) -> impl Iterator<Item = (Vec<BString>, BString)> + '_ {
        self.commands.iter().filter_map(|step| match step {
            Step::Run(run) => {
                let word = |word: &String| BString::from(text::to_bytes(word));
                Some((run.argv.iter().map(word).collect(), text::to_bytes(&run.cwd).into()))
            }
            Step::Remove(_) | Step::Link(_) => None,
        })
    }

    /// The words of a command with those of its response files in the place of `@FILE`.
    pub fn expanded(&self, argv: &[BString], cwd: &BStr) -> Vec<BString> {
        let content = |path: &BString| match &self.response {
            Some((own, content)) if own == path => Some(content),
            _ => self.lists.get(path),
        };
        let expand = |word: &BString| {
            let content = word.strip_prefix(b"@").and_then(|file| content(&absolute(file.as_bstr(), cwd)));
            content.map_or_else(|| vec![word.clone()], |content| response::words(content.as_bstr()))
        };
        argv.iter().flat_map(expand).collect()
    }

    fn named_lists(&self, read: &dyn Fn(&BStr) -> Option<BString>) -> BTreeMap<BString, BString> {
        let mut lists = BTreeMap::new();
        for (argv, cwd) in self.runs().filter(|(argv, _)| takes_response_files(argv[0].as_bstr())) {
            let named = argv.iter().filter_map(|word| word.strip_prefix(b"@"));
            for path in named.map(|file| absolute(file.as_bstr(), cwd.as_bstr())) {
                if self.response.as_ref().is_none_or(|(own, _)| *own != path)
                    && let Some(content) = read(path.as_bstr())
                {
                    lists.insert(path, content);
                }
            }
        }
        lists
    }

    fn read_kind(&self, read: &dyn Fn(&BStr) -> Option<BString>) -> Kind {
        let kinds: Vec<Kind> = self
            .runs()
            .map(|(argv, cwd)| {
                let words = self.expanded(&argv, cwd.as_bstr());
                let script = logged_script(&words).and_then(|file| read(absolute(file, cwd.as_bstr()).as_bstr()));
                match script {
                    Some(text) if logged(text.as_bstr()).any(|words| is_build(&words)) => Kind::Build,
                    _ if Compile::read(&words).is_some() => Kind::Compile,
                    _ => kind_of_words(&words),
                }
            })
            .collect();
        let is_fed = |step: &Step| matches!(step, Step::Run(Run { stdin: Some(_), .. }));
        match kinds.as_slice() {
            kinds if kinds.contains(&Kind::Build) => Kind::Build,
            _ if self.commands.iter().any(is_fed) => Kind::Other,
            [Kind::Compile] if self.commands.len() == 1 => Kind::Compile,
            [Kind::Crate] if self.commands.len() == 1 => Kind::Crate,
            kinds if [Kind::Other, Kind::Compile, Kind::Crate].iter().any(|kind| kinds.contains(kind)) => Kind::Other,
            kinds if kinds.contains(&Kind::Words) => Kind::Words,
            // Also where nothing is left to run: links and removals, which the runner does.
            _ => Kind::Link,
        }
    }

    /// Whether it is a link whose parts are optimised at once (`-flto=auto`, `-flto=8`).
    pub fn optimises_in_parallel(&self) -> bool {
        let parallel = |word: &BString| word.starts_with(b"-flto=") && *word != "-flto=1";
        self.kind == Kind::Link
            && self.runs().any(|(argv, cwd)| self.expanded(&argv, cwd.as_bstr()).iter().any(parallel))
    }

    /// What the words of rustc say, where it makes a crate.
    pub fn rustc(&self) -> Option<rustc::Call> {
        let (argv, _) = self.runs().next().filter(|_| self.kind == Kind::Crate)?;
        rustc::Call::read(&argv)
    }

    /// The file of which the output is a copy that keeps its time of change: that of `meson --internal copy FILE COPY`
    /// (`mesonbuild/scripts/copy.py` of Meson 1.12), which no store keeps.
    pub fn copied(&self) -> Option<BString> {
        let mut runs = self.runs();
        let (argv, cwd) = runs.next().filter(|_| self.commands.len() == 1)?;
        match argv.as_slice() {
            [_, rest @ ..] if rest.len() >= 4 && rest[rest.len() - 4..][..2] == ["--internal", "copy"] => {
                Some(absolute(rest[rest.len() - 2].as_bstr(), cwd.as_bstr()))
            }
            _ => None,
        }
    }

    /// The driver for C++ beside one for C that is given C++ (`gcc -c a.cc`): it belongs to what that starts.
    pub fn other_driver(&self, argv: &[BString], cwd: &BStr) -> Option<BString> {
        compiler::driver_of_cxx(&self.expanded(argv, cwd))
    }

    /// The compiler that is told to compile for the processor that it runs on.
    pub fn native_driver(&self) -> Option<BString> {
        let native =
            |word: &BString| [&b"-march=native"[..], b"-mtune=native", b"-mcpu=native"].contains(&word.as_slice());
        let mut runs = self.runs();
        runs.find(|(argv, cwd)| self.expanded(argv, cwd.as_bstr()).iter().any(native)).map(|(argv, _)| argv[0].clone())
    }

    /// Whether a word or a variable names a root. Where none does, no text of a compile names one by `__FILE__` either, which is
    /// made of the words.
    pub fn names(&self, roots: &Roots) -> bool {
        let in_words =
            self.runs().any(|(argv, cwd)| self.expanded(&argv, cwd.as_bstr()).iter().any(|word| roots.in_text(word)));
        in_words || self.env.values().any(|value| roots.in_text(value))
    }

    /// Why this has to be run at its real path in the canonical view's stead: a word that holds a root, or a phrase.
    /// None if only path operands of a compile name a root, or nothing does.
    pub fn bound_by(&self, roots: &Roots) -> Option<BString> {
        if roots.is_empty() {
            return Some("no root: no `.git`, `.hg`, `.jj` or `.splitter-root` above the build directory".into());
        }
        if self.kind == Kind::Other {
            return Some("a command that may read anything".into());
        }
        if let Some(shown) = self.env.get(b"PWD".as_bstr()) {
            return Some(format!("its directory, which is known as `{shown}`").into());
        }
        // Cargo compiles a crate of somebody else where that lies, into the checkout.
        if self.kind != Kind::Crate && !roots.contain(self.build_directory.as_bstr()) {
            return Some("a build directory outside of all roots".into());
        }
        if let Some((path, content)) = &self.response
            && roots.in_text(content)
            && !self.is_seen_word_by_word(content.as_bstr(), roots)
        {
            return Some(format!("its response file `{path}`").into());
        }
        // Another has written it: it is the same in every view.
        if let Some((path, _)) = self.lists.iter().find(|(_, content)| roots.in_text(content)) {
            return Some(format!("its response file `{path}`").into());
        }
        for (argv, cwd) in self.runs() {
            let argv = self.expanded(&argv, cwd.as_bstr());
            let operands = self.path_operands(&argv);
            for (i, word) in argv.iter().enumerate() {
                let mut rest = word.to_vec();
                for (_, range) in operands.iter().filter(|(at, _)| *at == i) {
                    let path = word[range.clone()].as_bstr();
                    let (real, seen) = (absolute(path, cwd.as_bstr()), roots.seen(cwd.as_bstr(), View::Canonical));
                    let same = path.starts_with(b"/")
                        || absolute(path, seen.as_bstr()) == roots.seen(real.as_bstr(), View::Canonical);
                    if same {
                        rest = [&word[..range.start], &word[range.end..]].concat();
                    } else {
                        return Some(word.clone()); // leads out of its root
                    }
                }
                if roots.in_text(&rest) {
                    return Some(word.clone());
                }
            }
        }
        None
    }

    /// What binds this to its path, whatever its inputs are; see [`Mode`].
    pub fn bound_in_mode(&self, roots: &Roots, mode: Mode) -> Option<BString> {
        let by_paths = || self.word_for_paths().filter(|_| mode == Mode::Auto);
        self.bound_by(roots).or_else(|| self.word_for_counts()).or_else(by_paths)
    }

    /// Whether the canonical view of a response file holds the canonical view of its words, which it does unless a root is
    /// spelt with quotes or backslashes.
    fn is_seen_word_by_word(&self, content: &BStr, roots: &Roots) -> bool {
        let seen = roots.seen_throughout(content, View::Canonical);
        let words = response::words(content).into_iter();
        words.map(|word| roots.seen_throughout(word.as_bstr(), View::Canonical)).eq(response::words(seen.as_bstr()))
    }

    /// The parts of the words that are paths which only say where something is; see [`compiler::path_operands`].
    fn path_operands(&self, argv: &[BString]) -> Vec<(usize, std::ops::Range<usize>)> {
        match argv.iter().position(|word| word == "symbolextractor") {
            _ if self.kind == Kind::Compile => compiler::path_operands(argv),
            _ if self.kind == Kind::Link => linker::path_operands(argv),
            _ if self.kind == Kind::Crate => rustc::path_operands(argv),
            Some(at) if self.kind == Kind::Words => (at + 1..argv.len()).map(|i| (i, 0..argv[i].len())).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a word names, absolutely, a file or a directory above it.
    pub fn names_above(&self, path: &BStr) -> bool {
        let above = |operand: &[u8]| {
            operand.starts_with(b"/")
                && path.strip_prefix(operand).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.runs().any(|(argv, _)| match self.kind {
            Kind::Compile => compiler::path_operands(&argv).into_iter().any(|(i, range)| above(&argv[i][range])),
            _ => argv.iter().any(|word| above(word)),
        })
    }

    /// The same, for a compile whose outputs may hold a path that its words do not name.
    pub fn word_for_paths(&self) -> Option<BString> {
        let (argv, cwd) = self.runs().next().filter(|_| self.kind == Kind::Compile)?;
        compiler::word_for_paths(&self.expanded(&argv, cwd.as_bstr())).cloned()
    }

    /// The same, for a compile of what writes beside its objects when it runs.
    pub fn word_for_counts(&self) -> Option<BString> {
        let (argv, cwd) = self.runs().next().filter(|_| self.kind == Kind::Compile)?;
        compiler::word_for_counts(&self.expanded(&argv, cwd.as_bstr())).cloned()
    }

    /// The recipe as a view shows its paths.
    pub fn seen(&self, roots: &Roots, view: View) -> Self {
        if view == View::Real {
            return self.clone();
        }
        let path = |path: &BString| roots.seen_throughout(path.as_bstr(), view);
        let text = |path: &String| text::from_bytes(&roots.seen(text::to_bytes(path).as_bstr(), view));
        let step = |step: &Step| match step {
            Step::Run(run) => Step::Run(Run {
                argv: self.words_seen(&run.argv, roots, view),
                cwd: text(&run.cwd),
                stdin: run.stdin.as_ref().map(text),
                stdout: run.stdout.as_ref().map(text),
            }),
            Step::Remove(paths) => Step::Remove(paths.iter().map(text).collect()),
            Step::Link(links) => Step::Link(links.iter().map(|(link, target)| (text(link), target.clone())).collect()),
        };
        Self {
            commands: self.commands.iter().map(step).collect(),
            kind: self.kind,
            outputs: self.outputs.iter().map(path).collect(),
            depfile: self.depfile.as_ref().map(path),
            // If a root stands in it, only in path operands: else the step is bound.
            response: self.response.as_ref().map(|(at, content)| (path(at), path(content))),
            lists: self.lists.iter().map(|(at, content)| (path(at), content.clone())).collect(),
            also: self.also.iter().map(path).collect(),
            links: self.links.clone(),
            build_directory: path(&self.build_directory),
            env: match self.kind {
                // Cargo says there where the package and its generated sources are.
                Kind::Crate => self.env.iter().map(|(name, value)| (name.clone(), path(value))).collect(),
                _ => self.env.clone(),
            },
        }
    }

    fn words_seen(&self, argv: &[String], roots: &Roots, view: View) -> Vec<String> {
        let mut words: Vec<BString> = argv.iter().map(|word| text::to_bytes(word).into()).collect();
        for (i, range) in self.path_operands(&words) {
            let word = words[i].clone();
            let seen = roots.seen_throughout(word[range.clone()].as_bstr(), view);
            words[i] = [&word[..range.start], &seen, &word[range.end..]].concat().into();
        }
        words.iter().map(|word| text::from_bytes(word)).collect()
    }

    /// A name for all of it.
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(format!("{self:?}").as_bytes()).as_bytes()
    }

    /// A name for all of it, the same wherever the roots lie.
    pub fn fingerprint_anywhere(&self, roots: &Roots) -> [u8; 32] {
        let text = format!("{self:?}");
        *blake3::hash(&roots.seen_throughout(text.as_bytes().as_bstr(), View::Canonical)).as_bytes()
    }
}

/// The environment of every command: the same on every machine.
fn environment() -> BTreeMap<BString, BString> {
    let pairs = [
        ("HOME", "/homeless-shelter"),
        ("LANG", "C.UTF-8"),
        ("PATH", crate::host_tools::SEARCH_PATH),
        ("TMPDIR", "/tmp"),
    ];
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Whether a program's name is `tool`, perhaps with a prefix for a target and a suffix for a version.
fn is_tool(program: &BStr, tools: &[&str]) -> bool {
    let name = program.rsplit_str("/").next().unwrap_or(program);
    let name = name.trim_end_with(|c| c.is_ascii_digit() || c == '.' || c == '-');
    tools.iter().any(|tool| {
        name.strip_suffix(tool.as_bytes()).is_some_and(|before| before.is_empty() || before.ends_with(b"-"))
    })
}

/// Whether a program reads `@FILE` as [`response::words`] does.
fn takes_response_files(program: &BStr) -> bool {
    compiler::is_driver(program) || is_tool(program, &["ar", "ranlib", "ld", "strip", "objcopy"])
}

fn kind_of_words(words: &[BString]) -> Kind {
    let program = words[0].as_bstr();
    if is_build(words) {
        return Kind::Build;
    }
    if rustc::is_rustc(program) {
        let makes_a_crate = rustc::Call::read(words).is_some_and(|call| {
            call.sources.len() == 1 && call.sources[0] != "-" && call.codegen("incremental").is_none()
        });
        return if makes_a_crate { Kind::Crate } else { Kind::Other };
    }
    if compiler::is_driver(program) && compiler::reads_sources(words) {
        return Kind::Other;
    }
    if compiler::is_driver(program) || is_tool(program, &["ar", "ranlib"]) {
        return Kind::Link;
    }
    let arguments: Vec<&[u8]> = words[1..].iter().map(|word| word.as_slice()).collect();
    let by_words = match arguments.as_slice() {
        [b"-E", what, ..] if is_tool(program, &["cmake"]) => [
            &b"copy"[..],
            b"copy_if_different",
            b"touch",
            b"touch_nocreate",
            b"rename",
            b"echo",
            b"make_directory",
            b"true",
        ]
        .contains(what),
        [.., b"--internal", b"symbolextractor", _, _, _, _] | [b"--internal", b"symbolextractor", ..] => true,
        _ => is_tool(program, &["ld", "strip", "objcopy", "cp", "mv", "touch", "mkdir"]),
    };
    if by_words { Kind::Words } else { Kind::Other }
}

/// Whether a program is a ninja, or CMake where it is neither a helper nor runs a script.
fn is_build(words: &[BString]) -> bool {
    let is_task = |word: &BString| word == "-P" || word == "--version" || word.starts_with(b"--help");
    match words {
        [ninja, ..] if is_tool(ninja.as_bstr(), &["ninja", "ninja-build", "ninja2drv", "samu"]) => true,
        [cmake, first, ..] if is_tool(cmake.as_bstr(), &["cmake"]) => first != "-E" && !words.iter().any(is_task),
        _ => false,
    }
}

/// The script of `cmake -P`, if it may be one that CMake's ExternalProject has written to log what a step prints.
fn logged_script(words: &[BString]) -> Option<&BStr> {
    let at = words.iter().position(|word| word == "-P").filter(|_| is_tool(words[0].as_bstr(), &["cmake"]))?;
    words.get(at + 1).map(|file| file.as_bstr()).filter(|file| file.contains_str("-stamp/"))
}

/// The words of each command in such a script (`_ep_write_log_script` in `ExternalProject.cmake` of CMake 3.25 and 3.31).
fn logged(script: &BStr) -> impl Iterator<Item = Vec<BString>> {
    let lists = script.lines().filter_map(|line| line.strip_prefix(b"set(command \"")?.strip_suffix(b"\")"));
    lists.map(|list| list.split(|byte| *byte == b';').map(BString::from).collect())
}

/// Programs that start the compiler which follows them, and change nothing of what it does.
const LAUNCHERS: [&str; 5] = ["ccache", "sccache", "distcc", "icecc", "buildcache"];

/// The words without launchers before a compiler.
fn without_launcher(argv: &[BString]) -> &[BString] {
    match argv {
        [launcher, compiler, ..]
            if is_tool(launcher.as_bstr(), &LAUNCHERS) && compiler::is_driver(compiler.as_bstr()) =>
        {
            &argv[1..]
        }
        _ => argv,
    }
}

/// The manifest's form of one program's start, with what CMake's helpers do understood.
fn step(simple: &Simple, build_directory: &BStr) -> Step {
    let cwd = absolute(simple.directory.as_bstr(), build_directory);
    let at = |path: &[u8]| text::from_bytes(&absolute(path.as_bstr(), cwd.as_bstr()));
    let file = |path: &Option<BString>| path.as_ref().map(|path| at(path));
    let (mut stdin, mut stdout) = (file(&simple.stdin), file(&simple.stdout));
    let mut argv = without_launcher(&simple.argv);
    let leads_by_its_text = |path: &BStr| shell::leads_by_its_text(path, simple.directory.as_bstr());
    if let Some(wrapped) = captured(argv)
        && stdin.is_none()
        && stdout.is_none()
        && wrapped.feed.into_iter().chain([wrapped.capture]).all(leads_by_its_text)
    {
        argv = wrapped.argv;
        (stdin, stdout) = (wrapped.feed.map(|path| at(path)), Some(at(wrapped.capture)));
    }
    let words: Vec<&[u8]> = argv.iter().map(|word| word.as_slice()).collect();
    let program = words[0].rsplit_str("/").next().unwrap_or(words[0]);
    let plain = stdin.is_none() && stdout.is_none();
    match (program, &words[1..]) {
        (b"cmake", [b"-E", b"rm", b"-f", rest @ ..]) | (b"rm", [b"-f", rest @ ..])
            if plain && rest.iter().all(|word| !word.starts_with(b"-")) =>
        {
            Step::Remove(rest.iter().map(|path| at(path)).collect())
        }
        (b"cmake", [b"-E", b"cmake_symlink_library", real, soname, name]) if plain => {
            let base = |path: &[u8]| text::from_bytes(path.rsplit_str("/").next().unwrap_or(path));
            let pairs = [(soname, real), (name, soname)].into_iter().filter(|(link, target)| link != target);
            Step::Link(pairs.map(|(link, target)| (at(link), base(target))).collect())
        }
        (b"cmake", [b"-E", b"create_symlink", target, link]) if plain => {
            Step::Link(vec![(at(link), text::from_bytes(target))])
        }
        _ => {
            let argv = argv.iter().map(|word| text::from_bytes(word)).collect();
            Step::Run(Run { argv, cwd: text::from_bytes(&cwd), stdin, stdout })
        }
    }
}

/// What Meson starts to have a program's standard output in a file.
struct Captured<'a> {
    capture: &'a BStr,
    feed: Option<&'a BStr>,
    argv: &'a [BString],
}

/// Reads `meson --internal exe [--feed FILE] --capture FILE -- PROGRAM…` (`mesonbuild/scripts/meson_exe.py` of Meson 1.0).
fn captured(argv: &[BString]) -> Option<Captured<'_>> {
    let at = argv.iter().take(3).position(|word| word == "--internal")?;
    let is_meson = argv[..at].last().is_some_and(|program| is_tool(program.as_bstr(), &["meson", "meson.py"]));
    let mut rest = argv[at + 1..].strip_prefix(&[BString::from("exe")]).filter(|_| is_meson)?;
    let (mut capture, mut feed) = (None, None);
    loop {
        rest = match rest {
            [option, file, rest @ ..] if option == "--capture" && capture.is_none() => {
                capture = Some(file.as_bstr());
                rest
            }
            [option, file, rest @ ..] if option == "--feed" && feed.is_none() => {
                feed = Some(file.as_bstr());
                rest
            }
            [dashes, argv @ ..] if dashes == "--" && !argv.is_empty() => {
                return Some(Captured { capture: capture?, feed, argv });
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ResponseFile;

    fn recipe(text: &str) -> Recipe {
        let command = Command { text: text.into(), ..Command::default() };
        Recipe::new(&command, vec!["/r/b/out".into()], "/r/b".into(), &|_| None)
    }

    fn run_at(cwd: &str, words: &[&str]) -> Run {
        Run { argv: words.iter().map(ToString::to_string).collect(), cwd: cwd.into(), ..Run::default() }
    }

    fn roots() -> Roots {
        Roots::new([("/r".into(), "source".into())])
    }

    #[test]
    fn a_compile_whose_words_are_relative_names_no_root() {
        assert!(recipe("cc -c /r/a.c -o out").names(&roots()));
        assert!(recipe("cc -I/r/i -c ../a.c -o out").names(&roots()));
        assert!(!recipe("cc -I../i -c ../a.c -o out").names(&roots()));
    }

    #[test]
    fn what_meson_copies_keeps_the_time_of_its_original() {
        let copied = |text: &str| recipe(text).copied();
        assert_eq!(copied("python3 /m/meson.py --internal copy ../in out"), Some("/r/in".into()));
        assert_eq!(copied("meson --internal copy /in out"), Some("/in".into()));
        assert_eq!(copied("cp in out"), None);
        assert_eq!(copied("meson --internal copy in out && touch out"), None);
    }

    #[test]
    fn links_of_a_shared_library_need_no_cmake() {
        assert_eq!(
            recipe("/usr/bin/cmake -E cmake_symlink_library d/l.so.1.2 d/l.so.1 d/l.so && :").commands,
            [Step::Link(vec![("/r/b/d/l.so.1".into(), "l.so.1.2".into()), ("/r/b/d/l.so".into(), "l.so.1".into())])]
        );
        assert_eq!(
            recipe("cd /r/b/d && /usr/bin/cmake -E create_symlink tool alias").commands,
            [Step::Link(vec![("/r/b/d/alias".into(), "tool".into())])]
        );
    }

    #[test]
    fn what_the_runner_does_by_itself_has_no_standard_output() {
        let run = Run { stdout: Some("/r/b/log".into()), ..run_at("/r/b", &["rm", "-f", "a"]) };
        assert_eq!(recipe("rm -f a > log").commands, [Step::Run(run)]);
    }

    #[test]
    fn an_archive_is_removed_before_it_is_made_anew() {
        let run = |words: &[&str]| Step::Run(run_at("/r/b", words));
        let recipe = recipe(": && /usr/bin/cmake -E rm -f l.a && /usr/bin/ar qc l.a a.o && /usr/bin/ranlib l.a && :");
        assert_eq!(recipe.kind, Kind::Link);
        assert_eq!(
            recipe.commands,
            [
                Step::Remove(vec!["/r/b/l.a".into()]),
                run(&["/usr/bin/ar", "qc", "l.a", "a.o"]),
                run(&["/usr/bin/ranlib", "l.a"])
            ]
        );
    }

    #[test]
    fn what_a_command_does_is_read_from_its_words() {
        for (text, kind) in [
            ("/usr/bin/cc -O2 -o a.o -c ../a.c", Kind::Compile),
            (": && /usr/bin/c++ a.o -o a && :", Kind::Link),
            ("rm -f l.a && gcc-ar csrDT l.a a.o", Kind::Link),
            ("cd /r/b && /usr/bin/cmake -E copy a b", Kind::Words),
            ("/usr/bin/meson --internal symbolextractor /r/b l.so l.so l.symbols", Kind::Words),
            ("/usr/bin/meson --internal exe --capture a.h -- tools/gen", Kind::Other),
            ("/usr/bin/cmake -P x.cmake", Kind::Other),
            ("/usr/bin/cmake -DX=1 -P x.cmake", Kind::Other),
            ("cd /r/b/e && /usr/bin/cmake -DX=1 -GNinja /r/e && /usr/bin/cmake -E touch s", Kind::Build),
            ("cd /r/b/e && /usr/bin/cmake --build . && /usr/bin/cmake -E touch s", Kind::Build),
            ("/opt/bin/ninja2drv -t clean", Kind::Build),
            ("ninja-build -C e", Kind::Build),
            ("cc -c a.c -o a.o && cc a.o -o a", Kind::Other),
            ("tools/gen > a.h", Kind::Other),
            ("cc -E -I. a.h > a.i", Kind::Other),
            ("cc -O2 a.c b.o -o a", Kind::Other),
            ("cc -L. a.o -la -o a.cc", Kind::Link),
        ] {
            assert_eq!(recipe(text).kind, kind, "{text}");
        }
    }

    #[test]
    fn a_step_whose_output_is_logged_is_what_it_is_without_that() {
        let kind = |step: &str| {
            let text = format!("# generated\nset(command \"{step}\")\nset(log_merged \"\")\n");
            let read = |path: &BStr| (path == "/r/b/p-stamp/p-step-Release.cmake").then(|| text.as_str().into());
            let command = "cd /r/b/e && cmake -Dconfig= -P /r/b/p-stamp/p-step-Release.cmake && cmake -E touch s";
            let command = Command { text: command.into(), ..Command::default() };
            Recipe::new(&command, vec!["/r/b/s".into()], "/r/b".into(), &read).kind
        };
        assert_eq!(kind("/usr/bin/cmake;-DX=1;-GNinja;/r/e"), Kind::Build);
        assert_eq!(kind("/usr/bin/cmake;--build;."), Kind::Build);
        assert_eq!(kind("/usr/bin/cmake;-P;/r/b/p-stamp/download-p.cmake"), Kind::Other);
    }

    #[test]
    fn a_program_whose_output_meson_puts_into_a_file_needs_no_meson() {
        let plain = recipe("/r/b/gen 2 ../in < d/feed > d/a.h").commands;
        let run = run_at("/r/b", &["/r/b/gen", "2", "../in"]);
        let (stdin, stdout) = (Some("/r/b/d/feed".into()), Some("/r/b/d/a.h".into()));
        assert_eq!(plain, [Step::Run(Run { stdin, stdout, ..run })]);
        let by_meson = "meson --internal exe --feed d/feed --capture d/a.h -- /r/b/gen 2 ../in";
        assert_eq!(recipe(&format!("/usr/bin/{by_meson}")).commands, plain);
        assert_eq!(recipe(&format!("/usr/bin/python3 /usr/bin/{by_meson}")).commands, plain);
        for kept in
            ["meson --internal exe -- gen", "meson --internal exe --unpickle x", "x --internal exe --capture a -- b"]
        {
            let words: Vec<&str> = kept.split(' ').collect();
            assert_eq!(recipe(kept).commands, [Step::Run(run_at("/r/b", &words))]);
        }
    }

    #[test]
    fn a_launcher_is_taken_off() {
        assert_eq!(recipe("/usr/bin/ccache /usr/bin/cc -c a.c").commands, recipe("/usr/bin/cc -c a.c").commands);
    }

    #[test]
    fn a_command_is_bound_by_the_word_that_holds_its_root() {
        let bound = |text: &str| recipe(text).bound_by(&roots()).map(|word| word.to_string());
        assert_eq!(bound("cc -I/r/include -o a.o -c /r/a.c"), None);
        assert_eq!(bound("cc -DD=\\\"/r/share\\\" -o a.o -c /r/a.c").as_deref(), Some("-DD=\"/r/share\""));
        assert_eq!(bound("cc a.o -Wl,-rpath,/r/b: -o a").as_deref(), Some("-Wl,-rpath,/r/b:"));
        assert_eq!(bound("cc a.o -o a"), None);
        assert_eq!(bound("cc a.o -L/r/b -Wl,-rpath-link,/r/b/lib -o a"), None);
        assert_eq!(bound("/usr/bin/meson --internal symbolextractor /r/b l.so l.so l.symbols"), None);
        assert_eq!(bound("cc -I../../elsewhere -c ../a.c").as_deref(), Some("-I../../elsewhere"));
    }

    #[test]
    fn what_counts_when_it_runs_is_compiled_where_it_is_to_write() {
        let word = |text: &str| recipe(text).word_for_counts().map(|word| word.to_string());
        assert_eq!(word("cc --coverage -o a.o -c /r/a.c").as_deref(), Some("--coverage"));
        assert_eq!(word("cc -fprofile-generate -o a.o -c /r/a.c").as_deref(), Some("-fprofile-generate"));
        assert_eq!(word("cc --coverage a.o -o a"), None);
    }

    #[test]
    fn a_fingerprint_for_anywhere_is_that_of_any_checkout() {
        let at = |root: &str| {
            let command = Command { text: format!("gen {root}/in -DX={root}").into(), ..Command::default() };
            let build = format!("{root}/b");
            let recipe = Recipe::new(&command, vec![format!("{build}/out").into()], build.as_str().into(), &|_| None);
            let roots = Roots::new([(root.into(), "source".into())]);
            (recipe.fingerprint(), recipe.fingerprint_anywhere(&roots))
        };
        let ((here, anywhere), (there, anywhere_too)) = (at("/r"), at("/some/where/else"));
        assert_ne!(here, there);
        assert_eq!(anywhere, anywhere_too);
    }

    #[test]
    fn a_response_file_is_read_as_the_words_that_it_holds() {
        let with = |content: &str| {
            let rspfile = Some(ResponseFile { path: "f.rsp".into(), content: content.into() });
            let command = Command { text: "cc @f.rsp -o a.o -c a.c".into(), rspfile, ..Command::default() };
            Recipe::new(&command, vec!["/r/b/a.o".into()], "/r/b".into(), &|_| None)
        };
        assert_eq!(with("-I/r/include -O2").bound_by(&roots()), None);
        assert_eq!(with("-DX=/r/x").bound_by(&roots()), Some("-DX=/r/x".into()));
        let seen = with("-I/r/include -O2").seen(&roots(), View::Canonical);
        assert_eq!(seen.response, Some(("/build/source/b/f.rsp".into(), "-I/build/source/include -O2".into())));
    }

    #[test]
    fn only_links_are_optimised_in_parallel_and_if_they_are_told_to() {
        let parallel = |text: &str| recipe(text).optimises_in_parallel();
        assert_eq!(["cc -flto=auto a.o -o a", "cc -flto=8 a.o -o a"].map(parallel), [true, true]);
        assert_eq!(["cc -flto a.o -o a", "cc -flto=1 a.o -o a", "cc -flto=auto -c a.c"].map(parallel), [false; 3]);
    }

    #[test]
    fn a_response_file_that_another_edge_makes_is_read_too() {
        let with = |content: &'static str| {
            let command = Command { text: "clang++ @a.map -o a.o -c a.cppm".into(), ..Command::default() };
            let read = |path: &BStr| (path == "/r/b/a.map").then(|| content.into());
            Recipe::new(&command, vec!["/r/b/a.o".into()], "/r/b".into(), &read)
        };
        assert_eq!(with("-DX").lists, BTreeMap::from([("/r/b/a.map".into(), "-DX".into())]));
        let kinds = ["", "-fmodule-file=m=m.pcm", "@more"].map(|content| with(content).kind);
        assert_eq!(kinds, [Kind::Compile, Kind::Other, Kind::Other]);
        assert_eq!(with("-Ii").bound_by(&roots()), None);
        assert_eq!(with("-I/r/i").bound_by(&roots()), Some("its response file `/r/b/a.map`".into()));
    }

    #[test]
    fn the_canonical_view_changes_path_operands_alone() {
        let seen = recipe("cc -DX=/rx -I/r/include -o a.o -c /r/a.c").seen(&roots(), View::Canonical);
        let argv = ["cc", "-DX=/rx", "-I/build/source/include", "-o", "a.o", "-c", "/build/source/a.c"];
        assert_eq!(seen.commands, [Step::Run(run_at("/build/source/b", &argv))]);
        assert_eq!(seen.outputs, ["/build/source/b/out"]);
    }
}
