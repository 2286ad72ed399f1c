//! What we cost beside ninja, and beside ninja with ccache: both measured in this run, by turns, and told as ratios.
//! `./check --bench` is all of it.
//!
//!     cargo build --release --workspace && cargo run --release -p tests --example bench -- [WHAT...] [PROJECT...]
//!
//! WHAT is `calls`, `misses`, `clean`, `edge`, `load`, `noop`, `scan`, `second`, `tracing`, `memory` or `daemon`, by default all; PROJECT one of `corpus/projects`, by default a
//! few small ones; for `scan` also a directory that is built, with a slash in its name. `SPLITTER_BENCH_TURNS` is how often the builds are repeated, by default 3.
//!
//! Medians are told, with the best of each in brackets. The figures are of a machine that does nothing else. A figure
//! above its limit is marked `OVER`; that is no failure, for clocks are none.

#[path = "bench/calls.rs"]
mod calls;
#[path = "bench/daemon.rs"]
mod daemon;
#[path = "bench/load.rs"]
mod load;

use bstr::ByteSlice as _;
use splitter::discover::headers::Headers;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use tests::checkout::{Checkout, Home, Project, copy, done};
use tests::units::{environment, units};

const SMALL: [&str; 5] = ["json-c", "fribidi", "inih", "lz4", "fmt"];

type Measure = fn(&Bench);
const SECTIONS: [(&str, Measure); 11] = [
    ("calls", calls::calls),
    ("misses", calls::misses),
    ("load", load::load),
    ("edge", edge),
    ("memory", memory),
    ("noop", noop),
    ("scan", scan),
    ("clean", clean),
    ("tracing", tracing),
    ("second", second),
    ("daemon", daemon::daemon),
];

struct Bench {
    projects: Vec<Project>,
    built: Vec<PathBuf>,
    turns: usize,
    directory: tempfile::TempDir,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (sections, names): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|word| SECTIONS.iter().any(|(name, _)| name == word));
    let (built, names): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.contains('/'));
    let names = if names.is_empty() && built.is_empty() { SMALL.to_vec() } else { names };
    let mut projects = Vec::new();
    for name in names {
        match Project::find(name) {
            Ok(project) => projects.push(project),
            Err(reason) => println!("not run: {name}: {reason}"),
        }
    }
    let turns = env::var("SPLITTER_BENCH_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(3);
    let built = built.into_iter().map(PathBuf::from).collect();
    let bench = Bench { projects, built, turns, directory: tempfile::tempdir().expect("a temporary directory") };
    for (name, measure) in SECTIONS {
        if sections.is_empty() || sections.contains(&name) {
            measure(&bench);
        }
    }
}

/// A build from nothing, where the store holds the host's tools and nothing of the project; and where it holds nothing.
fn clean(bench: &Bench) {
    println!("== clean build / `ninja -j2`");
    let (mut all_ours, mut all_theirs) = (0.0, 0.0);
    for project in &bench.projects {
        let place = bench.place("clean");
        let configured = |turn: usize| {
            // An object of one turn is none of another's: each has a symbol of its own.
            let flag = format!("-Wa,--defsym,bench_turn={turn}");
            let names = if project.meson { ["c_args", "cpp_args"] } else { ["CMAKE_C_FLAGS", "CMAKE_CXX_FLAGS"] };
            let words = names.map(|name| format!("-D{name}={flag}"));
            let words = [words[0].as_str(), words[1].as_str()];
            Checkout::new(project, &place.join(turn.to_string()), "Release", &words)
        };
        let home = Home::new();
        let mut cold = Samples::default();
        let first = configured(0);
        cold.time(|| drop(home.run(&first, &[])));
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for turn in 1..=bench.turns {
            let checkout = configured(turn);
            ours.time(|| drop(home.run(&checkout, &[])));
            checkout.reset();
            theirs.time(|| drop(checkout.ninja()));
        }
        println!(
            "{:<12} {} / {} = {}   (first build ever, with the host's tools: {})",
            project.name,
            ours.seconds(),
            theirs.seconds(),
            limited(ours.median() / theirs.median(), 1.5),
            cold.seconds(),
        );
        all_ours += ours.median();
        all_theirs += theirs.median();
        remove(&place);
    }
    println!("{:<12} {all_ours:.2} s / {all_theirs:.2} s = {}", "together", limited(all_ours / all_theirs, 1.1));
}

