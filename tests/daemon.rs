//! A real Nix daemon with a store of its own, in a temporary directory. Knows nothing of our own code: the tests of
//! `nixstore`, on which this package builds, use this file too.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A version of Nix, by the suite of Debian that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nix {
    /// 2.8.
    Bookworm,
    /// 2.26.
    Trixie,
    /// 2.34 or later.
    Sid,
}

/// How a daemon is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Its version.
    pub nix: Nix,
    /// Whether it has the experimental features `ca-derivations` and `recursive-nix`.
    pub experimental: bool,
    /// Whether it trusts who runs the tests.
    pub trusted: bool,
}

impl Setup {
    /// One that trusts who runs the tests.
    pub const fn new(nix: Nix, experimental: bool) -> Self {
        Self { nix, experimental, trusted: true }
    }

    /// The same that does not.
    pub const fn not_trusted(self) -> Self {
        Self { trusted: false, ..self }
    }
}

/// The script that installs and runs a Nix.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/real-nix");

impl Nix {
    /// The version as the script knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// Where it is unpacked, if it can be had here.
    ///
    /// # Errors
    /// The reason why not.
    ///
    /// # Panics
    /// Where there is no bash.
    pub fn find(self) -> Result<PathBuf, String> {
        let installed = Command::new(SCRIPT).arg(self.name()).output().expect("the script starts");
        if !installed.status.success() {
            return Err(String::from_utf8_lossy(&installed.stderr).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&installed.stdout).into_owned();
        Ok(said.trim().splitn(4, ' ').last().expect("it says where").into())
    }
}

/// A running daemon. It ends when this is dropped, and its store is deleted.
pub struct Daemon {
    setup: Setup,
    /// More lines of nix.conf.
    settings: String,
    process: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts one with an empty store.
    ///
    /// # Errors
    /// The reason why there is no such Nix.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(setup: Setup) -> Result<Self, String> {
        Self::start_with(setup, "")
    }

    /// The same with more lines of nix.conf.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn start_with(setup: Setup, settings: &str) -> Result<Self, String> {
        setup.nix.find()?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("root")).expect("it is empty");
        let process = spawn(setup, settings, directory.path());
        let mut daemon = Self { process, setup, settings: settings.into(), directory };
        daemon.wait();
        Ok(daemon)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Where its clients find it, as they are told by `--store`.
    pub fn url(&self) -> String {
        format!("unix://{}?root={}", self.socket().display(), self.root().display())
    }

    /// A program of the same Nix, as a client.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(SCRIPT);
        command.args([self.setup.nix.name(), program, "--store", &self.url()]);
        command.env("REAL_NIX_HOME", self.directory.path().join("home")).stdin(Stdio::null());
        command
    }

    /// What is resident now of it and of all that it has started, in KiB: what several share is counted for each, and then
    /// once.
    pub fn resident(&self) -> [u64; 2] {
        let mut processes = vec![self.process.id()];
        let mut seen = 0;
        while let Some(&process) = processes.get(seen) {
            // Its children are those of its threads.
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
            processes.extend(children.collect::<String>().split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            seen += 1;
        }
        let of_all = |what: &str| processes.iter().map(|process| resident(*process, what)).sum();
        ["Rss:", "Pss:"].map(of_all)
    }

    /// Kills it and all that it has started, as when a machine fails.
    ///
    /// # Panics
    /// Where that cannot be done.
    pub fn kill(&mut self) {
        let children = descendants(self.process.id());
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
        // Some end by themselves, as those do that have started them.
        Command::new("kill").args(["-s", "KILL"]).args(children).stderr(Stdio::null()).status().expect("`kill` starts");
    }

    /// Starts it again, after it was killed, with what its store holds.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start_again(&mut self) {
        self.process = spawn(self.setup, &self.settings, self.directory.path());
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while !greets(&self.socket()) {
            let ended = self.process.try_wait().expect("it can be waited for");
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "the daemon does not come up: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Of one process, by the words of `proc_pid_smaps(5)`; nothing where it has ended.
fn resident(process: u32, what: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB"));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Whether a daemon listens and has its store open: it makes the socket before it listens, and of two clients that come
/// before it has made its database one may be sent away.
fn greets(socket: &Path) -> bool {
    // The first words of the worker protocol, as a client of 1.34.
    let hello = [0x6e69_7863_u64, 0x122].map(u64::to_le_bytes).concat();
    let mut answer = [0; 8];
    let greeted = UnixStream::connect(socket).and_then(|mut daemon| {
        daemon.write_all(&hello)?;
        daemon.read_exact(&mut answer)
    });
    greeted.is_ok()
}

fn spawn(setup: Setup, more: &str, directory: &Path) -> Child {
    let Setup { nix, experimental, trusted } = setup;
    let features = if experimental { "nix-command ca-derivations recursive-nix" } else { "nix-command" };
    let trusted = if trusted { "root @root *" } else { "" };
    let settings = format!(
        "experimental-features = {features}\ntrusted-users = {trusted}\nsandbox = true\nsandbox-fallback = false\n\
         max-jobs = 2\n{more}\n"
    );
    let root = directory.join("root");
    let log = || File::options().create(true).append(true).open(directory.join("log")).expect("a log can be written");
    Command::new(SCRIPT)
        .args([nix.name(), "nix-daemon", "--store", &format!("local?root={}", root.display())])
        .env("NIX_CONFIG", settings)
        .env("NIX_DAEMON_SOCKET_PATH", directory.join("socket"))
        .env("REAL_NIX_HOME", directory.join("home"))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .expect("the script starts")
}

/// The processes that a process has started, and those that these have started, and so on.
fn descendants(process: u32) -> Vec<String> {
    let entries = || fs::read_dir("/proc").expect("there is a /proc").flatten();
    // `12 (a name, which may hold anything) S 1 …`: the last is the parent.
    let parent = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (process, rest) = (text.split(' ').next()?.parse().ok()?, text.rsplit_once(") ")?.1);
        Some((process, rest.split(' ').nth(1)?.parse().ok()?))
    };
    let parents: Vec<(u32, u32)> = entries().filter_map(parent).collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(child, _)| child));
        next += 1;
    }
    found[1..].iter().map(u32::to_string).collect()
}

/// Its children end with their connections.
impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok(); // it may have ended
        self.process.wait().ok();
        let top = self.directory.path();
        Command::new("chmod").args(["-R", "u+w"]).arg(top).stderr(Stdio::null()).status().ok(); // a leak is all that comes of it
    }
}
