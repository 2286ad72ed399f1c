//! What a run finds around it: the roots of the project, the user's history, a job server, other runs.

use crate::options::{self, Options};
use nixstore::causes::with_causes;
use splitter::drive::Error;
use splitter::history::{History, HistoryError};
use splitter::jobserver::{Jobserver, Style, is_gone};
use splitter::roots::Roots;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The directories of the project: the checkout, and those that the user names.
pub fn roots(options: &Options, directory: &Path) -> Result<Roots, Error> {
    let checkout = match env::var_os("SPLITTER_ROOT") {
        Some(root) => Some(fs::canonicalize(&root).map_err(|e| format!("SPLITTER_ROOT `{}`: {e}", root.display()))?),
        None => splitter::checkout::top(directory),
    };
    let mut named: Vec<(PathBuf, String)> = checkout.map(|root| (root, "source".to_owned())).into_iter().collect();
    for map in &options.map {
        let (root, name) = map.rsplit_once('=').ok_or_else(|| format!("`--map {map}` is not of the form DIR=NAME"))?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(format!("`--map {map}`: `{name}` is no name for a directory").into());
        }
        named.push((fs::canonicalize(root).map_err(|e| format!("`--map {map}`: {e}"))?, name.to_owned()));
    }
    Ok(Roots::new(named.into_iter().map(|(root, name)| (root.as_os_str().as_bytes().into(), name.into()))))
}

/// The user's history; a build goes on without one.
pub fn open_history() -> Option<History> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let directory = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home)?;
    let file = directory.join("splitter/history.sqlite");
    let mut tell = |error| {
        eprintln!("ninja2drv: warning: the history `{}` was spoilt and begins anew: {error}", file.display());
    };
    match History::open(&file, &mut tell) {
        Ok(history) => Some(history),
        Err(error) => {
            tell_unused(&file, &error);
            None
        }
    }
}

/// Keeps what this run has learnt; a run that has ended well is not spoilt by it.
pub fn save(history: &History) {
    if let Err(error) = history.save() {
        tell_unused(history.file(), &error);
    }
}

fn tell_unused(history: &Path, error: &HistoryError) {
    eprintln!("ninja2drv: warning: the history `{}` is not used: {}", history.display(), with_causes(error));
}

/// The environment variable that tells a command the build directories by whose edges it was started.
const WITHIN: &str = "SPLITTER_WITHIN";

/// The build directories by whose edges this run was started.
pub fn outer() -> impl Iterator<Item = PathBuf> {
    let outer: Vec<PathBuf> = env::split_paths(&env::var_os(WITHIN).unwrap_or_default()).collect();
    outer.into_iter().filter(|directory| directory.is_absolute())
}

/// What tells that to the commands of another; nothing if its path has a colon.
pub fn within(directory: &Path) -> BTreeMap<OsString, OsString> {
    let all = env::join_paths(outer().chain([directory.to_owned()]));
    all.into_iter().map(|all| (WITHIN.into(), all)).collect()
}

/// Who else's commands share the processors: the server that is asked for, else the one that this run was started by,
/// unless the user says how many commands there are to be.
pub fn jobserver(options: &Options, jobs: usize) -> Result<Option<Jobserver>, Error> {
    let style = match options.jobserver {
        Some(options::Jobserver::Fifo) => Style::Fifo,
        Some(options::Jobserver::Pipe) => Style::Pipe,
        None if options.jobs.is_some() => return Ok(None),
        None => return Ok(started_by()),
    };
    let jobserver = Jobserver::serve(style, jobs);
    Ok(Some(jobserver.map_err(|error| format!("cannot start a job server: {error}"))?))
}

fn started_by() -> Option<Jobserver> {
    let flags = env::var("MAKEFLAGS").ok()?;
    Jobserver::from_makeflags(&flags).unwrap_or_else(|error| {
        // A make that does not know us for a make (no `+`) has closed its pipe before we came.
        let hint = if is_gone(&error) { "; put `+` before the command in the makefile" } else { "" };
        eprintln!("ninja2drv: warning: the job server of MAKEFLAGS is not used: {error}{hint}");
        None
    })
}
