//! Runs one builder. A stand-in without isolation: it uses the system's `unshare`, `mount` and `chroot` programs.

use crate::runner;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One run of a builder.
pub struct Job<'a> {
    /// What to run.
    pub program: Program<'a>,
    /// The directory of this build, on the store's file system: `store/` (outputs appear there under the base name of
    /// their scratch path) and `build/` (the builder's `/build`) exist in it and are empty, but for the files that
    /// `build/` holds structured attributes and `passAsFile` in.
    pub scratch: &'a Path,
    /// Gets standard output and standard error.
    pub log: File,
    /// The longest it may run.
    pub timeout: Option<Duration>,
    /// Set by somebody else to stop it.
    pub cancelled: &'a AtomicBool,
}

/// What a job runs.
pub enum Program<'a> {
    /// Any builder, as Nix runs it.
    Builder {
        /// Its logical path.
        program: &'a BStr,
        /// Its arguments.
        args: &'a [BString],
        /// All of its environment.
        env: &'a BTreeMap<BString, BString>,
        /// The closure of its inputs: logical path, physical path.
        inputs: &'a [(String, PathBuf)],
        /// Whether it may use the network.
        network: bool,
    },
    /// The project's own runner on an edge's manifest: it stages by itself from the physical store.
    Runner {
        /// Its physical path.
        program: &'a Path,
        /// The structured attributes as JSON, `outputs` filled in.
        attributes: &'a [u8],
        /// The physical store directory.
        store: &'a Path,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
}

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A process could not be started or waited for.
    #[error("cannot start the builder")]
    Start(#[from] io::Error),
    /// The kernel refused a part of the sandbox.
    #[error("cannot {step}; {}", hint(step))]
    Refused {
        /// Which step of setting it up.
        step: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// The setting that most often stands in the way of a step.
fn hint(step: &str) -> &'static str {
    match step {
        _ if step.contains("/proc`") && step.contains("mount") => {
            "a container masks /proc here: run it with `--security-opt systempaths=unconfined`"
        }
        _ if step.contains("user namespace") || step.contains("uid_map") || step.contains("setgroups") => {
            "look at the settings kernel.unprivileged_userns_clone (must be 1), user.max_user_namespaces (not 0) and \
             kernel.apparmor_restrict_unprivileged_userns (must be 0)"
        }
        _ => {
            "namespaces or mounts are refused: look at kernel.apparmor_restrict_unprivileged_userns and the container's seccomp profile"
        }
    }
}

/// Runs a job to its end.
///
/// # Errors
/// [`SandboxError`] where it cannot be started.
pub fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    let (program, args, env, inputs) = match &job.program {
        Program::Builder { program, args, env, inputs, .. } => (program, args, env, inputs),
        Program::Runner { program, attributes, store } => return run_runner(job, program, attributes, store),
    };
    let root = job.scratch.join("root");
    for directory in ["nix/store", "build", "bin", "usr", "lib", "lib64", "dev", "proc", "tmp"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let mut script = format!(
        "set -e; r={0}; for d in bin usr lib lib64 dev; do mount --rbind /$d $r/$d; done; mount -t proc proc $r/proc || true; \
         mount --bind {1}/store $r/nix/store; mount --bind {1}/build $r/build\n",
        root.display(),
        job.scratch.display()
    );
    let mut mounted = Vec::new();
    for (logical, physical) in *inputs {
        let name = Path::new(logical).file_name().expect("a store path has a name");
        let at = job.scratch.join("store").join(name);
        if physical.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(physical)?, &at)?;
        } else {
            if physical.is_dir() {
                fs::create_dir(&at)?
            } else {
                fs::write(&at, "")?
            }
            script += &format!("mount --bind {} $r{logical}\n", physical.display());
        }
        mounted.push(at);
    }
    script += "exec chroot $r /usr/bin/env -i -C /build \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-Umpf", "--map-root-user", "--kill-child", "sh", "-c", &script, "sh"]);
    for (key, value) in *env {
        let pair = [key.as_bytes(), b"=", value.as_bytes()].concat();
        command.arg(std::ffi::OsStr::from_bytes(&pair));
    }
    command.arg(std::ffi::OsStr::from_bytes(program));
    command.args(args.iter().map(|arg| std::ffi::OsStr::from_bytes(arg)));
    command.stdin(Stdio::null()).stdout(job.log.try_clone()?).stderr(job.log.try_clone()?).process_group(0);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let ended = wait(job, &mut child, start)?;
    for at in mounted {
        if at.is_dir() && !at.is_symlink() { fs::remove_dir(at)? } else { fs::remove_file(at)? }
    }
    Ok(ended)
}

