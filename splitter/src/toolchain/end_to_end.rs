//! Real snapshots of this machine, in a store in memory, and programs that run in them with nothing else.
//!
//! Running in one needs user namespaces and util-linux's `unshare`.

use super::host::Host;
use super::listing::Listing;
use super::snapshot::{places, write_tree};
use super::*;
use nixstore::memory_store::MemoryStore;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const SEARCH_PATH: &str = "/usr/bin:/bin";

fn request(programs: &[&str], files: &[&str]) -> Request {
    Request {
        programs: programs.iter().map(PathBuf::from).collect(),
        files: files.iter().map(PathBuf::from).collect(),
        shell: false,
        search_path: SEARCH_PATH.into(),
    }
}

struct Scene {
    directory: tempfile::TempDir,
    store: Arc<MemoryStore>,
}

impl Scene {
    /// `None`, said aloud, where one of `needed` is missing.
    fn with(needed: &[&str]) -> Option<Self> {
        if let Some(missing) = needed.iter().find(|path| !Path::new(path).exists()) {
            eprintln!("not run: there is no `{missing}`");
            return None;
        }
        let store = MemoryStore::new(|_| Ok(BTreeMap::new())).expect("a store");
        Some(Self { directory: tempfile::tempdir().expect("temporary directory"), store: Arc::new(store) })
    }

    fn toolchains(&self) -> Toolchains {
        let path = self.directory.path();
        Toolchains::new(self.store.clone(), &path.join("cache"), &path.join("scratch"))
    }

    fn snapshot(&self, request: &Request) -> Arc<Snapshot> {
        let start = Instant::now();
        let snapshot = self.toolchains().snapshot(request).expect("a snapshot");
        eprintln!(
            "{:?}: {} packages, {} loose files, {} trees; {:.1} MB, {} files, made in {:?}, in all {:?}; notes {:?}",
            request.programs,
            snapshot.selection.packages.len(),
            snapshot.selection.files.len(),
            snapshot.selection.trees.len(),
            snapshot.bytes as f64 / 1e6,
            snapshot.files,
            snapshot.made_in,
            start.elapsed(),
            snapshot.notes,
        );
        snapshot
    }

    fn run(&self, snapshot: &Snapshot, script: &[&[&str]]) -> Option<Vec<String>> {
        let files = nixstore::Store::files(&*self.store, &snapshot.info.path).expect("a snapshot has files");
        run_in(&files, &snapshot.places, script)
    }
}

/// Runs each command in a root with the parts of the snapshot, `/dev/null`, `/proc` and a writable `/tmp` that they share. Gives
/// what each printed; `None`, said aloud, where namespaces are refused.
fn run_in(tree: &Path, places: &Places, commands: &[&[&str]]) -> Option<Vec<String>> {
    let directory = tempfile::tempdir().expect("temporary directory");
    for name in ["root", "work"] {
        std::fs::create_dir(directory.path().join(name)).expect("make");
    }
    let quote = |path: &Path| format!("'{}'", path.display());
    let inside = |path: &Path| Path::new(".").join(path.strip_prefix("/").expect("it is absolute"));
    let mut setup = String::from(
        "set -e\nmount -t tmpfs none root\ncd root\nmkdir tmp dev proc\nmount --rbind /proc proc\n: > dev/null\n\
         mount --bind /dev/null dev/null\nmount --bind ../work tmp\n",
    );
    for mount in &places.mounts {
        let (source, at) = (tree.join(&mount.source_sub), inside(&mount.at));
        setup += &if source.is_dir() {
            format!("mkdir -p {}\n", quote(&at))
        } else {
            format!("mkdir -p {}; : > {}\n", quote(at.parent().expect("it has one")), quote(&at))
        };
        setup += &format!("mount --rbind {} {}\n", quote(&source), quote(&at));
    }
    for (link, text) in &places.links {
        let at = inside(link);
        setup +=
            &format!("mkdir -p {}; ln -s {} {}\n", quote(at.parent().expect("it has one")), quote(text), quote(&at));
    }
    setup += "exec chroot . \"$@\"\n";
    let mut outputs = Vec::new();
    for command in commands {
        let output = Command::new("unshare")
            .args(["--mount", "--map-root-user", "--net", "--ipc", "sh", "-c", &setup, "sh"])
            .args(*command)
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .expect("unshare starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if error.starts_with("unshare:") {
            eprintln!("not run: {error}");
            return None;
        }
        assert!(output.status.success(), "{command:?}: {error}\n{}", String::from_utf8_lossy(&output.stdout));
        outputs.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Some(outputs)
}

/// Writes a program, compiles, links and runs it.
const C: &str = "printf '#include <stdio.h>\\nint main(void) { return printf(\"hello C\\\\n\") < 0; }' > /tmp/a.c; cc -O2 /tmp/a.c -o /tmp/a -lm && /tmp/a";
const CXX: &str = "printf '#include <vector>\\n#include <iostream>\\nint main() { std::vector<int> v(3); std::cout << \"hello C++ \" << v.size() << std::endl; }' > /tmp/a.cc; c++ -O2 -flto /tmp/a.cc -o /tmp/b && /tmp/b";

#[test]
fn a_c_program_is_compiled_and_run_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/cc", "/usr/include/stdio.h", "/usr/bin/unshare"]) else { return };
    let compile = request(&["/usr/bin/cc"], &["/usr/include/stdio.h"]);
    scene.snapshot(&compile);
    let snapshot = scene.snapshot(&Request { shell: true, ..compile });
    if let Some(outputs) = scene.run(&snapshot, &[&["/bin/sh", "-c", C]]) {
        assert_eq!(outputs, ["hello C\n"]);
    }
}

