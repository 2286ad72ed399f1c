//! A real Nix daemon with a store of its own, in a temporary directory.

use nixstore::daemon::transport::connect;
use nixstore::daemon::{Connection, ConnectionOptions, DaemonError};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The newest Nix that there is.
const NEWEST: &str = "sid";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/real-nix");

/// A running daemon of the newest Nix, which runs two builds at once, each in a sandbox.
pub struct NixDaemon {
    process: Child,
    directory: tempfile::TempDir,
}

impl NixDaemon {
    /// Starts one, with these experimental features.
    ///
    /// # Errors
    /// The reason why there is no such Nix here.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(features: &str) -> Result<Self, String> {
        let installed = Command::new(SCRIPT).arg(NEWEST).output().expect("the script starts");
        if !installed.status.success() {
            return Err(String::from_utf8_lossy(&installed.stderr).trim().to_owned());
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("root")).expect("it is empty");
        let log = || File::options().create(true).append(true).open(directory.path().join("log"));
        let log = || log().expect("a log can be written");
        let settings = format!(
            "experimental-features = nix-command {features}\ntrusted-users = root @root *\nsandbox = true\nsandbox-fallback = false\nmax-jobs = 2\n"
        );
        let process = Command::new(SCRIPT)
            .args([NEWEST, "nix-daemon", "--store", &format!("local?root={}/root", directory.path().display())])
            .env("NIX_CONFIG", settings)
            .env("NIX_DAEMON_SOCKET_PATH", directory.path().join("socket"))
            .env("REAL_NIX_HOME", directory.path().join("home"))
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("the script starts");
        let mut daemon = Self { process, directory };
        let until = Instant::now() + Duration::from_secs(60);
        // Nix makes the file before it listens. Two that come first at once make its new store at once, and one is refused.
        while daemon.greet().is_err() {
            let ended = daemon.process.try_wait().expect("it can be waited for");
            let log = fs::read_to_string(daemon.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "the daemon does not come up: {log}");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    /// A new connection, once it answers.
    ///
    /// # Errors
    /// As long as it does not.
    pub fn greet(&self) -> Result<Connection, DaemonError> {
        let options = ConnectionOptions { handshake: Duration::from_secs(60), ..ConnectionOptions::default() };
        Connection::open(connect(&self.socket(), options.handshake)?, &options)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Its store, for Nix and for us.
    pub fn url(&self) -> String {
        format!("unix://{}?root={}", self.socket().display(), self.root().display())
    }

    /// A program of the same Nix as its client.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(SCRIPT);
        command.args([NEWEST, program]).env("NIX_REMOTE", self.url());
        command.env("REAL_NIX_HOME", self.directory.path().join("client"));
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
}

/// Of one process, by the words of `proc_pid_smaps(5)`; nothing where it has ended.
fn resident(process: u32, what: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB"));
    line.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Its children end with their connections.
impl Drop for NixDaemon {
    fn drop(&mut self) {
        self.process.kill().ok(); // it may have ended
        self.process.wait().ok();
        let top = self.directory.path();
        Command::new("chmod").args(["-R", "u+w"]).arg(top).stderr(Stdio::null()).status().ok(); // a leak is all that comes of it
    }
}
