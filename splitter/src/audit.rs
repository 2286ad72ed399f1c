//! What a command did with files, against what the build file and its depfile say: where another run of the same build
//! could go otherwise. Pure.
#![deny(clippy::disallowed_methods)]

use crate::discover::is_system;
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::Reads;
use nixstore::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What is said of an edge; absolute paths.
#[derive(Debug, Clone, Default)]
pub struct Stated {
    /// Explicit and implicit inputs, phony ones replaced by what stands behind them.
    pub inputs: BTreeSet<BString>,
    /// What its depfile names.
    pub depfile: BTreeSet<BString>,
    /// Its outputs, its depfile and its response file.
    pub outputs: BTreeSet<BString>,
    /// Files that it wrote in the build directory, and declares nowhere.
    pub left: Vec<BString>,
}

/// What there is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file that no edge makes.
    Source,
    /// A file that an edge makes which comes before this one.
    MadeBefore,
    /// A file that an edge makes of which nobody says that it comes before this one: its first output.
    MadeAnytime(BString),
}

/// One way in which a command and what is said of it differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Finding {
    /// It reads a file that is no input.
    UndeclaredInput(BString),
    /// It lists a directory: the build is not done again when a file appears there.
    UndeclaredListing(BString),
    /// In the sandbox it looked in vain for a file that is there outside.
    MissedInput(BString),
    /// It reads a file, or looks for it, that an edge makes which need not come before.
    UnorderedInput {
        /// The file.
        path: BString,
        /// The first output of that edge.
        maker: BString,
    },
    /// It does not look at an input.
    UnusedInput(BString),
    /// It writes a file that is no output.
    UndeclaredOutput(BString),
    /// It changed or removed a source, or tried to.
    WrittenSource(BString),
    /// It started a program that could not be watched.
    Unseen,
}

impl Finding {
    /// A word for what it is, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UndeclaredInput(_) => "undeclared-input",
            Self::UndeclaredListing(_) => "undeclared-listing",
            Self::MissedInput(_) => "missed-input",
            Self::UnorderedInput { .. } => "unordered-input",
            Self::UnusedInput(_) => "unused-input",
            Self::UndeclaredOutput(_) => "undeclared-output",
            Self::WrittenSource(_) => "written-source",
            Self::Unseen => "unseen",
        }
    }

    /// The file that it is about.
    pub fn path(&self) -> Option<&BStr> {
        match self {
            Self::UndeclaredInput(path)
            | Self::UndeclaredListing(path)
            | Self::MissedInput(path)
            | Self::UnorderedInput { path, .. }
            | Self::UnusedInput(path)
            | Self::UndeclaredOutput(path)
            | Self::WrittenSource(path) => Some(path.as_bstr()),
            Self::Unseen => None,
        }
    }

    /// Whether a build can come out otherwise by it. What is stated and not read only costs time.
    pub fn is_wrong(&self) -> bool {
        !matches!(self, Self::UnusedInput(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndeclaredInput(path) => write!(f, "reads `{path}`, which is not among its inputs"),
            Self::UndeclaredListing(path) => write!(f, "lists `{path}`, which is not among its inputs"),
            Self::MissedInput(path) => write!(f, "looks for `{path}`, which is there and not among its inputs"),
            Self::UnorderedInput { path, maker } => {
                write!(f, "looks at `{path}`, which `{maker}` makes, and does not wait for it")
            }
            Self::UnusedInput(path) => write!(f, "does not look at its input `{path}`"),
            Self::UndeclaredOutput(path) => write!(f, "writes `{path}`, which is not among its outputs"),
            Self::WrittenSource(path) => write!(f, "writes to the source `{path}`"),
            Self::Unseen => write!(f, "starts a program that cannot be traced, such as one of 32 bits"),
        }
    }
}

