//! Modules of C++ as CMake has them built: each source is scanned, what the scans say is collated into a dyndep file and
//! into lists of words for the compiler, and a compile reads the modules that it imports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use tests::checkout::{Tree, copy, done};
use tests::{Said, Scene, not_run};

const PROJECT: &str = "\
cmake_minimum_required(VERSION 3.28)
project(p CXX)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES ON)
add_library(shapes STATIC area.cpp)
target_sources(shapes PUBLIC FILE_SET CXX_MODULES FILES shape.cppm circle.cppm square.cppm)
add_executable(p main.cpp plain.cpp)
target_link_libraries(p PRIVATE shapes)
";

const CIRCLE: &str = "\
export module circle;
export import :square;
import shape;
export int area(int r);
export int around(int r) { return 2 * pi() * r; }
";

const SOURCES: [(&str, &str); 8] = [
    ("CMakeLists.txt", PROJECT),
    ("unit.h", "#define UNIT 1\n"),
    ("shape.cppm", "module;\n#include \"unit.h\"\nexport module shape;\nexport int pi() { return 3 * UNIT; }\n"),
    ("square.cppm", "export module circle:square;\nexport int square(int x) { return x * x; }\n"),
    ("circle.cppm", CIRCLE),
    ("area.cpp", "module circle;\nimport shape;\nint area(int r) { return pi() * square(r); }\n"),
    ("main.cpp", "import circle;\nint plain();\nint main() { return area(2) + around(1) + plain(); }\n"),
    ("plain.cpp", "#include \"unit.h\"\nint plain() { return UNIT; }\n"),
];

#[test]
fn modules_of_cxx_are_built_in_the_order_of_their_imports() {
    let test = "modules_of_cxx_are_built_in_the_order_of_their_imports";
    let Some(project) = Project::new(test) else { return };
    let said = project.build();
    project.is_as_ninja_makes_it();
    assert_eq!(project.result(), 19);
    // One that imports nothing is compiled as any other, and can be shared.
    let plain = said.out.lines().skip_while(|line| !line.contains("p.dir/plain.cpp.o (")).nth(1);
    assert!(plain.is_some_and(|line| !line.contains("bound to this path")), "{said}");

    let implementation = project.scene.read("src/area.cpp");
    project.scene.write("src/area.cpp", implementation + "// a comment\n");
    let changed =
        ["Building CXX object CMakeFiles/shapes.dir/area.cpp.o", "Scanning src/area.cpp for CXX dependencies"];
    let changed = changed.map(|edge| format!("{edge}: `src/area.cpp` changed"));
    let said = project.build();
    assert_eq!(said.ran(), changed, "{said}");

    // Those who import it are compiled, and come out as they were.
    let partition = project.scene.read("src/square.cppm");
    project.scene.write("src/square.cppm", partition + "// a comment\n");
    let said = project.build();
    assert_eq!(made(&said), set(&["area.cpp.o", "circle.cppm.o", "main.cpp.o", "square.cppm.o"]), "{said}");

    project.scene.write("src/circle.cppm", CIRCLE.replace("2 * pi", "1 + 2 * pi"));
    let said = project.build();
    assert_eq!(made(&said), set(&["area.cpp.o", "circle.cppm.o", "main.cpp.o", "libshapes.a", "p"]), "{said}");
    assert_eq!(project.result(), 20);

    // One module reads it, and all that import that one.
    project.scene.write("src/unit.h", "#define UNIT 2\n");
    let said = project.build();
    let units = ["area.cpp.o", "circle.cppm.o", "main.cpp.o", "plain.cpp.o", "shape.cppm.o", "libshapes.a", "p"];
    assert_eq!(made(&said), set(&units), "{said}");
    project.is_as_ninja_makes_it();
    assert_eq!(project.result(), 39);

    // Another import changes the order.
    let circle = CIRCLE.replace("import shape;\n", "").replace("pi()", "3");
    project.scene.write("src/circle.cppm", circle);
    let shape = "export module shape;\nimport circle;\nexport int pi() { return square(2); }\n";
    project.scene.write("src/shape.cppm", shape);
    let said = project.build();
    let at = |unit: &str| said.out.find(&format!("Building CXX object CMakeFiles/shapes.dir/{unit}.o"));
    assert!(at("circle.cppm") < at("shape.cppm"), "{said}");
    project.is_as_ninja_makes_it();
    assert_eq!(project.result(), 24);

    // One that nobody has is told by the compiler, as it tells ninja.
    let main = project.scene.read("src/main.cpp");
    project.scene.write("src/main.cpp", format!("import none;\n{main}"));
    let said = project.scene.fail();
    assert!(said.out.contains("module 'none' not found"), "{said}");
    project.scene.write("src/main.cpp", format!("import shape;\n{}", main.replace("plain() }", "plain() + pi() }")));
    let said = project.build();
    assert_eq!(made(&said), set(&["main.cpp.o", "p"]), "{said}");
}

