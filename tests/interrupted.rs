//! Runs that are stopped, and state that is spoilt or lost: nothing good is lost, and the next run goes on from there.

use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::waiting::{Waiting, signal};
use tests::{Said, Scene, not_run};

const NONE: [&str; 0] = [];

#[test]
fn spoilt_state_is_told_and_rebuilt_without_running() {
    let Some(scene) = Scene::new("spoilt_state_is_told_and_rebuilt_without_running", &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = cp a b\n");
    scene.build();
    let random: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for name in ["build/.splitter/state", "build/.splitter/records", "history/splitter/history.sqlite"] {
        let good = std::fs::read(scene.at(name)).unwrap();
        let mut middle = good.clone();
        let from = (good.len() / 2).min(4096);
        middle[from..].fill(0xa5);
        for spoilt in [&good[..good.len() / 2], &good[..7], &random, &middle] {
            scene.write(name, spoilt);
            if name.starts_with("history") {
                // Only a run that has something to do looks at it.
                std::fs::remove_dir_all(scene.at("build/.splitter")).unwrap();
            } else {
                std::fs::remove_file(scene.at("build/.splitter/state")).ok();
                scene.write(name, spoilt);
            }
            let said = scene.build();
            assert!(
                said.errors.contains(&format!("warning: the history `{name}`"))
                    || said.errors.contains("warning: `") && said.errors.contains(name),
                "{said}"
            );
            assert_eq!(said.ran(), NONE, "{said}");
            assert_eq!(scene.read("build/b"), "text\n");
            assert!(scene.build().is_idle());
        }
    }
}

/// Starts a build of `waiting`.
fn started(scene: &Scene, waiting: &Waiting<'_>) -> Child {
    waiting.start(scene.command("ninja2drv").arg("-dexplain"))
}

/// Checks that no process is left, and that a good build goes on from `a`.
fn goes_on(scene: &Scene, waiting: &Waiting<'_>, known: &str) {
    waiting.is_stopped();
    scene.store_is_good();
    let said = scene.build();
    assert_eq!(said.ran(), ["b: not built here before", "c: not built here before"], "{said}");
    assert!(said.out.contains(known), "{said}");
    assert_eq!(scene.read("build/c"), "text\n");
    let store: Vec<_> = std::fs::read_dir(scene.at("store/nix/store")).unwrap().flatten().collect();
    assert!(store.iter().all(|entry| !entry.file_name().to_string_lossy().contains(".tmp")), "{store:?}");
    scene.store_is_good();
}

#[test]
fn an_interrupted_build_ends_as_ninja_does_and_goes_on_from_there() {
    let test = "an_interrupted_build_ends_as_ninja_does_and_goes_on_from_there";
    for name in ["INT", "TERM", "HUP"] {
        let Some(scene) = Scene::new(test, &[]) else { return };
        let waiting = Waiting::new(&scene);
        let child = started(&scene, &waiting);
        signal(&child, name);
        let said = scene.heard(&child.wait_with_output().unwrap());
        assert_eq!(said.code, Some(130), "{said}");
        said.has(&["ninja2drv: 1 ran, 0 reused, 0 up to date", "ninja: build stopped: interrupted by user."]);
        assert!(!said.out.contains("FAILED"), "{said}");
        goes_on(&scene, &waiting, "[0/2] up to date a\n");
    }
}

#[test]
fn a_killed_build_leaves_no_process_and_nothing_half() {
    let Some(scene) = Scene::new("a_killed_build_leaves_no_process_and_nothing_half", &[]) else { return };
    let waiting = Waiting::new(&scene);
    let mut child = started(&scene, &waiting);
    signal(&child, "KILL");
    child.wait().unwrap();
    if tests::is_refused() {
        // What a command read in place is noted at the end: it runs again.
        waiting.is_stopped();
        scene.build();
        scene.store_is_good();
        return assert_eq!(scene.read("build/c"), "text\n");
    }
    // The store knows what was done, though nothing could be noted.
    goes_on(&scene, &waiting, "[1/3] reused a (not built here before)\n");
}

#[test]
fn a_build_directory_in_use_is_waited_for() {
    let Some(scene) = Scene::new("a_build_directory_in_use_is_waited_for", &[]) else { return };
    let waiting = Waiting::new(&scene);
    let first = started(&scene, &waiting);
    let mut command = scene.command("ninja2drv");
    let mut second = command.arg("-dexplain").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(second.try_wait().unwrap().is_none(), "it waits");
    scene.edges("build a: sh in\n  cmd = cp in a\n");
    signal(&first, "INT");
    first.wait_with_output().unwrap();
    let said = scene.heard(&second.wait_with_output().unwrap());
    assert_eq!(said.code, Some(0), "{said}");
    assert_eq!(said.errors, "ninja2drv: another run is at work in `build`; waiting for it\n");
    said.has(&["ninja2drv: 0 ran, 0 reused, 1 up to date; done", "ninja: no work to do."]);
}

#[test]
fn a_library_edit_after_eviction_or_loss_of_the_store_builds() {
    let test = "a_library_edit_after_eviction_or_loss_of_the_store_builds";
    let Some(scene) = Scene::new(test, &["gcc", "ar"]) else { return };
    scene.write("source/a.c", "int a(void) { return 1; }\n");
    scene.write("source/main.c", "int a(void);\nint main(void) { return a(); }\n");
    scene.edges("build a.o: cc ../source/a.c\nbuild main.o: cc ../source/main.c\nbuild liba.a: ar a.o\nbuild p: ld main.o liba.a\n");
    let program = || Command::new(scene.at("build/p")).status().unwrap().code();
    scene.build();
    scene.write("source/a.c", "int a(void) { return 1; } // one\n");
    let said = scene.said(scene.command("ninja2drv").env("SPLITTER_STORE_LIMIT", "1"));
    assert!(said.code == Some(0) && said.errors.contains("; 0 bytes left"), "{said}");

    let dependents = ["a.o: `source/a.c` changed", "liba.a: `build/a.o` changed", "p: `build/liba.a` changed"];
    scene.write("source/a.c", "int a(void) { return 2; }\n");
    let said = scene.build();
    assert_eq!((said.ran(), program()), (dependents.map(String::from).into(), Some(2)), "{said}");

    // With no store at all, what stands in the build directory needs none.
    scene.delete_store();
    let said = scene.build();
    assert!(said.is_idle(), "{said}");
    scene.write("source/a.c", "int a(void) { return 3; }\n");
    let said = scene.build();
    assert_eq!((said.ran(), program()), (dependents.map(String::from).into(), Some(3)), "{said}");

    scene.store_is_good();
}

#[test]
fn an_output_that_neither_build_directory_nor_store_has_is_made_again() {
    let test = "an_output_that_neither_build_directory_nor_store_has_is_made_again";
    let Some(scene) = Scene::new(test, &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = cp a b\n");
    scene.build();
    scene.delete_store();
    std::fs::remove_file(scene.at("build/a")).unwrap();
    let said = scene.build();
    // What reads it finds it as it was.
    assert_eq!(said.ran(), ["a: `build/a` is missing or was changed"], "{said}");
    assert_eq!(scene.read("build/a"), "text\n");
}

/// What a shell says of `script` in the build directory, where it may mount and `$0` is `ninja2drv`. It ends with 99 where it
/// may not.
fn in_namespaces(scene: &Scene, script: &str) -> Said {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    let ninja2drv = scene.command("ninja2drv");
    command.arg(ninja2drv.get_program()).current_dir(scene.at("build"));
    command.envs(ninja2drv.get_envs().filter_map(|(name, value)| Some((name, value?))));
    scene.said(&mut command)
}

/// Notes that `test` did not run, if that is so.
fn is_refused(test: &str, said: &Said) -> bool {
    let refused = said.code == Some(99) || said.errors.contains("unshare: ");
    if refused {
        not_run(test, &format!("namespaces are refused: {}", said.errors.trim_end()));
    }
    refused
}

#[test]
fn a_full_disk_is_named_and_after_it_is_freed_the_build_goes_on() {
    let test = "a_full_disk_is_named_and_after_it_is_freed_the_build_goes_on";
    let Some(scene) = Scene::new(test, &["unshare"]) else { return };
    scene.write("build/in", "text\n");
    scene.edges(
        "build a: sh in\n  cmd = cp in a\nbuild b: sh a\n  cmd = head -c 60M /dev/zero > b\n\
         build c: sh a\n  cmd = cp a c\n",
    );
    std::fs::create_dir(scene.at("store")).unwrap();
    let said = in_namespaces(
        &scene,
        "mount -t tmpfs -o size=300m none ../store || exit 99; export SPLITTER_STORE_LIMIT=1G
        $0 -j1 a; head -c 400M /dev/zero > ../store/filler; truncate -s -4M ../store/filler
        echo full; $0 -dexplain -j1 -k0; echo code $?
        rm ../store/filler
        echo freed; $0 -dexplain -j1; echo code $?
        echo again; $0 -dexplain",
    );
    if is_refused(test, &said) {
        return;
    }
    let (full, freed) = said.out.split_once("freed\n").unwrap_or_else(|| panic!("{said}"));
    let (_, full) = full.split_once("full\n").unwrap();
    assert!(full.contains("ninja2drv: `b`: ") && full.contains("No space left on device"), "{said}");
    assert!(full.contains("code 1\n"), "{said}");
    assert!(full.contains("up to date a\n"), "{said}");
    assert!(freed.contains("] b (") && freed.contains("code 0\n"), "{said}");
    assert!(!freed.contains("] a ("), "{said}");
    assert!(freed.ends_with("again\nninja: no work to do.\n"), "{said}");
    assert_eq!((scene.read("build/a"), scene.read("build/c")), ("text\n".into(), "text\n".into()));
    assert_eq!(std::fs::metadata(scene.at("build/b")).unwrap().len(), 60 << 20);
}

#[test]
fn a_read_only_build_directory_is_named() {
    let test = "a_read_only_build_directory_is_named";
    let Some(scene) = Scene::new(test, &["unshare"]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\n");
    let script = "mount --bind . . && mount -o remount,bind,ro $PWD || exit 99; cd $PWD; $0; echo code $?";
    let said = in_namespaces(&scene, script);
    if is_refused(test, &said) {
        return;
    }
    assert_eq!(said.out, "code 1\n");
    assert!(said.errors.contains("ninja: error: cannot keep the state of this build in `build/.splitter`"), "{said}");
    assert!(said.errors.contains("because: Read-only file system"), "{said}");

    // What was built before is neither changed nor lost.
    scene.build();
    scene.write("build/in", "changed\n");
    let said = in_namespaces(&scene, script);
    assert_eq!((said.out.as_str(), scene.read("build/a").as_str()), ("code 1\n", "text\n"), "{said}");
    assert_eq!(scene.build().ran(), ["a: `build/in` changed"]);
}

#[test]
fn refused_namespaces_are_named_with_the_setting_before_any_edge_is_tried() {
    let test = "refused_namespaces_are_named_with_the_setting_before_any_edge_is_tried";
    let Some(scene) = Scene::new(test, &["unshare"]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\nbuild b: sh in\n  cmd = cp in b\n");
    let said = in_namespaces(
        &scene,
        "echo 0 > /proc/sys/user/max_user_namespaces || exit 99; $0 -v -k0 --sandbox=on; echo code $?",
    );
    if is_refused(test, &said) {
        return;
    }
    assert!(said.errors.contains("user.max_user_namespaces"), "{said}");
    assert!(said.out.contains("code 1\n") && !said.out.contains("FAILED"), "{said}");
    // Where they are allowed again, the build goes on.
    assert_eq!(scene.build().ran(), ["a: not built here before", "b: not built here before"]);
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let Some(scene) = Scene::new("a_store_of_a_newer_program_is_left_alone", &[]) else { return };
    scene.write("build/in", "text\n");
    scene.edges("build a: sh in\n  cmd = cp in a\n");
    scene.build();
    let format = scene.read("store/nix/var/splitter/format");
    scene.write("store/nix/var/splitter/format", "99\n");
    scene.write("build/in", "changed\n");
    let said = scene.fail();
    assert!(said.errors.contains("is version 99, but this program knows up to version 1"), "{said}");
    assert_eq!(scene.read("build/a"), "text\n");
    scene.write("store/nix/var/splitter/format", format);
    assert_eq!(scene.build().ran(), ["a: `build/in` changed"]);
    scene.store_is_good();
}