#[test]
fn a_compiler_searches_where_it_searches_outside() {
    let Some(scene) = Scene::with(&["/usr/bin/cc", "/usr/include/stdio.h", "/usr/bin/unshare"]) else { return };
    let compile = request(&["/usr/bin/cc"], &["/usr/include/stdio.h"]);
    let snapshot = scene.snapshot(&Request { shell: true, ..compile });
    let searched = |text: &[u8]| crate::discover::compile::searched(text);
    let ask = "cc -E -v -x c /dev/null 2>&1";
    let outside = Command::new("/bin/sh").args(["-c", ask]).env("LC_ALL", "C").output().expect("a shell starts").stdout;
    if let Some(outputs) = scene.run(&snapshot, &[&["/bin/sh", "-c", ask]]) {
        assert_eq!(searched(outputs[0].as_bytes()), searched(&outside));
    }
}

#[test]
fn a_cxx_program_is_compiled_and_run_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/c++", "/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&Request { shell: true, ..request(&["/usr/bin/c++"], &[]) });
    if let Some(outputs) = scene.run(&snapshot, &[&["/bin/sh", "-c", CXX]]) {
        assert_eq!(outputs, ["hello C++ 3\n"]);
    }
}

#[test]
fn a_compiler_without_packages_is_followed_far_enough_to_compile() {
    let Some(scene) = Scene::with(&["/usr/bin/cc", "/usr/bin/unshare"]) else { return };
    let host = Host::without_packages();
    // What a scan of the source would find.
    let preprocessed = Command::new("cc")
        .args(["-O2", "-E", "-M", "-include", "stdio.h", "-x", "c", "/dev/null"])
        .output()
        .expect("cc starts");
    let headers = String::from_utf8_lossy(&preprocessed.stdout).replace("\\\n", " ");
    let files = headers.split_whitespace().filter(|word| word.starts_with("/usr")).map(PathBuf::from).collect();
    let request = Request { files, shell: true, ..request(&["/usr/bin/cc"], &[]) };
    let (selection, notes) = select(&request, &host).expect("a selection");
    let listing = Listing::new(&selection, &host);
    let tree = scene.directory.path().join("tree");
    write_tree(&listing, &tree).expect("it can be written");
    let (files, bytes) = listing.size();
    eprintln!("loose cc: {:.1} MB, {files} files; notes {notes:?}", bytes as f64 / 1e6);
    if let Some(outputs) = run_in(&tree, &places(&tree).expect("it can be listed"), &[&["/bin/sh", "-c", C]]) {
        assert_eq!(outputs, ["hello C\n"]);
    }
}

#[test]
fn an_archiver_runs_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/ar", "/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&request(&["/usr/bin/ar"], &[]));
    if let Some(outputs) = scene.run(&snapshot, &[&["ar", "--version"]]) {
        assert!(outputs[0].contains("ar"));
    }
}

#[test]
fn cmake_runs_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/cmake", "/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&request(&["/usr/bin/cmake"], &[]));
    if let Some(outputs) = scene.run(&snapshot, &[&["cmake", "--version"], &["cmake", "-E", "touch", "/tmp/x"]]) {
        assert!(outputs[0].contains("cmake version"));
    }
}

