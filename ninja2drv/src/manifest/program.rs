//! What a manifest says of its rules, variables and edges, kept for when a command is asked for. Texts stay where they
//! were read: an edge takes a few dozen bytes, however long its command is.
#![deny(clippy::disallowed_methods)]

use super::eval::{Evaluation, MOST_VARIABLES};
use super::lexer::{Piece, Raw, pieces};
use super::scopes::{MAIN, Names, Scopes};
use bstr::{BStr, BString, ByteSlice as _};
use splitter::graph::{self, Command, Commands, Deps, EdgeId, Graph, ResponseFile};
use std::collections::BTreeMap;

/// The tables that a parser fills, and that answer for commands after it.
#[derive(Default)]
pub struct Program {
    pub texts: Texts,
    pub scopes: Scopes,
    pub variables: Names<Text>,
    pub rules: Vec<Rule>,
    /// Numbers in [`Program::rules`].
    pub rule_names: Names<u32>,
    pub edges: Vec<EdgeRecord>,
    /// Of all edges, one edge's after another's; see [`Program::bind`].
    pub bindings: Vec<Binding>,
    pub pools: Vec<graph::Pool>,
    /// Of explicit inputs and outputs that are not spelt as in the graph, by edge.
    pub inputs: Spellings,
    pub outputs: Spellings,
    /// The few edges that have one.
    pub dyndeps: Vec<(EdgeId, Text)>,
}

/// A piece of [`Texts`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Text {
    source: u32,
    start: u32,
    end: u32,
}

impl Text {
    /// In bytes.
    pub fn length(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Manifest files, and what was made of their texts.
#[derive(Default)]
pub struct Texts {
    /// Numbered from 1; 0 is for what was made.
    sources: Vec<std::sync::Arc<Vec<u8>>>,
    /// How many bytes they have.
    read: usize,
    made: Vec<u8>,
}

/// More text than the tables can point at, longer than [`LONGEST`], or with others more than [`MOST_MADE`] allows.
#[derive(Debug)]
pub struct TooLong;

/// The most bytes of one expanded text, so that a few lines that double each other do not take all memory.
pub const LONGEST: usize = 64 << 20;

/// How many bytes may be made of each that was read, besides one long text.
const MOST_MADE: usize = 1024;

impl Texts {
    /// Takes a file in; gives its number.
    pub fn add_source(&mut self, bytes: std::sync::Arc<Vec<u8>>) -> Result<u32, TooLong> {
        u32::try_from(bytes.len()).map_err(|_| TooLong)?;
        self.read += bytes.len();
        self.sources.push(bytes);
        u32::try_from(self.sources.len()).map_err(|_| TooLong)
    }

    /// A text as written in a file.
    pub fn written(source: u32, raw: Raw) -> Text {
        Text { source, start: raw.start as u32, end: raw.end as u32 } // a source is shorter than 4 GiB
    }

    /// Keeps a text that no file has.
    pub fn make(&mut self, text: &[u8]) -> Result<Text, TooLong> {
        let start = self.made.len();
        let end = u32::try_from(start + text.len()).map_err(|_| TooLong)?;
        if end as usize > self.most_made() {
            return Err(TooLong);
        }
        self.made.extend_from_slice(text);
        Ok(Text { source: 0, start: start as u32, end })
    }

    /// How many bytes may be made of what was read, and again be the texts of edges that are longer than usual.
    pub fn most_made(&self) -> usize {
        LONGEST + MOST_MADE * self.read
    }

    /// A file by its number.
    pub fn source(&self, number: u32) -> &[u8] {
        &self.sources[number as usize - 1]
    }

    pub fn get(&self, text: Text) -> &[u8] {
        let bytes = match text.source {
            0 => self.made.as_slice(),
            number => self.source(number),
        };
        &bytes[text.start as usize..text.end as usize]
    }
}

/// A rule; that of phony edges is the first.
#[derive(Default)]
pub struct Rule {
    pub name: BString,
    /// Names and unexpanded values, each name once.
    pub bindings: Vec<(BString, Text)>,
    /// Of its variables.
    pub sets: Sets,
    /// An edge may run into a circle, or have `deps` that are not known.
    pub suspect: bool,
    /// How long its texts may become.
    pub size: Size,
}

/// A bound of what the texts of a rule come to: `bytes` of its own, and the values of `variables`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Size {
    bytes: usize,
    variables: usize,
}

impl Size {
    /// Whether texts can be worked out for edges of which no value is longer than `longest`, without much memory.
    pub fn fits(self, longest: usize) -> bool {
        let bytes = self.bytes.saturating_add(self.variables.saturating_mul(longest));
        bytes <= LONGEST / 8 && self.variables < MOST_VARIABLES
    }

    fn and(self, times: usize, other: Self) -> Self {
        let sum = |a: usize, b: usize| a.saturating_add(times.saturating_mul(b));
        Self { bytes: sum(self.bytes, other.bytes), variables: sum(self.variables, other.variables) }
    }

    fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), variables: self.variables.max(other.variables) }
    }
}

