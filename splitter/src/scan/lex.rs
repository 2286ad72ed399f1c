//! The preprocessing directives of a file.
#![deny(clippy::disallowed_methods)]

use super::macros::Macro;
use super::rare;
use super::times::Times;
use super::token::{Token, begins_name, continues_name, tokens};
use super::{Symbol, Symbols};
use bstr::{BStr, BString, ByteSlice as _};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the preprocessor does with a file.
#[derive(Debug, Default)]
pub struct Lexed {
    /// In their order. Conditionals know where the next of their group stands.
    pub directives: Vec<Directive>,
    /// The macro that keeps the file from being read twice: all of it stands between `#ifndef` and `#endif`.
    pub guard: Option<Symbol>,
    /// `#pragma once`, wherever it stands.
    pub once: bool,
    /// There is a trigraph of which a directive may be made: `??=` for `#`, or `??/` for a backslash.
    pub trigraphs: bool,
    /// Files that the assembler is told to read: `.incbin` and `.include`.
    pub assembled: Vec<BString>,
    /// What it names of the time.
    pub times: Times,
    /// Words that may be pasted together to one that tells it; of the project's texts alone.
    pub pieces: BTreeSet<BString>,
}

/// One line that begins with `#`.
#[derive(Debug)]
pub enum Directive {
    /// `#if`, or `#elif` where `first` is false.
    If {
        /// What has to hold.
        condition: Condition,
        /// Whether a group begins here.
        first: bool,
        /// The index of the next directive of the group.
        next: usize,
    },
    /// `#else`
    Else {
        /// The index of the next directive of the group.
        next: usize,
    },
    /// `#endif`
    End,
    /// `#include` and its kin.
    Include(Kind, Spelling),
    /// `#define`
    Define(Symbol, Arc<Macro>),
    /// `#undef`
    Undefine(Symbol),
    /// `#pragma push_macro` or `pop_macro`: what the name is from here on is not followed.
    Forget(Symbol),
}

/// What a conditional asks.
#[derive(Debug)]
pub enum Condition {
    /// `#ifdef`, or `#ifndef` where it is false.
    Defined(Symbol, bool),
    /// An expression.
    Holds(Vec<Token>),
}

/// What is done with a file that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `#include`
    Include,
    /// `#include_next`
    Next,
    /// `#import`: as `#include`, but once.
    Import,
    /// `#embed`: its bytes, not its directives.
    Embed,
}

/// How a file is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelling {
    /// `"a.h"`
    Quoted(BString),
    /// `<a.h>`
    Angled(BString),
    /// By macros.
    Computed(Vec<Token>),
}

/// Texts by which a source names itself, or the macros that do so hold.
pub const FILE_WORDS: [&[u8]; 4] = [b"__FILE__", b"__BASE_FILE__", b"__builtin_FILE", b"source_location"];

/// Reads a file.
pub fn lex(text: &[u8], symbols: &Symbols) -> Lexed {
    let mut lexed = Lexed::default();
    if rare::may_have(text) {
        lexed.trigraphs = text.find_iter("??").any(|at| matches!(text.get(at + 2), Some(b'=' | b'/')));
        lexed.assembled = assembled(text);
        lexed.times = Times::of(text);
    }
    let mut reader = Reader { text, at: 0, line: Vec::new() };
    // The groups that are open, by the index of their last directive.
    let mut open: Vec<usize> = Vec::new();
    // Nothing stood outside of the first group, which began with this name.
    let mut guard = None;
    let mut closed = false;
    loop {
        let Start { code, end } = reader.next_directive();
        if code && open.is_empty() {
            guard = None;
        }
        if end {
            break;
        }
        if is_pragma_once(&reader.line) {
            lexed.once = true;
            continue;
        }
        let here = lexed.directives.len();
        let Some(directive) = directive(&reader.line, symbols) else { continue };
        match &directive {
            Directive::If { first: true, condition, .. } => {
                if here == 0 && !code {
                    guard = guard_of(condition, symbols);
                } else if open.is_empty() {
                    guard = None;
                }
                open.push(here);
            }
            Directive::If { first: false, .. } | Directive::Else { .. } => {
                if open.len() == 1 {
                    guard = None;
                }
                if !close(&mut lexed.directives, &mut open, here) {
                    continue;
                }
                open.push(here);
            }
            Directive::End => {
                if !close(&mut lexed.directives, &mut open, here) {
                    continue;
                }
                closed |= open.is_empty();
            }
            _ if open.is_empty() => guard = None,
            _ => {}
        }
        lexed.directives.push(directive);
    }
    // A group without an end reaches to that of the file.
    let end = lexed.directives.len();
    open.iter().for_each(|i| set_next(&mut lexed.directives[*i], end));
    lexed.guard = guard.filter(|_| closed);
    lexed
}

