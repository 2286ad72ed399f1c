//! The wide view: everything that a command which is not understood might read. It is run in it once, traced; what it opened,
//! listed and looked at is what it reads from then on.

use super::absent::Lookups;
use super::ways::Ways;
use super::{Found, is_system, parent, to_path};
use crate::compiler::is_driver;
use crate::graph::{EdgeId, Graph, absolute};
use crate::host_tools::SEARCH_PATH;
use crate::materialise::IN_THE_MAKING;
use crate::outside::is_build_file;
use crate::plan::Plan;
use crate::recipe::{Links, Recipe};
use crate::toolchain::{is_elf, is_left_out, resolve_program};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::Reads;
use nixstore::text;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What is no part of a project, wherever it lies, with files that are just being put in place: see [`is_ignored`].
const IGNORED: &[&str] = &[
    ".git",
    ".hg",
    ".jj",
    ".svn",
    ".splitter",
    ".ninja_log",
    ".ninja_deps",
    ".ninja_lock",
    "__pycache__",
    "compile_commands.json",
];

/// More sources than these are no project, but somebody's home directory.
const MOST: usize = 20_000;

/// The files of a project that no edge makes.
#[derive(Debug, Default)]
pub struct Project {
    /// By absolute path: sources, and what configuring left in the build directory.
    pub files: BTreeSet<BString>,
    /// Directories without files too.
    pub directories: BTreeSet<BString>,
}

impl Project {
    /// Lists the source tree of a plan, and the build directory without what edges make or left there undeclared (`left`).
    pub fn list(graph: &Graph, plan: &Plan, left: &BTreeSet<BString>) -> Self {
        let build = graph.working_directory();
        let mut project = Self::default();
        project.walk(to_path(build), &|path| {
            left.contains(path) || graph.find(path).is_some_and(|f| graph.file(f).maker.is_some())
        });
        if let Some(top) = source_tree(graph, plan) {
            project.walk(to_path(top.as_bstr()), &|path| path == build);
        }
        project
    }

    /// Whether a path lies in the project, whether or not anything is there.
    pub fn holds(&self, path: &BString) -> bool {
        self.directories.iter().any(|directory| is_below(path, directory))
    }

    fn walk(&mut self, top: &Path, skip: &dyn Fn(&BStr) -> bool) {
        let mut waiting = vec![top.to_owned()];
        while let Some(directory) = waiting.pop() {
            // Another build, or a store.
            let is_other = |mark: &&str| directory != top && directory.join(mark).exists();
            if ["build.ninja", "nix/var/nix/db"].iter().any(is_other) || self.files.len() > MOST {
                continue;
            }
            self.directories.insert(directory.as_os_str().as_bytes().into());
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let bytes = path.as_os_str().as_bytes().as_bstr();
                let ignored = is_ignored(entry.file_name().as_bytes().as_bstr());
                match entry.file_type() {
                    _ if ignored || skip(bytes) => {}
                    Ok(kind) if kind.is_dir() => waiting.push(path),
                    Ok(kind) if kind.is_file() || kind.is_symlink() => drop(self.files.insert(bytes.into())),
                    _ => {}
                }
            }
        }
    }
}

/// The directory that holds all sources of a plan outside the build directory and the host's tools.
fn source_tree(graph: &Graph, plan: &Plan) -> Option<BString> {
    let build = graph.working_directory();
    // CMake from 3.31 on has the directory itself among the inputs.
    let inside = |path: &BString| is_below(path, &build.into());
    let sources = plan.sources.iter().map(|file| absolute(graph.file(*file).path.as_bstr(), build));
    let sources = sources.filter(|path| !inside(path) && !is_system(path.as_bstr()));
    let mut directories = BTreeSet::new();
    for path in sources {
        let directory = parent(path.as_bstr());
        // A program may lie anywhere, such as a Python that Meson has among the inputs of what it runs.
        if !directories.contains(directory) && !is_elf(to_path(path.as_bstr())) {
            directories.insert(BString::from(directory));
        }
    }
    let common = directories.into_iter().reduce(|a, b| common(a.as_bstr(), b.as_bstr()))?;
    // Not `/` and not `/home`.
    (common.find_iter("/").count() >= 2).then_some(common)
}

