//! Reads the statements of manifest files into the tables of a program and a graph.
//!
//! Which checks there are, and their order, is as in Ninja 1.13.2, `manifest_parser.cc`; but that an edge's outputs are
//! its alone is looked at last.
#![deny(clippy::disallowed_methods)]

use super::eval::{Evaluation, Unusable};
use super::lexer::{Lexer, Mark, Problem, Raw, Token};
use super::path::canonicalise;
use super::program::{Binding, EdgeRecord, NAMES, Program, Rule, Sets, Text, Texts, TooLong, size};
use super::scopes::MAIN;
use super::{LANGUAGE, Manifest, ParseError, Version, Warning};
use crate::reason;
use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{HashMap, HashSet};
use splitter::graph::{EdgeId, EdgeSpec, FileId, Graph, GraphBuilder, Location, Plain, Pool};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

type Load<'l> = &'l mut dyn FnMut(&BStr) -> std::io::Result<Vec<u8>>;

/// Reads one manifest.
pub struct Parser<'l> {
    load: Load<'l>,
    working_directory: BString,
    graph: GraphBuilder,
    program: Program,
    files: Vec<BString>,
    required_version: Option<Version>,
    pools: BTreeMap<BString, u32>,
    /// Of [`Program::pools`].
    pool_numbers: HashMap<BString, u32>,
    warnings: Vec<Warning>,
    /// What some file sets for every edge in it.
    anywhere: Sets,
    /// Edges whose texts may be wrong in a way that shows only when all variables are known.
    suspects: Vec<EdgeId>,
    /// No variable of a file is longer than this; nor are an edge's variables and paths, if it is no suspect.
    longest: usize,
    scratch: Scratch,
    /// For values, as `scratch`.
    value: Vec<u8>,
    /// For the variables of an edge, as `scratch`.
    bindings: Vec<Binding>,
}

/// What is needed for one edge, kept for its memory.
#[derive(Default)]
struct Scratch {
    outputs: Paths,
    inputs: Paths,
    validations: Paths,
}

/// A list of paths.
#[derive(Default)]
struct Paths {
    written: Vec<Raw>,
    files: Vec<FileId>,
    /// Where in `made` each is as Ninja spells it; an empty range if it is written so.
    spelt: Vec<Range<usize>>,
    made: Vec<u8>,
}

impl Paths {
    fn clear(&mut self) {
        let Self { written, files, spelt, made } = self;
        written.clear();
        files.clear();
        spelt.clear();
        made.clear();
    }

    /// As Ninja spells them.
    fn spellings<'a>(&'a self, source: &Source<'a>) -> impl Iterator<Item = &'a [u8]> {
        let bytes = source.bytes;
        self.written.iter().zip(&self.spelt).map(move |(raw, made)| match made.is_empty() {
            true => &bytes[raw.start..raw.end],
            false => &self.made[made.clone()],
        })
    }

    /// As Ninja spells one of them.
    fn spelling<'a>(&'a self, source: &Source<'a>, i: usize) -> &'a BStr {
        self.spellings(source).nth(i).unwrap_or_default().as_bstr()
    }
}

/// Why a file is not read further.
enum Stop {
    /// It ends.
    End,
    /// Another is to be read here.
    Include(Open),
    /// Something is wrong.
    Wrong(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Wrong(problem)
    }
}

/// A file of which a part has been read: files include each other as deep as they like.
struct Open {
    name: Arc<BString>,
    /// One for all spellings of the name.
    canonical: BString,
    bytes: Arc<Vec<u8>>,
    /// In [`Texts`]; from 1, and 0 until something of it is read.
    number: u32,
    scope: u32,
    mark: Mark,
}

impl Open {
    fn new(name: &BStr, bytes: Vec<u8>, scope: u32) -> Self {
        let mut canonical = name.to_vec();
        canonicalise(&mut canonical);
        let mark = Mark::start(&bytes);
        Self {
            name: Arc::new(name.into()),
            canonical: canonical.into(),
            bytes: Arc::new(bytes),
            number: 0,
            scope,
            mark,
        }
    }
}

/// The file that is read.
struct Source<'a> {
    lexer: Lexer<'a>,
    bytes: &'a [u8],
    /// In [`Texts`].
    number: u32,
    name: &'a Arc<BString>,
    scope: u32,
}

