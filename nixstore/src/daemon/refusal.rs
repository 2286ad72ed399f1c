//! What a daemon says when it cannot do what it was asked for.
#![deny(clippy::disallowed_methods)]

use super::wire::{Decoder, WireError};
use std::fmt;

/// A daemon's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong, in the words of Nix, without colours. May have several lines.
    pub message: String,
    /// What it was doing meanwhile, outermost first.
    pub traces: Vec<String>,
}

impl Refusal {
    /// Reads what follows the word that announces an error (Nix 2.34, `readError`).
    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, WireError> {
        // A type, a level and a name, which are the same for every error.
        input.skip_text()?;
        input.number()?;
        input.skip_text()?;
        let message = plain_text(&input.bytes()?);
        skip_position(input)?;
        let traces = input.list(|input| {
            skip_position(input)?;
            Ok(plain_text(&input.bytes()?))
        })?;
        Ok(Self { message, traces })
    }

    /// Whether its disk is full.
    pub fn is_for_space(&self) -> bool {
        self.message.contains("No space left on device")
    }
}

/// The message, and the traces on lines of their own.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.traces.iter().try_for_each(|trace| write!(f, "\n… {trace}"))
    }
}

impl std::error::Error for Refusal {}

/// Where in an expression an error lies: a daemon knows of none.
fn skip_position(input: &mut Decoder<'_>) -> Result<(), WireError> {
    input.number().map(drop)
}

/// A text without the sequences that colour it on a terminal (ECMA-48: `ESC [ … letter`, `ESC ] … BEL`) and without
/// `error: ` before it and line ends behind it.
pub(super) fn plain_text(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, sequence)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after_sequence(sequence);
    }
    plain.push_str(rest);
    plain.strip_prefix("error: ").unwrap_or(&plain).trim_end().to_owned()
}

/// What follows the sequence whose ESC stands before `text`.
fn after_sequence(text: &str) -> &str {
    let end = match text.as_bytes().first() {
        Some(b'[') => text.find(|c: char| ('\x40'..='\x7e').contains(&c) && c != '[').map(|at| at + 1),
        Some(b']') => text.find('\x07').map(|at| at + 1).or_else(|| text.find("\x1b\\").map(|at| at + 2)),
        _ => Some(0),
    };
    end.map_or("", |end| &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_links_are_taken_off() {
        for (text, plain) in [
            ("\x1b[31;1mred\x1b[0m and plain", "red and plain"),
            ("'\x1b[35;1m/nix/store/x\x1b[0m'.\n", "'/nix/store/x'."),
            ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
            ("error: nothing", "nothing"),
            ("cut \x1b[3", "cut "),
            ("cut \x1b", "cut"),
            ("é\x1b[1mé", "éé"),
        ] {
            assert_eq!(plain_text(text.as_bytes()), plain.trim_end(), "{text:?}");
        }
        assert_eq!(plain_text(b"\xff"), "\u{fffd}");
    }
}
