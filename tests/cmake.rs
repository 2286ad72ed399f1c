//! Projects of CMake as its users have them, configured, built, tested, installed and packaged with our program as
//! `CMAKE_MAKE_PROGRAM`. Each is played twice in the same directory, with plain ninja and with ours: what lies there in the
//! end is the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use tests::checkout::{Entry, Tree, copy, done};
use tests::{Said, Scene, not_run, program};

/// A project in `src`, built in `build`, installed to `prefix`, by the program to which the link `ninja` leads at the time:
/// so CMake writes the same names into its files.
struct Project {
    scene: Scene,
    /// Ours is at work, and not plain ninja.
    ours: bool,
}

/// What a play leaves behind, by the part of the scene.
type Left = Vec<(String, Tree)>;

impl Project {
    /// None, and `test` noted as not run, where something is missing.
    fn new(test: &str, needs: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let scene = Scene::new(test, &[&["cmake", "ninja", "gcc"], needs].concat())?;
        let said = done(Command::new("cmake").arg("--version"));
        let version = said.split_whitespace().nth(2).unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        if (numbers.next(), numbers.next()) < (Some(3), Some(24)) {
            not_run(test, "there is no CMake from 3.24 on");
            return None;
        }
        scene.write(".splitter-root", "");
        files.iter().for_each(|(name, text)| scene.write(name, text));
        Some(Self { scene, ours: false })
    }

