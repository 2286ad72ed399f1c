//! Directories that a compiler names by a path that leads through a link and out of it again, as Clang does below another root: the
//! text of the path does not tell where they are.

use super::{is_system, to_path};
use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Where directories are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// Each, by a path that says it by its text if its own does not.
    pub directories: Vec<BString>,
    /// What the paths of the others lead through, where that is not the host's: links, and the files by which Clang knows an
    /// installation of GCC (16, `GCCInstallationDetector`).
    pub files: BTreeSet<BString>,
}

/// Finds them, from `cwd`.
pub fn follow(directories: &[BString], cwd: &BStr) -> Led {
    let mut led = Led::default();
    for path in directories {
        let Some(real) = place(path.as_bstr(), cwd) else {
            led.directories.push(path.clone());
            continue;
        };
        led.directories.push(real);
        let whole = whole(path.as_bstr(), cwd);
        let inner = whole.split_once_str("/..").map_or(whole.as_bytes(), |(inner, _)| inner).as_bstr();
        led.files.extend(links_on(inner));
        let known_by = BString::from([inner.as_bytes(), b"/crtbegin.o"].concat());
        led.files.extend(self::real(known_by.as_bstr()));
    }
    led.files.retain(|path| !is_system(path.as_bstr()));
    led
}

/// Where a path leads, if its text does not say that.
pub fn place(path: &BStr, cwd: &BStr) -> Option<BString> {
    let real = path.contains_str("/..").then(|| real(whole(path, cwd).as_bstr())).flatten()?;
    (self::real(absolute(path, cwd).as_bstr()).as_ref() != Some(&real)).then_some(real)
}

/// Where a path leads by its text, or what is missing on its way.
pub fn reached(path: &BStr, cwd: &BStr) -> BString {
    absolute(missing(whole(path, cwd).as_bstr()).unwrap_or(path), cwd)
}

/// The first directory that is not there of those that a path leads through and out of again: the kernel goes no further.
pub fn missing(path: &BStr) -> Option<&BStr> {
    path.find_iter("/..").map(|end| path[..end].as_bstr()).find(|through| !to_path(through).is_dir())
}

/// From the root.
fn whole(path: &BStr, cwd: &BStr) -> BString {
    if path.starts_with(b"/") { path.into() } else { [cwd.as_bytes(), b"/", path.as_bytes()].concat().into() }
}

fn real(path: &BStr) -> Option<BString> {
    fs::canonicalize(to_path(path)).ok().map(|real| real.as_os_str().as_bytes().into())
}

/// The links among the directories on the way to a path, as they are without the links before them.
fn links_on(path: &BStr) -> impl Iterator<Item = BString> {
    let is_link = |place: &&Path| place.is_symlink();
    to_path(path).ancestors().filter(is_link).filter_map(|place| {
        let directory = real(place.parent()?.as_os_str().as_bytes().as_bstr())?;
        Some(absolute(place.file_name()?.as_bytes().as_bstr(), directory.as_bstr()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_reaches_no_further_than_a_directory_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("in/deep")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let cwd = BString::from(root.path().as_os_str().as_bytes());
        for (path, place) in [
            ("in/../other", "other"),
            ("none/../in", "none"),
            ("in/none/../deep", "in/none"),
            ("file/../in", "file"),
            ("in/deep/../../none/../in", "none"),
            ("in/../none", "none"),
        ] {
            assert_eq!(reached(path.into(), cwd.as_bstr()), absolute(place.into(), cwd.as_bstr()), "{path}");
        }
    }

    #[test]
    fn a_directory_behind_a_link_is_where_the_kernel_finds_it() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| BString::from(root.path().join(name).as_os_str().as_bytes());
        for directory in ["usr/lib/gcc/t/16", "usr/include/c++/16", "usr/include"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("usr/lib/gcc/t/16/crtbegin.o"), "").unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        let search = ["lib/gcc/t/16/../../../../include/c++/16", "usr/lib/gcc/t/16/../../../../include", "usr/include"];
        let led = follow(&search.map(at), b"/".as_bstr());
        assert_eq!(led.directories, [at("usr/include/c++/16"), at(search[1]), at(search[2])]);
        assert_eq!(led.files, [at("lib"), at("usr/lib/gcc/t/16/crtbegin.o")].into());
        assert_eq!(
            follow(&[search[0].into()], at("").trim_end_with(|c| c == '/').as_bstr()),
            Led { directories: vec![at("usr/include/c++/16")], ..led }
        );
    }
}