fn common(a: &BStr, b: &BStr) -> BString {
    let same = a.split_str("/").zip(b.split_str("/")).take_while(|(a, b)| a == b).map(|(a, _)| a);
    bstr::join("/", same.collect::<Vec<_>>()).into()
}

/// Everything that an edge may read: the project, and what all edges before it make or leave undeclared.
pub fn view(project: &Project, graph: &Graph, edge: EdgeId, left: &BTreeMap<BString, Vec<BString>>) -> Found {
    let mut found = Found { directories: project.directories.clone(), ..Found::default() };
    found.files = project.files.clone();
    let mut seen = BTreeSet::from([edge]);
    let mut waiting = vec![edge];
    while let Some(edge) = waiting.pop() {
        for maker in graph.edge(edge).inputs.iter().filter_map(|file| graph.file(*file).maker) {
            if seen.insert(maker) {
                waiting.push(maker);
                let made = graph.edge(maker).outputs.iter().map(|file| graph.file(*file).path);
                let left = graph.edge(maker).outputs.first().and_then(|first| left.get(graph.file(*first).path));
                for path in made.chain(left.into_iter().flatten().map(|path| path.as_bstr())) {
                    let path = absolute(path.as_bstr(), graph.working_directory());
                    match fs::symlink_metadata(to_path(path.as_bstr())) {
                        Ok(metadata) if metadata.is_dir() => found.tree(to_path(path.as_bstr())),
                        Ok(_) => drop(found.files.insert(path)),
                        Err(_) => {} // it was not written
                    }
                }
            }
        }
        for input in graph.edge(edge).inputs.iter().filter(|file| graph.file(**file).maker.is_none()) {
            let path = absolute(graph.file(*input).path.as_bstr(), graph.working_directory());
            if fs::metadata(to_path(path.as_bstr())).is_ok_and(|metadata| metadata.is_file()) {
                found.file(path.as_bstr());
            }
        }
    }
    found
}

impl Found {
    /// Adds all that lies in a directory.
    fn tree(&mut self, directory: &Path) {
        self.directories.insert(directory.as_os_str().as_bytes().into());
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.tree(&entry.path()),
                _ => drop(self.files.insert(entry.path().as_os_str().as_bytes().into())),
            }
        }
    }
}

impl Found {
    /// The directories that its files are in, and those that these are in, but for the system's and the first two levels.
    fn surroundings(&self) -> BTreeSet<BString> {
        let within = self.files.iter().map(|path| parent(path.as_bstr()));
        let directories = within.chain(self.directories.iter().map(|path| path.as_bstr()));
        let all =
            directories.flat_map(|path| to_path(path).ancestors()).map(|path| path.as_os_str().as_bytes().as_bstr());
        all.filter(|path| path.find_iter("/").count() >= 2 && !is_system(path)).map(BString::from).collect()
    }
}

/// Adds to a view what was looked for in it in vain, though it is there: a program or a file of the host that no text
/// names, or a file outside of the project. Answers whether there was any. Where there is state of a version control
/// system that was looked for, or the command has to do with another build, it cannot be run in a view.
pub fn add_missed(view: &mut Found, reads: &Reads, recipe: &Recipe, graph: &Graph) -> bool {
    let before = (view.files.len(), view.directories.len(), view.system.len(), view.programs.len());
    let mut ways = Ways::of(recipe);
    for path in reads.absent.iter().map(bytes) {
        let path = if recipe.links != Links::ByText { led_through(view, &mut ways, path.as_bstr()) } else { path };
        if recipe.outputs.contains(&path) || UNSEEN.iter().any(|top| path.starts_with(top.as_bytes())) {
            continue;
        }
        let Ok(metadata) = fs::metadata(to_path(path.as_bstr())) else { continue };
        let is_program = || SEARCH_PATH.split(':').any(|directory| parent(path.as_bstr()) == directory.as_bytes());
        if path.split_str("/").any(|name| STATE.iter().any(|state| name == state.as_bytes())) {
            view.unknowable = Some(path);
        } else if is_system(path.as_bstr()) {
            match metadata.is_file() {
                true if is_program() => drop(view.programs.insert(path)),
                true if !is_left_out(to_path(path.as_bstr())) => drop(view.system.insert(path)),
                _ => {}
            }
        } else if is_in_ignored(path.as_bstr()) && !is_configured(&path, recipe) || is_made(graph, &path) {
            // It is ours, or an edge makes it that need not have been run.
        } else if metadata.is_dir() {
            view.directories.insert(path);
        } else if metadata.is_file() {
            view.file(path.as_bstr());
        }
    }
    view.files.extend(ways.links);
    view.follow_links(recipe);
    if view.unknowable.is_none() {
        let touched = reads.files.iter().chain(&reads.looked).chain(&reads.written).chain(&reads.overwritten);
        let touched = touched.map(bytes);
        let is_own = |path: &BString| parent(path.as_bstr()) == recipe.build_directory || is_made(graph, path);
        view.unknowable = touched.filter(|path| is_build_file(path.as_bstr())).find(|path| !is_own(path));
    }
    view.unknowable.is_none()
        && before != (view.files.len(), view.directories.len(), view.system.len(), view.programs.len())
}

