//! The text of `.drv` files, in ATerm form.
//!
//! Only the text that Nix itself would write is read, so that what has been read is written as the same bytes and keeps
//! its store path: lists are sorted, escapes are the necessary ones, and the path of a fixed output is the one that
//! follows from its hash. Nix reads a little more, and writes it differently.
#![deny(clippy::disallowed_methods)]

use crate::derivation::{DerivationOutput, InputOutputs};
use crate::path::StoreName;
use crate::{ContentAddress, Derivation, Hash, Method, OutputName, Sha256, StoreDir, StorePath};
use bstr::{BString, ByteSlice as _};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

impl Derivation {
    /// The bytes of its `.drv` file (Nix 2.34, `Derivation::unparse`).
    pub fn to_aterm(&self, store_dir: &StoreDir) -> Vec<u8> {
        Writer::new(store_dir).derivation(self, Mask::Nothing, None)
    }

    /// Reads the `.drv` file of a derivation named `name`.
    ///
    /// # Errors
    /// [`AtermError`] where the bytes are not what Nix would write for any derivation.
    pub fn from_aterm(store_dir: &StoreDir, name: &StoreName, aterm: &[u8]) -> Result<Self, AtermError> {
        let mut parser = Parser { store_dir, aterm, position: 0 };
        parser.derivation(name).map_err(|problem| AtermError { position: parser.position, problem })
    }
}

/// The bytes are not a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a derivation: {problem} at byte {position}")]
pub struct AtermError {
    /// How many bytes were good.
    pub position: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a `.drv` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else had to come.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// There are bytes after the end.
    #[error("the text goes on after its end")]
    Trailing,
    /// A string has no closing quote, or a character that is to be escaped, or an escape that there is not.
    #[error("a string is not well-formed")]
    String,
    /// A text that is to be a name, a path, a hash or such is not one.
    #[error("`{text}` is not {what}")]
    Not {
        /// What it is to be.
        what: &'static str,
        /// What it is.
        text: BString,
    },
    /// An entry is not behind the one before it.
    #[error("a list is not sorted or names something twice")]
    Unsorted,
    /// The output has another path than the one that follows from its hash.
    #[error("a fixed output has the path of another content")]
    FixedPath,
    /// The three texts of an output are of none of the kinds.
    #[error("an output is of no known kind")]
    OutputKind,
    /// Outputs of outputs are nested deeper than anybody needs.
    #[error("dynamic inputs are nested too deep")]
    TooDeep,
    /// It is marked as having inputs that are outputs of outputs and has none, or the other way around.
    #[error("the version does not go with the inputs")]
    Version,
}

/// Which parts of a derivation are left empty in its text, for the sake of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// None.
    Nothing,
    /// The paths of its outputs, and the values of the environment variables named after them.
    Outputs,
}

impl DerivationOutput {
    /// How a `.drv` file states it after its path, and a daemon is told of it: method and algorithm, then the hash.
    pub(crate) fn method_and_hash(&self) -> (String, Cow<'static, str>) {
        match self {
            Self::InputAddressed(_) | Self::Deferred => (String::new(), "".into()),
            Self::Fixed(ca) => (ca.method.in_derivation(ca.hash.algorithm()), ca.hash.hex().into()),
            Self::Floating { method, algorithm } => (method.in_derivation(*algorithm), "".into()),
            Self::Impure { method, algorithm } => (method.in_derivation(*algorithm), IMPURE.into()),
        }
    }
}

/// Hashes of derivations in the place of their paths, with the outputs that are needed of each.
pub(crate) type HashedInputs<'a> = BTreeMap<Sha256, BTreeSet<&'a OutputName>>;

