//! A small C project from end to end: real CMake, real compiler, real sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of this workspace, built beside the test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.parent().and_then(Path::parent).expect("tests are built below the profile's directory").join("ninja2drv")
}

/// Notes that a test could not run here.
fn not_run(reason: &str) {
    println!("not run: {reason}");
    if let Some(file) = std::env::var_os("SPLITTER_NOT_RUN") {
        use std::io::Write as _;
        let mut file = fs::File::options().append(true).create(true).open(file).expect("the list can be written");
        writeln!(file, "a_comment_edit_reruns_one_compile_and_a_code_edit_the_link_too: {reason}")
            .expect("the list can be written");
    }
}

fn build(directory: &Path, store: &Path) -> String {
    let url = format!("local?root={}", store.display());
    let output = Command::new(program())
        .args(["-dexplain", "--store", &url])
        .current_dir(directory)
        .output()
        .expect("ninja2drv starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_comment_edit_reruns_one_compile_and_a_code_edit_the_link_too() {
    if !program().exists() || !program().with_file_name("splitter-runner").exists() {
        return not_run("ninja2drv is not built");
    }
    if Command::new("cmake").arg("--version").output().is_err()
        || Command::new("ninja").arg("--version").output().is_err()
    {
        return not_run("cmake or ninja is missing");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("src")).unwrap();
    fs::write(at("src/add.h"), "int add(int, int);\n").unwrap();
    fs::write(at("src/add.c"), "#include \"add.h\"\nint add(int a, int b) { return a + b; }\n").unwrap();
    fs::write(
        at("src/main.c"),
        "#include <stdio.h>\n#include \"add.h\"\nint main(void) { printf(\"%d\\n\", add(1, 2)); }\n",
    )
    .unwrap();
    fs::write(at("src/CMakeLists.txt"), "cmake_minimum_required(VERSION 3.20)\nproject(p C)\nadd_library(add SHARED add.c)\nset_target_properties(add PROPERTIES VERSION 1.2 SOVERSION 1)\nadd_executable(p main.c)\ntarget_link_libraries(p add)\n").unwrap();
    let configured =
        Command::new("cmake").args(["-G", "Ninja", "-S"]).arg(at("src")).arg("-B").arg(at("build")).output().unwrap();
    assert!(configured.status.success());

    let (build_directory, store) = (at("build"), at("store"));
    assert_eq!(last_line(&build(&build_directory, &store)), "ninja2drv: 5 ran, 0 reused, 0 up to date; done");
    assert_eq!(build(&build_directory, &store), "ninja: no work to do.\n");
    let said = Command::new(build_directory.join("p")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "3\n");

    fs::write(at("src/add.c"), "#include \"add.h\"\nint add(int a, int b) { return a + b; } // sum\n").unwrap();
    let text = build(&build_directory, &store);
    assert_eq!(last_line(&text), "ninja2drv: 1 ran, 0 reused, 4 up to date; done", "{text}");

    fs::write(at("src/add.c"), "#include \"add.h\"\nint add(int a, int b) { return a + b + 4; }\n").unwrap();
    build(&build_directory, &store);
    let said = Command::new(build_directory.join("p")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "7\n");

    // What plain ninja writes at the same place is the same, byte for byte.
    let ours = ["p", "libadd.so.1.2", "CMakeFiles/p.dir/main.c.o"]
        .map(|name| (name, fs::read(build_directory.join(name)).unwrap()));
    assert!(Command::new("ninja").args(["-t", "clean"]).current_dir(&build_directory).status().unwrap().success());
    assert!(Command::new("ninja").current_dir(&build_directory).status().unwrap().success());
    for (name, bytes) in ours {
        assert!(fs::read(build_directory.join(name)).unwrap() == bytes, "`{name}` differs from ninja's");
    }
    assert!(Command::new("chmod").args(["-R", "u+w"]).arg(&store).status().unwrap().success());
}
