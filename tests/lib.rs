//! What the tests share: where the programs are, how one says that it could not run, checkouts of real projects, and real
//! Nix daemons.

pub mod calls;
pub mod checkout;
pub mod daemon;
pub mod machine;
pub mod refused;
pub mod relay;
pub mod units;
pub mod waiting;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// The program `name` of this workspace, built beside the tests.
///
/// # Panics
/// Where the running program is not in the place of a test.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    test.parent().and_then(Path::parent).expect("tests are built below the profile's directory").join(name)
}

/// Notes that the test `test` could not run here, for `check`.
///
/// # Panics
/// Where the list of such tests cannot be written.
pub fn not_run(test: &str, reason: &str) {
    println!("not run: {reason}");
    if let Some(file) = env::var_os("SPLITTER_NOT_RUN") {
        use std::io::Write as _;
        let mut file = fs::File::options().append(true).create(true).open(file).expect("the list can be written");
        writeln!(file, "{test}: {reason}").expect("the list can be written");
    }
}

/// Whether the scenes are played as on a host that refuses namespaces: `SPLITTER_TEST_REFUSED` is set.
pub fn is_refused() -> bool {
    env::var_os("SPLITTER_TEST_REFUSED").is_some()
}

/// Whether a test that is about the sandbox cannot run as there is none.
pub fn lacks_sandbox(test: &str) -> bool {
    if is_refused() {
        not_run(test, "it is about the sandbox, and namespaces are refused on purpose");
    }
    is_refused()
}

/// A project and its build directory `build`, with a store, a history and a home of its own, in a temporary directory.
pub struct Scene {
    directory: tempfile::TempDir,
}

/// What a user may have set for runs of ours, and scenes have not.
const SETTINGS: [&str; 8] = [
    "SPLITTER_STORE_LIMIT",
    "SPLITTER_ROOT",
    "SPLITTER_ROOT_MODE",
    "SPLITTER_REALISE",
    "SPLITTER_KEEP",
    "SPLITTER_WITHIN",
    "NIX_REMOTE",
    "NIX_BUILD_TOP",
];

/// Rules for edges that say what they do: the description of an edge is the name of its output.
const RULES: &str = "\
rule sh
  command = $cmd
  description = $out
rule cc
  command = gcc $flags -MD -MF $out.d -c $in -o $out
  description = $out
  depfile = $out.d
  deps = gcc
rule ar
  command = rm -f $out && ar qc $out $in
  description = $out
rule ld
  command = gcc $in -o $out
  description = $out
";

impl Scene {
    /// An empty project; nothing, and `test` noted as not run, where one of our programs or of `needs` is missing.
    ///
    /// # Panics
    /// Where there is no temporary directory.
    pub fn new(test: &str, needs: &[&str]) -> Option<Self> {
        Self::new_in(test, needs, &env::temp_dir())
    }

    /// The same, below a directory.
    ///
    /// # Panics
    /// Where there is no temporary directory.
    pub fn new_in(test: &str, needs: &[&str], parent: &Path) -> Option<Self> {
        if let Some(missing) = ["ninja2drv", "splitter", "splitter-runner"].iter().find(|name| !program(name).exists())
        {
            not_run(test, &format!("`{missing}` is not built"));
            return None;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let is_there = |name: &str| env::split_paths(&path).any(|directory| directory.join(name).is_file());
        if let Some(missing) = needs.iter().find(|name| !is_there(name)) {
            not_run(test, &format!("there is no `{missing}`"));
            return None;
        }
        let scene = Self { directory: tempfile::tempdir_in(parent).expect("a temporary directory") };
        fs::create_dir(scene.at("build")).expect("it is empty");
        Some(scene)
    }

    /// A path in the temporary directory; `build/` is the build directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, in the place of what is there.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// The text of a file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_else(|e| panic!("`{name}`: {e}"))
    }

    /// Writes the build file: edges of the rules `sh` (runs its variable `cmd`), `cc`, `ar` and `ld`.
    pub fn edges(&self, edges: &str) {
        self.write("build/build.ninja", format!("{RULES}{edges}"));
    }

    /// A program of ours in the build directory, with the scene's store, history and home.
    pub fn command(&self, name: &str) -> Command {
        self.command_of(&program(name))
    }

    /// The same of another program, which may start ours.
    pub fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env("SPLITTER_STORE", self.at("store")).env("XDG_STATE_HOME", self.at("history"));
        command
            .env("XDG_CACHE_HOME", self.at("cache"))
            .env("HOME", self.at("home"))
            .current_dir(self.at("build"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `ninja2drv -v` with more arguments.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.said(self.command("ninja2drv").arg("-dexplain").args(arguments))
    }

    /// Runs `ninja2drv -v`, which is to succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn build(&self) -> Said {
        let said = self.run(&[]);
        assert_eq!(said.code, Some(0), "{said}");
        said
    }

