//! The options of compilers: what they make is in the cache, and what they say comes back.

use std::fs;
use tests::calls::Calls;

/// A source with a header of its own, one of the host, and something to complain of.
fn source(calls: &Calls) {
    calls.write("a.h", "#define A 1\n");
    calls.write("a.c", "#include <stddef.h>\n#include \"a.h\"\nint a(int x) { int unused; return x + A; }\n");
    calls.write("b.c", "#include \"a.h\"\nint b(void) { return A; }\n");
}

#[test]
fn an_object_is_compiled_once_and_is_that_of_the_compiler() {
    for compiler in ["gcc", "g++", "clang-16", "clang++-16", "cc"] {
        let test = "an_object_is_compiled_once_and_is_that_of_the_compiler";
        let Some(mut calls) = Calls::new(test, &[compiler]) else { continue };
        source(&calls);
        // A name beside the source, one elsewhere, joined to its option; assembler.
        fs::create_dir(calls.at("out")).unwrap();
        for rest in ["-c a.c", "-O2 -Wall -c a.c -o out/x.o", "-c b.c -oout/y.o", "-S a.c", "-x c -std=c99 -c a.c -o z"]
        {
            calls.miss_then_hit(&format!("{compiler} {rest}"));
        }
    }
}

#[test]
fn a_depfile_says_what_the_compiler_would_say() {
    for compiler in ["gcc", "clang-16"] {
        let Some(mut calls) = Calls::new("a_depfile_says_what_the_compiler_would_say", &[compiler]) else { continue };
        source(&calls);
        for rest in [
            "-MD -c a.c -o a.o",
            "-MMD -c a.c",
            "-MD -MF x.d -MT target -MP -c a.c -o a.o",
            "-MMD -MF x.d -MQ $(target) -MQ b -c a.c -o a.o",
            "-MD -MFx.d -c a.c",
            "-Wp,-MMD,x.d -c a.c -o a.o",
            "-Wp,-MD,x.d,-MT,target -c a.c -o a.o",
        ] {
            calls.miss_then_hit(&format!("{compiler} {rest}"));
        }
    }
}

#[test]
fn whatever_else_a_compiler_writes_comes_back_too() {
    let Some(mut calls) = Calls::new("whatever_else_a_compiler_writes_comes_back_too", &["gcc"]) else { return };
    source(&calls);
    fs::create_dir(calls.at("out")).unwrap();
    for rest in [
        "-c a.c b.c",
        "-save-temps -c a.c",
        "-save-temps=obj -c a.c -o out/a.o",
        "-g -gsplit-dwarf -c a.c -o out/a.o",
        "--coverage -c a.c -o out/a.o",
        "-ftest-coverage -fprofile-arcs -c a.c",
        "-fprofile-generate -c a.c",
        "-fstack-usage -c a.c",
        "-fcallgraph-info -c a.c",
        "-flto -c a.c",
        "-flto -ffat-lto-objects -c a.c",
        "-O2 -march=native -c a.c",
        "-frandom-seed=7 -c a.c",
        "-g -fdebug-prefix-map=/=/x -c a.c",
        "-g -ffile-prefix-map=.=/x -c a.c",
        "-Wp,-DB=2,-DC -c a.c",
        "-c -shared -fPIC a.c",
    ] {
        calls.miss_then_hit(&format!("gcc {rest}"));
    }
}

#[test]
fn clang_has_options_of_its_own() {
    let Some(mut calls) = Calls::new("clang_has_options_of_its_own", &["clang-16"]) else { return };
    source(&calls);
    for rest in [
        "-Xclang -fno-pch-timestamp -c a.c",
        "-g -gsplit-dwarf -c a.c -o a.o",
        "--coverage -c a.c -o a.o",
        "-flto=thin -c a.c",
        "-fprofile-instr-generate -c a.c",
        "--serialize-diagnostics a.dia -c a.c",
        "-fcolor-diagnostics -Wall -c a.c",
        "-O2 -march=native -c a.c",
    ] {
        calls.miss_then_hit(&format!("clang-16 {rest}"));
    }
}

#[test]
fn diagnostics_come_back_in_colours_where_they_are_asked_for() {
    let test = "diagnostics_come_back_in_colours_where_they_are_asked_for";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    source(&calls);
    for rest in ["-fdiagnostics-color=always", "-fdiagnostics-color=never", "-fdiagnostics-color", "-Wextra"] {
        calls.miss_then_hit(&format!("gcc -Wall {rest} -c a.c"));
    }
    // Errors are the compiler's own words, every time.
    calls.write("bad.c", "int x = ;\n");
    for rest in ["-fdiagnostics-color=always", "-Wall"] {
        calls.passed(&format!("gcc {rest} -c bad.c"), "compile_failed");
    }
    calls.passed("gcc -Wall -Werror -c a.c", "compile_failed");
}

#[test]
fn a_response_file_is_what_it_says_today() {
    let Some(mut calls) = Calls::new("a_response_file_is_what_it_says_today", &["gcc"]) else { return };
    source(&calls);
    calls.write("inner", "-DX=\"a b\" -DA_IS=1");
    calls.write("outer", "-O1 @inner\n-c a.c -o a.o");
    calls.miss_then_hit("gcc @outer");
    calls.write("inner", "-DX=\"a b\" -DA_IS=2 -g");
    calls.miss_then_hit("gcc @outer");
    calls.write("outer", "@outer");
    assert_eq!(calls.both("gcc @outer"), ["bad_compiler_arguments"]);
}

