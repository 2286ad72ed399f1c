//! The small CMake project, built by somebody who is not root.

use std::fs;
use std::process::Command;
use tests::machine::User;
use tests::{Said, Scene, not_run, program};

const TEST: &str = "an_ordinary_user_builds_a_cmake_project";

/// A command of a user in the build directory of the scene, whose home is `home`.
fn run(user: &User, scene: &Scene, words: &[&str]) -> Said {
    let mut command = user.command(&[], words);
    command.env("HOME", scene.at("home")).env("SPLITTER_STORE", scene.at("home/store"));
    scene.said(command.current_dir(scene.at("build")))
}

#[test]
fn an_ordinary_user_builds_a_cmake_project() {
    let Some(scene) = Scene::new(TEST, &["cmake", "ninja", "gcc", "setpriv"]) else { return };
    let user = match User::new("") {
        Ok(user) => user,
        Err(reason) => return not_run(TEST, &reason),
    };
    for name in ["ninja2drv", "splitter", "splitter-runner"] {
        fs::create_dir_all(scene.at("bin")).unwrap();
        fs::copy(program(name), scene.at("bin").join(name)).unwrap();
    }
    fs::create_dir(scene.at("home")).unwrap();
    scene.write("source/add.h", "int add(int, int);\n");
    scene.write("source/add.c", "#include \"add.h\"\nint add(int a, int b) { return a + b; }\n");
    scene.write("source/main.c", "#include \"add.h\"\nint main(void) { return add(1, 2); }\n");
    scene.write(
        "source/CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20)\nproject(p C)\nadd_library(add STATIC add.c)\nadd_executable(p main.c)\n\
         target_link_libraries(p add)\n",
    );
    let owned = Command::new("chown").args(["-R", user.name()]).arg(scene.at("")).status().unwrap();
    assert!(owned.success());
    let configured = run(&user, &scene, &["cmake", "-G", "Ninja", "-S", "../source", "-B", "."]);
    assert_eq!(configured.code, Some(0), "{configured}");

    let build = || run(&user, &scene, &["../bin/ninja2drv", "-dexplain"]);
    let said = build();
    if said.errors.contains("namespace") {
        return not_run(TEST, &said.errors);
    }
    assert_eq!((said.code, said.ran().len()), (Some(0), 4), "{said}");
    assert!(build().is_idle());
    assert_eq!(run(&user, &scene, &["./p"]).code, Some(3));

    // An edit by somebody else is one too.
    scene.write("source/add.c", "#include \"add.h\"\nint add(int a, int b) { return a + b + 1; }\n");
    let said = build();
    assert_eq!((said.code, said.ran().len()), (Some(0), 3), "{said}");
    assert_eq!(run(&user, &scene, &["./p"]).code, Some(4));
    assert!(scene.at("home/.local/state/splitter/history.sqlite").exists());

    // What the user may not write is named, and nothing is lost.
    let status = |mode: &str| Command::new("chmod").args(["-R", mode]).arg(scene.at("build")).status().unwrap();
    assert!(status("a-w").success());
    scene.write("source/add.c", "#include \"add.h\"\nint add(int a, int b) { return a + b + 2; }\n");
    let said = build();
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.errors.contains("build/.splitter`") && said.errors.contains("Permission denied"), "{said}");
    assert!(status("u+w").success());
    assert_eq!(run(&user, &scene, &["./p"]).code, Some(4));
    assert_eq!(build().code, Some(0));
    assert_eq!(run(&user, &scene, &["./p"]).code, Some(5));
}
