//! What settings make of calls.

use std::fs;
use tests::calls::{Calls, settle};

#[test]
fn what_a_file_in_the_checkout_says_counts_there() {
    let Some(mut calls) = Calls::new("what_a_file_in_the_checkout_says_counts_there", &["gcc"]) else { return };
    calls.scene.write(".splitter-root", "");
    calls.scene.write("build/sub/a.c", "int a;\n");
    calls.directory = "build/sub".into();
    calls.miss_then_hit("gcc -c a.c");
    // It is noticed when it comes, when it changes and when another one comes before it.
    calls.scene.write("ccwrap.conf", "disable = true\n");
    calls.passed("gcc -c a.c", "disabled");
    calls.scene.write("ccwrap.conf", "disable = $OFF\n");
    calls.set("OFF", "false");
    settle();
    calls.store_hit("gcc -c a.c");
    calls.hit("gcc -c a.c");
    calls.set("OFF", "true");
    calls.passed("gcc -c a.c", "disabled");
    calls.set("OFF", "false");
    calls.hit("gcc -c a.c");
    calls.scene.write("build/ccwrap.conf", "disable = true\n");
    calls.passed("gcc -c a.c", "disabled");
}

#[test]
fn a_file_in_the_checkout_neither_runs_nor_writes_anything() {
    let test = "a_file_in_the_checkout_neither_runs_nor_writes_anything";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.unset("CCWRAP_STRICT");
    calls.scene.write(".splitter-root", "");
    calls.write("a.c", "int a;\n");
    calls.scene.write("ccwrap.conf", "\nlog_file = /tmp/none\n");
    let said = calls.said("gcc -c a.c");
    assert_eq!(said.code, Some(0), "{said}");
    assert!(said.errors.contains("ccwrap.conf:2: `log_file` cannot be set by a file in a checkout"), "{said}");
    assert_eq!(said.errors.lines().count(), 1, "{said}");
    // Of a file that others may write nothing counts, which is told once.
    let file = calls.scene.at("ccwrap.conf");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    settle();
    assert_eq!(calls.newly_counted(), ["bad_settings"]);
    let said = calls.said("gcc -c a.c");
    assert!(said.errors.contains("is not read: it is another user's, or everybody may write it"), "{said}");
    assert_eq!(calls.newly_counted(), ["cache_miss"]);
    calls.hit("gcc -c a.c");
}

#[test]
fn extra_files_are_inputs() {
    let Some(mut calls) = Calls::new("extra_files_are_inputs", &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.write("one", "1");
    calls.write("two", "1");
    calls.set("CCACHE_EXTRAFILES", &format!("one:{}", calls.at("two").display()));
    calls.miss_then_hit("gcc -c a.c");
    for name in ["one", "two"] {
        calls.write(name, "2");
        calls.miss_then_hit("gcc -c a.c");
    }
    calls.write("one", "1");
    calls.miss("gcc -c a.c");
    calls.write("two", "1");
    calls.hit("gcc -c a.c");
    fs::remove_file(calls.at("two")).unwrap();
    calls.passed("gcc -c a.c", "error_hashing_extra_file");
}

#[test]
fn a_source_that_asks_for_it_goes_to_the_compiler() {
    let Some(mut calls) = Calls::new("a_source_that_asks_for_it_goes_to_the_compiler", &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.miss_then_hit("gcc -c a.c");
    calls.write("a.c", "/* ccache:disable */\nint a;\n");
    calls.passed("gcc -c a.c", "disabled");
    calls.write("a.c", format!("{}/* ccache:disable */\nint a;\n", "\n".repeat(4096)));
    calls.miss_then_hit("gcc -c a.c");
}

#[test]
fn calls_of_one_build_are_counted_apart() {
    let Some(mut calls) = Calls::new("calls_of_one_build_are_counted_apart", &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.miss_then_hit("gcc -c a.c");
    let log = calls.scene.at("ccwrap/log").display().to_string();
    let shown = |calls: &Calls, words: &str| {
        let said = calls.said(words);
        assert_eq!(said.code, Some(0), "{said}");
        said.out
    };
    calls.set("CCACHE_STATSLOG", &log);
    calls.hit("gcc -c a.c");
    calls.passed("gcc -E a.c", "called_for_preprocessing");
    assert_eq!(fs::read_to_string(&log).unwrap(), "# a.c\ndirect_cache_hit\n# \ncalled_for_preprocessing\n");
    assert!(shown(&calls, "--print-log-stats").contains("\ncalled_for_preprocessing\t1\n"));
    assert!(shown(&calls, "--show-log-stats").starts_with("Calls:                   2\n"));
    // By a word no entry answers: nobody would write it down.
    calls.unset("CCACHE_STATSLOG");
    calls.hit("gcc -c a.c");
    for _ in 0..2 {
        let word = format!("stats_log={log}");
        let said = calls.scene.said(&mut calls.ccwrap([word.as_str(), "gcc", "-c", "a.c"]));
        assert_eq!(said.code, Some(0), "{said}");
        assert_eq!(calls.newly_counted(), ["preprocessed_cache_hit"]);
    }
    assert!(
        fs::read_to_string(&log).unwrap().ends_with("\n# a.c\npreprocessed_cache_hit\n# a.c\npreprocessed_cache_hit\n")
    );
    let missing = calls.said("--show-log-stats");
    assert!(missing.code == Some(1) && missing.errors.contains("no file is named by `stats_log`"), "{missing}");
}