#[test]
fn a_precompiled_header_is_made_and_used() {
    let Some(mut calls) = Calls::new("a_precompiled_header_is_made_and_used", &["gcc"]) else { return };
    calls.write("x.h", "#include <stdio.h>\n#define X 1\n");
    calls.write("a.c", "int main(void) { printf(\"%d\\n\", X); }\n");
    calls.miss_then_hit("gcc -x c-header -c x.h -o x.h.gch");
    calls.miss_then_hit("gcc -include x.h -Winvalid-pch -c a.c");
    calls.miss_then_hit("gcc -include x.h -fpch-preprocess -c a.c");
    calls.write("x.h", "#include <stdio.h>\n#define X 2\n");
    // It is what counts, not the header.
    calls.both("gcc -include x.h -Winvalid-pch -c a.c");
    for words in ["-x c-header -c x.h", "-O1 -c x.h", "-O0 -c x.h"] {
        calls.miss_then_hit(&format!("gcc {words} -o x.h.gch"));
    }
    calls.miss_then_hit("gcc -include x.h -Winvalid-pch -c a.c");
    fs::remove_file(calls.at("x.h.gch")).unwrap();
    calls.miss_then_hit("gcc -include x.h -Winvalid-pch -c a.c");
}

#[test]
fn a_precompiled_header_of_clang_is_made_and_used() {
    let test = "a_precompiled_header_of_clang_is_made_and_used";
    let Some(mut calls) = Calls::new(test, &["clang-16"]) else { return };
    calls.write("a.c", "int main(void) { printf(\"%d\\n\", X); }\n");
    for x in [1, 2] {
        calls.write("x.h", format!("#include <stdio.h>\n#define X {x}\n"));
        for end in ["pch", "other"] {
            calls.miss_then_hit(&format!("clang-16 -Xclang -fno-pch-timestamp -x c-header -c x.h -o x.h.{end}"));
        }
        calls.miss_then_hit("clang-16 -Xclang -fno-validate-pch -include x.h -c a.c");
        calls.miss_then_hit("clang-16 -Xclang -fno-validate-pch -include-pch x.h.other -c a.c -o b.o");
    }
}

#[test]
fn a_profile_is_an_input() {
    let Some(mut calls) = Calls::new("a_profile_is_an_input", &["gcc"]) else { return };
    calls.write("a.c", "int main(int n, char **v) { return n > 1 ? 0 : 0; }\n");
    calls.miss_then_hit("gcc -O2 -fprofile-generate -c a.c");
    for runs in [1, 2] {
        assert!(calls.plain("gcc").args(["-fprofile-generate", "a.o", "-o", "a"]).status().unwrap().success());
        for _ in 0..runs {
            assert!(calls.plain("./a").status().unwrap().success());
        }
        // Where nobody can know what is read it is at least never wrong.
        for _ in 0..2 {
            calls.both("gcc -O2 -fprofile-use -c a.c -o use.o");
        }
    }
}

#[test]
fn what_makes_nothing_to_be_kept_goes_to_the_compiler() {
    let test = "what_makes_nothing_to_be_kept_goes_to_the_compiler";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    source(&calls);
    calls.write("main.c", "int main(void) { return 0; }\n");
    calls.write("conftest.c", "int x;\n");
    for (rest, reason) in [
        ("-E a.c", "called_for_preprocessing"),
        ("-M a.c", "unsupported_compiler_option"),
        ("-MM a.c", "unsupported_compiler_option"),
        ("main.c -o main", "called_for_link"),
        ("--version", "unsupported_compiler_option"),
        ("-print-search-dirs", "unsupported_compiler_option"),
        ("-fplugin=none -c a.c", "unsupported_compiler_option"),
        ("-c conftest.c", "autoconf_test"),
        ("-c a.c -o /dev/null", "output_to_stdout"),
        ("-S a.c -o -", "output_to_stdout"),
        ("-c a.c -o none/a.o", "bad_output_file"),
        ("-Imain.c -c a.c", "bad_compiler_arguments"),
        ("-c none.c", "no_input_file"),
        ("-x c -c -", "source_from_stdin"),
        ("-c", "no_input_file"),
        ("", "no_input_file"),
    ] {
        calls.passed(format!("gcc {rest}").trim_end(), reason);
        calls.passed(format!("gcc {rest}").trim_end(), reason);
    }
}

#[test]
fn a_link_is_remembered_where_that_is_wanted() {
    let Some(mut calls) = Calls::new("a_link_is_remembered_where_that_is_wanted", &["gcc", "ar"]) else { return };
    source(&calls);
    calls.write("m.c", "int a(int), b(void);\nint main(void) { return a(0) + b(); }\n");
    for name in ["a", "b", "m"] {
        calls.miss_then_hit(&format!("gcc -fPIC -c {name}.c"));
    }
    calls.set("CCWRAP_LINK", "true");
    for rest in ["m.o a.o b.o -o program", "-shared a.o b.o -o libab.so -Wl,-soname,libab.so", "m.o -L. -lab -lm"] {
        calls.miss_then_hit(&format!("gcc {rest}"));
    }
    // One object is another.
    calls.write("b.c", "int b(void) { return 2; }\n");
    calls.miss_then_hit("gcc -fPIC -c b.c");
    calls.miss_then_hit("gcc m.o a.o b.o -o program");
}
