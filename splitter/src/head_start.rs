//! A compile that is begun before it is known what it reads: only where all that the compiler looks at before it opens its source
//! is known from the words.

mod memory;

pub use memory::{recall, remember};

use crate::compiler::{Compile, takes_value};
use crate::discover::{is_of_host, to_path};
use crate::graph::absolute;
use crate::host_tools::SEARCH_PATH;
use crate::lower::{Inputs, Toolchain, manifest};
use crate::recipe::{Kind, Recipe};
use crate::roots::{Mode, Roots, View};
use crate::toolchain::{interpreter, resolve_program};
use bstr::{BStr, BString, ByteSlice as _};
use nixstore::manifest::HeadStart;
use nixstore::{StoreDir, text};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

/// That of a step with the tools that it probably needs.
pub fn of(store_dir: &StoreDir, recipe: &Recipe, roots: &Roots, mode: Mode, tools: &Toolchain) -> Option<HeadStart> {
    let mut runs = recipe.runs();
    let (words, cwd) = runs.next().filter(|_| recipe.kind == Kind::Compile && recipe.commands.len() == 1)?;
    let is_closed = recipe.response.is_none() && recipe.lists.is_empty() && recipe.native_driver().is_none();
    if !is_closed || !recipe.env.iter().all(|(name, value)| is_harmless(name, value)) {
        return None;
    }
    let source = absolute(source_of(&words)?.as_bstr(), cwd.as_bstr());
    if !fs::symlink_metadata(to_path(source.as_bstr())).ok()?.is_file() || !is_without_links(source.as_bstr()) {
        return None;
    }
    let view = match mode {
        Mode::Auto | Mode::Canonical if recipe.bound_in_mode(roots, mode).is_none() => View::Canonical,
        _ => View::Real,
    };
    let seen = |path: &BString| roots.seen_throughout(path.as_bstr(), view);
    let mut looked = BTreeSet::from([seen(&[source.as_slice(), b".gch"].concat().into())]);
    let mut inputs = Inputs::default();
    for directory in Compile::read(&words)?.search {
        let path = absolute(directory.as_bstr(), cwd.as_bstr());
        if tools.holds(path.as_bstr()) {
            continue;
        }
        // In the compiler's system root.
        if directory.starts_with(b"=") || directory.starts_with(b"$") {
            return None;
        }
        if below_parents(directory.as_bstr()).split_str("/").any(|name| name == b"..") {
            return None;
        }
        match fs::symlink_metadata(to_path(path.as_bstr())) {
            Ok(metadata) if metadata.is_dir() && is_without_links(path.as_bstr()) => {
                inputs.directories.insert(seen(&path));
            }
            Ok(_) => return None,
            Err(_) => {}
        }
        looked.insert(seen(&path));
    }
    let text = |path: &BString| text::from_bytes(path);
    Some(HeadStart {
        manifest: manifest(store_dir, &recipe.seen(roots, view), &inputs, tools),
        gate: text(&seen(&source)),
        looked: looked.iter().map(text).collect(),
    })
}

/// Whether a variable does not say where to look for something.
fn is_harmless(name: &BString, value: &BString) -> bool {
    const NAMES: [&str; 9] =
        ["HOME", "LANG", "LC_ALL", "TMPDIR", "SOURCE_DATE_EPOCH", "GCC_COLORS", "TERM", "TERM_URLS", "CCACHE_DISABLE"];
    NAMES.iter().any(|harmless| name == harmless) || name == "PATH" && value == SEARCH_PATH
}

/// A relative path without the `../` that it begins with: the working directory is where its path says.
fn below_parents(path: &BStr) -> &BStr {
    let mut rest = path.as_bytes();
    while let Some(below) = rest.strip_prefix(b"../") {
        rest = below;
    }
    if rest == b".." { b"".into() } else { rest.into() }
}

fn is_without_links(path: &BStr) -> bool {
    fs::canonicalize(to_path(path)).is_ok_and(|real| real.as_os_str().as_bytes() == path.as_bytes())
}

/// The source of a compile by GCC or Clang, where the words are such that the compiler opens that before all other files of the
/// project, as GCC 12 and Clang 16 were seen to do.
fn source_of(words: &[BString]) -> Option<&BString> {
    let program = words[0].as_bstr();
    let file = resolve_program(to_path(program).as_os_str(), SEARCH_PATH.as_ref()).filter(|_| is_of_host(program))?;
    if interpreter(&file).is_some() {
        return None; // a script may do anything first
    }
    let file = fs::canonicalize(file).ok()?;
    let is_gcc = file.file_name()?.as_bytes().contains_str("gcc") || file.file_name()?.as_bytes().contains_str("g++");
    let mut sources = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if !word.starts_with(b"-") {
            sources.push(word);
        } else if is_plain(word.as_bstr(), is_gcc) {
            if takes_value(word.as_bstr()) || TAKE_NAMES.iter().any(|option| word == option) {
                rest.next()?;
            }
        } else {
            return None;
        }
    }
    match sources.as_slice() {
        [source] => Some(source),
        _ => None,
    }
}

