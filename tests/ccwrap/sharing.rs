//! What one call made answers others: of another checkout, of `ninja2drv`, of a cache that was elsewhere in the meantime.

use std::fs;
use std::process::Command;
use tests::calls::Calls;
use tests::lacks_sandbox;

/// Two checkouts `one` and `two` with the same files.
fn checkouts(test: &str) -> Option<Calls> {
    let calls = Calls::new(test, &["gcc"])?;
    for checkout in ["one", "two"] {
        let write = |name: &str, text: &str| calls.scene.write(&format!("{checkout}/{name}"), text);
        write(".splitter-root", "");
        write("include/h.h", "#define X 1\n");
        write("src/a.c", "#include <h.h>\nint x(void) { int unused; return X; }\n");
        write("src/where.c", "const char *where = __FILE__;\n");
        fs::create_dir(calls.scene.at(checkout).join("build")).unwrap();
    }
    Some(calls)
}

const COMPILE: &str = "gcc -O2 -Wall -I../include -MD -MF a.d -c ../src/a.c -o a.o";

#[test]
fn another_checkout_finds_it_in_the_store() {
    let test = "another_checkout_finds_it_in_the_store";
    if lacks_sandbox(test) {
        return;
    }
    let Some(mut calls) = checkouts(test) else { return };
    calls.directory = "one/build".into();
    calls.miss_then_hit(COMPILE);
    let absolute = |calls: &Calls, checkout: &str| {
        format!("gcc -I{0}/include -c {0}/src/a.c -o b.o", calls.scene.at(checkout).display())
    };
    calls.miss_then_hit(&absolute(&calls, "one"));
    calls.miss_then_hit(&format!("gcc -c {} -o w.o", calls.scene.at("one/src/where.c").display()));
    calls.directory = "two/build".into();
    calls.store_hit(COMPILE);
    calls.hit(COMPILE);
    calls.store_hit(&absolute(&calls, "two"));
    // What names its path is of one checkout alone.
    calls.miss_then_hit(&format!("gcc -c {} -o w.o", calls.scene.at("two/src/where.c").display()));
    calls.miss_then_hit("gcc -g -I../include -c ../src/a.c -o g.o");
}

#[test]
fn what_ninja2drv_made_is_there() {
    let test = "what_ninja2drv_made_is_there";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.scene.write(".splitter-root", "");
    calls.scene.write("h.h", "#define X 1\n");
    calls.scene.write("a.c", "#include \"h.h\"\nint x = X;\n");
    calls.set("NIX_SSL_CERT_FILE", "/none"); // is nothing to a compiler
    calls.scene.edges("build a.o: cc ../a.c\n  flags = -O2\n");
    calls.scene.build();
    fs::remove_file(calls.at("a.o")).unwrap();
    let call = "gcc -O2 -MD -MF a.o.d -c ../a.c -o a.o";
    calls.store_hit(call);
    calls.hit(call);
    calls.scene.write("h.h", "#define X 2\n");
    calls.miss_then_hit(call);
    let said = calls.scene.build();
    assert_eq!(said.ran(), Vec::<String>::new(), "{said}");
    assert_eq!(said.reused().len(), 1, "{said}");
}

#[test]
fn a_cache_that_may_only_be_read_gives_and_takes_nothing() {
    let test = "a_cache_that_may_only_be_read_gives_and_takes_nothing";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.write("b.c", "int b;\n");
    calls.miss_then_hit("gcc -c a.c");
    let size = |calls: &Calls| Command::new("du").args(["-a"]).arg(calls.scene.at("ccwrap/entries")).output().unwrap();
    let before = size(&calls).stdout;
    calls.set("CCWRAP_READONLY", "1");
    calls.hit("gcc -c a.c");
    calls.passed("gcc -c b.c", "read_only");
    assert_eq!(size(&calls).stdout, before);
    calls.unset("CCWRAP_READONLY");
    calls.set("CCACHE_DISABLE", "1");
    calls.passed("gcc -c a.c", "disabled");
}

