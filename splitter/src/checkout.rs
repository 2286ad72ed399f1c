//! Finds the top of a checkout.

use std::path::{Path, PathBuf};

/// What marks the top of a checkout.
const MARKS: [&str; 4] = [".git", ".hg", ".jj", ".splitter-root"];

/// The top of the checkout that `directory` lies in: its nearest ancestor with `.git` (a file too, as in a worktree),
/// `.hg`, `.jj` or `.splitter-root`.
pub fn top(directory: &Path) -> Option<PathBuf> {
    let marked = |top: &&Path| MARKS.iter().any(|mark| top.join(mark).symlink_metadata().is_ok());
    directory.ancestors().find(marked).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_is_a_checkout_by_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("tree/build/deep");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(directory.path().join("tree/.git"), "gitdir: elsewhere\n").unwrap();
        assert_eq!(top(&deep), Some(directory.path().join("tree")));
    }
}