/// Waits for a job's process, or ends it.
fn wait(job: &Job<'_>, child: &mut Child, start: Instant) -> io::Result<Ended> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match (status.code(), status.signal()) {
                (Some(code), _) if code > 128 => Ended::Signal(code - 128),
                (Some(code), _) => Ended::Exit(code),
                (None, signal) => Ended::Signal(signal.unwrap_or(0)),
            });
        }
        let late = job.timeout.is_some_and(|timeout| start.elapsed() > timeout);
        if late || job.cancelled.load(Ordering::Relaxed) {
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok(); // it may have just ended
            child.wait()?;
            return Ok(if late { Ended::TimedOut } else { Ended::Cancelled });
        }
        std::thread::sleep(POLL);
    }
}

/// How often a job's time and the user's wish to stop are looked at.
const POLL: Duration = Duration::from_micros(500);

/// Runs the project's own runner, which makes its sandbox itself, and reads how it ended.
fn run_runner(job: &Job<'_>, program: &Path, attributes: &[u8], store: &Path) -> Result<Ended, SandboxError> {
    let manifest = serde_json::from_slice(attributes).map_err(io::Error::other)?;
    let place = |name: &str| job.scratch.join(name);
    let order = runner::Job {
        manifest,
        store: store.into(),
        root: place("root"),
        outputs: place("store"),
        report: place("report"),
    };
    fs::create_dir(&order.root)?;
    fs::write(place("job"), serde_json::to_vec(&order).map_err(io::Error::other)?)?;
    let mut command = Command::new(program);
    command.arg(place("job")).stdin(Stdio::null()).stdout(job.log.try_clone()?).stderr(job.log.try_clone()?);
    let mut child = command.spawn()?;
    let ended = wait(job, &mut child, Instant::now())?;
    if matches!(ended, Ended::TimedOut | Ended::Cancelled) {
        return Ok(ended);
    }
    let report: runner::Report = match fs::read(&order.report) {
        Ok(report) => serde_json::from_slice(&report).map_err(io::Error::other)?,
        Err(_) => return Ok(ended),
    };
    let mut log = job.log.try_clone()?;
    let printed = manifest_log(&order);
    if !matches!(report, runner::Report::Done { .. }) {
        log.write_all(&printed)?;
    }
    match report {
        runner::Report::Done { .. } => Ok(Ended::Exit(0)),
        runner::Report::Exit(code) => Ok(Ended::Exit(code)),
        runner::Report::Signal(signal) => Ok(Ended::Signal(signal)),
        runner::Report::Misbehaved(what) | runner::Report::Error(what) => {
            writeln!(log, "splitter: {what}")?;
            Ok(Ended::Exit(MISBEHAVED))
        }
        runner::Report::Refused { step, errno } => {
            Err(SandboxError::Refused { step, error: io::Error::from_raw_os_error(errno) })
        }
    }
}

/// The exit code of a command that succeeded but did what an edge must not do; the log says what.
const MISBEHAVED: i32 = 125;

/// What the commands of a runner printed.
fn manifest_log(order: &runner::Job) -> Vec<u8> {
    let name = order.manifest.outputs.get("log").and_then(|path| Path::new(path).file_name());
    name.and_then(|name| fs::read(order.outputs.join(name)).ok()).unwrap_or_default()
}
