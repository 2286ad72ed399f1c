//! Calls that are seldom seen, and easily gotten wrong: each is to give what the compiler gives.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tests::calls::Calls;
use tests::{not_run, program};

/// The compilers of C that are there; GCC is.
fn compilers() -> Vec<&'static str> {
    ["gcc", "clang-16"].into_iter().filter(|name| Command::new(name).arg("--version").output().is_ok()).collect()
}

/// Long enough that all that was written before may be believed by its look.
fn settle() {
    std::thread::sleep(Duration::from_millis(40));
}

#[test]
fn what_a_compiler_looks_at_before_its_source_is_there_from_the_start() {
    let test = "what_a_compiler_looks_at_before_its_source_is_there_from_the_start";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "#include <h.h>\n#if __has_include(<e.h>)\nint e;\n#endif\nint x = H;\n");
    calls.write("inc/h.h", "#define H 1\n");
    calls.write("forced.h", "int forced;\n");
    calls.write("dir/below/b.h", "");
    fs::create_dir(calls.at("empty")).unwrap();
    symlink("a.c", calls.at("linked.c")).unwrap();
    for compiler in compilers() {
        // Its tools are known after a call.
        calls.miss(&format!("{compiler} -Iinc -c a.c"));
        for words in [
            "-Wmissing-include-dirs -Inone -Iempty -Idir -Iinc -c a.c",
            "-Iinc -isystem none/deep -iquote ../build/empty -idirafter dir/below -MD -c a.c -o dir/a.o",
            "-I../build/inc -Idir/../empty -g -c a.c",
            "-Iinc -include forced.h -O2 -S a.c",
            "-Iinc -c linked.c",
            "-Iinc -x c++ -c a.c",
            "-Iinc -save-temps -c a.c",
            "-Iinc -Winvalid-words -fno-such-option-there-is -c a.c",
        ] {
            calls.both(&format!("{compiler} {words}"));
        }
    }
    // A directory that comes and goes between one call and the next.
    fs::create_dir(calls.at("none")).unwrap();
    calls.miss("gcc -Wmissing-include-dirs -Inone -Iempty -Idir -Iinc -c a.c");
    fs::remove_dir(calls.at("empty")).unwrap();
    calls.miss("gcc -Wmissing-include-dirs -Inone -Iempty -Idir -Iinc -c a.c");
    calls.write("none/e.h", "");
    calls.miss("gcc -Wmissing-include-dirs -Inone -Iempty -Idir -Iinc -c a.c");
    calls.hit("gcc -Wmissing-include-dirs -Inone -Iempty -Idir -Iinc -c a.c");
}

#[test]
fn what_is_only_checked_makes_nothing_and_is_remembered() {
    let Some(mut calls) = Calls::new("what_is_only_checked_makes_nothing_and_is_remembered", &["gcc"]) else { return };
    calls.write("inc/h.h", "#define H 1\n");
    calls.write("a.c", "#include <h.h>\nint f(void) { int unused = H; return 0; }\n");
    calls.write("a.o", "of an earlier compile");
    for compiler in compilers() {
        calls.write("inc/h.h", "#define H 1\n");
        settle();
        for words in [
            "-fsyntax-only -Wall -Iinc a.c",
            "-c -fsyntax-only -Iinc a.c -o a.o",
            "-fsyntax-only -MD -MF a.d -Iinc a.c",
        ] {
            calls.miss_then_hit(&format!("{compiler} {words}"));
        }
        assert_eq!(fs::read_to_string(calls.at("a.o")).unwrap(), "of an earlier compile");
        calls.write("inc/h.h", "#define H 2\n");
        calls.miss(&format!("{compiler} -fsyntax-only -Wall -Iinc a.c"));
        // What is wrong is said by the compiler each time.
        calls.write("inc/h.h", "#define H )\n");
        calls.passed(&format!("{compiler} -fsyntax-only -Wall -Iinc a.c"), "compile_failed");
    }
}