pub(crate) struct Writer<'a> {
    store_dir: &'a StoreDir,
    text: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(store_dir: &'a StoreDir) -> Self {
        Self { store_dir, text: Vec::with_capacity(4096) }
    }

    /// The text of `drv`, with `inputs` in the place of its own if there are any.
    pub(crate) fn derivation(mut self, drv: &Derivation, mask: Mask, inputs: Option<&HashedInputs<'_>>) -> Vec<u8> {
        self.raw(if drv.has_dynamic_inputs() { r#"DrvWithVersion("xp-dyn-drv",["# } else { "Derive([" });
        self.list(&drv.outputs, |w, (name, output)| w.output(&drv.name, name, output, mask));
        self.raw("],[");
        match inputs {
            None => self.list(&drv.input_drvs, |w, (path, needed)| {
                w.raw("(");
                w.path(path);
                w.raw(",");
                w.needed(needed);
                w.raw(")");
            }),
            Some(inputs) => self.list(inputs, |w, (hash, outputs)| {
                w.raw("(");
                w.quoted(&hash.hex());
                w.raw(",[");
                w.list(outputs, |w, output| w.quoted(output.as_str()));
                w.raw("])");
            }),
        }
        self.raw("],[");
        self.list(&drv.input_srcs, Self::path);
        self.raw("],");
        self.escaped(drv.system.as_bytes());
        self.raw(",");
        self.escaped(&drv.builder);
        self.raw(",[");
        self.list(&drv.args, |w, arg| w.escaped(arg));
        self.raw("],[");
        let outputs_masked = |key: &BString| {
            mask == Mask::Outputs && drv.outputs.keys().any(|output| output.as_str().as_bytes() == key.as_slice())
        };
        self.list(&drv.env, |w, (key, value)| {
            w.raw("(");
            w.escaped(key);
            w.raw(",");
            w.escaped(if outputs_masked(key) { b"" } else { value });
            w.raw(")");
        });
        self.raw("])");
        self.text
    }

    fn output(&mut self, drv_name: &StoreName, name: &OutputName, output: &DerivationOutput, mask: Mask) {
        self.raw("(");
        self.quoted(name.as_str());
        self.raw(",");
        match output.path(self.store_dir, drv_name, name) {
            Some(path) if mask == Mask::Nothing => self.path(&path),
            _ => self.quoted(""),
        }
        self.raw(",");
        let (how, hash) = output.method_and_hash();
        self.quoted(&how);
        self.raw(",");
        self.quoted(&hash);
        self.raw(")");
    }

    fn needed(&mut self, needed: &InputOutputs) {
        let dynamic = !needed.dynamic.is_empty();
        self.raw(if dynamic { "([" } else { "[" });
        self.list(&needed.outputs, |w, output| w.quoted(output.as_str()));
        self.raw("]");
        if dynamic {
            self.raw(",[");
            self.list(&needed.dynamic, |w, (output, needed)| {
                w.raw("(");
                w.quoted(output.as_str());
                w.raw(",");
                w.needed(needed);
                w.raw(")");
            });
            self.raw("])");
        }
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(self, item);
        }
    }

    fn path(&mut self, path: &StorePath) {
        self.raw("\"");
        self.raw(self.store_dir.as_str());
        self.raw("/");
        self.raw(&path.hash_part());
        self.raw("-");
        self.raw(path.name().as_str());
        self.raw("\"");
    }

    /// A text that has nothing to escape.
    fn quoted(&mut self, text: &str) {
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
    }

    fn escaped(&mut self, mut text: &[u8]) {
        self.raw("\"");
        while let Some(at) = text.find_byteset(SPECIAL) {
            self.text.extend_from_slice(&text[..at]);
            self.raw(match text[at] {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                _ => "\\t",
            });
            text = &text[at + 1..];
        }
        self.text.extend_from_slice(text);
        self.raw("\"");
    }

    fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }
}

/// What is escaped in a string.
const SPECIAL: &[u8] = b"\"\\\n\r\t";

/// What an impure output has in the place of its hash.
const IMPURE: &str = "impure";

/// How deep outputs of outputs may be nested.
const MAX_NESTING: usize = 64;

