//! Compiles whose words say all that matters before their source is opened: a list of options that are known, so that a new one is
//! taken for more than it is. Pure.
#![deny(clippy::disallowed_methods)]

use super::{is_driver, takes_value};
use bstr::{BStr, BString, ByteSlice as _};

/// The sources of a command line; none if one of its words may name a file that is read, or make the compiler look for one before
/// its source.
pub fn sources(words: &[BString], is_gcc: bool) -> Option<Vec<&BString>> {
    let mut sources = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if !word.starts_with(b"-") {
            sources.push(word);
        } else if is_plain(word.as_bstr(), is_gcc) {
            if takes_value(word.as_bstr()) || TAKE_NAMES.iter().any(|option| word == option) {
                rest.next()?;
            }
        } else {
            return None;
        }
    }
    Some(sources)
}

/// Whether the assembler may read what the compiler writes while it writes it (`-pipe`): the object is the same, sooner, and no file is
/// made in between. Not where the words ask for that file, for another assembler or for code of another kind; objects for link-time
/// optimisation keep the words that they were made by.
pub fn may_pipe(words: &[BString]) -> bool {
    const ENDS: [&[u8]; 12] =
        [b".c", b".cc", b".cp", b".cxx", b".cpp", b".CPP", b".c++", b".C", b".m", b".mm", b".i", b".ii"];
    let is_gcc = is_driver(words[0].as_bstr()) && !words[0].contains_str("clang");
    let is_told_otherwise = |word: &BString| {
        ["-S", "-pipe"].iter().any(|option| word == option)
            || ["-x", "-flto"].iter().any(|option| word.starts_with(option.as_bytes()))
    };
    is_gcc
        && words.iter().any(|word| word == "-c")
        && !words.iter().any(is_told_otherwise)
        && sources(words, true)
            .is_some_and(|sources| sources.iter().all(|source| ENDS.iter().any(|end| source.ends_with(end))))
}

/// Options whose value names what is made.
const TAKE_NAMES: [&str; 4] = ["-o", "-MF", "-MT", "-MQ"];

/// Whether an option neither names a file that is read nor makes the compiler look for one before its source.
fn is_plain(word: &BStr, is_gcc: bool) -> bool {
    const WHOLE: [&str; 14] = [
        "-c",
        "-S",
        "-w",
        "-pipe",
        "-ansi",
        "-pedantic",
        "-pedantic-errors",
        "-pthread",
        "-MD",
        "-MMD",
        "-MP",
        "-x",
        "-nostdinc",
        "-nostdinc++",
    ];
    const BEGIN: [&str; 14] =
        ["-o", "-MF", "-MT", "-MQ", "-D", "-U", "-I", "-isystem", "-iquote", "-idirafter", "-O", "-std=", "-W", "-m"];
    // Clang looks for a precompiled header first.
    const OF_GCC: [&str; 2] = ["-include", "-imacros"];
    const NOT: [&str; 4] = ["-Wp,", "-Wa,", "-Wl,", "-mllvm"];
    let begins = |options: &[&str]| options.iter().any(|option| word.starts_with(option.as_bytes()));
    let is_debug = word.starts_with(b"-g") && !word.starts_with(b"-gen-");
    !begins(&NOT)
        && (WHOLE.iter().any(|option| word == *option)
            || begins(&BEGIN)
            || is_gcc && begins(&OF_GCC)
            || is_debug
            || word.strip_prefix(b"-f").is_some_and(|option| is_plain_of_code(option.as_bstr())))
}

/// The same of an option that begins with `-f`, without that.
fn is_plain_of_code(option: &BStr) -> bool {
    const NOT: [&str; 12] = [
        "profile",
        "auto-profile",
        "branch-probabilities",
        "plugin",
        "module",
        "cxx-modules",
        "implicit-module",
        "prebuilt",
        "compare-debug",
        "pch",
        "dump",
        "directives-only",
    ];
    const WITH_VALUE: [&str; 23] = [
        "abi-version",
        "cf-protection",
        "constexpr-depth",
        "debug-prefix-map",
        "diagnostics-color",
        "diagnostics-urls",
        "excess-precision",
        "file-prefix-map",
        "fp-contract",
        "lto",
        "macro-prefix-map",
        "max-errors",
        "message-length",
        "random-seed",
        "sanitize",
        "stack-reuse",
        "strict-flex-arrays",
        "template-depth",
        "tls-model",
        "trivial-auto-var-init",
        "visibility",
        "vect-cost-model",
        "zero-call-used-regs",
    ];
    match option.split_once_str("=") {
        Some((name, _)) => WITH_VALUE.iter().any(|known| name == known.as_bytes()),
        None => !NOT.iter().any(|begin| option.starts_with(begin.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<BString> {
        text.split(' ').map(BString::from).collect()
    }

    #[test]
    fn plain_words_lead_to_the_source() {
        for text in [
            "-O2 -g3 -std=gnu11 -Wall -Wno-error=x -DA=1 -D B -UC -Ia -I a -isystem s -iquote q -fPIC -fvisibility=hidden \
             -ffile-prefix-map=/a=. -fsanitize=address -march=x86-64-v3 -mtune=generic -pthread -MD -MT t -MF d -o o -c",
            "-x c -c",
        ] {
            let plain = |word: &BString| is_plain(word.as_bstr(), true);
            let mut all = words(text);
            all.retain(|word| word.starts_with(b"-"));
            assert_eq!(all.iter().filter(|word| !plain(word)).collect::<Vec<_>>(), Vec::<&BString>::new());
        }
    }

    #[test]
    fn what_may_be_read_before_the_source_is_not_plain() {
        for word in words(
            "@list -Wp,-MD,d -Wa,-Ia -B. -specs=s -fplugin=p.so -fprofile-use -fprofile-use=d -fauto-profile=f -fmodules \
             -fmodule-map-file=m --sysroot=r -isysroot -Xclang -include-pch -ivfsoverlay -fsanitize-ignorelist=f -mllvm \
             -save-temps --config=f -wrapper -fopt-info-vec=f -fdump-tree-all -",
        ) {
            assert!(!is_plain(word.as_bstr(), false), "{word}");
        }
        assert!(is_plain("-include".into(), true) && !is_plain("-include".into(), false));
    }

    #[test]
    fn the_assembler_reads_what_gcc_writes_unless_the_words_ask_for_more() {
        for text in ["gcc -O2 -g -c a.c -o a.o", "/usr/bin/g++-12 -MD -MF d -Ia -c b.cc", "cc -c a.c b.c"] {
            assert!(may_pipe(&words(text)), "{text}");
        }
        for text in [
            "clang -c a.c",
            "gcc -S a.c",
            "gcc a.c",
            "gcc -pipe -c a.c",
            "gcc -flto -c a.c",
            "gcc -save-temps -c a.c",
            "gcc -Wa,-a -c a.c",
            "gcc -Btools -c a.c",
            "gcc -x assembler -c a.c",
            "gcc -c a.S",
            "gcc -c a.s",
            "gcc --coverage -c a.c",
            "gcc @list -c a.c",
            "ld -c a.c",
        ] {
            assert!(!may_pipe(&words(text)), "{text}");
        }
    }
}
