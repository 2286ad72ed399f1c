//! What a build by a Nix daemon costs beside what the daemon itself takes for it.

use crate::{Bench, Samples, generate, limited, remove};
use bstr::{BStr, BString, ByteSlice as _};
use ninja2drv::manifest;
use nixstore::daemon::operation::{BuildDerivation, BuildMode, SetOptions};
use nixstore::daemon::transport::connect;
use nixstore::daemon::{Connection, ConnectionOptions, Wait};
use nixstore::daemon_store::{Address, DaemonOptions, DaemonStore};
use nixstore::path::StoreName;
use nixstore::store::{BuildOptions, Built, Outputs, RealiseError, StoreError};
use nixstore::{PathInfo, ResolvedDerivation, Store, StoreDir, StorePath};
use splitter::discover::headers::Headers;
use splitter::drive::{Drive, Keep, Sandbox};
use splitter::host_tools::HostTools;
use splitter::outside::Asked;
use splitter::plan::Plan;
use splitter::roots::{Mode, Roots};
use splitter::state::Records;
use splitter::toolchain::Toolchains;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tests::checkout::done;
use tests::daemon::{Daemon, Nix, Setup};
use tests::program;

const RUNNER: &str = "splitter-runner";
const CA: Setup = Setup::new(Nix::Sid, true);
/// Without experimental features.
const STOCK: Setup = Setup::new(Nix::Sid, false);

/// All of it.
pub fn daemon(bench: &Bench) {
    println!("== through the newest Nix daemon");
    if let Err(reason) = Daemon::start(CA) {
        return println!("not run: {reason}");
    }
    let place = bench.place("daemon");
    sources(bench, &place.join("sources"));
    known(bench, &place.join("known"));
    edges(bench, &place.join("edges"));
    remove(&place);
}

/// Edges that do next to nothing, beside the same derivations submitted by a loop that does nothing else.
fn edges(bench: &Bench, place: &Path) {
    const EDGES: usize = 500;
    let build = place.join("build");
    generate(&build, EDGES, "daemon");
    generate(&place.join("tools"), 1, "tools");
    let derivations = record(&build, &place.join("recording"));
    let (mut ours, mut bare, mut stock) = (Samples::default(), Samples::default(), Samples::default());
    let mut peak = [0; 2];
    for turn in 0..bench.turns {
        let nix = start(CA);
        let home = place.join(format!("home-{turn}"));
        done(&mut ninja2drv(&nix, &home, &place.join("tools")));
        forget(&build);
        ours.time(|| peak = larger(peak, built(&nix, &home, &build, turn == 0)));
        let store = open(&nix);
        let is_made = |derivation| store.realised(derivation).expect("the daemon answers").is_some();
        assert!(derivations.iter().all(is_made), "ours were others");

        let other = start(CA);
        bring(&store, &open(&other), &derivations);
        bare.time(submitting(&other, &derivations));
    }
    let nix = start(STOCK);
    let home = place.join("home-stock");
    done(&mut ninja2drv(&nix, &home, &place.join("tools")));
    forget(&build);
    stock.time(|| drop(done(&mut ninja2drv(&nix, &home, &build))));
    let each = |samples: &Samples| samples.median() / EDGES as f64 * 1000.0;
    println!(
        "{EDGES} edges `cp`  {} / {} for {} derivations submitted bare = {}   (each {:.1} ms / {:.1} ms; without `ca-derivations` {:.1} ms)",
        ours.seconds(),
        bare.seconds(),
        derivations.len(),
        limited(ours.median() / bare.median(), 1.2),
        each(&ours),
        each(&bare),
        each(&stock),
    );
    let [sum, once] = peak.map(|kib| kib as f64 * 1024.0 / 1e6);
    println!(
        "memory of the daemon and its children: {} MB; {once:.1} MB with what they share counted once",
        limited(sum, 100.0)
    );
}

/// Edges that the daemon has realised, in a build directory that knows nothing.
fn known(bench: &Bench, place: &Path) {
    const EDGES: usize = 300;
    let build = place.join("build");
    generate(&build, EDGES, "known");
    let nix = start(CA);
    let home = place.join("home");
    done(&mut ninja2drv(&nix, &home, &build));
    let (mut unknown, mut learnt, mut idle) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.turns.max(5) {
        forget(&build);
        fs::remove_dir_all(home.join("state")).unwrap();
        let run = || drop(done(&mut ninja2drv(&nix, &home, &build)));
        unknown.time(run);
        forget(&build);
        learnt.time(run);
        done(&mut ninja2drv(&nix, &home, &build)); // files that were too young are looked at again
        idle.time(|| assert!(done(&mut ninja2drv(&nix, &home, &build)).contains("no work to do")));
    }
    println!(
        "{EDGES} edges, all realised: {:.3} s without a history = {}; {:.3} s with it; nothing to do {}",
        unknown.median(),
        limited(unknown.median(), 0.2),
        learnt.median(),
        idle.milliseconds(),
    );
}

