//! A cache that may only be so large: what was used longest ago goes, and nobody who builds meanwhile sees anything of it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tests::calls::{Calls, settle};
use tests::program;

/// Sources whose objects are so large, in MiB.
fn large(test: &str, count: u32, size: u32) -> Option<Calls> {
    let calls = Calls::new(test, &["gcc", "make", "du"])?;
    for i in 0..count {
        calls.write(&format!("s{i}.c"), format!("const char s{i}[{size} << 20] = {{{i} + 1}};\n"));
    }
    settle();
    Some(calls)
}

/// What the files in the store take, in bytes.
fn size(calls: &Calls) -> u64 {
    let output = Command::new("du").args(["-sb"]).arg(calls.scene.at("store/nix/store")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
}

/// The files of all entries.
fn entries(calls: &Calls) -> Vec<PathBuf> {
    let list = |at: PathBuf| fs::read_dir(at).into_iter().flatten().flatten().map(|entry| entry.path());
    list(calls.scene.at("ccwrap/entries")).flat_map(list).collect()
}

/// Lets some time pass for all entries.
fn age_entries(calls: &Calls) {
    for entry in entries(calls) {
        let file = File::options().write(true).open(&entry).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        file.set_modified(time - Duration::from_secs(7200)).unwrap();
    }
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let Some(mut calls) = large("what_was_used_longest_ago_goes_first", 8, 32) else { return };
    let call = |i: u32| format!("gcc -c s{i}.c");
    calls.miss_then_hit(&call(0));
    let limit = size(&calls) + ((3 * 32 + 16) << 20);
    (1..4).for_each(|i| calls.miss(&call(i)));
    // The first is used again and again, and so is never the oldest.
    calls.set("CCWRAP_MAXSIZE", &format!("{limit}B"));
    for i in 4..7 {
        age_entries(&calls);
        calls.hit(&call(0));
        calls.miss(&call(i));
        assert!(size(&calls) <= limit, "{} {limit}", size(&calls));
    }
    calls.unset("CCWRAP_MAXSIZE");
    calls.hit(&call(0));
    calls.hit(&call(6));
    calls.miss(&call(1));
    // What leads to nothing is no entry.
    assert!(entries(&calls).len() < 7, "{}", entries(&calls).len());
    calls.scene.store_is_good();
}

#[test]
fn what_was_not_used_for_so_long_goes() {
    let Some(mut calls) = large("what_was_not_used_for_so_long_goes", 3, 1) else { return };
    let call = |i: u32| format!("gcc -c s{i}.c");
    calls.set("CCWRAP_CONFIGPATH", &calls.scene.at("ccwrap.conf").display().to_string());
    (0..2).for_each(|i| calls.miss(&call(i)));
    std::thread::sleep(Duration::from_secs(3));
    calls.miss(&call(2));
    let now = SystemTime::now();
    let long_ago = |file: &PathBuf| {
        let time = fs::metadata(file).unwrap().modified().unwrap();
        now.duration_since(time).is_ok_and(|age| age > Duration::from_millis(2500))
    };
    assert!(entries(&calls).iter().any(long_ago));
    let said = calls.said("--evict-older-than 2s");
    assert!(said.code == Some(0) && said.out.contains("Deleted "), "{said}");
    calls.hit(&call(2));
    calls.miss_then_hit(&call(0));
    // By its setting, and by hand.
    let said = calls.said("-M 1G");
    assert!(said.out.contains("1.0 GiB"), "{said}");
    assert_eq!(calls.said("-c").code, Some(0));
    calls.store_hit(&call(0)); // the settings are others
    assert_eq!(calls.said("-C").code, Some(0));
    assert_eq!(entries(&calls).len(), 0);
    calls.miss_then_hit(&call(0));
    calls.scene.store_is_good();
}

#[test]
fn what_is_in_a_namespace_goes_with_it() {
    let Some(mut calls) = large("what_is_in_a_namespace_goes_with_it", 3, 1) else { return };
    let call = |i: u32| format!("gcc -c s{i}.c");
    let names = ["one", "two", "one"];
    for (i, name) in (0..).zip(names) {
        calls.set("CCWRAP_NAMESPACE", name);
        calls.miss(&call(i));
    }
    // One of them is of both.
    calls.set("CCWRAP_NAMESPACE", "two");
    calls.store_hit(&call(2));
    let before = size(&calls);
    assert_eq!(calls.said("--evict-namespace one --evict-older-than 1d").code, Some(0));
    assert_eq!(entries(&calls).len(), 4);
    let said = calls.said("--evict-namespace one");
    assert!(said.code == Some(0) && said.out.contains("Deleted "), "{said}");
    assert_eq!(entries(&calls).len(), 2);
    let freed = before - size(&calls);
    assert!((1 << 20..2 << 20).contains(&freed), "{freed}");
    calls.hit(&call(1));
    calls.hit(&call(2));
    calls.set("CCWRAP_NAMESPACE", "one");
    calls.miss(&call(0));
    calls.scene.store_is_good();
}

#[test]
fn a_build_is_right_while_its_cache_is_emptied() {
    let test = "a_build_is_right_while_its_cache_is_emptied";
    let Some(mut calls) = large(test, 8, 4) else { return };
    let objects = (0..8).map(|i| format!(" s{i}.o")).collect::<String>();
    calls.write("Makefile", format!("all:{objects}\n%.o: %.c\n\t$(CC) -c $< -o $@\n"));
    let build = |calls: &Calls, compiler: &str, jobs: &str| {
        (0..8).for_each(|i| drop(fs::remove_file(calls.at(&format!("s{i}.o")))));
        let mut command = calls.plain("make");
        command.args(["-s", jobs, &format!("CC={compiler}")]).env("CCWRAP_DIR", calls.scene.at("ccwrap"));
        let said = calls.scene.said(&mut command);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{said}");
        (0..8).map(|i| fs::read(calls.at(&format!("s{i}.o"))).unwrap()).collect::<Vec<_>>()
    };
    let theirs = build(&calls, "gcc", "-j2");
    let ours = format!("{} gcc", program("ccwrap").display());
    assert!(build(&calls, &ours, "-j8") == theirs);
    let limit = size(&calls) - ((4 * 4) << 20);
    calls.set("CCWRAP_MAXSIZE", &format!("{limit}B"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let emptied = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                for words in ["-c", "--evict-older-than=1s", "-c", "-C"] {
                    let said = calls.said(words);
                    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""), "{words}: {said}");
                    std::thread::sleep(Duration::from_millis(200));
                }
                rounds += 1;
            }
            rounds
        });
        for _ in 0..2 {
            assert!(build(&calls, &ours, "-j8") == theirs);
        }
        over.store(true, Ordering::Relaxed);
        assert!(emptied.join().unwrap() > 0);
    });
    calls.newly_counted_anew();
    assert!(build(&calls, &ours, "-j8") == theirs);
    assert_eq!(calls.said("-c").code, Some(0));
    assert!(size(&calls) <= limit);
    calls.scene.store_is_good();
}
