//! The preprocessor's options of a compiler's command line.
#![deny(clippy::disallowed_methods)]

use crate::graph::absolute;
use bstr::{BStr, BString, ByteSlice as _};

/// What a command line says of preprocessing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The compiler, and the words that may change what it defines and where it looks by itself.
    pub compiler: Vec<BString>,
    /// Macros, in the order of the command line.
    pub macros: Vec<Given>,
    /// Directories for names between quotes alone.
    pub quote: Vec<BString>,
    /// Directories for all names, before the compiler's own.
    pub angle: Vec<Directory>,
    /// The same, behind those, and before the compiler's own.
    pub system: Vec<BString>,
    /// Directories behind all others.
    pub after: Vec<BString>,
    /// Directories for `#embed`.
    pub embed: Vec<BString>,
    /// Directories of which only the assembler is told.
    pub assembler: Vec<BString>,
    /// Files read before the source: of `-imacros` and of `-include`.
    pub macros_of: Vec<BString>,
    /// See `macros_of`.
    pub included: Vec<BString>,
    /// The sources, each with its language.
    pub sources: Vec<(BString, Language)>,
}

/// A directory that is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// Of `-I` and its kin: a name stands for the file of this name in it.
    Plain(BString),
    /// Of `-F`: the name `A/b.h` stands for `A.framework/Headers/b.h` in it, or `A.framework/PrivateHeaders/b.h` (Clang 16
    /// manual, "framework"; also GCC for Darwin).
    Frameworks(BString),
}

impl Directory {
    /// Where a name may be found in it, in order.
    pub fn places(&self, name: &BStr) -> Vec<BString> {
        match self {
            Self::Plain(directory) => vec![absolute(name, directory.as_bstr())],
            Self::Frameworks(directory) => name.split_once_str("/").map_or(Vec::new(), |(framework, file)| {
                let below = |headers: &str| {
                    let name = [framework, b".framework/", headers.as_bytes(), b"/", file].concat();
                    absolute(name.as_bstr(), directory.as_bstr())
                };
                ["Headers", "PrivateHeaders"].map(below).into()
            }),
        }
    }
}

/// A macro of the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// `-D`: as it would stand after `#define`.
    Defined(BString),
    /// `-U`
    Undefined(BString),
}

/// The name that `-x` takes; empty for what is not preprocessed.
pub type Language = &'static str;

/// Options whose value is a directory or a file.
const WITH_PATH: [&str; 7] = ["-iquote", "-isystem", "-idirafter", "-imacros", "-include", "-I", "-F"];

/// Long names of options, and the short ones (GCC 12, `c.opt`; Clang 16, `Options.td`). Their value is the next word, or
/// stands behind `=`.
const LONG: [(&str, &str); 9] = [
    ("--include-directory-after", "-idirafter"),
    ("--include-directory", "-I"),
    ("--include", "-include"),
    ("--imacros", "-imacros"),
    ("--embed-directory", EMBED),
    ("--embed-dir", EMBED),
    ("--define-macro", "-D"),
    ("--undefine-macro", "-U"),
    ("--language", "-x"),
];

/// A directory for `#embed` (GCC 15, Clang 19).
const EMBED: &str = "--embed-dir=";

/// Options that say where to look, or what to read, in ways that are not followed.
const NOT_FOLLOWED: [&[u8]; 16] = [
    b"-I-",
    b"--include-barrier",
    b"--include-prefix",
    b"--include-with-prefix",
    b"-iframework",
    b"-iprefix",
    b"-iwithprefix",
    b"-imultilib",
    b"-include-pch",
    b"-Xpreprocessor",
    b"-Xclang",
    b"-Wp,",
    b"-fmodule",
    b"-fcxx-modules",
    b"-traditional",
    b"@",
];

/// Options of the compiler that take the next word, and may change what it defines.
const WITH_VALUE: [&str; 11] =
    ["-isysroot", "--sysroot", "-arch", "-target", "--param", "-B", "-T", "-L", "-l", "-z", "-Xassembler"];

impl Options {
    /// Reads a command line without what names outputs; the word that is not followed, where there is one.
    ///
    /// # Errors
    /// That word.
    pub fn read(argv: &[BString]) -> Result<Self, BString> {
        let mut options = Self { compiler: argv.iter().take(1).cloned().collect(), ..Self::default() };
        let mut language = None;
        let mut words = argv.iter().skip(1);
        while let Some(word) = words.next() {
            let short = short(word);
            let text = short.as_slice();
            let mut value = |option: &str| match &text[option.len()..] {
                b"" => words.next().cloned().unwrap_or_default(),
                rest => rest.into(),
            };
            if NOT_FOLLOWED.iter().any(|option| text.starts_with(option)) {
                return Err(word.clone());
            } else if let Some(option) = WITH_PATH.iter().find(|option| text.starts_with(option.as_bytes())) {
                let path = value(option);
                if path.starts_with(b"=") || path.starts_with(b"$SYSROOT") {
                    return Err(word.clone());
                }
                match *option {
                    "-iquote" => options.quote.push(path),
                    "-isystem" => options.system.push(path),
                    "-idirafter" => options.after.push(path),
                    "-imacros" => options.macros_of.push(path),
                    "-include" => options.included.push(path),
                    "-F" => options.angle.push(Directory::Frameworks(path)),
                    _ => options.angle.push(Directory::Plain(path)),
                }
            } else if text.starts_with(b"-D") {
                options.macros.push(Given::Defined(definition(&value("-D"))));
            } else if text.starts_with(b"-U") {
                options.macros.push(Given::Undefined(value("-U")));
            } else if text.starts_with(EMBED.as_bytes()) {
                options.embed.push(value(EMBED));
            } else if text.starts_with(b"-x") {
                language = named_language(value("-x").as_bstr());
                if language.is_none() {
                    return Err(word.clone());
                }
            } else if text.starts_with(b"-") {
                options.compiler.push(word.clone());
                options.assembler.extend(text.strip_prefix(b"-Wa,").map(directories).unwrap_or_default());
                if WITH_VALUE.iter().any(|option| text == option.as_bytes()) {
                    options.compiler.extend(words.next().cloned());
                }
            } else {
                let Some(language) = language.or_else(|| language_of(word.as_bstr())) else { return Err(word.clone()) };
                options.sources.push((word.clone(), language));
            }
        }
        Ok(options)
    }
}

