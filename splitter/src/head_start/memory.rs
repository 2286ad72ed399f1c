//! Which tools a compiler had when it was called last: probably those of its next call. And whether it ran: where a checkout is like one
//! that was compiled before, all is in the store, and a compiler that is begun is begun in vain.

use crate::lower::Toolchain;
use bstr::BString;
use nixstore::StorePath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// As in [`Toolchain`], in the form of postcard.
#[derive(Serialize, Deserialize)]
struct Last {
    path: String,
    mounts: BTreeMap<BString, BString>,
    links: BTreeMap<BString, BString>,
    ran: bool,
}

/// The tools of a compiler; none if it has not run when it was called last, by what is kept in `directory`.
pub fn recall(directory: &Path, compiler: &Path) -> Option<Toolchain> {
    let last: Last = postcard::from_bytes(&fs::read(file(directory, compiler)).ok()?).ok()?;
    let Last { path, mounts, links, .. } = Some(last).filter(|last| last.ran)?;
    Some(Toolchain { path: path.parse::<StorePath>().ok()?, mounts, links })
}

/// Keeps them for the next time, which goes on without them if they cannot be kept.
pub fn remember(directory: &Path, compiler: &Path, tools: &Toolchain, ran: bool) {
    let Toolchain { path, mounts, links } = tools.clone();
    let Ok(bytes) = postcard::to_stdvec(&Last { path: path.to_string(), mounts, links, ran }) else { return };
    let file = file(directory, compiler);
    if fs::read(&file).is_ok_and(|known| known == bytes) {
        return;
    }
    let write = || {
        let directory = file.parent().expect("it is in one");
        fs::create_dir_all(directory)?;
        // As far as the file mode creation mask lets others: they may share the store.
        let all = fs::Permissions::from_mode(0o666);
        let mut new = tempfile::Builder::new().permissions(all).tempfile_in(directory)?;
        new.write_all(&bytes)?;
        new.persist(&file).map_err(std::io::Error::from)
    };
    write().ok(); // then the next call begins as this one did
}

fn file(directory: &Path, compiler: &Path) -> PathBuf {
    let name = blake3::hash(compiler.as_os_str().as_bytes()).to_hex();
    directory.join("last-tools").join(&name.as_str()[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tools_of_each_compiler_are_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let tools = |hash: &str| Toolchain {
            path: format!("{hash}-tools").parse().expect("a store path"),
            mounts: [("/usr".into(), "usr".into())].into(),
            links: [("/bin".into(), "usr/bin".into())].into(),
        };
        let (old, new) = (tools("6xg259477c90a229xwmb53pdfkn6ig3g"), tools("3hmxcv2hsn0zvzxmkbvxxkvnxcqkr1s9"));
        let (gcc, clang) = (Path::new("/usr/bin/gcc"), Path::new("/usr/bin/clang"));
        let known = |compiler: &Path| recall(directory.path(), compiler);
        assert_eq!(known(gcc), None);
        remember(directory.path(), gcc, &old, true);
        remember(directory.path(), clang, &new, true);
        assert_eq!((known(gcc), known(clang)), (Some(old), Some(new.clone())));
        remember(directory.path(), gcc, &new, true);
        assert_eq!(known(gcc), Some(new.clone()));
        remember(directory.path(), gcc, &new, false);
        assert_eq!(known(gcc), None);
    }
}
