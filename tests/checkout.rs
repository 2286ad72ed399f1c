//! Checkouts of real projects: fetched, configured, built by us and by plain ninja, and compared. Says nothing of what
//! should come out.

use crate::{SETTINGS, program};
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest;
use splitter::graph::{EdgeId, FileId, Graph};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One project of `corpus/projects`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name there.
    pub name: String,
    /// Its unpacked sources, which nobody changes.
    pub sources: PathBuf,
    /// Whether Meson configures it, else CMake.
    pub meson: bool,
}

impl Project {
    /// The project of a name, or why it is not run: its sources or a program is missing.
    ///
    /// # Errors
    /// The reason.
    ///
    /// # Panics
    /// Where `corpus/projects` has no such name.
    pub fn find(name: &str) -> Result<Self, String> {
        let list = include_str!("corpus/projects");
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name)).expect("a listed project");
        let meson = line.split_whitespace().nth(3) == Some("meson");
        for program in ["ninja", if meson { "meson" } else { "cmake" }] {
            if Command::new(program).arg("--version").output().is_err() {
                return Err(format!("no program `{program}`"));
            }
        }
        for name in ["ninja2drv", "splitter-runner"] {
            if !program(name).exists() {
                return Err(format!("`{name}` is not built"));
            }
        }
        let said = Command::new(script("fetch")).arg(name).output().expect("bash starts");
        let line = String::from_utf8_lossy(&said.stdout).into_owned();
        match line.trim_end().strip_prefix("ok ") {
            Some(rest) => {
                let sources = rest.splitn(3, ' ').nth(2).expect("a directory").into();
                Ok(Self { name: name.into(), sources, meson })
            }
            None => Err(line.trim_end().into()),
        }
    }

    /// The names of all projects.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let lines = include_str!("corpus/projects").lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_whitespace().next())
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// A checkout: a directory marked as one, with the sources in `src` and the configured build in `build`.
#[derive(Debug)]
pub struct Checkout {
    /// Where it is.
    pub top: PathBuf,
    project: Project,
}

/// What is ninja's or ours, and the logs of tests and installations.
const IGNORED: [&str; 7] =
    [".ninja_log", ".ninja_deps", ".ninja_lock", ".splitter", "Testing", "meson-logs", "install_manifest.txt"];

impl Checkout {
    /// A new checkout at `top`, configured as `build_type` with more `words` for CMake or Meson. The configured state is
    /// kept for [`Checkout::reset`].
    ///
    /// # Panics
    /// Where the project cannot be configured.
    pub fn new(project: &Project, top: &Path, build_type: &str, words: &[&str]) -> Self {
        Self::configured(project, top, build_type, words, &[])
    }

    /// The same whose compiles go through ccache.
    ///
    /// # Panics
    /// Where the project cannot be configured.
    pub fn with_ccache(project: &Project, top: &Path, build_type: &str) -> Self {
        if project.meson {
            let variables = [("CC", "ccache gcc"), ("CXX", "ccache g++")];
            return Self::configured(project, top, build_type, &[], &variables);
        }
        let words = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"];
        Self::configured(project, top, build_type, &words, &[])
    }

    fn configured(project: &Project, top: &Path, build_type: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        fs::create_dir_all(top).unwrap();
        fs::write(top.join(".splitter-root"), "").unwrap();
        copy(&project.sources, &top.join("src"));
        let mut configure = Command::new(script("configure"));
        configure.arg(&project.name).args([top.join("src"), top.join("build")]).args(words);
        configure.envs(variables.iter().copied());
        done(configure.env("CMAKE_BUILD_TYPE", build_type));
        let checkout = Self { top: top.to_owned(), project: project.clone() };
        copy(&checkout.build(), &top.join("configured"));
        checkout
    }

    /// The build directory.
    pub fn build(&self) -> PathBuf {
        self.top.join("build")
    }

    /// A file of the sources.
    pub fn source(&self, name: &str) -> PathBuf {
        self.top.join("src").join(name)
    }

    /// Puts the build directory back to what it was when it was just configured, times included.
    ///
    /// # Panics
    /// Where the disk is full.
    pub fn reset(&self) {
        if self.build().exists() {
            fs::remove_dir_all(self.build()).unwrap();
        }
        copy(&self.top.join("configured"), &self.build());
    }

