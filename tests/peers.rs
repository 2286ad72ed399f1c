//! What made other tools fail that build Ninja's or make's edges one by one in a sandbox, each class with the projects in
//! which it was seen. What comes out is compared with what plain ninja makes of the same directory.
//!
//! Of these classes other tests hold the rest:
//! - a generated header that is not on disk when its reader is scanned (libvmaf, lapack):
//!   `changes::a_header_that_a_built_tool_writes_is_found_by_those_who_come_after`, modules of Fortran: `dyndep`;
//! - scripts that import their siblings: `changes::a_module_that_a_generator_can_do_without_is_used_when_it_appears`;
//!   that ask git: `changes::a_command_that_looks_for_git_runs_where_it_is`;
//! - `__has_include`: `changes::a_header_that_a_source_asks_for_runs_the_compile_when_it_appears`;
//! - a stamp that nobody writes and another command reads:
//!   `bad_input::an_output_that_is_not_written_is_an_error_only_where_another_edge_needs_it`;
//! - tests and installation: `roots`, and of real projects `corpus`;
//! - the directory in debug information: `roots::debug_information_binds_a_compile_unless_the_canonical_root_may_stand_in_it`;
//! - the driver in the keys: `localstore/pinned-runners`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use tests::checkout::{Tree, copy, done};
use tests::{Said, Scene};

/// All of a scene but what is ours.
fn parts(scene: &Scene) -> Vec<String> {
    let entries = fs::read_dir(scene.at("")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("named by a test"));
    let mut names: Vec<String> = names.filter(|name| !["store", "history", "home"].contains(&name.as_str())).collect();
    names.sort();
    names
}

fn trees(scene: &Scene) -> Vec<(String, Tree)> {
    let parts = parts(scene).into_iter().filter(|part| scene.at(part).is_dir());
    parts.map(|part| (format!("{part}/"), Tree::of(&scene.at(&part)))).collect()
}

/// Builds with plain ninja, puts all back to where it was, builds with ours, and once more by what that taught: from
/// the store, and with scripts that see only what they read before. What lies in the scene is the same each time. Answers what was said of the first build of ours.
fn as_by_ninja(scene: &Scene) -> Said {
    scene.write(".splitter-root", "");
    let kept = tempfile::tempdir().unwrap();
    let parts_before = parts(scene);
    parts_before.iter().for_each(|part| copy(&scene.at(part), kept.path()));
    let put_back = || {
        done(Command::new("rm").arg("-rf").args(parts(scene)).current_dir(scene.at("")));
        parts_before.iter().for_each(|part| copy(&kept.path().join(part), &scene.at("")));
    };
    done(Command::new("ninja").env("PYTHONDONTWRITEBYTECODE", "1").arg("-j2").current_dir(scene.at("build")));
    let theirs = trees(scene);
    let is_the_same = |said: &Said| {
        for ((part, ours), (_, theirs)) in trees(scene).iter().zip(&theirs) {
            let differences = ours.differences(theirs);
            assert!(differences.is_empty(), "{said}\nnot as ninja makes it, below {part}: {differences:?}");
        }
    };
    put_back();
    let first = scene.build();
    is_the_same(&first);
    let idle = scene.build();
    assert!(idle.ran().is_empty(), "{first}\n{idle}");

    put_back();
    is_the_same(&scene.build());
    first
}

/// What would be said if these edges ran for these reasons.
fn ran(edges: &[(&str, &str)]) -> Vec<String> {
    let mut ran: Vec<String> = edges.iter().map(|(edge, reason)| format!("{edge}: {reason}")).collect();
    ran.sort();
    ran
}

