//! The tests that every store must pass.
//!
//! A crate with a store implements [`Subject`] and calls [`store_suite!`](crate::store_suite!) in a test module, and
//! [`builder_suite!`](crate::builder_suite!) too if its builders are processes. Every test gets a subject of its own,
//! whose store does not hold what the test adds.

use crate::content_address::{ContentAddress, Method};
use crate::derivation::DerivationOutput;
use crate::hash::Algorithm;
use crate::path::StoreName;
use crate::store::{BuildOptions, Built, Failure, RealiseError};
use crate::{Derivation, OutputName, PathInfo, Placeholder, ResolvedDerivation, Sha256, Store, StorePath, Tree, nar};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A store and the derivations that it can run.
pub trait Subject {
    /// The store.
    fn store(&self) -> &dyn Store;

    /// A derivation named `name` whose builder does what `script` says: by default `/bin/sh` and nothing but its
    /// builtins.
    fn derivation(&self, name: &str, script: &Script) -> ResolvedDerivation {
        script.for_shell(name)
    }
}

/// What a builder is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Write a text to the file `out`.
    Write(String),
    /// Write texts to the files `out` and `dev`.
    WriteTwo {
        /// What goes to `out`.
        out: String,
        /// What goes to `dev`.
        dev: String,
    },
    /// Write the path of an input to the file `out`.
    Name(StorePath),
    /// Write its own path to the file `out`.
    NameItself,
    /// Write the path of `dev` to the file `out`, and a text to the file `dev`.
    NameSibling(String),
    /// Succeed and write no output.
    WriteNothing,
    /// Say something and exit with a code.
    Exit(i32, String),
    /// Say something and go on forever.
    Forever(String),
}

impl Script {
    /// As a shell script.
    fn text(&self) -> String {
        match self {
            Self::Write(text) => format!("printf %s '{text}' > $out"),
            Self::WriteTwo { out, dev } => format!("printf %s '{out}' > $out; printf %s '{dev}' > $dev"),
            Self::Name(path) => format!("printf %s '/nix/store/{path}' > $out"),
            Self::NameItself => "printf %s \"$out\" > $out".into(),
            Self::NameSibling(text) => format!("printf %s \"$dev\" > $out; printf %s '{text}' > $dev"),
            Self::WriteNothing => ":".into(),
            Self::Exit(code, text) => format!("echo '{text}'; exit {code}"),
            Self::Forever(text) => format!("echo '{text}'; while :; do :; done"),
        }
    }

    /// A derivation that runs it by `/bin/sh`, with outputs named by their archives.
    pub fn for_shell(&self, name: &str) -> ResolvedDerivation {
        let two = matches!(self, Self::WriteTwo { .. } | Self::NameSibling(_));
        let outputs: &[&str] = if two { &["dev", "out"] } else { &["out"] };
        let output = |name: &str| name.parse::<OutputName>().expect("a name of an output");
        let floating = DerivationOutput::Floating { method: Method::Nar, algorithm: Algorithm::Sha256 };
        let own = |name: &str| (name.into(), Placeholder::own(&output(name)).to_string().into());
        let sources = if let Self::Name(path) = self { BTreeSet::from([path.clone()]) } else { BTreeSet::new() };
        let drv = Derivation {
            name: name.parse().expect("a name of a store path"),
            outputs: outputs.iter().map(|name| (output(name), floating.clone())).collect(),
            input_drvs: BTreeMap::new(),
            input_srcs: sources,
            system: format!("{}-linux", std::env::consts::ARCH),
            builder: "/bin/sh".into(),
            args: vec!["-c".into(), self.text().into()],
            env: outputs.iter().map(|name| own(name)).chain([("name".into(), name.into())]).collect(),
        };
        drv.try_into().expect("it needs no outputs")
    }
}

