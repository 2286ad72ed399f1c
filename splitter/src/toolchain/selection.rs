//! What one command needs of the host: asked as a [`Request`], answered as a [`Selection`].

use super::dpkg::PackageId;
use super::follow::{FollowError, Follower};
use super::host::Host;
use super::seed::Seed;
use super::walk::Walker;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// What one command names. A function of the command alone, never of its project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The programs it starts: absolute, as found by its `PATH` ([`super::program::resolve_program`]) or as it names them.
    pub programs: BTreeSet<PathBuf>,
    /// The system headers and libraries it reads: what lies outside the roots of the build. A directory has to exist.
    pub files: BTreeSet<PathBuf>,
    /// It runs in `/bin/sh`, or starts scripts: it needs what those take for granted too.
    pub shell: bool,
    /// Its `PATH`, for interpreters found by `#!/usr/bin/env` and programs that a compiler driver looks for.
    pub search_path: OsString,
}

/// What a snapshot is made of. Equal selections on one host give equal snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The packages with all they depend on, and their versions.
    pub packages: BTreeMap<String, String>,
    /// Files that no package owns.
    pub files: BTreeSet<PathBuf>,
    /// Links that no package owns, and what they say: choices of update-alternatives mostly.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Directories that no package owns, taken whole but for the first-level names given.
    pub trees: BTreeMap<PathBuf, Vec<String>>,
    /// Directories that have to exist.
    pub directories: BTreeSet<PathBuf>,
}

impl Selection {
    /// The selection's name: BLAKE3 of its canonical text. What the loose files hold is not in it.
    pub fn key(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut line = |parts: &[&[u8]]| {
            for part in parts {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        };
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        for (package, version) in &self.packages {
            line(&[b"package", package.as_bytes(), version.as_bytes()]);
        }
        self.files.iter().for_each(|path| line(&[b"file", &bytes(path)]));
        self.links.iter().for_each(|(path, text)| line(&[b"link", &bytes(path), &bytes(text)]));
        for (path, left_out) in &self.trees {
            line(&[b"tree", &bytes(path), left_out.join("/").as_bytes()]);
        }
        self.directories.iter().for_each(|path| line(&[b"directory", &bytes(path)]));
        hasher.finalize()
    }
}

/// What `request` needs on `host`, and what could not be followed.
///
/// # Errors
/// [`FollowError`] where a program is not there. A file that is not there is left out: in the sandbox it will not be
/// there either.
pub fn select(request: &Request, host: &Host) -> Result<(Selection, Vec<String>), FollowError> {
    let mut walker = Walker::default();
    let mut follower = Follower::new(host, &mut walker, &request.search_path);
    for program in &request.programs {
        follower.program(program)?;
    }
    if request.shell {
        follower.shell()?;
    }
    let mut missing = Vec::new();
    for file in &request.files {
        if let Err(error) = follower.file(file) {
            missing.push(format!("{error}: {}", error.source));
        }
    }
    let (seeds, mut notes) = follower.into_seeds();
    notes.extend(missing);
    Ok((of_seeds(&seeds, host), notes))
}

/// The selection that seeds lead to: dependencies are added, and the alternatives that the packages stand behind.
pub fn of_seeds<'a>(seeds: impl IntoIterator<Item = &'a Seed>, host: &Host) -> Selection {
    let mut selection = Selection::default();
    let mut packages = BTreeSet::new();
    for seed in seeds {
        match seed {
            Seed::Package(id) => {
                packages.insert(PackageId::parse(id));
            }
            Seed::File(path, _) => {
                selection.files.insert(path.clone());
            }
            Seed::Link(path, text) => {
                selection.links.insert(path.clone(), text.clone());
            }
            Seed::Tree(path, left_out, _) => {
                selection.trees.insert(path.clone(), left_out.clone());
            }
            Seed::Directory(path) => {
                selection.directories.insert(path.clone());
            }
            Seed::Probe(..) => {}
        }
    }
    let packages = host.dpkg.closure(&packages);
    for alternative in &host.alternatives {
        let owner = host.dpkg.owner(&alternative.target);
        if owner.is_some_and(|owner| packages.contains(owner)) && !is_left_out(&alternative.link) {
            let link =
                PathBuf::from(OsString::from_vec(host.merged.canonical(alternative.link.as_os_str().as_bytes())));
            selection.links.insert(link, alternative.switch.clone());
            selection.links.insert(alternative.switch.clone(), alternative.target.clone());
        }
    }
    // Directories of packages are there anyway; they would only make selections differ.
    selection.directories.retain(|path| host.dpkg.owner(path).is_none_or(|owner| !packages.contains(owner)));
    let version = |id: &PackageId| host.dpkg.package(id).map(|package| package.version.clone()).unwrap_or_default();
    selection.packages = packages.iter().map(|id| (id.to_string(), version(id))).collect();
    selection
}

