//! From what a user names to a file of the graph.
#![deny(clippy::disallowed_methods)]

use super::{did_you_mean, near};
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
    let Some(file) = graph.find(path) else { return Err(unknown(graph, path)) };
    if !of_it {
        return Ok(file);
    }
    let reader = graph.edges().find(|(_, edge)| edge.inputs.contains(&file));
    reader.and_then(|(_, edge)| edge.outputs.first().copied()).ok_or_else(|| UnknownTarget::Unread(path.into()))
}

fn unknown(graph: &Graph, path: &BStr) -> UnknownTarget {
    let hint = match path.as_bytes() {
        b"clean" => ", did you mean 'ninja -t clean'?".into(),
        b"help" => ", did you mean 'ninja -h'?".into(),
        _ => did_you_mean(near(graph.files().map(|(_, file)| file.path.as_bytes()), path)),
    };
    UnknownTarget::Unknown { name: path.into(), hint }
}
