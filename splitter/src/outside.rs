//! Commands that are not for a sandbox: why one runs where it is, as ninja would run it. Pure.
#![deny(clippy::disallowed_methods)]

use crate::graph::{EdgeId, Graph};
use bstr::{BStr, BString, ByteSlice as _};
use globset::{Glob, GlobSet};
use std::fmt;

/// Why a command runs where it is. It is done again where its text, what it reads by the build file or its depfile, or
/// what it wrote is not as it was; its results are never shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// It has the terminal, so it is for people: `pool = console`.
    Terminal,
    /// It needs a file that is never there, which is how a build file asks to run it each time.
    Always,
    /// It runs another build, which has state of its own.
    Build,
    /// The user asked for it by this pattern.
    Asked(String),
    /// It reads this, which is no input of anything: it runs each time.
    Reads(BString),
    /// A path of it leads out of a link to a directory, and edges know files by paths through links: it runs each time.
    Links,
}

impl Outside {
    /// That of a command which was seen to look at a path that is no input of anything.
    pub fn by(path: BString) -> Self {
        if is_build_file(path.as_bstr()) { Self::Build } else { Self::Reads(path) }
    }

    /// Whether it runs in each build, whatever else is as it was.
    pub fn is_each_time(&self) -> bool {
        matches!(self, Self::Always | Self::Reads(_) | Self::Links)
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal => write!(f, "on the terminal"),
            Self::Always => write!(f, "it may read anything"),
            Self::Build => write!(f, "it runs another build"),
            Self::Asked(pattern) => write!(f, "asked for by `{pattern}`"),
            Self::Reads(path) => write!(f, "it reads `{path}`"),
            Self::Links => write!(f, "a path of it leads out of a link, and the build writes through links"),
        }
    }
}

/// Whether a path is that of a build file, by its name.
pub fn is_build_file(path: &BStr) -> bool {
    path.ends_with(b"/build.ninja")
}

/// The edges that a user wants outside.
#[derive(Debug, Default)]
pub struct Asked {
    patterns: Vec<String>,
    set: GlobSet,
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("`--outside`: {0}")]
pub struct BadPattern(#[from] globset::Error);

impl Asked {
    /// Edges of which a pattern is the name of the rule, or that of an output as the build file has it. `*` stands for any
    /// text, `/` in it too, `?` for one character, `[a-z]` and `{a,b}` for one of several.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let mut set = GlobSet::builder();
        for pattern in patterns {
            set.add(Glob::new(pattern)?);
        }
        Ok(Self { patterns: patterns.to_vec(), set: set.build()? })
    }

    /// The pattern of an edge.
    pub fn pattern_for(&self, graph: &Graph, edge: EdgeId) -> Option<&str> {
        if self.patterns.is_empty() {
            return None;
        }
        let outputs = graph.edge(edge).outputs.iter().map(|file| graph.file(*file).path.to_string());
        let names = outputs.chain([graph.rule(edge).to_string()]);
        names.filter_map(|name| self.set.matches(name).into_iter().next()).next().map(|i| self.patterns[i].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Command, Commands, EdgeSpec, GraphBuilder, Location};

    struct Rule;

    impl Commands for Rule {
        fn command(&self, _: &Graph, _: EdgeId) -> Command {
            Command { rule: "fetch".into(), ..Command::default() }
        }
    }

    #[test]
    fn a_user_names_edges_by_outputs_or_by_their_rule() {
        let mut builder = GraphBuilder::new("/r/build".into());
        let outputs = ["data/a.bin", "data/b.txt"].map(|path| builder.file(path.into()));
        let location = Location { file: std::sync::Arc::new("build.ninja".into()), line: 1 };
        let spec = EdgeSpec {
            outputs: &outputs,
            explicit_outputs: 2,
            inputs: &[],
            explicit_inputs: 0,
            implicit_inputs: 0,
            validations: &[],
            phony: false,
            location,
        };
        let edge = builder.edge(spec).unwrap();
        let graph = builder.finish(Box::new(Rule));
        let pattern = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            Asked::new(&patterns).unwrap().pattern_for(&graph, edge).map(ToOwned::to_owned)
        };
        assert_eq!(pattern(&["other", "*.txt"]), Some("*.txt".into()));
        assert_eq!(pattern(&["fe*"]), Some("fe*".into()));
        assert_eq!(pattern(&["data/{a,c}.bin"]), Some("data/{a,c}.bin".into()));
        assert_eq!(pattern(&["a.bin", "data"]), None);
        assert_eq!(pattern(&[]), None);
        Asked::new(&["[".into()]).unwrap_err();
    }
}