    /// Plays it with plain ninja, puts all back, plays it with ours, and checks that the same is left.
    fn play(&mut self, play: &dyn Fn(&Self)) {
        let parts = self.parts();
        let kept = tempfile::tempdir().unwrap();
        parts.iter().for_each(|part| copy(&self.scene.at(part), kept.path()));
        let theirs = self.play_with("ninja", play);
        done(Command::new("rm").arg("-rf").args(self.parts()).current_dir(self.scene.at("")));
        parts.iter().for_each(|part| copy(&kept.path().join(part), &self.scene.at("")));
        self.ours = true;
        let ours = self.play_with("ninja2drv", play);
        let names = |left: &Left| left.iter().map(|(part, _)| part.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for ((part, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            let differences: Vec<String> = ours.differences(theirs).into_iter().collect();
            assert!(differences.is_empty(), "below {part}: {}", ours.told(&differences, theirs));
        }
    }

    fn play_with(&self, name: &str, play: &dyn Fn(&Self)) -> Left {
        let link = self.scene.at("ninja");
        fs::remove_file(&link).ok(); // there is none the first time
        let path = if self.ours { program(name) } else { found(name) };
        symlink(path, link).unwrap();
        play(self);
        let parts = self.parts().into_iter().filter(|part| self.scene.at(part).is_dir());
        parts.map(|part| (part.clone(), settled(Tree::of(&self.scene.at(&part))))).collect()
    }

    /// All of the scene but what is ours.
    fn parts(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scene.at("")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("named by a test"));
        let ours = ["store", "history", "cache", "home", "ninja"];
        let mut names: Vec<String> = names.filter(|name| !ours.contains(&name.as_str())).collect();
        names.sort();
        names
    }

    /// Runs CMake in the build directory, which is to succeed.
    fn cmake(&self, words: &[&str]) -> Said {
        self.end(self.scene.command_of("cmake".as_ref()).args(words))
    }

    /// Configures it, with more words.
    fn configure(&self, words: &[&str]) -> Said {
        let (sources, build) = (self.scene.at("src"), self.scene.at("build"));
        let places = ["-S", sources.to_str().unwrap(), "-B", build.to_str().unwrap()];
        self.configure_by("Ninja", &[&places, words].concat())
    }

    fn configure_by(&self, generator: &str, words: &[&str]) -> Said {
        let mut cmake = self.scene.command_of("cmake".as_ref());
        cmake.args(["-G", generator, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_COMPILER=gcc"]);
        cmake.arg(format!("-DCMAKE_MAKE_PROGRAM={}", self.scene.at("ninja").display()));
        cmake.arg(format!("-DCMAKE_INSTALL_PREFIX={}", self.scene.at("prefix").display()));
        self.end(cmake.args(words))
    }

    /// Runs the ninja, which is to succeed.
    fn ninja(&self, words: &[&str]) -> Said {
        self.end(self.scene.command_of(&self.scene.at("ninja")).args(words))
    }

    /// Runs the ninja, which has nothing to do.
    fn is_idle(&self, words: &[&str]) {
        let said = self.ninja(words);
        assert!(said.out.ends_with("ninja: no work to do.\n"), "{said}");
    }

    fn end(&self, command: &mut Command) -> Said {
        let said = self.scene.said(command);
        assert_eq!(said.code, Some(0), "{command:?}: {said}");
        said
    }

    /// What a program of the scene answers.
    fn answer(&self, name: &str) -> i32 {
        let status = Command::new(self.scene.at(name)).status().unwrap_or_else(|e| panic!("`{name}`: {e}"));
        status.code().expect("no signal ended it")
    }
}

/// A program of the path.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file()).expect("it is there")
}

/// A tree without what is not the same twice: what is said of programs with names by chance, precompiled headers, and how
/// long tests took. Of archives, what is in them.
fn settled(mut tree: Tree) -> Tree {
    for (path, entry) in &mut tree.0 {
        let name = path.rsplit('/').next().expect("a name");
        let by_chance = ["CMakeOutput.log", "CMakeError.log", "CMakeConfigureLog.yaml"].contains(&name)
            || name.starts_with("CMakeDetermineCompilerABI_")
            || [".gch", "-out.log", "-err.log"].iter().any(|end| name.ends_with(end));
        match entry {
            Entry::File(_, content) if by_chance => content.clear(),
            Entry::File(_, content) if name.ends_with(".tar.gz") => *content = unpacked(content),
            _ => {}
        }
    }
    tree
}

/// The names and contents in an archive.
fn unpacked(archive: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    fs::write(&file, archive).unwrap();
    let tar = |words: &[&str]| done(Command::new("tar").args(words).arg(&file)).into_bytes();
    [tar(&["-tf"]), tar(&["-xOf"])].concat()
}

const CHECKS: &str = r#"
cmake_minimum_required(VERSION 3.20)
project(p C)
include(CheckCSourceCompiles)
include(CheckCSourceRuns)
include(CheckCCompilerFlag)
include(CheckIncludeFile)
include(CheckSymbolExists)
include(CheckTypeSize)
check_c_source_compiles("int main(void) { return __builtin_popcount(3); }" COMPILES)
check_c_source_compiles("int main(void) { return missing(3) + ; }" COMPILES_NOT)
check_c_source_runs("int main(void) { return 3; }" RUNS_NOT)
check_c_compiler_flag(-Wall HAS_FLAG)
check_c_compiler_flag(-fno-such-flag HAS_NO_FLAG)
check_include_file(stdint.h HAS_STDINT_H)
check_include_file(missing.h HAS_MISSING_H)
set(CMAKE_REQUIRED_INCLUDES ${CMAKE_CURRENT_SOURCE_DIR}/include)
check_include_file(own.h HAS_OWN_H)
check_symbol_exists(OWN own.h HAS_OWN)
check_type_size(long LONG)
try_run(STATUS COMPILED ${CMAKE_BINARY_DIR}/tried ${CMAKE_SOURCE_DIR}/run.c
  COMPILE_DEFINITIONS -DTEXT="a\ text" RUN_OUTPUT_VARIABLE SAID)
try_compile(WHOLE ${CMAKE_BINARY_DIR}/whole ${CMAKE_SOURCE_DIR}/whole whole)
try_compile(COPIED ${CMAKE_BINARY_DIR} SOURCES ${CMAKE_SOURCE_DIR}/run.c COPY_FILE ${CMAKE_BINARY_DIR}/copied)
try_compile(BROKEN ${CMAKE_BINARY_DIR} SOURCES ${CMAKE_SOURCE_DIR}/broken.c OUTPUT_VARIABLE OUT)
string(REGEX MATCH "error: unknown type name" TOLD "${OUT}")
configure_file(config.h.in config.h)
add_executable(p main.c)
target_include_directories(p PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
"#;

#[test]
fn what_cmake_tries_when_it_configures_comes_out_as_with_ninja() {
    let files = [
        ("src/CMakeLists.txt", CHECKS),
        ("src/include/own.h", "#define OWN 1\n"),
        ("src/config.h.in", "#define STATUS @STATUS@\n#define SAID \"@SAID@\"\n#define TOLD \"@TOLD@\"\n"),
        (
            "src/run.c",
            "#include <stdio.h>\n#ifndef TEXT\n#define TEXT \"\"\n#endif\nint main(void) { printf(TEXT); return 7; }\n",
        ),
        ("src/broken.c", "missing x;\n"),
        ("src/main.c", "#include \"config.h\"\nint main(void) { return STATUS + sizeof SAID + sizeof TOLD; }\n"),
        (
            "src/whole/CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.20)\nproject(whole C)\nadd_library(l STATIC l.c)\nadd_executable(whole w.c)\n\
             target_link_libraries(whole l)\n",
        ),
        ("src/whole/l.c", "int l(void) { return 0; }\n"),
        ("src/whole/w.c", "int l(void);\nint main(void) { return l(); }\n"),
    ];
    let test = "what_cmake_tries_when_it_configures_comes_out_as_with_ninja";
    let Some(mut project) = Project::new(test, &[], &files) else { return };
    project.play(&|project| {
        project.configure(&[]);
        let cache = project.scene.read("build/CMakeCache.txt");
        let is = |name: &str, value: &str| cache.lines().any(|line| line == format!("{name}:INTERNAL={value}"));
        for name in ["COMPILES", "HAS_FLAG", "HAS_STDINT_H", "HAS_OWN_H", "HAS_OWN"] {
            assert!(is(name, "1"), "{name}");
        }
        for name in ["COMPILES_NOT", "HAS_NO_FLAG", "HAS_MISSING_H"] {
            assert!(is(name, ""), "{name}");
        }
        assert!(project.scene.at("build/copied").exists() && !project.scene.at("build/.splitter").exists());
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 7 + 7 + 25);
        project.is_idle(&[]);
    });
}

const EXTERNAL: &str = r#"
cmake_minimum_required(VERSION 3.20)
cmake_policy(VERSION 3.24)
project(p C)
include(ExternalProject)
set(ARGS -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc -DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM})
ExternalProject_Add(beside
  SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/../beside
  CMAKE_ARGS ${ARGS} -DCMAKE_INSTALL_PREFIX=<INSTALL_DIR>
  BUILD_ALWAYS ON
  BUILD_BYPRODUCTS <BINARY_DIR>/libbeside.a)
ExternalProject_Add(packed
  URL file://${CMAKE_CURRENT_SOURCE_DIR}/../packed.tar
  CMAKE_ARGS ${ARGS} -DCMAKE_INSTALL_PREFIX=<INSTALL_DIR>
  LOG_CONFIGURE ON
  TEST_COMMAND ""
  BUILD_BYPRODUCTS <INSTALL_DIR>/lib/libpacked.a)
add_executable(p main.c)
add_dependencies(p beside packed)
ExternalProject_Get_Property(beside BINARY_DIR INSTALL_DIR)
target_include_directories(p PRIVATE ${INSTALL_DIR}/include)
target_link_libraries(p PRIVATE ${BINARY_DIR}/libbeside.a)
ExternalProject_Get_Property(packed INSTALL_DIR)
target_link_libraries(p PRIVATE ${INSTALL_DIR}/lib/libpacked.a)
"#;

/// The files of a library with a function of its name that answers `value`.
fn library(scene: &Scene, directory: &str, name: &str, value: u32) {
    let text = format!(
        "cmake_minimum_required(VERSION 3.20)\nproject({name} C)\nadd_library({name} STATIC {name}.c)\n\
         target_include_directories({name} PUBLIC .)\n\
         install(TARGETS {name} DESTINATION lib)\ninstall(FILES {name}.h DESTINATION include)\n"
    );
    scene.write(&format!("{directory}/CMakeLists.txt"), text);
    scene.write(&format!("{directory}/{name}.h"), format!("int {name}(void);\n"));
    let text = format!("#include \"{name}.h\"\nint {name}(void) {{ return {value}; }}\n");
    scene.write(&format!("{directory}/{name}.c"), text);
}

#[test]
fn external_projects_are_built_and_their_edits_reach_the_program() {
    let files = [
        ("src/CMakeLists.txt", EXTERNAL),
        ("src/main.c", "#include \"beside.h\"\nint packed(void);\nint main(void) { return beside() + packed(); }\n"),
    ];
    let test = "external_projects_are_built_and_their_edits_reach_the_program";
    let Some(mut project) = Project::new(test, &["tar"], &files) else { return };
    library(&project.scene, "beside", "beside", 3);
    library(&project.scene, "packed", "packed", 4);
    done(Command::new("tar").args(["-cf", "packed.tar", "packed"]).current_dir(project.scene.at("")));
    project.play(&|project| {
        project.configure(&[]);
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 7);

        // What is always built finds nothing to do, and the other is left alone.
        let said = project.ninja(&[]);
        for step in ["'packed'", "Building", "Linking"] {
            assert!(!said.out.contains(step), "{step}: {said}");
        }
        // What CMake installs has the time of a whole second, by which CMake and ninja go.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        library(&project.scene, "beside", "beside", 13);
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 17);
        project.ninja(&[]);

        // A step of its own may be asked for.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        library(&project.scene, "build/packed-prefix/src/packed", "packed", 24);
        fs::remove_file(project.scene.at("build/packed-prefix/src/packed-stamp/packed-build")).unwrap();
        project.ninja(&[]);
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 37);
    });
}