/// A project of two modules, one of them with a partition, configured.
struct Project {
    scene: Scene,
}

impl Project {
    /// None, and `test` noted as not run, where something is missing.
    fn new(test: &str) -> Option<Self> {
        let scene = Scene::new(test, &["ninja", "clang++-16", "clang-scan-deps-16"])?;
        let Some(cmake) = cmake() else {
            not_run(test, "there is no CMake from 3.28 on");
            return None;
        };
        scene.write(".splitter-root", "");
        SOURCES.iter().for_each(|(name, text)| scene.write(&format!("src/{name}"), text));
        let mut configure = Command::new(cmake);
        configure.args([
            "-G",
            "Ninja",
            "-DCMAKE_CXX_COMPILER=clang++-16",
            "-DCMAKE_BUILD_TYPE=Release",
            "-S",
            "../src",
        ]);
        done(configure.current_dir(scene.at("build")));
        copy(&scene.at("build"), &scene.at("configured"));
        Some(Self { scene })
    }

    /// Builds; then there is nothing to do.
    fn build(&self) -> Said {
        let said = self.scene.build();
        assert!(self.scene.build().is_idle(), "{said}");
        said
    }

    /// Checks that what was built is what ninja makes of the same sources from nothing.
    fn is_as_ninja_makes_it(&self) {
        let (build, ours) = (self.scene.at("build"), self.scene.at("ours"));
        fs::rename(&build, &ours).unwrap();
        copy(&self.scene.at("configured"), &build);
        done(Command::new("ninja").arg("-j2").current_dir(&build));
        let theirs = Tree::of(&build);
        fs::remove_dir_all(&build).unwrap();
        fs::rename(&ours, &build).unwrap();
        assert_eq!(Tree::of(&build).differences(&theirs), BTreeSet::new());
    }

    /// What the program answers.
    fn result(&self) -> i32 {
        let status = Command::new(self.scene.at("build/p")).status().expect("it was built");
        status.code().expect("no signal ended it")
    }
}

/// What was compiled and linked, by the last part of its name.
fn made(said: &Said) -> BTreeSet<String> {
    let ran = said.ran();
    let names = ran.iter().filter_map(|line| line.split_once(": ")?.0.rsplit_once(' '));
    let names = names.filter(|(what, _)| what.starts_with("Building ") || what.starts_with("Linking "));
    names.filter_map(|(_, path)| path.rsplit('/').next()).map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A CMake that knows modules: the one that is named, the one of the tests' cache, or the host's.
fn cmake() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let cache = variable("SPLITTER_TEST_CACHE").or_else(|| Some(user()?.join("splitter-tests")));
    let cached = cache.map(|cache| cache.join("cmake/bin/cmake"));
    let candidates = [variable("SPLITTER_TEST_CMAKE"), cached, Some("cmake".into())];
    candidates.into_iter().flatten().find(|program| knows_modules(program))
}

fn knows_modules(cmake: &Path) -> bool {
    let Ok(said) = Command::new(cmake).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(3), Some(28))
}