impl<'a> Source<'a> {
    fn bytes(&self, raw: Raw) -> &'a [u8] {
        &self.bytes[raw.start..raw.end]
    }

    /// `name = value`.
    fn assignment(&mut self) -> Result<(Raw, Raw), Problem> {
        let Some(name) = self.lexer.name() else {
            return Err(self.lexer.problem("expected variable name"));
        };
        self.lexer.expect(Token::Equals)?;
        Ok((name, self.lexer.value()?))
    }

    /// Paths up to something else.
    fn paths(&mut self, paths: &mut Vec<Raw>) -> Result<usize, Problem> {
        let before = paths.len();
        loop {
            let path = self.lexer.path()?;
            if path.is_empty() {
                return Ok(paths.len() - before);
            }
            paths.push(path);
        }
    }
}

/// How often a file may be included while it is read. Once may make sense, if the names that it includes change; a file
/// that includes itself would be read until there is no memory.
const MOST_OPEN: u32 = 100;

/// How often a file may be included at all. The last of some files that each include the next one twice would be read
/// until there is no memory.
const MOST_READ: u32 = 10_000;

/// A value that is longer makes its edge a suspect.
const LONG: usize = 64 << 10;

const PHONY: u32 = 0;

impl<'l> Parser<'l> {
    /// Nothing read yet.
    pub fn new(working_directory: &BStr, load: Load<'l>) -> Self {
        let mut program = Program::default();
        program.rule_names.set(MAIN, "phony".into(), PHONY);
        program.rules.push(Rule { name: "phony".into(), ..Rule::default() });
        program.pools.extend([Pool::Default, Pool::Console]);
        Self {
            load,
            working_directory: working_directory.into(),
            graph: GraphBuilder::new(working_directory.into()),
            program,
            files: vec![],
            required_version: None,
            pools: BTreeMap::new(),
            pool_numbers: HashMap::from_iter([("".into(), 0), ("console".into(), 1)]),
            warnings: vec![],
            anywhere: Sets::default(),
            suspects: vec![],
            longest: LONG,
            scratch: Scratch::default(),
            value: vec![],
            bindings: vec![],
        }
    }

    /// Reads the main file and all that it includes.
    pub fn run(mut self, main: &BStr) -> Result<Manifest, ParseError> {
        let nowhere = |message| ParseError { file: main.into(), line: 0, column: 0, message, source_line: "".into() };
        let bytes = (self.load)(main).map_err(|error| nowhere(cannot_load(main, &error)))?;
        self.files(Open::new(main, bytes, MAIN))?;
        let builddir = self.program.variable(MAIN, b"builddir").filter(|path| !path.is_empty()).map(BString::from);
        let Self { graph, program, files, required_version, pools, warnings, anywhere, suspects, longest, .. } = self;
        let program = Arc::new(program);
        let graph = graph.finish(Box::new(program.clone()));
        let all_fit = program.rules.iter().all(|rule| rule.size.fits(longest));
        let suspects =
            if all_fit && !anywhere.deps { suspects } else { (0..program.edges.len() as u32).map(EdgeId).collect() };
        check(&suspects, &program, &graph, &files)?;
        Ok(Manifest { graph, files, builddir, required_version, pools, warnings, program })
    }

