//! The command line of rustc: what its words name. Pure.
//!
//! The options are those of rustc 1.95 (`rustc --help -v`). A word that is none of them is not guessed at.
#![deny(clippy::disallowed_methods)]

pub mod mentions;

use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeMap;
use std::ops::Range;

/// Options with a value that stands behind `=` or is the next word.
const LONG: [&str; 29] = [
    "--allow",
    "--cap-lints",
    "--cfg",
    "--check-cfg",
    "--codegen",
    "--color",
    "--crate-name",
    "--crate-type",
    "--deny",
    "--diagnostic-width",
    "--edition",
    "--emit",
    "--env-set",
    "--error-format",
    "--explain",
    "--extern",
    "--forbid",
    "--force-warn",
    "--json",
    "--out-dir",
    "--pretty",
    "--print",
    "--remap-path-prefix",
    "--remap-path-scope",
    "--sysroot",
    "--target",
    "--unpretty",
    "--warn",
    "--crate-version",
];

/// Options of one letter with a value that follows at once or is the next word, and the long option that means the same.
const SHORT: [(&str, &str); 9] = [
    ("-A", "--allow"),
    ("-C", "--codegen"),
    ("-D", "--deny"),
    ("-F", "--forbid"),
    ("-L", "-L"),
    ("-W", "--warn"),
    ("-Z", "-Z"),
    ("-l", "-l"),
    ("-o", "-o"),
];

/// Options without a value.
const FLAGS: [&str; 9] = ["--test", "-g", "-O", "-v", "-V", "-h", "--verbose", "--version", "--help"];

/// One thing that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The long option; empty for an operand.
    pub option: &'static str,
    /// Which word holds the value, and where in it; of an option without a value, the word itself.
    pub value: (usize, Range<usize>),
    /// The first word of it.
    pub first: usize,
}

/// Whether a program's name is that of the compiler of Rust.
pub fn is_rustc(program: &BStr) -> bool {
    program.rsplit_str("/").next() == Some(b"rustc")
}

/// What the words say, the first of which is the program; none where one is not understood.
pub fn said(words: &[BString]) -> Option<Vec<Said>> {
    let mut all = Vec::new();
    let mut i = 1;
    while i < words.len() {
        let (first, word) = (i, words[i].as_bstr());
        i += 1;
        if !word.starts_with(b"-") || word == "-" {
            if word.starts_with(b"@") {
                return None;
            }
            all.push(Said { option: "", value: (first, 0..word.len()), first });
            continue;
        }
        if let Some(option) = FLAGS.iter().find(|flag| word == **flag) {
            all.push(Said { option, value: (first, 0..word.len()), first });
            continue;
        }
        let (option, at) = option_of(word)?;
        let value = match at {
            Some(at) => (first, at..word.len()),
            None => {
                i += 1;
                (first + 1, 0..words.get(first + 1)?.len())
            }
        };
        all.push(Said { option, value, first });
    }
    Some(all)
}

/// The option that a word is, and where its value begins in it, if it does.
fn option_of(word: &BStr) -> Option<(&'static str, Option<usize>)> {
    if word.starts_with(b"--") {
        let end = word.find_byte(b'=');
        let name = &word[..end.unwrap_or(word.len())];
        let option = LONG.iter().find(|option| name == option.as_bytes())?;
        return Some((option, end.map(|end| end + 1)));
    }
    let (short, option) = SHORT.iter().find(|(short, _)| word.starts_with(short.as_bytes()))?;
    let rest = &word[short.len()..];
    let at = short.len() + usize::from(rest.starts_with(b"="));
    Some((option, (!rest.is_empty()).then_some(at)))
}

/// A call, as far as it matters what it reads and makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// Operands: the source.
    pub sources: Vec<BString>,
    /// `-L`: the kind, empty where none is said, and the directory.
    pub searched: Vec<(BString, BString)>,
    /// `--extern`: the files that are named.
    pub externs: Vec<BString>,
    /// `-l`: the names.
    pub libraries: Vec<BString>,
    /// `--crate-type`.
    pub types: Vec<BString>,
    /// `--crate-name`.
    pub name: Option<BString>,
    /// `--emit`: kinds, with the file where one is named.
    pub emits: Vec<(BString, Option<BString>)>,
    /// `--out-dir`.
    pub directory: Option<BString>,
    /// `-o`.
    pub output: Option<BString>,
    /// `-C`: names, with `-` in the place of `_`, and values.
    pub codegen: Vec<(BString, BString)>,
    /// `--remap-path-prefix`: what is replaced.
    pub remapped: Vec<BString>,
    /// `--target`: a name, or a file.
    pub target: Option<BString>,
    /// `--test`.
    pub test: bool,
    /// Its diagnostics are for programs.
    pub json: bool,
    /// It tells by messages what it has made.
    pub tells_outputs: bool,
    /// Options that ask for something, or that are not for everybody.
    pub others: Vec<&'static str>,
}