#[test]
fn what_is_to_be_made_anew_is_found_by_those_after() {
    let test = "what_is_to_be_made_anew_is_found_by_those_after";
    let Some(mut calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.miss_then_hit("gcc -c a.c");
    calls.set("CCWRAP_RECACHE", "1");
    calls.miss("gcc -c a.c");
    calls.unset("CCWRAP_RECACHE");
    calls.hit("gcc -c a.c");
    // Without entries the store is asked each time.
    calls.set("CCACHE_NODIRECT", "1");
    calls.store_hit("gcc -c a.c");
    calls.store_hit("gcc -c a.c");
}

#[test]
fn a_cache_directory_has_its_store_in_it_however_it_is_used() {
    let test = "a_cache_directory_has_its_store_in_it_however_it_is_used";
    let Some(calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    let cache = calls.scene.at("all-in-one");
    let counted = |setting: &str| {
        let call = |words: &[&str]| {
            let mut command = calls.ccwrap(words);
            command.env_remove("SPLITTER_STORE").env("CCWRAP_DIR", &cache);
            command
        };
        let said = calls.output(call(&["gcc", "-c", "a.c"]).env(setting, "1"));
        assert!(said.status.success(), "{said:?}");
        let counts = calls.output(&mut call(&["--print-stats"])).stdout;
        call(&["-z"]).output().unwrap();
        let counts = String::from_utf8(counts).unwrap();
        let is_hit = |name: &str| counts.lines().any(|line| line == format!("{name}\t1"));
        ["cache_miss", "direct_cache_hit", "preprocessed_cache_hit"].into_iter().filter(|name| is_hit(name)).collect()
    };
    let outcomes: [Vec<&str>; 3] = ["CCWRAP_RECACHE", "CCACHE_NODIRECT", "NOTHING"].map(counted);
    assert_eq!(outcomes, [["cache_miss"], ["preprocessed_cache_hit"], ["direct_cache_hit"]]);
    assert!(cache.join("store/nix/store").is_dir());
}

#[test]
fn namespaces_have_entries_of_their_own() {
    let Some(mut calls) = Calls::new("namespaces_have_entries_of_their_own", &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    calls.set("CCWRAP_NAMESPACE", "one");
    calls.miss_then_hit("gcc -c a.c");
    calls.set("CCACHE_NAMESPACE", "two");
    calls.set("CCWRAP_NAMESPACE", "two");
    // What it is, it is in each: content has no owner.
    calls.store_hit("gcc -c a.c");
    calls.hit("gcc -c a.c");
    calls.set("CCWRAP_NAMESPACE", "one");
    calls.unset("CCACHE_NAMESPACE");
    calls.hit("gcc -c a.c");
}

#[test]
fn a_cache_that_was_copied_away_and_back_still_answers() {
    let test = "a_cache_that_was_copied_away_and_back_still_answers";
    let Some(mut calls) = Calls::new(test, &["gcc", "tar"]) else { return };
    let sources = |calls: &Calls| {
        calls.write("h.h", "#define X 1\n");
        calls.write("a.c", "#include \"h.h\"\nint a(void) { int unused; return X; }\n");
    };
    sources(&calls);
    let store = calls.scene.at("ccwrap/store").display().to_string();
    calls.set("SPLITTER_STORE", &store);
    let call = "gcc -Wall -MD -c a.c";
    calls.miss_then_hit(call);
    let shell = |calls: &Calls, script: &str| {
        let mut command = Command::new("sh");
        let said = calls.scene.said(command.args(["-e", "-c", script]).current_dir(calls.scene.at("")));
        assert_eq!(said.code, Some(0), "{said}");
    };
    for script in [
        "cp -a ccwrap away; chmod -R u+w ccwrap; rm -rf ccwrap; cp -a away ccwrap; chmod -R u+w away; rm -rf away",
        "tar -cf away.tar ccwrap; chmod -R u+w ccwrap; rm -rf ccwrap; tar -xf away.tar; rm away.tar",
        // A machine of CI has a new checkout each time.
        "rm -rf build; mkdir build",
    ] {
        shell(&calls, script);
        sources(&calls);
        calls.hit(call);
        calls.hit(call);
    }
}

#[test]
fn two_ways_are_compared_on_demand() {
    let test = "two_ways_are_compared_on_demand";
    let Some(calls) = Calls::new(test, &["gcc"]) else { return };
    calls.write("a.c", "int a;\n");
    let said = calls.said("--compare gcc -c a.c");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "the same both ways\n"), "{said}");
}
