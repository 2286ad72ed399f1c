//! How `ninja2drv` treats its store: which one it takes, which it refuses, what is left after a run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tests::{not_run, program};

/// A build of one copy, with a store beside it.
struct Project {
    directory: tempfile::TempDir,
}

/// Nothing where the programs are not built.
fn project(test: &str) -> Option<Project> {
    if let Some(missing) = ["ninja2drv", "splitter", "splitter-runner"].iter().find(|name| !program(name).exists()) {
        not_run(test, &format!("`{missing}` is not built"));
        return None;
    }
    let project = Project { directory: tempfile::tempdir().expect("a temporary directory") };
    fs::create_dir(project.at("build")).unwrap();
    fs::write(project.at("build/build.ninja"), "rule copy\n  command = cp $in $out\nbuild out: copy in\n").unwrap();
    fs::write(project.at("build/in"), "first").unwrap();
    Some(project)
}

impl Project {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, program_name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(program(program_name));
        for name in ["SPLITTER_STORE_LIMIT", "NIX_REMOTE", "NIX_BUILD_TOP", "NIX_STORE"] {
            command.env_remove(name);
        }
        command.env("SPLITTER_STORE", self.at("store")).current_dir(self.at("build"));
        command.args(arguments).envs(variables.iter().copied()).output().expect("the program starts")
    }

    fn build(&self, variables: &[(&str, &str)]) -> String {
        let output = self.run("ninja2drv", &["-dexplain"], variables);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn refusal(&self, variables: &[(&str, &str)]) -> String {
        let output = self.run("ninja2drv", &[], variables);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!self.at("build/out").exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// How many paths `splitter store info` counts.
    fn paths(&self) -> u64 {
        let output = self.run("splitter", &["store", "info"], &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.lines().find_map(|line| line.strip_prefix("paths ")).map(str::trim);
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{output:?}"))
    }
}

#[test]
fn a_verbose_run_names_store_and_runner() {
    let Some(project) = project("a_verbose_run_names_store_and_runner") else { return };
    let text = project.build(&[]);
    assert!(text.contains(&format!("store: embedded, in `{}`\n", project.at("store").display())), "{text}");
    let runner = text.lines().find_map(|line| line.strip_prefix("ninja2drv: runner: `/nix/store/")).expect("a line");
    let (path, pin) = runner.split_once("` (").expect("a note");
    assert!(project.at("store/nix/store").join(path).exists(), "{text}");
    assert!(path.ends_with("-splitter-runner") && pin.contains("version 1 of the manifest"), "{text}");
}

#[test]
fn a_store_of_a_newer_program_is_refused() {
    let Some(project) = project("a_store_of_a_newer_program_is_refused") else { return };
    fs::create_dir_all(project.at("store/nix/var/splitter")).unwrap();
    fs::write(project.at("store/nix/var/splitter/format"), "99\n").unwrap();
    let error = project.refusal(&[]);
    assert!(error.contains("is version 99, but this program knows up to version 1: use a newer version"), "{error}");
    assert!(!project.at("store/nix/store").exists());
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_the_way_out() {
    let Some(project) = project("a_daemon_that_is_not_there_is_told_with_the_way_out") else { return };
    let nowhere = [("SPLITTER_STORE", "auto"), ("NIX_REMOTE", "unix:///nowhere/socket")];
    let error = project.refusal(&nowhere);
    let why = "at `/nowhere/socket`, since NIX_REMOTE is `unix:///nowhere/socket`): cannot connect to the Nix daemon";
    assert!(error.contains(why) && error.contains("--store 'local?root=DIR'"), "{error}");
    let build = [("NIX_BUILD_TOP", "/build"), ("NIX_STORE", "/nix/store")];
    let error = project.refusal(&[build[0], build[1], ("SPLITTER_STORE", "auto")]);
    assert!(error.contains("inside a Nix build") && error.contains("--store 'local?root=DIR'"), "{error}");
    // Who names a store gets it.
    project.build(&build);
}

#[test]
fn a_run_leaves_the_store_within_its_limit() {
    let Some(project) = project("a_run_leaves_the_store_within_its_limit") else { return };
    let text = project.build(&[("SPLITTER_STORE_LIMIT", "1T")]);
    assert!(!text.contains("deleted"), "{text}");
    let before = project.paths();
    assert!(before > 3, "{before} paths");

    // With nothing to do, nothing is looked at.
    assert_eq!(project.build(&[("SPLITTER_STORE_LIMIT", "1")]), "ninja: no work to do.\n");
    assert_eq!(project.paths(), before);

    fs::write(project.at("build/in"), "second").unwrap();
    let text = project.build(&[("SPLITTER_STORE_LIMIT", "1")]);
    assert!(text.contains("ninja2drv: 1 ran, 0 reused, 0 up to date; done"), "{text}");
    assert!(text.contains("store: above its limit of 1 byte: deleted "), "{text}");
    assert_eq!(project.paths(), 0);

    // What was deleted is made again when it is needed.
    assert_eq!(project.build(&[]), "ninja: no work to do.\n");
    fs::write(project.at("build/in"), "first").unwrap();
    project.build(&[]);
    assert_eq!(fs::read(project.at("build/out")).unwrap(), b"first");
}

#[test]
fn a_run_beside_another_deletes_nothing() {
    let Some(project) = project("a_run_beside_another_deletes_nothing") else { return };
    project.build(&[]);
    let before = project.paths();
    let other = fs::File::open(project.at("store/nix/var/nix/gc.lock")).unwrap();
    other.lock_shared().unwrap();
    fs::write(project.at("build/in"), "second").unwrap();
    let text = project.build(&[("SPLITTER_STORE_LIMIT", "1")]);
    assert!(text.contains("store: above its limit of 1 byte, but in use by another build"), "{text}");
    assert!(project.paths() > before);
}