/// A build from nothing whose commands are traced, beside one whose commands are not, and one outside of a sandbox.
fn tracing(bench: &Bench) {
    println!("== clean build with `--tracing=warn` / without, and with `--sandbox=off`");
    let (mut all_traced, mut all_plain) = (0.0, 0.0);
    for project in &bench.projects {
        let place = bench.place("tracing");
        let (mut traced, mut plain, mut in_place) = (Samples::default(), Samples::default(), Samples::default());
        for turn in 0..bench.turns {
            // Each in a store that holds the host's tools and nothing of the project.
            let home = Home::new();
            let checkout = Checkout::new(project, &place.join(turn.to_string()), "Release", &[]);
            home.run(&Checkout::new(project, &place.join(format!("tools-{turn}")), "Debug", &[]), &["--root=same"]);
            plain.time(|| drop(home.run(&checkout, &[])));
            checkout.reset();
            traced.time(|| drop(home.run(&checkout, &["--tracing=warn"])));
            checkout.reset();
            in_place.time(|| drop(home.run(&checkout, &["--sandbox=off"])));
        }
        println!(
            "{:<12} {} / {} = {}   (without a sandbox: {} = {:.2})",
            project.name,
            traced.seconds(),
            plain.seconds(),
            limited(traced.median() / plain.median(), 1.3),
            in_place.seconds(),
            in_place.median() / plain.median(),
        );
        all_traced += traced.median();
        all_plain += plain.median();
        remove(&place);
    }
    let ratio = limited(all_traced / all_plain, 1.3);
    println!("{:<12} {all_traced:.2} s / {all_plain:.2} s = {ratio}", "together");
}

/// What an edge costs that does next to nothing, sandboxed, its outputs registered: processor time of all processes.
fn edge(bench: &Bench) {
    const EDGES: usize = 500;
    println!("== processor time of a trivial edge, {EDGES} edges `cp`");
    let place = bench.place("edge");
    let home = Home::new();
    generate(&place.join("tools"), 1, "tools");
    done(&mut home.command(&place.join("tools"), &[]));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for turn in 0..bench.turns.max(5) {
        let build = place.join(turn.to_string());
        generate(&build, EDGES, &turn.to_string());
        let before = children_cpu();
        done(&mut home.command(&build, &[]));
        let between = children_cpu();
        for i in 0..EDGES {
            fs::remove_file(build.join(format!("out/{i}"))).unwrap();
        }
        done(Command::new("ninja").arg("-j2").current_dir(&build));
        ours.add((between - before) / EDGES as f64);
        theirs.add((children_cpu() - between) / EDGES as f64);
    }
    let more = (ours.median() - theirs.median()) * 1000.0;
    println!("ours {}, ninja {}: {} ms more", ours.milliseconds(), theirs.milliseconds(), limited(more, 5.0));
    remove(&place);
}

/// A run with nothing to do.
fn noop(bench: &Bench) {
    println!("== nothing to do / ninja");
    let place = bench.place("noop");
    let home = Home::new();
    for edges in [1000, 10_000, 100_000] {
        let build = place.join(edges.to_string());
        generate(&build, edges, "noop");
        done(&mut home.command(&build, &[]));
        idle(&format!("{edges} edges"), &home, &build);
    }
    units_unchanged(&place.join("units"), &home);
    for project in &bench.projects {
        let checkout = Checkout::new(project, &place.join(&project.name), "Release", &[]);
        home.run(&checkout, &[]);
        idle(&project.name, &home, &checkout.build());
    }
    remove(&place);
}