/// Variables whose values are looked at while reading.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sets {
    pub pool: bool,
    pub dyndep: bool,
    pub deps: bool,
}

impl Sets {
    /// `name` is set.
    pub fn note(&mut self, name: &[u8]) {
        match name {
            b"pool" => self.pool = true,
            b"dyndep" => self.dyndep = true,
            b"deps" => self.deps = true,
            _ => {}
        }
    }
}

/// The variables that a rule may have.
pub const NAMES: &[&str] = &[
    "command",
    "depfile",
    "dyndep",
    "description",
    "deps",
    "generator",
    "pool",
    "restat",
    "rspfile",
    "rspfile_content",
    "msvc_deps_prefix",
];

impl Rule {
    /// The unexpanded value.
    pub fn binding(&self, name: &[u8]) -> Option<Text> {
        self.bindings.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Sets a variable, in the place of the value that it had.
    pub fn bind(&mut self, name: &BStr, value: Text) {
        match self.bindings.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.bindings.push((name.into(), value)),
        }
    }
}

/// How long the texts of a rule may become; none if they may need each other in a circle.
pub fn size(rule: &Rule, texts: &Texts) -> Option<Size> {
    let index = |name: &[u8]| NAMES.iter().position(|known| known.as_bytes() == name);
    // What each variable comes to without those of the rule, and how often it needs these.
    let mut sizes = [Size::default(); NAMES.len()];
    let mut needs = [[0_usize; NAMES.len()]; NAMES.len()];
    for (i, name) in NAMES.iter().enumerate() {
        let value = rule.binding(name.as_bytes()).map_or(&b""[..], |text| texts.get(text));
        sizes[i].bytes = value.len();
        for piece in pieces(value) {
            if let Piece::Variable(name) = piece {
                sizes[i].variables += 1;
                index(name).into_iter().for_each(|other| needs[i][other] += 1);
            }
        }
    }
    // One after the other, those that need no others that are left.
    let mut left: Vec<usize> = (0..NAMES.len()).collect();
    while !left.is_empty() {
        let i = left.iter().position(|i| left.iter().all(|other| needs[*i][*other] == 0))?;
        let i = left.swap_remove(i);
        for other in &left {
            sizes[*other] = sizes[*other].and(needs[*other][i], sizes[i]);
            needs[*other][i] = 0;
        }
    }
    sizes.into_iter().reduce(Size::max)
}

/// So many variables of an edge are gone through for a name; more are sorted, each name once.
const FEW: usize = 16;

/// A variable of an edge, with its value.
pub struct Binding {
    pub name: Text,
    pub value: Text,
}

/// What the graph does not say of an edge.
pub struct EdgeRecord {
    pub rule: u32,
    pub scope: u32,
    /// Of [`Program::pools`].
    pub pool: u32,
    /// The first of its [`Program::bindings`]; the others follow up to the next edge's.
    pub bindings: u32,
    /// The file that states it.
    pub source: u32,
    /// Where it does, in bytes.
    pub at: u32,
}

/// Lists of paths for some edges.
#[derive(Default)]
pub struct Spellings {
    /// Edges with where their paths start, in order.
    edges: Vec<(EdgeId, usize)>,
    paths: Vec<Text>,
}

impl Spellings {
    /// Adds the list of an edge that comes after all with one.
    pub fn add(&mut self, edge: EdgeId, paths: impl IntoIterator<Item = Text>) {
        self.edges.push((edge, self.paths.len()));
        self.paths.extend(paths);
    }

    fn get(&self, edge: EdgeId) -> Option<&[Text]> {
        let i = self.edges.binary_search_by_key(&edge, |(edge, _)| *edge).ok()?;
        let end = self.edges.get(i + 1).map_or(self.paths.len(), |(_, next)| *next);
        Some(&self.paths[self.edges[i].1..end])
    }
}

impl Program {
    /// The number of a rule that is to be seen in a scope.
    pub fn rule(&self, scope: u32, name: &[u8]) -> Option<u32> {
        self.rule_names.find(&self.scopes, scope, name.as_bstr())
    }

    /// The value of a variable in a scope and those around it.
    pub fn variable(&self, scope: u32, name: &[u8]) -> Option<&[u8]> {
        self.variables.find(&self.scopes, scope, name.as_bstr()).map(|value| self.texts.get(value))
    }