fn script(scene: &Scene, name: &str, text: &str) {
    scene.write(name, text);
    fs::set_permissions(scene.at(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// lzo computes names across files, qemu gives them by `-D`, webrtc has directories called as headers.
#[test]
fn an_include_counts_however_it_is_written() {
    let Some(scene) = Scene::new("an_include_counts_however_it_is_written", &["gcc", "g++", "ninja"]) else { return };
    // Unit, how it is compiled, its text, and the file that it reads at last.
    let units: &[(&str, &str, &[u8], &str)] = &[
        ("across.c", "", b"#include \"names.h\"\n#include ACROSS\n", "inc/across.h"),
        ("pasted.c", "", b"#include \"names.h\"\n#include FILE_OF(pasted)\n", "inc/pasted.h"),
        ("quoted.c", "-DNAME='\"quoted.h\"'", b"#include NAME\n", "inc/quoted.h"),
        ("escaped.c", "-DNAME=\\\"escaped.h\\\"", b"#include NAME\n", "inc/escaped.h"),
        ("angled.c", "'-DNAME=<angled.h>'", b"#include NAME\n", "inc/angled.h"),
        ("blanks.c", "", b"  #\t /* so */ include /* or so */ \"blanks.h\" // a comment\n", "inc/blanks.h"),
        ("broken.c", "", b"#inc\\\nlude \"bro\\\nken.h\"\n", "inc/broken.h"),
        ("digraph.c", "", b"%:include \"digraph.h\"\n", "inc/digraph.h"),
        ("trigraph.c", "-std=c11", b"??=include \"trigraph.h\"\n", "inc/trigraph.h"),
        ("forced.c", "-include forced.h", b"", "inc/forced.h"),
        ("next.c", "-I../source/first", b"#include <next.h>\n", "inc/next.h"),
        ("long.c", "--include=long.h --include-directory=../source/inc", b"", "inc/long.h"),
        ("undefined.c", "-DA --undefine-macro=A", b"#ifndef A\n#include \"undefined.h\"\n#endif\n", "inc/undefined.h"),
        ("root.c", "--sysroot=../source -isystem =/inc", b"#include <root.h>\n", "inc/root.h"),
        ("import.c", "-w", b"#import \"import.h\"\n", "inc/import.h"),
        ("latin.c", "", b"/* \xe9t\xe9 */ const char *latin = \"\xff\xfe\";\n#include \"latin\xe9.h\"\n", "latin"),
        ("incbin.c", "", b"asm(\".section .rodata\\n.incbin \\\"../source/inc/incbin\\\"\");\n", "inc/incbin"),
        ("incbin2.S", "", b"#define NAME \"../source/inc/incbin2\"\n.data\n.incbin NAME\n", "inc/incbin2"),
        ("include.S", "", b".data\n.include \"include.inc\"\n", "inc/include.inc"),
        ("shadow.c", "-I../source/shadow", b"#include <stdio.h>\n#include \"shadow.h\"\n", "inc/shadow.h"),
        ("shadow2.cc", "-I../source/shadow", b"#include <memory>\n#include <shadow2.h>\n", "inc/shadow2.h"),
    ];
    scene.write(
        "source/names.h",
        "#define ACROSS \"across.h\"\n#define STRING(x) <x.h>\n#define FILE_OF(x) STRING(x)\n",
    );
    scene.write("source/first/next.h", "#include_next <next.h>\n");
    for name in ["stdio.h", "shadow.h", "shadow2.h", "memory"] {
        fs::create_dir_all(scene.at("source/shadow").join(name)).unwrap();
    }
    let file = |last: &str| match last {
        "latin" => scene.at("source/inc").join(std::ffi::OsStr::from_bytes(b"latin\xe9.h")),
        _ => scene.at("source").join(last),
    };
    scene.write("source/inc/x", "");
    let write_all = |value: u32| {
        for (unit, _, _, last) in units {
            let text = match *last {
                "inc/incbin" | "inc/incbin2" => format!("{value}"),
                "inc/include.inc" => format!(".long {value}\n"),
                _ => format!("int of_{} = {value};\n", unit.split('.').next().unwrap()),
            };
            fs::write(file(last), text).unwrap();
        }
    };
    let mut edges = "rule cxx\n  command = g++ $flags -MD -MF $out.d -c $in -o $out\n  description = $out\n  \
                     depfile = $out.d\n  deps = gcc\n"
        .to_owned();
    for (unit, flags, text, _) in units {
        scene.write(&format!("source/{unit}"), text);
        let asm = if unit.ends_with(".S") { "-Wa,-I,../source/inc" } else { "" };
        let rule = if unit.ends_with(".cc") { "cxx" } else { "cc" };
        edges += &format!("build {unit}.o: {rule} ../source/{unit}\n  flags = {flags} -I../source/inc {asm}\n");
    }
    scene.edges(&edges);
    write_all(1);
    let said = as_by_ninja(&scene);
    // Where macros name what the assembler reads, nobody tells; of all else the first run knows.
    let retried: Vec<&str> = said.out.lines().filter(|line| line.contains("it failed, and ran again")).collect();
    assert!(retried.len() == 1 && retried[0].contains("`incbin2.S.o`"), "{said}");

    write_all(2);
    let said = scene.build();
    let changed = units.iter().map(|(unit, _, _, last)| {
        let last = if *last == "latin" { "inc/latin\u{fffd}.h" } else { last };
        format!("{unit}.o: `source/{last}` changed")
    });
    let mut changed: Vec<String> = changed.collect();
    changed.sort();
    assert_eq!(said.ran(), changed, "{said}");
    as_by_ninja(&scene);
}

/// onetbb reads a template, svt-av1 asks for a version, scripts of GN import what lies beside their real place.
#[test]
fn what_a_script_reads_beside_its_real_place_counts() {
    let test = "what_a_script_reads_beside_its_real_place_counts";
    let Some(scene) = Scene::new(test, &["ninja", "python3"]) else { return };
    let python = "import os, sys\nhere = os.path.dirname(os.path.realpath(__file__))\n\
                  sys.path.insert(0, os.path.join(here, 'lib'))\nimport sibling\n\
                  open(sys.argv[1], 'w').write(sibling.text + open(os.path.join(here, 'text.in')).read())\n";
    scene.write("source/tools/real/generate.py", python);
    scene.write("source/tools/real/lib/sibling.py", "from other import text\n");
    scene.write("source/tools/real/lib/other.py", "text = 'one '\n");
    scene.write("source/tools/real/text.in", "two\n");
    let shell =
        "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n. \"$here/vars.sh.in\"\necho \"$VERSION\" > $1\n";
    script(&scene, "source/tools/real/vars.sh", shell);
    scene.write("source/tools/real/vars.sh.in", "VERSION=$(cat \"$here/../../VERSION\")\n");
    scene.write("source/VERSION", "1.0\n");
    fs::create_dir(scene.at("source/bin")).unwrap();
    for name in ["generate.py", "vars.sh"] {
        symlink(format!("../tools/real/{name}"), scene.at("source/bin").join(name)).unwrap();
    }
    scene.edges(
        "build generated: sh ../source/bin/generate.py\n  cmd = python3 ../source/bin/generate.py generated\n\
         build version: sh | ../source/VERSION\n  cmd = ../source/bin/vars.sh version\n",
    );
    as_by_ninja(&scene);
    assert_eq!((scene.read("build/generated"), scene.read("build/version")), ("one two\n".into(), "1.0\n".into()));

    scene.write("source/tools/real/lib/other.py", "text = 'three '\n");
    scene.write("source/VERSION", "2.0\n");
    let said = scene.build();
    let (other, version) = ("`source/tools/real/lib/other.py` changed", "`source/VERSION` changed");
    assert_eq!(said.ran(), ran(&[("generated", other), ("version", version)]), "{said}");
    as_by_ninja(&scene);
}

/// svt-av1 has stamps that nobody writes, and openblas a phony name for 8299 files.
#[test]
fn phony_names_stamps_and_outputs_beside_others_order_and_do_no_more() {
    let test = "phony_names_stamps_and_outputs_beside_others_order_and_do_no_more";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    scene.write("build/in", "in\n");
    scene.write("source/a.c", "#include \"7.h\"\nint a = SEVEN;\n");
    scene.write("source/co.c", "int co(void) { return 1; }\n");
    let headers: Vec<String> = (0..3000).map(|i| format!("../source/many/{i}.h")).collect();
    fs::create_dir(scene.at("source/many")).unwrap();
    headers.iter().for_each(|header| fs::write(scene.at("build").join(header), "#define SEVEN 7\n").unwrap());
    scene.edges(&format!(
        "build headers: phony {}\nbuild more: phony headers stamp\n\
         build a.o: cc ../source/a.c | more\n  flags = -I../source/many\n\
         build ordered: sh in || more\n  cmd = cp in ordered\n\
         build observed: sh in | more\n  cmd = cp in observed\n\
         build stamp: sh in\n  cmd = test -e in\n\
         build co.c co.h: sh in\n  cmd = echo '#include \"co.h\"' > co.c; echo 'int co;' > co.h\n\
         build co.o: cc co.c\n\
         build read: sh co.c\n  cmd = cat co.h > read\n\
         build generated.stamp: sh in\n  cmd = mkdir -p generated && cp in generated/x && touch generated.stamp\n\
         build touched: sh in\n  cmd = touch touched\n",
        headers.join(" "),
    ));
    as_by_ninja(&scene);

    scene.write("source/many/7.h", "#define SEVEN 8\n");
    scene.write("source/many/8.h", "#define SEVEN 8\n");
    let said = scene.build();
    // `cp in observed` might read all that the build file states.
    let seven = "`source/many/7.h` changed";
    assert_eq!(said.ran(), ran(&[("a.o", seven), ("observed", seven)]), "{said}");
}

/// Qt's tools read absolute paths from files, Chromium goes five directories up, lz4 and openblas by a directory that
/// nothing is read from, openfec writes to absolute paths.
#[test]
fn paths_mean_what_they_mean_to_ninja() {
    let Some(scene) = Scene::new("paths_mean_what_they_mean_to_ninja", &["gcc", "ninja"]) else { return };
    let top = scene.at("").canonicalize().unwrap();
    let up = "../".repeat(top.components().count()) + top.to_str().unwrap().trim_start_matches('/');
    let top = top.to_str().unwrap();
    scene.write("source/lib/x.h", "#define X 1\n");
    scene.write("source/lib/data", "data\n");
    scene.write("source/a.c", "#include \"x.h\"\nint a = X;\n");
    scene.write("source/b.c", "#include \"build/cmake/../../lib/x.h\"\nint b = X;\n");
    scene.write("source/build/cmake/CMakeLists.txt", "");
    scene.write("source/deep/er/nothing", "");
    scene.write("source/deep/y.h", "#define Y 1\n");
    scene.write("source/y.h", "#error not this one\n");
    scene.write("source/c.c", "#include \"y.h\"\nint c = Y;\n");
    symlink("deep/er", scene.at("source/link")).unwrap();
    scene.write("build/info.json", format!("{top}/source/lib/data\n"));
    scene.write("main.c", "int main(void) { return 0; }\n");
    fs::create_dir_all(scene.at("build/1/2/3/4/5")).unwrap();
    scene.write("build/1/2/3/4/5/keep", "");
    let strict =
        "name=$(cat \"$1\"); test ! -L \"$name\" && test \"$(readlink -f \"$name\")\" = \"$name\" && cat \"$name\"\n";
    scene.write("source/tools/sync.sh", strict);
    scene.edges(&format!(
        "rule rsp\n  command = gcc @$out.rsp -c -o $out\n  rspfile = $out.rsp\n  rspfile_content = $in -I{top}/source/lib\n\
         rule list\n  command = xargs cat < $out.rsp > $out\n  description = $out\n  rspfile = $out.rsp\n  rspfile_content = {top}/source/lib/data $in_newline\n\
         build a.o: rsp {top}/source/a.c\n\
         build list: list {top}/source/lib/x.h\n\
         build synced: sh info.json\n  cmd = sh ../source/tools/sync.sh info.json > synced\n\
         build pwd: sh\n  cmd = pwd > pwd; readlink -f . >> pwd; echo $$PWD >> pwd\n\
         build up.o: cc ../source/a.c\n  flags = -I{up}/source/lib\n\
         build up: sh {up}/source/lib/data\n  cmd = cp {up}/source/lib/data up\n\
         build five: sh\n  cmd = cd 1/2/3/4/5 && cat ../../../../../../source/lib/data > ../../../../../five\n\
         build middle.o: cc ../source/a.c\n  flags = -I../source/build/cmake/../../lib\n\
         build middle2.o: cc ../source/b.c\n\
         build middle: sh\n  cmd = cp ../source/build/cmake/../../lib/data middle\n\
         build link: sh\n  cmd = cat ../source/link/../y.h > link\n\
         build prologue.o: sh ../source/a.c\n  cmd = cd {top}/build && gcc -I../source/lib -c ../source/a.c -o prologue.o\n\
         build colon.o: sh ../source/a.c\n  cmd = : && gcc -I../source/lib -c ../source/a.c -o colon.o && :\n\
         build {top}/source/bin/abs.o: cc ../source/a.c\n  flags = -I../source/lib\n\
         build {top}/source/bin/abs: sh {top}/source/bin/abs.o\n  cmd = cp {top}/source/bin/abs.o {top}/source/bin/abs\n\
         build {top}/source/bin/main.o: cc ../main.c\n\
         build {top}/source/bin/main: ld {top}/source/bin/main.o\n",
    ));
    as_by_ninja(&scene);

    scene.write("source/lib/data", "changed\n");
    scene.write("source/deep/y.h", "#define Y 2\n");
    let said = scene.build();
    let (data, y) = ("`source/lib/data` changed", "`source/deep/y.h` changed");
    let again = [("five", data), ("link", y), ("list", data), ("middle", data), ("synced", data), ("up", data)];
    assert_eq!(said.ran(), ran(&again), "{said}");
    as_by_ninja(&scene);
}

/// fmt, json-c, lz4 and others have chains of names, lapacke an alias, nspr a tree of links to its headers; copies in
/// their place broke brotli's installation.
#[test]
fn links_stay_links_and_lead_where_they_led() {
    let Some(scene) = Scene::new("links_stay_links_and_lead_where_they_led", &["gcc", "ninja"]) else { return };
    let top = scene.at("").canonicalize().unwrap();
    let top = top.to_str().unwrap();
    scene.write("source/lib.c", "int f(void) { return 3; }\n");
    scene.write("source/main.c", "int f(void);\nint main(void) { return f() - 3; }\n");
    scene.write("source/pub/x.h", "#include \"y.h\"\n");
    scene.write("source/pub/y.h", "#define Y 1\n");
    scene.write("source/x.c", "#include <x.h>\nint x = Y;\n");
    scene.write("source/real/a.c", "#include \"a.h\"\nint a = A;\n");
    scene.write("source/real/a.h", "#error the header beside the link is meant\n");
    scene.write("source/spelt/a.h", "#define A 1\n");
    symlink("../real/a.c", scene.at("source/spelt/a.c")).unwrap();
    symlink("real", scene.at("source/linked")).unwrap();
    scene.write("source/real/b.c", "#include \"b.h\"\nint b = B;\n");
    scene.write("source/real/b.h", "#define B 1\n");
    scene.write("build/in", "in\n");
    let lib = "gcc -shared -fPIC ../source/lib.c -Wl,-soname,libf.so.1 -o libf.so.1.2";
    scene.edges(&format!(
        "build libf.so.1.2: sh ../source/lib.c\n  cmd = {lib}\n\
         build libf.so.1: sh libf.so.1.2\n  cmd = ln -sf libf.so.1.2 libf.so.1\n\
         build libf.so: sh libf.so.1\n  cmd = rm -f libf.so && ln -s libf.so.1 libf.so\n\
         build libalias.so: sh libf.so\n  cmd = ln -sf {top}/build/libf.so libalias.so\n\
         build main.o: cc ../source/main.c\n\
         build by-name: sh main.o | libf.so\n  cmd = gcc main.o -o by-name -L. -lf -Wl,-rpath,'$$ORIGIN'\n\
         build by-alias: sh main.o | libalias.so\n  cmd = gcc main.o -o by-alias -L. -lalias -Wl,-rpath,'$$ORIGIN'\n\
         build works: sh by-name by-alias | libf.so.1\n  cmd = ./by-name && ./by-alias && touch works\n\
         build include/x.h: sh ../source/pub/x.h\n  cmd = ln -sf ../../source/pub/x.h include/x.h\n\
         build include/y.h: sh ../source/pub/y.h\n  cmd = ln -sf {top}/source/pub/y.h include/y.h\n\
         build x.o: cc ../source/x.c || include/x.h include/y.h\n  flags = -Iinclude\n\
         build headers: sh ../source/pub/x.h\n  cmd = ln -sfn ../source/pub headers\n\
         build x2.o: cc ../source/x.c || headers\n  flags = -Iheaders\n\
         build a.o: cc ../source/spelt/a.c\n\
         build b.o: cc ../source/linked/b.c\n\
         build copy: sh in\n  cmd = ln -sf in link && cp -P link copy\n\
         build through: sh copy\n  cmd = cat copy > through\n",
    ));
    as_by_ninja(&scene);
    let linked = |name: &str| fs::read_link(scene.at("build").join(name)).unwrap();
    assert_eq!(linked("libf.so").to_str(), Some("libf.so.1"));

    // A change of what a link leads to is a change for those who read it by the link.
    scene.write("source/pub/y.h", "#define Y 2\n");
    scene.write("source/real/b.h", "#define B 2\n");
    scene.write("build/in", "changed\n");
    let said = scene.build();
    let changed: Vec<String> = said.ran().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    for edge in ["x.o", "x2.o", "b.o", "through"] {
        assert!(changed.contains(&edge.to_owned()), "{edge}: {said}");
    }
    as_by_ninja(&scene);
}

/// What patchelf drops, and what nss and openssl have in their words.
#[test]
fn paths_that_are_only_names_are_kept_as_they_are() {
    let test = "paths_that_are_only_names_are_kept_as_they_are";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    let top = scene.at("").canonicalize().unwrap();
    let top = top.to_str().unwrap();
    scene.write("main.c", "const char *where = WHERE;\nint main(void) { return 0; }\n");
    let mut edges = format!(
        "build main.o: cc ../main.c\n  flags = -DWHERE='\"/opt/ssl\"' -I/opt/ssl/include -I/nonexistent/include\n\
         build inside.o: cc ../main.c\n  flags = -DWHERE='\"{top}/installed\"' -I{top}/installed/include\n",
    );
    let rpaths = ["$$ORIGIN", "$$ORIGIN/../lib:", ":/opt/lib::", "$$ORIGIN:/opt/ssl/lib:", &format!("{top}/build:")];
    for (i, rpath) in rpaths.iter().enumerate() {
        edges += &format!("build p{i}: sh main.o\n  cmd = gcc main.o -o p{i} -Wl,-rpath,'{rpath}'\n");
        edges += &format!(
            "build q{i}: sh main.o\n  cmd = gcc main.o -o q{i} -Wl,--disable-new-dtags -Wl,-rpath='{rpath}'\n"
        );
    }
    scene.edges(&edges);
    as_by_ninja(&scene);
}

/// gperf's makefiles write `.Tpo`, cargo's archives are made twice, LLVM names libraries twice on a line.
#[test]
fn side_outputs_archives_and_repeated_words_are_as_ninja_has_them() {
    let test = "side_outputs_archives_and_repeated_words_are_as_ninja_has_them";
    let Some(scene) = Scene::new(test, &["gcc", "ninja", "ranlib"]) else { return };
    scene.write("a.c", "int b(void);\nint a(int x) { return x ? b() : 2; }\n");
    scene.write("b.c", "int a(int);\nint b(void) { return a(0); }\n");
    scene.write("main.c", "int a(int);\nint main(void) { return a(1) - 2; }\n");
    scene.write("data.c", "asm(\".data\\n.long 7\");\n");
    scene.edges(
        "rule depless\n  command = gcc -c $in -o $out\n  description = $out\n  depfile = $out.d\n  deps = gcc\n\
         rule kept\n  command = gcc -MD -MF $out.d -c $in -o $out\n  description = $out\n  depfile = $out.d\n\
         build a.o: cc ../a.c\nbuild b.o: cc ../b.c\nbuild main.o: cc ../main.c\nbuild data.o: cc ../data.c\n\
         build depless.o: depless ../a.c\n\
         build kept.o: kept ../a.c\n\
         build tpo.o: sh ../a.c\n  cmd = gcc -MT tpo.o -MD -MP -MF tpo.Tpo -c ../a.c -o tpo.o && mv -f tpo.Tpo tpo.Po\n\
         build split.o: cc ../main.c\n  flags = -g -gsplit-dwarf\n\
         build split2.o: sh ../a.c\n  cmd = gcc -g -gsplit-dwarf -c ../a.c -o split2.o\n\
         build split: sh split.o split2.o b.o\n  cmd = gcc -g -gsplit-dwarf split.o split2.o b.o -o split\n\
         build liba.a: sh a.o b.o\n  cmd = rm -f liba.a && ar qc liba.a a.o b.o && ranlib liba.a\n\
         build libcr.a: sh a.o b.o\n  cmd = ar cr libcr.a a.o && ar r libcr.a b.o && ranlib libcr.a\n\
         build thin/libthin.a: sh a.o b.o\n  cmd = rm -f thin/libthin.a && ar qcT thin/libthin.a a.o b.o\n\
         build thin2/libthin.a: sh thin/libthin.a data.o\n  cmd = rm -f thin2/libthin.a && ar rcsT thin2/libthin.a thin/libthin.a data.o\n\
         build by-thin: ld main.o thin/libthin.a\n\
         build by-thin2: ld main.o thin2/libthin.a\n\
         build libone.a: ar a.o\nbuild libtwo.a: ar b.o\n\
         build twice: ld main.o libone.a libtwo.a libone.a data.o data.o\n\
         build libdouble.a: ar data.o data.o\n\
         build group: sh main.o libone.a libtwo.a\n  cmd = gcc main.o -Wl,--start-group libtwo.a libone.a -Wl,--end-group -o group\n\
         build stripped: sh twice\n  cmd = strip twice -o stripped && objcopy --add-section .x=../main.c stripped\n",
    );
    as_by_ninja(&scene);

    scene.write("b.c", "int a(int);\nint b(void) { return a(0) + 1 - 1; }\nint more;\n");
    scene.build();
    as_by_ninja(&scene);
}

/// LLVM, protobuf, zstd and Linux run what they have just built.
#[test]
fn a_tool_of_the_build_runs_with_its_library_and_its_plugins() {
    let test = "a_tool_of_the_build_runs_with_its_library_and_its_plugins";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    let library = |text: &str| scene.write("lib.c", format!("const char *text(void) {{ return \"{text}\"; }}\n"));
    library("#define ONE 1");
    scene.write("tool.c", "#include <stdio.h>\nconst char *text(void);\nint main(void) { puts(text()); return 0; }\n");
    let load = "#include <dlfcn.h>\n#include <stdio.h>\nint main(int n, char **v) {\nvoid *h = dlopen(v[1], RTLD_NOW);\n\
                if (!h) { puts(dlerror()); return 1; }\nputs(((const char *(*)(void))dlsym(h, \"text\"))());\nreturn 0; }\n";
    scene.write("load.c", load);
    let start = "#include <stdlib.h>\nint main(int n, char **v) { return system(v[1]) != 0; }\n";
    scene.write("start.c", start);
    scene.write("use.c", "#include \"made.h\"\nint main(void) { return ONE; }\n");
    scene.edges(
        "build lib/libt.so: sh ../lib.c\n  cmd = gcc -shared -fPIC ../lib.c -o lib/libt.so\n\
         build tool.o: cc ../tool.c\nbuild load.o: cc ../load.c\nbuild start.o: cc ../start.c\n\
         build load: ld load.o\nbuild start: ld start.o\n\
         build bin/tool: sh tool.o lib/libt.so\n  cmd = gcc tool.o -o bin/tool lib/libt.so -Wl,-rpath,'$$ORIGIN/../lib'\n\
         build bin/bare: sh tool.o lib/libt.so\n  cmd = gcc tool.o -o bin/bare -Llib -lt\n\
         build made.h: sh bin/tool\n  cmd = bin/tool > made.h\n\
         build use.o: cc ../use.c | made.h\n  flags = -I.\nbuild use: ld use.o\n\
         build bare: sh bin/bare\n  cmd = LD_LIBRARY_PATH=lib bin/bare > bare\n\
         build bare2: sh bin/bare\n  cmd = env LD_LIBRARY_PATH=$$PWD/lib bin/bare > bare2\n\
         build loaded: sh load | lib/libt.so\n  cmd = ./load ./lib/libt.so > loaded\n\
         build started: sh start | bin/tool\n  cmd = ./start 'bin/tool > started'\n\
         build found: sh bin/tool\n  cmd = PATH=bin:$$PATH tool > found\n",
    );
    as_by_ninja(&scene);
    assert_eq!(scene.read("build/started"), "#define ONE 1\n");

    library("#define ONE 2");
    let said = scene.build();
    for name in ["made.h", "bare", "bare2", "loaded", "started", "found"] {
        assert_eq!(scene.read(&format!("build/{name}")), "#define ONE 2\n", "{name}\n{said}");
    }
    as_by_ninja(&scene);
}

/// c-ares and wildmidi are installed by CMake's scripts, brotli had copies where CMake looked for links.
#[test]
fn what_is_installed_is_what_ninjas_build_installs() {
    let test = "what_is_installed_is_what_ninjas_build_installs";
    let Some(scene) = Scene::new(test, &["gcc", "ninja", "cmake"]) else { return };
    scene.write(
        "source/CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20)\nproject(p C)\nset(CMAKE_INSTALL_RPATH \"$ORIGIN/../lib\")\n\
         add_library(f SHARED f.c)\nset_target_properties(f PROPERTIES VERSION 1.2 SOVERSION 1)\n\
         add_library(s STATIC f.c)\nadd_executable(p main.c)\ntarget_link_libraries(p f)\n\
         install(TARGETS p f s)\ninstall(FILES f.h DESTINATION include)\n\
         install(CODE \"file(WRITE \\${CMAKE_INSTALL_PREFIX}/note \\\"\\${CMAKE_INSTALL_CONFIG_NAME}\\\")\")\n",
    );
    scene.write("source/f.h", "int f(void);\n");
    scene.write("source/f.c", "#include \"f.h\"\nint f(void) { return 0; }\n");
    scene.write("source/main.c", "#include \"f.h\"\nint main(void) { return f(); }\n");
    let mut cmake = Command::new("cmake");
    done(cmake.args(["-G", "Ninja", "-S", "source", "-B", "build"]).env("CC", "gcc").current_dir(scene.at("")));
    let install = || {
        let mut cmake = Command::new("cmake");
        done(
            cmake.args(["--install", "build", "--strip", "--prefix"]).arg(scene.at("home/p")).current_dir(scene.at("")),
        );
        let tree = Tree::of(&scene.at("home/p"));
        fs::remove_dir_all(scene.at("home/p")).unwrap();
        tree
    };
    let kept = tempfile::tempdir().unwrap();
    copy(&scene.at("build"), kept.path());
    as_by_ninja(&scene);
    let ours = install();
    assert!(scene.build().is_idle());
    fs::remove_dir_all(scene.at("build")).unwrap();
    copy(&kept.path().join("build"), &scene.at(""));
    done(Command::new("ninja").current_dir(scene.at("build")));
    assert_eq!(ours.differences(&install()), Default::default());
    assert!(ours.0.contains_key("lib/libf.so.1") && ours.0.contains_key("note"));
}

/// Linux takes an argument of at most 131072 bytes, and a shell's text is one.
#[test]
fn a_command_may_be_as_long_as_ninja_can_start_it_and_a_response_file_longer() {
    let test = "a_command_may_be_as_long_as_ninja_can_start_it_and_a_response_file_longer";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    scene.write("a.c", "int a = X;\n");
    scene.write("main.c", "int main(void) { return 0; }\n");
    scene.write("build/in", "in\n");
    let define: String = (0..3000).map(|i| format!(" -DNAME_{i}={i}")).collect();
    let object = format!(" ./{}a.o", "../build/".repeat(200));
    let word = "x".repeat(120_000);
    scene.edges(&format!(
        "rule rsp\n  command = rm -f $out && ar qc $out @$out.rsp\n  description = $out\n  rspfile = $out.rsp\n  rspfile_content = $words\n\
         rule list\n  command = wc -c < $out.rsp > $out\n  description = $out\n  rspfile = $out.rsp\n  rspfile_content = $words\n\
         build a.o: cc ../a.c\n  flags = -DX=1{define}\n\
         build word: sh in\n  cmd = cat in > word && echo {word} >> word\n\
         build lib.a: rsp a.o\n  words = {}\n\
         build list: list in\n  words = {word}{word}{word}\n",
        object.repeat(120),
    ));
    as_by_ninja(&scene);

    // What no shell can be given ninja cannot start.
    scene.edges(&format!("build word: sh in\n  cmd = cp in word && echo {word}{word} >> word\n"));
    let ninja = Command::new("ninja").current_dir(scene.at("build")).output().unwrap();
    assert!(!ninja.status.success());
    let said = scene.fail();
    assert!(said.out.contains("ninja2drv: `word`: ") && said.out.contains("Argument list too long"), "{said}");
}

/// corrosion's edges make directories, CMake lets the linker write a depfile, Meson calls that of an assembler `.ndep`.
#[test]
fn edges_that_are_no_compiles_may_make_directories_and_have_depfiles() {
    let test = "edges_that_are_no_compiles_may_make_directories_and_have_depfiles";
    let Some(scene) = Scene::new(test, &["gcc", "ninja", "as"]) else { return };
    scene.write("a.c", "int a(void) { return 0; }\n");
    scene.write("main.c", "int a(void);\nint main(void) { return a(); }\n");
    scene.write("s.s", ".data\n.include \"../s.inc\"\n");
    scene.write("s.inc", ".long 1\n");
    scene.write("script.ld", "VERSION { { global: main; local: *; }; }\n");
    scene.write("build/in", "in\n");
    scene.edges(
        "rule link\n  command = gcc $in -o $out -Wl,--dependency-file=$out.d -Wl,--version-script=../v.map\n  description = $out\n\
         \x20 depfile = $out.d\n  deps = gcc\n\
         rule linkless\n  command = gcc $in -o $out\n  description = $out\n  depfile = $out.d\n  deps = gcc\n\
         rule asm\n  command = as --MD $out.ndep $in -o $out\n  description = $out\n  depfile = $out.ndep\n  deps = gcc\n\
         build a.o: cc ../a.c\nbuild main.o: cc ../main.c\n\
         build linked: link main.o a.o\nbuild linkless: linkless main.o a.o\n\
         build s.o: asm ../s.s\n\
         build directory: sh in\n  cmd = mkdir -p directory/sub/empty && cp in directory/sub/a && cp in directory/$$(cat in) && ln -sf a directory/sub/b\n\
         build use: sh directory\n  cmd = cat directory/sub/b > use\n\
         build listed: sh directory\n  cmd = ls -R directory > listed\n\
         build words: sh in | directory\n  cmd = cp in words\n\
         build other/place: sh directory\n  cmd = rm -rf other/place && cp -r directory other/place\n",
    );
    scene.write("v.map", "V { global: main; local: *; };\n");
    as_by_ninja(&scene);

    scene.write("build/in", "changed\n");
    scene.write("s.inc", ".long 2\n");
    scene.write("v.map", "W { global: main; local: *; };\n");
    let said = scene.build();
    let changed: Vec<String> = said.ran().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(changed, ["directory", "linked", "listed", "other/place", "s.o", "use", "words"], "{said}");
    as_by_ninja(&scene);
}

/// A linker is named by a flag, an interpreter by `env`, and of a package of data nobody asks a compiler.
#[test]
fn programs_are_found_however_they_are_named_and_only_if_they_are() {
    let test = "programs_are_found_however_they_are_named_and_only_if_they_are";
    let Some(scene) = Scene::new(test, &["gcc", "ninja", "ld.gold", "ld.bfd", "python3", "perl"]) else { return };
    scene.write("main.c", "int main(void) { return 0; }\n");
    script(&scene, "tools/python", "#!/usr/bin/env python3\nprint('python')\n");
    script(&scene, "tools/perl", "#!/usr/bin/env perl\nprint \"perl\\n\";\n");
    script(&scene, "tools/split", "#!/usr/bin/env -S sh -e\necho split\n");
    scene.edges(
        "build main.o: cc ../main.c\n\
         build gold: sh main.o\n  cmd = gcc main.o -o gold -fuse-ld=gold\n\
         build bfd: sh main.o\n  cmd = gcc main.o -o bfd -fuse-ld=bfd\n\
         build direct: sh main.o\n  cmd = ld.gold -r main.o -o direct\n\
         build python: sh\n  cmd = ../tools/python > python\n\
         build perl: sh\n  cmd = ../tools/perl > perl\n\
         build split: sh\n  cmd = ../tools/split > split\n",
    );
    as_by_ninja(&scene);
}

#[test]
fn data_is_built_where_there_is_no_compiler() {
    let Some(scene) = Scene::new("data_is_built_where_there_is_no_compiler", &[]) else { return };
    scene.write("build/in", "in\n");
    scene.edges("build out: sh in\n  cmd = cp in out\nbuild end: sh out\n  cmd = cat out out > end\n");
    let said = scene.said(scene.command("ninja2drv").env("PATH", scene.at("empty")).arg("-dexplain"));
    assert_eq!((said.code, scene.read("build/end").as_str()), (Some(0), "in\nin\n"), "{said}");
}

/// Where only the project's directory is kept from one run to the next, the store lies in it.
#[test]
fn a_store_among_the_sources_is_no_part_of_the_project() {
    let Some(scene) = Scene::new("a_store_among_the_sources_is_no_part_of_the_project", &[]) else { return };
    scene.write("source", "source\n");
    scene.write("build/.splitter-half", "a file that another step is just putting in place\n");
    scene.edges(
        "build out: sh ../source\n  cmd = cat ../source > out; find .. -name schema -o -name '.splitter-*' >> out\n",
    );
    scene.build();
    assert_eq!(scene.read("build/out"), "source\n");
}

/// A config.h that was there before is not the one that is made; variables of the environment are no part of a command.
#[test]
fn nothing_of_another_time_or_another_shell_comes_in() {
    let test = "nothing_of_another_time_or_another_shell_comes_in";
    let Some(scene) = Scene::new(test, &["gcc", "g++", "ninja"]) else { return };
    scene.write("a.c", "#include \"config.h\"\nint a = VALUE;\n");
    scene.write("r.cc", "namespace { int hidden() { return 1; } }\nint r() { return hidden(); }\n");
    scene.write("build/config.h", "#define VALUE 0\n");
    scene.write("build/in", "#define VALUE 1\n");
    scene.edges(
        "build config.h: sh in\n  cmd = cp in config.h\nbuild a.o: cc ../a.c || config.h\n  flags = -I.\n\
         build r.o: sh ../r.cc\n  cmd = g++ -frandom-seed=r.o -flto -c ../r.cc -o r.o\n\
         build env: sh in\n  cmd = echo \"<$$KBUILD_BUILD_USER>\" > env\n",
    );
    as_by_ninja(&scene);
    let mut other = scene.command("ninja2drv");
    other.args(["-dexplain"]).env("KBUILD_BUILD_USER", "me").env("CPATH", "/nowhere").env("MAKEFLAGS", "-j7");
    assert!(scene.said(&mut other).is_idle());

    // Who goes by times takes what was made for newer than that of which it was made.
    let time = |name: &str| fs::metadata(scene.at("build").join(name)).unwrap().modified().unwrap();
    assert!(time("config.h") >= time("in") && time("a.o") >= time("config.h"));
}

/// Others print their own state and the compiler's message somewhere in it.
#[test]
fn what_a_compiler_says_comes_first_and_whole_with_real_paths() {
    let test = "what_a_compiler_says_comes_first_and_whole_with_real_paths";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    scene.write(".splitter-root", "");
    let top = scene.at("").canonicalize().unwrap();
    let top = top.to_str().unwrap();
    let warnings: String = (0..3000).map(|i| format!("#warning number {i} of many\n")).collect();
    scene.write("source/many.c", format!("{warnings}int many = missing;\n"));
    scene.write("source/warn.c", "#warning only that\nint warn;\n");
    scene.write("source/h.h", "#error in a header\n");
    scene.write("source/error.c", "#include \"h.h\"\n");
    let by_hand = |words: &str| {
        let output =
            Command::new("sh").args(["-c", words]).env("LC_ALL", "C.UTF-8").current_dir(scene.at("build")).output();
        scene.heard(&output.unwrap()).errors
    };
    for (name, text) in [("many.c", "many"), ("error.c", "in a header")] {
        scene.edges(&format!("build x.o: cc {top}/source/{name}\n"));
        let expected = by_hand(&format!("gcc -c {top}/source/{name} -o by-hand.o"));
        let said = scene.fail();
        let told = said.out.find(&expected).unwrap_or_else(|| panic!("not whole: {said}"));
        let before: Vec<&str> = said.out[..told].lines().filter(|line| !line.starts_with("ninja2drv: ")).collect();
        assert!(expected.contains(text) && before.len() == 3, "{said}");
        assert_eq!((before[1], before[0]), ("FAILED: [code=1] x.o ", "[1/1] x.o"), "{said}");
        assert!(said.out[told + expected.len()..].starts_with("ninja2drv: `x.o`: exit code 1\n"), "{said}");
    }
    scene.edges(&format!("build x.o: cc {top}/source/warn.c\n"));
    let expected = by_hand(&format!("gcc -c {top}/source/warn.c -o by-hand.o"));
    assert!(scene.build().out.contains(&expected));
}
