//! Calls of compilers, each played by the compiler itself and by `ccwrap`: what they make and say is to be the same, byte for
//! byte, and `ccwrap` is to have counted what became of the call.

use crate::{Said, Scene, not_run, program};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

/// A directory `build` in which compilers are called, with a cache, a store and a home of its own.
pub struct Calls {
    /// Where all of it lies.
    pub scene: Scene,
    /// Where the compiler starts, in the temporary directory.
    pub directory: String,
    /// Variables of both ways.
    env: BTreeMap<String, String>,
    counted: BTreeMap<String, u64>,
}

/// Where `ccwrap` notes that it has told that namespaces are refused, in the temporary directory. Scenes do not hear of that.
pub const TOLD: &str = "ccwrap/told-of-namespaces";

/// What a user may have set for compilers or for ours, and scenes have not.
const SETTINGS: [&str; 15] = [
    "LD_LIBRARY_PATH",
    "LD_RUN_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "COMPILER_PATH",
    "LANG",
    "LC_MESSAGES",
    "SOURCE_DATE_EPOCH",
    "GCC_COLORS",
    "COLORTERM",
    "TERM_URLS",
    "MAKEFLAGS",
    "PWD",
    "RUSTUP_TOOLCHAIN",
];

/// What belongs to our programs and not to the calls.
const OURS: [&str; 5] = ["store", "history", "cache", "home", "ccwrap"];

/// Files by path in the temporary directory, with what they hold.
type Files = BTreeMap<String, Vec<u8>>;

impl Calls {
    /// An empty directory; nothing, and `test` noted as not run, where one of our programs or of `needs` is missing.
    ///
    /// # Panics
    /// Where there is no temporary directory.
    pub fn new(test: &str, needs: &[&str]) -> Option<Self> {
        Self::with_snapshot(test, needs, "gcc", &["gcc", "-c", "snapshot.c"])
    }

    /// The same for calls of rustc, which has a larger snapshot.
    ///
    /// # Panics
    /// See there.
    pub fn of_rust(test: &str) -> Option<Self> {
        let words = [
            "rustc",
            "--crate-name=snapshot",
            "--crate-type=lib",
            "--emit=dep-info,metadata",
            "--out-dir=.",
            "snapshot.rs",
        ];
        Self::with_snapshot(test, &["cargo", "rustc", "cc"], "rust", &words)
    }

    fn with_snapshot(test: &str, needs: &[&str], name: &str, words: &[&str]) -> Option<Self> {
        if !program("ccwrap").exists() {
            not_run(test, "`ccwrap` is not built");
            return None;
        }
        let scene = Scene::new(test, needs)?;
        let env = [("LC_ALL".into(), "C.UTF-8".into())].into();
        let mut calls = Self { scene, directory: "build".into(), env, counted: BTreeMap::new() };
        if name == "rust" {
            calls.tell_of_rustup();
        }
        calls.take_snapshots(name, words).ok(); // else it makes its own
        if crate::is_refused() {
            calls.scene.write(TOLD, "1");
        }
        Some(calls)
    }