/// Ends the last directive of the innermost group at `here`; says whether there is a group.
fn close(directives: &mut [Directive], open: &mut Vec<usize>, here: usize) -> bool {
    let Some(last) = open.pop() else { return false };
    set_next(&mut directives[last], here);
    true
}

fn set_next(directive: &mut Directive, to: usize) {
    if let Directive::If { next, .. } | Directive::Else { next } = directive {
        *next = to;
    }
}

fn guard_of(condition: &Condition, symbols: &Symbols) -> Option<Symbol> {
    match condition {
        Condition::Defined(name, false) => Some(*name),
        Condition::Holds(tokens) => {
            use super::token::punctuator;
            let defined = Token::Name(symbols.of(b"defined"));
            match tokens.as_slice() {
                [not, word, Token::Name(name)] if *not == punctuator(b"!") && *word == defined => Some(*name),
                [not, word, open, Token::Name(name), close]
                    if *not == punctuator(b"!")
                        && *word == defined
                        && *open == punctuator(b"(")
                        && *close == punctuator(b")") =>
                {
                    Some(*name)
                }
                _ => None,
            }
        }
        Condition::Defined(_, true) => None,
    }
}

/// Reads a line after its `#`, comments and spliced lines taken out.
fn directive(line: &[u8], symbols: &Symbols) -> Option<Directive> {
    let line = line.trim_ascii();
    let end = line.iter().position(|b| !continues_name(*b)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.trim_ascii();
    let name = || {
        let end = rest.iter().position(|b| !continues_name(*b)).unwrap_or(rest.len());
        rest.first().filter(|byte| begins_name(**byte)).map(|_| symbols.of(&rest[..end]))
    };
    let when = |condition, first| Some(Directive::If { condition, first, next: 0 });
    let holds = || Condition::Holds(tokens(rest, symbols));
    match word {
        b"if" => when(holds(), true),
        b"ifdef" => when(Condition::Defined(name()?, true), true),
        b"ifndef" => when(Condition::Defined(name()?, false), true),
        b"elif" => when(holds(), false),
        b"elifdef" => when(Condition::Defined(name()?, true), false),
        b"elifndef" => when(Condition::Defined(name()?, false), false),
        b"else" => Some(Directive::Else { next: 0 }),
        b"endif" => Some(Directive::End),
        b"include" => Some(Directive::Include(Kind::Include, spelling(rest, symbols))),
        b"include_next" => Some(Directive::Include(Kind::Next, spelling(rest, symbols))),
        b"import" => Some(Directive::Include(Kind::Import, spelling(rest, symbols))),
        b"embed" => Some(Directive::Include(Kind::Embed, spelling(rest, symbols))),
        b"define" => Macro::read(rest, symbols).map(|(name, definition)| Directive::Define(name, Arc::new(definition))),
        b"undef" => Some(Directive::Undefine(name()?)),
        b"pragma" => pragma(rest, symbols),
        _ => None,
    }
}

fn is_pragma_once(line: &[u8]) -> bool {
    line.trim_ascii().strip_prefix(b"pragma").is_some_and(|rest| rest.trim_ascii() == b"once")
}

fn pragma(rest: &[u8], symbols: &Symbols) -> Option<Directive> {
    let forgets = rest.starts_with(b"push_macro") || rest.starts_with(b"pop_macro");
    let name = rest.split(|b| *b == b'"').nth(1).filter(|_| forgets)?;
    Some(Directive::Forget(symbols.of(name)))
}

fn spelling(rest: &[u8], symbols: &Symbols) -> Spelling {
    let until = |end: u8| rest[1..].find_byte(end).map(|length| BString::from(&rest[1..=length]));
    match rest.first() {
        Some(b'"') => until(b'"').map(Spelling::Quoted),
        Some(b'<') => until(b'>').map(Spelling::Angled),
        _ => None,
    }
    .unwrap_or_else(|| Spelling::Computed(tokens(rest, symbols)))
}

/// The names after `.incbin` and `.include` in assembler text, also within strings of C, where quotes are escaped.
fn assembled(text: &[u8]) -> Vec<BString> {
    let mut names = Vec::new();
    for word in [&b".incbin"[..], b".include"] {
        for start in text.find_iter(word) {
            let rest = text[start + word.len()..].trim_ascii_start();
            let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
            let Some(rest) = rest.strip_prefix(b"\"") else { continue };
            let end = rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b == b'\n').unwrap_or(rest.len());
            names.extend(Some(BString::from(&rest[..end])).filter(|name| !name.is_empty()));
        }
    }
    names
}

