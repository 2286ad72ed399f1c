//! `.ninja_deps`: what the depfiles of `deps = gcc` said, which are gone.
//!
//! Records of little-endian words. A record begins with its length in bytes. That of a path is followed by the path, up
//! to three NUL bytes, and the inverted number of the path: paths are numbered as they come. That of deps has the highest
//! bit of its length set; then come the number of the output, its mtime, lower half first, and the numbers of what it was
//! made from. Of several for one output the last counts.
#![deny(clippy::disallowed_methods)]

use super::paths::Paths;
use super::{Problem, Read};
use bstr::{BStr, ByteSlice as _};

const SIGNATURE: &[u8] = b"# ninjadeps\n";
const VERSION: u32 = 4;
/// Of a record, in its length.
const IS_DEPS: u32 = 1 << 31;
/// The most bytes of a record that Ninja reads.
const LONGEST: usize = (1 << 19) - 1;

/// What is known of the outputs of edges with `deps`.
#[derive(Debug, Clone, Default)]
pub struct DepsLog {
    paths: Paths,
    /// Of each path, which need not have any.
    deps: Vec<Option<Record>>,
}

#[derive(Debug, Clone)]
struct Record {
    mtime_ns: i64,
    paths: Vec<u32>,
}

/// What an output was made from.
#[derive(Debug, Clone, Copy)]
pub struct Deps<'a> {
    log: &'a DepsLog,
    record: &'a Record,
}

impl<'a> Deps<'a> {
    /// The mtime of the output that was so made, in nanoseconds since 1970. An output that is newer is out of date.
    pub fn mtime_ns(&self) -> i64 {
        self.record.mtime_ns
    }

    /// In the order of the depfile.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &'a BStr> + use<'a> {
        let Self { log, record } = *self;
        record.paths.iter().map(|number| log.paths.at(*number))
    }
}

impl DepsLog {
    /// Reads a log up to the first record that is wrong. As by Ninja, up to three bytes behind the last are passed over.
    pub fn read(bytes: &[u8]) -> Read<Self> {
        let version = bytes.get(SIGNATURE.len()..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_le_bytes);
        if !bytes.starts_with(SIGNATURE) || version != Some(VERSION) {
            let problem = if version == Some(1) { Problem::DepsLogOfVersion1 } else { Problem::NoDepsLog };
            return Read { problem: Some(problem), ..Read::default() };
        }
        let mut log = Self::default();
        let (mut total, mut outputs) = (0, 0);
        let mut rest = &bytes[SIGNATURE.len() + size_of::<u32>()..];
        let mut problem = None;
        while let Some((length, after)) = word(rest) {
            let Some((added, after)) = log.read_record(length, after) else {
                problem = Some(Problem::DepsLogSpoilt { good: bytes.len() - rest.len() });
                break;
            };
            total += usize::from(added != Added::Path);
            outputs += usize::from(added == Added::Deps);
            rest = after;
        }
        let wasteful = problem.is_none() && total > 1000 && total > 3 * outputs;
        Read { log, problem, wasteful }
    }

