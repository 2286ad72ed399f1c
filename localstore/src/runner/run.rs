//! Runs the commands of a manifest and waits for all that they start.
#![expect(unsafe_code, reason = "waiting for any child, and ending all, have no safe form")]

use super::root::to_path;
use super::trace::{self, Tracer};
use super::{Error, Manifest, Step};
use nixstore::manifest::Run;
use nixstore::text;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long processes that outlive their command may take to end by themselves.
const GRACE: Duration = Duration::from_millis(200);

pub enum Ended {
    Exit(i32),
    Signal(i32),
    LeftRunning(Vec<String>),
}

/// One program, and how it is started.
pub struct Start {
    /// The file.
    pub file: OsString,
    /// Its own name first.
    pub argv: Vec<OsString>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// Nothing by default.
    pub stdin: Option<File>,
    /// Ours by default.
    pub stdout: Option<File>,
}

/// The processes that a job starts.
pub enum Children {
    /// All others of the PID namespace of which this process is the first.
    OfNamespace,
    /// Those that are traced.
    Traced(Box<Tracer>),
}

/// Starts a program, which is waited for by [`commands`].
pub fn begin(manifest: &Manifest, run: &Run) -> Result<libc::pid_t, Error> {
    let start = command(manifest, run)?;
    start.enter()?;
    let file = start.file.clone();
    spawn(start).map_err(|error| cannot_run(&file, error))
}

/// Runs every command until one fails; they print where this process does. The first program may have `begun`. Nothing is left
/// running, whatever comes of it.
pub fn commands(manifest: &Manifest, children: &mut Children, begun: Option<libc::pid_t>) -> Result<Ended, Error> {
    let ended = in_turn(manifest, children, begun);
    if !matches!(ended, Ok(Ended::Exit(0))) {
        children.end_all();
        return ended;
    }
    let left = children.survivors()?;
    Ok(if left.is_empty() { Ended::Exit(0) } else { Ended::LeftRunning(left) })
}

fn in_turn(manifest: &Manifest, children: &mut Children, mut begun: Option<libc::pid_t>) -> Result<Ended, Error> {
    for step in &manifest.commands {
        match step {
            Step::Run(run) => {
                children.streams(run);
                let ended = match begun.take() {
                    Some(pid) => children.wait_for(pid)?,
                    None => children.run(command(manifest, run)?)?,
                };
                if !matches!(ended, Ended::Exit(0)) {
                    return Ok(ended);
                }
            }
            Step::Remove(paths) => paths.iter().map(|path| to_path(path)).for_each(|path| {
                fs::remove_file(path).ok(); // as `rm -f`: what is not there need not be removed
            }),
            Step::Link(links) => {
                for (link, target) in links {
                    let link = to_path(link);
                    fs::remove_file(&link).ok(); // the link may be new
                    std::os::unix::fs::symlink(to_path(target), &link)
                        .map_err(Error::io(format!("link `{}`", link.display())))?;
                }
            }
        }
    }
    Ok(Ended::Exit(0))
}

fn command(manifest: &Manifest, run: &Run) -> Result<Start, Error> {
    let argv: Vec<OsString> = run.argv.iter().map(|text| word(text)).collect();
    let file = argv.first().map(|program| find(program, manifest)).unwrap_or_default();
    // As a shell says it: a file that cannot be opened is the command's fault.
    let open = |path: &Option<String>, open: fn(&Path) -> io::Result<File>| {
        let told = |path: &Path, error| Error::Misbehaved(format!("cannot open `{}`: {error}", path.display()));
        path.as_ref().map(|path| to_path(path)).map(|path| open(&path).map_err(|e| told(&path, e))).transpose()
    };
    let stdin = open(&run.stdin, |path| File::open(path))?;
    let stdout = open(&run.stdout, |path| File::create(path))?;
    Ok(Start { file, argv, env: manifest.env.clone(), cwd: to_path(&run.cwd), stdin, stdout })
}

impl Children {
    /// Notes the files that are opened as a program's standard streams.
    fn streams(&mut self, run: &Run) {
        let Self::Traced(tracer) = self else { return };
        for (path, flags) in [(&run.stdin, libc::O_RDONLY), (&run.stdout, libc::O_WRONLY | libc::O_CREAT)] {
            path.iter().for_each(|path| tracer.opened_for_it(&to_path(path), flags));
        }
    }

