//! Replaces hash parts in a stream of bytes, and hashes a stream as if it did not name itself.
#![deny(clippy::disallowed_methods)]

use crate::hash::Sha256Writer;
use crate::scan::{Needles, UnequalNeedles};
use crate::{Sha256, StorePath};
use bstr::BString;
use std::collections::BTreeMap;
use std::io::{self, Write as _};

/// Passes on what is written to it with some byte strings replaced by others of the same length, wherever they begin
/// and however the writes are cut (Nix 2.34, `RewritingSink`).
#[derive(Debug)]
pub struct Rewriter<W> {
    out: W,
    needles: Needles,
    /// In the order of the needles.
    replacements: Vec<BString>,
    /// What may be the beginning of a needle: fewer bytes than one has.
    held: Vec<u8>,
    passed: u64,
    offsets: Vec<u64>,
}

impl<W: io::Write> Rewriter<W> {
    /// A rewriter that replaces the keys of `replacements` by their values.
    ///
    /// # Errors
    /// [`UnequalNeedles`] where these are not all of one length.
    pub fn new(out: W, replacements: BTreeMap<BString, BString>) -> Result<Self, UnequalNeedles> {
        let needles = Needles::new(replacements.keys().cloned())?;
        let replacements: Vec<_> = replacements.into_values().collect();
        if replacements.iter().any(|replacement| replacement.len() != needles.len) {
            return Err(UnequalNeedles);
        }
        Ok(Self { out, needles, replacements, held: Vec::new(), passed: 0, offsets: Vec::new() })
    }

    /// A rewriter that puts the hash parts of paths in the place of those of others.
    pub fn of_paths<'a>(out: W, paths: impl IntoIterator<Item = (&'a StorePath, &'a StorePath)>) -> Self {
        let hash_parts = paths.into_iter().map(|(from, to)| (from.hash_part().into(), to.hash_part().into())).collect();
        Self::new(out, hash_parts).expect("hash parts are all of one length")
    }

    /// Passes on the last bytes. Gives back where they went, and at which offsets something was replaced.
    ///
    /// # Errors
    /// Those of the writer behind.
    pub fn finish(mut self) -> io::Result<(W, Vec<u64>)> {
        self.out.write_all(&self.held)?;
        Ok((self.out, self.offsets))
    }

    /// Passes on `bytes` but for an end that may be the beginning of a needle, and gives back how many it passed on.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some((at, needle)) = self.needles.find(bytes, done) {
            self.out.write_all(&bytes[done..at])?;
            self.out.write_all(&self.replacements[needle])?;
            self.offsets.push(self.passed + at as u64);
            done = at + self.needles.len;
        }
        let end = done.max((bytes.len() + 1).saturating_sub(self.needles.len));
        self.out.write_all(&bytes[done..end])?;
        self.passed += end as u64;
        Ok(end)
    }
}

impl<W: io::Write> io::Write for Rewriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        if !self.held.is_empty() {
            // A needle that begins in what was held ends within as many bytes as a needle has.
            let mut seam = std::mem::take(&mut self.held);
            let before = seam.len();
            seam.extend_from_slice(&bytes[..bytes.len().min(self.needles.len)]);
            let passed = self.pass(&seam)?;
            if passed < before {
                self.held = seam.split_off(passed);
                return Ok(bytes.len());
            }
            rest = &bytes[passed - before..];
        }
        let passed = self.pass(rest)?;
        self.held.extend_from_slice(&rest[passed..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes what is written to it with every occurrence of one hash part replaced by zeros: the hash of a tree that
/// names itself, before its name is known.
#[derive(Debug)]
pub struct HashModulo {
    rewriter: Rewriter<Sha256Writer>,
}

impl HashModulo {
    /// A hash modulo the hash part of `path`.
    pub fn new(path: &StorePath) -> Self {
        let hash_part = BString::from(path.hash_part());
        let zeros = BString::from(vec![0; hash_part.len()]);
        let rewriter = Rewriter::new(Sha256Writer::new(), BTreeMap::from([(hash_part, zeros)]));
        Self { rewriter: rewriter.expect("the zeros are as many") }
    }

    /// The hash by the rule of Nix 2.17 and later, and how often the hash part occurred.
    pub fn finish(self) -> (Sha256, usize) {
        let (writer, offsets) = self.rewriter.finish().expect("a hash takes all bytes");
        (writer.finish().0, offsets.len())
    }

    /// The hash by the rule of Nix up to 2.16, which also hashes the offsets of all occurrences.
    pub fn finish_as_before_2_17(self) -> (Sha256, usize) {
        let (mut writer, offsets) = self.rewriter.finish().expect("a hash takes all bytes");
        for offset in &offsets {
            write!(writer, "|{offset}").expect("a hash takes all bytes");
        }
        (writer.finish().0, offsets.len())
    }
}

impl io::Write for HashModulo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rewriter.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The hash of `bytes` with the hash part of `path` replaced by zeros, by the rule of Nix 2.17 and later.
pub fn hash_modulo(bytes: &[u8], path: &StorePath) -> Sha256 {
    let mut hash = HashModulo::new(path);
    hash.write_all(bytes).expect("a hash takes all bytes");
    hash.finish().0
}