/// Many compiles, of which none is to be done, and then one.
fn units_unchanged(build: &Path, home: &Home) {
    const UNITS: usize = 1000;
    generate_units(build, UNITS);
    done(&mut home.command(build, &[]));
    let unchanged = idle("1000 units", home, build);
    println!("{:<12} {} ms for all that they read", "", limited(unchanged * 1000.0, 10.0));
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for turn in 0..10 {
        for (samples, command) in
            [(&mut ours, &mut home.command(build, &[])), (&mut theirs, Command::new("ninja").current_dir(build))]
        {
            done(command);
            thread::sleep(Duration::from_millis(100)); // so that it is known whether a file is as it was read
            done(command);
            let unit = build.join("unit/0.c");
            let text = fs::read_to_string(&unit).unwrap();
            fs::write(&unit, format!("{text}int turn_{turn};\n")).unwrap();
            samples.time(|| drop(done(command)));
        }
    }
    println!(
        "{:<12} {} / {} = {:.2} after an edit of one",
        "",
        ours.milliseconds(),
        theirs.milliseconds(),
        ours.median() / theirs.median()
    );
}

/// Answers the median of ours, in seconds.
fn idle(name: &str, home: &Home, build: &Path) -> f64 {
    const BLOCKS: usize = 5;
    const TURNS: usize = 20;
    let run = |command: &mut Command| {
        let start = Instant::now();
        let status = command.stdout(Stdio::null()).status().expect("it starts");
        assert!(status.success());
        start.elapsed().as_secs_f64()
    };
    // Neither takes what the other has built for its own, so each has a directory that is put in the same place.
    let other = build.with_extension("by-ninja");
    copy(build, &other);
    let swap = || {
        let between = build.with_extension("between");
        fs::rename(build, &between).unwrap();
        fs::rename(&other, build).unwrap();
        fs::rename(&between, &other).unwrap();
    };
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..BLOCKS {
        // A file that is younger than the reading of it is read again a tick later.
        thread::sleep(Duration::from_millis(100));
        done(&mut home.command(build, &[]));
        (0..TURNS).for_each(|_| ours.add(run(&mut home.command(build, &[]))));
        swap();
        done(Command::new("ninja").arg("-j2").current_dir(build));
        (0..TURNS).for_each(|_| theirs.add(run(Command::new("ninja").arg("-j2").current_dir(build))));
        swap();
    }
    let ratio = limited(ours.median() / theirs.median(), 0.7);
    println!("{name:<12} {} / {} = {ratio}", ours.milliseconds(), theirs.milliseconds());
    ours.median()
}

/// Which headers the units of a project include: our scanner, that knows nothing yet, beside the compiler's `-M` for each.
fn scan(bench: &Bench) {
    println!("== processor time of a scan of all units / `-M` of all units");
    let (mut all_ours, mut all_theirs) = (0.0, 0.0);
    let built = bench.built.iter().map(|build| (build.display().to_string(), build.clone()));
    let projects = bench.projects.iter().map(|project| {
        let checkout = Checkout::new(project, &bench.place("scan").join(&project.name), "Release", &[]);
        checkout.ninja(); // what the build makes is there when a unit is scanned
        (project.name.clone(), checkout.build())
    });
    for (name, build) in projects.chain(built) {
        let units = units(&build);
        let before = (own_cpu(), children_cpu());
        let headers = Headers::default();
        let scans = units.iter().map(|unit| headers.scan(&unit.ask, &environment(), unit.cwd.as_bstr()));
        let unknown = scans.filter(Option::is_none).count();
        let between = (own_cpu(), children_cpu());
        let read: usize = units.iter().map(|unit| unit.read_by_compiler().len()).sum();
        // The compiler is asked by us too, once for each set of options.
        let ours = between.0 - before.0 + between.1 - before.1;
        let theirs = children_cpu() - between.1;
        println!(
            "{name:<12} {} units, {read} files: {ours:.2} s / {theirs:.2} s = {}   ({unknown} units are left to the compiler)",
            units.len(),
            limited(ours / theirs, 0.05),
        );
        all_ours += ours;
        all_theirs += theirs;
    }
    println!("{:<12} {all_ours:.2} s / {all_theirs:.2} s = {}", "together", limited(all_ours / all_theirs, 0.05));
    fs::remove_dir_all(bench.place("scan")).ok(); // there may be none
}

