//! The build graph as a build file states it: files, edges and how they hang together. Pure; every front end makes one.
//!
//! The words are those of the Ninja manual: an edge has explicit, implicit and order-only inputs, validations, and
//! explicit and implicit outputs; a phony edge runs nothing.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString, ByteSlice as _};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Which file of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Which edge of a graph, in the order of the build file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub u32);

/// A build graph.
///
/// Paths are those of the build file without `.`, empty and `..` components where that needs no look at the disk;
/// relative ones start at the working directory, and absolute ones below the working directory are made relative, so
/// that one file has one [`FileId`] however it is spelt.
pub struct Graph {
    working_directory: BString,
    files: Files,
    edges: Edges,
    /// What is made when nothing is asked for; empty if the build file does not say.
    pub defaults: Vec<FileId>,
    commands: Box<dyn Commands>,
}

/// Gives what an edge runs. Asked only for edges that are needed, since the texts of a large graph are large.
pub trait Commands: Send + Sync {
    /// What `edge` runs; only asked of edges that are not phony.
    fn command(&self, graph: &Graph, edge: EdgeId) -> Command;

    /// The pool alone, which costs less than the whole.
    fn pool(&self, graph: &Graph, edge: EdgeId) -> Pool {
        self.command(graph, edge).pool
    }

    /// The name of the rule alone.
    fn rule(&self, graph: &Graph, edge: EdgeId) -> BString {
        self.command(graph, edge).rule
    }

    /// The dyndep file alone.
    fn dyndep(&self, graph: &Graph, edge: EdgeId) -> Option<BString> {
        self.command(graph, edge).dyndep
    }
}

impl<T: Commands> Commands for Arc<T> {
    fn command(&self, graph: &Graph, edge: EdgeId) -> Command {
        T::command(self, graph, edge)
    }

    fn pool(&self, graph: &Graph, edge: EdgeId) -> Pool {
        T::pool(self, graph, edge)
    }

    fn rule(&self, graph: &Graph, edge: EdgeId) -> BString {
        T::rule(self, graph, edge)
    }

    fn dyndep(&self, graph: &Graph, edge: EdgeId) -> Option<BString> {
        T::dyndep(self, graph, edge)
    }
}

/// A file that is named in the build file.
#[derive(Debug, Clone, Copy)]
pub struct File<'g> {
    /// See [`Graph`].
    pub path: &'g BStr,
    /// The edge that makes it; none for a source.
    pub maker: Option<EdgeId>,
}

/// A command with its inputs and outputs, as the build file states it.
#[derive(Debug, Clone, Copy)]
pub struct Edge<'g> {
    /// Explicit ones first, in the order of the build file, each once.
    pub outputs: &'g [FileId],
    /// How many of [`Edge::outputs`] are explicit.
    pub explicit_outputs: usize,
    /// Explicit, then implicit, then order-only ones, as often as the build file names them.
    pub inputs: &'g [FileId],
    /// How many of [`Edge::inputs`] are explicit.
    pub explicit_inputs: usize,
    /// How many of [`Edge::inputs`] are implicit.
    pub implicit_inputs: usize,
    /// Built along with the edge, though nothing of it waits for them.
    pub validations: &'g [FileId],
    /// Runs nothing: its outputs stand for its inputs.
    pub phony: bool,
    /// Where the build file states it.
    pub location: &'g Location,
}

impl<'g> Edge<'g> {
    /// What changes the outputs: explicit and implicit inputs.
    pub fn dirtying(&self) -> &'g [FileId] {
        &self.inputs[..self.explicit_inputs + self.implicit_inputs]
    }

    /// What only has to be there before.
    pub fn ordering(&self) -> &'g [FileId] {
        &self.inputs[self.explicit_inputs + self.implicit_inputs..]
    }
}

/// A line of a build file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// As the user would name it; one text for all edges of a file.
    pub file: Arc<BString>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What an edge runs, all variables expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The text for `/bin/sh -c`.
    pub text: BString,
    /// For people; empty if the rule has none.
    pub description: BString,
    /// The name of the rule.
    pub rule: BString,
    /// Variables of its environment, besides those that every command has.
    pub env: BTreeMap<BString, BString>,
    /// Files that it counts as reading whatever else is known of it, and directories that it knows by these names.
    pub also: Vec<BString>,
    /// Nothing that it reads is made by another command, so that a file may be known by another path than others know it by.
    pub alone: bool,
    /// A file in which the command names what it read.
    pub depfile: Option<BString>,
    /// What becomes of the depfile.
    pub deps: Deps,
    /// How a line begins in which the command names a file that it read; empty for that of an English compiler.
    pub msvc_deps_prefix: BString,
    /// A file to be written before the command runs, and removed after it.
    pub rspfile: Option<ResponseFile>,
    /// Outputs may be left untouched if nothing changed.
    pub restat: bool,
    /// Makes the build file itself.
    pub generator: bool,
    /// Limits how many run at once.
    pub pool: Pool,
    /// A file, made by the build, that states more inputs and outputs.
    pub dyndep: Option<BString>,
}

