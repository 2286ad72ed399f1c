//! From a program or a file to what it draws in: its package, or where it has none, what it loads and starts.

use super::driver::{self, Family};
use super::elf;
use super::host::Host;
use super::program::resolve_program;
use super::seed::{PASSED_OVER, Seed};
use super::walk::{Link, Walker};
use crate::identity::{self, Identity};
use bstr::ByteSlice as _;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Follows one program or file; what it found is given by [`Follower::into_seeds`].
pub struct Follower<'a> {
    host: &'a Host,
    walker: &'a mut Walker,
    search_path: &'a OsStr,
    seeds: Vec<Seed>,
    /// What somebody should know: what could not be followed.
    notes: Vec<String>,
    programs: HashSet<PathBuf>,
    binaries: HashSet<PathBuf>,
}

/// A file could not be followed.
#[derive(Debug, thiserror::Error)]
#[error("cannot follow `{}`", .path.display())]
pub struct FollowError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The locale in which every command runs. Compilers have other quotes in it.
const LOCALE: &str = "/usr/lib/locale/C.utf8";

/// What a shell script takes for granted where no package manager says what is essential.
const SHELL_TOOLS: &[&str] = &[
    "awk", "basename", "cat", "chmod", "cmp", "cp", "cut", "date", "diff", "dirname", "env", "expr", "false", "find",
    "grep", "head", "hostname", "id", "install", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "pwd", "readlink",
    "realpath", "rm", "rmdir", "sed", "sh", "sleep", "sort", "tail", "tee", "test", "touch", "tr", "true", "uname",
    "uniq", "wc", "which", "xargs",
];

/// First-level names of a Python standard library that programs have no use for, or that are no part of it.
const PYTHON_LEFT_OUT: &[&str] =
    &["site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip", "lib2to3"];

/// A module that is not in the smallest package of a Python.
const PYTHON_BEYOND_MINIMAL: &str = "json/__init__.py";

impl<'a> Follower<'a> {
    /// Follows on `host`; `search_path` is the command's `PATH`.
    pub fn new(host: &'a Host, walker: &'a mut Walker, search_path: &'a OsStr) -> Self {
        let (programs, binaries) = Default::default();
        Self { host, walker, search_path, seeds: Vec::new(), notes: Vec::new(), programs, binaries }
    }

    /// What was found, each once, and what could not be followed.
    pub fn into_seeds(self) -> (Vec<Seed>, Vec<String>) {
        let mut seen = HashSet::new();
        (self.seeds.into_iter().filter(|seed| seen.insert(seed.clone())).collect(), self.notes)
    }

    /// Follows a header or a library: the links on the way, and its package or itself. A directory gives a directory.
    ///
    /// # Errors
    /// [`FollowError`] where it is not there.
    pub fn file(&mut self, path: &Path) -> Result<(), FollowError> {
        let real = self.place(path)?;
        if self.owned(&real) {
            return Ok(());
        }
        self.binary(&real, &[]);
        self.linker_script(&real);
        Ok(())
    }

    /// Follows a program: as [`Follower::file`], and further what it loads and starts.
    ///
    /// Every program but a compiler driver may call system(3), so it gets `/bin/sh`.
    ///
    /// # Errors
    /// [`FollowError`] where it is not there.
    pub fn program(&mut self, path: &Path) -> Result<(), FollowError> {
        if !self.programs.insert(path.to_owned()) {
            return Ok(());
        }
        let before = self.seeds.len();
        let real = self.place(path)?;
        let links = self.seeds[before..].iter().filter_map(|seed| match seed {
            Seed::Link(link, _) => Some(link.clone()),
            _ => None,
        });
        let mut names: Vec<PathBuf> = std::iter::once(path.to_owned()).chain(links).collect();
        // The links of packages are no seeds, but their names count too.
        names.extend(self.links_of(path));
        names.push(real.clone());
        let names: Vec<&str> = names.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        if self.owned(&real) {
            self.probe(&real);
        } else {
            self.binary(&real, &[]);
        }
        self.script(&real)?;
        if let Some(driver) = driver::recognise(&names) {
            return self.driver(path, driver);
        }
        match names.last() {
            Some(name) if is_python(name) => self.python(path)?,
            Some(&"rustc") if !self.owned(&real) => self.rustc(path)?,
            Some(&"rustup") => {
                let note = "is a proxy of rustup that starts another program, which is not followed";
                self.notes.push(format!("`{}` {note}", path.display()));
            }
            _ => {}
        }
        self.shell()
    }

