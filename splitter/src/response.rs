//! Reads response files (`@FILE`), as GCC, clang and binutils do: words between white space, with quotes of both kinds,
//! and a backslash before any character. Source: GCC 12 manual, "Overall Options", `@file`. Pure.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString};

/// The words of a response file.
pub fn words(content: &BStr) -> Vec<BString> {
    let mut words = Vec::new();
    let mut word: Option<BString> = None;
    let mut quote = None;
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => word.get_or_insert_default().extend(bytes.next()),
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == byte => quote = None,
            (_, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_hold_a_word_together() {
        let words = words(b"a.o  \"b c.o\"\n'd\"e' -DX=\\\"s\\\" \"\" f\\ g\n".into());
        assert_eq!(words, ["a.o", "b c.o", "d\"e", "-DX=\"s\"", "", "f g"]);
    }
}
