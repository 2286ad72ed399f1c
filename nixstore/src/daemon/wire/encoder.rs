//! Writing values.
#![deny(clippy::disallowed_methods)]

use super::padding;
use crate::daemon::version::Dialect;
use crate::{PathInfo, StorePath};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes values.
pub struct Encoder<'a> {
    out: &'a mut (dyn Write + 'a),
    dialect: &'a Dialect,
}

impl<'a> Encoder<'a> {
    /// Writes to `out`, in small pieces: it should be buffered.
    pub fn new(out: &'a mut dyn Write, dialect: &'a Dialect) -> Self {
        Self { out, dialect }
    }

    /// How the two sides speak.
    pub fn dialect(&self) -> &'a Dialect {
        self.dialect
    }

    /// Where bytes without a length go, such as frames.
    pub fn out(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Writes a number.
    ///
    /// # Errors
    /// Those of where it goes, as with all that follow.
    pub fn number(&mut self, number: u64) -> io::Result<()> {
        self.out.write_all(&number.to_le_bytes())
    }

    /// Writes 0 or 1.
    pub fn bool(&mut self, value: bool) -> io::Result<()> {
        self.number(value.into())
    }

    /// Writes a text.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let text = text.as_ref();
        self.number(text.len() as u64)?;
        self.out.write_all(text)?;
        self.out.write_all(&[0; 8][..padding(text.len() as u64)])
    }

    /// Writes the text that a value prints.
    pub fn display(&mut self, value: impl Display) -> io::Result<()> {
        self.text(value.to_string())
    }

    /// Writes a whole path.
    pub fn path(&mut self, path: &StorePath) -> io::Result<()> {
        self.text(self.dialect.store_dir.print(path))
    }

    /// Writes a whole path, or an empty text for none.
    pub fn optional_path(&mut self, path: Option<&StorePath>) -> io::Result<()> {
        match path {
            Some(path) => self.path(path),
            None => self.text(""),
        }
    }

    /// Writes how many items there are and each of them.
    pub fn list<I: IntoIterator<IntoIter: ExactSizeIterator>>(
        &mut self,
        items: I,
        mut write: impl FnMut(&mut Self, I::Item) -> io::Result<()>,
    ) -> io::Result<()> {
        let items = items.into_iter();
        self.number(items.len() as u64)?;
        items.into_iter().try_for_each(|item| write(self, item))
    }

    /// Writes a set of whole paths.
    pub fn paths(&mut self, paths: &BTreeSet<StorePath>) -> io::Result<()> {
        self.list(paths, Self::path)
    }

    /// Writes what is known of a path, without the path.
    pub fn path_facts(&mut self, info: &PathInfo) -> io::Result<()> {
        self.optional_path(info.deriver.as_ref())?;
        self.text(info.nar_hash.hex())?;
        self.paths(&info.references)?;
        self.number(info.registration_time)?;
        self.number(info.nar_size)?;
        self.bool(info.ultimate)?;
        self.list(&info.signatures, Self::text)?;
        match &info.ca {
            Some(ca) => self.display(ca),
            None => self.text(""),
        }
    }
}