const FETCHED: &str = r#"
cmake_minimum_required(VERSION 3.20)
cmake_policy(VERSION 3.24)
project(p C)
include(FetchContent)
FetchContent_Declare(given URL http://nowhere.invalid/given.tar)
FetchContent_Declare(beside SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/../beside)
FetchContent_Declare(packed URL ${CMAKE_CURRENT_SOURCE_DIR}/../packed.tar)
FetchContent_MakeAvailable(given beside packed)
add_executable(p main.c)
target_link_libraries(p given beside packed)
"#;

#[test]
fn fetched_contents_are_part_of_the_project() {
    let main = "#include \"given.h\"\n#include \"beside.h\"\n#include \"packed.h\"\n\
                int main(void) { return given() + beside() + packed(); }\n";
    let files = [("src/CMakeLists.txt", FETCHED), ("src/main.c", main)];
    let Some(mut project) = Project::new("fetched_contents_are_part_of_the_project", &["tar"], &files) else { return };
    for (name, value) in [("given", 1), ("beside", 2), ("packed", 4)] {
        library(&project.scene, name, name, value);
    }
    done(Command::new("tar").args(["-cf", "packed.tar", "packed"]).current_dir(project.scene.at("")));
    project.play(&|project| {
        project.configure(&[&format!("-DFETCHCONTENT_SOURCE_DIR_GIVEN={}", project.scene.at("given").display())]);
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 7);
        project.is_idle(&[]);
        library(&project.scene, "beside", "beside", 12);
        project.ninja(&[]);
        assert_eq!(project.answer("build/p"), 17);
        project.configure(&[]);
        project.is_idle(&[]);
    });
}