#[test]
fn what_is_written_besides_an_object_is_remembered_unless_it_is_appended_to_a_file() {
    let test = "what_is_written_besides_an_object_is_remembered_unless_it_is_appended_to_a_file";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "static int g(int x) { return x * 3; }\nint f(int x) { return g(x) + g(x + 1); }\n");
    for words in ["-fdump-ipa-clones", "-Wa,-adhln=a.lst", "-fstack-usage -fcallgraph-info"] {
        calls.miss_then_hit(&format!("gcc -pipe -O2 {words} -c a.c"));
    }
    let lengths = [(); 2].map(|()| {
        let said = calls.scene.said(&mut calls.ccwrap(["gcc", "-O2", "-fopt-info-all=report", "-c", "a.c"]));
        assert_eq!(calls.newly_counted(), ["unsupported_compiler_option"], "{said}");
        fs::metadata(calls.at("report")).unwrap().len()
    });
    assert!(lengths[0] > 0 && lengths[1] == 2 * lengths[0], "{lengths:?}");
}

#[test]
fn what_clang_has_in_the_place_of_machine_code_is_named_so() {
    let test = "what_clang_has_in_the_place_of_machine_code_is_named_so";
    let Some(mut calls) = Calls::new(test, &["clang-16"]) else { return };
    calls.write("a.c", "int a;\n");
    for words in ["-c -emit-llvm a.c", "-S -emit-llvm a.c", "-c -emit-llvm a.c -o b"] {
        calls.miss_then_hit(&format!("clang-16 {words}"));
    }
}

#[test]
fn what_clang_finds_by_analysis_is_remembered() {
    let Some(mut calls) = Calls::new("what_clang_finds_by_analysis_is_remembered", &["clang-16"]) else { return };
    calls.write("h.h", "#define H 1\n");
    calls.write("a.c", "#include \"h.h\"\nint f(int *p) { if (!p) return *p; return H; }\n");
    for words in ["--analyze a.c", "--analyze -c a.c -o found.plist", "--analyze -MD -MF a.d a.c -o found.plist"] {
        calls.miss_then_hit(&format!("clang-16 {words}"));
    }
    calls.write("h.h", "#define H *p\n");
    calls.miss("clang-16 --analyze a.c");
    for elsewhere in ["--analyzer-output text", "-Xanalyzer -analyzer-output=html", "-Xclang -analyzer-output=text"] {
        calls.passed(&format!("clang-16 --analyze {elsewhere} a.c -o elsewhere"), "unsupported_compiler_option");
    }
}

#[test]
fn a_directory_that_is_known_by_a_link_is_named_as_the_compiler_names_it() {
    let test = "a_directory_that_is_known_by_a_link_is_named_as_the_compiler_names_it";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.scene.write(".splitter-root", "");
    calls.write("sub/a.c", "#include \"../h.h\"\nint f(void) { return 1; }\n");
    calls.write("h.h", "int x;\n");
    symlink("build", calls.scene.at("linked")).unwrap();
    calls.directory = "linked/sub".into();
    let shown = calls.at("").display().to_string();
    let shown = shown.trim_end_matches('/');
    calls.set("PWD", shown);
    for words in [
        "-g".into(),
        "-g -ffile-prefix-map=/none=/x".into(),
        format!("-g -fdebug-prefix-map={shown}=."),
        "-O1 -fbranch-probabilities".into(),
        "-O1".into(),
    ] {
        calls.miss_then_hit(&format!("gcc {words} -c a.c"));
    }
    // By its own name it has another place in what is made.
    calls.unset("PWD");
    calls.miss_then_hit("gcc -g -c a.c");
}

#[test]
fn a_way_out_of_a_link_leads_where_the_kernel_goes() {
    let test = "a_way_out_of_a_link_leads_where_the_kernel_goes";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    for name in ["other", "there/one/two", "there/out"] {
        fs::create_dir_all(calls.at(name)).unwrap();
    }
    // What the text of a path leads to is wrong.
    for (name, text) in [
        ("there/h.h", "#error wrong\n"),
        ("there/one/h.h", "int right;\n"),
        ("there/one/two/a.c", "#include \"../h.h\"\n"),
        ("there/one/two/own.h", "#include \"../h.h\"\n"),
        ("i.c", "#include \"own.h\"\n"),
        ("other/h.h", "int right;\n"),
    ] {
        calls.write(name, text);
    }
    for (target, link) in [("there", "link"), ("one/two", "there/in"), ("../there", "other/back"), ("out", "there/to")]
    {
        symlink(target, calls.at(link)).unwrap();
    }
    let build = calls.scene.at("build").display().to_string();
    for (directory, words) in [
        ("there", "-c in/a.c".into()),
        ("there", format!("-c {build}/link/in/a.c")),
        ("there/in", "-c a.c".into()),
        ("other", "-c ../other/back/in/a.c".into()),
        (".", "-Ilink/in -c i.c".into()),
        (".", format!("-I{build}/link/in -MD -MF link/to/i.d -c i.c -o link/to/i.o")),
    ] {
        calls.directory = format!("build/{directory}");
        calls.miss_then_hit(&format!("gcc {words}"));
    }
    // A link that leads elsewhere is another input.
    fs::remove_file(calls.at("link")).unwrap();
    symlink("other/back", calls.at("link")).unwrap();
    calls.miss_then_hit("gcc -Ilink/in -c i.c");
    fs::remove_file(calls.at("link")).unwrap();
    symlink("other", calls.at("link")).unwrap();
    assert_eq!(calls.both("gcc -Ilink/in -c i.c"), ["compile_failed"]);
}