/// Where a path leads; adds the directories that it leads through and out of again.
fn led_through(view: &mut Found, ways: &mut Ways, path: &BStr) -> BString {
    for at in path.find_iter("/..") {
        let through = ways.unread(path[..at].as_bstr());
        let through = ways.directory(through.as_bstr());
        if !is_system(through.as_bstr()) && to_path(through.as_bstr()).is_dir() {
            view.directories.insert(through);
        }
    }
    ways.unread(path)
}

/// What the sandbox has of its own.
const UNSEEN: [&str; 2] = ["/etc/", "/nix/"];

/// Where version control systems keep their state.
const STATE: [&str; 4] = [".git", ".hg", ".jj", ".svn"];

/// Whether a name is that of something which is no part of a project, wherever it lies.
pub(super) fn is_ignored(name: &BStr) -> bool {
    IGNORED.iter().any(|ignored| name == ignored.as_bytes()) || name.starts_with(IN_THE_MAKING.as_bytes())
}

fn is_in_ignored(path: &BStr) -> bool {
    path.split_str("/").any(|name| is_ignored(name.as_bstr()))
}

/// Whether it is what configuring left of the commands for other programs to read: as few read it, it is in no view unless
/// it was looked for.
fn is_configured(path: &BString, recipe: &Recipe) -> bool {
    *path == absolute("compile_commands.json".into(), recipe.build_directory.as_bstr())
}

/// Whether an edge makes a path, or a directory with all in it in which the path lies.
fn is_made(graph: &Graph, path: &BString) -> bool {
    let paths = to_path(path.as_bstr()).ancestors().map(|path| path.as_os_str().as_bytes().as_bstr());
    paths.filter_map(|path| graph.find(path)).any(|file| graph.file(file).maker.is_some())
}

fn bytes(path: impl AsRef<str>) -> BString {
    text::to_bytes(path.as_ref()).into()
}

/// Of a wide view, what was read in it.
pub fn narrowed(view: &Found, reads: &Reads, recipe: &Recipe, graph: &Graph, project: &Project) -> Found {
    let mut found = Found {
        system: view.system.clone(),
        programs: view.programs.clone(),
        unknowable: view.unknowable.clone(),
        ..Found::default()
    };
    // How long a file is and when it was changed depends on its content too, and what is appended to it comes after that.
    let read = reads.files.iter().chain(&reads.looked).chain(&reads.overwritten).map(bytes);
    for path in read {
        if view.files.contains(&path) {
            found.files.insert(path);
        } else if view.directories.contains(&path) {
            found.directories.insert(path);
        }
    }
    // What lies in the build directory depends on which edges have been run, unless one edge made it with all in it.
    let is_of_sources = |path: &BString| !is_below(path, &recipe.build_directory);
    for directory in reads.directories.iter().map(bytes).filter(|path| project.holds(path)) {
        found.directories.insert(directory.clone());
        if is_of_sources(&directory) || is_made(graph, &directory) {
            found.listed.insert(directory.clone(), super::list(directory.as_bstr()));
        }
    }
    for (argv, cwd) in recipe.runs() {
        found.directory(cwd.as_bstr());
        found.words(argv.iter().map(|word| word.as_bstr()), cwd.as_bstr(), super::Named::Directories);
    }
    note_absent(&mut found, reads, recipe, graph, project);
    found
}

