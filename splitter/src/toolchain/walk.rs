//! Resolves a path by hand, so that every symlink on the way is known.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A symlink that was walked: its path has no symlinks in its directory part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: PathBuf,
}

/// Remembers directories, of which there are few, while many files are resolved.
#[derive(Debug, Default)]
pub struct Walker {
    directories: HashMap<PathBuf, (PathBuf, Vec<Link>)>,
}

impl Walker {
    /// The real path of `path`, an absolute one, and the links on the way to it.
    ///
    /// # Errors
    /// Those of the file system; too many links are an error too.
    pub fn resolve(&mut self, path: &Path) -> io::Result<(PathBuf, Vec<Link>)> {
        self.walk(path, true)
    }

    /// As [`Walker::resolve`], but a link that `path` itself names is not followed.
    ///
    /// # Errors
    /// As [`Walker::resolve`].
    pub fn place(&mut self, path: &Path) -> io::Result<(PathBuf, Vec<Link>)> {
        self.walk(path, false)
    }

    fn walk(&mut self, path: &Path, follow_last: bool) -> io::Result<(PathBuf, Vec<Link>)> {
        if let (Some(parent), Some(Component::Normal(name))) = (path.parent(), path.components().next_back()) {
            let (parent, mut links) = match self.directories.get(parent) {
                Some(known) => known.clone(),
                None => {
                    let found = walk_components(parent)?;
                    self.directories.insert(parent.to_owned(), found.clone());
                    found
                }
            };
            let here = parent.join(name);
            if !follow_last {
                return Ok((here, links));
            }
            return match std::fs::read_link(&here) {
                Ok(text) => {
                    let (real, rest) = walk_components(&parent.join(&text))?;
                    links.push(Link { path: here, text });
                    links.extend(rest);
                    Ok((real, links))
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok((here, links)),
                Err(error) => Err(error),
            };
        }
        walk_components(path)
    }
}

/// As Linux has it (path_resolution(7)).
const MOST_LINKS: usize = 40;

fn walk_components(path: &Path) -> io::Result<(PathBuf, Vec<Link>)> {
    enum Part {
        Up,
        Name(OsString),
    }
    let parts = |path: &Path| -> Vec<Part> {
        let parts = path.components().rev().filter_map(|component| match component {
            Component::ParentDir => Some(Part::Up),
            Component::Normal(name) => Some(Part::Name(name.to_owned())),
            _ => None,
        });
        parts.collect()
    };
    let (mut real, mut links) = (PathBuf::from("/"), Vec::new());
    let mut rest = parts(path);
    while let Some(part) = rest.pop() {
        let Part::Name(name) = part else {
            real.pop();
            continue;
        };
        let here = real.join(name);
        match std::fs::read_link(&here) {
            Ok(text) => {
                if text.is_absolute() {
                    real = PathBuf::from("/");
                }
                rest.extend(parts(&text));
                links.push(Link { path: here, text });
                if links.len() > MOST_LINKS {
                    return Err(io::Error::other("too many symlinks"));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => real = here,
            Err(error) => return Err(error),
        }
    }
    Ok((real, links))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_on_the_way_is_known() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("it exists");
        std::fs::create_dir_all(root.join("real/bin")).expect("make");
        std::fs::write(root.join("real/bin/tool-2"), "").expect("write");
        symlink("real", root.join("current")).expect("link");
        symlink("tool-2", root.join("real/bin/tool")).expect("link");
        symlink(root.join("current/bin/tool"), root.join("entry")).expect("link");

        let (real, links) = Walker::default().resolve(&root.join("real/../entry")).expect("it resolves");
        assert_eq!(real, root.join("real/bin/tool-2"));
        let paths: Vec<_> = links.iter().map(|link| link.path.clone()).collect();
        assert_eq!(paths, [root.join("entry"), root.join("current"), root.join("real/bin/tool")]);
        assert_eq!(Walker::default().place(&root.join("entry")).expect("it resolves").0, root.join("entry"));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let directory = tempfile::tempdir().expect("temporary directory");
        symlink("b", directory.path().join("a")).expect("link");
        symlink("a", directory.path().join("b")).expect("link");
        assert!(Walker::default().resolve(&directory.path().join("a")).is_err());
        assert!(Walker::default().resolve(&directory.path().join("a/x")).is_err());
    }
}
