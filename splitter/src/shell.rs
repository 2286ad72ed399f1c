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
        let argv: Vec<BString> = part.iter().filter_map(Word::text).collect();
        match argv.first().map(|program| program.as_slice()) {
            None => return Script::Shell,
            Some(b":") => {}
            Some(b"cd") if argv.len() == 2 && argv[1] != "-" && !argv[1].is_empty() => {
                directory = join(directory.as_bstr(), argv[1].as_bstr());
            }
            Some(program) if program == b"cd" || program.contains(&b'=') => return Script::Shell,
            Some(program) if OF_THE_SHELL.iter().any(|word| word.as_bytes() == program) => return Script::Shell,
            Some(_) => simples.push(Simple { directory: directory.clone(), argv }),
        }
    }
    Script::Plain(simples)
}

/// `path` as seen from `directory`.
pub fn join(directory: &BStr, path: &BStr) -> BString {
    match (directory.is_empty(), path.starts_with(b"/")) {
        (true, _) | (_, true) => path.into(),
        _ => [directory.as_bytes(), b"/", path].concat().into(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(BString),
    And,
}

impl Word {
    fn text(&self) -> Option<BString> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::And => None,
        }
    }
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
            b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'$' | b'`' | b'*' | b'?' | b'[' | b'\n' => return None,
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
    fn a_prologue_of_cmake_leaves_nothing_behind() {
        assert_eq!(
            plain(": && cd sub && cd deep && ar qc l.a && :"),
            [("sub/deep".into(), ["ar", "qc", "l.a"].map(String::from).to_vec())]
        );
    }

    #[test]
    fn whatever_a_shell_would_expand_or_redirect_is_left_to_a_shell() {
        for text in [
            "a > b", "a | b", "a; b", "echo x", "a $B", "\"$B\"", "a *.c", "A=1 b", "a &", "(a)", "a `b`", "a 'b",
            "~/a", "if a", "",
        ] {
            assert_eq!(parse(text.into()), Script::Shell, "{text}");
        }
    }
}
