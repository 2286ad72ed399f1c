//! What a source of Rust mentions: modules in files of their own, files that are included, variables of the environment. Both
//! arms of every condition are gone through, and what macros make is not seen: so it is only what the compiler is likely to
//! read. Pure.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString, ByteSlice as _};

/// Something that is mentioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mention {
    /// `mod name;`
    Module {
        /// The modules around it in the same file, from the outside.
        within: Vec<BString>,
        /// Its name.
        name: BString,
        /// What `#[path = "…"]` says; several where that is conditional.
        paths: Vec<BString>,
    },
    /// `include_str!(…)`, `include_bytes!(…)` or `include!(…)`: what makes up the path.
    File(Vec<Piece>),
    /// `env!("…")` or `option_env!("…")`
    Variable(BString),
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(BString),
    /// The value of a variable.
    Variable(BString),
}

/// All that a source mentions, in its order.
pub fn mentions(text: &BStr) -> Vec<Mention> {
    let tokens = tokens(text);
    let mut mentions = Vec::new();
    // Modules that are open, each with the number of braces around its content.
    let mut open: Vec<(BString, usize)> = Vec::new();
    let mut depth = 0;
    let mut paths = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match (token, &tokens[i + 1..]) {
            (Token::Word(b"mod"), [Token::Word(name), Token::Sign(b';'), ..]) => {
                let within = open.iter().map(|(name, _)| name.clone()).collect();
                mentions.push(Mention::Module { within, name: (*name).into(), paths: std::mem::take(&mut paths) });
            }
            (Token::Word(b"mod"), [Token::Word(name), Token::Sign(b'{'), ..]) => {
                let directory = paths.drain(..).next().unwrap_or_else(|| (*name).into());
                open.push((directory, depth + 1));
            }
            (Token::Word(b"path"), [Token::Sign(b'='), Token::Text(path), ..]) => paths.push(path.clone()),
            (Token::Word(b"include_str" | b"include_bytes" | b"include"), [Token::Sign(b'!'), rest @ ..]) => {
                mentions.extend(pieces(rest).map(Mention::File));
            }
            (Token::Word(b"env" | b"option_env"), [Token::Sign(b'!'), Token::Sign(_), Token::Text(name), ..]) => {
                mentions.push(Mention::Variable(name.clone()));
            }
            (Token::Sign(b'{'), _) => depth += 1,
            (Token::Sign(b'}'), _) => {
                open.pop_if(|(_, around)| *around == depth);
                depth = depth.saturating_sub(1);
                paths.clear();
            }
            (Token::Sign(b';'), _) => paths.clear(),
            _ => {}
        }
    }
    mentions
}

