//! What the cache keeps of a call, as a file: what it read and looked for, and where what it made lies in the store. How the
//! file is laid out stands with [its reader](ccwrap_format::entry), which is shared with the small program. Pure.

use bstr::ByteSlice as _;
pub use ccwrap_format::entry::Spoilt;
use ccwrap_format::entry::{self, MADE, Reader, VERSION};
use splitter::identity::Identity;

/// The most results that are kept of one call: a file that goes back and forth between as many contents is found.
pub const MOST_RESULTS: usize = 8;

/// All that is kept of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The call itself, as [`crate::raw::Raw::text`].
    pub call: &'a [u8],
    /// Which entries it belongs to; mostly empty.
    pub namespace: &'a [u8],
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
    /// Directories that the compiler may search.
    pub directories: Vec<Directory<'a>>,
    /// Paths that have to be there, whatever they hold.
    pub there: Vec<&'a [u8]>,
    /// Files of the host, which have to be just the same; none for one that has to be absent.
    pub host: Vec<(&'a [u8], Option<Identity>)>,
    /// Variables that have to have these values, or none, besides those that every call is known by.
    pub variables: Vec<(&'a [u8], Option<&'a [u8]>)>,
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

/// A directory, whatever it holds. Of several that are one, by links, a compiler searches one.
#[derive(Debug, Clone, PartialEq)]
pub struct Directory<'a> {
    /// Absolute.
    pub path: &'a [u8],
    /// While it has that, as [`guard::of_place`](crate::guard::of_place) tells, it is the same; none if it has to be absent.
    pub identity: Option<Identity>,
    /// Its path without links on the way; empty if it has to be absent.
    pub real: &'a [u8],
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
    /// A variable of the environment that it has read is another in a sandbox.
    Variable = 4,
}

impl Refusal {
    /// Each once.
    pub const ALL: [Self; 4] = [Self::Time, Self::Unknowable, Self::Language, Self::Variable];
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
    to.bytes(entry.namespace);
    to.list(&entry.results, |to, known| {
        let start = to.0.len();
        to.number(0);
        to.guards(&known.guards);
        match &known.gave {
            Gave::Made { compiler, outputs, depfile, log } => {
                to.0.push(MADE);
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
    let hash = entry::hash(&bytes[8..]);
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Entry<'_>, Spoilt> {
    let mut from = entry::open(bytes)?;
    read(&mut from).filter(|_| from.is_empty()).ok_or(Spoilt::Damaged)
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
        self.list(&guards.directories, |to, directory| {
            to.bytes(directory.path);
            to.identity(directory.identity);
            to.bytes(directory.real);
        });
        self.list(&guards.there, |to, path| to.bytes(path));
        self.list(&guards.host, |to, (path, identity)| {
            to.bytes(path);
            to.identity(*identity);
        });
        self.list(&guards.variables, |to, (name, value)| {
            to.bytes(name);
            to.list(value.as_slice(), |to, value| to.bytes(value));
        });
    }
}

/// Reads a list. Nothing is reserved beforehand: the count may be any number.
fn list<'a, T>(from: &mut Reader<'a>, read: impl Fn(&mut Reader<'a>) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    from.each(|from| read(from).map(|item| items.push(item)))?;
    Some(items)
}

fn read<'a>(from: &mut Reader<'a>) -> Option<Entry<'a>> {
    Some(Entry { call: from.bytes()?, namespace: from.bytes()?, results: list(from, known)? })
}

fn known<'a>(from: &mut Reader<'a>) -> Option<Known<'a>> {
    let mut from = from.within()?;
    let guards = guards(&mut from)?;
    let gave = match from.byte()? {
        MADE => Gave::Made {
            compiler: from.bytes()?.to_str().ok()?,
            outputs: list(&mut from, |from| {
                let (at, from, identity) = from.output()?;
                Some(Output { at, from, identity: identity.map(Identity::from_numbers) })
            })?,
            depfile: list(&mut from, Reader::depfile)?.into_iter().next(),
            log: from.bytes()?,
        },
        refusal => Gave::Refused(Refusal::ALL.into_iter().find(|known| *known as u8 == refusal)?),
    };
    from.is_empty().then_some(Known { guards, gave })
}

fn guards<'a>(from: &mut Reader<'a>) -> Option<Guards<'a>> {
    Some(Guards {
        files: list(from, |from| {
            let (path, identity, content) = from.file()?;
            Some(File { path, identity: identity.map(Identity::from_numbers), content: content.to_str().ok()? })
        })?,
        places: list(from, |from| {
            let (directory, identity, names) = from.file()?;
            Some(Place { directory, identity: identity.map(Identity::from_numbers), names })
        })?,
        directories: list(from, |from| {
            let (path, identity, real) = from.file()?;
            Some(Directory { path, identity: identity.map(Identity::from_numbers), real })
        })?,
        there: list(from, Reader::bytes)?,
        host: list(from, |from| {
            let (path, identity) = from.host()?;
            Some((path, identity.map(Identity::from_numbers)))
        })?,
        variables: list(from, Reader::variable)?,
    })
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
            directories: vec![
                Directory { path: b"/i", identity, real: b"/real" },
                Directory { path: b"/none", identity: None, real: b"" },
            ],
            there: vec![b"/x"],
            host: vec![(b"/usr/bin/cc", identity), (b"/etc/none", None)],
            variables: vec![(b"SET", Some(b"1")), (b"UNSET", None)],
        };
        let outputs = vec![Output { at: b"/a.o", from: b"/store/a.o", identity }];
        let gave = Gave::Made { compiler: "cc", outputs, depfile: Some((b"/a.d", b"a.o: a.c")), log: b"warning" };
        let refused = Known { guards: Guards::default(), gave: Gave::Refused(Refusal::Time) };
        Entry { call: b"cc\0-c", namespace: b"n", results: vec![Known { guards, gave }, refused] }
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
