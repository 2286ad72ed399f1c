//! Reads the command lines of C and C++ compilers: whether they compile, where they look for headers, and how to ask
//! them what they would read. Pure.
//!
//! The options are those of the GCC 12 manual, "Options Controlling the Preprocessor" and "Directory Search"; clang
//! takes the same.
#![deny(clippy::disallowed_methods)]

pub mod plain;

use bstr::{BStr, BString, ByteSlice as _};

/// A compile: a source to an object, or to assembler.
#[derive(Debug, PartialEq, Eq)]
pub struct Compile {
    /// The command without what names outputs: more options make it a question.
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
    "-F",
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
    "--serialize-diagnostics",
    "-include-pch",
    "-ivfsoverlay",
    "-mllvm",
    "-dumpbase-ext",
    "-dumpdir",
    "-framework",
    "-iframework",
    "-Xanalyzer",
    "-iwithsysroot",
    "-cxx-isystem",
    "-c-isystem",
    "-isystem-after",
];

/// Whether the next word is the value of this one. What names an output is not meant.
pub fn takes_value(word: &BStr) -> bool {
    WITH_VALUE.iter().any(|option| word == *option)
}

const SEARCH: &[&str] = &["-I", "-F", "-iquote", "-isystem", "-idirafter"];

/// Options whose value is a path that only says where something is: another path with the same file behind it gives the
/// same object. Those of [`SEARCH`] besides.
const PATHS: &[&str] = &["-include", "-imacros", "-o", "-MF", "-MT", "-MQ"];

/// Options `OPTION=OLD=NEW` that take a path out of the outputs. Where OLD stands again at the start of a path it makes
/// no difference what OLD is.
const PREFIX_MAPS: &[&str] = &["-ffile-prefix-map=", "-fdebug-prefix-map=", "-fmacro-prefix-map="];

impl Compile {
    /// Reads a command line, response files expanded; none if it does something else than compile, assemble or check sources,
    /// each to a file of its own.
    pub fn read(argv: &[BString]) -> Option<Self> {
        if !is_driver(argv.first()?.as_bstr())
            || !argv.iter().any(|word| ["-c", "-S", "-fsyntax-only", "--analyze"].iter().any(|option| word == option))
            || reads_more(argv)
        {
            return None;
        }
        let mut ask = vec![argv[0].clone()];
        let mut search = Vec::new();
        let mut words = argv[1..].iter();
        while let Some(word) = words.next() {
            match word.as_slice() {
                b"-c" | b"-S" | b"-fsyntax-only" | b"--analyze" | b"-MD" | b"-MMD" | b"-MP" | b"-M" | b"-MM"
                | b"-MG" => {}
                b"-o" | b"-MF" | b"-MT" | b"-MQ" => {
                    words.next();
                }
                _ if [&b"-MF"[..], b"-MT", b"-MQ", b"-Wp,-M"].iter().any(|option| word.starts_with(option)) => {}
                _ => {
                    let option = SEARCH.iter().find(|option| word.starts_with(option.as_bytes()));
                    ask.push(word.clone());
                    let value = if takes_value(word.as_bstr()) { words.next() } else { None };
                    ask.extend(value.cloned());
                    if let Some(option) = option {
                        search.push(value.map_or_else(|| word[option.len()..].into(), Clone::clone));
                    }
                }
            }
        }
        Some(Self { ask, search })
    }
}

