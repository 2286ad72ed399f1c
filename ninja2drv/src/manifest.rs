//! Reads Ninja manifests: bytes in, a graph out. Pure: files come through a closure, and nothing is run.
//!
//! The language is that of Ninja 1.13 with the `$^` of 1.14. What the manual leaves open is as Ninja 1.13.2 does it.
#![deny(clippy::disallowed_methods)]

pub mod dyndep;
mod eval;
mod lexer;
mod parser;
mod path;
mod program;
mod scopes;

pub(crate) use path::canonicalise;
pub use path::push_shell_escaped;

use bstr::{BStr, BString, ByteSlice as _};
use program::Program;
use splitter::graph::Graph;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Everything read of a build directory's manifest.
pub struct Manifest {
    /// Gives commands as Ninja would run them, byte for byte.
    pub graph: Graph,
    /// Every manifest file read, the main one first, as named.
    pub files: Vec<BString>,
    /// Where the manifest wants the logs to be.
    pub builddir: Option<BString>,
    /// The oldest Ninja that the manifest says it can do with.
    pub required_version: Option<Version>,
    /// The manifest's own pools with their depths; a depth of 0 does not limit.
    pub pools: BTreeMap<BString, u32>,
    /// What the user should know of it.
    pub warnings: Vec<Warning>,
    program: Arc<Program>,
}

impl Manifest {
    /// The rules of the main file by name, each with its description, in which variables are named as in `${name}`.
    pub fn rules(&self) -> Vec<(BString, Option<BString>)> {
        self.program.described_rules()
    }
}

/// What Ninja prints after `ninja: warning: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The manifest is for a Ninja whose first number is smaller.
    #[error(
        "ninja executable version ({LANGUAGE}) greater than build file ninja_required_version ({0}); versions may be \
         incompatible."
    )]
    Older(Version),
    /// A statement that makes a phony file of itself.
    #[error("phony target '{0}' names itself as an input; ignoring [-w phonycycle=warn]")]
    PhonyCycle(BString),
}

/// A version as in `ninja_required_version`: what follows the second number does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number, 0 if there is none.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The newest Ninja whose language is read.
pub const LANGUAGE: Version = Version { major: 1, minor: 14 };

/// Reads the manifest `main`, and what it includes, of a build in `working_directory`, which is absolute and normal.
///
/// `load` gives the bytes of a file by its name in the manifest, which starts at the working directory.
///
/// # Errors
/// What is wrong first. Unlike Ninja, which looks when the edge runs, it is an error here if rule variables of any edge
/// run in a circle, or if its `deps` are of an unknown kind. Texts that would take all time or memory are errors, too, of
/// which Ninja has none. An error in an edge is placed at the edge and not, as by Ninja, at the line after it.
pub fn parse(
    working_directory: &BStr,
    main: &BStr,
    load: &mut dyn FnMut(&BStr) -> std::io::Result<Vec<u8>>,
) -> Result<Manifest, ParseError> {
    parser::Parser::new(working_directory, load).run(main)
}

/// Why a manifest cannot be used.
///
/// Printed as Ninja does after `ninja: error: `, which is up to three lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The manifest file as named.
    pub file: BString,
    /// From 1; 0 where the main file could not be read, so that there is no place.
    pub line: u32,
    /// From 1, in bytes; 0 as for [`ParseError::line`].
    pub column: u32,
    /// In Ninja's words where it has some.
    pub message: String,
    /// The line without its end.
    pub source_line: BString,
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.message);
        }
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        if self.column <= 1 {
            return Ok(()); // as Ninja: the start of a line needs no caret
        }
        // Ninja shows 72 bytes, and nothing if the place lies behind them; here the shown part moves.
        const SHOWN: usize = 72;
        let column = self.column as usize - 1;
        let start = if column < SHOWN { 0 } else { column - SHOWN / 2 };
        let end = self.source_line.len().min(start + SHOWN);
        let before = if start > 0 { "..." } else { "" };
        let after = if end < self.source_line.len() { "..." } else { "" };
        let caret = column - start + before.len();
        let shown = self.source_line.get(start..end).unwrap_or_default().as_bstr();
        write!(f, "\n{before}{shown}{after}\n{:caret$}^ near here", "")
    }
}

#[cfg(test)]
mod tests;
