//! Many calls at once, calls that are stopped, and those who call.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::calls::{Calls, settle};
use tests::program;

#[test]
fn of_sixty_equal_calls_at_once_one_compiles() {
    let Some(mut calls) = Calls::new("of_sixty_equal_calls_at_once_one_compiles", &["gcc"]) else { return };
    calls.write("a.c", "#include <stdio.h>\nint main(void) { int unused; return 0; }\n");
    calls.both("gcc -Wall -c a.c -o warm.o"); // what is asked of the compiler once is no matter here
    let said = |calls: &Calls| calls.scene.said(&mut calls.ccwrap("gcc -O2 -Wall -c a.c -o a.o".split(' ')));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..60).map(|_| scope.spawn(|| said(&calls))).collect();
        for said in all {
            let said = said.join().unwrap();
            assert!(said.code == Some(0) && said.errors.contains("unused variable"), "{said}");
        }
    });
    let counted = calls.newly_counted();
    let times = |name: &str| counted.iter().filter(|counter| *counter == name).count();
    assert_eq!((times("cache_miss"), times("direct_cache_hit")), (1, 59), "{counted:?}");
    calls.hit("gcc -O2 -Wall -c a.c -o a.o");
}

#[test]
fn sixty_sources_at_once_come_out_right() {
    let Some(mut calls) = Calls::new("sixty_sources_at_once_come_out_right", &["gcc", "make"]) else { return };
    let names: Vec<String> = (0..60).map(|i| format!("s{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        calls.write(&format!("{name}.c"), format!("#include \"h.h\"\nint s{i}(void) {{ return X + {i}; }}\n"));
    }
    calls.write("h.h", "#define X 1\n");
    let objects = names.iter().map(|name| format!(" {name}.o")).collect::<String>();
    calls.write("Makefile", format!("all:{objects}\n%.o: %.c h.h\n\t$(CC) -MMD -c $< -o $@\n"));
    let mut make = |jobs: &str| {
        for name in &names {
            fs::remove_file(calls.at(&format!("{name}.o"))).ok();
        }
        let compiler = format!("CC={} gcc", program("ccwrap").display());
        let mut command = calls.plain("make");
        command.args(["-s", jobs, &compiler]).env("CCWRAP_DIR", calls.scene.at("ccwrap"));
        let output = calls.output(&mut command);
        let said = calls.scene.heard(&output);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
        calls.newly_counted()
    };
    assert_eq!(make("-j60"), vec!["cache_miss"; 60]);
    assert_eq!(make("-j8"), vec!["direct_cache_hit"; 60]);
    calls.hit("gcc -MMD -c s7.c -o s7.o");
    assert!(calls.said("-s").out.contains("Hits:"));
}

/// Starts a call of a compiler that takes a minute.
fn slow(calls: &Calls) -> Child {
    calls.write("a.c", "int a;\n");
    // It is quick to say what it reads.
    calls.write_program("tools/slow-gcc", "#!/bin/sh\ncase \" $* \" in *' -o '*) sleep 61 ;; esac\nexec gcc \"$@\"\n");
    settle();
    let mut command = calls.ccwrap("tools/slow-gcc -c a.c -o a.o".split(' '));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawn = |command: &mut Command| command.spawn().unwrap();
    let child = match tests::is_refused() {
        true => tests::refused::within(|| spawn(&mut command)),
        false => spawn(&mut command),
    };
    let begun = Instant::now();
    while calls.scene.processes("61") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(100), "it does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_compiler_that_was_begun_early_may_use_all_processors_in_the_end() {
    let test = "a_compiler_that_was_begun_early_may_use_all_processors_in_the_end";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    // The second call has a head start.
    calls.write("begun-early.c", "int a;\n");
    calls.miss("gcc -O2 -c begun-early.c");
    let body = "x += x * 3; if (x > 7) x /= 5; ".repeat(200);
    calls.write("begun-early.c", format!("int f(int x) {{ {body} return x; }}\n"));
    settle();
    let allowed = |process: &str| -> Option<(String, String)> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
        let (status, stat) = (read("status")?, read("stat")?);
        let processors = status.lines().find(|line| line.starts_with("Cpus_allowed:"))?;
        // Field 41, of which two end with the name in brackets (proc_pid_stat(5)).
        let policy = stat.rsplit_once(')')?.1.split_whitespace().nth(41 - 3)?;
        Some((processors.to_owned(), format!("policy {policy}")))
    };
    let is_the_compiler = |process: &String| {
        let said = |of: &str| fs::read_to_string(format!("/proc/{process}/{of}")).unwrap_or_default();
        said("comm") == "cc1\n" && said("cmdline").contains("begun-early.c")
    };
    let mut call = calls.ccwrap("gcc -O2 -c begun-early.c".split(' ')).spawn().unwrap();
    let mut seen = Vec::new();
    while call.try_wait().unwrap().is_none() {
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        seen.extend(all.filter(is_the_compiler).filter_map(|process| allowed(&process)));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(seen.last(), allowed("self").as_ref(), "{} looks", seen.len());
    assert_eq!(calls.newly_counted(), ["cache_miss"]);
}

#[test]
fn a_call_that_is_stopped_leaves_nothing_behind() {
    let test = "a_call_that_is_stopped_leaves_nothing_behind";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let child = slow(&calls);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
        let begun = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        // As if the signal had ended it, so that a shell and make stop as well.
        assert_eq!(output.status.signal(), Some(number), "{:?}", calls.scene.heard(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(calls.scene.processes("61"), 0);
        assert!(!calls.at("a.o").exists());
        let locks = fs::read_dir(calls.scene.at("ccwrap/locks")).into_iter().flatten().count();
        assert_eq!(locks, 0);
        calls.newly_counted();
    }
    calls.write_program("tools/slow-gcc", "#!/bin/sh\nexec gcc \"$@\"\n");
    settle();
    calls.miss_then_hit("tools/slow-gcc -c a.c -o a.o");
}

#[test]
fn a_call_that_is_stopped_while_it_takes_its_first_snapshot_does_not_go_on_with_that() {
    let test = "a_call_that_is_stopped_while_it_takes_its_first_snapshot_does_not_go_on_with_that";
    let Some(calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    let store = calls.scene.at("empty");
    let call = || {
        let mut command = calls.ccwrap(["gcc", "-c", "a.c"]);
        command.env("SPLITTER_STORE", &store).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let child = call().spawn().unwrap();
    while !store.join("nix/var/nix/db/db.sqlite").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.signal(), output.stderr.as_slice()), (Some(2), &b""[..]));
    let snapshots = || {
        let paths = fs::read_dir(store.join("nix/store")).into_iter().flatten().flatten();
        paths.filter(|path| path.file_name().to_string_lossy().ends_with("-toolchain")).count()
    };
    assert_eq!((snapshots(), calls.at("a.o").exists()), (0, false));
    assert!(call().status().unwrap().success() && calls.at("a.o").exists());
    assert!(tests::is_refused() || snapshots() > 0);
    let own = fs::read_dir(store.join("nix/var/splitter/builds")).unwrap().flatten();
    let left: Vec<_> = own.filter(|entry| entry.file_name().to_string_lossy().starts_with(&pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn it_is_called_by_many_names() {
    let Some(mut calls) = Calls::new("it_is_called_by_many_names", &["gcc", "g++", "cc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.write("b.cc", "int b;\n");
    let links = calls.scene.at("links");
    fs::create_dir(&links).unwrap();
    for name in ["gcc", "g++", "cc", "ccache", "ccwrap"] {
        std::os::unix::fs::symlink(program("ccwrap"), links.join(name)).unwrap();
    }
    let path = format!("{}:{}", links.display(), std::env::var("PATH").unwrap());
    let run = |calls: &mut Calls, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = calls.plain(&links.join(words[0]).display().to_string());
        command.args(&words[1..]).env("PATH", &path).env("CCWRAP_DIR", calls.scene.at("ccwrap"));
        let output = calls.output(&mut command);
        let said = calls.scene.heard(&output);
        assert!(said.code == Some(0) && said.errors.is_empty(), "{said}");
        calls.newly_counted()
    };
    for words in [
        "gcc -c a.c",
        "g++ -c b.cc",
        "ccache gcc -O1 -c a.c",
        "ccwrap ccache cc -O2 -c a.c",
        "ccache /usr/bin/gcc -O3 -c a.c",
    ] {
        assert_eq!(run(&mut calls, words), ["cache_miss"], "{words}");
        assert_eq!(run(&mut calls, words), ["direct_cache_hit"], "{words}");
    }
    assert_eq!(run(&mut calls, "cc a.o -shared -o a.so"), ["called_for_link"]);
    assert!(calls.said("--version").out.starts_with("ccwrap "));
}

#[test]
fn ninja_and_cmake_call_it_as_a_launcher() {
    let test = "ninja_and_cmake_call_it_as_a_launcher";
    let Some(mut calls) = Calls::new(test, &["gcc", "cmake", "ninja"]) else { return };
    calls.scene.write(
        "src/CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(p main.c a.c)\n",
    );
    calls.scene.write("src/main.c", "int a(void);\nint main(void) { return a(); }\n");
    calls.scene.write("src/a.c", "int a(void) { return 0; }\n");
    let launcher = format!("-DCMAKE_C_COMPILER_LAUNCHER={}", program("ccwrap").display());
    let run = |calls: &Calls, words: &[&str]| {
        let mut command = calls.plain("cmake");
        let output = calls.output(command.args(words).env("CCWRAP_DIR", calls.scene.at("ccwrap")));
        let said = calls.scene.heard(&output);
        assert!(said.code == Some(0), "{said}");
    };
    // The second makes the same of the same files.
    for (generator, first) in [("Ninja", "cache_miss"), ("Unix Makefiles", "preprocessed_cache_hit")] {
        fs::remove_dir_all(calls.at("")).unwrap();
        fs::create_dir(calls.at("")).unwrap();
        run(&calls, &["-G", generator, &launcher, "../src"]);
        calls.newly_counted();
        for expected in [first, "direct_cache_hit"] {
            run(&calls, &["--build", ".", "--clean-first"]);
            let counted = calls.newly_counted();
            assert_eq!(counted, [expected; 2], "{generator}");
        }
    }
}