    /// Puts the build directory aside as `name`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn put_aside(&self, name: &str) {
        fs::rename(self.build(), self.top.join(name)).unwrap();
    }

    /// Puts it back.
    ///
    /// # Panics
    /// Where there is none.
    pub fn put_back(&self, name: &str) {
        fs::rename(self.top.join(name), self.build()).unwrap();
    }

    /// The outputs of which plain ninja knows that they were made from a file of the sources.
    ///
    /// # Panics
    /// Where ninja did not build here.
    pub fn made_from(&self, source: &str) -> BTreeSet<String> {
        let source = fs::canonicalize(self.source(source)).unwrap();
        let text = done(Command::new("ninja").args(["-t", "deps"]).current_dir(self.build()));
        let mut made = BTreeSet::new();
        let mut output = "";
        for line in text.lines() {
            match line.strip_prefix("    ") {
                Some(path) if fs::canonicalize(self.build().join(path)).is_ok_and(|path| path == source) => {
                    made.insert(output.to_owned());
                }
                Some(_) => {}
                None => output = line.split_once(": #deps").map_or("", |(output, _)| output),
            }
        }
        made
    }

    /// A build by plain ninja; what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn ninja(&self) -> String {
        done(Command::new("ninja").args(["-j2", "-v"]).current_dir(self.build()))
    }

    /// Of link-time optimisation, what ninja does not make twice alike, and the objects, which it makes alike by chance.
    /// `once` is what it made; it is made again.
    ///
    /// # Panics
    /// Where ninja does not make something else twice alike.
    pub fn unlike_itself(&self, once: &Tree) -> BTreeSet<String> {
        let graph = self.graph();
        let objects = graph.with_word("-flto");
        if objects.is_empty() {
            return BTreeSet::new();
        }
        self.reset();
        self.ninja();
        let unlike = once.differences(&self.tree());
        println!("-- ninja does not make alike: {unlike:?}");
        let by_these = graph.downstream(&objects, &|_| true);
        let others: Vec<_> = unlike.difference(&by_these).collect();
        assert!(others.is_empty(), "not by link-time optimisation: {others:?}");
        let objects = objects.into_iter().filter(|path| path.ends_with(".o"));
        unlike.into_iter().chain(objects).collect()
    }

    /// The graph as the manifest states it now.
    ///
    /// # Panics
    /// Where the manifest cannot be read.
    pub fn graph(&self) -> Edges {
        let build = self.build();
        let mut load = |path: &BStr| fs::read(build.join(path.to_path_lossy()));
        let main = BString::from("build.ninja");
        let manifest = manifest::parse(build.as_os_str().as_bytes().as_bstr(), main.as_bstr(), &mut load).unwrap();
        Edges { graph: manifest.graph, build }
    }

    /// The files of the build directory.
    pub fn tree(&self) -> Tree {
        Tree::of(&self.build())
    }

    /// Whether Meson configured it.
    pub fn is_meson(&self) -> bool {
        self.project.meson
    }

    /// Installs what was built, as it is, below a new directory; answers what is there.
    ///
    /// # Panics
    /// Where that fails.
    pub fn install(&self) -> Tree {
        let to = tempfile::tempdir_in(&self.top).unwrap();
        let mut install = match self.project.meson {
            true => Command::new("meson"),
            false => Command::new("cmake"),
        };
        match self.project.meson {
            true => install.args(["install", "--no-rebuild", "--destdir"]).arg(to.path()).current_dir(self.build()),
            false => install.arg("--install").arg(self.build()).env("DESTDIR", to.path()),
        };
        done(&mut install);
        Tree::of(to.path())
    }

    /// Runs the project's own tests on what was built; answers what each came to, in words.
    ///
    /// # Panics
    /// Where they cannot be started.
    pub fn own_tests(&self) -> BTreeSet<String> {
        let build = self.build();
        let output = match self.project.meson {
            true => {
                Command::new("meson").args(["test", "--no-rebuild", "--num-processes=2"]).current_dir(&build).output()
            }
            false => Command::new("ctest").args(["-j2", "--timeout", "300"]).current_dir(&build).output(),
        };
        let text = String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned();
        // `3/25 Test  #3: name .......   Passed    0.01 sec`, ` 3/25 name    OK    0.01s`
        let line = |line: &str| {
            let (count, rest) = line.trim_start().split_once(' ')?;
            count.split_once('/').filter(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())?;
            let told: Vec<&str> = rest.split_whitespace().filter(|word| !word.bytes().all(|b| b == b'.')).collect();
            let time = told.iter().rposition(|word| word.as_bytes()[0].is_ascii_digit())?;
            Some(told[..time].join(" "))
        };
        text.lines().filter_map(line).collect()
    }
}

