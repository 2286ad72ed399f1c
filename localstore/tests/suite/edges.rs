//! Edges: what the runner makes of a manifest.

use crate::kit::{Kit, not_run, plain_kit, runner};
use localstore::runner::Network;
use nixstore::hash::Algorithm;
use nixstore::manifest::{ABI, Manifest, Reads, Run, Step, UNWRITTEN};
use nixstore::store::{BuildOptions, Built, Failure, RealiseError};
use nixstore::{Derivation, DerivationOutput, Method, ResolvedDerivation, Store as _, StoreDir, StorePath, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

/// A store with the runner in it, and a shell and Perl as the toolchain.
pub struct Edges {
    pub kit: Kit,
    runner: StorePath,
    tools: StorePath,
}

pub fn edges() -> Edges {
    let kit = plain_kit();
    let runner = kit.store().install_runner(&runner()).unwrap();
    let tools = kit.store().add_path(&"tools".parse().unwrap(), &tools(kit.scratch())).unwrap().path;
    Edges { kit, runner, tools }
}

/// A directory with `usr/bin/sh`, `usr/bin/perl` and what they need.
fn tools(directory: &Path) -> PathBuf {
    let at = directory.join("tools");
    let programs = ["/bin/sh", "/usr/bin/perl"];
    let listed = Command::new("ldd").args(programs).output().expect("ldd starts");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries =
        listed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(Path::new);
    for file in libraries.chain(programs.map(Path::new)) {
        let below = file.strip_prefix("/usr").or_else(|_| file.strip_prefix("/")).unwrap();
        let to = at.join("usr").join(below);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    at
}

impl Edges {
    /// An edge whose command is a script in the build directory `/src/build`, with the output `o0` at `out` there, and the
    /// input `/src/in`.
    fn edge(&self, script: &str) -> ResolvedDerivation {
        self.edge_with(script, |_| {})
    }

    /// The same with another manifest.
    pub fn edge_with(&self, script: &str, change: impl FnOnce(&mut Manifest)) -> ResolvedDerivation {
        let dir = StoreDir::default();
        let input = self.kit.add("in", "input\n");
        let mut manifest = Manifest {
            abi: ABI,
            commands: vec![Step::Run(Run {
                argv: ["sh", "-c", script].map(String::from).into(),
                cwd: "/src/build".into(),
                ..Run::default()
            })],
            directories: Vec::new(),
            name: "edge".into(),
            env: [("PATH".into(), "/usr/bin".into())].into(),
            files: BTreeMap::new(),
            inputs: [("/src/in".into(), dir.print(&input.path))].into(),
            rest: "/src/build".into(),
            tools: [("/usr".into(), format!("{}/usr", dir.print(&self.tools)))].into(),
            links: ["bin", "lib", "lib64"].map(|name| (format!("/{name}"), format!("usr/{name}"))).into(),
            writes: [("o0".into(), "/src/build/out".into())].into(),
            traced: false,
            trial: 0,
            copied: false,
            names: Vec::new(),
            in_place: false,
            offline: false,
            native: None,
            outputs: BTreeMap::new(),
        };
        change(&mut manifest);
        let reads = manifest.traced.then_some("reads");
        let floating = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
        let drv = Derivation {
            name: "edge".parse().unwrap(),
            outputs: ["log", "rest"]
                .into_iter()
                .chain(reads)
                .chain(manifest.writes.keys().map(String::as_str))
                .map(|name| (name.parse().unwrap(), floating.clone()))
                .collect(),
            input_drvs: BTreeMap::new(),
            input_srcs: [input.path, self.tools.clone(), self.runner.clone()].into(),
            system: format!("{}-linux", std::env::consts::ARCH),
            builder: dir.print(&self.runner).into(),
            args: Vec::new(),
            // In lines, as others than us may write it.
            env: [("__json".into(), serde_json::to_vec_pretty(&manifest).unwrap().into())].into(),
        };
        drv.try_into().unwrap()
    }

    fn run(&self, script: &str) -> Result<Built, RealiseError> {
        let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
        self.kit.store().realise(&self.edge(script), &options)
    }

    /// The outputs `o0`, `log` and `rest` of a command that succeeds.
    fn outputs(&self, script: &str) -> [Tree; 3] {
        let built = self.run(script).unwrap_or_else(|error| panic!("{error:?}"));
        ["o0", "log", "rest"].map(|name| {
            let info = &built.outputs[&name.parse().unwrap()];
            let at = self.kit.physical(&info.path);
            assert_eq!(nixstore::nar::nar_hash(&at).unwrap(), (info.nar_hash, info.nar_size), "{name}");
            Tree::read(&at).unwrap()
        })
    }

    /// What a traced edge did with files below `/src`.
    fn reads(&self, drv: &ResolvedDerivation) -> Reads {
        let mut reads = self.all_reads(drv);
        for list in [&mut reads.files, &mut reads.directories, &mut reads.looked, &mut reads.absent] {
            list.retain(|path| path.starts_with("/src/"));
        }
        reads
    }

    fn all_reads(&self, drv: &ResolvedDerivation) -> Reads {
        let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
        let built = self.kit.store().realise(drv, &options).unwrap_or_else(|error| panic!("{error:?}"));
        let reads = fs::read(self.kit.physical(&built.outputs[&"reads".parse().unwrap()].path)).unwrap();
        serde_json::from_slice(&reads).unwrap()
    }

    fn failure(&self, script: &str) -> (Failure, String) {
        match self.run(script) {
            Err(RealiseError::Failed { reason, log }) => (reason, String::from_utf8(log).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn empty() -> Tree {
    Tree::directory::<&str>([])
}

#[test]
fn an_edge_runs_in_the_sandbox_that_was_begun_for_it() {
    if !Path::new(CHILDREN).exists() {
        return not_run("an_edge_runs_in_the_sandbox_that_was_begun_for_it", "the kernel does not list children");
    }
    let mut edges = edges();
    let before = children();
    edges.kit.reopen_expecting(Network::Own, None);
    edges.kit.store().install_runner(&runner()).unwrap();
    let begun = children();
    for text in ["one", "two"] {
        let outputs = edges.outputs(&format!("read line < ../in; echo $line {text} > out"));
        assert_eq!(outputs[0], Tree::file(format!("input {text}\n")));
    }
    assert_eq!((before.len(), begun.len()), (0, 1));
    edges.kit.close();
    assert_eq!((children().len(), edges.kit.leftovers()), (0, Vec::new()));
}

#[test]
fn an_edge_without_a_network_can_make_no_socket() {
    let edges = edges();
    // Of the host (AF_UNIX, by names that are no files), of the Internet, of the kernel (AF_NETLINK).
    let script = "perl -e 'for (1, 2, 10, 16) { print socket(my $s, $_, 3, 0) ? qq{$_\\n} : qq{$_ $!\\n} }'";
    for (offline, made) in [(true, false), (false, true)] {
        let drv = edges.edge_with(&format!("{script} > out"), |manifest| manifest.offline = offline);
        let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
        let built = edges.kit.store().realise(&drv, &options).unwrap_or_else(|error| panic!("{error:?}"));
        let out = fs::read_to_string(edges.kit.physical(&built.outputs[&"o0".parse().unwrap()].path)).unwrap();
        let refused = out.lines().filter(|line| line.ends_with("Address family not supported by protocol")).count();
        assert_eq!(
            (out.lines().count(), refused == 4, out.lines().any(|line| line == "16")),
            (4, !made, made),
            "{out}"
        );
    }
}

#[test]
fn a_sandbox_for_which_no_edge_has_come_is_taken_away() {
    if !Path::new(CHILDREN).exists() {
        return not_run("a_sandbox_for_which_no_edge_has_come_is_taken_away", "the kernel does not list children");
    }
    let mut edges = edges();
    edges.kit.reopen_expecting(Network::None, None);
    edges.kit.store().install_runner(&runner()).unwrap();
    assert_eq!(children().len(), 1);
    // It has another network.
    assert_eq!(edges.failure("echo no; exit 3"), (Failure::Exit(3), "no\n".into()));
    edges.kit.reopen_expecting(Network::None, None);
    assert_eq!(children().len(), 1);
    edges.kit.close();
    assert_eq!((children().len(), edges.kit.leftovers()), (0, Vec::new()));
}

/// Where the kernel lists the processes that a thread has started, see proc(5).
const CHILDREN: &str = "/proc/thread-self/children";

fn children() -> BTreeSet<String> {
    let listed = fs::read_to_string(CHILDREN).expect("it was there");
    listed.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn an_edge_that_says_nothing_has_an_empty_log_and_no_other_files() {
    let edges = edges();
    for text in ["one", "two"] {
        let outputs = edges.outputs(&format!("read line < ../in; echo $line {text} > out"));
        assert_eq!(outputs, [Tree::file(format!("input {text}\n")), Tree::file(""), empty()]);
    }
    assert!(edges.kit.store().verify().unwrap().is_good());
}

#[test]
fn a_program_reads_and_writes_the_files_that_are_its_standard_streams() {
    let edges = edges();
    let run = |stdin: Option<&str>| {
        edges.edge_with("", |manifest| {
            manifest.commands = vec![Step::Run(Run {
                argv: ["sh", "-c", "while read line; do echo $line; done; echo said; echo warned >&2"]
                    .map(String::from)
                    .into(),
                cwd: "/src/build".into(),
                stdin: stdin.map(String::from),
                stdout: Some("/src/build/out".into()),
            })];
        })
    };
    let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
    let realise = |stdin| edges.kit.store().realise(&run(stdin), &options);
    for (stdin, text) in [(None, "said\n"), (Some("/src/in"), "input\nsaid\n")] {
        let built = realise(stdin).unwrap_or_else(|error| panic!("{error:?}"));
        let output = |name: &str| Tree::read(&edges.kit.physical(&built.outputs[&name.parse().unwrap()].path)).unwrap();
        assert_eq!([output("o0"), output("log")], [Tree::file(text), Tree::file("warned\n")]);
    }
    let Err(RealiseError::Failed { log, .. }) = realise(Some("/src/none")) else { panic!("it has no input") };
    assert_eq!(log, b"splitter: cannot open `/src/none`: No such file or directory (os error 2)\n");
}

#[test]
fn what_an_edge_prints_and_writes_besides_are_outputs() {
    let edges = edges();
    let outputs = edges.outputs("echo note; echo warning >&2; echo > out; echo more > by-the-way");
    let rest = Tree::directory([("by-the-way", Tree::file("more\n"))]);
    assert_eq!(outputs, [Tree::file("\n"), Tree::file("note\nwarning\n"), rest]);
    // The next one starts with nothing of it.
    assert_eq!(edges.outputs("echo > out"), [Tree::file("\n"), Tree::file(""), empty()]);
}

#[test]
fn an_edge_that_fails_tells_what_it_printed_and_leaves_nothing_to_the_next() {
    let edges = edges();
    let (reason, log) = edges.failure("echo error; echo > out; exit 4");
    assert_eq!((reason, log.as_str()), (Failure::Exit(4), "error\n"));
    let (reason, log) = edges.failure("echo x > ../in");
    assert_eq!(reason, Failure::Exit(2));
    assert!(log.contains("Permission denied"), "{log}");
    assert_eq!(edges.outputs("echo > out")[1], Tree::file(""));
}

#[test]
fn an_output_that_is_not_written_is_marked() {
    let edges = edges();
    let outputs = edges.outputs("echo note");
    assert_eq!(outputs, [Tree::Symlink(UNWRITTEN.into()), Tree::file("note\n"), empty()]);
}

/// A traced edge; `inputs` are files with the content of `/src/in`.
fn traced(edges: &Edges, script: &str, inputs: &[&str]) -> ResolvedDerivation {
    edges.edge_with(script, |manifest| {
        let input = manifest.inputs["/src/in"].clone();
        manifest.inputs.extend(inputs.iter().map(|at| (at.to_string(), input.clone())));
        manifest.files.insert("/src/build/script".into(), ": nothing\n".into());
        manifest.traced = true;
    })
}

#[test]
fn a_traced_edge_says_what_it_opened_and_listed() {
    let script = "read line < ../in; read line < in; for f in listed/*; do :; done; . ./script; echo > out";
    let inputs = ["/src/build/in", "/src/build/unread", "/src/build/listed/a", "/src/build/unlisted/b"];
    let edges = edges();
    let reads = edges.reads(&traced(&edges, script, &inputs));
    assert_eq!(reads.files, ["/src/build/in", "/src/build/script", "/src/in"]);
    assert_eq!(reads.directories, ["/src/build/listed"]);
    assert_eq!(reads.written, ["/src/build/out"]);
}

#[test]
fn what_lies_in_memory_is_a_file_and_what_the_kernel_has_beside_it_is_none() {
    let edges = edges();
    let script = "read line < /dev/shm/project/in; test -e /dev/shm/project/none; read line < /dev/null; echo > out";
    let reads = edges.all_reads(&traced(&edges, script, &["/dev/shm/project/in"]));
    let of_devices =
        |paths: &[String]| -> Vec<String> { paths.iter().filter(|path| path.starts_with("/dev/")).cloned().collect() };
    assert_eq!(of_devices(&reads.files), ["/dev/shm/project/in"]);
    assert_eq!(of_devices(&reads.absent), ["/dev/shm/project/none"]);
}

#[test]
fn a_traced_edge_says_what_it_looked_for() {
    let script = "test -e in; test -e none || :; test -d dir/sub; . ./dir/../script; read x < nothing/at/all || :; \
                  echo > out";
    let edges = edges();
    let reads = edges.reads(&traced(&edges, script, &["/src/build/in", "/src/build/dir/sub/x"]));
    assert_eq!(reads.looked, ["/src/build/dir", "/src/build/dir/sub", "/src/build/in"]);
    assert_eq!(reads.absent, ["/src/build/none", "/src/build/nothing/at/all"]);
    assert_eq!(reads.files, ["/src/build/script"]);
}

#[test]
fn a_traced_program_that_looks_for_itself_does_not_find_the_runner() {
    let edges = edges();
    let mut reads = edges.all_reads(&traced(&edges, "test -e /proc/self/exe && echo > out", &[]));
    for list in reads.lists() {
        assert!(!list.iter().any(|path| path.contains("runner")), "{list:?}");
    }
}

#[test]
fn static_programs_their_threads_children_and_own_files_are_told_apart() {
    let edges = edges();
    let program = edges.kit.scratch().join("probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/traced.c");
    let cc = Command::new("cc").args(["-static", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(cc.expect("cc starts").success());
    let probe = edges.kit.store().add_path(&"probe".parse().unwrap(), &program).unwrap().path;
    let drv = edges.edge_with("./probe && echo > out", |manifest| {
        let input = manifest.inputs["/src/in"].clone();
        let files = ["in", "by-child", "by-stat", "unread", "dir/by-thread"];
        manifest.inputs.extend(files.map(|at| (format!("/src/build/{at}"), input.clone())));
        manifest.inputs.insert("/src/build/probe".into(), StoreDir::default().print(&probe));
        manifest.traced = true;
    });
    let reads = edges.reads(&drv);
    let files = ["by-child", "dir/by-thread", "in", "probe"].map(|name| format!("/src/build/{name}"));
    assert_eq!(reads.files, files);
    assert_eq!(reads.looked, ["/src/build/by-stat", "/src/build/dir"]);
    assert_eq!(reads.absent, [""; 0]);
    assert_eq!(reads.written, ["/src/build/made", "/src/build/moved", "/src/build/out"]);
    assert_eq!(reads.overwritten, ["/src/build/in"]);
    assert!(!reads.incomplete);
}

#[test]
fn an_edge_sees_its_inputs_and_tools_and_nothing_else() {
    let edges = edges();
    let [seen, ..] =
        edges.outputs("for f in /nix /src/* /src/build/* /bin/* /home /root; do test -e $f && echo $f; done > out; :");
    assert_eq!(seen, Tree::file("/src/build\n/src/in\n/src/build/out\n/bin/perl\n/bin/sh\n"));
}
