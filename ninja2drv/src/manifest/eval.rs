//! Works out the texts of a rule for one edge.
//!
//! Where a name is looked up is as in the Ninja manual, "Evaluation and scoping", and `EdgeEnv` of Ninja 1.13.2: first
//! `$in`, `$in_newline` and `$out`, then the edge's own variables, those of its rule, and those of the file and of the
//! files that have it as a subninja. The manual does not say that an edge without variables of its own sees those of
//! its file (not of the files around it) before those of its rule.
#![deny(clippy::disallowed_methods)]

use super::lexer::{Piece, pieces};
use super::path::push_shell_escaped;
use super::program::{Binding, LONGEST, Program, Rule};
use bstr::ByteSlice as _;

/// An edge with all that its texts can speak of.
pub struct Evaluation<'a> {
    pub program: &'a Program,
    pub rule: &'a Rule,
    pub scope: u32,
    pub bindings: &'a [Binding],
    /// Explicit ones, as Ninja spells them.
    pub inputs: Vec<&'a [u8]>,
    /// Explicit ones, as Ninja spells them.
    pub outputs: Vec<&'a [u8]>,
}

/// Why a text cannot be worked out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A variable of a rule is needed for its own value.
    #[error("cycle in rule variables: {0}")]
    Cycle(String),
    /// Variables that need each other many times, or long ones many times, would take all time or memory.
    #[error("the {0} is too long")]
    TooLong(&'static str),
}

/// The most variables that a text may need, also through each other; more than any rule names.
pub const MOST_VARIABLES: usize = 10_000;

impl<'a> Evaluation<'a> {
    /// The value of a variable, paths in it quoted for a shell.
    pub fn escaped(&self, name: &'static str) -> Result<Vec<u8>, Unusable> {
        self.value(name, true)
    }

    /// The value of a variable that is a path.
    pub fn unescaped(&self, name: &'static str) -> Result<Vec<u8>, Unusable> {
        self.value(name, false)
    }

    fn value(&self, name: &'static str, escape: bool) -> Result<Vec<u8>, Unusable> {
        let mut text = Text { name, escape, open: vec![], value: vec![], variables: 0 };
        self.push(name.as_bytes(), &mut text)?;
        Ok(text.value)
    }

    fn push(&self, name: &'a [u8], text: &mut Text<'a>) -> Result<(), Unusable> {
        text.variables += 1;
        match name {
            b"in" => push_paths(&self.inputs, b' ', text.escape, &mut text.value),
            b"in_newline" => push_paths(&self.inputs, b'\n', text.escape, &mut text.value),
            b"out" => push_paths(&self.outputs, b' ', text.escape, &mut text.value),
            _ => {
                let (own, around) = if self.bindings.is_empty() {
                    let own = self.program.variables.own(self.scope, name.as_bstr());
                    (own.map(|text| self.program.texts.get(text)), self.program.scopes.parent(self.scope))
                } else {
                    (self.program.own(self.bindings, name), Some(self.scope))
                };
                if let Some(own) = own {
                    text.value.extend_from_slice(own);
                } else if let Some(raw) = self.rule.binding(name) {
                    if let Some(start) = text.open.iter().position(|open| *open == name) {
                        text.open.push(name);
                        let names: Vec<_> = text.open[start..].iter().map(|name| name.to_str_lossy()).collect();
                        return Err(Unusable::Cycle(names.join(" -> ")));
                    }
                    text.open.push(name);
                    for piece in pieces(self.program.texts.get(raw)) {
                        match piece {
                            Piece::Text(piece) => text.value.extend_from_slice(piece),
                            Piece::Variable(name) => self.push(name, text)?,
                        }
                    }
                    text.open.pop();
                } else if let Some(around) = around.and_then(|around| self.program.variable(around, name)) {
                    text.value.extend_from_slice(around);
                }
            }
        }
        if text.value.len() > LONGEST || text.variables > MOST_VARIABLES {
            return Err(Unusable::TooLong(text.name));
        }
        Ok(())
    }
}

/// A text that is being worked out.
struct Text<'a> {
    name: &'static str,
    escape: bool,
    /// The variables of the rule whose values are being worked out.
    open: Vec<&'a [u8]>,
    value: Vec<u8>,
    /// How many variables were replaced.
    variables: usize,
}

fn push_paths(paths: &[&[u8]], separator: u8, escape: bool, value: &mut Vec<u8>) {
    for (i, path) in paths.iter().enumerate() {
        if i > 0 {
            value.push(separator);
        }
        if escape {
            push_shell_escaped(path, value);
        } else {
            value.extend_from_slice(path);
        }
    }
}
