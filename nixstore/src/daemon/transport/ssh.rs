//! The way to a daemon on another machine: `ssh` runs one there that speaks on its standard input and output.

use super::Transport;
use crate::daemon::error::{ConnectProblem, DaemonError, SshEnd};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCommand {
    /// The program: `ssh`.
    pub ssh: OsString,
    /// Options for it, such as those of `NIX_SSHOPTS`.
    pub options: Vec<OsString>,
    /// The machine, as ssh knows it; a user may stand before it.
    pub host: OsString,
    /// The daemon there: `nix-daemon`. A shell on that machine reads it.
    pub program: OsString,
}

impl SshCommand {
    /// The usual programs, and no options.
    pub fn new(host: impl Into<OsString>) -> Self {
        Self { ssh: "ssh".into(), options: Vec::new(), host: host.into(), program: "nix-daemon".into() }
    }

    /// What ssh is given: no terminal, no X11 and no agent there, then the rest.
    fn arguments(&self) -> Vec<&OsStr> {
        let before = ["-x", "-a", "-T"].map(OsStr::new);
        let command = [&*self.host, OsStr::new("--"), &*self.program, OsStr::new("--stdio")];
        before.into_iter().chain(self.options.iter().map(OsString::as_os_str)).chain(command).collect()
    }

    fn error(&self, problem: ConnectProblem, source: io::Error) -> DaemonError {
        DaemonError::Connect { address: format!("ssh-ng://{}", self.host.display()), problem, source }
    }
}

/// A running `ssh`. It is ended when this is dropped.
pub struct Ssh {
    host: String,
    /// The other end is its standard input and output.
    socket: UnixStream,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Ssh {
    /// Starts it.
    ///
    /// # Errors
    /// [`DaemonError::Connect`] where the program cannot be run, or the host begins with a dash and would be an option.
    pub fn start(command: &SshCommand) -> Result<Self, DaemonError> {
        if command.host.is_empty() || command.host.as_bytes().starts_with(b"-") {
            return Err(command.error(ConnectProblem::Address, io::ErrorKind::InvalidInput.into()));
        }
        Self::spawn(command).map_err(|error| command.error(ConnectProblem::of(&error), error))
    }

    fn spawn(command: &SshCommand) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let input = OwnedFd::from(theirs.try_clone()?);
        let mut child = Command::new(&command.ssh)
            .args(command.arguments())
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()?;
        let said = Arc::default();
        let stderr = child.stderr.take().expect("it was asked for");
        let kept = Arc::clone(&said);
        // Ends when nobody has the other end of the pipe any more.
        std::thread::spawn(move || keep_last_lines(stderr, &kept));
        Ok(Self { host: command.host.display().to_string(), socket, child, said })
    }

    /// How it ended; nothing if it still runs after `patience`.
    fn status(&mut self, patience: Duration) -> Option<ExitStatus> {
        const PAUSE: Duration = Duration::from_millis(5);

        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Ok(status) => return status,
                // Nobody can tell any more.
                Err(_) => return None,
            }
        }
    }
}

/// How long to wait for a program to end whose connection has.
const ENDING: Duration = Duration::from_millis(500);

impl Transport for Ssh {
    fn socket(&self) -> &UnixStream {
        &self.socket
    }

    fn end(&mut self) -> Option<SshEnd> {
        /// How long its last words may take to get here.
        const LAST_WORDS: Duration = Duration::from_millis(20);

        let status = self.status(ENDING);
        std::thread::sleep(LAST_WORDS);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        Some(SshEnd { host: self.host.clone(), status, said })
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // It may have gone already; otherwise it ends by itself once nobody talks to it, or else is ended.
        let _ = self.socket.shutdown(Shutdown::Both);
        if self.status(ENDING).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Keeps the last lines of what is written to `stderr`, each no longer than is good for a message.
fn keep_last_lines(stderr: ChildStderr, lines: &Mutex<VecDeque<String>>) {
    const LINES: usize = 10;
    const LENGTH: u64 = 1000;

    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    // What cannot be read is not repeated.
    while matches!((&mut stderr).take(LENGTH).read_until(b'\n', &mut line), Ok(1..)) {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        if lines.len() > LINES {
            lines.pop_front();
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    /// A program in the place of ssh.
    fn command(directory: &Path, script: &str) -> SshCommand {
        let ssh = directory.join("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        SshCommand { ssh: ssh.into(), options: vec!["-p22".into()], ..SshCommand::new("ada@host") }
    }

    #[test]
    fn the_daemon_is_run_on_the_host_with_the_options_of_the_user() {
        let directory = tempfile::tempdir().unwrap();
        let mut ssh = Ssh::start(&command(directory.path(), "echo \"$@\"; cat")).unwrap();
        let mut line = String::new();
        BufReader::new(&ssh.socket).read_line(&mut line).unwrap();
        assert_eq!(line, "-x -a -T -p22 ada@host -- nix-daemon --stdio\n");
        assert_eq!(ssh.status(Duration::ZERO), None);
    }

    #[test]
    fn what_ssh_says_last_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let script = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo line $i >&2; done; echo no such host >&2; exit 255";
        let mut ssh = Ssh::start(&command(directory.path(), script)).unwrap();
        let end = ssh.end().unwrap();
        assert_eq!(end.status.unwrap().code(), Some(255));
        assert_eq!((end.said.len(), end.said.last().unwrap().as_str()), (10, "no such host"));
        assert_eq!(end.host, "ada@host");
        assert!(end.to_string().starts_with("ssh ended with exit status: 255, after it said `line 3\n"), "{end}");
    }

    #[test]
    fn nothing_is_left_of_an_ssh_that_does_not_end_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let ssh = Ssh::start(&command(directory.path(), "exec sleep 1000")).unwrap();
        let process = format!("/proc/{}", ssh.child.id());
        assert!(Path::new(&process).exists());
        drop(ssh);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn a_host_is_never_an_option() {
        for host in ["-oProxyCommand=touch /tmp/x", ""] {
            let error = Ssh::start(&SshCommand::new(host)).map(|_| ()).unwrap_err();
            assert!(matches!(error, DaemonError::Connect { problem: ConnectProblem::Address, .. }));
        }
        let missing = SshCommand { ssh: "/nowhere/ssh".into(), ..SshCommand::new("host") };
        let error = Ssh::start(&missing).map(|_| ()).unwrap_err();
        assert!(matches!(error, DaemonError::Connect { problem: ConnectProblem::Missing, .. }));
    }
}