/// Makes a test of each function in [`store_suite`](self) that any store must pass; the argument is an expression for
/// a new [`Subject`], or, after `with`, a function that gets the name of a test and the test, where a subject cannot always
/// be had.
#[macro_export]
macro_rules! store_suite {
    ($subject:expr) => {
        $crate::store_suite! { with |_, run| run(&$subject) }
    };
    (with $with:expr) => {
        $crate::store_suite_tests! {
            $with;
            adding_the_same_file_twice_gives_the_same_path
            many_threads_may_add_the_same_file
            many_threads_may_add_some_of_the_same_files
            a_source_is_named_by_its_name_and_its_archive
            a_source_names_no_other_path_whatever_it_holds
            the_executable_bit_makes_another_path
            a_tree_is_kept_as_it_was_added
            a_tree_that_is_given_away_is_kept_too
            a_path_that_nobody_added_is_not_valid
            an_output_holds_what_its_builder_wrote
            every_output_of_a_derivation_is_made
            an_output_names_the_inputs_whose_paths_it_holds
            a_realisation_of_an_output_is_found_again
            what_was_never_run_has_no_realisation
            realisations_are_found_together
            a_derivation_runs_again_when_asked_to
            equal_outputs_of_two_derivations_are_one_path
            a_builder_that_fails_is_told_and_leaves_nothing
            a_builder_that_leaves_its_output_unwritten_fails
            a_derivation_with_a_missing_input_is_not_run
            a_build_that_is_cancelled_beforehand_does_not_run
        }
    };
}

/// As [`store_suite!`](crate::store_suite!) for stores whose builders are processes: the tests of what these say and how long they run.
#[macro_export]
macro_rules! builder_suite {
    ($subject:expr) => {
        $crate::builder_suite! { with |_, run| run(&$subject) }
    };
    (with $with:expr) => {
        $crate::store_suite_tests! {
            $with;
            an_output_may_name_itself
            an_output_may_name_another
            what_a_failed_builder_said_is_handed_over
            a_builder_is_stopped_after_the_time_it_is_allowed
            a_builder_is_stopped_when_it_is_cancelled
        }
    };
}

/// A test of each named function.
#[doc(hidden)]
#[macro_export]
macro_rules! store_suite_tests {
    ($with:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let with: fn(&str, fn(&dyn $crate::store_suite::Subject)) = $with;
                with(concat!(module_path!(), "::", stringify!($name)), $crate::store_suite::$name);
            }
        )*
    };
}

/// Content decides the path, so nothing is added the second time.
pub fn adding_the_same_file_twice_gives_the_same_path(subject: &dyn Subject) {
    let first = add(subject, "twice", "same");
    let second = add(subject, "twice", "same");
    assert_eq!(first.path, second.path);
    assert_eq!(first.nar_hash, second.nar_hash);
    assert_ne!(first.path, add(subject, "twice", "other").path);
}

/// They get one path, and nobody an error.
pub fn many_threads_may_add_the_same_file(subject: &dyn Subject) {
    let store = subject.store();
    let paths: BTreeSet<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| store.add_file(&name("threads"), b"same", false).expect("the file is added").path))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    assert_eq!(paths.len(), 1);
}

/// What one has added meanwhile is no trouble for another.
pub fn many_threads_may_add_some_of_the_same_files(subject: &dyn Subject) {
    const THREADS: usize = 3;
    const FILES: usize = 60;
    let store = subject.store();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files: Vec<PathBuf> = (0..FILES).map(|i| directory.path().join(i.to_string())).collect();
    files.iter().for_each(|file| fs::write(file, file.as_os_str().as_bytes()).expect("it is written"));
    thread::scope(|scope| {
        for begin in 0..THREADS {
            let files = &files;
            scope.spawn(move || {
                let order = (0..FILES).map(|i| &files[(i + begin * FILES / THREADS) % FILES]);
                let named: Vec<_> = order.map(|file| (name("some"), file.as_path())).collect();
                let added = store.add_paths(&named).expect("they are added");
                let paths: Vec<StorePath> = added.into_iter().map(|info| info.path).collect();
                let infos = store.path_infos(&paths).expect("they can be looked up");
                assert!(infos.iter().all(Option::is_some));
            });
        }
    });
}

/// So the path is known without a store.
pub fn a_source_is_named_by_its_name_and_its_archive(subject: &dyn Subject) {
    let info = add(subject, "named", "by content");
    let archive = Tree::file("by content").to_nar();
    let hash = Sha256::of(&archive);
    let expected = subject.store().store_dir().source_path(&name("named"), &hash, &BTreeSet::new(), false);
    assert_eq!(info.path, expected);
    assert_eq!(info.nar_hash, hash);
    assert_eq!(info.nar_size, archive.len() as u64);
    assert_eq!(info.ca, Some(ContentAddress::nar(hash)));
}

/// Sources are not scanned.
pub fn a_source_names_no_other_path_whatever_it_holds(subject: &dyn Subject) {
    let other = add(subject, "other", "named below");
    let info = add(subject, "source", &subject.store().store_dir().print(&other.path));
    assert_eq!(info.references, BTreeSet::new());
}

