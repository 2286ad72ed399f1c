//! Whatever is wrong with a cache, a store, a compiler or a disk: the compiler's answer comes, and nothing wrong is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use tests::calls::{Calls, TOLD, settle};
use tests::{is_refused, lacks_sandbox, not_run};

const CALL: &str = "gcc -Wall -MD -c a.c -o a.o";

/// A source with something to complain of, compiled once.
fn compiled(test: &str) -> Option<Calls> {
    let mut calls = Calls::new(test, &["gcc"])?;
    calls.write("a.c", "int a(void) { int unused; return 1; }\n");
    calls.miss_then_hit(CALL);
    Some(calls)
}

/// The only entry of the cache.
fn entry(calls: &Calls) -> PathBuf {
    let directory = fs::read_dir(calls.scene.at("ccwrap/entries")).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()
}

/// The files in the store whose names end so.
fn stored(calls: &Calls, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(calls.scene.at("store/nix/store")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn damage(file: &PathBuf) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn an_entry_that_is_damaged_or_of_another_version_is_dropped() {
    let Some(mut calls) = compiled("an_entry_that_is_damaged_or_of_another_version_is_dropped") else { return };
    damage(&entry(&calls));
    calls.store_hit(CALL);
    assert!(calls.explained().contains("its entry in the cache was damaged"));
    calls.hit(CALL);
    fs::write(entry(&calls), "").unwrap();
    calls.store_hit(CALL);
    calls.hit(CALL);
    // Not to be read at all.
    fs::remove_file(entry(&calls)).unwrap();
    fs::create_dir(entry_place(&calls)).unwrap();
    calls.store_hit(CALL);
}

/// Where an entry was that is not there any more.
fn entry_place(calls: &Calls) -> PathBuf {
    fs::read_dir(calls.scene.at("ccwrap/entries")).unwrap().next().unwrap().unwrap().path().join("x")
}

#[test]
fn a_file_of_the_store_that_is_damaged_is_made_again() {
    let Some(mut calls) = compiled("a_file_of_the_store_that_is_damaged_is_made_again") else { return };
    let objects = stored(&calls, "-a.o-o0");
    assert_eq!(objects.len(), 1);
    settle();
    damage(&objects[0]);
    calls.miss(CALL);
    calls.hit(CALL);
    calls.scene.store_is_good();
    // Nor is it believed by those who have no entry.
    damage(&objects[0]);
    fs::remove_dir_all(calls.scene.at("ccwrap/entries")).unwrap();
    calls.miss_then_hit(CALL);
    // The same of one that is gone.
    fs::remove_file(&objects[0]).unwrap();
    calls.miss_then_hit(CALL);
    calls.scene.store_is_good();
}

#[test]
fn what_is_damaged_in_the_store_is_mended_by_another_call_that_makes_the_same() {
    let test = "what_is_damaged_in_the_store_is_mended_by_another_call_that_makes_the_same";
    let Some(mut calls) = compiled(test) else { return };
    for (i, end) in ["-a.o-o0", "-a.o-dep", "-a.o-log"].into_iter().enumerate() {
        let files = stored(&calls, end);
        files.iter().filter(|file| fs::metadata(file).unwrap().len() > 0).for_each(damage);
        // The object, the depfile and the diagnostics are what they were.
        calls.miss(&format!("gcc -Wall -DN={i} -MD -c a.c -o a.o"));
        calls.hit(&format!("gcc -Wall -DN={i} -MD -c a.c -o a.o"));
    }
    calls.both(CALL);
    calls.hit(CALL);
}

#[test]
fn a_store_or_a_cache_that_is_deleted_is_filled_again() {
    let Some(mut calls) = compiled("a_store_or_a_cache_that_is_deleted_is_filled_again") else { return };
    calls.scene.delete_store();
    calls.miss_then_hit(CALL);
    fs::remove_dir_all(calls.scene.at("ccwrap")).unwrap();
    calls.scene.write(TOLD, "1");
    calls.newly_counted_anew();
    calls.store_hit(CALL);
    calls.hit(CALL);
}

#[test]
fn a_compiler_that_fails_or_crashes_is_asked_each_time() {
    let test = "a_compiler_that_fails_or_crashes_is_asked_each_time";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    for how in ["kill -SEGV $$", "kill -KILL $$", "echo broken >&2; exit 4", ": > a.o; exit 1"] {
        calls.write_program(
            "tools/bad-gcc",
            format!("#!/bin/sh\ncase \" $* \" in *' -o '*) {how} ;; esac\nexec gcc \"$@\"\n"),
        );
        settle();
        calls.passed("tools/bad-gcc -c a.c -o a.o", "compile_failed");
        calls.passed("tools/bad-gcc -c a.c -o a.o", "compile_failed");
        fs::remove_file(calls.at("a.o")).ok();
    }
    let said = calls.said("none-gcc -c a.c -o a.o");
    assert_eq!((said.code, said.errors.as_str()), (Some(1), "ccwrap: no compiler `none-gcc` is found\n"));
    assert_eq!(calls.newly_counted(), ["could_not_find_compiler"]);
    assert!(!calls.at("a.o").exists());
}

#[test]
fn an_output_that_cannot_be_written_is_the_compilers_to_complain_of() {
    let test = "an_output_that_cannot_be_written_is_the_compilers_to_complain_of";
    let Some(mut calls) = compiled(test) else { return };
    fs::create_dir(calls.at("directory")).unwrap();
    calls.both("gcc -c a.c -o directory");
    calls.both("gcc -c a.c -o directory");
    calls.passed("gcc -c a.c -o none/a.o", "bad_output_file");
    calls.passed("gcc -MD -MF none/a.d -c a.c -o a.o", "bad_output_file");
    // The place of a hit.
    fs::remove_file(calls.at("a.o")).unwrap();
    fs::create_dir(calls.at("a.o")).unwrap();
    calls.passed(CALL, "bad_output_file");
    assert!(calls.at("a.o").is_dir());
}

#[test]
fn settings_that_are_wrong_are_told_and_the_compiler_is_called() {
    let test = "settings_that_are_wrong_are_told_and_the_compiler_is_called";
    let Some(mut calls) = compiled(test) else { return };
    calls.write("b.c", "int b;\n");
    calls.scene.write("bad.conf", "max_sise = 5G\n");
    calls.set("CCWRAP_CONFIGPATH", &calls.scene.at("bad.conf").display().to_string());
    let said = calls.said("gcc -c b.c");
    let line = "ccwrap: warning: bad.conf:1: `max_sise` is no setting; `ccwrap --show-config` lists them; the compiler is called\n";
    assert_eq!((said.code, said.errors.as_str()), (Some(0), line));
    fs::remove_file(calls.at("b.o")).unwrap();
    calls.set("CCWRAP_STRICT", "1");
    let said = calls.said("gcc -c b.c");
    calls.unset("CCWRAP_CONFIGPATH");
    assert_eq!(calls.newly_counted(), ["bad_settings", "bad_settings"]);
    assert!(said.code == Some(1) && !calls.at("b.o").exists(), "{said}");
    // A store that cannot be.
    calls.unset("CCWRAP_STRICT");
    calls.set("SPLITTER_STORE", "/dev/null/store");
    let said = calls.said("gcc -c b.c");
    assert_eq!((said.code, said.errors.lines().count()), (Some(0), 1), "{said}");
    calls.set("CCWRAP_STRICT", "1");
    let said = calls.said("gcc -c b.c");
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.errors.starts_with("ccwrap: ") && !said.errors.contains("warning"), "{said}");
}

#[test]
fn a_cache_that_is_no_directory_is_told() {
    let Some(calls) = Calls::new("a_cache_that_is_no_directory_is_told", &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    let file = calls.at("file").display().to_string();
    fs::write(&file, "").unwrap();
    for (strict, code) in [("false", 0), ("true", 1)] {
        fs::remove_file(calls.at("a.o")).ok();
        let mut call = calls.ccwrap(["gcc", "-c", "a.c"]);
        let said = calls.scene.said(call.env("CCWRAP_DIR", &file).env("CCWRAP_STRICT", strict));
        assert_eq!((said.code, calls.at("a.o").exists()), (Some(code), code == 0), "{said}");
        assert!(said.errors.contains("file` is no directory"), "{said}");
    }
    let said = calls.scene.said(calls.ccwrap(["-s"]).env("CCWRAP_DIR", &file));
    assert!(said.code == Some(1) && said.errors.contains("file` is no directory"), "{said}");
}

#[test]
fn a_store_that_a_newer_program_made_is_left_alone() {
    let Some(mut calls) = compiled("a_store_that_a_newer_program_made_is_left_alone") else { return };
    fs::write(calls.scene.at("store/nix/var/nix/db/schema"), "999").unwrap();
    calls.write("b.c", "int b;\n");
    let said = calls.said("gcc -c b.c");
    assert_eq!((said.code, said.errors.lines().count()), (Some(0), 1), "{said}");
    assert!(said.errors.starts_with("ccwrap: warning: "), "{said}");
    assert!(calls.at("b.o").exists());
    calls.newly_counted();
    calls.hit(CALL);
}

#[test]
fn a_store_whose_database_is_damaged_is_told_and_can_be_cleared() {
    let Some(mut calls) = compiled("a_store_whose_database_is_damaged_is_told_and_can_be_cleared") else { return };
    let database = calls.scene.at("store/nix/var/nix/db/db.sqlite");
    for text in ["no database", "SQLite format 3\0 and no more of it"] {
        for end in ["-wal", "-shm"] {
            fs::remove_file(calls.scene.at(&format!("store/nix/var/nix/db/db.sqlite{end}"))).ok();
        }
        fs::write(&database, text.repeat(1000)).unwrap();
        calls.write("b.c", "int b;\n");
        let said = calls.said("gcc -c b.c");
        assert_eq!((said.code, said.errors.lines().count()), (Some(0), 1), "{said}");
        assert!(said.errors.contains("it is damaged: `splitter store delete`, or `ccwrap -C`"), "{said}");
        let statistics = calls.said("-s");
        assert_eq!(statistics.code, Some(0), "{statistics}");
        assert!(statistics.out.contains("unknown: cannot open the database"), "{statistics}");
        let root = calls.scene.at("store/nix/var/nix/gcroots/kept");
        std::os::unix::fs::symlink("/nix/store/00000000000000000000000000000000-kept", &root).unwrap();
        let kept = calls.said("-C");
        assert_eq!(kept.code, Some(1), "{kept}");
        assert!(database.exists() && kept.errors.contains("`splitter store delete` deletes that too"), "{kept}");
        fs::remove_file(root).unwrap();
        let cleared = calls.said("-C");
        assert_eq!(cleared.code, Some(0), "{cleared}");
        assert!(!database.exists(), "{cleared}");
        calls.newly_counted();
        calls.write("b.c", format!("char b[] = \"{}\";\n", text.len()));
        calls.miss_then_hit("gcc -c b.c");
    }
}

#[test]
fn a_store_whose_database_is_lost_is_filled_again() {
    let Some(mut calls) = compiled("a_store_whose_database_is_lost_is_filled_again") else { return };
    let database = calls.scene.at("store/nix/var/nix/db/db.sqlite");
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(database.with_file_name(format!("db.sqlite{end}"))).ok();
    }
    calls.hit(CALL);
    calls.write("a.c", "int a(void) { int unused; return 2; }\n");
    calls.miss_then_hit(CALL);
    fs::remove_file(entry(&calls)).unwrap();
    fs::write(&database, "").unwrap();
    calls.miss_then_hit(CALL);
    assert_eq!(calls.said("-s").code, Some(0));
}

#[test]
fn what_a_compiler_writes_as_its_depfile_may_be_anything() {
    let test = "what_a_compiler_writes_as_its_depfile_may_be_anything";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    let texts = ["a.o: \\\\\\\\\\n", "no colon", "a.o: /etc/passwd ../../../../x\\n", "a.o : a.c \\n\\000\\377", ""];
    for text in texts {
        let script =
            format!("#!/bin/sh\ngcc \"$@\" || exit\ncase \" $* \" in *' -o '*) printf '{text}' > a.d ;; esac\n");
        calls.write_program("tools/odd-gcc", script);
        settle();
        calls.both("tools/odd-gcc -MD -MF a.d -c a.c -o a.o");
        calls.both("tools/odd-gcc -MD -MF a.d -c a.c -o a.o");
    }
}

#[test]
fn a_full_disk_stops_no_compile() {
    let test = "a_full_disk_stops_no_compile";
    let Some(mut calls) = compiled(test) else { return };
    if lacks_sandbox(test) {
        return;
    }
    calls.write("big.c", "char big[8 << 20] = {1};\n");
    let place = calls.scene.at("full");
    fs::create_dir(&place).unwrap();
    let ccwrap = calls.ccwrap(["gcc"]);
    let mut command = Command::new("unshare");
    let script =
        "mount -t tmpfs -o size=4m none \"$1\" || exit 99; export CCWRAP_DIR=\"$1\"/ccwrap SPLITTER_STORE=\"$1\"/store
        for i in 1 2; do \"$0\" gcc -c big.c -o big.o || exit 1; done; head -c 9M /dev/zero > \"$1\"/filler
        \"$0\" gcc -c a.c -o full.o || exit 2";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(ccwrap.get_program()).arg(&place);
    command.current_dir(calls.at("")).envs(ccwrap.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = calls.scene.said(&mut command);
    if said.code == Some(99) || said.errors.contains("unshare: ") {
        return not_run(test, &format!("namespaces are refused: {}", said.errors.trim_end()));
    }
    assert_eq!(said.code, Some(0), "{said}");
    let ours = said.errors.lines().filter(|line| line.starts_with("ccwrap: warning: ")).count();
    assert_eq!(ours, 3, "{said}");
    assert!(calls.at("big.o").exists() && calls.at("full.o").exists());
    calls.hit(CALL);
}

#[test]
fn that_namespaces_are_refused_is_said_once() {
    let test = "that_namespaces_are_refused_is_said_once";
    let Some(calls) = Calls::new(test, &["gcc"]) else { return };
    if !is_refused() {
        return not_run(test, "namespaces are not refused on purpose");
    }
    fs::remove_file(calls.scene.at(TOLD)).unwrap();
    let lines = (0..6).map(|i| {
        calls.write(&format!("s{i}.c"), format!("int s{i};\n"));
        let said = calls.said(&format!("gcc -c s{i}.c"));
        assert_eq!(said.code, Some(0), "{said}");
        said.errors.lines().count()
    });
    assert_eq!(lines.sum::<usize>(), 1);
}
