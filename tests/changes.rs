//! Which edges a change runs again, and the reason that is given; and which changes run nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tests::{Scene, is_refused, lacks_sandbox, not_run};

const NONE: [&str; 0] = [];

#[test]
fn a_deleted_or_changed_output_is_restored_without_running() {
    let Some(scene) = Scene::new("a_deleted_or_changed_output_is_restored_without_running", &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = cat a a > b\n");
    scene.build();
    fs::remove_file(scene.at("build/b")).unwrap();
    scene.write("build/a", "by hand\n");
    let said = scene.build();
    assert_eq!(said.ran(), NONE, "{said}");
    assert_eq!(
        said.reused(),
        ["a: `build/a` is missing or was changed", "b: `build/b` is missing or was changed"],
        "{said}"
    );
    assert_eq!((scene.read("build/a"), scene.read("build/b")), ("text\n".into(), "text\ntext\n".into()));
    assert!(scene.build().is_idle());
}

#[test]
fn a_build_of_one_target_leaves_what_is_known_of_the_others() {
    let Some(scene) = Scene::new("a_build_of_one_target_leaves_what_is_known_of_the_others", &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh in\n  cmd = cat in in > b\n");
    scene.build();
    assert_eq!(scene.run(&["a"]).code, Some(0));
    let said = scene.build();
    assert_eq!((said.ran(), said.reused()), (vec![], vec![]), "{said}");
}

#[test]
fn a_build_file_has_something_to_do_though_another_of_the_directory_has_not() {
    let test = "a_build_file_has_something_to_do_though_another_of_the_directory_has_not";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build b: sh in\n  cmd = cat in in > b\n");
    fs::rename(scene.at("build/build.ninja"), scene.at("build/other.ninja")).unwrap();
    scene.edges("build a: sh in\n  cmd = cp in a\n");
    scene.build();
    let other = || scene.run(&["-f", "other.ninja"]);
    assert_eq!(other().ran(), ["b: not built here before"]);
    assert!(other().is_idle());

    // What is known of the edges of one is kept by a run of the other.
    let said = scene.build();
    assert_eq!((said.ran(), said.reused()), (vec![], vec![]), "{said}");
    assert!(scene.build().is_idle());
}

#[test]
fn an_order_only_input_and_an_unrelated_file_run_nothing() {
    let Some(scene) = Scene::new("an_order_only_input_and_an_unrelated_file_run_nothing", &["gcc"]) else { return };
    scene.write("build/in", "one");
    scene.write("source/a.h", "");
    scene.write("source/a.c", "#include \"a.h\"\nint a;\n");
    scene.edges("build stamp: sh in\n  cmd = cp in stamp\nbuild a.o: cc ../source/a.c || stamp\nbuild b: sh in\n  cmd = cat in in > b\n");
    assert_eq!(
        scene.build().ran(),
        ["a.o: not built here before", "b: not built here before", "stamp: not built here before"]
    );
    scene.write("build/in", "two");
    let said = scene.build();
    assert_eq!(said.ran(), ["b: `build/in` changed", "stamp: `build/in` changed"], "{said}");

    scene.write("source/unrelated.h", "");
    scene.write("source/unrelated.c", "");
    scene.write("build/unrelated", "");
    let said = scene.build();
    assert_eq!((said.ran(), said.reused()), (vec![], vec![]), "{said}");
}

#[test]
fn a_header_that_appears_in_a_directory_behind_a_link_runs_the_compile() {
    let Some(scene) = Scene::new("a_header_that_appears_in_a_directory_behind_a_link_runs_the_compile", &["gcc"])
    else {
        return;
    };
    scene.write("real/other.h", "");
    std::os::unix::fs::symlink("real", scene.at("first")).unwrap();
    std::os::unix::fs::symlink("none", scene.at("dangling")).unwrap();
    scene.write("second/x.h", "#define X 1\n");
    scene.write("a.c", "#include <x.h>\nint x = X;\n");
    scene.edges("build a.o: cc ../a.c\n  flags = -I../dangling -I../first -I../second\n");
    assert_eq!(scene.build().ran(), ["a.o: not built here before"]);
    assert!(scene.build().is_idle());
    scene.write("real/x.h", "#define X 2\n");
    assert_eq!(scene.build().ran(), ["a.o: `first/x.h` appeared"]);
    assert!(scene.build().is_idle());
    scene.write("none/x.h", "#define X 3\n");
    assert_eq!(scene.build().ran(), ["a.o: `dangling/x.h` appeared"]);
}

#[test]
fn a_directory_of_the_compilers_own_that_appears_runs_the_compile() {
    let Some(scene) = Scene::new("a_directory_of_the_compilers_own_that_appears_runs_the_compile", &["gcc"]) else {
        return;
    };
    scene.write("root/none", "");
    scene.write("a.c", "#if __has_include(<x.h>)\nint x = 2;\n#else\nint x = 1;\n#endif\n");
    scene.edges(&format!("build a.o: cc ../a.c\n  flags = --sysroot={}\n", scene.at("root").display()));
    assert_eq!(scene.build().ran(), ["a.o: not built here before"]);
    assert!(scene.build().is_idle());
    scene.write("root/usr/include/x.h", "");
    assert_eq!(scene.build().ran(), ["a.o: `root/usr` appeared"]);
    assert!(scene.build().is_idle());
}

#[test]
fn a_header_that_appears_earlier_on_the_include_path_runs_the_compile() {
    let test = "a_header_that_appears_earlier_on_the_include_path_runs_the_compile";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("late/a.h", "#define A 1\n");
    fs::create_dir(scene.at("early")).unwrap();
    scene.write("a.c", "#include <a.h>\nint main(void) { return A; }\n");
    scene.edges("build a.o: cc ../a.c\n  flags = -I../early -I../late\nbuild p: ld a.o\n");
    scene.build();
    assert!(scene.build().is_idle());

    scene.write("early/a.h", "#define A 2\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `early/a.h` appeared", "p: `build/a.o` changed"], "{said}");

    // And when it is gone again, what was made before is taken from the store.
    fs::remove_file(scene.at("early/a.h")).unwrap();
    let said = scene.build();
    assert_eq!(said.ran(), NONE, "{said}");
    assert_eq!(said.reused(), ["a.o: `early/a.h` changed", "p: `build/a.o` changed"], "{said}");
}

#[test]
fn a_header_that_a_source_asks_for_runs_the_compile_when_it_appears() {
    let test = "a_header_that_a_source_asks_for_runs_the_compile_when_it_appears";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    fs::create_dir(scene.at("include")).unwrap();
    let asks = "#define HAS(name) __has_include(name)\n#if HAS(<extra.h>)\n#define A 2\n#else\n#define A 1\n#endif\n";
    scene.write("a.c", format!("{asks}int main(void) {{ return A; }}\n"));
    scene.edges("build a.o: cc ../a.c\n  flags = -I../include\nbuild p: ld a.o\n");
    let value = || std::process::Command::new(scene.at("build/p")).status().unwrap().code();
    scene.build();
    assert_eq!(value(), Some(1));
    scene.write("include/other.h", "");
    assert_eq!(scene.build().ran(), NONE);

    scene.write("include/extra.h", "#error it is only asked for\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `include/extra.h` appeared", "p: `build/a.o` changed"], "{said}");
    assert_eq!(value(), Some(2));
    fs::remove_file(scene.at("include/extra.h")).unwrap();
    assert_eq!(scene.build().ran(), NONE);
    assert_eq!(value(), Some(1));
}

