//! Ninja's command line: what `ninja2drv` does with it, as ninja 1.13 does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::{Scene, not_run};

/// Each file below a directory, with its time of change.
fn files(directory: &Path) -> BTreeMap<String, std::time::SystemTime> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        files.insert(path.display().to_string(), entry.metadata().unwrap().modified().unwrap());
        if path.is_dir() {
            files.append(&mut self::files(&path));
        }
    }
    files
}

#[test]
fn a_dry_run_says_what_would_run_and_writes_nothing() {
    let Some(scene) = Scene::new("a_dry_run_says_what_would_run_and_writes_nothing", &["gcc"]) else { return };
    scene.write("build/a.c", "#include \"a.h\"\nint a;\n");
    scene.write("build/a.h", "int h;\n");
    scene.write("build/in", "");
    scene.edges(
        "build a.o: cc a.c\nbuild b: sh in\n  cmd = cp in b\nbuild c: sh a.o\n  cmd = cp a.o c\nbuild d: phony b c\n\
         build e: sh d\n  cmd = echo > e\n",
    );
    let dry = || {
        let before = files(&scene.at(""));
        let said = scene.run(&["-n"]);
        assert_eq!((said.code, files(&scene.at(""))), (Some(0), before), "{said}");
        said
    };
    let new = |name: &str| format!("{name}: not built here before");
    let said = dry();
    assert_eq!(said.ran().len(), 4, "{said}");
    assert!(said.ran().contains(&new("a.o")) && !scene.at("build/.splitter").exists(), "{said}");
    said.has(&["ninja2drv: 4 would run; nothing was done"]);

    scene.build();
    let said = dry();
    assert!(said.is_idle(), "{said}");
    // What is made of what would be made anew may turn out to be the same; nobody knows yet.
    scene.write("build/a.h", "int h; /* changed */\n");
    assert_eq!(dry().ran()[0], "a.o: `build/a.h` changed");
    assert_eq!(dry().ran().len(), 3);
    scene.write("build/a.h", "int h;\n");
    assert!(dry().is_idle(), "the content is the same");
    fs::remove_file(scene.at("build/b")).unwrap();
    assert_eq!(dry().ran()[0], "b: `build/b` is missing or was changed");
}

#[test]
fn what_a_build_ends_with_is_what_ninja_ends_with() {
    let Some(scene) = Scene::new("what_a_build_ends_with_is_what_ninja_ends_with", &[]) else { return };
    scene.write("build/in", "");
    scene.edges(
        "build a: sh in\n  cmd = exit 3\nbuild b: sh in\n  cmd = kill -9 $$$$\nbuild c: sh in\n  cmd = cp in c\n\
         build d: sh a b\n  cmd = cp in d\n",
    );
    for (words, code, last) in [
        (vec!["a"], 3, "ninja: build stopped: subcommand failed."),
        (vec!["b"], 137, "ninja: build stopped: subcommand failed."),
        (vec!["-j1", "-k2", "a", "b", "c"], 137, "ninja: build stopped: subcommands failed."),
        (vec!["-j1", "-k3", "d"], 137, "ninja: build stopped: cannot make progress due to previous errors."),
        (vec!["-j1", "-k-1", "b", "a"], 3, "ninja: build stopped: cannot make progress due to previous errors."),
        (vec!["-l0.01", "a"], 3, "ninja: build stopped: subcommand failed."),
    ] {
        let said = scene.run(&words);
        assert_eq!((said.code, said.out.lines().last()), (Some(code), Some(last)), "{words:?}\n{said}");
    }
    let said = scene.said(scene.command("ninja2drv").args(["-C", "nowhere"]));
    let chdir = "ninja: fatal: chdir to 'nowhere' - No such file or directory\n";
    assert_eq!((said.code, said.errors.as_str()), (Some(1), chdir), "{said}");
    let said = scene.run(&["-f", "nothing"]);
    assert!(said.code == Some(1) && said.errors.starts_with("ninja: error: loading 'nothing': No such file"), "{said}");
}

