//! Runs the commands of a manifest, as the first process of their PID namespace.
#![expect(unsafe_code, reason = "waiting for any child, and ending all, have no safe form")]

use super::root::to_path;
use super::{Error, Manifest, Step};
use nixstore::manifest::Run;
use nixstore::text;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long processes that outlive their command may take to end by themselves.
const GRACE: Duration = Duration::from_millis(200);

pub enum Ended {
    Exit(i32),
    Signal(i32),
    LeftRunning(Vec<String>),
}

/// Runs every command until one fails; they print where this process does.
pub fn commands(manifest: &Manifest) -> Result<Ended, Error> {
    for step in &manifest.commands {
        match step {
            Step::Run(run) => {
                let ended = command(manifest, run)?;
                if !matches!(ended, Ended::Exit(0)) {
                    end_all();
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
    let left = survivors();
    Ok(if left.is_empty() { Ended::Exit(0) } else { Ended::LeftRunning(left) })
}

fn command(manifest: &Manifest, run: &Run) -> Result<Ended, Error> {
    let program = run.argv.first().map(|text| word(text)).unwrap_or_default();
    let mut command = Command::new(find(&program, manifest));
    command.arg0(&program).args(run.argv.iter().skip(1).map(|text| word(text))).stdin(Stdio::null());
    // As a shell says it: a file that cannot be opened is the command's fault.
    let told = |path: &Path, error| Error::Misbehaved(format!("cannot open `{}`: {error}", path.display()));
    if let Some(path) = run.stdin.as_ref().map(|path| to_path(path)) {
        command.stdin(fs::File::open(&path).map_err(|error| told(&path, error))?);
    }
    if let Some(path) = run.stdout.as_ref().map(|path| to_path(path)) {
        command.stdout(fs::File::create(&path).map_err(|error| told(&path, error))?);
    }
    wait_for(&mut command, &manifest.env, &to_path(&run.cwd))
}

/// Runs one program with this environment in `cwd`, and reaps whatever ends until it does.
pub fn wait_for(command: &mut Command, env: &BTreeMap<String, String>, cwd: &Path) -> Result<Ended, Error> {
    // This process has no other use for its own; a child that changes nothing of itself is started by vfork.
    std::env::set_current_dir(cwd).map_err(Error::io(format!("enter `{}`", cwd.display())))?;
    command.env_clear().envs(env.iter().map(|(k, v)| (word(k), word(v))));
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = Path::new(command.get_program()).display();
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EACCES | libc::ENOEXEC)) {
                return Err(Error::Misbehaved(format!(
                    "cannot run `{program}`: {error}; it must be a program among the inputs or tools"
                )));
            }
            return Err(Error::Io { what: format!("run `{program}`"), error });
        }
    };
    let pid = child.id() as libc::pid_t;
    loop {
        let mut status = 0;
        // SAFETY: waits for our own children; `status` outlives the call. Others are orphans that have ended.
        if unsafe { libc::waitpid(-1, &mut status, 0) } == pid {
            return Ok(match (libc::WIFEXITED(status), libc::WIFSIGNALED(status)) {
                (true, _) => Ended::Exit(libc::WEXITSTATUS(status)),
                (_, true) => Ended::Signal(libc::WTERMSIG(status)),
                _ => continue,
            });
        }
    }
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

/// Names of processes that outlive their command and [`GRACE`]; they are ended.
fn survivors() -> Vec<String> {
    let until = Instant::now() + GRACE;
    loop {
        // SAFETY: waits for our own children and touches no memory.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            0 if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            0 => {
                let names = running();
                end_all();
                return names;
            }
            -1 => return Vec::new(), // no child is left
            _ => {}
        }
    }
}

fn running() -> Vec<String> {
    let numbers = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok());
    let name =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| format!("`{}`", name.trim_end()));
    numbers.filter(|pid| *pid != 1).filter_map(name).collect()
}

/// Ends every other process of this PID namespace.
pub fn end_all() {
    // SAFETY: signals every other process of this PID namespace, then waits for our children.
    unsafe {
        libc::kill(-1, libc::SIGKILL);
        while libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 {}
    }
}