/// What becomes of a depfile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deps {
    /// It stays as a file.
    #[default]
    Keep,
    /// Read and removed (`deps = gcc`).
    Gcc,
    /// Taken from the output of the compiler (`deps = msvc`).
    Msvc,
}

/// A response file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseFile {
    /// Where.
    pub path: BString,
    /// What.
    pub content: BString,
}

/// The pool of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pool {
    /// Only limited by the number of jobs.
    #[default]
    Default,
    /// Alone on the terminal.
    Console,
    /// At most `depth` at once.
    Named {
        /// Of the pool.
        name: BString,
        /// At least 1.
        depth: u32,
    },
}

impl Graph {
    /// The absolute path at which relative paths start.
    pub fn working_directory(&self) -> &BStr {
        self.working_directory.as_bstr()
    }

    /// The edge's outputs, inputs and place.
    pub fn edge(&self, id: EdgeId) -> Edge<'_> {
        self.edges.get(id)
    }

    /// All edges, in the order of the build file.
    pub fn edges(&self) -> impl Iterator<Item = (EdgeId, Edge<'_>)> {
        (0..self.edges.all.len() as u32).map(EdgeId).map(|id| (id, self.edge(id)))
    }

    /// The file's path and maker.
    pub fn file(&self, id: FileId) -> File<'_> {
        self.files.get(id)
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = (FileId, File<'_>)> {
        (0..self.files.all.len() as u32).map(FileId).map(|id| (id, self.file(id)))
    }

    /// The file of a path, however it is spelt.
    pub fn find(&self, path: &BStr) -> Option<FileId> {
        find(&self.files, path, self.working_directory.as_bstr())
    }

    /// What a non-phony edge runs.
    pub fn command(&self, edge: EdgeId) -> Command {
        self.commands.command(self, edge)
    }

    /// The pool of a non-phony edge.
    pub fn pool(&self, edge: EdgeId) -> Pool {
        self.commands.pool(self, edge)
    }

    /// The name of an edge's rule.
    pub fn rule(&self, edge: EdgeId) -> BString {
        if self.edge(edge).phony { "phony".into() } else { self.commands.rule(self, edge) }
    }

    /// The file that states more of an edge; see [`Command::dyndep`].
    pub fn dyndep(&self, edge: EdgeId) -> Option<BString> {
        if self.edge(edge).phony { None } else { self.commands.dyndep(self, edge) }
    }

    /// Adds implicit outputs and inputs to an edge; those that it has already are left as they are.
    ///
    /// # Errors
    /// [`DoubleOutput`] where another edge makes one of the outputs. The graph is then not to be used further.
    pub fn extend(&mut self, edge: EdgeId, outputs: &[BString], inputs: &[BString]) -> Result<(), DoubleOutput> {
        let Edge { outputs: known_outputs, inputs: known_inputs, validations, .. } = self.edge(edge);
        let [mut all_outputs, mut all_inputs, validations] =
            [known_outputs, known_inputs, validations].map(<[FileId]>::to_vec);
        for path in outputs {
            let file = self.files.add(&normalised(path.as_bstr(), self.working_directory.as_bstr()));
            match self.files.claim(file, edge) {
                Claim::New => all_outputs.push(file),
                Claim::Known => {}
                Claim::Of(maker) => return Err(double(&self.files, &self.edges, file, maker)),
            }
        }
        let known = self.edge(edge).dirtying().len();
        let mut dirtying = known;
        for path in inputs {
            let file = self.files.add(&normalised(path.as_bstr(), self.working_directory.as_bstr()));
            if !all_inputs[..dirtying].contains(&file) {
                all_inputs.insert(dirtying, file);
                dirtying += 1;
            }
        }
        let Edges { all, files } = &mut self.edges;
        let stated = &mut all[edge.0 as usize];
        stated.start = files.len();
        stated.outputs = all_outputs.len() as u32;
        stated.inputs = all_inputs.len() as u32;
        stated.implicit_inputs += (dirtying - known) as u32;
        files.extend([all_outputs, all_inputs, validations].concat());
        Ok(())
    }

    /// What is made when nothing is asked for: what the build file says, or else the roots.
    pub fn wanted_by_default(&self) -> Vec<FileId> {
        if self.defaults.is_empty() { self.roots() } else { self.defaults.clone() }
    }

    /// Files that no edge has for an input, in the order of the build file.
    pub fn roots(&self) -> Vec<FileId> {
        let mut read = vec![false; self.files.all.len()];
        for file in self.edges().flat_map(|(_, edge)| edge.inputs) {
            read[file.0 as usize] = true;
        }
        let made = self.edges().flat_map(|(_, edge)| edge.outputs);
        made.filter(|file| !read[file.0 as usize]).copied().collect()
    }
}

