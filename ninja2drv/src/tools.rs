//! The tools of ninja's `-t`. Those that tell what a manifest says are here, and pure: a manifest in, ninja's own words
//! out. Those that look at files and change them are in `file_tools`.
//!
//! What they print is what Ninja 1.13.2 prints; only the addresses by which it names the nodes of a drawing are numbers here.
#![deny(clippy::disallowed_methods)]

pub(crate) mod arguments;
mod commands;
mod compdb;
mod drawing;
mod inputs;
mod query;
mod rules;
mod targets;
mod wanted;

use crate::file_tools;
use crate::manifest::{Manifest, ParseError};
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{EdgeId, FileId, Graph};
use std::io::{self, Write};

pub(crate) use wanted::find_logged;
pub use wanted::{UnknownTarget, find};

/// What a tool is asked for, and where.
pub struct Call<'a> {
    /// Where the build is, absolute.
    pub directory: &'a BStr,
    /// The main manifest file.
    pub file: &'a BStr,
    /// What follows the tool's name.
    pub arguments: &'a [BString],
    /// What stands before it.
    pub mode: Mode,
}

/// Options of the command that its tools obey; to them `--quiet` is as good as nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Remove nothing, and say what would be removed (`-n`).
    pub dry_run: bool,
    /// Say what is removed (`-v`, if no `--quiet` follows).
    pub verbose: bool,
}

/// What a pure tool works with.
struct Context<'a> {
    /// Read by [`read`], so that paths are spelt as ninja spells them.
    manifest: &'a Manifest,
    /// See [`Call::directory`].
    directory: &'a BStr,
    /// See [`Call::arguments`].
    arguments: &'a [BString],
}

/// A tool.
pub struct Tool {
    /// What it is called by.
    pub name: &'static str,
    description: &'static str,
    work: Work,
}

