//! What `cl /showIncludes` prints of the headers that it reads, among what it says. Pure.
//!
//! Source: the Ninja manual, "deps"; which lines are left out is as in Ninja 1.13.2.
#![deny(clippy::disallowed_methods)]

use bstr::ByteSlice as _;

/// How a line begins where the manifest says nothing else.
const PREFIX: &[u8] = b"Note: including file: ";

/// What is left for people: without the lines that name headers, and without the name of the source, which the compiler
/// prints first. A line ends by `\n`.
pub fn without_includes(log: &[u8], prefix: &[u8]) -> Vec<u8> {
    let prefix = if prefix.is_empty() { PREFIX } else { prefix };
    let mut rest = Vec::with_capacity(log.len());
    let mut seen_include = false;
    for line in log.lines() {
        if line.starts_with(prefix) {
            seen_include = true;
        } else if seen_include || !is_source(line) {
            rest.extend_from_slice(line);
            rest.push(b'\n');
        }
    }
    rest
}

fn is_source(line: &[u8]) -> bool {
    let line = line.to_ascii_lowercase();
    [".c", ".cc", ".cxx", ".cpp", ".c++"].iter().any(|suffix| line.ends_with(suffix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BStr;

    #[test]
    fn people_see_what_the_compiler_says_besides() {
        let log = b"File.CPP\r\nNote: including file: a.h\r\nNote: including file:  b.h\nwarning: x.c\r\nwarning: y";
        assert_eq!(without_includes(log, b"").as_bstr(), BStr::new("warning: x.c\nwarning: y\n"));
        assert_eq!(without_includes(b"Hinweis: a.h\nb", b"Hinweis:").as_bstr(), BStr::new("b\n"));
        assert_eq!(without_includes(b"", b"").as_bstr(), BStr::new(""));
    }
}
