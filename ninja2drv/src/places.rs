//! What a run finds around it: the roots of the project, a job server, other runs.

use crate::options::{self, Options};
use splitter::drive::Error;
use splitter::jobserver::{Jobserver, Style, is_gone};
use splitter::roots::Roots;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The directories of the project: the checkout, and those that the user names.
pub fn roots(options: &Options, directory: &Path) -> Result<Roots, Error> {
    frontend::places::roots(env::var_os("SPLITTER_ROOT"), &options.map, directory)
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
