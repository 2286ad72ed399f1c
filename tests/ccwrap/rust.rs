//! Builds of Cargo with `ccwrap` before every call of rustc: what comes out is what Cargo makes without it and without incremental
//! compilation, and what was made once is not made again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::calls::{Calls, settle};
use tests::{lacks_sandbox, program};

/// Files below `target/debug`, and what Cargo printed.
type Built = (BTreeMap<String, Vec<u8>>, String);

/// How many calls were compiled, answered by the store, answered by an entry, and left to the compiler.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    misses: usize,
    store: usize,
    hits: usize,
    passed: Vec<String>,
}

fn misses(misses: usize, hits: usize) -> Counted {
    Counted { misses, store: 0, hits, passed: Vec::new() }
}

/// What every crate of the workspace comes to: a macro, a script, two libraries and a program.
const CRATES: usize = 5;

/// A workspace `one`, whose crates use what makes a compile depend on more than its sources.
struct Workspace {
    calls: Calls,
    checkout: String,
}

impl Workspace {
    fn new(test: &str) -> Option<Self> {
        let calls = Calls::of_rust(test)?;
        // Cargo itself has other names for what is not compiled incrementally.
        let script = "#!/bin/sh\nfor word do\nshift\ncase $word in incremental=*) word=embed-bitcode=no;; esac\n";
        calls.write_program("not-incremental", format!("{script}set -- \"$@\" \"$word\"\ndone\nexec \"$@\"\n"));
        let workspace = Self { calls, checkout: "one".into() };
        workspace.write_all("one");
        Some(workspace)
    }

    /// Writes the sources of a checkout.
    fn write_all(&self, checkout: &str) {
        let write = |name: &str, text: &str| self.calls.scene.write(&format!("{checkout}/{name}"), text);
        let manifest = |name: &str, more: &str| {
            let head = "[package]\nversion = \"1.2.3\"\nedition = \"2021\"\n";
            write(&format!("{name}/Cargo.toml"), &format!("{head}name = \"{name}\"\n{more}"));
        };
        write(".splitter-root", "");
        write("Cargo.toml", "[workspace]\nmembers = [\"words\", \"base\", \"middle\", \"app\"]\nresolver = \"2\"\n");
        manifest("words", "[lib]\nproc-macro = true\n");
        write("words/src/lib.rs", MACRO);
        manifest("base", "[features]\nextra = []\n");
        write("base/src/lib.rs", BASE);
        write("base/src/shape.rs", "pub fn sides() -> u32 { 4 }\n");
        write("base/src/greeting.txt", "hello");
        manifest("middle", "[dependencies]\nbase = { path = \"../base\" }\nwords = { path = \"../words\" }\n");
        write("middle/build.rs", SCRIPT);
        write("middle/src/lib.rs", MIDDLE);
        manifest("app", "[dependencies]\nmiddle = { path = \"../middle\" }\n");
        write("app/src/main.rs", APP);
    }

    fn write(&self, name: &str, text: &str) {
        self.calls.scene.write(&format!("{}/{name}", self.checkout), text);
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.calls.plain("cargo");
        for (name, _) in std::env::vars_os() {
            // What Cargo and the runner of tests say to this test.
            let name = name.to_string_lossy();
            let is_of_rustup = name == "CARGO_HOME" || name.starts_with("RUSTUP_");
            if ["CARGO", "RUST", "NEXTEST", "OUT_DIR"].iter().any(|start| name.starts_with(start)) && !is_of_rustup {
                command.env_remove(&*name);
            }
        }
        command.current_dir(self.calls.scene.at(&self.checkout));
        command.args(arguments).args(["--offline", "-j1", "--color=never"]);
        command
    }

    fn target(&self) -> std::path::PathBuf {
        self.calls.scene.at(&self.checkout).join("target")
    }

    /// What a command of Cargo makes where nothing is made yet.
    fn built(&self, command: &mut Command) -> Built {
        fs::remove_dir_all(self.target()).ok(); // there may be none
        let said = self.calls.scene.heard(&self.calls.output(command));
        assert_eq!(said.code, Some(0), "{said}");
        // Which crate comes first is up to Cargo.
        let is_progress = |line: &&str| {
            ["Blocking", "Checking", "Compiling", "Finished", "Locking"]
                .iter()
                .any(|word| line.trim_start().starts_with(word))
        };
        let lines: Vec<&str> = said.errors.lines().filter(|line| !is_progress(line)).collect();
        let mut files = BTreeMap::new();
        collect(&self.target().join("debug"), Path::new(""), &mut files);
        (files, lines.join("\n"))
    }