/// The first build in a second checkout, beside ninja there with a ccache that knows the first. Each of us in two ways:
/// as it comes, so that every file is what the compiler makes there; and with paths that are not those of the checkout
/// (`--root=canonical`; ccache with a base directory above both, and `hash_dir = false`), which shares more. The files that
/// are not what the compiler makes there are counted.
fn second(bench: &Bench) {
    println!("== build of a second checkout / `ninja -j2` with a warm ccache, no -g");
    if Command::new("ccache").arg("--version").output().is_err() {
        return println!("not run: no program `ccache`");
    }
    let mut all = [0.0; 4];
    for project in &bench.projects {
        let place = bench.place("second");
        let checkout = |at: &str| Checkout::new(project, &place.join(at), "Release", &[]);
        let cached = |at: &str| Checkout::with_ccache(project, &place.join(at), "Release");
        let (home, canonical) = (Home::new(), Home::new());
        let elsewhere = ["--root=canonical"];
        home.run(&checkout("one/first"), &[]);
        canonical.run(&checkout("one/canonical"), &elsewhere);
        let with_ccache = |checkout: &Checkout, cache: &str| {
            let mut ninja = Command::new("ninja");
            ninja.arg("-j2").current_dir(checkout.build()).env("CCACHE_CONFIGPATH", "/dev/null");
            ninja.env("CCACHE_DIR", place.join(cache));
            ninja
        };
        let exactly = |checkout: &Checkout| drop(done(&mut with_ccache(checkout, "exact")));
        let with_base = |checkout: &Checkout| {
            done(with_ccache(checkout, "base").env("CCACHE_NOHASHDIR", "1").env("CCACHE_BASEDIR", &place));
        };
        let first = cached("one/cached");
        exactly(&first);
        first.reset();
        with_base(&first);
        let mut samples: [Samples; 4] = Default::default();
        let (mut ours_unlike, mut theirs_unlike) = (0, 0);
        for turn in 0..bench.turns {
            let [ours, exact, ours_elsewhere, based] = &mut samples;
            let other = checkout(&format!("other/{turn}"));
            ours.time(|| drop(home.run(&other, &[])));
            let made = other.tree();
            other.reset();
            ours_elsewhere.time(|| drop(canonical.run(&other, &elsewhere)));
            ours_unlike = made.differences(&other.tree()).len();
            let other = cached(&format!("other/cached-{turn}"));
            exact.time(|| exactly(&other));
            let made = other.tree();
            // The next turn is to be as the first.
            fs::remove_dir_all(place.join("exact")).unwrap();
            first.reset();
            exactly(&first);
            other.reset();
            based.time(|| with_base(&other));
            theirs_unlike = made.differences(&other.tree()).len();
        }
        let [ours, exact, ours_elsewhere, based] = &samples;
        let ratio = |ours: &Samples, theirs: &Samples| limited(ours.median() / theirs.median(), 0.5);
        println!(
            "{:<12} {} / {} = {}   elsewhere: {} / {} = {} ({ours_unlike} / {theirs_unlike} files otherwise)",
            project.name,
            ours.seconds(),
            exact.seconds(),
            ratio(ours, exact),
            ours_elsewhere.seconds(),
            based.seconds(),
            ratio(ours_elsewhere, based),
        );
        samples.iter().zip(&mut all).for_each(|(samples, sum)| *sum += samples.median());
        remove(&place);
    }
    let [ours, exact, ours_elsewhere, based] = all;
    println!(
        "{:<12} {ours:.2} s / {exact:.2} s = {}   elsewhere: {ours_elsewhere:.2} s / {based:.2} s = {}",
        "together",
        limited(ours / exact, 0.25),
        limited(ours_elsewhere / based, 0.5),
    );
}