/// Notes what was looked for in vain in the project, so that its appearance is a change: not what edges make, or what is there
/// by now. A compiler looks beside all that it reads and in what its words name, wherever that is.
pub fn note_absent(found: &mut Found, reads: &Reads, recipe: &Recipe, graph: &Graph, project: &Project) {
    let mut lookups = Lookups::default();
    let mut ways = Ways::of(recipe);
    let compiles = recipe.runs().any(|(argv, _)| argv.first().is_some_and(|program| is_driver(program.as_bstr())));
    let mut beside = BTreeSet::new();
    if compiles {
        let mut named = Found::default();
        for (argv, cwd) in recipe.runs() {
            named.words(argv.iter().map(|word| word.as_bstr()), cwd.as_bstr(), super::Named::Directories);
        }
        beside.extend(found.surroundings().into_iter().chain(named.directories));
    }
    for path in reads.absent.iter().map(bytes) {
        let path = if recipe.links == Links::ByText { path } else { ways.missed(path.as_bstr()) };
        let appeared = || fs::metadata(to_path(path.as_bstr())).is_ok();
        if (project.holds(&path) || beside.contains(parent(path.as_bstr())))
            && !is_made(graph, &path)
            && !recipe.outputs.contains(&path)
            && !is_in_ignored(path.as_bstr())
            && !appeared()
        {
            lookups.missing(path.as_bstr());
        }
    }
    found.absent.clear();
    lookups.into_found(found);
}

/// Whether a path is a directory or lies in it.
pub(crate) fn is_below(path: &BString, directory: &BString) -> bool {
    path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

/// What a command may start.
#[derive(Debug, Default)]
pub struct Programs {
    /// Of the host: those its words name, by path or by the name that a shell looks for, and those that the scripts among
    /// its words name by path, shell scripts by name too.
    pub host: BTreeSet<PathBuf>,
    /// Of the project: the files that its words name.
    pub own: BTreeSet<PathBuf>,
}

/// Finds what a command may start.
pub fn programs(recipe: &Recipe, search_path: &str) -> Programs {
    let mut programs = Programs::default();
    let resolve = |word: &BStr| resolve_program(to_path(word).as_os_str(), search_path.as_ref());
    for (argv, cwd) in recipe.runs() {
        let words = recipe.expanded(&argv, cwd.as_bstr());
        let mut directories = vec![cwd];
        // Whole words first: a path may have spaces in it.
        for word in words.iter().flat_map(|word| std::iter::once(word.as_bstr()).chain(parts(word))) {
            if !word.contains(&b'/') || is_system(word) {
                programs.host.extend(resolve(word));
            }
            // A `cd` of a shell's text leads to any of the directories that it names.
            let files = directories.iter().map(|directory| absolute(word, directory.as_bstr()));
            let mut files = files.filter(|path| !is_system(path.as_bstr()));
            let Some((path, metadata)) =
                files.find_map(|path| fs::metadata(to_path(path.as_bstr())).ok().map(|metadata| (path, metadata)))
            else {
                continue;
            };
            if metadata.is_dir() {
                directories.push(path);
                continue;
            }
            if !metadata.is_file() {
                continue; // such as /dev/zero, which has no end
            }
            programs.own.insert(to_path(path.as_bstr()).to_owned());
            programs.host.extend(named_in(to_path(path.as_bstr()), search_path));
        }
    }
    programs
}

/// The host's programs that a script names, as [`Programs::host`] says; none for a file that is no script.
pub fn of_script(file: &Path, search_path: &str) -> BTreeSet<PathBuf> {
    let mut head = [0; 2];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    if read.is_ok() && head == *b"#!" { named_in(file, search_path) } else { BTreeSet::new() }
}

fn named_in(file: &Path, search_path: &str) -> BTreeSet<PathBuf> {
    if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() || metadata.len() >= SCRIPT) {
        return BTreeSet::new();
    }
    let text = fs::read(file).unwrap_or_default(); // what cannot be read names nothing
    let first = text.lines().next().unwrap_or_default();
    let named_so = file.extension().is_some_and(|extension| extension == "sh");
    let of_shell = if first.starts_with(b"#!") { first.ends_with(b"sh") } else { named_so };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with(b"#"));
    let words = lines.flat_map(parts).filter(|part| is_system(part) || of_shell && !part.contains(&b'/'));
    words.filter_map(|word| resolve_program(to_path(word).as_os_str(), search_path.as_ref())).collect()
}

