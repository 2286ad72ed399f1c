//! What a run finds around it: the roots of the project, the user's history.

use crate::Tell;
use nixstore::causes::with_causes;
use splitter::drive::Error;
use splitter::history::{History, HistoryError};
use splitter::roots::Roots;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The directories of the project: the checkout, which is `SPLITTER_ROOT` or found above `directory`, and those that the
/// user maps, each `DIR=NAME`.
///
/// # Errors
/// A phrase for the user, where one of them is not there or has no proper name.
pub fn roots(checkout: Option<OsString>, maps: &[String], directory: &Path) -> Result<Roots, Error> {
    let checkout = match checkout {
        Some(root) => Some(fs::canonicalize(&root).map_err(|e| format!("SPLITTER_ROOT `{}`: {e}", root.display()))?),
        None => splitter::checkout::top(directory),
    };
    let mut named: Vec<(PathBuf, String)> = checkout.map(|root| (root, "source".to_owned())).into_iter().collect();
    for map in maps {
        let (root, name) = map.rsplit_once('=').ok_or_else(|| format!("`--map {map}` is not of the form DIR=NAME"))?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(format!("`--map {map}`: `{name}` is no name for a directory").into());
        }
        named.push((fs::canonicalize(root).map_err(|e| format!("`--map {map}`: {e}"))?, name.to_owned()));
    }
    Ok(Roots::new(named.into_iter().map(|(root, name)| (root.as_os_str().as_bytes().into(), name.into()))))
}

/// Where the user's history is, if the user has a place for it.
pub fn history_file() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let directory = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home)?;
    Some(directory.join("splitter/history.sqlite"))
}

/// A history; a build goes on without one.
pub fn open_history(file: &Path, tell: Tell<'_>) -> Option<History> {
    let mut spoilt =
        |error| tell(&format!("warning: the history `{}` was spoilt and begins anew: {error}", file.display()));
    match History::open(file, &mut spoilt) {
        Ok(history) => Some(history),
        Err(error) => {
            tell_unused(file, &error, tell);
            None
        }
    }
}

/// Keeps what this run has learnt; a run that has ended well is not spoilt by it.
pub fn save(history: &History, tell: Tell<'_>) {
    if let Err(error) = history.save() {
        tell_unused(history.file(), &error, tell);
    }
}

fn tell_unused(history: &Path, error: &HistoryError, tell: Tell<'_>) {
    tell(&format!("warning: the history `{}` is not used: {}", history.display(), with_causes(error)));
}