    /// Runs one program, and reaps whatever ends until it does.
    pub fn run(&mut self, start: Start) -> Result<Ended, Error> {
        start.enter()?;
        let program = start.file.clone();
        let cannot = |error: io::Error| cannot_run(&program, error);
        match self {
            Self::OfNamespace => {
                let pid = spawn(start).map_err(cannot)?;
                self.wait_for(pid)
            }
            Self::Traced(tracer) => {
                let started = tracer.start(start.into_program()?)?;
                let ended = self.wait_for(started.pid)?;
                started.failure().map_or(Ok(ended), |error| Err(cannot(error)))
            }
        }
    }

    fn wait_for(&mut self, pid: libc::pid_t) -> Result<Ended, Error> {
        loop {
            let mut status = 0;
            // Others are orphans that have ended.
            if self.wait(&mut status, 0)? == pid {
                return Ok(match (libc::WIFEXITED(status), libc::WIFSIGNALED(status)) {
                    (true, _) => Ended::Exit(libc::WEXITSTATUS(status)),
                    (_, true) => Ended::Signal(libc::WTERMSIG(status)),
                    _ => continue,
                });
            }
        }
    }

    /// waitpid(2) for any child.
    fn wait(&mut self, status: &mut libc::c_int, flags: libc::c_int) -> Result<libc::pid_t, Error> {
        match self {
            // SAFETY: waits for our own children; `status` outlives the call.
            Self::OfNamespace => Ok(unsafe { libc::waitpid(-1, status, flags) }),
            Self::Traced(tracer) => tracer.wait(status, flags),
        }
    }

    /// Names of processes that outlive their command and [`GRACE`]; they are ended.
    fn survivors(&mut self) -> Result<Vec<String>, Error> {
        let until = Instant::now() + GRACE;
        loop {
            match self.wait(&mut 0, libc::WNOHANG)? {
                0 if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                0 => {
                    let names = self.names();
                    self.end_all();
                    return Ok(names);
                }
                -1 => return Ok(Vec::new()), // no child is left
                _ => {}
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| format!("`{}`", name.trim_end()))
        };
        match self {
            Self::OfNamespace => {
                let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
                let numbers = entries.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok());
                numbers.filter(|pid| *pid != 1).filter_map(name).collect()
            }
            Self::Traced(tracer) => tracer.living().filter_map(|pid| name(pid.try_into().ok()?)).collect(),
        }
    }

    /// Ends them all.
    pub fn end_all(&mut self) {
        match self {
            // SAFETY: signals every other process of the PID namespace of which this is the first, then waits for all.
            Self::OfNamespace => unsafe {
                libc::kill(-1, libc::SIGKILL);
                while libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 {}
            },
            Self::Traced(tracer) => tracer.end_all(),
        }
    }
}

fn cannot_run(program: &OsStr, error: io::Error) -> Error {
    let program = Path::new(program).display();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EACCES | libc::ENOEXEC) => Error::Misbehaved(format!(
            "cannot run `{program}`: {error}; it must be a program among the inputs or tools"
        )),
        _ => Error::Io { what: format!("run `{program}`"), error },
    }
}

impl Start {
    /// Goes where it is to start: this process has no other use for its own directory, and a child that changes nothing of
    /// itself is started by vfork.
    fn enter(&self) -> Result<(), Error> {
        std::env::set_current_dir(&self.cwd).map_err(Error::io(format!("enter `{}`", self.cwd.display())))
    }

    fn into_program(self) -> Result<trace::Program, Error> {
        let stdin = self.stdin.map_or_else(|| File::open("/dev/null"), Ok).map_err(Error::io("open `/dev/null`"))?;
        let env = self.env.iter().map(|(key, value)| (word(key), word(value))).collect();
        Ok(trace::Program { file: self.file, argv: self.argv, env, stdin, stdout: self.stdout })
    }
}

fn spawn(start: Start) -> io::Result<libc::pid_t> {
    let mut command = Command::new(&start.file);
    if let Some((name, args)) = start.argv.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(start.env.iter().map(|(key, value)| (word(key), word(value))));
    command.stdin(start.stdin.map_or_else(Stdio::null, Stdio::from));
    start.stdout.map(|file| command.stdout(file));
    Ok(command.spawn()?.id() as libc::pid_t)
}

pub fn word(text: &str) -> OsString {
    OsString::from_vec(text::to_bytes(text))
}

/// The program of a word, looked for in the manifest's PATH as a shell would.
fn find(program: &OsStr, manifest: &Manifest) -> OsString {
    if program.as_encoded_bytes().contains(&b'/') {
        return program.to_owned();
    }
    let path = manifest.env.get("PATH").map(|path| OsString::from_vec(text::to_bytes(path))).unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    found.map_or_else(|| program.to_owned(), Into::into)
}
