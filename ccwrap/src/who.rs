//! Who is meant by a call: ourselves, or which compiler.

use bstr::{BString, ByteSlice as _};
use ccwrap_format::call::is_setting;
use ccwrap_format::{ALONE, FULL, OWN_NAMES, SMALL};
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Who is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Who {
    /// We, with these arguments.
    Ourselves(Vec<OsString>),
    /// A compiler, which may not be there.
    Compiler {
        /// Settings for this call, each `KEY=VALUE`.
        settings: Vec<OsString>,
        /// Its file, if there is one.
        file: Option<PathBuf>,
        /// Where else it was looked for, in vain: programs there would come before it.
        absent: Vec<PathBuf>,
        /// The command: the compiler as it was named, and its arguments.
        words: Vec<BString>,
    },
}

/// Reads a command line. A program that is ourselves is none: `ccwrap ccwrap cc`, and a link `cc` to us on `PATH`, are the
/// `cc` behind that.
pub fn is_meant(arguments: impl Iterator<Item = OsString>, path: &OsStr, own: &Own) -> Who {
    let mut arguments = arguments.peekable();
    let called = arguments.next().unwrap_or_default();
    let is_own_name = |word: &OsStr| OWN_NAMES.iter().any(|name| Path::new(word).file_name() == Some(name.as_ref()));
    let mut settings = Vec::new();
    let named = if is_own_name(&called) {
        settings.extend(std::iter::from_fn(|| arguments.next_if(|word| is_setting(word.as_bytes()))));
        let is_own = |word: &OsString| {
            is_own_name(word) && find(word, path, &Own::none(), &mut Vec::new()).is_some_and(|file| own.is(&file))
        };
        while arguments.next_if(is_own).is_some() {}
        match arguments.peek() {
            Some(word) if !word.as_bytes().starts_with(b"-") => arguments.next().expect("it was seen"),
            _ => return Who::Ourselves(arguments.collect()),
        }
    } else {
        Path::new(&called).file_name().unwrap_or(&called).to_owned()
    };
    // `/usr/lib/ccwrap/cc`, which is ourselves, means the next `cc`.
    let named = match Path::new(&named).file_name() {
        Some(base) if own.is(Path::new(&named)) => base.to_owned(),
        _ => named,
    };
    let mut absent = Vec::new();
    let file = find(&named, path, own, &mut absent);
    let words = std::iter::once(named).chain(arguments).map(|word| BString::from(word.as_bytes())).collect();
    Who::Compiler { settings, file, absent, words }
}

/// The programs that are ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own(Vec<PathBuf>);

impl Own {
    /// The program that runs, which is the full one, and the small one beside it.
    pub fn this() -> Self {
        let here = fs::read_link("/proc/self/exe").unwrap_or_default();
        Self([SMALL, FULL].map(|name| here.with_file_name(name)).into())
    }

    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether a file is one of them.
    pub fn is(&self, file: &Path) -> bool {
        fs::metadata(file).is_ok_and(|metadata| self.is_of(file, &metadata))
    }

    /// Whether a file is one of them: by a link, by another name, or as a copy, of another version too.
    fn is_of(&self, file: &Path, metadata: &fs::Metadata) -> bool {
        let is_same_as = |own: &PathBuf| {
            let is_same = |other: fs::Metadata| {
                (other.dev(), other.ino()) == (metadata.dev(), metadata.ino())
                    || other.len() == metadata.len() && holds_the_same(own, file)
            };
            fs::metadata(own).is_ok_and(is_same)
        };
        self.0.iter().any(is_same_as) || !self.0.is_empty() && is_small(file, metadata)
    }
}

/// Whether a file is the small program of any version. That one has no interpreter, as nearly all others do, which are not read.
fn is_small(file: &Path, metadata: &fs::Metadata) -> bool {
    const LARGEST: u64 = 1 << 24;
    let head = || {
        let mut head = Vec::new();
        fs::File::open(file)?.take(1024).read_to_end(&mut head).map(|_| head)
    };
    metadata.len() <= LARGEST
        && head().is_ok_and(|head| has_no_interpreter(&head))
        && fs::read(file).is_ok_and(|text| text.contains_str(ALONE))
}

/// Whether a file that begins so is a program of 64 bits without an interpreter: by the types of its segments (elf(5)).
fn has_no_interpreter(head: &[u8]) -> bool {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    let number = |at: usize| head.get(at..at + 2).map_or(0, |bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8);
    let (start, size, segments) = (number(32), number(54), number(56));
    let mut types = (0..segments).map(|i| head.get(start + i * size..).and_then(|segment| segment.get(..4)));
    head.starts_with(b"\x7fELF\x02\x01") && types.all(|kind| kind.is_some_and(|kind| kind != INTERPRETER))
}

fn holds_the_same(a: &Path, b: &Path) -> bool {
    matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b)
}

/// The file that a program's name or path means, as execvp(3) finds it, other than ourselves; in `absent`, where else it was looked
/// for in vain.
pub fn find(program: &OsStr, path: &OsStr, own: &Own, absent: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let mut is_program = |file: &PathBuf| match fs::metadata(file) {
        Ok(metadata) => metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 && !own.is_of(file, &metadata),
        Err(_) => {
            absent.push(file.clone());
            false
        }
    };
    if program.as_bytes().contains(&b'/') {
        return std::path::absolute(program).ok().filter(is_program);
    }
    let files = env::split_paths(path).filter_map(|directory| std::path::absolute(directory.join(program)).ok());
    files.into_iter().find(|file| is_program(file) && !is_other_cache(file))
}

