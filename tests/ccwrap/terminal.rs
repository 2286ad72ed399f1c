//! Where standard error is a terminal a compiler writes in colours, and so does what was remembered of it.

use std::fs;
use tests::calls::Calls;

/// What a command shows on a terminal, and what has counted it.
fn shown(calls: &mut Calls, words: &[&str]) -> (String, Vec<String>) {
    let ours = calls.ccwrap([""]);
    let mut command = calls.plain("script");
    let cache = ours.get_envs().find(|(name, _)| *name == "CCWRAP_DIR").and_then(|(_, value)| value).unwrap();
    command.env("CCWRAP_DIR", cache).args(["-qec", &words.join(" "), "shown"]);
    let output = calls.output(&mut command);
    let said = calls.scene.heard(&output);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
    fs::remove_file(calls.at("shown")).unwrap();
    (said.out, calls.newly_counted())
}

#[test]
fn a_terminal_is_written_to_in_colours_and_a_file_is_not() {
    for compiler in ["gcc", "clang-16"] {
        let test = "a_terminal_is_written_to_in_colours_and_a_file_is_not";
        let Some(mut calls) = Calls::new(test, &[compiler, "script"]) else { continue };
        calls.write("a.c", "int a(void) { int unused; return 1; }\n");
        calls.write("b.c", "int b;\n");
        calls.write("bad.c", "int x = ;\n");
        let ccwrap = tests::program("ccwrap").display().to_string();
        for (term, is_coloured) in [("xterm-256color", true), ("linux", true), ("dumb", false)] {
            calls.set("TERM", term);
            let call = [compiler, "-g", "-Wall", "-c", "a.c", "-o", "a.o"];
            let (theirs, _) = shown(&mut calls, &call);
            let object = fs::read(calls.at("a.o")).unwrap();
            assert_eq!(theirs.contains("\x1b["), is_coloured, "{theirs:?}");
            let ours = [&[ccwrap.as_str()], &call[..]].concat();
            for way in ["cache_miss", "direct_cache_hit"] {
                let (said, counted) = shown(&mut calls, &ours);
                assert_eq!(said, theirs, "{compiler} {term}");
                assert!(fs::read(calls.at("a.o")).unwrap() == object);
                // What is the same in colours is not compiled once more.
                assert!(counted == [way] || counted == ["preprocessed_cache_hit"], "{counted:?}");
            }
            let (nothing, _) = shown(&mut calls, &[&ccwrap, compiler, "-Wall", "-c", "b.c"]);
            assert_eq!(nothing, "");
        }
        // Links are for terminals that are known to show them, or said to.
        for (name, value) in [("COLORTERM", "truecolor"), ("COLORTERM", "gnome-terminal"), ("TERM_URLS", "st")] {
            calls.set("TERM", "linux");
            calls.set(name, value);
            let (theirs, _) = shown(&mut calls, &[compiler, "-Wall", "-c", "a.c"]);
            for _ in 0..2 {
                assert_eq!(
                    shown(&mut calls, &[&ccwrap, compiler, "-Wall", "-c", "a.c"]).0,
                    theirs,
                    "{compiler} {value}"
                );
            }
            calls.unset(name);
        }
        // By a word, the user decides; and by a variable that names no colours.
        for (word, term, colours) in [
            ("-fdiagnostics-color=never", "linux", None),
            ("-fdiagnostics-color=never", "xterm-256color", None),
            ("-fdiagnostics-color=always", "xterm-256color", None),
            ("-fdiagnostics-color=auto", "xterm-256color", None),
            ("-Wextra", "xterm-256color", Some("")),
            ("-Wextra", "xterm-256color", Some("warning=01;31")),
        ] {
            calls.set("TERM", term);
            colours.iter().for_each(|colours| calls.set("GCC_COLORS", colours));
            let words = [compiler, "-Wall", word, "-c", "a.c"];
            let (theirs, _) = shown(&mut calls, &words);
            let ours = [&[ccwrap.as_str()], &words[..]].concat();
            for _ in 0..2 {
                assert_eq!(shown(&mut calls, &ours).0, theirs, "{words:?} {term} {colours:?}");
            }
        }
        calls.unset("GCC_COLORS");
        // A file has none of it, whatever was remembered.
        for _ in 0..2 {
            calls.both(&format!("{compiler} -Wall -c a.c -o a.o"));
        }
    }
}