const INSTALLED: &str = r#"
cmake_minimum_required(VERSION 3.20)
project(p VERSION 1.2 LANGUAGES C)
enable_testing()
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
add_library(f SHARED f.c)
set_target_properties(f PROPERTIES VERSION 1.2 SOVERSION 1 PUBLIC_HEADER f.h)
add_executable(p main.c)
target_link_libraries(p f)
install(TARGETS p RUNTIME DESTINATION bin COMPONENT tools)
install(TARGETS f EXPORT f LIBRARY DESTINATION lib COMPONENT run NAMELINK_COMPONENT dev
  PUBLIC_HEADER DESTINATION include COMPONENT dev)
install(EXPORT f DESTINATION lib/cmake COMPONENT dev)
install(FILES notes.txt DESTINATION share COMPONENT doc)
add_test(NAME good COMMAND p)
add_test(NAME bad COMMAND p bad)
set_tests_properties(bad PROPERTIES WILL_FAIL ON)
add_custom_target(check COMMAND ${CMAKE_COMMAND} --build . --target p COMMAND ${CMAKE_COMMAND} -E touch checked)
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_FILE_NAME p)
include(CPack)
"#;

#[test]
fn what_is_built_is_tested_installed_and_packaged() {
    let files = [
        ("src/CMakeLists.txt", INSTALLED),
        ("src/notes.txt", "notes\n"),
        ("src/f.h", "int f(void);\n"),
        ("src/f.c", "#include \"f.h\"\nint f(void) { return 0; }\n"),
        ("src/main.c", "#include \"f.h\"\nint main(int n, char **v) { return f() + n - 1 + !v; }\n"),
    ];
    let test = "what_is_built_is_tested_installed_and_packaged";
    let Some(mut project) = Project::new(test, &["tar", "ctest", "cpack"], &files) else { return };
    project.play(&|project| {
        project.configure(&[]);
        // All of them build first what they need.
        project.ninja(&["install"]);
        assert_eq!(project.answer("prefix/bin/p"), 0);
        fs::rename(project.scene.at("prefix"), project.scene.at("plain")).unwrap();
        project.ninja(&["install/strip"]);
        fs::rename(project.scene.at("prefix"), project.scene.at("stripped")).unwrap();
        let ninja = project.scene.at("ninja");
        project.end(project.scene.command_of(&ninja).env("DESTDIR", project.scene.at("destination")).arg("install"));
        for component in ["run", "dev", "tools", "doc"] {
            let prefix = project.scene.at(component);
            project.cmake(&["--install", ".", "--component", component, "--prefix", prefix.to_str().unwrap()]);
        }
        assert!(project.ninja(&["test"]).out.contains("100% tests passed, 0 tests failed out of 2"));
        project.ninja(&["package"]);
        assert!(project.scene.at("build/p.tar.gz").exists());
        project.ninja(&["check"]);
        project.is_idle(&[]);
    });
}

