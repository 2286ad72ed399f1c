//! Compares what we make of real build directories with what Ninja makes of them, byte for byte.

use ninja2drv::manifest::{self, Manifest};
use splitter::graph::EdgeId;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[test]
fn commands_of_a_cmake_project_are_those_of_ninja() {
    let Some(directory) = project(&["cmake", "ninja", "c++"]) else { return };
    let root = directory.path();
    let files = [
        (
            "CMakeLists.txt",
            r#"
cmake_minimum_required(VERSION 3.10)
project(sample C CXX)
add_compile_definitions("TEXT=\"a b$c\"" "QUOTE='")
add_library(one STATIC one.cc "with blank.cc")
target_include_directories(one PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}/in clude")
add_library(two SHARED two.c)
add_custom_command(OUTPUT made.c "${CMAKE_CURRENT_BINARY_DIR}/also made.c"
    COMMAND ${CMAKE_COMMAND} -E touch made.c "also made.c" "$ENV{NONE}x$$y" DEPENDS one.cc VERBATIM
    DEPFILE made.d)
add_executable(program main.cc made.c)
target_link_libraries(program one two)
add_custom_target(say ALL COMMAND echo "it's; $<TARGET_FILE:program>" USES_TERMINAL VERBATIM)
set_property(GLOBAL PROPERTY JOB_POOLS links=1)
set_property(TARGET program PROPERTY JOB_POOL_LINK links)
add_subdirectory(sub)
install(TARGETS program)
enable_testing()
add_test(NAME t COMMAND program)
"#,
        ),
        ("sub/CMakeLists.txt", "add_executable(lower lower.c)\nadd_dependencies(lower say)\n"),
        ("one.cc", "int one() { return 1; }\n"),
        ("with blank.cc", "int blank() { return 1; }\n"),
        ("two.c", "int two(void) { return 2; }\n"),
        ("main.cc", "int main() { return 0; }\n"),
        ("sub/lower.c", "int main(void) { return 0; }\n"),
    ];
    write(root, &files);
    // Both ways to lay out a build: below the sources, where paths are absolute, and inside them.
    run(Command::new("cmake").args(["-G", "Ninja", "-S", ".", "-B", "build"]).current_dir(root));
    compare(&root.join("build"));
    run(Command::new("cmake").args(["-G", "Ninja", "-S", ".", "-B", "."]).current_dir(root));
    compare(root);
    run(Command::new("cmake").args(["-G", "Ninja Multi-Config", "-S", ".", "-B", "multi"]).current_dir(root));
    compare(&root.join("multi"));
}

#[test]
fn commands_of_a_meson_project_are_those_of_ninja() {
    let Some(directory) = project(&["meson", "ninja", "c++"]) else { return };
    let root = directory.path();
    let files = [
        (
            "meson.build",
            r#"
project('sample', 'c', 'cpp')
add_project_arguments('-DTEXT="a b$c"', '-DQUOTE=\'', language: ['c', 'cpp'])
one = static_library('one', 'one.cc')
two = shared_library('two', 'two.c')
made = custom_target('made', output: ['made.c', 'other.h'], input: 'two.c', depfile: 'made.d',
  command: ['sh', '-c', 'cp "$1" "$2"; touch "$3"', 'x', '@INPUT@', '@OUTPUT@'])
program = executable('program', 'main.cc', made, link_with: [one, two])
run_target('say', command: ['echo', 'it\'s', program])
test('t', program)
"#,
        ),
        ("one.cc", "int one() { return 1; }\n"),
        ("two.c", "int two(void) { return 2; }\n"),
        ("main.cc", "int main() { return 0; }\n"),
    ];
    write(root, &files);
    run(Command::new("meson").args(["setup", "build"]).current_dir(root));
    compare(&root.join("build"));
}

#[test]
fn commands_of_a_manifest_by_hand_are_those_of_ninja() {
    let Some(directory) = project(&["ninja"]) else { return };
    let root = directory.path();
    let main = format!(
        "v = main\ndescription = file\nroot = {}\nrule r\n  command = $v $own $in > $out $\n    '$in_newline' $$ $description\n\
         build a b | c: r d$ e ./f//g ../h $root/i | j || k\nbuild $root/l: r it's\n  own = $v $out\nv = later\n\
         build m: r $\n    n\n  v = $v edge\nrule rsp\n  command = x $rspfile\n  rspfile = $out.rsp\n  \
         rspfile_content = $in_newline\nbuild o: rsp $v p$:q\nsubninja sub\nbuild s: r\n",
        root.display()
    );
    write(
        root,
        &[("build.ninja", &main), ("sub", "v = sub\nrule s\n  command = sub $v $in\nbuild t: s u\nbuild w: r x\n")],
    );
    compare(root);
}

/// Compares commands, response files and the order of edges.
fn compare(directory: &Path) {
    let ours = read(directory);
    // Without rules given, `-t compdb` prints all edges with inputs in order, phony ones with an empty command.
    let output = run(Command::new("ninja").args(["-t", "compdb"]).current_dir(directory));
    let text = String::from_utf8_lossy(&output);
    let theirs: Vec<BTreeMap<String, String>> = serde_json::from_str(&text).expect("JSON of Ninja");
    let with_inputs: Vec<_> = ours.graph.edges().filter(|(_, edge)| !edge.inputs.is_empty()).collect();
    assert_eq!(with_inputs.len(), theirs.len(), "edges of {}", directory.display());
    assert!(!theirs.is_empty());
    for ((id, edge), theirs) in with_inputs.into_iter().zip(&theirs) {
        let command = if edge.phony { "".into() } else { ours.graph.command(id).text };
        assert_eq!(command, theirs["command"].as_str(), "command for {}", theirs["output"]);
    }
    for id in edges(&ours) {
        let edge = ours.graph.edge(id);
        let target = ours.graph.file(edge.outputs[0]).path.to_string();
        let absolute = format!("{}/{target}", directory.display());
        let theirs = [target, absolute].into_iter().find_map(|target| {
            let mut command = Command::new("ninja");
            command.args(["-t", "commands", "-s", &target]).current_dir(directory);
            let output = command.output().expect("ninja runs");
            output.status.success().then_some(output.stdout)
        });
        let theirs = theirs.expect("Ninja knows the target");
        let ours = ours.graph.command(id).text;
        assert_eq!(String::from_utf8_lossy(&theirs).trim_end_matches('\n'), ours.to_string().trim_end_matches('\n'));
    }
}

fn read(directory: &Path) -> Manifest {
    let mut load = |name: &bstr::BStr| std::fs::read(directory.join(name.to_string()));
    let root = directory.to_str().expect("a name in UTF-8");
    manifest::parse(root.into(), "build.ninja".into(), &mut load).unwrap_or_else(|error| panic!("{error}"))
}

fn edges(manifest: &Manifest) -> impl Iterator<Item = EdgeId> {
    manifest.graph.edges().filter(|(_, edge)| !edge.phony).map(|(id, _)| id)
}

/// A directory, if all programs are there.
fn project(programs: &[&str]) -> Option<tempfile::TempDir> {
    for program in programs {
        if Command::new(program).arg("--version").output().is_err() {
            println!("not run: {program} is missing");
            return None;
        }
    }
    Some(tempfile::tempdir().expect("a temporary directory"))
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a file below the root")).expect("a directory");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[track_caller]
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output.stdout
}
