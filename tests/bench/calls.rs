//! What a call of a compiler costs through us, through ccache and through sccache: hits, misses, a rebuild; and whether what
//! comes out is right after a change that is easily overlooked.

#[path = "crates.rs"]
mod crates;

use crate::{Bench, Samples, children_cpu, limited, remove};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, thread};
use tempfile::TempDir;
use tests::checkout::Project;
use tests::program;

/// Somebody who stands before a compiler.
struct Rival {
    name: String,
    /// The program, and words before the compiler.
    words: Vec<PathBuf>,
    env: Vec<(String, PathBuf)>,
    /// A server that it needs.
    server: Option<Child>,
}

impl Rival {
    /// The call of a compiler through it, in a directory.
    fn command(&self, words: &[&str], directory: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(words).current_dir(directory);
        command.env_remove("CCACHE_DISABLE").env("LC_ALL", "C.UTF-8").envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, words: &[&str], directory: &Path) {
        let status = self.command(words, directory).status().expect("it starts");
        assert!(status.success(), "{}: {words:?}", self.name);
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().expect("it is ours");
            server.wait().expect("it is ours");
        }
    }
}

/// Our programs as an installation has them: copied. A linker writes its output page by page, so that Linux keeps it in single pages
/// and starts it slower; the rivals were unpacked.
struct Installed(TempDir);

impl Installed {
    /// On the disk on which the others lie, too.
    fn new() -> Self {
        let directory = beside_this_program();
        for name in ["ccwrap", "ccwrap-full", "splitter-runner"] {
            fs::copy(program(name), directory.path().join(name)).expect("it is built");
        }
        Self(directory)
    }

    fn ccwrap(&self) -> PathBuf {
        self.0.path().join("ccwrap")
    }
}

/// Temporary files may be in memory, and compilers lie on a disk.
fn beside_this_program() -> TempDir {
    let program = env::current_exe().expect("a program has a path");
    tempfile::tempdir_in(program.parent().expect("a file in a directory")).expect("a directory")
}

/// We first, then all that are there.
fn rivals(place: &Path, installed: &Installed) -> Vec<Rival> {
    let cache = |name: &str| place.join(format!("cache-{name}"));
    let mut rivals = vec![Rival {
        name: "ccwrap".into(),
        words: vec![installed.ccwrap()],
        env: vec![("CCWRAP_DIR".into(), cache("ccwrap")), ("SPLITTER_STORE".into(), cache("ccwrap").join("store"))],
        server: None,
    }];
    if let Ok(said) = Command::new("ccache").arg("--version").output() {
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned();
        let env = vec![("CCACHE_DIR".into(), cache("ccache"))];
        rivals.push(Rival { name: format!("ccache {version}"), words: vec!["ccache".into()], env, server: None });
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals");
    let said = Command::new(script).output().expect("bash starts");
    print!("{}", String::from_utf8_lossy(&said.stderr));
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["ok", name, version, loader, libraries, program] = words.as_slice() else { continue };
        let words: Vec<PathBuf> =
            [loader, "--argv0", name, "--library-path", libraries, program].iter().map(PathBuf::from).collect();
        let mut rival = Rival { name: format!("{name} {version}"), words, env: Vec::new(), server: None };
        match *name {
            "ccache" => rival.env = vec![("CCACHE_DIR".into(), cache("ccache-new"))],
            _ => {
                let socket = place.join("sccache.socket");
                rival.env =
                    vec![("SCCACHE_DIR".into(), cache("sccache")), ("SCCACHE_SERVER_UDS".into(), socket.clone())];
                let mut server = rival.command(&[], place);
                server.env("SCCACHE_START_SERVER", "1").env("SCCACHE_NO_DAEMON", "1");
                rival.server = Some(server.spawn().expect("it starts"));
                let mut waited = 0;
                while !socket.exists() && waited < 100 {
                    thread::sleep(Duration::from_millis(50));
                    waited += 1;
                }
                if !socket.exists() {
                    println!("not run: {}: its server does not come up", rival.name);
                    continue;
                }
            }
        }
        rivals.push(rival);
    }
    rivals
}

