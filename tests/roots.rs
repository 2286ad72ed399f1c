//! Where checkouts, build directories and their neighbours lie, and what another checkout shares with them. Real CMake,
//! real compiler, real sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{not_run, program};

/// Sources of a library with a generated header, a program that prints, and a test.
const SOURCES: [(&str, &str); 5] = [
    (
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20)\nproject(p C)\nenable_testing()\n\
         configure_file(config.h.in config.h)\n\
         add_library(add SHARED add.c)\nset_target_properties(add PROPERTIES VERSION 1.2 SOVERSION 1)\n\
         target_include_directories(add PUBLIC ${CMAKE_CURRENT_BINARY_DIR} ${EXTRA})\n\
         add_executable(p main.c)\ntarget_link_libraries(p add)\n\
         add_test(NAME says COMMAND p)\ninstall(TARGETS p add)\n",
    ),
    ("config.h.in", "#define ONE 1\n"),
    ("add.h", "int add(int, int);\n"),
    ("add.c", "#include \"add.h\"\nint add(int a, int b) { return a + b; }\n"),
    (
        "main.c",
        "#include <stdio.h>\n#include \"add.h\"\n#include \"config.h\"\n#if __has_include(\"extra.h\")\n#include \"extra.h\"\n\
         #endif\n#ifndef EXTRA\n#define EXTRA 0\n#endif\nint main(void) { printf(\"%d\\n\", add(ONE, EXTRA)); return 0; }\n",
    ),
];

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    /// None, said aloud, where a program is missing.
    fn new(test: &str) -> Option<Self> {
        for needed in ["cmake", "ninja", "ctest"] {
            if Command::new(needed).arg("--version").output().is_err() {
                not_run(test, &format!("there is no `{needed}`"));
                return None;
            }
        }
        Some(Self { directory: tempfile::tempdir().expect("a temporary directory") })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn sources(&self, name: &str) -> PathBuf {
        let at = self.at(name);
        fs::create_dir_all(&at).unwrap();
        for (file, text) in SOURCES {
            fs::write(at.join(file), text).unwrap();
        }
        at
    }

    fn configure(&self, sources: &Path, build: &Path, extra: &str) {
        let output = Command::new("cmake")
            .args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", &format!("-DEXTRA={extra}"), "-S"])
            .arg(sources)
            .arg("-B")
            .arg(build)
            .env("CC", "gcc")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Builds; gives the edges that ran, each by its object, library or program, and the word that binds it.
    fn build(&self, build: &Path, options: &[&str]) -> Vec<(String, String)> {
        let output = Command::new(program("ninja2drv"))
            .args(["-dexplain", "-j1", "--store", &format!("local?root={}", self.at("store").display())])
            .args(options)
            .env("XDG_STATE_HOME", self.at("state"))
            .current_dir(build)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let mut ran: Vec<(String, String)> = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let edge = line.strip_suffix(" (not built here before)").filter(|line| !line.contains("] reused "));
            let Some(edge) = edge else { continue };
            let word = lines.peek().and_then(|line| line.strip_prefix("      bound to this path by "));
            let name = edge.rsplit(' ').next().unwrap().rsplit('/').next().unwrap();
            ran.push((name.into(), word.unwrap_or_default().into()));
        }
        ran.sort();
        ran
    }

    /// The tree works where it lies: from another directory, under ctest, and installed; nothing is left to do.
    fn works(&self, build: &Path, says: &str) {
        let said = Command::new(build.join("p")).current_dir("/").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), says);
        let tested = Command::new("ctest").current_dir(build).output().unwrap();
        assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
        // CMake takes a file for installed whose time is within a second of that of another of its size.
        let prefix = build.join("installed");
        fs::remove_dir_all(&prefix).ok(); // there may be none
        let installed =
            Command::new("cmake").arg("--install").arg(build).arg("--prefix").arg(&prefix).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let said = Command::new(prefix.join("bin/p")).env("LD_LIBRARY_PATH", prefix.join("lib")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), says);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Store paths are read-only.
        Command::new("chmod").args(["-R", "u+w"]).arg(self.directory.path()).status().ok();
    }
}

fn names(ran: &[(String, String)]) -> Vec<&str> {
    ran.iter().map(|(name, _)| name.as_str()).collect()
}

const ALL: [&str; 5] = ["add.c.o", "libadd.so", "libadd.so.1.2", "main.c.o", "p"];

