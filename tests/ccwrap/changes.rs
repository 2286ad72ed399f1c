//! What a compiler would make today is what comes, whatever has changed since the cache saw the call.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;
use tests::calls::{Calls, settle};

/// Calls of `gcc` with a source that includes `<h.h>`, which has `X`; `early` and `late` are searched in this order.
fn searching(test: &str) -> Option<Calls> {
    let calls = Calls::new(test, &["gcc"])?;
    for directory in ["early", "late"] {
        fs::create_dir(calls.at(directory)).unwrap();
    }
    calls.write("late/h.h", "#define X 1\n");
    calls.write("a.c", "#include <h.h>\nint x = X;\n");
    Some(calls)
}

const SEARCH: &str = "gcc -Iearly -Ilate -c a.c";

/// Writes a file anew with the size and the times that it had.
fn write_unseen(path: &Path, text: &[u8]) {
    let metadata = fs::metadata(path).unwrap();
    assert_eq!(metadata.len(), text.len() as u64);
    fs::write(path, text).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
}

#[test]
fn a_header_that_appears_outside_of_the_directory_is_noticed_by_a_compile_that_is_traced() {
    let test = "a_header_that_appears_outside_of_the_directory_is_noticed_by_a_compile_that_is_traced";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    fs::create_dir_all(calls.at("tools")).unwrap();
    for directory in ["early", "late", "source/real/deep"] {
        fs::create_dir_all(calls.scene.at(directory)).unwrap();
    }
    std::os::unix::fs::symlink("real/deep", calls.scene.at("source/link")).unwrap();
    calls.scene.write("source/a.c", "#include <h.h>\nint x = X;\n");
    calls.scene.write("source/b.c", "#if __has_include(\"link/../k.h\")\nint k;\n#endif\nint x;\n");
    calls.scene.write("late/h.h", "#define X 1\n");
    let by_tools = "gcc -Btools -I../early -I../late -c ../source/a.c";
    calls.miss_then_hit(by_tools);
    calls.scene.write("early/h.h", "#define X 2\n");
    calls.miss(by_tools);
    calls.both("gcc -c ../source/b.c");
    calls.both("gcc -c ../source/b.c");
    calls.scene.write("source/real/k.h", "");
    calls.miss("gcc -c ../source/b.c");
}

/// Where there is much to scan, what is read is guessed as though the host's headers were empty, and the compiler begins.
#[test]
fn a_header_that_hangs_on_a_macro_of_the_host_is_the_one_that_the_compiler_takes() {
    let test = "a_header_that_hangs_on_a_macro_of_the_host_is_the_one_that_the_compiler_takes";
    let Some(mut calls) = Calls::new(test, &["g++"]) else { return };
    let which = |condition: &str| {
        let includes = "#include <climits>\n#include <string>\n";
        format!("{includes}#if {condition}\n#include \"a.h\"\n#else\n#include \"b.h\"\n#endif\nint x = X;\n")
    };
    calls.write("a.h", "#define X 1\n");
    calls.write("b.h", "#define X 2\n");
    calls.write("before.cc", "int before;\n");
    calls.miss("g++ -c before.cc"); // only what compiled last begins at once
    for (source, condition) in [("wrong.cc", "CHAR_BIT == 8"), ("right.cc", "defined __linux__")] {
        calls.write(source, which(condition));
        let words = format!("g++ -c {source}");
        calls.miss_then_hit(&words);
        calls.write("b.h", format!("// {source}\n"));
        calls.hit(&words);
        calls.write("a.h", "no text\n");
        calls.both(&words);
        calls.write("a.h", format!("#define X 3 // {source}\n"));
        calls.miss_then_hit(&words);
    }
}

#[test]
fn a_path_leads_nowhere_by_a_directory_that_is_not_there() {
    let test = "a_path_leads_nowhere_by_a_directory_that_is_not_there";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    let asks = |name: &str| format!("#if __has_include({name})\n#include {name}\n#else\nint nothing;\n#endif\n");
    calls.write("in/a.c", asks("\"x/../h.h\""));
    calls.write("in/h.h", "int beside;\n");
    calls.write("later/x/y", "");
    calls.write("later/h.h", "int later;\n");
    calls.write("b.c", asks("<k.h>"));
    calls.write("first/k.h", "int first;\n");
    calls.write("later/k.h", "int second;\n");
    for words in ["gcc -Ilater -c in/a.c", "gcc -Inone/../first -Ilater -c b.c"] {
        calls.miss_then_hit(words);
    }
    calls.both("gcc -Ifirst/k.h/.. -Ilater -c b.c");
    calls.write("in/x/y", "");
    calls.miss("gcc -Ilater -c in/a.c");
    calls.write("none/y", "");
    calls.miss("gcc -Inone/../first -Ilater -c b.c");
}

