//! What is said of build files that cannot be used, and of commands that do what they must not: in which words, of which
//! place, and what is left behind.

use std::fs;
use std::process::Command;
use tests::Scene;

#[test]
fn a_dependency_cycle_is_named() {
    let Some(scene) = Scene::new("a_dependency_cycle_is_named", &[]) else { return };
    scene.edges("build a: sh b\nbuild b: sh c\nbuild c: sh a\nbuild top: sh a\n");
    assert_eq!(scene.fail().errors, "ninja: error: dependency cycle: a -> b -> c -> a\n");

    // Where all edges wait for each other there is nothing that could be built by default.
    scene.edges("build a: sh b\nbuild b: sh a\n");
    assert_eq!(scene.fail().errors, "ninja: error: dependency cycle: a -> b -> a\n");
    scene.edges("build a: sh a\n");
    assert_eq!(scene.fail().errors, "ninja: error: dependency cycle: a -> a\n");
}

#[test]
fn a_missing_input_is_named_with_its_user_before_anything_runs() {
    let test = "a_missing_input_is_named_with_its_user_before_anything_runs";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build other: sh in\n  cmd = cp in other\nbuild y: sh x other\n  cmd = cp x y\n");
    let said = scene.fail();
    assert_eq!(said.errors, "ninja: error: 'x', needed by 'y', missing and no known rule to make it\n");
    assert_eq!((said.ran(), scene.at("build/other").exists()), (vec![], false));
}

#[test]
fn what_is_wrong_in_a_build_file_is_named_with_its_place() {
    let Some(scene) = Scene::new("what_is_wrong_in_a_build_file_is_named_with_its_place", &[]) else { return };
    let error = |text: &str| {
        scene.write("build/build.ninja", text);
        scene.fail().errors
    };
    assert_eq!(
        error("rule r\n  command = c\nbuild o: r\nbuild p o: r\n"),
        "ninja: error: build.ninja:4: multiple rules generate o; the first is at build.ninja:3\n\
         build p o: r\n        ^ near here\n"
    );
    assert_eq!(
        error("rule r\n  command = c\nbuild o: s\n"),
        "ninja: error: build.ninja:3: unknown build rule 's'\nbuild o: s\n         ^ near here\n"
    );
    assert_eq!(
        error("rule r\n  command = c\nbuild o r\n"),
        "ninja: error: build.ninja:3: expected ':', got newline ($ also escapes ':')\n\
         build o r\n         ^ near here\n"
    );
    scene.write("build/sub.ninja", "rule r\n  command\n");
    assert_eq!(
        error("\ninclude sub.ninja\n"),
        "ninja: error: sub.ninja:2: expected '=', got newline\n  command\n         ^ near here\n"
    );
    assert!(error("include gone.ninja\n").contains("build.ninja:1: "), "the place of the `include`");
}

#[test]
fn a_failed_command_is_told_with_its_output_its_code_its_place_and_how_to_run_it_alone() {
    let test = "a_failed_command_is_told_with_its_output_its_code_its_place_and_how_to_run_it_alone";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "");
    scene.edges("");
    let line = scene.read("build/build.ninja").lines().count() + 1;
    scene.edges(
        "build a$ b: sh in\n  cmd = echo first; echo second >&2; exit 3\nbuild other: sh in\n  cmd = cp in other\n\
         build end: sh a$ b other\n  cmd = cp other end\n",
    );
    let said = scene.said(scene.command("ninja2drv").current_dir("/").args(["-k", "0", "-C"]).arg(scene.at("build")));
    assert_eq!(said.code, Some(3));
    said.has(&[
        "FAILED: [code=3] a b ",
        "echo first; echo second >&2; exit 3",
        "first",
        "second",
        "ninja2drv: `a b`: exit code 3",
        &format!("  stated at: build.ninja:{line}"),
        "ninja2drv: 1 ran, 0 reused, 0 up to date",
        "ninja: build stopped: cannot make progress due to previous errors.",
    ]);
    // What does not need it was built, what needs it was not tried.
    assert_eq!(said.ran(), ["other: not built here before"]);
    assert!(!scene.at("build/end").exists());

    // The command that is named does the same again, and nothing else.
    let again = said.out.lines().find_map(|line| line.strip_prefix("  again, alone: ")).expect("a command is named");
    // Paths were made relative for the other comparisons.
    let again = again.replace("-C build", &format!("-C {}", scene.at("build").display()));
    let mut shell = Command::new("sh");
    shell.args(["-c", &again]).current_dir("/").env("SPLITTER_STORE", scene.at("store"));
    let said = scene.said(shell.env("XDG_STATE_HOME", scene.at("history")));
    assert_eq!((said.code, said.ran()), (Some(3), vec![]));
    said.has(&["FAILED: [code=3] a b ", "first", "second"]);

    // A failure is not remembered as if it were a result: the command runs again, and what was good is not done again.
    scene.write("build/in", "changed");
    scene.edges(
        "build a$ b: sh in\n  cmd = cp in 'a b'\nbuild other: sh in\n  cmd = cp in other\n\
         build end: sh a$ b other\n  cmd = cp other end\n",
    );
    let said = scene.build();
    assert_eq!(
        said.ran(),
        ["'a b': not built here before", "end: not built here before", "other: `build/in` changed"],
        "{said}"
    );
}

