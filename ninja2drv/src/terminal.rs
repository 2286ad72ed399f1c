//! Standard output: on a terminal one line of progress that is overwritten, elsewhere a line for each.

use bstr::ByteSlice as _;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};

/// Where progress is printed. Nobody need listen: what cannot be written is lost, and the build goes on.
pub struct Terminal {
    /// Lines can be overwritten.
    smart: bool,
    colour: bool,
    /// What stands in the line is progress, which the next line overwrites.
    open: bool,
    /// What is printed while a command has the terminal.
    held: Option<Vec<u8>>,
}

impl Terminal {
    /// That of this process.
    pub fn new() -> Self {
        let smart = io::stdout().is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb");
        let forced = env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        Self { smart, colour: smart || forced, open: false, held: None }
    }

    /// Whether lines can be overwritten.
    pub fn is_smart(&self) -> bool {
        self.smart
    }

    /// Prints a line of progress, which may be overwritten; without `elide` it is printed whole.
    pub fn progress(&mut self, line: &str, elide: bool) {
        if !self.smart || !elide || self.held.is_some() {
            self.line(line);
            return;
        }
        let width = rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| width(size.ws_col));
        self.write(format!("\r{}\x1b[K", elided(line, width)).as_bytes());
        self.open = true;
    }

    /// Prints a line that stays.
    pub fn line(&mut self, line: &str) {
        self.close();
        self.write(format!("{line}\n").as_bytes());
    }

    /// Prints what a command has printed; without its colours where nobody can show them.
    pub fn output(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.close();
        if self.colour {
            self.write(bytes)
        } else {
            self.write(&without_colours(bytes))
        }
        if !bytes.ends_with(b"\n") {
            self.write(b"\n");
        }
    }

    /// Ends a line of progress, so that it stays.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write(if self.smart { b"\r\x1b[K" } else { b"\n" });
        }
    }

    /// Leaves the terminal to a command: what is printed meanwhile is held back.
    pub fn lend(&mut self) {
        self.close();
        self.held.get_or_insert_default();
    }

    /// Takes the terminal back, and prints what was held back.
    pub fn take_back(&mut self) {
        if let Some(held) = self.held.take() {
            self.write(&held);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.held {
            Some(held) => held.extend_from_slice(bytes),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush()).ok();
            }
        }
    }
}

/// How wide lines may be on a terminal of so many columns. One that does not know shows them whole, as by ninja.
fn width(columns: u16) -> usize {
    if columns == 0 { usize::MAX } else { usize::from(columns).max(20) }
}

/// As much of a line as fits, with dots in the middle.
fn elided(line: &str, width: usize) -> String {
    const DOTS: &str = "...";

    let characters: Vec<char> = line.chars().collect();
    if characters.len() < width {
        return line.into();
    }
    let kept = width - 1 - DOTS.len();
    let (begin, end) = (kept / 2, kept - kept / 2);
    let rest = &characters[characters.len() - end..];
    characters[..begin].iter().copied().chain(DOTS.chars()).chain(rest.iter().copied()).collect()
}

/// Takes the escape sequences of a terminal out of a text: `ESC [`, up to a letter.
fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find_byte(b'\x1b') {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(sequence) = rest.strip_prefix(b"[") {
            let end = sequence.iter().position(u8::is_ascii_alphabetic).map_or(sequence.len(), |end| end + 1);
            rest = &sequence[end..];
        }
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_loses_its_middle() {
        assert_eq!(elided("0123456789", 11), "0123456789");
        assert_eq!(elided("0123456789", 10), "012...789");
        assert_eq!(elided("ä".repeat(30).as_str(), 20).chars().count(), 19);
    }

    #[test]
    fn a_terminal_that_does_not_know_its_width_shows_lines_whole() {
        let line = "0123456789".repeat(30);
        assert_eq!(elided(&line, width(0)), line);
        assert_eq!(elided(&line, width(3)), elided(&line, 20));
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours(b"a\x1b[01;31merror\x1b[0m: b\x1b"), b"aerror: b");
        assert_eq!(without_colours(b"\x1b[31"), b"");
        assert_eq!(without_colours("grün".as_bytes()), "grün".as_bytes());
    }
}