    /// Adds what a record says; gives the bytes behind it.
    fn read_record<'a>(&mut self, length: u32, bytes: &'a [u8]) -> Option<(Added, &'a [u8])> {
        let size = (length & !IS_DEPS) as usize;
        let (record, rest) = bytes.split_at_checked(size).filter(|_| size <= LONGEST)?;
        let added = if length & IS_DEPS != 0 { self.read_deps(record)? } else { self.read_path(record)? };
        Some((added, rest))
    }

    fn read_path(&mut self, record: &[u8]) -> Option<Added> {
        let (path, number) = record.split_last_chunk()?;
        let padding = path.iter().rev().take(3).take_while(|byte| **byte == 0).count();
        let path = path[..path.len() - padding].as_bstr();
        let is_next = !u32::from_le_bytes(*number) as usize == self.paths.len();
        if path.is_empty() || !is_next || self.paths.find(path).is_some() {
            return None;
        }
        self.add(path);
        Some(Added::Path)
    }

    fn read_deps(&mut self, record: &[u8]) -> Option<Added> {
        let (words, []) = record.as_chunks() else { return None };
        let [output, low, high, paths @ ..] = words else { return None };
        let [output, low, high] = [output, low, high].map(|word| u32::from_le_bytes(*word));
        let paths: Vec<u32> = paths.iter().map(|word| u32::from_le_bytes(*word)).collect();
        if paths.iter().chain([&output]).any(|number| *number as usize >= self.paths.len()) {
            return None;
        }
        let mtime_ns = (u64::from(high) << 32 | u64::from(low)).cast_signed();
        let old = self.deps[output as usize].replace(Record { mtime_ns, paths });
        Some(if old.is_none() { Added::Deps } else { Added::OtherDeps })
    }

    /// The bytes of a file that says this: only paths that are needed, and nothing twice. Deps that are too many for Ninja
    /// to read, and those with a path of no or too many bytes or with a NUL byte at its end, are left out; Ninja makes the
    /// output again in each run.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = [SIGNATURE, &VERSION.to_le_bytes()].concat();
        let mut numbers: Vec<Option<u32>> = vec![None; self.paths.len()];
        let mut next = 0;
        let outputs = self.deps.iter().zip(0..).filter_map(|(deps, output)| Some((output, deps.as_ref()?)));
        for (output, record) in outputs.filter(|(output, record)| self.is_readable(*output, record)) {
            let mut number = |path: u32, bytes: &mut Vec<u8>| {
                *numbers[path as usize].get_or_insert_with(|| {
                    write_path(self.paths.at(path), next, bytes);
                    next += 1;
                    next - 1
                })
            };
            let mut words = vec![number(output, &mut bytes), record.mtime_ns as u32, (record.mtime_ns >> 32) as u32];
            words.extend(record.paths.iter().map(|path| number(*path, &mut bytes)));
            bytes.extend((IS_DEPS | size_of_val(&words[..]) as u32).to_le_bytes());
            bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
        }
        bytes
    }

    fn is_readable(&self, output: u32, record: &Record) -> bool {
        let mut paths = record.paths.iter().chain([&output]).map(|path| self.paths.at(*path));
        4 * (3 + record.paths.len()) <= LONGEST
            && paths.all(|path| (1..LONGEST - 8).contains(&path.len()) && !path.ends_with(b"\0"))
    }

    /// What an output was made from, its path as Ninja spells it.
    pub fn get(&self, output: &BStr) -> Option<Deps<'_>> {
        let record = self.deps[self.paths.find(output)? as usize].as_ref()?;
        Some(Deps { log: self, record })
    }

    /// Puts deps in the place of those that the output had. Paths are as Ninja spells them.
    pub fn insert<'a>(&mut self, output: &BStr, mtime_ns: i64, deps: impl IntoIterator<Item = &'a BStr>) {
        let output = self.add(output);
        let paths = deps.into_iter().map(|path| self.add(path)).collect();
        self.deps[output as usize] = Some(Record { mtime_ns, paths });
    }

    /// Every path that is named, in the order in which they came up; whether or not it has deps.
    pub fn paths(&self) -> impl Iterator<Item = &BStr> {
        self.paths.iter()
    }

    /// Whether it names a path.
    pub fn names(&self, path: &BStr) -> bool {
        self.paths.find(path).is_some()
    }

    /// All outputs with their deps.
    pub fn iter(&self) -> impl Iterator<Item = (&BStr, Deps<'_>)> {
        let records = self.paths.iter().zip(&self.deps);
        records.filter_map(|(path, record)| Some((path, Deps { log: self, record: record.as_ref()? })))
    }

    /// Takes the deps away of outputs that are not kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&BStr) -> bool) {
        for (output, deps) in self.paths.iter().zip(&mut self.deps) {
            deps.take_if(|_| !keep(output));
        }
    }

    fn add(&mut self, path: &BStr) -> u32 {
        let number = self.paths.add(path);
        self.deps.resize_with(self.paths.len(), || None);
        number
    }
}

/// What came with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Path,
    /// For an output without any.
    Deps,
    /// In the place of others.
    OtherDeps,
}

/// The word that bytes begin with, and the rest.
fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(word, rest)| (u32::from_le_bytes(*word), rest))
}