#[test]
fn progress_is_shown_as_it_is_asked_for() {
    let Some(scene) = Scene::new("progress_is_shown_as_it_is_asked_for", &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build a: sh in\n  cmd = cp in a; printf '\\033[1mbold\\033[0m'\nbuild b: sh a\n  cmd = cp a b\n");
    let said = |words: &[&str], status: Option<&str>| {
        let mut command = scene.command("ninja2drv");
        command.args(words).env_remove("CLICOLOR_FORCE");
        scene.said(command.envs(status.map(|status| ("NINJA_STATUS", status))))
    };
    // A line that a command does not end is ended, and there are no colours where there is no terminal.
    assert_eq!(said(&["--quiet"], None).out.lines().last(), Some("bold"));
    assert_eq!(said(&["--quiet"], None).out, "");
    let again = |text: &str| scene.write("build/in", text);
    again("1");
    let run = said(&[], Some("<%f of %t, %p, %u> "));
    run.has(&["<1 of 2,  50%, 1> a (`build/in` changed)", "<2 of 2, 100%, 0> b (`build/a` changed)"]);
    again("2");
    let run = said(&["-v"], None);
    run.has(&["[2/2] cp a b (`build/a` changed)"]);
    again("3");
    let run = said(&[], Some("%y"));
    assert_eq!((run.code, run.errors.as_str()), (Some(1), "ninja: error: unknown placeholder '%y' in $NINJA_STATUS\n"));

    again("4");
    let run = said(&["-d", "stats"], None);
    assert!(run.out.contains("\nmetric ") && run.out.contains("\nsteps "), "{run}");

    scene.edges("build c: sh in\n  cmd = echo now; cp in c\n  pool = console\n");
    let run = said(&["c"], None);
    run.has(&["[0/1] c (not built here before, outside of the sandbox: on the terminal)", "now"]);
}

#[test]
fn what_a_front_end_asks_first_is_answered_as_by_ninja() {
    let test = "what_a_front_end_asks_first_is_answered_as_by_ninja";
    let Some(scene) = Scene::new(test, &[]) else { return };
    let said = |words: &[&str]| scene.said(scene.command("ninja2drv").args(words));
    let version = said(&["--version"]);
    assert!(version.code == Some(0) && version.out.starts_with("1.13."), "{version}");
    assert_eq!(said(&["-w", "list"]).out.lines().count(), 2);
    assert_eq!(said(&["-d", "list"]).out.lines().count(), 6);
    for (words, error) in [
        (["-w", "other"], "ninja: error: unknown warning flag 'other'\n"),
        (["-d", "other"], "ninja: error: unknown debug setting 'other'\n"),
    ] {
        let said = said(&words);
        assert_eq!((said.code, said.errors.as_str()), (Some(1), error));
    }
    // What a front end may still ask for, though it does nothing.
    scene.edges("");
    for (words, warning) in [
        (["-w", "dupbuild=err"], "ninja: warning: deprecated warning 'dupbuild'\n"),
        (["-w", "depfilemulti=warn"], "ninja: warning: deprecated warning 'depfilemulti'\n"),
        (["-d", "nostatcache"], ""),
    ] {
        let said = said(&words);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), warning), "{said}");
    }
    // Of what is said twice the last counts.
    let said = said(&[
        "-C",
        "nowhere",
        "-C",
        ".",
        "-j2",
        "-j",
        "1",
        "-v",
        "--verbose",
        "-n",
        "-n",
        "-fother",
        "-fbuild.ninja",
    ]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
    scene.edges("build a: phony a\n");
    let said = scene.run(&["-w", "phonycycle=err"]);
    assert_eq!(
        (said.code, said.errors.as_str()),
        (Some(1), "ninja: error: dependency cycle: a -> a [-w phonycycle=err]\n")
    );
    let said = scene.run(&[]);
    assert!(said.code == Some(0) && said.errors.starts_with("ninja: warning: phony target 'a' names itself"), "{said}");
}

#[test]
fn commands_that_run_where_they_are_share_our_job_server() {
    let test = "commands_that_run_where_they_are_share_our_job_server";
    let Some(scene) = Scene::new(test, &["make"]) else { return };
    // Each waits for the other: they are only made if both are begun at once.
    scene.write(
        "build/makefile",
        "all: a b\na b:\n\ttouch $@; for i in $$(seq 100); do test -e a -a -e b && exit; sleep 0.1; done; exit 1\n",
    );
    scene.edges("build all: sh\n  cmd = $$TEST_MAKE && touch all\n  pool = console\n");
    for style in ["fifo", "pipe"] {
        let mut command = scene.command("ninja2drv");
        command.args(["-j2", "--jobserver", style]).env("TEST_MAKE", "make").env_remove("MAKEFLAGS");
        let said = scene.said(&mut command);
        // A make before 4.4 does not know a FIFO, and says so.
        if !said.errors.contains("--jobserver-auth") {
            assert_eq!(said.code, Some(0), "{said}");
        }
        for name in ["a", "b", "all"] {
            fs::remove_file(scene.at("build").join(name)).ok(); // an old make has made none
        }
    }
}

