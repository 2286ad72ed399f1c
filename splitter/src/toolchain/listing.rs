//! The files of a selection with their identities: what a snapshot will hold, without reading the files.

use super::dpkg::PackageId;
use super::host::Host;
use super::loader_cache;
use super::seed::PASSED_OVER;
use super::selection::{Selection, is_left_out};
use super::walk::Walker;
use crate::identity::Identity;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One place in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file, copied from the same path of the host.
    File {
        /// As it was when it was listed.
        identity: Identity,
        /// Somebody may execute it.
        executable: bool,
    },
    /// A link, and what it says.
    Link(PathBuf),
    /// A directory, perhaps empty.
    Directory,
    /// A file that is not the host's but made from one of it.
    Made(Vec<u8>),
}

/// The files of a selection. No directory part of a path has a symlink, so the tree can be written as it stands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listing {
    /// By absolute path.
    pub entries: BTreeMap<PathBuf, Entry>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

impl Listing {
    /// Looks at every file of `selection`.
    pub fn new(selection: &Selection, host: &Host) -> Self {
        let mut lister = Lister { listing: Self::default(), walker: Walker::default() };
        for (name, text) in &host.merged.links {
            lister.listing.entries.insert(Path::new("/").join(name), Entry::Link(text.clone()));
        }
        let mut outside = Vec::new();
        for package in selection.packages.keys() {
            for path in host.dpkg.files(&PackageId::parse(package)) {
                if is_left_out(&path) {
                    continue;
                }
                if is_taken(&path) {
                    lister.add(&path, Audience::Everybody);
                } else {
                    outside.push(path);
                }
            }
        }
        for (path, text) in &selection.links {
            lister.parents(path);
            lister.listing.entries.insert(path.clone(), Entry::Link(text.clone()));
        }
        selection.files.iter().for_each(|path| lister.add(path, Audience::Owner));
        selection.directories.iter().for_each(|path| lister.add(path, Audience::Owner));
        for (root, left_out) in &selection.trees {
            lister.tree(root, left_out);
        }
        lister.linked_to(&outside);
        lister.loader_cache(host);
        lister.listing
    }

    /// A hash of all identities: while it stays, so does what a snapshot would hold.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, entry) in &self.entries {
            hasher.update(path.as_os_str().as_bytes());
            match entry {
                Entry::File { identity, executable } => {
                    hasher.update(if *executable { b"\0x" } else { b"\0f" });
                    identity.hash_into(&mut hasher);
                }
                Entry::Link(text) => {
                    hasher.update(b"\0l").update(text.as_os_str().as_bytes()).update(b"\0");
                }
                Entry::Directory => {
                    hasher.update(b"\0d");
                }
                Entry::Made(bytes) => {
                    hasher.update(b"\0m").update(blake3::hash(bytes).as_bytes());
                }
            }
        }
        hasher.finalize()
    }

    /// True if a file was changed so shortly before `reading` that its identity does not stand for its content.
    pub fn is_fresh(&self, reading: SystemTime) -> bool {
        self.entries.values().any(|entry| matches!(entry, Entry::File { identity, .. } if !identity.settled(reading)))
    }

    /// The files in `/etc` and `/var`, with their identities.
    pub fn outside(&self) -> impl Iterator<Item = (PathBuf, Identity)> + '_ {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { identity, .. } if path.starts_with("/etc") || path.starts_with("/var") => {
                Some((path.clone(), *identity))
            }
            _ => None,
        })
    }

    /// How many files, and the bytes in them.
    pub fn size(&self) -> (usize, u64) {
        let files = self.entries.values().filter_map(|entry| match entry {
            Entry::File { identity, .. } => Some(identity.size()),
            _ => None,
        });
        files.fold((0, 0), |(number, bytes), size| (number + 1, bytes + size))
    }
}

/// Who must be able to read a file for it to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Packages' files: a snapshot is readable by all, and is to be the same whoever makes it.
    Everybody,
    /// Files that a command names itself.
    Owner,
}

struct Lister {
    listing: Listing,
    walker: Walker,
}

impl Lister {
    fn add(&mut self, path: &Path, audience: Audience) {
        // What a package lists and the host does not have (dpkg's `path-exclude`) is no news.
        let Ok((place, links)) = self.walker.place(path) else { return };
        for link in links {
            self.listing.entries.entry(link.path).or_insert(Entry::Link(link.text));
        }
        if let Ok(metadata) = std::fs::symlink_metadata(&place) {
            self.entry(place, &metadata, audience);
        }
    }

    fn entry(&mut self, place: PathBuf, metadata: &Metadata, audience: Audience) {
        if self.listing.entries.contains_key(&place) {
            return;
        }
        let entry = if metadata.is_dir() {
            Entry::Directory
        } else if metadata.is_symlink() {
            match std::fs::read_link(&place) {
                Ok(text) => Entry::Link(text),
                Err(error) => return self.note(&place, &error.to_string()),
            }
        } else if !metadata.is_file() {
            return self.note(&place, "is neither file nor link nor directory");
        } else if audience == Audience::Everybody && metadata.mode() & 0o004 == 0 {
            return self.note(&place, "is not readable by all");
        } else {
            Entry::File { identity: Identity::from_metadata(metadata), executable: metadata.mode() & 0o111 != 0 }
        };
        self.parents(&place);
        self.listing.entries.insert(place, entry);
    }

    fn parents(&mut self, place: &Path) {
        for parent in place.ancestors().skip(1).take_while(|parent| parent.parent().is_some()) {
            if self.listing.entries.contains_key(parent) {
                break;
            }
            self.listing.entries.insert(parent.to_owned(), Entry::Directory);
        }
    }