    /// The value of one of an edge's own variables; `bindings` are the edge's.
    pub fn own<'a>(&'a self, bindings: &[Binding], name: &[u8]) -> Option<&'a [u8]> {
        let binding = if bindings.len() > FEW {
            &bindings[bindings.binary_search_by_key(&name, |binding| self.texts.get(binding.name)).ok()?]
        } else {
            bindings.iter().rev().find(|binding| self.texts.get(binding.name) == name)?
        };
        Some(self.texts.get(binding.value))
    }

    /// Adds the variables of an edge, of which [`Program::own`] may be asked then.
    pub fn bind(&mut self, bindings: &mut Vec<Binding>) {
        if bindings.len() > FEW {
            bindings.reverse(); // of several with one name the last counts
            bindings.sort_by_key(|binding| self.texts.get(binding.name));
            bindings.dedup_by_key(|binding| self.texts.get(binding.name));
        }
        self.bindings.append(bindings);
    }

    /// The variables of an edge.
    pub fn bindings(&self, edge: EdgeId) -> &[Binding] {
        let start = |i: usize| self.edges.get(i).map_or(self.bindings.len(), |edge| edge.bindings as usize);
        &self.bindings[start(edge.0 as usize)..start(edge.0 as usize + 1)]
    }

    /// Adds a text to `out`, its variables replaced as in a value or path of a file.
    pub fn expand(&self, scope: u32, own: &[Binding], raw: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        for piece in pieces(raw) {
            out.extend_from_slice(match piece {
                Piece::Text(text) => text,
                Piece::Variable(name) => self.own(own, name).or_else(|| self.variable(scope, name)).unwrap_or_default(),
            });
            if out.len() > LONGEST {
                return Err(TooLong);
            }
        }
        Ok(())
    }

    /// What a rule's texts come to for an edge.
    pub fn evaluation<'a>(&'a self, graph: &'a Graph, id: EdgeId) -> Evaluation<'a> {
        let edge = graph.edge(id);
        let record = &self.edges[id.0 as usize];
        Evaluation {
            program: self,
            rule: &self.rules[record.rule as usize],
            scope: record.scope,
            bindings: self.bindings(id),
            inputs: self.paths(&self.inputs, id, graph, &edge.inputs[..edge.explicit_inputs]),
            outputs: self.paths(&self.outputs, id, graph, &edge.outputs[..edge.explicit_outputs]),
        }
    }
}

impl Commands for Program {
    fn command(&self, graph: &Graph, id: EdgeId) -> Command {
        let evaluation = self.evaluation(graph, id);
        let escaped =
            |name: &'static str| -> BString { evaluation.escaped(name).expect("checked after parsing").into() };
        let path = |name: &'static str| -> Option<BString> {
            let path = evaluation.unescaped(name).expect("checked after parsing");
            (!path.is_empty()).then(|| path.into())
        };
        let record = &self.edges[id.0 as usize];
        Command {
            text: escaped("command"),
            description: escaped("description"),
            rule: self.rules[record.rule as usize].name.clone(),
            env: BTreeMap::new(),
            also: Vec::new(),
            alone: false,
            depfile: path("depfile"),
            deps: match escaped("deps").as_slice() {
                b"gcc" => Deps::Gcc,
                b"msvc" => Deps::Msvc,
                _ => Deps::Keep, // others do not pass the parser
            },
            msvc_deps_prefix: escaped("msvc_deps_prefix"),
            rspfile: path("rspfile").map(|path| ResponseFile { path, content: escaped("rspfile_content") }),
            restat: !escaped("restat").is_empty(),
            generator: !escaped("generator").is_empty(),
            pool: self.pools[record.pool as usize].clone(),
            dyndep: self.dyndep(graph, id),
        }
    }

    fn dyndep(&self, _: &Graph, id: EdgeId) -> Option<BString> {
        let i = self.dyndeps.binary_search_by_key(&id, |(edge, _)| *edge).ok()?;
        Some(self.texts.get(self.dyndeps[i].1).into())
    }

    fn rule(&self, _: &Graph, id: EdgeId) -> BString {
        self.rules[self.edges[id.0 as usize].rule as usize].name.clone()
    }

    fn pool(&self, _: &Graph, id: EdgeId) -> graph::Pool {
        self.pools[self.edges[id.0 as usize].pool as usize].clone()
    }
}

impl Program {
    /// The rules of the main file by name, each with its description, in which variables are named as in `${name}`.
    pub fn described_rules(&self) -> Vec<(BString, Option<BString>)> {
        let described = |(name, rule): (&BStr, u32)| {
            let description = self.rules[rule as usize].binding(b"description");
            (name.to_owned(), description.map(|text| unparsed(self.texts.get(text))))
        };
        let mut rules: Vec<_> = self.rule_names.of(MAIN).map(described).collect();
        rules.sort_unstable();
        rules
    }

    /// The paths of `files` as the manifest spells them, where that differs from the graph.
    fn paths<'a>(
        &'a self,
        spellings: &'a Spellings,
        edge: EdgeId,
        graph: &'a Graph,
        files: &[graph::FileId],
    ) -> Vec<&'a [u8]> {
        match spellings.get(edge) {
            Some(paths) => paths.iter().map(|path| self.texts.get(*path)).collect(),
            None => files.iter().map(|file| graph.file(*file).path.as_bytes()).collect(),
        }
    }
}

/// A text without escapes, in which variables are in braces.
fn unparsed(raw: &[u8]) -> BString {
    let piece = |piece| match piece {
        Piece::Text(text) => text.to_vec(),
        Piece::Variable(name) => [b"${", name, b"}"].concat(),
    };
    pieces(raw).flat_map(piece).collect::<Vec<u8>>().into()
}