#[test]
fn a_changed_project_is_configured_again_by_the_next_run() {
    let text = "cmake_minimum_required(VERSION 3.20)\nproject(p C)\n\
                file(GLOB PARTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/parts/*.c)\nadd_executable(p main.c ${PARTS})\n";
    let main = "#ifndef ANSWER\n#define ANSWER 0\n#endif\n__attribute__((weak)) int extra(void) { return 0; }\n\
                int main(void) { return ANSWER + extra(); }\n";
    let files = [("src/CMakeLists.txt", text), ("src/main.c", main), ("src/parts/one.c", "int one;\n")];
    let test = "a_changed_project_is_configured_again_by_the_next_run";
    let Some(mut project) = Project::new(test, &[], &files) else { return };
    project.play(&|project| {
        let scene = &project.scene;
        let again = |answer: i32, configures: bool| {
            let said = project.ninja(&[]);
            assert_eq!(said.out.contains("Re-running CMake"), configures, "{said}");
            assert_eq!(project.answer("build/p"), answer, "{said}");
            let said = project.ninja(&[]);
            assert!(!said.out.contains("CMake") && said.out.ends_with("ninja: no work to do.\n"), "{said}");
        };
        project.configure(&[]);
        again(0, false);
        scene.write("src/parts/extra.c", "int extra(void) { return 9; }\n");
        again(9, true);
        scene.write("src/parts/extra.c", "int extra(void) { return 8; }\n");
        again(8, false);
        fs::remove_file(scene.at("src/parts/extra.c")).unwrap();
        again(0, true);
        scene.write("src/other.c", "int extra(void) { return 3; }\n");
        let more = "target_sources(p PRIVATE other.c)\ntarget_compile_definitions(p PRIVATE ANSWER=5)\n";
        scene.write("src/CMakeLists.txt", format!("{text}{more}"));
        again(8, true);
        scene.write("src/CMakeLists.txt", format!("{text}{more}# a comment\n"));
        again(8, true);

        let said = project.cmake(&["--build", ".", "--target", "clean"]);
        assert!(said.out.contains("Cleaning... 4 files.") && !scene.at("build/p").exists(), "{said}");
        again(8, false);
        project.cmake(&["--build", ".", "--clean-first"]);
        again(8, false);
        project.ninja(&["rebuild_cache"]);
        again(8, false);
        let said = project.ninja(&["help"]);
        assert!(said.out.contains("build.ninja: RERUN_CMAKE\nclean: CLEAN\n"), "{said}");
        project.cmake(&["-DCMAKE_BUILD_TYPE=Debug", "."]);
        again(8, false);
    });
}

/// A library with a precompiled header, a program of one unit, and a header that a script makes.
const VARIED: &str = r#"
cmake_minimum_required(VERSION 3.20)
project(p C CXX)
add_library(parts OBJECT one.c two.c)
target_precompile_headers(parts PRIVATE pch.h)
add_custom_command(OUTPUT "a file.h"
  COMMAND ${CMAKE_COMMAND} "-DIN=${CMAKE_CURRENT_SOURCE_DIR}/in put.txt" "-DOUT=a file.h"
    -P ${CMAKE_CURRENT_SOURCE_DIR}/make.cmake
  DEPFILE "a file.d" BYPRODUCTS "by product.txt" DEPENDS make.cmake VERBATIM
  COMMENT "Making \"a file.h\", it's 100% done; $HOME `x`")
