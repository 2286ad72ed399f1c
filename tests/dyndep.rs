//! Edges whose inputs and outputs are known only when the build runs.

use std::fs;
use std::process::Command;
use tests::Scene;
use tests::checkout::{Tree, done};

const NONE: [&str; 0] = [];

/// `all` reads what the file `list` says that it does; `out/b` is made by `b`, which only `dd.b` says.
const EDGES: &str = "\
build dd: sh list
  cmd = sh ../scan < list > dd
build b: sh in || dd.b
  cmd = mkdir -p out && cp in out/b && cp in b
  dyndep = dd.b
build dd.b: sh list
  cmd = printf 'ninja_dyndep_version = 1\\nbuild b | out/b: dyndep\\n' > dd.b
build a: sh in
  cmd = cat in in > a
build all: sh list || dd b
  cmd = cat $$(cat list) > all
  dyndep = dd
";

const SCAN: &str = "printf 'ninja_dyndep_version = 1\\nbuild all: dyndep |'; \
                    while read name; do printf ' %s' \"$name\"; done; echo\n";

#[test]
fn what_a_dyndep_file_states_is_built_before_and_changes_what_reads_it() {
    let Some(scene) = Scene::new("what_a_dyndep_file_states_is_built_before_and_changes_what_reads_it", &[]) else {
        return;
    };
    scene.write("scan", SCAN);
    scene.write("build/list", "a\n");
    scene.write("build/in", "text\n");
    scene.edges(EDGES);
    let said = scene.run(&["all"]);
    assert_eq!(said.code, Some(0), "{said}");
    let new = |names: &[&str]| names.iter().map(|name| format!("{name}: not built here before")).collect::<Vec<_>>();
    assert_eq!(said.ran(), new(&["a", "all", "b", "dd.b", "dd"]), "{said}");
    assert_eq!(scene.read("build/all"), "text\ntext\n");
    assert!(scene.run(&["all"]).is_idle());

    scene.write("build/in", "other\n");
    let said = scene.run(&["all"]);
    assert_eq!(said.ran(), ["a: `build/in` changed", "all: `build/a` changed", "b: `build/in` changed"], "{said}");

    scene.write("build/list", "a\nout/b\n");
    let said = scene.run(&["all"]);
    assert_eq!(scene.read("build/all"), "other\nother\nother\n", "{said}");
    // `dd.b` does not read the list, though the build file says so.
    assert_eq!(said.ran(), ["all: `build/list` changed", "dd: `build/list` changed"], "{said}");
    assert!(scene.run(&["all"]).is_idle());
    assert_eq!(scene.run(&["all"]).ran(), NONE);
}

#[test]
fn a_dyndep_file_that_does_not_fit_is_told_with_its_place() {
    let Some(scene) = Scene::new("a_dyndep_file_that_does_not_fit_is_told_with_its_place", &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build a: sh in | dd\n  cmd = cp in a\n  dyndep = dd\nbuild b: sh in\n  cmd = cp in b\n");
    let version = "ninja_dyndep_version = 1\n";
    for (text, message) in [
        ("build a: dyndep\n".into(), "dd:1: expected 'ninja_dyndep_version = ...'"),
        (version.to_owned(), "'a' not mentioned in its dyndep file 'dd'"),
        (format!("{version}build c: dyndep\n"), "dd:2: no build statement exists for 'c'"),
        (format!("{version}build b: dyndep\n"), "dd:2: no dyndep binding for this file at 'b'"),
        (format!("{version}build a: dyndep\nbuild a: dyndep\n"), "dd:3: multiple statements for 'a'"),
        (format!("{version}build a | b: dyndep\n"), "dd:2: two edges make `b`"),
        (format!("{version}build a: dyndep | a\n"), "dependency cycle: a -> a"),
    ] {
        scene.write("build/dd", text);
        let said = scene.fail();
        assert!(said.errors.contains(message), "{message}: {said}");
        assert!(!scene.at("build/a").exists());
    }
    scene.write("build/dd", format!("{version}build a: dyndep\n"));
    assert_eq!(scene.build().code, Some(0));
}

#[test]
fn fortran_modules_are_built_in_the_order_of_their_use() {
    let test = "fortran_modules_are_built_in_the_order_of_their_use";
    let Some(scene) = Scene::new(test, &["cmake", "ninja", "gfortran"]) else { return };
    scene.write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20)\nproject(p Fortran)\nadd_library(shapes STATIC circle.f90 shape.f90)\n\
         add_executable(p main.f90)\ntarget_link_libraries(p shapes)\n",
    );
    scene.write("main.f90", "program main\n  use circle\n  print '(F5.2)', area(2.0)\nend program\n");
    let circle = "module circle\n  use shape\ncontains\n  real function area(r)\n    real, intent(in) :: r\n    area = pi * r * r\n  end function\nend module\n";
    scene.write("circle.f90", circle);
    scene.write("shape.f90", "module shape\n  real, parameter :: pi = 3.0\nend module\n");
    scene.write(".splitter-root", "");
    let build = scene.at("build");
    let mut cmake = Command::new("cmake");
    done(cmake.args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-S", ".."]).current_dir(&build));
    let ninja = || done(Command::new("ninja").arg("-j2").current_dir(&build));
    let copy = scene.at("by-ninja");
    tests::checkout::copy(&build, &copy);
    ninja();
    let theirs = Tree::of(&build);
    fs::remove_dir_all(&build).unwrap();
    fs::rename(&copy, &build).unwrap();

    let said = scene.run(&[]);
    assert_eq!(said.code, Some(0), "{said}");
    assert_eq!(Tree::of(&build).differences(&theirs), Default::default());
    assert!(scene.run(&[]).is_idle());
    let prints = || String::from_utf8(Command::new(build.join("p")).output().unwrap().stdout).unwrap();
    assert_eq!(prints().trim(), "12.00");

    scene.write("shape.f90", "module shape\n  real, parameter :: pi = 3.5\nend module\n");
    assert_eq!(scene.run(&[]).code, Some(0));
    assert_eq!(prints().trim(), "14.00");
    // A module that comes out as it was stops there.
    scene.write("circle.f90", format!("{circle}! a comment\n"));
    let said = scene.run(&[]);
    assert!(said.code == Some(0) && !said.out.contains("main.f90.o ("), "{said}");
    assert!(scene.run(&[]).is_idle());
}