    /// The same with `ccwrap`.
    fn wrapped(&self, arguments: &[&str]) -> Command {
        let mut command = self.cargo(arguments);
        command.env("RUSTC_WRAPPER", program("ccwrap")).env("CCWRAP_DIR", self.calls.scene.at("ccwrap"));
        command.env("CCWRAP_STRICT", "1");
        command
    }

    /// Builds from nothing without `ccwrap` and with it; answers what of ours has counted the calls.
    fn both(&mut self, arguments: &[&str]) -> Counted {
        settle();
        let theirs = self.built(self.cargo(arguments).env("RUSTC_WRAPPER", self.calls.at("not-incremental")));
        let ours = self.built(&mut self.wrapped(arguments));
        let names = |built: &Built| built.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for (path, content) in &theirs.0 {
            assert!(ours.0[path] == *content, "`{path}` differs");
        }
        assert_eq!(ours.1, theirs.1);
        let counted = self.counted();
        let again = self.calls.scene.heard(&self.calls.output(&mut self.wrapped(arguments)));
        assert!(!again.errors.contains("Compiling") && !again.errors.contains("Checking"), "{again}");
        assert_eq!(self.counted(), misses(0, 0), "Cargo does not find it fresh");
        counted
    }

    fn counted(&mut self) -> Counted {
        let all = self.calls.newly_counted();
        let count = |name: &str| all.iter().filter(|counted| *counted == name).count();
        let known = ["cache_miss", "preprocessed_cache_hit", "direct_cache_hit"];
        // What Cargo asks the compiler before it compiles.
        let asked = ["no_input_file", "source_from_stdin"];
        let passed = all.iter().filter(|name| !known.contains(&name.as_str()) && !asked.contains(&name.as_str()));
        let [misses, store, hits] = known.map(count);
        Counted { misses, store, hits, passed: passed.cloned().collect() }
    }

    fn build(&mut self) -> Counted {
        self.both(&["build"])
    }
}

/// All files that are made for others: not what Cargo itself notes.
fn collect(top: &Path, below: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        let name = path.display().to_string();
        let is_note = [".fingerprint", "incremental", ".cargo-lock"].iter().any(|note| name.starts_with(note))
            || ["invoked.timestamp", "root-output", "output", "stderr"].iter().any(|note| path.ends_with(note));
        match entry.file_type() {
            _ if is_note => {}
            Ok(kind) if kind.is_dir() => collect(top, &path, files),
            _ => drop(files.insert(name, fs::read(entry.path()).unwrap_or_default())),
        }
    }
}

const MACRO: &str = r#"
extern crate proc_macro;
use proc_macro::TokenStream;

/// The name of the package that it is used in, and the text of a file there, if there is one.
#[proc_macro]
pub fn package(_: TokenStream) -> TokenStream {
    let name = std::env::var("CARGO_PKG_NAME").unwrap();
    let file = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("extra.txt");
    let text = std::fs::read_to_string(file).unwrap_or("none".into());
    format!("{:?}", format!("{name} {text}")).parse().unwrap()
}
"#;

const BASE: &str = r#"
mod shape;
pub const GREETING: &str = include_str!("greeting.txt");
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const FLAVOUR: Option<&str> = option_env!("SCENE_FLAVOUR");
pub fn sides() -> u32 { let unused = 1; shape::sides() }
"#;

const SCRIPT: &str = r#"
fn main() {
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    std::fs::write(out.join("made.rs"), "pub const MADE: u32 = 7;\n").unwrap();
    println!("cargo:rustc-env=BUILT_BY=script");
    println!("cargo:rerun-if-changed=build.rs");
}
"#;

const MIDDLE: &str = r#"
include!(concat!(env!("OUT_DIR"), "/made.rs"));
pub const BUILT_BY: &str = env!("BUILT_BY");
pub const PACKAGE: &str = words::package!();
pub fn all() -> String { format!("{} {} {MADE} {BUILT_BY} {PACKAGE}", base::GREETING, base::sides()) }
"#;

