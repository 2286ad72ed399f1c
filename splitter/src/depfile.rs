//! Depfiles: what a command says it read, in the part of Make's language that compilers write. Pure.
//!
//! What escapes mean is as in Ninja 1.13.2, `depfile_parser.in.cc`: a backslash stands for itself but before a blank
//! (where `\\` are one, too), `#` and `:`; `$$` is a dollar; a NUL byte and bytes that mean something to Make or a shell
//! end a path.
#![deny(clippy::disallowed_methods)]

use bstr::{BString, ByteSlice as _};
use hashbrown::HashSet;
use std::ops::Range;

/// What a depfile says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depfile {
    /// What was made, each once. The empty ones that `-MP` adds for headers are not among them.
    pub targets: Vec<BString>,
    /// What was read, each once.
    pub inputs: Vec<BString>,
}

/// Why a depfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct DepfileError {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What is wrong.
    pub problem: DepfileProblem,
}

/// What can be wrong with a depfile, in Ninja's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DepfileProblem {
    /// There are paths, but none is a target.
    #[error("expected ':' in depfile")]
    NoTarget,
    /// What an edge before read is made from something itself: the file is of more than one command.
    #[error("inputs may not also have inputs")]
    InputWithInputs,
}

/// Reads a depfile. An empty one has no targets; whether that will do is up to the caller.
///
/// # Errors
/// See [`DepfileProblem`]; the place is that of the path that is too much.
pub fn parse(bytes: &[u8]) -> Result<Depfile, DepfileError> {
    let error = |at: usize, problem| {
        let before = &bytes[..at];
        let line_start = before.rfind_byte(b'\n').map_or(0, |end| end + 1);
        DepfileError { line: before.find_iter("\n").count() + 1, column: at - line_start + 1, problem }
    };
    let mut depfile = Depfile::default();
    let (mut targets, mut inputs) = (HashSet::new(), HashSet::new());
    let mut first = None;
    let mut has_target = false;
    let mut in_targets = true;
    let mut takes_no_inputs = false;
    let mut words = Words::new(bytes);
    while let Some(word) = words.next() {
        let is_input = !in_targets;
        if word.colon {
            in_targets = false;
            has_target = true;
        }
        if !words.text.is_empty() {
            first.get_or_insert(word.raw.start);
            let path = words.text.as_slice();
            if inputs.contains(path) {
                takes_no_inputs |= !is_input; // as `-MP` has it for each header
            } else if !is_input {
                if targets.insert(path.to_vec()) {
                    depfile.targets.push(path.into());
                }
            } else if takes_no_inputs {
                return Err(error(word.raw.start, DepfileProblem::InputWithInputs));
            } else {
                inputs.insert(path.to_vec());
                depfile.inputs.push(path.into());
            }
        }
        if word.newline {
            in_targets = true;
            takes_no_inputs = false;
        }
    }
    match first {
        Some(first) if !has_target => Err(error(first, DepfileProblem::NoTarget)),
        _ => Ok(depfile),
    }
}

/// Puts `to` in the place of `from` in every path of a depfile that is `from` or lies below it. All else stays as it is,
/// byte for byte, also where [`parse`] finds an error.
///
/// Paths are compared as they are written, after escapes: `/a/../b/c` does not lie below `/b`.
pub fn map_paths(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let from = from.strip_suffix(b"/").unwrap_or(from);
    let below = to.strip_suffix(b"/").unwrap_or(to);
    let slashes = from.find_iter("/").count();
    let mut mapped = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    let mut words = Words::new(bytes);
    while let Some(Word { raw, .. }) = words.next() {
        let Some(rest) = words.text.strip_prefix(from) else {
            continue;
        };
        let kept = match rest {
            [] if raw.is_empty() || from.is_empty() => continue,
            [] => raw.end,
            // No escape makes or takes away a slash.
            [b'/', ..] => match bytes[raw.clone()].find_iter("/").nth(slashes) {
                Some(slash) => raw.start + slash,
                None => continue,
            },
            _ => continue,
        };
        mapped.extend_from_slice(&bytes[copied..raw.start]);
        push_escaped(if kept == raw.end { to } else { below }, &mut mapped);
        copied = kept;
    }
    mapped.extend_from_slice(&bytes[copied..]);
    mapped
}