/// Where a driver for C is given C++: that for C++ which comes with it, by its name.
pub fn driver_of_cxx(argv: &[BString]) -> Option<BString> {
    const ENDS: [&[u8]; 8] = [b".cc", b".cp", b".cxx", b".cpp", b".CPP", b".c++", b".C", b".mm"];
    let program = argv.first().filter(|program| is_driver(program.as_bstr()))?;
    let is_cxx = |word: &BString| !word.starts_with(b"-") && ENDS.iter().any(|end| word.ends_with(end));
    let is_told =
        argv.windows(2).any(|pair| pair[0] == "-x" && pair[1].ends_with(b"c++")) || argv.contains(&"-xc++".into());
    if !is_told && !argv.iter().any(is_cxx) {
        return None;
    }
    let start = program.rfind_byte(b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = program.split_at(start);
    let other = [(&b"gcc"[..], &b"g++"[..]), (b"cc", b"c++")].iter().find_map(|(c, cxx)| {
        let at = name.find(c)?;
        Some([directory, &name[..at], cxx, &name[at + c.len()..]].concat().into())
    });
    other.filter(|_| !name.contains_str("clang"))
}

/// Whether a compile reads what neither its includes nor its words tell.
///
/// What earlier runs of its program have counted: files whose names are made of that of the object, the working directory
/// and the option, and it goes on where there are none. Modules: what one was made of is looked at again where it is
/// imported, and a module may lead to others. Programs, in a directory that is named or by a file of specifications. Words
/// that are in a file which nobody has read.
fn reads_more(argv: &[BString]) -> bool {
    const OPTIONS: [&[u8]; 19] = [
        b"-B",
        b"-specs",
        b"--specs",
        b"--config",
        b"-wrapper",
        b"-fplugin",
        b"-fprofile-sample-use",
        b"-fprofile-list",
        b"-fsanitize-blacklist",
        b"-fsanitize-ignorelist",
        b"-fthinlto-index",
        b"-frandomize-layout-seed-file",
        b"-fprofile-use",
        b"-fprofile-instr-use",
        b"-fauto-profile",
        b"-fbranch-probabilities",
        b"-fmodule",
        b"-fprebuilt-module-path",
        b"@",
    ];
    argv.iter().any(|word| OPTIONS.iter().any(|option| word.starts_with(option)))
}

/// Whether a driver that is no [`Compile`] reads sources all the same, and what they include: it preprocesses, compiles and
/// links at once, or compiles what is not understood.
pub fn reads_sources(argv: &[BString]) -> bool {
    const OPTIONS: [&[u8]; 6] = [b"-c", b"-E", b"-S", b"-M", b"-MM", b"-fsyntax-only"];
    const ENDS: [&[u8]; 10] = [b".c", b".cc", b".cp", b".cxx", b".cpp", b".c++", b".C", b".m", b".mm", b".S"];
    argv.iter().enumerate().skip(1).any(|(i, word)| {
        let is_output = argv[i - 1] == "-o";
        OPTIONS.contains(&word.as_slice())
            || !is_output && !word.starts_with(b"-") && ENDS.iter().any(|end| word.ends_with(end))
    })
}

/// The parts of a compile's words that are paths and nothing but paths: index of the word, and where in it the path
/// begins and ends.
pub fn path_operands(argv: &[BString]) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut operands = Vec::new();
    let mut i = 1;
    while i < argv.len() {
        let word = &argv[i];
        let whole = |i: usize| (i, 0..argv[i].len());
        if SEARCH.iter().chain(PATHS).any(|option| word == option) {
            operands.extend((i + 1 < argv.len()).then(|| whole(i + 1)));
            i += 1;
        } else if takes_value(word.as_bstr()) {
            i += 1;
        } else if !word.starts_with(b"-") && !word.starts_with(b"@") {
            operands.push(whole(i));
        } else if let Some(map) = PREFIX_MAPS.iter().find(|option| word.starts_with(option.as_bytes())) {
            let end = word.rfind_byte(b'=').filter(|end| *end >= map.len()).unwrap_or(word.len());
            operands.push((i, map.len()..end));
        } else if let Some(option) =
            SEARCH.iter().chain(&["-o", "-MF", "-MT", "-MQ"]).find(|option| word.starts_with(option.as_bytes()))
        {
            operands.push((i, option.len()..word.len()));
        }
        i += 1;
    }
    operands
}

