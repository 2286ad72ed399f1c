//! The store in memory passes the tests of every store, and counts what it runs.

use nixstore::store::{BuildOptions, Failure, Store};
use nixstore::store_suite::{Script, Subject};
use nixstore::{MemoryStore, OutputName, ResolvedDerivation, Tree};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

nixstore::store_suite!(Memory::new());

#[test]
fn runs_are_counted_by_the_name_of_the_derivation() {
    let memory = Memory::new();
    for text in ["a", "b"] {
        let drv = memory.derivation("counted", &Script::Write(text.into()));
        memory.0.realise(&drv, &BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) }).unwrap();
    }
    assert_eq!(memory.0.runs("counted"), 2);
    assert_eq!(memory.0.runs("other"), 0);
    assert_eq!(memory.0.take_runs(), BTreeMap::from([("counted".to_owned(), 2)]));
    assert_eq!(memory.0.runs("counted"), 0);
}

#[test]
fn a_path_that_is_removed_is_not_valid_and_realises_nothing() {
    let memory = Memory::new();
    let drv = memory.derivation("removed", &Script::Write("gone".into()));
    let options = BuildOptions { timeout: None, cancelled: &AtomicBool::new(false) };
    let out = memory.0.realise(&drv, &options).unwrap().outputs["out".parse::<OutputName>().as_ref().unwrap()].clone();
    memory.0.remove(&out.path).unwrap();
    assert_eq!(memory.0.path_infos(&[out.path]).unwrap(), [None]);
    assert_eq!(memory.0.realised(&drv).unwrap(), None);
}

/// A store whose builder understands the scripts of the suite: those for a shell, with what they do beside them.
struct Memory(MemoryStore);

impl Memory {
    fn new() -> Self {
        Self(MemoryStore::new(build).unwrap())
    }
}

impl Subject for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn derivation(&self, name: &str, script: &Script) -> ResolvedDerivation {
        let mut drv = script.for_shell(name).into_inner();
        let action: &[(&str, &str)] = match script {
            Script::Write(text) => &[("write out", text)],
            Script::WriteTwo { out, dev } => &[("write out", out), ("write dev", dev)],
            Script::Name(path) => &[("write out", &self.0.store_dir().print(path))],
            Script::WriteNothing => &[],
            Script::Exit(code, _) => &[("exit", &code.to_string())],
            Script::NameItself | Script::NameSibling(_) | Script::Forever(_) => {
                unreachable!("the builder is no process: it knows no path and cannot be stopped")
            }
        };
        drv.env.extend(action.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        drv.try_into().unwrap()
    }
}

fn build(drv: &ResolvedDerivation) -> Result<BTreeMap<OutputName, Tree>, Failure> {
    let env = &drv.get().env;
    if let Some(code) = env.get(bstr::BStr::new("exit")) {
        return Err(Failure::Exit(code.to_string().parse().unwrap()));
    }
    let write = |(key, text): (&bstr::BString, &bstr::BString)| {
        let output = key.to_string().strip_prefix("write ")?.parse().unwrap();
        Some((output, Tree::file(text.clone())))
    };
    Ok(env.iter().filter_map(write).collect())
}