/// It is part of what a store keeps.
pub fn the_executable_bit_makes_another_path(subject: &dyn Subject) {
    let plain = add(subject, "tool", "#!/bin/sh").path;
    let executable = subject.store().add_file(&name("tool"), b"#!/bin/sh", true).expect("the file is added").path;
    assert_ne!(plain, executable);
    assert_eq!(read(subject, &executable), Tree::executable("#!/bin/sh"));
}

/// Files, symlinks, directories and the executable bit come back.
pub fn a_tree_is_kept_as_it_was_added(subject: &dyn Subject) {
    let tree = Tree::directory([
        ("empty", Tree::directory::<&str>([])),
        ("link", Tree::symlink("sub/../nowhere")),
        ("sub", Tree::directory([("run", Tree::executable("#!/bin/sh\n")), ("text", Tree::file("text\n"))])),
    ]);
    let directory = tempfile::tempdir().expect("a temporary directory is made");
    let source = directory.path().join("tree");
    tree.write(&source).expect("the tree is written");
    let info = subject.store().add_path(&name("tree"), &source).expect("the tree is added");
    assert_eq!(read(subject, &info.path), tree);
    assert_eq!((info.nar_hash, info.nar_size), nar::nar_hash(&source).expect("the tree is read"));
}

/// As if it had been copied.
pub fn a_tree_that_is_given_away_is_kept_too(subject: &dyn Subject) {
    let tree = Tree::directory([("sub", Tree::directory([("run", Tree::executable("#!/bin/sh\n"))]))]);
    let directory = tempfile::tempdir().expect("a temporary directory is made");
    let [copied, taken] = ["copied", "taken"].map(|name| directory.path().join(name));
    tree.write(&taken).expect("the tree is written");
    let given = subject.store().take_path(&name("tree"), &taken).expect("the tree is added");
    assert_eq!(read(subject, &given.path), tree);
    tree.write(&copied).expect("the tree is written");
    let info = subject.store().add_path(&name("tree"), &copied).expect("the tree is added");
    assert_eq!((info.path, info.nar_hash, info.nar_size), (given.path, given.nar_hash, given.nar_size));
}

/// Answers come in the order of the questions.
pub fn a_path_that_nobody_added_is_not_valid(subject: &dyn Subject) {
    let added = add(subject, "added", "added").path;
    let nobody = StorePath::new([7; 20], name("nobody"));
    let valid = subject.store().valid_paths(&[nobody.clone(), added.clone(), nobody.clone()]);
    assert_eq!(valid.expect("the store answers"), [added.clone()].into());
    let infos = subject.store().path_infos(&[nobody.clone(), added.clone(), nobody]).expect("the store answers");
    let paths: Vec<_> = infos.into_iter().map(|info| info.map(|info| info.path)).collect();
    assert_eq!(paths, [None, Some(added), None]);
}

/// And is named by it.
pub fn an_output_holds_what_its_builder_wrote(subject: &dyn Subject) {
    let built = run(subject, "writes", &Script::Write("written".into()));
    let out = &built.outputs[&out()];
    assert_eq!(read(subject, &out.path), Tree::file("written"));
    let hash = Sha256::of(Tree::file("written").to_nar());
    assert_eq!(out.nar_hash, hash);
    assert_eq!(out.ca, Some(ContentAddress::nar(hash)));
    let expected = subject.store().store_dir().source_path(&name("writes"), &hash, &BTreeSet::new(), false);
    assert_eq!(out.path, expected);
}

/// Each has its own name and path.
pub fn every_output_of_a_derivation_is_made(subject: &dyn Subject) {
    let built = run(subject, "two", &Script::WriteTwo { out: "first".into(), dev: "second".into() });
    let trees: Vec<_> = built.outputs.iter().map(|(name, info)| (name.as_str(), read(subject, &info.path))).collect();
    assert_eq!(trees, [("dev", Tree::file("second")), ("out", Tree::file("first"))]);
    let names: Vec<_> = built.outputs.values().map(|info| info.path.name().as_str()).collect();
    assert_eq!(names, ["two-dev", "two"]);
}

/// By their hash parts.
pub fn an_output_names_the_inputs_whose_paths_it_holds(subject: &dyn Subject) {
    let input = add(subject, "input", "an input").path;
    let naming = run(subject, "naming", &Script::Name(input.clone()));
    assert_eq!(naming.outputs[&out()].references, BTreeSet::from([input]));
    let silent = run(subject, "silent", &Script::Write("nothing named".into()));
    assert_eq!(silent.outputs[&out()].references, BTreeSet::new());
}

