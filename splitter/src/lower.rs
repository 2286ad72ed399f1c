//! Turns a step with its exact inputs into a derivation. Pure: equal arguments give equal bytes on any machine.
#![deny(clippy::disallowed_methods)]

use crate::compiler::plain;
use crate::discover::is_of_host;
use crate::recipe::{Kind, Recipe};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::content_address::Method;
use nixstore::hash::Algorithm;
use nixstore::manifest::{ABI, Manifest, Step};
use nixstore::path::StoreName;
use nixstore::{Derivation, DerivationOutput, OutputName, StoreDir, StorePath, text};
use std::collections::{BTreeMap, BTreeSet};

/// What a step reads, as discovery found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Absolute path, and the store path of what is seen there.
    pub files: BTreeMap<BString, StorePath>,
    /// Directories that must exist, with nothing in them but inputs.
    pub directories: BTreeSet<BString>,
    /// Files of which the command must see the names, but does not read the content: empty here.
    pub names: BTreeSet<BString>,
    /// What `-march=native` and its kin mean on this processor, where the command says that.
    pub native: Option<String>,
    /// Whether the commands run in the host's own file system.
    pub in_place: bool,
    /// Whether the derivation has an output `reads` too: which of the files were opened and which directories listed.
    pub traced: bool,
    /// Where not 0, a failure of the commands is told there, and is none of the derivation; the number of this attempt.
    pub trial: u32,
}

/// A toolchain snapshot and the places where its parts are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The snapshot.
    pub path: StorePath,
    /// Absolute place, and the path below the snapshot that is seen there.
    pub mounts: BTreeMap<BString, BString>,
    /// Links at the root, such as `/bin` to `usr/bin`.
    pub links: BTreeMap<BString, BString>,
}

impl Toolchain {
    /// Whether a path is a link of the snapshot, or lies where a part of it is seen, but for `/usr` and the like, where no project is.
    pub fn holds(&self, path: &BStr) -> bool {
        self.links.contains_key(path)
            || self.mounts.keys().any(|at| path.strip_prefix(at.as_slice()).is_some_and(|rest| rest.starts_with(b"/")))
    }
}

/// The derivation of a step. Its outputs are `o0`, `o1`, … for the declared ones, `dep` for a depfile, `log` for what the
/// command prints, and `rest` for what it writes in the build directory besides; all floating, NAR, SHA-256.
pub fn lower(
    store_dir: &StoreDir,
    recipe: &Recipe,
    inputs: &Inputs,
    tools: &Toolchain,
    runner: &StorePath,
) -> Derivation {
    let in_store = |path: &StorePath| store_dir.print(path);
    let manifest = manifest(store_dir, recipe, inputs, tools);
    let floating = || DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
    let reads = inputs.traced.then(|| output("reads"));
    let names = writes(recipe).map(|(name, _)| name).chain(["log", "rest"].map(output)).chain(reads);
    Derivation {
        name: name(recipe),
        outputs: names.map(|name| (name, floating())).collect(),
        input_drvs: BTreeMap::new(),
        input_srcs: inputs.files.values().chain([&tools.path, runner]).cloned().collect(),
        system: SYSTEM.into(),
        builder: in_store(runner).into(),
        args: Vec::new(),
        env: BTreeMap::from([("__json".into(), manifest.to_json().into())]),
    }
}

/// What the runner is asked to do for a step.
pub fn manifest(store_dir: &StoreDir, recipe: &Recipe, inputs: &Inputs, tools: &Toolchain) -> Manifest {
    let in_store = |path: &StorePath| store_dir.print(path);
    let snapshot = in_store(&tools.path);
    let below =
        |sub: &BString| if sub.is_empty() { snapshot.clone() } else { format!("{snapshot}/{}", text::from_bytes(sub)) };
    let pairs = |map: &BTreeMap<BString, BString>| {
        map.iter().map(|(k, v)| (text::from_bytes(k), text::from_bytes(v))).collect()
    };
    let response = recipe.response.iter().map(|(path, content)| (text::from_bytes(path), text::from_bytes(content)));
    Manifest {
        abi: ABI,
        commands: commands(recipe),
        directories: inputs.directories.iter().map(|path| text::from_bytes(path)).collect(),
        name: name(recipe).to_string(),
        env: pairs(&environment(recipe, inputs)),
        files: response.collect(),
        names: inputs.names.iter().map(|path| text::from_bytes(path)).collect(),
        in_place: inputs.in_place,
        offline: is_offline(recipe),
        inputs: inputs.files.iter().map(|(at, path)| (text::from_bytes(at), in_store(path))).collect(),
        rest: text::from_bytes(&recipe.build_directory),
        copied: !is_understood(recipe),
        traced: inputs.traced,
        trial: inputs.trial,
        native: inputs.native.clone(),
        tools: tools.mounts.iter().map(|(at, sub)| (text::from_bytes(at), below(sub))).collect(),
        links: pairs(&tools.links),
        writes: writes(recipe).map(|(name, path)| (name.to_string(), text::from_bytes(path))).collect(),
        outputs: BTreeMap::new(),
    }
}

/// The commands; of a compile the assembler reads while the compiler writes.
fn commands(recipe: &Recipe) -> Vec<Step> {
    let mut commands = recipe.commands.clone();
    let words = recipe.runs().next().filter(|_| recipe.kind == Kind::Compile).map(|(words, _)| words);
    if let ([Step::Run(run)], Some(words)) = (commands.as_mut_slice(), words)
        && is_of_host(words[0].as_bstr())
        && plain::may_pipe(&words)
    {
        run.argv.insert(1, "-pipe".into());
    }
    commands
}

/// The outputs that are files of its own, and where it leaves them.
fn writes(recipe: &Recipe) -> impl Iterator<Item = (OutputName, &BString)> {
    let depfile = recipe.depfile.iter().map(|path| (output("dep"), path));
    output_names(recipe.outputs.len()).zip(&recipe.outputs).chain(depfile)
}

/// That of the recipe. LeakSanitizer traces the process itself, which fails where somebody does already: a program of the
/// build that has it would end with an error of its own. Where the step is not traced, leaks are looked for as ever.
fn environment(recipe: &Recipe, inputs: &Inputs) -> BTreeMap<BString, BString> {
    let mut env = recipe.env.clone();
    if inputs.traced && !is_understood(recipe) {
        env.entry("LSAN_OPTIONS".into()).or_insert_with(|| "detect_leaks=0".into());
    }
    env
}

fn is_understood(recipe: &Recipe) -> bool {
    matches!(recipe.kind, Kind::Compile | Kind::Link | Kind::Crate)
}

/// Compilers, linkers and tools that do what their words say ask nobody else for anything. A program of the project might.
fn is_offline(recipe: &Recipe) -> bool {
    matches!(recipe.kind, Kind::Compile | Kind::Link | Kind::Words)
        && recipe.runs().all(|(argv, _)| is_of_host(argv[0].as_bstr()))
}

const SYSTEM: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux" } else { "x86_64-linux" };

/// `o0`, `o1`, … for `count` declared outputs.
pub fn output_names(count: usize) -> impl Iterator<Item = OutputName> + Clone {
    (0..count).map(|i| output(&format!("o{i}")))
}

/// The name of the derivation of a recipe.
pub fn name(recipe: &Recipe) -> StoreName {
    let first = recipe.outputs.first().map_or(&b"edge"[..], |path| path.rsplit_str("/").next().unwrap_or(path));
    StoreName::sanitised(first)
}

/// The output of a name that this module gives.
pub fn output(name: &str) -> OutputName {
    name.parse().expect("our own names are valid")
}