    /// Where the user has rustup and Cargo, which the scene's home has not.
    fn tell_of_rustup(&mut self) {
        let home = std::env::var_os("HOME").unwrap_or_default();
        for (name, below) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
            let path = std::env::var_os(name).map_or_else(|| Path::new(&home).join(below), PathBuf::from);
            self.set(name, &path.display().to_string());
        }
        // Such as the one that tests of ours are run with, which is not that of the directory of a scene.
        if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
            self.set("RUSTUP_TOOLCHAIN", &toolchain.to_string_lossy());
        }
    }

    /// Gives the scene a store that has the snapshot of a compiler of the host and nothing else of use, made once for each build
    /// of ours: its files are links. `words` call the compiler.
    fn take_snapshots(&self, name: &str, words: &[&str]) -> io::Result<()> {
        let made = fs::metadata(program("ccwrap"))?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = program("ccwrap").with_file_name("stores-of-calls");
        fs::create_dir_all(&kept)?;
        let lock = File::options().create(true).truncate(false).write(true).open(kept.join("lock"))?;
        lock.lock()?;
        let refused = if crate::is_refused() { "-refused" } else { "" };
        let whole = kept.join(format!("{}-{name}{refused}", made.as_nanos()));
        if !whole.is_dir() {
            // Of programs that are no more.
            let is_old = |name: &OsStr| !name.to_string_lossy().starts_with(&made.as_nanos().to_string());
            let is_one = |entry: &fs::DirEntry| entry.path().is_dir() && is_old(&entry.file_name());
            for old in fs::read_dir(&kept)?.flatten().filter(is_one) {
                crate::make_writable(&old.path());
                fs::remove_dir_all(old.path()).ok();
            }
            let own = tempfile::tempdir_in(&kept)?;
            fs::write(own.path().join("snapshot.c"), "int snapshot;\n")?;
            fs::write(own.path().join("snapshot.rs"), "#![no_std]\n")?;
            let mut command = self.ccwrap(words);
            command.env("SPLITTER_STORE", own.path().join("store")).env("CCWRAP_DIR", own.path().join("ccwrap"));
            self.output(command.current_dir(own.path()));
            fs::rename(own.path().join("store"), &whole)?;
        }
        drop(lock);
        let store = self.scene.at("store");
        let copy = |words: &[&str], below: &str| -> io::Result<()> {
            fs::create_dir_all(store.join(below).parent().expect("a directory"))?;
            let status = Command::new("cp").args(words).arg(whole.join(below)).arg(store.join(below)).status()?;
            if status.success() { Ok(()) } else { Err(io::Error::other("cp")) }
        };
        copy(&["-a"], "nix/var")?;
        copy(&["-al"], "nix/store").or_else(|_| copy(&["-a"], "nix/store"))
    }

    /// A path in the directory of the calls.
    pub fn at(&self, name: &str) -> PathBuf {
        self.scene.at(&self.directory).join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        self.scene.write(&format!("{}/{name}", self.directory), text);
    }

    /// Writes a program there.
    ///
    /// # Panics
    /// Where that fails.
    pub fn write_program(&self, name: &str, text: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, text);
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// Sets a variable for the calls from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.into(), value.into());
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// `ccwrap` with more words.
    pub fn ccwrap<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Command {
        let mut command = self.plain(&program("ccwrap").display().to_string());
        command.env("CCWRAP_DIR", self.scene.at("ccwrap")).args(words);
        command
    }

    /// A program where the compiler would start, with the variables of both ways and none of ours.
    pub fn plain(&self, name: &str) -> Command {
        let mut command = self.scene.command_of(Path::new(name));
        for name in SETTINGS {
            command.env_remove(name);
        }
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.to_string_lossy().starts_with("CC")) {
            command.env_remove(name);
        }
        command.current_dir(self.scene.at(&self.directory)).envs(&self.env);
        command
    }

    /// Runs a command, as on a host that refuses namespaces if that is played.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn output(&self, command: &mut Command) -> Output {
        let output = match crate::is_refused() {
            true => crate::refused::within(|| command.output()),
            false => command.output(),
        };
        output.unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// Plays a call both ways, and answers what of ours has counted it.
    ///
    /// # Panics
    /// If the ways differ in what they make, say or end with.
    pub fn both(&mut self, words: &str) -> Vec<String> {
        self.both_words(&words.split(' ').collect::<Vec<_>>())
    }

    /// The same of words that may have blanks in them.
    ///
    /// # Panics
    /// See there.
    pub fn both_words(&mut self, words: &[&str]) -> Vec<String> {
        let before = self.contents();
        let theirs = self.alone(words);
        for path in theirs.1.keys() {
            fs::remove_file(self.scene.at(path)).expect("it was made");
        }
        let mut ours = self.made(|calls| calls.output(&mut calls.ccwrap(words)));
        // What a failed command leaves may be what lay there, put back.
        ours.1.retain(|path, content| theirs.1.contains_key(path) || before.get(path) != Some(content));
        let differ = theirs.1.iter().any(|(path, content)| ours.1.get(path).is_some_and(|ours| ours != content));
        let mut theirs = theirs;
        if differ {
            // Where the compiler itself makes another file each time, such as a precompiled header, any is as good.
            let again = self.alone(words);
            for (path, content) in &ours.1 {
                if theirs.1.get(path) != again.1.get(path) {
                    theirs.1.insert(path.clone(), content.clone());
                }
                fs::write(self.scene.at(path), content).expect("it was made");
            }
        }
        self.are_same(words, &ours, &theirs);
        self.newly_counted()
    }

    /// What the compiler makes and says by itself.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn alone(&self, words: &[&str]) -> (Output, Files) {
        self.made(|calls| calls.output(calls.plain(words[0]).args(&words[1..])))
    }

    /// What some work says and makes.
    pub fn made(&self, work: impl FnOnce(&Self) -> Output) -> (Output, Files) {
        let before = self.looks();
        let output = work(self);
        let after = self.looks();
        let new = after.into_iter().filter(|(path, look)| before.get(path) != Some(look));
        let content = |path: &String| fs::read(self.scene.at(path)).expect("it was seen");
        (output, new.map(|(path, _)| (path.clone(), content(&path))).collect())
    }

    /// Compares what was made and said both ways.
    ///
    /// # Panics
    /// If that differs.
    pub fn are_same(&self, words: &[&str], ours: &(Output, Files), theirs: &(Output, Files)) {
        let words = words.join(" ");
        let (said, wanted) = (self.scene.heard(&ours.0), self.scene.heard(&theirs.0));
        assert_eq!(ours.0.status, theirs.0.status, "{words}\n{said}\n--- by the compiler\n{wanted}");
        assert_eq!(said.errors, wanted.errors, "standard error of {words}");
        assert_eq!(said.out, wanted.out, "standard output of {words}");
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours.1), names(&theirs.1), "files of {words}");
        for (path, content) in &theirs.1 {
            assert!(ours.1[path] == *content, "`{path}` of {words} differs\n{said}");
        }
    }

    /// Plays a call, which is to be answered by its entry.
    ///
    /// # Panics
    /// If it is not, or not as by the compiler; so do those below.
    pub fn hit(&mut self, words: &str) {
        assert_eq!(self.both(words), ["direct_cache_hit"], "{words}: {}", self.explained());
    }

    /// Plays a call, which is to be compiled.
    pub fn miss(&mut self, words: &str) {
        assert_eq!(self.both(words), ["cache_miss"], "{words}: {}", self.explained());
    }

    /// Plays a call, which is to be answered by the store.
    pub fn store_hit(&mut self, words: &str) {
        assert_eq!(self.both(words), ["preprocessed_cache_hit"], "{words}: {}", self.explained());
    }

    /// Plays a call twice: it is compiled, then answered by its entry. Before that all is old enough to be believed by its look: of a
    /// call by a younger program there is no entry.
    pub fn miss_then_hit(&mut self, words: &str) {
        settle();
        self.miss(words);
        self.hit(words);
    }

    /// Plays a call, which is to be left to the compiler for this reason.
    pub fn passed(&mut self, words: &str, reason: &str) {
        assert_eq!(self.both(words), [reason], "{words}");
    }

    /// Why the last call was a miss.
    pub fn explained(&self) -> String {
        let said = self.scene.said(self.ccwrap(["--explain"]).env_remove("CCWRAP_STRICT"));
        said.out + &said.errors
    }

    /// What was counted since this was asked last: each counter as often.
    ///
    /// # Panics
    /// If the statistics are none.
    pub fn newly_counted(&mut self) -> Vec<String> {
        let said = self.scene.said(&mut self.ccwrap(["--print-stats"]));
        assert_eq!(said.code, Some(0), "{said}");
        let all = said.out.lines().map(|line| line.split_once('\t').expect("a name and a number"));
        let all = all.filter(|(name, _)| !name.starts_with("local_storage") && !name.starts_with("stats_"));
        let all: BTreeMap<String, u64> =
            all.map(|(name, times)| (name.into(), times.parse().expect("a number"))).collect();
        let new = all.iter().flat_map(|(name, times)| {
            let before = self.counted.get(name).copied().unwrap_or_default();
            std::iter::repeat_n(name.clone(), usize::try_from(times.saturating_sub(before)).expect("few"))
        });
        let new = new.collect();
        self.counted = all;
        new
    }

    /// Says that the statistics are gone.
    pub fn newly_counted_anew(&mut self) {
        self.counted.clear();
    }

    /// Runs `ccwrap` alone with these words.
    pub fn said(&self, words: &str) -> Said {
        self.scene.said(&mut self.ccwrap(words.split(' ')))
    }

    fn contents(&self) -> Files {
        let read = |path: String| fs::read(self.scene.at(&path)).ok().map(|content| (path, content));
        self.looks().into_keys().filter_map(read).collect()
    }

    /// By what each file is known that belongs to the calls.
    fn looks(&self) -> BTreeMap<String, (u64, u64, i64, i64)> {
        fn below(top: &Path, at: &Path, found: &mut BTreeMap<String, (u64, u64, i64, i64)>) {
            for entry in fs::read_dir(at).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(top).expect("below it").display().to_string();
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    if !OURS.contains(&name.as_str()) {
                        below(top, &path, found);
                    }
                } else {
                    let ctime = (metadata.ctime(), metadata.ctime_nsec());
                    found.insert(name, (metadata.ino(), metadata.len(), ctime.0, ctime.1));
                }
            }
        }
        let mut found = BTreeMap::new();
        below(&self.scene.at(""), &self.scene.at(""), &mut found);
        found
    }
}

/// Waits until what was written before stands for itself.
pub fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}
