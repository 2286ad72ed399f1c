//! A workspace of Rust built from nothing by Cargo: without anybody before rustc, by `ccwrap`, and by others that remember its
//! calls.

use super::Rival;
use crate::Samples;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Crates of the workspace, and as many that lie elsewhere, as those of a registry do.
const CRATES: usize = 8;

/// Who builds, and how.
struct Builder {
    name: String,
    /// What Cargo calls before rustc, if anything.
    wrapper: Option<PathBuf>,
    env: Vec<(String, PathBuf)>,
}

/// Builds it as the first of all that is built on this host, cold, again in the same checkout, and in another. Figures are shares of
/// what Cargo takes alone.
pub fn crates(place: &Path, rivals: &[Rival]) {
    if !Command::new("cargo").arg("--version").output().is_ok_and(|said| said.status.success()) {
        println!("not run: crates: there is no cargo");
        return;
    }
    let place = place.join("crates");
    let write = |generation| ["one", "two"].iter().for_each(|checkout| write_workspace(&place, checkout, generation));
    let plain = Builder { name: "cargo".into(), wrapper: None, env: Vec::new() };
    let others = rivals.iter().filter(|rival| !rival.name.starts_with("ccache"));
    println!("== {} crates from nothing by Cargo, -j2: of Cargo alone", 2 * CRATES + 1);
    write(0);
    let builders: Vec<Builder> = std::iter::once(plain).chain(others.map(|rival| builder(&place, rival))).collect();
    let first: Vec<f64> =
        builders.iter().map(|builder| Samples::default().time(|| build(&place, "one", builder))).collect();
    let mut cold: Vec<Samples> = builders.iter().map(|_| Samples::default()).collect();
    for generation in 1..4 {
        write(generation);
        for (builder, cold) in builders.iter().zip(&mut cold) {
            cold.time(|| build(&place, "one", builder));
        }
    }
    let alone = cold[0].median();
    println!("{:<34} {}", builders[0].name, cold[0].seconds());
    for ((builder, cold), first) in builders.iter().zip(&cold).zip(first).skip(1) {
        let mut figures = vec![format!("cold {:.2} (the first of all {:.2})", cold.median() / alone, first / alone)];
        for (what, checkout, turns) in [("again", "one", 3), ("another checkout", "two", 1)] {
            let mut samples = Samples::default();
            for _ in 0..turns {
                samples.time(|| build(&place, checkout, builder));
            }
            figures.push(format!("{what} {:.2}", samples.median() / alone));
        }
        println!("{:<34} {}", builder.name, figures.join(", "));
    }
}

/// Cargo takes one program, without words.
fn builder(place: &Path, rival: &Rival) -> Builder {
    let words: Vec<String> = rival.words.iter().map(|word| format!("'{}'", word.display())).collect();
    let wrapper = match rival.words.as_slice() {
        [program] => program.clone(),
        _ => {
            let script = place.join(rival.name.replace(' ', "-"));
            fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("a file");
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
            script
        }
    };
    Builder { name: rival.name.clone(), wrapper: Some(wrapper), env: rival.env.clone() }
}

fn build(place: &Path, checkout: &str, builder: &Builder) {
    let directory = place.join(checkout);
    fs::remove_dir_all(directory.join("target")).ok(); // there may be none
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if (text.starts_with("CARGO") && text != "CARGO_HOME") || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command.args(["build", "--offline", "-q", "-j2"]).current_dir(&directory).env("CARGO_INCREMENTAL", "0");
    command.envs(builder.wrapper.iter().map(|wrapper| ("RUSTC_WRAPPER", wrapper)));
    command.envs(builder.env.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("it starts").success(), "{}", builder.name);
}

/// Libraries that need one another, and a program; another generation has other texts.
fn write_workspace(place: &Path, checkout: &str, generation: usize) {
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("below it")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    let top = place.join(checkout);
    let write_crate = |at: &Path, name: &str, needs: &[(String, PathBuf)], root: &str, text: &str| {
        let needs: String =
            needs.iter().map(|(name, path)| format!("{name} = {{ path = \"{}\" }}\n", path.display())).collect();
        let head = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(at.join("Cargo.toml"), &format!("{head}[dependencies]\n{needs}"));
        write(at.join("src").join(root), text);
    };
    write(top.join(".splitter-root"), "");
    let mut members = String::new();
    for i in 0..CRATES {
        let far = (format!("far{i}"), place.join(format!("far/far{i}")));
        let before = i.checked_sub(1);
        let needs: Vec<_> =
            before.map(|i| (format!("far{i}"), place.join(format!("far/far{i}")))).into_iter().collect();
        write_crate(&far.1, &far.0, &needs, "lib.rs", &text(i, generation));
        let mut needs = vec![far];
        needs.extend(before.map(|i| (format!("near{i}"), top.join(format!("near{i}")))));
        write_crate(&top.join(format!("near{i}")), &format!("near{i}"), &needs, "lib.rs", &text(i, generation));
        members += &format!("\"near{i}\", ");
    }
    let last = CRATES - 1;
    let needs = [(format!("near{last}"), top.join(format!("near{last}")))];
    let main = format!("fn main() {{ println!(\"{{}}\", near{last}::all(&[1])); }}\n");
    write_crate(&top.join("app"), "app", &needs, "main.rs", &main);
    write(top.join("Cargo.toml"), &format!("[workspace]\nmembers = [{members}\"app\"]\nresolver = \"2\"\n"));
}

/// Something to compile.
fn text(i: usize, generation: usize) -> String {
    let mut text = format!("//! Generation {generation}.\nuse std::collections::BTreeMap;\n");
    for j in 0..8 {
        text += &format!(
            "#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub struct S{j} {{ a: u32, b: String, c: Vec<u8> }}\n\
             pub fn f{j}(v: &[u32]) -> BTreeMap<u32, S{j}> {{\n    v.iter().map(|a| (*a, S{j} {{ a: *a + {i}, b: format!(\"{{a}}\"), c: \
             vec![1; 3] }})).collect()\n}}\n"
        );
    }
    let sum: Vec<String> = (0..8).map(|j| format!("f{j}(v).len()")).collect();
    text + &format!("pub fn all(v: &[u32]) -> usize {{ {} }}\n", sum.join(" + "))
}
