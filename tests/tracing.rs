//! Commands that do with files what the build file does not say, and commands outside of a sandbox.

use std::fs;
use std::path::Path;
use tests::{Said, Scene, not_run, refused};

const NONE: [&str; 0] = [];

/// What `.splitter/tracing.json` says: edge, kind and path, from the top of the scene.
fn findings(scene: &Scene) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&scene.read("build/.splitter/tracing.json")).unwrap();
    let top = format!("{}/", scene.at("").canonicalize().unwrap().display());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().replace(&top, "");
    let edges = json["edges"].as_array().unwrap().iter();
    edges
        .flat_map(|edge| {
            let findings = edge["findings"].as_array().unwrap().iter();
            findings.map(|f| format!("{}: {} {}", text(&edge["edge"]), text(&f["kind"]), text(&f["path"])))
        })
        .collect()
}

/// Every way to differ but writing a source, which a sandbox refuses.
const EDGES: &str = "\
build honest.o: cc ../source/a.c
build generated: sh ../source/in
  cmd = cp ../source/in generated
build reads: sh ../source/in
  cmd = cat ../source/in ../source/data > reads
build lists: sh ../source/in
  cmd = cat ../source/*.txt > lists
build order: sh ../source/in || generated
  cmd = cat generated > order
build race: sh ../source/in
  cmd = cat ../source/in > race; test -e generated && cat generated >> race; true
build writes: sh ../source/in
  cmd = cat ../source/in > writes; echo 1 > more
build unused: sh ../source/in ../source/data
  cmd = cat ../source/in > unused
";

fn project(scene: &Scene) {
    scene.write("source/a.h", "");
    scene.write("source/a.c", "#include \"a.h\"\nint a;\n");
    scene.write("source/in", "in\n");
    scene.write("source/data", "data\n");
    scene.write("source/x.txt", "x\n");
    scene.edges(EDGES);
}

const FOUND: [&str; 7] = [
    "lists: undeclared-input source/x.txt",
    "lists: undeclared-listing source",
    "order: undeclared-input build/generated",
    "race: unordered-input build/generated",
    "reads: undeclared-input source/data",
    "unused: unused-input source/data",
    "writes: undeclared-output build/more",
];

/// The same, but for inputs that are stated and not read, of which there are more than the test is about.
fn wrong(scene: &Scene) -> Vec<String> {
    findings(scene)
        .into_iter()
        .filter(|line| !line.contains(" unused-input source/in") && !line.starts_with("lists: unused"))
        .collect()
}

#[test]
fn what_the_build_file_does_not_say_is_told_and_written_down() {
    let test = "what_the_build_file_does_not_say_is_told_and_written_down";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    project(&scene);
    let said = scene.run(&["-j1", "--tracing=warn"]);
    assert_eq!(said.code, Some(0), "{said}");
    assert_eq!(wrong(&scene), FOUND, "{said}");
    for line in [
        "ninja2drv: tracing: `reads` reads `source/data`, which is not among its inputs",
        "ninja2drv: tracing: `race` looks at `build/generated`, which `generated` makes, and does not wait for it",
        "ninja2drv: tracing: `writes` writes `build/more`, which is not among its outputs",
    ] {
        said.has(&[line]);
    }
    assert!(scene.read("build/.splitter/tracing.txt").contains("`unused` does not look at its input `"));

    // They are told again as long as they are true, and fail the run where that is asked for.
    let said = scene.run(&["--tracing=error"]);
    assert_eq!((said.code, said.ran()), (Some(1), vec![]), "{said}");
    said.has(&["ninja2drv: 0 ran, 0 reused, 8 up to date; stopped by --tracing=error"]);
    assert!(scene.build().is_idle());
    scene.edges("build reads: sh ../source/in ../source/data\n  cmd = cat ../source/in ../source/data > reads\n");
    let said = scene.run(&["--tracing=error"]);
    assert_eq!((said.code, wrong(&scene)), (Some(0), vec![]), "{said}");
}

#[test]
fn what_was_built_untraced_is_built_again_to_be_traced() {
    let test = "what_was_built_untraced_is_built_again_to_be_traced";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    project(&scene);
    scene.build();
    let said = scene.run(&["--tracing=warn", "honest.o", "reads"]);
    assert_eq!(said.ran(), ["honest.o: not traced before", "reads: not traced before"], "{said}");
    assert_eq!(wrong(&scene), ["reads: undeclared-input source/data"]);
}

/// The same build outside of a sandbox.
fn builds_in_place(scene: &Scene, run: &dyn Fn(&[&str]) -> Said) {
    project(scene);
    let said = run(&["--tracing=warn"]);
    assert_eq!(said.code, Some(0), "{said}");
    assert_eq!(scene.read("build/reads"), "in\ndata\n");
    assert_eq!(scene.read("build/lists"), "x\n");
    assert_eq!(scene.read("build/more"), "1\n");
    assert!(!scene.at("build/honest.o.d").exists());
    // Whether `race` saw the file depends on when it ran.
    let found: Vec<String> = wrong(scene).into_iter().filter(|line| !line.starts_with("race")).collect();
    let expected: Vec<&str> = FOUND.into_iter().filter(|line| !line.starts_with("race")).collect();
    assert_eq!(found, expected, "{said}");

    assert!(run(&[]).out.ends_with("ninja: no work to do.\n"));
    scene.write("source/data", "other\n");
    let said = run(&["reads", "lists", "honest.o"]);
    assert_eq!(said.ran(), ["reads: `source/data` changed"], "{said}");
    scene.write("source/y.txt", "y\n");
    let said = run(&["reads", "lists", "honest.o"]);
    assert_eq!(said.ran(), ["lists: `source` holds other files"], "{said}");
    assert_eq!((scene.read("build/reads"), scene.read("build/lists")), ("in\nother\n".into(), "x\ny\n".into()));
    scene.write("source/a.h", "int b;\n");
    let said = run(&["honest.o"]);
    assert_eq!(said.ran(), ["honest.o: `source/a.h` changed"], "{said}");

    // What fails leaves what was there.
    scene.write("source/a.h", "#error no\n");
    let before = fs::read(scene.at("build/honest.o")).unwrap();
    let said = run(&["honest.o"]);
    assert!(said.code == Some(1) && said.out.contains("#error no"), "{said}");
    assert!(fs::read(scene.at("build/honest.o")).unwrap() == before);
    scene.write("source/a.h", "int b;\n");
    let said = run(&["honest.o"]);
    assert_eq!((said.code, said.ran()), (Some(0), vec![]), "{said}");
    let left = fs::read_dir(scene.at("build/.splitter")).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("aside")).count();
    assert_eq!(left, 0);
}

#[test]
fn commands_run_where_they_are_if_the_user_says_so() {
    let Some(scene) = Scene::new("commands_run_where_they_are_if_the_user_says_so", &["gcc"]) else { return };
    let run = |arguments: &[&str]| scene.run(&[&["--sandbox=off"], arguments].concat());
    builds_in_place(&scene, &run);
    // A sandbox does not take over what was made without one.
    let said = scene.run(&["honest.o"]);
    assert_eq!(said.ran(), ["honest.o: made outside of a sandbox"], "{said}");
    // But the other way about.
    let said = run(&["honest.o"]);
    assert_eq!(said.ran(), NONE, "{said}");
}

#[test]
fn a_project_in_memory_is_traced_as_others_are() {
    let test = "a_project_in_memory_is_traced_as_others_are";
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return not_run(test, "no `/dev/shm`");
    }
    let Some(scene) = Scene::new_in(test, &["gcc"], memory) else { return };
    project(&scene);
    scene.build();
    // Of what lies there, nothing was seen before, so that nothing of it counted.
    scene.write("source/data", "more\n");
    let said = scene.run(&["reads", "lists", "honest.o"]);
    assert_eq!(said.ran(), ["reads: `source/data` changed"], "{said}");
    assert_eq!(scene.read("build/reads"), "in\nmore\n");

    let Some(scene) = Scene::new_in(test, &["gcc"], memory) else { return };
    builds_in_place(&scene, &|arguments| scene.run(&[&["--sandbox=off"], arguments].concat()));
}

#[test]
fn a_source_that_is_written_is_told() {
    let Some(scene) = Scene::new("a_source_that_is_written_is_told", &[]) else { return };
    scene.write("source/in", "in\n");
    scene.write("source/log", "");
    scene.edges("build out: sh ../source/in\n  cmd = cat ../source/in > out; echo line >> ../source/log\n");
    let said = scene.run(&["--sandbox=off", "--tracing=error"]);
    assert_eq!(said.code, Some(1), "{said}");
    assert_eq!(wrong(&scene), ["out: written-source source/log"], "{said}");
}

#[test]
fn a_command_that_leaves_a_process_behind_is_stopped_outside_of_a_sandbox_too() {
    let test = "a_command_that_leaves_a_process_behind_is_stopped_outside_of_a_sandbox_too";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build out: sh in\n  cmd = (sleep 7171 &) ; cp in out\n");
    let said = scene.run(&["--sandbox=off"]);
    assert!(said.code == Some(125) && said.out.contains("left running in the background: `sleep`"), "{said}");
    assert_eq!(scene.processes("7171"), 0);
    assert!(!scene.at("build/out").exists());
}

#[test]
fn where_namespaces_are_refused_commands_run_traced() {
    let Some(scene) = Scene::new("where_namespaces_are_refused_commands_run_traced", &["gcc"]) else { return };
    let run = |arguments: &[&str]| refused::within(|| scene.run(arguments));
    builds_in_place(&scene, &run);
    let said = run(&["--sandbox=on", "lists"]);
    assert!(said.code == Some(1) && said.errors.contains("cannot make a user namespace"), "{said}");
    scene.write("source/data", "more\n");
    let said = run(&["reads"]);
    let warning =
        "ninja2drv: warning: commands run where they are, traced, and their results are kept apart: cannot make";
    assert!(said.errors.contains(warning), "{said}");
}