#[test]
fn a_second_checkout_runs_what_holds_its_path_and_names_the_word() {
    let Some(scene) = Scene::new("a_second_checkout_runs_what_holds_its_path_and_names_the_word") else { return };
    for (checkout, mode) in [("a", "auto"), ("deeper/b", "auto"), ("c", "canonical"), ("d", "same")] {
        let sources = scene.sources(checkout);
        fs::write(sources.join(".splitter-root"), "").unwrap();
        let build = sources.join("build");
        scene.configure(&sources, &build, "");
        let ran = scene.build(&build, &["--root", mode]);
        match checkout {
            "a" | "d" => assert_eq!(names(&ran), ALL, "{checkout}"),
            _ => assert_eq!(ran, [("p".into(), format!("-Wl,-rpath,{}:", build.display()))], "{checkout}"),
        }
        assert_eq!(scene.build(&build, &["--root", mode]), []);
        scene.works(&build, "1\n");
    }
}

#[test]
fn an_object_with_the_whole_path_of_its_source_in_its_name_is_shared() {
    let Some(scene) = Scene::new("an_object_with_the_whole_path_of_its_source_in_its_name_is_shared") else { return };
    for checkout in ["a", "deeper/b"] {
        let sources = scene.sources(&format!("{checkout}/cmake"));
        fs::write(scene.at(checkout).join(".splitter-root"), "").unwrap();
        fs::write(scene.at(checkout).join("beside.c"), "int beside(void) { return 0; }\n").unwrap();
        let text = fs::read_to_string(sources.join("CMakeLists.txt")).unwrap();
        // As lz4 and zstd have it: CMake names the object for the path, from `/` on.
        let text = format!("{text}\nadd_library(beside SHARED ${{CMAKE_CURRENT_SOURCE_DIR}}/../beside.c)\n");
        fs::write(sources.join("CMakeLists.txt"), text).unwrap();
        let build = sources.join("build");
        scene.configure(&sources, &build, "");
        let object = format!("CMakeFiles/beside.dir{}.o", scene.at(checkout).join("beside.c").display());
        let ran = scene.build(&build, &[]);
        assert!(build.join(&object).exists(), "{object}");
        let shared = ["beside.c.o", "libbeside.so"].iter().all(|name| !names(&ran).contains(name));
        assert_eq!(shared, checkout != "a", "{ran:?}");
        scene.works(&build, "1\n");
    }
}

#[test]
fn debug_information_binds_a_compile_unless_the_canonical_root_may_stand_in_it() {
    let Some(scene) = Scene::new("debug_information_binds_a_compile_unless_the_canonical_root_may_stand_in_it") else {
        return;
    };
    let checkout = |name: &str, mode: &str| {
        let sources = scene.sources(name);
        fs::write(sources.join(".splitter-root"), "").unwrap();
        let build = sources.join("build");
        scene.configure(&sources, &build, "");
        let again = Command::new("cmake").args(["-DCMAKE_BUILD_TYPE=Debug", "."]).current_dir(&build).output().unwrap();
        assert!(again.status.success());
        scene.build(&build, &["--root", mode])
    };
    checkout("a", "auto");
    let ran = checkout("b", "auto");
    assert_eq!(names(&ran), ["add.c.o", "libadd.so.1.2", "main.c.o", "p"]);
    assert_eq!(ran[0].1, "-g");
    checkout("c", "canonical");
    assert_eq!(names(&checkout("d", "canonical")), ["p"]);
    let object = fs::read(scene.at("d/build/CMakeFiles/add.dir/add.c.o")).unwrap();
    let holds = |text: &str| object.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("/build/source") && !holds(scene.directory.path().to_str().unwrap()));
}

#[test]
fn a_build_directory_elsewhere_is_shared_by_a_map() {
    let Some(scene) = Scene::new("a_build_directory_elsewhere_is_shared_by_a_map") else { return };
    for checkout in ["a", "b"] {
        let (sources, build) = (scene.sources(&format!("{checkout}/src")), scene.at(&format!("{checkout}-build/deep")));
        scene.configure(&sources, &build, "");
        let maps = [format!("--map={}=source", sources.display()), format!("--map={}=out", build.display())];
        let ran = scene.build(&build, &[&maps[0], &maps[1]]);
        assert_eq!(names(&ran), if checkout == "a" { &ALL[..] } else { &["p"] });
        scene.works(&build, "1\n");
    }
    // Without it, nothing says what may lie elsewhere.
    let (sources, build) = (scene.sources("c/src"), scene.at("c-build"));
    scene.configure(&sources, &build, "");
    let ran = scene.build(&build, &[]);
    assert_eq!(names(&ran), ALL);
    assert!(ran[0].1.starts_with("no root"), "{ran:?}");
}