/// Adds a path to a depfile so that [`parse`] gives it back. That cannot be had for a path with a control character or
/// one of ``*;<>|^` ``, nor for one that ends in `:` or a backslash.
pub fn push_escaped(path: &[u8], out: &mut Vec<u8>) {
    let mut backslashes = 0;
    for &byte in path {
        match byte {
            b' ' => out.extend(std::iter::repeat_n(b'\\', backslashes + 1)),
            b'#' => out.push(b'\\'),
            b':' if backslashes > 0 => out.push(b'\\'),
            b'$' if backslashes == 0 => out.push(b'$'), // after a backslash it stands for itself
            _ => {}
        }
        out.push(byte);
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
    }
}

/// Reads a depfile path by path.
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The path of the last word, escapes undone; may be empty.
    text: Vec<u8>,
    /// Behind the last colon that has a backslash for itself.
    escaped_colon: Option<usize>,
}

struct Word {
    /// Where the path is written, without the colon after it and the backslash that is for this.
    raw: Range<usize>,
    /// A colon ends it.
    colon: bool,
    /// It is the last of its line.
    newline: bool,
}

impl<'a> Words<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, text: vec![], escaped_colon: None }
    }

    fn next(&mut self) -> Option<Word> {
        if self.at >= self.bytes.len() {
            return None;
        }
        self.text.clear();
        let start = self.at;
        let (end, newline) = loop {
            let at = self.at;
            let rest = &self.bytes[at..];
            match rest {
                [b'\\', ..] => {
                    if let Some(end) = self.backslashes(rest.iter().take_while(|byte| **byte == b'\\').count()) {
                        break end;
                    }
                }
                [b'$', b'$', ..] => {
                    self.text.push(b'$');
                    self.at += 2;
                }
                [first, ..] if PLAIN[usize::from(*first)] => {
                    let length = rest.iter().take_while(|byte| PLAIN[usize::from(**byte)]).count();
                    self.text.extend_from_slice(&rest[..length]);
                    self.at += length;
                }
                [b'\r', b'\n', ..] => {
                    self.at += 2;
                    break (at, true);
                }
                _ => {
                    self.at += 1;
                    break (at, rest.first() == Some(&b'\n'));
                }
            }
        };
        let colon = self.text.last() == Some(&b':');
        if colon {
            self.text.pop();
        }
        let behind = match colon {
            true if self.escaped_colon == Some(end) => 2,
            _ => usize::from(colon),
        };
        Some(Word { raw: start..end - behind, colon, newline })
    }

    /// Reads `count` backslashes and what is behind them; if that ends the path, gives where, and whether the line ends.
    fn backslashes(&mut self, count: usize) -> Option<(usize, bool)> {
        let at = self.at;
        let next = self.bytes.get(at + count).copied();
        let mut push = |count: usize, byte: &[u8]| {
            self.text.extend(std::iter::repeat_n(b'\\', count));
            self.text.extend_from_slice(byte);
        };
        match next {
            Some(b' ') if count % 2 == 1 => {
                push(count / 2, b" ");
                self.at += count + 1;
                None
            }
            Some(b' ') => {
                push(count, b"");
                self.at += count + 1;
                Some((at + count, false))
            }
            Some(b'#') => {
                push(count - 1, b"#");
                self.at += count + 1;
                None
            }
            Some(b':') => match self.bytes.get(at + count + 1) {
                // The colon ends a target whose name ends in backslashes.
                after @ (None | Some(0 | b' ' | b'\r' | b'\n' | b'\t')) => {
                    push(count, b":");
                    self.at += count + 2;
                    Some((at + count + 1, after == Some(&b'\n')))
                }
                _ => {
                    push(count - 1, b":");
                    self.at += count + 1;
                    self.escaped_colon = Some(self.at);
                    None
                }
            },
            None | Some(0 | b'\r' | b'\n') if count > 1 => {
                push(count, b"");
                self.at += count;
                None
            }
            Some(b'\n') => {
                self.at += 2;
                Some((at, false))
            }
            Some(b'\r') if self.bytes.get(at + 2) == Some(&b'\n') => {
                self.at += 3;
                Some((at, false))
            }
            None | Some(0 | b'\r') => {
                self.at += 1;
                Some((at, false))
            }
            Some(other) => {
                push(count, &[other]);
                self.at += count + 1;
                None
            }
        }
    }
}

