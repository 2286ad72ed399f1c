//! What it costs to read a build file as CMake writes one, and to answer for it by a tool.

use crate::{Bench, Samples, limited, remove};
use bstr::{BStr, ByteSlice as _};
use ninja2drv::manifest;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, mem};
use tests::program;

/// How many edges, and in how many milliseconds they are to be read.
const SIZES: [(usize, f64); 2] = [(10_000, 10.0), (100_000, 120.0)];
const TOOLS: [&str; 3] = ["query", "commands", "graph"];

/// The reading alone, and whole processes that read and answer: n2 has no tools, and is asked for what there is not.
pub fn load(bench: &Bench) {
    println!("== reading a build file, and tools / ninja");
    let place = bench.place("load");
    fs::create_dir_all(&place).expect("a directory");
    let root = place.to_str().expect("a name in UTF-8");
    for (edges, limit) in SIZES {
        let text = cmake_like(root, edges);
        fs::write(place.join("build.ninja"), &text).expect("a file");
        let mut reading = Samples::default();
        for _ in 0..10 {
            let mut bytes = text.clone().into_bytes();
            let mut graph = None;
            reading.time(|| {
                graph = Some(manifest::parse(root.into(), "build.ninja".into(), &mut |_| Ok(mem::take(&mut bytes))));
            });
            assert!(graph.is_some_and(|graph| graph.is_ok()));
        }
        let milliseconds = limited(reading.median() * 1000.0, limit);
        println!("{edges} edges, {} KiB: read in {milliseconds} ms", text.len() >> 10);
        for tool in TOOLS {
            let words = ["-t", tool, "all"];
            let [ours, ninja] = [program("ninja2drv"), "ninja".into()]
                .map(|program| process(&program, &words, &place).expect("it is there"));
            let ratio = limited(ours.median() / ninja.median(), 1.0);
            let samurai = process("samu".as_ref(), &words, &place);
            println!(
                "  -t {tool:<9} {} / {} = {ratio}; samurai {}",
                ours.milliseconds(),
                ninja.milliseconds(),
                told(samurai.as_ref()),
            );
        }
        println!("  n2 with an unknown target: {}", told(process("n2".as_ref(), &["nothing"], &place).as_ref()));
    }
    hostile(&place);
    remove(&place);
}

/// Build files that nobody writes: twice the size is to take twice the time.
fn hostile(place: &Path) {
    type Text = fn(usize) -> String;
    let shapes: [(&str, usize, Text); 3] = [
        ("a line of 10 MB", 700_000, |size| {
            let names: String = (0..size).map(|i| format!(" some/file{i}")).collect();
            format!("build last: phony{names}\n")
        }),
        ("a chain of a million phony edges", 1_000_000, |size| {
            let edges: String = (1..size).map(|i| format!("build p{i}: phony p{}\n", i - 1)).collect();
            format!("build p0: phony\n{edges}build last: phony p{}\n", size - 1)
        }),
        ("a phony edge of a million", 1_000_000, |size| {
            let edges: String = (0..size).map(|i| format!("build p{i}: phony\n")).collect();
            let names: String = (0..size).map(|i| format!(" p{i}")).collect();
            format!("{edges}build last: phony{names}\n")
        }),
    ];
    for (name, size, text) in shapes {
        let [half, whole] = [size / 2, size].map(|size| reading(&text(size), &mut |_| Vec::new()));
        println!("{name}: read in {} ({:.1} of half of it)", whole.milliseconds(), whole.median() / half.median());
        fs::write(place.join("build.ninja"), text(size)).expect("a file");
        let [ours, ninja] = [program("ninja2drv"), "ninja".into()].map(|program| {
            let status =
                Command::new(&program).args(["-t", "inputs", "last"]).current_dir(place).stdout(Stdio::null()).status();
            match status.expect("it is there").success() {
                true => told(process(&program, &["-t", "inputs", "last"], place).as_ref()),
                false => "it fails".into(),
            }
        });
        println!("  -t inputs     {ours}; ninja {ninja}");
    }
    const DEEP: usize = 100_000;
    let scopes = |deep: usize| {
        let rules = "rule r\n  command = $top $own $none\ntop = 1\nsubninja 0\n";
        reading(rules, &mut |i| match i + 1 == deep {
            true => b"build last: r\n".to_vec(),
            false => format!("own = {i}\nbuild o{i}: r\n  x = $top $none\nsubninja {}\n", i + 1).into_bytes(),
        })
    };
    let [half, whole] = [DEEP / 2, DEEP].map(scopes);
    println!(
        "{DEEP} scopes in each other: read in {} ({:.1} of half of them)",
        whole.milliseconds(),
        whole.median() / half.median()
    );
}

