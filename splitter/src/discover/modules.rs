//! The modules that lie beside a script of Python. Python finds a module by listing directories, so that nobody sees it look
//! for one that is not there; where a script is none of the project's, these are added before it is run.

use super::wide::is_ignored;
use super::{Found, is_system, parent, to_path};
use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// No script is longer (bytes).
const SCRIPT: u64 = 256 * 1024;

impl Found {
    /// Adds the modules beside `script` that it imports, packages with all that is in them; nothing for what is no script of
    /// Python.
    pub(crate) fn modules(&mut self, script: &BStr) {
        let is_short =
            |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < SCRIPT);
        if is_system(script) || !is_short(to_path(script)) {
            return;
        }
        let text = fs::read(to_path(script)).unwrap_or_default(); // what cannot be read imports nothing
        if !is_python(script, &text) {
            return;
        }
        for name in imported(&text) {
            let module = absolute(name.as_bstr(), parent(script));
            if to_path(module.as_bstr()).is_dir() {
                self.package(to_path(module.as_bstr()));
            }
            let file = BString::from([module.as_slice(), b".py"].concat());
            if is_short(to_path(file.as_bstr())) && !self.files.contains(&file) {
                self.file(file.as_bstr());
                self.modules(file.as_bstr());
            }
        }
    }

    fn package(&mut self, directory: &Path) {
        self.directory(directory.as_os_str().as_bytes().as_bstr());
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                _ if is_ignored(entry.file_name().as_bytes().as_bstr()) => {}
                Ok(kind) if kind.is_dir() => self.package(&entry.path()),
                _ => self.file(entry.path().as_os_str().as_bytes().as_bstr()),
            }
        }
    }
}

fn is_python(script: &BStr, text: &[u8]) -> bool {
    let first = text.lines().next().unwrap_or_default();
    script.ends_with(b".py") || first.starts_with(b"#!") && first.contains_str("python")
}

/// The first parts of the names of the modules that a script imports: `a` of `import a.b as c` and of `from a.b import c`.
fn imported(text: &[u8]) -> BTreeSet<BString> {
    let mut names = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start()) {
        let modules = match (line.strip_prefix(b"import "), line.strip_prefix(b"from ")) {
            (Some(modules), _) => modules,
            (None, Some(rest)) => rest.fields().next().unwrap_or_default(),
            (None, None) => continue,
        };
        for module in modules.split_str(",") {
            let module = module.fields().next().unwrap_or_default();
            let name = module.split_str(".").next().unwrap_or_default();
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
            if !name.is_empty() && name.iter().all(is_name) {
                names.insert(name.into());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_names_a_module_by_its_first_part() {
        let text = b"import os, a.b as c\n  from d.e import f\nfrom .g import h\nimported = 1\nimport\n# import i\n";
        assert_eq!(imported(text), ["a", "d", "os"].map(BString::from).into());
    }

    #[test]
    fn a_script_is_seen_with_the_modules_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["pack/deep", "other"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("script"), "#!/usr/bin/env python3\nimport sys, beside\nfrom pack import x\n").unwrap();
        fs::write(at("beside.py"), "import third").unwrap();
        for name in ["third.py", "pack/__init__.py", "pack/deep/data", "other/x.py", "other.py"] {
            fs::write(at(name), "").unwrap();
        }
        let mut found = Found::default();
        found.modules(at("script").as_os_str().as_bytes().as_bstr());
        let names: Vec<_> =
            found.files.iter().map(|path| to_path(path.as_bstr()).strip_prefix(directory.path()).unwrap()).collect();
        assert_eq!(names, ["beside.py", "pack/__init__.py", "pack/deep/data", "third.py"].map(Path::new));
    }
}
