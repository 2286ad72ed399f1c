//! `.ninja_log`: when and with which command each output was made.
//!
//! A line of text each, in the order in which commands ended; of several for one output the last counts.
#![deny(clippy::disallowed_methods)]

use super::paths::Paths;
use super::{Problem, Read};
use bstr::{BStr, ByteSlice as _};
use rapidhash::v1::rapidhash_v1;
use splitter::graph::Command;
use std::io::Write as _;

/// Of the format.
const VERSION: i64 = 7;
const SIGNATURE: &[u8] = b"# ninja log v";

/// How an output was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When the command began, in milliseconds since the run of Ninja began.
    pub start_ms: i32,
    /// When it had ended, likewise.
    pub end_ms: i32,
    /// In nanoseconds since 1970. The output is out of date if an input is newer than this.
    pub mtime_ns: i64,
    /// See [`command_hash`].
    pub command_hash: u64,
}

/// The entries of all outputs, in the order in which outputs first came up.
#[derive(Debug, Clone, Default)]
pub struct BuildLog {
    outputs: Paths,
    /// Of each output.
    entries: Vec<Entry>,
}

impl BuildLog {
    /// Reads a log. Lines that are none, such as one that was cut off, are passed over, as by Ninja.
    pub fn read(bytes: &[u8]) -> Read<Self> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let Some(first) = lines.next() else { return Read::default() };
        let problem = match first.strip_prefix(SIGNATURE).map_or(0, number).cmp(&VERSION) {
            std::cmp::Ordering::Less => Some(Problem::BuildLogTooOld),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Problem::BuildLogTooNew),
        };
        if problem.is_some() {
            return Read { problem, ..Read::default() };
        }
        let mut log = Self::default();
        let mut total = 0;
        for (output, entry) in lines.filter_map(line) {
            log.insert(output, entry);
            total += 1;
        }
        let wasteful = total > 100 && total > 3 * log.entries.len();
        Read { log, problem, wasteful }
    }

    /// The bytes of a file with these entries. An output with a tab or a new line in its path cannot be written down, and
    /// is left out; Ninja makes it again in each run.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        writeln!(bytes, "{VERSION}").expect("memory takes all");
        for (output, entry) in self.iter().filter(|(output, _)| !output.contains(&b'\t') && !output.contains(&b'\n')) {
            let Entry { start_ms, end_ms, mtime_ns, command_hash } = entry;
            write!(bytes, "{start_ms}\t{end_ms}\t{mtime_ns}\t").expect("memory takes all");
            bytes.extend_from_slice(output);
            writeln!(bytes, "\t{command_hash:x}").expect("memory takes all");
        }
        bytes
    }

    /// The entry of an output, its path as Ninja spells it.
    pub fn get(&self, output: &BStr) -> Option<&Entry> {
        self.outputs.find(output).map(|number| &self.entries[number as usize])
    }

    /// Puts an entry in the place of the one that the output had.
    pub fn insert(&mut self, output: &BStr, entry: Entry) {
        match self.entries.get_mut(self.outputs.add(output) as usize) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    /// All outputs with their entries.
    pub fn iter(&self) -> impl Iterator<Item = (&BStr, &Entry)> {
        self.outputs.iter().zip(&self.entries)
    }

    /// All outputs with their entries, which may be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&BStr, &mut Entry)> {
        self.outputs.iter().zip(&mut self.entries)
    }

    /// Takes the entries away whose outputs are not kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&BStr) -> bool) {
        let old = std::mem::take(self);
        old.iter().filter(|(output, _)| keep(output)).for_each(|(output, entry)| self.insert(output, *entry));
    }
}

/// By which Ninja 1.13 sees that a command is another: the first version of rapidhash, of the command and what its response
/// file holds.
pub fn command_hash(command: &Command) -> u64 {
    match &command.rspfile {
        Some(response) if !response.content.is_empty() => {
            rapidhash_v1(&[&command.text, b";rspfile=".as_slice(), &response.content].concat())
        }
        _ => rapidhash_v1(&command.text),
    }
}