/// By the derivation alone.
pub fn a_realisation_of_an_output_is_found_again(subject: &dyn Subject) {
    let store = subject.store();
    let drv = subject.derivation("again", &Script::Write("found".into()));
    let built = realise(subject, &drv).expect("the builder succeeds");
    let found = store.realised(&drv).expect("the store answers");
    assert_eq!(found, Some(BTreeMap::from([(out(), built.outputs[&out()].path.clone())])));
    let infos = store.path_infos(&[built.outputs[&out()].path.clone()]).expect("the store answers");
    assert_eq!(infos[0].as_ref().map(|info| info.nar_hash), Some(built.outputs[&out()].nar_hash));
}

/// Though another of its name has.
pub fn what_was_never_run_has_no_realisation(subject: &dyn Subject) {
    let store = subject.store();
    let realised = |text: &str| {
        let drv = subject.derivation("never", &Script::Write(text.into()));
        store.realised(&drv).expect("the store answers").map(|outputs| outputs[&out()].clone())
    };
    let built = run(subject, "never", &Script::Write("run".into()));
    assert_eq!(realised("not run"), None);
    assert_eq!(realised("run"), Some(built.outputs[&out()].path.clone()));
}

/// Those that are asked for together, each as if it were asked for alone.
pub fn realisations_are_found_together(subject: &dyn Subject) {
    let derivation = |text: &str| subject.derivation("together", &Script::Write(text.into()));
    let run = ["one", "two"].map(|text| realise(subject, &derivation(text)).expect("the builder succeeds"));
    let all = ["one", "not run", "two"].map(derivation);
    let found = subject.store().all_realised(&all).expect("the store answers");
    let known = run.map(|built| Some(BTreeMap::from([(out(), built.outputs[&out()].path.clone())])));
    assert_eq!(found, [known[0].clone(), None, known[1].clone()]);
    assert_eq!(subject.store().all_realised(&[]).expect("the store answers"), []);
}

/// And what comes out is found valid.
pub fn a_derivation_runs_again_when_asked_to(subject: &dyn Subject) {
    let script = Script::Write("both times".into());
    let first = run(subject, "rerun", &script);
    let second = run(subject, "rerun", &script);
    assert_eq!(first.outputs[&out()].path, second.outputs[&out()].path);
}

/// On which early cutoff rests.
pub fn equal_outputs_of_two_derivations_are_one_path(subject: &dyn Subject) {
    let input = add(subject, "unused", "makes the other derivation differ").path;
    let drv = subject.derivation("equal", &Script::Write("equal".into()));
    let mut other = drv.get().clone();
    other.input_srcs.insert(input);
    let other = ResolvedDerivation::try_from(other).expect("it needs no outputs");
    assert_ne!(drv.output_ids(subject.store().store_dir()), other.output_ids(subject.store().store_dir()));
    let paths =
        [drv, other].map(|drv| realise(subject, &drv).expect("the builder succeeds").outputs[&out()].path.clone());
    assert_eq!(paths[0], paths[1]);
}

/// Its path follows from its bytes with its own hash part taken out.
pub fn an_output_may_name_itself(subject: &dyn Subject) {
    let built = run(subject, "itself", &Script::NameItself);
    let info = &built.outputs[&out()];
    let text = subject.store().store_dir().print(&info.path);
    assert_eq!(read(subject, &info.path), Tree::file(text));
    assert_eq!(info.references, BTreeSet::from([info.path.clone()]));
    let drv = subject.derivation("itself", &Script::NameItself);
    let found = subject.store().realised(&drv).expect("the store answers");
    assert!(found.is_none_or(|found| found[&out()] == info.path));
}

/// By the path that the other gets in the end.
pub fn an_output_may_name_another(subject: &dyn Subject) {
    let built = run(subject, "sibling", &Script::NameSibling("named".into()));
    let dev = &built.outputs[&"dev".parse().expect("a name of an output")];
    let info = &built.outputs[&out()];
    assert_eq!(read(subject, &info.path), Tree::file(subject.store().store_dir().print(&dev.path)));
    assert_eq!(info.references, BTreeSet::from([dev.path.clone()]));
}

