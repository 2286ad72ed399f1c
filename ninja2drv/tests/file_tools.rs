//! The tools of `-t` that look at files, beside what Ninja 1.13.2 said and did (`file_tools/said`).
//!
//! `file_tools/asked` has scenes, each with a directory of its own, and what is done there: command lines, and changes of
//! files. Of each command line `said` has what goes to standard output, after `! ` what goes to standard error, after `= `
//! the exit code, after `- ` and `+ ` the files that went and came, and logs that changed.

mod kit;

use bstr::{BString, ByteSlice as _};
use ninja2drv::logs::{BUILD_LOG, DEPS_LOG, DepsLog};
use ninja2drv::tools::{Call, Mode, Tool};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

#[test]
fn tools_do_with_files_what_ninja_does() {
    assert_same(&played(&ours), &read("said"));
}

#[test]
fn what_ninja_does_is_written_down() {
    if !kit::has_ninja_1_13() {
        return;
    }
    assert_same(&played(&|directory, words| run("ninja", directory, words)), &read("said"));
}

#[track_caller]
fn assert_same(played: &str, said: &str) {
    let differs = played.lines().zip(said.lines()).position(|(ours, theirs)| ours != theirs);
    let around =
        |text: &str, at: usize| text.lines().skip(at.saturating_sub(8)).take(16).collect::<Vec<_>>().join("\n");
    if let Some(at) = differs {
        panic!("line {}:\n{}\n--- was expected:\n{}", at + 1, around(played, at), around(said, at));
    }
    assert_eq!(played, said);
}

/// Files of a scene, with what is in them; the manifests and logs are there, too.
const FILES: &[(&str, &str)] = &[
    ("a.c", ""),
    ("a.o", ""),
    ("a.o.d", ""),
    ("b.c", ""),
    ("b.o", ""),
    ("config.h", ""),
    ("config.in", ""),
    ("f.f", ""),
    ("f.mod", ""),
    ("f.o", ""),
    ("late.h", ""),
    ("late.in", ""),
    ("made.h", ""),
    ("made.in", ""),
    ("made.log", ""),
    ("modules.dd", "ninja_dyndep_version = 1\nbuild f.o | f.mod: dyndep | late.h\n"),
    ("old.o", ""),
    ("prog", ""),
    ("prog.rsp", ""),
    ("s.c", ""),
    ("scanned", ""),
    ("scanned.d", "scanned: s.c ./made.h made.log"),
    ("scanned.map", ""),
];

/// What the deps log says, of outputs with mtimes in seconds.
const DEPS: &[(&str, i64, &[&str])] = &[
    ("a.o", 1000, &["a.c", "made.h", "only-logged.h"]),
    ("old.o", 1000, &["old.c", "only-logged.h"]),
    ("b.o", 999, &["b.c", "late.h", "made.h"]),
    ("late.h", 1000, &["config.h"]),
];

/// All that is said in all scenes.
fn played(run: &dyn Fn(&Path, &[&str]) -> String) -> String {
    let mut played = String::new();
    let mut directory = tempfile::tempdir().unwrap();
    for line in read("asked").lines() {
        writeln!(played, "{}{line}", if line.starts_with('-') { "$ " } else { "" }).unwrap();
        if line.starts_with('#') {
            directory = tempfile::tempdir().unwrap();
            set_up(directory.path());
        } else if line.starts_with('-') {
            let before = seen(directory.path());
            played += &run(directory.path(), &line.split(' ').collect::<Vec<_>>());
            played += &changes(&before, &seen(directory.path()));
        } else {
            change(directory.path(), line);
        }
    }
    played
}

fn set_up(root: &Path) {
    for name in ["build.ninja", "elsewhere.ninja"] {
        fs::write(root.join(name), read(name)).unwrap();
    }
    for (name, text) in FILES {
        fs::write(root.join(name), text).unwrap();
        touch(&root.join(name), 1000);
    }
    fs::write(root.join(BUILD_LOG), read("ninja_log")).unwrap();
    let mut log = DepsLog::default();
    for (output, mtime, deps) in DEPS {
        log.insert((*output).into(), mtime * 1_000_000_000, deps.iter().map(|dep| (*dep).into()));
    }
    fs::write(root.join(DEPS_LOG), log.write()).unwrap();
}

/// Does what a line says: a verb, and what it is done with.
fn change(root: &Path, line: &str) {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let at = |i: usize| root.join(words[i]);
    let bytes = |text: &str| {
        let text = text.replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0").replace("\\1", "\x01");
        text.into_bytes()
    };
    match words[0] {
        "rm" => fs::remove_file(at(1)).unwrap(),
        "mkdir" => fs::create_dir(at(1)).unwrap(),
        "move" => fs::rename(at(1), at(2)).unwrap(),
        "touch" => touch(&at(2), words[1].parse().unwrap()),
        "write" => fs::write(at(1), bytes(words.get(2).copied().unwrap_or_default())).unwrap(),
        "add" => fs::write(at(1), [fs::read(at(1)).unwrap(), bytes(words[2])].concat()).unwrap(),
        "cut" => {
            let old = fs::read(at(2)).unwrap();
            fs::write(at(2), &old[..old.len() - words[1].parse::<usize>().unwrap()]).unwrap();
        }
        "repeat" => {
            let (name, text) = words[2].split_once(' ').unwrap();
            let more = bytes(text).repeat(words[1].parse().unwrap());
            fs::write(root.join(name), [fs::read(root.join(name)).unwrap(), more].concat()).unwrap();
        }
        verb => panic!("no verb: {verb}"),
    }
}

fn touch(file: &Path, seconds: u64) {
    File::options()
        .append(true)
        .open(file)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

/// The files below a directory, logs with what they say.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
                seen.insert(name, String::new());
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let is_log = name.ends_with(BUILD_LOG) || name.ends_with(DEPS_LOG);
            seen.insert(name, if is_log { bytes.escape_ascii().to_string() } else { String::new() });
        }
    }
    seen
}

fn changes(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> String {
    let mut changes = String::new();
    for gone in before.keys().filter(|name| !after.contains_key(*name)) {
        writeln!(changes, "- {}", gone.display()).unwrap();
    }
    for (name, text) in after {
        match before.get(name) {
            None => writeln!(changes, "+ {} {text}", name.display()).unwrap(),
            Some(old) if old != text => writeln!(changes, "{}: {text}", name.display()).unwrap(),
            Some(_) => {}
        }
    }
    changes.replace("\\n", "\n  ")
}

/// What our command says. It has no `-n`, for which the library is asked.
fn ours(directory: &Path, words: &[&str]) -> String {
    let ["-n", "-t", tool, arguments @ ..] = words else {
        return run(env!("CARGO_BIN_EXE_ninja2drv"), directory, words);
    };
    let arguments: Vec<BString> = arguments.iter().map(|word| (*word).into()).collect();
    let call = Call {
        directory: directory.to_str().unwrap().into(),
        file: "build.ninja".into(),
        arguments: &arguments,
        mode: Mode { dry_run: true, verbose: false },
    };
    let mut out = Vec::new();
    let mut load = |name: &bstr::BStr| fs::read(directory.join(name.to_string()));
    Tool::find((*tool).into()).unwrap().run(&call, &mut load, &mut out).unwrap();
    format!("{}= 0\n", out.to_str().unwrap())
}

fn run(program: &str, directory: &Path, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(directory).output().unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        writeln!(said, "! {line}").unwrap();
    }
    writeln!(said, "= {}", output.status.code().unwrap()).unwrap();
    said
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/file_tools").join(name)).unwrap()
}