/// Goes through a text from directive to directive.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The last directive after its `#`, without comments and spliced lines.
    line: Vec<u8>,
}

struct Start {
    /// There was something else than comments and blanks before it.
    code: bool,
    /// There is none: the text has ended.
    end: bool,
}

/// How much of a text is neither the end of a line nor the begin of a comment, a literal or a splice. Most of a header is so: it is
/// looked at eight bytes at a time, by the bit trick for a byte that is zero (Warren, "Hacker's Delight", section 6-1).
fn plain(text: &[u8]) -> usize {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    const ENDS: [u8; 5] = [b'\n', b'/', b'"', b'\'', b'\\'];
    let (blocks, rest) = text.as_chunks::<8>();
    for (i, block) in blocks.iter().enumerate() {
        let block = u64::from_le_bytes(*block);
        let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH; // the lowest bit that is set is right
        let ends = ENDS.iter().fold(0, |ends, byte| ends | zeros(block ^ u64::from_le_bytes([*byte; 8])));
        if ends != 0 {
            return 8 * i + ends.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !ENDS.contains(byte);
    8 * blocks.len() + rest.iter().take_while(is_plain).count()
}

/// How long a backslash and the line's end after it are; 0 if there is none. GCC takes blanks between them.
fn splice(text: &[u8]) -> usize {
    if text.first() != Some(&b'\\') {
        return 0;
    }
    let blanks = text[1..].iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r')).unwrap_or(text.len() - 1);
    if text.get(1 + blanks) == Some(&b'\n') { 2 + blanks } else { 0 }
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    /// Goes to the next `#` that begins a line, and reads that line.
    fn next_directive(&mut self) -> Start {
        let mut code = false;
        let mut line_begins = true;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\n' => line_begins = true,
                b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c' => {}
                b'#' if line_begins => {
                    self.at += 1;
                    self.read_line();
                    return Start { code, end: false };
                }
                b'%' if line_begins && self.rest().starts_with(b"%:") => {
                    self.at += 2;
                    self.read_line();
                    return Start { code, end: false };
                }
                b'/' if self.rest().starts_with(b"/*") => {
                    self.skip_comment();
                    continue;
                }
                b'/' if self.rest().starts_with(b"//") => {
                    self.skip_line();
                    continue;
                }
                b'\\' if splice(self.rest()) > 0 => {
                    self.at += splice(self.rest());
                    continue;
                }
                b'"' | b'\'' => {
                    (code, line_begins) = (true, false);
                    self.skip_literal(byte);
                    continue;
                }
                _ => {
                    (code, line_begins) = (true, false);
                    self.at += 1;
                    self.skip_plain();
                    continue;
                }
            }
            self.at += 1;
        }
        Start { code, end: true }
    }

    /// In the middle of a line: over what is no more than code.
    fn skip_plain(&mut self) {
        self.at += plain(self.rest());
    }

    /// After `/*`, to behind its end.
    fn skip_comment(&mut self) {
        self.at += 2;
        self.at = self.rest().find(b"*/").map_or(self.text.len(), |length| self.at + length + 2);
    }

    /// To the end of the line, which is left.
    fn skip_line(&mut self) {
        while let Some(length) = self.rest().find_byte(b'\n') {
            let line = self.rest()[..length].trim_end_with(|c| matches!(c, ' ' | '\t' | '\r'));
            let spliced = line.ends_with(b"\\");
            self.at += length;
            if !spliced {
                return;
            }
            self.at += 1;
        }
        self.at = self.text.len();
    }

    /// To behind a literal, or to the end of the line if it has no end before.
    fn skip_literal(&mut self, quote: u8) {
        let before = &self.text[..self.at];
        if quote == b'"' && is_raw(before) {
            return self.skip_raw();
        }
        self.at += 1;
        if quote == b'\'' && before.last().is_some_and(u8::is_ascii_alphanumeric) && !is_prefix(before) {
            return; // between the digits of a number
        }
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return,
                b'\\' => self.at += splice(self.rest()).max(2),
                _ => {
                    self.at += 1;
                    if byte == quote {
                        return;
                    }
                }
            }
        }
    }

    /// To behind a raw string: `"delimiter(` … `)delimiter"`.
    fn skip_raw(&mut self) {
        self.at += 1;
        let Some(open) = self.rest().iter().take(17).position(|b| *b == b'(') else { return };
        let end = [b")", &self.rest()[..open], b"\""].concat();
        let found = self.rest().find(&end).map(|length| self.at + length + end.len());
        self.at = found.unwrap_or(self.text.len());
    }

    /// Reads the line into `line`.
    fn read_line(&mut self) {
        self.line.clear();
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return,
                b'\\' if splice(self.rest()) > 0 => self.at += splice(self.rest()),
                b'/' if self.rest().starts_with(b"/*") => {
                    self.skip_comment();
                    self.line.push(b' ');
                }
                b'/' if self.rest().starts_with(b"//") => return self.skip_line(),
                b'"' | b'\'' => {
                    let raw = byte == b'"' && is_raw(&self.text[..self.at]);
                    let start = self.at;
                    self.skip_literal(byte);
                    let end = self.at.min(self.text.len());
                    self.take(start, end, raw);
                }
                _ => {
                    let end = self.at + plain(self.rest()).max(1);
                    self.line.extend_from_slice(&self.text[self.at..end]);
                    self.at = end;
                }
            }
        }
    }

    /// Takes a literal into `line`; lines are spliced within one, but for a raw string.
    fn take(&mut self, mut start: usize, end: usize, raw: bool) {
        while start < end {
            let spliced = if raw { 0 } else { splice(&self.text[start..end]) };
            if spliced == 0 {
                self.line.push(self.text[start]);
            }
            start += spliced.max(1);
        }
    }
}