    /// Runs a build, which is to fail with the exit code of the command that failed last, or 1.
    ///
    /// # Panics
    /// If it does not.
    pub fn fail(&self) -> Said {
        let said = self.run(&[]);
        let failed = said.out.lines().rev().find_map(|line| line.strip_prefix("FAILED: [code=")?.split_once(']'));
        let code = failed.map_or(1, |(code, _)| code.parse().expect("a number"));
        assert!(code != 0 && said.code == Some(code), "{said}");
        said
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn said(&self, command: &mut Command) -> Said {
        let output = match is_refused() {
            true => refused::within(|| command.output()),
            false => command.output(),
        };
        self.heard(&output.unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// What a command said that has ended; paths in the temporary directory start there.
    pub fn heard(&self, output: &Output) -> Said {
        let top = format!("{}/", self.directory.path().display());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&top, "");
        Said { code: output.status.code(), out: text(&output.stdout), errors: text(&output.stderr) }
    }

    /// Whether ninja's logs are of the version that ours are; else the test is noted as not run.
    ///
    /// # Panics
    /// Where there is no ninja.
    pub fn has_our_logs(&self, test: &str) -> bool {
        let version = self.said(Command::new("ninja").arg("--version")).out;
        let is_ours = version.starts_with("1.13.");
        if !is_ours {
            not_run(test, &format!("ninja is {}, whose logs are others", version.trim()));
        }
        is_ours
    }

    /// Checks every file of the store.
    ///
    /// # Panics
    /// If one is wrong.
    pub fn store_is_good(&self) {
        let said = self.said(self.command("splitter").args(["store", "verify"]));
        assert!(said.code == Some(0) && said.out.contains(", 0 wrong"), "{said}");
    }

    /// Deletes the store.
    ///
    /// # Panics
    /// If that fails.
    pub fn delete_store(&self) {
        make_writable(&self.at("store"));
        fs::remove_dir_all(self.at("store")).expect("it can be deleted");
    }

    /// How many processes run that have `word` among their arguments.
    ///
    /// # Panics
    /// Where there is no /proc.
    pub fn processes(&self, word: &str) -> usize {
        let arguments = fs::read_dir("/proc").expect("there is a /proc").flatten().filter_map(|entry| {
            let text = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        });
        arguments.filter(|arguments| arguments.split('\0').any(|argument| argument == word)).count()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The directories of a store are read-only, also for those who remove them. What fails here is left in /tmp.
        make_writable(self.directory.path());
    }
}

/// Lets the directories below a path be deleted. Not the files: they may be links to those of another store.
fn make_writable(directory: &Path) {
    let mut command = Command::new("find");
    command.arg(directory).args(["-type", "d", "!", "-perm", "-u+w", "-exec", "chmod", "u+w", "{}", "+"]);
    command.stderr(Stdio::null()).status().ok(); // whoever deletes says what is in the way
}

/// What a run said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code, if no signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub errors: String,
}

impl Said {
    /// The edges that ran, each with the reason, sorted: `out: not built here before`.
    pub fn ran(&self) -> Vec<String> {
        self.edges(|what, reason| (!what.starts_with("reused ")).then(|| format!("{what}: {reason}")))
    }

    /// The edges whose outputs came from the store, each with the reason, sorted.
    pub fn reused(&self) -> Vec<String> {
        self.edges(|what, reason| what.strip_prefix("reused ").map(|name| format!("{name}: {reason}")))
    }

    fn edges(&self, as_told: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
        let told = |line: &str| {
            let (count, rest) = line.strip_prefix('[')?.split_once("] ")?;
            count.split_once('/')?;
            let (what, reason) = rest.strip_suffix(')')?.split_once(" (")?;
            as_told(what, reason)
        };
        let mut edges: Vec<String> = self.out.lines().filter_map(told).collect();
        edges.sort();
        edges
    }

    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        self.out == "ninja: no work to do.\n"
    }

    /// Checks that some lines are printed in this order, perhaps with others between them.
    ///
    /// # Panics
    /// If they are not.
    pub fn has(&self, lines: &[&str]) {
        let mut printed = self.out.lines().chain(self.errors.lines());
        for line in lines {
            assert!(printed.any(|printed| printed == *line), "`{line}` is not printed, or not here\n{self}");
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}exit code {:?}", self.out, self.errors, self.code)
    }
}