    /// Reads a file, and those that it includes where it includes them.
    fn files(&mut self, main: Open) -> Result<(), ParseError> {
        // How often each is open, and was read.
        let mut times: HashMap<BString, (u32, u32)> = HashMap::from_iter([(main.canonical.clone(), (1, 1))]);
        let mut open = vec![main];
        while let Some(file) = open.last_mut() {
            let (name, bytes) = (Arc::clone(&file.name), Arc::clone(&file.bytes));
            let wrong = |Problem { at, message }| locate(name.as_bstr(), &bytes, at, message);
            let lexer = Lexer::new(&bytes, file.mark, self.required_version >= Some(LANGUAGE));
            let mut source = Source { lexer, bytes: &bytes, number: file.number, name: &name, scope: file.scope };
            let begun = match source.number {
                0 => self.begin(&mut source, &bytes),
                _ => source.lexer.expect(Token::Newline), // behind the path of what it included
            };
            begun.map_err(wrong)?;
            (file.number, file.mark) = (source.number, source.lexer.mark());
            match self.statements(&mut source) {
                Stop::Wrong(problem) => return Err(wrong(problem)),
                Stop::Include(included) => {
                    file.mark = source.lexer.mark();
                    let (open_now, read) = times.entry_ref(included.canonical.as_bstr()).or_default();
                    (*open_now, *read) = (*open_now + 1, *read + 1);
                    if *open_now > MOST_OPEN {
                        let message = format!("loading '{}': files include each other without end", included.name);
                        return Err(wrong(source.lexer.problem(message)));
                    }
                    if *read > MOST_READ {
                        let message = format!("loading '{}': it is included too often", included.name);
                        return Err(wrong(source.lexer.problem(message)));
                    }
                    open.push(included);
                }
                Stop::End => {
                    times.entry_ref(file.canonical.as_bstr()).and_modify(|(open_now, _)| *open_now -= 1);
                    let scope = file.scope;
                    open.pop();
                    if open.last().is_some_and(|around| around.scope != scope) {
                        self.program.scopes.end(scope);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a file in before anything of it is read.
    fn begin(&mut self, source: &mut Source<'_>, bytes: &Arc<Vec<u8>>) -> Result<(), Problem> {
        self.files.push(BString::clone(source.name));
        let too_long = |_| Problem { at: 0, message: format!("'{}' is too long", source.name) };
        source.number = self.program.texts.add_source(Arc::clone(bytes)).map_err(too_long)?;
        // Room for about as many as there are: growing would copy the tables of a large manifest many times.
        self.program.bindings.reserve(bytes.len() / 128);
        self.program.edges.reserve(bytes.len() / 1024);
        self.graph.reserve(bytes.len() / 1024, bytes.len() / 512);
        Ok(())
    }

    /// Reads up to the end of a file, or to where it includes another.
    fn statements(&mut self, source: &mut Source<'_>) -> Stop {
        loop {
            let read = match source.lexer.token() {
                Token::Build => self.edge(source),
                Token::Rule => self.rule(source),
                Token::Pool => self.pool(source),
                Token::Default => self.default(source),
                Token::Include => return self.include(source, false),
                Token::Subninja => return self.include(source, true),
                Token::Ident => {
                    source.lexer.unread();
                    self.variable(source)
                }
                Token::Newline => Ok(()),
                Token::Eof => return Stop::End,
                Token::Error => Err(source.lexer.no_token()),
                other => Err(source.lexer.problem(format!("unexpected {}", other.name()))),
            };
            if let Err(problem) = read {
                return Stop::Wrong(problem);
            }
        }
    }

    fn variable(&mut self, source: &mut Source<'_>) -> Result<(), Problem> {
        let at = source.lexer.place();
        let (name, raw) = source.assignment()?;
        let name = source.bytes(name);
        let value = self.value(source, raw)?;
        if name == b"ninja_required_version" {
            let required = version(self.program.texts.get(value));
            self.require(required, at)?;
            source.lexer.newline_escape = required >= LANGUAGE;
        }
        self.anywhere.note(name);
        self.longest = self.longest.max(self.program.texts.get(value).len());
        self.program.variables.set(source.scope, name.as_bstr(), value);
        Ok(())
    }

    fn require(&mut self, required: Version, at: usize) -> Result<(), Problem> {
        if required > LANGUAGE {
            let message = format!(
                "ninja version ({LANGUAGE}) incompatible with build file ninja_required_version version ({required})."
            );
            return Err(Problem { at, message });
        }
        if required.major < LANGUAGE.major {
            self.warnings.push(Warning::Older(required));
        }
        self.required_version = Some(required);
        Ok(())
    }

    /// A value with the variables of the file.
    fn value(&mut self, source: &Source<'_>, raw: Raw) -> Result<Text, Problem> {
        if !raw.special {
            return Ok(Texts::written(source.number, raw));
        }
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        let expanded = self.program.expand(source.scope, &[], source.bytes(raw), &mut value);
        let text = expanded.and_then(|()| self.program.texts.make(&value));
        self.value = value;
        text.map_err(|TooLong| Problem { at: raw.start, message: "the value is too long".into() })
    }

    fn pool(&mut self, source: &mut Source<'_>) -> Result<(), Problem> {
        let Some(name) = source.lexer.name() else {
            return Err(source.lexer.problem("expected pool name"));
        };
        let name = source.bytes(name);
        source.lexer.expect(Token::Newline)?;
        if self.pool_numbers.contains_key(name.as_bstr()) {
            return Err(source.lexer.problem(format!("duplicate pool '{}'", name.as_bstr())));
        }
        let mut depth = None;
        while source.lexer.accept(Token::Indent) {
            let (key, raw) = source.assignment()?;
            let key = source.bytes(key);
            if key != b"depth" {
                return Err(source.lexer.problem(format!("unexpected variable '{}'", key.as_bstr())));
            }
            let value = self.value(source, raw)?;
            let value = u32::try_from(number(self.program.texts.get(value)));
            depth = Some(value.map_err(|_| source.lexer.problem("invalid pool depth"))?);
        }
        let Some(depth) = depth else {
            return Err(source.lexer.problem("expected 'depth =' line"));
        };
        self.pools.insert(name.into(), depth);
        let pool = if depth == 0 { Pool::Default } else { Pool::Named { name: name.into(), depth } };
        let number = u32::try_from(self.program.pools.len()).expect("a pool takes more than a byte to state");
        self.pool_numbers.insert(name.into(), number);
        self.program.pools.push(pool);
        Ok(())
    }

    fn rule(&mut self, source: &mut Source<'_>) -> Result<(), Problem> {
        let Some(name) = source.lexer.name() else {
            return Err(source.lexer.problem("expected rule name"));
        };
        let name = source.bytes(name);
        source.lexer.expect(Token::Newline)?;
        if self.program.rule_names.own(source.scope, name.as_bstr()).is_some() {
            return Err(source.lexer.problem(format!("duplicate rule '{}'", name.as_bstr())));
        }
        let mut rule = Rule { name: name.into(), ..Rule::default() };
        // In Ninja a rule always has these, so that a variable of the file is not seen in their place.
        let always = ["command", "rspfile", "rspfile_content"];
        rule.bindings.extend(always.map(|name| (name.into(), Text::default())));
        while source.lexer.accept(Token::Indent) {
            let (key, raw) = source.assignment()?;
            let key = source.bytes(key);
            if !NAMES.iter().any(|name| name.as_bytes() == key) {
                return Err(source.lexer.problem(format!("unexpected variable '{}'", key.as_bstr())));
            }
            rule.sets.note(key);
            rule.bind(key.as_bstr(), Texts::written(source.number, raw));
        }
        let text = |name: &str| rule.binding(name.as_bytes()).map_or(&b""[..], |text| self.program.texts.get(text));
        if text("rspfile").is_empty() != text("rspfile_content").is_empty() {
            return Err(source.lexer.problem("rspfile and rspfile_content need to be both specified"));
        }
        if text("command").is_empty() {
            return Err(source.lexer.problem("expected 'command =' line"));
        }
        let size = size(&rule, &self.program.texts);
        rule.suspect = !is_known_deps(text("deps")) || size.is_none();
        rule.size = size.unwrap_or_default();
        let id = u32::try_from(self.program.rules.len()).expect("a rule takes more than a byte to state");
        self.program.rules.push(rule);
        self.program.rule_names.set(source.scope, name.as_bstr(), id);
        Ok(())
    }

    fn default(&mut self, source: &mut Source<'_>) -> Result<(), Problem> {
        let mut raw = source.lexer.path()?;
        if raw.is_empty() {
            return Err(source.lexer.problem("expected target name"));
        }
        while !raw.is_empty() {
            let mut path = vec![];
            self.path(source, &[], raw, &mut path)?;
            let Some(file) = self.graph.find(path.as_bstr()) else {
                let message = format!("unknown target '{}'", path.as_bstr());
                return Err(Problem { at: raw.start, message });
            };
            self.graph.defaults.push(file);
            raw = source.lexer.path()?;
        }
        source.lexer.expect(Token::Newline)
    }

    fn include(&mut self, source: &mut Source<'_>, subninja: bool) -> Stop {
        self.included(source, subninja).map_or_else(Stop::Wrong, Stop::Include)
    }

    fn included(&mut self, source: &mut Source<'_>, subninja: bool) -> Result<Open, Problem> {
        let raw = source.lexer.path()?;
        let here = |message| Problem { at: raw.start, message };
        let mut name = vec![];
        let expanded = self.program.expand(source.scope, &[], source.bytes(raw), &mut name);
        expanded.map_err(|TooLong| here("the path is too long".into()))?;
        let name = name.as_bstr();
        let bytes = (self.load)(name).map_err(|error| here(cannot_load(name, &error)))?;
        let scope = if subninja { self.program.scopes.begin(source.scope) } else { source.scope };
        Ok(Open::new(name, bytes, scope))
    }

    /// Adds a path, its variables replaced, to `out`.
    fn path(&self, source: &Source<'_>, own: &[Binding], raw: Raw, out: &mut Vec<u8>) -> Result<(), Problem> {
        let problem = |message: &str| Problem { at: raw.start, message: message.into() };
        if raw.special {
            let expanded = self.program.expand(source.scope, own, source.bytes(raw), out);
            expanded.map_err(|TooLong| problem("the path is too long"))?;
        } else {
            out.extend_from_slice(source.bytes(raw));
        }
        if out.is_empty() {
            return Err(problem("empty path"));
        }
        canonicalise(out);
        Ok(())
    }

    fn edge(&mut self, source: &mut Source<'_>) -> Result<(), Problem> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.edge_with(source, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn edge_with(&mut self, source: &mut Source<'_>, scratch: &mut Scratch) -> Result<(), Problem> {
        let start = source.lexer.place();
        let line = source.lexer.line();
        let Scratch { outputs, inputs, validations } = scratch;
        for paths in [&mut *outputs, inputs, validations] {
            paths.clear();
        }
        let explicit_outputs = source.paths(&mut outputs.written)?;
        let implicit_outputs = if source.lexer.accept(Token::Pipe) { source.paths(&mut outputs.written)? } else { 0 };
        if outputs.written.is_empty() {
            return Err(source.lexer.problem("expected path"));
        }
        source.lexer.expect(Token::Colon)?;
        let Some(name) = source.lexer.name() else {
            return Err(source.lexer.problem("expected build command name"));
        };
        let name = source.bytes(name);
        let Some(rule) = self.program.rule(source.scope, name) else {
            return Err(source.lexer.problem(format!("unknown build rule '{}'", name.as_bstr())));
        };
        let mut explicit_inputs = source.paths(&mut inputs.written)?;
        let implicit_inputs = if source.lexer.accept(Token::Pipe) { source.paths(&mut inputs.written)? } else { 0 };
        if source.lexer.accept(Token::PipePipe) {
            source.paths(&mut inputs.written)?;
        }
        if source.lexer.accept(Token::PipeAt) {
            source.paths(&mut validations.written)?;
        }
        source.lexer.expect(Token::Newline)?;

        let bindings = self.program.bindings.len();
        let sets = self.edge_bindings(source)?;
        let rule_sets = self.program.rules[rule as usize].sets;
        let phony = rule == PHONY;
        let here = |message: String| Problem { at: start, message };

        let pool = if sets.pool || rule_sets.pool || self.anywhere.pool {
            let evaluation = self.unfinished(rule, source.scope, bindings, vec![], vec![]);
            let name = evaluation.escaped("pool").map_err(|unusable| here(unusable.to_string()))?;
            let pool = self.pool_numbers.get(name.as_bstr());
            *pool.ok_or_else(|| here(format!("unknown pool name '{}'", name.as_bstr())))?
        } else {
            0
        };

        for paths in [&mut *outputs, inputs, validations] {
            self.find_files(source, bindings, paths)?;
        }
        if let Some(i) = second_of_two(outputs, source) {
            let message = format!("{} is defined as an output multiple times", outputs.spelling(source, i));
            return Err(Problem { at: outputs.written[i].start, message });
        }
        if phony && explicit_outputs == 1 && implicit_outputs == 0 && implicit_inputs == 0 {
            // CMake 2.8.12 and 3.0 write such edges; Ninja bears with them.
            let output = outputs.files[0];
            let before = inputs.files.len();
            explicit_inputs -= inputs.files[..explicit_inputs].iter().filter(|input| **input == output).count();
            inputs.files.retain(|input| *input != output);
            if inputs.files.len() < before {
                self.warnings.push(Warning::PhonyCycle(outputs.spelling(source, 0).into()));
            }
        }
        // A shell is given up to four bytes for one, quotes and a blank.
        let in_command = |paths: &Paths| paths.spellings(source).map(|path| 4 * path.len() + 3).sum::<usize>();
        let own = &self.program.bindings[bindings..];
        let is_long = in_command(outputs).max(in_command(inputs)) > LONG
            || own.iter().any(|binding| binding.value.length() > LONG);

        let dyndep = if sets.dyndep || rule_sets.dyndep || self.anywhere.dyndep {
            let explicit_inputs = inputs.spellings(source).take(explicit_inputs).collect();
            let explicit_outputs = outputs.spellings(source).take(explicit_outputs).collect();
            let evaluation = self.unfinished(rule, source.scope, bindings, explicit_inputs, explicit_outputs);
            let mut path = evaluation.unescaped("dyndep").map_err(|unusable| here(unusable.to_string()))?;
            canonicalise(&mut path);
            let is_input = || self.graph.find(path.as_bstr()).is_some_and(|file| inputs.files.contains(&file));
            if !path.is_empty() && !is_input() {
                return Err(here(format!("dyndep '{}' is not an input", path.as_bstr())));
            }
            path
        } else {
            vec![]
        };

        let location = Location { file: Arc::clone(source.name), line };
        let spec = EdgeSpec {
            outputs: &outputs.files,
            explicit_outputs,
            inputs: &inputs.files,
            explicit_inputs,
            implicit_inputs,
            validations: &validations.files,
            phony,
            location,
        };
        let id = self.graph.edge(spec).map_err(|double| {
            let i = outputs.files.iter().position(|file| self.graph.path(*file) == double.path).unwrap_or_default();
            let path = outputs.spelling(source, i);
            let message = format!("multiple rules generate {path}; the first is at {}", double.first);
            Problem { at: outputs.written[i].start, message }
        })?;

        let too_long = |TooLong| Problem { at: start, message: "the edges are too long".into() };
        if !phony {
            if let Some(texts) = self.otherwise(source, outputs, explicit_outputs).map_err(too_long)? {
                self.program.outputs.add(id, texts);
            }
            if let Some(texts) = self.otherwise(source, inputs, explicit_inputs).map_err(too_long)? {
                self.program.inputs.add(id, texts);
            }
        }
        if !dyndep.is_empty() {
            let text = self.program.texts.make(&dyndep).map_err(too_long)?;
            self.program.dyndeps.push((id, text));
        }
        if self.program.rules[rule as usize].suspect || sets.deps || is_long {
            self.suspects.push(id);
        }
        let bindings = u32::try_from(bindings).map_err(|_| too_long(TooLong))?;
        let at = start as u32; // a source is shorter than 4 GiB
        let record = EdgeRecord { rule, scope: source.scope, pool, bindings, source: source.number, at };
        self.program.edges.push(record);
        Ok(())
    }

    /// The variables of an edge.
    fn edge_bindings(&mut self, source: &mut Source<'_>) -> Result<Sets, Problem> {
        let mut sets = Sets::default();
        let mut bindings = std::mem::take(&mut self.bindings);
        while source.lexer.accept(Token::Indent) {
            let (name, raw) = source.assignment()?;
            let value = self.value(source, raw)?;
            sets.note(source.bytes(name));
            bindings.push(Binding { name: Texts::written(source.number, name), value });
        }
        self.program.bind(&mut bindings);
        self.bindings = bindings;
        Ok(sets)
    }

    /// Works out texts of the edge that is being read, whose variables start at `bindings`.
    fn unfinished<'a>(
        &'a self,
        rule: u32,
        scope: u32,
        bindings: usize,
        inputs: Vec<&'a [u8]>,
        outputs: Vec<&'a [u8]>,
    ) -> Evaluation<'a> {
        Evaluation {
            program: &self.program,
            rule: &self.program.rules[rule as usize],
            scope,
            bindings: &self.program.bindings[bindings..],
            inputs,
            outputs,
        }
    }

    /// Finds the files of the paths that are written in an edge whose variables start at `bindings`.
    fn find_files(&mut self, source: &Source<'_>, bindings: usize, paths: &mut Paths) -> Result<(), Problem> {
        let Paths { written, files, spelt, made } = paths;
        for raw in written {
            let plain = if raw.special { None } else { Plain::new(source.bytes(*raw).as_bstr()) };
            let start = made.len();
            files.push(match plain {
                Some(plain) => self.graph.plain_file(plain),
                None => {
                    let mut path = std::mem::take(&mut self.value);
                    path.clear();
                    let read = self.path(source, &self.program.bindings[bindings..], *raw, &mut path);
                    made.extend_from_slice(&path);
                    self.value = path;
                    read?;
                    self.graph.file(made[start..].as_bstr())
                }
            });
            spelt.push(start..made.len());
        }
        Ok(())
    }

    /// The first paths as they are spelt, if the graph spells one of them otherwise. They need no memory where the
    /// manifest has them so.
    fn otherwise(&mut self, source: &Source<'_>, paths: &Paths, count: usize) -> Result<Option<Vec<Text>>, TooLong> {
        let is_otherwise = |(path, file): (&[u8], &FileId)| {
            (path.starts_with(&self.working_directory) || path.starts_with(b"/..")) && self.graph.path(*file) != path
        };
        if !paths.spellings(source).zip(&paths.files).take(count).any(is_otherwise) {
            return Ok(None);
        }
        let text = |(raw, made): (&Raw, &Range<usize>)| match made.is_empty() {
            true => Ok(Texts::written(source.number, *raw)),
            false => self.program.texts.make(&paths.made[made.clone()]),
        };
        paths.written.iter().zip(&paths.spelt).take(count).map(text).collect::<Result<_, _>>().map(Some)
    }
}

/// Looks for what Ninja would find wrong when an edge runs.
fn check(suspects: &[EdgeId], program: &Program, graph: &Graph, files: &[BString]) -> Result<(), ParseError> {
    let mut left = program.texts.most_made();
    for edge in suspects {
        let record = &program.edges[edge.0 as usize];
        if record.rule == PHONY {
            continue;
        }
        let problem = |message| {
            let name = &files[record.source as usize - 1];
            locate(name.as_bstr(), program.texts.source(record.source), record.at as usize, message)
        };
        let evaluation = program.evaluation(graph, *edge);
        for name in NAMES {
            let value = evaluation.escaped(name).map_err(|unusable| problem(unusable.to_string()))?;
            left = left.checked_sub(value.len()).ok_or_else(|| problem(Unusable::TooLong(name).to_string()))?;
            if *name == "deps" && !is_known_deps(&value) {
                return Err(problem(format!("unknown deps type '{}'", value.as_bstr())));
            }
        }
    }
    Ok(())
}

/// The place of the second of two equal paths.
fn second_of_two(paths: &Paths, source: &Source<'_>) -> Option<usize> {
    if paths.files.len() < 2 {
        return None;
    }
    let all: Vec<_> = paths.spellings(source).collect();
    if all.len() <= 8 {
        return (1..all.len()).find(|i| all[..*i].contains(&all[*i]));
    }
    let mut seen = HashSet::with_capacity(all.len());
    all.iter().position(|path| !seen.insert(path))
}

fn is_known_deps(value: &[u8]) -> bool {
    matches!(value, b"" | b"gcc" | b"msvc")
}

/// The error at a place of a file.
fn locate(file: &BStr, bytes: &[u8], at: usize, message: String) -> ParseError {
    let before = &bytes[..at.min(bytes.len())];
    let start = before.rfind_byte(b'\n').map_or(0, |end| end + 1);
    let rest = &bytes[start..];
    let line = &rest[..rest.find_byteset(b"\n\0").unwrap_or(rest.len())];
    ParseError {
        file: file.into(),
        line: before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1,
        column: (before.len() - start) as u32 + 1,
        message,
        source_line: line.strip_suffix(b"\r").unwrap_or(line).into(),
    }
}

/// In Ninja's words.
fn cannot_load(name: &BStr, error: &std::io::Error) -> String {
    format!("loading '{name}': {}", reason(error))
}

/// As `ParseVersion` of Ninja 1.13.2.
fn version(text: &[u8]) -> Version {
    let mut parts = text.split_str(".");
    let mut next = || parts.next().map_or(0, |part| u32::try_from(number(part)).unwrap_or_default());
    Version { major: next(), minor: next() }
}

/// The number at the start of a text, 0 if there is none, as C's `atoi`.
fn number(text: &[u8]) -> i32 {
    let text = text.trim_start();
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i32, |number, digit| number.saturating_mul(10).saturating_add(i32::from(digit - b'0'))) * sign
}