#[test]
fn a_ninja_that_a_command_starts_shares_our_job_server() {
    let test = "a_ninja_that_a_command_starts_shares_our_job_server";
    let Some(scene) = Scene::new(test, &["ninja"]) else { return };
    let version = scene.said(Command::new("ninja").arg("--version")).out;
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < 13) {
        return not_run(test, &format!("ninja is {}, older than 1.13", version.trim_end()));
    }
    // Two of these at once fail, and it starts two at once unless there is but one token.
    let alone = "rule alone\n  command = mkdir busy && sleep 0.4 && rmdir busy && touch $out\n";
    scene.write("build/inner/build.ninja", format!("{alone}build a: alone\nbuild b: alone\n"));
    scene.edges("build all: sh\n  cmd = ninja -C inner && touch all\n  pool = console\n");
    let run = |words: &[&str]| {
        let mut command = scene.command("ninja2drv");
        scene.said(command.args(["-j1"]).args(words).env_remove("MAKEFLAGS"))
    };
    let said = run(&[]);
    assert_eq!(said.code, Some(1), "without a job server: {said}");
    fs::remove_dir(scene.at("build/inner/busy")).ok(); // whoever made it has removed it
    let said = run(&["--jobserver", "fifo"]);
    assert_eq!(said.code, Some(0), "{said}");
}

#[test]
fn tokens_of_a_job_server_are_given_back() {
    let Some(scene) = Scene::new("tokens_of_a_job_server_are_given_back", &["make"]) else { return };
    scene.write("build/in", "");
    scene.edges(&(0..9).map(|i| format!("build {i}: sh in\n  cmd = cp in {i}\n")).collect::<String>());
    // What make finds missing at its end it tells.
    let program = scene.command("ninja2drv").get_program().to_owned();
    scene.write("makefile", format!("all:\n\t+cd build && {} -dexplain\n", program.display()));
    let mut make = scene.command("ninja2drv");
    let envs: Vec<_> = make.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    make = Command::new("make");
    for (name, value) in envs {
        match value {
            Some(value) => make.env(name, value),
            None => make.env_remove(name),
        };
    }
    let said = scene.said(make.arg("-j3").current_dir(scene.at("")));
    assert_eq!((said.code, said.ran().len(), said.errors.as_str()), (Some(0), 9, ""), "{said}");
}

#[test]
fn ninja_finds_nothing_to_do_after_us() {
    let test = "ninja_finds_nothing_to_do_after_us";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    if !scene.has_our_logs(test) {
        return;
    }
    let top = scene.at("build").canonicalize().unwrap();
    scene.write("build/in", "");
    scene.write("build/a.h", "int h;\n");
    scene.write("build/a.c", "#include \"a.h\"\n");
    scene.edges(&format!(
        "rule with_rsp\n  command = cp $out.rsp $out\n  rspfile = $out.rsp\n  rspfile_content = $in text\n\
         build a.o: cc a.c\n  deps = gcc\nbuild kept.o: cc a.c\nbuild b | {}/c: sh in\n  cmd = cp in b; cp in c\n\
         build d: sh b\n  cmd = cp b d\n  restat = 1\nbuild e: with_rsp d || kept.o\nbuild f: phony e\nbuild g: sh f\n  cmd = cp e g\n",
        top.display()
    ));
    let nothing_to_do = || {
        let said = scene.said(Command::new("ninja").args(["-d", "explain"]).current_dir(&top));
        assert_eq!(said.out, "ninja: no work to do.\n", "{said}");
    };
    scene.build();
    nothing_to_do();
    // The same content is nothing to us, and everything to who goes by times.
    for name in ["in", "a.h"] {
        scene.write(&format!("build/{name}"), scene.read(&format!("build/{name}")));
    }
    assert_eq!(scene.build().ran(), [""; 0]);
    nothing_to_do();
    assert!(scene.build().is_idle());
    scene.write("build/a.h", "int h; int i;\n");
    assert_eq!(scene.build().ran().len(), 2);
    nothing_to_do();
    // What it does then is its own.
    scene.write("build/a.h", "int j;\n");
    let said = scene.said(Command::new("ninja").current_dir(&top));
    assert!(said.out.contains("[2/2]"), "{said}");
    // A log that is spoilt is told, and written anew.
    fs::write(scene.at("build/.ninja_deps"), "spoilt").unwrap();
    let said = scene.build();
    assert_eq!(
        (said.ran().len(), said.errors.as_str()),
        (2, "ninja: warning: bad deps log signature or version; starting over\n")
    );
    scene.write("build/in", "other");
    scene.build();
    nothing_to_do();
}

