//! The tokens of a directive.
#![deny(clippy::disallowed_methods)]

use super::{Symbol, Symbols};
use bstr::ByteSlice as _;

/// A preprocessing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// An identifier.
    Name(Symbol),
    /// Its text, and its value if it is an integer.
    Number(Symbol, Option<Value>),
    /// What stands between the quotes, as it is spelt.
    Text(Symbol),
    /// A punctuator; of more than one character only those that mean something in an expression or a macro.
    Punctuator(Punctuator),
    /// Something of which nothing is known.
    Unknown,
}

/// Up to three characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Punctuator([u8; 3]);

impl std::fmt::Debug for Punctuator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.text().as_bstr())
    }
}

impl Punctuator {
    /// Of one to three characters.
    pub const fn new(text: &[u8]) -> Self {
        let mut bytes = [0; 3];
        let mut i = 0;
        while i < text.len() {
            bytes[i] = text[i];
            i += 1;
        }
        Self(bytes)
    }

    /// Its characters.
    pub fn text(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(3);
        &self.0[..end]
    }
}

/// A punctuator as a token.
pub const fn punctuator(text: &[u8]) -> Token {
    Token::Punctuator(Punctuator::new(text))
}

/// A value of a conditional: all arithmetic is of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The number.
    pub number: i128,
    /// Whether it is unsigned, and makes what it meets unsigned too.
    pub unsigned: bool,
}

/// Whether a byte may begin an identifier. GCC takes `$`; of other alphabets all bytes are taken.
pub fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether a byte may go on with an identifier.
pub fn continues_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit()
}

/// The tokens of a text without comments and spliced lines.
pub fn tokens(text: &[u8], symbols: &Symbols) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            _ if byte.is_ascii_whitespace() => 1,
            _ if begins_name(byte) => {
                let length = rest.iter().position(|b| !continues_name(*b)).unwrap_or(rest.len());
                let is_prefix = [&b"L"[..], b"u", b"U", b"u8"].contains(&&rest[..length]);
                match rest.get(length) {
                    Some(quote @ (b'"' | b'\'')) if is_prefix => {
                        let (token, quoted) = literal(&rest[length..], *quote, symbols);
                        tokens.push(token);
                        length + quoted
                    }
                    _ => {
                        tokens.push(Token::Name(symbols.of(&rest[..length])));
                        length
                    }
                }
            }
            _ if byte.is_ascii_digit() || byte == b'.' && rest.get(1).is_some_and(u8::is_ascii_digit) => {
                let length = number_length(rest);
                tokens.push(Token::Number(symbols.of(&rest[..length]), integer(&rest[..length])));
                length
            }
            b'"' | b'\'' => {
                let (token, length) = literal(rest, byte, symbols);
                tokens.push(token);
                length
            }
            _ => {
                let length = punctuator_length(rest);
                tokens.push(punctuator(&rest[..length]));
                length
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// A string or character literal at the start of `text`, and how long it is with its quotes.
fn literal(text: &[u8], quote: u8, symbols: &Symbols) -> (Token, usize) {
    let mut i = 1;
    while i < text.len() && text[i] != quote {
        i += if text[i] == b'\\' { 2 } else { 1 };
    }
    let end = i.min(text.len());
    let inner = &text[1..end];
    let token = match quote {
        b'"' => Token::Text(symbols.of(inner)),
        _ => Token::Number(symbols.of(inner), character(inner)),
    };
    (token, (end + 1).min(text.len()))
}

fn character(inner: &[u8]) -> Option<Value> {
    let number = match inner {
        [byte @ 0x20..=0x7e] if *byte != b'\\' => *byte,
        [b'\\', escaped] => match escaped {
            b'0' => 0,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'\\' | b'\'' | b'"' | b'?' => *escaped,
            _ => return None,
        },
        _ => return None,
    };
    Some(Value { number: number.into(), unsigned: false })
}

/// A preprocessing number (ISO C 6.4.8), with the apostrophes of C++.
fn number_length(text: &[u8]) -> usize {
    let mut i = 1;
    while let Some(&byte) = text.get(i) {
        let sign = (byte == b'+' || byte == b'-') && [b'e', b'E', b'p', b'P'].contains(&text[i - 1]);
        let apostrophe = byte == b'\'' && text.get(i + 1).is_some_and(u8::is_ascii_alphanumeric);
        if !(continues_name(byte) || byte == b'.' || sign || apostrophe) {
            break;
        }
        i += 1;
    }
    i
}

fn integer(text: &[u8]) -> Option<Value> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\'').collect();
    let text = std::str::from_utf8(&digits).ok()?;
    let number = text.trim_end_matches(['u', 'U', 'l', 'L', 'z', 'Z']);
    let lower = number.to_ascii_lowercase();
    let number = match (lower.strip_prefix("0x"), lower.strip_prefix("0b")) {
        (Some(digits), _) => i128::from_str_radix(digits, 16),
        (_, Some(digits)) => i128::from_str_radix(digits, 2),
        _ if lower.len() > 1 && lower.starts_with('0') => i128::from_str_radix(&lower[1..], 8),
        _ => lower.parse(),
    };
    let number = number.ok().filter(|number| *number <= u64::MAX.into())?;
    let unsigned = text.contains(['u', 'U']) || number > i64::MAX.into();
    Some(Value { number, unsigned })
}

fn punctuator_length(text: &[u8]) -> usize {
    const LONG: [&[u8]; 11] = [b"...", b"&&", b"||", b"==", b"!=", b"<=", b">=", b"<<", b">>", b"##", b"->"];
    LONG.iter().find(|long| text.starts_with(long)).map_or(1, |long| long.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_the_compiler_splits_it() {
        let symbols = Symbols::default();
        let tokens = tokens(b"defined(A_1)&&0x1FuL>=1'000 L\"a\\\"b\" 'x' 1.5e+3", &symbols);
        let name = |text: &[u8]| Token::Name(symbols.of(text));
        let number = |text: &[u8], value| Token::Number(symbols.of(text), value);
        let value = |number, unsigned| Some(Value { number, unsigned });
        assert_eq!(
            tokens,
            [
                name(b"defined"),
                punctuator(b"("),
                name(b"A_1"),
                punctuator(b")"),
                punctuator(b"&&"),
                number(b"0x1FuL", value(31, true)),
                punctuator(b">="),
                number(b"1'000", value(1000, false)),
                Token::Text(symbols.of(b"a\\\"b")),
                number(b"x", value(120, false)),
                number(b"1.5e+3", None),
            ]
        );
    }
}
