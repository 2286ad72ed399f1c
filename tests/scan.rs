//! The include scanner beside the compiler's own `-M`, on real projects.

use bstr::{BString, ByteSlice as _};
use splitter::compiler::Compile;
use splitter::discover::headers::Headers;
use splitter::graph::absolute;
use splitter::shell::{Script, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use tests::checkout::{Checkout, Project};
use tests::not_run;

#[test]
fn a_scan_misses_nothing_that_the_compiler_reads() {
    all("a_scan_misses_nothing_that_the_compiler_reads", &["inih", "json-c", "fmt"]);
}

#[test]
#[ignore = "a quarter of an hour"]
fn a_scan_of_the_whole_corpus_misses_nothing() {
    let chosen = std::env::var("SPLITTER_TEST_CORPUS").ok();
    let chosen = |name: &&str| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == *name));
    let names: Vec<&str> = Project::names().filter(chosen).collect();
    all("a_scan_of_the_whole_corpus_misses_nothing", &names);
}

fn all(test: &str, names: &[&str]) {
    for name in names {
        let project = match Project::find(name) {
            Ok(project) => project,
            Err(reason) => return not_run(test, &format!("{name}: {reason}")),
        };
        let directory = tempfile::tempdir().unwrap();
        let checkout = Checkout::new(&project, directory.path(), "Release", &[]);
        checkout.ninja(); // what the build makes is there when a unit is scanned
        let tally = compare(&checkout.build(), &|_| true);
        println!("{name}: {tally:?}");
        assert!(tally.missed.is_empty(), "{name}: {:#?}", tally.missed);
        assert!(tally.more * 10 <= tally.read * 3, "{name}: {tally:?}");
    }
}

#[derive(Debug, Default)]
struct Tally {
    units: usize,
    /// Units that only the compiler can tell of.
    unknown: usize,
    /// Files of the project that the compiler reads.
    read: usize,
    /// Files of the project that the scan found besides.
    more: usize,
    /// Files that the scan did not find.
    missed: BTreeSet<String>,
}

fn compare(build: &Path, chosen: &dyn Fn(&str) -> bool) -> Tally {
    let headers = Headers::default();
    let cwd = BString::from(build.as_os_str().as_bytes());
    let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
    let mut tally = Tally::default();
    for text in commands(build) {
        let Script::Plain(simples) = parse(text.as_str().into()) else { continue };
        let [simple] = simples.as_slice() else { continue };
        let Some(compile) = Compile::read(&simple.argv).filter(|_| chosen(&text)) else { continue };
        tally.units += 1;
        let Some(scanned) = headers.scan(&compile.ask, &env, cwd.as_bstr()) else {
            tally.unknown += 1;
            continue;
        };
        let word = |word: &BString| OsStr::from_bytes(word).to_owned();
        let mut command = Command::new(word(&compile.ask[0]));
        let said = command.args(compile.ask[1..].iter().map(word)).args(["-M", "-MT", "x"]).current_dir(build).output();
        let said = splitter::depfile::parse(&said.unwrap().stdout).unwrap();
        let read: BTreeSet<BString> = said.inputs.iter().map(|path| absolute(path.as_bstr(), cwd.as_bstr())).collect();
        let of_project = |path: &&BString| !splitter::discover::is_system(path.as_bstr());
        tally.read += read.iter().filter(of_project).count();
        tally.more += scanned.files.iter().filter(of_project).filter(|path| !read.contains(*path)).count();
        let missed = read.iter().filter(|path| !scanned.files.contains(*path));
        tally.missed.extend(missed.map(|path| format!("{path} of {}", simple.argv.last().expect("words"))));
    }
    tally
}

/// The texts of all commands, as ninja has them.
fn commands(build: &Path) -> Vec<String> {
    let output = Command::new("ninja").args(["-t", "commands"]).current_dir(build).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}