/// What a line says, with its output.
fn line(line: &[u8]) -> Option<(&BStr, Entry)> {
    let mut fields = line.strip_suffix(b"\n")?.splitn(5, |byte| *byte == b'\t');
    let mut field = || fields.next();
    let (start, end, mtime, output, hash) = (field()?, field()?, field()?, field()?, field()?);
    let milliseconds = |text| number(text).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let entry = Entry {
        start_ms: milliseconds(start),
        end_ms: milliseconds(end),
        mtime_ns: number(mtime),
        command_hash: hexadecimal(hash),
    };
    Some((output.as_bstr(), entry))
}

/// The number that a text begins with; 0 if there is none.
fn number(text: &[u8]) -> i64 {
    let (sign, digits) = text.strip_prefix(b"-").map_or((1, text), |digits| (-1, digits));
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0')))
}

/// Likewise, of a number without a sign that is written in hexadecimal digits.
fn hexadecimal(text: &[u8]) -> u64 {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(16));
    digits.fold(0_u64, |number, digit| number.saturating_mul(16).saturating_add(digit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_several_entries_for_an_output_the_last_counts() {
        let Read { log, problem, wasteful } =
            BuildLog::read(b"# ninja log v7\n0\t1\t2\ta\tff\n3\t4\t5\tb\t1\n6\t7\t8\ta\tfe\n");
        assert_eq!((problem, wasteful), (None, false));
        assert_eq!(log.get("a".into()), Some(&Entry { start_ms: 6, end_ms: 7, mtime_ns: 8, command_hash: 0xfe }));
        assert_eq!(log.write().as_bstr(), "# ninja log v7\n6\t7\t8\ta\tfe\n3\t4\t5\tb\t1\n");
    }

    #[test]
    fn a_log_of_another_version_is_none() {
        for (text, problem) in [
            ("# ninja log v6\n0\t1\t2\ta\tff\n", Problem::BuildLogTooOld),
            ("# ninja log v8\n0\t1\t2\ta\tff\n", Problem::BuildLogTooNew),
            ("# ninja log v99999999999999999999\n", Problem::BuildLogTooNew),
            ("0\t1\t2\ta\tff\n", Problem::BuildLogTooOld),
        ] {
            let read = BuildLog::read(text.as_bytes());
            assert_eq!((read.problem, read.log.iter().count()), (Some(problem), 0), "{text}");
        }
        assert_eq!(BuildLog::read(b"").problem, None);
    }

    #[test]
    fn a_line_that_was_cut_off_is_passed_over() {
        let Read { log, problem, .. } = BuildLog::read(b"# ninja log v7\n0\t1\n0\t1\t2\ta\tff\n0\t1\t2\tb\tf");
        assert_eq!(log.iter().map(|(output, _)| output).collect::<Vec<_>>(), ["a"]);
        assert_eq!(problem, None);
    }

    #[test]
    fn a_log_that_says_all_many_times_is_wasteful() {
        let text = |times| ["# ninja log v7\n", &"0\t1\t2\ta\tff\n".repeat(times)].concat();
        assert!(!BuildLog::read(text(100).as_bytes()).wasteful);
        assert!(BuildLog::read(text(101).as_bytes()).wasteful);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            entries in prop::collection::vec(("[^\t\n]*", any::<i32>(), any::<i32>(), any::<i64>(), any::<u64>()), 0..20)
        ) {
            let mut log = BuildLog::default();
            for (output, start_ms, end_ms, mtime_ns, command_hash) in &entries {
                let entry = Entry {
                    start_ms: *start_ms, end_ms: *end_ms, mtime_ns: *mtime_ns, command_hash: *command_hash
                };
                log.insert(output.as_str().into(), entry);
            }
            let Read { log: read, problem, wasteful } = BuildLog::read(&log.write());
            prop_assert_eq!((problem, wasteful), (None, false));
            prop_assert!(read.iter().eq(log.iter()));
        }

        #[test]
        fn any_bytes_are_read(pieces in prop::collection::vec(prop::sample::select(vec![
            "# ninja log v7\n", "# ninja log v7", "0", "-", "\t", "\t", "\n", "a", "ff", "99999999999999999999", "\0", "é",
        ]), 0..30)) {
            let again = BuildLog::read(&BuildLog::read(pieces.concat().as_bytes()).log.write());
            prop_assert_eq!(again.problem, None);
        }
    }
}
