//! Prints what the store's operations cost: `cargo run --release -p localstore --example cost [DIRECTORY]`.

use localstore::database::{Database, Journal, Placing};
use localstore::{Layout, LocalStore};
use nixstore::{ContentAddress, DrvOutputId, PathInfo, Realisation, Sha256, Store as _, StoreDir};
use std::collections::BTreeSet;
use std::time::Instant;

const EDGES: usize = 2000;

fn main() {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let directory = tempfile::tempdir_in(parent).expect("a temporary directory");
    database(directory.path());
    store(directory.path());
}

/// The database alone: four paths and four realisations at once, as an edge has them.
fn database(directory: &std::path::Path) {
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
fn store(directory: &std::path::Path) {
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

fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}