#[test]
fn a_header_that_appears_earlier_on_the_path_is_read() {
    let Some(mut calls) = searching("a_header_that_appears_earlier_on_the_path_is_read") else { return };
    calls.miss_then_hit(SEARCH);
    settle();
    calls.hit(SEARCH);

    calls.write("early/other.h", "");
    calls.hit(SEARCH);
    calls.write("early/h.h", "#define X 2\n");
    calls.miss_then_hit(SEARCH);
    // A, B, A: what was made before is known.
    fs::remove_file(calls.at("early/h.h")).unwrap();
    calls.hit(SEARCH);
    calls.write("early/h.h", "#define X 2\n");
    calls.hit(SEARCH);
}

#[test]
fn a_directory_of_the_path_that_appears_is_searched() {
    let Some(mut calls) = searching("a_directory_of_the_path_that_appears_is_searched") else { return };
    calls.write("late/sub/h.h", "#define X 3\n");
    calls.write("b.c", "#include <sub/h.h>\nint x = X;\n");
    let whole = "gcc -Inone -Ilate -c a.c";
    let sub = "gcc -Iearly -Ilate -c b.c";
    calls.miss_then_hit(whole);
    calls.miss_then_hit(sub);
    calls.write("none/h.h", "#define X 4\n");
    calls.miss_then_hit(whole);
    calls.write("early/sub/h.h", "#define X 5\n");
    calls.miss_then_hit(sub);
    fs::remove_dir_all(calls.at("early/sub")).unwrap();
    calls.hit(sub);
}

#[test]
fn a_header_that_appears_beside_the_file_that_includes_it_is_read() {
    let test = "a_header_that_appears_beside_the_file_that_includes_it_is_read";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("i/h.h", "#include \"inner.h\"\n");
    calls.write("j/inner.h", "#define X 1\n");
    calls.write("src/a.c", "#include \"h.h\"\nint x = X;\n");
    let call = "gcc -Ii -Ij -c src/a.c";
    calls.miss_then_hit(call);
    // It shadows what another header includes, then that header.
    calls.write("i/inner.h", "#define X 2\n");
    calls.miss_then_hit(call);
    calls.write("src/h.h", "#define X 3\n");
    calls.miss_then_hit(call);
}

#[test]
fn a_header_that_a_source_asks_for_is_seen_to_appear_and_to_go() {
    let test = "a_header_that_a_source_asks_for_is_seen_to_appear_and_to_go";
    let Some(mut calls) = searching(test) else { return };
    calls.write("a.c", "#if __has_include(<extra.h>)\nint x = 2;\n#else\nint x = 1;\n#endif\n");
    calls.miss_then_hit(SEARCH);
    calls.write("late/extra.h", "#error it is only asked for\n");
    calls.miss_then_hit(SEARCH);
    fs::remove_file(calls.at("late/extra.h")).unwrap();
    calls.hit(SEARCH);
}

#[test]
fn a_header_that_shadows_one_of_the_host_is_read() {
    let Some(mut calls) = searching("a_header_that_shadows_one_of_the_host_is_read") else { return };
    calls.write("a.c", "#include <stdio.h>\n#ifdef OURS\nint x;\n#endif\n");
    let call = "gcc -isystem early -c a.c";
    calls.miss_then_hit(call);
    calls.write("early/stdio.h", "#define OURS\n");
    calls.miss_then_hit(call);
    // One that such a header includes.
    fs::remove_file(calls.at("early/stdio.h")).unwrap();
    calls.hit(call);
    calls.write("early/bits/types.h", "#include_next <bits/types.h>\n#define OURS\n");
    calls.miss_then_hit(call);
}

#[test]
fn a_change_that_neither_size_nor_time_shows_is_seen() {
    let Some(mut calls) = searching("a_change_that_neither_size_nor_time_shows_is_seen") else { return };
    settle();
    calls.miss_then_hit(SEARCH);
    settle();
    calls.hit(SEARCH);
    write_unseen(&calls.at("late/h.h"), b"#define X 9\n");
    calls.miss_then_hit(SEARCH);
    // Within one tick of the clock: what is too young is read each time.
    for x in 0..8 {
        calls.write("late/h.h", format!("#define X {x}\n"));
        let words: Vec<&str> = SEARCH.split(' ').collect();
        let ours = |calls: &Calls| calls.output(&mut calls.ccwrap(&words)).status.success();
        assert!(ours(&calls));
        let first = fs::read(calls.at("a.o")).unwrap();
        calls.write("late/h.h", format!("#define X {}\n", 9 - x));
        assert!(ours(&calls));
        assert!(fs::read(calls.at("a.o")).unwrap() != first, "{x}");
        calls.newly_counted();
        calls.both(SEARCH);
    }
}

