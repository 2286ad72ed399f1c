//! Real projects, built by us and by plain ninja in the same place from the same configured state.
//!
//! What is compared is every file of the build directory but the logs and states of the two: contents, where links lead,
//! whether files can be executed. Objects of link-time optimisation are left out where ninja itself does not make them
//! twice alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::checkout::{self, Checkout, Edges, Home, Project, Run, Tree};
use tests::{not_run, program};

/// A project, and what there is to try in it besides.
struct Subject {
    name: &'static str,
    /// A source, of which a comment and then a function is added at the end.
    edited: &'static str,
    /// Programs of the build that end well when they are started in `/`.
    programs: &'static [&'static [&'static str]],
    /// Files that are made anew whenever somebody asks.
    always: &'static [&'static str],
}

const fn subject(name: &'static str, edited: &'static str, programs: &'static [&'static [&'static str]]) -> Subject {
    Subject { name, edited, programs, always: &[] }
}

const SUBJECTS: [Subject; 18] = [
    subject("zstd", "lib/common/xxhash.c", &[&["programs/zstd", "--version"]]),
    subject("lz4", "lib/lz4file.c", &[&["lz4", "--version"]]),
    subject("brotli", "c/dec/state.c", &[&["brotli", "--version"]]),
    subject("json-c", "linkhash.c", &[&["apps/json_parse", "-h"]]),
    subject("libpng", "pngmem.c", &[&["png-fix-itxt"]]),
    subject("c-ares", "src/lib/ares_version.c", &[&["bin/adig", "-h"]]),
    subject("pcre2", "src/pcre2_config.c", &[&["pcre2grep", "--version"]]),
    subject("libtommath", "bn_mp_zero.c", &[]),
    subject("libwebp", "src/utils/palette.c", &[&["webpinfo", "-version"]]),
    subject("fmt", "src/os.cc", &[]),
    subject("googletest", "googlemock/src/gmock.cc", &[]),
    subject("ninja", "src/version.cc", &[&["ninja", "--version"]]),
    subject("yaml-cpp", "src/null.cpp", &[]),
    subject("fribidi", "lib/fribidi-run.c", &[&["bin/fribidi", "--version"]]),
    subject("inih", "ini.c", &[]),
    subject("jsoncpp", "src/lib_json/json_value.cpp", &[]),
    subject("pixman", "pixman/pixman-timer.c", &[]),
    Subject { always: &["include/vcs_version.h"], ..subject("dav1d", "src/log.c", &[&["tools/dav1d", "--version"]]) },
];

/// How much of it.
#[derive(Clone, Copy, PartialEq)]
enum Depth {
    /// In the mode `auto` alone, without tests and edits.
    Once,
    Whole,
}

macro_rules! sweeps {
    ($($test:ident: $name:literal, $build_type:literal, $words:expr, $depth:expr;)*) => {
        $(#[test] fn $test() { sweep(stringify!($test), $name, $build_type, &$words, $depth); })*
    };
}

// The small ones always: CMake and Meson, C and C++, shared libraries with all their names, generated headers, tools
// that the build makes and runs, response files.
sweeps! {
    inih_is_built_as_ninja_builds_it: "inih", "Release", [], Depth::Whole;
    inih_with_debug_information_too: "inih", "RelWithDebInfo", [], Depth::Whole;
    json_c_is_built_as_ninja_builds_it: "json-c", "Release", [], Depth::Whole;
    json_c_by_response_files_too: "json-c", "RelWithDebInfo", ["-DCMAKE_NINJA_FORCE_RESPONSE_FILE=ON"], Depth::Once;
    fribidi_is_built_as_ninja_builds_it: "fribidi", "Release", [], Depth::Whole;
    fmt_with_debug_information_too: "fmt", "RelWithDebInfo", [], Depth::Whole;
    libpng_is_built_as_ninja_builds_it: "libpng", "Release", [], Depth::Once;
}

#[test]
fn what_measures_coverage_counts_where_it_does_after_ninja() {
    let test = "what_measures_coverage_counts_where_it_does_after_ninja";
    let _alone = alone();
    let project = match Project::find("inih") {
        Ok(project) => project,
        Err(reason) => return not_run(test, &reason),
    };
    let directory = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(&project, &directory.path().join("checkout"), "Debug", &["-Db_coverage=true"]);
    // The notes themselves hold when they were made.
    let counted = || {
        let notes = checkout.tree().named(|name| name.ends_with(".gcno"));
        let status = Command::new(checkout.build().join("tests/unittest_string")).current_dir("/").output().unwrap();
        assert!(status.status.success());
        let counts = checkout.tree().named(|name| name.ends_with(".gcda"));
        assert!(!notes.is_empty() && !counts.is_empty(), "{notes:?} {counts:?}");
        (notes, counts)
    };
    checkout.ninja();
    let theirs = counted();
    let home = Home::new();
    for mode in ["same", "auto", "canonical"] {
        checkout.reset();
        home.build(&checkout, mode);
        assert_eq!(counted(), theirs, "in mode {mode}");
    }
}

#[test]
#[ignore = "an hour"]
fn the_whole_corpus_is_built_as_ninja_builds_it() {
    let test = "the_whole_corpus_is_built_as_ninja_builds_it";
    let named: BTreeSet<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
    assert_eq!(named, Project::names().collect());
    // Who wants few of them names them: a list with commas.
    let chosen = std::env::var("SPLITTER_TEST_CORPUS").ok();
    let chosen = |name: &str| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == name));
    let mut failed = Vec::new();
    for subject in SUBJECTS.iter().filter(|subject| chosen(subject.name)) {
        for build_type in ["Release", "RelWithDebInfo"] {
            // The others are of interest even if one fails.
            let one = std::panic::catch_unwind(|| sweep(test, subject.name, build_type, &[], Depth::Whole));
            if one.is_err() {
                failed.push(format!("{} {build_type}", subject.name));
            }
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// One project after the other: each has all processors.
fn alone() -> fs::File {
    let file = fs::File::options().create(true).append(true).open(program("corpus.lock")).unwrap();
    file.lock().unwrap();
    file
}

fn sweep(test: &str, name: &str, build_type: &str, words: &[&str], depth: Depth) {
    let _alone = alone();
    let subject = SUBJECTS.iter().find(|subject| subject.name == name).expect("a subject");
    let project = match Project::find(name) {
        Ok(project) => project,
        Err(reason) => return not_run(test, &format!("{name}: {reason}")),
    };
    println!("== {name}, {build_type}");
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let first = Checkout::new(&project, &at("first"), build_type, words);
    let mut sweep = Sweep {
        test,
        subject,
        home: Home::new(),
        of_canonical: Home::new(),
        graph: first.graph(),
        unlike: BTreeSet::new(),
    };
    first.ninja();
    let theirs = first.tree();
    sweep.unlike = first.unlike_itself(&theirs);
    first.put_aside("by-ninja");

    let canonical = if depth == Depth::Whole { sweep.canonical(&project, &at("canonical"), build_type) } else { None };
    let modes: &[&str] = if depth == Depth::Whole { &["same", "auto", "canonical"] } else { &["auto"] };
    let mut worked = Vec::new();
    for mode in modes {
        first.reset();
        let run = sweep.home(mode).build(&first, mode);
        println!("-- {mode}: {} ran, {} of them bound to their path", run.ran.len(), run.bound().len());
        match *mode {
            "canonical" => {
                canonical.iter().for_each(|canonical| sweep.as_at_canonical_root(&run, &first, &theirs, canonical))
            }
            _ => sweep.same(&format!("{name} in mode {mode}"), &first.tree(), &theirs),
        }
        sweep.nothing_to_do(&first, mode);
        if *mode == "auto" && depth == Depth::Whole {
            sweep.edits(&first);
        }
        if depth == Depth::Whole {
            worked.push((mode, sweep.works(&first)));
        }
    }
    if !worked.is_empty() {
        first.put_aside("by-us");
        first.put_back("by-ninja");
        let theirs = sweep.works(&first);
        worked.iter().for_each(|(mode, ours)| sweep.work_alike(mode, ours, &theirs));
    }

    // What is bound to its path has to run in another place, and no more.
    let second = Checkout::new(&project, &at("elsewhere/second"), build_type, words);
    let auto = sweep.second_checkout(&second, "auto", &theirs);
    if depth == Depth::Whole {
        let third = Checkout::new(&project, &at("elsewhere/the/third"), build_type, words);
        let canonical = sweep.second_checkout(&third, "canonical", &theirs);
        let more: Vec<_> = canonical.difference(&auto).collect();
        assert!(more.is_empty(), "{name}: canonical ran what auto did not: {more:?}");
    }
}

struct Sweep<'a> {
    test: &'a str,
    subject: &'a Subject,
    home: Home,
    /// For the mode `canonical`: of what is taken from the store, nobody says what binds it.
    of_canonical: Home,
    graph: Edges,
    /// What ninja does not make twice alike.
    unlike: BTreeSet<String>,
}

impl Sweep<'_> {
    fn home(&self, mode: &str) -> &Home {
        if mode == "canonical" { &self.of_canonical } else { &self.home }
    }

    fn same(&self, what: &str, ours: &Tree, theirs: &Tree) {
        let differences: Vec<String> = ours.differences(theirs).difference(&self.unlike).cloned().collect();
        assert!(differences.is_empty(), "{what}: not as ninja makes it:{}", ours.told(&differences, theirs));
    }

    fn nothing_to_do(&self, checkout: &Checkout, mode: &str) {
        let text = self.home(mode).run(checkout, &["--root", mode]);
        if self.subject.always.is_empty() {
            // What CMake looks at before each build, ninja tells too.
            let text: String = text.lines().filter(|line| !line.starts_with("[0/")).collect();
            assert_eq!(text, "ninja: no work to do.", "{} in mode {mode}", self.subject.name);
            return;
        }
        let run = checkout.graph().read(&text);
        let made: Vec<String> = run.made().into_iter().collect();
        assert_eq!(made, self.subject.always, "{text}");
        assert!(run.ran.iter().all(|ran| ran.reason.starts_with("always out of date")), "{text}");
    }

    /// The tree of plain ninja in a checkout at the canonical root; nothing where there can be none.
    fn canonical(&self, project: &Project, top: &Path, build_type: &str) -> Option<Tree> {
        if !checkout::can_be_shown_elsewhere() {
            not_run(self.test, "`unshare -Urm` is not allowed: nothing lies at the canonical root");
            return None;
        }
        Some(checkout::ninja_at_canonical_root(project, top, build_type))
    }

    /// In the canonical mode, what is not bound, nor made from what is bound and for that reason differs, is as ninja
    /// makes it at the canonical root.
    fn as_at_canonical_root(&self, run: &Run, checkout: &Checkout, here: &Tree, there: &Tree) {
        let ours = checkout.tree();
        let outputs = self.graph.all();
        // CMake gives an object the whole path of a source that lies outside its directory.
        let top = checkout.top.to_str().expect("text");
        let there_called = |path: &str| path.replace(top, "/build/source");
        let differs = |path: &str| ours.0.get(path) != there.0.get(&there_called(path));
        let unbound = |path: &&String| !run.bound().contains(*path);
        let configured = here.0.keys().filter(|path| !outputs.contains(*path)).cloned();
        let may = self.graph.downstream(&run.bound().into_iter().chain(configured).collect(), &differs);
        let wrong: Vec<String> = outputs
            .iter()
            .filter(unbound)
            .filter(|path| differs(path) && !may.contains(*path) && !self.unlike.contains(*path))
            .cloned()
            .collect();
        assert!(wrong.is_empty(), "not as ninja makes it at /build/source:{}", ours.told(&wrong, there));
    }

    /// In another place than that of the tree `first`, what is bound to its path runs, what is made from that if it
    /// came out otherwise, and what is always out of date. Answers what that makes.
    fn second_checkout(&self, checkout: &Checkout, mode: &str, first: &Tree) -> BTreeSet<String> {
        let graph = checkout.graph();
        let theirs = (mode == "auto").then(|| {
            checkout.ninja();
            let theirs = checkout.tree();
            checkout.reset();
            theirs
        });
        let run = graph.read(&self.home(mode).run(checkout, &["-dexplain", "--root", mode]));
        let ours = checkout.tree();
        let outputs = graph.all();
        let first_causes = first.0.keys().filter(|path| !outputs.contains(*path)).cloned().chain(run.bound());
        let by_these = graph.downstream(&first_causes.collect(), &|path| ours.0.get(path) != first.0.get(path));
        let others = run.ran.iter().filter(|ran| ran.bound.is_none() && !ran.reason.starts_with("always out of date"));
        let wrong = others.clone().filter(|ran| ran.outputs.is_disjoint(&by_these));
        let wrong: Vec<_> = wrong.map(|ran| &ran.description).collect();
        assert!(wrong.is_empty(), "in a second checkout, mode {mode}, ran without being bound: {wrong:#?}");
        let (all, reused, unbound) = (run.ran.len(), run.reused.len(), others.count());
        println!("-- second checkout, {mode}: {all} ran, {reused} reused; {unbound} ran because of what they read");
        // Without the names of files, of which each edge has others.
        let word = |word: &String| match word.split_once(" `") {
            Some((what, _)) => format!("{what} …"),
            None => word.clone(),
        };
        let words: BTreeSet<_> = run.ran.iter().filter_map(|ran| ran.bound.as_ref()).map(word).collect();
        words.iter().for_each(|word| println!("   bound by {word}"));
        if let Some(theirs) = theirs {
            self.same("a second checkout", &ours, &theirs);
        }
        self.nothing_to_do(checkout, mode);
        run.made().into_iter().filter(|path| !self.subject.always.contains(&path.as_str())).collect()
    }

    /// A comment makes the compiles run that read it, and no more; a function makes the links run too. What comes of it
    /// is what ninja makes of it.
    fn edits(&self, checkout: &Checkout) {
        let source = checkout.source(self.subject.edited);
        let before = fs::read_to_string(&source).unwrap();
        let always: BTreeSet<String> = self.subject.always.iter().map(ToString::to_string).collect();
        checkout.put_aside("by-us");
        checkout.put_back("by-ninja");
        let compiles = checkout.made_from(self.subject.edited);
        assert!(!compiles.is_empty(), "nothing is made from `{}`", self.subject.edited);
        let swap = |from: &str, to: &str| {
            checkout.put_aside(from);
            checkout.put_back(to);
        };

        fs::write(&source, format!("{before}\n/* a comment */\n")).unwrap();
        swap("by-ninja", "by-us");
        let run = self.home.build(checkout, "auto");
        let made: BTreeSet<String> = run.made().difference(&always).cloned().collect();
        println!("-- a comment in `{}`: {made:?}", self.subject.edited);
        // An object that the compiler does not make twice alike is another one, and what is made from it is made again.
        let unlike = compiles.intersection(&self.unlike).cloned().collect();
        let links = self.graph.downstream(&unlike, &|_| true);
        let more: Vec<_> = made.difference(&links).filter(|path| !compiles.contains(*path)).collect();
        assert!(compiles.is_subset(&made) && more.is_empty(), "{}", run.text);

        fs::write(
            &source,
            format!("{before}\nint added_by_a_test(void);\nint added_by_a_test(void) {{ return 7; }}\n"),
        )
        .unwrap();
        let run = self.home.build(checkout, "auto");
        let made: BTreeSet<String> = run.made().difference(&always).cloned().collect();
        println!("-- a function in `{}`: {made:?}", self.subject.edited);
        let ours = checkout.tree();
        swap("by-us", "by-ninja");
        let theirs = checkout.graph().made_by_ninja(&checkout.ninja());
        assert!(made.is_superset(&compiles) && made.len() > compiles.len(), "no link: {}", run.text);
        let more: Vec<_> = made.difference(&theirs).collect();
        assert!(more.is_empty(), "ninja did not make {more:?}");
        self.same("after an edit", &ours, &checkout.tree());

        fs::write(&source, &before).unwrap();
        checkout.ninja();
        swap("by-ninja", "by-us");
        let run = self.home.build(checkout, "auto");
        let made: Vec<String> = run.made().difference(&always).cloned().collect();
        assert!(made.is_empty(), "what was built before is not built again: {}", run.text);
    }

    /// The build works where it lies: its programs, its tests, its installation. Answers what came of the latter two.
    fn works(&self, checkout: &Checkout) -> Works {
        for words in self.subject.programs {
            let mut program = Command::new(checkout.build().join(words[0]));
            let output = program.args(&words[1..]).current_dir("/").output().expect("it starts");
            // Some programs only know how to complain.
            assert!(output.status.code().is_some_and(|code| code < 2), "{words:?}: {output:?}");
        }
        let installed = checkout.install();
        Works { tests: checkout.own_tests(), installed }
    }

    fn work_alike(&self, mode: &str, ours: &Works, theirs: &Works) {
        println!("-- {mode}: {} tests of its own, {} paths installed", ours.tests.len(), ours.installed.0.len());
        assert_eq!(ours.tests, theirs.tests, "the project's own tests, mode {mode}");
        let names = |works: &Works| works.installed.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(ours), names(theirs), "what is installed, mode {mode}");
        if mode != "canonical" && self.unlike.is_empty() {
            self.same(&format!("what is installed, mode {mode}"), &ours.installed, &theirs.installed);
        }
    }
}

struct Works {
    tests: BTreeSet<String>,
    installed: Tree,
}