add_executable(p main.cpp first.cpp second.cpp "a file.h" $<TARGET_OBJECTS:parts>)
set_target_properties(p PROPERTIES UNITY_BUILD ON)
target_precompile_headers(p PRIVATE <vector> pch.h)
target_compile_definitions(p PRIVATE "NAME=\"$<CONFIG>\"" $<$<CONFIG:Debug>:DEBUGGED=1>)
target_include_directories(p PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
add_custom_command(TARGET p POST_BUILD COMMENT "Copying 'p'" VERBATIM
  COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:p> "$<TARGET_FILE_DIR:p>/the copy")
add_custom_target(report ALL COMMAND ${CMAKE_COMMAND} -E echo "a   b" "\"c\"" > "report $<CONFIG>.txt"
  BYPRODUCTS "report $<CONFIG>.txt" COMMENT "Reporting   twice" VERBATIM)
"#;

const MAKE: &str = r##"
file(READ ${IN} TEXT)
file(WRITE ${OUT} "#define TEXT ${TEXT}\n")
file(WRITE "by product.txt" "by")
string(REPLACE " " "\\ " IN ${IN})
string(REPLACE " " "\\ " OUT ${OUT})
file(WRITE "a file.d" "${OUT}: ${IN}\n")
"##;

const VARIED_MAIN: &str = "#include \"a file.h\"\nextern \"C\" int one();\nextern \"C\" int two();\nint first();\nint second();\n\
                           #ifndef DEBUGGED\n#define DEBUGGED 0\n#endif\n\
                           int main() { return one() + two() + first() + second() + TEXT + sizeof NAME + DEBUGGED; }\n";

#[test]
fn configurations_units_precompiled_headers_and_paths_with_spaces_are_built() {
    let test = "configurations_units_precompiled_headers_and_paths_with_spaces_are_built";
    let files = [
        ("the sources/CMakeLists.txt", VARIED),
        ("the sources/make.cmake", MAKE),
        ("the sources/in put.txt", "7"),
        ("the sources/pch.h", "#define PCH 1\n"),
        ("the sources/one.c", "int one(void) { return PCH; }\n"),
        ("the sources/two.c", "int two(void) { return PCH; }\n"),
        ("the sources/first.cpp", "int first() { return std::vector<int>(2).size(); }\n"),
        ("the sources/second.cpp", "int second() { return PCH; }\n"),
        ("the sources/main.cpp", VARIED_MAIN),
    ];
    let Some(mut project) = Project::new(test, &["g++"], &files) else { return };
    project.play(&|project| {
        let (sources, build) = (project.scene.at("the sources"), project.scene.at("the build"));
        let (sources, build) = (sources.to_str().unwrap(), build.to_str().unwrap());
        let words = ["-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-S", sources, "-B", build];
        project.configure_by("Ninja Multi-Config", &words);
        let ninja = |words: &[&str]| project.ninja(&[&["-C", build], words].concat());
        let said = ninja(&[]);
        assert!(said.out.contains("Making \"a file.h\", it's 100% done; $HOME `x`"), "{said}");
        let at = |configuration: &str| project.answer(&format!("the build/{configuration}/p"));
        assert_eq!(at("Debug"), 1 + 1 + 2 + 1 + 7 + 6 + 1);
        project.cmake(&["--build", build, "--config", "Release"]);
        assert_eq!(at("Release"), 1 + 1 + 2 + 1 + 7 + 8);
        ninja(&["-f", "build-RelWithDebInfo.ninja", "p"]);
        assert_eq!(at("RelWithDebInfo"), 1 + 1 + 2 + 1 + 7 + 15);

        // By ninja a target without a file is run each time.
        if project.ours {
            for file in ["build.ninja", "build-Release.ninja"] {
                project.is_idle(&["-C", build, "-f", file]);
            }
        }
        project.scene.write("the sources/in put.txt", "9");
        ninja(&["-f", "build-Release.ninja"]);
        ninja(&[]);
        assert_eq!((at("Debug"), at("Release")), (21, 22));
    });
}