#[test]
fn a_computed_include_and_a_macro_that_names_a_file_are_followed() {
    let test = "a_computed_include_and_a_macro_that_names_a_file_are_followed";
    let Some(mut calls) = searching(test) else { return };
    calls.write("config.h", "#define HEADER <h.h>\n");
    calls.write("a.c", "#include \"config.h\"\n#include HEADER\nint x = X;\n");
    calls.miss_then_hit(SEARCH);
    calls.write("late/h.h", "#define X 2\n");
    calls.miss_then_hit(SEARCH);
    calls.write("late/k.h", "#define X 3\n");
    calls.write("config.h", "#define HEADER <k.h>\n");
    calls.miss_then_hit(SEARCH);
}

#[test]
fn files_that_the_assembler_reads_are_inputs() {
    let Some(mut calls) = Calls::new("files_that_the_assembler_reads_are_inputs", &["gcc"]) else { return };
    calls.write("data", "one");
    calls.write("inner.s", ".byte 1\n");
    calls.write("a.c", "__asm__(\".incbin \\\"data\\\"\");\n");
    calls.write("b.c", "#define S(x) #x\n#define T(x) S(x)\n__asm__(\".inc\" \"bin \\\"\" T(data) \"\\\"\");\n");
    calls.write("c.S", "#define FILE \"data\"\n.incbin FILE\n.include \"inner.s\"\n");
    calls.write("d.s", ".incbin \"data\"\n");
    let all = ["gcc -c a.c", "gcc -c b.c", "gcc -c c.S", "gcc -c d.s"];
    for call in all {
        calls.both(call);
        calls.both(call);
    }
    calls.write("data", "two");
    for call in all {
        assert_ne!(calls.both(call), ["direct_cache_hit"], "{call}");
        calls.both(call);
    }
    calls.write("inner.s", ".byte 2\n");
    assert_ne!(calls.both(all[2]), ["direct_cache_hit"]);
    calls.hit("gcc -c a.c");
    calls.hit("gcc -c d.s");
}

#[test]
fn files_that_are_embedded_are_inputs() {
    let test = "files_that_are_embedded_are_inputs";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("data", "one");
    calls.write("a.c", "const char x[] = {\n#embed \"data\"\n};\n");
    let call = "gcc -std=gnu2x -c a.c";
    if !calls.plain("gcc").args(call.split(' ').skip(1)).output().unwrap().status.success() {
        return tests::not_run(test, "gcc does not know `#embed`");
    }
    calls.miss_then_hit(call);
    calls.write("data", "two");
    calls.miss_then_hit(call);
}

#[test]
fn an_assembler_that_is_replaced_is_another() {
    let Some(mut calls) = Calls::new("an_assembler_that_is_replaced_is_another", &["gcc"]) else { return };
    calls.write("a.c", "int x;\n");
    calls.write_program("tools/as", "#!/bin/sh\nexec /usr/bin/as --defsym first=1 \"$@\"\n");
    let call = "gcc -Btools -c a.c";
    calls.both(call);
    calls.both(call);
    settle();
    write_unseen(&calls.at("tools/as"), b"#!/bin/sh\nexec /usr/bin/as --defsym other=2 \"$@\"\n");
    assert_ne!(calls.both(call), ["direct_cache_hit"]);
    calls.both(call);
}

#[test]
fn a_compiler_that_is_replaced_is_another() {
    let Some(mut calls) = Calls::new("a_compiler_that_is_replaced_is_another", &["gcc"]) else { return };
    calls.write("a.c", "int x = X;\n");
    calls.write_program("tools/my-gcc", "#!/bin/sh\nexec gcc -DX=1 \"$@\"\n");
    settle();
    let call = "tools/my-gcc -c a.c";
    calls.miss_then_hit(call);
    write_unseen(&calls.at("tools/my-gcc"), b"#!/bin/sh\nexec gcc -DX=2 \"$@\"\n");
    calls.miss_then_hit(call);

    // A driver that was copied from elsewhere.
    let driver = fs::canonicalize("/usr/bin/gcc").unwrap();
    let mut bytes = fs::read(driver).unwrap();
    calls.write_program("tools/gcc", &bytes);
    settle();
    let call = "tools/gcc -DX=3 -c a.c";
    calls.both(call);
    calls.both(call);
    // Its version is in the object.
    let needle = b"12.2.0";
    for at in 0..bytes.len() - needle.len() {
        if bytes[at..].starts_with(b"GCC: (") || bytes[at..].starts_with(needle) {
            bytes[at + 1] = b'!';
        }
    }
    write_unseen(&calls.at("tools/gcc"), &bytes);
    assert_ne!(calls.both(call), ["direct_cache_hit"]);
}