impl Call {
    /// Reads the words, the first of which is the program; none where one is not understood.
    pub fn read(words: &[BString]) -> Option<Self> {
        let mut call = Self::default();
        for said in said(words)? {
            let (at, range) = said.value.clone();
            let value = words[at][range].as_bstr();
            let owned = || BString::from(value);
            match said.option {
                "" => call.sources.push(owned()),
                "-L" => {
                    let (kind, directory) = after_kind(value);
                    call.searched.push((value[..kind].into(), directory.into()));
                }
                "--extern" => call.externs.extend(value.split_once_str("=").map(|(_, file)| file.into())),
                "-l" => {
                    let name = value.rsplit_str("=").next().unwrap_or(value);
                    call.libraries.push(name.split_str(":").next().unwrap_or(name).into());
                }
                "--crate-type" => call.types.extend(value.split_str(",").map(BString::from)),
                "--crate-name" => call.name = Some(owned()),
                "--emit" => call.emits.extend(value.split_str(",").map(|kind| match kind.split_once_str("=") {
                    Some((kind, file)) => (kind.into(), Some(file.into())),
                    None => (kind.into(), None),
                })),
                "--out-dir" => call.directory = Some(owned()),
                "-o" => call.output = Some(owned()),
                "--codegen" => {
                    let (name, value) = value.split_once_str("=").unwrap_or((value, b""));
                    call.codegen.push((name.replace("_", "-").into(), value.into()));
                }
                "--remap-path-prefix" => call.remapped.push(value.rsplit_once_str("=")?.0.into()),
                "--target" => call.target = Some(owned()),
                "--test" => call.test = true,
                "--error-format" => call.json = value == "json",
                "--json" => call.tells_outputs |= value.split_str(",").any(|word| word == b"artifacts"),
                "-g" | "-O" | "--allow" | "--warn" | "--deny" | "--forbid" | "--force-warn" | "--cap-lints"
                | "--cfg" | "--check-cfg" | "--edition" | "--color" | "--diagnostic-width" | "--remap-path-scope" => {}
                other => call.others.push(other),
            }
        }
        Some(call)
    }

    /// The last value of a `-C` option.
    pub fn codegen(&self, name: &str) -> Option<&BStr> {
        self.codegen.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_bstr())
    }

    /// Whether it starts a linker.
    pub fn links(&self) -> bool {
        let is_emitted = self.emits.is_empty() || self.emits.iter().any(|(kind, _)| kind == "link");
        let is_plain = |kind: &BString| ["lib", "rlib", "staticlib"].iter().any(|plain| kind == plain);
        is_emitted && (self.test || self.types.is_empty() || !self.types.iter().all(is_plain))
    }

    /// The directories that are searched for crates, by the name of one that another names.
    pub fn searched_for_crates(&self) -> impl Iterator<Item = &BString> {
        let is_searched = |kind: &BString| ["", "all", "crate", "dependency"].iter().any(|known| kind == known);
        self.searched.iter().filter(move |(kind, _)| is_searched(kind)).map(|(_, directory)| directory)
    }

    /// Those whose every name matters, since a source may name a crate there without the end of its file's name.
    pub fn listed(&self) -> impl Iterator<Item = &BString> {
        let is_listed = |kind: &BString| ["", "all", "crate"].iter().any(|known| kind == known);
        self.searched.iter().filter(move |(kind, _)| is_listed(kind)).map(|(_, path)| path)
    }
}

/// Where the kind of a `-L` ends, and the directory behind it.
fn after_kind(value: &BStr) -> (usize, &BStr) {
    const KINDS: [&str; 5] = ["dependency", "crate", "native", "framework", "all"];
    match value.split_once_str("=") {
        Some((kind, directory)) if KINDS.iter().any(|known| kind == known.as_bytes()) => {
            (kind.len(), directory.as_bstr())
        }
        _ => (0, value),
    }
}

/// The parts of the words that are paths which only say where something is: the number of the word, and where in it.
pub fn path_operands(words: &[BString]) -> Vec<(usize, Range<usize>)> {
    let mut operands = Vec::new();
    for Said { option, value: (at, range), .. } in said(words).unwrap_or_default() {
        let value = words[at][range.clone()].as_bstr();
        let from = |start: usize| range.start + start..range.end;
        match option {
            "" | "--out-dir" | "-o" | "--target" | "--sysroot" => operands.push((at, range)),
            "-L" => {
                let (_, directory) = after_kind(value);
                operands.push((at, from(value.len() - directory.len())));
            }
            "--extern" => operands.extend(value.find_byte(b'=').map(|end| (at, from(end + 1)))),
            "--remap-path-prefix" => {
                operands.extend(value.rfind_byte(b'=').map(|end| (at, range.start..range.start + end)));
            }
            "--emit" => {
                let mut start = 0;
                for kind in value.split_str(",") {
                    if let Some(end) = kind.find_byte(b'=') {
                        operands.push((at, range.start + start + end + 1..range.start + start + kind.len()));
                    }
                    start += kind.len() + 1;
                }
            }
            _ => {}
        }
    }
    operands
}