/// Builds a [`Graph`] edge by edge.
#[derive(Debug)]
pub struct GraphBuilder {
    working_directory: BString,
    files: Files,
    edges: Edges,
    /// See [`Graph::defaults`].
    pub defaults: Vec<FileId>,
}

/// An edge as a front end states it.
#[derive(Debug)]
pub struct EdgeSpec<'a> {
    /// Explicit ones first.
    pub outputs: &'a [FileId],
    /// How many of the outputs are explicit.
    pub explicit_outputs: usize,
    /// Explicit, implicit, order-only ones.
    pub inputs: &'a [FileId],
    /// How many of the inputs are explicit.
    pub explicit_inputs: usize,
    /// How many of the inputs are implicit.
    pub implicit_inputs: usize,
    /// Built along.
    pub validations: &'a [FileId],
    /// Runs nothing.
    pub phony: bool,
    /// Where it is stated.
    pub location: Location,
}

/// Two edges make one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two edges make `{path}`; the first is at {first}")]
pub struct DoubleOutput {
    /// The file.
    pub path: BString,
    /// Where the edge is stated that had it first.
    pub first: Location,
}

impl GraphBuilder {
    /// An empty graph whose relative paths start at `working_directory`, which is absolute and normal.
    pub fn new(working_directory: BString) -> Self {
        Self { working_directory, files: Files::default(), edges: Edges::default(), defaults: vec![] }
    }

    /// Makes room for so many more edges and files.
    pub fn reserve(&mut self, edges: usize, files: usize) {
        self.edges.all.reserve(edges);
        self.files.all.reserve(files);
        self.files.by_path.reserve(files, |(hash, _)| wide(*hash));
    }

    /// The file of a path, new if there is none yet.
    pub fn file(&mut self, path: &BStr) -> FileId {
        self.files.add(&normalised(path, self.working_directory.as_bstr()))
    }

    /// As [`GraphBuilder::file`], without another look at the path.
    pub fn plain_file(&mut self, Plain(path): Plain<'_>) -> FileId {
        self.files.add(below(path, self.working_directory.as_bstr()))
    }

    /// The file of a path that was asked for so far.
    pub fn find(&self, path: &BStr) -> Option<FileId> {
        find(&self.files, path, self.working_directory.as_bstr())
    }

    /// The path of a file, as in the [`Graph`].
    pub fn path(&self, file: FileId) -> &BStr {
        self.files.get(file).path
    }

    /// Adds an edge.
    ///
    /// # Errors
    /// [`DoubleOutput`] where another edge makes one of the outputs. The graph is then not to be used further.
    pub fn edge(&mut self, spec: EdgeSpec<'_>) -> Result<EdgeId, DoubleOutput> {
        let id = EdgeId(u32::try_from(self.edges.all.len()).expect("fewer than 2^32 edges"));
        let start = self.edges.files.len();
        let mut explicit_outputs = 0;
        for (i, file) in spec.outputs.iter().enumerate() {
            match self.files.claim(*file, id) {
                Claim::New => {
                    self.edges.files.push(*file);
                    explicit_outputs += u32::from(i < spec.explicit_outputs);
                }
                Claim::Known => {} // the same file in another spelling, as CMake writes it
                Claim::Of(maker) => return Err(double(&self.files, &self.edges, *file, maker)),
            }
        }
        let outputs = (self.edges.files.len() - start) as u32;
        self.edges.files.extend_from_slice(spec.inputs);
        self.edges.files.extend_from_slice(spec.validations);
        self.edges.all.push(Stated {
            start,
            outputs,
            explicit_outputs,
            inputs: spec.inputs.len() as u32,
            explicit_inputs: spec.explicit_inputs as u32,
            implicit_inputs: spec.implicit_inputs as u32,
            validations: spec.validations.len() as u32,
            phony: spec.phony,
            location: spec.location,
        });
        Ok(id)
    }