/// The most memory that our process takes, of two sizes of build.
fn memory(bench: &Bench) {
    const SIZES: [usize; 2] = [1000, 5000];
    println!("== memory of ninja2drv (the most that was resident)");
    let place = bench.place("memory");
    let home = Home::new();
    let mut peaks = Vec::new();
    generate(&place.join("tools"), 1, "tools");
    done(&mut home.command(&place.join("tools"), &[]));
    for size in SIZES {
        let build = place.join(size.to_string());
        generate(&build, size, &format!("memory {size}"));
        let first = peak(&mut home.command(&build, &[]));
        fs::write(build.join("in/0"), "another text\n").unwrap();
        let edited = peak(&mut home.command(&build, &[]));
        let idle = peak(&mut home.command(&build, &[]));
        println!(
            "{size:>5} edges: {first} KiB to build all, {edited} KiB after an edit, {idle} KiB with nothing to do"
        );
        peaks.push([first, edited, idle]);
    }
    for (i, what) in ["build all", "after an edit", "nothing to do"].iter().enumerate() {
        let more = (SIZES[1] - SIZES[0]) as f64;
        let slope = (peaks[1][i] as f64 - peaks[0][i] as f64) / more;
        let base = (peaks[0][i] as f64 - slope * SIZES[0] as f64) / 1024.0;
        println!("{what}: {} KiB per edge above {} MiB", limited(slope, 20.0), limited(base, 30.0));
    }
    remove(&place);
}

/// The most resident memory of a process while it ran, in KiB.
fn peak(command: &mut Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = line.and_then(|number| number.parse().ok()).unwrap_or(peak).max(peak);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    peak
}

/// A build of so many copies, no two of the same text.
fn generate(build: &Path, edges: usize, text: &str) {
    fs::create_dir_all(build.join("in")).unwrap();
    let mut manifest = String::from("rule copy\n  command = cp $in $out\n");
    for i in 0..edges {
        fs::write(build.join(format!("in/{i}")), format!("{text} {i}\n")).unwrap();
        writeln!(manifest, "build out/{i}: copy in/{i}").expect("text takes all");
    }
    fs::write(build.join("build.ninja"), manifest).unwrap();
    fs::write(build.join(".splitter-root"), "").unwrap();
}

/// A build of so many C sources, each of which includes a dozen of two hundred headers.
fn generate_units(build: &Path, units: usize) {
    const HEADERS: usize = 200;
    for directory in ["unit", "include"] {
        fs::create_dir_all(build.join(directory)).unwrap();
    }
    for i in 0..HEADERS {
        let next = if i % 4 == 3 { String::new() } else { format!("#include \"{}.h\"\n", i + 1) };
        let text = format!("#pragma once\n{next}static inline int f{i}(int a) {{ return a + {i}; }}\n");
        fs::write(build.join(format!("include/{i}.h")), text).unwrap();
    }
    let mut manifest = String::from(
        "rule cc\n  command = cc -Iinclude -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n",
    );
    for i in 0..units {
        let headers = (0..5).map(|k| (i * 7 + k * 10) % HEADERS);
        let includes: String = headers.map(|header| format!("#include \"{header}.h\"\n")).collect();
        let text = format!("#include <stdio.h>\n{includes}int unit_{i}(void) {{ return f{}(1); }}\n", i * 7 % HEADERS);
        fs::write(build.join(format!("unit/{i}.c")), text).unwrap();
        writeln!(manifest, "build out/{i}.o: cc unit/{i}.c").expect("text takes all");
    }
    fs::write(build.join("build.ninja"), manifest).unwrap();
    fs::write(build.join(".splitter-root"), "").unwrap();
}

/// The processor time of all children that have ended and were waited for, and of theirs, in seconds (proc(5): the
/// fields `cutime` and `cstime` are in hundredths on Linux).
fn children_cpu() -> f64 {
    cpu([13, 14])
}

/// The same of this process itself (`utime` and `stime`).
fn own_cpu() -> f64 {
    cpu([11, 12])
}

fn cpu(fields: [usize; 2]) -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().map(|field| words[*field].parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

/// Seconds.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn add(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    /// Gives what it took, in seconds.
    fn time(&mut self, work: impl FnOnce()) -> f64 {
        let start = Instant::now();
        work();
        let took = start.elapsed().as_secs_f64();
        self.add(took);
        took
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn seconds(&self) -> String {
        format!("{:.2} s [{:.2}]", self.median(), self.0[0])
    }

    fn milliseconds(&self) -> String {
        format!("{:.2} ms [{:.2}]", self.median() * 1000.0, self.0[0] * 1000.0)
    }
}

fn limited(figure: f64, limit: f64) -> String {
    format!("{figure:.2} (limit {limit}{})", if figure > limit { ", OVER" } else { "" })
}

impl Bench {
    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn remove(place: &Path) {
    fs::remove_dir_all(place).expect("it is ours");
}