/// Options whose value names what is made.
const TAKE_NAMES: [&str; 4] = ["-o", "-MF", "-MT", "-MQ"];

/// Whether an option neither names a file that is read nor makes the compiler look for one before its source.
fn is_plain(word: &BStr, is_gcc: bool) -> bool {
    const WHOLE: [&str; 14] = [
        "-c",
        "-S",
        "-w",
        "-pipe",
        "-ansi",
        "-pedantic",
        "-pedantic-errors",
        "-pthread",
        "-MD",
        "-MMD",
        "-MP",
        "-x",
        "-nostdinc",
        "-nostdinc++",
    ];
    const BEGIN: [&str; 14] =
        ["-o", "-MF", "-MT", "-MQ", "-D", "-U", "-I", "-isystem", "-iquote", "-idirafter", "-O", "-std=", "-W", "-m"];
    // Clang looks for a precompiled header first.
    const OF_GCC: [&str; 2] = ["-include", "-imacros"];
    const NOT: [&str; 4] = ["-Wp,", "-Wa,", "-Wl,", "-mllvm"];
    let begins = |options: &[&str]| options.iter().any(|option| word.starts_with(option.as_bytes()));
    let is_debug = word.starts_with(b"-g") && !word.starts_with(b"-gen-");
    !begins(&NOT)
        && (WHOLE.iter().any(|option| word == *option)
            || begins(&BEGIN)
            || is_gcc && begins(&OF_GCC)
            || is_debug
            || word.strip_prefix(b"-f").is_some_and(|option| is_plain_of_code(option.as_bstr())))
}

/// The same of an option that begins with `-f`, without that.
fn is_plain_of_code(option: &BStr) -> bool {
    const NOT: [&str; 12] = [
        "profile",
        "auto-profile",
        "branch-probabilities",
        "plugin",
        "module",
        "cxx-modules",
        "implicit-module",
        "prebuilt",
        "compare-debug",
        "pch",
        "dump",
        "directives-only",
    ];
    const WITH_VALUE: [&str; 23] = [
        "abi-version",
        "cf-protection",
        "constexpr-depth",
        "debug-prefix-map",
        "diagnostics-color",
        "diagnostics-urls",
        "excess-precision",
        "file-prefix-map",
        "fp-contract",
        "lto",
        "macro-prefix-map",
        "max-errors",
        "message-length",
        "random-seed",
        "sanitize",
        "stack-reuse",
        "strict-flex-arrays",
        "template-depth",
        "tls-model",
        "trivial-auto-var-init",
        "visibility",
        "vect-cost-model",
        "zero-call-used-regs",
    ];
    match option.split_once_str("=") {
        Some((name, _)) => WITH_VALUE.iter().any(|known| name == known.as_bytes()),
        None => !NOT.iter().any(|begin| option.starts_with(begin.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    #[test]
    fn plain_words_lead_to_the_source() {
        for text in [
            "-O2 -g3 -std=gnu11 -Wall -Wno-error=x -DA=1 -D B -UC -Ia -I a -isystem s -iquote q -fPIC -fvisibility=hidden \
             -ffile-prefix-map=/a=. -fsanitize=address -march=x86-64-v3 -mtune=generic -pthread -MD -MT t -MF d -o o -c",
            "-x c -c",
        ] {
            let plain = |word: &BString| is_plain(word.as_bstr(), true);
            let mut all = words(text);
            all.retain(|word| word.starts_with(b"-"));
            assert_eq!(all.iter().filter(|word| !plain(word)).collect::<Vec<_>>(), Vec::<&BString>::new());
        }
    }

    #[test]
    fn what_may_be_read_before_the_source_is_not_plain() {
        for word in words(
            "@list -Wp,-MD,d -Wa,-Ia -B. -specs=s -fplugin=p.so -fprofile-use -fprofile-use=d -fauto-profile=f -fmodules \
             -fmodule-map-file=m --sysroot=r -isysroot -Xclang -include-pch -ivfsoverlay -fsanitize-ignorelist=f -mllvm \
             -save-temps --config=f -wrapper -fopt-info-vec=f -fdump-tree-all -",
        ) {
            assert!(!is_plain(word.as_bstr(), false), "{word}");
        }
        assert!(is_plain("-include".into(), true) && !is_plain("-include".into(), false));
    }

    #[test]
    fn only_parents_at_the_start_of_a_path_are_where_they_seem() {
        let below = |path: &'static str| below_parents(path.into()).to_string();
        assert_eq!(["../../a", "..", "a/../b", "/a"].map(below), ["a", "", "a/../b", "/a"]);
    }
}
