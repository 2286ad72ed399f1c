//! The file of an entry, read by looking at it from its start to its end, without making anything of it. Numbers are
//! little-endian:
//!
//! | | |
//! |---|---|
//! | file | hash of the rest (rapidhash, u64), version (u32), call, namespace (bytes), results (list) |
//! | bytes | length (u32), bytes |
//! | list | count (u32), one after the other |
//! | result | bytes, within which are files, places, directories, there, host, variables (lists), 0 (u8), compiler (bytes), outputs (list), depfile (list of at most one), log (bytes); or, after the lists, a refusal (u8) |
//! | file, place, directory | path (bytes), identity, content, names or real path (bytes) |
//! | there | path (bytes) |
//! | host | path (bytes), identity |
//! | variable | name (bytes), value (list of at most one) |
//! | output | path, file in the store (bytes), identity |
//! | depfile | path, text (bytes) |
//! | identity | 0 (u8) where there is none; else 1, and [`Numbers`] (7 times u64) |
//!
//! Anything else is as good as no file.

use rapidhash::v3::rapidhash_v3;

/// Another version is not read, nor one whose guards were found by other rules.
pub const VERSION: u32 = 6;

/// Stands before what a call made; any other number is a refusal.
pub const MADE: u8 = 0;

/// A stat identity: device, inode, size in bytes (0 for a directory), seconds and nanoseconds of the last change of the content,
/// and of anything.
pub type Numbers = [u64; 7];

/// The identity of a file or directory whatever it holds, and whenever it was changed: its device and its inode.
pub fn place([device, inode, ..]: Numbers) -> Numbers {
    [device, inode, 0, 0, 0, 0, 0]
}

/// Why a file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// It is not what was written.
    Damaged,
    /// Another version of this program has written it.
    OtherVersion,
}

/// The hash of what stands behind the hash in a file.
pub fn hash(rest: &[u8]) -> u64 {
    rapidhash_v3(rest)
}

/// What stands in a file behind hash and version.
///
/// # Errors
/// What is wrong with it.
pub fn open(file: &[u8]) -> Result<Reader<'_>, Spoilt> {
    let (expected, rest) = file.split_first_chunk().ok_or(Spoilt::Damaged)?;
    if hash(rest) != u64::from_le_bytes(*expected) {
        return Err(Spoilt::Damaged);
    }
    let mut from = Reader(rest);
    match from.number() {
        Some(VERSION) => Ok(from),
        Some(_) => Err(Spoilt::OtherVersion),
        None => Err(Spoilt::Damaged),
    }
}

/// What is left to be read. Each method takes something from its start; none where that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A length, a count or a version.
    pub fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    /// A byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Bytes, as many as their length says.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// An identity, or that there is none.
    pub fn identity(&mut self) -> Option<Option<Numbers>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        let mut numbers = [0; 7];
        for number in &mut numbers {
            let (bytes, rest) = self.0.split_first_chunk()?;
            self.0 = rest;
            *number = u64::from_le_bytes(*bytes);
        }
        Some(Some(numbers))
    }

    /// What stands within bytes.
    pub fn within(&mut self) -> Option<Self> {
        self.bytes().map(Self)
    }

    /// A file, a place or a directory: its path, its identity, its content, the names that it does not hold or its real path.
    pub fn file(&mut self) -> Option<(&'a [u8], Option<Numbers>, &'a [u8])> {
        Some((self.bytes()?, self.identity()?, self.bytes()?))
    }

    /// A file of the host: its path and its identity.
    pub fn host(&mut self) -> Option<(&'a [u8], Option<Numbers>)> {
        Some((self.bytes()?, self.identity()?))
    }

    /// A variable: its name, and its value if it is set.
    pub fn variable(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let (name, mut value) = (self.bytes()?, None);
        self.each(|from| from.bytes().map(|bytes| value = Some(bytes)))?;
        Some((name, value))
    }

    /// An output: its path, the file in the store, the identity of that.
    pub fn output(&mut self) -> Option<(&'a [u8], &'a [u8], Option<Numbers>)> {
        Some((self.bytes()?, self.bytes()?, self.identity()?))
    }

    /// A depfile: its path and its text.
    pub fn depfile(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        Some((self.bytes()?, self.bytes()?))
    }

    /// Each item of a list, by a function that reads one; none as soon as that gives none.
    pub fn each(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        (0..self.number()?).try_for_each(|_| item(self))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_file_is_read_only_with_its_hash_and_version() {
        let file = |version: u32| {
            let rest = version.to_le_bytes();
            [&hash(&rest).to_le_bytes()[..], &rest[..]].concat()
        };
        assert!(open(&file(VERSION)).unwrap().is_empty());
        assert_eq!(open(&file(VERSION + 1)), Err(Spoilt::OtherVersion));
        assert_eq!(open(&file(VERSION)[1..]), Err(Spoilt::Damaged));
        assert_eq!(open(b""), Err(Spoilt::Damaged));
    }

    proptest! {
        #[test]
        fn whatever_is_read_there_is_an_end(bytes in proptest::collection::vec(0..4_u8, 0..200), what in proptest::collection::vec(0..5_u8, 0..40)) {
            let mut from = Reader(&bytes);
            for what in what {
                match what {
                    0 => from.number().map(drop),
                    1 => from.byte().map(drop),
                    2 => from.bytes().map(drop),
                    3 => from.identity().map(drop),
                    _ => from.each(|from| from.bytes().map(drop)),
                };
            }
            prop_assert!(from.0.len() <= bytes.len());
        }

        #[test]
        fn bytes_that_are_no_file_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes: Vec<u8> = bytes;
            prop_assert_eq!(open(&bytes), Err(Spoilt::Damaged));
        }
    }
}
