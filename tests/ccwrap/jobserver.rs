//! Under make, which hands out as many tokens as there may be jobs: a call takes none besides the one that make took for it,
//! and loses none.

use crate::newer::newer;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::calls::{Calls, settle};
use tests::program;

/// The host's make, whose server is a pipe up to 4.3, and one that is newer, whose server is a FIFO.
fn makes(test: &str) -> Vec<String> {
    let newer = newer(test).map(|(_, programs)| programs).unwrap_or_default();
    let newer = newer.into_iter().filter(|(name, _)| name == "make").map(|(_, program)| program);
    std::iter::once("make".into()).chain(newer).collect()
}

/// A build of `jobs` at once.
fn make(calls: &Calls, make: &str, jobs: &str, more: &[&str]) -> Command {
    let mut command = calls.plain(make);
    command.env("CCWRAP_DIR", calls.scene.at("ccwrap")).args(["-s", jobs]).args(more);
    command
}

/// A compiler that notes how many of its kind run at once.
const COUNTING: &str = "#!/bin/sh
case \" $* \" in
*' -o '*) echo + >> @log@; sleep 0.2; echo - >> @log@ ;;
esac
exec gcc \"$@\"
";

/// The most that ran at once, by the notes of [`COUNTING`].
fn most(log: &str) -> i32 {
    let sums = log.lines().scan(0, |sum, line| {
        *sum += if line == "+" { 1 } else { -1 };
        Some(*sum)
    });
    sums.max().unwrap_or_default()
}

#[test]
fn no_more_compile_at_once_than_make_allows() {
    let test = "no_more_compile_at_once_than_make_allows";
    let Some(mut calls) = Calls::new(test, &["gcc", "make"]) else { return };
    if !tests::is_refused() {
        // In a sandbox nobody could write notes.
        calls.set("SPLITTER_SANDBOX", "off");
        calls.scene.write(tests::calls::TOLD, "1");
    }
    let log = calls.scene.at("home/log").display().to_string();
    fs::create_dir_all(calls.scene.at("home")).unwrap();
    calls.write_program("counting-gcc", COUNTING.replace("@log@", &log));
    for i in 0..9 {
        calls.write(&format!("sub/s{i}.c"), format!("int s{i};\n"));
    }
    settle();
    let ccwrap = program("ccwrap").display().to_string();
    let objects = (0..9).map(|i| format!(" s{i}.o")).collect::<String>();
    calls.write("Makefile", "all:\n\t+$(MAKE) -C sub\n");
    calls.write("sub/Makefile", format!("all:{objects}\n%.o: %.c\n\t+{ccwrap} ../counting-gcc -c $< -o $@\n"));
    for program in makes(test) {
        (0..9).for_each(|i| drop(fs::remove_file(calls.at(&format!("sub/s{i}.o")))));
        fs::remove_file(&log).ok();
        let output = calls.output(&mut make(&calls, &program, "-j3", &[]));
        let said = calls.scene.heard(&output);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
        let most = most(&fs::read_to_string(&log).unwrap());
        assert!((1..=3).contains(&most), "{most}");
        assert_eq!(calls.newly_counted().len(), 9);
    }
}

#[test]
fn a_call_that_is_killed_keeps_no_token() {
    let test = "a_call_that_is_killed_keeps_no_token";
    let Some(calls) = Calls::new(test, &["gcc", "make", "pgrep"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.write("b.c", "int b;\n");
    calls.write_program("slow-gcc", "#!/bin/sh\ncase \" $* \" in *' -o a.o '*) sleep 62 ;; esac\nexec gcc \"$@\"\n");
    settle();
    let ccwrap = program("ccwrap").display().to_string();
    // The second recipe kills the call of the first, and two more need both tokens, or they would wait for each other for ever.
    calls.write(
        "Makefile",
        format!(
            "all: a.o kill\n\t+$(MAKE) one two\na.o:\n\t-+{ccwrap} ./slow-gcc -c a.c -o a.o -DA\n\
             kill:\n\twhile ! test -e begun; do sleep 0.05; done; kill -KILL `cat begun`\n\
             one:\n\ttouch 1; while ! test -e 2; do sleep 0.05; done\n\
             two:\n\ttouch 2; while ! test -e 1; do sleep 0.05; done\n"
        ),
    );
    for program in makes(test) {
        ["begun", "1", "2"].iter().for_each(|name| drop(fs::remove_file(calls.at(name))));
        let mut command = make(&calls, &program, "-j2", &[]);
        let child = command.stderr(Stdio::piped()).stdout(Stdio::piped());
        let child = match tests::is_refused() {
            true => tests::refused::within(|| child.spawn().unwrap()),
            false => child.spawn().unwrap(),
        };
        let begun = Instant::now();
        while calls.scene.processes("62") == 0 {
            assert!(begun.elapsed() < Duration::from_secs(100), "it does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        let find = Command::new("pgrep").args(["-P", &child.id().to_string(), "ccwrap"]).output().unwrap();
        calls.write("begun.new", find.stdout);
        fs::rename(calls.at("begun.new"), calls.at("begun")).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = calls.scene.heard(&output);
        assert_eq!(said.code, Some(0), "{said}");
        assert!(calls.at("1").exists() && calls.at("2").exists());
    }
}

#[test]
fn a_link_that_shares_its_work_by_tokens_gets_them() {
    let test = "a_link_that_shares_its_work_by_tokens_gets_them";
    let Some(mut calls) = Calls::new(test, &["gcc", "make"]) else { return };
    calls.write("a.c", "int b(void);\nint main(void) { return b(); }\n");
    calls.write("b.c", "int b(void) { return 0; }\n");
    for source in ["a", "b"] {
        calls.miss_then_hit(&format!("gcc -O2 -flto=jobserver -c {source}.c"));
    }
    let ccwrap = program("ccwrap").display().to_string();
    calls.write("Makefile", "p:\n\t+$(CC) -O2 -flto=jobserver a.o b.o -o p\n");
    let links = [("false", "called_for_link"), ("true", "unsupported_compiler_option")];
    for (program, (link, reason)) in makes(test).iter().flat_map(|program| links.map(|link| (program, link))) {
        calls.set("CCWRAP_LINK", link);
        let by = |compiler: &str| {
            fs::remove_file(calls.at("p")).ok();
            let output = calls.output(&mut make(&calls, program, "-j2", &[&format!("CC={compiler}")]));
            let said = calls.scene.heard(&output);
            assert!(said.code == Some(0), "{said}");
            (said.errors, fs::read(calls.at("p")).unwrap())
        };
        let theirs = by("gcc");
        assert!(!theirs.0.contains("jobserver is not available"), "{}", theirs.0);
        assert!(by(&format!("{ccwrap} gcc")) == theirs);
        assert_eq!(calls.newly_counted(), [reason]);
    }
}