/// The word by which a compile's outputs hold the path of its working directory or its source, or a list of files that
/// are written beside them.
pub fn word_for_paths(argv: &[BString]) -> Option<&BString> {
    let mapped = argv.iter().any(|word| PREFIX_MAPS[..2].iter().any(|map| word.starts_with(map.as_bytes())));
    let is_debug = |word: &BString| {
        word.strip_prefix(b"-g").is_some_and(|kind| {
            [&b""[..], b"1", b"2", b"3"].contains(&kind)
                || [&b"gdb"[..], b"dwarf", b"split-dwarf", b"stabs", b"line-tables-only", b"mlt"]
                    .iter()
                    .any(|name| kind.starts_with(name))
        })
    };
    let debug = argv.iter().rfind(|word| word.starts_with(b"-g") && (is_debug(word) || *word == "-g0"));
    let others = [&b"--coverage"[..], b"-fprofile-", b"-ftest-coverage", b"-flto", b"-save-temps", b"-fdump-"];
    let other = |word: &&BString| others.iter().any(|option| word.starts_with(option)) || *word == "-gsplit-dwarf";
    debug.filter(|word| *word != "-g0" && !mapped).or_else(|| argv.iter().find(other))
}

/// The word of a compile for which the program writes, when it runs, where it was compiled: what counts for coverage and
/// profiles.
pub fn word_for_counts(argv: &[BString]) -> Option<&BString> {
    let options = [&b"--coverage"[..], b"-fprofile-arcs", b"-fprofile-generate", b"-fprofile-dir"];
    argv.iter().find(|word| options.iter().any(|option| word.starts_with(option)))
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
        assert_eq!(compile.ask, words("/usr/bin/cc -DX -Ia -isystem b -O2 a.c"));
        assert_eq!(compile.search, words("a b"));
    }

    #[test]
    fn a_link_or_another_program_is_no_compile() {
        assert_eq!(Compile::read(&words("cc a.o -o a")), None);
        assert_eq!(Compile::read(&words("tool -c a.c")), None);
    }

    #[test]
    fn a_compile_that_reads_more_than_it_includes_is_not_understood() {
        for word in [
            "-fprofile-use",
            "-Btools",
            "-specs=x",
            "-fmodules-ts",
            "-fmodule-file=m=m.pcm",
            "-fmodule-output=m.pcm",
            "@list",
        ] {
            assert_eq!(Compile::read(&words(&format!("cc {word} -c a.cc"))), None, "{word}");
        }
    }

    #[test]
    fn a_driver_for_c_has_one_for_cxx_beside_it() {
        let other = |text: &str| driver_of_cxx(&words(text)).map(|name| name.to_string());
        assert_eq!(other("gcc -c a.cc").as_deref(), Some("g++"));
        assert_eq!(
            other("/usr/bin/x86_64-linux-gnu-gcc-12 -c a.cpp").as_deref(),
            Some("/usr/bin/x86_64-linux-gnu-g++-12")
        );
        assert_eq!(other("cc -x c++ -c a").as_deref(), Some("c++"));
        assert_eq!(["cc -c a.c", "g++ -c a.cc", "clang -c a.cc"].map(other), [None, None, None]);
    }

    #[test]
    fn only_words_that_say_where_something_is_are_path_operands() {
        let argv = words("cc -DX=/r/x -I/r/i -isystem /r/s -ffile-prefix-map=/r=. -MF /r/a.d -o a.o -c /r/a.c");
        let paths: Vec<&[u8]> = path_operands(&argv).into_iter().map(|(i, range)| &argv[i][range]).collect();
        assert_eq!(paths, [&b"/r/i"[..], b"/r/s", b"/r", b"/r/a.d", b"a.o", b"/r/a.c"]);
    }

    #[test]
    fn debug_information_and_its_kin_hold_paths() {
        let word = |text: &str| word_for_paths(&words(text)).map(ToString::to_string);
        assert_eq!(word("cc -O2 -g -c a.c").as_deref(), Some("-g"));
        assert_eq!(word("cc -g -g0 -c a.c"), None);
        assert_eq!(word("cc -g -ffile-prefix-map=/r=. -c a.c"), None);
        assert_eq!(word("cc --coverage -c a.c").as_deref(), Some("--coverage"));
        assert_eq!(word("cc -gnu -c a.c"), None);
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