#[test]
fn a_sibling_tree_is_an_input_at_its_path_and_shared_by_a_map() {
    let Some(scene) = Scene::new("a_sibling_tree_is_an_input_at_its_path_and_shared_by_a_map") else { return };
    let checkout = |name: &str, map: bool| {
        let (sources, sibling) = (scene.sources(&format!("{name}/p")), scene.at(&format!("{name}/sibling")));
        fs::create_dir_all(&sibling).unwrap();
        fs::write(sibling.join("extra.h"), "#define EXTRA 4\n").unwrap();
        fs::write(sources.join(".splitter-root"), "").unwrap();
        let build = sources.join("build");
        scene.configure(&sources, &build, sibling.to_str().unwrap());
        let map = map.then(|| format!("--map={}=sibling", sibling.display()));
        let ran = scene.build(&build, &map.iter().map(String::as_str).collect::<Vec<_>>());
        scene.works(&build, "5\n");
        ran
    };
    checkout("a", true);
    assert_eq!(names(&checkout("b", true)), ["p"]);
    assert_eq!(names(&checkout("c", false)), ["add.c.o", "main.c.o", "p"]);
}

#[test]
fn a_package_of_the_user_is_seen_where_it_lies_by_every_checkout() {
    let Some(scene) = Scene::new("a_package_of_the_user_is_seen_where_it_lies_by_every_checkout") else { return };
    let package = scene.at("home/.local/include");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("extra.h"), "#define EXTRA 2\n").unwrap();
    for (checkout, expected) in [("home/a", &ALL[..]), ("home/b", &["p"])] {
        let sources = scene.sources(checkout);
        fs::write(sources.join(".splitter-root"), "").unwrap();
        let build = sources.join("build");
        scene.configure(&sources, &build, package.to_str().unwrap());
        assert_eq!(names(&scene.build(&build, &[])), expected, "{checkout}");
        scene.works(&build, "3\n");
    }
    // It is an input all the same.
    fs::write(package.join("extra.h"), "#define EXTRA 6\n").unwrap();
    let build = scene.at("home/a/build");
    scene.build(&build, &[]);
    scene.works(&build, "7\n");
}

#[test]
fn a_worktree_shares_with_its_main_checkout() {
    let test = "a_worktree_shares_with_its_main_checkout";
    let Some(scene) = Scene::new(test) else { return };
    let git = |directory: &Path, words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main"]);
        command.args(words).current_dir(directory).output().is_ok_and(|output| output.status.success())
    };
    let main = scene.sources("main");
    if !git(&main, &["init", "-q"]) {
        return not_run(test, "there is no `git`");
    }
    assert!(git(&main, &["add", "."]) && git(&main, &["commit", "-qm", "first"]));
    let tree = scene.at("elsewhere/tree");
    assert!(git(&main, &["worktree", "add", "-q", "--detach", tree.to_str().unwrap()]));
    for (checkout, expected) in [(&main, &ALL[..]), (&tree, &["p"])] {
        let build = checkout.join("build");
        scene.configure(checkout, &build, "");
        assert_eq!(names(&scene.build(&build, &[])), expected);
        scene.works(&build, "1\n");
    }
}

#[test]
fn what_was_learned_in_the_mode_same_is_not_taken_for_all_that_auto_asks() {
    let Some(scene) = Scene::new("what_was_learned_in_the_mode_same_is_not_taken_for_all_that_auto_asks") else {
        return;
    };
    // A path of which nothing is left but how long it is.
    let text = "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", (int)sizeof __FILE__ - 1); return 0; }\n";
    let says = |name: &str, mode: &str| {
        let sources = scene.sources(name);
        fs::write(sources.join("main.c"), text).unwrap();
        fs::write(sources.join(".git"), "").unwrap();
        scene.configure(&sources, &sources.join("build"), "");
        scene.build(&sources.join("build"), &["--root", mode]);
        let length = sources.join("main.c").as_os_str().len();
        scene.works(&sources.join("build"), &format!("{length}\n"));
    };
    says("first", "same");
    says("second-with-a-longer-name", "auto");
}
