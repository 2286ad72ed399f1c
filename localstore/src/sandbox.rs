//! Runs one builder. A stand-in without isolation: it uses the system's `unshare`, `mount` and `chroot` programs.

use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
#[error("cannot start the builder")]
pub struct SandboxError(#[from] io::Error);

/// Runs a job to its end.
///
/// # Errors
/// [`SandboxError`] where it cannot be started.
pub fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    let Program::Builder { program, args, env, inputs, .. } = &job.program else {
        return Err(io::Error::other("the runner needs the real sandbox").into());
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
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break match (status.code(), status.signal()) {
                (Some(code), _) if code > 128 => Ended::Signal(code - 128),
                (Some(code), _) => Ended::Exit(code),
                (None, signal) => Ended::Signal(signal.unwrap_or(0)),
            };
        }
        let late = job.timeout.is_some_and(|timeout| start.elapsed() > timeout);
        if late || job.cancelled.load(Ordering::Relaxed) {
            child.kill()?;
            child.wait()?;
            break if late { Ended::TimedOut } else { Ended::Cancelled };
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    for at in mounted {
        if at.is_dir() && !at.is_symlink() { fs::remove_dir(at)? } else { fs::remove_file(at)? }
    }
    Ok(ended)
}
