//! From what a user names to a file of the graph.
#![deny(clippy::disallowed_methods)]

use super::{did_you_mean, near};
use crate::logs::DepsLog;
use crate::manifest::canonicalise;
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{FileId, Graph};

/// Nothing can be built by this name. Printed as ninja does after `ninja: error: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTarget {
    /// There is none at all.
    #[error("empty path")]
    Empty,
    /// No edge names the file.
    #[error("unknown target '{name}'{hint}")]
    Unknown {
        /// As it was given.
        name: BString,
        /// What may be meant; may be empty.
        hint: String,
    },
    /// No edge reads the file.
    #[error("'{0}' has no out edge")]
    Unread(BString),
}

/// The file that a name means; with `^` behind it what is made of that file first.
///
/// # Errors
/// [`UnknownTarget`].
pub fn find(graph: &Graph, name: &BStr) -> Result<FileId, UnknownTarget> {
    if name.is_empty() {
        return Err(UnknownTarget::Empty);
    }
    let (path, of_it) = name.strip_suffix(b"^").map_or((name, false), |path| (path.as_bstr(), true));
    let Some(file) = graph.find(path) else { return Err(unknown(graph, &DepsLog::default(), path)) };
    if !of_it {
        return Ok(file);
    }
    first_of(graph, file).ok_or_else(|| UnknownTarget::Unread(path.into()))
}

/// The path that a name means, as [`find`]; files that only a deps log names are files, too.
pub fn find_logged(graph: &Graph, log: &DepsLog, name: &BStr) -> Result<BString, UnknownTarget> {
    if name.is_empty() {
        return Err(UnknownTarget::Empty);
    }
    let mut path = name.to_vec();
    canonicalise(&mut path);
    let of_it = path.pop_if(|last| *last == b'^').is_some();
    let path = BString::from(path);
    let file = graph.find(path.as_bstr());
    if file.is_none() && !log.names(path.as_bstr()) {
        return Err(unknown(graph, log, path.as_bstr()));
    }
    if !of_it {
        return Ok(path);
    }
    let made = file.and_then(|file| first_of(graph, file)).map(|file| graph.file(file).path.to_owned());
    let logged =
        || log.iter().find(|(_, deps)| deps.paths().any(|dep| dep == path)).map(|(output, _)| output.to_owned());
    made.or_else(logged).ok_or(UnknownTarget::Unread(path))
}

/// What is made of a file first.
fn first_of(graph: &Graph, file: FileId) -> Option<FileId> {
    let (_, reader) = graph.edges().find(|(_, edge)| edge.inputs.contains(&file))?;
    reader.outputs.first().copied()
}

fn unknown(graph: &Graph, log: &DepsLog, path: &BStr) -> UnknownTarget {
    let files = graph.files().map(|(_, file)| file.path.as_bytes());
    let hint = match path.as_bytes() {
        b"clean" => ", did you mean 'ninja -t clean'?".into(),
        b"help" => ", did you mean 'ninja -h'?".into(),
        _ => did_you_mean(near(files.chain(log.paths().map(|path| path.as_bytes())), path)),
    };
    UnknownTarget::Unknown { name: path.into(), hint }
}