/// What stands behind `include!`: a text, or `concat!` of texts and variables.
fn pieces(tokens: &[Token<'_>]) -> Option<Vec<Piece>> {
    match tokens {
        [Token::Sign(_), Token::Text(path), ..] => Some(vec![Piece::Text(path.clone())]),
        [Token::Sign(_), Token::Word(b"concat"), Token::Sign(b'!'), Token::Sign(_), rest @ ..] => {
            let mut pieces = Vec::new();
            let mut rest = rest;
            loop {
                rest = match rest {
                    [Token::Text(text), rest @ ..] => {
                        pieces.push(Piece::Text(text.clone()));
                        rest
                    }
                    [
                        Token::Word(b"env" | b"option_env"),
                        Token::Sign(b'!'),
                        Token::Sign(_),
                        Token::Text(name),
                        Token::Sign(b')' | b']' | b'}'),
                        rest @ ..,
                    ] => {
                        pieces.push(Piece::Variable(name.clone()));
                        rest
                    }
                    [Token::Sign(b','), rest @ ..] => rest,
                    [Token::Sign(b')' | b']' | b'}'), ..] => return Some(pieces),
                    _ => return None,
                };
            }
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    /// A literal of text or bytes, escapes undone.
    Text(BString),
    Sign(u8),
}

/// The tokens of a source, without comments, numbers, characters and lifetimes. Source: the Rust reference, "Lexical structure".
fn tokens(text: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        let taken = match first {
            b'/' if rest.starts_with(b"//") => rest.find_byte(b'\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => comment(rest),
            b'"' => {
                let (literal, taken) = literal(rest);
                tokens.push(Token::Text(literal));
                taken
            }
            b'\'' => character(rest),
            byte if is_of_word(*byte) => {
                let length = rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(rest.len());
                let word = &rest[..length];
                match (word, raw(&rest[length..])) {
                    (b"r" | b"br" | b"cr", Some((literal, taken))) => {
                        tokens.push(Token::Text(literal.into()));
                        length + taken
                    }
                    // The literal follows as if nothing stood before it.
                    (b"b" | b"c", _) if rest.get(length) == Some(&b'"') => length,
                    (b"b", _) if rest.get(length) == Some(&b'\'') => length,
                    (b"r", None) if rest.get(length) == Some(&b'#') => length + 1, // a name such as `r#mod`
                    _ => {
                        if !word[0].is_ascii_digit() {
                            tokens.push(Token::Word(word));
                        }
                        length
                    }
                }
            }
            byte => {
                if !byte.is_ascii_whitespace() {
                    tokens.push(Token::Sign(*byte));
                }
                1
            }
        };
        rest = &rest[taken.max(1).min(rest.len())..];
    }
    tokens
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of a comment, which may hold others.
fn comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        let step = match &text[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// A literal with escapes, and its length with the quotes.
fn literal(text: &[u8]) -> (BString, usize) {
    let mut content = BString::default();
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let escaped = text.get(at).copied().unwrap_or_default();
                at += 1;
                match escaped {
                    b'n' => content.push(b'\n'),
                    b't' => content.push(b'\t'),
                    b'\n' => at += text[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count(),
                    other => content.push(other),
                }
            }
            other => content.push(*other),
        }
    }
    (content, at)
}

/// What follows the letter of a raw literal, and its length; none if that is none.
fn raw(text: &[u8]) -> Option<(&[u8], usize)> {
    let hashes = text.iter().take_while(|byte| **byte == b'#').count();
    let content = text[hashes..].strip_prefix(b"\"")?;
    let end = [b"\"", vec![b'#'; hashes].as_slice()].concat();
    let length = content.find(&end).unwrap_or(content.len());
    Some((&content[..length], (hashes + 1 + length + end.len()).min(text.len())))
}

/// The length of a character, or of the quote of a lifetime.
fn character(text: &[u8]) -> usize {
    match text {
        [_, b'\\', _, rest @ ..] => rest.find_byte(b'\'').map_or(1, |end| end + 4),
        _ => {
            let character = text[1..].char_indices().next().map_or(0, |(_, end, _)| end);
            if text.get(1 + character) == Some(&b'\'') { character + 2 } else { 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn module(within: &[&str], name: &str, paths: &[&str]) -> Mention {
        let owned = |texts: &[&str]| texts.iter().map(|text| BString::from(*text)).collect();
        Mention::Module { within: owned(within), name: name.into(), paths: owned(paths) }
    }

    #[test]
    fn modules_are_found_with_those_around_them() {
        let text = "mod a; pub(crate) mod b { fn f<'a>() { '{'; b'}'; } mod c; } #[path = \"x/d.rs\"] mod d;
            // mod e;
            /* mod f; /* */ mod g; */ mod r#type; const S: &str = r#\"mod h; \"{\"#; mod i;";
        let expected = [
            module(&[], "a", &[]),
            module(&["b"], "c", &[]),
            module(&[], "d", &["x/d.rs"]),
            module(&[], "type", &[]),
            module(&[], "i", &[]),
        ];
        assert_eq!(mentions(text.into()), expected);
    }

    #[test]
    fn included_files_and_variables_are_found() {
        let text = "const A: &str = include_str!(\"a\\\\b\"); include!(concat!(env!(\"OUT_DIR\"), \"/g.rs\"));
            const B: &[u8] = include_bytes!(some!()); option_env!(\"V\");";
        let variable = |name: &str| Mention::Variable(name.into());
        let expected = [
            Mention::File(vec![Piece::Text("a\\b".into())]),
            Mention::File(vec![Piece::Variable("OUT_DIR".into()), Piece::Text("/g.rs".into())]),
            variable("OUT_DIR"),
            variable("V"),
        ];
        assert_eq!(mentions(text.into()), expected);
    }

    proptest! {
        #[test]
        fn whatever_a_text_holds_there_is_an_end(text in "[modpathincludestrenv!(){};'\"\\\\/*#rb =é\n]{0,80}") {
            mentions(text.as_bytes().as_bstr());
        }
    }
}