/// The files of a tree, each a path of its own, beside the tree as one path by Nix's own client.
fn sources(bench: &Bench, place: &Path) {
    const FILES: usize = 1000;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let nix = start(CA);
    let store = open(&nix);
    store.path_infos(&[]).expect("the daemon answers");
    for turn in 0..bench.turns.max(5) {
        let tree = place.join(turn.to_string());
        let files: Vec<PathBuf> = (0..FILES).map(|i| tree.join(format!("{}/{i}.c", i % 20))).collect();
        for (i, file) in files.iter().enumerate() {
            fs::create_dir_all(file.parent().expect("it has one")).unwrap();
            fs::write(file, format!("int turn_{turn}_{i};\n").repeat(100)).unwrap();
        }
        let named: Vec<(StoreName, &Path)> =
            files.iter().map(|file| (StoreName::sanitised(b"source"), file.as_path())).collect();
        ours.time(|| drop(store.add_paths(&named).expect("they can be added")));
        theirs.time(|| drop(done(nix.client("nix").args(["store", "add", "--name", "tree"]).arg(&tree))));
    }
    println!(
        "{FILES} sources: {:.3} s / {:.3} s for `nix store add` of the tree = {}",
        ours.median(),
        theirs.median(),
        limited(ours.median() / theirs.median(), 2.0),
    );
}

fn start(setup: Setup) -> Daemon {
    Daemon::start(setup).expect("it could be had before")
}

fn open(nix: &Daemon) -> DaemonStore {
    let address = Address::Socket { socket: nix.socket(), root: nix.root() };
    DaemonStore::open(address, DaemonOptions { connections: 3, ..DaemonOptions::default() }).expect("it listens")
}

fn ninja2drv(nix: &Daemon, home: &Path, build: &Path) -> Command {
    let mut command = Command::new(program("ninja2drv"));
    for name in ["SPLITTER_ROOT", "SPLITTER_ROOT_MODE", "SPLITTER_REALISE", "SPLITTER_KEEP", "NIX_REMOTE"] {
        command.env_remove(name);
    }
    command.env("HOME", home).env("XDG_STATE_HOME", home.join("state")).env("XDG_CACHE_HOME", home.join("cache"));
    command.args(["-j2", "--store", &nix.url()]).current_dir(build);
    command
}

/// Runs a build; answers what the daemon and its children had resident at most in KiB, if that is asked for.
fn built(nix: &Daemon, home: &Path, build: &Path, watched: bool) -> [u64; 2] {
    let mut child = ninja2drv(nix, home, build).stdout(Stdio::null()).spawn().expect("it starts");
    let mut peak = [0; 2];
    while watched && child.try_wait().unwrap().is_none() {
        peak = larger(peak, nix.resident());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(child.wait().unwrap().success());
    peak
}

fn larger(one: [u64; 2], other: [u64; 2]) -> [u64; 2] {
    [one[0].max(other[0]), one[1].max(other[1])]
}

/// Makes a build directory as new.
fn forget(build: &Path) {
    for name in ["out", ".splitter"] {
        fs::remove_dir_all(build.join(name)).ok(); // there may be none
    }
}

/// Sends derivations to a daemon over two connections that are there already, one after another on each.
fn submitting<'a>(nix: &Daemon, derivations: &'a [ResolvedDerivation]) -> impl FnOnce() + use<'a> {
    const CONNECTIONS: usize = 2;
    let greet = || {
        let options = ConnectionOptions::default();
        let socket = connect(&nix.socket(), options.handshake).expect("it listens");
        let mut connection = Connection::open(socket, &options).expect("it answers");
        connection.call(SetOptions::default(), &mut |_| {}).expect("it takes options");
        connection
    };
    let connections: Vec<Connection> = (0..CONNECTIONS).map(|_| greet()).collect();
    move || {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for mut connection in connections {
                let next = &next;
                scope.spawn(move || {
                    let never = AtomicBool::new(false);
                    while let Some(derivation) = derivations.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let path = derivation.path(&StoreDir::default());
                        let build = BuildDerivation { path: &path, derivation, mode: BuildMode::Normal };
                        let result = connection.call_waiting(build, &mut |_| {}, &mut Wait::for_build(&never));
                        let result = result.expect("the daemon answers");
                        assert!(result.status.is_success(), "{}", result.message);
                    }
                });
            }
        });
    }
}