    fn tree(&mut self, root: &Path, left_out: &[String]) {
        self.add(root, Audience::Owner);
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                self.note(&directory, "cannot be listed");
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                let name = entry.file_name();
                if PASSED_OVER.iter().any(|&out| name == out)
                    || directory == root && left_out.iter().any(|out| name == **out)
                {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                }
                self.entry(entry.path(), &metadata, Audience::Owner);
            }
        }
    }

    /// Programs reach some of their configuration by links out of `/usr`: takes the files of packages in `/etc` and
    /// `/var` that a link leads to, and those in a directory that a link leads to. Never what is only on this host.
    fn linked_to(&mut self, outside: &[PathBuf]) {
        let links = self.listing.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Link(text) => Some(path.parent()?.join(text)),
            _ => None,
        });
        let leads_outside = |path: &PathBuf| {
            let depth = path.components().filter(|c| matches!(c, std::path::Component::ParentDir)).count();
            depth > 0 || path.starts_with("/etc") || path.starts_with("/var")
        };
        let targets: Vec<PathBuf> = links.filter(leads_outside).collect();
        let real: Vec<PathBuf> =
            targets.iter().filter_map(|path| self.walker.resolve(path).ok()).map(|(real, _)| real).collect();
        let wanted = |path: &Path| real.iter().any(|target| path.starts_with(target));
        for path in outside.iter().filter(|path| wanted(path)) {
            self.add(path, Audience::Everybody);
        }
    }

    /// A program that finds its libraries through the host's cache finds them through the snapshot's.
    fn loader_cache(&mut self, host: &Host) {
        let place = Path::new("/etc/ld.so.cache");
        let Ok(cache) = std::fs::read(place) else { return };
        let entries = &self.listing.entries;
        let kept = loader_cache::filter(&cache, |path| {
            let path = PathBuf::from(OsString::from_vec(host.merged.canonical(path)));
            !in_default_directory(&path) && matches!(entries.get(&path), Some(Entry::File { .. } | Entry::Link(_)))
        });
        if let Some(bytes) = kept {
            self.parents(place);
            self.listing.entries.insert(place.into(), Entry::Made(bytes));
        }
    }

    fn note(&mut self, path: &Path, problem: &str) {
        self.listing.notes.push(format!("`{}` {problem}", path.display()));
    }
}

/// True for the files of packages that programs are made of: `/usr`, `/opt`, and without a merged `/usr` its parts.
fn is_taken(path: &Path) -> bool {
    let top = path.components().nth(1).map(|top| top.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    ["usr", "opt", "bin", "sbin"].contains(&top.as_str()) || top.starts_with("lib")
}

/// True for `/usr/lib/libx.so` and `/usr/lib/x86_64-linux-gnu/libx.so`, which the loader finds without a cache.
fn in_default_directory(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::to_str).unwrap_or_default();
    let inside = directory.strip_prefix("/usr").unwrap_or(directory);
    ["/lib", "/lib64"].contains(&inside)
        || inside.strip_prefix("/lib/").is_some_and(|rest| rest.contains("-linux-") && !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir_all, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn lister() -> Lister {
        Lister { listing: Listing::default(), walker: Walker::default() }
    }

    #[test]
    fn a_file_reached_through_a_link_is_listed_at_its_real_place() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("it exists");
        create_dir_all(root.join("real")).expect("make");
        write(root.join("real/file"), "x").expect("write");
        symlink("real", root.join("other")).expect("link");
        let mut lister = lister();
        lister.add(&root.join("other/file"), Audience::Owner);
        let entries = lister.listing.entries;
        assert_eq!(entries[&root.join("other")], Entry::Link("real".into()));
        assert!(matches!(entries[&root.join("real/file")], Entry::File { executable: false, .. }));
        assert!(!entries.contains_key(&root.join("other/file")));
    }

    #[test]
    fn what_others_may_not_read_is_not_taken_from_a_package() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().canonicalize().expect("it exists").join("secret");
        write(&path, "x").expect("write");
        set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        let mut lister = lister();
        lister.add(&path, Audience::Everybody);
        assert!(!lister.listing.entries.contains_key(&path));
        assert_eq!(lister.listing.notes.len(), 1);
        lister.add(&path, Audience::Owner);
        assert!(lister.listing.entries.contains_key(&path));
    }

    #[test]
    fn the_mount_points_of_a_package_are_not_taken() {
        assert!(
            ["/usr/bin/cc", "/opt/x/y", "/bin/sh", "/lib64/ld.so"].into_iter().all(|path| is_taken(Path::new(path)))
        );
        assert!(!["/", "/proc", "/home", "/etc/x", "/var/lib/x"].into_iter().any(|path| is_taken(Path::new(path))));
    }

    #[test]
    fn a_tree_is_listed_without_what_running_it_leaves() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("it exists");
        for path in ["lib/a.py", "lib/__pycache__/a.pyc", "test/t.py", "lib/test/kept.py"] {
            create_dir_all(root.join(path).parent().expect("it has one")).expect("make");
            write(root.join(path), "x").expect("write");
        }
        let mut lister = lister();
        lister.tree(&root, &["test".into()]);
        let files = lister.listing.entries.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
        let files: Vec<_> = files.map(|(path, _)| path.strip_prefix(&root).expect("below").to_owned()).collect();
        assert_eq!(files, [Path::new("lib/a.py"), Path::new("lib/test/kept.py")]);
    }

    #[test]
    fn the_digest_changes_with_a_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().canonicalize().expect("it exists").join("tool");
        let digest = |text: &str| {
            write(&path, text).expect("write");
            let mut lister = lister();
            lister.add(&path, Audience::Owner);
            lister.listing.digest()
        };
        assert_ne!(digest("1"), digest("22"));
    }
}