#[test]
fn meson_runs_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/meson", "/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&request(&["/usr/bin/meson"], &[]));
    scene.run(&snapshot, &[&["meson", "--version"]]);
}

const IMPORTS: &str =
    "import json, ssl, subprocess, zlib, sysconfig; print(json.dumps(1)); subprocess.check_call('exit 0', shell=True)";

#[test]
fn python_of_a_package_runs_with_nothing_else() {
    let Some(scene) = Scene::with(&["/usr/bin/python3", "/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&request(&["/usr/bin/python3"], &[]));
    if let Some(outputs) = scene.run(&snapshot, &[&["/usr/bin/python3", "-c", IMPORTS]]) {
        assert_eq!(outputs, ["1\n"]);
    }
}

#[test]
fn python_without_a_package_runs_with_nothing_else() {
    let versions = std::env::home_dir().unwrap_or_default().join(".pyenv/versions");
    let mut pythons: Vec<PathBuf> = std::fs::read_dir(versions)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/python3")).filter(|path| path.exists()))
        .collect();
    pythons.sort();
    let Some(python) = pythons.last().and_then(|path| path.to_str()) else {
        eprintln!("not run: there is no Python but the packaged one");
        return;
    };
    let Some(scene) = Scene::with(&["/usr/bin/unshare"]) else { return };
    let snapshot = scene.snapshot(&request(&[python], &[]));
    eprintln!("{:?}", snapshot.places);
    if let Some(outputs) = scene.run(&snapshot, &[&[python, "-c", IMPORTS]]) {
        assert_eq!(outputs, ["1\n"]);
    }
}

#[test]
fn a_second_run_knows_the_snapshot_without_making_it() {
    let Some(scene) = Scene::with(&["/usr/bin/ar", "/usr/bin/cc", "/var/lib/dpkg/status"]) else { return };
    let request = request(&["/usr/bin/ar", "/usr/bin/cc"], &["/usr/include/stdio.h"]);
    let first = scene.toolchains();
    let made = first.snapshot(&request).expect("a snapshot");
    assert!(made.made_in.is_some());
    let probes = first.probes();
    assert!(probes.iter().all(Probe::holds));
    assert!(probes.len() < 30, "{probes:?}");
    first.save().expect("it can be saved");

    let second = scene.toolchains();
    let start = Instant::now();
    let known = second.snapshot(&request).expect("a snapshot");
    eprintln!("a second run answers in {:?}, {} probes", start.elapsed(), probes.len());
    assert_eq!((known.made_in, &known.info.path), (None, &made.info.path));
    assert_eq!(known.probes, made.probes);
    let start = Instant::now();
    for _ in 0..1000 {
        second.snapshot(&request).expect("a snapshot");
    }
    eprintln!("and again in {:?}", start.elapsed() / 1000);
}

#[test]
fn equal_requests_at_once_make_one_snapshot() {
    let Some(scene) = Scene::with(&["/usr/bin/ar"]) else { return };
    let toolchains = scene.toolchains();
    let request = request(&["/usr/bin/ar"], &[]);
    let snapshots: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| toolchains.snapshot(&request).expect("a snapshot"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(snapshots.iter().all(|snapshot| Arc::ptr_eq(snapshot, &snapshots[0])));
}

#[test]
fn a_tool_that_changes_gets_a_new_snapshot_and_changed_back_the_old_one() {
    let Some(scene) = Scene::with(&["/bin/ls", "/bin/cat"]) else { return };
    let directory = tempfile::tempdir().expect("temporary directory");
    let tool = directory.path().canonicalize().expect("it exists").join("tool");
    let request = request(&[tool.to_str().expect("text")], &[]);
    let snapshot = |from: &str| {
        std::fs::copy(from, &tool).expect("copy");
        // A identity stands for a content only when the clock has gone on.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let toolchains = scene.toolchains();
        let snapshot = toolchains.snapshot(&request).expect("a snapshot");
        toolchains.save().expect("it can be saved");
        snapshot
    };
    let (one, two, three) = (snapshot("/bin/ls"), snapshot("/bin/cat"), snapshot("/bin/ls"));
    assert_ne!(one.info.path, two.info.path);
    assert_eq!(one.info.path, three.info.path);
    assert!(!one.probes.iter().all(Probe::holds));
    assert!(three.probes.iter().all(Probe::holds));
}
