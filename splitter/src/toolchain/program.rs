//! Finds the program that a word of a command means.

use std::ffi::OsStr;
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

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
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
