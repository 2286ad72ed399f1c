//! Compilers that are newer than the host, moved to a place of their own with the libraries that they need.

use std::path::PathBuf;
use std::process::Command;
use tests::calls::Calls;
use tests::{is_refused, not_run};

/// Newer programs that can be had: name and program, and where they lie.
pub fn newer(test: &str) -> Option<(PathBuf, Vec<(String, String)>)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/newer-compilers");
    let output = Command::new(script).output().expect("the script starts");
    if !output.status.success() {
        not_run(test, String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    let said = String::from_utf8(output.stdout).expect("it says names");
    let root = said.lines().find_map(|line| line.strip_prefix("root "))?.into();
    let compilers = said.lines().filter_map(|line| {
        let mut words = line.strip_prefix("ok ")?.split(' ');
        Some((words.next()?.to_owned(), words.nth(1)?.to_owned()))
    });
    Some((root, compilers.collect()))
}

/// The same where an entry answers for them.
fn newer_in_sandbox(test: &str) -> Option<(PathBuf, Vec<(String, String)>)> {
    if is_refused() {
        // A link of their root is taken for one that has changed, so that the store is asked where the entry would do.
        not_run(test, "where namespaces are refused, hits of compilers in a place of their own are by the store alone");
        return None;
    }
    newer(test)
}

fn write_sources(calls: &Calls) {
    calls.write("a.h", "#define A 1\n");
    calls.write(
        "a.c",
        "#include <stddef.h>\n#include <stdio.h>\n#include \"a.h\"\nint a(int x) { int unused; return x + A; }\n",
    );
    calls.write(
        "a.cc",
        "#include <string>\n#include \"a.h\"\nstd::string a() { int unused; return std::to_string(A); }\n",
    );
}

#[test]
fn a_newer_compiler_in_a_place_of_its_own_is_one_like_others() {
    let test = "a_newer_compiler_in_a_place_of_its_own_is_one_like_others";
    let Some((root, programs)) = newer_in_sandbox(test) else { return };
    let is_meant = |(name, _): &(String, String)| name != "make";
    for (name, program) in programs.into_iter().filter(is_meant) {
        let Some(mut calls) = Calls::new(test, &[]) else { return };
        write_sources(&calls);
        let source = if name.ends_with("++") { "a.cc" } else { "a.c" };
        let sysroot = format!("--sysroot={}", root.display());
        for rest in [
            "-O2 -Wall -c",
            "-g -MD -MF a.d -MT target -c",
            "-S",
            "-g -gsplit-dwarf -c",
            "-Wall -fdiagnostics-color=always -c",
            "-include a.h -c",
        ]
        .into_iter()
        .take(if name.ends_with("++") { 2 } else { 6 })
        {
            calls.miss_then_hit(&format!("{program} {sysroot} {rest} {source}"));
        }
        calls.passed(&format!("{program} {sysroot} -E {source}"), "called_for_preprocessing");
        // With the headers of this host, which are older.
        if source == "a.c" {
            calls.miss_then_hit(&format!("{program} -c {source} -o older.o"));
        }
        calls.write("a.h", "#define A 2\n");
        calls.miss_then_hit(&format!("{program} {sysroot} -O2 -Wall -c {source}"));
        calls.write("bad.c", "int x = ;\n");
        calls.passed(&format!("{program} -x c -c bad.c"), "compile_failed");
    }
}

#[test]
fn a_header_that_a_newer_compiler_has_precompiled_is_used() {
    let test = "a_header_that_a_newer_compiler_has_precompiled_is_used";
    let Some((root, programs)) = newer_in_sandbox(test) else { return };
    // Clang writes down which of its directories are there; in a sandbox those are not in which nothing was found.
    for (_, program) in programs.iter().filter(|(name, _)| name == "gcc") {
        let Some(mut calls) = Calls::new(test, &[]) else { return };
        write_sources(&calls);
        let sysroot = format!("--sysroot={}", root.display());
        calls.miss_then_hit(&format!("{program} {sysroot} -x c-header -c a.h -o a.h.gch"));
        calls.miss_then_hit(&format!("{program} {sysroot} -include a.h -Winvalid-pch -c a.c"));
    }
}
