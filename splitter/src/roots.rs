//! Roots: the directories of a project that may lie anywhere, and the names under which a sandbox shows them. Pure.
//!
//! A root stands at its real path and is seen in the canonical view as `/build/NAME`, where a Nix build has its sources.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString, ByteSlice as _, ByteVec as _};

/// Which edges are run at the canonical root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// None.
    Same,
    /// Those whose outputs cannot hold a path.
    #[default]
    Auto,
    /// All that name the root only where its name does not matter.
    Canonical,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same" => Ok(Self::Same),
            "auto" => Ok(Self::Auto),
            "canonical" => Ok(Self::Canonical),
            _ => Err(format!("`{text}` is none of `same`, `auto` and `canonical`")),
        }
    }
}

/// Where an edge sees the files of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// At their own paths.
    Real,
    /// Below the canonical roots.
    Canonical,
}

/// The roots of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Real and canonical path; the longest real path first.
    roots: Vec<(BString, BString)>,
}

impl Roots {
    /// Of pairs of a directory, absolute and normal, and the name under which it is seen. `/` is no root.
    pub fn new(named: impl IntoIterator<Item = (BString, BString)>) -> Self {
        let named = named.into_iter().filter(|(at, _)| at.len() > 1);
        let mut roots: Vec<(BString, BString)> =
            named.map(|(at, name)| (at, BString::from([b"/build/", name.as_slice()].concat()))).collect();
        roots.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
        Self { roots }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The real paths.
    pub fn real_paths(&self) -> impl Iterator<Item = &BStr> {
        self.roots.iter().map(|(real, _)| real.as_bstr())
    }

    /// Whether a path lies in a root.
    pub fn contain(&self, path: &BStr) -> bool {
        self.roots.iter().any(|(real, _)| below(path, real).is_some())
    }

    /// A path as a view shows it.
    pub fn seen(&self, path: &BStr, view: View) -> BString {
        if view == View::Real {
            return path.into();
        }
        let moved = |(real, canonical): &(BString, BString)| Some([canonical, below(path, real)?].concat().into());
        self.roots.iter().find_map(moved).unwrap_or_else(|| path.into())
    }

    /// The real path of one that the canonical view shows.
    pub fn real(&self, path: &BStr) -> BString {
        let mut by_name: Vec<_> = self.roots.iter().collect();
        by_name.sort_by_key(|(_, canonical)| std::cmp::Reverse(canonical.len()));
        let moved = |(real, canonical): &&(BString, BString)| Some([real, below(path, canonical)?].concat().into());
        by_name.iter().find_map(moved).unwrap_or_else(|| path.into())
    }

    /// Whether a text holds the real path of a root.
    pub fn in_text(&self, text: &[u8]) -> bool {
        self.roots.iter().any(|(real, _)| holds(text, real))
    }

    /// Whether a text holds the canonical path of a root.
    pub fn canonical_in_text(&self, text: &[u8]) -> bool {
        self.roots.iter().any(|(_, canonical)| holds(text, canonical))
    }

    /// A path as the canonical view shows it, where a root may also stand within it: CMake puts the object of a source
    /// outside its directory below `CMakeFiles/NAME.dir` with the source's whole path.
    pub fn seen_throughout(&self, path: &BStr, view: View) -> BString {
        if view == View::Real {
            return path.into();
        }
        let pairs = self.roots.iter().map(|(real, canonical)| (real, canonical));
        pairs.fold(path.to_vec(), |path, (real, canonical)| replaced(&path, real, canonical)).into()
    }

    /// What a command printed in the canonical view, with the real paths in it.
    pub fn real_text(&self, text: &[u8]) -> Vec<u8> {
        let pairs = self.roots.iter().map(|(real, canonical)| (real, canonical));
        pairs.fold(text.to_vec(), |text, (real, canonical)| replaced(&text, canonical, real))
    }

    /// Pairs of canonical and real path.
    pub fn back(&self) -> impl Iterator<Item = (&BStr, &BStr)> {
        self.roots.iter().map(|(real, canonical)| (canonical.as_bstr(), real.as_bstr()))
    }
}

/// What follows `top` in `path`: nothing, or something that begins with a slash.
fn below<'a>(path: &'a BStr, top: &BString) -> Option<&'a [u8]> {
    path.strip_prefix(top.as_slice()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn holds(text: &[u8], path: &BString) -> bool {
    position(text, path).is_some()
}

/// A text with `to` wherever the path `from` stands in it.
fn replaced(text: &[u8], from: &BString, to: &BString) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = position(rest, from) {
        out.push_str(&rest[..at]);
        out.push_str(to);
        rest = &rest[at + from.len()..];
    }
    out.push_str(rest);
    out
}

/// Where `path` stands in a text as a path of its own, not as the beginning of another name.
fn position(text: &[u8], path: &BString) -> Option<usize> {
    let follows =
        |at: usize| text.get(at + path.len()).is_none_or(|b| !b.is_ascii_alphanumeric() && !b"_-.".contains(b));
    text.find_iter(path.as_slice()).find(|at| follows(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots() -> Roots {
        Roots::new([("/home/u/p".into(), "source".into()), ("/home/u/p/build".into(), "out".into())])
    }

    #[test]
    fn the_innermost_root_names_a_path() {
        let seen = |path: &str| roots().seen(path.into(), View::Canonical);
        assert_eq!(seen("/home/u/p/a.c"), "/build/source/a.c");
        assert_eq!(seen("/home/u/p/build/a.o"), "/build/out/a.o");
        assert_eq!(seen("/home/u/p"), "/build/source");
        assert_eq!(seen("/home/u/p2/a.c"), "/home/u/p2/a.c");
        assert_eq!(roots().seen("/home/u/p/a.c".into(), View::Real), "/home/u/p/a.c");
        assert_eq!(
            roots().seen_throughout("/home/u/p/build/d/home/u/p/a.o".into(), View::Canonical),
            "/build/out/d/build/source/a.o"
        );
        assert_eq!(roots().real("/build/out/a.o".into()), "/home/u/p/build/a.o");
    }

    #[test]
    fn a_root_in_a_text_is_a_path_of_its_own() {
        assert!(roots().in_text(b"-DDATA=\"/home/u/p/share\""));
        assert!(roots().in_text(b"-Wl,-rpath,/home/u/p:"));
        assert!(!roots().in_text(b"/home/u/p2/share"));
        assert!(roots().canonical_in_text(b"x/build/source\0"));
        assert!(!roots().canonical_in_text(b"/build/sources"));
    }

    #[test]
    fn what_was_printed_names_real_paths() {
        let text = roots().real_text(b"/build/source/a.c:1: in /build/out/b.h, not /build/sources\n");
        assert_eq!(text.as_bstr(), "/home/u/p/a.c:1: in /home/u/p/build/b.h, not /build/sources\n");
    }
}