    /// Follows `/bin/sh`, where there is one.
    ///
    /// # Errors
    /// [`FollowError`] where it cannot be read.
    pub fn shell(&mut self) -> Result<(), FollowError> {
        let shell = Path::new("/bin/sh");
        if shell.exists() && self.programs.insert(shell.to_owned()) {
            let real = self.place(shell)?;
            if self.owned(&real) { self.probe(&real) } else { self.binary(&real, &[]) }
        }
        Ok(())
    }

    /// Follows `/bin/sh` and what a shell script takes for granted: a command that a script does not find may well go on
    /// without it, to another result.
    ///
    /// # Errors
    /// [`FollowError`] where one of them cannot be read.
    pub fn shell_and_tools(&mut self) -> Result<(), FollowError> {
        self.shell()?;
        self.script_tools()
    }

    /// Takes the links on the way to `path`, and the file or directory itself. Gives its real path.
    fn place(&mut self, path: &Path) -> Result<PathBuf, FollowError> {
        let fail = |source| FollowError { path: path.to_owned(), source };
        let (real, links) = self.walker.resolve(path).map_err(fail)?;
        for link in links {
            self.link(link);
        }
        let metadata = std::fs::symlink_metadata(&real).map_err(fail)?;
        self.seeds.push(if metadata.is_dir() {
            Seed::Directory(real.clone())
        } else if let Some(package) = self.host.dpkg.owner(&real) {
            Seed::package(package)
        } else {
            Seed::File(real.clone(), Identity::from_metadata(&metadata))
        });
        Ok(real)
    }