/// Bytes that stand for themselves.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte >= 0x80 || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"+?\"'&,/_:.~()}{%=@[]!-";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, targets: &[&str], inputs: &[&str]) {
        let depfile = parse(text.as_bytes()).expect("a good depfile");
        assert_eq!(depfile.targets, targets, "targets of {text:?}");
        assert_eq!(depfile.inputs, inputs, "inputs of {text:?}");
    }

    #[test]
    fn a_compiler_breaks_its_lines() {
        reads("build/a.o: a.c a.h \\\n  b.h\n", &["build/a.o"], &["a.c", "a.h", "b.h"]);
        reads("build/a.o: a.c a.h \\\r\n  b.h\r\n", &["build/a.o"], &["a.c", "a.h", "b.h"]);
        reads("a.o: a.c\\\n b.h", &["a.o"], &["a.c", "b.h"]);
        reads(" \\\n  out: in\n", &["out"], &["in"]);
    }

    #[test]
    fn a_blank_in_a_path_has_an_odd_number_of_backslashes() {
        reads(r"a\ bc\ def:   a\ b c d", &["a bc def"], &["a b", "c", "d"]);
        reads(r"a: b\\\ c", &["a"], &[r"b\ c"]);
        reads(r"a: b\\ c", &["a"], &[r"b\\", "c"]);
    }

    #[test]
    fn a_hash_and_a_dollar_are_escaped() {
        reads(r"a: b\#c d$$e f\\#g", &["a"], &["b#c", "d$e", r"f\#g"]);
        reads("a: b$c", &["a"], &["b", "c"]);
        reads(r"\!\@\#$$\%\^\&\[\]\\:", &[r"\!\@#$\%\^\&\[\]\\"], &[]);
    }

    #[test]
    fn other_backslashes_stay() {
        reads(r"Dir\Foo.res : Dir\Foo.rc", &[r"Dir\Foo.res"], &[r"Dir\Foo.rc"]);
        reads("a: b\\\\\nc: d", &["a", "c"], &["b\\\\", "d"]);
        reads("a: b\\", &["a"], &["b"]);
    }

    #[test]
    fn a_colon_ends_a_target_only_at_its_end() {
        reads("a.o: //?/c:/bar.h", &["a.o"], &["//?/c:/bar.h"]);
        reads(r"c\:\gcc\a.o: c:\gcc\a.h", &[r"c:\gcc\a.o"], &[r"c:\gcc\a.h"]);
        reads("foo1\\: x\nfoo1\\:\nfoo1\\:\r\nfoo1\\:\t\nfoo1\\:", &[r"foo1\"], &["x"]);
    }

    #[test]
    fn paths_are_named_once() {
        reads("foo foo: x y x\nfoo: y z\nbar: x\n", &["foo", "bar"], &["x", "y", "z"]);
    }

    #[test]
    fn a_header_may_be_an_empty_target() {
        reads("foo: x y\nx:\ny:\n", &["foo"], &["x", "y"]);
    }

    #[test]
    fn a_header_may_not_be_made_from_something() {
        let error = parse(b"foo: x y\nx: also\n").unwrap_err();
        assert_eq!(error.to_string(), "2:4: inputs may not also have inputs");
        reads("foo: x y\nx: y\n", &["foo"], &["x", "y"]);
    }

    #[test]
    fn a_file_without_a_target_is_no_depfile() {
        assert_eq!(parse(b"\n  foo bar\n").unwrap_err().to_string(), "2:3: expected ':' in depfile");
        reads("", &[], &[]);
        reads("\n \n", &[], &[]);
    }

    #[test]
    fn bytes_need_not_be_text() {
        let depfile = parse(b"a\xff.o: b\xfe.h\n").expect("a good depfile");
        assert_eq!((depfile.targets[0].as_slice(), depfile.inputs[0].as_slice()), (&b"a\xff.o"[..], &b"b\xfe.h"[..]));
    }

    #[track_caller]
    fn maps(text: &str, from: &str, to: &str, mapped: &str) {
        assert_eq!(map_paths(text.as_bytes(), from.as_bytes(), to.as_bytes()).as_bstr(), mapped);
    }

    #[test]
    fn a_directory_is_mapped_with_all_below_it() {
        maps(
            "/build/a.o: /build/a.c /builds/x.h /usr/include/build/x.h \\\r\n /build\n",
            "/build",
            "/home/me/b",
            "/home/me/b/a.o: /home/me/b/a.c /builds/x.h /usr/include/build/x.h \\\r\n /home/me/b\n",
        );
        maps("/build/:\n/build/a:", "/build/", "/b/", "/b/:\n/b/a:");
        maps("a: /usr/x b/c /", "/", "/root", "a: /root/usr/x b/c /root/");
        maps("a: /root/x /root", "/root", "/", "a: /x /");
    }

    #[test]
    fn only_what_is_mapped_is_escaped_anew() {
        maps(
            r"/b/x\ y.o: /b/c\d /z\ z",
            "/b",
            "/my dir/$1 #2",
            r"/my\ dir/$$1\ \#2/x\ y.o: /my\ dir/$$1\ \#2/c\d /z\ z",
        );
        maps(r"/a\ b/x: /a\ b", "/a b", "/c", "/c/x: /c");
        maps(r"/b\:$", "/b", "/b", r"/b\:$"); // an escaped colon ends a target if it is the last of its word
    }

    #[test]
    fn what_is_no_depfile_is_mapped_all_the_same() {
        maps("/b/x * /b/y", "/b", "/c", "/c/x * /c/y");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            map_paths(&bytes, b"a", b"b b");
        }

        #[test]
        fn any_depfile_is_read_without_a_panic(text in r"[ab/\\: #$*\r\n\t\x00]{0,40}") {
            let _ = parse(text.as_bytes());
            prop_assert_eq!(map_paths(text.as_bytes(), b"/a", b"/a"), text.as_bytes());
        }

        #[test]
        fn an_escaped_path_is_read_as_it_was(path in r"[a-c$# \\/]{0,8}[a-c/$]") {
            let mut text = b"x: ".to_vec();
            push_escaped(path.as_bytes(), &mut text);
            text.extend_from_slice(b" y\n");
            let depfile = parse(&text).expect("a good depfile");
            prop_assert_eq!(depfile.inputs, [path.as_str(), "y"]);
        }

        #[test]
        fn a_mapped_depfile_says_the_same_of_other_paths(names in prop::collection::vec(r"(/b|/c)(/[a-c$# ]{1,3}x){0,2}", 1..5)) {
            let mut text = b"t:".to_vec();
            for name in &names {
                text.push(b' ');
                push_escaped(name.as_bytes(), &mut text);
            }
            let inputs = parse(&text).expect("a good depfile").inputs;
            let mapped = parse(&map_paths(&text, b"/b", b"/d #e")).expect("a good depfile").inputs;
            let expected: Vec<BString> = inputs.iter().map(|path| match path.strip_prefix(b"/b") {
                Some(rest) => [b"/d #e", rest].concat().into(),
                None => path.clone(),
            }).collect();
            prop_assert_eq!(mapped, expected);
        }
    }
}
