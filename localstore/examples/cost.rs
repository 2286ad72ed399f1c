//! Prints what the store's operations cost: `cargo run --release -p localstore --example cost [DIRECTORY [edges]]`. With
//! `edges`, that of edges alone.

use localstore::database::{Database, Journal, Placing};
use localstore::{Layout, LocalStore};
use nixstore::hash::Algorithm;
use nixstore::manifest::{Manifest, Run, Step};
use nixstore::store::BuildOptions;
use nixstore::{
    ContentAddress, Derivation, DerivationOutput, DrvOutputId, Method, OutputName, PathInfo, Realisation,
    ResolvedDerivation, Sha256, Store as _, StoreDir, StorePath,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const EDGES: usize = 2000;

fn main() {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let directory = tempfile::tempdir_in(parent).expect("a temporary directory");
    if std::env::args_os().nth(2).is_none_or(|part| part != "edges") {
        database(directory.path());
        store(directory.path());
    }
    edges(directory.path());
}

/// The database alone: four paths and four realisations at once, as an edge has them.
fn database(directory: &Path) {
    let layout = Layout::new(directory.join("database")).create().expect("a new store");
    let database = Database::open(&layout, &StoreDir::default(), Journal::WriteAhead).expect("a database");
    let input = info("input", &[]);
    database.register(&[&input], &[], &mut Nothing).expect("it registers");
    let edges: Vec<(Vec<PathInfo>, Vec<Realisation>)> = (0..EDGES)
        .map(|edge| {
            let infos: Vec<PathInfo> = (0..4).map(|output| info(&format!("{edge}-o{output}"), &[&input])).collect();
            let drv_hash = Sha256::of(edge.to_le_bytes());
            let realisation = |(output, info): (usize, &PathInfo)| {
                let output = format!("o{output}").parse().expect("a name");
                Realisation::new(DrvOutputId { drv_hash, output }, info.path.clone())
            };
            let realisations = infos.iter().enumerate().map(realisation).collect();
            (infos, realisations)
        })
        .collect();
    measure("register an edge of 4 outputs", EDGES, || {
        for (infos, realisations) in &edges {
            let infos: Vec<&PathInfo> = infos.iter().collect();
            database.register(&infos, realisations, &mut Nothing).expect("it registers");
        }
    });
    let ids: Vec<DrvOutputId> = edges.iter().flat_map(|(_, all)| all.iter().map(|one| one.id.clone())).collect();
    measure("look up a realisation, of 8000 at once", ids.len(), || {
        assert!(database.realisations(&ids).expect("they can be read").iter().all(Option::is_some));
    });
    measure("look up a realisation, one by one", 1000, || {
        for id in &ids[..1000] {
            database.realisations(std::slice::from_ref(id)).expect("it can be read");
        }
    });
    let paths: Vec<_> = edges.iter().flat_map(|(infos, _)| infos.iter().map(|info| info.path.clone())).collect();
    measure("look up a path info, of 8000 at once", paths.len(), || {
        assert!(database.path_infos(&paths).expect("they can be read").iter().all(Option::is_some));
    });
}

/// Adding through the whole store.
fn store(directory: &Path) {
    let root = directory.join("store");
    let store = measure("open a new store", 1, || LocalStore::open(&root).expect("a new store"));
    let contents = |i: usize| vec![i as u8; 1024 + i];
    let name = "source.c".parse().expect("a name");
    measure("add a new file of 1 to 3 KB", EDGES, || {
        (0..EDGES).for_each(|i| drop(store.add_file(&name, &contents(i), false).expect("it is added")));
    });
    measure("add a file that is valid", EDGES, || {
        (0..EDGES).for_each(|i| drop(store.add_file(&name, &contents(i), false).expect("it is added")));
    });
    measure("close a store", 1, || drop(store));
    let store = measure("open a store", 1, || LocalStore::open(&root).expect("a store"));
    measure("close a store that was only opened", 1, || drop(store));
    localstore::delete(&root).expect("it can be deleted");
}

/// How many edges are run.
const RUN: usize = 500;

/// Trivial edges: the host's `/bin/sh` writes one line. Of this the command itself is what the same shell takes without a
/// store.
fn edges(directory: &Path) {
    let runner = std::env::current_exe().expect("this program has a path");
    let runner = runner.ancestors().nth(2).expect("an example is below the profile").join("splitter-runner");
    if !runner.exists() {
        println!("edges: not measured, for {} is missing", runner.display());
        return;
    }
    let root = directory.join("edges");
    let store = LocalStore::open(&root).expect("a new store");
    let runner = store.install_runner(&runner).expect("it is added");
    let tools = store.add_path(&"tools".parse().expect("a name"), &shell(directory)).expect("they are added").path;
    let inputs: Vec<_> = (0..200)
        .map(|i: u8| store.add_file(&"source.c".parse().expect("a name"), &[i; 2048], false).expect("it is added").path)
        .collect();
    let drvs = |inputs: &[StorePath]| -> Vec<ResolvedDerivation> {
        (0..RUN).map(|edge| self::edge(edge, &runner, &tools, inputs)).collect()
    };
    let (few, many) = (drvs(&inputs[..5]), drvs(&inputs));
    let cancelled = AtomicBool::new(false);
    let options = BuildOptions { timeout: None, cancelled: &cancelled };
    measure_all("run the command alone", 0..RUN, |edge| {
        let script = format!("echo {edge} > {}/plain", directory.display());
        assert!(Command::new("/bin/sh").args(["-c", &script]).status().expect("it starts").success());
    });
    let realise = |drv: &ResolvedDerivation| drop(store.realise(drv, &options).expect("it is realised"));
    measure_all("realise a trivial edge of 5 inputs", 0..RUN, |edge| realise(&few[edge]));
    measure_all("realise it again", 0..RUN, |edge| realise(&few[edge]));
    measure_all("realise a trivial edge of 200 inputs", 0..RUN, |edge| realise(&many[edge]));
    drop(store);
    localstore::delete(&root).expect("it can be deleted");
}

fn edge(edge: usize, runner: &StorePath, tools: &StorePath, inputs: &[StorePath]) -> ResolvedDerivation {
    let dir = StoreDir::default();
    let text = |text: &str| text.to_owned();
    let names = ["log", "o0", "rest"].map(|name| name.parse::<OutputName>().expect("a name"));
    let manifest = Manifest {
        abi: nixstore::manifest::ABI,
        commands: vec![Step::Run(Run {
            argv: vec![text("sh"), text("-c"), format!("echo {edge} > out")],
            cwd: text("/home/user/project/build"),
            ..Run::default()
        })],
        directories: Vec::new(),
        name: text("edge"),
        env: [(text("PATH"), text("/usr/bin"))].into(),
        files: BTreeMap::new(),
        inputs: inputs
            .iter()
            .enumerate()
            .map(|(i, path)| (format!("/home/user/project/{i}.c"), dir.print(path)))
            .collect(),
        rest: text("/home/user/project/build"),
        tools: [(text("/usr"), format!("{}/usr", dir.print(tools)))].into(),
        links: ["bin", "lib", "lib64"].map(|name| (format!("/{name}"), format!("usr/{name}"))).into(),
        writes: [(text("o0"), text("/home/user/project/build/out"))].into(),
        traced: false,
        trial: 0,
        copied: false,
        names: Vec::new(),
        offline: false,
        in_place: false,
        native: None,
        outputs: BTreeMap::new(),
    };
    let json = serde_json::to_vec(&manifest).expect("plain data");
    let floating = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
    let drv = Derivation {
        name: "edge".parse().expect("a name"),
        outputs: names.map(|name| (name, floating.clone())).into(),
        input_drvs: BTreeMap::new(),
        input_srcs: inputs.iter().chain([tools, runner]).cloned().collect(),
        system: format!("{}-linux", std::env::consts::ARCH),
        builder: dir.print(runner).into(),
        args: Vec::new(),
        env: [("__json".into(), json.into())].into(),
    };
    drv.try_into().expect("nothing is to be resolved")
}

/// A directory with `usr/bin/sh` and what it needs, as a toolchain snapshot has it.
fn shell(directory: &Path) -> PathBuf {
    let at = directory.join("tools");
    let listed = Command::new("ldd").arg("/bin/sh").output().expect("ldd starts");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    for file in libraries.chain([Path::new("/bin/sh")]) {
        let below = file.strip_prefix("/usr").or_else(|_| file.strip_prefix("/")).expect("it is absolute");
        let to = at.join("usr").join(below);
        std::fs::create_dir_all(to.parent().expect("it has a parent")).expect("a directory");
        std::fs::copy(file, to).expect("it can be copied");
    }
    at
}

fn info(name: &str, references: &[&PathInfo]) -> PathInfo {
    let hash = Sha256::of(name);
    PathInfo {
        path: StoreDir::default().fixed_path(&name.parse().expect("a name"), &ContentAddress::nar(hash)),
        nar_hash: hash,
        nar_size: 1000,
        references: references.iter().map(|info| info.path.clone()).collect(),
        deriver: Some(StoreDir::default().fixed_path(&"x.drv".parse().expect("a name"), &ContentAddress::nar(hash))),
        ca: Some(ContentAddress::nar(hash)),
        ultimate: true,
        signatures: BTreeSet::new(),
        registration_time: 1_700_000_000,
    }
}

struct Nothing;

impl Placing for Nothing {
    type Error = std::convert::Infallible;

    fn place(&mut self, _: &PathInfo) -> Result<(), Self::Error> {
        Ok(())
    }

    fn undo(&mut self) {}
}

/// Wall clock and processor time of this thread, for each of `count`.
fn measure<T>(what: &str, count: usize, run: impl FnOnce() -> T) -> T {
    let (start, before) = (Instant::now(), processor_time());
    let result = run();
    let (wall, processor) = (start.elapsed().as_secs_f64(), processor_time() - before);
    let each = |seconds: f64| seconds * 1e6 / count as f64;
    println!("{what:<45} {:>9.1} µs wall {:>9.1} µs processor", each(wall), each(processor));
    result
}

/// As [`measure`], with the processor time of all threads and of the processes that have ended: the median of batches,
/// since other work on the machine comes and goes.
fn measure_all(what: &str, all: std::ops::Range<usize>, mut run: impl FnMut(usize)) {
    let times = || {
        let all = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = all.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
        fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0 // ticks of USER_HZ
    };
    let size = all.len() / 10;
    let mut batches: Vec<(f64, f64, f64)> = Vec::new();
    for batch in 0..10 {
        let (start, before, here) = (Instant::now(), times(), processor_time());
        (batch * size..(batch + 1) * size).for_each(&mut run);
        batches.push((times() - before, start.elapsed().as_secs_f64(), processor_time() - here));
    }
    let each = |seconds: f64| seconds * 1e6 / size as f64;
    let mut median = |part: fn(&(f64, f64, f64)) -> f64| {
        batches.sort_by(|a, b| part(a).total_cmp(&part(b)));
        each(part(&batches[batches.len() / 2]))
    };
    let (processor, wall, here) = (median(|all| all.0), median(|all| all.1), median(|all| all.2));
    println!("{what:<45} {wall:>9.1} µs wall {processor:>9.1} µs processor, {here:.1} µs of it in this thread");
}

fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}