#[test]
fn a_command_that_a_signal_ended_is_told_with_the_signal() {
    let Some(scene) = Scene::new("a_command_that_a_signal_ended_is_told_with_the_signal", &[]) else { return };
    scene.write("build/in", "");
    for signal in [9, 11] {
        scene.edges(&format!("build out: sh in\n  cmd = echo half > out; echo before; kill -{signal} $$$$\n"));
        scene.fail().has(&["before", &format!("ninja2drv: `out`: killed by signal {signal}")]);
        assert!(!scene.at("build/out").exists(), "a half output is not put in place");
    }
}

#[test]
fn an_output_that_is_not_written_is_an_error_only_where_another_edge_needs_it() {
    let test = "an_output_that_is_not_written_is_an_error_only_where_another_edge_needs_it";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build out: sh in\n  cmd = echo done\nbuild all: phony out\n");
    assert_eq!(scene.build().ran(), ["out: not built here before"]);
    assert!(scene.build().is_idle(), "ninja would run it for ever");

    scene.edges("build out: sh in\n  cmd = echo done\nbuild end: sh out\n  cmd = cp out end\n");
    let said = scene.fail();
    said.has(&["done", "ninja2drv: `out`: the command succeeded but did not write `build/out`"]);
    assert_eq!(said.ran(), [] as [&str; 0]);
}

#[test]
fn writes_outside_the_build_directory_are_refused() {
    let Some(scene) = Scene::new("writes_outside_the_build_directory_are_refused", &[]) else { return };
    scene.write("build/in", "");
    scene.write("source", "good\n");
    scene.edges("build out: sh in ../source\n  cmd = echo x > out; echo x > ../stray\n");
    let said = scene.fail();
    assert!(said.out.contains("cannot create ../stray: "), "{said}");
    scene.edges("build out: sh in ../source\n  cmd = echo x > out; echo bad > ../source\n");
    let said = scene.fail();
    said.has(&["splitter: wrote to its input `source`, outside the build directory"]);

    // Where the edge has an output the directory can be written, but nothing else may be left in it.
    scene.edges("build out ../declared: sh in\n  cmd = echo x > out; echo x > ../declared; echo x > ../stray\n");
    scene.fail().has(&["splitter: wrote `stray`, which it does not declare, outside the build directory"]);
    assert!(!scene.at("stray").exists() && !scene.at("declared").exists());
    assert_eq!(scene.read("source"), "good\n");
}

#[test]
fn a_command_that_writes_to_its_own_input_fails_and_the_input_is_kept() {
    let test = "a_command_that_writes_to_its_own_input_fails_and_the_input_is_kept";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "good\n");
    scene.edges("build out: sh in\n  cmd = cp in out; echo bad >> in\n");
    scene.fail().has(&["ninja2drv: `out`: the command wrote `build/in`, which is an input"]);
    for command in [
        "sed -i s/good/bad/ in && cp in out",
        "cp in out && echo bad > new && mv new in",
        "chmod u+w in && echo bad > in && cp in out",
        // Not even where it is not known that the file is an input of this edge.
        "echo bad > ./side && echo > out",
    ] {
        scene.write("build/side", "good\n");
        scene.edges(&format!("build out: sh in\n  cmd = {command}\nbuild other: sh side\n  cmd = cp side other\n"));
        let said = scene.fail();
        assert!(!scene.at("build/out").exists(), "{said}");
        assert_eq!((scene.read("build/in"), scene.read("build/side")), ("good\n".into(), "good\n".into()), "{said}");
    }
    scene.edges("build out: sh in\n  cmd = sed -i s/good/bad/ in && cp in out\n");
    scene.fail().has(&["ninja2drv: `out`: the command wrote `build/in`, which is an input"]);

    // An input that is removed is only gone for the command.
    scene.edges("build out: sh in\n  cmd = cp in out && rm in\n");
    scene.build();
    assert_eq!((scene.read("build/in"), scene.read("build/out")), ("good\n".into(), "good\n".into()));
}

#[test]
fn a_process_left_in_the_background_is_named_and_ended() {
    let Some(scene) = Scene::new("a_process_left_in_the_background_is_named_and_ended", &[]) else { return };
    scene.write("build/in", "");
    let time = format!("{}", 100_000 + std::process::id());
    scene.edges(&format!("build out: sh in\n  cmd = sleep {time} & cp in out\n"));
    scene.fail().has(&["splitter: left running in the background: `sleep`"]);
    assert_eq!(scene.processes(&time), 0);

    // One that ended is nobody's business, and one of a command that failed is ended too.
    scene.edges("build out: sh in\n  cmd = sleep 0 & cp in out\n");
    scene.build();
    scene.edges(&format!("build out: sh in\n  cmd = sleep {time} & exit 4\n"));
    scene.fail().has(&["ninja2drv: `out`: exit code 4"]);
    assert_eq!(scene.processes(&time), 0);
}

#[test]
fn a_target_that_is_unknown_is_named() {
    let Some(scene) = Scene::new("a_target_that_is_unknown_is_named", &[]) else { return };
    scene.write("build/in", "");
    scene.edges("build out: sh in\n  cmd = cp in out\n");
    let said = scene.run(&["out", "nothing"]);
    assert_eq!((said.code, said.errors.as_str()), (Some(1), "ninja: error: unknown target 'nothing'\n"));
    assert!(fs::metadata(scene.at("build/out")).is_err());
}