/// The words without `-C incremental`.
pub fn without_incremental(words: &[BString]) -> Vec<BString> {
    let mut kept = words.to_vec();
    for Said { option, value: (at, range), first } in said(words).unwrap_or_default().into_iter().rev() {
        if option == "--codegen" && words[at][range].starts_with(b"incremental=") {
            kept.drain(first..=at);
        }
    }
    kept
}

/// The variables of the environment that a depfile names: with its value, or none where it was not set. Each is in a line
/// `# env-dep:NAME=VALUE`, with backslashes before what would end it (`write_out_deps` of `rustc_interface`, rustc 1.95).
pub fn variables_in(depfile: &[u8]) -> BTreeMap<BString, Option<BString>> {
    let unescaped = |text: &[u8]| {
        let mut out = BString::default();
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            out.push(match (byte, byte == &b'\\') {
                (_, true) => match bytes.next() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(other) => *other,
                    None => break,
                },
                (byte, false) => *byte,
            });
        }
        out
    };
    let notes = depfile.lines().filter_map(|line| line.strip_prefix(b"# env-dep:"));
    let parts = notes.map(|note| match note.split_once_str("=") {
        Some((name, value)) => (unescaped(name), Some(unescaped(value))),
        None => (unescaped(note), None),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    const CARGO: &str = "rustc --crate-name a --edition=2021 a/src/lib.rs --error-format=json \
        --json=diagnostic-rendered-ansi,artifacts --crate-type lib --emit=dep-info,metadata,link -C embed-bitcode=no \
        -Cdebuginfo=2 -C extra-filename=-46 --out-dir /w/target/deps -C incremental=/w/i -L dependency=/w/target/deps \
        --extern pm=/w/target/deps/libpm-2c.so --extern noprelude:proc_macro -L /x=y -lstatic=z";

    #[test]
    fn a_call_of_cargo_is_read() {
        let call = Call::read(&words(CARGO)).unwrap();
        assert_eq!(call.sources, ["a/src/lib.rs"]);
        assert_eq!(call.searched, [("dependency".into(), "/w/target/deps".into()), ("".into(), "/x=y".into())]);
        assert_eq!(call.externs, ["/w/target/deps/libpm-2c.so"]);
        assert_eq!(call.codegen("extra-filename"), Some("-46".into()));
        assert_eq!(call.codegen("debuginfo"), Some("2".into()));
        assert_eq!(call.libraries, ["z"]);
        assert!(call.tells_outputs && call.json && !call.links());
        assert!(call.others.is_empty());
    }

    #[test]
    fn what_makes_a_program_links() {
        for (text, links) in [
            ("rustc a.rs", true),
            ("rustc --crate-type=lib --test a.rs", true),
            ("rustc --crate-type proc-macro a.rs", true),
            ("rustc --crate-type rlib,cdylib a.rs", true),
            ("rustc --crate-type bin --emit=metadata a.rs", false),
            ("rustc --crate-type staticlib a.rs", false),
        ] {
            assert_eq!(Call::read(&words(text)).unwrap().links(), links, "{text}");
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_not_guessed_at() {
        for text in ["rustc --new a.rs", "rustc -x a.rs", "rustc @list", "rustc a.rs -o", "rustc --emit"] {
            assert_eq!(Call::read(&words(text)), None, "{text}");
        }
        assert_eq!(Call::read(&words("rustc -Zunpretty=hir a.rs")).unwrap().others, ["-Z"]);
    }

    #[test]
    fn paths_only_say_where_something_is() {
        let words =
            words("rustc s.rs -L native=/n --emit=dep-info=/d,link --extern a=/e -o/o --remap-path-prefix=/f=/t");
        let paths: Vec<&BStr> =
            path_operands(&words).into_iter().map(|(at, range)| words[at][range].as_bstr()).collect();
        assert_eq!(paths, ["s.rs", "/n", "/d", "/e", "/o", "/f"]);
    }

    #[test]
    fn a_depfile_tells_variables() {
        let found = variables_in(b"a.d: a.rs\n\n# env-dep:A=x=\\\\y\\nz\n# env-dep:B\n# env-dep:C=\n");
        let expected = [("A", Some("x=\\y\nz")), ("B", None), ("C", Some(""))];
        assert_eq!(found, expected.map(|(name, value)| (name.into(), value.map(BString::from))).into());
    }

    #[test]
    fn an_incremental_compile_is_one_that_is_not() {
        let without =
            without_incremental(&words("rustc -Cincremental=/i a.rs -C incremental=/i -g --codegen=incremental=x"));
        assert_eq!(without, words("rustc a.rs -g"));
    }
}
