//! Programs that are begun before it is known what they read.

use crate::edges::{Edges, edges};
use crate::kit::{descendants, not_run, runner};
use localstore::runner::Network;
use nixstore::manifest::{HeadStart, Manifest};
use nixstore::store::{BuildOptions, Built, RealiseError};
use nixstore::{ResolvedDerivation, Store as _, StoreDir};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What reads `/src/in` and nothing else of its inputs first.
const SCRIPT: &str =
    "echo once; read line < ../in; test -d ../dir && line=\"$line with a directory\"; echo $line > out";

fn offline(manifest: &mut Manifest) {
    manifest.offline = true;
}

/// That of a derivation, without what it only finds out later.
fn start_of(drv: &ResolvedDerivation) -> HeadStart {
    let json = drv.get().env.get(bstr::BStr::new("__json")).expect("an edge");
    let whole: Manifest = serde_json::from_slice(json).unwrap();
    let manifest = Manifest { inputs: BTreeMap::new(), directories: Vec::new(), names: Vec::new(), ..whole };
    HeadStart { manifest, gate: "/src/in".into(), looked: ["/src/dir".to_owned()].into() }
}

fn realise(edges: &Edges, drv: &ResolvedDerivation) -> Result<Built, RealiseError> {
    edges.kit.store().install_runner(&runner()).unwrap();
    edges.kit.store().realise(drv, &BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) })
}

/// The output `o0`, and what was printed.
fn outcome(edges: &Edges, drv: &ResolvedDerivation) -> [String; 2] {
    let built = realise(edges, drv).unwrap_or_else(|error| panic!("{error:?}"));
    ["o0", "log"]
        .map(|name| fs::read_to_string(edges.kit.physical(&built.outputs[&name.parse().unwrap()].path)).unwrap())
}

#[test]
fn a_program_that_has_begun_goes_on_with_its_inputs() {
    const NAME: &str = "a_program_that_has_begun_goes_on_with_its_inputs";
    let mut edges = edges();
    let drv = edges.edge_with(SCRIPT, offline);
    edges.kit.reopen_expecting(Network::None, Some(start_of(&drv)));
    if !Path::new("/proc/self/task").exists() || !waits_for_its_input() {
        return not_run(NAME, "the kernel does not list children, or gives no leases");
    }
    assert_eq!(outcome(&edges, &drv), ["input\n", "once\n"].map(str::to_owned));
}

/// Whether some process below this one is the shell, at last.
fn waits_for_its_input() -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let is_shell =
            |process: &u32| fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sh\n");
        if descendants().iter().any(is_shell) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether an edge has left its outputs, at last.
fn is_made_before_it_is_asked_for(edges: &Edges) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while edges.kit.leftovers().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    !edges.kit.leftovers().is_empty()
}

/// A store that expects such an edge, with its program begun or without.
fn reopen_expecting(edges: &mut Edges, drv: &ResolvedDerivation, start: Option<HeadStart>) {
    edges.kit.reopen_expecting(Network::None, start);
    edges.kit.store().install_runner(&runner()).unwrap();
    edges.kit.store().begin(drv);
}

#[test]
fn an_edge_that_was_begun_is_not_run_again() {
    let mut edges = edges();
    let drv = edges.edge_with(SCRIPT, offline);
    for start in [None, Some(start_of(&drv))] {
        reopen_expecting(&mut edges, &drv, start);
        assert!(is_made_before_it_is_asked_for(&edges));
        assert_eq!(outcome(&edges, &drv), ["input\n", "once\n"].map(str::to_owned));
    }
}

#[test]
fn an_edge_that_was_begun_and_not_asked_for_is_ended() {
    let mut edges = edges();
    let other = edges.edge_with("echo other > out; kill -STOP $$", offline);
    reopen_expecting(&mut edges, &other, Some(start_of(&other)));
    waits_for_its_input();
    assert_eq!(outcome(&edges, &edges.edge_with(SCRIPT, offline)), ["input\n", "once\n"].map(str::to_owned));
    reopen_expecting(&mut edges, &other, None);
    waits_for_its_input();
    edges.kit.close();
    assert_eq!(edges.kit.leftovers(), Vec::<String>::new());
    edges.kit.reopen();
    assert_eq!(edges.kit.store().realised(&other).unwrap(), None);
}

