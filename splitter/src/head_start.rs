//! A compile that is begun before it is known what it reads: only where all that the compiler looks at before it opens its source
//! is known from the words.

mod memory;

pub use memory::{recall, remember};

use crate::compiler::{Compile, plain};
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
    match plain::sources(words, is_gcc)?.as_slice() {
        [source] => Some(source),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parents_at_the_start_of_a_path_are_where_they_seem() {
        let below = |path: &'static str| below_parents(path.into()).to_string();
        assert_eq!(["../../a", "..", "a/../b", "/a"].map(below), ["a", "", "a/../b", "/a"]);
    }
}
