//! Ninja's logs, beside those that Ninja 1.13.2 wrote (`logs/`) and before Ninja itself.

mod kit;

use bstr::{BStr, ByteSlice as _};
use ninja2drv::logs::{self, BUILD_LOG, BuildLog, DEPS_LOG, DepsLog, Entry, command_hash};
use ninja2drv::manifest::Manifest;
use ninja2drv::tools;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_hash_of_a_command_is_the_one_that_ninja_writes() {
    let hashes = hashes(&manifest());
    let log = BuildLog::read(&vector("ninja_log"));
    assert_eq!(log.problem, None);
    let theirs = log.log.iter().map(|(output, entry)| (output.to_string(), entry.command_hash)).collect();
    assert_eq!(hashes, theirs);
}

#[test]
fn the_build_log_that_we_write_is_the_one_that_ninja_writes_anew() {
    let log = BuildLog::read(&vector("ninja_log")).log;
    let made =
        Entry { start_ms: 0, end_ms: 125, mtime_ns: 1_795_336_645_128_419_900, command_hash: 0x1aa0_745d_0de3_92a3 };
    assert_eq!(log.get("main.o".into()), Some(&made));
    assert_eq!(log.write().as_bstr(), vector("ninja_log.recompacted").as_bstr());
}

#[test]
fn the_deps_log_that_we_write_is_the_one_that_ninja_writes_anew() {
    let read = DepsLog::read(&vector("ninja_deps"));
    assert_eq!(read.problem, None);
    let mut told = String::new();
    for (output, deps) in read.log.iter() {
        writeln!(told, "{output}: #deps {}, deps mtime {} (VALID)", deps.paths().len(), deps.mtime_ns()).unwrap();
        deps.paths().for_each(|path| writeln!(told, "    {path}").unwrap());
        told.push('\n');
    }
    assert_eq!(told.as_bytes().as_bstr(), vector("deps").as_bstr());
    assert_eq!(read.log.write(), vector("ninja_deps.recompacted"));
}

#[test]
fn ninja_has_no_work_where_our_logs_say_so() {
    if !kit::has_ninja_1_13() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::copy(vectors().join("build.ninja"), root.join("build.ninja")).unwrap();
    for source in ["main.c", "main.h", "part.c", "header", "text"] {
        std::fs::write(root.join(source), source).unwrap();
    }
    let (mut log, mut deps) = (BuildLog::default(), DepsLog::default());
    for output in
        ["settled.h", "main.o", "part.o", "libboth.a", "first.txt", "second half.txt", "copied", "configured", "empty"]
    {
        std::fs::write(root.join(output), output).unwrap();
        let metadata = root.join(output).metadata().unwrap();
        let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        let command_hash = hashes(&manifest())[output];
        log.insert(output.into(), Entry { start_ms: 0, end_ms: 1, mtime_ns, command_hash });
        if output.ends_with(".o") {
            deps.insert(output.into(), mtime_ns, ["main.h", "header"].map(BStr::new));
        }
    }
    std::fs::write(root.join(BUILD_LOG), log.write()).unwrap();
    std::fs::write(root.join(DEPS_LOG), deps.write()).unwrap();
    assert_eq!(ninja(root, &["-d", "explain"]), "ninja: no work to do.\n");

    std::fs::write(root.join("main.h"), "another").unwrap();
    let said = ninja(root, &["-n"]);
    assert!(said.contains("-c main.c") && said.contains("-c part.c") && !said.contains("text"), "{said}");
}

#[test]
fn a_log_lies_where_the_manifest_wants_it() {
    assert_eq!(logs::path(None, BUILD_LOG), ".ninja_log");
    assert_eq!(logs::path(Some("".into()), BUILD_LOG), ".ninja_log");
    assert_eq!(logs::path(Some("out".into()), DEPS_LOG), "out/.ninja_deps");
}

/// All that Ninja says.
fn ninja(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("ninja").args(arguments).current_dir(directory).output().unwrap();
    [output.stdout, output.stderr].concat().to_str_lossy().into_owned()
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(vectors().join(name)).unwrap()
}

fn manifest() -> Manifest {
    tools::read("build.ninja".into(), &mut |name| Ok(vector(&name.to_string()))).unwrap()
}

/// Of the commands of all outputs.
fn hashes(manifest: &Manifest) -> BTreeMap<String, u64> {
    let graph = &manifest.graph;
    let edges = graph.edges().filter(|(_, edge)| !edge.phony);
    let hashes = edges.flat_map(|(id, edge)| {
        let hash = command_hash(&graph.command(id));
        edge.outputs.iter().map(move |output| (graph.file(*output).path.to_string(), hash))
    });
    hashes.collect()
}