/// No realisation above all.
pub fn a_builder_that_fails_is_told_and_leaves_nothing(subject: &dyn Subject) {
    let drv = subject.derivation("fails", &Script::Exit(3, "so it goes".into()));
    assert_eq!(failure(realise(subject, &drv)).0, Failure::Exit(3));
    assert_eq!(subject.store().realised(&drv).expect("the store answers"), None);
}

/// Whatever its exit code.
pub fn a_builder_that_leaves_its_output_unwritten_fails(subject: &dyn Subject) {
    let drv = subject.derivation("idle", &Script::WriteNothing);
    match failure(realise(subject, &drv)).0 {
        Failure::BadOutput { output, .. } => assert_eq!(output, out()),
        other => panic!("failed otherwise: {other}"),
    }
}

/// It is the store that says so, not the builder.
pub fn a_derivation_with_a_missing_input_is_not_run(subject: &dyn Subject) {
    let missing = StorePath::new([9; 20], name("missing"));
    let drv = subject.derivation("needy", &Script::Name(missing));
    match realise(subject, &drv) {
        Err(RealiseError::Store(_)) => {}
        other => panic!("it was run: {other:?}"),
    }
}

/// Nor does it wait for anything.
pub fn a_build_that_is_cancelled_beforehand_does_not_run(subject: &dyn Subject) {
    let drv = subject.derivation("cancelled", &Script::Write("too late".into()));
    let cancelled = AtomicBool::new(true);
    let result = subject.store().realise(&drv, &BuildOptions { timeout: None, cancelled: &cancelled });
    assert_eq!(failure(result).0, Failure::Cancelled);
}

/// Standard output and standard error.
pub fn what_a_failed_builder_said_is_handed_over(subject: &dyn Subject) {
    let drv = subject.derivation("says", &Script::Exit(1, "my last words".into()));
    let (reason, log) = failure(realise(subject, &drv));
    assert_eq!(reason, Failure::Exit(1));
    assert!(String::from_utf8_lossy(&log).contains("my last words"), "{}", String::from_utf8_lossy(&log));
}

/// However busy it is.
pub fn a_builder_is_stopped_after_the_time_it_is_allowed(subject: &dyn Subject) {
    let drv = subject.derivation("slow", &Script::Forever("here I stay".into()));
    let limit = Duration::from_secs(1);
    let options = BuildOptions { timeout: Some(limit), cancelled: &AtomicBool::new(false) };
    let start = Instant::now();
    let (reason, _) = failure(subject.store().realise(&drv, &options));
    assert_eq!(reason, Failure::TimedOut(limit));
    assert!((limit..limit * 20).contains(&start.elapsed()), "after {:?}", start.elapsed());
}

/// Within a moment.
pub fn a_builder_is_stopped_when_it_is_cancelled(subject: &dyn Subject) {
    let drv = subject.derivation("stopped", &Script::Forever("until somebody stops me".into()));
    let cancelled = AtomicBool::new(false);
    let start = Instant::now();
    let (reason, _) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(500));
            cancelled.store(true, Ordering::Relaxed);
        });
        failure(subject.store().realise(&drv, &BuildOptions { timeout: None, cancelled: &cancelled }))
    });
    assert_eq!(reason, Failure::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(20), "after {:?}", start.elapsed());
}

fn add(subject: &dyn Subject, file: &str, contents: &str) -> PathInfo {
    subject.store().add_file(&name(file), contents.as_bytes(), false).expect("the file is added")
}

fn run(subject: &dyn Subject, name: &str, script: &Script) -> Built {
    realise(subject, &subject.derivation(name, script)).expect("the builder succeeds")
}

fn realise(subject: &dyn Subject, drv: &ResolvedDerivation) -> Result<Built, RealiseError> {
    let options = BuildOptions { timeout: Some(Duration::from_secs(60)), cancelled: &AtomicBool::new(false) };
    subject.store().realise(drv, &options)
}

fn failure(result: Result<Built, RealiseError>) -> (Failure, Vec<u8>) {
    match result {
        Err(RealiseError::Failed { reason, log }) => (reason, log),
        other => panic!("the builder did not fail: {other:?}"),
    }
}

fn read(subject: &dyn Subject, path: &StorePath) -> Tree {
    let files = subject.store().files(path).expect("what is valid has files");
    Tree::read(&files).expect("they can be read")
}

fn name(name: &str) -> StoreName {
    name.parse().expect("a name of a store path")
}

fn out() -> OutputName {
    "out".parse().expect("a name of an output")
}