/// The paths outside of the system that a script names, and those that these name, as far as they are texts: what it may read.
/// Whether anything is there is for others to see.
pub fn files_of_script(script: &BStr) -> BTreeSet<BString> {
    /// More are not the files of a wrapper.
    const MOST: usize = 256;
    let (mut named, mut waiting) = (BTreeSet::new(), vec![BString::from(script)]);
    while let Some(file) = waiting.pop() {
        let path = to_path(file.as_bstr());
        if is_elf(path) || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() || metadata.len() >= SCRIPT) {
            continue;
        }
        let text = fs::read(path).unwrap_or_default(); // what cannot be read names nothing
        let lines = text.lines().filter(|line| !line.trim_start().starts_with(b"#"));
        let is_meant =
            |part: &&BStr| part.starts_with(b"/") && part.len() > 1 && !is_system(part) && !part.contains(&b'*');
        let paths = lines.flat_map(parts).filter(is_meant).map(|part| absolute(part, b"/".as_bstr()));
        waiting.extend(paths.filter(|path| named.len() < MOST && named.insert(path.clone())));
    }
    named
}

/// The host's headers that a compiler started by a script may be asked for: those at the top of the directories that every
/// compiler searches, and with them their packages.
pub fn headers() -> impl Iterator<Item = PathBuf> {
    let entries = ["/usr/local/include", "/usr/include"].into_iter().flat_map(fs::read_dir).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "h"))
}

/// No script is longer (bytes).
const SCRIPT: u64 = 256 * 1024;

/// What may be a word of its own in a text of some language.
fn parts(text: &[u8]) -> impl Iterator<Item = &BStr> {
    let parts = text.split(|b| b" \t\r\n'\"|&;<>()`$={},".contains(b));
    parts.filter(|part| !part.is_empty()).map(|part| part.as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Command, Commands, EdgeSpec, GraphBuilder, Location};

    #[test]
    fn a_device_is_not_read_as_a_script() {
        let command = Command { text: "dd if=/dev/zero of=o count=1 | cat > o".into(), ..Default::default() };
        let recipe = Recipe::new(&command, vec!["/b/o".into()], "/b".into(), &|_| None);
        assert_eq!(programs(&recipe, "/usr/bin:/bin").own, BTreeSet::new());
        assert_eq!(of_script(Path::new("/dev/zero"), "/usr/bin"), BTreeSet::new());
    }

    #[test]
    fn the_build_directory_and_a_program_as_inputs_are_no_sources() {
        struct None;
        impl Commands for None {
            fn command(&self, _: &Graph, _: EdgeId) -> Command {
                Command::default()
            }
        }
        let program = std::env::current_exe().unwrap();
        let mut builder = GraphBuilder::new("/home/u/build".into());
        let output = builder.file("out".into());
        let program = program.as_os_str().as_bytes().as_bstr();
        let inputs = ["/home/u/p/src/a".into(), "/home/u/p/b".into(), "in".into(), ".".into(), program];
        let spec = EdgeSpec {
            outputs: &[output],
            explicit_outputs: 1,
            inputs: &inputs.map(|path| builder.file(path)),
            explicit_inputs: 3,
            implicit_inputs: 0,
            validations: &[],
            phony: false,
            location: Location { file: std::sync::Arc::new("build.ninja".into()), line: 1 },
        };
        builder.edge(spec).unwrap();
        let graph = builder.finish(Box::new(None));
        let plan = Plan::new(&graph, &graph.roots()).unwrap();
        assert_eq!(source_tree(&graph, &plan), Some("/home/u/p".into()));
    }

    #[test]
    fn the_common_directory_ends_at_a_slash() {
        assert_eq!(common("/p/source/a".into(), "/p/sourcery/b".into()), "/p");
        assert_eq!(common("/p/s/a".into(), "/p/s".into()), "/p/s");
    }
}