#[test]
fn what_ninja_has_built_is_taken_over_if_that_is_asked_for() {
    let test = "what_ninja_has_built_is_taken_over_if_that_is_asked_for";
    let Some(scene) = Scene::new(test, &["gcc", "ninja"]) else { return };
    scene.write(".splitter-root", "");
    scene.write("build/h.h", "int h;\n");
    scene.write("build/a.c", "#include \"h.h\"\nint main(void) { return 0; }\n");
    scene.write("build/b.c", "int b;\n");
    scene.write("build/c.c", "int c;\n");
    scene.edges("build a.o: cc a.c\nbuild b.o: cc b.c\nbuild c.o: cc c.c\nbuild p: ld a.o c.o\n");
    let ninja = || scene.said(Command::new("ninja").current_dir(scene.at("build")));
    if !scene.has_our_logs(test) {
        return;
    }
    ninja();
    scene.write("build/c.c", "int c; // changed\n");
    let said = scene.run(&["--adopt"]);
    // What ninja would build again is built.
    assert_eq!(said.ran(), ["c.o: not built here before", "p: not built here before"], "{said}");
    assert!(said.out.contains("2 ran, 0 reused, 2 up to date"), "{said}");
    let said = scene.run(&[]);
    assert!(said.ran().is_empty() && said.reused().is_empty(), "{said}");
    scene.write("build/h.h", "int h; // changed\n");
    assert_eq!(scene.build().ran(), ["a.o: `build/h.h` changed"]);
    fs::remove_file(scene.at("build/b.o")).unwrap();
    assert_eq!(scene.build().ran(), ["b.o: `build/b.o` is missing or was changed"], "the store never had it");
    assert_eq!(ninja().out, "ninja: no work to do.\n");

    // What it builds after us is not believed, unless that is asked for again.
    scene.write("build/b.c", "int b; // by ninja\n");
    ninja();
    assert_eq!(scene.run(&["--adopt"]).ran(), [""; 0]);
    scene.write("build/b.c", "int b; // and by ninja\n");
    ninja();
    assert_eq!(scene.build().ran(), ["b.o: `build/b.c` changed"]);
}

#[test]
fn headers_that_a_compiler_names_in_its_output_are_read() {
    let test = "headers_that_a_compiler_names_in_its_output_are_read";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/a.c", "a.h\n");
    scene.write("build/a.h", "1\n");
    scene.write(
        "build/cl",
        "#!/bin/sh\necho $1\nfor h in $(cat $1); do echo \"Note: including file: $h\"; cat $h; done > text\n\
         cat text; grep -v Note text > $2; echo a warning\n",
    );
    scene.edges("build a.o: sh a.c | cl\n  cmd = sh ./cl a.c a.o; rm -f text\n  deps = msvc\n");
    let said = scene.build();
    assert!(said.out.contains("\n1\na warning\n") && !said.out.contains("Note: "), "{said}");
    scene.write("build/a.h", "2\n");
    assert_eq!(scene.build().ran(), ["a.o: `build/a.h` changed"]);
    assert_eq!(scene.read("build/a.o"), "2\n");
}

#[test]
fn files_of_commands_are_kept_where_that_is_asked_for() {
    let test = "files_of_commands_are_kept_where_that_is_asked_for";
    let Some(scene) = Scene::new(test, &["gcc"]) else { return };
    scene.write("build/a.c", "int a;\n");
    scene.edges(
        "rule rsp\n  command = cat @$rspfile > $out || cat $rspfile > $out\n  rspfile = $out.rsp\n  rspfile_content = text\n\
         build a.o: cc a.c\n  deps = gcc\nbuild b: rsp\nbuild c: rsp\n  pool = console\n",
    );
    scene.build();
    assert_eq!(["a.o.d", "b.rsp", "c.rsp"].map(|name| scene.at("build").join(name).exists()), [false; 3]);
    scene.write("build/a.c", "int a; int b;\n");
    fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
    assert_eq!(scene.run(&["-d", "keepdepfile", "-d", "keeprsp"]).code, Some(0));
    assert!(scene.read("build/a.o.d").starts_with("a.o: a.c"));
    assert_eq!((scene.read("build/b.rsp"), scene.read("build/c.rsp")), ("text".into(), "text".into()));
}