/// Directories below `/usr` that no command reads, or reads only to tell a person something: documentation, message
/// catalogues (so diagnostics are in English), completions of shells, entries of menus, hooks of debuggers, units of
/// services.
pub const LEFT_OUT: &[&str] = &[
    "/usr/lib/systemd",
    "/usr/share/applications",
    "/usr/share/apport",
    "/usr/share/bash-completion",
    "/usr/share/bug",
    "/usr/share/doc",
    "/usr/share/doc-base",
    "/usr/share/fish",
    "/usr/share/gdb",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/menu",
    "/usr/share/metainfo",
    "/usr/share/pixmaps",
    "/usr/share/zsh",
];

/// True for what lies in one of [`LEFT_OUT`].
pub fn is_left_out(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    LEFT_OUT
        .iter()
        .any(|out| bytes.strip_prefix(out.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|&b| b == b'/')))
}

#[cfg(test)]
mod tests {
    use super::super::alternatives::Alternative;
    use super::super::dpkg::{Dpkg, Merged, parse_status};
    use super::*;
    use std::collections::HashMap;

    const STATUS: &str = "\
Package: gcc
Status: install ok installed
Architecture: amd64
Version: 12
Depends: libc6

Package: clang
Status: install ok installed
Architecture: amd64
Version: 14

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36
";

    fn host() -> Host {
        let merged = Merged::default();
        let lists = HashMap::from([(PackageId::new("gcc", "amd64"), b"/usr/bin/gcc\n/usr/share/man/gcc.1\n".to_vec())]);
        let alternative = |link: &str, name: &str, target: &str| Alternative {
            link: link.into(),
            switch: Path::new("/etc/alternatives").join(name),
            target: target.into(),
        };
        let alternatives = vec![
            alternative("/usr/bin/cc", "cc", "/usr/bin/gcc"),
            alternative("/usr/share/man/cc.1", "cc.1", "/usr/share/man/gcc.1"),
            alternative("/usr/bin/awk", "awk", "/usr/bin/mawk"),
        ];
        let dpkg = Dpkg::new(parse_status(STATUS.as_bytes()), lists, Vec::new(), &merged);
        Host { dpkg, alternatives, merged, ..Host::default() }
    }

    #[test]
    fn packages_bring_what_they_depend_on_and_their_alternatives() {
        let selection = of_seeds(&[Seed::Package("gcc:amd64".into())], &host());
        let packages: Vec<_> = selection.packages.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(packages, [("gcc:amd64", "12"), ("libc6:amd64", "2.36")]);
        let links: Vec<_> = selection.links.keys().map(|path| path.to_str().expect("text")).collect();
        assert_eq!(links, ["/etc/alternatives/cc", "/usr/bin/cc"]);
    }

    #[test]
    fn the_order_and_the_number_of_seeds_do_not_matter() {
        let [a, b] = [Seed::Package("gcc:amd64".into()), Seed::Package("libc6:amd64".into())];
        let key = |seeds: &[&Seed]| of_seeds(seeds.iter().copied(), &host()).key();
        assert_eq!(key(&[&a, &b]), key(&[&b, &a, &a]));
        assert_eq!(key(&[&a, &b]), key(&[&a]));
        assert_ne!(key(&[&a]), key(&[&b]));
    }

    #[test]
    fn documentation_is_left_out() {
        assert!(is_left_out(Path::new("/usr/share/doc/gcc/copyright")));
        assert!(is_left_out(Path::new("/usr/share/man")));
        assert!(!is_left_out(Path::new("/usr/share/mandrake")));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_and_a_header_is_not() {
        let path = PathBuf::from("/nonexistent/tool");
        let header = Request { files: [path.clone()].into(), ..Request::default() };
        let (selection, notes) = select(&header, &Host::default()).expect("nothing is needed");
        assert_eq!((selection, notes.len()), (Selection::default(), 1));
        let program = Request { programs: [path].into(), ..Request::default() };
        assert!(select(&program, &Host::default()).is_err());
    }
}