struct Parser<'a> {
    store_dir: &'a StoreDir,
    aterm: &'a [u8],
    /// Where the text has been read to; in an error, what could not be read begins here.
    position: usize,
}

impl<'a> Parser<'a> {
    fn derivation(&mut self, name: &StoreName) -> Result<Derivation, Problem> {
        let versioned = self.accept("DrvWithVersion(\"xp-dyn-drv\",");
        if !versioned {
            self.expect("Derive(")?;
        }
        let outputs = self.map(|p| {
            let output = p.output_name()?;
            p.expect(",")?;
            let how = p.output(name, &output)?;
            Ok((output, how))
        })?;
        self.expect(",")?;
        let input_drvs = self.map(|p| {
            let start = p.position;
            let path = p.path()?;
            if !path.is_derivation() {
                p.position = start;
                return Err(not("the path of a derivation", path.to_string().as_bytes()));
            }
            p.expect(",")?;
            Ok((path, p.needed(0)?))
        })?;
        self.expect(",")?;
        let input_srcs = self.set(Self::path)?;
        self.expect(",")?;
        let system = self.text("a system", |text| Some(text.to_owned()))?;
        self.expect(",")?;
        let builder = self.string()?.into_owned().into();
        self.expect(",")?;
        let mut args = Vec::new();
        self.list(|p| {
            args.push(p.string()?.into_owned().into());
            Ok(())
        })?;
        self.expect(",")?;
        let env = self.map(|p| {
            let key = BString::from(p.string()?.into_owned());
            p.expect(",")?;
            Ok((key, BString::from(p.string()?.into_owned())))
        })?;
        self.expect(")")?;
        if self.position < self.aterm.len() {
            return Err(Problem::Trailing);
        }
        let drv = Derivation { name: name.clone(), outputs, input_drvs, input_srcs, system, builder, args, env };
        if versioned == drv.has_dynamic_inputs() { Ok(drv) } else { Err(Problem::Version) }
    }

    /// The path, the method with the algorithm, and the hash of an output.
    fn output(&mut self, drv_name: &StoreName, name: &OutputName) -> Result<DerivationOutput, Problem> {
        let start = self.position;
        let store_dir = self.store_dir;
        let path = self.text("a path", |text| match text {
            "" => Some(None),
            text => store_dir.parse(text).ok().map(Some),
        })?;
        self.expect(",")?;
        let how = self.text("a method and an algorithm", |text| match text {
            "" => Some(None),
            text => Method::parse_in_derivation(text).ok().map(Some),
        })?;
        self.expect(",")?;
        let hash_start = self.position;
        let hash = self.text("a hash", |text| Some(text.to_owned()))?;
        match (path, how, hash.as_str()) {
            (Some(path), None, "") => Ok(DerivationOutput::InputAddressed(path)),
            (None, None, "") => Ok(DerivationOutput::Deferred),
            (None, Some((method, algorithm)), "") => Ok(DerivationOutput::Floating { method, algorithm }),
            (None, Some((method, algorithm)), IMPURE) => Ok(DerivationOutput::Impure { method, algorithm }),
            (Some(path), Some((method, algorithm)), hex) => {
                let hash = Hash::parse_bare(algorithm, hex).ok().filter(|hash| hash.hex() == hex).ok_or_else(|| {
                    self.position = hash_start;
                    not("a hash in base 16", hex.as_bytes())
                })?;
                let ca = ContentAddress { method, hash };
                if self.store_dir.fixed_path(&drv_name.of_output(name), &ca) == path {
                    Ok(DerivationOutput::Fixed(ca))
                } else {
                    self.position = start;
                    Err(Problem::FixedPath)
                }
            }
            _ => {
                self.position = start;
                Err(Problem::OutputKind)
            }
        }
    }

