//! Commands that are not for a sandbox: they run where they are, as ninja runs them, and that is shown.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tests::{Scene, not_run};

const CONSOLE: &str = "rule console\n  command = $cmd\n  description = $out\n  pool = console\n";

#[test]
fn a_command_on_the_terminal_runs_when_something_changed_and_one_that_makes_nothing_each_time() {
    let test = "a_command_on_the_terminal_runs_when_something_changed_and_one_that_makes_nothing_each_time";
    let Some(scene) = Scene::new(test, &["ninja"]) else { return };
    scene.write("build/in", "1\n");
    scene.edges(&format!(
        "{CONSOLE}build made: console in\n  cmd = cp in made\nbuild user: sh made\n  cmd = cp made user\n\
         build install: console user\n  cmd = cp user ../installed\nbuild all: phony user\ndefault all\n"
    ));
    let made = |reason: &str| format!("made: {reason}, outside of the sandbox: on the terminal");
    let install = "install: not built here before, outside of the sandbox: on the terminal".to_owned();
    assert_eq!(scene.build().ran(), [made("not built here before"), "user: not built here before".into()]);
    assert!(scene.run(&[]).ran().is_empty());
    scene.write("build/in", "1\n");
    assert!(scene.run(&[]).ran().is_empty(), "the content is the same");
    scene.write("build/in", "2\n");
    assert_eq!(scene.build().ran(), [made("`build/in` changed"), "user: `build/made` changed".into()]);
    fs::write(scene.at("build/made"), "evil\n").unwrap();
    assert_eq!(scene.build().ran(), [made("`build/made` is missing or was changed")]);

    assert_eq!(scene.run(&["install"]).ran(), [install]);
    fs::remove_file(scene.at("installed")).unwrap();
    let said = scene.run(&["install"]);
    assert_eq!(
        said.ran(),
        ["install: `build/install` is missing or was changed, outside of the sandbox: on the terminal"]
    );
    assert_eq!(scene.read("installed"), "2\n");
    if !scene.has_our_logs(test) {
        return;
    }
    let said = scene.said(Command::new("ninja").current_dir(scene.at("build")));
    assert_eq!(said.out, "ninja: no work to do.\n", "{said}");
}

#[test]
fn what_is_written_while_a_command_runs_outside_runs_it_again() {
    let Some(scene) = Scene::new("what_is_written_while_a_command_runs_outside_runs_it_again", &[]) else { return };
    scene.write("build/in", "1\n");
    scene.edges(&format!("{CONSOLE}build made: console in\n  cmd = cp in made; touch begun; sleep 1\n"));
    let mut run = scene.command("ninja2drv").stdout(Stdio::null()).spawn().unwrap();
    while !scene.at("build/begun").exists() {
        assert!(run.try_wait().unwrap().is_none(), "it copies and waits");
        sleep(Duration::from_millis(20));
    }
    scene.write("build/in", "2\n");
    assert!(run.wait().unwrap().success());
    assert_eq!(scene.build().ran().len(), 1);
    assert_eq!(scene.read("build/made"), "2\n");
    assert!(scene.run(&[]).ran().is_empty());
}

#[test]
fn what_the_user_names_runs_outside_and_is_not_shared() {
    let Some(scene) = Scene::new("what_the_user_names_runs_outside_and_is_not_shared", &[]) else { return };
    scene.write(".splitter-root", "");
    scene.write("elsewhere/log", "");
    let edges = "build a: sh in\n  cmd = cp in a; echo made >> ../elsewhere/log\nbuild b: sh a\n  cmd = cp a b\n";
    scene.write("build/in", "1\n");
    scene.edges(edges);
    if !tests::is_refused() {
        let said = scene.fail();
        assert!(said.out.contains("\nhint: ") && said.out.contains(": --outside a\n"), "{said}");
    }
    let named = |scene: &Scene| {
        let said = scene.run(&["--outside", "?"]);
        assert_eq!(said.code, Some(0), "{said}");
        said.ran()
    };
    let new = |name: &str| format!("{name}: not built here before, outside of the sandbox: asked for by `?`");
    assert_eq!(named(&scene), [new("a"), new("b")]);
    assert!(named(&scene).is_empty());
    // Nothing of it is known to another build directory.
    fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
    assert_eq!(named(&scene), [new("a"), new("b")]);
    assert_eq!(scene.read("elsewhere/log"), "made\nmade\n");
    // In the sandbox what was made outside counts for nothing.
    scene.edges(&edges.replace("; echo made >> ../elsewhere/log", ""));
    assert_eq!(scene.build().ran(), ["a: command changed", "b: made outside of a sandbox"]);

    let said = scene.run(&["--outside", "["]);
    assert!(said.code == Some(1) && said.errors.starts_with("ninja: error: `--outside`: "), "{said}");
}

/// All below a directory that belongs to root.
fn of_root(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.uid() == 0 {
            found.push(entry.path().display().to_string());
        }
        if metadata.is_dir() {
            of_root(&entry.path(), found);
        }
    }
}

#[test]
fn root_installs_what_a_user_has_built_and_leaves_nothing_behind() {
    let test = "root_installs_what_a_user_has_built_and_leaves_nothing_behind";
    let Some(scene) = Scene::new(test, &["setpriv", "gcc"]) else { return };
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return not_run(test, "only root can be root");
    }
    scene.write("build/a.c", "int main(void) { return 0; }\n");
    scene.edges(&format!(
        "{CONSOLE}build a.o: cc a.c\nbuild p: ld a.o\nbuild all: phony p\ndefault all\n\
         build install: console all\n  cmd = cp p ../../installed-p\n"
    ));
    const USER: &str = "54321";
    let project = scene.at("project");
    fs::create_dir(&project).unwrap();
    fs::rename(scene.at("build"), project.join("build")).unwrap();
    let own = Command::new("chown").args(["-R", USER]).arg(&project).status().unwrap();
    assert!(own.success());
    for path in [scene.at(""), project.clone()] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let run = |user: bool, words: &[&str]| {
        let home = if user { project.join("home") } else { scene.at("roots-home") };
        let program = tests::program("ninja2drv");
        let mut command = if user { Command::new("setpriv") } else { Command::new(&program) };
        if user {
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(&program);
        }
        command.args(words).current_dir(project.join("build")).env("HOME", home);
        for name in ["SPLITTER_STORE", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "NIX_REMOTE"] {
            command.env_remove(name);
        }
        scene.said(&mut command)
    };
    let said = run(true, &[]);
    if said.code != Some(0) && said.errors.contains("ermission denied") {
        return not_run(test, "another user cannot run programs from here");
    }
    assert_eq!(said.code, Some(0), "{said}");
    let said = run(false, &["install"]);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(
        scene.at("installed-p").exists() && said.out.contains("ninja2drv: 1 ran, 0 reused, 2 up to date"),
        "{said}"
    );
    let mut found = Vec::new();
    of_root(&project, &mut found);
    assert!(found.is_empty(), "{said}\n{found:?}");
    let said = run(true, &[]);
    assert!(said.is_idle(), "{said}");
}