fn write_path(path: &BStr, number: u32, bytes: &mut Vec<u8>) {
    let padded = path.len().next_multiple_of(4);
    bytes.extend((padded as u32 + 4).to_le_bytes());
    bytes.extend_from_slice(path);
    bytes.extend(std::iter::repeat_n(0, padded - path.len()));
    bytes.extend((!number).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(deps: &[(&str, i64, &[&str])]) -> DepsLog {
        let mut log = DepsLog::default();
        for (output, mtime_ns, paths) in deps {
            log.insert((*output).into(), *mtime_ns, paths.iter().map(|path| (*path).into()));
        }
        log
    }

    fn told(log: &DepsLog) -> Vec<(String, i64, Vec<String>)> {
        log.iter()
            .map(|(path, deps)| (path.to_string(), deps.mtime_ns(), deps.paths().map(ToString::to_string).collect()))
            .collect()
    }

    #[test]
    fn deps_replace_those_that_were_there() {
        let log = log(&[("a.o", 1, &["a.c", "a.h"]), ("b.o", 2, &["a.h"]), ("a.o", 1 << 40, &["a.c"])]);
        let read = DepsLog::read(&log.write());
        assert_eq!(read.problem, None);
        assert_eq!(
            told(&read.log),
            [("a.o".into(), 1 << 40, vec!["a.c".into()]), ("b.o".into(), 2, vec!["a.h".into()])]
        );
    }

    #[test]
    fn what_stands_before_a_spoilt_record_is_good() {
        let one = log(&[("a.o", 1, &["a.c"])]).write();
        let two = log(&[("a.o", 1, &["a.c"]), ("b.o", 2, &["b.c"])]).write();
        for end in one.len() + 4..two.len() {
            let Read { log, problem, .. } = DepsLog::read(&two[..end]);
            assert_eq!(told(&log), [("a.o".into(), 1, vec!["a.c".into()])]);
            let Some(Problem::DepsLogSpoilt { good }) = problem else {
                let path_record = 12;
                assert!((end - one.len()) % path_record < 4, "{end}: {problem:?}");
                continue;
            };
            assert_eq!(DepsLog::read(&two[..good]).problem, None);
        }
    }

    #[test]
    fn a_log_of_another_version_is_none() {
        for (bytes, problem) in [
            (&b""[..], Problem::NoDepsLog),
            (b"# ninjadeps\n\x03\0\0\0", Problem::NoDepsLog),
            (b"# ninjadeps\n\x01\0\0\0", Problem::DepsLogOfVersion1),
            (b"# ninjadeps\n\x04\0\0", Problem::NoDepsLog),
            (b"# something\n\x04\0\0\0", Problem::NoDepsLog),
        ] {
            assert_eq!(DepsLog::read(bytes).problem, Some(problem), "{}", bytes.as_bstr());
        }
    }

    #[test]
    fn deps_that_ninja_could_not_read_are_left_out() {
        let many = vec!["a.h"; LONGEST / 4 - 2];
        let long = "x".repeat(LONGEST);
        let log = log(&[("a.o", 1, &many[1..]), ("b.o", 1, &many), ("c.o", 1, &[&long]), ("d.o", 1, &[""])]);
        let Read { log, problem, .. } = DepsLog::read(&log.write());
        assert_eq!(problem, None);
        assert_eq!(log.iter().map(|(output, _)| output).collect::<Vec<_>>(), ["a.o"]);
    }

    #[test]
    fn a_nul_byte_at_the_end_of_a_path_is_not_taken_for_padding() {
        // The log that is read has a path of two bytes, which padding would make the same as the one before it.
        let paths = [b"\x05\0\0\0a\xff\xff\xff\xff".as_slice(), b"\x09\0\0\0a\0\0\0\0\xfe\xff\xff\xff"].concat();
        let deps = |output: u8| [b"\x0c\0\0\x80".as_slice(), &[output, 0, 0, 0], &[0; 8]].concat();
        let bytes = [SIGNATURE, &VERSION.to_le_bytes(), &paths, &deps(0), &deps(1)].concat();
        let Read { log, problem, .. } = DepsLog::read(&bytes);
        assert_eq!(problem, None);
        assert_eq!(log.paths().collect::<Vec<_>>(), ["a", "a\0"]);
        assert_eq!(told(&DepsLog::read(&log.write()).log), [("a".into(), 0, vec![])]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            deps in prop::collection::vec(("[a-c]{1,3}", any::<i64>(), prop::collection::vec("[^\0]{1,9}", 0..5)), 0..20)
        ) {
            let mut log = DepsLog::default();
            for (output, mtime_ns, paths) in &deps {
                log.insert(output.as_str().into(), *mtime_ns, paths.iter().map(|path| path.as_str().into()));
            }
            let Read { log: read, problem, wasteful } = DepsLog::read(&log.write());
            prop_assert_eq!((problem, wasteful), (None, false));
            let sorted = |log: &DepsLog| { let mut told = told(log); told.sort(); told };
            prop_assert_eq!(sorted(&read), sorted(&log));
        }

        #[test]
        fn a_spoilt_log_is_read(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), more: Vec<u8>
        ) {
            let mut bytes = log(&[("a.o", 1, &["a.c", "a.h"]), ("b.o", 2, &["a.h"])]).write();
            bytes.extend(more);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(DepsLog::read(&DepsLog::read(&bytes).log.write()).problem, None);
        }
    }
}
