//! The compiles of a real build, and what the compiler itself says that they read.

use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest;
use splitter::compiler::Compile;
use splitter::graph::{Edge, EdgeId, absolute};
use splitter::recipe::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A compile.
pub struct Unit {
    /// Its words without those for outputs.
    pub ask: Vec<BString>,
    /// Where it is started.
    pub cwd: BString,
    /// What it makes, as its words name it.
    pub object: String,
}

/// All compiles of a build directory, response files expanded.
pub fn units(build: &Path) -> Vec<Unit> {
    let mut load = |path: &BStr| fs::read(build.join(path.to_path_lossy()));
    let directory = build.as_os_str().as_bytes().as_bstr();
    let manifest = manifest::parse(directory, "build.ninja".into(), &mut load).expect("a manifest");
    let graph = manifest.graph;
    let edges = graph.edges().filter(|(_, edge)| !edge.phony);
    let unit = |(id, edge): (EdgeId, Edge<'_>)| {
        let outputs = edge.outputs.iter().map(|file| graph.file(*file).path.to_owned()).collect();
        let read = |path: &BStr| fs::read(path.to_path_lossy()).ok().map(BString::from);
        let recipe = Recipe::new(&graph.command(id), outputs, directory, &read);
        // Some projects do more than to compile in one command.
        let compile = recipe.runs().find_map(|(argv, cwd)| {
            let words = recipe.expanded(&argv, cwd.as_bstr());
            Compile::read(&words).map(|compile| (compile.ask, cwd))
        });
        compile.map(|(ask, cwd)| Unit { ask, cwd, object: recipe.outputs[0].to_string() })
    };
    edges.filter_map(unit).collect()
}

/// The environment in which they are asked.
pub fn environment() -> BTreeMap<BString, BString> {
    BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())])
}

impl Unit {
    /// What the compiler says by `-M`; nothing if it fails.
    pub fn read_by_compiler(&self) -> BTreeSet<BString> {
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = Command::new(word(&self.ask[0]));
        command.args(self.ask[1..].iter().map(word)).args(["-M", "-MT", "x"]).current_dir(word(&self.cwd));
        let output = command.stdin(Stdio::null()).output().expect("a compiler");
        let read = splitter::depfile::parse(&output.stdout).map(|depfile| depfile.inputs).unwrap_or_default();
        read.iter().map(|path| absolute(path.as_bstr(), self.cwd.as_bstr())).collect()
    }
}