    /// The finished graph.
    pub fn finish(self, commands: Box<dyn Commands>) -> Graph {
        let Self { working_directory, files, edges, defaults } = self;
        Graph { working_directory, files, edges, defaults, commands }
    }
}
/// The edges of a graph.
#[derive(Debug, Default)]
struct Edges {
    all: Vec<Stated>,
    /// Those of the edges: of each its outputs, inputs and validations, as [`Stated`] counts them.
    files: Vec<FileId>,
}

/// See [`Edge`].
#[derive(Debug)]
struct Stated {
    /// In [`Edges::files`].
    start: usize,
    outputs: u32,
    explicit_outputs: u32,
    inputs: u32,
    explicit_inputs: u32,
    implicit_inputs: u32,
    validations: u32,
    phony: bool,
    location: Location,
}

impl Edges {
    fn get(&self, id: EdgeId) -> Edge<'_> {
        let stated = &self.all[id.0 as usize];
        let (outputs, rest) = self.files[stated.start..].split_at(stated.outputs as usize);
        let (inputs, rest) = rest.split_at(stated.inputs as usize);
        Edge {
            outputs,
            explicit_outputs: stated.explicit_outputs as usize,
            inputs,
            explicit_inputs: stated.explicit_inputs as usize,
            implicit_inputs: stated.implicit_inputs as usize,
            validations: &rest[..stated.validations as usize],
            phony: stated.phony,
            location: &stated.location,
        }
    }
}

/// The files of a graph, found by their normal paths.
#[derive(Debug, Default)]
struct Files {
    /// One after the other, nothing between them.
    paths: Vec<u8>,
    all: Vec<Named>,
    /// With the hashes of their paths, so that growing does not read the paths.
    by_path: HashTable<(u32, FileId)>,
    hasher: DefaultHashBuilder,
}

/// See [`File`].
#[derive(Debug)]
struct Named {
    /// In [`Files::paths`], up to that of the next.
    start: usize,
    maker: Option<EdgeId>,
}

/// What becomes of a file that an edge makes.
enum Claim {
    /// The edge is its maker.
    New,
    /// It is so already.
    Known,
    /// Another edge is.
    Of(EdgeId),
}

impl Files {
    fn get(&self, id: FileId) -> File<'_> {
        let Named { start, maker } = self.all[id.0 as usize];
        let end = self.all.get(id.0 as usize + 1).map_or(self.paths.len(), |next| next.start);
        File { path: self.paths[start..end].as_bstr(), maker }
    }

    fn claim(&mut self, file: FileId, edge: EdgeId) -> Claim {
        match &mut self.all[file.0 as usize].maker {
            Some(maker) if *maker == edge => Claim::Known,
            Some(maker) => Claim::Of(*maker),
            none => {
                *none = Some(edge);
                Claim::New
            }
        }
    }

    fn hash(&self, path: &[u8]) -> u32 {
        self.hasher.hash_one(path) as u32
    }

    /// The file of a normal path with its hash.
    fn find(&self, path: &[u8], hash: u32) -> Option<FileId> {
        let same = |(known, file): &(u32, FileId)| *known == hash && self.get(*file).path == path;
        self.by_path.find(wide(hash), same).map(|(_, file)| *file)
    }

    /// The file of a normal path, new if there is none.
    fn add(&mut self, path: &[u8]) -> FileId {
        let hash = self.hash(path);
        if let Some(known) = self.find(path, hash) {
            return known;
        }
        let id = FileId(u32::try_from(self.all.len()).expect("fewer than 2^32 files"));
        self.all.push(Named { start: self.paths.len(), maker: None });
        self.paths.extend_from_slice(path);
        self.by_path.insert_unique(wide(hash), (hash, id), |(hash, _)| wide(*hash));
        id
    }
}