/// Calls, and what they may cost of ccache's.
pub fn calls(bench: &Bench) {
    let place = bench.place("calls");
    fs::create_dir_all(&place).expect("a directory");
    let installed = Installed::new();
    let rivals = rivals(&place, &installed);
    crates::crates(&place, &rivals);
    println!("== one call, in milliseconds: {}", names(&rivals));
    let hello = place.join("hello.c");
    fs::write(&hello, "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n").expect("a file");
    let hello = hello.to_str().expect("a name in UTF-8");
    hits("hello.c", &["gcc", "-O2", "-g", "-MD", "-MF", "h.d", "-c", hello, "-o", "h.o"], &place, &rivals, 0.25);
    // Of a unit with 250 headers the object is 0.2 MB, or 2.6 MB with debug information.
    for (unit, debug, limit) in [(FMT, false, 0.2), (FMT, true, 0.3), (GTEST, true, 0.3)] {
        if let Some(words) = unit.words(debug) {
            let what = format!("{}{}", unit.source, if debug { " -g" } else { "" });
            hits(&what, &words.iter().map(String::as_str).collect::<Vec<_>>(), &place, &rivals, limit);
        }
    }
    rebuild(&place, &rivals);
    table(&place, &rivals);
    drop(rivals);
    make_writable(&place);
    remove(&place);
    sharing_blocks(&bench.place("reflink"), &installed);
}

/// Calls that nobody has made before, and what they may cost beyond the compile.
pub fn misses(bench: &Bench) {
    let installed = Installed::new();
    misses_in(&bench.place("misses"), &installed);
    let beside = beside_this_program();
    let device = |path: &Path| fs::metadata(path).expect("it is there").dev();
    if device(beside.path()) != device(bench.directory.path()) {
        misses_in(&beside.path().join("misses"), &installed);
    }
}

fn misses_in(place: &Path, installed: &Installed) {
    fs::create_dir_all(place).expect("a directory");
    let rivals = rivals(place, installed);
    println!("== one miss, in `{}`: {}", place.display(), names(&rivals));
    short_misses(place, &rivals);
    long_misses(place, &rivals);
    drop(rivals);
    make_writable(place);
    remove(place);
}

/// A unit of a real project.
struct Real {
    project: &'static str,
    source: &'static str,
    /// Directories with headers.
    include: &'static [&'static str],
}

const FMT: Real = Real { project: "fmt", source: "src/format.cc", include: &["include"] };
const GTEST: Real = Real {
    project: "googletest",
    source: "googletest/src/gtest-all.cc",
    include: &["googletest/include", "googletest"],
};

impl Real {
    /// Its compile; none where the sources cannot be had, which is told.
    fn words(&self, debug: bool) -> Option<Vec<String>> {
        let sources = match Project::find(self.project) {
            Ok(project) => project.sources,
            Err(reason) => {
                println!("not run: {}: {reason}", self.project);
                return None;
            }
        };
        let top = sources.to_str().expect("a name in UTF-8");
        let mut words = vec!["g++".to_owned(), "-O2".into()];
        words.extend(debug.then(|| "-g".into()));
        words.extend(self.include.iter().map(|directory| format!("-I{top}/{directory}")));
        words.extend(["-MD", "-MF", "u.d", "-c", &format!("{top}/{}", self.source), "-o", "u.o"].map(str::to_owned));
        Some(words)
    }
}

/// Hits where files can share blocks: on XFS, in a file that is mounted.
fn sharing_blocks(place: &Path, installed: &Installed) {
    let Some(words) = GTEST.words(true) else { return };
    fs::create_dir_all(place).expect("a directory");
    let (image, mounted) = (place.join("image"), place.join("mounted"));
    fs::create_dir_all(&mounted).expect("a directory");
    fs::File::create(&image).and_then(|image| image.set_len(2 << 30)).expect("a file with a hole");
    let succeeds = |program: &str, arguments: &[&Path]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if succeeds("mkfs.xfs", &["-q".as_ref(), &image])
        && succeeds("mount", &["-o".as_ref(), "loop".as_ref(), &image, &mounted])
    {
        let rivals = rivals(&mounted, installed);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        hits("gtest-all.cc -g, blocks shared", &words, &mounted, &rivals, 0.1);
        drop(rivals);
        assert!(succeeds("umount", &[&mounted]), "it is used by nobody");
    } else {
        println!("not run: hits where files share blocks: it needs root, mkfs.xfs and loop devices");
    }
    remove(place);
}