/// Whether what stands before a quote makes it that of a raw string.
fn is_raw(before: &[u8]) -> bool {
    let start = before.iter().rposition(|b| !continues_name(*b)).map_or(0, |i| i + 1);
    [&b"R"[..], b"LR", b"uR", b"UR", b"u8R"].contains(&&before[start..])
}

/// Whether what stands before a quote says the kind of its characters.
fn is_prefix(before: &[u8]) -> bool {
    let start = before.iter().rposition(|b| !continues_name(*b)).map_or(0, |i| i + 1);
    [&b"L"[..], b"u", b"U", b"u8"].contains(&&before[start..])
}

/// Whether a text has one of some words.
pub fn has_word(text: &BStr, is_one: &dyn Fn(&[u8]) -> bool) -> bool {
    let mut rest = text.as_bytes();
    while let Some(start) = rest.iter().position(|b| begins_name(*b)) {
        let length = rest[start..].iter().position(|b| !continues_name(*b)).unwrap_or(rest.len() - start);
        if is_one(&rest[start..start + length]) {
            return true;
        }
        rest = &rest[start + length..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The directives, one word for each.
    fn told(text: &str) -> Vec<String> {
        let symbols = Symbols::default();
        let lexed = lex(text.as_bytes(), &symbols);
        let name = |symbol: &Symbol| symbols.text(*symbol).to_string();
        let tell = |directive: &Directive| match directive {
            Directive::If { condition: Condition::Defined(symbol, true), next, .. } => {
                format!("ifdef {} {next}", name(symbol))
            }
            Directive::If { condition: Condition::Defined(symbol, false), next, .. } => {
                format!("ifndef {} {next}", name(symbol))
            }
            Directive::If { condition: Condition::Holds(tokens), first, next } => {
                format!("{} {} {next}", if *first { "if" } else { "elif" }, tokens.len())
            }
            Directive::Else { next } => format!("else {next}"),
            Directive::End => "endif".into(),
            Directive::Include(kind, spelling) => format!("{kind:?} {spelling:?}"),
            Directive::Define(symbol, definition) => format!("define {} {}", name(symbol), definition.body),
            Directive::Undefine(symbol) => format!("undef {}", name(symbol)),
            Directive::Forget(symbol) => format!("forget {}", name(symbol)),
        };
        let once = lexed.once.then(|| "once".to_owned());
        let guard = lexed.guard.iter().map(|symbol| format!("guard {}", name(symbol)));
        lexed.directives.iter().map(tell).chain(once).chain(guard).collect()
    }

    #[test]
    fn directives_are_found_among_comments_and_literals() {
        let text = "/* #include \"no.h\" */ # /* x */ include /**/ <a.h> // y\n\
                    char *s = \"\\\n#include <no>\";\nchar c = '\"';\n#include \"b.h\"\n// \\\n#include <no>\nint x = 1'000;\n\
                    const char *r = R\"x(\n#include <no>\n)\" )x\";\n  %:  define A \\\n 1 /* \n */ + 2\n#pragma once\nf(); #define NO\n";
        assert_eq!(told(text), ["Include Angled(\"a.h\")", "Include Quoted(\"b.h\")", "define A 1   + 2", "once"]);
    }

    #[test]
    fn a_name_goes_on_in_the_next_line() {
        let text = "#include \"a\\\n.h\"\n#include <b\\ \n.h>\n#define R R\"(\\\n)\"\n#inc\\\nlude \"c.h\"\n";
        let told = told(text);
        let names =
            ["Include Quoted(\"a.h\")", "Include Angled(\"b.h\")", "define R R\"(\\\n)\"", "Include Quoted(\"c.h\")"];
        assert_eq!(told, names);
    }

    #[test]
    fn trigraphs_that_could_make_a_directive_are_noted() {
        for (text, noted) in [("??=include <a.h>", true), ("// ??/\nx", true), ("what???", false), ("a ?? b", false)] {
            assert_eq!(lex(text.as_bytes(), &Symbols::default()).trigraphs, noted, "{text}");
        }
    }

    #[test]
    fn conditionals_know_where_the_next_of_their_group_stands() {
        let text = "#if A\n#ifdef B\n#else\n#endif\n#elif C && D\n#define E\n#endif\n#endif\n#ifndef F\n";
        assert_eq!(
            told(text),
            ["if 1 4", "ifdef B 2", "else 3", "endif", "elif 3 6", "define E ", "endif", "ifndef F 8"]
        );
    }

    #[test]
    fn a_guard_holds_all_of_a_file() {
        for (text, guarded) in [
            ("// c\n#ifndef G\n#define G\nint x;\n#endif /* G */\n", true),
            ("#pragma once\n#ifndef G\n#define G\n#endif\n", true),
            ("#if !defined(G)\n#define G\n#ifdef X\n#else\n#endif\n#endif\n", true),
            ("int x;\n#ifndef G\n#endif\n", false),
            ("#ifndef G\n#endif\nint x;\n", false),
            ("#ifndef G\n#endif\n#define H\n", false),
            ("#ifndef G\n#else\n#endif\n", false),
            ("#ifndef G\n#endif\n#ifndef H\n#endif\n", false),
        ] {
            assert_eq!(told(text).last().is_some_and(|last| last == "guard G"), guarded, "{text}");
        }
    }

    #[test]
    fn what_the_assembler_reads_is_named_in_strings_too() {
        let text = b".incbin \"a.bin\"\nasm(\".incbin \\\"b.bin\\\"\\n\");\n.include  \"c.inc\"\n.incbin MACRO\nasm(\".incbin \\\"\" NAME);\n";
        assert_eq!(lex(text, &Symbols::default()).assembled, ["a.bin", "b.bin", "c.inc"]);
    }

    #[test]
    fn words_are_whole() {
        let has = |text: &str, word: &str| has_word(text.into(), &|one| one == word.as_bytes());
        assert!(has("x=assert(1)", "assert") && !has("my_assert(1)", "assert") && !has("", "a"));
    }
}
