//! Reads the command lines of links: which of their words only say where something is. Pure.
//!
//! The options are those of the manual of GNU ld 2.40, "Command-line Options", as a compiler driver passes them on.
#![deny(clippy::disallowed_methods)]

use bstr::{BString, ByteSlice as _};
use std::ops::Range;

/// Options of the linker whose value is a file that it reads, or directories between colons where it looks for such. The
/// output holds none of them.
const PATHS: &[&str] = &["-rpath-link", "-version-script", "-dynamic-list", "-retain-symbols-file"];

/// The parts of a link's words that are paths which do not come into the output: index of the word, and where in it the
/// path begins and ends. A library is none of them: one without a SONAME is named in the output as it is spelt.
pub fn path_operands(argv: &[BString]) -> Vec<(usize, Range<usize>)> {
    let mut operands = Vec::new();
    let mut is_path = false;
    for (i, word) in argv.iter().enumerate().skip(1) {
        if std::mem::take(&mut is_path) {
            operands.push((i, 0..word.len()));
        } else if word == "-L" || word == "-o" {
            is_path = true;
        } else if word.starts_with(b"-L") {
            operands.push((i, 2..word.len()));
        } else if word.starts_with(b"-Wl,") {
            operands.extend(of_linker(word).into_iter().map(|range| (i, range)));
        } else if !word.starts_with(b"-") && [&b".o"[..], b".a"].iter().any(|end| word.ends_with(end)) {
            operands.push((i, 0..word.len()));
        }
    }
    operands
}

/// The paths in `-Wl,OPTION,…`: a value follows its option after a comma or `=`.
fn of_linker(word: &BString) -> Vec<Range<usize>> {
    let mut paths = Vec::new();
    let mut at = 0;
    let mut is_value = false;
    for part in word.split(|b| *b == b',') {
        let (option, value) = part.find_byte(b'=').map_or((part, None), |end| (&part[..end], Some(end + 1)));
        let value = value.or_else(|| std::mem::take(&mut is_value).then_some(0));
        let is_option = |option: &[u8]| {
            let name = option.strip_prefix(b"--").or_else(|| option.strip_prefix(b"-")).unwrap_or_default();
            PATHS.iter().any(|path| path.as_bytes()[1..] == *name)
        };
        match value {
            Some(0) => paths.extend(between_colons(part, at)),
            Some(start) if is_option(option) => paths.extend(between_colons(&part[start..], at + start)),
            _ => is_value = is_option(part),
        }
        at += part.len() + 1;
    }
    paths
}

fn between_colons(text: &[u8], mut at: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for part in text.split(|b| *b == b':') {
        ranges.push(at..at + part.len());
        at += part.len() + 1;
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operands(text: &str) -> Vec<String> {
        let argv: Vec<BString> = text.split(' ').map(BString::from).collect();
        path_operands(&argv).into_iter().map(|(i, range)| BString::from(&argv[i][range]).to_string()).collect()
    }

    #[test]
    fn what_is_only_read_or_looked_through_is_no_part_of_the_output() {
        let found = operands(
            "cc -L/r/a -L /r/b /r/x.o y.o /r/l.a -Wl,-rpath-link,/r/c:/r/d -Wl,--version-script=/r/v,-dynamic-list,/r/e -o t",
        );
        assert_eq!(found, ["/r/a", "/r/b", "/r/x.o", "y.o", "/r/l.a", "/r/c", "/r/d", "/r/v", "/r/e", "t"]);
    }

    #[test]
    fn what_the_output_names_is_no_operand() {
        let found = operands("cc -Wl,-rpath,/r/a:/r/b -Wl,-soname,/r/l.so,-rpath=/r/c -Wl,-Map=/r/m /r/l.so -DX=/r/x");
        assert_eq!(found, [""; 0]);
    }
}
