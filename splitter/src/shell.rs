//! Reads command texts: which are a plain sequence of programs with arguments, and which need a shell. Pure.
//!
//! Build files hold texts for `/bin/sh -c`, most of which use nothing of a shell but quotes and `&&`. Those are run
//! without one, so that the same compile is the same derivation whoever asks for it.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString, ByteSlice as _};

/// What a command text asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Programs joined by `&&`, each run if the one before it succeeded.
    Plain(Vec<Simple>),
    /// Anything else: the text for `/bin/sh -c`.
    Shell,
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// Where `cd` had led before, relative to where the text starts or absolute; empty if there was none.
    pub directory: BString,
    /// The program and its arguments, unquoted.
    pub argv: Vec<BString>,
    /// The word after `<`.
    pub stdin: Option<BString>,
    /// The word after `>`.
    pub stdout: Option<BString>,
}

/// Words that mean something to a shell in the place of a program. `cd` and `:` are not here: they are understood.
const OF_THE_SHELL: &[&str] = &[
    ".", "!", "[", "alias", "break", "case", "command", "continue", "do", "done", "echo", "elif", "else", "esac",
    "eval", "exec", "exit", "export", "false", "fi", "for", "if", "local", "printf", "pwd", "read", "return", "set",
    "shift", "test", "then", "times", "trap", "true", "type", "ulimit", "umask", "unset", "until", "wait", "while",
    "{", "}",
];

/// Reads a command text as POSIX `sh` would, as far as it is plain.
pub fn parse(text: &BStr) -> Script {
    let Some(words) = words(text) else { return Script::Shell };
    let mut simples = Vec::new();
    let mut directory = BString::default();
    for part in words.split(|word| *word == Word::And) {
        let Some(simple) = simple(part, directory.as_bstr()) else { return Script::Shell };
        let mut streams = simple.stdin.iter().chain(&simple.stdout);
        if !streams.all(|path| leads_by_its_text(path.as_bstr(), directory.as_bstr())) {
            return Script::Shell;
        }
        let argv = &simple.argv;
        match argv.first().map(|program| program.as_slice()) {
            None => return Script::Shell,
            Some(b":" | b"cd") if simple.stdin.is_some() || simple.stdout.is_some() => return Script::Shell,
            Some(b":") => {}
            Some(b"cd") if argv.len() == 2 && argv[1] != "-" && !argv[1].is_empty() => {
                directory = join(directory.as_bstr(), argv[1].as_bstr());
            }
            Some(program) if program == b"cd" || program.contains(&b'=') => return Script::Shell,
            Some(program) if OF_THE_SHELL.iter().any(|word| word.as_bytes() == program) => return Script::Shell,
            Some(_) => simples.push(simple),
        }
    }
    Script::Plain(simples)
}

/// The words between two `&&`; none if a redirection has no word or is not the only one of its kind.
fn simple(words: &[Word], directory: &BStr) -> Option<Simple> {
    let mut simple = Simple { directory: directory.into(), argv: Vec::new(), stdin: None, stdout: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let stream = match word {
            Word::Text(text) => {
                simple.argv.push(text.clone());
                continue;
            }
            Word::From => &mut simple.stdin,
            Word::Into => &mut simple.stdout,
            Word::And => return None,
        };
        let Some(Word::Text(file)) = words.next() else { return None };
        if stream.replace(file.clone()).is_some() {
            return None;
        }
    }
    Some(simple)
}

/// Whether a path leads where its text says, though a directory on its way may be a link: `..` comes before all else, and no `cd` has
/// led through one. To `cd` itself it is the text that counts (POSIX, "cd").
pub fn leads_by_its_text(path: &BStr, directory: &BStr) -> bool {
    let parts = path.split_str("/").filter(|part| !part.is_empty() && *part != b".");
    let starts_here = directory.is_empty() && !path.starts_with(b"/");
    !parts.skip_while(|part| starts_here && *part == b"..").any(|part| part == b"..")
}

/// `path` as seen from `directory`.
pub fn join(directory: &BStr, path: &BStr) -> BString {
    match (directory.is_empty(), path.starts_with(b"/")) {
        (true, _) | (_, true) => path.into(),
        _ => [directory.as_bytes(), b"/", path].concat().into(),
    }
}

/// A text that is plain, and whose words these are.
pub fn quoted(words: &[BString]) -> BString {
    let quoted = words.iter().map(|word| [b"'", word.replace("'", r"'\''").as_slice(), b"'"].concat());
    bstr::join(" ", quoted).into()
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(BString),
    /// `&&`
    And,
    /// `<`
    From,
    /// `>`
    Into,
}