#[test]
fn a_relative_system_root_is_that_of_the_directory_where_the_compiler_starts() {
    let test = "a_relative_system_root_is_that_of_the_directory_where_the_compiler_starts";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("build/with/root/usr/include/may.h", "#undef MAY\n#define MAY 1\n");
    for directory in ["without", "with"] {
        let text = "#if __has_include(<may.h>)\n#include <may.h>\n#endif\nconst char may[] = {MAY + '0', '!'};\n";
        scene.write(&format!("build/{directory}/a.c"), text);
    }
    let compile = |directory: &str| {
        let inputs = if directory == "with" { "without/a.o" } else { "" };
        format!(
            "build {directory}/a.o: sh {directory}/a.c {inputs}\n  \
             cmd = cd {directory} && gcc --sysroot=root -DMAY=0 -c a.c -o a.o\n"
        )
    };
    // One after the other, so that the first is not the one that has it.
    scene.edges(&(compile("without") + &compile("with")));
    scene.build();
    let holds = |directory: &str, text: &[u8]| {
        fs::read(scene.at(&format!("build/{directory}/a.o"))).unwrap().windows(2).any(|bytes| bytes == text)
    };
    assert!(holds("without", b"0!") && holds("with", b"1!"));
}

#[test]
fn a_header_that_a_built_tool_writes_is_found_by_those_who_come_after() {
    let test = "a_header_that_a_built_tool_writes_is_found_by_those_who_come_after";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    // A generator writes the source of a generator, which writes a header.
    let writes = |text: &str| format!("#include <stdio.h>\nint main(void) {{ puts(\"{text}\"); return 0; }}\n");
    let inner = writes("#define A 2").replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    scene.write("one.c", writes(&inner));
    scene.write("late/x.h", "#define A 1\n");
    for name in ["before", "after"] {
        scene.write(&format!("{name}.c"), "#include <x.h>\nint main(void) { return A; }\n");
    }
    fs::create_dir(scene.at("build/gen")).unwrap();
    scene.edges(
        "build one.o: cc ../one.c || before.o\nbuild one: ld one.o\nbuild two.c: sh one\n  cmd = ./one > two.c\n\
         build two.o: cc two.c\nbuild two: ld two.o\nbuild gen/x.h: sh two\n  cmd = ./two > gen/x.h\n\
         build before.o: cc ../before.c\n  flags = -Igen -I../late\nbuild before: ld before.o\n\
         build after.o: cc ../after.c || gen/x.h\n  flags = -Igen -I../late\nbuild after: ld after.o\n",
    );
    let value = |name: &str| std::process::Command::new(scene.at("build").join(name)).status().unwrap().code();
    scene.build();
    assert_eq!((value("before"), value("after")), (Some(1), Some(2)));
    assert!(scene.build().is_idle());

    // What came first finds it the next time that anything is looked at: no order of the graph says that it must not.
    scene.write("after.c", "/* a comment */\n#include <x.h>\nint main(void) { return A; }\n");
    let said = scene.build();
    let late = ["before.o: `build/gen/x.h` appeared", "before: `build/before.o` changed"];
    assert_eq!(said.ran(), ["after.o: `after.c` changed", late[0], late[1]], "{said}");
    scene.write("one.c", format!("{}/* a comment */\n", writes(&inner)));
    let said = scene.build();
    assert_eq!(said.ran(), ["one.o: `one.c` changed"], "{said}");
}

#[test]
fn a_header_that_is_no_longer_included_may_be_deleted() {
    let Some(scene) = Scene::new("a_header_that_is_no_longer_included_may_be_deleted", &["gcc"]) else { return };
    scene.write("a.h", "#define A 1\n");
    scene.write("a.c", "#include \"a.h\"\nint a = A;\n");
    scene.edges("build a.o: cc ../a.c\n");
    scene.build();
    fs::remove_file(scene.at("a.h")).unwrap();
    scene.write("a.c", "int a = 1;\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `a.c` changed"], "{said}");
    assert!(scene.build().is_idle());

    // One that is still included is missed by the compiler, in its own words.
    scene.write("a.c", "#include \"a.h\"\nint a = A;\n");
    let said = scene.fail();
    assert!(said.out.contains("fatal error: a.h: No such file or directory"), "{said}");
    scene.write("a.h", "#define A 2\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `a.c` changed"], "{said}");
}