/// Compares what an edge did, in `build_directory`, with what is stated. `there` tells what lies at a path now.
pub fn audit(stated: &Stated, reads: &Reads, build_directory: &BStr, there: &dyn Fn(&BStr) -> There) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    let own = |path: &BString| stated.outputs.contains(path) || stated.left.contains(path);
    let of_project =
        |path: &BString| !is_system(path.as_bstr()) && !own(path) && !is_private(path.as_bstr(), build_directory);
    let told = |path: &BString| stated.inputs.contains(path) || stated.depfile.contains(path);
    let read: BTreeSet<BString> = bytes(&reads.files).chain(bytes(&reads.looked)).collect();
    for path in read.iter().filter(|path| of_project(path) && !told(path)) {
        match there(path.as_bstr()) {
            There::Source | There::MadeBefore => drop(findings.insert(Finding::UndeclaredInput(path.clone()))),
            There::MadeAnytime(maker) => {
                findings.insert(Finding::UnorderedInput { path: path.clone(), maker });
            }
            There::Nothing | There::Directory => {}
        }
    }
    for path in bytes(&reads.directories).filter(|path| of_project(path) && !told(path)) {
        // What is in the build directory is made of what is stated.
        if !is_below(path.as_bstr(), build_directory) && there(path.as_bstr()) == There::Directory {
            findings.insert(Finding::UndeclaredListing(path));
        }
    }
    for path in bytes(&reads.absent).filter(|path| of_project(path) && !told(path)) {
        match there(path.as_bstr()) {
            There::Source => drop(findings.insert(Finding::MissedInput(path))),
            There::MadeAnytime(maker) => drop(findings.insert(Finding::UnorderedInput { path, maker })),
            _ => {}
        }
    }
    let listed: BTreeSet<BString> = bytes(&reads.directories).collect();
    for path in stated.inputs.iter().filter(|path| !read.contains(*path) && !listed.contains(*path)) {
        if of_project(path) && matches!(there(path.as_bstr()), There::Source | There::MadeBefore) {
            findings.insert(Finding::UnusedInput(path.clone()));
        }
    }
    findings.extend(
        stated.left.iter().filter(|path| !stated.outputs.contains(*path)).cloned().map(Finding::UndeclaredOutput),
    );
    for path in bytes(&reads.overwritten).filter(of_project) {
        if there(path.as_bstr()) == There::Source {
            findings.insert(Finding::WrittenSource(path));
        }
    }
    findings.extend(reads.incomplete.then_some(Finding::Unseen));
    findings.into_iter().collect()
}

fn bytes(texts: &[String]) -> impl Iterator<Item = BString> {
    texts.iter().map(|text| text::to_bytes(text).into())
}

/// What is of the sandbox, of a user, or of this project's programs; where the build lies is of the project.
fn is_private(path: &BStr, build_directory: &BStr) -> bool {
    [&b"/nix/"[..], b"/homeless-shelter", b"/proc/", b"/dev/", b"/var/", b"/run/"]
        .iter()
        .any(|top| path.starts_with(top) && !build_directory.starts_with(top))
        || path.split_str("/").any(|name| name == b".splitter")
}

fn is_below(path: &BStr, directory: &BStr) -> bool {
    path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<BString> {
        paths.iter().map(|path| BString::from(*path)).collect()
    }

    fn list(paths: &[&str]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    fn there(path: &BStr) -> There {
        match path.to_string().as_str() {
            "/p/b/made" => There::MadeBefore,
            "/p/b/other" => There::MadeAnytime("other".into()),
            "/p/d" => There::Directory,
            "/p" => There::Directory,
            path if path.contains("none") || path.ends_with(".o") || path.starts_with("/tmp") => There::Nothing,
            _ => There::Source,
        }
    }

    #[test]
    fn what_is_stated_is_no_finding() {
        let stated = Stated {
            inputs: set(&["/p/a.c"]),
            depfile: set(&["/p/a.h"]),
            outputs: set(&["/p/b/a.o"]),
            ..Stated::default()
        };
        let reads = Reads {
            files: list(&["/p/a.c", "/p/a.h", "/usr/include/stdio.h"]),
            looked: list(&["/p", "/p/d"]),
            absent: list(&["/p/none.h", "/p/b/a.o"]),
            written: list(&["/p/b/a.o", "/tmp/cc1.s"]),
            ..Reads::default()
        };
        assert_eq!(audit(&stated, &reads, "/p/b".into(), &there), []);
    }

    #[test]
    fn a_project_may_lie_where_the_system_has_its_own() {
        let reads = Reads { files: list(&["/var/ci/p/a.c", "/run/lock/x"]), ..Reads::default() };
        let findings = audit(&Stated::default(), &reads, "/var/ci/p/b".into(), &there);
        assert_eq!(findings, [Finding::UndeclaredInput("/var/ci/p/a.c".into())]);
    }

    #[test]
    fn every_difference_is_a_finding() {
        let stated = Stated { inputs: set(&["/p/unused"]), left: vec!["/p/b/more".into()], ..Stated::default() };
        let reads = Reads {
            files: list(&["/p/a.c", "/p/b/made", "/p/b/other"]),
            directories: list(&["/p/b", "/p/d"]),
            absent: list(&["/p/missed"]),
            overwritten: list(&["/p/source"]),
            incomplete: true,
            ..Reads::default()
        };
        let findings = audit(&stated, &reads, "/p/b".into(), &there);
        assert_eq!(
            findings,
            [
                Finding::UndeclaredInput("/p/a.c".into()),
                Finding::UndeclaredInput("/p/b/made".into()),
                Finding::UndeclaredListing("/p/d".into()),
                Finding::MissedInput("/p/missed".into()),
                Finding::UnorderedInput { path: "/p/b/other".into(), maker: "other".into() },
                Finding::UnusedInput("/p/unused".into()),
                Finding::UndeclaredOutput("/p/b/more".into()),
                Finding::WrittenSource("/p/source".into()),
                Finding::Unseen,
            ]
        );
        let wrong: Vec<_> = findings.iter().filter(|finding| !finding.is_wrong()).map(Finding::kind).collect();
        assert_eq!(wrong, ["unused-input"]);
    }
}
