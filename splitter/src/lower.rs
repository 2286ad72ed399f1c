//! Turns a step with its exact inputs into a derivation. Pure: equal arguments give equal bytes on any machine.

use bstr::{BStr, BString, ByteSlice as _};
use nixstore::content_address::Method;
use nixstore::hash::Algorithm;
use nixstore::manifest::{ABI, Manifest, Step};
use nixstore::path::StoreName;
use nixstore::{Derivation, DerivationOutput, OutputName, StoreDir, StorePath, text};
use std::collections::{BTreeMap, BTreeSet};

/// What an edge does, whatever its inputs hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Run one after the other.
    pub commands: Vec<Step>,
    /// The declared outputs, absolute, in their order.
    pub outputs: Vec<BString>,
    /// The depfile, absolute.
    pub depfile: Option<BString>,
    /// Response file and its content.
    pub response: Option<(BString, BString)>,
    /// The build directory, absolute.
    pub build_directory: BString,
    /// The whole environment.
    pub env: BTreeMap<BString, BString>,
}

/// What a step reads, as discovery found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Absolute path, and the store path of what is seen there.
    pub files: BTreeMap<BString, StorePath>,
    /// Directories that must exist, with nothing in them but inputs.
    pub directories: BTreeSet<BString>,
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

/// The derivation of a step. Its outputs are `o0`, `o1`, … for the declared ones, `dep` for a depfile, `log` for what the
/// command prints, and `rest` for what it writes in the build directory besides; all floating, NAR, SHA-256.
pub fn lower(
    store_dir: &StoreDir,
    recipe: &Recipe,
    inputs: &Inputs,
    tools: &Toolchain,
    runner: &StorePath,
) -> Derivation {
    let first = recipe.outputs.first().map_or(&b"edge"[..], |path| path.rsplit_str("/").next().unwrap_or(path));
    let name = StoreName::sanitised(first);
    let in_store = |path: &StorePath| store_dir.print(path);
    let snapshot = in_store(&tools.path);
    let below =
        |sub: &BString| if sub.is_empty() { snapshot.clone() } else { format!("{snapshot}/{}", text::from_bytes(sub)) };
    let pairs = |map: &BTreeMap<BString, BString>| {
        map.iter().map(|(k, v)| (text::from_bytes(k), text::from_bytes(v))).collect()
    };
    let writes = output_names(recipe.outputs.len())
        .zip(&recipe.outputs)
        .chain(recipe.depfile.iter().map(|path| (output("dep"), path)));
    let manifest = Manifest {
        abi: ABI,
        commands: recipe.commands.clone(),
        directories: inputs.directories.iter().map(|path| text::from_bytes(path)).collect(),
        name: name.to_string(),
        env: pairs(&recipe.env),
        files: recipe
            .response
            .iter()
            .map(|(path, content)| (text::from_bytes(path), text::from_bytes(content)))
            .collect(),
        inputs: inputs.files.iter().map(|(at, path)| (text::from_bytes(at), in_store(path))).collect(),
        rest: text::from_bytes(&recipe.build_directory),
        tools: tools.mounts.iter().map(|(at, sub)| (text::from_bytes(at), below(sub))).collect(),
        links: pairs(&tools.links),
        writes: writes.clone().map(|(name, path)| (name.to_string(), text::from_bytes(path))).collect(),
        outputs: BTreeMap::new(),
    };
    let json = serde_json::to_vec(&manifest).expect("a manifest is plain data");
    let floating = || DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
    let names = writes.map(|(name, _)| name).chain(["log", "rest"].map(output));
    Derivation {
        name,
        outputs: names.map(|name| (name, floating())).collect(),
        input_drvs: BTreeMap::new(),
        input_srcs: inputs.files.values().chain([&tools.path, runner]).cloned().collect(),
        system: SYSTEM.into(),
        builder: in_store(runner).into(),
        args: Vec::new(),
        env: BTreeMap::from([("__json".into(), json.into())]),
    }
}

const SYSTEM: &str = if cfg!(target_arch = "aarch64") { "aarch64-linux" } else { "x86_64-linux" };

/// `o0`, `o1`, … for `count` declared outputs.
pub fn output_names(count: usize) -> impl Iterator<Item = OutputName> + Clone {
    (0..count).map(|i| output(&format!("o{i}")))
}

/// The output of a name that this module gives.
pub fn output(name: &str) -> OutputName {
    name.parse().expect("our own names are valid")
}

/// The manifest's form of a plain command, with what CMake's and Meson's helpers do understood.
pub fn steps(simples: &[crate::shell::Simple], build_directory: &BStr) -> Vec<Step> {
    simples.iter().map(|simple| step(simple, build_directory)).collect()
}

fn step(simple: &crate::shell::Simple, build_directory: &BStr) -> Step {
    let cwd = crate::graph::absolute(simple.directory.as_bstr(), build_directory);
    let at = |path: &BString| text::from_bytes(&crate::graph::absolute(path.as_bstr(), cwd.as_bstr()));
    let words: Vec<&[u8]> = simple.argv.iter().map(|word| word.as_slice()).collect();
    let program = words[0].rsplit_str("/").next().unwrap_or(words[0]);
    match (program, &words[1..]) {
        (b"cmake", [b"-E", b"rm", b"-f", rest @ ..]) | (b"rm", [b"-f", rest @ ..])
            if rest.iter().all(|word| !word.starts_with(b"-")) =>
        {
            Step::Remove(rest.iter().map(|path| at(&BString::from(*path))).collect())
        }
        (b"cmake", [b"-E", b"cmake_symlink_library", real, soname, name]) => {
            let base = |path: &[u8]| text::from_bytes(path.rsplit_str("/").next().unwrap_or(path));
            let pairs = [(soname, real), (name, soname)].into_iter().filter(|(link, target)| link != target);
            Step::Link(pairs.map(|(link, target)| (at(&BString::from(*link)), base(target))).collect())
        }
        _ => Step::Run {
            argv: simple.argv.iter().map(|word| text::from_bytes(word)).collect(),
            cwd: text::from_bytes(&cwd),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::{Script, parse};

    fn understood(text: &str) -> Vec<Step> {
        match parse(text.into()) {
            Script::Plain(simples) => steps(&simples, "/b".into()),
            Script::Shell => panic!("`{text}` is plain"),
        }
    }

    #[test]
    fn links_of_a_shared_library_need_no_cmake() {
        assert_eq!(
            understood("/usr/bin/cmake -E cmake_symlink_library d/l.so.1.2 d/l.so.1 d/l.so && :"),
            [Step::Link(vec![("/b/d/l.so.1".into(), "l.so.1.2".into()), ("/b/d/l.so".into(), "l.so.1".into())])]
        );
    }

    #[test]
    fn an_archive_is_removed_before_it_is_made_anew() {
        let run =
            |words: &[&str]| Step::Run { argv: words.iter().map(ToString::to_string).collect(), cwd: "/b".into() };
        assert_eq!(
            understood(": && /usr/bin/cmake -E rm -f l.a && /usr/bin/ar qc l.a a.o && /usr/bin/ranlib l.a && :"),
            [
                Step::Remove(vec!["/b/l.a".into()]),
                run(&["/usr/bin/ar", "qc", "l.a", "a.o"]),
                run(&["/usr/bin/ranlib", "l.a"])
            ]
        );
    }
}
