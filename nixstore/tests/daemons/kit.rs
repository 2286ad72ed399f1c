//! A daemon with a store of its own, in a temporary directory.

use nixstore::Store;
use nixstore::daemon::transport::{SshCommand, connect};
use nixstore::daemon::{Connection, ConnectionOptions, DaemonError};
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore, Way};
use nixstore::store_suite::Subject;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A version of Nix, by the suite of Debian that it comes from.
#[derive(Debug, Clone, Copy)]
pub enum Nix {
    Bookworm,
    Trixie,
    Sid,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/real-nix");

impl Nix {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// A running daemon, and a store that is its client.
pub struct Daemon {
    store: Option<DaemonStore>,
    process: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts one; nothing, and `test` noted as not run, where there is no such Nix.
    pub fn start(test: &str, nix: Nix, way: Way, trusted: bool) -> Option<Self> {
        let installed = Command::new(SCRIPT).arg(nix.name()).output().expect("the script starts");
        if !installed.status.success() {
            let reason = String::from_utf8_lossy(&installed.stderr).trim().to_owned();
            not_run(test, &reason);
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut daemon = Self { store: None, process: start(nix, way, trusted, directory.path()), directory };
        daemon.wait();
        let address = Address::Socket { socket: daemon.socket(), root: daemon.root() };
        daemon.store = Some(open(address, way));
        Some(daemon)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn greet(&self) -> Result<Connection, DaemonError> {
        let options = ConnectionOptions { handshake: Duration::from_secs(60), ..ConnectionOptions::default() };
        Connection::open(connect(&self.socket(), options.handshake)?, &options)
    }

    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        // Nix makes the file before it listens. Two that come first at once make its new store at once, and one is refused.
        while self.greet().is_err() {
            let ended = self.process.try_wait().expect("it can be waited for");
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "the daemon does not come up: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A store by this way.
pub fn open(address: Address, way: Way) -> DaemonStore {
    let options = DaemonOptions { way: Some(way), connections: 3, ..DaemonOptions::default() };
    DaemonStore::open(address, options).unwrap_or_else(|error| panic!("{error}: {:?}", error.hint()))
}

fn start(nix: Nix, way: Way, trusted: bool, directory: &Path) -> Child {
    let features = match way {
        Way::Stock => "nix-command",
        Way::ContentAddressed | Way::Recursive => "nix-command ca-derivations recursive-nix",
    };
    let trusted = if trusted { "root @root *" } else { "" };
    let settings = format!(
        "experimental-features = {features}\ntrusted-users = {trusted}\nsandbox = true\nsandbox-fallback = false\nmax-jobs = 2\n"
    );
    let root = directory.join("root");
    fs::create_dir(&root).expect("it is empty");
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

/// Its children end with their connections.
impl Drop for Daemon {
    fn drop(&mut self) {
        self.store = None;
        self.process.kill().ok(); // it may have ended
        self.process.wait().ok();
        let top = self.directory.path();
        Command::new("chmod").args(["-R", "u+w"]).arg(top).stderr(Stdio::null()).status().ok(); // a leak is all that comes of it
    }
}

impl Subject for Daemon {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("it is open until it is dropped")
    }
}

/// Notes that a test could not run here, for `check`.
pub fn not_run(test: &str, reason: &str) {
    println!("not run: {reason}");
    if let Some(file) = std::env::var_os("SPLITTER_NOT_RUN") {
        let mut file = File::options().append(true).create(true).open(file).expect("the list can be written");
        writeln!(file, "{test}: {reason}").expect("the list can be written");
    }
}

/// A program in the place of ssh, that runs a daemon here.
#[allow(dead_code)]
pub fn ssh(ssh: &Path) -> SshCommand {
    SshCommand { ssh: ssh.into(), ..SshCommand::new("host") }
}
