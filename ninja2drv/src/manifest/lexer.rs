//! Cuts a manifest file into tokens, names and unexpanded texts; knows nothing of what they mean.
//!
//! The rules are those of Ninja 1.13.2, `lexer.in.cc`. A NUL byte ends a file.
#![deny(clippy::disallowed_methods)]

use bstr::ByteSlice as _;

/// What can stand at the start of a statement or between its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Error,
    Build,
    Colon,
    Default,
    Equals,
    Ident,
    Include,
    Indent,
    Newline,
    PipePipe,
    Pipe,
    PipeAt,
    Pool,
    Rule,
    Subninja,
    Eof,
}

impl Token {
    /// As messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "lexing error",
            Self::Build => "'build'",
            Self::Colon => "':'",
            Self::Default => "'default'",
            Self::Equals => "'='",
            Self::Ident => "identifier",
            Self::Include => "'include'",
            Self::Indent => "indent",
            Self::Newline => "newline",
            Self::PipePipe => "'||'",
            Self::Pipe => "'|'",
            Self::PipeAt => "'|@'",
            Self::Pool => "'pool'",
            Self::Rule => "'rule'",
            Self::Subninja => "'subninja'",
            Self::Eof => "eof",
        }
    }
}

/// Something wrong at a place of the file that is read.
#[derive(Debug)]
pub struct Problem {
    /// In bytes from the start of the file.
    pub at: usize,
    /// In Ninja's words.
    pub message: String,
}

/// A text as written: `&source[start..end]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw {
    pub start: usize,
    pub end: usize,
    /// Has a `$`, so that it has to be expanded.
    pub special: bool,
}

impl Raw {
    /// Nothing is written. What has only escaped line ends is not met: they are skipped before a text starts.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Reads one file from its start to its end.
pub struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    /// Where the last token starts: the place of an error.
    last: usize,
    /// How many lines end before `at`, and before `last` as long as that is a token.
    lines: u32,
    last_lines: u32,
    /// `$^` is allowed.
    pub newline_escape: bool,
}

/// Where a [`Lexer`] is in its file, so that another can go on from there.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: usize,
    lines: u32,
    /// Where the file ends.
    end: usize,
}

impl Mark {
    /// The start of a file.
    pub fn start(source: &[u8]) -> Self {
        Self { at: 0, lines: 0, end: source.find_byte(0).unwrap_or(source.len()) }
    }
}

impl<'a> Lexer<'a> {
    /// Goes on in the file of `mark`; `newline_escape` as the field.
    pub fn new(source: &'a [u8], mark: Mark, newline_escape: bool) -> Self {
        let Mark { at, lines, end } = mark;
        Self { source: &source[..end], at, last: at, lines, last_lines: lines, newline_escape }
    }

    /// Where it is.
    pub fn mark(&self) -> Mark {
        Mark { at: self.at, lines: self.lines, end: self.source.len() }
    }

    /// Where the last token starts.
    pub fn place(&self) -> usize {
        self.last
    }

    /// The line, from 1, of a token that was just read.
    pub fn line(&self) -> u32 {
        self.last_lines + 1
    }