#[test]
fn a_compiler_that_comes_earlier_on_the_path_is_the_one() {
    let Some(mut calls) = Calls::new("a_compiler_that_comes_earlier_on_the_path_is_the_one", &["gcc"]) else { return };
    calls.write("a.c", "#ifndef X\n#define X 0\n#endif\nint x = X;\n");
    fs::create_dir(calls.at("tools")).unwrap();
    let path = std::env::var("PATH").unwrap();
    calls.set("PATH", &format!("{}:{path}", calls.at("tools").display()));
    calls.miss_then_hit("gcc -c a.c");
    calls.write_program("tools/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DX=1 \"$@\"\n");
    calls.miss_then_hit("gcc -c a.c");
    fs::remove_file(calls.at("tools/gcc")).unwrap();
    calls.hit("gcc -c a.c");
}

#[test]
fn variables_that_a_compiler_looks_at_are_inputs() {
    let Some(mut calls) = searching("variables_that_a_compiler_looks_at_are_inputs") else { return };
    let call = "gcc -Wall -c a.c";
    calls.write("a.c", "#include <h.h>\nint x(void) { int unused; return X; }\n");
    calls.set("CPATH", "late");
    calls.miss_then_hit(call);
    calls.write("early/h.h", "#define X 2\n");
    calls.set("CPATH", "early");
    calls.miss_then_hit(call);
    calls.set("CPATH", "early:late");
    calls.set("LC_ALL", "C");
    // The object is the same, and the quotes are others.
    calls.both(call);
    calls.hit(call);
    calls.unset("LC_ALL");
    calls.set("LANG", "C.UTF-8");
    calls.both(call);
    calls.hit(call);
    calls.set("EDITOR", "ed");
    calls.hit(call);
}

#[test]
fn a_date_by_a_precompiled_macro_is_never_an_old_one() {
    let test = "a_date_by_a_precompiled_macro_is_never_an_old_one";
    let Some(mut calls) = Calls::new(test, &["gcc", "clang-16"]) else { return };
    let dated = "#define NOW __DATE__ __TIME__\n#define OF_FILE __TIMESTAMP__\n#define PLAIN 1\n";
    calls.write("dated.h", dated);
    for (name, text) in
        [("a.c", "const char *t = NOW;\n"), ("b.c", "const char *t = OF_FILE;\n"), ("c.c", "int x = PLAIN;\n")]
    {
        calls.write(name, text);
    }
    let make = |calls: &Calls, compiler: &str, words: &[&str]| {
        let made = calls.plain(compiler).args(["-x", "c-header", "dated.h", "-o"]).args(words).status().unwrap();
        assert!(made.success());
    };
    make(&calls, "gcc", &["dated.h.gch"]);
    make(&calls, "clang-16", &["dated.pch", "-Xclang", "-fno-pch-timestamp", "-Wno-pch-date-time"]);
    // What it was made of is not there any more; GCC does not miss it.
    fs::remove_file(calls.at("dated.h")).unwrap();
    let gcc = "gcc -include dated.h -c";
    let clang = "clang-16 -Xclang -fno-validate-pch -include-pch dated.pch -c";
    for call in [gcc, clang] {
        if call == clang {
            calls.write("dated.h", " ".repeat(dated.len())); // Clang looks at its size alone
        }
        for source in ["a.c", "b.c"] {
            let said = calls.scene.said(&mut calls.ccwrap(format!("{call} {source}").split(' ')));
            assert_eq!((said.code, calls.newly_counted()), (Some(0), vec!["time_macros".to_owned()]), "{said}");
        }
    }
    calls.miss_then_hit(&format!("{gcc} c.c"));
}