    fn needed(&mut self, depth: usize) -> Result<InputOutputs, Problem> {
        if depth == MAX_NESTING {
            return Err(Problem::TooDeep);
        }
        if !self.accept("(") {
            return Ok(InputOutputs { outputs: self.set(Self::output_name)?, dynamic: BTreeMap::new() });
        }
        let outputs = self.set(Self::output_name)?;
        self.expect(",")?;
        let start = self.position;
        let dynamic = self.map(|p| {
            let output = p.output_name()?;
            p.expect(",")?;
            Ok((output, p.needed(depth + 1)?))
        })?;
        if dynamic.is_empty() {
            self.position = start;
            return Err(Problem::Missing("("));
        }
        self.expect(")")?;
        Ok(InputOutputs { outputs, dynamic })
    }

    /// `[(key,value),…]` with ascending keys; `read` reads what is between the parentheses.
    fn map<K: Ord, V>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(K, V), Problem>,
    ) -> Result<BTreeMap<K, V>, Problem> {
        let mut map = BTreeMap::new();
        self.list(|p| {
            let start = p.position;
            p.expect("(")?;
            let (key, value) = read(p)?;
            p.expect(")")?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                p.position = start;
                return Err(Problem::Unsorted);
            }
            map.insert(key, value);
            Ok(())
        })?;
        Ok(map)
    }

    /// `[item,…]` with ascending items.
    fn set<T: Ord>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Problem>) -> Result<BTreeSet<T>, Problem> {
        let mut set = BTreeSet::new();
        self.list(|p| {
            let start = p.position;
            let item = read(p)?;
            if set.last().is_some_and(|last| *last >= item) {
                p.position = start;
                return Err(Problem::Unsorted);
            }
            set.insert(item);
            Ok(())
        })?;
        Ok(set)
    }

    fn list(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), Problem>) -> Result<(), Problem> {
        self.expect("[")?;
        if self.accept("]") {
            return Ok(());
        }
        loop {
            read(self)?;
            if self.accept("]") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn output_name(&mut self) -> Result<OutputName, Problem> {
        self.text("the name of an output", |text| text.parse().ok())
    }

    fn path(&mut self) -> Result<StorePath, Problem> {
        let store_dir = self.store_dir;
        self.text("a store path", |text| store_dir.parse(text).ok())
    }

    /// A string in which `read` finds something.
    fn text<T>(&mut self, what: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
        let start = self.position;
        let string = self.string()?;
        string.to_str().ok().and_then(read).ok_or_else(|| {
            self.position = start;
            not(what, &string)
        })
    }

    fn string(&mut self) -> Result<Cow<'a, [u8]>, Problem> {
        let start = self.position;
        self.expect("\"")?;
        let mut unescaped = Cow::Borrowed(&b""[..]);
        loop {
            let rest = &self.aterm[self.position..];
            let Some(good) = rest.find_byteset(SPECIAL) else {
                self.position = start;
                return Err(Problem::String);
            };
            match &mut unescaped {
                Cow::Borrowed([]) => unescaped = Cow::Borrowed(&rest[..good]),
                text => text.to_mut().extend_from_slice(&rest[..good]),
            }
            self.position += good + 1;
            match rest[good] {
                b'"' => return Ok(unescaped),
                b'\\' => {
                    let byte = match rest.get(good + 1) {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(byte @ (b'"' | b'\\')) => *byte,
                        _ => {
                            self.position -= 1;
                            return Err(Problem::String);
                        }
                    };
                    unescaped.to_mut().push(byte);
                    self.position += 1;
                }
                _ => {
                    self.position -= 1;
                    return Err(Problem::String);
                }
            }
        }
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.aterm[self.position..].starts_with(token.as_bytes());
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &'static str) -> Result<(), Problem> {
        if self.accept(token) { Ok(()) } else { Err(Problem::Missing(token)) }
    }
}

fn not(what: &'static str, text: &[u8]) -> Problem {
    Problem::Not { what, text: text.into() }
}