    fn link(&mut self, link: Link) {
        // The links of a merged `/usr` are in every snapshot.
        let top = link.path.parent() == Some(Path::new("/"));
        if top
            && link
                .path
                .file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|name| self.host.merged.links.contains_key(name))
        {
            return;
        }
        self.seeds.push(match self.host.dpkg.owner(&link.path) {
            Some(package) => Seed::package(package),
            None => Seed::Link(link.path, link.text),
        });
    }

    fn links_of(&mut self, path: &Path) -> Vec<PathBuf> {
        // It resolved a moment ago; if it no longer does, the names do not matter.
        self.walker
            .resolve(path)
            .map(|(_, links)| links.into_iter().map(|link| link.path).collect())
            .unwrap_or_default()
    }

    fn owned(&self, real: &Path) -> bool {
        self.host.dpkg.owner(real).is_some()
    }

    fn probe(&mut self, real: &Path) {
        self.seeds.extend(Identity::of(real).map(|identity| Seed::Probe(real.to_owned(), identity)));
    }

    /// Takes the interpreter and the libraries of an ELF file that no package owns. `inherited` are the `DT_RPATH`s of
    /// those that load it.
    fn binary(&mut self, real: &Path, inherited: &[PathBuf]) {
        if !self.binaries.insert(real.to_owned()) || !starts_with(real, b"\x7fELF") {
            return;
        }
        let Some(needs) = std::fs::read(real).ok().and_then(|bytes| elf::needs(&bytes)) else {
            self.notes.push(format!("cannot read what `{}` loads", real.display()));
            return;
        };
        if let Some(interpreter) = &needs.interpreter {
            self.loaded(interpreter, &[]);
        }
        let origin = real.parent().unwrap_or(Path::new("/"));
        let expand = |list: &[Vec<u8>]| -> Vec<PathBuf> {
            list.iter().map(|entry| expand(entry, origin, needs.machine)).collect()
        };
        let mut rpath = expand(&needs.rpath);
        rpath.extend(inherited.iter().cloned());
        let runpath = expand(&needs.runpath);
        let default = default_directories(needs.machine);
        for name in &needs.libraries {
            let name = Path::new(OsStr::from_bytes(name));
            // `ld.so(8)`: DT_RPATH of this file and its loaders if it has no DT_RUNPATH, DT_RUNPATH, the cache, defaults.
            let first = if runpath.is_empty() { rpath.as_slice() } else { &[] };
            let directories = first.iter().chain(&runpath).chain(&self.host.library_directories).chain(&default);
            let mut candidates = directories.map(|directory| directory.join(name));
            let fits = |path: &PathBuf| machine_of(path) == Some(needs.machine);
            match candidates.find(fits) {
                Some(library) => self.loaded(&library, &rpath),
                None => self.notes.push(format!("`{}` loads `{}`, which is not there", real.display(), name.display())),
            }
        }
    }

    fn loaded(&mut self, library: &Path, inherited: &[PathBuf]) {
        match self.place(library) {
            Ok(real) if self.owned(&real) => {}
            Ok(real) => self.binary(&real, inherited),
            Err(error) => self.notes.push(format!("{error}: {}", error.source)),
        }
    }

    /// Takes what `#!` names. A shell script may also use what is taken for granted in one: the Essential packages.
    fn script(&mut self, real: &Path) -> Result<(), FollowError> {
        let head = head(real, 256);
        let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.lines().next()) else { return Ok(()) };
        let mut words =
            line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).map(OsStr::from_bytes);
        let Some(mut interpreter) = words.next().map(PathBuf::from) else { return Ok(()) };
        if interpreter.file_name() == Some(OsStr::new("env")) {
            self.program(&interpreter)?;
            // `env -S NAME=value program` has more before the program.
            let word = words.find(|word| !word.as_bytes().starts_with(b"-") && !word.as_bytes().contains(&b'='));
            match word.and_then(|word| resolve_program(word, self.search_path)) {
                Some(found) => interpreter = found,
                None => {
                    self.notes.push(format!("the interpreter of `{}` is not on the PATH", real.display()));
                    return Ok(());
                }
            }
        }
        self.program(&interpreter)?;
        let name = interpreter.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if ["sh", "bash", "dash", "ksh", "zsh"].contains(&name) {
            self.script_tools()?;
            if real.parent().is_some_and(|directory| directory.ends_with("shims")) {
                self.notes
                    .push(format!("`{}` is a shim that starts another program, which is not followed", real.display()));
            }
        }
        Ok(())
    }

    fn script_tools(&mut self) -> Result<(), FollowError> {
        self.seeds.extend(self.host.dpkg.essential_tools().iter().map(Seed::package));
        if self.host.dpkg.is_empty() {
            for tool in SHELL_TOOLS {
                if let Some(path) = resolve_program(OsStr::new(tool), self.search_path) {
                    self.program(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the files of a locale; where there are none, commands run as in the C locale, as they would outside.
    fn locale(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.locale(&path);
            } else {
                self.place(&path).ok(); // it may go while we look
            }
        }
    }

    fn driver(&mut self, path: &Path, driver: driver::Driver) -> Result<(), FollowError> {
        let search_path = self.search_path;
        let fail = |source| FollowError { path: path.to_owned(), source };
        self.locale(Path::new(LOCALE));
        let mut loose_compiler = None;
        for program in driver.programs() {
            let answer = driver::ask(path, &[&format!("-print-prog-name={program}")], search_path).map_err(fail)?;
            let Some(found) = resolve_program(OsStr::new(&answer), search_path) else { continue };
            let real = self.place(&found)?;
            if self.owned(&real) {
                self.probe(&real);
            } else {
                self.binary(&real, &[]);
                if program.starts_with("cc1") {
                    loose_compiler = found.parent().map(Path::to_owned);
                }
            }
        }
        let mut loose_library = false;
        for name in driver.files() {
            if let Some(found) = driver::file_name(path, name, search_path).map_err(fail)? {
                self.file(&found)?;
                loose_library |= self.walker.resolve(&found).is_ok_and(|(real, _)| !self.owned(&real));
            }
        }
        if loose_library {
            for name in driver.loose_files() {
                if let Some(found) = driver::file_name(path, name, search_path).map_err(fail)? {
                    self.file(&found)?;
                }
            }
        }
        // It tells which of the directories that it searches are there, and CMake takes these for its own.
        for directory in driver::searched(path, search_path).map_err(fail)? {
            if self.walker.resolve(&directory).is_ok_and(|(real, _)| !self.owned(&real)) {
                self.place(&directory)?;
            }
        }
        // A compiler's own directories: headers, specs, plug-ins, start files.
        let mut directories: Vec<PathBuf> = loose_compiler.into_iter().collect();
        match driver.family {
            Family::Gcc => {
                let library = driver::ask(path, &["-print-libgcc-file-name"], search_path).map_err(fail)?;
                directories.extend(Path::new(&library).parent().map(Path::to_owned));
            }
            Family::Clang => {
                directories.push(driver::ask(path, &["-print-resource-dir"], search_path).map_err(fail)?.into())
            }
        }
        for directory in directories.into_iter().filter(|directory| directory.is_absolute()) {
            let Ok((real, links)) = self.walker.resolve(&directory) else { continue };
            // Where a package owns it, it owns every directory on the way to the compiler's files too.
            if !self.owned(&real) {
                links.into_iter().for_each(|link| self.link(link));
                self.tree(&real, &[]);
            } else if driver.family == Family::Clang {
                self.file(&real.join("include/stddef.h"))?;
            }
        }
        Ok(())
    }

    /// Takes the standard library of a Python: its tree, or its packages, since Debian's interpreter depends on the
    /// smallest part only (`python3-minimal`). Of a virtual environment its mark.
    fn python(&mut self, path: &Path) -> Result<(), FollowError> {
        const QUESTION: &str = "import sys, sysconfig; p = sysconfig.get_paths(); \
                                print('\\n'.join([sys.prefix, p['stdlib'], p['platstdlib']]))";
        let fail = |source| FollowError { path: path.to_owned(), source };
        // As Python 2.7 takes them too.
        let answer = driver::ask(path, &["-E", "-s", "-S", "-c", QUESTION], self.search_path).map_err(fail)?;
        let mut lines = answer.lines().map(PathBuf::from);
        let Some(prefix) = lines.next() else {
            self.notes.push(format!("`{}` does not say where its library is", path.display()));
            return Ok(());
        };
        let near = [Some(prefix.as_path()), path.parent(), path.parent().and_then(Path::parent)];
        for mark in near.into_iter().flatten().map(|directory| directory.join("pyvenv.cfg")) {
            if mark.is_file() {
                self.file(&mark)?;
            }
        }
        for directory in lines {
            let Ok((real, links)) = self.walker.resolve(&directory) else { continue };
            links.into_iter().for_each(|link| self.link(link));
            if !self.owned(&real.join("os.py")) {
                self.tree(&real, PYTHON_LEFT_OUT);
            } else if real.join(PYTHON_BEYOND_MINIMAL).is_file() {
                self.file(&real.join(PYTHON_BEYOND_MINIMAL))?;
            }
        }
        Ok(())
    }

    /// Takes the libraries that a Rust compiler compiles against, and its linker: the `cc` of the `PATH`.
    fn rustc(&mut self, path: &Path) -> Result<(), FollowError> {
        let fail = |source| FollowError { path: path.to_owned(), source };
        let sysroot = driver::ask(path, &["--print", "sysroot"], self.search_path).map_err(fail)?;
        let libraries = Path::new(&sysroot).join("lib/rustlib");
        match self.walker.resolve(&libraries) {
            Ok((real, links)) if libraries.is_absolute() => {
                links.into_iter().for_each(|link| self.link(link));
                self.tree(&real, &["etc", "src"]);
            }
            _ => self.notes.push(format!("`{}` does not say where its libraries are", path.display())),
        }
        match resolve_program(OsStr::new("cc"), self.search_path) {
            Some(linker) => self.program(&linker),
            None => Ok(()),
        }
    }

    /// Takes a directory that no package owns, and what its programs and libraries load.
    fn tree(&mut self, root: &Path, left_out: &[&str]) {
        let Ok(hash) = identity::of_tree(root) else {
            self.notes.push(format!("cannot list `{}`", root.display()));
            return;
        };
        let left_out: Vec<String> = left_out.iter().map(|&name| name.to_owned()).collect();
        for path in files_below(root, &left_out) {
            self.binary(&path, &[]);
        }
        self.seeds.push(Seed::Tree(root.to_owned(), left_out, hash.to_hex().to_string()));
    }

    /// A `libc.so` that is a linker script names the files that it stands for.
    fn linker_script(&mut self, real: &Path) {
        if real.extension() != Some(OsStr::new("so")) || starts_with(real, b"\x7fELF") {
            return;
        }
        // Too large to be a script, or gone: nothing is named in it.
        let text = head(real, 4096);
        for word in
            text.split(|byte| byte.is_ascii_whitespace() || b"(),".contains(byte)).filter(|word| word.starts_with(b"/"))
        {
            let path = Path::new(OsStr::from_bytes(word));
            if path.is_file() {
                self.loaded(path, &[]);
            }
        }
    }
}

/// The files below `root`, links and what is [`PASSED_OVER`] not among them.
fn files_below(root: &Path, left_out: &[String]) -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        // A directory that cannot be listed is left out of the snapshot too, with a note.
        for entry in std::fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name();
            if PASSED_OVER.iter().any(|&out| name == out)
                || directory == root && left_out.iter().any(|out| name == **out)
            {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

fn expand(entry: &[u8], origin: &Path, machine: (bool, u16)) -> PathBuf {
    let origin = origin.as_os_str().as_bytes();
    let lib: &[u8] = if machine.0 { b"lib64" } else { b"lib" };
    let mut text = entry.to_owned();
    for (name, value) in [("${ORIGIN}", origin), ("$ORIGIN", origin), ("${LIB}", lib), ("$LIB", lib)] {
        text = text.replace(name, value);
    }
    OsString::from(OsStr::from_bytes(&text)).into()
}

/// Where the loader looks without a cache, on Debian and elsewhere.
fn default_directories(machine: (bool, u16)) -> Vec<PathBuf> {
    let triplet = match machine {
        (true, 62) => Some("x86_64-linux-gnu"),
        (false, 62) => Some("x86_64-linux-gnux32"),
        (_, 3) => Some("i386-linux-gnu"),
        (_, 183) => Some("aarch64-linux-gnu"),
        (_, 40) => Some("arm-linux-gnueabihf"),
        (true, 243) => Some("riscv64-linux-gnu"),
        (true, 21) => Some("powerpc64le-linux-gnu"),
        (true, 22) => Some("s390x-linux-gnu"),
        _ => None,
    };
    let of_triplet = triplet.into_iter().flat_map(|triplet| [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
    let plain = if machine.0 {
        &["/lib64", "/usr/lib64", "/lib", "/usr/lib"][..]
    } else {
        &["/lib", "/usr/lib", "/lib32", "/usr/lib32"]
    };
    of_triplet.map(PathBuf::from).chain(plain.iter().map(PathBuf::from)).collect()
}

/// Class and machine out of the first bytes of an ELF file (ELF specification, "ELF Header").
fn machine_of(path: &Path) -> Option<(bool, u16)> {
    let head = head(path, 20);
    let bytes: [u8; 2] = head.strip_prefix(b"\x7fELF").and_then(|_| head.get(18..20))?.try_into().ok()?;
    let machine = if head[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    Some((head[4] == 2, machine))
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    head(path, magic.len()) == magic
}

/// The first bytes of a file; none where it cannot be read.
fn head(path: &Path, length: usize) -> Vec<u8> {
    use io::Read as _;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path)
        && file.take(length as u64).read_to_end(&mut bytes).is_err()
    {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn follow(path: &Path) -> (Vec<Seed>, Vec<String>) {
        let host = Host::without_packages();
        let mut walker = Walker::default();
        let mut follower = Follower::new(&host, &mut walker, OsStr::new("/usr/bin:/bin"));
        follower.program(path).expect("it is there");
        follower.into_seeds()
    }

    fn files(seeds: &[Seed]) -> Vec<&Path> {
        let files = seeds.iter().filter_map(|seed| match seed {
            Seed::File(path, _) => Some(path.as_path()),
            _ => None,
        });
        files.collect()
    }

    #[test]
    fn origin_is_the_directory_of_the_file() {
        let wide = (true, 62);
        assert_eq!(expand(b"$ORIGIN/../lib", Path::new("/opt/x/bin"), wide), Path::new("/opt/x/bin/../lib"));
        assert_eq!(expand(b"${ORIGIN}/$LIB", Path::new("/a"), wide), Path::new("/a/lib64"));
    }

    #[test]
    fn a_loose_program_is_followed_to_its_loader_and_libraries() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let tool = directory.path().canonicalize().expect("it exists").join("tool");
        let Ok(_) = std::fs::copy("/bin/ls", &tool) else {
            eprintln!("not run: there is no `/bin/ls`");
            return;
        };
        let link = tool.with_file_name("link");
        symlink("tool", &link).expect("link");
        let (seeds, notes) = follow(&link);
        assert!(seeds.contains(&Seed::Link(link, "tool".into())));
        let names = files(&seeds);
        assert!(names.contains(&tool.as_path()));
        assert!(names.iter().any(|path| path.ends_with("libc.so.6")), "{names:?}");
        assert!(names.iter().any(|path| path.to_string_lossy().contains("ld-linux")), "{names:?}");
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn a_script_draws_in_its_interpreter_and_the_usual_tools() {
        if !Path::new("/usr/bin/env").exists() {
            eprintln!("not run: there is no `/usr/bin/env`");
            return;
        }
        let directory = tempfile::tempdir().expect("temporary directory");
        let script = directory.path().canonicalize().expect("it exists").join("script");
        std::fs::write(&script, "#!/usr/bin/env -S sh -e\necho\n").expect("write");
        let (seeds, _) = follow(&script);
        let names = files(&seeds);
        for name in ["script", "env", "sed"] {
            assert!(names.iter().any(|path| path.ends_with(name)), "{name} in {names:?}");
        }
    }

    #[test]
    fn python_is_known_by_its_name() {
        assert!(["python", "python3", "python3.13"].into_iter().all(is_python));
        assert!(!is_python("python3-config"));
    }
}
