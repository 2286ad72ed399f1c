//! Reads the command lines of C and C++ compilers: whether they compile, where they look for headers, and how to ask
//! them what they would read. Pure.
//!
//! The options are those of the GCC 12 manual, "Options Controlling the Preprocessor" and "Directory Search"; clang
//! takes the same.

use bstr::{BStr, BString, ByteSlice as _};

/// A compile: one source to one object.
#[derive(Debug, PartialEq, Eq)]
pub struct Compile {
    /// The command that prints what would be read, in the form of a depfile, to standard output.
    pub ask: Vec<BString>,
    /// Directories of `-I` and its kin, in the order of the command line.
    pub search: Vec<BString>,
}

/// Whether a program's name is that of a compiler driver: `cc`, `gcc-12`, `x86_64-linux-gnu-g++`, `clang++-19`.
pub fn is_driver(program: &BStr) -> bool {
    let name = program.rsplit_str("/").next().unwrap_or(program);
    let name = name.trim_end_with(|c| c.is_ascii_digit() || c == '.' || c == '-');
    [&b"cc"[..], b"c++", b"gcc", b"g++", b"clang", b"clang++"]
        .iter()
        .any(|driver| name.strip_suffix(*driver).is_some_and(|before| before.is_empty() || before.ends_with(b"-")))
}

/// Options that take the next word as their value.
const WITH_VALUE: &[&str] = &[
    "-D",
    "-U",
    "-I",
    "-iquote",
    "-isystem",
    "-idirafter",
    "-include",
    "-imacros",
    "-iprefix",
    "-iwithprefix",
    "-iwithprefixbefore",
    "-isysroot",
    "--sysroot",
    "-imultilib",
    "-x",
    "-Xpreprocessor",
    "-Xassembler",
    "-Xlinker",
    "-Xclang",
    "-arch",
    "-target",
    "--param",
    "-T",
    "-L",
    "-l",
    "-z",
    "-u",
    "-A",
    "-B",
    "-aux-info",
    "-dumpbase",
];

const SEARCH: &[&str] = &["-I", "-iquote", "-isystem", "-idirafter"];

impl Compile {
    /// Reads a command line; none if it does something else than compile or assemble sources to an object.
    pub fn read(argv: &[BString]) -> Option<Self> {
        if !is_driver(argv.first()?.as_bstr()) || !argv.iter().any(|word| word == "-c") {
            return None;
        }
        let mut ask = vec![argv[0].clone()];
        let mut search = Vec::new();
        let mut words = argv[1..].iter();
        while let Some(word) = words.next() {
            match word.as_slice() {
                b"-c" | b"-MD" | b"-MMD" | b"-MP" | b"-M" | b"-MM" | b"-MG" => {}
                b"-o" | b"-MF" | b"-MT" | b"-MQ" => {
                    words.next();
                }
                _ if [&b"-MF"[..], b"-MT", b"-MQ", b"-Wp,-M"].iter().any(|option| word.starts_with(option)) => {}
                _ => {
                    let option = SEARCH.iter().find(|option| word.starts_with(option.as_bytes()));
                    ask.push(word.clone());
                    let value = if WITH_VALUE.iter().any(|option| word == option) { words.next() } else { None };
                    ask.extend(value.cloned());
                    if let Some(option) = option {
                        search.push(value.map_or_else(|| word[option.len()..].into(), Clone::clone));
                    }
                }
            }
        }
        ask.extend(["-M", "-MT", "inputs"].map(BString::from));
        Some(Self { ask, search })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    #[test]
    fn a_compiler_is_asked_with_its_own_options_but_for_those_of_outputs() {
        let compile = Compile::read(&words("/usr/bin/cc -DX -Ia -isystem b -O2 -MD -MT a.o -MF a.o.d -o a.o -c a.c"));
        let compile = compile.expect("a compile");
        assert_eq!(compile.ask, words("/usr/bin/cc -DX -Ia -isystem b -O2 a.c -M -MT inputs"));
        assert_eq!(compile.search, words("a b"));
    }

    #[test]
    fn a_link_or_another_program_is_no_compile() {
        assert_eq!(Compile::read(&words("cc a.o -o a")), None);
        assert_eq!(Compile::read(&words("tool -c a.c")), None);
    }

    #[test]
    fn drivers_are_known_by_their_last_name() {
        assert!(
            ["cc", "/usr/bin/x86_64-linux-gnu-gcc-12", "clang++-19", "c++"]
                .iter()
                .all(|name| is_driver((*name).into()))
        );
        assert!(!["ar", "gcc-ar", "mycc", "ccache"].iter().any(|name| is_driver((*name).into())));
    }
}