#[test]
fn another_compiler_at_the_same_path_runs_its_edges() {
    let Some(scene) = Scene::new("another_compiler_at_the_same_path_runs_its_edges", &["gcc"]) else { return };
    let compiler = |text: &str| {
        scene.write("tools/cc", format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(scene.at("tools/cc"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    compiler("exec gcc \"$@\"");
    scene.write("build/in", "");
    scene.write("a.c", "int a(void) { return A; }\n");
    scene.edges(&format!(
        "build a.o: sh ../a.c\n  cmd = {} -DA=1 -c ../a.c -o a.o\nbuild b: sh in\n  cmd = cp in b\n",
        scene.at("tools/cc").display()
    ));
    assert_eq!(scene.build().ran(), ["a.o: not built here before", "b: not built here before"]);
    assert!(scene.build().is_idle());
    let before = fs::read(scene.at("build/a.o")).unwrap();

    compiler("exec gcc -UA -DA=2 \"$@\" -UA -DA=2");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `tools/cc` changed"], "{said}");
    assert_ne!(fs::read(scene.at("build/a.o")).unwrap(), before);
}

#[test]
fn a_file_that_nothing_tells_of_is_found_by_a_second_try_and_known_from_then_on() {
    let test = "a_file_that_nothing_tells_of_is_found_by_a_second_try_and_known_from_then_on";
    let Some(scene) = Scene::new(test, &["gcc"]).filter(|_| !lacks_sandbox(test)) else { return };
    scene.write("data/bytes", "one");
    let text = "#define NAME \"../data/bytes\"\nasm(\".globl bytes; bytes: .incbin \\\"\" NAME \"\\\"\");\n";
    scene.write("a.c", text);
    scene.edges("build a.o: cc ../a.c\n");
    let said = scene.build();
    assert!(said.out.contains("ninja2drv: warning: `a.o` reads `data/bytes`, which its command"), "{said}");
    let said = scene.build();
    assert!(said.is_idle(), "{said}");
    scene.write("data/bytes", "two");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `data/bytes` changed"], "{said}");
    assert!(fs::read(scene.at("build/a.o")).unwrap().windows(3).any(|bytes| bytes == b"two"));

    // What is really missing is told as it was the first time.
    fs::remove_file(scene.at("data/bytes")).unwrap();
    let said = scene.fail();
    assert!(said.out.contains("file not found: ../data/bytes") && !said.out.contains("warning: `a.o`"), "{said}");
}

#[test]
fn a_command_may_start_in_a_directory_of_which_nothing_else_is_told() {
    let test = "a_command_may_start_in_a_directory_of_which_nothing_else_is_told";
    let Some(scene) = Scene::new(test, &["cmake"]) else { return };
    // As CMake's FetchContent has it: beside the build directory, and empty.
    fs::create_dir(scene.at("beside")).unwrap();
    let (beside, out) = (scene.at("beside"), scene.at("build/out"));
    let command = format!("cd {} && cmake -E echo_append && cmake -E touch {}", beside.display(), out.display());
    scene.edges(&format!("build out: sh\n  cmd = {command}\n"));
    let said = scene.build();
    assert_eq!(said.ran(), ["out: not built here before"], "{said}");
    assert!(scene.build().is_idle());
}

#[test]
fn the_directory_of_a_depfile_is_made_as_by_ninja() {
    let Some(scene) = Scene::new("the_directory_of_a_depfile_is_made_as_by_ninja", &["gcc"]) else { return };
    scene.write("a.c", "int a;\n");
    let compile = "gcc -MD -MF deep/er/a.d -c ../a.c -o a.o";
    scene.edges(&format!(
        "rule deep\n  command = {compile}\n  depfile = deep/er/a.d\n  deps = gcc\nbuild a.o: deep ../a.c\n"
    ));
    let said = scene.build();
    assert!(scene.at("build/deep/er").is_dir() && !scene.at("build/deep/er/a.d").exists(), "{said}");
}

#[test]
fn a_script_finds_what_every_system_has() {
    let Some(scene) = Scene::new("a_script_finds_what_every_system_has", &[]) else { return };
    // It has no `#!`, a space in its name, and would go on without `cat`.
    scene.write("build/make it.sh", "echo \"<$(cat in | tr a-z A-Z | sed s/X/Y/)>\" > out\n");
    scene.write("build/in", "text\n");
    scene.edges("build out: sh in\n  cmd = sh 'make it.sh'\n");
    scene.build();
    assert_eq!(scene.read("build/out"), "<TEYT>\n");
    scene.write("build/in", "next\n");
    scene.build();
    assert_eq!(scene.read("build/out"), "<NEYT>\n");
}

#[test]
fn what_an_earlier_run_of_a_script_left_is_written_anew() {
    let Some(scene) = Scene::new("what_an_earlier_run_of_a_script_left_is_written_anew", &[]) else { return };
    scene.write("in", "one\n");
    // A response file is left where ninja saw the command fail.
    scene.write("build/out.rsp", "old\n");
    scene.edges(
        "rule gen\n  command = cat ../in $out.rsp > $out && echo '$out: ../in' > $out.d; cat $out.d\n  description = $out\n\
         \x20 depfile = $out.d\n  rspfile = $out.rsp\n  rspfile_content = new\nbuild out: gen ../in\n",
    );
    scene.build();
    assert_eq!(scene.read("build/out.d"), "out: ../in\n");
    scene.write("in", "two\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["out: `in` changed"], "{said}");
    assert_eq!(scene.read("build/out"), "two\nnew");
    assert!(scene.build().is_idle());
}

#[test]
fn a_store_in_the_project_is_no_part_of_it() {
    let test = "a_store_in_the_project_is_no_part_of_it";
    let Some(scene) = Scene::new(test, &[]).filter(|_| !lacks_sandbox(test)) else { return };
    scene.write("in", "");
    scene.edges("build out: sh ../in\n  cmd = find .. -name 'db.sqlite*' > out\n");
    let said = scene.build();
    assert_eq!(scene.read("build/out"), "", "{said}");
}

#[test]
fn a_module_that_a_generator_can_do_without_is_used_when_it_appears() {
    let test = "a_module_that_a_generator_can_do_without_is_used_when_it_appears";
    let Some(scene) = Scene::new(test, &["python3"]) else { return };
    let text =
        "try:\n import extra\n text = extra.text\nexcept ImportError:\n text = 'none'\nopen('out', 'w').write(text)\n";
    scene.write("tools/generate.py", text);
    scene.write("tools/other.py", "");
    scene.edges("build out: sh ../tools/generate.py\n  cmd = python3 ../tools/generate.py\n");
    scene.build();
    assert_eq!(scene.read("build/out"), "none");
    scene.write("tools/extra.py", "text = 'extra'\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["out: `tools` holds other files"], "{said}");
    assert_eq!(scene.read("build/out"), "extra");
    assert!(scene.build().is_idle());
    scene.write("tools/extra.py", "text = 'other'\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["out: `tools/extra.py` changed"], "{said}");
    fs::remove_file(scene.at("tools/extra.py")).unwrap();
    scene.build();
    assert_eq!(scene.read("build/out"), "none");
}

#[test]
fn a_glob_is_run_again_when_what_it_lists_changes() {
    let Some(scene) = Scene::new("a_glob_is_run_again_when_what_it_lists_changes", &[]) else { return };
    scene.write("text/a.txt", "a\n");
    scene.write("text/ignored", "1\n");
    scene.edges("build out: sh ../text/a.txt\n  cmd = cat ../text/*.txt > out\n");
    scene.build();
    scene.write("text/b.txt", "b\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["out: `text` holds other files"], "{said}");
    assert_eq!(scene.read("build/out"), "a\nb\n");
    scene.write("text/ignored", "2\n");
    assert_eq!(scene.build().ran(), NONE);

    // Who begins anew finds what was made where the command saw more than it reads.
    fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
    fs::remove_file(scene.at("build/out")).unwrap();
    let said = scene.build();
    assert_eq!((said.ran(), said.reused().len()), (vec![], 1), "{said}");
}

#[test]
fn what_a_script_only_looks_at_counts() {
    let Some(scene) = Scene::new("what_a_script_only_looks_at_counts", &[]) else { return };
    scene.write("build/in", "");
    scene.write("source/present", "1");
    scene.edges(
        "build out: sh in\n  cmd = if test -e ../source/wanted; then echo yes; else echo no; fi > out\n\
         build size: sh in\n  cmd = if test -s ../source/present; then echo full; else echo empty; fi > size\n\
         build other: sh ../source/present\n  cmd = cp ../source/present other\n",
    );
    scene.build();
    assert_eq!((scene.read("build/out"), scene.read("build/size")), ("no\n".into(), "full\n".into()));
    scene.write("source/wanted", "");
    scene.write("source/present", "");
    let said = scene.build();
    let ran = ["other: `source/present` changed", "out: `source/wanted` appeared", "size: `source/present` changed"];
    assert_eq!(said.ran(), ran, "{said}");
    assert_eq!((scene.read("build/out"), scene.read("build/size")), ("yes\n".into(), "empty\n".into()));
}

#[test]
fn a_profile_that_is_not_there_is_used_when_it_appears() {
    let Some(scene) = Scene::new("a_profile_that_is_not_there_is_used_when_it_appears", &["gcc"]) else { return };
    scene.write(
        "source/a.c",
        "int g(int x);\n__attribute__((noinline)) int f(int x) { return x % 99 ? 3 * x : g(x); }\n\
                          int g(int x) { return x + 7; }\n\
                          int main(void) { int s = 0; for (int i = 0; i < 9999; i++) s += f(i); return s == 0; }\n",
    );
    scene.edges(
        "build a.o: cc ../source/a.c\n  flags = -O2 -fprofile-use\n\
         build t.o: cc ../source/a.c\n  flags = -O2 -fprofile-generate\n\
         build t: sh t.o\n  cmd = gcc -fprofile-generate t.o -o t\n",
    );
    scene.build();
    let first = fs::read(scene.at("build/a.o")).unwrap();
    let status = std::process::Command::new(scene.at("build/t")).current_dir(scene.at("build")).status().unwrap();
    assert!(status.success());
    fs::copy(scene.at("build/t.gcda"), scene.at("build/a.gcda")).unwrap();
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `build/a.gcda` appeared"], "{said}");
    let cc = || {
        let mut gcc = std::process::Command::new("gcc");
        gcc.args(["-O2", "-fprofile-use", "-c", "../source/a.c", "-o", "a.o"]).current_dir(scene.at("build"));
        assert!(gcc.status().unwrap().success());
        fs::read(scene.at("build/a.o")).unwrap()
    };
    let with_profile = fs::read(scene.at("build/a.o")).unwrap();
    assert!(with_profile == cc());
    assert!(with_profile != first);
}

#[test]
fn a_library_that_appears_in_an_earlier_directory_is_linked() {
    let Some(scene) = Scene::new("a_library_that_appears_in_an_earlier_directory_is_linked", &["gcc"]) else { return };
    scene.write("one.c", "int f(void) { return 1; }\n");
    scene.write("two.c", "int f(void) { return 2; }\n");
    scene.write("main.c", "int f(void);\nint main(void) { return f(); }\n");
    fs::create_dir(scene.at("early")).unwrap();
    scene.edges(
        "build late/libf.a: sh ../one.c\n  cmd = gcc -c ../one.c -o one.o && rm -f late/libf.a && ar qc late/libf.a one.o\n\
         build main.o: cc ../main.c\n\
         build main: sh main.o | late/libf.a\n  cmd = gcc main.o -o main -L../early -Llate -lf\n",
    );
    scene.build();
    let answer = || std::process::Command::new(scene.at("build/main")).status().unwrap().code();
    assert_eq!(answer(), Some(1));
    let made = std::process::Command::new("sh")
        .args(["-c", "gcc -c two.c -o two.o && ar qc early/libf.a two.o"])
        .current_dir(scene.at("."))
        .status()
        .unwrap();
    assert!(made.success());
    let said = scene.build();
    assert_eq!((said.ran(), answer()), (vec!["main: `early/libf.a` appeared".into()], Some(2)), "{said}");
}

#[test]
fn a_program_that_no_text_names_is_there_if_the_host_has_it() {
    let test = "a_program_that_no_text_names_is_there_if_the_host_has_it";
    let Some(scene) = Scene::new(test, &["python3", "git"]) else { return };
    let text = "import shutil, subprocess\nname = 'g' + 'it'\nfound = shutil.which(name)\n\
                text = subprocess.check_output([found, '--version'], text=True) if found else 'none'\n\
                open('out', 'w').write(text)\n";
    scene.write("build/generate.py", text);
    scene.edges("build out: sh generate.py\n  cmd = python3 generate.py\n");
    scene.build();
    assert!(scene.read("build/out").starts_with("git version "), "{}", scene.read("build/out"));
    assert!(scene.build().is_idle());
}

#[test]
fn a_command_that_looks_for_git_runs_where_it_is() {
    let test = "a_command_that_looks_for_git_runs_where_it_is";
    let Some(scene) = Scene::new(test, &[]).filter(|_| !lacks_sandbox(test)) else { return };
    scene.write(".git/HEAD", "ref: refs/heads/main\n");
    scene.write("build/in", "");
    scene.edges(
        "build version: sh in\n  cmd = d=../.g; cat $${d}it/HEAD > version 2> /dev/null || echo unknown > version\n\
         build user: sh version\n  cmd = cp version user\n",
    );
    let said = scene.build();
    assert_eq!(scene.read("build/user"), "ref: refs/heads/main\n", "{said}");
    let again = "version: run each time, outside of the sandbox: it reads `.git/HEAD`";
    let said = scene.build();
    assert_eq!(said.ran(), [again], "{said}");
    scene.write(".git/HEAD", "ref: refs/heads/other\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["user: `build/version` changed", again], "{said}");
}

#[test]
fn a_command_that_runs_another_build_runs_when_ninja_would_run_it() {
    let test = "a_command_that_runs_another_build_runs_when_ninja_would_run_it";
    let Some(scene) = Scene::new(test, &[]) else { return };
    // As CMake's ExternalProject has it: of what a step does only its stamp is told, in which nothing stands.
    let ninja = tests::program("ninja2drv");
    scene.write("build/in", "one\n");
    scene.write("other/source", "one\n");
    scene.write("other/build.ninja", "rule r\n  command = cat source > made\nbuild made: r source\n");
    scene.edges(&format!(
        "build configured: sh in\n  cmd = touch configured\n\
         build built | ../other/made: sh configured\n  cmd = {} -C ../other && touch built\n\
         build user: sh ../other/made || built\n  cmd = cp ../other/made user\n",
        ninja.display()
    ));
    let said = scene.build();
    assert_eq!((said.ran().len(), scene.read("build/user")), (4, "one\n".into()), "{said}");
    assert!(scene.at("build/built").exists() && scene.build().is_idle());

    // What the other build reads is its own matter.
    scene.write("other/source", "two\n");
    assert!(scene.build().is_idle());
    scene.write("build/in", "two\n");
    let said = scene.build();
    let built = "built: `build/configured` changed, outside of the sandbox: it runs another build";
    let (configured, user) = ("configured: `build/in` changed", "user: `other/made` changed");
    assert_eq!(said.ran(), [built, "cat source > made: `other/source` changed", configured, user], "{said}");
    assert!(scene.build().is_idle());

    fs::remove_file(scene.at("build/built")).unwrap();
    let said = scene.build();
    assert_eq!(
        said.ran(),
        ["built: `build/built` is missing or was changed, outside of the sandbox: it runs another build"],
        "{said}"
    );

    // A script does not show it by its words, but by what it does in a sandbox.
    if is_refused() {
        return;
    }
    let run = ["exec", ninja.to_str().unwrap(), "-C", "../other"].join(" ");
    scene.write("build/script", format!("{run}\n"));
    scene.edges("build built: sh script\n  cmd = sh script && touch built\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["built: command changed, outside of the sandbox: it runs another build"], "{said}");
    assert!(scene.build().is_idle());
}

#[test]
fn a_command_may_build_in_the_directory_that_it_is_of() {
    let Some(scene) = Scene::new("a_command_may_build_in_the_directory_that_it_is_of", &[]) else { return };
    scene.write("build/in", "");
    scene.edges(&format!(
        "build a: sh in\n  cmd = cp in a\nbuild check: sh\n  cmd = {} a\ndefault check\n",
        tests::program("ninja2drv").display()
    ));
    let said = scene.build();
    let check = "check: not built here before, outside of the sandbox: it runs another build";
    assert_eq!(said.ran(), ["a: not built here before", check], "{said}");
    let clean = format!("build clean: sh\n  cmd = {} -t clean\n", tests::program("ninja2drv").display());
    scene.edges(&format!("build a: sh in\n  cmd = cp in a\n{clean}default a\n"));
    let clean = scene.run(&["clean"]);
    assert!(clean.code == Some(0) && !scene.at("build/a").exists(), "{clean}");
}

#[test]
fn a_header_that_only_might_be_included_runs_nothing_when_it_changes() {
    let test = "a_header_that_only_might_be_included_runs_nothing_when_it_changes";
    let Some(scene) = Scene::new(test, &["gcc"]).filter(|_| !lacks_sandbox(test)) else { return };
    scene.write(".splitter-root", "");
    scene.write("source/might.h", "int might;\n");
    scene.write("source/a.c", "#if __has_attribute(nonesuch)\n#include \"might.h\"\n#endif\nint a;\n");
    scene.edges("build a.o: cc ../source/a.c\n");
    scene.build();
    scene.write("source/might.h", "int other;\n");
    let said = scene.build();
    assert_eq!((said.ran(), said.reused()), (vec![], vec![]), "{said}");
    fs::remove_file(scene.at("source/might.h")).unwrap();
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `source/might.h` changed"], "{said}");

    // With what has been learnt so, another build directory has the same key whatever is in it: learnt by the first run,
    // made by the second.
    scene.write("source/might.h", "int might;\n");
    assert_eq!(scene.run(&["--exact"]).code, Some(0));
    for (text, ran) in [("int one;\n", 1), ("int two;\n", 1), ("int three;\n", 0)] {
        scene.write("source/might.h", text);
        fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
        let said = scene.run(&["--exact"]);
        assert_eq!((said.code, said.ran().len()), (Some(0), ran), "{said}");
    }
}

#[test]
fn a_file_that_the_assembler_reads_counts_though_no_depfile_names_it() {
    let test = "a_file_that_the_assembler_reads_counts_though_no_depfile_names_it";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("build/bytes", "one");
    scene.write("a.c", "asm(\".globl bytes; bytes: .incbin \\\"bytes\\\"\");\n");
    scene.edges("build a.o: cc ../a.c\n");
    scene.build();
    scene.write("build/bytes", "two");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `build/bytes` changed"], "{said}");
    assert!(fs::read(scene.at("build/a.o")).unwrap().windows(3).any(|bytes| bytes == b"two"));
}

#[test]
fn assemblers_and_generators_of_parsers_run_again_for_what_they_include() {
    let test = "assemblers_and_generators_of_parsers_run_again_for_what_they_include";
    let Some(scene) = Scene::new(test, &["nasm", "bison", "flex", "gcc"]) else { return };
    scene.write("source/a.asm", "%include \"values.inc\"\nsection .data\nglobal a\na: dd VALUE\nincbin \"bytes\"\n");
    scene.write("source/inc/values.inc", "%define VALUE 1\n");
    scene.write("source/inc/unread.inc", "");
    scene.write("source/bytes", "one");
    scene.write("source/p.y", "%{\nint yylex(void);\nvoid yyerror(const char *s);\n%}\n%token T\n%%\ns: T;\n");
    scene.write("source/l.l", "%option noyywrap\n%{\n#include \"p.h\"\n%}\n%%\nt return T;\n");
    scene.edges(
        "build a.o: sh ../source/a.asm\n  cmd = nasm -f elf64 -I../source/inc/ -I../source/ -MD a.o.d ../source/a.asm -o a.o\n\
         \x20 depfile = a.o.d\n  deps = gcc\n\
         build p.c p.h: sh ../source/p.y\n  cmd = bison -d ../source/p.y -o p.c\n\
         build l.c: sh ../source/l.l\n  cmd = flex -o l.c ../source/l.l\n\
         build l.o: cc l.c | p.h\n  flags = -I.\n",
    );
    scene.build();
    let plain = |name: &str| fs::read(scene.at("build").join(name)).unwrap();
    let ours = ["a.o", "p.c", "p.h", "l.c", "l.o"].map(plain);
    fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
    ["a.o", "p.c", "p.h", "l.c", "l.o"].iter().for_each(|name| fs::remove_file(scene.at("build").join(name)).unwrap());
    assert!(std::process::Command::new("ninja").current_dir(scene.at("build")).status().unwrap().success());
    assert!(ours == ["a.o", "p.c", "p.h", "l.c", "l.o"].map(plain));
    scene.build();

    scene.write("source/inc/unread.inc", "changed");
    assert_eq!(scene.build().ran(), NONE);
    scene.write("source/inc/values.inc", "%define VALUE 2\n");
    assert_eq!(scene.build().ran(), ["a.o: `source/inc/values.inc` changed"]);
    scene.write("source/bytes", "two");
    assert_eq!(scene.build().ran(), ["a.o: `source/bytes` changed"]);
    // One that is found before.
    scene.write("build/values.inc", "%define VALUE 3\n");
    assert_eq!(scene.build().ran(), ["a.o: `build/values.inc` appeared"]);
    scene.write("source/p.y", "%{\nint yylex(void);\nvoid yyerror(const char *s);\n%}\n%token T\n%%\ns: T T;\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["p.c p.h: `source/p.y` changed"], "{said}");
}

#[test]
fn a_copy_of_an_input_can_be_changed_and_the_input_cannot() {
    let test = "a_copy_of_an_input_can_be_changed_and_the_input_cannot";
    let Some(scene) = Scene::new(test, &[]).filter(|_| !lacks_sandbox(test)) else { return };
    scene.write("source/small", "small\n");
    scene.write("source/large", "large\n".repeat(20_000));
    scene.edges(
        "build small: sh ../source/small\n  cmd = cp ../source/small small && echo more >> small\n\
         build large: sh ../source/large\n  cmd = cp ../source/large large && echo more >> large\n",
    );
    scene.build();
    assert_eq!(scene.read("build/small"), "small\nmore\n");
    assert!(scene.read("build/large").ends_with("large\nmore\n"));
    scene.edges("build out: sh ../source/small\n  cmd = cp ../source/small out && echo more >> ../source/small\n");
    let said = scene.fail();
    assert!(said.out.contains("source/small`, outside the build directory"), "{said}");
    assert_eq!(scene.read("source/small"), "small\n");
}

#[test]
fn the_c_driver_compiles_cxx_where_the_host_has_a_compiler_for_it() {
    let test = "the_c_driver_compiles_cxx_where_the_host_has_a_compiler_for_it";
    let Some(scene) = Scene::new(test, &["gcc", "g++"]) else { return };
    scene.write("a.cc", "#include <vector>\nint f() { return std::vector<int>{1}.size(); }\n");
    scene.edges("build a.o: cc ../a.cc\n");
    scene.build();
}

#[test]
fn parts_of_a_link_are_optimised_at_once_as_outside() {
    let test = "parts_of_a_link_are_optimised_at_once_as_outside";
    let Some(scene) = Scene::new(test, &["gcc", "make"]) else { return };
    scene.write("a.c", "int f(int);\nint main(void) { return f(1); }\n");
    scene.write("b.c", "int f(int x) { return x - 1; }\n");
    scene.edges(
        "build a.o: cc ../a.c\n  flags = -O2 -flto=auto\nbuild b.o: cc ../b.c\n  flags = -O2 -flto=auto\n\
         build main: sh a.o b.o\n  cmd = gcc -O2 -flto=auto -flto-partition=max a.o b.o -o main\n",
    );
    let said = scene.build();
    assert!(!said.out.contains("lto-wrapper: "), "{said}");
    assert!(std::process::Command::new(scene.at("build/main")).status().unwrap().success());
}

#[test]
fn a_name_that_leads_out_of_a_link_means_what_it_means_to_the_compiler() {
    let test = "a_name_that_leads_out_of_a_link_means_what_it_means_to_the_compiler";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("source/deep/er/h.h", "#include \"../y.h\"\n");
    scene.write("source/deep/y.h", "int deep = 1;\n");
    scene.write("source/y.h", "int shallow = 1;\n");
    scene.write("a.c", "#include \"y.h\"\n");
    scene.write("source/b.c", "#include \"link/h.h\"\n");
    std::os::unix::fs::symlink("deep/er", scene.at("source/link")).unwrap();
    scene.edges("build a.o: cc ../a.c\n  flags = -I../source/link/..\nbuild b.o: cc ../source/b.c\n");
    scene.build();
    let holds = |object: &str, name: &str| {
        let bytes = fs::read(scene.at("build").join(object)).unwrap();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert_eq!([holds("a.o", "deep"), holds("a.o", "shallow")], [true, false]);
    assert_eq!([holds("b.o", "deep"), holds("b.o", "shallow")], [true, false]);
    scene.write("source/deep/y.h", "int deeper = 2;\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["a.o: `source/deep/y.h` changed", "b.o: `source/deep/y.h` changed"], "{said}");
}

#[test]
fn a_path_leads_nowhere_by_a_directory_that_is_not_there() {
    let test = "a_path_leads_nowhere_by_a_directory_that_is_not_there";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    let asks = |name: &str| format!("#if __has_include({name})\n#include {name}\n#else\nint nothing;\n#endif\n");
    scene.write("source/in/a.c", asks("\"x/../h.h\""));
    scene.write("source/in/h.h", "int beside;\n");
    scene.write("source/later/x/y", "");
    scene.write("source/later/h.h", "int later;\n");
    scene.write("source/b.c", asks("<k.h>"));
    scene.write("source/k.h", "int first;\n");
    scene.write("source/later/k.h", "int second;\n");
    scene.edges(
        "build a.o: cc ../source/in/a.c\n  flags = -I../source/later\n\
         build b.o: cc ../source/b.c\n  flags = -I../source/none/.. -I../source/later\n\
         build sub/c.o: cc ../source/b.c\n  flags = -Isub/../../source -I../source/later\n",
    );
    let said = scene.build();
    let holds = |object: &str, name: &str| {
        let bytes = fs::read(scene.at("build").join(object)).unwrap();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert!(holds("a.o", "later") && holds("b.o", "second") && holds("sub/c.o", "first"), "{said}");
    assert!(scene.build().is_idle());
    scene.write("source/in/x/y", "");
    scene.write("source/none/y", "");
    let said = scene.build();
    assert!(holds("a.o", "beside") && holds("b.o", "first"), "{said}");
    assert_eq!(said.ran().len(), 2, "{said}");
    assert!(scene.build().is_idle());
}

#[test]
fn a_source_behind_links_is_compiled_with_what_is_beside_it_there() {
    let test = "a_source_behind_links_is_compiled_with_what_is_beside_it_there";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    let link = |target: &str, at: &str| {
        fs::remove_file(scene.at(at)).ok();
        std::os::unix::fs::symlink(target, scene.at(at)).unwrap();
    };
    scene.write("real/d1/d2/c.c", "#include \"../h.h\"\n");
    scene.write("real/d1/h.h", "int deep = 1;\n");
    scene.write("real/h.h", "int shallow = 1;\n");
    scene.write("real/e1/e2/c.c", "#include \"../h.h\"\n");
    scene.write("real/e1/h.h", "int other = 1;\n");
    link("real", "link");
    link("d1/d2", "real/d3");
    let top = scene.at("").canonicalize().unwrap();
    let edges = format!(
        "build absolute.o: cc {0}/link/d3/c.c\nbuild relative.o: cc ../link/d3/c.c\n\
         build words: sh ../link/d3/c.c\n  cmd = cat ../link/d3/../h.h > words\n\
         build entered: sh ../link/d3/c.c\n  cmd = cd ../link/d3 && cat < ../h.h > {0}/build/entered\n\
         build shown: sh\n  cmd = echo `cat ../real/d3/../h.h` > shown\n",
        top.display()
    );
    scene.edges(&edges);
    let holds = |object: &str, name: &str| {
        let bytes = fs::read(scene.at("build").join(object)).unwrap();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    let all = ["absolute.o", "relative.o", "words", "entered", "shown"];
    let said = scene.build();
    assert_eq!(all.map(|object| holds(object, "deep")), [true; 5], "{said}");
    assert!(scene.build().is_idle());

    scene.write("real/h.h", "int unread = 1;\n");
    assert!(scene.build().is_idle());
    scene.write("real/d1/h.h", "int deeper = 2;\n");
    let said = scene.build();
    assert_eq!(said.ran().len(), 5, "{said}");
    assert_eq!(all.map(|object| holds(object, "deeper")), [true; 5], "{said}");
    link("e1/e2", "real/d3");
    let said = scene.build();
    assert_eq!(all.map(|object| holds(object, "other")), [true; 5], "{said}");
    assert!(scene.build().is_idle());

    // Where an edge writes through a link, they know each other's files by it: such a compile runs where it is.
    fs::create_dir(scene.at("build/outs")).unwrap();
    link("outs", "build/through");
    scene.edges(&format!("{edges}build through/c.o: cc ../link/d3/c.c\n"));
    let said = scene.build();
    assert!(holds("outs/c.o", "other"), "{said}");
    scene.write("real/e1/h.h", "int another = 1;\n");
    let said = scene.build();
    assert_eq!(["absolute.o", "outs/c.o"].map(|object| holds(object, "another")), [true, true], "{said}");
}

#[test]
fn a_file_that_another_edge_changes_in_place_has_a_version_of_each() {
    let test = "a_file_that_another_edge_changes_in_place_has_a_version_of_each";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("source", "one\n");
    scene.write("build/more", "more\n");
    scene.edges(
        "build made: sh ../source\n  cmd = head -n 1 ../source > made\n\
         build appended: sh made | more\n  cmd = cat more >> made && echo > appended\n\
         build replaced: sh made | appended\n  cmd = sed -i s/o/0/ made && echo > replaced\n\
         build user: sh made | replaced\n  cmd = cp made user\n",
    );
    let all = |said: &tests::Said| (said.ran().len(), scene.read("build/made"), scene.read("build/user"));
    let said = scene.build();
    assert_eq!(all(&said), (4, "0ne\nm0re\n".into(), "0ne\nm0re\n".into()), "{said}");
    let said = scene.build();
    assert!(said.is_idle(), "{said}");

    // What is in between is looked at, and nothing runs.
    scene.write("build/unrelated", "");
    scene.write("source", "one\ntwo\n");
    let said = scene.build();
    assert_eq!(said.ran(), ["made: `source` changed"], "{said}");
    assert_eq!(scene.read("build/made"), "0ne\nm0re\n", "{said}");
    assert!(scene.build().is_idle());

    scene.write("build/more", "less\n");
    let said = scene.build();
    assert_eq!(all(&said), (3, "0ne\nless\n".into(), "0ne\nless\n".into()), "{said}");
    assert!(said.ran().contains(&"appended: `build/more` changed".into()), "{said}");
    scene.write("source", "once\n");
    let said = scene.build();
    assert_eq!(all(&said), (4, "0nce\nless\n".into(), "0nce\nless\n".into()), "{said}");
    assert!(scene.build().is_idle());

    // One that was changed by hand, or was made by nobody that is known of, is made again from the store.
    scene.write("build/made", "by hand\n");
    let said = scene.build();
    assert_eq!(all(&said), (0, "0nce\nless\n".into(), "0nce\nless\n".into()), "{said}");
    fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
    scene.build();
    assert_eq!((scene.read("build/made"), scene.read("build/user")), ("0nce\nless\n".into(), "0nce\nless\n".into()));
    assert!(scene.build().is_idle());
}

#[test]
fn a_file_may_have_the_name_of_a_phony_target() {
    let Some(scene) = Scene::new("a_file_may_have_the_name_of_a_phony_target", &[]) else { return };
    scene.write("source", "one\n");
    // As CMake writes a target of which the command makes a file with the target's name.
    scene.edges(
        "build CMakeFiles/page: sh ../source\n  cmd = cp ../source page\n\
         build page: phony CMakeFiles/page\n\
         build user: sh | page\n  cmd = cat page page > user\n",
    );
    let said = scene.build();
    assert_eq!((said.ran().len(), scene.read("build/user")), (2, "one\none\n".into()), "{said}");
    scene.write("source", "two\n");
    scene.build();
    assert_eq!([scene.read("build/page"), scene.read("build/user")], ["two\n", "two\ntwo\n"]);
}

#[test]
fn a_script_that_fails_without_what_it_looked_for_is_run_again_with_it() {
    let test = "a_script_that_fails_without_what_it_looked_for_is_run_again_with_it";
    let Some(scene) = Scene::new(test, &["python3", "git"]) else { return };
    // Neither the second script's place nor what it is written in is in any text that is read.
    scene.write("other/second", "#!/usr/bin/env python3\nprint('made by the second')\n");
    fs::set_permissions(scene.at("other/second"), fs::Permissions::from_mode(0o755)).unwrap();
    let place = scene.at("oth");
    let place = place.to_str().unwrap();
    scene.write("source/first", format!("exec {place}\"\"er/sec\"\"ond > out\n"));
    scene.edges("build out: sh ../source/first\n  cmd = sh ../source/first\n");
    let said = scene.build();
    assert_eq!(scene.read("build/out"), "made by the second\n", "{said}");
    assert!(scene.build().is_idle());
    scene.write("other/second", "#!/usr/bin/env python3\nprint('made otherwise')\n");
    let said = scene.build();
    assert_eq!((said.ran().len(), scene.read("build/out")), (1, "made otherwise\n".into()), "{said}");

    // One that fails all the same is told once, and tried again by the next run.
    scene.write("source/first", "echo what is wrong; exit 3\n");
    for _ in 0..2 {
        let said = scene.fail();
        assert_eq!(said.out.matches("what is wrong").count(), 1, "{said}");
    }
}

#[test]
fn a_header_of_a_framework_that_appears_earlier_runs_the_compile() {
    let test = "a_header_of_a_framework_that_appears_earlier_runs_the_compile";
    let Some(scene) = Scene::new(test, &["clang-16"]) else { return };
    scene.write("late/Kit.framework/Headers/kit.h", "#define KIT 1\n");
    fs::create_dir(scene.at("early")).unwrap();
    scene.write("a.c", "#include <Kit/kit.h>\nint main(void) { return KIT; }\n");
    let compile = "  cmd = clang-16 -F../early -F ../late -c ../a.c -o a.o\n";
    scene.edges(&format!("build a.o: sh ../a.c\n{compile}build p: ld a.o\n"));
    scene.build();
    assert!(scene.build().is_idle());
    scene.write("early/Kit.framework/Headers/kit.h", "#define KIT 2\n");
    let said = scene.build();
    let appeared = "a.o: `early/Kit.framework` appeared";
    assert_eq!(said.ran(), [appeared, "p: `build/a.o` changed"], "{said}");
    let answer = std::process::Command::new(scene.at("build/p")).status().unwrap().code();
    assert_eq!(answer, Some(2));
}

#[test]
fn a_script_may_be_interpreted_by_what_the_build_makes() {
    let test = "a_script_may_be_interpreted_by_what_the_build_makes";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write(
        "source/main.c",
        "#include <stdio.h>\nint main(int n, char **v) { fputs(v[2], fopen(v[2], \"w\")); return 0; }\n",
    );
    let interpreter = scene.at("build/a b/tool");
    scene.write("build/script", format!("#!/usr/bin/env {}\n", interpreter.display()));
    fs::set_permissions(scene.at("build/script"), fs::Permissions::from_mode(0o755)).unwrap();
    scene.edges(
        "build main.o: cc ../source/main.c\nbuild a$ b/tool: sh main.o\n  cmd = gcc main.o -o 'a b/tool'\n\
                 build out: sh script | a$ b/tool\n  cmd = ./script out\n",
    );
    scene.build();
    assert_eq!(scene.read("build/out"), "out");
}

#[test]
fn a_python_is_of_the_host_wherever_it_lies_and_a_script_is_seen_with_what_it_imports() {
    let test = "a_python_is_of_the_host_wherever_it_lies_and_a_script_is_seen_with_what_it_imports";
    if lacks_sandbox(test) {
        return;
    }
    let Some(scene) = Scene::new(test, &["python3"]) else { return };
    let here = scene.at("");
    let environment = std::process::Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(here.join("env"))
        .status();
    if !environment.is_ok_and(|status| status.success()) {
        return not_run(test, "`/usr/bin/python3 -m venv` does not work");
    }
    // Neither lies in the project, which is `source` and `build`.
    scene.write(
        "scripts/generate",
        "import json, sys\nfrom kept.deep import text\nopen(sys.argv[2], 'w').write(json.dumps(text))\n",
    );
    scene.write("scripts/kept/deep.py", "text = 'one'\n");
    scene.write("source/in", "");
    let python = here.join("env/bin/python3");
    let script = here.join("scripts/generate.py");
    fs::rename(here.join("scripts/generate"), &script).unwrap();
    scene.edges(&format!(
        "build out: sh ../source/in\n  cmd = {} {} ../source/in out\n",
        python.display(),
        script.display()
    ));
    scene.build();
    assert_eq!(scene.read("build/out"), "\"one\"");
    scene.write("scripts/kept/deep.py", "text = 'three'\n");
    assert_eq!(scene.build().ran(), ["out: `scripts/kept/deep.py` changed"]);
    assert_eq!(scene.read("build/out"), "\"three\"");
}

#[test]
fn a_tool_of_the_build_may_look_for_its_leaks() {
    let test = "a_tool_of_the_build_may_look_for_its_leaks";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("build/empty.c", "int main(void) { return 0; }\n");
    let mut link = std::process::Command::new("gcc");
    link.args(["-fsanitize=address", "empty.c", "-o", "empty"]).current_dir(scene.at("build"));
    if !link.output().unwrap().status.success() {
        return not_run(test, "gcc has no AddressSanitizer");
    }
    scene.write("build/tool.c", "#include <stdio.h>\nint main(void) { return puts(\"made\") < 0; }\n");
    scene.edges(
        "build tool: sh tool.c\n  cmd = gcc -fsanitize=address tool.c -o tool\n\
         build made: sh | tool\n  cmd = ./tool > made\n",
    );
    scene.build();
    assert_eq!(scene.read("build/made"), "made\n");
    // By what is known of it by then, and so not traced.
    scene.write("build/tool.c", "#include <stdio.h>\nint main(void) { return puts(\"other\") < 0; }\n");
    scene.build();
    assert_eq!(scene.read("build/made"), "other\n");
}

#[test]
fn a_check_of_the_compilation_database_reads_it() {
    let test = "a_check_of_the_compilation_database_reads_it";
    let Some(scene) = Scene::new(test, &["python3"]) else { return };
    scene.write("build/compile_commands.json", "[1]");
    scene.write("source/check.py", "print(open('compile_commands.json').read(), file=open('out', 'w'))\n");
    scene.edges("build out: sh ../source/check.py\n  cmd = python3 ../source/check.py\n");
    scene.build();
    assert_eq!(scene.read("build/out"), "[1]\n");
    scene.write("build/compile_commands.json", "[1, 2]");
    assert_eq!(scene.build().ran(), ["out: `build/compile_commands.json` changed"]);
}

#[test]
fn a_script_may_start_the_compiler_by_ccache() {
    let Some(scene) = Scene::new("a_script_may_start_the_compiler_by_ccache", &["ccache", "gcc"]) else { return };
    scene.write("source/a.c", "int a;\n");
    scene.write("source/compile.sh", "ccache gcc -c ../source/a.c -o a.o\n");
    scene.edges("build a.o: sh ../source/compile.sh ../source/a.c\n  cmd = sh ../source/compile.sh\n");
    scene.build();
    assert!(scene.at("build/a.o").exists());
}

#[test]
fn what_meson_copies_has_the_time_of_its_original() {
    let test = "what_meson_copies_has_the_time_of_its_original";
    let Some(scene) = Scene::new(test, &["meson"]) else { return };
    scene.write("source/in", "text");
    let original = fs::File::options().write(true).open(scene.at("source/in")).unwrap();
    original.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    scene.edges("build out: sh ../source/in\n  cmd = meson --internal copy ../source/in out\n");
    scene.build();
    let time = |name: &str| fs::metadata(scene.at(name)).unwrap().modified().unwrap();
    assert_eq!(time("build/out"), time("source/in"));
    assert!(scene.build().is_idle());
}

#[test]
fn a_library_is_linked_with_those_that_it_finds_by_its_own_path() {
    let test = "a_library_is_linked_with_those_that_it_finds_by_its_own_path";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("source/b.c", "int b(void) { return 0; }\n");
    scene.write("source/a.c", "int b(void);\nint a(void) { return b(); }\n");
    scene.write("source/main.c", "int a(void);\nint main(void) { return a(); }\n");
    scene.edges(
        "\
rule so
  command = gcc -shared $in -o $out $flags
  description = $out
build a.o: cc ../source/a.c
  flags = -fPIC
build b.o: cc ../source/b.c
  flags = -fPIC
build main.o: cc ../source/main.c
build of_a/of_b/libb.so: so b.o
  flags = -Wl,-soname,libb.so
build of_a/liba.so: so a.o | of_a/of_b/libb.so
  flags = of_a/of_b/libb.so '-Wl,-soname,liba.so,-rpath,$$ORIGIN/of_b'
build main: so main.o | of_a/liba.so
  command = gcc main.o of_a/liba.so -o main '-Wl,-rpath,$$ORIGIN/of_a'
",
    );
    let said = scene.build();
    assert!(!said.out.contains("ninja2drv: warning: "), "{said}");
}