#[test]
fn headers_that_are_equal_but_for_their_times_are_read_as_often_as_the_compiler_reads_them() {
    let test = "headers_that_are_equal_but_for_their_times_are_read_as_often_as_the_compiler_reads_them";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    for name in ["p/t.h", "q/u.h"] {
        calls.write(name, "#pragma once\nCOUNT\n");
    }
    calls.write(
        "a.c",
        "#define COUNT int p;\n#include \"p/t.h\"\n#undef COUNT\n#define COUNT int q;\n#include \"q/u.h\"\n",
    );
    let file = fs::File::options().write(true).open(calls.at("q/u.h")).unwrap();
    for time in [1_000_000_000, 1_100_000_000] {
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(time)).unwrap();
        fs::File::options()
            .write(true)
            .open(calls.at("p/t.h"))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
        for _ in 0..2 {
            calls.passed("gcc -c a.c", "time_macros");
        }
    }
}

#[test]
fn clang_decides_itself_whether_a_precompiled_header_is_good() {
    let test = "clang_decides_itself_whether_a_precompiled_header_is_good";
    let Some(mut calls) = Calls::new(test, &["clang-16"]) else { return };
    calls.write("x.h", "#ifndef X\n#define X 1\n#endif\n");
    calls.write("a.c", "int x = X;\n");
    calls.both("clang-16 -DX=5 -x c-header x.h -o x.h.pch");
    calls.passed("clang-16 -include x.h -S a.c", "could_not_use_precompiled_header");
    calls.passed("clang-16 -O2 -include x.h -S a.c", "could_not_use_precompiled_header");
    calls.passed("clang-16 -include-pch x.h.pch -S a.c", "could_not_use_precompiled_header");
}

#[test]
fn a_directory_that_is_searched_by_two_names_is_one() {
    let test = "a_directory_that_is_searched_by_two_names_is_one";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("inc/h.h", "static inline int f(void) { int unused; return 1; }\n#include_next <n.h>\n");
    calls.write("inc/n.h", "int of_first;\n");
    calls.write("last/n.h", "int of_last;\n");
    calls.write("a.c", "#include <h.h>\nint g(void) { return f(); }\n");
    symlink("inc", calls.at("other")).unwrap();
    for compiler in compilers() {
        for search in ["-Iinc -isystem other -Ilast", "-Iother -Iinc -Ilast", "-isystem other -Iinc -Ilast"] {
            for _ in 0..2 {
                calls.both(&format!("{compiler} -Wall {search} -c a.c"));
            }
        }
    }
}

#[test]
fn a_directory_that_becomes_a_link_to_another_is_searched_as_that() {
    let test = "a_directory_that_becomes_a_link_to_another_is_searched_as_that";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "#include <x.h>\n");
    // As a header of the system it is not warned of.
    for directory in ["first", "second"] {
        calls.write(&format!("{directory}/x.h"), "static int unused(void) { return 1; }\n");
    }
    settle();
    let call = "gcc -Wall -Ifirst -isystem second -isystem third -MD -c a.c";
    calls.miss_then_hit(call);
    // Where namespaces are refused every directory counts as listed, and the store says that nothing changed.
    let again = |calls: &mut Calls| match tests::is_refused() {
        true => assert_ne!(calls.both(call), ["cache_miss"]),
        false => calls.hit(call),
    };
    calls.write("first/other.h", "");
    again(&mut calls);
    fs::rename(calls.at("first"), calls.at("was-first")).unwrap();
    symlink("second", calls.at("first")).unwrap();
    let counted = calls.both(call);
    assert_ne!(counted, ["direct_cache_hit"]);
    again(&mut calls);
    // One that was not there becomes the one that is left.
    fs::remove_file(calls.at("first")).unwrap();
    fs::rename(calls.at("was-first"), calls.at("third")).unwrap();
    symlink("third", calls.at("first")).unwrap();
    let counted = calls.both(call);
    assert_ne!(counted, ["direct_cache_hit"]);
    // A directory like the first one is as good.
    fs::remove_file(calls.at("first")).unwrap();
    fs::remove_dir_all(calls.at("third")).unwrap();
    calls.write("first/x.h", "static int unused(void) { return 1; }\n");
    again(&mut calls);
}

