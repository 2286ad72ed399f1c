//! The include scanner beside the compiler's own `-M`, on real projects.

use bstr::{BString, ByteSlice as _};
use splitter::discover::headers::Headers;
use splitter::discover::is_system;
use std::collections::BTreeSet;
use std::path::Path;
use tests::checkout::{Checkout, Project};
use tests::not_run;
use tests::units::{environment, units};

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
        let tally = compare(&checkout.build());
        println!("{name}: {tally:?}");
        assert!(tally.units > 0, "{name}: no compile was found");
        assert!(tally.missed.is_empty(), "{name}: {:#?}", tally.missed);
        assert!(tally.guessed * 10 >= (tally.units - tally.unknown) * 9, "{name}: {tally:?}");
        assert!(tally.more * 10 <= tally.read * 3, "{name}: {tally:?}");
    }
}

#[derive(Debug, Default)]
struct Tally {
    units: usize,
    /// Units that only the compiler can tell of.
    unknown: usize,
    /// Units of which the project's files are guessed without the host's headers as they are found with them.
    guessed: usize,
    /// Files of the project that the compiler reads.
    read: usize,
    /// Files of the project that the scan found besides.
    more: usize,
    /// Files that the scan did not find.
    missed: BTreeSet<String>,
}

fn compare(build: &Path) -> Tally {
    let headers = Headers::default();
    let mut tally = Tally::default();
    for unit in units(build) {
        tally.units += 1;
        let Some(scanned) = headers.scan(&unit.ask, &environment(), unit.cwd.as_bstr()) else {
            tally.unknown += 1;
            continue;
        };
        let read = unit.read_by_compiler();
        let of_project = |path: &&BString| !is_system(path.as_bstr());
        let guessed = headers.scan_of_project(&unit.ask, &environment(), unit.cwd.as_bstr());
        let is_guessed = guessed.is_some_and(|guessed| {
            let [guessed, found] = [&guessed.files, &scanned.files].map(|files| files.iter().filter(of_project));
            guessed.collect::<BTreeSet<_>>() == found.collect::<BTreeSet<_>>()
        });
        tally.guessed += usize::from(is_guessed);
        tally.read += read.iter().filter(of_project).count();
        tally.more += scanned.files.iter().filter(of_project).filter(|path| !read.contains(*path)).count();
        let missed = read.iter().filter(|path| !scanned.files.contains(*path));
        tally.missed.extend(missed.map(|path| format!("{path} of {}", unit.ask.last().expect("words"))));
    }
    tally
}