/// The edges of a build.
pub struct Edges {
    graph: Graph,
    build: PathBuf,
}

impl Edges {
    /// What an edge is called when it is run.
    fn description(&self, edge: EdgeId) -> String {
        let command = self.graph.command(edge);
        let text = if command.description.is_empty() { command.text } else { command.description };
        text.to_string()
    }

    fn edges(&self) -> impl Iterator<Item = EdgeId> {
        self.graph.edges().filter(|(_, edge)| !edge.phony).map(|(id, _)| id)
    }

    /// The outputs of an edge, below the build directory.
    fn outputs(&self, edge: EdgeId) -> Vec<String> {
        self.graph.edge(edge).outputs.iter().map(|file| self.below(self.graph.file(*file).path)).collect()
    }

    fn below(&self, path: &BStr) -> String {
        let build = self.build.as_os_str().as_bytes();
        let rest = path.strip_prefix(build).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or(path);
        rest.to_str_lossy().into_owned()
    }

    /// The outputs of all edges.
    pub fn all(&self) -> BTreeSet<String> {
        self.edges().flat_map(|edge| self.outputs(edge)).collect()
    }

    /// The outputs of edges whose command has a word that begins so.
    pub fn with_word(&self, word: &str) -> BTreeSet<String> {
        let has = |edge: &EdgeId| {
            let command = self.graph.command(*edge);
            command.text.fields().any(|field| field.starts_with(word.as_bytes()))
        };
        self.edges().filter(has).flat_map(|edge| self.outputs(edge)).collect()
    }

    /// The files that may be other than in another build because the files `first` are: those too that are made from one
    /// that `differs`.
    pub fn downstream(&self, first: &BTreeSet<String>, differs: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
        let mut may: BTreeSet<String> = first.clone();
        loop {
            let before = may.len();
            for (id, edge) in self.graph.edges() {
                let name = |file: &FileId| self.below(self.graph.file(*file).path.as_bstr());
                let from = |file: &FileId| {
                    let name = name(file);
                    may.contains(&name) && (differs(&name) || self.is_phony(*file))
                };
                if edge.inputs.iter().any(from) {
                    may.extend(self.outputs(id));
                }
            }
            if may.len() == before {
                return may;
            }
        }
    }

    fn is_phony(&self, file: FileId) -> bool {
        self.graph.file(file).maker.is_some_and(|maker| self.graph.edge(maker).phony)
    }