/// A table looks at the first and the last bits of a hash.
fn wide(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn find(files: &Files, path: &BStr, base: &BStr) -> Option<FileId> {
    let path = normalised(path, base);
    files.find(&path, files.hash(&path))
}

fn double(files: &Files, edges: &Edges, file: FileId, maker: EdgeId) -> DoubleOutput {
    DoubleOutput { path: files.get(file).path.into(), first: edges.get(maker).location.clone() }
}

/// A path out of which nothing can be taken without a look at the disk, but perhaps the working directory.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a>(&'a BStr);

impl<'a> Plain<'a> {
    /// None if something can be taken out, or nothing is in it.
    pub fn new(path: &'a BStr) -> Option<Self> {
        (!path.is_empty() && is_plain(path)).then_some(Self(path))
    }
}

/// `path` without `.`, empty and, where they cancel a component, `..` components; relative to `base` if it lies below.
/// A `..` that would climb out of a relative path stays. An empty path stays empty; what is left empty becomes `.`.
pub fn normalise(path: &BStr, base: &BStr) -> BString {
    normalised(path, base).into_owned().into()
}

/// As [`normalise`], without a copy of a path that is normal or only has to lose `base`.
fn normalised<'a>(path: &'a BStr, base: &BStr) -> Cow<'a, [u8]> {
    match Plain::new(path) {
        _ if path.is_empty() => Cow::Borrowed(b""),
        Some(Plain(path)) => Cow::Borrowed(below(path, base)),
        None => Cow::Owned(below(&cleaned(path), base).into()),
    }
}

/// A path that is not empty, without what needs no look at the disk to be taken out.
fn cleaned(path: &BStr) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split_str("/") {
        match component {
            b"" | b"." => {}
            b".." => match components.last() {
                Some(&last) if last != b".." => {
                    components.pop();
                }
                None if absolute => {}
                _ => components.push(component),
            },
            _ => components.push(component),
        }
    }
    let joined = bstr::join("/", &components);
    match (absolute, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".into(),
        (false, false) => joined,
    }
}

/// A plain path, relative to the absolute `base` if it lies below.
fn below<'a>(path: &'a [u8], base: &BStr) -> &'a [u8] {
    match path.strip_prefix(base.as_bytes()) {
        Some([]) => b".",
        Some([b'/', below @ ..]) => below,
        Some(below) if base == "/" => below,
        _ => path,
    }
}

/// Whether nothing can be taken out of a path that is not empty.
fn is_plain(path: &[u8]) -> bool {
    if !has_slash_before_slash_or_dot(path) && path[0] != b'.' && (path[path.len() - 1] != b'/' || path.len() == 1) {
        return true; // most are
    }
    let mut rest = path;
    if let Some(below) = rest.strip_prefix(b"/") {
        rest = below;
    } else {
        while let Some(below) = rest.strip_prefix(b"../") {
            rest = below;
        }
    }
    !rest.split_str("/").any(|component| matches!(component, b"" | b"." | b".."))
}

fn has_slash_before_slash_or_dot(path: &[u8]) -> bool {
    // Without branches, which the compiler makes a loop over blocks of bytes; the last block overlaps the one before it.
    const BLOCK: usize = 16;
    let has = |text: &[u8]| {
        let pairs = text.iter().zip(&text[1..]);
        pairs.fold(false, |has, (a, b)| has | ((*a == b'/') & ((*b == b'/') | (*b == b'.'))))
    };
    match path.last_chunk::<{ BLOCK + 1 }>() {
        Some(end) => has(&path[..=(path.len() - 1) / BLOCK * BLOCK]) || has(end),
        None => has(path),
    }
}

/// `path` as seen from the absolute `base`, absolute and normal.
pub fn absolute(path: &BStr, base: &BStr) -> BString {
    let joined =
        if path.starts_with(b"/") { path.into() } else { BString::from([base.as_bytes(), b"/", path].concat()) };
    normalise(joined.as_bstr(), b"//".as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_what_needs_no_look_at_the_disk() {
        for (path, normal) in [
            ("", ""),
            (".", "."),
            ("./", "."),
            ("a", "a"),
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("..", ".."),
            ("../", ".."),
            ("../../a", "../../a"),
            ("../a/../../b", "../../b"),
            (".a/.b", ".a/.b"),
            ("/", "/"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/src/a.c", "/src/a.c"),
            ("/work/build", "."),
            ("/work/build/", "."),
            ("/work/build/a", "a"),
            ("/work/x/../build/a", "a"),
            ("/work/builds/a", "/work/builds/a"),
        ] {
            assert_eq!(normalise(path.into(), "/work/build".into()), normal, "{path}");
        }
    }

    #[test]
    fn all_absolute_paths_lie_below_the_root() {
        assert_eq!(normalise("/a/b".into(), "/".into()), "a/b");
        assert_eq!(normalise("/".into(), "/".into()), ".");
    }
}