/// The words of a plain text; none if a shell would do more than split it and take off quotes.
fn words(text: &BStr) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut word: Option<BString> = None;
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take().map(Word::Text)),
            b'&' if bytes.next_if_eq(&b'&').is_some() => {
                words.extend(word.take().map(Word::Text));
                words.push(Word::And);
            }
            // `2>`, `>>`, `>&`, `<<` and their like are more than the name of a file.
            b'<' | b'>' => {
                let is_number = word.as_ref().is_some_and(|word| word.iter().all(u8::is_ascii_digit));
                if is_number || bytes.peek().is_some_and(|next| b"<>&|(".contains(next)) {
                    return None;
                }
                words.extend(word.take().map(Word::Text));
                words.push(if byte == b'<' { Word::From } else { Word::Into });
            }
            b'\'' => loop {
                match bytes.next()? {
                    b'\'' => {
                        word.get_or_insert_default();
                        break;
                    }
                    other => word.get_or_insert_default().push(other),
                }
            },
            b'"' => {
                word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'$' | b'`' => return None,
                        b'\\' => match bytes.next()? {
                            escaped @ (b'$' | b'`' | b'"' | b'\\') => word.get_or_insert_default().push(escaped),
                            b'\n' => {}
                            other => word.get_or_insert_default().extend([b'\\', other]),
                        },
                        other => word.get_or_insert_default().push(other),
                    }
                }
            }
            b'\\' => match bytes.next()? {
                b'\n' => return None,
                other => word.get_or_insert_default().push(other),
            },
            b'|' | b'&' | b';' | b'(' | b')' | b'$' | b'`' | b'*' | b'?' | b'[' | b'\n' => return None,
            b'#' | b'~' if word.is_none() => return None,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word.take().map(Word::Text));
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<(String, Vec<String>)> {
        match parse(text.into()) {
            Script::Plain(simples) => {
                let argv = |simple: &Simple| simple.argv.iter().map(ToString::to_string).collect();
                simples.iter().map(|simple| (simple.directory.to_string(), argv(simple))).collect()
            }
            Script::Shell => panic!("`{text}` is plain"),
        }
    }

    #[test]
    fn a_compile_is_plain_words_without_their_quotes() {
        assert_eq!(
            plain(r#"cc "-DNAME=\"a b\"" -DQ=\"x\" '-I a' -o a.o"#),
            [(String::new(), ["cc", "-DNAME=\"a b\"", "-DQ=\"x\"", "-I a", "-o", "a.o"].map(String::from).to_vec())]
        );
    }

    #[test]
    fn words_that_are_quoted_are_read_again_as_they_were() {
        let words = ["cc", "", "a b", "it's", "-DX=\"$(x)\"", "*", "a\\b", "#", "l1\nl2", "&&", "\u{e9}"];
        let text = quoted(&words.map(BString::from));
        assert_eq!(plain(&text.to_string()), [(String::new(), words.map(String::from).to_vec())]);
    }

    #[test]
    fn a_prologue_of_cmake_leaves_nothing_behind() {
        assert_eq!(
            plain(": && cd sub && cd deep && ar qc l.a && :"),
            [("sub/deep".into(), ["ar", "qc", "l.a"].map(String::from).to_vec())]
        );
    }

    #[test]
    fn standard_streams_may_be_files() {
        assert!(matches!(parse("a < ./../in > ../.././out".into()), Script::Plain(_)));
        let Script::Plain(simples) = parse("cd d && a <in x >'o u t' && b".into()) else { panic!("it is plain") };
        let [a, b] = simples.as_slice() else { panic!("{simples:?}") };
        assert_eq!((a.argv.as_slice(), b.argv.as_slice()), (&["a".into(), "x".into()][..], &["b".into()][..]));
        assert_eq!((&a.stdin, &a.stdout), (&Some("in".into()), &Some("o u t".into())));
        assert_eq!((&b.stdin, &b.stdout), (&None, &None));
    }

    #[test]
    fn whatever_a_shell_would_expand_is_left_to_a_shell() {
        for text in [
            "a >> b",
            "a 2> b",
            "a >&2",
            "a << b",
            "a >",
            "a > b > c",
            "a < link/../b",
            "a > /link/../b",
            "cd link && a > ../b",
            "a >| b",
            "cd a > b",
            "> b",
            "a | b",
            "a; b",
            "echo x",
            "a $B",
            "\"$B\"",
            "a *.c",
            "A=1 b",
            "a &",
            "(a)",
            "a `b`",
            "a 'b",
            "~/a",
            "if a",
            "",
        ] {
            assert_eq!(parse(text.into()), Script::Shell, "{text}");
        }
    }
}