    /// Reads what a run with `-v` printed.
    ///
    /// # Panics
    /// Where it tells of an edge that is not in the graph.
    pub fn read(&self, text: &str) -> Run {
        let mut by_description: BTreeMap<String, Vec<EdgeId>> = BTreeMap::new();
        for edge in self.edges() {
            by_description.entry(self.description(edge)).or_default().push(edge);
        }
        let mut run = Run { text: text.into(), ..Run::default() };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(told) = line
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("] "))
                .filter(|(count, _)| count.bytes().all(|b| b.is_ascii_digit() || b == b'/'))
            else {
                continue;
            };
            let has_failed = lines.peek().is_some_and(|line| line.starts_with("FAILED: "));
            if has_failed || told.1.starts_with("up to date ") {
                continue;
            }
            if let Some(rest) = told.1.strip_prefix("reused ") {
                let name = rest.split_once(" (").map_or(rest, |(name, _)| name);
                run.reused.insert(name.into());
                if lines.peek().is_some_and(|line| line.starts_with("      bound to this path by ")) {
                    let outputs = self.edges().map(|edge| self.outputs(edge));
                    run.reused_bound
                        .extend(outputs.filter(|outputs| outputs.iter().any(|output| output == name)).flatten());
                }
                continue;
            }
            let known =
                by_description.iter().filter(|(description, _)| told.1.starts_with(&format!("{description} (")));
            let Some((description, edges)) = known.max_by_key(|(description, _)| description.len()) else {
                assert!(told.0 == "0/1", "`{line}` tells of no edge");
                continue;
            };
            let reason = told.1[description.len() + 2..].trim_end_matches(')').to_owned();
            let word = lines.peek().and_then(|line| line.strip_prefix("      bound to this path by "));
            let outputs = edges.iter().flat_map(|edge| self.outputs(*edge)).collect();
            run.ran.push(Ran { description: description.clone(), reason, bound: word.map(str::to_owned), outputs });
        }
        run
    }

    /// The outputs that plain ninja made in a run with `-v`.
    pub fn made_by_ninja(&self, text: &str) -> BTreeSet<String> {
        let line = |edge: &EdgeId| {
            let command = self.graph.command(*edge).text.to_string();
            text.lines().any(|line| line.split_once("] ").is_some_and(|(_, rest)| rest == command))
        };
        self.edges().filter(line).flat_map(|edge| self.outputs(edge)).collect()
    }
}

/// What a run of ours did.
#[derive(Debug, Default)]
pub struct Run {
    /// All that it printed.
    pub text: String,
    /// The edges that ran.
    pub ran: Vec<Ran>,
    /// The first output of those that were taken from the store.
    pub reused: BTreeSet<String>,
    /// What those made that are bound to their path.
    pub reused_bound: BTreeSet<String>,
}

/// An edge that ran.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What it is called.
    pub description: String,
    /// Why it ran.
    pub reason: String,
    /// What binds it to its path.
    pub bound: Option<String>,
    /// What it made, below the build directory; of all edges with this description.
    pub outputs: BTreeSet<String>,
}

impl Run {
    /// What the edges made that ran.
    pub fn made(&self) -> BTreeSet<String> {
        self.ran.iter().flat_map(|ran| ran.outputs.clone()).collect()
    }

    /// What edges made that are bound to their path, whether they ran or were taken from the store.
    pub fn bound(&self) -> BTreeSet<String> {
        let ran = self.ran.iter().filter(|ran| ran.bound.is_some()).flat_map(|ran| &ran.outputs);
        ran.chain(&self.reused_bound).cloned().collect()
    }
}

/// A store and a history of one's own.
#[derive(Debug)]
pub struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    /// Both empty.
    ///
    /// # Panics
    /// Where there can be no temporary directory.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A command of ours that uses them, and nothing of the environment.
    pub fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ninja2drv"));
        self.set(&mut command);
        command.args(["-j2"]).args(arguments).current_dir(directory);
        command
    }

    /// Has a command, and what it starts, use them.
    pub fn set(&self, command: &mut Command) {
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        command.env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        command.env("SPLITTER_STORE", self.directory.path().join("store"));
    }

    /// What a run with these arguments prints.
    ///
    /// # Panics
    /// Where it fails.
    pub fn run(&self, checkout: &Checkout, arguments: &[&str]) -> String {
        done(&mut self.command(&checkout.build(), arguments))
    }

    /// A build in a mode.
    ///
    /// # Panics
    /// Where it fails.
    pub fn build(&self, checkout: &Checkout, mode: &str) -> Run {
        let text = self.run(checkout, &["-dexplain", "--root", mode]);
        checkout.graph().read(&text)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A store's directories are read-only, which stops whoever is not root.
        Command::new("chmod").args(["-R", "u+w"]).arg(self.directory.path()).status().ok(); // then it is left
    }
}

/// What lies at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A link, and where it leads.
    Link(PathBuf),
    /// A file: whether it can be executed, and what it holds.
    File(bool, Vec<u8>),
}

