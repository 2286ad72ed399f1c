//! Inside of a Nix derivation: each call is a derivation of the daemon that `recursive-nix` gives to it, and where there is none
//! the build does not care.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::daemon::{Daemon, Nix, Setup};
use tests::{Scene, lacks_sandbox, not_run, program};

/// A derivation whose builder compiles its sources by `ccwrap` and by the compiler alone.
fn expression(features: &str, before: &str) -> String {
    format!(
        r#"derivation {{
  name = "inner"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "
    export PATH=/usr/bin:/bin
    {before}
    mkdir $out $out/theirs $out/ours && cp -r $source source && chmod -R u+w source && cd source &&
    for c in main other; do
      gcc -O2 -Wall -MD -c $c.c -o $c.o 2> $out/theirs/$c.log && mv $c.o $c.d $out/theirs/ || exit 1
      for i in 1 2; do
        $tools/ccwrap gcc -O2 -Wall -MD -c $c.c -o $c.o 2> $out/ours/$c.log || exit 1
        cp $out/ours/$c.log $out/ours/$c.log.$i
      done
      mv $c.o $c.d $out/ours/
    done
    $tools/ccwrap --print-stats > $out/stats || :
  " ];
  requiredSystemFeatures = [ {features} ];
  tools = ./tools; source = ./source;
}}"#
    )
}

/// Sources and our programs, and a daemon; none where they are not to be had.
fn setup(test: &str) -> Option<(Scene, Daemon)> {
    let scene = Scene::new(test, &["gcc", "strip"]).filter(|_| !lacks_sandbox(test))?;
    let daemon = match Daemon::start(Setup::new(Nix::Sid, true)) {
        Ok(daemon) => daemon,
        Err(reason) => {
            not_run(test, &reason);
            return None;
        }
    };
    scene.write(
        "source/main.c",
        "#include <stdio.h>\n#include \"text.h\"\nint main(void) { int unused; return puts(TEXT); }\n",
    );
    scene.write("source/other.c", "int other(void) { return 0; }\n");
    scene.write("source/.splitter-root", "");
    scene.write("source/text.h", "#define TEXT \"made in a derivation\"\n");
    fs::create_dir(scene.at("tools")).unwrap();
    for name in ["ccwrap", "ccwrap-full", "splitter-runner"] {
        // Without what is for debuggers, of which there is much.
        let strip = Command::new("strip").arg("-o").arg(scene.at("tools").join(name)).arg(program(name)).status();
        assert!(strip.is_ok_and(|status| status.success()));
    }
    Some((scene, daemon))
}

fn build(scene: &Scene, daemon: &Daemon, expression: &str) -> PathBuf {
    scene.write("inner.nix", expression);
    let words = ["build", "--impure", "--no-link", "--print-out-paths", "--file"];
    let output = daemon.client("nix").args(words).arg(scene.at("inner.nix")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.root().join(&String::from_utf8(output.stdout).unwrap().trim()[1..])
}

/// Whether what was made both ways is the same.
fn is_same(out: &Path) {
    for name in ["main.o", "main.d", "other.o", "other.d"] {
        assert!(
            fs::read(out.join("ours").join(name)).unwrap() == fs::read(out.join("theirs").join(name)).unwrap(),
            "{name}"
        );
    }
}

fn read(out: &Path, name: &str) -> String {
    fs::read_to_string(out.join(name)).unwrap()
}

#[test]
fn a_call_in_a_derivation_is_one_of_the_outer_daemon() {
    let test = "a_call_in_a_derivation_is_one_of_the_outer_daemon";
    let Some((scene, daemon)) = setup(test) else { return };
    let before = "export XDG_CACHE_HOME=$TMPDIR/cache XDG_STATE_HOME=$TMPDIR/state";
    let expression = expression("\"recursive-nix\"", before);
    let out = build(&scene, &daemon, &expression);
    is_same(&out);
    for name in ["main", "other"] {
        for i in [1, 2] {
            assert_eq!(read(&out, &format!("ours/{name}.log.{i}")), read(&out, &format!("theirs/{name}.log")));
        }
    }
    let stats = read(&out, "stats");
    assert!(stats.contains("cache_miss\t2\n") && stats.contains("direct_cache_hit\t2\n"), "{stats}");
    let paths = fs::read_dir(daemon.root().join("nix/store")).unwrap().flatten();
    let names: Vec<String> = paths.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|path| path.ends_with("-main.o-o0")), "{names:?}");
    // Another derivation has it from the same store.
    scene.write("source/other.c", "int other(void) { return 1; }\n");
    let out = build(&scene, &daemon, &expression);
    is_same(&out);
    let stats = read(&out, "stats");
    assert!(stats.contains("cache_miss\t1\n") && stats.contains("preprocessed_cache_hit\t1\n"), "{stats}");
}

#[test]
fn a_builder_without_a_daemon_is_told_once_and_compiles() {
    let test = "a_builder_without_a_daemon_is_told_once_and_compiles";
    let Some((scene, daemon)) = setup(test) else { return };
    let out = build(&scene, &daemon, &expression("", ""));
    is_same(&out);
    let lines = |name: &str| {
        let theirs = read(&out, &format!("theirs/{name}.log"));
        [1, 2].map(|i| read(&out, &format!("ours/{name}.log.{i}")).replace(&theirs, "").lines().count())
    };
    assert_eq!((lines("main"), lines("other")), ([1, 0], [0, 0]));

    // With a place of its own it remembers.
    let before = "export CCWRAP_DIR=$NIX_BUILD_TOP/cache";
    let out = build(&scene, &daemon, &expression("", before));
    is_same(&out);
    let stats = read(&out, "stats");
    assert!(stats.contains("cache_miss\t2\n") && stats.contains("direct_cache_hit\t2\n"), "{stats}");
}