/// Adds to one store the inputs of derivations, which another has.
fn bring(from: &DaemonStore, to: &DaemonStore, derivations: &[ResolvedDerivation]) {
    let inputs: BTreeSet<&StorePath> = derivations.iter().flat_map(|derivation| &derivation.get().input_srcs).collect();
    let files: Vec<PathBuf> = inputs.iter().map(|path| from.files(path).expect("it is here")).collect();
    let named: Vec<(StoreName, &Path)> =
        inputs.iter().zip(&files).map(|(path, file)| (path.name().clone(), file.as_path())).collect();
    let added = to.add_paths(&named).expect("they can be added");
    assert!(added.iter().zip(inputs).all(|(added, path)| added.path == *path), "the inputs are sources");
}

/// The derivations that a build submits, from a run of it by a daemon of its own.
fn record(build: &Path, place: &Path) -> Vec<ResolvedDerivation> {
    let nix = start(CA);
    let store = Arc::new(Recording { store: open(&nix), realised: Mutex::default() });
    fs::create_dir_all(place.join("scratch")).unwrap();
    let main = BString::from("build.ninja");
    let mut load = |path: &BStr| fs::read(build.join(path.to_path_lossy()));
    let graph = manifest::parse(build.as_os_str().as_bytes().as_bstr(), main.as_bstr(), &mut load).unwrap().graph;
    let toolchains = Toolchains::new(store.clone(), &place.join("cache"), &place.join("scratch"));
    let drive = Drive {
        graph: &graph,
        store: &*store,
        tools: &HostTools::new(toolchains, Box::new(|_| {})),
        runner: store.add_path(&RUNNER.parse().expect("a valid name"), &program(RUNNER)).unwrap().path,
        headers: &Headers::default(),
        history: None,
        roots: Roots::new([(BString::from(build.as_os_str().as_bytes()), "source".into())]),
        mode: Mode::Auto,
        sandbox: Sandbox::Root,
        outside: &Asked::default(),
        settled: &BTreeSet::new(),
        adopt: None,
        exact: false,
        every_file: false,
        audited: false,
        afresh: false,
        jobs: 2,
        jobserver: None,
        environment: BTreeMap::new(),
        load: None,
        likely: None,
        meanwhile: None,
        failures: 1,
        keep: Keep::default(),
        cancelled: &AtomicBool::new(false),
    };
    let plan = Plan::new(&graph, &graph.roots()).unwrap();
    let (success, ..) = drive.run(&plan, &Records::default(), &mut |_| {}).unwrap();
    assert!(success);
    std::mem::take(&mut store.realised.lock().unwrap())
}

/// A store that remembers what was built.
struct Recording {
    store: DaemonStore,
    realised: Mutex<Vec<ResolvedDerivation>>,
}

impl Store for Recording {
    fn store_dir(&self) -> &StoreDir {
        self.store.store_dir()
    }

    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }

    fn add_path(&self, name: &StoreName, source: &Path) -> Result<PathInfo, StoreError> {
        self.store.add_path(name, source)
    }

    fn add_paths(&self, sources: &[(StoreName, &Path)]) -> Result<Vec<PathInfo>, StoreError> {
        self.store.add_paths(sources)
    }

    fn add_file(&self, name: &StoreName, contents: &[u8], executable: bool) -> Result<PathInfo, StoreError> {
        self.store.add_file(name, contents, executable)
    }

    fn valid_paths(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>, StoreError> {
        self.store.valid_paths(paths)
    }

    fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, StoreError> {
        self.store.path_infos(paths)
    }

    fn realised(&self, derivation: &ResolvedDerivation) -> Result<Option<Outputs>, StoreError> {
        self.store.realised(derivation)
    }

    fn realise(&self, derivation: &ResolvedDerivation, options: &BuildOptions<'_>) -> Result<Built, RealiseError> {
        let built = self.store.realise(derivation, options)?;
        self.realised.lock().unwrap().push(derivation.clone());
        Ok(built)
    }

    fn files(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        self.store.files(path)
    }
}
