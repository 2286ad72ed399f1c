//! File trees in memory: what a test expects in a store, or a builder of one leaves behind.

use crate::nar::{self, Event, NarError, Reader};
use bstr::{BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::path::Path;

/// A file, a symlink or a directory, with what a store keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A regular file.
    File {
        /// Its bytes.
        contents: BString,
        /// Whether it can be run.
        executable: bool,
    },
    /// A symlink and what it points to.
    Symlink(BString),
    /// A directory and its entries.
    Directory(BTreeMap<BString, Tree>),
}

impl Tree {
    /// A file that cannot be run.
    pub fn file(contents: impl Into<BString>) -> Self {
        Self::File { contents: contents.into(), executable: false }
    }

    /// A file that can be run.
    pub fn executable(contents: impl Into<BString>) -> Self {
        Self::File { contents: contents.into(), executable: true }
    }

    /// A symlink to `target`.
    pub fn symlink(target: impl Into<BString>) -> Self {
        Self::Symlink(target.into())
    }

    /// A directory with `entries`.
    pub fn directory<N: Into<BString>>(entries: impl IntoIterator<Item = (N, Self)>) -> Self {
        Self::Directory(entries.into_iter().map(|(name, tree)| (name.into(), tree)).collect())
    }

    /// Reads the tree at `path`.
    ///
    /// # Errors
    /// As [`nar::dump`].
    pub fn read(path: &Path) -> Result<Self, NarError> {
        let mut nar = Vec::new();
        nar::dump(path, &mut nar)?;
        Self::from_nar(&nar)
    }

    /// Makes the tree at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// As [`nar::restore`].
    pub fn write(&self, path: &Path) -> Result<(), NarError> {
        nar::restore(self.to_nar().as_slice(), path)
    }

    /// Its archive.
    pub fn to_nar(&self) -> Vec<u8> {
        let mut nar = Vec::new();
        nar::push_text(&mut nar, nar::MAGIC);
        self.push_object(&mut nar);
        nar
    }

    /// Reads an archive, which must end where `nar` does.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn from_nar(nar: &[u8]) -> Result<Self, NarError> {
        let mut reader = Reader::new(nar);
        let mut open: Vec<(BString, BTreeMap<BString, Self>)> = Vec::new();
        loop {
            let event = reader.next()?.expect("a tree that has begun has an end, or there was an error");
            let name = reader.path().file_name().map_or_else(BString::default, |name| name.as_encoded_bytes().into());
            let (name, tree) = match event {
                Event::Directory => {
                    open.push((name, BTreeMap::new()));
                    continue;
                }
                Event::Leave => {
                    let (name, entries) = open.pop().expect("a directory that ends has begun");
                    (name, Self::Directory(entries))
                }
                Event::Symlink { target } => (name, Self::Symlink(target)),
                Event::File { executable, .. } => {
                    let mut contents = Vec::new();
                    reader.copy_contents(&mut contents)?;
                    (name, Self::File { contents: contents.into(), executable })
                }
            };
            match open.last_mut() {
                Some((_, entries)) => {
                    entries.insert(name, tree);
                }
                None => {
                    reader.expect_end()?;
                    return Ok(tree);
                }
            }
        }
    }

    /// The file or directory at `path`, names separated by slashes.
    pub fn get(&self, path: &str) -> Option<&Self> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(self, |tree, name| match tree {
            Self::Directory(entries) => entries.get(name.as_bytes().as_bstr()),
            _ => None,
        })
    }

    fn push_object(&self, nar: &mut Vec<u8>) {
        let mut push = |tokens: &[&[u8]]| tokens.iter().for_each(|token| nar::push_text(nar, token));
        push(&[b"(", b"type"]);
        match self {
            Self::File { contents, executable } => {
                push(&[b"regular"]);
                if *executable {
                    push(&[b"executable", b""]);
                }
                push(&[b"contents", contents]);
            }
            Self::Symlink(target) => push(&[b"symlink", b"target", target]),
            Self::Directory(entries) => {
                push(&[b"directory"]);
                for (name, tree) in entries {
                    nar::push_text(nar, b"entry");
                    nar::push_text(nar, b"(");
                    nar::push_text(nar, b"name");
                    nar::push_text(nar, name);
                    nar::push_text(nar, b"node");
                    tree.push_object(nar);
                    nar::push_text(nar, b")");
                }
            }
        }
        nar::push_text(nar, b")");
    }
}
