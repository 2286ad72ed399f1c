//! Bytes as JSON text.
//!
//! Commands and paths are bytes; JSON holds Unicode. Bytes that are valid UTF-8 stand as they are. Any other byte `b`
//! becomes the character U+10FF00 + `b`, and so do the four bytes of the characters U+10FF00 to U+10FFFF themselves, so
//! that every sequence of bytes has one text and is found again from it.
#![deny(clippy::disallowed_methods)]

const ESCAPE: u32 = 0x10_FF00;

/// The text of `bytes`.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let escape = |text: &mut String, raw: &[u8]| {
        text.extend(raw.iter().map(|b| char::from_u32(ESCAPE + u32::from(*b)).expect("a character of the last plane")));
    };
    for chunk in bytes.utf8_chunks() {
        if chunk.valid().contains(|c| u32::from(c) >= ESCAPE) {
            for character in chunk.valid().chars() {
                match u32::from(character) {
                    ESCAPE.. => escape(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes()),
                    _ => text.push(character),
                }
            }
        } else {
            text.push_str(chunk.valid());
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The bytes that `text` stands for.
pub fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character).checked_sub(ESCAPE) {
            Some(byte) => bytes.push(byte as u8),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_sequence_of_bytes_comes_back_from_its_text() {
        for bytes in [&b"plain"[..], "gr\u{fc}n".as_bytes(), b"\xff/\xc3", "\u{10ff41}\u{10ffff}".as_bytes(), b""] {
            assert_eq!(super::to_bytes(&super::from_bytes(bytes)), bytes);
        }
        assert_eq!(super::from_bytes(b"gr\xfcn"), "gr\u{10fffc}n");
    }
}