#[test]
fn an_edge_that_was_begun_for_what_it_does_not_come_to_begins_anew() {
    let mut edges = edges();
    let drv = edges.edge_with(SCRIPT, |manifest| {
        offline(manifest);
        manifest.directories.push("/src/dir".into());
    });
    // The program would have looked for the directory already.
    let start = start_of(&edges.edge_with(SCRIPT, offline));
    reopen_expecting(&mut edges, &drv, Some(start));
    assert_eq!(outcome(&edges, &drv), ["input with a directory\n", "once\n"].map(str::to_owned));
}

#[test]
fn an_edge_that_was_begun_and_failed_fails_when_it_is_asked_for() {
    let mut edges = edges();
    let drv = edges.edge_with("echo no >&2; exit 3", offline);
    reopen_expecting(&mut edges, &drv, Some(start_of(&drv)));
    fails_with_3(&edges, &drv);
}

#[test]
fn what_a_program_makes_before_it_has_its_inputs_is_its_own() {
    let mut edges = edges();
    let drv = edges.edge_with("echo early > early; read line < ../in; echo $line > out", offline);
    edges.kit.reopen_expecting(Network::None, Some(start_of(&drv)));
    waits_for_its_input();
    let built = realise(&edges, &drv).unwrap_or_else(|error| panic!("{error:?}"));
    let rest = edges.kit.physical(&built.outputs[&"rest".parse().unwrap()].path);
    assert_eq!(fs::read_to_string(rest.join("early")).unwrap(), "early\n");
}

#[test]
fn a_program_that_would_have_found_something_else_begins_anew() {
    let mut edges = edges();
    let drv = edges.edge_with(SCRIPT, |manifest| {
        offline(manifest);
        manifest.directories.push("/src/dir".into());
    });
    edges.kit.reopen_expecting(Network::None, Some(start_of(&drv)));
    assert_eq!(outcome(&edges, &drv), ["input with a directory\n", "once\n"].map(str::to_owned));
}

#[test]
fn a_program_that_has_begun_for_another_edge_is_given_up() {
    let mut edges = edges();
    let other = edges.edge_with("echo other; exec cat ../in", offline);
    edges.kit.reopen_expecting(Network::None, Some(start_of(&other)));
    assert_eq!(outcome(&edges, &edges.edge_with(SCRIPT, offline)), ["input\n", "once\n"].map(str::to_owned));
    edges.kit.close();
    assert_eq!(edges.kit.leftovers(), Vec::<String>::new());
}

#[test]
fn inputs_that_can_only_be_bound_make_a_program_begin_anew() {
    let mut edges = edges();
    let tree = edges.kit.scratch().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("file"), "of a directory\n").unwrap();
    let tree = edges.kit.store().add_path(&"tree".parse().unwrap(), &tree).unwrap().path;
    let drv =
        edges.edge_with("echo once; read line < ../in; read more < ../tree/file; echo $line $more > out", |manifest| {
            offline(manifest);
            manifest.inputs.insert("/src/tree".into(), StoreDir::default().print(&tree));
        });
    edges.kit.reopen_expecting(Network::None, Some(start_of(&drv)));
    waits_for_its_input();
    // Nothing is left of the first beginning: not what it printed, and nothing that it does once the gate is gone.
    assert_eq!(outcome(&edges, &drv), ["input of a directory\n", "once\n"].map(str::to_owned));
}

#[test]
fn a_program_that_fails_before_it_has_its_inputs_fails_as_ever() {
    let mut edges = edges();
    let drv = edges.edge_with("echo no >&2; exit 3", offline);
    edges.kit.reopen_expecting(Network::None, Some(start_of(&drv)));
    fails_with_3(&edges, &drv);
}

fn fails_with_3(edges: &Edges, drv: &ResolvedDerivation) {
    match realise(edges, drv) {
        Err(RealiseError::Failed { reason, log }) => {
            assert_eq!((reason, log), (nixstore::store::Failure::Exit(3), b"no\n".to_vec()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tools_that_are_not_there_make_a_program_begin_anew() {
    let mut edges = edges();
    let drv = edges.edge_with(SCRIPT, offline);
    let mut start = start_of(&drv);
    start.manifest.tools.values_mut().for_each(|tools| tools.push_str("-of-yore"));
    edges.kit.reopen_expecting(Network::None, Some(start));
    assert_eq!(outcome(&edges, &drv), ["input\n", "once\n"].map(str::to_owned));
}
