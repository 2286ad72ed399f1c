//! Times the reading of a manifest as CMake writes one, next to Ninja. `parse_bench [EDGES] [RUNS]`

use ninja2drv::manifest;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let edges = arguments.next().unwrap_or(10_000);
    let runs = arguments.next().unwrap_or(10);
    let directory = tempfile::tempdir()?;
    let root = directory.path().to_str().expect("a name in UTF-8");
    let text = cmake_like(root, edges);
    std::fs::write(directory.path().join("build.ninja"), &text)?;

    let mut times = vec![];
    let mut commands = Duration::ZERO;
    for _ in 0..runs {
        let mut bytes = text.clone().into_bytes();
        let start = Instant::now();
        let manifest = manifest::parse(root.into(), "build.ninja".into(), &mut |_| Ok(std::mem::take(&mut bytes)));
        times.push(start.elapsed());
        let manifest = manifest.expect("a good manifest");
        let start = Instant::now();
        let bytes: usize = manifest
            .graph
            .edges()
            .filter(|(_, edge)| !edge.phony)
            .map(|(id, _)| manifest.graph.command(id).text.len())
            .sum();
        commands = start.elapsed();
        assert!(bytes > 0);
    }
    times.sort();
    let size = text.len() >> 10;
    println!(
        "{edges} edges, {size} KiB: least {:?}, median {:?}; all commands {commands:?}",
        times[0],
        times[runs / 2]
    );

    for ninja in ["ninja", "n2", "samu"] {
        let mut times = vec![];
        for _ in 0..runs {
            let start = Instant::now();
            let mut command = Command::new(ninja);
            command.args(["-C", root, "-t", "query", "all"]).stdout(Stdio::null()).stderr(Stdio::null());
            match command.status() {
                Ok(_) => times.push(start.elapsed()),
                Err(_) => break,
            }
        }
        times.sort();
        match times.first() {
            Some(least) => println!("{ninja} -t query: least {least:?}, median {:?}", times[runs / 2]),
            None => println!("not run: {ninja}"),
        }
    }
    Ok(())
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
            let list = std::mem::take(&mut objects).join(" ");
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
