//! Meson's own project tests, which build, test, install and clean some hundred projects: what passes with ninja passes with
//! us in its place.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tests::checkout::{Home, copy, said};
use tests::{not_run, program};

#[test]
fn projects_of_meson_in_assembler_c_and_fortran_pass_as_with_ninja() {
    compare(
        "projects_of_meson_in_assembler_c_and_fortran_pass_as_with_ninja",
        &["nasm", "keyval", "native", "fortran"],
    );
}

#[test]
#[ignore = "an hour"]
fn the_common_projects_of_meson_pass_as_with_ninja() {
    compare("the_common_projects_of_meson_pass_as_with_ninja", &["common"]);
}

fn compare(test: &str, suites: &[&str]) {
    let sources = match sources() {
        Ok(sources) => sources,
        Err(reason) => return not_run(test, &reason),
    };
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("meson");
    copy(&sources, &tree);
    let theirs = run(&tree, suites, "ninja".as_ref(), None);
    let ours = run(&tree, suites, program("ninja2drv").as_os_str(), Some(&Home::new()));
    for suite in suites {
        if theirs.keys().all(|(of, _)| of != suite) {
            not_run(test, &format!("Meson finds no tools for the suite `{suite}`"));
        }
    }
    let worse: Vec<_> = theirs
        .iter()
        .filter(|(_, theirs)| theirs.end == End::Passed)
        .filter(|(name, _)| ours.get(*name).is_none_or(|ours| ours.end != End::Passed))
        .map(|((suite, name), _)| (suite, name))
        .collect();
    for (suite, name) in &worse {
        let said = ours.get(&(suite.to_string(), name.to_string())).map_or("it was not run", |ours| &ours.said);
        println!("== {suite}: {name}\n{}", last_lines(said));
    }
    assert!(worse.is_empty(), "these pass with ninja, and not with us: {worse:?}");
}

/// Where Meson's sources are, or why nothing can be run.
fn sources() -> Result<PathBuf, String> {
    for name in ["ninja2drv", "splitter-runner"] {
        if !program(name).exists() {
            return Err(format!("`{name}` is not built"));
        }
    }
    for name in ["ninja", "gcc"] {
        if Command::new(name).arg("--version").output().is_err() {
            return Err(format!("no program `{name}`"));
        }
    }
    let newer = Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).status();
    if !newer.is_ok_and(|status| status.success()) {
        return Err("Meson needs a Python from 3.10 on".into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("meson-sources");
    let output = Command::new(script).output().expect("bash starts");
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim_end().strip_prefix("ok ").and_then(|rest| rest.split_once(' ')) {
        Some((_, directory)) => Ok(directory.into()),
        None if output.status.code() == Some(3) => Err(said(&output).trim_end().into()),
        None => panic!("{}", said(&output)),
    }
}

/// How a project's test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Passed,
    Failed,
    Skipped,
}

struct Tested {
    end: End,
    /// All that was printed, escaped as in XML.
    said: String,
}

/// By suite and name.
type Results = BTreeMap<(String, String), Tested>;

/// Runs suites with a ninja, and tells how they ended.
fn run(tree: &Path, suites: &[&str], ninja: &OsStr, home: Option<&Home>) -> Results {
    let begin = Instant::now();
    let temporary = tree.join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new("python3");
    if let Some(home) = home {
        home.set(&mut command);
    }
    // Without `--use-tmpdir`, Pythons before 3.12 give it relative names, with which it finds no compiler.
    command.args(["run_project_tests.py", "-j2", "--use-tmpdir", "--only"]).args(suites).current_dir(tree);
    // Under `CI` it asks for the name of one of Meson's own jobs.
    for name in ["CI", "MESON_CI_JOBNAME", "NINJA_1_12_OR_NEWER"] {
        command.env_remove(name);
    }
    command.env("NINJA", ninja).env("TMPDIR", &temporary);
    let report = tree.join("meson-test-run.xml");
    fs::remove_file(&report).ok(); // that of the run before
    let output = command.output().unwrap();
    let report = fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report: {e}\n{}", said(&output)));
    let results = results(&report);
    for suite in suites {
        let count = |end: End| results.iter().filter(|((of, _), tested)| of == suite && tested.end == end).count();
        let (passed, failed, skipped) = (count(End::Passed), count(End::Failed), count(End::Skipped));
        println!("-- {}, {suite}: {passed} passed, {failed} failed, {skipped} skipped", ninja.display());
    }
    println!("   in {:.0} s", begin.elapsed().as_secs_f64());
    if home.is_some() {
        let lines = || results.values().flat_map(|tested| tested.said.lines());
        // `ninja clean` is no part of a build.
        let because =
            |reason: &str| lines().filter(|line| line.contains(reason) && !line.contains("] Cleaning")).count();
        let (console, always) = (because("outside of the sandbox: on the terminal)"), because("(always out of date"));
        let unknowable = because("(run each time");
        let all =
            lines().filter_map(|line| line.strip_prefix("ninja2drv: ")?.split_once(" ran, ")?.0.parse::<usize>().ok());
        println!(
            "   {} edges ran; outside of the sandbox {console} as they are for the terminal, {always} as they are always out \
             of date, {unknowable} for what they read",
            all.sum::<usize>()
        );
    }
    results
}

/// Reads the report of a run, in the form of JUnit.
fn results(report: &str) -> Results {
    let tested = |one: &str| {
        let (head, said) = one.split_once('>')?;
        let attribute = |name: &str| Some(head.split_once(&format!("{name}=\""))?.1.split('"').next()?.to_owned());
        let end = match said {
            _ if said.contains("<failure") => End::Failed,
            _ if said.contains("<skipped") => End::Skipped,
            _ => End::Passed,
        };
        Some(((attribute("classname")?, attribute("name")?), Tested { end, said: said.into() }))
    };
    report.split("<testcase ").skip(1).filter_map(tested).collect()
}

fn last_lines(text: &str) -> String {
    const SHOWN: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