/// All that lies below a directory, but for what is ninja's or ours.
#[derive(Clone, Default)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    /// Reads it.
    ///
    /// # Panics
    /// Where that fails.
    pub fn of(directory: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(directory, "");
        tree
    }

    fn add(&mut self, directory: &Path, prefix: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if IGNORED.contains(&name.as_str()) {
                continue;
            }
            let at = format!("{prefix}{name}");
            let metadata = entry.metadata().unwrap();
            let what = if metadata.is_dir() {
                self.add(&entry.path(), &format!("{at}/"));
                Entry::Directory
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(entry.path()).unwrap())
            } else {
                Entry::File(metadata.permissions().mode() & 0o111 != 0, fs::read(entry.path()).unwrap())
            };
            self.0.insert(at, what);
        }
    }

    /// The paths at which the other has something else, or only one has anything.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let paths: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path)).cloned().collect()
    }

    /// What lies here and what in ninja's tree at these paths, for a message; of many, only of the first.
    pub fn told(&self, paths: &[String], ninja: &Self) -> String {
        let what = |tree: &Self, path: &String| match tree.0.get(path) {
            None => "nothing".into(),
            Some(Entry::Directory) => "a directory".into(),
            Some(Entry::Link(to)) => format!("a link to {}", to.display()),
            Some(Entry::File(executable, content)) => {
                format!("{} bytes{}", content.len(), if *executable { ", executable" } else { "" })
            }
        };
        let line = |path: &String| format!("\n  {path}: {}, ninja: {}", what(self, path), what(ninja, path));
        let lines: String = paths.iter().take(40).map(line).collect();
        format!("{lines}\n  {} in all", paths.len())
    }

    /// The paths whose last part matches.
    pub fn named(&self, matches: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.0.keys().filter(|path| matches(path.rsplit('/').next().unwrap_or(path))).cloned().collect()
    }
}

/// What a command prints that ends well.
///
/// # Panics
/// Where it does not, with all that it printed.
pub fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = said(&output);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// All that was printed.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Copies a tree with its times.
///
/// # Panics
/// Where the disk is full.
pub fn copy(from: &Path, to: &Path) {
    done(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Whether a checkout can be shown elsewhere: by a user and a mount namespace.
pub fn can_be_shown_elsewhere() -> bool {
    let true_there = Command::new("unshare").args(["-Urm", "true"]).output();
    true_there.is_ok_and(|output| output.status.success())
}

/// A shell script in a world where `directory` lies at `/build/source`, and all else where it always does.
///
/// # Panics
/// Where it fails.
pub fn at_canonical_root(directory: &Path, script: &str) -> String {
    // A new root, of which only `/build` is not the old one's, so that nothing has to be made in the old one.
    const WORLD: &str = r#"
        set -e
        PATH=$PATH:/usr/sbin:/sbin # where `chroot` is, and a user does not look
        new=$1
        mount -t tmpfs none "$new"
        for entry in /* /.[!.]*; do
            name=${entry#/}
            if [ "$name" = build ]; then :
            elif [ -L "$entry" ]; then cp -P "$entry" "$new/$name"
            elif [ -d "$entry" ]; then mkdir "$new/$name"; mount --rbind "$entry" "$new/$name"
            fi
        done
        mkdir -p "$new/build/source"
        mount --bind "$2" "$new/build/source"
        exec chroot "$new" /bin/sh -e -c "$3"
    "#;
    let new = tempfile::tempdir().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["-Urm", "/bin/sh", "-c", WORLD, "sh"]).arg(new.path()).arg(directory).arg(script);
    done(&mut unshare)
}

/// What plain ninja makes of a project in a checkout that lies at `/build/source`; its files are kept in `top`.
///
/// # Panics
/// Where it cannot be configured or built.
pub fn ninja_at_canonical_root(project: &Project, top: &Path, build_type: &str) -> Tree {
    fs::create_dir_all(top).unwrap();
    fs::write(top.join(".splitter-root"), "").unwrap();
    copy(&project.sources, &top.join("src"));
    let (configure, name) = (script("configure"), &project.name);
    let commands = format!(
        "CMAKE_BUILD_TYPE={build_type} {} {name} /build/source/src /build/source/build; \
         cd /build/source/build; ninja -j2",
        configure.display()
    );
    at_canonical_root(top, &commands);
    Tree::of(&top.join("build"))
}
