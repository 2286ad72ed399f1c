//! Works out the texts of a rule for one edge.
//!
//! Where a name is looked up is as in the Ninja manual, "Evaluation and scoping", and `EdgeEnv` of Ninja 1.13.2: first
//! `$in`, `$in_newline` and `$out`, then the edge's own variables, those of its rule, and those of the file and of the
//! files that have it as a subninja. The manual does not say that an edge without variables of its own sees those of
//! its file (not of the files around it) before those of its rule.
#![deny(clippy::disallowed_methods)]

use super::lexer::{Piece, pieces};
use super::path::push_shell_escaped;
use super::program::{Binding, Program, Rule};
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

/// A variable of a rule is needed for its own value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cycle in rule variables: {0}")]
pub struct Cycle(pub String);

impl<'a> Evaluation<'a> {
    /// The value of a variable, paths in it quoted for a shell.
    pub fn escaped(&self, name: &'static str) -> Result<Vec<u8>, Cycle> {
        let mut value = vec![];
        self.push(name.as_bytes(), true, &mut vec![], &mut value)?;
        Ok(value)
    }

    /// The value of a variable that is a path.
    pub fn unescaped(&self, name: &'static str) -> Result<Vec<u8>, Cycle> {
        let mut value = vec![];
        self.push(name.as_bytes(), false, &mut vec![], &mut value)?;
        Ok(value)
    }

    /// `open` are the variables of the rule whose values are being worked out.
    fn push(&self, name: &'a [u8], escape: bool, open: &mut Vec<&'a [u8]>, value: &mut Vec<u8>) -> Result<(), Cycle> {
        match name {
            b"in" => push_paths(&self.inputs, b' ', escape, value),
            b"in_newline" => push_paths(&self.inputs, b'\n', escape, value),
            b"out" => push_paths(&self.outputs, b' ', escape, value),
            _ => {
                let (own, around) = if self.bindings.is_empty() {
                    let own = self.program.variables.own(self.scope, name.as_bstr());
                    (own.map(|text| self.program.texts.get(text)), self.program.scopes.parent(self.scope))
                } else {
                    (self.program.own(self.bindings, name), Some(self.scope))
                };
                if let Some(own) = own {
                    value.extend_from_slice(own);
                } else if let Some(raw) = self.rule.binding(name) {
                    if let Some(start) = open.iter().position(|open| *open == name) {
                        open.push(name);
                        let names: Vec<_> = open[start..].iter().map(|name| name.to_str_lossy()).collect();
                        return Err(Cycle(names.join(" -> ")));
                    }
                    open.push(name);
                    for piece in pieces(self.program.texts.get(raw)) {
                        match piece {
                            Piece::Text(text) => value.extend_from_slice(text),
                            Piece::Variable(name) => self.push(name, escape, open, value)?,
                        }
                    }
                    open.pop();
                } else if let Some(around) = around.and_then(|around| self.program.variable(around, name)) {
                    value.extend_from_slice(around);
                }
            }
        }
        Ok(())
    }
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