    /// The problem `message` at the last token.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { at: self.last, message: message.into() }
    }

    /// The problem that a token is none.
    pub fn no_token(&self) -> Problem {
        self.problem(match self.source.get(self.last) {
            Some(b'\t') => "tabs are not allowed, use spaces",
            _ => "lexing error",
        })
    }

    /// The next token; comments are skipped.
    pub fn token(&mut self) -> Token {
        let (start, end, token) = loop {
            let start = self.at;
            let mut at = start;
            while self.source.get(at) == Some(&b' ') {
                at += 1;
            }
            let rest = &self.source[at..];
            match rest {
                [b'#', ..] => {
                    if let Some(length) = rest.find_byte(b'\n') {
                        self.at = at + length + 1;
                        self.lines += 1;
                        continue;
                    }
                }
                [b'\n', ..] => break (start, at + 1, Token::Newline),
                [b'\r', b'\n', ..] => break (start, at + 2, Token::Newline),
                _ => {}
            }
            if at > start {
                break (start, at, Token::Indent);
            }
            let (length, token) = match rest {
                [] => (0, Token::Eof),
                [b'=', ..] => (1, Token::Equals),
                [b':', ..] => (1, Token::Colon),
                [b'|', b'@', ..] => (2, Token::PipeAt),
                [b'|', b'|', ..] => (2, Token::PipePipe),
                [b'|', ..] => (1, Token::Pipe),
                _ => match &rest[..name_length(rest)] {
                    b"" => (1, Token::Error),
                    b"build" => (5, Token::Build),
                    b"pool" => (4, Token::Pool),
                    b"rule" => (4, Token::Rule),
                    b"default" => (7, Token::Default),
                    b"include" => (7, Token::Include),
                    b"subninja" => (8, Token::Subninja),
                    name => (name.len(), Token::Ident),
                },
            };
            break (start, start + length, token);
        };
        self.last = start;
        self.last_lines = self.lines;
        self.at = end;
        match token {
            Token::Newline => self.lines += 1,
            Token::Eof => {}
            _ => self.skip_blanks(),
        }
        token
    }

    /// Reads the last token once more.
    pub fn unread(&mut self) {
        self.at = self.last;
        self.lines = self.last_lines;
    }

    /// Whether the next token is `token`, which is then read.
    pub fn accept(&mut self, token: Token) -> bool {
        if token == Token::Indent {
            // The one that each variable has: blanks before a name.
            let rest = &self.source[self.at..];
            let indent = blanks(rest);
            if indent > 0 && rest.get(indent).is_some_and(|byte| NAMES[usize::from(*byte)]) {
                (self.last, self.last_lines) = (self.at, self.lines);
                self.at += indent;
                return true;
            }
        }
        // Mostly it is another, as its first byte shows unless blanks or a comment are before it.
        let may_be = match (token, self.source.get(self.at)) {
            (_, Some(b' ' | b'#')) => true,
            (Token::Pipe | Token::PipePipe | Token::PipeAt, first) => first == Some(&b'|'),
            (Token::Indent, _) => false,
            _ => true,
        };
        if !may_be {
            (self.last, self.last_lines) = (self.at, self.lines);
            return false;
        }
        let found = self.token() == token;
        if !found {
            self.unread();
        }
        found
    }

    /// Reads `token`.
    pub fn expect(&mut self, token: Token) -> Result<(), Problem> {
        if token == Token::Equals && self.source.get(self.at) == Some(&b'=') {
            // The one that each variable has; no other token begins so.
            (self.last, self.last_lines) = (self.at, self.lines);
            self.at += 1;
            self.skip_blanks();
            return Ok(());
        }
        let got = self.token();
        if got == token {
            return Ok(());
        }
        let hint = if token == Token::Colon { " ($ also escapes ':')" } else { "" };
        Err(self.problem(format!("expected {}, got {}{hint}", token.name(), got.name())))
    }

    /// A name; none if there is none.
    pub fn name(&mut self) -> Option<Raw> {
        let start = self.at;
        self.last = start;
        self.at += name_length(&self.source[start..]);
        let end = self.at;
        if end > start {
            self.skip_blanks();
        }
        (end > start).then_some(Raw { start, end, special: false })
    }

    /// The value of a variable, up to the end of the line, which is read.
    pub fn value(&mut self) -> Result<Raw, Problem> {
        let start = self.at;
        let mut special = false;
        loop {
            let Some(length) = self.source[self.at..].find_byteset(b"$\r\n") else {
                return Err(self.end_of_file());
            };
            self.at += length;
            let end = self.at;
            match self.source[end..] {
                [b'$', ..] => {
                    special = true;
                    self.escape()?;
                    continue;
                }
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                _ => return Err(self.stray()),
            }
            self.last = end;
            self.lines += 1;
            return Ok(Raw { start, end, special });
        }
    }

    /// A path, empty if there is none, and the blanks behind it.
    pub fn path(&mut self) -> Result<Raw, Problem> {
        let start = self.at;
        let mut special = false;
        loop {
            let Some(length) = text_length(&self.source[self.at..]) else {
                return Err(self.end_of_file());
            };
            self.at += length;
            match self.source[self.at..] {
                [b'$', ..] => {
                    special = true;
                    self.escape()?;
                }
                [b'\r', b'\n', ..] | [b' ' | b':' | b'|' | b'\n', ..] => break,
                _ => return Err(self.stray()),
            }
        }
        let end = self.at;
        self.last = end;
        self.skip_blanks();
        Ok(Raw { start, end, special })
    }

    /// Skips the escape that starts here.
    fn escape(&mut self) -> Result<(), Problem> {
        let rest = &self.source[self.at + 1..];
        let length = match rest {
            [b'$' | b' ' | b':', ..] => 1,
            [b'\n', ..] => 1 + blanks(&rest[1..]),
            [b'\r', b'\n', ..] => 2 + blanks(&rest[2..]),
            [b'{', name @ ..] => match name_length(name) {
                length if length > 0 && name.get(length) == Some(&b'}') => length + 2,
                _ => 0,
            },
            [b'^', ..] if self.newline_escape => 1,
            _ => simple_name_length(rest),
        };
        if length == 0 {
            self.last = self.at;
            return Err(self.problem(match rest {
                [b'^', ..] => "using $^ needs ninja_required_version = 1.14 or newer",
                _ => "bad $-escape (literal $ must be written as $$)",
            }));
        }
        self.at += 1 + length;
        self.lines += u32::from(matches!(rest[0], b'\n' | b'\r'));
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while let Some(byte @ (b' ' | b'$')) = self.source.get(self.at) {
            let length = match self.source[self.at + 1..] {
                _ if *byte == b' ' => 1,
                [b'\n', ..] => 2,
                [b'\r', b'\n', ..] => 3,
                _ => return,
            };
            self.at += length;
            self.lines += u32::from(length > 1);
        }
    }

    fn end_of_file(&mut self) -> Problem {
        self.last = self.source.len();
        self.problem("unexpected EOF")
    }

    /// The carriage return here ends no line.
    fn stray(&mut self) -> Problem {
        self.last = self.at;
        self.no_token()
    }
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself.
    Text(&'a [u8]),
    /// The name of a variable.
    Variable(&'a [u8]),
}

/// The pieces of a text that a [`Lexer`] found.
pub fn pieces(mut rest: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        loop {
            let length = match rest.find_byte(b'$') {
                None if rest.is_empty() => return None,
                None => rest.len(),
                Some(length) => length,
            };
            if length > 0 {
                let (text, behind) = rest.split_at(length);
                rest = behind;
                return Some(Piece::Text(text));
            }
            let escaped = &rest[1..];
            let (piece, length) = match escaped {
                [b'$' | b' ' | b':', ..] => (Piece::Text(&escaped[..1]), 1),
                [b'^', ..] => (Piece::Text(b"\n"), 1),
                [b'\n', ..] => (Piece::Text(b""), 1 + blanks(&escaped[1..])),
                [b'\r', b'\n', ..] => (Piece::Text(b""), 2 + blanks(&escaped[2..])),
                [b'{', name @ ..] => {
                    let length = name_length(name);
                    (Piece::Variable(&name[..length]), length + 2)
                }
                _ => {
                    let length = simple_name_length(escaped);
                    (Piece::Variable(&escaped[..length]), length)
                }
            };
            rest = escaped.get(length..).unwrap_or_default();
            if piece != Piece::Text(b"") {
                return Some(piece);
            }
        }
    })
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte == b' ').count()
}

fn name_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !NAMES[usize::from(*byte)]).unwrap_or(text.len())
}

/// How far it is to what ends a piece of a path; none if nothing does.
fn text_length(text: &[u8]) -> Option<usize> {
    // First block by block without branches, which the compiler makes one look at all bytes of a block. Control
    // characters, of which two are ends, are told apart only after that.
    let (blocks, _) = text.as_chunks::<16>();
    let to_end = |byte: u8| (byte ^ b'$').min(byte ^ b':').min(byte ^ b'|').min(byte.saturating_sub(b' '));
    let may_end = |block: &[u8; 16]| block.iter().fold(false, |may, byte| may | (to_end(*byte) == 0));
    let start = blocks.iter().position(may_end).unwrap_or(blocks.len()) * 16;
    let length = text[start..].iter().position(|byte| ENDS_TEXT[usize::from(*byte)])?;
    Some(start + length)
}

/// Of a name after `$` without braces.
fn simple_name_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| NAMES[usize::from(**byte)] && **byte != b'.').count()
}

/// Bytes of names.
const NAMES: [bool; 256] = table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

/// Bytes that end a piece of a path.
const ENDS_TEXT: [bool; 256] = table(b"$ :\r\n|");

const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
}