#[test]
fn the_next_of_a_name_is_found_where_the_compiler_finds_it() {
    let test = "the_next_of_a_name_is_found_where_the_compiler_finds_it";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("angled/n.h", "int angled;\n");
    calls.write("quoted/n.h", "int quoted;\n");
    calls.write("src/a.c", "#include \"k.h\"\n");
    calls.write("src/k.h", "#if __has_include_next(<n.h>)\n#include_next <n.h>\n#endif\n");
    for compiler in compilers() {
        for _ in 0..2 {
            calls.both(&format!("{compiler} -w -Iangled -iquote quoted -c src/a.c"));
        }
    }
}

#[test]
fn what_a_text_only_asks_for_is_there_and_stays_what_it_is() {
    let test = "what_a_text_only_asks_for_is_there_and_stays_what_it_is";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    // A directory is no header, and one that is only asked for is not read.
    fs::create_dir_all(calls.at("first/n.h")).unwrap();
    calls.write("last/n.h", "int last;\n");
    calls.write("src/a.c", "#include \"k.h\"\n#if __has_include(<n.h>)\nint asked;\n#endif\n");
    calls.write("src/k.h", "#if __has_include_next(<m.h>)\n#include_next <m.h>\n#endif\n");
    calls.write("first/m.h", "int first;\n");
    for compiler in compilers() {
        let call = format!("{compiler} -w -Ifirst -Ilast -c src/a.c");
        settle();
        calls.miss(&call);
        settle();
        calls.hit(&call);
        fs::remove_dir(calls.at("first/n.h")).unwrap();
        calls.write("first/n.h", "int first;\n");
        calls.both(&call);
        fs::remove_file(calls.at("first/n.h")).unwrap();
        fs::create_dir_all(calls.at("first/n.h")).unwrap();
    }
    // Where the compiler fails when it is asked what it reads, it fails when it compiles.
    calls.write("only/n.h", "#if __has_include_next(<none.h>)\n#endif\n");
    calls.write("b.c", "#if __has_include(<n.h>)\n#include <n.h>\n#endif\n");
    for compiler in compilers() {
        calls.both(&format!("{compiler} -w -nostdinc -Ionly -c b.c"));
    }
}

#[test]
fn what_a_link_that_leads_nowhere_would_lead_to_is_missed() {
    let test = "what_a_link_that_leads_nowhere_would_lead_to_is_missed";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    fs::create_dir(calls.at("t")).unwrap();
    fs::create_dir(calls.at("first")).unwrap();
    calls.write("second/n.h", "int second;\n");
    calls.write("a.c", "#include <n.h>\n");
    symlink("../t/n.h", calls.at("first/n.h")).unwrap();
    for compiler in compilers() {
        let call = format!("{compiler} -Ifirst -Isecond -MD -c a.c");
        settle();
        calls.miss(&call);
        settle();
        calls.hit(&call);
        calls.write("t/n.h", "int target;\n");
        calls.miss(&call);
        fs::remove_file(calls.at("t/n.h")).unwrap();
        calls.both(&call);
        calls.write("other.h", "int other;\n");
        fs::remove_file(calls.at("first/n.h")).unwrap();
        symlink("../other.h", calls.at("first/n.h")).unwrap();
        calls.miss(&call);
        fs::remove_file(calls.at("first/n.h")).unwrap();
        symlink("../t/n.h", calls.at("first/n.h")).unwrap();
    }
}

#[test]
fn a_directory_that_a_compiler_would_search_in_another_root_is_missed() {
    let test = "a_directory_that_a_compiler_would_search_in_another_root_is_missed";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "#include <zz.h>\n");
    for compiler in compilers() {
        calls.write("root/usr/include/zz.h", "int z1;\n");
        let call = format!("{compiler} --sysroot={} -c a.c", calls.at("root").display());
        settle();
        calls.both(&call);
        settle();
        calls.hit(&call);
        let place = format!("root/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        calls.write(&format!("{place}/zz.h"), "int z2;\n");
        calls.both(&call);
        fs::remove_dir_all(calls.at("root")).unwrap();
    }
}