/// The reading of a text, and of the numbered files that it includes, with the commands of all edges.
fn reading(text: &str, included: &mut dyn FnMut(usize) -> Vec<u8>) -> Samples {
    let mut samples = Samples::default();
    for _ in 0..3 {
        let mut load = |path: &BStr| match path.to_str_lossy().parse() {
            Ok(number) => Ok(included(number)),
            Err(_) => Ok(text.as_bytes().to_vec()),
        };
        samples.time(|| {
            let manifest = manifest::parse("/work/build".into(), "build.ninja".into(), &mut load);
            let graph = manifest.unwrap_or_else(|error| panic!("{error}")).graph;
            let commands = graph.edges().filter(|(_, edge)| !edge.phony).map(|(id, _)| graph.command(id).text.len());
            assert!(commands.sum::<usize>() < usize::MAX);
        });
    }
    samples
}

/// Whole runs of a program; none where it is not there.
fn process(program: &Path, words: &[&str], directory: &Path) -> Option<Samples> {
    let mut samples = Samples::default();
    for _ in 0..10 {
        let mut command = Command::new(program);
        command.args(words).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        let mut status = None;
        samples.time(|| status = command.status().ok());
        status?;
    }
    Some(samples)
}

fn told(samples: Option<&Samples>) -> String {
    samples.map_or_else(|| "not run: no such program".into(), Samples::milliseconds)
}

/// Static libraries of 50 objects each, as CMake 3 states them.
fn cmake_like(root: &str, edges: usize) -> String {
    let mut text = format!(
        "ninja_required_version = 1.5\ncmake_ninja_workdir = {root}/\n\n\
         rule CXX_COMPILER\n  depfile = $DEP_FILE\n  deps = gcc\n  \
         command = ${{LAUNCHER}}${{CODE_CHECK}}/usr/bin/c++ $DEFINES $INCLUDES $FLAGS -MD -MT $out -MF $DEP_FILE -o $out -c $in\n  \
         description = Building CXX object $out\n\n\
         rule CXX_STATIC_LIBRARY_LINKER\n  \
         command = $PRE_LINK && /usr/bin/cmake -E rm -f $TARGET_FILE && /usr/bin/ar qc $TARGET_FILE $LINK_FLAGS $in && $POST_BUILD\n  \
         description = Linking CXX static library $TARGET_FILE\n  restat = $RESTAT\n\n"
    );
    let mut libraries = vec![];
    let mut objects = vec![];
    for i in 0..edges {
        let library = i / 51;
        let part = format!("CMakeFiles/part{library}.dir");
        if i % 51 < 50 && i + 1 < edges {
            write!(
                text,
                "build {part}/src/module{library}/file_number_{i}.cc.o: CXX_COMPILER \
                 /home/somebody/project/src/module{library}/file_number_{i}.cc || cmake_object_order_depends_target_part{library}\n  \
                 DEFINES = -DNDEBUG -DPROJECT_BUILD=1 -D_GNU_SOURCE -D__STDC_CONSTANT_MACROS\n  \
                 DEP_FILE = {part}/src/module{library}/file_number_{i}.cc.o.d\n  \
                 FLAGS = -fPIC -fvisibility-inlines-hidden -Werror=date-time -Wall -Wextra -Wno-unused-parameter -O3 -std=c++17 -fno-exceptions\n  \
                 INCLUDES = -I/home/somebody/project/build/src/module{library} -I/home/somebody/project/src/module{library} -I/home/somebody/project/include\n  \
                 OBJECT_DIR = {part}\n  OBJECT_FILE_DIR = {part}/src/module{library}\n\n"
            )
            .expect("a string takes it");
            objects.push(format!("{part}/src/module{library}/file_number_{i}.cc.o"));
        } else {
            let list = mem::take(&mut objects).join(" ");
            write!(
                text,
                "build lib/libpart{library}.a: CXX_STATIC_LIBRARY_LINKER {list}\n  \
                 LANGUAGE_COMPILE_FLAGS = -O3\n  OBJECT_DIR = {part}\n  POST_BUILD = :\n  PRE_LINK = :\n  \
                 TARGET_FILE = lib/libpart{library}.a\n\n\
                 build cmake_object_order_depends_target_part{library}: phony || {part}\n\n\
                 build {part} | ${{cmake_ninja_workdir}}{part}: phony\n\n"
            )
            .expect("a string takes it");
            libraries.push(format!("lib/libpart{library}.a"));
        }
    }
    write!(text, "build all: phony {}\n\ndefault all\n", libraries.join(" ")).expect("a string takes it");
    text
}
