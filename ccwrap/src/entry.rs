//! What the cache keeps of a call, as a file: what it read and looked for, and where what it made lies in the store. Pure.
//!
//! A file is a hash of the rest (rapidhash, 8 bytes, little-endian), which finds damage, then a version and an [`Entry`] in the
//! `postcard` encoding. Anything else is as good as no file.

use bstr::ByteSlice as _;
use rapidhash::v3::rapidhash_v3;
use serde::{Deserialize, Serialize};
use splitter::identity::Identity;

/// Another version is not read.
const VERSION: u32 = 1;

/// The most results that are kept of one call: a file that goes back and forth between as many contents is found.
pub const MOST_RESULTS: usize = 8;

/// All that is kept of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The call itself, as [`crate::call::Call::text`].
    pub call: &'a [u8],
    /// What came of it, the newest first.
    #[serde(borrow)]
    pub results: Vec<Known<'a>>,
}

/// What came of a call while some things were as they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known<'a> {
    /// What it depends on.
    #[serde(borrow)]
    pub guards: Guards<'a>,
    /// What it gave.
    pub gave: Gave<'a>,
}

/// What a result depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Guards<'a> {
    /// Files that were read, and what they held.
    #[serde(borrow)]
    pub files: Vec<File<'a>>,
    /// Directories that do not hold some names.
    pub places: Vec<Place<'a>>,
    /// Paths that have to be there, whatever they hold.
    pub there: Vec<&'a [u8]>,
    /// Files of the host, which have to be just the same; none for one that has to be absent.
    pub host: Vec<(&'a [u8], Option<Identity>)>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File<'a> {
    /// Absolute.
    pub path: &'a [u8],
    /// While the file has it, it holds what it held; none if nothing stood for its content yet.
    pub identity: Option<Identity>,
    /// The store path of its content, without the directory.
    pub content: &'a str,
}

/// A directory that does not hold some names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place<'a> {
    /// Absolute; it may be absent itself.
    pub directory: &'a [u8],
    /// While the directory has it, it holds none of the names; none if nothing stood for that yet.
    pub identity: Option<Identity>,
    /// One a line.
    pub names: &'a [u8],
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Gave<'a> {
    /// Files.
    Made {
        /// All but the depfile.
        #[serde(borrow)]
        outputs: Vec<Output<'a>>,
        /// Path and text of the depfile.
        depfile: Option<(&'a [u8], &'a [u8])>,
        /// What it printed.
        log: &'a [u8],
    },
    /// Nothing that is to be remembered: it goes to the compiler.
    Refused(Refusal),
}

/// Why nothing is remembered of what was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The date or the time is in it.
    Time,
    /// It may read anything.
    Unknowable,
    /// Its diagnostics are in a language that only the host has.
    Language,
}

/// A file that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output<'a> {
    /// Absolute.
    pub at: &'a [u8],
    /// The file in the store, absolute.
    pub from: &'a [u8],
    /// While the file in the store has it, it is what was made; none if nothing stood for that yet.
    pub identity: Option<Identity>,
}

/// The bytes of a file.
pub fn encode(entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend(VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(entry, bytes).expect("an entry is plain data");
    let hash = rapidhash_v3(&bytes[8..]);
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Entry<'_>, Spoilt> {
    let (hash, rest) = bytes.split_first_chunk().ok_or(Spoilt::Damaged)?;
    if rapidhash_v3(rest) != u64::from_le_bytes(*hash) {
        return Err(Spoilt::Damaged);
    }
    let (version, entry) = rest.split_first_chunk().ok_or(Spoilt::Damaged)?;
    if u32::from_le_bytes(*version) != VERSION {
        return Err(Spoilt::OtherVersion);
    }
    postcard::from_bytes(entry).map_err(|_| Spoilt::Damaged)
}

/// Why a file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoilt {
    /// It is not what was written.
    Damaged,
    /// Another version of this program has written it.
    OtherVersion,
}

impl Place<'_> {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn entry() -> Entry<'static> {
        let identity = Identity::of(Path::new("/"));
        let guards = Guards {
            files: vec![File { path: b"/a.c", identity, content: "hash-a.c" }],
            places: vec![Place { directory: b"/i", identity: None, names: b"a.h\nb.h" }],
            there: vec![b"/x"],
            host: vec![(b"/usr/bin/cc", identity), (b"/etc/none", None)],
        };
        let outputs = vec![Output { at: b"/a.o", from: b"/store/a.o", identity }];
        let gave = Gave::Made { outputs, depfile: Some((b"/a.d", b"a.o: a.c")), log: b"warning" };
        let refused = Known { guards: Guards::default(), gave: Gave::Refused(Refusal::Time) };
        Entry { call: b"cc\0-c", results: vec![Known { guards, gave }, refused] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(decode(&encode(&entry())), Ok(entry()));
    }

    #[test]
    fn every_damage_is_found() {
        let bytes = encode(&entry());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "{at} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(decode(&longer), Err(Spoilt::Damaged));
    }
}