/// An option by its short name, as it stands with its value in one word.
fn short(word: &BString) -> BString {
    let named = |(long, short): &(&str, &str)| match word.strip_prefix(long.as_bytes())? {
        b"" => Some(BString::from(*short)),
        rest => Some([short.as_bytes(), rest.strip_prefix(b"=")?].concat().into()),
    };
    LONG.iter().find_map(named).unwrap_or_else(|| word.clone())
}

/// The directories among what `-Wa,` hands to the assembler: `-Idir`, or `-I,dir`.
fn directories(words: &[u8]) -> Vec<BString> {
    let mut words = words.split(|byte| *byte == b',');
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix(b"-I") {
            Some(b"") => found.extend(words.next().map(BString::from)),
            Some(directory) => found.push(directory.into()),
            None => {}
        }
    }
    found
}

/// What `-D` takes as it would stand after `#define`.
fn definition(given: &BString) -> BString {
    match given.find_byte(b'=') {
        Some(at) => [&given[..at], b" ", &given[at + 1..]].concat().into(),
        None => [given.as_slice(), b" 1"].concat().into(),
    }
}

fn named_language(name: &BStr) -> Option<Language> {
    ["c", "c++", "objective-c", "objective-c++", "assembler-with-cpp"].into_iter().find(|known| name == *known)
}

/// By the end of a name, as the GCC 12 manual has it ("Overall Options").
fn language_of(source: &BStr) -> Option<Language> {
    let (_, end) = source.rsplit_once_str(".")?;
    Some(match end {
        b"c" => "c",
        b"cc" | b"cp" | b"cxx" | b"cpp" | b"CPP" | b"c++" | b"C" => "c++",
        b"m" => "objective-c",
        b"mm" | b"M" => "objective-c++",
        b"S" | b"sx" => "assembler-with-cpp",
        b"s" => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    #[test]
    fn what_is_for_the_preprocessor_is_told_from_what_is_for_the_compiler() {
        let options = Options::read(&words(
            "cc -O2 -DA -D B=2 -DF(x)=x -UC -Ia -F f -I b -iquote q -isystem s -idirafter d -include p.h --sysroot r x.c y.S",
        ));
        let options = options.expect("all is followed");
        let given = |text: &str| Given::Defined(text.into());
        assert_eq!(options.compiler, words("cc -O2 --sysroot r"));
        assert_eq!(options.macros, [given("A 1"), given("B 2"), given("F(x) x"), Given::Undefined("C".into())]);
        let plain = |path: &str| Directory::Plain(path.into());
        let angle = vec![plain("a"), Directory::Frameworks("f".into()), plain("b")];
        assert_eq!((options.quote, options.angle), (words("q"), angle));
        assert_eq!((options.system, options.after, options.included), (words("s"), words("d"), words("p.h")));
        assert_eq!(options.sources, [("x.c".into(), "c"), ("y.S".into(), "assembler-with-cpp")]);
    }

    #[test]
    fn a_word_that_is_not_followed_is_named() {
        for word in ["-Wp,-MD,x", "@list", "-fmodules-ts", "-I-", "x.f90", "-I=/a", "-isystem=/a", "--include-barrier"]
        {
            assert_eq!(Options::read(&words(&format!("cc {word} x.c"))), Err(word.into()));
        }
        // In the compiler's system root.
        assert_eq!(Options::read(&words("cc -idirafter =/a x.c")), Err("-idirafter".into()));
        assert_eq!(Options::read(&words("cc -xc x.weird")).expect("it is C").sources, [("x.weird".into(), "c")]);
    }
    #[test]
    fn long_names_mean_what_the_short_ones_do() {
        for (long, short) in [
            ("--include=p.h --imacros=m.h", "-include p.h -imacros m.h"),
            ("--include p.h --imacros m.h", "-include p.h -imacros m.h"),
            ("--include-directory=a --include-directory b", "-I a -I b"),
            ("--include-directory-after=a", "-idirafter a"),
            ("--define-macro=A=1 --define-macro B --undefine-macro=A", "-DA=1 -DB -UA"),
            ("--language=c++", "-x c++"),
            ("--embed-directory=a", "--embed-dir=a"),
        ] {
            let read = |given: &str| Options::read(&words(&format!("cc {given} x.c")));
            assert_eq!(read(long), read(short), "{long}");
            assert!(read(long).is_ok_and(|options| options.compiler == words("cc")), "{long}");
        }
    }

    #[test]
    fn the_assembler_has_directories_of_its_own() {
        let options = Options::read(&words("cc -Wa,-Ia,--noexecstack,-I,b -Wa,-Ic x.S")).expect("all is followed");
        assert_eq!(options.assembler, words("a b c"));
        assert_eq!(options.compiler, words("cc -Wa,-Ia,--noexecstack,-I,b -Wa,-Ic"));
    }
}
