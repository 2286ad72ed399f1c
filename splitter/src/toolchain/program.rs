//! Finds the program that a word of a command means.

use bstr::{BString, ByteSlice as _};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The program that `word` starts, as execvp(3) finds it: a word with a slash is itself, any other is looked for in the
/// directories of `search_path`. `None` where there is none, or it is relative: a program of the build itself, which no
/// toolchain has. Links are not followed, since a program may behave by its name.
pub fn resolve_program(word: &OsStr, search_path: &OsStr) -> Option<PathBuf> {
    let word = Path::new(word);
    if word.components().count() > 1 || word.is_absolute() {
        return (word.is_absolute() && is_program(word)).then(|| word.to_owned());
    }
    let directories = std::env::split_paths(search_path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(word)).find(|path| is_program(path))
}

/// What the kernel starts for a script: the word after `#!`, or what `env` there starts, which is all that follows unless
/// it splits it (`-S`).
pub fn interpreter(script: &Path) -> Option<BString> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(LONGEST_LINE).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.lines().next().unwrap_or_default().trim();
    let end = line.find_byteset(b" \t").unwrap_or(line.len());
    let (program, argument) = (&line[..end], line[end..].trim_start());
    if program.rsplit_str("/").next() != Some(b"env") || argument.is_empty() {
        return Some(program.into()).filter(|program: &BString| !program.is_empty());
    }
    let Some(words) = argument.strip_prefix(b"-S") else { return Some(argument.into()) };
    // `env -S NAME=value program` has more before the program.
    words.fields().find(|word| !word.starts_with(b"-") && !word.contains(&b'=')).map(BString::from)
}

/// Whether a file is a program or library of the machine's own.
pub fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// The kernel reads no more of a script's first line (Linux 5.1, `BINPRM_BUF_SIZE`).
const LONGEST_LINE: u64 = 256;

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_env_starts_has_spaces_unless_it_is_split() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let script = directory.path().join("script");
        let of = |line: &str| {
            write(&script, line).expect("write");
            interpreter(&script).map(|word| word.to_string())
        };
        assert_eq!(of("#!/bin/sh -e\n").as_deref(), Some("/bin/sh"));
        assert_eq!(of("#! /usr/bin/env python3\n").as_deref(), Some("python3"));
        assert_eq!(of("#!/usr/bin/env /a b/tool\n").as_deref(), Some("/a b/tool"));
        assert_eq!(of("#!/usr/bin/env -S LANG=C sh -e\n").as_deref(), Some("sh"));
        assert_eq!(of("#!\n"), None);
        assert_eq!(of("echo\n"), None);
    }
    use std::fs::{Permissions, set_permissions, write};

    #[test]
    fn the_first_executable_file_of_the_path_is_meant() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        for directory in [&a, &b] {
            std::fs::create_dir(directory).expect("make");
            write(directory.join("tool"), "").expect("write");
        }
        set_permissions(b.join("tool"), Permissions::from_mode(0o755)).expect("chmod");
        let path = std::env::join_paths([Path::new("relative"), &a, &b]).expect("no colon in it");
        assert_eq!(resolve_program(OsStr::new("tool"), &path), Some(b.join("tool")));
        assert_eq!(resolve_program(b.join("tool").as_os_str(), OsStr::new("")), Some(b.join("tool")));
        assert_eq!(resolve_program(OsStr::new("nothing"), &path), None);
        assert_eq!(resolve_program(OsStr::new("./tool"), &path), None);
    }
}
