//! What a link or an archive reads: what the graph states and the words name, the libraries that `-l` finds in the
//! project's directories, the members of thin archives, and the libraries that shared libraries need in turn.

use super::absent::Lookups;
use super::{Found, Named, Question, is_system, parent, to_path};
use crate::graph::absolute;
use crate::toolchain::elf;
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;

pub(super) fn discover(question: &Question<'_>) -> Found {
    let mut found = Found::default();
    question.stated.iter().for_each(|path| found.file(path.as_bstr()));
    let mut search = Vec::new();
    let mut lookups = Lookups::default();
    for (argv, cwd) in question.recipe.runs() {
        let words = question.recipe.expanded(&argv, cwd.as_bstr());
        found.words(words.iter().map(|word| word.as_bstr()), cwd.as_bstr(), Named::Everything);
        search.extend(directories(&words, cwd.as_bstr()));
        found.libraries(&words, &search, &mut lookups);
    }
    found.needed(search, &question.recipe.outputs);
    lookups.into_found(&mut found);
    found.represented = represented(question.stated, &found.files);
    found
}

impl Found {
    /// Adds what `-lNAME` finds in the project's directories: the linker takes the first directory that has one, and in
    /// it a shared library before an archive. What is not there is noted.
    fn libraries(&mut self, words: &[BString], search: &[BString], lookups: &mut Lookups) {
        for name in words.iter().filter_map(|word| word.strip_prefix(b"-l")) {
            let files = match name.strip_prefix(b":") {
                Some(exact) => vec![BString::from(exact)],
                None => [".so", ".a"].map(|end| [b"lib", name, end.as_bytes()].concat().into()).to_vec(),
            };
            for directory in search {
                for file in &files {
                    lookups.look(directory, file.as_bstr());
                    self.existing(absolute(file.as_bstr(), directory.as_bstr()).as_bstr(), Named::Everything);
                }
            }
        }
    }