/// What a tool needs.
enum Work {
    Manifest(fn(&Context<'_>, &mut dyn Write) -> Result<(), Stop>),
    Files(fn(Manifest, &Call<'_>, &mut dyn Write) -> Result<(), Stop>),
    /// Files, and no manifest.
    FilesAlone(fn(&Call<'_>) -> Result<(), Stop>),
}

/// All of them, in the order of ninja's list.
const TOOLS: &[Tool] = &[
    Tool { name: "clean", description: "clean built files", work: Work::Files(file_tools::clean) },
    Tool {
        name: "commands",
        description: "list all commands required to rebuild given targets",
        work: Work::Manifest(commands::commands),
    },
    Tool {
        name: "inputs",
        description: "list all inputs required to rebuild given targets",
        work: Work::Manifest(inputs::inputs),
    },
    Tool {
        name: "multi-inputs",
        description: "print one or more sets of inputs required to build targets",
        work: Work::Manifest(inputs::multi_inputs),
    },
    Tool { name: "deps", description: "show dependencies stored in the deps log", work: Work::Files(file_tools::deps) },
    Tool {
        name: "missingdeps",
        description: "check deps log dependencies on generated files",
        work: Work::Files(file_tools::missing_deps),
    },
    Tool { name: "graph", description: "output graphviz dot file for targets", work: Work::Manifest(drawing::graph) },
    Tool { name: "query", description: "show inputs/outputs for a path", work: Work::Manifest(query::query) },
    Tool {
        name: "targets",
        description: "list targets by their rule or depth in the DAG",
        work: Work::Manifest(targets::targets),
    },
    Tool {
        name: "compdb",
        description: "dump JSON compilation database to stdout",
        work: Work::Manifest(compdb::compdb),
    },
    Tool {
        name: "compdb-targets",
        description: "dump JSON compilation database for a given list of targets to stdout",
        work: Work::Manifest(compdb::compdb_targets),
    },
    Tool {
        name: "recompact",
        description: "recompacts ninja-internal data structures",
        work: Work::Files(file_tools::recompact),
    },
    Tool {
        name: "restat",
        description: "restats all outputs in the build log",
        work: Work::FilesAlone(file_tools::restat),
    },
    Tool { name: "rules", description: "list all rules", work: Work::Manifest(rules::rules) },
    Tool {
        name: "cleandead",
        description: "clean built files that are no longer produced by the manifest",
        work: Work::Files(file_tools::clean_dead),
    },
];

impl Tool {
    /// The tool of a name.
    ///
    /// # Errors
    /// [`Stop::Fatal`] where there is none.
    pub fn find(name: &BStr) -> Result<&'static Self, Stop> {
        TOOLS.iter().find(|tool| name == tool.name).ok_or_else(|| {
            let near = near(TOOLS.iter().map(|tool| tool.name.as_bytes()), name);
            Stop::Fatal(format!("unknown tool '{name}'{}", did_you_mean(near)))
        })
    }

    /// Runs it, and writes what it has to say; `load` is as for [`read`].
    ///
    /// # Errors
    /// [`Stop`].
    pub fn run(
        &self,
        call: &Call<'_>,
        load: &mut dyn FnMut(&BStr) -> io::Result<Vec<u8>>,
        out: &mut dyn Write,
    ) -> Result<(), Stop> {
        let mut manifest = || read(call.file, load).map_err(|error| Stop::Error(error.to_string()));
        let Call { directory, arguments, .. } = *call;
        match self.work {
            Work::Manifest(run) => run(&Context { manifest: &manifest()?, directory, arguments }, out),
            Work::Files(run) => run(manifest()?, call, out),
            Work::FilesAlone(run) => run(call),
        }
    }
}

/// Writes the list of all tools.
///
/// # Errors
/// Those of writing.
pub fn list(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "ninja subtools:")?;
    TOOLS.iter().try_for_each(|tool| writeln!(out, "{:>11}  {}", tool.name, tool.description))
}

/// Reads a manifest as ninja does, to whom an absolute path and a relative one are two files.
///
/// # Errors
/// Those of [`crate::manifest::parse`].
pub fn read(main: &BStr, load: &mut dyn FnMut(&BStr) -> io::Result<Vec<u8>>) -> Result<Manifest, ParseError> {
    /// No path lies below it.
    const NOWHERE: &str = "//";

    crate::manifest::parse(NOWHERE.into(), main, load)
}

/// Why a tool says nothing more. The exit code is 1 where none is told.
#[derive(Debug)]
pub enum Stop {
    /// It was asked how it is used, or in a wrong way, which goes to standard error; how is for standard output.
    Usage(&'static str, Option<String>),
    /// Printed after `ninja: error: `.
    Error(String),
    /// Printed after `ninja: fatal: `.
    Fatal(String),
    /// It has said what is wrong.
    Exit(u8),
    /// Nobody takes what it says.
    Write(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<UnknownTarget> for Stop {
    fn from(error: UnknownTarget) -> Self {
        Self::Error(error.to_string())
    }
}

/// The files that arguments name; without any what is built by default.
fn nodes(graph: &Graph, names: &[BString]) -> Result<Vec<FileId>, UnknownTarget> {
    match names {
        [] => Ok(graph.wanted_by_default()),
        names => names.iter().map(|name| find(graph, name.as_bstr())).collect(),
    }
}

/// The edges that make files, each after those that make what it reads, in the order of its inputs.
fn makers(graph: &Graph, files: &[FileId]) -> Vec<EdgeId> {
    let mut seen = std::collections::HashSet::new();
    let mut done = Vec::new();
    for maker in files.iter().filter_map(|file| graph.file(*file).maker) {
        // Edges with how many of their inputs were looked at.
        let mut open: Vec<(EdgeId, usize)> = Vec::new();
        if seen.insert(maker) {
            open.push((maker, 0));
        }
        while let Some((edge, next)) = open.last_mut() {
            let Some(input) = graph.edge(*edge).inputs.get(*next) else {
                done.push(*edge);
                open.pop();
                continue;
            };
            *next += 1;
            if let Some(maker) = graph.file(*input).maker.filter(|maker| seen.insert(*maker)) {
                open.push((maker, 0));
            }
        }
    }
    done
}

/// The nearest of some names, if it is near enough to be meant (Ninja 1.13, `SpellcheckString`).
fn near<'a>(names: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a BStr> {
    const FARTHEST: usize = 3;

    let far = |other: &[u8]| other.len().abs_diff(name.len()) > FARTHEST;
    let distances = names
        .filter(|other| !far(other))
        .map(|other| (strsim::generic_levenshtein(&Bytes(other), &Bytes(name)), other));
    distances
        .filter(|(distance, _)| *distance <= FARTHEST)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other.into())
}

/// Bytes as `strsim` takes them.
struct Bytes<'a>(&'a [u8]);

impl<'a> IntoIterator for &Bytes<'a> {
    type Item = &'a u8;
    type IntoIter = std::slice::Iter<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

fn did_you_mean(name: Option<&BStr>) -> String {
    name.map(|name| format!(", did you mean '{name}'?")).unwrap_or_default()
}