const APP: &str = r#"
fn main() { println!("{}", middle::all()); }
#[test]
fn it_is_said() { assert!(middle::all().contains("script")); }
"#;

#[test]
fn a_workspace_is_compiled_once() {
    let Some(mut workspace) = Workspace::new("a_workspace_is_compiled_once") else { return };
    assert_eq!(workspace.build(), misses(CRATES, 0));
    assert_eq!(workspace.build(), misses(0, CRATES));
    let said = Command::new(workspace.target().join("debug/app")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello 4 7 script middle none\n");
}

#[test]
fn each_kind_of_change_compiles_what_it_must() {
    let Some(mut workspace) = Workspace::new("each_kind_of_change_compiles_what_it_must") else { return };
    assert_eq!(workspace.build(), misses(CRATES, 0));
    // What depends on `base` is it, `middle` and `app`.
    workspace.write("base/src/shape.rs", "pub fn sides() -> u32 { 5 }\n");
    assert_eq!(workspace.build(), misses(3, 2), "a module");
    workspace.write("base/src/greeting.txt", "good day");
    assert_eq!(workspace.build(), misses(3, 2), "a file that is included as a text");
    workspace.calls.set("SCENE_FLAVOUR", "sweet");
    assert_eq!(workspace.build(), misses(3, 2), "a variable that is set");
    workspace.calls.set("SCENE_FLAVOUR", "sour");
    assert_eq!(workspace.build(), misses(3, 2), "a variable that changes");
    workspace.calls.set("SCENE_OTHER", "1");
    assert_eq!(workspace.build(), misses(0, CRATES), "a variable that nobody reads");
    workspace.write("middle/extra.txt", "there");
    assert_eq!(workspace.build(), misses(2, 3), "a file that a macro had looked for in vain");
    workspace.write("middle/extra.txt", "otherwise");
    assert_eq!(workspace.build(), misses(2, 3), "a file that a macro reads");
    workspace.write("words/src/lib.rs", &MACRO.replace("{name} {text}", "{name}: {text}"));
    assert_eq!(workspace.build(), misses(3, 2), "a macro");
    workspace.write("middle/build.rs", &SCRIPT.replace("u32 = 7", "u32 = 8"));
    // The text of the script is in the script alone.
    assert_eq!(workspace.build(), misses(3, 2), "what a script writes");
    workspace.write("middle/build.rs", &SCRIPT.replace("=script", "=another"));
    assert_eq!(workspace.build(), misses(3, 2), "what a script says");
    assert_eq!(workspace.both(&["build", "--features=base/extra", "-pbase"]), misses(1, 0), "a feature");
    workspace.write("base/src/shape/mod.rs", "pub fn sides() -> u32 { 6 }\n");
    let said = workspace.calls.scene.heard(&workspace.calls.output(&mut workspace.wrapped(&["build"])));
    assert!(said.code == Some(101) && said.errors.contains("E0761"), "a module that is there twice: {said}");
    fs::remove_file(workspace.calls.scene.at("one/base/src/shape.rs")).unwrap();
    workspace.counted();
    assert_eq!(workspace.build(), misses(3, 2), "a module in another file");
}

#[test]
fn other_commands_of_cargo_are_remembered_too() {
    let Some(mut workspace) = Workspace::new("other_commands_of_cargo_are_remembered_too") else { return };
    // The script and the macro are compiled for `check` as they are for `test`.
    for (arguments, new, all) in [
        (&["check"][..], CRATES + 1, CRATES + 1),
        (&["build", "--release"], CRATES + 1, CRATES + 1),
        (&["test", "--no-run"], CRATES + 1, CRATES + 3),
    ] {
        assert_eq!(workspace.both(arguments), misses(new, all - new), "{arguments:?}");
        assert_eq!(workspace.both(arguments), misses(0, all), "{arguments:?}");
    }
}

#[test]
fn another_checkout_shares_what_does_not_hold_its_path() {
    let test = "another_checkout_shares_what_does_not_hold_its_path";
    if lacks_sandbox(test) {
        return;
    }
    let Some(mut workspace) = Workspace::new(test) else { return };
    // As Cargo compiles a crate of a registry: where that lies, into the checkout.
    let scene = &workspace.calls.scene;
    scene.write("registry/far/Cargo.toml", "[package]\nname = \"far\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    scene.write("registry/far/src/lib.rs", "pub fn far() -> &'static str { file!() }\n");
    for checkout in ["one", "two"] {
        workspace.write_all(checkout);
        let manifest = "[package]\nname = \"base\"\nversion = \"1.2.3\"\nedition = \"2021\"\n[dependencies]\n";
        let scene = &workspace.calls.scene;
        let far = format!("{manifest}far = {{ path = \"{}\" }}\n", scene.at("registry/far").display());
        scene.write(&format!("{checkout}/base/Cargo.toml"), far);
        scene.write(
            &format!("{checkout}/base/src/lib.rs"),
            format!("{BASE}pub fn far() -> &'static str {{ far::far() }}\n"),
        );
    }
    assert_eq!(workspace.build(), misses(CRATES + 1, 0));
    workspace.checkout = "two".into();
    let shared = workspace.build();
    assert_eq!((shared.misses, shared.store, shared.hits), (CRATES, 1, 0));
    assert_eq!(workspace.build(), misses(0, CRATES + 1));
}

/// A call of rustc by its name, which may be a proxy of rustup.
const BY_HAND: &str = "rustc --crate-name a --crate-type lib --emit=dep-info,metadata,link a.rs";

#[test]
fn a_call_of_rustc_by_hand_is_remembered_and_a_question_is_not() {
    let test = "a_call_of_rustc_by_hand_is_remembered_and_a_question_is_not";
    let Some(mut calls) = Calls::of_rust(test) else { return };
    calls.write("a.rs", "mod b; pub fn a() { let unused = b::X; }\n");
    calls.write("b.rs", "pub const X: u32 = 1;\n");
    calls.miss_then_hit(BY_HAND);
    calls.write("b.rs", "pub const X: u32 = 2;\n");
    calls.miss_then_hit(BY_HAND);
    calls.passed("rustc -vV", "no_input_file");
    calls.passed("rustc --print sysroot", "no_input_file");
    calls.passed("rustc --print=cfg -", "source_from_stdin");
    calls.passed("rustc --crate-name a --crate-type lib a.rs", "unsupported_compiler_option");
    calls.passed("rustc --crate-name a --crate-type lib --emit=dep-info,link none.rs", "no_input_file");
    calls.write("a.rs", "mod b; mod none;\n");
    calls.passed(BY_HAND, "compile_failed");
}

#[test]
fn a_crate_that_is_found_by_its_name_is_the_one_that_lies_there() {
    let Some(mut calls) = Calls::of_rust("a_crate_that_is_found_by_its_name_is_the_one_that_lies_there") else {
        return;
    };
    let library = "rustc --crate-name b --crate-type lib --emit=dep-info,link --out-dir lib b.rs";
    let user = "rustc --crate-name a --crate-type lib --emit=dep-info,metadata -Llib a.rs";
    fs::create_dir(calls.at("lib")).unwrap();
    calls.write("b.rs", "pub const X: u32 = 1;\n");
    calls.write("a.rs", "extern crate b; pub const Y: u32 = b::X;\n");
    calls.passed(user, "compile_failed");
    calls.miss_then_hit(library);
    settle();
    calls.miss_then_hit(user);
    calls.write("b.rs", "pub const X: u32 = 2;\n");
    calls.miss_then_hit(library);
    settle();
    calls.miss_then_hit(user);
    fs::copy(calls.at("lib/libb.rlib"), calls.at("lib/libb-2.rlib")).unwrap();
    // One of both, as the compiler has it.
    assert_ne!(calls.both(user), ["direct_cache_hit"]);
    fs::remove_file(calls.at("lib/libb-2.rlib")).unwrap();
    fs::remove_file(calls.at("lib/libb.rlib")).unwrap();
    calls.passed(user, "compile_failed");
}

#[test]
fn a_library_that_is_linked_in_is_an_input() {
    let Some(mut calls) = Calls::of_rust("a_library_that_is_linked_in_is_an_input") else { return };
    calls.write("lib.c", "int of_c(void) { return 1; }\n");
    calls.write(
        "a.rs",
        "unsafe extern \"C\" { fn of_c() -> i32; }\nfn main() { println!(\"{}\", unsafe { of_c() }); }\n",
    );
    let archive = |calls: &Calls| {
        for words in [&["gcc", "-c", "lib.c"][..], &["ar", "rcsD", "libof_c.a", "lib.o"]] {
            assert!(calls.output(calls.plain(words[0]).args(&words[1..])).status.success());
        }
        settle();
    };
    let program =
        "rustc --crate-name a --crate-type bin --edition=2024 --emit=dep-info,link a.rs -L native=. -l static=of_c";
    archive(&calls);
    calls.miss_then_hit(program);
    calls.write("lib.c", "int of_c(void) { return 2; }\n");
    archive(&calls);
    calls.miss_then_hit(program);
}

#[test]
fn a_link_named_rustc_is_the_compiler_behind_it() {
    let Some(mut workspace) = Workspace::new("a_link_named_rustc_is_the_compiler_behind_it") else { return };
    let link = workspace.calls.at("links/rustc");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(program("ccwrap"), &link).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths([link.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let arguments = ["build", "-pbase"];
    for (by, value) in [("RUSTC", link.as_os_str()), ("RUSTC_WORKSPACE_WRAPPER", program("ccwrap").as_os_str())] {
        for is_known in [false, true] {
            let mut command = workspace.cargo(&arguments);
            command.env("PATH", path.as_ref().unwrap()).env("CCWRAP_DIR", workspace.calls.scene.at("ccwrap"));
            command.env("CCWRAP_STRICT", "1").env(by, value);
            workspace.built(&mut command);
            assert_eq!(workspace.counted(), misses(usize::from(!is_known), usize::from(is_known)), "{by}");
        }
    }
}

#[test]
fn a_crate_that_reads_what_a_sandbox_has_otherwise_goes_to_the_compiler() {
    let test = "a_crate_that_reads_what_a_sandbox_has_otherwise_goes_to_the_compiler";
    if lacks_sandbox(test) {
        return;
    }
    let Some(mut calls) = Calls::of_rust(test) else { return };
    // The name of the variable is seen by the compiler alone.
    calls.write(
        "a.rs",
        "macro_rules! of { ($n:ident) => { option_env!(stringify!($n)) } }\npub const T: Option<&str> = of!(LANG);\n",
    );
    calls.passed(BY_HAND, "unsupported_environment_variable");
    calls.set("LANG", "C");
    calls.miss_then_hit(BY_HAND);
    calls.set("LANG", "C.UTF-8");
    calls.store_hit(BY_HAND); // as it is in every sandbox
    calls.hit(BY_HAND);
}

#[test]
fn a_proxy_of_rustup_is_the_compiler_that_it_chooses() {
    let test = "a_proxy_of_rustup_is_the_compiler_that_it_chooses";
    let Some(mut calls) = Calls::of_rust(test) else { return };
    calls.unset("RUSTUP_TOOLCHAIN");
    let list = calls.plain("rustup").args(["toolchain", "list", "-q"]).output();
    let list = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let versions: BTreeMap<Vec<u8>, &str> = list
        .lines()
        .filter_map(|name| {
            let mut command = calls.plain("rustc");
            let said = command.arg(format!("+{name}")).arg("-vV").output().ok()?;
            said.status.success().then_some((said.stdout, name))
        })
        .collect();
    let [one, other] = versions.values().copied().take(2).collect::<Vec<_>>()[..] else {
        tests::not_run(test, "there are no two toolchains of rustup");
        return;
    };
    calls.write("a.rs", "pub fn a() {}\n");
    let choose = |calls: &Calls, name: &str| {
        calls.write("rust-toolchain.toml", format!("[toolchain]\nchannel = \"{name}\"\n"));
        settle();
    };
    choose(&calls, one);
    calls.miss_then_hit(BY_HAND);
    choose(&calls, other);
    calls.miss_then_hit(BY_HAND);
    choose(&calls, one);
    calls.store_hit(BY_HAND);
    calls.set("RUSTUP_TOOLCHAIN", other);
    assert_ne!(calls.both(BY_HAND), ["direct_cache_hit"]);
}
