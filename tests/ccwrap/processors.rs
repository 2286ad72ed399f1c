//! The small program for another processor, by an emulator: its system calls are its own, and other ones there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tests::calls::{Calls, settle};
use tests::{not_run, program};

/// The emulator and the program, if they can be had.
fn emulated(test: &str) -> Option<[PathBuf; 2]> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/other-processor");
    let output = Command::new(script).output().expect("the script starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match said.trim().strip_prefix("ok ").and_then(|paths| paths.split_once(' ')) {
        Some((emulator, program)) => Some([emulator.into(), program.into()]),
        None => {
            not_run(test, String::from_utf8_lossy(&output.stderr).trim());
            None
        }
    }
}

#[test]
fn the_small_program_of_another_processor_answers_as_this_one() {
    let test = "the_small_program_of_another_processor_answers_as_this_one";
    let Some([emulator, small]) = emulated(test) else { return };
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.h", "#define A 1\n");
    calls.write("a.c", "#include <stdio.h>\n#include \"a.h\"\nint a(void) { int unused; return A; }\n");
    settle();
    let words = ["gcc", "-g", "-gsplit-dwarf", "-Wall", "-MD", "-c", "a.c", "-o", "a.o"];
    calls.miss_then_hit(&words.join(" "));
    let bin = calls.scene.at("store/bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(&small, bin.join("ccwrap")).unwrap();
    let by_emulator = |calls: &Calls| {
        let cache = calls.scene.at("ccwrap");
        calls.made(|calls| {
            let mut command = calls.plain(&emulator.display().to_string());
            // The first word is a part of what a call is known by.
            command.arg("-0").arg(program("ccwrap")).arg(bin.join("ccwrap")).args(words).env("CCWRAP_DIR", cache);
            calls.output(&mut command)
        })
    };
    // There is no full program beside it, so that it has to do all itself.
    for _ in 0..2 {
        let ours = by_emulator(&calls);
        let theirs = calls.alone(&words);
        calls.are_same(&words, &ours, &theirs);
        assert_eq!(calls.newly_counted(), ["direct_cache_hit"]);
    }
    // What it does not answer is for the full program, which is called as it was.
    calls.write("a.h", "#define A 2\n");
    let (said, _) = by_emulator(&calls);
    assert_eq!(said.status.code(), Some(127));
    std::os::unix::fs::symlink(program("ccwrap-full"), bin.join("ccwrap-full")).unwrap();
    let ours = by_emulator(&calls);
    let theirs = calls.alone(&words);
    calls.are_same(&words, &ours, &theirs);
    assert_eq!(calls.newly_counted(), ["cache_miss"]);
}
