//! What the cache keeps of a call, as a file: what it read and looked for, and where what it made lies in the store. Pure.
//!
//! A file is read by looking at it from its start to its end, without making anything of it. Numbers are little-endian:
//!
//! | | |
//! |---|---|
//! | file | hash of the rest (rapidhash, u64), version (u32), call (bytes), results (list) |
//! | bytes | length (u32), bytes |
//! | list | count (u32), one after the other |
//! | result | length of the rest of it (u32), files, places, there, host (lists), 0 (u8), compiler (bytes), outputs (list), depfile (list of at most one), log (bytes); or, after the lists, a refusal (u8) |
//! | file, place | path (bytes), identity, content or names (bytes) |
//! | host | path (bytes), identity |
//! | output | path, file in the store (bytes), identity |
//! | depfile | path, text (bytes) |
//! | identity | 0 (u8) where there is none; else 1, and [`Identity::numbers`] (7 times u64) |
//!
//! Anything else is as good as no file.

use bstr::ByteSlice as _;
use rapidhash::v3::rapidhash_v3;
use splitter::identity::Identity;

/// Another version is not read.
const VERSION: u32 = 2;

/// The most results that are kept of one call: a file that goes back and forth between as many contents is found.
pub const MOST_RESULTS: usize = 8;

/// All that is kept of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The call itself, as [`crate::raw::Raw::text`].
    pub call: &'a [u8],
    /// What came of it, the newest first.
    pub results: Vec<Known<'a>>,
}

/// What came of a call while some things were as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Known<'a> {
    /// What it depends on.
    pub guards: Guards<'a>,
    /// What it gave.
    pub gave: Gave<'a>,
}

/// What a result depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guards<'a> {
    /// Files that were read, and what they held.
    pub files: Vec<File<'a>>,
    /// Directories that do not hold some names.
    pub places: Vec<Place<'a>>,
    /// Paths that have to be there, whatever they hold.
    pub there: Vec<&'a [u8]>,
    /// Files of the host, which have to be just the same; none for one that has to be absent.
    pub host: Vec<(&'a [u8], Option<Identity>)>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct File<'a> {
    /// Absolute.
    pub path: &'a [u8],
    /// While the file has it, it holds what it held; none if nothing stood for its content yet.
    pub identity: Option<Identity>,
    /// The store path of its content, without the directory.
    pub content: &'a str,
}

/// A directory that does not hold some names.
#[derive(Debug, Clone, PartialEq)]
pub struct Place<'a> {
    /// Absolute; it may be absent itself.
    pub directory: &'a [u8],
    /// While the directory has it, it holds none of the names; none if nothing stood for that yet.
    pub identity: Option<Identity>,
    /// One a line.
    pub names: &'a [u8],
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Gave<'a> {
    /// Files.
    Made {
        /// The name of the compiler, for people.
        compiler: &'a str,
        /// All but the depfile.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The date or the time is in it.
    Time = 1,
    /// It may read anything.
    Unknowable = 2,
    /// Its diagnostics are in a language that only the host has.
    Language = 3,
}

impl Refusal {
    /// Each once.
    pub const ALL: [Self; 3] = [Self::Time, Self::Unknowable, Self::Language];
}

/// A file that was made.
#[derive(Debug, Clone, PartialEq)]
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
    let mut to = Writer(vec![0; 8]);
    to.number(VERSION);
    to.bytes(entry.call);
    to.list(&entry.results, |to, known| {
        let start = to.0.len();
        to.number(0);
        to.guards(&known.guards);
        match &known.gave {
            Gave::Made { compiler, outputs, depfile, log } => {
                to.0.push(0);
                to.bytes(compiler.as_bytes());
                to.list(outputs, |to, output| {
                    to.bytes(output.at);
                    to.bytes(output.from);
                    to.identity(output.identity);
                });
                to.list(depfile.as_slice(), |to, (path, text)| {
                    to.bytes(path);
                    to.bytes(text);
                });
                to.bytes(log);
            }
            Gave::Refused(refusal) => to.0.push(*refusal as u8),
        }
        let length = u32::try_from(to.0.len() - start - 4).expect("a result is smaller than 4 GiB");
        to.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    });
    let mut bytes = to.0;
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
    let mut from = Reader(rest);
    if from.number().ok_or(Spoilt::Damaged)? != VERSION {
        return Err(Spoilt::OtherVersion);
    }
    let entry = from.entry().ok_or(Spoilt::Damaged)?;
    if from.0.is_empty() { Ok(entry) } else { Err(Spoilt::Damaged) }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).expect("what is kept is smaller than 4 GiB"));
        self.0.extend_from_slice(bytes);
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(u32::try_from(items.len()).expect("fewer than 2^32"));
        items.iter().for_each(|item| write(self, item));
    }

    fn identity(&mut self, identity: Option<Identity>) {
        self.0.push(u8::from(identity.is_some()));
        for number in identity.iter().flat_map(Identity::numbers) {
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn guards(&mut self, guards: &Guards<'_>) {
        self.list(&guards.files, |to, file| {
            to.bytes(file.path);
            to.identity(file.identity);
            to.bytes(file.content.as_bytes());
        });
        self.list(&guards.places, |to, place| {
            to.bytes(place.directory);
            to.identity(place.identity);
            to.bytes(place.names);
        });
        self.list(&guards.there, |to, path| to.bytes(path));
        self.list(&guards.host, |to, (path, identity)| {
            to.bytes(path);
            to.identity(*identity);
        });
    }
}

/// What is left to be read. Each method takes something from its start; none where that is not there.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        // Not reserved beforehand: it may be any number.
        (0..count).map(|_| read(self)).collect()
    }

    fn identity(&mut self) -> Option<Option<Identity>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        let mut numbers = [0; 7];
        for number in &mut numbers {
            let (bytes, rest) = self.0.split_first_chunk()?;
            self.0 = rest;
            *number = u64::from_le_bytes(*bytes);
        }
        Some(Some(Identity::from_numbers(numbers)))
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        Some(Entry { call: self.bytes()?, results: self.list(Self::known)? })
    }

    fn known(&mut self) -> Option<Known<'a>> {
        let length = usize::try_from(self.number()?).ok()?;
        let end = self.0.len().checked_sub(length)?;
        let guards = self.guards()?;
        let gave = match self.byte()? {
            0 => Gave::Made {
                compiler: self.bytes()?.to_str().ok()?,
                outputs: self
                    .list(|from| Some(Output { at: from.bytes()?, from: from.bytes()?, identity: from.identity()? }))?,
                depfile: self.list(|from| Some((from.bytes()?, from.bytes()?)))?.into_iter().next(),
                log: self.bytes()?,
            },
            refusal => Gave::Refused(Refusal::ALL.into_iter().find(|known| *known as u8 == refusal)?),
        };
        (self.0.len() == end).then_some(Known { guards, gave })
    }

    fn guards(&mut self) -> Option<Guards<'a>> {
        Some(Guards {
            files: self.list(|from| {
                let (path, identity, content) = (from.bytes()?, from.identity()?, from.bytes()?);
                Some(File { path, identity, content: content.to_str().ok()? })
            })?,
            places: self.list(|from| {
                Some(Place { directory: from.bytes()?, identity: from.identity()?, names: from.bytes()? })
            })?,
            there: self.list(Self::bytes)?,
            host: self.list(|from| Some((from.bytes()?, from.identity()?)))?,
        })
    }
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
        let gave = Gave::Made { compiler: "cc", outputs, depfile: Some((b"/a.d", b"a.o: a.c")), log: b"warning" };
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