#[test]
fn headers_of_cxx_are_found_behind_the_links_of_a_root() {
    let test = "headers_of_cxx_are_found_behind_the_links_of_a_root";
    let Some(mut calls) = Calls::new(test, &["clang++-16"]) else { return };
    calls.write("a.cc", "#include <vector>\nint f(const std::vector<int> &v) { return int(v.size()); }\n");
    // Which it names as `/lib/gcc/…/../../../../include/c++/12`, where `/lib` is a link.
    calls.miss_then_hit("clang++-16 --sysroot=/ -MD -c a.cc");
}

#[test]
fn a_header_is_an_input_whatever_it_is_called() {
    let test = "a_header_is_an_input_whatever_it_is_called";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    for compiler in compilers() {
        for directory in ["se;mi", "st*r", "b\\s", "t\tb", "d$l", "h#a", "sp ace", "a:b", "q`t", "la:"] {
            let write = |x: u8| calls.write(&format!("{directory}/h.h"), format!("#define X {x}\n"));
            write(1);
            calls.write("a.c", format!("#include \"{directory}/h.h\"\nint x = X;\n"));
            let words = [compiler, "-MD", "-c", "a.c"];
            calls.both_words(&words);
            calls.write(&format!("{directory}/h.h"), "#define X 2\n");
            calls.both_words(&words);
        }
    }
}