/// Whether a program that is found by a compiler's name is another cache, which would look for the compiler as we do, and find us.
fn is_other_cache(file: &Path) -> bool {
    let real = fs::canonicalize(file).unwrap_or_default();
    ["ccache", "sccache"].iter().any(|name| real.file_name() == Some(OsStr::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        directory: tempfile::TempDir,
    }

    impl Host {
        /// `bin/ours/cc` and `bin/ours/ccwrap` are us; `bin/theirs/cc` is a compiler.
        fn new() -> Self {
            let host = Self { directory: tempfile::tempdir().unwrap() };
            for directory in ["ours", "theirs"] {
                fs::create_dir(host.at(directory)).unwrap();
            }
            for (program, text) in [("ours/ccwrap", "small"), ("ours/ccwrap-full", "full"), ("theirs/cc", "")] {
                fs::write(host.at(program), text).unwrap();
                fs::set_permissions(host.at(program), fs::Permissions::from_mode(0o755)).unwrap();
            }
            for link in ["ours/cc", "theirs/ccache"] {
                std::os::unix::fs::symlink(host.at("ours/ccwrap"), host.at(link)).unwrap();
            }
            host
        }

        fn at(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn means(&self, words: &[&str]) -> Who {
            let path = env::join_paths([self.at("ours"), self.at("theirs")]).unwrap();
            let own = Own(["ours/ccwrap", "ours/ccwrap-full"].map(|program| self.at(program)).into());
            match is_meant(words.iter().map(OsString::from), &path, &own) {
                Who::Compiler { settings, file, words, .. } => {
                    Who::Compiler { settings, file, words, absent: Vec::new() }
                }
                ourselves => ourselves,
            }
        }

        fn compiler(&self, words: &[&str]) -> Who {
            let words = words.iter().map(|word| BString::from(*word)).collect();
            Who::Compiler { settings: Vec::new(), file: Some(self.at("theirs/cc")), absent: Vec::new(), words }
        }
    }

    #[test]
    fn a_link_with_the_name_of_a_compiler_means_the_next_one_on_the_path() {
        let host = Host::new();
        assert_eq!(host.means(&["cc", "-c"]), host.compiler(&["cc", "-c"]));
        let link = host.at("ours/cc").display().to_string();
        assert_eq!(host.means(&[&link, "-c"]), host.compiler(&["cc", "-c"]));
    }

    #[test]
    fn a_path_that_is_ourselves_means_the_next_compiler_of_that_name() {
        let host = Host::new();
        let link = host.at("ours/cc").display().to_string();
        assert_eq!(host.means(&["ccwrap", &link, "-c"]), host.compiler(&["cc", "-c"]));
    }

    #[test]
    fn the_small_program_of_another_version_is_no_compiler() {
        let host = Host::new();
        let mut of_no_interpreter = [0; 120];
        of_no_interpreter[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (of_no_interpreter[32], of_no_interpreter[54], of_no_interpreter[56]) = (64, 56, 1);
        let mut with_one = of_no_interpreter;
        with_one[64] = 3;
        for (head, is_ours) in [(&of_no_interpreter[..], true), (&with_one, false), (b"#!/bin/sh\n# ", false)] {
            fs::remove_file(host.at("ours/cc")).unwrap();
            fs::write(host.at("ours/cc"), [head, b" of another version ", ALONE.as_bytes()].concat()).unwrap();
            fs::set_permissions(host.at("ours/cc"), fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(host.means(&["cc", "-c"]) == host.compiler(&["cc", "-c"]), is_ours, "{}", head.as_bstr());
        }
    }

    #[test]
    fn a_copy_with_the_name_of_a_compiler_is_ourselves_too() {
        let host = Host::new();
        fs::remove_file(host.at("ours/cc")).unwrap();
        fs::copy(host.at("ours/ccwrap"), host.at("ours/cc")).unwrap();
        assert_eq!(host.means(&["cc", "-c"]), host.compiler(&["cc", "-c"]));
    }

    #[test]
    fn what_stands_behind_our_name_is_meant() {
        let host = Host::new();
        assert_eq!(host.means(&["ccwrap", "cc", "-c"]), host.compiler(&["cc", "-c"]));
        assert_eq!(host.means(&["ccwrap", "ccache", "ccwrap-full", "ccwrap", "cc"]), host.compiler(&["cc"]));
        let compiler = host.at("theirs/cc").display().to_string();
        assert_eq!(host.means(&["/x/ccache", &compiler]), host.compiler(&[&compiler]));
        let missing = Who::Compiler { settings: vec![], file: None, absent: vec![], words: vec!["none".into()] };
        assert_eq!(host.means(&["ccwrap", "none"]), missing);
    }

    #[test]
    fn options_are_ours_and_settings_come_before() {
        let host = Host::new();
        assert_eq!(host.means(&["ccache", "-s"]), Who::Ourselves(vec!["-s".into()]));
        assert_eq!(host.means(&["ccwrap"]), Who::Ourselves(vec![]));
        let Who::Compiler { settings, words, .. } = host.means(&["ccache", "max_size=5G", "cc", "A=1"]) else {
            panic!()
        };
        assert_eq!((settings, words), (vec![OsString::from("max_size=5G")], vec!["cc".into(), "A=1".into()]));
    }
}
