//! Finds store paths by their hash parts in a stream of bytes.

use crate::StorePath;
use bstr::BString;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

/// Finds which of a set of store paths are named in what is written to it: the hash part of a path anywhere is a
/// reference to it (Nix 2.34, `RefScanSink`).
#[derive(Debug, Clone)]
pub struct ReferenceScanner {
    scanner: NeedleScanner,
    paths: Arc<BTreeMap<BString, StorePath>>,
}

impl ReferenceScanner {
    /// A scanner for `paths`. Of paths with equal hash parts the last one stands for all.
    pub fn new(paths: impl IntoIterator<Item = StorePath>) -> Self {
        let paths: BTreeMap<BString, StorePath> =
            paths.into_iter().map(|path| (path.hash_part().into(), path)).collect();
        let scanner = NeedleScanner::new(paths.keys().cloned()).expect("hash parts are all of one length");
        Self { scanner, paths: Arc::new(paths) }
    }

    /// The paths found so far.
    pub fn found(&self) -> BTreeSet<StorePath> {
        self.scanner.found().map(|hash_part| self.paths[hash_part].clone()).collect()
    }
}

impl io::Write for ReferenceScanner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scanner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Finds which of a set of byte strings of equal length occur in what is written to it.
#[derive(Debug, Clone)]
pub struct NeedleScanner {
    /// Shared by copies, of which there is one for each output.
    needles: Arc<Needles>,
    found: Vec<bool>,
    missing: usize,
    /// The last bytes written, fewer than a needle has.
    tail: Vec<u8>,
}

impl NeedleScanner {
    /// A scanner for `needles`.
    ///
    /// # Errors
    /// [`UnequalNeedles`] where they are of different lengths, or empty.
    pub fn new(needles: impl IntoIterator<Item = BString>) -> Result<Self, UnequalNeedles> {
        let needles = Arc::new(Needles::new(needles)?);
        let count = needles.texts.len();
        Ok(Self { needles, found: vec![false; count], missing: count, tail: Vec::new() })
    }

    /// The needles found so far, sorted.
    pub fn found(&self) -> impl Iterator<Item = &BString> {
        self.needles.texts.iter().zip(&self.found).filter_map(|(needle, found)| found.then_some(needle))
    }

    fn search(&mut self, bytes: &[u8]) {
        let mut from = 0;
        while self.missing > 0
            && let Some((at, needle)) = self.needles.find(bytes, from)
        {
            if !self.found[needle] {
                self.found[needle] = true;
                self.missing -= 1;
            }
            from = at + 1;
        }
    }
}

impl io::Write for NeedleScanner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.missing == 0 {
            return Ok(bytes.len());
        }
        let overlap = self.needles.len - 1;
        if !self.tail.is_empty() {
            let mut seam = std::mem::take(&mut self.tail);
            seam.extend_from_slice(&bytes[..bytes.len().min(overlap)]);
            self.search(&seam);
            self.tail = seam;
        }
        self.search(bytes);
        if bytes.len() >= overlap {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - overlap..]);
        } else {
            // What is short was taken into the seam as a whole, unless there was none.
            if self.tail.is_empty() {
                self.tail.extend_from_slice(bytes);
            }
            let surplus = self.tail.len().saturating_sub(overlap);
            self.tail.drain(..surplus);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Needles are empty or of different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the texts to look for are not all of one length")]
pub struct UnequalNeedles;

/// Byte strings of one length, with what it takes to find any of them quickly.
#[derive(Debug, Clone)]
pub(crate) struct Needles {
    /// Sorted.
    pub(crate) texts: Vec<BString>,
    pub(crate) len: usize,
    by_text: HashMap<BString, usize>,
    /// Which bytes occur in a needle. A window with any other byte is none, so all windows with it are skipped.
    alphabet: Box<[bool; 256]>,
    /// Which ends, folded to 16 bits, a needle has: spares most look-ups in text of the same alphabet.
    ends: Box<[u64; 1024]>,
}

impl Needles {
    pub(crate) fn new(needles: impl IntoIterator<Item = BString>) -> Result<Self, UnequalNeedles> {
        let texts: Vec<BString> = needles.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        // Without needles any length does.
        let len = texts.first().map_or(1, |needle| needle.len());
        if len == 0 || texts.iter().any(|needle| needle.len() != len) {
            return Err(UnequalNeedles);
        }
        let mut alphabet = Box::new([false; 256]);
        let mut ends = Box::new([0; 1024]);
        for needle in &texts {
            needle.iter().for_each(|byte| alphabet[usize::from(*byte)] = true);
            let end = fold_end(needle);
            ends[end / 64] |= 1 << (end % 64);
        }
        let by_text = texts.iter().cloned().zip(0..).collect();
        Ok(Self { texts, len, by_text, alphabet, ends })
    }

    /// The first occurrence at or after `from`: its offset and the index of the needle.
    pub(crate) fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        if self.texts.is_empty() {
            return None;
        }
        let mut start = from;
        // The bytes of the window before this one are of the alphabet.
        let mut checked = start;
        while let Some(window) = bytes.get(start..start + self.len) {
            let unchecked = checked - start;
            match window[unchecked..].iter().rposition(|byte| !self.alphabet[usize::from(*byte)]) {
                Some(stranger) => {
                    start += unchecked + stranger + 1;
                    checked = start;
                }
                None => {
                    let end = fold_end(window);
                    if self.ends[end / 64] >> (end % 64) & 1 == 1
                        && let Some(needle) = self.by_text.get(bstr::BStr::new(window))
                    {
                        return Some((start, *needle));
                    }
                    checked = start + self.len;
                    start += 1;
                }
            }
        }
        None
    }
}

/// The last four bytes as a number of 16 bits.
fn fold_end(text: &[u8]) -> usize {
    let end = text.last_chunk::<4>().map_or_else(|| text.len() as u32, |end| u32::from_le_bytes(*end));
    (end.wrapping_mul(0x9e37_79b1) >> 16) as usize
}