#[test]
fn what_comes_by_a_pipe_is_read_once_and_by_the_compiler() {
    let test = "what_comes_by_a_pipe_is_read_once_and_by_the_compiler";
    let Some(calls) = Calls::new(test, &["gcc", "bash"]) else { return };
    calls.write("a.c", "int a = A;\n");
    let ours = program("ccwrap").display().to_string();
    for option in ["-include", "-imacros"] {
        for value in [1, 2] {
            let script =
                format!("{ours} gcc {option} <(echo '#define A {value}') -S a.c && grep -o 'long.{value}' a.s");
            let mut command = calls.plain("bash");
            command.env("CCWRAP_DIR", calls.scene.at("ccwrap")).args(["-c", &script]);
            let said = calls.scene.said(&mut command);
            assert_eq!((said.code, said.out.lines().count()), (Some(0), 1), "{option} {value}: {said}");
        }
    }
    let made = Command::new("mkfifo").arg(calls.at("pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        return not_run(test, "no mkfifo");
    }
    // Nobody waits for who does not come but the compiler.
    let mut command = calls.ccwrap(["gcc", "-include", "pipe", "-S", "a.c"]);
    let mut compile = command.spawn().unwrap();
    fs::write(calls.at("pipe"), "#define A 3\n").unwrap();
    assert!(compile.wait().unwrap().success());
}

#[test]
fn an_output_that_is_a_link_is_written_through() {
    let test = "an_output_that_is_a_link_is_written_through";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.miss_then_hit("gcc -c a.c -o l.o");
    fs::rename(calls.at("l.o"), calls.at("real.o")).unwrap();
    symlink("real.o", calls.at("l.o")).unwrap();
    fs::write(calls.at("real.o"), "").unwrap();
    let said = calls.scene.said(&mut calls.ccwrap(["gcc", "-c", "a.c", "-o", "l.o"]));
    assert_eq!((said.code, calls.newly_counted()), (Some(0), vec!["bad_output_file".to_owned()]), "{said}");
    assert!(calls.at("l.o").is_symlink() && fs::metadata(calls.at("real.o")).unwrap().len() > 0);
    fs::remove_file(calls.at("l.o")).unwrap();
    calls.hit("gcc -c a.c -o l.o");
}

#[test]
fn a_time_that_a_pragma_compares_is_compared_each_time() {
    let test = "a_time_that_a_pragma_compares_is_compared_each_time";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("dep.h", "");
    calls.write("a.c", "#pragma GCC dependency \"dep.h\"\nint a;\n");
    for time in [1_000_000_000, 4_000_000_000] {
        let file = fs::File::options().write(true).open(calls.at("dep.h")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(time)).unwrap();
        calls.passed("gcc -c a.c", "time_macros");
    }
}

#[test]
fn what_is_printed_on_standard_output_is_printed_there() {
    let test = "what_is_printed_on_standard_output_is_printed_there";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write(
        "a.c",
        "int f(int n) { int s = 0; for (int i = 0; i < n; i++) s += i; return s; }\nint main(void) { return f(3); }\n",
    );
    calls.passed("gcc -O3 -fopt-info-all=stdout -c a.c", "unsupported_compiler_option");
    calls.passed("gcc -Wa,--version -c a.c", "unsupported_compiler_option");
    calls.set("CCWRAP_LINK", "true");
    calls.miss_then_hit("gcc -c a.c");
    for word in ["-Wl,-Map=-", "-Wl,--trace", "-B."] {
        calls.passed(&format!("gcc a.o {word} -o a"), "unsupported_compiler_option");
    }
    calls.miss_then_hit("gcc a.o -Wl,-Map=map -o a");
}

#[test]
fn variables_by_which_clang_writes_more_are_heard() {
    let test = "variables_by_which_clang_writes_more_are_heard";
    let Some(mut calls) = Calls::new(test, &["clang-16"]) else { return };
    calls.write("a.h", "");
    calls.write("a.c", "#include \"a.h\"\n");
    calls.miss_then_hit("clang-16 -c a.c");
    calls.set("CC_PRINT_HEADERS", "1");
    calls.set("CC_PRINT_HEADERS_FILE", "headers");
    calls.passed("clang-16 -c a.c", "unsupported_environment_variable");
    calls.unset("CC_PRINT_HEADERS");
    calls.unset("CC_PRINT_HEADERS_FILE");
    // Nor is anything written where the compiler is only asked.
    calls.both("clang-16 -ftime-trace -c a.c");
    assert!(!calls.at("-.json").exists());
}

#[test]
fn a_signal_that_is_ignored_does_not_end_a_compile() {
    let test = "a_signal_that_is_ignored_does_not_end_a_compile";
    let Some(calls) = Calls::new(test, &["gcc", "bash"]) else { return };
    calls.write("tools/slow-gcc", "#!/bin/sh\nsleep 0.5\nexec gcc \"$@\"\n");
    fs::set_permissions(calls.at("tools/slow-gcc"), fs::Permissions::from_mode(0o755)).unwrap();
    calls.write("a.c", "int a;\n");
    let ours = program("ccwrap").display().to_string();
    let script = format!(
        "trap '' HUP INT TERM; {ours} tools/slow-gcc -c a.c & pid=$!; sleep 0.3; kill -HUP $pid; kill -TERM $pid; wait $pid"
    );
    let mut command = calls.plain("bash");
    command.env("CCWRAP_DIR", calls.scene.at("ccwrap")).args(["-c", &script]);
    let said = calls.scene.said(&mut command);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(calls.at("a.o").exists());
}

#[test]
fn another_cache_in_front_of_the_compiler_is_passed_over() {
    let test = "another_cache_in_front_of_the_compiler_is_passed_over";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    // It would look for the next gcc, and find ours.
    calls.write_program("theirs/ccache", "#!/bin/sh\necho called >&2\nexit 1\n");
    symlink("ccache", calls.at("theirs/gcc")).unwrap();
    fs::create_dir(calls.at("ours")).unwrap();
    symlink(program("ccwrap"), calls.at("ours/gcc")).unwrap();
    let path = std::env::var("PATH").unwrap();
    for order in [["ours", "theirs"], ["theirs", "ours"]] {
        let [first, second] = order.map(|name| calls.at(name).display().to_string());
        calls.set("PATH", &format!("{first}:{second}:{path}"));
        let said = calls.scene.said(&mut calls.ccwrap(["gcc", "-c", "a.c"]));
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
    }
    assert_eq!(calls.newly_counted().len(), 2);
}

#[test]
fn a_limit_of_file_sizes_ends_nothing_but_what_is_too_large() {
    let test = "a_limit_of_file_sizes_ends_nothing_but_what_is_too_large";
    let Some(calls) = Calls::new(test, &["gcc", "bash"]) else { return };
    calls.write("a.c", "int a;\n");
    let ours = program("ccwrap").display().to_string();
    let mut command = calls.plain("bash");
    command.env("CCWRAP_DIR", calls.scene.at("other/ccwrap")).env("SPLITTER_STORE", calls.scene.at("other/store"));
    command.env_remove("CCWRAP_STRICT").args(["-c", &format!("ulimit -f 512; {ours} gcc -c a.c")]);
    let said = calls.scene.said(&mut command);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(said.errors.contains("the compiler is called"), "{said}");
}