    /// Adds what the libraries among the files need of the project.
    fn needed(&mut self, mut search: Vec<BString>, outputs: &[BString]) {
        let mut seen = BTreeSet::new();
        loop {
            let new: Vec<BString> = self.files.difference(&seen).cloned().collect();
            if new.is_empty() {
                return;
            }
            for path in new {
                seen.insert(path.clone());
                if outputs.contains(&path) {
                    continue;
                }
                match head(path.as_bstr()) {
                    head if head.starts_with(b"!<thin>\n") => {
                        for member in fs::read(to_path(path.as_bstr())).iter().flat_map(|bytes| thin_members(bytes)) {
                            self.existing(
                                absolute(member.as_bstr(), parent(path.as_bstr())).as_bstr(),
                                Named::Everything,
                            );
                        }
                    }
                    head if head.starts_with(b"\x7fELF") && path.contains_str(".so") => {
                        search.push(parent(path.as_bstr()).into());
                        let Some(needs) = fs::read(to_path(path.as_bstr())).ok().and_then(|bytes| elf::needs(&bytes))
                        else {
                            continue;
                        };
                        let own = run_path(&needs, parent(path.as_bstr()));
                        for name in &needs.libraries {
                            let at = |directory: &BString| absolute(name.as_bstr(), directory.as_bstr());
                            let there = |path: &BString| fs::metadata(to_path(path.as_bstr())).is_ok();
                            if let Some(path) = search.iter().chain(&own).map(at).find(there) {
                                self.file(path.as_bstr());
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Where a library says that those lie which it needs (GNU ld 2.40, `-rpath-link`): `origin` is where it lies itself.
fn run_path(needs: &elf::Needs, origin: &BStr) -> Vec<BString> {
    let expanded = |path: &Vec<u8>| {
        let path = ["$ORIGIN", "${ORIGIN}"].iter().fold(path.clone(), |path, name| path.replace(name, origin));
        absolute(path.as_bstr(), origin)
    };
    let paths = if needs.runpath.is_empty() { &needs.rpath } else { &needs.runpath };
    paths.iter().map(expanded).filter(|path| !is_system(path.as_bstr())).collect()
}

/// The directories of the project where libraries are looked for: of `-L`, `-rpath` and `-rpath-link`.
fn directories(words: &[BString], cwd: &BStr) -> Vec<BString> {
    let mut found: Vec<BString> = Vec::new();
    let mut values = words.iter();
    while let Some(word) = values.next() {
        if let Some(value) = word.strip_prefix(b"-L") {
            let value = if value.is_empty() { values.next().map(|value| value.to_vec()) } else { Some(value.to_vec()) };
            found.extend(value.map(BString::from));
        } else if let Some(options) = word.strip_prefix(b"-Wl,") {
            let parts: Vec<&[u8]> = options.split(|b| b",=".contains(b)).collect();
            for pair in parts.windows(2) {
                if [&b"-rpath"[..], b"--rpath", b"-rpath-link", b"--rpath-link"].contains(&pair[0]) {
                    found.extend(pair[1].split(|b| *b == b':').filter(|path| !path.is_empty()).map(BString::from));
                }
            }
        }
    }
    let absolute = found.iter().filter(|path| !path.starts_with(b"$")).map(|path| absolute(path.as_bstr(), cwd));
    absolute.filter(|path| !is_system(path.as_bstr())).collect()
}

fn head(path: &BStr) -> [u8; 8] {
    let mut head = [0; 8];
    // What cannot be read is staged as it is; the command will say what is wrong.
    File::open(to_path(path)).and_then(|mut file| file.read_exact(&mut head)).ok();
    head
}

/// The members of a thin archive, relative to it. Its table of long names (`//`) has one a line, each ended by `/`.
/// Source: binutils 2.40, `ar` manual ("thin"), and the GNU variant of the System V format.
fn thin_members(bytes: &[u8]) -> Vec<BString> {
    let mut at = 8;
    while let Some(header) = bytes.get(at..at + 60) {
        let size = header[48..58].trim().to_str().ok().and_then(|size| size.parse::<usize>().ok()).unwrap_or(0);
        let name = header[..16].trim_end();
        if name == b"//" {
            let table = bytes.get(at + 60..at + 60 + size).unwrap_or_default();
            return table
                .split_str("/\n")
                .map(|name| name.trim_with(|c| c == '\n'))
                .filter(|name| !name.is_empty())
                .map(BString::from)
                .collect();
        }
        // Only the tables have content here; a member is its header alone.
        let has_content = name == b"/" || name == b"/SYM64/";
        at += 60 + if has_content { size + size % 2 } else { 0 };
    }
    Vec::new()
}

/// The shared libraries for which Meson states a list of symbols, `LIB.p/LIB.symbols`.
fn represented(stated: &[BString], files: &BTreeSet<BString>) -> BTreeSet<BString> {
    let library = |symbols: &BString| -> Option<BString> {
        let (directory, name) = symbols.rsplit_once_str("/")?;
        let name = name.strip_suffix(b".symbols")?;
        let before = directory.strip_suffix(b".p")?.strip_suffix(name)?;
        Some([before, name].concat().into())
    };
    let libraries = stated.iter().filter_map(library).filter(|library| files.contains(library));
    libraries.filter(|library| !stated.contains(library)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    #[test]
    fn libraries_are_looked_for_where_the_words_say() {
        let found = directories(
            &words("cc -Lsub -L /p/l -Wl,-rpath,/p/b:/usr/lib,-rpath-link,x -Wl,-rpath,$ORIGIN"),
            "/b".into(),
        );
        assert_eq!(found, ["/b/sub", "/p/l", "/p/b", "/b/x"]);
    }

    #[test]
    fn a_list_of_symbols_stands_for_its_library() {
        let stated = ["/b/l.so.1.p/l.so.1.symbols", "/b/k.a"].map(BString::from);
        let files = ["/b/l.so.1", "/b/k.a"].map(BString::from).into();
        assert_eq!(represented(&stated, &files), [BString::from("/b/l.so.1")].into());
    }

    #[test]
    fn the_members_of_a_thin_archive_are_read_from_its_table() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("a-directory-of-some-length")).unwrap();
        for name in ["a-directory-of-some-length/one.o", "two.o"] {
            fs::write(at(name), "no object").unwrap();
        }
        let ar = std::process::Command::new("ar")
            .args(["rcT", "thin.a", "a-directory-of-some-length/one.o", "two.o"])
            .current_dir(directory.path())
            .output();
        if !ar.is_ok_and(|output| output.status.success()) {
            return eprintln!("not run: there is no `ar`");
        }
        let members = thin_members(&fs::read(at("thin.a")).unwrap());
        assert_eq!(members, ["a-directory-of-some-length/one.o", "two.o"]);
    }
}
