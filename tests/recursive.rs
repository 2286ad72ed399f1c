//! A build inside of a Nix derivation, by the daemon that `recursive-nix` gives to it: the second door of a packager.

use std::fs;
use std::process::Command;
use tests::daemon::{Daemon, Nix, Setup};
use tests::{Scene, lacks_sandbox, not_run, program};

/// A derivation whose builder runs `ninja2drv` on its sources, twice.
const EXPRESSION: &str = r#"derivation {
  name = "inner"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "
    export PATH=/usr/bin:/bin XDG_CACHE_HOME=$TMPDIR/cache XDG_STATE_HOME=$TMPDIR/state
    cp -r $source source && chmod -R u+w source && cd source &&
    $tools/ninja2drv -dexplain > said && $tools/ninja2drv >> said && mkdir $out && cp said text program main.o other.o $out/
  " ];
  requiredSystemFeatures = [ "recursive-nix" ];
  tools = ./tools; source = ./source;
}"#;

#[test]
fn each_edge_of_a_build_in_a_derivation_is_a_derivation() {
    let test = "each_edge_of_a_build_in_a_derivation_is_a_derivation";
    let Some(scene) = Scene::new(test, &["gcc"]).filter(|_| !lacks_sandbox(test)) else { return };
    let daemon = match Daemon::start(Setup::new(Nix::Sid, true)) {
        Ok(daemon) => daemon,
        Err(reason) => return not_run(test, &reason),
    };
    scene.write(
        "source/main.c",
        "#include <stdio.h>\n#include \"text.h\"\nint other(void);\nint main(void) { return puts(TEXT) < other(); }\n",
    );
    scene.write("source/other.c", "int other(void) { return 0; }\n");
    scene.write("source/.splitter-root", "");
    scene.write("source/text.h", "#define TEXT \"made in a derivation\"\n");
    scene.write(
        "source/build.ninja",
        "rule cc\n  command = gcc -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n\
         rule ld\n  command = gcc $in -o $out\nrule run\n  command = ./$in > $out\n\
         build main.o: cc main.c\nbuild other.o: cc other.c\nbuild program: ld main.o other.o\nbuild text: run program\n",
    );
    fs::create_dir(scene.at("tools")).unwrap();
    for name in ["ninja2drv", "splitter-runner"] {
        // Without what is for debuggers, of which there is much.
        let strip = Command::new("strip").arg("-o").arg(scene.at("tools").join(name)).arg(program(name)).status();
        assert!(strip.is_ok_and(|status| status.success()));
    }
    scene.write("inner.nix", EXPRESSION);
    let built = || {
        let build = ["build", "--impure", "--no-link", "--print-out-paths", "--file"];
        let output = daemon.client("nix").args(build).arg(scene.at("inner.nix")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let out = String::from_utf8(output.stdout).unwrap();
        daemon.root().join(&out.trim()[1..])
    };
    let out = built();
    assert_eq!(fs::read_to_string(out.join("text")).unwrap(), "made in a derivation\n");
    let said = fs::read_to_string(out.join("said")).unwrap();
    for line in ["edges are realised by way `recursive`", "4 ran, 0 reused, 0 up to date", "ninja: no work to do."] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Each is a path of its own in the outer daemon's store.
    let paths = fs::read_dir(daemon.root().join("nix/store")).unwrap().flatten();
    let names: Vec<String> = paths.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for name in ["-main.o-o0", "-program-o0", "-text-o0"] {
        assert!(names.iter().any(|path| path.ends_with(name)), "{name} is missing");
    }

    // Outside, on the embedded store, the same comes out.
    let said = scene.said(scene.command("ninja2drv").current_dir(scene.at("source")));
    assert_eq!(said.code, Some(0), "{said}");
    for name in ["main.o", "other.o", "program", "text"] {
        assert!(
            fs::read(out.join(name)).unwrap() == fs::read(scene.at("source").join(name)).unwrap(),
            "`{name}` differs"
        );
        fs::remove_file(scene.at("source").join(name)).unwrap();
    }
    fs::remove_dir_all(scene.at("source/.splitter")).unwrap();

    // Another derivation, which knows nothing of the first, runs what has changed.
    scene.write("source/text.h", "#define TEXT \"made again\"\n");
    let out = built();
    assert_eq!(fs::read_to_string(out.join("text")).unwrap(), "made again\n");
    let said = fs::read_to_string(out.join("said")).unwrap();
    assert!(said.contains("reused other.o ") && said.contains("3 ran, 1 reused, 0 up to date"), "{said}");
}