#[test]
fn a_date_that_is_pasted_together_is_never_an_old_one() {
    let test = "a_date_that_is_pasted_together_is_never_an_old_one";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("cat.h", "#define CAT(a, b) a##b\n#define TIME 1\n");
    calls.write("a.c", "#include \"cat.h\"\nconst char *now = CAT(__TI, ME__);\n");
    calls.write("b.c", "#include \"cat.h\"\n#define _(x) CAT(__x, ME__)\nint __xME__ = TIME;\nint *p = &_(1);\n");
    for _ in 0..2 {
        calls.passed("gcc -c a.c", "time_macros");
    }
    // What might be one and is none.
    calls.miss_then_hit("gcc -c b.c");
    calls.set("SOURCE_DATE_EPOCH", "1000000000");
    calls.miss_then_hit("gcc -c a.c");
}

#[test]
fn a_date_is_never_an_old_one() {
    let Some(mut calls) = Calls::new("a_date_is_never_an_old_one", &["gcc"]) else { return };
    calls.write("time.h", "#define NOW __TIME__\n");
    calls.write("a.c", "#include \"time.h\"\nconst char t[] = NOW;\n");
    calls.write("b.c", "const char t[] = __DATE__ __TIMESTAMP__;\n");
    calls.write("c.c", "#define __TIMES 1\nint __DATE__x = __TIMES;\n");
    let ours = |calls: &Calls| {
        let said = calls.scene.said(&mut calls.ccwrap(["gcc", "-c", "a.c"]));
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
        fs::read(calls.at("a.o")).unwrap()
    };
    let first = ours(&calls);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(ours(&calls) != first);
    assert_eq!(calls.newly_counted(), ["time_macros", "time_macros"]);
    for _ in 0..2 {
        assert_eq!(calls.both("gcc -c b.c"), ["time_macros"]);
    }
    calls.miss_then_hit("gcc -c -O1 c.c -Wno-all");

    // A date that is fixed is as good as any text.
    calls.set("SOURCE_DATE_EPOCH", "1000000000");
    calls.miss_then_hit("gcc -c a.c");
    calls.set("SOURCE_DATE_EPOCH", "1100000000");
    calls.miss_then_hit("gcc -c a.c");
    // But not the time when the source changed.
    calls.both("gcc -c b.c");
    File::options().write(true).open(calls.at("b.c")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(calls.both("gcc -c b.c"), ["time_macros"]);
}

#[test]
fn a_source_that_is_edited_while_it_is_compiled_is_compiled_again() {
    let test = "a_source_that_is_edited_while_it_is_compiled_is_compiled_again";
    let Some(mut calls) = searching(test) else { return };
    calls.write_program("tools/slow-gcc", "#!/bin/sh\nsleep 0.6\nexec gcc \"$@\"\n");
    settle();
    let call = "tools/slow-gcc -Ilate -c a.c";
    for (file, text) in [("a.c", "#include <h.h>\nint x = X + 1;\n"), ("late/h.h", "#define X 7\n")] {
        std::thread::scope(|scope| {
            let compile = scope.spawn(|| calls.scene.said(&mut calls.ccwrap(call.split(' '))));
            std::thread::sleep(std::time::Duration::from_millis(400));
            calls.write(file, text);
            assert_eq!(compile.join().unwrap().code, Some(0));
        });
        // Whatever came of that, now all of it is old.
        calls.newly_counted();
        calls.both(call);
        calls.hit(call);
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_another_file() {
    let Some(mut calls) = searching("a_link_that_leads_elsewhere_is_another_file") else { return };
    calls.write("one/h.h", "#define X 1\n");
    calls.write("two/h.h", "#define X 2\n");
    std::os::unix::fs::symlink("one", calls.at("now")).unwrap();
    let call = "gcc -Inow -c a.c";
    calls.miss_then_hit(call);
    fs::remove_file(calls.at("now")).unwrap();
    std::os::unix::fs::symlink("two", calls.at("now")).unwrap();
    calls.miss_then_hit(call);
}

#[test]
fn an_output_is_a_file_of_its_own_which_may_be_written() {
    let Some(mut calls) = searching("an_output_is_a_file_of_its_own_which_may_be_written") else { return };
    calls.miss(SEARCH);
    for _ in 0..2 {
        let mode = fs::metadata(calls.at("a.o")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        // Whoever writes into it changes nothing of ours.
        fs::write(calls.at("a.o"), "by hand").unwrap();
        let status = calls.output(&mut calls.ccwrap(SEARCH.split(' '))).status;
        assert!(status.success());
        assert!(fs::read(calls.at("a.o")).unwrap().starts_with(b"\x7fELF"));
    }
    calls.scene.store_is_good();
}