fn names(rivals: &[Rival]) -> String {
    rivals.iter().map(|rival| rival.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Hits of one call, by turns; then many after one another, whose processor time is told too. Each replaces its own output: what
/// another has just written may be on its way to the disk, which whoever removes it waits for.
fn hits(what: &str, words: &[&str], place: &Path, rivals: &[Rival], limit: f64) {
    const TURNS: usize = 60;
    // Of a third of a millisecond each, where processor time is counted in hundredths of a second.
    const CALLS: usize = 240;
    let places: Vec<PathBuf> = rivals.iter().map(|rival| place.join(&rival.name)).collect();
    for (rival, place) in rivals.iter().zip(&places) {
        fs::create_dir_all(place).expect("a directory");
        rival.run(words, place);
        rival.run(words, place);
    }
    let mut samples: Vec<Samples> = rivals.iter().map(|_| Samples::default()).collect();
    for _ in 0..TURNS {
        for ((rival, place), samples) in rivals.iter().zip(&places).zip(&mut samples) {
            samples.time(|| rival.run(words, place));
        }
    }
    tell(&format!("hit, {what}"), &samples, rivals, limit);
    // A server that is asked does more, which is not counted here.
    let processor: Vec<f64> = rivals
        .iter()
        .zip(&places)
        .map(|(rival, place)| {
            let before = children_cpu();
            (0..CALLS).for_each(|_| rival.run(words, place));
            (children_cpu() - before) / CALLS as f64
        })
        .collect();
    let figures: Vec<String> = processor.iter().map(|seconds| format!("{:.2} ms", seconds * 1000.0)).collect();
    let ratio = newest_ccache(rivals).map_or_else(
        || "(no ccache)".to_owned(),
        |newest| format!("{} of {}", limited(processor[0] / processor[newest], limit), rivals[newest].name),
    );
    println!("{:<34} {} = {ratio}", "    processor time", figures.join(", "));
}

/// The last of its name.
fn newest_ccache(rivals: &[Rival]) -> Option<usize> {
    rivals.iter().rposition(|rival| rival.name.starts_with("ccache"))
}

/// Beside the newest ccache that is there.
fn tell(what: &str, samples: &[Samples], rivals: &[Rival], limit: f64) {
    let figures: Vec<String> = samples.iter().map(Samples::milliseconds).collect();
    let ratio = newest_ccache(rivals).map_or_else(
        || "(no ccache)".to_owned(),
        |newest| {
            let best = samples[0].0[0] / samples[newest].0[0];
            format!(
                "{} [{best:.2}] of {}",
                limited(samples[0].median() / samples[newest].median(), limit),
                rivals[newest].name
            )
        },
    );
    println!("{what:<34} {} = {ratio}", figures.join(", "));
}

/// Before each call whose time is taken: ccache passes over what is too young, and who comes after a pause has to wait until the
/// processor is awake.
const PAUSE: Duration = Duration::from_millis(30);

/// The compile without anybody, as it is written and with what we add to it.
#[derive(Default)]
struct Alone {
    plain: Samples,
    piped: Samples,
}

impl Alone {
    /// Gives what it took as it is written, in seconds.
    fn time(&mut self, words: &[&str], place: &Path) -> f64 {
        compile(&mut self.plain, words, None, place)
    }

    fn time_piped(&mut self, words: &[&str], place: &Path) {
        compile(&mut self.piped, words, Some("-pipe"), place);
    }

    fn told(&self) -> String {
        format!("{} (with -pipe {})", self.plain.milliseconds(), self.piped.milliseconds())
    }
}

fn compile(samples: &mut Samples, words: &[&str], more: Option<&str>, place: &Path) -> f64 {
    thread::sleep(PAUSE);
    samples.time(|| {
        let status = Command::new(words[0]).args(&words[1..]).args(more).current_dir(place).status();
        assert!(status.expect("it starts").success());
    })
}

/// What a miss costs beyond the compile.
fn short_misses(place: &Path, rivals: &[Rival]) {
    let words = ["gcc", "-O2", "-g", "-MD", "-MF", "m.d", "-c", "miss.c", "-o", "m.o"];
    let text =
        |turn: usize, i: usize| format!("#include <stdio.h>\nint main(void) {{ puts(\"{turn} {i}\"); return 0; }}\n");
    let (alone, beyond) = beside_compile(place, rivals, 41, &words, &text, |took, alone| took - alone);
    let figures: Vec<String> = rivals
        .iter()
        .zip(&beyond)
        .map(|(rival, beyond)| format!("{} {:.1}", rival.name, beyond.median() * 1000.0))
        .collect();
    println!("miss, hello.c, beyond {}, in ms: {} (limit 3.0)", alone.told(), figures.join(", "));
    // The limit is for a machine where ccache adds 15 ms.
    if let Some(newest) = newest_ccache(rivals) {
        let ratio = limited(beyond[0].median() / beyond[newest].median(), 0.2);
        println!("    = {ratio} of what {} adds", rivals[newest].name);
    }
}

/// The same of a unit that takes more than half a second, as a share of the compile.
fn long_misses(place: &Path, rivals: &[Rival]) {
    let words = ["g++", "-O2", "-g", "-MD", "-MF", "l.d", "-c", "long.cc", "-o", "l.o"];
    let text = |turn: usize, i: usize| {
        format!(
            "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <string>\n#include <vector>\n\
             int main() {{\n    std::map<std::string, std::vector<int>> lists;\n    lists[\"{turn}\"].push_back({i});\n    \
             for (auto &list : lists) {{\n        std::sort(list.second.begin(), list.second.end());\n        \
             std::cout << list.first << list.second.size();\n    }}\n}}\n"
        )
    };
    let (alone, ratios) = beside_compile(place, rivals, 21, &words, &text, |took, alone| took / alone);
    let figures: Vec<String> =
        rivals.iter().zip(&ratios).map(|(rival, ratio)| format!("{} {:.3}", rival.name, ratio.median())).collect();
    println!("miss, 200 headers, of the compile's {}: {} (limit 1.02)", alone.told(), figures.join(", "));
}

/// Each rival's misses, each held against the compiles alone before and after it, since a machine is faster at one time than at
/// another.
fn beside_compile(
    place: &Path,
    rivals: &[Rival],
    turns: usize,
    words: &[&str],
    text: &dyn Fn(usize, usize) -> String,
    hold: fn(f64, f64) -> f64,
) -> (Alone, Vec<Samples>) {
    let source = place.join(words.iter().find(|word| word.contains(".c")).expect("a compile has a source"));
    let mut samples: Vec<Samples> = rivals.iter().map(|_| Samples::default()).collect();
    let mut alone = Alone::default();
    for turn in 0..turns {
        fs::write(&source, text(turn, rivals.len())).expect("a file");
        let mut before = alone.time(words, place);
        for (i, (rival, samples)) in rivals.iter().zip(&mut samples).enumerate() {
            fs::write(&source, text(turn, i)).expect("a file");
            thread::sleep(PAUSE);
            let took = Samples::default().time(|| rival.run(words, place));
            let after = alone.time(words, place);
            samples.add(hold(took, f64::midpoint(before, after)));
            before = after;
        }
        alone.time_piped(words, place);
    }
    (alone, samples)
}

/// Many units again, two at once.
fn rebuild(place: &Path, rivals: &[Rival]) {
    const UNITS: usize = 500;
    let directory = place.join("many");
    fs::create_dir_all(&directory).expect("a directory");
    let include =
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <errno.h>\n#include <unistd.h>\n";
    let mut makefile = String::from("OBJECTS =");
    for i in 0..UNITS {
        fs::write(directory.join(format!("u{i}.c")), format!("{include}int f{i}(void) {{ return {i}; }}\n"))
            .expect("a file");
        makefile += &format!(" u{i}.o");
    }
    makefile += "\nall: $(OBJECTS)\n%.o: %.c\n\t@$(CC) -MD -MF $@.d -c $< -o $@\n";
    fs::write(directory.join("Makefile"), makefile).expect("a file");
    let mut samples: Vec<Samples> = rivals.iter().map(|_| Samples::default()).collect();
    for turn in 0..3 {
        for (rival, samples) in rivals.iter().zip(&mut samples) {
            let words: Vec<&str> = rival.words.iter().map(|word| word.to_str().expect("UTF-8")).collect();
            let make = || {
                let mut command = Command::new("make");
                command.args(["-s", "-B", "-j2", &format!("CC={} gcc", words.join(" "))]).current_dir(&directory);
                command.envs(rival.env.iter().cloned()).env("LC_ALL", "C.UTF-8").env_remove("CCACHE_DISABLE");
                assert!(command.status().expect("it starts").success());
            };
            if turn == 0 {
                make();
            }
            samples.time(make);
        }
    }
    tell(&format!("{UNITS} units again, -j2"), &samples, rivals, 0.6);
}

/// A change that is easily overlooked.
struct Change {
    what: &'static str,
    /// Files beforehand.
    files: &'static [(&'static str, &'static str)],
    words: &'static [&'static str],
    /// Variables beforehand, and after.
    env: [&'static [(&'static str, &'static str)]; 2],
    change: fn(&Path),
}

const PLAIN: &[&str] = &["gcc", "-c", "a.c", "-o", "a.o"];
const PATH: &[&str] = &["gcc", "-Ifirst", "-Isecond", "-c", "a.c", "-o", "a.o"];
const X: &[(&str, &str)] =
    &[("a.c", "#include <x.h>\nint x = X;\n"), ("second/x.h", "#define X 1\n"), ("first/y.h", "")];

const CHANGES: [Change; 17] = [
    Change {
        what: "header appears earlier on the path",
        files: X,
        words: PATH,
        env: [&[], &[]],
        change: |at| write(at, "first/x.h", "#define X 2\n"),
    },
    Change {
        what: "earlier directory appears",
        files: &[("a.c", "#include <x.h>\nint x = X;\n"), ("second/x.h", "#define X 1\n")],
        words: PATH,
        env: [&[], &[]],
        change: |at| write(at, "first/x.h", "#define X 2\n"),
    },
    Change {
        what: "header appears beside the source",
        files: &[("a.c", "#include \"x.h\"\nint x = X;\n"), ("second/x.h", "#define X 1\n")],
        words: PATH,
        env: [&[], &[]],
        change: |at| write(at, "x.h", "#define X 2\n"),
    },
    Change {
        what: "… in a new directory below an earlier one",
        files: &[("a.c", "#include <s/x.h>\nint x = X;\n"), ("second/s/x.h", "#define X 1\n"), ("first/y.h", "")],
        words: PATH,
        env: [&[], &[]],
        change: |at| write(at, "first/s/x.h", "#define X 2\n"),
    },
    Change {
        what: "… that hides one which a header includes",
        files: &[
            ("a.c", "#include <w.h>\nint x = X;\n"),
            ("second/w.h", "#include <x.h>\n"),
            ("second/x.h", "#define X 1\n"),
            ("first/y.h", ""),
        ],
        words: PATH,
        env: [&[], &[]],
        change: |at| write(at, "first/x.h", "#define X 2\n"),
    },
    Change {
        what: "__has_include becomes true",
        files: &[("a.c", "#if __has_include(\"x.h\")\nint x = 2;\n#else\nint x = 1;\n#endif\n")],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| write(at, "x.h", ""),
    },
    Change {
        what: "a header of the system is hidden by -isystem",
        files: &[("a.c", "#include <errno.h>\n#ifdef MINE\nint x = 2;\n#else\nint x = 1;\n#endif\n"), ("sys/y.h", "")],
        words: &["gcc", "-isystem", "sys", "-c", "a.c", "-o", "a.o"],
        env: [&[], &[]],
        change: |at| write(at, "sys/errno.h", "#define MINE\n"),
    },
    Change {
        what: "`as` in a -B directory is replaced",
        files: &[("a.c", "int x = 1;\n"), ("tools/as", "#!/bin/sh\nexec as \"$@\"\n")],
        words: &["gcc", "-Btools", "-c", "a.c", "-o", "a.o"],
        env: [&[], &[]],
        change: |at| write(at, "tools/as", "#!/bin/sh\nexec as --defsym replaced=1 \"$@\"\n"),
    },
    Change {
        what: ".incbin file changes",
        files: &[("a.c", "__asm__(\".incbin \\\"data\\\"\");\n"), ("data", "1")],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| write(at, "data", "2"),
    },
    Change {
        what: ".incbin through a macro",
        files: &[("a.c", "#define I \".inc\" \"bin\"\n__asm__(I \" \\\"data\\\"\");\n"), ("data", "1")],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| write(at, "data", "2"),
    },
    Change {
        what: "__DATE__, another SOURCE_DATE_EPOCH",
        files: &[("a.c", "const char *x = __DATE__;\n")],
        words: PLAIN,
        env: [&[("SOURCE_DATE_EPOCH", "0")], &[("SOURCE_DATE_EPOCH", "1000000000")]],
        change: |_| {},
    },
    Change {
        what: "same size and time of change",
        files: &[("a.c", "int x = 1;\n")],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| with_time_kept(at, "a.c", "int x = 2;\n"),
    },
    Change {
        what: "response file changes",
        files: &[("a.c", "int x = X;\n"), ("list", "-DX=1\n")],
        words: &["gcc", "@list", "-c", "a.c", "-o", "a.o"],
        env: [&[], &[]],
        change: |at| write(at, "list", "-DX=2\n"),
    },
    Change {
        what: "compiler of the same size and time",
        files: &[("a.c", "int x = X;\n"), ("tools/gcc", "#!/bin/sh\nexec gcc -DX=1 \"$@\"\n")],
        words: &["./tools/gcc", "-c", "a.c", "-o", "a.o"],
        env: [&[], &[]],
        change: |at| with_time_kept(at, "tools/gcc", "#!/bin/sh\nexec gcc -DX=2 \"$@\"\n"),
    },
    Change {
        what: "another CPATH",
        files: &[
            ("a.c", "#include <x.h>\nint x = X;\n"),
            ("first/x.h", "#define X 1\n"),
            ("second/x.h", "#define X 2\n"),
        ],
        words: PLAIN,
        env: [&[("CPATH", "first")], &[("CPATH", "second")]],
        change: |_| {},
    },
    Change {
        what: "header changed at once after a compile",
        files: &[("a.c", "#include \"x.h\"\nint x = X;\n"), ("x.h", "#define X 1\n")],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| write(at, "x.h", "#define X 2\n"),
    },
    Change {
        what: "computed include",
        files: &[
            ("a.c", "#include \"n.h\"\n#include N\nint x = X;\n"),
            ("n.h", "#define N \"x.h\"\n"),
            ("x.h", "#define X 1\n"),
        ],
        words: PLAIN,
        env: [&[], &[]],
        change: |at| write(at, "x.h", "#define X 2\n"),
    },
];

fn write(at: &Path, name: &str, text: &str) {
    let file = at.join(name);
    fs::create_dir_all(file.parent().expect("below it")).expect("a directory");
    fs::write(&file, text).expect("a file");
    if text.starts_with("#!") {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
}

fn with_time_kept(at: &Path, name: &str, text: &str) {
    let time = fs::metadata(at.join(name)).and_then(|file| file.modified()).unwrap_or(SystemTime::now());
    write(at, name, text);
    let file = fs::File::options().write(true).open(at.join(name)).expect("it is there");
    file.set_modified(time).expect("it is ours");
}

/// Who is right after each change.
fn table(place: &Path, rivals: &[Rival]) {
    println!("== after a change: {}", names(rivals));
    let mut wrong = vec![0; rivals.len()];
    for (i, change) in CHANGES.iter().enumerate() {
        let mut row = Vec::new();
        for (j, rival) in rivals.iter().enumerate() {
            let at = place.join(format!("change-{i}-{j}"));
            change.files.iter().for_each(|(name, text)| write(&at, name, text));
            thread::sleep(Duration::from_millis(1100)); // old enough for everybody to be believed
            let run = |env: &[(&str, &str)]| {
                rival.command(change.words, &at).envs(env.iter().copied()).status().expect("it starts")
            };
            run(change.env[0]);
            run(change.env[0]);
            (change.change)(&at);
            run(change.env[1]);
            let object = fs::read(at.join("a.o")).ok();
            let plain = Command::new(change.words[0])
                .args(&change.words[1..])
                .current_dir(&at)
                .envs(change.env[1].iter().copied())
                .status();
            assert!(plain.expect("it starts").success(), "{}", change.what);
            let is_right = object == fs::read(at.join("a.o")).ok();
            wrong[j] += usize::from(!is_right);
            row.push(if is_right { "right" } else { "STALE" });
        }
        println!("{:<46} {}", change.what, row.join(", "));
    }
    println!("{:<46} {wrong:?}", "wrong, of each");
}

/// The directories of a store are read-only.
fn make_writable(place: &Path) {
    Command::new("chmod").args(["-R", "u+w"]).arg(place).status().expect("`chmod` starts");
}
